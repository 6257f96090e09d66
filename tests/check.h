/* The tests' harness. A test file:
 *   #include "check.h"
 *   TEST(straight_channel_has_tortuosity_one) { CHECK(x == 1, "x = %g", x); }
 * Tests are collective over MPI_COMM_WORLD (`comm`). A check records and goes on (no early return),
 * so no rank leaves alone; failures are reduced after each test. Arguments of the program are parts
 * of names: only those tests run. */
#pragma once
#include "base.h"

struct check_test {
  const char *name;
  void (*run)(MPI_Comm comm);
  struct check_test *next;
};
void check_register(struct check_test *test);
bool check_that(bool good, const char *file, int line, const char *condition, const char *format,
                ...) __attribute__((format(printf, 5, 6)));
/* Ends the test as skipped (visibly, with the reason); call on all ranks, then return. */
void check_skip(const char *reason);
/* Path of a file in the real-data folder XCSCT_DATA, or NULL when it is not there. */
const char *check_data(const char *relative, char *path, size_t bytes);
/* A scratch folder, the same on all ranks, emptied at the end. */
const char *check_scratch(void);

#define TEST(sentence)                                                                             \
  static void sentence(MPI_Comm comm);                                                             \
  __attribute__((constructor)) static void register_##sentence(void) {                             \
    static struct check_test test = {#sentence, sentence, NULL};                                   \
    check_register(&test);                                                                         \
  }                                                                                                \
  static void sentence(__attribute__((unused)) MPI_Comm comm)
/* true when good; the words after the condition are a printf format. */
#define CHECK(condition, ...) check_that((condition), __FILE__, __LINE__, #condition, __VA_ARGS__)
#define CHECK_OK(expr)        CHECK((expr) == STATUS_OK, "%s", status_text())
#define CHECK_NEAR(got, want, tolerance)                                                           \
  check_near((got), (want), (tolerance), __FILE__, __LINE__, #got)
bool check_near(double got, double want, double tolerance, const char *file, int line,
                const char *what);
