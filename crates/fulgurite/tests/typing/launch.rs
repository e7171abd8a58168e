//! A launch with arguments that fit compiles.

use fulgurite::prelude::*;

type Saxpy = (Read<f32>, ReadWrite<f32>, f32);

fn saxpy() -> Result<Kernel<Saxpy>, Error> {
    kernel::<Saxpy>("saxpy", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
        let i = k.global_id().x();
        k.if_(i.lt(y.len()), |_| y.store(i, a * x.load(i) + y.load(i)));
    })
}

#[test]
fn compiles() -> Result<(), Error> {
    let ctx = Context::open()?;
    let x = ctx.buffer(&[1.0f32])?;
    let mut y = ctx.buffer(&[1.0f32])?;
    let exe = ctx.compile(&saxpy()?)?;
    exe.launch((&x, &mut y, 2.0))?;
    Ok(())
}
