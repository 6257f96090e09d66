/* Spectra per pixel that other programs made: odin-data's HDF5 and .hxt versions 1 and 3. Layout of .hxt, little-endian:
 * char[8] "HEXITECH", u64 version; version 3 alone: u32[9] motors, i32 length and char[100] prefix, char[16] time stamp;
 * then u32 rows, columns, bins; f64 bins[bins] (lower edges, keV), f64 spectra[row][column][bin]. So the detector's own
 * program reads and writes them (stfc-detectors/hexitec, HexitecGigE). Version 2, in which its readers and writers
 * differ about the length of the time stamp, is refused. */
#include "raw_frames.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HXT_VERSION_AT = 8, HXT_SHAPE_AT_1 = 16, HXT_SHAPE_AT_3 = 172 };
enum { BINS_MOST = 1 << 20, SIDE_MOST = 1 << 16 };

/* Bins are told by their lower edges and all as wide as the first. */
static enum status edges_take(const double *edge, int64_t n, struct raw_spectra *spectra) {
  if (n != spectra->bins || n < 2)
    return FAIL(STATUS_INPUT, "%s has %lld bins and %lld edges; as many are wanted, at least 2",
                spectra->name, (long long)spectra->bins, (long long)n);
  double width = (edge[n - 1] - edge[0]) / (double)(n - 1);
  for (int64_t i = 0; i < n; i++)
    if (!(width > 0) || !(fabs(edge[i] - edge[0] - (double)i * width) < 1e-3 * width))
      return FAIL(STATUS_INPUT,
                  "%s: bin %lld begins at %g keV; bins of equal width %g keV are "
                  "wanted",
                  spectra->name, (long long)i, edge[i], width);
  spectra->first_kev = edge[0];
  spectra->bin_kev   = width;
  return STATUS_OK;
}

/* ---- .hxt ---------------------------------------------------------------------------------------- */

static enum status bytes_at(int handle, const char *name, int64_t at, int64_t n, void *to) {
  int64_t got = file_read_at(handle, to, n, at);
  if (got == n) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s ends at byte %lld, amid its spectra", name, (long long)(at + got));
}

static enum status hxt_shape(int handle, int64_t bytes, struct raw_spectra *spectra) {
  uint64_t version;
  uint32_t shape[3];
  TRY(bytes_at(handle, spectra->name, HXT_VERSION_AT, sizeof version, &version));
  if (version != 1 && version != 3)
    return FAIL(STATUS_INPUT, "%s is .hxt of version %llu; versions 1 and 3 are read",
                spectra->name, (unsigned long long)version);
  int64_t shape_at = version == 1 ? HXT_SHAPE_AT_1 : HXT_SHAPE_AT_3;
  TRY(bytes_at(handle, spectra->name, shape_at, sizeof shape, shape));
  if (!shape[0] || !shape[1] || !shape[2] || shape[0] > SIDE_MOST || shape[1] > SIDE_MOST ||
      shape[2] > BINS_MOST)
    return FAIL(STATUS_INPUT, "%s tells of %u x %u pixels and %u bins, which cannot be",
                spectra->name, shape[0], shape[1], shape[2]);
  spectra->rows = shape[0], spectra->columns = shape[1], spectra->bins = shape[2];
  spectra->data_bytes = shape_at + (int64_t)sizeof shape + 8 * spectra->bins;
  int64_t want        = spectra->data_bytes + 8 * spectra->rows * spectra->columns * spectra->bins;
  if (bytes != want)
    return FAIL(STATUS_INPUT, "%s has %lld bytes; %lld x %lld pixels of %lld bins want %lld",
                spectra->name, (long long)bytes, (long long)spectra->rows,
                (long long)spectra->columns, (long long)spectra->bins, (long long)want);
  return STATUS_OK;
}

static enum status hxt_edges(int handle, struct raw_spectra *spectra) {
  double *edge;
  int64_t bytes = 8 * spectra->bins;
  TRY(memory_make(spectra->bins, sizeof *edge, "bins of spectra", &edge));
  enum status status = bytes_at(handle, spectra->name, spectra->data_bytes - bytes, bytes, edge);
  if (status == STATUS_OK) status = edges_take(edge, spectra->bins, spectra);
  memory_free(edge);
  return status;
}

static enum status hxt_open(struct raw_spectra *spectra) {
  struct stat info;
  int handle = open(spectra->name, O_RDONLY | O_CLOEXEC);
  if (handle < 0 || fstat(handle, &info) != 0) {
    if (handle >= 0) close(handle);
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", spectra->name, strerror(errno));
  }
  enum status status = hxt_shape(handle, (int64_t)info.st_size, spectra);
  if (status == STATUS_OK) status = hxt_edges(handle, spectra);
  close(handle);
  return status;
}

