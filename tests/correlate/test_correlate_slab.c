/* np: 1 2 3 5 */
#include "check.h"
#include "correlate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct correlate_params params = {.li             = 1,
                                               .spe            = 2,
                                               .nmc            = 3,
                                               .cathode_um     = 65,
                                               .pores_depth_um = 65,
                                               .pores          = "subtract",
                                               .slab_um        = 250,
                                               .density_percent = 1};

TEST(a_slab_s_share_below_a_height_is_its_integral) {
  const struct correlate_slab sharp = {100, 50, 0}, soft = {100, 50, 6};
  CHECK_NEAR(correlate_slab_below(&sharp, 75), 0, 1e-15);
  CHECK_NEAR(correlate_slab_below(&sharp, 90), 0.3, 1e-15);
  CHECK_NEAR(correlate_slab_below(&sharp, 130), 1, 1e-15);
  CHECK_NEAR(correlate_slab_below(&soft, 100), 0.5, 1e-12);
  double sum = 0; /* against a sum of the blurred box itself */
  for (double z = 20; z < 83; z += 0.001) {
    double at = z + 0.0005;
    sum += 0.001 / 50 * 0.5 * (erf((at - 75) / (6 * sqrt(2))) - erf((at - 125) / (6 * sqrt(2))));
  }
  CHECK_NEAR(correlate_slab_below(&soft, 83), sum, 1e-6);
}

/* A cell of flat layers with a step: x < 0 has its lithium `step_um` lower. Slices of 1 um, columns of 100 um. */
enum { NZ = 170, NXY = 150 };
struct cell {
  double top_um, face_um;
  int pore_slices;
};

static uint8_t label_of(const struct cell *cell, int64_t z, int64_t y, int64_t x) {
  double r = hypot((double)y - 0.5 * (NXY - 1), (double)x - 0.5 * (NXY - 1)),
         at = (double)z + 0.5, top = cell->top_um - (x < NXY / 2 ? 4 : 0);
  /* a can's edge: the lithium's grey all the way up, and pieces of it here and there */
  if (r > 70) return r < 72 || (r < 74 && z >= top - 20 && z < top) ? 1 : 0;
  if (at < top) return z < 40 && z >= 40 - cell->pore_slices && (x + y) % 2 ? 0 : 1;
  if (at < cell->face_um) return 2;
  return (x * 7 + y * 13 + z * 5) % 100 < 63 ? 3 : 2;
}

static void make_labels(MPI_Comm comm, const struct cell *cell, struct grid_field *labels) {
  const int64_t n[3] = {NZ, NXY, NXY};
  struct grid_plan slabs;
  CHECK_OK(grid_plan_slabs(comm, n, 1, &slabs));
  CHECK_OK(grid_field_make(comm, &slabs, GRID_U8, NULL, labels));
  grid_plan_free(&slabs);
  labels->voxel_um[0] = 1, labels->voxel_um[1] = labels->voxel_um[2] = 100;
  for (int64_t z = 0; z < labels->mine.n[0]; z++)
    for (int64_t y = 0; y < labels->mine.n[1]; y++)
      for (int64_t x = 0; x < labels->mine.n[2]; x++)
        ((uint8_t *)labels->data)[z * labels->row[0] + y * labels->row[1] + x] =
            label_of(cell, z, y + labels->mine.start[1], x);
}

static void look(MPI_Comm comm, const struct cell *cell, struct correlate_columns *columns,
                 struct correlate_heights *heights) {
  struct grid_field labels;
  make_labels(comm, cell, &labels);
  CHECK_OK(correlate_columns_make(comm, &params, &labels, NULL, columns));
  grid_field_free(&labels);
  CHECK_OK(correlate_heights_make(comm, columns, 6.5, heights));
}

TEST(layers_of_a_cell_are_found_on_any_ranks) {
  const struct cell cell = {60, 90, 10};
  struct correlate_columns c;
  struct correlate_heights h;
  look(comm, &cell, &c, &h);
  double *top = malloc(NXY * NXY * sizeof *top), *face = malloc(NXY * NXY * sizeof *face);
  CHECK_OK(correlate_columns_gather(comm, &c, c.top, top));
  CHECK_OK(correlate_columns_gather(comm, &c, c.face, face));
  int64_t middle = NXY / 2 * NXY + NXY / 2;
  CHECK_NEAR(top[middle + 20], 60, 1e-5);
  CHECK_NEAR(top[middle - 20], 56, 1e-5);
  CHECK_NEAR(face[middle + 5], 90, 0.6);
  CHECK(isnan(top[0]), "outside of the cell: %g", top[0]);
  CHECK(isnan(top[NXY / 2 * NXY + 4]), "the can's edge is no cell: %g", top[NXY / 2 * NXY + 4]);
  CHECK(isnan(top[NXY / 2 * NXY + 2]), "nor are pieces of it: %g", top[NXY / 2 * NXY + 2]);
  CHECK_NEAR(h.pores_um, 5, 0.05);
  const struct correlate_slab slab = {50, 60, 0}; /* 20 .. 80 */
  const struct correlate_moves none = {0, 0, 0};
  double fraction[CORRELATE_C];
  correlate_slab_fractions(&params, &slab, &h, &none, fraction);
  CHECK_NEAR(fraction[CORRELATE_LI], (38 - 5) / 60.0, 1.5e-3);
  CHECK_NEAR(fraction[CORRELATE_SPE], 22 / 60.0, 1.5e-3);
  CHECK_NEAR(fraction[CORRELATE_CATHODE], 0, 1e-12);
  free(top), free(face);
  correlate_columns_free(&c);
  correlate_heights_free(&h);
}

