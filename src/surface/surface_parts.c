/* Closed pores one by one, local thickness of the membrane, area of the interface.
 * Local thickness (Hildebrand and Rüegsegger 1997) in whole radii: a voxel has the thickness 2 r + 1 of the largest ball
 * of the phase's opening that it is in. Interface: isosurface of the middle grey value through the bulk in view. */
#include "surface_private.h"
#include <math.h>
#include <string.h>

enum { LIST_MOST = 1000000 };

/* ---- pores --------------------------------------------------------------------------------------------------- */

static enum status fill_list(const struct surface_work *w, const struct surface_map *height,
                             const struct voxel_component *table, int64_t n,
                             struct surface_table *to) {
  const double *um = w->voxel_um;
  TRY(surface_table_make(n, 7, to));
  for (int64_t i = 0; i < n; i++) {
    double voxels = (double)table[i].voxels, at[3], volume = voxels * um[0] * um[1] * um[2];
    int64_t column[2];
    for (int a = 0; a < 3; a++) at[a] = ((double)table[i].sum[a] / voxels + 0.5) * um[a];
    for (int a = 0; a < 2; a++) column[a] = (int64_t)(at[a + 1] / um[a + 1]);
    double top          = (double)height->z[column[0] * height->nx + column[1]];
    const double row[7] = {
        at[0], at[1], at[2], fabs(top - at[0]), voxels, volume, cbrt(6 * volume / PI)};
    for (int k = 0; k < 7; k++) to->column[k][i] = row[k];
  }
  return STATUS_OK;
}

static enum status list_pores(struct surface_work *w, const struct surface_map *height,
                              const struct voxel_parts *parts, struct surface_result *result) {
  struct voxel_component *table;
  int64_t n = result->report.pores;
  if (n > LIST_MOST) {
    log_warning("%lld closed pores: their list is left out (at most %d)", (long long)n, LIST_MOST);
    return STATUS_OK;
  }
  TRY(voxel_parts_table(w->comm, parts, n, &table));
  enum status status = STATUS_OK;
  if (height->z) status = fill_list(w, height, table, n, &result->pore_list);
  memory_free(table);
  return AGREE(w->comm, status);
}

enum status surface_pores_list(struct surface_work *w, const struct surface_map *height,
                               struct surface_result *result) {
  struct voxel_parts *pores = NULL;
  enum status status        = surface_pores_find(w, &pores, &result->report.pores);
  if (status == STATUS_OK) status = list_pores(w, height, pores, result);
  voxel_parts_free(&pores);
  return status;
}

/* ---- local thickness ------------------------------------------------------------------------------------------- */

static int64_t count_in_view(const struct surface_work *w, const struct grid_field *f) {
  const uint8_t *at = f->data;
  int64_t sum       = 0;
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++)
      for (int64_t x = 0; x < f->mine.n[2]; x++, at++)
        sum += *at == 1 && surface_in_view(w, y + f->mine.start[1], x);
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_INT64_T, MPI_SUM, w->comm);
  return sum;
}

static void mark_phase(const struct surface_work *w, struct grid_field *to) {
  const uint8_t *label = w->labels.data;
  for (int64_t i = 0; i < to->voxels; i++) ((uint8_t *)to->data)[i] = label[i] == w->contact;
}

static enum status opened_count(struct surface_work *w, int radius, struct grid_field *phase,
                                int64_t *count) {
  struct voxel_mask mask;
  mark_phase(w, phase);
  if (radius > 0) {
    TRY(voxel_mask_make(w->comm, phase, 1, radius, &mask));
    enum status status = voxel_mask_filter(w->comm, &mask, VOXEL_OPEN, radius);
    if (status == STATUS_OK) voxel_mask_put(&mask, 1, 0, phase);
    voxel_mask_free(&mask);
    TRY(status);
  }
  *count = count_in_view(w, phase);
  return STATUS_OK;
}

