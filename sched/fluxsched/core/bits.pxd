# SPDX-FileCopyrightText: 2026 The flux-sched authors
# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sets of small integers as arrays of 64-bit words; bit i is word i / 64."""

from fluxsched.core.types cimport i32, u64

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #ifdef __POPCNT__
    #define fs_popcount(x) __builtin_popcountll(x)
    #else
    /* Without the instruction the builtin is a call, and slower than this. (Warren: Hacker's Delight, 5-1.) */
    static inline int fs_popcount(uint64_t x)
    {
        x -= (x >> 1) & 0x5555555555555555u;
        x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
        x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
        return (int) ((x * 0x0101010101010101u) >> 56);
    }
    #endif
    #define fs_ctz(x) __builtin_ctzll(x)
    #define fs_log2(x) (63 - __builtin_clzll(x))
    /* Bit i is flag[i], which is 0 or 1. A product gathers the lowest bits of eight bytes in its highest one. */
    static inline uint64_t fs_gather(const unsigned char *flag)
    {
        uint64_t word = 0, eight;
        int i;
        for (i = 0; i < 8; i++) {
            memcpy(&eight, flag + 8 * i, 8);
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            eight = __builtin_bswap64(eight);
    #endif
            word |= ((eight * 0x0102040810204080u) >> 56) << 8 * i;
        }
        return word;
    }
    """
    int popcount "fs_popcount"(u64 word) noexcept nogil
    int lowest "fs_ctz"(u64 word) noexcept nogil
    int highest "fs_log2"(u64 word) noexcept nogil
    u64 gather_bits "fs_gather"(const unsigned char *flag) noexcept nogil


cdef inline i32 words_for(i32 nbits) noexcept nogil:
    return (nbits + 63) >> 6


cdef inline bint get_bit(const u64 *set, i32 i) noexcept nogil:
    return (set[i >> 6] >> (i & 63)) & 1


cdef inline void set_bit(u64 *set, i32 i) noexcept nogil:
    set[i >> 6] |= (<u64> 1) << (i & 63)


cdef inline void clear_bit(u64 *set, i32 i) noexcept nogil:
    set[i >> 6] &= ~((<u64> 1) << (i & 63))


cdef inline i32 count_bits(const u64 *set, i32 nwords) noexcept nogil:
    cdef i32 total = 0, w
    for w in range(nwords):
        total += popcount(set[w])
    return total


cdef inline bint intersects(const u64 *a, const u64 *b, i32 nwords) noexcept nogil:
    cdef i32 w
    for w in range(nwords):
        if a[w] & b[w]:
            return True
    return False


cdef inline bint same_bits(const u64 *a, const u64 *b, i32 nwords) noexcept nogil:
    cdef i32 w
    for w in range(nwords):
        if a[w] != b[w]:
            return False
    return True


cdef inline u64 low_bits(u64 word, i32 n) noexcept nogil:
    """The n lowest set bits of word (all of them if it has fewer)."""
    cdef u64 out = 0, bit
    while n > 0 and word:
        bit = word & (~word + 1)
        out |= bit
        word ^= bit
        n -= 1
    return out


cdef inline u64 range_mask(i32 word, i32 start, i32 end) noexcept nogil:
    """Bits of this word that lie in [start, end)."""
    cdef u64 mask = ~<u64> 0
    if start > word * 64:
        mask &= (~<u64> 0) << (start - word * 64)
    if end < word * 64 + 64:
        mask &= ~((~<u64> 0) << (end - word * 64))
    return mask
