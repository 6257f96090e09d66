/* The region of interest as a mask. The cell's own disc: the volume's mean along z is parted in two by Otsu's method; the
 * brighter part's middle and area give axis and radius. Means are of whole numbers (grey values in 2^20 steps of
 * their range), so the disc does not depend on the number of ranks. */
#include "segment_private.h"
#include <math.h>
#include <string.h>

static const double part_of_cell = 0.8; /* of its radius that a disc found by itself has */

bool segment_has_region(const struct segment_params *p) {
  return p->disc[0] || p->slab[0] || p->mask[0];
}

bool segment_slab_is_found(const struct segment_params *p) { return strcmp(p->slab, "auto") == 0; }

enum status segment_region_parse(const struct segment_params *p, int64_t nz,
                                 struct segment_region *r) {
  long long low, high;
  char rest;
  r->low  = 0;
  r->high = nz;
  if (segment_slab_is_found(p)) {
    if (sscanf(p->slab_about_vox, "%lf:%lf%c", &r->about[0], &r->about[1], &rest) != 2 ||
        !(r->about[0] < r->about[1]))
      return FAIL(STATUS_USAGE, "segment.slab_about_vox = %s; it would be A:B with A below B",
                  p->slab_about_vox);
  } else if (p->slab[0]) {
    if (sscanf(p->slab, "%lld:%lld%c", &low, &high, &rest) != 2 || low < 0 || high <= low ||
        high > nz)
      return FAIL(STATUS_USAGE, "segment.slab = %s; it would be auto, or A:B within 0:%lld",
                  p->slab, (long long)nz);
    r->low  = low;
    r->high = high;
  }
  if (!p->disc[0] || strcmp(p->disc, "auto") == 0) return STATUS_OK;
  if (sscanf(p->disc, "%lf,%lf,%lf%c", &r->x, &r->y, &r->radius, &rest) != 3 || !(r->radius > 0))
    return FAIL(STATUS_USAGE,
                "segment.disc = %s; it would be auto, or X,Y,R in voxels with R above 0", p->disc);
  return STATUS_OK;
}

/* ---- the cell's disc ---------------------------------------------------------------------------------------- */

static double grey_at(const struct grid_field *f, int64_t at) {
  return f->type == GRID_F32 ? (double)((const float *)f->data)[at]
                             : ((const uint16_t *)f->data)[at];
}

void segment_region_add(const struct grid_field *f, const double range[2], int64_t *sum) {
  if (!(range[0] < range[1])) return;
  double scale = 1048576 / (range[1] - range[0]);
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++)
      for (int64_t x = 0; x < f->mine.n[2]; x++) {
        int64_t at = grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
        sum[(y + f->mine.start[1]) * f->plan.n[2] + x + f->mine.start[2]] +=
            (int64_t)((grey_at(f, at) - range[0]) * scale);
      }
}

static enum status part_columns(const int64_t *sum, int64_t n, double *threshold) {
  enum { BINS = 4096 };
  struct voxel_histogram h = {.low = INFINITY, .high = -INFINITY, .bins = BINS, .total = n};
  for (int64_t i = 0; i < n; i++) {
    h.low  = fmin(h.low, (double)sum[i]);
    h.high = fmax(h.high, (double)sum[i]);
  }
  if (!(h.low < h.high))
    return FAIL(STATUS_INPUT,
                "no cell is seen along z: all means are alike; give the disc as X,Y,R");
  TRY(memory_make(BINS, sizeof *h.count, "a histogram", &h.count));
  for (int64_t i = 0; i < n; i++) {
    int bin = (int)(((double)sum[i] - h.low) / (h.high - h.low) * BINS);
    h.count[bin < BINS ? bin : BINS - 1]++;
  }
  enum status status = voxel_otsu(&h, 2, threshold);
  voxel_histogram_free(&h);
  return status;
}

