/* silx opens the right dataset first, VTK's HDF reader shows the volumes.
 * np: 2 */
#include "check.h"
#include "store.h"
#include <stdlib.h>
#include <string.h>

static const char python[] = "/usr/bin/python3";

static bool has_readers(MPI_Comm comm) {
  int rank, good = 0;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) {
    char command[256];
    snprintf(command, sizeof command, "%s -c 'import silx.io, vtkmodules.vtkIOHDF' >/dev/null 2>&1",
             python);
    good = system(command) == 0;
  }
  MPI_Bcast(&good, 1, MPI_INT, 0, comm);
  return good;
}

static void file_write(MPI_Comm comm, const char *path, const int64_t *n) {
  const double axis_um[3]     = {3, 2, 1.5};
  const int64_t faces[3]      = {n[0] + 1, n[1], n[2]};
  struct store_output *output = NULL;
  struct grid_plan plan       = {0};
  int64_t no_halo[3]          = {0};
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(store_begin(comm, path, &(struct store_options){0}, &output));
  CHECK_OK(store_create(comm, output, "height", n + 1, axis_um + 1, NULL, true));
  CHECK_OK(store_create(comm, output, "labels", n, axis_um, NULL, false));
  CHECK_OK(store_create(comm, output, "volume", n, axis_um, "1/cm", false));
  CHECK_OK(store_create(comm, output, "flux_z", faces, axis_um, NULL, false));
  CHECK_OK(store_default(comm, output, "labels"));
  CHECK_OK(store_ready(comm, output));
  struct grid_field labels = {0};
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, no_halo, &labels));
  uint8_t *data = labels.data;
  for (int64_t i = 0; i < labels.voxels; i++)
    data[i] = (uint8_t)(labels.mine.start[0] * n[1] * n[2] + i);
  CHECK_OK(store_write_field(comm, output, "labels", &labels, 0));
  CHECK_OK(store_commit(comm, &output));
  grid_field_free(&labels);
  grid_plan_free(&plan);
}

TEST(silx_and_vtk_open_the_right_dataset) {
  int rank, failed = 0;
  char path[512], command[2048], script[1024];
  const int64_t n[3] = {5, 4, 6};
  if (!has_readers(comm)) {
    check_skip("python3-silx and python3-vtk9 are not installed");
    return;
  }
  snprintf(path, sizeof path, "%s/readers.h5", check_scratch());
  file_write(comm, path, n);
  snprintf(script, sizeof script, "%s", __FILE__);
  snprintf(strrchr(script, '/'), 16, "/readers.py");
  snprintf(command, sizeof command, "%s -B %s %s 5 4 6 >&2", python, script, path);
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) failed = system(command);
  CHECK(failed == 0, "the readers' check ended with %d", failed);
}
