/* Private to flux: what is kept of a long solution, so that a killed run goes on. */
#pragma once
#include "flux_task.h"

/* A file OUTPUT.checkpoint of our own: the record of the work, the concentration of the direction in work, and the
 * answers of the directions that are done. */
struct flux_checkpoint {
  struct flux_task *task;
  char path[STORE_NAME_BYTES];
  int axis; /* in work */
  bool done[3];
  struct flux_answer answer[3];    /* of the directions done */
  int start_axis, start_iteration; /* of the concentration that was found, -1: none */
  struct grid_field start;
};
/* Collective. Takes what a checkpoint of an equal record holds; a foreign or older one is left alone. */
enum status flux_checkpoint_find(struct flux_task *task, struct flux_checkpoint *checkpoint);
/* Collective; a flux_case's `keep`. `context` is a checkpoint. */
enum status flux_checkpoint_keep(void *context, int iteration,
                                 const struct grid_field *concentration);
/* Collective. After the output stands under its name. */
void flux_checkpoint_remove(struct flux_checkpoint *checkpoint);
void flux_checkpoint_free(struct flux_checkpoint *checkpoint);
