/* campaign: the list of stages that work, and the commands over many states: run, status, sweep, ... */
#pragma once
#include "stage.h"

/* The stages of stage_list.def, in the order of the pipeline. */
const struct stage *const *campaign_stages(int *n);
const struct stage *campaign_stage_find(const char *name); /* NULL: no such stage */

/* A command that is no stage. `operand` is its word on the command line ("" when none was given). */
struct campaign_command {
  const char *name, *words;
  const char *operand; /* what the word is ("CONFIG"), "" when the command takes none */
  const struct config_set *params;
  enum status (*run)(MPI_Comm comm, const struct stage_common *common, const void *params,
                     const char *operand, struct stage_results *results);
};
const struct campaign_command *campaign_commands(int *n);
