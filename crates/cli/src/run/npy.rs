//! `.npy` files: arrays of one scalar type, as NumPy writes them. Sizes from a file are checked before memory is allocated.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use fulgurite::{Code, Error, ScalarType, Type};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Bytes of the largest header that is read. NumPy writes about a hundred.
const MOST_HEADER: usize = 1 << 16;
/// Dimensions of the largest shape, as in NumPy.
const MOST_DIMENSIONS: usize = 64;

/// How NumPy names a type of little-endian elements.
fn descr(ty: ScalarType) -> Option<&'static str> {
    Some(match ty {
        ScalarType::I8 => "|i1",
        ScalarType::I16 => "<i2",
        ScalarType::I32 => "<i4",
        ScalarType::I64 => "<i8",
        ScalarType::U8 => "|u1",
        ScalarType::U16 => "<u2",
        ScalarType::U32 => "<u4",
        ScalarType::U64 => "<u8",
        ScalarType::F16 => "<f2",
        // As the package `ml_dtypes` writes its `bfloat16`.
        ScalarType::BF16 => "<V2",
        ScalarType::F32 => "<f4",
        ScalarType::F64 => "<f8",
        _ => return None,
    })
}

fn without_elements(ty: ScalarType) -> Error {
    Error::invalid(Code::BadFileFormat, format!(".npy files have no elements of {ty}"))
}

/// The elements of an array of `ty`, in row-major order.
pub(super) fn read(path: &Path, ty: ScalarType) -> Result<Vec<u8>, Error> {
    let wanted = descr(ty).ok_or_else(|| without_elements(ty))?;
    let unreadable = |e: std::io::Error| {
        Error::invalid(Code::FileUnreadable, format!("cannot read {}: {e}", path.display()))
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let length = metadata.is_file().then_some(metadata.len());
    decode(std::io::BufReader::new(file), length, wanted).map_err(|e| {
        Error::invalid(Code::BadFileFormat, format!("{} is no .npy array of {ty}: {e}", path.display()))
    })
}

/// Writes elements of `ty`: an array of one dimension, or of two if they are vectors.
pub(super) fn write(path: &Path, ty: Type, bytes: &[u8]) -> Result<(), Error> {
    let descr = descr(ty.scalar).ok_or_else(|| without_elements(ty.scalar))?;
    let elements = bytes.len() / ty.size() as usize;
    let shape = match ty.lanes.count() {
        1 => format!("({elements},)"),
        lanes => format!("({elements}, {lanes})"),
    };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The data begins at a multiple of 64 bytes.
    let padding = (64 - (MAGIC.len() + 4 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let unwritable =
        |e: String| Error::invalid(Code::FileUnwritable, format!("cannot write {}: {e}", path.display()));
    let length = u16::try_from(header.len()).map_err(|e| unwritable(e.to_string()))?.to_le_bytes();
    let parts: [&[u8]; 5] = [MAGIC, &[1, 0], &length, header.as_bytes(), bytes];
    let all =
        || parts.iter().try_fold(File::create(path)?, |mut file, part| file.write_all(part).map(|()| file));
    all().map(drop).map_err(|e| unwritable(e.to_string()))
}

/// The elements of an array whose type is called `wanted`, from a file of `length` bytes where that is known.
fn decode(mut from: impl Read, length: Option<u64>, wanted: &str) -> Result<Vec<u8>, String> {
    let mut start = [0; 8];
    from.read_exact(&mut start).map_err(|_| "it has no header")?;
    if start[..6] != *MAGIC {
        return Err("it does not begin as one".to_owned());
    }
    let sized = match start[6] {
        1 => 2,
        2 | 3 => 4,
        other => return Err(format!("its version {other} is none of 1, 2 and 3")),
    };
    let mut size = [0; 4];
    from.read_exact(&mut size[..sized]).map_err(|_| "it has no header")?;
    let size = u32::from_le_bytes(size) as usize;
    if size > MOST_HEADER {
        return Err(format!("its header has {size} bytes, at most {MOST_HEADER} are read"));
    }
    let mut header = vec![0; size];
    from.read_exact(&mut header).map_err(|_| "its header is cut off")?;
    let header = std::str::from_utf8(&header).map_err(|_| "its header is no text")?;
    let Header { descr, fortran_order, shape } = Header::parse(header)?;
    let is_unordered = wanted.starts_with('|') || wanted.contains('V');
    let same = descr == wanted || (is_unordered && descr.get(1..) == wanted.get(1..));
    if !same {
        return Err(format!("its elements are {}, not '{wanted}'", descr.escape_debug()));
    }
    let element = usize::from(wanted.as_bytes().last().map_or(0, |digit| digit - b'0'));
    let bytes = if shape.contains(&0) {
        Some(0)
    } else {
        shape.iter().try_fold(element, |product, side| product.checked_mul(*side))
    };
    let bytes =
        bytes.filter(|bytes| isize::try_from(*bytes).is_ok()).ok_or("its shape is too large for memory")?;
    let wrong = |found: u64| format!("its shape takes {bytes} bytes, {found} follow the header");
    if let Some(length) = length {
        let found = length.saturating_sub((start.len() + sized + size) as u64);
        if found != bytes as u64 {
            return Err(wrong(found));
        }
    }
    // Of a pipe, whose length is not known, memory is taken as it comes.
    let mut data = Vec::new();
    if length.is_some() {
        data.try_reserve_exact(bytes).map_err(|_| format!("there is no memory for its {bytes} bytes"))?;
    }
    from.take(bytes as u64 + 1).read_to_end(&mut data).map_err(|e| e.to_string())?;
    if data.len() != bytes {
        return Err(wrong(data.len() as u64));
    }
    Ok(if fortran_order { row_major(&data, &shape, element) } else { data })
}

/// Elements in column-major order, in row-major order.
fn row_major(data: &[u8], shape: &[usize], element: usize) -> Vec<u8> {
    let strides: Vec<usize> = shape
        .iter()
        .scan(1usize, |stride, side| Some(std::mem::replace(stride, stride.saturating_mul(*side))))
        .collect();
    let mut at = vec![0; shape.len()];
    let mut found = Vec::with_capacity(data.len());
    while found.len() < data.len() {
        let from = element * at.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>();
        found.extend_from_slice(&data[from..from + element]);
        for (i, side) in at.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *side {
                break;
            }
            *i = 0;
        }
    }
    found
}

/// What a header says: a Python dictionary of three entries.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        let mut rest = Rest(text);
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        rest.expect("{")?;
        while !rest.eat("}") {
            let key = rest.string()?;
            rest.expect(":")?;
            let twice = match key {
                "descr" => descr.replace(rest.string()?.to_owned()).is_some(),
                "fortran_order" => fortran_order.replace(rest.truth()?).is_some(),
                "shape" => shape.replace(rest.shape()?).is_some(),
                other => return Err(format!("its header has an entry `{}`", other.escape_debug())),
            };
            if twice {
                return Err(format!("its header has two entries `{key}`"));
            }
            if !rest.eat(",") {
                rest.expect("}")?;
                break;
            }
        }
        if !rest.0.trim().is_empty() {
            return Err("its header goes on behind the dictionary".to_owned());
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Self { descr, fortran_order, shape }),
            _ => Err("its header lacks one of `descr`, `fortran_order` and `shape`".to_owned()),
        }
    }
}

