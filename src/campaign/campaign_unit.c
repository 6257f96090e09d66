/* One unit: done already, or to be done now. */
#include "campaign_inner.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 1 << 20 };

const char *unit_word(enum unit_state now) {
  static const char *const words[] = {"waits", "done", "kept", "skipped", "failed", "below"};
  return words[now];
}

const char *unit_state_name(const struct campaign *c, const struct unit *unit) {
  return unit->state >= 0 ? c->cycle->state[unit->state].name : "all";
}

/* ---- done already? -------------------------------------------------------------------------------- */

static double number_of(const struct config_node *node) {
  const char *text = config_scalar(node);
  return text && strcmp(text, "null") != 0 ? strtod(text, NULL) : (double)NAN;
}

static void read_result(const struct config_node *results, int i, struct stage_results *to) {
  const struct config_node *node = config_item(results, i);
  const char *unit               = config_scalar(config_get(node, "unit")),
             *state              = config_scalar(config_get(node, "state"));
  char name[128];
  snprintf(name, sizeof name, "%s", config_key(results, i));
  char *of = strchr(name, '@');
  if (of) *of++ = 0;
  struct stage_result *row =
      stage_result_add(to, name, number_of(config_get(node, "value")), unit ? unit : "");
  row->sigma = number_of(config_get(node, "sigma"));
  row->lower = number_of(config_get(node, "lower"));
  row->upper = number_of(config_get(node, "upper"));
  snprintf(row->state, sizeof row->state, "%s", state ? state : "");
  snprintf(row->of, sizeof row->of, "%s", of ? of : "");
}

/* The results that a finished file holds. */
static enum status read_results(MPI_Comm comm, const char *path, char *text,
                                struct stage_results *to) {
  bool found;
  struct config_file *file;
  TRY(store_get_text(comm, path, "/entry/process/results_json", &found, text, TEXT_BYTES));
  if (!found) return STATUS_OK;
  TRY_ALL(comm, config_file_parse(path, text, (int64_t)strlen(text), &file));
  const struct config_node *results = config_get(config_root(file), "results");
  for (int i = 0; i < config_count(results); i++) read_result(results, i, to);
  config_file_close(&file);
  return STATUS_OK;
}

/* Is the file of a state of which there are results, and none that was refused, still there? */
static bool state_is_whole(const struct unit *unit, const struct stage_bundle *state) {
  char path[STORE_NAME_BYTES];
  bool has_results = false, refused = false;
  for (int i = 0; i < unit->results.n; i++) {
    const struct stage_result *row = &unit->results.row[i];
    if (strcmp(row->of, state->state) != 0) continue;
    has_results = true;
    refused |= strcmp(row->state, "refused") == 0;
  }
  snprintf(path, sizeof path, "%.1900s/%s.h5", state->folder, unit->stage->name);
  return !has_results || refused || access(path, F_OK) == 0;
}
static bool states_are_whole(const struct campaign *c, const struct unit *unit,
                             const struct work *work) {
  int whole = 1;
  if (!unit->stage->file_per_state) return true;
  for (int i = 0; i < c->cycle->states && log_is_speaker(); i++)
    whole = whole && state_is_whole(unit, &work->states[i]);
  MPI_Bcast(&whole, 1, MPI_INT, 0, c->comm);
  return whole;
}

static enum status file_remove(const char *path) {
  if (!log_is_speaker() || unlink(path) == 0 || errno == ENOENT) return STATUS_OK;
  return FAIL(STATUS_OUTPUT, "%s cannot be removed: %s", path, strerror(errno));
}

static enum status compare(const struct campaign *c, struct unit *unit, const struct work *work,
                           char *text, bool *done) {
  TRY(store_get_text(c->comm, work->output, "/entry/process/effective_yaml", done, text,
                     TEXT_BYTES));
  *done = *done && strcmp(text, work->record) == 0;
  return *done ? read_results(c->comm, work->output, text, &unit->results) : STATUS_OK;
}

static enum status look_if_done(const struct campaign *c, struct unit *unit,
                                const struct work *work, bool *done) {
  char *text;
  int exists = log_is_speaker() && access(work->output, F_OK) == 0;
  MPI_Bcast(&exists, 1, MPI_INT, 0, c->comm);
  *done = false;
  if (c->redo || !exists) return STATUS_OK;
  TRY_ALL(c->comm, memory_make(TEXT_BYTES, 1, "a record", &text));
  enum status status = compare(c, unit, work, text, done);
  memory_free(text);
  if (status == STATUS_OK && *done && !states_are_whole(c, unit, work)) {
    stage_results_free(&unit->results);
    *done         = false;
    unit->partial = true;
  }
  if (status == STATUS_INPUT || status == STATUS_USAGE) { /* a damaged file is made anew */
    log_warning("%s cannot be read (%s): it is made anew", work->output, status_text());
    status_clear();
    stage_results_free(&unit->results);
    *done         = false;
    unit->damaged = true;
    status        = STATUS_OK;
  }
  return status;
}

/* ---- a result below its quality: kept, but said each time --------------------------------------------- */

