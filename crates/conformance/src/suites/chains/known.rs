//! Sequences that drivers are known to fold incorrectly, and that are too rare among random chains for the smoke level.

use fulgurite_spec::eval::float::FloatFormat;
use fulgurite_spec::{Lanes, Op, ScalarType, Type, TypeSet};

use super::program::{Arm, Node, Output, Program, Source, Var};

/// Loaded values that each sequence is applied to.
const INPUTS: usize = 6;

/// Returns every such sequence over `types`, with the kind under which it is reported.
pub(super) fn known(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = widened_signs(types);
    all.extend(widened_comparisons(types));
    all.extend(selected_zeros(types));
    all.extend(yielded_zeros(types));
    all.extend(turned_by_half(types));
    all.extend(negated_operands(types));
    all.extend(known_factors(types));
    all.extend(signed_zeros_of_products(types));
    all.extend(bits_of_truth_values(types));
    all.extend(loops_past_their_end(types));
    all.extend(rounded_truth_values(types));
    all.extend(carried_minus_zeros(types));
    all.extend(loads_behind_loops(types));
    all
}

/// `neg` and `abs` of narrow integers, converted to wider ones: the minimum wraps before the conversion.
fn widened_signs(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for narrow in [ScalarType::I8, ScalarType::I16, ScalarType::I32] {
        for wide in [ScalarType::I16, ScalarType::I32, ScalarType::I64, ScalarType::U64] {
            let usable = wide.bits() > narrow.bits() && types.contains(narrow) && types.contains(wide);
            for op in [Op::Neg, Op::Abs].into_iter().filter(|_| usable) {
                let mut program = Program::default();
                for slot in 0..INPUTS {
                    let value = program.input(Type::scalar(narrow), Source::Slot(slot));
                    let made = program.op(op, vec![value], Type::scalar(narrow));
                    let result = program.op(Op::Convert, vec![made], Type::scalar(wide));
                    program.outputs.push(Output::Store(result));
                }
                all.push((format!("convert {narrow} -> {wide}"), program));
            }
        }
    }
    all
}

/// Comparisons of widened integers with constants.
fn widened_comparisons(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    let wide = [
        (ScalarType::I32, ScalarType::I64),
        (ScalarType::U32, ScalarType::U64),
        (ScalarType::I16, ScalarType::I32),
    ];
    for (from, to) in wide.into_iter().filter(|(from, to)| types.contains(*from) && types.contains(*to)) {
        for op in [Op::Lt, Op::Le, Op::Gt, Op::Ge] {
            let mut program = Program::default();
            let value = program.input(Type::scalar(from), Source::Slot(0));
            let converted = program.op(Op::Convert, vec![value], Type::scalar(to));
            for limit in [0i64, 1, 100, -1, -100, 1 << 31] {
                let limit = program.input(Type::scalar(to), Source::Literal(limit as u64 & to.mask()));
                let result = program.op(op, vec![converted, limit], Type::BOOL);
                program.outputs.push(Output::Store(result));
            }
            all.push((format!("{} {to}", op.mnemonic()), program));
        }
    }
    all
}

/// Selections between a constant and a zero of either sign.
fn selected_zeros(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter() {
        let Some(format) = FloatFormat::of(scalar) else { continue };
        let mut program = Program::default();
        let word = program.input(Type::I32, Source::Slot(0));
        let zero = program.input(Type::I32, Source::Literal(0));
        let condition = program.op(Op::Lt, vec![word, zero], Type::BOOL);
        for (number, zero) in [(-1.0, 0.0), (1.0, -0.0), (-2.5, 0.0)] {
            let [number, zero] = [number, zero]
                .map(|value| program.input(Type::scalar(scalar), Source::Literal(format.encode(value))));
            for [yes, no] in [[number, zero], [zero, number]] {
                let result = program.op(Op::Select, vec![condition, yes, no], Type::scalar(scalar));
                program.outputs.push(Output::Store(result));
            }
        }
        all.push((format!("select {scalar}"), program));
    }
    all
}

