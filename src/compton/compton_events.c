/* The detector as its maps and dark runs tell it, and the loop over frames. The energy of a word is slope ADU + base
 * with both rounded to 2^-36 of a bin (65535 ADU add at most 1e-6 bin), so all later sums are exact. A dark that changes
 * does so in DARK_STEPS steps of the acquisition, each with the dark of its middle: what is left of a drift of 10 ADU is
 * below 0.02 ADU. */
#include "compton_events.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DARK_STEPS = 256 };
enum { ADU_MOST = 65535, BINS_MOST = 1 << 20, BINS_AN_ADU_MOST = 1000, BINS_OFFSET_MOST = 1000000 };
#define GAIN_LEAST 1e-6 /* bins per ADU */

/* ---- dark runs ---------------------------------------------------------------------------------- */

enum { DARK_BLOCK_BYTES = 4 << 20 };

static enum status dark_sum(MPI_Comm comm, struct raw_frames *frames, uint64_t *sum) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  int64_t words = frames->words, block = DARK_BLOCK_BYTES / (2 * words);
  uint16_t *buffer;
  if (block < 1) block = 1;
  TRY_ALL(comm, memory_make_raw(block * words, sizeof *buffer, "dark frames", &buffer));
  enum status status = STATUS_OK;
  for (int64_t first = 0; first < frames->frames && status == STATUS_OK; first += block * size) {
    int64_t mine = first + rank * block, n = frames->frames - mine;
    n      = n < 0 ? 0 : n < block ? n : block;
    status = raw_frames_read(comm, frames, n ? mine : 0, n, buffer);
    for (int64_t i = 0; i < n && status == STATUS_OK; i++)
      ISA_PICK(events_dark_add)(buffer + i * words, words, sum, sum + words);
  }
  memory_free(buffer);
  if (status == STATUS_OK) {
    for (int part = 0; part < 2; part++)
      MPI_Allreduce(MPI_IN_PLACE, sum + part * words, (int)words, MPI_UINT64_T, MPI_SUM, comm);
  }
  return status;
}

/* noise^2 = (n sum of squares - square of the sum) / (n (n - 1)), the numerator without rounding. */
static void dark_statistics(const struct raw_frames *frames, const uint64_t *sum, double *mean,
                            double *noise) {
  uint64_t n = (uint64_t)frames->frames;
  for (int64_t w = 0; w < frames->words; w++) {
    unsigned __int128 spread =
        (unsigned __int128)n * sum[frames->words + w] - (unsigned __int128)sum[w] * sum[w];
    int64_t pixel = raw_frames_pixel(frames, w);
    mean[pixel]   = (double)sum[w] / (double)n;
    noise[pixel]  = n > 1 ? sqrt((double)spread / ((double)n * (double)(n - 1))) : 0;
  }
}

static enum status dark_check(const struct raw_frames *dark, int64_t rows, int64_t columns) {
  if (dark->in_kev || dark->is_hits)
    return FAIL(STATUS_INPUT, "%s holds %s; dark frames are uint16", dark->file[0].name,
                dark->is_hits ? "hits" : "energies");
  if (dark->rows != rows || dark->columns != columns)
    return FAIL(STATUS_INPUT, "the dark run %s has %lld x %lld pixels, the frames %lld x %lld",
                dark->file[0].name, (long long)dark->rows, (long long)dark->columns,
                (long long)rows, (long long)columns);
  return STATUS_OK;
}

enum status compton_events_dark(MPI_Comm comm, const struct raw_frames_request *request,
                                int64_t rows, int64_t columns, double *mean, double *noise,
                                int64_t *frames) {
  struct raw_frames dark;
  uint64_t *sum = NULL;
  TRY(raw_frames_open(comm, request, &dark));
  enum status status = dark_check(&dark, rows, columns);
  if (status == STATUS_OK)
    status = memory_make(2 * dark.words, sizeof *sum, "sums of dark frames", &sum);
  status = AGREE(comm, status);
  if (status == STATUS_OK) status = dark_sum(comm, &dark, sum);
  if (status == STATUS_OK) {
    dark_statistics(&dark, sum, mean, noise);
    *frames = dark.frames;
  }
  memory_free(sum);
  raw_frames_close(&dark);
  return status;
}

