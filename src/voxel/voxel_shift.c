/* Phase correlation (Kuglin and Hines 1975): of the product of one spectrum and the other's conjugate only the phase is
 * kept, under a Gaussian of one voxel's width that leaves out frequencies of noise. The greatest value of its inverse
 * transform gives the shift in whole voxels, Newton's method on the same trigonometric sum the part below. Both volumes
 * lose their mean, are faded out over a tenth of their length at each end (Tukey), scaled to unit sum of squares
 * (float32 would overflow on large volumes) and padded with zeros to lengths of small factors.
 * The transforms are FFTW3-MPI's; their last bits vary with the number of ranks, so the shift is rounded. */
#include "voxel_transform.h"
#include <complex.h>
#include <fftw3-mpi.h>
#include <math.h>
#include <string.h>

struct spectra {
  MPI_Comm comm;
  int64_t n[3], padded[3], half; /* half: complex values of a row */
  ptrdiff_t size, start, slices; /* complex values and slices of this rank */
  float *fixed, *moved;          /* rows of 2 half floats */
  struct grid_plan slabs;        /* FFTW's share of the volume itself */
};

static int64_t good_length(int64_t n) {
  for (;; n++) {
    int64_t rest = n;
    for (int factor = 2; factor <= 7; factor++)
      while (rest % factor == 0) rest /= factor;
    if (rest == 1) return n;
  }
}

static enum status plan_slabs(struct spectra *s) {
  int size;
  MPI_Comm_size(s->comm, &size);
  int64_t mine = s->n[0] - s->start, *share;
  mine         = mine < 0 ? 0 : mine < s->slices ? mine : s->slices;
  TRY_ALL(s->comm, memory_make(size, sizeof *share, "shares of a plan", &share));
  MPI_Allgather(&mine, 1, MPI_INT64_T, share, 1, MPI_INT64_T, s->comm);
  enum status status = AGREE(s->comm, grid_plan_cuts(s->comm, s->n, 0, share, &s->slabs));
  memory_free(share);
  return status;
}

static enum status spectra_make(MPI_Comm comm, const int64_t n[3], struct spectra *s) {
  *s = (struct spectra){.comm = comm};
  for (int a = 0; a < 3; a++) s->n[a] = n[a], s->padded[a] = good_length(n[a]);
  s->half = s->padded[2] / 2 + 1;
  fftwf_mpi_init();
  s->size =
      fftwf_mpi_local_size_3d(s->padded[0], s->padded[1], s->half, comm, &s->slices, &s->start);
  TRY(plan_slabs(s));
  enum status status =
      memory_make(2 * (int64_t)s->size + 2, sizeof(float), "a spectrum", &s->fixed);
  if (status == STATUS_OK)
    status = memory_make(2 * (int64_t)s->size + 2, sizeof(float), "a spectrum", &s->moved);
  return AGREE(comm, status);
}

static void spectra_free(struct spectra *s) {
  memory_free(s->fixed);
  memory_free(s->moved);
  grid_plan_free(&s->slabs);
}

/* ---- filling ------------------------------------------------------------------------------------------ */

static double fade(int64_t at, int64_t n) {
  double end = fmin((double)at + 0.5, (double)n - 0.5 - (double)at) / (0.1 * (double)n);
  return end >= 1 || n < 4 ? 1 : 0.5 - 0.5 * cos(PI * end);
}

/* Rows of the field, faded about `mean`, onto the transform's array; gives the sum of squares. */
static double fill(const struct spectra *s, const struct grid_field *field, double mean,
                   float *to) {
  const float *from = (const float *)field->data + grid_field_origin(field);
  double sum        = 0;
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    for (int64_t y = 0; y < s->n[1]; y++) {
      double weight = fade(z + field->mine.start[0], s->n[0]) * fade(y, s->n[1]);
      float *row    = to + (z * s->padded[1] + y) * 2 * s->half;
      for (int64_t x = 0; x < s->n[2]; x++) {
        double value = weight * fade(x, s->n[2]) *
                       ((double)from[z * field->row[0] + y * field->row[1] + x] - mean);
        row[x] = (float)value;
        sum += value * value;
      }
    }
  return sum;
}

