use fulgurite::prelude::*;

fn main() -> Result<(), Error> {
    let ctx = Context::open()?;
    let x = ctx.buffer(&[1u32])?;
    let mut y = ctx.buffer(&[1.0f32])?;
    y.copy_from(&x)?;
    Ok(())
}
