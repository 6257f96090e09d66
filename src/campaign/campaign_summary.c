/* What a run leaves beside the products: summary.csv, status.json, journal/run.log. */
#include "campaign_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *state_of(const struct campaign *c, const struct unit *unit,
                            const struct stage_result *row) {
  return row->of[0] ? row->of : unit_state_name(c, unit);
}

static void number(FILE *to, double value) {
  if (isfinite(value))
    fprintf(to, ",%.10g", value);
  else
    fputc(',', to);
}

static void print_csv(const struct campaign *c, FILE *to) {
  fprintf(to, "state,stage,result,value,sigma,lower,upper,unit,remark\n");
  for (int u = 0; u < c->units; u++)
    for (int i = 0; i < c->unit[u].results.n; i++) {
      const struct stage_result *row = &c->unit[u].results.row[i];
      fprintf(to, "%s,%s,%s", state_of(c, &c->unit[u], row), c->unit[u].stage->name, row->name);
      number(to, row->value);
      number(to, row->sigma);
      number(to, row->lower);
      number(to, row->upper);
      fprintf(to, ",%s,%s\n", row->unit, row->state);
    }
}

void summary_print(const struct campaign *c, FILE *to) {
  for (int u = 0; u < c->units; u++) {
    const struct unit *unit = &c->unit[u];
    const char *state       = unit_state_name(c, unit);
    if (unit->results.n) {
      char head[CYCLE_NAME_BYTES + 32];
      snprintf(head, sizeof head, "%s/%s", state, unit->stage->name);
      stage_results_print(head, &unit->results, to);
    }
    if (unit->now == UNIT_FAILED)
      fprintf(to, "%s/%s failed: %s\n", state, unit->stage->name, unit->why);
  }
}

/* Calls `print` into memory and writes the text whole. */
static enum status write_by(const struct campaign *c, const char *name,
                            void (*print)(const struct campaign *, FILE *)) {
  TRY(fault_here("campaign.note"));
  if (!log_is_speaker() || c->aside) return STATUS_OK;
  char path[STORE_NAME_BYTES], *bytes = NULL;
  size_t n = 0;
  FILE *to = open_memstream(&bytes, &n);
  if (!to) return FAIL(STATUS_MEMORY, "no memory for %s", name);
  print(c, to);
  fclose(to);
  snprintf(path, sizeof path, "%.1900s/%s", c->notes, name);
  enum status status = store_text_write(path, bytes, (int64_t)n);
  free(bytes);
  return status;
}

enum status summary_write(const struct campaign *c) {
  return AGREE(c->comm, write_by(c, "summary.csv", print_csv));
}

static const char *status_phase;

static void print_string(const char *text, FILE *to) {
  fputc('"', to);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\')
      fprintf(to, "\\%c", *text);
    else if ((unsigned char)*text < 0x20)
      fprintf(to, "\\u%04x", (unsigned char)*text);
    else
      fputc(*text, to);
  }
  fputc('"', to);
}

/* A unit that was worked on, not just looked at. */
static bool was_work(const struct unit *unit) {
  return unit->now == UNIT_DONE || unit->now == UNIT_BELOW;
}

/* Seconds that a unit of the stage took, of any stage when none of it is done (stage NULL); NAN: none. */
static double mean_s(const struct campaign *c, const struct stage *stage) {
  double sum_s = 0;
  int n        = 0;
  for (int u = 0; u < c->units; u++) {
    if (!was_work(&c->unit[u]) || (stage && c->unit[u].stage != stage)) continue;
    sum_s += c->unit[u].seconds;
    n++;
  }
  return n ? sum_s / n : stage ? mean_s(c, NULL) : (double)NAN;
}

/* Seconds left: what waits takes what others of its stage took; what is in work says so itself. */
static double left_s(const struct campaign *c, int *finished, double *spent_s) {
  double left = 0;
  *finished = 0, *spent_s = 0;
  for (int u = 0; u < c->units; u++) {
    const struct unit *unit = &c->unit[u];
    *spent_s += unit->seconds;
    *finished += unit->now != UNIT_WAITS;
    if (unit->now != UNIT_WAITS) continue;
    bool told = u == c->now && c->progress.total > 0 && isfinite(c->progress.left_s);
    left += told ? c->progress.left_s : mean_s(c, unit->stage);
  }
  return left;
}

static void print_now(const struct campaign *c, FILE *to) {
  if (c->now < 0 || c->now >= c->units || c->unit[c->now].now != UNIT_WAITS) return;
  const struct unit *unit = &c->unit[c->now];
  fprintf(to, "\"now\":{\"state\":\"%s\",\"stage\":\"%s\",\"what\":", unit_state_name(c, unit),
          unit->stage->name);
  print_string(c->progress.what, to);
  fprintf(to, ",\"done\":%lld,\"total\":%lld,\"left_s\":", (long long)c->progress.done,
          (long long)c->progress.total);
  fprintf(to, c->progress.total > 0 && isfinite(c->progress.left_s) ? "%.0f" : "null",
          c->progress.left_s);
  fprintf(to, "},");
}

