/* sweep: DIR/shared holds what no swept parameter touches, made once; DIR/rows/<row> the rest of each row;
 * DIR/manifest.tsv the rows with the hash of their effective configuration; DIR/sweep.csv the results. */
#include "campaign_sweep.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sweep_params {
#include "config_struct.inc"
#include "sweep_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct sweep_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "sweep_params.def"
#include "config_undef.inc"
};
static const struct config_set sweep_set = CONFIG_SET("sweep", struct sweep_params, rows);

struct call {
  MPI_Comm comm;
  const struct stage_common *common;
  const struct sweep_params *params;
  const struct cycle *cycle;
  const struct sweep *sweep;
  const char *folder;
};

static void row_folder(const struct call *call, int64_t row, char *path) {
  snprintf(path, STORE_NAME_BYTES, "%.1900s/rows/%05lld", call->folder, (long long)row);
}

static void row_values(const struct call *call, int64_t row, struct campaign_value *value) {
  for (int i = 0; i < call->sweep->axes; i++) {
    const struct sweep_axis *axis = &call->sweep->axis[i];
    value[i].stage                = axis->stage;
    value[i].state                = axis->state;
    snprintf(value[i].name, sizeof value[i].name, "%s", axis->name);
    snprintf(value[i].text, sizeof value[i].text, "%s", sweep_text(call->sweep, row, i));
  }
}

/* The sweep's folder is ours when it has a folder "rows", or nothing. */
static enum status make_folders(const struct call *call) {
  static const char *const inside[] = {"rows", "shared"};
  if (!call->folder[0])
    return FAIL(STATUS_USAGE, "--output DIR is missing: the folder of the sweep");
  if (!log_is_speaker()) return STATUS_OK;
  TRY(folder_make(call->folder));
  if (!call->common->force && folder_is_foreign(call->folder, inside[0]))
    return FAIL(STATUS_OUTPUT,
                "the folder %s holds files that are not of a sweep; name another, or add --force",
                call->folder);
  for (int i = 0; i < 2; i++) {
    char path[STORE_NAME_BYTES];
    snprintf(path, sizeof path, "%.1900s/%s", call->folder, inside[i]);
    TRY(folder_make(path));
  }
  return STATUS_OK;
}

/* ---- the manifest --------------------------------------------------------------------------------------- */

/* Chains the effective parameters of a stage in one state (-1: of the file) as a row has them. */
static enum status chain_stage(const struct call *call, const struct campaign_value *value,
                               const struct stage *stage, int state, uint64_t *hash) {
  const struct config_set *set = stage->params;
  struct config_file *file     = call->cycle->file;
  void *params;
  char *yaml = NULL;
  TRY(memory_make((int64_t)set->params_bytes, 1, "parameters", &params));
  enum status status = config_defaults(set, params);
  config_assign_mapping(file, config_get(config_root(file), stage->name), set, params);
  if (state >= 0)
    config_assign_mapping(file, cycle_state_block(call->cycle, state, stage), set, params);
  for (int k = 0; k < call->sweep->axes && status == STATUS_OK; k++)
    if (value[k].stage == stage && (value[k].state < 0 || value[k].state == state))
      status = config_assign(set, params, value[k].name, value[k].text, "sweep");
  if (status == STATUS_OK) status = config_effective_yaml(set, params, &yaml);
  if (status == STATUS_OK) *hash = store_hash(yaml, (int64_t)strlen(yaml), *hash);
  memory_free(yaml);
  config_free(set, params);
  memory_free(params);
  return status;
}

/* Does a state have values of its own for a stage? */
static bool differs(const struct call *call, const struct stage *stage, int state) {
  bool differs = cycle_state_block(call->cycle, state, stage) != NULL;
  for (int k = 0; k < call->sweep->axes; k++)
    differs |= call->sweep->axis[k].stage == stage && call->sweep->axis[k].state == state;
  return differs;
}

/* Of the effective parameters of every stage, also in states that have their own. */
static enum status row_hash(const struct call *call, int64_t row, uint64_t *hash) {
  struct campaign_value value[SWEEP_AXES_MOST];
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  row_values(call, row, value);
  *hash = 0;
  for (int i = 0; i < n; i++) {
    TRY(chain_stage(call, value, stage[i], -1, hash));
    for (int s = 0; s < call->cycle->states && !stage[i]->all_states; s++)
      if (differs(call, stage[i], s)) TRY(chain_stage(call, value, stage[i], s, hash));
  }
  return STATUS_OK;
}

