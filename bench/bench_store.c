/* Outputs and inputs beside what the disk gives: every rank writing (reading) its share of a plain file
 * in one stretch and syncing it, as dd would; and beside HDF5's own collective write over MPI-IO.
 * Arguments: folder [MB of the volume]. Reads come from the page cache, where the machine has it. */
#include "bench.h"
#include "store.h"
#include <fcntl.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static MPI_Comm world;
static char file_ours[512], file_plain[512], file_mpiio[512];
static struct grid_field field;

static void give_up_unless(enum status status) {
  if (status != STATUS_OK) status_abort(status, "%s", status_text());
}

static double volume_bytes(void) {
  return 4.0 * (double)field.plan.n[0] * (double)field.plan.n[1] * (double)field.plan.n[2];
}

static void write_ours(void *context) {
  const struct store_options options = {.force = true};
  struct store_output *output        = NULL;
  (void)context;
  give_up_unless(store_begin(world, file_ours, &options, &output));
  give_up_unless(store_create(world, output, "volume", field.plan.n, NULL, NULL, false));
  give_up_unless(store_ready(world, output));
  give_up_unless(store_write_field(world, output, "volume", &field, 0));
  give_up_unless(store_commit(world, &output));
}

static void read_ours(void *context) {
  struct store_input *input = NULL;
  give_up_unless(store_open(world, context, "volume", 3, &input));
  give_up_unless(store_read_field(world, input, true, &field));
  store_close(&input);
}

/* This rank's stretch of a plain file. */
static void stretch(int64_t *start, int64_t *bytes) {
  int rank, size;
  MPI_Comm_rank(world, &rank);
  MPI_Comm_size(world, &size);
  int64_t whole = (int64_t)volume_bytes();
  *start        = whole * rank / size;
  *bytes        = whole * (rank + 1) / size - *start;
}

static void write_plain(void *context) {
  int64_t start, bytes;
  (void)context;
  int rank;
  MPI_Comm_rank(world, &rank);
  stretch(&start, &bytes);
  if (rank == 0) unlink(file_plain);
  MPI_Barrier(world);
  int handle       = open(file_plain, O_WRONLY | O_CREAT, 0644);
  const char *from = field.data;
  int64_t have     = field.voxels * 4;
  for (int64_t done = 0; done < bytes;) {
    int64_t here = bytes - done < have ? bytes - done : have;
    ssize_t n    = pwrite(handle, from, (size_t)here, start + done);
    if (n <= 0) status_abort(STATUS_MEMORY, "%s cannot be written", file_plain);
    done += n;
  }
  fsync(handle);
  close(handle);
  MPI_Barrier(world);
}

static void read_plain(void *context) {
  int64_t start, bytes;
  (void)context;
  stretch(&start, &bytes);
  int handle   = open(file_plain, O_RDONLY);
  char *to     = field.data;
  int64_t have = field.voxels * 4;
  for (int64_t done = 0; done < bytes;) {
    int64_t here = bytes - done < have ? bytes - done : have;
    ssize_t n    = pread(handle, to, (size_t)here, start + done);
    if (n <= 0) status_abort(STATUS_INPUT, "%s cannot be read", file_plain);
    done += n;
  }
  close(handle);
  MPI_Barrier(world);
}

/* HDF5's collective write, for comparison; flush asks MPI-IO to sync. */
static void write_mpiio(void *context) {
  const struct grid_box mine = field.mine;
  hsize_t whole[3], start[3], n[3];
  (void)context;
  for (int a = 0; a < 3; a++) {
    whole[a] = (hsize_t)field.plan.n[a];
    start[a] = (hsize_t)mine.start[a];
    n[a]     = (hsize_t)mine.n[a];
  }
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), transfer = H5Pcreate(H5P_DATASET_XFER);
  H5Pset_fapl_mpio(access, world, MPI_INFO_NULL);
  H5Pset_dxpl_mpio(transfer, H5FD_MPIO_COLLECTIVE);
  hid_t file  = H5Fcreate(file_mpiio, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  hid_t space = H5Screate_simple(3, whole, NULL), memory = H5Screate_simple(3, n, NULL);
  hid_t dataset =
      H5Dcreate2(file, "data", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, n, NULL);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory, space, transfer, field.data);
  H5Fflush(file, H5F_SCOPE_GLOBAL);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Sclose(memory);
  H5Pclose(transfer);
  H5Pclose(access);
  H5Fclose(file);
}

static void case_print(const char *name, struct bench_time time, struct bench_time plain) {
  char more[256];
  snprintf(more, sizeof more,
           "\"bytes\":%.0f,\"GB_per_s\":%.3f,\"plain_GB_per_s\":%.3f,\"of_plain\":%.3f",
           volume_bytes(), 1e-9 * volume_bytes() / time.median_s,
           1e-9 * volume_bytes() / plain.median_s, plain.median_s / time.median_s);
  bench_print(world, name, time, more);
}

static void cases(const char *suffix, const struct grid_plan *plan) {
  char name[64];
  give_up_unless(grid_field_make(world, plan, GRID_F32, NULL, &field));
  for (int64_t i = 0; i < field.voxels; i++) ((float *)field.data)[i] = (float)i;
  struct bench_time plain = bench_run(world, 5, write_plain, NULL);
  struct bench_time ours  = bench_run(world, 5, write_ours, NULL);
  struct bench_time mpiio = bench_run(world, 3, write_mpiio, NULL);
  snprintf(name, sizeof name, "store.write.%s", suffix);
  case_print(name, ours, plain);
  snprintf(name, sizeof name, "hdf5.mpiio.write.%s", suffix);
  case_print(name, mpiio, plain);
  plain = bench_run(world, 5, read_plain, NULL);
  ours  = bench_run(world, 5, read_ours, file_ours);
  snprintf(name, sizeof name, "store.read.%s", suffix);
  case_print(name, ours, plain);
  grid_field_free(&field);
}

int main(int argc, char **argv) {
  store_environment_set();
  MPI_Init(&argc, &argv);
  world = MPI_COMM_WORLD;
  status_program_set(world);
  const char *folder = argc > 1 ? argv[1] : ".";
  double mega        = argc > 2 ? strtod(argv[2], NULL) : 256;
  int64_t n          = 1;
  while (4e-6 * (double)(n * n * n) < mega) n += 8;
  const int64_t shape[3] = {n, n, n};
  snprintf(file_ours, sizeof file_ours, "%s/bench_store.h5", folder);
  snprintf(file_plain, sizeof file_plain, "%s/bench_plain.bin", folder);
  snprintf(file_mpiio, sizeof file_mpiio, "%s/bench_mpiio.h5", folder);
  struct grid_plan plan;
  static const char *const name[] = {"slabs_z", "slabs_y", "slabs_x", "blocks"};
  for (int kind = 0; kind < 4; kind++) {
    give_up_unless(kind < 3 ? grid_plan_slabs(world, shape, kind, &plan)
                            : grid_plan_blocks(world, shape, 2, &plan));
    cases(name[kind], &plan);
    grid_plan_free(&plan);
  }
  int rank;
  MPI_Comm_rank(world, &rank);
  if (rank == 0) {
    unlink(file_ours);
    unlink(file_plain);
    unlink(file_mpiio);
  }
  MPI_Finalize();
  return 0;
}
