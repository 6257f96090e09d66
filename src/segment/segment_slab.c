/* The slab about the interface, found by itself. In blocks of columns the phase's share of the region is taken slice by
 * slice; where it falls to half its greatest, on the membrane's side of its longest run of slices, is the interface to
 * a slice. Below that the block's mean grey decides: where an edge would stand that has as much of the greys three slices to
 * either side. The plane of least squares through the heights, weighted by their columns, is the interface: it may be tilted, and the
 * slab with it. Heights off by more than three standard deviations (a dendrite, a rim) are left out. Counts are whole
 * numbers, so the plane does not depend on the number of ranks. */
#include "segment_private.h"
#include "numeric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MOST = 32, BLOCK_LEAST = 8, ROUNDS = 5, SIDE = 3, GREY_STEPS = 1 << 20 };

struct blocks {
  int64_t edge, high, wide; /* voxels of a block's edge; blocks along y and x */
  int64_t nz;
  int32_t *phase, *all; /* [block][z], summed over the ranks */
  int64_t *grey;        /* in steps of the range */
};

static enum status blocks_make(const int64_t n[3], struct blocks *b) {
  int64_t longest = n[1] > n[2] ? n[1] : n[2];
  b->edge         = (longest + BLOCKS_MOST - 1) / BLOCKS_MOST;
  if (b->edge < BLOCK_LEAST) b->edge = BLOCK_LEAST;
  b->high = (n[1] + b->edge - 1) / b->edge;
  b->wide = (n[2] + b->edge - 1) / b->edge;
  b->nz   = n[0];
  TRY(memory_make(2 * b->high * b->wide * b->nz, sizeof *b->phase, "blocks of columns", &b->phase));
  b->all = b->phase + b->high * b->wide * b->nz;
  return memory_make(b->high * b->wide * b->nz, sizeof *b->grey, "blocks of columns", &b->grey);
}

int64_t segment_slab_bytes(const int64_t n[3]) {
  return BLOCKS_MOST * BLOCKS_MOST * n[0] * (int64_t)(2 * sizeof(int32_t) + sizeof(int64_t));
}

static double grey_at(const struct grid_field *f, int64_t z, int64_t y, int64_t x) {
  int64_t at = grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
  return f->type == GRID_F32 ? (double)((const float *)f->data)[at]
                             : ((const uint16_t *)f->data)[at];
}

/* range: of the grey values. */
static void blocks_count(const struct grid_field *labels, const struct grid_field *mask, int phase,
                         const struct grid_field *volume, const double range[2], struct blocks *b) {
  double scale         = range[0] < range[1] ? GREY_STEPS / (range[1] - range[0]) : 0;
  const uint8_t *label = labels->data, *in = mask->data;
  const int64_t *start = labels->mine.start, *n = labels->mine.n;
  for (int64_t z = 0, i = 0; z < n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++)
      for (int64_t x = 0; x < n[2]; x++, i++) {
        int64_t block = (y + start[1]) / b->edge * b->wide + (x + start[2]) / b->edge,
                at    = block * b->nz + z + start[0];
        if (in && !in[i]) continue;
        b->all[at]++;
        b->phase[at] += label[i] == phase;
        b->grey[at] += (int64_t)((grey_at(volume, z, y, x) - range[0]) * scale);
      }
}

static void blocks_sum(MPI_Comm comm, struct blocks *b) {
  for (int64_t k = 0; k < 2 * b->high * b->wide; k++)
    MPI_Allreduce(MPI_IN_PLACE, b->phase + k * b->nz, (int)b->nz, MPI_INT32_T, MPI_SUM, comm);
  for (int64_t k = 0; k < b->high * b->wide; k++)
    MPI_Allreduce(MPI_IN_PLACE, b->grey + k * b->nz, (int)b->nz, MPI_INT64_T, MPI_SUM, comm);
}

static double share_at(const struct blocks *b, int64_t block, int64_t z) {
  int64_t at = block * b->nz + z;
  return b->all[at] ? (double)b->phase[at] / b->all[at] : 0;
}

static double mean_at(const struct blocks *b, int64_t block, int64_t z) {
  int64_t at = block * b->nz + z;
  return z >= 0 && z < b->nz && b->all[at] ? (double)b->grey[at] / b->all[at] : (double)NAN;
}

