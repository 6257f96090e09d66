/* Private: slices reconstructed side by side. A "line" is one vector register of floats that holds the same grid
 * point of LANES slices, two of them as real and imaginary part of one complex number. How many slices that is
 * depends on the instruction set (recon_batch_lanes: 16, 8 or 4); a slice's bits do not depend on the others of its
 * batch but for its partner. All buffers are aligned to 64 bytes. */
#pragma once
#include "recon_private.h"

/* A transform of n = n1 n2 lines. Each part goes through its radices; stage twiddles stand one stage after the
 * other. `between`[j2][k1] = exp(-2 pi i j2 k1 / n). */
enum { RADICES_MOST = 12 };
struct recon_fft_part {
  int64_t points;
  int stages, radix[RADICES_MOST];
  float *twiddle;
};
struct recon_fft {
  int64_t n;
  struct recon_fft_part first, second; /* n1, n2 points; n2 is even */
  float *between;
};
/* n even, of the primes 2, 3 and 5, at least 8. */
enum status recon_fft_make(int64_t n, struct recon_fft *fft);
void recon_fft_free(struct recon_fft *fft);
int64_t recon_fft_bytes(int64_t n);
/* Output k of the transform as it is computed, number `at` of n: k = at / n2 + n1 (at % n2). */
int64_t recon_fft_index(const struct recon_fft *fft, int64_t at);
/* Lines of workspace of recon_fft_lines. */
int64_t recon_fft_work_lines(const struct recon_fft *fft);

/* Rows of so many floats that are wanted after a transform. */
struct recon_fft_next {
  const float *const *row;
  int rows;
  int64_t floats;
};

ISA_DECLARE(int, recon_batch_lanes, void)
/* out[place[at]] = factor[at] sum_j exp(-2 pi i j k / n) in[j], k = recon_fft_index(at), lines j >= count being 0;
 * input lines lie in_step floats apart. factor (complex) may be NULL. out may be in. `next` (may be NULL) is
 * fetched meanwhile. */
ISA_DECLARE(void, recon_fft_lines, const struct recon_fft *fft, const float *in, int64_t in_step,
            int64_t count, const int32_t *place, const float *factor,
            const struct recon_fft_next *next, float *work, float *out)
/* Lines of `columns` points from one row of each of LANES slices. */
ISA_DECLARE(void, recon_batch_load, const float *const *row, int64_t columns, float *line)
/* factor[at] = filter[at] a[at / n2] b[at % n2], complex but for the filter. */
ISA_DECLARE(void, recon_batch_factor, const float *filter, const float *a, const float *b,
            int64_t n1, int64_t n2, float *factor)

/* to[i] = weight[i] (re + i im) from[i] of n lines; weight NULL: 1. to may be from. */
ISA_DECLARE(void, recon_batch_turn, const float *from, int64_t n, const float *weight, float re,
            float im, float *to)
/* Lines in the middle between lines: half[i] = sum over d < taps of tap[d][0] (a + b) + i tap[d][1] (a - b),
 * a = whole[i + taps - 1 - d], b = whole[i + taps + d]; n of them, a multiple of 4. */
ISA_DECLARE(void, recon_batch_between, const float *whole, int64_t n, const float *tap,
            int64_t taps, float *half)

/* A filtered projection on its way to the grid: sample k of its lines lies at (u + k du, v + k dv) in grid points; du
 * and dv are at most 1. */
struct recon_ray {
  const float *line;
  double u, v, du, dv;
};
enum { SPREAD_TAPS = 6, SPREAD_DEGREE = 7 };
/* Of each of the rays n samples, an even number. Taps of a sample by polynomials: coefficient[tap][power] of the first
 * half of the taps; the others mirror them. */
ISA_DECLARE(void, recon_batch_spread, float *grid, int64_t row_lines, const struct recon_ray *ray,
            int64_t rays, int64_t n, const float *coefficient)
/* What was spread into the margins goes to the other side of the periodic grid of side + 2 margin lines. */
ISA_DECLARE(void, recon_batch_fold, float *grid, int64_t row_lines, int64_t side, int64_t margin)
/* tile[c][i] = grid[i][c]: `columns` neighbouring columns of `side` rows, tile_step floats apart. */
ISA_DECLARE(void, recon_batch_columns, const float *grid, int64_t row_lines, int64_t side,
            int64_t columns, int64_t tile_step, float *tile)
/* row[s][y * step + x] = across[x] along[y] of slice s of line y of column x; `columns` of them (at most LANES),
 * tile_step floats apart; slices whose row is NULL are left out. */
ISA_DECLARE(void, recon_batch_store, const float *tile, int64_t tile_step, int64_t columns,
            int64_t rows, const float *across, const float *along, float *const *row, int64_t step)
