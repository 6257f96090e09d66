/* Which instruction set the hot kernels use: the lowest that all ranks' machines have. */
#include "base.h"
#include <string.h>

static enum isa best_here(void) {
#ifdef XCSCT_ISA_X86
  __builtin_cpu_init();
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl");
  return v4 ? ISA_AVX512 : v3 ? ISA_AVX2 : ISA_BASELINE;
#else
  return ISA_BASELINE;
#endif
}

static int chosen = -1;

enum isa isa_now(void) {
  if (chosen < 0) chosen = (int)best_here();
  return (enum isa)chosen;
}

const char *isa_name(enum isa isa) {
  static const char *const names[] = {"baseline", "avx2", "avx512"};
  return names[isa];
}

static enum status lower_to(const char *limit_name, int *level) {
  *level = (int)best_here();
  if (!limit_name || !*limit_name || strcmp(limit_name, "auto") == 0) return STATUS_OK;
  for (int i = 0; i <= (int)ISA_AVX512; i++) {
    if (strcmp(limit_name, isa_name((enum isa)i)) != 0) continue;
    if (i > *level)
      return FAIL(STATUS_USAGE, "isa = %s is more than this machine has (%s)", limit_name,
                  isa_name((enum isa) * level));
    *level = i;
    return STATUS_OK;
  }
  return FAIL(STATUS_USAGE, "isa = %s is unknown; it would be auto, baseline, avx2 or avx512",
              limit_name);
}

enum status isa_agree(MPI_Comm comm, const char *limit_name) {
  int level;
  TRY_ALL(comm, lower_to(limit_name, &level));
  MPI_Allreduce(MPI_IN_PLACE, &level, 1, MPI_INT, MPI_MIN, comm);
  chosen = level;
  return STATUS_OK;
}