/* Near slice `in`, the last one of the phase, going by `step`: where an edge would be that has as much of both greys.
 * What was found by the share where the grey tells nothing. */
static double refined(const struct blocks *b, int64_t block, int64_t in, int step, double found) {
  int64_t first = in - (SIDE - 1) * step;
  double inside = mean_at(b, block, first), outside = mean_at(b, block, in + SIDE * step), sum = 0;
  for (int k = 0; k < 2 * SIDE; k++)
    sum += (mean_at(b, block, first + k * step) - outside) / (inside - outside);
  return isfinite(sum) && fabs(sum - SIDE) < SIDE ? (double)first + step * (sum - 0.5) : found;
}

/* Where the share falls to half its greatest beyond the longest run of slices above that; NAN: it does not. */
static double height_of(const struct blocks *b, int64_t block, bool upward) {
  double most   = 0;
  int64_t first = 0, longest = 0;
  for (int64_t z = 0; z < b->nz; z++) most = fmax(most, share_at(b, block, z));
  for (int64_t z = 0, run = 0; z < b->nz; z++) {
    run = share_at(b, block, z) > most / 2 ? run + 1 : 0;
    if (run > longest) longest = run, first = z - run + 1;
  }
  int64_t in = upward ? first + longest - 1 : first, out = in + (upward ? 1 : -1);
  if (longest == 0 || out < 0 || out >= b->nz || b->all[block * b->nz + out] == 0) return NAN;
  double inside = share_at(b, block, in), outside = share_at(b, block, out);
  double found = (double)in + (upward ? 1 : -1) * (inside - most / 2) / (inside - outside);
  return refined(b, block, in, upward ? 1 : -1, found);
}

/* One block's middle against the plane's origin, its height, its columns. */
struct place {
  double y, x, z, weight;
};

static int64_t list_places(const struct blocks *b, const struct segment_region *r, bool upward,
                           const int64_t n[3], struct place *place) {
  int64_t count = 0;
  for (int64_t k = 0; k < b->high * b->wide; k++) {
    int64_t y0 = k / b->wide * b->edge, x0 = k % b->wide * b->edge, most = 0;
    int64_t y1 = y0 + b->edge < n[1] ? y0 + b->edge : n[1],
            x1 = x0 + b->edge < n[2] ? x0 + b->edge : n[2];
    for (int64_t z = 0; z < b->nz; z++)
      if (b->all[k * b->nz + z] > most) most = b->all[k * b->nz + z];
    double z = height_of(b, k, upward);
    if (most < (y1 - y0) * (x1 - x0) || !isfinite(z)) continue; /* cut by the region's edge */
    place[count++] = (struct place){0.5 * (double)(y0 + y1 - 1) - r->y_middle,
                                    0.5 * (double)(x0 + x1 - 1) - r->x_middle, z, (double)most};
  }
  return count;
}

static bool fit(const struct place *place, int64_t n, double p[3]) {
  struct numeric_plane plane = {.points = 0};
  for (int64_t i = 0; i < n; i++)
    numeric_plane_add(&plane, place[i].y, place[i].x, place[i].z, place[i].weight);
  return numeric_plane_find(&plane, p, NULL);
}

/* What lies within three standard deviations (at least half a voxel) stays. */
static int64_t keep_near(const double p[3], int64_t n, struct place *place) {
  double square = 0;
  int64_t kept  = 0;
  for (int64_t i = 0; i < n; i++) {
    double off = place[i].z - p[0] - p[1] * place[i].y - p[2] * place[i].x;
    square += off * off / (double)n;
  }
  double most = fmax(3 * sqrt(square), 0.5);
  for (int64_t i = 0; i < n; i++)
    if (fabs(place[i].z - p[0] - p[1] * place[i].y - p[2] * place[i].x) <= most)
      place[kept++] = place[i];
  return kept;
}

static enum status find_plane(const struct segment_params *p, const struct blocks *b,
                              const int64_t n[3], struct segment_region *r) {
  struct place *place;
  TRY(memory_make(b->high * b->wide, sizeof *place, "heights of blocks", &place));
  int64_t count = list_places(b, r, strcmp(p->slab_side, "z+") == 0, n, place), before = -1;
  bool found = true;
  for (int k = 0; k < ROUNDS && found && count != before; k++) {
    found  = fit(place, count, r->plane);
    before = count;
    if (found) count = keep_near(r->plane, count, place);
  }
  memory_free(place);
  if (found) return STATUS_OK;
  return FAIL(STATUS_INPUT,
              "no interface of phase %d is seen on the side %s: give segment.slab as A:B",
              (int)p->phase, p->slab_side);
}

