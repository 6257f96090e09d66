/* Outputs: begin, commit, abandon.
 *
 * Only rank 0 speaks HDF5: it makes groups, attributes and datasets in PATH.partial, whose raw
 * storage is contiguous and allocated at once, reserves it with fallocate, and tells the others where
 * it lies. All ranks then write their voxels there with pwrite (store_write.c). So a full disk or a
 * failing one is an errno on the rank that meets it, agreed upon like any other failure; collective
 * MPI-IO below HDF5 can lose data silently there, or hang. At the end every rank syncs, reads back a
 * sample of what it wrote, and rank 0 renames. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- checks before anything is written ----------------------------------------------------------- */

static void folder_name(const char *path, char folder[STORE_NAME_BYTES]) {
  const char *slash = strrchr(path, '/');
  int n             = slash ? (int)(slash - path) : 0;
  snprintf(folder, STORE_NAME_BYTES, "%.*s", slash ? (n ? n : 1) : 1, slash ? path : ".");
}

static enum status folder_check(const char *path) {
  char folder[STORE_NAME_BYTES];
  struct stat info;
  folder_name(path, folder);
  if (stat(folder, &info) != 0)
    return FAIL(STATUS_OUTPUT, "output folder %s is not there: %s", folder, strerror(errno));
  if (!S_ISDIR(info.st_mode))
    return FAIL(STATUS_OUTPUT, "%s is not a folder; %s cannot be written", folder, path);
  if (access(folder, W_OK | X_OK) != 0)
    return FAIL(STATUS_OUTPUT, "output folder %s is not writable: %s", folder, strerror(errno));
  if (lstat(path, &info) == 0 && S_ISDIR(info.st_mode))
    return FAIL(STATUS_OUTPUT, "output %s is a folder; a file name was expected", path);
  return STATUS_OK;
}

static bool is_ours(const char *path) {
  char creator[64] = "";
  hid_t file;
  if (hdf5_open(path, true, &file) != STATUS_OK) {
    status_clear();
    return false;
  }
  hdf5_attribute_text(file, "creator", creator, sizeof creator);
  H5Fclose(file);
  return strcmp(creator, "xcsct") == 0;
}

static enum status space_check(const char *path, int64_t need_bytes) {
  char folder[STORE_NAME_BYTES];
  struct statvfs fs;
  struct stat partial;
  folder_name(path, folder);
  if (need_bytes <= 0 || statvfs(folder, &fs) != 0) return STATUS_OK;
  double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
  char name[STORE_NAME_BYTES + 16];
  snprintf(name, sizeof name, "%s.partial", path);
  if (lstat(name, &partial) == 0) free_bytes += 512.0 * (double)partial.st_blocks;
  if (free_bytes >= (double)need_bytes) return STATUS_OK;
  return FAIL(STATUS_MEMORY, "%s needs %.3f MB of disk, but %s has only %.3f MB free", path,
              (double)need_bytes / 1e6, folder, free_bytes / 1e6);
}

/* ---- begin ------------------------------------------------------------------------------------------- */

enum status output_failed(const struct store_output *output, int why) {
  bool full = why == ENOSPC || why == EDQUOT || why == EFBIG;
  return FAIL(full ? STATUS_MEMORY : STATUS_OUTPUT, "%s cannot be written: %s", output->partial,
              strerror(why));
}

static hid_t file_access(struct store_output *output) {
  hid_t access = driver_access(&output->why);
  /* Large datasets begin on a boundary of pages and of common file system stripes. */
  H5Pset_alignment(access, 1 << 20, 1 << 20);
  return access;
}

/* An own partial file of the same work goes on; anything else there makes room. */
static bool partial_reopen(struct store_output *output, const char *record) {
  bool same  = false;
  char *text = NULL;
  if (access(output->partial, F_OK) != 0 || !is_ours(output->partial)) return false;
  hid_t plist  = file_access(output);
  output->file = H5Fopen(output->partial, H5F_ACC_RDWR, plist);
  H5Pclose(plist);
  if (output->file < 0) return false;
  if (nexus_text_read(output->file, "/entry/process/record", &text) == STATUS_OK && text)
    same = strcmp(text, record) == 0;
  free(text);
  if (!same) {
    H5Fclose(output->file);
    output->file = -1;
  }
  return same;
}

