#pragma once
#include "voxel_filter.h"

#define MEDIAN_KERNELS(T, NAME)                                                                    \
  ISA_DECLARE(void, median_sort3_##NAME, const T *restrict, const T *restrict, const T *restrict,  \
              T *restrict, T *restrict, T *restrict, int64_t)                                      \
  ISA_DECLARE(void, median_sort9_##NAME, const T *restrict, T *restrict, int64_t, int64_t)         \
  ISA_DECLARE(void, median_of27_##NAME, const T *restrict, T *restrict, int64_t, int64_t)
MEDIAN_KERNELS(uint16_t, u16)
MEDIAN_KERNELS(float, f32)

#define EXTREME_KERNELS(T, NAME)                                                                   \
  ISA_DECLARE(void, least_##NAME, const T *restrict, T *restrict, int, int64_t)                    \
  ISA_DECLARE(void, most_##NAME, const T *restrict, T *restrict, int, int64_t)
EXTREME_KERNELS(uint8_t, u8)
EXTREME_KERNELS(uint16_t, u16)
EXTREME_KERNELS(float, f32)
