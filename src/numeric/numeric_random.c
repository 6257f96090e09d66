#include "numeric_random.h"
#include <math.h>

static void multiply(uint32_t a, uint32_t b, uint32_t *high, uint32_t *low) {
  uint64_t product = (uint64_t)a * b;
  *high = (uint32_t)(product >> 32);
  *low = (uint32_t)product;
}

struct random_block random_at(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
  struct random_block c = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
  for (int round = 0; round < 10; round++) {
    uint32_t high0, low0, high1, low1;
    multiply(0xD2511F53u, c.word[0], &high0, &low0);
    multiply(0xCD9E8D57u, c.word[2], &high1, &low1);
    c = (struct random_block){{high1 ^ c.word[1] ^ key0, low1, high0 ^ c.word[3] ^ key1, low0}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

static double unit(uint32_t high, uint32_t low) {
  return ((double)(((uint64_t)high << 32 | low) >> 11) + 0.5) / 9007199254740992.0;
}

double random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  struct random_block b = random_at(seed, stream, index);
  return unit(b.word[0], b.word[1]);
}

double random_normal(uint64_t seed, uint64_t stream, uint64_t index) { /* Box and Muller */
  struct random_block b = random_at(seed, stream, index);
  return sqrt(-2 * log(unit(b.word[0], b.word[1]))) * cos(2 * PI * unit(b.word[2], b.word[3]));
}

int64_t random_poisson(uint64_t seed, uint64_t stream, uint64_t index, double mean) {
  if (mean <= 0) return 0;
  if (mean < 30) {
    double left = random_uniform(seed, stream, index), share = exp(-mean);
    int64_t n = 0;
    while (left > share && n < 1000) left -= share, share *= mean / (double)++n;
    return n;
  }
  double z = random_normal(seed, stream, index); /* Cornish and Fisher's expansion */
  double value = mean + sqrt(mean) * z + (z * z - 1) / 6 + (z - z * z * z) / (72 * sqrt(mean));
  return value > 0 ? (int64_t)floor(value + 0.5) : 0;
}
