/* Quality: what a careful reader would look at first, each with its limit and whether it is kept. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void begin_checks(struct report *r) {
  report_section(r, "checks", "Quality checks");
  report_raw(r, "<div class=\"wide\"><table>\n<thead><tr><th class=\"l\" "
                "scope=\"col\">Check</th><th class=\"l\" scope=\"col\">State</th>"
                "<th scope=\"col\">Found</th><th class=\"l\" scope=\"col\">Wanted</th><th "
                "class=\"l\" scope=\"col\">Verdict</th></tr></thead>\n<tbody>\n");
}

static void put_check(struct report *r, const char *what, const char *state, const char *found,
                      const char *wanted, enum report_verdict verdict) {
  static const char *const word[] = {"pass", "warn", "not known"}, *const class[] = {"pass", "warn",
                                                                                     "quiet"};
  char words[80];
  report_state_words(state, words, sizeof words);
  r->passed += verdict == REPORT_PASS;
  r->warned += verdict == REPORT_WARN;
  report_raw(r, "<tr><th scope=\"row\">");
  report_text(r, what);
  report_raw(r, "</th><td class=\"l\">");
  report_text(r, words);
  report_raw(r, "</td><td>");
  report_text(r, found);
  report_raw(r, "</td><td class=\"l\">");
  report_text(r, wanted);
  report_raw(r, "</td><td class=\"l %s\">%s</td></tr>\n", class[verdict], word[verdict]);
}

/* A result that should lie within limits; `most` or `least` may be infinite. */
static void check_result(struct report *r, const char *what, const char *state, const char *stage,
                         const char *name, double least, double most, const char *wanted) {
  const struct report_row *row = report_row_find(r, state, stage, name);
  char found[200];
  if (!row) return;
  report_number_plain(row->value, row->sigma, (double)NAN, (double)NAN, found, sizeof found);
  bool good = isfinite(row->value) && row->value >= least && row->value <= most;
  put_check(r, what, state, found, wanted,
            !isfinite(row->value) ? REPORT_UNKNOWN
            : good                ? REPORT_PASS
                                  : REPORT_WARN);
}

/* ---- rotation axis ---------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_of(double *value, int64_t n) {
  if (n == 0) return (double)NAN;
  qsort(value, (size_t)n, sizeof *value, ascending);
  return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

/* The stage does not move between scans: the axis of a state far from the others' was found wrongly. */
static void check_centres(struct report *r) {
  double centre[REPORT_STATES_MOST];
  int n = 0;
  for (int i = 0; i < r->states; i++) {
    const struct report_row *row = report_row_find(r, r->state[i].name, "recon", "centre_px");
    if (row && isfinite(row->value)) centre[n++] = row->value;
  }
  double middle = median_of(centre, n);
  for (int i = 0; i < r->states; i++) {
    const struct report_row *row = report_row_find(r, r->state[i].name, "recon", "centre_px");
    char found[80];
    if (!row || !isfinite(row->value)) continue;
    snprintf(found, sizeof found, "%.2f px, %+.2f", row->value, row->value - middle);
    put_check(r, "Rotation axis", row->state, found, "within 2 px of the states' median",
              n < 3                            ? REPORT_UNKNOWN
              : fabs(row->value - middle) <= 2 ? REPORT_PASS
                                               : REPORT_WARN);
  }
}

/* ---- rings ---------------------------------------------------------------------------------------------------------- */

enum { RADII_MOST = 4096, HALF = 4 };

/* Mean over each radius of 1 px about the slice's middle; the number of pixels. */
static int64_t radial_means(const struct report_image *slice, double *mean, double *count) {
  double cy = (double)(slice->ny - 1) / 2, cx = (double)(slice->nx - 1) / 2;
  int64_t radii = (int64_t)(fmin(cy, cx) * 0.95);
  if (radii > RADII_MOST) radii = RADII_MOST;
  for (int64_t k = 0; k < radii; k++) mean[k] = count[k] = 0;
  for (int64_t y = 0; y < slice->ny; y++)
    for (int64_t x = 0; x < slice->nx; x++) {
      int64_t k = (int64_t)(hypot((double)y - cy, (double)x - cx) + 0.5);
      double v  = (double)slice->value[y * slice->nx + x];
      if (k < radii && isfinite(v)) mean[k] += v, count[k]++;
    }
  for (int64_t k = 0; k < radii; k++) mean[k] /= count[k] > 0 ? count[k] : 1;
  return radii;
}

