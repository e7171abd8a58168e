//! Reduction of kernels: finds a smaller kernel that still has a property, such as results that differ after passes.
//!
//! Knows nothing of launches: the property is the caller's.

mod bounding;
mod edit;
mod size;

use std::collections::HashSet;

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{Control, Digest, InstId, Kernel, ValueId, VerifiedKernel, text, verify};

use bounding::Bounding;
use edit::Arm;
use size::Size;

/// The result of a reduction.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The smallest kernel found.
    pub kernel: VerifiedKernel,
    /// The number of kernels that the property was tested on.
    pub tries: usize,
}

/// Returns the smallest kernel found that still fails, or `None` if `kernel` itself does not. `still_fails` is called at most
/// `tries` times, on `kernel` first. Equal arguments give equal kernels.
///
/// Every kernel that is tried verifies and is equal to its printed text. What bounds loops is removed with them, or replaced by
/// fewer iterations; a loop that ends only because of what is in memory may yet run for longer, so `still_fails` must end long
/// launches. It must also reject kernels whose results are not determined, since a reduced kernel may have races that the given
/// one has not.
pub fn reduce(
    kernel: &VerifiedKernel,
    tries: usize,
    still_fails: &mut dyn FnMut(&VerifiedKernel) -> bool,
) -> Option<Reduced> {
    if tries == 0 || !still_fails(kernel) {
        return None;
    }
    let mut search = Search {
        kernel: kernel.clone(),
        size: Size::of(kernel),
        seen: HashSet::from([kernel.digest()]),
        made: 1,
        tries,
        cleans: false,
        still_fails,
    };
    search.workgroup();
    // Without what has no use, unless that is what fails.
    search.cleans = true;
    search.cleans = !has_dead(&search.kernel) || search.offer(|_| {});
    search.parts();
    loop {
        let before = search.size;
        search.workgroup();
        search.instructions();
        search.control();
        search.results();
        search.operands();
        search.declarations();
        if search.made == search.tries || search.size == before && !search.cleans {
            return Some(Reduced { kernel: search.kernel, tries: search.made });
        }
        // In the end, what is left without use may be what fails.
        search.cleans &= search.size != before;
    }
}

fn has_dead(kernel: &Kernel) -> bool {
    edit::remove_dead(&mut kernel.clone())
}

/// A search for smaller kernels.
struct Search<'a> {
    /// The smallest kernel that fails so far.
    kernel: VerifiedKernel,
    size: Size,
    /// The kernels tried.
    seen: HashSet<Digest>,
    /// The number of kernels tried, and its limit.
    made: usize,
    tries: usize,
    /// Whether instructions without use are removed from each candidate.
    cleans: bool,
    still_fails: &'a mut dyn FnMut(&VerifiedKernel) -> bool,
}

