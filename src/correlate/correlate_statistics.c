/* Correlations and heterogeneity. Random draws come from a counter-based generator, so an interval does not
 * depend on the number of ranks. */
#include "correlate_statistics.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 (Steele, Lea and Flood 2014) of a counter. */
static uint64_t mixed(uint64_t seed, uint64_t counter) {
  uint64_t z = seed * 0xd1342543de82ef95u + (counter + 1) * 0x9e3779b97f4a7c15u;
  z          = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z          = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* A whole number in 0..n-1. */
static int64_t below(uint64_t seed, uint64_t counter, int64_t n) {
  return (int64_t)(((__uint128_t)mixed(seed, counter) * (uint64_t)n) >> 64);
}

double correlate_pearson(const double *x, const double *y, int64_t n) {
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
  int64_t used = 0;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(x[i]) || isnan(y[i])) continue;
    mean_x += x[i], mean_y += y[i];
    used++;
  }
  if (used < 2) return (double)NAN;
  mean_x /= (double)used, mean_y /= (double)used;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(x[i]) || isnan(y[i])) continue;
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : (double)NAN;
}

struct ranked {
  double value;
  int64_t at;
};
static int by_value(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  return x->value != y->value ? (x->value > y->value) - (x->value < y->value)
                              : (x->at > y->at) - (x->at < y->at);
}

static void rank_values(const double *x, int64_t n, struct ranked *sorted, double *rank) {
  for (int64_t i = 0; i < n; i++) sorted[i] = (struct ranked){x[i], i};
  qsort(sorted, (size_t)n, sizeof *sorted, by_value);
  for (int64_t i = 0, j; i < n; i = j) {
    for (j = i; j < n && sorted[j].value == sorted[i].value;) j++;
    for (int64_t k = i; k < j; k++) rank[sorted[k].at] = 0.5 * (double)(i + j - 1);
  }
}

enum status correlate_spearman(const double *x, const double *y, int64_t n, double *value) {
  double *work          = NULL;
  struct ranked *sorted = NULL;
  enum status status    = memory_make(4 * n, sizeof *work, "ranks", &work);
  if (status == STATUS_OK) status = memory_make(n, sizeof *sorted, "ranks", &sorted);
  if (status == STATUS_OK) {
    int64_t used = 0;
    for (int64_t i = 0; i < n; i++) {
      if (isnan(x[i]) || isnan(y[i])) continue;
      work[used]       = x[i];
      work[n + used++] = y[i];
    }
    rank_values(work, used, sorted, work + 2 * n);
    rank_values(work + n, used, sorted, work + 3 * n);
    *value = correlate_pearson(work + 2 * n, work + 3 * n, used);
  }
  memory_free(work);
  memory_free(sorted);
  return status;
}

enum { CONTROLS_MOST = 6 };

/* Solves the small symmetric system a b = right by elimination with pivoting; false when singular. */
static bool solve_small(int n, double a[][CONTROLS_MOST + 1], double *right) {
  for (int k = 0; k < n; k++) {
    int pivot = k;
    for (int i = k + 1; i < n; i++)
      if (fabs(a[i][k]) > fabs(a[pivot][k])) pivot = i;
    if (fabs(a[pivot][k]) < 1e-300) return false;
    for (int j = 0; j < n; j++) {
      double swap = a[k][j];
      a[k][j] = a[pivot][j], a[pivot][j] = swap;
    }
    double swap = right[k];
    right[k] = right[pivot], right[pivot] = swap;
    for (int i = 0; i < n; i++) {
      if (i == k) continue;
      double f = a[i][k] / a[k][k];
      for (int j = k; j < n; j++) a[i][j] -= f * a[k][j];
      right[i] -= f * right[k];
    }
  }
  for (int k = 0; k < n; k++) right[k] /= a[k][k];
  return true;
}