static double sum_of(const struct grid_field *field) {
  const float *from = (const float *)field->data + grid_field_origin(field);
  double sum        = 0;
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    for (int64_t y = 0; y < field->mine.n[1]; y++)
      for (int64_t x = 0; x < field->mine.n[2]; x++)
        sum += (double)from[z * field->row[0] + y * field->row[1] + x];
  return sum;
}

/* The field on FFTW's slabs, windowed and scaled, transformed in place. */
static enum status load(struct spectra *s, const struct grid_field *field, float *to) {
  struct grid_field moved;
  memset(&moved, 0, sizeof moved);
  bool same = grid_plan_equal(&field->plan, &s->slabs);
  if (!same) {
    TRY(grid_field_make(s->comm, &s->slabs, GRID_F32, NULL, &moved));
    enum status status = grid_field_move(s->comm, field, &moved);
    if (status != STATUS_OK) {
      grid_field_free(&moved);
      return status;
    }
  }
  double voxels = (double)s->n[0] * (double)s->n[1] * (double)s->n[2], sum = sum_of(field);
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, s->comm);
  double squares = fill(s, same ? field : &moved, sum / voxels, to);
  grid_field_free(&moved);
  MPI_Allreduce(MPI_IN_PLACE, &squares, 1, MPI_DOUBLE, MPI_SUM, s->comm);
  if (!isfinite(squares))
    return AGREE(s->comm,
                 FAIL(STATUS_INPUT, "a volume to be aligned holds NaN or infinite values"));
  float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
  for (int64_t i = 0; i < 2 * (int64_t)s->size; i++) to[i] *= scale;
  fftwf_plan plan = fftwf_mpi_plan_dft_r2c_3d(s->padded[0], s->padded[1], s->padded[2], to,
                                              (fftwf_complex *)to, s->comm, FFTW_ESTIMATE);
  TRY_ALL(s->comm, plan ? STATUS_OK : FAIL(STATUS_INTERNAL, "FFTW has no plan for a volume"));
  fftwf_execute(plan);
  fftwf_destroy_plan(plan);
  return STATUS_OK;
}

/* ---- the phases ------------------------------------------------------------------------------------------- */

/* Of one axis, per index: frequency in cycles per voxel, weight, and phase factor of a shift. */
struct axis {
  double *f, *weight;
  double complex *turn;
};

static enum status axes_make(const struct spectra *s, struct axis axis[3]) {
  int64_t total = s->padded[0] + s->padded[1] + s->half;
  double *f;
  TRY(memory_make(4 * total, sizeof *f, "frequencies", &f));
  for (int a = 0; a < 3; a++) {
    int64_t n = a < 2 ? s->padded[a] : s->half;
    axis[a]   = (struct axis){f, f + n, (double complex *)(void *)(f + 2 * n)};
    for (int64_t k = 0; k < n; k++) {
      double cycles     = (double)(k <= s->padded[a] / 2 ? k : k - s->padded[a]);
      axis[a].f[k]      = cycles / (double)s->padded[a];
      axis[a].weight[k] = exp(-2 * PI * PI * axis[a].f[k] * axis[a].f[k]);
    }
    f += 4 * n;
  }
  return STATUS_OK;
}

/* A row holds half of the frequencies: all but those of its ends count for two. */
static double times(const struct spectra *s, int64_t x) {
  return x == 0 || 2 * x == s->padded[2] ? 1 : 2;
}

/* moved <- moved conj(fixed) with the weight for modulus; gives the sum of the weights. */
static double whiten(const struct spectra *s, const struct axis axis[3]) {
  const float complex *a = (const float complex *)(const void *)s->fixed;
  float complex *b       = (float complex *)(void *)s->moved;
  double sum             = 0;
  for (int64_t z = 0; z < s->slices; z++)
    for (int64_t y = 0; y < s->padded[1]; y++) {
      double row = axis[0].weight[z + s->start] * axis[1].weight[y];
      for (int64_t x = 0; x < s->half; x++) {
        int64_t i    = (z * s->padded[1] + y) * s->half + x;
        double re[2] = {(double)crealf(a[i]), (double)crealf(b[i])};
        double im[2] = {(double)cimagf(a[i]), (double)cimagf(b[i])};
        double real = re[1] * re[0] + im[1] * im[0], imag = im[1] * re[0] - re[1] * im[0];
        double size = sqrt(real * real + imag * imag), weight = row * axis[2].weight[x];
        double scale = size > 1e-30 ? weight / size : 0;
        b[i]         = CMPLXF((float)(real * scale), (float)(imag * scale));
        sum += size > 1e-30 ? times(s, x) * weight : 0;
      }
    }
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, s->comm);
  return sum;
}

