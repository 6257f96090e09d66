/* np: 1 2 3 5 */
#include "check.h"
#include "surface_fields.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

extern const struct stage surface_stage;
enum { NZ = 40, NY = 30, NX = 36 };

struct scene {
  struct surface_params params;
  struct grid_plan plan;
  struct grid_field labels, volume;
  struct surface_result result;
};

/* Phase 1 up to z = 20, phase 2 over it up to z = 30, then 3. */
static int layer(int64_t z) { return z < 20 ? 1 : z < 30 ? 2 : 3; }

static void scene_make(int (*label)(int64_t z, int64_t y, int64_t x), bool up, struct scene *s) {
  const int64_t n[3] = {NZ, NY, NX}, one[3] = {1, 1, 1};
  memset(s, 0, sizeof *s);
  status_clear();
  CHECK_OK(config_defaults(surface_stage.params, &s->params));
  if (!up) CHECK_OK(config_assign(surface_stage.params, &s->params, "side", "z-", ""));
  s->params.depth_um = 16;
  CHECK_OK(grid_plan_slabs(MPI_COMM_SELF, n, 1, &s->plan)); /* every rank has all */
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &s->plan, GRID_U8, NULL, &s->labels));
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &s->plan, GRID_F32, one, &s->volume));
  for (int a = 0; a < 3; a++) s->labels.voxel_um[a] = s->volume.voxel_um[a] = 2;
  for (int64_t z = 0; z < NZ; z++)
    for (int64_t y = 0; y < s->labels.mine.n[1]; y++)
      for (int64_t x = 0; x < NX; x++) {
        int value = label(up ? z : NZ - 1 - z, y + s->labels.mine.start[1], x);
        int64_t at =
            grid_field_origin(&s->volume) + z * s->volume.row[0] + y * s->volume.row[1] + x;
        ((uint8_t *)s->labels.data)[z * s->labels.row[0] + y * s->labels.row[1] + x] =
            (uint8_t)value;
        ((float *)s->volume.data)[at] = (float)value;
      }
}

static void scene_free(struct scene *s) {
  grid_field_free(&s->labels);
  grid_field_free(&s->volume);
  surface_result_free(&s->result);
  grid_plan_free(&s->plan);
}

static bool in_ball(int64_t z, int64_t y, int64_t x, int64_t cz, int64_t cy, int64_t cx,
                    int64_t r) {
  return (z - cz) * (z - cz) + (y - cy) * (y - cy) + (x - cx) * (x - cx) <= r * r;
}

/* Two balls of void in the phase (33 and 123 voxels), a piece of it in the membrane (8), a mushroom's cap of 5 x 5
 * on a stem of 1 x 1, a hole of 2 x 3 columns through it. */
static int scene_label(int64_t z, int64_t y, int64_t x) {
  if (in_ball(z, y, x, 12, 8, 9, 2) || in_ball(z, y, x, 10, 20, 20, 3)) return 0;
  if (z >= 24 && z < 26 && y >= 5 && y < 7 && x >= 28 && x < 30) return 1;
  if (z >= 20 && z < 24 && y == 22 && x == 8) return 1;
  if (z >= 24 && z < 26 && y >= 20 && y < 25 && x >= 6 && x < 11) return 1;
  if (z < 20 && y >= 26 && y < 28 && x >= 30 && x < 33) return 2;
  return layer(z);
}

