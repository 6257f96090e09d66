/* What a result folder holds: the cycle, what became of every unit, all results, and a twin's truth. Small files are
 * read on rank 0 and parsed by every rank, so that all ranks walk through the same sections. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MOST = 1 << 20, SMALL_MOST = 64 << 20 };

static const char *const stages_of_state[] = {"recon",   "align", "segment",
                                              "surface", "flux",  "compton"};
static const char *const stages_of_all[]   = {"align", "track", "echem", "correlate"};
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

static bool is_there(const struct report *r, const char *path) {
  int there = r->speaks && access(path, R_OK) == 0;
  MPI_Bcast(&there, 1, MPI_INT, 0, r->comm);
  return there;
}

/* ---- the cycle ------------------------------------------------------------------------------------------- */

static const char *scalar_of(const struct config_node *node, const char *key) {
  const char *text = config_scalar(config_get(node, key));
  return text ? text : "";
}

static double number_of(const char *text) {
  char *end;
  double value = strtod(text, &end);
  return end != text && !*end && isfinite(value) ? value : (double)NAN;
}

static void add_state(struct report *r, const char *name, double percent, const char *step) {
  for (int i = 0; i < r->states; i++)
    if (strcmp(r->state[i].name, name) == 0) return;
  if (r->states == REPORT_STATES_MOST || !store_name_ok(name) || strcmp(name, "all") == 0) return;
  struct report_state *state = &r->state[r->states++];
  snprintf(state->name, sizeof state->name, "%s", name);
  snprintf(state->step, sizeof state->step, "%s", step);
  state->percent = percent;
}

static const struct config_node *root_of(const struct config_file *file) {
  return file ? config_root(file) : NULL;
}

/* A document of up to 64 MiB; NULL when there is none. A broken one is told, and the page does without. */
static enum status document(const struct report *r, const char *path, struct config_file **file) {
  char *bytes;
  int64_t n;
  *file = NULL;
  if (!is_there(r, path)) return STATUS_OK;
  TRY(file_bytes(r->comm, path, SMALL_MOST, &bytes, &n));
  enum status status = AGREE(r->comm, config_file_parse(path, bytes, n, file));
  memory_free(bytes);
  if (status != STATUS_USAGE && status != STATUS_INPUT) return status;
  log_warning("%s is left out: %s", path, status_text());
  status_clear();
  return STATUS_OK;
}

/* The copy that run keeps says in its first line where it was. */
static enum status cycle_place(struct report *r, const char *path) {
  static const char mark[] = "# kept by run, from ";
  char *bytes;
  int64_t n;
  snprintf(r->cycle_path, sizeof r->cycle_path, "%s", path);
  if (!is_there(r, path)) return STATUS_OK;
  TRY(file_bytes(r->comm, path, SMALL_MOST, &bytes, &n));
  if (strncmp(bytes, mark, sizeof mark - 1) == 0)
    snprintf(r->cycle_path, sizeof r->cycle_path, "%.*s",
             (int)strcspn(bytes + sizeof mark - 1, "\n"), bytes + sizeof mark - 1);
  memory_free(bytes);
  return STATUS_OK;
}

static enum status read_cycle(struct report *r) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%.1900s/journal/cycle.yaml", r->folder);
  if (r->params->cycle[0]) snprintf(path, sizeof path, "%s", r->params->cycle);
  TRY(cycle_place(r, path));
  TRY(document(r, path, &r->cycle));
  if (!r->cycle && r->params->cycle[0])
    return AGREE(r->comm, FAIL(STATUS_INPUT, "%s cannot be read", path));
  const struct config_node *root = root_of(r->cycle), *states = config_get(root, "states");
  snprintf(r->sample, sizeof r->sample, "%s", scalar_of(root, "sample"));
  for (int i = 0; i < config_count(states); i++) {
    const struct config_node *state = config_item(states, i);
    add_state(r, scalar_of(state, "name"), number_of(scalar_of(state, "percent")),
              scalar_of(state, "step"));
  }
  return STATUS_OK;
}

/* A file name of the cycle, relative to where it was. */
static void path_of(const struct report *r, const char *name, char *path) {
  const char *slash = strrchr(r->cycle_path, '/');
  snprintf(path, STORE_NAME_BYTES, "%.*s%.1000s",
           name[0] == '/' || !slash ? 0 : (int)(slash - r->cycle_path + 1), r->cycle_path, name);
}

