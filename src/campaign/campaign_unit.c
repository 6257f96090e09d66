/* One unit: its parameters, inputs and record; done already, or to be done now. */
#include "campaign_inner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_BYTES = 1 << 16 };

struct work {
  void *params;
  char output[STORE_NAME_BYTES], input[STORE_NAME_BYTES], folder[STORE_NAME_BYTES];
  struct stage_bundle bundle, *states;
  char (*state_folder)[STORE_NAME_BYTES];
  char *record;
};

static void work_free(const struct unit *unit, struct work *work) {
  if (work->params) config_free(unit->stage->params, work->params);
  memory_free(work->params);
  memory_free(work->states);
  memory_free(work->state_folder);
  memory_free(work->record);
}

/* ---- raw inputs: the state's keys become parameters of the stages that read them ------------------ */

static enum status give_files(const struct campaign *c, const struct unit *unit, struct work *work,
                              const char *key, const struct config_node *files) {
  const struct config_set *set = unit->stage->params;
  if (!files || !config_row_find(set, key)) return STATUS_OK;
  int n = config_kind(files) == CONFIG_SEQUENCE ? config_count(files) : 1;
  for (int i = 0; i < n; i++) {
    const char *name =
        config_scalar(config_kind(files) == CONFIG_SEQUENCE ? config_item(files, i) : files);
    char path[STORE_NAME_BYTES];
    if (!name) continue;
    cycle_path(c->cycle, name, path, sizeof path);
    TRY(config_assign(set, work->params, key, path, ""));
  }
  return STATUS_OK;
}

/* Calibration files, and what the compton list of a state says, one word per region. */
static enum status give_compton(const struct campaign *c, const struct unit *unit,
                                struct work *work) {
  const struct config_set *set          = unit->stage->params;
  const struct config_node *calibration = config_get(config_root(c->cycle->file), "calibration");
  const struct config_node *list        = config_get(c->cycle->state[unit->state].node, "compton");
  char counts[CONFIG_TEXT_BYTES]        = "";
  for (int i = 0; i < config_count(calibration); i++)
    TRY(give_files(c, unit, work, config_key(calibration, i), config_item(calibration, i)));
  for (int i = 0; i < config_count(list); i++) {
    const struct config_node *region = config_item(list, i), *frames = config_get(region, "frames");
    size_t used = strlen(counts);
    snprintf(counts + used, sizeof counts - used, "%s%d", i ? "," : "",
             config_kind(frames) == CONFIG_SEQUENCE ? config_count(frames)
             : frames                               ? 1
                                                    : 0);
    TRY(give_files(c, unit, work, "frames", frames));
    TRY(give_files(c, unit, work, "spectra", config_get(region, "spectra")));
  }
  static const char *const lists[][2] = {
      {"region",     "regions"    },
      {"exposure_s", "exposures_s"},
      {"z_um",       "heights_um" },
      {"monitor",    "monitors"   },
      {"live_s",     "lives_s"    }
  };
  for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
    char text[CONFIG_TEXT_BYTES] = "";
    for (int i = 0; i < config_count(list); i++) {
      const char *value = config_scalar(config_get(config_item(list, i), lists[k][0]));
      size_t used       = strlen(text);
      if (value) snprintf(text + used, sizeof text - used, "%s%s", used ? "," : "", value);
    }
    if (text[0] && config_row_find(set, lists[k][1]))
      TRY(config_assign(set, work->params, lists[k][1], text, ""));
  }
  if (counts[0] && config_row_find(set, "files_per_region"))
    TRY(config_assign(set, work->params, "files_per_region", counts, ""));
  return STATUS_OK;
}

