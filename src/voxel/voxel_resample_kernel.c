/* Cubic convolution (Keys 1981, a = -1/2): four taps per axis, exact for polynomials of second degree. */
#include "voxel_resample_private.h"
#include <math.h>

typedef float taps __attribute__((vector_size(16), aligned(4)));

/* Weights of the taps -1, 0, 1, 2 about floor(at), and the floor. */
static int64_t weights_at(double at, float w[4]) {
  double low = floor(at);
  float t = (float)(at - low), t2 = t * t, t3 = t2 * t;
  w[0] = 0.5F * (-t3 + 2 * t2 - t);
  w[1] = 0.5F * (3 * t3 - 5 * t2 + 2);
  w[2] = 0.5F * (-3 * t3 + 4 * t2 + t);
  w[3] = 0.5F * (t3 - t2);
  return (int64_t)low;
}

static int64_t nearest(int64_t at, int64_t low, int64_t high) {
  return at < low ? low : at > high ? high : at;
}

/* One value where taps may lie beyond the source. */
static float edge_value(const struct resample_source *s, const int64_t at[3], float w[3][4]) {
  float sum = 0;
  for (int k = 0; k < 4; k++)
    for (int j = 0; j < 4; j++) {
      const float *row = s->data +
                         (nearest(at[0] + k - 1, s->low[0], s->high[0]) - s->low[0]) * s->row[0] +
                         nearest(at[1] + j - 1, s->low[1], s->high[1]) * s->row[1];
      float line = 0;
      for (int i = 0; i < 4; i++)
        line += w[2][i] * row[nearest(at[2] + i - 1, s->low[2], s->high[2])];
      sum += w[0][k] * w[1][j] * line;
    }
  return sum;
}

static float inner_value(const struct resample_source *s, const int64_t at[3], float w[3][4]) {
  const float *corner =
      s->data + (at[0] - 1 - s->low[0]) * s->row[0] + (at[1] - 1) * s->row[1] + at[2] - 1;
  taps sum = {0, 0, 0, 0};
  for (int k = 0; k < 4; k++) {
    const float *row = corner + k * s->row[0];
    taps plane       = {0, 0, 0, 0};
    for (int j = 0; j < 4; j++)
      plane += w[1][j] * *(const taps *)(const void *)(row + j * s->row[1]);
    sum += w[0][k] * plane;
  }
  return sum[0] * w[2][0] + sum[1] * w[2][1] + sum[2] * w[2][2] + sum[3] * w[2][3];
}

void ISA_NAME(resample_turned)(const struct resample_source *s, const double start[3],
                               const double step[3], int64_t n, float *to) {
  for (int64_t x = 0; x < n; x++) {
    float w[3][4];
    int64_t at[3];
    bool inner = true;
    for (int a = 0; a < 3; a++) {
      at[a] = weights_at(start[a] + (double)x * step[a], w[a]);
      inner &= at[a] > s->low[a] && at[a] + 2 <= s->high[a];
    }
    to[x] = inner ? inner_value(s, at, w) : edge_value(s, at, w);
  }
}

void ISA_NAME(resample_shifted)(const struct resample_source *s, const double start[3], int64_t n,
                                float *line, float *to) {
  float w[3][4];
  int64_t at[3];
  for (int a = 0; a < 3; a++) at[a] = weights_at(start[a], w[a]);
  int64_t first = at[2] - 1, wide = s->high[2] - s->low[2] + 1;
  for (int64_t i = 0; i < n + 3; i++) line[i] = 0;
  for (int k = 0; k < 4; k++)
    for (int j = 0; j < 4; j++) {
      const float *row = s->data +
                         (nearest(at[0] + k - 1, s->low[0], s->high[0]) - s->low[0]) * s->row[0] +
                         nearest(at[1] + j - 1, s->low[1], s->high[1]) * s->row[1];
      float weight = w[0][k] * w[1][j];
      int64_t left = first < 0 ? -first : 0, right = wide - first;
      if (left > n + 3) left = n + 3;
      if (right > n + 3) right = n + 3;
      if (right < left) right = left;
      for (int64_t i = 0; i < left; i++) line[i] += weight * row[0];
      for (int64_t i = left; i < right; i++) line[i] += weight * row[first + i];
      for (int64_t i = right; i < n + 3; i++) line[i] += weight * row[s->high[2]];
    }
  for (int64_t x = 0; x < n; x++)
    to[x] =
        w[2][0] * line[x] + w[2][1] * line[x + 1] + w[2][2] * line[x + 2] + w[2][3] * line[x + 3];
}
