/* From the sums over a pixel or a group of pixels to factors with their budgets and to profiles. What factors and profiles
 * are made of is linear in groups, so several groups, each with its own background and mixture, add up to one. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

/* ---- factors ------------------------------------------------------------------------------------------ */

/* Derivatives of the factor by the windows; false: it has none. */
static bool factor_value(const double content[COMPTON_WINDOWS], bool high_side, double *value,
                         double by[COMPTON_WINDOWS]) {
  double inner = content[2] + (high_side ? 0 : content[1]),
         outer = content[3] + (high_side ? 0 : content[0]);
  *value       = (double)NAN;
  if (!(inner > 0 && outer > 0)) return false;
  *value = inner / outer;
  by[0]  = high_side ? 0 : -*value / outer;
  by[1]  = high_side ? 0 : 1 / outer;
  by[2]  = 1 / outer;
  by[3]  = -*value / outer;
  return true;
}

static double quadratic(const double by[COMPTON_WINDOWS], const double *matrix) {
  double sum = 0;
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    for (int u = 0; u < COMPTON_WINDOWS; u++)
      sum += by[w] * by[u] * matrix[w * COMPTON_WINDOWS + u];
  return sum;
}

static double signed_root(double square) { return square < 0 ? -sqrt(-square) : sqrt(square); }

static double signed_square(double root) { return root * fabs(root); }

static double linear(const double by[COMPTON_WINDOWS], const double change[COMPTON_WINDOWS]) {
  double sum = 0;
  for (int w = 0; w < COMPTON_WINDOWS; w++) sum += by[w] * change[w];
  return sum;
}

static void factor_make(const struct total *total, bool normal, bool high_side,
                        struct compton_factor *factor) {
  double by[COMPTON_WINDOWS];
  memset(factor, 0, sizeof *factor);
  factor->sigma = factor->bias = (double)NAN;
  if (!factor_value(total->content[normal], high_side, &factor->value, by)) return;
  double counting                = quadratic(by, total->counting[0]);
  factor->part[COMPTON_COUNTING] = sqrt(counting);
  factor->part[COMPTON_BACKGROUND] =
      signed_root(quadratic(by, total->covariance[normal][0]) - counting);
  factor->part[COMPTON_LINE] = BIAS_LINE_UNIT * sqrt(quadratic(by, total->line[0]));
  for (int s = COMPTON_SCALE; s < COMPTON_SOURCES; s++)
    factor->part[s] = linear(by, total->response[normal][s]);
  double sigma2 = counting + signed_square(factor->part[COMPTON_BACKGROUND]) +
                  signed_square(factor->part[COMPTON_LINE]);
  double bias2 = 0;
  for (int s = COMPTON_SCALE; s < COMPTON_SOURCES; s++) bias2 += factor->part[s] * factor->part[s];
  factor->sigma = sqrt(fmax(sigma2, 0));
  factor->bias  = sqrt(bias2);
}

static double correlation_of(const struct total *total, const struct compton_emf *emf) {
  double value, by[2][COMPTON_WINDOWS], sum = 0;
  if (!factor_value(total->content[1], false, &value, by[0]) ||
      !factor_value(total->content[1], true, &value, by[1]))
    return (double)NAN;
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    for (int u = 0; u < COMPTON_WINDOWS; u++)
      sum += by[0][w] * by[1][u] *
             (total->covariance[1][w][u] + BIAS_LINE_UNIT * BIAS_LINE_UNIT * total->line[w][u]);
  return sum / (emf->emf_normal.sigma * emf->high_normal.sigma);
}

void total_factors(const struct total *total, struct compton_emf *emf) {
  factor_make(total, false, false, &emf->emf);
  factor_make(total, false, true, &emf->high);
  factor_make(total, true, false, &emf->emf_normal);
  factor_make(total, true, true, &emf->high_normal);
  emf->correlation = correlation_of(total, emf);
}

