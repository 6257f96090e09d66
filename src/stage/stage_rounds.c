/* The journal of a stage's rounds, PATH.rounds beside PATH.partial: a head that says by what program and
 * instruction set, then a line per noted round, "done sum sum ... .", appended and synced after the round's
 * values are on disk. A line that a kill cut short lacks its dot and does not count. */
#include "stage.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 64 + 24 * STAGE_SUMS_MOST };

/* Other code or another instruction set may give other bits: their rounds are not gone on with. */
static void head_text(char *text, size_t bytes) {
  snprintf(text, bytes, "rounds of xcsct %s %s %s\n", stage_version(), stage_revision(),
           isa_name(isa_now()));
}

/* One line's numbers; false when it is not whole. */
static bool line_read(const char *line, struct stage_rounds *rounds) {
  int64_t value[STAGE_SUMS_MOST + 1];
  char *end;
  for (int i = 0; i <= STAGE_SUMS_MOST; i++, line = end) {
    errno    = 0;
    value[i] = strtoimax(line, &end, 10);
    if (end == line || errno) return false;
  }
  if (strcmp(line, " .\n") != 0 || value[0] < rounds->done) return false;
  rounds->done = value[0];
  memcpy(rounds->sum, value + 1, sizeof rounds->sum);
  return true;
}

static void read_lines(const char *path, struct stage_rounds *rounds) {
  char line[LINE_BYTES], head[LINE_BYTES];
  FILE *file = fopen(path, "re");
  if (!file) return;
  head_text(head, sizeof head);
  if (fgets(line, sizeof line, file) && strcmp(line, head) == 0)
    while (fgets(line, sizeof line, file) && line_read(line, rounds)) {
    }
  fclose(file);
}

static enum status append(const struct stage_rounds *rounds, const char *line) {
  size_t n = strlen(line);
  if (write(rounds->handle, line, n) == (ssize_t)n && fdatasync(rounds->handle) == 0)
    return STATUS_OK;
  return FAIL(STATUS_MEMORY, "%s cannot be written whole: %s", rounds->path, strerror(errno));
}

/* Rank 0: what an earlier call noted, in a journal that begins anew with it. */
static enum status open_journal(bool resumed, struct stage_rounds *rounds) {
  char head[LINE_BYTES];
  if (resumed) read_lines(rounds->path, rounds);
  if (unlink(rounds->path) != 0 && errno != ENOENT)
    return FAIL(STATUS_OUTPUT, "%s cannot be removed: %s", rounds->path, strerror(errno));
  rounds->handle = open(rounds->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (rounds->handle < 0)
    return FAIL(errno == ENOSPC ? STATUS_MEMORY : STATUS_OUTPUT, "%s cannot be made: %s",
                rounds->path, strerror(errno));
  head_text(head, sizeof head);
  return append(rounds, head);
}

static enum status note_line(const struct stage_rounds *rounds, int64_t done,
                             const int64_t sum[STAGE_SUMS_MOST]) {
  char line[LINE_BYTES];
  int n = snprintf(line, sizeof line, "%" PRId64, done);
  for (int i = 0; i < STAGE_SUMS_MOST; i++)
    n += snprintf(line + n, sizeof line - (size_t)n, " %" PRId64, sum[i]);
  snprintf(line + n, sizeof line - (size_t)n, " .\n");
  return append(rounds, line);
}

static enum status begin(const struct stage_job *job, struct store_output *output,
                         struct stage_rounds *rounds) {
  memset(rounds, 0, sizeof *rounds);
  rounds->comm   = job->comm;
  rounds->output = output;
  rounds->handle = -1;
  int rank;
  MPI_Comm_rank(job->comm, &rank);
  snprintf(rounds->path, sizeof rounds->path, "%s.rounds", job->output);
  bool resumed     = store_resumed(output);
  enum status mine = fault_here("stage.rounds");
  if (mine == STATUS_OK && rank == 0) mine = open_journal(resumed, rounds);
  if (mine == STATUS_OK && rank == 0 && rounds->done > 0)
    mine = note_line(rounds, rounds->done, rounds->sum);
  enum status status = AGREE(job->comm, mine);
  if (status != STATUS_OK) {
    stage_rounds_end(rounds, false);
    return status;
  }
  MPI_Bcast(&rounds->done, 1, MPI_INT64_T, 0, job->comm);
  MPI_Bcast(rounds->sum, STAGE_SUMS_MOST, MPI_INT64_T, 0, job->comm);
  rounds->noted_s = time_now_s();
  return STATUS_OK;
}

enum status stage_rounds_begin(const struct stage_job *job, struct store_output *output,
                               struct stage_rounds *rounds) {
  upkeep_begin();
  return upkeep_end(begin(job, output, rounds));
}

/* Rank 0's clock decides for all. */
static bool is_time(struct stage_rounds *rounds) {
  int now = time_now_s() - rounds->noted_s >= STAGE_ROUND_LEAST_S;
  MPI_Bcast(&now, 1, MPI_INT, 0, rounds->comm);
  return now;
}

static enum status note(struct stage_rounds *rounds, int64_t done, const int64_t *mine, int n,
                        bool at_once) {
  int64_t sum[STAGE_SUMS_MOST] = {0};
  int rank;
  MPI_Comm_rank(rounds->comm, &rank);
  if (!at_once && !is_time(rounds)) return STATUS_OK;
  for (int i = 0; i < n && i < STAGE_SUMS_MOST; i++) sum[i] = mine[i];
  MPI_Allreduce(MPI_IN_PLACE, sum, STAGE_SUMS_MOST, MPI_INT64_T, MPI_SUM, rounds->comm);
  for (int i = 0; i < STAGE_SUMS_MOST; i++) sum[i] += rounds->sum[i];
  TRY(store_sync(rounds->comm, rounds->output));
  TRY_ALL(rounds->comm, rank == 0 ? note_line(rounds, done, sum) : STATUS_OK);
  rounds->noted_s = time_now_s();
  return STATUS_OK;
}

enum status stage_rounds_note(struct stage_rounds *rounds, int64_t done, const int64_t *mine, int n,
                              bool at_once) {
  upkeep_begin();
  return upkeep_end(note(rounds, done, mine, n, at_once));
}

void stage_rounds_end(struct stage_rounds *rounds, bool keep) {
  if (rounds->handle >= 0) {
    close(rounds->handle);
    if (!keep) unlink(rounds->path);
  }
  rounds->handle = -1;
}
