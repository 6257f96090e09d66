/* Parameters from their table: defaults, assignment with bounds, and all the texts made of it. */
#include "config.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void *at(const struct config_row *row, const void *params) {
  return (char *)(uintptr_t)params + row->offset;
}

/* ---- assignment ---------------------------------------------------------------------------------- */

/* "3:5: segment.classes = 99" of a message. */
static void subject(const struct config_set *set, const struct config_row *row, const char *text,
                    const char *where, char *words, size_t bytes) {
  bool option = where[0] == '-';
  if (option)
    snprintf(words, bytes, "%s %.200s", where, text);
  else
    snprintf(words, bytes, "%s%s%s.%s = %.200s", where, *where ? ": " : "", set->stage, row->name,
             text);
}

static enum status assign_number(const struct config_row *row, void *params, const char *text,
                                 const char *words) {
  char *end;
  errno        = 0;
  double value = strtod(text, &end);
  while (isspace((unsigned char)*end)) end++;
  if (end == text || *end || !isfinite(value)) return FAIL(STATUS_USAGE, "%s is no number", words);
  if (row->type == CONFIG_INT && value != floor(value))
    return FAIL(STATUS_USAGE, "%s would be a whole number", words);
  if (!(value >= row->min && value <= row->max))
    return FAIL(STATUS_USAGE, "%s lies outside %.10g..%.10g%s%s", words, row->min, row->max,
                *row->unit ? " " : "", row->unit);
  if (row->type == CONFIG_REAL)
    *(double *)at(row, params) = value;
  else
    *(int64_t *)at(row, params) = fabs(value) < 9e15 ? (int64_t)value : strtoll(text, NULL, 10);
  return STATUS_OK;
}

static bool is_word(const char *text, const char *const *words) {
  for (; *words; words++)
    if (strcmp(text, *words) == 0) return true;
  return false;
}

static enum status assign_flag(const struct config_row *row, void *params, const char *text,
                               const char *words) {
  static const char *const yes[] = {"yes", "true", "on", "1", NULL}, *const no[] = {"no", "false",
                                                                                    "off", "0",
                                                                                    NULL};
  if (!is_word(text, yes) && !is_word(text, no))
    return FAIL(STATUS_USAGE, "%s would be yes or no", words);
  *(bool *)at(row, params) = is_word(text, yes);
  return STATUS_OK;
}

enum { CHOICES_MOST = 32 };

/* Splits "a|b|c"; the pieces point into `room`. */
static int split_choices(const char *choices, char *room, size_t bytes, const char **choice) {
  int n = 0;
  snprintf(room, bytes, "%s", choices);
  for (char *piece = strtok(room, "|"); piece && n < CHOICES_MOST; piece = strtok(NULL, "|"))
    choice[n++] = piece;
  return n;
}

