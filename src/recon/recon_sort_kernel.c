/* Stripes by sorting: columns sorted by radix, and the median over columns at equal rank of LANES ranks at once, in
 * a sorted window from which one value leaves and into which one enters in a single pass. */
#include "recon_private.h"
#include "recon_vector.h"
#include <math.h>
#include <string.h>

int ISA_NAME(recon_sort_lanes)(void) { return LANES; }

/* ---- sorting --------------------------------------------------------------------------------------------------- */

enum { DIGIT_BITS = 9, BINS = 1 << DIGIT_BITS, SCALED_DIGITS = 2, KEY_DIGITS = 4 };
enum { INDEX_BITS = 32 - SCALED_DIGITS * DIGIT_BITS };

/* An integer in the order of the floats. */
INLINE uint32_t key_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

INLINE void counts_to_places(uint32_t *count) {
  uint32_t begin = 0;
  for (int k = 0; k < BINS; k++) {
    uint32_t here = count[k];
    count[k]      = begin;
    begin += here;
  }
}

/* By the floats' own bits: four stable passes; item holds twice n. */
static void sort_keys(const float *from, int64_t n, uint64_t *item, float *value, int32_t *order) {
  uint64_t *a = item, *b = item + n;
  for (int64_t i = 0; i < n; i++) a[i] = (uint64_t)key_of(from[i]) << 32 | (uint64_t)i;
  for (int d = 0; d < KEY_DIGITS; d++) {
    uint32_t count[BINS] = {0};
    int shift            = 32 + DIGIT_BITS * d;
    for (int64_t i = 0; i < n; i++) count[a[i] >> shift & (BINS - 1)]++;
    counts_to_places(count);
    for (int64_t i = 0; i < n; i++) b[count[a[i] >> shift & (BINS - 1)]++] = a[i];
    uint64_t *swap = a;
    a = b, b = swap;
  }
  for (int64_t i = 0; i < n; i++) {
    order[i] = (int32_t)(uint32_t)a[i];
    value[i] = from[order[i]];
  }
}

INLINE void find_range(const float *from, int64_t n, float *low, float *high) {
  vec least = vec_all(from[0]), most = least;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    least = vec_min(least, vec_get(from + i));
    most  = vec_max(most, vec_get(from + i));
  }
  *low = *high = from[0];
  for (int k = 0; k < LANES; k++) {
    *low  = least[k] < *low ? least[k] : *low;
    *high = most[k] > *high ? most[k] : *high;
  }
  for (; i < n; i++) {
    *low  = from[i] < *low ? from[i] : *low;
    *high = from[i] > *high ? from[i] : *high;
  }
}

/* Items: the place between least and most in their upper bits, the angle in the lower. false: there is no scale. */
INLINE bool scale_column(const float *from, int64_t n, uint32_t *item) {
  const int32_t most = (1 << SCALED_DIGITS * DIGIT_BITS) - 1;
  float low, high;
  find_range(from, n, &low, &high);
  bool good   = high - low > 1e-30f && high - low < 1e30f && n <= 1 << INDEX_BITS;
  float scale = good ? (float)most / (high - low) : 0;
  for (int32_t i = 0; i < (int32_t)n && good; i++) {
    int32_t key = (int32_t)((from[i] - low) * scale);
    item[i]     = (uint32_t)(key < most ? key : most) << INDEX_BITS | (uint32_t)i;
  }
  return good;
}

/* Two columns by the place of their values, two stable passes: nearly sorted. Each counter waits for what was last
 * added to it, so that two columns take little longer than one. */
INLINE void sort_scaled(uint32_t *a, uint32_t *b, int64_t n, uint32_t *a_other, uint32_t *b_other) {
  uint32_t count[2][SCALED_DIGITS][BINS];
  memset(count, 0, sizeof count);
  for (int64_t i = 0; i < n; i++) {
    count[0][0][a[i] >> INDEX_BITS & (BINS - 1)]++;
    count[1][0][b[i] >> INDEX_BITS & (BINS - 1)]++;
    count[0][1][a[i] >> (INDEX_BITS + DIGIT_BITS)]++;
    count[1][1][b[i] >> (INDEX_BITS + DIGIT_BITS)]++;
  }
  for (int k = 0; k < 2 * SCALED_DIGITS; k++) counts_to_places(count[k / 2][k % 2]);
  for (int64_t i = 0; i < n; i++) {
    a_other[count[0][0][a[i] >> INDEX_BITS & (BINS - 1)]++] = a[i];
    b_other[count[1][0][b[i] >> INDEX_BITS & (BINS - 1)]++] = b[i];
  }
  for (int64_t i = 0; i < n; i++) {
    a[count[0][1][a_other[i] >> (INDEX_BITS + DIGIT_BITS)]++] = a_other[i];
    b[count[1][1][b_other[i] >> (INDEX_BITS + DIGIT_BITS)]++] = b_other[i];
  }
}

/* Values and angles in the items' order; insertion mends what is not yet sorted, false when that is too much. */
INLINE bool take_order(const float *from, int64_t n, const uint32_t *item, float *value,
                       int32_t *order) {
  int64_t moves = 0;
  for (int64_t i = 0; i < n; i++) {
    int32_t angle = (int32_t)(item[i] & ((1u << INDEX_BITS) - 1));
    float here    = from[angle];
    int64_t k     = i;
    for (; k > 0 && value[k - 1] > here; k--, moves++)
      value[k] = value[k - 1], order[k] = order[k - 1];
    value[k] = here;
    order[k] = angle;
    if (moves > 8 * n) return false;
  }
  return true;
}

