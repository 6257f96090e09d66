/* The log: rank 0 speaks, on stderr. Progress is a bar on a terminal, else a line per 10 s. And the clock. */
#include "base.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
  bool speaker, quiet, terminal, bar_open;
  double said_s, begun_s, seen_s, begun_share;
  char what[64];
  int64_t done;
  void (*see)(void *context, const char *what, int64_t done, int64_t total, double left_s);
  void *context;
} log_state = {.speaker = true};

void log_open(MPI_Comm comm, bool quiet) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  log_state.speaker  = rank == 0;
  log_state.quiet    = quiet;
  log_state.terminal = isatty(STDERR_FILENO) == 1;
}

bool log_is_speaker(void) { return log_state.speaker; }

double time_now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct {
  int depth;
  double begun_s, sum_s;
} upkeep;

void upkeep_begin(void) {
  if (upkeep.depth++ == 0) upkeep.begun_s = time_now_s();
}

enum status upkeep_end(enum status status) {
  if (--upkeep.depth == 0) upkeep.sum_s += time_now_s() - upkeep.begun_s;
  return status;
}

double upkeep_s(void) { return upkeep.sum_s; }

static void say(const char *kind, const char *format, va_list list) {
  if (log_state.bar_open) fputc('\n', stderr);
  log_state.bar_open = false;
  fprintf(stderr, "xcsct: %s", kind);
  vfprintf(stderr, format, list);
  fputc('\n', stderr);
}

void log_info(const char *format, ...) {
  if (!log_state.speaker || log_state.quiet) return;
  va_list list;
  va_start(list, format);
  say("", format, list);
  va_end(list);
}

void log_warning(const char *format, ...) {
  if (!log_state.speaker) return;
  va_list list;
  va_start(list, format);
  say("warning: ", format, list);
  va_end(list);
}

static void draw_bar(const char *what, double share, double left_s) {
  enum { WIDTH = 30 };
  char bar[WIDTH + 1];
  for (int i = 0; i < WIDTH; i++) bar[i] = i < (int)(share * WIDTH) ? '#' : '.';
  bar[WIDTH] = 0;
  fprintf(stderr, "\rxcsct: %-16s [%s] %3.0f %%, %.0f s left ", what, bar, 100 * share, left_s);
  log_state.bar_open = share < 1;
  if (share >= 1) fputc('\n', stderr);
  fflush(stderr);
}

void log_progress_seen_by(void (*see)(void *context, const char *what, int64_t done, int64_t total,
                                      double left_s),
                          void *context) {
  log_state.see     = see;
  log_state.context = context;
  log_state.seen_s  = 0;
}

static void tell(const char *what, int64_t done, int64_t total, double left_s) {
  double now_s = time_now_s(), wait_s = log_state.terminal ? 0.2 : 10;
  bool last = done >= total && log_state.bar_open;
  if (log_state.quiet || (now_s - log_state.said_s < wait_s && !last)) return;
  log_state.said_s = now_s;
  if (log_state.terminal)
    draw_bar(what, (double)done / (double)total, left_s);
  else
    log_info("%s: %lld of %lld, %.0f s left", what, (long long)done, (long long)total, left_s);
}

void log_progress(const char *what, int64_t done, int64_t total) {
  watch_alive();
  if (!log_state.speaker || total <= 0) return;
  double now_s = time_now_s(), share = (double)done / (double)total;
  if (strncmp(what, log_state.what, sizeof log_state.what - 1) != 0 || done <= log_state.done) {
    snprintf(log_state.what, sizeof log_state.what, "%s", what);
    log_state.begun_s = log_state.said_s = now_s;
    log_state.begun_share                = share; /* what was resumed took no time */
  }
  log_state.done = done;
  double gone = share - log_state.begun_share, spent_s = now_s - log_state.begun_s,
         left_s = gone > 0 ? spent_s * (1 - share) / gone : 0;
  if (log_state.see && now_s - log_state.seen_s >= 1) {
    log_state.seen_s = now_s;
    log_state.see(log_state.context, what, done, total, gone > 0 ? left_s : (double)NAN);
  }
  tell(what, done, total, left_s);
}
