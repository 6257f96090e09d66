/* Where the Compton grid lies in the tomography.
 * In the plane: pinhole_register on density maps. Errors from the curvature of chi2 = n (1 - r^2) / (1 - r0^2), n a
 * quarter of the pixels known to both since neighbours share the pinhole's blur; a parameter whose error is large is held at its start.
 * Along z: the densities of the regions, up to one common scale, are those of the mixtures that slabs at their heights
 * hold; one shift of all slabs is searched on a grid and refined by a parabola. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

/* The map's middle stays where the camera sees it when scale or turn change: else a shift would tell a turn. */
static void move(struct pinhole_registration *at, int k, double by) {
  double x = at->shift_x_mm, y = at->shift_y_mm, c = cos(by / DEG_PER_RAD),
         s = sin(by / DEG_PER_RAD);
  if (k == 0) {
    at->scale *= 1 + by;
    at->shift_x_mm *= 1 + by, at->shift_y_mm *= 1 + by;
  }
  if (k == 1) {
    at->rotation_deg += by;
    at->shift_x_mm = c * x - s * y, at->shift_y_mm = s * x + c * y;
  }
  if (k == 2) at->shift_x_mm += by;
  if (k == 3) at->shift_y_mm += by;
}

static double chi2_of(double r, double best, int64_t n) {
  return 0.25 * (double)n * ((1 - r * r) / fmax(1 - best * best, 1e-12) - 1);
}

/* Noise makes a narrow optimum of a turn that nothing tells: further away the likeness then falls no more, while a turn
 * that features tell costs there as its curvature says (a quarter of it, for what is no parabola). */
static enum status turn_is_told(const struct pinhole_camera *camera, const struct pinhole_map *map,
                                const double *seen, const struct correlate_fit *fit, int64_t n,
                                bool *told) {
  const double far_deg = 6;
  double best, r, chi2 = 0;
  int64_t pixels;
  TRY(pinhole_likeness(camera, map, seen, &fit->at, &best, &pixels));
  for (int s = 0; s < 2; s++) {
    struct pinhole_registration at = fit->at;
    move(&at, 1, s ? far_deg : -far_deg);
    TRY(pinhole_likeness(camera, map, seen, &at, &r, &pixels));
    chi2 += 0.5 * chi2_of(r, best, n);
  }
  *told = chi2 > 0.25 * (far_deg / fit->sigma[1]) * (far_deg / fit->sigma[1]);
  return STATUS_OK;
}

static enum status find_errors(const struct pinhole_camera *camera, const struct pinhole_map *map,
                               const double *seen, const struct pinhole_registration *start,
                               struct correlate_fit *fit) {
  double pixel_mm =
      fit->at.scale * camera->pitch_mm * camera->pinhole_mm / camera->detector_mm;
  const double step[4]    = {0.01, 1, 0.25 * pixel_mm, 0.25 * pixel_mm},
               largest[4] = {0.03, 1.5, pixel_mm, pixel_mm};
  for (int k = 0; k < 4; k++) {
    double r[2], best;
    int64_t n, pixels;
    TRY(pinhole_likeness(camera, map, seen, &fit->at, &best, &n));
    for (int s = 0; s < 2; s++) {
      struct pinhole_registration at = fit->at;
      move(&at, k, s ? step[k] : -step[k]);
      TRY(pinhole_likeness(camera, map, seen, &at, &r[s], &pixels));
    }
    double chi2   = 0.5 * (chi2_of(r[0], best, n) + chi2_of(r[1], best, n));
    fit->sigma[k] = chi2 > 0 ? step[k] / sqrt(chi2) : INFINITY;
    bool told = fit->sigma[k] <= largest[k];
    if (told && k == 1) TRY(turn_is_told(camera, map, seen, fit, n, &told));
    if (told) continue;
    fit->sigma[k] = (double)NAN;
    if (k == 0) fit->at.scale = start->scale;
    if (k == 1) move(&fit->at, 1, start->rotation_deg - fit->at.rotation_deg);
    if (k == 2) fit->at.shift_x_mm = start->shift_x_mm;
    if (k == 3) fit->at.shift_y_mm = start->shift_y_mm;
  }
  return STATUS_OK;
}

enum status correlate_register(const struct pinhole_camera *camera, const struct pinhole_map *map,
                               const double *seen, double reach_mm, struct correlate_fit *fit) {
  const struct pinhole_registration start = fit->at;
  TRY(pinhole_register(camera, map, seen, reach_mm, &fit->at, &fit->quality));
  if (isnan(fit->quality)) {
    for (int k = 0; k < 4; k++) fit->sigma[k] = (double)NAN;
    return STATUS_OK;
  }
  return find_errors(camera, map, seen, &start, fit);
}

/* ---- height of the slabs -------------------------------------------------------------------------------- */

/* chi2 of all levels with the best common scale. */
static double level_chi2(const struct correlate_params *params, const struct correlate_slab *slab,
                         const struct correlate_level *level, int levels, double shift_um) {
  double density[CORRELATE_C], ym = 0, mm = 0, yy = 0;
  const struct correlate_moves moves = {.slab_um = shift_um};
  correlate_densities(density);
  for (int l = 0; l < levels; l++)
    for (int r = 0; r < level[l].regions; r++) {
      double fraction[CORRELATE_C], model = 0, y = level[l].density[r];
      correlate_slab_fractions(params, &slab[l * CORRELATE_REGIONS_MOST + r], level[l].heights,
                               &moves, fraction);
      for (int c = 0; c < CORRELATE_C; c++)
        model += fraction[c] * density[c] * level[l].transmission[c];
      double known = 0.01 * params->density_percent * y,
             w     = 1 / (level[l].sigma[r] * level[l].sigma[r] + known * known);
      if (!(y > 0) || !isfinite(w) || !isfinite(model)) continue;
      ym += w * y * model, mm += w * model * model, yy += w * y * y;
    }
  return mm > 0 ? yy - ym * ym / mm : (double)NAN;
}

enum status correlate_slab_find(const struct correlate_params *params,
                                const struct correlate_slab *slab,
                                const struct correlate_level *level, int levels, double reach_um,
                                struct correlate_slab_fit *fit) {
  enum { STEPS = 60 };
  double chi2[2 * STEPS + 1], step = reach_um / STEPS;
  int best = -1;
  *fit     = (struct correlate_slab_fit){0, (double)NAN, (double)NAN, -2};
  for (int l = 0; l < levels; l++)
    for (int r = 0; r < level[l].regions; r++) fit->freedom += level[l].density[r] > 0;
  for (int i = 0; i <= 2 * STEPS; i++) {
    chi2[i] = level_chi2(params, slab, level, levels, (i - STEPS) * step);
    if (!isnan(chi2[i]) && (best < 0 || chi2[i] < chi2[best])) best = i;
  }
  if (best < 1 || best >= 2 * STEPS) return STATUS_OK; /* none within reach: sigma says so */
  double bend = chi2[best - 1] - 2 * chi2[best] + chi2[best + 1],
         lean = 0.5 * (chi2[best + 1] - chi2[best - 1]);
  if (!(bend > 0)) return STATUS_OK;
  fit->shift_um = (best - STEPS - lean / bend) * step;
  fit->sigma_um = step * sqrt(2 / bend);
  fit->chi2     = chi2[best] - 0.5 * lean * lean / bend;
  return STATUS_OK;
}
