//! Tests of the bytes, of each error, and of bodies in a non-canonical form.

use fulgurite_spec::Code;

use super::body::{Body, Constant, Inst, Node};
use super::{WireError, body, decode, encode, seal, write};
use crate::kernel::Kernel;
use crate::{text, verify};

const SMALL: &str = "fulgurite 1
kernel @k workgroup(64, 2, 1) {
  buffer %x: read_write u32[]
  param %n: u32
  shared %t: f32x4[300]
  require eq (rem (len %x), 7u32), 0u32

  %i = global_id.x
  %v = load %x[%i]
  %0 = add %v, 7u32
  %c = lt %0, %n
  if %c {
    store %x[%i], %0
  }
  barrier[shared]
  %s = for %j in 0u32 to %n step 7u32 carry(%p = 1u32) {
    %q = while carry(%w = %p) {
      %go = gt %w, %j
      condition %go
    } do {
      %h = shr %w, 1u32
      yield %h
    }
    yield %q
  }
  store %x[0u32], %s
}
";

fn small() -> Kernel {
    text::parse(SMALL).unwrap()
}

fn bytes() -> Vec<u8> {
    encode(&verify(small()).unwrap()).unwrap()
}

/// Decodes the small kernel after `change` to its body, with a valid header and checksum.
fn changed(change: impl FnOnce(&mut Body<'_>)) -> Result<Kernel, WireError> {
    let kernel = small();
    let mut body = write::body(&kernel);
    change(&mut body);
    let mut bytes = Vec::new();
    assert!(body::append(&body, &mut bytes, usize::MAX).is_ok());
    decode(&seal(&bytes))
}

fn reason(outcome: Result<Kernel, WireError>) -> String {
    match outcome {
        Err(WireError::Malformed(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// The example in `docs/ir.md`.
#[test]
fn the_bytes_are_as_the_page_says() {
    let kernel = text::parse(
        "fulgurite 1\nkernel @inc workgroup(256, 1, 1) {\n  buffer %x: read_write u32[]\n\n  \
         %i = global_id.x\n  %v = load %x[%i]\n  %0 = add %v, 1u32\n  store %x[%i], %0\n}\n",
    )
    .unwrap();
    let bytes = encode(&verify(kernel).unwrap()).unwrap();
    #[rustfmt::skip]
    let expected = [
        &[0x8f, b'F', b'G', b'K', 1, 0, 0, 0, 70, 0, 0, 0, 0, 0, 0, 0][..],
        // Name and workgroup.
        &[3, b'i', b'n', b'c', 251, 0, 1, 1, 1],
        // Buffers; no parameters, shared arrays, local arrays or views; `needs`.
        &[1, 1, b'x', 7, 1, 2, 0, 0, 0, 0, 0],
        // Constants; no preconditions or nodes.
        &[1, 7, 1, 0, 0],
        // Values: %i, %v, %0.
        &[3, 1, b'i', 7, 1, 1, b'v', 7, 1, 0, 7, 1],
        // No regions.
        &[0],
        // Instructions: global_id, load, add, store, the end.
        &[5, 251, 32, 1, 0, 1, 1, 192, 0, 1, 2, 1, 0, 1, 2, 193, 0, 0, 3, 0, 0, 0, 0],
        // Words: .x; %x, %i; %v, 1u32; %x, %i, %0.
        &[8, 0, 0, 0, 2, 1, 0, 0, 4],
    ]
    .concat();
    assert_eq!(bytes[..bytes.len() - 16], expected);
    assert_eq!(bytes[bytes.len() - 16..], blake3::hash(&expected).as_bytes()[..16]);
}

#[test]
fn a_kernel_survives() {
    let kernel = verify(small()).unwrap();
    let bytes = encode(&kernel).unwrap();
    let again = verify(decode(&bytes).unwrap()).unwrap();
    assert_eq!(text::print(&again), SMALL);
    assert_eq!(again.digest(), kernel.digest());
    assert_eq!(encode(&again).unwrap(), bytes);
}

/// Unreachable instructions and the order of the arenas do not affect the bytes.
#[test]
fn bytes_hold_no_leftovers() {
    let mut kernel = small();
    kernel.add_block();
    let (block, x) = (kernel.add_block(), kernel.params[0].value);
    let kind = crate::InstKind::Scalar {
        op: fulgurite_spec::Op::Add,
        operands: crate::Operands::new(&[x, x]),
        mode: crate::FloatMode::Default,
    };
    kernel.add_inst(block, kind, &[fulgurite_spec::Type::U32], fulgurite_spec::Location::Unknown);
    let unused = crate::ValueDef::Const(crate::Const(99));
    kernel.add_value(fulgurite_spec::Type::U32, unused, Some("unused".into()));
    let require = &mut kernel.requires[0];
    let last = require.nodes[require.nodes.len() - 1].clone();
    require.nodes.insert(0, crate::require::RequireNode::NumWorkgroups(1));
    let shift = |node: &mut crate::require::RequireNode| {
        if let crate::require::RequireNode::Op { operands, .. } = node {
            operands.iter_mut().for_each(|o| *o += 1);
        }
    };
    require.nodes.iter_mut().for_each(shift);
    require.nodes.push(last.clone());
    if let Some(node) = require.nodes.last_mut() {
        shift(node);
    }
    assert_eq!(encode(&verify(kernel).unwrap()).unwrap(), bytes());
}

#[test]
fn what_is_wrong_has_a_code() {
    let good = bytes();
    let code = |bytes: &[u8]| decode(bytes).map_err(|e| e.code());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let n = good.len();
    assert_eq!(code(&[]).err(), Some(Code::NotAKernel));
    assert_eq!(code(SMALL.as_bytes()).err(), Some(Code::NotAKernel));
    assert_eq!(code(&with(0, 0)).err(), Some(Code::NotAKernel));
    assert_eq!(
        decode(&with(4, 2)).unwrap_err(),
        WireError::UnknownVersion { found: 2, known: 1 },
        "versions come before all else"
    );
    assert_eq!(code(&good[..6]).err(), Some(Code::WrongWireLength));
    assert_eq!(code(&good[..20]).err(), Some(Code::WrongWireLength));
    assert_eq!(
        decode(&good[..n - 1]).unwrap_err(),
        WireError::WrongLength { stated: n as u64, found: n as u64 - 1 }
    );
    assert_eq!(
        decode(&[&good[..], &[0]].concat()).unwrap_err(),
        WireError::WrongLength { stated: n as u64, found: n as u64 + 1 }
    );
    assert_eq!(code(&with(15, 1)).err(), Some(Code::WireOverLimit));
    assert_eq!(code(&with(15, 0xff)).err(), Some(Code::WireOverLimit));
    assert_eq!(code(&with(16, 0)).err(), Some(Code::WrongWireChecksum));
    assert_eq!(code(&with(n - 1, good[n - 1] ^ 1)).err(), Some(Code::WrongWireChecksum));
    assert_eq!(code(&seal(&[])).err(), Some(Code::MalformedWire));
    assert_eq!(
        WireError::UnknownVersion { found: 2, known: 1 }.to_string(),
        "the kernel is of wire version 2, known is version 1"
    );
}

#[test]
fn a_body_is_read_to_its_end() {
    let good = bytes();
    let body = &good[16..good.len() - 16];
    assert!(decode(&seal(body)).is_ok());
    assert_eq!(reason(decode(&seal(&[body, &[0]].concat()))), "1 bytes follow the body");
    for end in 0..body.len() {
        assert!(reason(decode(&seal(&body[..end]))).starts_with("the body does not parse"));
    }
}

/// A count that exceeds the number of bytes is rejected before memory is allocated.
#[test]
fn counts_are_not_believed() {
    // A name of 2^62 bytes; an empty name, a workgroup and 2^62 buffers.
    for start in [&[][..], &[0, 1, 1, 1][..]] {
        let body = [start, &[253], &(1u64 << 62).to_le_bytes()].concat();
        assert!(reason(decode(&seal(&body))).starts_with("the body does not parse"));
    }
    assert_eq!(reason(changed(|b| b.requires[0] = 999)), "there are too few nodes of preconditions");
    assert_eq!(reason(changed(|b| b.nodes[0].words = u32::MAX)), "there are too few words");
    assert_eq!(reason(changed(|b| b.insts[0].words = u32::MAX)), "there are too few words");
    assert_eq!(reason(changed(|b| b.insts[0].results = u32::MAX)), "there are too few values");
}

#[test]
fn there_is_one_way_to_say_it() {
    const OTHER: &str = "the body is not in its canonical form";
    assert!(changed(|_| ()).is_ok());
    assert_eq!(reason(changed(|b| b.constants.push(Constant { scalar: 7, bits: 5 }))), OTHER, "unused");
    let swapped = changed(|b| {
        b.constants.swap(0, 1);
        b.words.iter_mut().filter(|w| (-2..0).contains(*w)).for_each(|w| *w = -3 - *w);
    });
    // Words for memory objects and components are never negative, so all of these are constants.
    assert_eq!(reason(swapped), OTHER, "another order");
    let twice = changed(|b| {
        b.constants.push(Constant { scalar: 7, bits: 7 });
        let last = b.words.iter_mut().rfind(|w| **w == -1).unwrap();
        *last = -(b.constants.len() as i32);
    });
    assert_eq!(reason(twice), OTHER, "a constant twice");
    let needless = changed(|b| {
        b.requires[0] += 1;
        b.nodes.insert(0, Node { op: 291, words: 1 });
        b.words.insert(0, 2);
        // A buffer, a constant, two nodes, a constant, two nodes.
        assert_eq!(b.words[1..8], [0, -1, 0, 1, -2, 2, 3]);
        [3, 4, 6, 7].into_iter().for_each(|i| b.words[i] += 1);
    });
    assert_eq!(reason(needless), OTHER, "a node that nothing needs");
    // The first constant has type 7. Encode its value 7 in three bytes.
    let good = bytes();
    let body = &good[16..good.len() - 16];
    let at = body.windows(4).position(|w| w == [7, 7, 7, 0]).unwrap() + 1;
    let longer = [&body[..at], &[251, 7, 0], &body[at + 1..]].concat();
    assert_eq!(reason(decode(&seal(&longer))), OTHER, "a number longer than it is");
}

#[test]
fn what_makes_no_sense_is_named() {
    assert_eq!(reason(changed(|b| b.buffers[0].access = 3)), "there is no such access to a buffer: 3");
    assert_eq!(reason(changed(|b| b.values[0].ty.scalar = 200)), "there is no such scalar type: 200");
    assert_eq!(
        reason(changed(|b| b.values[0].ty.components = 5)),
        "there are no vectors of so many components: 5"
    );
    assert_eq!(reason(changed(|b| b.insts[1].op = 999)), "there is no such op: 999");
    assert_eq!(reason(changed(|b| b.insts[1].op = 384)), "`if` has no such number of words: 2");
    let end = |results, words| Inst { op: 0, attributes: 0, results, words };
    assert_eq!(reason(changed(|b| b.insts.push(end(0, 0)))), "something follows the end of the kernel");
    assert_eq!(reason(changed(|b| b.insts.truncate(1))), "a block does not end");
    assert_eq!(reason(changed(|b| b.words.push(0))), "there are words, values or names of no instruction");
    assert_eq!(
        reason(changed(|b| {
            b.insts.pop();
            b.insts.push(end(0, 1));
            b.words.push(0);
        })),
        "the kernel's own block yields"
    );
    assert_eq!(
        reason(changed(|b| {
            b.insts.pop();
            b.insts.push(end(1, 0));
        })),
        "the end of a block has results: 1"
    );
    assert_eq!(
        reason(changed(|b| b.nodes.push(Node { op: 0, words: 0 }))),
        "there are nodes of no precondition"
    );
    assert_eq!(
        reason(changed(|b| b.regions.push("r"))),
        "there are words, values or names of no instruction"
    );
    assert_eq!(reason(changed(|b| b.insts[0].attributes = 1)), "`global_id` has no such attributes: 1");
    assert_eq!(reason(changed(|b| b.insts[2].attributes = 9)), "`add` has no such attributes: 9");
    assert_eq!(reason(changed(|b| b.shared[0].initial = 2)), "an array begins as no such thing: 2");
    let view = |base| body::View { name: "v", base, element: body::TypeCode { scalar: 7, components: 1 } };
    assert_eq!(reason(changed(|b| b.views.push(view(2)))), "a view has no such base: 2");
    // `global_id` has a component that does not fit in `u8`; `load` has a missing memory object and index.
    let first = |b: &Body<'_>| b.nodes.iter().map(|n| n.words as usize).sum::<usize>();
    assert_eq!(
        reason(changed(|b| {
            let i = first(b);
            b.words[i] = 256;
        })),
        "there is no such component: 256"
    );
    assert_eq!(
        reason(changed(|b| {
            let i = first(b);
            b.words[i + 1] = 2;
        })),
        "there is no such memory object: 2"
    );
    assert_eq!(
        reason(changed(|b| {
            let i = first(b);
            b.words[i + 1] = -1;
        })),
        "there is no such memory object: -1"
    );
    assert_eq!(
        reason(changed(|b| {
            let i = first(b);
            b.words[i + 2] = 2;
        })),
        "there is no such value here: 2"
    );
    assert_eq!(
        reason(changed(|b| {
            let i = first(b);
            b.words[i + 2] = -9;
        })),
        "there is no such value here: -9"
    );
    assert_eq!(
        reason(changed(|b| {
            let i = first(b);
            b.words[i + 2] = i32::MIN;
        })),
        "there is no such value here: -2147483648"
    );
}

/// Kernels that break rules of the language decode; the verifier rejects them.
#[test]
fn the_verifier_has_the_last_word() {
    for (kernel, code) in [
        (changed(|b| b.workgroup = [0, 1, 1]), Code::BadWorkgroup),
        (changed(|b| b.name = "not a name"), Code::BadName),
        (changed(|b| b.params[0].name = "x"), Code::BadName),
        (changed(|b| b.buffers[0].access = 0), Code::NotWritable),
        (changed(|b| b.values[1].ty.components = 4), Code::BadResultType),
        (changed(|b| b.constants[0].bits = 1 << 40), Code::Malformed),
    ] {
        let problems = verify(kernel.unwrap()).unwrap_err();
        assert!(problems.all().iter().any(|p| p.code == code), "{code}: {problems}");
    }
}

fn arrays<'a>() -> impl Iterator<Item = body::Array<'a>> {
    (0..65).map(|_| body::Array {
        name: "a",
        element: body::TypeCode { scalar: 7, components: 1 },
        len: 1,
        initial: 0,
    })
}

fn params<'a>() -> impl Iterator<Item = body::TypedName<'a>> {
    arrays().map(|a| body::TypedName { name: a.name, ty: a.element })
}

fn buffers<'a>() -> impl Iterator<Item = body::Buffer<'a>> {
    arrays().map(|a| body::Buffer { name: a.name, element: a.element, access: 0 })
}

#[test]
fn lists_have_limits() {
    let over = |outcome: Result<Kernel, WireError>| match outcome {
        Err(WireError::OverLimit { what, limit }) => (what, limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(over(changed(|b| b.locals.extend(arrays()))), ("local arrays", 64));
    assert_eq!(over(changed(|b| b.shared.extend(arrays()))), ("shared arrays", 64));
    assert_eq!(over(changed(|b| b.requires.extend([0; 65]))), ("preconditions", 64));
    assert_eq!(over(changed(|b| b.requires[0] = u32::MAX)), ("nodes of a precondition", 65_536));
    assert_eq!(over(changed(|b| b.params.extend(params()))), ("parameters", 64));
    assert_eq!(over(changed(|b| b.buffers.extend(buffers()))), ("buffers", 64));
    let error = changed(|b| b.buffers.extend(buffers())).unwrap_err();
    assert_eq!(error.code(), Code::WireOverLimit);
    assert_eq!(error.to_string(), "the kernel has more than 64 buffers");
}

#[test]
fn a_kernel_may_be_too_large() {
    // As many names of 128 bytes as necessary.
    let mut kernel = Kernel::empty("large", [1, 1, 1]);
    let name: Box<str> = "n".repeat(128).into();
    let kind = || crate::InstKind::Id { op: fulgurite_spec::Op::LocalIndex, component: 0 };
    for _ in 0..500_000 {
        kernel.add_inst(kernel.body, kind(), &[fulgurite_spec::Type::U32], fulgurite_spec::Location::Unknown);
    }
    kernel.values.iter_mut().for_each(|v| v.name = Some(name.clone()));
    let error = encode(&verify(kernel).unwrap()).unwrap_err();
    assert_eq!(error.code(), Code::WireOverLimit);
    assert_eq!(error.to_string(), "the kernel has more than 67108864 bytes");
}
