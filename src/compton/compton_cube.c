/* The cube of one acquisition. Blocks of frames go round the ranks; each rank counts into spectra of the whole
 * detector, and at the end every rank gets the sum of its pixels. Counts are integers, blocks overlap by nothing but
 * the frame that precedes them (read twice where the veto asks for it), so neither ranks nor blocks show. */
#include "compton_cube.h"
#include "compton_events.h"
#include "compton_keep.h"
#include "raw_hits.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

enum {
  ROUND_BYTES  = 4 << 20, /* of an HDF5 block */
  PIECE_BYTES  = 1 << 20, /* of a headerless read: still in the cache when it is counted */
  ROUND_PIECES = 128,
  NOTED_PIECES = 8, /* where hits are noted: each word may be one */
  HIT_WORDS    = 1 << 18,
  SMALL_BYTES  = 4096, /* alignment of some arrays */
};

void compton_cube_free(struct compton_cube *cube) {
  memory_free(cube->count);
  memory_free(cube->bad);
  memset(cube, 0, sizeof *cube);
}

static enum status share_take(MPI_Comm comm, struct compton_cube *cube) {
  struct grid_plan plan;
  int64_t n[3] = {cube->rows * cube->columns, 1, 1};
  TRY(grid_plan_slabs(comm, n, 0, &plan));
  struct grid_box mine = grid_plan_mine(&plan);
  grid_plan_free(&plan);
  cube->pixel0 = mine.start[0], cube->pixels = mine.n[0];
  TRY(memory_make(cube->pixels * cube->bins, sizeof *cube->count, "a cube of counts",
                  &cube->count));
  return memory_make(cube->pixels, sizeof *cube->bad, "a cube of counts", &cube->bad);
}

/* ---- counting frames ----------------------------------------------------------------------------- */

struct blocks {
  int64_t each, piece; /* frames of a block (words of hits), and of one read of it */
  int64_t buffer_bytes, note_bytes, frame_bytes;
  char *buffer; /* a piece, and before it the frame that precedes */
  uint32_t *note;
  uint16_t *frame;
};

static void blocks_choose(const struct compton_frames_settings *settings,
                          const struct raw_frames *frames, int size, struct blocks *blocks) {
  int64_t frame_bytes = frames->words * (frames->in_kev ? 4 : 2);
  int64_t piece       = (frames->headerless ? PIECE_BYTES : ROUND_BYTES) / frame_bytes;
  int64_t pieces      = !frames->headerless ? 1 : settings->hits ? NOTED_PIECES : ROUND_PIECES;
  blocks->piece       = piece < 1 ? 1 : piece;
  blocks->each        = blocks->piece * pieces;
  int64_t share       = (frames->frames + size - 1) / size;
  if (blocks->each > share) blocks->each = share;
  if (settings->block > 0) blocks->each = settings->block;
  if (!frames->headerless || blocks->piece > blocks->each) blocks->piece = blocks->each;
  blocks->buffer_bytes = (blocks->piece + 1) * frame_bytes;
  blocks->note_bytes   = settings->hits ? 4 * blocks->each * (frames->words + 1) : 0;
  if (!frames->is_hits) return;
  blocks->each         = settings->block > 0 ? settings->block : HIT_WORDS;
  blocks->buffer_bytes = 4 * (blocks->each + 2 * compton_hits_margin(frames->words));
  blocks->frame_bytes  = frame_bytes;
}

static enum status blocks_make(const struct compton_frames_settings *settings,
                               const struct raw_frames *frames, int size, struct blocks *blocks) {
  blocks_choose(settings, frames, size, blocks);
  TRY(memory_make(blocks->note_bytes, 1, "hits of a block", &blocks->note));
  TRY(memory_make(blocks->frame_bytes, 1, "a frame", &blocks->frame));
  return memory_make_raw(blocks->buffer_bytes, 1, "a block of frames", &blocks->buffer);
}

