/* np: 1 2 3 */
#include "check.h"
#include "recon_phantom.h"
#include <stdlib.h>
#include <string.h>

TEST(ellipses_are_found_with_their_absolute_values) {
  const char *const methods[] = {"gridding", "direct"};
  struct scan s;
  int rank;
  MPI_Comm_rank(comm, &rank);
  scan_make(512, 720, 180, 255.5, &s);
  for (int m = 0; m < 2 && rank == 0; m++) {
    struct recon_geometry g = geometry_of(&s, "ramp", 1);
    double scale;
    status_clear();
    CHECK_OK(recon_slices(methods[m], &g, s.sinogram, 2, s.slice));
    double rmse = flat_rmse(&s, s.slice, &scale);
    CHECK(rmse <= 0.0095, "%s: flat RMSE %.5f", methods[m], rmse);
    CHECK(fabs(scale - 1) < 0.002, "%s: scale %.5f", methods[m], scale);
    rmse = flat_rmse(&s, s.slice, &scale);
    printf("         %s: flat RMSE %.5f, scale %.5f\n", methods[m], rmse, scale);
    double worst = 0;
    for (int64_t i = 0; i < 512 * 512; i++)
      worst = fmax(worst, fabs((double)s.slice[512 * 512 + i] - 2 * (double)s.slice[i]));
    CHECK(worst < 5e-4, "%s: the second slice of a pair is off by %g", methods[m], worst);
  }
  CHECK(true, "ranks");
  scan_free(&s);
}

/* The direct sum of the trigonometrically interpolated, filtered projections, in double. */
static double direct_sum(const struct scan *s, const double *spectrum, int64_t pad, double x,
                         double y) {
  double sum = 0;
  for (int64_t a = 0; a < s->angles; a++) {
    double at = s->centre + x * cos(s->angle_rad[a]) + y * sin(s->angle_rad[a]);
    for (int64_t k = 1; k < pad / 2; k++) {
      double phase    = 2 * PI * (double)k * at / (double)pad;
      const double *f = spectrum + 2 * (a * (pad / 2) + k);
      sum += 2 * s->weight_rad[a] * (f[0] * cos(phase) - f[1] * sin(phase));
    }
    sum += s->weight_rad[a] * spectrum[2 * a * (pad / 2)];
  }
  return sum;
}

TEST(gridding_is_the_direct_sum_to_a_ten_thousandth) {
  struct scan s;
  enum { N = 41, P = 30, PAD = 90, HALF = PAD / 2 };
  static double spectrum[2 * P * HALF];
  uint64_t state = 3;
  scan_make(N, P, 180, 19.3, &s);
  for (int i = 0; i < N * P; i++) { /* noise: the hardest */
    state         = state * 6364136223846793005u + 1442695040888963407u;
    s.sinogram[i] = (float)(state >> 40) / 16777216.0f;
  }
  for (int a = 0; a < P; a++)
    for (int k = 0; k < HALF; k++) {
      double re = 0, im = 0, ramp = 0.25;
      for (int c = 0; c < N; c++) {
        re += (double)s.sinogram[a * N + c] * cos(2 * PI * k * c / PAD);
        im -= (double)s.sinogram[a * N + c] * sin(2 * PI * k * c / PAD);
      }
      for (int d = 1; d <= HALF; d += 2) /* both sides; the middle one once */
        ramp -= (d == HALF ? 1 : 2) / (PI * PI * d * d) * cos(2 * PI * k * d / PAD);
      spectrum[2 * (a * HALF + k)]     = re * ramp / PAD;
      spectrum[2 * (a * HALF + k) + 1] = im * ramp / PAD;
    }
  struct recon_geometry g = geometry_of(&s, "ramp", 1);
  g.pad                   = PAD;
  status_clear();
  CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
  double error = 0, size = 0;
  for (int y = 0; y < N; y += 3)
    for (int x = 0; x < N; x += 3) {
      double want = direct_sum(&s, spectrum, PAD, x - s.radius, y - s.radius),
             got  = (double)s.slice[y * N + x];
      error += (got - want) * (got - want);
      size += want * want;
    }
  CHECK(sqrt(error / size) < 1.5e-4, "rms error %.2e of the rms", sqrt(error / size));
  scan_free(&s);
}

