/* Slices side by side: rows of slices to lines, lines to the grid, columns of the grid to slices. A line is one
 * cache line or a part of it; where a sample goes and with which weights is found once for all slices. Two
 * neighbouring samples of a ray are at most one grid point apart, so one pass over at most 7 x 7 points adds both. */
#include "recon_batch.h"
#include "recon_vector.h"
#include <string.h>

int ISA_NAME(recon_batch_lanes)(void) { return LANES; }

/* ---- rows of slices to lines --------------------------------------------------------------------------------- */

void ISA_NAME(recon_batch_load)(const float *const *row, int64_t columns, float *line) {
  int64_t whole = columns / LANES * LANES;
  for (int64_t j = 0; j < whole; j += LANES) {
    vec r[LANES];
    UNROLLED
    for (int i = 0; i < LANES; i++) r[i] = vec_get_any(row[i] + j);
    vec_transpose(r);
    UNROLLED
    for (int i = 0; i < LANES; i++) vec_put(line + (j + i) * LANES, r[i]);
  }
  for (int64_t j = whole; j < columns; j++)
    for (int i = 0; i < LANES; i++) line[j * LANES + i] = row[i][j];
}

void ISA_NAME(recon_batch_factor)(const float *filter, const float *a, const float *b, int64_t n1,
                                  int64_t n2, float *factor) {
  for (int64_t k = 0; k < n1; k++, filter += n2, factor += 2 * n2)
    for (int64_t i = 0; i < n2; i++) {
      float re = a[2 * k] * filter[i], im = a[2 * k + 1] * filter[i];
      factor[2 * i]     = re * b[2 * i] - im * b[2 * i + 1];
      factor[2 * i + 1] = re * b[2 * i + 1] + im * b[2 * i];
    }
}

void ISA_NAME(recon_batch_turn)(const float *from, int64_t n, const float *weight, float re,
                                float im, float *to) {
  for (int64_t i = 0; i < n; i++) {
    float w = weight ? weight[i] : 1;
    vec_put(to + i * LANES, vec_times(vec_get(from + i * LANES), w * re, w * im));
  }
}

enum { AT_ONCE = 4 };
void ISA_NAME(recon_batch_between)(const float *whole, int64_t n, const float *tap, int64_t taps,
                                   float *half) {
  for (int64_t i = 0; i < n; i += AT_ONCE) {
    vec even[AT_ONCE] = {{0}}, odd[AT_ONCE] = {{0}};
    const float *a = whole + (i + taps - 1) * LANES, *b = whole + (i + taps) * LANES;
    for (int64_t d = 0; d < taps; d++, a -= LANES, b += LANES) {
      vec c = vec_all(tap[2 * d]), s = vec_all(tap[2 * d + 1]);
      UNROLLED
      for (int k = 0; k < AT_ONCE; k++) {
        vec before = vec_get(a + k * LANES), after = vec_get(b + k * LANES);
        even[k] += c * (before + after);
        odd[k] += s * (before - after);
      }
    }
    for (int k = 0; k < AT_ONCE; k++) vec_put(half + (i + k) * LANES, vec_plus_i(even[k], odd[k]));
  }
}

/* ---- lines to the grid ------------------------------------------------------------------------------------------- */

enum { BLOCK = 64, PAIRS = BLOCK / 2, KINDS = 5, PASSED = 3, PLACE_BITS = 23 };

/* Samples of one ray along one axis: first grid point of each, weights of the points from there on. */
struct axis {
  float tap[SPREAD_TAPS][BLOCK] __attribute__((aligned(64)));
  float fraction[BLOCK] __attribute__((aligned(64)));
  int32_t corner[BLOCK];
};
struct block {
  struct axis u, v;
  int pairs[KINDS];
  int32_t
      first[KINDS]
           [PAIRS]; /* of a pair's samples the one that comes first; the other is its neighbour */
};

/* The first grid point of each sample, at or above place - taps/2, and by how much in -1..1. In whole numbers, so that
 * neighbours whose places differ by at most 1 have corners that do. */
INLINE void find_corners(double first, double step, struct axis *axis) {
  const double one = 1 << PLACE_BITS;
  int32_t base     = (int32_t)first - BLOCK - SPREAD_TAPS;
  int32_t rest     = (int32_t)((first - base - 0.5 * SPREAD_TAPS + 1) * one),
          by       = (int32_t)(step * one);
  for (int t = 0; t < BLOCK; t++) {
    int32_t at        = rest + t * by;
    axis->fraction[t] = 1 - (float)(at & ((1 << PLACE_BITS) - 1)) * (float)(2 / one);
    axis->corner[t]   = base + (at >> PLACE_BITS);
  }
}

