#version 460
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) readonly restrict buffer X { uvec4 x[]; };
layout(set = 0, binding = 1) writeonly restrict buffer S { uint tile_sums[]; };
shared uint parts[64];

void main() {
    uint start = gl_WorkGroupID.x * 1024 + gl_LocalInvocationIndex;
    uvec4 s = x[start] + x[start + 256] + x[start + 512] + x[start + 768];
    uint part = subgroupAdd(s.x + s.y + s.z + s.w);
    if (subgroupElect()) parts[gl_SubgroupID] = part;
    barrier();
    if (gl_LocalInvocationIndex == 0) {
        uint total = 0;
        for (uint i = 0; i < gl_NumSubgroups; i++) total += parts[i];
        tile_sums[gl_WorkGroupID.x] = total;
    }
}
