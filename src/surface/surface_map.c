/* Form and filters of a height map. Form: normal equations of up to six terms in positions scaled to -1..1, solved by
 * elimination; a term that the heights do not determine stays 0. Filters: two passes along x and y, over the heights
 * and over their number, cut off at one cutoff from the middle (weights below 1e-6 there). */
#include "surface_map.h"
#include <math.h>
#include <string.h>

enum { TERMS = 6 };

static void terms_of(const struct surface_map *map, int64_t y, int64_t x, double term[TERMS]) {
  double v                = map->ny > 1 ? 2 * (double)y / (double)(map->ny - 1) - 1 : 0,
         u                = map->nx > 1 ? 2 * (double)x / (double)(map->nx - 1) - 1 : 0;
  const double all[TERMS] = {1, u, v, u * u, u * v, v * v};
  memcpy(term, all, sizeof all);
}

static int64_t normal_equations(const struct surface_map *map, int terms,
                                double m[TERMS][TERMS + 1]) {
  double term[TERMS];
  int64_t points = 0;
  memset(m, 0, TERMS * sizeof *m);
  for (int64_t y = 0; y < map->ny; y++)
    for (int64_t x = 0; x < map->nx; x++) {
      float z = map->z[y * map->nx + x];
      if (isnan(z)) continue;
      terms_of(map, y, x, term);
      for (int i = 0; i < terms; i++) {
        for (int k = 0; k < terms; k++) m[i][k] += term[i] * term[k];
        m[i][TERMS] += term[i] * (double)z;
      }
      points++;
    }
  return points;
}

/* The matrix is symmetric and not negative, so pivots stand on its diagonal. */
static void solve(int terms, double m[TERMS][TERMS + 1], double form[TERMS]) {
  double first[TERMS];
  bool known[TERMS] = {false};
  for (int i = 0; i < terms; i++) first[i] = m[i][i];
  for (int i = 0; i < terms; i++) {
    if (!(m[i][i] > 1e-9 * first[i])) continue;
    known[i] = true;
    for (int r = 0; r < terms; r++) {
      double part = m[r][i] / m[i][i];
      if (r == i) continue;
      for (int k = 0; k <= TERMS; k++) m[r][k] -= part * m[i][k];
    }
  }
  for (int i = 0; i < TERMS; i++) form[i] = i < terms && known[i] ? m[i][TERMS] / m[i][i] : 0;
}

enum status surface_map_level(struct surface_map *map, enum surface_form form) {
  double m[TERMS][TERMS + 1], found[TERMS], term[TERMS];
  int terms = form == SURFACE_MEAN ? 1 : form == SURFACE_PLANE ? 3 : TERMS;
  if (normal_equations(map, terms, m) == 0)
    return FAIL(STATUS_INPUT, "no column of the field has a surface");
  solve(terms, m, found);
  for (int64_t y = 0; y < map->ny; y++)
    for (int64_t x = 0; x < map->nx; x++) {
      double z = (double)map->z[y * map->nx + x];
      terms_of(map, y, x, term);
      for (int i = 0; i < terms; i++) z -= found[i] * term[i];
      map->z[y * map->nx + x] = (float)z;
    }
  return STATUS_OK;
}

/* ---- filters ---------------------------------------------------------------------------------------------- */

static int64_t weights_of(double cutoff_um, double step_um, double *weight, int64_t most) {
  int64_t reach = (int64_t)ceil(cutoff_um / step_um);
  if (reach > most) reach = most;
  for (int64_t k = 0; weight && k <= reach; k++) {
    double r  = (double)k * step_um / cutoff_um;
    weight[k] = exp(-PI * PI / log(2) * r * r);
  }
  return reach;
}

/* to[i] = sum of weight[|k|] from[i + k] along a line of n, where from is known. */
static void pass(const double *from, double *to, int64_t n, int64_t stride, const double *weight,
                 int64_t reach) {
  for (int64_t i = 0; i < n; i++) {
    int64_t low = i < reach ? i : reach, high = n - 1 - i < reach ? n - 1 - i : reach;
    double sum = 0;
    for (int64_t k = -low; k <= high; k++) sum += weight[k < 0 ? -k : k] * from[(i + k) * stride];
    to[i * stride] = sum;
  }
}

static void both_passes(const struct surface_map *map, double *data, double *scratch,
                        const double *weight[2], const int64_t reach[2]) {
  for (int64_t y = 0; y < map->ny; y++)
    pass(data + y * map->nx, scratch + y * map->nx, map->nx, 1, weight[1], reach[1]);
  for (int64_t x = 0; x < map->nx; x++)
    pass(scratch + x, data + x, map->ny, map->nx, weight[0], reach[0]);
}

static void apply(struct surface_map *map, bool high, double *sum, double *share, double *scratch,
                  const double *weight[2], const int64_t reach[2]) {
  int64_t n = map->ny * map->nx;
  for (int64_t i = 0; i < n; i++) {
    share[i] = !isnan(map->z[i]);
    sum[i]   = share[i] > 0 ? (double)map->z[i] : 0;
  }
  both_passes(map, sum, scratch, weight, reach);
  both_passes(map, share, scratch, weight, reach);
  for (int64_t i = 0; i < n; i++) {
    double smooth = sum[i] / share[i];
    if (!isnan(map->z[i])) map->z[i] = (float)(high ? (double)map->z[i] - smooth : smooth);
  }
}

enum status surface_map_filter(struct surface_map *map, double cutoff_um, bool high) {
  int64_t n              = map->ny * map->nx;
  const int64_t reach[2] = {weights_of(cutoff_um, map->step_um[0], NULL, map->ny),
                            weights_of(cutoff_um, map->step_um[1], NULL, map->nx)};
  double *all;
  if (cutoff_um <= 0) return STATUS_OK;
  TRY(memory_make(3 * n + reach[0] + reach[1] + 2, sizeof *all, "a filtered map", &all));
  double *weight_y = all + 3 * n, *weight_x = weight_y + reach[0] + 1;
  weights_of(cutoff_um, map->step_um[0], weight_y, map->ny);
  weights_of(cutoff_um, map->step_um[1], weight_x, map->nx);
  const double *weight[2] = {weight_y, weight_x};
  apply(map, high, all, all + n, all + 2 * n, weight, reach);
  memory_free(all);
  return STATUS_OK;
}
