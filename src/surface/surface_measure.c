/* Ra and Rq are arithmetic mean and root mean square of the heights about the levelling plane (Huang et al. 2024, eq.
 * 6-7; ISO 4287's definitions on an area). Sums are exact, so they do not depend on the number of ranks. The variance
 * that grey noise gives to a crossing is independent of the surface's and is subtracted (Rq^2 - noise^2; Ra by the
 * same factor, as for normal heights). */
#include "surface.h"
#include "numeric.h"
#include "voxel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct field_of_view {
  double x, y, radius; /* radius 0: no disc */
  int64_t margin;
  int64_t low, high; /* slices of the slab, half-open */
};

struct work {
  MPI_Comm comm;
  const struct surface_params *params;
  const struct grid_field *labels, *volume;
  struct grid_field bulk; /* component numbers */
  int64_t bulk_number;
  struct field_of_view view;
  bool up;
  double inside, outside,
      noise; /* grey of the phase, of what lies over it; standard deviation in the phase */
};

static enum status parse_slab(const struct surface_params *p, int64_t nz,
                              struct field_of_view *view) {
  long long low, high;
  char rest;
  if (!p->slab[0]) return STATUS_OK;
  if (sscanf(p->slab, "%lld:%lld%c", &low, &high, &rest) != 2 || low < 0 || high <= low ||
      high > nz)
    return FAIL(STATUS_USAGE, "surface.slab = %s; it would be A:B within 0:%lld", p->slab,
                (long long)nz);
  view->low  = low;
  view->high = high;
  return STATUS_OK;
}

static enum status parse_view(const struct surface_params *p, int64_t nz,
                              struct field_of_view *view) {
  char rest;
  *view = (struct field_of_view){0, 0, 0, p->margin_vox, 0, nz};
  TRY(parse_slab(p, nz, view));
  if (!p->disc[0]) return STATUS_OK;
  if (sscanf(p->disc, "%lf,%lf,%lf%c", &view->x, &view->y, &view->radius, &rest) != 3 ||
      !(view->radius > 0))
    return FAIL(STATUS_USAGE, "surface.disc = %s; it would be X,Y,R in voxels with R above 0",
                p->disc);
  return STATUS_OK;
}

static bool in_view(const struct work *w, int64_t y, int64_t x) {
  const int64_t *n              = w->labels->plan.n;
  const struct field_of_view *v = &w->view;
  if (y < v->margin || y >= n[1] - v->margin || x < v->margin || x >= n[2] - v->margin)
    return false;
  return v->radius == 0 || hypot((double)x - v->x, (double)y - v->y) <= v->radius;
}

/* ---- the bulk ------------------------------------------------------------------------------------------- */

static enum status find_bulk(struct work *w) {
  struct voxel_component *table;
  int64_t count, most = 0;
  TRY(voxel_components(w->comm, w->labels, (int)w->params->phase, 6, &w->bulk, &count));
  if (count == 0)
    return AGREE(w->comm, FAIL(STATUS_INPUT, "no voxel has phase %d, so there is no surface",
                               (int)w->params->phase));
  TRY(voxel_component_table(w->comm, &w->bulk, count, &table));
  for (int64_t i = 0; i < count; i++)
    if (table[i].voxels > most) most = table[i].voxels, w->bulk_number = i + 1;
  memory_free(table);
  return STATUS_OK;
}

static int64_t bulk_at(const struct work *w, int64_t z, int64_t y, int64_t x) { /* y of this rank */
  const int64_t *data = (const int64_t *)w->bulk.data + grid_field_origin(&w->bulk);
  return data[z * w->bulk.row[0] + y * w->bulk.row[1] + x];
}

static double grey_at(const struct work *w, int64_t z, int64_t y, int64_t x) {
  return (
      double)((const float *)w->volume->data)[grid_field_origin(w->volume) + z * w->volume->row[0] +
                                              y * w->volume->row[1] + x];
}

