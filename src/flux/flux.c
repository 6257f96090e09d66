/* The stage: labels in; effective diffusivity with its interval, tortuosity factors, concentration
 * and flux out. */
#include "flux_checkpoint.h"
#include "flux_petsc.h"
#include "flux_study.h"
#include <math.h>
#include <string.h>

#define CONFIG_OWNER struct flux_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "flux_params.def"
#include "config_undef.inc"
};
const struct config_set flux_param_set = CONFIG_SET("flux", struct flux_params, rows);

bool flux_runs(const struct flux_params *p, int axis) {
  return strcmp(p->direction, "all") == 0 || p->direction[0] == "zyx"[axis];
}
static bool keeps_fields(const struct flux_params *p, int axis) {
  if (strcmp(p->fields, "none") == 0 || strcmp(p->fixed, "middles") == 0) return false;
  if (strcmp(p->fields, "auto") == 0)
    return strcmp(p->direction, "all") == 0 ? axis == 0 : flux_runs(p, axis);
  return p->fields[0] == "zyx"[axis];
}
static enum flux_solver solver_of(const struct flux_params *p) {
  static const char *const names[] = {"multigrid", "krylov", "gamg", "boomeramg"};
  int i                            = 0;
  while (strcmp(names[i], p->solver) != 0) i++;
  return (enum flux_solver)i;
}

/* ---- input ---- */

static enum status open_labels(const struct stage_job *job, struct store_input **input) {
  char name[STORE_NAME_BYTES];
  const char *from = stage_bundle_find(job->input, "labels", true, name, sizeof name);
  if (!from)
    return AGREE(job->comm, FAIL(STATUS_USAGE, "--input FILE[:DATASET] is missing: the labels"));
  return store_open(job->comm, from, "labels", 3, input);
}
bool flux_task_runs(const struct flux_task *t, int axis) {
  return t->axes ? strchr(t->axes, "zyx"[axis]) != NULL : flux_runs(t->params, axis);
}
static enum status shape_check(const struct flux_task *t) {
  const int64_t *n = t->region.box.n;
  const int least  = strcmp(t->params->fixed, "middles") == 0 ? 3 : 2;
  for (int a = 0; a < 3; a++) {
    if (flux_task_runs(t, a) && n[a] < least)
      return FAIL(STATUS_INPUT,
                  "flux.%s = %s, but the volume has %lld voxel along %c (%d or "
                  "more are needed)",
                  t->axes ? "cases" : "direction", t->axes ? t->axes : t->params->direction,
                  (long long)n[a], "zyx"[a], least);
    if (n[a] > FLUX_EDGE_MOST)
      return FAIL(STATUS_INPUT, "flux: %lld voxels along %c; %d are the most", (long long)n[a],
                  "zyx"[a], FLUX_EDGE_MOST);
  }
  return STATUS_OK;
}
/* Option over file over 1. */
static enum status voxel_size(const struct flux_params *p, const struct store_info *info,
                              double voxel_um[3]) {
  TRY(stage_voxel_parse(p->voxel_um, voxel_um));
  for (int a = 0; a < 3; a++) {
    if (!(voxel_um[a] > 0)) voxel_um[a] = info->voxel_um[a];
    if (!(voxel_um[a] > 0)) voxel_um[a] = 1;
    if (!isfinite(voxel_um[a]) || voxel_um[a] > 1e9)
      return FAIL(STATUS_INPUT, "flux: a voxel of %g um", voxel_um[a]);
  }
  return STATUS_OK;
}
static enum status task_begin(struct flux_task *t, const struct store_info *info, bool needs_map) {
  MPI_Comm comm = t->job->comm;
  TRY_ALL(comm, flux_labels_parse(t->params, &t->labels));
  TRY_ALL(comm, stage_box_parse("flux.box", t->params->box, info->n, &t->region.box));
  TRY_ALL(comm, voxel_size(t->params, info, t->voxel_um));
  t->voxel_known = t->params->voxel_um[0] || info->voxel_um[0] > 0;
  TRY(flux_region_find(t->job, info, t->voxel_um, needs_map, &t->region));
  return AGREE(comm, shape_check(t));
}
enum status flux_task_read(struct flux_task *t) {
  struct store_input *input = NULL;
  MPI_Comm comm             = t->job->comm;
  char name[STORE_NAME_BYTES];
  TRY(open_labels(t->job, &input));
  snprintf(t->labels_name, sizeof t->labels_name, "%s",
           stage_bundle_find(t->job->input, "labels", true, name, sizeof name));
  memcpy(t->labels_n, store_info(input)->n, sizeof t->labels_n);
  snprintf(t->labels_file, sizeof t->labels_file, "%s", store_info(input)->file);
  enum status s = task_begin(t, store_info(input), true);
  if (s == STATUS_OK)
    s = flux_labels_read(comm, input, t->params->mask, &t->region, &t->labels, &t->codes,
                         &t->domain_vox);
  store_close(&input);
  return s;
}

