/* Private to flux: which part of the volume counts. */
#pragma once
#include "flux.h"

struct flux_disc {
  double x, y, radius; /* voxels; radius 0: no disc */
};
struct flux_region {
  struct grid_box box;
  struct flux_disc disc;
  bool has_interface;
  double interface_um; /* height of the interface that the box lies about */
};
/* Local. Is the middle of the voxel in column (y, x) of the whole volume in the disc (or is there none)? */
bool flux_disc_has(const struct flux_disc *disc, int64_t y, int64_t x);
/* Local. What of `box`, `interphase_um`, `interface` and `disc` can be seen without a file. USAGE. */
enum status flux_region_check(const struct flux_params *params);
/* Collective. The box of `box`, cut to the slices `interphase_um` about the interface: at the height given, or at the
 * mean of the state's height map (inside the disc), which is read. needs_map = false: a map that is not there yet
 * leaves all slices in. USAGE, INPUT. */
enum status flux_region_find(const struct stage_job *job, const struct store_info *labels,
                             const double voxel_um[3], bool needs_map, struct flux_region *region);
