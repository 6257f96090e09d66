#pragma once
#include "base.h"

/* Random numbers by counter: Philox 4x32-10 (Salmon et al., SC 2011). The numbers of (seed, stream, index) do not
 * depend on what was drawn before or where, so any number of ranks makes the same. */
struct random_block {
  uint32_t word[4];
};
struct random_block random_at(uint64_t seed, uint64_t stream, uint64_t index);
/* Uniform in (0, 1); normal of mean 0 and variance 1; Poisson of a mean >= 0 (exact by inversion below 30, else the
 * rounded transformed normal of third order, whose cumulants up to the third are right). */
double random_uniform(uint64_t seed, uint64_t stream, uint64_t index);
double random_normal(uint64_t seed, uint64_t stream, uint64_t index);
int64_t random_poisson(uint64_t seed, uint64_t stream, uint64_t index, double mean);
