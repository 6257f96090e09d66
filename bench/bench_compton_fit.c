/* Fits of the peak, and profiles with factors, of a sensor of 6400 pixels.
 * usage: bench_compton_fit [counts per pixel, default 40000]
 * Figures per pixel are of processor time, which other work on the machine does not touch. */
#include "bench.h"
#include "compton_disc.h"
#include "numeric.h"
#include <math.h>
#include <time.h>

enum { SIDE = 80, PIXELS = SIDE * SIDE, BINS = 250, FINE = 10, RUNS = 5 };
#define BEAM      115.0
#define FIRST_KEV 70.0
#define BIN_KEV   0.2

struct bench {
  MPI_Comm comm;
  struct compton_cube cube;
  struct compton_pixels pixels;
  struct compton_table *table;
  double *angle, *line, *fwhm;
  struct compton_emf *emf;
  float *profile, *sigma;
  int32_t *label;
  unsigned fit;
  double cpu_s; /* least of the runs */
};

static void must(enum status status) {
  if (status != STATUS_OK) status_abort(status, "%s", status_text());
}
static double cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Expected spectra of one row; every row of the sensor draws from them. */
static void row_make(double counts, double expected[SIDE][BINS]) {
  static struct xray_profile profile;
  static double rate[BINS * FINE];
  const struct compton_geometry camera = {SIDE, SIDE, 160, 150, 0.25, 90, 0, false};
  must(xray_profile_of(XRAY_LI_METAL, 1, &profile));
  for (int c = 0; c < SIDE; c++) {
    double angle = compton_angle(&camera, 39.5, c), all = 0, step = BIN_KEV / FINE;
    must(xray_line_shape(&profile, BEAM, angle, 0.84, FIRST_KEV + step / 2, step, BINS * FINE,
                         rate));
    for (int i = 0; i < BINS * FINE; i++) all += rate[i];
    for (int b = 0; b < BINS; b++) {
      expected[c][b] = counts / 1000;
      for (int i = 0; i < FINE; i++) expected[c][b] += counts * rate[b * FINE + i] / all;
    }
  }
}

static void sensor_make(struct bench *b, double counts) {
  static double expected[SIDE][BINS];
  const struct compton_geometry camera = {SIDE, SIDE, 160, 150, 0.25, 90, 0, false};
  b->cube                              = (struct compton_cube){.rows      = SIDE,
                                                               .columns   = SIDE,
                                                               .bins      = BINS,
                                                               .first_kev = FIRST_KEV,
                                                               .bin_kev   = BIN_KEV,
                                                               .pixels    = PIXELS};
  must(memory_make(PIXELS * BINS, sizeof *b->cube.count, "counts", &b->cube.count));
  must(memory_make(PIXELS, 1, "flags", &b->cube.bad));
  must(memory_make(3 * PIXELS, sizeof *b->angle, "pixels", &b->angle));
  must(memory_make(PIXELS, sizeof *b->emf, "factors", &b->emf));
  must(memory_make(PIXELS * 100, sizeof *b->profile, "profiles", &b->profile));
  must(memory_make(PIXELS * 100, sizeof *b->sigma, "profiles", &b->sigma));
  must(memory_make(PIXELS, sizeof *b->label, "labels", &b->label));
  b->line = b->angle + PIXELS;
  b->fwhm = b->line + PIXELS;
  row_make(counts, expected);
  for (int64_t p = 0; p < PIXELS; p++) {
    b->angle[p] = compton_angle(&camera, (double)(p / SIDE), (double)(p % SIDE));
    b->line[p]  = xray_line_kev(BEAM, b->angle[p]);
    b->fwhm[p]  = 0.84 * (1 + 0.03 * fmax(-3, fmin(3, random_normal(1, 1, (uint64_t)p))));
    for (int k = 0; k < BINS; k++)
      b->cube.count[p * BINS + k] =
          (uint32_t)random_poisson(2, (uint64_t)p, (uint64_t)k, expected[p % SIDE][k]);
  }
  b->pixels = (struct compton_pixels){&b->cube, b->angle, b->line, NULL, b->fwhm, NULL};
}

static void fits(void *context) {
  struct bench *b                            = context;
  const struct compton_fit_settings settings = {.part = {1}, .free = b->fit};
  double begun                               = cpu_s();
  for (int64_t p = 0; p < PIXELS; p++) {
    struct compton_peak peak = {.value = {[COMPTON_FIT_WIDTH] = b->fwhm[p]}};
    must(compton_fit_pixel(b->table, &settings, b->cube.count + p * BINS, b->angle[p], &peak));
    if (!peak.converged)
      status_abort(STATUS_INTERNAL, "pixel %lld does not converge", (long long)p);
  }
  b->cpu_s = fmin(b->cpu_s, cpu_s() - begun);
}
static void factors(void *context) {
  struct bench *b = context;
  double begun    = cpu_s();
  must(compton_profile_pixels(b->table, &b->pixels, NULL, NULL, b->emf, b->profile, b->sigma));
  b->cpu_s = fmin(b->cpu_s, cpu_s() - begun);
}
static void all_pixels(void *context) {
  struct bench *b = context;
  double begun    = cpu_s();
  must(
      compton_profile_groups(MPI_COMM_SELF, b->table, &b->pixels, b->label, 1, b->emf, NULL, NULL));
  b->cpu_s = fmin(b->cpu_s, cpu_s() - begun);
}

static void run(struct bench *b, const char *name, void (*work)(void *)) {
  char more[160];
  b->cpu_s               = 1e30;
  struct bench_time time = bench_run(b->comm, RUNS, work, b);
  snprintf(more, sizeof more, "\"pixels\":%d,\"cpu_s\":%.4g,\"cpu_us_per_pixel\":%.4g", PIXELS,
           b->cpu_s, 1e6 * b->cpu_s / PIXELS);
  bench_print(b->comm, name, time, more);
}

static void table_make(struct bench *b, int shapes) {
  struct compton_profile_settings s = compton_profile_defaults();
  s.shapes                          = shapes;
  must(compton_table_make(&s, FIRST_KEV, BIN_KEV, BINS, &b->table));
}

int main(int argc, char **argv) {
  struct bench b = {.comm = MPI_COMM_WORLD};
  MPI_Init(&argc, &argv);
  log_open(b.comm, true);
  must(isa_agree(b.comm, "auto"));
  sensor_make(&b, argc > 1 ? atof(argv[1]) : 40000);
  table_make(&b, 1);
  b.fit = COMPTON_FIT_THREE;
  run(&b, "compton_fit_3", fits);
  b.fit = COMPTON_FIT_FIVE;
  run(&b, "compton_fit_5", fits);
  b.fit = COMPTON_FIT_THREE | 1U << COMPTON_FIT_WIDTH | 1U << COMPTON_FIT_STEP;
  run(&b, "compton_fit_disc", fits);
  compton_table_free(b.table);
  table_make(&b, 3);
  run(&b, "compton_profiles_and_factors", factors);
  run(&b, "compton_factor_of_all_pixels", all_pixels);
  compton_table_free(b.table);
  compton_cube_free(&b.cube);
  memory_free(b.angle);
  memory_free(b.emf);
  memory_free(b.profile);
  memory_free(b.sigma);
  memory_free(b.label);
  MPI_Finalize();
  return 0;
}
