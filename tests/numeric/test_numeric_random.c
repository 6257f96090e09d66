/* np: 1 */
#include "check.h"
#include "numeric_random.h"
#include <math.h>

TEST(philox_gives_the_published_vectors) { /* Random123's known answers for philox4x32 with 10 rounds */
  struct random_block b = random_at(0, 0, 0);
  CHECK(b.word[0] == 0x6627e8d5 && b.word[1] == 0xe169c58d && b.word[2] == 0xbc57ac4c && b.word[3] == 0x9b00dbd8,
        "%08x %08x %08x %08x", b.word[0], b.word[1], b.word[2], b.word[3]);
  b = random_at(UINT64_MAX, UINT64_MAX, UINT64_MAX);
  CHECK(b.word[0] == 0x408f276d && b.word[1] == 0x41c83b0e && b.word[2] == 0xa20bc7c6 && b.word[3] == 0x6d5451fd,
        "%08x %08x %08x %08x", b.word[0], b.word[1], b.word[2], b.word[3]);
}

TEST(moments_are_those_of_the_distributions) {
  enum { N = 200000 };
  const double means[] = {0.5, 3, 29, 31, 1000, 1e7};
  double sum = 0, square = 0;
  for (uint64_t i = 0; i < N; i++) {
    double z = random_normal(7, 1, i);
    sum += z, square += z * z;
  }
  CHECK(fabs(sum / N) < 5 / sqrt((double)N) && fabs(square / N - 1) < 0.02, "normal: %g %g", sum / N, square / N);
  for (int m = 0; m < 6; m++) {
    sum = square = 0;
    double cube = 0;
    for (uint64_t i = 0; i < N; i++) {
      double d = ((double)random_poisson(7, 2, i, means[m]) - means[m]) / sqrt(means[m]);
      sum += d, square += d * d, cube += d * d * d;
    }
    CHECK(fabs(sum / N) < 5 / sqrt((double)N), "Poisson %g: mean off by %g sigma", means[m], sum / N);
    CHECK(fabs(square / N - 1) < 0.03, "Poisson %g: variance %g", means[m], square / N);
    CHECK(fabs(cube / N - 1 / sqrt(means[m])) < 0.08, "Poisson %g: skewness %g", means[m], cube / N);
  }
}
