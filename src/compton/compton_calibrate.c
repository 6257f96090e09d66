/* Lines of Am-241 in the spectrum of one pixel, and the straight line through them.
 *
 * A line is fitted as a Gaussian integrated over each bin on a constant, by the greatest Poisson likelihood (Fisher
 * scoring: the normal equations with weights 1/model, steps halved until the deviance falls), between 1.5 sigma below
 * and 3 sigma above: charge lost in the sensor leaves a tail on the low side. The energies of the two L groups of
 * neptunium are means of lines closer than the resolution; what that may shift them by is added to their variance. */
#include "compton_calibrate.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
  double kev, sigma_kev; /* of the energy itself */
} am241[CALIBRATE_LINES] = {
    {59.5409, 0.005},
    {26.3446, 0.005},
    {17.75,   0.1  },
    {13.94,   0.03 }
};

enum { AREA, CENTRE, SIGMA, GROUND, SHAPE };
enum { STEPS_MOST = 60, HALVINGS_MOST = 12, LEAST_BINS = 8 };
#define SEARCH_SHARE    0.25 /* of 59.54 keV */
#define SEARCH_KEV      1.6  /* about the other lines */
#define SIGMA_KEV       0.34 /* to begin with */
#define BELOW_SIGMA     1.5
#define ABOVE_SIGMA     3.0
#define LEAST_NOISES    5.0  /* a line's area in its own sigmas */
#define CURVED_OF_THREE 15.1 /* chi2 with p = 1e-4 for one degree of freedom */
#define CURVED_OF_FOUR  18.4 /* and for two */

struct spectrum {
  const uint32_t *count;
  int64_t bins;
  double first, width; /* ADU */
};

struct window {
  int64_t begin, end;
};

static struct window window_of(const struct spectrum *of, double low, double high) {
  double begin = floor((low - of->first) / of->width), end = ceil((high - of->first) / of->width);
  struct window w = {(int64_t)fmax(begin, 0), (int64_t)fmin(end, (double)of->bins)};
  return w;
}

/* Centre of the span of `half` ADU to either side that holds most counts, within low .. high; NAN: no counts. */
static double busiest(const struct spectrum *of, double low, double high, double half) {
  struct window w = window_of(of, low, high);
  int64_t reach = (int64_t)fmax(1, round(half / of->width)), best = -1, most = 0;
  for (int64_t i = w.begin; i < w.end; i++) {
    int64_t sum = 0, from = i - reach < 0 ? 0 : i - reach, to = i + reach + 1;
    for (int64_t k = from; k < to && k < of->bins; k++) sum += of->count[k];
    if (sum > most) most = sum, best = i;
  }
  return best < 0 ? NAN : of->first + ((double)best + 0.5) * of->width;
}

/* Model of a bin and its derivatives by the four parameters. */
static double model(const struct spectrum *of, int64_t bin, const double p[SHAPE],
                    double slope[SHAPE]) {
  double a     = (of->first + (double)bin * of->width - p[CENTRE]) / p[SIGMA];
  double b     = a + of->width / p[SIGMA];
  double share = 0.5 * (erf(b / sqrt(2)) - erf(a / sqrt(2)));
  double ga = exp(-a * a / 2) / sqrt(2 * PI), gb = exp(-b * b / 2) / sqrt(2 * PI);
  slope[AREA]   = share;
  slope[CENTRE] = p[AREA] * (ga - gb) / p[SIGMA];
  slope[SIGMA]  = p[AREA] * (a * ga - b * gb) / p[SIGMA];
  slope[GROUND] = 1;
  return p[AREA] * share + p[GROUND];
}

static double deviance(const struct spectrum *of, struct window w, const double p[SHAPE]) {
  double sum = 0, slope[SHAPE];
  if (!(p[AREA] > 0) || !(p[SIGMA] > 0) || !(p[GROUND] >= 0)) return INFINITY;
  for (int64_t i = w.begin; i < w.end; i++) {
    double m = model(of, i, p, slope), n = of->count[i];
    if (!(m > 0)) return n > 0 ? INFINITY : sum;
    sum += 2 * (m - n + (n > 0 ? n * log(n / m) : 0));
  }
  return sum;
}

/* Fisher's matrix and the gradient of the log-likelihood. */
static void normal_equations(const struct spectrum *of, struct window w, const double p[SHAPE],
                             double matrix[SHAPE][SHAPE], double gradient[SHAPE]) {
  memset(matrix, 0, SHAPE * sizeof *matrix);
  memset(gradient, 0, SHAPE * sizeof *gradient);
  for (int64_t i = w.begin; i < w.end; i++) {
    double slope[SHAPE], m = fmax(model(of, i, p, slope), 1e-9);
    for (int r = 0; r < SHAPE; r++) {
      gradient[r] += slope[r] * (of->count[i] / m - 1);
      for (int c = 0; c < SHAPE; c++) matrix[r][c] += slope[r] * slope[c] / m;
    }
  }
}

