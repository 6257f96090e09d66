/* The stage: labels and volume by whole columns; the height map as product and picture. */
#include "surface.h"
#include "picture.h"
#include <math.h>
#include <string.h>

#define CONFIG_OWNER struct surface_params
static const struct config_row param_rows[] = {
#include "config_rows.inc"
#include "surface_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("surface", struct surface_params, param_rows);

static enum status check(const void *params, const struct stage_common *common) {
  const struct surface_params *p = params;
  double voxel_um[3];
  (void)common;
  return stage_voxel_parse(p->voxel_um, voxel_um);
}

static enum status open_labels(const struct stage_job *job, struct store_input **input) {
  const struct surface_params *p = job->params;
  char name[STORE_NAME_BYTES];
  const char *from =
      p->labels[0] ? p->labels : stage_bundle_find(job->input, "labels", true, name, sizeof name);
  if (!from)
    return AGREE(job->comm, FAIL(STATUS_USAGE, "--labels FILE[:DATASET] is missing: the phases"));
  return store_open(job->comm, from, "labels", 3, input);
}

/* *input stays NULL when no volume is wanted or known. */
static enum status open_volume(const struct stage_job *job, struct store_input **input) {
  const struct surface_params *p = job->params;
  char name[STORE_NAME_BYTES];
  *input = NULL;
  if (strcmp(p->subvoxel, "no") == 0) return STATUS_OK;
  const char *from =
      p->volume[0] ? p->volume : stage_bundle_find(job->input, "aligned", false, name, sizeof name);
  if (!from) from = stage_bundle_find(job->input, "volume", false, name, sizeof name);
  if (from) return store_open(job->comm, from, "volume", 3, input);
  if (strcmp(p->subvoxel, "yes") != 0) return STATUS_OK;
  return AGREE(job->comm,
               FAIL(STATUS_USAGE, "--subvoxel yes needs the grey values: --volume FILE[:DATASET]"));
}

static enum status find_voxel(const struct stage_job *job, const struct store_info *info,
                              double voxel_um[3]) {
  const struct surface_params *p = job->params;
  TRY(stage_voxel_parse(p->voxel_um, voxel_um));
  for (int a = 0; a < 3 && voxel_um[a] == 0; a++) voxel_um[a] = info->voxel_um[a];
  if (voxel_um[0] > 0 && voxel_um[1] > 0 && voxel_um[2] > 0) return STATUS_OK;
  return FAIL(STATUS_USAGE, "%s has no voxel size, and heights are in um: give --voxel-um U",
              info->file);
}

static enum status read_columns(const struct stage_job *job, struct store_input *input,
                                enum grid_type type, struct grid_field *field) {
  struct grid_plan plan;
  TRY_ALL(job->comm, grid_plan_slabs(job->comm, store_info(input)->n, 1, &plan));
  enum status status = grid_field_make(job->comm, &plan, type, NULL, field);
  grid_plan_free(&plan);
  return status == STATUS_OK ? store_read_field(job->comm, input, type == GRID_U8, field) : status;
}

static enum status check_shapes(const struct store_info *labels, const struct store_info *volume) {
  for (int a = 0; a < 3; a++)
    if (labels->n[a] != volume->n[a])
      return FAIL(STATUS_INPUT, "%s has %lld voxels along axis %d, %s has %lld", labels->file,
                  (long long)labels->n[a], a, volume->file, (long long)volume->n[a]);
  return STATUS_OK;
}

struct inputs {
  struct store_input *labels, *volume;
  double voxel_um[3];
};

static void inputs_close(struct inputs *in) {
  if (in->labels) store_close(&in->labels);
  if (in->volume) store_close(&in->volume);
}

static enum status inputs_open(const struct stage_job *job, struct inputs *in) {
  memset(in, 0, sizeof *in);
  enum status status = open_labels(job, &in->labels);
  if (status == STATUS_OK) status = open_volume(job, &in->volume);
  if (status == STATUS_OK)
    status = AGREE(job->comm, find_voxel(job, store_info(in->labels), in->voxel_um));
  if (status == STATUS_OK && in->volume)
    status = AGREE(job->comm, check_shapes(store_info(in->labels), store_info(in->volume)));
  if (status != STATUS_OK) inputs_close(in);
  return status;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct inputs in;
  struct grid_plan slabs;
  TRY(inputs_open(job, &in));
  const int64_t *n   = store_info(in.labels)->n;
  enum status status = AGREE(job->comm, grid_plan_slabs(job->comm, n, 1, &slabs));
  if (status == STATUS_OK) {
    int64_t most = grid_plan_most(&slabs);
    *need        = (struct stage_need){.memory_bytes =
                                           most * (1 + 12 + (in.volume ? 4 : 0)) + 24 * n[1] * n[2],
                                       .disk_bytes = 4 * n[1] * n[2] + (1 << 20),
                                       .rounds     = 1};
    grid_plan_free(&slabs);
  }
  inputs_close(&in);
  return status;
}

static void add_results(const struct stage_job *job, const struct surface_report *r) {
  stage_result_add(job->results, "Ra_um", r->Ra_um, "um")->sigma = r->Ra_sigma;
  stage_result_add(job->results, "Rq_um", r->Rq_um, "um")->sigma = r->Rq_sigma;
  stage_result_add(job->results, "points", (double)r->points, "");
  stage_result_add(job->results, "phase_volume_um3", r->phase_volume_um3, "um3");
  stage_result_add(job->results, "subsurface_pore_fraction", r->subsurface_pore_fraction, "");
  if (isfinite(r->noise_um)) stage_result_add(job->results, "height_noise_um", r->noise_um, "um");
}

static enum status write_map(const struct stage_job *job, struct store_output *output,
                             const struct grid_field *height) {
  const int64_t n[2]      = {height->plan.n[1], height->plan.n[2]};
  const double axis_um[2] = {height->voxel_um[1], height->voxel_um[2]};
  const int64_t start[2]  = {height->mine.start[1], 0};
  const int64_t count[2]  = {height->mine.n[1], height->mine.n[1] ? height->mine.n[2] : 0};
  TRY(store_create(job->comm, output, "height", n, axis_um, NULL, false));
  TRY(store_default(job->comm, output, "height"));
  TRY(store_ready(job->comm, output));
  return store_write_box(job->comm, output, "height", false, start, count, height->data);
}

static enum status write_output(const struct stage_job *job, const struct grid_field *height) {
  struct store_output *output;
  char path[STORE_NAME_BYTES];
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, 4 * height->plan.n[1] * height->plan.n[2] + (1 << 20), &output));
  enum status status = write_map(job, output, height);
  snprintf(path, sizeof path, "%.2000s", job->output);
  size_t n = strlen(path);
  if (n > 3 && strcmp(path + n - 3, ".h5") == 0) path[n - 3] = 0;
  snprintf(path + strlen(path), sizeof path - strlen(path), ".png");
  if (status == STATUS_OK) status = picture_slice(job->comm, height, 0, 0, path);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct inputs in;
  struct grid_field labels, volume, height;
  struct surface_report report;
  memset(&labels, 0, sizeof labels);
  memset(&volume, 0, sizeof volume);
  memset(&height, 0, sizeof height);
  TRY(inputs_open(job, &in));
  enum status status = read_columns(job, in.labels, GRID_U8, &labels);
  memcpy(labels.voxel_um, in.voxel_um, sizeof in.voxel_um);
  if (status == STATUS_OK && in.volume) status = read_columns(job, in.volume, GRID_F32, &volume);
  if (status == STATUS_OK)
    status = surface_measure(job->comm, job->params, &labels, in.volume ? &volume : NULL, &height,
                             &report);
  if (status == STATUS_INPUT) status_about(store_info(in.labels)->file);
  inputs_close(&in);
  grid_field_free(&labels);
  grid_field_free(&volume);
  if (status != STATUS_OK) return status;
  add_results(job, &report);
  status = write_output(job, &height);
  grid_field_free(&height);
  return status;
}

const struct stage surface_stage = {
    .name   = "surface",
    .words  = "height map, roughness, volume and pores of a phase",
    .params = &param_set,
    .reads  = "labels,volume",
    .writes = "height",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
