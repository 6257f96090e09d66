/* Files of hits. Written beside their name by all ranks, each at its place, and renamed when whole. */
#include "raw_hits_private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct head {
  char mark[8];
  uint32_t version, rows, columns, zero;
  int64_t frames, words;
};

static int64_t words_at(int64_t pixels) {
  return (int64_t)sizeof(struct head) + (2 * pixels + 3) / 4 * 4;
}

/* Also opens and closes it. */
static bool get(const char *name, void *to, int64_t bytes, int64_t at) {
  int handle = open(name, O_RDONLY | O_CLOEXEC);
  bool good  = handle >= 0 && file_read_at(handle, to, bytes, at) == bytes;
  if (handle >= 0) close(handle);
  return good;
}

/* ---- reading ------------------------------------------------------------------------------------- */

enum status raw_hits_look(const char *name, int64_t bytes, struct raw_frames_file *file,
                          int64_t n[2]) {
  struct head head;
  if (!get(name, &head, sizeof head, 0))
    return FAIL(STATUS_INPUT, "%s cannot be read as a file of hits", name);
  bool sides     = head.rows <= RAW_HITS_GAP && head.columns <= RAW_HITS_GAP;
  int64_t pixels = sides ? (int64_t)head.rows * head.columns : 0;
  if (head.version != 1 || pixels < 1 || pixels > RAW_HITS_GAP)
    return FAIL(
        STATUS_INPUT,
        "%s: hits of version %u on %u x %u pixels; version 1 and at most %d pixels can be read",
        name, head.version, head.rows, head.columns, RAW_HITS_GAP);
  if (head.frames < 1 || head.words < 0 || head.words > (bytes - words_at(pixels)) / 4 ||
      bytes != words_at(pixels) + 4 * head.words)
    return FAIL(STATUS_INPUT,
                "%s has %lld bytes; %lld hits of %lld frames want 4 bytes each after %lld", name,
                (long long)bytes, (long long)head.words, (long long)head.frames,
                (long long)words_at(pixels));
  file->frames = head.frames, file->words = head.words;
  n[0] = head.rows, n[1] = head.columns;
  return STATUS_OK;
}

enum status raw_hits_read_here(struct raw_frames *frames, int64_t first, int64_t n, uint32_t *to) {
  for (int i = 0; i < frames->files; i++) {
    const struct raw_frames_file *file = &frames->file[i];
    int64_t begin                      = first > file->first_word ? first : file->first_word,
            end                        = file->first_word + file->words;
    if (first + n < end) end = first + n;
    if (end <= begin) continue;
    if (!get(file->name, to + (begin - first), 4 * (end - begin),
             words_at(frames->words) + 4 * (begin - file->first_word)))
      return FAIL(STATUS_INPUT, "%s became shorter while it was read", file->name);
  }
  return STATUS_OK;
}

static enum status limits_here(const char *name, int64_t pixels, uint16_t *limit) {
  bool good = get(name, limit, 2 * pixels, sizeof(struct head));
  return good ? STATUS_OK : FAIL(STATUS_INPUT, "%s cannot be read", name);
}

