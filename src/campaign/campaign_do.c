/* Units of work in the order of the pipeline. What is done stays; what fails is said in its place and the
 * rest goes on; the status is that of the first failure. Also the output folder: made, refused when it
 * is somebody else's, locked. */
#include "campaign_inner.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the folder --------------------------------------------------------------------------------------- */

bool folder_is_foreign(const char *folder, const char *mark) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%.1900s/%s", folder, mark);
  if (access(path, F_OK) == 0) return false;
  DIR *list = opendir(folder);
  if (!list) return false;
  bool any = false;
  for (struct dirent *entry; (entry = readdir(list));)
    any |= strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
           strcmp(entry->d_name, "run.lock") != 0 && strcmp(entry->d_name, "journal") != 0;
  closedir(list);
  return any;
}

enum status folder_make(const char *folder) {
  struct stat info;
  if (mkdir(folder, 0755) == 0) return STATUS_OK;
  if (errno != EEXIST)
    return FAIL(errno == ENOSPC ? STATUS_MEMORY : STATUS_OUTPUT, "the folder %s cannot be made: %s",
                folder, strerror(errno));
  if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
    return FAIL(STATUS_OUTPUT, "%s is no folder", folder);
  if (access(folder, W_OK) != 0)
    return FAIL(STATUS_OUTPUT, "the folder %s is not writable", folder);
  return STATUS_OK;
}

static enum status open_folder(const char *folder, bool force) {
  char path[STORE_NAME_BYTES];
  if (!folder[0]) return FAIL(STATUS_USAGE, "--output DIR is missing: the folder for the results");
  if (!log_is_speaker()) return STATUS_OK;
  TRY(folder_make(folder));
  if (!force && folder_is_foreign(folder, "journal"))
    return FAIL(STATUS_OUTPUT,
                "the folder %s holds files that are not of a run; name another, or add --force",
                folder);
  snprintf(path, sizeof path, "%.2000s/journal", folder);
  return folder_make(path);
}

/* ---- which states and stages ------------------------------------------------------------------------------ */

static bool in_list(const char *list, const char *name) {
  size_t n = strlen(name);
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == n && strncmp(at, name, n) == 0) return true;
  return false;
}

/* Every word of a list must be one of the known. */
static enum status check_words(const char *option, const char *list, const char *const *known,
                               int n) {
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
    char name[CYCLE_NAME_BYTES];
    bool found = false;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
    for (int i = 0; i < n; i++) found |= strcmp(known[i], name) == 0;
    const char *nearest = found ? NULL : config_nearest(name, known, n);
    if (!found)
      return FAIL(STATUS_USAGE, "%s %s: there is no such thing%s%s%s", option, name,
                  nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
  }
  return STATUS_OK;
}

static enum status check_choice(const struct campaign *c) {
  const char *states[CYCLE_STATES_MOST], *names[CYCLE_STATES_MOST];
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  for (int i = 0; i < n; i++) names[i] = stage[i]->name;
  for (int i = 0; i < c->cycle->states; i++) states[i] = c->cycle->state[i].name;
  TRY(check_words("--from", c->from, names, n));
  TRY(check_words("--until", c->until, names, n));
  TRY(check_words("--stages", c->only_stages, names, n));
  return check_words("--state", c->only_states, states, c->cycle->states);
}

/* ---- locks ------------------------------------------------------------------------------------------------- */

/* A state's folder; a link in its place is not followed out of OUT. */
static enum status make_state_folder(const char *path) {
  struct stat info;
  if (!log_is_speaker()) return STATUS_OK;
  if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
    return FAIL(STATUS_OUTPUT, "%s is a link, which is not followed out of the folder", path);
  return folder_make(path);
}

static void state_path(const struct campaign *c, int state, const char *name, char *path) {
  snprintf(path, STORE_NAME_BYTES, "%.1900s/%s%s%s", c->folder, c->cycle->state[state].name,
           *name ? "/" : "", name);
}

