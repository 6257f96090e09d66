/* Private to flux: what is found out by more solutions than one per direction. */
#pragma once
#include "flux_task.h"

/* Local. Are `cases` understood? USAGE. */
enum status flux_cases_check(const struct flux_params *params);
/* Local. Voxels of the largest case over those of the box. */
double flux_cases_share(const struct flux_params *params, const struct grid_box *box,
                        double slice_um);
/* What the graphs of a solution take, the certificate's part with them when asked for, and how many of the voxels conduct
 * and how many nodes the first graph has, both per voxel. */
struct flux_sample {
  double bytes_per_voxel, bytes_per_node, open, nodes;
};
/* Collective. Measured on cubes of the labels (flux_sample.c). */
enum status flux_sample_find(const struct flux_task *task, struct store_input *input, bool route,
                             struct flux_sample *sample);
/* Local. Do so many boxes come apart that the cycles in float need the help of PETSc's flexible CG? Bodies of several voxels
 * have 0.13 to 0.18 nodes per conducting voxel, sites drawn one by one 0.5. */
bool flux_sample_is_hard(const struct flux_sample *sample);
/* Local. Bytes of the graph that one of several ranks ends up with, at most. */
double flux_sample_alone(const struct flux_sample *sample, const struct grid_box *box);
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
