/* Fourier gridding (O'Sullivan 1985; type-1 nonuniform FFT with the exponential-of-semicircle kernel of Barnett,
 * Magland and af Klinteberg 2019). Two slices are the real and imaginary parts of one complex problem. The padded
 * transform of each projection, times ramp, weight and the phase that puts the axis at the origin, is spread onto
 * a polar-to-square grid oversampled 1.25 times; an inverse FFT and the division by the kernel's transform give
 * the slices: the direct sum of the trigonometrically interpolated filtered projections, to 1e-4 of its rms. */
#include "recon_private.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

static const double oversampling = 1.25;
enum { MARGIN = 8 };

struct gridding {
  int64_t pad, side, row; /* transform; grid; floats per grid row (with margins) */
  float *filter, *grid, *inverse, *coefficient;
  fftwf_complex *line;
  fftwf_plan forward, backward;
};

/* ---- the kernel --------------------------------------------------------------------------------------- */

static double shape(void) { return PI * GRID_TAPS * (1 - 1 / (2 * oversampling)); }

static double kernel_at(double x) {
  double t = 1 - 4 * x * x / (GRID_TAPS * GRID_TAPS);
  return t > 0 ? exp(shape() * (sqrt(t) - 1)) : t > -1e-12 ? exp(-shape()) : 0;
}

/* Polynomials in z = 2 f - 1 through Chebyshev points: tap j at fraction f of a grid step is kernel(j - W/2 + f). */
static void fit_taps(float *coefficient) {
  enum { N = GRID_DEGREE + 1 };
  for (int j = 0; j < 8; j++) {
    double a[N][N + 1];
    for (int i = 0; i < N; i++) {
      double z = -cos(PI * (i + 0.5) / N), power = 1;
      for (int k = 0; k < N; k++, power *= z) a[i][k] = power;
      a[i][N] = j < GRID_TAPS ? kernel_at(j - 0.5 * GRID_TAPS + 0.5 * (z + 1)) : 0;
    }
    for (int i = 0; i < N; i++) {
      int pivot = i;
      for (int r = i + 1; r < N; r++)
        if (fabs(a[r][i]) > fabs(a[pivot][i])) pivot = r;
      for (int k = 0; k <= N; k++) {
        double swap = a[i][k];
        a[i][k] = a[pivot][k], a[pivot][k] = swap;
      }
      for (int r = 0; r < N; r++) {
        double f = a[r][i] / a[i][i];
        for (int k = i; k <= N && r != i; k++) a[r][k] -= f * a[i][k];
      }
    }
    for (int k = 0; k < N; k++) coefficient[k * 8 + j] = (float)(a[k][N] / a[k][k]);
  }
}

/* 1 over the kernel's transform at image place (i - n/2) of a grid of `side` points. */
static void fit_inverse(int64_t n, int64_t side, float *inverse) {
  enum { STEPS = 1200 };
  for (int64_t i = 0; i < n; i++) {
    double x = (double)(i - n / 2) / (double)side, sum = 0;
    for (int k = 0; k < STEPS; k++) {
      double y = GRID_TAPS * ((k + 0.5) / STEPS - 0.5);
      sum += kernel_at(y) * cos(2 * PI * x * y);
    }
    inverse[i] = (float)(STEPS / (GRID_TAPS * sum));
  }
}

/* ---- workspace ------------------------------------------------------------------------------------------ */

static int64_t side_of(const struct recon_geometry *g) {
  return recon_good_length((int64_t)ceil(oversampling * (double)g->columns));
}

int64_t recon_gridding_bytes(const struct recon_geometry *g) {
  int64_t side = side_of(g) + 2 * MARGIN;
  return 8 * side * side + 12 * recon_pad(g) + 4 * g->columns;
}

static void gridding_free(struct gridding *w) {
  if (w->forward) fftwf_destroy_plan(w->forward);
  if (w->backward) fftwf_destroy_plan(w->backward);
  fftwf_free(w->line);
  memory_free(w->grid);
  memory_free(w->filter);
  memory_free(w->inverse);
  memory_free(w->coefficient);
}

static enum status gridding_make(const struct recon_geometry *g, struct gridding *w) {
  memset(w, 0, sizeof *w);
  w->pad  = recon_pad(g);
  w->side = side_of(g);
  w->row  = 2 * (w->side + 2 * MARGIN);
  TRY(memory_make(w->pad, sizeof(float), "a filter", &w->filter));
  TRY(recon_filter_make(g, w->pad, w->filter));
  TRY(memory_make((w->side + 2 * MARGIN) * w->row, sizeof(float), "the grid of a reconstruction",
                  &w->grid));
  TRY(memory_make(g->columns, sizeof(float), "a reconstruction", &w->inverse));
  TRY(memory_make((GRID_DEGREE + 1) * 8, sizeof(float), "a reconstruction", &w->coefficient));
  w->line = fftwf_alloc_complex((size_t)w->pad);
  if (!w->line) return FAIL(STATUS_MEMORY, "no memory for a padded projection");
  const int side[2] = {(int)w->side, (int)w->side}, held[2] = {(int)w->side, (int)(w->row / 2)};
  fftwf_complex *inside = (fftwf_complex *)(void *)(w->grid + MARGIN * w->row + 2 * MARGIN);
  w->forward  = fftwf_plan_dft_1d((int)w->pad, w->line, w->line, FFTW_FORWARD, FFTW_ESTIMATE);
  w->backward = fftwf_plan_many_dft(2, side, 1, inside, held, 1, 0, inside, held, 1, 0,
                                    FFTW_BACKWARD, FFTW_ESTIMATE | FFTW_UNALIGNED);
  if (!w->forward || !w->backward)
    return FAIL(STATUS_MEMORY, "FFTW has no plan for %d points", (int)w->side);
  fit_taps(w->coefficient);
  fit_inverse(g->columns, w->side, w->inverse);
  return STATUS_OK;
}

