/* Halo exchange and moves between plans, beside the bandwidth that the ranks' memory has. What stays on a
 * rank is read and written once, what moves at least twice (pack, unpack). */
#include "bench.h"
#include "grid.h"

static struct grid_field from, to;
static MPI_Comm world;
static int order[3] = {0, 1, 2};

static void give_up_unless(enum status status) {
  if (status != STATUS_OK) status_abort(status, "%s", status_text());
}
static void halo(void *context) {
  (void)context;
  give_up_unless(grid_halo_exchange(world, &from, GRID_EDGE_KEEP));
}
static void move(void *context) {
  (void)context;
  give_up_unless(grid_field_transpose(world, &from, order, &to));
}

static void bench_halo(int64_t n, bool blocks, double stream) {
  const int64_t shape[3] = {n, n, n}, one[3] = {1, 1, 1};
  struct grid_plan plan;
  give_up_unless(blocks ? grid_plan_blocks(world, shape, 2, &plan)
                        : grid_plan_slabs(world, shape, 0, &plan));
  give_up_unless(grid_field_make(world, &plan, GRID_F32, one, &from));
  struct bench_time time = bench_run(world, 21, halo, NULL);
  double faces           = 0;
  for (int a = 0; a < 3; a++) faces += 2.0 * (plan.parts[a] - 1) * (double)(n * n);
  char more[256];
  snprintf(more, sizeof more,
           "\"n\":%lld,\"bytes\":%.0f,\"GB_per_s\":%.3f,\"stream_GB_per_s\":%.2f", (long long)n,
           4 * faces, 4e-9 * faces / time.median_s, 1e-9 * stream);
  bench_print(world, blocks ? "grid.halo.blocks" : "grid.halo.slabs", time, more);
  grid_field_free(&from);
  grid_plan_free(&plan);
}

static void bench_move(const char *name, const int64_t shape[3], int axis_from, int axis_to,
                       const int map[3], double stream) {
  struct grid_plan a, b;
  int64_t n[3];
  for (int i = 0; i < 3; i++) n[i] = shape[order[i] = map[i]];
  give_up_unless(grid_plan_slabs(world, shape, axis_from, &a));
  give_up_unless(axis_to < 0 ? grid_plan_blocks(world, n, 2, &b)
                             : grid_plan_slabs(world, n, axis_to, &b));
  give_up_unless(grid_field_make(world, &a, GRID_F32, NULL, &from));
  give_up_unless(grid_field_make(world, &b, GRID_F32, NULL, &to));
  struct bench_time time = bench_run(world, 7, move, NULL);
  double bytes           = 4.0 * (double)shape[0] * (double)shape[1] * (double)shape[2];
  char more[256];
  int passes =
      a.size > 1 ? 6 : 3; /* copied within a rank: read, write, write-allocate; else twice */
  snprintf(
      more, sizeof more,
      "\"bytes\":%.0f,\"GB_per_s\":%.3f,\"limit_GB_per_s\":%.2f,\"limit\":\"memory, %d passes\"",
      bytes, 1e-9 * bytes / time.median_s, 1e-9 * stream / passes, passes);
  bench_print(world, name, time, more);
  grid_field_free(&from);
  grid_field_free(&to);
  grid_plan_free(&a);
  grid_plan_free(&b);
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  world = MPI_COMM_WORLD;
  status_program_set(world);
  double stream = bench_stream_bytes_per_s(world);
  bench_halo(256, false, stream);
  bench_halo(256, true, stream);
  const int64_t cube[3] = {256, 256, 256}, scan[3] = {720, 64, 512};
  const int same[3] = {0, 1, 2}, rows[3] = {1, 0, 2};
  bench_move("grid.move.z_to_y", cube, 0, 1, same, stream);
  bench_move("grid.move.z_to_blocks", cube, 0, -1, same, stream);
  bench_move("grid.move.angles_to_rows", scan, 0, 0, rows, stream);
  MPI_Finalize();
  return 0;
}