/* One word of a row's status.json, "" when it has none. */
static void row_word(const struct call *call, int64_t row, const char *key, char *word,
                     size_t bytes) {
  char path[STORE_NAME_BYTES], head[512];
  row_folder(call, row, path);
  snprintf(path + strlen(path), 16, "/status.json");
  FILE *file = fopen(path, "r");
  word[0]    = 0;
  if (!file) return;
  size_t n = fread(head, 1, sizeof head - 1, file);
  head[n]  = 0;
  fclose(file);
  char mark[64];
  snprintf(mark, sizeof mark, "\"%s\":\"", key);
  const char *at = strstr(head, mark);
  if (at) snprintf(word, bytes, "%.*s", (int)strcspn(at + strlen(mark), "\""), at + strlen(mark));
}

static enum status print_manifest(const struct call *call, FILE *to) {
  fprintf(to, "row\thash\tpath\tstatus");
  for (int i = 0; i < call->sweep->axes; i++) fprintf(to, "\t%s", call->sweep->axis[i].key);
  fputc('\n', to);
  for (int64_t row = 0; row < call->sweep->rows; row++) {
    uint64_t hash;
    char phase[32];
    TRY(row_hash(call, row, &hash));
    row_word(call, row, "phase", phase, sizeof phase);
    fprintf(to, "%lld\t%016llx\trows/%05lld\t%s", (long long)row, (unsigned long long)hash,
            (long long)row, phase[0] ? phase : "waits");
    for (int i = 0; i < call->sweep->axes; i++)
      fprintf(to, "\t%s", sweep_text(call->sweep, row, i));
    fputc('\n', to);
  }
  return STATUS_OK;
}

static enum status write_memory(const struct call *call, const char *name,
                                enum status (*print)(const struct call *, FILE *), bool say) {
  char path[STORE_NAME_BYTES], *bytes = NULL;
  size_t n = 0;
  if (!log_is_speaker()) return STATUS_OK;
  FILE *to = open_memstream(&bytes, &n);
  if (!to) return FAIL(STATUS_MEMORY, "no memory for %s", name);
  enum status status = print(call, to);
  fclose(to);
  snprintf(path, sizeof path, "%.1900s/%s", call->folder, name);
  if (status == STATUS_OK && say) fwrite(bytes, 1, n, stdout);
  if (status == STATUS_OK) status = store_text_write(path, bytes, (int64_t)n);
  free(bytes);
  return status;
}

/* ---- a row ------------------------------------------------------------------------------------------------ */

static struct campaign campaign_of(const struct call *call, const char *folder) {
  return (struct campaign){.comm            = call->comm,
                           .common          = call->common,
                           .cycle           = call->cycle,
                           .folder          = folder,
                           .home            = call->folder,
                           .side_by_side    = 1,
                           .from            = "",
                           .until           = call->params->until,
                           .only_states     = "",
                           .only_stages     = "",
                           .stage_is_shared = call->sweep->shared};
}

/* Rows of a job array start together; the first makes what they share, the others wait for it. */
static enum status enter_in_turn(struct campaign *c) {
  for (double begun_s = time_now_s();; status_clear(), sleep(1)) {
    enum status status = campaign_enter(c, true);
    if (status != STATUS_OUTPUT || !strstr(status_text(), "in use")) return status;
    TRY(stop_agree(c->comm));
    if (time_now_s() - begun_s < 2) log_info("another row is making what all rows share: waiting");
  }
}

static enum status do_shared(const struct call *call, const char *base) {
  struct campaign c = campaign_of(call, base);
  TRY(enter_in_turn(&c));
  enum status status = campaign_do(&c);
  campaign_leave(&c);
  campaign_free(&c);
  return status;
}

