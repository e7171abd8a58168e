//! Parsing of literals: `4u32`, `-1i64`, `0x10u8`, `1.5f32`, `0x1p-3f16`, `inf:f32`, `nan:0x7fc00000`,
//! `nan:0x7e00:f16`, `true`.

use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Literal, ScalarType};

/// Parses a literal. The error is a message.
pub(super) fn parse(text: &str) -> Result<Literal, String> {
    match text {
        "true" => return Ok(Literal::from(true)),
        "false" => return Ok(Literal::from(false)),
        _ => {}
    }
    if let Some(bits) = text.strip_prefix("nan:") {
        return nan(bits).ok_or_else(|| {
            format!(
                "`{text}` does not give the bits of a NaN; it may need a type, such as in `nan:0x7e00:f16`"
            )
        });
    }
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if let Some(name) = magnitude.strip_prefix("inf:") {
        let (ty, format) = float_type(name).ok_or_else(|| format!("`{name}` is no type of floats"))?;
        let sign = if negative { format.sign_bit() } else { 0 };
        return Ok(Literal::new(ty, format.infinity() | sign));
    }
    // The longest matching suffix: `bf16` before `f16`. Hexadecimal floats need a `p` because digits such as `f32`
    // look like a suffix.
    let suffix =
        ScalarType::ALL.into_iter().filter(|ty| *ty != ScalarType::Bool && magnitude.ends_with(ty.name()));
    let Some(ty) = suffix.max_by_key(|ty| ty.name().len()) else {
        return Err(format!("`{text}` states no type, such as in `1u32`, `1i32` or `1.0f32`"));
    };
    let digits = &magnitude[..magnitude.len() - ty.name().len()];
    let Some(format) = FloatFormat::of(ty) else {
        return integer(ty, negative, digits).ok_or_else(|| format!("`{text}` is no value of `{ty}`"));
    };
    let bits = match digits.strip_prefix("0x") {
        Some(hex) => hex_float(format, hex).ok_or_else(|| {
            format!("`{text}` is not exactly an `{ty}`; hexadecimal needs `p` and an exponent")
        })?,
        None => decimal(format, digits).ok_or_else(|| {
            format!("`{text}` is not a finite `{ty}`, or lies half-way between two: write it in hexadecimal")
        })?,
    };
    Ok(Literal::new(ty, bits | if negative { format.sign_bit() } else { 0 }))
}

fn float_type(name: &str) -> Option<(ScalarType, FloatFormat)> {
    let ty = ScalarType::ALL.into_iter().find(|ty| ty.name() == name)?;
    Some((ty, FloatFormat::of(ty)?))
}

fn nan(text: &str) -> Option<Literal> {
    let (bits, name) = text.split_once(':').unwrap_or((text, "f32"));
    let (ty, format) = float_type(name)?;
    let bits = hex_digits(bits.strip_prefix("0x")?)?;
    (bits & ty.mask() == bits && format.is_nan(bits)).then(|| Literal::new(ty, bits))
}

fn hex_digits(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn integer(ty: ScalarType, negative: bool, digits: &str) -> Option<Literal> {
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => hex_digits(hex)?,
        None if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        None => return None,
    };
    let most = match (ty.is_signed(), negative) {
        (true, true) => ty.mask() / 2 + 1,
        (true, false) => ty.mask() / 2,
        (false, true) => 0,
        (false, false) => ty.mask(),
    };
    let bits = if negative { magnitude.wrapping_neg() } else { magnitude };
    (magnitude <= most).then(|| Literal::new(ty, bits))
}

fn decimal(format: FloatFormat, digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    if !plain || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bits = match format.precision {
        24 => u64::from(digits.parse::<f32>().ok()?.to_bits()),
        _ => {
            let value = digits.parse::<f64>().ok()?;
            let bits = format.encode(value);
            // `value` may already be rounded to `f64`, so that a value next to a midpoint looks like the midpoint.
            let neighbor =
                |step: i64| format.encode(f64::from_bits(value.to_bits().wrapping_add_signed(step)));
            if format.precision < 53
                && value != 0.0
                && neighbor(1) != neighbor(-1)
                && format.decode(bits) != value
            {
                return None;
            }
            bits
        }
    };
    (bits < format.infinity()).then_some(bits)
}

