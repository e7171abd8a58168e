use fulgurite::prelude::*;

#[derive(KernelParams)]
struct Line {
    scale: f32,
}

fn main() {}
