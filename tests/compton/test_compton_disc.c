/* A disc seen by 400 pixels whose angles, gains, resolutions and sensitivities are known; drift of the gain.
 * np: 1 2 3 timeout: 300 */
#include "compton_disc.h"
#include "compton_spectrum.h"

/* A coarse sensor of the real one's field. */
enum { SIDE = 20, PIXELS = SIDE * SIDE, DEAD = 123, HOT = 217 };
static const struct compton_geometry camera = {.rows        = SIDE,
                                               .columns     = SIDE,
                                               .pinhole_mm  = 160,
                                               .detector_mm = 150,
                                               .pitch_mm    = 1,
                                               .angle_deg   = 90};
static const double lithium[COMPTON_SHAPES] = {1};

static double gain_of(int64_t i) { return 1 + 0.0005 * random_normal(3, 1, (uint64_t)i); }
static double fwhm_of(int64_t i) { return 0.84 * (1 + 0.03 * random_normal(3, 2, (uint64_t)i)); }
static double flat_of(int64_t i) { return 1 + 0.05 * random_normal(3, 3, (uint64_t)i); }

static struct compton_table *table_make(void) {
  struct compton_table *t           = NULL;
  struct compton_profile_settings s = compton_profile_defaults();
  s.shapes                          = 1;
  CHECK_OK(compton_table_make(&s, SPECTRUM_FIRST_KEV, SPECTRUM_BIN_KEV, SPECTRUM_BINS, &t));
  return t;
}

/* This rank's share of the sensor; background: relative to a usual one; `turned`: columns the other way round. growth: of all
 * energies. */
static void cube_make(MPI_Comm comm, double counts, double background, double offset_deg,
                      bool turned, double growth, uint64_t stream, struct compton_cube *cube) {
  static struct xray_profile profile;
  struct compton_geometry g = camera;
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  CHECK_OK(xray_profile_of(XRAY_LI_METAL, 1, &profile));
  g.offset_deg  = offset_deg;
  int64_t begin = PIXELS * (int64_t)rank / size, end = PIXELS * (int64_t)(rank + 1) / size;
  *cube = (struct compton_cube){.rows      = SIDE,
                                .columns   = SIDE,
                                .bins      = SPECTRUM_BINS,
                                .first_kev = SPECTRUM_FIRST_KEV,
                                .bin_kev   = SPECTRUM_BIN_KEV,
                                .pixel0    = begin,
                                .pixels    = end - begin};
  CHECK_OK(memory_make(cube->pixels * SPECTRUM_BINS, sizeof *cube->count, "counts", &cube->count));
  CHECK_OK(memory_make(cube->pixels, 1, "flags", &cube->bad));
  for (int64_t i = begin; i < end; i++) {
    double expected[SPECTRUM_BINS], column = (double)(i % SIDE);
    struct spectrum_truth truth = {
        .profile  = &profile,
        .angle    = compton_angle(&g, (double)(i / SIDE), turned ? SIDE - 1 - column : column),
        .fwhm_kev = fwhm_of(i) * gain_of(i),
        .gain     = gain_of(i) * growth * (i == HOT ? 1.03 : 1),
        .counts   = counts * flat_of(i),
        .constant = 3e-4 * counts * background,
        .step     = 0.004 * background,
        .tail_kev = 1};
    truth.counts *= xray_klein_nishina(115, truth.angle) / xray_klein_nishina(115, PI / 2);
    spectrum_expect(&truth, expected);
    spectrum_draw(expected, 11, stream + (uint64_t)i, cube->count + (i - begin) * SPECTRUM_BINS);
    cube->bad[i - begin] = i == DEAD;
  }
}

static double sum_all(MPI_Comm comm, double value) {
  MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, MPI_SUM, comm);
  return value;
}

