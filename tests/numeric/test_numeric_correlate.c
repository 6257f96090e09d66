/* np: 1 */
#include "check.h"
#include "numeric.h"

TEST(correlations_are_those_of_the_double_sum) {
  enum { NY = 7, NX = 10, RY = 3, RX = 4 };
  double a[NY * NX], b[NY * NX], out[(2 * RY + 1) * (2 * RX + 1)];
  status_clear();
  for (uint64_t i = 0; i < NY * NX; i++)
    a[i] = random_normal(1, 2, i), b[i] = random_normal(1, 3, i);
  for (int same = 0; same < 2; same++) {
    const double *other = same ? a : b;
    CHECK_OK(numeric_correlate(a, other, NY, NX, RY, RX, out));
    for (int dy = -RY; dy <= RY; dy++)
      for (int dx = -RX; dx <= RX; dx++) {
        double want = 0;
        for (int y = 0; y < NY; y++)
          for (int x = 0; x < NX; x++)
            if (y + dy >= 0 && y + dy < NY && x + dx >= 0 && x + dx < NX)
              want += a[y * NX + x] * other[(y + dy) * NX + x + dx];
        CHECK_NEAR(out[(dy + RY) * (2 * RX + 1) + dx + RX], want, 1e-12);
      }
  }
}
