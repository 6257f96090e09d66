#include "recon_prepare.h"
#include "recon_private.h"
#include <math.h>
#include <string.h>

/* The pixels from .. to - 1 of row y whose place, begin + x step_x, lies on the detector, 0 .. last. */
static inline bool seen(double begin, double step_x, double last, int64_t columns, int64_t *from,
                        int64_t *to) {
  double edge = (double)(columns - 1);
  *from       = 0;
  *to         = columns;
  if (fabs(step_x) < 1e-12) return begin >= 0 && begin <= last;
  double a = -begin / step_x, b = (last - begin) / step_x;
  double low = a < b ? a : b, high = a < b ? b : a;
  if (high < 0 || low > edge) return false;
  if (low > 0) *from = (int64_t)ceil(low);
  if (high < edge) *to = (int64_t)floor(high) + 1;
  return true;
}

/* The place of a pixel is first + x step_x + y step_y. */
void ISA_NAME(recon_smear)(float *slice, int64_t columns, const float *projection, int64_t samples,
                           double first, double step_x, double step_y) {
  for (int64_t y = 0; y < columns; y++) {
    double begin = first + step_y * (double)y, last = (double)samples;
    int64_t from, to;
    if (!seen(begin, step_x, last, columns, &from, &to)) continue;
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

void ISA_NAME(recon_throw)(const float *slice, int64_t columns, float *projection, int64_t samples,
                           double first, double step_x, double step_y) {
  for (int64_t y = 0; y < columns; y++) {
    double begin = first + step_y * (double)y, last = (double)samples;
    int64_t from, to;
    if (!seen(begin, step_x, last, columns, &from, &to)) continue;
    const float *line = slice + y * columns;
    for (int64_t x = from; x < to; x++) {
      double at   = begin + step_x * (double)x;
      at          = at < 0 ? 0 : at > last ? last : at;
      int32_t i   = (int32_t)at < samples ? (int32_t)at : (int32_t)samples - 1;
      float share = (float)(at - i);
      projection[i] += (1 - share) * line[x];
      projection[i + 1] += share * line[x];
    }
  }
}

/* log by the exponent and 2 artanh((m - 1) / (m + 1)) of the mantissa m in sqrt(1/2) .. sqrt(2): error 1e-7. */
static inline float logarithm(float x) {
  int32_t bits, power;
  memcpy(&bits, &x, sizeof bits);
  power = (bits - 0x3f3504f3) >> 23;
  bits -= power * (1 << 23);
  memcpy(&x, &bits, sizeof x);
  float z = (x - 1) / (x + 1), s = z * z;
  float series = 2 + s * (2 / 3.0f + s * (2 / 5.0f + s * (2 / 7.0f + s * (2 / 9.0f))));
  return (float)power * 0.69314718056f + z * series;
}

int64_t ISA_NAME(recon_logarithm)(float *value, int64_t n, const float *flat, const float *dark) {
  int32_t bad = 0;
  for (int64_t i = 0; i < n; i++) {
    float low = flat ? dark[i] : 0, span = flat ? flat[i] - low : 1;
    float part = (value[i] - low) / span;
    bool good  = (part >= 1.2e-38f) & (part < 1e30f) & (span > 0);
    value[i]   = good ? -logarithm(part) : (float)NAN;
    bad += !good;
  }
  return bad;
}

void ISA_NAME(recon_stick_out)(const float *const *neighbour, const float *value, int64_t n,
                               float *out) {
  const float *a = neighbour[0], *b = neighbour[1], *c = neighbour[2], *d = neighbour[3];
  for (int64_t i = 0; i < n; i++) {
    float low = a[i] < b[i] ? a[i] : b[i], high = a[i] < b[i] ? b[i] : a[i];
    float low2 = c[i] < d[i] ? c[i] : d[i], high2 = c[i] < d[i] ? d[i] : c[i];
    low         = low < low2 ? low : low2;
    high        = high > high2 ? high : high2;
    float under = low - value[i], over = value[i] - high, most = under > over ? under : over;
    out[i] = most > 0 ? most : 0;
  }
}

void ISA_NAME(recon_convolve)(const float *line, const float *tap, int64_t taps, int64_t n,
                              float *to) {
  memset(to, 0, (size_t)n * sizeof *to);
  for (int64_t k = 0; k < taps; k++)
    for (int64_t i = 0; i < n; i++) to[i] += tap[k] * line[i + k];
}
