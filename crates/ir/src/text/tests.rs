//! Tests of round trips, invalid texts and malformed kernels.

use proptest::prelude::*;

use super::{Kept, keep, parse, print};
use crate::kernel::*;
use crate::require::{Require, RequireNode};
use fulgurite_spec::{Code, Diagnostics, Location, Op, Type};

fn codes(problems: &Diagnostics) -> Vec<(Code, String)> {
    problems.all().iter().map(|d| (d.code, d.location.to_string())).collect()
}

fn in_kernel(lines: &str) -> String {
    format!("fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n{lines}\n}}\n")
}

/// Parses and prints `text` twice. Both prints must be equal.
fn canonical(text: &str) -> String {
    let once = print(&parse(text).unwrap_or_else(|e| panic!("{text}\n{e}")));
    let twice = print(&parse(&once).unwrap_or_else(|e| panic!("{once}\n{e}")));
    assert_eq!(once, twice);
    once
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let source = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n}\n";
    let marked = parse(&format!("\u{feff}{source}")).expect("it is a kernel");
    assert_eq!(print(&marked), print(&parse(source).expect("it is a kernel")));
}

#[test]
fn inner_names_that_clash_with_a_result_get_a_suffix() {
    let text = canonical(&in_kernel(
        "  %r = if true -> u32 {\n    %r = add 1u32, 2u32\n    yield %r\n  } else {\n    yield 3u32\n  }\n  %s = add %r, 1u32",
    ));
    assert!(text.contains("    %r.1 = add 1u32, 2u32\n    yield %r.1\n"), "{text}");
    assert!(text.contains("  %s = add %r, 1u32\n"), "{text}");
}

#[test]
fn an_else_that_lacks_a_yield_stays() {
    let text = canonical(&in_kernel("  %r = if true -> u32 {\n    yield 3u32\n  } else {\n  }"));
    assert!(text.contains("  } else {\n  }\n"), "{text}");
    let text = canonical(&in_kernel("  if true {\n  } else {\n  }"));
    assert!(!text.contains("else"), "{text}");
}

#[test]
fn numbers_are_given_anew_in_order_of_definition() {
    let text = canonical(&in_kernel("  %7 = add 1u32, 2u32\n  %x = add %7, 1u32\n  %3 = add %x, %7"));
    assert!(text.contains("  %0 = add 1u32, 2u32\n  %x = add %0, 1u32\n  %1 = add %x, %0\n"), "{text}");
}

#[test]
fn equal_constants_are_one_value() {
    let kernel = parse(&in_kernel("  %a = add 1u32, 0x1u32\n  %b = add 1i32, 1i32")).unwrap();
    let constants = kernel.values.iter().filter(|v| matches!(v.def, ValueDef::Const(_))).count();
    assert_eq!(constants, 2);
}

#[test]
fn instructions_and_declarations_know_where_they_stand() {
    let text = "fulgurite 1\nkernel @k workgroup(1, 1, 1) {\n  buffer %é: read f32[]\n}\n";
    assert_eq!(codes(&parse(text).unwrap_err()), [(Code::Syntax, "3:10".to_owned())]);
    let text = in_kernel("  buffer %x: read f32[]\n  require lt (len %x), 9u32\n/* */");
    assert_eq!(codes(&parse(&text).unwrap_err()), [(Code::Syntax, "5:1".to_owned())]);
    let text = in_kernel("  buffer %x: read f32[] // é\n  %a = load %x[0u32]  // b\n  if true {\n  }");
    let kernel = parse(&text).unwrap();
    let shown = |location: Location| match location {
        Location::Text { start, end, line, column } => (&text[start as usize..end as usize], line, column),
        _ => panic!("{location}"),
    };
    assert_eq!(shown(kernel.buffers[0].location), ("buffer %x: read f32[]", 3, 3));
    assert_eq!(shown(kernel.insts[0].location), ("%a = load %x[0u32]", 4, 3));
    assert_eq!(shown(kernel.insts[1].location), ("if true", 5, 3));
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let nested = |depth: usize| in_kernel(&("if true {\n".repeat(depth) + &"}\n".repeat(depth)));
    canonical(&nested(400));
    let problems = parse(&nested(401)).unwrap_err();
    assert_eq!(codes(&problems), [(Code::TextTooLarge, "403:9".to_owned())]);
    assert_eq!(parse(&nested(200_000)).unwrap_err().all().len(), 1);
    let parentheses = in_kernel(&format!("  require eq {}1u32", "(not ".repeat(500_000)));
    assert!(parse(&parentheses).is_err());
}

