/* np: 1 2 3 */
#include "check.h"
#include <stdlib.h>
#include <string.h>

static int rank_of(MPI_Comm comm) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  return rank;
}
static int size_of(MPI_Comm comm) {
  int size;
  MPI_Comm_size(comm, &size);
  return size;
}

static enum status fail_on(int rank, int wanted, enum status code) {
  if (rank == wanted) return FAIL(code, "the value on rank %d is wrong", rank);
  return STATUS_OK;
}

TEST(all_ranks_hold_the_failing_ranks_status_and_words) {
  for (int bad = 0; bad < size_of(comm); bad++) {
    status_clear();
    char want[64];
    snprintf(want, sizeof want, "the value on rank %d is wrong", bad);
    enum status got = AGREE(comm, fail_on(rank_of(comm), bad, STATUS_INPUT));
    CHECK(got == STATUS_INPUT, "got %s", status_name(got));
    CHECK(strcmp(status_text(), want) == 0, "got '%s'", status_text());
  }
}

TEST(the_lowest_failing_rank_speaks) {
  status_clear();
  enum status mine =
      fail_on(rank_of(comm), rank_of(comm), rank_of(comm) ? STATUS_MEMORY : STATUS_INPUT);
  CHECK(AGREE(comm, mine) == STATUS_INPUT, "%s", status_text());
  CHECK(strcmp(status_text(), "the value on rank 0 is wrong") == 0, "got '%s'", status_text());
}

TEST(the_first_record_wins_until_cleared) {
  status_clear();
  FAIL(STATUS_INPUT, "first");
  FAIL(STATUS_MEMORY, "second");
  CHECK(strcmp(status_text(), "first") == 0, "got '%s'", status_text());
  status_clear();
  FAIL(STATUS_MEMORY, "third");
  CHECK(strcmp(status_text(), "third") == 0, "got '%s'", status_text());
}

TEST(words_from_files_become_printable_and_name_the_file) {
  status_clear();
  FAIL(STATUS_INPUT, "the key '%s' is unknown", "a\033[2J\xff\xc3\xa9\n\xe2\x82");
  CHECK(strcmp(status_text(), "the key 'a?[2J?\xc3\xa9\n?"
                              "?' is unknown") == 0,
        "got '%s'", status_text());
  status_about("/raw/b.csv");
  status_about("elsewhere/b.csv");
  CHECK(strncmp(status_text(), "/raw/b.csv: the key", 19) == 0, "got '%s'", status_text());
  CHECK(!strstr(status_text(), "elsewhere"), "got '%s'", status_text());
}

TEST(exit_codes_are_those_scripts_rely_on) {
  const int want[] = {0, 1, 2, 3, 4, 5, 6, 75};
  for (int i = 0; i < 8; i++) CHECK(status_exit_code((enum status)i) == want[i], "row %d", i);
}

TEST(a_fault_is_felt_on_the_asked_rank_alone) {
#ifdef XCSCT_FAULTS
  setenv("FAULT", "base.here:1", 1);
  enum status mine = fault_here("base.here"), other = fault_here("base.her");
  unsetenv("FAULT");
  CHECK((mine != STATUS_OK) == (rank_of(comm) == 1), "rank %d", rank_of(comm));
  CHECK(other == STATUS_OK, "a part of the name is another site");
#else
  check_skip("built without XCSCT_FAULTS");
#endif
}

TEST(a_narrowing_that_loses_is_refused) {
  int small = 0;
  status_clear();
  CHECK_OK(base_int_from(2147483647, "n", &small));
  CHECK(small == 2147483647, "%d", small);
  CHECK(base_int_from(2147483648LL, "n", &small) == STATUS_INTERNAL, "accepted");
}

TEST(memory_is_counted_aligned_and_refused_when_too_much) {
  status_clear();
  int64_t before = memory_now_bytes();
  double *block  = NULL;
  CHECK_OK(memory_make(1000, sizeof *block, "a block", &block));
  CHECK(memory_now_bytes() - before == 8000, "%lld", (long long)(memory_now_bytes() - before));
  CHECK((uintptr_t)block % 64 == 0 && block[999] == 0, "alignment or zeros");
  memory_free(block);
  CHECK(memory_now_bytes() == before, "not given back");
  CHECK(memory_make(INT64_MAX / 4, 8, "too much", &block) == STATUS_INTERNAL, "accepted");
  CHECK(block == NULL, "left something behind");
}

TEST(ranks_agree_on_the_lowest_instruction_set) {
  status_clear();
  enum isa best = isa_now();
  CHECK_OK(isa_agree(comm, "baseline"));
  CHECK(isa_now() == ISA_BASELINE, "%s", isa_name(isa_now()));
  CHECK(isa_agree(comm, "sse9") == STATUS_USAGE, "accepted");
  status_clear();
  CHECK_OK(isa_agree(comm, "auto"));
  CHECK(isa_now() == best, "%s", isa_name(isa_now()));
}

TEST(a_stop_file_stops_all_ranks_alike) {
  char path[300];
  snprintf(path, sizeof path, "%s/stop", check_scratch());
  stop_watch(path, 0);
  status_clear();
  CHECK_OK(stop_agree(comm));
  if (rank_of(comm) == 0) fclose(fopen(path, "w"));
  MPI_Barrier(comm);
  CHECK(stop_agree(comm) == STATUS_STOPPED, "%s", status_text());
  stop_watch(NULL, 0);
}

TEST(every_rank_gets_a_small_files_bytes) {
  char path[300], *bytes = NULL;
  int64_t n = 0;
  snprintf(path, sizeof path, "%s/small", check_scratch());
  if (rank_of(comm) == 0) {
    FILE *file = fopen(path, "w");
    fputs("four", file);
    fclose(file);
  }
  MPI_Barrier(comm);
  status_clear();
  CHECK_OK(file_bytes(comm, path, 100, &bytes, &n));
  CHECK(n == 4 && strcmp(bytes, "four") == 0, "%lld bytes", (long long)n);
  memory_free(bytes);
  CHECK(file_bytes(comm, path, 3, &bytes, &n) == STATUS_INPUT && !bytes, "too many bytes");
  CHECK(strstr(status_text(), "4 bytes") != NULL, "%s", status_text());
  status_clear();
  CHECK(file_bytes(comm, check_scratch(), 3, &bytes, &n) == STATUS_INPUT, "a folder");
  status_clear();
  CHECK(file_bytes(comm, "no/such", 3, &bytes, &n) == STATUS_INPUT, "no file");
  status_clear();
}
