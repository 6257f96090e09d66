/* Part of surface.h: a height map on one rank, and what ISO 25178-2 makes of it. */
#pragma once
#include "base.h"

/* Heights in um, NaN where there is none; z[ny][nx]. */
struct surface_map {
  int64_t ny, nx;
  double step_um[2]; /* of y and x */
  float *z;
};
enum surface_form { SURFACE_MEAN, SURFACE_PLANE, SURFACE_QUADRATIC };
/* Local, in place: takes the least-squares form out (F-operation). INPUT when no height is known. */
enum status surface_map_level(struct surface_map *map, enum surface_form form);
/* Local, in place: areal Gaussian of ISO 16610-61 (weights exp(-pi (r / (a cutoff))^2), a^2 = ln 2 / pi, so that half of
 * an amplitude passes at the cutoff), normalised where heights are missing. high false: S-filter, what is finer is taken
 * out; true: L-filter, what is coarser. A cutoff of 0 does nothing. */
enum status surface_map_filter(struct surface_map *map, double cutoff_um, bool high);

enum { SURFACE_BEARING = 101 };
/* Parameters of a levelled map; lengths in um. A value that cannot be told is NaN. */
struct surface_texture {
  int64_t points;
  double Sa, Sq, Sp, Sv, Sz, Ssk, Sku;
  double Sdq, Sdr; /* of squares of four known heights: Sdr a share, not per cent */
  double Sal, Str; /* where the autocorrelation falls to 0.2, nearest; nearest over farthest */
  double Sk, Spk, Svk, Smr1, Smr2; /* of the bearing curve; Smr as shares */
  double bearing[SURFACE_BEARING]; /* height over which 0, 1, .. 100 % of the points lie */
  double Sa_sigma, Sq_sigma, Ssk_sigma, Sku_sigma, Sdq_sigma, Sdr_sigma; /* of blocks, see .c */
  int64_t block; /* edge of the blocks in columns */
};
/* Local. block: edge of the bootstrap's blocks in columns, 0: four times Sal. Subtracts the map's mean from it. */
enum status surface_texture_of(struct surface_map *map, int64_t block,
                               struct surface_texture *texture);

/* A protrusion: columns joined by edges or corners whose heights are above a level. */
struct surface_dendrite {
  double y_um, x_um; /* of the columns' middle, from the map's corner */
  double area_um2, diameter_um, height_um,
      volume_um3; /* at the level; of the highest point; above the level */
};
/* Local. At least `least` columns each, in raster order of their first; the caller memory_free's *list. */
enum status surface_dendrites_of(const struct surface_map *map, double level_um, int64_t least,
                                 struct surface_dendrite **list, int64_t *n);
