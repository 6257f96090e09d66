/* The chain of a segmentation on fields: filter, histogram, thresholds, labels, components. */
#include "segment.h"
#include "voxel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t opening_of(const struct segment_params *p) {
  return p->opening_vox == 0 && strcmp(p->chain, "paper") == 0 ? 3 : p->opening_vox;
}

static bool has_median(const struct segment_params *p) {
  return p->median == 3 || strcmp(p->chain, "paper") == 0;
}

int64_t segment_halo(const struct segment_params *p) {
  int64_t opening = opening_of(p);
  return opening > 1 ? opening : 1;
}

static enum status given_thresholds(const char *text, struct segment_report *report) {
  report->classes = 1;
  for (const char *at = text; *at;) {
    char *end;
    double value = strtod(at, &end);
    if (end == at || !isfinite(value) || (*end && *end != ',') ||
        report->classes >= SEGMENT_CLASSES_MOST)
      return FAIL(STATUS_USAGE,
                  "segment.threshold = %s; it would be otsu or up to %d numbers V1,V2,...", text,
                  SEGMENT_CLASSES_MOST - 1);
    if (report->classes > 1 && !(value > report->threshold[report->classes - 2]))
      return FAIL(STATUS_USAGE, "segment.threshold = %s; the values would ascend", text);
    report->threshold[report->classes++ - 1] = value;
    at                                       = *end ? end + 1 : end;
  }
  return STATUS_OK;
}

static enum status find_thresholds(MPI_Comm comm, const struct segment_params *p,
                                   const struct grid_field *volume, struct segment_report *report) {
  if (strcmp(p->threshold, "otsu") != 0) return AGREE(comm, given_thresholds(p->threshold, report));
  struct voxel_histogram histogram;
  report->classes = (int)p->classes;
  TRY(voxel_histogram_make(comm, volume, p->classes == 2 ? 65536 : 1024, &histogram));
  enum status status = AGREE(comm, voxel_otsu(&histogram, report->classes, report->threshold));
  voxel_histogram_free(&histogram);
  return status;
}

static void count_phases(MPI_Comm comm, const struct grid_field *labels,
                         struct segment_report *report) {
  const uint8_t *label = labels->data;
  for (int64_t i = 0; i < labels->voxels; i++) report->voxels[label[i]]++;
  MPI_Allreduce(MPI_IN_PLACE, report->voxels, SEGMENT_CLASSES_MOST, MPI_INT64_T, MPI_SUM, comm);
}

/* Leaves out small components; the others keep their order. */
static enum status drop_small(MPI_Comm comm, int64_t least, struct grid_field *components,
                              int64_t *count) {
  struct voxel_component *table;
  if (least <= 1) return STATUS_OK;
  TRY(voxel_component_table(comm, components, *count, &table));
  int64_t kept = 0, *number;
  enum status status =
      AGREE(comm, memory_make(*count + 1, sizeof *number, "numbers of components", &number));
  if (status == STATUS_OK) {
    for (int64_t i = 0; i < *count; i++) number[i + 1] = table[i].voxels >= least ? ++kept : 0;
    int64_t *data = components->data;
    for (int64_t i = 0; i < components->voxels; i++) data[i] = number[data[i]];
    *count = kept;
  }
  memory_free(number);
  memory_free(table);
  return status;
}

static enum status filtered(MPI_Comm comm, const struct segment_params *p,
                            struct grid_field *volume) {
  if (has_median(p)) TRY(voxel_median(comm, volume));
  if (opening_of(p) == 0) return STATUS_OK;
  return voxel_ball_filter(comm, volume, VOXEL_OPEN, (int)opening_of(p));
}

enum status segment_field(MPI_Comm comm, const struct segment_params *p, struct grid_field *volume,
                          struct grid_field *labels, struct grid_field *components,
                          struct segment_report *report) {
  memset(labels, 0, sizeof *labels);
  memset(components, 0, sizeof *components);
  memset(report, 0, sizeof *report);
  enum status status = filtered(comm, p, volume);
  if (status == STATUS_OK) status = find_thresholds(comm, p, volume, report);
  if (status == STATUS_OK)
    status = voxel_label(comm, volume, report->threshold, report->classes - 1, labels);
  if (status != STATUS_OK) return status;
  count_phases(comm, labels, report);
  int phase = p->phase < 0 ? report->classes - 1 : (int)p->phase;
  status =
      voxel_components(comm, labels, phase, atoi(p->connectivity), components, &report->components);
  if (status == STATUS_OK)
    status = drop_small(comm, p->min_voxels, components, &report->components);
  if (status != STATUS_OK) {
    grid_field_free(labels);
    grid_field_free(components);
  }
  return status;
}
