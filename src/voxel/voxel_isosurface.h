#pragma once
#include "grid.h"

/* Surface and volume of what lies between two grey values, by the grey values themselves. */
struct voxel_isosurface {
  double area, volume; /* in the edges' unit */
};
/* Collective. Of the places with low < grey < high (either may be infinite). grey: uint16 or float32, numbers (may be
 * NULL: all is 1): uint8 or int32, 0 and what is above count are outside, on the same plan; both with a halo of at least 1,
 * which is exchanged here. Surface counts for the greatest number at the corners of its cube of eight voxels, so
 * table[number - 1] of `count` rows; made here, the caller memory_free's it. Where the volume ends no surface lies. edge: of
 * a voxel along z, y, x. Takes 4 bytes per voxel besides. Sums are in whole steps of 2^-24 of a voxel's face and
 * volume, so they do not depend on the number of ranks. */
enum status voxel_isosurface_table(MPI_Comm comm, struct grid_field *grey,
                                   struct grid_field *numbers, int64_t count, double low,
                                   double high, const double edge[3],
                                   struct voxel_isosurface **table);