#[test]
fn a_deep_kernel_prints_without_overflow() {
    let mut kernel = Kernel::empty("deep", [1, 1, 1]);
    let condition = kernel.add_value(Type::BOOL, ValueDef::Const(Const(1)), None);
    let mut block = kernel.body;
    for _ in 0..100_000 {
        let (then_block, else_block) = (kernel.add_block(), kernel.add_block());
        kernel.blocks[then_block.index()].terminator = Terminator::Yield(Operands::EMPTY);
        kernel.blocks[else_block.index()].terminator = Terminator::Yield(Operands::EMPTY);
        kernel.add_inst(block, InstKind::If { condition, then_block, else_block }, &[], Location::Unknown);
        block = then_block;
    }
    let text = print(&kernel);
    assert_eq!(text.matches("if true {").count(), 100_000);
    assert!(text.ends_with("}\n}\n"));
}

#[test]
fn malformed_kernels_print() {
    let far = ValueId::new(999);
    let mut kernel = Kernel::empty("no name é", [0, u32::MAX, 1]);
    let body = kernel.body;
    kernel.buffers.push(BufferDecl {
        name: "7".into(),
        element: Type::F32,
        access: Access::Read,
        large: false,
        location: Location::Unknown,
    });
    kernel.buffers.push(kernel.buffers[0].clone());
    kernel.params.push(ParamDecl {
        name: String::new(),
        ty: Type::U32,
        value: far,
        location: Location::Unknown,
    });
    let nodes = vec![
        RequireNode::Op { op: Op::Eq, operands: vec![0, 7] },
        RequireNode::Param(ParamId::new(0)),
        RequireNode::Len(BufferId::new(5)),
        RequireNode::NumWorkgroups(9),
        RequireNode::Op { op: Op::Eq, operands: vec![0, 1, 2, 3] },
    ];
    kernel.requires.push(Require { nodes, location: Location::Unknown });
    kernel.requires.push(Require { nodes: Vec::new(), location: Location::Unknown });
    let late = kernel.add_value(Type::U32, ValueDef::Inst(InstId::new(9), 3), Some("late".into()));
    let operands = Operands::new(&[far, late]);
    let nowhere = Memory::Shared(SharedId::new(3));
    for kind in [
        InstKind::Scalar { op: Op::Add, operands: operands.clone(), mode: FloatMode::Default },
        InstKind::Id { op: Op::GlobalId, component: 77 },
        InstKind::Load { memory: nowhere, index: far },
        InstKind::Atomic {
            op: Op::AtomicAdd,
            order: AtomicOrder::Acquire,
            scope: SyncScope::Workgroup,
            memory: Memory::View(ViewId::new(4)),
            index: far,
            operands: operands.clone(),
        },
        InstKind::VecShuffle { components: vec![1; 300].into(), vectors: [far, late] },
        InstKind::Subgroup { op: Op::Add, combine: None, operands: operands.clone() },
        InstKind::WorkgroupBroadcast { value: far, index: late },
        InstKind::Trap { code: far },
        InstKind::Region { name: "\"\n".repeat(200).into(), body: BlockId::new(70) },
        InstKind::If { condition: far, then_block: body, else_block: BlockId::new(50) },
        InstKind::For { start: far, end: far, step: far, initial: operands.clone(), body: BlockId::new(9) },
        InstKind::While { initial: operands, header: body, body },
    ] {
        kernel.add_inst(body, kind, &[Type::F32], Location::Unknown);
    }
    kernel.insts[0].results = Operands::new(&[far, far]);
    kernel.blocks[0].insts.push(InstId::new(500));
    kernel.blocks[0].terminator = Terminator::Condition(far);
    let base = Memory::View(ViewId::new(0));
    kernel.views.push(ViewDecl { name: "7".into(), base, element: Type::F32, location: Location::Unknown });
    let text = print(&kernel);
    assert!(text.contains("kernel @no_name__ workgroup(0, 4294967295, 1) {"), "{text}");
    assert!(text.contains("buffer %_7: read f32[]\n  buffer %_7.1: read f32[]"), "{text}");
    assert!(
        text.contains("require eq (eq <bad>, <bad>), %<bad>, (len %<bad>), num_workgroups.<bad>\n"),
        "{text}"
    );
    assert!(text.contains("%<bad>, %<bad> = add %<bad>, %<v0>\n"), "{text}");
    assert!(text.contains("condition %<bad>\n"), "{text}");
    assert!(parse(&text).is_err());
}