static void print_status(const struct campaign *c, FILE *to) {
  int size, finished;
  double spent_s, rest_s = left_s(c, &finished, &spent_s);
  MPI_Comm_size(c->comm, &size);
  fprintf(to,
          "{\"phase\":\"%s\",\"version\":\"%s\",\"ranks\":%d,\"time\":%lld,\"seconds\":%.3f,"
          "\"finished\":%d,\"left_s\":",
          status_phase, stage_version(), size, (long long)time(NULL), spent_s, finished);
  fprintf(to, isfinite(rest_s) ? "%.0f," : "null,", rest_s);
  print_now(c, to);
  fprintf(to, "\"memory_peak_rank0_bytes\":%lld,\"units\":[", (long long)memory_rss_peak_bytes());
  for (int u = 0; u < c->units; u++) {
    const struct unit *unit = &c->unit[u];
    fprintf(to,
            "%s\n{\"state\":\"%s\",\"stage\":\"%s\",\"is\":\"%s\",\"seconds\":%.3f,"
            "\"read_bytes\":%.0f,\"written_bytes\":%.0f,\"memory_bytes\":%.0f,\"why\":",
            u ? "," : "", unit_state_name(c, unit), unit->stage->name, unit_word(unit->now),
            unit->seconds, unit->read_bytes, unit->written_bytes, unit->memory_bytes);
    print_string(unit->why, to);
    fputc('}', to);
  }
  fprintf(to, "]}\n");
}

enum status status_write(const struct campaign *c, const char *phase) {
  status_phase = phase;
  upkeep_begin();
  return upkeep_end(AGREE(c->comm, write_by(c, "status.json", print_status)));
}

enum status status_refresh(const struct campaign *c) {
  static double written_s;
  if (time_now_s() - written_s < 1 && written_s > 0) return STATUS_OK;
  written_s    = time_now_s();
  status_phase = "running";
  upkeep_begin();
  return upkeep_end(write_by(c, "status.json", print_status));
}

static void say_stage(const struct campaign *c, const struct stage *stage) {
  double sum[3] = {0, 0, 0}, memory = 0;
  int n = 0;
  for (int u = 0; u < c->units; u++) {
    const struct unit *unit = &c->unit[u];
    if ((stage && unit->stage != stage) || !was_work(unit)) continue;
    sum[0] += unit->seconds, sum[1] += unit->read_bytes, sum[2] += unit->written_bytes;
    memory = fmax(memory, unit->memory_bytes);
    n++;
  }
  if (n)
    log_info("%-10s %4d done %9.1f s %9.3f GB read %9.3f GB written %8.3f GB per rank",
             stage ? stage->name : "all", n, sum[0], 1e-9 * sum[1], 1e-9 * sum[2], 1e-9 * memory);
}

void summary_say_cost(const struct campaign *c, double begun_s) {
  int n, size;
  const struct stage *const *stage = campaign_stages(&n);
  double most[2]                   = {(double)memory_rss_peak_bytes(), upkeep_s()};
  double all_s                     = time_now_s() - begun_s;
  MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_DOUBLE, MPI_MAX, c->comm);
  MPI_Comm_size(c->comm, &size);
  for (int i = 0; i < n; i++) say_stage(c, stage[i]);
  say_stage(c, NULL);
  log_info("%d ranks, of which the largest took %.3f GB with all libraries", size, 1e-9 * most[0]);
  log_info("probes, records, journals and reading back took %.2f s of %.1f s (%.1f %%)", most[1],
           all_s, 100 * most[1] / fmax(all_s, 1e-9));
}

static enum status append(const struct campaign *c, const char *line) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%s/journal/run.log", c->folder);
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (file < 0) return FAIL(STATUS_OUTPUT, "%s cannot be written: %s", path, strerror(errno));
  size_t n  = strlen(line);
  bool good = write(file, line, n) == (ssize_t)n && fsync(file) == 0;
  close(file);
  return good ? STATUS_OK
              : FAIL(STATUS_MEMORY, "%s cannot be written whole: %s", path, strerror(errno));
}

enum status journal_add(const struct campaign *c, const char *format, ...) {
  char line[1024], words[900];
  upkeep_begin();
  enum status status = fault_here("campaign.journal");
  if (status == STATUS_OK && log_is_speaker()) {
    va_list list;
    va_start(list, format);
    vsnprintf(words, sizeof words, format, list);
    va_end(list);
    snprintf(line, sizeof line, "%lld %s\n", (long long)time(NULL), words);
    status = append(c, line);
  }
  return upkeep_end(AGREE(c->comm, status));
}
