//! Structured control flow, polls, and loops that a driver ends.

use fulgurite_spirv::{ControlWord, Layout};
use rspirv::dr::Instruction;
use rspirv::spirv::{Decoration, MemorySemantics, Op, StorageClass};

use crate::support::{Loaded, fullest, id, least, result};

/// A body of nested selections and loops with values.
const NESTED: &str = "%i = local_index\n%c = lt %i, %n\n%d = lt %i, 7u32\n\
    %r = if %c -> u32 {\n\
      %s = if %d -> u32 {\n%t = load %y[%i]\nyield %t\n} else {\nyield 2u32\n}\n\
      yield %s\n\
    } else {\n\
      %u = for %j in 0u32 to %n step 1u32 carry(%a = 0u32) {\n\
        %b = if %d -> u32 {\n%e = add %a, %j\nyield %e\n} else {\nyield %a\n}\n\
        yield %b\n\
      }\n\
      yield %u\n\
    }\n\
    %v = while carry(%w = %r) {\n%h = load %y[%w]\n%g = ne %h, 0u32\ncondition %g\n} do {\n\
      %k = load %y[%w]\nyield %k\n}\n\
    store %y[%i], %v";
const DECLARATIONS: &str = "buffer %y: read_write u32[]\nparam %n: u32";

/// Returns the loads from the control buffer, each with the position of its word.
fn control_loads(loaded: &Loaded) -> Vec<(u32, &Instruction)> {
    let Some(binding) = loaded.layout.control else { return Vec::new() };
    let control = loaded.binding(binding);
    let loads = loaded.all(Op::AtomicLoad).into_iter();
    loads
        .filter(|l| loaded.variable(id(l, 0)) == control)
        .map(|l| (loaded.constant(id(loaded.operand(l, 0), 2)).unwrap(), l))
        .collect()
}

/// Returns the load of the abort word at the start of the kernel, if any, and those in loops.
fn abort_loads(loaded: &Loaded) -> (Option<&Instruction>, Vec<&Instruction>) {
    let loads = control_loads(loaded).into_iter().filter(|(word, _)| *word == ControlWord::Abort as u32);
    let code = loaded.code();
    let place = |inst: &Instruction| code.iter().position(|i| *i == inst);
    let first_loop = code.iter().position(|i| i.class.opcode == Op::LoopMerge);
    let (before, inside): (Vec<_>, Vec<_>) = loads.map(|(_, l)| l).partition(|l| place(l) < first_loop);
    assert!(before.len() <= 1, "{before:?}");
    (before.first().copied(), inside)
}

fn polls(loaded: &Loaded) -> usize {
    abort_loads(loaded).1.len()
}

#[test]
fn phi_parents_are_the_blocks_that_end_regions() {
    for loaded in [least(DECLARATIONS, NESTED), fullest(DECLARATIONS, NESTED)] {
        let phis = loaded.all(Op::Phi);
        assert!(phis.len() >= 8, "{}", phis.len());
        for phi in phis {
            let mut parents: Vec<u32> = (0..phi.operands.len() / 2).map(|i| id(phi, 2 * i + 1)).collect();
            parents.sort_unstable();
            assert_eq!(parents, loaded.predecessors(loaded.block_of(phi)), "{phi:?}");
        }
    }
    // The then block of the outer selection begins in one block and ends in another, behind the inner one.
    let loaded = least(
        DECLARATIONS,
        "%i = local_index\n%c = lt %i, %n\n%d = lt %i, 7u32\n%r = if %c -> u32 {\n%s = if %d -> u32 {\nyield 1u32\n} \
         else {\nyield 2u32\n}\nyield %s\n} else {\nyield 3u32\n}\nstore %y[%i], %r",
    );
    let (inner, outer) = (loaded.all(Op::Phi)[0], loaded.all(Op::Phi)[1]);
    assert_eq!(id(outer, 0), result(inner));
    assert_eq!(id(outer, 1), loaded.block_of(inner), "the block that ends the region");
    let begins = id(loaded.all(Op::BranchConditional)[0], 1);
    assert_ne!(id(outer, 1), begins, "not the one that begins it");
}

