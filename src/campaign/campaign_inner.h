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
void cycle_close(struct cycle *cycle);
/* Local. A file name of the cycle, relative to its folder. */
void cycle_path(const struct cycle *cycle, const char *name, char *path, size_t bytes);

/* One stage of one state (state >= 0) or of all (-1). */
enum unit_state { UNIT_WAITS, UNIT_DONE, UNIT_KEPT, UNIT_SKIPPED, UNIT_FAILED };
struct unit {
  const struct stage *stage;
  int state;
  enum unit_state now;
  char why[512];
  double seconds;
  struct stage_results results;
};
struct campaign {
  MPI_Comm comm;
  const struct stage_common *common;
  const struct cycle *cycle;
  const char *folder; /* OUT */
  bool force, dry_run;
  struct unit *unit;
  int units;
};
/* Collective. Does a unit unless its file's record equals today's. Never leaves a failure unrecorded: the unit's
 * own status is returned and stands in unit->why. */
enum status unit_do(const struct campaign *campaign, struct unit *unit);

/* Collective; rank 0 writes. summary.csv, status.json; a line in journal/run.log (appended, fsynced). */
enum status summary_write(const struct campaign *campaign);
enum status status_write(const struct campaign *campaign, const char *phase);
enum status journal_add(const struct campaign *campaign, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void summary_print(const struct campaign *campaign, FILE *to);
