/* Stripes that are found first and mended where they are (Vo, Atwood and Drakopoulos, Optics Express 26, 28396, 2018,
 * algorithms 4 to 6): columns whose level (large) or roughness along the angle (dead, fluctuating) leaves what a
 * median over neighbouring columns says. What is "off" is told from the list of all columns' deviations, sorted: its
 * middle half makes a line whose rise is the natural spread. */
#include "recon_prepare.h"
#include "recon_private.h"
#include "recon_rings.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRIM 0.1 /* of the sorted values of a column, left out at both ends of its level */

enum { SMOOTH_HALF = 5 }; /* angles to both sides that roughness is measured against */

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Median over `width` neighbours, the ends reflected; work[width]. */
static void median_along(const float *value, int64_t n, int64_t width, float *work, float *out) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t k = 0; k < width; k++) {
      int64_t at = i + k - width / 2;
      while (at < 0 || at >= n) at = at < 0 ? -1 - at : 2 * n - 1 - at;
      work[k] = value[at];
    }
    qsort(work, (size_t)width, sizeof *work, ascending);
    out[i] = work[width / 2];
  }
}

/* off[i] is a column's deviation; more than `sd` times the spread beyond the line of the middle half: a stripe, and
 * with it the column to each side, where the camera's blur carries it. */
static void find_stripes(const float *off, int64_t n, double sd, float *sorted, bool *stripe) {
  memcpy(sorted, off, (size_t)n * sizeof *sorted);
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  int64_t from = n / 4, to = n - n / 4;
  double m = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (int64_t i = from; i < to; i++) {
    double v = (double)sorted[i], t = (double)i;
    m++, x += t, y += v, xx += t * t, xy += t * v;
  }
  double slope = (xy - x * y / m) / (xx - x * x / m), low = (y - slope * x) / m,
         high = low + slope * (double)(n - 1), spread = fmax(high - low, 1e-7);
  bool any = (double)sorted[n - 1] - high > sd * spread || low - (double)sorted[0] > sd * spread;
  memset(stripe, 0, (size_t)n * sizeof *stripe);
  for (int64_t i = 0; i < n && any; i++) {
    double v = (double)off[i];
    if (v <= high + 0.5 * sd * spread && v >= low - 0.5 * sd * spread) continue;
    for (int64_t k = i ? i - 1 : 0; k <= i + 1 && k < n; k++) stripe[k] = true;
  }
}

/* From the nearest good columns to both sides. */
static void interpolate(float *sinogram, int64_t angles, int64_t columns, const bool *stripe) {
  for (int64_t c = 0; c < columns; c++) {
    if (!stripe[c]) continue;
    int64_t end = c;
    while (end < columns && stripe[end]) end++;
    int64_t before = c - 1, after = end < columns ? end : before;
    if (before < 0) before = after;
    for (int64_t a = 0; a < angles && before >= 0; a++) {
      float *row = sinogram + a * columns, from = row[before], to = row[after];
      for (int64_t k = c; k < end; k++)
        row[k] = after == before
                     ? from
                     : from + (to - from) * (float)(k - before) / (float)(after - before);
    }
    c = end;
  }
}

/* ---- levels ---------------------------------------------------------------------------------------------------- */

/* Moves the k smallest to the front. */
static void select_smallest(float *value, int64_t n, int64_t k) {
  int64_t low = 0, high = n - 1;
  while (low < high) {
    float pivot = value[(low + high) / 2];
    int64_t i = low, j = high;
    while (i <= j) {
      while (value[i] < pivot) i++;
      while (value[j] > pivot) j--;
      if (i > j) break;
      float swap = value[i];
      value[i++] = value[j], value[j--] = swap;
    }
    if (k <= j)
      high = j;
    else if (k >= i)
      low = i;
    else
      return;
  }
}

/* Mean of a column's values without the least and the most. */
static double level_of(const float *sinogram, int64_t angles, int64_t columns, int64_t c,
                       float *work) {
  int64_t drop = (int64_t)(TRIM * (double)angles);
  for (int64_t a = 0; a < angles; a++) work[a] = sinogram[a * columns + c];
  if (drop > 0) {
    select_smallest(work, angles, drop);
    select_smallest(work + drop, angles - drop, angles - 2 * drop);
  }
  double sum = 0;
  for (int64_t a = drop; a < angles - drop; a++) sum += (double)work[a];
  return sum / (double)(angles - 2 * drop);
}

struct levels {
  float *sorted, *smooth; /* the sinogram as the median of sorted columns has it; work */
  float *off, *work;
  bool *stripe;
};

static void levels_free(struct levels *l) {
  memory_free(l->smooth);
  memory_free(l->off);
  memory_free(l->work);
  memory_free(l->stripe);
}

/* Each column against the median of its neighbours at equal rank. */
static enum status levels_make(const struct recon_rings *rings, const float *sinogram,
                               int64_t angles, int64_t columns, struct levels *l) {
  memset(l, 0, sizeof *l);
  TRY(memory_make_raw(angles * columns, sizeof *l->smooth, "a smooth sinogram", &l->smooth));
  TRY(memory_make(columns, sizeof *l->off, "levels of columns", &l->off));
  TRY(memory_make(angles + columns, sizeof *l->work, "levels of columns", &l->work));
  TRY(memory_make(columns, sizeof *l->stripe, "levels of columns", &l->stripe));
  memcpy(l->smooth, sinogram, (size_t)(angles * columns) * sizeof *sinogram);
  TRY(recon_unstripe(l->smooth, angles, columns, rings->wide));
  for (int64_t c = 0; c < columns; c++)
    l->off[c] = (float)(level_of(sinogram, angles, columns, c, l->work) -
                        level_of(l->smooth, angles, columns, c, l->work));
  find_stripes(l->off, columns, rings->sd, l->work, l->stripe);
  return STATUS_OK;
}

