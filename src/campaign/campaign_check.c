/* check: everything that can be known to be wrong with a cycle before it runs, all at once. plan: what
 * each unit needs, and the lines a SLURM script would begin with. */
#include "campaign_inner.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct check_params {
#include "config_struct.inc"
#include "check_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct check_params
static const struct config_row check_rows[] = {
#include "config_rows.inc"
#include "check_params.def"
#include "config_undef.inc"
};
static const struct config_set check_set = CONFIG_SET("check", struct check_params, check_rows);
#undef CONFIG_OWNER

struct plan_params {
#include "config_struct.inc"
#include "plan_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct plan_params
static const struct config_row plan_rows[] = {
#include "config_rows.inc"
#include "plan_params.def"
#include "config_undef.inc"
};
static const struct config_set plan_set = CONFIG_SET("plan", struct plan_params, plan_rows);

/* A file that cannot be read; "FILE:DATASET" stands for FILE. */
static void look_at_file(void *context, const char *name, const struct config_node *node) {
  const struct cycle *cycle = context;
  char path[STORE_NAME_BYTES];
  cycle_path(cycle, name, path, sizeof path);
  if (access(path, R_OK) == 0) return;
  int why     = errno;
  char *colon = strrchr(path, ':');
  if (colon) {
    *colon = 0;
    if (access(path, R_OK) == 0) return;
  }
  config_error(cycle->file, node, -1, "%s cannot be read: %s", name, strerror(why));
}

/* "segment.median = 2 ..." is about the key median, where the block has it. */
static int key_of_words(const struct config_node *block, const char *stage, const char *words) {
  size_t n = strlen(stage);
  if (strncmp(words, stage, n) != 0 || words[n] != '.') return -1;
  size_t length = strcspn(words + n + 1, " =;:,");
  for (int i = 0; i < config_count(block); i++)
    if (strlen(config_key(block, i)) == length &&
        strncmp(config_key(block, i), words + n + 1, length) == 0)
      return i;
  return -1;
}

/* What a stage says about its parameters together, at its block or at the file's beginning. */
static void check_unit(struct cycle *cycle, const struct stage_common *common,
                       const struct stage *stage, int state) {
  const struct config_node *root = config_root(cycle->file), *block = config_get(root, stage->name),
                           *own = state >= 0 ? cycle_state_block(cycle, state, stage) : NULL;
  const struct campaign c       = {.common = common, .cycle = cycle, .folder = "", .home = ""};
  struct unit unit              = {.stage = stage, .state = state};
  struct work work;
  memset(&work, 0, sizeof work);
  enum status status = work_params(&c, &unit, &work);
  if (status == STATUS_OK && work_is_wanted(&c, &unit, &work))
    status = stage->check(work.params, common);
  if (status != STATUS_OK) {
    int key = key_of_words(own, stage->name, status_text());
    if (key < 0) own = block ? block : own;
    if (key < 0) key = key_of_words(own, stage->name, status_text());
    config_error(cycle->file, own ? own : root, key, "%s", status_text());
  }
  status_clear();
  work_free(&unit, &work);
}

enum status cycle_check(struct cycle *cycle, const struct stage_common *common) {
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  for (int i = 0; i < n; i++) {
    if (!stage[i]->check || strcmp(stage[i]->name, "twin") == 0) continue;
    check_unit(cycle, common, stage[i], stage[i]->all_states ? -1 : 0);
    for (int s = 1; s < cycle->states && !stage[i]->all_states; s++)
      if (cycle_state_block(cycle, s, stage[i])) check_unit(cycle, common, stage[i], s);
  }
  return config_errors_told(cycle->file);
}

static enum status check_here(struct cycle *cycle, const struct stage_common *common) {
  if (!log_is_speaker()) return STATUS_OK;
  cycle_files(cycle, cycle, look_at_file);
  return cycle_check(cycle, common);
}

static enum status check(MPI_Comm comm, const struct stage_common *common, const void *params,
                         const char *operand, struct stage_results *results) {
  const struct check_params *p = params;
  struct cycle cycle;
  if (!operand[0]) return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct check CONFIG"));
  TRY(cycle_open(comm, operand, &cycle));
  enum status status = p->list_states ? STATUS_OK : AGREE(comm, check_here(&cycle, common));
  for (int i = 0; p->list_states && log_is_speaker() && i < cycle.states; i++)
    printf("%s\n", cycle.state[i].name);
  if (status == STATUS_OK && !p->list_states) stage_result_add(results, "states", cycle.states, "");
  cycle_close(&cycle);
  return status;
}

/* ---- plan -------------------------------------------------------------------------------------------------- */

struct total {
  double memory_bytes, disk_bytes, seconds;
  int unknown;
};

static void add_need(const struct unit *unit, struct total *total) {
  if (unit->now == UNIT_KEPT) return;
  if (unit->now == UNIT_SKIPPED || unit->need.rounds == 0) {
    total->unknown++;
    return;
  }
  total->memory_bytes = fmax(total->memory_bytes, (double)unit->need.memory_bytes);
  total->disk_bytes += (double)unit->need.disk_bytes;
  total->seconds += unit->need.seconds;
}

static void print_unit(const struct campaign *c, const struct unit *unit) {
  char head[CYCLE_NAME_BYTES + 32];
  snprintf(head, sizeof head, "%s/%s", unit_state_name(c, unit), unit->stage->name);
  if (unit->now == UNIT_KEPT || unit->now == UNIT_SKIPPED)
    printf("%-32s %s%s%s\n", head, unit_word(unit->now), unit->why[0] ? ": " : "", unit->why);
  else if (unit->now == UNIT_FAILED)
    printf("%-32s cannot be planned: %s\n", head, unit->why);
  else
    printf("%-32s %8.3f GB per rank %9.3f GB of disk %5lld rounds\n", head,
           1e-9 * (double)unit->need.memory_bytes, 1e-9 * (double)unit->need.disk_bytes,
           (long long)unit->need.rounds);
}

/* The job needs the program's own memory (libraries, MPI buffers: 0.1 GB per rank) and a tenth beyond the
 * forecast; time is a guess where stages give none, so at least half an hour is asked for. */
static void print_slurm(const struct campaign *c, const struct plan_params *p,
                        const struct total *total, FILE *to) {
  int size;
  MPI_Comm_size(c->comm, &size);
  int64_t ranks = p->ranks > 0 ? p->ranks : size, nodes = (ranks + p->per_node - 1) / p->per_node;
  int64_t here = ranks < p->per_node ? ranks : p->per_node;
  double node_GB =
      1.1e-9 * total->memory_bytes * size / (double)ranks * (double)here + 0.1 * (double)here;
  int64_t minutes = (int64_t)ceil(fmax(1800, 2 * total->seconds * size / (double)ranks) / 60);
  fprintf(to, "#SBATCH --nodes=%lld\n#SBATCH --ntasks-per-node=%lld\n#SBATCH --cpus-per-task=1\n",
          (long long)nodes, (long long)here);
  fprintf(to, "#SBATCH --mem=%lldG\n#SBATCH --time=%lld:%02lld:00\n", (long long)ceil(node_GB),
          (long long)(minutes / 60), (long long)(minutes % 60));
  fprintf(to, "#SBATCH --signal=B:USR1@120\n#SBATCH --requeue\n");
  if (c->cycle->states > 1) fprintf(to, "#SBATCH --array=0-%d\n", c->cycle->states - 1);
}

static enum status plan_cycle(struct campaign *c, const struct plan_params *p,
                              struct stage_results *results) {
  struct total total = {0, 0, 0, 0};
  enum status status = campaign_do(c);
  for (int i = 0; i < c->units; i++) add_need(&c->unit[i], &total);
  if (log_is_speaker()) {
    for (int i = 0; i < c->units; i++) print_unit(c, &c->unit[i]);
    print_slurm(c, p, &total, stdout);
  }
  stage_result_add(results, "memory_per_rank", 1e-9 * total.memory_bytes, "GB");
  stage_result_add(results, "disk", 1e-9 * total.disk_bytes, "GB");
  stage_result_add(results, "units", c->units, "");
  stage_result_add(results, "units_not_known_yet", total.unknown, "");
  return status;
}

static enum status plan(MPI_Comm comm, const struct stage_common *common, const void *params,
                        const char *operand, struct stage_results *results) {
  struct cycle cycle;
  const char *folder = common->output[0] ? common->output : "xcsct-plan-of-no-folder";
  if (!operand[0])
    return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct plan CONFIG or xcsct plan STAGE ..."));
  TRY(cycle_open(comm, operand, &cycle));
  struct campaign c  = {.comm        = comm,
                        .common      = common,
                        .cycle       = &cycle,
                        .folder      = folder,
                        .home        = folder,
                        .plan        = true,
                        .from        = "",
                        .until       = "",
                        .only_states = "",
                        .only_stages = ""};
  enum status status = plan_cycle(&c, params, results);
  campaign_free(&c);
  cycle_close(&cycle);
  return status;
}

const struct campaign_command campaign_check = {
    "check", "all problems of a cycle's file at once (or: check STAGE OPTIONS)", "CONFIG",
    &check_set, check};
const struct campaign_command campaign_plan = {
    "plan", "memory, disk and #SBATCH lines of a cycle (or: plan STAGE OPTIONS)", "CONFIG",
    &plan_set, plan};
