/* Studies: the tensor of the volume as a periodic cell, the tortuosity of a blocking electrode, sub-volumes
 * (representative volume), and thresholds a little lower and higher.
 *
 * Tensor: six cells, under unit gradients along the axes (the diagonal) and their pairwise sums: g . T . g is bounded
 * from both sides, so T_ij = (Q(e_i + e_j) - Q(e_i) - Q(e_j)) / 2 is, too.
 * Electrode: Nguyen et al., npj Comput. Mater. 6, 123 (2020): the low-frequency resistance of pores with blocking walls
 * is a third of R_ion = tau_e L / (A sum(eps D)). */
#include "flux_study.h"
#include "flux_surfaces.h"
#include "voxel.h"
#include "voxel_filter.h"
#include "voxel_threshold.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS_MOST = 16 };

static bool plain_box(const struct flux_params *p) { return !p->mask[0] && !p->disc[0]; }
enum status flux_study_check(const struct flux_params *p) {
  const bool electrode = strcmp(p->electrode, "none") != 0;
  if ((p->tensor || electrode || p->surfaces || p->representative > 0) && !plain_box(p))
    return FAIL(STATUS_USAGE, "flux.%s needs a box without flux.mask and flux.disc",
                p->tensor     ? "tensor"
                : electrode   ? "electrode"
                : p->surfaces ? "surfaces"
                              : "representative");
  if ((p->tensor || electrode) &&
      (strcmp(p->solver, "gamg") == 0 || strcmp(p->solver, "boomeramg") == 0))
    return FAIL(STATUS_USAGE, "flux.%s needs flux.solver multigrid or krylov",
                p->tensor ? "tensor" : "electrode");
  if (!(p->threshold_error > 0) && (p->grey[0] || p->threshold[0]))
    return FAIL(STATUS_USAGE, "flux.%s without flux.threshold_error has no effect",
                p->grey[0] ? "grey" : "threshold");
  return STATUS_OK;
}
static void unsure(struct flux_task *t, const char *what, const struct flux_answer *a) {
  if (a->converged) return;
  t->converged = false;
  snprintf(t->worst, sizeof t->worst, "flux, %s: D_eff in [%.8g, %.8g] after %d iterations", what,
           a->lower, a->upper, a->iterations);
}

/* ---- tensor ---- */

struct pair {
  int i, j;
};
static const struct pair tensor_of[6] = {
    {0, 0},
    {1, 1},
    {2, 2},
    {0, 1},
    {0, 2},
    {1, 2}
};
static enum status tensor_one(struct flux_task *t, struct pair at, struct flux_answer *a) {
  struct flux_case problem;
  flux_case_of(t, at.j, &problem);
  problem.kind           = FLUX_CELL;
  problem.middles        = false;
  problem.gradient[at.i] = problem.gradient[at.j] = 1;
  for (int c = 1; c < FLUX_CODES; c++)
    problem.negligible = fmax(problem.negligible, 1e-9 * problem.diffusivity[c]);
  TRY(stop_agree(t->job->comm));
  TRY(flux_solve(t->job->comm, &problem, &t->codes, a, NULL));
  unsure(t, "tensor", a);
  if (a->upper <= problem.negligible) a->lower = 0;
  return STATUS_OK;
}
static enum status tensor_find(struct flux_task *t) {
  struct flux_answer a[6];
  char name[32];
  for (int m = 0; m < 6; m++) {
    const struct pair at = tensor_of[m];
    TRY(tensor_one(t, at, &a[m]));
    double value = a[m].upper, lower = a[m].lower, upper = a[m].upper;
    if (at.i != at.j) {
      const struct flux_answer *p = &a[at.i], *q = &a[at.j];
      value = (a[m].upper - p->upper - q->upper) / 2;
      lower = (a[m].lower - p->upper - q->upper) / 2;
      upper = (a[m].upper - p->lower - q->lower) / 2;
    }
    snprintf(name, sizeof name, "tensor_%c%c", "zyx"[at.i], "zyx"[at.j]);
    struct stage_result *r = flux_result(t, name, -1, value, "");
    r->lower               = t->params->certify ? lower : (double)NAN;
    r->upper               = upper;
  }
  return STATUS_OK;
}

/* ---- electrode ---- */