static void blocks_free(struct blocks *blocks) {
  memory_free(blocks->buffer);
  memory_free(blocks->note);
  memory_free(blocks->frame);
}

struct counting {
  MPI_Comm comm;
  const struct compton_frames_settings *settings;
  struct raw_frames *frames;
  struct events_map map;
  struct events_work work;
  struct blocks blocks;
  struct raw_hits_file hits;
  bool notes; /* hits are written */
  struct compton_cube *cube;
  double kept_at_s;
};

/* Frames from `first` on that stand in the buffer, each with the dark of its time; `before`: the first of them is only
 * looked at. */
static void frames_add(struct counting *c, int64_t first, int64_t n, bool before) {
  int64_t frame_bytes = c->frames->words * (c->frames->in_kev ? 4 : 2);
  for (int64_t done = 0, here; done < n; done += here) {
    int64_t same = compton_events_map_at(c->settings, c->frames, first + done, &c->map);
    here         = same - first < n ? same - first - done : n - done;
    compton_events_add(&c->work, c->blocks.buffer + done * frame_bytes, here, before && done == 0);
  }
}

/* Frames first .. first + n - 1, those of a headerless file piece by piece. */
static enum status block_here(struct counting *c, int64_t first, int64_t n) {
  for (int64_t at = 0; at < n; at += c->blocks.piece) {
    int64_t here = n - at < c->blocks.piece ? n - at : c->blocks.piece;
    bool before  = at == 0 && c->work.veto && first > 0;
    TRY(raw_frames_read_here(c->frames, first + at - before, here + before,
                             (uint16_t *)c->blocks.buffer));
    frames_add(c, first + at - before, here + before, before);
  }
  return STATUS_OK;
}

/* Words first .. first + n - 1 of hits, and some to both sides. */
static enum status hits_here(struct counting *c, int64_t first, int64_t n) {
  struct raw_frames *frames = c->frames;
  int64_t margin = compton_hits_margin(frames->words), from = first > margin ? first - margin : 0,
          end = first + n + margin < frames->hit_words ? first + n + margin : frames->hit_words;
  if (n == 0) return STATUS_OK;
  TRY(raw_hits_read_here(frames, from, end - from, (uint32_t *)c->blocks.buffer));
  compton_hits_add(&c->work, (const uint32_t *)c->blocks.buffer, end - from, first - from,
                   first - from + n, c->blocks.frame);
  return STATUS_OK;
}

static enum status block_count(struct counting *c, int64_t first, int64_t n) {
  struct events_work *work = &c->work;
  if (n > 0 && first == 0) /* nothing precedes */
    memset(work->before, 0, (size_t)((work->words + 63) / 64) * sizeof *work->before);
  if (c->frames->is_hits) return AGREE(c->comm, hits_here(c, first, n));
  if (c->frames->headerless) return AGREE(c->comm, block_here(c, first, n));
  bool before = n > 0 && work->veto && first > 0;
  TRY(raw_frames_read(c->comm, c->frames, first - before, n + before, c->blocks.buffer));
  frames_add(c, first - before, n + before, before);
  return STATUS_OK;
}

/* ---- the sum over ranks -------------------------------------------------------------------------- */

enum { PIECE_COUNTS = 1 << 26 };

/* Each rank in turn gets its pixels: a rank's part may be more than one call can carry. */
static void spectra_sum(MPI_Comm comm, const struct events_work *work, struct compton_cube *cube) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  for (int to = 0; to < size; to++) {
    int64_t range[2] = {cube->pixel0 * cube->bins, cube->pixels * cube->bins};
    MPI_Bcast(range, 2, MPI_INT64_T, to, comm);
    for (int64_t at = 0; at < range[1]; at += PIECE_COUNTS) {
      int n = (int)(range[1] - at < PIECE_COUNTS ? range[1] - at : PIECE_COUNTS);
      MPI_Reduce(work->histogram + range[0] + at, rank == to ? cube->count + at : NULL, n,
                 MPI_UINT32_T, MPI_SUM, to, comm);
    }
  }
}

