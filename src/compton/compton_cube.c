/* The cube of one acquisition. Blocks of frames go round the ranks; each rank counts into spectra of the whole
 * detector, and at the end every rank gets the sum of its pixels. Counts are integers, blocks overlap by nothing but
 * the frame that precedes them (read twice where the veto asks for it), so neither ranks nor blocks show. */
#include "compton_cube.h"
#include "compton_events.h"
#include "compton_keep.h"
#include <math.h>
#include <string.h>

enum {
  ROUND_BYTES  = 4 << 20, /* of an HDF5 block */
  PIECE_BYTES  = 1 << 20, /* of a headerless read: still in the cache when it is counted */
  ROUND_PIECES = 128,
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
  int64_t each, piece; /* frames of a block, and of one read of it */
  char *buffer;        /* a piece, and before it the frame that precedes */
};

static void blocks_choose(const struct compton_frames_settings *settings,
                          const struct raw_frames *frames, int size, struct blocks *blocks) {
  int64_t frame_bytes = frames->words * (frames->in_kev ? 4 : 2);
  int64_t piece       = (frames->headerless ? PIECE_BYTES : ROUND_BYTES) / frame_bytes;
  blocks->piece       = piece < 1 ? 1 : piece;
  blocks->each        = blocks->piece * (frames->headerless ? ROUND_PIECES : 1);
  int64_t share       = (frames->frames + size - 1) / size;
  if (blocks->each > share) blocks->each = share;
  if (settings->block > 0) blocks->each = settings->block;
  if (!frames->headerless || blocks->piece > blocks->each) blocks->piece = blocks->each;
}

static enum status blocks_make(const struct compton_frames_settings *settings,
                               const struct raw_frames *frames, int size, struct blocks *blocks) {
  blocks_choose(settings, frames, size, blocks);
  return memory_make_raw((blocks->piece + 1) * frames->words * (frames->in_kev ? 4 : 2), 1,
                         "a block of frames", &blocks->buffer);
}

/* Frames first .. first + n - 1, those of a headerless file piece by piece. */
static enum status block_here(struct raw_frames *frames, const struct blocks *blocks, int64_t first,
                              int64_t n, struct events_work *work) {
  for (int64_t at = 0; at < n; at += blocks->piece) {
    int64_t here = n - at < blocks->piece ? n - at : blocks->piece;
    bool before  = at == 0 && work->veto && first > 0;
    TRY(raw_frames_read_here(frames, first + at - before, here + before,
                             (uint16_t *)blocks->buffer));
    compton_events_add(work, blocks->buffer, here + before, before);
  }
  return STATUS_OK;
}

static enum status block_count(MPI_Comm comm, struct raw_frames *frames,
                               const struct blocks *blocks, int64_t first, int64_t n,
                               struct events_work *work) {
  if (n > 0 && first == 0) /* nothing precedes */
    memset(work->before, 0, (size_t)((work->words + 63) / 64) * sizeof *work->before);
  if (frames->headerless) return AGREE(comm, block_here(frames, blocks, first, n, work));
  bool before = n > 0 && work->veto && first > 0;
  TRY(raw_frames_read(comm, frames, first - before, n + before, blocks->buffer));
  compton_events_add(work, blocks->buffer, n + before, before);
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

struct counting {
  MPI_Comm comm;
  const struct compton_frames_settings *settings;
  struct raw_frames *frames;
  struct events_work work;
  struct blocks blocks;
  struct compton_cube *cube;
  double kept_at_s;
};

/* What all ranks have counted so far, into the cube, and on disk where the settings say so. */
static enum status round_end(struct counting *c, int64_t frames, bool keep) {
  struct compton_kept kept = {.frames = frames};
  spectra_sum(c->comm, &c->work, c->cube);
  tally_sum(c->comm, &c->work.tally, &kept);
  cube_describe(&kept, c->cube);
  c->kept_at_s = time_now_s();
  if (!keep) return STATUS_OK;
  return compton_keep_save(c->comm, c->settings->keep, c->settings->keep_record, c->cube, &kept);
}

static bool is_time(const struct counting *c) {
  int now = c->settings->keep && time_now_s() - c->kept_at_s >= c->settings->round_s;
  MPI_Bcast(&now, 1, MPI_INT, 0, c->comm);
  return now;
}

/* What was kept stands in this rank's spectra as if it had counted it. */
static enum status go_on(struct counting *c, int64_t *done) {
  struct compton_kept kept = {0};
  int rank;
  *done = 0;
  if (!c->settings->keep) return STATUS_OK;
  TRY(compton_keep_load(c->comm, c->settings->keep, c->settings->keep_record, c->cube, &kept));
  if (kept.frames == 0 || kept.frames > c->frames->frames) return STATUS_OK;
  MPI_Comm_rank(c->comm, &rank);
  memcpy(c->work.histogram + c->cube->pixel0 * c->cube->bins, c->cube->count,
         (size_t)(c->cube->pixels * c->cube->bins) * sizeof *c->cube->count);
  if (rank == 0) c->work.tally = kept.tally;
  *done = kept.frames;
  log_info("compton: goes on after %lld of %lld frames", (long long)*done,
           (long long)c->frames->frames);
  return STATUS_OK;
}

static enum status frames_count(struct counting *c) {
  int64_t done, all = c->frames->frames;
  int rank, size;
  MPI_Comm_rank(c->comm, &rank);
  MPI_Comm_size(c->comm, &size);
  TRY(go_on(c, &done));
  c->kept_at_s       = time_now_s();
  enum status status = STATUS_OK;
  while (done < all && status == STATUS_OK) {
    int64_t first = done + rank * c->blocks.each, n = all - first;
    n = n < 0 ? 0 : n < c->blocks.each ? n : c->blocks.each;
    TRY(block_count(c->comm, c->frames, &c->blocks, n ? first : 0, n, &c->work));
    done   = done + c->blocks.each * size < all ? done + c->blocks.each * size : all;
    status = stop_agree(c->comm);
    log_progress("frames", done, all);
    if (done < all && c->settings->keep && (status == STATUS_STOPPED || is_time(c)))
      TRY(round_end(c, done, true));
  }
  return status == STATUS_OK ? round_end(c, all, c->settings->keep != NULL) : status;
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
  struct events_map map;
  struct counting c = {.comm = comm, .settings = settings, .frames = frames, .cube = cube};
  int size;
  MPI_Comm_size(comm, &size);
  TRY(compton_events_map_make(comm, settings, frames, &map));
  enum status status = cube_take(comm, settings, &map, cube);
  cube->frames       = frames->frames;
  if (status == STATUS_OK) status = AGREE(comm, compton_events_work_make(&map, settings, &c.work));
  if (status == STATUS_OK) status = AGREE(comm, blocks_make(settings, frames, size, &c.blocks));
  if (status == STATUS_OK) status = frames_count(&c);
  memory_free(c.blocks.buffer);
  compton_events_work_free(&c.work);
  compton_events_map_free(&map);
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
  shape->bins       = llround((settings->last_kev - settings->first_kev) / settings->bin_kev);
  shape->cube_bytes = share_most(comm, frames->words) * (4 * shape->bins + 1);
  shape->work_bytes = compton_events_bytes(frames->rows, frames->columns, shape->bins) +
                      (blocks.piece + 1) * frames->words * (frames->in_kev ? 4 : 2);
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
