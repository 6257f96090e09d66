/* The chain of a segmentation on fields: filter, histogram, thresholds, labels, components. */
#include "segment_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t opening_of(const struct segment_params *p) {
  return p->opening_vox == 0 && strcmp(p->chain, "paper") == 0 ? 3 : p->opening_vox;
}

static bool has_median(const struct segment_params *p) {
  return p->median == 3 || strcmp(p->chain, "paper") == 0;
}

int64_t segment_filter_bytes(const struct segment_params *p, const int64_t n[3],
                             enum grid_type type) {
  const int64_t bytes[3] = {voxel_ball_bytes(n, type, (int)opening_of(p)),
                            voxel_ball_bytes(n, type, (int)p->closing_vox),
                            voxel_nlm_bytes(n, (int)p->nlm_vox)};
  int64_t most           = 0;
  for (int i = 0; i < 3; i++) most = bytes[i] > most ? bytes[i] : most;
  return most;
}

static int64_t nlm_reach(const struct segment_params *p) {
  return p->nlm_vox > 0 ? voxel_nlm_halo((int)p->nlm_vox) : 0;
}

int64_t segment_halo(const struct segment_params *p) {
  int64_t ball  = opening_of(p) > p->closing_vox ? opening_of(p) : p->closing_vox,
          gauss = p->gaussian_vox > 0 ? voxel_gauss_halo(p->gaussian_vox) : 1;
  int64_t most  = 2 * ball > gauss ? 2 * ball : gauss;
  return most > nlm_reach(p) ? most : nlm_reach(p);
}

int64_t segment_reach(const struct segment_params *p) {
  return has_median(p) + (p->gaussian_vox > 0 ? voxel_gauss_halo(p->gaussian_vox) : 0) +
         nlm_reach(p) +
         2 * (opening_of(p) + p->closing_vox + p->phase_opening_vox + p->phase_closing_vox) +
         p->phase_erosion_vox + p->phase_dilation_vox;
}

static void count_phases(MPI_Comm comm, const struct grid_field *labels,
                         struct segment_report *report) {
  const uint8_t *label = labels->data, *mask = report->region.mask.data;
  for (int64_t i = 0; i < labels->voxels; i++)
    if (!mask || mask[i]) report->voxels[label[i]]++;
  MPI_Allreduce(MPI_IN_PLACE, report->voxels, SEGMENT_CLASSES_MOST, MPI_INT64_T, MPI_SUM, comm);
}