/* ---- the map ------------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static enum status noise_median(struct events_pixels *of) {
  double *sorted;
  TRY(memory_make(of->n, sizeof *sorted, "noise of pixels", &sorted));
  for (int k = 0; k < of->runs; k++) {
    int64_t n = 0;
    for (int64_t p = 0; p < of->n; p++)
      if (of->gain[p] > 0) sorted[n++] = of->noise[k * of->n + p];
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    of->median_noise[k] = n ? sorted[n / 2] : 0;
  }
  memory_free(sorted);
  return STATUS_OK;
}

static enum status darks_check(const struct compton_frames_settings *s,
                               const struct raw_frames *frames) {
  if (!s->dark_s) return STATUS_OK;
  if (!(s->exposure_s >= 0))
    return FAIL(STATUS_USAGE, "dark runs at different times need the exposure of %s",
                frames->file[0].name);
  for (int k = 1; k < s->dark.files; k++)
    if (!(s->dark_s[k] > s->dark_s[k - 1]))
      return FAIL(STATUS_USAGE, "the times of dark runs would rise: %g s after %g s", s->dark_s[k],
                  s->dark_s[k - 1]);
  if (s->hits || frames->is_hits)
    return FAIL(STATUS_USAGE, "a file of hits has one dark; with dark runs at different times the "
                              "frames themselves are counted");
  return STATUS_OK;
}

enum status compton_events_check(const struct compton_frames_settings *s,
                                 const struct raw_frames *frames) {
  double bins = (s->last_kev - s->first_kev) / s->bin_kev;
  if (!(s->bin_kev > 0) || !(bins >= 1) || !(bins <= BINS_MOST) ||
      !(fabs(s->first_kev / s->bin_kev) < BINS_OFFSET_MOST) ||
      !(s->threshold_kev / s->bin_kev < BINS_OFFSET_MOST))
    return FAIL(STATUS_USAGE,
                "bins of %g keV from %g to %g keV and a threshold of %g keV cannot be", s->bin_kev,
                s->first_kev, s->last_kev, s->threshold_kev);
  if (s->max_cluster < 1 || s->max_cluster > 2)
    return FAIL(STATUS_USAGE, "clusters of at most %d pixels; 1 or 2 can be", s->max_cluster);
  if (!(s->threshold_kev > 0) &&
      (frames->in_kev || (!(s->threshold_sigma > 0) && !s->threshold[0])))
    return FAIL(STATUS_USAGE, "no threshold is given%s",
                frames->in_kev ? " in keV, as frames in keV need" : "");
  if (s->threshold_sigma > 0 && s->dark.files < 1)
    return FAIL(STATUS_USAGE, "a threshold in noises needs a dark run");
  if (s->hits && (frames->in_kev || frames->is_hits))
    return FAIL(STATUS_USAGE, "a file of hits is made of frames in ADU; %s holds %s",
                frames->file[0].name, frames->is_hits ? "hits" : "energies");
  if (!frames->in_kev && !s->gain_value && !s->gain[0] && !(s->gain_kev > 0))
    return FAIL(STATUS_USAGE, "no gain is given");
  if (frames->in_kev && (s->gain[0] || s->offset[0] || s->threshold[0] || s->dark.files > 0))
    return FAIL(
        STATUS_INPUT,
        "%s holds energies already: no gain, offset, threshold map or dark run belongs to it",
        frames->file[0].name);
  return darks_check(s, frames);
}

/* Values, else a file's, else one for all. */
static enum status map_or(MPI_Comm comm, const char *name, const double *given,
                          const struct raw_frames *frames, double otherwise, double *value) {
  if (given) {
    memcpy(value, given, (size_t)frames->words * sizeof *value);
    return STATUS_OK;
  }
  if (name[0]) return raw_map_read(comm, name, frames->rows, frames->columns, value);
  for (int64_t p = 0; p < frames->words; p++) value[p] = otherwise;
  return STATUS_OK;
}

