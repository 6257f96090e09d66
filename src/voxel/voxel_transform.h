/* Moving volumes against each other: an affine map of positions, resampling, shrinking, phase correlation. */
#pragma once
#include "grid.h"

/* Position p (z, y, x, in voxels) of the target stands at turn p + at of the source. */
struct voxel_map {
  double turn[3][3], at[3];
};
/* Local. How far the map leads along z from any voxel of a volume n, voxels. */
double voxel_map_reach(const struct voxel_map *map, const int64_t n[3]);

/* Slices that voxel_resample reads beyond the reach of a map: the halo of its source is at least
 * ceil(reach) + VOXEL_RESAMPLE_SLICES, or the rank owns all slices. */
enum { VOXEL_RESAMPLE_SLICES = 2, VOXEL_LANCZOS_SLICES = 3 };
/* Local. to(p) = from(map p) for the owned voxels of `to`, by cubic convolution. Both float32 on the same slabs along
 * z; from has its halo along z filled. Beyond the volume stands its outermost voxel. */
enum status voxel_resample(const struct voxel_map *map, const struct grid_field *from,
                           struct grid_field *to);

/* Local. The slices low .. behind - 1 of a volume n that `taps` slices about the image of slices first .. first + count - 1
 * (count > 0) reach. */
void voxel_map_slices(const struct voxel_map *map, const int64_t n[3], int64_t first, int64_t count,
                      int taps, int64_t *low, int64_t *behind);
/* Local. The same resampling in parts: fields without halo that hold whole slices of a volume n, from mine.start[0] on;
 * `from` at least those of voxel_map_slices. lanczos: by a kernel of three lobes (six taps an axis, weights of unit sum):
 * steeper edges, which overshoot by some per cent; several times as long. */
enum status voxel_resample_part(const struct voxel_map *map, const int64_t n[3], bool lanczos,
                                const struct grid_field *from, struct grid_field *to);

/* Collective. `half`, made here with `halo`, holds means of 2 x 2 x 2 voxels (an odd last row is left out, an axis of one
 * voxel stays). Slabs along z, float32; the halo of `from` (at least 1 along z) is exchanged here. */
enum status voxel_halve(MPI_Comm comm, struct grid_field *from, const int64_t halo[3],
                        struct grid_field *half);

struct voxel_shift {
  double shift_px
      [3]; /* what stands at p of `fixed` stands at p + shift of `moved`; rounded to 1/100 voxel */
  double peak; /* share of the spectrum's weight that is in phase there: 1 for equal volumes */
};
/* Collective. Phase correlation of two float32 fields of equal plan, no shift longer than most_px along any axis.
 * Beside the fields takes 8 bytes per voxel (4 more while a field moves to FFTW's slabs). */
enum status voxel_shift_find(MPI_Comm comm, const struct grid_field *fixed,
                             const struct grid_field *moved, int64_t most_px,
                             struct voxel_shift *shift);