/* y minus its regression on 1, z[0..controls-1], where `keep`; NaN elsewhere. */
static bool residual_of(const double *y, const double *const *z, int controls, const int8_t *keep,
                        int64_t n, double *out) {
  double a[CONTROLS_MOST + 1][CONTROLS_MOST + 1] = {{0}}, b[CONTROLS_MOST + 1] = {0};
  for (int64_t i = 0; i < n; i++) {
    if (!keep[i]) continue;
    for (int p = 0; p <= controls; p++) {
      double zp = p ? z[p - 1][i] : 1;
      b[p] += zp * y[i];
      for (int q = 0; q <= controls; q++) a[p][q] += zp * (q ? z[q - 1][i] : 1);
    }
  }
  if (!solve_small(controls + 1, a, b)) return false;
  for (int64_t i = 0; i < n; i++) {
    out[i] = (double)NAN;
    if (!keep[i]) continue;
    out[i] = y[i] - b[0];
    for (int p = 0; p < controls; p++) out[i] -= b[p + 1] * z[p][i];
  }
  return true;
}

enum status correlate_partial(const double *x, const double *y, const double *const *z,
                              int controls, int64_t n, double *value) {
  if (controls > CONTROLS_MOST)
    return FAIL(STATUS_USAGE, "%d control maps; at most %d", controls, CONTROLS_MOST);
  double *work       = NULL;
  int8_t *keep       = NULL;
  *value             = (double)NAN;
  enum status status = memory_make(2 * n, sizeof *work, "residuals", &work);
  if (status == STATUS_OK) status = memory_make(n, sizeof *keep, "residuals", &keep);
  for (int64_t i = 0; status == STATUS_OK && i < n; i++) {
    keep[i] = !isnan(x[i]) && !isnan(y[i]);
    for (int c = 0; c < controls; c++) keep[i] = keep[i] && !isnan(z[c][i]);
  }
  if (status == STATUS_OK && residual_of(x, z, controls, keep, n, work) &&
      residual_of(y, z, controls, keep, n, work + n))
    *value = correlate_pearson(work, work + n, n);
  memory_free(work);
  memory_free(keep);
  return status;
}

static enum status one_value(enum correlate_kind kind, const struct correlate_maps *m,
                             double *value) {
  int64_t n = m->ny * m->nx;
  if (kind == CORRELATE_SPEARMAN) return correlate_spearman(m->x, m->y, n, value);
  if (kind == CORRELATE_PARTIAL) return correlate_partial(m->x, m->y, m->z, m->controls, n, value);
  *value = correlate_pearson(m->x, m->y, n);
  return STATUS_OK;
}

/* Fills a map of the same size from randomly placed blocks of the maps. */
static void draw_maps(const struct correlate_maps *from, int64_t block, uint64_t seed,
                      double *const *to) {
  uint64_t counter = 0;
  for (int64_t y0 = 0; y0 < from->ny; y0 += block)
    for (int64_t x0 = 0; x0 < from->nx; x0 += block) {
      int64_t high = block < from->ny ? block : from->ny,
              wide = block < from->nx ? block : from->nx;
      int64_t sy   = below(seed, counter++, from->ny - high + 1),
              sx   = below(seed, counter++, from->nx - wide + 1);
      for (int64_t y = 0; y < high && y0 + y < from->ny; y++)
        for (int64_t x = 0; x < wide && x0 + x < from->nx; x++) {
          int64_t at = (y0 + y) * from->nx + x0 + x, source = (sy + y) * from->nx + sx + x;
          to[0][at] = from->x[source];
          to[1][at] = from->y[source];
          for (int c = 0; c < from->controls; c++) to[2 + c][at] = from->z[c][source];
        }
    }
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(const double *sorted, int64_t n, double share) {
  double at   = share * (double)(n - 1);
  int64_t low = (int64_t)at;
  return low + 1 < n ? sorted[low] + (at - (double)low) * (sorted[low + 1] - sorted[low])
                     : sorted[n - 1];
}

/* Places of the values among the different values there are, 0 .. : whole numbers whose ranks in any draw follow by
 * counting, without sorting again. */
static enum status dense_ranks(const double *x, int64_t n, double *out) {
  struct ranked *sorted;
  int64_t used = 0, place = -1;
  TRY(memory_make(n, sizeof *sorted, "ranks", &sorted));
  for (int64_t i = 0; i < n; i++) {
    out[i] = (double)NAN;
    if (!isnan(x[i])) sorted[used++] = (struct ranked){x[i], i};
  }
  qsort(sorted, (size_t)used, sizeof *sorted, by_value);
  for (int64_t i = 0; i < used; i++) {
    if (i == 0 || sorted[i].value != sorted[i - 1].value) place++;
    out[sorted[i].at] = (double)place;
  }
  memory_free(sorted);
  return STATUS_OK;
}

/* Ranks of dense places x[used] < n by counting; ties share their mean rank. */
static void rank_places(double *x, int64_t used, int64_t n, int64_t *count, double *rank) {
  int64_t before = 0;
  memset(count, 0, (size_t)n * sizeof *count);
  for (int64_t i = 0; i < used; i++) count[(int64_t)x[i]]++;
  for (int64_t p = 0; p < n; p++) {
    rank[p] = (double)before + 0.5 * (double)(count[p] - 1);
    before += count[p];
  }
  for (int64_t i = 0; i < used; i++) x[i] = rank[(int64_t)x[i]];
}

static double spearman_of_places(double *x, double *y, int64_t n, int64_t *count, double *rank) {
  int64_t used = 0;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(x[i]) || isnan(y[i])) continue;
    x[used]   = x[i];
    y[used++] = y[i];
  }
  rank_places(x, used, n, count, rank);
  rank_places(y, used, n, count, rank);
  return correlate_pearson(x, y, used);
}

