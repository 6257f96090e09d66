/* np: 1 */
#include "check.h"
#include "correlate_pinhole.h"
#include "correlate_statistics.h"
#include "correlate_unmix.h"
#include <math.h>
#include <stdlib.h>

static uint64_t state;
static double uniform(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}
static double normal(void) {
  double u = uniform(), v = uniform();
  return sqrt(-2 * log(u)) * cos(2 * PI * v);
}

TEST(correlations_of_small_sets_are_those_of_the_textbook) {
  const double x[] = {1, 2, 3, 4, 5, (double)NAN}, y[] = {2, 1, 4, 3, 5, 7},
               ties[] = {1, 2, 2, 3, 9, 0};
  double value;
  CHECK_NEAR(correlate_pearson(x, y, 6), 0.8, 1e-12);
  CHECK_OK(correlate_spearman(x, ties, 6, &value));
  CHECK_NEAR(value, 9.5 / sqrt(95), 1e-12);
  CHECK(isnan(correlate_pearson(x, x, 1)), "one pair has no correlation");
}

TEST(a_partial_correlation_takes_the_common_cause_out) {
  enum { N = 4000 };
  static double x[N], y[N], z[N];
  const double *controls[] = {z};
  state                    = 5;
  for (int i = 0; i < N; i++) {
    z[i] = normal();
    x[i] = 2 * z[i] + normal();
    y[i] = -3 * z[i] + normal();
  }
  double value;
  CHECK_NEAR(correlate_pearson(x, y, N), -6 / sqrt(50), 0.02);
  CHECK_OK(correlate_partial(x, y, controls, 1, N, &value));
  CHECK(fabs(value) < 4 / sqrt((double)N), "%g is left", value);
}

/* Maps with a correlation length of about two pixels, independent of each other. */
static void smooth_noise(double *map, int n) {
  static double raw[64 * 64];
  for (int i = 0; i < n * n; i++) raw[i] = normal();
  for (int y = 0; y < n; y++)
    for (int x = 0; x < n; x++) {
      map[y * n + x] = 0;
      for (int j = -1; j <= 1; j++)
        for (int i = -1; i <= 1; i++) map[y * n + x] += raw[(y + j + n) % n * n + (x + i + n) % n];
    }
}

TEST(block_intervals_cover_at_their_stated_rate) {
  enum { N = 48, SETS = 100 };
  static double x[N * N], y[N * N];
  int alone = 0, blocks = 0;
  state = 11;
  for (int s = 0; s < SETS; s++) {
    smooth_noise(x, N);
    smooth_noise(y, N);
    struct correlate_maps maps = {x, y, NULL, 0, N, N};
    struct correlate_interval interval;
    CHECK_OK(correlate_bootstrap(CORRELATE_PEARSON, &maps, 8, 200, 3, &interval));
    blocks += interval.low <= 0 && interval.high >= 0;
    CHECK_OK(correlate_bootstrap(CORRELATE_PEARSON, &maps, 1, 200, 3, &interval));
    alone += interval.low <= 0 && interval.high >= 0;
  }
  CHECK(blocks >= 87, "%d of %d intervals hold the truth", blocks, SETS);
  CHECK(alone < blocks - 5, "pixels drawn alone: %d, in blocks: %d", alone, blocks);
}

TEST(moran_tells_a_gradient_from_noise) {
  enum { N = 12, SETS = 100 };
  double map[N * N], i, p;
  int alarms = 0;
  state      = 17;
  for (int s = 0; s < SETS; s++) {
    for (int k = 0; k < N * N; k++) map[k] = normal();
    CHECK_OK(correlate_moran(map, N, N, 99, (uint64_t)s, &i, &p));
    alarms += p <= 0.05;
  }
  CHECK(alarms <= 13, "%d false alarms in %d at 5 %%", alarms, SETS);
  for (int k = 0; k < N * N; k++) map[k] = k % N;
  CHECK_OK(correlate_moran(map, N, N, 99, 1, &i, &p));
  CHECK(i > 0.8 && p == 0.01, "I = %g, p = %g", i, p);
  for (int k = 0; k < N * N; k++) map[k] = (k / N + k % N) % 2;
  CHECK_OK(correlate_moran(map, N, N, 99, 1, &i, &p));
  CHECK_NEAR(i, -1, 1e-12);
}

