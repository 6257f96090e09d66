/* np: 1 */
#include "check.h"
#include "numeric.h"
#include "surface_map.h"
#include <math.h>
#include <string.h>

static void map_make(int64_t ny, int64_t nx, double step_um, struct surface_map *map) {
  *map = (struct surface_map){
      ny, nx, {step_um, step_um},
        NULL
  };
  CHECK_OK(memory_make(ny * nx, sizeof *map->z, "a map", &map->z));
}

/* A / 2 pi ... of a sine along x: whole waves, so that sums are means. */
static void add_sine(struct surface_map *map, double amplitude, double wave) {
  for (int64_t i = 0; i < map->ny * map->nx; i++)
    map->z[i] += (float)(amplitude * sin(2 * PI * ((double)(i % map->nx) + 0.25) / wave));
}

TEST(a_sine_has_the_parameters_of_its_formula) {
  struct surface_map map;
  struct surface_texture t;
  const double A = 4, wave = 40, um = 2, k = 2 * PI / (wave * um);
  status_clear();
  map_make(120, 320, um, &map);
  add_sine(&map, A, wave);
  CHECK_OK(surface_map_level(&map, SURFACE_MEAN));
  CHECK_OK(surface_texture_of(&map, 0, &t));
  CHECK_NEAR(t.Sa, 2 * A / PI, 0.003 * A);
  CHECK_NEAR(t.Sq, A / sqrt(2), 1e-4 * A);
  CHECK_NEAR(t.Ssk, 0, 1e-3);
  CHECK_NEAR(t.Sku, 1.5, 1e-3);
  CHECK_NEAR(t.Sz, 2 * A, 0.01 * A);
  /* a secant's slope is the tangent's times sin(k d / 2) / (k d / 2) */
  CHECK_NEAR(t.Sdq, A * k / sqrt(2) * sin(k * um / 2) / (k * um / 2), 1e-3);
  double area = 0;
  for (int i = 0; i < 4000; i++) area += sqrt(1 + pow(A * k * cos(2 * PI * i / 4000.0), 2)) / 4000;
  CHECK_NEAR(t.Sdr, area - 1, 0.01 * (area - 1));
  /* cos(k r) = 0.2 along x; across, it never falls */
  CHECK_NEAR(t.Sal, acos(0.2) / k, 0.02 * acos(0.2) / k);
  CHECK(isnan(t.Str), "Str = %g, though along the grooves nothing falls", t.Str);
  memory_free(map.z);
}

/* White noise under exp(-2 d^2 / L^2): a Gaussian field of autocorrelation exp(-(d/L)^2) and standard deviation 1. */
static void gaussian(struct surface_map *map, double length_y, double length_x, uint64_t seed) {
  enum { MOST = 64 };
  double tap[2][2 * MOST + 1], norm[2] = {0, 0}, *noise, *half;
  const double length[2] = {length_y, length_x};
  int64_t reach[2], ny = map->ny, nx = map->nx;
  for (int a = 0; a < 2; a++) {
    reach[a] = (int64_t)ceil(2 * length[a]);
    for (int64_t k = -reach[a]; k <= reach[a]; k++) {
      tap[a][k + reach[a]] = exp(-2 * (double)(k * k) / (length[a] * length[a]));
      norm[a] += tap[a][k + reach[a]] * tap[a][k + reach[a]];
    }
  }
  int64_t high = ny + 2 * reach[0], wide = nx + 2 * reach[1];
  CHECK_OK(memory_make(high * wide, sizeof *noise, "noise", &noise));
  CHECK_OK(memory_make(high * nx, sizeof *half, "noise", &half));
  for (int64_t i = 0; i < high * wide; i++) noise[i] = random_normal(seed, 9, (uint64_t)i);
  for (int64_t y = 0; y < high; y++)
    for (int64_t x = 0; x < nx; x++)
      for (int64_t k = 0; k <= 2 * reach[1]; k++)
        half[y * nx + x] += tap[1][k] * noise[y * wide + x + k];
  for (int64_t y = 0; y < ny; y++)
    for (int64_t x = 0; x < nx; x++) {
      double sum = 0;
      for (int64_t k = 0; k <= 2 * reach[0]; k++) sum += tap[0][k] * half[(y + k) * nx + x];
      map->z[y * nx + x] = (float)(sum / sqrt(norm[0] * norm[1]));
    }
  memory_free(noise);
  memory_free(half);
}