/* Gauss-Jordan on a symmetric positive matrix: its inverse, in place. */
static bool invert(double a[SHAPE][SHAPE]) {
  for (int k = 0; k < SHAPE; k++) {
    double pivot = a[k][k];
    if (!(pivot > 1e-300)) return false;
    a[k][k] = 1;
    for (int c = 0; c < SHAPE; c++) a[k][c] /= pivot;
    for (int r = 0; r < SHAPE; r++) {
      if (r == k) continue;
      double factor = a[r][k];
      a[r][k]       = 0;
      for (int c = 0; c < SHAPE; c++) a[r][c] -= factor * a[k][c];
    }
  }
  return true;
}

/* One step of scoring; false: it can go no further. *done: it moved by less than a thousandth of its errors. */
static bool step_take(const struct spectrum *of, struct window w, double p[SHAPE], bool *done) {
  double matrix[SHAPE][SHAPE], gradient[SHAPE], step[SHAPE] = {0}, next[SHAPE], size = 0;
  normal_equations(of, w, p, matrix, gradient);
  if (!invert(matrix)) return false;
  for (int r = 0; r < SHAPE; r++)
    for (int c = 0; c < SHAPE; c++) step[r] += matrix[r][c] * gradient[c];
  for (int r = 0; r < SHAPE; r++) size += gradient[r] * step[r];
  *done       = size < 1e-6;
  double from = deviance(of, w, p);
  for (int k = 0; k < HALVINGS_MOST; k++) {
    for (int r = 0; r < SHAPE; r++) next[r] = p[r] + ldexp(step[r], -k);
    if (next[GROUND] < 0) next[GROUND] = 0;
    if (deviance(of, w, next) <= from) {
      memcpy(p, next, sizeof next);
      return true;
    }
  }
  return false; /* at a border, or rounding: where it stands is what there is */
}

struct line {
  double adu, sigma_adu, width_adu; /* width: sigma of the Gaussian */
};

/* Three times: the window follows the centre and width found before. */
static bool line_fit(const struct spectrum *of, double centre, double width, struct line *line) {
  double p[SHAPE] = {0, centre, width, 0}, matrix[SHAPE][SHAPE], gradient[SHAPE];
  struct window w;
  for (int pass = 0; pass < 3; pass++) {
    w = window_of(of, p[CENTRE] - BELOW_SIGMA * p[SIGMA], p[CENTRE] + ABOVE_SIGMA * p[SIGMA]);
    if (w.end - w.begin < LEAST_BINS) return false;
    double sum = 0;
    for (int64_t i = w.begin; i < w.end; i++) sum += of->count[i];
    if (!(sum > 0)) return false;
    if (pass == 0) p[AREA] = sum, p[GROUND] = 0.05 * sum / (double)(w.end - w.begin);
    bool done = false;
    for (int i = 0; i < STEPS_MOST && !done; i++)
      if (!step_take(of, w, p, &done)) break;
    if (fabs(p[CENTRE] - centre) > 3 * width || p[SIGMA] > 3 * width || p[SIGMA] < width / 5)
      return false;
  }
  normal_equations(of, w, p, matrix, gradient);
  if (!invert(matrix) || !(p[AREA] > LEAST_NOISES * sqrt(matrix[AREA][AREA]))) return false;
  *line = (struct line){p[CENTRE], sqrt(matrix[CENTRE][CENTRE]), p[SIGMA]};
  return true;
}

/* Weighted straight line energy = gain ADU + offset through the lines found. */
static void straight_line(struct compton_gain *g) {
  double s = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, slope = am241[0].kev / g->line_adu[0];
  for (int k = 0; k < CALIBRATE_LINES; k++) {
    if (g->line_adu[k] == 0) continue;
    double sigma = hypot(slope * g->line_sigma_adu[k], am241[k].sigma_kev), w = 1 / (sigma * sigma);
    double x = g->line_adu[k], y = am241[k].kev;
    s += w, sx += w * x, sy += w * y, sxx += w * x * x, sxy += w * x * y;
  }
  double det         = s * sxx - sx * sx;
  g->gain_kev        = (s * sxy - sx * sy) / det;
  g->offset_kev      = (sxx * sy - sx * sxy) / det;
  g->gain_variance   = s / det;
  g->offset_variance = sxx / det;
  g->covariance      = -sx / det;
  for (int k = 0; k < CALIBRATE_LINES; k++) {
    if (g->line_adu[k] == 0) continue;
    double off   = g->gain_kev * g->line_adu[k] + g->offset_kev - am241[k].kev;
    double sigma = hypot(slope * g->line_sigma_adu[k], am241[k].sigma_kev);
    g->chi2 += off * off / (sigma * sigma);
  }
  if ((g->lines == 3 && g->chi2 > CURVED_OF_THREE) || (g->lines == 4 && g->chi2 > CURVED_OF_FOUR))
    g->flags |= CALIBRATE_CURVED;
}

