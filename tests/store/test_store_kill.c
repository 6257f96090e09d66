/* kill -9 while an output is being written: the older result stays, the partial file opens and holds
 * every round that was synced, the dead process's lock is taken over, and the work goes on to the same
 * bits.
 * np: 1 */
#include "check.h"
#include "store.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 40, NZ = 3, NY = 50, NX = 60, KILLS = 5 };
static const int64_t shape[3]           = {ROUNDS * NZ, NY, NX};
static const struct store_options go_on = {.resume = true, .record = "rounds"};
extern char **environ;

static uint32_t value_at(int64_t i) { return (uint32_t)(i * 2654435761u); }

static void slices_fill(int round, int64_t *values) {
  for (int64_t i = 0; i < NZ * NY * NX; i++) values[i] = value_at(round * NZ * NY * NX + i);
}

/* Rounds from `first` on; `journal` gets a byte after each synced one, `pause` leaves time to kill. */
static enum status rounds_write(MPI_Comm comm, struct store_output *output, int first, int journal,
                                bool pause) {
  static int64_t values[NZ * NY * NX];
  for (int round = first; round < ROUNDS; round++) {
    slices_fill(round, values);
    TRY(store_write_box(comm, output, "components", false, (int64_t[]){round * NZ, 0, 0},
                        (int64_t[]){NZ, NY, NX}, values));
    TRY(store_sync(comm, output));
    if (journal >= 0 && write(journal, "r", 1) != 1) return STATUS_INTERNAL;
    if (pause) nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
  }
  return STATUS_OK;
}

static enum status begin(MPI_Comm comm, const char *path, struct store_output **output) {
  TRY(store_begin(comm, path, &go_on, output));
  TRY(store_create(comm, *output, "components", shape, NULL, NULL, false));
  return store_ready(comm, *output);
}

/* What the killed process does. Only run by the test below, which names the files. */
TEST(the_process_to_be_killed) {
  const char *path = getenv("STORE_KILL_PATH"), *journal = getenv("STORE_KILL_JOURNAL");
  if (!path || !journal) {
    check_skip("runs inside the other test");
    return;
  }
  struct store_output *output = NULL;
  int handle                  = open(journal, O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (!CHECK_OK(begin(comm, path, &output))) return;
  CHECK_OK(rounds_write(comm, output, 0, handle, true));
  CHECK_OK(store_commit(comm, &output));
}

/* This program as one process of its own, without the mpirun around us. */
static pid_t child_start(void) {
  char self[512] = "", name[] = "the_process_to_be_killed";
  char *kept[256];
  int n = 0;
  if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return -1;
  for (char **each = environ; *each && n < 255; each++)
    if (strncmp(*each, "PMIX_", 5) != 0 && strncmp(*each, "OMPI_", 5) != 0) kept[n++] = *each;
  kept[n]                 = NULL;
  char *const arguments[] = {self, name, NULL};
  pid_t child             = -1;
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  if (posix_spawn(&child, self, &quiet, NULL, arguments, kept) != 0) child = -1;
  posix_spawn_file_actions_destroy(&quiet);
  return child;
}

static long journalled(const char *journal) {
  FILE *stream = fopen(journal, "rb");
  long n       = 0;
  if (!stream) return 0;
  while (fgetc(stream) != EOF) n++;
  fclose(stream);
  return n;
}

/* How many of the first `rounds` rounds the file does not hold. */
static int rounds_wrong(MPI_Comm comm, const char *path, long rounds) {
  static int64_t want[NZ * NY * NX], have[NZ * NY * NX];
  struct store_input *input = NULL;
  int wrong                 = 0;
  if (!CHECK_OK(store_open(comm, path, "components", 3, &input))) return (int)rounds;
  for (int round = 0; round < rounds; round++) {
    slices_fill(round, want);
    CHECK_OK(store_read_box(comm, input, (int64_t[]){round * NZ, 0, 0}, (int64_t[]){NZ, NY, NX},
                            GRID_I64, true, have));
    wrong += memcmp(want, have, sizeof want) != 0;
  }
  store_close(&input);
  return wrong;
}

static void kill_once(MPI_Comm comm, int turn) {
  char path[512], partial[520], journal[520];
  snprintf(path, sizeof path, "%s/killed%d.h5", check_scratch(), turn);
  snprintf(partial, sizeof partial, "%s.partial", path);
  snprintf(journal, sizeof journal, "%s.journal", path);
  setenv("STORE_KILL_PATH", path, 1);
  setenv("STORE_KILL_JOURNAL", journal, 1);
  pid_t child = child_start();
  unsetenv("STORE_KILL_PATH");
  unsetenv("STORE_KILL_JOURNAL");
  if (!CHECK(child > 0, "the child did not start")) return;
  for (int k = 0; k < 20000 && journalled(journal) < 1 + 7 * turn; k++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000 + 137000 * turn}, NULL);
  kill(child, SIGKILL);
  int state;
  waitpid(child, &state, 0);
  long rounds = journalled(journal);
  CHECK(WIFSIGNALED(state) && rounds >= 1 && rounds < ROUNDS, "killed after %ld rounds", rounds);
  CHECK(access(path, F_OK) != 0, "nothing under the name");
  CHECK(rounds_wrong(comm, partial, rounds) == 0, "journalled rounds are in the partial file");
  struct store_output *output = NULL;
  if (!CHECK_OK(begin(comm, path, &output))) return;
  CHECK(store_resumed(output), "the partial file goes on");
  CHECK_OK(rounds_write(comm, output, (int)rounds, -1, false));
  CHECK_OK(store_commit(comm, &output));
  CHECK(rounds_wrong(comm, path, ROUNDS) == 0, "the end is the same");
}

TEST(a_killed_output_goes_on_where_it_was) {
  for (int turn = 0; turn < KILLS; turn++) kill_once(comm, turn);
}