/// The same as the arms of an `if`, which drivers turn into selections; and integers with the bits of such floats.
fn yielded_zeros(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    let floats = [ScalarType::F16, ScalarType::F32, ScalarType::F64, ScalarType::BF16].map(|ty| (ty, ty));
    let bits = [(ScalarType::U32, ScalarType::F32), (ScalarType::I64, ScalarType::F64)];
    for (scalar, float) in floats.into_iter().chain(bits) {
        let Some(format) = FloatFormat::of(float).filter(|_| types.contains(scalar)) else { continue };
        let ty = Type::scalar(scalar);
        let mut program = Program::default();
        let word = program.input(Type::I32, Source::Slot(0));
        let zero = program.input(Type::I32, Source::Literal(0));
        let condition = program.op(Op::Lt, vec![word, zero], Type::BOOL);
        for (number, zero) in [(-1.0, 0.0), (1.0, -0.0)] {
            let [number, zero] =
                [number, zero].map(|value| program.input(ty, Source::Literal(format.encode(value))));
            for yields in [[number, zero], [zero, number]] {
                let selected = program.op(Op::Select, vec![condition, yields[0], yields[1]], ty);
                let to = program.var(ty);
                let arms = yields.map(|value| Arm { nodes: Vec::new(), yields: vec![value] });
                program.body.push(Node::If { condition, arms, to: vec![to] });
                program.outputs.extend([selected, to].map(Output::Store));
            }
        }
        all.push((format!("if {scalar}"), program));
    }
    all
}

/// Sums rotated by half their width.
fn turned_by_half(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter().filter(|scalar| scalar.is_integer()) {
        for op in [Op::RotateLeft, Op::RotateRight] {
            let mut program = Program::default();
            let ty = Type::scalar(scalar);
            let half = u64::from(scalar.bits() / 2);
            let values = [0, 1].map(|slot| program.input(ty, Source::Slot(slot)));
            let sum = program.op(Op::Add, values.to_vec(), ty);
            // The amount as a literal, and as a sum that a compiler can fold.
            let literals = [half, half - 1, 1].map(|bits| program.input(Type::U32, Source::Literal(bits)));
            let computed = program.op(Op::Add, vec![literals[1], literals[2]], Type::U32);
            for amount in [literals[0], computed] {
                let result = program.op(op, vec![sum, amount], ty);
                program.outputs.push(Output::Store(result));
            }
            all.push((format!("{} {scalar}", op.mnemonic()), program));
        }
    }
    all
}

/// Negative values, produced in each way that a compiler may recognize as a negation, in ops that share operands.
fn negated_operands(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter().filter(|scalar| scalar.is_signed()) {
        let ty = Type::scalar(scalar);
        let ways =
            [(Op::Neg, 0), (Op::Sub, 0), (Op::Mul, -1i64), (Op::Div, -1), (Op::Div, -32), (Op::Rem, -1)];
        let ways = ways.into_iter().filter(|(op, _)| !scalar.is_float() || matches!(op, Op::Neg | Op::Mul));
        for (op, constant) in ways {
            let mut program = Program::default();
            let [a, b, x] = [0, 1, 2].map(|slot| program.input(ty, Source::Slot(slot)));
            let bits = match FloatFormat::of(scalar) {
                Some(format) => format.encode(constant as f64),
                None => constant as u64 & scalar.mask(),
            };
            let args = match op {
                Op::Neg | Op::Not => vec![x],
                Op::Sub => vec![program.input(ty, Source::Literal(bits)), x],
                _ => vec![x, program.input(ty, Source::Literal(bits))],
            };
            let mut negated = program.op(op, args, ty);
            if op == Op::Not {
                let one = program.input(ty, Source::Literal(bits));
                negated = program.op(Op::Add, vec![negated, one], ty);
            }
            let mut binary = |op: Op, left: Var, right: Var| program.op(op, vec![left, right], ty);
            let (least, most) = (binary(Op::Min, a, negated), binary(Op::Max, a, negated));
            let mut results = vec![
                binary(Op::Min, a, least),
                binary(Op::Max, a, most),
                binary(Op::Mul, negated, b),
                binary(Op::Sub, a, negated),
            ];
            results.push(program.op(Op::Clamp, vec![least, a, least], ty));
            program.outputs.extend(results.into_iter().map(Output::Store));
            all.push((format!("{} {scalar}", op.mnemonic()), program));
        }
    }
    all
}

