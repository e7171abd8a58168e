// c = a * b, matrices in rows, by tiles in workgroup memory.

struct Shape {
    rows: u32,
    columns: u32,
    inner: u32,
}

const SIDE = 16u;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> shape: Shape;

var<workgroup> left: array<array<f32, SIDE>, SIDE>;
var<workgroup> right: array<array<f32, SIDE>, SIDE>;

@compute @workgroup_size(SIDE, SIDE)
fn matmul(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) at: vec3<u32>) {
    var sum = 0.0;
    for (var tile = 0u; tile < (shape.inner + SIDE - 1u) / SIDE; tile++) {
        let first = tile * SIDE;
        left[at.y][at.x] = 0.0;
        right[at.y][at.x] = 0.0;
        if (id.y < shape.rows && first + at.x < shape.inner) {
            left[at.y][at.x] = a[id.y * shape.inner + first + at.x];
        }
        if (id.x < shape.columns && first + at.y < shape.inner) {
            right[at.y][at.x] = b[(first + at.y) * shape.columns + id.x];
        }
        workgroupBarrier();
        for (var i = 0u; i < SIDE; i++) {
            sum += left[at.y][i] * right[i][at.x];
        }
        workgroupBarrier();
    }
    if (id.y < shape.rows && id.x < shape.columns) {
        c[id.y * shape.columns + id.x] = sum;
    }
}
