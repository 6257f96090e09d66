/* Rows of the 3 x 3 x 3 median. The three values along z are sorted once per row (shared by three y), the nine of a
 * 3 x 3 z-y column once per column (shared by three x). Of three sorted columns only ranks near the middle can hold
 * the median: the largest of the three least, ... in the tableau (Smith, "Implementing median filters in XC4000E
 * FPGAs", 1996, carried to 27 values). */
#include "voxel_filter_private.h"
#include "voxel_lanes.h"

#define SWAP(NAME, a, b)                                                                           \
  do {                                                                                             \
    lanes_##NAME low_ = low_##NAME(a, b), high_ = high_##NAME(a, b);                               \
    (a) = low_, (b) = high_;                                                                       \
  } while (0)
#define SORT3(NAME, a, b, c)                                                                       \
  do {                                                                                             \
    SWAP(NAME, a, b);                                                                              \
    SWAP(NAME, b, c);                                                                              \
    SWAP(NAME, a, b);                                                                              \
  } while (0)
#define MEDIAN(T, NAME)                                                                                             \
  /* Sorts the triples below, here, above into s, s + stride, s + 2 stride; `below` becomes `here`: it keeps what \
   * the output will overwrite. Rows of scratch are padded to whole vectors. */ \
  void ISA_NAME(median_sort3_##NAME)(T *restrict below, const T *here, const T *above,                              \
                                     T *restrict s, int64_t stride, int64_t n) {                                    \
    for (int64_t x = 0; x < n; x += LANES_##NAME) {                                                                 \
      lanes_##NAME a = load_##NAME(below + x), b = load_some_##NAME(here + x, n - x),                               \
                   c = load_some_##NAME(above + x, n - x);                                                          \
      store_##NAME(below + x, b);                                                                                   \
      SORT3(NAME, a, b, c);                                                                                         \
      store_##NAME(s + x, a);                                                                                       \
      store_##NAME(s + stride + x, b);                                                                              \
      store_##NAME(s + 2 * stride + x, c);                                                                          \
    }                                                                                                               \
  }                                                                                                                 \
  /* The sorted triples of three rows to all nine sorted, s + k stride */                                           \
  void ISA_NAME(median_sort9_##NAME)(const T *i, const T *j, const T *k, T *restrict s,                             \
                                     int64_t stride, int64_t n) {                                                   \
    for (int64_t x = 0; x < n; x += LANES_##NAME) {                                                                 \
      lanes_##NAME a0 = load_##NAME(i + x), a1 = load_##NAME(i + stride + x),                                       \
                   a2 = load_##NAME(i + 2 * stride + x);                                                            \
      lanes_##NAME b0 = load_##NAME(j + x), b1 = load_##NAME(j + stride + x),                                       \
                   b2 = load_##NAME(j + 2 * stride + x);                                                            \
      lanes_##NAME c0 = load_##NAME(k + x), c1 = load_##NAME(k + stride + x),                                       \
                   c2 = load_##NAME(k + 2 * stride + x);                                                            \
      SORT3(NAME, a0, b0, c0);                                                                                      \
      SORT3(NAME, a1, b1, c1);                                                                                      \
      SORT3(NAME, a2, b2, c2);                                                                                      \
      /* a tableau: columns and rows ascend; a0 is least, c2 most; order the seven between */                       \
      SWAP(NAME, b0, a1);                                                                                           \
      SWAP(NAME, c1, b2);                                                                                           \
      SWAP(NAME, c0, a2);                                                                                           \
      SWAP(NAME, a1, c0);                                                                                           \
      SWAP(NAME, a2, c1);                                                                                           \
      SWAP(NAME, a1, b1);                                                                                           \
      SWAP(NAME, b1, c1);                                                                                           \
      SWAP(NAME, c0, b1);                                                                                           \
      SWAP(NAME, b1, a2);                                                                                           \
      SWAP(NAME, c0, b1);                                                                                           \
      const lanes_##NAME sorted[9] = {a0, b0, a1, c0, b1, a2, c1, b2, c2};                                          \
      for (int rank = 0; rank < 9; rank++) store_##NAME(s + rank * stride + x, sorted[rank]);                       \
    }                                                                                                               \
  }                                                                                                                 \
  /* Median of the columns x - 1, x, x + 1: s points at x = 0 */                                                    \
  void ISA_NAME(median_of27_##NAME)(const T *restrict s, T *restrict out, int64_t stride,                           \
                                    int64_t n) {                                                                    \
    for (int64_t x = 0; x < n; x += LANES_##NAME) {                                                                 \
      lanes_##NAME c0, c1, c2, c3, b2, b3, b4, b5, b6, a5, a6, a7, a8;                                              \
      MEDIAN_RANK(NAME, 0, c0 = high_##NAME(high_##NAME(p, q), r));                                                 \
      MEDIAN_RANK(NAME, 1, c1 = high_##NAME(high_##NAME(p, q), r));                                                 \
      MEDIAN_RANK(NAME, 2, b2 = high_##NAME(l, low_##NAME(h, r)), c2 = high_##NAME(h, r));                          \
      MEDIAN_RANK(NAME, 3, b3 = high_##NAME(l, low_##NAME(h, r)), c3 = high_##NAME(h, r));                          \
      MEDIAN_RANK(NAME, 4, b4 = high_##NAME(l, low_##NAME(h, r)));                                                  \
      MEDIAN_RANK(NAME, 5, b5 = low_##NAME(h, high_##NAME(l, r)), a5 = low_##NAME(l, r));                           \
      MEDIAN_RANK(NAME, 6, b6 = low_##NAME(h, high_##NAME(l, r)), a6 = low_##NAME(l, r));                           \
      MEDIAN_RANK(NAME, 7, a7 = low_##NAME(low_##NAME(p, q), r));                                                   \
      MEDIAN_RANK(NAME, 8, a8 = low_##NAME(low_##NAME(p, q), r));                                                   \
      /* merge a5..a8 with c0..c3 (Batcher) */                                                                      \
      SWAP(NAME, a5, c0);                                                                                           \
      SWAP(NAME, a6, c1);                                                                                           \
      SWAP(NAME, a7, c2);                                                                                           \
      SWAP(NAME, a8, c3);                                                                                           \
      SWAP(NAME, a7, c0);                                                                                           \
      SWAP(NAME, a8, c1);                                                                                           \
      SWAP(NAME, a6, a7);                                                                                           \
      SWAP(NAME, a8, c0);                                                                                           \
      SWAP(NAME, c1, c2);                                                                                           \
      lanes_##NAME m = low_##NAME(c2, high_##NAME(c1, b2));                                                         \
      m              = low_##NAME(m, high_##NAME(c0, b3));                                                          \
      m              = low_##NAME(m, high_##NAME(a8, b4));                                                          \
      m              = low_##NAME(m, high_##NAME(a7, b5));                                                          \
      store_some_##NAME(out + x, low_##NAME(m, high_##NAME(a6, b6)), n - x);                                        \
    }                                                                                                               \
  }

/* p, q, r: rank k of the columns x - 1, x, x + 1; l and h: the lower and higher of p and q. */
#define MEDIAN_RANK(NAME, k, ...)                                                                  \
  do {                                                                                             \
    lanes_##NAME p = load_##NAME(s + (k)*stride + x - 1), q = load_##NAME(s + (k)*stride + x),     \
                 r = load_##NAME(s + (k)*stride + x + 1), l = low_##NAME(p, q),                    \
                 h = high_##NAME(p, q);                                                            \
    __VA_ARGS__;                                                                                   \
    (void)l, (void)h;                                                                              \
  } while (0)

MEDIAN(uint16_t, u16)
MEDIAN(float, f32)
