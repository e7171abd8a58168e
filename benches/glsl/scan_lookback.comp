#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_shader_atomic_int64 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_vote : require
#pragma use_vulkan_memory_model
#include "scan.glsl"
layout(local_size_x = 256) in;
layout(set = 0, binding = 0) readonly restrict buffer X { uvec4 x[]; };
layout(set = 0, binding = 1) writeonly restrict buffer Y { uvec4 y[]; };
layout(set = 0, binding = 2) restrict buffer T { uint tickets[]; };
layout(set = 0, binding = 3) restrict buffer S { uint64_t status[]; };
shared uint shared_tile;
shared uint shared_prefix;

uint64_t told(uint tile) { return atomicLoad(status[tile], gl_ScopeQueueFamily, 0, 0); }
void tell(uint tile, uint64_t word) { atomicStore(status[tile], word, gl_ScopeQueueFamily, 0, 0); }

void main() {
    if (gl_LocalInvocationIndex == 0) shared_tile = atomicAdd(tickets[0], 1);
    barrier();
    uint tile = shared_tile, start = tile * 1024 + gl_LocalInvocationIndex;
    [[unroll]] for (uint s = 0; s < 4; s++) rows[s] = x[start + 256 * s];
    scan_rows();
    if (gl_SubgroupID == 0) {
        uint total = scan_sums(), sum = 0, prior = tile;
        if (subgroupElect()) tell(tile, uint64_t(total) | 0x100000000ul);
        bool done = false;
        while (!done) {
            bool there = prior > gl_SubgroupInvocationID;
            uint at = prior - gl_SubgroupInvocationID - 1;
            uint64_t word = there ? told(at) : 0x200000000ul;
            while (subgroupAny(word < 0x100000000ul)) word = there ? told(at) : 0x200000000ul;
            bool whole = word >= 0x200000000ul;
            uint nearer = subgroupExclusiveMax(whole ? 1u : 0u);
            sum += subgroupAdd(nearer == 0 ? uint(word) : 0u);
            done = subgroupAny(whole);
            prior -= gl_SubgroupSize;
        }
        if (subgroupElect()) {
            tell(tile, uint64_t(sum + total) | 0x200000000ul);
            shared_prefix = sum;
        }
    }
    barrier();
    [[unroll]] for (uint s = 0; s < 4; s++)
        y[start + 256 * s] = rows[s] + (shared_prefix + sums[s * gl_NumSubgroups + gl_SubgroupID] + before[s]);
}
