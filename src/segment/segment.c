/* The stage: reads the aligned volume where there is one, else the volume; writes labels, components and the
 * components' table. */
#include "segment.h"
#include "voxel.h"
#include <math.h>
#include <string.h>

#define CONFIG_OWNER struct segment_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "segment_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("segment", struct segment_params, rows);

static enum status open_volume(const struct stage_job *job, struct store_input **input) {
  char name[STORE_NAME_BYTES];
  const char *from = stage_bundle_find(job->input, "aligned", false, name, sizeof name);
  if (!from) from = stage_bundle_find(job->input, "volume", true, name, sizeof name);
  if (!from)
    return AGREE(job->comm,
                 FAIL(STATUS_USAGE, "--input FILE[:DATASET] is missing: the volume to segment"));
  return store_open(job->comm, from, "volume", 3, input);
}

static enum status make_plan(MPI_Comm comm, const int64_t n[3], struct grid_plan *plan) {
  int size;
  MPI_Comm_size(comm, &size);
  if (n[0] >= 4 * (int64_t)size) return grid_plan_slabs(comm, n, 0, plan);
  return grid_plan_blocks(comm, n, 4, plan);
}

static bool is_whole(enum grid_type type) { return type == GRID_U8 || type == GRID_U16; }

static enum status read_volume(const struct stage_job *job, struct store_input *input,
                               struct grid_field *volume) {
  const struct store_info *info  = store_info(input);
  const struct segment_params *p = job->params;
  const int64_t h = segment_halo(p), halo[3] = {h, h, h};
  struct grid_plan plan;
  TRY_ALL(job->comm, make_plan(job->comm, info->n, &plan));
  enum status status =
      grid_field_make(job->comm, &plan, is_whole(info->type) ? GRID_U16 : GRID_F32, halo, volume);
  if (status == STATUS_OK) status = store_read_field(job->comm, input, false, volume);
  for (int a = 0; a < 3; a++) volume->voxel_um[a] = info->voxel_um[a];
  grid_plan_free(&plan);
  return status;
}

static void add_results(const struct stage_job *job, const struct segment_report *r,
                        const int64_t n[3]) {
  char name[64];
  double voxels = (double)n[0] * (double)n[1] * (double)n[2];
  for (int i = 0; i + 1 < r->classes; i++) {
    if (i)
      snprintf(name, sizeof name, "threshold_%d", i + 1);
    else
      snprintf(name, sizeof name, "threshold");
    stage_result_add(job->results, name, r->threshold[i], "");
  }
  for (int i = 0; i < r->classes; i++) {
    snprintf(name, sizeof name, "phase_fraction_%d", i);
    stage_result_add(job->results, name, (double)r->voxels[i] / voxels, "");
  }
  stage_result_add(job->results, "components", (double)r->components, "");
}

enum { COLUMNS = 14, TABLE_MOST = 1000000 };

static void fill_row(const struct voxel_component *c, int64_t i, double *const *column) {
  const double voxels = (double)c->voxels, area = (double)c->faces;
  const double row[COLUMNS] = {
      (double)c->number,          voxels,
      (double)c->low[0],          (double)c->low[1],
      (double)c->low[2],          (double)c->high[0],
      (double)c->high[1],         (double)c->high[2],
      (double)c->sum[0] / voxels, (double)c->sum[1] / voxels,
      (double)c->sum[2] / voxels, area,
      (double)c->touches,         cbrt(PI) * pow(6 * voxels, 2.0 / 3) / area};
  for (int k = 0; k < COLUMNS; k++) column[k][i] = row[k];
}

static enum status write_table(const struct stage_job *job, struct store_output *output,
                               const struct grid_field *components, int64_t count) {
  static const char *const names[COLUMNS] = {
      "number", "voxels",   "low_z",    "low_y",    "low_x", "high_z",  "high_y",
      "high_x", "centre_z", "centre_y", "centre_x", "faces", "touches", "sphericity_of_faces"};
  static const char *const units[COLUMNS] = {"",    "vox", "vox", "vox", "vox", "vox", "vox",
                                             "vox", "vox", "vox", "vox", "vox", "",    ""};
  struct voxel_component *table           = NULL;
  double *column[COLUMNS]                 = {NULL};
  if (count > TABLE_MOST) {
    log_warning("%lld components: the table is left out (at most %d rows; raise min_voxels)",
                (long long)count, TABLE_MOST);
    return STATUS_OK;
  }
  TRY(voxel_component_table(job->comm, components, count, &table));
  enum status status =
      memory_make(COLUMNS * (count + 1), sizeof(double), "a table of components", &column[0]);
  for (int k = 1; k < COLUMNS && status == STATUS_OK; k++) column[k] = column[k - 1] + count + 1;
  for (int64_t i = 0; i < count && status == STATUS_OK; i++) fill_row(&table[i], i, column);
  status = AGREE(job->comm, status);
  if (status == STATUS_OK)
    status = store_table(job->comm, output, "component_table", names, units, COLUMNS,
                         (const double *const *)column, count);
  memory_free(column[0]);
  memory_free(table);
  return status;
}

