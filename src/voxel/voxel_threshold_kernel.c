/* Rows of histograms and of thresholds. */
#include "voxel_threshold_private.h"
#include "voxel_lanes.h"

/* Widens range[0..1] to hold the row; false when a value is NaN or infinite. */
bool ISA_NAME(range_f32)(const float *in, int64_t n, float range[2]) {
  lanes_f32 low = {0}, high = {0};
  uint32_t most = 0;
  int64_t x     = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, in + i, sizeof bits);
    bits &= 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  if (n >= LANES_f32) {
    low = high = load_f32(in);
    for (x = LANES_f32; x + LANES_f32 <= n; x += LANES_f32) {
      low  = low_f32(low, load_f32(in + x));
      high = high_f32(high, load_f32(in + x));
    }
    float part[2][LANES_f32];
    store_f32(part[0], low);
    store_f32(part[1], high);
    for (int i = 0; i < LANES_f32; i++) {
      range[0] = part[0][i] < range[0] ? part[0][i] : range[0];
      range[1] = part[1][i] > range[1] ? part[1][i] : range[1];
    }
  }
  for (; x < n; x++) {
    range[0] = in[x] < range[0] ? in[x] : range[0];
    range[1] = in[x] > range[1] ? in[x] : range[1];
  }
  return most < 0x7f800000u;
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
