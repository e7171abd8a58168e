//! Tests of the builder: what it builds verifies, and what is done wrongly is reported with its place.

use super::*;
use crate::verify;

fn codes(result: Result<Kernel, Diagnostics>) -> Vec<Code> {
    result.err().map(|d| d.all().iter().map(|d| d.code).collect()).unwrap_or_default()
}

#[test]
fn every_control_construct_builds_and_verifies() {
    let built =
        kernel::<(Read<u32>, ReadWrite<u32>, u32)>("k", ["x", "y", "n"], [64, 1, 1], |k, (x, y, n)| {
            let tile = k.shared::<u32>("tile", 64);
            let own = k.local::<u32>("own", 4);
            k.require(|_| (x.len() % 4).eq(0) & n.gt(0));
            let i = k.global_id().x();
            let l = k.local_index();
            tile.store(l, x.load(i));
            k.barrier();
            let sum = k.for_carry(0, tile.len(), 1, k.val(0u32), |_, j, sum| sum + tile.load(j));
            let (count, _) = k.while_(
                (k.val(0u32), sum),
                |_, (_, left)| left.gt(0),
                |_, (count, left)| (count + 1, left / 2),
            );
            own.store(count & 3, n);
            let picked = k.if_else(i.lt(y.len()), |_| own.load(0), |_| k.val(7));
            k.if_(i.lt(y.len()), |_| {
                y.atomic_add(i, picked);
            });
            k.for_(0u32, 3u32, |_, j| y.store(j, j));
        })
        .unwrap();
    let verified = verify(built).unwrap();
    assert_eq!((verified.requires.len(), verified.shared.len(), verified.locals.len()), (1, 1, 1));
}

#[test]
fn vectors_masks_and_conversions_are_typed() {
    let built = kernel::<(ReadWrite<[f32; 4]>, Write<[u32; 2]>)>("v", ["a", "b"], [1, 1, 1], |k, (a, b)| {
        let v = a.load(0);
        let w = k.vec4(1.0, 2.0, v.extract(0), 4.0f32);
        let mask = v.lt(w);
        a.store(0, mask.select(v, w.mul_add(v, -w)));
        let d = v.dot(w);
        b.store(0, k.vec2(d.bitcast::<u32>(), d.convert::<u32>()) << k.vec2(1, 2));
        b.store(1, k.vec2(2u32 * k.local_index(), 3 - k.val(1u32)));
    })
    .unwrap();
    verify(built).unwrap();
}

#[test]
fn an_escaped_value_is_reported_where_it_is_used() {
    let result = kernel::<(Write<u32>,)>("k", ["y"], [1, 1, 1], |k, (y,)| {
        let mut escaped = None;
        k.if_(k.local_index().eq(0), |k| escaped = Some(k.val(1u32) + k.local_index()));
        if let Some(value) = escaped {
            y.store(0, value);
        }
    });
    let all = result.unwrap_err();
    assert_eq!(all.all().len(), 1);
    assert_eq!(all.all()[0].code, Code::EscapedValue);
    assert!(all.to_string().contains("builder/tests.rs:"), "{all}");
}

#[test]
fn a_foreign_value_is_reported_and_so_is_everything_else() {
    let result = kernel::<(Write<u32>,)>("outer", ["y"], [1, 1, 1], |outer, (y,)| {
        let inner = kernel::<(Write<u32>,)>("inner", ["z"], [1, 1, 1], |inner, (z,)| {
            z.store(0, outer.local_index());
            z.store(0, outer.local_index() + inner.local_index());
        });
        assert_eq!(codes(inner), [Code::ForeignValue, Code::ForeignValue]);
        outer.for_carry(0u32, 4u32, 0, (), |_, _, ()| ());
        outer.require(|k| k.local_index().eq(0));
        outer.require(|k| {
            y.store(0, 2);
            k.num_workgroups().x().gt(0)
        });
        y.store(0, 1);
    });
    // The sum mixed both kernels; its left operand's kernel reports it too.
    assert_eq!(codes(result), [Code::ForeignValue, Code::BadStep, Code::BadRequire, Code::BadRequire]);
}

#[test]
fn preconditions_are_evaluated_on_the_host() {
    let built = kernel::<(Read<f32>, u32)>("k", ["x", "n"], [64, 1, 1], |k, (x, n)| {
        k.require(|k| (x.len() % 4).eq(0) & n.le(k.num_workgroups().x() * 64));
    })
    .unwrap();
    let verified = verify(built).unwrap();
    let holds = |length: u32, n: u64| {
        let facts = crate::require::LaunchFacts {
            grid: [2, 1, 1],
            lengths: &[u64::from(length)],
            params: &[[n, 0, 0, 0]],
        };
        verified.requires[0].holds(&verified, &facts)
    };
    assert_eq!(holds(8, 128), Some(true));
    assert_eq!(holds(8, 129), Some(false));
    assert_eq!(holds(9, 128), Some(false));
    assert!(verified.blocks.iter().all(|b| b.insts.is_empty()), "a precondition leaves no code behind");
}
