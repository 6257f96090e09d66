/* Raw frames of a HEXITEC sensor for the event chain: headerless uint16, pedestal, noise, gain and offset per pixel,
 * photons whose charge falls into one pixel or two neighbours. A photon of a frame, its pixel, momentum and blur are
 * random numbers of (seed, run, frame, photon), so ranks share out the frames. Momenta are drawn from J(p_z) times the
 * cross-section per momentum, whose small change with the angle is left out; energies follow from the pixel's own. */
#include "twin_xcs.h"
#include "numeric.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum {
  STREAM_PEDESTAL = 320,
  STREAM_GAIN,
  STREAM_OFFSET,
  STREAM_RUNS = 328 /* and four for each kind of run */
};
enum draws { DRAW_NOISE, DRAW_NUMBER, DRAW_PHOTON, DRAW_BLUR };
enum run { RUN_DARK, RUN_CELL, RUN_SOURCE };
static const double source_kev[4]   = {59.5409, 26.3446, 17.75, 13.946},
                    source_until[4] = {0.53, 0.57, 0.81, 1}; /* of an open Am-241 source, about */
enum { FRAMES_EACH = 64, PHOTONS_MOST = 4096, MOMENTA = 2001, REGION = 1 };
static const double momentum_most = 20, offset_sigma_kev = 0.05;

struct sensor {
  const struct twin_params *params;
  const struct xcs_pixel *pixel;
  double pedestal_adu[XCS_PIXELS], gain_kev[XCS_PIXELS], offset_kev[XCS_PIXELS];
  double until[XCS_PIXELS];             /* running sum of the pixels' rates */
  double share[XCS_PIXELS][XCS_SHAPES]; /* running sum of the shapes' rates */
  double below[XCS_SHAPES][MOMENTA];    /* running sum over momenta of a shape */
  double kev[XCS_PIXELS];
  uint16_t frame[FRAMES_EACH][XCS_PIXELS];
  int64_t photons; /* put into this rank's frames */
};

/* ---- what a sensor is ------------------------------------------------------------------------------------- */

static void set_maps(struct sensor *s) {
  uint64_t seed = (uint64_t)s->params->seed;
  for (int i = 0; i < XCS_PIXELS; i++) {
    uint64_t at        = (uint64_t)i;
    s->pedestal_adu[i] = round(1005 + 25 * random_normal(seed, STREAM_PEDESTAL, at));
    s->gain_kev[i]     = 0.0272 * (1 + 0.024 * random_normal(seed, STREAM_GAIN, at));
    s->offset_kev[i]   = offset_sigma_kev * random_normal(seed, STREAM_OFFSET, at);
  }
}

static void set_momenta(struct sensor *s, const struct xray_profile *profile) {
  for (int k = 0; k < XCS_SHAPES; k++)
    for (int i = 0; i < MOMENTA; i++) {
      double p    = momentum_most * (2.0 * i / (MOMENTA - 1) - 1),
             e    = xray_energy(xcs_beam_kev, p, PI / 2);
      double rate = xray_profile_at(&profile[k], p) * xray_cross_section(xcs_beam_kev, e, PI / 2) /
                    xray_momentum_slope(xcs_beam_kev, e, PI / 2);
      s->below[k][i] = (i ? s->below[k][i - 1] : 0) + rate;
    }
}

static void set_rates(struct sensor *s) {
  double all = 0;
  for (int i = 0; i < XCS_PIXELS; i++) {
    double amount[XCS_SHAPES], sum = 0;
    xcs_mixture(&s->pixel[i], &twin_states[0], REGION, amount);
    for (int k = 0; k < XCS_SHAPES; k++)
      s->share[i][k] = sum += amount[k] * s->below[k][MOMENTA - 1];
    s->until[i] = all += s->pixel[i].dead ? 0 : s->pixel[i].flat * sum;
  }
}

