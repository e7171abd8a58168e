//! Polls at back edges, and the call of the poll function, which keeps all registers.

use std::collections::HashMap;

use iced_x86::{Code, MemoryOperand, Register};

use super::scalar::in_few_bytes;
use super::tables::SLOT;
use super::{COUNTDOWN, Emitter, POLLS, SAVED, frame, offset};
use crate::native::program::{Program, Step};

/// The number of steps of a loop that count as one back edge.
const STEPS_PER_COUNT: usize = 64;

/// Returns what each poll counts, by its position: one, or more in a loop of many steps, whose rounds take longer.
pub(crate) fn weights(program: &Program) -> HashMap<usize, u32> {
    let mut weights = HashMap::new();
    // Open loops, each with its first step and its polls.
    let mut open: Vec<(usize, Vec<usize>)> = Vec::new();
    for (at, step) in program.steps.iter().enumerate() {
        match step {
            Step::LoopBegin => open.push((at, Vec::new())),
            Step::Poll => open.last_mut().into_iter().for_each(|(_, polls)| polls.push(at)),
            Step::LoopEnd => {
                let Some((begin, polls)) = open.pop() else { continue };
                let count = ((at - begin) / STEPS_PER_COUNT).clamp(1, POLLS as usize) as u32;
                weights.extend(polls.into_iter().map(|poll| (poll, count)));
            }
            _ => {}
        }
    }
    weights
}

impl Emitter<'_> {
    /// Counts down to the next call of the poll function.
    pub(super) fn poll(&mut self, weight: u32) -> Option<()> {
        let labels = [self.assembler.label(), self.assembler.label()];
        self.assembler.two(in_few_bytes(Code::Sub_rm32_imm32, weight as i32), COUNTDOWN, weight as i32)?;
        self.assembler.jump(Code::Jle_rel32_64, labels[0])?;
        self.assembler.bind(labels[1]);
        self.polls.push(labels);
        Some(())
    }

    /// Emits the calls of the poll function, which keep all registers.
    pub(super) fn poll_paths(&mut self, stopped: usize) -> Option<()> {
        if self.polls.is_empty() {
            return Some(());
        }
        let save = self.assembler.label();
        for [slow, behind] in std::mem::take(&mut self.polls) {
            self.assembler.bind(slow);
            self.assembler.jump(Code::Call_rel32_64, save)?;
            self.assembler.two(Code::Test_rm32_r32, Register::EAX, Register::EAX)?;
            self.assembler.jump(Code::Jne_rel32_64, stopped)?;
            self.assembler.jump(Code::Jmp_rel32_64, behind)?;
        }
        // Six registers, so that the stack is aligned to 16 bytes for the call.
        const SAVED_BY_CALLER: [Register; 6] =
            [Register::RDI, Register::RSI, Register::R8, Register::R9, Register::R10, Register::R11];
        self.assembler.bind(save);
        for register in SAVED_BY_CALLER {
            self.assembler.one(Code::Push_r64, register)?;
        }
        let pools = self.target.pools();
        let saved = |position: u8| frame(self.layout.save + usize::from(position) * SLOT);
        let saved: Vec<MemoryOperand> = (0..SAVED as u8).map(saved).collect();
        for number in 0..pools.vectors {
            self.store_vector(saved[usize::from(number)], self.vector_register(number))?;
        }
        for number in 0..pools.masks {
            let slot = saved[usize::from(pools.vectors + number)];
            self.assembler.two(Code::VEX_Kmovw_m16_kr, slot, Register::K1 + u32::from(number))?;
        }
        self.assembler.none(Code::VEX_Vzeroupper)?;
        self.assembler.two(Code::Mov_r64_rm64, Register::RAX, frame(offset::POLL))?;
        self.assembler.two(Code::Mov_r64_rm64, Register::RDI, frame(offset::CONTEXT))?;
        self.assembler.one(Code::Call_rm64, Register::RAX)?;
        for register in SAVED_BY_CALLER.into_iter().rev() {
            self.assembler.one(Code::Pop_r64, register)?;
        }
        for number in 0..pools.vectors {
            self.load_vector(self.vector_register(number), saved[usize::from(number)])?;
        }
        for number in 0..pools.masks {
            let slot = saved[usize::from(pools.vectors + number)];
            self.assembler.two(Code::VEX_Kmovw_kr_km16, Register::K1 + u32::from(number), slot)?;
        }
        self.assembler.two(Code::Mov_r32_imm32, COUNTDOWN, POLLS as i32)?;
        self.assembler.none(Code::Retnq)
    }
}
