/* Reading of CSV and Gamry .DTA tables. A .DTA file is tab-separated; a line "CURVE TABLE n" or "ZCURVE TABLE"
 * is followed by a line of names, one of units, and rows that begin with an empty field. */
#include "echem.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MOST = 64, LINE_MOST = 4096 };

/* One wanted column: the names it goes by (lower case, NULL-ended) and what it is called in messages. */
struct wanted {
  const char *called;
  const char *names[10];
};
static const struct wanted cycle_columns[] = {
    {"time",    {"time_s", "time", "t", "t_s", "time/s", "time (s)", NULL}                   },
    {"voltage", {"voltage_v", "voltage", "v", "vf", "e", "ewe/v", "voltage (v)", "u_v", NULL}},
    {"current", {"current_a", "current", "i", "im", "current (a)", "i_a", "<i>/a", NULL}     },
};
static const struct wanted impedance_columns[] = {
    {"frequency",      {"frequency_hz", "frequency", "freq", "f", "freq/hz", "frequency (hz)", NULL}},
    {"real part",      {"z_real_ohm", "zreal", "z_real", "re(z)/ohm", "z'", "re", NULL}             },
    {"imaginary part", {"z_imag_ohm", "zimag", "z_imag", "im(z)/ohm", "z''", "im", NULL}            },
};

struct reader {
  const char *name, *at, *end;
  int64_t line;
  char text[LINE_MOST];
  char *field[FIELDS_MOST];
  int fields;
};

void echem_table_free(struct echem_table *table) {
  for (int i = 0; i < table->columns; i++) memory_free(table->column[i]);
  memset(table, 0, sizeof *table);
}

/* The next line into text; false at the end. Too long a line is cut: its numbers then fail to parse. */
static bool next_line(struct reader *in) {
  if (in->at >= in->end) return false;
  const char *stop = memchr(in->at, '\n', (size_t)(in->end - in->at));
  const char *next = stop ? stop + 1 : in->end;
  size_t n         = (size_t)((stop ? stop : in->end) - in->at);
  if (n >= LINE_MOST) n = LINE_MOST - 1;
  memcpy(in->text, in->at, n);
  in->text[n] = 0;
  if (n && in->text[n - 1] == '\r') in->text[n - 1] = 0;
  in->at = next;
  in->line++;
  return true;
}

static char *trimmed(char *text) {
  while (isspace((unsigned char)*text) || *text == '"') text++;
  size_t n = strlen(text);
  while (n && (isspace((unsigned char)text[n - 1]) || text[n - 1] == '"')) text[--n] = 0;
  return text;
}

static void split(struct reader *in, char separator) {
  char *at   = in->text;
  in->fields = 0;
  while (at && in->fields < FIELDS_MOST) {
    char *stop = strchr(at, separator);
    if (stop) *stop = 0;
    in->field[in->fields++] = trimmed(at);
    at                      = stop ? stop + 1 : NULL;
  }
}

static int column_of(const struct reader *in, const struct wanted *wanted) {
  for (int i = 0; i < in->fields; i++)
    for (int k = 0; wanted->names[k]; k++)
      if (strcasecmp(in->field[i], wanted->names[k]) == 0) return i;
  return -1;
}

static enum status find_columns(const struct reader *in, const struct wanted wanted[3], int at[3]) {
  for (int c = 0; c < 3; c++) {
    at[c] = column_of(in, &wanted[c]);
    if (at[c] < 0)
      return FAIL(STATUS_INPUT, "%s:%lld: no column for the %s; its head would be %s", in->name,
                  (long long)in->line, wanted[c].called, wanted[c].names[0]);
  }
  return STATUS_OK;
}

static enum status row_add(struct echem_table *table, int64_t *room, const double value[3]) {
  if (table->rows == *room) {
    int64_t larger = *room ? 2 * *room : 256;
    for (int c = 0; c < 3; c++) {
      double *grown;
      TRY(memory_make(larger, sizeof *grown, "a table of measurements", &grown));
      if (table->rows) memcpy(grown, table->column[c], (size_t)table->rows * sizeof *grown);
      memory_free(table->column[c]);
      table->column[c] = grown;
    }
    *room = larger;
  }
  for (int c = 0; c < 3; c++) table->column[c][table->rows] = value[c];
  table->rows++;
  return STATUS_OK;
}

