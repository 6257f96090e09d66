/* Impedance: complex nonlinear least squares (Macdonald and Garber 1977) with modulus weighting, parameters as
 * logarithms so that they stay positive; errors from the covariance and the scatter about the fit. With and
 * without the Warburg element, whichever has the lower Akaike criterion (corrected for few values).
 * Kramers-Kronig: the linear test of Boukamp (1995): a sum of RC elements with fixed time constants, which obeys
 * the relations, is fitted linearly to the real and imaginary parts; what is left breaks them or is noise. */
#include "echem.h"
#include "numeric.h"
#include <complex.h>
#include <math.h>
#include <string.h>

enum { P_RS, P_RCT, P_Q, P_N, P_W, P_MOST };
struct spectrum {
  const struct echem_table *table;
  bool warburg;
};

/* n between 0.3 and 1 by a logistic. */
static double exponent_of(double p) { return 0.3 + 0.7 / (1 + exp(-p)); }

static double complex model(const double *p, bool warburg, double frequency_Hz) {
  double w           = 2 * PI * frequency_Hz;
  double complex cpe = exp(p[P_Q]) * cpow(I * w, exponent_of(p[P_N]));
  double complex z   = exp(p[P_RS]) + 1 / (exp(-p[P_RCT]) + cpe);
  return warburg ? z + exp(p[P_W]) * (1 - I) / sqrt(w) : z;
}

static bool residuals(const double *p, double *r, void *context) {
  const struct spectrum *s = context;
  double *const *column    = s->table->column;
  for (int64_t i = 0; i < s->table->rows; i++) {
    double complex measured = column[1][i] + I * column[2][i],
                   z        = model(p, s->warburg, column[0][i]);
    double size             = cabs(measured) > 0 ? cabs(measured) : 1;
    r[2 * i]                = (creal(z) - column[1][i]) / size;
    r[2 * i + 1]            = (cimag(z) - column[2][i]) / size;
    if (!isfinite(r[2 * i]) || !isfinite(r[2 * i + 1])) return false;
  }
  return true;
}

/* Start values off the Nyquist plot: the leftmost real part, the arc's width, its apex. */
static void start_values(const struct echem_table *t, double arc_share, double *p) {
  double least = 1e300, most = 0, apex = 0, apex_Hz = t->column[0][0];
  for (int64_t i = 0; i < t->rows; i++) {
    if (t->column[1][i] < least) least = t->column[1][i];
    if (t->column[1][i] > most) most = t->column[1][i];
    if (-t->column[2][i] > apex && t->column[0][i] > 1) {
      apex    = -t->column[2][i];
      apex_Hz = t->column[0][i];
    }
  }
  double size = most > 0 ? most : 1, arc = (most - least) * arc_share;
  p[P_RS]  = log(least > 1e-6 * size ? least : 1e-2 * size);
  p[P_RCT] = log(arc > 1e-6 * size ? arc : 1e-2 * size);
  p[P_N]   = 1.5;
  p[P_Q]   = -exponent_of(p[P_N]) * log(2 * PI * apex_Hz) - p[P_RCT];
  p[P_W]   = log(0.1 * size);
}

static enum status fit_once(const struct spectrum *s, double *best_p, double *covariance,
                            double *chi2) {
  struct numeric_leastsq_problem problem = {residuals, (void *)(uintptr_t)s,
                                            s->warburg ? P_MOST : P_W, (int)(2 * s->table->rows)};
  enum status status                     = STATUS_NOT_CONVERGED;
  *chi2                                  = 1e300;
  for (int k = 1; k <= 4; k++) { /* several shares of the arc, against local minima */
    double p[P_MOST], cover[P_MOST * P_MOST];
    struct numeric_fit_report report;
    start_values(s->table, 0.25 * k, p);
    status_clear();
    if (numeric_leastsq(&problem, p, cover, &report) != STATUS_OK || !(report.chi2 < *chi2))
      continue;
    *chi2 = report.chi2;
    memcpy(best_p, p, sizeof p);
    memcpy(covariance, cover, sizeof cover);
    status = STATUS_OK;
  }
  return status == STATUS_OK ? status
                             : FAIL(status, "the impedance fit did not converge from any start");
}

static double akaike(double chi2, double values, double k) {
  return values * log(chi2 / values) + 2 * k + 2 * k * (k + 1) / (values - k - 1);
}

static double rc_part(double w, double tau_s, bool imaginary) {
  double x = w * tau_s, share = 1 / (1 + x * x);
  return imaginary ? -x * share : share;
}

