// What the scan shaders share: a tile of 4,096 numbers in four rows of 1,024, four numbers an invocation and row.
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
shared uint sums[256];

uvec4 rows[4];
uint before[4];

uvec4 partial_sums(uvec4 v) {
    uint a = v.x + v.y, b = a + v.z;
    return uvec4(v.x, a, b, b + v.w);
}

void scan_rows() {
    [[unroll]] for (uint s = 0; s < 4; s++) {
        rows[s] = partial_sums(rows[s]);
        before[s] = subgroupExclusiveAdd(rows[s].w);
        if (gl_SubgroupInvocationID == gl_SubgroupSize - 1) sums[s * gl_NumSubgroups + gl_SubgroupID] = before[s] + rows[s].w;
    }
    barrier();
}

// By the first subgroup: `sums` to exclusive sums; their total.
uint scan_sums() {
    uint entries = 4 * gl_NumSubgroups, total = 0;
    for (uint first = 0; first < entries; first += gl_SubgroupSize) {
        uint at = first + gl_SubgroupInvocationID;
        uint one = at < entries ? sums[at] : 0;
        uint below = subgroupExclusiveAdd(one), all = subgroupAdd(one);
        if (at < entries) sums[at] = total + below;
        total += all;
    }
    return total;
}
