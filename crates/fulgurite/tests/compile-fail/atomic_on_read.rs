use fulgurite::prelude::*;

fn main() {
    let _ = kernel::<(Read<f32>, Write<u32>)>("k", ["x", "y"], [64, 1, 1], |k, (x, y)| {
        let i = k.global_id().x();
        y.store(i, x.atomic_load(i));
    });
}
