/* The watchdog: a timer in every rank looks how long ago the rank last came past an agreement or told
 * progress. When that is too long, the ranks have lost each other (one hangs in a library or a file system,
 * or a mistake of ours): each says where it stands, then the job is ended, which otherwise would burn its
 * whole time. No thread: SIGALRM, whose handler writes with write(2) and ends by MPI_Abort, with a second
 * alarm behind it should that hang as well. */
#include "base_private.h"
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { GRACE_S = 3, ABORT_S = 5, LINE_BYTES = 400 };
static struct {
  double limit_s;
  volatile double since_s, said_s; /* said_s 0: nothing said yet */
  const char *volatile site;
  volatile sig_atomic_t waits;
} watch;

void watch_alive(void) { watch.since_s = time_now_s(); }

void watch_agree_begin(const char *site) {
  watch.site    = site;
  watch.since_s = time_now_s();
  watch.waits   = 1;
}

void watch_agree_end(void) {
  watch.waits   = 0;
  watch.since_s = time_now_s();
}

static void say(const char *line, int n) {
  if (n > LINE_BYTES - 1) n = LINE_BYTES - 1;
  if (write(STDERR_FILENO, line, (size_t)n) < 0) return;
}

/* "src/recon/recon.c:406" without the folders of the machine that built it. */
static const char *short_site(void) {
  const char *site = watch.site ? watch.site : "(none yet)", *slash = strrchr(site, '/');
  return slash ? slash + 1 : site;
}

static void say_place(double silent_s) {
  char line[LINE_BYTES];
  int n;
  if (watch.waits)
    n = snprintf(line, sizeof line, "xcsct: rank %d waits for the others at %s since %.0f s\n",
                 base_program_rank(), short_site(), silent_s);
  else
    n = snprintf(line, sizeof line,
                 "xcsct: rank %d has not come to an agreement for %.0f s; its last was at %s\n",
                 base_program_rank(), silent_s, short_site());
  say(line, n);
}

static void end_at_last(int number) {
  (void)number;
  _exit(status_exit_code(STATUS_INTERNAL));
}

static void end_job(void) {
  char line[LINE_BYTES];
  int n = snprintf(line, sizeof line,
                   "xcsct: error: ranks no longer come together (--watchdog %g s): the job ends\n",
                   watch.limit_s);
  say(line, n);
  struct sigaction action = {.sa_handler = end_at_last, .sa_flags = SA_NODEFER};
  struct itimerval last   = {.it_value = {.tv_sec = ABORT_S}};
  sigset_t alarms;
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &last, NULL);
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  sigprocmask(SIG_UNBLOCK, &alarms, NULL); /* we are inside its handler */
  base_program_abort(STATUS_INTERNAL);
}

/* The first rank speaks for all; the others do so when it cannot. */
static void look(int number) {
  double now_s = time_now_s(), silent_s = now_s - watch.since_s;
  (void)number;
  if (silent_s < watch.limit_s) {
    watch.said_s = 0;
    return;
  }
  if (watch.said_s <= 0) {
    watch.said_s = now_s;
    say_place(silent_s);
  } else if (now_s - watch.said_s > (base_program_rank() == 0 ? GRACE_S : 2 * GRACE_S))
    end_job();
}

void watch_begin(double limit_s) {
  double tick_s           = fmax(0.1, fmin(10, 0.1 * limit_s));
  struct sigaction action = {.sa_handler = look, .sa_flags = SA_RESTART};
  struct itimerval every  = {
       {0, 0},
       {0, 0}
  };
  watch_alive();
  watch.limit_s = limit_s;
  if (limit_s > 0) {
    every.it_interval.tv_sec  = (time_t)tick_s;
    every.it_interval.tv_usec = (suseconds_t)(1e6 * (tick_s - floor(tick_s)));
    every.it_value            = every.it_interval;
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
  }
  setitimer(ITIMER_REAL, &every, NULL);
}
