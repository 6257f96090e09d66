/* Line shapes as the detector sees them, on nodes of angle (every 3 degrees) and resolution (every 6 %), over energies
 * relative to the line of resting electrons. In these coordinates a shape changes so little between nodes that parabolas
 * through three of them are right to a few 1e-6 of its top. A bin's content is the difference of the integral at its
 * edges, read by cubics whose slopes are the density. Nodes stand at fixed places, whoever asks: the same on all ranks. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

#define ANGLE_STEP  (3.0 / DEG_PER_RAD)
#define WIDTH_KEV   0.8
#define WIDTH_RATIO 1.06
#define ANGLES_ABOUT                                                                               \
  20.0 /* degrees to either side of the reference for which energies are tabulated */
#define STEPS_A_WIDTH 12
#define HELD          0.8 /* nodes */

double compton_table_polarised(const struct compton_table *t, double angle) {
  double p = xray_line_kev(t->set.beam_kev, angle) / t->set.beam_kev, s = sin(angle);
  double all = p + 1 / p;
  return 1 + t->set.polarised * (all / (all - s * s) - 1);
}

/* Density at the points (every second of what xray_line_shape gives) and its integral by Simpson's rule. */
static void integrate(const double *rate, int64_t points, double step, double *integral,
                      double *density) {
  double sum = 0;
  for (int64_t i = 0; i < points; i++) {
    integral[i] = sum;
    density[i]  = rate[2 * i];
    if (i + 1 < points) sum += step / 6 * (rate[2 * i] + 4 * rate[2 * i + 1] + rate[2 * i + 2]);
  }
}

static enum status node_make(const struct compton_table *t, double angle, double fwhm_kev,
                             double **made) {
  double *rate, line = xray_line_kev(t->set.beam_kev, angle);
  TRY(memory_make(2 * t->points, sizeof *rate, "a line shape", &rate));
  enum status status =
      memory_make(2 * t->padded * t->set.shapes, sizeof **made, "line shapes", made);
  for (int k = 0; k < t->set.shapes && status == STATUS_OK; k++) {
    status = xray_line_shape(&t->profile[k], t->set.beam_kev, angle, fwhm_kev, line + t->y_first,
                             t->y_step / 2, 2 * t->points - 1, rate);
    double *to = *made + 2 * k * t->padded;
    if (status == STATUS_OK) integrate(rate, t->points, t->y_step, to, to + t->padded);
  }
  memory_free(rate);
  if (status == STATUS_OK) return STATUS_OK;
  memory_free(*made);
  *made = NULL;
  return status;
}

/* Parabola through -1, 0, 1. */
static void shares(double at, double share[NODES_ACROSS]) {
  share[0] = at * (at - 1) / 2;
  share[1] = 1 - at * at;
  share[2] = at * (at + 1) / 2;
}

enum status compton_table_at(struct compton_table *t, double angle, double fwhm_kev,
                             struct table_at *at) {
  double a = angle / ANGLE_STEP, w = log(fwhm_kev / WIDTH_KEV) / log(WIDTH_RATIO), by_a[3], by_w[3];
  bool near = fabs(angle * DEG_PER_RAD - t->set.reference_deg) <= ANGLES_ABOUT;
  if (!near || !(a > 1.5 && a < NODE_ANGLES - 2.5) || !(fabs(w) < NODE_WIDTH_0 - 2))
    return FAIL(
        STATUS_INPUT,
        "no line shape at %.4g degrees with a resolution of %.3g keV: 0.01 to 70 keV and an "
        "angle within %g degrees of %g, between 5 and 178, would be right",
        angle * DEG_PER_RAD, fwhm_kev, ANGLES_ABOUT, t->set.reference_deg);
  long middle_a = lround(a), middle_w = lround(w), was = at->middle_width - 1 - NODE_WIDTH_0;
  if (at->held && at->middle_width && fabs(w - (double)was) < HELD) middle_w = was;
  at->middle_width = middle_w + 1 + NODE_WIDTH_0;
  at->begin        = 0;
  at->end          = t->padded;
  shares(a - (double)middle_a, by_a);
  double off = w - (double)middle_w;
  shares(off, by_w);
  for (int i = 0; i < NODES_ACROSS; i++)
    for (int k = 0; k < NODES_ACROSS; k++) {
      long na = middle_a + i - 1, nw = middle_w + k - 1;
      double **node = &t->node[na][nw + NODE_WIDTH_0];
      if (!*node)
        TRY(node_make(t, (double)na * ANGLE_STEP, WIDTH_KEV * pow(WIDTH_RATIO, (double)nw), node));
      at->node[i * NODES_ACROSS + k]   = *node;
      at->weight[i * NODES_ACROSS + k] = by_a[i] * by_w[k];
      at->by_width[i * NODES_ACROSS + k] =
          by_a[i] * (k == 1 ? -2 * off : off + 0.5 * (k - 1)) / (fwhm_kev * log(WIDTH_RATIO));
    }
  return STATUS_OK;
}

