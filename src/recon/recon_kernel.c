#include "recon_private.h"
#include <math.h>

/* The taps' weights at a fraction z in -1..1: Horner over 8 lanes. */
static inline void taps_at(const float *coefficient, float z, float *tap) {
  for (int j = 0; j < 8; j++) tap[j] = coefficient[GRID_DEGREE * 8 + j];
  for (int d = GRID_DEGREE - 1; d >= 0; d--)
    for (int j = 0; j < 8; j++) tap[j] = tap[j] * z + coefficient[d * 8 + j];
}

void ISA_NAME(recon_spread)(float *grid, int64_t row, const float *value, int64_t n, double u0,
                            double v0, double du, double dv, const float *coefficient) {
  for (int64_t k = 0; k < n; k++) {
    float u[8] __attribute__((aligned(32))), v[8] __attribute__((aligned(32))),
        line[16] __attribute__((aligned(64)));
    double at_u = u0 + (double)k * du - 0.5 * GRID_TAPS,
           at_v = v0 + (double)k * dv - 0.5 * GRID_TAPS;
    int64_t iu = (int64_t)ceil(at_u), iv = (int64_t)ceil(at_v);
    taps_at(coefficient, (float)(2 * ((double)iu - at_u) - 1), u);
    taps_at(coefficient, (float)(2 * ((double)iv - at_v) - 1), v);
    float re = value[2 * k], im = value[2 * k + 1];
    for (int j = 0; j < 8; j++) line[2 * j] = v[j] * re, line[2 * j + 1] = v[j] * im;
    float *to = grid + iu * row + 2 * iv;
    for (int i = 0; i < GRID_TAPS; i++, to += row)
      for (int j = 0; j < 2 * GRID_TAPS; j++) to[j] += u[i] * line[j];
  }
}

/* The column of a pixel is first + x step_x + y step_y; positions are kept in double per row, in float along it. */
void ISA_NAME(recon_smear)(float *slice, int64_t columns, const float *projection, double first,
                           double step_x, double step_y) {
  for (int64_t y = 0; y < columns; y++) {
    double begin = first + step_y * (double)y, last = (double)(columns - 1);
    int64_t from = 0, to = columns;
    if (fabs(step_x) < 1e-12) {
      if (begin < 0 || begin > last) continue;
    } else { /* the pixels whose column lies on the detector */
      double a = -begin / step_x, b = (last - begin) / step_x;
      double low = a < b ? a : b, high = a < b ? b : a;
      if (high < 0 || low > last) continue;
      if (low > 0) from = (int64_t)ceil(low);
      if (high < last) to = (int64_t)floor(high) + 1;
    }
    float *line = slice + y * columns;
    for (int64_t x = from; x < to; x++) {
      double at   = begin + step_x * (double)x;
      at          = at < 0 ? 0 : at > last ? last : at;
      int32_t i   = (int32_t)at;
      float share = (float)(at - i);
      line[x] += projection[i] + share * (projection[i + 1] - projection[i]);
    }
  }
}
