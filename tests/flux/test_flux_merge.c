/* Coarse graphs that go to fewer ranks in several steps: the same intervals as one rank finds.
 * np: 27 */
#include "flux_random.h"

/* Noise of high contrast may converge on neither, but its intervals hold. */
static void alike(MPI_Comm comm, enum flux_kind kind, uint64_t seed) {
  struct random_case c;
  struct flux_answer many, one;
  random_make(&c, kind, seed, 20, 40);
  CHECK_OK(random_solve(comm, &c, &many, NULL));
  CHECK_OK(random_solve(MPI_COMM_SELF, &c, &one, NULL));
  CHECK(many.percolates == one.percolates, "seed %d", (int)seed);
  CHECK(one.iterations > 20 || many.converged, "seed %d: %.9g .. %.9g after %d, alone after %d",
        (int)seed, many.lower, many.upper, many.iterations, one.iterations);
  CHECK(many.lower <= one.upper * (1 + 1e-10) && one.lower <= many.upper * (1 + 1e-10),
        "seed %d: %.12g .. %.12g and %.12g .. %.12g", (int)seed, many.lower, many.upper, one.lower,
        one.upper);
  random_free(&c);
}
TEST(through_a_volume) {
  for (uint64_t seed = 101; seed <= 106; seed++) alike(comm, FLUX_THROUGH, seed);
}
TEST(through_a_periodic_cell) {
  for (uint64_t seed = 201; seed <= 204; seed++) alike(comm, FLUX_CELL, seed);
}
TEST(in_an_electrode) {
  for (uint64_t seed = 301; seed <= 303; seed++) alike(comm, FLUX_ELECTRODE, seed);
}
