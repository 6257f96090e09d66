/* The file driver below HDF5 for outputs. HDF5 1.10 breaks when a write fails while it flushes or
 * closes: it frees what it still refers to, and the process dies when the library ends. So this
 * driver never tells HDF5: it keeps the first errno where the output finds it (writes after that are
 * dropped), and store says what happened. It also makes files as outputs want them: never through a
 * symbolic link, never writable for all. Otherwise plain POSIX, files are ordinary HDF5.
 * https://docs.hdfgroup.org/hdf5/v1_14/_v_f_l.html */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if H5_VERSION_GE(1, 13, 2)
#include <H5FDdevelop.h>
#endif

struct driver_info {
  int *why; /* first errno, 0: none; outlives the open file */
};

struct driver_file {
  H5FD_t public; /* HDF5's part comes first */
  int handle;
  int *why;
  haddr_t eoa, eof;
};

static H5FD_t *driver_open(const char *name, unsigned flags, hid_t access, haddr_t most) {
  const struct driver_info *info = H5Pget_driver_info(access);
  struct stat status;
  (void)most;
  int how = O_NOFOLLOW | O_CLOEXEC | (flags & H5F_ACC_RDWR ? O_RDWR : O_RDONLY);
  if (flags & H5F_ACC_CREAT) how |= O_CREAT | O_EXCL;
  int handle = open(name, how, 0664);
  if (handle < 0 || fstat(handle, &status) != 0) {
    *info->why = errno;
    if (handle >= 0) close(handle);
    return NULL;
  }
  struct driver_file *file = calloc(1, sizeof *file);
  if (!file) {
    close(handle);
    return NULL;
  }
  file->handle = handle;
  file->why    = info->why;
  file->eof    = (haddr_t)status.st_size;
  return &file->public;
}

static herr_t driver_close(H5FD_t *base) {
  struct driver_file *file = (struct driver_file *)base;
  if (close(file->handle) != 0 && !*file->why) *file->why = errno;
  free(file);
  return 0;
}

static herr_t driver_query(const H5FD_t *base, unsigned long *flags) {
  (void)base;
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

static haddr_t driver_get_eoa(const H5FD_t *base, H5FD_mem_t type) {
  (void)type;
  return ((const struct driver_file *)base)->eoa;
}

static herr_t driver_set_eoa(H5FD_t *base, H5FD_mem_t type, haddr_t eoa) {
  (void)type;
  ((struct driver_file *)base)->eoa = eoa;
  return 0;
}

static haddr_t driver_get_eof(const H5FD_t *base, H5FD_mem_t type) {
  (void)type;
  return ((const struct driver_file *)base)->eof;
}

static herr_t driver_read(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                          void *to) {
  const struct driver_file *file = (const struct driver_file *)base;
  char *next                     = to;
  (void)type, (void)transfer;
  while (bytes > 0) {
    ssize_t n = pread(file->handle, next, bytes, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) return memset(next, 0, bytes), 0; /* beyond the end, as HDF5 expects */
    next += n;
    at += (haddr_t)n;
    bytes -= (size_t)n;
  }
  return 0;
}

static herr_t driver_write(H5FD_t *base, H5FD_mem_t type, hid_t transfer, haddr_t at, size_t bytes,
                           const void *from) {
  struct driver_file *file = (struct driver_file *)base;
  const char *next         = from;
  (void)type, (void)transfer;
  while (bytes > 0 && !*file->why) {
    ssize_t n = pwrite(file->handle, next, bytes, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      *file->why = n < 0 ? errno : ENOSPC;
    else {
      next += n;
      at += (haddr_t)n;
      bytes -= (size_t)n;
    }
  }
  if (at + bytes > file->eof) file->eof = at + bytes;
  return 0;
}

static herr_t driver_truncate(H5FD_t *base, hid_t transfer, hbool_t closing) {
  struct driver_file *file = (struct driver_file *)base;
  (void)transfer, (void)closing;
  if (file->eoa == file->eof) return 0;
  if (!*file->why && ftruncate(file->handle, (off_t)file->eoa) != 0) *file->why = errno;
  file->eof = file->eoa;
  return 0;
}

static const H5FD_class_t driver_class = {
#if H5_VERSION_GE(1, 13, 2)
    .version = H5FD_CLASS_VERSION,
    .value   = 513,
#endif
    .name      = "xcsct",
    .maxaddr   = (haddr_t)INT64_MAX,
    .fc_degree = H5F_CLOSE_WEAK,
    .fapl_size = sizeof(struct driver_info),
    .open      = driver_open,
    .close     = driver_close,
    .query     = driver_query,
    .get_eoa   = driver_get_eoa,
    .set_eoa   = driver_set_eoa,
    .get_eof   = driver_get_eof,
    .read      = driver_read,
    .write     = driver_write,
    .truncate  = driver_truncate,
    .fl_map    = H5FD_FLMAP_DICHOTOMY,
};

hid_t driver_access(int *why) {
  static hid_t driver           = -1;
  const struct driver_info info = {why};
  if (driver < 0) driver = H5FDregister(&driver_class);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_driver(access, driver, &info);
  return access;
}
