/* Registration of a cycle: once, by the first state that both methods have seen, since tomography is aligned to the first
 * state and the Compton camera keeps its place; the height of the slabs by all states together. Then the field: the
 * pixels that count. */
#include "correlate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int first_with_both(const struct correlate_work *w) {
  for (int i = 0; i < w->states; i++)
    if (w->state[i].has_ct && w->state[i].has_seen) return i;
  return -1;
}

/* ---- transmissions ---------------------------------------------------------------------------------------- */

/* Where layers are, as the tomography shows them through the registration at hand. */
static enum status presence_of_ct(struct correlate_work *w, int state, double *presence) {
  const struct correlate_columns *c = &w->state[state].columns;
  MPI_Comm comm                     = w->job->comm;
  int64_t columns                   = c->ny * c->nx;
  double *map[2]                    = {NULL, NULL};
  struct pinhole_map sums           = {0};
  enum status status = memory_make(columns, sizeof **map, "a map of layers", &map[0]);
  if (status == STATUS_OK) status = memory_make(columns, sizeof **map, "a map of layers", &map[1]);
  status = AGREE(comm, status);
  if (status == STATUS_OK) status = correlate_columns_gather(comm, c, c->top, map[0]);
  if (status == STATUS_OK) status = correlate_columns_gather(comm, c, c->face, map[1]);
  for (int k = 0; k < 2 && status == STATUS_OK; k++) {
    for (int64_t i = 0; i < columns; i++) map[k][i] = !isnan(map[k][i]);
    status = AGREE(comm, pinhole_map_make(map[k], c->ny, c->nx, 1e-3 * c->voxel_um[2], &sums));
    if (status != STATUS_OK) break;
    pinhole_project_rows(&w->camera, &w->fit.at, &sums, 0, w->camera.rows,
                         presence + (k ? CORRELATE_CATHODE : CORRELATE_LI) * w->pixels);
    pinhole_map_free(&sums);
  }
  if (status == STATUS_OK)
    memcpy(presence + CORRELATE_SPE * w->pixels, presence + CORRELATE_LI * w->pixels,
           (size_t)w->pixels * sizeof *presence);
  memory_free(map[0]);
  memory_free(map[1]);
  return status;
}

static enum status find_transmissions(struct correlate_work *w, int state) {
  struct correlate_state tables;
  correlate_attenuation_tables(&tables);
  for (int64_t i = 0; i < CORRELATE_C * w->pixels; i++) w->transmission[i] = 1;
  if (!w->has_radii && state < 0) return STATUS_OK;
  if (!w->presence)
    TRY_ALL(w->job->comm,
            memory_make(CORRELATE_C * w->pixels, sizeof *w->presence, "layers", &w->presence));
  if (w->has_radii)
    correlate_presence_discs(&w->camera, w->radius_mm, w->presence);
  else
    TRY(presence_of_ct(w, state, w->presence));
  correlate_transmissions(&w->camera, w->presence, w->params,
                          state < 0 ? tables.mu_per_mm : w->state[state].mu_per_mm,
                          w->transmission);
  return STATUS_OK;
}

/* ---- in the plane ------------------------------------------------------------------------------------------- */