static void tally_sum(MPI_Comm comm, const struct events_tally *tally, struct compton_kept *kept) {
  int64_t sum[] = {tally->hits,    tally->singles, tally->pairs,
                   tally->dropped, tally->vetoed,  tally->outside};
  MPI_Allreduce(MPI_IN_PLACE, sum, 6, MPI_INT64_T, MPI_SUM, comm);
  kept->tally = (struct events_tally){sum[0], sum[1], sum[2], sum[3], sum[4], sum[5]};
}

static void cube_describe(const struct compton_kept *kept, struct compton_cube *cube) {
  cube->hits = kept->tally.hits, cube->singles = kept->tally.singles,
  cube->pairs   = kept->tally.pairs;
  cube->dropped = kept->tally.dropped, cube->vetoed = kept->tally.vetoed;
  cube->outside   = kept->tally.outside;
  cube->events    = cube->singles + cube->pairs;
  double good     = (double)(cube->rows * cube->columns - cube->bad_pixels);
  cube->occupancy = (double)cube->hits / good / (double)cube->frames;
  cube->chance    = 1 - pow(1 - cube->occupancy, 8);
}

/* ---- rounds -------------------------------------------------------------------------------------- */

/* What all ranks have counted so far, into the cube, and on disk where the settings say so. */
static enum status round_end(struct counting *c, int64_t done) {
  struct compton_kept kept = {.done = done, .hit_words = c->hits.words};
  spectra_sum(c->comm, &c->work, c->cube);
  tally_sum(c->comm, &c->work.tally, &kept);
  cube_describe(&kept, c->cube);
  c->kept_at_s = time_now_s();
  if (!c->settings->keep) return STATUS_OK;
  if (c->notes) TRY(raw_hits_sync(c->comm, &c->hits));
  return compton_keep_save(c->comm, c->settings->keep, c->settings->keep_record, c->cube, &kept);
}

static bool is_time(const struct counting *c) {
  int now = time_now_s() - c->kept_at_s >= c->settings->round_s;
  MPI_Bcast(&now, 1, MPI_INT, 0, c->comm);
  return now;
}

/* In raster order. */
static enum status hits_begin(struct counting *c, int64_t words) {
  const struct events_map *map = &c->map;
  uint16_t *limit;
  if (!c->notes) return STATUS_OK;
  enum status status = memory_make(map->words, sizeof *limit, "limits of hits", &limit);
  TRY_ALL(c->comm, status);
  for (int64_t w = 0; w < map->words; w++) limit[map->word[w].pixel] = map->limit[w];
  status =
      raw_hits_begin(c->comm, c->settings->hits, map->rows, map->columns, limit, words, &c->hits);
  memory_free(limit);
  c->work.note = c->blocks.note;
  return status;
}

/* Units (frames, or words of hits) before part `part`. */
static int64_t part_begin(const struct counting *c, int part) {
  int64_t all = c->frames->is_hits ? c->frames->hit_words : c->frames->frames;
  return c->settings->parts > 0 ? all * part / c->settings->parts : part > 0 ? all : 0;
}

/* Has an earlier call counted all, and given the hits their name? */
static bool hits_are_whole(const struct counting *c, const struct compton_kept *kept) {
  char partial[STORE_NAME_BYTES + 16];
  snprintf(partial, sizeof partial, "%s.partial", c->settings->hits);
  int whole = kept->done == c->frames->frames && access(partial, F_OK) != 0 &&
              access(c->settings->hits, R_OK) == 0;
  MPI_Bcast(&whole, 1, MPI_INT, 0, c->comm);
  return whole;
}

