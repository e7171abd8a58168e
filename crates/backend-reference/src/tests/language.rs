//! Language tests that run files cannot express: subgroup sizes, contents of `uninit` memory, which trap is reported,
//! and rejected launches.

use fulgurite_hal::{Binding, Device as _, DeviceError};

use super::*;

fn run_file(name: &str) -> String {
    let path = format!("{}/../ir/filetests/run/{name}.fg", env!("CARGO_MANIFEST_DIR"));
    #[expect(clippy::disallowed_methods, reason = "the test reads a run file")]
    std::fs::read_to_string(path).unwrap()
}

/// The run files hold for any subgroup size: each invocation's word has one bit set per check.
#[test]
fn subgroup_ops_hold_for_every_size_and_quantum() {
    for name in ["scan", "shuffle", "vote", "scan_partial", "shuffle_partial", "vote_partial"] {
        let source = run_file(&format!("subgroup_{name}"));
        let kernel = Arc::new(verify(text::parse(&source).unwrap()).unwrap());
        let (_, wanted) = source.split_once("// expect %ok = ").unwrap();
        let (count, word) = wanted.lines().next().unwrap().split_once(" * ").unwrap();
        let count: usize = count.parse().unwrap();
        let word: u32 = word.trim_end_matches("u32").parse().unwrap();
        for size in [1, 2, 4, 8, 16, 32, 64, 128] {
            for quantum in [1, 7, 64] {
                let options = ReferenceOptions::default().subgroup_size(size).quantum(quantum);
                let setup = Setup::with(options, &[&vec![0; count]]);
                assert_eq!(setup.backend.snapshot().limits.subgroup_size, size);
                setup.launch(&kernel, &[], &grid(2)).unwrap();
                assert_eq!(setup.words(0), vec![word; count], "{name}, {size} lanes, quantum {quantum}");
            }
        }
    }
}

#[test]
fn subgroups_may_be_at_different_ops() {
    // The second subgroup loops longer than the first, with a subgroup op in the loop.
    let looping = kernel(
        "8, 1, 1",
        "buffer %out: write u32[]
  %l = local_index
  %id = subgroup_id
  %n = add %id, 1u32
  %s = for %i in 0u32 to %n step 1u32 carry(%a = 0u32) {
    %r = subgroup.reduce[add] %l
    %b = add %a, %r
    yield %b
  }
  barrier
  store %out[%l], %s",
    );
    for quantum in [1, 2, 100] {
        let setup = Setup::with(ReferenceOptions::default().subgroup_size(4).quantum(quantum), &[&[0; 8]]);
        setup.launch(&looping, &[], &grid(1)).unwrap();
        assert_eq!(setup.words(0), [6, 6, 6, 6, 44, 44, 44, 44]);
    }
}

#[test]
fn subgroup_sizes_are_powers_of_two_in_range() {
    for (asked, used) in [(0, 1), (3, 2), (32, 32), (100, 64), (1000, 128)] {
        let backend = ReferenceDevice::new(ReferenceOptions::default().subgroup_size(asked));
        assert_eq!(backend.snapshot().limits.subgroup_size, used);
    }
}

#[test]
fn uninit_memory_holds_no_zeros_and_follows_its_seed() {
    let reading = kernel(
        "4, 1, 1",
        "buffer %out: write u32[]
  shared %a: u32[2]
  shared %u: u32[4] uninit
  shared %z: u32[4]
  %l = local_index
  %i = global_id.x
  %v = load %u[%l]
  %w = load %z[%l]
  %s = or %v, %w
  store %out[%i], %s",
    );
    let words = |seed: u32| {
        let setup = Setup::with(ReferenceOptions::default().uninit_seed(seed), &[&[0; 8]]);
        setup.launch(&reading, &[], &grid(2)).unwrap();
        setup.words(0)
    };
    let first = words(1);
    assert!(first.iter().all(|w| w >> 16 == 0xbadd), "{first:x?}");
    assert!((0..8).all(|i| first[i + 1..].iter().all(|w| *w != first[i])), "{first:x?}");
    assert_eq!(words(1), first);
    assert_ne!(words(2), first);
}

#[test]
fn first_trap_is_reported_and_the_launch_continues() {
    let trapping = kernel(
        "4, 2, 1",
        "buffer %out: write u32[]
  %x = global_id.x
  %y = global_id.y
  %w = num_workgroups.x
  %row = mul %w, 4u32
  %at = mul %row, %y
  %i = add %at, %x
  %late = ge %i, 11u32
  if %late {
    %code = add %i, 100u32
    trap %code
  }
  store %out[%i], 1u32",
    );
    let setup = Setup::new(&[&[0; 16]]);
    let error = setup.launch(&trapping, &[], &LaunchOptions::workgroups([2, 1, 1])).unwrap_err();
    // The first workgroup has the indices 0 to 3 and 8 to 11.
    assert_eq!(error, DeviceError::Trap { code: 111, invocation: 11 }.into());
    assert_eq!(error.code(), Code::Trap);
    assert!(error.to_string().contains("invocation 11 trapped with code 111"), "{error}");
    assert_eq!(setup.words(0), [1; 16]);
}

#[test]
fn linear_launches_are_one_dimensional_and_fit_the_ids() {
    let store = "buffer %out: write u32[]\n%i = global_id.x\nstore %out[%i], %i";
    let setup = Setup::new(&[&[9; 8]]);
    setup.launch(&kernel("4, 1, 1", store), &[], &LaunchOptions::linear(5)).unwrap();
    assert_eq!(setup.words(0), [0, 1, 2, 3, 4, 5, 6, 7]);
    setup.launch(&kernel("4, 1, 1", store), &[], &LaunchOptions::linear(0)).unwrap();
    for (workgroup, count) in
        [("2, 2, 1", 8), ("2, 1, 2", 8), ("4, 1, 1", (1 << 32) + 1), ("3, 1, 1", 1 << 32)]
    {
        let error = setup.launch(&kernel(workgroup, store), &[], &LaunchOptions::linear(count)).unwrap_err();
        assert_eq!(error.code(), Code::NotLinear, "{workgroup} {count}: {error}");
    }
}