/* A background that was fitted elsewhere is as unsure for all that use it. */
static void shared_add(const struct answer *a,
                       double covariance[COMPTON_WINDOWS][COMPTON_WINDOWS]) {
  for (int c = 0; a->shared && c < a->sums->columns; c++) {
    enum compton_term term = a->sums->term[c];
    double square          = pow(a->shared->term_sigma[term], 2);
    if (term < COMPTON_CONSTANT) continue;
    for (int w = 0; w < COMPTON_WINDOWS; w++)
      for (int u = 0; u < COMPTON_WINDOWS; u++)
        covariance[w][u] += square * a->sums->content[w][c] * a->sums->content[u][c];
  }
}

/* How what is unsure moves the windows. */
static void responses_add(const struct answer *a, const struct biases *biases,
                          struct total *total) {
  static const double none[COMPTON_WINDOWS];
  for (int s = COMPTON_SCALE; s < COMPTON_SOURCES; s++) {
    double moved[COMPTON_TERMS], response[COMPTON_WINDOWS];
    problem_move(&a->problem, &a->solution, biases->change[s], moved);
    for (int normal = 0; normal < 2; normal++) {
      /* what another resolution does to a window is no error of a factor that is meant at it */
      const double *own = s == COMPTON_WIDTH && !normal ? none : biases->content[s];
      problem_respond(&a->problem, normal, moved, own, response);
      for (int w = 0; w < COMPTON_WINDOWS; w++) total->response[normal][s][w] += response[w];
    }
  }
}

void total_add(const struct answer *a, const struct biases *biases, struct total *total) {
  for (int normal = 0; normal < 2; normal++) {
    double content[COMPTON_WINDOWS], covariance[COMPTON_WINDOWS][COMPTON_WINDOWS];
    problem_windows(&a->problem, &a->solution, normal, content, covariance);
    shared_add(a, covariance);
    for (int w = 0; w < COMPTON_WINDOWS; w++) {
      total->content[normal][w] += content[w];
      for (int u = 0; u < COMPTON_WINDOWS; u++) total->covariance[normal][w][u] += covariance[w][u];
    }
  }
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    for (int u = 0; u < COMPTON_WINDOWS; u++) {
      total->counting[w][u] += a->problem.variance[w][u];
      total->line[w][u] += biases->line[w][u];
    }
  responses_add(a, biases, total);
}

/* ---- the problem of a group ------------------------------------------------------------------------------ */

static void own_problem(const struct compton_table *t, const struct sums *s, struct problem *p) {
  p->columns = s->columns;
  for (int c = 0; c < s->columns; c++) {
    p->column[c] = s->column[c];
    for (int w = 0; w < COMPTON_WINDOWS; w++) {
      bool shape          = c < t->set.shapes;
      p->background[w][c] = shape ? 0 : s->content[w][c];
      p->toward[w][c]     = shape ? s->reference[w][c] - s->content[w][c] : 0;
    }
  }
}

static double top_of(const struct compton_table *t, const struct sums *s, const double *value) {
  double top = 0;
  for (int64_t b = 0; b < s->bins; b++) {
    double here = 0;
    for (int k = 0; k < t->set.shapes; k++) here += value[k] * s->column[k][b];
    top = fmax(top, here);
  }
  return top;
}
/* A mixture's height (of shares that sum to 1) over that of equal parts, which the step's column has. */
static double height_of(const struct compton_table *t, const struct sums *s, const double *share) {
  double equal[COMPTON_SHAPES];
  for (int k = 0; k < COMPTON_SHAPES; k++) equal[k] = 1.0 / t->set.shapes;
  return top_of(t, s, share) / top_of(t, s, equal);
}

