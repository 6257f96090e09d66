/* Results of a state. With one region NAME, with several NAME_region<n>. `emf` is at the reference angle and resolution,
 * so that detectors and angles compare; `emf_detector` is as this detector's pixels show it. */
#include "compton_work.h"
#include <math.h>
#include <string.h>

/* NAME, or NAME_region<r> where there are several. */
static struct stage_result *result(struct compton_work *w, const char *name, int r, double value,
                                   const char *unit) {
  char full[64];
  snprintf(full, sizeof full, w->regions.n > 1 ? "%s_region%d" : "%s", name, r + 1);
  return stage_result_add(w->job->results, full, value, unit);
}

static void counted_add(struct compton_work *w, const struct compton_cube *c, int r) {
  bool frames = w->regions.region[r].is_frames;
  result(w, "events", r, (double)c->events, "counts");
  result(w, "singles", r, frames ? (double)c->singles : (double)NAN, "counts");
  result(w, "pairs", r, frames ? (double)c->pairs : (double)NAN, "counts");
  result(w, "dropped", r, frames ? (double)c->dropped : (double)NAN, "counts");
  result(w, "bad_pixels", r, (double)c->bad_pixels, "");
  if (!frames) return;
  if (w->params->veto) result(w, "vetoed", r, (double)c->vetoed, "counts");
  result(w, "outside", r, (double)c->outside, "counts");
  result(w, "frames", r, (double)c->frames, "");
  result(w, "occupancy", r, c->occupancy, "");
  result(w, "chance_coincidence", r, c->chance, "");
}

/* Of all regions together, where there are several. */
static void sums_add(struct compton_work *w) {
  double events = 0, singles = 0, pairs = 0, dropped = 0;
  if (w->regions.n == 1) return;
  for (int r = 0; r < w->regions.n; r++) {
    bool frames = w->regions.region[r].is_frames;
    events += (double)w->cube[r].events;
    singles += frames ? (double)w->cube[r].singles : (double)NAN;
    pairs += frames ? (double)w->cube[r].pairs : (double)NAN;
    dropped += frames ? (double)w->cube[r].dropped : (double)NAN;
  }
  stage_result_add(w->job->results, "events", events, "counts");
  stage_result_add(w->job->results, "singles", singles, "counts");
  stage_result_add(w->job->results, "pairs", pairs, "counts");
  stage_result_add(w->job->results, "dropped", dropped, "counts");
}

/* sigma: of counting, background and lines; the interval has what may be off in common too. */
static void factor_add(struct compton_work *w, const char *name, int r,
                       const struct compton_emf *emf, const struct compton_factor *factor) {
  bool defined             = emf->state == COMPTON_DEFINED;
  struct stage_result *row = result(w, name, r, defined ? factor->value : (double)NAN, "");
  if (!defined || !isfinite(factor->sigma)) return;
  double all = hypot(factor->sigma, factor->bias);
  row->sigma = factor->sigma;
  row->lower = factor->value - all, row->upper = factor->value + all;
}

static void factors_add(struct compton_work *w, int r) {
  const struct compton_emf *e = &w->maps[r].whole;
  if (e->state != COMPTON_DEFINED)
    log_warning("compton: the momentum factor of region %d is undefined: %s", r + 1,
                compton_state_words(e->state));
  factor_add(w, "emf", r, e, &e->emf_normal);
  factor_add(w, "emf_high_side", r, e, &e->high_normal);
  factor_add(w, "emf_detector", r, e, &e->emf);
  factor_add(w, "emf_detector_high_side", r, e, &e->high);
  result(w, "pixels", r, (double)e->pixels, "");
  result(w, "counts_in_windows", r, e->counts, "counts");
  result(w, "background_percent", r, e->counts > 0 ? 100 * e->background / e->counts : (double)NAN,
         "%");
  result(w, "fit_chi2_per_bin", r, e->bins > 0 ? e->chi2 / (double)e->bins : (double)NAN, "");
}

/* From the first part to the last. */
static void drift_add(struct compton_work *w, int r) {
  const struct compton_drift *d = &w->drift[r];
  int last                      = d->parts - 1;
  if (d->parts < 2) return;
  result(w, "gain_drift", r, 100 * (d->growth[last] / d->growth[0] - 1), "%")->sigma =
      100 * hypot(d->sigma[0], d->sigma[last]);
}

static void sensor_add(struct compton_work *w) {
  const struct compton_sensor *s   = &w->sensor;
  static const char *const loss[3] = {"pair_loss_0", "pair_loss_2", "pair_loss_4"};
  if (s->pixel) stage_result_add(w->job->results, "source_pixels", (double)s->good, "");
  for (int k = 0; k < 3 && s->has_loss; k++)
    stage_result_add(w->job->results, loss[k], s->loss_kev[k], "keV");
}

static void disc_add(struct compton_work *w) {
  const struct compton_disc_result *d = &w->known.disc;
  if (!w->known.has_disc) return;
  stage_result_add(w->job->results, "angle_offset_deg", d->offset_deg, "deg")->sigma =
      d->offset_sigma_deg;
  stage_result_add(w->job->results, "disc_orientation", d->orientation, "");
  stage_result_add(w->job->results, "disc_fwhm", d->fwhm_kev, "keV");
  stage_result_add(w->job->results, "disc_pixels", (double)d->good, "");
}

void compton_results_add(struct compton_work *w) {
  sums_add(w);
  for (int r = 0; r < w->regions.n; r++) counted_add(w, &w->cube[r], r);
  for (int r = 0; r < w->regions.n; r++) factors_add(w, r);
  for (int r = 0; r < w->regions.n; r++) drift_add(w, r);
  sensor_add(w);
  disc_add(w);
}
