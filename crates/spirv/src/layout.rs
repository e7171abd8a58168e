//! How a module's bindings and parameter block are laid out; what a host must do to launch it.

use fulgurite_ir::Kernel;
use fulgurite_spec::Type;
use fulgurite_spec::eval::Components;

/// Where the parameter block lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockPlacement {
    /// In push constants from offset 0.
    PushConstants,
    /// In a storage buffer of descriptor set 0.
    StorageBuffer {
        /// Its binding.
        binding: u32,
    },
}

/// A 32-bit word of the control buffer, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ControlWord {
    /// First fault: 0 for none, else one of the `FAULT_*` codes of [`Layout`].
    Fault = 0,
    /// Flattened global index of the invocation that met it, modulo 2³².
    Invocation = 1,
    /// Non-zero when the host wants the launch to end.
    Abort = 2,
    /// Always 0, which no compiler can know: it keeps a driver from seeing through the check for ended loops.
    Zero = 3,
}

/// What a host binds. Everything is in descriptor set 0; binding `i` is the kernel's buffer `i`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Layout {
    /// The number of buffers.
    pub buffers: u32,
    /// The binding of the control buffer ([`Layout::CONTROL_BYTES`] bytes, zeroed before each launch), if the
    /// module has one.
    pub control: Option<u32>,
    /// Whether the module looks at [`ControlWord::Abort`]: a host that sets it may then expect the launch to end.
    pub abortable: bool,
    /// Where the parameter block is.
    pub placement: BlockPlacement,
    /// 32-bit words in the parameter block: buffer lengths, then parameter components. May be 0.
    pub block_words: u32,
    /// Bytes of shared memory: the kernel's, and 4 more if the module stops loops a workgroup at a time.
    pub shared_bytes: u64,
}

impl Layout {
    /// Bytes of a control buffer.
    pub const CONTROL_BYTES: u64 = 16;
    /// The driver ended a loop that was to go on.
    pub const FAULT_LOOP_ENDED: u32 = 1;

    /// The layout for `kernel`: the same for every module emitted from it with these two
    /// facts, but for what [`emit`](crate::emit) alone knows: `abortable`, and the word in `shared_bytes`.
    pub fn new(kernel: &Kernel, push_constant_bytes: u32, control: bool) -> Self {
        let buffers = kernel.buffers.len() as u32;
        let params: u32 = kernel.params.iter().map(|p| Self::words(p.ty)).sum();
        let block_words = buffers + params;
        let control = control.then_some(buffers);
        let placement = if block_words * 4 <= push_constant_bytes {
            BlockPlacement::PushConstants
        } else {
            BlockPlacement::StorageBuffer { binding: buffers + u32::from(control.is_some()) }
        };
        Self {
            buffers,
            control,
            abortable: false,
            placement,
            block_words,
            shared_bytes: kernel.shared_bytes(),
        }
    }

    /// 32-bit words that a parameter takes: one for each component, two for each of 64 bits.
    pub fn words(ty: Type) -> u32 {
        ty.lanes.count() * if ty.scalar.bits() == 64 { 2 } else { 1 }
    }

    /// The number of descriptors in set 0.
    pub fn descriptors(&self) -> u32 {
        let block = matches!(self.placement, BlockPlacement::StorageBuffer { .. });
        self.buffers + u32::from(self.control.is_some()) + u32::from(block)
    }

    /// The parameter block's words: `lengths` in elements for each buffer, then each parameter's components,
    /// low words first.
    pub fn block(&self, kernel: &Kernel, lengths: &[u64], params: &[Components]) -> Vec<u32> {
        // No buffer is `large`: that is refused before.
        let mut words: Vec<u32> = lengths.iter().map(|length| *length as u32).collect();
        for (declared, value) in kernel.params.iter().zip(params) {
            for bits in value.iter().take(declared.ty.lanes.count() as usize) {
                words.push(*bits as u32);
                if declared.ty.scalar.bits() == 64 {
                    words.push((*bits >> 32) as u32);
                }
            }
        }
        debug_assert_eq!(words.len(), self.block_words as usize);
        words
    }
}
