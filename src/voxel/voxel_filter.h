#pragma once
#include "grid.h"

/* Filters work in place on a field whose halo is wide enough; they exchange it first, and leave it stale. The
 * volume's faces reflect, as scipy.ndimage's filters do. Collective. */

/* 3 x 3 x 3 median of a uint16 or float32 field with a halo of at least 1. Method: the 27 values as 3 x 9 sorted
 * columns, shared between neighbours. */
enum status voxel_median(MPI_Comm comm, struct grid_field *field);

/* Gaussian of a standard deviation in voxels, float32, with a halo of at least voxel_gauss_halo on every axis. */
int64_t voxel_gauss_halo(double sigma_vox);
enum status voxel_gauss(MPI_Comm comm, struct grid_field *field, double sigma_vox);

/* Non-local means of a float32 field with a halo of at least voxel_nlm_halo on every axis: the mean of all voxels up to
 * search_vox away along every axis, by weights exp(-d / grey^2), d the mean square difference of both voxels' 3 x 3 x 3
 * neighbourhoods. voxel_nlm_bytes: scratch on a box of n voxels. */
int64_t voxel_nlm_halo(int search_vox);
int64_t voxel_nlm_bytes(const int64_t n[3], int search_vox);
enum status voxel_nlm(MPI_Comm comm, struct grid_field *field, int search_vox, double grey);

/* The exact Euclidean ball: all offsets with dz^2 + dy^2 + dx^2 <= radius^2 (123 for 3), given as runs along x: for
 * each (z, y) the half width. Local. */
enum { VOXEL_RADIUS_MOST = 50 };
struct voxel_ball {
  int radius, rows;
  struct voxel_ball_row {
    int z, y, half;
  } * row;
};
enum status voxel_ball_make(int radius, struct voxel_ball *ball);
void voxel_ball_free(struct voxel_ball *ball);

/* Grey erosion (least value over the ball), dilation (greatest), opening (erosion, then dilation) and closing;
 * uint8, uint16 or float32 without NaN, a halo of at least the radius on every axis. Opening and closing are faster with
 * one of twice the radius: then both go in one pass. */
enum voxel_ball_filter { VOXEL_ERODE, VOXEL_DILATE, VOXEL_OPEN, VOXEL_CLOSE };
enum status voxel_ball_filter(MPI_Comm comm, struct grid_field *field,
                              enum voxel_ball_filter filter, int radius);
/* Local. Scratch of a filter on a box of n voxels, at most. */
int64_t voxel_ball_bytes(const int64_t n[3], enum grid_type type, int radius);
