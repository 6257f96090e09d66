/* Frames to events. First a bit per word, "is a hit", without branches (a whole frame is 100 words of bits); then only
 * the bits that are set are visited. Hits stand in a grid of labels with an empty rim, so a hit without neighbours is
 * recognised by eight loads; the few others are joined by union-find with the earliest hit as root. All in integers:
 * every instruction set counts alike. */
#include "compton_events.h"
#include <math.h>
#include <string.h>
#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>
#endif

static inline uint64_t bits_of_64(const uint16_t *frame, const uint16_t *limit) {
#if defined(__AVX512BW__)
  uint64_t low = _mm512_cmpgt_epu16_mask(_mm512_loadu_si512(frame), _mm512_loadu_si512(limit));
  uint64_t high =
      _mm512_cmpgt_epu16_mask(_mm512_loadu_si512(frame + 32), _mm512_loadu_si512(limit + 32));
  return low | high << 32;
#elif defined(__AVX2__)
  uint64_t bits = 0;
  for (int k = 0; k < 2; k++) {
    const __m256i *f = (const __m256i *)(frame + 32 * k), *l = (const __m256i *)(limit + 32 * k);
    __m256i zero = _mm256_setzero_si256();
    __m256i a    = _mm256_subs_epu16(_mm256_loadu_si256(f), _mm256_loadu_si256(l));
    __m256i b    = _mm256_subs_epu16(_mm256_loadu_si256(f + 1), _mm256_loadu_si256(l + 1));
    __m256i none = _mm256_packs_epi16(_mm256_cmpeq_epi16(a, zero), _mm256_cmpeq_epi16(b, zero));
    none         = _mm256_permute4x64_epi64(none, 0xd8);
    bits |= (uint64_t)(uint32_t)~_mm256_movemask_epi8(none) << (32 * k);
  }
  return bits;
#else
  uint64_t bits = 0;
  for (int i = 0; i < 64; i++) bits |= (uint64_t)(frame[i] > limit[i]) << i;
  return bits;
#endif
}

void ISA_NAME(events_find)(const uint16_t *frame, const uint16_t *limit, int64_t words,
                           uint64_t *bits) {
  int64_t i = 0;
  for (; i + 64 <= words; i += 64) bits[i / 64] = bits_of_64(frame + i, limit + i);
  if (i == words) return;
  uint64_t rest = 0;
  for (int64_t k = i; k < words; k++) rest |= (uint64_t)(frame[k] > limit[k]) << (k - i);
  bits[i / 64] = rest;
}

void ISA_NAME(events_find_kev)(const float *frame, const float *limit, int64_t words,
                               uint64_t *bits) {
  for (int64_t i = 0; i < words; i += 64) {
    int n         = (int)(words - i < 64 ? words - i : 64);
    uint64_t here = 0;
    for (int k = 0; k < n; k++) here |= (uint64_t)(frame[i + k] >= limit[i + k]) << k;
    bits[i / 64] = here;
  }
}

/* Beyond 2^60 (2^24 bins) no value matters. */
static inline int64_t energy_of(float kev, double scale) {
  return llrint(fmin((double)kev * scale, 0x1p60));
}

/* Hits of a frame in the order of their words, their labels set. */
static int32_t hits_take(struct events_work *work, const void *frame) {
  const uint16_t *adu = frame;
  const float *kev    = frame;
  int32_t n           = 0;
  for (int64_t i = 0; i < (work->words + 63) / 64; i++)
    for (uint64_t bits = work->bits[i]; bits; bits &= bits - 1) {
      int64_t w                    = 64 * i + __builtin_ctzll(bits);
      const struct events_word *at = &work->word[w];
      struct events_hit *hit       = &work->hit[n++];
      hit->energy =
          work->limit_kev ? energy_of(kev[w], work->kev_scale) : at->slope * adu[w] + at->base;
      hit->pixel             = at->pixel;
      hit->cell              = at->cell;
      hit->word              = (int32_t)w;
      work->label[hit->cell] = n;
    }
  return n;
}

static inline void event_count(struct events_work *work, int32_t pixel, int64_t energy) {
  int64_t bin = (energy - work->first) >> EVENTS_FRACTION_BITS;
  if (bin >= 0 && bin < work->bins)
    work->histogram[pixel * work->bins + bin]++;
  else
    work->tally.outside++;
}

static inline bool was_hit(const struct events_work *work, int32_t word) {
  return work->veto && (work->before[word / 64] >> (word % 64) & 1);
}