static enum status electrode_find(struct flux_task *t, int axis) {
  struct flux_case problem;
  struct flux_answer a;
  flux_case_of(t, axis, &problem);
  problem.kind    = FLUX_ELECTRODE;
  problem.middles = false;
  problem.high    = strcmp(t->params->electrode, "high") == 0;
  TRY(stop_agree(t->job->comm));
  TRY(flux_solve(t->job->comm, &problem, &t->codes, &a, NULL));
  unsure(t, "electrode", &a);
  const bool walls = a.percolates && isfinite(a.upper) && a.upper > 0;
  const double all = flux_conducting(t, a.voxels, t->domain_vox);
  struct stage_result *r =
      flux_result(t, "electrode_tortuosity", axis, walls ? all / a.upper : (double)NAN, "");
  if (!walls) snprintf(r->state, sizeof r->state, a.percolates ? "no walls" : "infinite");
  if (walls && a.lower > 0) {
    r->lower = all / a.upper;
    r->upper = all / a.lower;
  }
  return STATUS_OK;
}

/* ---- sub-volumes ---- */

struct sums {
  double n, open, d, d2, tau, tau2, low, high, eps;
};
static void level_parts(const struct flux_task *t, int level, int64_t parts[3]) {
  for (int a = 0; a < 3; a++) {
    const int64_t fit = t->region.box.n[a] / t->params->representative_least_vox;
    parts[a]          = (int64_t)1 << level < fit ? (int64_t)1 << level : fit < 1 ? 1 : fit;
  }
}
static enum status sub_solve(struct flux_task *t, int axis, const struct grid_box *box,
                             struct flux_answer *a) {
  struct grid_plan plan  = {0};
  struct grid_field part = {0};
  struct flux_case problem;
  MPI_Comm comm = t->job->comm;
  flux_case_of(t, axis, &problem);
  problem.volume_vox = grid_box_voxels(box);
  enum status s      = AGREE(comm, flux_plan_make(comm, box->n, &plan));
  if (s == STATUS_OK) s = grid_field_make(comm, &plan, GRID_U8, (int64_t[3]){0, 0, 0}, &part);
  if (s == STATUS_OK) s = grid_field_crop(comm, &t->codes, box, &part);
  if (s == STATUS_OK) s = flux_solve(comm, &problem, &part, a, NULL);
  grid_field_free(&part);
  grid_plan_free(&plan);
  if (s == STATUS_OK) unsure(t, "sub-volume", a);
  return s;
}
static void sums_add(struct sums *s, const struct flux_task *t, const struct flux_answer *a,
                     int64_t volume_vox) {
  const double all = flux_conducting(t, a->voxels, volume_vox), d = a->percolates ? a->upper : 0;
  s->n++;
  s->d += d;
  s->d2 += d * d;
  s->eps += all;
  if (!a->percolates) return;
  const double tau = all / a->upper;
  s->low           = s->open > 0 ? fmin(s->low, tau) : tau;
  s->high          = s->open > 0 ? fmax(s->high, tau) : tau;
  s->open++;
  s->tau += tau;
  s->tau2 += tau * tau;
}
static double spread(double n, double sum, double squares) {
  return n > 1 ? sqrt(fmax(0, (squares - sum * sum / n) / (n - 1))) : (double)NAN;
}
/* Evenly spread ones of all sub-volumes of a level. */
static enum status level_solve(struct flux_task *t, int axis, const int64_t parts[3],
                               struct sums *sums) {
  const int64_t all = parts[0] * parts[1] * parts[2];
  const int64_t n   = all < t->params->representative ? all : t->params->representative;
  for (int64_t i = 0; i < n; i++) {
    const int64_t m     = (2 * i + 1) * all / (2 * n);
    const int64_t at[3] = {m / (parts[1] * parts[2]), m / parts[2] % parts[1], m % parts[2]};
    struct grid_box box;
    struct flux_answer a;
    for (int d = 0; d < 3; d++) {
      box.n[d]     = t->region.box.n[d] / parts[d];
      box.start[d] = at[d] * t->region.box.n[d] / parts[d];
    }
    TRY(stop_agree(t->job->comm));
    TRY(sub_solve(t, axis, &box, &a));
    sums_add(sums, t, &a, grid_box_voxels(&box));
  }
  return STATUS_OK;
}
static void level_keep(struct flux_task *t, int axis, const int64_t parts[3],
                       const struct sums *s) {
  double *row = t->representative + FLUX_REPRESENTATIVE * t->representative_rows++;
  char name[48];
  const int64_t edge                    = t->region.box.n[axis] / parts[axis];
  const double tau                      = s->open > 0 ? s->tau / s->open : (double)NAN;
  const double all[FLUX_REPRESENTATIVE] = {axis,
                                           (double)(t->region.box.n[0] / parts[0]),
                                           (double)(t->region.box.n[1] / parts[1]),
                                           (double)(t->region.box.n[2] / parts[2]),
                                           s->n,
                                           s->open,
                                           s->eps / s->n,
                                           s->d / s->n,
                                           spread(s->n, s->d, s->d2),
                                           tau,
                                           spread(s->open, s->tau, s->tau2),
                                           s->open > 0 ? s->low : (double)NAN,
                                           s->open > 0 ? s->high : (double)NAN};
  memcpy(row, all, sizeof all);
  snprintf(name, sizeof name, "tortuosity_factor_of_%lld_vox", (long long)edge);
  struct stage_result *r = flux_result(t, name, axis, tau, "");
  r->sigma               = all[10];
  if (!(s->open > 0)) snprintf(r->state, sizeof r->state, "infinite");
}
static enum status representative_find(struct flux_task *t, int axis) {
  int64_t parts[3], before[3] = {1, 1, 1};
  for (int level = 1; level < LEVELS_MOST; level++) {
    struct sums sums = {0};
    level_parts(t, level, parts);
    if (memcmp(parts, before, sizeof parts) == 0) break;
    TRY(level_solve(t, axis, parts, &sums));
    level_keep(t, axis, parts, &sums);
    memcpy(before, parts, sizeof parts);
  }
  return STATUS_OK;
}

