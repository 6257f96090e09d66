/* libFuzzer on what a HEXITEC camera leaves: byte 0 chooses among frames (.bin), files of hits, spectra (.hxt) and
 * maps of gains in words. The rest is the file. See tests/fuzz.sh. */
#include "raw_frames.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  store_environment_set();
  MPI_Init(NULL, NULL);
  log_open(MPI_COMM_SELF, true);
  return 0;
}

static void frames(const char *name) {
  enum { SIDE = 8 };
  const char *const files[]         = {name};
  struct raw_frames_request request = {files, 1, true, SIDE, SIDE};
  struct raw_frames read;
  uint16_t *value;
  if (raw_frames_open(MPI_COMM_SELF, &request, &read) != STATUS_OK) return;
  int64_t n = read.frames < 16 ? read.frames : 16;
  if (read.headerless && n > 0 && memory_make(n, SIDE * SIDE * 2, "frames", &value) == STATUS_OK) {
    raw_frames_read_here(&read, read.frames - n, n, value);
    memory_free(value);
  }
  raw_frames_close(&read);
}

static void spectra(const char *name) {
  struct raw_spectra read;
  double *value;
  bool is;
  if (raw_spectra_is(MPI_COMM_SELF, name, &is) != STATUS_OK || !is) return;
  if (raw_spectra_open(MPI_COMM_SELF, name, &read) != STATUS_OK) return;
  int64_t pixels = read.rows * read.columns, n = pixels < 4 ? pixels : 4;
  if (memory_make(n * read.bins, sizeof *value, "spectra", &value) == STATUS_OK) {
    raw_spectra_read(MPI_COMM_SELF, &read, pixels - n, n, value);
    memory_free(value);
  }
  raw_spectra_close(&read);
}

static void map(const char *name) {
  double value[64];
  raw_map_read(MPI_COMM_SELF, name, 8, 8, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  static int handle = -1;
  static char name[64];
  /* HDF5 is looked through in a child; fuzz_store_metadata.c looks at that */
  if (bytes < 1 || (bytes > 4 && memcmp(data + 1, "\211HDF", 4) == 0)) return 0;
  if (handle < 0) {
    handle = memfd_create("fuzz", 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", handle);
  }
  if (ftruncate(handle, 0) != 0 || pwrite(handle, data + 1, bytes - 1, 0) != (ssize_t)bytes - 1)
    abort();
  status_clear();
  void (*const read[])(const char *) = {frames, spectra, map};
  read[data[0] % 3](name);
  if (memory_now_bytes() != 0) abort();
  return 0;
}
