/* config: one row per parameter gives struct, default, bounds, unit, --help, YAML, template, docs
 * table and the record in the output.
 *
 * A stage `flux` has flux_params.def with rows
 *   PARAM_INT   (name, unit, initial, min, max, help)      int64_t name
 *   PARAM_REAL  (name, unit, initial, min, max, help)      double name
 *   PARAM_FLAG  (name, initial, help)                      bool name        (yes|no)
 *   PARAM_CHOICE(name, initial, "a|b|c", help)             char name[32]
 *   PARAM_TEXT  (name, initial, syntax, help)              char name[CONFIG_TEXT_BYTES]
 *   PARAM_FILES (name, syntax, help)                       char *name, newline-separated, owned
 * and makes its struct and table by
 *   struct flux_params {
 *   #include "config_struct.inc"
 *   #include "flux_params.def"
 *   #include "config_undef.inc"
 *   };
 *   #define CONFIG_OWNER struct flux_params
 *   static const struct config_row rows[] = {
 *   #include "config_rows.inc"
 *   #include "flux_params.def"
 *   #include "config_undef.inc"
 *   };
 *   const struct config_set flux_param_set = CONFIG_SET("flux", struct flux_params, rows);
 */
#pragma once
#include "base.h"

enum { CONFIG_TEXT_BYTES = 1024, CONFIG_CHOICE_BYTES = 32 };
enum config_type { CONFIG_INT, CONFIG_REAL, CONFIG_FLAG, CONFIG_CHOICE, CONFIG_TEXT, CONFIG_FILES };
struct config_row {
  const char *name; /* with _; the option has - */
  const char *unit; /* "" = dimensionless */
  const char *help;
  const char *syntax;  /* choices "a|b|c", or what a text may look like */
  const char *initial; /* as text */
  enum config_type type;
  size_t offset;
  double min, max;
};
struct config_set {
  const char *stage;
  const struct config_row *row;
  int rows;
  size_t params_bytes;
};
#define CONFIG_SET(stage, type, rows)                                                              \
  { stage, rows, (int)(sizeof(rows) / sizeof *(rows)), sizeof(type) }

/* All local; every rank parses the same bytes. */
enum status config_defaults(const struct config_set *set, void *params);
void config_free(const struct config_set *set, void *params); /* frees what FILES rows own */
const struct config_row *config_row_find(const struct config_set *set, const char *name);
/* Sets one parameter from text. USAGE, e.g. "segment.classes = 99 lies outside 2..16", with the
 * nearest known key for an unknown one. `where` prefixes the message ("cycle.yaml:3:5", "--classes").
 * FILES rows: appends. */
enum status config_assign(const struct config_set *set, void *params, const char *name,
                          const char *text, const char *where);
/* Value as text (what config_assign reads back to the same bits). */
void config_value_text(const struct config_row *row, const void *params, char *text, size_t bytes);
/* Help lines, the annotated YAML block of a template, the docs table, the effective YAML. */
void config_print_help(const struct config_set *set, FILE *to);
void config_print_template(const struct config_set *set, FILE *to);
void config_print_markdown(const struct config_set *set, FILE *to);
/* Effective values as a YAML block; caller frees *text with memory_free. */
enum status config_effective_yaml(const struct config_set *set, const void *params, char **text);
/* The nearest of `n` words within a sensible edit distance, or NULL. */
const char *config_nearest(const char *word, const char *const *known, int n);

/* A YAML document with places. Collective: rank 0 reads the file, every rank parses the bytes. */
struct config_file;
struct config_node; /* borrowed from the file */
enum status config_file_open(MPI_Comm comm, const char *path, struct config_file **file);
/* Local, from memory; `name` stands in messages. */
enum status config_file_parse(const char *name, const char *bytes, int64_t n,
                              struct config_file **file);
void config_file_close(struct config_file **file);
const struct config_node *config_root(const struct config_file *file);
enum config_kind { CONFIG_NONE, CONFIG_SCALAR, CONFIG_SEQUENCE, CONFIG_MAPPING };
enum config_kind config_kind(const struct config_node *node); /* NULL: CONFIG_NONE */
int config_count(const struct config_node *node);
const struct config_node *config_item(const struct config_node *node, int i); /* value */
const char *config_key(const struct config_node *node, int i); /* key of a mapping's item */
const struct config_node *config_get(const struct config_node *mapping, const char *key);
const char *config_scalar(const struct config_node *node); /* text or NULL */
/* "file:line:col" of a node (or of the key of item i when i >= 0). */
const char *config_place(const struct config_node *node, int key_item, char *text, size_t bytes);

/* Messages are collected so that all errors of a file are told at once; each with file:line:col,
 * the line itself and a caret. */
enum status config_error(struct config_file *file, const struct config_node *node, int key_item,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));
/* USAGE with all collected messages as its text when there was any, else OK. */
enum status config_errors_told(struct config_file *file);
/* Fills params from the mapping `node` (NULL: nothing to do); unknown keys, wrong types and values
 * out of bounds are collected by config_error. Sequences join by commas (FILES: by newlines). */
void config_assign_mapping(struct config_file *file, const struct config_node *node,
                           const struct config_set *set, void *params);
