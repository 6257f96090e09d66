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

/* What grey kernels know of a ball of radius R. A part of its discs is a row of the input at a place along y, moved along x,
 * or (half > 0) the extremes over `half` neighbours of one. Parts 0..end[k] - 1 make the disc at height k. */
enum {
  BALL_PLANES     = 4, /* at a time */
  BALL3_PITCH     = 1152,
  BALL_PARTS_MOST = (2 * VOXEL_RADIUS_MOST + 1) * (VOXEL_RADIUS_MOST + 1) + 2
};
struct ball_part {
  int y, half, shift;
};
struct ball_discs {
  int radius, end[VOXEL_RADIUS_MOST];
  int64_t pitch; /* bytes from row to row of scratch; BALL3_PITCH for radius 3 */
  struct ball_part *part;
};
/* Rows about the one that is made: of the input from R before it, those of BALL_PLANES planes one after another; extremes over
 * 1..R - 1 neighbours, plane by plane, from R - 1 before it. */
struct ball_rows {
  const void *in;
  const void *wider[2 * VOXEL_RADIUS_MOST - 1];
};
#define BALL_KERNELS(T, NAME)                                                                      \
  ISA_DECLARE(void, ball_widen_##NAME, const T *restrict, T *restrict, int64_t, int, bool,         \
              int64_t)                                                                             \
  ISA_DECLARE(void, ball_spread_##NAME, const struct ball_rows *, const struct ball_discs *, int,  \
              T *const *, T *const *, bool, int64_t)
BALL_KERNELS(uint8_t, u8)
BALL_KERNELS(uint16_t, u16)
BALL_KERNELS(float, f32)
ISA_DECLARE(void, ball_take_f32, const float *, float *, int64_t)

enum { NLM_FAR = 5 }; /* a distance of patches, in grey^2, whose weight is 0 */
ISA_DECLARE(void, nlm_differ, const float *const a[3], const float *const b[3], float,
            float *restrict, int64_t)
ISA_DECLARE(void, nlm_add, const float *const differ[3], float, float, const float *restrict,
            float *restrict, float *restrict, float *restrict, int64_t)

/* Local: INTERNAL when the halo is thinner than `least` on some axis. */
enum status voxel_halo_check(const struct grid_field *field, int64_t least);

/* Half width of the ball's row at (z, y), -1 where it has none. */
int voxel_ball_half(int radius, int z, int y);

/* Extremes over a ball of packed bits, whose rows may be read a word beyond both ends and `radius` rows and planes
 * beyond all others. Local. */
struct voxel_bits_work {
  int radius;
  bool least;
  const uint64_t *in;
  uint64_t *out;
  int64_t n[3], in_row[2], out_row[2]; /* words along x, strides of z and y in words */
};
enum status voxel_bits_extreme(const struct voxel_bits_work *work);