#[test]
fn every_branch_of_two_ways_is_declared_or_leaves_a_loop() {
    for loaded in [least(DECLARATIONS, NESTED), fullest(DECLARATIONS, NESTED)] {
        let merges: Vec<u32> = loaded.all(Op::LoopMerge).iter().map(|m| id(m, 0)).collect();
        assert_eq!(merges.len(), 2);
        for block in &loaded.module.functions[0].blocks {
            let [.., before, last] = block.instructions.as_slice() else { continue };
            if last.class.opcode == Op::BranchConditional && before.class.opcode != Op::SelectionMerge {
                assert!((1..3).any(|i| merges.contains(&id(last, i))), "{last:?}");
            }
        }
        for merge in loaded.all(Op::LoopMerge) {
            let header = loaded.block_of(merge);
            assert_eq!(loaded.successors(id(merge, 1)), [header], "the continue target goes back");
            assert_eq!(loaded.predecessors(id(merge, 1)).len(), 1, "and only the body's end goes to it");
        }
    }
}

#[test]
fn a_for_compares_a_count_made_before_it() {
    let trips = |text: &str| {
        let loaded = least("buffer %y: write i32[]\nparam %n: i32\nparam %m: u32", text);
        let header = loaded.block_of(loaded.one(Op::LoopMerge));
        let less = loaded.one(Op::ULessThan);
        assert_eq!(loaded.block_of(loaded.operand(less, 0)), header, "an iteration number, from the header");
        let count = loaded.operand(less, 1).clone();
        assert_ne!(loaded.block_of(&count), header);
        (loaded, count)
    };
    // A distance is the larger bound less the lower one, both as unsigned words; returns the lower one.
    let low_of = |loaded: &Loaded, distance: &Instruction| {
        assert_eq!(distance.class.opcode, Op::ISub);
        let [larger, low] = [0, 1].map(|position| {
            let value = loaded.operand(distance, position);
            let is_cast = value.class.opcode == Op::Bitcast;
            if is_cast { loaded.operand(value, 0).clone() } else { value.clone() }
        });
        assert_eq!(id(&larger, 2), result(&low), "none where the end is not past the start");
        low
    };
    for (step, low_is_start) in [("2i32", true), ("-2i32", false)] {
        let (loaded, count) = trips(&format!("for %i in 3i32 to %n step {step} {{\n}}"));
        assert_eq!(count.class.opcode, Op::Select);
        assert_eq!(loaded.constant(id(&count, 2)), Some(0));
        assert_eq!(loaded.constant(id(loaded.one(Op::UDiv), 1)), Some(2), "the magnitude of the step");
        let some = loaded.operand(&count, 0);
        assert_eq!(some.class.opcode, Op::INotEqual);
        let low = low_of(&loaded, loaded.operand(some, 0));
        assert_eq!(loaded.constant(result(&low)) == Some(3), low_is_start, "the bounds change places");
    }
    let (loaded, count) = trips("for %i in 3u32 to %m step 1u32 {\n}");
    assert_eq!(loaded.constant(result(&low_of(&loaded, &count))), Some(3));
    // Between constants, the count is one.
    for (bounds, wanted) in [
        ("0u32 to 16u32 step 1u32", 16),
        ("7u32 to 3u32 step 1u32", 0),
        ("-2147483648i32 to 2147483647i32 step 2i32", 1 << 31),
        ("5i32 to -5i32 step -3i32", 4),
    ] {
        let loaded = least("buffer %y: write i32[]", &format!("for %i in {bounds} {{\n}}"));
        loaded.assert_without(&[Op::ExtInst, Op::ISub, Op::UDiv]);
        assert_eq!(loaded.constant(id(loaded.one(Op::ULessThan), 1)), Some(wanted), "{bounds}");
    }
    loaded.assert_without(&[Op::UDiv, Op::Select]);
}

#[test]
fn only_loops_without_a_bound_poll() {
    let count = |body: &str| polls(&least(DECLARATIONS, body));
    assert_eq!(count("while {\ncondition true\n} do {\n}"), 1);
    assert_eq!(count("for %i in 0u32 to %n step 1u32 {\n}"), 1);
    assert_eq!(count("for %i in 0u32 to 1073741824u32 step 1u32 {\n}"), 0);
    assert_eq!(count("for %i in 0u32 to 1073741825u32 step 1u32 {\n}"), 1);
    let square = "for %i in 0u32 to 32768u32 step 1u32 {\nfor %j in 0u32 to SIDEu32 step 1u32 {\n}\n}";
    assert_eq!(count(&square.replace("SIDE", "32768")), 0);
    assert_eq!(count(&square.replace("SIDE", "32769")), 1, "the inner one");
    assert_eq!(count("%m = and %n, 1023u32\nfor %i in 0u32 to %m step 1u32 {\n}"), 0, "at most 1,023");
    // A loop runs 4,096 iterations between two polls.
    let inside = "while {\ncondition true\n} do {\nfor %j in 0u32 to SIDEu32 step 1u32 {\n}\n}";
    assert_eq!(count(&inside.replace("SIDE", "262144")), 1);
    assert_eq!(count(&inside.replace("SIDE", "262145")), 2);
    // Consecutive loops, not nested ones.
    assert_eq!(count(&"for %i in 0u32 to 1073741824u32 step 1u32 {\n}\n".repeat(3)), 0);
}