/* Outermost bulk voxel of a column within the slab, or -1. */
static int64_t top_of(const struct work *w, int64_t y, int64_t x) {
  for (int64_t i = 0; i < w->view.high - w->view.low; i++) {
    int64_t z = w->up ? w->view.high - 1 - i : w->view.low + i;
    if (bulk_at(w, z, y, x) == w->bulk_number) return z;
  }
  return -1;
}

/* ---- grey values of both sides ------------------------------------------------------------------------------ */

enum { SUM_IN, SUM_IN2, COUNT_IN, SUM_OUT, COUNT_OUT, GREY_SUMS };

/* Inside: two to five voxels under the surface; outside: two and three over it. */
static void sample_column(const struct work *w, int64_t y, int64_t x, int64_t top,
                          struct exact_sum *sums) {
  int64_t nz = w->labels->plan.n[0], out = w->up ? 1 : -1;
  for (int64_t k = 2; k <= 5; k++) {
    int64_t z = top - out * k;
    if (z < 0 || z >= nz || bulk_at(w, z, y, x) != w->bulk_number) break;
    double grey = grey_at(w, z, y, x);
    exact_add(&sums[SUM_IN], grey);
    exact_add(&sums[SUM_IN2], grey * grey);
    exact_add(&sums[COUNT_IN], 1);
  }
  for (int64_t k = 2; k <= 3; k++) {
    int64_t z = top + out * k;
    if (z < 0 || z >= nz) break;
    exact_add(&sums[SUM_OUT], grey_at(w, z, y, x));
    exact_add(&sums[COUNT_OUT], 1);
  }
}

static enum status find_greys(struct work *w) {
  struct exact_sum sums[GREY_SUMS];
  memset(sums, 0, sizeof sums);
  for (int64_t y = 0; y < w->labels->mine.n[1]; y++)
    for (int64_t x = 0; x < w->labels->mine.n[2]; x++) {
      int64_t top = in_view(w, y + w->labels->mine.start[1], x) ? top_of(w, y, x) : -1;
      if (top >= 0) sample_column(w, y, x, top, sums);
    }
  TRY(exact_allreduce(w->comm, sums, GREY_SUMS));
  double in = exact_value(&sums[COUNT_IN]), out = exact_value(&sums[COUNT_OUT]);
  w->inside  = exact_value(&sums[SUM_IN]) / in;
  w->outside = exact_value(&sums[SUM_OUT]) / out;
  w->noise   = sqrt(fmax(exact_value(&sums[SUM_IN2]) / in - w->inside * w->inside, 0));
  if (in > 0 && out > 0 && w->inside != w->outside) return STATUS_OK;
  return AGREE(w->comm,
               FAIL(STATUS_INPUT,
                    "the volume has the same grey value on both sides of the surface, so no "
                    "position below a voxel can be found; use --subvoxel no"));
}

/* Crossing of the middle grey along the column, in voxels from the middle of voxel `top` outwards, searched one voxel
 * to each side; half a voxel (the voxel's face) where there is none. *variance: what grey noise adds, voxels^2, by
 * propagation through the linear interpolation. */
static double crossing(const struct work *w, int64_t y, int64_t x, int64_t top, double *variance) {
  int64_t nz = w->labels->plan.n[0], out = w->up ? 1 : -1;
  double middle = 0.5 * (w->inside + w->outside), sign = w->inside > w->outside ? 1 : -1;
  for (int64_t k = -2; k <= 1; k++) {
    int64_t a = top + out * k, b = a + out;
    if (a < 0 || a >= nz || b < 0 || b >= nz) continue;
    double low  = sign * (grey_at(w, a, y, x) - middle),
           high = sign * (grey_at(w, b, y, x) - middle);
    if (!(low >= 0 && high < 0)) continue;
    double share = low / (low - high), slope = fmax(low - high, 0.4 * fabs(w->inside - w->outside));
    *variance = w->noise * w->noise * (share * share + (1 - share) * (1 - share)) / (slope * slope);
    return (double)k + share;
  }
  return 0.5;
}

