/* Private: rows of packed bits. */
#pragma once
#include "base.h"

/* bit: voxels of a row that equal value (other: that do not); bits past n are 0. */
ISA_DECLARE(void, bits_pack, const uint8_t *, int64_t, uint8_t, bool, uint64_t *)
/* Voxels become value where the bit stands; those that were value and have no bit become instead. */
ISA_DECLARE(void, bits_unpack, const uint64_t *, int64_t, uint8_t, uint8_t, uint8_t *)
/* out + (h - 1) stride, h = 1..radius < 64: and (least) or or of the row shifted by -h..h. */
ISA_DECLARE(void, bits_widen, const uint64_t *restrict, uint64_t *restrict, int64_t, int, bool,
            int64_t)
/* out[d]: and or or of rows 0..end[d] - 1. */
ISA_DECLARE(void, bits_combine, const uint64_t *const *row, const int *end, int discs,
            uint64_t *const *out, bool least, int64_t words)
