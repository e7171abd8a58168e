use fulgurite::prelude::*;

#[derive(Clone, Copy, KernelParams)]
struct Odd {
    scale: f32,
    name: &'static str,
}

fn main() {}
