/* YAML files: libfyaml parses, a tree of our own keeps what is needed with its places. Aliases are followed, with
 * the number and depth of nodes bounded, so that a small hostile file cannot grow without end. */
#include "config.h"
#include <libfyaml.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
  FILE_MOST_BYTES = 1 << 20,
  NODES_MOST      = 100000,
  DEPTH_MOST      = 32,
  ERRORS_BYTES    = 12000,
  ERRORS_MOST     = 30
};

struct config_node {
  struct config_file *file;
  enum config_kind kind;
  char *text;       /* of a scalar */
  int line, column; /* from 1 */
  int items;
  struct config_item {
    char *key;
    int line, column;
    struct config_node *value;
  } * item;
};

struct config_file {
  char *name, *bytes;
  int64_t n;
  int nodes;
  struct config_node *root;
  char errors[ERRORS_BYTES]; /* one after the other, each with a 0 byte */
  int error_count, error_bytes, errors_kept;
  struct config_place {
    int line, column, at;
  } error[ERRORS_MOST];
};

/* ---- building the tree ------------------------------------------------------------------------------ */

static enum status copy_text(const char *from, size_t n, char **to) {
  TRY(memory_make((int64_t)n + 1, 1, "a text of a YAML file", to));
  memcpy(*to, from, n);
  return STATUS_OK;
}

static void mark_of(struct fy_token *token, int *line, int *column) {
  const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
  if (!mark) return;
  *line   = mark->line + 1;
  *column = mark->column + 1;
}

static enum status build(struct config_file *file, struct fy_document *document,
                         struct fy_node *from, int depth, struct config_node **made);

static enum status build_scalar(struct fy_node *from, struct config_node *node) {
  size_t n         = 0;
  const char *text = fy_node_get_scalar(from, &n);
  node->kind       = CONFIG_SCALAR;
  mark_of(fy_node_get_scalar_token(from), &node->line, &node->column);
  return copy_text(text ? text : "", text ? n : 0, &node->text);
}

static enum status build_sequence(struct fy_document *document, struct fy_node *from, int depth,
                                  struct config_node *node) {
  node->kind = CONFIG_SEQUENCE;
  int n      = fy_node_sequence_item_count(from);
  TRY(memory_make(n, sizeof *node->item, "a YAML sequence", &node->item));
  void *state = NULL;
  struct fy_node *item;
  while (node->items < n && (item = fy_node_sequence_iterate(from, &state))) {
    struct config_item *to = &node->item[node->items++];
    TRY(build(node->file, document, item, depth + 1, &to->value));
    to->line = to->value->line, to->column = to->value->column;
  }
  return STATUS_OK;
}

static enum status build_mapping(struct fy_document *document, struct fy_node *from, int depth,
                                 struct config_node *node) {
  node->kind = CONFIG_MAPPING;
  int n      = fy_node_mapping_item_count(from);
  TRY(memory_make(n, sizeof *node->item, "a YAML mapping", &node->item));
  void *state = NULL;
  struct fy_node_pair *pair;
  while (node->items < n && (pair = fy_node_mapping_iterate(from, &state))) {
    struct config_item *to = &node->item[node->items++];
    struct fy_node *key    = fy_node_pair_key(pair);
    size_t length          = 0;
    const char *text = key && fy_node_is_scalar(key) ? fy_node_get_scalar(key, &length) : NULL;
    if (!text) return FAIL(STATUS_USAGE, "%s: a key that is no plain word", node->file->name);
    mark_of(fy_node_get_scalar_token(key), &to->line, &to->column);
    TRY(copy_text(text, length, &to->key));
    TRY(build(node->file, document, fy_node_pair_value(pair), depth + 1, &to->value));
    if (to->value->kind != CONFIG_SCALAR && !to->value->items) /* nothing inside: the key's place */
      to->value->line = to->line, to->value->column = to->column;
  }
  return STATUS_OK;
}

