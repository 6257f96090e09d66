/* Fisher's scoring of the peak: least squares of the counts on the model's derivatives with weights 1/model, the model from
 * the step before, until a step is less than a thousandth of its errors. Unlike fits with weights from the counts it does
 * not lean to low ones, and unlike a function that merely looks like the peak it has nothing to lean on. Energies scale with
 * the line: the pixel's gain is what is not known. Weights have a floor; what is fitted may lie below it, and below 0: beside
 * a line without background it must. */
#include "compton_fit.h"
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

enum { STEPS_MOST = 40 };
#define STEP_SMALL   1e-6
#define LINE_STEP    0.4  /* keV, at most in one step */
#define WIDTH_STEP   0.15 /* of the width */
#define FLOOR_SHARE  1e-3
#define SEARCH_KEV   6.0 /* to either side of where the line should be */
#define SMOOTH_KEV   1.0
#define FWHM_A_SIGMA 2.354820045

struct fit {
  struct compton_table *table;
  const struct compton_fit_settings *settings;
  double *value; /* the peak's */
  double angle, true_kev;
  double part[COMPTON_SHAPES];
  int64_t n;
  int terms;
  enum compton_fit_term term[COMPTON_FIT_TERMS];
  /* [n + 1] each, of the table's room */
  double *integral, *density, *by_width[2];
  double *count, *energy, *y, *cumulated, *dense, *shape, *slope, *broader, *shelf, *line, *one;
  double *model, *weight, *right;
  double in_table_fwhm; /* for which integral and density were made */
  struct table_at at;
};

/* ---- model ---------------------------------------------------------------------------------------------- */

static enum status shape_make(struct fit *f) {
  double fwhm = f->value[COMPTON_FIT_WIDTH];
  if (fwhm == f->in_table_fwhm) return STATUS_OK;
  TRY(compton_table_at(f->table, f->angle, fwhm, &f->at));
  compton_table_mix(f->table, &f->at, f->part, f->integral, f->density);
  if (f->settings->free >> COMPTON_FIT_WIDTH & 1) {
    struct table_at slope = f->at;
    memcpy(slope.weight, slope.by_width, sizeof slope.weight);
    compton_table_mix(f->table, &slope, f->part, f->by_width[0], f->by_width[1]);
  }
  f->in_table_fwhm = fwhm;
  return STATUS_OK;
}

/* Shape and its derivatives by line and width at the present values. */
static void columns_make(struct fit *f) {
  const struct compton_table *t = f->table;
  int64_t n                     = f->n;
  double scale                  = f->value[COMPTON_FIT_LINE] / f->true_kev;
  for (int64_t b = 0; b <= n; b++) f->y[b] = f->energy[b] / scale - f->true_kev;
  ISA_PICK(profile_read)
  (f->integral, f->density, t->y_first, t->y_step, t->points, f->y, n + 1, f->cumulated, f->dense);
  double by_line = 1 / (scale * scale * f->true_kev);
  for (int64_t b = 0; b < n; b++) {
    f->shape[b] = (f->cumulated[b + 1] - f->cumulated[b]) * t->efficiency[b];
    f->slope[b] = (f->dense[b] * f->energy[b] - f->dense[b + 1] * f->energy[b + 1]) * by_line *
                  t->efficiency[b];
  }
  if (f->settings->free >> COMPTON_FIT_WIDTH & 1) {
    ISA_PICK(profile_read)
    (f->by_width[0], f->by_width[1], t->y_first, t->y_step, t->points, f->y, n + 1, f->cumulated,
     f->dense);
    for (int64_t b = 0; b < n; b++)
      f->broader[b] = (f->cumulated[b + 1] - f->cumulated[b]) * t->efficiency[b];
  }
}

/* What a term needs that is neither fitted nor there, is not made. */
static bool used(const struct fit *f, enum compton_fit_term term) {
  return (f->settings->free >> term & 1) || f->value[term] != 0;
}

static void beside_make(struct fit *f) {
  const struct compton_table *t = f->table;
  bool shelf = used(f, COMPTON_FIT_STEP), line = used(f, COMPTON_FIT_ESCAPE);
  double half   = 0.5 * t->bin_kev * f->true_kev / f->value[COMPTON_FIT_LINE];
  double sigma  = f->value[COMPTON_FIT_WIDTH] / FWHM_A_SIGMA;
  double escape = t->set.beam_kev - COMPTON_ESCAPE_KEV - f->true_kev;
  if (!shelf && !line) return;
  for (int64_t b = 0; b < f->n; b++) f->y[b] = (f->y[b] + half) / sigma;
  if (shelf) ISA_PICK(profile_read)
  (t->fall, t->bell, FALL_FIRST, FALL_STEP, FALL_POINTS, f->y, f->n, f->shelf, f->dense);
  if (!line) return;
  for (int64_t b = 0; b < f->n; b++) f->y[b] -= escape / sigma;
  ISA_PICK(profile_read)
  (t->fall, t->bell, FALL_FIRST, FALL_STEP, FALL_POINTS, f->y, f->n, f->cumulated, f->line);
  for (int64_t b = 0; b < f->n; b++) f->line[b] *= -2 * half / sigma;
}

