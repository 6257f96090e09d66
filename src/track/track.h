/* track: what a phase gained and lost from state to state, and what became of its components. */
#pragma once
#include "stage.h"

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
/* What is kept from state to state. Zeroed at first. */
struct track {
  int states;
  struct track_list large; /* components of the last state of at least min_voxels */
  int64_t (*kin)[TRACK_KIN], kin_n,
      kin_room; /* lineage: rows of state (from 2), component of the state before, of this
                              one, shared voxels (own ones of those without kin), track_kind; 0: no component */
  struct grid_field
      growth; /* uint8: 0 never of the phase, 1 from the first state on, k gained in state k (from 1),
                               TRACK_LOST + k lost in state k: always the last change */
  int states_most; /* that will come, by the caller; at most TRACK_PRESENCE_MOST have a presence */
  struct grid_field
      presence; /* bit k: of the phase in state k + 1; uint8, 16 or 32 as states_most wants, or none */
  struct grid_field before; /* components of the last state; of small ones the number's negative */
};
/* Collective, no files. Takes the next state's labels (uint8, the same plan each time). */
enum status track_add(MPI_Comm comm, const struct track_params *params,
                      const struct grid_field *labels, struct track *track,
                      struct track_change *change);
void track_free(struct track *track);
