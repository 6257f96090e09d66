#pragma once
#include "base.h"

/* Local. Correlation of two maps of ny x nx values, zero beyond them, at lags up to reach_y and reach_x (less than ny
 * and nx): out[(2 reach_y + 1) (2 reach_x + 1)], lag (dy, dx) at row reach_y + dy, holds the sum over p of
 * a(p) b(p + lag). By Fourier transforms of padded maps: errors of rounding are some 1e-15 of the largest value. */
enum status numeric_correlate(const double *a, const double *b, int64_t ny, int64_t nx,
                              int64_t reach_y, int64_t reach_x, double *out);
