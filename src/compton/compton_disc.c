/* The homogeneous disc. Every pixel's peak is fitted by the disc's line shape, its width free. How far the lines are off
 * where the angles put them has two reasons that one measurement cannot tell apart in the mean: the angle and the energy
 * scale. The scale came from a source and is right in the mean of thousands of pixels, so the mean is given to the angle;
 * what is left of a single pixel is its scale. */
#include "compton_disc.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ODD_DEVIATIONS 8.0
#define MAD_TO_SIGMA   1.4826
#define AGAIN_DEG      0.05 /* an offset over which shapes are fitted anew */
#define SLOPE_LEAST    0.5
#define SLOPE_KNOWN    0.1 /* error of a slope that is believed */

enum { OF_LINE, OF_WIDTH, OF_FLAT, OF_EXPECTED, OF_ALL };

static void fit_one(struct compton_table *t, const struct compton_fit_settings *settings,
                    const struct compton_cube *cube, int64_t p, double angle,
                    struct compton_disc_pixel *pixel, enum status *status) {
  struct compton_peak peak = {.bins = 0};
  *pixel                   = (struct compton_disc_pixel){
                        .line_kev = (double)NAN, .fwhm_kev = (double)NAN, .flat = (double)NAN};
  if (cube->bad[p]) pixel->flags = COMPTON_DISC_BAD;
  if (pixel->flags || *status != STATUS_OK) return;
  *status = compton_fit_pixel(t, settings, cube->count + p * cube->bins, angle, &peak);
  if (*status != STATUS_OK) return;
  if (!peak.converged || !(peak.value[COMPTON_FIT_AMPLITUDE] > 0)) {
    pixel->flags = COMPTON_DISC_LOST;
    return;
  }
  pixel->line_kev       = peak.value[COMPTON_FIT_LINE];
  pixel->fwhm_kev       = peak.value[COMPTON_FIT_WIDTH];
  pixel->flat           = peak.value[COMPTON_FIT_AMPLITUDE];
  pixel->line_sigma_kev = sqrt(peak.covariance[COMPTON_FIT_LINE][COMPTON_FIT_LINE]);
  pixel->fwhm_sigma_kev = sqrt(peak.covariance[COMPTON_FIT_WIDTH][COMPTON_FIT_WIDTH]);
  pixel->flat_sigma     = sqrt(peak.covariance[COMPTON_FIT_AMPLITUDE][COMPTON_FIT_AMPLITUDE]);
}

static double angle_of(const struct compton_cube *cube, const struct compton_geometry *g,
                       int64_t p) {
  int64_t at = cube->pixel0 + p;
  return compton_angle(g, (double)(at / cube->columns), (double)(at % cube->columns));
}

static enum status fit_here(struct compton_table *t, const struct compton_cube *cube,
                            const struct compton_geometry *g, const double part[COMPTON_SHAPES],
                            bool step, struct compton_disc_pixel *pixel) {
  struct compton_fit_settings settings = {.free = COMPTON_FIT_THREE | 1U << COMPTON_FIT_WIDTH |
                                                  (step ? 1U << COMPTON_FIT_STEP : 0)};
  enum status status                   = fault_here("compton.disc");
  memcpy(settings.part, part, sizeof settings.part);
  for (int64_t p = 0; p < cube->pixels; p++)
    fit_one(t, &settings, cube, p, angle_of(cube, g, p), &pixel[p], &status);
  return status;
}

/* ---- over all pixels --------------------------------------------------------------------------------------- */

struct whole {
  int64_t n;      /* pixels of the detector */
  double *value;  /* [OF_ALL][n], 0: none; alike on all ranks */
  double *sorted; /* [n] */
};