static enum status build(struct config_file *file, struct fy_document *document,
                         struct fy_node *from, int depth, struct config_node **made) {
  if (++file->nodes > NODES_MOST)
    return FAIL(STATUS_USAGE, "%s: more than %d values (counting aliases)", file->name, NODES_MOST);
  if (depth > DEPTH_MOST)
    return FAIL(STATUS_USAGE, "%s: nested more than %d deep (or an alias of itself)", file->name,
                DEPTH_MOST);
  TRY(memory_make(1, sizeof **made, "a YAML node", made));
  struct config_node *node = *made;
  *node = (struct config_node){.file = file, .kind = CONFIG_NONE, .line = 1, .column = 1};
  if (from && fy_node_is_alias(from)) {
    struct fy_node *target = fy_node_resolve_alias(from);
    size_t length          = 0;
    const char *name       = fy_node_get_scalar(from, &length);
    if (!target) {
      int line = 1, column = 1;
      mark_of(fy_node_get_scalar_token(from), &line, &column);
      return FAIL(STATUS_USAGE, "%s:%d:%d: no anchor of the alias *%.*s", file->name, line, column,
                  (int)length, name);
    }
    from = target;
  }
  if (!from) return STATUS_OK;
  if (fy_node_is_sequence(from))
    TRY(build_sequence(document, from, depth, node));
  else if (fy_node_is_mapping(from))
    TRY(build_mapping(document, from, depth, node));
  else
    return build_scalar(from, node);
  if (node->items) node->line = node->item[0].line, node->column = node->item[0].column;
  return STATUS_OK;
}

static void node_free(struct config_node *node) {
  if (!node) return;
  for (int i = 0; i < node->items; i++) {
    memory_free(node->item[i].key);
    node_free(node->item[i].value);
  }
  memory_free(node->item);
  memory_free(node->text);
  memory_free(node);
}

/* ---- messages --------------------------------------------------------------------------------------- */

/* The bytes of a line, without its end. */
static const char *line_of(const struct config_file *file, int line, int *n) {
  const char *at = file->bytes, *end = file->bytes + file->n;
  for (int i = 1; i < line && at < end; i++) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    at               = stop ? stop + 1 : end;
  }
  const char *stop = memchr(at, '\n', (size_t)(end - at));
  *n               = (int)((stop ? stop : end) - at);
  return at;
}

/* Adds "file:line:col: words", the line and a caret under its column to what will be told. */
static void add_error(struct config_file *file, int line, int column, const char *words) {
  int n, used = file->error_bytes;
  const char *source = line_of(file, line, &n);
  if (n > 160) n = 160;
  int room = used + n + (int)strlen(words) + (int)strlen(file->name) + 300;
  if (++file->error_count > ERRORS_MOST || room > ERRORS_BYTES) return;
  file->error[file->errors_kept++] = (struct config_place){line, column, used};
  file->error_bytes += 1 + snprintf(file->errors + used, ERRORS_BYTES - (size_t)used,
                                    "%s:%d:%d: %s\n    %.*s\n    %*s^", file->name, line, column,
                                    words, n, source, column - 1 < n ? column - 1 : n, "");
}

static int by_place(const void *a, const void *b) {
  const struct config_place *x = a, *y = b;
  if (x->line != y->line) return x->line < y->line ? -1 : 1;
  if (x->column != y->column) return x->column < y->column ? -1 : 1;
  return x->at < y->at ? -1 : x->at > y->at;
}

