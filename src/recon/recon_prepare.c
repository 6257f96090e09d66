/* From detector values to attenuation, and stripes out of sinograms. */
#include "recon_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

int64_t recon_attenuation(float *sinogram, int64_t rows, int64_t angles, int64_t columns,
                          const float *flat, const float *dark, bool counts) {
  int64_t bad = 0;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      float *value     = sinogram + r * angles * columns + c;
      float low        = counts ? dark[r * columns + c] : 0,
            span       = counts ? flat[r * columns + c] - low : 1;
      int64_t bad_here = 0;
      for (int64_t a = 0; a < angles; a++) {
        float transmission = (value[a * columns] - low) / span;
        bool good          = transmission > 0 && transmission < 1e30f && span > 0;
        value[a * columns] = good ? -logf(transmission) : NAN;
        bad_here += !good;
      }
      if (bad_here) repair_column(value, angles, columns);
      bad += bad_here;
    }
  return bad;
}

struct sorted {
  float value;
  int32_t angle;
};

static int by_value(const void *a, const void *b) {
  const struct sorted *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return (x->angle > y->angle) - (x->angle < y->angle);
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Median over `width` columns about column c of one row of equal rank; the ends reflect. */
static float median_about(const struct sorted *row, int64_t columns, int64_t c, int64_t width,
                          float *window) {
  for (int64_t k = 0; k < width; k++) {
    int64_t at = c + k - width / 2;
    while (at < 0 || at >= columns) at = at < 0 ? -1 - at : 2 * columns - 1 - at;
    window[k] = row[at].value;
  }
  qsort(window, (size_t)width, sizeof *window, ascending);
  return window[width / 2];
}

enum status recon_unstripe(float *sinogram, int64_t angles, int64_t columns, int64_t width) {
  struct sorted *all = NULL, *column = NULL;
  float *window      = NULL;
  enum status status = memory_make_raw(angles * columns, sizeof *all, "a sorted sinogram", &all);
  if (status == STATUS_OK)
    status = memory_make_raw(angles, sizeof *column, "a sorted column", &column);
  if (status == STATUS_OK) status = memory_make_raw(width, sizeof *window, "a median", &window);
  for (int64_t c = 0; c < columns && status == STATUS_OK; c++) {
    for (int64_t a = 0; a < angles; a++)
      column[a] = (struct sorted){sinogram[a * columns + c], (int32_t)a};
    qsort(column, (size_t)angles, sizeof *column, by_value);
    for (int64_t a = 0; a < angles; a++) all[a * columns + c] = column[a];
  }
  for (int64_t a = 0; a < angles && status == STATUS_OK; a++)
    for (int64_t c = 0; c < columns; c++)
      sinogram[all[a * columns + c].angle * columns + c] =
          median_about(all + a * columns, columns, c, width, window);
  memory_free(all);
  memory_free(column);
  memory_free(window);
  return status;
}
