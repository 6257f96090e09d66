/* Frames to counts against an independent count: a flood fill over dense frames in double precision.
 * np: 1 2 3 5 timeout: 300 */
#include "check.h"
#include "compton_events.h"
#include "numeric.h"
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  ROWS    = 9,
  COLUMNS = 16,
  PIXELS  = ROWS * COLUMNS,
  FRAMES  = 61,
  DARKS   = 7,
  BINS    = 150,
  FILES   = 3
};

/* ---- a small acquisition -------------------------------------------------------------------------- */

struct sensor {
  int64_t rows, columns, frames;
  double *gain, *offset, *dark;
  uint16_t *frame; /* [frames][pixels], raster order */
  uint16_t dark_frame[DARKS][PIXELS];
};

static double draw(uint64_t stream, int64_t i) { return random_uniform(71, stream, (uint64_t)i); }

static struct sensor sensor_make(double occupancy) {
  struct sensor s = {.rows = ROWS, .columns = COLUMNS, .frames = FRAMES};
  s.gain          = calloc(PIXELS, sizeof *s.gain);
  s.offset        = calloc(PIXELS, sizeof *s.offset);
  s.dark          = calloc(PIXELS, sizeof *s.dark);
  s.frame         = calloc(FRAMES * PIXELS, sizeof *s.frame);
  for (int p = 0; p < PIXELS; p++) {
    int64_t sum = 0;
    s.gain[p]   = p == 37 ? 0 : 0.027 * (0.9 + 0.2 * draw(1, p));
    s.offset[p] = draw(2, p) - 0.5;
    for (int d = 0; d < DARKS; d++)
      sum += s.dark_frame[d][p] = (uint16_t)(1005 + 50 * draw(3, p) + 20 * draw(4, d * PIXELS + p));
    s.dark[p] = (double)sum / DARKS;
  }
  for (int64_t i = 0; i < (int64_t)FRAMES * PIXELS; i++) {
    int64_t p    = i % PIXELS;
    double value = s.dark[p] + 10 * (draw(5, i) - 0.5);
    if (draw(6, i) < occupancy) value += (5 + 27 * draw(7, i)) / 0.027;
    if (i % 977 == 0) value = 65535;
    s.frame[i] = (uint16_t)fmin(value, 65535);
  }
  return s;
}

static void sensor_free(struct sensor *s) {
  free(s->gain);
  free(s->offset);
  free(s->dark);
  free(s->frame);
}

/* ---- the independent count ------------------------------------------------------------------------- */

struct count {
  uint32_t *histogram;
  int64_t hits, singles, pairs, dropped, vetoed, outside;
};

struct fill {
  const struct sensor *s;
  const double *energy; /* 0: no hit */
  bool *seen;
  int64_t member[PIXELS];
  int members;
};

static void flood(struct fill *f, int64_t row, int64_t column) {
  if (row < 0 || column < 0 || row >= f->s->rows || column >= f->s->columns) return;
  int64_t p = row * f->s->columns + column;
  if (f->seen[p] || f->energy[p] == 0) return;
  f->seen[p]              = true;
  f->member[f->members++] = p;
  for (int dr = -1; dr <= 1; dr++)
    for (int dc = -1; dc <= 1; dc++) flood(f, row + dr, column + dc);
}

static void cluster_count(const struct compton_frames_settings *set, const struct fill *f,
                          const double *before, struct count *count) {
  bool veto  = false;
  double sum = 0;
  int64_t at = f->member[0];
  for (int i = 0; i < f->members; i++) {
    int64_t p = f->member[i];
    veto |= set->veto && before && before[p] != 0;
    sum += f->energy[p];
    if (f->energy[p] > f->energy[at]) at = p;
  }
  count->vetoed += veto;
  if (veto || f->members > set->max_cluster) {
    count->dropped++;
    return;
  }
  *(f->members == 1 ? &count->singles : &count->pairs) += 1;
  double bin = floor((sum - set->first_kev) / set->bin_kev);
  if (bin >= 0 && bin < BINS)
    count->histogram[at * BINS + (int64_t)bin]++;
  else
    count->outside++;
}

static struct count count_naively(const struct sensor *s,
                                  const struct compton_frames_settings *set) {
  int64_t pixels     = s->rows * s->columns;
  struct count count = {.histogram = calloc((size_t)(pixels * BINS), sizeof(uint32_t))};
  double *energy     = calloc((size_t)(s->frames * pixels), sizeof *energy);
  bool *seen         = calloc((size_t)pixels, sizeof *seen);
  for (int64_t i = 0; i < s->frames * pixels; i++) {
    int64_t p = i % pixels;
    double e  = s->gain[p] * (s->frame[i] - s->dark[p]) + s->offset[p];
    energy[i] = s->gain[p] > 0 && e >= set->threshold_kev ? e : 0;
    count.hits += energy[i] != 0;
  }
  for (int64_t k = 0; k < s->frames; k++) {
    memset(seen, 0, (size_t)pixels * sizeof *seen);
    for (int64_t p = 0; p < pixels; p++) {
      struct fill f = {.s = s, .energy = energy + k * pixels, .seen = seen};
      flood(&f, p / s->columns, p % s->columns);
      if (f.members) cluster_count(set, &f, k ? f.energy - pixels : NULL, &count);
    }
  }
  free(energy);
  free(seen);
  return count;
}

/* ---- files ------------------------------------------------------------------------------------------ */

static const char *in_scratch(const char *name, char *path) {
  snprintf(path, 300, "%s/%s", check_scratch(), name);
  return path;
}

