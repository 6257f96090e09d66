/* The rotation axis. Half a turn: the sinogram and its mirror image, shifted, make a full turn; only for the right
 * shift does its transform vanish outside the double wedge (Vo et al., Optics Express 22, 19078, 2014). A full turn:
 * opposite projections are mirror images, on the columns both see, however few these are. Candidates are dealt to the ranks; each is computed by one rank alone, so
 * the result does not depend on their number. Coarse on columns summed in groups, then in half pixels. */
#include "recon_private.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

/* Share of the columns that opposite projections have in common at least. */
#define OVERLAP_LEAST 0.05

struct search {
  int64_t angles, columns; /* of the (binned) sinogram */
  float *sinogram;         /* [angles][columns] */
  const double *angle_rad;
  bool full_turn;
  int64_t step; /* of the projections compared with their opposites */
  float *stack; /* [2 angles - 1][columns] */
  fftwf_complex *transform;
  fftwf_plan plan;
};

/* Value at a fractional column by linear interpolation; NaN beyond the detector. */
static float at_column(const float *row, int64_t columns, double at) {
  if (!(at >= 0 && at <= (double)(columns - 1))) return NAN;
  int64_t i = (int64_t)at;
  if (i == columns - 1) return row[i];
  float share = (float)(at - (double)i);
  return row[i] + share * (row[i + 1] - row[i]);
}

/* Mirrored rows under the sinogram; columns the mirror does not reach come from the projection half a turn away in
 * order, as in the paper, so that the edge adds no energy of its own. */
static void stack_for(const struct search *s, double centre) {
  int64_t n = s->columns;
  memcpy(s->stack, s->sinogram, (size_t)(s->angles * n) * sizeof *s->stack);
  for (int64_t a = 1; a < s->angles; a++) {
    const float *row = s->sinogram + a * n, *other = s->sinogram + (s->angles - 1 - a) * n;
    float *to = s->stack + (s->angles + a - 1) * n;
    for (int64_t c = 0; c < n; c++) {
      float value = at_column(row, n, 2 * centre - (double)c);
      to[c]       = isnan(value) ? other[c] : value;
    }
  }
}

/* Mean size of the transform outside the double wedge of an object as wide as half the detector. */
static double wedge_energy(const struct search *s, double centre) {
  int64_t rows = 2 * s->angles - 1, n = s->columns, drop = (int64_t)ceil(0.05 * (double)rows);
  double sum = 0, count = 0, radius = 0.25 * (double)n;
  if (drop > 20) drop = 20;
  stack_for(s, centre);
  fftwf_execute(s->plan);
  for (int64_t i = 0; i < rows; i++) {
    int64_t v = i <= rows / 2 ? i : i - rows;
    if (v >= -drop && v <= drop) continue;
    int64_t widest = (int64_t)ceil(fabs((double)v) * (double)(rows - 1) / ((double)rows * 2 * PI) /
                                   radius * (double)n);
    for (int64_t k = 2; k <= n / 2 && k <= widest; k++) {
      const float *t = s->transform[i * (n / 2 + 1) + k];
      sum += sqrt((double)(t[0] * t[0] + t[1] * t[1]));
      count++;
    }
  }
  return count > 0 ? sum / count : 0;
}

static double turned(double angle_rad) {
  double t = fmod(angle_rad, 2 * PI);
  return t < 0 ? t + 2 * PI : t;
}

/* The projection half a turn after `a`, or -1 when none is within half a step. */
static int64_t opposite(const struct search *s, int64_t a) {
  double want = turned(s->angle_rad[a] + PI), best = PI / (double)s->angles;
  int64_t found = -1;
  for (int64_t b = 0; b < s->angles; b++) {
    double d = fabs(turned(s->angle_rad[b]) - want);
    d        = d > PI ? 2 * PI - d : d;
    if (d <= best) best = d, found = b;
  }
  return found;
}

/* 1 - concordance (Lin, Biometrics 45, 255, 1989) of opposite projections, mirrored about the centre, over the
 * columns both see. Where a correlation would take any two slopes for alike, it asks for equal values as well. */
static double mismatch(const struct search *s, double centre) {
  double sum_x = 0, sum_y = 0, xx = 0, yy = 0, xy = 0, count = 0;
  int64_t n = s->columns;
  for (int64_t a = 0; a < s->angles; a += s->step) {
    int64_t b = opposite(s, a);
    for (int64_t c = 0; c < n && b >= 0; c++) {
      double y = (double)at_column(s->sinogram + b * n, n, 2 * centre - (double)c);
      double x = (double)s->sinogram[a * n + c];
      if (isnan(y)) continue;
      sum_x += x, sum_y += y, xx += x * x, yy += y * y, xy += x * y, count++;
    }
  }
  if (count < OVERLAP_LEAST * (double)(n * s->angles / s->step)) return 2;
  double cover = xy - sum_x * sum_y / count, apart = (sum_x - sum_y) * (sum_x - sum_y) / count;
  double spread = xx - sum_x * sum_x / count + yy - sum_y * sum_y / count + apart;
  return spread > 0 ? 1 - 2 * cover / spread : 2;
}

static void search_free(struct search *s) {
  if (s->plan) fftwf_destroy_plan(s->plan);
  fftwf_free(s->transform);
  fftwf_free(s->stack);
  memory_free(s->sinogram);
}

