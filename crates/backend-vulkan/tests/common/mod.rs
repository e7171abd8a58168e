//! Opens the backend in tests: with the validation layer if it is installed; tests are never skipped silently.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fulgurite_backend_vulkan::{Options, ValidationLog, VulkanDevice};
use fulgurite_hal::{
    Binding, CompileOptions, Device as _, DeviceBuffer, Error, Executable, Launch, LaunchOptions,
    LaunchReport,
};
use fulgurite_ir::{VerifiedKernel, text, verify};
use fulgurite_spec::eval::Components;

/// An opened backend. [`Opened::finish`] drops it and asserts that the validation layer reported nothing.
pub(crate) struct Opened {
    pub(crate) backend: Arc<VulkanDevice>,
    log: Arc<ValidationLog>,
}

/// Returns whether a missing driver is a failure.
pub(crate) fn required() -> bool {
    std::env::var("FULGURITE_REQUIRE_BACKENDS")
        .is_ok_and(|list| list.split(',').any(|id| id.trim() == "vulkan"))
}

/// Prints that Vulkan is unavailable, or fails if it is required.
pub(crate) fn unavailable(reason: &Error) {
    assert!(!required(), "vulkan is required, but: {reason}");
    println!("vulkan: unavailable ({reason})");
}

/// Returns the options of the environment, but without stored probe results and kernels: tests probe and compile again,
/// and leave no files behind.
pub(crate) fn options() -> Options {
    let mut options = Options::from_env();
    options.probe_directory = None;
    options.cache_directory = None;
    options
}

/// Opens the backend, or prints why it is unavailable.
pub(crate) fn open() -> Option<Opened> {
    open_with(options())
}

/// [`open`] with options.
pub(crate) fn open_with(options: Options) -> Option<Opened> {
    let opened = match VulkanDevice::open(&options.clone().validation(true)) {
        Err(error) if !options.validation && error.to_string().contains("VK_LAYER_KHRONOS_validation") => {
            println!("validation: unavailable ({error})");
            VulkanDevice::open(&options)
        }
        other => other,
    };
    match opened {
        Ok(backend) => Some(Opened { log: Arc::clone(backend.validation_log()), backend }),
        Err(error @ Error::Unavailable { .. }) => {
            unavailable(&error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Environment variable with the name of the test that a child process runs.
const CHILD: &str = "FULGURITE_TEST_CHILD";
/// Timeout of a child process.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `body` in a child process that has `variables` set and runs only the test called `name`. Fails if the child
/// fails or times out.
pub(crate) fn in_child(name: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, name)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child ended with {status}");
            return;
        }
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("the child did not end within {DEADLINE:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Opened {
    /// Compiles kernel text.
    pub(crate) fn compile(&self, text: &str) -> Arc<dyn Executable> {
        self.try_compile(text).unwrap_or_else(|error| panic!("{error}\n{:#?}", self.log.messages()))
    }

    pub(crate) fn try_compile(&self, text: &str) -> Result<Arc<dyn Executable>, Error> {
        self.backend.compile(Arc::new(kernel(text)), &CompileOptions::default())
    }

    /// Allocates a buffer that contains `data`.
    pub(crate) fn upload(&self, data: &[u8]) -> Arc<dyn DeviceBuffer> {
        let buffer = self.backend.allocate(data.len() as u64).unwrap();
        buffer.write(0, data).unwrap();
        buffer
    }

    /// Launches after all checks of a launch.
    pub(crate) fn launch(
        &self,
        executable: &dyn Executable,
        buffers: &[Arc<dyn DeviceBuffer>],
        params: &[Components],
        options: &LaunchOptions,
    ) -> Result<LaunchReport, Error> {
        let limits = &self.backend.snapshot().limits;
        executable.launch(&Launch::check(
            executable.kernel(),
            limits,
            Binding::each(buffers),
            params,
            options,
        )?)
    }

    /// Drops the backend and asserts that the validation layer, if present, reported nothing, including the destruction
    /// of the device.
    pub(crate) fn finish(self) {
        let weak = Arc::downgrade(&self.backend);
        drop(self.backend);
        assert!(weak.upgrade().is_none(), "the test still holds the backend");
        let messages: Vec<String> = self.log.messages().iter().map(ToString::to_string).collect();
        assert!(messages.is_empty(), "{} messages:\n{}", self.log.count(), messages.join("\n"));
    }
}

/// Parses and verifies a kernel.
pub(crate) fn kernel(source: &str) -> VerifiedKernel {
    text::parse(source).and_then(verify).unwrap_or_else(|problems| panic!("{problems}\nin {source}"))
}

/// Reads a whole buffer.
pub(crate) fn download(buffer: &dyn DeviceBuffer) -> Vec<u8> {
    let mut bytes = vec![0xaa; buffer.bytes() as usize];
    buffer.read(0, &mut bytes).unwrap();
    bytes
}

/// Reads a buffer as words.
pub(crate) fn words(buffer: &dyn DeviceBuffer) -> Vec<u32> {
    download(buffer).chunks_exact(4).map(|b| u32::from_ne_bytes(b.try_into().unwrap())).collect()
}

/// Reads a buffer as floats.
pub(crate) fn floats(buffer: &dyn DeviceBuffer) -> Vec<f32> {
    words(buffer).into_iter().map(f32::from_bits).collect()
}

/// Returns words as bytes.
pub(crate) fn bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// Returns a scalar parameter.
pub(crate) fn scalar(bits: u32) -> Components {
    [u64::from(bits), 0, 0, 0]
}

/// `y = a x + y`.
pub(crate) const SAXPY: &str = "fulgurite 1
kernel @saxpy workgroup(64, 1, 1) {
  buffer %x: read f32[]
  buffer %y: read_write f32[]
  param %a: f32

  %i = global_id.x
  %n = len %y
  %in = lt %i, %n
  if %in {
    %0 = load %x[%i]
    %1 = load %y[%i]
    %2 = mul %a, %0
    %3 = add %2, %1
    store %y[%i], %3
  }
}
";

/// Counts to `%n` in a loop and stores the count.
pub(crate) const COUNT: &str = "fulgurite 1
kernel @count workgroup(1, 1, 1) {
  buffer %out: write u32[]
  param %n: u32

  %count = while carry(%i = 0u32) {
    %more = lt %i, %n
    condition %more
  } do {
    %next = add %i, 1u32
    yield %next
  }
  store %out[0u32], %count
}
";
