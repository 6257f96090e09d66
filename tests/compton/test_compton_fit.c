/* Fits of the peak against spectra whose truth is known, and the scattering angles of measured spectra of diamond.
 * np: 1 */
#include "compton_fit.h"
#include "compton_fit_lines.h"
#include "compton_spectrum.h"

/* The error of a mean over these is a twentieth of a single one's. */
enum { SEEDS = 400 };

static struct compton_table *table_of(enum xray_material material) {
  struct compton_table *t           = NULL;
  struct compton_profile_settings s = compton_profile_defaults();
  s.shapes                          = 1;
  s.material[0]                     = material;
  CHECK_OK(compton_table_make(&s, SPECTRUM_FIRST_KEV, SPECTRUM_BIN_KEV, SPECTRUM_BINS, &t));
  return t;
}

struct tally {
  double sum, square, pull, pull2;
  int n;
};
static void tally_add(struct tally *t, double off, double sigma) {
  t->sum += off;
  t->square += off * off;
  t->pull += off / sigma;
  t->pull2 += off * off / (sigma * sigma);
  t->n++;
}
static double mean_of(const struct tally *t) { return t->sum / t->n; }
static double scatter_of(const struct tally *t) {
  return sqrt(t->square / t->n - mean_of(t) * mean_of(t));
}
static void pulls_check(const struct tally *t, const char *what) {
  double mean = t->pull / t->n, sd = sqrt(t->pull2 / t->n - mean * mean);
  CHECK(fabs(mean) < 0.2 && sd > 0.9 && sd < 1.1, "%s: pulls %g +- %g", what, mean, sd);
}

static const struct xray_profile *profile_of(enum xray_material material) {
  static struct xray_profile profile;
  CHECK_OK(xray_profile_of(material, 1, &profile));
  return &profile;
}

/* Fits SEEDS draws of one truth; off[term] of what was fitted. */
static void fit_many(const struct spectrum_truth *truth, enum xray_material material, unsigned on,
                     struct tally off[COMPTON_FIT_TERMS]) {
  double expected[SPECTRUM_BINS],
      line = truth->gain * xray_line_kev(SPECTRUM_BEAM_KEV, truth->angle);
  const double want[COMPTON_FIT_TERMS]       = {[COMPTON_FIT_LINE]     = line,
                                                [COMPTON_FIT_CONSTANT] = truth->constant,
                                                [COMPTON_FIT_ESCAPE]   = truth->escape,
                                                [COMPTON_FIT_WIDTH]    = truth->fwhm_kev / truth->gain};
  struct compton_table *table                = table_of(material);
  const struct compton_fit_settings settings = {.part = {1}, .free = on};
  memset(off, 0, COMPTON_FIT_TERMS * sizeof *off);
  spectrum_expect(truth, expected);
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    uint32_t count[SPECTRUM_BINS];
    struct compton_peak peak = {
        .value = {[COMPTON_FIT_WIDTH] =
                      on >> COMPTON_FIT_WIDTH & 1 ? 0 : truth->fwhm_kev / truth->gain}};
    spectrum_draw(expected, seed, 77, count);
    CHECK_OK(compton_fit_pixel(table, &settings, count, truth->angle, &peak));
    CHECK(peak.converged && peak.steps < 12, "seed %d: %d steps", (int)seed, peak.steps);
    for (int k = 0; k < COMPTON_FIT_TERMS; k++)
      if (on >> k & 1) tally_add(&off[k], peak.value[k] - want[k], sqrt(peak.covariance[k][k]));
  }
  compton_table_free(table);
}

TEST(a_peak_of_40000_counts_is_found_without_bias_by_three_parameters_and_by_five) {
  struct tally off[COMPTON_FIT_TERMS];
  struct spectrum_truth truth = {.profile  = profile_of(XRAY_LI_METAL),
                                 .angle    = 91.2 / DEG_PER_RAD,
                                 .fwhm_kev = 0.82,
                                 .gain     = 1.004,
                                 .counts   = 4e4,
                                 .constant = 20,
                                 .tail_kev = 1};
  fit_many(&truth, XRAY_LI_METAL, COMPTON_FIT_THREE, off);
  CHECK_NEAR(mean_of(&off[COMPTON_FIT_LINE]), 0, 0.001);
  CHECK(scatter_of(&off[COMPTON_FIT_LINE]) <= 0.0045, "lines scatter by %g keV",
        scatter_of(&off[COMPTON_FIT_LINE]));
  pulls_check(&off[COMPTON_FIT_LINE], "line");
  pulls_check(&off[COMPTON_FIT_CONSTANT], "constant");
  fit_many(&truth, XRAY_LI_METAL, COMPTON_FIT_FIVE, off);
  CHECK_NEAR(mean_of(&off[COMPTON_FIT_LINE]), 0, 0.001);
  /* a free escape line beside the peak takes information from it: 0.0047 is what Fisher's matrix allows */
  CHECK(scatter_of(&off[COMPTON_FIT_LINE]) <= 0.0049, "lines of five scatter by %g keV",
        scatter_of(&off[COMPTON_FIT_LINE]));
  pulls_check(&off[COMPTON_FIT_LINE], "line of five");
}

