/* libFuzzer on HDF5 (and TIFF) files: the library itself fails on some malformed ones, so what must hold is that the
 * child which looks through a file first takes the harm. See tests/fuzz.sh. */
#include "store.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char name[64];

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  store_environment_set();
  MPI_Init(NULL, NULL);
  log_open(MPI_COMM_SELF, true);
  snprintf(name, sizeof name, "/tmp/fuzz_store_%d.h5", (int)getpid());
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  struct store_input *input = NULL;
  char *lines               = NULL;
  unlink(name);
  int handle = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (handle < 0 || write(handle, data, bytes) != (ssize_t)bytes) abort();
  close(handle);
  status_clear();
  if (store_open(MPI_COMM_SELF, name, "labels", 3, &input) == STATUS_OK) {
    const struct store_info *info = store_info(input);
    int64_t start[STORE_RANK_MAX] = {0}, n[STORE_RANK_MAX], voxels = 1;
    for (int a = 0; a < info->rank; a++) voxels *= n[a] = info->n[a] < 4 ? info->n[a] : 4;
    double *value;
    if (memory_make(voxels, sizeof *value, "voxels", &value) == STATUS_OK) {
      store_read_box(MPI_COMM_SELF, input, start, n, GRID_F64, false, value);
      memory_free(value);
    }
  }
  store_close(&input);
  if (store_list(MPI_COMM_SELF, name, &lines) == STATUS_OK) memory_free(lines);
  unlink(name);
  return 0;
}
