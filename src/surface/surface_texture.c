/* Parameters of ISO 25178-2 from a levelled map.
 * Sdq, Sdr: of every square of four known heights the mean slopes of its edges, and its area as the mean of both ways to
 * cut it into two triangles. A sine of wavelength w so loses sin(pi d / w) / (pi d / w) of its slope, d the spacing.
 * Autocorrelation: by Fourier transforms of the padded map and of its mask, one over the other, so that no edge enters;
 * followed along rays of one degree from the middle to the first place below 0.2.
 * Bearing curve: Sk, Spk, Svk as ISO 21920-2's for profiles: straight line through the 40 % of least fall, by least
 * squares; triangles of equal area above and below.
 * Uncertainty: blocks drawn with replacement (Künsch 1989), each parameter from the drawn blocks' sums. A block of edge b
 * misses what joins it to its neighbours: for an autocorrelation exp(-(r/L)^2) a share 0.32 Sal / b of the sigma, which is
 * put back, as is 1 / (blocks - 1). */
#include "surface_map.h"
#include "numeric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double fall = 0.2; /* of the autocorrelation, at Sal */
enum { LAG_MOST = 400 };

/* ---- moments and slopes ------------------------------------------------------------------------------------ */

enum { B_N, B_1, B_ABS, B_2, B_3, B_4, B_CELLS, B_SLOPE2, B_AREA, BLOCK_SUMS };

static void add_height(double z, double *sum) {
  sum[B_N]++, sum[B_1] += z, sum[B_ABS] += fabs(z);
  sum[B_2] += z * z, sum[B_3] += z * z * z, sum[B_4] += z * z * z * z;
}

static double triangle(double by, double bx, double rise_y, double rise_x) {
  return 0.5 * by * bx * sqrt(1 + rise_y * rise_y / (by * by) + rise_x * rise_x / (bx * bx));
}

/* The square between (y, x) and (y + 1, x + 1). */
static void add_cell(const struct surface_map *map, int64_t y, int64_t x, double *sum) {
  const float *z = map->z + y * map->nx + x;
  if (y + 1 >= map->ny || x + 1 >= map->nx) return;
  double a = (double)z[0], b = (double)z[1], c = (double)z[map->nx], d = (double)z[map->nx + 1];
  if (isnan(a + b + c + d)) return;
  double by = map->step_um[0], bx = map->step_um[1];
  double gx = (b + d - a - c) / (2 * bx), gy = (c + d - a - b) / (2 * by);
  double area = triangle(by, bx, c - a, b - a) + triangle(by, bx, d - b, d - c) +
                triangle(by, bx, d - b, b - a) + triangle(by, bx, c - a, d - c);
  sum[B_CELLS]++;
  sum[B_SLOPE2] += gx * gx + gy * gy;
  sum[B_AREA] += area / (2 * by * bx) - 1;
}

enum { V_SA, V_SQ, V_SSK, V_SKU, V_SDQ, V_SDR, VALUES };

/* Moments about the mean: drawn blocks have another one than the map. */
static void values_of(const double sum[BLOCK_SUMS], double value[VALUES]) {
  double n = sum[B_N], m = sum[B_1] / n, m2 = sum[B_2] / n, m3 = sum[B_3] / n, m4 = sum[B_4] / n;
  double c2    = m2 - m * m;
  value[V_SA]  = sum[B_ABS] / n;
  value[V_SQ]  = sqrt(c2);
  value[V_SSK] = (m3 - 3 * m * m2 + 2 * m * m * m) / pow(c2, 1.5);
  value[V_SKU] = (m4 - 4 * m * m3 + 6 * m * m * m2 - 3 * m * m * m * m) / (c2 * c2);
  value[V_SDQ] = sum[B_CELLS] > 0 ? sqrt(sum[B_SLOPE2] / sum[B_CELLS]) : (double)NAN;
  value[V_SDR] = sum[B_CELLS] > 0 ? sum[B_AREA] / sum[B_CELLS] : (double)NAN;
}

