//! Everything that can be passed for a buffer compiles.

use fulgurite::prelude::*;

type Axpy<T> = (Read<T>, Large<ReadWrite<T>>, T);

fn generic<T: fulgurite::Element>(
    exe: &Executable<Axpy<T>>,
    x: &Buffer<T>,
    y: &mut Buffer<T>,
    a: T,
) -> Result<(), Error> {
    exe.launch((x, &mut *y, a))?;
    exe.launch((x.slice(..)?, y.slice_mut(..)?, a))?;
    let (view, mut other) = (x.slice(1..)?, y.slice_mut(..1)?);
    exe.launch((&view, &mut other, a))?;
    let (head, mut tail) = y.split_at_mut(1)?;
    exe.launch((&head, &mut tail, a))?;
    for chunk in y.chunks_mut(2)? {
        exe.launch((&view, chunk, a))?;
    }
    Ok(())
}

#[test]
fn compiles() {
    let _ = generic::<f32>;
}
