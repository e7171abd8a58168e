//! Shapes that compilers handle badly: deep nesting, long ladders, hundreds of carried values, many loops.

use fulgurite_spec::{Op, Type};

use super::program::{Arm, Node, Output, Program, Source, Var};

/// Returns every shape with up to `most` levels, values or loops, with its name.
pub(super) fn shapes(most: usize) -> Vec<(String, Program)> {
    let mut shapes = Vec::new();
    let mut add = |sizes: &[u32], name: &dyn Fn(u32) -> String, make: fn(u32) -> Program| {
        for size in sizes.iter().filter(|size| **size as usize <= most) {
            shapes.push((name(*size), make(*size)));
        }
    };
    let depths = [8, 33, 60, 75, 79, 81, 120, 200, 390];
    add(&depths, &|n| format!("{n} nested ifs"), nested_ifs);
    add(&depths, &|n| format!("a ladder of {n} ifs"), ladder);
    add(&[3, 10, 30, 60, 79, 81, 120, 200], &|n| format!("{n} nested loops"), nested_loops);
    add(&[10, 40, 100, 400], &|n| format!("a loop that carries {n} values"), carried);
    add(&[10, 40, 100, 400], &|n| format!("an if that yields {n} values"), yielded);
    add(&[10, 30, 60], &|n| format!("{n} loops in sequence"), loops_in_sequence);
    shapes
}

/// A program under construction, whose nodes go to the current block.
struct Shape {
    program: Program,
    value: Var,
}

fn shape() -> Shape {
    let mut program = Program::default();
    let value = program.input(Type::U32, Source::Slot(0));
    Shape { program, value }
}

impl Shape {
    fn literal(&mut self, bits: u64) -> Var {
        self.program.input(Type::U32, Source::Literal(bits))
    }

    fn node(&mut self, op: Op, args: Vec<Var>, ty: Type) -> (Var, Node) {
        let to = self.program.var(ty);
        (to, Node::Op { to, op, args })
    }

    fn done(mut self, nodes: Vec<Node>, result: Var) -> Program {
        self.program.body.extend(nodes);
        self.program.outputs.push(Output::Store(result));
        self.program
    }
}

/// Each level tests another bit of a hash of the value, and its two arms yield different numbers.
fn nested_ifs(depth: u32) -> Program {
    let mut shape = shape();
    let one = shape.literal(1);
    let mut conditions = Vec::new();
    let mut outer = Vec::new();
    for level in 0..depth {
        // Rarely false, so that some invocations reach the innermost level.
        let (mix, other) =
            (shape.literal(0x9e37_79b9u64.wrapping_mul(u64::from(level) + 1) & 0xffff_ffff), 0x0100_0000);
        let limit = shape.literal(other);
        let (mixed, a) = shape.node(Op::Mul, vec![shape.value, mix], Type::U32);
        let (condition, b) = shape.node(Op::Gt, vec![mixed, limit], Type::BOOL);
        outer.extend([a, b]);
        conditions.push(condition);
    }
    let mut inner = Arm { nodes: Vec::new(), yields: vec![one] };
    let mut result = one;
    for (level, condition) in conditions.into_iter().enumerate().rev() {
        let to = shape.program.var(Type::U32);
        let number = shape.literal(1000 + level as u64);
        let (sum, add) = shape.node(Op::Add, vec![to, one], Type::U32);
        let otherwise = Arm { nodes: Vec::new(), yields: vec![number] };
        let node = Node::If { condition, arms: [inner, otherwise], to: vec![to] };
        inner = Arm { nodes: vec![node, add], yields: vec![sum] };
        result = sum;
    }
    outer.extend(inner.nodes);
    shape.done(outer, result)
}

/// `if x == 0 { … } else if x == 1 { … } …`
fn ladder(count: u32) -> Program {
    let mut shape = shape();
    let bound = shape.literal(u64::from(count) + 2);
    let (key, rem) = shape.node(Op::Rem, vec![shape.value, bound], Type::U32);
    let last = shape.literal(7);
    let mut rest = Arm { nodes: Vec::new(), yields: vec![last] };
    let mut result = last;
    for step in (0..count).rev() {
        let (number, factor) = (shape.literal(u64::from(step)), shape.literal(u64::from(step * 3 + 1)));
        let (condition, test) = shape.node(Op::Eq, vec![key, number], Type::BOOL);
        let (product, multiply) = shape.node(Op::Mul, vec![shape.value, factor], Type::U32);
        let to = shape.program.var(Type::U32);
        let arm = Arm { nodes: vec![multiply], yields: vec![product] };
        let node = Node::If { condition, arms: [arm, rest], to: vec![to] };
        rest = Arm { nodes: vec![test, node], yields: vec![to] };
        result = to;
    }
    let mut nodes = vec![rem];
    nodes.extend(rest.nodes);
    shape.done(nodes, result)
}

/// Returns a loop from `from` to `end` that carries one word through `body`.
fn repeat(
    shape: &mut Shape,
    [from, end]: [Var; 2],
    initial: Var,
    body: impl FnOnce(&mut Shape, Var) -> Arm,
) -> (Var, Node) {
    let [counter, carried, to] = [0; 3].map(|_| shape.program.var(Type::U32));
    let body = body(shape, carried);
    let node = Node::For {
        counter,
        from,
        end,
        step: 1,
        initial: vec![initial],
        carried: vec![carried],
        body,
        to: vec![to],
    };
    (to, node)
}