static enum status values_check(const struct compton_frames_settings *s,
                                const struct raw_frames *frames, const struct events_pixels *of) {
  for (int64_t p = 0; p < of->n; p++) {
    long long row = p / frames->columns, column = p % frames->columns;
    if (of->gain[p] < 0 || of->gain[p] > BINS_AN_ADU_MOST * s->bin_kev ||
        (of->gain[p] > 0 && of->gain[p] < GAIN_LEAST * s->bin_kev))
      return FAIL(STATUS_INPUT,
                  "%s: the gain of pixel (%lld, %lld) is %g keV/ADU; it would be positive, about "
                  "0.03, or 0 for a dead pixel",
                  s->gain[0] ? s->gain : "gain", row, column, of->gain[p]);
    if (fabs(of->offset[p]) > BINS_OFFSET_MOST * s->bin_kev)
      return FAIL(STATUS_INPUT, "%s: the offset of pixel (%lld, %lld) is %g keV", s->offset, row,
                  column, of->offset[p]);
    if (s->threshold[0] && !(of->threshold[p] >= 0 && of->threshold[p] <= ADU_MOST))
      return FAIL(STATUS_INPUT, "%s: the threshold of pixel (%lld, %lld) is %g ADU; 0 to %d can be",
                  s->threshold, row, column, of->threshold[p], ADU_MOST);
  }
  return STATUS_OK;
}

/* Runs taken together, or each by itself; the fewest frames of one. */
static enum status darks_read(MPI_Comm comm, const struct compton_frames_settings *s,
                              const struct raw_frames *frames, struct events_pixels *of,
                              int64_t *fewest) {
  for (int k = 0; k < of->runs; k++) {
    struct raw_frames_request run = s->dark;
    int64_t n                     = 0;
    if (of->runs > 1) run.file += k, run.files = 1;
    TRY(compton_events_dark(comm, &run, frames->rows, frames->columns, of->mean + k * of->n,
                            of->noise + k * of->n, &n));
    if (k == 0 || n < *fewest) *fewest = n;
  }
  return STATUS_OK;
}

static enum status pixels_read(MPI_Comm comm, const struct compton_frames_settings *s,
                               const struct raw_frames *frames, struct events_pixels *of) {
  int64_t dark_frames = 0;
  double gain         = s->gain_kev > 0 ? s->gain_kev : 1;
  TRY(map_or(comm, s->gain, s->gain_value, frames, gain, of->gain));
  TRY(map_or(comm, s->offset, s->offset_value, frames, 0, of->offset));
  TRY(map_or(comm, s->threshold, NULL, frames, 0, of->threshold));
  if (s->dark.files > 0) TRY(darks_read(comm, s, frames, of, &dark_frames));
  if (s->threshold_sigma > 0 && dark_frames == 1)
    return AGREE(comm, FAIL(STATUS_INPUT, "%s has one frame; noise is told by two and more",
                            s->dark.file[0]));
  TRY_ALL(comm, values_check(s, frames, of));
  return AGREE(comm, noise_median(of));
}

/* Dead: no gain, no finite offset, or in one of the dark runs no noise where others have some. */
static bool is_bad(const struct compton_frames_settings *s, const struct events_pixels *of,
                   int64_t p) {
  if (!(of->gain[p] > 0) || !isfinite(of->offset[p])) return true;
  for (int k = 0; k < of->runs; k++) {
    double noise = of->noise[k * of->n + p], median = of->median_noise[k];
    if (median > 0 && (noise == 0 || (s->noisy > 0 && noise > s->noisy * median))) return true;
  }
  return false;
}

