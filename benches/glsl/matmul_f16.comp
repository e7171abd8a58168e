#version 460
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
// C = A · B in tiles of 128 × 128 × 32, 64 × 64 a subgroup.
layout(local_size_x = 128) in;
layout(set = 0, binding = 0) readonly restrict buffer A { uvec4 a[]; };
layout(set = 0, binding = 1) readonly restrict buffer B { uvec4 b[]; };
layout(set = 0, binding = 2) writeonly restrict buffer C { float c[]; };
layout(push_constant) uniform P { uint la, lb, lc, la8, lb8, m, n, k; };
shared uvec4 at[640];
shared uvec4 bt[544];

void main() {
    uint t = gl_LocalInvocationIndex, k8 = k / 8, n8 = n / 8, tiles = k / 32;
    uvec2 g = gl_WorkGroupID.xy;
    uint ai = (g.y * 128 + t / 4) * k8 + t % 4, bi = (t / 16) * n8 + g.x * 16 + t % 16;
    uint wm = gl_SubgroupID / 2, wn = gl_SubgroupID % 2;
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> acc[4][4];
    [[unroll]] for (int i = 0; i < 4; i++)
        [[unroll]] for (int j = 0; j < 4; j++)
            acc[i][j] = coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>(0.0);
    uvec4 ra[4], rb[4];
    [[unroll]] for (uint i = 0; i < 4; i++) { ra[i] = a[ai + i * 32 * k8]; rb[i] = b[bi + i * 8 * n8]; }
    for (uint tile = 0; tile < tiles; tile++) {
        [[unroll]] for (uint i = 0; i < 4; i++) {
            at[(t / 4 + 32 * i) * 5 + t % 4] = ra[i];
            bt[(t / 16 + 8 * i) * 17 + t % 16] = rb[i];
        }
        barrier();
        ai += 4;
        bi += 32 * n8;
        if (tile + 1 < tiles) {
            [[unroll]] for (uint i = 0; i < 4; i++) { ra[i] = a[ai + i * 32 * k8]; rb[i] = b[bi + i * 8 * n8]; }
        }
        [[unroll]] for (uint h = 0; h < 2; h++) {
            coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> ma[4];
            coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> mb[4];
            [[unroll]] for (uint i = 0; i < 4; i++) {
                coopMatLoad(ma[i], at, (wm * 64 + i * 16) * 5 + 2 * h, 5, gl_CooperativeMatrixLayoutRowMajor);
                coopMatLoad(mb[i], bt, 16 * h * 17 + wn * 8 + 2 * i, 17, gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (int i = 0; i < 4; i++)
                [[unroll]] for (int j = 0; j < 4; j++) acc[i][j] = coopMatMulAdd(ma[i], mb[j], acc[i][j]);
        }
        barrier();
    }
    [[unroll]] for (uint i = 0; i < 4; i++)
        [[unroll]] for (uint j = 0; j < 4; j++)
            coopMatStore(acc[i][j], c, (g.y * 128 + wm * 64 + i * 16) * n + g.x * 128 + wn * 64 + j * 16, n,
                         gl_CooperativeMatrixLayoutRowMajor);
}
