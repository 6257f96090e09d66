/* Slices side by side: rows of slices to lines, lines to the grid, columns of the grid to slices. A line is one
 * cache line or a part of it; where a sample goes and with which weights is found once for all slices. Two
 * neighbouring samples of a ray are at most one grid point apart, so both go to the same 7 x 7 points in one pass. */
#include "recon_batch.h"
#include "recon_vector.h"

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

/* ---- lines to the grid ------------------------------------------------------------------------------------------- */

enum { BLOCK = 64, WEIGHTS = 16, SPREAD = SPREAD_TAPS + 1, PARTS = WEIGHTS / LANES };

/* A block of samples of one ray: corners of pairs, weights along u (0..7) and v (8..15). */
struct block {
  float weight[BLOCK][WEIGHTS] __attribute__((aligned(64)));
  float fraction_u[BLOCK], fraction_v[BLOCK];
  int32_t u[BLOCK], v[BLOCK];
};

/* The first tap of each sample, at or above place - taps/2, and by how much in -1..1. */
INLINE void find_corners(double first, double step, int n, int32_t *corner, float *fraction) {
  int32_t base = (int32_t)first - 64;
  float rest = (float)(first - base - 0.5 * SPREAD_TAPS + 1), by = (float)step;
  for (int t = 0; t < n; t++) {
    float at    = rest + (float)t * by;
    int32_t up  = (int32_t)at;
    fraction[t] = 2 * ((float)up - at) + 1;
    corner[t]   = base + up;
  }
}

INLINE void weigh(struct block *b, int t, int shift, const float *coefficient) {
  const float *c = coefficient + shift * (SPREAD_DEGREE + 1) * WEIGHTS;
  UNROLLED
  for (int p = 0; p < PARTS; p++) {
    const float *from = c + p * LANES;
    vec z;
    UNROLLED
    for (int i = 0; i < LANES; i++) z[i] = p * LANES + i < 8 ? b->fraction_u[t] : b->fraction_v[t];
    vec h = vec_get(from + SPREAD_DEGREE * WEIGHTS);
    UNROLLED
    for (int d = SPREAD_DEGREE - 1; d >= 0; d--) h = h * z + vec_get(from + d * WEIGHTS);
    vec_put(b->weight[t] + p * LANES, h);
  }
}

/* Samples first .. first + n - 1 of a ray; an odd last one is paired with itself at weight 0. */
INLINE void find_weights(struct block *b, const struct recon_ray *ray, int64_t first, int n,
                         const float *coefficient) {
  find_corners(ray->u + (double)first * ray->du, ray->du, n, b->u, b->fraction_u);
  find_corners(ray->v + (double)first * ray->dv, ray->dv, n, b->v, b->fraction_v);
  for (int t = 0; t + 1 < n; t += 2) {
    int32_t du = b->u[t + 1] - b->u[t], dv = b->v[t + 1] - b->v[t];
    weigh(b, t, (du < 0) + 2 * (dv < 0), coefficient);
    weigh(b, t + 1, (du > 0) + 2 * (dv > 0), coefficient);
    b->u[t] += du < 0 ? du : 0;
    b->v[t] += dv < 0 ? dv : 0;
  }
  if (n % 2) {
    weigh(b, n - 1, 0, coefficient);
    for (int i = 0; i < WEIGHTS; i++) b->weight[n][i] = 0;
  }
}

INLINE void add_pair(float *to, int64_t row, vec x, vec y, const float *first,
                     const float *second) {
  vec a[SPREAD], b[SPREAD];
  UNROLLED
  for (int q = 0; q < SPREAD; q++) a[q] = x * first[8 + q], b[q] = y * second[8 + q];
  UNROLLED
  for (int i = 0; i < SPREAD; i++, to += row) {
    vec e = vec_all(first[i]), f = vec_all(second[i]);
    UNROLLED
    for (int q = 0; q < SPREAD; q++)
      vec_put(to + q * LANES, vec_get(to + q * LANES) + e * a[q] + f * b[q]);
  }
}

void ISA_NAME(recon_batch_spread)(float *grid, int64_t row_lines, const struct recon_ray *ray,
                                  int64_t rays, int64_t n, const float *coefficient) {
  struct block b;
  for (int64_t first = 0; first < n; first += BLOCK)
    for (int64_t r = 0; r < rays; r++) {
      int here          = (int)(n - first < BLOCK ? n - first : BLOCK);
      const float *line = ray[r].line + first * LANES;
      find_weights(&b, &ray[r], first, here, coefficient);
      for (int t = 0; t < here; t += 2) {
        vec x = vec_get(line + t * LANES), y = t + 1 < here ? vec_get(line + (t + 1) * LANES) : x;
        add_pair(grid + (b.u[t] * row_lines + b.v[t]) * LANES, row_lines * LANES, x, y, b.weight[t],
                 b.weight[t + 1]);
      }
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

void ISA_NAME(recon_batch_columns)(const float *grid, int64_t row_lines, int64_t side,
                                   int64_t columns, int64_t tile_step, float *tile) {
  enum { AHEAD = 24 };
  for (int64_t i = 0; i < side; i++, grid += row_lines * LANES)
    for (int64_t c = 0; c < columns; c++) {
      vec_put(tile + c * tile_step + i * LANES, vec_get(grid + c * LANES));
      __builtin_prefetch(grid + (AHEAD * row_lines + c) * LANES);
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