static enum status assign_choice(const struct config_row *row, void *params, const char *text,
                                 const char *words) {
  char room[512];
  const char *choice[CHOICES_MOST];
  int n = split_choices(row->syntax, room, sizeof room, choice);
  for (int i = 0; i < n; i++)
    if (strcmp(choice[i], text) == 0) {
      snprintf(at(row, params), CONFIG_CHOICE_BYTES, "%s", text);
      return STATUS_OK;
    }
  const char *nearest = config_nearest(text, choice, n);
  return FAIL(STATUS_USAGE, "%s is none of %s%s%s%s", words, row->syntax,
              nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static enum status assign_text(const struct config_row *row, void *params, const char *text,
                               const char *words) {
  if (strlen(text) >= CONFIG_TEXT_BYTES)
    return FAIL(STATUS_USAGE, "%s: %zu characters; at most %d", words, strlen(text),
                CONFIG_TEXT_BYTES - 1);
  snprintf(at(row, params), CONFIG_TEXT_BYTES, "%s", text);
  return STATUS_OK;
}

static enum status append_file(const struct config_row *row, void *params, const char *text) {
  char **list = at(row, params), *longer;
  size_t old = *list ? strlen(*list) : 0, more = strlen(text);
  if (more == 0) return STATUS_OK;
  TRY(memory_make((int64_t)(old + more + 2), 1, "a list of files", &longer));
  snprintf(longer, old + more + 2, "%s%s%s", old ? *list : "", old ? "\n" : "", text);
  memory_free(*list);
  *list = longer;
  return STATUS_OK;
}

const struct config_row *config_row_find(const struct config_set *set, const char *name) {
  for (int i = 0; i < set->rows; i++)
    if (strcmp(set->row[i].name, name) == 0) return &set->row[i];
  return NULL;
}

static enum status unknown_key(const struct config_set *set, const char *name, const char *where) {
  const char *known[256];
  int n = 0;
  for (; n < set->rows && n < 256; n++) known[n] = set->row[n].name;
  const char *nearest = config_nearest(name, known, n);
  return FAIL(STATUS_USAGE, "%s%s%s has no parameter '%.100s'%s%s%s", where, *where ? ": " : "",
              set->stage, name, nearest ? "; did you mean " : "", nearest ? nearest : "",
              nearest ? "?" : "");
}

enum status config_assign(const struct config_set *set, void *params, const char *name,
                          const char *text, const char *where) {
  const struct config_row *row = config_row_find(set, name);
  if (!row) return unknown_key(set, name, where);
  char words[512];
  subject(set, row, text, where, words, sizeof words);
  switch (row->type) {
  case CONFIG_INT:
  case CONFIG_REAL:
    return assign_number(row, params, text, words);
  case CONFIG_FLAG:
    return assign_flag(row, params, text, words);
  case CONFIG_CHOICE:
    return assign_choice(row, params, text, words);
  case CONFIG_TEXT:
    return assign_text(row, params, text, words);
  case CONFIG_FILES:
    return append_file(row, params, text);
  }
  return FAIL(STATUS_INTERNAL, "a parameter row of no type");
}

/* A text row's default stands as a C string in the table, a number's as its source text. */
enum status config_defaults(const struct config_set *set, void *params) {
  memset(params, 0, set->params_bytes);
  for (int i = 0; i < set->rows; i++)
    TRY(config_assign(set, params, set->row[i].name, set->row[i].initial, "default"));
  return STATUS_OK;
}

void config_free(const struct config_set *set, void *params) {
  for (int i = 0; i < set->rows; i++) {
    if (set->row[i].type != CONFIG_FILES) continue;
    char **list = at(&set->row[i], params);
    memory_free(*list);
    *list = NULL;
  }
}

/* ---- nearest word --------------------------------------------------------------------------------- */

enum { WORD_MOST = 64 };

/* Edits (insert, delete, replace, swap of neighbours) between two words: Damerau's distance, restricted. */
static int distance(const char *a, const char *b) {
  int n = (int)strlen(a), m = (int)strlen(b), d[WORD_MOST + 1][WORD_MOST + 1];
  if (n > WORD_MOST || m > WORD_MOST) return WORD_MOST;
  for (int i = 0; i <= n; i++) d[i][0] = i;
  for (int j = 0; j <= m; j++) d[0][j] = j;
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= m; j++) {
      int best =
          d[i - 1][j - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
      if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

const char *config_nearest(const char *word, const char *const *known, int n) {
  const char *best = NULL;
  int least        = (int)strlen(word) / 3 + 2;
  if (least > (int)strlen(word)) least = (int)strlen(word); /* something must be alike */
  for (int i = 0; i < n; i++) {
    int edits = distance(word, known[i]);
    if (edits < least) {
      least = edits;
      best  = known[i];
    }
  }
  return best;
}

/* ---- texts ----------------------------------------------------------------------------------------- */

void config_value_text(const struct config_row *row, const void *params, char *text, size_t bytes) {
  double value = 0;
  switch (row->type) {
  case CONFIG_INT:
    snprintf(text, bytes, "%lld", (long long)*(int64_t *)at(row, params));
    return;
  case CONFIG_FLAG:
    snprintf(text, bytes, "%s", *(bool *)at(row, params) ? "yes" : "no");
    return;
  case CONFIG_CHOICE:
  case CONFIG_TEXT:
    snprintf(text, bytes, "%s", (char *)at(row, params));
    return;
  case CONFIG_FILES:
    snprintf(text, bytes, "%s", *(char **)at(row, params) ? *(char **)at(row, params) : "");
    return;
  case CONFIG_REAL:
    value = *(double *)at(row, params);
  }
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(text, bytes, "%.*g", digits, value);
    if (strtod(text, NULL) == value) return;
  }
}

static void syntax_text(const struct config_row *row, char *text, size_t bytes) {
  bool number = row->type == CONFIG_INT || row->type == CONFIG_REAL;
  if (number)
    snprintf(text, bytes, "%s%s%.10g..%.10g", row->unit, *row->unit ? ", " : "", row->min,
             row->max);
  else
    snprintf(text, bytes, "%s", row->syntax);
}

void config_print_help(const struct config_set *set, FILE *to) {
  for (int i = 0; i < set->rows; i++) {
    const struct config_row *row = &set->row[i];
    char option[64], syntax[512];
    snprintf(option, sizeof option, "--%s", row->name);
    for (char *c = option; *c; c++)
      if (*c == '_') *c = '-';
    syntax_text(row, syntax, sizeof syntax);
    fprintf(to, "  %-22s %s\n  %-22s   [%s] (default: %s)\n", option, row->help, "", syntax,
            *row->initial ? row->initial : "none");
  }
}

void config_print_template(const struct config_set *set, FILE *to) {
  fprintf(to, "%s:\n", set->stage);
  for (int i = 0; i < set->rows; i++) {
    const struct config_row *row = &set->row[i];
    char syntax[512];
    syntax_text(row, syntax, sizeof syntax);
    bool text = row->type == CONFIG_TEXT || row->type == CONFIG_FILES;
    fprintf(to, "  # %s [%s]\n  # %s: %s%s%s\n", row->help, syntax, row->name, text ? "\"" : "",
            row->initial, text ? "\"" : "");
  }
}

static void print_cell(const char *text, FILE *to) {
  for (; *text; text++) fprintf(to, *text == '|' ? "\\%c" : "%c", *text);
}

void config_print_markdown(const struct config_set *set, FILE *to) {
  fprintf(to, "| %s | values | default | meaning |\n|---|---|---|---|\n", set->stage);
  for (int i = 0; i < set->rows; i++) {
    const struct config_row *row = &set->row[i];
    char syntax[512];
    syntax_text(row, syntax, sizeof syntax);
    fprintf(to, "| `%s` | ", row->name);
    print_cell(syntax, to);
    fprintf(to, " | %s | ", *row->initial ? row->initial : "none");
    print_cell(row->help, to);
    fprintf(to, " |\n");
  }
}

static void print_quoted(const char *text, FILE *to) {
  fputc('"', to);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', to);
    if (*text == '\n')
      fputs("\\n", to);
    else
      fputc(*text, to);
  }
  fputc('"', to);
}

static void print_effective(const struct config_set *set, const void *params, FILE *to) {
  fprintf(to, "%s:\n", set->stage);
  for (int i = 0; i < set->rows; i++) {
    const struct config_row *row = &set->row[i];
    char text[CONFIG_TEXT_BYTES];
    fprintf(to, "  %s: ", row->name);
    if (row->type == CONFIG_FILES) {
      const char *list = *(char **)at(row, params);
      print_quoted(list ? list : "", to);
    } else {
      config_value_text(row, params, text, sizeof text);
      if (row->type == CONFIG_TEXT)
        print_quoted(text, to);
      else
        fputs(text, to);
    }
    fputc('\n', to);
  }
}

enum status config_effective_yaml(const struct config_set *set, const void *params, char **text) {
  char *bytes = NULL;
  size_t n    = 0;
  FILE *to    = open_memstream(&bytes, &n);
  *text       = NULL;
  if (!to) return FAIL(STATUS_MEMORY, "no memory for the effective parameters");
  print_effective(set, params, to);
  fclose(to);
  enum status status = memory_make((int64_t)n + 1, 1, "the effective parameters", text);
  if (status == STATUS_OK) memcpy(*text, bytes, n);
  free(bytes);
  return status;
}