/* ---- heights --------------------------------------------------------------------------------------------------- */

static void fill_heights(const struct work *w, struct grid_field *height,
                         struct exact_sum sums[2]) {
  float *to = height->data;
  for (int64_t y = 0; y < height->mine.n[1]; y++)
    for (int64_t x = 0; x < height->mine.n[2]; x++) {
      int64_t top     = in_view(w, y + height->mine.start[1], x) ? top_of(w, y, x) : -1;
      double variance = 0, step = w->volume && top >= 0 ? crossing(w, y, x, top, &variance) : 0.5;
      double place = (double)top + 0.5 + (w->up ? step : -step);
      *to++        = top < 0 ? NAN : (float)(place * w->labels->voxel_um[0]);
      if (top < 0) continue;
      exact_add(&sums[0], 1);
      exact_add(&sums[1], variance);
    }
}

static enum status make_heights(const struct work *w, struct grid_field *height, double *noise_um) {
  const int64_t n[3] = {1, w->labels->plan.n[1], w->labels->plan.n[2]};
  struct grid_plan plan;
  struct exact_sum sums[2];
  memset(sums, 0, sizeof sums);
  TRY_ALL(w->comm, grid_plan_slabs(w->comm, n, 1, &plan));
  enum status status = grid_field_make(w->comm, &plan, GRID_F32, NULL, height);
  grid_plan_free(&plan);
  TRY(status);
  for (int a = 0; a < 3; a++) height->voxel_um[a] = w->labels->voxel_um[a];
  fill_heights(w, height, sums);
  TRY(exact_allreduce(w->comm, sums, 2));
  *noise_um = w->volume
                  ? sqrt(exact_value(&sums[1]) / exact_value(&sums[0])) * w->labels->voxel_um[0]
                  : (double)NAN;
  return STATUS_OK;
}

/* ---- levelling and roughness --------------------------------------------------------------------------------------- */

enum { S_N, S_X, S_Y, S_XX, S_XY, S_YY, S_Z, S_XZ, S_YZ, PLANE_SUMS };
struct plane {
  double at, per_x, per_y;
};

static double determinant(const double m[9]) {
  return m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) +
         m[2] * (m[3] * m[7] - m[4] * m[6]);
}

/* Cramer's rule; where the columns do not span a plane, the mean alone. */
static struct plane solve_plane(const double s[PLANE_SUMS], bool mean_only) {
  const double m[9] = {s[S_N], s[S_X], s[S_Y], s[S_X], s[S_XX], s[S_XY], s[S_Y], s[S_XY], s[S_YY]};
  const double right[3] = {s[S_Z], s[S_XZ], s[S_YZ]};
  double all            = determinant(m), part[3];
  if (mean_only || fabs(all) < 1e-9 * s[S_N] * s[S_XX] * s[S_YY] || s[S_N] < 3)
    return (struct plane){s[S_Z] / s[S_N], 0, 0};
  for (int c = 0; c < 3; c++) {
    double copy[9];
    memcpy(copy, m, sizeof copy);
    for (int r = 0; r < 3; r++) copy[3 * r + c] = right[r];
    part[c] = determinant(copy) / all;
  }
  return (struct plane){part[0], part[1], part[2]};
}

