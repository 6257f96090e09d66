/* Rows of non-local means. */
#include "voxel_filter_private.h"

/* (a - b)^2 of three rows, the outer ones by `tap`. */
void ISA_NAME(nlm_differ)(const float *const a[3], const float *const b[3], float tap,
                          float *restrict to, int64_t n) {
  const float *a0 = a[0], *a1 = a[1], *a2 = a[2], *b0 = b[0], *b1 = b[1], *b2 = b[2];
  for (int64_t x = 0; x < n; x++) {
    float low = a0[x] - b0[x], here = a1[x] - b1[x], high = a2[x] - b2[x];
    to[x] = here * here + tap * (low * low + high * high);
  }
}

/* exp(-d) for 0 <= d <= NLM_FAR: a power of two and Taylor's series of what is left, to 1e-7. */
static inline float falling(float d) {
  float t       = d * 1.44269504F;
  int32_t whole = (int32_t)(t + 0.5F);
  float rest    = (t - (float)whole) * -0.693147181F;
  float series =
      1 + rest * (1 + rest * (1.F / 2 +
                              rest * (1.F / 6 + rest * (1.F / 24 +
                                                        rest * (1.F / 120 + rest * (1.F / 720))))));
  union {
    float value;
    int32_t bits;
  } u = {series};
  u.bits -= whole * (1 << 23);
  return u.value;
}

/* Adds the weights of a row of voxels, and `with` by them. differ: rows that begin one voxel earlier. */
void ISA_NAME(nlm_add)(const float *const differ[3], float tap, float scale,
                       const float *restrict with, float *restrict line, float *restrict weight,
                       float *restrict value, int64_t n) {
  const float far = NLM_FAR, *low = differ[0], *here = differ[1], *high = differ[2];
  for (int64_t x = 0; x < n + 2; x++) line[x] = here[x] + tap * (low[x] + high[x]);
  for (int64_t x = 0; x < n; x++) {
    float d = scale * (line[x + 1] + tap * (line[x] + line[x + 2]));
    float w = d > far ? 0 : falling(d);
    weight[x] += w;
    value[x] += w * with[x];
  }
}
