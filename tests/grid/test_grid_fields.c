/* np: 1 2 3 5 8 */
#include "check.h"
#include "grid.h"
#include <stdlib.h>
#include <string.h>

/* The truth of a voxel is a number made of its place, so any field can be checked anywhere. */
static int32_t truth(int64_t z, int64_t y, int64_t x) {
  return (int32_t)(1 + z * 10007 + y * 101 + x);
}

static int32_t *at(struct grid_field *f, int64_t z, int64_t y, int64_t x) {
  return (int32_t *)f->data + (z - f->mine.start[0] + f->halo[0]) * f->row[0] +
         (y - f->mine.start[1] + f->halo[1]) * f->row[1] + x - f->mine.start[2] + f->halo[2];
}

static void fill(struct grid_field *f) {
  for (int64_t z = f->mine.start[0]; z < f->mine.start[0] + f->mine.n[0]; z++)
    for (int64_t y = f->mine.start[1]; y < f->mine.start[1] + f->mine.n[1]; y++)
      for (int64_t x = f->mine.start[2]; x < f->mine.start[2] + f->mine.n[2]; x++)
        *at(f, z, y, x) = truth(z, y, x);
}

enum { KINDS = 5 };
static enum status plan_of(MPI_Comm comm, int kind, const int64_t n[3], struct grid_plan *plan) {
  if (kind < 3) return grid_plan_slabs(comm, n, kind, plan);
  if (kind == 3) return grid_plan_blocks(comm, n, 1, plan);
  int rank, size; /* FFTW's way: the last ranks get nothing */
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  int64_t share[64] = {0}, each = (n[0] + size - 1) / size, left = n[0];
  for (int i = 0; i < size; i++) {
    share[i] = left < each ? left : each;
    left -= share[i];
  }
  return grid_plan_cuts(comm, n, 0, share, plan);
}