/// Every loop runs once or not at all, depending on a bit of the value.
fn nested_loops(depth: u32) -> Program {
    let mut shape = shape();
    let (zero, one) = (shape.literal(0), shape.literal(1));
    let mut outer = Vec::new();
    let mut ends = Vec::new();
    for level in 0..depth {
        let mix = shape.literal(0x85eb_ca6bu64.wrapping_mul(u64::from(level) + 1) & 0xffff_ffff);
        let limit = shape.literal(0x0200_0000);
        let (mixed, a) = shape.node(Op::Mul, vec![shape.value, mix], Type::U32);
        let (go, b) = shape.node(Op::Gt, vec![mixed, limit], Type::BOOL);
        let (end, c) = shape.node(Op::Convert, vec![go], Type::U32);
        outer.extend([a, b, c]);
        ends.push(end);
    }
    let (to, node) = nest(&mut shape, &ends, [zero, one], zero);
    outer.push(node);
    shape.done(outer, to)
}

fn nest(shape: &mut Shape, ends: &[Var], [zero, one]: [Var; 2], initial: Var) -> (Var, Node) {
    let Some((end, rest)) = ends.split_first() else {
        return shape.node(Op::Add, vec![initial, one], Type::U32);
    };
    repeat(shape, [zero, *end], initial, |shape, carried| {
        let (next, add) = shape.node(Op::Add, vec![carried, one], Type::U32);
        let (last, node) = nest(shape, rest, [zero, one], next);
        Arm { nodes: vec![add, node], yields: vec![last] }
    })
}

/// Carried values that are permuted in each iteration.
fn carried(count: u32) -> Program {
    let mut shape = shape();
    let (zero, three, five) = (shape.literal(0), shape.literal(3), shape.literal(5));
    let (extra, and) = shape.node(Op::And, vec![shape.value, three], Type::U32);
    let (end, add) = shape.node(Op::Add, vec![extra, five], Type::U32);
    let initial: Vec<Var> = (0..count).map(|n| shape.literal(u64::from(n * n))).collect();
    let counter = shape.program.var(Type::U32);
    let params: Vec<Var> = (0..count).map(|_| shape.program.var(Type::U32)).collect();
    let mut body = Vec::new();
    let yields = (0..count as usize)
        .map(|n| {
            let (sum, node) = shape.node(Op::Add, vec![params[(n + 1) % count as usize], counter], Type::U32);
            body.push(node);
            sum
        })
        .collect();
    let to: Vec<Var> = (0..count).map(|_| shape.program.var(Type::U32)).collect();
    let node = Node::For {
        counter,
        from: zero,
        end,
        step: 1,
        initial,
        carried: params,
        body: Arm { nodes: body, yields },
        to: to.clone(),
    };
    let mut nodes = vec![and, add, node];
    let result = hash(&mut shape, &mut nodes, &to);
    shape.done(nodes, result)
}

/// Combines many values into one word.
fn hash(shape: &mut Shape, nodes: &mut Vec<Node>, values: &[Var]) -> Var {
    let factor = shape.literal(31);
    let mut sum = shape.value;
    for value in values {
        let (product, multiply) = shape.node(Op::Mul, vec![sum, factor], Type::U32);
        let (next, add) = shape.node(Op::Add, vec![product, *value], Type::U32);
        nodes.extend([multiply, add]);
        sum = next;
    }
    sum
}

fn yielded(count: u32) -> Program {
    let mut shape = shape();
    let one = shape.literal(1);
    let (low, and) = shape.node(Op::And, vec![shape.value, one], Type::U32);
    let (condition, test) = shape.node(Op::Eq, vec![low, one], Type::BOOL);
    let arms = [Op::Add, Op::Xor].map(|op| {
        let mut arm = Arm::default();
        for n in 0..count {
            let number = shape.literal(u64::from(n) * 77);
            let (value, node) = shape.node(op, vec![shape.value, number], Type::U32);
            arm.nodes.push(node);
            arm.yields.push(value);
        }
        arm
    });
    let to: Vec<Var> = (0..count).map(|_| shape.program.var(Type::U32)).collect();
    let mut nodes = vec![and, test, Node::If { condition, arms, to: to.clone() }];
    let result = hash(&mut shape, &mut nodes, &to);
    shape.done(nodes, result)
}

fn loops_in_sequence(count: u32) -> Program {
    let mut shape = shape();
    let (zero, seven) = (shape.literal(0), shape.literal(7));
    let mut nodes = Vec::new();
    let mut value = shape.value;
    for n in 0..count {
        let (low, and) = shape.node(Op::And, vec![value, seven], Type::U32);
        nodes.push(and);
        let number = shape.literal(u64::from(n) + 3);
        let (next, node) = repeat(&mut shape, [zero, low], value, |shape, carried| {
            let (product, multiply) = shape.node(Op::Mul, vec![carried, number], Type::U32);
            let (sum, add) = shape.node(Op::Add, vec![product, number], Type::U32);
            Arm { nodes: vec![multiply, add], yields: vec![sum] }
        });
        nodes.push(node);
        value = next;
    }
    shape.done(nodes, value)
}
