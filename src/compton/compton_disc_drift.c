/* Drift of the gain, followed by the line: one factor for all energies of all pixels. Single pixels of a short part of an
 * acquisition have too few counts, so the sum of all spectra is fitted by the sum of all pixels' line shapes, each at its
 * own angle, resolution and scale; the factor enters by its derivative, and the fit is repeated where it led. */
#include "compton_disc.h"
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

enum { PASSES_MOST = 12, SHAPE = 0, SLOPE, ONE, SHELF, COLUMNS };
#define SMALL_OF_SIGMA 0.01

struct drift {
  struct compton_table *table;
  const struct compton_pixels *pixels;
  double part[COMPTON_SHAPES];
  int64_t n;
  double *all, *sum; /* [1 + COLUMNS][n]: counts, columns of a pixel; of all */
  int64_t *fixed;
  double *integral, *density, *edge, *model, *weight, *right;
};

static enum status drift_make(struct drift *d) {
  int64_t n = d->n = d->table->end - d->table->begin, size = (1 + COLUMNS) * n;
  TRY(memory_make(2 * size + 6 * (n + 1) + 2 * d->table->padded, sizeof *d->all, "drift", &d->all));
  d->sum      = d->all + size;
  d->integral = d->sum + size;
  d->density  = d->integral + d->table->padded;
  d->edge     = d->density + d->table->padded;
  d->model    = d->edge + 3 * (n + 1);
  d->weight   = d->model + n;
  d->right    = d->weight + n;
  return memory_make(size, sizeof *d->fixed, "drift", &d->fixed);
}

/* One pixel's columns, in counts. */
static enum status add_pixel(struct drift *d, int64_t p, double growth) {
  struct compton_table *t         = d->table;
  const struct compton_pixels *of = d->pixels;
  double true_kev                 = xray_line_kev(t->set.beam_kev, of->angle[p]),
         line                     = of->line_kev ? of->line_kev[p] : true_kev,
         fwhm                     = of->fwhm_kev ? of->fwhm_kev[p] : t->set.fwhm_kev;
  struct table_at at              = {.held = false};
  if (of->cube->bad[p] || !(line > 0) || !(fwhm > 0)) return STATUS_OK;
  TRY(compton_table_at(t, of->angle[p], fwhm, &at));
  double scale = growth * line / true_kev, sigma = fwhm / 2.354820045, counts = 0, shapes = 0;
  compton_table_span(t, true_kev, scale, &at);
  compton_table_mix(t, &at, d->part, d->integral, d->density);
  double *count = d->all, *shape = count + d->n, *slope = shape + d->n, *one = slope + d->n,
         *shelf = one + d->n;
  compton_table_bins(t, d->integral, d->density, true_kev, scale, 0, d->edge, shape, slope);
  for (int64_t b = 0; b < d->n; b++) {
    double energy = t->first_kev + ((double)(t->begin + b) + 0.5) * t->bin_kev;
    double z      = (energy / scale - true_kev) / sigma;
    count[b]      = of->cube->count[p * of->cube->bins + t->begin + b];
    slope[b] *= energy;
    one[b]   = 1;
    shelf[b] = z > 8 ? 0 : z < -8 ? 1 : 0.5 * erfc(z / sqrt(2));
    counts += count[b];
    shapes += shape[b];
  }
  for (int64_t b = 0; b < d->n; b++) {
    shape[b] *= counts / shapes;
    slope[b] *= counts / shapes;
  }
  ISA_PICK(profile_fix)(d->all, (1 + COLUMNS) * d->n, d->fixed);
  return STATUS_OK;
}

static enum status add_pixels(struct drift *d, double growth) {
  enum status status = fault_here("compton.drift");
  memset(d->fixed, 0, (size_t)((1 + COLUMNS) * d->n) * sizeof *d->fixed);
  for (int64_t p = 0; p < d->pixels->cube->pixels && status == STATUS_OK; p++)
    status = add_pixel(d, p, growth);
  return status;
}

static bool pass(struct drift *d, double *move, double *sigma) {
  struct problem problem = {.bins = d->n, .columns = COLUMNS, .count = d->sum};
  struct solution x      = {.model = d->model, .weight = d->weight, .right = d->right};
  for (int64_t i = 0; i < (1 + COLUMNS) * d->n; i++) d->sum[i] = (double)d->fixed[i] * 0x1p-24;
  for (int c = 0; c < COLUMNS; c++) problem.column[c] = d->sum + (1 + c) * d->n;
  problem_solve(&problem, &x);
  if (!x.solved || !(x.value[SHAPE] > 0)) return false;
  *move  = x.value[SLOPE] / x.value[SHAPE];
  *sigma = sqrt(x.inverse[SLOPE][SLOPE]) / x.value[SHAPE];
  return fabs(*move) < 0.05;
}

static enum status follow(MPI_Comm comm, struct drift *d, double *growth, double *sigma) {
  bool good = true, done = false;
  double move = 0;
  for (int i = 0; i < PASSES_MOST && good && !done; i++) {
    TRY_ALL(comm, add_pixels(d, *growth));
    MPI_Allreduce(MPI_IN_PLACE, d->fixed, (int)((1 + COLUMNS) * d->n), MPI_INT64_T, MPI_SUM, comm);
    good = pass(d, &move, sigma);
    if (!good) break;
    *growth *= 1 + move;
    done = fabs(move) < SMALL_OF_SIGMA * *sigma;
  }
  if (!good || !done) *growth = *sigma = (double)NAN;
  return STATUS_OK;
}

enum status compton_disc_drift(MPI_Comm comm, struct compton_table *table,
                               const struct compton_pixels *pixels,
                               const double part[COMPTON_SHAPES], double *growth, double *sigma) {
  struct drift d = {.table = table, .pixels = pixels};
  double all     = 0;
  for (int k = 0; k < table->set.shapes; k++) all += part[k];
  for (int k = 0; k < table->set.shapes; k++) d.part[k] = part[k] / all;
  *growth            = 1;
  *sigma             = 0;
  enum status status = AGREE(comm, drift_make(&d));
  if (status == STATUS_OK) status = follow(comm, &d, growth, sigma);
  memory_free(d.all);
  memory_free(d.fixed);
  return status;
}
