//! Reduction of kernels that show a fault.

use fulgurite_hal as hal;
use fulgurite_spec::{Op, Type};

use super::evaluate::Device;
use super::program::{Node, Program, Source};
use super::run::{Example, Outcome, Pack};
use super::write::Stores;

/// Maximum number of compiles per reduction.
const TRIES: usize = 64;

/// A search, with the number of kernels compiled so far.
struct Search<'a> {
    backend: &'a dyn hal::Device,
    device: Device,
    tries: usize,
}

impl Search<'_> {
    /// Returns the wrong result of program `at` of `pack`, if any.
    fn fails(&mut self, pack: &Pack, at: usize) -> Option<Example> {
        self.tries += 1;
        if self.tries > TRIES {
            return None;
        }
        match pack.run(self.backend, self.device) {
            Outcome::Ran(mut judged) => match pack.stores {
                // A digest stands for all programs that share it, so any of them may be reported.
                Stores::Digest(count) => {
                    let sharing = judged.chunks_mut(count).nth(at / count)?;
                    sharing.iter_mut().find_map(|judged| judged.example.take())
                }
                _ => judged.swap_remove(at).example,
            },
            _ => None,
        }
    }
}

/// Returns the smallest pack found in which program `wrong` of `pack` still gives a wrong result, with that result: the
/// program alone and shortened if it fails alone, otherwise with as few other programs as needed.
pub(super) fn shrink(
    pack: &Pack,
    wrong: usize,
    backend: &dyn hal::Device,
    device: Device,
) -> Option<(Pack, Example)> {
    let mut search = Search { backend, device, tries: 0 };
    let alone = Pack { stores: Stores::Late, ..subset(pack, &[wrong]) };
    if let Some(example) = search.fails(&alone, 0) {
        return Some(cut_short(&mut search, alone, example));
    }
    // Remove halves of the other programs, then quarters, and so on.
    let mut kept: Vec<usize> = (0..pack.programs.len()).collect();
    let place = |kept: &[usize]| kept.iter().position(|number| *number == wrong).unwrap_or_default();
    let mut example = search.fails(pack, wrong)?;
    let mut part = kept.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < kept.len() {
            let end = (at + part).min(kept.len());
            let rest: Vec<usize> = kept
                .iter()
                .enumerate()
                .filter(|(position, number)| !(at..end).contains(position) || **number == wrong)
                .map(|(_, number)| *number)
                .collect();
            let smaller = rest.len() < kept.len();
            match smaller.then(|| search.fails(&subset(pack, &rest), place(&rest))).flatten() {
                Some(found) => {
                    example = found;
                    kept = rest;
                }
                None => at = end,
            }
        }
        part /= 2;
    }
    Some((subset(pack, &kept), example))
}

/// Keeps one output of the only program of `pack`, and replaces computed values by inputs as long as the output stays
/// wrong.
fn cut_short(search: &mut Search<'_>, mut pack: Pack, mut example: Example) -> (Pack, Example) {
    let with = |pack: &Pack, program: Program| Pack {
        programs: vec![program],
        data: pack.data.clone(),
        stores: pack.stores,
    };
    let one = with(&pack, with_one_output(&pack.programs[0], example.output));
    if let Some(found) = search.fails(&one, 0) {
        (pack, example) = (one, found);
    }
    let mut at = 0;
    while let Some(node) = pack.programs[0].body.get(at) {
        let bounding = bounding(&pack.programs[0]);
        let replaced = match (node, defined(node).as_slice()) {
            (Node::Input { .. }, _) | (_, [_, _, ..] | []) => None,
            (_, [to]) => Some(*to).filter(|to| !bounding[*to]),
        };
        let shorter = replaced.map(|to| {
            let mut program = pack.programs[0].clone();
            program.body[at] = Node::Input { to, source: Source::Slot(at % 8) };
            with(&pack, with_one_output(&program, 0))
        });
        if let Some(shorter) = shorter
            && let Some(found) = search.fails(&shorter, 0)
        {
            // Earlier nodes may have been removed: start again.
            (pack, example, at) = (shorter, found, 0);
        } else {
            at += 1;
        }
    }
    (pack, example)
}