static enum status give_echem(const struct campaign *c, const struct unit *unit,
                              struct work *work) {
  char times[CONFIG_TEXT_BYTES] = "";
  for (int i = 0; i < c->cycle->states; i++) {
    const struct config_node *node = c->cycle->state[i].node, *file = config_get(node, "impedance");
    const char *time_s = config_scalar(config_get(node, "time_s"));
    size_t used        = strlen(times);
    if (time_s) snprintf(times + used, sizeof times - used, "%s%s", used ? "," : "", time_s);
    if (file)
      TRY(give_files(c, unit, work, "impedance", file));
    else
      TRY(config_assign(unit->stage->params, work->params, "impedance", "-", ""));
  }
  const struct config_node *cycle = config_get(config_root(c->cycle->file), "galvanostatic");
  TRY(give_files(c, unit, work, "galvanostatic", cycle));
  return cycle ? config_assign(unit->stage->params, work->params, "state_times", times, "")
               : STATUS_OK;
}

static bool state_has(const struct campaign *c, int state, const char *key) {
  return config_kind(config_get(c->cycle->state[state].node, key)) != CONFIG_NONE;
}

/* Whether the unit has what it reads; else unit->why says what is missing. */
static bool has_inputs(const struct campaign *c, struct unit *unit, struct work *work) {
  const char *name = unit->stage->name;
  char text[STORE_NAME_BYTES], product[64];
  if (strcmp(name, "recon") == 0) {
    const char *file = config_scalar(config_get(c->cycle->state[unit->state].node, "tomogram"));
    if (file)
      cycle_path(c->cycle, file, work->input, sizeof work->input);
    else
      snprintf(unit->why, sizeof unit->why, "the state has no tomogram");
    return file != NULL;
  }
  if (strcmp(name, "compton") == 0) {
    bool has = state_has(c, unit->state, "compton");
    if (!has) snprintf(unit->why, sizeof unit->why, "the state has no compton acquisition");
    return has;
  }
  if (strcmp(name, "echem") == 0) {
    bool has = config_get(config_root(c->cycle->file), "galvanostatic") != NULL;
    for (int i = 0; i < c->cycle->states; i++) has |= state_has(c, i, "impedance");
    if (!has) snprintf(unit->why, sizeof unit->why, "no state has electrochemical data");
    return has;
  }
  snprintf(product, sizeof product, "%.*s", (int)strcspn(unit->stage->reads, ","),
           unit->stage->reads);
  if (!product[0]) return true;
  int have = 0, last = unit->state < 0 ? c->cycle->states : 1;
  for (int i = 0; i < last; i++)
    have += stage_bundle_find(unit->state < 0 ? &work->states[i] : &work->bundle, product, true,
                              text, sizeof text) != NULL;
  if (!have) snprintf(unit->why, sizeof unit->why, "no %s to work on", product);
  return have > 0;
}

/* ---- the record --------------------------------------------------------------------------------- */

static enum status add_line(char *record, const char *kind, const char *name, const char *print) {
  size_t used = strlen(record);
  if (used + strlen(name) + strlen(print) + 64 > RECORD_BYTES)
    return FAIL(STATUS_INTERNAL, "a record of more than %d bytes", RECORD_BYTES);
  snprintf(record + used, RECORD_BYTES - used, "%s: {name: \"%s\", is: \"%s\"}\n", kind, name,
           print);
  return STATUS_OK;
}

/* Raw files by fingerprint, our own files by the hash of their record. */
static enum status add_file(const struct campaign *c, char *record, const char *path) {
  char print[128] = "absent", *text;
  bool found      = false;
  if (access(path, R_OK) != 0) return AGREE(c->comm, add_line(record, "input", path, print));
  size_t n = strlen(path);
  TRY_ALL(c->comm, memory_make(RECORD_BYTES, 1, "a record", &text));
  enum status status = STATUS_OK;
  if (n > 3 && strcmp(path + n - 3, ".h5") == 0)
    status =
        store_get_text(c->comm, path, "/entry/process/effective_yaml", &found, text, RECORD_BYTES);
  if (status == STATUS_OK && found)
    snprintf(print, sizeof print, "record %016llx",
             (unsigned long long)store_hash(text, (int64_t)strlen(text), 0));
  else if (status == STATUS_OK)
    status = store_fingerprint(c->comm, path, print, sizeof print);
  memory_free(text);
  TRY(status);
  return AGREE(c->comm, add_line(record, "input", path, print));
}