static enum status hxt_read(const struct raw_spectra *spectra, int64_t pixel0, int64_t n,
                            double *to) {
  int handle = open(spectra->name, O_RDONLY | O_CLOEXEC);
  if (handle < 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", spectra->name, strerror(errno));
  enum status status =
      bytes_at(handle, spectra->name, spectra->data_bytes + 8 * pixel0 * spectra->bins,
               8 * n * spectra->bins, to);
  close(handle);
  return status;
}

static bool begins_with(const char *name, const char mark[8]) {
  char head[8] = "";
  FILE *file   = fopen(name, "rb");
  if (!file) return false;
  size_t got = fread(head, 1, sizeof head, file);
  fclose(file);
  return got == sizeof head && memcmp(head, mark, 8) == 0;
}

static bool is_hxt(const char *name) { return begins_with(name, "HEXITECH"); }

/* ---- HDF5 ---------------------------------------------------------------------------------------- */

static enum status odin_shape(const struct store_info *info, struct raw_spectra *spectra) {
  int r = info->rank;
  if (r < 3 || r > 4 || (r == 4 && info->n[0] != 1))
    return FAIL(STATUS_INPUT, "%s:%s has %d axes; (1,) row, column, bin are wanted", info->file,
                info->dataset, r);
  spectra->rows = info->n[r - 3], spectra->columns = info->n[r - 2], spectra->bins = info->n[r - 1];
  if (spectra->rows < 1 || spectra->columns < 1 || spectra->bins < 2)
    return FAIL(STATUS_INPUT, "%s:%s is empty", info->file, info->dataset);
  return STATUS_OK;
}

static enum status odin_open(MPI_Comm comm, struct raw_spectra *spectra) {
  char path[STORE_NAME_BYTES];
  double *edge = NULL;
  int64_t n    = 0;
  bool found   = false;
  snprintf(path, sizeof path, "%s:pixel_spectra", spectra->name);
  TRY(store_open(comm, path, NULL, 0, &spectra->input));
  TRY_ALL(comm, odin_shape(store_info(spectra->input), spectra));
  TRY(store_get_doubles(comm, spectra->name, "spectra_bins", &found, &edge, &n));
  enum status status = found ? edges_take(edge, n, spectra)
                             : FAIL(STATUS_INPUT, "%s has no spectra_bins", spectra->name);
  memory_free(edge);
  TRY_ALL(comm, status);
  TRY(store_get_text(comm, spectra->name, "spectra_bins@position", &found, path, sizeof path));
  if (found && strcmp(path, "centre") == 0) spectra->first_kev -= 0.5 * spectra->bin_kev;
  return STATUS_OK;
}

/* A chunk of pixels is no box of rows and columns: row by row, the most rows of any rank together. */
static enum status odin_read(MPI_Comm comm, struct raw_spectra *spectra, int64_t pixel0, int64_t n,
                             double *to) {
  int64_t row0 = pixel0 / spectra->columns, bins = spectra->bins;
  int64_t rows = n ? (pixel0 + n - 1) / spectra->columns - row0 + 1 : 0, most = rows;
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, comm);
  int lead           = store_info(spectra->input)->rank - 3;
  enum status status = STATUS_OK;
  for (int64_t i = 0; i < most && status == STATUS_OK; i++) {
    int64_t row = (row0 + i) * spectra->columns;
    int64_t low = pixel0 > row ? pixel0 - row : 0, high = pixel0 + n - row;
    if (high > spectra->columns) high = spectra->columns;
    bool none                     = i >= rows;
    int64_t start[STORE_RANK_MAX] = {0}, count[STORE_RANK_MAX] = {!none};
    start[lead] = none ? 0 : row0 + i, start[lead + 1] = none ? 0 : low;
    count[lead] = !none, count[lead + 1] = none ? 0 : high - low, count[lead + 2] = none ? 0 : bins;
    status = store_read_box(comm, spectra->input, start, count, GRID_F64, false,
                            to + (none ? 0 : (row + low - pixel0) * bins));
  }
  return status;
}

/* ---- both ---------------------------------------------------------------------------------------- */

enum status raw_spectra_is(MPI_Comm comm, const char *name, bool *is) {
  int kind[2] = {0};
  if (log_is_speaker()) kind[0] = is_hxt(name), kind[1] = begins_with(name, "\211HDF\r\n\032\n");
  MPI_Bcast(kind, 2, MPI_INT, 0, comm);
  *is = kind[0];
  return kind[1] ? store_has(comm, name, "pixel_spectra", is) : STATUS_OK;
}

enum status raw_spectra_open(MPI_Comm comm, const char *name, struct raw_spectra *spectra) {
  int rank, hxt = 0;
  memset(spectra, 0, sizeof *spectra);
  spectra->name = name;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) hxt = is_hxt(name);
  MPI_Bcast(&hxt, 1, MPI_INT, 0, comm);
  enum status status = hxt ? AGREE(comm, hxt_open(spectra)) : odin_open(comm, spectra);
  if (status != STATUS_OK) raw_spectra_close(spectra);
  return status;
}

void raw_spectra_close(struct raw_spectra *spectra) {
  if (spectra->input) store_close(&spectra->input);
  memset(spectra, 0, sizeof *spectra);
}

enum status raw_spectra_read(MPI_Comm comm, struct raw_spectra *spectra, int64_t pixel0, int64_t n,
                             double *to) {
  TRY_ALL(comm, fault_here("raw.spectra"));
  return spectra->input ? odin_read(comm, spectra, pixel0, n, to)
                        : AGREE(comm, hxt_read(spectra, pixel0, n, to));
}
