/* Gain and offset from Poisson spectra of Am-241 whose truth is known.
 * np: 1 2 3 */
#include "check.h"
#include "compton_calibrate.h"
#include "numeric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINS = 750, ROWS = 12, COLUMNS = 20, PIXELS = ROWS * COLUMNS };
#define BIN_ADU 4.0
#define GUESS   0.0272

static const double line_kev[] = {59.5409, 26.3446, 17.75, 13.94};
static const double area[]     = {5000, 600, 1500, 1000};

static double true_gain(int64_t p) {
  return GUESS * (1 + 0.024 * random_normal(1, 0, (uint64_t)p));
}
static double true_offset(int64_t p) { return 0.2 * random_normal(1, 1, (uint64_t)p); }

/* `lines` of them, on a constant of 2 counts a bin. */
static void spectrum_make(int64_t p, double gain, double offset, int lines, double fwhm_kev,
                          uint32_t *count) {
  double sigma = fwhm_kev / 2.354820045 / gain;
  for (int b = 0; b < BINS; b++) {
    double mean = 2;
    for (int k = 0; k < lines; k++) {
      double at = (line_kev[k] - offset) / gain, low = (b * BIN_ADU - at) / sigma;
      mean += area[k] / 2 * (erf((low + BIN_ADU / sigma) / sqrt(2)) - erf(low / sqrt(2)));
    }
    count[b] = (uint32_t)random_poisson(9, (uint64_t)p, (uint64_t)b, mean);
  }
}

TEST(gain_and_offset_come_back_with_honest_errors) {
  uint32_t count[BINS];
  double sum[3] = {0}, square[3] = {0}, worst = 0;
  int n = 300;
  for (int64_t p = 0; p < n; p++) {
    struct compton_gain g;
    double gain = true_gain(p), offset = true_offset(p);
    spectrum_make(p, gain, offset, 4, 0.8, count);
    compton_calibrate_spectrum(count, BINS, 0, BIN_ADU, GUESS, &g);
    CHECK(g.flags == 0 && g.lines == 4, "pixel %lld: flags %d, %d lines", (long long)p, g.flags,
          g.lines);
    CHECK_NEAR(g.fwhm_kev, 0.8, 0.06);
    double pull[3] = {(g.line_adu[0] - (line_kev[0] - offset) / gain) / g.line_sigma_adu[0],
                      (g.line_adu[3] - (line_kev[3] - offset) / gain) / g.line_sigma_adu[3],
                      (g.gain_kev - gain) / sqrt(g.gain_variance)};
    for (int k = 0; k < 3; k++) sum[k] += pull[k], square[k] += pull[k] * pull[k];
    worst = fmax(worst, fabs(g.gain_kev * 3450 + g.offset_kev - gain * 3450 - offset));
  }
  for (int k = 0; k < 3; k++) {
    double mean = sum[k] / n, spread = sqrt(square[k] / n - mean * mean);
    CHECK_NEAR(mean, 0, 0.2);
    CHECK(spread < 1.15 && spread > (k < 2 ? 0.87 : 0.6), "pull %d: spread %g", k, spread);
  }
  CHECK(worst < 0.15, "at 94 keV the scale is off by up to %g keV", worst);
}

TEST(empty_flat_and_one_line_spectra_are_flagged) {
  uint32_t count[BINS] = {0};
  struct compton_gain g;
  compton_calibrate_spectrum(count, BINS, 0, BIN_ADU, GUESS, &g);
  CHECK(g.flags == CALIBRATE_EMPTY, "flags %d", g.flags);
  spectrum_make(1, GUESS, 0, 0, 0.8, count);
  compton_calibrate_spectrum(count, BINS, 0, BIN_ADU, GUESS, &g);
  CHECK(g.flags == CALIBRATE_NO_LINE && g.gain_kev == 0, "flags %d", g.flags);
  spectrum_make(1, GUESS, 0, 1, 0.8, count);
  compton_calibrate_spectrum(count, BINS, 0, BIN_ADU, GUESS, &g);
  CHECK(g.flags == CALIBRATE_ONE_LINE && g.lines == 1, "flags %d, %d lines", g.flags, g.lines);
  CHECK_NEAR(g.gain_kev, GUESS, 5 * sqrt(g.gain_variance));
  memset(count, 0, sizeof count);
  count[BINS - 1] = 7;
  compton_calibrate_spectrum(count, BINS, 0, BIN_ADU, GUESS, &g);
  CHECK(g.flags == CALIBRATE_NO_LINE, "flags %d", g.flags);
}

TEST(lines_off_a_straight_line_are_flagged) {
  uint32_t count[BINS], low[BINS];
  struct compton_gain g;
  spectrum_make(3, GUESS, 0, 4, 0.8, count);
  spectrum_make(3, GUESS, 0.9, 4, 0.8, low); /* below 22 keV another offset */
  memcpy(count, low, 800 / (int)BIN_ADU * sizeof *count);
  compton_calibrate_spectrum(count, BINS, 0, BIN_ADU, GUESS, &g);
  CHECK(g.flags & CALIBRATE_CURVED, "flags %d, chi2 %g, %d lines", g.flags, g.chi2, g.lines);
}

TEST(pixels_of_a_sensor_are_judged_by_its_median_on_any_ranks) {
  struct compton_cube cube = {.rows = ROWS, .columns = COLUMNS, .bins = BINS, .bin_kev = BIN_ADU};
  struct grid_plan plan;
  int64_t n[3] = {PIXELS, 1, 1}, good;
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  cube.pixel0 = grid_plan_mine(&plan).start[0], cube.pixels = grid_plan_mine(&plan).n[0];
  grid_plan_free(&plan);
  uint32_t *count           = calloc((size_t)cube.pixels * BINS, sizeof *count);
  uint8_t *bad              = calloc((size_t)cube.pixels, 1);
  struct compton_gain *gain = calloc((size_t)cube.pixels, sizeof *gain);
  cube.count = count, cube.bad = bad;
  for (int64_t i = 0; i < cube.pixels; i++) {
    int64_t p   = cube.pixel0 + i;
    double fwhm = p == 8 ? 2 : 0.8, own = p == 7 ? 1.2 * GUESS : true_gain(p);
    bad[i] = p == 9;
    spectrum_make(p, own, true_offset(p), p == 10 ? 0 : 4, fwhm, count + i * BINS);
  }
  CHECK_OK(compton_calibrate_cube(comm, &cube, GUESS, gain, &good));
  CHECK(good == PIXELS - 4, "%lld good pixels", (long long)good);
  for (int64_t i = 0; i < cube.pixels; i++) {
    int64_t p = cube.pixel0 + i;
    int want  = p == 7 || p == 8 ? CALIBRATE_ODD
                : p == 9         ? CALIBRATE_EMPTY
                : p == 10        ? CALIBRATE_NO_LINE
                                 : 0;
    CHECK(gain[i].flags == want, "pixel %lld: flags %d, not %d", (long long)p, gain[i].flags, want);
  }
  memset(count, 0, (size_t)cube.pixels * BINS * sizeof *count);
  CHECK(compton_calibrate_cube(comm, &cube, GUESS, gain, &good) == STATUS_INPUT &&
            strstr(status_text(), "no pixel shows the lines"),
        "%s", status_text());
  status_clear();
  free(count);
  free(bad);
  free(gain);
}