static void gather(MPI_Comm comm, const struct compton_cube *cube, const struct compton_geometry *g,
                   double beam_kev, const struct compton_disc_pixel *pixel, struct whole *w) {
  memset(w->value, 0, (size_t)(OF_ALL * w->n) * sizeof *w->value);
  for (int64_t p = 0; p < cube->pixels; p++) {
    double *at = w->value + cube->pixel0 + p;
    if (pixel[p].flags) continue;
    at[OF_LINE * w->n]     = pixel[p].line_kev;
    at[OF_WIDTH * w->n]    = pixel[p].fwhm_kev;
    at[OF_FLAT * w->n]     = pixel[p].flat;
    at[OF_EXPECTED * w->n] = xray_line_kev(beam_kev, angle_of(cube, g, p));
  }
  for (int k = 0; k < OF_ALL; k++)
    MPI_Allreduce(MPI_IN_PLACE, w->value + k * w->n, (int)w->n, MPI_DOUBLE, MPI_SUM, comm);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* What a pixel is compared by: line over expected, width, flat. */
static double compared(const struct whole *w, int of, int64_t i) {
  double value = w->value[of * w->n + i];
  return of == OF_LINE && value > 0 ? value / w->value[OF_EXPECTED * w->n + i] : value;
}

static double middle_of(double *sorted, int64_t n) {
  if (!n) return 0;
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  return sorted[n / 2];
}

/* Median and robust deviation over pixels that have a value. */
static int64_t robust(const struct whole *w, int of, double *median, double *deviation) {
  int64_t n = 0;
  for (int64_t i = 0; i < w->n; i++)
    if (w->value[of * w->n + i] > 0) w->sorted[n++] = compared(w, of, i);
  *median = middle_of(w->sorted, n);
  for (int64_t k = 0; k < n; k++) w->sorted[k] = fabs(w->sorted[k] - *median);
  *deviation = MAD_TO_SIGMA * middle_of(w->sorted, n);
  return n;
}

/* Takes the odd ones out of `whole` and flags them here. */
static void drop_odd(const struct compton_cube *cube, struct compton_disc_pixel *pixel,
                     struct whole *w) {
  double median[OF_EXPECTED], deviation[OF_EXPECTED];
  for (int k = 0; k < OF_EXPECTED; k++) robust(w, k, &median[k], &deviation[k]);
  for (int64_t i = 0; i < w->n; i++) {
    bool odd = false;
    if (!(w->value[i] > 0)) continue;
    for (int k = 0; k < OF_EXPECTED; k++)
      odd = odd || (deviation[k] > 0 &&
                    fabs(compared(w, k, i) - median[k]) > ODD_DEVIATIONS * deviation[k]);
    if (!odd) continue;
    for (int k = 0; k < OF_ALL; k++) w->value[k * w->n + i] = 0;
    int64_t p = i - cube->pixel0;
    if (p >= 0 && p < cube->pixels) pixel[p].flags |= COMPTON_DISC_ODD;
  }
}

static double spread(const struct whole *w, int of, double mean, int64_t n) {
  double square = 0;
  for (int64_t i = 0; i < w->n; i++) {
    double off = compared(w, of, i) / mean - 1;
    if (w->value[i] > 0) square += off * off;
  }
  return n > 1 ? sqrt(square / (double)(n - 1)) : 0;
}

static double mean_of(const struct whole *w, int of, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < w->n; i++)
    if (w->value[i] > 0) sum += compared(w, of, i);
  return sum / (double)n;
}

/* Slope of lines seen over lines expected, and its error. */
static double slope_of(const struct whole *w, int64_t n, double *sigma) {
  double mx = 0, my = 0, xx = 0, xy = 0, yy = 0;
  const double *seen = w->value, *expected = w->value + OF_EXPECTED * w->n;
  for (int64_t i = 0; i < w->n; i++)
    if (seen[i] > 0) mx += expected[i] / (double)n, my += seen[i] / (double)n;
  for (int64_t i = 0; i < w->n; i++) {
    if (!(seen[i] > 0)) continue;
    double x = expected[i] - mx, y = seen[i] - my;
    xx += x * x, xy += x * y, yy += y * y;
  }
  double slope = xx > 0 ? xy / xx : 0;
  *sigma       = xx > 0 && n > 2 ? sqrt(fmax(yy - slope * xy, 0) / (double)(n - 2) / xx) : INFINITY;
  return slope;
}

/* The offset at which the lines are, in the mean, where they should be. */
static double offset_solve(const struct whole *w, double beam_kev, int64_t n) {
  double offset = 0;
  for (int pass = 0; pass < 8; pass++) {
    double sum = 0, slope = 0;
    for (int64_t i = 0; i < w->n; i++) {
      double seen = w->value[i], expected = w->value[OF_EXPECTED * w->n + i];
      if (!(seen > 0)) continue;
      double cosine = 1 - XRAY_MC2_KEV * (1 / expected - 1 / beam_kev);
      double angle  = acos(fmax(-1, fmin(1, cosine))) + offset,
             line   = xray_line_kev(beam_kev, angle);
      sum += seen / line - 1;
      slope += seen * sin(angle) / XRAY_MC2_KEV;
    }
    if (!(slope > 0)) break;
    offset -= sum / slope;
    if (fabs(sum) < 1e-10 * (double)n) break;
  }
  return offset;
}