/// Returns the bits of `h.hhhp±d`, if it is exactly representable in `format`.
fn hex_float(format: FloatFormat, text: &str) -> Option<u64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let unsigned = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if unsigned.is_empty() || unsigned.len() > 6 || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty()
        || !mantissa.bytes().all(|b| b.is_ascii_hexdigit() || b == b'.')
        || fraction.contains('.')
    {
        return None;
    }
    exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    // Trailing zeros only scale the value. The other digits of an exact value fit in 64 bits.
    let mut digits = whole.bytes().chain(fraction.bytes()).collect::<Vec<u8>>();
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent = exponent.checked_add(4)?;
    }
    let mut value: u64 = 0;
    for digit in digits {
        if value >> 60 != 0 {
            return None;
        }
        value = value << 4 | u64::from(char::from(digit).to_digit(16)?);
    }
    if value == 0 {
        return Some(0);
    }
    let shift = value.trailing_zeros();
    value >>= shift;
    exponent = exponent.checked_add(shift as i32)?;
    let width = 64 - value.leading_zeros() as i32;
    // `value` is odd, and the top bit of `value` × 2^`exponent` is at `width - 1 + exponent`.
    let top = exponent.checked_add(width - 1)?;
    let exact = width <= format.precision as i32
        && top <= format.max_exponent()
        && exponent >= format.least_exponent();
    exact.then(|| format.round(false, value, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_read_as_they_should() {
        let good: &[(&str, Literal)] = &[
            ("4u32", 4u32.into()),
            ("0x10u32", 16u32.into()),
            ("4294967295u32", u32::MAX.into()),
            ("-2147483648i32", i32::MIN.into()),
            ("-0x80000000i32", i32::MIN.into()),
            ("-0.0f32", (-0.0f32).into()),
            ("1e-3f32", 1e-3f32.into()),
            ("1f32", 1.0f32.into()),
            ("0x1p-3f32", 0.125f32.into()),
            ("-0x1.8p1f32", (-3.0f32).into()),
            ("0x1p-149f32", f32::from_bits(1).into()),
            ("0x1.fffffep127f32", f32::MAX.into()),
            ("0x1.fffffcp-127f32", f32::from_bits(0x007f_ffff).into()),
            ("0x0p0f32", 0.0f32.into()),
            ("0x100000000000p-44f32", 1.0f32.into()),
            ("nan:0xffc00001", f32::from_bits(0xffc0_0001).into()),
            ("-inf:f32", f32::NEG_INFINITY.into()),
            ("-128i8", (-128i8).into()),
            ("255u8", 255u8.into()),
            ("18446744073709551615u64", u64::MAX.into()),
            ("-9223372036854775808i64", i64::MIN.into()),
            ("0.1f64", 0.1f64.into()),
            ("0x1.fffffffffffffp1023f64", f64::MAX.into()),
            ("0x1p-1074f64", f64::from_bits(1).into()),
            ("1.0f16", Literal::new(ScalarType::F16, 0x3c00)),
            ("-0.1f16", Literal::new(ScalarType::F16, 0xae66)),
            ("0x1p-24f16", Literal::new(ScalarType::F16, 1)),
            ("65504.0f16", Literal::new(ScalarType::F16, 0x7bff)),
            ("1.0bf16", Literal::new(ScalarType::BF16, 0x3f80)),
            ("-inf:bf16", Literal::new(ScalarType::BF16, 0xff80)),
            ("nan:0x7e00:f16", Literal::new(ScalarType::F16, 0x7e00)),
            ("0x1fu8", 0x1fu8.into()),
        ];
        for (text, literal) in good {
            assert_eq!(parse(text), Ok(*literal), "{text}");
        }
        let bad = [
            "4",
            "u32",
            "-1u32",
            "4294967296u32",
            "2147483648i32",
            "0xffffffffi32",
            "1.5u32",
            "1e99f32",
            "0x1f32",
            "0x1.0000001p0f32",
            "0x1p128f32",
            "0x1p-150f32",
            "0x1pf32",
            "0x1p-3",
            "nan:0x0",
            "nan:7",
            "inf:f128",
            "-129i8",
            "256u8",
            "18446744073709551616u64",
            "65520.0f16",
            "2049.0f16",
            "0x1p-25f16",
            "nan:0x7c00:f16",
            "nan:0x17e00:f16",
            "-nan:0x7fc00000",
            "1_0u32",
            "--1i32",
            "+1i32",
            "0xu32",
            "-nan:0x7fc00000",
            "1u128",
            "ééé",
            "0x1p9999999f32",
            "",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_kind_of_float_reads_back_from_its_hexadecimal_form() {
        for bits in [0u32, 1, 2, 0x007f_ffff, 0x0080_0000, 0x0080_0001, 0x3f80_0000, 0x4049_0fdb, 0x7f7f_ffff]
        {
            let (exponent, fraction) = (bits >> 23, bits & 0x007f_ffff);
            let (value, scale) = if exponent == 0 {
                (fraction, -149)
            } else {
                (fraction | 0x0080_0000, exponent as i32 - 150)
            };
            let text = format!("0x{value:x}p{scale}f32");
            assert_eq!(parse(&text), Ok(Literal::new(ScalarType::F32, u64::from(bits))), "{text}");
        }
    }
}