/// Products with a factor that a compiler finds out to be −1, 0 or 1, as bounds of what they are compared with and in sums.
fn known_factors(types: TypeSet) -> Vec<(String, Program)> {
    type Way = fn(&mut Program, Type, Var) -> Var;
    let literal = |program: &mut Program, ty: Type, number: i64| {
        program.input(ty, Source::Literal(number as u64 & ty.scalar.mask()))
    };
    let ways: [Way; 5] = [
        |program, ty, y| {
            let ones = program.input(ty, Source::Literal(ty.scalar.mask()));
            program.op(Op::Or, vec![y, ones], ty)
        },
        |program, ty, y| {
            let ones = program.input(ty, Source::Literal(ty.scalar.mask()));
            program.op(Op::Clamp, vec![y, ones, ones], ty)
        },
        |program, ty, y| {
            let one = program.input(ty, Source::Literal(1));
            let next = program.op(Op::Add, vec![y, one], ty);
            program.op(Op::Sub, vec![y, next], ty)
        },
        |program, ty, y| {
            let not = program.op(Op::Not, vec![y], ty);
            program.op(Op::Xor, vec![y, not], ty)
        },
        // Either 0 or 1.
        |program, ty, y| {
            let one = program.input(ty, Source::Literal(1));
            program.op(Op::And, vec![y, one], ty)
        },
    ];
    let mut all = Vec::new();
    for scalar in types.iter().filter(|scalar| scalar.is_integer()) {
        let ty = Type::scalar(scalar);
        for way in ways {
            let mut program = Program::default();
            let [a, x, y] = [0, 1, 2].map(|slot| program.input(ty, Source::Slot(slot)));
            let factor = way(&mut program, ty, y);
            let product = program.op(Op::Mul, vec![x, factor], ty);
            let least = program.op(Op::Min, vec![a, product], ty);
            let most = program.op(Op::Max, vec![a, product], ty);
            let low = literal(&mut program, ty, -100);
            let results = [
                program.op(Op::Min, vec![a, least], ty),
                program.op(Op::Max, vec![a, most], ty),
                program.op(Op::Clamp, vec![low, a, least], ty),
                program.op(Op::Add, vec![product, a], ty),
            ];
            program.outputs.extend(results.map(Output::Store));
            all.push((format!("mul {scalar}"), program));
        }
        let four = ty.with_lanes(Lanes::Four);
        let mut program = Program::default();
        let [x, y] = [0, 4].map(|slot| {
            let components = (slot..slot + 4).map(|slot| program.input(ty, Source::Slot(slot % 6))).collect();
            program.op(Op::Construct, components, four)
        });
        let one = literal(&mut program, ty, 1);
        let ones = program.op(Op::Construct, vec![one; 4], four);
        let lowest = program.op(Op::And, vec![y, ones], four);
        let result = program.op(Op::Dot, vec![x, lowest], ty);
        program.outputs.push(Output::Store(result));
        all.push((format!("dot {four}"), program));
    }
    all
}

