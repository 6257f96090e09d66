/* What of a volume is looked at: a box of it, smoothed by (1 2 1)/4 along each axis (noise of single voxels tells nothing
 * about a motion and would drown the derivatives), and of that what is brighter than a grey value, less that value.
 * Smoothing comes first: cut off within one voxel, an edge would be moved by up to a third of it. */
#include "align.h"
#include <math.h>
#include <string.h>

static void flatten(double threshold, struct grid_field *look) {
  float *data = look->data, low = (float)threshold;
  for (int64_t i = 0; i < look->voxels && isfinite(threshold); i++)
    data[i] = data[i] > low ? data[i] - low : 0;
}

static void smooth_line(float *line, int64_t n, int64_t stride) {
  float before = line[0];
  for (int64_t i = 0; i < n; i++) {
    float own        = line[i * stride];
    float after      = i + 1 < n ? line[(i + 1) * stride] : own;
    line[i * stride] = 0.25F * (before + 2 * own + after);
    before           = own;
  }
}

/* Along z, in place: `before` is the slice above as it was. Beyond the volume stands its outermost slice. */
static enum status smooth_slices(struct grid_field *look) {
  int64_t slice = look->row[0], first = look->halo[0];
  float *data = look->data, *before;
  TRY(memory_make_raw(slice, sizeof *before, "a slice", &before));
  memcpy(before, data + (first - 1) * slice, (size_t)slice * sizeof *before);
  for (int64_t z = first; z < first + look->mine.n[0]; z++)
    for (int64_t i = 0; i < slice; i++) {
      float own           = data[z * slice + i];
      data[z * slice + i] = 0.25F * (before[i] + 2 * own + data[(z + 1) * slice + i]);
      before[i]           = own;
    }
  memory_free(before);
  return STATUS_OK;
}

static enum status smooth(MPI_Comm comm, struct grid_field *look) {
  const int64_t *n = look->mine.n;
  float *origin    = (float *)look->data + grid_field_origin(look);
  for (int64_t z = 0; z < n[0]; z++) {
    for (int64_t y = 0; y < n[1]; y++)
      smooth_line(origin + z * look->row[0] + y * look->row[1], n[2], 1);
    for (int64_t x = 0; x < n[2]; x++)
      smooth_line(origin + z * look->row[0] + x, n[1], look->row[1]);
  }
  TRY(grid_halo_exchange(comm, look, GRID_EDGE_NEAREST));
  return AGREE(comm, smooth_slices(look));
}

enum status align_look(MPI_Comm comm, const struct align_params *p, const struct grid_field *volume,
                       const struct grid_box *box, double threshold, struct grid_field *look) {
  struct grid_plan plan;
  TRY_ALL(comm, fault_here("align.look"));
  TRY_ALL(comm, grid_plan_slabs(comm, box->n, 0, &plan));
  const int64_t halo[3] = {align_halo(p, &plan, volume->voxel_um), 0, 0};
  enum status status    = grid_field_make(comm, &plan, GRID_F32, halo, look);
  grid_plan_free(&plan);
  TRY(status);
  for (int a = 0; a < 3; a++) look->voxel_um[a] = volume->voxel_um[a];
  status = grid_field_crop(comm, volume, box, look);
  if (status == STATUS_OK) status = smooth(comm, look);
  if (status == STATUS_OK) flatten(threshold, look);
  if (status != STATUS_OK) grid_field_free(look);
  return status;
}
