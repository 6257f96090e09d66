/* cycle.yaml: the sample, its states and their files, a block of parameters per stage. Everything in it is
 * checked before anything is done, and every mistake is told with its place, all at once. */
#include "campaign_inner.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const top_keys[]   = {"sample", "beam",   "roi",   "states",       "calibration",
                                         "sweep",  "common", "truth", "galvanostatic"};
static const char *const state_keys[] = {"name",      "percent", "step",    "tomogram", "compton",
                                         "impedance", "time_s",  "comment", "optional"};
static const char *const region_keys[] = {"region",  "z_um",   "frames",  "spectra", "exposure_s",
                                          "monitor", "live_s", "start_s", "comment"};
static const char *const calibration_keys[] = {"dark", "gain",   "offset",         "threshold",
                                               "disc", "source", "disc_exposure_s"};
static const char *const beam_keys[]        = {"energy_keV", "beam_deg", "polarisation"};
static const char *const roi_keys[]         = {"disc_mm", "interphase_um"};
#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))
enum { KEYS_MOST = 96 };

static bool is_known(const char *key, const char *const *known, int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(key, known[i]) == 0) return true;
  return false;
}

/* Unknown and repeated keys of a mapping, unknown ones with the nearest known. */
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

/* A mapping whose keys are known; nothing is well too. */
static void check_block(struct config_file *file, const struct config_node *parent, const char *key,
                        const char *const *known, int n) {
  const struct config_node *node = config_get(parent, key);
  if (!node) return;
  if (config_kind(node) != CONFIG_MAPPING)
    config_error(file, node, -1, "'%s' would be a block of keys", key);
  else
    check_keys(file, node, known, n);
}

static bool read_number(const struct config_node *node, double *value) {
  char *end;
  const char *text = config_scalar(node);
  *value           = text ? strtod(text, &end) : (double)NAN;
  return text && end != text && !*end && isfinite(*value);
}

static void check_number(struct config_file *file, const struct config_node *parent,
                         const char *key, double min, double max) {
  const struct config_node *node = config_get(parent, key);
  double value;
  if (!node || (read_number(node, &value) && value >= min && value <= max)) return;
  config_error(file, node, -1, "%s would be a number in %.10g..%.10g, not '%.60s'", key, min, max,
               config_scalar(node) ? config_scalar(node) : "a list or block");
}

/* One file name, or a list of them. */
static void check_names(struct config_file *file, const struct config_node *parent, const char *key,
                        bool many) {
  const struct config_node *node = config_get(parent, key);
  if (!node) return;
  bool list = config_kind(node) == CONFIG_SEQUENCE,
       good = list ? many : config_scalar(node) != NULL;
  for (int i = 0; list && good && i < config_count(node); i++) {
    const char *name = config_scalar(config_item(node, i));
    good             = name && *name;
  }
  if (!list && good) good = *config_scalar(node) != 0;
  if (!good)
    config_error(file, node, -1, "%s would be %s", key,
                 many ? "a file name or a list of file names" : "a file name");
}

static void check_stage_block(struct config_file *file, const struct config_node *root,
                              const struct stage *stage) {
  void *params; /* today's defaults stand in for what each unit will use */
  if (memory_make((int64_t)stage->params->params_bytes, 1, "parameters", &params) != STATUS_OK)
    return;
  if (config_defaults(stage->params, params) == STATUS_OK)
    config_assign_mapping(file, config_get(root, stage->name), stage->params, params);
  config_free(stage->params, params);
  memory_free(params);
}