static void disc_check(MPI_Comm comm, double background) {
  struct compton_cube cube;
  struct compton_disc_pixel pixel[PIXELS];
  struct compton_disc_result r;
  struct compton_table *table = table_make();
  struct compton_geometry g   = camera;
  double pull[3] = {0}, square[3] = {0};
  cube_make(comm, 2e5, background, 0.8, false, 1, 0, &cube);
  CHECK_OK(compton_disc_measure(comm, table, &cube, &camera, lithium, pixel, &r));
  CHECK(r.good == PIXELS - 2, "%lld good pixels", (long long)r.good);
  CHECK(fabs(r.offset_deg - 0.8) < 4 * r.offset_sigma_deg, "offset %g +- %g degrees", r.offset_deg,
        r.offset_sigma_deg);
  CHECK_NEAR(r.offset_sigma_deg, 0.0005 * 93.87 / 0.301 / sqrt(PIXELS), 0.001);
  CHECK_NEAR(r.orientation, 1, 0.02);
  CHECK_NEAR(r.line_spread, 0.0005, 0.0001);
  CHECK_NEAR(r.flat_spread, 0.05, 0.006);
  g.offset_deg = 0.8;
  for (int64_t p = 0; p < cube.pixels; p++) {
    int64_t i = cube.pixel0 + p;
    int want  = i == DEAD ? COMPTON_DISC_BAD : i == HOT ? COMPTON_DISC_ODD : 0;
    CHECK(pixel[p].flags == want, "pixel %lld has flags %d", (long long)i, pixel[p].flags);
    CHECK(isnan(pixel[p].line_kev) == (want != 0), "pixel %lld: line %g", (long long)i,
          pixel[p].line_kev);
    if (want) continue;
    double angle  = compton_angle(&g, (double)(i / SIDE), (double)(i % SIDE));
    double off[3] = {(pixel[p].line_kev - gain_of(i) * xray_line_kev(115, angle)) /
                         pixel[p].line_sigma_kev,
                     (pixel[p].fwhm_kev - fwhm_of(i)) / pixel[p].fwhm_sigma_kev,
                     (pixel[p].flat / flat_of(i) - 1) / (pixel[p].flat_sigma / pixel[p].flat)};
    for (int k = 0; k < 3; k++) pull[k] += off[k], square[k] += off[k] * off[k];
  }
  for (int k = 0; k < 3; k++) {
    double mean = sum_all(comm, pull[k]) / (double)r.good,
           sd   = sqrt(sum_all(comm, square[k]) / (double)r.good - mean * mean);
    /* flats are relative to their own mean, which 400 pixels know to a quarter of a per cent */
    CHECK(fabs(mean) < (k == 2 ? 1.5 : 0.2) && sd > 0.88 && sd < 1.12, "%d: pulls %g +- %g", k,
          mean, sd);
  }
  compton_cube_free(&cube);
  compton_table_free(table);
}

TEST(line_width_flat_and_the_cameras_angle_come_back_with_honest_errors) { disc_check(comm, 1); }

/* Where nothing lies beneath the line, a constant that is fitted is as often below 0 as above. */
TEST(a_disc_without_background_loses_no_pixel) { disc_check(comm, 0); }

TEST(an_image_that_is_turned_about_is_refused_on_all_ranks) {
  struct compton_cube cube;
  struct compton_disc_pixel pixel[PIXELS];
  struct compton_disc_result r;
  struct compton_table *table = table_make();
  struct compton_geometry g   = camera;
  cube_make(comm, 2e4, 1, 0, true, 1, 0, &cube);
  CHECK(compton_disc_measure(comm, table, &cube, &camera, lithium, pixel, &r) == STATUS_INPUT, "?");
  CHECK(strstr(status_text(), "turned about"), "%s", status_text());
  status_clear();
  g.beam_along_rows = true;
  CHECK(compton_disc_measure(comm, table, &cube, &g, lithium, pixel, &r) == STATUS_INPUT, "?");
  CHECK(strstr(status_text(), "another beam axis"), "%s", status_text());
  status_clear();
  memset(cube.count, 0, (size_t)(cube.pixels * cube.bins) * sizeof *cube.count);
  CHECK(compton_disc_measure(comm, table, &cube, &camera, lithium, pixel, &r) == STATUS_INPUT, "?");
  CHECK(strstr(status_text(), "no pixel shows"), "%s", status_text());
  status_clear();
  compton_cube_free(&cube);
  compton_table_free(table);
}

