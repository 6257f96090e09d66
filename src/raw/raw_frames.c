/* Frames of a pixel detector, block by block. Headerless files are read by each rank for itself, HDF5 through store.
 * Nothing is kept but the list of files, so memory does not grow with the number of frames. */
#include "raw_hits_private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIXELS_A_SIDE = 80, PIXELS_MOST = 1 << 22 };

/* ---- opening ------------------------------------------------------------------------------------ */

static enum status refuse_spectra(const char *name, const char *head) {
  if (memcmp(head, "HEXITECH", 8) == 0)
    return FAIL(STATUS_INPUT, "%s holds spectra (.hxt), not frames", name);
  return STATUS_OK;
}

enum kind { KIND_HEADERLESS, KIND_HDF5, KIND_HITS };

/* What rank 0 finds: HDF5 (also FILE:DATASET, which only HDF5 has), hits or neither, and how long. */
static enum status look(const char *name, int *kind, int64_t *bytes) {
  char head[8] = "";
  struct stat info;
  *bytes = 0;
  *kind  = KIND_HDF5;
  if (stat(name, &info) != 0) return STATUS_OK; /* FILE:DATASET, or store says what is wrong */
  FILE *file = fopen(name, "rb");
  if (!file || !S_ISREG(info.st_mode)) {
    if (file) fclose(file);
    return FAIL(STATUS_INPUT, "%s cannot be read as a file of frames: %s", name, strerror(errno));
  }
  size_t got = fread(head, 1, sizeof head, file);
  fclose(file);
  *kind = KIND_HEADERLESS;
  if (got == sizeof head && memcmp(head, "\211HDF\r\n\032\n", 8) == 0) *kind = KIND_HDF5;
  if (got == sizeof head && memcmp(head, "XCSCTHIT", 8) == 0) *kind = KIND_HITS;
  *bytes = (int64_t)info.st_size;
  return refuse_spectra(name, head);
}

static enum status headerless_check(const struct raw_frames *frames, const char *name,
                                    int64_t bytes) {
  int64_t frame_bytes = 2 * frames->words;
  if (bytes == 0) return FAIL(STATUS_INPUT, "%s is empty; frames are wanted", name);
  if (bytes % frame_bytes != 0)
    return FAIL(STATUS_INPUT,
                "%s: the last frame has %lld of %lld bytes (%lld x %lld pixels of 2 bytes); the "
                "file is cut off or of another detector",
                name, (long long)(bytes % frame_bytes), (long long)frame_bytes,
                (long long)frames->rows, (long long)frames->columns);
  return STATUS_OK;
}

/* `whole`: the name is that of a file, without a dataset. */
static enum status hdf5_open(MPI_Comm comm, const char *name, bool whole,
                             struct store_input **input) {
  static const char *const usual[] = {"raw_frames", "processed_frames"};
  char path[STORE_NAME_BYTES];
  for (size_t i = 0; i < sizeof usual / sizeof *usual && whole; i++) {
    bool found = false;
    TRY(store_has(comm, name, usual[i], &found));
    if (!found) continue;
    snprintf(path, sizeof path, "%s:%s", name, usual[i]);
    return store_open(comm, path, NULL, 3, input);
  }
  return store_open(comm, name, NULL, 3, input);
}

static enum status hdf5_check(const struct raw_frames *frames, const struct store_info *info) {
  if (info->rank != 3 || info->n[0] < 1)
    return FAIL(STATUS_INPUT, "%s:%s has no frames", info->file, info->dataset);
  if (info->type != GRID_U16 && info->type != GRID_F32)
    return FAIL(STATUS_INPUT, "%s:%s is %s; frames are uint16 (ADU) or float32 (keV)", info->file,
                info->dataset, grid_type_name(info->type));
  if (frames->words && (info->n[1] != frames->rows || info->n[2] != frames->columns))
    return FAIL(STATUS_INPUT,
                "%s:%s has %lld x %lld pixels, %s %lld x %lld: frames of another detector",
                info->file, info->dataset, (long long)info->n[1], (long long)info->n[2],
                frames->file[0].name, (long long)frames->rows, (long long)frames->columns);
  return STATUS_OK;
}

static enum status kind_check(const struct raw_frames *frames, int i, int kind, bool in_kev) {
  bool headerless = kind == KIND_HEADERLESS, hits = kind == KIND_HITS;
  if (i > 0 &&
      (headerless != frames->headerless || hits != frames->is_hits || in_kev != frames->in_kev))
    return FAIL(STATUS_INPUT, "%s holds frames of another kind than %s", frames->file[i].name,
                frames->file[0].name);
  return STATUS_OK;
}

