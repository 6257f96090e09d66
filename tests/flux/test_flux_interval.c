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
TEST(the_kernels_sum_what_voxels_sum) {
  for (uint64_t seed = 1; seed <= 60; seed++)
    random_paths_check(comm, (enum flux_kind)(seed % 3), seed, 3, 32);
}
