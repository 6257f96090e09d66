/* Reading of a command line: words become options of the command's table or of the common one. */
#include "app.h"
#include <string.h>

static const struct config_row *row_of(const struct app_call *call, const char *name,
                                       const struct config_set **set, void **params) {
  const struct config_row *row = config_row_find(call->set, name);
  *set                         = call->set;
  *params                      = call->params;
  if (row) return row;
  *set    = &stage_common_set;
  *params = (void *)(uintptr_t)&call->common;
  return config_row_find(&stage_common_set, name);
}

/* The option's name with _ for -, without its leading dashes; *value points behind '=' or is NULL. */
static void name_of(const char *word, char *name, size_t bytes, const char **value) {
  snprintf(name, bytes, "%s", word + 2);
  char *equals = strchr(name, '=');
  *value       = equals ? strchr(word, '=') + 1 : NULL;
  if (equals) *equals = 0;
  for (char *c = name; *c; c++)
    if (*c == '-') *c = '_';
}

static bool is_option(const char *word) { return word[0] == '-' && word[1] == '-' && word[2]; }

static enum status unknown(const struct app_call *call, const char *word, const char *name) {
  const char *known[256];
  int n                            = 0;
  const struct config_set *sets[2] = {call->set, &stage_common_set};
  for (int s = 0; s < 2; s++)
    for (int i = 0; i < sets[s]->rows && n < 256; i++) known[n++] = sets[s]->row[i].name;
  const char *nearest = config_nearest(name, known, n);
  char hint[96]       = "";
  if (nearest) snprintf(hint, sizeof hint, "; did you mean --%s?", nearest);
  for (char *c = hint; *c; c++)
    if (*c == '_') *c = '-';
  return FAIL(STATUS_USAGE, "%s has no option %s%s", call->set->stage, word, hint);
}

/* Assigns one option; *used words after it are eaten. */
static enum status assign(struct app_call *call, int argc, char **argv, int *used) {
  char name[128];
  const char *value;
  const struct config_set *set;
  void *params;
  name_of(argv[0], name, sizeof name, &value);
  const struct config_row *row = row_of(call, name, &set, &params);
  *used                        = 0;
  if (!row) return unknown(call, argv[0], name);
  if (value) return config_assign(set, params, name, value, argv[0]);
  bool has_word = argc > 1 && !is_option(argv[1]);
  if (row->type == CONFIG_FLAG) {
    bool said = has_word && (strcmp(argv[1], "yes") == 0 || strcmp(argv[1], "no") == 0);
    *used     = said;
    return config_assign(set, params, name, said ? argv[1] : "yes", argv[0]);
  }
  if (!has_word)
    return FAIL(STATUS_USAGE, "%s needs a value: %s %s", argv[0], argv[0], row->syntax);
  do {
    TRY(config_assign(set, params, name, argv[1 + *used], argv[0]));
    ++*used;
  } while (row->type == CONFIG_FILES && 1 + *used < argc && !is_option(argv[1 + *used]));
  return STATUS_OK;
}

static enum status read_words(struct app_call *call, bool takes_operand, int argc, char **argv) {
  for (int i = 0, used; i < argc; i += 1 + used) {
    used = 0;
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      call->help = true;
    else if (is_option(argv[i]))
      TRY(assign(call, argc - i, argv + i, &used));
    else if (takes_operand && !call->operand[0])
      snprintf(call->operand, sizeof call->operand, "%s", argv[i]);
    else
      return FAIL(STATUS_USAGE, "%s: the word '%s' belongs to no option", call->set->stage,
                  argv[i]);
  }
  return STATUS_OK;
}

/* The --config file, whose word must be known before the other options are laid over it. */
static const char *config_word(int argc, char **argv) {
  for (int i = 0; i < argc; i++) {
    if (strncmp(argv[i], "--config=", 9) == 0) return argv[i] + 9;
    if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) return argv[i + 1];
  }
  return NULL;
}

static enum status read_file(MPI_Comm comm, const char *path, struct app_call *call) {
  struct config_file *file;
  TRY(config_file_open(comm, path, &file));
  const struct config_node *root = config_root(file);
  config_assign_mapping(file, config_get(root, call->set->stage), call->set, call->params);
  config_assign_mapping(file, config_get(root, "common"), &stage_common_set, &call->common);
  enum status status = config_errors_told(file);
  config_file_close(&file);
  return AGREE(comm, status);
}

static enum status make_params(const struct config_set *set, struct app_call *call) {
  memset(call, 0, sizeof *call);
  call->set = set;
  TRY(config_defaults(&stage_common_set, &call->common));
  TRY(memory_make((int64_t)set->params_bytes, 1, "parameters", &call->params));
  return config_defaults(set, call->params);
}

enum status app_call_parse(MPI_Comm comm, const struct config_set *set, bool takes_operand,
                           int argc, char **argv, struct app_call *call) {
  TRY_ALL(comm, make_params(set, call));
  const char *path = config_word(argc, argv);
  if (path) TRY(read_file(comm, path, call));
  return AGREE(comm, read_words(call, takes_operand, argc, argv));
}

void app_call_free(struct app_call *call) {
  if (call->set && call->params) config_free(call->set, call->params);
  memory_free(call->params);
  memset(call, 0, sizeof *call);
}