/* The run before (or at) a time and the weight of the one after it. */
static int run_at(const struct compton_frames_settings *s, int runs, double time_s,
                  double *weight) {
  int k   = 0;
  *weight = 0;
  if (runs < 2) return 0;
  while (k < runs - 2 && s->dark_s[k + 1] <= time_s) k++;
  *weight = (time_s - s->dark_s[k]) / (s->dark_s[k + 1] - s->dark_s[k]);
  *weight = fmax(0, fmin(1, *weight)); /* before the first and after the last: as those were */
  return k;
}

struct dark {
  double mean, noise;
};
static struct dark dark_at(const struct events_pixels *of, int run, double weight, int64_t p) {
  const double *mean = of->mean + run * of->n, *noise = of->noise + run * of->n;
  if (weight == 0) return (struct dark){mean[p], noise[p]};
  return (struct dark){(1 - weight) * mean[p] + weight * mean[of->n + p],
                       (1 - weight) * noise[p] + weight * noise[of->n + p]};
}

/* The largest value that is no hit: the highest of what the thresholds given say. */
static uint16_t limit_of(const struct compton_frames_settings *s, const struct events_pixels *of,
                         int64_t p, struct dark dark, const struct events_word *word) {
  double limit = 0;
  if (s->threshold_sigma > 0)
    limit = fmax(limit, floor(dark.mean + s->threshold_sigma * dark.noise));
  if (s->threshold[0]) limit = fmax(limit, ceil(dark.mean + of->threshold[p]) - 1);
  if (s->threshold_kev > 0) {
    int64_t least = llround(ldexp(s->threshold_kev / s->bin_kev, EVENTS_FRACTION_BITS)) -
                    word->base; /* a hit has slope ADU >= least */
    if (least > 0) limit = fmax(limit, (double)((least + word->slope - 1) / word->slope - 1));
  }
  return (uint16_t)fmin(limit, ADU_MOST);
}

static void word_place(const struct compton_frames_settings *s, int64_t p, int64_t w,
                       struct events_map *map) {
  struct events_word *word = &map->word[w];
  word->pixel              = (int32_t)p;
  word->cell    = (int32_t)((p / map->columns + EVENTS_RIM) * (map->columns + 2 * EVENTS_RIM) +
                         p % map->columns + EVENTS_RIM);
  map->limit[w] = ADU_MOST;
  map->bad[p]   = is_bad(s, &map->pixels, p);
  map->bad_pixels += map->bad[p];
  if (map->limit_kev) map->limit_kev[w] = map->bad[p] ? INFINITY : (float)s->threshold_kev;
}

/* First frame of a step. */
static int64_t step_begin(const struct raw_frames *frames, int64_t step) {
  return (step * frames->frames + DARK_STEPS - 1) / DARK_STEPS;
}

/* Energies and limits of all words as the dark is in the middle of a step's frames. */
static void words_set(const struct compton_frames_settings *s, const struct raw_frames *frames,
                      int64_t step, struct events_map *map) {
  const struct events_pixels *of = &map->pixels;
  double middle = 0.5 * (double)(step_begin(frames, step) + step_begin(frames, step + 1)), weight;
  int run =
      run_at(s, of->runs, s->start_s + middle / (double)frames->frames * s->exposure_s, &weight);
  map->step = step;
  for (int64_t w = 0; w < map->words; w++) {
    struct events_word *word = &map->word[w];
    int64_t p                = word->pixel;
    if (map->bad[p]) continue;
    struct dark dark = dark_at(of, run, weight, p);
    double gain      = s->growth > 0 ? of->gain[p] / s->growth : of->gain[p];
    word->slope      = llround(ldexp(gain / s->bin_kev, EVENTS_FRACTION_BITS));
    word->base =
        llround(ldexp((of->offset[p] - gain * dark.mean) / s->bin_kev, EVENTS_FRACTION_BITS));
    map->limit[w] = limit_of(s, of, p, dark, word);
  }
}