/* Pixel noise from differences of neighbours: their median deviation is 0.954 of a standard deviation each. */
static double noise_of(const struct report_image *slice, double *scratch, int64_t most) {
  int64_t n = 0, step = slice->ny * slice->nx / most + 1;
  for (int64_t i = 0; i + 1 < slice->ny * slice->nx && n < most; i += step)
    if ((i + 1) % slice->nx && isfinite(slice->value[i]) && isfinite(slice->value[i + 1]))
      scratch[n++] = fabs((double)slice->value[i + 1] - (double)slice->value[i]);
  return median_of(scratch, n) / 0.6745 / sqrt(2);
}

/* Rings are what the radial means have beyond a running median of nine radii, and beyond the pixels' noise; the median over
 * radii leaves the object's own round edges out. In units of the pixel noise. */
static double rings_of(const struct report_image *slice) {
  static double mean[RADII_MOST], count[RADII_MOST], excess[RADII_MOST], scratch[1 << 16];
  int64_t radii = radial_means(slice, mean, count), n = 0;
  double noise = noise_of(slice, scratch, 1 << 16);
  for (int64_t k = 12; k + HALF < radii; k++) {
    double window[2 * HALF + 1];
    for (int i = 0; i <= 2 * HALF; i++) window[i] = mean[k - HALF + i];
    double d    = mean[k] - median_of(window, 2 * HALF + 1);
    excess[n++] = fmax(0, d * d - noise * noise / count[k]);
  }
  return n > 8 && noise > 0 ? sqrt(median_of(excess, n) / 0.455) / noise : (double)NAN;
}

static void check_rings(struct report *r, int state) {
  char path[STORE_NAME_BYTES], found[80];
  struct store_info info;
  struct report_image slice;
  if (!report_file(r, r->state[state].name, "recon", path) ||
      !report_shape(r, path, "volume", &info) || info.rank != 3)
    return;
  const int64_t start[3] = {info.n[0] / 2, 0, 0}, n[3] = {1, info.n[1], info.n[2]};
  report_image_read(r, path, "volume", start, n, 1 << 20, false, &slice);
  if (r->speaks && slice.value) {
    double rings = rings_of(&slice);
    snprintf(found, sizeof found,
             isfinite(rings) ? "%.2f of the pixel noise"
                             : "%.0f: the slice is too small or has no noise",
             rings);
    put_check(r, "Rings in the middle slice", r->state[state].name, found,
              "below 0.5 of the pixel noise",
              !isfinite(rings) ? REPORT_UNKNOWN
              : rings < 0.5    ? REPORT_PASS
                               : REPORT_WARN);
  }
  report_image_free(&slice);
}

/* ---- Compton fits --------------------------------------------------------------------------------------------------- */

/* NAME, or NAME_region<n>; region 0: without. */
static const struct report_row *of_region(const struct report *r, const char *state,
                                          const char *name, int region) {
  char full[96];
  snprintf(full, sizeof full, region ? "%s_region%d" : "%s", name, region);
  return report_row_find(r, state, "compton", full);
}

/* What the fit leaves beyond counting noise, of the mean bin of both windows: chi2 per bin is 1 + (misfit)^2 times the
 * counts of a bin. */
static void check_fit(struct report *r, const char *state, int region, double bins) {
  const struct report_row *chi2   = of_region(r, state, "fit_chi2_per_bin", region),
                          *counts = of_region(r, state, "counts_in_windows", region);
  char what[64], found[80];
  if (!chi2 || !isfinite(chi2->value) || !counts || !(counts->value > 0) || !(bins > 0)) return;
  double misfit = 100 * sqrt(fmax(0, chi2->value - 1) / (counts->value / bins));
  snprintf(what, sizeof what, region ? "Compton fit, region %d" : "Compton fit", region);
  snprintf(found, sizeof found, "%.2f %% (chi2 %.3g per bin)", misfit, chi2->value);
  put_check(r, what, state, found, "misfit below 1 % of the counts",
            misfit < 1 ? REPORT_PASS : REPORT_WARN);
}

/* The high-energy side sees no tails: a factor that differs from it has some. */
static void check_sides(struct report *r, const char *state, int region) {
  const struct report_row *both = of_region(r, state, "emf", region),
                          *high = of_region(r, state, "emf_high_side", region);
  char what[64], found[80];
  if (!both || !high || !(both->value > 0) || !isfinite(high->value)) return;
  double differ = 100 * (high->value / both->value - 1),
         error  = 100 * hypot(isfinite(both->sigma) ? both->sigma : 0,
                              isfinite(high->sigma) ? high->sigma : 0) / both->value;
  snprintf(what, sizeof what, region ? "EMF of the high side, region %d" : "EMF of the high side",
           region);
  snprintf(found, sizeof found, "%+.2f %% of EMF", differ);
  put_check(r, what, state, found, "within 1 % or 3 standard deviations",
            fabs(differ) < fmax(1, 3 * error) ? REPORT_PASS : REPORT_WARN);
}

