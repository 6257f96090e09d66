/* Private to the graphs' kernels: LANES floats, one vector with AVX-512, else two or four. */
#pragma once
#include "flux_lattice.h"
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif
#define INLINE static inline __attribute__((always_inline))

#ifdef __AVX512F__
typedef __m512 lanes;
INLINE lanes get(const float *p) { return _mm512_loadu_ps(p); }
INLINE void put(float *p, lanes v) { _mm512_storeu_ps(p, v); }
INLINE lanes zero(void) { return _mm512_setzero_ps(); }
INLINE lanes all_lanes(float v) { return _mm512_set1_ps(v); }
INLINE lanes divided(lanes a, lanes b) { return _mm512_div_ps(a, b); }
INLINE lanes plus(lanes a, lanes b) { return _mm512_add_ps(a, b); }
INLINE lanes minus_product(lanes s, lanes a, lanes b) { return _mm512_fnmadd_ps(a, b, s); }
INLINE lanes plus_product(lanes s, lanes a, lanes b) { return _mm512_fmadd_ps(a, b, s); }
INLINE lanes negative(lanes a) { return _mm512_sub_ps(_mm512_setzero_ps(), a); }
INLINE float total(lanes a) { return _mm512_reduce_add_ps(a); }
INLINE lanes bytes(const uint8_t *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)p)));
}
#else
/* Vectors as wide as the machine's: compilers pass wider ones through memory. */
#ifdef __AVX2__
enum { WIDE = 8 };
#else
enum { WIDE = 4 };
#endif
enum { PARTS = LANES / WIDE };
typedef float part __attribute__((vector_size(4 * WIDE)));
typedef struct {
  part p[PARTS];
} lanes;
#define EACH_PART for (int h = 0; h < PARTS; h++)
INLINE lanes get(const float *p) {
  lanes r;
  EACH_PART memcpy(&r.p[h], p + h * WIDE, sizeof r.p[h]);
  return r;
}
INLINE void put(float *p, lanes v) { EACH_PART memcpy(p + h * WIDE, &v.p[h], sizeof v.p[h]); }
INLINE lanes zero(void) {
  lanes r;
  EACH_PART r.p[h] = (part){0};
  return r;
}
INLINE lanes all_lanes(float v) {
  lanes r;
  EACH_PART r.p[h] = v - (part){0};
  return r;
}
INLINE lanes divided(lanes a, lanes b) {
  EACH_PART a.p[h] /= b.p[h];
  return a;
}
INLINE lanes plus(lanes a, lanes b) {
  EACH_PART a.p[h] += b.p[h];
  return a;
}
INLINE lanes minus_product(lanes s, lanes a, lanes b) {
  EACH_PART s.p[h] -= a.p[h] * b.p[h];
  return s;
}
INLINE lanes plus_product(lanes s, lanes a, lanes b) {
  EACH_PART s.p[h] += a.p[h] * b.p[h];
  return s;
}
INLINE lanes negative(lanes a) {
  EACH_PART a.p[h] = -a.p[h];
  return a;
}
INLINE float total(lanes a) {
  float t = 0;
  for (int l = 0; l < LANES; l++) t += a.p[l / WIDE][l % WIDE];
  return t;
}
INLINE part gathered(const float *x, const int32_t *col) {
#ifdef __AVX2__
  return (part)_mm256_i32gather_ps(x, _mm256_loadu_si256((const __m256i_u *)col), 4);
#else
  return (part){x[col[0]], x[col[1]], x[col[2]], x[col[3]]};
#endif
}
INLINE lanes bytes(const uint8_t *p) {
  lanes r;
  EACH_PART {
#ifdef __AVX2__
    const __m128i_u *at = (const __m128i_u *)(p + h * WIDE);
    r.p[h]              = (part)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at)));
#else
    r.p[h] = (part){p[h * WIDE], p[h * WIDE + 1], p[h * WIDE + 2], p[h * WIDE + 3]};
#endif
  }
  return r;
}
#endif

/* Sums of x.Ax, x.b, x.v (v may be NULL) and b.b over some slices. */
struct dots {
  lanes of[4];
};
INLINE void dots_begin(struct dots *d) {
  for (int k = 0; k < 4; k++) d->of[k] = zero();
}
/* A slice of which A x is -minus_ax; out = A x, where it is not NULL. */
INLINE void dots_add(struct dots *d, const struct flux_graph *g, int64_t i, const float *x,
                     const float *v, lanes minus_ax, float *out) {
  const lanes ax = negative(minus_ax), here = get(x + i), right = get(g->b + i);
  if (out) put(out + i, ax);
  d->of[0] = plus_product(d->of[0], here, ax);
  d->of[1] = plus_product(d->of[1], here, right);
  if (v) d->of[2] = plus_product(d->of[2], here, get(v + i));
  d->of[3] = plus_product(d->of[3], right, right);
}
INLINE void dots_end(const struct dots *d, double dots[4]) {
  for (int k = 0; k < 4; k++) dots[k] += (double)total(d->of[k]);
}