/* ---- one pair of slices ------------------------------------------------------------------------------------ */

/* Transform of a padded pair of projections, filtered, with the axis (and the half pixel of an even image) moved
 * to the origin; ordered from frequency -pad/2 + 1 to pad/2 - 1. */
static void filter_pair(const struct recon_geometry *g, struct gridding *w, const float *first,
                        const float *second, int64_t angle, float *value) {
  int64_t n = w->pad, half = n / 2;
  memset(w->line, 0, (size_t)n * sizeof *w->line);
  for (int64_t i = 0; i < g->columns; i++) {
    w->line[i][0] = first[i];
    w->line[i][1] = second ? second[i] : 0;
  }
  fftwf_execute(w->forward);
  double c = cos(g->angle_rad[angle]), s = sin(g->angle_rad[angle]);
  double shift   = (g->centre_px + (g->columns % 2 ? 0 : 0.5 * (c + s))) / (double)n;
  double scale   = g->weight_rad[angle] / (double)n;
  double step_re = cos(2 * PI * shift), step_im = sin(2 * PI * shift);
  double re = cos(2 * PI * shift * (double)(1 - half)),
         im = sin(2 * PI * shift * (double)(1 - half));
  for (int64_t k = 1 - half; k < half; k++, value += 2) {
    int64_t at = k < 0 ? k + n : k;
    float a = w->line[at][0], b = w->line[at][1];
    float wr = (float)(re * scale) * w->filter[at], wi = (float)(im * scale) * w->filter[at];
    value[0]    = a * wr - b * wi;
    value[1]    = a * wi + b * wr;
    double next = re * step_re - im * step_im;
    im          = re * step_im + im * step_re;
    re          = next;
  }
}

/* What was spread into the margins belongs to the other side of the periodic grid. */
static void fold_margins(struct gridding *w) {
  int64_t all = w->side + 2 * MARGIN;
  for (int64_t i = 0; i < all; i++) {
    float *row = w->grid + i * w->row;
    for (int64_t k = 0; k < 2 * MARGIN; k++) {
      row[2 * w->side + k] += row[k];
      row[2 * MARGIN + k] += row[2 * (w->side + MARGIN) + k];
    }
  }
  for (int64_t i = 0; i < MARGIN; i++) {
    float *low = w->grid + i * w->row, *high = w->grid + (i + w->side) * w->row;
    float *top    = w->grid + (i + w->side + MARGIN) * w->row,
          *bottom = w->grid + (i + MARGIN) * w->row;
    for (int64_t k = 0; k < w->row; k++) high[k] += low[k], bottom[k] += top[k];
  }
}

static void copy_out(const struct recon_geometry *g, const struct gridding *w, float *first,
                     float *second) {
  int64_t n = g->columns, half = n / 2;
  for (int64_t y = 0; y < n; y++) {
    int64_t gy       = y - half < 0 ? y - half + w->side : y - half;
    const float *row = w->grid + (gy + MARGIN) * w->row + 2 * MARGIN;
    for (int64_t x = 0; x < n; x++) {
      int64_t gx = x - half < 0 ? x - half + w->side : x - half;
      /* frequencies were laid about the grid's middle: a sign per voxel */
      float share      = w->inverse[y] * w->inverse[x] * ((x + y) & 1 ? -1.0f : 1.0f);
      first[y * n + x] = row[2 * gx] * share;
      if (second) second[y * n + x] = row[2 * gx + 1] * share;
    }
  }
}

static void make_pair(const struct recon_geometry *g, struct gridding *w, const float *first,
                      const float *second, float *value, float *out_first, float *out_second) {
  memset(w->grid, 0, (size_t)((w->side + 2 * MARGIN) * w->row) * sizeof *w->grid);
  double step = (double)w->side / (double)w->pad, middle = (double)(w->side / 2 + MARGIN);
  int64_t low = 1 - w->pad / 2;
  for (int64_t a = 0; a < g->angles; a++) {
    double du = step * sin(g->angle_rad[a]), dv = step * cos(g->angle_rad[a]);
    filter_pair(g, w, first + a * g->columns, second ? second + a * g->columns : NULL, a, value);
    ISA_PICK(recon_spread)
    (w->grid, w->row, value, w->pad - 1, middle + (double)low * du, middle + (double)low * dv, du,
     dv, w->coefficient);
  }
  fold_margins(w);
  fftwf_execute(w->backward);
  copy_out(g, w, out_first, out_second);
}

enum status recon_gridding(const struct recon_geometry *g, const float *sinogram, int64_t n,
                           float *slice) {
  struct gridding w;
  float *value   = NULL;
  int64_t pixels = g->columns * g->columns, samples = g->angles * g->columns;
  enum status status = gridding_make(g, &w);
  if (status == STATUS_OK)
    status = memory_make(2 * w.pad, sizeof *value, "a filtered projection", &value);
  for (int64_t s = 0; s < n && status == STATUS_OK; s += 2) {
    bool pair = s + 1 < n;
    make_pair(g, &w, sinogram + s * samples, pair ? sinogram + (s + 1) * samples : NULL, value,
              slice + s * pixels, pair ? slice + (s + 1) * pixels : NULL);
  }
  memory_free(value);
  gridding_free(&w);
  return status;
}