static bool is_first(void) {
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank == 0;
}

static void bytes_write(const char *path, const void *bytes, size_t n) {
  if (is_first()) {
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, n, file) == n, "%s", path);
    if (file) fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

static void frames_write(const char *path, const uint16_t *frame, int64_t n, bool interleaved) {
  uint16_t *word = malloc((size_t)(n * PIXELS) * sizeof *word);
  for (int64_t i = 0; i < n * PIXELS; i++) {
    int64_t w = i % COLUMNS, column = interleaved ? w / 4 + COLUMNS / 4 * (w % 4) : w;
    word[i] = frame[i - w + column];
  }
  bytes_write(path, word, (size_t)(n * PIXELS) * sizeof *word);
  free(word);
}

static void hdf5_write(const char *path, const char *name, int rank, const hsize_t *n, hid_t type,
                       const void *value, bool append) {
  if (is_first()) {
    hid_t file  = append ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT)
                         : H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(rank, n, NULL);
    hid_t set   = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0, "%s", path);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

static void text_write(const char *path, const double *value, int64_t n) {
  if (is_first()) {
    FILE *file = fopen(path, "w");
    for (int64_t i = 0; i < n; i++) fprintf(file, "%.17g\n", value[i]);
    fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

/* ---- an acquisition on disk, in three files --------------------------------------------------------- */

enum form { SORTED, INTERLEAVED, HDF5, FORMS };
struct disk {
  char path[FILES][300], dark[300], gain[300], offset[300];
  const char *file[FILES], *dark_file[1];
  struct compton_frames_settings set;
};

static void disk_settings(const struct sensor *s, bool interleaved, struct disk *d) {
  d->set = (struct compton_frames_settings){
      .frames        = {d->file,      FILES, interleaved, s->rows, s->columns},
      .dark          = {d->dark_file, 1,     interleaved, s->rows, s->columns},
      .gain          = d->gain,
      .offset        = d->offset,
      .threshold     = "",
      .threshold_kev = 4,
      .max_cluster   = 2,
      .first_kev     = 2,
      .last_kev      = 47,
      .bin_kev       = 0.3
  };
}

static void disk_make(const struct sensor *s, enum form form, struct disk *d) {
  static const int64_t cut[FILES + 1] = {0, 20, 21, FRAMES};
  for (int i = 0; i < FILES; i++) {
    char name[40];
    snprintf(name, sizeof name, "frames_%d_%d", (int)form, i);
    d->file[i]            = in_scratch(name, d->path[i]);
    const uint16_t *first = s->frame + cut[i] * PIXELS;
    int64_t n             = cut[i + 1] - cut[i];
    hsize_t shape[3]      = {(hsize_t)n, ROWS, COLUMNS};
    if (form == HDF5)
      hdf5_write(d->path[i], "raw_frames", 3, shape, H5T_NATIVE_UINT16, first, false);
    else
      frames_write(d->path[i], first, n, form == INTERLEAVED);
  }
  d->dark_file[0] = in_scratch("dark.bin", d->dark);
  frames_write(d->dark, s->dark_frame[0], DARKS, form == INTERLEAVED);
  text_write(in_scratch("gain.txt", d->gain), s->gain, PIXELS);
  text_write(in_scratch("offset.txt", d->offset), s->offset, PIXELS);
  disk_settings(s, form == INTERLEAVED, d);
}

static void compare(const struct compton_cube *cube, const struct count *want, const char *what) {
  CHECK(
      cube->hits == want->hits && cube->singles == want->singles && cube->pairs == want->pairs &&
          cube->dropped == want->dropped && cube->vetoed == want->vetoed &&
          cube->outside == want->outside,
      "%s: hits %lld singles %lld pairs %lld dropped %lld vetoed %lld outside %lld, not %lld %lld "
      "%lld %lld %lld %lld",
      what, (long long)cube->hits, (long long)cube->singles, (long long)cube->pairs,
      (long long)cube->dropped, (long long)cube->vetoed, (long long)cube->outside,
      (long long)want->hits, (long long)want->singles, (long long)want->pairs,
      (long long)want->dropped, (long long)want->vetoed, (long long)want->outside);
  CHECK(cube->events == cube->singles + cube->pairs, "%lld events", (long long)cube->events);
  CHECK(cube->bins == BINS, "%lld bins", (long long)cube->bins);
  CHECK(cube->pixels == 0 || memcmp(cube->count, want->histogram + cube->pixel0 * BINS,
                                    (size_t)(cube->pixels * BINS) * sizeof *cube->count) == 0,
        "%s: counts differ", what);
}

static void count_and_compare(MPI_Comm comm, const struct sensor *s,
                              const struct compton_frames_settings *set, const char *what) {
  struct compton_cube cube;
  struct count want = count_naively(s, set);
  CHECK_OK(compton_cube_from_frames(comm, set, &cube));
  compare(&cube, &want, what);
  free(want.histogram);
  compton_cube_free(&cube);
}

/* ---- exact counting ----------------------------------------------------------------------------------- */

TEST(counts_equal_a_flood_fill_in_every_form_and_block) {
  static const int64_t block[] = {0, 1, 2, 7, 1000};
  struct sensor s              = sensor_make(0.12);
  struct disk d;
  for (int form = 0; form < FORMS; form++) {
    disk_make(&s, (enum form)form, &d);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++)
      for (int veto = 0; veto < 2; veto++)
        for (d.set.max_cluster = 1; d.set.max_cluster <= 2; d.set.max_cluster++) {
          char what[80];
          snprintf(what, sizeof what, "form %d block %d veto %d largest %d", form, (int)block[i],
                   veto, d.set.max_cluster);
          d.set.block = block[i], d.set.veto = veto;
          count_and_compare(comm, &s, &d.set, what);
        }
  }
  sensor_free(&s);
}

TEST(the_count_has_singles_pairs_larger_clusters_and_vetoes) {
  struct sensor s = sensor_make(0.12);
  struct disk d;
  disk_make(&s, SORTED, &d);
  d.set.veto        = true;
  struct count want = count_naively(&s, &d.set);
  CHECK(want.singles > 50 && want.pairs > 20 && want.dropped > want.vetoed && want.vetoed > 20 &&
            want.outside > 0,
        "%lld %lld %lld %lld %lld", (long long)want.singles, (long long)want.pairs,
        (long long)want.dropped, (long long)want.vetoed, (long long)want.outside);
  free(want.histogram);
  sensor_free(&s);
}

/* The settings of d, with the hits that counting them left as frames. */
static struct compton_frames_settings hits_make(MPI_Comm comm, const struct disk *d, char *path,
                                                const char **file) {
  struct compton_frames_settings from = d->set, to = d->set;
  struct compton_cube cube;
  file[0]   = in_scratch("kept.hits", path);
  from.hits = path;
  CHECK_OK(compton_cube_from_frames(comm, &from, &cube));
  compton_cube_free(&cube);
  to.frames    = (struct raw_frames_request){file, 1, false, 0, 0};
  to.dark.rows = ROWS, to.dark.columns = COLUMNS;
  to.max_cluster = 2;
  return to;
}

TEST(hits_that_were_kept_give_the_counts_of_their_frames) {
  static const int64_t block[] = {0, 1, 3, 50};
  static const double share[]  = {0.12, 0.002};
  for (int form = 0; form < FORMS; form++)
    for (int k = 0; k < 2; k++) {
      struct sensor s = sensor_make(share[k]);
      struct disk d;
      char path[300];
      const char *file[1];
      disk_make(&s, (enum form)form, &d);
      struct compton_frames_settings set = hits_make(comm, &d, path, file);
      for (size_t i = 0; i < sizeof block / sizeof *block; i++)
        for (int veto = 0; veto < 2; veto++) {
          char what[80];
          snprintf(what, sizeof what, "form %d share %g block %d veto %d", form, share[k],
                   (int)block[i], veto);
          set.block = block[i], set.veto = veto;
          count_and_compare(comm, &s, &set, what);
        }
      set.threshold_kev = 9, set.max_cluster = 1;
      count_and_compare(comm, &s, &set, "a higher threshold");
      sensor_free(&s);
    }
}

TEST(every_instruction_set_counts_alike) {
  struct sensor s = sensor_make(0.05);
  struct disk d;
  disk_make(&s, INTERLEAVED, &d);
  enum isa best = isa_now();
  for (int isa = ISA_BASELINE; isa <= (int)best; isa++) {
    CHECK_OK(isa_agree(comm, isa_name((enum isa)isa)));
    count_and_compare(comm, &s, &d.set, isa_name((enum isa)isa));
  }
  CHECK_OK(isa_agree(comm, isa_name(best)));
  sensor_free(&s);
}

TEST(occupancy_and_the_chance_of_a_neighbour) {
  struct sensor s = sensor_make(0.02);
  struct disk d;
  struct compton_cube cube;
  disk_make(&s, SORTED, &d);
  CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
  CHECK(cube.bad_pixels == 1 && cube.frames == FRAMES, "%lld %lld", (long long)cube.bad_pixels,
        (long long)cube.frames);
  CHECK_NEAR(cube.occupancy, (double)cube.hits / FRAMES / (PIXELS - 1), 1e-12);
  CHECK_NEAR(cube.chance, 1 - pow(1 - cube.occupancy, 8), 1e-12);
  for (int64_t p = 0; p < cube.pixels; p++)
    CHECK(cube.bad[p] == (cube.pixel0 + p == 37), "pixel %lld", (long long)(cube.pixel0 + p));
  compton_cube_free(&cube);
  sensor_free(&s);
}

TEST(of_two_equal_hits_the_first_in_raster_order_gets_the_sum) {
  uint16_t frame[PIXELS] = {0};
  struct sensor s        = sensor_make(0);
  struct disk d;
  struct compton_cube cube;
  disk_make(&s, SORTED, &d);
  for (int form = 0; form < 2; form++) {
    frame[2 * COLUMNS + 5] = frame[3 * COLUMNS + 4] = 1000; /* 10 + 10 keV */
    frame[7 * COLUMNS + 15] = 1500; /* a corner's neighbour across rows is none */
    frame[8 * COLUMNS + 0]  = 1500;
    frames_write(d.path[0], frame, 1, form == INTERLEAVED);
    d.set.frames.files = 1, d.set.frames.interleaved = form == INTERLEAVED, d.set.dark.files = 0;
    d.set.gain = d.set.offset = "", d.set.gain_kev = 0.01;
    CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
    CHECK(cube.singles == 2 && cube.pairs == 1 && cube.frames == 1, "%lld %lld",
          (long long)cube.singles, (long long)cube.pairs);
    int64_t p = 2 * COLUMNS + 5 - cube.pixel0;
    if (p >= 0 && p < cube.pixels)
      CHECK(cube.count[p * BINS + 60] == 1, "20 keV lie in bin 60 of pixel (2, 5)");
    compton_cube_free(&cube);
  }
  sensor_free(&s);
}

/* ---- thresholds, dark, keV ------------------------------------------------------------------------------ */

TEST(dark_mean_and_noise_are_exact) {
  struct sensor s = sensor_make(0);
  struct disk d;
  double mean[PIXELS], noise[PIXELS];
  int64_t frames;
  disk_make(&s, INTERLEAVED, &d);
  CHECK_OK(compton_events_dark(comm, &d.set.dark, ROWS, COLUMNS, mean, noise, &frames));
  CHECK(frames == DARKS, "%lld", (long long)frames);
  for (int p = 0; p < PIXELS; p++) {
    double square = 0;
    for (int k = 0; k < DARKS; k++)
      square += (s.dark_frame[k][p] - s.dark[p]) * (s.dark_frame[k][p] - s.dark[p]);
    CHECK_NEAR(mean[p], s.dark[p], 1e-12);
    CHECK_NEAR(noise[p], sqrt(square / (DARKS - 1)), 1e-9);
  }
  sensor_free(&s);
}

TEST(thresholds_in_noises_and_from_a_map_take_the_highest) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  struct compton_cube cube;
  double mean[PIXELS], noise[PIXELS], threshold[PIXELS];
  char path[300];
  int64_t frames, want = 0;
  disk_make(&s, SORTED, &d);
  for (int p = 0; p < PIXELS; p++) threshold[p] = 200 + p;
  text_write(in_scratch("threshold.txt", path), threshold, PIXELS);
  d.set.threshold = path, d.set.threshold_sigma = 60, d.set.threshold_kev = 8;
  CHECK_OK(compton_events_dark(comm, &d.set.dark, ROWS, COLUMNS, mean, noise, &frames));
  for (int64_t i = 0; i < (int64_t)FRAMES * PIXELS; i++) {
    int64_t p  = i % PIXELS;
    double adu = s.frame[i] - mean[p];
    want += s.gain[p] > 0 && adu >= threshold[p] && adu > 60 * noise[p] &&
            s.gain[p] * adu + s.offset[p] >= 8;
  }
  CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
  CHECK(cube.hits == want && want > 100, "%lld hits, not %lld", (long long)cube.hits,
        (long long)want);
  compton_cube_free(&cube);
  sensor_free(&s);
}

