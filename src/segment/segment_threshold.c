/* Thresholds of the volume or of every slice. */
#include "segment_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum status given_thresholds(const char *text, struct segment_report *report) {
  report->classes = 1;
  for (const char *at = text; *at;) {
    char *end;
    double value = strtod(at, &end);
    if (end == at || !isfinite(value) || (*end && *end != ',') ||
        report->classes >= SEGMENT_CLASSES_MOST)
      return FAIL(
          STATUS_USAGE,
          "segment.threshold = %s; it would be otsu, isodata, entropy, moments or up to %d numbers "
          "V1,V2,...",
          text, SEGMENT_CLASSES_MOST - 1);
    if (report->classes > 1 && !(value > report->threshold[report->classes - 2]))
      return FAIL(STATUS_USAGE, "segment.threshold = %s; the values would ascend", text);
    report->threshold[report->classes++ - 1] = value;
    at                                       = *end ? end + 1 : end;
  }
  return STATUS_OK;
}

bool segment_threshold_is_found(const char *threshold) {
  return strcmp(threshold, "otsu") == 0 || strcmp(threshold, "isodata") == 0 ||
         strcmp(threshold, "entropy") == 0 || strcmp(threshold, "moments") == 0;
}

static enum status check_phase(const struct segment_params *p,
                               const struct segment_report *report) {
  if (p->phase < report->classes) return STATUS_OK;
  return FAIL(STATUS_USAGE, "segment.phase = %d, but threshold = %s gives phases 0..%d",
              (int)p->phase, p->threshold, report->classes - 1);
}

enum status segment_threshold_found(const struct segment_params *p,
                                    const struct voxel_histogram *histogram, double *threshold) {
  if (strcmp(p->threshold, "isodata") == 0) return voxel_isodata(histogram, threshold);
  if (strcmp(p->threshold, "entropy") == 0) return voxel_entropy(histogram, threshold);
  if (strcmp(p->threshold, "moments") == 0) return voxel_moments(histogram, threshold);
  return voxel_otsu(histogram, (int)p->classes, threshold);
}

static enum status parse_range(const char *text, struct voxel_choice *choice) {
  char rest;
  choice->low  = -INFINITY;
  choice->high = INFINITY;
  if (!text[0]) return STATUS_OK;
  if (sscanf(text, "%lf:%lf%c", &choice->low, &choice->high, &rest) == 2 &&
      choice->low < choice->high)
    return STATUS_OK;
  return FAIL(STATUS_USAGE, "segment.range = %s; it would be A:B with A below B", text);
}

bool segment_threshold_has_choice(const struct segment_params *p,
                                  const struct voxel_choice *choice) {
  return choice->mask || p->range[0];
}

int segment_threshold_bins(const struct segment_params *p) {
  return p->classes == 2 && strcmp(p->threshold, "entropy") != 0 ? 65536 : 1024;
}

enum status segment_threshold_begin(const struct segment_params *p, struct segment_report *report,
                                    struct voxel_choice *choice) {
  report->classes = (int)p->classes;
  if (!segment_threshold_is_found(p->threshold)) TRY(given_thresholds(p->threshold, report));
  TRY(check_phase(p, report));
  report->phase = p->phase < 0 ? report->classes - 1 : (int)p->phase;
  return parse_range(p->range, choice);
}

static enum status find_thresholds(MPI_Comm comm, const struct segment_params *p,
                                   const struct grid_field *volume,
                                   const struct voxel_choice *choice, double *threshold) {
  struct voxel_histogram histogram;
  bool all = !segment_threshold_has_choice(p, choice);
  TRY(voxel_histogram_of(comm, volume, all ? NULL : choice, segment_threshold_bins(p), &histogram));
  enum status status = AGREE(comm, segment_threshold_found(p, &histogram, threshold));
  voxel_histogram_free(&histogram);
  return status;
}

/* ---- slices ------------------------------------------------------------------------------------------------ */

/* One slice of this rank's, or none of it, as a field of its own that borrows the values. */
static struct grid_field slice_of(const struct grid_field *f, int64_t z) {
  struct grid_field slice = *f;
  int64_t own             = z - f->mine.start[0];
  size_t bytes            = grid_type_bytes(f->type);
  bool here               = own >= 0 && own < f->mine.n[0];
  slice.data              = (char *)f->data + (size_t)((here ? own : 0) * f->row[0]) * bytes;
  slice.mine.start[0]     = z;
  slice.mine.n[0]         = here;
  return slice;
}

static void label_slice(const struct grid_field *volume, const double *threshold, int thresholds,
                        int64_t z, struct grid_field *labels) {
  int64_t own = z - volume->mine.start[0];
  if (own < 0 || own >= volume->mine.n[0]) return;
  for (int64_t y = 0; y < volume->mine.n[1]; y++) {
    int64_t at  = grid_field_origin(volume) + own * volume->row[0] + y * volume->row[1];
    uint8_t *to = (uint8_t *)labels->data + (own * volume->mine.n[1] + y) * volume->mine.n[2];
    for (int64_t x = 0; x < volume->mine.n[2]; x++) {
      double value = volume->type == GRID_F32 ? (double)((const float *)volume->data)[at + x]
                                              : ((const uint16_t *)volume->data)[at + x];
      for (int t = 0; t < thresholds; t++) to[x] = (uint8_t)(to[x] + (value > threshold[t]));
    }
  }
}

/* Slices outside the region's slab keep phase 0. */
static enum status label_slices(MPI_Comm comm, const struct segment_params *p,
                                const struct grid_field *volume, struct voxel_choice *choice,
                                struct grid_field *labels, struct segment_report *report) {
  const struct segment_region *region = &report->region;
  double slices                       = (double)(region->high - region->low);
  TRY(grid_field_make(comm, &volume->plan, GRID_U8, NULL, labels));
  memcpy(labels->voxel_um, volume->voxel_um, sizeof volume->voxel_um);
  for (int64_t z = region->low; z < region->high; z++) {
    double threshold[SEGMENT_CLASSES_MOST];
    struct grid_field slice = slice_of(volume, z), mask;
    if (region->mask.data) {
      mask         = slice_of(&region->mask, z);
      choice->mask = &mask;
    }
    enum status status = find_thresholds(comm, p, &slice, choice, threshold);
    if (status == STATUS_INPUT) {
      char where[48];
      snprintf(where, sizeof where, "slice %lld", (long long)z);
      status_about(where);
    }
    TRY(status);
    label_slice(volume, threshold, report->classes - 1, z, labels);
    for (int t = 0; t + 1 < report->classes; t++) report->threshold[t] += threshold[t] / slices;
  }
  return STATUS_OK;
}

enum status segment_threshold(MPI_Comm comm, const struct segment_params *p,
                              const struct grid_field *volume, struct grid_field *labels,
                              struct segment_report *report) {
  bool found                 = segment_threshold_is_found(p->threshold);
  struct voxel_choice choice = {report->region.mask.data ? &report->region.mask : NULL, 0, 0};
  TRY_ALL(comm, segment_threshold_begin(p, report, &choice));
  if (found && strcmp(p->per, "slice") == 0)
    return label_slices(comm, p, volume, &choice, labels, report);
  if (found) TRY(find_thresholds(comm, p, volume, &choice, report->threshold));
  return voxel_label(comm, volume, report->threshold, report->classes - 1, labels);
}
