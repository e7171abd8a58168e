// A step of bodies that attract one another, with tiles of bodies in workgroup memory.

struct Body {
    position: vec3<f32>,
    mass: f32,
    velocity: vec3<f32>,
    kind: u32,
}

struct Step {
    seconds: f32,
    count: u32,
    softening: f32,
}

override TILE: u32 = 64;

@group(0) @binding(0) var<storage, read> before: array<Body>;
@group(0) @binding(1) var<storage, read_write> after: array<Body>;
@group(0) @binding(2) var<uniform> step: Step;

var<workgroup> tile: array<vec4<f32>, TILE>;

// The acceleration that a body of the tile causes at a place.
fn pull(place: vec3<f32>, other: vec4<f32>) -> vec3<f32> {
    let way = other.xyz - place;
    let square = dot(way, way) + step.softening;
    return way * (other.w * inverseSqrt(square * square * square));
}

@compute @workgroup_size(TILE)
fn advance(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var body = before[id.x];
    var acceleration = vec3<f32>(0.0);
    for (var first = 0u; first < step.count; first += TILE) {
        // Bodies past the end have no mass.
        let other = before[first + lane];
        tile[lane] = vec4<f32>(other.position, other.mass);
        workgroupBarrier();
        for (var i = 0u; i < TILE; i++) {
            acceleration += pull(body.position, tile[i]);
        }
        workgroupBarrier();
    }
    if (id.x >= step.count) {
        return;
    }
    body.velocity += acceleration * step.seconds;
    body.position += body.velocity * step.seconds;
    after[id.x] = body;
}
