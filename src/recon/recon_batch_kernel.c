/* Slices side by side: rows of slices to lines, lines to the grid, columns of the grid to slices. A line is one
 * cache line or a part of it; where a sample goes and with which weights is found once for all slices. Two
 * neighbouring samples of a ray are at most one grid point apart, so both go to the same 7 x 7 points in one pass. */
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

/* ---- lines to the grid ------------------------------------------------------------------------------------------- */

enum { AHEAD = 8, BLOCK = 32, SPREAD = SPREAD_TAPS + 1, ROWS = SPREAD_TAPS + 2 };

/* Samples of one ray along one axis: first grid point of each, weights in rows 1..taps of `tap` between rows of 0,
 * so that a sample whose taps begin one point after its pair's corner is read one row earlier. */
struct axis {
  float tap[ROWS][BLOCK] __attribute__((aligned(64)));
  float fraction[BLOCK] __attribute__((aligned(64)));
  int32_t corner[BLOCK];
  int64_t edge; /* of the taps, the one that reaches new points first */
};
struct block {
  struct axis u, v;
};

/* The first grid point of each sample, at or above place - taps/2, and by how much in -1..1. */
INLINE void find_corners(double first, double step, struct axis *axis) {
  int32_t base = (int32_t)first - 64;
  axis->edge   = step > 0 ? SPREAD - 1 : 0;
  float rest = (float)(first - base - 0.5 * SPREAD_TAPS + 1), by = (float)step;
  for (int t = 0; t < BLOCK; t++) {
    float at          = rest + (float)t * by;
    int32_t up        = (int32_t)at;
    axis->fraction[t] = 2 * ((float)up - at) + 1;
    axis->corner[t]   = base + up;
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
    vec_put(&axis->tap[1 + j][t], even + odd);
    vec_put(&axis->tap[SPREAD_TAPS - j][t], even - odd);
  }
}

INLINE void add_pair(float *to, int64_t row, vec x, vec y, const float *u0, const float *u1,
                     const float *v0, const float *v1) {
  vec a[SPREAD], b[SPREAD];
  UNROLLED
  for (int q = 0; q < SPREAD; q++) a[q] = x * v0[q * BLOCK], b[q] = y * v1[q * BLOCK];
  UNROLLED
  for (int i = 0; i < SPREAD; i++, to += row) {
    vec e = vec_all(u0[i * BLOCK]), f = vec_all(u1[i * BLOCK]);
    UNROLLED
    for (int q = 0; q < SPREAD; q++)
      vec_put(to + q * LANES, vec_get(to + q * LANES) + e * a[q] + f * b[q]);
  }
}

/* The points that sample t is the first of its ray to reach. */
INLINE void fetch_edges(const float *grid, int64_t row_lines, const struct block *b, int t) {
  const float *to = grid + (b->u.corner[t] * row_lines + b->v.corner[t]) * LANES;
  UNROLLED
  for (int q = 0; q < SPREAD; q++) {
    __builtin_prefetch(to + (b->u.edge * row_lines + q) * LANES, 1);
    __builtin_prefetch(to + (q * row_lines + b->v.edge) * LANES, 1);
  }
}

/* Samples t and t + 1 share the lower of their corners. `pair` false: t alone. */
INLINE void add_samples(float *grid, int64_t row_lines, const float *line, const struct block *b,
                        int t, bool pair) {
  int s     = pair ? t + 1 : t;
  int32_t u = b->u.corner[t] < b->u.corner[s] ? b->u.corner[t] : b->u.corner[s];
  int32_t v = b->v.corner[t] < b->v.corner[s] ? b->v.corner[t] : b->v.corner[s];
  vec x = vec_get(line + t * LANES), y = pair ? vec_get(line + s * LANES) : (vec){0};
  add_pair(grid + (u * row_lines + v) * LANES, row_lines * LANES, x, y,
           &b->u.tap[1 + u - b->u.corner[t]][t], &b->u.tap[1 + u - b->u.corner[s]][s],
           &b->v.tap[1 + v - b->v.corner[t]][t], &b->v.tap[1 + v - b->v.corner[s]][s]);
}

void ISA_NAME(recon_batch_spread)(float *grid, int64_t row_lines, const struct recon_ray *ray,
                                  int64_t rays, int64_t n, const float *coefficient) {
  struct block b;
  memset(&b, 0, sizeof b);
  for (int64_t first = 0; first < n; first += BLOCK)
    for (int64_t r = 0; r < rays; r++) {
      int here = (int)(n - first < BLOCK ? n - first : BLOCK);
      find_corners(ray[r].u + (double)first * ray[r].du, ray[r].du, &b.u);
      find_corners(ray[r].v + (double)first * ray[r].dv, ray[r].dv, &b.v);
      find_taps(&b.u, coefficient);
      find_taps(&b.v, coefficient);
      const float *line = ray[r].line + first * LANES;
      for (int t = 0; t + 1 < here; t += 2) {
        fetch_edges(grid, row_lines, &b, t + AHEAD < BLOCK ? t + AHEAD : t);
        add_samples(grid, row_lines, line, &b, t, true);
      }
      if (here % 2) add_samples(grid, row_lines, line, &b, here - 1, false);
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
      __builtin_prefetch(grid + (ROWS_AHEAD * row_lines + c) * LANES);
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