/* One column: the group's mixture with its step; the other backgrounds per pixel as the group has them. */
static void shared_problem(const struct compton_table *t, const struct sums *s,
                           const struct compton_emf *shared, double *column, double *offset,
                           struct problem *p) {
  p->columns   = 1;
  p->column[0] = column;
  p->offset    = offset;
  memset(column, 0, (size_t)s->bins * sizeof *column);
  memset(offset, 0, (size_t)s->bins * sizeof *offset);
  for (int c = 0; c < s->columns; c++) {
    bool shape = c < t->set.shapes, step = s->term[c] == COMPTON_STEP;
    double value = shared->term[s->term[c]] * (step ? height_of(t, s, shared->term) : 1);
    double *to   = shape || step ? column : offset;
    for (int64_t b = 0; b < s->bins; b++) to[b] += value * s->column[c][b];
    for (int w = 0; w < COMPTON_WINDOWS; w++) {
      double content = value * s->content[w][c];
      if (shape)
        p->toward[w][0] += value * (s->reference[w][c] - s->content[w][c]);
      else if (step)
        p->background[w][0] += content;
      else
        p->taken[w] += content;
    }
  }
}

enum status solve_room_make(const struct compton_table *t, struct solve_room *r) {
  int64_t n = t->end - t->begin, q = t->set.bins_au;
  TRY(memory_make(5 * n + 4 * q, sizeof *r->all, "a fit", &r->all));
  r->column           = r->all;
  r->offset           = r->column + n;
  r->model            = r->offset + n;
  r->weight           = r->model + n;
  r->right            = r->weight + n;
  r->profile.net      = r->right + n;
  r->profile.variance = r->profile.net + q;
  r->profile.expected = r->profile.variance + q;
  r->profile.missing  = r->profile.expected + q;
  return STATUS_OK;
}

void answer_solve(const struct compton_table *t, const struct sums *s,
                  const struct compton_emf *shared, const struct solve_room *room,
                  struct answer *a) {
  *a                = (struct answer){.table = t, .sums = s, .shared = shared};
  struct problem *p = &a->problem;
  if (!(s->amount[AMOUNT_PIXELS] > 0)) return;
  *p = (struct problem){.bins = s->bins, .count = s->count};
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    p->seen[w]    = s->seen[w];
    p->content[w] = 0;
    for (int64_t b = 0; b < s->bins; b++) p->content[w] += s->seen[w][b];
    for (int u = 0; u < COMPTON_WINDOWS; u++) p->variance[w][u] = s->variance[w][u];
  }
  if (shared)
    shared_problem(t, s, shared, room->column, room->offset, p);
  else
    own_problem(t, s, p);
  a->solution.model  = room->model;
  a->solution.weight = room->weight;
  a->solution.right  = room->right;
  problem_solve(p, &a->solution);
}

double answer_amplitude(const struct answer *a) {
  double all = 0;
  for (int k = 0; k < (a->shared ? 1 : a->table->set.shapes); k++) all += a->solution.value[k];
  return all;
}

bool windows_hold(const double window[COMPTON_WINDOWS]) {
  return window[1] + window[2] > 0 && window[0] + window[3] > 0;
}

static void no_factor(struct compton_factor *factor) {
  *factor =
      (struct compton_factor){.value = (double)NAN, .sigma = (double)NAN, .bias = (double)NAN};
}
void emf_undefined(enum compton_state state, struct compton_emf *emf) {
  memset(emf, 0, sizeof *emf);
  emf->state = state;
  no_factor(&emf->emf);
  no_factor(&emf->high);
  no_factor(&emf->emf_normal);
  no_factor(&emf->high_normal);
  emf->amplitude = emf->amplitude_sigma = emf->correlation = (double)NAN;
}