static void model_make(struct fit *f, double least) {
  const double *v = f->value;
  bool shelf = used(f, COMPTON_FIT_STEP), line = used(f, COMPTON_FIT_ESCAPE);
  for (int64_t b = 0; b < f->n; b++) {
    double m = v[COMPTON_FIT_AMPLITUDE] * f->shape[b] + v[COMPTON_FIT_CONSTANT];
    if (shelf) m += v[COMPTON_FIT_STEP] * f->shelf[b];
    if (line) m += v[COMPTON_FIT_ESCAPE] * f->line[b];
    f->model[b]  = m > least ? m : least;
    f->weight[b] = 1 / f->model[b];
    f->right[b]  = (f->count[b] - m) * f->weight[b];
  }
}

static void set_columns(struct fit *f, const double *column[COMPTON_FIT_TERMS]) {
  const double *const of[COMPTON_FIT_TERMS] = {f->shape, f->slope, f->one,
                                               f->shelf, f->line,  f->broader};
  double a                                  = f->value[COMPTON_FIT_AMPLITUDE];
  for (int64_t b = 0; b < f->n; b++) f->slope[b] *= a;
  if (f->settings->free >> COMPTON_FIT_WIDTH & 1)
    for (int64_t b = 0; b < f->n; b++) f->broader[b] *= a;
  for (int c = 0; c < f->terms; c++) column[c] = of[f->term[c]];
}

static double limited(double step, double most) { return fmax(-most, fmin(most, step)); }

/* One step; its square over its errors, negative: no inverse. */
static double step_take(struct fit *f, double least, struct compton_peak *peak) {
  const double *column[COMPTON_FIT_TERMS];
  double matrix[COMPTON_TERMS * COMPTON_TERMS], vector[COMPTON_TERMS], size = 0;
  double inverse[COMPTON_TERMS][COMPTON_TERMS];
  columns_make(f);
  beside_make(f);
  model_make(f, least);
  set_columns(f, column);
  ISA_PICK(profile_normal)(column, f->terms, f->weight, f->right, f->n, matrix, vector);
  if (!problem_invert(f->terms, matrix, inverse)) return -1;
  for (int i = 0; i < f->terms; i++) {
    double step = 0;
    for (int k = 0; k < f->terms; k++) {
      step += inverse[i][k] * vector[k];
      peak->covariance[f->term[i]][f->term[k]] = inverse[i][k];
    }
    size += step * vector[i];
    if (f->term[i] == COMPTON_FIT_LINE) step = limited(step, LINE_STEP);
    if (f->term[i] == COMPTON_FIT_WIDTH)
      step = limited(step, WIDTH_STEP * f->value[COMPTON_FIT_WIDTH]);
    f->value[f->term[i]] += step;
  }
  return size;
}

/* ---- begin ----------------------------------------------------------------------------------------------- */

static double sum_of(const double *count, int64_t from, int64_t to) {
  double sum = 0;
  for (int64_t b = from; b < to; b++) sum += count[b];
  return sum;
}

/* The busiest keV near where the line should be, then the mean of the counts about it. */
static double line_guess(const struct fit *f) {
  double bin = f->table->bin_kev, most = -1, at = f->true_kev;
  int64_t wide  = (int64_t)fmax(1, round(SMOOTH_KEV / bin));
  int64_t reach = (int64_t)ceil(SEARCH_KEV / bin),
          mid   = (int64_t)((f->true_kev - f->energy[0]) / bin);
  int64_t first = mid - reach < 0 ? 0 : mid - reach,
          last  = mid + reach + wide > f->n ? f->n : mid + reach + wide;
  for (int64_t b = first; b + wide <= last; b++) {
    double sum = sum_of(f->count, b, b + wide);
    if (sum > most) most = sum, at = f->energy[b] + 0.5 * (double)wide * bin;
  }
  for (int pass = 0; pass < 2; pass++) {
    double all = 0, moment = 0;
    for (int64_t b = first; b < last; b++) {
      double energy = f->energy[b] + bin / 2;
      if (fabs(energy - at) > 1.5 * SMOOTH_KEV) continue;
      all += f->count[b];
      moment += f->count[b] * energy;
    }
    if (all > 0) at = moment / all;
  }
  return at;
}

