use fulgurite::prelude::*;

fn main() {
    let _ = kernel::<(Read<f32>, Write<u32>)>("k", ["x", "y"], [64, 1, 1], |k, (x, y)| {
        let i = k.global_id().x();
        x.store(i, 1.0);
        y.store(i, 1);
    });
}