static enum status enter_state(const struct campaign *c, int state, int *lock) {
  char path[STORE_NAME_BYTES];
  state_path(c, state, "", path);
  TRY_ALL(c->comm, make_state_folder(path));
  state_path(c, state, "run.lock", path);
  return store_lock_take(c->comm, path, lock);
}

static bool is_chosen(const struct campaign *c, int state) {
  return !c->only_states[0] || in_list(c->only_states, c->cycle->state[state].name);
}

static int states_chosen(const struct campaign *c) {
  int n = 0;
  for (int i = 0; i < c->cycle->states; i++) n += is_chosen(c, i);
  return n;
}

enum status campaign_enter(struct campaign *c, bool force) {
  char path[STORE_NAME_BYTES];
  c->lock = NULL;
  TRY_ALL(c->comm, check_choice(c));
  TRY_ALL(c->comm, open_folder(c->folder, force));
  TRY_ALL(c->comm, memory_make(c->cycle->states + 1, sizeof *c->lock, "locks", &c->lock));
  for (int i = 0; i <= c->cycle->states; i++) c->lock[i] = -1;
  snprintf(path, sizeof path, "%.2000s/run.lock", c->folder);
  enum status status = STATUS_OK;
  if (!c->only_states[0]) status = store_lock_take(c->comm, path, &c->lock[c->cycle->states]);
  for (int i = 0; i < c->cycle->states && status == STATUS_OK; i++)
    if (is_chosen(c, i)) status = enter_state(c, i, &c->lock[i]);
  snprintf(c->notes, sizeof c->notes, "%.2000s", c->folder);
  for (int i = c->cycle->states - 1; i >= 0 && c->only_states[0]; i--)
    if (is_chosen(c, i)) state_path(c, i, "", c->notes);
  if (status != STATUS_OK) campaign_leave(c);
  return status;
}

void campaign_leave(struct campaign *c) {
  char path[STORE_NAME_BYTES];
  for (int i = 0; c->lock && i < c->cycle->states; i++) {
    state_path(c, i, "run.lock", path);
    store_lock_release(path, &c->lock[i]);
  }
  snprintf(path, sizeof path, "%.2000s/run.lock", c->folder);
  if (c->lock) store_lock_release(path, &c->lock[c->cycle->states]);
  memory_free(c->lock);
  c->lock = NULL;
}

/* ---- the units ----------------------------------------------------------------------------------------- */

/* A row of a sweep leaves the shared stages to the shared folder. */
static bool is_ours(const struct campaign *c, int stage) {
  return !c->stage_is_shared || (c->base ? !c->stage_is_shared[stage] : c->stage_is_shared[stage]);
}

static enum status make_units(struct campaign *c) {
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  TRY(check_choice(c));
  TRY(memory_make((int64_t)n * (c->cycle->states + 1) + 1, sizeof *c->unit, "units of work",
                  &c->unit));
  bool begun = !c->from[0];
  for (int i = 0; i < n; i++) {
    begun |= strcmp(stage[i]->name, c->from) == 0;
    bool chosen = begun && (!c->only_stages[0] || in_list(c->only_stages, stage[i]->name));
    if (!chosen || strcmp(stage[i]->name, "twin") == 0 || !is_ours(c, i)) continue;
    if (stage[i]->all_states && !c->only_states[0])
      c->unit[c->units++] = (struct unit){.stage = stage[i], .state = -1};
    else if (!stage[i]->all_states)
      for (int s = 0; s < c->cycle->states; s++)
        if (is_chosen(c, s)) c->unit[c->units++] = (struct unit){.stage = stage[i], .state = s};
    if (strcmp(stage[i]->name, c->until) == 0) break;
  }
  return STATUS_OK;
}

static void say_unit(const struct campaign *c, const struct unit *unit, int at) {
  const char *word = unit->now == UNIT_WAITS && c->dry_run ? "to do" : unit_word(unit->now);
  if (c->plan) return;
  log_info("[%d/%d] %s/%s: %s%s%s (%.1f s)", at + 1, c->units, unit_state_name(c, unit),
           unit->stage->name, word, unit->why[0] ? ": " : "", unit->why, unit->seconds);
}

