/* Private: rows of packed bits. */
#pragma once
#include "base.h"

/* bit: voxels of a row that equal value (other: that do not); bits past n are 0. */
ISA_DECLARE(void, bits_pack, const uint8_t *, int64_t, uint8_t, bool, uint64_t *)
/* Voxels become value where the bit stands; those that were value and have no bit become instead. */
ISA_DECLARE(void, bits_unpack, const uint64_t *, int64_t, uint8_t, uint8_t, uint8_t *)
/* out + h stride, h = 0..radius < 64: and (least) or or of the row shifted by -h..h. */
ISA_DECLARE(void, bits_widen, const uint64_t *restrict, uint64_t *restrict, int64_t, int, bool,
            int64_t)
/* And or or of several rows, each readable to a multiple of 8 words. */
ISA_DECLARE(void, bits_combine, const uint64_t *const *, int, uint64_t *, bool, int64_t)