TEST(an_escape_line_within_the_peak_is_told_from_it) {
  struct tally off[COMPTON_FIT_TERMS];
  struct spectrum_truth truth = {.profile  = profile_of(XRAY_LI_METAL),
                                 .angle    = 90.4 / DEG_PER_RAD,
                                 .fwhm_kev = 0.84,
                                 .gain     = 1,
                                 .counts   = 4e4,
                                 .constant = 20,
                                 .step     = 0.01,
                                 .escape   = 1500,
                                 .tail_kev = 1};
  fit_many(&truth, XRAY_LI_METAL, COMPTON_FIT_FIVE, off);
  CHECK_NEAR(mean_of(&off[COMPTON_FIT_LINE]), 0, 0.001);
  CHECK_NEAR(mean_of(&off[COMPTON_FIT_ESCAPE]), 0, 15);
  pulls_check(&off[COMPTON_FIT_LINE], "line");
  pulls_check(&off[COMPTON_FIT_ESCAPE], "escape");
  pulls_check(&off[COMPTON_FIT_CONSTANT], "constant");
}

TEST(width_and_line_come_back_together) {
  struct tally off[COMPTON_FIT_TERMS];
  struct spectrum_truth truth = {.profile  = profile_of(XRAY_ALUMINIUM),
                                 .angle    = 87.1 / DEG_PER_RAD,
                                 .fwhm_kev = 0.9,
                                 .gain     = 0.997,
                                 .counts   = 2e5,
                                 .constant = 60,
                                 .tail_kev = 1};
  fit_many(&truth, XRAY_ALUMINIUM, COMPTON_FIT_THREE | 1U << COMPTON_FIT_WIDTH, off);
  pulls_check(&off[COMPTON_FIT_LINE], "line");
  pulls_check(&off[COMPTON_FIT_WIDTH], "width");
}

/* What the five parameters are for. */
TEST(an_escape_line_that_is_not_fitted_moves_the_peak) {
  struct tally off[COMPTON_FIT_TERMS];
  struct spectrum_truth truth = {.profile  = profile_of(XRAY_LI_METAL),
                                 .angle    = PI / 2,
                                 .fwhm_kev = 0.84,
                                 .gain     = 1,
                                 .counts   = 4e4,
                                 .constant = 20,
                                 .step     = 0.01,
                                 .escape   = 1500,
                                 .tail_kev = 1};
  fit_many(&truth, XRAY_LI_METAL, COMPTON_FIT_THREE, off);
  CHECK(mean_of(&off[COMPTON_FIT_LINE]) < -0.005, "moved by %g keV only",
        mean_of(&off[COMPTON_FIT_LINE]));
}

TEST(nothing_to_fit_does_not_converge_and_does_not_fail) {
  static uint32_t count[SPECTRUM_BINS];
  struct compton_table *table                = table_of(XRAY_LI_METAL);
  const struct compton_fit_settings settings = {.part = {1}, .free = COMPTON_FIT_FIVE};
  struct compton_peak peak                   = {.steps = 0};
  CHECK_OK(compton_fit_pixel(table, &settings, count, PI / 2, &peak));
  CHECK(!peak.converged, "an empty spectrum has a peak");
  count[3] = 1;
  CHECK_OK(compton_fit_pixel(table, &settings, count, PI / 2, &peak));
  CHECK(!peak.converged, "a count outside of the fit is a peak");
  count[120] = 1;
  CHECK_OK(compton_fit_pixel(table, &settings, count, PI / 2, &peak));
  for (int b = 0; b < SPECTRUM_BINS; b++) count[b] = b % 2 ? 4000000000U : 0;
  CHECK_OK(compton_fit_pixel(table, &settings, count, PI / 2, &peak));
  CHECK(compton_fit_pixel(table, &settings, count, 0.01, &peak) == STATUS_INPUT,
        "angle of 0.6 deg");
  status_clear();
  compton_table_free(table);
}