static void centre(struct surface_map *map, struct surface_texture *t) {
  double sum = 0;
  t->Sp = t->Sv = -INFINITY;
  for (int64_t i = 0; i < map->ny * map->nx; i++)
    if (!isnan(map->z[i])) sum += (double)map->z[i], t->points++;
  double mean = sum / (double)t->points;
  for (int64_t i = 0; i < map->ny * map->nx; i++) {
    map->z[i] = (float)((double)map->z[i] - mean);
    if (isnan(map->z[i])) continue;
    t->Sp = fmax(t->Sp, (double)map->z[i]);
    t->Sv = fmax(t->Sv, -(double)map->z[i]);
  }
  t->Sz = t->Sp + t->Sv;
}

/* ---- autocorrelation ------------------------------------------------------------------------------------------ */

struct lags {
  int64_t ry, rx; /* reach in columns */
  double *share;  /* over that at no lag; [2 ry + 1][2 rx + 1] */
};

static enum status correlate(const struct surface_map *map, const struct lags *l, double *z,
                             double *mask, double *pairs) {
  int64_t n = map->ny * map->nx, lags = (2 * l->ry + 1) * (2 * l->rx + 1);
  for (int64_t i = 0; i < n; i++) {
    mask[i] = !isnan(map->z[i]);
    z[i]    = mask[i] > 0 ? (double)map->z[i] : 0;
  }
  TRY(numeric_correlate(z, z, map->ny, map->nx, l->ry, l->rx, l->share));
  TRY(numeric_correlate(mask, mask, map->ny, map->nx, l->ry, l->rx, pairs));
  double whole = l->share[lags / 2] / pairs[lags / 2];
  for (int64_t i = 0; i < lags; i++)
    l->share[i] = pairs[i] > 0.5 && whole > 0 ? l->share[i] / pairs[i] / whole : 0;
  return STATUS_OK;
}

static enum status lags_make(const struct surface_map *map, struct lags *l) {
  double *all = NULL;
  l->ry       = map->ny / 2 < LAG_MOST ? map->ny / 2 : LAG_MOST;
  l->rx       = map->nx / 2 < LAG_MOST ? map->nx / 2 : LAG_MOST;
  int64_t n = map->ny * map->nx, lags = (2 * l->ry + 1) * (2 * l->rx + 1);
  TRY(memory_make(lags, sizeof *l->share, "an autocorrelation", &l->share));
  enum status status = memory_make(2 * n + lags, sizeof *all, "an autocorrelation", &all);
  if (status == STATUS_OK) status = correlate(map, l, all, all + n, all + 2 * n);
  memory_free(all);
  return status;
}

/* Linear between lags; NaN beyond. */
static double share_at(const struct lags *l, double dy, double dx) {
  double y = dy + (double)l->ry, x = dx + (double)l->rx;
  int64_t iy = (int64_t)floor(y), ix = (int64_t)floor(x), wide = 2 * l->rx + 1;
  if (iy < 0 || ix < 0 || iy + 1 > 2 * l->ry || ix + 1 > 2 * l->rx) return (double)NAN;
  const double *at = l->share + iy * wide + ix;
  double fy = y - (double)iy, fx = x - (double)ix;
  return (1 - fy) * ((1 - fx) * at[0] + fx * at[1]) +
         fy * ((1 - fx) * at[wide] + fx * at[wide + 1]);
}

/* Distance along a ray at which the autocorrelation falls to 0.2; NaN when it does not within the lags. */
static double fall_along(const struct surface_map *map, const struct lags *l, double angle) {
  double step = 0.25 * fmin(map->step_um[0], map->step_um[1]), before = 1;
  for (int64_t i = 1;; i++) {
    double r   = (double)i * step;
    double now = share_at(l, r * sin(angle) / map->step_um[0], r * cos(angle) / map->step_um[1]);
    if (isnan(now)) return (double)NAN;
    if (now < fall) return r - step * (fall - now) / (before - now);
    before = now;
  }
}

