/* np: 1 2
 * What the large operations take beside their fields, counted where memory is made. */
#include "check.h"
#include "voxel.h"
#include <math.h>
#include <string.h>

enum { EDGE = 96 };
static const int64_t size[3] = {EDGE, EDGE, EDGE};

/* Waves of ten voxels: about as many runs as a filtered volume has. */
static bool solid(int64_t z, int64_t y, int64_t x) {
  return sin(0.63 * (double)x) + sin(0.59 * (double)y + 0.3) + sin(0.67 * (double)z + 0.1) > 0;
}

/* Of all ranks together, over the voxels. */
static double bytes_per_voxel(MPI_Comm comm, int64_t before) {
  int64_t sum = memory_peak_bytes() - before;
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_INT64_T, MPI_SUM, comm);
  return (double)sum / (EDGE * EDGE * EDGE);
}

/* The first test: the peak is that of the whole program. */
TEST(components_take_at_most_six_bytes_per_voxel) {
  struct grid_plan plan;
  struct grid_field f, parts;
  int64_t count;
  status_clear();
  CHECK_OK(grid_plan_slabs(comm, size, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, NULL, &f));
  for (int64_t i = 0; i < f.voxels; i++)
    ((uint8_t *)f.data)[i] = solid(f.mine.start[0] + i / (EDGE * EDGE), i / EDGE % EDGE, i % EDGE);
  int64_t before = memory_now_bytes();
  CHECK_OK(voxel_components(comm, &f, 1, 26, &parts, &count));
  double bytes = bytes_per_voxel(comm, before);
  CHECK(bytes > 4 && bytes <= 6, "%.2f bytes per voxel", bytes);
  grid_field_free(&parts);
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(phase_correlation_takes_at_most_nine_bytes_per_voxel_on_one_rank) {
  struct grid_plan plan;
  struct grid_field a, b;
  struct voxel_shift shift;
  int ranks;
  status_clear();
  MPI_Comm_size(comm, &ranks);
  CHECK_OK(grid_plan_slabs(comm, size, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, NULL, &a));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, NULL, &b));
  for (int64_t i = 0; i < a.voxels; i++) {
    int64_t z = a.mine.start[0] + i / (EDGE * EDGE), y = i / EDGE % EDGE, x = i % EDGE;
    ((float *)a.data)[i] = solid(z, y, x) && hypot((double)(y - 40), (double)(x - 50)) < 30;
    ((float *)b.data)[i] = solid(z, y - 2, x - 1) && hypot((double)(y - 42), (double)(x - 51)) < 30;
  }
  int64_t before = memory_now_bytes();
  CHECK_OK(voxel_shift_find(comm, &a, &b, 8, &shift));
  double bytes = bytes_per_voxel(comm, before);
  CHECK(bytes > 8 && bytes <= (ranks == 1 ? 9 : 13), "%.2f bytes per voxel", bytes);
  CHECK_NEAR(shift.shift_px[1], 2, 0.1);
  CHECK_NEAR(shift.shift_px[2], 1, 0.1);
  grid_field_free(&a);
  grid_field_free(&b);
  grid_plan_free(&plan);
}