/* Four dark runs: up by 2 ADU a second, then down by 2 (in the even pixels; the odd ones stay); the first one is of before,
 * and must not matter. Frame f is of the second 100.5 + f. */
enum { RUNS = 4 };
struct drifting {
  char path[RUNS][300];
  const char *file[RUNS];
  double time_s[RUNS];
};
static double drift_adu(int64_t p, double time_s) {
  return p % 2 ? 0 : time_s < 131 ? 2 * (time_s - 100) : 62 - 2 * (time_s - 131);
}
static void drifting_make(const struct sensor *s, bool interleaved, struct disk *d,
                          struct drifting *runs) {
  static const double time_s[RUNS] = {90, 100, 131, 171};
  uint16_t dark[DARKS * PIXELS];
  for (int k = 0; k < RUNS; k++) {
    char name[40];
    snprintf(name, sizeof name, "dark_%d.bin", k);
    runs->file[k]   = in_scratch(name, runs->path[k]);
    runs->time_s[k] = time_s[k];
    for (int i = 0; i < DARKS * PIXELS; i++)
      dark[i] = (uint16_t)(s->dark_frame[i / PIXELS][i % PIXELS] +
                           (k ? drift_adu(i % PIXELS, time_s[k]) : 77));
    frames_write(runs->path[k], dark, DARKS, interleaved);
  }
  d->set.dark.file = runs->file, d->set.dark.files = RUNS;
  d->set.dark_s = runs->time_s, d->set.start_s = 100, d->set.exposure_s = FRAMES;
}

