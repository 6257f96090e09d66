/* The source's frames are counted twice. Once with energies in ADU and single hits alone: the lines in each pixel's
 * spectrum give its gain and offset. Once with them, when it is asked for, in bins of R = (Ea - Eb) / (Ea + Eb) of
 * pairs: the line at 59.54 keV lies the lower, the more evenly the charge is shared, since some of it is lost between
 * the pixels. An even polynomial in R is fitted to the deficit. */
#include "compton_sensor.h"
#include "numeric_leastsq.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_GAIN_KEV 0.0272
enum { LAST_ADU = 4096, STEP_ADU = 2, LEAST_SHARES = 4 };
static const double line_kev = 59.5409;

void compton_sensor_free(struct compton_sensor *sensor) {
  memory_free(sensor->pixel);
  memory_free(sensor->gain);
  memory_free(sensor->offset);
  memset(sensor, 0, sizeof *sensor);
}

void compton_sensor_use(const struct compton_sensor *sensor,
                        struct compton_frames_settings *settings) {
  if (sensor->gain) settings->gain_value = sensor->gain, settings->offset_value = sensor->offset;
  if (sensor->has_loss) memcpy(settings->pair_loss_kev, sensor->loss_kev, sizeof sensor->loss_kev);
}

/* ---- gains --------------------------------------------------------------------------------------- */

static enum status gains_here(MPI_Comm comm, const struct compton_cube *cube, double guess_kev,
                              struct compton_sensor *sensor) {
  struct compton_gain *mine = sensor->pixel + cube->pixel0;
  TRY(compton_calibrate_cube(comm, cube, guess_kev, mine, &sensor->good));
  int size;
  MPI_Comm_size(comm, &size);
  for (int from = 0; from < size; from++) {
    int64_t range[2] = {cube->pixel0, cube->pixels};
    MPI_Bcast(range, 2, MPI_INT64_T, from, comm);
    MPI_Bcast(sensor->pixel + range[0], (int)(range[1] * (int64_t)sizeof *mine), MPI_BYTE, from,
              comm);
  }
  int unusable = CALIBRATE_EMPTY | CALIBRATE_NO_LINE | CALIBRATE_ODD;
  for (int64_t p = 0; p < sensor->pixels; p++) {
    const struct compton_gain *g = &sensor->pixel[p];
    sensor->gain[p]              = g->flags & unusable ? 0 : g->gain_kev;
    sensor->offset[p]            = g->flags & unusable ? 0 : g->offset_kev;
  }
  return STATUS_OK;
}

static enum status memory_take(int64_t pixels, struct compton_sensor *sensor) {
  sensor->pixels = pixels;
  TRY(memory_make(pixels, sizeof *sensor->pixel, "gains of pixels", &sensor->pixel));
  TRY(memory_make(pixels, sizeof *sensor->gain, "gains of pixels", &sensor->gain));
  return memory_make(pixels, sizeof *sensor->offset, "offsets of pixels", &sensor->offset);
}

static double gain_guess(const struct compton_params *p) {
  return p->gain_kev > 0 ? p->gain_kev : USUAL_GAIN_KEV;
}

/* Energies are ADU. */
static struct compton_frames_settings in_adu(const struct compton_params *p,
                                             const struct compton_regions *regions) {
  struct compton_frames_settings settings;
  compton_regions_settings(p, regions, &regions->source, &settings);
  settings.gain = settings.offset = "";
  settings.gain_kev               = 1;
  settings.threshold_kev          = p->threshold_kev / gain_guess(p);
  settings.max_cluster            = 1;
  settings.first_kev = 0, settings.last_kev = LAST_ADU, settings.bin_kev = STEP_ADU;
  return settings;
}

enum status compton_sensor_shape(MPI_Comm comm, const struct compton_params *p,
                                 const struct compton_regions *regions,
                                 struct compton_shape *shape) {
  const struct compton_frames_settings settings = in_adu(p, regions);
  return compton_cube_frames_shape(comm, &settings, shape);
}

