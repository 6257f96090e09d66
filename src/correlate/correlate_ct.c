/* The tomography of the states: labels by whole columns, in the slices that slabs can reach; what each pixel of the
 * Compton grid sees of it. */
#include "correlate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---------------------------------------------------------------------------------------------- */

static enum status check_shape(struct correlate_work *w, const struct store_info *info) {
  for (int a = 0; a < 3; a++) {
    if (!(info->voxel_um[a] > 0))
      return FAIL(STATUS_INPUT, "%s has no voxel size, and slabs are in um", info->file);
    if (w->n_ct[a] && w->n_ct[a] != info->n[a])
      return FAIL(STATUS_INPUT, "%s has %lld voxels along %c, the first state has %lld", info->file,
                  (long long)info->n[a], "zyx"[a], (long long)w->n_ct[a]);
  }
  memcpy(w->n_ct, info->n, sizeof w->n_ct);
  memcpy(w->voxel_um, info->voxel_um, sizeof w->voxel_um);
  return STATUS_OK;
}

static enum status read_labels(struct correlate_work *w, const char *name,
                               struct grid_field *labels) {
  MPI_Comm comm = w->job->comm;
  struct store_input *input;
  struct grid_plan slabs;
  TRY(store_open(comm, name, "labels", 3, &input));
  enum status status = AGREE(comm, check_shape(w, store_info(input)));
  if (status == STATUS_OK)
    status = AGREE(comm, grid_plan_slabs(comm, store_info(input)->n, 1, &slabs));
  if (status == STATUS_OK) {
    status = grid_field_make(comm, &slabs, GRID_U8, NULL, labels);
    grid_plan_free(&slabs);
  }
  if (status == STATUS_OK) status = store_read_field(comm, input, true, labels);
  memcpy(labels->voxel_um, w->voxel_um, sizeof w->voxel_um);
  store_close(&input);
  return status;
}

/* Same rows as the labels; *height stays NULL where there is no map. */
static enum status read_height(struct correlate_work *w, const struct stage_bundle *state,
                               const struct grid_field *labels, float **height) {
  MPI_Comm comm = w->job->comm;
  char name[STORE_NAME_BYTES];
  struct store_input *input;
  const int64_t *n = labels->plan.n;
  int64_t start[2] = {labels->mine.start[1], 0}, here[2] = {labels->mine.n[1], n[2]};
  *height = NULL;
  if (!stage_bundle_find(state, "height", false, name, sizeof name)) return STATUS_OK;
  if (!labels->mine.n[0] || !here[0]) start[0] = here[0] = here[1] = 0;
  TRY(store_open(comm, name, "height", 2, &input));
  const struct store_info *info = store_info(input);
  enum status status = AGREE(
      comm, info->n[0] == n[1] && info->n[1] == n[2]
                ? memory_make(here[0] * here[1], sizeof **height, "a height map", height)
                : FAIL(STATUS_INPUT, "%s has %lld x %lld columns, the labels have %lld x %lld",
                       info->file, (long long)info->n[0], (long long)info->n[1], (long long)n[1],
                       (long long)n[2]));
  if (status == STATUS_OK)
    status = store_read_box(comm, input, start, here, GRID_F32, false, *height);
  store_close(&input);
  return status;
}

static void read_result(const struct config_node *results, const char *name, double *value,
                        double *sigma) {
  const struct config_node *row = config_get(results, name);
  const char *v = config_scalar(config_get(row, "value")), *s = config_scalar(config_get(row, "sigma"));
  *value = v && strcmp(v, "null") != 0 ? strtod(v, NULL) : (double)NAN;
  *sigma = s ? strtod(s, NULL) : (double)NAN;
}

/* Roughness as the surface's result has it. */
static enum status read_roughness(struct correlate_work *w, struct correlate_state *state) {
  enum { BYTES = 1 << 16 };
  MPI_Comm comm = w->job->comm;
  char name[STORE_NAME_BYTES], *text;
  bool found;
  struct config_file *file;
  if (!stage_bundle_find(state->bundle, "height", false, name, sizeof name)) return STATUS_OK;
  char *colon = strrchr(name, ':');
  if (colon) *colon = 0;
  TRY_ALL(comm, memory_make(BYTES, 1, "results of a surface", &text));
  enum status status =
      store_get_text(comm, name, "/entry/process/results_json", &found, text, BYTES);
  if (status == STATUS_OK && found) {
    status = AGREE(comm, config_file_parse(name, text, (int64_t)strlen(text), &file));
    if (status == STATUS_OK) {
      const struct config_node *results = config_get(config_root(file), "results");
      read_result(results, "Ra_um", &state->Ra_um, &state->Ra_sigma);
      read_result(results, "Rq_um", &state->Rq_um, &state->Rq_sigma);
      config_file_close(&file);
    }
  }
  memory_free(text);
  return status;
}

