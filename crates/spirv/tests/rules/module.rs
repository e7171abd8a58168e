//! The module as a whole: declarations, ids, determinism and size.

use std::path::{Path, PathBuf};

use fulgurite_ir::builder::Write;
use std::collections::HashSet;

use fulgurite_ir::text;
use fulgurite_spirv::{Module, Profile, emit};
use rspirv::dr::Operand;
use rspirv::spirv::{Capability, ExecutionMode, Op};

use crate::support::{fullest, kernel, least, load, source};

const DECLARATIONS: &str = "buffer %x: read f32[]\nbuffer %y: read_write f32[]\nparam %n: u32\nshared %s: f32[64]\n\
    local %t: f32x4[4]";
const BODY: &str = "%i = local_index\n%v = load %x[%n]\nstore %s[%i], %v\nbarrier\n\
    %sum = for %j in 0u32 to %n step 3u32 carry(%a = 0.0f32) {\n%w = load %s[%j]\n%b = add %a, %w\nyield %b\n}\n\
    store %y[%i], %sum";

fn capabilities(module: &rspirv::dr::Module) -> Vec<Capability> {
    let operand = |i: &rspirv::dr::Instruction| match i.operands[0] {
        Operand::Capability(capability) => capability,
        ref other => panic!("{other:?}"),
    };
    module.capabilities.iter().map(operand).collect()
}

#[test]
fn modules_declare_only_what_the_least_device_has() {
    let loaded = least(DECLARATIONS, BODY);
    let module = &loaded.module;
    assert_eq!(
        capabilities(module),
        [Capability::Shader, Capability::VulkanMemoryModel, Capability::SignedZeroInfNanPreserve]
    );
    assert!(module.extensions.is_empty());
    let model = module.memory_model.as_ref().unwrap();
    assert_eq!(
        model.operands,
        [
            Operand::AddressingModel(rspirv::spirv::AddressingModel::Logical),
            Operand::MemoryModel(rspirv::spirv::MemoryModel::Vulkan)
        ]
    );
    assert_eq!(module.header.as_ref().unwrap().version(), (1, 6));
}

#[test]
fn float_controls_follow_the_profile() {
    let modes = |module: &rspirv::dr::Module| -> Vec<(ExecutionMode, Vec<Operand>)> {
        let mode = |i: &rspirv::dr::Instruction| match i.operands[1] {
            Operand::ExecutionMode(mode) => (mode, i.operands[2..].to_vec()),
            ref other => panic!("{other:?}"),
        };
        module.execution_modes.iter().map(mode).collect()
    };
    let size = [64, 1, 1].map(Operand::LiteralBit32).to_vec();
    let width = vec![Operand::LiteralBit32(32)];
    assert_eq!(
        modes(&least(DECLARATIONS, BODY).module),
        [(ExecutionMode::LocalSize, size.clone()), (ExecutionMode::SignedZeroInfNanPreserve, width.clone())]
    );
    let full = fullest(DECLARATIONS, BODY).module;
    assert_eq!(
        modes(&full),
        [
            (ExecutionMode::LocalSize, size),
            (ExecutionMode::SignedZeroInfNanPreserve, width.clone()),
            (ExecutionMode::RoundingModeRTE, width.clone()),
            (ExecutionMode::DenormPreserve, width),
        ]
    );
    let wanted = [Capability::RoundingModeRTE, Capability::DenormPreserve];
    assert!(wanted.iter().all(|c| capabilities(&full).contains(c)));
}

#[test]
fn the_bound_covers_every_id_and_none_is_defined_twice() {
    for loaded in [least(DECLARATIONS, BODY), fullest(DECLARATIONS, BODY)] {
        let bound = loaded.module.header.as_ref().unwrap().bound;
        let mut seen = HashSet::new();
        for inst in loaded.module.all_inst_iter() {
            if let Some(id) = inst.result_id {
                assert!(seen.insert(id), "{inst:?}");
            }
            let operands = inst.operands.iter().filter_map(Operand::id_ref_any);
            for id in operands.chain(inst.result_id).chain(inst.result_type) {
                assert!(id > 0 && id < bound, "{inst:?}");
            }
        }
        let used =
            loaded.module.all_inst_iter().flat_map(|i| i.operands.iter().filter_map(Operand::id_ref_any));
        assert!(used.into_iter().all(|id| seen.contains(&id)), "an id is used that nothing defines");
    }
}

