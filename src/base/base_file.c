/* Small files, read on rank 0 and broadcast; parts of open ones. */
#include "base.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum status read_here(const char *path, int64_t most_bytes, char **bytes, int64_t *n) {
  struct stat info;
  FILE *file = fopen(path, "rb");
  if (!file) return FAIL(STATUS_INPUT, "%s cannot be read: %s", path, strerror(errno));
  enum status status = STATUS_OK;
  if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode))
    status = FAIL(STATUS_INPUT, "%s is no regular file", path);
  else if (info.st_size > most_bytes || info.st_size >= INT_MAX)
    status = FAIL(STATUS_INPUT, "%s has %lld bytes; at most %lld are read", path,
                  (long long)info.st_size, (long long)most_bytes);
  else
    status = memory_make((int64_t)info.st_size + 1, 1, "the bytes of a file", bytes);
  if (status == STATUS_OK) {
    *n = (int64_t)fread(*bytes, 1, (size_t)info.st_size, file);
    if (*n != info.st_size) status = FAIL(STATUS_INPUT, "%s cannot be read whole", path);
  }
  fclose(file);
  return status;
}

enum status file_bytes(MPI_Comm comm, const char *path, int64_t most_bytes, char **bytes,
                       int64_t *n) {
  *bytes = NULL;
  *n     = 0;
  int rank;
  MPI_Comm_rank(comm, &rank);
  enum status status = fault_here("base.file");
  if (status == STATUS_OK && rank == 0) status = read_here(path, most_bytes, bytes, n);
  status = AGREE(comm, status);
  MPI_Bcast(n, 1, MPI_INT64_T, 0, comm);
  if (status == STATUS_OK && rank != 0)
    status = memory_make(*n + 1, 1, "the bytes of a file", bytes);
  status = AGREE(comm, status);
  if (status == STATUS_OK) MPI_Bcast(*bytes, (int)*n, MPI_BYTE, 0, comm);
  if (status == STATUS_OK) return STATUS_OK;
  memory_free(*bytes);
  *bytes = NULL;
  return status;
}

int64_t file_read_at(int handle, void *to, int64_t bytes, int64_t at) {
  int64_t done = 0;
  errno        = 0;
  while (done < bytes) {
    ssize_t got = pread(handle, (char *)to + done, (size_t)(bytes - done), (off_t)(at + done));
    if (got < 0 && errno == EINTR) {
      errno = 0;
      continue;
    }
    if (got <= 0) break;
    done += got;
  }
  return done;
}

int64_t file_write_at(int handle, const void *from, int64_t bytes, int64_t at) {
  int64_t done = 0;
  errno        = 0;
  while (done < bytes) {
    ssize_t put =
        pwrite(handle, (const char *)from + done, (size_t)(bytes - done), (off_t)(at + done));
    if (put < 0 && errno == EINTR) {
      errno = 0;
      continue;
    }
    if (put <= 0) break;
    done += put;
  }
  return done;
}