static const int64_t shapes[][3] = {
    {7,  5,  9},
    {1,  1,  1},
    {2,  13, 3},
    {16, 1,  6},
    {1,  11, 1}
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

TEST(every_voxel_has_exactly_one_owner) {
  for (int s = 0; s < SHAPES; s++)
    for (int kind = 0; kind < KINDS; kind++) {
      struct grid_plan plan;
      CHECK_OK(plan_of(comm, kind, shapes[s], &plan));
      int64_t voxels   = 0;
      int owners[4096] = {0};
      for (int r = 0; r < plan.size; r++) {
        struct grid_box box = grid_plan_box(&plan, r);
        voxels += grid_box_voxels(&box);
        for (int64_t z = 0; z < box.n[0]; z++)
          for (int64_t y = 0; y < box.n[1]; y++)
            for (int64_t x = 0; x < box.n[2]; x++)
              owners[((z + box.start[0]) * plan.n[1] + y + box.start[1]) * plan.n[2] + x +
                     box.start[2]]++;
        CHECK(grid_box_voxels(&box) <= grid_plan_most(&plan), "rank %d has more than the most", r);
      }
      int64_t all = plan.n[0] * plan.n[1] * plan.n[2];
      CHECK(voxels == all, "%lld of %lld voxels", (long long)voxels, (long long)all);
      for (int64_t i = 0; i < all; i++)
        CHECK(owners[i] == 1, "voxel %lld: %d owners", (long long)i, owners[i]);
      grid_plan_free(&plan);
    }
}

static int64_t inside(int64_t i, int64_t n, enum grid_edge edge) {
  if (edge == GRID_EDGE_PERIODIC) return ((i % n) + n) % n;
  if (edge == GRID_EDGE_NEAREST) return i < 0 ? 0 : i >= n ? n - 1 : i;
  while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
  return i;
}

static void check_halo(struct grid_field *f, enum grid_edge edge, int kind) {
  for (int64_t i = 0; i < f->size[0]; i++)
    for (int64_t j = 0; j < f->size[1]; j++)
      for (int64_t k = 0; k < f->size[2]; k++) {
        const int64_t p[3] = {i + f->mine.start[0] - f->halo[0], j + f->mine.start[1] - f->halo[1],
                              k + f->mine.start[2] - f->halo[2]};
        int64_t q[3];
        bool beyond = false;
        for (int a = 0; a < 3; a++) {
          beyond |= p[a] < 0 || p[a] >= f->plan.n[a];
          q[a] = inside(p[a], f->plan.n[a], edge);
        }
        int32_t want = beyond && edge == GRID_EDGE_KEEP ? 0 : truth(q[0], q[1], q[2]);
        CHECK(*at(f, p[0], p[1], p[2]) == want,
              "plan %d edge %d: (%lld %lld %lld) holds %d, not %d", kind, (int)edge,
              (long long)p[0], (long long)p[1], (long long)p[2], *at(f, p[0], p[1], p[2]), want);
      }
}

TEST(halos_hold_the_owners_values_also_beyond_thin_neighbours) {
  const int64_t halos[][3] = {
      {1, 1, 1},
      {3, 0, 2},
      {0, 0, 0}
  };
  for (int s = 0; s < SHAPES; s++)
    for (int kind = 0; kind < KINDS; kind++)
      for (int h = 0; h < 3; h++)
        for (int edge = GRID_EDGE_KEEP; edge <= GRID_EDGE_PERIODIC; edge++) {
          bool deep =
              false; /* reflecting more than the volume is thick is refused, not tested here */
          for (int a = 0; a < 3; a++) deep |= halos[h][a] > shapes[s][a];
          if (deep && edge == GRID_EDGE_REFLECT) continue;
          struct grid_plan plan;
          struct grid_field field;
          CHECK_OK(plan_of(comm, kind, shapes[s], &plan));
          CHECK_OK(grid_field_make(comm, &plan, GRID_I32, halos[h], &field));
          fill(&field);
          CHECK_OK(grid_halo_exchange(comm, &field, (enum grid_edge)edge));
          if (field.voxels) check_halo(&field, (enum grid_edge)edge, kind);
          grid_field_free(&field);
          grid_plan_free(&plan);
        }
}

/* A slice of 16.4 MB goes in two messages, of which the second has one row. */
TEST(a_halo_of_many_bytes_goes_in_parts) {
  const int64_t n[3] = {3, 4097, 1024}, halo[3] = {1, 0, 0};
  struct grid_plan plan;
  struct grid_field field;
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_I32, halo, &field));
  int32_t *data = field.data;
  for (int64_t z = 0; z < field.mine.n[0]; z++)
    for (int64_t i = 0; i < field.row[0]; i++)
      data[(z + 1) * field.row[0] + i] = (int32_t)((z + field.mine.start[0]) * field.row[0] + i);
  CHECK_OK(grid_halo_exchange(comm, &field, GRID_EDGE_KEEP));
  int64_t wrong = 0;
  for (int64_t z = -1; z <= field.mine.n[0]; z++) {
    int64_t whole = z + field.mine.start[0];
    for (int64_t i = 0; i < field.row[0] && whole >= 0 && whole < n[0] && field.voxels; i++)
      wrong += data[(z + 1) * field.row[0] + i] != (int32_t)(whole * field.row[0] + i);
  }
  CHECK(wrong == 0, "%lld voxels of the halo are not their owners'", (long long)wrong);
  grid_field_free(&field);
  grid_plan_free(&plan);
}

static void check_moved(MPI_Comm comm, int s, int kind_from, int kind_to, const int order[3]) {
  struct grid_plan a, b;
  struct grid_field from, to;
  int64_t n[3];
  for (int i = 0; i < 3; i++) n[i] = shapes[s][order[i]];
  const int64_t halo[3] = {1, 0, 2}, none[3] = {0, 1, 0};
  CHECK_OK(plan_of(comm, kind_from, shapes[s], &a));
  CHECK_OK(plan_of(comm, kind_to, n, &b));
  CHECK_OK(grid_field_make(comm, &a, GRID_I32, halo, &from));
  CHECK_OK(grid_field_make(comm, &b, GRID_I32, none, &to));
  fill(&from);
  CHECK_OK(grid_field_transpose(comm, &from, order, &to));
  for (int64_t z = to.mine.start[0]; z < to.mine.start[0] + to.mine.n[0]; z++)
    for (int64_t y = to.mine.start[1]; y < to.mine.start[1] + to.mine.n[1]; y++)
      for (int64_t x = to.mine.start[2]; x < to.mine.start[2] + to.mine.n[2]; x++) {
        const int64_t p[3] = {z, y, x};
        int64_t q[3];
        for (int i = 0; i < 3; i++) q[order[i]] = p[i];
        CHECK(*at(&to, z, y, x) == truth(q[0], q[1], q[2]), "plans %d to %d", kind_from, kind_to);
      }
  grid_field_free(&from);
  grid_field_free(&to);
  grid_plan_free(&a);
  grid_plan_free(&b);
}

