use fulgurite::prelude::*;

fn main() {
    let _ = kernel::<(Read<f32>, Write<u32>)>("k", ["x", "y"], [64, 1, 1], |k, (x, y)| {
        let i = k.global_id().x();
        if i == k.val(0) {
            y.store(i, x.load(i).convert::<u32>());
        }
    });
}
