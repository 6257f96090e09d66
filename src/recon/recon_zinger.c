/* Zingers: rays that hit the camera. A value is one when it leaves the range of its neighbours, which the edge of an
 * object does not, by many deviations of the noise; this is taken from second differences along the angle. */
#include "recon_prepare.h"
#include "recon_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST 0.01 /* attenuation: less is no zinger */

enum { SAMPLES = 4096, NEIGHBOURS = 4 };
static const int64_t reach[NEIGHBOURS] = {-2, -1, 1, 2};

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* 1.4826 times the median of |v - (before + after) / 2|, which has 3/2 of the noise's variance. */
static double noise_of(const float *value, int64_t angles, int64_t columns) {
  float sample[SAMPLES];
  int64_t all = (angles - 2) * columns, n = all < SAMPLES ? all : SAMPLES;
  for (int64_t i = 0; i < n; i++) {
    const float *v = value + columns + (int64_t)((double)all * (double)i / (double)n);
    sample[i]      = fabsf(v[0] - 0.5f * (v[-columns] + v[columns]));
  }
  qsort(sample, (size_t)n, sizeof *sample, ascending);
  return n > 0 ? 1.4826 / sqrt(1.5) * (double)sample[n / 2] : 0;
}

static int64_t inside(int64_t at, int64_t n) {
  return at < 0 ? -at < n ? -at : 0 : at >= n ? 2 * n - 2 - at > 0 ? 2 * n - 2 - at : n - 1 : at;
}

/* How far each value of a line sticks out, along the angle and along the row. */
static void along_angle(const float *value, int64_t a, int64_t angles, int64_t columns,
                        float *out) {
  const float *neighbour[NEIGHBOURS];
  for (int k = 0; k < NEIGHBOURS; k++)
    neighbour[k] = value + inside(a + reach[k], angles) * columns;
  ISA_PICK(recon_stick_out)(neighbour, value + a * columns, columns, out);
  if (a == 0 || a == angles - 1)
    memset(out, 0, (size_t)columns * sizeof *out); /* an edge, perhaps */
}

static void along_row(const float *line, int64_t columns, float *out) {
  const float *neighbour[NEIGHBOURS];
  for (int k = 0; k < NEIGHBOURS; k++) neighbour[k] = line + 2 + reach[k];
  ISA_PICK(recon_stick_out)(neighbour, line + 2, columns - 4, out + 2);
  for (int64_t c = 0; c < columns; c++) {
    if (c == 2 && columns > 4) c = columns - 2;
    float mine[NEIGHBOURS];
    for (int k = 0; k < NEIGHBOURS; k++)
      mine[k] = line[inside(c + reach[k], columns)], neighbour[k] = &mine[k];
    ISA_PICK(recon_stick_out)(neighbour, line + c, 1, out + c);
  }
  out[0] = out[columns - 1] = 0;
}

/* Of the neighbours of value `c` of an angle's `wide` values, which are lines of `columns`. */
static float mean_at(const float *value, int64_t a, int64_t c, int64_t angles, int64_t wide,
                     int64_t columns, bool row) {
  const float *mine = value + a * wide, *line = mine + (c - c % columns);
  const float *before = row ? line + inside(c % columns - 1, columns)
                            : value + inside(a - 1, angles) * wide + c,
              *after  = row ? line + inside(c % columns + 1, columns)
                            : value + inside(a + 1, angles) * wide + c;
  return 0.5f * (*before + *after);
}

struct cleaning {
  bool angle, row;
  float least;
  int64_t angles, lines, columns; /* of `before`: [angle][line][column] */
  const float *before;
  float *out; /* room of two angles */
};

/* Replaces what sticks out of one angle in `value`; how many, of the lines counted[0] to counted[1] - 1. */
static int64_t clean(const struct cleaning *k, int64_t a, const int64_t counted[2], float *value) {
  int64_t wide = k->lines * k->columns, found = 0;
  if (k->angle) along_angle(k->before, a, k->angles, wide, k->out);
  for (int64_t l = 0; l < k->lines && k->row; l++)
    along_row(k->before + (a * k->lines + l) * k->columns, k->columns,
              k->out + wide + l * k->columns);
  for (int64_t c = 0; c < wide; c++) {
    if ((k->angle && k->out[c] <= k->least) || (k->row && k->out[wide + c] <= k->least)) continue;
    value[c] = mean_at(k->before, a, c, k->angles, wide, k->columns, !k->angle);
    found += c / k->columns >= counted[0] && c / k->columns < counted[1];
  }
  return found;
}

static float least_of(double sd, double noise) { return (float)fmax(sd * noise, LEAST); }

enum status recon_zingers(const char *how, double sd, float *sinogram, int64_t rows, int64_t angles,
                          int64_t columns, int64_t *found) {
  const int64_t line[2] = {0, 1};
  struct cleaning k     = {
          strcmp(how, "row") != 0, strcmp(how, "angle") != 0, 0, angles, 1, columns, NULL, NULL};
  float *before;
  if (strcmp(how, "none") == 0 || angles < 5 || columns < 5) return STATUS_OK;
  TRY(memory_make_raw((angles + 2) * columns, sizeof *before, "a sinogram", &before));
  k.before = before;
  k.out    = before + angles * columns;
  for (int64_t r = 0; r < rows; r++) {
    float *value = sinogram + r * angles * columns;
    memcpy(before, value, (size_t)(angles * columns) * sizeof *value);
    k.least = least_of(sd, noise_of(before, angles, columns));
    for (int64_t a = 0; a < angles; a++) *found += clean(&k, a, line, value + a * columns);
  }
  memory_free(before);
  return STATUS_OK;
}

int64_t recon_zingers_in_projection(const char *how, double sd, const float *window, int64_t n,
                                    int64_t at, int64_t rows, int64_t columns,
                                    const int64_t counted[2], float *room, float *value) {
  const int64_t pixels = rows * columns, middle = at < 1 ? 1 : at > n - 2 ? n - 2 : at;
  memcpy(value, window + at * pixels, (size_t)pixels * sizeof *value);
  if (n < 3 || columns < 5) return 0;
  struct cleaning k = {
      strcmp(how, "row") != 0, strcmp(how, "angle") != 0, 0, n, rows, columns, window, room};
  k.least = least_of(sd, noise_of(window + (middle - 1) * pixels, 3, pixels));
  return clean(&k, at, counted, value);
}
