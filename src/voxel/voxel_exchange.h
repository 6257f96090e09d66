/* Private: what ranks hold around their boxes, exchanged as dense boxes that the caller packs and takes. */
#pragma once
#include "grid.h"

struct voxel_exchange {
  const struct grid_plan *plan;
  int64_t reach;    /* boxes are grown by so much */
  size_t bytes;     /* of a voxel in a message */
  bool only_upward; /* each pair of ranks once: the lower one sends */
  void *owner;
  void (*pack)(const void *owner, const struct grid_box *box, void *to);
  /* Local. What the owner of `box` (voxels of the volume, not mine) packed. */
  enum status (*take)(void *owner, const struct grid_box *box, const void *from);
};
/* Collective. */
enum status voxel_exchange_run(MPI_Comm comm, const struct voxel_exchange *exchange);
