/* Where a cycle names its truth (a made cell knows what was put into it): every result of the same name and state beside
 * it, with the pull, the difference in errors. truth.csv, and the table for people. */
#include "campaign_inner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pair {
  const char *state, *stage;
  const struct stage_result *row;
  double truth;
};

static double number_of(const struct config_node *block, const char *name) {
  const char *text = config_scalar(config_get(config_get(block, name), "value"));
  return text ? strtod(text, NULL) : (double)NAN;
}

/* The truth of a result; NaN: none. */
static double truth_of(const struct config_node *root, const char *state, const char *name) {
  const struct config_node *block = config_get(config_get(root, "states"), state);
  return strcmp(state, "all") == 0 ? number_of(config_get(root, "sample"), name)
                                   : number_of(block, name);
}

/* Calls `see` for every result that has a truth. */
static void pairs(const struct campaign *c, const struct config_node *root, void *context,
                  void (*see)(void *context, const struct pair *pair)) {
  for (int u = 0; u < c->units; u++)
    for (int i = 0; i < c->unit[u].results.n; i++) {
      const struct stage_result *row = &c->unit[u].results.row[i];
      const struct pair pair         = {row->of[0] ? row->of : unit_state_name(c, &c->unit[u]),
                                        c->unit[u].stage->name, row, 0};
      struct pair found              = pair;
      found.truth                    = truth_of(root, pair.state, row->name);
      if (isfinite(found.truth) && isfinite(row->value)) see(context, &found);
    }
}

static double pull_of(const struct pair *p) {
  return p->row->sigma > 0 ? (p->row->value - p->truth) / p->row->sigma : (double)NAN;
}

static void put_number(FILE *to, double value) {
  if (isfinite(value))
    fprintf(to, ",%.8g", value);
  else
    fputc(',', to);
}

static void put_csv(void *context, const struct pair *p) {
  FILE *to = context;
  fprintf(to, "%s,%s,%s", p->state, p->stage, p->row->name);
  put_number(to, p->truth);
  put_number(to, p->row->value);
  put_number(to, p->row->sigma);
  put_number(to, pull_of(p));
  fprintf(to, ",%s\n", p->row->unit);
}

/* Digits behind the point so that the error has two figures. */
static int digits_of(double sigma) {
  int digits = sigma > 0 ? (int)ceil(1 - log10(sigma)) : 4;
  return digits < 0 ? 0 : digits > 9 ? 9 : digits;
}

static void print_line(void *context, const struct pair *p) {
  FILE *to   = context;
  int digits = digits_of(p->row->sigma);
  if (!(p->row->sigma > 0)) return; /* without an error there is no pull */
  printf("%-17s %-10s %-24s %12.*f | %12.*f +- %-10.*f | %+6.2f  %s\n", p->state, p->stage,
         p->row->name, digits, p->truth, digits, p->row->value, digits, p->row->sigma, pull_of(p),
         p->row->unit);
  (void)to;
}

struct tally {
  int n, within;
  double square;
};
static void count_pull(void *context, const struct pair *p) {
  struct tally *t = context;
  double pull     = pull_of(p);
  if (!isfinite(pull)) return;
  t->n++;
  t->within += fabs(pull) < 2;
  t->square += pull * pull;
}

static enum status write_local(const struct campaign *c, const struct config_file *truth, bool print) {
  char path[STORE_NAME_BYTES], *bytes = NULL;
  size_t n       = 0;
  struct tally t = {0, 0, 0};
  if (!log_is_speaker()) return STATUS_OK;
  FILE *to = open_memstream(&bytes, &n);
  if (!to) return FAIL(STATUS_MEMORY, "no memory for truth.csv");
  fprintf(to, "state,stage,result,truth,value,sigma,pull,unit\n");
  pairs(c, config_root(truth), to, put_csv);
  fclose(to);
  snprintf(path, sizeof path, "%.1900s/truth.csv", c->notes);
  enum status status = store_text_write(path, bytes, (int64_t)n);
  free(bytes);
  pairs(c, config_root(truth), &t, count_pull);
  if (!print || !t.n || status != STATUS_OK) return status;
  printf("%-17s %-10s %-24s %12s | %12s +- %-10s | %6s\n", "state", "stage", "number", "truth",
         "result", "error", "pull");
  pairs(c, config_root(truth), stdout, print_line);
  printf("%d numbers have an error and a truth: %d within two errors of it, rms of the pulls %.2f\n",
         t.n, t.within, sqrt(t.square / t.n));
  return status;
}

enum status truth_write(const struct campaign *c, bool print) {
  const char *name = config_scalar(config_get(config_root(c->cycle->file), "truth"));
  char path[STORE_NAME_BYTES];
  struct config_file *truth;
  if (!name) return STATUS_OK;
  cycle_path(c->cycle, name, path, sizeof path);
  TRY(config_file_open(c->comm, path, &truth));
  enum status status = AGREE(c->comm, write_local(c, truth, print));
  config_file_close(&truth);
  return status;
}