/* A region's density map with the transmissions taken out, each component weighing by its electrons. */
static void clear_map(const struct correlate_work *w, int state, int region, double *seen) {
  const struct correlate_state *s = &w->state[state];
  struct correlate_moves none     = {0};
  struct correlate_slab slab;
  double fraction[CORRELATE_C], density[CORRELATE_C], whole = 0;
  correlate_slab_of(w, state, region, &slab);
  correlate_slab_fractions(w->params, &slab, &s->heights, &none, fraction);
  correlate_densities(density);
  for (int c = 0; c < CORRELATE_C; c++) whole += fraction[c] * density[c];
  for (int64_t i = 0; i < w->pixels; i++) {
    double seen_part = 0;
    for (int c = 0; c < CORRELATE_C; c++)
      seen_part += fraction[c] * density[c] * w->transmission[c * w->pixels + i];
    seen[i] = s->seen.density[region * w->pixels + i] * (seen_part > 0 ? whole / seen_part : 1);
  }
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* What the labels' edges leave open, beside what the likeness tells. */
static void add_edges(struct correlate_work *w, const double *map) {
  double edge_mm = 1e-3 * w->params->edge_vox * w->voxel_um[2], cell = 0;
  for (int64_t i = 0; i < w->n_ct[1] * w->n_ct[2]; i++) cell += map[i] > 0;
  double radius_mm = 1e-3 * w->voxel_um[2] * sqrt(cell / PI);
  if (!(radius_mm > 0)) return;
  const double by[4] = {edge_mm / radius_mm, edge_mm / radius_mm * DEG_PER_RAD, edge_mm, edge_mm};
  for (int k = 0; k < 4; k++) w->fit.sigma[k] = hypot(w->fit.sigma[k], by[k]);
}

/* What the camera sees just beyond the cell: other layers are wider than the lithium, and would make it seem larger. The
 * median of pixels that see nothing of the cell and are at most NEAR pixels from one that does. */
static enum status level_beyond(struct correlate_work *w, const struct pinhole_map *sums,
                                const double *seen, double *level) {
  enum { NEAR = 3 };
  const double some = 1e-6; /* sums of running sums are not quite 0 */
  int64_t n = 0, rows = w->camera.rows, columns = w->camera.columns;
  double *cell, *beyond;
  TRY(memory_make(2 * w->pixels, sizeof *cell, "what lies beyond a cell", &cell));
  beyond = cell + w->pixels;
  pinhole_project_rows(&w->camera, &w->fit.at, sums, 0, rows, cell);
  for (int64_t i = 0; i < w->pixels; i++) {
    bool near = false;
    if (cell[i] > some || !isfinite(cell[i]) || !isfinite(seen[i])) continue;
    for (int64_t y = i / columns - NEAR; y <= i / columns + NEAR; y++)
      for (int64_t x = i % columns - NEAR; x <= i % columns + NEAR; x++)
        near |= y >= 0 && x >= 0 && y < rows && x < columns && cell[y * columns + x] > some;
    if (near) beyond[n++] = seen[i];
  }
  qsort(beyond, (size_t)n, sizeof *beyond, by_value);
  *level = n >= 16 ? beyond[n / 2] : 0;
  memory_free(cell);
  return STATUS_OK;
}

static struct pinhole_registration start_of(const struct correlate_params *p) {
  return (struct pinhole_registration){p->scale, p->rotation_deg, p->shift_x_mm, p->shift_y_mm};
}

static enum status register_once(struct correlate_work *w, int state, int region, double *map,
                                 double *seen) {
  MPI_Comm comm = w->job->comm;
  struct pinhole_map sums;
  TRY(correlate_ct_density(w, state, region, map));
  TRY_ALL(comm, pinhole_map_make(map, w->n_ct[1], w->n_ct[2], 1e-3 * w->voxel_um[2], &sums));
  clear_map(w, state, region, seen);
  double reach_mm = w->params->reach_mm * w->params->scale, level = 0;
  w->fit.at = start_of(w->params); /* where what is not told stays */
  enum status status = correlate_register(&w->camera, &sums, seen, reach_mm, &w->fit);
  if (status == STATUS_OK) status = level_beyond(w, &sums, seen, &level);
  if (status == STATUS_OK && level > 0) {
    for (int64_t i = 0; i < w->pixels; i++) seen[i] -= isfinite(seen[i]) ? fmin(seen[i], level) : 0;
    w->fit.at = start_of(w->params);
    status    = correlate_register(&w->camera, &sums, seen, reach_mm, &w->fit);
  }
  add_edges(w, map);
  pinhole_map_free(&sums);
  return AGREE(comm, status);
}

static enum status find_in_plane(struct correlate_work *w, int state) {
  double *map = NULL, *seen = NULL;
  int region         = w->params->register_region ? (int)w->params->register_region - 1 : 0;
  enum status status = STATUS_OK;
  if (region >= w->regions || !isfinite(w->state[state].height_um[region])) return STATUS_OK;
  status = memory_make(w->n_ct[1] * w->n_ct[2], sizeof *map, "a density map", &map);
  if (status == STATUS_OK) status = memory_make(w->pixels, sizeof *seen, "a density map", &seen);
  status = AGREE(w->job->comm, status);
  /* where the tomography itself gives the transmissions, the first pass goes without */
  for (int pass = w->has_radii; pass < 2 && status == STATUS_OK; pass++) {
    status = register_once(w, state, region, map, seen);
    if (status == STATUS_OK) status = find_transmissions(w, state);
  }
  w->fitted = status == STATUS_OK;
  memory_free(map);
  memory_free(seen);
  return status;
}

/* ---- the field ------------------------------------------------------------------------------------------------ */

static bool is_known(const struct correlate_work *w, int64_t pixel) {
  for (int i = 0; i < w->states; i++)
    for (int r = 0; r < w->regions && w->state[i].has_seen; r++) {
      int64_t at = r * w->pixels + pixel;
      if (!isfinite(w->state[i].seen.emf[at]) || !isfinite(w->state[i].seen.sum[at])) return false;
    }
  return true;
}

static void find_field(struct correlate_work *w, bool has_ct) {
  struct pinhole_registration plain = {1, 0, 0, 0};
  for (int64_t i = 0; i < w->pixels; i++) {
    double x_mm, y_mm, row = (double)(i / w->camera.columns), column = (double)(i % w->camera.columns);
    pinhole_sample_point(&w->camera, &w->fit.at, row, column, &x_mm, &y_mm);
    double r = hypot(x_mm, y_mm);
    w->field[i] = is_known(w, i);
    if (has_ct && w->params->disc_mm > 0) w->field[i] &= r <= 0.5 * w->params->disc_mm;
    if (!has_ct && w->has_radii)
      w->field[i] &= r <= w->fit.at.scale * 0.9 * w->radius_mm[CORRELATE_CATHODE];
    w->radius[i] = r / w->fit.at.scale;
    pinhole_sample_point(&w->camera, &plain, row, column, &w->x_mm[i], &w->y_mm[i]);
  }
}

/* ---- transmissions of the states ------------------------------------------------------------------------------ */

static void field_means(const struct correlate_work *w, const double *transmission,
                        double mean[CORRELATE_C]) {
  for (int c = 0; c < CORRELATE_C; c++) {
    double sum = 0, n = 0;
    for (int64_t i = 0; i < w->pixels; i++)
      if (w->field[i]) sum += transmission[c * w->pixels + i], n++;
    mean[c] = sum / n;
  }
}

/* Means over the field, and their errors by those of the attenuation. work[CORRELATE_C][pixels]. */
static void set_transmissions(const struct correlate_work *w, struct correlate_state *s,
                              double *work) {
  double square[CORRELATE_C] = {0}, mu[CORRELATE_C], other[CORRELATE_C];
  correlate_transmissions(&w->camera, w->presence, w->params, s->mu_per_mm, work);
  field_means(w, work, s->transmission);
  for (int k = 0; k < CORRELATE_C; k++) {
    memcpy(mu, s->mu_per_mm, sizeof mu);
    mu[k] += s->mu_sigma[k]; /* NaN, a table's, makes what hangs on it NaN */
    correlate_transmissions(&w->camera, w->presence, w->params, mu, work);
    field_means(w, work, other);
    for (int c = 0; c < CORRELATE_C; c++)
      square[c] += (other[c] - s->transmission[c]) * (other[c] - s->transmission[c]);
  }
  for (int c = 0; c < CORRELATE_C; c++) s->transmission_sigma[c] = sqrt(square[c]);
}

static enum status find_states_transmissions(struct correlate_work *w) {
  double *work;
  for (int i = 0; i < w->states; i++)
    for (int c = 0; c < CORRELATE_C; c++)
      w->state[i].transmission[c] = 1, w->state[i].transmission_sigma[c] = (double)NAN;
  if (!w->presence) return STATUS_OK;
  TRY(memory_make(CORRELATE_C * w->pixels, sizeof *work, "transmissions", &work));
  for (int i = 0; i < w->states; i++) set_transmissions(w, &w->state[i], work);
  memory_free(work);
  return STATUS_OK;
}

/* ---- along z ---------------------------------------------------------------------------------------------------- */

static bool level_of(const struct correlate_work *w, int state, struct correlate_level *level,
                     struct correlate_slab *slab) {
  const struct correlate_state *s = &w->state[state];
  int64_t n                       = 0;
  if (!s->has_ct || !s->has_seen) return false;
  *level = (struct correlate_level){.regions = w->regions, .heights = &s->heights};
  for (int64_t i = 0; i < w->pixels; i++) n += w->field[i];
  if (!n) return false;
  memcpy(level->transmission, s->transmission, sizeof level->transmission);
  for (int r = 0; r < w->regions; r++) {
    double variance = 0;
    for (int64_t i = 0; i < w->pixels; i++) {
      double d = s->seen.density[r * w->pixels + i], e = s->seen.density_sigma[r * w->pixels + i];
      if (!w->field[i] || !isfinite(d) || !isfinite(e)) continue;
      level->density[r] += d / (double)n;
      variance += e * e;
    }
    level->sigma[r] = sqrt(variance) / (double)n;
    if (!isfinite(s->height_um[r])) level->density[r] = 0;
    correlate_slab_of(w, state, r, &slab[r]);
  }
  return true;
}

static enum status find_height(struct correlate_work *w) {
  struct correlate_level *level = NULL;
  struct correlate_slab *slab   = NULL;
  int n                         = 0;
  enum status status            = memory_make(w->states, sizeof *level, "levels of slabs", &level);
  if (status == STATUS_OK)
    status = memory_make(w->states * CORRELATE_REGIONS_MOST, sizeof *slab, "slabs", &slab);
  for (int i = 0; i < w->states && status == STATUS_OK; i++)
    n += level_of(w, i, &level[n], slab + n * CORRELATE_REGIONS_MOST);
  if (status == STATUS_OK && n)
    status = correlate_slab_find(w->params, slab, level, n, 30, &w->slab_fit);
  memory_free(level);
  memory_free(slab);
  TRY(status);
  if (!n || isnan(w->slab_fit.sigma_um)) return STATUS_OK;
  w->slab_shift_um += w->slab_fit.shift_um;
  /* what the mixtures do not explain makes the height less certain */
  double worse = w->slab_fit.freedom > 0 ? w->slab_fit.chi2 / (double)w->slab_fit.freedom : 1;
  w->slab_sigma_um = w->slab_fit.sigma_um * sqrt(fmax(1, worse));
  return STATUS_OK;
}

enum status correlate_place(struct correlate_work *w) {
  const struct correlate_params *p = w->params;
  int state                        = first_with_both(w);
  bool search                      = state >= 0 && strcmp(p->registration, "auto") == 0;
  w->fit = (struct correlate_fit){
      .at      = start_of(p),
      .sigma   = {(double)NAN, (double)NAN, (double)NAN, (double)NAN},
      .quality = (double)NAN
  };
  w->slab_shift_um = p->slab_shift_um;
  w->slab_sigma_um = 1;
  w->slab_fit      = (struct correlate_slab_fit){0, (double)NAN, (double)NAN, 0};
  TRY(find_transmissions(w, state));
  if (search) TRY(find_in_plane(w, state));
  find_field(w, state >= 0);
  TRY_ALL(w->job->comm, find_states_transmissions(w));
  return search ? AGREE(w->job->comm, find_height(w)) : STATUS_OK;
}
