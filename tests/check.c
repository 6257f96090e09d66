#include "check.h"
#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct check_test *first, **last = &first;
static int failures, checks;
static const char *skip_reason;
static char scratch[256];

void check_register(struct check_test *test) {
  *last = test;
  last  = &test->next;
}

static void tell(const char *file, int line, const char *what, const char *words) {
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (failures <= 20)
    fprintf(stderr, "    %s:%d: rank %d: %s: %s\n", file, line, rank, what, words);
}

bool check_that(bool good, const char *file, int line, const char *condition, const char *format,
                ...) {
  checks++;
  if (good) return true;
  failures++;
  char words[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(words, sizeof words, format, list);
  va_end(list);
  tell(file, line, condition, words);
  return false;
}

bool check_near(double got, double want, double tolerance, const char *file, int line,
                const char *what) {
  checks++;
  if (fabs(got - want) <= tolerance) return true;
  failures++;
  char words[256];
  snprintf(words, sizeof words, "%.12g, not %.12g within %g", got, want, tolerance);
  tell(file, line, what, words);
  return false;
}

void check_skip(const char *reason) { skip_reason = reason; }

const char *check_data(const char *relative, char *path, size_t bytes) {
  const char *folder = getenv("XCSCT_DATA");
  if (!folder) return NULL;
  snprintf(path, bytes, "%s/%s", folder, relative);
  return access(path, R_OK) == 0 ? path : NULL;
}

const char *check_scratch(void) {
  if (scratch[0]) return scratch;
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) {
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/xcsct_test_XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(scratch)) scratch[0] = 0;
  }
  MPI_Bcast(scratch, (int)sizeof scratch, MPI_CHAR, 0, MPI_COMM_WORLD);
  return scratch;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at) {
  (void)info, (void)type, (void)at;
  return remove(path);
}

static bool wanted(const char *name, int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strstr(name, argv[i])) return true;
  return argc < 2;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  status_program_set(MPI_COMM_WORLD);
  int rank, size, passed = 0, failed = 0, skipped = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  log_open(MPI_COMM_WORLD, true);
  const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
  for (struct check_test *test = first; test; test = test->next) {
    if (!wanted(test->name, argc, argv)) continue;
    failures = checks = 0;
    skip_reason       = NULL;
    status_clear();
    double begun = time_now_s();
    test->run(MPI_COMM_WORLD);
    int sums[2] = {failures, checks};
    MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    const char *verdict = sums[0] ? "FAILED" : skip_reason ? "skipped" : sums[1] ? "ok" : "FAILED";
    if (rank == 0)
      printf("%-8s %s.%s.np%d (%.2f s)%s%s%s\n", verdict, program, test->name, size,
             time_now_s() - begun, skip_reason ? ": " : "", skip_reason ? skip_reason : "",
             sums[1] || skip_reason ? "" : ": no check was made");
    if (verdict[0] == 'F')
      failed++;
    else if (skip_reason)
      skipped++;
    else
      passed++;
  }
  if (rank == 0) {
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    if (scratch[0]) nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
  }
  MPI_Finalize();
  if (failed || passed + skipped == 0) return 1;
  return passed ? 0 : 77;
}
