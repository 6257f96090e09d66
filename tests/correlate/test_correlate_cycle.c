/* np: 1 */
#include "check.h"
#include "correlate_private.h"
#include "correlate_statistics.h"
#include "numeric_random.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Maps of a camera with 24 x 24 pixels that sees three regions of given mixtures, counted as Poisson numbers. */
enum { SIDE = 24, N = SIDE * SIDE };
static const double low_of[CORRELATE_C] = {1.39 * 0.66, 5.4 * 0.60, 10.3 * 0.48},
                    emf_of[CORRELATE_C] = {2.262, 1.740, 1.066};

static void count(struct correlate_seen *seen, int region, const double *fraction, double counts,
                  uint64_t seed) {
  for (int64_t i = 0; i < N; i++) {
    double low = 0, high = 0;
    for (int c = 0; c < CORRELATE_C; c++) {
      low += fraction[c] * low_of[c];
      high += fraction[c] * low_of[c] / emf_of[c];
    }
    double l  = (double)random_poisson(seed, (uint64_t)(2 * region), (uint64_t)i, counts * low),
           h  = (double)random_poisson(seed, (uint64_t)(2 * region + 1), (uint64_t)i, counts * high),
           e  = l / h;
    int64_t k = region * N + i;
    seen->sum[k] = seen->density[k] = (l + h) / counts;
    seen->sum_sigma[k] = seen->density_sigma[k] = sqrt(l + h) / counts;
    seen->emf[k]                                = e;
    seen->emf_sigma[k]                          = e * sqrt(1 / l + 1 / h);
  }
}

TEST(components_come_out_of_regions_with_errors_that_hold) {
  enum { SETS = 150 };
  const double v[3][CORRELATE_C] = {{.654, .11, .236}, {.904, .095, .001}, {.9915, .0085, 0}};
  struct unmix_matrix matrix     = {.regions = 3, .components = CORRELATE_C};
  struct correlate_seen seen;
  double mean[CORRELATE_C] = {0}, square[CORRELATE_C] = {0};
  CHECK_OK(correlate_seen_make(3, SIDE, SIDE, &seen));
  for (int r = 0; r < 3; r++) memcpy(matrix.v[r], v[r], sizeof v[r]);
  for (int s = 0; s < SETS; s++) {
    struct correlate_windows sums[3];
    struct correlate_amount found[CORRELATE_C];
    for (int r = 0; r < 3; r++) {
      count(&seen, r, v[r], 2000, (uint64_t)s + 1);
      sums[r] = correlate_windows_of(&seen, r, NULL);
    }
    CHECK(correlate_components_solve(&matrix, sums, found), "not solved");
    for (int c = 0; c < CORRELATE_C; c++) {
      double pull = (found[c].emf - emf_of[c]) / found[c].sigma;
      mean[c] += pull / SETS, square[c] += pull * pull / SETS;
    }
  }
  for (int c = 0; c < CORRELATE_C; c++) {
    CHECK(fabs(mean[c]) < 0.35, "%s: mean pull %.3f", correlate_component_name[c], mean[c]);
    CHECK(sqrt(square[c]) > 0.8 && sqrt(square[c]) < 1.2, "%s: rms pull %.3f",
          correlate_component_name[c], sqrt(square[c]));
  }
  correlate_seen_free(&seen);
}

/* Where the interface rose by 8 um, fractions held fixed make the cathode's factor rise; the true ones keep it. */
TEST(fixed_fractions_mistake_a_rise_for_chemistry) {
  const double before[3][CORRELATE_C] = {{.64, .11, .25}, {.89, .11, 0}, {1, 0, 0}},
               after[3][CORRELATE_C]  = {{.672, .11, .218}, {.922, .078, 0}, {1, 0, 0}};
  struct unmix_matrix held = unmix_paper(), moved = {.regions = 3, .components = CORRELATE_C};
  struct correlate_seen seen;
  struct correlate_windows sums[3];
  struct correlate_amount one[CORRELATE_C], two[CORRELATE_C], three[CORRELATE_C];
  CHECK_OK(correlate_seen_make(3, SIDE, SIDE, &seen));
  for (int r = 0; r < 3; r++) {
    count(&seen, r, before[r], 1e5, 5);
    sums[r] = correlate_windows_of(&seen, r, NULL);
    memcpy(moved.v[r], after[r], sizeof after[r]);
  }
  CHECK(correlate_components_solve(&held, sums, one), "not solved");
  for (int r = 0; r < 3; r++) {
    count(&seen, r, after[r], 1e5, 6);
    sums[r] = correlate_windows_of(&seen, r, NULL);
  }
  CHECK(correlate_components_solve(&held, sums, two) &&
            correlate_components_solve(&moved, sums, three),
        "not solved");
  CHECK_NEAR(one[CORRELATE_CATHODE].emf, emf_of[CORRELATE_CATHODE], 0.003);
  CHECK_NEAR(three[CORRELATE_CATHODE].emf, emf_of[CORRELATE_CATHODE], 0.003);
  CHECK(two[CORRELATE_CATHODE].emf > emf_of[CORRELATE_CATHODE] + 0.02, "EMF %g with fixed fractions",
        two[CORRELATE_CATHODE].emf);
  correlate_seen_free(&seen);
}

