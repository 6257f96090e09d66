/* Requests to stop: TERM and USR1, a stop file, a time limit. They are looked at between rounds. */
#include "base.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static char stop_path[1024];
static double begun_s, limit_s;

static void note_signal(int number) { caught = number; }

void stop_watch(const char *stop_file, double max_s) {
  struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  snprintf(stop_path, sizeof stop_path, "%s", stop_file ? stop_file : "");
  if (begun_s == 0) begun_s = time_now_s();
  limit_s = max_s;
}

static enum status asked_to_stop(void) {
  if (caught) return FAIL(STATUS_STOPPED, "signal %d asked to stop", (int)caught);
  if (limit_s > 0 && time_now_s() - begun_s > limit_s)
    return FAIL(STATUS_STOPPED, "the time limit of %g s has passed", limit_s);
  if (log_is_speaker() && stop_path[0] && access(stop_path, F_OK) == 0)
    return FAIL(STATUS_STOPPED, "%s asks to stop", stop_path);
  return STATUS_OK;
}

enum status stop_agree(MPI_Comm comm) { return AGREE(comm, asked_to_stop()); }
