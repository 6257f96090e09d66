#pragma once
#include "voxel_filter.h"

#define MEDIAN_KERNELS(T, NAME)                                                                    \
  ISA_DECLARE(void, median_sort3_##NAME, T *restrict, const T *, const T *, T *restrict, int64_t,  \
              int64_t)                                                                             \
  ISA_DECLARE(void, median_sort9_##NAME, const T *, const T *, const T *, T *restrict, int64_t,    \
              int64_t)                                                                             \
  ISA_DECLARE(void, median_of27_##NAME, const T *restrict, T *restrict, int64_t, int64_t)
MEDIAN_KERNELS(uint16_t, u16)
MEDIAN_KERNELS(float, f32)

/* A ball's rows as its kernels need them: extremes over 0..radius neighbours along x, then over y, then over z. */
#define BALL_KERNELS(T, NAME)                                                                      \
  ISA_DECLARE(void, ball_widen_##NAME, const T *, T *, int64_t, int, bool, int64_t)                \
  ISA_DECLARE(void, ball_combine_##NAME, const T *const *, int, T *, bool, int64_t)
BALL_KERNELS(uint8_t, u8)
BALL_KERNELS(uint16_t, u16)
BALL_KERNELS(float, f32)

/* Local: INTERNAL when the halo is thinner than `least` on some axis. */
enum status voxel_halo_check(const struct grid_field *field, int64_t least);
