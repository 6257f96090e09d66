/* Loops over a sinogram's rows that the compiler makes vectors of. */
#include "recon_rings.h"
#include <math.h>
#include <string.h>

void ISA_NAME(recon_rings_project)(const float *value, int64_t angles, int64_t columns,
                                   const float *basis, int64_t n, float *coefficient) {
  memset(coefficient, 0, (size_t)(n * columns) * sizeof *coefficient);
  for (int64_t a = 0; a < angles; a++)
    for (int64_t k = 0; k < n; k++) {
      float f           = basis[k * angles + a];
      const float *from = value + a * columns;
      float *to         = coefficient + k * columns;
      for (int64_t c = 0; c < columns; c++) to[c] += f * from[c];
    }
}

void ISA_NAME(recon_rings_add)(const float *coefficient, int64_t angles, int64_t columns,
                               const float *basis, int64_t n, float sign, float *value) {
  for (int64_t a = 0; a < angles; a++)
    for (int64_t k = 0; k < n; k++) {
      float f           = sign * basis[k * angles + a];
      const float *from = coefficient + k * columns;
      float *to         = value + a * columns;
      for (int64_t c = 0; c < columns; c++) to[c] += f * from[c];
    }
}

void ISA_NAME(recon_rings_roughness)(const float *value, int64_t angles, int64_t columns,
                                     int64_t half, float *sum, float *roughness) {
  memset(sum, 0, (size_t)columns * sizeof *sum);
  memset(roughness, 0, (size_t)columns * sizeof *roughness);
  int64_t first = 0, end = 0;
  for (int64_t a = 0; a < angles; a++) {
    int64_t last = a + half + 1 < angles ? a + half + 1 : angles, begin = a < half ? 0 : a - half;
    for (; end < last; end++)
      for (int64_t c = 0; c < columns; c++) sum[c] += value[end * columns + c];
    for (; first < begin; first++)
      for (int64_t c = 0; c < columns; c++) sum[c] -= value[first * columns + c];
    float share = 1 / (float)(end - first);
    for (int64_t c = 0; c < columns; c++)
      roughness[c] += fabsf(value[a * columns + c] - share * sum[c]);
  }
}

/* ---- wavelets ------------------------------------------------------------------------------------------------ */

/* The high-pass filter that belongs to it. */
static float high_of(const float *filter, int64_t taps, int64_t k) {
  return k % 2 ? -filter[taps - 1 - k] : filter[taps - 1 - k];
}

void ISA_NAME(recon_wavelet_split)(const float *value, int64_t n, int64_t columns,
                                   const float *filter, int64_t taps, float *low, float *high) {
  int64_t half = columns / 2;
  for (int64_t i = 0; i < n; i++, value += columns, low += half, high += half)
    for (int64_t j = 0; j < half; j++) {
      float l = 0, h = 0;
      for (int64_t k = 0; k < taps; k++) {
        int64_t at = 2 * j + k;
        float v    = value[at < columns ? at : at - columns];
        l += filter[k] * v;
        h += high_of(filter, taps, k) * v;
      }
      low[j]  = l;
      high[j] = h;
    }
}

void ISA_NAME(recon_wavelet_join)(const float *low, const float *high, int64_t n, int64_t columns,
                                  const float *filter, int64_t taps, float *value) {
  int64_t half = columns / 2;
  memset(value, 0, (size_t)(n * columns) * sizeof *value);
  for (int64_t i = 0; i < n; i++, value += columns, low += half, high += half)
    for (int64_t j = 0; j < half; j++)
      for (int64_t k = 0; k < taps; k++) {
        int64_t at = 2 * j + k;
        value[at < columns ? at : at - columns] +=
            filter[k] * low[j] + high_of(filter, taps, k) * high[j];
      }
}

void ISA_NAME(recon_wavelet_halve)(const float *value, int64_t n, int64_t columns,
                                   const float *filter, int64_t taps, float *low) {
  memset(low, 0, (size_t)(n / 2 * columns) * sizeof *low);
  for (int64_t j = 0; j < n / 2; j++)
    for (int64_t k = 0; k < taps; k++) {
      const float *from = value + (2 * j + k) % n * columns;
      float *to         = low + j * columns;
      for (int64_t c = 0; c < columns; c++) to[c] += filter[k] * from[c];
    }
}

void ISA_NAME(recon_wavelet_double)(const float *low, int64_t n, int64_t columns,
                                    const float *filter, int64_t taps, float *value) {
  memset(value, 0, (size_t)(n * columns) * sizeof *value);
  for (int64_t j = 0; j < n / 2; j++)
    for (int64_t k = 0; k < taps; k++) {
      const float *from = low + j * columns;
      float *to         = value + (2 * j + k) % n * columns;
      for (int64_t c = 0; c < columns; c++) to[c] += filter[k] * from[c];
    }
}
