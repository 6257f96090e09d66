/* surface: height map of the bulk of a phase, its roughness, volume, the pores under it and the membrane on it. */
#pragma once
#include "stage.h"
#include "surface_map.h"

struct surface_params {
#include "config_struct.inc"
#include "surface_params.def"
#include "config_undef.inc"
};
extern const struct stage surface_stage;

/* A value between what two thresholds give. */
struct surface_range {
  double value, lower, upper;
};
struct surface_report {
  int64_t points;            /* columns measured */
  double Ra_um, Rq_um;       /* after levelling and, unless kept, without the noise's share */
  double Ra_sigma, Rq_sigma; /* block bootstrap */
  double Ra_lower, Ra_upper, Rq_lower,
      Rq_upper;     /* by the threshold's error; NaN without a volume */
  double Ra_low_um; /* of the lowest places that lie open: differs by what overhangs */
  double noise_um;  /* of a height, from the grey noise; NaN without a volume */
  struct surface_range phase_volume_um3; /* of all voxels of the phase */
  struct surface_range envelope_um3;     /* under the surface, pores included, in the field */
  double solid_um3;                      /* of the bulk in the same columns */
  double
      subsurface_pore_fraction; /* share of voxels under the surface, to the depth asked for, not of the phase */
  double grey_pore_fraction, grey_pore_sigma; /* by the mean grey value; NaN without a void's */
  double pore_contrast_to_noise;              /* of phase and void; NaN likewise */
  double overhang_fraction, hole_fraction; /* of columns: the surface hangs over; no bulk at all */
  int64_t detached, pores;                 /* components apart from the bulk; closed pores */
  double detached_um3, closed_pore_um3;
  int contact;                           /* phase that lies on the surface */
  double contact_fraction;               /* of columns */
  double membrane_um, membrane_least_um; /* mean and least thickness of that phase along z */
  double local_thickness_um;             /* mean of its local thickness; NaN when not asked for */
  double interface_um2,
      interface_ratio; /* by the grey values, and over the field's area; NaN without a volume */
  double contrast_to_noise; /* of the two sides of the surface; NaN without a volume */
  int64_t dendrites;
  double dendrite_level_um, dendrite_um3, dendrites_per_mm2;
};

/* A table of the output: columns of equal length on rank 0. */
enum { SURFACE_COLUMNS = 8 };
struct surface_table {
  int64_t rows;
  double *column[SURFACE_COLUMNS]; /* one allocation, column[0] owns it */
};
/* All that is measured. Maps on slabs along y but `levelled`, which rank 0 has. Zeroed before, freed after. */
struct surface_result {
  struct surface_report report;
  struct surface_texture texture; /* of the levelled and filtered map */
  struct grid_field height, low, membrane, pores;
  struct surface_map levelled;
  struct surface_table pore_depths, pore_list, dendrite_list, thicknesses;
};
void surface_result_free(struct surface_result *result);
/* Where labels and grey values come from, a box at a time. Both readers are collective, give this rank's box (n[i] = 0:
 * nothing) and fill the owned voxels of a field of the box's shape on MPI_COMM_SELF. */
struct surface_source {
  int64_t n[3];
  double voxel_um[3]; /* known */
  enum status (*labels)(void *owner, const struct grid_box *box, struct grid_field *uint8);
  enum status (*volume)(void *owner, const struct grid_box *box,
                        struct grid_field *float32); /* NULL: there are no grey values */
  void *owner;
  int64_t deep;        /* rows of whole columns that a rank takes at a time; 0: all of its own */
  int64_t limit_bytes; /* of a rank, for the components' runs, which no forecast knows; 0: any */
};
/* Collective, no files. Each rank measures whole columns, slabs along y, in rounds of `deep` rows; the result has the same
 * bits for any. Maps are [1, ny, nx], NaN off the field; `height` in um above the z = 0 face, before levelling.
 * Surface of a column: the outermost voxel of the phase's largest 6-connected component, on the side asked for;
 * with a volume, the linear crossing of the mean of both sides' grey values about its outer face. INPUT when no column
 * has a surface. */
enum status surface_measure(MPI_Comm comm, const struct surface_params *params,
                            const struct surface_source *source, struct surface_result *result);
/* Local. Bytes of a rank for that many rows at a time. */
int64_t surface_bytes(const struct surface_params *params, const int64_t n[3], bool volume,
                      int ranks, int64_t deep);
/* Local. Zeroed columns of `rows` values. */
enum status surface_table_make(int64_t rows, int columns, struct surface_table *table);
