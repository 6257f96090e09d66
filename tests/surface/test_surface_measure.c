/* np: 1 2 3 5 */
#include "check.h"
#include "numeric.h"
#include "surface_fields.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct stage surface_stage;

struct made {
  struct surface_params params;
  struct grid_plan plan;
  struct grid_field labels, volume;
  struct surface_result result;
};

static void made_free(struct made *m) {
  grid_field_free(&m->labels);
  grid_field_free(&m->volume);
  surface_result_free(&m->result);
  grid_plan_free(&m->plan);
}

/* A phase of grey 2 filled up to height(x, y) voxels over z = 0, grey 1 above; partial volumes exact, noise added. */
static void make(const int64_t n[3], double (*height)(int64_t y, int64_t x), double noise,
                 double voxel_um, bool up, struct made *m) {
  const int64_t one[3] = {1, 1, 1};
  memset(m, 0, sizeof *m);
  status_clear();
  CHECK_OK(config_defaults(surface_stage.params, &m->params));
  if (!up) CHECK_OK(config_assign(surface_stage.params, &m->params, "side", "z-", ""));
  CHECK_OK(grid_plan_slabs(MPI_COMM_SELF, n, 1, &m->plan)); /* every rank has all */
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &m->plan, GRID_U8, NULL, &m->labels));
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &m->plan, GRID_F32, one, &m->volume));
  for (int a = 0; a < 3; a++) m->labels.voxel_um[a] = m->volume.voxel_um[a] = voxel_um;
  for (int64_t i = 0; i < m->labels.voxels; i++) {
    int64_t z = i / m->labels.row[0],
            y = m->labels.mine.start[1] + i % m->labels.row[0] / m->labels.row[1];
    int64_t x = i % m->labels.row[1], k = up ? z : n[0] - 1 - z;
    double part = fmin(fmax(height(y, x) - (double)k, 0), 1);
    double grey = 1 + part + noise * random_normal(3, 1, (uint64_t)((z * n[1] + y) * n[2] + x));
    ((float *)m->volume.data)[grid_field_origin(&m->volume) + z * m->volume.row[0] +
                              (y - m->labels.mine.start[1]) * m->volume.row[1] + x] = (float)grey;
    ((uint8_t *)m->labels.data)[i]                                                  = grey > 1.5;
  }
}

static double tilted(int64_t y, int64_t x) { return 9.37 + 0.031 * (double)x - 0.022 * (double)y; }
static double sine(int64_t y, int64_t x) {
  return tilted(y, x) + 3 * cos(2 * PI * ((double)x - 63.5) / 32);
}

TEST(a_tilted_plane_is_flat_and_its_heights_are_right) {
  const int64_t n[3] = {24, 40, 64};
  for (int up = 0; up < 2; up++) {
    struct made m;
    make(n, tilted, 0, 2, up, &m);
    CHECK_OK(fields_measure(comm, &m.params, &m.labels, &m.volume, 0, &m.result));
    CHECK(m.result.report.points == 40 * 64, "%lld points", (long long)m.result.report.points);
    CHECK(m.result.report.Rq_um < 0.1 * 2, "Rq = %g um",
          m.result.report.Rq_um); /* linear interpolation across partial voxels */
    for (int64_t i = 0; i < m.result.height.voxels; i++) {
      int64_t y = m.result.height.mine.start[1] + i / 64, x = i % 64;
      double want = 2 * (up ? tilted(y, x) : 24 - tilted(y, x)),
             got  = (double)((float *)m.result.height.data)[i];
      if (!CHECK(fabs(got - want) < 0.4, "(%lld, %lld): %g, not %g um", (long long)y, (long long)x,
                 got, want))
        break;
    }
    made_free(&m);
  }
}

TEST(a_sine_has_its_known_roughness) {
  const int64_t n[3] = {30, 96, 128};
  struct made m;
  make(n, sine, 0, 3.24, true, &m);
  CHECK_OK(fields_measure(comm, &m.params, &m.labels, &m.volume, 0, &m.result));
  CHECK_NEAR(m.result.report.Ra_um, 3.24 * 3 * 2 / PI, 0.02 * 3.24 * 3 * 2 / PI);
  CHECK_NEAR(m.result.report.Rq_um, 3.24 * 3 / sqrt(2), 0.02 * 3.24 * 3 / sqrt(2));
  made_free(&m);
}

TEST(noise_is_taken_out_and_told) {
  const int64_t n[3] = {30, 96, 128};
  struct made m;
  make(n, sine, 0.125, 3.24, true, &m);
  CHECK_OK(fields_measure(comm, &m.params, &m.labels, &m.volume, 0, &m.result));
  CHECK_NEAR(m.result.report.Rq_um, 3.24 * 3 / sqrt(2), 0.02 * 3.24 * 3 / sqrt(2));
  CHECK(m.result.report.noise_um > 0.3 && m.result.report.noise_um < 0.6, "noise %g um",
        m.result.report.noise_um);
  made_free(&m);
}

