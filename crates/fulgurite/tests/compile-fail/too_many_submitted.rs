use fulgurite::prelude::*;

fn saxpy() -> Result<Kernel<(Read<f32>, ReadWrite<f32>, f32)>, Error> {
    kernel::<(Read<f32>, ReadWrite<f32>, f32)>("saxpy", ["x", "y", "a"], [64, 1, 1], |k, (x, y, a)| {
        let i = k.global_id().x();
        k.if_(i.lt(y.len()), |_| y.store(i, a * x.load(i) + y.load(i)));
    })
}

fn main() -> Result<(), Error> {
    let ctx = Context::open()?;
    let x = ctx.buffer(&[1.0f32; 4])?;
    let mut y = ctx.buffer(&[1.0f32; 4])?;
    let exe = ctx.compile(&saxpy()?)?;
    let _pending = exe.submit((&x, &mut y, 2.0, 3.0))?;
    Ok(())
}
