/* np: 1
 * What progress looks like on a terminal and elsewhere: this test is its own child, with standard error on a
 * pseudo-terminal or in a pipe. */
#include "check.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The words of a child that tells progress of four steps, with standard error on `end`; read from `from`. */
static void told(int end, int from, char *words, size_t bytes) {
  size_t n    = 0;
  pid_t child = fork();
  if (child == 0) {
    dup2(end, STDERR_FILENO);
    close(end);
    close(from);
    log_open(MPI_COMM_SELF, false);
    for (int i = 0; i <= 4; i++) {
      if (i) usleep(250000);
      log_progress("work", i, 4);
    }
    log_info("a line after the bar");
    _exit(0);
  }
  close(end);
  for (ssize_t got; n < bytes - 1 && (got = read(from, words + n, bytes - 1 - n)) > 0;)
    n += (size_t)got;
  words[n] = 0;
  waitpid(child, NULL, 0);
}

TEST(a_bar_on_a_terminal) {
  char words[4096];
  int from = posix_openpt(O_RDWR | O_NOCTTY);
  CHECK(from >= 0 && grantpt(from) == 0 && unlockpt(from) == 0, "no pseudo-terminal");
  int end = open(ptsname(from), O_RDWR | O_NOCTTY);
  told(end, from, words, sizeof words);
  close(from);
  CHECK(strstr(words, "\rxcsct: work             [#######.......................]  25 %") != NULL,
        "%s", words);
  CHECK(strstr(words, "[##############################] 100 %, 0 s left") != NULL, "%s", words);
  const char *line = strstr(words, "xcsct: a line after the bar");
  CHECK(line && line[-1] == '\n', "%s", words);
}

TEST(no_bar_in_a_log) {
  char words[4096];
  int ends[2];
  CHECK(pipe(ends) == 0, "no pipe");
  told(ends[1], ends[0], words, sizeof words);
  close(ends[0]);
  CHECK(strcmp(words, "xcsct: a line after the bar\n") == 0, "%s", words);
}

static int seen;
static void see(void *context, const char *what, int64_t done, int64_t total, double left_s) {
  (void)context, (void)left_s;
  seen += strcmp(what, "quiet work") == 0 && done <= total;
}

TEST(who_asks_sees_progress_of_a_quiet_program) {
  log_progress_seen_by(see, NULL);
  log_progress("quiet work", 0, 3);
  log_progress("quiet work", 1, 3);
  log_progress_seen_by(NULL, NULL);
  log_progress("quiet work", 2, 3);
  CHECK(seen == 1, "seen %d times within a second", seen);
}
