/* Fourier gridding (O'Sullivan 1985, with the kernel of Kaiser and Bessel, Jackson et al. 1991) of a batch of slices at
 * once. Two slices are the real and imaginary parts of one complex problem. The padded transform of each projection,
 * times ramp, weight and the phase that puts the axis at the origin, is spread onto a polar-to-square grid oversampled
 * at least 1.25 times; an inverse FFT and the division by the kernel's transform give the slices: the direct sum of the
 * trigonometrically interpolated filtered projections. On noise the error is 2e-4 of the rms over the disc at 1.25 and
 * 5e-5 at 1.38 times, 4e-5 within 0.6 of its radius; a tomogram's is smaller. Projections are taken in the order of
 * their direction, a group at a time, so that the piece of the grid they touch stays in the second cache. */
#include "recon_batch.h"
#include "recon_halves.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double oversampling = 1.25;
enum { MARGIN = 6, GROUP = 32, COLUMNS_AHEAD = 4, LANES_MOST = 16, SIDE_LEAST = 32 };

struct gridding {
  struct recon_geometry geometry;
  /* the period of the filter; transform of a projection: all of that, or half of it and halves between; grid; lines
   * per grid row, with margins */
  int64_t pad, samples, side, row;
  struct recon_halves *halves; /* NULL: none */
  int lanes;
  struct recon_fft forward, inverse;
  struct recon_ray *ray; /* of a group */
  int64_t *order;        /* of the projections, by direction */
  int32_t *place_forward, *place_inverse;
  float *filter, *turns, *factor, *coefficient, *across, *zero;
  float *grid, *line, *filtered, *between, *work, *tile, *output;
};

/* ---- the kernel --------------------------------------------------------------------------------------- */

/* The shape at which the error, over the disc of a noisy slice, is least. */
static double shape(double oversampled) {
  return 0.98 * PI * SPREAD_TAPS * (1 - 1 / (2 * oversampled));
}

static double kernel_at(double x, double beta) {
  double t = 1 - 4 * x * x / (SPREAD_TAPS * SPREAD_TAPS);
  return recon_bessel(beta * sqrt(fmax(t, 0))) / recon_bessel(beta);
}

/* a x = b by elimination with pivots; b is column n. */
enum { POWERS = SPREAD_DEGREE + 1 };
static void solve(double a[POWERS][POWERS + 1], double *x) {
  for (int i = 0; i < POWERS; i++) {
    int pivot = i;
    for (int r = i + 1; r < POWERS; r++)
      if (fabs(a[r][i]) > fabs(a[pivot][i])) pivot = r;
    for (int k = 0; k <= POWERS; k++) {
      double swap = a[i][k];
      a[i][k] = a[pivot][k], a[pivot][k] = swap;
    }
    for (int r = 0; r < POWERS; r++) {
      double f = a[r][i] / a[i][i];
      for (int k = i; k <= POWERS && r != i; k++) a[r][k] -= f * a[i][k];
    }
  }
  for (int k = 0; k < POWERS; k++) x[k] = a[k][POWERS] / a[k][k];
}

/* Polynomials in z = 2 f - 1 through Chebyshev points: tap j at fraction f of a grid step is kernel(j - W/2 + f). */
static void fit_taps(double beta, float *coefficient) {
  for (int j = 0; j < SPREAD_TAPS / 2; j++) {
    double a[POWERS][POWERS + 1], x[POWERS];
    for (int i = 0; i < POWERS; i++) {
      double z = -cos(PI * (i + 0.5) / POWERS), power = 1;
      for (int k = 0; k < POWERS; k++, power *= z) a[i][k] = power;
      a[i][POWERS] = kernel_at(j - 0.5 * SPREAD_TAPS + 0.5 * (z + 1), beta);
    }
    solve(a, x);
    for (int k = 0; k < POWERS; k++) coefficient[j * POWERS + k] = (float)x[k];
  }
}

/* 1 over the kernel's transform at image place (i - n/2) of a grid of `side` points; frequencies are laid about the
 * grid's middle, which gives a sign per voxel. */
