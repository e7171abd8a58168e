// What the radix sort shaders share.
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require

// The lanes whose digit of four bits is the same.
uvec4 match_digit(uint digit) {
    uvec4 same = subgroupBallot(true);
    [[unroll]] for (uint bit = 0; bit < 4; bit++) {
        bool set = (digit >> bit & 1) != 0;
        uvec4 with = subgroupBallot(set);
        same &= set ? with : ~with;
    }
    return same;
}