#[test]
fn a_poll_looks_every_4096_iterations_and_leaves_the_loop() {
    let loaded = least(DECLARATIONS, "while {\ncondition true\n} do {\n}");
    let load = abort_loads(&loaded).1[0];
    let before = loaded.predecessors(loaded.block_of(load));
    let phase = loaded.all(Op::BitwiseAnd)[0];
    assert_eq!(loaded.constant(id(phase, 1)), Some(4095));
    assert_eq!(before, [loaded.block_of(phase)]);
    // The count is a variable that each iteration increments.
    let count = loaded.operand(phase, 0);
    assert_eq!(count.class.opcode, Op::Load);
    let next = loaded.one(Op::IAdd);
    assert_eq!((id(next, 0), loaded.constant(id(next, 1))), (result(count), Some(1)));
    let kept = loaded.all(Op::Store).into_iter().find(|s| id(s, 1) == result(next)).unwrap();
    assert_eq!((id(kept, 0), loaded.block_of(kept)), (id(count, 0), loaded.block_of(phase)));
    let stop = loaded.all(Op::INotEqual)[1];
    let leave = loaded.all(Op::BranchConditional).into_iter().find(|b| id(b, 0) == result(stop)).unwrap();
    assert_eq!(id(leave, 1), id(loaded.one(Op::LoopMerge), 0));
}

/// Returns for each loop, in the order of their tests, the variable in which its polls count and the one that keeps the
/// abort word.
fn watches(loaded: &Loaded) -> Vec<(u32, u32)> {
    let masked = |i: &&Instruction| loaded.constant(id(i, 1)) == Some(4095);
    let phases = loaded.all(Op::BitwiseAnd).into_iter().filter(masked);
    let seen = |i: &&Instruction| {
        let loads = loaded.operand(i, 0);
        loads.class.opcode == Op::Load && loaded.class(id(loads, 0)) == StorageClass::Function
    };
    let stops: Vec<&Instruction> = loaded.all(Op::INotEqual).into_iter().filter(seen).collect();
    let found: Vec<(u32, u32)> =
        phases.zip(&stops).map(|(p, s)| (id(loaded.operand(p, 0), 0), id(loaded.operand(s, 0), 0))).collect();
    assert_eq!(found.len(), stops.len());
    found
}

#[test]
fn loops_that_poll_count_and_leave_as_one() {
    let nested = "for %i in 0u32 to %n step 1u32 {\nfor %j in 0u32 to %n step 1u32 {\n}\n}\n\
        while {\ncondition true\n} do {\n}";
    for loaded in [least(DECLARATIONS, nested), fullest(DECLARATIONS, nested)] {
        let watches = watches(&loaded);
        assert_eq!((polls(&loaded), watches.len()), (3, 3));
        assert!(watches.iter().all(|w| *w == watches[0]), "{watches:?}");
        let (iterations, seen) = watches[0];
        assert_ne!(iterations, seen);
        for variable in [iterations, seen] {
            assert_eq!(loaded.constant(id(loaded.def(variable), 1)), Some(0), "at the start, and only there");
        }
        // The result of each poll is kept for the enclosing loops, which leave at the start of their next body.
        for load in abort_loads(&loaded).1 {
            let kept = loaded.all(Op::Store).into_iter().find(|s| id(s, 1) == result(load)).unwrap();
            assert_eq!((id(kept, 0), loaded.block_of(kept)), (seen, loaded.block_of(load)));
        }
    }
    // Uniform loops do not share their variables with divergent ones.
    let both = "%i = local_index\nwhile {\ncondition true\n} do {\nbarrier\n\
        for %j in 0u32 to %i step 1u32 {\nfor %k in 0u32 to %n step 1u32 {\n}\n}\n\
        for %j in 0u32 to %n step 1u32 {\n}\n}";
    let loaded = least(DECLARATIONS, both);
    let [outer, inner, last] = watches(&loaded).try_into().unwrap();
    assert_eq!(outer, last);
    assert!(outer.0 != inner.0 && outer.1 != inner.1, "{outer:?} {inner:?}");
    // Loops that do not poll declare no variables.
    let short = "for %i in 0u32 to 9u32 step 1u32 {\n}";
    assert!(least(DECLARATIONS, short).all(Op::Variable).is_empty());
    let both = format!("{short}\nwhile {{\ncondition true\n}} do {{\n}}");
    assert_eq!(watches(&least(DECLARATIONS, &both)).len(), 1);
}