TEST(what_lies_under_and_over_the_surface_is_counted) {
  for (int up = 0; up < 2; up++) {
    struct scene s;
    scene_make(scene_label, up, &s);
    s.params.thickness_vox = 8;
    CHECK_OK(fields_measure(comm, &s.params, &s.labels, NULL, 0, &s.result));
    const struct surface_report *r = &s.result.report;
    const double columns = NY * NX - 6, voxel = 8;
    CHECK(r->points == NY * NX - 6, "%lld points", (long long)r->points);
    CHECK_NEAR(r->hole_fraction, 6.0 / (NY * NX), 1e-12);
    CHECK_NEAR(r->overhang_fraction, 24 / columns, 1e-12);
    CHECK(r->detached == 1, "%lld parts are detached", (long long)r->detached);
    CHECK_NEAR(r->detached_um3, 8 * voxel, 1e-9);
    CHECK(r->pores == 2, "%lld closed pores", (long long)r->pores);
    CHECK_NEAR(r->closed_pore_um3, (33 + 123) * voxel, 1e-9);
    CHECK_NEAR(r->envelope_um3.value, (columns * 20 + 25 * 6) * voxel, 1e-6);
    CHECK_NEAR(r->solid_um3, (columns * 20 - 156 + 25 * 2 + 4) * voxel, 1e-6);
    CHECK_NEAR(r->phase_volume_um3.value, r->solid_um3 + 8 * voxel, 1e-6);
    CHECK(r->contact == 2, "phase %d lies on it", r->contact);
    CHECK_NEAR(r->contact_fraction, 1, 1e-12);
    CHECK_NEAR(r->membrane_least_um, 4 * 2, 1e-12); /* over the cap and under the piece */
    /* depths 1 to 8 of columns: of the two balls what is not deeper, and the gaps under the cap */
    double seen = 0;
    for (int64_t i = 0; i < s.result.pore_depths.rows; i++)
      seen += s.result.pore_depths.column[3][i] * s.result.pore_depths.column[1][i];
    CHECK(s.result.pore_depths.rows == 8, "%lld depths", (long long)s.result.pore_depths.rows);
    double want = 0;
    for (int64_t z = 11; z < 19; z++)
      for (int64_t y = 0; y < NY; y++)
        for (int64_t x = 0; x < NX; x++) want += scene_label(z, y, x) == 0;
    CHECK_NEAR(seen, want, 1e-9);
    int rank;
    MPI_Comm_rank(comm, &rank);
    if (rank == 0) {
      const struct surface_table *list = &s.result.pore_list;
      CHECK(list->rows == 2, "%lld pores are listed", (long long)list->rows);
      bool small_first = list->rows == 2 && list->column[4][0] == 33;
      int small        = small_first ? 0 : 1;
      CHECK_NEAR(list->column[4][small], 33, 0);
      CHECK_NEAR(list->column[1][small], 8.5 * 2, 1e-9);
      CHECK_NEAR(list->column[3][small], (20 - 12.5) * 2, 1e-9); /* its depth */
      CHECK_NEAR(list->column[6][1 - small], 2 * cbrt(6 * 123 / PI), 1e-9);
    }
    /* slabs of ten voxels hold balls of radius 4, and beyond the volume nothing wears off */
    CHECK(r->local_thickness_um > 14 && r->local_thickness_um <= 18, "local thickness %g um",
          r->local_thickness_um);
    scene_free(&s);
  }
}

static bool same_map(const struct grid_field *a, const struct grid_field *b) {
  return a->voxels == b->voxels && memcmp(a->data, b->data, (size_t)a->voxels * sizeof(float)) == 0;
}

/* Volume: the label with a noise of +-0.4 that any rank knows. */
TEST(rounds_of_any_number_of_rows_give_the_same_bits) {
  for (int up = 0; up < 2; up++) {
    struct scene s;
    scene_make(scene_label, up, &s);
    snprintf(s.params.void_grey, sizeof s.params.void_grey, "0");
    for (int64_t i = 0; i < s.volume.voxels; i++)
      ((float *)s.volume.data)[i] += 0.8F * ((float)(i * 7919 % 1009) / 1009 - 0.5F);
    CHECK_OK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result));
    CHECK(s.result.report.overhang_fraction > 0 && s.result.report.pores == 2 &&
              isfinite(s.result.report.interface_um2),
          "a scene with all there is");
    for (int64_t deep = 1; deep < 8; deep += 2) {
      struct surface_result r;
      CHECK_OK(fields_measure(comm, &s.params, &s.labels, &s.volume, deep, &r));
      CHECK(same_map(&r.height, &s.result.height) && same_map(&r.low, &s.result.low) &&
                same_map(&r.membrane, &s.result.membrane) && same_map(&r.pores, &s.result.pores),
            "maps by rounds of %lld rows", (long long)deep);
      CHECK(memcmp(&r.report, &s.result.report, sizeof r.report) == 0, "results by rounds of %lld",
            (long long)deep);
      CHECK(r.pore_list.rows == s.result.pore_list.rows &&
                r.pore_depths.rows == s.result.pore_depths.rows &&
                memcmp(r.pore_depths.column[0], s.result.pore_depths.column[0],
                       4 * (size_t)(r.pore_depths.rows + 1) * sizeof(double)) == 0,
            "tables by rounds of %lld", (long long)deep);
      surface_result_free(&r);
    }
    scene_free(&s);
  }
}

static int flat(int64_t z, int64_t y, int64_t x) {
  (void)y, (void)x;
  return layer(z);
}

TEST(a_flat_interface_has_the_area_of_the_field) {
  struct scene s;
  scene_make(flat, true, &s);
  CHECK_OK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result));
  CHECK_NEAR(s.result.report.interface_um2, NY * NX * 4, 1e-3);
  CHECK_NEAR(s.result.report.interface_ratio, 1, 1e-6);
  CHECK_NEAR(s.result.report.membrane_um, 20, 1e-9);
  CHECK(s.result.report.dendrites == 0 && s.result.report.overhang_fraction == 0, "flat");
  surface_result_free(&s.result);
  CHECK_OK(config_assign(surface_stage.params, &s.params, "disc", "17,14,9.5", ""));
  CHECK_OK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result));
  CHECK_NEAR(s.result.report.interface_ratio, 1, 1e-6);
  scene_free(&s);
}

