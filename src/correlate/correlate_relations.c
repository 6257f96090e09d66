/* Relations on maps: correlations of a region's factor and density with what the tomography shows, radial profiles, left
 * against right, middle against edge, Moran's I. Only what lies in the field counts, but for the edge. Pairs are dealt to
 * the ranks, and the draws of each start from its own seed, so the rank count changes nothing. */
#include "correlate_private.h"
#include "correlate_statistics.h"
#include <math.h>
#include <string.h>

struct pair {
  int state;
  enum correlate_map a, b;
  enum correlate_kind kind;
};

/* Bins whose pixels are all in the field (at least half of them); others become NaN. */
static void fielded(const struct correlate_work *w, const double *map, const double *inside,
                    double *out) {
  for (int64_t at = 0; at < w->ny * w->nx; at++) out[at] = inside[at] >= 0.5 ? map[at] : (double)NAN;
}

/* [5][ny nx]: share in the field, x, y, radius (mm), pixels. */
static void bin_places(const struct correlate_work *w, double *place) {
  int64_t bins = w->ny * w->nx, k = w->params->bin;
  double *count = place + 4 * bins;
  for (int64_t at = 0; at < 5 * bins; at++) place[at] = 0;
  for (int64_t i = 0; i < w->pixels; i++) {
    int64_t row = i / w->camera.columns, column = i % w->camera.columns, y, x;
    if (w->camera.beam_along_rows)
      y = w->camera.rows - 1 - row, x = w->camera.columns - 1 - column;
    else
      y = w->camera.columns - 1 - column, x = w->camera.rows - 1 - row;
    int64_t at = y / k * w->nx + x / k;
    place[at] += w->field[i];
    place[bins + at] += w->x_mm[i];
    place[2 * bins + at] += w->y_mm[i];
    place[3 * bins + at] += w->radius[i];
    count[at]++;
  }
  for (int64_t at = 0; at < bins; at++)
    for (int a = 0; a < 4; a++) place[a * bins + at] /= count[at];
}

/* ---- correlations --------------------------------------------------------------------------------------------- */

static const enum correlate_map ct_maps[] = {CORRELATE_MAP_height, CORRELATE_MAP_Ra,
                                             CORRELATE_MAP_pores,  CORRELATE_MAP_contact,
                                             CORRELATE_MAP_growth, CORRELATE_MAP_flux};
enum { CT_MAPS = sizeof ct_maps / sizeof *ct_maps, KINDS = 3 };

static int pairs_of(const struct correlate_work *w, struct pair *pair) {
  const enum correlate_map seen[] = {CORRELATE_MAP_emf_region2, CORRELATE_MAP_density_region2};
  int n                           = 0;
  for (int i = 0; i < w->states; i++)
    for (int a = 0; a < 2 && w->state[i].has_seen && w->state[i].has_ct && w->regions >= 2; a++)
      for (int b = 0; b < CT_MAPS; b++)
        for (int k = 0; k < KINDS; k++)
          pair[n++] = (struct pair){i, seen[a], ct_maps[b], (enum correlate_kind)k};
  return n;
}

/* The box of bins that hold all of the field: blocks drawn elsewhere would be empty. */
struct frame {
  int64_t y0, x0, ny, nx;
};
static struct frame frame_of(const struct correlate_work *w, const double *place) {
  int64_t low[2] = {w->ny, w->nx}, high[2] = {0, 0};
  for (int64_t at = 0; at < w->ny * w->nx; at++) {
    const int64_t here[2] = {at / w->nx, at % w->nx};
    for (int a = 0; a < 2 && place[at] >= 0.5; a++) {
      if (here[a] < low[a]) low[a] = here[a];
      if (here[a] >= high[a]) high[a] = here[a] + 1;
    }
  }
  return high[0] > low[0] ? (struct frame){low[0], low[1], high[0] - low[0], high[1] - low[1]}
                          : (struct frame){0, 0, 0, 0};
}

static void crop(const struct correlate_work *w, const struct frame *f, const double *map,
                 double *out) {
  for (int64_t y = 0; y < f->ny; y++)
    memcpy(out + y * f->nx, map + (f->y0 + y) * w->nx + f->x0, (size_t)f->nx * sizeof *out);
}

/* Does a map vary in the field by more than its errors? Else its ranks are those of rounding and of the solver. A height's
 * error of the threshold is the same everywhere, and does not count. *pairs: bins that both maps know. */
