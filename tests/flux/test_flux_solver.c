/* The solver against problems whose answer is known. np: 1 2 3 5 8 */
#include "check.h"
#include "flux.h"
#include <math.h>
#include <stdlib.h>

struct shape_case {
  int64_t n[3];
  int (*code)(const int64_t at[3], const int64_t n[3]);
  struct flux_case problem;
};
static enum status solve(MPI_Comm comm, const struct shape_case *c, struct flux_answer *answer,
                         struct flux_state *state) {
  struct grid_plan plan    = {0};
  struct grid_field codes  = {0};
  struct flux_case problem = c->problem;
  if (!problem.volume_vox) problem.volume_vox = c->n[0] * c->n[1] * c->n[2];
  problem.certify        = true;
  problem.iterations_max = 200;
  for (int a = 0; a < 3; a++)
    if (problem.spacing[a] <= 0) problem.spacing[a] = 1;
  TRY(flux_plan_make(comm, c->n, &plan));
  TRY(grid_field_make(comm, &plan, GRID_U8, (int64_t[3]){0, 0, 0}, &codes));
  uint8_t *data = codes.data;
  for (int64_t z = 0; z < codes.mine.n[0]; z++)
    for (int64_t y = 0; y < codes.mine.n[1]; y++)
      for (int64_t x = 0; x < codes.mine.n[2]; x++) {
        const int64_t at[3] = {z + codes.mine.start[0], y + codes.mine.start[1],
                               x + codes.mine.start[2]};
        data[z * codes.row[0] + y * codes.row[1] + x] = (uint8_t)c->code(at, c->n);
      }
  enum status s = flux_solve(comm, &problem, &codes, answer, state);
  grid_field_free(&codes);
  grid_plan_free(&plan);
  return s;
}
static void expect(MPI_Comm comm, const struct shape_case *c, double truth, double tolerance) {
  struct flux_answer a;
  CHECK_OK(solve(comm, c, &a, NULL));
  CHECK(a.converged, "interval %.12g .. %.12g after %d", a.lower, a.upper, a.iterations);
  CHECK(a.lower <= truth * (1 + 1e-9) && a.upper >= truth * (1 - 1e-9),
        "%.12g outside %.12g .. %.12g", truth, a.lower, a.upper);
  CHECK_NEAR(a.upper, truth, tolerance * truth);
}

static int block(const int64_t at[3], const int64_t n[3]) {
  (void)at;
  (void)n;
  return 1;
}
TEST(a_uniform_block_has_diffusivity_one_at_any_spacing) {
  const double spacing[4][3] = {
      {1,    1,    1   },
      {3.24, 3.24, 3.24},
      {2,    1,    1   },
      {0.5,  3,    1.7 }
  };
  enum { SHAPES = 5 };
  const int64_t n[SHAPES][3] = {
      {9,  8,  7 },
      {1,  5,  6 },
      {17, 3,  2 },
      {6,  20, 33},
      {1,  70, 5 }
  };
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < SHAPES; j++)
      for (int axis = 0; axis < 3; axis++) {
        struct shape_case c = {.code = block};
        for (int a = 0; a < 3; a++) {
          c.n[a]               = n[j][a];
          c.problem.spacing[a] = spacing[i][a];
        }
        c.problem.axis           = axis;
        c.problem.periodic       = (i + j) % 2;
        c.problem.diffusivity[1] = 1;
        c.problem.tolerance      = 1e-4; /* that it is exact does not hang on what is asked */
        expect(comm, &c, 1, 1e-10);
      }
}

static int slanted(const int64_t at[3], const int64_t n[3]) {
  (void)n;
  return at[1] - at[0] >= 0 && at[1] - at[0] < 2 && at[2] - at[0] >= 0 && at[2] - at[0] < 2;
}
TEST(the_slanted_strip_has_its_exact_tortuosity) {
  /* strip of 2 x 2 voxels moving by one in y and x per layer: 451/60 and anisotropic variants */
  const double spacing[4][3] = {
      {1, 1, 1  },
      {2, 1, 1  },
      {1, 1, 2  },
      {1, 1, 0.5}
  };
  const double tau[4] = {451. / 60, 4.775555556, 12.937222222, 6.143333333};
  for (int i = 0; i < 4; i++) {
    struct shape_case c = {
        .n = {20, 21, 21},
          .code = slanted
    };
    for (int a = 0; a < 3; a++) c.problem.spacing[a] = spacing[i][a];
    c.problem.diffusivity[1] = 1;
    c.problem.tolerance      = 2e-8;
    expect(comm, &c, 80. / (20 * 21 * 21) / tau[i], 1e-7);
  }
}