TEST(gaussian_fields_have_the_parameters_of_theory) {
  struct surface_map map;
  struct surface_texture t;
  status_clear();
  map_make(400, 400, 1, &map);
  gaussian(&map, 6, 6, 1);
  CHECK_OK(surface_map_level(&map, SURFACE_PLANE));
  CHECK_OK(surface_texture_of(&map, 0, &t));
  CHECK_NEAR(t.Sa, sqrt(2 / PI), 4 * t.Sa_sigma);
  CHECK_NEAR(t.Sq, 1, 4 * t.Sq_sigma);
  CHECK_NEAR(t.Ssk, 0, 4 * t.Ssk_sigma);
  CHECK_NEAR(t.Sku, 3, 4 * t.Sku_sigma);
  CHECK_NEAR(t.Sdq, 2 / 6.0, 0.03 * 2 / 6.0); /* sqrt(2 |second derivative| of each axis) */
  CHECK_NEAR(t.Sal, 6 * sqrt(log(5)), 0.07 * 6);
  CHECK(t.Str > 0.85, "Str = %g of an isotropic field", t.Str);
  /* the line through the middle 40 % of a normal bearing curve, by least squares: Sk 2.60 */
  CHECK_NEAR(t.Sk, 2.60, 0.12);
  CHECK(t.Smr1 > 0.06 && t.Smr1 < 0.14 && t.Smr2 > 0.86 && t.Smr2 < 0.94, "Smr %g %g", t.Smr1,
        t.Smr2);
  CHECK_NEAR(t.bearing[50], 0, 0.08);
  CHECK_NEAR(t.bearing[16], 0.994, 0.1);
  gaussian(&map, 5, 15, 2);
  CHECK_OK(surface_texture_of(&map, 0, &t));
  CHECK_NEAR(t.Str, 1 / 3.0, 0.06);
  memory_free(map.z);
}

TEST(stated_errors_are_those_of_a_hundred_fields) {
  double square[4] = {0, 0, 0, 0}, near = exp(-1 / 25.0);
  /* slopes between neighbours, each the mean of two rows */
  double Sdq = sqrt(2 * (1 - near) * (1 + near)) / 3.24;
  for (uint64_t seed = 0; seed < 100; seed++) {
    struct surface_map map;
    struct surface_texture t;
    status_clear();
    map_make(180, 180, 3.24, &map);
    gaussian(&map, 5, 5, 100 + seed);
    CHECK_OK(surface_map_level(&map, SURFACE_PLANE));
    CHECK_OK(surface_texture_of(&map, 0, &t));
    const double pull[4] = {(t.Sa - sqrt(2 / PI)) / t.Sa_sigma, (t.Sq - 1) / t.Sq_sigma,
                            t.Ssk / t.Ssk_sigma, (t.Sdq - Sdq) / t.Sdq_sigma};
    for (int k = 0; k < 4; k++) square[k] += pull[k] * pull[k] / 100;
    memory_free(map.z);
  }
  for (int k = 0; k < 4; k++)
    CHECK(sqrt(square[k]) > 0.8 && sqrt(square[k]) < 1.2, "pull of parameter %d: %.3f", k,
          sqrt(square[k]));
}

