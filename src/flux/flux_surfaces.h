/* Private to flux: areas and lines where labels meet. */
#pragma once
#include "grid.h"

enum { FLUX_PHASES = 12, FLUX_DIRECTIONS = 13 };
struct flux_surfaces {
  int phases, label[FLUX_PHASES]; /* labels that occur, ascending */
  double contact[FLUX_PHASES]
                [FLUX_PHASES]; /* area of contact over volume, symmetric, as of smooth surfaces */
  double faces[FLUX_PHASES][FLUX_PHASES]; /* the same by counting voxel faces */
  double line;                            /* length where three labels or more meet, over volume */
  double triple[FLUX_PHASES][FLUX_PHASES][FLUX_PHASES]; /* of i < j < k */
};
/* Collective. `labels`: uint8 with a halo of 1 (exchanged here); the volume's own sides are no contact. INPUT when
 * more than FLUX_PHASES labels occur. */
enum status flux_surfaces_find(MPI_Comm comm, struct grid_field *labels, const double spacing[3],
                               struct flux_surfaces *surfaces);
