/* What stands between the programs and LeakSanitizer in a Sanitize build. Open MPI's start and end leave memory behind that
 * is not ours; to tell it by suppressions costs a look at its every stack, seconds of each process. So what is allocated
 * there does not count, and a library stays mapped until the end, so that no stack has to be looked for in vain. */
#include <dlfcn.h>
#include <mpi.h>
#include <sanitizer/lsan_interface.h>

int MPI_Init(int *argc, char ***argv) {
  __lsan_disable();
  int failed = PMPI_Init(argc, argv);
  __lsan_enable();
  return failed;
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
  __lsan_disable();
  int failed = PMPI_Init_thread(argc, argv, required, provided);
  __lsan_enable();
  return failed;
}

int MPI_Finalize(void) {
  __lsan_disable();
  int failed = PMPI_Finalize();
  __lsan_enable();
  return failed;
}

int dlclose(void *library) {
  (void)library;
  return 0;
}
