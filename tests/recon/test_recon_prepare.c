/* np: 1 2 */
#include "check.h"
#include "recon_prepare.h"
#include "recon_private.h"
#include "recon_phantom.h"
#include <stdlib.h>
#include <string.h>

/* Flats and darks of two times, a beam that is told, a pixel that is dead: attenuation comes back exactly. */
TEST(flats_between_two_times_and_a_monitor_give_the_attenuation_back) {
  enum { A = 9, C = 16 };
  float flat[2 * C], dark[C], value[A * C], want[A * C];
  int group[A];
  float share[A];
  double beam[A];
  for (int c = 0; c < C; c++)
    dark[c] = 10 + (float)c, flat[c] = 1000, flat[C + c] = 2000 + 10 * (float)c;
  dark[5] = flat[5] = flat[C + 5] = 30;
  for (int a = 0; a < A; a++) {
    group[a] = a == A - 1;
    share[a] = a == A - 1 ? 0 : (float)a / (A - 1);
    beam[a]  = 1 + 0.1 * a;
    for (int c = 0; c < C; c++) {
      float here      = flat[c] + (float)a / (A - 1) * (flat[C + c] - flat[c]);
      want[a * C + c] = 0.3f + 0.02f * (float)c; /* linear over columns: a bridge is exact */
      value[a * C + c] =
          dark[c] + (here - dark[c]) * (float)(beam[a] * exp(-(double)want[a * C + c]));
    }
  }
  struct recon_light light     = {.flat        = flat,
                                  .dark        = dark,
                                  .group       = group,
                                  .share       = share,
                                  .beam        = beam,
                                  .kind        = RAW_COUNTS,
                                  .find_pixels = true};
  struct recon_repairs repairs = {0, 0, 0};
  status_clear();
  CHECK_OK(recon_normalise(&light, value, 1, A, C, &repairs));
  for (int i = 0; i < A * C; i++)
    CHECK(fabsf(value[i] - want[i]) < 1e-5f, "%d: %g, not %g", i, (double)value[i],
          (double)want[i]);
  CHECK(repairs.pixels == 1 && repairs.values == A, "%lld pixels, %lld values",
        (long long)repairs.pixels, (long long)repairs.values);
}

TEST(line_integrals_lose_only_what_is_not_finite) {
  float value[]                = {1, 2, 3, 4, 1, NAN, 3, INFINITY, 1, 2, 3, 4};
  struct recon_light light     = {.kind = RAW_ATTENUATION, .find_pixels = true};
  struct recon_repairs repairs = {0, 0, 0};
  status_clear();
  CHECK_OK(recon_normalise(&light, value, 1, 3, 4, &repairs));
  for (int i = 0; i < 12; i++)
    CHECK(fabsf(value[i] - (float)(i % 4 + 1)) < 1e-6f, "%d: %g", i, (double)value[i]);
  CHECK(repairs.values == 2, "%lld", (long long)repairs.values);
}

static float noise(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (float)(*state >> 40) / 16777216.0f - 0.5f;
}

/* Spikes go; steps, ramps and noise stay to the bit. */
TEST(zingers_go_and_edges_stay) {
  enum { A = 61, C = 47 };
  static float clean[A * C], value[A * C];
  static const char *const ways[] = {"angle", "row", "both"};
  uint64_t seed                   = 4;
  for (int a = 0; a < A; a++)
    for (int c = 0; c < C; c++)
      clean[a * C + c] = (c > 20 + a / 4 ? 2.0f : 0.5f) + 0.01f * (float)c + 0.02f * noise(&seed);
  for (int w = 0; w < 3; w++) {
    int64_t found = 0;
    memcpy(value, clean, sizeof value);
    for (int k = 0; k < 12; k++) value[(3 + 4 * k) * C + 2 + (k * 7) % 15] -= k % 2 ? 0.7f : -0.9f;
    CHECK_OK(recon_zingers(ways[w], 8, value, 1, A, C, &found));
    CHECK(found == 12, "%s: %lld of 12", ways[w], (long long)found);
    int changed = 0;
    for (int i = 0; i < A * C; i++) {
      changed += memcmp(&value[i], &clean[i], sizeof(float)) != 0;
      CHECK(fabsf(value[i] - clean[i]) < 0.3f || w == 1, "%s: %d is %g, not %g", ways[w], i,
            (double)value[i], (double)clean[i]);
    }
    CHECK(changed == 12, "%s: %d values changed", ways[w], changed);
  }
}

