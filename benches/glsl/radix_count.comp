#version 460
#extension GL_GOOGLE_include_directive : require
#include "radix.glsl"
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) readonly restrict buffer K { uint keys[]; };
layout(set = 0, binding = 1) writeonly restrict buffer C { uint counts[]; };
layout(push_constant) uniform P { uint lk, lc, shift; };
shared uint bins[16];

void main() {
    uint l = gl_LocalInvocationIndex, tile = gl_WorkGroupID.x;
    if (l < 16) bins[l] = 0;
    barrier();
    for (uint i = 0; i < 8; i++) {
        uint digit = keys[tile * 2048 + l + i * 256] >> shift & 15;
        uvec4 same = match_digit(digit);
        if (subgroupBallotExclusiveBitCount(same) == 0) atomicAdd(bins[digit], subgroupBallotBitCount(same));
    }
    barrier();
    if (l < 16) counts[l * gl_NumWorkGroups.x + tile] = bins[l];
}