/* Columns `from` and `from + pitch`, or the first of them alone. */
INLINE void sort_columns(const float *from, int64_t pitch, int64_t n, bool two, uint64_t *buffer,
                         float *value, int32_t *order) {
  uint32_t *item = (uint32_t *)buffer;
  int last       = two ? 1 : 0;
  bool good[2]   = {scale_column(from, n, item), scale_column(from + last * pitch, n, item + n)};
  if (good[0] || good[1]) sort_scaled(item, item + n, n, item + 2 * n, item + 3 * n);
  for (int c = 0; c <= last; c++)
    good[c] = good[c] &&
              take_order(from + c * pitch, n, item + c * n, value + c * pitch, order + c * pitch);
  for (int c = 0; c <= last; c++)
    if (!good[c]) sort_keys(from + c * pitch, n, buffer, value + c * pitch, order + c * pitch);
}

/* LANES columns of `angles` rows, `step` floats apart, to rows of `pitch` floats, and back. */
enum { ROWS_AHEAD = 64 };
INLINE void columns_to_rows(const float *from, int64_t step, int64_t angles, int64_t n, float *to,
                            int64_t pitch) {
  int64_t whole = n == LANES ? angles / LANES * LANES : 0;
  for (int64_t a = 0; a < whole; a += LANES) {
    vec r[LANES];
    UNROLLED
    for (int i = 0; i < LANES; i++) {
      r[i] = vec_get_any(from + (a + i) * step);
      __builtin_prefetch(from + (a + i + ROWS_AHEAD) * step, 0, 2);
    }
    vec_transpose(r);
    UNROLLED
    for (int i = 0; i < LANES; i++) vec_put(to + i * pitch + a, r[i]);
  }
  for (int64_t a = whole; a < angles; a++)
    for (int64_t c = 0; c < n; c++) to[c * pitch + a] = from[a * step + c];
}

void ISA_NAME(recon_sort_columns)(const float *sinogram, int64_t angles, int64_t columns,
                                  int64_t first, uint64_t *buffer, float *tile, float *value,
                                  int32_t *order, int64_t pitch) {
  int64_t n = columns - first < LANES ? columns - first : LANES;
  columns_to_rows(sinogram + first, columns, angles, n, tile, pitch);
  for (int64_t c = 0; c < n; c += 2)
    sort_columns(tile + c * pitch, pitch, angles, c + 1 < n, buffer, value + c * pitch,
                 order + c * pitch);
}

INLINE void rows_to_columns(const float *from, int64_t pitch, int64_t angles, int64_t n, float *to,
                            int64_t step) {
  int64_t whole = n == LANES ? angles / LANES * LANES : 0;
  for (int64_t a = 0; a < whole; a += LANES) {
    vec r[LANES];
    UNROLLED
    for (int i = 0; i < LANES; i++) r[i] = vec_get(from + i * pitch + a);
    vec_transpose(r);
    UNROLLED
    for (int i = 0; i < LANES; i++) vec_put_any(to + (a + i) * step, r[i]);
  }
  for (int64_t a = whole; a < angles; a++)
    for (int64_t c = 0; c < n; c++) to[a * step + c] = from[c * pitch + a];
}

void ISA_NAME(recon_sort_back)(const float *value, const int32_t *order, int64_t pitch, int64_t n,
                               int64_t angles, int64_t columns, float *tile, float *sinogram) {
  for (int64_t c = 0; c < n; c++)
    for (int64_t i = 0; i < angles; i++)
      tile[c * pitch + order[c * pitch + i]] = value[c * pitch + i];
  rows_to_columns(tile, pitch, angles, n, sinogram, columns);
}

/* ---- the median ------------------------------------------------------------------------------------------------- */

void ISA_NAME(recon_window_fill)(const float *const *column, int64_t width, int64_t ranks,
                                 float *state, float *out) {
  for (int64_t rank = 0; rank < ranks; rank += LANES, state += width * LANES) {
    for (int64_t i = 0; i < width; i++) vec_put(state + i * LANES, vec_all((float)INFINITY));
    for (int64_t k = 0; k < width; k++) {
      vec x = vec_get(column[k] + rank);
      for (int64_t i = 0; i < width; i++) {
        vec w = vec_get(state + i * LANES);
        vec_put(state + i * LANES, vec_min(w, x));
        x = vec_max(w, x);
      }
    }
    vec_put(out + rank, vec_get(state + width / 2 * LANES));
  }
}

void ISA_NAME(recon_window_move)(const float *const *old, const float *const *new, int64_t steps,
                                 int64_t width, int64_t ranks, float *state, float *const *out) {
  for (int64_t rank = 0; rank < ranks; rank += LANES, state += width * LANES)
    for (int64_t s = 0; s < steps; s++) {
      vec leaves = vec_get(old[s] + rank), x = vec_get(new[s] + rank), w = vec_get(state);
      vec_mask passed = vec_at_least(w, leaves);
      for (int64_t i = 0; i < width - 1; i++) {
        vec next = vec_get(state + (i + 1) * LANES);
        vec kept = vec_pick(passed, w, next);
        vec_put(state + i * LANES, vec_min(kept, x));
        x      = vec_max(kept, x);
        w      = next;
        passed = (vec_mask)(passed | vec_at_least(w, leaves));
      }
      vec_put(state + (width - 1) * LANES, x);
      vec_put(out[s] + rank, vec_get(state + width / 2 * LANES));
    }
}
