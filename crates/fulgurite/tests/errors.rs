//! Invalid input through the facade: each gives a typed error with its code, and none panics.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fulgurite::prelude::*;
use fulgurite::{Code, DynArg, ScalarType, Type};

fn cpu() -> Context {
    Context::builder().backend("cpu").open().unwrap()
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|e| e.code())
}

const COPY: &str = "fulgurite 1
kernel @copy workgroup(64, 1, 1) {
  buffer %x: read u32[]
  buffer %y: write u32[]
  param %n: u32
  require le %n, len %x
  %i = global_id.x
  %v = load %x[%i]
  store %y[%i], %v
}
";

#[test]
fn opening() {
    assert_eq!(code(Context::builder().backend("cuda").open()), Some(Code::UnknownBackend));
    let none = fulgurite::Registry::new();
    assert_eq!(code(Context::builder().registry(none).open()), Some(Code::NoBackend));
}

#[test]
fn malformed_text_says_where() {
    let error = fulgurite::parse("fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  %a = add %b, 1u32\n}\n")
        .unwrap_err();
    assert_eq!(error.code(), Code::UnknownName);
    assert!(error.to_string().contains("3:12"), "{error}");
    assert_eq!(code(fulgurite::parse("")), Some(Code::BadHeader));
    assert_eq!(code(fulgurite::parse("fulgurite 9\n")), Some(Code::BadHeader));
    assert_eq!(code(fulgurite::parse(&COPY.replace("write", "read"))), Some(Code::NotWritable));
}

#[test]
fn bytes_of_a_kernel() {
    let double = kernel::<(ReadWrite<u32>, u32)>("double", ["y", "n"], [64, 1, 1], |k, (y, n)| {
        let i = k.global_id().x();
        k.if_(i.lt(n), |_| y.store(i, y.load(i) * 2));
    })
    .unwrap();
    let bytes = double.to_bytes().unwrap();
    let decoded = fulgurite::decode(&bytes).unwrap();
    assert_eq!(decoded.digest(), double.verified().digest());
    assert_eq!(format!("{decoded:?}"), format!("{double:?}"));
    let ctx = cpu();
    let words = Type::scalar(ScalarType::U32);
    let y = ctx.dyn_buffer(words, &[3, 0, 0, 0, 5, 0, 0, 0]).unwrap();
    let args = [DynArg::Buffer(&y), DynArg::Param(words, &[1, 0, 0, 0])];
    let exe = ctx.compile_dynamic(&decoded).unwrap();
    exe.launch_with(&LaunchOptions::default(), &args).unwrap();
    assert_eq!(y.read().unwrap(), [6, 0, 0, 0, 5, 0, 0, 0]);

    assert_eq!(code(fulgurite::decode(COPY.as_bytes())), Some(Code::NotAKernel));
    assert_eq!(code(fulgurite::decode(&bytes[..40])), Some(Code::WrongWireLength));
    let error =
        fulgurite::decode(&[&bytes[..bytes.len() - 1], &[!bytes[bytes.len() - 1]]].concat()).unwrap_err();
    assert_eq!(error.code(), Code::WrongWireChecksum);
    assert!(error.to_string().starts_with("error[FG0804]: the kernel's bytes do not fit"), "{error}");
    // A decoded kernel is verified; here, its workgroup has no invocations.
    let mut body = bytes[16..bytes.len() - 16].to_vec();
    assert_eq!(body[7..10], [64, 1, 1]);
    body[7] = 0;
    assert_eq!(code(fulgurite::decode(&fulgurite::ir::wire::seal(&body))), Some(Code::BadWorkgroup));
}

#[test]
fn every_verification_error_comes_back() {
    let result = kernel::<(Read<u32>, Write<u32>)>("k", ["x", "x"], [0, 1, 1], |k, (x, y)| {
        let i = k.global_id().x();
        k.if_(i.eq(0), |k| k.barrier());
        y.store(i, x.load(i));
    });
    let Err(Error::Invalid(all)) = result else { panic!("it verified") };
    let codes: Vec<Code> = all.all().iter().map(|d| d.code).collect();
    assert_eq!(codes, [Code::BadWorkgroup, Code::BadName, Code::NotUniform]);
}