static bool is_told(const struct correlate_work *w, const struct pair *pair, const double *inside,
                    double *pairs) {
  const double *value = correlate_map_at(w, false, pair->state, pair->b),
               *error = correlate_map_at(w, true, pair->state, pair->b),
               *seen  = correlate_map_at(w, false, pair->state, pair->a);
  double n = 0, sum = 0, square = 0, errors = 0,
         common = pair->b == CORRELATE_MAP_height ? w->params->threshold_um : 0;
  for (int64_t at = 0; at < w->ny * w->nx; at++) {
    if (inside[at] < 0.5 || !isfinite(value[at])) continue;
    n++, sum += value[at], *pairs += isfinite(seen[at]);
    errors += isfinite(error[at]) ? error[at] * error[at] - common * common : 0;
  }
  for (int64_t at = 0; at < w->ny * w->nx; at++)
    if (inside[at] >= 0.5 && isfinite(value[at]))
      square += (value[at] - sum / n) * (value[at] - sum / n);
  return square > errors;
}

static enum status correlate_one(const struct correlate_work *w, const struct pair *pair, int number,
                                 const double *place, double *work, double out[4]) {
  int64_t bins         = w->ny * w->nx;
  const struct frame f = frame_of(w, place);
  enum { HELD = 3 }; /* x, y and radius: attenuation makes gradients along the beam in every map */
  double *cropped[2 + HELD];
  const double *from[2 + HELD] = {correlate_map_at(w, false, pair->state, pair->a),
                                  correlate_map_at(w, false, pair->state, pair->b), place + bins,
                                  place + 2 * bins, place + 3 * bins};
  struct correlate_interval interval;
  out[0] = out[1] = out[2] = (double)NAN, out[3] = 0;
  if (!is_told(w, pair, place, &out[3])) return STATUS_OK;
  for (int k = 0; k < 2 + HELD; k++) {
    cropped[k] = work + (k + 1) * bins;
    fielded(w, from[k], place, work);
    crop(w, &f, work, cropped[k]);
  }
  const struct correlate_maps maps = {cropped[0],
                                      cropped[1],
                                      (const double *const *)(cropped + 2),
                                      pair->kind == CORRELATE_PARTIAL ? HELD : 0,
                                      f.ny,
                                      f.nx};
  TRY(correlate_bootstrap(pair->kind, &maps, w->params->block, (int)w->params->draws,
                          (uint64_t)w->params->seed * 1000003u + (uint64_t)number, &interval));
  out[0] = interval.value, out[1] = interval.low, out[2] = interval.high;
  out[3] = (double)interval.n;
  return STATUS_OK;
}

static enum status do_share(const struct correlate_work *w, const struct pair *pair, int n, int rank,
                            int size, const double *place, double (*out)[4]) {
  double *work;
  TRY(fault_here("correlate.draws"));
  TRY(memory_make(6 * w->ny * w->nx, sizeof *work, "maps", &work));
  enum status status = STATUS_OK;
  for (int i = rank; i < n && status == STATUS_OK; i += size)
    status = correlate_one(w, &pair[i], i, place, work, out[i]);
  memory_free(work);
  return status;
}

static void tell_correlation(struct correlate_work *w, const struct pair *pair, const double *out) {
  char name[64];
  if (pair->kind != CORRELATE_SPEARMAN || pair->a != CORRELATE_MAP_emf_region2 ||
      !isfinite(out[0]))
    return;
  snprintf(name, sizeof name, "r_%s_%s", correlate_map_name[pair->a], correlate_map_name[pair->b]);
  struct stage_result *row = stage_result_add(w->job->results, name, out[0], "");
  row->lower = out[1], row->upper = out[2];
  snprintf(row->of, sizeof row->of, "%s", w->state[pair->state].bundle->state);
}

static enum status correlations(struct correlate_work *w, const double *place,
                                struct correlate_table *table) {
  static const char *const column[] = {"state", "a", "b", "kind", "value", "lower", "upper", "pairs"};
  MPI_Comm comm = w->job->comm;
  int rank, size;
  struct pair *pair = NULL;
  double(*out)[4]   = NULL;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  correlate_table_begin(table, "correlations", column, NULL, 8);
  int64_t most = (int64_t)w->states * 2 * CT_MAPS * KINDS + 1;
  enum status status = memory_make(most, sizeof *pair, "pairs of maps", &pair);
  if (status == STATUS_OK) status = memory_make(most, sizeof *out, "correlations", &out);
  status = AGREE(comm, status);
  int n  = status == STATUS_OK ? pairs_of(w, pair) : 0;
  if (status == STATUS_OK) status = AGREE(comm, do_share(w, pair, n, rank, size, place, out));
  if (status == STATUS_OK && n)
    MPI_Allreduce(MPI_IN_PLACE, out, 4 * n, MPI_DOUBLE, MPI_SUM, comm);
  for (int i = 0; i < n && status == STATUS_OK; i++) {
    const double row[] = {pair[i].state, pair[i].a, pair[i].b, pair[i].kind,
                          out[i][0],     out[i][1], out[i][2], out[i][3]};
    if (out[i][3] < 4) continue;
    status = AGREE(comm, correlate_table_add(table, row));
    tell_correlation(w, &pair[i], out[i]);
  }
  memory_free(pair);
  memory_free(out);
  return status;
}

