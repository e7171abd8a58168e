//! Tests of the interpreter itself: scheduling, limits, monitors, buffers. The run files in `crates/ir/filetests/run`
//! test the results of kernels on every backend.

mod language;

use std::sync::Arc;

use fulgurite_driver_core::Registry;
use fulgurite_hal::{Binding, CompileOptions, Device as _, DeviceBuffer, Error, Launch, LaunchOptions};
use fulgurite_ir::{Grid, MemoryScopes, VerifiedKernel, text, verify};
use fulgurite_spec::Code;
use fulgurite_spec::eval::Components;

use crate::monitor::{Access, AccessKind, Claims, Monitor};
use crate::prepared::PreparedKernel;
use crate::{ReferenceDevice, ReferenceOptions, backend, interpreter};

fn kernel(workgroup: &str, lines: &str) -> Arc<VerifiedKernel> {
    let source = format!("fulgurite 1\nkernel @k workgroup({workgroup}) {{\n{lines}\n}}\n");
    let parsed = text::parse(&source).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(verify(parsed).unwrap_or_else(|e| panic!("{e}")))
}

struct Setup {
    backend: ReferenceDevice,
    buffers: Vec<Arc<dyn DeviceBuffer>>,
}

impl Setup {
    fn new(buffers: &[&[u32]]) -> Self {
        Self::with(ReferenceOptions::default(), buffers)
    }

    fn with(options: ReferenceOptions, buffers: &[&[u32]]) -> Self {
        let backend = ReferenceDevice::new(options);
        let allocate = |words: &&[u32]| {
            let buffer = backend.allocate(words.len() as u64 * 4).unwrap();
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            buffer.write(0, &bytes).unwrap();
            buffer
        };
        let buffers = buffers.iter().map(allocate).collect();
        Self { backend, buffers }
    }

