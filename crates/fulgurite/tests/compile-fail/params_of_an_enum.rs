use fulgurite::prelude::*;

#[derive(Clone, Copy, KernelParams)]
enum Which {
    One,
    Other,
}

#[derive(Clone, Copy, KernelParams)]
struct Pair(f32, f32);

#[derive(Clone, Copy, KernelParams)]
struct Generic<T> {
    value: T,
}

#[derive(Clone, Copy, KernelParams)]
struct Nothing;

fn main() {}