/* ---- one direction ---- */

static enum status field_like(MPI_Comm comm, const struct flux_task *t, int face_axis,
                              struct grid_field *field) {
  struct grid_plan plan = {0};
  enum status s         = grid_plan_copy(&t->codes.plan, &plan);
  if (s == STATUS_OK && face_axis >= 0) {
    plan.n[face_axis]++;
    plan.cut[face_axis][plan.parts[face_axis]]++;
  }
  s = AGREE(comm, s);
  if (s == STATUS_OK) s = grid_field_make(comm, &plan, GRID_F32, (int64_t[3]){0, 0, 0}, field);
  for (int a = 0; a < 3; a++) field->voxel_um[a] = t->voxel_um[a];
  grid_plan_free(&plan);
  return s;
}
static enum status state_make(struct flux_task *t) {
  MPI_Comm comm = t->job->comm;
  TRY(field_like(comm, t, -1, &t->state.concentration));
  TRY(field_like(comm, t, -1, &t->state.magnitude));
  for (int a = 0; a < 3; a++) TRY(field_like(comm, t, a, &t->state.flux[a]));
  for (int64_t i = 0; i < t->state.concentration.voxels; i++)
    ((float *)t->state.concentration.data)[i] = NAN;
  t->has_state = true;
  return STATUS_OK;
}
struct stage_result *flux_result(struct flux_task *t, const char *name, int axis, double value,
                                 const char *unit) {
  char full[96];
  const bool all = axis >= 0 && (t->suffix || strcmp(t->params->direction, "all") == 0);
  snprintf(full, sizeof full, all ? "%s_%c" : "%s", name, "zyx"[axis < 0 ? 0 : axis]);
  if (t->suffix) snprintf(full + strlen(full), sizeof full - strlen(full), "_%s", t->suffix);
  return stage_result_add(t->job->results, full, value, unit);
}
double flux_conducting(const struct flux_task *t, const int64_t voxels[FLUX_CODES],
                       int64_t domain_vox) {
  double sum = 0;
  for (int c = 1; c < FLUX_CODES; c++)
    sum += t->labels.of_code[c] * (double)voxels[c] / (double)domain_vox;
  return sum;
}
/* tau = sum(eps_p D_p) / D_eff over `voxels`, with the ends of D_eff's interval exchanged. */
static void tortuosity(struct flux_task *t, const char *name, int axis, const struct flux_answer *a,
                       const int64_t voxels[FLUX_CODES]) {
  const double conducting = flux_conducting(t, voxels, t->domain_vox);
  struct stage_result *r =
      flux_result(t, name, axis, a->percolates ? conducting / a->upper : (double)NAN, "");
  if (!a->percolates) {
    snprintf(r->state, sizeof r->state, "infinite");
    return;
  }
  r->lower = a->lower > 0 ? conducting / a->upper : (double)NAN;
  r->upper = a->lower > 0 ? conducting / a->lower : (double)NAN;
}
void flux_results_add(struct flux_task *t, int axis, const struct flux_answer *a) {
  double all = 0, open = 0;
  for (int c = 1; c < FLUX_CODES; c++) {
    all += (double)a->voxels[c];
    open += (double)a->percolating[c];
  }
  flux_result(t, "volume_fraction", axis, all / (double)t->domain_vox, "");
  flux_result(t, "percolating_fraction", axis, open / (double)t->domain_vox, "");
  struct stage_result *d = flux_result(t, "effective_diffusivity", axis, a->upper, "");
  if (a->percolates) {
    d->upper = a->upper;
    d->lower = t->params->certify ? a->lower : (double)NAN;
  }
  tortuosity(t, "tortuosity_factor", axis, a, a->voxels);
  tortuosity(t, "tortuosity_factor_percolating", axis, a, a->percolating);
  flux_result(t, "iterations", axis, a->iterations, "");
}
void flux_tell(struct flux_task *t, const char *where, const struct flux_answer *a) {
  if (!a->percolates) {
    log_warning("flux %s: no conducting path from face to face; D_eff 0, tortuosity infinite",
                where);
    return;
  }
  log_info("flux %s: D_eff %.6g in [%.6g, %.6g], %d iterations, set-up %.2f s, solver %.2f s, "
           "certificate %.2f s",
           where, a->upper, a->lower, a->upper, a->iterations, a->setup_s, a->solve_s, a->bound_s);
  if (a->converged) return;
  t->converged = false;
  snprintf(t->worst, sizeof t->worst, "flux %s: D_eff in [%.8g, %.8g] after %d iterations", where,
           a->lower, a->upper, a->iterations);
}
void flux_case_of(const struct flux_task *t, int axis, struct flux_case *problem) {
  const struct flux_params *p = t->params;
  *problem                    = (struct flux_case){.axis           = axis,
                                                   .periodic       = p->periodic,
                                                   .middles        = strcmp(p->fixed, "middles") == 0,
                                                   .volume_vox     = t->domain_vox,
                                                   .tolerance      = p->tolerance,
                                                   .iterations_max = (int)p->iterations_max,
                                                   .solver         = solver_of(p),
                                                   .certify        = p->certify,
                                                   .petsc_options  = p->petsc_options};
  memcpy(problem->spacing, t->voxel_um, sizeof problem->spacing);
  memcpy(problem->diffusivity, t->labels.of_code, sizeof problem->diffusivity);
}
/* Of the map that is kept: how uneven the flux is, and how far it is from free of sources. */
static enum status statistics_add(struct flux_task *t, int axis, const struct flux_answer *a) {
  struct flux_statistics *s = &t->statistics;
  const double area_vox     = (double)t->domain_vox / (double)t->region.box.n[axis];
  char name[48];
  t->statistics_axis = axis;
  TRY(flux_statistics_find(t->job->comm, &t->state, axis, area_vox, s));
  flux_result(t, "flux_divergence", axis, a->divergence, "");
  flux_result(t, "flux_uneven", axis, s->uneven, "");
  flux_result(t, "flux_mean", axis, s->whole.mean, "");
  flux_result(t, "flux_variation", axis, s->whole.variation, "");
  for (int i = 0; i < FLUX_PERCENTILES; i++) {
    snprintf(name, sizeof name, "flux_p%g", flux_percentile[i]);
    flux_result(t, name, axis, s->whole.percentile[i], "");
  }
  flux_result(t, "flux_hottest", axis, s->whole.hottest, "");
  flux_result(t, "constrictivity", axis, s->whole.constrictivity, "");
  flux_result(t, "path_tortuosity", axis, s->path, "");
  return STATUS_OK;
}
/* The start parameter's dataset, on the codes' plan. */
static enum status start_read(struct flux_task *t) {
  struct store_input *input = NULL;
  MPI_Comm comm             = t->job->comm;
  if (!t->params->start[0]) return STATUS_OK;
  TRY(store_open(comm, t->params->start, "concentration", 3, &input));
  const struct store_info *info = store_info(input);
  enum status s                 = STATUS_OK;
  for (int a = 0; a < 3 && s == STATUS_OK; a++)
    if (info->n[a] != t->region.box.n[a])
      s = FAIL(STATUS_INPUT, "%s:%s has %lld voxels along %c, the box has %lld", info->file,
               info->dataset, (long long)info->n[a], "zyx"[a], (long long)t -> region.box.n[a]);
  s = AGREE(comm, s);
  if (s == STATUS_OK)
    s = grid_field_make(comm, &t->codes.plan, GRID_F32, (int64_t[3]){0, 0, 0}, &t->start);
  if (s == STATUS_OK) s = store_read_field(comm, input, false, &t->start);
  store_close(&input);
  return s;
}
/* Solves, or takes the answer of a run before that was killed. */
static enum status solve_or_take(struct flux_task *t, struct flux_checkpoint *k, int axis,
                                 bool fields, struct flux_answer *answer) {
  struct flux_case problem;
  if (k->done[axis] && !fields) {
    *answer = k->answer[axis];
    return STATUS_OK;
  }
  flux_case_of(t, axis, &problem);
  k->axis       = axis;
  problem.start = k->start_axis == axis ? &k->start : t->start.data ? &t->start : NULL;
  if (t->job->output[0] && t->params->checkpoint_s > 0) {
    problem.keep    = flux_checkpoint_keep;
    problem.context = k;
    problem.keep_s  = t->params->checkpoint_s;
  }
  TRY(flux_solve(t->job->comm, &problem, &t->codes, answer, fields ? &t->state : NULL));
  k->done[axis]   = true;
  k->answer[axis] = *answer;
  return STATUS_OK;
}
static enum status solve_axis(struct flux_task *t, struct flux_checkpoint *k, int axis) {
  struct flux_answer answer;
  char where[16];
  const bool fields = t->job->output[0] && keeps_fields(t->params, axis);
  TRY(stop_agree(t->job->comm));
  if (fields) TRY(state_make(t));
  TRY(solve_or_take(t, k, axis, fields, &answer));
  snprintf(where, sizeof where, "along %c", "zyx"[axis]);
  flux_tell(t, where, &answer);
  flux_results_add(t, axis, &answer);
  return fields && answer.percolates ? statistics_add(t, axis, &answer) : STATUS_OK;
}

