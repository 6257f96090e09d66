/* Private to surface: what the voxels of labels are to the surface, and its maps. */
#pragma once
#include "surface.h"
#include "surface_map.h"

/* Columns and slices that count. */
struct surface_view {
  double x, y, radius; /* radius 0: no disc */
  int64_t margin;
  int64_t low, high; /* slices of the slab, half-open */
};

enum surface_kind {
  KIND_OPEN,     /* reached from the surface's upper side without crossing the bulk */
  KIND_BULK,     /* of the phase's largest component, in view */
  KIND_PORE,     /* enclosed by the bulk */
  KIND_DETACHED, /* of the phase, but not joined to the bulk */
  KIND_BESIDE    /* of the bulk, out of view */
};

struct surface_work {
  MPI_Comm comm;
  const struct surface_params *params;
  const struct grid_field *labels; /* slabs along y: whole columns */
  struct grid_field *volume;       /* NULL: no grey values */
  struct grid_field kind;          /* uint8, halo of 1 */
  int32_t *end[2]; /* of each column here: lowest and highest slice of the bulk in view, -1: none;
                                      end[0] owns both */
  struct surface_view view;
  bool up;
  int contact; /* phase that lies on the surface */
  double inside, outside,
      noise;        /* grey of the phase, of what lies over it; standard deviation in the phase */
  int64_t detached; /* components of the phase in view besides the bulk */
};

bool surface_in_view(const struct surface_work *work, int64_t y, int64_t x); /* of the whole */
/* Local; y of this rank. Kind of a voxel, label, grey value. */
int surface_kind_at(const struct surface_work *work, int64_t z, int64_t y, int64_t x);
int surface_label_at(const struct surface_work *work, int64_t z, int64_t y, int64_t x);
double surface_grey_at(const struct surface_work *work, int64_t z, int64_t y, int64_t x);
/* Outermost bulk voxel of a column within the slab, and the innermost; -1: none. */
int64_t surface_top(const struct surface_work *work, int64_t y, int64_t x);
int64_t surface_bottom(const struct surface_work *work, int64_t y, int64_t x);

/* Collective. Fills view, kind and detached; INPUT when there is no bulk. */
enum status surface_kinds_make(struct surface_work *work);
/* Collective. Grey values of both sides; height maps at the middle grey and (error > 0) a share `error` of the
 * contrast towards the outside and the inside. maps[0..2] on slabs along y, made here. noise_um: of a height. */
enum status surface_heights_make(struct surface_work *work, double error, struct grid_field maps[3],
                                 double *noise_um);
/* Local. Height of the surface of the bulk voxel `top`, seen from outside. */
double surface_height_um(const struct surface_work *work, int64_t y, int64_t x, int64_t top);
/* Collective. An empty map on slabs along y, like the labels. */
enum status surface_field_make(struct surface_work *work, struct grid_field *map);
/* Collective. A map of this work on rank 0, NaN off the field; elsewhere map->z stays NULL. Owned by the caller. */
enum status surface_map_gather(struct surface_work *work, const struct grid_field *from,
                               struct surface_map *map);
/* Collective. Maps and figures of what lies under and over the surface: pores, volumes, overhangs, membrane. `low` and
 * `high`: height maps of both errors of the threshold, or NULL. */
enum status surface_layers_measure(struct surface_work *work, const struct grid_field *low,
                                   const struct grid_field *high, struct surface_result *result);
/* Collective. Closed pores one by one (depths from rank 0's height map), local thickness, the interface by grey values. */
enum status surface_pores_list(struct surface_work *work, const struct surface_map *height,
                               struct surface_result *result);
enum status surface_thickness_measure(struct surface_work *work, struct surface_result *result);
enum status surface_interface_measure(struct surface_work *work, struct surface_result *result);
