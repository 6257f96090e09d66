/* Maps on the sample's grid: the camera's image turned back through the pinhole, y along the beam, x across it, pixels
 * taken together k x k. Component factors of a bin use its own mean fractions. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

const char *const correlate_map_name[CORRELATE_MAPS] = {
#define MAP(name, unit, words) #name,
#include "correlate_maps.def"
#undef MAP
};
const char *const correlate_map_unit[CORRELATE_MAPS] = {
#define MAP(name, unit, words) unit,
#include "correlate_maps.def"
#undef MAP
};
const char *const correlate_map_words[CORRELATE_MAPS] = {
#define MAP(name, unit, words) words,
#include "correlate_maps.def"
#undef MAP
};

double *correlate_map_at(const struct correlate_work *w, bool errors, int state,
                         enum correlate_map map) {
  return (errors ? w->map_error : w->map) + ((int64_t)state * CORRELATE_MAPS + map) * w->ny * w->nx;
}

/* The detector's pixel at a place of the sample's grid. */
static int64_t pixel_at(const struct correlate_work *w, int64_t y, int64_t x) {
  const struct pinhole_camera *c = &w->camera;
  return c->beam_along_rows ? (c->rows - 1 - y) * c->columns + (c->columns - 1 - x)
                            : (c->rows - 1 - x) * c->columns + (c->columns - 1 - y);
}

struct bin {
  int64_t pixel[40 * 40];
  int n;
};

static void bin_make(const struct correlate_work *w, int64_t by, int64_t bx, struct bin *bin) {
  int64_t k = w->params->bin, ny = w->camera.beam_along_rows ? w->camera.rows : w->camera.columns,
          nx = w->pixels / ny;
  bin->n     = 0;
  for (int64_t y = by * k; y < (by + 1) * k && y < ny; y++)
    for (int64_t x = bx * k; x < (bx + 1) * k && x < nx; x++) bin->pixel[bin->n++] = pixel_at(w, y, x);
}

/* Mean of what is known, with the error of the mean (error NULL: none); NaN where less than half is known. */
static double mean_of(const struct bin *bin, const double *map, const double *error, double *sigma) {
  double sum = 0, variance = 0;
  int n      = 0;
  for (int i = 0; i < bin->n; i++) {
    double v = map[bin->pixel[i]], e = error ? error[bin->pixel[i]] : 0;
    if (!isfinite(v) || !isfinite(e)) continue;
    sum += v, variance += e * e, n++;
  }
  bool known = 2 * n >= bin->n && n > 0;
  *sigma     = known && error ? sqrt(variance) / n : (double)NAN;
  return known ? sum / n : (double)NAN;
}

static void put(struct correlate_work *w, int state, int map, int64_t at, double value,
                double sigma) {
  correlate_map_at(w, false, state, (enum correlate_map)map)[at] = value;
  correlate_map_at(w, true, state, (enum correlate_map)map)[at]  = sigma;
}

static void put_seen(struct correlate_work *w, int state, const struct bin *bin, int8_t *mask,
                     int64_t at) {
  const struct correlate_seen *seen = &w->state[state].seen;
  struct correlate_windows sums[CORRELATE_REGIONS_MOST];
  struct correlate_amount component[CORRELATE_C];
  struct unmix_matrix v = {.regions = w->regions, .components = CORRELATE_C}, one;
  int covered           = 0;
  for (int i = 0; i < bin->n; i++) mask[bin->pixel[i]] = 1;
  for (int r = 0; r < w->regions; r++) {
    double sigma, value;
    sums[r] = correlate_windows_of(seen, r, mask);
    if (r < 3) {
      value = correlate_emf(&sums[r], &sigma);
      put(w, state, CORRELATE_MAP_emf_region1 + r, at, value, sigma);
      value = mean_of(bin, seen->density + r * w->pixels, seen->density_sigma + r * w->pixels, &sigma);
      put(w, state, CORRELATE_MAP_density_region1 + r, at, value, sigma);
    }
  }
  for (int i = 0; i < bin->n; i++) {
    mask[bin->pixel[i]] = 0;
    if (!correlate_fractions_pixel(w, state, bin->pixel[i], &one)) continue;
    for (int r = 0; r < w->regions; r++)
      for (int c = 0; c < CORRELATE_C; c++) v.v[r][c] += one.v[r][c];
    covered++;
  }
  for (int r = 0; r < w->regions && covered; r++)
    for (int c = 0; c < CORRELATE_C; c++) v.v[r][c] /= covered;
  bool solved = 2 * covered >= bin->n && covered && correlate_components_solve(&v, sums, component);
  for (int c = 0; c < CORRELATE_C && solved; c++)
    put(w, state, CORRELATE_MAP_emf_Li + c, at, component[c].emf, component[c].sigma);
}

