/* Private to flux: what is found out by more solutions than one per direction. */
#pragma once
#include "flux_task.h"

/* Local. Are `cases` understood? USAGE. */
enum status flux_cases_check(const struct flux_params *params);
/* Local. Voxels of the largest case over those of the box. */
double flux_cases_share(const struct flux_params *params, const struct grid_box *box, double slice_um);
/* Collective. All cases; NOT_CONVERGED as in a direction. */
enum status flux_cases_run(struct flux_task *task);
/* Local. USAGE when the studies asked for do not go with each other or the region. */
enum status flux_study_check(const struct flux_params *params);
/* Collective, after the directions. Adds the results of every study that is asked for; NOT_CONVERGED as in a direction:
 * task->converged. */
enum status flux_study_run(struct flux_task *task);
/* Collective. Tables of the studies. */
enum status flux_study_write(struct flux_task *task, struct store_output *output);
void flux_study_free(struct flux_task *task);
