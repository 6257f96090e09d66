/* A sheet of beam of thickness T about z0 whose edges are blurred by a normal of sigma s: the share of it below z is
 * (s/T) [I((z - z0 + T/2)/s) - I((z - z0 - T/2)/s)] with I(x) = x Phi(x) + phi(x), the integral of the normal's
 * distribution. Volume fractions of layers are differences of that at their faces, averaged over columns, so the
 * histogram of the faces' heights holds all there is to know and a shift of the slab costs no pass over the columns.
 * Attenuation coefficients are those of 115 keV and of the line it gives at 90 degrees: they weigh the components against
 * each other, and a factor that all regions share leaves a component's momentum factor alone. */
#include "correlate_private.h"
#include "numeric_xray.h"
#include <math.h>
#include <string.h>

static double integral(double x) {
  return 0.5 * x * erfc(-x / sqrt(2)) + exp(-0.5 * x * x) / sqrt(2 * PI);
}

static double clamp(double x, double low, double high) {
  return x < low ? low : x > high ? high : x;
}

double correlate_slab_below(const struct correlate_slab *slab, double z_um) {
  double above = z_um - slab->middle_um, half = 0.5 * slab->thick_um, s = slab->edge_um;
  if (!(s > 0)) return clamp((above + half) / slab->thick_um, 0, 1);
  if (above - half > 8 * s) return 1;
  if (above + half < -8 * s) return 0;
  return clamp(s / slab->thick_um * (integral((above + half) / s) - integral((above - half) / s)),
               0, 1);
}

static void fractions(const struct correlate_params *params, const struct correlate_slab *slab,
                      double below_top, double below_face, double below_roof, double pores_um,
                      double fraction[CORRELATE_C]) {
  double pores = strcmp(params->pores, "ignore") == 0 ? 0 : pores_um / slab->thick_um;
  fraction[CORRELATE_LI]      = fmax(0, below_top - pores);
  fraction[CORRELATE_SPE]     = fmax(0, below_face - below_top);
  fraction[CORRELATE_CATHODE] = fmax(0, below_roof - below_face);
}

void correlate_slab_column(const struct correlate_params *params, const struct correlate_slab *slab,
                           double top_um, double face_um, double pores_um,
                           double fraction[CORRELATE_C]) {
  fractions(params, slab, correlate_slab_below(slab, top_um), correlate_slab_below(slab, face_um),
            correlate_slab_below(slab, face_um + params->cathode_um), pores_um, fraction);
}

static double mean_below(const struct correlate_slab *slab, const struct correlate_heights *h,
                         const int64_t *count, double move_um) {
  double sum = 0;
  for (int64_t b = 0; b < h->bins; b++)
    if (count[b])
      sum += (double)count[b] *
             correlate_slab_below(slab, ((double)b + 0.5) * h->step_um + move_um);
  return h->columns ? sum / (double)h->columns : (double)NAN;
}

void correlate_slab_fractions(const struct correlate_params *params,
                              const struct correlate_slab *slab,
                              const struct correlate_heights *heights,
                              const struct correlate_moves *moves, double fraction[CORRELATE_C]) {
  struct correlate_slab at = *slab;
  at.middle_um += moves->slab_um;
  fractions(params, &at, mean_below(&at, heights, heights->top, moves->top_um),
            mean_below(&at, heights, heights->face, moves->face_um),
            mean_below(&at, heights, heights->face, moves->face_um + params->cathode_um),
            heights->pores_um, fraction);
}

/* ---- transmissions -------------------------------------------------------------------------------------- */

/* How much larger attenuation is at the line than at 115 keV. */
static const double mu_ratio[CORRELATE_C] = {1.050, 1.073, 1.389};

void correlate_presence_discs(const struct pinhole_camera *camera,
                              const double radius_mm[CORRELATE_C], double *presence) {
  int64_t pixels    = camera->rows * camera->columns;
  double pixel_mm   = camera->pitch_mm * camera->pinhole_mm / camera->detector_mm;
  for (int c = 0; c < CORRELATE_C; c++)
    for (int64_t i = 0; i < pixels; i++) {
      double y = (double)(i / camera->columns) - 0.5 * (double)(camera->rows - 1),
             x = (double)(i % camera->columns) - 0.5 * (double)(camera->columns - 1);
      presence[c * pixels + i] = clamp(radius_mm[c] / pixel_mm - hypot(y, x) + 0.5, 0, 1);
    }
}

void correlate_transmissions(const struct pinhole_camera *camera, const double *presence,
                             const struct correlate_params *params,
                             const double mu_per_mm[CORRELATE_C], double *transmission) {
  int64_t rows = camera->rows, columns = camera->columns, pixels = rows * columns;
  double pixel_mm = camera->pitch_mm * camera->pinhole_mm / camera->detector_mm,
         cathode  = 1e-3 * params->cathode_um * mu_per_mm[CORRELATE_CATHODE] *
                   mu_ratio[CORRELATE_CATHODE];
  int64_t lines = camera->beam_along_rows ? columns : rows, steps = pixels / lines;
  for (int c = 0; c < CORRELATE_C; c++)
    for (int64_t line = 0; line < lines; line++) {
      double path_mm = 0;
      for (int64_t k = steps - 1; k >= 0; k--) { /* the last one looks upstream */
        int64_t i   = camera->beam_along_rows ? k * columns + line : line * columns + k;
        double here = presence[c * pixels + i], over = presence[CORRELATE_CATHODE * pixels + i];
        here = isnan(here) ? 0 : here;
        over = isnan(over) ? 0 : over;
        double up = c == CORRELATE_CATHODE ? 0.5 : over;
        transmission[c * pixels + i] =
            exp(-mu_per_mm[c] * (path_mm + 0.5 * here * pixel_mm) - cathode * up);
        path_mm += here * pixel_mm;
      }
    }
}

void correlate_densities(double density[CORRELATE_C]) {
  density[CORRELATE_LI]      = xray_electron_density(XRAY_LI_METAL, 0);
  density[CORRELATE_SPE]     = xray_electron_density(XRAY_SPE, 0);
  density[CORRELATE_CATHODE] = xray_electron_density(XRAY_CATHODE, 1);
}