static void fit_inverse(int64_t n, int64_t side, double beta, float *inverse) {
  for (int64_t i = 0; i < n; i++) {
    double x = (double)(i - n / 2) / (double)side, turns = PI * SPREAD_TAPS * x;
    double s    = sqrt(beta * beta - turns * turns); /* n < side / 1.2: above 0 */
    double size = SPREAD_TAPS * sinh(s) / s / recon_bessel(beta);
    inverse[i]  = (float)((i - n / 2) % 2 ? -1 / size : 1 / size);
  }
}

/* ---- workspace ------------------------------------------------------------------------------------------ */

int64_t recon_gridding_side(const struct recon_geometry *g) {
  int64_t least = (int64_t)ceil(oversampling * (double)g->columns);
  return recon_good_length(least > SIDE_LEAST ? least : SIDE_LEAST);
}

static int64_t work_lines(const struct gridding *w) {
  int64_t a = recon_fft_work_lines(&w->forward), b = recon_fft_work_lines(&w->inverse);
  return a > b ? a : b;
}

/* Lines of a grid row: an odd number, so that rows lie in different sets of a cache. */
static int64_t row_of(int64_t side) { return side + 2 * MARGIN + 1 - side % 2; }

int64_t recon_gridding_bytes(const struct recon_geometry *g) {
  int64_t side = recon_gridding_side(g), pad = recon_pad(g), n = g->columns,
          line  = 4 * ISA_PICK(recon_batch_lanes)();
  int64_t lines = (side + 2 * MARGIN) * row_of(side) + GROUP * pad + n +
                  COLUMNS_AHEAD * (side + 3) + line / 4 * (n + 1) +
                  (side > pad ? side : pad) * 5 / 4;
  return line * lines + recon_fft_bytes(pad) + recon_fft_bytes(side) + 16 * pad + 4 * side + 8 * n +
         8 * g->angles;
}

static void gridding_clear(struct gridding *w) {
  recon_fft_free(&w->forward);
  recon_fft_free(&w->inverse);
  recon_halves_free(&w->halves);
  void *all[] = {w->ray,   w->order,  w->place_forward, w->place_inverse, w->filter,
                 w->turns, w->factor, w->coefficient,   w->across,        w->zero,
                 w->grid,  w->line,   w->filtered,      w->between,       w->work,
                 w->tile,  w->output};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) memory_free(all[i]);
}

/* Frequency k of a transform as it is computed (recon_fft_index), below 0 for the upper half. */
static int64_t frequency(const struct recon_fft *fft, int64_t at) {
  int64_t k = recon_fft_index(fft, at);
  return k < fft->n / 2 ? k : k - fft->n;
}

struct direction {
  double rad;
  int64_t angle;
};
static int by_direction(const void *a, const void *b) {
  const struct direction *x = a, *y = b;
  if (x->rad != y->rad) return x->rad < y->rad ? -1 : 1;
  return (x->angle > y->angle) - (x->angle < y->angle);
}

static enum status sort_angles(const struct recon_geometry *g, int64_t *order) {
  struct direction *all;
  TRY(memory_make(g->angles, sizeof *all, "directions", &all));
  for (int64_t a = 0; a < g->angles; a++) {
    double turned = fmod(g->angle_rad[a], PI);
    all[a]        = (struct direction){turned < 0 ? turned + PI : turned, a};
  }
  qsort(all, (size_t)g->angles, sizeof *all, by_direction);
  for (int64_t a = 0; a < g->angles; a++) order[a] = all[a].angle;
  memory_free(all);
  return STATUS_OK;
}

/* Tables: filter in the order of the transform, whose frequencies -samples/2 .. samples/2 - 1 come to stand in a row,
 * the first of them without weight; of the inverse transform (index reversed) the image's points, the others behind
 * them. */