/* What a stripe takes of the smooth sinogram stands at the place where its own values stand in their order. */
enum status recon_rings_large(const struct recon_rings *rings, float *sinogram, int64_t angles,
                              int64_t columns) {
  struct levels l;
  enum status status = levels_make(rings, sinogram, angles, columns, &l);
  for (int64_t a = 0; a < angles && status == STATUS_OK; a++)
    for (int64_t c = 0; c < columns; c++)
      if (l.stripe[c]) sinogram[a * columns + c] = l.smooth[a * columns + c];
  levels_free(&l);
  return status;
}

enum status recon_rings_interpolate(const struct recon_rings *rings, float *sinogram,
                                    int64_t angles, int64_t columns) {
  struct levels l;
  enum status status = levels_make(rings, sinogram, angles, columns, &l);
  if (status == STATUS_OK) interpolate(sinogram, angles, columns, l.stripe);
  levels_free(&l);
  return status;
}

/* ---- roughness ---------------------------------------------------------------------------------------------------- */

enum status recon_rings_dead(const struct recon_rings *rings, float *sinogram, int64_t angles,
                             int64_t columns) {
  float *list        = NULL; /* roughness, its median, work */
  bool *stripe       = NULL;
  int64_t width      = rings->wide < columns ? rings->wide : columns;
  enum status status = memory_make(3 * columns + width, sizeof *list, "roughness", &list);
  if (status == STATUS_OK) status = memory_make(columns, sizeof *stripe, "roughness", &stripe);
  if (status == STATUS_OK) {
    float *median = list + columns, *work = median + columns;
    ISA_PICK(recon_rings_roughness)(sinogram, angles, columns, SMOOTH_HALF, work, list);
    median_along(list, columns, width, work, median);
    for (int64_t c = 0; c < columns; c++) list[c] = median[c] > 0 ? list[c] / median[c] : 1;
    find_stripes(list, columns, rings->sd, median, stripe);
    for (int64_t c = 0; c < 2 && c < columns; c++) stripe[c] = stripe[columns - 1 - c] = false;
    interpolate(sinogram, angles, columns, stripe);
  }
  memory_free(list);
  memory_free(stripe);
  return status;
}

/* ---- together --------------------------------------------------------------------------------------------------- */

/* Weights of the local quadratic's value in its middle, over 2 half + 1 columns (Savitzky and Golay 1964). */
static void make_quadratic(int64_t half, float *tap) {
  double n = (double)half, m = 2 * n + 1;
  for (int64_t k = -half; k <= half; k++)
    tap[k + half] = (float)(3 * (3 * n * n + 3 * n - 1 - 5 * (double)(k * k)) /
                            (m * (2 * n - 1) * (2 * n + 3)));
}

/* Rows less their local quadratics: object and slopes go, stripes stay. rest = sinogram - trend. */
static enum status take_trend(const float *sinogram, int64_t angles, int64_t columns, int64_t wide,
                              float *rest) {
  int64_t half = wide / 2, length = columns + 2 * half;
  float *tap, *line;
  TRY(memory_make(2 * half + 1 + length, sizeof *tap, "a row", &tap));
  line = tap + 2 * half + 1;
  make_quadratic(half, tap);
  for (int64_t a = 0; a < angles; a++, sinogram += columns, rest += columns) {
    for (int64_t i = 0; i < length; i++) {
      int64_t at = i - half;
      while (at < 0 || at >= columns) at = at < 0 ? -1 - at : 2 * columns - 1 - at;
      line[i] = sinogram[at];
    }
    ISA_PICK(recon_convolve)(line, tap, 2 * half + 1, columns, rest);
    for (int64_t c = 0; c < columns; c++) rest[c] = sinogram[c] - rest[c];
  }
  memory_free(tap);
  return STATUS_OK;
}

enum { PASSES = 2 }; /* a part of a wide stripe goes with the trend at first */

/* Dead and fluctuating ones first: they would spoil the medians of the others. These see the rows without their
 * trend: where an object rises by more from column to column than a stripe is high, a median could not tell it. */
enum status recon_rings_all(const struct recon_rings *rings, float *sinogram, int64_t angles,
                            int64_t columns) {
  float *rest;
  int64_t n = angles * columns;
  TRY(recon_rings_dead(rings, sinogram, angles, columns));
  TRY(memory_make_raw(n, sizeof *rest, "a sinogram", &rest));
  enum status status = STATUS_OK;
  for (int pass = 0; pass < PASSES && status == STATUS_OK; pass++) {
    status = take_trend(sinogram, angles, columns, rings->wide, rest);
    for (int64_t i = 0; i < n && status == STATUS_OK; i++) sinogram[i] -= rest[i];

    if (status == STATUS_OK) status = recon_rings_large(rings, rest, angles, columns);
    if (status == STATUS_OK) status = recon_rings_sort(rings, rest, angles, columns);
    for (int64_t i = 0; i < n && status == STATUS_OK; i++) sinogram[i] += rest[i];
  }
  memory_free(rest);
  return status;
}