#[test]
fn types_and_constants_are_declared_once() {
    let loaded = fullest(DECLARATIONS, BODY);
    let mut seen = HashSet::new();
    for inst in &loaded.module.types_global_values {
        // Arrays and the blocks around them differ in their decorations.
        if matches!(inst.class.opcode, Op::Variable | Op::TypeArray | Op::TypeStruct) {
            continue;
        }
        let key = (inst.class.opcode, inst.result_type, inst.operands.clone());
        assert!(seen.insert(format!("{key:?}")), "{inst:?}");
    }
}

#[test]
fn equal_inputs_give_equal_words() {
    let text = source(DECLARATIONS, BODY);
    for profile in [Profile::least(), Profile::fullest()] {
        let first = emit(&kernel(&text), &profile);
        assert_eq!(first, emit(&kernel(&text), &profile));
        let printed = text::print(&kernel(&text));
        assert_eq!(first.words, emit(&kernel(&printed), &profile).words);
        // A precondition built in Rust leaves instructions in the arena that belong to no block.
        let built =
            fulgurite_ir::builder::kernel::<(Write<u32>, u32)>("k", ["y", "n"], [1, 1, 1], |k, (y, n)| {
                k.require(|k| (k.num_workgroups().x() * n).gt(0) & (y.len() % 4).eq(0));
                y.store(0, n);
            });
        let built = fulgurite_ir::verify(built.unwrap()).unwrap();
        let read = kernel(&text::print(&built));
        assert_eq!((built.digest(), emit(&built, &profile)), (read.digest(), emit(&read, &profile)));
    }
}

#[test]
fn names_are_emitted_only_when_asked_for() {
    assert!(least(DECLARATIONS, BODY).module.debug_names.is_empty());
    let names: HashSet<String> = fullest(DECLARATIONS, BODY)
        .module
        .debug_names
        .iter()
        .map(|i| match &i.operands[1] {
            Operand::LiteralString(name) => name.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = ["x", "y", "n", "s", "t", "i", "v", "sum", "j", "a", "w", "b"];
    assert_eq!(names, wanted.into_iter().map(str::to_owned).collect());
}

/// Emits a chain of `count` additions.
fn chain(count: usize) -> Module {
    let mut body = String::from("%i = local_index\n%0 = add %i, 1u32\n");
    for i in 1..count {
        body.push_str(&format!("%{i} = add %{}, %i\n", i - 1));
    }
    body.push_str(&format!("store %y[%i], %{}", count - 1));
    emit(&kernel(&source("buffer %y: write u32[]", &body)), &Profile::least())
}

#[test]
fn a_hundred_thousand_chained_adds_take_five_words_each() {
    let (one, many) = (chain(1), chain(100_000));
    assert_eq!(many.words.len(), one.words.len() + 99_999 * 5);
    assert_eq!(many.id_bound(), one.id_bound() + 99_999);
    assert!(many.id_bound() < Module::MAX_ID_BOUND);
}

#[test]
fn every_kernel_that_runs_in_the_tests_of_the_language_can_be_read_back() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../ir/filetests/run");
    let mut count = 0;
    let files = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let (folders, mut paths): (Vec<_>, Vec<_>) =
        files(Path::new(folder)).into_iter().partition(|path| path.is_dir());
    paths.extend(folders.iter().flat_map(|folder| files(folder)));
    for path in paths {
        let text = std::fs::read_to_string(path).unwrap();
        let kernel = kernel(&text);
        for profile in [Profile::least(), Profile::fullest()] {
            if fulgurite_spirv::unsupported(&kernel, &profile).is_some() {
                continue;
            }
            let loaded = load(&kernel, &profile);
            assert_eq!(loaded.module.functions.len(), 1);
            let again = rspirv::binary::Assemble::assemble(&loaded.module);
            // Word 2 identifies the generator.
            assert_eq!((&again[..2], &again[3..]), (&loaded.words[..2], &loaded.words[3..]));
            count += 1;
        }
    }
    assert!(count >= 30, "{count}");
}