/* Tap j at fraction z is the last tap but j at -z: even and odd powers of z serve both. */
INLINE void find_taps(struct axis *axis, const float *coefficient) {
  for (int t = 0; t < BLOCK; t += LANES) UNROLLED
  for (int j = 0; j < SPREAD_TAPS / 2; j++) {
    const float *c = coefficient + j * (SPREAD_DEGREE + 1);
    vec z = vec_get(axis->fraction + t), square = z * z;
    vec even = vec_all(c[SPREAD_DEGREE - 1]), odd = vec_all(c[SPREAD_DEGREE]);
    UNROLLED
    for (int d = SPREAD_DEGREE - 3; d >= 0; d -= 2) {
      even = even * square + vec_all(c[d]);
      odd  = odd * square + vec_all(c[d + 1]);
    }
    odd *= z;
    vec_put(&axis->tap[j][t], even + odd);
    vec_put(&axis->tap[SPREAD_TAPS - 1 - j][t], even - odd);
  }
}

/* Pairs by how the corner of the second lies to that of the first: (0, 0), (0, 1), (1, -1), (1, 0), (1, 1). */
INLINE void sort_pairs(struct block *b, int samples) {
  memset(b->pairs, 0, sizeof b->pairs);
  for (int t = 0; t < samples; t += 2) {
    int32_t du = b->u.corner[t + 1] - b->u.corner[t], dv = b->v.corner[t + 1] - b->v.corner[t];
    bool turned                      = du < 0 || (du == 0 && dv < 0);
    int kind                         = du ? 3 + du * dv : dv != 0;
    b->first[kind][b->pairs[kind]++] = t + turned;
  }
}

INLINE void find_block(const struct recon_ray *ray, int64_t first, int64_t n,
                       const float *coefficient, struct block *b) {
  find_corners(ray->u + (double)first * ray->du, ray->du, &b->u);
  find_corners(ray->v + (double)first * ray->dv, ray->dv, &b->v);
  find_taps(&b->u, coefficient);
  find_taps(&b->v, coefficient);
  sort_pairs(b, (int)(n - first < BLOCK ? n - first : BLOCK));
}

INLINE bool within(int i, int from) { return i >= from && i < from + SPREAD_TAPS; }

/* Sample t of a ray and its neighbour s, whose corner lies `down` rows and `right` columns from that of t; every grid
 * line that one of them reaches is read and written once. */
INLINE void add_pair(float *grid, int64_t row, const float *line, const struct block *b, int t,
                     int s, int down, int right) {
  const int left = right<0, last = right> 0; /* first columns of t and s */
  vec x = vec_get(line + t * LANES), y = vec_get(line + s * LANES);
  vec xs[SPREAD_TAPS], ys[SPREAD_TAPS];
  UNROLLED
  for (int q = 0; q < SPREAD_TAPS; q++) xs[q] = x * b->v.tap[q][t], ys[q] = y * b->v.tap[q][s];
  float *to = grid + b->u.corner[t] * row + (b->v.corner[t] - left) * LANES;
  UNROLLED
  for (int i = 0; i < SPREAD_TAPS + down; i++, to += row) {
    vec e = vec_all(i < SPREAD_TAPS ? b->u.tap[i][t] : 0),
        f = vec_all(i >= down ? b->u.tap[i - down][s] : 0);
    UNROLLED
    for (int q = 0; q < SPREAD_TAPS + left + last; q++) {
      bool of_t = i < SPREAD_TAPS && within(q, left), of_s = i >= down && within(q, last);
      vec sum = vec_get(to + q * LANES);
      if (of_t && of_s)
        sum += e * xs[q - left] + f * ys[q - last];
      else if (of_t)
        sum += e * xs[q - left];
      else if (of_s)
        sum += f * ys[q - last];
      if (of_t || of_s) vec_put(to + q * LANES, sum);
    }
  }
}

/* What the next ray reaches and this one did not: the lines that the leading corner of its taps passed over. */
struct ahead {
  const float *grid;
  const struct block *next;
  int64_t row, lead[PASSED]; /* floats from a sample's corner */
};

INLINE struct ahead look_ahead(const float *grid, int64_t row, const struct block *now,
                               const struct block *next) {
  enum { MIDDLE = BLOCK / 2 };
  struct ahead a = {.grid = grid, .next = next, .row = row};
  int64_t du     = next->u.corner[MIDDLE] - now->u.corner[MIDDLE],
          dv     = next->v.corner[MIDDLE] - now->v.corner[MIDDLE];
  for (int j = 0; j < PASSED; j++)
    a.lead[j] = ((du > 0 ? SPREAD_TAPS - 1 : 0) - du * j / PASSED) * row +
                ((dv > 0 ? SPREAD_TAPS - 1 : 0) - dv * j / PASSED) * LANES;
  return a;
}

INLINE void fetch(const struct ahead *a, int t) {
  const float *to = a->grid + a->next->u.corner[t] * a->row + a->next->v.corner[t] * LANES;
  UNROLLED
  for (int j = 0; j < PASSED; j++) __builtin_prefetch(to + a->lead[j], 1);
}

