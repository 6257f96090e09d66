/* Lanczos' kernel sinc(d) sinc(d / 3), |d| < 3. Weights come from a table of a voxel's 1024 parts, interpolated: errors
 * are below 1e-6 of the contrast. */
#include "voxel_resample_private.h"
#include <math.h>

enum { TAPS = 6, PARTS = 1024 };

static double lanczos(double d) {
  if (fabs(d) < 1e-9) return 1;
  return fabs(d) < 3 ? 3 * sin(PI * d) * sin(PI * d / 3) / (PI * PI * d * d) : 0;
}

static void weights_of(double t, float w[TAPS]) {
  double sum = 0, raw[TAPS];
  for (int k = 0; k < TAPS; k++) sum += raw[k] = lanczos(t + 2 - k);
  for (int k = 0; k < TAPS; k++) w[k] = (float)(raw[k] / sum);
}

/* weight[part][tap], made once. */
static const float (*table(void))[TAPS] {
  static float weight[PARTS + 2][TAPS];
  static bool made;
  for (int i = 0; i < PARTS + 2 && !made; i++) weights_of((double)i / PARTS, weight[i]);
  made = true;
  return (const float(*)[TAPS])weight;
}

static int64_t weights_at(const float (*weight)[TAPS], double at, float w[TAPS]) {
  double low = floor(at), place = (at - low) * PARTS;
  int part   = (int)place;
  float rest = (float)(place - part);
  for (int k = 0; k < TAPS; k++)
    w[k] = weight[part][k] + rest * (weight[part + 1][k] - weight[part][k]);
  return (int64_t)low;
}

static int64_t nearest(int64_t at, int64_t low, int64_t high) {
  return at < low ? low : at > high ? high : at;
}

static float value_of(const struct resample_source *s, const int64_t at[3], float w[3][TAPS]) {
  int64_t x[TAPS];
  float sum = 0;
  for (int i = 0; i < TAPS; i++) x[i] = nearest(at[2] + i - 2, s->low[2], s->high[2]);
  for (int k = 0; k < TAPS; k++) {
    const float *slice =
        s->data + (nearest(at[0] + k - 2, s->low[0], s->high[0]) - s->low[0]) * s->row[0];
    float plane = 0;
    for (int j = 0; j < TAPS; j++) {
      const float *row = slice + nearest(at[1] + j - 2, s->low[1], s->high[1]) * s->row[1];
      float line       = 0;
      for (int i = 0; i < TAPS; i++) line += w[2][i] * row[x[i]];
      plane += w[1][j] * line;
    }
    sum += w[0][k] * plane;
  }
  return sum;
}

void ISA_NAME(resample_lanczos)(const struct resample_source *s, const double start[3],
                                const double step[3], int64_t n, float *to) {
  const float(*weight)[TAPS] = table();
  for (int64_t x = 0; x < n; x++) {
    float w[3][TAPS];
    int64_t at[3];
    for (int a = 0; a < 3; a++) at[a] = weights_at(weight, start[a] + (double)x * step[a], w[a]);
    to[x] = value_of(s, at, w);
  }
}