static enum status gains_learn(MPI_Comm comm, const struct compton_params *p,
                               const struct compton_regions *regions,
                               struct compton_sensor *sensor) {
  const struct compton_frames_settings settings = in_adu(p, regions);
  struct compton_cube cube;
  TRY(compton_cube_from_frames(comm, &settings, &cube));
  enum status status = AGREE(comm, memory_take(cube.rows * cube.columns, sensor));
  if (status == STATUS_OK) status = gains_here(comm, &cube, gain_guess(p), sensor);
  compton_cube_free(&cube);
  return status;
}

/* ---- pairs --------------------------------------------------------------------------------------- */

/* One row per share whose line was found: 1, R^2, R^4 and the deficit, over its sigma. */
static int rows_of(const struct compton_pair_spectra *pairs, double a[PAIR_SHARES][3],
                   double b[PAIR_SHARES]) {
  int n = 0;
  for (int k = 0; k < PAIR_SHARES; k++) {
    struct compton_gain line;
    double r = (k + 0.5) / PAIR_SHARES;
    compton_calibrate_spectrum(pairs->count + k * pairs->bins, pairs->bins, pairs->first_kev,
                               pairs->bin_kev, 1, &line);
    if (line.flags & CALIBRATE_NO_LINE || !(line.line_sigma_adu[0] > 0)) continue;
    double sigma = line.line_sigma_adu[0];
    a[n][0] = 1 / sigma, a[n][1] = r * r / sigma, a[n][2] = r * r * r * r / sigma;
    b[n++] = (line_kev - line.line_adu[0]) / sigma;
  }
  return n;
}

static enum status loss_fit(const char *file, const struct compton_pair_spectra *pairs,
                            struct compton_sensor *sensor) {
  double a[PAIR_SHARES][3], b[PAIR_SHARES], chi2;
  int n = rows_of(pairs, a, b);
  if (n < LEAST_SHARES)
    return FAIL(STATUS_INPUT,
                "%s: the line of pairs is seen at %d of %d ways to share a charge; %d are wanted "
                "(more frames)",
                file, n, PAIR_SHARES, LEAST_SHARES);
  TRY(numeric_linear(&a[0][0], b, n, 3, sensor->loss_kev, &chi2));
  sensor->has_loss = true;
  log_info("compton: pairs lose %.3f %+.3f R^2 %+.3f R^4 keV at 59.54 keV (chi2 %.1f, %d shares)",
           sensor->loss_kev[0], sensor->loss_kev[1], sensor->loss_kev[2], chi2, n);
  return STATUS_OK;
}

static enum status loss_learn(MPI_Comm comm, struct compton_frames_settings settings,
                              struct compton_sensor *sensor) {
  struct compton_pair_spectra pairs = {.first_kev = 20, .bin_kev = 0.2, .bins = 250};
  struct compton_cube cube;
  compton_sensor_use(sensor, &settings);
  settings.max_cluster = 2;
  settings.first_kev   = 0;
  settings.last_kev    = 80;
  settings.bin_kev     = 0.2;
  settings.pairs       = &pairs;
  TRY_ALL(comm, memory_make(PAIR_SHARES * pairs.bins, sizeof *pairs.count, "spectra of pairs",
                            &pairs.count));
  enum status status = compton_cube_from_frames(comm, &settings, &cube);
  if (status == STATUS_OK) compton_cube_free(&cube);
  if (status == STATUS_OK) status = AGREE(comm, loss_fit(settings.frames.file[0], &pairs, sensor));
  memory_free(pairs.count);
  return status;
}

/* ---- all ----------------------------------------------------------------------------------------- */

enum status compton_sensor_learn(MPI_Comm comm, const struct compton_params *p,
                                 const struct compton_regions *regions,
                                 struct compton_sensor *sensor) {
  struct compton_frames_settings settings;
  memset(sensor, 0, sizeof *sensor);
  if (regions->source.files == 0) return STATUS_OK;
  compton_regions_settings(p, regions, &regions->source, &settings);
  settings.gain = settings.offset = "";
  enum status status              = gains_learn(comm, p, regions, sensor);
  if (status == STATUS_OK && strcmp(p->pair_loss, "source") == 0)
    status = loss_learn(comm, settings, sensor);
  if (status != STATUS_OK) compton_sensor_free(sensor);
  return status;
}