enum status raw_hits_limits(MPI_Comm comm, const struct raw_frames *frames, int i,
                            uint16_t *limit) {
  TRY_ALL(comm,
          log_is_speaker() ? limits_here(frames->file[i].name, frames->words, limit) : STATUS_OK);
  MPI_Bcast(limit, (int)frames->words, MPI_UINT16_T, 0, comm);
  return STATUS_OK;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static enum status failed(const struct raw_hits_file *file) {
  int why = errno;
  return FAIL(why == ENOSPC || why == EDQUOT ? STATUS_MEMORY : STATUS_OUTPUT,
              "%s cannot be written: %s", file->partial, strerror(why));
}

static enum status put(const struct raw_hits_file *file, const void *from, int64_t bytes,
                       int64_t at) {
  TRY(fault_here("raw.hits"));
  return file_write_at(file->handle, from, bytes, at) == bytes ? STATUS_OK : failed(file);
}

/* Rank 0's: anew, or an earlier one that has the words. */
static enum status make(struct raw_hits_file *file, const uint16_t *limit, int64_t words) {
  struct stat info;
  int64_t pixels = file->rows * file->columns;
  if (words > 0 && lstat(file->partial, &info) == 0 && S_ISREG(info.st_mode) &&
      info.st_size >= words_at(pixels) + 4 * words) {
    file->words  = words;
    file->handle = open(file->partial, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    return file->handle >= 0 ? STATUS_OK : failed(file);
  }
  unlink(file->partial);
  file->words  = 0;
  file->handle = open(file->partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  return file->handle >= 0 ? put(file, limit, 2 * pixels, sizeof(struct head)) : failed(file);
}

static enum status join(struct raw_hits_file *file) {
  if (file->handle < 0) file->handle = open(file->partial, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  return file->handle >= 0 ? STATUS_OK : failed(file);
}

enum status raw_hits_begin(MPI_Comm comm, const char *path, int64_t rows, int64_t columns,
                           const uint16_t *limit, int64_t words, struct raw_hits_file *file) {
  *file = (struct raw_hits_file){.handle = -1, .rows = rows, .columns = columns};
  snprintf(file->path, sizeof file->path, "%s", path);
  snprintf(file->partial, sizeof file->partial, "%s.partial", path);
  enum status status = STATUS_OK;
  if (rows * columns > RAW_HITS_GAP)
    status = FAIL(STATUS_INPUT, "%lld x %lld pixels are more than a file of hits can tell (%d)",
                  (long long)rows, (long long)columns, RAW_HITS_GAP);
  else if (log_is_speaker())
    status = make(file, limit, words);
  status = AGREE(comm, status);
  MPI_Bcast(&file->words, 1, MPI_INT64_T, 0, comm);
  if (status == STATUS_OK) status = AGREE(comm, join(file));
  if (status != STATUS_OK) raw_hits_close(file, false);
  return status;
}

enum status raw_hits_put(MPI_Comm comm, struct raw_hits_file *file, const uint32_t *word,
                         int64_t n) {
  int64_t before = 0, all = n;
  int rank;
  MPI_Comm_rank(comm, &rank);
  MPI_Exscan(&n, &before, 1, MPI_INT64_T, MPI_SUM, comm);
  if (rank == 0) before = 0;
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT64_T, MPI_SUM, comm);
  int64_t at = words_at(file->rows * file->columns) + 4 * (file->words + before);
  TRY_ALL(comm, put(file, word, 4 * n, at));
  file->words += all;
  return STATUS_OK;
}

static enum status sync_here(const struct raw_hits_file *file) {
  return fsync(file->handle) != 0 && errno != EINVAL ? failed(file) : STATUS_OK;
}

enum status raw_hits_sync(MPI_Comm comm, const struct raw_hits_file *file) {
  return AGREE(comm, sync_here(file));
}

/* A file that went on may have more behind its end. */
static enum status finish(const struct raw_hits_file *file, int64_t frames) {
  struct head head = {.version = 1,
                      .rows    = (uint32_t)file->rows,
                      .columns = (uint32_t)file->columns,
                      .frames  = frames,
                      .words   = file->words};
  memcpy(head.mark, "XCSCTHIT", sizeof head.mark);
  TRY(put(file, &head, sizeof head, 0));
  if (ftruncate(file->handle, words_at(file->rows * file->columns) + 4 * file->words) != 0)
    return failed(file);
  TRY(sync_here(file));
  return rename(file->partial, file->path) != 0 ? failed(file) : STATUS_OK;
}

enum status raw_hits_commit(MPI_Comm comm, struct raw_hits_file *file, int64_t frames) {
  TRY(raw_hits_sync(comm, file));
  TRY_ALL(comm, log_is_speaker() ? finish(file, frames) : STATUS_OK);
  return STATUS_OK;
}

void raw_hits_close(struct raw_hits_file *file, bool keep) {
  if (file->handle >= 0) close(file->handle);
  if (!keep && file->partial[0] && log_is_speaker()) unlink(file->partial);
  file->handle = -1;
}
