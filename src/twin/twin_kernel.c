/* Projection of square voxels onto detector pixels: the share of a voxel that falls into a pixel is exact (area of
 * the overlap, a box convolved with the voxel's trapezoidal shadow), looked up by the position within a pixel. */
#include "twin_private.h"
#include <math.h>

typedef float lanes __attribute__((vector_size(4 * TWIN_LANES), aligned(64)));

void ISA_NAME(twin_project)(const float *image, int64_t n, const int64_t *first,
                            const int64_t *last, double cosine, double sine, double centre,
                            const float (*weight)[4], int64_t columns, float *line) {
  const lanes *pixel = (const lanes *)image;
  lanes *out         = (lanes *)line;
  double half        = 0.5 * (double)(n - 1);
  for (int64_t y = 0; y < n; y++) {
    double row = centre + ((double)y - half) * sine;
    for (int64_t x = first[y]; x < last[y]; x++) {
      double at = row + ((double)x - half) * cosine, below = floor(at);
      int64_t c      = (int64_t)below - 1;
      const float *w = weight[(int)((at - below) * TWIN_STEPS)];
      lanes value    = pixel[y * n + x];
      if (c >= 0 && c + 3 < columns)
        for (int k = 0; k < 4; k++) out[c + k] += w[k] * value;
      else
        for (int k = 0; k < 4; k++)
          if (c + k >= 0 && c + k < columns) out[c + k] += w[k] * value;
    }
  }
}