static enum status add_hdf5(MPI_Comm comm, int i, bool whole, struct raw_frames *frames,
                            bool *in_kev) {
  struct raw_frames_file *file = &frames->file[i];
  TRY(hdf5_open(comm, file->name, whole, &file->input));
  const struct store_info *info = store_info(file->input);
  if (i == 0) frames->words = 0;
  TRY_ALL(comm, hdf5_check(frames, info));
  *in_kev      = info->type == GRID_F32;
  frames->rows = info->n[1], frames->columns = info->n[2];
  frames->words = frames->rows * frames->columns;
  file->frames  = info->n[0];
  return STATUS_OK;
}

static enum status add_hits(MPI_Comm comm, int i, int64_t bytes, struct raw_frames *frames) {
  struct raw_frames_file *file = &frames->file[i];
  int64_t n[4]                 = {0};
  TRY_ALL(comm, log_is_speaker() ? raw_hits_look(file->name, bytes, file, n) : STATUS_OK);
  n[2] = file->frames, n[3] = file->words;
  MPI_Bcast(n, 4, MPI_INT64_T, 0, comm);
  if (i > 0 && (n[0] != frames->rows || n[1] != frames->columns))
    return AGREE(comm, FAIL(STATUS_INPUT,
                            "%s has %lld x %lld pixels, %s %lld x %lld: frames of another detector",
                            file->name, (long long)n[0], (long long)n[1], frames->file[0].name,
                            (long long)frames->rows, (long long)frames->columns));
  frames->rows = n[0], frames->columns = n[1], frames->words = n[0] * n[1];
  file->frames = n[2], file->words = n[3];
  file->first_word = frames->hit_words;
  frames->hit_words += file->words;
  return STATUS_OK;
}

static enum status add_file(MPI_Comm comm, int i, struct raw_frames *frames) {
  struct raw_frames_file *file = &frames->file[i];
  bool in_kev                  = false;
  int64_t bytes                = 0;
  int rank, kind = KIND_HEADERLESS;
  MPI_Comm_rank(comm, &rank);
  enum status status = rank == 0 ? look(file->name, &kind, &bytes) : STATUS_OK;
  TRY_ALL(comm, status);
  MPI_Bcast(&kind, 1, MPI_INT, 0, comm);
  MPI_Bcast(&bytes, 1, MPI_INT64_T, 0, comm);
  if (kind == KIND_HDF5) {
    TRY(add_hdf5(comm, i, bytes > 0, frames, &in_kev));
  } else if (kind == KIND_HITS) {
    TRY(add_hits(comm, i, bytes, frames));
  } else {
    TRY_ALL(comm, headerless_check(frames, file->name, bytes));
    file->frames = bytes / (2 * frames->words);
  }
  TRY_ALL(comm, kind_check(frames, i, kind, in_kev));
  frames->headerless = kind == KIND_HEADERLESS;
  frames->is_hits    = kind == KIND_HITS;
  frames->in_kev     = in_kev;
  file->first        = frames->frames;
  frames->frames += file->frames;
  return STATUS_OK;
}

static enum status request_check(const struct raw_frames_request *request, int64_t rows,
                                 int64_t columns) {
  if (request->files < 1) return FAIL(STATUS_INPUT, "no file of frames is named");
  if (rows < 1 || columns < 1 || rows > PIXELS_MOST / columns)
    return FAIL(STATUS_INPUT, "a detector of %lld x %lld pixels is none of ours", (long long)rows,
                (long long)columns);
  if (request->interleaved && columns % 4 != 0)
    return FAIL(STATUS_INPUT, "interleaved frames have a multiple of 4 columns, not %lld",
                (long long)columns);
  return STATUS_OK;
}

enum status raw_frames_open(MPI_Comm comm, const struct raw_frames_request *request,
                            struct raw_frames *frames) {
  memset(frames, 0, sizeof *frames);
  frames->rows    = request->rows ? request->rows : PIXELS_A_SIDE;
  frames->columns = request->columns ? request->columns : PIXELS_A_SIDE;
  frames->open = frames->handle = -1;
  enum status status            = request_check(request, frames->rows, frames->columns);
  if (status == STATUS_OK)
    status = memory_make(request->files, sizeof *frames->file, "files of frames", &frames->file);
  TRY_ALL(comm, status);
  frames->words = frames->rows * frames->columns;
  for (int i = 0; i < request->files && status == STATUS_OK; i++) {
    frames->file[i].name = request->file[i];
    frames->files        = i + 1;
    status               = add_file(comm, i, frames);
  }
  frames->interleaved = request->interleaved && frames->headerless;
  if (status != STATUS_OK) raw_frames_close(frames);
  return status;
}