static int layers_z(const int64_t at[3], const int64_t n[3]) { return at[0] < n[0] / 2 ? 1 : 2; }
TEST(two_slabs_in_series_and_in_parallel) {
  for (int axis = 0; axis < 3; axis++) {
    struct shape_case c = {
        .n = {12, 7, 9},
          .code = layers_z
    };
    c.problem.axis           = axis;
    c.problem.diffusivity[1] = 1;
    c.problem.diffusivity[2] = 10;
    c.problem.tolerance      = 1e-7;
    expect(comm, &c, axis == 0 ? 2 / (1 + 0.1) : 5.5, 2e-7);
  }
}

static int checkerboard(const int64_t at[3], const int64_t n[3]) {
  return (at[0] + n[0] / 4) / (n[0] / 2) % 2 != (at[1] >= n[1] / 2) ? 2 : 1;
}
TEST(a_checkerboard_approaches_the_square_root_of_the_product) {
  struct shape_case c = {
      .n = {32, 32, 1},
        .code = checkerboard
  };
  c.problem.diffusivity[1] = 1;
  c.problem.diffusivity[2] = 2;
  c.problem.periodic       = true;
  c.problem.tolerance      = 1e-6;
  struct flux_answer a;
  CHECK_OK(solve(comm, &c, &a, NULL));
  CHECK(a.converged, "interval %.9g .. %.9g", a.lower, a.upper);
  CHECK(a.upper < sqrt(2.) && a.upper > 0.997 * sqrt(2.), "%.9g", a.upper);
}

static int dead_end(const int64_t at[3], const int64_t n[3]) { return at[0] != n[0] / 2; }
TEST(a_dead_end_conducts_nothing) {
  struct shape_case c = {
      .n = {9, 6, 5},
        .code = dead_end
  };
  struct flux_answer a;
  c.problem.diffusivity[1] = 1;
  c.problem.tolerance      = 1e-4;
  CHECK_OK(solve(comm, &c, &a, NULL));
  CHECK(!a.percolates && a.converged && a.upper == 0, "upper %g", a.upper);
  CHECK(a.voxels[1] == 8 * 30 && a.percolating[1] == 0, "%lld %lld", (long long)a.voxels[1],
        (long long)a.percolating[1]);
}

static int channel_with_island(const int64_t at[3], const int64_t n[3]) {
  (void)n;
  if (at[1] >= 2 && at[1] < 5) return 1;
  return at[1] == 8 && at[0] > 2 ? 1 : 0; /* ends before the first face */
}
TEST(a_straight_channel_has_tortuosity_one_and_dead_ends_are_left_out) {
  struct shape_case c = {
      .n = {30, 11, 6},
        .code = channel_with_island
  };
  struct flux_answer a;
  c.problem.diffusivity[1] = 1;
  c.problem.tolerance      = 1e-8;
  CHECK_OK(solve(comm, &c, &a, NULL));
  CHECK_NEAR(a.upper, 3. / 11, 1e-8);
  CHECK(a.percolating[1] == 30 * 3 * 6, "%lld", (long long)a.percolating[1]);
  CHECK(a.voxels[1] == 30 * 3 * 6 + 27 * 6, "%lld", (long long)a.voxels[1]);
}

/* A winding path that crosses any border between ranks many times. */
static int serpentine(const int64_t at[3], const int64_t n[3]) {
  if (at[2] != 0) return 0;
  if (at[0] % 2 == 0) return 1;
  return at[1] == (at[0] / 2 % 2 ? 0 : n[1] - 1);
}
TEST(a_serpentine_of_one_voxel_is_a_chain_of_resistors) {
  struct shape_case c = {
      .n = {13, 12, 2},
        .code = serpentine
  };
  c.problem.diffusivity[1] = 1;
  c.problem.tolerance      = 1e-7;
  /* in at any of 12 voxels of row 0: not a chain there; so compare with a dense solution */
  struct flux_answer a, b;
  CHECK_OK(solve(comm, &c, &a, NULL));
  CHECK(a.converged && a.percolates, "%g %g", a.lower, a.upper);
  c.problem.axis = 0;
  CHECK_OK(solve(MPI_COMM_SELF, &c, &b, NULL));
  CHECK_NEAR(a.upper, b.upper, 3e-7 * b.upper);
}

