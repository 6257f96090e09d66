#pragma once
#include "voxel_filter.h"
#include "voxel_bits.h"

#define MEDIAN_KERNELS(T, NAME)                                                                    \
  ISA_DECLARE(void, median_sort3_##NAME, T *restrict, const T *, const T *, T *restrict, int64_t,  \
              int64_t)                                                                             \
  ISA_DECLARE(void, median_sort9_##NAME, const T *restrict, T *restrict, int64_t, int64_t)         \
  ISA_DECLARE(void, median_of27_##NAME, const T *, const T *, const T *, const T *, T *restrict,   \
              T *restrict, int64_t)
MEDIAN_KERNELS(uint16_t, u16)
MEDIAN_KERNELS(float, f32)

/* A ball's rows as its kernels need them: extremes over 1..radius neighbours along x; of several rows. */
#define BALL_KERNELS(T, NAME)                                                                      \
  ISA_DECLARE(void, ball_widen_##NAME, const T *, T *, int64_t, int, bool, int64_t)                \
  ISA_DECLARE(void, ball_combine_##NAME, const T *const *, const int *, int, T *const *, bool,     \
              int64_t)
BALL_KERNELS(uint8_t, u8)
BALL_KERNELS(uint16_t, u16)
BALL_KERNELS(float, f32)

/* Local: INTERNAL when the halo is thinner than `least` on some axis. */
enum status voxel_halo_check(const struct grid_field *field, int64_t least);

/* Extremes over a ball of an array whose rows may be read `radius` elements (bits) beyond all its ends. Local. */
enum ball_kind { BALL_BITS, BALL_U8, BALL_U16, BALL_F32 };
struct voxel_ball_work {
  const struct voxel_ball *ball;
  bool least;
  enum ball_kind kind;
  const void *in; /* first element; of bits: word */
  void *out;
  int64_t n[3], in_row[2], out_row[2]; /* elements, strides of z and y in elements */
};
enum status voxel_ball_extreme(const struct voxel_ball_work *work);