/* ---- flux ----------------------------------------------------------------------------------------------------- */

/* The box of the labels in which flux was solved; its n 0 where the file does not say. */
static enum status flux_box(struct correlate_work *w, const char *name, struct grid_box *box) {
  char file[STORE_NAME_BYTES], text[128];
  long long first[3], behind[3];
  bool found = false;
  memset(box, 0, sizeof *box);
  snprintf(file, sizeof file, "%s", name);
  char *colon = strrchr(file, ':');
  if (!colon) return STATUS_OK;
  *colon = 0;
  TRY(store_has(w->job->comm, file, "/entry/flux/data", &found));
  if (found)
    TRY(store_get_text(w->job->comm, file, "/entry/process/box", &found, text, sizeof text));
  if (!found || sscanf(text, "%lld:%lld,%lld:%lld,%lld:%lld", &first[0], &behind[0], &first[1],
                       &behind[1], &first[2], &behind[2]) != 6)
    return STATUS_OK;
  for (int a = 0; a < 3; a++) {
    if (first[a] < 0 || behind[a] > w->n_ct[a] || behind[a] <= first[a]) return STATUS_OK;
    box->start[a] = first[a];
    box->n[a]     = behind[a] - first[a];
  }
  return STATUS_OK;
}

/* Means over the box's slices of this rank's rows y0 .. y1 - 1 of the labels. */
static void flux_means(struct correlate_columns *c, const struct grid_box *box, int64_t y0,
                       int64_t y1, const float *part) {
  for (int64_t i = 0; i < c->ny_here * c->nx; i++) c->flux[i] = NAN;
  for (int64_t y = y0; y < y1; y++)
    for (int64_t x = 0; x < box->n[2]; x++) {
      double sum = 0;
      for (int64_t z = 0; z < box->n[0]; z++)
        sum += (double)part[(z * (y1 - y0) + y - y0) * box->n[2] + x];
      c->flux[(y - c->y0) * c->nx + box->start[2] + x] = (float)(sum / (double)box->n[0]);
    }
}

static enum status read_flux(struct correlate_work *w, struct correlate_state *state) {
  MPI_Comm comm               = w->job->comm;
  struct correlate_columns *c = &state->columns;
  char name[STORE_NAME_BYTES];
  struct grid_box box;
  struct store_input *input;
  float *part = NULL;
  int there   = stage_bundle_find(state->bundle, "flux", false, name, sizeof name) != NULL;
  MPI_Bcast(&there, 1, MPI_INT, 0, comm);
  if (!there) return STATUS_OK;
  TRY(flux_box(w, name, &box));
  if (!box.n[0]) return STATUS_OK;
  TRY(store_open(comm, name, "flux", 3, &input));
  const int64_t *n = store_info(input)->n;
  int64_t y0 = c->y0 > box.start[1] ? c->y0 : box.start[1], end = box.start[1] + box.n[1],
          y1       = c->y0 + c->ny_here < end ? c->y0 + c->ny_here : end;
  bool any         = y1 > y0;
  int64_t start[3] = {0, any ? y0 - box.start[1] : 0, 0},
          here[3]  = {any ? n[0] : 0, any ? y1 - y0 : 0, any ? n[2] : 0};
  bool fits = n[0] == box.n[0] && n[1] == box.n[1] && n[2] == box.n[2];
  enum status status = STATUS_OK;
  if (fits) {
    status = memory_make(here[0] * here[1] * here[2], sizeof *part, "a flux", &part);
    if (status == STATUS_OK)
      status = memory_make(c->ny_here * c->nx, sizeof *c->flux, "a map of flux", &c->flux);
    status = AGREE(comm, status);
    if (status == STATUS_OK) status = store_read_box(comm, input, start, here, GRID_F32, false, part);
    if (status == STATUS_OK) flux_means(c, &box, any ? y0 : 0, any ? y1 : 0, part);
  }
  memory_free(part);
  store_close(&input);
  return status;
}

static enum status read_state(struct correlate_work *w, struct correlate_state *state,
                              const char *name) {
  struct grid_field labels;
  float *height = NULL;
  memset(&labels, 0, sizeof labels);
  enum status status = read_labels(w, name, &labels);
  if (status == STATUS_OK) status = read_height(w, state->bundle, &labels, &height);
  if (status == STATUS_OK)
    status = correlate_columns_make(w->job->comm, w->params, &labels, height, &state->columns);
  if (status == STATUS_OK) status = correlate_attenuation_read(w, state, &labels);
  grid_field_free(&labels);
  memory_free(height);
  if (status == STATUS_OK)
    status = correlate_heights_make(w->job->comm, &state->columns, 0.5 * w->params->disc_mm,
                                    &state->heights);
  if (status == STATUS_OK) status = read_roughness(w, state);
  if (status == STATUS_OK) status = read_flux(w, state);
  state->has_ct = status == STATUS_OK && state->heights.columns > 0;
  return status;
}

