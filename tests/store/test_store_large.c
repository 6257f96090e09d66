/* More than 2 GiB on one rank, in one call.
 * On two ranks one of them has it all.
 * np: 1 2
 * timeout: 600
 * label: full */
#include "check.h"
#include "store.h"
#include <sys/statvfs.h>

/* A byte that depends on all of a 64-bit index. */
static uint8_t value_at(int64_t i) { return (uint8_t)((uint64_t)i * 0x9E3779B97F4A7C15u >> 56); }

TEST(more_than_two_gib_on_one_rank) {
  const int64_t n[3] = {2200, 1000, 1001};
  struct statvfs disk;
  if (statvfs(check_scratch(), &disk) != 0 || (double)disk.f_bavail * (double)disk.f_frsize < 4e9) {
    check_skip("less than 4 GB of disk");
    return;
  }
  int size;
  MPI_Comm_size(comm, &size);
  int64_t share[64]           = {0};
  struct grid_plan plan       = {0};
  struct grid_field field     = {0};
  struct store_output *output = NULL;
  struct store_input *input   = NULL;
  char path[512];
  snprintf(path, sizeof path, "%s/large.h5", check_scratch());
  share[size - 1] = n[0];
  CHECK_OK(grid_plan_cuts(comm, n, 0, share, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, NULL, &field));
  uint8_t *data = field.data;
  for (int64_t i = 0; i < field.voxels; i++) data[i] = value_at(i);
  CHECK_OK(store_begin(comm, path, &(struct store_options){0}, &output));
  CHECK_OK(store_create(comm, output, "labels", n, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(store_write_field(comm, output, "labels", &field, 0));
  CHECK_OK(store_commit(comm, &output));
  for (int64_t i = 0; i < field.voxels; i++) data[i] = 0;
  CHECK_OK(store_open(comm, path, "labels", 3, &input));
  CHECK_OK(store_read_field(comm, input, true, &field));
  int64_t wrong = 0;
  for (int64_t i = 0; i < field.voxels; i++) wrong += data[i] != value_at(i);
  CHECK(wrong == 0, "%lld voxels are wrong", (long long)wrong);
  store_close(&input);
  grid_field_free(&field);
  grid_plan_free(&plan);
}
