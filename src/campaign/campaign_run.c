/* run: all stages for all states of a cycle; status: how far it is, from another shell. */
#include "campaign_inner.h"
#include <stdlib.h>
#include <string.h>

struct run_params {
#include "config_struct.inc"
#include "run_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct run_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "run_params.def"
#include "config_undef.inc"
};
static const struct config_set run_set = CONFIG_SET("run", struct run_params, rows);

/* A dry run leaves no trace, so it takes no lock. */
static enum status run_in_folder(struct campaign *c, const char *cycle_file, bool force,
                                 bool report) {
  if (c->dry_run) return campaign_do(c);
  TRY(campaign_enter(c, force));
  report             = report && !c->only_states[0];
  enum status status = report ? report_keep_cycle(c, cycle_file) : STATUS_OK;
  if (status == STATUS_OK) {
    status = campaign_do(c);
    if (log_is_speaker()) summary_print(c, stdout);
    if (report && status != STATUS_STOPPED) status = report_after(c, status);
    if (truth_write(c, !c->common->quiet) != STATUS_OK) { /* spoils no result */
      log_warning("no truth.csv: %s", status_text());
      if (status == STATUS_OK) status_clear();
    }
  }
  campaign_leave(c);
  return status;
}

static enum status run(MPI_Comm comm, const struct stage_common *common, const void *params,
                       const char *operand, struct stage_results *results) {
  const struct run_params *p = params;
  struct cycle cycle;
  (void)results;
  if (!operand[0]) return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct run CONFIG --output DIR"));
  if (!common->output[0])
    return AGREE(comm, FAIL(STATUS_USAGE, "--output DIR is missing: the folder for the results"));
  TRY(cycle_open(comm, operand, &cycle));
  struct campaign c  = {.comm         = comm,
                        .common       = common,
                        .cycle        = &cycle,
                        .folder       = common->output,
                        .home         = common->output,
                        .side_by_side = p->side_by_side,
                        .redo         = p->redo || common->force,
                        .dry_run      = p->dry_run,
                        .from         = p->from,
                        .until        = p->until,
                        .only_states  = p->state,
                        .only_stages  = p->stages};
  enum status status = AGREE(comm, cycle_check(&cycle, common));
  if (status == STATUS_OK) status = run_in_folder(&c, operand, common->force, p->report);
  campaign_free(&c);
  cycle_close(&cycle);
  return status;
}

/* ---- status ------------------------------------------------------------------------------------------------ */

struct status_params {
  char unused;
};
static const struct config_row no_rows[1];
static const struct config_set show_set = {"status", no_rows, 0, sizeof(struct status_params)};

static const char *word_of(const struct config_node *node, const char *key) {
  const char *text = config_scalar(config_get(node, key));
  return text ? text : "";
}

static double number_at(const struct config_node *node, const char *key) {
  return strtod(word_of(node, key), NULL);
}

/* "now full/recon: recon 120 of 2160, 0.5 per s, about 4080 s left". */
static void print_now(const struct config_node *now) {
  if (!now) return;
  printf("now %s/%s", word_of(now, "state"), word_of(now, "stage"));
  double left_s = number_at(now, "left_s"), todo = number_at(now, "total") - number_at(now, "done");
  if (number_at(now, "total") > 0)
    printf(": %s %s of %s", word_of(now, "what"), word_of(now, "done"), word_of(now, "total"));
  if (left_s > 0) printf(", %.3g per s, about %.0f s left", todo / left_s, left_s);
  printf("\n");
}

static void print_units(const struct config_node *root) {
  const struct config_node *units = config_get(root, "units");
  printf("%s, %s s, %s of %d units finished\n", word_of(root, "phase"), word_of(root, "seconds"),
         word_of(root, "finished"), config_count(units));
  if (word_of(root, "left_s")[0] && strcmp(word_of(root, "left_s"), "null") != 0)
    printf("about %s s left at the pace so far\n", word_of(root, "left_s"));
  print_now(config_get(root, "now"));
  for (int i = 0; i < config_count(units); i++) {
    const struct config_node *unit = config_item(units, i);
    printf("%-20s %-10s %-8s %8s s  %s\n", word_of(unit, "state"), word_of(unit, "stage"),
           word_of(unit, "is"), word_of(unit, "seconds"), word_of(unit, "why"));
  }
}

static enum status show_status(MPI_Comm comm, const struct stage_common *common, const void *params,
                               const char *operand, struct stage_results *results) {
  char path[STORE_NAME_BYTES], *bytes;
  int64_t n;
  struct config_file *file;
  (void)common, (void)params, (void)results;
  if (!operand[0]) return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct status DIR"));
  snprintf(path, sizeof path, "%.1900s/status.json", operand);
  TRY(file_bytes(comm, path, 16 << 20, &bytes, &n));
  enum status status = AGREE(comm, config_file_parse(path, bytes, n, &file));
  memory_free(bytes);
  TRY(status);
  if (log_is_speaker()) print_units(config_root(file));
  config_file_close(&file);
  return STATUS_OK;
}

const struct campaign_command campaign_run    = {"run",
                                                 "all stages for all states of a cycle, going on "
                                                    "where it stopped",
                                                 "CONFIG", &run_set, run};
const struct campaign_command campaign_status = {"status", "how far a run is", "DIR", &show_set,
                                                 show_status};