TEST(without_grey_values_heights_are_whole_voxels) {
  const int64_t n[3] = {24, 40, 64};
  struct made m;
  make(n, tilted, 0, 1, true, &m);
  CHECK_OK(fields_measure(comm, &m.params, &m.labels, NULL, 0, &m.result));
  for (int64_t i = 0; i < m.result.height.voxels; i++) {
    double got = (double)((float *)m.result.height.data)[i];
    if (!CHECK(got == floor(got), "%g", got)) break;
  }
  CHECK(m.result.report.Rq_um > 0.2 && m.result.report.Rq_um < 0.4,
        "Rq of a plane in whole voxels: %g, about 1/sqrt(12)", m.result.report.Rq_um);
  made_free(&m);
}

static double field[64 * 64], scale;
static double rough(int64_t y, int64_t x) { return 16 + scale * field[y * 64 + x]; }

/* Gaussian field of correlation exp(-(r/L)^2) from cosines; Ra of this realisation is the truth. */
static double make_field(double length, uint64_t seed) {
  memset(field, 0, sizeof field);
  for (uint64_t k = 0; k < 200; k++) {
    double kx    = sqrt(2) / length * random_normal(seed, 5, 3 * k),
           ky    = sqrt(2) / length * random_normal(seed, 5, 3 * k + 1);
    double phase = 2 * PI * random_uniform(seed, 5, 3 * k + 2);
    for (int i = 0; i < 64 * 64; i++) field[i] += cos(kx * (i % 64) + ky * (i / 64) + phase) / 10;
  }
  double sum[3] = {0}, m = 0, xx = 0, size = 0;
  for (int i = 0; i < 64 * 64; i++) {
    double x = i % 64 - 31.5, y = i / 64 - 31.5;
    m += field[i] / 4096, sum[0] += field[i] * x, sum[1] += field[i] * y, xx += x * x;
  }
  for (int i = 0; i < 64 * 64; i++) {
    field[i] -= m + sum[0] / xx * (i % 64 - 31.5) + sum[1] / xx * (i / 64 - 31.5);
    size += fabs(field[i]) / 4096;
  }
  return size;
}

TEST(gaussian_surfaces_are_measured_within_two_per_cent) {
  const int64_t n[3]     = {34, 64, 64};
  const double lengths[] = {10, 20}, wanted_um = 5.1, voxel_um = 3.24;
  for (int k = 0; k < 2; k++) {
    struct made m;
    scale = wanted_um / voxel_um / make_field(lengths[k], 40 + (uint64_t)k);
    make(n, rough, 0.25, voxel_um, true, &m); /* contrast-to-noise 4 */
    CHECK_OK(fields_measure(comm, &m.params, &m.labels, &m.volume, 0, &m.result));
    CHECK(fabs(m.result.report.Ra_um / wanted_um - 1) < 0.02, "L = %g: Ra = %.4f um noise %.3f",
          lengths[k], m.result.report.Ra_um, m.result.report.noise_um);
    CHECK(m.result.report.Ra_sigma > 0 && m.result.report.Ra_sigma < 1.5, "its error: %g",
          m.result.report.Ra_sigma);
    made_free(&m);
  }
}

TEST(a_sheet_of_the_same_grey_beyond_the_slab_is_no_surface) {
  const int64_t n[3] = {30, 40, 64};
  struct made m;
  make(n, tilted, 0, 1, true, &m);
  for (int64_t i = 0; i < m.labels.voxels; i++) { /* joined at x = 0, as along a wall */
    int64_t z = i / m.labels.row[0], x = i % m.labels.row[1];
    if (z == 26 || x == 0) ((uint8_t *)m.labels.data)[i] = 1;
  }
  CHECK_OK(config_assign(surface_stage.params, &m.params, "slab", "0:20", ""));
  CHECK_OK(config_assign(surface_stage.params, &m.params, "margin_vox", "1", ""));
  CHECK_OK(fields_measure(comm, &m.params, &m.labels, &m.volume, 0, &m.result));
  CHECK(m.result.report.points == 38 * 62, "%lld points", (long long)m.result.report.points);
  CHECK(m.result.report.Rq_um < 0.1, "Rq = %g um", m.result.report.Rq_um);
  surface_result_free(&m.result);
  snprintf(m.params.slab, sizeof m.params.slab, "20:99");
  CHECK(fields_measure(comm, &m.params, &m.labels, NULL, 0, &m.result) == STATUS_USAGE,
        "a slab beyond the volume");
  status_clear();
  made_free(&m);
}

TEST(what_cannot_be_measured_is_said) {
  const int64_t n[3] = {24, 8, 8};
  struct made m;
  make(n, tilted, 0, 1, true, &m);
  m.params.phase = 7;
  CHECK(fields_measure(comm, &m.params, &m.labels, NULL, 0, &m.result) == STATUS_INPUT,
        "no such phase");
  CHECK(strstr(status_text(), "phase 7") != NULL, "%s", status_text());
  status_clear();
  m.params.phase = 1;
  snprintf(m.params.disc, sizeof m.params.disc, "3,3");
  CHECK(fields_measure(comm, &m.params, &m.labels, NULL, 0, &m.result) == STATUS_USAGE,
        "half a disc");
  status_clear();
  made_free(&m);
}