static void below_name(const struct campaign *c, const struct unit *unit, char *path,
                       size_t bytes) {
  snprintf(path, bytes, "%.1900s/journal/%s.%s.below", c->folder, unit_state_name(c, unit),
           unit->stage->name);
}

static enum status below_note(const struct campaign *c, const struct unit *unit, bool below) {
  char path[STORE_NAME_BYTES];
  below_name(c, unit, path, sizeof path);
  if (!log_is_speaker()) return STATUS_OK;
  if (below) return store_text_write(path, status_text(), (int64_t)strlen(status_text()));
  return file_remove(path);
}

static enum status below_said(const struct campaign *c, const struct unit *unit) {
  char path[STORE_NAME_BYTES], words[512] = "";
  below_name(c, unit, path, sizeof path);
  FILE *file = log_is_speaker() ? fopen(path, "r") : NULL;
  if (!file) return STATUS_OK;
  size_t n = fread(words, 1, sizeof words - 1, file);
  fclose(file);
  return n ? FAIL(STATUS_NOT_CONVERGED, "%s", words) : STATUS_OK;
}

/* ---- doing ------------------------------------------------------------------------------------------ */

static enum status forecast(const struct campaign *c, struct unit *unit,
                            const struct stage_job *job) {
  TRY_ALL(c->comm, fault_here("campaign.unit"));
  if (unit->stage->check) TRY_ALL(c->comm, unit->stage->check(job->params, c->common));
  if (!unit->stage->plan) return STATUS_OK;
  TRY(unit->stage->plan(job, &unit->need));
  return c->plan ? STATUS_OK : stage_need_check(job, &unit->need);
}

static enum status run_stage(const struct campaign *c, struct unit *unit, struct work *work) {
  struct stage_common common = *c->common;
  common.force |= unit->damaged; /* it lies under our name in our folder */
  snprintf(common.input, sizeof common.input, "%.1000s", work->input);
  snprintf(common.output, sizeof common.output, "%.1000s", work->output);
  const struct stage_job job = {c->comm,      &common,      work->params,  &work->bundle,
                                work->output, work->record, &unit->results};
  TRY(forecast(c, unit, &job));
  if (c->dry_run || c->plan) return STATUS_OK;
  if (unit->partial) TRY_ALL(c->comm, file_remove(work->output)); /* the states' files stay */
  enum status status = unit->stage->run(&job);
  if (status != STATUS_OK && status != STATUS_NOT_CONVERGED) return status;
  enum status noted = AGREE(c->comm, below_note(c, unit, status != STATUS_OK));
  return status != STATUS_OK ? status : noted;
}

static enum status do_it(const struct campaign *c, struct unit *unit, struct work *work) {
  bool ready, done;
  TRY(work_make(c, unit, work, &ready));
  unit->now = ready ? UNIT_WAITS : UNIT_SKIPPED;
  if (!ready) return STATUS_OK;
  TRY(look_if_done(c, unit, work, &done));
  if (done) {
    unit->now = UNIT_KEPT;
    return AGREE(c->comm, below_said(c, unit));
  }
  enum status status = run_stage(c, unit, work);
  if (status == STATUS_OK && !c->dry_run && !c->plan) unit->now = UNIT_DONE;
  return status;
}

/* Bytes that this process read and wrote by system calls. */
static void count_bytes(double *read_bytes, double *written_bytes) {
  char line[128];
  FILE *file  = fopen("/proc/self/io", "r");
  *read_bytes = *written_bytes = 0;
  while (file && fgets(line, sizeof line, file)) {
    if (strncmp(line, "rchar:", 6) == 0) *read_bytes = strtod(line + 6, NULL);
    if (strncmp(line, "wchar:", 6) == 0) *written_bytes = strtod(line + 6, NULL);
  }
  if (file) fclose(file);
}

enum status unit_do(const struct campaign *c, struct unit *unit) {
  struct work work;
  double before[2], after[2];
  memset(&work, 0, sizeof work);
  double begun_s = time_now_s(), memory;
  memory_peak_reset();
  count_bytes(&before[0], &before[1]);
  enum status status = do_it(c, unit, &work);
  count_bytes(&after[0], &after[1]);
  for (int i = 0; i < 2; i++) after[i] -= before[i];
  memory = (double)memory_peak_bytes();
  MPI_Allreduce(MPI_IN_PLACE, after, 2, MPI_DOUBLE, MPI_SUM, c->comm);
  MPI_Allreduce(&memory, &unit->memory_bytes, 1, MPI_DOUBLE, MPI_MAX, c->comm);
  unit->seconds       = time_now_s() - begun_s;
  unit->read_bytes    = after[0];
  unit->written_bytes = after[1];
  if (status == STATUS_NOT_CONVERGED)
    unit->now = UNIT_BELOW;
  else if (status != STATUS_OK && status != STATUS_STOPPED)
    unit->now = UNIT_FAILED;
  if (status == STATUS_INPUT) status_about(work.input);
  if (status != STATUS_OK) snprintf(unit->why, sizeof unit->why, "%.500s", status_text());
  work_free(unit, &work);
  return status;
}