/* Random two-phase structures: every rank count must agree with one rank within the intervals. */
static uint64_t mix(uint64_t v) {
  v ^= v >> 33;
  v *= 0xff51afd7ed558ccdULL;
  v ^= v >> 33;
  v *= 0xc4ceb9fe1a85ec53ULL;
  return v ^ v >> 33;
}
static double random_at(const int64_t at[3], uint64_t seed) {
  return (double)(mix(mix(seed * 1000003 + (uint64_t)at[0]) * 31 + (uint64_t)at[1] * 1009 +
                      (uint64_t)at[2] * 1000033) >>
                  11) /
         9007199254740992.;
}
static int sites(const int64_t at[3], const int64_t n[3]) {
  (void)n;
  return random_at(at, 7) < 0.42;
}
static int two_phases(const int64_t at[3], const int64_t n[3]) {
  (void)n;
  const double r = random_at(at, 9);
  return r < 0.35 ? 0 : r < 0.6 ? 2 : 1;
}
TEST(what_a_cycle_sends_is_what_the_model_says_for_a_full_volume_or_less) {
  const int64_t n[3]  = {96, 80, 72};
  struct shape_case c = {
      .n = {96, 80, 72},
        .code = two_phases
  };
  struct grid_plan plan = {0};
  struct flux_answer a;
  int size;
  c.problem.diffusivity[1] = c.problem.diffusivity[2] = 1;
  c.problem.tolerance                                 = 1e-6;
  CHECK_OK(solve(comm, &c, &a, NULL));
  CHECK_OK(flux_plan_make(comm, n, &plan));
  const struct flux_traffic model = flux_traffic_model(&plan, true);
  const struct flux_traffic least = flux_traffic_model(&plan, false);
  struct flux_traffic most        = a.traffic;
  MPI_Allreduce(MPI_IN_PLACE, &most, 3, MPI_INT64_T, MPI_MAX, comm);
  MPI_Comm_size(comm, &size);
  CHECK(most.messages <= model.messages && most.messages >= least.messages, "%lld of %lld messages",
        (long long)most.messages, (long long)model.messages);
  CHECK(most.bytes <= model.bytes && 2 * most.bytes >= least.bytes, "%lld of %lld bytes",
        (long long)most.bytes, (long long)model.bytes);
  CHECK(most.sums <= model.sums && most.sums >= least.sums, "%lld of %lld sums",
        (long long)most.sums, (long long)model.sums);
  CHECK((model.messages == 0) == (size == 1), "%lld messages", (long long)model.messages);
  grid_plan_free(&plan);
}

TEST(ranks_agree_on_random_sites) {
  for (int i = 0; i < 4; i++) {
    struct shape_case c = {
        .n = {37, 30, 33},
          .code = i < 2 ? sites : two_phases
    };
    struct flux_answer a, b;
    c.problem.diffusivity[1] = 1;
    c.problem.diffusivity[2] = 1e-3;
    c.problem.axis           = i;
    if (i == 3) c.problem.axis = 1;
    c.problem.periodic  = i % 2;
    c.problem.tolerance = 1e-4;
    CHECK_OK(solve(comm, &c, &a, NULL));
    CHECK_OK(solve(MPI_COMM_SELF, &c, &b, NULL));
    CHECK(a.converged && b.converged, "case %d", i);
    CHECK(a.lower <= b.upper && b.lower <= a.upper, "case %d: %.9g..%.9g and %.9g..%.9g", i,
          a.lower, a.upper, b.lower, b.upper);
    CHECK(abs(a.iterations - b.iterations) <= 1, "case %d: %d and %d iterations", i, a.iterations,
          b.iterations);
    CHECK(a.percolating[1] == b.percolating[1], "case %d", i);
  }
}

/* Channels of a gyroid's kind that do not repeat within the volume. */
static int channels(const int64_t at[3], const int64_t n[3]) {
  (void)n;
  const double z = 0.29 * (double)at[0], y = 0.31 * (double)at[1], x = 0.27 * (double)at[2];
  return sin(x) * cos(y) + sin(y) * cos(z) + sin(z) * cos(x) + 0.3 * sin(1.7 * (x + y + z)) < -0.3;
}
/* Without a sweep of the borders five ranks took five cycles where one takes three. */
TEST(ranks_take_the_cycles_of_one) {
  struct shape_case c = {
      .n = {112, 72, 80},
        .code = channels
  };
  struct flux_answer a, b;
  c.problem.diffusivity[1] = 1;
  c.problem.tolerance      = 1e-6;
  for (c.problem.axis = 0; c.problem.axis < 3; c.problem.axis += 2) {
    CHECK_OK(solve(comm, &c, &a, NULL));
    CHECK_OK(solve(MPI_COMM_SELF, &c, &b, NULL));
    CHECK(a.converged && abs(a.iterations - b.iterations) <= 1, "%d cycles, one rank takes %d",
          a.iterations, b.iterations);
  }
}
