/* The stage: labels and volume by whole columns; the height map as product and picture. */
#include "surface.h"
#include "picture.h"
#include <math.h>
#include <stdlib.h>
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
  char *end;
  (void)common;
  if (p->void_grey[0] && (!isfinite(strtod(p->void_grey, &end)) || end == p->void_grey || *end))
    return FAIL(STATUS_USAGE, "surface.void_grey = %s; it would be a grey value", p->void_grey);
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

static enum status check_shapes(const struct store_info *labels, const struct store_info *volume) {
  for (int a = 0; a < 3; a++)
    if (labels->n[a] != volume->n[a])
      return FAIL(STATUS_INPUT, "%s has %lld voxels along axis %d, %s has %lld", labels->file,
                  (long long)labels->n[a], a, volume->file, (long long)volume->n[a]);
  return STATUS_OK;
}

struct inputs {
  MPI_Comm comm;
  struct store_input *labels, *volume;
  struct surface_source source;
};

static enum status read_labels(void *owner, const struct grid_box *box, struct grid_field *to) {
  const struct inputs *in = owner;
  return store_read_field_box(in->comm, in->labels, box, true, to);
}

static enum status read_volume(void *owner, const struct grid_box *box, struct grid_field *to) {
  const struct inputs *in = owner;
  return store_read_field_box(in->comm, in->volume, box, false, to);
}

static void inputs_close(struct inputs *in) {
  if (in->labels) store_close(&in->labels);
  if (in->volume) store_close(&in->volume);
}

static enum status inputs_open(const struct stage_job *job, struct inputs *in) {
  memset(in, 0, sizeof *in);
  in->comm           = job->comm;
  enum status status = open_labels(job, &in->labels);
  if (status == STATUS_OK) status = open_volume(job, &in->volume);
  if (status == STATUS_OK)
    status = AGREE(job->comm, find_voxel(job, store_info(in->labels), in->source.voxel_um));
  if (status == STATUS_OK && in->volume)
    status = AGREE(job->comm, check_shapes(store_info(in->labels), store_info(in->volume)));
  if (status != STATUS_OK) {
    inputs_close(in);
    return status;
  }
  memcpy(in->source.n, store_info(in->labels)->n, sizeof in->source.n);
  in->source.labels = read_labels;
  in->source.volume = in->volume ? read_volume : NULL;
  in->source.owner  = in;
  return STATUS_OK;
}

/* As many rows of columns a round as memory lets; one round where balls are laid into the whole phase. */
static enum status size_rounds(const struct stage_job *job, struct inputs *in,
                               struct stage_need *need) {
  const struct surface_params *p = job->params;
  struct surface_source *s       = &in->source;
  int ranks;
  MPI_Comm_size(job->comm, &ranks);
  const int64_t most = (s->n[1] + ranks - 1) / ranks;
  TRY(stage_memory_limit(job, &s->limit_bytes));
  s->deep = most;
  for (int64_t low = 1; p->thickness_vox == 0 && low < s->deep;) { /* the most rows that fit */
    int64_t middle = low + (s->deep - low) / 2;
    if (surface_bytes(p, s->n, s->volume, ranks, s->deep) <= s->limit_bytes) break;
    if (surface_bytes(p, s->n, s->volume, ranks, middle + 1) <= s->limit_bytes)
      low = middle + 1;
    else
      s->deep = middle;
  }
  *need = (struct stage_need){.memory_bytes = surface_bytes(p, s->n, s->volume, ranks, s->deep),
                              .disk_bytes   = 5 * 4 * s->n[1] * s->n[2] + (4 << 20),
                              .rounds       = (most + s->deep - 1) / s->deep};
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct inputs in;
  TRY(inputs_open(job, &in));
  enum status status = size_rounds(job, &in, need);
  inputs_close(&in);
  return status;
}

/* ---- results ------------------------------------------------------------------------------------------------- */

