/* Pixels and groups of pixels, one after the other. Groups are sums in fixed point (2^-24 of a count), which come out alike
 * in any order and on any number of ranks; what is unsure is asked in a second pass, when a group's mixture is known. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

/* Above background, from which a part of the field has a mixture of its own. */
#define PART_COUNTS 4e4

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
  if (status == STATUS_OK) status = solve_room_make(t, &r->solve);
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

static void profile_begin(const struct compton_table *t, const struct profile_total *of) {
  memset(of->net, 0, (size_t)(4 * t->set.bins_au) * sizeof *of->net);
}

static enum status one_pixel(struct compton_table *t, const struct compton_pixels *from, int64_t p,
                             const struct compton_emf *shared, struct rooms *r,
                             struct compton_emf *emf, float *profile, float *sigma) {
  struct answer a;
  bool in;
  TRY(pixel_sums(t, from, p, r, &in));
  answer_solve(t, &r->sums, shared, &r->solve, &a);
  answer_tell(&a, emf);
  bool defined = emf->state == COMPTON_DEFINED;
  if (defined) {
    struct total total = {0};
    double part[COMPTON_SHAPES];
    shares_of(t, emf, answer_amplitude(&a), part);
    TRY(view_biases(t, &r->view, part, &r->biases));
    total_add(&a, &r->biases, &total);
    total_factors(&total, emf);
  }
  if (!profile) return STATUS_OK;
  profile_begin(t, &r->solve.profile);
  if (defined) profile_add(&a, &r->solve.profile);
  profile_tell(t, &r->solve.profile, answer_amplitude(&a) * r->sums.amount[AMOUNT_ELECTRONS],
               defined, profile, sigma);
  return STATUS_OK;
}

enum status compton_profile_pixels(struct compton_table *t, const struct compton_pixels *pixels,
                                   const struct compton_emf *shared, const int32_t *label,
                                   struct compton_emf *emf, float *profile, float *profile_sigma) {
  struct rooms rooms;
  TRY(rooms_make(t, &rooms));
  enum status status = STATUS_OK;
  int64_t wide       = t->set.bins_au;
  rooms.view.alone   = true;
  for (int64_t p = 0; p < pixels->cube->pixels && status == STATUS_OK; p++) {
    const struct compton_emf *of = shared ? &shared[label ? label[p] : 0] : NULL;
    if (of && of->state != COMPTON_DEFINED) of = NULL;
    status = one_pixel(t, pixels, p, of, &rooms, &emf[p], profile ? profile + p * wide : NULL,
                       profile ? profile_sigma + p * wide : NULL);
  }
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
  int64_t n, *sums, *biases; /* [n][size] */
  double *amplitude;
};

static enum status groups_make(const struct rooms *r, int64_t n, struct groups *g) {
  *g = (struct groups){.n = n};
  TRY(memory_make(n * r->sums.size, sizeof *g->sums, "sums over groups of pixels", &g->sums));
  TRY(memory_make(n * r->biases.size, sizeof *g->biases, "biases of groups of pixels", &g->biases));
  return memory_make(n, sizeof *g->amplitude, "amplitudes", &g->amplitude);
}

static void groups_free(struct groups *g) {
  memory_free(g->sums);
  memory_free(g->biases);
  memory_free(g->amplitude);
}

static void group_solve(const struct compton_table *t, const struct groups *g, int64_t i,
                        struct rooms *r, struct answer *a) {
  unfix(g->sums + i * r->sums.size, r->sums.size, r->sums.all);
  unfix(g->biases + i * r->biases.size, r->biases.size, r->biases.all);
  answer_solve(t, &r->sums, NULL, &r->solve, a);
}

static void group_tell(const struct compton_table *t, const struct groups *g, int64_t i,
                       struct rooms *r, struct compton_emf *emf) {
  struct answer a;
  group_solve(t, g, i, r, &a);
  answer_tell(&a, &emf[i]);
  g->amplitude[i] = answer_amplitude(&a);
}