/// Products with truth values as floats, of either sign: the sign of a zero product.
fn signed_zeros_of_products(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter().filter(|scalar| scalar.is_float()) {
        let ty = Type::scalar(scalar);
        let mut program = Program::default();
        let [a, b, x, y] = [0, 1, 2, 3].map(|slot| program.input(ty, Source::Slot(slot)));
        for condition in [Op::Lt, Op::Ne] {
            let is = program.op(condition, vec![a, b], Type::BOOL);
            let one = program.op(Op::Convert, vec![is], ty);
            let minus = program.op(Op::Neg, vec![one], ty);
            let products = [one, minus].map(|factor| program.op(Op::Mul, vec![factor, x], ty));
            let sum = program.op(Op::Fma, vec![minus, y, products[1]], ty);
            program.outputs.extend([products[0], products[1], sum].map(Output::Store));
        }
        all.push((format!("mul {scalar}"), program));
    }
    all
}

/// Booleans as 16-bit integers, reinterpreted as floats: subnormals, not ones.
fn bits_of_truth_values(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for (integer, float) in [
        (ScalarType::U16, ScalarType::F16),
        (ScalarType::I16, ScalarType::F16),
        (ScalarType::U16, ScalarType::BF16),
        (ScalarType::U32, ScalarType::F32),
        (ScalarType::U64, ScalarType::F64),
    ] {
        if ![integer, float, ScalarType::F32].into_iter().all(|ty| types.contains(ty)) {
            continue;
        }
        let mut program = Program::default();
        let [a, b, c] = [0, 1, 2].map(|slot| program.input(Type::I32, Source::Slot(slot)));
        for [left, right] in [[a, b], [b, c]] {
            let condition = program.op(Op::Lt, vec![left, right], Type::BOOL);
            let word = program.op(Op::Convert, vec![condition], Type::scalar(integer));
            let bits = program.op(Op::Bitcast, vec![word], Type::scalar(float));
            let result = match float {
                ScalarType::F32 => bits,
                _ => program.op(Op::Convert, vec![bits], Type::F32),
            };
            program.outputs.push(Output::Store(result));
        }
        all.push((format!("bitcast {integer} -> {float}"), program));
    }
    all
}

/// Loops that begin past their end and carry a converted value: they have no iterations.
fn loops_past_their_end(types: TypeSet) -> Vec<(String, Program)> {
    let counted = [ScalarType::U32, ScalarType::I32, ScalarType::U64, ScalarType::I64];
    let sources = [ScalarType::F32, ScalarType::BF16, ScalarType::F16, ScalarType::F64, ScalarType::I32];
    let mut all = Vec::new();
    for scalar in counted.into_iter().filter(|scalar| types.contains(*scalar)) {
        let index = Type::scalar(scalar);
        // Past 3 for every value.
        let beyond = if scalar.is_signed() { Op::Max } else { Op::Or };
        for source in sources.into_iter().filter(|source| types.contains(*source)) {
            for carried_type in [Type::I64, Type::U64, Type::I32] {
                if !types.contains(carried_type.scalar) {
                    continue;
                }
                let mut program = Program::default();
                for step in [1, 2] {
                    let start = program.input(index, Source::Slot(0));
                    let [four, three] = [4, 3].map(|bits| program.input(index, Source::Literal(bits)));
                    let from = program.op(beyond, vec![start, four], index);
                    let value = program.input(Type::scalar(source), Source::Slot(1));
                    let initial = program.op(Op::Convert, vec![value], carried_type);
                    let zero = program.input(carried_type, Source::Literal(0));
                    let [counter, carried, to] =
                        [index, carried_type, carried_type].map(|ty| program.var(ty));
                    program.body.push(Node::For {
                        counter,
                        from,
                        end: three,
                        step,
                        initial: vec![initial],
                        carried: vec![carried],
                        body: Arm { nodes: Vec::new(), yields: vec![zero] },
                        to: vec![to],
                    });
                    let word = program.op(Op::Convert, vec![to], Type::U32);
                    program.outputs.extend([to, word].map(Output::Store));
                }
                all.push((format!("for {scalar} of {carried_type} from {source}"), program));
            }
        }
    }
    all
}