/* ---- thresholds ---- */

struct threshold {
  double value[VOXEL_CLASSES_MOST];
  int n;
};
static enum status threshold_parse(const char *text, struct threshold *threshold) {
  for (const char *at = text; *at;) {
    char *end;
    const double value = strtod(at, &end);
    if (end == at || !isfinite(value) || (*end && *end != ',') ||
        threshold->n >= VOXEL_CLASSES_MOST - 1 ||
        (threshold->n > 0 && value <= threshold->value[threshold->n - 1]))
      return FAIL(STATUS_USAGE,
                  "flux.threshold = %s; it would be up to %d ascending numbers V1,V2,...", text,
                  VOXEL_CLASSES_MOST - 1);
    threshold->value[threshold->n++] = value;
    at                               = *end ? end + 1 : end;
  }
  return STATUS_OK;
}
/* From the results that lie beside the labels. */
static enum status threshold_of_file(MPI_Comm comm, const char *file, struct threshold *threshold) {
  char path[64];
  for (int i = 0; i < VOXEL_CLASSES_MOST; i++) {
    double *value = NULL;
    int64_t n     = 0;
    bool found    = false;
    snprintf(path, sizeof path, i ? "/entry/results/threshold_%d" : "/entry/results/threshold", i);
    TRY(store_get_doubles(comm, file, path, &found, &value, &n));
    if (found && n == 1 && threshold->n < VOXEL_CLASSES_MOST - 1)
      threshold->value[threshold->n++] = value[0];
    memory_free(value);
  }
  if (threshold->n > 0) return STATUS_OK;
  return AGREE(comm, FAIL(STATUS_USAGE,
                          "%s does not say its thresholds: --threshold V1,... is missing", file));
}
static enum status grey_read(struct flux_task *t, const char *name, struct grid_field *grey) {
  struct store_input *input = NULL;
  MPI_Comm comm             = t->job->comm;
  TRY(store_open(comm, name, NULL, 3, &input));
  const struct store_info *info = store_info(input);
  enum status s                 = STATUS_OK;
  for (int a = 0; a < 3 && s == STATUS_OK; a++)
    if (info->n[a] != t->labels_n[a])
      s = FAIL(STATUS_INPUT, "%s:%s has %lld voxels along %c, the labels have %lld", info->file,
               info->dataset, (long long)info->n[a], "zyx"[a], (long long)t -> labels_n[a]);
  s = AGREE(comm, s);
  if (s == STATUS_OK)
    s = grid_field_make(comm, &t->codes.plan, GRID_F32, (int64_t[3]){1, 1, 1}, grey);
  if (s == STATUS_OK) s = store_read_field_box(comm, input, &t->region.box, false, grey);
  store_close(&input);
  if (s == STATUS_OK) s = voxel_finite_check(comm, grey);
  return s == STATUS_OK && t->params->grey_median ? voxel_median(comm, grey) : s;
}
static enum status shifted_codes(struct flux_task *t, const struct grid_field *grey,
                                 const struct threshold *threshold, double shift,
                                 struct grid_field *codes) {
  double value[VOXEL_CLASSES_MOST];
  struct grid_field labels = {0};
  int64_t domain_vox;
  for (int i = 0; i < threshold->n; i++) value[i] = threshold->value[i] + shift;
  enum status s = voxel_label(t->job->comm, grey, value, threshold->n, &labels);
  if (s == STATUS_OK)
    s = flux_labels_code(t->job->comm, &labels, t->labels_n, t->params->mask, &t->region,
                         &t->labels, codes, &domain_vox);
  grid_field_free(&labels);
  return s;
}
struct shifted {
  struct flux_answer answer[3]; /* at T - dT, T, T + dT */
};
static void threshold_result(struct flux_task *t, int axis, const struct shifted *all,
                             const char *name, bool tau) {
  double value = NAN, lower = HUGE_VAL, upper = -HUGE_VAL;
  for (int i = 0; i < 3; i++) {
    const struct flux_answer *a = &all->answer[i];
    const double eps            = flux_conducting(t, a->voxels, t->domain_vox);
    double low = a->percolates ? a->lower : 0, high = a->percolates ? a->upper : 0;
    if (!t->params->certify && a->percolates) low = high;
    if (i == 1) value = tau ? (a->percolates ? eps / high : (double)NAN) : high;
    if (tau) {
      const double swap = high;
      high              = low > 0 ? eps / low : HUGE_VAL;
      low               = swap > 0 ? eps / swap : HUGE_VAL;
    }
    lower = fmin(lower, low);
    upper = fmax(upper, high);
  }
  struct stage_result *r = flux_result(t, name, axis, value, "");
  r->lower               = isfinite(lower) ? lower : (double)NAN;
  r->upper               = isfinite(upper) ? upper : (double)NAN;
  r->sigma               = isfinite(upper) && isfinite(lower) ? (upper - lower) / 2 : (double)NAN;
  if (!isfinite(value)) snprintf(r->state, sizeof r->state, "infinite");
  if (tau && !isfinite(upper)) log_warning("%s: nothing percolates at one of the thresholds", name);
}
static enum status threshold_axis(struct flux_task *t, int axis, const struct grid_field *codes,
                                  struct flux_answer *a) {
  struct flux_case problem;
  flux_case_of(t, axis, &problem);
  TRY(stop_agree(t->job->comm));
  TRY(flux_solve(t->job->comm, &problem, codes, a, NULL));
  unsure(t, "threshold", a);
  return STATUS_OK;
}
static enum status threshold_study(struct flux_task *t, const struct grid_field *grey,
                                   const struct threshold *threshold) {
  struct shifted all[3];
  for (int i = 0; i < 3; i++) {
    struct grid_field codes = {0};
    enum status s = shifted_codes(t, grey, threshold, (i - 1) * t->params->threshold_error, &codes);
    for (int axis = 0; axis < 3 && s == STATUS_OK; axis++)
      if (flux_runs(t->params, axis)) s = threshold_axis(t, axis, &codes, &all[axis].answer[i]);
    grid_field_free(&codes);
    TRY(s);
  }
  for (int axis = 0; axis < 3; axis++) {
    if (!flux_runs(t->params, axis)) continue;
    threshold_result(t, axis, &all[axis], "effective_diffusivity_threshold", false);
    threshold_result(t, axis, &all[axis], "tortuosity_factor_threshold", true);
  }
  return STATUS_OK;
}
static enum status threshold_find(struct flux_task *t) {
  MPI_Comm comm = t->job->comm;
  char name[STORE_NAME_BYTES];
  struct threshold threshold = {{0}, 0};
  struct grid_field grey     = {0};
  const char *from           = t->params->grey[0] ? t->params->grey : NULL;
  if (!from) from = stage_bundle_find(t->job->input, "aligned", false, name, sizeof name);
  if (!from) from = stage_bundle_find(t->job->input, "volume", false, name, sizeof name);
  if (!from)
    return AGREE(comm, FAIL(STATUS_USAGE,
                            "flux.threshold_error needs the grey values: --grey FILE[:DATASET]"));
  TRY_ALL(comm, threshold_parse(t->params->threshold, &threshold));
  if (threshold.n == 0) TRY(threshold_of_file(comm, t->labels_file, &threshold));
  enum status s = grey_read(t, from, &grey);
  if (s == STATUS_OK) s = threshold_study(t, &grey, &threshold);
  grid_field_free(&grey);
  return s;
}

