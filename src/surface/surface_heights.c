/* Heights of columns. The grey values of both sides are means over voxels that lie two to five under the surface and two
 * and three over it; a threshold stands midway. Along the column grey values are smoothed by (1 2 1)/4: an edge keeps its
 * place, and at a contrast of four times the noise the crossing stays linear in the noise (without, the slope between
 * two voxels is itself lost in noise, and crossings stray by half as much again as propagation says). A crossing at the
 * share t between two smoothed values then has the variance of the four voxels' weights over the square of the slope;
 * the mean square of the slopes is taken less the noise in it. */
#include "surface_private.h"
#include <math.h>
#include <string.h>

/* ---- grey values of both sides ------------------------------------------------------------------------------ */

enum { SUM_IN, SUM_IN2, COUNT_IN, SUM_OUT, COUNT_OUT };

static void sample_column(const struct surface_work *w, int64_t y, int64_t x, int64_t top,
                          struct exact_sum *sums) {
  int64_t nz = w->n[0], out = w->up ? 1 : -1;
  for (int64_t k = 2; k <= 5; k++) {
    int64_t z = top - out * k;
    if (z < 0 || z >= nz || surface_kind_at(w, z, y, x) != KIND_BULK) break;
    double grey = surface_grey_at(w, z, y, x);
    exact_add(&sums[SUM_IN], grey);
    exact_add(&sums[SUM_IN2], grey * grey);
    exact_add(&sums[COUNT_IN], 1);
  }
  for (int64_t k = 2; k <= 3; k++) {
    int64_t z = top + out * k;
    if (z < 0 || z >= nz) break;
    exact_add(&sums[SUM_OUT], surface_grey_at(w, z, y, x));
    exact_add(&sums[COUNT_OUT], 1);
  }
}

void surface_greys_add(const struct surface_work *w, struct exact_sum *sums) {
  for (int64_t y = 0; y < w->rows; y++)
    for (int64_t x = 0; x < w->n[2]; x++) {
      int64_t top = surface_top(w, y, x);
      if (top >= 0) sample_column(w, y, x, top, sums);
    }
}

enum status surface_greys_find(struct surface_work *w, struct exact_sum *sums) {
  TRY(exact_allreduce(w->comm, sums, SURFACE_GREY_SUMS));
  double in = exact_value(&sums[COUNT_IN]), out = exact_value(&sums[COUNT_OUT]);
  w->inside  = exact_value(&sums[SUM_IN]) / in;
  w->outside = exact_value(&sums[SUM_OUT]) / out;
  w->noise   = sqrt(fmax(exact_value(&sums[SUM_IN2]) / in - w->inside * w->inside, 0));
  if (in == 0 || out == 0)
    return AGREE(w->comm,
                 FAIL(STATUS_INPUT,
                      "no column has a voxel of the bulk two under its surface and one two "
                      "over it, so the grey values of both sides are not known; use "
                      "--subvoxel no"));
  if (isfinite(w->inside) && isfinite(w->outside) && w->inside != w->outside) return STATUS_OK;
  return AGREE(w->comm,
               FAIL(STATUS_INPUT,
                    "the volume has no two different grey values on both sides of the surface "
                    "(%g and %g), so no position below a voxel can be found; use --subvoxel no",
                    w->inside, w->outside));
}

/* ---- a column -------------------------------------------------------------------------------------------------- */

static double smooth_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  int64_t last = w->n[0] - 1, a = z > 0 ? z - 1 : 0, b = z < last ? z + 1 : last;
  return 0.25 * (surface_grey_at(w, a, y, x) + 2 * surface_grey_at(w, z, y, x) +
                 surface_grey_at(w, b, y, x));
}

enum { N_COLUMNS, N_WEIGHTS, N_SLOPE2, N_CROSSINGS };

static void add_noise(double share, double slope, struct exact_sum *sums) {
  double w = (1 - share) * (1 - share) + (2 - share) * (2 - share) + (1 + share) * (1 + share) +
             share * share;
  exact_add(&sums[N_CROSSINGS], 1);
  exact_add(&sums[N_WEIGHTS], w / 16);
  exact_add(&sums[N_SLOPE2], slope * slope);
}

/* Crossing of a grey value along the column, in voxels from the middle of voxel `top` outwards: the one nearest to its
 * outer face, which stands where there is none within two voxels and a half. */
