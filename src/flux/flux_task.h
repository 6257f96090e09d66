/* Private to flux: one call of the stage, shared by its parts. */
#pragma once
#include "flux_labels.h"
#include "flux_statistics.h"

struct flux_task {
  const struct stage_job *job;
  const struct flux_params *params;
  struct flux_labels labels;
  struct flux_region region;
  struct grid_field codes;
  int64_t domain_vox;
  double voxel_um[3];
  const char *suffix; /* of its results; NULL: none */
  const char *axes;   /* along which it flows instead of along `direction`, like "yx"; NULL */
  bool converged;
  char worst[160]; /* the direction that did not converge, in words */
  struct flux_state state;
  bool has_state;
  struct flux_statistics statistics; /* of the direction whose fields are kept */
  int statistics_axis;
  int64_t labels_n[3]; /* of the whole volume */
  char labels_file[STORE_NAME_BYTES],
      labels_name[STORE_NAME_BYTES]; /* FILE, and what store_open took */
  bool voxel_known;
  struct grid_field start; /* of the parameter `start` */
  double *representative;  /* owned: rows of FLUX_REPRESENTATIVE */
  int64_t representative_rows;
};
enum {
  FLUX_REPRESENTATIVE = 13,
  FLUX_EDGE_MOST      = 65534
}; /* boxes of voxels are counted in 16 bits */
/* Is the flow along this axis asked for? */
bool flux_runs(const struct flux_params *params, int axis);
bool flux_task_runs(const struct flux_task *task, int axis);
/* A result, with its axis as a suffix where all are done; axis -1: none. */
struct stage_result *flux_result(struct flux_task *task, const char *name, int axis, double value,
                                 const char *unit);
/* Collective. Region and labels of the parameters; what is held is freed by flux_task_free. */
enum status flux_task_read(struct flux_task *task);
void flux_task_free(struct flux_task *task);
/* What one direction gave. */
void flux_results_add(struct flux_task *task, int axis, const struct flux_answer *answer);
/* The problem that the parameters ask for. */
void flux_case_of(const struct flux_task *task, int axis, struct flux_case *problem);
/* sum of fraction times diffusivity over voxels counted by code. */
double flux_conducting(const struct flux_task *task, const int64_t voxels[FLUX_CODES],
                       int64_t domain_vox);
/* Tells what came out of one direction and remembers when it did not converge. */
void flux_tell(struct flux_task *task, const char *where, const struct flux_answer *answer);