static enum status tables_make(const struct recon_geometry *g, struct gridding *w) {
  float *filter;
  TRY(memory_make(w->pad, sizeof *filter, "a filter", &filter));
  enum status status = recon_filter_make(g, w->pad, filter);
  if (status == STATUS_OK && w->samples < w->pad)
    status = recon_halves_make(filter, w->side, g->columns, w->lanes, &w->halves);
  for (int64_t at = 0; at < w->samples; at++) {
    int64_t k            = frequency(&w->forward, at);
    w->place_forward[at] = (int32_t)(k + w->samples / 2);
    if (w->halves)
      w->filter[at] = recon_halves_weight(w->halves, filter, k);
    else
      w->filter[at] = k == -w->samples / 2 ? 0 : filter[k < 0 ? k + w->pad : k];
  }
  memory_free(filter);
  for (int64_t at = 0; at < w->side; at++) {
    int64_t i            = -frequency(&w->inverse, at) + g->columns / 2;
    w->place_inverse[at] = (int32_t)(i >= 0 && i < g->columns ? i : g->columns);
  }
  double beta = shape((double)w->side / (double)g->columns);
  fit_taps(beta, w->coefficient);
  fit_inverse(g->columns, w->side, beta, w->across);
  return status == STATUS_OK ? sort_angles(g, w->order) : status;
}

static enum status buffers_make(const struct recon_geometry *g, struct gridding *w) {
  w->lanes   = ISA_PICK(recon_batch_lanes)();
  w->pad     = recon_pad(g);
  w->side    = recon_gridding_side(g);
  w->row     = row_of(w->side);
  w->samples = recon_halves_serve(g) ? w->side : w->pad;
  TRY(recon_fft_make(w->samples, &w->forward));
  TRY(recon_fft_make(w->side, &w->inverse));
  const size_t line = (size_t)w->lanes * sizeof(float);
  const struct {
    int64_t count;
    size_t bytes;
    void *to;
  } buffers[] = {
      {GROUP * HALVES_RUNS,                                        sizeof *w->ray,   &w->ray          },
      {g->angles,                                                  sizeof *w->order, &w->order        },
      {w->samples,                                                 sizeof(int32_t),  &w->place_forward},
      {w->side,                                                    sizeof(int32_t),  &w->place_inverse},
      {w->samples,                                                 sizeof(float),    &w->filter       },
      {2 * w->samples,                                             sizeof(float),    &w->factor       },
      {2 * w->samples,                                             sizeof(float),    &w->turns        },
      {SPREAD_TAPS / 2 * POWERS,                                   sizeof(float),    &w->coefficient  },
      {g->columns,                                                 sizeof(float),    &w->across       },
      {g->columns,                                                 sizeof(float),    &w->zero         },
      {(w->side + 2 * MARGIN) * w->row,                            line,             &w->grid         },
      {g->columns,                                                 line,             &w->line         },
      {GROUP * w->samples,                                         line,             &w->filtered     },
      {w->samples < w->pad ? GROUP * HALVES_RUNS * HALVES_RUN : 0, line,             &w->between      },
      {work_lines(w),                                              line,             &w->work         },
      {COLUMNS_AHEAD * (w->side + 3),                              line,             &w->tile         },
      {w->lanes * (g->columns + 1),                                line,             &w->output       },
  };
  for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
    TRY(memory_make_raw(buffers[i].count, buffers[i].bytes, "a batch of slices", buffers[i].to));
  memset(w->zero, 0, (size_t)g->columns * sizeof *w->zero);
  return STATUS_OK;
}

/* ---- one batch of slices ------------------------------------------------------------------------------------ */

/* exp(i step j first..): n powers, by steps in double. */
static void put_turns(double first, double step, int64_t n, double scale, float *to) {
  double re = scale * cos(first), im = scale * sin(first), c = cos(step), s = sin(step);
  for (int64_t j = 0; j < n; j++, to += 2) {
    to[0]       = (float)re;
    to[1]       = (float)im;
    double next = re * c - im * s;
    im          = re * s + im * c;
    re          = next;
  }
}