/* (1 2 1)/4 along rows or columns, `times` over: less noise against the wedge's energy. */
static void smooth(float *value, int64_t lines, int64_t line_step, int64_t n, int64_t step,
                   int times) {
  for (int k = 0; k < times; k++)
    for (int64_t i = 0; i < lines; i++) {
      float *at = value + i * line_step, before = at[0];
      for (int64_t j = 0; j < n; j++) {
        float here = at[j * step], after = j + 1 < n ? at[(j + 1) * step] : here;
        at[j * step] = 0.25f * before + 0.5f * here + 0.25f * after;
        before       = here;
      }
    }
}

static enum status search_make(const float *sinogram, const double *angle_rad, int64_t angles,
                               int64_t columns, int64_t bin, bool full_turn, struct search *s) {
  *s = (struct search){.angles    = angles,
                       .columns   = columns / bin,
                       .angle_rad = angle_rad,
                       .full_turn = full_turn,
                       .step      = bin > 1 ? 1 + angles / 64 : 1};
  TRY(memory_make(angles * s->columns, sizeof *s->sinogram, "a binned sinogram", &s->sinogram));
  for (int64_t a = 0; a < angles; a++)
    for (int64_t c = 0; c < s->columns; c++)
      for (int64_t k = 0; k < bin; k++)
        s->sinogram[a * s->columns + c] += sinogram[a * columns + c * bin + k] / (float)bin;
  if (bin == 1) smooth(s->sinogram, angles, s->columns, s->columns, 1, 4);
  smooth(s->sinogram, s->columns, 1, angles, s->columns, 6);
  if (full_turn) return STATUS_OK;
  int64_t rows = 2 * angles - 1;
  s->stack     = fftwf_alloc_real((size_t)(rows * s->columns));
  s->transform = fftwf_alloc_complex((size_t)(rows * (s->columns / 2 + 1)));
  if (!s->stack || !s->transform)
    return FAIL(STATUS_MEMORY, "no memory for the search of the centre");
  s->plan =
      fftwf_plan_dft_r2c_2d((int)rows, (int)s->columns, s->stack, s->transform, FFTW_ESTIMATE);
  return STATUS_OK;
}

enum { CANDIDATES_MOST = 4096 };

/* Costs of n candidates from `first` in steps; the least wins, the lower one of equals. */
static int64_t best_of(MPI_Comm comm, const struct search *s, double first, double step, int64_t n,
                       double *cost) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  for (int64_t i = 0; i < n; i++) {
    cost[i] = 0;
    if (i % size == rank)
      cost[i] = s->full_turn ? mismatch(s, first + step * (double)i)
                             : wedge_energy(s, first + step * (double)i);
  }
  MPI_Allreduce(MPI_IN_PLACE, cost, (int)n, MPI_DOUBLE, MPI_SUM, comm);
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (cost[i] < cost[best]) best = i;
  return best;
}

/* Candidates are multiples of half a pixel, where the mirrored columns need no interpolation (which would smooth
 * the noise and draw the minimum to quarter pixels); a parabola through five of them gives the fraction. */
static enum status refine(MPI_Comm comm, const float *sinogram, const double *angle_rad,
                          int64_t angles, int64_t columns, bool full_turn, double reach,
                          double *cost, double *centre) {
  struct search s;
  enum status status =
      AGREE(comm, search_make(sinogram, angle_rad, angles, columns, 1, full_turn, &s));
  if (status == STATUS_OK) {
    double first = round(2 * (*centre - reach)) / 2;
    *centre = first + 0.5 * (double)best_of(comm, &s, first, 0.5, (int64_t)(4 * reach) + 1, cost);
    best_of(comm, &s, *centre - 1, 0.5, 5, cost);
    double slope = (2 * cost[4] + cost[3] - cost[1] - 2 * cost[0]) / 10;
    double bend  = (2 * cost[0] - cost[1] - 2 * cost[2] - cost[3] + 2 * cost[4]) / 7;
    double step  = bend > 0 ? -slope / bend : 0;
    *centre += 0.5 * fmin(fmax(step, -1), 1);
    *centre = round(*centre * 100) / 100;
  }
  search_free(&s);
  return status;
}

enum status recon_centre(MPI_Comm comm, const float *sinogram, const double *angle_rad,
                         int64_t angles, int64_t columns, bool full_turn, double *centre_px,
                         bool *at_edge) {
  struct search s;
  double *cost = NULL;
  int64_t bin  = (columns + 255) / 256;
  enum status status =
      AGREE(comm, memory_make(CANDIDATES_MOST, sizeof *cost, "costs of centres", &cost));
  if (status == STATUS_OK)
    status = AGREE(comm, search_make(sinogram, angle_rad, angles, columns, bin, full_turn, &s));
  if (status == STATUS_OK) {
    double low = full_turn ? 0.03 : 0.2, first = round(2 * low * (double)(s.columns - 1)) / 2;
    int64_t n    = (int64_t)((1 - 2 * low) * (double)(s.columns - 1) / 0.5) + 1;
    int64_t best = best_of(comm, &s, first, 0.5, n, cost);
    *at_edge     = best < 2 || best > n - 3;
    *centre_px   = (first + 0.5 * (double)best + 0.5) * (double)bin - 0.5;
    search_free(&s);
    status = refine(comm, sinogram, angle_rad, angles, columns, full_turn, 1.5 * (double)bin, cost,
                    centre_px);
  }
  memory_free(cost);
  return status;
}
