/* Spectra whose truth is known, made by another road than the program's: every bin is a sum over the sharp line's energies
 * of J x cross-section x the part of a Gaussian (and of an exponential loss) that falls between the bin's edges. */
#pragma once
#include "check.h"
#include "compton_cube.h"
#include "numeric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SPECTRUM_BINS = 250 };
#define SPECTRUM_FIRST_KEV 70.0
#define SPECTRUM_BIN_KEV   0.2
#define SPECTRUM_BEAM_KEV  115.0

struct spectrum_truth {
  const struct xray_profile *profile; /* per electron */
  double angle, fwhm_kev, gain;       /* seen over true energy */
  double counts;                      /* within 5 a.u. */
  double constant, step, escape;      /* per bin; share of the top; counts */
  double tail, tail_kev, twice;       /* share of counts */
};

static double spectrum_below(double above_kev, double sigma, double tail, double tail_kev) {
  double plain = 0.5 * erfc(above_kev / (sqrt(2) * sigma));
  if (tail <= 0) return plain;
  double s = sigma / tail_kev;
  return plain + tail * exp(s * s / 2 - above_kev / tail_kev) * 0.5 *
                     erfc((s - above_kev / sigma) / sqrt(2));
}

static inline double spectrum_rate(const struct spectrum_truth *t, double kev) {
  return xray_profile_at(t->profile, xray_momentum(SPECTRUM_BEAM_KEV, kev, t->angle)) *
         xray_cross_section(SPECTRUM_BEAM_KEV, kev, t->angle);
}

/* How many electrons give its counts, in any unit. */
static inline double spectrum_electrons(const struct spectrum_truth *t) {
  const double part = 0.02;
  double from       = xray_energy(SPECTRUM_BEAM_KEV, -5, t->angle),
         to = xray_energy(SPECTRUM_BEAM_KEV, 5, t->angle), all = 0;
  for (double e = from + part / 2; e < to; e += part) all += spectrum_rate(t, e) * part;
  return t->counts / all;
}

/* Expected counts. */
static inline void spectrum_expect(const struct spectrum_truth *t, double *out) {
  const double part = 0.05, sigma = t->fwhm_kev / sqrt(8 * log(2)), reach = 7 * sigma;
  const double far = t->tail > 0 ? 12 * t->tail_kev : 0;
  double line = xray_line_kev(SPECTRUM_BEAM_KEV, t->angle), all = 0, top = 0;
  double from = xray_energy(SPECTRUM_BEAM_KEV, -5, t->angle),
         to   = xray_energy(SPECTRUM_BEAM_KEV, 5, t->angle);
  memset(out, 0, SPECTRUM_BINS * sizeof *out);
  for (double e = 60 + part / 2; e < SPECTRUM_BEAM_KEV; e += part) {
    double rate = spectrum_rate(t, e) * part;
    double seen = e * t->gain;
    int low     = (int)floor((seen - reach - far - SPECTRUM_FIRST_KEV) / SPECTRUM_BIN_KEV),
        high    = (int)ceil((seen + reach - SPECTRUM_FIRST_KEV) / SPECTRUM_BIN_KEV);
    if (e > from && e < to) all += rate;
    if (low < 0) low = 0;
    if (high > SPECTRUM_BINS) high = SPECTRUM_BINS;
    double edge = SPECTRUM_FIRST_KEV + low * SPECTRUM_BIN_KEV - seen,
           here = spectrum_below(-edge, sigma, t->tail, t->tail_kev);
    for (int b = low; b < high; b++) {
      edge += SPECTRUM_BIN_KEV;
      double next = spectrum_below(-edge, sigma, t->tail, t->tail_kev);
      out[b] += rate * (next - here);
      here = next;
    }
  }
  for (int b = 0; b < SPECTRUM_BINS; b++) {
    out[b] *= t->counts / all;
    top = fmax(top, out[b]);
  }
  for (int b = 0; b < SPECTRUM_BINS; b++) {
    double z   = (SPECTRUM_FIRST_KEV + (b + 0.5) * SPECTRUM_BIN_KEV - line * t->gain) / sigma;
    double esc = (SPECTRUM_FIRST_KEV + (b + 0.5) * SPECTRUM_BIN_KEV -
                  (SPECTRUM_BEAM_KEV - 23.11) * t->gain) /
                 sigma;
    out[b] += t->constant + t->step * top * 0.5 * erfc(z / sqrt(2)) +
              t->escape * SPECTRUM_BIN_KEV / (sigma * sqrt(2 * PI)) * exp(-esc * esc / 2);
  }
}

static inline void spectrum_draw(const double *expected, uint64_t seed, uint64_t stream,
                                 uint32_t *count) {
  for (int b = 0; b < SPECTRUM_BINS; b++)
    count[b] = (uint32_t)random_poisson(seed, stream, (uint64_t)b, expected[b]);
}

/* Per electron, of the blurred line without background, integrals over momenta from 0.005 keV apart: |p| < 1, 1 < |p| < 5,
 * and the same of p > 0. */
static inline void spectrum_windows(const struct xray_profile *profile, double angle,
                                    double fwhm_kev, double window[4]) {
  enum { N = 8000 };
  static double rate[N];
  memset(window, 0, 4 * sizeof *window);
  CHECK_OK(xray_line_shape(profile, SPECTRUM_BEAM_KEV, angle, fwhm_kev, 75.0025, 0.005, N, rate));
  for (int i = 0; i < N; i++) {
    double e      = 75.0025 + 0.005 * i;
    double before = xray_momentum(SPECTRUM_BEAM_KEV, e - 0.0025, angle),
           after  = xray_momentum(SPECTRUM_BEAM_KEV, e + 0.0025, angle);
    double j      = rate[i] / xray_cross_section(SPECTRUM_BEAM_KEV, e, angle) *
               xray_momentum_slope(SPECTRUM_BEAM_KEV, e, angle);
    /* parts of the cell within 1 and 5, on the upper side within 0..1, 1..5 */
    double wide  = after - before;
    double in    = fmax(0, fmin(after, 1) - fmax(before, -1)) / wide,
           both  = fmax(0, fmin(after, 5) - fmax(before, -5)) / wide;
    double in_up = fmax(0, fmin(after, 1) - fmax(before, 0)) / wide,
           up    = fmax(0, fmin(after, 5) - fmax(before, 0)) / wide;
    window[0] += j * in, window[1] += j * (both - in);
    window[2] += j * in_up, window[3] += j * (up - in_up);
  }
}

static inline double spectrum_emf(const struct xray_profile *profile, double angle, double fwhm_kev,
                                  double *high_side) {
  double window[4];
  spectrum_windows(profile, angle, fwhm_kev, window);
  if (high_side) *high_side = window[2] / window[3];
  return window[0] / window[1];
}