enum status correlate_ct_read(struct correlate_work *w) {
  char name[STORE_NAME_BYTES];
  for (int i = 0; i < w->states; i++) {
    struct correlate_state *state = &w->state[i];
    int there = stage_bundle_find(state->bundle, "labels", false, name, sizeof name) != NULL;
    MPI_Bcast(&there, 1, MPI_INT, 0, w->job->comm);
    if (!there) continue;
    TRY(stop_agree(w->job->comm));
    TRY(read_state(w, state, name));
    if (!state->has_ct)
      log_warning("%s: no column of its labels has lithium below a cathode; its tomography is "
                  "left out",
                  state->bundle->state);
  }
  return STATUS_OK;
}

/* ---- maps of columns ---------------------------------------------------------------------------------------- */

void correlate_slab_of(const struct correlate_work *w, int state, int region,
                       struct correlate_slab *slab) {
  *slab = (struct correlate_slab){w->state[state].height_um[region] + w->slab_shift_um,
                                  w->params->slab_um, w->params->slab_edge_um};
}

enum column_map {
  BELOW_TOP,
  BELOW_FACE,
  BELOW_ROOF,
  HEIGHT,
  ROUGHNESS,
  PORES,
  TOUCH,
  FLUX,
  COVER,
  DENSITY
};

struct plane {
  double mean, slope_y, slope_x, middle_y, middle_x;
};

static float column_value(const struct correlate_work *w, int state, int region,
                          enum column_map what, const struct plane *plane, int64_t y, int64_t x) {
  const struct correlate_columns *c = &w->state[state].columns;
  int64_t at                        = y * c->nx + x;
  double top = (double)c->top[at], face = (double)c->face[at], fraction[CORRELATE_C],
         density[CORRELATE_C], sum = 0;
  struct correlate_slab slab;
  correlate_slab_of(w, state, region, &slab);
  switch (what) {
  case BELOW_TOP: return isnan(top) ? NAN : (float)correlate_slab_below(&slab, top);
  case BELOW_FACE: return isnan(face) ? NAN : (float)correlate_slab_below(&slab, face);
  case BELOW_ROOF:
    return isnan(face) ? NAN : (float)correlate_slab_below(&slab, face + w->params->cathode_um);
  case HEIGHT: return c->top[at];
  case ROUGHNESS:
    return (float)fabs(top - plane->mean -
                       plane->slope_y * ((double)(c->y0 + y) - plane->middle_y) -
                       plane->slope_x * ((double)x - plane->middle_x));
  case PORES: return (float)((double)c->pores[at] / w->params->pores_depth_um);
  case TOUCH: return c->touch[at];
  case FLUX: return c->flux[at];
  case COVER: return isnan(top) ? 0.0F : 1.0F;
  case DENSITY:
    if (isnan(top)) return 0;
    correlate_slab_column(w->params, &slab, top, isnan(face) ? top : face, (double)c->pores[at],
                          fraction);
    if (isnan(face)) fraction[CORRELATE_CATHODE] = 0;
    correlate_densities(density);
    for (int k = 0; k < CORRELATE_C; k++) sum += fraction[k] * density[k];
    return (float)sum;
  }
  return NAN;
}

/* The map of all columns on every rank. */
static enum status whole_map(struct correlate_work *w, int state, int region, enum column_map what,
                             const struct plane *plane, double *map) {
  const struct correlate_columns *c = &w->state[state].columns;
  MPI_Comm comm                     = w->job->comm;
  float *mine;
  TRY_ALL(comm, memory_make(c->ny_here * c->nx, sizeof *mine, "a map of columns", &mine));
  for (int64_t y = 0; y < c->ny_here; y++)
    for (int64_t x = 0; x < c->nx; x++)
      mine[y * c->nx + x] = column_value(w, state, region, what, plane, y, x);
  enum status status = correlate_columns_gather(comm, c, mine, map);
  memory_free(mine);
  return status;
}

enum status correlate_ct_density(struct correlate_work *w, int state, int region, double *map) {
  return whole_map(w, state, region, DENSITY, NULL, map);
}