static enum status draw_values(enum correlate_kind kind, const struct correlate_maps *maps,
                               int64_t block, int draws, uint64_t seed, double *work,
                               double *values, int64_t *good) {
  int64_t n = maps->ny * maps->nx, *count = (int64_t *)(void *)(work + (2 + CONTROLS_MOST) * n);
  double *to[2 + CONTROLS_MOST], *rank = work + (3 + CONTROLS_MOST) * n;
  for (int c = 0; c < 2 + maps->controls; c++) to[c] = work + c * n;
  struct correlate_maps drawn = {to[0],          to[1],    (const double *const *)(to + 2),
                                 maps->controls, maps->ny, maps->nx},
                        from  = *maps;
  *good                       = 0;
  if (kind == CORRELATE_SPEARMAN) {
    double *places = work + (4 + CONTROLS_MOST) * n;
    TRY(dense_ranks(maps->x, n, places));
    TRY(dense_ranks(maps->y, n, places + n));
    from.x = places, from.y = places + n;
  }
  for (int d = 0; d < draws; d++) {
    double value;
    draw_maps(&from, block, mixed(seed, (uint64_t)d), to);
    if (kind == CORRELATE_SPEARMAN)
      value = spearman_of_places(to[0], to[1], n, count, rank);
    else
      TRY(one_value(kind, &drawn, &value));
    if (!isnan(value)) values[(*good)++] = value;
  }
  return STATUS_OK;
}

enum status correlate_bootstrap(enum correlate_kind kind, const struct correlate_maps *maps,
                                int64_t block, int draws, uint64_t seed,
                                struct correlate_interval *interval) {
  int64_t n = maps->ny * maps->nx, good = 0;
  *interval = (struct correlate_interval){(double)NAN, (double)NAN, (double)NAN, 0};
  for (int64_t i = 0; i < n; i++) interval->n += !isnan(maps->x[i]) && !isnan(maps->y[i]);
  if (interval->n < 4) return STATUS_OK;
  TRY(one_value(kind, maps, &interval->value));
  if (maps->controls > CONTROLS_MOST)
    return FAIL(STATUS_USAGE, "%d control maps; at most %d", maps->controls, CONTROLS_MOST);
  double *work = NULL, *values = NULL;
  enum status status = memory_make((6 + CONTROLS_MOST) * n, sizeof *work, "a bootstrap", &work);
  if (status == STATUS_OK) status = memory_make(draws, sizeof *values, "a bootstrap", &values);
  if (status == STATUS_OK)
    status = draw_values(kind, maps, block, draws, seed, work, values, &good);
  if (status == STATUS_OK && good > 1) {
    qsort(values, (size_t)good, sizeof *values, by_size);
    interval->low  = quantile(values, good, 0.025);
    interval->high = quantile(values, good, 0.975);
  }
  memory_free(work);
  memory_free(values);
  return status;
}