void compton_table_span(const struct compton_table *t, double line_kev, double scale,
                        struct table_at *at) {
  enum { BESIDE = 2 };
  double low    = (t->first_kev + (double)t->begin * t->bin_kev) / scale - line_kev,
         high   = (t->first_kev + (double)t->end * t->bin_kev) / scale - line_kev;
  double first  = floor((low - t->y_first) / t->y_step) - BESIDE,
         last   = ceil((high - t->y_first) / t->y_step) + BESIDE;
  int64_t begin = (int64_t)fmin(fmax(first, 0), (double)(t->points - BESIDE));
  int64_t end   = (int64_t)fmin(fmax(last + 1, 1), (double)t->points);
  at->begin     = begin / PROFILE_PADDING * PROFILE_PADDING;
  at->end       = (end + PROFILE_PADDING - 1) / PROFILE_PADDING * PROFILE_PADDING;
}

void compton_table_mix(const struct compton_table *t, const struct table_at *at,
                       const double part[COMPTON_SHAPES], double *integral, double *density) {
  const double *from[2][COMPTON_SHAPES * NODES_USED];
  double weight[COMPTON_SHAPES * NODES_USED];
  int n = 0;
  for (int k = 0; k < t->set.shapes; k++)
    for (int i = 0; i < NODES_USED && part[k] != 0; i++, n++) {
      from[0][n] = at->node[i] + 2 * k * t->padded + at->begin;
      from[1][n] = from[0][n] + t->padded;
      weight[n]  = part[k] * at->weight[i];
    }
  ISA_PICK(profile_blend)(from[0], weight, n, at->end - at->begin, integral + at->begin);
  ISA_PICK(profile_blend)(from[1], weight, n, at->end - at->begin, density + at->begin);
}

