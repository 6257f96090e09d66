/* The file between two rounds: a head, then counts [pixel][bin] of the whole detector. It is written beside its name
 * and renamed, so that a kill leaves the one before or the new one. Any number of ranks can go on. */
#include "compton_keep.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct head {
  char mark[8];
  uint64_t record;
  int64_t rows, columns, bins;
  struct compton_kept kept;
};
static const char mark[8] = "XCSCTK1";

static struct head head_of(uint64_t record, const struct compton_cube *cube,
                           const struct compton_kept *kept) {
  struct head head = {.record  = record,
                      .rows    = cube->rows,
                      .columns = cube->columns,
                      .bins    = cube->bins,
                      .kept    = *kept};
  memcpy(head.mark, mark, sizeof mark);
  return head;
}

static enum status failed(const char *path) {
  int why = errno;
  return FAIL(why == ENOSPC || why == EDQUOT ? STATUS_MEMORY : STATUS_OUTPUT,
              "%s cannot be written: %s", path, strerror(why));
}

static enum status put(int handle, const char *path, const void *from, int64_t bytes, int64_t at) {
  return file_write_at(handle, from, bytes, at) == bytes ? STATUS_OK : failed(path);
}

static int64_t counts_at(const struct compton_cube *cube) {
  return (int64_t)sizeof(struct head) + cube->pixel0 * cube->bins * (int64_t)sizeof(uint32_t);
}

static enum status create(const char *path, const struct head *head) {
  unlink(path);
  int handle = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (handle < 0) return failed(path);
  enum status status = put(handle, path, head, sizeof *head, 0);
  close(handle);
  return status;
}

static enum status put_here(const char *path, const struct compton_cube *cube) {
  TRY(fault_here("compton.keep"));
  int handle = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
  if (handle < 0) return failed(path);
  enum status status = put(handle, path, cube->count,
                           cube->pixels * cube->bins * (int64_t)sizeof(uint32_t), counts_at(cube));
  if (status == STATUS_OK && fsync(handle) != 0 && errno != EINVAL) status = failed(path);
  close(handle);
  return status;
}

static enum status give_name(const char *from, const char *to) {
  return rename(from, to) != 0 ? failed(to) : STATUS_OK;
}

enum status compton_keep_save(MPI_Comm comm, const char *path, uint64_t record,
                              const struct compton_cube *cube, const struct compton_kept *kept) {
  char beside[STORE_NAME_BYTES + 8];
  struct head head = head_of(record, cube, kept);
  snprintf(beside, sizeof beside, "%s.new", path);
  TRY_ALL(comm, log_is_speaker() ? create(beside, &head) : STATUS_OK);
  enum status status = AGREE(comm, put_here(beside, cube));
  if (status == STATUS_OK)
    status = AGREE(comm, log_is_speaker() ? give_name(beside, path) : STATUS_OK);
  if (status != STATUS_OK && log_is_speaker()) unlink(beside);
  return status;
}

/* Does the file go on where this work would? */
static bool fits(const char *path, const struct head *want, struct head *head) {
  struct stat info;
  int handle = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (handle < 0) return false;
  int64_t bytes =
      (int64_t)sizeof *head + want->rows * want->columns * want->bins * (int64_t)sizeof(uint32_t);
  bool good = fstat(handle, &info) == 0 && info.st_size == bytes &&
              file_read_at(handle, head, sizeof *head, 0) == sizeof *head &&
              memcmp(head, want, offsetof(struct head, kept)) == 0;
  close(handle);
  return good;
}

static enum status get_here(const char *path, struct compton_cube *cube) {
  int handle    = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  int64_t bytes = cube->pixels * cube->bins * (int64_t)sizeof(uint32_t);
  bool good     = handle >= 0 && file_read_at(handle, cube->count, bytes, counts_at(cube)) == bytes;
  if (handle >= 0) close(handle);
  return good ? STATUS_OK : FAIL(STATUS_INPUT, "%s cannot be read; remove it to begin anew", path);
}

enum status compton_keep_load(MPI_Comm comm, const char *path, uint64_t record,
                              struct compton_cube *cube, struct compton_kept *kept) {
  struct head head = {0}, want = head_of(record, cube, kept);
  int there = log_is_speaker() && fits(path, &want, &head);
  memset(kept, 0, sizeof *kept);
  MPI_Bcast(&there, 1, MPI_INT, 0, comm);
  if (!there) return STATUS_OK;
  MPI_Bcast(&head, sizeof head, MPI_BYTE, 0, comm);
  TRY_ALL(comm, get_here(path, cube));
  *kept = head.kept;
  return STATUS_OK;
}

void compton_keep_drop(MPI_Comm comm, const char *path) {
  if (log_is_speaker()) unlink(path);
  MPI_Barrier(comm);
}
