/* Stripes as what hardly changes along the angle but does from column to column.
 *   filter: the slow part along the angle is sorted, the rest kept (Vo et al. 2018, algorithm 2).
 *   fit:    the cubic along the angle that fits each column, smoothed over columns (algorithm 1).
 *   raven:  the lowest frequencies along the angle, low-pass filtered over columns by Butterworth's window (Raven, Review
 *           of Scientific Instruments 69, 2978, 1998).
 *   ti:     the offsets q of columns that make the mean projection p smoothest: least sum of squares of
 *           (p + q)' and sqrt(alpha) q (Titarenko, Withers and Yagola, Applied Mathematics Letters 23, 1489, 2010);
 *           their closed formula is the solution of this tridiagonal system. */
#include "recon_private.h"
#include "recon_rings.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

enum { FIT_POWERS = 4, RAVEN_CYCLES = 2, RAVEN_ORDER = 4 };

enum status recon_rings_filter(const struct recon_rings *rings, float *sinogram, int64_t angles,
                               int64_t columns) {
  float *slow;
  TRY(memory_make_raw(angles * columns, sizeof *slow, "a slow sinogram", &slow));
  enum status status = recon_rings_slow(sinogram, angles, columns, rings->sigma, slow);
  if (status == STATUS_OK) status = recon_unstripe(slow, angles, columns, rings->width);
  for (int64_t i = 0; i < angles * columns && status == STATUS_OK; i++) sinogram[i] += slow[i];
  memory_free(slow);
  return status;
}

/* ---- coefficients of columns, smoothed over columns ------------------------------------------------------------- */

/* 1, a, a^2 ... made orthonormal. */
static void make_powers(int64_t angles, int64_t n, float *basis) {
  for (int64_t k = 0; k < n; k++) {
    float *mine = basis + k * angles;
    for (int64_t a = 0; a < angles; a++)
      mine[a] = k ? (basis + (k - 1) * angles)[a] *
                        (float)(2 * (double)a / (double)(angles > 1 ? angles - 1 : 1) - 1)
                  : 1;
    for (int64_t j = 0; j < k; j++) {
      double dot = 0;
      for (int64_t a = 0; a < angles; a++) dot += (double)mine[a] * (double)basis[j * angles + a];
      for (int64_t a = 0; a < angles; a++) mine[a] -= (float)dot * basis[j * angles + a];
    }
    double square = 0;
    for (int64_t a = 0; a < angles; a++) square += (double)mine[a] * (double)mine[a];
    for (int64_t a = 0; a < angles && square > 0; a++) mine[a] /= (float)sqrt(square);
  }
}

/* Lines [n][columns] less their low-pass filtered selves. With a window over the cycles of a line and its mirror
 * image: Gaussian or Butterworth. */
static enum status keep_fast(float *line, int64_t n, int64_t columns, double cycles, bool gauss) {
  int length         = (int)(2 * columns);
  float *mirror      = fftwf_alloc_real((size_t)length);
  fftwf_complex *t   = fftwf_alloc_complex((size_t)length / 2 + 1);
  enum status status = STATUS_OK;
  fftwf_plan there = NULL, back = NULL;
  if (mirror && t) {
    there = fftwf_plan_dft_r2c_1d(length, mirror, t, FFTW_ESTIMATE);
    back  = fftwf_plan_dft_c2r_1d(length, t, mirror, FFTW_ESTIMATE);
  } else
    status = FAIL(STATUS_MEMORY, "no memory for a line of %d columns", length);
  for (int64_t i = 0; i < n && status == STATUS_OK; i++, line += columns) {
    for (int64_t c = 0; c < columns; c++) mirror[c] = mirror[length - 1 - c] = line[c];
    fftwf_execute(there);
    for (int64_t k = 0; k <= columns; k++) {
      double x = 0.5 * (double)k / cycles;
      double w = gauss ? exp(-0.5 * x * x) : 1 / (1 + pow(x, 2 * RAVEN_ORDER));
      t[k][0] *= (float)(w / length);
      t[k][1] *= (float)(w / length);
    }
    fftwf_execute(back);
    for (int64_t c = 0; c < columns; c++) line[c] -= mirror[c];
  }
  if (there) fftwf_destroy_plan(there);
  if (back) fftwf_destroy_plan(back);
  fftwf_free(mirror);
  fftwf_free(t);
  return status;
}

static enum status subtract_fast(float *sinogram, int64_t angles, int64_t columns, int64_t n,
                                 double cycles, bool gauss,
                                 void (*fill)(int64_t, int64_t, float *)) {
  float *basis = NULL, *coefficient = NULL;
  if (n > angles) n = angles;
  enum status status = memory_make(n * angles, sizeof *basis, "a basis", &basis);
  if (status == STATUS_OK)
    status = memory_make(n * columns, sizeof *coefficient, "a basis", &coefficient);
  if (status == STATUS_OK) {
    fill(angles, n, basis);
    ISA_PICK(recon_rings_project)(sinogram, angles, columns, basis, n, coefficient);
    status = keep_fast(coefficient, n, columns, cycles, gauss);
  }
  if (status == STATUS_OK)
    ISA_PICK(recon_rings_add)(coefficient, angles, columns, basis, n, -1, sinogram);
  memory_free(basis);
  memory_free(coefficient);
  return status;
}

/* A Gaussian over columns as wide as the median's window is high. */
static double cycles_of(const struct recon_rings *rings, int64_t columns) {
  return (double)columns / (PI * (double)rings->width);
}

enum status recon_rings_fit(const struct recon_rings *rings, float *sinogram, int64_t angles,
                            int64_t columns) {
  return subtract_fast(sinogram, angles, columns, FIT_POWERS, cycles_of(rings, columns), true,
                       make_powers);
}

enum status recon_rings_raven(const struct recon_rings *rings, float *sinogram, int64_t angles,
                              int64_t columns) {
  return subtract_fast(sinogram, angles, columns, 2 * RAVEN_CYCLES + 1, cycles_of(rings, columns),
                       false, recon_rings_cosines);
}

/* ---- the smoothest mean projection ---------------------------------------------------------------------------------- */

enum status recon_rings_titarenko(const struct recon_rings *rings, float *sinogram, int64_t angles,
                                  int64_t columns) {
  double *mean, alpha = rings->alpha;
  TRY(memory_make(3 * columns, sizeof *mean, "a mean projection", &mean));
  double *right = mean + columns, *above = right + columns;
  for (int64_t a = 0; a < angles; a++)
    for (int64_t c = 0; c < columns; c++)
      mean[c] += (double)sinogram[a * columns + c] / (double)angles;
  for (int64_t c = 0; c < columns; c++) { /* elimination downwards */
    double low = c ? mean[c] - mean[c - 1] : 0, high = c + 1 < columns ? mean[c + 1] - mean[c] : 0;
    double diagonal = alpha + (c > 0) + (c + 1 < columns), before = c ? above[c - 1] : 0;
    double pivot = diagonal + (c ? before : 0);
    above[c]     = -1 / pivot;
    right[c]     = (high - low + (c ? right[c - 1] : 0)) / pivot;
  }
  for (int64_t c = columns - 2; c >= 0; c--) right[c] -= above[c] * right[c + 1];
  for (int64_t a = 0; a < angles; a++)
    for (int64_t c = 0; c < columns; c++) sinogram[a * columns + c] += (float)right[c];
  memory_free(mean);
  return STATUS_OK;
}
