/* np: 1 2 3 5 */
#include "check.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double term(uint64_t i) { /* spread over 600 binary orders, both signs */
  uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
  x ^= x >> 29;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 32;
  double mantissa = (double)(x & 0xfffffffffffffu) / 4503599627370496.0 + 1;
  return ldexp(x >> 63 ? -mantissa : mantissa, (int)(x >> 54 & 511) - 300);
}

static double sum_over_ranks(MPI_Comm comm, uint64_t n) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  struct exact_sum sum = {.terms = 0};
  for (uint64_t i = (uint64_t)rank; i < n; i += (uint64_t)size) exact_add(&sum, term(i));
  CHECK_OK(exact_allreduce(comm, &sum, 1));
  return exact_value(&sum);
}

TEST(bits_do_not_depend_on_order_or_ranks) {
  double spread              = sum_over_ranks(comm, 20000);
  struct exact_sum backwards = {.terms = 0}, half = {.terms = 0};
  for (uint64_t i = 20000; i-- > 7000;) exact_add(&backwards, term(i));
  for (uint64_t i = 0; i < 7000; i++) exact_add(&half, term(i));
  exact_merge(&backwards, &half);
  double alone = exact_value(&backwards);
  CHECK(memcmp(&spread, &alone, sizeof alone) == 0, "%.17g and %.17g", spread, alone);
}

TEST(cancellation_leaves_the_exact_rest) {
  struct exact_sum sum = {.terms = 0};
  const double terms[] = {1e300, 1, -1e300, 1e-300, DBL_MAX, -DBL_MAX, 4.9e-324};
  for (int i = 0; i < 7; i++) exact_add(&sum, terms[i]);
  CHECK(exact_value(&sum) == 1, "%.17g", exact_value(&sum));
  exact_add(&sum, -1);
  CHECK(exact_value(&sum) == 1e-300, "%.17g", exact_value(&sum));
  exact_add(&sum, -1e-300);
  CHECK(exact_value(&sum) == 4.9e-324, "%.17g", exact_value(&sum));
}

TEST(integers_sum_exactly) {
  struct exact_sum sum = {.terms = 0};
  for (int64_t i = 1; i <= 100000; i++) exact_add(&sum, (double)i);
  CHECK(exact_value(&sum) == 5000050000.0, "%.17g", exact_value(&sum));
}

TEST(what_is_not_a_number_is_told) {
  struct exact_sum sum = {.terms = 0};
  exact_add(&sum, (double)NAN);
  exact_add(&sum, 1);
  CHECK(isnan(exact_value(&sum)) && sum.bad == 1, "%g", exact_value(&sum));
}