static void check_top(struct config_file *file, const struct config_node *root) {
  const char *known[KEYS_MOST];
  int n                            = 0, stages;
  const struct stage *const *stage = campaign_stages(&stages);
  for (; n < COUNT(top_keys); n++) known[n] = top_keys[n];
  for (int i = 0; i < stages && n < KEYS_MOST; i++) known[n++] = stage[i]->name;
  check_keys(file, root, known, n);
  for (int i = 0; i < stages; i++) check_stage_block(file, root, stage[i]);
  check_block(file, root, "beam", beam_keys, COUNT(beam_keys));
  check_block(file, root, "roi", roi_keys, COUNT(roi_keys));
  check_block(file, root, "calibration", calibration_keys, COUNT(calibration_keys));
  check_number(file, config_get(root, "beam"), "energy_keV", 1, 1000);
  check_number(file, config_get(root, "beam"), "beam_deg", -360, 360);
  check_number(file, config_get(root, "roi"), "disc_mm", 0, 1000);
  check_names(file, root, "galvanostatic", true);
  for (int i = 0; i < 6; i++)
    check_names(file, config_get(root, "calibration"), calibration_keys[i], true);
}

static bool good_name(const char *name) {
  size_t n = strlen(name);
  if (n < 1 || n > 64 || name[0] == '.') return false;
  static const char *const taken[] = {"journal", "all", "shared", "rows"};
  return store_name_ok(name) && !is_known(name, taken, COUNT(taken));
}

static void check_region(struct config_file *file, const struct config_node *region) {
  if (config_kind(region) != CONFIG_MAPPING) {
    config_error(file, region, -1, "a region is a block of keys, with 'frames' or 'spectra'");
    return;
  }
  check_keys(file, region, region_keys, COUNT(region_keys));
  check_names(file, region, "frames", true);
  check_names(file, region, "spectra", true);
  if (!config_get(region, "frames") == !config_get(region, "spectra"))
    config_error(file, region, -1, "a region has either 'frames' or 'spectra'");
  check_number(file, region, "exposure_s", 1e-9, 1e9);
  check_number(file, region, "live_s", 1e-9, 1e9);
  check_number(file, region, "start_s", -1e12, 1e12);
  check_number(file, region, "monitor", 1e-300, 1e300);
  check_number(file, region, "z_um", -1e7, 1e7);
}

/* A stage of single states whose name is no other key of a state: a block there holds its parameters, while a
 * word there would be a product of the same name. */
static bool has_block(const struct stage *stage, const struct config_node *state) {
  return !stage->all_states && !is_known(stage->name, state_keys, COUNT(state_keys)) &&
         config_kind(config_get(state, stage->name)) == CONFIG_MAPPING;
}

const struct config_node *cycle_state_block(const struct cycle *cycle, int state,
                                            const struct stage *stage) {
  const struct config_node *node = cycle->state[state].node;
  return has_block(stage, node) ? config_get(node, stage->name) : NULL;
}

/* Products that a state brings, and parameters of its own. */
static void check_made(struct config_file *file, const struct config_node *node) {
  int products, stages;
  const struct store_product *product = store_product_list(&products);
  const struct stage *const *stage    = campaign_stages(&stages);
  for (int i = 0; i < products; i++) {
    const struct stage *same = campaign_stage_find(product[i].name);
    if (!same || !has_block(same, node)) check_names(file, node, product[i].name, false);
  }
  for (int i = 0; i < stages; i++) {
    const struct config_node *own = config_get(node, stage[i]->name);
    bool other                    = store_product_find(stage[i]->name) ||
                 is_known(stage[i]->name, state_keys, COUNT(state_keys));
    if (has_block(stage[i], node))
      check_stage_block(file, node, stage[i]);
    else if (own && !other)
      config_error(file, own, -1,
                   stage[i]->all_states
                       ? "%s works on all states together: its block stands outside 'states'"
                       : "'%s' would be a block of parameters for this state",
                   stage[i]->name);
  }
}

