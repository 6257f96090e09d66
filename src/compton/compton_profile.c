/* Settings, names, angles, densities; pixels by themselves and groups of them. */
#include "compton_profile_private.h"
#include "grid.h"
#include <math.h>
#include <string.h>

/* ---- angles ------------------------------------------------------------------------------------------- */

/* A point of the sheet is seen through the pinhole from direction axis x pinhole - point: the camera's axis makes angle_deg
 * with the beam, the first of its own directions lies in the plane of beam and axis. */
double compton_angle(const struct compton_geometry *g, double row, double column) {
  double back  = g->pitch_mm * g->pinhole_mm / g->detector_mm;
  double x     = -(column - 0.5 * (double)(g->columns - 1)) * back,
         y     = -(row - 0.5 * (double)(g->rows - 1)) * back;
  double along = g->beam_along_rows ? y : x, axis = g->angle_deg / DEG_PER_RAD;
  double far = sqrt(x * x + y * y + g->pinhole_mm * g->pinhole_mm);
  return acos((g->pinhole_mm * cos(axis) - along * sin(axis)) / far) + g->offset_deg / DEG_PER_RAD;
}

/* ---- names ---------------------------------------------------------------------------------------------- */

const char *compton_source_name(enum compton_source source) {
  static const char *const name[COMPTON_SOURCES] = {
      "counting", "background",          "line",  "scale", "angle", "width",
      "tail",     "multiple scattering", "escape"};
  return source < COMPTON_SOURCES ? name[source] : "?";
}

const char *compton_term_name(enum compton_term term) {
  static const char *const name[COMPTON_TERMS] = {"shape 1", "shape 2", "shape 3", "constant",
                                                  "step",    "escape",  "lead"};
  return term < COMPTON_TERMS ? name[term] : "?";
}

const char *compton_state_words(enum compton_state state) {
  static const char *const words[] = {"defined", "undefined: no pixel",
                                      "undefined: a window has no counts above background",
                                      "undefined: a window lies outside the spectrum",
                                      "undefined: the fit of the background has no solution"};
  return state <= COMPTON_NO_FIT ? words[state] : "?";
}

struct compton_profile_settings compton_profile_defaults(void) {
  return (struct compton_profile_settings){
      .beam_kev           = 115,
      .fwhm_kev           = 0.84,
      .low_au             = 1,
      .high_au            = 5,
      .first_au           = -10,
      .step_au            = 0.2,
      .bins_au            = 100,
      .fit_first_kev      = 77,
      .fit_last_kev       = 110,
      .material           = {XRAY_LI_METAL,         XRAY_SPE, XRAY_CATHODE},
      .shapes             = 3,
      .x                  = 1,
      .step               = true,
      .reference_fwhm_kev = 0.79,
      .reference_deg      = 90,
      .unsure             = { .scale_kev        = 0.01,
                             .angle_deg        = 0.1,
                             .fwhm_kev         = 0.01,
                             .tail_percent     = 1,
                             .tail_kev         = 1.5,
                             .multiple_percent = 5}
  };
}

double compton_density(double amplitude, const struct compton_flux *flux) {
  const double barn_mm2 = 1e-22, per_cm3_and_mm3 = 1e20; /* 1e23 per cm3 = 1e20 per mm3 */
  double volume_mm3 = flux->footprint_mm * flux->footprint_mm * flux->sheet_mm;
  return amplitude / (barn_mm2 * per_cm3_and_mm3 * flux->photons_per_mm2 * volume_mm3 *
                      flux->solid_angle_sr * flux->transmission);
}

int64_t compton_profile_bin_labels(const struct compton_cube *cube, int64_t k, int32_t *label) {
  int64_t across = (cube->columns + k - 1) / k, down = (cube->rows + k - 1) / k;
  for (int64_t p = 0; p < cube->pixels; p++) {
    int64_t at = cube->pixel0 + p, row = at / cube->columns, column = at % cube->columns;
    label[p] = (int32_t)(row / k * across + column / k);
  }
  return across * down;
}
