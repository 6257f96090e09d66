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

/* The same of a volume that comes in parts, each a field of this rank alone (MPI_COMM_SELF). */
struct voxel_isosurface_work;
struct voxel_isosurface_part {
  int64_t whole[3], start[3]; /* the volume, and where in it the part begins */
  struct grid_box
      core; /* what counts, in the part's places: VOXEL_ISOSURFACE_MARGIN voxels from its ends
                               * that are not the volume's */
};
enum { VOXEL_ISOSURFACE_MARGIN = 3 };
/* Local. */
enum status voxel_isosurface_begin(int64_t count, double low, double high, const double edge[3],
                                   struct voxel_isosurface_work **work);
void voxel_isosurface_free(struct voxel_isosurface_work **work);
/* Local. Fields as above; of numbers the core and one voxel about it are looked at, beyond the volume they are 0. */
enum status voxel_isosurface_add(struct voxel_isosurface_work *work,
                                 const struct voxel_isosurface_part *part, struct grid_field *grey,
                                 const struct grid_field *numbers);
/* Collective. */
enum status voxel_isosurface_end(MPI_Comm comm, struct voxel_isosurface_work *work,
                                 struct voxel_isosurface **table);
