/* What a unit works with: parameters (the file's block, the keys its state and the cycle give it, a
 * sweep's values), the files that hold its products, and the record of all of it. What is looked up on
 * disk is looked up on rank 0, so that no rank sees another answer. */
#include "campaign_inner.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXTRAS_MOST = 32 };
/* Products of one state that do not lie in its own folder. */
struct work_extras {
  const char *name[EXTRAS_MOST], *file[EXTRAS_MOST];
  char room[EXTRAS_MOST][STORE_NAME_BYTES];
  int n;
};

void work_free(const struct unit *unit, struct work *work) {
  if (work->params) config_free(unit->stage->params, work->params);
  memory_free(work->params);
  memory_free(work->states);
  memory_free(work->state_folder);
  memory_free(work->extras);
  memory_free(work->record);
}

/* ---- files and values of the cycle become parameters of the stages that have them ------------------- */

static enum status give_files(const struct campaign *c, const struct unit *unit, struct work *work,
                              const char *key, const struct config_node *files) {
  const struct config_set *set = unit->stage->params;
  if (!files || !config_row_find(set, key)) return STATUS_OK;
  bool list = config_kind(files) == CONFIG_SEQUENCE;
  int n     = list ? config_count(files) : 1;
  for (int i = 0; i < n; i++) {
    const char *name = config_scalar(list ? config_item(files, i) : files);
    char path[STORE_NAME_BYTES];
    if (!name) continue;
    cycle_path(c->cycle, name, path, sizeof path);
    TRY(config_assign(set, work->params, key, path, ""));
  }
  return STATUS_OK;
}

/* The values of one key over the items of a list, joined by commas, as parameter `name`. */
static enum status give_list(const struct unit *unit, struct work *work,
                             const struct config_node *list, const char *key, const char *name) {
  char text[CONFIG_TEXT_BYTES] = "";
  bool any                     = false;
  if (!config_row_find(unit->stage->params, name)) return STATUS_OK;
  for (int i = 0; i < config_count(list); i++) {
    const char *value = config_scalar(config_get(config_item(list, i), key));
    size_t used       = strlen(text);
    any |= value != NULL;
    snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", value ? value : "-");
  }
  return any ? config_assign(unit->stage->params, work->params, name, text, "") : STATUS_OK;
}

/* How many files of a key each item of a list has. */
static enum status give_counts(const struct unit *unit, struct work *work,
                               const struct config_node *list, const char *key, const char *name) {
  char counts[CONFIG_TEXT_BYTES] = "";
  if (!config_row_find(unit->stage->params, name)) return STATUS_OK;
  for (int i = 0; i < config_count(list); i++) {
    const struct config_node *files = config_get(config_item(list, i), key);
    bool many                       = config_kind(files) == CONFIG_SEQUENCE;
    size_t used                     = strlen(counts);
    snprintf(counts + used, sizeof counts - used, "%s%d", i ? "," : "",
             many ? config_count(files) : files != NULL);
  }
  return counts[0] ? config_assign(unit->stage->params, work->params, name, counts, "") : STATUS_OK;
}

/* What the compton list of a state says, one word per region. */
static enum status give_compton(const struct campaign *c, const struct unit *unit,
                                struct work *work) {
  static const char *const lists[][2] = {
      {"region",     "regions"    },
      {"exposure_s", "exposures_s"},
      {"z_um",       "heights_um" },
      {"monitor",    "monitors"   },
      {"live_s",     "lives_s"    },
      {"start_s",    "starts_s"   }
  };
  const struct config_node *list = config_get(c->cycle->state[unit->state].node, "compton");
  for (int i = 0; i < config_count(list); i++) {
    TRY(give_files(c, unit, work, "frames", config_get(config_item(list, i), "frames")));
    TRY(give_files(c, unit, work, "spectra", config_get(config_item(list, i), "spectra")));
  }
  for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
    TRY(give_list(unit, work, list, lists[k][0], lists[k][1]));
  TRY(give_counts(unit, work, list, "frames", "files_per_region"));
  return give_counts(unit, work, list, "spectra", "spectra_per_region");
}