enum status config_error(struct config_file *file, const struct config_node *node, int key_item,
                         const char *format, ...) {
  char words[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(words, sizeof words, format, list);
  va_end(list);
  bool key   = node && key_item >= 0 && key_item < node->items;
  int line   = key ? node->item[key_item].line : node ? node->line : 1;
  int column = key ? node->item[key_item].column : node ? node->column : 1;
  add_error(file, line, column, words);
  return STATUS_USAGE;
}

enum status config_errors_told(struct config_file *file) {
  char words[ERRORS_BYTES + 64];
  int used = 0, more = file->error_count - file->errors_kept;
  if (!file->error_count) return STATUS_OK;
  qsort(file->error, (size_t)file->errors_kept, sizeof *file->error, by_place);
  for (int i = 0; i < file->errors_kept; i++)
    used += snprintf(words + used, sizeof words - (size_t)used, "%s%s", i ? "\n" : "",
                     file->errors + file->error[i].at);
  if (more > 0) snprintf(words + used, sizeof words - (size_t)used, "\n... and %d more", more);
  return FAIL(STATUS_USAGE, "%s", words);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static struct fy_diag *quiet_diag(void) {
  struct fy_diag_cfg how;
  fy_diag_cfg_default(&how);
  how.fp               = NULL;
  struct fy_diag *diag = fy_diag_create(&how);
  if (diag) fy_diag_set_collect_errors(diag, true);
  return diag;
}

static enum status parse_error(struct config_file *file, struct fy_diag *diag) {
  void *state                 = NULL;
  struct fy_diag_error *error = fy_diag_errors_iterate(diag, &state);
  if (!error)
    add_error(file, 1, 1, "this is no YAML");
  else
    add_error(file, error->line, error->column, error->msg);
  return config_errors_told(file);
}

/* Bytes of the well-formed UTF-8 character at `at`, 0 when there is none (RFC 3629, section 4). */
static int utf8_bytes(const unsigned char *at, const unsigned char *end) {
  static const struct {
    unsigned char first, last, second_from, second_to, bytes;
  } row[] = {
      {0x00, 0x7f, 0,    0,    1},
      {0xc2, 0xdf, 0x80, 0xbf, 2},
      {0xe0, 0xe0, 0xa0, 0xbf, 3},
      {0xe1, 0xec, 0x80, 0xbf, 3},
      {0xed, 0xed, 0x80, 0x9f, 3},
      {0xee, 0xef, 0x80, 0xbf, 3},
      {0xf0, 0xf0, 0x90, 0xbf, 4},
      {0xf1, 0xf3, 0x80, 0xbf, 4},
      {0xf4, 0xf4, 0x80, 0x8f, 4}
  };
  size_t r = 0, rows = sizeof row / sizeof *row;
  while (r < rows && (*at < row[r].first || *at > row[r].last)) r++;
  if (r == rows || end - at < row[r].bytes) return 0;
  if (row[r].bytes > 1 && (at[1] < row[r].second_from || at[1] > row[r].second_to)) return 0;
  for (int i = 2; i < row[r].bytes; i++)
    if (at[i] < 0x80 || at[i] > 0xbf) return 0;
  return row[r].bytes;
}

/* libfyaml 0.7 does not come back from some bytes that are no UTF-8. */
static enum status check_utf8(struct config_file *file) {
  const unsigned char *at = (const unsigned char *)file->bytes, *end = at + file->n;
  int line = 1, column = 1;
  for (int n; at < end; at += n) {
    n = utf8_bytes(at, end);
    if (!n) {
      char words[64];
      snprintf(words, sizeof words, "byte 0x%02x: a YAML file is UTF-8 text", *at);
      add_error(file, line, column, words);
      return config_errors_told(file);
    }
    column = *at == '\n' ? 1 : column + 1;
    line += *at == '\n';
  }
  return STATUS_OK;
}

static enum status parse(struct config_file *file) {
  TRY(check_utf8(file));
  struct fy_diag *diag         = quiet_diag();
  struct fy_parse_cfg how      = {.flags = FYPCF_DISABLE_RECYCLING, .diag = diag};
  struct fy_document *document = fy_document_build_from_string(&how, file->bytes, (size_t)file->n);
  enum status status           = STATUS_OK;
  if (!document)
    status = parse_error(file, diag);
  else
    status = build(file, document, fy_document_root(document), 0, &file->root);
  if (document) fy_document_destroy(document);
  if (diag) fy_diag_destroy(diag);
  return status;
}

enum status config_file_parse(const char *name, const char *bytes, int64_t n,
                              struct config_file **file) {
  *file = NULL;
  if (n > FILE_MOST_BYTES)
    return FAIL(STATUS_USAGE, "%s has %lld bytes; at most %d are read", name, (long long)n,
                FILE_MOST_BYTES);
  if (memchr(bytes, 0, (size_t)n))
    return FAIL(STATUS_USAGE, "%s: holds a zero byte, so it is no YAML", name);
  TRY(memory_make(1, sizeof **file, "a YAML file", file));
  (*file)->n         = n;
  enum status status = copy_text(name, strlen(name), &(*file)->name);
  if (status == STATUS_OK) status = copy_text(bytes, (size_t)n, &(*file)->bytes);
  if (status == STATUS_OK) status = parse(*file);
  if (status != STATUS_OK) config_file_close(file);
  return status;
}

enum status config_file_open(MPI_Comm comm, const char *path, struct config_file **file) {
  char *bytes;
  int64_t n;
  *file = NULL;
  TRY(file_bytes(comm, path, FILE_MOST_BYTES, &bytes, &n));
  enum status status = AGREE(comm, config_file_parse(path, bytes, n, file));
  if (status != STATUS_OK) config_file_close(file);
  memory_free(bytes);
  return status;
}

void config_file_close(struct config_file **file) {
  if (!*file) return;
  node_free((*file)->root);
  memory_free((*file)->name);
  memory_free((*file)->bytes);
  memory_free(*file);
  *file = NULL;
}

/* ---- walking ------------------------------------------------------------------------------------------- */

const struct config_node *config_root(const struct config_file *file) { return file->root; }
enum config_kind config_kind(const struct config_node *node) {
  return node ? node->kind : CONFIG_NONE;
}
int config_count(const struct config_node *node) { return node ? node->items : 0; }

const struct config_node *config_item(const struct config_node *node, int i) {
  return node && i >= 0 && i < node->items ? node->item[i].value : NULL;
}

const char *config_key(const struct config_node *node, int i) {
  return node && i >= 0 && i < node->items ? node->item[i].key : NULL;
}

const struct config_node *config_get(const struct config_node *mapping, const char *key) {
  if (config_kind(mapping) != CONFIG_MAPPING) return NULL;
  for (int i = 0; i < mapping->items; i++)
    if (strcmp(mapping->item[i].key, key) == 0) return mapping->item[i].value;
  return NULL;
}

const char *config_scalar(const struct config_node *node) {
  return config_kind(node) == CONFIG_SCALAR ? node->text : NULL;
}

const char *config_place(const struct config_node *node, int key_item, char *text, size_t bytes) {
  bool key = key_item >= 0 && key_item < node->items;
  snprintf(text, bytes, "%s:%d:%d", node->file->name, key ? node->item[key_item].line : node->line,
           key ? node->item[key_item].column : node->column);
  return text;
}

/* ---- parameters from a mapping ---------------------------------------------------------------------------- */

static void assign_scalar(struct config_file *file, const struct config_node *mapping, int i,
                          const struct config_set *set, void *params, const char *text) {
  status_clear();
  if (config_assign(set, params, mapping->item[i].key, text, "") == STATUS_OK) return;
  const struct config_node *value = mapping->item[i].value;
  bool unknown                    = !config_row_find(set, mapping->item[i].key);
  char words[1024];
  snprintf(words, sizeof words, "%s", status_text());
  status_clear();
  config_error(file, unknown ? mapping : value, unknown ? i : -1, "%s", words);
}

static void assign_sequence(struct config_file *file, const struct config_node *mapping, int i,
                            const struct config_set *set, void *params) {
  const struct config_node *list = mapping->item[i].value;
  const struct config_row *row   = config_row_find(set, mapping->item[i].key);
  char joined[CONFIG_TEXT_BYTES] = "";
  for (int k = 0; k < list->items; k++) {
    const char *text = config_scalar(list->item[k].value);
    if (!text) {
      config_error(file, list->item[k].value, -1, "%s.%s: a list of plain values is wanted",
                   set->stage, mapping->item[i].key);
      return;
    }
    if (row && row->type == CONFIG_FILES) {
      assign_scalar(file, mapping, i, set, params, text);
      continue;
    }
    size_t used = strlen(joined);
    snprintf(joined + used, sizeof joined - used, "%s%s", used ? "," : "", text);
  }
  if (!row || row->type != CONFIG_FILES) assign_scalar(file, mapping, i, set, params, joined);
}

/* A block of keys for a text that reads NAME=VALUE,... */
static bool takes_block(const struct config_row *row) {
  return row && row->type == CONFIG_TEXT && strchr(row->syntax, '=') != NULL;
}
static void assign_block(struct config_file *file, const struct config_node *mapping, int i,
                         const struct config_set *set, void *params) {
  const struct config_node *block = mapping->item[i].value;
  char joined[CONFIG_TEXT_BYTES]  = "";
  for (int k = 0; k < block->items; k++) {
    const char *text  = config_scalar(block->item[k].value);
    const size_t used = strlen(joined);
    if (!text || strchr(text, ',')) {
      config_error(file, block, k, "%s.%s: a plain value without a comma is wanted", set->stage,
                   mapping->item[i].key);
      return;
    }
    snprintf(joined + used, sizeof joined - used, "%s%s%s%s", used ? "," : "", block->item[k].key,
             *text ? "=" : "", text);
  }
  if (strlen(joined) == sizeof joined - 1)
    config_error(file, mapping, i, "%s.%s: more than %d letters", set->stage, mapping->item[i].key,
                 CONFIG_TEXT_BYTES - 2);
  else
    assign_scalar(file, mapping, i, set, params, joined);
}

void config_assign_mapping(struct config_file *file, const struct config_node *node,
                           const struct config_set *set, void *params) {
  bool empty = config_kind(node) == CONFIG_SCALAR && !*node->text; /* "segment:" and no more */
  if (config_kind(node) == CONFIG_NONE || empty) return;
  if (node->kind != CONFIG_MAPPING) {
    config_error(file, node, -1, "%s: 'key: value' lines are wanted here", set->stage);
    return;
  }
  for (int i = 0; i < node->items; i++) {
    const struct config_node *value = node->item[i].value;
    if (value->kind == CONFIG_SCALAR)
      assign_scalar(file, node, i, set, params, value->text);
    else if (value->kind == CONFIG_SEQUENCE)
      assign_sequence(file, node, i, set, params);
    else if (!config_row_find(set, node->item[i].key))
      assign_scalar(file, node, i, set, params, "");
    else if (takes_block(config_row_find(set, node->item[i].key)))
      assign_block(file, node, i, set, params);
    else
      config_error(file, node, i, "%s.%s: a value is wanted, not a block of keys", set->stage,
                   node->item[i].key);
  }
}
