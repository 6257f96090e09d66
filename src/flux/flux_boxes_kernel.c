/* Kernels on bytes: which voxels of each 2 x 2 x 2 box conduct, and how many faces of a voxel are
 * open. */
#include "flux_inner.h"

/* Bit 4 dz + 2 dy + dx of pattern[i]; rows dz, dy at row[2 dz + dy]. */
void ISA_NAME(flux_patterns)(const uint8_t *const row[4], int64_t nx, uint8_t *restrict pattern) {
  const uint8_t *restrict a = row[0], *restrict b = row[1], *restrict c = row[2],
                          *restrict d = row[3];
  for (int64_t i = 0; i < nx / 2; i++) {
    const unsigned p = (unsigned)((a[2 * i] != 0) | (a[2 * i + 1] != 0) << 1 |
                                  (b[2 * i] != 0) << 2 | (b[2 * i + 1] != 0) << 3);
    const unsigned q = (unsigned)((c[2 * i] != 0) | (c[2 * i + 1] != 0) << 1 |
                                  (d[2 * i] != 0) << 2 | (d[2 * i + 1] != 0) << 3);
    pattern[i]       = (uint8_t)(p | q << 4);
  }
  if (nx % 2)
    pattern[nx / 2] = (uint8_t)((a[nx - 1] != 0) | (b[nx - 1] != 0) << 2 | (c[nx - 1] != 0) << 4 |
                                (d[nx - 1] != 0) << 6);
}

/* Faces that each box of a row shares with the boxes before and after it along z, y, x and both conduct at, 0 to 4:
 * shared[side][box]. Offsets of rows and planes of boxes. */
static inline uint8_t faces_in_common(uint8_t before, uint8_t after, int shift, uint8_t low) {
  uint8_t x = (uint8_t)((uint8_t)(before >> shift) & after & low);
  x         = (uint8_t)(x - ((uint8_t)(x >> 1) & 0x55));
  x         = (uint8_t)((x & 0x33) + ((uint8_t)(x >> 2) & 0x33));
  return (uint8_t)((x + (uint8_t)(x >> 4)) & 0x0f);
}
void ISA_NAME(flux_shared_faces)(const uint8_t *pattern, int64_t plane, int64_t row, int64_t n,
                                 uint8_t *restrict shared) {
  const int64_t step[3]       = {plane, row, 1};
  static const uint8_t low[3] = {0x0f, 0x33, 0x55};
  for (int a = 0; a < 3; a++) {
    uint8_t *restrict before = shared + 2 * a * n, *restrict after = shared + (2 * a + 1) * n;
    const int shift = 4 >> a;
    for (int64_t i = 0; i < n; i++) {
      before[i] = faces_in_common(pattern[i - step[a]], pattern[i], shift, low[a]);
      after[i]  = faces_in_common(pattern[i], pattern[i + step[a]], shift, low[a]);
    }
  }
}

void ISA_NAME(flux_common_faces)(const uint8_t *before, const uint8_t *after, int axis, int64_t n,
                                 uint8_t *restrict even, uint8_t *restrict odd) {
  static const uint8_t low[3] = {0x0f, 0x33, 0x55};
  const int shift             = 4 >> axis;
  for (int64_t q = 0; q < n / 2; q++) {
    even[q] = faces_in_common(before[2 * q], after[2 * q], shift, low[axis]);
    odd[q]  = faces_in_common(before[2 * q + 1], after[2 * q + 1], shift, low[axis]);
  }
  if (n % 2) even[n / 2] = faces_in_common(before[n - 1], after[n - 1], shift, low[axis]);
}

void ISA_NAME(flux_open_faces)(const uint8_t *code, int64_t row, int64_t plane, int64_t nx,
                               uint8_t *restrict out) {
  for (int64_t i = 0; i < nx; i++) {
    const uint8_t sum =
        (uint8_t)((code[i - 1] != 0) + (code[i + 1] != 0) + (code[i - row] != 0) +
                  (code[i + row] != 0) + (code[i - plane] != 0) + (code[i + plane] != 0));
    out[i] = code[i] ? (uint8_t)((code[i] & ~CODE_MASK) | sum) : 0;
  }
}