impl Search<'_> {
    /// Changes a copy of the kernel, which becomes the kernel if it verifies, is smaller, and still fails. Returns whether it does.
    fn offer(&mut self, change: impl FnOnce(&mut Kernel)) -> bool {
        let mut kernel = self.kernel.clone().into_kernel();
        change(&mut kernel);
        if self.cleans {
            edit::remove_dead(&mut kernel);
        }
        self.offer_text(&text::print(&kernel))
    }

    fn offer_text(&mut self, text: &str) -> bool {
        if self.made == self.tries {
            return false;
        }
        // Parsing leaves behind what is not reachable.
        let Ok(kernel) = text::parse(text).and_then(verify) else { return false };
        let size = Size::of(&kernel);
        if size >= self.size || !self.seen.insert(kernel.digest()) {
            return false;
        }
        self.made += 1;
        let fails = (self.still_fails)(&kernel);
        if fails {
            (self.kernel, self.size) = (kernel, size);
        }
        fails
    }

    /// The instructions in program order.
    fn listed(&self) -> Vec<InstId> {
        instructions(&self.kernel).collect()
    }

    /// Calls `each` with the position of every instruction, from the last to the first, and again with the same position where
    /// that made the kernel smaller.
    fn for_each_instruction(&mut self, mut each: impl FnMut(&mut Self, InstId) -> bool) {
        let mut end = self.listed().len();
        while end > 0 {
            let listed = self.listed();
            end = end.min(listed.len());
            if end == 0 || self.made == self.tries {
                return;
            }
            if !each(self, listed[end - 1]) {
                end -= 1;
            }
        }
    }

    /// Makes workgroups smaller.
    fn workgroup(&mut self) {
        self.offer(|kernel| kernel.workgroup = [1; 3]);
        for axis in [2, 1, 0] {
            while self.kernel.workgroup[axis] > 1 && self.offer(|kernel| kernel.workgroup[axis] /= 2) {}
        }
    }

    /// Removes halves of the instructions, then quarters, and so on.
    fn parts(&mut self) {
        let mut part = self.listed().len() / 2;
        while part > 1 {
            let mut end = self.listed().len();
            while end > 0 {
                let listed = self.listed();
                // Removing the last part may have removed instructions before it, too.
                end = end.min(listed.len());
                let start = end.saturating_sub(part);
                let removed = bounding::removable(&self.kernel, &listed[start..end]);
                self.offer(|kernel| edit::remove(kernel, &removed, 0));
                end = start;
            }
            part = (part / 2).min(self.listed().len() / 2);
        }
    }

    /// Removes single instructions, whose results become operands or literals.
    fn instructions(&mut self) {
        self.for_each_instruction(|search, id| {
            let removed = bounding::removable(&search.kernel, &[id]);
            if removed.is_empty() {
                return false;
            }
            let same: Vec<ValueId> = edit::operands_like_result(&search.kernel, id);
            search.offer(|kernel| edit::remove(kernel, &removed, 0))
                || same.iter().any(|by| search.offer(|kernel| edit::remove_for(kernel, id, *by)))
                || search.offer(|kernel| edit::remove(kernel, &removed, 1))
        });
    }

    /// Replaces control flow by one of its blocks, and bounds of loops by literals.
    fn control(&mut self) {
        self.for_each_instruction(|search, id| {
            let arms: &[Arm] = match search.kernel.inst(id).kind.control() {
                None => return false,
                Some(Control::If { .. }) => &[Arm::First, Arm::Second],
                Some(Control::For { .. } | Control::Region { .. }) => &[Arm::First],
                Some(Control::While { .. }) => &[Arm::Both],
            };
            arms.iter().any(|arm| search.offer(|kernel| edit::unwrap(kernel, id, *arm)))
                || [1, 2].into_iter().any(|count| search.offer(|kernel| edit::set_trips(kernel, id, count)))
        });
    }

    /// Removes results of control flow, with the values carried for them.
    fn results(&mut self) {
        self.for_each_instruction(|search, id| {
            let inst = search.kernel.inst(id);
            if inst.kind.control().is_none() {
                return false;
            }
            let bounding = Bounding::of(&search.kernel, &[]);
            let free: Vec<usize> =
                (0..inst.results.len()).filter(|at| !bounding.is_carried(&search.kernel, id, *at)).collect();
            free.into_iter().any(|at| search.offer(|kernel| edit::remove_result(kernel, id, at)))
        });
    }

    /// Replaces operands by literals or by operands of what computes them, and literals by smaller ones.
    fn operands(&mut self) {
        let mut at = 0;
        while self.made < self.tries {
            let uses = edit::uses(&self.kernel);
            let Some(place) = uses.get(at) else { return };
            let bounding = Bounding::of(&self.kernel, &[]);
            let is_smaller = bounding.allows(&self.kernel, *place) && {
                let simpler = edit::simpler(&self.kernel, *place);
                simpler.into_iter().any(|by| self.offer(|kernel| edit::set(kernel, *place, by)))
            };
            if !is_smaller {
                at += 1;
            }
        }
    }

    /// Removes declarations, and makes arrays shorter.
    fn declarations(&mut self) {
        for kind in ["require", "view", "local", "shared", "buffer", "param"] {
            let mut at = 0;
            loop {
                let printed = text::print(&self.kernel);
                let lines: Vec<&str> = printed.lines().collect();
                let is_declared = |line: &&str| line.trim_start().split(' ').next() == Some(kind);
                let Some(line) = (0..lines.len()).filter(|line| is_declared(&lines[*line])).nth(at) else {
                    break;
                };
                let without = [&lines[..line], &lines[line + 1..]].concat().join("\n");
                if !self.offer_text(&(without + "\n")) {
                    at += 1;
                }
            }
        }
        for array in 0..self.kernel.shared.len() {
            self.offer(|kernel| kernel.shared[array].len = 1);
        }
        for array in 0..self.kernel.locals.len() {
            self.offer(|kernel| kernel.locals[array].len = 1);
        }
    }
}
