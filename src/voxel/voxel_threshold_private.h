#pragma once
#include "voxel_threshold.h"

ISA_DECLARE(bool, range_f32, const float *, int64_t, float[2])
ISA_DECLARE(void, bins_f32, const float *restrict, int64_t, double, double, double,
            int32_t *restrict)
ISA_DECLARE(void, above_f32, const float *restrict, int64_t, float, uint8_t *restrict)
ISA_DECLARE(void, above_u16, const uint16_t *restrict, int64_t, uint16_t, uint8_t *restrict)