static int32_t root(struct events_hit *hit, int32_t i) {
  while (hit[i].parent != i) i = hit[i].parent = hit[hit[i].parent].parent;
  return i;
}

static void join_neighbours(struct events_work *work, int32_t k) {
  const int64_t row    = work->row;
  const int64_t side[] = {-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1};
  for (int i = 0; i < 8; i++) {
    int32_t other = work->label[work->hit[k].cell + side[i]] - 1;
    if (other < 0) continue;
    int32_t a = root(work->hit, k), b = root(work->hit, other);
    if (a < b)
      work->hit[b].parent = a;
    else
      work->hit[a].parent = b;
  }
}

/* Step of R = (larger - smaller) / (larger + smaller) out of n. */
static inline int64_t share_step(int64_t larger, int64_t smaller, int64_t n) {
  __int128 step = (__int128)n * (larger - smaller) / (larger + smaller);
  return step < n ? (int64_t)step : n - 1;
}

static void pair_note(struct events_work *work, int64_t larger, int64_t smaller) {
  int64_t bin = (larger + smaller - work->pair_first) / work->pair_width;
  if (larger + smaller >= work->pair_first && bin < work->pair_bins)
    work->pairs[share_step(larger, smaller, PAIR_SHARES) * work->pair_bins + bin]++;
}

static void pair_count(struct events_work *work, const struct events_hit *a) {
  const struct events_hit *b = &work->hit[a->other], *larger = a;
  if (b->energy > a->energy || (b->energy == a->energy && b->pixel < a->pixel)) larger = b;
  int64_t most = larger->energy, least = a->energy + b->energy - most, sum = most + least;
  work->tally.pairs++;
  if (work->pairs && least > 0) pair_note(work, most, least);
  if (work->pair_factor && least > 0)
    sum = (int64_t)((__int128)sum * work->pair_factor[share_step(most, least, PAIR_STEPS)] >>
                    PAIR_FACTOR_BITS);
  event_count(work, larger->pixel, sum);
}

/* Clusters of the `n` hits that have neighbours. */
static void crowd_count(struct events_work *work, int32_t n) {
  struct events_hit *hit = work->hit;
  for (int32_t i = 0; i < n; i++) {
    struct events_hit *h = &hit[work->crowd[i]];
    h->parent = work->crowd[i], h->members = 0, h->other = 0, h->veto = false;
  }
  for (int32_t i = 0; i < n; i++) join_neighbours(work, work->crowd[i]);
  for (int32_t i = 0; i < n; i++) {
    int32_t k            = work->crowd[i];
    struct events_hit *r = &hit[root(hit, k)];
    r->members++;
    if (r != &hit[k]) r->other = k;
    r->veto |= was_hit(work, hit[k].word);
  }
  for (int32_t i = 0; i < n; i++) {
    const struct events_hit *h = &hit[work->crowd[i]];
    if (h->members == 0) continue;
    bool good = !h->veto && h->members <= work->max_cluster;
    work->tally.vetoed += h->veto;
    work->tally.dropped += !good;
    if (good) pair_count(work, h);
  }
}

static inline bool is_alone(const int32_t *label, int64_t row) {
  return !(label[-row - 1] | label[-row] | label[-row + 1] | label[-1] | label[1] | label[row - 1] |
           label[row] | label[row + 1]);
}

void ISA_NAME(events_count)(struct events_work *work, const void *frame) {
  int32_t n = hits_take(work, frame), crowd = 0;
  work->tally.hits += n;
  for (int32_t k = 0; k < n; k++) {
    const struct events_hit *hit = &work->hit[k];
    if (!is_alone(work->label + hit->cell, work->row)) {
      work->crowd[crowd++] = k;
    } else if (was_hit(work, hit->word)) {
      work->tally.vetoed++;
      work->tally.dropped++;
    } else {
      work->tally.singles++;
      event_count(work, hit->pixel, hit->energy);
    }
  }
  if (crowd) crowd_count(work, crowd);
  for (int32_t k = 0; k < n; k++) work->label[work->hit[k].cell] = 0;
}

void ISA_NAME(events_dark_add)(const uint16_t *frame, int64_t words, uint64_t *sum,
                               uint64_t *square) {
  for (int64_t i = 0; i < words; i++) {
    sum[i] += frame[i];
    square[i] += (uint64_t)((uint32_t)frame[i] * frame[i]);
  }
}
