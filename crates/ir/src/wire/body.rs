//! The body of a kernel's bytes as flat structs, and the only use of bincode.
//!
//! The structs are the format: their fields, in order, are what is written. Nothing in them is an arena's type or
//! the position of an enum's variant, and nothing nests, so that reading needs no stack. Knows no kernels.

use core::fmt;
use core::marker::PhantomData;

use bincode::config::{self, Configuration, Limit};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use fulgurite_spec::limits::MAX_WIRE_BYTES;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::WireError;

/// Everything about a kernel.
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
    /// 1 if workgroups may wait for others, else 0.
    pub(super) needs: u8,
    /// Distinct, in order of their first use in `words`.
    #[serde(deserialize_with = "list")]
    pub(super) constants: Vec<Constant>,
    /// How many nodes each precondition has.
    #[serde(deserialize_with = "list")]
    pub(super) requires: Vec<u32>,
    /// Those of all preconditions.
    #[serde(deserialize_with = "list")]
    pub(super) nodes: Vec<Node>,
    /// Parameters of blocks and results, in order of definition. The name is empty if there is none.
    #[serde(borrow, deserialize_with = "list")]
    pub(super) values: Vec<TypedName<'a>>,
    /// Names of regions, in program order.
    #[serde(borrow, deserialize_with = "list")]
    pub(super) regions: Vec<&'a str>,
    /// Instructions and ends of blocks, in program order.
    #[serde(deserialize_with = "list")]
    pub(super) insts: Vec<Inst>,
    /// What nodes and instructions work on, all one after the other.
    #[serde(deserialize_with = "list")]
    pub(super) words: Vec<i32>,
}

/// A type: the scalar's permanent number, and how many components or the number of a matrix's shape.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct TypeCode {
    pub(super) scalar: u8,
    pub(super) components: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Buffer<'a> {
    pub(super) name: &'a str,
    pub(super) element: TypeCode,
    /// 0 read, 1 write, 2 both; plus 4 if it is large.
    pub(super) access: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    /// The number of a buffer or array.
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
    /// What it begins as: 0 zeros, 1 nothing.
    pub(super) initial: u8,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Constant {
    pub(super) scalar: u8,
    pub(super) bits: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Node {
    /// The op's permanent number, or [`LEAF`].
    pub(super) op: u16,
    /// How many of the words are its.
    pub(super) words: u32,
}

/// In place of a node's op: a constant or parameter.
pub(super) const LEAF: u16 = 0;

#[derive(Serialize, Deserialize)]
pub(super) struct Inst {
    /// The op's permanent number, or [`END`].
    pub(super) op: u16,
    /// What stands in brackets after the op, or 0.
    pub(super) attributes: u8,
    /// How many values it defines, not counting parameters of blocks.
    pub(super) results: u32,
    /// How many of the words are its.
    pub(super) words: u32,
}

/// In place of an instruction's op: the end of a block.
pub(super) const END: u16 = 0;

/// Most items that room is made for before they are there. Serde's own limit is a MiB, which is much for a kernel
/// of a few bytes.
const FIRST_ITEMS: usize = 64;

/// Reads a list, whose count is not believed: it grows with what is there.
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

/// Most bytes that are read. Each counts as up to eight: bincode takes off the size of the type, and a `usize`
/// may take one byte.
const READ_LIMIT: usize = 8 * MAX_WIRE_BYTES;

/// Little-endian, numbers in as few bytes as they take.
fn format() -> Configuration<config::LittleEndian, config::Varint, Limit<READ_LIMIT>> {
    config::standard().with_limit::<READ_LIMIT>()
}

/// The body that `bytes` are, no less and no more.
pub(super) fn parse(bytes: &[u8]) -> Result<Body<'_>, WireError> {
    let (body, read): (Body<'_>, usize) = bincode::serde::borrow_decode_from_slice(bytes, format())
        .map_err(|e| WireError::malformed(format!("the body does not parse: {e}")))?;
    if read == bytes.len() {
        Ok(body)
    } else {
        Err(WireError::malformed(format!("{} bytes follow the body", bytes.len() - read)))
    }
}

/// There is no room for what was to be written.
pub(super) struct NoRoom;

/// Appends `body` to `bytes`, unless they would be more than `limit`.
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

/// Whether `body` is written as `bytes`.
pub(super) fn is_same(body: &Body<'_>, bytes: &[u8]) -> bool {
    let mut rest = Expect { rest: bytes };
    bincode::serde::encode_into_writer(body, &mut rest, format()).is_ok() && rest.rest.is_empty()
}

/// Takes only the bytes that it expects, and keeps nothing.
struct Expect<'b> {
    rest: &'b [u8],
}

impl Writer for &mut Expect<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(EncodeError::Other("not the same"))?;
        Ok(())
    }
}