/* ---- surfaces ---- */

static void surfaces_tell(struct flux_task *t, const struct flux_surfaces *s) {
  const char *area = t->voxel_known ? "1/um" : "1/vox", *line = t->voxel_known ? "1/um2" : "1/vox2";
  char name[48];
  for (int i = 0; i < s->phases; i++) {
    double sum = 0;
    for (int j = 0; j < s->phases; j++) sum += s->contact[i][j];
    snprintf(name, sizeof name, "surface_%d", s->label[i]);
    flux_result(t, name, -1, sum, area);
  }
  for (int i = 0; i < s->phases; i++)
    for (int j = i + 1; j < s->phases; j++) {
      snprintf(name, sizeof name, "contact_%d_%d", s->label[i], s->label[j]);
      flux_result(t, name, -1, s->contact[i][j], area);
      snprintf(name, sizeof name, "contact_faces_%d_%d", s->label[i], s->label[j]);
      flux_result(t, name, -1, s->faces[i][j], area);
    }
  flux_result(t, "triple_line", -1, s->line, line);
  for (int i = 0; i < s->phases; i++)
    for (int j = i + 1; j < s->phases; j++)
      for (int k = j + 1; k < s->phases; k++) {
        snprintf(name, sizeof name, "triple_line_%d_%d_%d", s->label[i], s->label[j], s->label[k]);
        flux_result(t, name, -1, s->triple[i][j][k], line);
      }
}
static enum status surfaces_find(struct flux_task *t) {
  struct store_input *input   = NULL;
  struct grid_field labels    = {0};
  struct flux_surfaces *found = NULL;
  MPI_Comm comm               = t->job->comm;
  TRY_ALL(comm, memory_make(1, sizeof *found, "surfaces", &found));
  enum status s = store_open(comm, t->labels_name, "labels", 3, &input);
  if (s == STATUS_OK) {
    s = grid_field_make(comm, &t->codes.plan, GRID_U8, (int64_t[3]){1, 1, 1}, &labels);
    if (s == STATUS_OK) s = store_read_field_box(comm, input, &t->region.box, true, &labels);
    store_close(&input);
  }
  if (s == STATUS_OK) s = flux_surfaces_find(comm, &labels, t->voxel_um, found);
  if (s == STATUS_OK) surfaces_tell(t, found);
  grid_field_free(&labels);
  memory_free(found);
  return s;
}

