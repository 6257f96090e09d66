/* Sums of pixels, and components from regions. Both windows are linear in the counts, so both are unmixed with the same
 * weights; a component's factor is the quotient of its two amplitudes, with their covariance. Weights come from the errors
 * of the windows' sum. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

/* With S electrons in both windows and the quotient e = L/H of them, L = S e / (1 + e), H = S / (1 + e); S and e are
 * independent when counts are Poisson numbers. */
struct correlate_windows correlate_windows_of(const struct correlate_seen *seen, int region,
                                              const int8_t *mask) {
  int64_t pixels             = seen->rows * seen->columns;
  struct correlate_windows w = {0};
  for (int64_t i = 0; i < pixels; i++) {
    int64_t at = region * pixels + i;
    double s = seen->sum[at], e = seen->emf[at], vs = seen->sum_sigma[at], ve = seen->emf_sigma[at];
    if ((mask && !mask[i]) || !isfinite(s) || !isfinite(e) || !isfinite(vs) || !isfinite(ve))
      continue;
    double part = e / (1 + e), by_e = s / ((1 + e) * (1 + e));
    vs *= vs, ve *= ve * by_e * by_e;
    w.low += s * part;
    w.high += s * (1 - part);
    w.low_variance += part * part * vs + ve;
    w.high_variance += (1 - part) * (1 - part) * vs + ve;
    w.covariance += part * (1 - part) * vs - ve;
    w.pixels++;
  }
  return w;
}

/* sigma of low / high. */
static double quotient_sigma(double low, double high, double vl, double vh, double clh) {
  double e = low / high;
  return fabs(e) * sqrt(fmax(0, vl / (low * low) + vh / (high * high) - 2 * clh / (low * high)));
}

double correlate_emf(const struct correlate_windows *w, double *sigma) {
  if (!w->pixels || !(w->high > 0)) {
    *sigma = (double)NAN;
    return (double)NAN;
  }
  *sigma = quotient_sigma(w->low, w->high, w->low_variance, w->high_variance, w->covariance);
  return w->low / w->high;
}

enum status correlate_components_gain(const struct unmix_matrix *v, const double *sigma,
                                      double gain[CORRELATE_C][CORRELATE_REGIONS_MOST]) {
  for (int r = 0; r < v->regions; r++) {
    double unit[UNMIX_REGIONS] = {0}, s[UNMIX_COMPONENTS],
           covariance[UNMIX_COMPONENTS][UNMIX_COMPONENTS];
    unit[r] = 1;
    TRY(unmix_solve(v, unit, sigma, s, covariance));
    for (int c = 0; c < v->components; c++) gain[c][r] = s[c];
  }
  return STATUS_OK;
}

bool correlate_components_solve(const struct unmix_matrix *v, const struct correlate_windows *w,
                                struct correlate_amount component[CORRELATE_C]) {
  double sigma[UNMIX_REGIONS], gain[CORRELATE_C][CORRELATE_REGIONS_MOST];
  for (int c = 0; c < CORRELATE_C; c++)
    component[c] = (struct correlate_amount){(double)NAN, (double)NAN, (double)NAN, (double)NAN};
  for (int r = 0; r < v->regions; r++) {
    double variance = w[r].low_variance + w[r].high_variance + 2 * w[r].covariance;
    if (!w[r].pixels || !(variance > 0)) return false;
    sigma[r] = sqrt(variance);
  }
  if (correlate_components_gain(v, sigma, gain) != STATUS_OK) {
    status_clear();
    return false;
  }
  for (int c = 0; c < v->components; c++) {
    double low = 0, high = 0, vl = 0, vh = 0, clh = 0;
    for (int r = 0; r < v->regions; r++) {
      double g = gain[c][r];
      low += g * w[r].low, high += g * w[r].high;
      vl += g * g * w[r].low_variance, vh += g * g * w[r].high_variance,
          clh += g * g * w[r].covariance;
    }
    component[c].low = low, component[c].high = high;
    if (!(high > 0) || !(low > 0)) continue;
    component[c].emf   = low / high;
    component[c].sigma = quotient_sigma(low, high, vl, vh, clh);
  }
  return true;
}