#[test]
fn a_workgroup_that_meets_at_barriers_polls_together() {
    let declarations = "buffer %y: read_write u32[]\nshared %s: u32[64]\nparam %n: u32";
    let inside = "for %j in 0u32 to %n step 1u32 {\nbarrier[buffers]\n}";
    let before = "%t = for %j in 0u32 to %n step 1u32 carry(%a = 0u32) {\nyield %j\n}\n\
        %c = eq %t, 5u32\nif %c {\nbarrier[buffers]\n}";
    for body in [inside, before] {
        let loaded = least(declarations, body);
        assert_eq!((polls(&loaded), loaded.layout.shared_bytes), (1, 260));
        let load = abort_loads(&loaded).1[0];
        let store = loaded.all(Op::Store).into_iter().find(|s| id(s, 1) == result(load)).unwrap();
        assert_eq!(loaded.class(id(store, 0)), StorageClass::Workgroup);
        assert_eq!((id(store, 1), loaded.block_of(store)), (result(load), loaded.block_of(load)));
        // Only invocation 0 polls; all invocations read the result, between two barriers for shared memory.
        let asks = loaded.predecessors(loaded.block_of(load))[0];
        let first = loaded.all(Op::IEqual).into_iter().rfind(|e| loaded.block_of(e) == asks).unwrap();
        assert_eq!(loaded.constant(id(first, 1)), Some(0));
        let told = loaded.all(Op::Load).into_iter().rfind(|l| id(l, 0) == id(store, 0)).unwrap();
        let block = loaded.module.functions[0].blocks.iter().find(|b| b.instructions.contains(told)).unwrap();
        let ops: Vec<Op> = block.instructions.iter().map(|i| i.class.opcode).collect();
        assert_eq!(ops, [Op::ControlBarrier, Op::Load, Op::ControlBarrier, Op::Store, Op::Branch]);
        for barrier in [&block.instructions[0], &block.instructions[2]] {
            assert!(loaded.semantics(barrier, 2).contains(MemorySemantics::WORKGROUP_MEMORY));
        }
        // A driver that ends loops lets invocations diverge by itself.
        assert_eq!(fullest(declarations, body).layout.shared_bytes, 256);
    }
    // Invocations poll separately if they need not stay together.
    let varying = "%i = global_id.x\nfor %j in 0u32 to %i step 1u32 {\n}\nbarrier";
    let no_barrier = "for %j in 0u32 to %n step 1u32 {\n}";
    for body in [varying, no_barrier] {
        let loaded = least(declarations, body);
        assert_eq!((polls(&loaded), loaded.layout.shared_bytes), (1, 256), "{body}");
    }
}