/* Terms as shares of the electrons and counts per pixel; amplitude. */
static void tell_terms(const struct answer *a, struct compton_emf *emf) {
  const struct compton_table *t    = a->table;
  const struct sums *s             = a->sums;
  const struct compton_emf *shared = a->shared;
  const struct solution *x         = &a->solution;
  double pixels = s->amount[AMOUNT_PIXELS], all = answer_amplitude(a), variance = 0;
  int shapes = shared ? 1 : t->set.shapes;
  for (int k = 0; k < shapes; k++)
    for (int j = 0; j < shapes; j++) variance += x->inverse[k][j];
  double per           = s->amount[AMOUNT_FLAT_ELECTRONS] / (t->unit * pixels);
  emf->amplitude       = all * per;
  emf->amplitude_sigma = sqrt(variance) * per;
  for (int c = 0; c < s->columns; c++) {
    enum compton_term term = s->term[c];
    double by              = term < COMPTON_CONSTANT ? 1 / all : 1;
    if (term == COMPTON_STEP && !shared) by = 1 / (all * height_of(t, s, emf->term));
    emf->term[term]       = shared ? shared->term[term] : x->value[c] * by;
    emf->term_sigma[term] = shared ? shared->term_sigma[term] : sqrt(x->inverse[c][c]) * fabs(by);
  }
}

void answer_tell(const struct answer *a, struct compton_emf *emf) {
  const struct sums *s     = a->sums;
  enum compton_state state = s->amount[AMOUNT_PIXELS] > 0      ? COMPTON_DEFINED
                             : s->amount[AMOUNT_NO_WINDOW] > 0 ? COMPTON_NO_WINDOW
                                                               : COMPTON_NO_PIXEL;
  if (state == COMPTON_DEFINED && !a->solution.solved)
    state = s->amount[AMOUNT_COUNTS] > 0 ? COMPTON_NO_FIT : COMPTON_NO_COUNTS;
  emf_undefined(state, emf);
  emf->pixels = llround(s->amount[AMOUNT_PIXELS]);
  emf->counts = s->amount[AMOUNT_COUNTS];
  if (state != COMPTON_DEFINED) return;
  problem_windows(&a->problem, &a->solution, false, emf->window, emf->covariance);
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    emf->background += a->problem.content[w] - emf->window[w];
  emf->chi2 = a->solution.deviance;
  emf->bins = a->problem.bins - a->problem.columns;
  tell_terms(a, emf);
  if (!windows_hold(emf->window)) emf->state = COMPTON_NO_COUNTS;
}

void profile_add(const struct answer *a, const struct profile_total *to) {
  const struct sums *s             = a->sums;
  const struct compton_emf *shared = a->shared;
  int shapes                       = a->table->set.shapes;
  double value[COMPTON_TERMS];
  for (int c = 0; c < s->columns; c++) {
    bool scaled = c < shapes || s->term[c] == COMPTON_STEP;
    value[c]    = !shared ? a->solution.value[c]
                          : shared->term[s->term[c]] * (scaled ? a->solution.value[0] : 1);
    if (shared && s->term[c] == COMPTON_STEP) value[c] *= height_of(a->table, s, shared->term);
  }
  for (int64_t q = 0; q < s->bins_au; q++) {
    to->net[q] += s->momentum[q];
    to->variance[q] += s->momentum_variance[q];
    to->missing[q] += s->momentum_missing[q];
    for (int c = shapes; c < s->columns; c++) to->net[q] -= value[c] * s->momentum_column[c][q];
    for (int k = 0; k < shapes; k++) to->expected[q] += value[k] * s->momentum_column[k][q];
  }
}

void profile_tell(const struct compton_table *t, const struct profile_total *of, double electrons,
                  bool defined, float *profile, float *sigma) {
  double seen = 0, expected = 0;
  const double nan = (double)NAN;
  for (int64_t q = 0; q < t->set.bins_au; q++) {
    if (!defined || of->missing[q] > 0) continue;
    seen += of->net[q];
    expected += of->expected[q];
  }
  double per = expected / seen / (electrons * t->set.step_au);
  for (int64_t q = 0; q < t->set.bins_au; q++) {
    bool known = defined && of->missing[q] == 0;
    profile[q] = (float)(known ? of->net[q] * per : nan);
    sigma[q]   = (float)(known ? sqrt(of->variance[q]) * per : nan);
  }
}
