/* Rows of a sweep: lists and ranges of parameters, crossed or zipped. */
#include "campaign_sweep.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void sweep_free(struct sweep *sweep) {
  for (int i = 0; i < sweep->axes; i++) memory_free(sweep->axis[i].text);
  memory_free(sweep->shared);
  memset(sweep, 0, sizeof *sweep);
}

const char *sweep_text(const struct sweep *sweep, int64_t row, int axis) {
  if (sweep->zipped) return sweep->axis[axis].text[row];
  for (int i = sweep->axes - 1; i > axis; i--) row /= sweep->axis[i].n;
  return sweep->axis[axis].text[row % sweep->axis[axis].n];
}

static double number_at(const struct config_node *node, const char *key) {
  char *end;
  const char *text = config_scalar(config_get(node, key));
  double value     = text ? strtod(text, &end) : (double)NAN;
  return text && end != text && !*end ? value : (double)NAN;
}

/* {from, to, n[, scale: log]}. */
static bool read_range(const struct config_node *node, struct sweep_axis *axis) {
  double from = number_at(node, "from"), to = number_at(node, "to"), n = number_at(node, "n");
  const char *scale = config_scalar(config_get(node, "scale"));
  bool logarithmic  = scale && strcmp(scale, "log") == 0;
  if (!isfinite(from) || !isfinite(to) || !(n >= 1 && n <= SWEEP_VALUES_MOST) || n != floor(n))
    return false;
  if (logarithmic && !(from > 0 && to > 0)) return false;
  axis->n           = (int)n;
  axis->logarithmic = logarithmic;
  for (int i = 0; i < axis->n; i++) {
    double part  = axis->n > 1 ? (double)i / (axis->n - 1) : 0;
    double value = logarithmic ? from * pow(to / from, part) : from + part * (to - from);
    snprintf(axis->text[i], sizeof axis->text[i], "%.12g", value);
  }
  return true;
}

static bool read_list(const struct config_node *node, struct sweep_axis *axis) {
  if (config_count(node) < 1 || config_count(node) > SWEEP_VALUES_MOST) return false;
  for (int i = 0; i < config_count(node); i++) {
    const char *text = config_scalar(config_item(node, i));
    if (!text || strlen(text) >= sizeof axis->text[i] || strpbrk(text, "\t\n")) return false;
    snprintf(axis->text[axis->n++], sizeof axis->text[i], "%s", text);
  }
  return true;
}

/* Every value must be one that the parameter takes. */
static void check_values(struct config_file *file, const struct config_node *node,
                         const struct sweep_axis *axis) {
  const struct config_set *set = axis->stage->params;
  void *params;
  if (memory_make((int64_t)set->params_bytes, 1, "parameters", &params) != STATUS_OK) return;
  config_defaults(set, params);
  for (int i = 0; i < axis->n; i++) {
    if (config_assign(set, params, axis->name, axis->text[i], "") == STATUS_OK) continue;
    const struct config_node *value = config_item(node, i);
    config_error(file, config_kind(node) == CONFIG_SEQUENCE && value ? value : node, -1, "%s",
                 status_text());
    status_clear();
  }
  config_free(set, params);
  memory_free(params);
}

/* What a key that names no parameter would be. */
static void tell_key(const struct cycle *cycle, const struct config_node *block, int item,
                     const struct sweep_axis *axis) {
  const char *known[256], *nearest = NULL, *stage = axis->stage ? axis->stage->name : "";
  int n = 0;
  for (; axis->stage && n < axis->stage->params->rows && n < 256; n++)
    known[n] = axis->stage->params->row[n].name;
  if (n) nearest = config_nearest(axis->name, known, n);
  config_error(cycle->file, block, item, "'%.80s' is no parameter%s%s%s%s%s",
               config_key(block, item),
               nearest ? "; did you mean " : " (STAGE.PARAMETER is wanted)", nearest ? stage : "",
               nearest ? "." : "", nearest ? nearest : "", nearest ? "?" : "");
}