enum status segment_slab_find(MPI_Comm comm, const struct segment_params *p,
                              const struct grid_field *labels, int phase,
                              const struct grid_field *volume, struct segment_region *r) {
  const int64_t *n = labels->plan.n;
  struct blocks b  = {.phase = NULL};
  double range[2]  = {INFINITY, -INFINITY};
  TRY_ALL(comm, voxel_histogram_widen(volume, NULL, range));
  voxel_range_sum(comm, range);
  enum status made = AGREE(comm, blocks_make(n, &b));
  if (made == STATUS_OK) {
    blocks_count(labels, &r->mask, phase, volume, range, &b);
    blocks_sum(comm, &b);
  }
  r->y_middle        = r->radius > 0 ? r->y : 0.5 * (double)(n[1] - 1);
  r->x_middle        = r->radius > 0 ? r->x : 0.5 * (double)(n[2] - 1);
  enum status status = made == STATUS_OK ? AGREE(comm, find_plane(p, &b, n, r)) : made;
  memory_free(b.phase);
  memory_free(b.grey);
  TRY(status);
  r->follows = true;
  log_info("segment: region of interest: slices %g to %g about the interface at %.2f, which rises "
           "by %.5f along y and %.5f along x",
           r->about[0], r->about[1], r->plane[0], r->plane[1], r->plane[2]);
  return STATUS_OK;
}

/* ---- shown ------------------------------------------------------------------------------------------- */

/* What lies outside the mask is drawn at two fifths of its grey over the least. */
static void dim(const struct grid_field *mask, struct grid_field *slice) {
  float *value = slice->data, least = INFINITY;
  const uint8_t *mark = mask->data;
  for (int64_t i = 0; i < slice->voxels; i++) least = fminf(least, value[i]);
  MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_FLOAT, MPI_MIN, slice->plan.comm);
  for (int64_t i = 0; i < slice->voxels; i++)
    if (!mark[i]) value[i] = least + 0.4F * (value[i] - least);
}

/* The middle z-x slice as float32, whatever the volume is. */
static enum status cut(MPI_Comm comm, const struct grid_field *from, struct grid_field *slice) {
  const struct grid_box box = {
      {0,               from->plan.n[1] / 2, 0              },
      {from->plan.n[0], 1,                   from->plan.n[2]}
  };
  struct grid_plan plan;
  TRY_ALL(comm, grid_plan_slabs(comm, box.n, 0, &plan));
  enum status status = grid_field_make(comm, &plan, from->type, NULL, slice);
  grid_plan_free(&plan);
  if (status == STATUS_OK) status = grid_field_crop(comm, from, &box, slice);
  return status;
}

static enum status to_floats(struct grid_field *slice) {
  float *value;
  if (slice->type == GRID_F32) return STATUS_OK;
  TRY(memory_make_raw(slice->voxels, sizeof *value, "a slice", &value));
  for (int64_t i = 0; i < slice->voxels; i++) value[i] = ((const uint16_t *)slice->data)[i];
  memory_free(slice->data);
  slice->data = value;
  slice->type = GRID_F32;
  return STATUS_OK;
}

enum status segment_region_draw(const struct stage_job *job, const struct grid_field *volume,
                                const struct grid_field *mask) {
  struct grid_field slice = {.data = NULL}, marks = {.data = NULL};
  char path[STORE_NAME_BYTES];
  size_t n = strlen(job->output);
  if (!n || !mask->plan.size) return STATUS_OK;
  if (n > 3 && strcmp(job->output + n - 3, ".h5") == 0) n -= 3;
  snprintf(path, sizeof path, "%.*s_region.png", (int)(n < 2000 ? n : 2000), job->output);
  enum status status = cut(job->comm, volume, &slice);
  if (status == STATUS_OK) status = cut(job->comm, mask, &marks);
  if (status == STATUS_OK) status = AGREE(job->comm, to_floats(&slice));
  if (status == STATUS_OK) {
    dim(&marks, &slice);
    status = picture_slice(job->comm, &slice, 1, 0, path);
  }
  grid_field_free(&slice);
  grid_field_free(&marks);
  return status;
}