bool report_given(const struct report *r, const char *state, const char *key, char *path) {
  const struct config_node *states = config_get(root_of(r->cycle), "states");
  for (int i = 0; i < config_count(states); i++) {
    const struct config_node *node = config_item(states, i);
    const char *name               = scalar_of(node, key);
    if (strcmp(scalar_of(node, "name"), state) != 0 || !name[0]) continue;
    path_of(r, name, path);
    return true;
  }
  return false;
}

static enum status read_truth(struct report *r) {
  char path[STORE_NAME_BYTES];
  const char *name = scalar_of(root_of(r->cycle), "truth");
  if (strcmp(r->params->truth, "none") == 0) return STATUS_OK;
  if (r->params->truth[0])
    snprintf(path, sizeof path, "%s", r->params->truth);
  else if (name[0])
    path_of(r, name, path);
  else
    return STATUS_OK;
  TRY(document(r, path, &r->truth));
  if (!r->truth && r->params->truth[0])
    return AGREE(r->comm, FAIL(STATUS_INPUT, "the truth %s cannot be read", path));
  return STATUS_OK;
}

double report_truth(const struct report *r, const char *state, const char *name) {
  const struct config_node *root = root_of(r->truth);
  root                           = strcmp(state, "all") == 0 ? config_get(root, "sample")
                                                             : config_get(config_get(root, "states"), state);
  return number_of(scalar_of(config_get(root, name), "value"));
}

/* ---- what became of the units ---------------------------------------------------------------------------- */

static enum status read_units(struct report *r) {
  char path[STORE_NAME_BYTES];
  struct config_file *file;
  snprintf(path, sizeof path, "%.1900s/status.json", r->folder);
  TRY(document(r, path, &file));
  if (!file) return STATUS_OK;
  const struct config_node *root = config_root(file), *units = config_get(root, "units");
  double time_s = number_of(scalar_of(root, "time"));
  r->finished_s = isfinite(time_s) ? time_s : 0;
  snprintf(r->version, sizeof r->version, "%s", scalar_of(root, "version"));
  enum status status = AGREE(
      r->comm, memory_make(config_count(units) + 1, sizeof *r->unit, "units of a run", &r->unit));
  for (int i = 0; i < config_count(units) && status == STATUS_OK; i++) {
    const struct config_node *node = config_item(units, i);
    struct report_unit *unit       = &r->unit[r->units++];
    snprintf(unit->state, sizeof unit->state, "%s", scalar_of(node, "state"));
    snprintf(unit->stage, sizeof unit->stage, "%s", scalar_of(node, "stage"));
    snprintf(unit->is, sizeof unit->is, "%s", scalar_of(node, "is"));
    snprintf(unit->why, sizeof unit->why, "%s", scalar_of(node, "why"));
    add_state(r, unit->state, (double)NAN, "");
  }
  config_file_close(&file);
  return status;
}

const struct report_unit *report_unit_find(const struct report *r, const char *state,
                                           const char *stage) {
  for (int i = 0; i < r->units; i++)
    if (strcmp(r->unit[i].stage, stage) == 0 && strcmp(r->unit[i].state, state) == 0)
      return &r->unit[i];
  return NULL;
}

const char *report_why_not(const struct report *r, const char *state, const char *stage) {
  static char text[600];
  const struct report_unit *unit = report_unit_find(r, state, stage);
  if (!unit) return "";
  snprintf(text, sizeof text, "%s %s%s%s", stage,
           strcmp(unit->is, "waits") == 0 ? "was not done" : unit->is, unit->why[0] ? ": " : "",
           unit->why);
  return text;
}

static bool has_failed(const struct report *r, const char *state, const char *stage) {
  const struct report_unit *unit = report_unit_find(r, state, stage);
  return unit && (strcmp(unit->is, "failed") == 0 || strcmp(unit->is, "skipped") == 0);
}

bool report_file(const struct report *r, const char *state, const char *stage, char *path) {
  if (strcmp(state, "all") == 0)
    snprintf(path, STORE_NAME_BYTES, "%.1900s/%s.h5", r->folder, stage);
  else
    snprintf(path, STORE_NAME_BYTES, "%.1900s/%s/%s.h5", r->folder, state, stage);
  return !has_failed(r, state, stage) && is_there(r, path);
}

/* ---- results ---------------------------------------------------------------------------------------------- */

