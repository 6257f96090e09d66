/* From sums over pixels to factors with their budgets and to profiles; single pixels and groups. Groups are sums in fixed
 * point (2^-24 of a count), which come out alike in any order and on any number of ranks; what is unsure is asked in a
 * second pass, when the group's mixture is known. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

/* ---- factors ------------------------------------------------------------------------------------------ */

/* Everything about a solved group that a factor is made of. */
struct answer {
  const struct compton_table *table;
  const struct sums *sums;
  const struct biases *biases;
  const struct compton_emf *shared;
  const struct problem *problem;
  const struct solution *solution;
  double moved[COMPTON_SOURCES][COMPTON_TERMS]; /* of the fit by what is unsure */
};

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

/* A background that was fitted elsewhere is as unsure for all that use it. */
static double shared_square(const struct answer *a, const double by[COMPTON_WINDOWS]) {
  double square = 0;
  for (int c = 0; a->shared && c < a->sums->columns; c++) {
    enum compton_term term = a->sums->term[c];
    double change[COMPTON_WINDOWS];
    if (term < COMPTON_CONSTANT) continue;
    for (int w = 0; w < COMPTON_WINDOWS; w++)
      change[w] = a->sums->content[w][c] * a->shared->term_sigma[term];
    square += pow(linear(by, change), 2);
  }
  return square;
}