static void begin(struct fit *f) {
  int64_t edge = f->n / 10 > 0 ? f->n / 10 : 1;
  unsigned on  = f->settings->free;
  double *v    = f->value;
  if (on >> COMPTON_FIT_LINE & 1) v[COMPTON_FIT_LINE] = line_guess(f);
  if (on >> COMPTON_FIT_CONSTANT & 1)
    v[COMPTON_FIT_CONSTANT] = sum_of(f->count, f->n - edge, f->n) / (double)edge;
  if (on >> COMPTON_FIT_STEP & 1) v[COMPTON_FIT_STEP] = 0;
  if (on >> COMPTON_FIT_ESCAPE & 1) v[COMPTON_FIT_ESCAPE] = 0;
  if (!(on >> COMPTON_FIT_AMPLITUDE & 1)) return;
  columns_make(f);
  double beside = (double)f->n * v[COMPTON_FIT_CONSTANT], all = sum_of(f->count, 0, f->n);
  v[COMPTON_FIT_AMPLITUDE] = fmax(all - beside, 0.1 * all) / sum_of(f->shape, 0, f->n);
}

/* The table's room, in which every array has a whole number of vectors. */
static enum status fit_make(struct compton_table *t, struct fit *f) {
  int64_t wide           = (f->n + 1 + PROFILE_PADDING - 1) / PROFILE_PADDING * PROFILE_PADDING;
  double **const array[] = {&f->count, &f->energy, &f->y,       &f->cumulated, &f->dense,
                            &f->shape, &f->slope,  &f->broader, &f->shelf,     &f->line,
                            &f->one,   &f->model,  &f->weight,  &f->right};
  const int64_t arrays   = sizeof array / sizeof *array;
  if (!t->room) TRY(memory_make(arrays * wide + 4 * t->padded, sizeof *t->room, "fits", &t->room));
  double *at = t->room;
  for (int64_t i = 0; i < arrays; i++, at += wide) *array[i] = at;
  double **const long_array[] = {&f->integral, &f->density, &f->by_width[0], &f->by_width[1]};
  for (int i = 0; i < 4; i++, at += t->padded) *long_array[i] = at;
  return STATUS_OK;
}

static void fit_fill(struct fit *f, const uint32_t *count) {
  const struct compton_table *t = f->table;
  double all                    = 0;
  for (int k = 0; k < t->set.shapes; k++) all += f->settings->part[k];
  for (int k = 0; k < t->set.shapes; k++) f->part[k] = f->settings->part[k] / all;
  for (int64_t b = 0; b <= f->n; b++) {
    f->energy[b] = t->first_kev + (double)(t->begin + b) * t->bin_kev;
    f->one[b]    = 1;
  }
  for (int64_t b = 0; b < f->n; b++) f->count[b] = count[t->begin + b];
  for (int k = 0; k < COMPTON_FIT_TERMS; k++)
    if (f->settings->free >> k & 1) f->term[f->terms++] = (enum compton_fit_term)k;
}

static double deviance_of(const struct fit *f) {
  double sum = 0;
  for (int64_t b = 0; b < f->n; b++)
    sum += 2 * (f->model[b] - f->count[b] +
                (f->count[b] > 0 ? f->count[b] * log(f->count[b] / f->model[b]) : 0));
  return sum;
}

/* Values that no peak has: the fit has run away. */
static bool lost(const struct fit *f) {
  const double *v = f->value;
  double width    = v[COMPTON_FIT_WIDTH] / f->table->set.fwhm_kev;
  return !(fabs(v[COMPTON_FIT_LINE] - f->true_kev) < 2 * SEARCH_KEV) ||
         !(width > 0.1 && width < 10);
}

enum status compton_fit_pixel(struct compton_table *t, const struct compton_fit_settings *settings,
                              const uint32_t *count, double angle, struct compton_peak *peak) {
  struct fit f = {.table    = t,
                  .settings = settings,
                  .value    = peak->value,
                  .angle    = angle,
                  .true_kev = xray_line_kev(t->set.beam_kev, angle),
                  .n        = t->end - t->begin,
                  .at.held  = true};
  TRY(fit_make(t, &f));
  fit_fill(&f, count);
  if (!(peak->value[COMPTON_FIT_WIDTH] > 0)) peak->value[COMPTON_FIT_WIDTH] = t->set.fwhm_kev;
  memset(peak->covariance, 0, sizeof peak->covariance);
  peak->converged = false;
  peak->deviance  = 0;
  peak->bins      = f.n - f.terms;
  peak->steps     = 0;
  double all = sum_of(f.count, 0, f.n), size = 1;
  if (!(all > 0)) return STATUS_OK;
  TRY(shape_make(&f));
  begin(&f);
  while (size > STEP_SMALL && peak->steps < STEPS_MOST) {
    size = step_take(&f, FLOOR_SHARE * all / (double)f.n, peak);
    peak->steps++;
    if (size < 0 || lost(&f)) return STATUS_OK;
    TRY(shape_make(&f));
  }
  peak->converged = size <= STEP_SMALL;
  if (peak->converged) peak->deviance = deviance_of(&f);
  return STATUS_OK;
}
