/* Correlation of maps through FFTW; ESTIMATE, so that the same library gives the same bits again. */
#include "numeric_fft.h"
#include <complex.h>
#include <fftw3.h>
#include <string.h>

static int64_t good_length(int64_t n) {
  for (;; n++) {
    int64_t rest = n;
    for (int factor = 2; factor <= 7; factor++)
      while (rest % factor == 0) rest /= factor;
    if (rest == 1) return n;
  }
}

struct padded {
  int64_t ny, nx, half;
  double *a, *b; /* rows of 2 half values, transformed in place */
};

static enum status padded_make(int64_t ny, int64_t nx, struct padded *p) {
  int y, x;
  *p      = (struct padded){good_length(ny), good_length(nx), 0, NULL, NULL};
  p->half = p->nx / 2 + 1;
  TRY(base_int_from(p->ny, "rows of a map", &y));
  TRY(base_int_from(p->nx, "columns of a map", &x));
  TRY(memory_make(p->ny * 2 * p->half, sizeof *p->a, "a map's spectrum", &p->a));
  return memory_make(p->ny * 2 * p->half, sizeof *p->b, "a map's spectrum", &p->b);
}

static void load(const struct padded *p, const double *from, int64_t ny, int64_t nx, double *to) {
  for (int64_t y = 0; y < ny; y++)
    memcpy(to + y * 2 * p->half, from + y * nx, (size_t)nx * sizeof *to);
}

static enum status transform(const struct padded *p, double *data, bool back) {
  fftw_complex *spectrum = (fftw_complex *)(void *)data;
  fftw_plan plan =
      back ? fftw_plan_dft_c2r_2d((int)p->ny, (int)p->nx, spectrum, data, FFTW_ESTIMATE)
           : fftw_plan_dft_r2c_2d((int)p->ny, (int)p->nx, data, spectrum, FFTW_ESTIMATE);
  if (!plan) return FAIL(STATUS_INTERNAL, "FFTW has no plan for a map");
  fftw_execute(plan);
  fftw_destroy_plan(plan);
  return STATUS_OK;
}

static enum status multiply(const struct padded *p, bool same) {
  TRY(transform(p, p->a, false));
  if (!same) TRY(transform(p, p->b, false));
  double complex *a       = (double complex *)(void *)p->a;
  const double complex *b = same ? a : (const double complex *)(const void *)p->b;
  for (int64_t i = 0; i < p->ny * p->half; i++) a[i] = conj(a[i]) * b[i];
  return transform(p, p->a, true);
}

enum status numeric_correlate(const double *a, const double *b, int64_t ny, int64_t nx,
                              int64_t reach_y, int64_t reach_x, double *out) {
  struct padded p;
  enum status status = padded_make(ny + reach_y, nx + reach_x, &p);
  if (status == STATUS_OK) {
    load(&p, a, ny, nx, p.a);
    load(&p, b, ny, nx, p.b);
    status = multiply(&p, a == b);
  }
  double scale = 1 / ((double)p.ny * (double)p.nx);
  for (int64_t dy = -reach_y; dy <= reach_y && status == STATUS_OK; dy++)
    for (int64_t dx = -reach_x; dx <= reach_x; dx++)
      *out++ = scale * p.a[(dy + p.ny) % p.ny * 2 * p.half + (dx + p.nx) % p.nx];
  memory_free(p.a);
  memory_free(p.b);
  return status;
}