/// Truth values as floats, rounded to integers.
fn rounded_truth_values(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter().filter(|scalar| scalar.is_float()) {
        let four = Type::scalar(scalar).with_lanes(Lanes::Four);
        let mut program = Program::default();
        let words: Vec<Var> = (0..5).map(|slot| program.input(Type::I32, Source::Slot(slot))).collect();
        let less =
            |program: &mut Program, n: usize| program.op(Op::Lt, vec![words[n], words[n + 1]], Type::BOOL);
        let truths: Vec<Var> = (0..4).map(|n| less(&mut program, n)).collect();
        let vector = program.op(Op::Construct, truths, Type::BOOL.with_lanes(Lanes::Four));
        let floats = program.op(Op::Convert, vec![vector], four);
        for op in [Op::Round, Op::Floor, Op::Trunc, Op::Abs] {
            let rounded = program.op(op, vec![floats], four);
            let result = program.op(Op::Convert, vec![rounded], Type::I32.with_lanes(Lanes::Four));
            program.outputs.push(Output::Store(result));
        }
        all.push((format!("round {four}"), program));
    }
    all
}

/// Products with a −0 that a loop carries: past one that has no iterations as a compiler finds out, and past one that has
/// some.
fn carried_minus_zeros(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter() {
        let Some(format) = FloatFormat::of(scalar) else { continue };
        let ty = Type::scalar(scalar);
        let mut program = Program::default();
        let words = [0, 1].map(|slot| program.input(Type::U32, Source::Slot(slot)));
        let bits = program.op(Op::And, words.to_vec(), Type::U32);
        let factor = program.op(Op::Convert, vec![bits], ty);
        let loaded = program.input(ty, Source::Slot(2));
        let minus_zero = program.input(ty, Source::Literal(format.sign_bit()));
        for from in [Source::Literal(7), Source::Slot(3)] {
            let from = program.input(Type::U32, from);
            let three = program.input(Type::U32, Source::Literal(3));
            let [counter, carried, to] = [Type::U32, ty, ty].map(|ty| program.var(ty));
            program.body.push(Node::For {
                counter,
                from,
                end: three,
                step: 1,
                initial: vec![minus_zero],
                carried: vec![carried],
                body: Arm { nodes: Vec::new(), yields: vec![loaded] },
                to: vec![to],
            });
            let product = program.op(Op::Mul, vec![factor, to], ty);
            program.outputs.push(Output::Store(product));
        }
        all.push((format!("mul {scalar}"), program));
    }
    all
}

/// Loads behind a loop of what its header loads as well, in invocations that leave it at different times.
fn loads_behind_loops(types: TypeSet) -> Vec<(String, Program)> {
    let mut all = Vec::new();
    for scalar in types.iter() {
        let ty = Type::scalar(scalar);
        let mut program = Program::default();
        let from = program.input(Type::U32, Source::Id);
        let [initial, yielded] = [5, 7].map(|bits| program.input(Type::U32, Source::Literal(bits)));
        let [loaded, condition] = [ty, Type::BOOL].map(|ty| program.var(ty));
        let [counter, carried, to] = [0; 3].map(|_| program.var(Type::U32));
        // A number that equals itself; a NaN does not.
        let test = Node::Op { to: condition, op: Op::Eq, args: vec![loaded, loaded] };
        let header = Arm {
            nodes: vec![Node::Input { to: loaded, source: Source::Slot(5) }, test],
            yields: vec![condition],
        };
        program.body.push(Node::While {
            counter,
            from,
            initial: vec![initial],
            carried: vec![carried],
            header,
            body: Arm { nodes: Vec::new(), yields: vec![yielded] },
            to: vec![to],
        });
        let again = program.input(ty, Source::Slot(5));
        program.outputs.extend([to, again].map(Output::Store));
        all.push((format!("while {scalar}"), program));
    }
    all
}