void raw_frames_close(struct raw_frames *frames) {
  for (int i = 0; frames->file && i < frames->files; i++)
    if (frames->file[i].input) store_close(&frames->file[i].input);
  if (frames->file && frames->handle >= 0) close(frames->handle);
  memory_free(frames->file);
  memset(frames, 0, sizeof *frames);
}

int64_t raw_frames_pixel(const struct raw_frames *frames, int64_t word) {
  if (!frames->interleaved) return word;
  int64_t row = word / frames->columns, w = word % frames->columns;
  return row * frames->columns + w / 4 + frames->columns / 4 * (w % 4);
}

/* ---- reading ------------------------------------------------------------------------------------- */

static enum status file_turn_to(struct raw_frames *frames, int i) {
  if (frames->open == i) return STATUS_OK;
  if (frames->handle >= 0) close(frames->handle);
  frames->open   = -1;
  frames->handle = open(frames->file[i].name, O_RDONLY | O_CLOEXEC);
  if (frames->handle < 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", frames->file[i].name, strerror(errno));
  frames->open = i;
  return STATUS_OK;
}

static enum status bytes_read(const struct raw_frames *frames, int64_t at, int64_t n, char *to) {
  int64_t got = file_read_at(frames->handle, to, n, at);
  if (got == n) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s cannot be read at byte %lld: %s", frames->file[frames->open].name,
              (long long)(at + got), errno ? strerror(errno) : "it became shorter");
}

/* The part of first .. first + n - 1 that lies in a file, counted from its first frame. */
static int64_t part(const struct raw_frames_file *file, int64_t first, int64_t n, int64_t *begin) {
  int64_t from = first > file->first ? first : file->first, end = file->first + file->frames;
  if (first + n < end) end = first + n;
  *begin = from - file->first;
  return end > from ? end - from : 0;
}

enum status raw_frames_read_here(struct raw_frames *frames, int64_t first, int64_t n,
                                 uint16_t *to) {
  for (int i = 0; i < frames->files; i++) {
    int64_t begin, here = part(&frames->file[i], first, n, &begin);
    if (here == 0) continue;
    uint16_t *at = to + (frames->file[i].first + begin - first) * frames->words;
    TRY(file_turn_to(frames, i));
    TRY(bytes_read(frames, 2 * begin * frames->words, 2 * here * frames->words, (char *)at));
  }
  return STATUS_OK;
}

/* The frames that any rank wants: files without any are passed over by all alike. */
static void span_of_all(MPI_Comm comm, int64_t first, int64_t n, int64_t *low, int64_t *high) {
  int64_t span[2] = {n ? -first : -INT64_MAX, n ? first + n : 0};
  MPI_Allreduce(MPI_IN_PLACE, span, 2, MPI_INT64_T, MPI_MAX, comm);
  *low = -span[0], *high = span[1];
}

enum status raw_frames_read(MPI_Comm comm, struct raw_frames *frames, int64_t first, int64_t n,
                            void *to) {
  int64_t low, high;
  TRY_ALL(comm, fault_here("raw.frames"));
  if (frames->is_hits)
    return AGREE(comm, FAIL(STATUS_INPUT, "%s holds hits, not frames", frames->file[0].name));
  if (frames->headerless) return AGREE(comm, raw_frames_read_here(frames, first, n, to));
  enum grid_type type = frames->in_kev ? GRID_F32 : GRID_U16;
  span_of_all(comm, first, n, &low, &high);
  for (int i = 0; i < frames->files; i++) {
    struct raw_frames_file *file = &frames->file[i];
    if (high <= file->first || low >= file->first + file->frames) continue;
    int64_t begin, here = part(file, first, n, &begin);
    int64_t start[3] = {here ? begin : 0, 0, 0};
    int64_t count[3] = {here, here ? frames->rows : 0, here ? frames->columns : 0};
    int64_t at       = here ? (file->first + begin - first) * frames->words : 0;
    TRY(store_read_box(comm, file->input, start, count, type, true,
                       (char *)to + at * (int64_t)grid_type_bytes(type)));
  }
  return STATUS_OK;
}
