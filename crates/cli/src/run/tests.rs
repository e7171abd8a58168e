//! Tests of runs on the backends that need no driver.

use clap::Parser as _;
use fulgurite::{Agreement, Code, Freedom};

use super::*;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &[&str]) -> Args {
    Line::try_parse_from([&["run", "k.fg", "--backend", "cpu"], line].concat()).unwrap().args
}

fn code<T>(result: Result<T, Error>) -> Option<Code> {
    result.err().map(|e| e.code())
}

fn kernel(name: &str, body: &str) -> Arc<VerifiedKernel> {
    fulgurite::parse(&format!("fulgurite 1\nkernel @{name} workgroup(64, 1, 1) {{\n{body}\n}}\n")).unwrap()
}

/// Runs a kernel of `body` with these buffers and parameters on the CPU backend, checked, and returns whether it is right.
fn ran(body: &str, buffers: &[&str], params: &[&str]) -> Result<bool, Error> {
    let mut line = Vec::new();
    buffers.iter().for_each(|b| line.extend(["-b", b]));
    params.iter().for_each(|p| line.extend(["-p", p]));
    run_kernels(&args(&line), &[kernel("k", body)]).map(|results| results.is_right())
}

const FLOATS: &str =
    "  buffer %x: read f32[]\n  buffer %o: write f32[]\n  %i = global_id.x\n  %v = load %x[%i]\n";

#[test]
fn differences_that_the_op_table_allows_are_accepted() {
    let narrowed = "%h = convert %v -> f16\n  %k = convert %h -> f32\n  store %o[%i], %k";
    let chain = "%h = exp %v\n  %k = sin %h\n  store %o[%i], %k";
    for (body, x) in [(narrowed, "x=nan,-nan,1"), (chain, "x=0.1,0.2,0.3,1.7,3.3")] {
        assert_eq!(ran(&format!("{FLOATS}{body}"), &[x, "o=zeros:5"], &[]), Ok(true));
    }
    let copy = kernel("k", &format!("{FLOATS}store %o[%i], %v"));
    let apart = |wanted: &[u8], got: &[u8]| {
        Freedom::of(&copy, fulgurite::spec::TypeSet::FLOAT).compare(1, wanted, got)
    };
    let mut results =
        run_kernels(&args(&["-b", "x=1", "-b", "o=zeros:1"]), std::slice::from_ref(&copy)).unwrap();
    assert!(results.is_right());
    for (got, is_right) in [([0; 4], true), ([1, 0, 0, 0], false)] {
        results.first.agreements = vec![vec![(1, apart(&[0; 4], &got))]];
        assert_eq!(results.is_right(), is_right);
        assert_eq!(results.first.agreements[0][0].1 == Agreement::Equal, is_right);
    }
}

#[test]
fn values_that_are_missing_unknown_or_given_twice_are_errors() {
    let copy = format!("{FLOATS}store %o[%i], %v");
    for (buffers, params, wanted, text) in [
        (&["x=1", "o=zeros:1", "x=2"][..], &[][..], Code::BadUsage, "buffer `x` is given twice"),
        (&["x=1"], &[], Code::WrongArgumentCount, "no value for buffer `o`: add `--buffer o=…`"),
        (
            &["x=1", "o=1", "p=1"],
            &[],
            Code::BadUsage,
            "no kernel has a buffer `p`\n  help: Name one of `x`, `o`.",
        ),
        (
            &["x=1", "o=1"],
            &["a=1"],
            Code::BadUsage,
            "no kernel has a param `a`\n  help: Omit the argument: there is no param to name.",
        ),
        (&["x=1", "o"], &[], Code::BadUsage, "`o` is not NAME=…"),
        (&["x=1,y", "o=1"], &[], Code::WrongArgumentType, "buffer `x`: `y` is not a number of type f32"),
        (
            &["x=f.npy", "o=1"],
            &[],
            Code::WrongArgumentType,
            "buffer `x`: `f.npy` is not a number of type f32; `@f.npy` reads",
        ),
    ] {
        let error = ran(&copy, buffers, params).unwrap_err();
        assert!(error.code() == wanted && error.to_string().contains(text), "{error}; expected {text}");
    }
}

#[test]
fn preconditions_that_overflow_are_false_or_true_and_no_panic() {
    // The product wraps to 0, which the buffer has room for.
    let body = "  buffer %y: read_write u32[]\n  param %n: u32\n  require le (mul %n, %n), (len %y)\n  \
                require eq (div %n, 0u32), %n\n  %i = global_id.x\n  %k = mul %n, %i\n  store %y[%k], 7u32";
    assert_eq!(ran(body, &["y=0,0"], &["n=65536"]), Ok(true));
    assert_eq!(code(ran(body, &["y=0,0"], &["n=65535"])), Some(Code::RequireFailed));
    let both = "  buffer %y: read_write u32[]\n  param %n: u32\n  require ge %n, 1u32\n  require le %n, 0u32\n  \
                %i = global_id.x\n  %q = div %i, %n\n  store %y[%i], %q";
    assert_eq!(code(ran(both, &["y=1"], &["n=0"])), Some(Code::RequireFailed));
}

