/* From detector values to attenuation. */
#include "recon_prepare.h"
#include "recon_private.h"
#include <math.h>
#include <string.h>

/* ---- repairs --------------------------------------------------------------------------------------------------- */

/* Fills what is NaN in one column from its good neighbours along the angle; all NaN: 0. */
static void repair_column(float *value, int64_t angles, int64_t stride) {
  for (int64_t a = 0; a < angles; a++) {
    if (!isnan(value[a * stride])) continue;
    int64_t end = a;
    while (end < angles && isnan(value[end * stride])) end++;
    float before = a ? value[(a - 1) * stride] : NAN,
          after  = end < angles ? value[end * stride] : NAN;
    float mean   = isnan(before) ? after : isnan(after) ? before : 0.5f * (before + after);
    for (; a < end; a++) value[a * stride] = isnan(mean) ? 0 : mean;
  }
}

/* A line's bad columns become lines between the good ones; NaN among these stays. */
static void bridge(float *line, int64_t columns, const bool *bad) {
  for (int64_t c = 0; c < columns; c++) {
    if (!bad[c]) continue;
    int64_t end = c;
    while (end < columns && bad[end]) end++;
    float before = c               ? line[c - 1]
                   : end < columns ? line[end]
                                   : NAN,
          after  = end < columns ? line[end] : before;
    for (int64_t k = c; k < end; k++)
      line[k] = before + (after - before) * (float)(k - c + 1) / (float)(end - c + 1);
    c = end;
  }
}

/* Pixels that mostly have no logarithm are as bad as those that do not respond; all bad: none is. */
static void add_mute(const float *value, int64_t angles, int64_t columns, bool *bad) {
  int64_t all = 0;
  for (int64_t c = 0; c < columns; c++) {
    int64_t mute = 0;
    for (int64_t a = 0; a < angles && !bad[c]; a++) mute += isnan(value[a * columns + c]);
    if (2 * mute > angles) bad[c] = true;
    all += bad[c];
  }
  if (all == columns) memset(bad, 0, (size_t)columns * sizeof *bad);
}

static void repair(float *value, int64_t angles, int64_t columns, bool *bad) {
  if (bad) {
    add_mute(value, angles, columns, bad);
    for (int64_t a = 0; a < angles; a++) bridge(value + a * columns, columns, bad);
  }
  for (int64_t i = 0; i < angles * columns; i++)
    if (isnan(value[i])) repair_column(value + i % columns, angles, columns);
}

static float median_of(float *value, int n) {
  for (int i = 1; i < n; i++)
    for (int k = i; k > 0 && value[k] < value[k - 1]; k--) {
      float swap   = value[k];
      value[k]     = value[k - 1];
      value[k - 1] = swap;
    }
  return value[n / 2];
}

enum { AROUND = 4 };

void recon_find_pixels(const float *flat, const float *dark, int64_t columns, bool *bad) {
  for (int64_t c = 0; c < columns; c++) {
    float span[2 * AROUND + 1], below[2 * AROUND + 1], mine = flat[c] - dark[c];
    int n = 0;
    for (int64_t k = c - AROUND; k <= c + AROUND; k++)
      if (k >= 0 && k < columns && isfinite(flat[k]) && isfinite(dark[k]))
        span[n] = flat[k] - dark[k], below[n++] = dark[k];
    float usual = n ? median_of(span, n) : 0, usual_dark = n ? median_of(below, n) : 0;
    bad[c] = !isfinite(mine) || mine <= 0.1f * usual || mine > 10 * usual ||
             dark[c] - usual_dark > 0.5f * usual;
  }
}

/* ---- logarithms -------------------------------------------------------------------------------------------------- */

int64_t recon_attenuation(float *sinogram, int64_t rows, int64_t angles, int64_t columns,
                          const float *flat, const float *dark, bool counts) {
  int64_t bad = 0;
  for (int64_t r = 0; r < rows; r++) {
    float *value     = sinogram + r * angles * columns;
    int64_t bad_here = 0;
    for (int64_t a = 0; a < angles; a++)
      bad_here += ISA_PICK(recon_logarithm)(value + a * columns, columns,
                                            counts ? flat + r * columns : NULL, dark + r * columns);
    if (bad_here) repair(value, angles, columns, NULL);
    bad += bad_here;
  }
  return bad;
}

/* The flat of a projection's time: the group's own, or a mean in `mixed`. */
static const float *flat_of(const struct recon_light *light, int64_t angle, int64_t row,
                            int64_t rows, int64_t columns, float *mixed) {
  const float *here = light->flat + (light->group[angle] * rows + row) * columns;
  float share       = light->share[angle];
  if (!(share > 0)) return here;
  const float *next = here + rows * columns;
  for (int64_t c = 0; c < columns; c++) mixed[c] = here[c] + share * (next[c] - here[c]);
  return mixed;
}

/* Line integrals already: only what is not finite has to go. */
static int64_t mark_infinite(float *value, int64_t n) {
  int64_t bad = 0;
  for (int64_t i = 0; i < n; i++) {
    if (isfinite(value[i])) continue;
    value[i] = NAN;
    bad++;
  }
  return bad;
}

static int64_t logarithms(const struct recon_light *light, float *value, int64_t row, int64_t rows,
                          int64_t angles, int64_t columns, float *mixed) {
  int64_t bad = 0;
  if (light->kind == RAW_ATTENUATION) return mark_infinite(value, angles * columns);
  for (int64_t a = 0; a < angles; a++, value += columns) {
    const float *flat =
        light->kind == RAW_COUNTS ? flat_of(light, a, row, rows, columns, mixed) : NULL;
    bad += ISA_PICK(recon_logarithm)(value, columns, flat, light->dark + row * columns);
    float beam = light->beam ? (float)log(light->beam[a]) : 0;
    for (int64_t c = 0; c < columns && light->beam; c++) value[c] += beam;
  }
  return bad;
}

enum status recon_normalise(const struct recon_light *light, float *sinogram, int64_t rows,
                            int64_t angles, int64_t columns, struct recon_repairs *repairs) {
  float *mixed       = NULL;
  bool *bad          = NULL;
  enum status status = memory_make(columns, sizeof *mixed, "a flat", &mixed);
  if (status == STATUS_OK) status = memory_make(columns, sizeof *bad, "bad pixels", &bad);
  for (int64_t r = 0; r < rows && status == STATUS_OK; r++) {
    float *value   = sinogram + r * angles * columns;
    int64_t values = logarithms(light, value, r, rows, angles, columns, mixed), pixels = 0;
    memset(bad, 0, (size_t)columns * sizeof *bad);
    if (light->find_pixels && light->kind == RAW_COUNTS)
      recon_find_pixels(light->flat + r * columns, light->dark + r * columns, columns, bad);
    for (int64_t c = 0; c < columns; c++) pixels += bad[c];
    if (values || pixels) repair(value, angles, columns, light->find_pixels ? bad : NULL);
    repairs->values += values;
    repairs->pixels += pixels;
  }
  memory_free(mixed);
  memory_free(bad);
  return status;
}

void recon_air(float *sinogram, int64_t rows, int64_t angles, int64_t columns, int64_t first,
               int64_t n) {
  for (int64_t i = 0; i < rows * angles; i++, sinogram += columns) {
    double sum = 0;
    for (int64_t c = first; c < first + n; c++) sum += (double)sinogram[c];
    float mean = (float)(sum / (double)n);
    for (int64_t c = 0; c < columns; c++) sinogram[c] -= mean;
  }
}