static struct stage_result *add(const struct stage_job *job, const char *name, double value,
                                const char *unit) {
  struct stage_result *row = stage_result_add(job->results, name, value, unit);
  if (row && isnan(value)) snprintf(row->state, sizeof row->state, "undefined");
  return row;
}

static void add_sigma(const struct stage_job *job, const char *name, double value, double sigma,
                      const char *unit) {
  struct stage_result *row = add(job, name, value, unit);
  if (row) row->sigma = sigma;
}

static void add_range(const struct stage_job *job, const char *name,
                      const struct surface_range *range) {
  struct stage_result *row = add(job, name, range->value, "um3");
  if (!row) return;
  row->lower = range->lower;
  row->upper = range->upper;
  row->sigma = 0.5 * (range->upper - range->lower);
}

static void add_roughness(const struct stage_job *job, const struct surface_report *r) {
  struct stage_result *row = add(job, "Ra_um", r->Ra_um, "um");
  if (row) row->sigma = r->Ra_sigma, row->lower = r->Ra_lower, row->upper = r->Ra_upper;
  row = add(job, "Rq_um", r->Rq_um, "um");
  if (row) row->sigma = r->Rq_sigma, row->lower = r->Rq_lower, row->upper = r->Rq_upper;
  add(job, "points", (double)r->points, "");
  if (isfinite(r->noise_um)) add(job, "height_noise_um", r->noise_um, "um");
  if (isfinite(r->contrast_to_noise)) add(job, "contrast_to_noise", r->contrast_to_noise, "");
}

/* Where the contrast is below three times the noise, pores of a few voxels are made or lost by noise alone. */
static void add_layers(const struct stage_job *job, const struct surface_report *r) {
  add_range(job, "phase_volume_um3", &r->phase_volume_um3);
  add_range(job, "envelope_volume_um3", &r->envelope_um3);
  add(job, "solid_volume_um3", r->solid_um3, "um3");
  struct stage_result *row = add(job, "subsurface_pore_fraction", r->subsurface_pore_fraction, "");
  if (row && (r->pore_contrast_to_noise < 3 || r->contrast_to_noise < 3))
    snprintf(row->state, sizeof row->state, "contrast too low to show pores");
  if (isfinite(r->pore_contrast_to_noise)) {
    add(job, "pore_contrast_to_noise", r->pore_contrast_to_noise, "");
    add_sigma(job, "pore_fraction_by_grey", r->grey_pore_fraction, r->grey_pore_sigma, "");
  }
  add(job, "closed_pore_volume_um3", r->closed_pore_um3, "um3");
  add(job, "closed_pores", (double)r->pores, "");
  add(job, "detached_volume_um3", r->detached_um3, "um3");
  add(job, "detached_parts", (double)r->detached, "");
  add(job, "overhang_fraction", r->overhang_fraction, "");
  add(job, "Ra_lowest_um", r->Ra_low_um, "um");
  add(job, "hole_fraction", r->hole_fraction, "");
  add(job, "contact_phase", (double)r->contact, "");
  add(job, "contact_fraction", r->contact_fraction, "");
  add(job, "membrane_thickness_um", r->membrane_um, "um");
  add(job, "membrane_thickness_least_um", r->membrane_least_um, "um");
  if (isfinite(r->local_thickness_um))
    add(job, "membrane_local_thickness_um", r->local_thickness_um, "um");
  if (isfinite(r->interface_um2)) {
    add(job, "interface_area_um2", r->interface_um2, "um2");
    add(job, "interface_area_ratio", r->interface_ratio, "");
  }
  add(job, "dendrites", (double)r->dendrites, "");
  add(job, "dendrites_per_mm2", r->dendrites_per_mm2, "1/mm2");
  add(job, "dendrite_level_um", r->dendrite_level_um, "um");
  add(job, "dendrite_volume_um3", r->dendrite_um3, "um3");
}