/* 300 counts a pixel, of which no pixel alone could tell anything. */
TEST(the_drift_of_the_gain_is_followed_by_the_line_of_all_pixels_together) {
  struct compton_table *table = table_make();
  for (int k = 0; k < 3; k++) {
    double want = 1 + 0.0015 * (k - 1), growth, sigma, angle[PIXELS], line[PIXELS], fwhm[PIXELS];
    struct compton_cube cube;
    cube_make(comm, 300, 1, 0, false, want, 1000 * (1 + (uint64_t)k), &cube);
    for (int64_t p = 0; p < cube.pixels; p++) {
      int64_t i = cube.pixel0 + p;
      angle[p]  = compton_angle(&camera, (double)(i / SIDE), (double)(i % SIDE));
      line[p]   = gain_of(i) * xray_line_kev(115, angle[p]) * (i == HOT ? 1.03 : 1);
      fwhm[p]   = fwhm_of(i);
    }
    const struct compton_pixels pixels = {&cube, angle, line, NULL, fwhm, NULL};
    CHECK_OK(compton_disc_drift(comm, table, &pixels, lithium, &growth, &sigma));
    CHECK(sigma > 2e-5 && sigma < 8e-5, "sigma %g", sigma);
    CHECK(fabs(growth - want) < 4 * sigma, "growth %g +- %g, truth %g", growth, sigma, want);
    memset(cube.count, 0, (size_t)(cube.pixels * cube.bins) * sizeof *cube.count);
    CHECK_OK(compton_disc_drift(comm, table, &pixels, lithium, &growth, &sigma));
    CHECK(isnan(growth), "growth of nothing is %g", growth);
    compton_cube_free(&cube);
  }
  compton_table_free(table);
}

TEST(a_failure_on_one_rank_ends_the_disc_and_the_drift_on_all) {
#ifndef XCSCT_FAULTS
  check_skip("built without XCSCT_FAULTS");
#else
  struct compton_table *table = table_make();
  struct compton_cube cube;
  struct compton_disc_pixel pixel[PIXELS];
  struct compton_disc_result r;
  double angle[PIXELS], growth, sigma;
  char fault[64];
  int size, rank;
  MPI_Comm_size(comm, &size);
  MPI_Comm_rank(comm, &rank);
  int64_t here = PIXELS * (int64_t)(rank + 1) / size - PIXELS * (int64_t)rank / size;
  cube         = (struct compton_cube){.rows      = SIDE,
                                       .columns   = SIDE,
                                       .bins      = SPECTRUM_BINS,
                                       .first_kev = SPECTRUM_FIRST_KEV,
                                       .bin_kev   = SPECTRUM_BIN_KEV,
                                       .pixel0    = PIXELS * (int64_t)rank / size,
                                       .pixels    = here};
  CHECK_OK(memory_make(here * SPECTRUM_BINS, sizeof *cube.count, "counts", &cube.count));
  CHECK_OK(memory_make(here, 1, "flags", &cube.bad));
  for (int64_t p = 0; p < here; p++) angle[p] = PI / 2;
  const struct compton_pixels pixels = {&cube, angle, NULL, NULL, NULL, NULL};
  snprintf(fault, sizeof fault, "compton.disc:%d", size - 1);
  setenv("FAULT", fault, 1);
  CHECK(compton_disc_measure(comm, table, &cube, &camera, lithium, pixel, &r) != STATUS_OK &&
            strstr(status_text(), "compton.disc"),
        "%s", status_text());
  status_clear();
  snprintf(fault, sizeof fault, "compton.drift:%d", size - 1);
  setenv("FAULT", fault, 1);
  CHECK(compton_disc_drift(comm, table, &pixels, lithium, &growth, &sigma) != STATUS_OK,
        "the fault was not met");
  unsetenv("FAULT");
  status_clear();
  compton_cube_free(&cube);
  compton_table_free(table);
#endif
}