/* Heights of the slabs of all states: a list per state between semicolons, one list when all are the same. */
static enum status give_heights(const struct campaign *c, const struct unit *unit,
                                struct work *work) {
  char all[CONFIG_TEXT_BYTES] = "", first[CONFIG_TEXT_BYTES] = "";
  bool same = true, fits = true;
  if (!config_row_find(unit->stage->params, "heights_um")) return STATUS_OK;
  for (int i = 0; i < c->cycle->states; i++) {
    const struct config_node *list = config_get(c->cycle->state[i].node, "compton");
    char one[CONFIG_TEXT_BYTES]    = "";
    for (int r = 0; r < config_count(list); r++) {
      const char *value = config_scalar(config_get(config_item(list, r), "z_um"));
      size_t used       = strlen(one);
      snprintf(one + used, sizeof one - used, "%s%s", r ? "," : "", value ? value : "-");
    }
    size_t used = strlen(all);
    fits &= used + strlen(one) + 2 < sizeof all;
    snprintf(all + used, sizeof all - used, "%s%.1000s", i ? ";" : "", one);
    if (one[0] && !first[0]) memcpy(first, one, sizeof first);
    same &= !one[0] || strcmp(one, first) == 0;
  }
  if (!first[0]) return STATUS_OK;
  if (!same && !fits)
    return FAIL(STATUS_USAGE, "the heights z_um of all states take more than %d letters",
                CONFIG_TEXT_BYTES);
  return config_assign(unit->stage->params, work->params, "heights_um", same ? first : all, "");
}

/* All-state stages get one word per state of what the states say. */
static enum status give_states(const struct campaign *c, const struct unit *unit,
                               struct work *work) {
  const struct config_set *set   = unit->stage->params;
  const struct config_node *root = config_root(c->cycle->file), *table = config_get(root, "states");
  if (config_row_find(set, "impedance"))
    for (int i = 0; i < c->cycle->states; i++) {
      const struct config_node *file = config_get(c->cycle->state[i].node, "impedance");
      if (file)
        TRY(give_files(c, unit, work, "impedance", file));
      else
        TRY(config_assign(set, work->params, "impedance", "-", ""));
    }
  TRY(give_files(c, unit, work, "galvanostatic", config_get(root, "galvanostatic")));
  if (config_get(root, "galvanostatic")) TRY(give_list(unit, work, table, "time_s", "state_times"));
  TRY(give_heights(c, unit, work));
  TRY(give_list(unit, work, table, "percent", "percents"));
  return give_list(unit, work, table, "step", "steps");
}

/* Values of the blocks `beam` and `roi` go to parameters of the same name in lower case. */
static enum status give_block(const struct campaign *c, const struct unit *unit, struct work *work,
                              const char *block) {
  const struct config_node *node = config_get(config_root(c->cycle->file), block);
  for (int i = 0; i < config_count(node); i++) {
    char name[64], text[256] = "";
    snprintf(name, sizeof name, "%s", config_key(node, i));
    for (char *letter = name; *letter; letter++) *letter = (char)tolower((unsigned char)*letter);
    const struct config_row *row    = config_row_find(unit->stage->params, name);
    const struct config_node *value = config_item(node, i);
    if (!row) continue;
    /* a list goes to what takes a list: a range A:B of the same name is the stage's own choice */
    if (config_kind(value) == CONFIG_SEQUENCE && !strchr(row->syntax, ',')) continue;
    if (config_scalar(value)) snprintf(text, sizeof text, "%s", config_scalar(value));
    for (int k = 0; k < config_count(value); k++) {
      size_t used      = strlen(text);
      const char *word = config_scalar(config_item(value, k));
      snprintf(text + used, sizeof text - used, "%s%s", k ? "," : "", word ? word : "");
    }
    TRY(config_assign(unit->stage->params, work->params, name, text, block));
  }
  return STATUS_OK;
}

