/* Rows of erosions and dilations by balls. */
#include "voxel_filter_private.h"
#include "voxel_lanes.h"

/* Where the vector after the one at x stands: a row's last vector ends with the row, over the one before it. */
static inline int64_t next_vector(int64_t x, int64_t lanes, int64_t n) {
  return x + lanes < n && x + 2 * lanes > n ? n - lanes : x + lanes;
}

#define BALL(T, NAME)                                                                                  \
  static inline lanes_##NAME extreme_##NAME(lanes_##NAME a, lanes_##NAME b, bool least) {              \
    return least ? low_##NAME(a, b) : high_##NAME(a, b);                                               \
  }                                                                                                    \
  /* One vector, of which `n` values count. */                                                         \
  static inline __attribute__((always_inline)) void widen_vector_##NAME(                               \
      const T *in, T *out, int64_t stride, int radius, bool least, int64_t n) {                        \
    lanes_##NAME v = load_some_##NAME(in, n);                                                          \
    for (int h = 1; h <= radius; h++) {                                                                \
      v = extreme_##NAME(v, load_some_##NAME(in - h, n), least);                                       \
      v = extreme_##NAME(v, load_some_##NAME(in + h, n), least);                                       \
      store_some_##NAME(out + (h - 1) * stride, v, n);                                                 \
    }                                                                                                  \
  }                                                                                                    \
  static inline __attribute__((always_inline)) void widen_##NAME(                                      \
      const T *in, T *out, int64_t stride, int radius, bool least, int64_t n) {                        \
    const int64_t lanes = LANES_##NAME;                                                                \
    for (int64_t x = 0; x + lanes <= n; x = next_vector(x, lanes, n))                                  \
      widen_vector_##NAME(in + x, out + x, stride, radius, least, lanes);                              \
    if (n < lanes) widen_vector_##NAME(in, out, stride, radius, least, n);                             \
  }                                                                                                    \
  /* out + (h - 1) stride: extremes of in[x - h .. x + h], h = 1..radius; radius 3 is the usual one */ \
  void ISA_NAME(ball_widen_##NAME)(const T *in, T *out, int64_t stride, int radius, bool least,        \
                                   int64_t n) {                                                        \
    if (least && radius == 3)                                                                          \
      widen_##NAME(in, out, stride, 3, true, n);                                                       \
    else if (radius == 3)                                                                              \
      widen_##NAME(in, out, stride, 3, false, n);                                                      \
    else if (least)                                                                                    \
      widen_##NAME(in, out, stride, radius, true, n);                                                  \
    else                                                                                               \
      widen_##NAME(in, out, stride, radius, false, n);                                                 \
  }                                                                                                    \
  /* `count` vectors from x on; of one, `n` values count. */                                           \
  static inline __attribute__((always_inline)) void combine_vectors_##NAME(                            \
      const T *const *row, const int *end, int discs, T *const *out, bool least, int64_t x,            \
      int count, int64_t n) {                                                                          \
    lanes_##NAME v[4];                                                                                 \
    for (int i = 0; i < count; i++) v[i] = load_some_##NAME(row[0] + x + i * LANES_##NAME, n);         \
    for (int d = 0, k = 1; d < discs; d++) {                                                           \
      for (; k < end[d]; k++)                                                                          \
        for (int i = 0; i < count; i++)                                                                \
          v[i] = extreme_##NAME(v[i], load_some_##NAME(row[k] + x + i * LANES_##NAME, n), least);      \
      for (int i = 0; i < count; i++) store_some_##NAME(out[d] + x + i * LANES_##NAME, v[i], n);       \
    }                                                                                                  \
  }                                                                                                    \
  static inline __attribute__((always_inline)) void combine_##NAME(                                    \
      const T *const *row, const int *end, int discs, T *const *out, bool least, int64_t n) {          \
    const int64_t lanes = LANES_##NAME;                                                                \
    int64_t x           = 0;                                                                           \
    for (; x + 4 * lanes <= n; x += 4 * lanes)                                                         \
      combine_vectors_##NAME(row, end, discs, out, least, x, 4, lanes);                                \
    if (x > n - lanes && x < n && n >= lanes) x = n - lanes;                                           \
    for (; x + lanes <= n; x = next_vector(x, lanes, n))                                               \
      combine_vectors_##NAME(row, end, discs, out, least, x, 1, lanes);                                \
    if (n < lanes) combine_vectors_##NAME(row, end, discs, out, least, 0, 1, n);                       \
  }                                                                                                    \
  /* out[d]: extremes of rows 0..end[d] - 1. */                                                        \
  void ISA_NAME(ball_combine_##NAME)(const T *const *row, const int *end, int discs,                   \
                                     T *const *out, bool least, int64_t n) {                           \
    if (least)                                                                                         \
      combine_##NAME(row, end, discs, out, true, n);                                                   \
    else                                                                                               \
      combine_##NAME(row, end, discs, out, false, n);                                                  \
  }

BALL(uint8_t, u8)
BALL(uint16_t, u16)
BALL(float, f32)