static enum status add_products(const struct campaign *c, const struct unit *unit,
                                const struct work *work) {
  for (const char *at = unit->stage->reads; *at; at += strcspn(at, ","), at += *at == ',') {
    char product[64], path[STORE_NAME_BYTES];
    snprintf(product, sizeof product, "%.*s", (int)strcspn(at, ","), at);
    int last = unit->state < 0 ? c->cycle->states : 1;
    for (int i = 0; i < last; i++) {
      const struct stage_bundle *bundle = unit->state < 0 ? &work->states[i] : &work->bundle;
      if (!stage_bundle_find(bundle, product, false, path, sizeof path)) continue;
      path[strcspn(path, ":")] = 0;
      TRY(add_file(c, work->record, path));
    }
  }
  return STATUS_OK;
}

/* Every file that a FILES parameter or the input names. */
static enum status add_named_files(const struct campaign *c, const struct unit *unit,
                                   const struct work *work) {
  const struct config_set *set = unit->stage->params;
  if (work->input[0]) TRY(add_file(c, work->record, work->input));
  for (int i = 0; i < set->rows; i++) {
    if (set->row[i].type != CONFIG_FILES) continue;
    const char *at = *(char **)((char *)work->params + set->row[i].offset);
    while (at && *at) {
      char path[STORE_NAME_BYTES];
      size_t n = strcspn(at, "\n");
      snprintf(path, sizeof path, "%.*s", (int)n, at);
      if (strcmp(path, "-") != 0) TRY(add_file(c, work->record, path));
      at += n + (at[n] == '\n');
    }
  }
  return STATUS_OK;
}

static enum status make_record(const struct campaign *c, const struct unit *unit,
                               struct work *work) {
  char *yaml = NULL;
  TRY_ALL(c->comm, memory_make(RECORD_BYTES, 1, "a record", &work->record));
  TRY_ALL(c->comm, config_effective_yaml(unit->stage->params, work->params, &yaml));
  snprintf(work->record, RECORD_BYTES, "%s", yaml);
  memory_free(yaml);
  TRY(add_named_files(c, unit, work));
  return add_products(c, unit, work);
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
  TRY(store_get_text(comm, path, "/entry/process/results_json", &found, text, RECORD_BYTES));
  if (!found) return STATUS_OK;
  TRY_ALL(comm, config_file_parse(path, text, (int64_t)strlen(text), &file));
  const struct config_node *results = config_get(config_root(file), "results");
  for (int i = 0; i < config_count(results); i++) read_result(results, i, to);
  config_file_close(&file);
  return STATUS_OK;
}

static enum status look_if_done(const struct campaign *c, struct unit *unit,
                                const struct work *work, bool *done) {
  *done = false;
  char *text;
  int exists = access(work->output, R_OK) == 0;
  MPI_Bcast(&exists, 1, MPI_INT, 0, c->comm);
  if (c->force || !exists) return STATUS_OK;
  TRY_ALL(c->comm, memory_make(RECORD_BYTES, 1, "a record", &text));
  enum status status = store_get_text(c->comm, work->output, "/entry/process/effective_yaml", done,
                                      text, RECORD_BYTES);
  *done              = status == STATUS_OK && *done && strcmp(text, work->record) == 0;
  if (status == STATUS_OK && *done)
    status = read_results(c->comm, work->output, text, &unit->results);
  memory_free(text);
  if (status == STATUS_INPUT) { /* a damaged file is made anew */
    status_clear();
    *done  = false;
    status = STATUS_OK;
  }
  return status;
}

/* ---- doing ------------------------------------------------------------------------------------------ */

static enum status make_folder(const char *path) {
  if (!log_is_speaker() || mkdir(path, 0755) == 0) return STATUS_OK;
  struct stat info;
  if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return STATUS_OK;
  return FAIL(STATUS_OUTPUT, "the folder %s cannot be made", path);
}