int64_t compton_events_map_at(const struct compton_frames_settings *s,
                              const struct raw_frames *frames, int64_t frame,
                              struct events_map *map) {
  if (map->pixels.runs < 2) return frames->frames;
  int64_t step = frame * DARK_STEPS / frames->frames;
  if (step != map->step) words_set(s, frames, step, map);
  return step_begin(frames, step + 1);
}

static void pixels_free(struct events_pixels *of) {
  memory_free(of->gain);
  memset(of, 0, sizeof *of);
}

static int64_t pixels_doubles(int64_t n, int runs) { return (3 + 2 * runs) * n + runs; }

static enum status map_memory(const struct compton_frames_settings *s,
                              const struct raw_frames *frames, struct events_map *map) {
  int64_t n = frames->words;
  int runs  = s->dark_s && s->dark.files > 1 ? s->dark.files : 1;
  double *block;
  TRY(memory_make(pixels_doubles(n, runs), sizeof *block, "maps of pixels", &block));
  map->pixels = (struct events_pixels){.gain         = block,
                                       .offset       = block + n,
                                       .threshold    = block + 2 * n,
                                       .mean         = block + 3 * n,
                                       .noise        = block + (3 + runs) * n,
                                       .median_noise = block + (3 + 2 * runs) * n,
                                       .n            = n,
                                       .runs         = runs};
  TRY(memory_make(n, sizeof *map->word, "maps of pixels", &map->word));
  TRY(memory_make(n, sizeof *map->limit, "maps of pixels", &map->limit));
  TRY(memory_make(n, sizeof *map->bad, "maps of pixels", &map->bad));
  if (frames->in_kev)
    TRY(memory_make(n, sizeof *map->limit_kev, "maps of pixels", &map->limit_kev));
  return STATUS_OK;
}

/* Energy restored over energy found, of pairs by their R. */
static void pairs_fill(const struct compton_frames_settings *s, struct events_map *map) {
  const double *c = s->pair_loss_kev, line_kev = 59.5409;
  map->pairs_lost = c[0] != 0 || c[1] != 0 || c[2] != 0;
  for (int i = 0; i < PAIR_STEPS; i++) {
    double r = (i + 0.5) / PAIR_STEPS, lost = c[0] + r * r * (c[1] + r * r * c[2]);
    map->pair_factor[i] = llround(ldexp(line_kev / (line_kev - lost), PAIR_FACTOR_BITS));
  }
}

static enum status map_fill(const struct compton_frames_settings *s,
                            const struct raw_frames *frames, struct events_map *map) {
  map->rows = frames->rows, map->columns = frames->columns, map->words = frames->words;
  map->bins      = llround((s->last_kev - s->first_kev) / s->bin_kev);
  map->first     = llround(ldexp(s->first_kev / s->bin_kev, EVENTS_FRACTION_BITS));
  map->kev_scale = ldexp(1 / s->bin_kev, EVENTS_FRACTION_BITS);
  pairs_fill(s, map);
  for (int64_t w = 0; w < frames->words; w++) word_place(s, raw_frames_pixel(frames, w), w, map);
  words_set(s, frames, 0, map);
  if (map->bad_pixels < map->words) return STATUS_OK;
  return FAIL(STATUS_INPUT, "none of the %lld pixels is good: %s", (long long)map->words,
              s->gain[0] ? "look at the gains and the dark run" : "look at the dark run");
}

enum status compton_events_map_make(MPI_Comm comm, const struct compton_frames_settings *settings,
                                    const struct raw_frames *frames, struct events_map *map) {
  memset(map, 0, sizeof *map);
  TRY_ALL(comm, compton_events_check(settings, frames));
  enum status status = AGREE(comm, map_memory(settings, frames, map));
  if (status == STATUS_OK) status = pixels_read(comm, settings, frames, &map->pixels);
  if (status == STATUS_OK) status = AGREE(comm, map_fill(settings, frames, map));
  if (map->pixels.runs < 2) pixels_free(&map->pixels);
  if (status != STATUS_OK) compton_events_map_free(map);
  return status;
}