/// Adds a parameter to every element of `y`.
fn add(name: &str) -> Arc<VerifiedKernel> {
    kernel(
        name,
        "  buffer %y: read_write u32[]\n  param %n: u32\n  %i = global_id.x\n  %v = load %y[%i]\n  \
         %w = add %v, %n\n  store %y[%i], %w",
    )
}

#[test]
fn kernels_share_buffers_and_parameters_by_name() {
    let double = kernel(
        "double",
        "  buffer %y: read u32[]\n  buffer %z: write u32[]\n  %i = global_id.x\n  %v = load %y[%i]\n  \
         %w = add %v, %v\n  store %z[%i], %w",
    );
    let kernels = [add("first"), double, add("last")];
    let both = ["-b", "y=1,2", "-b", "z=zeros:2", "-p", "n=10", "-p", "last:n=100", "--repeat", "2"];
    let results = run_kernels(&args(&both), &kernels).unwrap();
    assert!(results.is_right() && results.first.agreements.len() == 3);
    let words = |bytes: &[u8]| bytes.chunks_exact(4).map(|word| word[0]).collect::<Vec<_>>();
    assert_eq!(
        results.first.contents.iter().map(|bytes| words(bytes)).collect::<Vec<_>>(),
        [[111, 112], [22, 24]]
    );
    assert_eq!(results.repeated.unwrap().all.len(), 2);
    let grids = ["-b", "y=1,2", "-p", "n=1", "--grid", "1", "--linear", "last=1"];
    let results = run_kernels(&args(&grids), &[add("first"), add("last")]).unwrap();
    assert_eq!(words(&results.first.contents[0]), [3, 4], "a grid of one invocation is a whole workgroup");
}

#[test]
fn kernels_of_one_name_are_numbered() {
    let kernels = [add("k"), add("l"), add("k")];
    let given = ["-b", "y=1", "-b", "z=5", "--bind", "k#2:y=z", "-p", "n=10", "-p", "k#2:n=100"];
    let results = run_kernels(&args(&given), &kernels).unwrap();
    let labels: Vec<_> = results.plan.steps.iter().map(|step| step.label.as_str()).collect();
    assert_eq!(labels, ["k#1", "l", "k#2"]);
    let first: Vec<_> = results.first.contents.iter().map(|bytes| bytes[0]).collect();
    assert_eq!(first, [21, 105]);
    for line in [["-p", "k:n=1"], ["--grid", "k=1"], ["--bind", "k:y=z"]] {
        let error = run_kernels(&args(&[&["-b", "y=1"], &line[..]].concat()), &kernels).map(|_| ());
        let text = error.unwrap_err().to_string();
        let wanted = "several kernels have the name `k`\n  help: Name one of `k#1`, `l`, `k#2`.";
        assert!(text.contains("FG0704") && text.contains(wanted), "{text}");
    }
}

#[test]
fn kernels_that_do_not_fit_together_are_errors() {
    let floats = kernel("floats", "  buffer %y: read f32[]");
    let kernels = [add("k"), floats];
    for (line, text) in [
        (&["-b", "y=1", "-p", "n=1"][..], "declare it as u32 and as f32"),
        (&["-p", "n=1"], "declare it as u32 and as f32"),
    ] {
        let error = run_kernels(&args(line), &kernels).map(|_| ()).unwrap_err();
        assert!(error.code() == Code::WrongArgumentType && error.to_string().contains(text), "{error}");
    }
    let kernels = [add("k"), add("l")];
    let given = ["-b", "y=1", "-p", "n=1"];
    for (line, text) in [
        (
            &["--grid", "1", "--linear", "1"][..],
            "kernel `k` has two grids\n  help: Give one of `--grid` and `--linear`.",
        ),
        (&["--grid", "m=1"], "there is no kernel `m`\n  help: Name one of `k`, `l`."),
        (&["--grid", "1", "--grid", "2"], "second of its kind"),
        (&["--linear", "x"], "`x` is not a number of invocations"),
        (&["-p", "k:m=1"], "no kernel has a param `m`\n  help: The only param is `n`."),
        (&["-p", "k:n=1", "-p", "k:n=2"], "param `k:n` is given twice"),
        (&["-o", "y=a.npy", "-o", "y=b.npy"], "buffer `y` is written to two files"),
        (&["--bind", "y=z"], "`y=z` is not KERNEL:NAME=BUFFER"),
        (&["--bind", "k:x=z"], "no kernel has a buffer `x`\n  help: The only buffer is `y`."),
        (&["--bind", "k:y=z", "--bind", "k:y=w"], "buffer `k:y` is bound twice"),
        (&["-o", "z=a.npy"], "no kernel has a buffer `z`"),
        (&["--capture", "c.json"], "--capture writes one launch, and there are 2 kernels"),
        (&["--timeout=-1"], "`-1` is not a number of seconds"),
    ] {
        let error = run_kernels(&args(&[&given[..], line].concat()), &kernels).map(|_| ()).unwrap_err();
        assert!(
            error.code() == Code::BadUsage && error.to_string().contains(text),
            "{error}; expected {text}"
        );
    }
}