static double crossing(const struct surface_work *w, int64_t y, int64_t x, int64_t top,
                       double level, struct exact_sum *sums) {
  int64_t nz = w->n[0], out = w->up ? 1 : -1;
  double sign = w->inside > w->outside ? 1 : -1, best = 0.5, found = 0, slope = 0;
  for (int64_t k = -2; k <= 2; k++) {
    int64_t a = top + out * k, b = a + out;
    if (a < 0 || a >= nz || b < 0 || b >= nz) continue;
    double low  = sign * (smooth_at(w, a, y, x) - level),
           high = sign * (smooth_at(w, b, y, x) - level);
    if (!(low >= 0 && high < 0)) continue;
    double share = low / (low - high), at = (double)k + share;
    if (slope > 0 && fabs(at - 0.5) >= fabs(best - 0.5)) continue;
    best = at, found = share, slope = low - high;
  }
  if (sums && slope > 0) add_noise(found, slope, sums);
  return best;
}

double surface_noise_um(const struct surface_work *w, const struct exact_sum *sums) {
  double n = exact_value(&sums[N_CROSSINGS]), all = exact_value(&sums[N_COLUMNS]);
  double noise2 = w->noise * w->noise;
  double slope2 = exact_value(&sums[N_SLOPE2]) / n - noise2 / 4;
  if (!(n > 0 && slope2 > 0)) return (double)NAN;
  return sqrt(noise2 * exact_value(&sums[N_WEIGHTS]) / n / slope2 * n / all) * w->voxel_um[0];
}

static double place_um(const struct surface_work *w, int64_t y, int64_t x, int64_t top,
                       double level, struct exact_sum *sums) {
  double step = w->source->volume ? crossing(w, y, x, top, level, sums) : 0.5;
  return ((double)top + 0.5 + (w->up ? step : -step)) * w->voxel_um[0];
}

double surface_height_um(const struct surface_work *w, int64_t y, int64_t x, int64_t top) {
  return place_um(w, y, x, top, 0.5 * (w->inside + w->outside), NULL);
}

void surface_heights_fill(const struct surface_work *w, double moved, struct grid_field *height,
                          struct exact_sum *sums) {
  double level = 0.5 * (w->inside + w->outside) + moved * (w->inside - w->outside);
  float *to    = (float *)height->data + surface_place(w, 0, 0);
  for (int64_t y = 0; y < w->rows; y++)
    for (int64_t x = 0; x < w->n[2]; x++) {
      int64_t top = surface_top(w, y, x);
      *to++       = top < 0 ? NAN : (float)place_um(w, y, x, top, level, sums);
      if (sums && top >= 0) exact_add(&sums[N_COLUMNS], 1);
    }
}

enum status surface_field_make(struct surface_work *w, struct grid_field *map) {
  const int64_t n[3] = {1, w->n[1], w->n[2]};
  struct grid_plan plan;
  TRY_ALL(w->comm, grid_plan_slabs(w->comm, n, 1, &plan));
  enum status status = grid_field_make(w->comm, &plan, GRID_F32, NULL, map);
  grid_plan_free(&plan);
  for (int a = 0; a < 3; a++) map->voxel_um[a] = w->voxel_um[a];
  return status;
}

/* ---- to one rank ------------------------------------------------------------------------------------------------- */

static enum status gather_room(const struct grid_field *from, int **counts, int64_t *most) {
  *most = from->plan.n[1] * from->plan.n[2];
  TRY(base_int_from(*most, "columns of a map", &(int){0}));
  return memory_make(2 * (int64_t)from->plan.size, sizeof **counts, "shares of a map", counts);
}

enum status surface_map_gather(struct surface_work *w, const struct grid_field *from,
                               struct surface_map *map) {
  int *count  = NULL;
  int64_t all = 0;
  int size = from->plan.size, rank = from->plan.rank;
  *map = (struct surface_map){
      from->plan.n[1], from->plan.n[2], {from->voxel_um[1], from->voxel_um[2]},
        NULL
  };
  enum status status = gather_room(from, &count, &all);
  if (status == STATUS_OK && rank == 0)
    status = memory_make_raw(all, sizeof *map->z, "a map", &map->z);
  status = AGREE(w->comm, status);
  for (int r = 0; r < size && status == STATUS_OK; r++) {
    struct grid_box box = grid_plan_box(&from->plan, r);
    count[r]            = (int)grid_box_voxels(&box);
    count[size + r]     = (int)(box.start[1] * box.n[2]);
  }
  if (status == STATUS_OK)
    MPI_Gatherv(from->data, count[rank], MPI_FLOAT, map->z, count, count + size, MPI_FLOAT, 0,
                w->comm);
  memory_free(count);
  if (status != STATUS_OK) {
    memory_free(map->z);
    map->z = NULL;
  }
  return status;
}
