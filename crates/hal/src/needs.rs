//! The check of what a kernel needs, capabilities and cooperative matrices, against a device's snapshot.

use fulgurite_ir::analysis::instructions;
use fulgurite_ir::{InstKind, Kernel};
use fulgurite_spec::device::{DeviceSnapshot, Matrices, MatrixShapes};
use fulgurite_spec::{MatrixRole, Type};

use crate::error::Error;

/// The most shapes that an error lists.
const MAX_SHOWN: usize = 8;

impl Error {
    /// Refuses a kernel that needs what `device` lacks: capabilities, or matrices of some shape.
    ///
    /// The engine checks every kernel once, before it asks a backend to compile it. Callers that use a backend without the
    /// engine check first.
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming the capabilities or the shape.
    pub fn check_needs(kernel: &Kernel, device: &DeviceSnapshot) -> Result<(), Self> {
        let needs = fulgurite_ir::analysis::needs(kernel);
        let missing: Vec<&str> = needs.iter().filter(|c| !device.has(**c)).map(|c| c.name()).collect();
        match missing[..] {
            [] => check_matrices(kernel, device),
            [one] => Err(Self::unsupported(format!("the capability `{one}`"), "no such capability")),
            _ => Err(Self::unsupported(
                format!("the capabilities `{}`", missing.join("`, `")),
                "no such capabilities",
            )),
        }
    }
}

/// Refuses a kernel with a product or a matrix that `device` does not list.
fn check_matrices(kernel: &Kernel, device: &DeviceSnapshot) -> Result<(), Error> {
    let listed = match &device.matrices {
        Matrices::Any => return Ok(()),
        Matrices::Listed(listed) => listed.as_slice(),
        // A device without matrices lacks the capability, which is checked first.
        _ => &[],
    };
    let mut any = false;
    for inst in instructions(kernel).map(|id| kernel.inst(id)) {
        if let InstKind::CoopMulAdd { a, b, c } = inst.kind
            && let Some(product) = product(kernel.ty(a), kernel.ty(b), kernel.ty(c))
            && !listed.contains(&product)
        {
            return Err(unsupported(format!("`coop.mul_add` of {product}"), listed));
        }
        for ty in inst.results.iter().map(|r| kernel.ty(*r)).filter(|t| t.is_matrix()) {
            any = true;
            if !listed.iter().any(|shapes| has(shapes, ty)) {
                return Err(unsupported(format!("matrices of type {ty}"), listed));
            }
        }
    }
    let (invocations, lanes) = (kernel.workgroup_invocations(), device.limits.subgroup_size.max(1));
    if any && !invocations.is_multiple_of(lanes) {
        let needs = format!("cooperative matrices in a workgroup of {invocations} invocations");
        return Err(Error::unsupported(needs, format!("them in whole subgroups of {lanes} only")));
    }
    Ok(())
}

fn unsupported(needs: String, listed: &[MatrixShapes]) -> Error {
    let mut have: Vec<String> = listed.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    if listed.len() > MAX_SHOWN {
        have.push(format!("{} more", listed.len() - MAX_SHOWN));
    }
    let have = if have.is_empty() { "no matrices".to_owned() } else { have.join(", ") };
    Error::unsupported(needs, format!("(M x N x K, components of a, b and acc) {have}"))
}

/// The shapes of a `coop.mul_add`.
fn product(a: Type, b: Type, c: Type) -> Option<MatrixShapes> {
    let (left, sum) = (a.matrix?, c.matrix?);
    Some(MatrixShapes {
        m: sum.rows,
        n: sum.cols,
        k: left.cols,
        a: a.scalar,
        b: b.scalar,
        acc: c.scalar,
        scope: sum.scope,
    })
}

/// Returns whether a matrix of type `ty` is an operand or the result of such a product.
fn has(shapes: &MatrixShapes, ty: Type) -> bool {
    let Some(matrix) = ty.matrix else { return false };
    let (rows, cols, scalar) = match matrix.role {
        MatrixRole::A => (shapes.m, shapes.k, shapes.a),
        MatrixRole::B => (shapes.k, shapes.n, shapes.b),
        MatrixRole::Acc => (shapes.m, shapes.n, shapes.acc),
    };
    (rows, cols, scalar, shapes.scope) == (matrix.rows, matrix.cols, ty.scalar, matrix.scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fulgurite_spec::{MatrixScope, ScalarType};

    const SHAPES: MatrixShapes = MatrixShapes {
        m: 16,
        n: 16,
        k: 16,
        a: ScalarType::F16,
        b: ScalarType::F16,
        acc: ScalarType::F32,
        scope: MatrixScope::Subgroup,
    };

    fn device(listed: Vec<MatrixShapes>) -> DeviceSnapshot {
        let mut device = DeviceSnapshot::new("test", "test", "test");
        device.matrices = Matrices::Listed(listed);
        device
    }

    fn refused(acc: &str, listed: Vec<MatrixShapes>) -> Option<String> {
        let text = format!(
            "fulgurite 1\nkernel @k workgroup(48, 1, 1) {{\n  buffer %x: read_write f16[]\n  view %x8 = %x as u32x4[]\n  \
             %a = coop.load[row_major] %x8[0u32], 2u32 -> coopmat<f16, 16x16, a, subgroup>\n  \
             %b = coop.load[row_major] %x8[0u32], 2u32 -> coopmat<f16, 16x16, b, subgroup>\n  \
             %z = coop.fill 0.0{acc} -> coopmat<{acc}, 16x16, acc, subgroup>\n  \
             %d = coop.mul_add %a, %b, %z\n  \
             coop.store[row_major] %x8[0u32], 4u32, %d\n}}\n"
        );
        let kernel = fulgurite_ir::verify(fulgurite_ir::text::parse(&text).unwrap()).unwrap();
        check_matrices(&kernel, &device(listed)).err().map(|e| e.to_string())
    }

    #[test]
    fn products_and_shapes_that_are_not_listed_are_named() {
        let error = refused("f16", vec![SHAPES]).unwrap();
        assert!(error.contains("coopmat<f16, 16x16, acc, subgroup>"), "{error}");
        assert!(error.contains("16x16x16 f16 f16 f32 subgroup"), "{error}");
        let mixed = MatrixShapes { k: 8, acc: ScalarType::F16, ..SHAPES };
        let error = refused("f16", vec![SHAPES, mixed]).unwrap();
        assert!(error.contains("`coop.mul_add` of 16x16x16 f16 f16 f16 subgroup"), "{error}");
        let error = refused("f32", vec![SHAPES]).unwrap();
        assert!(error.contains("48 invocations") && error.contains("subgroups of 32"), "{error}");
        assert!(refused("f32", Vec::new()).is_some());
    }

    #[test]
    fn what_is_listed_passes_in_whole_subgroups() {
        let mut device = device(vec![SHAPES]);
        let text = "fulgurite 1\nkernel @k workgroup(64, 1, 1) {\n  buffer %x: read_write f32[]\n  \
             %z = coop.fill 0.0f32 -> coopmat<f32, 16x16, acc, subgroup>\n  \
             coop.store[row_major] %x[0u32], 16u32, %z\n}\n";
        let kernel = fulgurite_ir::verify(fulgurite_ir::text::parse(text).unwrap()).unwrap();
        assert_eq!(check_matrices(&kernel, &device), Ok(()));
        device.matrices = Matrices::Any;
        assert_eq!(check_matrices(&kernel, &device), Ok(()));
    }
}
