/* np: 1 timeout: 240 */
#include "check.h"
#include "correlate_private.h"
#include "numeric_random.h"
#include <math.h>

enum { NXY = 150 };
static const struct pinhole_camera camera = {80, 80, 0.25, 160, 150, 0.2, 90, false};
static double map[NXY * NXY], seen[80 * 80];

static void add_noise(double sigma) {
  for (int i = 0; i < 80 * 80; i++) seen[i] += sigma * random_normal(5, 6, (uint64_t)i);
}

/* A density map with the step of the cell and a notch, through a camera that is moved. */
TEST(a_map_of_columns_is_registered_to_a_tenth_of_a_pixel) {
  const struct pinhole_registration moved = {0.994, 2.3, 0.33, -0.21};
  struct pinhole_map sums;
  for (int y = 0; y < NXY; y++)
    for (int x = 0; x < NXY; x++) {
      double dx = x - 0.5 * (NXY - 1), dy = y - 0.5 * (NXY - 1);
      bool in          = hypot(dx, dy) < 70 && !(dx > 40 && fabs(dy - 15) < 8);
      map[y * NXY + x] = in ? 1.4 + (x < NXY / 2 ? 0.1 : 0) : 0;
    }
  CHECK_OK(pinhole_map_make(map, NXY, NXY, 0.1, &sums));
  pinhole_project(&camera, &moved, &sums, seen);
  add_noise(0.03);
  struct correlate_fit fit = {
      .at = {1, 0, 0, 0}
  };
  CHECK_OK(correlate_register(&camera, &sums, seen, 0.6, &fit));
  const double pixel_mm = 0.25 * 160 / 150, edge_mm = 7;
  CHECK_NEAR(fit.at.shift_x_mm, moved.shift_x_mm, 0.1 * pixel_mm);
  CHECK_NEAR(fit.at.shift_y_mm, moved.shift_y_mm, 0.1 * pixel_mm);
  CHECK_NEAR(fit.at.scale * edge_mm, moved.scale * edge_mm, 0.1 * pixel_mm);
  CHECK_NEAR(fit.at.rotation_deg / DEG_PER_RAD * edge_mm,
             moved.rotation_deg / DEG_PER_RAD * edge_mm, 0.1 * pixel_mm);
  for (int k = 0; k < 4; k++) CHECK(fit.sigma[k] > 0, "parameter %d has no error", k);
  pinhole_map_free(&sums);
}

/* One pixel is always like another. */
TEST(a_likeness_of_too_few_pixels_is_undefined) {
  struct pinhole_map sums;
  for (int i = 0; i < NXY * NXY; i++) map[i] = 1 + i % 7;
  CHECK_OK(pinhole_map_make(map, NXY, NXY, 0.1, &sums));
  for (int n = 1; n < 16; n += 14) {
    struct correlate_fit fit = {
        .at = {1, 0.25, 0.1, 0}
    };
    for (int i = 0; i < 80 * 80; i++)
      seen[i] = i / 80 == 40 && i % 80 >= 40 - n / 2 && i % 80 < 40 - n / 2 + n ? i : (double)NAN;
    CHECK_OK(correlate_register(&camera, &sums, seen, 0.6, &fit));
    CHECK(isnan(fit.quality), "%d pixels have a quality of %g", n, fit.quality);
    CHECK(fit.at.rotation_deg == 0.25 && fit.at.shift_x_mm == 0.1, "%d pixels move the map", n);
    for (int k = 0; k < 4; k++) CHECK(isnan(fit.sigma[k]), "parameter %d has an error", k);
  }
  pinhole_map_free(&sums);
}

TEST(a_turn_of_what_is_round_is_held) {
  const struct pinhole_registration moved = {1.006, 0, 0.2, 0.1};
  struct pinhole_map sums;
  for (int i = 0; i < NXY * NXY; i++) { /* its edge is soft, as steps of voxels would tell a turn */
    double r = hypot(i / NXY - 0.5 * (NXY - 1), i % NXY - 0.5 * (NXY - 1));
    map[i]   = 1.4 * fmin(fmax((72 - r) / 4, 0), 1);
  }
  CHECK_OK(pinhole_map_make(map, NXY, NXY, 0.1, &sums));
  pinhole_project(&camera, &moved, &sums, seen);
  add_noise(0.03);
  struct correlate_fit fit = {
      .at = {1, 0.25, 0, 0}
  };
  CHECK_OK(correlate_register(&camera, &sums, seen, 0.6, &fit));
  CHECK(isnan(fit.sigma[1]) && fit.at.rotation_deg == 0.25, "turned by %g +- %g deg",
        fit.at.rotation_deg, fit.sigma[1]);
  CHECK_NEAR(fit.at.shift_x_mm, moved.shift_x_mm, 0.02);
  pinhole_map_free(&sums);
}
