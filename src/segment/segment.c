/* The stage: reads the aligned volume where there is one, else the volume; writes labels, components and the
 * components' table. */
#include "segment_private.h"
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

enum grid_type segment_type(const struct segment_params *p, enum grid_type type) {
  bool whole = type == GRID_U8 || type == GRID_U16;
  return whole && p->gaussian_vox == 0 && p->nlm_vox == 0 ? GRID_U16 : GRID_F32;
}

static enum status read_mask(const struct stage_job *job, const struct grid_plan *plan,
                             struct grid_field *mask) {
  const struct segment_params *p = job->params;
  struct store_input *input;
  struct grid_field given;
  if (!p->mask[0]) return STATUS_OK;
  TRY(store_open(job->comm, p->mask, "labels", 3, &input));
  const struct store_info *info = store_info(input);
  enum status status            = STATUS_OK;
  for (int a = 0; a < 3 && status == STATUS_OK; a++)
    if (info->n[a] != plan->n[a])
      status = FAIL(STATUS_INPUT, "%s has %lld voxels along %c, the volume has %lld", info->file,
                    (long long)info->n[a], "zyx"[a], (long long)plan -> n[a]);
  status = AGREE(job->comm, status);
  if (status == STATUS_OK) status = grid_field_make(job->comm, plan, GRID_F32, NULL, &given);
  if (status == STATUS_OK) {
    status = store_read_field(job->comm, input, false, &given);
    if (status == STATUS_OK) status = grid_field_make(job->comm, plan, GRID_U8, NULL, mask);
    for (int64_t i = 0; status == STATUS_OK && i < given.voxels; i++)
      ((uint8_t *)mask->data)[i] = ((const float *)given.data)[i] != 0;
    grid_field_free(&given);
  }
  store_close(&input);
  return status;
}

static enum status read_volume(const struct stage_job *job, struct store_input *input,
                               struct grid_field *volume) {
  const struct store_info *info  = store_info(input);
  const struct segment_params *p = job->params;
  const int64_t h = segment_halo(p), halo[3] = {h, h, h};
  struct grid_plan plan;
  TRY_ALL(job->comm, make_plan(job->comm, info->n, &plan));
  enum status status = grid_field_make(job->comm, &plan, segment_type(p, info->type), halo, volume);
  if (status == STATUS_OK) status = store_read_field(job->comm, input, false, volume);
  for (int a = 0; a < 3; a++) volume->voxel_um[a] = info->voxel_um[a];
  grid_plan_free(&plan);
  return status;
}

/* ---- results -------------------------------------------------------------------------------------------------- */

/* What the stage holds of a volume and its phases. */
struct parts {
  struct grid_field volume, labels, components;
  struct segment_report report;
  struct segment_table table;
};

static void add_interface(const struct stage_job *job, const struct segment_report *r) {
  const double *p = r->region.plane, *edge = r->voxel_um;
  bool known = edge[0] > 0 && edge[1] > 0 && edge[2] > 0;
  double y = known ? edge[0] / edge[1] : 1, x = known ? edge[0] / edge[2] : 1;
  stage_result_add(job->results, "region_interface_vox", p[0], "vox");
  stage_result_add(job->results, "region_tilt_y_deg", atan(p[1] * y) * 180 / PI, "deg");
  stage_result_add(job->results, "region_tilt_x_deg", atan(p[2] * x) * 180 / PI, "deg");
}

void segment_results_add(const struct stage_job *job, const struct segment_report *r) {
  char name[64];
  double voxels = 0;
  for (int i = 0; i + 1 < r->classes; i++) {
    if (i)
      snprintf(name, sizeof name, "threshold_%d", i + 1);
    else
      snprintf(name, sizeof name, "threshold");
    stage_result_add(job->results, name, r->threshold[i], "");
  }
  for (int i = 0; i < r->classes; i++) voxels += (double)r->voxels[i];
  for (int i = 0; i < r->classes; i++) {
    snprintf(name, sizeof name, "phase_fraction_%d", i);
    stage_result_add(job->results, name, (double)r->voxels[i] / voxels, "");
  }
  stage_result_add(job->results, "components", (double)r->components, "");
  if (r->region.follows) add_interface(job, r);
  if (r->region.radius == 0) return;
  stage_result_add(job->results, "region_x_vox", r->region.x, "vox");
  stage_result_add(job->results, "region_y_vox", r->region.y, "vox");
  stage_result_add(job->results, "region_radius_vox", r->region.radius, "vox");
}

