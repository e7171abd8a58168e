//! Conversion between buffers and arrays of `ndarray`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{BACKENDS, code, open};
use fulgurite::Code;
use ndarray::{ArrayD, IxDyn, array, s};

#[test]
fn arrays_go_to_the_device_and_back() {
    for id in BACKENDS {
        let ctx = open(id);
        let given = array![[1i16, 2, 3], [4, 5, 6]];
        let mut buffer = ctx.array(given.view()).unwrap();
        assert_eq!(buffer.read().unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(buffer.read_array((2, 3)).unwrap(), given);
        let dynamic: ArrayD<i16> = buffer.read_array(IxDyn(&[3, 1, 2])).unwrap();
        assert_eq!(dynamic.shape(), [3, 1, 2]);
        assert_eq!(buffer.slice(1..3).unwrap().read_array(2).unwrap(), array![2, 3]);
        assert_eq!(buffer.slice_mut(3..).unwrap().read_array((3, 1)).unwrap(), array![[4], [5], [6]]);
        // Rows of an array are in standard layout, columns are not.
        assert_eq!(ctx.array(given.slice(s![1.., ..])).unwrap().read().unwrap(), [4, 5, 6]);
        assert_eq!(code(ctx.array(given.t())), Some(Code::BufferSize));
        assert_eq!(code(ctx.array(given.slice(s![.., 1]))), Some(Code::BufferSize));
        assert_eq!(code(buffer.read_array((2, 2))), Some(Code::BufferSize));
        assert_eq!(code(buffer.read_array((usize::MAX, 2))), Some(Code::BufferSize));
    }
}
