#version 460
#extension GL_GOOGLE_include_directive : require
#include "scan.glsl"
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) readonly restrict buffer X { uvec4 x[]; };
layout(set = 0, binding = 1) readonly restrict buffer O { uint offsets[]; };
layout(set = 0, binding = 2) writeonly restrict buffer Y { uvec4 y[]; };

void main() {
    uint start = gl_WorkGroupID.x * 1024 + gl_LocalInvocationIndex;
    [[unroll]] for (uint s = 0; s < 4; s++) rows[s] = x[start + 256 * s];
    scan_rows();
    if (gl_SubgroupID == 0) scan_sums();
    barrier();
    uint prefix = offsets[gl_WorkGroupID.x];
    [[unroll]] for (uint s = 0; s < 4; s++)
        y[start + 256 * s] = rows[s] + (prefix + sums[s * gl_NumSubgroups + gl_SubgroupID] + before[s]);
}
