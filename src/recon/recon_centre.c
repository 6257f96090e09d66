/* The rotation axis.
 *   vo       half a turn: the sinogram and its mirror image, shifted, make a full turn; only for the right shift does
 *            its transform vanish outside the double wedge (Vo et al., Optics Express 22, 19078, 2014).
 *   overlap  a full turn: opposite projections are mirror images, on the columns both see, however few these are.
 *   entropy  the slice of the right axis has the least entropy of its grey values (Donath, Beckmann and Schreyer,
 *            Journal of the Optical Society of America A 23, 1048, 2006).
 *   phase    the phases of the projections half a turn apart, one of them mirrored, tell their shift.
 * Candidates are dealt to the ranks; each is computed by one rank alone, so the result does not depend on their
 * number. Coarse on columns summed in groups, then in half pixels. */
#include "recon_centre.h"
#include "recon_prepare.h"
#include "recon_private.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

/* Share of the columns that opposite projections have in common at least. */
#define OVERLAP_LEAST 0.05

enum method { WEDGE, OVERLAP, ENTROPY };

struct search {
  int64_t angles, columns; /* of the (binned) sinogram */
  float *sinogram;         /* [angles][columns] */
  const double *angle_rad;
  enum method method;
  int64_t step; /* of the projections compared with their opposites */
  double half;  /* columns to both sides of the axis that are compared; 0 = all that both see */
  float *stack; /* [2 angles - 1][columns] */
  fftwf_complex *transform;
  fftwf_plan plan;
  double *weight_rad;      /* entropy: of the angles; */
  struct recon_work *work; /* slices about the middle column, */
  float *shifted, *slice;  /* of sinograms shifted there, */
  double low, high;        /* their entropy over this range of values */
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
      if (s->half > 0 && fabs((double)c - centre) > s->half) continue;
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

/* ---- the sharpest slice ------------------------------------------------------------------------------------------- */

enum { TRIALS = 16, BINS = 256 };

static bool in_disc(int64_t i, int64_t n) {
  double middle = 0.5 * (double)(n - 1);
  return hypot((double)(i % n) - middle, (double)(i / n) - middle) <= 0.5 * middle;
}

/* -sum p log p of the grey values in the middle disc, in bins from low to high. */
static double entropy_of(const float *slice, int64_t n, double low, double high) {
  double count[BINS] = {0}, total = 0, sum = 0;
  for (int64_t i = 0; i < n * n; i++) {
    if (!in_disc(i, n)) continue;
    double t = high > low ? ((double)slice[i] - low) / (high - low) : 0;
    count[(int)(fmin(fmax(t, 0), 1) * (BINS - 1))]++;
    total++;
  }
  for (int k = 0; k < BINS; k++)
    if (count[k] > 0) sum -= count[k] / total * log(count[k] / total);
  return sum;
}

/* Slices of all trials in one batch: the sinogram moves, the axis stays in the middle. */
static enum status entropies(struct search *s, const double *centre, int n, double *cost) {
  int64_t samples = s->angles * s->columns, pixels = s->columns * s->columns;
  double middle = 0.5 * (double)(s->columns - 1);
  for (int i = 0; i < n; i++)
    TRY(recon_shift(s->sinogram, s->angles, s->columns, middle - centre[i], s->columns,
                    s->shifted + i * samples));
  TRY(recon_work_slices(s->work, s->shifted, n, s->slice));
  for (int i = 0; i < n; i++)
    cost[i] = entropy_of(s->slice + i * pixels, s->columns, s->low, s->high);
  return STATUS_OK;
}

static enum status entropy_make(struct search *s) {
  TRY(memory_make(s->angles, sizeof *s->weight_rad, "weights of angles", &s->weight_rad));
  TRY(recon_weights(s->angle_rad, s->angles, s->weight_rad));
  struct recon_geometry g = {.columns    = s->columns,
                             .angles     = s->angles,
                             .angle_rad  = s->angle_rad,
                             .weight_rad = s->weight_rad,
                             .centre_px  = 0.5 * (double)(s->columns - 1),
                             .filter     = "hann",
                             .rolloff    = 1};
  TRY(memory_make(TRIALS * s->angles * s->columns, sizeof *s->shifted, "sinograms", &s->shifted));
  TRY(memory_make(TRIALS * s->columns * s->columns, sizeof *s->slice, "slices", &s->slice));
  TRY(recon_work_make("gridding", &g, &s->work));
  /* the range of grey values, from the slice about the middle */
  TRY(recon_work_slices(s->work, s->sinogram, 1, s->slice));
  s->low = s->high = (double)s->slice[s->columns / 2 * (s->columns + 1)];
  for (int64_t i = 0; i < s->columns * s->columns; i++) {
    if (!in_disc(i, s->columns)) continue;
    s->low  = fmin(s->low, (double)s->slice[i]);
    s->high = fmax(s->high, (double)s->slice[i]);
  }
  return STATUS_OK;
}

/* ---- the search ------------------------------------------------------------------------------------------------------ */

static void search_free(struct search *s) {
  if (s->plan) fftwf_destroy_plan(s->plan);
  fftwf_free(s->transform);
  fftwf_free(s->stack);
  recon_work_free(&s->work);
  memory_free(s->weight_rad);
  memory_free(s->shifted);
  memory_free(s->slice);
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
                               int64_t columns, int64_t bin, enum method method, struct search *s) {
  *s = (struct search){.angles    = angles,
                       .columns   = columns / bin,
                       .angle_rad = angle_rad,
                       .method    = method,
                       .step      = bin > 1 ? 1 + angles / 64 : 1};
  TRY(memory_make(angles * s->columns, sizeof *s->sinogram, "a binned sinogram", &s->sinogram));
  for (int64_t a = 0; a < angles; a++)
    for (int64_t c = 0; c < s->columns; c++)
      for (int64_t k = 0; k < bin; k++)
        s->sinogram[a * s->columns + c] += sinogram[a * columns + c * bin + k] / (float)bin;
  if (method != ENTROPY) {
    if (bin == 1) smooth(s->sinogram, angles, s->columns, s->columns, 1, 4);
    smooth(s->sinogram, s->columns, 1, angles, s->columns, 6);
  }
  if (method == OVERLAP) return STATUS_OK;
  if (method == ENTROPY) return entropy_make(s);
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

/* Trials of one rank: one after the other, or as many slices as a batch holds. */
static enum status costs_here(struct search *s, double first, double step, int64_t n, int rank,
                              int size, double *cost) {
  int64_t each = s->method == ENTROPY ? TRIALS : 1;
  for (int64_t i = 0; i < n; i++) cost[i] = 0;
  for (int64_t i = rank * each; i < n; i += size * each) {
    double centre[TRIALS];
    int here = (int)(n - i < each ? n - i : each);
    for (int k = 0; k < here; k++) centre[k] = first + step * (double)(i + k);
    if (s->method == ENTROPY)
      TRY(entropies(s, centre, here, cost + i));
    else
      cost[i] = s->method == OVERLAP ? mismatch(s, centre[0]) : wedge_energy(s, centre[0]);
  }
  return STATUS_OK;
}

/* Costs of n candidates from `first` in steps; the least wins, the lower one of equals. */
static enum status best_of(MPI_Comm comm, struct search *s, double first, double step, int64_t n,
                           double *cost, int64_t *best) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  TRY_ALL(comm, costs_here(s, first, step, n, rank, size, cost));
  MPI_Allreduce(MPI_IN_PLACE, cost, (int)n, MPI_DOUBLE, MPI_SUM, comm);
  *best = 0;
  for (int64_t i = 1; i < n; i++)
    if (cost[i] < cost[*best]) *best = i;
  return STATUS_OK;
}

/* Candidates are multiples of half a pixel, where the mirrored columns need no interpolation (which would smooth
 * the noise and draw the minimum to quarter pixels); a parabola through five of them gives the fraction. */
static enum status refine_with(MPI_Comm comm, struct search *s, double reach, double *cost,
                               double *centre) {
  double first = round(2 * (*centre - reach)) / 2;
  int64_t best;
  TRY(best_of(comm, s, first, 0.5, (int64_t)(4 * reach) + 1, cost, &best));
  *centre = first + 0.5 * (double)best;
  TRY(best_of(comm, s, *centre - 1, 0.5, 5, cost, &best));
  double slope = (2 * cost[4] + cost[3] - cost[1] - 2 * cost[0]) / 10;
  double bend  = (2 * cost[0] - cost[1] - 2 * cost[2] - cost[3] + 2 * cost[4]) / 7;
  double step  = bend > 0 ? -slope / bend : 0;
  *centre += 0.5 * fmin(fmax(step, -1), 1);
  *centre = round(*centre * 100) / 100;
  return STATUS_OK;
}

static enum status refine(MPI_Comm comm, const struct recon_scanned *scan, enum method method,
                          double reach, double *cost, double *centre) {
  struct search s;
  enum status status = AGREE(comm, search_make(scan->sinogram, scan->angle_rad, scan->angles,
                                               scan->columns, 1, method, &s));
  /* the same number of columns for all: what comes in at their ends would draw the minimum */
  s.half = fmin(*centre, (double)(scan->columns - 1) - *centre) - reach - 1;
  if (s.half < OVERLAP_LEAST * (double)scan->columns) s.half = 0;
  if (status == STATUS_OK) status = refine_with(comm, &s, reach, cost, centre);
  search_free(&s);
  return status;
}

/* The minimum that lies deepest between the heights to both its sides: where the object leaves the columns that the
 * mirror image reaches, costs fall as well, but do not rise again. */
static int64_t deepest(const double *cost, int64_t n) {
  enum { AROUND = 40 };
  double most  = -INFINITY;
  int64_t best = 0;
  for (int64_t i = 0; i < n; i++) {
    double left = cost[i], right = cost[i];
    for (int64_t k = 1; k <= AROUND; k++) {
      if (i - k >= 0) left = fmax(left, cost[i - k]);
      if (i + k < n) right = fmax(right, cost[i + k]);
    }
    double depth = fmin(left, right) - cost[i];
    if (depth > most) most = depth, best = i;
  }
  return best;
}

/* The least within the range, on columns summed in groups; `all`: of every plausible column. */
static enum status find_roughly(MPI_Comm comm, const struct recon_scanned *scan, enum method method,
                                int64_t bin, double low, double high, bool all, double *cost,
                                double *centre, bool *at_edge) {
  struct search s;
  enum status status = AGREE(comm, search_make(scan->sinogram, scan->angle_rad, scan->angles,
                                               scan->columns, bin, method, &s));
  if (status == STATUS_OK) {
    double first = ceil(2 * (low + 0.5) / (double)bin - 1) / 2,
           last  = floor(2 * (high + 0.5) / (double)bin - 1) / 2;
    int64_t n    = (int64_t)(2 * (last - first)) + 1, best;
    if (n < 1) n = 1;
    if (n > CANDIDATES_MOST) n = CANDIDATES_MOST;
    status = best_of(comm, &s, first, 0.5, n, cost, &best);
    if (status == STATUS_OK) {
      if (method != OVERLAP && all) best = deepest(cost, n);
      *at_edge = n > 5 && (best < 2 || best > n - 3);
      *centre  = (first + 0.5 * (double)best + 0.5) * (double)bin - 0.5;
    }
  }
  search_free(&s);
  return status;
}

/* ---- phases ------------------------------------------------------------------------------------------------------------ */

/* Sums a pair's cross spectrum, phases alone. line[2 n], t[2][n + 1]. */
static void add_pair(const float *a, const float *b, int64_t n, float *line, fftwf_complex *t,
                     fftwf_plan plan, fftwf_complex *sum) {
  for (int k = 0; k < 2; k++) {
    double mean = 0;
    for (int64_t c = 0; c < n; c++) mean += (double)(k ? b[n - 1 - c] : a[c]) / (double)n;
    memset(line, 0, (size_t)(2 * n) * sizeof *line);
    for (int64_t c = 0; c < n; c++) {
      double hann = 0.5 - 0.5 * cos(2 * PI * ((double)c + 0.5) / (double)n);
      line[c]     = (float)(hann * ((double)(k ? b[n - 1 - c] : a[c]) - mean));
    }
    fftwf_execute_dft_r2c(plan, line, t + k * (n + 1));
  }
  for (int64_t k = 1; k <= n; k++) {
    const float *x = t[k], *y = t[n + 1 + k];
    double re = (double)(x[0] * y[0] + x[1] * y[1]), im = (double)(x[1] * y[0] - x[0] * y[1]);
    double f = (double)k / (double)n, size = hypot(re, im) + 1e-30;
    double share = exp(-0.5 * f * f / 0.04) / size; /* the high ones are noise */
    sum[k][0] += (float)(re * share);
    sum[k][1] += (float)(im * share);
  }
}

/* Where the pairs' common shift lies, with the parabola's fraction. */
static double peak_of(const float *value, int64_t n, double low, double high) {
  int64_t best = -1;
  for (int64_t i = 0; i < 2 * n; i++) {
    double centre = 0.5 * (double)(n - 1 + (i < n ? i : i - 2 * n));
    if (centre >= low && centre <= high && (best < 0 || value[i] > value[best])) best = i;
  }
  if (best < 0) best = 0;
  double before = (double)value[(best + 2 * n - 1) % (2 * n)], here = (double)value[best],
         after = (double)value[(best + 1) % (2 * n)], bend = before - 2 * here + after;
  double part = bend < 0 ? 0.5 * (before - after) / bend : 0;
  return 0.5 * ((double)(n - 1) + (double)(best < n ? best : best - 2 * n) + part);
}

/* The projections that lie half a turn apart best: of half a turn the first and the last few, of a full turn all. */
static enum status find_by_phase(const struct recon_scanned *scan, double low, double high,
                                 double *centre) {
  int64_t n = scan->columns, angles = scan->angles;
  struct search s    = {.angles = angles, .angle_rad = scan->angle_rad};
  float *line        = fftwf_alloc_real((size_t)(2 * n));
  fftwf_complex *t   = fftwf_alloc_complex((size_t)(3 * (n + 1)));
  enum status status = STATUS_OK;
  if (line && t) {
    fftwf_complex *sum = t + 2 * (n + 1);
    fftwf_plan there = fftwf_plan_dft_r2c_1d((int)(2 * n), line, t, FFTW_ESTIMATE | FFTW_UNALIGNED),
               back  = fftwf_plan_dft_c2r_1d((int)(2 * n), sum, line, FFTW_ESTIMATE);
    memset(sum, 0, (size_t)(n + 1) * sizeof *sum);
    int64_t pairs = 0;
    for (int64_t a = 0; a < angles; a++) {
      int64_t b = opposite(&s, a);
      if (b <= a) continue;
      add_pair(scan->sinogram + a * n, scan->sinogram + b * n, n, line, t, there, sum);
      pairs++;
    }
    if (!pairs) add_pair(scan->sinogram, scan->sinogram + (angles - 1) * n, n, line, t, there, sum);
    fftwf_execute(back);
    *centre = round(100 * peak_of(line, n, low, high)) / 100;
    fftwf_destroy_plan(there);
    fftwf_destroy_plan(back);
  } else
    status = FAIL(STATUS_MEMORY, "no memory for the search of the centre");
  fftwf_free(line);
  fftwf_free(t);
  return status;
}

/* ---- all ------------------------------------------------------------------------------------------------------------------- */

static enum method method_of(const char *name, bool full_turn) {
  if (strcmp(name, "entropy") == 0) return ENTROPY;
  if (strcmp(name, "overlap") == 0 || (full_turn && strcmp(name, "auto") == 0)) return OVERLAP;
  return WEDGE;
}

enum status recon_centre_by(MPI_Comm comm, const char *name, const struct recon_scanned *scan,
                            double low, double high, double *centre_px, bool *at_edge) {
  enum method method = method_of(name, scan->full_turn);
  bool all           = isnan(low) && isnan(high);
  double last = (double)(scan->columns - 1), margin = method == OVERLAP ? 0.03 : 0.15;
  if (isnan(low)) low = margin * last;
  if (isnan(high)) high = (1 - margin) * last;
  *at_edge = false;
  if (strcmp(name, "phase") == 0) {
    TRY_ALL(comm, find_by_phase(scan, low, high, centre_px));
    *at_edge = *centre_px < low + 1 || *centre_px > high - 1;
    return STATUS_OK;
  }
  double *cost = NULL;
  int64_t bin  = (scan->columns + 255) / 256;
  TRY_ALL(comm, memory_make(CANDIDATES_MOST, sizeof *cost, "costs of centres", &cost));
  enum status status =
      find_roughly(comm, scan, method, bin, low, high, all, cost, centre_px, at_edge);
  if (status == STATUS_OK) status = refine(comm, scan, method, 1.5 * (double)bin, cost, centre_px);
  memory_free(cost);
  return status;
}

enum status recon_centre(MPI_Comm comm, const float *sinogram, const double *angle_rad,
                         int64_t angles, int64_t columns, bool full_turn, double *centre_px,
                         bool *at_edge) {
  const struct recon_scanned scan = {sinogram, angle_rad, angles, columns, full_turn};
  return recon_centre_by(comm, "auto", &scan, NAN, NAN, centre_px, at_edge);
}

/* ---- scans side by side ------------------------------------------------------------------------------------------------------ */

/* 1 - concordance of what two scans both see when b lies `shift` columns right of a; 2: too little. */
static double disagreement(const float *a, const float *b, int64_t angles, int64_t columns,
                           int64_t shift, int64_t step) {
  double sum_x = 0, sum_y = 0, xx = 0, yy = 0, xy = 0, n = 0;
  int64_t from = shift > 0 ? shift : 0, to = shift > 0 ? columns : columns + shift;
  if ((double)(to - from) < OVERLAP_LEAST * (double)columns) return 2;
  for (int64_t i = 0; i < angles; i += step)
    for (int64_t c = from; c < to; c++) {
      double x = (double)a[i * columns + c], y = (double)b[i * columns + c - shift];
      sum_x += x, sum_y += y, xx += x * x, yy += y * y, xy += x * y, n++;
    }
  double cover = xy - sum_x * sum_y / n, apart = (sum_x - sum_y) * (sum_x - sum_y) / n;
  double spread = xx - sum_x * sum_x / n + yy - sum_y * sum_y / n + apart;
  return spread > 0 ? 1 - 2 * cover / spread : 2;
}

double recon_overlap_find(const float *a, const float *b, int64_t angles, int64_t columns,
                          double *shift_px) {
  double least = 2;
  int64_t best = 0, step = 1 + angles / 90;
  for (int64_t s = 1 - columns; s < columns; s++) {
    double d = disagreement(a, b, angles, columns, s, step);
    if (d < least) least = d, best = s;
  }
  double d[3];
  for (int k = 0; k < 3; k++) d[k] = disagreement(a, b, angles, columns, best + k - 1, 1);
  double bend = d[0] - 2 * d[1] + d[2];
  *shift_px   = (double)best + (bend > 0 && d[0] < 2 && d[2] < 2 ? 0.5 * (d[0] - d[2]) / bend : 0);
  *shift_px   = round(*shift_px * 100) / 100;
  return 1 - least;
}
