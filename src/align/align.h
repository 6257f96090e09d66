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
/* Local. slope[0], [1]: how the layers rise along y and x, as the parameters say (0 for auto, which has to be found). USAGE. */
enum status align_level_parse(const struct align_params *params, double slope[2]);
bool align_level_is_auto(const struct align_params *params);
/* Local. The turn about a volume's middle after which layers of these slopes lie flat. */
struct voxel_map align_level_map(const double slope[2], const double voxel_um[3],
                                 const int64_t n[3]);
/* A volume, any box of it at a time. Collective: this rank's box (n[i] = 0: nothing) into the owned voxels of a float32
 * field of the box's shape on MPI_COMM_SELF. */
struct align_source {
  int64_t n[3];
  double voxel_um[3];
  enum status (*read)(void *owner, const struct grid_box *box, struct grid_field *to);
  void *owner;
};
/* How volumes are looked at. */
struct align_view {
  struct grid_box box;
  double threshold; /* what is not above it is flat */
  int halvings; /* a look holds means of `binning` = 2^halvings voxels along each axis that has more than one */
  int64_t deep; /* slices that are read at a time, a multiple of the binning; 0: all */
};
/* Local. Voxels of the box per voxel of a look along an axis; the most halvings that leave enough to look at. */
int64_t align_binning(const struct align_view *view, int axis);
int align_halvings_most(const struct grid_box *box);
/* Local. The largest turn of a map, with the levelling, radians. */
double align_turn_most(const struct align_params *params);
/* Local. Halo along z of a look on that plan. */
int64_t align_halo(const struct align_params *params, const struct grid_plan *plan,
                   const double voxel_um[3], double binning);
/* Collective. `look`, made here: the view of a volume; float32 on slabs along z. The same bits for any `deep`. */
enum status align_look(MPI_Comm comm, const struct align_params *params,
                       const struct align_source *source, const struct align_view *view,
                       struct grid_field *look);
/* Collective. Slices first .. first + count - 1 (of this rank; count 0: none) of the view, unbinned. */
enum status align_look_slices(MPI_Comm comm, const struct align_source *source,
                              const struct align_view *view, int64_t first, int64_t count,
                              float *to);
/* Collective. Slices first .. first + count - 1 (of this rank; count 0: none) of the volume under a map (NULL: as it is). */
enum status align_slices(MPI_Comm comm, const struct align_params *params,
                         const struct align_source *source, const struct voxel_map *map,
                         int64_t first, int64_t count, float *to);
/* Local. Slices of the source that `count` slices under any map within the bounds take. */
int64_t align_slices_most(const struct align_params *params, const int64_t n[3],
                          const double voxel_um[3], int64_t count);
/* Collective. Finds the rigid motion between two looks of one view, whose (two) volumes are looked at again where the
 * looks are binned; where they are not, the first one's shape is all that is asked of them. The map is of whole volumes.
 * The report is the same on any rank count. A poor match is told by quality and converged, not by the status. */
enum status align_find(MPI_Comm comm, const struct align_params *params, struct grid_field *fixed,
                       struct grid_field *moved, const struct align_source *volumes,
                       const struct align_view *view, struct align_report *report);

enum { ALIGN_LEVEL_AUTO_DEG = 5 }; /* largest tilt that is looked for */
struct align_level {
  double slope[2],
      sigma[2];   /* of the layers along y and x, lengths over lengths; standard deviations */
  int64_t blocks; /* of columns whose heights it comes from */
};
/* Collective. The tilt of the layers in a box of a volume, read by `deep` slices a rank (0: all). The same on any rank count.
 * INPUT: no layers are seen. */
enum status align_level_find(MPI_Comm comm, const struct align_source *source,
                             const struct grid_box *box, int64_t deep, struct align_level *level);
/* Local. What that holds on a rank beside two pieces of slices. */
int64_t align_level_bytes(int64_t slices);
