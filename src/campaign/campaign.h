/* campaign: the list of stages that work, and the commands over many states: run, status, sweep, ... */
#pragma once
#include "stage.h"

/* The stages of stage_list.def, each after those that make what it reads. */
const struct stage *const *campaign_stages(int *n);
const struct stage *campaign_stage_find(const char *name); /* NULL: no such stage */

/* Does `stage` read what `maker` writes? */
bool campaign_stage_needs(const struct stage *stage, const struct stage *maker);

/* A command that is no stage. `operand` is its word on the command line ("" when none was given). */
struct campaign_command {
  const char *name, *words;
  const char *operand; /* what the word is ("CONFIG"), "" when the command takes none */
  const struct config_set *params;
  enum status (*run)(MPI_Comm comm, const struct stage_common *common, const void *params,
                     const char *operand, struct stage_results *results);
};
const struct campaign_command *campaign_commands(int *n);
