/* The guaranteed interval against an independent solution of small random structures.
 * np: 1 2 3 5 8 */
#include "flux_random.h"

TEST(the_interval_holds_the_truth_on_random_structures) {
  for (uint64_t seed = 1; seed <= 40; seed++) random_check(comm, FLUX_THROUGH, seed, 3, 15);
}
TEST(the_interval_holds_the_truth_of_periodic_cells) {
  for (uint64_t seed = 1; seed <= 40; seed++) random_check(comm, FLUX_CELL, seed, 1, 13);
}
TEST(the_interval_holds_the_truth_of_electrodes) {
  for (uint64_t seed = 1; seed <= 40; seed++) random_check(comm, FLUX_ELECTRODE, seed, 3, 13);
}
/* Bodies that touch nothing have a free potential, which must not grow from cycle to cycle. */
TEST(cells_of_one_phase_converge) {
  static const double spacing[][3] = {
      {1,    1,    1   },
      {2,    1,    1   },
      {3.09, 0.61, 1.75}
  };
  for (int s = 0; s < 3; s++)
    for (uint64_t seed = 1; seed <= 8; seed++) {
      struct random_case c = {
          .n = {30, 33, 34}
      };
      struct flux_answer a;
      uint64_t state = seed;
      c.code         = malloc((size_t)(c.n[0] * c.n[1] * c.n[2]));
      c.problem      = (struct flux_case){
               .kind           = FLUX_CELL,
               .gradient       = {0, 0, 1},
               .axis           = 2,
               .periodic       = true,
               .diffusivity    = {0, 1 },
               .volume_vox     = c.n[0] * c.n[1] * c.n[2],
               .tolerance      = 1e-4,
               .iterations_max = 100,
               .certify        = true,
               .negligible     = 1e-9
      };
      memcpy(c.problem.spacing, spacing[s], sizeof spacing[s]);
      random_codes(&c, &state, 0.3 + 0.05 * (double)(seed % 10), 1, 2 + (int)(seed % 3));
      CHECK_OK(random_solve(comm, &c, &a, NULL));
      CHECK(a.converged && a.iterations <= 12, "spacing %d, seed %d: %.9g .. %.9g after %d", s,
            (int)seed, a.lower, a.upper, a.iterations);
      random_free(&c);
    }
}
/* Around an axis of two boxes a node meets another on both sides. */
TEST(thin_periodic_axes_conserve_the_flux) {
  for (int64_t thick = 1; thick <= 6; thick++) {
    struct random_case c = {
        .n = {thick, 40, 40}
    };
    struct flux_state state = {0};
    struct flux_answer a;
    uint64_t seed = 3;
    c.code        = malloc((size_t)(c.n[0] * c.n[1] * c.n[2]));
    c.problem     = (struct flux_case){
            .kind           = FLUX_THROUGH,
            .axis           = 1,
            .periodic       = true,
            .spacing        = {1, 1, 1},
            .diffusivity    = {0, 1 },
            .volume_vox     = c.n[0] * c.n[1] * c.n[2],
            .tolerance      = 1e-6,
            .iterations_max = 60,
            .certify        = true
    };
    random_codes(&c, &seed, 0.8, 1, 2);
    CHECK_OK(random_solve(comm, &c, &a, &state));
    CHECK(a.percolates && a.converged && a.iterations <= 12 && a.divergence < 1e-7,
          "%lld thick: %.9g .. %.9g after %d, divergence %g", (long long)thick, a.lower, a.upper,
          a.iterations, a.divergence);
    flux_state_free(&state);
    random_free(&c);
  }
}
TEST(the_kernels_sum_what_voxels_sum) {
  int ranks;
  MPI_Comm_size(comm, &ranks);
  const uint64_t last = ranks > 3 ? 9 : 36; /* more ranks than cores take long */
  for (uint64_t seed = 1; seed <= last; seed++)
    random_paths_check(comm, (enum flux_kind)(seed % 3), seed, 3, 26);
}
/* What is on a fixed face and touches nothing else still has walls. */
TEST(an_electrode_counts_lone_voxels_on_its_face) {
  for (int phases = 1; phases <= 2; phases++)
    for (int axis = 0; axis < 3; axis++) {
      struct random_case c;
      struct flux_answer a;
      random_make(&c, FLUX_ELECTRODE, 5, 11, 14);
      c.problem.axis           = axis;
      c.problem.diffusivity[1] = c.problem.diffusivity[2] = 1;
      for (int b = 0; b < 3; b++) c.problem.spacing[b] = 1;
      memset(c.code, 0, (size_t)c.problem.volume_vox);
      const int64_t *n = c.n, step[3] = {n[1] * n[2], n[2], 1};
      const int64_t u = step[(axis + 1) % 3], w = step[(axis + 2) % 3];
      for (int64_t i = 0; i < 8; i++) c.code[i * step[axis] + 2 * u + 3 * w] = (uint8_t)phases;
      c.code[6 * u + 6 * w] = 1;
      c.code[9 * u + 7 * w] = 1;
      c.truth               = random_truth(&c);
      CHECK_OK(random_solve(comm, &c, &a, NULL));
      CHECK(a.converged && a.lower <= c.truth * (1 + 1e-10) && c.truth <= a.upper * (1 + 1e-10),
            "axis %d, %d phases: %.12g outside %.12g .. %.12g", axis, phases, c.truth, a.lower,
            a.upper);
      random_free(&c);
    }
}