static void check_pixels(struct report *r, const char *state, int region) {
  const struct report_row *bad  = of_region(r, state, "bad_pixels", region),
                          *good = of_region(r, state, "pixels", region);
  char what[64], found[80];
  if (!bad || !good || !(bad->value + good->value > 0)) return;
  double percent = 100 * bad->value / (bad->value + good->value);
  snprintf(what, sizeof what, region ? "Bad pixels, region %d" : "Bad pixels", region);
  snprintf(found, sizeof found, "%.2g %%", percent);
  put_check(r, what, state, found, "at most 5 %", percent <= 5 ? REPORT_PASS : REPORT_WARN);
}

/* Bins of the energy axis within 5 a.u. of the line: 8.84 keV at 115 keV and 90 degrees, near enough for a check elsewhere. */
static double bins_of(const struct report *r, const char *state) {
  char path[STORE_NAME_BYTES];
  int64_t n;
  double bins = 0;
  if (!report_file(r, state, "compton", path)) return 0;
  double *energy = report_numbers(r, path, "/entry/cube/energy", &n);
  if (energy && n > 1 && energy[1] > energy[0]) bins = 8.84 / (energy[1] - energy[0]);
  memory_free(energy);
  return bins;
}

static void check_compton(struct report *r, int state) {
  const char *name = r->state[state].name;
  double bins      = bins_of(r, name);
  for (int region = 0; region <= 6 && r->speaks; region++) {
    check_fit(r, name, region, bins);
    check_sides(r, name, region);
    check_pixels(r, name, region);
  }
}

/* ---- the solver ----------------------------------------------------------------------------------------------------- */

static void check_solver(struct report *r, const struct report_row *row) {
  char found[80], wanted[80], what[128];
  const char *text =
      r->cycle ? config_scalar(config_get(config_get(config_root(r->cycle), "flux"), "tolerance"))
               : NULL;
  double tolerance = text && atof(text) > 0 ? atof(text) : 1e-4;
  if (!isfinite(row->lower) || !isfinite(row->upper) || !(row->upper + row->lower > 0)) return;
  double half = (row->upper - row->lower) / (row->upper + row->lower);
  snprintf(found, sizeof found, "%.1e", half);
  snprintf(wanted, sizeof wanted, "at most %g", tolerance);
  snprintf(what, sizeof what, "Solver's interval, %s", row->name);
  put_check(r, what, row->state, found, wanted,
            half <= tolerance * 1.0001 ? REPORT_PASS : REPORT_WARN);
}

static void check_units(struct report *r) {
  for (int i = 0; i < r->units; i++) {
    const struct report_unit *unit = &r->unit[i];
    char what[64];
    if (strcmp(unit->is, "failed") != 0 && strcmp(unit->is, "below") != 0) continue;
    snprintf(what, sizeof what, "Stage %s", unit->stage);
    put_check(r, what, unit->state, unit->why, "done", REPORT_WARN);
  }
}

static void check_results(struct report *r) {
  check_units(r);
  check_centres(r);
  for (int i = 0; i < r->states; i++) {
    const char *state = r->state[i].name;
    check_result(r, "Alignment, correlation with the first state", state, "align", "quality", 0.9,
                 INFINITY, "at least 0.9");
    check_result(r, "Registration of tomography and Compton map", state, "correlate",
                 "registration_quality", 0.9, INFINITY, "at least 0.9");
    check_result(r, "Impedance, Kramers-Kronig residual", state, "echem", "kramers_kronig_residual",
                 0, 0.01, "at most 0.01 of |Z|");
  }
  check_result(r, "Registration of tomography and Compton map", "all", "correlate",
               "registration_quality", 0.9, INFINITY, "at least 0.9");
  for (int i = 0; i < r->rows; i++)
    if (strncmp(r->row[i].name, "effective_diffusivity", 21) == 0) check_solver(r, &r->row[i]);
}

enum status report_checks(struct report *r) {
  if (r->speaks) {
    begin_checks(r);
    check_results(r);
  }
  for (int i = 0; i < r->states; i++) check_rings(r, i);
  for (int i = 0; i < r->states; i++) check_compton(r, i);
  if (r->speaks)
    report_raw(r, "</tbody></table></div>\n<p>%d passed, %d to look at.</p>\n", r->passed,
               r->warned);
  return STATUS_OK;
}
