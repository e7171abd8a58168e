//! The pass `workgroup`: replaces the workgroup size. The kernel must be correct at that size, which the caller states.

use fulgurite_ir::Kernel;

/// Returns the number of changes: 0 if the kernel has the size already.
pub(crate) fn run(kernel: &mut Kernel, size: [u32; 3]) -> usize {
    usize::from(std::mem::replace(&mut kernel.workgroup, size) != size)
}

#[cfg(test)]
mod tests {
    use crate::tests::kernel;

    #[test]
    fn another_size_is_one_change_and_the_same_is_none() {
        let mut kernel = (**kernel()).clone();
        assert_eq!(super::run(&mut kernel, [32, 2, 1]), 1);
        assert_eq!(kernel.workgroup, [32, 2, 1]);
        assert_eq!(super::run(&mut kernel, [32, 2, 1]), 0);
    }
}