TEST(a_dark_that_drifts_is_followed_from_run_to_run) {
  static const int64_t block[] = {0, 7};
  struct sensor s = sensor_make(0.12), drifted = sensor_make(0.12);
  struct disk d;
  struct drifting runs;
  struct compton_cube cube;
  for (int64_t i = 0; i < (int64_t)FRAMES * PIXELS; i++)
    drifted.frame[i] = (uint16_t)fmin(
        drifted.frame[i] + drift_adu(i % PIXELS, 100.5 + (double)(i / PIXELS)), 65535);
  for (int form = 0; form < FORMS; form++) {
    disk_make(&drifted, (enum form)form, &d);
    drifting_make(&s, form == INTERLEAVED, &d, &runs);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++)
      for (int veto = 0; veto < 2; veto++) {
        char what[80];
        snprintf(what, sizeof what, "form %d block %d veto %d", form, (int)block[i], veto);
        d.set.block = block[i], d.set.veto = veto;
        count_and_compare(comm, &s, &d.set, what);
      }
  }
  /* what is followed: all runs taken together give other counts */
  struct count want = count_naively(&s, &d.set);
  d.set.dark_s      = NULL;
  CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
  int64_t wrong = 0;
  for (int64_t i = 0; i < cube.pixels * BINS; i++)
    wrong += cube.count[i] != want.histogram[cube.pixel0 * BINS + i];
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM, comm);
  CHECK(wrong > 300, "%lld counts differ without", (long long)wrong);
  compton_cube_free(&cube);
  free(want.histogram);
  sensor_free(&s);
  sensor_free(&drifted);
}

