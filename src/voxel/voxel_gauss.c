/* Gaussian filter, axis by axis, as scipy.ndimage's: weights to four standard deviations, faces reflect, sums in
 * double, results rounded to float32 after each axis. A plane is copied before its lines are replaced. */
#include "voxel_filter.h"
#include "voxel_filter_private.h"
#include <math.h>
#include <string.h>

int64_t voxel_gauss_halo(double sigma_vox) { return (int64_t)(4 * sigma_vox + 0.5); }

static enum status taps_make(double sigma, int64_t reach, double **tap) {
  double sum = 0;
  TRY(memory_make(reach + 1, sizeof **tap, "a filter", tap));
  for (int64_t k = 0; k <= reach; k++) {
    (*tap)[k] = exp(-0.5 * (double)(k * k) / (sigma * sigma));
    sum += (k ? 2 : 1) * (*tap)[k];
  }
  for (int64_t k = 0; k <= reach; k++) (*tap)[k] /= sum;
  return STATUS_OK;
}

/* Lines of n values, `wide` of them side by side; from: a copy, rows of `wide`. */
static void filter_lines(const float *from, int64_t n, int64_t wide, const double *tap,
                         int64_t reach, double *sum, float *to, int64_t stride) {
  for (int64_t i = reach; i < n - reach; i++) {
    for (int64_t x = 0; x < wide; x++) sum[x] = tap[0] * (double)from[i * wide + x];
    for (int64_t k = 1; k <= reach; k++) {
      const float *low = from + (i - k) * wide, *high = from + (i + k) * wide;
      for (int64_t x = 0; x < wide; x++) sum[x] += tap[k] * ((double)low[x] + (double)high[x]);
    }
    for (int64_t x = 0; x < wide; x++) to[i * stride + x] = (float)sum[x];
  }
}

static void filter_rows(struct grid_field *f, const double *tap, int64_t reach, float *copy) {
  float *data = f->data;
  double sum;
  for (int64_t row = 0; row < f->size[0] * f->size[1]; row++) {
    float *line = data + row * f->row[1];
    memcpy(copy, line, (size_t)f->size[2] * sizeof *copy);
    filter_lines(copy, f->size[2], 1, tap, reach, &sum, line, 1);
  }
}

/* Along y (planes across z) or along z (planes across y). */
static void filter_planes(struct grid_field *f, int axis, const double *tap, int64_t reach,
                          float *copy, double *sum) {
  int other = 1 - axis;
  for (int64_t k = 0; k < f->size[other]; k++) {
    float *plane = (float *)f->data + k * f->row[other];
    for (int64_t i = 0; i < f->size[axis]; i++)
      memcpy(copy + i * f->size[2], plane + i * f->row[axis], (size_t)f->size[2] * sizeof *copy);
    filter_lines(copy, f->size[axis], f->size[2], tap, reach, sum, plane, f->row[axis]);
  }
}

static enum status gauss_here(struct grid_field *f, double sigma) {
  int64_t reach = voxel_gauss_halo(sigma), high = f->size[0] > f->size[1] ? f->size[0] : f->size[1];
  double *tap = NULL, *sum = NULL;
  float *copy = NULL;
  TRY(fault_here("voxel.gauss"));
  if (f->type != GRID_F32)
    return FAIL(STATUS_INTERNAL, "a Gaussian filter of %s", grid_type_name(f->type));
  TRY(voxel_halo_check(f, reach));
  enum status status = taps_make(sigma, reach, &tap);
  if (status == STATUS_OK) status = memory_make_raw(f->size[2], sizeof *sum, "a row", &sum);
  if (status == STATUS_OK)
    status = memory_make_raw(high * f->size[2], sizeof *copy, "a plane", &copy);
  if (status == STATUS_OK) {
    filter_planes(f, 0, tap, reach, copy, sum);
    filter_planes(f, 1, tap, reach, copy, sum);
    filter_rows(f, tap, reach, copy);
  }
  memory_free(copy);
  memory_free(sum);
  memory_free(tap);
  return status;
}

enum status voxel_gauss(MPI_Comm comm, struct grid_field *field, double sigma_vox) {
  TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
  return AGREE(comm, gauss_here(field, sigma_vox));
}