static void add_surface(const struct stage_job *job, const struct parts *parts) {
  double area = 0, box = 0;
  if (!parts->table.with_surfaces) return;
  for (int64_t i = 0; i < parts->table.rows; i++) area += parts->table.column[SEGMENT_AREA][i];
  for (int i = 0; i < parts->report.classes; i++) box += (double)parts->report.voxels[i];
  box *= parts->table.edge[0] * parts->table.edge[1] * parts->table.edge[2];
  bool um = parts->table.in_um;
  stage_result_add(job->results, um ? "components_area_um2" : "components_area_vox2", area,
                   um ? "um2" : "vox2");
  stage_result_add(job->results, um ? "specific_surface_per_um" : "specific_surface_per_vox",
                   area / box, um ? "1/um" : "1/vox");
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

/* Slice by slice of the thickest rank: int32 in memory, int64 in the file. */
static enum status write_components(const struct stage_job *job, struct store_output *output,
                                    const struct grid_field *f) {
  const int64_t *n = f->mine.n;
  int64_t most     = n[0], *slice;
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, job->comm);
  enum status status =
      AGREE(job->comm, memory_make_raw(n[1] * n[2], sizeof *slice, "a slice", &slice));
  for (int64_t z = 0; z < most && status == STATUS_OK; z++) {
    bool here              = z < n[0] && n[1] * n[2] > 0;
    const int64_t start[3] = {f->mine.start[0] + (here ? z : 0), f->mine.start[1],
                              f->mine.start[2]},
                  box[3]   = {here, here ? n[1] : 0, here ? n[2] : 0};
    for (int64_t y = 0; here && y < n[1]; y++) {
      const int32_t *from =
          (const int32_t *)f->data + grid_field_origin(f) + z * f->row[0] + y * f->row[1];
      for (int64_t x = 0; x < n[2]; x++) slice[y * n[2] + x] = from[x];
    }
    status = store_write_box(job->comm, output, "components", false, start, box, slice);
  }
  memory_free(slice);
  return status;
}

static enum status create(const struct stage_job *job, struct store_output *output,
                          const int64_t n[3], const double voxel_um[3]) {
  const struct segment_params *p = job->params;
  TRY(store_create(job->comm, output, "labels", n, voxel_um, NULL, false));
  TRY(store_create(job->comm, output, "components", n, voxel_um, NULL, false));
  TRY(store_default(job->comm, output, "labels"));
  TRY(store_ready(job->comm, output));
  return p->names[0] ? store_note(job->comm, output, "phase_names", p->names) : STATUS_OK;
}

enum status segment_output_begin(const struct stage_job *job, const int64_t n[3],
                                 const double voxel_um[3], struct store_output **output) {
  TRY(stage_output_begin(job, 9 * n[0] * n[1] * n[2] + (1 << 20), output));
  enum status status = create(job, *output, n, voxel_um);
  if (status != STATUS_OK) store_abandon(job->comm, output, false);
  return status;
}

static enum status write_all(const struct stage_job *job, struct store_output *output,
                             const struct parts *parts) {
  TRY(store_write_field(job->comm, output, "labels", &parts->labels, 0));
  TRY(write_components(job, output, &parts->components));
  return segment_table_write(job, output, &parts->table);
}

static enum status write_output(const struct stage_job *job, const struct parts *parts) {
  struct store_output *output;
  if (!job->output[0]) return STATUS_OK;
  TRY(segment_output_begin(job, parts->labels.plan.n, parts->labels.voxel_um, &output));
  enum status status = write_all(job, output, parts);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct segment_params *p = params;
  (void)common;
  if (p->median != 0 && p->median != 3)
    return FAIL(STATUS_USAGE, "segment.median = %d would be 0 or 3", (int)p->median);
  bool two  = segment_threshold_is_found(p->threshold) && strcmp(p->threshold, "otsu") != 0;
  int names = p->names[0] != 0;
  for (const char *at = p->names; *at; at++) names += *at == ',';
  if (names && segment_threshold_is_found(p->threshold) && names != p->classes)
    return FAIL(STATUS_USAGE, "segment.names gives %d names to %d classes", names, (int)p->classes);
  if (segment_slab_is_found(p) && strcmp(p->per, "slice") == 0)
    return FAIL(STATUS_USAGE, "segment.slab = auto follows one threshold, not segment.per = slice");
  if (two && p->classes != 2)
    return FAIL(STATUS_USAGE, "segment.threshold = %s gives 2 classes, not %d; otsu gives more",
                p->threshold, (int)p->classes);
  if (p->nlm_vox > 0 && !(p->nlm_grey > 0))
    return FAIL(STATUS_USAGE,
                "segment.nlm_vox = %d wants segment.nlm_grey, a grey difference above 0",
                (int)p->nlm_vox);
  if (segment_threshold_is_found(p->threshold) && p->phase >= p->classes)
    return FAIL(STATUS_USAGE, "segment.phase = %d, but %d classes give phases 0..%d", (int)p->phase,
                (int)p->classes, (int)p->classes - 1);
  return STATUS_OK;
}

