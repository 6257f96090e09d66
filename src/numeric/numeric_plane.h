#pragma once
#include "base.h"

/* The plane z = p[0] + p[1] y + p[2] x of least squares through weighted points. Start with zeros. */
struct numeric_plane {
  double moment[6],
      product[3]; /* sums of weights times 1, y, x, y^2, yx, x^2 (upper triangle), and times z */
  int64_t points;
};
/* Local. y and x are best given from the middle of all points. */
void numeric_plane_add(struct numeric_plane *plane, double y, double x, double z, double weight);
/* Local. p, and its variances where the weights are 1/variance (NULL: not wanted); false: fewer than three points, or all on a
 * line. */
bool numeric_plane_find(const struct numeric_plane *plane, double p[3], double variance[3]);