TEST(every_instruction_set_finds_the_same_peak_and_factor) {
  static const char *const set[] = {"baseline", "avx2", "avx512"};
  struct spectrum_truth truth    = {.profile  = profile_of(XRAY_LI_METAL),
                                    .angle    = 91.2 / DEG_PER_RAD,
                                    .fwhm_kev = 0.82,
                                    .gain     = 1,
                                    .counts   = 4e4,
                                    .constant = 20,
                                    .step     = 0.01,
                                    .tail_kev = 1};
  double expected[SPECTRUM_BINS], line = 0, factor = 0;
  uint32_t count[SPECTRUM_BINS];
  uint8_t good = 0;
  spectrum_expect(&truth, expected);
  spectrum_draw(expected, 1, 1, count);
  struct compton_cube cube = {
      .rows = 1, .columns = 1, .bins = SPECTRUM_BINS, .pixels = 1, .count = count, .bad = &good};
  const struct compton_pixels pixel = {.cube = &cube, .angle = &truth.angle};
  for (int k = 0; k < 3; k++) {
    if (isa_agree(comm, set[k]) != STATUS_OK) { /* not on this machine */
      status_clear();
      continue;
    }
    struct compton_table *table                = table_of(XRAY_LI_METAL);
    const struct compton_fit_settings settings = {.part = {1}, .free = COMPTON_FIT_FIVE};
    struct compton_peak peak                   = {.steps = 0};
    struct compton_emf emf;
    CHECK_OK(compton_fit_pixel(table, &settings, count, truth.angle, &peak));
    CHECK_OK(compton_profile_pixels(table, &pixel, NULL, NULL, &emf, NULL, NULL));
    if (k > 0) {
      CHECK_NEAR(peak.value[COMPTON_FIT_LINE], line, 1e-6);
      CHECK_NEAR(emf.emf_normal.value, factor, 1e-8);
    }
    line = peak.value[COMPTON_FIT_LINE], factor = emf.emf_normal.value;
    compton_table_free(table);
  }
  CHECK_OK(isa_agree(comm, "auto"));
}

/* ---- named lines --------------------------------------------------------------------------------------------- */

static const struct compton_line *line_named(const struct compton_line *line, int n,
                                             const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(line[i].name, name) == 0) return &line[i];
  return NULL;
}

/* A summed spectrum from 15 to 125 keV: a slope, the Compton line as a Gaussian, and four lines of 20000 counts. */
TEST(lines_of_a_summed_spectrum_are_named_and_counted) {
  enum { BINS = 550 };
  static const struct {
    const char *name;
    double kev;
  } put[] = {
      {"Cd K alpha",   23.11 },
      {"W K alpha 1",  59.318},
      {"Pb K alpha 1", 74.97 },
      {"elastic",      115   }
  };
  static double count[BINS];
  struct compton_line line[COMPTON_LINES_MOST];
  int n;
  for (int b = 0; b < BINS; b++) {
    double e = 15 + 0.2 * (b + 0.5), z = (e - 93.874) / 1, mean = 3000 - 10 * (e - 60);
    mean += 2e6 * 0.2 * 0.4 * exp(-z * z / 2);
    for (int k = 0; k < 4; k++) {
      double sigma =
          sqrt(0.84 * 0.84 + 8 * log(2) * 0.1 * 4.64e-3 * (put[k].kev - 93.874)) / 2.354820045;
      z = (e - put[k].kev) / sigma;
      mean += 20000 * 0.2 / (sigma * sqrt(2 * PI)) * exp(-z * z / 2);
    }
    count[b] = (double)random_poisson(8, 0, (uint64_t)b, mean);
  }
  const struct compton_lines_request r = {115, 93.874, 0.84, 15, 0.2, BINS, count};
  CHECK_OK(compton_fit_lines(&r, line, &n));
  CHECK(n >= 12, "%d lines", n);
  for (int k = 0; k < 4; k++) {
    const struct compton_line *found = line_named(line, n, put[k].name);
    CHECK(found, "no line is named %s", put[k].name);
    if (!found) continue;
    CHECK(found->sigma > 100 && found->sigma < 1000, "%s: sigma %g", found->name, found->sigma);
    CHECK(fabs(found->counts - 20000) < 4 * found->sigma + 200, "%s: %g +- %g", found->name,
          found->counts, found->sigma);
  }
  for (int i = 0; i < n; i++) {
    CHECK(i == 0 || line[i].energy_kev >= line[i - 1].energy_kev, "not by energy");
    bool there = false;
    for (int k = 0; k < 4; k++) there = there || strcmp(line[i].name, put[k].name) == 0;
    if (there || isnan(line[i].counts)) continue;
    CHECK(fabs(line[i].counts) < 4.5 * line[i].sigma, "%s at %g keV is not there: %g +- %g",
          line[i].name, line[i].energy_kev, line[i].counts, line[i].sigma);
  }
  const struct compton_line *escape = line_named(line, n, "elastic, Cd K alpha escaped");
  CHECK(escape && isnan(escape->counts), "a line within the Compton line was told");
}

