//! Tests of the builder: built kernels verify, and errors are reported with their source locations.

use super::control::Ids;
use super::value::Erased;
use super::*;
use crate::verify;

fn codes<T>(result: Result<T, Diagnostics>) -> Vec<Code> {
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
    // The sum mixes values of both kernels. The kernel of its left operand reports it, too.
    assert_eq!(codes(result), [Code::ForeignValue, Code::BadStep, Code::BadRequire, Code::BadRequire]);
}

#[test]
fn bodies_that_yield_too_little_or_too_much_are_reported() {
    fn reported(body: impl FnOnce(&Builder, Val<'_, u32>)) -> Vec<Code> {
        let built = kernel::<(ReadWrite<u32>,)>("k", ["y"], [1, 1, 1], |k, (y,)| {
            body(k, y.load(0));
            y.store(0, 1);
        });
        codes(built.and_then(verify))
    }
    for yielded in [0, 1, 3, 5] {
        let bad = vec![Code::BadCarry];
        let counted = reported(|k, v| {
            let r = k.for_carry(0u32, 10u32, 1, vec![v, v], |_, _, c| vec![c[0]; yielded]);
            let _ = r[1] + r[0];
        });
        assert_eq!(counted, bad, "{yielded}");
        let looped = reported(|k, v| {
            let r = k.while_(vec![v, v], |_, c| c[0].lt(5), |_, c| vec![c[1]; yielded]);
            let _ = r[1] + r[0];
        });
        assert_eq!(looped, bad, "{yielded}");
        let branched = reported(|k, v| {
            k.if_else(v.lt(3), |_| vec![v, v], |_| vec![v; yielded]);
        });
        assert_eq!(branched, bad, "{yielded}");
        let nested = reported(|k, v| {
            let initial = (vec![v], vec![v, v]);
            let r = k.for_carry(0u32, 10u32, 1, initial, |_, _, (a, b)| (b[..yielded.min(1)].to_vec(), a));
            let _ = r.1[1] + v;
        });
        assert_eq!(nested, bad, "{yielded}");
    }
}

/// A user-defined `Carry` that takes more values than it collects.
struct Greedy<'k>(Val<'k, u32>);

impl<'k> Carry<'k> for Greedy<'k> {
    fn collect(&self, _: &mut Vec<Erased<'k>>) {}

    fn rebuild(&self, builder: &'k Builder, ids: &mut Ids) -> Self {
        Self(self.0.rebuild(builder, ids))
    }
}

