#include "recon_private.h"
#include <math.h>

/* The column of a pixel is first + x step_x + y step_y; positions are kept in double per row, in float along it. */
void ISA_NAME(recon_smear)(float *slice, int64_t columns, const float *projection, double first,
                           double step_x, double step_y) {
  for (int64_t y = 0; y < columns; y++) {
    double begin = first + step_y * (double)y, last = (double)(columns - 1);
    int64_t from = 0, to = columns;
    if (fabs(step_x) < 1e-12) {
      if (begin < 0 || begin > last) continue;
    } else { /* the pixels whose column lies on the detector */
      double a = -begin / step_x, b = (last - begin) / step_x;
      double low = a < b ? a : b, high = a < b ? b : a;
      if (high < 0 || low > last) continue;
      if (low > 0) from = (int64_t)ceil(low);
      if (high < last) to = (int64_t)floor(high) + 1;
    }
    float *line = slice + y * columns;
    for (int64_t x = from; x < to; x++) {
      double at   = begin + step_x * (double)x;
      at          = at < 0 ? 0 : at > last ? last : at;
      int32_t i   = (int32_t)at;
      float share = (float)(at - i);
      line[x] += projection[i] + share * (projection[i + 1] - projection[i]);
    }
  }
}
