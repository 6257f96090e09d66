/* A fast 64-bit hash of bytes: four lanes of multiply-rotate rounds and a final mix, after the
 * construction of xxHash64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). */
#include "store.h"
#include <string.h>

static const uint64_t prime[5] = {0x9E3779B185EBCA87u, 0xC2B2AE3D27D4EB4Fu, 0x165667B19E3779F9u,
                                  0x85EBCA77C2B2AE63u, 0x27D4EB2F165667C5u};

static uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static uint64_t lane_round(uint64_t lane, uint64_t word) {
  return rotate(lane + word * prime[1], 31) * prime[0];
}

uint64_t store_hash(const void *bytes, int64_t n, uint64_t seed) {
  const unsigned char *at = bytes, *end = at + n;
  uint64_t lane[4] = {seed + prime[0] + prime[1], seed + prime[1], seed, seed - prime[0]}, word;
  uint64_t hash    = seed + prime[4];
  if (n >= 32) {
    for (; end - at >= 32; at += 32)
      for (int k = 0; k < 4; k++) {
        memcpy(&word, at + 8 * k, 8);
        lane[k] = lane_round(lane[k], word);
      }
    hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
    for (int k = 0; k < 4; k++) hash = (hash ^ lane_round(0, lane[k])) * prime[0] + prime[3];
  }
  hash += (uint64_t)n;
  for (; end - at >= 8; at += 8) {
    memcpy(&word, at, 8);
    hash = rotate(hash ^ lane_round(0, word), 27) * prime[0] + prime[3];
  }
  for (; at < end; at++) hash = rotate(hash ^ *at * prime[4], 11) * prime[0];
  hash = (hash ^ hash >> 33) * prime[1];
  hash = (hash ^ hash >> 29) * prime[2];
  return hash ^ hash >> 32;
}
