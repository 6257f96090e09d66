/* Private to the certificate's kernels: a box of eight voxels as eight doubles, voxel 4 dz + 2 dy + dx in that lane. They are
 * one vector with AVX-512, else two: what is wider than the machine's vectors, compilers pass through memory, and compare
 * and shuffle lane by lane. */
#pragma once
#include "flux_inner.h"
#include <string.h>
#define INLINE static inline __attribute__((always_inline))

#ifdef __AVX512F__
enum { PARTS = 1, WIDE = 8 };
#define EIGHT(a, b, c, d, e, f, g, h) ((part){a, b, c, d, e, f, g, h})
#define BESIDE(v, bit)                                                                             \
  __builtin_shuffle(v, (ipart){0 ^ (bit), 1 ^ (bit), 2 ^ (bit), 3 ^ (bit), 4 ^ (bit), 5 ^ (bit),   \
                               6 ^ (bit), 7 ^ (bit)})
#else
enum { PARTS = 2, WIDE = 4 };
#define EIGHT(a, b, c, d, e, f, g, h) ((part){a, b, c, d}), ((part){e, f, g, h})
#define BESIDE(v, bit)                __builtin_shuffle(v, (ipart){0 ^ (bit), 1 ^ (bit), 2 ^ (bit), 3 ^ (bit)})
#endif
typedef double part __attribute__((vector_size(8 * WIDE)));
typedef int64_t ipart __attribute__((vector_size(8 * WIDE)));
/* Eight doubles, or masks of as many. */
typedef struct {
  part p[PARTS];
} vec;
#define EACH_PART for (int h = 0; h < PARTS; h++)

INLINE vec plus(vec a, vec b) {
  EACH_PART a.p[h] += b.p[h];
  return a;
}
INLINE vec minus(vec a, vec b) {
  EACH_PART a.p[h] -= b.p[h];
  return a;
}
INLINE vec times(vec a, double b) {
  EACH_PART a.p[h] *= b;
  return a;
}
INLINE vec size_of(vec v) {
  EACH_PART v.p[h] = (part)((ipart)v.p[h] & INT64_MAX);
  return v;
}
INLINE vec larger(vec a, vec b) {
  EACH_PART {
    const ipart first = a.p[h] > b.p[h];
    a.p[h]            = (part)(((ipart)a.p[h] & first) | ((ipart)b.p[h] & ~first));
  }
  return a;
}
INLINE double lane(const vec *v, int l) { return v->p[l / WIDE][l % WIDE]; }
/* Each lane gets the one across the box along an axis. */
INLINE vec turned(vec v, int axis) {
  const part first = v.p[0];
  if (axis == 0 && PARTS == 2) {
    v.p[0]         = v.p[PARTS - 1];
    v.p[PARTS - 1] = first;
    return v;
  }
  EACH_PART v.p[h] = axis == 0   ? BESIDE(v.p[h], 4)
                     : axis == 1 ? BESIDE(v.p[h], 2)
                                 : BESIDE(v.p[h], 1);
  return v;
}
INLINE vec of_lanes(const double from[BOX]) {
  vec r;
  EACH_PART memcpy(&r.p[h], from + h * WIDE, sizeof r.p[h]);
  return r;
}
INLINE vec product(vec a, vec b) {
  EACH_PART a.p[h] *= b.p[h];
  return a;
}
/* x + a matrix, of which each column is a row here, times y. */
INLINE vec plus_matrix(vec x, const double column[BOX][BOX], vec y) {
  for (int c = 0; c < BOX; c++) {
    const double by = lane(&y, c);
    EACH_PART {
      part all;
      memcpy(&all, column[c] + h * WIDE, sizeof all);
      x.p[h] += all * by;
    }
  }
  return x;
}