enum status work_params(const struct campaign *c, const struct unit *unit, struct work *work) {
  const struct config_set *set          = unit->stage->params;
  const struct config_node *root        = config_root(c->cycle->file);
  const struct config_node *calibration = config_get(root, "calibration");
  TRY(memory_make((int64_t)set->params_bytes, 1, "parameters", &work->params));
  TRY(config_defaults(set, work->params));
  TRY(give_block(c, unit, work, "beam"));
  TRY(give_block(c, unit, work, "roi"));
  /* of the Compton camera alone: other stages have a `disc` of their own */
  for (int i = 0; i < config_count(calibration) && strcmp(set->stage, "compton") == 0; i++) {
    const char *key              = config_key(calibration, i);
    const struct config_row *row = config_row_find(set, key);
    if (row && row->type == CONFIG_REAL)
      TRY(config_assign(set, work->params, key, config_scalar(config_item(calibration, i)), ""));
    else
      TRY(give_files(c, unit, work, key, config_item(calibration, i)));
  }
  if (unit->state >= 0)
    TRY(give_compton(c, unit, work));
  else
    TRY(give_states(c, unit, work));
  config_assign_mapping(c->cycle->file, config_get(root, unit->stage->name), set, work->params);
  if (unit->state >= 0)
    config_assign_mapping(c->cycle->file, cycle_state_block(c->cycle, unit->state, unit->stage),
                          set, work->params);
  for (int i = 0; i < c->values; i++)
    if (c->value[i].stage == unit->stage &&
        (c->value[i].state < 0 || c->value[i].state == unit->state))
      TRY(config_assign(set, work->params, c->value[i].name, c->value[i].text, "sweep"));
  return STATUS_OK;
}

/* ---- folders and products ------------------------------------------------------------------------------ */

static void add_extra(struct work_extras *extras, const char *product, const char *format,
                      const char *a, const char *b) {
  if (extras->n == EXTRAS_MOST) return;
  snprintf(extras->room[extras->n], STORE_NAME_BYTES, format, a, b);
  extras->file[extras->n]   = extras->room[extras->n];
  extras->name[extras->n++] = product;
}

/* Products that the state's own block names: from elsewhere, entering in the middle. */
static void add_given(const struct campaign *c, int state, struct work_extras *extras) {
  int n;
  const struct store_product *product = store_product_list(&n);
  for (int i = 0; i < n; i++) {
    const char *name = config_scalar(config_get(c->cycle->state[state].node, product[i].name));
    char path[STORE_NAME_BYTES];
    if (!name) continue;
    cycle_path(c->cycle, name, path, sizeof path);
    add_extra(extras, product[i].name, "%s%s", path, "");
  }
}

static bool is_in_list(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == n && strncmp(at, word, n) == 0) return true;
  return false;
}

/* A row of a sweep finds what the shared stages made in the folder that all rows share. */
static void add_shared(const struct campaign *c, int state, struct work_extras *extras) {
  int n, stages;
  const struct store_product *product = store_product_list(&n);
  const struct stage *const *stage    = campaign_stages(&stages);
  char folder[STORE_NAME_BYTES], text[STORE_NAME_BYTES];
  snprintf(folder, sizeof folder, "%.1900s/%s", c->base, c->cycle->state[state].name);
  struct stage_bundle bundle = {.input = "", .folder = folder};
  for (int s = 0; s < stages; s++)
    for (int i = 0; i < n; i++)
      if (c->stage_is_shared[s] && is_in_list(stage[s]->writes, product[i].name) &&
          stage_bundle_find(&bundle, product[i].name, false, text, sizeof text))
        add_extra(extras, product[i].name, "%s%s", text, "");
}