static void check_state(struct config_file *file, const struct config_node *node) {
  const char *known[KEYS_MOST];
  int n = 0, products, stages;
  for (; n < COUNT(state_keys); n++) known[n] = state_keys[n];
  const struct store_product *product = store_product_list(&products);
  const struct stage *const *stage    = campaign_stages(&stages);
  for (int i = 0; i < products && n < KEYS_MOST; i++) known[n++] = product[i].name;
  for (int i = 0; i < stages && n < KEYS_MOST; i++) known[n++] = stage[i]->name;
  check_keys(file, node, known, n);
  check_made(file, node);
  check_names(file, node, "tomogram", false);
  check_names(file, node, "impedance", false);
  check_number(file, node, "percent", 0, 100);
  check_number(file, node, "time_s", -1e12, 1e12);
  const char *step = config_scalar(config_get(node, "step"));
  if (config_get(node, "step") &&
      (!step || (strcmp(step, "charge") != 0 && strcmp(step, "discharge") != 0)))
    config_error(file, config_get(node, "step"), -1, "step would be charge or discharge");
  const struct config_node *regions = config_get(node, "compton");
  if (regions && config_kind(regions) != CONFIG_SEQUENCE)
    config_error(file, regions, -1, "'compton' would be a list of regions");
  else
    for (int i = 0; i < config_count(regions); i++) check_region(file, config_item(regions, i));
}

static void read_state(struct cycle *cycle, const struct config_node *node, int at) {
  struct config_file *file = cycle->file;
  if (config_kind(node) != CONFIG_MAPPING) {
    config_error(file, node, -1, "a state is a block of keys, with 'name' among them");
    return;
  }
  check_state(file, node);
  struct cycle_state *state      = &cycle->state[at];
  const struct config_node *name = config_get(node, "name");
  const char *text = config_scalar(name), *step = config_scalar(config_get(node, "step"));
  state->node = node;
  if (!read_number(config_get(node, "percent"), &state->percent)) state->percent = (double)NAN;
  snprintf(state->step, sizeof state->step, "%s", step ? step : "");
  if (!name)
    config_error(file, node, -1, "the state has no name");
  else if (!text || !good_name(text))
    config_error(file, name, -1,
                 "a state's name is 1 to 64 of A-Z a-z 0-9 . _ - (no dot first; not all, journal, "
                 "rows, shared), not '%.80s'",
                 text ? text : "");
  else
    snprintf(state->name, sizeof state->name, "%s", text);
  for (int i = 0; i < at; i++)
    if (text && strcmp(cycle->state[i].name, text) == 0)
      config_error(file, name, -1, "the state '%.80s' is there twice", text);
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
  if (config_kind(root) == CONFIG_MAPPING) {
    check_top(cycle->file, root);
    read_states(cycle, root);
  } else
    config_error(cycle->file, root, -1, "a cycle is a block of keys, with 'states' among them");
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

/* ---- the files that a cycle names --------------------------------------------------------------------------- */

struct seer {
  void *context;
  void (*see)(void *context, const char *name, const struct config_node *node);
};

static void see_files(const struct seer *seer, const struct config_node *parent, const char *key) {
  const struct config_node *node = config_get(parent, key);
  if (config_scalar(node)) seer->see(seer->context, config_scalar(node), node);
  for (int i = 0; config_kind(node) == CONFIG_SEQUENCE && i < config_count(node); i++)
    seer->see(seer->context, config_scalar(config_item(node, i)), config_item(node, i));
}

static void see_state(const struct seer *seer, const struct config_node *state) {
  int products;
  const struct store_product *product = store_product_list(&products);
  const struct config_node *regions   = config_get(state, "compton");
  see_files(seer, state, "tomogram");
  see_files(seer, state, "impedance");
  for (int i = 0; i < products; i++) see_files(seer, state, product[i].name);
  for (int i = 0; i < config_count(regions); i++) {
    see_files(seer, config_item(regions, i), "frames");
    see_files(seer, config_item(regions, i), "spectra");
  }
}

void cycle_files(const struct cycle *cycle, void *context,
                 void (*see)(void *context, const char *name, const struct config_node *node)) {
  const struct seer seer         = {context, see};
  const struct config_node *root = config_root(cycle->file);
  see_files(&seer, root, "galvanostatic");
  for (int i = 0; i < 5; i++)
    see_files(&seer, config_get(root, "calibration"), calibration_keys[i]);
  for (int i = 0; i < cycle->states; i++) see_state(&seer, cycle->state[i].node);
}
