#version 460
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_basic : require
// A workgroup for each row, read twice. Maxima start at the least finite value, so that no masked element gives NaN.
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) readonly restrict buffer X { vec4 x[]; };
layout(set = 0, binding = 1) writeonly restrict buffer Y { vec4 y[]; };
layout(push_constant) uniform P { uint len_x, len_y, len_x4, len_y4, columns; };
shared float maxima[64];
shared float sums[64];

void main() {
    uint quads = columns / 4, first = gl_WorkGroupID.y * quads, end = first + quads;
    float most = -3.40282347e38, sum = 0.0;
    for (uint i = first + gl_LocalInvocationIndex; i < end; i += 256) {
        vec4 v = x[i];
        float most1 = max(most, max(max(v.x, v.y), max(v.z, v.w)));
        vec4 e = exp(v - most1);
        sum = fma(sum, exp(most - most1), (e.x + e.y) + (e.z + e.w));
        most = most1;
    }
    float group_most = subgroupMax(most);
    float scaled = sum * exp(most - group_most);
    float group_sum = subgroupAdd(scaled);
    if (subgroupElect()) {
        maxima[gl_SubgroupID] = group_most;
        sums[gl_SubgroupID] = group_sum;
    }
    barrier();
    most = -3.40282347e38;
    for (uint i = 0; i < gl_NumSubgroups; i++) most = max(most, maxima[i]);
    sum = 0.0;
    for (uint i = 0; i < gl_NumSubgroups; i++) sum = fma(sums[i], exp(maxima[i] - most), sum);
    float inverse = 1.0 / sum;
    for (uint i = first + gl_LocalInvocationIndex; i < end; i += 256) y[i] = exp(x[i] - most) * inverse;
}