static enum status make_bundles(const struct campaign *c, const struct unit *unit,
                                struct work *work) {
  TRY(memory_make(c->cycle->states, sizeof *work->states, "bundles", &work->states));
  TRY(memory_make(c->cycle->states, sizeof *work->state_folder, "bundles", &work->state_folder));
  TRY(memory_make(c->cycle->states, sizeof *work->extras, "bundles", &work->extras));
  for (int i = 0; i < c->cycle->states; i++) {
    struct work_extras *extras = &work->extras[i];
    snprintf(work->state_folder[i], STORE_NAME_BYTES, "%.1900s/%s", c->folder,
             c->cycle->state[i].name);
    add_given(c, i, extras);
    if (c->base) add_shared(c, i, extras);
    work->states[i] = (struct stage_bundle){.input      = "",
                                            .folder     = work->state_folder[i],
                                            .state      = c->cycle->state[i].name,
                                            .extra_name = extras->name,
                                            .extra_file = extras->file,
                                            .extras     = extras->n};
  }
  if (unit->state >= 0)
    work->bundle = work->states[unit->state];
  else
    work->bundle = (struct stage_bundle){
        .input = "", .folder = c->folder, .states = work->states, .states_n = c->cycle->states};
  snprintf(work->folder, sizeof work->folder, "%s",
           unit->state >= 0 ? work->state_folder[unit->state] : c->folder);
  snprintf(work->output, sizeof work->output, "%.1900s/%s.h5", work->folder, unit->stage->name);
  work->bundle.input = work->input;
  return STATUS_OK;
}

/* ---- is there anything to work on? ------------------------------------------------------------------------ */

static bool state_has(const struct campaign *c, int state, const char *key) {
  return config_kind(config_get(c->cycle->state[state].node, key)) != CONFIG_NONE;
}

static bool has_raw(const struct campaign *c, struct unit *unit, struct work *work) {
  const char *name = unit->stage->name, *why = NULL;
  if (strcmp(name, "recon") == 0) {
    const char *file = config_scalar(config_get(c->cycle->state[unit->state].node, "tomogram"));
    if (file)
      cycle_path(c->cycle, file, work->input, sizeof work->input);
    else
      why = "the state has no tomogram";
  }
  if (strcmp(name, "compton") == 0 && !state_has(c, unit->state, "compton"))
    why = "the state has no compton acquisition";
  if (strcmp(name, "echem") == 0) {
    bool has = config_get(config_root(c->cycle->file), "galvanostatic") != NULL;
    for (int i = 0; i < c->cycle->states; i++) has |= state_has(c, i, "impedance");
    if (!has) why = "no state has electrochemical data";
  }
  if (why) snprintf(unit->why, sizeof unit->why, "%s", why);
  return !why;
}

/* A stage whose products a state brings itself has nothing to make there. */
static bool is_given(const struct campaign *c, struct unit *unit) {
  const char *at = unit->stage->writes;
  for (; unit->state >= 0 && *at; at += strcspn(at, ","), at += *at == ',') {
    char product[64];
    snprintf(product, sizeof product, "%.*s", (int)strcspn(at, ","), at);
    if (!config_scalar(config_get(c->cycle->state[unit->state].node, product))) continue;
    snprintf(unit->why, sizeof unit->why, "the state brings its %s", product);
    return true;
  }
  return false;
}

static bool is_raw_stage(const struct stage *stage) {
  return strcmp(stage->name, "recon") == 0 || strcmp(stage->name, "compton") == 0 ||
         strcmp(stage->name, "echem") == 0;
}

/* Rank 0's list of the files that hold what the stage reads: `path` of each product and state, "" where
 * there is none. A stage that reads volumes takes the aligned ones where they are. */
struct found {
  char (*path)[STORE_NAME_BYTES];
  int n, of_main; /* how many of the first product there are */
};