/* Noise grows straight from 8 to 24 ADU; all values are 100 ADU over dark: hits while 6 noises are less. */
TEST(the_noise_of_the_dark_is_followed_too) {
  enum { QUIET = 8, LOUD = 24, EVEN = 4 };
  static uint16_t dark[2][EVEN * PIXELS];
  static const double time_s[] = {0, 1};
  struct sensor s              = sensor_make(0);
  struct disk d;
  struct compton_cube cube;
  char path[2][300];
  const char *file[2];
  double over  = sqrt((double)EVEN / (EVEN - 1)); /* a sample's deviation */
  int64_t want = 0;
  for (int64_t i = 0; i < (int64_t)FRAMES * PIXELS; i++) s.frame[i] = 1100;
  disk_make(&s, SORTED, &d);
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < EVEN * PIXELS; i++)
      dark[k][i] = (uint16_t)(1000 + (i / PIXELS % 2 ? 1 : -1) * (k ? LOUD : QUIET));
    file[k] = in_scratch(k ? "loud.bin" : "quiet.bin", path[k]);
    frames_write(path[k], dark[k], EVEN, false);
  }
  for (int f = 0; f < FRAMES; f++)
    want += 6 * over * (QUIET + (LOUD - QUIET) * (f + 0.5) / FRAMES) < 100 ? PIXELS - 1 : 0;
  d.set.dark.file = file, d.set.dark.files = 2, d.set.dark_s = time_s, d.set.exposure_s = 1;
  d.set.threshold_kev = 0, d.set.threshold_sigma = 6;
  CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
  CHECK(cube.hits == want && want > 0 && want < FRAMES * (PIXELS - 1), "%lld hits, not %lld",
        (long long)cube.hits, (long long)want);
  compton_cube_free(&cube);
  sensor_free(&s);
}

TEST(noisy_and_silent_pixels_are_left_out) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  struct compton_cube cube;
  for (int k = 0; k < DARKS; k++)
    s.dark_frame[k][5] = 1000, s.dark_frame[k][6] = (uint16_t)(k % 2 ? 500 : 1500);
  disk_make(&s, SORTED, &d);
  d.set.noisy = 5;
  CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
  CHECK(cube.bad_pixels == 3, "%lld bad pixels", (long long)cube.bad_pixels);
  for (int64_t p = 0; p < cube.pixels; p++) {
    int64_t pixel = cube.pixel0 + p, sum = 0;
    for (int64_t b = 0; b < BINS; b++) sum += cube.count[p * BINS + b];
    bool bad = pixel == 5 || pixel == 6 || pixel == 37;
    CHECK(cube.bad[p] == bad && (!bad || sum == 0), "pixel %lld", (long long)pixel);
  }
  compton_cube_free(&cube);
  sensor_free(&s);
}

TEST(processed_frames_in_keV_give_the_same_counts) {
  struct sensor s = sensor_make(0.1), kev = {0};
  struct disk d;
  hsize_t shape[3] = {FRAMES, ROWS, COLUMNS};
  float *value     = calloc(FRAMES * PIXELS, sizeof *value);
  disk_make(&s, HDF5, &d);
  kev = sensor_make(0.1);
  for (int64_t i = 0; i < (int64_t)FRAMES * PIXELS; i++) { /* sixteenths of a keV, exact as float */
    kev.frame[i] = (uint16_t)(s.frame[i] > 1200 ? s.frame[i] / 4 : 0);
    value[i]     = (float)kev.frame[i] / 16;
  }
  for (int p = 0; p < PIXELS; p++) kev.gain[p] = 1. / 16, kev.offset[p] = kev.dark[p] = 0;
  hdf5_write(d.path[0], "processed_frames", 3, shape, H5T_NATIVE_FLOAT, value, false);
  d.set.frames.files = 1, d.set.dark.files = 0, d.set.gain = d.set.offset = "";
  d.set.bin_kev = 0.25, d.set.first_kev = 2.125, d.set.last_kev = 39.625;
  count_and_compare(comm, &kev, &d.set, "keV");
  free(value);
  sensor_free(&s);
  sensor_free(&kev);
}

/* ---- extremes -------------------------------------------------------------------------------------------- */

TEST(no_hit_at_all_and_a_file_of_one_frame) {
  struct sensor s = sensor_make(0);
  struct disk d;
  struct compton_cube cube;
  for (int64_t i = 0; i < (int64_t)FRAMES * PIXELS; i++) s.frame[i] = 0;
  disk_make(&s, SORTED, &d);
  for (int files = 1; files <= FILES; files += 2) {
    d.set.frames.file  = d.file + (files == 1); /* the second file has one frame */
    d.set.frames.files = files == 1 ? 1 : FILES;
    CHECK_OK(compton_cube_from_frames(comm, &d.set, &cube));
    CHECK(cube.events == 0 && cube.hits == 0 && cube.occupancy == 0 &&
              cube.frames == (files == 1 ? 1 : FRAMES),
          "%lld events", (long long)cube.events);
    compton_cube_free(&cube);
  }
  sensor_free(&s);
}

