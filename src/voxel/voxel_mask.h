#pragma once
#include "voxel_filter.h"

/* The voxels of one phase as packed bits, an eighth of a byte each: this rank's box and a halo of whole words. Rows
 * hold one word before the first voxel. Owns what it points to. */
struct voxel_mask {
  struct grid_plan plan;
  struct grid_box mine;
  int64_t halo, row[2]; /* strides of z and y in words */
  uint64_t *bit;
};
/* Collective. The voxels of a uint8 field that equal `phase`; halo at most VOXEL_RADIUS_MOST. */
enum status voxel_mask_make(MPI_Comm comm, const struct grid_field *labels, int phase, int64_t halo,
                            struct voxel_mask *mask);
void voxel_mask_free(struct voxel_mask *mask);
/* Collective, in place: erosion, dilation, opening or closing by the exact ball of a radius up to the halo. Beyond
 * the volume nothing erodes and nothing grows, as in skimage.morphology and in grey filters that reflect. */
enum status voxel_mask_filter(MPI_Comm comm, struct voxel_mask *mask, enum voxel_ball_filter filter,
                              int radius);
/* Local. Voxels in the mask become `phase`, those that were `phase` and left it become `instead`. */
void voxel_mask_put(const struct voxel_mask *mask, int phase, int instead,
                    struct grid_field *labels);
