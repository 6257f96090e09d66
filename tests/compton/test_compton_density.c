/* Electron densities against the number of photons that a known density scatters into a pixel:
 * photons/mm2 x electrons/mm3 x volume seen x solid angle x transmission x cross-section, the latter by Klein and Nishina's
 * formula written out here.
 * np: 1 2 */
#include "compton.h"
#include "compton_maps.h"
#include "compton_spectrum.h"

enum { ROWS = 3, COLUMNS = 5, PIXELS = ROWS * COLUMNS };
#define BARN_MM2   1e-22
#define LIVE_S     400.0
#define MONITOR    0.9
#define SHEET_MM   0.3
#define HOLE_MM    0.25
#define THROUGH    0.6
#define PHI0       2e15 /* photons/s/mm2: 1e7 counts a pixel */
#define DENSITY    1.39 /* 1e23 electrons per cm3 */
#define PITCH_MM   3.0  /* a coarse sensor, so that angles differ by 9 degrees */
#define PINHOLE_MM 160.0
#define SENSOR_MM  150.0

static double klein_nishina_barn(double angle) {
  double ratio = 1 / (1 + SPECTRUM_BEAM_KEV / 510.99895 * (1 - cos(angle))), sine = sin(angle);
  const double radius2_barn = 0.0794078; /* classical electron radius squared */
  return 0.5 * radius2_barn * ratio * ratio * (ratio + 1 / ratio - sine * sine);
}

/* Counts within 5 a.u. of all that are scattered: momenta at rest would give Klein and Nishina's. */
static double counts_of(const struct xray_profile *profile, double angle) {
  double side_mm   = PITCH_MM * PINHOLE_MM / SENSOR_MM;
  double electrons = DENSITY * 1e20 * SHEET_MM * side_mm * side_mm;
  double solid = PI * HOLE_MM * HOLE_MM / 4 / (PINHOLE_MM * PINHOLE_MM), within = 0;
  double line = xray_line_kev(SPECTRUM_BEAM_KEV, angle), step = 0.01;
  double rest = xray_cross_section(SPECTRUM_BEAM_KEV, line, angle) /
                xray_momentum_slope(SPECTRUM_BEAM_KEV, line, angle);
  for (double p = -5 + step / 2; p < 5; p += step) {
    double e = xray_energy(SPECTRUM_BEAM_KEV, p, angle);
    within += step * xray_profile_at(profile, p) * xray_cross_section(SPECTRUM_BEAM_KEV, e, angle) /
              xray_momentum_slope(SPECTRUM_BEAM_KEV, e, angle) / rest;
  }
  return PHI0 * LIVE_S * MONITOR * electrons * solid * THROUGH * BARN_MM2 *
         klein_nishina_barn(angle) * within;
}

/* This rank's share of the sensor, noise-free. */
static void cube_make(MPI_Comm comm, const struct compton_geometry *g, struct compton_cube *cube) {
  static struct xray_profile lithium;
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  CHECK_OK(xray_profile_of(XRAY_LI_METAL, 1, &lithium));
  int64_t begin = PIXELS * rank / size, end = PIXELS * (rank + 1) / size;
  *cube = (struct compton_cube){.rows      = ROWS,
                                .columns   = COLUMNS,
                                .bins      = SPECTRUM_BINS,
                                .first_kev = SPECTRUM_FIRST_KEV,
                                .bin_kev   = SPECTRUM_BIN_KEV,
                                .pixel0    = begin,
                                .pixels    = end - begin};
  CHECK_OK(memory_make(cube->pixels * SPECTRUM_BINS, sizeof *cube->count, "counts", &cube->count));
  CHECK_OK(memory_make(cube->pixels, 1, "flags", &cube->bad));
  for (int64_t i = begin; i < end; i++) {
    double expected[SPECTRUM_BINS];
    struct spectrum_truth t = {.profile = &lithium,
                               .angle =
                                   compton_angle(g, (double)(i / COLUMNS), (double)(i % COLUMNS)),
                               .fwhm_kev = 0.84,
                               .gain     = 1,
                               .constant = 3000,
                               .tail_kev = 1};
    t.counts                = counts_of(&lithium, t.angle);
    spectrum_expect(&t, expected);
    for (int b = 0; b < SPECTRUM_BINS; b++)
      cube->count[(i - begin) * SPECTRUM_BINS + b] = (uint32_t)lround(expected[b]);
  }
}

static void densities(MPI_Comm comm, const struct compton_params *p,
                      const struct compton_region *region, const struct compton_cube *cube,
                      double want) {
  struct compton_knowledge known;
  struct compton_maps maps;
  CHECK_OK(compton_maps_know(comm, p, cube, NULL, &known));
  CHECK_OK(compton_maps_make(comm, p, &known, region, cube, &maps));
  for (int64_t i = 0; i < maps.n; i++)
    CHECK(fabs((double)maps.density[i] / want - 1) < 0.002, "pixel %lld: %g, truth %g",
          (long long)(maps.first + i), (double)maps.density[i], want);
  compton_maps_free(&maps);
  compton_maps_forget(&known);
}

TEST(with_phi0_the_density_is_that_of_the_electrons_at_every_angle) {
  struct compton_params p;
  struct compton_region region = {.exposure_s = 500, .live_s = LIVE_S, .monitor = MONITOR};
  struct compton_cube cube;
  CHECK_OK(config_defaults(compton_stage.params, &p));
  snprintf(p.materials, sizeof p.materials, "lithium");
  p.pitch_mm = PITCH_MM, p.pinhole_mm = PINHOLE_MM, p.detector_mm = SENSOR_MM;
  p.phi0 = PHI0, p.sheet_mm = SHEET_MM, p.hole_mm = HOLE_MM, p.transmission = THROUGH;
  const struct compton_geometry g = {ROWS, COLUMNS, PINHOLE_MM, SENSOR_MM, PITCH_MM, 90, 0, false};
  cube_make(comm, &g, &cube);
  densities(comm, &p, &region, &cube, DENSITY);
  CHECK(strcmp(compton_maps_unit(&p, &(struct compton_knowledge){.has_disc = false}, &region),
               "1e23/cm3") == 0,
        "the unit");
  /* half of the photons would be twice the electrons */
  p.phi0 /= 2;
  densities(comm, &p, &region, &cube, 2 * DENSITY);
  compton_cube_free(&cube);
}

TEST(klein_and_nishina_at_115_keV_and_90_degrees) {
  CHECK_NEAR(klein_nishina_barn(PI / 2), 0.02755, 5e-6);
}