/* An edge two voxels wide at 19.85; smoothed along the column it rises by 0.375 a voxel. */
TEST(the_threshold_moves_the_volumes_between_their_bounds) {
  struct scene s;
  scene_make(flat, true, &s);
  for (int64_t z = 0; z < NZ; z++)
    for (int64_t y = 0; y < s.volume.mine.n[1]; y++)
      for (int64_t x = 0; x < NX; x++) {
        double grey = fmin(fmax(1.5 + 0.5 * ((double)z - 19.85), 1), 2);
        ((float *)s.volume
             .data)[grid_field_origin(&s.volume) + z * s.volume.row[0] + y * s.volume.row[1] + x] =
            (float)grey;
      }
  CHECK_OK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result));
  const struct surface_report *r = &s.result.report;
  const double area = NY * NX * 4, moved = 0.1 / 0.375 * 2;
  CHECK_NEAR(r->envelope_um3.value, area * (19.85 + 0.5) * 2, 1e-3 * area);
  CHECK_NEAR(r->envelope_um3.upper - r->envelope_um3.value, area * moved, 0.1 * area * moved);
  CHECK_NEAR(r->envelope_um3.value - r->envelope_um3.lower, area * moved, 0.1 * area * moved);
  CHECK(r->phase_volume_um3.upper - r->phase_volume_um3.lower == area * 2,
        /* one layer */ "%g um3 by threshold",
        r->phase_volume_um3.upper - r->phase_volume_um3.lower);
  scene_free(&s);
}

/* A third of the phase's upper voxels lacks a third of its grey value: a ninth of them is void, whatever a threshold
 * says. */
TEST(pores_below_the_resolution_are_told_by_grey_values) {
  struct scene s;
  scene_make(flat, true, &s);
  for (int64_t z = 9; z < 20; z++)
    for (int64_t y = 0; y < s.volume.mine.n[1]; y++)
      for (int64_t x = (z + y + s.volume.mine.start[1]) % 3; x < NX; x += 3)
        ((float *)s.volume
             .data)[grid_field_origin(&s.volume) + z * s.volume.row[0] + y * s.volume.row[1] + x] -=
            1.0F / 3;
  snprintf(s.params.void_grey, sizeof s.params.void_grey, "0");
  s.params.depth_um = 20; /* ten voxels, the last at z = 9; three more below */
  CHECK_OK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result));
  CHECK_NEAR(s.result.report.grey_pore_fraction, 1.0 / 9, 1e-6);
  CHECK(s.result.report.subsurface_pore_fraction == 0, "by threshold there is none");
  CHECK(s.result.report.grey_pore_sigma < 0.01, "its error: %g", s.result.report.grey_pore_sigma);
  scene_free(&s);
}

static int thin(int64_t z, int64_t y, int64_t x) {
  (void)z, (void)y, (void)x;
  return 1;
}

TEST(a_volume_of_one_phase_has_a_flat_surface_at_its_end) {
  struct scene s;
  scene_make(thin, true, &s);
  CHECK_OK(fields_measure(comm, &s.params, &s.labels, NULL, 0, &s.result));
  CHECK_NEAR(s.result.report.Ra_um, 0, 1e-12);
  CHECK(isnan(s.result.report.membrane_um), "a membrane of %g um", s.result.report.membrane_um);
  surface_result_free(&s.result);
  scene_free(&s);
}

TEST(a_constant_grey_value_is_refused) {
  struct scene s;
  scene_make(flat, true, &s);
  for (int64_t i = 0; i < s.volume.voxels; i++) ((float *)s.volume.data)[i] = 3;
  CHECK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result) == STATUS_INPUT &&
            strstr(status_text(), "(3 and 3)") && strstr(status_text(), "subvoxel no"),
        "constant grey: %s", status_text());
  status_clear();
  scene_free(&s);
}

TEST(a_surface_at_the_end_of_the_slab_has_no_grey_over_it) {
  struct scene s;
  scene_make(thin, true, &s);
  CHECK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result) == STATUS_INPUT &&
            strstr(status_text(), "two over it"),
        "nothing over the phase: %s", status_text());
  status_clear();
  scene_free(&s);
}

TEST(grey_values_that_are_no_numbers_are_refused) {
  struct scene s;
  scene_make(flat, true, &s);
  if (s.volume.mine.n[1] && s.volume.mine.start[1] == 0)
    ((float *)s.volume.data)[grid_field_origin(&s.volume) + 16 * s.volume.row[0] + 5] = NAN;
  CHECK(fields_measure(comm, &s.params, &s.labels, &s.volume, 0, &s.result) == STATUS_INPUT,
        "NaN: %s", status_text());
  status_clear();
  scene_free(&s);
}

TEST(a_fault_on_any_rank_ends_all) {
#ifdef XCSCT_FAULTS
  struct scene s;
  scene_make(flat, true, &s);
  setenv("FAULT", "surface.measure:0", 1);
  CHECK(fields_measure(comm, &s.params, &s.labels, NULL, 0, &s.result) == STATUS_INTERNAL, "%s",
        status_text());
  unsetenv("FAULT");
  status_clear();
  scene_free(&s);
#else
  check_skip("built without XCSCT_FAULTS");
#endif
}