static struct report_row *add_row(struct report *r) {
  if (r->rows == r->rows_room) {
    struct report_row *larger;
    int room = 2 * r->rows_room + 256;
    if (memory_make(room, sizeof *larger, "results", &larger) != STATUS_OK)
      status_abort(STATUS_MEMORY, "%s", status_text());
    if (r->rows) memcpy(larger, r->row, (size_t)r->rows * sizeof *larger);
    memory_free(r->row);
    r->row       = larger;
    r->rows_room = room;
  }
  struct report_row *row = &r->row[r->rows++];
  memset(row, 0, sizeof *row);
  return row;
}

static void read_line(struct report *r, const char *line, size_t n) {
  char field[9][512] = {{0}};
  const char *at = line, *end = line + n;
  for (int k = 0; k < 9 && at <= end; k++) {
    size_t length = k < 8 ? (size_t)(memchr(at, ',', (size_t)(end - at))
                                         ? (char *)memchr(at, ',', (size_t)(end - at)) - at
                                         : end - at)
                          : (size_t)(end - at);
    snprintf(field[k], sizeof field[k], "%.*s", (int)length, at);
    at += length + 1;
  }
  if (!field[2][0] || strcmp(field[2], "result") == 0) return;
  struct report_row *row = add_row(r);
  snprintf(row->state, sizeof row->state, "%.64s", field[0]);
  snprintf(row->stage, sizeof row->stage, "%.31s", field[1]);
  snprintf(row->name, sizeof row->name, "%.63s", field[2]);
  row->value = number_of(field[3]);
  row->sigma = number_of(field[4]);
  row->lower = number_of(field[5]);
  row->upper = number_of(field[6]);
  snprintf(row->unit, sizeof row->unit, "%.23s", field[7]);
  snprintf(row->remark, sizeof row->remark, "%.127s", field[8]);
}

static enum status read_summary(struct report *r) {
  char path[STORE_NAME_BYTES], *bytes;
  int64_t n;
  snprintf(path, sizeof path, "%.1900s/summary.csv", r->folder);
  if (!is_there(r, path)) return STATUS_OK;
  TRY(file_bytes(r->comm, path, SMALL_MOST, &bytes, &n));
  for (const char *at = bytes; *at;) {
    size_t length = strcspn(at, "\r\n");
    read_line(r, at, length);
    at += length + (at[length] != 0);
  }
  memory_free(bytes);
  return STATUS_OK;
}

static bool has_rows(const struct report *r, const char *state, const char *stage) {
  for (int i = 0; i < r->rows; i++)
    if (strcmp(r->row[i].stage, stage) == 0 &&
        (strcmp(state, "all") == 0 || strcmp(r->row[i].state, state) == 0))
      return true;
  return false;
}

static void add_result(struct report *r, const struct config_node *results, int i,
                       const char *state, const char *stage) {
  const struct config_node *node = config_item(results, i);
  struct report_row *row         = add_row(r);
  snprintf(row->name, sizeof row->name, "%.63s", config_key(results, i));
  char *of = strchr(row->name, '@');
  if (of) *of = 0;
  snprintf(row->state, sizeof row->state, "%.64s", of ? of + 1 : state);
  snprintf(row->stage, sizeof row->stage, "%s", stage);
  snprintf(row->unit, sizeof row->unit, "%.23s", scalar_of(node, "unit"));
  snprintf(row->remark, sizeof row->remark, "%.127s", scalar_of(node, "state"));
  row->value = number_of(scalar_of(node, "value"));
  row->sigma = number_of(scalar_of(node, "sigma"));
  row->lower = number_of(scalar_of(node, "lower"));
  row->upper = number_of(scalar_of(node, "upper"));
}

/* Results that the last run did not touch stand in their files alone. An unreadable file is passed over: the pictures'
 * sections say so. */
static enum status read_file_results(struct report *r, const char *state, const char *stage) {
  char path[STORE_NAME_BYTES], *text;
  bool found;
  struct config_file *file = NULL;
  if (has_rows(r, state, stage) || !report_file(r, state, stage, path)) return STATUS_OK;
  TRY_ALL(r->comm, memory_make(TEXT_MOST, 1, "results", &text));
  enum status status =
      store_get_text(r->comm, path, "/entry/process/results_json", &found, text, TEXT_MOST);
  if (status == STATUS_OK && found)
    status = AGREE(r->comm, config_file_parse(path, text, (int64_t)strlen(text), &file));
  const struct config_node *results =
      status == STATUS_OK ? config_get(config_root(file), "results") : NULL;
  for (int i = 0; i < config_count(results); i++) add_result(r, results, i, state, stage);
  if (file) config_file_close(&file);
  memory_free(text);
  status_clear();
  return STATUS_OK;
}