/* RC elements two per decade over the measured range, a series resistance, inductance and capacitance. */
static enum status kramers_kronig(const struct echem_table *t, double *rms) {
  double low = 1e300, high = 0;
  for (int64_t i = 0; i < t->rows; i++) {
    if (t->column[0][i] < low) low = t->column[0][i];
    if (t->column[0][i] > high) high = t->column[0][i];
  }
  int elements = (int)ceil(2.5 * log10(high / low)) + 1, rows = (int)(2 * t->rows);
  if (elements > (int)t->rows / 2) elements = (int)t->rows / 2;
  if (elements < 2) elements = 2;
  int columns = elements + 3;
  double *a = NULL, *b = NULL, *x = NULL, chi2 = 0;
  enum status status = memory_make((int64_t)rows * columns, sizeof *a, "a linear system", &a);
  if (status == STATUS_OK) status = memory_make(rows, sizeof *b, "a linear system", &b);
  if (status == STATUS_OK) status = memory_make(columns, sizeof *x, "a linear system", &x);
  for (int i = 0; status == STATUS_OK && i < rows; i++) {
    bool imaginary = i % 2;
    double w = 2 * PI * t->column[0][i / 2], size = hypot(t->column[1][i / 2], t->column[2][i / 2]);
    double *row = a + (int64_t)i * columns;
    for (int k = 0; k < elements; k++) {
      double tau_s = pow(high / low, (double)k / (elements - 1)) / (2 * PI * high);
      row[k]       = rc_part(w, tau_s, imaginary) / size;
    }
    row[elements]     = imaginary ? 0 : 1 / size;
    row[elements + 1] = imaginary ? w / (2 * PI * high) / size : 0;
    row[elements + 2] = imaginary ? -(2 * PI * low) / w / size : 0;
    b[i]              = t->column[1 + imaginary][i / 2] / size;
  }
  if (status == STATUS_OK) status = numeric_linear(a, b, rows, columns, x, &chi2);
  *rms = sqrt(chi2 / rows);
  memory_free(a);
  memory_free(b);
  memory_free(x);
  return status;
}

static void fill_in(const double *p, const double *covariance, int n_p, double chi2, double values,
                    struct echem_impedance *fit) {
  double variance     = chi2 / (values - n_p);
  fit->R_s_Ohm        = exp(p[P_RS]);
  fit->R_ct_Ohm       = exp(p[P_RCT]);
  fit->R_s_sigma      = fit->R_s_Ohm * sqrt(variance * covariance[0]);
  fit->R_ct_sigma     = fit->R_ct_Ohm * sqrt(variance * covariance[n_p + 1]);
  fit->Q              = exp(p[P_Q]);
  fit->n              = exponent_of(p[P_N]);
  fit->W              = n_p > P_W ? exp(p[P_W]) : 0;
  fit->has_warburg    = n_p > P_W;
  fit->relative_noise = sqrt(variance);
}

enum status echem_impedance_fit(const char *name, const struct echem_table *spectrum,
                                struct echem_impedance *fit) {
  memset(fit, 0, sizeof *fit);
  double values = 2 * (double)spectrum->rows;
  if (spectrum->rows < P_MOST + 1)
    return FAIL(STATUS_INPUT, "%s: %lld frequencies; the fit needs at least %d", name,
                (long long)spectrum->rows, P_MOST + 1);
  for (int64_t i = 0; i < spectrum->rows; i++)
    if (hypot(spectrum->column[1][i], spectrum->column[2][i]) == 0)
      return FAIL(STATUS_INPUT, "%s: row %lld: an impedance of 0 Ohm", name, (long long)i + 1);
  double p[2][P_MOST], covariance[2][P_MOST * P_MOST], chi2[2], score[2];
  for (int k = 0; k < 2; k++) {
    struct spectrum s = {spectrum, k == 1};
    TRY(fit_once(&s, p[k], covariance[k], &chi2[k]));
    score[k] = akaike(chi2[k] + 1e-300, values, P_W + k);
  }
  int best = score[1] < score[0];
  fill_in(p[best], covariance[best], P_W + best, chi2[best], values, fit);
  TRY(kramers_kronig(spectrum, &fit->kramers_kronig));
  fit->kramers_kronig_good =
      fit->kramers_kronig < 0.01 || fit->kramers_kronig < 1.5 * fit->relative_noise;
  return STATUS_OK;
}

void echem_impedance_model(const struct echem_impedance *fit, double frequency_Hz, double *real,
                           double *imaginary) {
  double w         = 2 * PI * frequency_Hz;
  double complex z = fit->R_s_Ohm + 1 / (1 / fit->R_ct_Ohm + fit->Q * cpow(I * w, fit->n)) +
                     fit->W * (1 - I) / sqrt(w);
  *real      = creal(z);
  *imaginary = cimag(z);
}