static enum status find_lengths(const struct surface_map *map, struct surface_texture *t) {
  struct lags l      = {0, 0, NULL};
  double most        = 0;
  enum status status = lags_make(map, &l);
  t->Sal = t->Str = (double)NAN;
  for (int k = 0; k < 180 && status == STATUS_OK; k++) {
    double r = fall_along(map, &l, k / DEG_PER_RAD);
    most     = isnan(r) || isnan(most) ? (double)NAN : fmax(most, r);
    if (!isnan(r) && !(r >= t->Sal)) t->Sal = r;
  }
  if (status == STATUS_OK && most > 0) t->Str = t->Sal / most;
  memory_free(l.share);
  return status;
}

/* ---- bearing curve ---------------------------------------------------------------------------------------------- */

static int descending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x < y) - (x > y);
}

enum { FINE = 1001, WINDOW = 400 }; /* steps of 0.1 %; 40 % of them */

/* Height of the line of least squares through the 40 % of least fall, at shares 0 and 1. */
static void equivalent_line(const double z[FINE], double *top, double *bottom) {
  int best = 0;
  for (int i = 1; i + WINDOW < FINE; i++)
    if (z[i] - z[i + WINDOW] < z[best] - z[best + WINDOW]) best = i;
  double n = WINDOW + 1, s = 0, ss = 0, h = 0, sh = 0;
  for (int i = best; i <= best + WINDOW; i++) {
    double p = i / (FINE - 1.0);
    s += p, ss += p * p, h += z[i], sh += p * z[i];
  }
  double slope = (n * sh - s * h) / (n * ss - s * s), at = (h - slope * s) / n;
  *top    = at;
  *bottom = at + slope;
}

static void find_core(const double z[FINE], struct surface_texture *t) {
  double top, bottom, above = 0, below = 0;
  equivalent_line(z, &top, &bottom);
  int first = 0, last = FINE - 1;
  while (first < FINE - 1 && z[first] > top) above += (z[first++] - top) / (FINE - 1.0);
  while (last > 0 && z[last] < bottom) below += (bottom - z[last--]) / (FINE - 1.0);
  t->Smr1 = first / (FINE - 1.0);
  t->Smr2 = last / (FINE - 1.0);
  t->Sk   = top - bottom;
  t->Spk  = first ? 2 * above / t->Smr1 : 0;
  t->Svk  = last < FINE - 1 ? 2 * below / (1 - t->Smr2) : 0;
}

static enum status find_bearing(const struct surface_map *map, struct surface_texture *t) {
  double fine[FINE];
  float *sorted;
  int64_t n = 0;
  TRY(memory_make_raw(t->points, sizeof *sorted, "a bearing curve", &sorted));
  for (int64_t i = 0; i < map->ny * map->nx; i++)
    if (!isnan(map->z[i])) sorted[n++] = map->z[i];
  if (n) qsort(sorted, (size_t)n, sizeof *sorted, descending);
  for (int i = 0; i < FINE; i++) fine[i] = (double)sorted[(n - 1) * i / (FINE - 1)];
  for (int i = 0; i < SURFACE_BEARING; i++) t->bearing[i] = fine[i * 10];
  find_core(fine, t);
  memory_free(sorted);
  return STATUS_OK;
}

/* ---- blocks -------------------------------------------------------------------------------------------------------- */

struct blocks {
  int64_t n, wide, side;
  double (*sum)[BLOCK_SUMS];
};

static enum status blocks_make(const struct surface_map *map, int64_t side, struct blocks *b) {
  int64_t high = (map->ny + side - 1) / side;
  b->side      = side;
  b->wide      = (map->nx + side - 1) / side;
  b->n         = high * b->wide;
  TRY(memory_make(b->n, sizeof *b->sum, "blocks of a map", &b->sum));
  for (int64_t y = 0; y < map->ny; y++)
    for (int64_t x = 0; x < map->nx; x++) {
      float z = map->z[y * map->nx + x];
      if (isnan(z)) continue;
      double *sum = b->sum[y / side * b->wide + x / side];
      add_height((double)z, sum);
      add_cell(map, y, x, sum);
    }
  return STATUS_OK;
}

