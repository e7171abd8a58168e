use fulgurite::prelude::*;

#[derive(Clone, Copy, KernelParams)]
struct Line {
    scale: f32,
}

#[derive(Clone, Copy, KernelParams)]
struct Other {
    scale: f32,
}

fn run(exe: &Executable<(Write<f32>, Line)>, y: &mut Buffer<f32>) -> Result<(), Error> {
    exe.launch((y, Other { scale: 1.0 }))?;
    Ok(())
}

fn main() {}