/* A cell that does not change: differences of halves, changes of regions and correlations raise alarms at 5 %. */
TEST(a_cell_without_change_raises_alarms_at_the_stated_rate) {
  enum { SETS = 300 };
  const double v[3] = {.904, .095, .001};
  int sides = 0, changes = 0, related = 0, clustered = 0;
  struct correlate_seen seen;
  static double map[N], sigma[N], height[N];
  static int8_t group[N];
  CHECK_OK(correlate_seen_make(1, SIDE, SIDE, &seen));
  struct correlate_windows last = {0};
  for (int s = 0; s < SETS; s++) {
    double e[2], es[2], moran, p;
    count(&seen, 0, v, 500, (uint64_t)s + 1000);
    for (int64_t i = 0; i < N; i++) {
      map[i]    = seen.emf[i];
      sigma[i]  = seen.emf_sigma[i];
      group[i]  = i % SIDE < SIDE / 2;
      height[i] = random_normal((uint64_t)s, 99, (uint64_t)i);
    }
    sides += correlate_group_difference(map, sigma, group, N).p_value < 0.05;
    struct correlate_windows now = correlate_windows_of(&seen, 0, NULL);
    if (s % 2) {
      e[0] = correlate_emf(&last, &es[0]), e[1] = correlate_emf(&now, &es[1]);
      changes += fabs(e[1] - e[0]) > 1.96 * hypot(es[0], es[1]);
    }
    last = now;
    if (s % 3 == 0) {
      struct correlate_maps maps = {map, height, NULL, 0, SIDE, SIDE};
      struct correlate_interval interval;
      CHECK_OK(correlate_bootstrap(CORRELATE_SPEARMAN, &maps, 2, 200, (uint64_t)s, &interval));
      related += interval.low > 0 || interval.high < 0;
      CHECK_OK(correlate_moran(map, SIDE, SIDE, 99, (uint64_t)s, &moran, &p));
      clustered += p <= 0.05;
    }
  }
  /* 99.9 % of the binomial's range about 5 % of 300, 150 and 100 */
  CHECK(sides >= 4 && sides <= 29, "left and right: %d of %d", sides, SETS);
  CHECK(changes <= 17, "changes: %d of %d", changes, SETS / 2);
  CHECK(related <= 14, "correlations: %d of %d", related, SETS / 3);
  CHECK(clustered <= 13, "clusters: %d of %d", clustered, SETS / 3);
  correlate_seen_free(&seen);
}

TEST(ranks_by_counting_give_the_interval_of_ranks_by_sorting) {
  static double x[N], y[N];
  for (int i = 0; i < N; i++) {
    x[i] = random_normal(3, 1, (uint64_t)i);
    y[i] = 0.5 * x[i] + random_normal(3, 2, (uint64_t)i);
    if (i % 17 == 0) x[i] = (double)NAN;
    if (i % 5 == 0) y[i] = round(y[i]); /* ties */
  }
  struct correlate_maps maps = {x, y, NULL, 0, SIDE, SIDE};
  struct correlate_interval interval;
  double value;
  CHECK_OK(correlate_bootstrap(CORRELATE_SPEARMAN, &maps, 1, 400, 4, &interval));
  CHECK_OK(correlate_spearman(x, y, N, &value));
  CHECK_NEAR(interval.value, value, 1e-15);
  double sigma = (1 - value * value) / sqrt((double)interval.n) * 1.03; /* of a rank correlation */
  CHECK_NEAR(interval.high - interval.low, 2 * 1.96 * sigma, 0.25 * 2 * 1.96 * sigma);
  CHECK(interval.low < value && value < interval.high, "%g .. %g", interval.low, interval.high);
}

TEST(two_acquisitions_of_the_same_agree_up_to_a_scale) {
  enum { BINS = 60, SETS = 200 };
  double a[BINS], b[BINS], ea[BINS], eb[BINS];
  int refused = 0;
  for (int s = 0; s < SETS; s++) {
    for (int i = 0; i < BINS; i++) {
      double truth = exp(-0.5 * (i - 30) * (i - 30) / 80.0);
      ea[i] = 0.02, eb[i] = 0.03;
      a[i] = 1.7 * truth + ea[i] * random_normal((uint64_t)s, 7, (uint64_t)i);
      b[i] = truth + eb[i] * random_normal((uint64_t)s, 8, (uint64_t)i);
    }
    struct correlate_match m = correlate_match_of(a, ea, b, eb, BINS);
    if (s == 0) CHECK(fabs(m.scale - 1.7) < 5 * m.scale_error && m.freedom == BINS - 1, "%g", m.scale);
    refused += m.p_value < 0.05;
  }
  CHECK(refused <= 23, "%d of %d refused at 5 %%", refused, SETS);
  for (int i = 0; i < BINS; i++) b[i] += 0.2 * exp(-0.5 * (i - 20) * (i - 20) / 8.0);
  CHECK(correlate_match_of(a, ea, b, eb, BINS).p_value < 1e-4, "another profile was not told apart");
}
