/* Private to align: what its stage works on. */
#pragma once
#include "align.h"

struct align_state {
  struct stage_source of;        /* its volume */
  char output[STORE_NAME_BYTES]; /* file of its aligned one */
};
struct align_work {
  const struct stage_job *job;
  const struct align_params *params;
  struct align_state *source;
  int sources;
  int64_t n[3];
  double voxel_um[3];
  char unit[64];
  struct align_view view;
  struct grid_plan slabs; /* of the aligned volumes */
  int64_t deep, rounds;   /* slices of those in a round */
  int64_t need_bytes;
  struct grid_field fixed;
  double level[2]; /* slopes of the layers along y and x, 0 for none */
  int refused;
  char words[256]; /* of the first refusal */
};

struct align_reading {
  MPI_Comm comm;
  struct store_input *input;
};

/* Local. As little binning as memory lets, and rounds for what is read and written; need_bytes of it. */
enum status align_rounds_size(struct align_work *work, int64_t limit_bytes);
/* Collective. A state's volume, checked against the first one's shape; store_close(&reading->input) ends it. */
enum status align_volume_open(const struct align_work *work, const struct align_state *state,
                              struct align_reading *reading, struct align_source *volume);
/* Local. Slices of round k of this rank. */
void align_round_place(const struct align_work *work, int64_t k, int64_t *first, int64_t *count);
/* Collective. A volume under a map (NULL: as it is) becomes a state's `aligned`. */
enum status align_write(const struct align_work *work, const struct stage_job *job,
                        const struct align_state *state, const struct voxel_map *map);
/* Collective. view.threshold as the parameters say. */
enum status align_threshold_find(struct align_work *work);