static double moran_of(const double *map, int64_t ny, int64_t nx, double mean, int64_t n) {
  double square = 0, cross = 0, weights = 0;
  for (int64_t y = 0; y < ny; y++)
    for (int64_t x = 0; x < nx; x++) {
      double here = map[y * nx + x] - mean;
      if (isnan(here)) continue;
      square += here * here;
      double right = x + 1 < nx ? map[y * nx + x + 1] - mean : (double)NAN;
      double down  = y + 1 < ny ? map[(y + 1) * nx + x] - mean : (double)NAN;
      if (!isnan(right)) cross += 2 * here * right, weights += 2;
      if (!isnan(down)) cross += 2 * here * down, weights += 2;
    }
  return weights > 0 && square > 0 ? (double)n / weights * cross / square : (double)NAN;
}

static void shuffle(double *value, const int64_t *at, int64_t n, uint64_t seed) {
  for (int64_t i = n - 1; i > 0; i--) {
    int64_t j    = below(seed, (uint64_t)i, i + 1);
    double swap  = value[at[i]];
    value[at[i]] = value[at[j]], value[at[j]] = swap;
  }
}

enum status correlate_moran(const double *map, int64_t ny, int64_t nx, int draws, uint64_t seed,
                            double *i, double *p_value) {
  int64_t all = ny * nx, n = 0, *at = NULL;
  double *copy = NULL, mean = 0;
  *i = *p_value      = (double)NAN;
  enum status status = memory_make(all, sizeof *at, "a permutation", &at);
  if (status == STATUS_OK) status = memory_make(all, sizeof *copy, "a permutation", &copy);
  for (int64_t k = 0; status == STATUS_OK && k < all; k++) {
    copy[k] = map[k];
    if (isnan(map[k])) continue;
    mean += map[k];
    at[n++] = k;
  }
  if (status == STATUS_OK && n >= 4) {
    mean /= (double)n;
    double expected = -1 / ((double)n - 1);
    int64_t as_far  = 1;
    *i              = moran_of(map, ny, nx, mean, n);
    for (int d = 0; d < draws; d++) {
      shuffle(copy, at, n, mixed(seed, (uint64_t)d));
      as_far += fabs(moran_of(copy, ny, nx, mean, n) - expected) >= fabs(*i - expected);
    }
    *p_value = (double)as_far / (draws + 1);
  }
  memory_free(at);
  memory_free(copy);
  return status;
}

struct correlate_difference correlate_group_difference(const double *map, const double *sigma,
                                                       const int8_t *group, int64_t n) {
  double weight[2] = {0, 0}, sum[2] = {0, 0};
  int64_t count[2] = {0, 0};
  for (int64_t i = 0; i < n; i++) {
    if (group[i] < 0 || group[i] > 1 || isnan(map[i]) || !(sigma[i] > 0)) continue;
    double w = 1 / (sigma[i] * sigma[i]);
    weight[group[i]] += w;
    sum[group[i]] += w * map[i];
    count[group[i]]++;
  }
  struct correlate_difference d = {(double)NAN, (double)NAN, (double)NAN, count[0], count[1]};
  if (!count[0] || !count[1]) return d;
  d.value   = sum[1] / weight[1] - sum[0] / weight[0];
  d.sigma   = sqrt(1 / weight[0] + 1 / weight[1]);
  d.p_value = erfc(fabs(d.value) / d.sigma / sqrt(2));
  return d;
}

double correlate_variation(const double *map, const double *sigma, int64_t n) {
  double mean = 0, square = 0, noise = 0;
  int64_t used = 0;
  for (int64_t i = 0; i < n; i++)
    if (!isnan(map[i]) && !isnan(sigma[i])) mean += map[i], used++;
  if (used < 2) return (double)NAN;
  mean /= (double)used;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(map[i]) || isnan(sigma[i])) continue;
    square += (map[i] - mean) * (map[i] - mean);
    noise += sigma[i] * sigma[i];
  }
  double beyond = square / ((double)used - 1) - noise / (double)used;
  return beyond > 0 ? sqrt(beyond) / fabs(mean) : 0;
}
