/* run: units of work in the order of the pipeline. What is done stays; what fails is said in its place and the
 * rest goes on; the run's status is that of the first failure. */
#include "campaign_inner.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_params {
#include "config_struct.inc"
#include "run_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct run_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "run_params.def"
#include "config_undef.inc"
};
static const struct config_set run_set = CONFIG_SET("run", struct run_params, rows);

/* ---- the folder --------------------------------------------------------------------------------------- */

static bool is_foreign(const char *folder) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%s/journal", folder);
  if (access(path, F_OK) == 0) return false;
  DIR *list = opendir(folder);
  if (!list) return false;
  bool any = false;
  for (struct dirent *entry; (entry = readdir(list));)
    any |= strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(list);
  return any;
}

static enum status open_folder(const char *folder, bool force) {
  if (!log_is_speaker()) return STATUS_OK;
  if (!folder[0]) return FAIL(STATUS_USAGE, "--output DIR is missing: the folder for the results");
  if (mkdir(folder, 0755) != 0 && errno != EEXIST)
    return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", folder, strerror(errno));
  struct stat info;
  if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
    return FAIL(STATUS_OUTPUT, "%s is no folder", folder);
  if (access(folder, W_OK) != 0)
    return FAIL(STATUS_OUTPUT, "the folder %s is not writable", folder);
  if (!force && is_foreign(folder))
    return FAIL(STATUS_OUTPUT,
                "the folder %s holds files that are not of a run; name another, or add --force",
                folder);
  return STATUS_OK;
}

/* The lock: a file with host and process; that of a dead process of this host is taken over. */
static enum status take_lock(const char *folder) {
  if (!log_is_speaker()) return STATUS_OK;
  char path[STORE_NAME_BYTES], host[128] = "", other[128] = "", mine[200];
  long pid = 0;
  snprintf(path, sizeof path, "%s/run.lock", folder);
  gethostname(host, sizeof host - 1);
  for (int attempt = 0; attempt < 2; attempt++) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file >= 0) {
      int n     = snprintf(mine, sizeof mine, "%s %ld\n", host, (long)getpid());
      bool good = write(file, mine, (size_t)n) == n;
      close(file);
      return good ? STATUS_OK
                  : FAIL(STATUS_MEMORY, "%s cannot be written: %s", path, strerror(errno));
    }
    if (errno != EEXIST) return FAIL(STATUS_OUTPUT, "%s cannot be made: %s", path, strerror(errno));
    FILE *old = fopen(path, "r");
    bool read = old && fscanf(old, "%127s %ld", other, &pid) == 2;
    if (old) fclose(old);
    bool dead = read && strcmp(other, host) == 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
    if (!dead) break;
    log_info("the lock of process %ld, which is gone, is taken over", pid);
    unlink(path);
  }
  return FAIL(STATUS_OUTPUT, "%s is in use by process %ld on %s (if that is gone, remove %s)",
              folder, pid, other, path);
}

static void drop_lock(const char *folder) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%s/run.lock", folder);
  if (log_is_speaker()) unlink(path);
}

/* ---- the units ----------------------------------------------------------------------------------------- */

static bool in_list(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == n && strncmp(at, name, n) == 0) return true;
  return false;
}

static enum status check_choice(const struct cycle *cycle, const struct run_params *p) {
  const char *const stages[2] = {p->from, p->until};
  for (int i = 0; i < 2; i++)
    if (stages[i][0] && !campaign_stage_find(stages[i]))
      return FAIL(STATUS_USAGE, "%s %s: there is no such stage", i ? "--until" : "--from",
                  stages[i]);
  for (const char *at = p->state; *at; at += strcspn(at, ","), at += *at == ',') {
    char name[CYCLE_NAME_BYTES];
    bool known = false;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
    for (int i = 0; i < cycle->states; i++) known |= strcmp(cycle->state[i].name, name) == 0;
    if (!known) return FAIL(STATUS_USAGE, "--state %s: the cycle has no such state", name);
  }
  return STATUS_OK;
}

static enum status make_units(struct campaign *c, const struct run_params *p) {
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  TRY(check_choice(c->cycle, p));
  TRY(memory_make((int64_t)n * (c->cycle->states + 1), sizeof *c->unit, "units of work", &c->unit));
  bool begun = !p->from[0];
  for (int i = 0; i < n; i++) {
    begun |= strcmp(stage[i]->name, p->from) == 0;
    if (!begun || strcmp(stage[i]->name, "twin") == 0) continue;
    if (stage[i]->all_states)
      c->unit[c->units++] = (struct unit){.stage = stage[i], .state = -1};
    else
      for (int s = 0; s < c->cycle->states; s++)
        if (!p->state[0] || in_list(p->state, c->cycle->state[s].name))
          c->unit[c->units++] = (struct unit){.stage = stage[i], .state = s};
    if (strcmp(stage[i]->name, p->until) == 0) break;
  }
  return STATUS_OK;
}

static void say_unit(const struct campaign *c, const struct unit *unit, int at) {
  static const char *const words[] = {"to do", "done", "kept", "skipped", "failed"};
  log_info("[%d/%d] %s/%s: %s%s%s (%.1f s)", at + 1, c->units,
           unit->state >= 0 ? c->cycle->state[unit->state].name : "all", unit->stage->name,
           words[unit->now], unit->why[0] ? ": " : "", unit->why, unit->seconds);
}