/* STAGE.PARAMETER, or STATE/STAGE.PARAMETER; false when there is no such thing, which is told. */
static bool read_key(const struct cycle *cycle, const struct config_node *block, int item,
                     struct sweep_axis *axis) {
  const char *key = config_key(block, item), *slash = strchr(key, '/');
  char stage[64];
  axis->state = -1;
  for (int i = 0; slash && i < cycle->states; i++)
    if (strlen(cycle->state[i].name) == (size_t)(slash - key) &&
        strncmp(cycle->state[i].name, key, (size_t)(slash - key)) == 0)
      axis->state = i;
  const char *rest = slash ? slash + 1 : key;
  snprintf(axis->key, sizeof axis->key, "%s", key);
  snprintf(stage, sizeof stage, "%.*s", (int)strcspn(rest, "."), rest);
  snprintf(axis->name, sizeof axis->name, "%s", strchr(rest, '.') ? strchr(rest, '.') + 1 : "");
  axis->stage = campaign_stage_find(stage);
  if (slash && axis->state < 0) {
    config_error(cycle->file, block, item, "'%.*s' is no state of this cycle", (int)(slash - key),
                 key);
    return false;
  }
  if (!axis->stage || !config_row_find(axis->stage->params, axis->name)) {
    tell_key(cycle, block, item, axis);
    return false;
  }
  if (slash && axis->stage->all_states)
    config_error(cycle->file, block, item, "%s works on all states together", stage);
  return !slash || !axis->stage->all_states;
}

static enum status read_axis(const struct cycle *cycle, const struct config_node *block, int item,
                             struct sweep *sweep) {
  const struct config_node *node = config_item(block, item);
  const char *key                = config_key(block, item);
  struct sweep_axis *axis        = &sweep->axis[sweep->axes];
  if (!read_key(cycle, block, item, axis)) return STATUS_OK;
  TRY(memory_make(SWEEP_VALUES_MOST, sizeof *axis->text, "values of a sweep", &axis->text));
  sweep->axes++;
  bool good = config_kind(node) == CONFIG_MAPPING ? read_range(node, axis) : read_list(node, axis);
  if (good)
    check_values(cycle->file, node, axis);
  else
    config_error(cycle->file, node, -1,
                 "%s would be a list of 1 to %d values or {from: A, to: B, n: N}", key,
                 SWEEP_VALUES_MOST);
  return STATUS_OK;
}

static void count_rows(const struct cycle *cycle, const struct config_node *block,
                       struct sweep *sweep) {
  sweep->rows = sweep->axes ? 1 : 0;
  for (int i = 0; i < sweep->axes; i++) {
    if (sweep->zipped && sweep->axis[i].n != sweep->axis[0].n)
      config_error(cycle->file, block, -1, "zipped: %s has %d values, %s has %d",
                   sweep->axis[0].key, sweep->axis[0].n, sweep->axis[i].key, sweep->axis[i].n);
    sweep->rows = sweep->zipped ? sweep->axis[i].n : sweep->rows * sweep->axis[i].n;
    if (sweep->rows > SWEEP_ROWS_MOST) {
      config_error(cycle->file, block, -1, "more than %d rows", SWEEP_ROWS_MOST);
      return;
    }
  }
  if (!sweep->axes) config_error(cycle->file, block, -1, "the sweep names no parameter");
}

/* A stage is shared when nothing swept stands in it or in what it needs; stages come in order. */
static void mark_shared(struct sweep *sweep) {
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  for (int i = 0; i < n; i++) {
    sweep->shared[i] = true;
    for (int a = 0; a < sweep->axes; a++) sweep->shared[i] &= sweep->axis[a].stage != stage[i];
    for (int k = 0; k < i; k++)
      if (!sweep->shared[k] && campaign_stage_needs(stage[i], stage[k])) sweep->shared[i] = false;
  }
}

static enum status read_block(const struct cycle *cycle, const struct config_node *block,
                              struct sweep *sweep) {
  for (int i = 0; i < config_count(block) && sweep->axes < SWEEP_AXES_MOST; i++) {
    const char *key = config_key(block, i), *how = config_scalar(config_item(block, i));
    if (strcmp(key, "how") != 0) {
      TRY(read_axis(cycle, block, i, sweep));
      continue;
    }
    sweep->zipped = how && strcmp(how, "zipped") == 0;
    if (!how || (!sweep->zipped && strcmp(how, "crossed") != 0))
      config_error(cycle->file, config_item(block, i), -1, "how would be crossed or zipped");
  }
  count_rows(cycle, block, sweep);
  return config_errors_told(cycle->file);
}

enum status sweep_read(const struct cycle *cycle, struct sweep *sweep) {
  const struct config_node *block = config_get(config_root(cycle->file), "sweep");
  int n;
  campaign_stages(&n);
  memset(sweep, 0, sizeof *sweep);
  if (config_kind(block) != CONFIG_MAPPING)
    return FAIL(STATUS_USAGE, "the cycle has no block 'sweep:' with STAGE.PARAMETER: [VALUES]");
  enum status status =
      memory_make(n + 1, sizeof *sweep->shared, "a list of stages", &sweep->shared);
  if (status == STATUS_OK) status = read_block(cycle, block, sweep);
  if (status == STATUS_OK)
    mark_shared(sweep);
  else
    sweep_free(sweep);
  return status;
}