/* Of a rank that holds its part of the volume whole. */
static enum status whole_bytes(const struct stage_job *job, const struct store_info *info,
                               int64_t *need) {
  const struct segment_params *p = job->params;
  enum grid_type type            = segment_type(p, info->type);
  int64_t bytes                  = (int64_t)grid_type_bytes(type);
  struct grid_plan plan;
  TRY_ALL(job->comm, make_plan(job->comm, info->n, &plan));
  struct grid_box mine = grid_plan_box(&plan, 0);
  int64_t h = segment_halo(p), grown = 1, key = 1, smooth = 1, most = grid_plan_most(&plan);
  for (int a = 0; a < 3; a++)
    grown *= mine.n[a] + 2 * h, key *= mine.n[a] + 2, smooth *= mine.n[a] + 6;
  /* surfaces have a smoothed volume */
  int64_t filter     = segment_filter_bytes(p, mine.n, type);
  int64_t components = 4 * key + (p->surfaces ? 4 * smooth : 2 * most);
  int64_t region     = segment_has_region(p) ? most + 8 * info->n[1] * info->n[2] : 0;
  if (segment_slab_is_found(p)) region += segment_slab_bytes(info->n);
  *need = grown * bytes + most + region + (filter > components ? filter : components);
  grid_plan_free(&plan);
  return STATUS_OK;
}

/* *deep: planes of a round that a rank has at once, as many as memory lets; 0: the volume is held whole. */
static enum status size_work(const struct stage_job *job, const struct store_info *info,
                             int64_t *deep, int64_t *need) {
  const struct segment_params *p = job->params;
  const char *refused            = segment_rounds_refuse(p);
  int64_t limit;
  int size;
  MPI_Comm_size(job->comm, &size);
  *deep = 0;
  TRY(whole_bytes(job, info, need));
  TRY(stage_memory_limit(job, &limit));
  if (*need <= limit) return STATUS_OK;
  if (refused) {
    log_warning(
        "segment: the volume does not fit into memory whole, and segment.%s does not go in rounds",
        refused);
    return STATUS_OK;
  }
  *deep = (info->n[0] + size - 1) / size;
  while (*deep > 1 && segment_rounds_bytes(p, info, size, *deep) > limit) --*deep;
  *need = segment_rounds_bytes(p, info, size, *deep);
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct store_input *input;
  int64_t deep, bytes;
  int size;
  MPI_Comm_size(job->comm, &size);
  TRY(open_volume(job, &input));
  const struct store_info *info = store_info(input);
  enum status status            = size_work(job, info, &deep, &bytes);
  if (status == STATUS_OK)
    *need = (struct stage_need){.memory_bytes = bytes,
                                .disk_bytes = 9 * info->n[0] * info->n[1] * info->n[2] + (1 << 20),
                                .rounds =
                                    deep ? ((info->n[0] + size - 1) / size + deep - 1) / deep : 1};
  store_close(&input);
  return status;
}

static enum status work(const struct stage_job *job, struct parts *parts) {
  TRY(segment_field(job->comm, job->params, &parts->volume, &parts->labels, &parts->components,
                    &parts->report));
  TRY(segment_table_make(job, &parts->volume, &parts->components, &parts->report, &parts->table));
  segment_results_add(job, &parts->report);
  add_surface(job, parts);
  if (parts->report.region.mask.plan.size)
    TRY(segment_region_draw(job, &parts->volume, &parts->report.region.mask));
  return write_output(job, parts);
}

static enum status run_whole(const struct stage_job *job, struct store_input *input) {
  struct parts parts;
  memset(&parts, 0, sizeof parts);
  enum status status = read_volume(job, input, &parts.volume);
  if (status == STATUS_OK) status = read_mask(job, &parts.volume.plan, &parts.report.region.mask);
  if (status == STATUS_OK) status = work(job, &parts);
  grid_field_free(&parts.volume);
  grid_field_free(&parts.labels);
  grid_field_free(&parts.components);
  segment_report_free(&parts.report);
  segment_table_free(&parts.table);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct store_input *input;
  int64_t deep, bytes;
  TRY(open_volume(job, &input));
  const struct store_info *info = store_info(input);
  enum status status            = size_work(job, info, &deep, &bytes);
  if (status == STATUS_OK) {
    log_info("segment: %lld x %lld x %lld voxels", (long long)info->n[0], (long long)info->n[1],
             (long long)info->n[2]);
    status = deep ? segment_rounds_run(job, input, deep) : run_whole(job, input);
  }
  store_close(&input);
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