static void find_here(const struct unit *unit, const struct work *work, int states,
                      struct found *found) {
  char reads[256];
  bool aligned =
      is_in_list(unit->stage->reads, "volume") && strcmp(unit->stage->name, "align") != 0;
  snprintf(reads, sizeof reads, "%s%s", unit->stage->reads, aligned ? ",aligned" : "");
  int last = unit->state < 0 ? states : 1;
  for (const char *at = reads; *at; at += strcspn(at, ","), at += *at == ',') {
    char product[64];
    snprintf(product, sizeof product, "%.*s", (int)strcspn(at, ","), at);
    for (int i = 0; i < last; i++) {
      const struct stage_bundle *bundle = unit->state < 0 ? &work->states[i] : &work->bundle;
      char *to                          = found->path[found->n];
      if (!stage_bundle_find(bundle, product, false, to, STORE_NAME_BYTES)) continue;
      found->n++;
      found->of_main += at == reads;
    }
  }
}

static enum status find_inputs(const struct campaign *c, const struct unit *unit,
                               const struct work *work, struct found *found) {
  int products;
  store_product_list(&products);
  memset(found, 0, sizeof *found);
  int64_t most = (int64_t)(products + 2) * c->cycle->states;
  TRY_ALL(c->comm, memory_make(most, sizeof *found->path, "names of inputs", &found->path));
  if (log_is_speaker()) find_here(unit, work, c->cycle->states, found);
  MPI_Bcast(&found->n, 1, MPI_INT, 0, c->comm);
  MPI_Bcast(&found->of_main, 1, MPI_INT, 0, c->comm);
  MPI_Bcast(found->path, found->n * STORE_NAME_BYTES, MPI_CHAR, 0, c->comm);
  return STATUS_OK;
}

static enum status make_record(const struct campaign *c, const struct unit *unit, struct work *work,
                               const struct found *found) {
  const char *const home[2] = {c->home, c->cycle->folder};
  const char **inputs       = NULL;
  TRY_ALL(c->comm, memory_make(found->n + 1, sizeof *inputs, "names of inputs", &inputs));
  for (int i = 0; i < found->n; i++) inputs[i] = found->path[i];
  inputs[found->n]   = work->input;
  enum status status = stage_record_make(c->comm, unit->stage->params, work->params, inputs,
                                         found->n + 1, home, &work->record);
  memory_free(inputs);
  return status;
}

/* A stage that cannot work on its defaults, and about which the cycle says nothing, is left out. */
static bool is_unsaid(const struct campaign *c, struct unit *unit, const struct work *work) {
  const struct stage *stage = unit->stage;
  bool said = config_count(config_get(config_root(c->cycle->file), stage->name)) > 0 ||
              (unit->state >= 0 && cycle_state_block(c->cycle, unit->state, stage));
  for (int i = 0; i < c->values; i++) said |= c->value[i].stage == stage;
  if (said || !stage->check || stage->check(work->params, c->common) == STATUS_OK) return false;
  snprintf(unit->why, sizeof unit->why, "the cycle says nothing about it: %.400s", status_text());
  status_clear();
  return true;
}

bool work_is_wanted(const struct campaign *c, struct unit *unit, struct work *work) {
  return !is_given(c, unit) && has_raw(c, unit, work) && !is_unsaid(c, unit, work);
}

enum status work_make(const struct campaign *c, struct unit *unit, struct work *work, bool *ready) {
  struct found found;
  *ready = false;
  TRY_ALL(c->comm, work_params(c, unit, work));
  TRY_ALL(c->comm, make_bundles(c, unit, work));
  if (!work_is_wanted(c, unit, work)) return STATUS_OK;
  TRY(find_inputs(c, unit, work, &found));
  *ready = is_raw_stage(unit->stage) || !unit->stage->reads[0] || found.of_main > 0;
  if (!*ready)
    snprintf(unit->why, sizeof unit->why, "no %.*s to work on",
             (int)strcspn(unit->stage->reads, ","), unit->stage->reads);
  enum status status = *ready ? make_record(c, unit, work, &found) : STATUS_OK;
  memory_free(found.path);
  return status;
}