static enum status fill_thicknesses(const struct surface_work *w, const int64_t *count,
                                    int64_t most, struct surface_result *result) {
  const double *um = w->voxel_um, edge = cbrt(um[0] * um[1] * um[2]);
  double sum = 0;
  TRY(surface_table_make(most + 1, 2, &result->thicknesses));
  for (int64_t r = 0; r <= most; r++) {
    int64_t own                      = count[r] - (r < most ? count[r + 1] : 0);
    double share                     = (double)own / (double)count[0];
    result->thicknesses.column[0][r] = (2 * (double)r + 1) * edge;
    result->thicknesses.column[1][r] = share;
    sum += share * (2 * (double)r + 1) * edge;
  }
  result->report.local_thickness_um = sum;
  return STATUS_OK;
}

enum status surface_thickness_measure(struct surface_work *w, struct surface_result *result) {
  int64_t count[VOXEL_RADIUS_MOST + 1] = {0}, most = w->params->thickness_vox;
  struct grid_field phase;
  result->report.local_thickness_um = (double)NAN;
  if (most == 0) return STATUS_OK;
  TRY(grid_field_make(w->comm, &w->plan, GRID_U8, NULL, &phase));
  enum status status = STATUS_OK;
  for (int64_t r = 0; r <= most && status == STATUS_OK; r++) {
    status = opened_count(w, (int)r, &phase, &count[r]);
    if (status == STATUS_OK && count[r] == 0) most = r ? r - 1 : 0;
  }
  grid_field_free(&phase);
  if (status == STATUS_OK && count[0] > 0)
    status = AGREE(w->comm, fill_thicknesses(w, count, most, result));
  return status;
}

/* ---- interface --------------------------------------------------------------------------------------------------- */

/* Area of the squares between columns, one of them at least in view; halves beyond the volume. */
static double field_area(const struct surface_work *w) {
  const int64_t *n = w->n;
  double cells     = 0;
  for (int64_t y = -1; y < n[1]; y++)
    for (int64_t x = -1; x < n[2]; x++) {
      bool in = false;
      for (int k = 0; k < 4; k++) {
        int64_t cy = y + k / 2, cx = x + k % 2;
        in |= cy >= 0 && cx >= 0 && cy < n[1] && cx < n[2] && surface_in_view(w, cy, cx);
      }
      cells += in * (y < 0 || y + 1 == n[1] ? 0.5 : 1) * (x < 0 || x + 1 == n[2] ? 0.5 : 1);
    }
  return cells * w->voxel_um[1] * w->voxel_um[2];
}

enum status surface_interface_begin(const struct surface_work *w,
                                    struct voxel_isosurface_work **sums) {
  double level = 0.5 * (w->inside + w->outside);
  bool bright  = w->inside > w->outside;
  return voxel_isosurface_begin(1, bright ? level : -INFINITY, bright ? INFINITY : level,
                                w->voxel_um, sums);
}

enum status surface_interface_add(struct surface_work *w, struct voxel_isosurface_work *sums) {
  struct voxel_isosurface_part part = {
      .whole = {w->n[0],        w->n[1], w->n[2]},
      .start = {0,              surface_row(w,                     0) - w->below, 0},
      .core  = {{0, w->below, 0}, {w->n[0], w->rows, w->n[2]}},
  };
  return voxel_isosurface_add(sums, &part, &w->volume, &w->kind);
}

enum status surface_interface_end(struct surface_work *w, struct voxel_isosurface_work *sums,
                                  struct surface_result *result) {
  struct surface_report *r = &result->report;
  struct voxel_isosurface *table;
  r->interface_um2 = r->interface_ratio = r->contrast_to_noise = (double)NAN;
  if (!sums) return STATUS_OK;
  TRY(voxel_isosurface_end(w->comm, sums, &table));
  r->interface_um2     = table[0].area;
  r->interface_ratio   = table[0].area / field_area(w);
  r->contrast_to_noise = fabs(w->inside - w->outside) / w->noise;
  memory_free(table);
  return STATUS_OK;
}
