/* The box, the disc, and slices about an interface. The mean height of a map is an exact sum, so that the box is the
 * same on any number of ranks. */
#include "flux_region.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum status disc_parse(const char *text, struct flux_disc *disc) {
  char rest;
  *disc = (struct flux_disc){0};
  if (!text[0]) return STATUS_OK;
  if (sscanf(text, "%lf,%lf,%lf%c", &disc->x, &disc->y, &disc->radius, &rest) != 3 ||
      !isfinite(disc->x) || !isfinite(disc->y) || !(disc->radius > 0))
    return FAIL(STATUS_USAGE, "flux.disc = %s; it would be X,Y,R in voxels with R above 0", text);
  return STATUS_OK;
}
bool flux_disc_has(const struct flux_disc *disc, int64_t y, int64_t x) {
  const double dy = (double)y - disc->y, dx = (double)x - disc->x;
  return !(disc->radius > 0) || dy * dy + dx * dx <= disc->radius * disc->radius;
}
static enum status range_parse(const char *text, double range[2]) {
  char rest;
  if (sscanf(text, "%lf:%lf%c", &range[0], &range[1], &rest) != 2 || !isfinite(range[0]) ||
      !(range[1] > range[0]) || !isfinite(range[1]))
    return FAIL(STATUS_USAGE,
                "flux.interphase_um = %s; it would be A:B in um with A below B, like -20:45", text);
  return STATUS_OK;
}
/* *height stays NAN for "follow". */
static enum status interface_parse(const char *text, double *height) {
  char *end;
  *height = NAN;
  if (strcmp(text, "follow") == 0) return STATUS_OK;
  *height = strtod(text, &end);
  if (end == text || *end || !isfinite(*height))
    return FAIL(STATUS_USAGE, "flux.interface = %s; it would be follow or a height in um", text);
  return STATUS_OK;
}
enum status flux_region_check(const struct flux_params *p) {
  struct flux_disc disc;
  double range[2], height;
  TRY(disc_parse(p->disc, &disc));
  TRY(interface_parse(p->interface, &height));
  if (p->interphase_um[0]) return range_parse(p->interphase_um, range);
  if (isfinite(height) || (p->height[0] && !p->cases_um[0]))
    return FAIL(STATUS_USAGE, "flux.%s without flux.interphase_um = A:B has no effect",
                p->height[0] ? "height" : "interface");
  return STATUS_OK;
}

/* ---- the height map ---- */

/* Rows of the map of this rank, an equal share of each. */
static enum status map_read(MPI_Comm comm, struct store_input *input, const struct flux_disc *disc,
                            struct exact_sum sum[2]) {
  const int64_t *n = store_info(input)->n; /* one slice */
  int rank, size;
  float *row = NULL;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  const int64_t first = n[1] * rank / size, behind = n[1] * (rank + 1) / size;
  const int64_t start[3] = {0, first, 0}, count[3] = {behind > first, behind - first, n[2]};
  TRY_ALL(comm, memory_make((behind - first) * n[2], sizeof *row, "height map", &row));
  enum status s = store_read_box(comm, input, start, count, GRID_F32, false, row);
  for (int64_t y = first; s == STATUS_OK && y < behind; y++)
    for (int64_t x = 0; x < n[2]; x++) {
      const float h = row[(y - first) * n[2] + x];
      if (!isfinite(h) || !flux_disc_has(disc, y, x)) continue;
      exact_add(&sum[0], (double)h);
      exact_add(&sum[1], 1);
    }
  memory_free(row);
  return s == STATUS_OK ? exact_allreduce(comm, sum, 2) : s;
}
static enum status map_fits(const struct store_info *map, const struct store_info *labels) {
  if (map->n[0] == 1 && map->n[1] == labels->n[1] && map->n[2] == labels->n[2]) return STATUS_OK;
  return FAIL(STATUS_INPUT,
              "%s:%s is %lld x %lld x %lld, a height map of %s would be 1 x %lld x %lld", map->file,
              map->dataset, (long long)map->n[0], (long long)map->n[1], (long long)map->n[2],
              labels->file, (long long)labels->n[1], (long long)labels->n[2]);
}
static enum status map_mean(MPI_Comm comm, const char *name, const struct store_info *labels,
                            const struct flux_disc *disc, double *mean_um) {
  struct store_input *input = NULL;
  struct exact_sum sum[2]   = {{.terms = 0}};
  TRY(store_open(comm, name, "height", 3, &input));
  enum status s = AGREE(comm, map_fits(store_info(input), labels));
  if (s == STATUS_OK) s = map_read(comm, input, disc, sum);
  if (s == STATUS_OK) {
    const double n = exact_value(&sum[1]);
    *mean_um       = exact_value(&sum[0]) / n;
    if (!(n > 0)) s = FAIL(STATUS_INPUT, "%s has no height inside the region", name);
  }
  store_close(&input);
  return AGREE(comm, s);
}
static enum status slices_cut(const struct flux_params *p, double voxel_um, struct flux_region *r) {
  double range[2];
  TRY(range_parse(p->interphase_um, range));
  const int64_t first  = llround((r->interface_um + range[0]) / voxel_um);
  const int64_t behind = llround((r->interface_um + range[1]) / voxel_um);
  if (first < r->box.start[0] || behind > r->box.start[0] + r->box.n[0] || behind <= first)
    return FAIL(
        STATUS_INPUT,
        "flux.interphase_um = %s about %.4g um are slices %lld:%lld, which lie outside %lld:%lld",
        p->interphase_um, r->interface_um, (long long)first, (long long)behind,
        (long long)r->box.start[0], (long long)(r->box.start[0] + r->box.n[0]));
  r->box.start[0] = first;
  r->box.n[0]     = behind - first;
  return STATUS_OK;
}
enum status flux_region_find(const struct stage_job *job, const struct store_info *labels,
                             const double voxel_um[3], bool needs_map, struct flux_region *r) {
  const struct flux_params *p = job->params;
  char name[STORE_NAME_BYTES];
  TRY_ALL(job->comm, disc_parse(p->disc, &r->disc));
  if (!p->interphase_um[0]) return STATUS_OK;
  TRY_ALL(job->comm, interface_parse(p->interface, &r->interface_um));
  if (!isfinite(r->interface_um)) {
    const char *from = p->height[0]
                           ? p->height
                           : stage_bundle_find(job->input, "height", false, name, sizeof name);
    if (!from && !needs_map) return STATUS_OK;
    if (!from)
      return AGREE(job->comm,
                   FAIL(STATUS_USAGE,
                        "flux.interphase_um follows the interface: --height FILE[:DATASET] of "
                        "`surface` is missing (or --interface UM)"));
    TRY(map_mean(job->comm, from, labels, &r->disc, &r->interface_um));
  }
  r->has_interface = true;
  return AGREE(job->comm, slices_cut(p, voxel_um[0], r));
}