/* First i with value[i] > at, of n rising values. */
static int first_above(const double *value, int n, double at) {
  int low = 0, high = n - 1;
  while (low < high) {
    int middle = (low + high) / 2;
    if (value[middle] > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/* ---- photons ------------------------------------------------------------------------------------------------ */

static double momentum_of(const struct sensor *s, int pixel, double draw_shape, double draw) {
  const double *share = s->share[pixel];
  int k               = first_above(share, XCS_SHAPES, draw_shape * share[XCS_SHAPES - 1]);
  double at           = draw * s->below[k][MOMENTA - 1];
  int i               = first_above(s->below[k], MOMENTA, at);
  double under = i ? s->below[k][i - 1] : 0, part = (at - under) / (s->below[k][i] - under);
  return momentum_most * (2 * (i - 0.5 + part) / (MOMENTA - 1) - 1);
}

/* What the resolution has beyond the noise of the electronics, which each frame adds itself; its square is linear in
 * energy. */
static double own_sigma_kev(const struct sensor *s, int pixel, double kev) {
  double all         = s->pixel[pixel].fwhm_kev / sqrt(8 * log(2)),
         electronics = s->params->frame_noise_adu * s->gain_kev[pixel];
  double charges     = 0.1 * 4.64e-3; /* Fano factor, keV per pair */
  double line        = xray_line_kev(xcs_beam_kev, PI / 2);
  return sqrt(fmax(0, all * all - electronics * electronics + charges * (kev - line)));
}

static uint64_t stream_of(enum run run, enum draws draw) {
  return STREAM_RUNS + 4 * (uint64_t)run + (uint64_t)draw;
}

/* Where a photon falls and with which energy it is measured, but for the noise. */
static double photon_kev(const struct sensor *s, enum run run, const double draw[3], int *at) {
  if (run == RUN_SOURCE) {
    *at = (int)(draw[0] * XCS_PIXELS);
    return s->pixel[*at].gain * source_kev[first_above(source_until, 4, draw[1])];
  }
  *at      = first_above(s->until, XCS_PIXELS, draw[0] * s->until[XCS_PIXELS - 1]);
  double p = momentum_of(s, *at, draw[1], draw[2]);
  return s->pixel[*at].gain * xray_energy(xcs_beam_kev, p, s->pixel[*at].angle);
}

static void add_photon(struct sensor *s, enum run run, uint64_t index) {
  uint64_t seed = (uint64_t)s->params->seed;
  double draw[6];
  int at;
  for (int k = 0; k < 6; k++)
    draw[k] = random_uniform(seed, stream_of(run, DRAW_PHOTON), 8 * index + (uint64_t)k);
  double kev = photon_kev(s, run, draw, &at);
  kev += own_sigma_kev(s, at, kev) * random_normal(seed, stream_of(run, DRAW_BLUR), index);
  if (s->pixel[at].dead) return;
  s->photons += run == RUN_CELL;
  if (draw[3] >= s->params->frame_share) {
    s->kev[at] += kev;
    return;
  }
  static const int step[4][2] = {
      {0,  1 },
      {1,  0 },
      {0,  -1},
      {-1, 0 }
  };
  int side = (int)(4 * draw[4]), row = at / XCS_SIDE + step[side][0],
      column    = at % XCS_SIDE + step[side][1];
  double larger = 0.5 + 0.5 * draw[5], r = 2 * larger - 1;
  kev *= 1 - s->params->frame_loss_kev / source_kev[0] * (1 - r * r);
  s->kev[at] += larger * kev;
  if (row >= 0 && row < XCS_SIDE && column >= 0 && column < XCS_SIDE)
    s->kev[row * XCS_SIDE + column] += (1 - larger) * kev;
}

/* Interleaved readout: word w of a row is column w / 4 + 20 (w mod 4). */
static int word_of(const struct twin_params *p, int pixel) {
  int row = pixel / XCS_SIDE, column = pixel % XCS_SIDE;
  if (strcmp(p->frame_order, "sorted") == 0) return pixel;
  return row * XCS_SIDE + 4 * (column % 20) + column / 20;
}

static void make_frame(struct sensor *s, int64_t number, enum run run, uint16_t *out) {
  const struct twin_params *p = s->params;
  uint64_t seed               = (uint64_t)p->seed;
  memset(s->kev, 0, sizeof s->kev);
  double mean = run == RUN_CELL ? p->frame_hits : run == RUN_SOURCE ? p->frame_source_hits : 0;
  double gain =
      run == RUN_CELL ? 1 + 0.01 * p->frame_drift_percent * (double)number / (double)p->frames : 1;
  int64_t n = random_poisson(seed, stream_of(run, DRAW_NUMBER), (uint64_t)number, mean);
  for (int64_t k = 0; k < n && k < PHOTONS_MOST; k++)
    add_photon(s, run, (uint64_t)(number * PHOTONS_MOST + k));
  for (int i = 0; i < XCS_PIXELS; i++) {
    double signal      = s->kev[i] > 0 ? gain * (s->kev[i] - s->offset_kev[i]) / s->gain_kev[i] : 0;
    double noise       = p->frame_noise_adu * random_normal(seed, stream_of(run, DRAW_NOISE),
                                                            (uint64_t)(number * XCS_PIXELS + i));
    double value       = s->pixel[i].dead ? 0 : s->pedestal_adu[i] + signal + noise;
    out[word_of(p, i)] = (uint16_t)lround(fmin(fmax(value, 0), 65535));
  }
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

struct file {
  char path[STORE_NAME_BYTES], partial[STORE_NAME_BYTES + 16];
  int handle;
};

static enum status failed(const struct file *file) {
  int why = errno;
  return FAIL(why == ENOSPC || why == EDQUOT ? STATUS_MEMORY : STATUS_OUTPUT,
              "%s cannot be written: %s", file->partial, strerror(why));
}

static enum status create(struct file *file, int64_t bytes) {
  unlink(file->partial);
  file->handle = open(file->partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  return file->handle < 0 || ftruncate(file->handle, bytes) != 0 ? failed(file) : STATUS_OK;
}

static enum status join(struct file *file) {
  if (file->handle >= 0) return STATUS_OK;
  file->handle = open(file->partial, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  return file->handle < 0 ? failed(file) : STATUS_OK;
}

static enum status put(const struct file *file, const void *from, int64_t bytes, int64_t offset) {
  TRY(fault_here("twin.frames"));
  return file_write_at(file->handle, from, bytes, offset) == bytes ? STATUS_OK : failed(file);
}

static enum status sync_here(const struct file *file) {
  return fsync(file->handle) != 0 && errno != EINVAL ? failed(file) : STATUS_OK;
}

static enum status give_name(const struct file *file) {
  return rename(file->partial, file->path) != 0 ? failed(file) : STATUS_OK;
}

/* Frames by blocks of ranks, in rounds of as many. */
static enum status rounds(MPI_Comm comm, struct sensor *s, struct file *file, int64_t frames,
                          enum run run) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  int64_t share = (frames + size - 1) / size, first = rank * share;
  for (int64_t done = 0; done < share; done += FRAMES_EACH) {
    int64_t n = share - done < FRAMES_EACH ? share - done : FRAMES_EACH, at = first + done;
    if (at + n > frames) n = frames - at > 0 ? frames - at : 0;
    TRY(stop_agree(comm));
    for (int64_t k = 0; k < n; k++) make_frame(s, at + k, run, s->frame[k]);
    TRY_ALL(comm,
            put(file, s->frame, n * (int64_t)sizeof *s->frame, at * (int64_t)sizeof *s->frame));
  }
  return STATUS_OK;
}

static enum status write_frames(MPI_Comm comm, struct sensor *s, const struct twin_book *book,
                                const char *name, int64_t frames, enum run run) {
  struct file file = {.handle = -1};
  int64_t bytes    = frames * (int64_t)sizeof *s->frame;
  twin_path(book, name, file.path, sizeof file.path);
  snprintf(file.partial, sizeof file.partial, "%s.partial", file.path);
  enum status status = AGREE(comm, log_is_speaker() ? create(&file, bytes) : STATUS_OK);
  if (status == STATUS_OK) status = AGREE(comm, join(&file));
  if (status == STATUS_OK) status = rounds(comm, s, &file, frames, run);
  if (status == STATUS_OK) status = AGREE(comm, sync_here(&file));
  if (file.handle >= 0) close(file.handle);
  if (status == STATUS_OK) return AGREE(comm, log_is_speaker() ? give_name(&file) : STATUS_OK);
  if (log_is_speaker()) unlink(file.partial);
  return status;
}

static enum status write_map(const struct twin_book *book, const char *name, const double *value) {
  struct twin_text text = {0};
  char path[STORE_NAME_BYTES];
  enum status status = STATUS_OK;
  twin_path(book, name, path, sizeof path);
  for (int i = 0; i < XCS_PIXELS && status == STATUS_OK; i++)
    status = twin_text_add(&text, "%.7f%c", value[i], i % XCS_SIDE == XCS_SIDE - 1 ? '\n' : ' ');
  if (status == STATUS_OK) status = store_text_write(path, text.text, text.n);
  memory_free(text.text);
  return status;
}

static enum status write_maps(const struct sensor *s, const struct twin_book *book) {
  if (!log_is_speaker()) return STATUS_OK;
  TRY(write_map(book, "raw/gain.txt", s->gain_kev));
  return write_map(book, "raw/offset.txt", s->offset_kev);
}

static enum status sensor_make(const struct xcs *xcs, struct sensor **sensor) {
  TRY(memory_make(1, sizeof **sensor, "a sensor", sensor));
  (*sensor)->params = xcs->params;
  (*sensor)->pixel  = xcs->pixel;
  set_maps(*sensor);
  set_momenta(*sensor, xcs->profile);
  set_rates(*sensor);
  return STATUS_OK;
}

int64_t xcs_frames_bytes(const struct twin_params *params, int64_t *disk_bytes) {
  *disk_bytes = params->frames ? (params->frames + params->frame_darks + params->frame_source) * 2 *
                                         XCS_PIXELS +
                                     2 * XCS_PIXELS * 10
                               : 0;
  return params->frames ? (int64_t)sizeof(struct sensor) : 0;
}

enum status xcs_frames_write(MPI_Comm comm, const struct xcs *xcs, struct twin_book *book) {
  struct sensor *sensor = NULL;
  char name[128];
  snprintf(name, sizeof name, "raw/%s_r%d.bin", twin_states[0].name, REGION + 1);
  enum status status = AGREE(comm, sensor_make(xcs, &sensor));
  if (status == STATUS_OK)
    status = write_frames(comm, sensor, book, "raw/dark.bin", xcs->params->frame_darks, RUN_DARK);
  if (status == STATUS_OK)
    status = write_frames(comm, sensor, book, name, xcs->params->frames, RUN_CELL);
  if (status == STATUS_OK && xcs->params->frame_source)
    status =
        write_frames(comm, sensor, book, "raw/am241.bin", xcs->params->frame_source, RUN_SOURCE);
  if (status == STATUS_OK) {
    MPI_Allreduce(MPI_IN_PLACE, &sensor->photons, 1, MPI_INT64_T, MPI_SUM, comm);
    status = AGREE(comm, write_maps(sensor, book));
  }
  if (status == STATUS_OK)
    status = AGREE(comm, twin_truth_add(book, NULL, "frame_photons", (double)sensor->photons, ""));
  memory_free(sensor);
  return status;
}