#[test]
fn a_shape_that_takes_more_than_it_gives_is_reported() {
    let result = kernel::<(Write<u32>,)>("k", ["y"], [1, 1, 1], |k, (y,)| {
        let carried = k.for_carry(0u32, 4u32, 1, Greedy(k.local_index()), |_, _, c| Greedy(c.0 + 1));
        y.store(0, carried.0);
    });
    assert_eq!(codes(result), [Code::BadCarry, Code::BadCarry]);
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

#[test]
fn the_rest_of_the_language_builds_and_prints() {
    let built = kernel::<(ReadWrite<u32>, Large<Read<f32>>, u32)>(
        "all",
        ["x", "big", "n"],
        [64, 1, 1],
        |k, (x, big, n)| {
            let pairs = x.view::<[i32; 2]>("pairs");
            let tile = k.shared_uninit::<f32>("tile", 64);
            let words = tile.view::<[u32; 3]>("words");
            let far = big.view::<[f32; 4]>("far");
            let l = k.local_index();
            let wide = l.convert::<u64>();
            let f = big.load(wide).mul_add_exact(2.0, 1.0) + big.load(5).sqrt().fast();
            tile.store(l, f);
            let sum = k.region("reduction", |k| {
                k.barrier_shared();
                let total = f.subgroup_reduce(Combine::Add);
                (total + f.subgroup_exclusive_scan(Combine::Max), l.subgroup_inclusive_scan(Combine::Xor))
            });
            k.region("nothing", |k| k.trap(n));
            let picked = words.load(0).shuffle::<[u32; 2]>(words.load(1), &[5, 0]);
            pairs.store(0, picked.bitcast::<[i32; 2]>());
            x.ordered(AtomicOrder::AcquireRelease).scoped(SyncScope::Workgroup).atomic_add(l, sum.1);
            tile.atomic_add(l, sum.0);
            let first = x.ordered(AtomicOrder::Acquire).atomic_load(0);
            k.fence(AtomicOrder::Release, SyncScope::Device);
            k.subgroup_barrier();
            let all = k.workgroup_broadcast(first, k.num_subgroups() - 1);
            k.if_(all.eq(3), |k| k.barrier());
            let lead = k.lane().subgroup_broadcast(0) + l.subgroup_shuffle(k.lane() ^ 1);
            let odd = (lead.subgroup_shuffle_xor(1) & 1).eq(1);
            let near = lead.subgroup_shuffle_up(1) + lead.subgroup_shuffle_down(k.subgroup_id());
            let votes = odd.subgroup_ballot() & k.lane_mask_lt() & near.subgroup_match();
            let any = odd.subgroup_any() & odd.subgroup_all() & k.subgroup_elect();
            let count = odd.subgroup_ballot_count();
            k.if_(any, |_| x.store(count, votes.extract(0)));
            let _ = far.len() + big.len();
        },
    );
    let text = crate::text::print(&verify(built.unwrap()).unwrap());
    for part in [
        "buffer %big: read f32[] large",
        "shared %tile: f32[64] uninit",
        "view %pairs = %x as i32x2[]",
        "view %words = %tile as u32x3[]",
        "fma[exact]",
        "sqrt[fast]",
        "region \"reduction\" -> f32, u32 {",
        "trap %n",
        "vec.shuffle[5, 0]",
        "atomic.add[acquire_release, workgroup] %x",
        "atomic.add %tile",
        "atomic.load[acquire] %x",
        "fence[release, device]",
        "workgroup_broadcast",
        "subgroup.exclusive_scan[max]",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn attributes_that_do_not_fit_are_reported() {
    let result = kernel::<(Write<u32>,)>("k", ["x"], [1, 1, 1], |k, (x,)| {
        x.store(0, k.val(1u32).fast());
    });
    assert_eq!(codes(result), [Code::BuilderMisuse]);
    let result = kernel::<(ReadWrite<[u32; 2]>,)>("k", ["x"], [1, 1, 1], |_, (x,)| {
        let v = x.load(0);
        x.store(0, v.shuffle::<[u32; 2]>(v, &[0, 4]));
        x.store(0, v.shuffle::<[u32; 2]>(v, &[0, 1, 2, 3]));
    });
    assert_eq!(codes(result), [Code::BadAttribute; 2]);
    let result = kernel::<(ReadWrite<u32>,)>("k", ["x"], [1, 1, 1], |k, (x,)| {
        x.store(0, (k.val(1u32) + 2).fast());
        x.ordered(AtomicOrder::Release).atomic_load(0);
    });
    let problems = verify(result.unwrap()).unwrap_err();
    let found: Vec<Code> = problems.all().iter().map(|d| d.code).collect();
    assert_eq!(found, [Code::BadAttribute, Code::BadOrder]);
}

#[test]
fn matrices_build_as_their_text() {
    let built =
        kernel::<(Read<f32>, ReadWrite<f32>, u32)>("m", ["x", "y", "n"], [32, 1, 1], |k, (x, y, n)| {
            k.require(|_| (n % 8).eq(0));
            let x4 = x.view::<[u32; 4]>("x4");
            let a = MatrixShape::new(16, 8, MatrixRole::A, MatrixScope::Subgroup);
            let zero = k.matrix(0.0f32, 16, 16, MatrixRole::Acc, MatrixScope::Subgroup);
            let sum = k.for_carry(0, n, 8, zero, |_, i, sum| {
                let left = x4.load_matrix::<f32>(MatrixLayout::RowMajor, i, 2u32, a).named("left");
                let right = MatrixShape::new(8, 16, MatrixRole::B, MatrixScope::Subgroup);
                let right = x.load_matrix::<f32>(MatrixLayout::ColumnMajor, i, n, right);
                left.mul_add(right, sum)
            });
            let scaled = -(sum + sum) * zero - sum / zero;
            let chosen = n.eq(8).select_matrix(scaled, sum);
            let counts = chosen.convert::<i32>(MatrixRole::A).convert::<f32>(MatrixRole::Acc);
            y.store_matrix(MatrixLayout::RowMajor, 0, 16u32, counts);
        })
        .unwrap();
    let printed = crate::text::print(&built);
    for line in [
        "%left = coop.load[row_major] %x4[%2], 2u32 -> coopmat<f32, 16x8, a, subgroup>",
        "coop.load[column_major] %x[%2], %n -> coopmat<f32, 8x16, b, subgroup>",
        "coop.mul_add %left, ",
        " -> coopmat<i32, 16x16, a, subgroup>",
        "coop.store[row_major] %y[0u32], 16u32, ",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    let verified = verify(built).unwrap();
    assert_eq!(crate::text::print(&crate::text::parse(&printed).unwrap()), printed);
    assert!(
        crate::analysis::needs(&verified).contains(&fulgurite_spec::device::Capability::CooperativeMatrix)
    );
}

#[test]
fn matrices_that_do_not_fit_are_refused_when_verified() {
    let shape = |role| MatrixShape::new(16, 16, role, MatrixScope::Subgroup);
    let build = |rows: u16, offset: u32| {
        kernel::<(ReadWrite<f32>,)>("m", ["x"], [32, 1, 1], move |k, (x,)| {
            let a = x.load_matrix::<f32>(MatrixLayout::RowMajor, offset, 16u32, shape(MatrixRole::A));
            let b = x.load_matrix::<f32>(MatrixLayout::RowMajor, 0, 16u32, shape(MatrixRole::B));
            let zero = k.matrix(0.0f32, rows, 16, MatrixRole::Acc, MatrixScope::Subgroup);
            x.store_matrix(MatrixLayout::RowMajor, 0, 16u32, a.mul_add(b, zero));
        })
        .unwrap()
    };
    let code = |built| verify(built).err().map(|d| d.all()[0].code);
    assert_eq!(code(build(16, 4)), None);
    assert_eq!(code(build(32, 4)), Some(Code::BadMatrix));
    assert_eq!(code(build(12, 4)), Some(Code::BadMatrix));
    assert_eq!(code(build(16, 2)), Some(Code::BadMatrixAlignment));
}
