/* Factors and profiles of spectra whose truth is known, from another road (compton_spectrum.h).
 * np: 1 2 3 5 */
#include "compton_profile.h"
#include "compton_spectrum.h"

/* The mean of 200 pulls has an error of 0.07 of its own, half of what is allowed; that of these has 0.035. */
enum { SEEDS = 800 };

static struct compton_profile_settings settings_of(enum xray_material material) {
  struct compton_profile_settings s = compton_profile_defaults();
  if (material != XRAY_SPE) s.shapes = 1, s.material[0] = material;
  return s;
}
static struct compton_table *table_of(const struct compton_profile_settings *s) {
  struct compton_table *t = NULL;
  CHECK_OK(compton_table_make(s, SPECTRUM_FIRST_KEV, SPECTRUM_BIN_KEV, SPECTRUM_BINS, &t));
  return t;
}

/* n spectra as one row of pixels on one rank. */
struct chunk {
  struct compton_cube cube;
  struct compton_pixels pixels;
  double *angle, *line_kev, *fwhm_kev;
};
static void chunk_make(int64_t n, struct chunk *c) {
  memset(c, 0, sizeof *c);
  c->cube = (struct compton_cube){.rows      = 1,
                                  .columns   = n,
                                  .bins      = SPECTRUM_BINS,
                                  .first_kev = SPECTRUM_FIRST_KEV,
                                  .bin_kev   = SPECTRUM_BIN_KEV,
                                  .pixels    = n};
  CHECK_OK(memory_make(n * SPECTRUM_BINS, sizeof *c->cube.count, "counts", &c->cube.count));
  CHECK_OK(memory_make(n, 1, "flags", &c->cube.bad));
  CHECK_OK(memory_make(n, sizeof *c->angle, "angles", &c->angle));
  CHECK_OK(memory_make(n, sizeof *c->angle, "lines", &c->line_kev));
  CHECK_OK(memory_make(n, sizeof *c->angle, "widths", &c->fwhm_kev));
  c->pixels = (struct compton_pixels){&c->cube, c->angle, c->line_kev, NULL, c->fwhm_kev, NULL};
}
static void chunk_free(struct chunk *c) {
  compton_cube_free(&c->cube);
  memory_free(c->angle);
  memory_free(c->line_kev);
  memory_free(c->fwhm_kev);
}
static void chunk_set(struct chunk *c, int64_t p, const struct spectrum_truth *t) {
  c->angle[p]    = t->angle;
  c->fwhm_kev[p] = t->fwhm_kev;
  c->line_kev[p] = t->gain * xray_line_kev(SPECTRUM_BEAM_KEV, t->angle);
}
static uint32_t *counts_of(struct chunk *c, int64_t p) { return c->cube.count + p * SPECTRUM_BINS; }
/* ---- geometry ------------------------------------------------------------------------------------------ */

static const struct compton_geometry camera = {.rows        = 80,
                                               .columns     = 80,
                                               .pinhole_mm  = 160,
                                               .detector_mm = 150,
                                               .pitch_mm    = 0.25,
                                               .angle_deg   = 90};
static double line_at(const struct compton_geometry *g, double row, double column) {
  return xray_line_kev(SPECTRUM_BEAM_KEV, compton_angle(g, row, column));
}

TEST(column_0_looks_downstream_at_92_75_keV_and_column_79_upstream_at_95_02) {
  struct compton_geometry turned = camera, moved = camera;
  CHECK_NEAR(line_at(&camera, 39.5, 0), 92.75, 0.005);
  CHECK_NEAR(line_at(&camera, 39.5, 79), 95.02, 0.005);
  CHECK_NEAR(line_at(&camera, 39.5, 39.5), 93.874, 0.0005);
  CHECK_NEAR(line_at(&camera, 0, 39.5), 93.874, 0.0005);
  turned.beam_along_rows = true;
  CHECK_NEAR(line_at(&turned, 0, 39.5), 92.75, 0.005);
  CHECK_NEAR(line_at(&turned, 79, 39.5), 95.02, 0.005);
  moved.offset_deg = 1;
  CHECK_NEAR(line_at(&moved, 39.5, 39.5), 93.574, 0.001);
  /* an axis at 60 degrees: the pixel that looks 3.77 degrees more downstream */
  moved           = camera;
  moved.angle_deg = 60;
  double aside    = atan(39.5 * 0.25 / 150) * DEG_PER_RAD;
  CHECK_NEAR(compton_angle(&moved, 39.5, 0) * DEG_PER_RAD, 60 + aside, 1e-9);
}

/* ---- factors --------------------------------------------------------------------------------------------- */

