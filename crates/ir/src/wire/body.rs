//! The body of an encoded kernel as flat structs, and the only use of bincode.
//!
//! The structs define the format: their fields are written in order. They contain neither arena types nor enum
//! discriminants, and do not nest recursively, so that reading needs no stack. This module does not depend on
//! [`Kernel`](crate::Kernel).

use core::fmt;
use core::marker::PhantomData;

use bincode::config::{self, Configuration, Limit};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use fulgurite_spec::limits::MAX_WIRE_BYTES;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::WireError;

/// The body of an encoded kernel.
#[derive(Serialize, Deserialize)]
pub(super) struct Body<'a> {
    pub(super) name: &'a str,
    pub(super) workgroup: [u32; 3],
    #[serde(borrow, deserialize_with = "list")]
    pub(super) buffers: Vec<Buffer<'a>>,
    #[serde(borrow, deserialize_with = "list")]
    pub(super) params: Vec<TypedName<'a>>,
    #[serde(borrow, deserialize_with = "list")]
    pub(super) shared: Vec<Array<'a>>,
    #[serde(borrow, deserialize_with = "list")]
    pub(super) locals: Vec<Array<'a>>,
    #[serde(borrow, deserialize_with = "list")]
    pub(super) views: Vec<View<'a>>,
    /// 1 if workgroups may wait for others, otherwise 0.
    pub(super) needs: u8,
    /// Distinct constants, in order of their first use in `words`.
    #[serde(deserialize_with = "list")]
    pub(super) constants: Vec<Constant>,
    /// The number of nodes of each precondition.
    #[serde(deserialize_with = "list")]
    pub(super) requires: Vec<u32>,
    /// The nodes of all preconditions.
    #[serde(deserialize_with = "list")]
    pub(super) nodes: Vec<Node>,
    /// Block parameters and results, in order of definition. The name is empty for unnamed values.
    #[serde(borrow, deserialize_with = "list")]
    pub(super) values: Vec<TypedName<'a>>,
    /// Names of regions, in program order.
    #[serde(borrow, deserialize_with = "list")]
    pub(super) regions: Vec<&'a str>,
    /// Instructions and block ends, in program order.
    #[serde(deserialize_with = "list")]
    pub(super) insts: Vec<Inst>,
    /// The concatenated words of nodes and instructions.
    #[serde(deserialize_with = "list")]
    pub(super) words: Vec<i32>,
}

/// A type: the permanent number of the scalar type, and the number of components or of the matrix shape.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct TypeCode {
    pub(super) scalar: u8,
    pub(super) components: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Buffer<'a> {
    pub(super) name: &'a str,
    pub(super) element: TypeCode,
    /// 0 for read, 1 for write, 2 for read-write; plus 4 for a large buffer.
    pub(super) access: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    /// The number of the base memory object.
    pub(super) base: u32,
    pub(super) element: TypeCode,
}

#[derive(Serialize, Deserialize)]
pub(super) struct TypedName<'a> {
    pub(super) name: &'a str,
    pub(super) ty: TypeCode,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Array<'a> {
    pub(super) name: &'a str,
    pub(super) element: TypeCode,
    pub(super) len: u32,
    /// Initial contents: 0 for zeros, 1 for uninitialized.
    pub(super) initial: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Constant {
    pub(super) scalar: u8,
    pub(super) bits: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Node {
    /// The permanent number of the op, or [`LEAF`].
    pub(super) op: u16,
    /// The number of its words.
    pub(super) words: u32,
}

/// The op of a node that is a constant or parameter.
pub(super) const LEAF: u16 = 0;

#[derive(Serialize, Deserialize)]
pub(super) struct Inst {
    /// The permanent number of the op, or [`END`].
    pub(super) op: u16,
    /// The attributes after the op, or 0.
    pub(super) attributes: u8,
    /// The number of results, not counting block parameters.
    pub(super) results: u32,
    /// The number of its words.
    pub(super) words: u32,
}

/// The op that marks the end of a block.
pub(super) const END: u16 = 0;

/// The maximum capacity reserved before items are read. Serde reserves up to 1 MiB, which is too much for a kernel of
/// a few bytes.
const FIRST_ITEMS: usize = 64;

/// Reads a list without trusting its stated length: the list grows as items are read.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::with_capacity(from.size_hint().unwrap_or(0).min(FIRST_ITEMS));
            while let Some(item) = from.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }

    from.deserialize_seq(Items(PhantomData))
}

/// The limit for bincode, which counts the in-memory size of each value: a `usize` encoded as one byte counts as
/// eight.
const READ_LIMIT: usize = 8 * MAX_WIRE_BYTES;

/// Little-endian, with variable-length integers.
fn format() -> Configuration<config::LittleEndian, config::Varint, Limit<READ_LIMIT>> {
    config::standard().with_limit::<READ_LIMIT>()
}

/// Parses the body, which must take up all of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Body<'_>, WireError> {
    let (body, read): (Body<'_>, usize) = bincode::serde::borrow_decode_from_slice(bytes, format())
        .map_err(|e| WireError::malformed(format!("the body does not parse: {e}")))?;
    if read == bytes.len() {
        Ok(body)
    } else {
        Err(WireError::malformed(format!("{} bytes follow the body", bytes.len() - read)))
    }
}

/// Error when the body exceeds the size limit.
pub(super) struct NoRoom;

/// Appends `body` to `bytes`. Fails if the result would be longer than `limit`.
pub(super) fn append(body: &Body<'_>, bytes: &mut Vec<u8>, limit: usize) -> Result<(), NoRoom> {
    bincode::serde::encode_into_writer(body, Append { bytes, limit }, format()).map_err(|_| NoRoom)
}

struct Append<'b> {
    bytes: &'b mut Vec<u8>,
    limit: usize,
}

impl Writer for Append<'_> {
    fn write(&mut self, more: &[u8]) -> Result<(), EncodeError> {
        if more.len() > self.limit.saturating_sub(self.bytes.len()) {
            return Err(EncodeError::Other("over the limit"));
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }
}

/// Returns whether `bytes` is the encoding of `body`.
pub(super) fn is_same(body: &Body<'_>, bytes: &[u8]) -> bool {
    let mut rest = Expect { rest: bytes };
    bincode::serde::encode_into_writer(body, &mut rest, format()).is_ok() && rest.rest.is_empty()
}

/// A writer that compares its input with the expected bytes and stores nothing.
struct Expect<'b> {
    rest: &'b [u8],
}

impl Writer for &mut Expect<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(EncodeError::Other("not the same"))?;
        Ok(())
    }
}