TEST(memory_does_not_grow_with_the_number_of_frames) {
  enum { SIDE = 80, FEW = 500, MANY = 2500 }; /* a block on every rank is full */
  char path[300];
  const char *file[] = {in_scratch("long.bin", path)};
  uint16_t *frame    = calloc((size_t)MANY * SIDE * SIDE, sizeof *frame);
  int64_t peak[2];
  struct compton_frames_settings set = {
      .frames        = {file, 1, true, 0, 0},
      .gain          = "",
      .offset        = "",
      .threshold     = "",
      .gain_kev      = 0.03,
      .threshold_kev = 4,
      .max_cluster   = 2,
      .last_kev      = 100,
      .bin_kev       = 1
  };
  for (int i = 0; i < 2; i++) {
    struct compton_cube cube;
    int64_t n = i ? MANY : FEW;
    bytes_write(path, frame, (size_t)(n * SIDE * SIDE) * sizeof *frame);
    CHECK_OK(compton_cube_from_frames(comm, &set, &cube));
    CHECK(cube.frames == n, "%lld frames", (long long)cube.frames);
    compton_cube_free(&cube);
    peak[i] = memory_peak_bytes();
  }
  CHECK(peak[0] == peak[1], "%lld bytes, then %lld", (long long)peak[0], (long long)peak[1]);
  free(frame);
}

TEST(the_forecast_is_what_counting_takes) {
  enum { SIDE = 80, N = 500 };
  char path[300];
  const char *file[] = {in_scratch("zero.bin", path)};
  uint16_t *frame    = calloc((size_t)N * SIDE * SIDE, sizeof *frame);
  struct compton_shape shape;
  struct compton_cube cube;
  struct compton_frames_settings set = {
      .frames        = {file, 1, true, 0, 0},
      .gain          = "",
      .offset        = "",
      .threshold     = "",
      .gain_kev      = 0.03,
      .threshold_kev = 4,
      .max_cluster   = 2,
      .last_kev      = 160,
      .bin_kev       = 0.2
  };
  bytes_write(path, frame, sizeof *frame * N * SIDE * SIDE);
  int64_t before = memory_now_bytes();
  CHECK_OK(compton_cube_frames_shape(comm, &set, &shape));
  CHECK_OK(compton_cube_from_frames(comm, &set, &cube));
  double taken = (double)(memory_peak_bytes() - before),
         need  = (double)(shape.cube_bytes + shape.work_bytes);
  CHECK(taken <= need && taken >= 0.8 * need, "%.0f bytes, forecast %.0f", taken, need);
  CHECK(shape.frames == N && shape.bins == 800, "%lld frames", (long long)shape.frames);
  compton_cube_free(&cube);
  free(frame);
}

/* ---- bad input -------------------------------------------------------------------------------------------- */

static void refused(MPI_Comm comm, const struct compton_frames_settings *set, enum status code,
                    const char *words) {
  struct compton_cube cube;
  status_clear();
  enum status got = compton_cube_from_frames(comm, set, &cube);
  CHECK(got == code && strstr(status_text(), words), "%s instead of \"%s\": %s", status_name(got),
        words, status_text());
  CHECK(!cube.count && !cube.bad, "nothing is left");
  status_clear();
}

TEST(bad_frames_are_refused_with_words) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  uint16_t one     = 1;
  hsize_t shape[3] = {1, ROWS, COLUMNS - 4};
  struct raw_frames_request whole;
  disk_make(&s, HDF5, &d);
  whole = d.set.frames;
  hdf5_write(d.path[2], "raw_frames", 3, shape, H5T_NATIVE_UINT16, s.frame, false);
  refused(comm, &d.set, STATUS_INPUT, "frames of another detector");
  frames_write(d.path[2], s.frame, 2, false);
  refused(comm, &d.set, STATUS_INPUT, "another kind");
  bytes_write(d.path[0], s.frame, 2 * (PIXELS + 3));
  d.set.frames.files = 1;
  refused(comm, &d.set, STATUS_INPUT, "the last frame has 6 of 288 bytes");
  bytes_write(d.path[0], &one, 0);
  refused(comm, &d.set, STATUS_INPUT, "is empty");
  bytes_write(d.path[0], "HEXITECH........", 16);
  refused(comm, &d.set, STATUS_INPUT, "holds spectra");
  d.file[0] = "/nowhere/frames.bin";
  refused(comm, &d.set, STATUS_INPUT, "/nowhere/frames.bin");
  d.set.frames = whole, d.set.frames.files = 0;
  refused(comm, &d.set, STATUS_INPUT, "no file of frames");
  disk_make(&s, INTERLEAVED, &d);
  d.set.frames.columns = 18, d.set.frames.rows = 8;
  refused(comm, &d.set, STATUS_INPUT, "multiple of 4");
  sensor_free(&s);
}

TEST(bad_maps_are_refused_with_words) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  double none[PIXELS] = {0};
  disk_make(&s, SORTED, &d);
  text_write(d.gain, s.gain, PIXELS - 1);
  refused(comm, &d.set, STATUS_INPUT, "143 values; 9 x 16 pixels want 144");
  s.gain[17] = -0.02;
  text_write(d.gain, s.gain, PIXELS);
  refused(comm, &d.set, STATUS_INPUT, "the gain of pixel (1, 1) is -0.02");
  bytes_write(d.gain, "0.1 0.2\n0.x3\n", 13);
  refused(comm, &d.set, STATUS_INPUT, "gain.txt:2: \"0.x3\"");
  text_write(d.gain, none, PIXELS);
  refused(comm, &d.set, STATUS_INPUT, "none of the 144 pixels is good");
  s.gain[17] = 0.02;
  text_write(d.gain, s.gain, PIXELS);
  s.offset[3] = 1e9;
  text_write(d.offset, s.offset, PIXELS);
  refused(comm, &d.set, STATUS_INPUT, "the offset of pixel (0, 3)");
  d.set.offset = "", d.set.threshold_kev = 0;
  refused(comm, &d.set, STATUS_USAGE, "no threshold");
  d.set.threshold = d.offset;
  refused(comm, &d.set, STATUS_INPUT, "the threshold of pixel (0, 0)");
  d.set.threshold = "", d.set.threshold_sigma = 5, d.set.dark.files = 0;
  refused(comm, &d.set, STATUS_USAGE, "needs a dark run");
  sensor_free(&s);
}