struct pulls {
  double sum[4], square[4];
  int n;
};
static void pull_add(struct pulls *p, const struct compton_emf *e, const double truth[4]) {
  const struct compton_factor *f[4] = {&e->emf, &e->high, &e->emf_normal, &e->high_normal};
  for (int k = 0; k < 4; k++) {
    double pull = (f[k]->value - truth[k]) / f[k]->sigma;
    p->sum[k] += pull;
    p->square[k] += pull * pull;
  }
  p->n++;
}
static void pull_check(const struct pulls *p, const char *what) {
  static const char *const name[4] = {"EMF", "high side", "normal EMF", "normal high side"};
  for (int k = 0; k < 4; k++) {
    double mean = p->sum[k] / p->n, sd = sqrt(p->square[k] / p->n - mean * mean);
    CHECK(fabs(mean) <= 0.15, "%s of %s: mean pull %g", name[k], what, mean);
    CHECK(sd >= 0.9 && sd <= 1.1, "%s of %s: pulls spread by %g", name[k], what, sd);
  }
}

static void pulls_of(const char *what, const struct compton_profile_settings *s,
                     const struct xray_profile *profile, uint64_t stream, struct pulls *pulls) {
  double expected[SPECTRUM_BINS], truth[4];
  struct compton_table *table = table_of(s);
  struct chunk c;
  struct spectrum_truth t = {.profile  = profile,
                             .angle    = 90.7 / DEG_PER_RAD,
                             .fwhm_kev = 0.85,
                             .gain     = 1.0008,
                             .counts   = 4e4,
                             .constant = 30,
                             .step     = 0.005};
  truth[0]                = spectrum_emf(profile, t.angle, t.fwhm_kev, &truth[1]);
  truth[2]                = spectrum_emf(profile, PI / 2, 0.79, &truth[3]);
  chunk_make(1, &c);
  chunk_set(&c, 0, &t);
  spectrum_expect(&t, expected);
  memset(pulls, 0, sizeof *pulls);
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    struct compton_emf emf;
    spectrum_draw(expected, seed, stream, counts_of(&c, 0));
    CHECK_OK(compton_profile_pixels(table, &c.pixels, NULL, &emf, NULL, NULL));
    pull_add(pulls, &emf, truth);
  }
  pull_check(pulls, what);
  chunk_free(&c);
  compton_table_free(table);
}

TEST(factors_of_C_Al_Fe_and_Li_are_unbiased_with_honest_errors_over_800_seeds) {
  static const enum xray_material material[] = {XRAY_CARBON, XRAY_ALUMINIUM, XRAY_IRON,
                                                XRAY_LI_METAL};
  int rank;
  MPI_Comm_rank(comm, &rank);
  for (int m = 0; m < 4 && rank == 0; m++) {
    struct xray_profile profile;
    struct pulls pulls;
    struct compton_profile_settings s = settings_of(material[m]);
    CHECK_OK(xray_profile_of(material[m], 1, &profile));
    pulls_of(xray_material_name(material[m]), &s, &profile, (uint64_t)m, &pulls);
  }
}

static void mixture_make(double li, double spe, double cathode, struct xray_profile *profile) {
  const double part[3]                = {li, spe, cathode};
  const enum xray_material material[] = {XRAY_LI_METAL, XRAY_SPE, XRAY_CATHODE};
  double all                          = 0;
  memset(profile, 0, sizeof *profile);
  for (int k = 0; k < 3; k++) all += part[k] * xray_electron_density(material[k], 0.7);
  for (int k = 0; k < 3; k++) {
    struct xray_profile one;
    CHECK_OK(xray_profile_of(material[k], 0.7, &one));
    xray_profile_add(profile, part[k] * xray_electron_density(material[k], 0.7) / all, &one);
  }
}

/* The fit is given the cathode with x = 1, the spectra have x = 0.7. */
TEST(factors_of_mixtures_are_unbiased_with_honest_errors_over_800_seeds) {
  static const double part[3][3] = {
      {0.64, 0.11, 0.25},
      {0.89, 0.11, 0   },
      {0,    0.5,  0.5 }
  };
  int rank;
  MPI_Comm_rank(comm, &rank);
  for (int m = 0; m < 3 && rank == 0; m++) {
    struct xray_profile profile;
    struct pulls pulls;
    struct compton_profile_settings s = settings_of(XRAY_SPE);
    char what[64];
    mixture_make(part[m][0], part[m][1], part[m][2], &profile);
    snprintf(what, sizeof what, "mixture %d", m);
    pulls_of(what, &s, &profile, 10 + (uint64_t)m, &pulls);
  }
}
