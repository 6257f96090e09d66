/* A plane of least squares against the singular values' solution of the same equations, and where it is exact.
 * np: 1 */
#include "numeric.h"
#include "check.h"
#include <math.h>

enum { POINTS = 40 };
TEST(it_solves_the_weighted_equations) {
  struct numeric_plane plane = {.points = 0};
  double a[POINTS * 3], b[POINTS], p[3], variance[3], x[3], chi2;
  uint64_t seed = 5;
  for (int i = 0; i < POINTS; i++) {
    double r[4];
    for (int k = 0; k < 4; k++) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      r[k] = (double)(seed >> 11) * 0x1p-53;
    }
    const double y = 100 * r[0], x_i = 30 * r[1] - 4, z = 3 + 0.2 * y - 0.7 * x_i + r[2],
                 w = 0.1 + r[3];
    numeric_plane_add(&plane, y, x_i, z, w);
    const double row[3] = {1, y, x_i};
    for (int k = 0; k < 3; k++) a[3 * i + k] = sqrt(w) * row[k];
    b[i] = sqrt(w) * z;
  }
  CHECK(numeric_plane_find(&plane, p, variance), "no plane");
  CHECK_OK(numeric_linear(a, b, POINTS, 3, x, &chi2));
  for (int k = 0; k < 3; k++)
    CHECK(fabs(p[k] - x[k]) < 1e-10 * (1 + fabs(x[k])), "p[%d]: %.15g, not %.15g", k, p[k], x[k]);
}
/* Four corners of a square of edge 2 d: variances 1/(4 w), 1/(4 w d^2). */
TEST(variances_of_a_square) {
  struct numeric_plane plane = {.points = 0};
  const double d = 3, w = 5;
  double p[3], variance[3];
  for (int i = 0; i < 4; i++) {
    const double y = i / 2 ? d : -d, x = i % 2 ? d : -d;
    numeric_plane_add(&plane, y, x, 2 + 0.5 * y - 0.25 * x, w);
  }
  CHECK(numeric_plane_find(&plane, p, variance), "no plane");
  CHECK(fabs(p[0] - 2) + fabs(p[1] - 0.5) + fabs(p[2] + 0.25) < 1e-14, "%g %g %g", p[0], p[1],
        p[2]);
  CHECK(fabs(variance[0] - 1 / (4 * w)) < 1e-15, "%g", variance[0]);
  for (int k = 1; k < 3; k++)
    CHECK(fabs(variance[k] - 1 / (4 * w * d * d)) < 1e-15, "%g", variance[k]);
}
TEST(points_on_a_line_make_none) {
  struct numeric_plane two = {.points = 0}, line = {.points = 0};
  double p[3];
  for (int i = 0; i < 9; i++) {
    if (i < 2) numeric_plane_add(&two, i, 0, 1, 1);
    numeric_plane_add(&line, i, 2. * i + 1, 1, 1);
  }
  CHECK(!numeric_plane_find(&two, p, NULL), "a plane through two points");
  CHECK(!numeric_plane_find(&line, p, NULL), "a plane through a line");
}