/* Whole-voxel place of the greatest value; the first of equals. `fixed` is used up. */
static enum status find_peak(struct spectra *s, int64_t most_px, int64_t peak[3]) {
  memcpy(s->fixed, s->moved, 2 * (size_t)s->size * sizeof(float));
  fftwf_plan plan =
      fftwf_mpi_plan_dft_c2r_3d(s->padded[0], s->padded[1], s->padded[2], (fftwf_complex *)s->fixed,
                                s->fixed, s->comm, FFTW_ESTIMATE);
  TRY_ALL(s->comm, plan ? STATUS_OK : FAIL(STATUS_INTERNAL, "FFTW has no plan for a volume"));
  fftwf_execute(plan);
  fftwf_destroy_plan(plan);
  struct {
    double value;
    int rank;
  } best       = {-INFINITY, 0};
  double at[3] = {0};
  MPI_Comm_rank(s->comm, &best.rank);
  for (int64_t z = 0; z < s->slices; z++)
    for (int64_t y = 0; y < s->padded[1]; y++)
      for (int64_t x = 0; x < s->padded[2]; x++) {
        const int64_t index[3] = {z + s->start, y, x};
        double value = (double)s->fixed[(z * s->padded[1] + y) * 2 * s->half + x], shift[3];
        if (!(value > best.value)) continue;
        bool near = true;
        for (int a = 0; a < 3; a++) {
          bool right = 2 * index[a] <= s->padded[a];
          shift[a]   = (double)(right ? index[a] : index[a] - s->padded[a]);
          near &= fabs(shift[a]) <= (double)most_px;
        }
        if (!near) continue;
        best.value = value;
        memcpy(at, shift, sizeof at);
      }
  MPI_Allreduce(MPI_IN_PLACE, &best, 1, MPI_DOUBLE_INT, MPI_MAXLOC, s->comm);
  MPI_Bcast(at, 3, MPI_DOUBLE, best.rank, s->comm);
  for (int a = 0; a < 3; a++) peak[a] = (int64_t)at[a];
  return STATUS_OK;
}

/* ---- below a voxel ---------------------------------------------------------------------------------------- */

enum { VALUE, BEND = 4, SUMS = 10 };

/* Value, slopes and second derivatives of the trigonometric sum at a shift. Along a row only the powers 0, 1, 2 of
 * the frequency are summed. */
static void sum_at(const struct spectra *s, const struct axis axis[3], const double shift[3],
                   double sums[SUMS]) {
  const float complex *b = (const float complex *)(const void *)s->moved;
  memset(sums, 0, SUMS * sizeof *sums);
  for (int a = 0; a < 3; a++)
    for (int64_t k = 0; k < (a < 2 ? s->padded[a] : s->half); k++)
      axis[a].turn[k] = cexp(2 * PI * I * axis[a].f[k] * shift[a]);
  for (int64_t z = 0; z < s->slices; z++)
    for (int64_t y = 0; y < s->padded[1]; y++) {
      const float complex *row = b + (z * s->padded[1] + y) * s->half;
      double real[3] = {0}, imag[3] = {0};
      for (int64_t x = 0; x < s->half; x++) {
        double f = axis[2].f[x], re = (double)crealf(row[x]), im = (double)cimagf(row[x]);
        double c = times(s, x) * creal(axis[2].turn[x]), d = times(s, x) * cimag(axis[2].turn[x]);
        double u = re * c - im * d, v = re * d + im * c;
        real[0] += u, real[1] += f * u, real[2] += f * f * u;
        imag[0] += v, imag[1] += f * v, imag[2] += f * f * v;
      }
      double complex turn = axis[0].turn[z + s->start] * axis[1].turn[y], sum[3];
      for (int k = 0; k < 3; k++) sum[k] = turn * (real[k] + I * imag[k]);
      double fz = axis[0].f[z + s->start], fy = axis[1].f[y], bend = -4 * PI * PI;
      const double term[SUMS] = {creal(sum[0]),
                                 -2 * PI * fz * cimag(sum[0]),
                                 -2 * PI * fy * cimag(sum[0]),
                                 -2 * PI * cimag(sum[1]),
                                 bend * fz * fz * creal(sum[0]),
                                 bend * fz * fy * creal(sum[0]),
                                 bend * fz * creal(sum[1]),
                                 bend * fy * fy * creal(sum[0]),
                                 bend * fy * creal(sum[1]),
                                 bend * creal(sum[2])};
      for (int k = 0; k < SUMS; k++) sums[k] += term[k];
    }
  MPI_Allreduce(MPI_IN_PLACE, sums, SUMS, MPI_DOUBLE, MPI_SUM, s->comm);
}