static enum status orientation_check(const struct whole *w, int64_t n, double *slope) {
  double sigma;
  *slope = slope_of(w, n, &sigma);
  if (!(sigma < SLOPE_KNOWN) || *slope > SLOPE_LEAST) return STATUS_OK;
  if (*slope < -SLOPE_LEAST)
    return FAIL(
        STATUS_INPUT,
        "the disc's line rises where it should fall (slope %.2f of the expected): the image "
        "is turned about against the beam",
        *slope);
  return FAIL(STATUS_INPUT,
              "the disc's line does not follow the scattering angle (slope %.2f of the expected): "
              "another beam axis, or distances, would be right",
              *slope);
}

/* Fits, drops what is odd; result but for the offset. */
static enum status look(MPI_Comm comm, struct compton_table *t, double beam_kev,
                        const struct compton_cube *cube, const struct compton_geometry *g,
                        const double part[COMPTON_SHAPES], struct compton_disc_pixel *pixel,
                        struct whole *w, struct compton_disc_result *r) {
  double deviation;
  TRY_ALL(comm, fit_here(t, cube, g, part, true, pixel));
  gather(comm, cube, g, beam_kev, pixel, w);
  drop_odd(cube, pixel, w);
  r->good = robust(w, OF_WIDTH, &r->fwhm_kev, &deviation);
  if (r->good == 0)
    return AGREE(comm, FAIL(STATUS_INPUT, "no pixel shows the disc's Compton line"));
  r->line_spread  = spread(w, OF_LINE, mean_of(w, OF_LINE, r->good), r->good);
  r->width_spread = spread(w, OF_WIDTH, mean_of(w, OF_WIDTH, r->good), r->good);
  r->flat_spread  = spread(w, OF_FLAT, mean_of(w, OF_FLAT, r->good), r->good);
  return AGREE(comm, orientation_check(w, r->good, &r->orientation));
}

static void finish(const struct compton_cube *cube, double flat_mean,
                   struct compton_disc_pixel *pixel) {
  for (int64_t p = 0; p < cube->pixels; p++) {
    if (pixel[p].flags) {
      pixel[p].line_kev = pixel[p].fwhm_kev = pixel[p].flat = (double)NAN;
      continue;
    }
    pixel[p].flat /= flat_mean;
    pixel[p].flat_sigma /= flat_mean;
  }
}

enum status compton_disc_measure(MPI_Comm comm, struct compton_table *t,
                                 const struct compton_cube *cube,
                                 const struct compton_geometry *geometry,
                                 const double part[COMPTON_SHAPES],
                                 struct compton_disc_pixel *pixel, struct compton_disc_result *r) {
  struct compton_geometry g = *geometry;
  struct whole w            = {.n = cube->rows * cube->columns};
  double beam_kev           = compton_table_beam_kev(t);
  memset(r, 0, sizeof *r);
  enum status status = memory_make((OF_ALL + 1) * w.n, sizeof *w.value, "the disc", &w.value);
  TRY_ALL(comm, status);
  w.sorted = w.value + OF_ALL * w.n;
  status   = look(comm, t, beam_kev, cube, &g, part, pixel, &w, r);
  if (status == STATUS_OK) {
    double moved_deg = offset_solve(&w, beam_kev, r->good) * DEG_PER_RAD;
    g.offset_deg += moved_deg;
    if (fabs(moved_deg) > AGAIN_DEG) {
      status = look(comm, t, beam_kev, cube, &g, part, pixel, &w, r);
      if (status == STATUS_OK) g.offset_deg += offset_solve(&w, beam_kev, r->good) * DEG_PER_RAD;
    }
  }
  if (status == STATUS_OK) {
    double line         = xray_line_kev(beam_kev, geometry->angle_deg / DEG_PER_RAD);
    double per_rad      = line * sin(geometry->angle_deg / DEG_PER_RAD) / XRAY_MC2_KEV;
    r->offset_deg       = g.offset_deg - geometry->offset_deg;
    r->offset_sigma_deg = r->line_spread / sqrt((double)r->good) / per_rad * DEG_PER_RAD;
    finish(cube, mean_of(&w, OF_FLAT, r->good), pixel);
  }
  memory_free(w.value);
  return status;
}