static enum status do_row(const struct call *call) {
  char base[STORE_NAME_BYTES], folder[STORE_NAME_BYTES];
  struct campaign_value value[SWEEP_AXES_MOST];
  int64_t row = call->params->row;
  if (row >= call->sweep->rows)
    return AGREE(call->comm, FAIL(STATUS_USAGE, "--row %lld: the sweep has rows 0..%lld",
                                  (long long)row, (long long)call->sweep->rows - 1));
  snprintf(base, sizeof base, "%.1900s/shared", call->folder);
  row_folder(call, row, folder);
  row_values(call, row, value);
  stop_watch(NULL, call->common->max_time);
  TRY(do_shared(call, base));
  struct campaign c = campaign_of(call, folder);
  c.base            = base;
  c.value           = value;
  c.values          = call->sweep->axes;
  c.redo            = call->params->redo;
  TRY(campaign_enter(&c, true));
  enum status status = campaign_do(&c);
  campaign_leave(&c);
  if (log_is_speaker()) summary_print(&c, stdout);
  campaign_free(&c);
  return status;
}

/* ---- collecting ------------------------------------------------------------------------------------------- */

static enum status check_versions(const struct call *call) {
  char first[64] = "", word[64];
  for (int64_t row = 0; row < call->sweep->rows; row++) {
    row_word(call, row, "version", word, sizeof word);
    if (!word[0]) continue;
    if (!first[0]) snprintf(first, sizeof first, "%s", word);
    if (strcmp(first, word) != 0 && !call->params->mixed)
      return FAIL(STATUS_INPUT,
                  "row %lld was made by version %s, others by %s; run it again, or add --mixed",
                  (long long)row, word, first);
  }
  return STATUS_OK;
}

static void add_lines(const struct call *call, int64_t row, FILE *from, FILE *to) {
  char line[4096];
  bool head = true;
  while (fgets(line, sizeof line, from)) {
    if (!head) {
      fprintf(to, "%lld", (long long)row);
      for (int i = 0; i < call->sweep->axes; i++)
        fprintf(to, ",\"%s\"", sweep_text(call->sweep, row, i));
      fprintf(to, ",%s", line);
    }
    head = false;
  }
}

static enum status print_collected(const struct call *call, FILE *to) {
  TRY(check_versions(call));
  fprintf(to, "row");
  for (int i = 0; i < call->sweep->axes; i++) fprintf(to, ",%s", call->sweep->axis[i].key);
  fprintf(to, ",state,stage,result,value,sigma,lower,upper,unit,remark\n");
  int64_t missing = 0;
  for (int64_t row = 0; row < call->sweep->rows; row++) {
    char path[STORE_NAME_BYTES], phase[32];
    row_word(call, row, "phase", phase, sizeof phase);
    missing += strcmp(phase, "finished") != 0;
    row_folder(call, row, path);
    snprintf(path + strlen(path), 16, "/summary.csv");
    FILE *from = fopen(path, "r");
    if (!from) continue;
    add_lines(call, row, from, to);
    fclose(from);
  }
  if (missing)
    log_warning("%lld of %lld rows are not finished", (long long)missing,
                (long long)call->sweep->rows);
  return STATUS_OK;
}

static enum status choose(const struct call *call) {
  const struct sweep_params *p = call->params;
  if (p->list + p->collect + (p->row >= 0) != 1)
    return AGREE(call->comm,
                 FAIL(STATUS_USAGE, "sweep wants one of --list, --row N and --collect"));
  TRY_ALL(call->comm, make_folders(call));
  if (p->row >= 0) {
    TRY(do_row(call));
    return STATUS_OK;
  }
  TRY_ALL(call->comm, write_memory(call, "manifest.tsv", print_manifest, p->list));
  if (!p->collect) return STATUS_OK;
  TRY_ALL(call->comm, write_memory(call, "sweep.csv", print_collected, false));
  return AGREE(call->comm, sweep_plots(call->cycle, call->sweep, call->folder));
}

static enum status sweep(MPI_Comm comm, const struct stage_common *common, const void *params,
                         const char *operand, struct stage_results *results) {
  struct cycle cycle;
  struct sweep sweep;
  if (!operand[0])
    return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct sweep CONFIG --output DIR --list"));
  TRY(cycle_open(comm, operand, &cycle));
  enum status status = AGREE(comm, sweep_read(&cycle, &sweep));
  if (status == STATUS_OK) {
    const struct call call = {comm, common, params, &cycle, &sweep, common->output};
    status                 = choose(&call);
    if (status == STATUS_OK) stage_result_add(results, "rows", (double)sweep.rows, "");
    sweep_free(&sweep);
  }
  cycle_close(&cycle);
  return status;
}

const struct campaign_command campaign_sweep = {
    "sweep", "a cycle once for each row of its sweep: block", "CONFIG", &sweep_set, sweep};