static enum status do_unit(struct campaign *c, int at, enum status *first, char *words,
                           size_t bytes) {
  struct unit *unit  = &c->unit[at];
  enum status status = unit_do(c, unit);
  say_unit(c, unit, at);
  if (status == STATUS_STOPPED || status == STATUS_INTERNAL) return status;
  if (status != STATUS_OK && *first == STATUS_OK) {
    *first = status;
    snprintf(words, bytes, "%s/%s: %s",
             unit->state >= 0 ? c->cycle->state[unit->state].name : "all", unit->stage->name,
             unit->why);
  }
  status_clear();
  if (c->dry_run) return STATUS_OK;
  static const char *const kinds[] = {"waits", "done", "kept", "skipped", "failed"};
  TRY(journal_add(c, "%s %s %s %.3f", kinds[unit->now],
                  unit->state >= 0 ? c->cycle->state[unit->state].name : "all", unit->stage->name,
                  unit->seconds));
  return status_write(c, "running");
}

static enum status do_units(struct campaign *c) {
  enum status first = STATUS_OK;
  char words[700]   = "";
  for (int i = 0; i < c->units; i++) {
    TRY(stop_agree(c->comm));
    TRY(do_unit(c, i, &first, words, sizeof words));
  }
  if (first != STATUS_OK) return FAIL(first, "%s", words);
  return STATUS_OK;
}

static enum status run_locked(struct campaign *c, const struct run_params *p) {
  char stop[STORE_NAME_BYTES];
  snprintf(stop, sizeof stop, "%s/stop", c->folder);
  stop_watch(stop, c->common->max_time);
  TRY_ALL(c->comm, make_units(c, p));
  if (!c->dry_run) TRY(journal_add(c, "begins: %d units", c->units));
  enum status status = do_units(c);
  if (c->dry_run) return status;
  enum status written = summary_write(c);
  if (written == STATUS_OK)
    written = status_write(c, status == STATUS_OK        ? "finished"
                              : status == STATUS_STOPPED ? "stopped"
                                                         : "failed");
  if (log_is_speaker()) summary_print(c, stdout);
  return status != STATUS_OK ? status : written;
}

static enum status run(MPI_Comm comm, const struct stage_common *common, const void *params,
                       const char *operand, struct stage_results *results) {
  const struct run_params *p = params;
  struct cycle cycle;
  (void)results;
  if (!operand[0]) return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct run CONFIG --output DIR"));
  TRY(cycle_open(comm, operand, &cycle));
  struct campaign c  = {comm, common, &cycle, common->output, p->redo, p->dry_run, NULL, 0};
  enum status status = AGREE(comm, open_folder(c.folder, common->force));
  if (status == STATUS_OK) {
    status = AGREE(comm, take_lock(c.folder));
    if (status == STATUS_OK) {
      status = run_locked(&c, p);
      drop_lock(c.folder);
    }
  }
  for (int i = 0; i < c.units; i++) stage_results_free(&c.unit[i].results);
  memory_free(c.unit);
  cycle_close(&cycle);
  return status;
}

/* ---- status: from another shell ------------------------------------------------------------------------- */

struct status_params {
  char unused;
};
static const struct config_row no_rows[1];
static const struct config_set show_set = {"status", no_rows, 0, sizeof(struct status_params)};

static enum status show_status(MPI_Comm comm, const struct stage_common *common, const void *params,
                               const char *operand, struct stage_results *results) {
  char path[STORE_NAME_BYTES], *bytes;
  int64_t n;
  struct config_file *file;
  (void)common, (void)params, (void)results;
  if (!operand[0]) return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct status DIR"));
  snprintf(path, sizeof path, "%.1900s/status.json", operand);
  TRY(file_bytes(comm, path, 16 << 20, &bytes, &n));
  enum status status = AGREE(comm, config_file_parse(path, bytes, n, &file));
  memory_free(bytes);
  TRY(status);
  const struct config_node *root = config_root(file), *units = config_get(root, "units");
  if (log_is_speaker()) printf("%s\n", config_scalar(config_get(root, "phase")));
  for (int i = 0; i < config_count(units) && log_is_speaker(); i++) {
    const struct config_node *unit = config_item(units, i);
    printf("%-20s %-10s %-8s %8s s  %s\n", config_scalar(config_get(unit, "state")),
           config_scalar(config_get(unit, "stage")), config_scalar(config_get(unit, "is")),
           config_scalar(config_get(unit, "seconds")), config_scalar(config_get(unit, "why")));
  }
  config_file_close(&file);
  return STATUS_OK;
}

const struct campaign_command *campaign_commands(int *n) {
  static const struct campaign_command commands[] = {
      {"run",    "all stages for all states of a cycle, going on where it stopped", "CONFIG", &run_set,
       run                                                                                                            },
      {"status", "how far a run is",                                                "DIR", &show_set, show_status},
  };
  *n = (int)(sizeof commands / sizeof *commands);
  return commands;
}