TEST(dark_runs_at_times_that_cannot_be_are_refused) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  struct drifting runs;
  char hits[300];
  disk_make(&s, SORTED, &d);
  drifting_make(&s, false, &d, &runs);
  runs.time_s[2] = 100;
  refused(comm, &d.set, STATUS_USAGE, "would rise: 100 s after 100 s");
  runs.time_s[2] = 131, d.set.hits = in_scratch("drift.hits", hits);
  refused(comm, &d.set, STATUS_USAGE, "has one dark");
  d.set.hits = NULL, d.set.exposure_s = (double)NAN;
  refused(comm, &d.set, STATUS_USAGE, "need the exposure");
  sensor_free(&s);
}

TEST(bad_hits_are_refused_with_words) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  char path[300], bytes[60 + 2 * PIXELS];
  const char *file[1];
  disk_make(&s, SORTED, &d);
  struct compton_frames_settings set = hits_make(comm, &d, path, file);
  set.threshold_kev                  = 3;
  refused(comm, &set, STATUS_INPUT, "hits above");
  set.threshold_kev = 4, set.hits = "again.hits";
  refused(comm, &set, STATUS_USAGE, "is made of frames");
  set.hits = NULL, set.dark = set.frames;
  refused(comm, &set, STATUS_INPUT, "dark frames are uint16");
  set.dark                   = d.set.dark;
  const char *const mixed[2] = {path, d.path[0]};
  set.frames.file = mixed, set.frames.files = 2, set.frames.rows = ROWS,
  set.frames.columns = COLUMNS;
  refused(comm, &set, STATUS_INPUT, "another kind");
  set.frames.files = 1;
  memset(bytes, 0, sizeof bytes);
  memcpy(bytes, "XCSCTHIT\2", 9);
  bytes_write(path, bytes, sizeof bytes);
  refused(comm, &set, STATUS_INPUT, "version 2");
  bytes[8] = 1, bytes[12] = ROWS, bytes[16] = COLUMNS, bytes[24] = 5, bytes[32] = 100;
  bytes_write(path, bytes, sizeof bytes);
  refused(comm, &set, STATUS_INPUT, "100 hits of 5 frames want");
  sensor_free(&s);
}

/* The frames of the first block are taken away in between: they need not be there a second time. */
TEST(a_count_that_was_stopped_goes_on_from_what_was_kept) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  struct compton_cube cube;
  char keep[300], hits[300], stop[300];
  int size;
  MPI_Comm_size(comm, &size);
  disk_make(&s, SORTED, &d);
  uint16_t *first_frames = calloc(20 * PIXELS, sizeof *first_frames);
  memcpy(first_frames, s.frame, 20 * PIXELS * sizeof *first_frames);
  memset(first_frames, 0, (size_t)(3 * size * PIXELS) * sizeof *first_frames);
  d.set.block = 3;
  d.set.keep = in_scratch("cube.kept", keep), d.set.keep_record = 77;
  d.set.hits = in_scratch("kept.hits", hits);
  bytes_write(in_scratch("stop", stop), "", 0);
  stop_watch(stop, 0);
  CHECK(compton_cube_from_frames(comm, &d.set, &cube) == STATUS_STOPPED, "%s", status_text());
  status_clear();
  stop_watch(NULL, 0);
  frames_write(d.path[0], first_frames, 20, false);
  count_and_compare(comm, &s, &d.set, "goes on");
  frames_write(d.path[0], s.frame, 20, false);
  d.set.keep_record = 78;
  count_and_compare(comm, &s, &d.set, "other work begins anew");
  d.set.frames.file = (const char *[]){hits}, d.set.frames.files = 1, d.set.hits = NULL;
  d.set.keep = NULL;
  count_and_compare(comm, &s, &d.set, "hits");
  free(first_frames);
  sensor_free(&s);
}

TEST(a_failing_rank_is_told_to_all) {
#ifdef XCSCT_FAULTS
  static const char *const site[] = {"compton.events", "raw.frames", "compton.keep", "raw.hits"};
  struct sensor s                 = sensor_make(0.1);
  struct disk d;
  int size;
  MPI_Comm_size(comm, &size);
  char keep[300], hits[300];
  disk_make(&s, HDF5, &d);
  d.set.keep = in_scratch("fault.kept", keep), d.set.hits = in_scratch("fault.hits", hits);
  for (int i = 0; i < 4; i++) {
    char fault[64];
    snprintf(fault, sizeof fault, "%s:%d", site[i], size - 1);
    setenv("FAULT", fault, 1);
    struct compton_cube cube;
    CHECK(compton_cube_from_frames(comm, &d.set, &cube) != STATUS_OK, "%s", fault);
    unsetenv("FAULT");
    status_clear();
  }
  count_and_compare(comm, &s, &d.set, "after faults");
  sensor_free(&s);
#else
  check_skip("built without XCSCT_FAULTS");
#endif
}

/* ---- spectra ------------------------------------------------------------------------------------------------ */

