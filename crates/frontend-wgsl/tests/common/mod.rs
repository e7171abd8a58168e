//! Runs imported shaders on the reference backend, on the CPU backend, and on Vulkan where it is required.
#![allow(clippy::disallowed_methods, reason = "the environment states the backends")]
#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use fulgurite_backend_cpu::CpuDevice;
use fulgurite_backend_reference::{ReferenceDevice, ReferenceOptions};
use fulgurite_frontend_wgsl::{ImportOptions, Imported, Resource, Slot, Uniforms, import};
use fulgurite_hal::{self as hal, CompileOptions, LaunchOptions, OpenOptions, OptimizationLevel};
use fulgurite_ir::{VerifiedKernel, text};
use fulgurite_runtime::{Buffer, Device};

/// A shader with the contents of its bindings.
pub(crate) struct Case {
    source: String,
    options: ImportOptions,
    bindings: BTreeMap<(u32, u32), Vec<u8>>,
    grid: [u32; 3],
}

/// The place of `var<immediate>`.
pub(crate) const IMMEDIATE: (u32, u32) = (u32::MAX, 0);

/// The contents of the buffers after a launch, by group and binding.
pub(crate) type Outputs = BTreeMap<(u32, u32), Vec<u8>>;

impl Case {
    pub(crate) fn new(source: &str) -> Self {
        let (options, bindings) = (ImportOptions::default(), BTreeMap::new());
        Self { source: source.to_owned(), options, bindings, grid: [1, 1, 1] }
    }

    pub(crate) fn bind<T: Plain>(mut self, binding: u32, data: &[T]) -> Self {
        self.bindings.insert((0, binding), bytes(data));
        self
    }

    pub(crate) fn bind_in<T: Plain>(mut self, group: u32, binding: u32, data: &[T]) -> Self {
        self.bindings.insert((group, binding), bytes(data));
        self
    }

    pub(crate) fn grid(mut self, grid: [u32; 3]) -> Self {
        self.grid = grid;
        self
    }

    pub(crate) fn set(mut self, name: &str, value: f64) -> Self {
        self.options.overrides.insert(name.to_owned(), value);
        self
    }

    pub(crate) fn uniforms(mut self, uniforms: Uniforms) -> Self {
        self.options.uniforms = uniforms;
        self
    }

    pub(crate) fn import(&self) -> Imported {
        let mut all = import(&self.source, &self.options).unwrap_or_else(|e| panic!("{e}\n{}", self.source));
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// Returns the text of the kernel.
    pub(crate) fn text(&self) -> String {
        text::print(&self.import().kernel)
    }

    /// Runs on one device.
    fn run_on(&self, device: &Device, imported: &Imported) -> Outputs {
        let kernel = Arc::new(imported.kernel.clone());
        let program = device.compile(&kernel, &CompileOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        let mut buffers: Vec<Option<Buffer>> = vec![None; kernel.buffers.len()];
        let mut params = vec![[0u64; 4]; kernel.params.len()];
        let mut places = BTreeMap::new();
        for binding in &imported.bindings {
            let place = binding.slot.map_or(IMMEDIATE, |Slot { group, binding }| (group, binding));
            let data = self.bindings.get(&place).unwrap_or_else(|| panic!("no data for {}", binding.name));
            match &binding.resource {
                Resource::Buffer { position, .. } => {
                    buffers[*position] = Some(device.upload(data).unwrap());
                    places.insert(place, *position);
                }
                Resource::Parameters(fields) => {
                    fields.iter().for_each(|field| params[field.position] = field.value(data));
                }
            }
        }
        let buffers: Vec<Buffer> = buffers.into_iter().map(Option::unwrap).collect();
        let views: Vec<_> = buffers.iter().map(Buffer::whole).collect();
        let options = LaunchOptions::workgroups(self.grid);
        program.launch(&views, &params, &options).unwrap_or_else(|e| panic!("{e}"));
        places.into_iter().map(|(place, at)| (place, buffers[at].whole().to_vec().unwrap())).collect()
    }

    /// Runs on every backend and returns the results of each, those of the reference first.
    pub(crate) fn run_all(&self) -> Vec<Outputs> {
        let imported = self.import();
        prints_and_parses(&imported.kernel);
        DEVICES.iter().map(|device| self.run_on(device, &imported)).collect()
    }

    /// Runs on all backends, whose results must be equal, and returns binding `binding` of group 0.
    pub(crate) fn run<T: Plain>(&self, binding: u32) -> Vec<T> {
        let all = self.run_all();
        assert!(all.iter().all(|one| *one == all[0]), "the backends disagree: {all:?}\n{}", self.text());
        elements(&all[0][&(0, binding)])
    }

    /// Runs on all backends and checks that each element of binding `binding` is within `tolerance` of `expected`,
    /// relative to its magnitude or to 1.
    pub(crate) fn close(&self, binding: u32, expected: &[f32], tolerance: f32) {
        for outputs in self.run_all() {
            let got: Vec<f32> = elements(&outputs[&(0, binding)]);
            assert_eq!(got.len(), expected.len());
            for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
                let near = (got - expected).abs() <= tolerance * expected.abs().max(1.0);
                let same = got == expected || got.is_nan() && expected.is_nan();
                assert!(near || same, "element {i}: {got}, expected {expected}\n{}", self.text());
            }
        }
    }
}

/// The reference without passes, the CPU backend with all of them, and Vulkan if `FULGURITE_REQUIRE_BACKENDS` names it.
static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(|| {
    let device = |raw: Arc<dyn hal::Device>, options| Device::new(raw, options, LaunchOptions::default());
    let plain = CompileOptions::default().optimization(OptimizationLevel::None);
    let mut all = vec![
        device(Arc::new(ReferenceDevice::new(ReferenceOptions::default())), plain),
        device(Arc::new(CpuDevice::new()), CompileOptions::default()),
    ];
    let required = std::env::var("FULGURITE_REQUIRE_BACKENDS").unwrap_or_default();
    if required.split(',').any(|id| id.trim() == "vulkan") {
        let options = fulgurite_backend_vulkan::Options::of(&OpenOptions::new());
        let vulkan = fulgurite_backend_vulkan::VulkanDevice::open(&options).unwrap_or_else(|e| panic!("{e}"));
        all.push(device(vulkan, CompileOptions::default()));
    }
    all
});

/// Checks that the text of a kernel parses to the same kernel.
pub(crate) fn prints_and_parses(kernel: &VerifiedKernel) {
    let printed = text::print(kernel);
    let parsed = text::parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(text::print(&parsed), printed);
    let again = fulgurite_ir::verify(parsed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(again.digest(), kernel.digest(), "{printed}");
}

/// Numbers with a little-endian form.
pub(crate) trait Plain: Copy {
    const SIZE: usize;
    fn put(self, out: &mut Vec<u8>);
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! plain {
    ($($ty:ty)*) => {$(
        impl Plain for $ty {
            const SIZE: usize = size_of::<$ty>();
            fn put(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn take(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap())
            }
        }
    )*};
}

plain!(u8 u16 i32 u32 i64 u64 f32 f64);

pub(crate) fn bytes<T: Plain>(data: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    data.iter().for_each(|one| one.put(&mut out));
    out
}

pub(crate) fn elements<T: Plain>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(T::SIZE).map(T::take).collect()
}
