/* align: every state's volume onto the first, by what does not change. */
#pragma once
#include "stage.h"
#include "voxel.h"

struct align_params {
#include "config_struct.inc"
#include "align_params.def"
#include "config_undef.inc"
};
extern const struct stage align_stage;

enum { ALIGN_PARAMETERS = 6 }; /* shifts along z, y, x; rotations about z, y, x */
struct align_report {
  double shift_px
      [3]; /* z, y, x: where the fixed volume's middle stands in the moved one, less the middle */
  double rotation_deg[3];         /* rotation vector z, y, x; about z it turns x towards y */
  double sigma[ALIGN_PARAMETERS]; /* px and deg, from the residual; NaN where held */
  bool held[ALIGN_PARAMETERS];    /* kept at 0: not looked for, or not determined by the data */
  double quality;       /* correlation of both volumes as they were looked at, once aligned */
  bool converged;       /* and within the bounds asked for */
  struct voxel_map map; /* from the fixed volume's voxels to the moved one's */
};
/* Local. slope[0], [1]: how the layers rise along y and x, as the parameters say. USAGE. */
enum status align_level_parse(const struct align_params *params, double slope[2]);
/* Local. The turn about a volume's middle after which layers of these slopes lie flat. */
struct voxel_map align_level_map(const double slope[2], const double voxel_um[3],
                                 const int64_t n[3]);
/* Local. Halo along z of what align_look makes of a volume of n voxels, and of the source of the final resampling. */
int64_t align_halo(const struct align_params *params, const struct grid_plan *plan,
                   const double voxel_um[3]);
/* Collective. `look`, made here: the box of a volume, what is not above the threshold flat; float32 on slabs along z. */
enum status align_look(MPI_Comm comm, const struct align_params *params,
                       const struct grid_field *volume, const struct grid_box *box,
                       double threshold, struct grid_field *look);
/* Collective, no files. Finds the rigid motion between two looks of equal box; the map is of whole volumes of n voxels.
 * The report is the same on any rank count. A poor match is told by quality and converged, not by the status. */
enum status align_find(MPI_Comm comm, const struct align_params *params, struct grid_field *fixed,
                       struct grid_field *moved, const struct grid_box *box, const int64_t n[3],
                       struct align_report *report);