static enum status output_flush(struct store_output *output) {
  if (output->file < 0) return STATUS_OK;
  if (H5Fflush(output->file, H5F_SCOPE_LOCAL) < 0)
    return FAIL(STATUS_OUTPUT, "%s cannot be written: %s", output->partial, hdf5_reason());
  return output->why ? output_failed(output, output->why) : STATUS_OK;
}

static enum status partial_create(struct store_output *output, const char *record) {
  output->why = 0;
  unlink(output->partial);
  hid_t plist  = file_access(output);
  output->file = H5Fcreate(output->partial, H5F_ACC_EXCL, H5P_DEFAULT, plist);
  H5Pclose(plist);
  if (output->why) return output_failed(output, output->why);
  if (output->file < 0)
    return FAIL(STATUS_OUTPUT, "%s cannot be made: %s", output->partial, hdf5_reason());
  TRY(nexus_root_make(output->file, record));
  return output_flush(output);
}

static void lock_name(const char *path, char name[STORE_NAME_BYTES + 16]) {
  snprintf(name, STORE_NAME_BYTES + 16, "%s.lock", path);
}

/* Takes the lock and checks that an output may be made there; the lock is held also on failure. */
static enum status place_take(const char *path, const struct store_options *options, int *lock) {
  char name[STORE_NAME_BYTES + 16];
  TRY(folder_check(path));
  lock_name(path, name);
  TRY(lock_take(name, lock));
  if (access(path, F_OK) == 0 && !options->force && !is_ours(path))
    return FAIL(STATUS_OUTPUT, "%s exists and was not made by this program; --force replaces it",
                path);
  return space_check(path, options->size_bytes);
}

static enum status begin_root(struct store_output *output, const struct store_options *options) {
  const char *record = options->record ? options->record : "";
  TRY(place_take(output->path, options, &output->lock));
  output->content = store_hash(record, (int64_t)strlen(record), 0);
  output->resumed = options->resume && !options->deflate && partial_reopen(output, record);
  if (output->resumed) return STATUS_OK;
  enum status status = partial_create(output, record);
  if (status != STATUS_OK) unlink(output->partial);
  return status;
}

static enum status name_check(const char *path) {
  if (*path && strlen(path) + 16 <= STORE_NAME_BYTES) return STATUS_OK;
  return FAIL(STATUS_OUTPUT, "the output's name is %s", *path ? "too long" : "empty");
}

static enum status place_check(const char *path, const struct store_options *options) {
  char name[STORE_NAME_BYTES + 16];
  int lock = -1;
  TRY(name_check(path));
  enum status status = place_take(path, options, &lock);
  lock_name(path, name);
  lock_release(name, &lock);
  return status;
}

enum status store_output_check(MPI_Comm comm, const char *path,
                               const struct store_options *options) {
  hdf5_start();
  return ON_ROOT(comm, "store.check", place_check(path, options));
}

static enum status output_make(const char *path, struct store_output **output) {
  TRY(name_check(path));
  TRY(memory_make(1, sizeof **output, "an output", output));
  snprintf((*output)->path, STORE_NAME_BYTES, "%s", path);
  snprintf((*output)->partial, STORE_NAME_BYTES, "%s.partial", path);
  (*output)->handle = (*output)->lock = -1;
  (*output)->file                     = -1;
  TRY(packed_samples_make(&(*output)->packed));
  return samples_make(&(*output)->samples);
}

enum status store_begin(MPI_Comm comm, const char *path, const struct store_options *options,
                        struct store_output **output) {
  *output = NULL;
  hdf5_start();
  upkeep_begin();
  enum status mine = output_make(path, output);
  if (mine == STATUS_OK) mine = fault_here("store.begin");
  if (mine == STATUS_OK) (*output)->deflate = options->deflate;
  enum status status = AGREE(comm, mine);
  if (status == STATUS_OK)
    status = AGREE(comm, rank_of(comm) == 0 ? begin_root(*output, options) : STATUS_OK);
  if (status != STATUS_OK) {
    /* Without the lock the partial file is somebody else's. */
    store_abandon(comm, output, true);
    return upkeep_end(status);
  }
  int resumed = (*output)->resumed;
  MPI_Bcast(&resumed, 1, MPI_INT, 0, comm);
  (*output)->resumed = resumed;
  return upkeep_end(STATUS_OK);
}

