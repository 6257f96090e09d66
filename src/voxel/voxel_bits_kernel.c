/* Rows of packed bits: 64 voxels a word, the first in the lowest bit. */
#include "voxel_bits.h"
#include "voxel_lanes.h"

/* Bits of 64 bytes that equal `value`. */
static inline uint64_t equal_bits(const uint8_t *from, uint8_t value) {
#if defined __AVX512BW__
  return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(from), _mm512_set1_epi8((char)value));
#elif defined __AVX2__
  const __m256i wanted = _mm256_set1_epi8((char)value), *at = (const __m256i *)from;
  uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(at), wanted));
  uint32_t high =
      (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_loadu_si256(at + 1), wanted));
  return low | (uint64_t)high << 32;
#else
  uint64_t bits = 0;
  for (int i = 0; i < 8;
       i++) { /* bytes that are 0 get their top bit; a product gathers eight of them */
    const uint64_t low7 = 0x7f7f7f7f7f7f7f7fu;
    uint64_t x;
    memcpy(&x, from + 8 * i, 8);
    x ^= value * UINT64_C(0x0101010101010101);
    uint64_t top = ~(((x & low7) + low7) | x | low7);
    bits |= ((top >> 7) * UINT64_C(0x0102040810204080)) >> 56 << (8 * i);
  }
  return bits;
#endif
}

void ISA_NAME(bits_pack)(const uint8_t *from, int64_t n, uint8_t value, bool other, uint64_t *bit) {
  int64_t x = 0;
  for (; x + 64 <= n; x += 64)
    bit[x / 64] = equal_bits(from + x, value) ^ (other ? ~UINT64_C(0) : 0);
  if (x == n) return;
  uint64_t some = 0;
  for (int64_t i = x; i < n; i++) some |= (uint64_t)((from[i] == value) != other) << (i - x);
  bit[x / 64] = some;
}

void ISA_NAME(bits_unpack)(const uint64_t *bit, int64_t n, uint8_t value, uint8_t instead,
                           uint8_t *to) {
  for (int64_t x = 0; x < n; x += 64) {
    uint64_t word = bit[x / 64];
    int64_t most  = n - x < 64 ? n - x : 64;
    for (int64_t i = 0; i < most; i++) {
      uint8_t was = to[x + i] == value ? instead : to[x + i];
      to[x + i]   = word >> i & 1 ? value : was;
    }
  }
}

/* Reads the words on both sides of the row too. */
static inline __attribute__((always_inline)) void
widen(const uint64_t *in, uint64_t *out, int64_t stride, int radius, bool least, int64_t words) {
  for (int64_t i = 0; i < words; i++) {
    uint64_t here = in[i], before = in[i - 1], after = in[i + 1], v = here;
    for (int h = 1; h <= radius; h++) {
      uint64_t left = here << h | before >> (64 - h), right = here >> h | after << (64 - h);
      v                         = least ? v & left & right : v | left | right;
      out[(h - 1) * stride + i] = v;
    }
  }
}

void ISA_NAME(bits_widen)(const uint64_t *restrict in, uint64_t *restrict out, int64_t stride,
                          int radius, bool least, int64_t words) {
  if (radius == 3 && least)
    widen(in, out, stride, 3, true, words);
  else if (radius == 3)
    widen(in, out, stride, 3, false, words);
  else
    widen(in, out, stride, radius, least, words);
}

/* Eight words at a time, or one of what is left of a row. */
enum { VECTORS = 8 / LANES_WORDS };

static inline __attribute__((always_inline)) void combine_eight(const uint64_t *const *row,
                                                                const int *end, int discs,
                                                                uint64_t *const *out, bool least,
                                                                int64_t i) {
  lanes_words v[VECTORS];
  for (int a = 0; a < VECTORS; a++) v[a] = load_words(row[0] + i + a * LANES_WORDS);
  for (int d = 0, k = 1; d < discs; d++) {
    for (; k < end[d]; k++)
      for (int a = 0; a < VECTORS; a++) {
        lanes_words w = load_words(row[k] + i + a * LANES_WORDS);
        v[a]          = least ? v[a] & w : v[a] | w;
      }
    for (int a = 0; a < VECTORS; a++) store_words(out[d] + i + a * LANES_WORDS, v[a]);
  }
}

static inline __attribute__((always_inline)) void combine(const uint64_t *const *row,
                                                          const int *end, int discs,
                                                          uint64_t *const *out, bool least,
                                                          int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) combine_eight(row, end, discs, out, least, i);
  for (; i < n; i++) {
    uint64_t v = row[0][i];
    for (int d = 0, k = 1; d < discs; d++) {
      for (; k < end[d]; k++) v = least ? v & row[k][i] : v | row[k][i];
      out[d][i] = v;
    }
  }
}

void ISA_NAME(bits_combine)(const uint64_t *const *row, const int *end, int discs,
                            uint64_t *const *out, bool least, int64_t n) {
  if (least)
    combine(row, end, discs, out, true, n);
  else
    combine(row, end, discs, out, false, n);
}
