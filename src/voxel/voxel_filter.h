#pragma once
#include "grid.h"

/* Collective. 3 x 3 x 3 median of a uint16 or float32 field onto `filtered` (made here, no halo; the
 * volume's faces reflect, as scipy.ndimage.median_filter does). `field` needs a halo of at least 1; its halo
 * is exchanged. Method: the 27 values as 3 x 9 sorted columns, shared between neighbours. */
enum status voxel_median(MPI_Comm comm, struct grid_field *field, struct grid_field *filtered);

/* Offsets (z, y, x) of the exact Euclidean ball: all with dz^2 + dy^2 + dx^2 <= radius^2 (123 for 3). Local.
 * Given as runs along x: for each (z, y) the half width. */
struct voxel_ball {
  int radius, rows;
  struct voxel_ball_row {
    int z, y, half;
  } * row;
};
enum status voxel_ball_make(int radius, struct voxel_ball *ball);
void voxel_ball_free(struct voxel_ball *ball);

/* Collective. Grey opening (erosion, then dilation) by a ball, in place; type uint8, uint16 or float32; halo of
 * at least the radius on every axis; the faces reflect. */
enum status voxel_opening(MPI_Comm comm, struct grid_field *field, int radius);