fn subset(pack: &Pack, numbers: &[usize]) -> Pack {
    Pack {
        programs: numbers.iter().map(|number| pack.programs[*number].clone()).collect(),
        data: pack.data.clone(),
        stores: pack.stores,
    }
}

/// Returns the program with one output, and without the nodes that the output does not need.
fn with_one_output(program: &Program, output: usize) -> Program {
    let mut program = program.clone();
    program.outputs = vec![program.outputs[output]];
    let mut needed = vec![false; program.types.len()];
    needed[program.outputs[0].var()] = true;
    // Backwards, because a node depends on earlier nodes only.
    let mut kept = Vec::new();
    for node in program.body.iter().rev() {
        if defined(node).iter().any(|var| needed[*var]) {
            uses(node, &mut |var| needed[var] = true);
            kept.push(node.clone());
        }
    }
    kept.reverse();
    program.body = kept;
    program
}

/// Returns the variables that a node defines for later nodes.
fn defined(node: &Node) -> Vec<usize> {
    match node {
        Node::If { to, .. } | Node::For { to, .. } | Node::While { to, .. } => to.clone(),
        Node::Input { to, .. }
        | Node::Op { to, .. }
        | Node::Local { to, .. }
        | Node::Table { to, .. }
        | Node::Exchange { to, .. }
        | Node::Combined { to, .. }
        | Node::Shuffle { to, .. } => vec![*to],
    }
}

/// Returns a flag for each variable that says whether it bounds a loop: with any other value, the loop might run for
/// billions of iterations.
fn bounding(program: &Program) -> Vec<bool> {
    let mut bounding = vec![false; program.types.len()];
    mark_bounding(program, &program.body, &mut bounding);
    bounding
}

fn mark_bounding(program: &Program, nodes: &[Node], bounding: &mut [bool]) {
    for node in nodes.iter().rev() {
        match node {
            Node::For { from, end, body, .. } => {
                bounding[*from] = true;
                bounding[*end] = true;
                mark_bounding(program, &body.nodes, bounding);
            }
            Node::If { arms, .. } => {
                arms.iter().for_each(|arm| mark_bounding(program, &arm.nodes, bounding));
            }
            // Ends after at most three iterations for any start value.
            Node::While { header, body, .. } => {
                [header, body].into_iter().for_each(|arm| mark_bounding(program, &arm.nodes, bounding));
            }
            Node::Input { .. }
            | Node::Op { .. }
            | Node::Local { .. }
            | Node::Table { .. }
            | Node::Exchange { .. }
            | Node::Combined { .. }
            | Node::Shuffle { .. } => {}
        }
        // The result of `and` is at most the mask, whatever its other operand.
        let is_mask = matches!(node, Node::Op { op: Op::And, .. });
        if !is_mask && defined(node).iter().any(|var| bounding[*var]) {
            uses(node, &mut |var| bounding[var] |= program.types[var] != Type::BOOL);
        }
    }
}

/// Calls `each` with every variable that the node or a nested node reads.
fn uses(node: &Node, each: &mut dyn FnMut(usize)) {
    match node {
        Node::Input { .. } => {}
        Node::Op { args, .. } => args.iter().for_each(|var| each(*var)),
        Node::Local { values, index, .. } => values.iter().chain([index]).for_each(|var| each(*var)),
        Node::Table { index, .. } => each(*index),
        Node::Exchange { value, .. } | Node::Combined { value, .. } | Node::Shuffle { value, .. } => {
            each(*value);
        }
        Node::If { condition, arms, .. } => {
            each(*condition);
            for arm in arms {
                arm.nodes.iter().for_each(|node| uses(node, each));
                arm.yields.iter().for_each(|var| each(*var));
            }
        }
        Node::While { from, initial, header, body, .. } => {
            each(*from);
            initial.iter().for_each(|var| each(*var));
            for arm in [header, body] {
                arm.nodes.iter().for_each(|node| uses(node, each));
                arm.yields.iter().for_each(|var| each(*var));
            }
        }
        Node::For { from, end, initial, body, .. } => {
            [*from, *end].into_iter().for_each(&mut *each);
            initial.iter().chain(&body.yields).for_each(|var| each(*var));
            body.nodes.iter().for_each(|node| uses(node, each));
        }
    }
}