void compton_events_map_free(struct events_map *map) {
  memory_free(map->word);
  memory_free(map->limit);
  memory_free(map->limit_kev);
  memory_free(map->bad);
  pixels_free(&map->pixels);
  memset(map, 0, sizeof *map);
}

/* ---- frames ------------------------------------------------------------------------------------- */

enum status compton_events_work_make(const struct events_map *map,
                                     const struct compton_frames_settings *settings,
                                     struct events_work *work) {
  int64_t n = map->words, row = map->columns + 2 * EVENTS_RIM;
  *work = (struct events_work){.words       = n,
                               .row         = row,
                               .word        = map->word,
                               .limit       = map->limit,
                               .limit_kev   = map->limit_kev,
                               .kev_scale   = map->kev_scale,
                               .first       = map->first,
                               .bins        = map->bins,
                               .max_cluster = settings->max_cluster,
                               .veto        = settings->veto};
  if (map->pairs_lost) work->pair_factor = map->pair_factor;
  if (settings->pairs) {
    const struct compton_pair_spectra *pairs = settings->pairs;
    work->pairs                              = pairs->count;
    work->pair_first = llround(ldexp(pairs->first_kev / settings->bin_kev, EVENTS_FRACTION_BITS));
    work->pair_width = llround(ldexp(pairs->bin_kev / settings->bin_kev, EVENTS_FRACTION_BITS));
    work->pair_bins  = pairs->bins;
  }
  TRY(fault_here("compton.events"));
  TRY(memory_make(n * map->bins, sizeof *work->histogram, "spectra of all pixels",
                  &work->histogram));
  TRY(memory_make((map->rows + 2 * EVENTS_RIM) * row, sizeof *work->label, "labels of hits",
                  &work->label));
  TRY(memory_make_raw(n, sizeof *work->hit, "hits of a frame", &work->hit));
  TRY(memory_make_raw(n, sizeof *work->crowd, "hits of a frame", &work->crowd));
  TRY(memory_make((n + 63) / 64, sizeof *work->bits, "hits of a frame", &work->bits));
  return memory_make((n + 63) / 64, sizeof *work->before, "hits of a frame", &work->before);
}

int64_t compton_events_bytes(int64_t rows, int64_t columns, int64_t bins, int darks) {
  int64_t pixels = rows * columns, cells = (rows + 2 * EVENTS_RIM) * (columns + 2 * EVENTS_RIM);
  int64_t map  = (int64_t)(sizeof(struct events_word) + sizeof(uint16_t)) + 1;
  int64_t work = (int64_t)(sizeof(struct events_hit) + sizeof(int32_t)) + 4 * bins;
  int64_t dark = darks > 1 ? 8 * pixels_doubles(pixels, darks) : 0;
  return pixels * (map + work) + 4 * cells + pixels / 4 + dark;
}

void compton_events_work_free(struct events_work *work) {
  memory_free(work->histogram);
  memory_free(work->label);
  memory_free(work->hit);
  memory_free(work->crowd);
  memory_free(work->bits);
  memory_free(work->before);
  memset(work, 0, sizeof *work);
}

void compton_events_add(struct events_work *work, const void *frames, int64_t n, bool before) {
  size_t frame_bytes = (size_t)work->words * (work->limit_kev ? sizeof(float) : sizeof(uint16_t));
  for (int64_t i = 0; i < n; i++) {
    const void *frame = (const char *)frames + (size_t)i * frame_bytes;
    if (work->limit_kev)
      ISA_PICK(events_find_kev)(frame, work->limit_kev, work->words, work->bits);
    else
      ISA_PICK(events_find)(frame, work->limit, work->words, work->bits);
    if (i > 0 || !before) {
      if (work->note) compton_hits_note(work, frame);
      ISA_PICK(events_count)(work, frame);
    }
    uint64_t *swap = work->before;
    work->before = work->bits, work->bits = swap;
  }
}
