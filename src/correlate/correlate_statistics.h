/* Statistics of maps: correlations with intervals, heterogeneity with significance. NaN marks what a map
 * does not know; pairs with a NaN are left out. All local; the same seed gives the same bits. */
#pragma once
#include "base.h"

struct correlate_interval {
  double value, low, high; /* of 95 %; NaN when there are fewer than 4 pairs */
  int64_t n;               /* pairs used */
};

double correlate_pearson(const double *x, const double *y, int64_t n);
/* Pearson's of the ranks, ties sharing their mean rank. */
enum status correlate_spearman(const double *x, const double *y, int64_t n, double *value);
/* Correlation of x and y with the `controls` maps z[c][n] held fixed: that of the residuals of linear
 * regressions on them. */
enum status correlate_partial(const double *x, const double *y, const double *const *z,
                              int controls, int64_t n, double *value);

enum correlate_kind { CORRELATE_PEARSON, CORRELATE_SPEARMAN, CORRELATE_PARTIAL };
struct correlate_maps {
  const double *x, *y;    /* [ny][nx] */
  const double *const *z; /* controls, for the partial correlation */
  int controls;
  int64_t ny, nx;
};
/* Moving-block bootstrap (Kunsch 1989; blocks of block x block pixels keep the neighbourhood's correlation):
 * percentile interval of 95 % from `draws` draws. */
enum status correlate_bootstrap(enum correlate_kind kind, const struct correlate_maps *maps,
                                int64_t block, int draws, uint64_t seed,
                                struct correlate_interval *interval);

/* Moran's I (1950) with the four neighbours as weights, and the share of `draws` random permutations whose I
 * is at least as far from the expected -1/(n-1). */
enum status correlate_moran(const double *map, int64_t ny, int64_t nx, int draws, uint64_t seed,
                            double *i, double *p_value);

/* Difference of the means of two groups of pixels with errors: value, its sigma, two-sided p of a normal;
 * sigma2 is added to each pixel's own scatter only through the pixels' errors. */
struct correlate_difference {
  double value, sigma, p_value;
  int64_t n_a, n_b;
};
struct correlate_difference correlate_group_difference(const double *map, const double *sigma,
                                                       const int8_t *group, int64_t n);
/* Coefficient of variation of the map beyond its pixels' errors: sqrt(max(0, var - mean sigma^2)) / mean. */
double correlate_variation(const double *map, const double *sigma, int64_t n);