/* What was kept stands in this rank's spectra as if it had counted it. Where its hits are gone, all begins anew. */
static enum status go_on(struct counting *c, int64_t *done) {
  struct compton_kept kept = {0};
  int rank;
  *done = part_begin(c, c->settings->part);
  if (c->settings->keep)
    TRY(compton_keep_load(c->comm, c->settings->keep, c->settings->keep_record, c->cube, &kept));
  c->notes = c->settings->hits && !hits_are_whole(c, &kept);
  TRY(hits_begin(c, kept.hit_words));
  if (kept.done == 0 || (c->notes && c->hits.words != kept.hit_words)) return STATUS_OK;
  MPI_Comm_rank(c->comm, &rank);
  memcpy(c->work.histogram + c->cube->pixel0 * c->cube->bins, c->cube->count,
         (size_t)(c->cube->pixels * c->cube->bins) * sizeof *c->cube->count);
  if (rank == 0) c->work.tally = kept.tally;
  *done = kept.done;
  log_info("compton: the count goes on after %lld of %lld %s", (long long)*done,
           (long long)(c->frames->is_hits ? c->frames->hit_words : c->frames->frames),
           c->frames->is_hits ? "hits" : "frames");
  return STATUS_OK;
}

/* One block on every rank, from `done` on. */
static enum status blocks_count(struct counting *c, int64_t done, int64_t all) {
  int rank;
  MPI_Comm_rank(c->comm, &rank);
  int64_t first = done + rank * c->blocks.each, n = all - first;
  n             = n < 0 ? 0 : n < c->blocks.each ? n : c->blocks.each;
  c->work.noted = 0;
  TRY(block_count(c, n ? first : 0, n));
  if (!c->notes) return STATUS_OK;
  compton_hits_note_end(&c->work);
  return raw_hits_put(c->comm, &c->hits, c->blocks.note, c->work.noted);
}

/* Spectra of pairs, on all ranks. */
static void pairs_sum(struct counting *c) {
  struct compton_pair_spectra *pairs = c->settings->pairs;
  if (pairs)
    MPI_Allreduce(MPI_IN_PLACE, pairs->count, (int)(PAIR_SHARES * pairs->bins), MPI_UINT32_T,
                  MPI_SUM, c->comm);
}

static enum status frames_count(struct counting *c) {
  int64_t done, all = part_begin(c, c->settings->part + 1);
  int size;
  MPI_Comm_size(c->comm, &size);
  TRY(go_on(c, &done));
  c->kept_at_s       = time_now_s();
  enum status status = STATUS_OK;
  while (done < all && status == STATUS_OK) {
    TRY(blocks_count(c, done, all));
    done   = done + c->blocks.each * size < all ? done + c->blocks.each * size : all;
    status = stop_agree(c->comm);
    log_progress("frames", done, all);
    if (done < all && c->settings->keep && (status == STATUS_STOPPED || is_time(c)))
      TRY(round_end(c, done));
  }
  TRY(status);
  TRY(round_end(c, all));
  pairs_sum(c);
  return c->notes ? raw_hits_commit(c->comm, &c->hits, c->frames->frames) : STATUS_OK;
}

static enum status cube_take(MPI_Comm comm, const struct compton_frames_settings *settings,
                             const struct events_map *map, struct compton_cube *cube) {
  cube->rows = map->rows, cube->columns = map->columns, cube->bins = map->bins;
  cube->first_kev = settings->first_kev, cube->bin_kev = settings->bin_kev;
  cube->bad_pixels = map->bad_pixels;
  TRY_ALL(comm, share_take(comm, cube));
  memcpy(cube->bad, map->bad + cube->pixel0, (size_t)cube->pixels);
  return STATUS_OK;
}

