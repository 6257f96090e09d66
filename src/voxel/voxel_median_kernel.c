/* Rows of the 3 x 3 x 3 median. The three values along z are sorted, the nine of a z-x column from three such triples
 * (sorting columns, then rows, leaves a tableau that seven exchanges finish: Floyd's network for nine values, Knuth,
 * The Art of Computer Programming 3, 5.3.4), once for three y. Two neighbouring outputs along y share two of their
 * three columns: of those, merged (Batcher's odd-even merge), the ranks 5..14 d of 18 decide with the third column a
 * of each: the 14th of 27 is the least of d14 and max(a[i], d[14 - i]), i = 1..9. */
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
#define MEDIAN(T, NAME)                                                                                                   \
  /* Sorts the triples below, here, above into s, s + stride, s + 2 stride; `below` becomes `here`: it keeps what       \
   * the output will overwrite. Rows of scratch are padded to whole vectors. */ \
  void ISA_NAME(median_sort3_##NAME)(T *restrict below, const T *here, const T *above,                                    \
                                     T *restrict s, int64_t stride, int64_t n) {                                          \
    for (int64_t x = 0; x < n; x += LANES_##NAME) {                                                                       \
      lanes_##NAME a = load_##NAME(below + x), b = load_some_##NAME(here + x, n - x),                                     \
                   c = load_some_##NAME(above + x, n - x);                                                                \
      store_##NAME(below + x, b);                                                                                         \
      SORT3(NAME, a, b, c);                                                                                               \
      store_##NAME(s + x, a);                                                                                             \
      store_##NAME(s + stride + x, b);                                                                                    \
      store_##NAME(s + 2 * stride + x, c);                                                                                \
    }                                                                                                                     \
  }                                                                                                                       \
  /* The sorted triples at x, x + 1, x + 2 to nine sorted vectors in a row for every vector along x. */                   \
  void ISA_NAME(median_sort9_##NAME)(const T *restrict s, T *restrict nine, int64_t stride,                               \
                                     int64_t n) {                                                                         \
    for (int64_t x = 0; x < n; x += LANES_##NAME, nine += 9 * LANES_##NAME) {                                             \
      lanes_##NAME v[9];                                                                                                  \
      for (int k = 0; k < 9; k++) v[k] = load_##NAME(s + k % 3 * stride + x + k / 3);                                     \
      SORT3(NAME, v[0], v[3], v[6]);                                                                                      \
      SORT3(NAME, v[1], v[4], v[7]);                                                                                      \
      SORT3(NAME, v[2], v[5], v[8]);                                                                                      \
      SWAP(NAME, v[5], v[7]);                                                                                             \
      SWAP(NAME, v[2], v[6]);                                                                                             \
      SWAP(NAME, v[1], v[3]);                                                                                             \
      SWAP(NAME, v[4], v[6]);                                                                                             \
      SWAP(NAME, v[2], v[4]);                                                                                             \
      SWAP(NAME, v[5], v[6]);                                                                                             \
      SWAP(NAME, v[2], v[3]);                                                                                             \
      for (int k = 0; k < 9; k++) store_##NAME(nine + k * LANES_##NAME, v[k]);                                            \
    }                                                                                                                     \
  }                                                                                                                       \
  /* d[0..9]: ranks 5..14 of the 18 values b[0..8], c[0..8], each sorted. */                                              \
  static inline __attribute__((always_inline)) void merge_##NAME(                                                         \
      const lanes_##NAME b[9], const lanes_##NAME c[9], lanes_##NAME d[10]) {                                             \
    /* of ranks 1, 3, 5, 7, 9 of both, e[k]: rank k + 3 */                                                                \
    lanes_##NAME f1 = high_##NAME(b[0], c[0]), f2 = low_##NAME(b[8], c[8]), g1 = b[4], g2 = c[4];                         \
    lanes_##NAME e[6], o[6], p1 = b[2], p2 = c[2], p3 = b[6], p4 = c[6];                                                  \
    SWAP(NAME, f1, f2);                                                                                                   \
    SWAP(NAME, g1, g2);                                                                                                   \
    SWAP(NAME, f1, g1);                                                                                                   \
    SWAP(NAME, f2, g2);                                                                                                   \
    SWAP(NAME, p1, p2);                                                                                                   \
    SWAP(NAME, p3, p4);                                                                                                   \
    SWAP(NAME, p2, p3);                                                                                                   \
    e[0] = high_##NAME(f1, p1);                                                                                           \
    e[1] = g1, e[2] = p2;                                                                                                 \
    e[3] = f2, e[4] = p3;                                                                                                 \
    e[5] = low_##NAME(g2, p4);                                                                                            \
    SWAP(NAME, e[1], e[2]);                                                                                               \
    SWAP(NAME, e[3], e[4]);                                                                                               \
    /* of ranks 2, 4, 6, 8 of both, o[k]: rank k + 2 */                                                                   \
    lanes_##NAME r2 = high_##NAME(b[1], c[1]), r3 = b[5], r4 = c[5];                                                      \
    lanes_##NAME q1 = b[3], q2 = c[3], q3 = low_##NAME(b[7], c[7]);                                                       \
    SWAP(NAME, r3, r4);                                                                                                   \
    SWAP(NAME, r2, r3);                                                                                                   \
    SWAP(NAME, q1, q2);                                                                                                   \
    SWAP(NAME, q2, q3);                                                                                                   \
    o[0] = r2, o[1] = q1;                                                                                                 \
    o[2] = r3, o[3] = q2;                                                                                                 \
    o[4] = r4, o[5] = q3;                                                                                                 \
    SWAP(NAME, o[0], o[1]);                                                                                               \
    SWAP(NAME, o[2], o[3]);                                                                                               \
    SWAP(NAME, o[4], o[5]);                                                                                               \
    d[0] = high_##NAME(e[0], o[0]);                                                                                       \
    for (int k = 1; k < 5; k++) {                                                                                         \
      d[2 * k - 1] = low_##NAME(e[k], o[k]);                                                                              \
      d[2 * k]     = high_##NAME(e[k], o[k]);                                                                             \
    }                                                                                                                     \
    d[9] = low_##NAME(e[5], o[5]);                                                                                        \
  }                                                                                                                       \
  static inline __attribute__((always_inline))                                                                            \
  lanes_##NAME middle_##NAME(const T *a, const lanes_##NAME d[10]) {                                                      \
    lanes_##NAME m = d[9];                                                                                                \
    for (int k = 0; k < 9; k++)                                                                                           \
      m = low_##NAME(m, high_##NAME(load_##NAME(a + k * LANES_##NAME), d[8 - k]));                                        \
    return m;                                                                                                             \
  }                                                                                                                       \
  /* Medians of the rows of nines a, b, c and of b, c, e. */                                                              \
  void ISA_NAME(median_of27_##NAME)(const T *a, const T *b, const T *c, const T *e,                                       \
                                    T *restrict out, T *restrict next, int64_t n) {                                       \
    for (int64_t x = 0, at = 0; x < n; x += LANES_##NAME, at += 9 * LANES_##NAME) {                                       \
      lanes_##NAME v[9], w[9], d[10];                                                                                     \
      for (int k = 0; k < 9; k++) {                                                                                       \
        v[k] = load_##NAME(b + at + k * LANES_##NAME);                                                                    \
        w[k] = load_##NAME(c + at + k * LANES_##NAME);                                                                    \
      }                                                                                                                   \
      merge_##NAME(v, w, d);                                                                                              \
      store_some_##NAME(out + x, middle_##NAME(a + at, d), n - x);                                                        \
      store_some_##NAME(next + x, middle_##NAME(e + at, d), n - x);                                                       \
    }                                                                                                                     \
  }

MEDIAN(uint16_t, u16)
MEDIAN(float, f32)