/* ---- all of them ---- */

enum status flux_study_run(struct flux_task *t) {
  const struct flux_params *p = t->params;
  if (p->surfaces) TRY(surfaces_find(t));
  if (p->tensor) TRY(tensor_find(t));
  if (p->representative > 0)
    TRY_ALL(t->job->comm, memory_make(3 * LEVELS_MOST * FLUX_REPRESENTATIVE, sizeof(double),
                                      "sub-volumes", &t->representative));
  for (int axis = 0; axis < 3; axis++) {
    if (!flux_runs(p, axis)) continue;
    if (strcmp(p->electrode, "none") != 0) TRY(electrode_find(t, axis));
    if (p->representative > 0) TRY(representative_find(t, axis));
  }
  return p->threshold_error > 0 ? threshold_find(t) : STATUS_OK;
}
enum status flux_study_write(struct flux_task *t, struct store_output *output) {
  static const char *const name[FLUX_REPRESENTATIVE] = {
      "axis",          "edge_z",           "edge_y",         "edge_x",         "boxes",
      "percolating",   "conducting",       "diffusivity",    "diffusivity_sd", "tortuosity",
      "tortuosity_sd", "tortuosity_least", "tortuosity_most"};
  static const char *const unit[FLUX_REPRESENTATIVE] = {"", "vox", "vox", "vox", "", "", "",
                                                        "", "",    "",    "",    "", ""};
  const double *column[FLUX_REPRESENTATIVE];
  double *table      = NULL;
  const int64_t rows = t->representative_rows;
  if (rows == 0) return STATUS_OK;
  TRY_ALL(t->job->comm,
          memory_make(FLUX_REPRESENTATIVE * rows, sizeof *table, "sub-volumes", &table));
  for (int c = 0; c < FLUX_REPRESENTATIVE; c++) {
    for (int64_t r = 0; r < rows; r++)
      table[c * rows + r] = t->representative[r * FLUX_REPRESENTATIVE + c];
    column[c] = table + c * rows;
  }
  const enum status s = store_table(t->job->comm, output, "flux_representative", name, unit,
                                    FLUX_REPRESENTATIVE, column, rows);
  memory_free(table);
  return s;
}
void flux_study_free(struct flux_task *t) {
  memory_free(t->representative);
  t->representative = NULL;
}