#[test]
fn arguments_that_do_not_fit() {
    let ctx = cpu();
    let exe = ctx.compile_dynamic(&fulgurite::parse(COPY).unwrap()).unwrap();
    let words = Type::scalar(ScalarType::U32);
    let x = ctx.dyn_buffer(words, &[0; 16]).unwrap();
    let y = ctx.dyn_buffer(words, &[0; 16]).unwrap();
    let floats = ctx.dyn_buffer(Type::F32, &[0; 16]).unwrap();
    let n = [4u8, 0, 0, 0];
    let launch = |args: &[DynArg<'_>]| code(exe.launch_with(&LaunchOptions::default(), args));
    use DynArg::{Buffer, Param};
    assert_eq!(launch(&[Buffer(&x), Buffer(&y), Param(words, &n)]), None);
    assert_eq!(launch(&[Buffer(&x), Buffer(&y)]), Some(Code::WrongArgumentCount));
    assert_eq!(
        launch(&[Buffer(&x), Buffer(&y), Buffer(&y), Param(words, &n)]),
        Some(Code::WrongArgumentCount)
    );
    assert_eq!(launch(&[Buffer(&floats), Buffer(&y), Param(words, &n)]), Some(Code::WrongArgumentType));
    assert_eq!(launch(&[Buffer(&x), Buffer(&y), Param(Type::F32, &n)]), Some(Code::WrongArgumentType));
    assert_eq!(launch(&[Buffer(&x), Buffer(&y), Param(words, &n[..2])]), Some(Code::WrongArgumentType));
    assert_eq!(launch(&[Buffer(&x), Buffer(&x), Param(words, &n)]), Some(Code::BufferOverlap));
    assert_eq!(launch(&[Buffer(&x), Buffer(&y), Param(words, &[5, 0, 0, 0])]), Some(Code::RequireFailed));
    assert_eq!(code(ctx.dyn_buffer(words, &[0; 3])), Some(Code::BufferSize));
    assert_eq!(code(ctx.dyn_buffer(Type::BOOL, &[])), Some(Code::BadElementType));
}

#[test]
fn buffers_of_another_size_or_context() {
    let (ctx, other) = (cpu(), cpu());
    assert_eq!(code(ctx.zeroed::<[f32; 4]>(1 << 60)), Some(Code::BufferSize));
    assert_eq!(code(ctx.zeroed::<f32>(1 << 61)), Some(Code::Unsupported));
    let mut buffer = ctx.buffer(&[1u32, 2, 3]).unwrap();
    assert_eq!(code(buffer.write(&[1, 2])), Some(Code::BufferSize));
    assert_eq!(code(buffer.read_into(&mut [0; 4])), Some(Code::BufferSize));
    assert_eq!(buffer.read().unwrap(), [1, 2, 3]);
    let fill =
        kernel::<(Write<u32>,)>("fill", ["y"], [64, 1, 1], |k, (y,)| y.store(k.global_id().x(), 7)).unwrap();
    let exe = other.compile(&fill).unwrap();
    assert_eq!(code(exe.launch((&mut buffer,))), Some(Code::ForeignBuffer));
    assert_eq!(buffer.read().unwrap(), [1, 2, 3], "a refused launch changes nothing");
    ctx.compile(&fill).unwrap().launch((&mut buffer,)).unwrap();
    assert_eq!(buffer.read().unwrap(), [7, 7, 7]);
}

#[test]
fn a_loop_without_end_is_stopped() {
    let endless = kernel::<(ReadWrite<u32>,)>("endless", ["y"], [1, 1, 1], |k, (y,)| {
        let n = k.while_(k.val(1u32), |_, n| n.ne(0), |_, n| n | 1);
        y.store(0, n);
    })
    .unwrap();
    for id in ["cpu", "reference"] {
        let ctx = Context::builder().backend(id).open().unwrap();
        let mut y = ctx.zeroed(1).unwrap();
        let exe = ctx.compile(&endless).unwrap();
        let options = LaunchOptions::default().timeout(Duration::from_millis(100));
        assert_eq!(code(exe.launch_with(&options, (&mut y,))), Some(Code::Timeout), "{id}");
        let fill = kernel::<(Write<u32>,)>("fill", ["y"], [1, 1, 1], |_, (y,)| y.store(0, 5)).unwrap();
        ctx.compile(&fill).unwrap().launch((&mut y,)).unwrap();
        assert_eq!(y.read().unwrap(), [5], "{id}: the next launch works");
    }
}

#[test]
fn messages_say_what_was_passed() {
    let ctx = cpu();
    let copy = ctx.compile_dynamic(&fulgurite::parse(COPY).unwrap()).unwrap();
    let (x, y) = (ctx.buffer(&[1u32; 5]).unwrap().into(), ctx.buffer(&[0u32; 5]).unwrap().into());
    let error =
        copy.launch(&[DynArg::Buffer(&x), DynArg::Buffer(&y), DynArg::param(&7u32)]).unwrap_err().to_string();
    assert!(
        error.contains("`require le %n, (len %x)` does not hold: `%n` is 7u32, `len %x` is 5u32"),
        "{error}"
    );
    let shorter = ctx.buffer(&[0u32; 4]).unwrap().into();
    let error = copy.launch(&[DynArg::Buffer(&x), DynArg::Buffer(&shorter), DynArg::param(&3u32)]);
    assert!(error.is_ok(), "it says what the length of `%x` must be");
    let buffer = ctx.buffer(&[0u32; 4]).unwrap();
    let error = buffer.slice(2..9).map(drop).unwrap_err().to_string();
    assert!(error.contains("elements `2..9` are not within 4 of u32"), "{error}");
    let error = buffer.slice(..=4).map(drop).unwrap_err().to_string();
    assert!(error.contains("`..=4`"), "{error}");
    let odd = fulgurite::kernels::Product { m: 17, n: 16, k: 8 };
    let error = ctx.tuned(fulgurite::kernels::MatmulF32, &odd).map(drop).unwrap_err().to_string();
    assert!(error.contains("[FG1105]") && error.contains("multiples of 16"), "{error}");
    let error = ctx.tuned(fulgurite::kernels::MatmulF16, &odd).map(drop).unwrap_err().to_string();
    assert!(error.contains("[FG1105]") && error.contains("multiples of 32"), "{error}");
}