/* What the unit in work says about itself, for status.json; a note that cannot be written ends nothing. */
static void see_progress(void *context, const char *what, int64_t done, int64_t total,
                         double left_s) {
  struct campaign *c = context;
  snprintf(c->progress.what, sizeof c->progress.what, "%s", what);
  c->progress.done = done, c->progress.total = total, c->progress.left_s = left_s;
  bool clean = !status_text()[0];
  if (status_refresh(c) != STATUS_OK && clean) status_clear();
}

static enum status do_unit(struct campaign *c, int at) {
  struct unit *unit = &c->unit[at];
  bool work         = !c->dry_run && !c->plan;
  c->now            = at;
  memset(&c->progress, 0, sizeof c->progress);
  if (work) TRY_ALL(c->comm, status_refresh(c));
  if (work) log_progress_seen_by(see_progress, c);
  enum status status = unit_do(c, unit);
  log_progress_seen_by(NULL, NULL);
  say_unit(c, unit, at);
  if (status == STATUS_STOPPED) return status;
  unit->status = status;
  status_clear();
  if (!work) return STATUS_OK;
  return journal_add(c, "%s %s %s %.3f", unit_word(unit->now), unit_state_name(c, unit),
                     unit->stage->name, unit->seconds);
}

/* OUT/stop ends the runs of single states too, which have a stop file of their own. */
static enum status stop_of_all(const struct campaign *c) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%.2000s/stop", c->folder);
  if (!c->only_states[0] || !log_is_speaker() || access(path, F_OK) != 0) return STATUS_OK;
  return FAIL(STATUS_STOPPED, "%s asks to stop; remove it to go on", path);
}

enum status unit_in_turn(struct campaign *c, int at) {
  TRY(stop_agree(c->comm));
  TRY_ALL(c->comm, stop_of_all(c));
  return do_unit(c, at);
}

/* How many units from `at` on are of single states. */
static int of_single_states(const struct campaign *c, int at) {
  int n = 0;
  while (at + n < c->units && c->unit[at + n].state >= 0) n++;
  return n;
}

/* The first failure in the order of the units. */
static enum status units_told(const struct campaign *c) {
  for (int i = 0; i < c->units; i++) {
    const struct unit *unit = &c->unit[i];
    if (unit->status != STATUS_OK)
      return FAIL(unit->status, "%s/%s: %s", unit_state_name(c, unit), unit->stage->name,
                  unit->why);
  }
  return STATUS_OK;
}

static enum status do_units(struct campaign *c) {
  for (int i = 0; i < c->units;) {
    int single = of_single_states(c, i);
    if (c->groups > 1 && single > 1) {
      TRY(groups_do(c, i, single));
      i += single;
    } else
      TRY(unit_in_turn(c, i++));
  }
  return units_told(c);
}

/* A stop file is used up by the run that obeyed it. */
static void use_up(const char *stop) {
  if (log_is_speaker()) unlink(stop);
}

enum status campaign_do(struct campaign *c) {
  char stop[STORE_NAME_BYTES];
  double begun_s = time_now_s();
  snprintf(stop, sizeof stop, "%.2000s/stop", c->notes);
  TRY_ALL(c->comm, make_units(c));
  c->now    = -1;
  c->groups = 1;
  c->inner  = c->comm;
  if (c->dry_run || c->plan) return do_units(c);
  stop_watch(stop, c->common->max_time);
  TRY(groups_make(c, c->side_by_side, states_chosen(c)));
  TRY(journal_add(c, "begins: %d units, version %s", c->units, stage_version()));
  enum status status = do_units(c), written = summary_write(c);
  if (status == STATUS_STOPPED) use_up(stop);
  summary_say_cost(c, begun_s);
  if (written == STATUS_OK)
    written = status_write(c, status == STATUS_OK        ? "finished"
                              : status == STATUS_STOPPED ? "stopped"
                                                         : "failed");
  return status != STATUS_OK ? status : written;
}

void campaign_free(struct campaign *c) {
  for (int i = 0; i < c->units; i++) stage_results_free(&c->unit[i].results);
  memory_free(c->unit);
  c->unit  = NULL;
  c->units = 0;
}