static void add_texture(const struct stage_job *job, const struct surface_texture *t) {
  add_sigma(job, "Sa_um", t->Sa, t->Sa_sigma, "um");
  add_sigma(job, "Sq_um", t->Sq, t->Sq_sigma, "um");
  add(job, "Sz_um", t->Sz, "um");
  add(job, "Sp_um", t->Sp, "um");
  add(job, "Sv_um", t->Sv, "um");
  add_sigma(job, "Ssk", t->Ssk, t->Ssk_sigma, "");
  add_sigma(job, "Sku", t->Sku, t->Sku_sigma, "");
  add_sigma(job, "Sdq", t->Sdq, t->Sdq_sigma, "");
  add_sigma(job, "Sdr_percent", 100 * t->Sdr, 100 * t->Sdr_sigma, "%");
  add(job, "Sal_um", t->Sal, "um");
  add(job, "Str", t->Str, "");
  add(job, "Sk_um", t->Sk, "um");
  add(job, "Spk_um", t->Spk, "um");
  add(job, "Svk_um", t->Svk, "um");
  add(job, "Smr1_percent", 100 * t->Smr1, "%");
  add(job, "Smr2_percent", 100 * t->Smr2, "%");
  add(job, "bootstrap_block_vox", (double)t->block, "vox");
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

struct map_product {
  const char *product;
  const struct grid_field *field; /* NULL: the levelled map of rank 0 */
};
enum { MAPS = 5 };

static enum status create_maps(const struct stage_job *job, struct store_output *output,
                               const struct map_product map[MAPS],
                               const struct grid_field *height) {
  const int64_t n[2]      = {height->plan.n[1], height->plan.n[2]};
  const double axis_um[2] = {height->voxel_um[1], height->voxel_um[2]};
  for (int i = 0; i < MAPS; i++)
    TRY(store_create(job->comm, output, map[i].product, n, axis_um, NULL, false));
  TRY(store_default(job->comm, output, "height"));
  return store_ready(job->comm, output);
}

static enum status write_map(const struct stage_job *job, struct store_output *output,
                             const struct map_product *map, const struct surface_map *levelled) {
  int64_t start[2] = {0, 0}, count[2] = {0, 0};
  const void *from = levelled->z;
  if (map->field) {
    const struct grid_box *mine = &map->field->mine;
    start[0]                    = mine->start[1];
    count[0]                    = mine->n[1];
    count[1]                    = mine->n[1] ? mine->n[2] : 0;
    from                        = map->field->data;
  } else if (levelled->z) {
    count[0] = levelled->ny;
    count[1] = levelled->nx;
  }
  return store_write_box(job->comm, output, map->product, false, start, count, from);
}

static enum status write_bearing(const struct stage_job *job, struct store_output *output,
                                 const struct surface_texture *t) {
  static const char *const names[2] = {"areal_material_ratio", "height"}, *const units[2] = {"%",
                                                                                             "um"};
  double share[SURFACE_BEARING];
  for (int i = 0; i < SURFACE_BEARING; i++) share[i] = i;
  const double *column[2] = {share, t->bearing};
  return store_table(job->comm, output, "bearing_curve", names, units, 2, column, SURFACE_BEARING);
}

/* Rank 0 says how many rows there are. */
static enum status write_table(const struct stage_job *job, struct store_output *output,
                               const char *product, const char *const *names,
                               const char *const *units, int columns,
                               const struct surface_table *table) {
  const double *column[SURFACE_COLUMNS] = {NULL};
  int64_t rows                          = table->rows;
  for (int k = 0; k < columns; k++) column[k] = table->column[k];
  MPI_Bcast(&rows, 1, MPI_INT64_T, 0, job->comm);
  if (rows == 0) return STATUS_OK;
  return store_table(job->comm, output, product, names, units, columns, column, rows);
}

static enum status write_tables(const struct stage_job *job, struct store_output *output,
                                const struct surface_result *r) {
  static const char *const depth[4] = {"depth", "voxels", "not_of_the_phase", "closed_pores"},
                           *const depth_unit[4] = {"um", "vox", "", ""};
  static const char *const pore[7] = {"z", "y", "x", "depth", "voxels", "volume", "diameter"},
                           *const pore_unit[7] = {"um", "um", "um", "um", "vox", "um3", "um"};
  static const char *const dendrite[6]         = {"y", "x", "area", "diameter", "height", "volume"},
                           *const dendrite_unit[6] = {"um", "um", "um2", "um", "um", "um3"};
  static const char *const thick[2] = {"thickness", "share"}, *const thick_unit[2] = {"um", ""};
  TRY(write_bearing(job, output, &r->texture));
  TRY(write_table(job, output, "pore_depths", depth, depth_unit, 4, &r->pore_depths));
  TRY(write_table(job, output, "pore_list", pore, pore_unit, 7, &r->pore_list));
  TRY(write_table(job, output, "dendrite_list", dendrite, dendrite_unit, 6, &r->dendrite_list));
  return write_table(job, output, "local_thickness", thick, thick_unit, 2, &r->thicknesses);
}

/* OUTPUT without .h5, a word and .png */
static void picture_name(const struct stage_job *job, const char *word, char *path, size_t bytes) {
  size_t n = strlen(job->output);
  if (n > 3 && strcmp(job->output + n - 3, ".h5") == 0) n -= 3;
  snprintf(path, bytes, "%.*s%s.png", (int)(n < 2000 ? n : 2000), job->output, word);
}

static enum status draw_levelled(const struct stage_job *job, const struct surface_result *r) {
  char path[STORE_NAME_BYTES];
  const struct surface_map *m = &r->levelled;
  picture_name(job, "", path, sizeof path);
  return m->z ? picture_png(path, m->z, m->ny, m->nx, -3 * r->texture.Sq, 3 * r->texture.Sq,
                            PICTURE_COLOUR)
              : STATUS_OK;
}

static enum status draw_maps(const struct stage_job *job, const struct surface_result *r) {
  char path[STORE_NAME_BYTES];
  TRY_ALL(job->comm, draw_levelled(job, r));
  picture_name(job, "_membrane", path, sizeof path);
  TRY(picture_slice(job->comm, &r->membrane, 0, 0, path));
  picture_name(job, "_pores", path, sizeof path);
  return picture_slice(job->comm, &r->pores, 0, 0, path);
}

static enum status write_all(const struct stage_job *job, struct store_output *output,
                             const struct surface_result *r) {
  const struct map_product map[MAPS] = {
      {"height",     &r->height  },
      {"levelled",   NULL        },
      {"height_low", &r->low     },
      {"membrane",   &r->membrane},
      {"pores",      &r->pores   }
  };
  TRY(create_maps(job, output, map, &r->height));
  for (int i = 0; i < MAPS; i++) TRY(write_map(job, output, &map[i], &r->levelled));
  TRY(write_tables(job, output, r));
  return draw_maps(job, r);
}

static enum status write_output(const struct stage_job *job, const struct surface_result *r) {
  struct store_output *output;
  int64_t columns = r->height.plan.n[1] * r->height.plan.n[2];
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, MAPS * 4 * columns + (4 << 20), &output));
  enum status status = write_all(job, output, r);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct inputs in;
  struct stage_need need;
  struct surface_result result;
  memset(&result, 0, sizeof result);
  TRY(inputs_open(job, &in));
  enum status status = size_rounds(job, &in, &need);
  if (status == STATUS_OK) status = surface_measure(job->comm, job->params, &in.source, &result);
  if (status == STATUS_INPUT) status_about(store_info(in.labels)->file);
  inputs_close(&in);
  if (status == STATUS_OK) {
    add_roughness(job, &result.report);
    add_layers(job, &result.report);
    add_texture(job, &result.texture);
    status = write_output(job, &result);
  }
  surface_result_free(&result);
  return status;
}

const struct stage surface_stage = {
    .name   = "surface",
    .words  = "height map, roughness, volume, pores and membrane of a phase",
    .params = &param_set,
    .reads  = "labels,volume",
    .writes = "height,levelled,height_low,membrane,pores",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
