#version 460
#extension GL_GOOGLE_include_directive : require
#include "radix.glsl"
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) readonly restrict buffer K { uint keys[]; };
layout(set = 0, binding = 1) readonly restrict buffer E { uint ends[]; };
layout(set = 0, binding = 2) writeonly restrict buffer S { uint sorted[]; };
layout(push_constant) uniform P { uint lk, le, ls, shift; };
shared uint counters[1024];

void main() {
    uint l = gl_LocalInvocationIndex, tile = gl_WorkGroupID.x, bins = gl_SubgroupID * 16;
    for (uint i = l; i < 1024; i += 256) counters[i] = 0;
    barrier();
    uint start = tile * 2048 + gl_SubgroupID * gl_SubgroupSize * 8 + gl_SubgroupInvocationID;
    uint key[8], bin[8], rank[8];
    [[unroll]] for (uint i = 0; i < 8; i++) key[i] = keys[start + i * gl_SubgroupSize];
    [[unroll]] for (uint i = 0; i < 8; i++) {
        uint digit = key[i] >> shift & 15;
        uvec4 same = match_digit(digit);
        uint lower = subgroupBallotExclusiveBitCount(same);
        bin[i] = bins + digit;
        uint earlier = counters[bin[i]];
        subgroupMemoryBarrierShared();
        subgroupBarrier();
        if (lower == 0) counters[bin[i]] = earlier + subgroupBallotBitCount(same);
        subgroupMemoryBarrierShared();
        subgroupBarrier();
        rank[i] = earlier + lower;
    }
    barrier();
    if (l < 16) {
        uint own = l * gl_NumWorkGroups.x + tile;
        uint sum = own > 0 ? ends[own - 1] : 0;
        for (uint i = 0; i < gl_NumSubgroups; i++) {
            uint count = counters[i * 16 + l];
            counters[i * 16 + l] = sum;
            sum += count;
        }
    }
    barrier();
    [[unroll]] for (uint i = 0; i < 8; i++) sorted[counters[bin[i]] + rank[i]] = key[i];
}