static enum status find_plane(const struct work *w, const struct grid_field *height,
                              struct plane *plane, int64_t *points) {
  struct exact_sum sums[PLANE_SUMS];
  double value[PLANE_SUMS];
  memset(sums, 0, sizeof sums);
  const float *from = height->data;
  double y0 = 0.5 * (double)height->plan.n[1], x0 = 0.5 * (double)height->plan.n[2];
  for (int64_t y = 0; y < height->mine.n[1]; y++)
    for (int64_t x = 0; x < height->mine.n[2]; x++, from++) {
      if (isnan(*from)) continue;
      double px = (double)x - x0, py = (double)(y + height->mine.start[1]) - y0, z = (double)*from;
      const double term[PLANE_SUMS] = {1, px, py, px * px, px * py, py * py, z, px * z, py * z};
      for (int k = 0; k < PLANE_SUMS; k++) exact_add(&sums[k], term[k]);
    }
  TRY(exact_allreduce(w->comm, sums, PLANE_SUMS));
  for (int k = 0; k < PLANE_SUMS; k++) value[k] = exact_value(&sums[k]);
  *points = (int64_t)value[S_N];
  if (*points == 0)
    return AGREE(w->comm, FAIL(STATUS_INPUT, "no column of the field holds the bulk of phase %d",
                               (int)w->params->phase));
  *plane = solve_plane(value, strcmp(w->params->level, "none") == 0);
  plane->at -= plane->per_x * x0 + plane->per_y * y0;
  return STATUS_OK;
}

/* Sums of a block: number, |Z|, Z^2. A cell of the table is one row of one block, owned by one rank, so that adding
 * up has one order. */
struct blocks {
  int64_t high, wide, side;
  double *cell; /* [ny][wide][3] */
  int64_t ny;
};

static enum status fill_blocks(const struct work *w, const struct grid_field *height,
                               const struct plane *plane, struct blocks *b) {
  b->side = w->params->block_vox;
  b->ny   = height->plan.n[1];
  b->wide = (height->plan.n[2] + b->side - 1) / b->side;
  b->high = (b->ny + b->side - 1) / b->side;
  TRY_ALL(w->comm,
          memory_make(b->ny * b->wide * 3, sizeof *b->cell, "blocks of a surface", &b->cell));
  const float *from = height->data;
  for (int64_t y = height->mine.start[1]; y < height->mine.start[1] + height->mine.n[1]; y++)
    for (int64_t x = 0; x < height->mine.n[2]; x++, from++) {
      if (isnan(*from)) continue;
      double z = (double)*from - plane->at - plane->per_x * (double)x - plane->per_y * (double)y;
      double *cell = b->cell + (y * b->wide + x / b->side) * 3;
      cell[0]++, cell[1] += fabs(z), cell[2] += z * z;
    }
  for (int64_t y = 0; y < b->ny; y++)
    MPI_Allreduce(MPI_IN_PLACE, b->cell + y * b->wide * 3, (int)(b->wide * 3), MPI_DOUBLE, MPI_SUM,
                  w->comm);
  return STATUS_OK;
}

static void add_block(const struct blocks *b, int64_t block, double sum[3]) {
  int64_t y0 = block / b->wide * b->side, x = block % b->wide;
  for (int64_t y = y0; y < y0 + b->side && y < b->ny; y++)
    for (int k = 0; k < 3; k++) sum[k] += b->cell[(y * b->wide + x) * 3 + k];
}

/* Spread of Ra and Rq over draws of blocks with replacement (Kunsch 1989). */
static void bootstrap(const struct blocks *b, struct surface_report *report) {
  enum { DRAWS = 400, STREAM = 71 };
  int64_t n      = b->high * b->wide;
  double mean[2] = {0, 0}, square[2] = {0, 0}, good = 0;
  for (uint64_t d = 0; d < DRAWS; d++) {
    double sum[3] = {0, 0, 0};
    for (int64_t i = 0; i < n; i++)
      add_block(b, (int64_t)(random_uniform(1, STREAM, d * (uint64_t)n + (uint64_t)i) * (double)n),
                sum);
    if (sum[0] == 0) continue;
    const double value[2] = {sum[1] / sum[0], sqrt(sum[2] / sum[0])};
    for (int k = 0; k < 2; k++) mean[k] += value[k], square[k] += value[k] * value[k];
    good++;
  }
  report->Ra_sigma = sqrt(fmax(square[0] / good - mean[0] * mean[0] / good / good, 0));
  report->Rq_sigma = sqrt(fmax(square[1] / good - mean[1] * mean[1] / good / good, 0));
}