/* ---- output ---- */

static int64_t disk_bytes(const struct flux_params *p, const struct grid_box *box) {
  const int64_t voxels = grid_box_voxels(box);
  bool any             = false;
  for (int a = 0; a < 3; a++) any = any || (flux_runs(p, a) && keeps_fields(p, a));
  int64_t faces = 3 * voxels;
  for (int a = 0; a < 3; a++) faces += voxels / box->n[a];
  return (1 << 20) + (any ? 4 * (2 * voxels + faces) : 0);
}
static enum status write_fields(struct flux_task *t, struct store_output *output) {
  MPI_Comm comm              = t->job->comm;
  static const char *names[] = {"concentration", "flux", "flux_z", "flux_y", "flux_x"};
  struct grid_field *field[] = {&t->state.concentration, &t->state.magnitude, &t->state.flux[0],
                                &t->state.flux[1], &t->state.flux[2]};
  for (int i = 0; i < 5; i++)
    TRY(store_create(comm, output, names[i], field[i]->plan.n, t->voxel_um, NULL, false));
  TRY(store_default(comm, output, "flux"));
  TRY(store_ready(comm, output));
  for (int i = 0; i < 5; i++) TRY(store_write_field(comm, output, names[i], field[i], 0));
  return STATUS_OK;
}
/* Which part of the labels the fields are of: z, y, x, half-open. */
static enum status note_box(const struct flux_task *t, struct store_output *output) {
  const struct grid_box *b = &t->region.box;
  char text[128];
  long long at[3], end[3];
  for (int a = 0; a < 3; a++) at[a] = b->start[a], end[a] = b->start[a] + b->n[a];
  snprintf(text, sizeof text, "%lld:%lld,%lld:%lld,%lld:%lld", at[0], end[0], at[1], end[1], at[2],
           end[2]);
  return store_note(t->job->comm, output, "box", text);
}