/* Version 1 has nothing between version and shape. */
static void hxt_write(const char *path, uint64_t version, const double *edge, const double *value) {
  size_t head = version == 1 ? 28 : 184, bytes = head + 8 * (BINS + BINS * PIXELS);
  char *content = calloc(1, bytes);
  uint32_t n[3] = {ROWS, COLUMNS, BINS};
  memcpy(content, "HEXITECH", 8);
  memcpy(content + 8, &version, 8);
  memcpy(content + head - 12, n, 12);
  memcpy(content + head, edge, 8 * BINS);
  memcpy(content + head + 8 * BINS, value, 8 * BINS * PIXELS);
  bytes_write(path, content, bytes);
  free(content);
}

TEST(spectra_of_hxt_and_odin_files_are_summed) {
  struct sensor s = sensor_make(0.1);
  struct disk d;
  char hxt[300], first_hxt[300], odin[300];
  double edge[BINS];
  disk_make(&s, SORTED, &d);
  struct count want = count_naively(&s, &d.set);
  double *value     = calloc(BINS * PIXELS, sizeof *value);
  for (int b = 0; b < BINS; b++) edge[b] = 2 + 0.3 * b;
  for (int i = 0; i < BINS * PIXELS; i++) value[i] = want.histogram[i];
  hsize_t n[4] = {1, ROWS, COLUMNS, BINS};
  hxt_write(in_scratch("s.hxt", hxt), 3, edge, value);
  hdf5_write(in_scratch("s.h5", odin), "pixel_spectra", 4, n, H5T_NATIVE_DOUBLE, value, false);
  hdf5_write(odin, "spectra_bins", 1, n + 3, H5T_NATIVE_DOUBLE, edge, true);
  hxt_write(in_scratch("s1.hxt", first_hxt), 1, edge, value);
  const char *file[] = {hxt, first_hxt, odin, odin};
  struct compton_cube cube;
  for (int first = 0; first < 3; first++)
    for (int files = 1; first + files <= 4; files++) {
      CHECK_OK(compton_cube_from_spectra(comm, file + first, files, &cube));
      CHECK(cube.rows == ROWS && cube.columns == COLUMNS && cube.bins == BINS, "shape");
      CHECK_NEAR(cube.first_kev, 2, 1e-12);
      CHECK_NEAR(cube.bin_kev, 0.3, 1e-12);
      int64_t wrong = 0;
      for (int64_t i = 0; i < cube.pixels * BINS; i++)
        wrong += cube.count[i] != (uint32_t)files * want.histogram[cube.pixel0 * BINS + i];
      CHECK(wrong == 0, "%lld counts differ", (long long)wrong);
      CHECK(cube.events == files * (want.singles + want.pairs - want.outside), "%lld",
            (long long)cube.events);
      compton_cube_free(&cube);
    }
  value[77] = 0.5;
  hxt_write(hxt, 3, edge, value);
  CHECK(compton_cube_from_spectra(comm, file, 1, &cube) == STATUS_INPUT &&
            strstr(status_text(), "has 0.5 counts in bin 77"),
        "%s", status_text());
  status_clear();
  hxt_write(hxt, 2, edge, value);
  CHECK(compton_cube_from_spectra(comm, file, 1, &cube) == STATUS_INPUT &&
            strstr(status_text(), "of version 2; versions 1 and 3"),
        "%s", status_text());
  status_clear();
  edge[9] += 0.1, value[77] = 0;
  hxt_write(hxt, 3, edge, value);
  CHECK(compton_cube_from_spectra(comm, file, 1, &cube) == STATUS_INPUT &&
            strstr(status_text(), "bins of equal width"),
        "%s", status_text());
  status_clear();
  free(value);
  free(want.histogram);
  sensor_free(&s);
}

/* ---- a real file -------------------------------------------------------------------------------------------- */

static int64_t values_over(const char *path, double adu, int64_t n) {
  uint16_t *value = calloc((size_t)n, sizeof *value);
  hid_t file      = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT),
        set       = H5Dopen2(file, "raw_frames", H5P_DEFAULT);
  CHECK(H5Dread(set, H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0, "%s", path);
  H5Dclose(set);
  H5Fclose(file);
  int64_t hits = 0;
  for (int64_t i = 0; i < n; i++) hits += value[i] >= adu;
  free(value);
  return hits;
}

TEST(hits_of_a_real_detector_are_its_values_over_threshold) {
  char path[1024], map[1024];
  enum { SIDE = 160, REAL = 30 };
  if (!check_data("compton/data_config_160_160_vcaled_30_frames.h5", path, sizeof path) ||
      !check_data("compton/data_config_m.txt", map, sizeof map)) {
    check_skip("no real data");
    return;
  }
  const char *file[]                 = {path};
  struct compton_frames_settings set = {
      .frames        = {file, 1, false, 0, 0},
      .gain          = "",
      .offset        = "",
      .threshold     = "",
      .gain_kev      = 0.0271,
      .threshold_kev = 20.001,
      .max_cluster   = 2,
      .last_kev      = 150,
      .bin_kev       = 1
  };
  struct compton_cube cube;
  CHECK_OK(compton_cube_from_frames(comm, &set, &cube));
  CHECK(cube.rows == SIDE && cube.columns == SIDE && cube.frames == REAL, "%lld x %lld",
        (long long)cube.rows, (long long)cube.columns);
  int64_t want = values_over(path, 20.001 / 0.0271, REAL * SIDE * SIDE);
  CHECK(cube.hits == want && want > 0, "%lld hits, not %lld", (long long)cube.hits,
        (long long)want);
  compton_cube_free(&cube);
  set.gain = map; /* of 160 x 480 pixels */
  refused(comm, &set, STATUS_INPUT, "76800 values; 160 x 160 pixels want 25600");
}
