/* Private to campaign: the cycle's file, units of work, the journal and what is left behind. */
#pragma once
#include "campaign.h"

enum { CYCLE_STATES_MOST = 256, CYCLE_NAME_BYTES = 65 };

struct cycle_state {
  char name[CYCLE_NAME_BYTES];
  double percent;
  char step[32];
  const struct config_node *node; /* the state's mapping */
};
struct cycle {
  struct config_file *file;
  char folder[STORE_NAME_BYTES]; /* of the YAML file; relative names start there */
  struct cycle_state state[CYCLE_STATES_MOST];
  int states;
};
/* Collective. Reads and checks the whole file: every error with its place, all at once. */
enum status cycle_open(MPI_Comm comm, const char *path, struct cycle *cycle);
/* Local. What the stages say about their parameters together; with it, all mistakes found so far. */
enum status cycle_check(struct cycle *cycle, const struct stage_common *common);
void cycle_close(struct cycle *cycle);
/* Local. A file name of the cycle, relative to its folder. */
void cycle_path(const struct cycle *cycle, const char *name, char *path, size_t bytes);
/* Local. The parameters of a stage that a state's own block holds, above those of the file: NULL when none. */
const struct config_node *cycle_state_block(const struct cycle *cycle, int state,
                                            const struct stage *stage);
/* Local. Calls `see` for every file that the cycle names, with the node that names it. */
void cycle_files(const struct cycle *cycle, void *context,
                 void (*see)(void *context, const char *name, const struct config_node *node));

/* One stage of one state (state >= 0) or of all (-1). */
enum unit_state { UNIT_WAITS, UNIT_DONE, UNIT_KEPT, UNIT_SKIPPED, UNIT_FAILED, UNIT_BELOW };
struct unit {
  const struct stage *stage;
  int state;
  enum unit_state now;
  enum status status; /* its own */
  bool damaged;       /* its file is there, but cannot be read */
  bool partial;       /* of the files that it left with each state, some are gone */
  char why[512];
  double seconds;
  double read_bytes, written_bytes; /* of all ranks */
  double memory_bytes;              /* counted, at its peak, of the busiest rank */
  struct stage_need need;           /* the forecast, of plan */
  struct stage_results results;
};
/* A value of a stage's parameter that stands above the file's: what a row of a sweep sets. */
struct campaign_value {
  const struct stage *stage;
  int state; /* -1: of all */
  char name[64], text[CONFIG_TEXT_BYTES];
};
struct campaign {
  MPI_Comm comm;
  const struct stage_common *common;
  const struct cycle *cycle;
  const char *folder; /* OUT */
  const char *home;   /* names in records stand relative to it: OUT, or the sweep's folder */
  bool redo, dry_run, plan;
  const char *from, *until, *only_states, *only_stages; /* "" = all */
  const struct campaign_value *value;
  int values;
  const char *base;            /* a sweep's row: the folder with what all rows share, else NULL */
  const bool *stage_is_shared; /* by place in campaign_stages; NULL without base */
  struct unit *unit;
  int units;
  int64_t side_by_side; /* states worked on at the same time; 0: as many as have enough ranks */
  int groups, group;    /* how many, and this rank's */
  MPI_Comm inner;       /* of this rank's group */
  bool aside;           /* in a group that does not write status.json */
  int now;              /* the unit in work; -1: none */
  struct {
    char what[64];
    int64_t done, total;
    double left_s; /* NAN: not known */
  } progress;      /* inside it; total 0: nothing said yet */
  int *lock;       /* of each state, then of OUT; NULL outside enter..leave */
  char notes
      [STORE_NAME_BYTES]; /* where status, summary and stop file are: OUT, or a single state's */
};
/* "done", "kept", ... */
const char *unit_word(enum unit_state now);
/* The state's name, or "all". */
const char *unit_state_name(const struct campaign *campaign, const struct unit *unit);

/* What a unit works with. */
struct work {
  void *params;
  char output[STORE_NAME_BYTES], input[STORE_NAME_BYTES], folder[STORE_NAME_BYTES];
  struct stage_bundle bundle, *states;
  char (*state_folder)[STORE_NAME_BYTES];
  struct work_extras *extras;
  char *record;
};
/* Collective. Parameters, bundle and record of a unit; *ready false when there is nothing to work on
 * (unit->why says what is missing). work_free also after a failure. */
enum status work_make(const struct campaign *campaign, struct unit *unit, struct work *work,
                      bool *ready);
void work_free(const struct unit *unit, struct work *work);
/* Local. The parameters alone; and whether the cycle gives the unit anything to do. */
enum status work_params(const struct campaign *campaign, const struct unit *unit,
                        struct work *work);
bool work_is_wanted(const struct campaign *campaign, struct unit *unit, struct work *work);

/* Collective. Does a unit unless its file's record equals today's. The unit's own status is returned and
 * stands in unit->why. */
enum status unit_do(const struct campaign *campaign, struct unit *unit);

/* Collective. The units of the chosen states and stages, in the order in which products are made and
 * read, then each of them; what fails is noted and the rest goes on. The first failure is returned. */
enum status campaign_do(struct campaign *campaign);
void campaign_free(struct campaign *campaign);
/* Collective. One unit, told of and journalled. Its own failure is noted in it, and no failure here but STOPPED. */
enum status unit_in_turn(struct campaign *campaign, int at);
/* Collective. Splits the ranks: `wanted` groups (0: by what there is), at most `states`. */
enum status groups_make(struct campaign *campaign, int64_t wanted, int states);
/* Collective. Units first .. first + n - 1, each of one state, dealt to the groups. */
enum status groups_do(struct campaign *campaign, int first, int n);
/* Local. Nothing of the name `mark` in it, but something else than a journal, where batch jobs log. */
bool folder_is_foreign(const char *folder, const char *mark);
/* Local. A folder that can be written: made, or there already. */
enum status folder_make(const char *folder);
/* Collective. Makes OUT, refuses a foreign one (unless force), takes the locks: of
 * each chosen state, and of all when all are chosen. Runs of single states can work side by side. */
enum status campaign_enter(struct campaign *campaign, bool force);
void campaign_leave(struct campaign *campaign);

/* Collective; rank 0 writes. summary.csv, status.json; a line in journal/run.log (appended, fsynced). */
enum status summary_write(const struct campaign *campaign);
/* Where the cycle names its truth: truth.csv, and the table truth | result | pull on stdout when `print`. */
enum status truth_write(const struct campaign *campaign, bool print);
enum status status_write(const struct campaign *campaign, const char *phase);
/* Local. status.json of a run going on, unless it was written less than a second ago. */
enum status status_refresh(const struct campaign *campaign);
/* Collective; rank 0 says. Time, bytes and memory of each stage's units, and of all. */
void summary_say_cost(const struct campaign *campaign, double begun_s);
enum status journal_add(const struct campaign *campaign, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void summary_print(const struct campaign *campaign, FILE *to);

/* The commands of campaign_commands, one file each. */
extern const struct campaign_command campaign_run, campaign_status, campaign_check, campaign_plan,
    campaign_sweep, campaign_init, campaign_validate, campaign_report, campaign_export,
    campaign_preview, campaign_centre;

/* Collective. The cycle's file is kept in OUT/journal, so that the report knows it later; and the report itself, with
 * `done` how the run went. What is returned: `done`, or the report's failure. */
enum status report_keep_cycle(const struct campaign *campaign, const char *cycle_file);
enum status report_after(const struct campaign *campaign, enum status done);
