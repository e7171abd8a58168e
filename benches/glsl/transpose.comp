#version 460
// y = xᵀ in tiles of 64 × 64.
layout(local_size_x = 16, local_size_y = 16) in;
layout(set = 0, binding = 0) readonly restrict buffer X { vec4 x[]; };
layout(set = 0, binding = 1) writeonly restrict buffer Y { vec4 y[]; };
layout(push_constant) uniform P { uint len_x, len_y, len_x4, len_y4, rows, columns; };
shared float tile[64 * 65];

void main() {
    uvec2 l = gl_LocalInvocationID.xy, g = gl_WorkGroupID.xy;
    uint quads = columns / 4, quads_out = rows / 4;
    for (uint s = 0; s < 4; s++) {
        uint r = l.y + 16 * s;
        vec4 v = x[(g.y * 64 + r) * quads + g.x * 16 + l.x];
        for (uint j = 0; j < 4; j++) tile[r * 65 + l.x * 4 + j] = v[j];
    }
    barrier();
    for (uint s = 0; s < 4; s++) {
        uint c = l.y + 16 * s;
        vec4 v;
        for (uint j = 0; j < 4; j++) v[j] = tile[(l.x * 4 + j) * 65 + c];
        y[(g.x * 64 + c) * quads_out + g.y * 16 + l.x] = v;
    }
}