/* ---- heterogeneity ------------------------------------------------------------------------------------------- */

/* Groups: 0 left or edge, 1 right or middle, -1 neither. The edge is the ring beyond the cathode, where its and the
 * lithium's radius are known, less the pinhole's blur. */
static void group_sides(const struct correlate_work *w, const double *place, int8_t *group) {
  int64_t bins = w->ny * w->nx;
  for (int64_t at = 0; at < bins; at++)
    group[at] = place[at] < 0.5 ? -1 : place[bins + at] < 0 ? 0 : 1;
}

static void group_rings(const struct correlate_work *w, const double *place, int8_t *group) {
  int64_t bins         = w->ny * w->nx;
  const double blur_mm = 0.25, *radius = place + 3 * bins;
  double inner = w->radius_mm[CORRELATE_CATHODE] + blur_mm,
         outer = w->radius_mm[CORRELATE_LI] - blur_mm;
  for (int64_t at = 0; at < bins; at++) {
    group[at] = -1;
    if (place[at] >= 0.5) group[at] = 1;
    if (w->has_radii && radius[at] > inner && radius[at] < outer) group[at] = 0;
  }
}

static void tell(struct correlate_work *w, int state, int region, const char *what,
                 const struct correlate_difference *d) {
  char name[64];
  if (!isfinite(d->value)) return;
  snprintf(name, sizeof name, "%s_region%d", what, region + 1);
  struct stage_result *row = stage_result_add(w->job->results, name, d->value, "");
  row->sigma               = d->sigma;
  snprintf(row->of, sizeof row->of, "%s", w->state[state].bundle->state);
}

static void tell_value(struct correlate_work *w, int state, int region, const char *what,
                       double value) {
  const struct correlate_difference d = {.value = value, .sigma = (double)NAN};
  tell(w, state, region, what, &d);
}

/* The change of a map since the first state that has one: what the camera and the transmissions do to every state is
 * taken out. work: [3][bins]. */
struct changed {
  struct correlate_difference sides;
  double moran, moran_p;
};
static enum status look_at_change(struct correlate_work *w, int state, int region,
                                  const double *place, double *work, int8_t *group,
                                  struct changed *to) {
  int64_t bins = w->ny * w->nx;
  enum correlate_map map = (enum correlate_map)(CORRELATE_MAP_emf_region1 + region);
  int first = 0;
  while (!w->state[first].has_seen) first++;
  const double *value = correlate_map_at(w, false, state, map),
               *sigma = correlate_map_at(w, true, state, map),
               *old = correlate_map_at(w, false, first, map), *old_sigma = correlate_map_at(w, true, first, map);
  *to = (struct changed){{(double)NAN, (double)NAN, (double)NAN, 0, 0}, (double)NAN, (double)NAN};
  if (state == first) return STATUS_OK;
  for (int64_t at = 0; at < bins; at++) {
    work[bins + at]     = value[at] - old[at];
    work[2 * bins + at] = hypot(sigma[at], old_sigma[at]);
  }
  group_sides(w, place, group);
  to->sides = correlate_group_difference(work + bins, work + 2 * bins, group, bins);
  fielded(w, work + bins, place, work);
  return correlate_moran(work, w->ny, w->nx, (int)w->params->draws,
                         (uint64_t)w->params->seed * 7907u + (uint64_t)(state * 8 + region),
                         &to->moran, &to->moran_p);
}

