/* Private to align: motions, and the kernel that adds a row to the normal equations. */
#pragma once
#include "align.h"

/* A rigid motion about the middle of a volume, lengths in voxels of `ratio` edges. */
struct align_motion {
  double turn[3][3], shift_px[3];
};
/* All local. Edges over the edge along z; half a volume's diagonal in edges along z. */
void align_ratio(const double voxel_um[3], double ratio[3]);
double align_half_diagonal(const int64_t n[3], const double ratio[3]);
/* The rotation vector of a motion, radians about z, y, x. */
void align_vector_of(const struct align_motion *motion, double w[3]);
/* middle + turn (p - middle) + shift, the turn on edges of `ratio`, shift in voxels of `scale`. */
struct voxel_map align_map_of(const struct align_motion *motion, const double ratio[3],
                              const int64_t n[3], double scale);
/* motion <- motion after the inverse of the step (tau in voxels, omega). */
void align_compose(struct align_motion *motion, const double tau[3], const double omega[3],
                   const double ratio[3]);

enum {
  FIT_LANES        = 16,
  FIT_SCRATCH_ROWS = 31,
  FIT_W            = 0, /* sum of weights */
  FIT_N,                /* the same where either volume has structure */
  FIT_F,                /* weighted sums of fixed and moved greys, squares, product */
  FIT_M,
  FIT_FF,
  FIT_MM,
  FIT_FM,
  FIT_R,  /* weights with their share of trust, where there is structure */
  FIT_RE, /* the same times the squared difference */
  FIT_T,  /* [3] what derivatives by rotations would be were all slopes along the turn, squared */
  FIT_B    = FIT_T + 3,  /* [6] derivative of fixed x difference */
  FIT_H    = FIT_B + 6,  /* [21] derivatives of fixed among themselves, k >= i */
  FIT_C    = FIT_H + 21, /* [6][6] derivatives of fixed x derivatives of moved */
  FIT_SUMS = FIT_C + 36
};
/* Rows of one (z, y): its own, z - 1, z + 1, y - 1, y + 1. x, weight: of n, padded with zeros to whole lanes; voxels
 * first <= x < behind count. noise: standard deviation of a difference, INFINITY: all are trusted. Positions are over the length of the rotations; part: weight along z and y; ratio:
 * relative edges. */
struct fit_row {
  const float *fixed[5], *moved[5], *x, *weight;
  float y, z, part, noise, ratio[3];
  int64_t n, first, behind;
};
/* Writes sums[FIT_SUMS]; scratch: FIT_SCRATCH_ROWS rows of n padded to whole lanes. */
ISA_DECLARE(void, fit_row_sums, const struct fit_row *row, float *scratch, double *sums)