static int larger_first(const void *a, const void *b) {
  const struct voxel_component *x = a, *y = b;
  if (x->voxels != y->voxels) return x->voxels > y->voxels ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

bool segment_has_choice(const struct segment_params *p) {
  return p->min_voxels > 1 || p->keep_largest > 0;
}

/* Those that stay keep their order. */
int64_t segment_choose(const struct segment_params *p, struct voxel_component *table, int64_t count,
                       int64_t *number) {
  int64_t kept = 0;
  if (count) qsort(table, (size_t)count, sizeof *table, larger_first);
  for (int64_t i = 0; i < count && (p->keep_largest == 0 || i < p->keep_largest); i++)
    number[table[i].number] = table[i].voxels >= p->min_voxels;
  for (int64_t i = 1; i <= count; i++)
    if (number[i]) number[i] = ++kept;
  return kept;
}

/* Leaves out components that are too small or not among the largest. */
static enum status drop_components(MPI_Comm comm, const struct segment_params *p,
                                   struct grid_field *components, int64_t *count) {
  struct voxel_component *table;
  int64_t *number = NULL;
  if (!segment_has_choice(p)) return STATUS_OK;
  TRY(voxel_component_table(comm, components, *count, &table));
  enum status status =
      AGREE(comm, memory_make(*count + 1, sizeof *number, "numbers of components", &number));
  if (status == STATUS_OK) {
    *count        = segment_choose(p, table, *count, number);
    int32_t *data = components->data;
    for (int64_t i = 0; i < components->voxels; i++) data[i] = (int32_t)number[data[i]];
  }
  memory_free(number);
  memory_free(table);
  return status;
}

/* ---- the phase after the threshold ------------------------------------------------------------------------ */

enum status segment_filter_phase(MPI_Comm comm, const struct segment_params *p, int phase,
                                 struct grid_field *labels) {
  const int64_t radius[4] = {p->phase_opening_vox, p->phase_closing_vox, p->phase_erosion_vox,
                             p->phase_dilation_vox};
  const enum voxel_ball_filter filter[4] = {VOXEL_OPEN, VOXEL_CLOSE, VOXEL_ERODE, VOXEL_DILATE};
  struct voxel_mask mask;
  int64_t most = 0;
  for (int i = 0; i < 4; i++) most = radius[i] > most ? radius[i] : most;
  if (most == 0) return STATUS_OK;
  TRY(voxel_mask_make(comm, labels, phase, most, &mask));
  enum status status = STATUS_OK;
  for (int i = 0; i < 4 && status == STATUS_OK; i++)
    if (radius[i] > 0) status = voxel_mask_filter(comm, &mask, filter[i], (int)radius[i]);
  if (status == STATUS_OK) voxel_mask_put(&mask, phase, phase ? phase - 1 : 1, labels);
  voxel_mask_free(&mask);
  return status;
}

/* Voxels of `holes` (components of what is not the phase) that touch no face of the volume become the phase. */
static void fill(const struct grid_field *holes, const struct voxel_component *table, int phase,
                 struct grid_field *labels) {
  const int32_t *from = (const int32_t *)holes->data + grid_field_origin(holes);
  uint8_t *to         = (uint8_t *)labels->data + grid_field_origin(labels);
  for (int64_t z = 0; z < labels->mine.n[0]; z++)
    for (int64_t y = 0; y < labels->mine.n[1]; y++)
      for (int64_t x = 0; x < labels->mine.n[2]; x++) {
        int64_t number = from[z * holes->row[0] + y * holes->row[1] + x];
        if (number && table[number - 1].touches == 0)
          to[z * labels->row[0] + y * labels->row[1] + x] = (uint8_t)phase;
      }
}

/* What is not the phase is connected the other way: by faces when the phase is by corners. */
static enum status fill_holes(MPI_Comm comm, const struct segment_params *p, int phase,
                              struct grid_field *labels) {
  struct grid_field other, holes;
  struct voxel_component *table = NULL;
  int64_t count;
  if (!p->fill_holes) return STATUS_OK;
  memset(&holes, 0, sizeof holes);
  TRY(grid_field_make(comm, &labels->plan, GRID_U8, labels->halo, &other));
  const uint8_t *label = labels->data;
  uint8_t *is_other    = other.data;
  for (int64_t i = 0; i < labels->voxels; i++) is_other[i] = label[i] != phase;
  int connectivity   = atoi(p->connectivity) == 6 ? 26 : 6;
  enum status status = voxel_components(comm, &other, 1, connectivity, &holes, &count);
  grid_field_free(&other);
  if (status == STATUS_OK) status = voxel_component_table(comm, &holes, count, &table);
  if (status == STATUS_OK) fill(&holes, table, phase, labels);
  memory_free(table);
  grid_field_free(&holes);
  return status;
}

/* ---- all together ------------------------------------------------------------------------------------------- */

enum status segment_filter(MPI_Comm comm, const struct segment_params *p,
                           struct grid_field *volume) {
  TRY(voxel_finite_check(comm, volume));
  if (has_median(p)) TRY(voxel_median(comm, volume));
  if (p->gaussian_vox > 0) TRY(voxel_gauss(comm, volume, p->gaussian_vox));
  if (p->nlm_vox > 0) TRY(voxel_nlm(comm, volume, (int)p->nlm_vox, p->nlm_grey));
  if (opening_of(p) > 0) TRY(voxel_ball_filter(comm, volume, VOXEL_OPEN, (int)opening_of(p)));
  if (p->closing_vox > 0) TRY(voxel_ball_filter(comm, volume, VOXEL_CLOSE, (int)p->closing_vox));
  return STATUS_OK;
}

static enum status find_components(MPI_Comm comm, const struct segment_params *p,
                                   struct grid_field *labels, struct grid_field *components,
                                   struct segment_report *report) {
  TRY(segment_filter_phase(comm, p, report->phase, labels));
  TRY(fill_holes(comm, p, report->phase, labels));
  segment_region_clear(&report->region.mask, labels);
  count_phases(comm, labels, report);
  TRY(voxel_components(comm, labels, report->phase, atoi(p->connectivity), components,
                       &report->components));
  return drop_components(comm, p, components, &report->components);
}

/* The phase of the region so far shows the interface; the slab about it narrows the region, for good labels. */
static enum status narrow(MPI_Comm comm, const struct segment_params *p,
                          const struct grid_field *volume, struct segment_report *report) {
  struct grid_field labels;
  struct segment_region *region = &report->region;
  memset(&labels, 0, sizeof labels);
  enum status status = segment_threshold(comm, p, volume, &labels, report);
  if (status == STATUS_OK)
    status = segment_slab_find(comm, p, &labels, report->phase, volume, region);
  grid_field_free(&labels);
  TRY(status);
  int64_t kept = segment_region_mark(region, &region->mask, true);
  MPI_Allreduce(MPI_IN_PLACE, &kept, 1, MPI_INT64_T, MPI_SUM, comm);
  return AGREE(comm, segment_region_check(kept));
}

void segment_report_free(struct segment_report *report) { grid_field_free(&report->region.mask); }

enum status segment_field(MPI_Comm comm, const struct segment_params *p, struct grid_field *volume,
                          struct grid_field *labels, struct grid_field *components,
                          struct segment_report *report) {
  memset(labels, 0, sizeof *labels);
  memset(components, 0, sizeof *components);
  memcpy(report->voxel_um, volume->voxel_um, sizeof report->voxel_um);
  enum status status = segment_filter(comm, p, volume);
  if (status == STATUS_OK) status = segment_region_make(comm, p, volume, &report->region);
  if (status == STATUS_OK && segment_slab_is_found(p)) status = narrow(comm, p, volume, report);
  if (status == STATUS_OK) status = segment_threshold(comm, p, volume, labels, report);
  if (status == STATUS_OK) {
    segment_region_clear(&report->region.mask, labels);
    status = find_components(comm, p, labels, components, report);
  }
  if (status != STATUS_OK) {
    grid_field_free(labels);
    grid_field_free(components);
  }
  return status;
}