#define ADD_PAIRS(kind, down, right)                                                               \
  for (int i = 0; i < b->pairs[kind]; i++, t += 2) {                                               \
    int s = b->first[kind][i];                                                                     \
    fetch(&ahead, t);                                                                              \
    fetch(&ahead, t + 1);                                                                          \
    add_pair(grid, row, line, b, s, s ^ 1, down, right);                                           \
  }
INLINE void add_block(float *grid, int64_t row, const float *line, const struct block *b,
                      const struct block *next) {
  struct ahead ahead = look_ahead(grid, row, b, next);
  int t              = 0;
  ADD_PAIRS(0, 0, 0)
  ADD_PAIRS(1, 0, 1)
  ADD_PAIRS(2, 1, -1)
  ADD_PAIRS(3, 1, 0)
  ADD_PAIRS(4, 1, 1)
}

void ISA_NAME(recon_batch_spread)(float *grid, int64_t row_lines, const struct recon_ray *ray,
                                  int64_t rays, int64_t n, const float *coefficient) {
  struct block b[2], *now = &b[0], *next = &b[1];
  find_block(ray, 0, n, coefficient, now);
  *next = *now;
  for (int64_t first = 0; first < n; first += BLOCK)
    for (int64_t r = 0; r < rays; r++) {
      const struct recon_ray *follower = &ray[(r + 1) % rays];
      int64_t begin                    = r + 1 < rays ? first : first + BLOCK;
      int64_t end                      = n - begin < BLOCK ? n : begin + BLOCK;
      if (begin < n) find_block(follower, begin, n, coefficient, next);
      for (int64_t i = begin; i < end; i++) __builtin_prefetch(follower->line + i * LANES);
      add_block(grid, row_lines * LANES, ray[r].line + first * LANES, now, next);
      struct block *swap = now;
      now = next, next = swap;
    }
}

void ISA_NAME(recon_batch_fold)(float *grid, int64_t row_lines, int64_t side, int64_t margin) {
  int64_t row = row_lines * LANES, far = side * LANES, edge = margin * LANES;
  for (int64_t i = 0; i < side + 2 * margin; i++) {
    float *line = grid + i * row;
    for (int64_t k = 0; k < edge; k++) {
      line[far + k] += line[k];
      line[edge + k] += line[far + edge + k];
    }
  }
  for (int64_t i = 0; i < margin; i++) {
    float *low = grid + i * row, *high = grid + (i + side) * row;
    float *bottom = grid + (i + margin) * row, *top = grid + (i + side + margin) * row;
    for (int64_t k = 0; k < row; k++) high[k] += low[k], bottom[k] += top[k];
  }
}

/* ---- the grid to slices --------------------------------------------------------------------------------------------- */

enum { ROWS_AHEAD = 24 };
void ISA_NAME(recon_batch_columns)(const float *grid, int64_t row_lines, int64_t side,
                                   int64_t columns, int64_t tile_step, float *tile) {
  for (int64_t i = 0; i < side; i++, grid += row_lines * LANES)
    for (int64_t c = 0; c < columns; c++) {
      vec_put(tile + c * tile_step + i * LANES, vec_get(grid + c * LANES));
      __builtin_prefetch(grid + (ROWS_AHEAD * row_lines + c) * LANES, 0, 2);
    }
}

INLINE void put_row(float *to, bool aligned, vec x) {
  if (aligned)
    vec_stream(to, x);
  else
    vec_put_any(to, x);
}

/* A whole tile, LANES columns. */
INLINE void store_tile(const float *tile, int64_t tile_step, int64_t rows, vec across,
                       const float *along, float *const *row, int64_t step, bool aligned) {
  for (int64_t y = 0; y < rows; y++) {
    vec r[LANES], s = across * along[y];
    UNROLLED
    for (int c = 0; c < LANES; c++) r[c] = vec_get(tile + c * tile_step + y * LANES);
    vec_transpose(r);
    UNROLLED
    for (int i = 0; i < LANES; i++)
      if (row[i]) put_row(row[i] + y * step, aligned, r[i] * s);
  }
}

void ISA_NAME(recon_batch_store)(const float *tile, int64_t tile_step, int64_t columns,
                                 int64_t rows, const float *across, const float *along,
                                 float *const *row, int64_t step) {
  bool aligned = step % LANES == 0;
  for (int i = 0; i < LANES; i++) aligned = aligned && (uintptr_t)row[i] % sizeof(vec) == 0;
  if (columns == LANES && aligned)
    store_tile(tile, tile_step, rows, vec_get_any(across), along, row, step, true);
  else if (columns == LANES)
    store_tile(tile, tile_step, rows, vec_get_any(across), along, row, step, false);
  for (int i = 0; i < LANES && columns < LANES; i++)
    for (int64_t y = 0; row[i] && y < rows; y++)
      for (int64_t c = 0; c < columns; c++)
        row[i][y * step + c] = tile[c * tile_step + y * LANES + i] * (across[c] * along[y]);
}
