use fulgurite::prelude::*;

fn main() {
    let _ = kernel::<(Read<bool>,)>("k", ["x"], [64, 1, 1], |_, _| {});
}