static enum status find_roughness(const struct work *w, const struct grid_field *height,
                                  struct surface_report *report) {
  struct plane plane;
  struct blocks blocks = {.cell = NULL};
  double sum[3]        = {0, 0, 0};
  TRY(find_plane(w, height, &plane, &report->points));
  TRY(fill_blocks(w, height, &plane, &blocks));
  for (int64_t i = 0; i < blocks.high * blocks.wide; i++) add_block(&blocks, i, sum);
  report->Ra_um = sum[1] / sum[0];
  report->Rq_um = sqrt(sum[2] / sum[0]);
  bootstrap(&blocks, report);
  memory_free(blocks.cell);
  if (w->volume && strcmp(w->params->noise, "subtract") == 0 && report->noise_um < report->Rq_um) {
    double kept = sqrt(1 - pow(report->noise_um / report->Rq_um, 2));
    report->Ra_um *= kept;
    report->Rq_um *= kept;
  }
  return STATUS_OK;
}

/* ---- volume and pores --------------------------------------------------------------------------------------------------- */

static enum status count_volume(const struct work *w, struct surface_report *report) {
  int64_t counts[3] = {0, 0, 0}; /* of the phase; under the surface; of these not of the phase */
  const struct grid_field *l = w->labels;
  const uint8_t *label       = (const uint8_t *)l->data + grid_field_origin(l);
  int64_t deep = (int64_t)(w->params->depth_um / l->voxel_um[0]), out = w->up ? 1 : -1;
  for (int64_t z = 0; z < l->mine.n[0]; z++)
    for (int64_t y = 0; y < l->mine.n[1]; y++)
      for (int64_t x = 0; x < l->mine.n[2]; x++)
        counts[0] += label[z * l->row[0] + y * l->row[1] + x] == w->params->phase;
  for (int64_t y = 0; y < l->mine.n[1]; y++)
    for (int64_t x = 0; x < l->mine.n[2]; x++) {
      int64_t top = in_view(w, y + l->mine.start[1], x) ? top_of(w, y, x) : -1;
      for (int64_t k = 1; top >= 0 && k <= deep; k++) {
        int64_t z = top - out * k;
        if (z < 0 || z >= l->plan.n[0]) break;
        counts[1]++;
        counts[2] += label[z * l->row[0] + y * l->row[1] + x] != w->params->phase;
      }
    }
  MPI_Allreduce(MPI_IN_PLACE, counts, 3, MPI_INT64_T, MPI_SUM, w->comm);
  report->phase_volume_um3 = (double)counts[0] * l->voxel_um[0] * l->voxel_um[1] * l->voxel_um[2];
  report->subsurface_pore_fraction =
      counts[1] ? (double)counts[2] / (double)counts[1] : (double)NAN;
  return STATUS_OK;
}

enum status surface_measure(MPI_Comm comm, const struct surface_params *params,
                            const struct grid_field *labels, const struct grid_field *volume,
                            struct grid_field *height, struct surface_report *report) {
  struct work w = {.comm = comm, .params = params, .labels = labels, .volume = volume};
  memset(height, 0, sizeof *height);
  memset(report, 0, sizeof *report);
  w.up = strcmp(params->side, "z+") == 0;
  TRY_ALL(comm, fault_here("surface.measure"));
  TRY_ALL(comm, parse_view(params, labels->plan.n[0], &w.view));
  enum status status = find_bulk(&w);
  if (status == STATUS_OK && volume) status = find_greys(&w);
  if (status == STATUS_OK) status = make_heights(&w, height, &report->noise_um);
  if (status == STATUS_OK) status = find_roughness(&w, height, report);
  if (status == STATUS_OK) status = count_volume(&w, report);
  grid_field_free(&w.bulk);
  if (status != STATUS_OK) grid_field_free(height);
  return status;
}
