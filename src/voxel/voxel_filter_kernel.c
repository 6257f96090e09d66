/* Rows of the median and of ball erosions. The loops over x are plain, so that the compiler vectorises them
 * for each instruction set.
 *
 * Median: the three values along z are sorted once per row (shared by three y), the nine of a 3 x 3 z-y column
 * once per column (shared by three x). Of three sorted columns the median of all 27 is the median of: the
 * largest of the 1st and 2nd, ... in the tableau of sorted rows only ranks near the middle can hold it (Smith,
 * "Implementing median filters in XC4000E FPGAs", 1996, carried to 27 values). */
#include "voxel_filter_private.h"

#define SWAP(T, a, b)                                                                              \
  do {                                                                                             \
    T low_ = (b) < (a) ? (b) : (a), high_ = (b) < (a) ? (a) : (b);                                 \
    (a) = low_, (b) = high_;                                                                       \
  } while (0)
#define SORT3(T, a, b, c)                                                                          \
  do {                                                                                             \
    SWAP(T, a, b);                                                                                 \
    SWAP(T, b, c);                                                                                 \
    SWAP(T, a, b);                                                                                 \
  } while (0)
#define LOW(a, b)  ((b) < (a) ? (b) : (a))
#define HIGH(a, b) ((b) < (a) ? (a) : (b))

#define MEDIAN(T, NAME)                                                                            \
  /* s0 <= s1 <= s2 of three rows */                                                               \
  void ISA_NAME(median_sort3_##NAME)(const T *restrict a, const T *restrict b,                     \
                                     const T *restrict c, T *restrict s0, T *restrict s1,          \
                                     T *restrict s2, int64_t n) {                                  \
    for (int64_t x = 0; x < n; x++) {                                                              \
      T p = a[x], q = b[x], r = c[x];                                                              \
      SORT3(T, p, q, r);                                                                           \
      s0[x] = p, s1[x] = q, s2[x] = r;                                                             \
    }                                                                                              \
  }                                                                                                \
  /* z[3 i + k]: k-th of the sorted triple of row i; s[0..8]: all nine sorted */                   \
  void ISA_NAME(median_sort9_##NAME)(const T *restrict z, T *restrict s, int64_t stride,           \
                                     int64_t n) {                                                  \
    for (int64_t x = 0; x < n; x++) {                                                              \
      T a0 = z[x], a1 = z[stride + x], a2 = z[2 * stride + x];                                     \
      T b0 = z[3 * stride + x], b1 = z[4 * stride + x], b2 = z[5 * stride + x];                    \
      T c0 = z[6 * stride + x], c1 = z[7 * stride + x], c2 = z[8 * stride + x];                    \
      SORT3(T, a0, b0, c0);                                                                        \
      SORT3(T, a1, b1, c1);                                                                        \
      SORT3(T, a2, b2, c2);                                                                        \
      /* a tableau: columns and rows ascend; a0 is least, c2 most; order the seven between */      \
      SWAP(T, b0, a1);                                                                             \
      SWAP(T, c1, b2);                                                                             \
      SWAP(T, c0, a2);                                                                             \
      SWAP(T, a1, c0);                                                                             \
      SWAP(T, a2, c1);                                                                             \
      SWAP(T, a1, b1);                                                                             \
      SWAP(T, b1, c1);                                                                             \
      SWAP(T, c0, b1);                                                                             \
      SWAP(T, b1, a2);                                                                             \
      SWAP(T, c0, b1);                                                                             \
      s[x] = a0, s[stride + x] = b0, s[2 * stride + x] = a1, s[3 * stride + x] = c0;               \
      s[4 * stride + x] = b1, s[5 * stride + x] = a2, s[6 * stride + x] = c1;                      \
      s[7 * stride + x] = b2, s[8 * stride + x] = c2;                                              \
    }                                                                                              \
  }                                                                                                \
  /* median of the columns x-1, x, x+1: s points at x = 0 */                                       \
  void ISA_NAME(median_of27_##NAME)(const T *restrict s, T *restrict out, int64_t stride,          \
                                    int64_t n) {                                                   \
    for (int64_t x = 0; x < n; x++) {                                                              \
      T p[9], q[9], r[9];                                                                          \
      for (int k = 0; k < 9; k++)                                                                  \
        p[k] = s[k * stride + x - 1], q[k] = s[k * stride + x], r[k] = s[k * stride + x + 1];      \
      T c0 = HIGH(HIGH(p[0], q[0]), r[0]), c1 = HIGH(HIGH(p[1], q[1]), r[1]);                      \
      T l2 = LOW(p[2], q[2]), h2 = HIGH(p[2], q[2]), b2 = HIGH(l2, LOW(h2, r[2])),                 \
        c2 = HIGH(h2, r[2]);                                                                       \
      T l3 = LOW(p[3], q[3]), h3 = HIGH(p[3], q[3]), b3 = HIGH(l3, LOW(h3, r[3])),                 \
        c3 = HIGH(h3, r[3]);                                                                       \
      T b4 = HIGH(LOW(p[4], q[4]), LOW(HIGH(p[4], q[4]), r[4]));                                   \
      T l5 = LOW(p[5], q[5]), h5 = HIGH(p[5], q[5]), b5 = LOW(h5, HIGH(l5, r[5])),                 \
        a5 = LOW(l5, r[5]);                                                                        \
      T l6 = LOW(p[6], q[6]), h6 = HIGH(p[6], q[6]), b6 = LOW(h6, HIGH(l6, r[6])),                 \
        a6 = LOW(l6, r[6]);                                                                        \
      T a7 = LOW(LOW(p[7], q[7]), r[7]), a8 = LOW(LOW(p[8], q[8]), r[8]);                          \
      /* merge a5..a8 with c0..c3 (Batcher) */                                                     \
      SWAP(T, a5, c0);                                                                             \
      SWAP(T, a6, c1);                                                                             \
      SWAP(T, a7, c2);                                                                             \
      SWAP(T, a8, c3);                                                                             \
      SWAP(T, a7, c0);                                                                             \
      SWAP(T, a8, c1);                                                                             \
      SWAP(T, a6, a7);                                                                             \
      SWAP(T, a8, c0);                                                                             \
      SWAP(T, c1, c2);                                                                             \
      T m    = LOW(c2, HIGH(c1, b2));                                                              \
      m      = LOW(m, HIGH(c0, b3));                                                               \
      m      = LOW(m, HIGH(a8, b4));                                                               \
      m      = LOW(m, HIGH(a7, b5));                                                               \
      out[x] = LOW(m, HIGH(a6, b6));                                                               \
    }                                                                                              \
  }

MEDIAN(uint16_t, u16)
MEDIAN(float, f32)

/* out[x] = least (most) of in[x - half .. x + half], laid over what out holds. */
#define EXTREME(T, NAME, BETTER, PICK)                                                             \
  void ISA_NAME(BETTER##_##NAME)(const T *restrict in, T *restrict out, int half, int64_t n) {     \
    for (int k = -half; k <= half; k++)                                                            \
      for (int64_t x = 0; x < n; x++) out[x] = PICK(out[x], in[x + k]);                            \
  }
EXTREME(uint8_t, u8, least, LOW)
EXTREME(uint16_t, u16, least, LOW)
EXTREME(float, f32, least, LOW)
EXTREME(uint8_t, u8, most, HIGH)
EXTREME(uint16_t, u16, most, HIGH)
EXTREME(float, f32, most, HIGH)