bool store_resumed(const struct store_output *output) { return output->resumed; }

/* ---- flush and end ------------------------------------------------------------------------------------- */

static enum status ready_local(struct store_output *output) {
  TRY(fault_here("store.ready"));
  return output_flush(output);
}

enum status store_ready(MPI_Comm comm, struct store_output *output) {
  return AGREE(comm, ready_local(output));
}

static enum status data_sync(struct store_output *output) {
  TRY(fault_here("store.sync"));
  TRY(output_flush(output));
  if (output->handle >= 0 && fsync(output->handle) != 0) return output_failed(output, errno);
  return STATUS_OK;
}

enum status store_sync(MPI_Comm comm, struct store_output *output) {
  upkeep_begin();
  return upkeep_end(AGREE(comm, data_sync(output)));
}

static enum status file_close(struct store_output *output) {
  if (output->file < 0) return STATUS_OK;
  herr_t closed = H5Fclose(output->file);
  output->file  = -1;
  if (closed < 0)
    return FAIL(STATUS_OUTPUT, "%s cannot be closed: %s", output->partial, hdf5_reason());
  return output->why ? output_failed(output, output->why) : STATUS_OK;
}

static enum status path_sync(const char *path, int flags) {
  int handle = open(path, flags | O_CLOEXEC);
  int failed = handle < 0 || (fsync(handle) != 0 && errno != EINVAL);
  int why    = errno;
  if (handle >= 0) close(handle);
  if (failed) return FAIL(STATUS_OUTPUT, "%s cannot be written to disk: %s", path, strerror(why));
  return STATUS_OK;
}

/* What later fingerprints of the file are: record, tables, axes, and the values (large ones sampled). */
static enum status content_seal(struct store_output *output) {
  for (int i = 0; i < output->datasets; i++) {
    const struct output_dataset *dataset = &output->dataset[i];
    if (dataset->packed && output_bytes(dataset) > 0)
      TRY(nexus_packed_hash(output->file, dataset, &output->content));
    if (dataset->offset < 0) continue;
    TRY(range_hash(output->handle, output->partial, dataset->offset, output_bytes(dataset),
                   &output->content));
  }
  return nexus_seal(output->file, output->content);
}

/* Rank 0, after all ranks have synced their data: the file must open and hold what was promised. */
static enum status finish_root(struct store_output *output) {
  char folder[STORE_NAME_BYTES];
  TRY(content_seal(output));
  TRY(file_close(output));
  TRY(path_sync(output->partial, O_RDONLY));
  TRY(nexus_reread(output));
  if (rename(output->partial, output->path) != 0)
    return FAIL(STATUS_OUTPUT, "%s cannot be renamed to %s: %s", output->partial, output->path,
                strerror(errno));
  probe_trust(output->path);
  folder_name(output->path, folder);
  return path_sync(folder, O_RDONLY | O_DIRECTORY);
}

static enum status commit_local(struct store_output *output) {
  TRY(fault_here("store.commit"));
  TRY(data_sync(output));
  return samples_check(output->samples, output->partial);
}

enum status store_commit(MPI_Comm comm, struct store_output **output) {
  upkeep_begin();
  enum status status = AGREE(comm, commit_local(*output));
  if (status == STATUS_OK)
    status = AGREE(comm, fault_here("store.finish")); /* before the name is given */
  if (status == STATUS_OK)
    status = AGREE(comm, rank_of(comm) == 0 ? finish_root(*output) : STATUS_OK);
  if (status == STATUS_OK) shelf_commit((*output)->path, &(*output)->shelf);
  store_abandon(comm, output, status == STATUS_OK);
  return upkeep_end(status);
}

void store_abandon(MPI_Comm comm, struct store_output **output, bool keep) {
  char lock[STORE_NAME_BYTES + 16];
  (void)comm;
  if (!*output) return;
  if ((*output)->handle >= 0) close((*output)->handle);
  if ((*output)->file >= 0) H5Fclose((*output)->file);
  if ((*output)->lock >= 0) {
    if (!keep) unlink((*output)->partial);
    lock_name((*output)->path, lock);
    lock_release(lock, &(*output)->lock);
  }
  samples_free(&(*output)->samples);
  memory_free((*output)->packed);
  shelf_drop(&(*output)->shelf, NULL);
  memory_free(*output);
  *output = NULL;
}