TEST(a_field_moves_between_any_two_plans) {
  const int straight[3] = {0, 1, 2};
  for (int s = 0; s < SHAPES; s++)
    for (int from = 0; from < KINDS; from++)
      for (int to = 0; to < KINDS; to++) check_moved(comm, s, from, to, straight);
}

TEST(a_field_moves_with_its_axes_permuted) {
  const int orders[][3] = {
      {1, 0, 2},
      {2, 1, 0},
      {1, 2, 0},
      {2, 0, 1},
      {0, 2, 1}
  };
  for (int s = 0; s < SHAPES; s++)
    for (int o = 0; o < 5; o++) check_moved(comm, s, o % KINDS, (o + 3) % KINDS, orders[o]);
}

TEST(a_crop_is_the_box_of_the_whole) {
  const struct grid_box box = {
      {2, 1, 3},
      {4, 3, 5}
  };
  struct grid_plan a, b;
  struct grid_field from, to;
  CHECK_OK(grid_plan_blocks(comm, shapes[0], 1, &a));
  CHECK_OK(grid_plan_slabs(comm, box.n, 1, &b));
  CHECK_OK(grid_field_make(comm, &a, GRID_I32, NULL, &from));
  CHECK_OK(grid_field_make(comm, &b, GRID_I32, NULL, &to));
  fill(&from);
  CHECK_OK(grid_field_crop(comm, &from, &box, &to));
  for (int64_t z = 0; z < to.mine.n[0]; z++)
    for (int64_t y = to.mine.start[1]; y < to.mine.start[1] + to.mine.n[1]; y++)
      for (int64_t x = 0; x < to.mine.n[2]; x++)
        CHECK(*at(&to, z, y, x) == truth(z + 2, y + 1, x + 3), "(%lld %lld %lld)", (long long)z,
              (long long)y, (long long)x);
  grid_field_free(&from);
  grid_field_free(&to);
  grid_plan_free(&a);
  grid_plan_free(&b);
}

TEST(blocks_leave_no_part_thinner_than_asked) {
  int size;
  MPI_Comm_size(comm, &size);
  const int64_t thin[3] = {2, 64, 64};
  struct grid_plan plan;
  CHECK_OK(grid_plan_blocks(comm, thin, 8, &plan));
  CHECK(plan.parts[0] == 1, "%d parts of 2 voxels", plan.parts[0]);
  CHECK(plan.parts[1] * plan.parts[2] == size, "%d x %d parts", plan.parts[1], plan.parts[2]);
  grid_plan_free(&plan);
}

TEST(a_fault_on_any_rank_ends_all_ranks_alike) {
#ifdef XCSCT_FAULTS
  const char *const sites[] = {"grid.field", "grid.halo", "grid.move"};
  int size;
  MPI_Comm_size(comm, &size);
  for (int s = 0; s < 3; s++)
    for (int bad = 0; bad < size; bad++) {
      struct grid_plan plan;
      struct grid_field field, other;
      char fault[64];
      memset(&field, 0, sizeof field);
      memset(&other, 0, sizeof other);
      status_clear();
      CHECK_OK(grid_plan_slabs(comm, shapes[0], 0, &plan));
      snprintf(fault, sizeof fault, "%s:%d", sites[s], bad);
      if (s > 0) CHECK_OK(grid_field_make(comm, &plan, GRID_F32, shapes[1], &field));
      if (s > 1) CHECK_OK(grid_field_make(comm, &plan, GRID_F32, shapes[1], &other));
      setenv("FAULT", fault, 1);
      enum status got = s == 0   ? grid_field_make(comm, &plan, GRID_F32, NULL, &field)
                        : s == 1 ? grid_halo_exchange(comm, &field, GRID_EDGE_KEEP)
                                 : grid_field_move(comm, &field, &other);
      unsetenv("FAULT");
      CHECK(got == STATUS_INTERNAL, "%s: %s", fault, status_name(got));
      CHECK(strstr(status_text(), sites[s]) != NULL, "got '%s'", status_text());
      grid_field_free(&field);
      grid_field_free(&other);
      grid_plan_free(&plan);
    }
#else
  check_skip("built without XCSCT_FAULTS");
#endif
}