static enum status find_axis(const int64_t *sum, int64_t ny, int64_t nx, struct segment_region *r) {
  double threshold, columns = 0, y_sum = 0, x_sum = 0;
  TRY(part_columns(sum, ny * nx, &threshold));
  for (int64_t i = 0; i < ny * nx; i++)
    if ((double)sum[i] > threshold) columns++, y_sum += (double)(i / nx), x_sum += (double)(i % nx);
  r->y      = y_sum / columns;
  r->x      = x_sum / columns;
  r->radius = part_of_cell * sqrt(columns / PI);
  return STATUS_OK;
}

enum status segment_region_find(MPI_Comm comm, int64_t *sum, int64_t ny, int64_t nx,
                                struct segment_region *r) {
  for (int64_t y = 0; y < ny; y++)
    MPI_Allreduce(MPI_IN_PLACE, sum + y * nx, (int)nx, MPI_INT64_T, MPI_SUM, comm);
  TRY_ALL(comm, find_axis(sum, ny, nx, r));
  log_info("segment: region of interest: disc about (x, y) = (%.1f, %.1f), radius %.1f voxels",
           r->x, r->y, r->radius);
  return STATUS_OK;
}

static enum status find_disc(MPI_Comm comm, const struct grid_field *f, struct segment_region *r) {
  const int64_t *n = f->plan.n;
  struct voxel_histogram range;
  int64_t *sum;
  TRY(voxel_histogram_make(comm, f, 2, &range));
  const double ends[2] = {range.low, range.high};
  voxel_histogram_free(&range);
  TRY_ALL(comm, memory_make(n[1] * n[2], sizeof *sum, "means along z", &sum));
  segment_region_add(f, ends, sum);
  enum status status = segment_region_find(comm, sum, n[1], n[2], r);
  memory_free(sum);
  return status;
}

/* ---- the mask --------------------------------------------------------------------------------------------------- */

int64_t segment_region_mark(const struct segment_region *r, struct grid_field *mask, bool given) {
  uint8_t *to  = mask->data;
  int64_t kept = 0;
  for (int64_t z = 0; z < mask->mine.n[0]; z++)
    for (int64_t y = 0; y < mask->mine.n[1]; y++)
      for (int64_t x = 0; x < mask->mine.n[2]; x++, to++) {
        double dy = (double)(y + mask->mine.start[1]) - r->y,
               dx = (double)(x + mask->mine.start[2]) - r->x;
        bool in   = z + mask->mine.start[0] >= r->low && z + mask->mine.start[0] < r->high &&
                  (r->radius == 0 || hypot(dy, dx) <= r->radius);
        double over = (double)(z + mask->mine.start[0]) - r->plane[0] -
                      r->plane[1] * ((double)(y + mask->mine.start[1]) - r->y_middle) -
                      r->plane[2] * ((double)(x + mask->mine.start[2]) - r->x_middle);
        if (r->follows) in = in && over >= r->about[0] && over < r->about[1];
        *to = in && (!given || *to);
        kept += *to;
      }
  return kept;
}

enum status segment_region_check(int64_t kept) {
  if (kept > 0) return STATUS_OK;
  return FAIL(STATUS_INPUT, "no voxel lies in the region of interest");
}

void segment_region_clear(const struct grid_field *mask, struct grid_field *labels) {
  const uint8_t *in = mask->data;
  uint8_t *label    = labels->data;
  for (int64_t i = 0; in && i < labels->voxels; i++)
    if (!in[i]) label[i] = 0;
}

enum status segment_region_make(MPI_Comm comm, const struct segment_params *p,
                                const struct grid_field *volume, struct segment_region *region) {
  bool given = region->mask.data != NULL;
  TRY_ALL(comm, segment_region_parse(p, volume->plan.n[0], region));
  if (strcmp(p->disc, "auto") == 0) TRY(find_disc(comm, volume, region));
  if (!segment_has_region(p)) return STATUS_OK;
  if (!given) TRY(grid_field_make(comm, &volume->plan, GRID_U8, NULL, &region->mask));
  int64_t kept = segment_region_mark(region, &region->mask, given);
  MPI_Allreduce(MPI_IN_PLACE, &kept, 1, MPI_INT64_T, MPI_SUM, comm);
  return AGREE(comm, segment_region_check(kept));
}
