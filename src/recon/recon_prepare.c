/* From detector values to attenuation. */
#include "recon_private.h"
#include <math.h>

/* Fills what is NaN in one column from its good neighbours along the angle; all NaN: 0. */
static void repair_column(float *value, int64_t angles, int64_t stride) {
  for (int64_t a = 0; a < angles; a++) {
    if (!isnan(value[a * stride])) continue;
    int64_t end = a;
    while (end < angles && isnan(value[end * stride])) end++;
    float before = a ? value[(a - 1) * stride] : NAN,
          after  = end < angles ? value[end * stride] : NAN;
    float mean   = isnan(before) ? after : isnan(after) ? before : 0.5f * (before + after);
    for (; a < end; a++) value[a * stride] = isnan(mean) ? 0 : mean;
  }
}

int64_t recon_attenuation(float *sinogram, int64_t rows, int64_t angles, int64_t columns,
                          const float *flat, const float *dark, bool counts) {
  int64_t bad = 0;
  for (int64_t r = 0; r < rows; r++) {
    float *value     = sinogram + r * angles * columns;
    int64_t bad_here = 0;
    for (int64_t a = 0; a < angles; a++)
      bad_here += ISA_PICK(recon_logarithm)(value + a * columns, columns,
                                            counts ? flat + r * columns : NULL, dark + r * columns);
    for (int64_t i = 0; i < angles * columns && bad_here; i++)
      if (isnan(value[i])) repair_column(value + i % columns, angles, columns);
    bad += bad_here;
  }
  return bad;
}