void compton_table_bins(const struct compton_table *t, const double *integral,
                        const double *density, double line_kev, double scale, double shift_kev,
                        double *room, double *out, double *slope) {
  int64_t n = t->end - t->begin;
  double *y = room, *c = room + n + 1, *d = c + n + 1;
  for (int64_t b = 0; b <= n; b++)
    y[b] = (t->first_kev + (double)(t->begin + b) * t->bin_kev - shift_kev) / scale - line_kev;
  ISA_PICK(profile_read)(integral, density, t->y_first, t->y_step, t->points, y, n + 1, c, d);
  for (int64_t b = 0; b < n; b++) out[b] = (c[b + 1] - c[b]) * t->efficiency[b];
  if (!slope) return;
  for (int64_t b = 0; b < n; b++) slope[b] = (d[b] - d[b + 1]) / scale * t->efficiency[b];
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static enum status settings_check(const struct compton_profile_settings *s, double first_kev,
                                  double last_kev) {
  double angle = s->reference_deg / DEG_PER_RAD;
  if (!(s->low_au > 0 && s->high_au > s->low_au))
    return FAIL(STATUS_USAGE,
                "windows of %g and %g a.u.: 0 < low < high would be right, such as 1 and 5",
                s->low_au, s->high_au);
  if (s->shapes < 1 || s->shapes > COMPTON_SHAPES)
    return FAIL(STATUS_USAGE, "%d materials in the mixture: 1 to %d would be right", s->shapes,
                COMPTON_SHAPES);
  for (int k = 0; k < s->shapes; k++)
    for (int j = 0; j < k; j++)
      if (s->material[j] == s->material[k])
        return FAIL(STATUS_USAGE, "the mixture names %s twice", xray_material_name(s->material[k]));
  double from = xray_energy(s->beam_kev, -s->high_au, angle),
         to   = xray_energy(s->beam_kev, s->high_au, angle);
  if (!(from >= fmax(s->fit_first_kev, first_kev) && to <= fmin(s->fit_last_kev, last_kev)))
    return FAIL(
        STATUS_USAGE,
        "the window of %g a.u. is %.2f to %.2f keV at %g degrees: the fit (%g to %g keV) and "
        "the spectra (%g to %g keV) must hold it",
        s->high_au, from, to, s->reference_deg, s->fit_first_kev, s->fit_last_kev, first_kev,
        last_kev);
  if (s->bins_au > 0 && !(s->step_au > 0))
    return FAIL(STATUS_USAGE, "momentum bins of %g a.u.: more than 0 would be right", s->step_au);
  return STATUS_OK;
}

/* The bins that lie whole between the limits of the fit, and the energies about the line that they may need. */
static void place(struct compton_table *t) {
  const struct compton_profile_settings *s = &t->set;
  double begin = ceil((s->fit_first_kev - t->first_kev) / t->bin_kev - 1e-6),
         end   = floor((s->fit_last_kev - t->first_kev) / t->bin_kev + 1e-6);
  t->begin     = (int64_t)fmax(begin, 0);
  t->end       = (int64_t)fmin(end, (double)t->bins);
  double about = ANGLES_ABOUT / DEG_PER_RAD, angle = s->reference_deg / DEG_PER_RAD;
  double line_most  = xray_line_kev(s->beam_kev, fmax(angle - about, 0.05)),
         line_least = xray_line_kev(s->beam_kev, fmin(angle + about, PI));
  t->y_step         = s->reference_fwhm_kev / STEPS_A_WIDTH;
  t->y_first        = floor((s->fit_first_kev - line_most) / t->y_step - 20) * t->y_step;
  t->points         = (int64_t)ceil((s->fit_last_kev - line_least - t->y_first) / t->y_step) + 20;
  t->padded         = (t->points + PROFILE_PADDING - 1) / PROFILE_PADDING * PROFILE_PADDING;
  t->unit           = xray_klein_nishina(s->beam_kev, angle);
}

static enum status sensor_make(struct compton_table *t) {
  int64_t n = t->end - t->begin;
  TRY(memory_make(n, sizeof *t->efficiency, "efficiencies", &t->efficiency));
  for (int64_t b = 0; b < n; b++) {
    double energy    = t->first_kev + ((double)(t->begin + b) + 0.5) * t->bin_kev;
    t->efficiency[b] = 1;
    if (t->set.sensor_mm > 0)
      TRY(xray_sensor_efficiency(energy, t->set.sensor_mm, &t->efficiency[b]));
  }
  return STATUS_OK;
}

/* J over momenta a..b, from the density rate[] of counts, by Simpson's rule over energy. */
static double window_content(const struct compton_table *t, double angle, const double *rate,
                             double first, double step, double a, double b) {
  enum { PARTS = 800 };
  double beam = t->set.beam_kev, from = xray_energy(beam, a, angle),
         part = (xray_energy(beam, b, angle) - from) / PARTS, sum = 0;
  for (int i = 0; i <= PARTS; i++) {
    double energy = from + i * part, at = (energy - first) / step;
    int64_t k    = (int64_t)at;
    double value = rate[k] + (at - (double)k) * (rate[k + 1] - rate[k]);
    value *= xray_momentum_slope(beam, energy, angle) / xray_cross_section(beam, energy, angle);
    sum += value * (i == 0 || i == PARTS ? 1 : i % 2 ? 4 : 2);
  }
  return t->unit * part / 3 * sum;
}

/* Content of the windows at the reference, per electron and unit of cross-section. */
static enum status reference_make(struct compton_table *t) {
  const struct compton_profile_settings *s = &t->set;
  double angle = s->reference_deg / DEG_PER_RAD, line = xray_line_kev(s->beam_kev, angle), *rate;
  double step = t->y_step / 4;
  int64_t n   = 4 * t->points;
  TRY(memory_make(n, sizeof *rate, "a line shape", &rate));
  const double cut[COMPTON_WINDOWS + 1] = {-s->high_au, -s->low_au, 0, s->low_au, s->high_au};
  enum status status                    = STATUS_OK;
  for (int k = 0; k < s->shapes && status == STATUS_OK; k++) {
    status = xray_line_shape(&t->profile[k], s->beam_kev, angle, s->reference_fwhm_kev,
                             line + t->y_first, step, n, rate);
    for (int w = 0; w < COMPTON_WINDOWS && status == STATUS_OK; w++)
      t->reference[w][k] =
          window_content(t, angle, rate, line + t->y_first, step, cut[w], cut[w + 1]);
  }
  memory_free(rate);
  return status;
}

static enum status fall_make(struct compton_table *t) {
  TRY(memory_make(2 * FALL_POINTS, sizeof *t->fall, "a normal distribution", &t->fall));
  t->bell = t->fall + FALL_POINTS;
  for (int i = 0; i < FALL_POINTS; i++) {
    double z   = FALL_FIRST + i * FALL_STEP;
    t->fall[i] = 0.5 * erfc(z / sqrt(2));
    t->bell[i] = -exp(-z * z / 2) / sqrt(2 * PI);
  }
  return STATUS_OK;
}

static enum status parts_make(struct compton_table *t) {
  const struct compton_profile_settings *s = &t->set;
  TRY(memory_make(s->shapes, sizeof *t->profile, "Compton profiles", &t->profile));
  for (int k = 0; k < s->shapes; k++) TRY(xray_profile_of(s->material[k], s->x, &t->profile[k]));
  TRY(fall_make(t));
  TRY(sensor_make(t));
  TRY(memory_make(t->end - t->begin, sizeof *t->twice, "photons scattered twice", &t->twice));
  TRY(xray_scattered_twice(s->beam_kev, s->reference_deg / DEG_PER_RAD,
                           t->first_kev + (double)t->begin * t->bin_kev, t->bin_kev,
                           t->end - t->begin, t->twice));
  return reference_make(t);
}

enum status compton_table_make(const struct compton_profile_settings *settings, double first_kev,
                               double bin_kev, int64_t bins, struct compton_table **table) {
  *table = NULL;
  TRY(settings_check(settings, first_kev, first_kev + (double)bins * bin_kev));
  struct compton_table *t;
  TRY(memory_make(1, sizeof *t, "line shapes", &t));
  t->set       = *settings;
  t->first_kev = first_kev;
  t->bin_kev   = bin_kev;
  t->bins      = bins;
  place(t);
  enum status status = parts_make(t);
  if (status == STATUS_OK)
    *table = t;
  else
    compton_table_free(t);
  return status;
}

double compton_table_beam_kev(const struct compton_table *t) { return t->set.beam_kev; }

void compton_table_free(struct compton_table *t) {
  if (!t) return;
  for (int a = 0; a < NODE_ANGLES; a++)
    for (int w = 0; w < NODE_WIDTHS; w++) memory_free(t->node[a][w]);
  memory_free(t->profile);
  memory_free(t->efficiency);
  memory_free(t->fall);
  memory_free(t->room);
  memory_free(t->twice);
  memory_free(t);
}
