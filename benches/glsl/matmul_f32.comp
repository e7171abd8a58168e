#version 460
#extension GL_EXT_control_flow_attributes : require
// C = A · B in tiles of 128 × 128 × 16, 8 × 8 an invocation.
layout(local_size_x = 16, local_size_y = 16) in;
layout(set = 0, binding = 0) readonly restrict buffer A { vec4 a[]; };
layout(set = 0, binding = 1) readonly restrict buffer B { vec4 b[]; };
layout(set = 0, binding = 2) writeonly restrict buffer C { vec4 c[]; };
layout(push_constant) uniform P { uint la, lb, lc, la4, lb4, lc4, m, n, k; };
shared vec4 at[528];
shared vec4 bt[512];

void main() {
    uvec2 l = gl_LocalInvocationID.xy, g = gl_WorkGroupID.xy;
    uint t = gl_LocalInvocationIndex, k4 = k / 4, n4 = n / 4, tiles = k / 16;
    uint a_row = t / 4, a_quad = t % 4, b_row = t / 32, b_quad = t % 32;
    uint ai = (g.y * 128 + a_row) * k4 + a_quad, bi = b_row * n4 + g.x * 32 + b_quad;
    vec4 acc[8][2];
    [[unroll]] for (int i = 0; i < 8; i++) [[unroll]] for (int j = 0; j < 2; j++) acc[i][j] = vec4(0);
    vec4 a0 = a[ai], a1 = a[ai + 64 * k4], b0 = b[bi], b1 = b[bi + 8 * n4];
    for (uint tile = 0; tile < tiles; tile++) {
        [[unroll]] for (uint j = 0; j < 4; j++) {
            uint p = (a_quad * 4 + j) * 132 + a_row;
            at[p / 4][p % 4] = a0[j];
            at[(p + 64) / 4][p % 4] = a1[j];
        }
        bt[b_row * 32 + b_quad] = b0;
        bt[(b_row + 8) * 32 + b_quad] = b1;
        barrier();
        ai += 4;
        bi += 16 * n4;
        if (tile + 1 < tiles) {
            a0 = a[ai]; a1 = a[ai + 64 * k4]; b0 = b[bi]; b1 = b[bi + 8 * n4];
        }
        [[unroll]] for (uint kk = 0; kk < 16; kk++) {
            vec4 x[2] = { at[kk * 33 + l.y], at[kk * 33 + l.y + 16] };
            vec4 y[2] = { bt[kk * 32 + l.x], bt[kk * 32 + l.x + 16] };
            [[unroll]] for (int i = 0; i < 8; i++)
                [[unroll]] for (int j = 0; j < 2; j++) acc[i][j] = fma(vec4(x[i / 4][i % 4]), y[j], acc[i][j]);
        }
        barrier();
    }
    [[unroll]] for (int i = 0; i < 8; i++)
        [[unroll]] for (int j = 0; j < 2; j++)
            c[(g.y * 128 + l.y * 4 + (i / 4) * 64 + i % 4) * n4 + g.x * 32 + l.x + 16 * j] = acc[i][j];
}