static void blocks_total(const struct blocks *b, double sum[BLOCK_SUMS]) {
  memset(sum, 0, BLOCK_SUMS * sizeof *sum);
  for (int64_t i = 0; i < b->n; i++)
    for (int k = 0; k < BLOCK_SUMS; k++) sum[k] += b->sum[i][k];
}

/* Blocks without a height do not count. */
static void drop_empty(struct blocks *b) {
  int64_t kept = 0;
  for (int64_t i = 0; i < b->n; i++)
    if (b->sum[i][B_N] > 0) memmove(b->sum[kept++], b->sum[i], sizeof *b->sum);
  b->n = kept;
}

static void bootstrap(const struct blocks *b, double factor, double sigma[VALUES]) {
  enum { DRAWS = 400, STREAM = 71 };
  double mean[VALUES] = {0}, square[VALUES] = {0}, sum[BLOCK_SUMS], value[VALUES];
  for (uint64_t d = 0; d < DRAWS; d++) {
    memset(sum, 0, sizeof sum);
    for (uint64_t i = 0; i < (uint64_t)b->n; i++) {
      double u        = random_uniform(1, STREAM, d * (uint64_t)b->n + i);
      const double *s = b->sum[(int64_t)(u * (double)b->n)];
      for (int k = 0; k < BLOCK_SUMS; k++) sum[k] += s[k];
    }
    values_of(sum, value);
    for (int k = 0; k < VALUES; k++) mean[k] += value[k], square[k] += value[k] * value[k];
  }
  for (int k = 0; k < VALUES; k++) {
    double m = mean[k] / DRAWS;
    sigma[k] = b->n < 4 ? (double)NAN : factor * sqrt(fmax(square[k] / DRAWS - m * m, 0));
  }
}

static enum status find_sigmas(const struct surface_map *map, struct surface_texture *t) {
  struct blocks b = {0, 0, 0, NULL};
  double sum[BLOCK_SUMS], value[VALUES], sigma[VALUES];
  TRY(blocks_make(map, t->block, &b));
  blocks_total(&b, sum);
  values_of(sum, value);
  t->Sa = value[V_SA], t->Sq = value[V_SQ], t->Ssk = value[V_SSK], t->Sku = value[V_SKU];
  t->Sdq = value[V_SDQ], t->Sdr = value[V_SDR];
  drop_empty(&b);
  double step   = sqrt(map->step_um[0] * map->step_um[1]);
  double joined = isnan(t->Sal) ? 0 : fmin(0.32 * t->Sal / ((double)t->block * step), 0.5);
  double factor = sqrt((double)b.n / fmax((double)b.n - 1, 1)) / (1 - joined);
  bootstrap(&b, factor, sigma);
  t->Sa_sigma = sigma[V_SA], t->Sq_sigma = sigma[V_SQ], t->Ssk_sigma = sigma[V_SSK];
  t->Sku_sigma = sigma[V_SKU], t->Sdq_sigma = sigma[V_SDQ], t->Sdr_sigma = sigma[V_SDR];
  memory_free(b.sum);
  return STATUS_OK;
}

enum status surface_texture_of(struct surface_map *map, int64_t block, struct surface_texture *t) {
  memset(t, 0, sizeof *t);
  centre(map, t);
  if (t->points == 0) return FAIL(STATUS_INPUT, "no column of the field has a surface");
  TRY(find_lengths(map, t));
  TRY(find_bearing(map, t));
  double step = sqrt(map->step_um[0] * map->step_um[1]);
  int64_t own = isnan(t->Sal) ? 24 : (int64_t)ceil(4 * t->Sal / step);
  t->block    = block > 0 ? block : own < 8 ? 8 : own;
  return find_sigmas(map, t);
}
