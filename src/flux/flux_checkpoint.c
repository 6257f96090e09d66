/* Checkpoints. Answers travel as text in hexadecimal, so that they come back to the same bits. */
#include "flux_checkpoint.h"
#include <string.h>
#include <unistd.h>

enum { ANSWER_BYTES = 4096 };

/* ---- answers as text ---- */

static int answer_print(int axis, const struct flux_answer *a, char *text, size_t bytes) {
  int n = snprintf(text, bytes, "%d %d %d %d %a %a %a %a", axis, a->percolates, a->converged,
                   a->iterations, a->upper, a->lower, a->estimate, a->divergence);
  for (int c = 0; c < FLUX_CODES; c++)
    n += snprintf(text + n, bytes - (size_t)n, " %lld %lld", (long long)a->voxels[c],
                  (long long)a->percolating[c]);
  return n + snprintf(text + n, bytes - (size_t)n, "\n");
}
/* Gives where the next line begins, NULL when this is none. */
static const char *answer_read(const char *text, struct flux_checkpoint *k) {
  struct flux_answer a = {.iterations = 0};
  int axis, percolates, converged, used = 0;
  if (sscanf(text, "%d %d %d %d %la %la %la %la%n", &axis, &percolates, &converged, &a.iterations,
             &a.upper, &a.lower, &a.estimate, &a.divergence, &used) != 8 ||
      axis < 0 || axis > 2)
    return NULL;
  text += used;
  for (int c = 0; c < FLUX_CODES; c++) {
    long long all, open;
    if (sscanf(text, "%lld %lld%n", &all, &open, &used) != 2) return NULL;
    a.voxels[c]      = all;
    a.percolating[c] = open;
    text += used;
  }
  a.percolates    = percolates != 0;
  a.converged     = converged != 0;
  k->done[axis]   = true;
  k->answer[axis] = a;
  return *text == '\n' ? text + 1 : text;
}

/* ---- finding ---- */

static enum status record_equal(MPI_Comm comm, const struct flux_checkpoint *k, bool *equal) {
  const char *record = k->task->job->record ? k->task->job->record : "";
  const size_t bytes = strlen(record) + 16;
  char *text         = NULL;
  bool found         = false;
  TRY_ALL(comm, memory_make((int64_t)bytes, 1, "record", &text));
  enum status s =
      store_get_text(comm, k->path, "/entry/process/checkpoint_yaml", &found, text, bytes);
  *equal = s == STATUS_OK && found && strcmp(text, record) == 0;
  memory_free(text);
  return s;
}
static enum status numbers_read(MPI_Comm comm, struct flux_checkpoint *k) {
  static const char *const path[2] = {"/entry/checkpoint/axis", "/entry/checkpoint/iteration"};
  char text[ANSWER_BYTES]          = "";
  int *to[2]                       = {&k->start_axis, &k->start_iteration};
  bool found;
  for (int i = 0; i < 2; i++) {
    double *value = NULL;
    int64_t n     = 0;
    TRY(store_get_doubles(comm, k->path, path[i], &found, &value, &n));
    if (found && n == 1 && value[0] >= 0 && value[0] < 1e9) *to[i] = (int)value[0];
    memory_free(value);
  }
  TRY(store_get_text(comm, k->path, "/entry/checkpoint/answers", &found, text, sizeof text));
  for (const char *at = text; found && at && *at;) at = answer_read(at, k);
  return STATUS_OK;
}
static enum status start_read(MPI_Comm comm, struct flux_checkpoint *k) {
  struct store_input *input = NULL;
  char name[STORE_NAME_BYTES + 32];
  snprintf(name, sizeof name, "%s:/entry/concentration/data", k->path);
  TRY(grid_field_make(comm, &k->task->codes.plan, GRID_F32, (int64_t[3]){0, 0, 0}, &k->start));
  TRY(store_open(comm, name, NULL, 3, &input));
  const enum status s = store_read_field(comm, input, false, &k->start);
  store_close(&input);
  return s;
}
enum status flux_checkpoint_find(struct flux_task *t, struct flux_checkpoint *k) {
  MPI_Comm comm = t->job->comm;
  int there     = 0;
  bool equal    = false;
  *k            = (struct flux_checkpoint){.task = t, .start_axis = -1};
  snprintf(k->path, sizeof k->path, "%.*s.checkpoint", STORE_NAME_BYTES - 16, t->job->output);
  if (!t->job->output[0]) return STATUS_OK;
  if (log_is_speaker()) there = access(k->path, R_OK) == 0;
  MPI_Bcast(&there, 1, MPI_INT, 0, comm);
  if (!there) return STATUS_OK;
  TRY(record_equal(comm, k, &equal));
  if (!equal) return STATUS_OK;
  TRY(numbers_read(comm, k));
  TRY(start_read(comm, k));
  log_info("flux: goes on from iteration %d along %c", k->start_iteration,
           "zyx"[k->start_axis < 0 ? 0 : k->start_axis]);
  return STATUS_OK;
}

/* ---- keeping ---- */

static enum status write_all(struct flux_checkpoint *k, int iteration,
                             const struct grid_field *concentration, struct store_output *output) {
  const struct flux_task *t = k->task;
  MPI_Comm comm             = t->job->comm;
  char text[ANSWER_BYTES]   = "";
  int n                     = 0;
  for (int a = 0; a < 3; a++)
    if (k->done[a]) n += answer_print(a, &k->answer[a], text + n, sizeof text - (size_t)n);
  TRY(store_create(comm, output, "concentration", concentration->plan.n, t->voxel_um, NULL, false));
  TRY(store_ready(comm, output));
  TRY(store_note(comm, output, "checkpoint_yaml", t->job->record ? t->job->record : ""));
  TRY(store_note(comm, output, "checkpoint/answers", text));
  TRY(store_number(comm, output, "checkpoint/axis", k->axis, ""));
  TRY(store_number(comm, output, "checkpoint/iteration", iteration, ""));
  return store_write_field(comm, output, "concentration", concentration, 0);
}
enum status flux_checkpoint_keep(void *context, int iteration,
                                 const struct grid_field *concentration) {
  struct flux_checkpoint *k    = context;
  MPI_Comm comm                = k->task->job->comm;
  struct store_output *output  = NULL;
  struct store_options options = {.size_bytes = 4 * concentration->plan.n[0] *
                                                concentration->plan.n[1] *
                                                concentration->plan.n[2]};
  TRY(store_begin(comm, k->path, &options, &output));
  const enum status s = write_all(k, iteration, concentration, output);
  if (s == STATUS_OK) return store_commit(comm, &output);
  store_abandon(comm, &output, false);
  return s;
}
void flux_checkpoint_remove(struct flux_checkpoint *k) {
  if (k->task->job->output[0] && log_is_speaker()) unlink(k->path);
}
void flux_checkpoint_free(struct flux_checkpoint *k) { grid_field_free(&k->start); }
