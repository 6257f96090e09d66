/* cycle.yaml: the sample, its states and their files, a block of parameters per stage. */
#include "campaign_inner.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const top_keys[]   = {"sample", "beam",   "roi",   "states",       "calibration",
                                         "sweep",  "common", "truth", "galvanostatic"};
static const char *const state_keys[] = {"name",    "percent",   "step",   "tomogram",
                                         "compton", "impedance", "time_s", "comment"};
enum {
  TOP_KEYS   = sizeof top_keys / sizeof *top_keys,
  STATE_KEYS = sizeof state_keys / sizeof *state_keys
};

static bool is_known(const char *key, const char *const *known, int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(key, known[i]) == 0) return true;
  return false;
}

/* Unknown keys of a mapping, each with the nearest known. */
static void check_keys(struct config_file *file, const struct config_node *node,
                       const char *const *known, int n) {
  for (int i = 0; i < config_count(node); i++) {
    const char *key = config_key(node, i);
    if (!key || is_known(key, known, n)) continue;
    const char *nearest = config_nearest(key, known, n);
    config_error(file, node, i, "the key '%.60s' is unknown%s%s%s", key,
                 nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
  }
}

static void check_top(struct config_file *file, const struct config_node *root) {
  const char *known[64];
  int n                            = 0, stages;
  const struct stage *const *stage = campaign_stages(&stages);
  for (; n < TOP_KEYS; n++) known[n] = top_keys[n];
  for (int i = 0; i < stages && n < 64; i++) known[n++] = stage[i]->name;
  check_keys(file, root, known, n);
  for (int i = 0; i < stages; i++) { /* today's defaults stand in for what each unit will use */
    void *params;
    if (memory_make((int64_t)stage[i]->params->params_bytes, 1, "parameters", &params) != STATUS_OK)
      return;
    if (config_defaults(stage[i]->params, params) == STATUS_OK)
      config_assign_mapping(file, config_get(root, stage[i]->name), stage[i]->params, params);
    config_free(stage[i]->params, params);
    memory_free(params);
  }
}

static bool good_name(const char *name) {
  size_t n = strlen(name);
  if (n < 1 || n > 64 || name[0] == '.') return false;
  for (; *name; name++)
    if (!isalnum((unsigned char)*name) && !strchr("._-", *name)) return false;
  return true;
}

static void read_state(struct cycle *cycle, const struct config_node *node, int at) {
  struct config_file *file = cycle->file;
  if (config_kind(node) != CONFIG_MAPPING) {
    config_error(file, node, -1, "a state is a block of keys, with 'name' among them");
    return;
  }
  check_keys(file, node, state_keys, STATE_KEYS);
  struct cycle_state *state      = &cycle->state[at];
  const struct config_node *name = config_get(node, "name"), *percent = config_get(node, "percent");
  const char *text = config_scalar(name);
  state->node      = node;
  state->percent   = (double)NAN;
  if (!text || !good_name(text))
    config_error(file, name ? name : node, -1,
                 "a state's name is 1 to 64 of A-Z a-z 0-9 . _ - (no dot first), not '%.80s'",
                 text ? text : "");
  else
    snprintf(state->name, sizeof state->name, "%s", text);
  for (int i = 0; i < at; i++)
    if (text && strcmp(cycle->state[i].name, text) == 0)
      config_error(file, name, -1, "the state '%s' is there twice", text);
  if (percent) {
    char *end;
    const char *number = config_scalar(percent);
    state->percent     = number ? strtod(number, &end) : (double)NAN;
    if (!number || end == number || *end || !(state->percent >= 0 && state->percent <= 100))
      config_error(file, percent, -1, "percent would be a number in 0..100");
  }
  const char *step = config_scalar(config_get(node, "step"));
  snprintf(state->step, sizeof state->step, "%s", step ? step : "");
}

static void read_states(struct cycle *cycle, const struct config_node *root) {
  const struct config_node *states = config_get(root, "states");
  if (config_kind(states) != CONFIG_SEQUENCE || config_count(states) == 0) {
    config_error(cycle->file, states ? states : root, -1,
                 "'states' would be a list of at least one state");
    return;
  }
  if (config_count(states) > CYCLE_STATES_MOST) {
    config_error(cycle->file, states, -1, "%d states; at most %d", config_count(states),
                 CYCLE_STATES_MOST);
    return;
  }
  for (int i = 0; i < config_count(states); i++) read_state(cycle, config_item(states, i), i);
  cycle->states = config_count(states);
}

enum status cycle_open(MPI_Comm comm, const char *path, struct cycle *cycle) {
  memset(cycle, 0, sizeof *cycle);
  TRY(config_file_open(comm, path, &cycle->file));
  snprintf(cycle->folder, sizeof cycle->folder, "%s", path);
  char *slash = strrchr(cycle->folder, '/');
  if (slash)
    *slash = 0;
  else
    snprintf(cycle->folder, sizeof cycle->folder, ".");
  const struct config_node *root = config_root(cycle->file);
  check_top(cycle->file, root);
  read_states(cycle, root);
  enum status status = AGREE(comm, config_errors_told(cycle->file));
  if (status != STATUS_OK) cycle_close(cycle);
  return status;
}

void cycle_close(struct cycle *cycle) {
  config_file_close(&cycle->file);
  memset(cycle, 0, sizeof *cycle);
}

void cycle_path(const struct cycle *cycle, const char *name, char *path, size_t bytes) {
  if (name[0] == '/')
    snprintf(path, bytes, "%s", name);
  else
    snprintf(path, bytes, "%s/%s", cycle->folder, name);
}