/* The column that comes to the origin: the axis, and the half pixel of an even image. */
static double shift_of(const struct recon_geometry *g, int64_t angle) {
  double c = cos(g->angle_rad[angle]), s = sin(g->angle_rad[angle]);
  return g->centre_px + (g->columns % 2 ? 0 : 0.5 * (c + s));
}

/* The filter of one projection with its weight and the phase of its shift: exp(2 pi i k shift / samples) for k = k1 +
 * n1 k2 is one factor of k1 times one of k2. */
static void make_factor(const struct recon_geometry *g, struct gridding *w, int64_t angle) {
  double turn = 2 * PI * shift_of(g, angle) / (double)w->samples;
  int64_t n1 = w->forward.first.points, n2 = w->forward.second.points;
  float *a = w->turns, *b = w->turns + 2 * n1;
  put_turns(0, turn, n1, g->weight_rad[angle] / (double)w->pad, a);
  put_turns(0, turn * (double)n1, n2 / 2, 1, b);
  put_turns(turn * (double)(-w->samples / 2), turn * (double)n1, n2 / 2, 1, b + n2);
  ISA_PICK(recon_batch_factor)(w->filter, a, b, n1, n2, w->factor);
}

/* Rows of a projection, one of each slice. */
static void rows_of(const struct recon_geometry *g, const struct gridding *w,
                    const float *const *sinogram, int64_t angle, const float **row) {
  for (int i = 0; i < w->lanes; i++)
    row[i] = sinogram[i] ? sinogram[i] + angle * g->columns : w->zero;
}

/* Projection number `at` of each slice to filtered lines of the transform. */
static void filter_projection(const struct recon_geometry *g, struct gridding *w,
                              const float *const *sinogram, int64_t at, float *line) {
  const float *row[LANES_MOST], *row_next[LANES_MOST];
  rows_of(g, w, sinogram, w->order[at], row);
  rows_of(g, w, sinogram, w->order[at + 1 < g->angles ? at + 1 : at], row_next);
  struct recon_fft_next next = {row_next, w->lanes, g->columns};
  make_factor(g, w, w->order[at]);
  ISA_PICK(recon_batch_load)(row, g->columns, w->line);
  ISA_PICK(recon_fft_lines)
  (&w->forward, w->line, w->lanes, g->columns, w->place_forward, w->factor, &next, w->work, line);
}

/* Lines of samples from `first` on along a projection's direction. */
static struct recon_ray ray_at(const struct recon_geometry *g, const struct gridding *w,
                               int64_t angle, double first, const float *line) {
  double step = (double)w->side / (double)w->samples, middle = (double)(w->side / 2 + MARGIN);
  double du = step * sin(g->angle_rad[angle]), dv = step * cos(g->angle_rad[angle]);
  return (struct recon_ray){line, middle + first * du, middle + first * dv, du, dv};
}

/* A group of projections: transforms, filtered, then spread; `sinogram` holds those of the batch's slices. */
static void spread_group(const struct recon_geometry *g, struct gridding *w,
                         const float *const *sinogram, int64_t first, int64_t n) {
  const int64_t run = HALVES_RUN * w->lanes;
  for (int64_t r = 0; r < n; r++) {
    int64_t angle = w->order[first + r];
    float *line   = w->filtered + r * w->samples * w->lanes;
    filter_projection(g, w, sinogram, first + r, line);
    if (w->halves)
      recon_halves_fill(w->halves, shift_of(g, angle), line, w->between + r * HALVES_RUNS * run);
    w->ray[r] = ray_at(g, w, angle, (double)(-w->samples / 2), line);
  }
  ISA_PICK(recon_batch_spread)(w->grid, w->row, w->ray, n, w->samples, w->coefficient);
  if (!w->halves) return;
  for (int k = 0; k < HALVES_RUNS; k++)
    for (int64_t r = 0; r < n; r++)
      w->ray[k * n + r] = ray_at(g, w, w->order[first + r], recon_halves_place(w->halves, k),
                                 w->between + (r * HALVES_RUNS + k) * run);
  ISA_PICK(recon_batch_spread)
  (w->grid, w->row, w->ray, HALVES_RUNS * n, HALVES_RUN, w->coefficient);
}

