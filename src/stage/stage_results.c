/* Results: rows in the order they were added; JSON that is strict (never NaN or Infinity). */
#include "stage.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void stage_results_free(struct stage_results *results) {
  memory_free(results->row);
  memset(results, 0, sizeof *results);
}

static enum status grow(struct stage_results *results) {
  if (results->n < results->room) return STATUS_OK;
  int room = results->room ? 2 * results->room : 32;
  struct stage_result *larger;
  TRY(memory_make(room, sizeof *larger, "results", &larger));
  if (results->n) memcpy(larger, results->row, (size_t)results->n * sizeof *larger);
  memory_free(results->row);
  results->row  = larger;
  results->room = room;
  return STATUS_OK;
}

struct stage_result *stage_result_add(struct stage_results *results, const char *name, double value,
                                      const char *unit) {
  if (grow(results) != STATUS_OK) status_abort(STATUS_MEMORY, "%s", status_text());
  struct stage_result *row = &results->row[results->n++];
  memset(row, 0, sizeof *row);
  snprintf(row->name, sizeof row->name, "%s", name);
  snprintf(row->unit, sizeof row->unit, "%s", unit);
  row->value = isfinite(value) ? value : (double)NAN;
  row->sigma = row->lower = row->upper = (double)NAN;
  if (isinf(value)) snprintf(row->state, sizeof row->state, "infinite");
  if (isnan(value)) snprintf(row->state, sizeof row->state, "undefined");
  return row;
}

struct stage_result *stage_result_find(struct stage_results *results, const char *name) {
  for (int i = 0; i < results->n; i++)
    if (strcmp(results->row[i].name, name) == 0) return &results->row[i];
  return NULL;
}

/* ---- JSON --------------------------------------------------------------------------------------- */

struct text {
  char *bytes;
  int64_t n, room;
  enum status status;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *to, const char *format, ...) {
  if (to->status != STATUS_OK) return;
  char line[1024];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  if (n >= (int)sizeof line) n = (int)sizeof line - 1;
  if (to->n + n + 1 > to->room) {
    char *larger;
    to->room   = 2 * to->room + n + 4096;
    to->status = memory_make(to->room, 1, "a text", &larger);
    if (to->status != STATUS_OK) return;
    if (to->n) memcpy(larger, to->bytes, (size_t)to->n);
    memory_free(to->bytes);
    to->bytes = larger;
  }
  memcpy(to->bytes + to->n, line, (size_t)n + 1);
  to->n += n;
}

static void put_string(struct text *to, const char *string) {
  put(to, "\"");
  for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
    if (*c == '"' || *c == '\\')
      put(to, "\\%c", *c);
    else if (*c < 0x20)
      put(to, "\\u%04x", *c);
    else
      put(to, "%c", *c);
  }
  put(to, "\"");
}

/* The shortest text that reads back to the same bits. */
static void put_number(struct text *to, double value) {
  char number[40];
  if (!isfinite(value)) {
    put(to, "null");
    return;
  }
  for (int digits = 6; digits <= 17; digits++) {
    snprintf(number, sizeof number, "%.*g", digits, value);
    if (strtod(number, NULL) == value) break;
  }
  put(to, "%s", number);
}

static void put_result(struct text *to, const struct stage_result *row) {
  char key[sizeof row->name + sizeof row->of + 2];
  snprintf(key, sizeof key, "%s%s%s", row->name, row->of[0] ? "@" : "", row->of);
  put_string(to, key);
  put(to, ":{\"value\":");
  put_number(to, row->value);
  put(to, ",\"unit\":");
  put_string(to, row->unit);
  const struct {
    const char *key;
    double value;
  } more[] = {
      {"sigma", row->sigma},
      {"lower", row->lower},
      {"upper", row->upper}
  };
  for (int i = 0; i < 3; i++) {
    if (!isfinite(more[i].value)) continue;
    put(to, ",\"%s\":", more[i].key);
    put_number(to, more[i].value);
  }
  if (row->state[0]) {
    put(to, ",\"state\":");
    put_string(to, row->state);
  }
  put(to, "}");
}

enum status stage_results_json(const char *command, const struct stage_results *results,
                               char **json) {
  struct text to = {NULL, 0, 0, STATUS_OK};
  put(&to, "{\"command\":");
  put_string(&to, command);
  put(&to, ",\"version\":");
  put_string(&to, stage_version());
  put(&to, ",\"results\":{");
  for (int i = 0; i < results->n; i++) {
    if (i) put(&to, ",");
    put_result(&to, &results->row[i]);
  }
  put(&to, "}}\n");
  *json = to.bytes;
  return to.status;
}

/* ---- the table ---------------------------------------------------------------------------------- */

/* Value to the digits its error allows: two of the error, else six. */
static void value_text(const struct stage_result *row, char *text, size_t bytes) {
  if (!isfinite(row->value))
    snprintf(text, bytes, "%s", row->state[0] ? row->state : "undefined");
  else if (isfinite(row->sigma) && row->sigma > 0) {
    int places = 1 - (int)floor(log10(row->sigma));
    if (places < 0) places = 0;
    if (places > 12) places = 12;
    snprintf(text, bytes, "%.*f +- %.*f", places, row->value, places, row->sigma);
  } else if (isfinite(row->lower) && isfinite(row->upper))
    snprintf(text, bytes, "%.7g in [%.7g, %.7g]", row->value, row->lower, row->upper);
  else if (fabs(row->value) < 1e15 && row->value == floor(row->value))
    snprintf(text, bytes, "%.0f", row->value);
  else
    snprintf(text, bytes, "%.6g", row->value);
}

void stage_results_print(const char *command, const struct stage_results *results, FILE *to) {
  for (int i = 0; i < results->n; i++) {
    const struct stage_result *row = &results->row[i];
    char name[sizeof row->name + sizeof row->of + 2], value[128];
    snprintf(name, sizeof name, "%s%s%s", row->name, row->of[0] ? "@" : "", row->of);
    value_text(row, value, sizeof value);
    bool said = isfinite(row->value) && row->state[0];
    fprintf(to, "%-10s %-32s %s %s%s%s\n", command, name, value, row->unit, said ? " " : "",
            said ? row->state : "");
  }
}
