/* track: what a phase gained and lost from state to state, and what became of its components. */
#pragma once
#include "stage.h"
#include "voxel.h"

struct track_params {
#include "config_struct.inc"
#include "track_params.def"
#include "config_undef.inc"
};
extern const struct stage track_stage;

enum { TRACK_LOST = 128, TRACK_STATES_MOST = 127, TRACK_PRESENCE_MOST = 32 };

/* One state against the one before it (in the first state all but the first two are 0). */
struct track_change {
  int64_t voxels,
      faces; /* of the phase; faces of its voxels to others or to the outside of the box */
  int64_t gained, lost; /* voxels */
  /* of components of at least min_voxels: how many there are, without a forerunner, without a successor, with
   * several successors (counted in the state before), with several forerunners; overlap of voxels is descent */
  int64_t components, births, deaths, splits, merges;
};
enum track_kind { TRACK_LIVES, TRACK_BIRTH, TRACK_DEATH, TRACK_SPLIT, TRACK_MERGE, TRACK_BOTH };
enum { TRACK_KIN = 5 };
/* Sorted numbers of components and their voxels; number owns both. */
struct track_list {
  int64_t *number, *voxels, n;
};
/* What is kept from state to state: the runs of the phase of every state, and no volume. Zeroed at first. */
struct track {
  struct grid_plan plan; /* slabs along z */
  int states;
  struct voxel_parts *state[TRACK_STATES_MOST]; /* numbers of components; of small ones negative */
  struct track_list large; /* components of the last state of at least min_voxels */
  int64_t (*kin)[TRACK_KIN], kin_n,
      kin_room; /* lineage: rows of state (from 2), component of the state before, of this
                              one, shared voxels (own ones of those without kin), track_kind; 0: no component */
};
/* The labels of a state, some planes of each rank at a time. */
struct track_labels {
  /* Collective. The box of this rank (n[0] = 0: nothing), contiguous. */
  enum status (*read)(void *owner, const struct grid_box *box, uint8_t *labels);
  void *owner;
  int64_t deep; /* planes at a time, at least 1; results do not depend on it */
};
/* Local. The plan that all states are dealt by. */
enum status track_begin(const struct grid_plan *plan, struct track *track);
/* Collective. Takes the next state. */
enum status track_add(MPI_Comm comm, const struct track_params *params,
                      const struct track_labels *labels, struct track *track,
                      struct track_change *change);
/* Local. Row y of plane z of this rank's box. growth: 0 never of the phase, 1 from the first state on, k gained in state k
 * (from 1), TRACK_LOST + k lost in state k, always the last change. presence (NULL: not asked for, or more than
 * TRACK_PRESENCE_MOST states): bit k: of the phase in state k + 1. line: room for VOXEL_ROW_SPARE values more. */
void track_row(const struct track *track, int64_t z, int64_t y, int32_t *line, uint8_t *growth,
               uint32_t *presence);
void track_free(struct track *track);