static void one_line(struct compton_gain *g) {
  double share     = g->line_sigma_adu[0] / g->line_adu[0];
  g->gain_kev      = am241[0].kev / g->line_adu[0];
  g->gain_variance = g->gain_kev * g->gain_kev * share * share;
  g->flags |= CALIBRATE_ONE_LINE;
}

void compton_calibrate_spectrum(const uint32_t *count, int64_t bins, double first_adu,
                                double bin_adu, double guess_kev, struct compton_gain *g) {
  struct spectrum of = {count, bins, first_adu, bin_adu};
  struct line line;
  int64_t all = 0;
  memset(g, 0, sizeof *g);
  for (int64_t i = 0; i < bins; i++) all += count[i];
  g->flags = all == 0 ? CALIBRATE_EMPTY : CALIBRATE_NO_LINE;
  if (all == 0) return;
  double at = am241[0].kev / guess_kev, width = SIGMA_KEV / guess_kev;
  double top = busiest(&of, at * (1 - SEARCH_SHARE), at * (1 + SEARCH_SHARE), width);
  if (isnan(top) || !line_fit(&of, top, width, &line)) return;
  double slope         = am241[0].kev / line.adu;
  g->flags             = 0;
  g->lines             = 1;
  g->line_adu[0]       = line.adu;
  g->line_sigma_adu[0] = line.sigma_adu;
  width                = SIGMA_KEV / slope;
  double wide          = line.width_adu;
  for (int k = 1; k < CALIBRATE_LINES; k++) {
    at  = am241[k].kev / slope;
    top = busiest(&of, at - SEARCH_KEV / slope, at + SEARCH_KEV / slope, width);
    if (isnan(top) || !line_fit(&of, top, width, &line)) continue;
    g->line_adu[k]       = line.adu;
    g->line_sigma_adu[k] = line.sigma_adu;
    g->lines++;
  }
  if (g->lines > 1)
    straight_line(g);
  else
    one_line(g);
  g->fwhm_kev = 2 * sqrt(2 * log(2)) * wide * g->gain_kev;
}

/* ---- a sensor ------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Medians of gain and resolution over the good pixels of all ranks; value[2][all pixels]. */
static void medians(MPI_Comm comm, const struct compton_cube *cube, const struct compton_gain *gain,
                    double *value, double median[2], int64_t *good) {
  int64_t all = cube->rows * cube->columns;
  for (int64_t p = 0; p < cube->pixels; p++) {
    if (gain[p].flags) continue;
    value[cube->pixel0 + p]       = gain[p].gain_kev;
    value[all + cube->pixel0 + p] = gain[p].fwhm_kev;
  }
  for (int k = 0; k < 2; k++) {
    double *of = value + k * all; /* 0: not good; each is set on one rank alone */
    MPI_Allreduce(MPI_IN_PLACE, of, (int)all, MPI_DOUBLE, MPI_SUM, comm);
    qsort(of, (size_t)all, sizeof *of, ascending);
    int64_t zeros = 0;
    while (zeros < all && of[zeros] == 0) zeros++;
    *good     = all - zeros;
    median[k] = *good ? of[zeros + *good / 2] : 0;
  }
}

enum status compton_calibrate_cube(MPI_Comm comm, const struct compton_cube *cube, double guess_kev,
                                   struct compton_gain *gain, int64_t *good) {
  double *value, median[2];
  enum status status = fault_here("compton.calibrate");
  if (status == STATUS_OK)
    status = memory_make(2 * cube->rows * cube->columns, sizeof *value, "gains", &value);
  TRY_ALL(comm, status);
  for (int64_t p = 0; p < cube->pixels; p++) {
    compton_calibrate_spectrum(cube->count + p * cube->bins, cube->bins, cube->first_kev,
                               cube->bin_kev, guess_kev, &gain[p]);
    if (cube->bad[p]) gain[p] = (struct compton_gain){.flags = CALIBRATE_EMPTY};
  }
  medians(comm, cube, gain, value, median, good);
  memory_free(value);
  if (*good == 0)
    return AGREE(
        comm, FAIL(STATUS_INPUT, "no pixel shows the lines of Am-241 about %g keV/ADU", guess_kev));
  int64_t odd = 0;
  for (int64_t p = 0; p < cube->pixels; p++) {
    struct compton_gain *g = &gain[p];
    if (g->flags ||
        (fabs(g->gain_kev - median[0]) <= 0.15 * median[0] && g->fwhm_kev <= 2 * median[1]))
      continue;
    g->flags |= CALIBRATE_ODD;
    odd++;
  }
  MPI_Allreduce(MPI_IN_PLACE, &odd, 1, MPI_INT64_T, MPI_SUM, comm);
  *good -= odd;
  return STATUS_OK;
}