TEST(groups_differ_by_what_was_put_in) {
  enum { N = 400 };
  double map[N], sigma[N];
  int8_t group[N];
  state = 23;
  for (int k = 0; k < N; k++) {
    group[k] = (int8_t)(k % 3 - 1);
    sigma[k] = 0.5 + uniform();
    map[k]   = 2 + (group[k] == 1 ? 0.7 : 0) + sigma[k] * normal();
  }
  struct correlate_difference d = correlate_group_difference(map, sigma, group, N);
  CHECK(fabs(d.value - 0.7) < 3 * d.sigma && d.p_value < 1e-4, "%g +- %g, p = %g", d.value, d.sigma,
        d.p_value);
  CHECK(d.n_a + d.n_b == 266 || d.n_a + d.n_b == 267, "%d pixels", (int)(d.n_a + d.n_b));
}

TEST(the_papers_subtraction_is_the_square_case) {
  struct unmix_matrix m = unmix_paper();
  const double y[3] = {5.1, 4.7, 3.9}, sigma[3] = {0.1, 0.2, 0.15};
  double s[4], cover[4][4];
  CHECK_OK(unmix_solve(&m, y, sigma, s, cover));
  CHECK_NEAR(s[0], y[2], 1e-12);
  CHECK_NEAR(s[1], (y[1] - .89 * y[2]) / .11, 1e-11);
  CHECK_NEAR(s[2], (y[0] - .64 * y[2] - (y[1] - .89 * y[2])) / .25, 1e-11);
  double spe = sqrt(sigma[1] * sigma[1] + .89 * .89 * sigma[2] * sigma[2]) / .11;
  CHECK_NEAR(sqrt(cover[1][1]), spe, 1e-10);
}

TEST(unmixing_is_unbiased_and_its_errors_hold) {
  enum { SETS = 2000 };
  struct unmix_matrix m = {.regions = 4, .components = 3};
  const double truth[3] =
      {
          1.2, 5.0, 9.1
  },
               v[4][3] = {{.64, .11, .25}, {.89, .11, 0}, {1, 0, 0}, {.3, .3, .4}};
  double pull[3] = {0}, square[3] = {0};
  for (int r = 0; r < 4; r++)
    for (int c = 0; c < 3; c++) m.sigma[r][c] = v[r][c] > 0 && v[r][c] < 1 ? 0.01 : 0;
  state = 31;
  for (int k = 0; k < SETS; k++) {
    double y[4], sigma[4], s[4], cover[4][4];
    for (int r = 0; r < 4; r++) {
      sigma[r] = 0.02 * (r + 1);
      y[r]     = sigma[r] * normal();
      for (int c = 0; c < 3; c++) {
        y[r] += v[r][c] * truth[c];
        m.v[r][c] = v[r][c] + m.sigma[r][c] * normal(); /* the mask is known only so well */
      }
    }
    CHECK_OK(unmix_solve(&m, y, sigma, s, cover));
    for (int c = 0; c < 3; c++) {
      double p = (s[c] - truth[c]) / sqrt(cover[c][c]);
      pull[c] += p / SETS, square[c] += p * p / SETS;
    }
  }
  for (int c = 0; c < 3; c++) {
    CHECK(fabs(pull[c]) < 0.15, "component %d: mean pull %.3f", c, pull[c]);
    CHECK(sqrt(square[c]) > 0.85 && sqrt(square[c]) < 1.15, "component %d: pull %.3f", c,
          sqrt(square[c]));
  }
}

TEST(regions_that_do_not_tell_components_apart_are_refused) {
  struct unmix_matrix m = {
      .regions = 3, .components = 2, .v = {{.5, .5}, {.3, .3}, {.1, .1}}
  };
  const double y[3] = {1, 2, 3}, sigma[3] = {1, 1, 1};
  double s[4], cover[4][4];
  status_clear();
  CHECK(unmix_solve(&m, y, sigma, s, cover) == STATUS_INPUT, "accepted");
  status_clear();
}