/* ---- diamond ---------------------------------------------------------------------------------------------- */

/* The analyser stays at 15.8 keV and the beam's energy is scanned, so the "loss" is added to the beam: spectra are J(p_z) of
 * (15.8 + loss -> 15.8 keV). Fitted beyond the K edge of carbon by xraylib's profile of carbon on a constant. */
enum { DIAMOND_POINTS = 600, DIAMOND_COLUMNS = 9 };
#define ANALYSER_KEV 15.8
struct diamond {
  const struct xray_profile *profile;
  double loss_kev[DIAMOND_POINTS], rate[DIAMOND_POINTS], scale;
  int n;
};
static double diamond_model(const struct diamond *d, double loss_kev, const double *p) {
  double beam = ANALYSER_KEV + loss_kev;
  return p[0] * xray_cross_section(beam, ANALYSER_KEV, p[1]) *
             xray_profile_at(d->profile, xray_momentum(beam, ANALYSER_KEV, p[1])) +
         p[2];
}
static bool diamond_residuals(const double *p, double *r, void *context) {
  const struct diamond *d = context;
  if (!(p[1] > 0.3 && p[1] < 3.1)) return false;
  for (int i = 0; i < d->n; i++)
    r[i] = (d->rate[i] - d->scale * diamond_model(d, d->loss_kev[i], p)) / (0.02 * d->scale);
  return true;
}
static double diamond_angle_deg(struct diamond *d) {
  double p[3] = {0, 2, 0}, covariance[9], top = 0;
  struct numeric_fit_report report;
  for (int i = 0; i < d->n; i++) top = fmax(top, d->rate[i]);
  d->scale    = top;
  double line = 0; /* loss at the top: the angle to begin with */
  for (int i = 0; i < d->n; i++)
    if (d->rate[i] == top) line = d->loss_kev[i];
  p[1] = acos(fmax(-0.99, 1 - XRAY_MC2_KEV * (1 / ANALYSER_KEV - 1 / (ANALYSER_KEV + line))));
  p[0] = 1 / diamond_model(d, line, (const double[3]){1, p[1], 0});
  const struct numeric_leastsq_problem problem = {diamond_residuals, d, 3, d->n};
  CHECK_OK(numeric_leastsq(&problem, p, covariance, &report));
  return p[1] * DEG_PER_RAD;
}

TEST(the_angle_of_a_spectrum_like_that_of_diamond_comes_back) {
  static struct diamond d;
  d.profile = profile_of(XRAY_CARBON);
  for (int k = 0; k < 4; k++) {
    double angle = (115 + 9.3 * k) / DEG_PER_RAD;
    double top   = diamond_model(&d, 0.75, (const double[3]){1, angle, 0});
    d.n          = 380;
    for (int i = 0; i < d.n; i++) {
      d.loss_kev[i] = 0.35 + 0.0025 * i;
      d.rate[i]     = diamond_model(&d, d.loss_kev[i], (const double[3]){1 / top, angle, 0.03}) +
                  0.005 * random_normal(5, (uint64_t)k, (uint64_t)i);
    }
    CHECK_NEAR(diamond_angle_deg(&d), angle * DEG_PER_RAD, 0.1);
  }
}

TEST(angles_from_measured_spectra_of_diamond_are_within_3_degrees_of_nominal) {
  static const double nominal_deg[DIAMOND_COLUMNS] = {115, 121, 121, 129, 129, 137, 137, 143, 143};
  static struct diamond d[DIAMOND_COLUMNS];
  char path[512];
  FILE *file = check_data("compton/diamond_data_E016keV_tth123.dat", path, sizeof path)
                   ? fopen(path, "r")
                   : NULL;
  if (!file) {
    check_skip("no measured spectra of diamond in XCSCT_DATA");
    return;
  }
  double loss_ev, value;
  while (fscanf(file, "%lf", &loss_ev) == 1)
    for (int c = 0; c < DIAMOND_COLUMNS; c++) {
      if (fscanf(file, "%lf", &value) != 1) break;
      if (loss_ev < 350 || d[c].n == DIAMOND_POINTS) continue;
      d[c].loss_kev[d[c].n] = loss_ev / 1000;
      d[c].rate[d[c].n++]   = value;
    }
  fclose(file);
  for (int c = 0; c < DIAMOND_COLUMNS; c++) {
    d[c].profile = profile_of(XRAY_CARBON);
    double angle = diamond_angle_deg(&d[c]);
    CHECK(fabs(angle - nominal_deg[c]) <= 3, "column %d: %.2f degrees, nominally %g", c, angle,
          nominal_deg[c]);
  }
}
