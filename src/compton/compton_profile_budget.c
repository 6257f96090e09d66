/* What is not known and not fitted, as changes of a pixel's expected counts: all else follows from the linear answer of
 * windows and fit to them. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

static void contents(const struct pixel_view *v, const double *change,
                     double content[COMPTON_WINDOWS]) {
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    content[w] = 0;
    for (int64_t b = v->cut[w].bin - 1; b <= v->cut[w + 1].bin + 1; b++)
      content[w] += v->weight[w][b] * change[b];
  }
}

/* change = bins of the room's shape, moved by shift_kev, less those of the pixel as it is taken to be. */
static void difference(const struct compton_table *t, struct pixel_view *v, double shift_kev,
                       double *change) {
  compton_table_bins(t, v->integral, v->density, v->true_kev, v->scale, shift_kev, v->edge, change,
                     NULL);
  for (int64_t b = 0; b < t->end - t->begin; b++) change[b] -= v->base[b];
}

/* Exponential loss of energy: what is at y comes from y + u with the density exp(-u / tail) / tail. The density T is taken
 * as straight between points; the new one T' obeys tail dT'/dy = T' - T, which also gives its integral. */
static void lose(const struct compton_table *t, double tail_kev, double *integral,
                 double *density) {
  double step = t->y_step, keep = exp(-step / tail_kev), above = 0, lost = 0;
  for (int64_t i = t->points - 1; i >= 0; i--) {
    double here = density[i], slope = (above - here) / step;
    lost       = keep * lost + here * (1 - keep) + slope * (tail_kev * (1 - keep) - step * keep);
    above      = here;
    density[i] = lost;
  }
  for (int64_t i = 0; i < t->points; i++) integral[i] += tail_kev * (density[i] - density[0]);
}

/* The line stays where it is seen: at another angle the scale is another one, too. */
static enum status other_nodes(struct compton_table *t, struct pixel_view *v, double angle,
                               double fwhm_kev, const double part[COMPTON_SHAPES], double *change) {
  struct table_at at = {.held = false};
  double line        = xray_line_kev(t->set.beam_kev, angle);
  TRY(compton_table_at(t, angle, fwhm_kev, &at));
  compton_table_span(t, line, v->given.line_kev / line, &at);
  compton_table_mix(t, &at, part, v->integral, v->density);
  compton_table_bins(t, v->integral, v->density, line, v->given.line_kev / line, 0, v->edge, change,
                     NULL);
  for (int64_t b = 0; b < t->end - t->begin; b++) change[b] -= v->base[b];
  return STATUS_OK;
}

static void scaled(double *change, double by, int64_t n) {
  for (int64_t b = 0; b < n; b++) change[b] *= by;
}

/* Shifts: of the scale of all pixels, then of this pixel's line alone. */
static void shifts(const struct compton_table *t, struct pixel_view *v, struct biases *out) {
  double own[COMPTON_WINDOWS];
  difference(t, v, t->set.unsure.scale_kev, out->change[COMPTON_SCALE]);
  if (v->given.line_sigma_kev > 0)
    difference(t, v, v->given.line_sigma_kev, out->change[COMPTON_LINE]);
  contents(v, out->change[COMPTON_LINE], own);
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    for (int u = 0; u < COMPTON_WINDOWS; u++)
      out->line[w][u] = own[w] * own[u] / (BIAS_LINE_UNIT * BIAS_LINE_UNIT);
}

static void besides(const struct compton_table *t, const struct pixel_view *v, struct biases *out) {
  const double escape_kev = t->set.beam_kev - COMPTON_ESCAPE_KEV,
               sigma      = v->given.fwhm_kev / 2.354820045;
  double all = 0, top = 0;
  for (int64_t b = 0; b < out->bins; b++) {
    all += v->base[b];
    top = fmax(top, v->base[b]);
  }
  for (int64_t b = 0; b < out->bins; b++) {
    double energy = (t->first_kev + ((double)(t->begin + b) + 0.5) * t->bin_kev) / v->scale;
    double z      = (energy - escape_kev) / sigma;
    out->change[COMPTON_UNSEEN][b]   = 0.01 * t->set.unsure.escape_percent * top * exp(-z * z / 2);
    out->change[COMPTON_MULTIPLE][b] = 0.01 * t->set.unsure.multiple_percent * all * t->twice[b];
  }
}

/* The pixel's mixture from its shapes. */
static void mixture_make(const struct compton_table *t, struct pixel_view *v,
                         const double mixture[COMPTON_SHAPES]) {
  for (int d = 0; d < 2; d++) {
    const double *from[COMPTON_SHAPES];
    for (int k = 0; k < t->set.shapes; k++) from[k] = v->shape[k][d];
    ISA_PICK(profile_blend)(from, mixture, t->set.shapes, t->padded, d ? v->density : v->integral);
  }
}

enum status view_biases(struct compton_table *t, struct pixel_view *v,
                        const double part[COMPTON_SHAPES], struct biases *out) {
  double mixture[COMPTON_SHAPES] = {0};
  memset(out->all, 0, (size_t)out->size * sizeof *out->all);
  for (int k = 0; k < t->set.shapes; k++) mixture[k] = part[k] * v->intensity;
  mixture_make(t, v, mixture);
  compton_table_bins(t, v->integral, v->density, v->true_kev, v->scale, 0, v->edge, v->base, NULL);
  shifts(t, v, out);
  if (t->set.unsure.tail_percent > 0) {
    lose(t, t->set.unsure.tail_kev, v->integral, v->density);
    difference(t, v, 0, out->change[COMPTON_TAIL]);
    scaled(out->change[COMPTON_TAIL], 0.01 * t->set.unsure.tail_percent, out->bins);
  }
  besides(t, v, out);
  if (t->set.unsure.angle_deg > 0)
    TRY(other_nodes(t, v, v->given.angle + t->set.unsure.angle_deg / DEG_PER_RAD, v->given.fwhm_kev,
                    mixture, out->change[COMPTON_ANGLE]));
  if (t->set.unsure.fwhm_kev > 0)
    TRY(other_nodes(t, v, v->given.angle, v->given.fwhm_kev + t->set.unsure.fwhm_kev, mixture,
                    out->change[COMPTON_WIDTH]));
  for (int s = 0; s < COMPTON_SOURCES; s++) contents(v, out->change[s], out->content[s]);
  return STATUS_OK;
}