#[test]
fn linear_launches_exceed_the_largest_grid_in_chunks() {
    let kernel = kernel("4, 1, 1", "buffer %out: write u32[]\n%i = global_id.x\nstore %out[%i], %i");
    let setup = Setup::new(&[&[0; 8]]);
    let mut limits = setup.backend.snapshot().limits.clone();
    limits.max_workgroup_count = [3, 3, 3];
    let check = |options: &LaunchOptions| {
        Launch::check(&kernel, &limits, Binding::each(&setup.buffers), &[], options)
            .map(|launch| (launch.grid(), launch.parts([3, 3, 3], 27).collect::<Vec<_>>()))
    };
    let runs = [(0, 3), (3, 3), (6, 1)].map(|(first, count)| ([first, 0, 0], [count, 1, 1]));
    for options in [LaunchOptions::linear(28), LaunchOptions::invocations([28, 1, 1])] {
        assert_eq!(check(&options).unwrap(), ([7, 1, 1], runs.to_vec()));
    }
    let runs = [(0, 3), (3, 1)].map(|(first, count)| ([0, 0, first], [1, 1, count]));
    assert_eq!(check(&LaunchOptions::workgroups([1, 1, 4])).unwrap(), ([1, 1, 4], runs.to_vec()));
    assert_eq!(check(&LaunchOptions::linear(1 << 32)).unwrap().0, [1 << 30, 1, 1]);
}

#[test]
fn parts_of_a_grid_cover_each_workgroup_once() {
    let kernel = kernel("1, 1, 1", "buffer %out: write u32[]\n%i = global_id.x\nstore %out[%i], %i");
    let setup = Setup::new(&[&[0; 8]]);
    for (grid, most, total) in [
        ([5, 4, 3], [2, 4, 4], 7),
        ([5, 4, 3], [9, 9, 9], 1),
        ([5, 4, 3], [9, 9, 9], 60),
        ([7, 1, 1], [7, 7, 7], 3),
        ([1, 6, 5], [1, 2, 3], 5),
        ([0, 6, 5], [1, 2, 3], 5),
    ] {
        let limits = &setup.backend.snapshot().limits;
        let options = LaunchOptions::workgroups(grid);
        let launch = Launch::check(&kernel, limits, Binding::each(&setup.buffers), &[], &options).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (first, count) in launch.parts(most, total) {
            assert!(count.iter().product::<u32>() <= total, "{grid:?}: {count:?}");
            assert!((0..3).all(|axis| count[axis] <= most[axis]), "{grid:?}: {count:?}");
            for x in 0..count[0] {
                for y in 0..count[1] {
                    for z in 0..count[2] {
                        assert!(seen.insert([first[0] + x, first[1] + y, first[2] + z]));
                    }
                }
            }
        }
        assert_eq!(seen.len() as u32, grid.iter().product::<u32>());
        assert!(seen.iter().all(|at| (0..3).all(|axis| at[axis] < grid[axis])));
    }
}

#[test]
fn number_of_workgroups_is_limited() {
    let kernel = kernel("1, 1, 1", "buffer %out: write u32[]\n%i = global_id.x\nstore %out[%i], %i");
    let setup = Setup::new(&[&[0; 8]]);
    let limits = &setup.backend.snapshot().limits;
    let check = |grid| {
        let options = LaunchOptions::workgroups(grid);
        Launch::check(&kernel, limits, Binding::each(&setup.buffers), &[], &options)
            .map(|launch| launch.grid())
    };
    assert!(check([1 << 22, 1 << 22, 1]).is_ok());
    let error = check([1 << 22, 1 << 22, 2]).unwrap_err();
    assert_eq!(error.code(), Code::GridTooLarge);
    assert!(error.to_string().contains("2^44"), "{error}");
}

#[test]
fn preconditions_see_long_lengths() {
    let kernel = kernel(
        "1, 1, 1",
        "buffer %x: write u32[] large\nrequire gt (len %x), 4294967296u64\nstore %x[0u64], 1u32",
    );
    let setup = Setup::new(&[&[0; 4]]);
    assert_eq!(setup.launch(&kernel, &[], &grid(1)).unwrap_err().code(), Code::RequireFailed);
}

#[test]
fn view_length_is_limited_by_the_index_type() {
    /// A buffer that reports a size without allocating it.
    struct Huge(u64);

    impl DeviceBuffer for Huge {
        fn bytes(&self) -> u64 {
            self.0
        }
        fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
            Ok(())
        }
        fn read(&self, _: u64, _: &mut [u8]) -> Result<(), Error> {
            Ok(())
        }
    }

    let narrow = |large: &str| {
        let lines = format!("buffer %x: write u32x4[]{large}\nview %b = %x as u8[]\nstore %b[0u32], 1u8");
        let kernel = kernel("1, 1, 1", &lines);
        let limits = ReferenceDevice::new(ReferenceOptions::default()).snapshot().limits.clone();
        let code = |bytes: u64| {
            let buffers: [Arc<dyn DeviceBuffer>; 1] = [Arc::new(Huge(bytes))];
            Launch::check(&kernel, &limits, Binding::each(&buffers), &[], &grid(1)).err().map(|e| e.code())
        };
        (code((1 << 32) - 16), code(1 << 32))
    };
    assert_eq!(narrow(""), (None, Some(Code::BufferSize)));
    assert_eq!(narrow(" large"), (None, None));
}
