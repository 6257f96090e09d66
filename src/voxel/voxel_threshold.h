#pragma once
#include "grid.h"

enum { VOXEL_CLASSES_MOST = 5 };

/* A histogram of equal bins from the least to the greatest value; the last bin holds the greatest. */
struct voxel_histogram {
  double low, high;
  int bins;
  int64_t *count, total; /* count is owned */
};
/* Collective. Of all voxels of a uint8, uint16 or float32 field, the same on any rank count. INPUT when a value
 * is NaN or infinite (the voxel is named). Bin edges are those of numpy.histogram for the type. */
enum status voxel_histogram_make(MPI_Comm comm, const struct grid_field *field, int bins,
                                 struct voxel_histogram *histogram);
/* Which voxels a histogram counts: those of a uint8 mask on the same plan (NULL: all) that are not 0, with
 * low <= grey <= high. */
struct voxel_choice {
  const struct grid_field *mask;
  double low, high;
};
/* Collective. The same of the voxels chosen (NULL: all); INPUT when there are none. */
enum status voxel_histogram_of(MPI_Comm comm, const struct grid_field *field,
                               const struct voxel_choice *choice, int bins,
                               struct voxel_histogram *histogram);
/* The same of a volume that comes in pieces. Local: range, at first INFINITY and -INFINITY, is widened to hold a piece's
 * values. Collective: over the ranks. Local: an empty histogram of that range (INPUT: nothing was chosen), a piece's
 * values added to it. Collective: summed over the ranks. */
enum status voxel_histogram_widen(const struct grid_field *piece, const struct voxel_choice *choice,
                                  double range[2]);
void voxel_range_sum(MPI_Comm comm, double range[2]);
enum status voxel_histogram_begin(const double range[2], int bins,
                                  struct voxel_histogram *histogram);
enum status voxel_histogram_add(const struct grid_field *piece, const struct voxel_choice *choice,
                                struct voxel_histogram *histogram);
void voxel_histogram_sum(MPI_Comm comm, struct voxel_histogram *histogram);
/* Collective. INPUT, naming the voxel, when a value of a float32 field is NaN or infinite: filters that order values
 * could hide it. */
enum status voxel_finite_check(MPI_Comm comm, const struct grid_field *field);
void voxel_histogram_free(struct voxel_histogram *histogram);

/* Local. The classes - 1 thresholds (ascending, bin centres) of greatest between-class variance (Otsu 1979; Liao
 * et al. 2001 for several classes); a voxel is above a threshold when its value is greater. INPUT when fewer
 * distinct values than classes are there. */
enum status voxel_otsu(const struct voxel_histogram *histogram, int classes, double *threshold);

/* Local. One threshold (a bin centre) of which both sides, each as one grey value, have the histogram's first three
 * moments (Tsai 1985). INPUT as voxel_otsu. */
enum status voxel_moments(const struct voxel_histogram *histogram, double *threshold);

/* Local. One threshold (a bin centre): midway between the mean grey values of its two sides, from the overall mean on
 * (Ridler and Calvard 1978); and of greatest sum of both sides' entropies (Kapur et al. 1985). INPUT as voxel_otsu. */
enum status voxel_isodata(const struct voxel_histogram *histogram, double *threshold);
enum status voxel_entropy(const struct voxel_histogram *histogram, double *threshold);

/* Collective. labels (uint8, made here, no halo): how many thresholds the voxel lies above. */
enum status voxel_label(MPI_Comm comm, const struct grid_field *field, const double *threshold,
                        int thresholds, struct grid_field *labels);
