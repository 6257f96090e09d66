/* np: 1 2 3 5 */
#include "check.h"
#include "voxel.h"
#include <math.h>
#include <stdlib.h>

/* Ellipsoids of half axes r (z, y, x). */
struct ellipsoid {
  double at[3], r[3];
};

static double level(const struct ellipsoid *e, double z, double y, double x) {
  const double p[3] = {z, y, x};
  double f          = 0;
  for (int a = 0; a < 3; a++) f += pow((p[a] - e->at[a]) / e->r[a], 2);
  return sqrt(f) - 1;
}

/* Share of a voxel within, by 8 x 8 x 8 points. */
static double share(const struct ellipsoid *e, const int64_t p[3]) {
  enum { POINTS = 8 };
  double z = (double)p[0], y = (double)p[1], x = (double)p[2];
  double sum = 0, far = level(e, z, y, x);
  if (fabs(far) > 0.25) return far < 0;
  for (int i = 0; i < POINTS * POINTS * POINTS; i++)
    sum += level(e, z + (i / 64 - 3.5) / POINTS, y + (i / 8 % 8 - 3.5) / POINTS,
                 x + (i % 8 - 3.5) / POINTS) < 0;
  return sum / (POINTS * POINTS * POINTS);
}

static void check_two(MPI_Comm comm, enum grid_type type, const int64_t n[3],
                      const struct ellipsoid two[2], const double edge[3], const double volume[2],
                      const double area[2]) {
  const int64_t one[3] = {1, 1, 1};
  struct grid_plan plan;
  struct grid_field grey, number;
  struct voxel_isosurface *table;
  status_clear();
  CHECK_OK(grid_plan_blocks(comm, n, 1, &plan));
  CHECK_OK(grid_field_make(comm, &plan, type, one, &grey));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, one, &number));
  for (int64_t z = 0; z < grey.mine.n[0]; z++)
    for (int64_t y = 0; y < grey.mine.n[1]; y++)
      for (int64_t x = 0; x < grey.mine.n[2]; x++) {
        int64_t at         = grid_field_origin(&grey) + z * grey.row[0] + y * grey.row[1] + x;
        const int64_t p[3] = {z + grey.mine.start[0], y + grey.mine.start[1],
                              x + grey.mine.start[2]};
        double first = share(&two[0], p), second = share(&two[1], p), value = 1 + first + second;
        if (type == GRID_F32)
          ((float *)grey.data)[at] = (float)value;
        else
          ((uint16_t *)grey.data)[at] = (uint16_t)(10000 * value);
        ((uint8_t *)number.data)[at] = first > 0.5 ? 1 : second > 0.5 ? 2 : 0;
      }
  double scale = type == GRID_F32 ? 1 : 10000;
  CHECK_OK(voxel_isosurface_table(comm, &grey, &number, 2, 1.5 * scale, INFINITY, edge, &table));
  for (int i = 0; i < 2; i++) {
    CHECK(fabs(table[i].volume / volume[i] - 1) < 0.005, "volume %d: %.5f of the truth", i,
          table[i].volume / volume[i]);
    CHECK(fabs(table[i].area / area[i] - 1) < 0.01, "area %d: %.5f of the truth", i,
          table[i].area / area[i]);
  }
  memory_free(table);
  /* what is not in the phase has the same surface and the rest of the volume */
  CHECK_OK(voxel_isosurface_table(comm, &grey, NULL, 1, -INFINITY, 1.5 * scale, edge, &table));
  double whole = edge[0] * edge[1] * edge[2] * (double)(n[0] * n[1] * n[2]);
  CHECK(fabs(table[0].area / (area[0] + area[1]) - 1) < 0.01, "outside: %g", table[0].area);
  CHECK(fabs((whole - table[0].volume) / (volume[0] + volume[1]) - 1) < 0.005, "outside: %g",
        table[0].volume);
  memory_free(table);
  grid_field_free(&grey);
  grid_field_free(&number);
  grid_plan_free(&plan);
}

static double ball_volume(double r) { return 4 * PI / 3 * r * r * r; }

TEST(spheres_have_their_volume_within_half_a_per_cent_and_their_area_within_one) {
  const int64_t n[3]           = {30, 31, 62};
  const struct ellipsoid two[] = {
      {{14.3, 15.1, 13.8}, {10, 10, 10}},
      {{15.2, 14.6, 45.4}, {12, 12, 12}}
  };
  const double edge[3] = {1, 1, 1}, volume[2] = {ball_volume(10), ball_volume(12)},
               area[2] = {4 * PI * 100, 4 * PI * 144};
  check_two(comm, GRID_F32, n, two, edge, volume, area);
  check_two(comm, GRID_U16, n, two, edge, volume, area);
}

/* Prolate of half axes a (long) and c: area 2 pi c^2 (1 + a / (c e) asin e). */
TEST(ellipsoids_and_flat_voxels_keep_that) {
  const int64_t n[3]           = {28, 40, 66};
  const struct ellipsoid two[] = {
      {{13.4, 19.7, 16.2}, {10, 15, 10}},
      {{13.6, 19.2, 48.1}, {10, 10, 10}}
  };
  double e = sqrt(1 - 100.0 / 225), unit[3] = {1, 1, 1};
  double volume[2] = {4 * PI / 3 * 1500, ball_volume(10)},
         area[2]   = {2 * PI * 100 * (1 + 15 / (10 * e) * asin(e)), 4 * PI * 100};
  check_two(comm, GRID_F32, n, two, unit, volume, area);
  /* voxels twice as high make the second one a prolate of 20 and 10 */
  const double high[3] = {2, 1, 1}, e2 = sqrt(1 - 0.25);
  const struct ellipsoid like[] = {
      {{13.4, 19.7, 16.2}, {10, 10, 10}},
      {{13.6, 19.2, 48.1}, {10, 10, 10}}
  };
  double tall       = 2 * PI * 100 * (1 + 20 / (10 * e2) * asin(e2));
  double volumes[2] = {2 * ball_volume(10), 2 * ball_volume(10)}, areas[2] = {tall, tall};
  check_two(comm, GRID_F32, n, like, high, volumes, areas);
}

TEST(a_plane_through_the_volume_has_its_area_and_no_caps) {
  const int64_t n[3] = {12, 9, 10}, one[3] = {1, 1, 1};
  const double edge[3] = {1, 2, 3};
  struct grid_plan plan;
  struct grid_field grey;
  struct voxel_isosurface *table;
  status_clear();
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, one, &grey));
  for (int64_t z = 0; z < grey.mine.n[0]; z++)
    for (int64_t i = 0; i < 90; i++)
      ((float *)
           grey.data)[grid_field_origin(&grey) + z * grey.row[0] + i / 10 * grey.row[1] + i % 10] =
          (float)(z + grey.mine.start[0]);
  CHECK_OK(voxel_isosurface_table(comm, &grey, NULL, 1, 4.25, INFINITY, edge, &table));
  CHECK_NEAR(table[0].area, 9 * 10 * 6, 1e-3);
  CHECK_NEAR(table[0].volume, 6 * 90 * (11.5 - 4.25), 1e-3);
  memory_free(table);
#ifdef XCSCT_FAULTS
  setenv("FAULT", "voxel.isosurface:0", 1);
  CHECK(voxel_isosurface_table(comm, &grey, NULL, 1, 4.25, INFINITY, edge, &table) ==
            STATUS_INTERNAL,
        "a fault on rank 0");
  unsetenv("FAULT");
  status_clear();
#endif
  grid_field_free(&grey);
  grid_plan_free(&plan);
}
