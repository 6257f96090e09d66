/* Private, for *_kernel.c: one register of floats as LANES / 2 complex numbers. */
#pragma once
#include "base.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { LANES = 16 };
#define SWAP_LANES 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
#define ZIP_LOW    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif defined __AVX2__
enum { LANES = 8 };
#define SWAP_LANES 1, 0, 3, 2, 5, 4, 7, 6
#define ZIP_LOW    0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH   4, 12, 5, 13, 6, 14, 7, 15
#else
enum { LANES = 4 };
#define SWAP_LANES 1, 0, 3, 2
#define ZIP_LOW    0, 4, 1, 5
#define ZIP_HIGH   2, 6, 3, 7
#endif
typedef float vec __attribute__((vector_size(4 * LANES), may_alias));
typedef float vec_any __attribute__((vector_size(4 * LANES), may_alias, aligned(4)));
typedef int32_t vec_index __attribute__((vector_size(4 * LANES)));

#define INLINE   static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 16")

INLINE vec vec_get(const float *from) { return *(const vec *)from; }
INLINE vec vec_get_any(const float *from) { return *(const vec_any *)from; }
INLINE void vec_put(float *to, vec x) { *(vec *)to = x; }
INLINE void vec_put_any(float *to, vec x) { *(vec_any *)to = x; }
/* Past the caches, for what is written once and not soon read: `to` aligned like a register. */
#if defined __AVX512F__
INLINE void vec_stream(float *to, vec x) { _mm512_stream_ps(to, (__m512)x); }
#elif defined __AVX2__
INLINE void vec_stream(float *to, vec x) { _mm256_stream_ps(to, (__m256)x); }
#else
INLINE void vec_stream(float *to, vec x) { vec_put(to, x); }
#endif
INLINE vec vec_all(float x) { return x - (vec){0}; }
/* Real and imaginary parts exchanged. */
INLINE vec vec_swap(vec x) { return __builtin_shuffle(x, (vec_index){SWAP_LANES}); }

/* x c -+ y: minus in the real, plus in the imaginary lanes; and the other way round. */
#if defined __AVX512F__
INLINE vec vec_sub_add(vec x, vec c, vec y) {
  return (vec)_mm512_fmaddsub_ps((__m512)x, (__m512)c, (__m512)y);
}
INLINE vec vec_add_sub(vec x, vec c, vec y) {
  return (vec)_mm512_fmsubadd_ps((__m512)x, (__m512)c, (__m512)y);
}
#elif defined __AVX2__
INLINE vec vec_sub_add(vec x, vec c, vec y) {
  return (vec)_mm256_fmaddsub_ps((__m256)x, (__m256)c, (__m256)y);
}
INLINE vec vec_add_sub(vec x, vec c, vec y) {
  return (vec)_mm256_fmsubadd_ps((__m256)x, (__m256)c, (__m256)y);
}
#else
INLINE vec vec_sub_add(vec x, vec c, vec y) { return x * c + y * (vec){-1, 1, -1, 1}; }
INLINE vec vec_add_sub(vec x, vec c, vec y) { return x * c + y * (vec){1, -1, 1, -1}; }
#endif
INLINE vec vec_times(vec x, float re, float im) {
  return vec_sub_add(x, vec_all(re), vec_swap(x) * vec_all(im));
}
INLINE vec vec_plus_i(vec x, vec y) { return vec_sub_add(x, vec_all(1), vec_swap(y)); }
INLINE vec vec_minus_i(vec x, vec y) { return vec_add_sub(x, vec_all(1), vec_swap(y)); }

/* Rows to columns, LANES x LANES. */
INLINE void vec_transpose(vec r[LANES]) {
  for (int round = 1; round < LANES; round *= 2) {
    vec t[LANES];
    UNROLLED
    for (int i = 0; i < LANES / 2; i++) {
      t[2 * i]     = __builtin_shuffle(r[i], r[i + LANES / 2], (vec_index){ZIP_LOW});
      t[2 * i + 1] = __builtin_shuffle(r[i], r[i + LANES / 2], (vec_index){ZIP_HIGH});
    }
    UNROLLED
    for (int i = 0; i < LANES; i++) r[i] = t[i];
  }
}

/* Lane by lane: the less, the more, and b where the mask is set, else a. */
#if defined __AVX512F__
typedef __mmask16 vec_mask;
INLINE vec_mask vec_at_least(vec a, vec b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ);
}
INLINE vec vec_pick(vec_mask m, vec a, vec b) {
  return (vec)_mm512_mask_blend_ps(m, (__m512)a, (__m512)b);
}
INLINE vec vec_min(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE vec vec_max(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
#else
typedef vec_index vec_mask;
INLINE vec_mask vec_at_least(vec a, vec b) { return (vec_mask)(a >= b); }
INLINE vec vec_pick(vec_mask m, vec a, vec b) {
  return (vec)(((vec_mask)a & ~m) | ((vec_mask)b & m));
}
INLINE vec vec_min(vec a, vec b) { return vec_pick(vec_at_least(a, b), a, b); }
INLINE vec vec_max(vec a, vec b) { return vec_pick(vec_at_least(a, b), b, a); }
#endif