/* How much a map changes over the registration's error, from its neighbours. */
static double drift_of(const struct correlate_work *w, const double *map, int64_t at) {
  double pixel_mm =
      w->fit.at.scale * w->camera.pitch_mm * w->camera.pinhole_mm / w->camera.detector_mm;
  double moved = 0;
  for (int k = 2; k < 4; k++) { /* errors of both shifts, in pixels */
    double by = isfinite(w->fit.sigma[k]) ? w->fit.sigma[k] / pixel_mm : 0.1;
    moved += by * by / 2;
  }
  int64_t x = at % w->nx, y = at / w->nx;
  double gx = x > 0 && x + 1 < w->nx ? 0.5 * (map[at + 1] - map[at - 1]) : 0,
         gy = y > 0 && y + 1 < w->ny ? 0.5 * (map[at + w->nx] - map[at - w->nx]) : 0;
  return sqrt(moved) * hypot(isfinite(gx) ? gx : 0, isfinite(gy) ? gy : 0) / (double)w->params->bin;
}

static void put_ct(struct correlate_work *w, int state, const struct bin *bin, int64_t at) {
  const struct correlate_pixels *p = &w->state[state].pixels;
  double none;
  put(w, state, CORRELATE_MAP_height, at, mean_of(bin, p->height, NULL, &none), (double)NAN);
  put(w, state, CORRELATE_MAP_Ra, at, mean_of(bin, p->Ra, NULL, &none), (double)NAN);
  put(w, state, CORRELATE_MAP_pores, at, mean_of(bin, p->pores, NULL, &none), (double)NAN);
  put(w, state, CORRELATE_MAP_contact, at, mean_of(bin, p->touch, NULL, &none), (double)NAN);
  put(w, state, CORRELATE_MAP_flux, at, mean_of(bin, p->flux, NULL, &none), (double)NAN);
  put(w, state, CORRELATE_MAP_cover, at, mean_of(bin, p->cover, NULL, &none), (double)NAN);
}

/* A flux whose D_eff is right to 1e-4 is right to the root of that from place to place. */
static const double flux_error = 0.01;

static void set_ct_errors(struct correlate_work *w, int state, int first) {
  static const enum correlate_map maps[] = {CORRELATE_MAP_height, CORRELATE_MAP_Ra,
                                            CORRELATE_MAP_pores, CORRELATE_MAP_contact,
                                            CORRELATE_MAP_flux, CORRELATE_MAP_cover};
  const double systematic[]              = {w->params->threshold_um, 0, 0, 0, 0, 0};
  for (int m = 0; m < (int)(sizeof maps / sizeof *maps); m++)
    for (int64_t at = 0; at < w->ny * w->nx; at++) {
      const double *map = correlate_map_at(w, false, state, maps[m]);
      double own        = systematic[m];
      if (maps[m] == CORRELATE_MAP_flux) own = flux_error * fabs(map[at]);
      if (isfinite(map[at]))
        correlate_map_at(w, true, state, maps[m])[at] = hypot(own, drift_of(w, map, at));
    }
  if (first < 0) return;
  for (int64_t at = 0; at < w->ny * w->nx; at++) { /* a threshold's error is the same in both states */
    double a = correlate_map_at(w, false, first, CORRELATE_MAP_height)[at],
           b = correlate_map_at(w, false, state, CORRELATE_MAP_height)[at];
    put(w, state, CORRELATE_MAP_growth, at, b - a,
        hypot(drift_of(w, correlate_map_at(w, false, first, CORRELATE_MAP_height), at),
              drift_of(w, correlate_map_at(w, false, state, CORRELATE_MAP_height), at)));
  }
}

enum status correlate_maps_make(struct correlate_work *w) {
  int64_t k = w->params->bin, ny = w->camera.beam_along_rows ? w->camera.rows : w->camera.columns,
          nx  = w->pixels / ny;
  w->ny       = (ny + k - 1) / k;
  w->nx       = (nx + k - 1) / k;
  int64_t all = (int64_t)w->states * CORRELATE_MAPS * w->ny * w->nx;
  int8_t *mask = NULL;
  int first    = -1;
  TRY(memory_make(2 * all, sizeof *w->map, "maps of all states", &w->map));
  w->map_error = w->map + all;
  for (int64_t i = 0; i < 2 * all; i++) w->map[i] = (double)NAN;
  TRY(memory_make(w->pixels, sizeof *mask, "a mask", &mask));
  for (int i = 0; i < w->states; i++) {
    for (int64_t at = 0; at < w->ny * w->nx; at++) {
      struct bin bin;
      bin_make(w, at / w->nx, at % w->nx, &bin);
      if (w->state[i].has_seen) put_seen(w, i, &bin, mask, at);
      if (w->state[i].has_ct) put_ct(w, i, &bin, at);
    }
    if (!w->state[i].has_ct) continue;
    set_ct_errors(w, i, first);
    if (first < 0) first = i;
  }
  memory_free(mask);
  return STATUS_OK;
}