static enum status prepare(const struct campaign *c, const struct unit *unit, struct work *work) {
  const struct stage *stage       = unit->stage;
  const struct config_node *block = config_get(config_root(c->cycle->file), stage->name);
  TRY(memory_make((int64_t)stage->params->params_bytes, 1, "parameters", &work->params));
  TRY(config_defaults(stage->params, work->params));
  config_assign_mapping(c->cycle->file, block, stage->params, work->params);
  TRY(config_errors_told(c->cycle->file));
  TRY(memory_make(c->cycle->states, sizeof *work->states, "bundles", &work->states));
  TRY(memory_make(c->cycle->states, sizeof *work->state_folder, "bundles", &work->state_folder));
  for (int i = 0; i < c->cycle->states; i++) {
    snprintf(work->state_folder[i], STORE_NAME_BYTES, "%s/%s", c->folder, c->cycle->state[i].name);
    work->states[i] = (struct stage_bundle){
        .input = "", .folder = work->state_folder[i], .state = c->cycle->state[i].name};
  }
  if (unit->state >= 0) {
    work->bundle = work->states[unit->state];
    snprintf(work->folder, sizeof work->folder, "%s", work->state_folder[unit->state]);
  } else {
    work->bundle = (struct stage_bundle){
        .input = "", .folder = c->folder, .states = work->states, .states_n = c->cycle->states};
    snprintf(work->folder, sizeof work->folder, "%s", c->folder);
  }
  snprintf(work->output, sizeof work->output, "%.1900s/%s.h5", work->folder, stage->name);
  return STATUS_OK;
}

static enum status give_raw(const struct campaign *c, const struct unit *unit, struct work *work) {
  if (strcmp(unit->stage->name, "compton") == 0) return give_compton(c, unit, work);
  if (strcmp(unit->stage->name, "echem") == 0) return give_echem(c, unit, work);
  work->bundle.input = work->input;
  return STATUS_OK;
}

static enum status run_stage(const struct campaign *c, struct unit *unit, struct work *work) {
  const struct stage *stage  = unit->stage;
  const struct stage_job job = {c->comm,      c->common,    work->params,  &work->bundle,
                                work->output, work->record, &unit->results};
  struct stage_need need     = {0, 0, 0, 0};
  TRY_ALL(c->comm, make_folder(work->folder));
  if (stage->check) TRY_ALL(c->comm, stage->check(work->params, c->common));
  if (stage->plan) {
    TRY(stage->plan(&job, &need));
    TRY(stage_need_check(&job, &need));
  }
  return stage->run(&job);
}

static enum status do_it(const struct campaign *c, struct unit *unit, struct work *work) {
  TRY_ALL(c->comm, prepare(c, unit, work));
  int has = has_inputs(c, unit, work);
  MPI_Allreduce(MPI_IN_PLACE, &has, 1, MPI_INT, MPI_MIN, c->comm);
  if (!has) {
    unit->now = UNIT_SKIPPED;
    return STATUS_OK;
  }
  TRY_ALL(c->comm, give_raw(c, unit, work));
  bool done;
  TRY(make_record(c, unit, work));
  TRY(look_if_done(c, unit, work, &done));
  unit->now = done ? UNIT_KEPT : UNIT_WAITS;
  if (done || c->dry_run) return STATUS_OK;
  enum status status = run_stage(c, unit, work);
  bool written       = status == STATUS_OK || status == STATUS_NOT_CONVERGED;
  unit->now          = status == STATUS_STOPPED ? UNIT_WAITS : written ? UNIT_DONE : UNIT_FAILED;
  return status;
}

enum status unit_do(const struct campaign *c, struct unit *unit) {
  struct work work;
  memset(&work, 0, sizeof work);
  double begun_s     = time_now_s();
  enum status status = do_it(c, unit, &work);
  unit->seconds      = time_now_s() - begun_s;
  if (status != STATUS_OK && status != STATUS_STOPPED) {
    if (status != STATUS_NOT_CONVERGED) unit->now = UNIT_FAILED;
    snprintf(unit->why, sizeof unit->why, "%.500s", status_text());
  }
  work_free(unit, &work);
  return status;
}
