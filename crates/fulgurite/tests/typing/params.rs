//! Supported forms of parameter structs: any visibility, raw identifiers, attributes, unused fields.

use fulgurite::prelude::*;

#[expect(unreachable_pub, reason = "any visibility will do")]
mod inner {
    /// Public, so that its fields can be public.
    #[derive(Clone, Copy, Debug, PartialEq, fulgurite::KernelParams)]
    pub struct Mixed {
        /// A scalar.
        pub r#type: f32,
        pub(crate) offset: [f32; 4],
        count: u64,
    }

    impl Mixed {
        pub fn new() -> Self {
            Self { r#type: 2.0, offset: [1.0; 4], count: 3 }
        }
    }
}

#[derive(Clone, Copy, KernelParams)]
struct One {
    n: u32,
}

#[test]
fn compiles() -> Result<(), Error> {
    type Args = (One, Write<f32>, inner::Mixed);
    let built = kernel::<Args>("params", ["one", "y", "m"], [64, 1, 1], |k, (one, y, m)| {
        let i = k.global_id().x();
        k.if_(i.lt(one.n), |_| y.store(i, m.r#type + m.offset.extract(0)));
    })?;
    let text = format!("{built:?}");
    for name in ["%one.n: u32", "%m.type: f32", "%m.offset: f32x4", "%m.count: u64"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let ctx = Context::builder().backend("reference").open()?;
    let exe = ctx.compile(&built)?;
    let mut y = ctx.zeroed(3)?;
    exe.launch((One { n: 2 }, &mut y, inner::Mixed::new()))?;
    assert_eq!(y.read()?, [3.0, 3.0, 0.0]);
    Ok(())
}