#[test]
fn a_shared_precondition_prints_in_bounded_space() {
    let mut kernel = Kernel::empty("k", [1, 1, 1]);
    let mut nodes = vec![RequireNode::Literal(true.into())];
    for i in 0..60 {
        nodes.push(RequireNode::Op { op: Op::And, operands: vec![i, i] });
    }
    kernel.requires.push(Require { nodes, location: Location::Unknown });
    assert!(print(&kernel).len() < 1 << 20);
}

#[test]
fn names_of_values_from_elsewhere_are_made_unique() {
    let mut kernel = Kernel::empty("k", [1, 1, 1]);
    let body = kernel.body;
    let one = kernel.add_value(Type::U32, ValueDef::Const(Const(1)), None);
    for name in ["a", "a", "a.1", "12", "", "b c"] {
        let kind =
            InstKind::Scalar { op: Op::Neg, operands: Operands::new(&[one]), mode: FloatMode::Default };
        let inst = kernel.add_inst(body, kind, &[Type::U32], Location::Unknown);
        let value = kernel.insts[inst.index()].results[0];
        kernel.values[value.index()].name = Some(name.into());
    }
    let text = print(&kernel);
    let names: Vec<&str> = text.lines().filter_map(|l| l.trim().split_once(" = ")).map(|l| l.0).collect();
    assert_eq!(names, ["%a", "%a.1", "%a.1.1", "%0", "%1", "%b_c"]);
    assert_eq!(canonical(&text), text);
}

#[test]
fn only_so_many_problems_are_reported() {
    let problems = parse(&in_kernel(&"  oops\n".repeat(100_000))).unwrap_err();
    assert_eq!(problems.all().len(), 64);
    assert!(problems.all()[63].notes[0].1.contains("only the first 64"));
}

#[test]
fn one_long_line_takes_linear_time() {
    let long = ["%a, ".repeat(500_000), format!("%a = add {} 1u32", "1u32, ".repeat(500_000))];
    for line in long {
        let problems = parse(&in_kernel(&line)).unwrap_err();
        assert_eq!(codes(&problems).iter().map(|c| c.0).collect::<Vec<_>>(), [Code::TextTooLarge]);
    }
    assert!(parse(&in_kernel(&"é".repeat(500_000))).is_err());
    let problems = parse(&in_kernel(&format!("%a = add 1u32, {}", "9".repeat(500_000)))).unwrap_err();
    assert_eq!(problems.all()[0].code, Code::BadLiteral);
    assert!(problems.to_string().len() < 4000);
    assert!(parse(&in_kernel(&format!("%{} = add 1u32, 1u32", "a".repeat(500_000)))).is_err());
}

