/* Loops of the profiles: mixtures of nodes, cubic reading, normal equations, sums in fixed point. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

enum { LANES = 8 };
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8)));

void ISA_NAME(profile_blend)(const double *const *from, const double *weight, int sources,
                             int64_t padded, double *out) {
  for (int64_t i = 0; i < padded; i += 2 * LANES) {
    lanes low = {0}, high = {0};
    for (int k = 0; k < sources; k++) {
      low += weight[k] * *(const lanes *)(from[k] + i);
      high += weight[k] * *(const lanes *)(from[k] + i + LANES);
    }
    *(lanes *)(out + i)         = low;
    *(lanes *)(out + i + LANES) = high;
  }
}

void ISA_NAME(profile_read)(const double *restrict integral, const double *restrict density,
                            double first, double step, int64_t points, const double *restrict y,
                            int64_t n, double *restrict cumulated, double *restrict dense) {
  const double per = 1 / step, last = (double)(points - 1) - 1e-9;
  for (int64_t k = 0; k < n; k++) {
    double t = (y[k] - first) * per;
    t        = t > 0 ? t : 0;
    t        = t < last ? t : last;
    int i    = (int)t;
    double f = t - i, c = integral[i], rise = integral[i + 1] - c, d0 = density[i] * step,
           d1 = density[i + 1] * step;
    double b = 3 * rise - 2 * d0 - d1, a = d0 + d1 - 2 * rise;
    cumulated[k] = c + f * (d0 + f * (b + f * a));
    dense[k]     = (d0 + f * (2 * b + 3 * f * a)) * per;
  }
}

void ISA_NAME(profile_normal)(const double *const *column, int columns, const double *w,
                              const double *v, int64_t n, double *matrix, double *vector) {
  int64_t whole = n / LANES * LANES;
  for (int i = 0; i < columns; i++) {
    lanes sum[COMPTON_TERMS] = {{0}}, right = {0};
    for (int64_t b = 0; b < whole; b += LANES) {
      lanes a = *(const lanes *)(column[i] + b), aw = a * *(const lanes *)(w + b);
      right += a * *(const lanes *)(v + b);
      for (int k = 0; k <= i; k++) sum[k] += aw * *(const lanes *)(column[k] + b);
    }
    for (int k = 0; k <= i; k++) {
      double total = 0;
      for (int l = 0; l < LANES; l++) total += sum[k][l];
      for (int64_t b = whole; b < n; b++) total += column[i][b] * column[k][b] * w[b];
      matrix[i * columns + k] = matrix[k * columns + i] = total;
    }
    vector[i] = 0;
    for (int l = 0; l < LANES; l++) vector[i] += right[l];
    for (int64_t b = whole; b < n; b++) vector[i] += column[i][b] * v[b];
  }
}

void ISA_NAME(profile_fix)(const double *value, int64_t n, int64_t *to) {
  for (int64_t i = 0; i < n; i++) to[i] += (int64_t)rint(value[i] * 0x1p24);
}