/* Sums of all groups, on all ranks. */
static enum status groups_sum(MPI_Comm comm, struct compton_table *t,
                              const struct compton_pixels *pixels, const int32_t *label, int64_t n,
                              struct rooms *r, struct groups *g) {
  enum status status = rooms_make(t, r);
  if (status == STATUS_OK) status = groups_make(r, n, g);
  if (status == STATUS_OK) status = sums_here(t, pixels, label, n, r, g->sums);
  status = AGREE(comm, status);
  if (status == STATUS_OK) all_ranks(comm, g->sums, n * r->sums.size);
  return status;
}

static enum status groups_ask(MPI_Comm comm, struct compton_table *t,
                              const struct compton_pixels *pixels, const int32_t *label,
                              const struct compton_emf *emf, struct rooms *r, struct groups *g) {
  TRY_ALL(comm, biases_of_pixels(t, pixels, label, emf, g->amplitude, r, g->biases));
  all_ranks(comm, g->biases, g->n * r->biases.size);
  return STATUS_OK;
}

static void group_factors(const struct compton_table *t, const struct groups *g, int64_t i,
                          struct rooms *r, struct compton_emf *emf, float *profile, float *sigma) {
  struct total total = {0};
  struct answer a;
  bool defined = emf[i].state == COMPTON_DEFINED;
  group_solve(t, g, i, r, &a);
  if (defined) {
    total_add(&a, &r->biases, &total);
    total_factors(&total, &emf[i]);
  }
  if (!profile) return;
  profile_begin(t, &r->solve.profile);
  if (defined) profile_add(&a, &r->solve.profile);
  profile_tell(t, &r->solve.profile, g->amplitude[i] * r->sums.amount[AMOUNT_ELECTRONS], defined,
               profile + i * t->set.bins_au, sigma + i * t->set.bins_au);
}

enum status compton_profile_groups(MPI_Comm comm, struct compton_table *t,
                                   const struct compton_pixels *pixels, const int32_t *label,
                                   int64_t n, struct compton_emf *emf, float *profile,
                                   float *profile_sigma) {
  struct rooms r     = {0};
  struct groups g    = {0};
  enum status status = groups_sum(comm, t, pixels, label, n, &r, &g);
  for (int64_t i = 0; i < n && status == STATUS_OK; i++) group_tell(t, &g, i, &r, emf);
  if (status == STATUS_OK) status = groups_ask(comm, t, pixels, label, emf, &r, &g);
  for (int64_t i = 0; i < n && status == STATUS_OK; i++)
    group_factors(t, &g, i, &r, emf, profile, profile_sigma);
  groups_free(&g);
  rooms_free(&r);
  return status;
}

/* ---- the field by its parts -------------------------------------------------------------------------------- */

/* Parts that are too faint for a mixture of their own are one, the last. */
static void faint_join(const struct compton_table *t, const struct groups *g, struct rooms *r,
                       const struct compton_pixels *pixels, int32_t *label,
                       struct compton_emf *part) {
  int64_t rest = g->n - 1, size = r->sums.size;
  for (int64_t i = 0; i < rest; i++) {
    group_tell(t, g, i, r, part);
    if (part[i].state == COMPTON_DEFINED && part[i].counts - part[i].background >= PART_COUNTS)
      continue;
    emf_undefined(COMPTON_NO_PIXEL, &part[i]);
    for (int64_t k = 0; k < size; k++) {
      g->sums[rest * size + k] += g->sums[i * size + k];
      g->sums[i * size + k] = 0;
    }
    for (int64_t p = 0; p < pixels->cube->pixels; p++)
      if (label[p] == i) label[p] = (int32_t)rest;
  }
  group_tell(t, g, rest, r, part);
}