/// Generates the text of a well-typed kernel from `choices`.
struct Writer<'c> {
    choices: std::slice::Iter<'c, u32>,
    text: String,
    /// Names of `u32` values in scope.
    values: Vec<String>,
    next: usize,
}

impl Writer<'_> {
    fn choose(&mut self, count: usize) -> usize {
        self.choices.next().map_or(0, |c| *c as usize % count)
    }

    fn value(&mut self) -> String {
        let (all, at) = (self.values.len(), self.choose(self.values.len() + 2));
        if at < all { self.values[at].clone() } else { ["7u32", "0xffu32"][at - all].to_owned() }
    }

    fn name(&mut self) -> String {
        self.next += 1;
        let stem = ["%", "%v", "%a.", "%_"][self.choose(4)];
        format!("{stem}{}", self.next)
    }

    fn block(&mut self, depth: usize) {
        let outer = self.values.len();
        while self.choices.len() > 0 && self.choose(6) != 0 {
            self.statement(depth);
        }
        if self.choices.len() > 0 && depth == 0 {
            self.statement(depth);
        }
        self.values.truncate(outer.max(self.values.len().min(outer)));
    }

    fn statement(&mut self, depth: usize) {
        let (a, b) = (self.value(), self.value());
        let kind = if depth > 5 { self.choose(6) } else { self.choose(10) };
        let line = match kind {
            0 => {
                let name = self.name();
                self.values.push(name.clone());
                format!("{name} = {} {a}, {b}\n", ["add", "mul", "xor", "rotl", "rem"][self.choose(5)])
            }
            1 => {
                let name = self.name();
                self.values.push(name.clone());
                format!("{name} = load %mem[{a}]\n")
            }
            2 => format!("store %mem[{a}],{b} // so\n"),
            3 => {
                let order = ["", "[acquire]", "[device]", "[acquire_release, workgroup]"][self.choose(4)];
                format!("atomic.add{order} %tile[{a}], {b}\n")
            }
            4 => format!("{0}f = convert {a} -> f32\n {0}c = construct {0}f, 1.5f32\n", self.name()),
            5 => match self.choose(5) {
                0 => "barrier[shared]\n".to_owned(),
                1 => "subgroup_barrier\n".to_owned(),
                2 => {
                    ["fence\n", "fence[release]\n", "fence[relaxed, workgroup]\n"][self.choose(3)].to_owned()
                }
                3 => format!("trap {a}\n"),
                _ => {
                    let (name, kind) = (self.name(), ["add", "max", "xor"][self.choose(3)]);
                    self.values.push(name.clone());
                    format!("{name} = subgroup.reduce[{kind}] {a}\n{name}b = workgroup_broadcast {a}, {b}\n")
                }
            },
            6 => {
                let name = self.name();
                self.text += &format!("{name}c = lt {a}, {b}\n{name} = if {name}c -> u32 {{\n");
                self.block(depth + 1);
                self.text += &format!("yield {a} }} else {{\n");
                self.block(depth + 1);
                self.values.push(name);
                format!("yield {b}\n}}\n")
            }
            7 if self.choose(3) == 0 => {
                let name = self.name();
                self.text += &format!("{name} = region \"in {name}\" -> u32 {{\n");
                self.block(depth + 1);
                self.values.push(name);
                format!("yield {b}\n}}\n")
            }
            7 => {
                let name = self.name();
                self.text += &format!("{name}c = lt {a}, {b}\nif {name}c {{\n");
                self.block(depth + 1);
                "}\n".to_owned()
            }
            8 => {
                let name = self.name();
                self.text +=
                    &format!("{name} = for {name}i in 0u32 to {a} step 1u32 carry({name}p = {b}) {{\n");
                self.values.push(format!("{name}p"));
                self.block(depth + 1);
                let next = self.value();
                self.values.retain(|v| *v != format!("{name}p"));
                self.values.push(name);
                format!("yield {next}\n}}\n")
            }
            _ => {
                let name = self.name();
                self.text += &format!("{name} = while carry({name}p = {a}) {{\n{name}c = lt {name}p, {b}\n");
                self.text += &format!("condition {name}c\n}} do {{\n");
                self.block(depth + 1);
                self.values.push(name.clone());
                format!("yield {name}p\n}}\n")
            }
        };
        self.text += &line;
    }
}

