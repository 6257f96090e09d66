/* The guaranteed interval on 200 random structures of up to 48 voxels a side. np: 2
 * label: full
 * timeout: 2700 */
#include "flux_random.h"

TEST(the_interval_holds_the_truth_on_two_hundred_structures) {
  int most = 0, sum = 0;
  for (uint64_t seed = 1001; seed <= 1200; seed++) {
    const int n = random_check(comm, FLUX_THROUGH, seed, 8, 48);
    most        = n > most ? n : most;
    sum += n;
  }
  CHECK(most <= 60, "%d iterations", most);
  int rank;
  MPI_Comm_rank(comm, &rank);
  if (!rank) printf("iterations: mean %.1f, most %d\n", sum / 200., most);
}