static enum status look_at_map(struct correlate_work *w, int state, int region, const double *place,
                               double *work, int8_t *group, struct correlate_table *table) {
  int64_t bins        = w->ny * w->nx;
  struct changed changed;
  const double *value = correlate_map_at(w, false, state,
                                         (enum correlate_map)(CORRELATE_MAP_emf_region1 + region)),
               *sigma = correlate_map_at(w, true, state,
                                         (enum correlate_map)(CORRELATE_MAP_emf_region1 + region));
  double moran, moran_p;
  group_sides(w, place, group);
  struct correlate_difference sides = correlate_group_difference(value, sigma, group, bins);
  group_rings(w, place, group);
  struct correlate_difference rings = correlate_group_difference(value, sigma, group, bins);
  fielded(w, value, place, work);
  TRY(correlate_moran(work, w->ny, w->nx, (int)w->params->draws,
                      (uint64_t)w->params->seed * 7919u + (uint64_t)(state * 8 + region), &moran,
                      &moran_p));
  double variation = correlate_variation(work, sigma, bins);
  TRY(look_at_change(w, state, region, place, work, group, &changed));
  const double row[] = {state,
                        region + 1,
                        sides.value,
                        sides.sigma,
                        sides.p_value,
                        rings.value,
                        rings.sigma,
                        rings.p_value,
                        moran,
                        moran_p,
                        variation,
                        changed.sides.value,
                        changed.sides.sigma,
                        changed.sides.p_value,
                        changed.moran,
                        changed.moran_p};
  tell(w, state, region, "left_right", &sides);
  tell(w, state, region, "left_right_change", &changed.sides);
  tell(w, state, region, "middle_edge", &rings);
  tell_value(w, state, region, "moran", moran);
  tell_value(w, state, region, "moran_p", moran_p);
  tell_value(w, state, region, "variation", variation);
  return correlate_table_add(table, row);
}

static enum status heterogeneity(struct correlate_work *w, const double *place, double *work,
                                 int8_t *group, struct correlate_table *table) {
  static const char *const column[] = {
      "state",         "region",        "left_right",        "left_right_error",
      "left_right_p",  "middle_edge",   "middle_edge_error", "middle_edge_p",
      "moran",         "moran_p",       "variation",         "left_right_change",
      "left_right_change_error", "left_right_change_p", "moran_change", "moran_change_p"};
  correlate_table_begin(table, "heterogeneity", column, NULL, 16);
  for (int i = 0; i < w->states; i++)
    for (int r = 0; r < w->regions && r < 3 && w->state[i].has_seen; r++)
      TRY(look_at_map(w, i, r, place, work, group, table));
  return STATUS_OK;
}

/* ---- radial profiles ------------------------------------------------------------------------------------------- */

static const double ring_mm = 0.5;
enum { RINGS = 24 };

static enum status radial(struct correlate_work *w, int8_t *mask, struct correlate_table *table) {
  static const char *const column[] = {"state", "region",    "r_low_mm", "r_high_mm",
                                       "emf",   "emf_error", "pixels"},
                           *const unit[] = {"", "", "mm", "mm", "", "", ""};
  correlate_table_begin(table, "radial", column, unit, 7);
  for (int i = 0; i < w->states; i++)
    for (int r = 0; r < w->regions && w->state[i].has_seen; r++)
      for (int k = 0; k < RINGS; k++) {
        for (int64_t p = 0; p < w->pixels; p++)
          mask[p] = w->radius[p] >= k * ring_mm && w->radius[p] < (k + 1) * ring_mm;
        double sigma, emf;
        struct correlate_windows sums = correlate_windows_of(&w->state[i].seen, r, mask);
        emf                           = correlate_emf(&sums, &sigma);
        if (!isfinite(emf)) continue;
        const double row[] = {i, r + 1, k * ring_mm, (k + 1) * ring_mm, emf, sigma, (double)sums.pixels};
        TRY(correlate_table_add(table, row));
      }
  return STATUS_OK;
}

enum status correlate_relations_make(struct correlate_work *w, struct correlate_table *table) {
  MPI_Comm comm = w->job->comm;
  int64_t bins  = w->ny * w->nx;
  double *place = NULL, *work = NULL;
  int8_t *group = NULL;
  enum status status = memory_make(5 * bins, sizeof *place, "places of bins", &place);
  if (status == STATUS_OK) status = memory_make(3 * bins, sizeof *work, "a map", &work);
  if (status == STATUS_OK)
    status = memory_make(bins + w->pixels, sizeof *group, "groups of bins", &group);
  status = AGREE(comm, status);
  if (status == STATUS_OK) {
    bin_places(w, place);
    status = correlations(w, place, &table[TABLE_CORRELATIONS]);
  }
  if (status == STATUS_OK)
    status = AGREE(comm, heterogeneity(w, place, work, group, &table[TABLE_HETEROGENEITY]));
  if (status == STATUS_OK) status = AGREE(comm, radial(w, group, &table[TABLE_RADIAL]));
  memory_free(place);
  memory_free(work);
  memory_free(group);
  return status;
}
