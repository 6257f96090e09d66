/* Rows of erosions and dilations by balls. */
#include "voxel_filter_private.h"
#include "voxel_lanes.h"

#define BALL(T, NAME)                                                                              \
  static inline lanes_##NAME extreme_##NAME(lanes_##NAME a, lanes_##NAME b, bool least) {          \
    return least ? low_##NAME(a, b) : high_##NAME(a, b);                                           \
  }                                                                                                \
  static inline __attribute__((always_inline)) void widen_##NAME(                                  \
      const T *in, T *out, int64_t stride, int radius, bool least, int64_t n) {                    \
    int64_t x = 0;                                                                                 \
    for (; x + LANES_##NAME <= n; x += LANES_##NAME) {                                             \
      lanes_##NAME v = load_##NAME(in + x);                                                        \
      store_##NAME(out + x, v);                                                                    \
      for (int h = 1; h <= radius; h++) {                                                          \
        v = extreme_##NAME(v, load_##NAME(in + x - h), least);                                     \
        v = extreme_##NAME(v, load_##NAME(in + x + h), least);                                     \
        store_##NAME(out + h * stride + x, v);                                                     \
      }                                                                                            \
    }                                                                                              \
    if (x == n) return;                                                                            \
    lanes_##NAME v = load_some_##NAME(in + x, n - x);                                              \
    store_##NAME(out + x, v);                                                                      \
    for (int h = 1; h <= radius; h++) {                                                            \
      v = extreme_##NAME(v, load_some_##NAME(in + x - h, n - x), least);                           \
      v = extreme_##NAME(v, load_some_##NAME(in + x + h, n - x), least);                           \
      store_##NAME(out + h * stride + x, v);                                                       \
    }                                                                                              \
  }                                                                                                \
  /* out + h stride: extremes of in[x - h .. x + h], h = 0..radius; radius 3 is the usual one */   \
  void ISA_NAME(ball_widen_##NAME)(const T *in, T *out, int64_t stride, int radius, bool least,    \
                                   int64_t n) {                                                    \
    if (least && radius == 3)                                                                      \
      widen_##NAME(in, out, stride, 3, true, n);                                                   \
    else if (radius == 3)                                                                          \
      widen_##NAME(in, out, stride, 3, false, n);                                                  \
    else if (least)                                                                                \
      widen_##NAME(in, out, stride, radius, true, n);                                              \
    else                                                                                           \
      widen_##NAME(in, out, stride, radius, false, n);                                             \
  }                                                                                                \
  static inline __attribute__((always_inline)) void combine_##NAME(                                \
      const T *const *row, int rows, T *out, bool least, int64_t n) {                              \
    int64_t x = 0;                                                                                 \
    for (; x + 4 * LANES_##NAME <= n; x += 4 * LANES_##NAME) {                                     \
      lanes_##NAME v[4];                                                                           \
      for (int i = 0; i < 4; i++) v[i] = load_##NAME(row[0] + x + i * LANES_##NAME);               \
      for (int k = 1; k < rows; k++)                                                               \
        for (int i = 0; i < 4; i++)                                                                \
          v[i] = extreme_##NAME(v[i], load_##NAME(row[k] + x + i * LANES_##NAME), least);          \
      for (int i = 0; i < 4; i++) store_##NAME(out + x + i * LANES_##NAME, v[i]);                  \
    }                                                                                              \
    for (; x < n; x += LANES_##NAME) {                                                             \
      lanes_##NAME v = load_##NAME(row[0] + x);                                                    \
      for (int k = 1; k < rows; k++) v = extreme_##NAME(v, load_##NAME(row[k] + x), least);        \
      store_some_##NAME(out + x, v, n - x);                                                        \
    }                                                                                              \
  }                                                                                                \
  /* Extremes of several rows, each padded to whole vectors; exactly n values are written. */      \
  void ISA_NAME(ball_combine_##NAME)(const T *const *row, int rows, T *out, bool least,            \
                                     int64_t n) {                                                  \
    if (least)                                                                                     \
      combine_##NAME(row, rows, out, true, n);                                                     \
    else                                                                                           \
      combine_##NAME(row, rows, out, false, n);                                                    \
  }

BALL(uint8_t, u8)
BALL(uint16_t, u16)
BALL(float, f32)