/* Terms are means over pixels, those of the line over electrons. */
static void terms_add(const struct compton_emf *part, struct compton_emf *whole) {
  double pixels = (double)part->pixels, electrons = pixels * part->amplitude;
  whole->amplitude += electrons;
  whole->amplitude_sigma += pow(pixels * part->amplitude_sigma, 2);
  for (int k = 0; k < COMPTON_TERMS; k++) {
    double weight = k < COMPTON_CONSTANT || k == COMPTON_STEP ? electrons : pixels;
    whole->term[k] += weight * part->term[k];
    whole->term_sigma[k] += pow(weight * part->term_sigma[k], 2);
  }
}

static void terms_end(struct compton_emf *whole) {
  double pixels = (double)whole->pixels, electrons = whole->amplitude;
  for (int k = 0; k < COMPTON_TERMS; k++) {
    double weight = k < COMPTON_CONSTANT || k == COMPTON_STEP ? electrons : pixels;
    whole->term[k] /= weight;
    whole->term_sigma[k] = sqrt(whole->term_sigma[k]) / fabs(weight);
  }
  whole->amplitude /= pixels;
  whole->amplitude_sigma = sqrt(whole->amplitude_sigma) / pixels;
}

/* Parts that were solved, joined. */
static void parts_join(const struct compton_table *t, const struct groups *g, struct rooms *r,
                       const struct compton_emf *part, struct compton_emf *whole, float *profile,
                       float *sigma) {
  struct total total = {0};
  double electrons   = 0;
  emf_undefined(part[g->n - 1].state, whole);
  whole->amplitude = whole->amplitude_sigma = 0;
  profile_begin(t, &r->solve.profile);
  for (int64_t i = 0; i < g->n; i++) {
    struct answer a;
    group_solve(t, g, i, r, &a);
    if (!a.solution.solved) continue;
    total_add(&a, &r->biases, &total);
    profile_add(&a, &r->solve.profile);
    electrons += g->amplitude[i] * r->sums.amount[AMOUNT_ELECTRONS];
    whole->pixels += part[i].pixels, whole->counts += part[i].counts;
    whole->background += part[i].background, whole->chi2 += part[i].chi2;
    whole->bins += part[i].bins;
    terms_add(&part[i], whole);
  }
  if (whole->pixels > 0) {
    whole->state = windows_hold(total.content[0]) ? COMPTON_DEFINED : COMPTON_NO_COUNTS;
    memcpy(whole->window, total.content[0], sizeof whole->window);
    memcpy(whole->covariance, total.covariance[0], sizeof whole->covariance);
    terms_end(whole);
  } else {
    whole->amplitude = whole->amplitude_sigma = (double)NAN;
  }
  bool defined = whole->state == COMPTON_DEFINED;
  if (defined) total_factors(&total, whole);
  if (profile) profile_tell(t, &r->solve.profile, electrons, defined, profile, sigma);
}

enum status compton_profile_field(MPI_Comm comm, struct compton_table *t,
                                  const struct compton_pixels *pixels, int32_t *label,
                                  int64_t parts, struct compton_emf *part,
                                  struct compton_emf *whole, float *profile, float *profile_sigma) {
  struct rooms r     = {0};
  struct groups g    = {0};
  enum status status = groups_sum(comm, t, pixels, label, parts + 1, &r, &g);
  if (status == STATUS_OK) {
    faint_join(t, &g, &r, pixels, label, part);
    status = groups_ask(comm, t, pixels, label, part, &r, &g);
  }
  if (status == STATUS_OK) parts_join(t, &g, &r, part, whole, profile, profile_sigma);
  groups_free(&g);
  rooms_free(&r);
  return status;
}

int64_t compton_profile_bytes(const struct compton_profile_settings *settings, double bin_kev,
                              int64_t groups) {
  struct compton_table like = {
      .set = *settings,
      .end = (int64_t)((settings->fit_last_kev - settings->fit_first_kev) / bin_kev)};
  struct sums sums;
  struct biases biases;
  sums_shape(&like, &sums);
  biases_shape(&like, &biases);
  return groups * 8 * (sums.size + biases.size + 1);
}