static enum status count_opened(MPI_Comm comm, const struct compton_frames_settings *settings,
                                struct raw_frames *frames, struct compton_cube *cube) {
  struct counting c = {
      .comm = comm, .settings = settings, .frames = frames, .cube = cube, .hits = {.handle = -1}};
  int size;
  MPI_Comm_size(comm, &size);
  TRY(compton_events_map_make(comm, settings, frames, &c.map));
  enum status status = frames->is_hits ? compton_hits_check(comm, frames, &c.map) : STATUS_OK;
  if (status == STATUS_OK) status = cube_take(comm, settings, &c.map, cube);
  cube->frames = frames->frames; /* of hits, parts are of words: their frames in the mean */
  if (settings->parts > 0)
    cube->frames = frames->frames * (settings->part + 1) / settings->parts -
                   frames->frames * settings->part / settings->parts;
  if (status == STATUS_OK)
    status = AGREE(comm, compton_events_work_make(&c.map, settings, &c.work));
  if (status == STATUS_OK) status = AGREE(comm, blocks_make(settings, frames, size, &c.blocks));
  if (status == STATUS_OK) status = frames_count(&c);
  raw_hits_close(&c.hits, settings->keep != NULL && status != STATUS_OK);
  blocks_free(&c.blocks);
  compton_events_work_free(&c.work);
  compton_events_map_free(&c.map);
  return status;
}

enum status compton_cube_from_frames(MPI_Comm comm, const struct compton_frames_settings *settings,
                                     struct compton_cube *cube) {
  struct raw_frames frames;
  memset(cube, 0, sizeof *cube);
  TRY(raw_frames_open(comm, &settings->frames, &frames));
  enum status status = count_opened(comm, settings, &frames, cube);
  raw_frames_close(&frames);
  if (status != STATUS_OK) compton_cube_free(cube);
  return status;
}

/* ---- what it takes ------------------------------------------------------------------------------- */

static int64_t share_most(MPI_Comm comm, int64_t pixels) {
  int size;
  MPI_Comm_size(comm, &size);
  return (pixels + size - 1) / size;
}

static enum status frames_need(MPI_Comm comm, const struct compton_frames_settings *settings,
                               const struct raw_frames *frames, struct compton_shape *shape) {
  struct blocks blocks = {0};
  int size;
  MPI_Comm_size(comm, &size);
  TRY(compton_events_check(settings, frames));
  blocks_choose(settings, frames, size, &blocks);
  shape->rows = frames->rows, shape->columns = frames->columns, shape->frames = frames->frames;
  shape->bins      = llround((settings->last_kev - settings->first_kev) / settings->bin_kev);
  shape->first_kev = settings->first_kev, shape->bin_kev = settings->bin_kev;
  shape->cube_bytes = share_most(comm, frames->words) * (4 * shape->bins + 1);
  shape->work_bytes = compton_events_bytes(frames->rows, frames->columns, shape->bins,
                                           settings->dark_s ? settings->dark.files : 0) +
                      blocks.buffer_bytes + blocks.note_bytes + blocks.frame_bytes +
                      frames->files * (int64_t)sizeof *frames->file + SMALL_BYTES;
  return STATUS_OK;
}

enum status compton_cube_frames_shape(MPI_Comm comm, const struct compton_frames_settings *settings,
                                      struct compton_shape *shape) {
  struct raw_frames frames;
  memset(shape, 0, sizeof *shape);
  TRY(raw_frames_open(comm, &settings->frames, &frames));
  enum status status = AGREE(comm, frames_need(comm, settings, &frames, shape));
  raw_frames_close(&frames);
  return status;
}

enum status compton_cube_spectra_shape(MPI_Comm comm, const char *file,
                                       struct compton_shape *shape) {
  struct raw_spectra spectra;
  TRY(raw_spectra_open(comm, file, &spectra));
  int64_t pixels = share_most(comm, spectra.rows * spectra.columns);
  *shape         = (struct compton_shape){.rows       = spectra.rows,
                                          .columns    = spectra.columns,
                                          .bins       = spectra.bins,
                                          .first_kev  = spectra.first_kev,
                                          .bin_kev    = spectra.bin_kev,
                                          .cube_bytes = pixels * (4 * spectra.bins + 1),
                                          .work_bytes = pixels * 8 * spectra.bins};
  raw_spectra_close(&spectra);
  return STATUS_OK;
}

/* ---- spectra ------------------------------------------------------------------------------------- */

