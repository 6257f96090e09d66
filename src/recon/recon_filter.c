/* The filter of back-projection. The ramp is the transform of its band-limited spatial kernel h(0) = 1/4,
 * h(odd n) = -1/(pi n)^2 (Ramachandran and Lakshminarayanan 1971), so a padded projection is filtered without an
 * error of its mean. */
#include "recon_halves.h"
#include <fftw3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

double recon_bessel(double x) {
  double term = 1, sum = 1;
  for (int k = 1; k < 40; k++) {
    term *= 0.25 * x * x / (k * k);
    sum += term;
  }
  return sum;
}

int64_t recon_good_length(int64_t least) {
  for (int64_t n = least + least % 2;; n += 2) {
    int64_t rest = n;
    while (rest % 2 == 0) rest /= 2;
    while (rest % 3 == 0) rest /= 3;
    while (rest % 5 == 0) rest /= 5;
    if (rest == 1) return n;
  }
}

int64_t recon_pad(const struct recon_geometry *geometry) {
  if (recon_halves_serve(geometry)) return 2 * recon_gridding_side(geometry);
  int64_t pad  = recon_good_length(geometry->pad > 8 ? geometry->pad : 2 * geometry->columns),
          side = recon_gridding_side(geometry);
  return pad > side ? pad : side; /* samples of a ray lie at most a grid point apart */
}

enum { BUTTERWORTH_ORDER = 4 };

/* Share of the ramp that a window leaves at f, in cycles per pixel (Nyquist 0.5). */
static double window_at(const char *name, double rolloff, double f) {
  double x = 2 * f, window = 1;
  if (strcmp(name, "shepp-logan") == 0) window = f > 0 ? sin(PI * f) / (PI * f) : 1;
  if (strcmp(name, "hann") == 0) window = 0.5 + 0.5 * cos(PI * x);
  if (strcmp(name, "hamming") == 0) window = 0.54 + 0.46 * cos(PI * x);
  if (strcmp(name, "cosine") == 0) window = cos(0.5 * PI * x);
  if (strcmp(name, "butterworth") == 0)
    return 1 / sqrt(1 + pow(x / rolloff, 2 * BUTTERWORTH_ORDER));
  if (rolloff < 1 && x > rolloff) window *= 0.5 + 0.5 * cos(PI * (x - rolloff) / (1 - rolloff));
  return window;
}

enum status recon_filter_make(const struct recon_geometry *geometry, int64_t pad, float *filter) {
  int n;
  TRY(base_int_from(pad, "length of a transform", &n));
  if (pad < 2 * geometry->columns)
    return FAIL(STATUS_USAGE, "recon.pad = %lld; a detector of %lld columns needs at least %lld",
                (long long)pad, (long long)geometry->columns, (long long)(2 * geometry->columns));
  if (strcmp(geometry->filter, "none") == 0) {
    for (int k = 0; k < n; k++) filter[k] = 1;
    return STATUS_OK;
  }
  double *kernel          = fftw_alloc_real((size_t)n);
  fftw_complex *transform = fftw_alloc_complex((size_t)n / 2 + 1);
  if (!kernel || !transform) {
    fftw_free(kernel);
    fftw_free(transform);
    return FAIL(STATUS_MEMORY, "no memory for a filter of %d points", n);
  }
  fftw_plan plan = fftw_plan_dft_r2c_1d(n, kernel, transform, FFTW_ESTIMATE);
  for (int i = 0; i < n; i++) {
    int d     = i <= n / 2 ? i : n - i;
    kernel[i] = d == 0 ? 0.25 : d % 2 ? -1 / (PI * PI * (double)d * d) : 0;
  }
  fftw_execute(plan);
  for (int k = 0; k < n; k++) {
    int f = k <= n / 2 ? k : n - k;
    filter[k] =
        (float)(transform[f][0] * window_at(geometry->filter, geometry->rolloff, (double)f / n));
  }
  fftw_destroy_plan(plan);
  fftw_free(kernel);
  fftw_free(transform);
  return STATUS_OK;
}

static int by_angle(const void *a, const void *b) {
  const double *x = a, *y = b;
  if (x[0] != y[0]) return x[0] < y[0] ? -1 : 1;
  return (x[1] > y[1]) - (x[1] < y[1]);
}

enum status recon_weights(const double *angle_rad, int64_t angles, double *weight_rad) {
  double(*sorted)[2];
  TRY(memory_make(angles, sizeof *sorted, "weights of angles", &sorted));
  for (int64_t i = 0; i < angles; i++) {
    double turned = fmod(angle_rad[i], PI);
    sorted[i][0]  = turned < 0 ? turned + PI : turned;
    sorted[i][1]  = (double)i;
  }
  qsort(sorted, (size_t)angles, sizeof *sorted, by_angle);
  double span = sorted[angles - 1][0] - sorted[0][0];
  for (int64_t i = 0; i < angles; i++) {
    double before                     = i ? sorted[i - 1][0] : sorted[angles - 1][0] - PI;
    double after                      = i + 1 < angles ? sorted[i + 1][0] : sorted[0][0] + PI;
    weight_rad[(int64_t)sorted[i][1]] = 0.5 * (after - before);
  }
  memory_free(sorted);
  if (span > 0) return STATUS_OK;
  return FAIL(STATUS_INPUT, "all %lld rotation angles agree; a scan turns", (long long)angles);
}
