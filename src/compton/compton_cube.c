/* The cube of one acquisition. Blocks of frames go round the ranks; each rank counts into spectra of the whole
 * detector, and at the end every rank gets the sum of its pixels. Counts are integers, blocks overlap by nothing but
 * the frame that precedes them (read twice where the veto asks for it), so neither ranks nor blocks show. */
#include "compton_cube.h"
#include "compton_events.h"
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

static enum status blocks_make(const struct compton_frames_settings *settings,
                               const struct raw_frames *frames, int size, struct blocks *blocks) {
  int64_t frame_bytes = frames->words * (frames->in_kev ? 4 : 2);
  int64_t piece       = (frames->headerless ? PIECE_BYTES : ROUND_BYTES) / frame_bytes;
  blocks->piece       = piece < 1 ? 1 : piece;
  blocks->each        = blocks->piece * (frames->headerless ? ROUND_PIECES : 1);
  int64_t share       = (frames->frames + size - 1) / size;
  if (blocks->each > share) blocks->each = share;
  if (settings->block > 0) blocks->each = settings->block;
  if (!frames->headerless || blocks->piece > blocks->each) blocks->piece = blocks->each;
  return memory_make_raw((blocks->piece + 1) * frame_bytes, 1, "a block of frames",
                         &blocks->buffer);
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

static enum status frames_count(MPI_Comm comm, const struct compton_frames_settings *settings,
                                struct raw_frames *frames, struct events_work *work) {
  struct blocks blocks;
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  enum status status = AGREE(comm, blocks_make(settings, frames, size, &blocks));
  for (int64_t done = 0; done < frames->frames && status == STATUS_OK; done += blocks.each * size) {
    int64_t first = done + rank * blocks.each, n = frames->frames - first;
    n      = n < 0 ? 0 : n < blocks.each ? n : blocks.each;
    status = block_count(comm, frames, &blocks, n ? first : 0, n, work);
    if (status == STATUS_OK) status = stop_agree(comm);
    if (status == STATUS_OK) log_progress("frames", done, frames->frames);
  }
  memory_free(blocks.buffer);
  return status;
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

static void tally_sum(MPI_Comm comm, const struct events_tally *tally, struct compton_cube *cube) {
  int64_t sum[] = {tally->hits,    tally->singles, tally->pairs,
                   tally->dropped, tally->vetoed,  tally->outside};
  MPI_Allreduce(MPI_IN_PLACE, sum, 6, MPI_INT64_T, MPI_SUM, comm);
  cube->hits = sum[0], cube->singles = sum[1], cube->pairs = sum[2];
  cube->dropped = sum[3], cube->vetoed = sum[4], cube->outside = sum[5];
  cube->events    = cube->singles + cube->pairs;
  double good     = (double)(cube->rows * cube->columns - cube->bad_pixels);
  cube->occupancy = (double)cube->hits / good / (double)cube->frames;
  cube->chance    = 1 - pow(1 - cube->occupancy, 8);
}

static enum status cube_collect(MPI_Comm comm, const struct compton_frames_settings *settings,
                                const struct events_map *map, const struct events_work *work,
                                struct compton_cube *cube) {
  cube->rows = map->rows, cube->columns = map->columns, cube->bins = map->bins;
  cube->first_kev = settings->first_kev, cube->bin_kev = settings->bin_kev;
  cube->bad_pixels = map->bad_pixels;
  TRY_ALL(comm, share_take(comm, cube));
  memcpy(cube->bad, map->bad + cube->pixel0, (size_t)cube->pixels);
  spectra_sum(comm, work, cube);
  tally_sum(comm, &work->tally, cube);
  return STATUS_OK;
}

static enum status count_opened(MPI_Comm comm, const struct compton_frames_settings *settings,
                                struct raw_frames *frames, struct compton_cube *cube) {
  struct events_map map;
  struct events_work work;
  TRY(compton_events_map_make(comm, settings, frames, &map));
  enum status status = AGREE(comm, compton_events_work_make(&map, settings, &work));
  cube->frames       = frames->frames;
  if (status == STATUS_OK) status = frames_count(comm, settings, frames, &work);
  if (status == STATUS_OK) status = cube_collect(comm, settings, &map, &work, cube);
  compton_events_work_free(&work);
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