/* Rows of the grid to the image's columns, then these, a vector's width of them at a time, to the slices. */
static void transform_grid(const struct recon_geometry *g, struct gridding *w,
                           float *const *slice) {
  int64_t n = g->columns, step = (n + 1) * w->lanes, pitch = (w->side + 3) * w->lanes;
  float *inside = w->grid + (MARGIN * w->row + MARGIN) * w->lanes;
  for (int64_t i = 0; i < w->side; i++) {
    float *row                 = inside + i * w->row * w->lanes;
    const float *row_next      = row + w->row * w->lanes;
    struct recon_fft_next next = {&row_next, 1, w->side * w->lanes};
    ISA_PICK(recon_fft_lines)
    (&w->inverse, row, w->lanes, w->side, w->place_inverse, NULL, &next, w->work, row);
  }
  for (int64_t x = 0; x < n; x += w->lanes) {
    int64_t columns = n - x < w->lanes ? n - x : w->lanes;
    float *row[LANES_MOST];
    for (int i = 0; i < w->lanes; i++) row[i] = slice[i] ? slice[i] + x : NULL;
    for (int64_t c = 0; c < columns; c++) {
      int64_t ahead = columns - c < COLUMNS_AHEAD ? columns - c : COLUMNS_AHEAD;
      if (c % COLUMNS_AHEAD == 0) ISA_PICK(recon_batch_columns)
      (inside + (x + c) * w->lanes, w->row, w->side, ahead, pitch, w->tile);
      ISA_PICK(recon_fft_lines)
      (&w->inverse, w->tile + c % COLUMNS_AHEAD * pitch, w->lanes, w->side, w->place_inverse, NULL,
       NULL, w->work, w->output + c * step);
    }
    ISA_PICK(recon_batch_store)(w->output, step, columns, n, w->across + x, w->across, row, n);
  }
}

static void make_batch(const struct recon_geometry *g, struct gridding *w, const float *sinogram,
                       int64_t n, float *slice) {
  int64_t pixels = g->columns * g->columns, samples = g->angles * g->columns;
  const float *from[LANES_MOST];
  float *to[LANES_MOST];
  for (int i = 0; i < w->lanes; i++) {
    from[i] = i < n ? sinogram + i * samples : NULL;
    to[i]   = i < n ? slice + i * pixels : NULL;
  }
  memset(w->grid, 0, (size_t)((w->side + 2 * MARGIN) * w->row * w->lanes) * sizeof *w->grid);
  for (int64_t a = 0; a < g->angles; a += GROUP)
    spread_group(g, w, from, a, g->angles - a < GROUP ? g->angles - a : GROUP);
  ISA_PICK(recon_batch_fold)(w->grid, w->row, w->side, MARGIN);
  transform_grid(g, w, to);
}

void recon_gridding_free(void *work) {
  struct gridding *w = work;
  if (w) gridding_clear(w);
  memory_free(w);
}

enum status recon_gridding_make(const struct recon_geometry *g, void **work) {
  struct gridding *w;
  TRY(memory_make(1, sizeof *w, "a reconstruction", &w));
  w->geometry        = *g;
  enum status status = buffers_make(g, w);
  if (status == STATUS_OK) status = tables_make(g, w);
  if (status != STATUS_OK) recon_gridding_free(w);
  *work = status == STATUS_OK ? w : NULL;
  return status;
}

enum status recon_gridding_slices(void *work, const float *sinogram, int64_t n, float *slice) {
  struct gridding *w             = work;
  const struct recon_geometry *g = &w->geometry;
  int64_t pixels = g->columns * g->columns, samples = g->angles * g->columns;
  for (int64_t s = 0; s < n; s += w->lanes)
    make_batch(g, w, sinogram + s * samples, n - s < w->lanes ? n - s : w->lanes,
               slice + s * pixels);
  return STATUS_OK;
}