static enum status write_output(struct flux_task *t) {
  struct store_output *output;
  if (!t->job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(t->job, disk_bytes(t->params, &t->region.box), &output));
  enum status s = store_note(
      t->job->comm, output, "convention",
      "c fixed on the outer faces, L = N voxels; tortuosity_factor = sum(eps D)/D_eff with eps of "
      "all conducting voxels, tortuosity_factor_percolating with those of the percolating ones; "
      "value of effective_diffusivity = energy (upper bound); flux over the mean gradient, so that "
      "its mean over a cross section is D_eff");
  if (s == STATUS_OK) s = note_box(t, output);
  if (s == STATUS_OK && t->has_state) s = write_fields(t, output);
  if (s == STATUS_OK && t->statistics.slices > 0)
    s = flux_statistics_write(t->job->comm, &t->statistics, t->voxel_um[t->statistics_axis],
                              output);
  if (s == STATUS_OK) s = flux_study_write(t, output);
  if (s == STATUS_OK) return stage_output_commit(t->job, &output);
  store_abandon(t->job->comm, &output, false);
  return s;
}

/* ---- the stage ---- */

static enum status check(const void *params, const struct stage_common *common) {
  const struct flux_params *p = params;
  struct flux_labels labels;
  double voxel_um[3];
  (void)common;
  if (p->petsc_options[0] && strcmp(p->solver, "multigrid") == 0)
    return FAIL(STATUS_USAGE, "flux.petsc_options needs flux.solver krylov, gamg or boomeramg");
  TRY(stage_voxel_parse(p->voxel_um, voxel_um));
  TRY(flux_region_check(p));
  TRY(flux_study_check(p));
  TRY(flux_cases_check(p));
  return flux_labels_parse(p, &labels);
}
/* Beyond what one solution needs: grey values, a start, a state to keep, sources, sub-volumes. */
static double bytes_of_studies(const struct flux_params *p, bool output) {
  double bytes = p->start[0] ? 8 : output && p->checkpoint_s > 0 ? 4 : 0;
  if (strcmp(p->electrode, "none") != 0) bytes += 4;
  if (p->representative > 0 || p->surfaces) bytes += 2;
  if (p->threshold_error > 0) bytes += 4 + 1 + 1;
  return bytes;
}
/* PETSc counts unknowns; whether it may be asked is known before the volume is read. */
static enum status indices_check(const struct flux_params *p, int64_t voxels) {
  if (flux_krylov_fits(voxels)) return STATUS_OK;
  if (strcmp(p->solver, "multigrid") != 0)
    return FAIL(STATUS_MEMORY,
                "flux.solver = %s on up to %lld unknowns needs a PETSc with 64-bit indices (build "
                "with XCSCT_PETSC64)",
                p->solver, (long long)voxels);
  if (p->tolerance < 1e-5)
    log_warning("flux.tolerance = %g on %lld voxels may need a PETSc with 64-bit indices (build "
                "with XCSCT_PETSC64)",
                p->tolerance, (long long)voxels);
  return STATUS_OK;
}
/* Graphs per voxel of a volume that conducts everywhere, at most. */
static const double solid_bytes = 23;

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct store_input *input = NULL;
  struct grid_plan plan     = {0};
  struct flux_task t        = {.job = job, .params = job->params};
  struct flux_sample sample = {0};
  TRY(open_labels(job, &input));
  enum status s = task_begin(&t, store_info(input), false);
  if (s == STATUS_OK) s = AGREE(job->comm, indices_check(t.params, grid_box_voxels(&t.region.box)));
  if (s == STATUS_OK) s = AGREE(job->comm, flux_plan_make(job->comm, t.region.box.n, &plan));
  const bool fields = disk_bytes(t.params, &t.region.box) > 1 << 20 && job->output[0];
  if (s == STATUS_OK) s = flux_sample_find(&t, input, t.params->certify || fields, &sample);
  if (s == STATUS_OK) {
    const enum flux_solver solver =
        solver_of(t.params) == FLUX_MULTIGRID && flux_sample_is_hard(&sample) ? FLUX_KRYLOV
                                                                              : solver_of(t.params);
    const double graphs = sample.bytes_per_voxel,
                 plain  = flux_bytes_per_voxel(solver, sample.open, false),
                 whole  = flux_bytes_per_voxel(solver, sample.open, fields),
                 cases  = flux_cases_share(t.params, &t.region.box, t.voxel_um[0]);
    /* a case, whose labels are others, is solved while codes and fields of the stage's own region are held */
    const double bytes = fmax(graphs + whole + bytes_of_studies(t.params, job->output[0]),
                              cases > 0 ? whole + (fmax(graphs, solid_bytes) + plain) * cases : 0);
    const double alone = plan.size > 1 ? flux_sample_alone(&sample, &t.region.box) : 0;
    *need              = (struct stage_need){
                     .memory_bytes = (int64_t)(bytes * (double)grid_plan_most(&plan) + alone) + (1 << 20),
                     .disk_bytes   = job->output[0] ? disk_bytes(t.params, &t.region.box) : 0,
                     .rounds       = 1};
  }
  grid_plan_free(&plan);
  store_close(&input);
  return s;
}
void flux_task_free(struct flux_task *t) {
  grid_field_free(&t->codes);
  flux_state_free(&t->state);
  flux_statistics_free(&t->statistics);
  flux_study_free(t);
  grid_field_free(&t->start);
}
static enum status directions(struct flux_task *t, struct flux_checkpoint *k) {
  TRY(start_read(t));
  TRY(flux_checkpoint_find(t, k));
  for (int axis = 0; axis < 3; axis++)
    if (flux_runs(t->params, axis)) TRY(solve_axis(t, k, axis));
  return STATUS_OK;
}
static enum status run_task(struct flux_task *t) {
  struct flux_checkpoint checkpoint = {.task = t};
  TRY(flux_task_read(t));
  log_info("flux: %lld x %lld x %lld voxels", (long long)t->region.box.n[0],
           (long long)t->region.box.n[1], (long long)t->region.box.n[2]);
  if (t->region.has_interface) {
    flux_result(t, "region_from_um", -1, (double)t->region.box.start[0] * t->voxel_um[0], "um");
    flux_result(t, "region_to_um", -1,
                (double)(t->region.box.start[0] + t->region.box.n[0]) * t->voxel_um[0], "um");
  }
  enum status s = directions(t, &checkpoint);
  flux_checkpoint_free(&checkpoint);
  if (s == STATUS_OK) s = flux_study_run(t);
  if (s == STATUS_OK) s = flux_cases_run(t);
  if (s == STATUS_OK) s = write_output(t);
  if (s == STATUS_OK) flux_checkpoint_remove(&checkpoint);
  return s;
}
static enum status run(const struct stage_job *job) {
  struct flux_task t = {.job = job, .params = job->params, .converged = true};
  enum status s      = run_task(&t);
  flux_task_free(&t);
  if (s == STATUS_OK && !t.converged)
    s = FAIL(STATUS_NOT_CONVERGED, "%s: wider than flux.tolerance = %g", t.worst,
             t.params->tolerance);
  return s;
}
const struct stage flux_stage = {
    .name   = "flux",
    .words  = "Li+ transport through labels: effective diffusivity with its interval, tortuosity",
    .params = &flux_param_set,
    .reads  = "labels,height,volume",
    .writes = "concentration,flux_z,flux_y,flux_x,flux",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