static void factor_make(const struct answer *a, bool normal, bool high_side,
                        struct compton_factor *factor) {
  double content[COMPTON_WINDOWS], covariance[COMPTON_WINDOWS][COMPTON_WINDOWS],
      by[COMPTON_WINDOWS];
  memset(factor, 0, sizeof *factor);
  problem_windows(a->problem, a->solution, normal, content, covariance);
  factor->sigma = factor->bias = (double)NAN;
  if (!factor_value(content, high_side, &factor->value, by)) return;
  double counting                = quadratic(by, a->problem->variance[0]);
  factor->part[COMPTON_COUNTING] = sqrt(counting);
  factor->part[COMPTON_BACKGROUND] =
      signed_root(quadratic(by, covariance[0]) - counting + shared_square(a, by));
  factor->part[COMPTON_LINE] = BIAS_LINE_UNIT * sqrt(quadratic(by, a->biases->line[0]));
  for (int s = COMPTON_SCALE; s < COMPTON_SOURCES; s++) {
    static const double none[COMPTON_WINDOWS];
    double response[COMPTON_WINDOWS];
    /* what another resolution does to a window is no error of a factor that is meant at it */
    problem_respond(a->problem, normal, a->moved[s],
                    s == COMPTON_WIDTH && !normal ? none : a->biases->content[s], response);
    factor->part[s] = linear(by, response);
  }
  double sigma2 = counting + signed_square(factor->part[COMPTON_BACKGROUND]) +
                  signed_square(factor->part[COMPTON_LINE]);
  double bias2 = 0;
  for (int s = COMPTON_SCALE; s < COMPTON_SOURCES; s++) bias2 += factor->part[s] * factor->part[s];
  factor->sigma = sqrt(fmax(sigma2, 0));
  factor->bias  = sqrt(bias2);
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

/* Room for solving, borrowed by problems and solutions. */
struct solve_room {
  double *all, *column, *offset, *model, *weight, *right, *profile_column;
};
static enum status room_make(const struct compton_table *t, struct solve_room *r) {
  int64_t n = t->end - t->begin;
  TRY(memory_make(5 * n, sizeof *r->all, "a fit", &r->all));
  r->column = r->all;
  r->offset = r->column + n;
  r->model  = r->offset + n;
  r->weight = r->model + n;
  r->right  = r->weight + n;
  return STATUS_OK;
}

static void group_solve(const struct compton_table *t, const struct sums *s,
                        const struct compton_emf *shared, const struct solve_room *room,
                        struct problem *p, struct solution *solution) {
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
  solution->model  = room->model;
  solution->weight = room->weight;
  solution->right  = room->right;
  problem_solve(p, solution);
}

static void no_factor(struct compton_factor *factor) {
  *factor =
      (struct compton_factor){.value = (double)NAN, .sigma = (double)NAN, .bias = (double)NAN};
}
static void undefined(enum compton_state state, struct compton_emf *emf) {
  memset(emf, 0, sizeof *emf);
  emf->state = state;
  no_factor(&emf->emf);
  no_factor(&emf->high);
  no_factor(&emf->emf_normal);
  no_factor(&emf->high_normal);
  emf->amplitude = emf->amplitude_sigma = (double)NAN;
}

/* Terms as shares of the electrons and counts per pixel; amplitude. */
static void tell_terms(const struct compton_table *t, const struct sums *s,
                       const struct compton_emf *shared, const struct solution *x,
                       struct compton_emf *emf) {
  double pixels = s->amount[AMOUNT_PIXELS], all = 0, variance = 0;
  int shapes = shared ? 1 : t->set.shapes;
  for (int k = 0; k < shapes; k++) {
    all += x->value[k];
    for (int j = 0; j < shapes; j++) variance += x->inverse[k][j];
  }
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

/* What does not need the biases; the state. */
static void tell(const struct compton_table *t, const struct sums *s,
                 const struct compton_emf *shared, const struct problem *p,
                 const struct solution *x, struct compton_emf *emf) {
  enum compton_state state = s->amount[AMOUNT_PIXELS] > 0      ? COMPTON_DEFINED
                             : s->amount[AMOUNT_NO_WINDOW] > 0 ? COMPTON_NO_WINDOW
                                                               : COMPTON_NO_PIXEL;
  if (state == COMPTON_DEFINED && !x->solved)
    state = s->amount[AMOUNT_COUNTS] > 0 ? COMPTON_NO_FIT : COMPTON_NO_COUNTS;
  undefined(state, emf);
  emf->pixels = llround(s->amount[AMOUNT_PIXELS]);
  emf->counts = s->amount[AMOUNT_COUNTS];
  if (state != COMPTON_DEFINED) return;
  problem_windows(p, x, false, emf->window, emf->covariance);
  for (int w = 0; w < COMPTON_WINDOWS; w++) emf->background += p->content[w] - emf->window[w];
  emf->chi2 = x->deviance;
  emf->bins = p->bins - p->columns;
  tell_terms(t, s, shared, x, emf);
  if (!(emf->window[1] + emf->window[2] > 0 && emf->window[0] + emf->window[3] > 0))
    emf->state = COMPTON_NO_COUNTS;
}

static void tell_factors(struct answer *a, struct compton_emf *emf) {
  if (emf->state != COMPTON_DEFINED) return;
  for (int s = COMPTON_SCALE; s < COMPTON_SOURCES; s++)
    problem_move(a->problem, a->solution, a->biases->change[s], a->moved[s]);
  factor_make(a, false, false, &emf->emf);
  factor_make(a, false, true, &emf->high);
  factor_make(a, true, false, &emf->emf_normal);
  factor_make(a, true, true, &emf->high_normal);
}

/* J per electron: what is above background, its area that of the mixture over the same momenta. */
static void tell_profile(const struct compton_table *t, const struct sums *s,
                         const struct compton_emf *shared, const struct solution *x, bool defined,
                         float *profile, float *sigma) {
  double seen = 0, expected = 0, electrons = 0;
  const double nan = (double)NAN;
  double value[COMPTON_TERMS];
  for (int c = 0; c < s->columns; c++) {
    bool scaled = c < t->set.shapes || s->term[c] == COMPTON_STEP;
    value[c]    = !shared ? x->value[c] : shared->term[s->term[c]] * (scaled ? x->value[0] : 1);
    if (shared && s->term[c] == COMPTON_STEP) value[c] *= height_of(t, s, shared->term);
  }
  for (int k = 0; k < t->set.shapes; k++) electrons += value[k] * s->amount[AMOUNT_ELECTRONS];
  for (int64_t q = 0; q < s->bins_au; q++) {
    double net = s->momentum[q];
    bool known = defined && s->momentum_missing[q] == 0;
    for (int c = t->set.shapes; c < s->columns; c++) net -= value[c] * s->momentum_column[c][q];
    profile[q] = (float)(known ? net : nan);
    sigma[q]   = (float)(known ? sqrt(s->momentum_variance[q]) : nan);
    if (!known) continue;
    seen += net;
    for (int k = 0; k < t->set.shapes; k++) expected += value[k] * s->momentum_column[k][q];
  }
  double per = expected / seen / (electrons * t->set.step_au);
  for (int64_t q = 0; q < s->bins_au; q++) {
    profile[q] = (float)((double)profile[q] * per);
    sigma[q]   = (float)((double)sigma[q] * per);
  }
}

/* ---- pixels ---------------------------------------------------------------------------------------------- */

static bool pixel_of(const struct compton_table *t, const struct compton_pixels *from, int64_t p,
                     struct pixel_given *given) {
  *given = (struct pixel_given){
      .count = from->cube->count + p * from->cube->bins,
      .angle = from->angle[p],
      .line_kev =
          from->line_kev ? from->line_kev[p] : xray_line_kev(t->set.beam_kev, from->angle[p]),
      .line_sigma_kev = from->line_sigma_kev ? from->line_sigma_kev[p] : 0,
      .fwhm_kev       = from->fwhm_kev ? from->fwhm_kev[p] : t->set.fwhm_kev,
      .flat           = from->flat ? from->flat[p] : 1,
  };
  return !from->cube->bad[p] && given->line_kev > 0 && given->fwhm_kev > 0 && given->flat > 0 &&
         isfinite(given->angle);
}

static void shares_of(const struct compton_table *t, const struct compton_emf *emf,
                      double amplitude, double part[COMPTON_SHAPES]) {
  for (int k = 0; k < COMPTON_SHAPES; k++)
    part[k] = k < t->set.shapes ? emf->term[COMPTON_SHAPE + k] * amplitude : 0;
}

static double amplitude_of(const struct compton_table *t, const struct compton_emf *shared,
                           const struct solution *x) {
  double all = 0;
  for (int k = 0; k < (shared ? 1 : t->set.shapes); k++) all += x->value[k];
  return all;
}

struct rooms {
  struct pixel_view view;
  struct sums sums;
  struct biases biases;
  struct solve_room solve;
};
static void rooms_free(struct rooms *r) {
  view_free(&r->view);
  sums_free(&r->sums);
  biases_free(&r->biases);
  memory_free(r->solve.all);
}
static enum status rooms_make(const struct compton_table *t, struct rooms *r) {
  memset(r, 0, sizeof *r);
  enum status status = view_make(t, &r->view);
  if (status == STATUS_OK) status = sums_make(t, &r->sums);
  if (status == STATUS_OK) status = biases_make(t, &r->biases);
  if (status == STATUS_OK) status = room_make(t, &r->solve);
  if (status != STATUS_OK) rooms_free(r);
  return status;
}

/* A pixel's sums, or what is left of them when it is left out. */
static enum status pixel_sums(struct compton_table *t, const struct compton_pixels *from, int64_t p,
                              struct rooms *r, bool *in) {
  struct pixel_given given;
  memset(r->sums.all, 0, (size_t)r->sums.size * sizeof *r->sums.all);
  *in = pixel_of(t, from, p, &given);
  if (!*in) return STATUS_OK;
  TRY(view_look(t, &given, &r->view, in));
  if (*in)
    view_sums(t, &r->view, &r->sums);
  else
    r->sums.amount[AMOUNT_NO_WINDOW] = 1;
  return STATUS_OK;
}

static enum status one_pixel(struct compton_table *t, const struct compton_pixels *from, int64_t p,
                             const struct compton_emf *shared, struct rooms *r,
                             struct compton_emf *emf, float *profile, float *sigma) {
  struct problem problem;
  struct solution x = {.solved = false};
  bool in;
  TRY(pixel_sums(t, from, p, r, &in));
  if (in) group_solve(t, &r->sums, shared, &r->solve, &problem, &x);
  tell(t, &r->sums, shared, &problem, &x, emf);
  if (emf->state == COMPTON_DEFINED) {
    double part[COMPTON_SHAPES];
    shares_of(t, emf, amplitude_of(t, shared, &x), part);
    TRY(view_biases(t, &r->view, part, &r->biases));
    struct answer answer = {t, &r->sums, &r->biases, shared, &problem, &x, {{0}}};
    tell_factors(&answer, emf);
  }
  if (profile) tell_profile(t, &r->sums, shared, &x, emf->state == COMPTON_DEFINED, profile, sigma);
  return STATUS_OK;
}

enum status compton_profile_pixels(struct compton_table *t, const struct compton_pixels *pixels,
                                   const struct compton_emf *shared, struct compton_emf *emf,
                                   float *profile, float *profile_sigma) {
  struct rooms rooms;
  if (shared && shared->state != COMPTON_DEFINED) shared = NULL;
  TRY(rooms_make(t, &rooms));
  enum status status = STATUS_OK;
  int64_t wide       = t->set.bins_au;
  rooms.view.alone   = true;
  for (int64_t p = 0; p < pixels->cube->pixels && status == STATUS_OK; p++)
    status = one_pixel(t, pixels, p, shared, &rooms, &emf[p], profile ? profile + p * wide : NULL,
                       profile ? profile_sigma + p * wide : NULL);
  rooms_free(&rooms);
  return status;
}

/* ---- groups ------------------------------------------------------------------------------------------------ */

/* Sums over all ranks, back from fixed point. */
static void all_ranks(MPI_Comm comm, int64_t *fixed, int64_t n) {
  const int64_t most = 1 << 22;
  for (int64_t at = 0; at < n; at += most)
    MPI_Allreduce(MPI_IN_PLACE, fixed + at, (int)(n - at < most ? n - at : most), MPI_INT64_T,
                  MPI_SUM, comm);
}
static void unfix(const int64_t *fixed, int64_t n, double *value) {
  for (int64_t i = 0; i < n; i++) value[i] = (double)fixed[i] * 0x1p-24;
}

static enum status sums_here(struct compton_table *t, const struct compton_pixels *pixels,
                             const int32_t *label, int64_t groups, struct rooms *r,
                             int64_t *fixed) {
  TRY(fault_here("compton.profile"));
  for (int64_t p = 0; p < pixels->cube->pixels; p++) {
    bool in;
    if (label[p] < 0) continue;
    if (label[p] >= groups)
      return FAIL(STATUS_INTERNAL, "pixel %lld belongs to group %d of %lld", (long long)p, label[p],
                  (long long)groups);
    TRY(pixel_sums(t, pixels, p, r, &in));
    ISA_PICK(profile_fix)(r->sums.all, r->sums.size, fixed + label[p] * r->sums.size);
  }
  return STATUS_OK;
}

/* emf holds the groups' mixtures. */
static enum status biases_of_pixels(struct compton_table *t, const struct compton_pixels *pixels,
                                    const int32_t *label, const struct compton_emf *emf,
                                    const double *amplitude, struct rooms *r, int64_t *fixed) {
  for (int64_t p = 0; p < pixels->cube->pixels; p++) {
    struct pixel_given given;
    double part[COMPTON_SHAPES];
    bool in =
        label[p] >= 0 && emf[label[p]].state == COMPTON_DEFINED && pixel_of(t, pixels, p, &given);
    if (!in) continue;
    TRY(pixel_sums(t, pixels, p, r, &in));
    if (!in) continue;
    shares_of(t, &emf[label[p]], amplitude[label[p]], part);
    TRY(view_biases(t, &r->view, part, &r->biases));
    ISA_PICK(profile_fix)(r->biases.all, r->biases.size, fixed + label[p] * r->biases.size);
  }
  return STATUS_OK;
}

struct groups {
  int64_t n, *sums, *biases;
  double *amplitude;
};

static void first_answers(const struct compton_table *t, const struct groups *g, struct rooms *r,
                          struct compton_emf *emf, float *profile, float *sigma) {
  for (int64_t i = 0; i < g->n; i++) {
    struct problem problem;
    struct solution x = {.solved = false};
    unfix(g->sums + i * r->sums.size, r->sums.size, r->sums.all);
    if (r->sums.amount[AMOUNT_PIXELS] > 0) group_solve(t, &r->sums, NULL, &r->solve, &problem, &x);
    tell(t, &r->sums, NULL, &problem, &x, &emf[i]);
    g->amplitude[i] = amplitude_of(t, NULL, &x);
    if (profile)
      tell_profile(t, &r->sums, NULL, &x, emf[i].state == COMPTON_DEFINED,
                   profile + i * t->set.bins_au, sigma + i * t->set.bins_au);
  }
}

static void last_answers(const struct compton_table *t, const struct groups *g, struct rooms *r,
                         struct compton_emf *emf) {
  for (int64_t i = 0; i < g->n; i++) {
    struct problem problem;
    struct solution x = {.solved = false};
    if (emf[i].state != COMPTON_DEFINED) continue;
    unfix(g->sums + i * r->sums.size, r->sums.size, r->sums.all);
    unfix(g->biases + i * r->biases.size, r->biases.size, r->biases.all);
    group_solve(t, &r->sums, NULL, &r->solve, &problem, &x);
    struct answer answer = {t, &r->sums, &r->biases, NULL, &problem, &x, {{0}}};
    tell_factors(&answer, &emf[i]);
  }
}

static enum status groups_make(const struct rooms *r, int64_t n, struct groups *g) {
  *g = (struct groups){.n = n};
  TRY(memory_make(n * r->sums.size, sizeof *g->sums, "sums over groups of pixels", &g->sums));
  TRY(memory_make(n * r->biases.size, sizeof *g->biases, "biases of groups of pixels", &g->biases));
  return memory_make(n, sizeof *g->amplitude, "amplitudes", &g->amplitude);
}

enum status compton_profile_groups(MPI_Comm comm, struct compton_table *t,
                                   const struct compton_pixels *pixels, const int32_t *label,
                                   int64_t n, struct compton_emf *emf, float *profile,
                                   float *profile_sigma) {
  struct rooms r     = {0};
  struct groups g    = {0};
  enum status status = rooms_make(t, &r);
  if (status == STATUS_OK) status = groups_make(&r, n, &g);
  if (status == STATUS_OK) status = sums_here(t, pixels, label, n, &r, g.sums);
  status = AGREE(comm, status);
  if (status == STATUS_OK) {
    all_ranks(comm, g.sums, n * r.sums.size);
    first_answers(t, &g, &r, emf, profile, profile_sigma);
    status = AGREE(comm, biases_of_pixels(t, pixels, label, emf, g.amplitude, &r, g.biases));
  }
  if (status == STATUS_OK) {
    all_ranks(comm, g.biases, n * r.biases.size);
    last_answers(t, &g, &r, emf);
  }
  memory_free(g.sums);
  memory_free(g.biases);
  memory_free(g.amplitude);
  rooms_free(&r);
  return status;
}
