/* Private to flux: what a solved flux map looks like as numbers. */
#pragma once
#include "flux.h"

enum { FLUX_PERCENTILES = 5 };
extern const double flux_percentile[FLUX_PERCENTILES]; /* 5, 25, 50, 75 and 95 % */

/* Of the magnitude of the flux at the centres of percolating voxels, in units of the mean gradient times a
 * diffusivity of 1. NAN where there is no such voxel. */
struct flux_spread {
  double voxels, mean;
  double variation; /* coefficient of variation: standard deviation over mean */
  double
      constrictivity; /* mean^2 / mean of squares = 1/(1 + variation^2); 1 when nothing narrows */
  double percentile[FLUX_PERCENTILES];
  double hottest; /* share of the summed magnitude that the 1 % of voxels with most of it hold */
};
/* The whole and each slice across the flow. */
struct flux_statistics {
  struct flux_spread whole;
  double path; /* mean magnitude over mean flux along the axis: length of the flow's paths over L */
  int64_t slices;
  struct flux_spread *slice; /* owned */
  double *across;            /* owned: mean flux through each layer of faces, slices + 1 */
  double *concentration;     /* owned: mean of each slice's percolating voxels */
  double uneven;             /* largest |across / its mean - 1| */
};
/* Collective. `area_vox` voxels of a cross section count in `across` (the domain's volume over its length). */
enum status flux_statistics_find(MPI_Comm comm, const struct flux_state *state, int axis,
                                 double area_vox, struct flux_statistics *statistics);
void flux_statistics_free(struct flux_statistics *statistics);
/* Collective. As a table of the slices. */
enum status flux_statistics_write(MPI_Comm comm, const struct flux_statistics *statistics,
                                  double slice_um, struct store_output *output);