TEST(lines_are_moved_by_any_part_of_a_column) {
  enum { C = 120, WIDE = 140 };
  float line[C], moved[WIDE];
  for (int k = -3; k <= 3; k++) {
    double shift = 7.3 * k + 0.1;
    for (int c = 0; c < C; c++) line[c] = (float)exp(-pow((c - 60) / 6.0, 2));
    CHECK_OK(recon_shift(line, 1, C, shift, WIDE, moved));
    for (int c = 0; c < WIDE; c++) {
      double want = exp(-pow((c - shift - 60) / 6.0, 2));
      CHECK(fabs((double)moved[c] - want) < 2e-4, "shift %g, column %d: %g, not %g", shift, c,
            (double)moved[c], want);
    }
  }
  CHECK_OK(recon_shift(line, 1, C, 5, C, moved));
  for (int c = 5; c < C; c++) CHECK(fabsf(moved[c] - line[c - 5]) < 1e-9f, "a whole shift copies");
}

/* <A x, y> = <x, A' y> makes a descent of what the iterations descend. */
TEST(the_projector_and_its_transpose_belong_together) {
  enum { N = 33, P = 5 };
  static float x[N * N], y[P * N], ax[P * N], aty[N * N];
  uint64_t seed = 8;
  for (int i = 0; i < N * N; i++) x[i] = noise(&seed);
  for (int i = 0; i < P * N; i++) y[i] = noise(&seed);
  memset(ax, 0, sizeof ax);
  memset(aty, 0, sizeof aty);
  for (int a = 0; a < P; a++) {
    double c = cos(0.7 * a), s = sin(0.7 * a), first = 15.3 - 16 * (c + s);
    ISA_PICK(recon_throw)(x, N, ax + a * N, N - 1, first, c, s);
    ISA_PICK(recon_smear)(aty, N, y + a * N, N - 1, first, c, s);
  }
  double left = 0, right = 0;
  for (int i = 0; i < P * N; i++) left += (double)ax[i] * (double)y[i];
  for (int i = 0; i < N * N; i++) right += (double)x[i] * (double)aty[i];
  CHECK(fabs(left - right) < 1e-4 * (1 + fabs(left)), "%g, not %g", left, right);
}

static double rmse_of(const struct scan *s) {
  double sum = 0, n = 0;
  for (int64_t i = 0; i < s->columns * s->columns; i++) {
    double x = (double)(i % s->columns) - s->radius, y = (double)(i / s->columns) - s->radius;
    if (hypot(x, y) > 0.95 * s->radius) continue;
    sum += pow((double)s->slice[i] - (double)s->truth[i], 2);
    n++;
  }
  return sqrt(sum / n);
}

/* Few angles: iterations with total variation come nearer to the truth than back-projection does. */
TEST(few_angles_are_better_iterated_with_total_variation) {
  struct scan s;
  int rank;
  MPI_Comm_rank(comm, &rank);
  if (rank > 0) return;
  scan_make(96, 30, 180, 47.5, &s);
  struct recon_geometry g = geometry_of(&s, "hann", 1);
  status_clear();
  CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
  double plain                       = rmse_of(&s);
  static const char *const methods[] = {"sirt", "cgls"};
  for (int m = 0; m < 2; m++) {
    double rmse[2];
    for (int k = 0; k < 2; k++) {
      g.iterations  = m ? 20 : 80;
      g.tv          = k ? (m ? 0.004 : 0.0004) : 0;
      g.nonnegative = k;
      CHECK_OK(recon_slices(methods[m], &g, s.sinogram, 1, s.slice));
      rmse[k] = rmse_of(&s);
    }
    printf("         %s: RMSE %.4f, with total variation %.4f, gridding %.4f\n", methods[m],
           rmse[0], rmse[1], plain);
    CHECK(rmse[1] < 0.8 * plain && rmse[1] < rmse[0], "%s: %.4f %.4f %.4f", methods[m], rmse[0],
          rmse[1], plain);
  }
  scan_free(&s);
}

TEST(butterworths_filter_is_the_ramp_below_and_falls_above) {
  enum { C = 64, PAD = 128 };
  float ramp[PAD], filter[PAD];
  struct recon_geometry g = {.columns = C, .filter = "ramp", .rolloff = 1};
  status_clear();
  CHECK_OK(recon_filter_make(&g, PAD, ramp));
  g.filter = "butterworth", g.rolloff = 0.5;
  CHECK_OK(recon_filter_make(&g, PAD, filter));
  for (int k = 1; k < PAD / 2; k++) {
    double x = 2.0 * k / PAD / 0.5, want = 1 / sqrt(1 + pow(x, 8));
    CHECK(fabs((double)(filter[k] / ramp[k]) - want) < 1e-5, "%d: %g, not %g", k,
          (double)(filter[k] / ramp[k]), want);
  }
}