static enum status row_values(const struct reader *in, const struct wanted *wanted, const int at[3],
                              double value[3]) {
  for (int c = 0; c < 3; c++) {
    if (at[c] >= in->fields)
      return FAIL(STATUS_INPUT, "%s:%lld: %d fields, but the %s would be field %d", in->name,
                  (long long)in->line, in->fields, wanted[c].called, at[c] + 1);
    char *end;
    value[c] = strtod(in->field[at[c]], &end);
    if (end == in->field[at[c]] || *end || !isfinite(value[c]))
      return FAIL(STATUS_INPUT, "%s:%lld: the %s '%.40s' is no finite number", in->name,
                  (long long)in->line, wanted[c].called, in->field[at[c]]);
  }
  return STATUS_OK;
}

static char separator_of(const char *head) {
  return strchr(head, '\t') ? '\t' : strchr(head, ';') ? ';' : ',';
}

static bool blank(const char *text) {
  while (isspace((unsigned char)*text)) text++;
  return *text == 0 || *text == '#';
}

static enum status parse_csv(struct reader *in, const struct wanted *wanted,
                             struct echem_table *table) {
  int at[3];
  int64_t room = 0;
  do {
    if (!next_line(in))
      return FAIL(STATUS_INPUT, "%s: empty; a line of column names would be first", in->name);
  } while (blank(in->text));
  char separator = separator_of(in->text);
  split(in, separator);
  TRY(find_columns(in, wanted, at));
  while (next_line(in)) {
    double value[3];
    if (blank(in->text)) continue;
    split(in, separator);
    TRY(row_values(in, wanted, at, value));
    TRY(row_add(table, &room, value));
  }
  return STATUS_OK;
}

static enum status parse_dta(struct reader *in, const struct wanted *wanted,
                             struct echem_table *table) {
  const char *section = wanted == impedance_columns ? "ZCURVE" : "CURVE";
  size_t n            = strlen(section);
  int at[3];
  int64_t room = 0;
  bool found   = false;
  while (!found && next_line(in))
    found = strncmp(in->text, section, n) == 0 && strstr(in->text, "TABLE");
  if (!found || !next_line(in))
    return FAIL(STATUS_INPUT, "%s: no %s table, which a Gamry file of this kind has", in->name,
                section);
  split(in, '\t');
  TRY(find_columns(in, wanted, at));
  if (!next_line(in)) return STATUS_OK; /* the units */
  while (next_line(in) && in->text[0] == '\t') {
    double value[3];
    split(in, '\t');
    TRY(row_values(in, wanted, at, value));
    TRY(row_add(table, &room, value));
  }
  return STATUS_OK;
}

static enum status parse(const char *name, const char *bytes, int64_t n,
                         const struct wanted *wanted, struct echem_table *table) {
  struct reader in = {.name = name, .at = bytes, .end = bytes + n};
  memset(table, 0, sizeof *table);
  table->columns     = 3;
  bool gamry         = n >= 7 && strncmp(bytes, "EXPLAIN", 7) == 0;
  enum status status = gamry ? parse_dta(&in, wanted, table) : parse_csv(&in, wanted, table);
  if (status == STATUS_OK && table->rows < 2)
    status = FAIL(STATUS_INPUT, "%s: %lld rows of numbers; at least 2 are needed", name,
                  (long long)table->rows);
  if (status != STATUS_OK) echem_table_free(table);
  return status;
}

static enum status check_times(const char *name, const struct echem_table *table) {
  for (int64_t i = 1; i < table->rows; i++)
    if (table->column[0][i] < table->column[0][i - 1])
      return FAIL(STATUS_INPUT, "%s: row %lld: the time goes back from %g to %g s", name,
                  (long long)i + 1, table->column[0][i - 1], table->column[0][i]);
  return STATUS_OK;
}

static enum status check_frequencies(const char *name, const struct echem_table *table) {
  for (int64_t i = 0; i < table->rows; i++)
    if (!(table->column[0][i] > 0))
      return FAIL(STATUS_INPUT, "%s: row %lld: a frequency of %g Hz; it would be positive", name,
                  (long long)i + 1, table->column[0][i]);
  return STATUS_OK;
}

enum status echem_cycle_parse(const char *name, const char *bytes, int64_t n,
                              struct echem_table *table) {
  TRY(parse(name, bytes, n, cycle_columns, table));
  enum status status = check_times(name, table);
  if (status != STATUS_OK) echem_table_free(table);
  return status;
}

enum status echem_impedance_parse(const char *name, const char *bytes, int64_t n,
                                  struct echem_table *table) {
  TRY(parse(name, bytes, n, impedance_columns, table));
  enum status status = check_frequencies(name, table);
  if (status != STATUS_OK) echem_table_free(table);
  return status;
}
