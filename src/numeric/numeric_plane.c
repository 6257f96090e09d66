/* Weighted least squares of a plane by Cramer's rule. */
#include "numeric_plane.h"
#include <math.h>

void numeric_plane_add(struct numeric_plane *plane, double y, double x, double z, double weight) {
  const double v[3] = {1, y, x};
  for (int a = 0, k = 0; a < 3; a++) {
    plane->product[a] += weight * v[a] * z;
    for (int c = a; c < 3; c++, k++) plane->moment[k] += weight * v[a] * v[c];
  }
  plane->points++;
}
bool numeric_plane_find(const struct numeric_plane *plane, double p[3], double variance[3]) {
  const double *s = plane->moment, *t = plane->product;
  const double c00 = s[3] * s[5] - s[4] * s[4], c01 = s[2] * s[4] - s[1] * s[5],
               c02 = s[1] * s[4] - s[2] * s[3], c11 = s[0] * s[5] - s[2] * s[2],
               c12 = s[1] * s[2] - s[0] * s[4], c22 = s[0] * s[3] - s[1] * s[1];
  const double det = s[0] * c00 + s[1] * c01 + s[2] * c02;
  if (plane->points < 3 || !(fabs(det) > 1e-9 * fabs(s[0] * s[3] * s[5]))) return false;
  p[0] = (c00 * t[0] + c01 * t[1] + c02 * t[2]) / det;
  p[1] = (c01 * t[0] + c11 * t[1] + c12 * t[2]) / det;
  p[2] = (c02 * t[0] + c12 * t[1] + c22 * t[2]) / det;
  if (!variance) return true;
  variance[0] = c00 / det;
  variance[1] = c11 / det;
  variance[2] = c22 / det;
  return true;
}