fn generated(choices: &[u32]) -> String {
    let mut writer = Writer { choices: choices.iter(), text: String::new(), values: Vec::new(), next: 0 };
    writer.text += "buffer %mem: read_write u32[]\nshared %tile: u32[16]\nparam %n: u32\n";
    writer.text += "require eq (rem (len %mem), %n), num_workgroups.y\n";
    writer.values.push("%n".to_owned());
    writer.block(0);
    in_kernel(&writer.text)
}

/// Concatenations of random pieces of kernel text.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "fulgurite 1\n",
        "kernel @k workgroup(1, 1, 1) {\n",
        "{",
        "}",
        "\n",
        "if ",
        "true ",
        "else ",
        "for ",
        "%i ",
        "in ",
        "0u32 ",
        "to ",
        "step ",
        "carry(",
        ")",
        "(",
        "while ",
        "do ",
        "condition ",
        "yield ",
        "%a ",
        "= ",
        "add ",
        ", ",
        "-> ",
        "f32 ",
        "load ",
        "[",
        "]",
        "buffer ",
        ": ",
        "read ",
        "require ",
        "len ",
        "eq ",
        "barrier",
        "é",
        "%",
        "-",
        "1e",
        "// ",
        "nan:",
        "store ",
        "atomic.add",
        " ",
        "acquire",
        "uninit",
        "view ",
        "as ",
        "large",
        "region ",
        "\"",
        "\"a\"",
        "trap ",
        "subgroup.reduce",
        "vec.shuffle",
        "fence",
        "lane",
        "workgroup_broadcast ",
        "0, 1",
        "shared ",
        "256",
        "\r\n",
        "\0",
    ]);
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn generated_texts_make_the_round_trip(choices in prop::collection::vec(any::<u32>(), 0..300)) {
        canonical(&generated(&choices));
    }

    #[test]
    fn a_change_to_a_text_is_no_panic(
        choices in prop::collection::vec(any::<u32>(), 0..100),
        at in any::<prop::sample::Index>(),
        length in 0usize..20,
        insert in "[ %{}a-z0-9=,\n]{0,6}",
    ) {
        let mut text = generated(&choices);
        let start = at.index(text.len());
        text.replace_range(start..(start + length).min(text.len()), &insert);
        if let Ok(kernel) = parse(&text) {
            canonical(&print(&kernel));
        }
    }

    #[test]
    fn garbage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&String::from_utf8_lossy(&bytes));
        let _ = parse(&in_kernel(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn pieces_are_no_panic(text in pieces()) {
        let _ = parse(&text);
        let text = in_kernel(&text);
        if let Ok(kernel) = parse(&text) {
            let printed = print(&kernel);
            canonical(&printed);
            let kept = keep(&text, &printed, Kept::LiteralsAndComments).unwrap();
            assert_eq!(print(&parse(&kept).unwrap()), printed);
            assert_eq!(keep(&kept, &printed, Kept::LiteralsAndComments).unwrap(), kept);
        }
    }
}

#[test]
fn a_count_with_a_type_is_told_to_go_without() {
    for count in ["64u32", "4294967296", "0x10"] {
        let text = format!("fulgurite 1\nkernel @k workgroup(1, 1, 1) {{\n  shared %s: u32[{count}]\n}}\n");
        let all = parse(&text).unwrap_err();
        let told = &all.all()[0];
        assert_eq!(told.code, Code::BadLiteral, "{count}");
        assert_eq!(
            told.fix_or_explanation(),
            "A count is decimal digits and no more, below 2^32.",
            "{count}"
        );
    }
}