TEST(a_failing_rank_ends_all) {
  const struct cell cell = {60, 90, 0};
  struct grid_field labels;
  struct correlate_columns c;
  int size;
  MPI_Comm_size(comm, &size);
  make_labels(comm, &cell, &labels);
  setenv("FAULT", size > 1 ? "correlate.columns:1" : "correlate.columns:0", 1);
  status_clear();
  enum status status = correlate_columns_make(comm, &params, &labels, NULL, &c);
  unsetenv("FAULT");
  CHECK(status == STATUS_INTERNAL || status == STATUS_OK, "%s", status_name(status));
#ifdef XCSCT_FAULTS
  CHECK(status != STATUS_OK, "a fault was not seen");
#endif
  if (status == STATUS_OK) correlate_columns_free(&c);
  status_clear();
  grid_field_free(&labels);
}

static uint64_t state = 77;
static double normal(void) {
  double u[2];
  for (int k = 0; k < 2; k++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    u[k]  = ((double)(state >> 11) + 0.5) / 9007199254740992.0;
  }
  return sqrt(-2 * log(u[0])) * cos(2 * PI * u[1]);
}

/* Densities of the three slabs of the paper for a cell whose slabs lie `shift_um` higher than said. */
static struct correlate_level level_of(const struct correlate_heights *h,
                                       const struct correlate_slab *slab, double shift_um) {
  struct correlate_level level      = {3, h, {0}, {0}, {0.87, 0.74, 0.59}};
  const struct correlate_moves high = {0, 0, shift_um};
  double density[CORRELATE_C];
  correlate_densities(density);
  for (int r = 0; r < 3; r++) {
    double fraction[CORRELATE_C];
    correlate_slab_fractions(&params, &slab[r], h, &high, fraction);
    for (int c = 0; c < CORRELATE_C; c++)
      level.density[r] += 7 * fraction[c] * density[c] * level.transmission[c];
    level.density[r] *= 1 + 0.004 * normal(); /* what is known of the components' densities */
    level.sigma[r] = 1e-3 * level.density[r];
  }
  return level;
}

TEST(the_height_of_the_slabs_comes_out_to_two_micrometres) {
  const struct cell cell = {60, 88, 0};
  struct correlate_columns c;
  struct correlate_heights h;
  struct correlate_slab slab[2 * CORRELATE_REGIONS_MOST];
  look(comm, &cell, &c, &h);
  for (int l = 0; l < 2; l++)
    for (int r = 0; r < 3; r++)
      slab[l * CORRELATE_REGIONS_MOST + r] =
          (struct correlate_slab){60 + (double[3]){-35, -97.5, -125}[r], 250, 4};
  double square = 0;
  int n         = 0;
  for (double shift = -20; shift <= 20; shift += 4) {
    struct correlate_level level[2] = {level_of(&h, slab, shift), level_of(&h, slab, shift)};
    struct correlate_slab_fit fit;
    CHECK_OK(correlate_slab_find(&params, slab, level, 2, 30, &fit));
    CHECK_NEAR(fit.shift_um, shift, 2);
    CHECK(fit.sigma_um > 0.1 && fit.sigma_um < 2.5, "sigma %g um", fit.sigma_um);
    square += (fit.shift_um - shift) * (fit.shift_um - shift);
    n++;
  }
  CHECK(sqrt(square / n) < 1.2, "rms error %g um", sqrt(square / n));
  correlate_columns_free(&c);
  correlate_heights_free(&h);
}

/* Lithium of 10 pixels along the beam, no membrane, a cathode over the last four of them. */
TEST(transmissions_are_those_of_the_paths) {
  enum { ROWS = 3, COLUMNS = 12 };
  const double mu[CORRELATE_C] = {0.2, 0.3, 2}, pixel_mm = 0.25 * 160 / 150;
  for (int along_rows = 0; along_rows < 2; along_rows++) {
    struct pinhole_camera camera = {.rows            = along_rows ? COLUMNS : ROWS,
                                    .columns         = along_rows ? ROWS : COLUMNS,
                                    .pitch_mm        = 0.25,
                                    .pinhole_mm      = 160,
                                    .detector_mm     = 150,
                                    .beam_along_rows = along_rows};
    double presence[CORRELATE_C * ROWS * COLUMNS] = {0}, found[CORRELATE_C * ROWS * COLUMNS];
    for (int line = 0; line < ROWS; line++)
      for (int k = 0; k < COLUMNS; k++) {
        int at = along_rows ? k * ROWS + line : line * COLUMNS + k;
        presence[CORRELATE_LI * ROWS * COLUMNS + at]      = k >= 1 && k < 11;
        presence[CORRELATE_CATHODE * ROWS * COLUMNS + at] = k >= 1 && k < 5;
      }
    correlate_transmissions(&camera, presence, &params, mu, found);
    for (int line = 0; line < ROWS; line++)
      for (int k = 0; k < COLUMNS; k++) { /* the camera turns the image: the beam comes from the last pixel */
        int at      = along_rows ? k * ROWS + line : line * COLUMNS + k;
        double li   = pixel_mm * fmin(fmax(11 - (k + 0.5), 0), 10),
               nmc  = pixel_mm * fmin(fmax(5 - (k + 0.5), 0), 4),
               over = 0.065 * 1.389 * 2; /* to the camera, at the line */
        bool under  = k >= 1 && k < 5;
        CHECK_NEAR(found[CORRELATE_LI * ROWS * COLUMNS + at], exp(-0.2 * li - under * over), 1e-12);
        CHECK_NEAR(found[CORRELATE_SPE * ROWS * COLUMNS + at], exp(-under * over), 1e-12);
        CHECK_NEAR(found[CORRELATE_CATHODE * ROWS * COLUMNS + at], exp(-2 * nmc - 0.5 * over), 1e-12);
      }
  }
}