static const struct pinhole_camera camera = {80, 80, 0.25, 160, 150, 0.2, 90, false};

TEST(the_pinhole_turns_the_picture_round) {
  struct pinhole_registration none = {1, 0, 0, 0};
  double x, y;
  pinhole_sample_point(&camera, &none, 39.5, 39.5, &x, &y);
  CHECK_NEAR(hypot(x, y), 0, 1e-12);
  pinhole_sample_point(&camera, &none, 39.5, 0, &x, &y); /* column 0 looks downstream: +y */
  CHECK_NEAR(y, 39.5 * 0.25 * 160 / 150, 1e-12);
  CHECK_NEAR(x, 0, 1e-12);
  pinhole_sample_point(&camera, &none, 79, 39.5, &x, &y);
  CHECK_NEAR(hypot(x, y), 39.5 * 0.25 * 160 / 150, 1e-12);
}

TEST(box_means_are_exact_areas) {
  const double map[6] = {1, 2, 3, 4, 5, (double)NAN};
  struct pinhole_map m;
  CHECK_OK(pinhole_map_make(map, 2, 3, 2.0, &m));
  CHECK_NEAR(pinhole_box_mean(&m, -2, -1, 2, 2), 1, 1e-12);
  CHECK_NEAR(pinhole_box_mean(&m, -1, 0, 2, 2), 3, 1e-12);
  CHECK_NEAR(pinhole_box_mean(&m, -1.5, -1, 2, 2), 0.75 * 1 + 0.25 * 2, 1e-12);
  CHECK_NEAR(pinhole_box_mean(&m, 1, 0, 2, 4), (0.5 * 2 + 0.5 * 3 + 0.5 * 5) / 1.5, 1e-12);
  CHECK(isnan(pinhole_box_mean(&m, 2, 1, 2, 2)), "an unknown place has no mean");
  pinhole_map_free(&m);
}

static void make_cell(double *map, int n) { /* disc with a notch and a slope: no symmetry */
  for (int j = 0; j < n; j++)
    for (int i = 0; i < n; i++) {
      double x = (i - 0.5 * (n - 1)) * 0.1, y = (j - 0.5 * (n - 1)) * 0.1;
      bool in        = x * x + y * y < 49 && !(x > 2 && x < 4 && y > 1 && y < 5);
      map[j * n + i] = in ? 1 + 0.03 * x - 0.02 * y : 0;
    }
}

TEST(registration_finds_scale_shift_and_rotation) {
  enum { N = 240 };
  static double map[N * N], seen[80 * 80];
  const struct pinhole_registration truth = {1.013, 1.7, 0.41, -0.36};
  struct pinhole_map m;
  make_cell(map, N);
  CHECK_OK(pinhole_map_make(map, N, N, 0.1, &m));
  pinhole_project(&camera, &truth, &m, seen);
  state = 41;
  for (int i = 0; i < 80 * 80; i++) seen[i] += 0.05 * normal();
  struct pinhole_registration found = {1, 0, 0, 0};
  double quality;
  CHECK_OK(pinhole_register(&camera, &m, seen, 0.6, &found, &quality));
  double pixel_mm = 0.25 * 160 / 150;
  CHECK_NEAR(found.shift_x_mm, truth.shift_x_mm, 0.1 * pixel_mm);
  CHECK_NEAR(found.shift_y_mm, truth.shift_y_mm, 0.1 * pixel_mm);
  CHECK_NEAR(found.scale * 7, truth.scale * 7, 0.1 * pixel_mm); /* at the disc's edge */
  CHECK_NEAR(found.rotation_deg / DEG_PER_RAD * 7, truth.rotation_deg / DEG_PER_RAD * 7,
             0.1 * pixel_mm);
  CHECK(quality > 0.95, "quality %g", quality);
  pinhole_map_free(&m);
}