/// What is left of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        let Some(rest) = self.0.strip_prefix(token) else { return false };
        self.0 = rest;
        true
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(self.wrong(&format!("`{token}`"))) }
    }

    fn wrong(&self, wanted: &str) -> String {
        let found: String = self.0.chars().take(20).collect();
        format!("its header has `{}` where {wanted} is needed", found.escape_debug())
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat("\"") {
            '"'
        } else if self.eat("'") {
            '\''
        } else {
            return Err(self.wrong("a string"));
        };
        let (text, rest) = self.0.split_once(quote).ok_or("its header has a string that does not end")?;
        self.0 = rest;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, String> {
        match (self.eat("True"), self.eat("False")) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err(self.wrong("`True` or `False`")),
        }
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut sides = Vec::new();
        self.expect("(")?;
        while !self.eat(")") {
            self.0 = self.0.trim_start();
            let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
            if end == 0 {
                return Err(self.wrong("a number of elements"));
            }
            let (digits, rest) = self.0.split_at(end);
            sides.push(digits.parse().map_err(|_| "its shape is too large for memory")?);
            if sides.len() > MOST_DIMENSIONS {
                return Err(format!("it has more than {MOST_DIMENSIONS} dimensions"));
            }
            self.0 = rest;
            // What Python 2 wrote.
            self.eat("L");
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, stated: Option<usize>, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        let size = stated.unwrap_or(header.len());
        match version {
            1 => bytes.extend((size as u16).to_le_bytes()),
            _ => bytes.extend((size as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn u32s(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let known = decode(bytes, Some(bytes.len() as u64), "<u4");
        // A pipe ends in the same way, though it may say so in other words.
        let piped = decode(bytes, None, "<u4");
        assert_eq!(known.clone().ok(), piped.ok());
        known
    }

    fn header(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
    }

    #[test]
    fn arrays_are_read_in_row_major_order() {
        let data: Vec<u8> = (0..6u32).flat_map(u32::to_le_bytes).collect();
        for version in 1..=3 {
            let plain = file(version, &header("'<u4'", "False", "(2, 3)"), None, &data);
            assert_eq!(u32s(&plain).as_ref(), Ok(&data));
        }
        let columns = file(1, &header("'<u4'", "True", "(2, 3)"), None, &data);
        let expected: Vec<u8> = [0, 2, 4, 1, 3, 5u32].into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(u32s(&columns), Ok(expected));
        assert_eq!(
            u32s(&file(1, "{\"shape\":(6L,),'fortran_order':False,'descr':'<u4'}", None, &data)),
            Ok(data)
        );
        assert_eq!(
            u32s(&file(1, &header("'<u4'", "False", "()"), None, &[7, 0, 0, 0])),
            Ok(vec![7, 0, 0, 0])
        );
        for empty in
            ["(0,)", "(0, 18446744073709551615, 18446744073709551615)", "(18446744073709551615, 2, 0)"]
        {
            assert_eq!(u32s(&file(1, &header("'<u4'", "True", empty), None, &[])), Ok(Vec::new()), "{empty}");
        }
        let bytes = file(1, &header("'<i1'", "False", "(2,)"), None, &[1, 2]);
        assert_eq!(decode(bytes.as_slice(), None, "|i1"), Ok(vec![1, 2]));
    }

    #[test]
    fn hostile_files_are_errors() {
        let one = [7, 0, 0, 0];
        let shape = |shape: &str| file(1, &header("'<u4'", "False", shape), None, &one);
        let cases: &[(Vec<u8>, &str)] = &[
            (Vec::new(), "no header"),
            (MAGIC.to_vec(), "no header"),
            (b"not an array at all".to_vec(), "does not begin"),
            (file(9, "", None, &[]), "version 9"),
            (shape("(1099511627776,)"), "4398046511104 bytes, 4 follow"),
            (shape("(4294967296,4294967296,4294967296)"), "too large for memory"),
            (shape("(9223372036854775808,2)"), "too large for memory"),
            (shape("(4611686018427387904,)"), "too large for memory"),
            (shape("(99999999999999999999999999,)"), "too large for memory"),
            (shape("(2,)"), "8 bytes, 4 follow"),
            (shape("(0,)"), "0 bytes, 4 follow"),
            (shape("(-1,)"), "where a number of elements"),
            (shape(&format!("({})", "1,".repeat(1000))), "more than 64 dimensions"),
            (shape(&format!("{}1{}", "(".repeat(20000), ")".repeat(20000))), "where a number of elements"),
            (file(2, &header(&"[".repeat(1 << 20), "False", "(1,)"), None, &one), "at most 65536 are read"),
            (file(1, &header(&"[".repeat(1 << 15), "False", "(1,)"), None, &one), "where a string"),
            (file(2, &header("'<u4'", "False", "(1,)"), Some(0xffff_ffff), &one), "at most 65536 are read"),
            (file(1, &header("'<u4'", "False", "(1,)"), Some(0xffff), &one), "cut off"),
            (file(1, &header("'|O'", "False", "(1,)"), None, b"\x80\x04N."), "are |O, not '<u4'"),
            (file(1, &header("'>u4'", "False", "(1,)"), None, &one), "are >u4, not '<u4'"),
            (file(1, &header("'<u8\u{1b}[2J'", "False", "(1,)"), None, &one), "<u8\\u{1b}[2J"),
            (file(1, &header("[('a', '<u4')]", "False", "(1,)"), None, &one), "where a string"),
            (file(1, &header("'<u4'", "Maybe", "(1,)"), None, &one), "`True` or `False`"),
            (file(1, "{'descr': '<u4', 'fortran_order': False}", None, &one), "lacks one of"),
            (file(1, "{'descr': '<u4', 'descr': '<u4'}", None, &one), "two entries"),
            (file(1, "{'descr': '<u4", None, &[]), "does not end"),
            (file(1, "{'a': 1}", None, &[]), "an entry `a`"),
            (file(1, "{} {}", None, &[]), "goes on behind"),
        ];
        for (bytes, expected) in cases {
            let error = u32s(bytes).unwrap_err();
            assert!(error.contains(expected), "{error}; expected {expected}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let bytes: Vec<u8> = (0..64).collect();
        let vector = Type::vector(ScalarType::F32, fulgurite::spec::Lanes::Four);
        let scalars = ScalarType::ALL.into_iter().filter(|ty| *ty != ScalarType::Bool).map(Type::scalar);
        for ty in scalars.chain([vector]) {
            write(&path, ty, &bytes).unwrap();
            assert_eq!(read(&path, ty.scalar).unwrap(), bytes);
            let start = std::fs::read(&path).unwrap();
            assert_eq!((start.len() - bytes.len()) % 64, 0);
        }
        assert_eq!(read(&path, ScalarType::I32).unwrap_err().code(), Code::BadFileFormat);
        assert_eq!(read(&path, ScalarType::BF16).unwrap_err().code(), Code::BadFileFormat);
        assert_eq!(read(folder.path(), ScalarType::I32).unwrap_err().code(), Code::BadFileFormat);
        assert_eq!(
            read(&folder.path().join("none"), ScalarType::I32).unwrap_err().code(),
            Code::FileUnreadable
        );
    }
}
