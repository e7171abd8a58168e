#version 460
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) restrict buffer X { uvec4 x[]; };
layout(push_constant) uniform P { uint lx, lx4, count; };
shared uint sums[64];

void main() {
    uint quads = count / 4, before = 0;
    for (uint first = 0; first < quads; first += 256) {
        uint at = first + gl_LocalInvocationIndex;
        uvec4 v = at < quads ? x[at] : uvec4(0);
        uint a = v.x + v.y, b = a + v.z, all = b + v.w;
        uint lower = subgroupExclusiveAdd(all);
        if (gl_SubgroupInvocationID == gl_SubgroupSize - 1) sums[gl_SubgroupID] = lower + all;
        barrier();
        uint group = 0, whole = 0;
        for (uint i = 0; i < gl_NumSubgroups; i++) {
            whole += sums[i];
            if (i < gl_SubgroupID) group = whole;
        }
        uint o = before + group + lower;
        if (at < quads) x[at] = uvec4(o, o + v.x, o + a, o + b);
        barrier();
        before += whole;
    }
}
