/* Sums whose bits do not depend on order: a double is mantissa x 2^e; its 53 bits are cut into
 * 32-bit digits of a number of 68 x 32 bits and added to 64-bit bins with its sign. Integer addition
 * is associative, so any order and any rank count give the same bins (the idea of Demmel and Nguyen,
 * "Parallel reproducible summation", IEEE TC 2015, carried to full range). */
#include "base.h"
#include <math.h>
#include <string.h>

enum { DIGIT_BITS = 32, LOWEST_EXPONENT = -1074 };
static const int64_t most_terms = (int64_t)1 << 30;

/* Brings every bin below 2^31 in size, passing the rest to the next. */
static void carry(struct exact_sum *sum) {
  const int64_t base = (int64_t)1 << DIGIT_BITS;
  for (int i = 0; i + 1 < EXACT_BINS; i++) {
    int64_t up = (sum->bin[i] + base / 2) >> DIGIT_BITS;
    sum->bin[i] -= up * base;
    sum->bin[i + 1] += up;
  }
  sum->terms = 0;
}

void exact_add(struct exact_sum *sum, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  int exponent      = (int)(bits >> 52) & 2047;
  uint64_t mantissa = bits & (((uint64_t)1 << 52) - 1);
  if (exponent == 2047) {
    sum->bad++;
    return;
  }
  if (exponent) mantissa |= (uint64_t)1 << 52;
  int place = exponent ? exponent - 1 : 0, first = place / DIGIT_BITS, shift = place % DIGIT_BITS;
  uint64_t low = (mantissa & 0xffffffffu) << shift, high = (mantissa >> DIGIT_BITS) << shift;
  int64_t digit[3] = {(int64_t)(low & 0xffffffffu),
                      (int64_t)((low >> DIGIT_BITS) + (high & 0xffffffffu)),
                      (int64_t)(high >> DIGIT_BITS)};
  int64_t sign     = bits >> 63 ? -1 : 1;
  for (int i = 0; i < 3; i++) sum->bin[first + i] += sign * digit[i];
  if (++sum->terms >= most_terms) carry(sum);
}

void exact_add_many(struct exact_sum *sum, const float *value, int64_t n) {
  for (int64_t i = 0; i < n; i++) exact_add(sum, (double)value[i]);
}

void exact_merge(struct exact_sum *sum, const struct exact_sum *other) {
  struct exact_sum normal = *other;
  carry(&normal);
  carry(sum);
  for (int i = 0; i < EXACT_BINS; i++) sum->bin[i] += normal.bin[i];
  sum->bad += normal.bad;
  sum->terms = 1;
}

double exact_value(const struct exact_sum *sum) {
  if (sum->bad) return (double)NAN;
  struct exact_sum normal = *sum;
  carry(&normal);
  double value = 0;
  for (int i = 0; i < EXACT_BINS; i++)
    if (normal.bin[i]) value += ldexp((double)normal.bin[i], DIGIT_BITS * i + LOWEST_EXPONENT);
  return value;
}

enum status exact_allreduce(MPI_Comm comm, struct exact_sum *sum, int n) {
  for (int i = 0; i < n; i++) carry(&sum[i]);
  static const int words = (int)(sizeof(struct exact_sum) / sizeof(int64_t));
  MPI_Allreduce(MPI_IN_PLACE, sum, n * words, MPI_INT64_T, MPI_SUM, comm);
  for (int i = 0; i < n; i++) carry(&sum[i]);
  return STATUS_OK;
}
