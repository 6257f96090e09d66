/* surface: height map of the bulk of a phase, its roughness, volume and the pores under it. */
#pragma once
#include "stage.h"

struct surface_params {
#include "config_struct.inc"
#include "surface_params.def"
#include "config_undef.inc"
};
extern const struct stage surface_stage;

struct surface_report {
  int64_t points;            /* columns measured */
  double Ra_um, Rq_um;       /* after levelling and, unless kept, without the noise's share */
  double Ra_sigma, Rq_sigma; /* block bootstrap */
  double noise_um;           /* of a height, from the grey noise; NaN without a volume */
  double phase_volume_um3;   /* of all voxels of the phase */
  double
      subsurface_pore_fraction; /* share of voxels under the surface, to the depth asked for, not of the phase */
};
/* Collective, no files. labels: uint8 on slabs along y (whole columns); volume: float32 on the same plan, or NULL.
 * height: float32 field [1, ny, nx] in um above the z = 0 face, before levelling, NaN off the field; made here.
 * Surface of a column: the outermost voxel of the phase's largest 6-connected component, on the side asked for;
 * with a volume, the linear crossing of the mean of both sides' grey values about its outer face. Voxel sizes of
 * labels must be known. INPUT when no column has a surface. */
enum status surface_measure(MPI_Comm comm, const struct surface_params *params,
                            const struct grid_field *labels, const struct grid_field *volume,
                            struct grid_field *height, struct surface_report *report);