/* Newton's step; an axis of one voxel, or one that curves the wrong way, is left. */
static void newton(const double sums[SUMS], double step[3]) {
  const double *b = sums + BEND, scale = fabs(b[0]) + fabs(b[3]) + fabs(b[5]);
  double m[3][4] = {
      {b[0], b[1], b[2], -sums[1]},
      {b[1], b[3], b[4], -sums[2]},
      {b[2], b[4], b[5], -sums[3]}
  };
  for (int a = 0; a < 3; a++) {
    if (m[a][a] < -1e-9 * scale) continue;
    for (int c = 0; c < 4; c++) m[a][c] = 0;
    for (int r = 0; r < 3; r++) m[r][a] = 0;
    m[a][a] = -1;
  }
  for (int a = 0; a < 3; a++)
    for (int r = 0; r < 3; r++) {
      if (r == a) continue;
      double part = m[r][a] / m[a][a];
      for (int c = 0; c < 4; c++) m[r][c] -= part * m[a][c];
    }
  for (int a = 0; a < 3; a++) step[a] = fmin(fmax(m[a][3] / m[a][a], -0.5), 0.5);
}

static void refine(const struct spectra *s, const struct axis axis[3], const int64_t peak[3],
                   double shift[3], double *value) {
  double sums[SUMS], step[3], size = 1;
  for (int a = 0; a < 3; a++) shift[a] = (double)peak[a];
  for (int i = 0; i < 8 && size > 1e-3; i++) {
    sum_at(s, axis, shift, sums);
    newton(sums, step);
    size = 0;
    for (int a = 0; a < 3; a++) {
      shift[a] = fmin(fmax(shift[a] + step[a], (double)peak[a] - 1), (double)peak[a] + 1);
      size     = fmax(size, fabs(step[a]));
    }
  }
  *value = sums[VALUE];
}

static enum status find(struct spectra *s, int64_t most_px, struct voxel_shift *shift) {
  struct axis axis[3] = {
      {NULL, NULL, NULL}
  };
  int64_t peak[3];
  double value = 0;
  TRY_ALL(s->comm, axes_make(s, axis));
  double weight      = whiten(s, axis);
  enum status status = find_peak(s, most_px, peak);
  if (status == STATUS_OK) refine(s, axis, peak, shift->shift_px, &value);
  memory_free(axis[0].f);
  shift->peak = weight > 0 ? value / weight : 0;
  for (int a = 0; a < 3; a++) shift->shift_px[a] = round(100 * shift->shift_px[a]) / 100 + 0.0;
  return status;
}

enum status voxel_shift_find(MPI_Comm comm, const struct grid_field *fixed,
                             const struct grid_field *moved, int64_t most_px,
                             struct voxel_shift *shift) {
  struct spectra s;
  memset(shift, 0, sizeof *shift);
  TRY_ALL(comm, fault_here("voxel.shift"));
  enum status status = spectra_make(comm, fixed->plan.n, &s);
  if (status == STATUS_OK) status = load(&s, fixed, s.fixed);
  if (status == STATUS_OK) status = load(&s, moved, s.moved);
  if (status == STATUS_OK) status = find(&s, most_px, shift);
  spectra_free(&s);
  return status;
}
