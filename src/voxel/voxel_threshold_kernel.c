/* Rows of histograms and of thresholds. */
#include "voxel_threshold_private.h"
#include "voxel_lanes.h"

/* Widens range[0..1] to hold the row; false when a value is NaN or infinite: then it less itself is NaN. */
bool ISA_NAME(range_f32)(const float *in, int64_t n, float range[2]) {
  lanes_f32 low = {0}, high = {0}, none = {0};
  float rest = 0, part[3][LANES_f32];
  int64_t x  = 0;
  if (n >= LANES_f32) {
    low = high = load_f32(in);
    for (; x + LANES_f32 <= n; x += LANES_f32) {
      lanes_f32 v = load_f32(in + x);
      low         = low_f32(low, v);
      high        = high_f32(high, v);
      none        = none + (v - v);
    }
    store_f32(part[0], low);
    store_f32(part[1], high);
    store_f32(part[2], none);
    for (int i = 0; i < LANES_f32; i++) {
      range[0] = part[0][i] < range[0] ? part[0][i] : range[0];
      range[1] = part[1][i] > range[1] ? part[1][i] : range[1];
      rest += part[2][i];
    }
  }
  for (; x < n; x++) {
    range[0] = in[x] < range[0] ? in[x] : range[0];
    range[1] = in[x] > range[1] ? in[x] : range[1];
    rest += in[x] - in[x];
  }
  return rest == 0;
}

/* Bin of each value; -1 where it lies within `slack` of a bin's edge, so that rounding could decide. */
void ISA_NAME(bins_f32)(const float *restrict in, int64_t n, double low, double scale, double slack,
                        int32_t *restrict bin) {
  for (int64_t x = 0; x < n; x++) {
    double at   = ((double)in[x] - low) * scale;
    int32_t b   = (int32_t)at;
    double rest = at - b;
    bin[x]      = rest < slack || rest > 1 - slack ? -1 : b;
  }
}

/* Adds one to each voxel above the threshold. */
void ISA_NAME(above_f32)(const float *restrict in, int64_t n, float threshold,
                         uint8_t *restrict label) {
  for (int64_t x = 0; x < n; x++) label[x] = (uint8_t)(label[x] + (in[x] > threshold));
}
void ISA_NAME(above_u16)(const uint16_t *restrict in, int64_t n, uint16_t threshold,
                         uint8_t *restrict label) {
  for (int64_t x = 0; x < n; x++) label[x] = (uint8_t)(label[x] + (in[x] > threshold));
}
