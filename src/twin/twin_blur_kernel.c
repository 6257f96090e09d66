/* The detector's resolution: bins of several parts each, all shapes of a part in one vector. */
#include "twin_xcs.h"

typedef double shapes __attribute__((vector_size(8 * XCS_SHAPES), aligned(32)));

void ISA_NAME(twin_blur)(const double *sharp, const double *weight, int64_t taps, int64_t parts,
                         int64_t bins, float *shape) {
  const shapes *from = (const shapes *)sharp;
  for (int64_t b = 0; b < bins; b++) {
    shapes sum = {0};
    for (int64_t d = 0; d < taps; d++) sum += weight[d] * from[b * parts + d];
    for (int k = 0; k < XCS_SHAPES; k++) shape[b * XCS_SHAPES + k] = (float)sum[k];
  }
}