    fn launch(
        &self,
        kernel: &Arc<VerifiedKernel>,
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<(), Error> {
        let executable = self.backend.compile(kernel.clone(), &CompileOptions::default())?;
        let limits = &self.backend.snapshot().limits;
        let launch = Launch::check(kernel, limits, Binding::each(&self.buffers), params, options)?;
        executable.launch(&launch).map(|_| ())
    }

    fn words(&self, buffer: usize) -> Vec<u32> {
        let mut bytes = vec![0; self.buffers[buffer].bytes() as usize];
        self.buffers[buffer].read(0, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    }
}

fn grid(x: u32) -> LaunchOptions {
    LaunchOptions::workgroups([x, 1, 1])
}

/// Each invocation waits for a store of the previous one, which only ends if they take turns.
const RELAY: &str = "buffer %out: read_write u32[]
  %i = local_index
  while {
    %turn = atomic.load %out[0u32]
    %not = ne %turn, %i
    condition %not
  } do {
  }
  atomic.add %out[0u32], 1u32";

#[test]
fn invocations_of_a_workgroup_take_turns() {
    let relay = kernel("16, 1, 1", RELAY);
    for quantum in [0, 1, 3, 64, 1000] {
        let setup = Setup::with(ReferenceOptions::default().quantum(quantum), &[&[0]]);
        setup.launch(&relay, &[], &grid(1)).unwrap();
        assert_eq!(setup.words(0), [16], "quantum {quantum}");
    }
}

/// An infinite loop.
const ENDLESS: &str = "buffer %out: write u32[]\nwhile {\ncondition true\n} do {\n}";

#[test]
#[cfg(feature = "std")]
fn infinite_loop_times_out_by_the_clock() {
    let timeout = std::time::Duration::from_millis(30);
    let setup = Setup::new(&[&[0]]);
    let error = setup.launch(&kernel("1, 1, 1", ENDLESS), &[], &grid(1).timeout(timeout)).unwrap_err();
    assert_eq!(error, fulgurite_hal::DeviceError::Timeout(timeout).into());
}

#[test]
fn infinite_loop_times_out_by_steps() {
    let setup = Setup::with(ReferenceOptions::default().step_budget(100_000), &[&[0]]);
    let error = setup.launch(&kernel("1, 1, 1", ENDLESS), &[], &grid(1)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
}

#[test]
fn step_budget_counts_all_invocations() {
    let short = kernel("4, 1, 1", "buffer %out: write u32[]\n%i = local_index\nstore %out[%i], %i");
    // Two instructions and the end of the block, for four invocations of two workgroups.
    let setup = Setup::with(ReferenceOptions::default().step_budget(24), &[&[9; 4]]);
    setup.launch(&short, &[], &grid(2)).unwrap();
    assert_eq!(setup.words(0), [0, 1, 2, 3]);
    let setup = Setup::with(ReferenceOptions::default().step_budget(23), &[&[9; 4]]);
    assert_eq!(setup.launch(&short, &[], &grid(2)).unwrap_err().code(), Code::Timeout);
}

#[test]
fn empty_grid_runs_nothing() {
    let store = kernel("1, 1, 1", "buffer %out: write u32[]\nstore %out[0u32], 1u32");
    let setup = Setup::new(&[&[7]]);
    for empty in [[0, 1, 1], [5, 0, 5], [1, 1, 0]] {
        setup.launch(&store, &[], &LaunchOptions::workgroups(empty)).unwrap();
    }
    assert_eq!(setup.words(0), [7]);
}

#[test]
fn deep_nesting_runs_without_overflow() {
    let mut lines = "buffer %out: write u32[]\n".to_owned();
    lines += &"if true {\n".repeat(400);
    lines += "store %out[0u32], 1u32\n";
    lines += &"}\n".repeat(400);
    let setup = Setup::new(&[&[0]]);
    setup.launch(&kernel("1, 1, 1", &lines), &[], &grid(1)).unwrap();
    assert_eq!(setup.words(0), [1]);
}

#[test]
fn too_much_state_is_out_of_memory() {
    let mut lines = "buffer %out: write u32[]\n%v0 = global_id.x\n".to_owned();
    for i in 0..70_000 {
        lines += &format!("%v{} = add %v{i}, 1u32\n", i + 1);
    }
    lines += "store %out[0u32], %v70000";
    let setup = Setup::new(&[&[0]]);
    let error = setup.launch(&kernel("4096, 1, 1", &lines), &[], &grid(1)).unwrap_err();
    assert_eq!(error.code(), Code::OutOfMemory);
}

#[test]
fn read_buffer_may_be_bound_twice() {
    let copy = kernel(
        "1, 1, 1",
        "buffer %a: read u32[]\nbuffer %out: write u32[]\nbuffer %b: read u32[]
         %x = load %a[0u32]\n%y = load %b[1u32]\n%z = add %x, %y\nstore %out[0u32], %z",
    );
    let mut setup = Setup::new(&[&[5, 6], &[0]]);
    setup.buffers.push(setup.buffers[0].clone());
    setup.launch(&copy, &[], &grid(1)).unwrap();
    assert_eq!(setup.words(1), [11]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "this test launches from several threads")]
fn concurrent_launches_do_not_deadlock() {
    let add = kernel(
        "1, 1, 1",
        "buffer %a: read_write u32[]\nbuffer %b: read_write u32[]
         atomic.add %a[0u32], 1u32\natomic.add %b[0u32], 2u32",
    );
    let setup = Setup::new(&[&[0], &[0]]);
    let swapped = Setup {
        backend: ReferenceDevice::new(ReferenceOptions::default()),
        buffers: setup.buffers.iter().rev().cloned().collect(),
    };
    std::thread::scope(|scope| {
        for setup in [&setup, &swapped, &setup, &swapped] {
            let add = &add;
            scope.spawn(move || (0..200).for_each(|_| setup.launch(add, &[], &grid(1)).unwrap()));
        }
    });
    assert_eq!((setup.words(0), setup.words(1)), (vec![1200], vec![1200]));
}

/// A buffer of an unknown backend.
struct Foreign;

impl DeviceBuffer for Foreign {
    fn bytes(&self) -> u64 {
        4
    }
    fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }
    fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn buffers_check_ranges_and_backend() {
    let setup = Setup::new(&[&[1, 2]]);
    let buffer = &setup.buffers[0];
    assert_eq!(buffer.write(5, &[0; 4]).unwrap_err().code(), Code::BufferSize);
    assert_eq!(buffer.read(u64::MAX, &mut [0; 4]).unwrap_err().code(), Code::BufferSize);
    buffer.write(8, &[]).unwrap();
    assert_eq!(setup.backend.allocate(1 << 63).err().map(|e| e.code()), Some(Code::Unsupported));
    let store = kernel("1, 1, 1", "buffer %out: write u32[]\nstore %out[0u32], 1u32");
    let foreign = Setup {
        backend: ReferenceDevice::new(ReferenceOptions::default()),
        buffers: vec![Arc::new(Foreign)],
    };
    assert_eq!(foreign.launch(&store, &[], &grid(1)).unwrap_err().code(), Code::ForeignBuffer);
}

/// Records monitor calls.
#[derive(Default)]
struct Notes {
    accesses: Vec<(AccessKind, u32, bool, Grid, u32)>,
    barriers: Vec<(usize, Grid, MemoryScopes)>,
}

impl Monitor for Notes {
    fn access(&mut self, access: &Access) {
        self.accesses.push((
            access.kind,
            access.index as u32,
            access.in_bounds,
            access.workgroup,
            access.invocation,
        ));
    }
    fn barrier(&mut self, workgroup: Grid, scopes: MemoryScopes) {
        self.barriers.push((self.accesses.len(), workgroup, scopes));
    }
}

#[test]
fn monitor_sees_every_access_and_barrier() {
    let kernel = kernel(
        "2, 1, 1",
        "buffer %out: read_write u32[]\n%i = local_index\n%g = global_id.x
         atomic.add %out[0u32], 1u32\nbarrier[shared]\n%x = load %out[%g]\nstore %out[%i], %x",
    );
    let program = PreparedKernel::new(kernel.clone());
    let setup = Setup::new(&[&[0, 0]]);
    let limits = &setup.backend.snapshot().limits;
    let launch = Launch::check(&kernel, limits, Binding::each(&setup.buffers), &[], &grid(2)).unwrap();
    let mut notes = Notes::default();
    interpreter::launch(&program, &launch, ReferenceOptions::default(), &mut notes).unwrap();
    use AccessKind::{Atomic, Load, Store};
    let (zero, one) = ([0, 0, 0], [1, 0, 0]);
    assert_eq!(
        notes.accesses,
        [
            (Atomic, 0, true, zero, 0),
            (Atomic, 0, true, zero, 1),
            (Load, 0, true, zero, 0),
            (Store, 0, true, zero, 0),
            (Load, 1, true, zero, 1),
            (Store, 1, true, zero, 1),
            (Atomic, 0, true, one, 0),
            (Atomic, 0, true, one, 1),
            (Load, 2, false, one, 0),
            (Store, 0, true, one, 0),
            (Load, 3, false, one, 1),
            (Store, 1, true, one, 1),
        ]
    );
    let scopes = MemoryScopes { shared: true, buffers: false };
    assert_eq!(notes.barriers, [(2, zero, scopes), (8, one, scopes)]);
    // The same launch without this monitor gives the same memory.
    let watched = setup.words(0);
    setup.buffers[0].write(0, &[0; 8]).unwrap();
    let mut claims = Claims::new(&program);
    interpreter::launch(&program, &launch, ReferenceOptions::default(), &mut claims).unwrap();
    assert_eq!(setup.words(0), watched);
}

#[test]
fn registration_opens_the_backend() {
    let mut registry = Registry::new();
    registry.register(backend()).unwrap();
    let route = registry.route(&Default::default(), &Default::default()).unwrap();
    assert_eq!(route.device().snapshot().backend, "reference");
    let kernel = kernel("1, 1, 1", "");
    let executable = route.device().compile(kernel.clone(), &CompileOptions::default()).unwrap();
    assert_eq!(executable.id(), format!("reference:{}", kernel.digest()));
}

#[test]
fn violated_divisibility_claim_is_an_internal_error() {
    let kernel = kernel(
        "2, 1, 1",
        "buffer %out: write u32[]\n%i = local_index\n%j = mul %i, 12u32\nstore %out[%i], %j",
    );
    let program = PreparedKernel::new(kernel.clone());
    let value = kernel.values.iter().position(|v| v.name.as_deref() == Some("j")).unwrap();
    let value = fulgurite_ir::ValueId::new(value);
    assert_eq!(program.divisors().divisor(value), 12);
    let mut claims = Claims::new(&program);
    claims.value(value, 24);
    assert_eq!(claims.check(), Ok(()));
    claims.value(value, 18);
    claims.value(value, 36);
    let error = claims.check().unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.to_string().contains("multiple of 12, but was 18"), "{error}");
}

/// Products of large matrices in straight-line code, which take seconds in total.
fn products() -> Arc<VerifiedKernel> {
    use core::fmt::Write as _;

    let ty = |role: &str| format!("coopmat<f32, 256x256, {role}, subgroup>");
    let mut lines = String::from("buffer %out: write f32[]\n");
    let _ = writeln!(lines, "%a = coop.fill 1f32 -> {}\n%b = coop.fill 1f32 -> {}", ty("a"), ty("b"));
    let _ = writeln!(lines, "%c0 = coop.fill 0f32 -> {}", ty("acc"));
    for k in 0..60 {
        let _ = writeln!(lines, "%c{} = coop.mul_add %a, %b, %c{k}", k + 1);
    }
    lines.push_str("coop.store[row_major] %out[0u32], 256u32, %c60");
    kernel("32, 1, 1", &lines)
}

#[test]
#[cfg(feature = "std")]
fn matrix_ops_time_out_without_a_loop() {
    let setup = Setup::new(&[&[0; 256 * 256]]);
    let options = grid(1).timeout(std::time::Duration::from_millis(100));
    let error = setup.launch(&products(), &[], &options).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
}
