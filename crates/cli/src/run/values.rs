//! Values from the command line: numbers, contents of buffers, sizes of grids. Memory is bounded before it is allocated.

use std::path::Path;
use std::str::FromStr;

use fulgurite::{Code, Element, Error, ScalarType, Type};

use super::npy;
use crate::source::usage;

/// Splits `name=rest`.
///
/// # Errors
/// `FG0704` without an equals sign.
pub(super) fn assignment(text: &str) -> Result<(&str, &str), Error> {
    text.split_once('=').ok_or_else(|| usage(format!("`{text}` is not NAME=…")))
}

/// An integer in hexadecimal, as its bits, or else a number as Rust parses it; as little-endian bytes.
fn number<T: FromStr + Element>(text: &str) -> Result<Vec<u8>, Error> {
    let text = text.trim();
    let size = T::TYPE.size() as usize;
    if let Some(digits) = text.strip_prefix("0x").filter(|_| !T::TYPE.scalar.is_float()) {
        let bits = u64::from_str_radix(digits, 16).ok();
        let fits = bits.filter(|bits| size >= 8 || bits >> (8 * size) == 0);
        if let Some(bits) = fits {
            return Ok(bits.to_le_bytes()[..size].to_vec());
        }
    } else if let Ok(value) = text.parse::<T>() {
        return Ok(bytemuck::bytes_of(&value).to_vec());
    }
    let hint = if text.ends_with(".npy") { format!("; `@{text}` reads a file") } else { String::new() };
    let message = format!("`{text}` is not a number of type {}{hint}", T::TYPE);
    Err(Error::invalid(Code::WrongArgumentType, message))
}

/// Numbers separated by commas, as the little-endian bytes of components of `ty`.
///
/// # Errors
/// `FG0502` for a number that is not of this type.
pub(super) fn numbers(text: &str, ty: Type) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    if text.trim().is_empty() {
        return Ok(bytes);
    }
    for part in text.split(',') {
        bytes.extend(match ty.scalar {
            ScalarType::I8 => number::<i8>(part)?,
            ScalarType::I16 => number::<i16>(part)?,
            ScalarType::I32 => number::<i32>(part)?,
            ScalarType::I64 => number::<i64>(part)?,
            ScalarType::U8 => number::<u8>(part)?,
            ScalarType::U16 => number::<u16>(part)?,
            ScalarType::U32 => number::<u32>(part)?,
            ScalarType::U64 => number::<u64>(part)?,
            ScalarType::F16 => number::<half::f16>(part)?,
            ScalarType::BF16 => number::<half::bf16>(part)?,
            ScalarType::F32 => number::<f32>(part)?,
            ScalarType::F64 => number::<f64>(part)?,
            _ => return Err(usage(format!("type {ty} has no numbers"))),
        });
    }
    Ok(bytes)
}

/// The contents of a buffer of `ty`: `@file.npy`, `zeros:COUNT`, `hex:BYTES`, or numbers.
///
/// # Errors
/// `FG0704` for malformed text, `FG0503` for a size that is too large, and those of the file and the numbers.
pub(super) fn contents(text: &str, ty: Type) -> Result<Vec<u8>, Error> {
    if let Some(path) = text.strip_prefix('@') {
        return npy::read(Path::new(path), ty.scalar);
    }
    if let Some(digits) = text.strip_prefix("hex:") {
        return hex(digits);
    }
    if let Some(count) = text.strip_prefix("zeros:") {
        let elements: usize =
            count.parse().map_err(|_| usage(format!("`{count}` is not a number of elements")))?;
        let bytes = elements.checked_mul(ty.size() as usize);
        // Missing memory is an error here; `vec!` would abort.
        let is_available = |bytes: &usize| Vec::<u8>::new().try_reserve_exact(*bytes).is_ok();
        return bytes.filter(is_available).map(|bytes| vec![0; bytes]).ok_or_else(|| {
            Error::invalid(Code::BufferSize, format!("no memory for {count} elements of {ty}"))
        });
    }
    numbers(text, ty)
}

/// Bytes in memory order, two digits each; blanks and underscores separate them.
fn hex(text: &str) -> Result<Vec<u8>, Error> {
    let mut digits = Vec::new();
    for c in text.chars().filter(|c| !matches!(c, ' ' | '_')) {
        let digit = c.to_digit(16).ok_or_else(|| usage(format!("`{c}` is not a hexadecimal digit")))?;
        digits.push(digit as u8);
    }
    if !digits.len().is_multiple_of(2) {
        return Err(usage(format!("{} hexadecimal digits are not whole bytes", digits.len())));
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Sizes along x, y and z; those left out are 1.
///
/// # Errors
/// `FG0704` for malformed text.
pub(super) fn sizes(text: &str) -> Result<[u32; 3], Error> {
    let mut sizes = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(usage(format!("`{text}` has more than three dimensions")));
    }
    for (slot, part) in sizes.iter_mut().zip(parts) {
        *slot = part.trim().parse().map_err(|_| usage(format!("`{part}` is not a size of a grid")))?;
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Error>) -> Option<Code> {
        result.err().map(|e| e.code())
    }

    #[test]
    fn sizes_that_overflow_are_errors() {
        for count in
            ["18446744073709551615", "4611686018427387904", "2305843009213693951", "1152921504606846976"]
        {
            assert_eq!(
                code(contents(&format!("zeros:{count}"), Type::F32)),
                Some(Code::BufferSize),
                "{count}"
            );
        }
        for count in ["-1", "18446744073709551616", "1e3", ""] {
            assert_eq!(code(contents(&format!("zeros:{count}"), Type::F32)), Some(Code::BadUsage), "{count}");
        }
        assert_eq!(contents("zeros:3", Type::F32), Ok(vec![0; 12]));
        assert_eq!(code(numbers("4294967296", Type::U32)), Some(Code::WrongArgumentType));
        assert_eq!(code(sizes("1,4294967296")), Some(Code::BadUsage));
        assert_eq!(code(sizes("1,1,1,1")), Some(Code::BadUsage));
    }

    #[test]
    fn numbers_are_read_in_hexadecimal() {
        assert_eq!(numbers("0xff, 0x0", Type::U32), Ok(vec![0xff, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(numbers("0xff,-1", Type::scalar(ScalarType::I8)), Ok(vec![0xff, 0xff]));
        for text in ["0x100", "0x", "0xg"] {
            assert_eq!(
                code(numbers(text, Type::scalar(ScalarType::U8))),
                Some(Code::WrongArgumentType),
                "{text}"
            );
        }
        assert_eq!(code(numbers("0x10", Type::F32)), Some(Code::WrongArgumentType));
        assert_eq!(contents("hex:0000_803f 00 00 00 40", Type::F32), numbers("1,2", Type::F32));
        for text in ["hex:0", "hex:0g", "hex:0x00"] {
            assert_eq!(code(contents(text, Type::F32)), Some(Code::BadUsage), "{text}");
        }
    }
}