static enum status write_all(const struct stage_job *job, struct store_output *output,
                             const struct grid_field *labels, const struct grid_field *components,
                             int64_t count) {
  TRY(store_create(job->comm, output, "labels", labels->plan.n, labels->voxel_um, NULL, false));
  TRY(store_create(job->comm, output, "components", labels->plan.n, labels->voxel_um, NULL, false));
  TRY(store_default(job->comm, output, "labels"));
  TRY(store_ready(job->comm, output));
  TRY(store_write_field(job->comm, output, "labels", labels, 0));
  TRY(store_write_field(job->comm, output, "components", components, 0));
  return write_table(job, output, components, count);
}

static enum status write_output(const struct stage_job *job, const struct grid_field *labels,
                                const struct grid_field *components, int64_t count) {
  struct store_output *output;
  int64_t voxels = labels->plan.n[0] * labels->plan.n[1] * labels->plan.n[2];
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, 9 * voxels + (1 << 20), &output));
  enum status status = write_all(job, output, labels, components, count);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct segment_params *p = params;
  (void)common;
  if (p->median != 0 && p->median != 3)
    return FAIL(STATUS_USAGE, "segment.median = %d would be 0 or 3", (int)p->median);
  bool two = strcmp(p->threshold, "isodata") == 0 || strcmp(p->threshold, "entropy") == 0;
  if (two && p->classes != 2)
    return FAIL(STATUS_USAGE, "segment.threshold = %s gives 2 classes, not %d; otsu gives more",
                p->threshold, (int)p->classes);
  if (segment_threshold_is_found(p->threshold) && p->phase >= p->classes)
    return FAIL(STATUS_USAGE, "segment.phase = %d, but %d classes give phases 0..%d", (int)p->phase,
                (int)p->classes, (int)p->classes - 1);
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct store_input *input;
  struct grid_plan plan;
  TRY(open_volume(job, &input));
  const struct store_info *info = store_info(input);
  int64_t voxels = info->n[0] * info->n[1] * info->n[2], bytes = is_whole(info->type) ? 2 : 4;
  enum status status = AGREE(job->comm, make_plan(job->comm, info->n, &plan));
  if (status == STATUS_OK) {
    struct grid_box mine = grid_plan_box(&plan, 0);
    int64_t h = segment_halo(job->params), grown = 1, key = 1;
    for (int a = 0; a < 3; a++) grown *= mine.n[a] + 2 * h, key *= mine.n[a] + 2;
    /* a ball filter has a second volume */
    int64_t filter     = segment_has_ball(job->params) ? grown * bytes : 0,
            components = 8 * key + grid_plan_most(&plan) * 2;
    *need              = (struct stage_need){.memory_bytes = grown * bytes + grid_plan_most(&plan) +
                                                             (filter > components ? filter : components),
                                             .disk_bytes = 9 * voxels + (1 << 20),
                                             .rounds     = 1};
    grid_plan_free(&plan);
  }
  store_close(&input);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct store_input *input;
  struct grid_field volume, labels, components;
  struct segment_report report;
  memset(&volume, 0, sizeof volume);
  TRY(open_volume(job, &input));
  int64_t n[3];
  memcpy(n, store_info(input)->n, sizeof n);
  enum status status = read_volume(job, input, &volume);
  store_close(&input);
  if (status == STATUS_OK) {
    log_info("segment: %lld x %lld x %lld voxels", (long long)n[0], (long long)n[1],
             (long long)n[2]);
    status = segment_field(job->comm, job->params, &volume, &labels, &components, &report);
  }
  grid_field_free(&volume);
  if (status != STATUS_OK) return status;
  add_results(job, &report, n);
  status = write_output(job, &labels, &components, report.components);
  grid_field_free(&labels);
  grid_field_free(&components);
  return status;
}

const struct stage segment_stage = {
    .name   = "segment",
    .words  = "phases and connected components of a volume",
    .params = &param_set,
    .reads  = "volume",
    .writes = "labels,components",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