TEST(forms_of_second_order_are_taken_out) {
  struct surface_map map;
  status_clear();
  for (int form = SURFACE_PLANE; form <= SURFACE_QUADRATIC; form++) {
    double most = 0, want = form == SURFACE_PLANE ? 0.1 : 0;
    map_make(31, 47, 2, &map);
    for (int64_t i = 0; i < 31 * 47; i++) {
      double y = (double)(i / 47) - 15, x = (double)(i % 47) - 23;
      map.z[i] = (float)(3 + 0.2 * x - 0.1 * y + 0.01 * x * x - 0.02 * x * y + 0.005 * y * y);
      if (i % 5 == 0) map.z[i] = NAN;
    }
    CHECK_OK(surface_map_level(&map, (enum surface_form)form));
    for (int64_t i = 0; i < 31 * 47; i++)
      if (i % 5) most = fmax(most, fabs((double)map.z[i]));
    CHECK(want > 0 ? most > want : most < 1e-4, "form %d leaves %g", form, most);
    memory_free(map.z);
  }
}

TEST(filters_pass_half_of_a_sine_at_their_cutoff) {
  for (int high = 0; high < 2; high++)
    for (int wave = 20; wave <= 60; wave += 20) {
      struct surface_map map;
      double most = 0;
      status_clear();
      map_make(40, 360, 0.5, &map);
      add_sine(&map, 1, wave);
      CHECK_OK(surface_map_filter(&map, 20, high)); /* 40 columns */
      for (int64_t x = 120; x < 240; x++) most = fmax(most, (double)map.z[20 * 360 + x]);
      double pass = pow(0.5, 1600.0 / (wave * wave));
      CHECK_NEAR(most, high ? 1 - pass : pass, 0.01);
      memory_free(map.z);
    }
}

TEST(missing_heights_do_not_pull_at_filters) {
  struct surface_map map;
  status_clear();
  map_make(30, 30, 1, &map);
  for (int64_t i = 0; i < 900; i++)
    map.z[i] = hypot((double)(i / 30) - 15, (double)(i % 30) - 15) < 12 ? 7 : NAN;
  CHECK_OK(surface_map_filter(&map, 9, false));
  for (int64_t i = 0; i < 900; i++)
    if (!isnan(map.z[i]) && !CHECK(fabs((double)map.z[i] - 7) < 1e-5, "%g", (double)map.z[i]))
      break;
  memory_free(map.z);
}

TEST(cones_over_a_plane_are_told_one_by_one) {
  struct surface_map map;
  struct surface_dendrite *list;
  int64_t n;
  status_clear();
  map_make(80, 120, 0.5, &map);
  for (int64_t i = 0; i < 80 * 120; i++) {
    double y = 0.5 * (double)(i / 120), x = 0.5 * (double)(i % 120);
    double a = 12 - 2 * hypot(y - 10, x - 15), b = 9 - 1.5 * hypot(y - 28, x - 45);
    map.z[i] = (float)fmax(fmax(a, b), 0);
  }
  map.z[3] = 50; /* a single column is no dendrite */
  CHECK_OK(surface_dendrites_of(&map, 3, 4, &list, &n));
  CHECK(n == 2, "%lld protrusions", (long long)n);
  if (n == 2) {
    CHECK_NEAR(list[0].diameter_um, 9, 0.3);
    CHECK_NEAR(list[0].height_um, 12, 1e-6);
    CHECK_NEAR(list[0].volume_um3, PI / 3 * 4.5 * 4.5 * 9, 3);
    CHECK_NEAR(list[1].diameter_um, 8, 0.3);
    CHECK_NEAR(list[1].x_um, 45.25, 0.2);
  }
  memory_free(list);
  memory_free(map.z);
}

TEST(a_map_without_heights_is_refused) {
  struct surface_map map;
  struct surface_texture t;
  status_clear();
  map_make(3, 3, 1, &map);
  for (int i = 0; i < 9; i++) map.z[i] = NAN;
  CHECK(surface_map_level(&map, SURFACE_PLANE) == STATUS_INPUT, "levelled");
  CHECK(surface_texture_of(&map, 0, &t) == STATUS_INPUT, "described");
  status_clear();
  map.z[4] = 2;
  CHECK_OK(surface_map_level(&map, SURFACE_QUADRATIC));
  CHECK_OK(surface_texture_of(&map, 0, &t));
  CHECK(t.points == 1 && t.Sa == 0 && isnan(t.Sdq) && isnan(t.Sa_sigma), "one height");
  memory_free(map.z);
}
