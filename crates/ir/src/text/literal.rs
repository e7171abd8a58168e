//! Reads literals: `4u32`, `-1i32`, `0x10u32`, `1.5f32`, `0x1p-3f32`, `inf:f32`, `nan:0x7fc00000`, `true`.

use fulgurite_spec::{Literal, ScalarType};

/// The literal that `text` is, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Literal, String> {
    match text {
        "true" => return Ok(Literal::from(true)),
        "false" => return Ok(Literal::from(false)),
        "inf:f32" => return Ok(Literal::from(f32::INFINITY)),
        "-inf:f32" => return Ok(Literal::from(f32::NEG_INFINITY)),
        _ => {}
    }
    if let Some(bits) = text.strip_prefix("nan:") {
        return nan(bits).ok_or_else(|| format!("`{text}` does not give the bits of an `f32` NaN"));
    }
    let Some(at) = text.len().checked_sub(3).filter(|at| text.is_char_boundary(*at)) else {
        return Err(format!("`{text}` states no type, such as in `{text}u32`"));
    };
    let (body, suffix) = text.split_at(at);
    let (negative, digits) = match body.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, body),
    };
    match suffix {
        "u32" | "i32" => {
            let ty = if suffix == "u32" { ScalarType::U32 } else { ScalarType::I32 };
            integer(ty, negative, digits).ok_or_else(|| format!("`{text}` is no value of `{suffix}`"))
        }
        "f32" => match digits.strip_prefix("0x") {
            Some(hex) => hex_float(hex)
                .map(|bits| Literal::new(ScalarType::F32, u64::from(bits | u32::from(negative) << 31)))
                .ok_or_else(|| {
                    format!("`{text}` is not exactly an `f32`; hexadecimal needs `p` and an exponent")
                }),
            None => decimal(body, digits).ok_or_else(|| format!("`{text}` is not a finite `f32`")),
        },
        _ => Err(format!("`{text}` states no type, such as in `1u32`, `1i32` or `1.0f32`")),
    }
}

fn nan(bits: &str) -> Option<Literal> {
    let value = f32::from_bits(hex_digits(bits.strip_prefix("0x")?)?);
    value.is_nan().then(|| Literal::from(value))
}

fn hex_digits(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

fn integer(ty: ScalarType, negative: bool, digits: &str) -> Option<Literal> {
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => i64::from(hex_digits(hex)?),
        None if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            i64::from(digits.parse::<u32>().ok()?)
        }
        None => return None,
    };
    let value = if negative { -magnitude } else { magnitude };
    match ty {
        ScalarType::I32 => i32::try_from(value).ok().map(Literal::from),
        _ => u32::try_from(value).ok().map(Literal::from),
    }
}

fn decimal(body: &str, digits: &str) -> Option<Literal> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    if !plain || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    body.parse::<f32>().ok().filter(|v| v.is_finite()).map(Literal::from)
}

/// The bits of `h.hhhp±d`, if that is exactly an `f32`.
fn hex_float(text: &str) -> Option<u32> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let unsigned = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if unsigned.is_empty() || unsigned.len() > 6 || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty()
        || !mantissa.bytes().all(|b| b.is_ascii_hexdigit() || b == b'.')
        || fraction.contains('.')
    {
        return None;
    }
    exponent -= 4 * fraction.len() as i64;
    // Significant digits fit 24 bits or the value is no `f32`; zeros at the end only scale.
    let mut digits = whole.bytes().chain(fraction.bytes()).collect::<Vec<u8>>();
    while digits.last() == Some(&b'0') {
        digits.pop();
        exponent += 4;
    }
    let mut value: u64 = 0;
    for digit in digits {
        if value >> 32 != 0 {
            return None;
        }
        value = value << 4 | u64::from(char::from(digit).to_digit(16)?);
    }
    if value == 0 {
        return Some(0);
    }
    let shift = value.trailing_zeros();
    value >>= shift;
    exponent += i64::from(shift);
    let width = 64 - i64::from(value.leading_zeros());
    // The value is odd × 2^exponent, its top bit at width - 1 + exponent.
    let top = width - 1 + exponent;
    if width > 24 || top > 127 || exponent < -149 {
        return None;
    }
    if top >= -126 {
        let fraction = (value << (24 - width)) as u32 & 0x007f_ffff;
        Some(((top + 127) as u32) << 23 | fraction)
    } else {
        Some((value as u32) << (exponent + 149))
    }
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
            "inf:f64",
            "1_0u32",
            "--1i32",
            "+1i32",
            "0xu32",
            "-nan:0x7fc00000",
            "1u64",
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