/* Least-squares plane of a map within the field. */
static struct plane plane_of(const struct correlate_work *w, const double *map) {
  int64_t ny = w->n_ct[1], nx = w->n_ct[2];
  struct plane p = {0, 0, 0, 0.5 * (double)(ny - 1), 0.5 * (double)(nx - 1)};
  double n = 0, s[3] = {0}, m[3][3] = {{0}}, radius_um = 500 * w->params->disc_mm;
  for (int64_t y = 0; y < ny; y++)
    for (int64_t x = 0; x < nx; x++) {
      double h = map[y * nx + x], q[3] = {1, (double)y - p.middle_y, (double)x - p.middle_x};
      if (isnan(h)) continue;
      if (radius_um > 0 && hypot(q[1] * w->voxel_um[1], q[2] * w->voxel_um[2]) > radius_um) continue;
      n++;
      for (int i = 0; i < 3; i++) {
        s[i] += q[i] * h;
        for (int j = 0; j < 3; j++) m[i][j] += q[i] * q[j];
      }
    }
  if (n < 3) return p;
  for (int k = 0; k < 3; k++) /* elimination; the matrix is positive */
    for (int i = 0; i < 3; i++) {
      if (i == k || !(m[k][k] > 0)) continue;
      double f = m[i][k] / m[k][k];
      for (int j = 0; j < 3; j++) m[i][j] -= f * m[k][j];
      s[i] -= f * s[k];
    }
  p.mean = s[0] / m[0][0], p.slope_y = s[1] / m[1][1], p.slope_x = s[2] / m[2][2];
  return p;
}

/* ---- projection ----------------------------------------------------------------------------------------------- */

/* Ranks share the detector's rows. */
static enum status project(struct correlate_work *w, const double *map, double *out) {
  MPI_Comm comm = w->job->comm;
  int rank, size;
  struct pinhole_map sums;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  TRY_ALL(comm, pinhole_map_make(map, w->n_ct[1], w->n_ct[2], 1e-3 * w->voxel_um[2], &sums));
  int64_t rows = w->camera.rows, row0 = rows * rank / size, row1 = rows * (rank + 1) / size;
  for (int64_t i = 0; i < w->pixels; i++) out[i] = 0;
  pinhole_project_rows(&w->camera, &w->fit.at, &sums, row0, row1, out);
  pinhole_map_free(&sums);
  /* one rank has each pixel: a sum with zeros, but NaN would spread no further than its pixel */
  MPI_Allreduce(MPI_IN_PLACE, out, (int)w->pixels, MPI_DOUBLE, MPI_SUM, comm);
  return STATUS_OK;
}

static enum status project_state(struct correlate_work *w, int i, double *map) {
  struct correlate_pixels *to = &w->state[i].pixels;
  struct plane plane;
  TRY(whole_map(w, i, 0, HEIGHT, NULL, map));
  plane = plane_of(w, map);
  TRY(project(w, map, to->height));
  TRY(whole_map(w, i, 0, ROUGHNESS, &plane, map));
  TRY(project(w, map, to->Ra));
  TRY(whole_map(w, i, 0, PORES, NULL, map));
  TRY(project(w, map, to->pores));
  TRY(whole_map(w, i, 0, TOUCH, NULL, map));
  TRY(project(w, map, to->touch));
  TRY(whole_map(w, i, 0, COVER, NULL, map));
  TRY(project(w, map, to->cover));
  for (int64_t p = 0; p < w->pixels; p++) to->flux[p] = (double)NAN;
  if (w->state[i].columns.flux) {
    TRY(whole_map(w, i, 0, FLUX, NULL, map));
    TRY(project(w, map, to->flux));
  }
  for (int r = 0; r < w->regions; r++)
    for (int k = 0; k < 3; k++) {
      if (!isfinite(w->state[i].height_um[r])) continue;
      TRY(whole_map(w, i, r, (enum column_map)(BELOW_TOP + k), NULL, map));
      TRY(project(w, map, to->below + (r * 3 + k) * w->pixels));
    }
  return STATUS_OK;
}

enum status correlate_ct_project(struct correlate_work *w) {
  MPI_Comm comm = w->job->comm;
  double *map   = NULL;
  if (!w->n_ct[0]) return STATUS_OK;
  TRY_ALL(comm, memory_make(w->n_ct[1] * w->n_ct[2], sizeof *map, "a map of columns", &map));
  enum status status = STATUS_OK;
  for (int i = 0; i < w->states && status == STATUS_OK; i++) {
    struct correlate_pixels *to = &w->state[i].pixels;
    if (!w->state[i].has_ct) continue;
    status = AGREE(comm, memory_make((w->regions * 3 + 6) * w->pixels, sizeof *to->below,
                                     "what pixels see", &to->below));
    if (status != STATUS_OK) break;
    to->height = to->below + w->regions * 3 * w->pixels;
    to->Ra     = to->height + w->pixels;
    to->pores  = to->Ra + w->pixels;
    to->touch  = to->pores + w->pixels;
    to->flux   = to->touch + w->pixels;
    to->cover  = to->flux + w->pixels;
    status     = stop_agree(comm);
    if (status == STATUS_OK) status = project_state(w, i, map);
  }
  memory_free(map);
  return status;
}