static enum status counts_add(const struct raw_spectra *spectra, const double *value,
                              struct compton_cube *cube) {
  for (int64_t i = 0; i < cube->pixels * cube->bins; i++) {
    if (!(value[i] >= 0) || value[i] != floor(value[i]) || value[i] > UINT32_MAX - cube->count[i])
      return FAIL(STATUS_INPUT,
                  "%s: pixel %lld has %g counts in bin %lld; whole numbers are wanted",
                  spectra->name, (long long)(cube->pixel0 + i / cube->bins), value[i],
                  (long long)(i % cube->bins));
    cube->count[i] += (uint32_t)value[i];
  }
  return STATUS_OK;
}

static enum status same_check(const struct raw_spectra *spectra, const char *first,
                              const struct compton_cube *cube) {
  if (spectra->rows != cube->rows || spectra->columns != cube->columns)
    return FAIL(STATUS_INPUT, "%s has %lld x %lld pixels, %s %lld x %lld: another detector",
                spectra->name, (long long)spectra->rows, (long long)spectra->columns, first,
                (long long)cube->rows, (long long)cube->columns);
  if (spectra->bins != cube->bins ||
      fabs(spectra->first_kev - cube->first_kev) > 1e-3 * cube->bin_kev ||
      fabs(spectra->bin_kev - cube->bin_kev) > 1e-3 / (double)cube->bins * cube->bin_kev)
    return FAIL(STATUS_INPUT, "%s has %lld bins of %g keV from %g keV, %s %lld of %g from %g",
                spectra->name, (long long)spectra->bins, spectra->bin_kev, spectra->first_kev,
                first, (long long)cube->bins, cube->bin_kev, cube->first_kev);
  return STATUS_OK;
}

static enum status spectra_add(MPI_Comm comm, struct raw_spectra *spectra,
                               struct compton_cube *cube) {
  double *value;
  TRY_ALL(comm, memory_make_raw(cube->pixels * cube->bins, sizeof *value, "spectra", &value));
  enum status status = raw_spectra_read(comm, spectra, cube->pixel0, cube->pixels, value);
  if (status == STATUS_OK) status = AGREE(comm, counts_add(spectra, value, cube));
  memory_free(value);
  return status;
}

static enum status file_add(MPI_Comm comm, const char *const *file, int i,
                            struct compton_cube *cube) {
  struct raw_spectra spectra;
  TRY(raw_spectra_open(comm, file[i], &spectra));
  enum status status = STATUS_OK;
  if (i == 0) {
    cube->rows = spectra.rows, cube->columns = spectra.columns, cube->bins = spectra.bins;
    cube->first_kev = spectra.first_kev, cube->bin_kev = spectra.bin_kev;
    status = share_take(comm, cube);
  } else {
    status = same_check(&spectra, file[0], cube);
  }
  status = AGREE(comm, status);
  if (status == STATUS_OK) status = spectra_add(comm, &spectra, cube);
  raw_spectra_close(&spectra);
  return status;
}

static void empty_mark(MPI_Comm comm, struct compton_cube *cube) {
  int64_t sum[2] = {0, 0};
  for (int64_t p = 0; p < cube->pixels; p++) {
    int64_t counts = 0;
    for (int64_t b = 0; b < cube->bins; b++) counts += cube->count[p * cube->bins + b];
    cube->bad[p] = counts == 0;
    sum[0] += counts, sum[1] += cube->bad[p];
  }
  MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_INT64_T, MPI_SUM, comm);
  cube->events = sum[0], cube->bad_pixels = sum[1];
}

enum status compton_cube_from_spectra(MPI_Comm comm, const char *const *file, int files,
                                      struct compton_cube *cube) {
  memset(cube, 0, sizeof *cube);
  enum status status =
      AGREE(comm, files > 0 ? STATUS_OK : FAIL(STATUS_INPUT, "no file of spectra is named"));
  for (int i = 0; i < files && status == STATUS_OK; i++) status = file_add(comm, file, i, cube);
  if (status == STATUS_OK) empty_mark(comm, cube);
  if (status != STATUS_OK) compton_cube_free(cube);
  return status;
}
