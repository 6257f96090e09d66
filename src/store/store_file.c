/* Files as wholes: fingerprints, small text files. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 << 10, PIECES = 64 };
static const int64_t whole_limit_bytes = 64 << 20;

static enum status piece_hash(int handle, const char *file, int64_t offset, int64_t bytes,
                              char *buffer, uint64_t *hash) {
  for (int64_t done = 0; done < bytes;) {
    ssize_t n = pread(handle, buffer + done, (size_t)(bytes - done), offset + done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return FAIL(STATUS_INPUT, "%s cannot be read at byte %lld: %s", file,
                  (long long)(offset + done), n < 0 ? strerror(errno) : "the file ends there");
    done += n;
  }
  *hash = store_hash(buffer, bytes, *hash);
  return STATUS_OK;
}

/* All of a range up to 64 MiB, else 64 pieces spread evenly with the first and the last. */
enum status range_hash(int handle, const char *file, int64_t offset, int64_t bytes,
                       uint64_t *hash) {
  char *buffer;
  enum status status = STATUS_OK;
  TRY(memory_make_raw(PIECE_BYTES, 1, "a fingerprint", &buffer));
  bool whole     = bytes <= whole_limit_bytes;
  int64_t pieces = whole ? (bytes + PIECE_BYTES - 1) / PIECE_BYTES : PIECES;
  for (int64_t i = 0; i < pieces && status == STATUS_OK; i++) {
    int64_t at = whole ? i * PIECE_BYTES : (bytes - PIECE_BYTES) / (PIECES - 1) * i;
    if (!whole && i == PIECES - 1) at = bytes - PIECE_BYTES;
    int64_t n = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
    status    = piece_hash(handle, file, offset + at, n, buffer, hash);
  }
  memory_free(buffer);
  return status;
}

/* Our own outputs carry a hash of their record and content: their time does not matter. */
static bool own_content(const char *file, char *text, size_t bytes) {
  char creator[64], content[32];
  hid_t id;
  bool own = false;
  if (H5Fis_hdf5(file) <= 0) return false;
  if (hdf5_open(file, true, &id) != STATUS_OK) return status_clear(), false;
  own = hdf5_attribute_text(id, "creator", creator, sizeof creator) &&
        strcmp(creator, "xcsct") == 0 &&
        hdf5_attribute_text(id, "content", content, sizeof content);
  if (own) snprintf(text, bytes, "own %s", content);
  H5Fclose(id);
  return own;
}

static enum status fingerprint(const char *file, char *text, size_t bytes) {
  struct stat info;
  uint64_t hash = 0;
  TRY(file_is_readable(file));
  int handle = open(file, O_RDONLY | O_CLOEXEC);
  if (handle < 0 || fstat(handle, &info) != 0) {
    if (handle >= 0) close(handle);
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  }
  enum status status = own_content(file, text, bytes)
                           ? STATUS_OK
                           : range_hash(handle, file, 0, (int64_t)info.st_size, &hash);
  close(handle);
  bool own = strncmp(text, "own ", 4) == 0, whole = info.st_size <= whole_limit_bytes;
  if (status == STATUS_OK && !own &&
      whole) /* all of it was looked at: a copy of later date is the same */
    snprintf(text, bytes, "%lld whole %016llx", (long long)info.st_size, (unsigned long long)hash);
  if (status == STATUS_OK && !own && !whole)
    snprintf(text, bytes, "%lld %lld.%09ld %016llx", (long long)info.st_size,
             (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec, (unsigned long long)hash);
  return status;
}

enum status store_fingerprint(MPI_Comm comm, const char *file, char *text, size_t bytes) {
  hdf5_start();
  text[0] = 0;
  TRY(ON_ROOT(comm, "store.fingerprint", fingerprint(file, text, bytes)));
  MPI_Bcast(text, (int)bytes, MPI_CHAR, 0, comm);
  return STATUS_OK;
}

static enum status text_failed(const char *path, const char *temporary, int handle) {
  int why = errno;
  if (handle >= 0) {
    close(handle);
    unlink(temporary);
  }
  return FAIL(why == ENOSPC || why == EDQUOT ? STATUS_MEMORY : STATUS_OUTPUT,
              "%s cannot be written: %s", path, strerror(why));
}

enum status store_text_write(const char *path, const char *text, int64_t n) {
  char temporary[STORE_NAME_BYTES + 32];
  if (strlen(path) >= STORE_NAME_BYTES)
    return FAIL(STATUS_OUTPUT, "the output's name is longer than %d bytes", STORE_NAME_BYTES - 1);
  snprintf(temporary, sizeof temporary, "%s.partial", path);
  unlink(temporary);
  int handle = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (handle < 0) return text_failed(path, temporary, handle);
  for (int64_t done = 0; done < n;) {
    ssize_t wrote = write(handle, text + done, (size_t)(n - done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return text_failed(path, temporary, handle);
    done += wrote;
  }
  if (fsync(handle) != 0 && errno != EINVAL) return text_failed(path, temporary, handle);
  close(handle);
  if (rename(temporary, path) != 0) {
    unlink(temporary);
    return text_failed(path, temporary, -1);
  }
  return STATUS_OK;
}

bool store_name_ok(const char *name) {
  size_t n = strlen(name);
  return n >= 1 && n <= 64 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
         strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}