const struct report_row *report_row_find(const struct report *r, const char *state,
                                         const char *stage, const char *name) {
  for (int i = 0; i < r->rows; i++)
    if (strcmp(r->row[i].name, name) == 0 && strcmp(r->row[i].state, state) == 0 &&
        (!stage || strcmp(r->row[i].stage, stage) == 0))
      return &r->row[i];
  return NULL;
}

/* Stages I, II, ... are the states that tomography saw. */
static void number_stages(struct report *r) {
  int n = 0;
  for (int i = 0; i < r->states; i++) {
    char path[STORE_NAME_BYTES];
    bool any = report_file(r, r->state[i].name, "segment", path);
    any |= report_file(r, r->state[i].name, "recon", path);
    if (any) r->state[i].stage = ++n;
  }
}

enum status report_read(struct report *r) {
  TRY_ALL(r->comm, memory_make(REPORT_STATES_MOST, sizeof *r->state, "states", &r->state));
  TRY(read_cycle(r));
  TRY(read_units(r));
  TRY(read_truth(r));
  TRY(read_summary(r));
  for (int i = 0; i < r->rows; i++) add_state(r, r->row[i].state, (double)NAN, "");
  for (int k = 0; k < COUNT(stages_of_state); k++)
    for (int i = 0; i < r->states; i++)
      TRY(read_file_results(r, r->state[i].name, stages_of_state[k]));
  for (int k = 0; k < COUNT(stages_of_all); k++) TRY(read_file_results(r, "all", stages_of_all[k]));
  number_stages(r);
  if (r->rows == 0 && r->units == 0)
    return AGREE(r->comm,
                 FAIL(STATUS_INPUT,
                      "%s holds no results of xcsct run: neither summary.csv nor status.json",
                      r->folder));
  return STATUS_OK;
}

void report_forget(struct report *r) {
  if (r->cycle) config_file_close(&r->cycle);
  if (r->truth) config_file_close(&r->truth);
  memory_free(r->state);
  memory_free(r->row);
  memory_free(r->unit);
  memory_free(r->thumb);
  for (int i = 0; i < REPORT_PARTS; i++) {
    if (r->part[i]) fclose(r->part[i]);
    free(r->bytes[i]);
  }
  memset(r, 0, sizeof *r);
}

/* ---- small arrays and tables ------------------------------------------------------------------------------ */

double *report_numbers(const struct report *r, const char *file, const char *path, int64_t *n) {
  double *values = NULL;
  bool found     = false;
  *n             = 0;
  if (store_get_doubles(r->comm, file, path, &found, &values, n) != STATUS_OK) status_clear();
  return found ? values : NULL;
}

bool report_table_read(const struct report *r, const char *file, const char *table,
                       const char *const *column, int columns, struct report_table *t) {
  *t         = (struct report_table){.columns = columns};
  bool whole = true;
  for (int k = 0; k < columns && whole; k++) {
    char path[256];
    int64_t n;
    snprintf(path, sizeof path, "/entry/%s/%s", table, column[k]);
    t->column[k] = report_numbers(r, file, path, &n);
    whole        = t->column[k] && (k == 0 || n == t->rows);
    t->rows      = n;
  }
  if (!whole) report_table_free(t);
  return whole;
}

void report_table_free(struct report_table *t) {
  for (int k = 0; k < t->columns; k++) memory_free(t->column[k]);
  memset(t, 0, sizeof *t);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void report_table_mask(struct report_table *t, int value, int error) {
  double *sorted;
  int64_t n = 0;
  if (t->rows == 0 || memory_make_raw(t->rows, sizeof *sorted, "errors", &sorted) != STATUS_OK) {
    status_clear();
    return;
  }
  for (int64_t i = 0; i < t->rows; i++)
    if (isfinite(t->column[value][i]) && isfinite(t->column[error][i]))
      sorted[n++] = t->column[error][i];
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  double most = n ? 3 * sorted[n / 2] : 0;
  memory_free(sorted);
  for (int64_t i = 0; n && i < t->rows; i++)
    if (!(t->column[error][i] <= most)) t->column[value][i] = (double)NAN;
}