#[test]
fn what_has_not_begun_when_the_launch_is_aborted_never_does() {
    let endless = "store %y[0u32], 1u32\nwhile {\ncondition true\n} do {\nBARRIER\n}\nstore %y[1u32], 1u32";
    let [alone, together] = ["", "barrier"].map(|barrier| endless.replace("BARRIER", barrier));
    for (loaded, told) in [
        (least(DECLARATIONS, &alone), false),
        (fullest(DECLARATIONS, &alone), false),
        (least(DECLARATIONS, &together), true),
    ] {
        assert!(loaded.layout.abortable);
        let load = abort_loads(&loaded).0.unwrap();
        let wanted = if told {
            // As in a poll, all invocations of a workgroup read the result of the first.
            let store = loaded.all(Op::Store)[0];
            assert_eq!(id(store, 1), result(load));
            loaded.all(Op::Load).into_iter().find(|l| id(l, 0) == id(store, 0)).unwrap()
        } else {
            load
        };
        let stop = loaded.all(Op::INotEqual)[0];
        assert_eq!(id(stop, 0), result(wanted));
        let leave = loaded.all(Op::BranchConditional).into_iter().find(|b| id(b, 0) == result(stop)).unwrap();
        // The branch goes to the end of the function.
        let end = loaded.block_of(loaded.one(Op::Return));
        assert_eq!(id(leave, 1), end);
        assert_eq!(loaded.module.functions[0].blocks.last().unwrap().label_id(), Some(end));
        let buffer = loaded.binding(0);
        for store in loaded.all(Op::Store).into_iter().filter(|s| loaded.variable(id(s, 0)) == buffer) {
            assert_ne!(loaded.block_of(store), end);
        }
    }
    // No loop that polls, or no way to leave together: a driver that ends loops, or loops that diverge.
    let straight = least(DECLARATIONS, "store %y[0u32], 1u32");
    assert!(abort_loads(&straight).0.is_none() && !straight.layout.abortable);
    let apart = fullest(DECLARATIONS, &together);
    assert!(abort_loads(&apart).0.is_none() && apart.layout.abortable);
    let short = fullest(DECLARATIONS, "for %i in 0u32 to 9u32 step 1u32 {\nbarrier\n}");
    assert!(abort_loads(&short).0.is_none() && !short.layout.abortable);
    let short = fullest(DECLARATIONS, "for %i in 0u32 to 9u32 step 1u32 {\n}");
    assert!(abort_loads(&short).0.is_some() && short.layout.abortable);
}

#[test]
fn control_words_are_loaded_volatile() {
    for loaded in [least(DECLARATIONS, NESTED), fullest(DECLARATIONS, NESTED)] {
        let loads = control_loads(&loaded);
        assert!(loads.len() >= 2, "{}", loads.len());
        for (_, load) in loads {
            assert_eq!(loaded.constant(id(load, 1)), Some(5), "the host is beyond any narrower scope");
            assert_eq!(loaded.semantics(load, 2), MemorySemantics::VOLATILE);
        }
    }
}

#[test]
fn a_loop_that_the_driver_ends_is_a_fault() {
    let body = "for %i in 0u32 to 100u32 step 1u32 {\nstore %y[%i], %i\n}";
    assert!(least(DECLARATIONS, body).all(Op::AtomicCompareExchange).is_empty());

    let loaded = fullest(DECLARATIONS, body);
    // A flag in a local array at an index that no compiler knows: cleared before the loop, set where the loop leaves.
    let flag = loaded.one(Op::Variable);
    let stores: Vec<&Instruction> =
        loaded.all(Op::Store).into_iter().filter(|s| loaded.variable(id(s, 0)) == flag).collect();
    let [cleared, set] = stores.as_slice() else { panic!("{stores:?}") };
    assert_eq!(loaded.constant(id(cleared, 1)), Some(0));
    assert_eq!(loaded.constant(id(set, 1)), Some(1));
    let hidden = loaded.operand(loaded.operand(loaded.operand(set, 0), 1), 0);
    let abort = abort_loads(&loaded).0.unwrap();
    let expected = [(ControlWord::Abort as u32, abort), (ControlWord::Zero as u32, hidden)];
    assert_eq!(control_loads(&loaded), expected);
    let merge = id(loaded.one(Op::LoopMerge), 0);
    assert_eq!(loaded.successors(loaded.block_of(set)), [merge]);
    // The flag is read after the loop; if it is not set, the first invocation records a fault.
    let read =
        loaded.all(Op::Load).into_iter().find(|l| loaded.class(id(l, 0)) == StorageClass::Function).unwrap();
    assert_eq!(loaded.block_of(read), merge);
    let record = loaded.one(Op::AtomicCompareExchange);
    assert_eq!(loaded.constant(id(record, 4)), Some(Layout::FAULT_LOOP_ENDED));
    assert_eq!(loaded.constant(id(record, 5)), Some(0));
    let word = |pointer| loaded.constant(id(loaded.def(pointer), 2));
    assert_eq!(word(id(record, 0)), Some(ControlWord::Fault as u32));
    assert_eq!(word(id(loaded.one(Op::AtomicStore), 0)), Some(ControlWord::Invocation as u32));
    assert!(!loaded.is_decorated(result(loaded.binding(1)), Decoration::NonWritable));
}