TEST(widths_angles_and_centres_of_all_kinds_are_alike) {
  const struct {
    int64_t columns, angles;
    double arc_deg, centre;
  } cases[] = {
      {127, 180, 180,  63   },
      {128, 181, 180,  63.5 },
      {130, 200, 180,  60.25},
      {129, 360, 360,  66.5 },
      {97,  151, -180, 48   }
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct scan s;
    float *other = NULL;
    double scale, scale_direct;
    scan_make(cases[i].columns, cases[i].angles, cases[i].arc_deg, cases[i].centre, &s);
    int64_t pixels = s.columns * s.columns;
    CHECK_OK(memory_make(pixels, sizeof *other, "slice", &other));
    struct recon_geometry g = geometry_of(&s, "hann", 1);
    status_clear();
    CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
    CHECK_OK(recon_slices("direct", &g, s.sinogram, 1, other));
    double rmse = flat_rmse(&s, s.slice, &scale), direct = flat_rmse(&s, other, &scale_direct);
    CHECK(rmse < 0.02 && fabs(scale - 1) < 0.005, "case %zu gridding: RMSE %.4f scale %.4f", i,
          rmse, scale);
    CHECK(direct < 0.02 && fabs(scale_direct - 1) < 0.005, "case %zu direct: RMSE %.4f scale %.4f",
          i, direct, scale_direct);
    memory_free(other);
    scan_free(&s);
  }
}

TEST(centres_are_found_with_noise) {
  const struct {
    double arc_deg, centre;
  } cases[] = {
      {180, 63.5},
      {180, 71.2},
      {180, 52.8},
      {360, 60.4},
      {360, 68.1}
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct scan s;
    double found   = 0;
    bool edge      = false;
    uint64_t state = i + 1;
    scan_make(128, 180, cases[i].arc_deg, cases[i].centre, &s);
    for (int64_t k = 0; k < s.angles * s.columns; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      s.sinogram[k] += ((float)(state >> 40) / 16777216.0f - 0.5f) * 0.5f;
    }
    status_clear();
    CHECK_OK(recon_centre(comm, s.sinogram, s.angle_rad, s.angles, s.columns,
                          cases[i].arc_deg > 200, &found, &edge));
    CHECK(fabs(found - cases[i].centre) < 0.3 && !edge, "case %zu: %.2f, not %.2f", i, found,
          cases[i].centre);
    scan_free(&s);
  }
}

static double rms_difference(const float *a, const float *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += pow((double)a[i] - (double)b[i], 2);
  return sqrt(sum / (double)n);
}

/* Rings are what stripes add to the slice, without and with the removal. */
TEST(stripes_vanish_and_the_rest_stays) {
  struct scan s;
  float *clean = NULL, *kept = NULL;
  double scale;
  scan_make(256, 360, 180, 127.5, &s);
  struct recon_geometry g = geometry_of(&s, "hann", 1);
  int64_t samples = s.angles * s.columns, pixels = s.columns * s.columns;
  CHECK_OK(memory_make(samples, sizeof *clean, "a sinogram", &clean));
  CHECK_OK(memory_make(2 * pixels, sizeof *kept, "slices", &kept));
  memcpy(clean, s.sinogram, (size_t)samples * sizeof *clean);
  status_clear();
  CHECK_OK(recon_slices("gridding", &g, clean, 1, kept));
  for (int64_t k = 0; k < samples; k++)
    if (k % s.columns % 19 == 7)
      s.sinogram[k] +=
          6; /* 5 % of the columns; weaker than the slope along a row, a median cannot tell */
  CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
  double rings = rms_difference(s.slice, kept, pixels);
  CHECK_OK(recon_unstripe(s.sinogram, s.angles, s.columns, 5));
  CHECK_OK(recon_unstripe(clean, s.angles, s.columns, 5));
  CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
  CHECK_OK(recon_slices("gridding", &g, clean, 1, kept + pixels));
  double left = rms_difference(s.slice, kept + pixels, pixels),
         harm = flat_rmse(&s, kept + pixels, &scale);
  CHECK(left * left < 0.15 * rings * rings, "ring energy falls from %.2e to %.2e only",
        rings * rings, left * left);
  CHECK(harm < 0.01 && fabs(scale - 1) < 0.005, "a clean slice becomes RMSE %.4f, scale %.4f", harm,
        scale);
  memory_free(clean);
  memory_free(kept);
  scan_free(&s);
}

TEST(values_without_a_logarithm_are_repaired_and_counted) {
  const float flat[2] = {110, 110}, dark[2] = {10, 10};
  float sinogram[8] = {60, 60, 5, 60, 60, (float)NAN, 60, 10}; /* [4 angles][2 columns] */
  int64_t bad       = recon_attenuation(sinogram, 1, 4, 2, flat, dark, true);
  CHECK(bad == 3, "%lld", (long long)bad);
  for (int i = 0; i < 8; i++)
    CHECK(fabs((double)sinogram[i] - log(2)) < 1e-6, "value %d is %g", i, (double)sinogram[i]);
}

TEST(weights_sum_to_half_a_turn) {
  const double uneven[] = {0.1, 3.0, 1.0, -4.0, 1.1, 16740.0};
  double weight[6], sum = 0;
  status_clear();
  CHECK_OK(recon_weights(uneven, 6, weight));
  for (int i = 0; i < 6; i++) sum += weight[i];
  CHECK_NEAR(sum, PI, 1e-12);
  const double alike[] = {1, 1, 1};
  CHECK(recon_weights(alike, 3, weight) == STATUS_INPUT, "a scan that does not turn");
  status_clear();
}
