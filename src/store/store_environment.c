/* No surprises from the environment: HDF5 variables that load code or redirect files are dropped.
 * Open MPI's file layer gets the aggregation that has no known corruption (open-mpi/ompi issues 12718
 * and 10546 are of its defaults), where the user has not chosen. */
#include "store.h"
#include <stdlib.h>

void store_environment_set(void) {
  static const char *const dropped[] = {"HDF5_PLUGIN_PATH",   "HDF5_PREFIX", "HDF5_EXT_PREFIX",
                                        "HDF5_VDS_PREFIX",    "HDF5_DEBUG",  "HDF5_DRIVER",
                                        "HDF5_EXTFILE_PREFIX"};
  for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) unsetenv(dropped[i]);
  setenv("HDF5_PLUGIN_PRELOAD", "::", 1);
  setenv("OMPI_MCA_fcoll", "dynamic_gen2", 0);
  setenv("OMPI_MCA_fbtl_posix_read_datasieving", "0", 0);
}
