/* Private to surface: what the voxels of labels are to the surface, and its maps. */
#pragma once
#include "surface.h"
#include "surface_map.h"
#include "voxel.h"

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

/* The volume comes in pieces: rows of whole columns. What is known of the whole are runs of its components, from which
 * the kinds of a piece's voxels follow, and the ends of its columns. */
struct surface_work {
  MPI_Comm comm;
  const struct surface_params *params;
  const struct surface_source *source;
  const int64_t *n;       /* of the whole volume */
  const double *voxel_um; /* z y x */
  struct grid_plan plan;  /* slabs along y: whole columns */
  struct grid_box mine;
  int64_t deep, rounds;
  struct surface_view view;
  bool up;
  uint8_t *shown; /* of each column of this rank: it is in view */
  /* components */
  struct voxel_parts *phase, *others; /* of the phase by faces; of what is no bulk by corners */
  int64_t bulk, others_n;             /* number of the bulk; of the others */
  uint8_t *open;                      /* of each of the others: it lies on the surface in view */
  uint8_t *beside[2]; /* kinds of the rows before and after this rank's, nz rows of nx */
  int32_t *line;      /* room for a row of numbers */
  int32_t *end
      [2]; /* of each column of this rank: lowest and highest slice of the bulk in view, -1: none;
                       * end[0] owns both */
  int64_t detached; /* components of the phase in view besides the bulk */
  /* found on the way */
  int contact; /* phase that lies on the surface */
  double inside, outside,
      noise; /* grey of the phase, of what lies over it; standard deviation in the phase */
  /* the piece in work: rows first .. first + rows - 1 of this rank's; y = 0 is its first row */
  int64_t first, rows,
      below; /* below: rows before these in `volume` and `kind`; after them as many, or to the end */
  struct grid_field labels, volume, kind; /* own what the views show; volume.data NULL: not read */
  struct grid_field grey_view, kind_view; /* begin at the piece's first row; halo 1 */
};

/* Of the whole: is the column in view; row y of the piece. */
bool surface_in_view(const struct surface_work *work, int64_t y, int64_t x);
int64_t surface_row(const struct surface_work *work, int64_t y);
/* Of the piece in work. Kind of a voxel (y from -1 to rows), label, grey value. */
int surface_kind_at(const struct surface_work *work, int64_t z, int64_t y, int64_t x);
int surface_label_at(const struct surface_work *work, int64_t z, int64_t y, int64_t x);
double surface_grey_at(const struct surface_work *work, int64_t z, int64_t y, int64_t x);
/* Place of a column of the piece in a map of this rank. */
int64_t surface_place(const struct surface_work *work, int64_t y, int64_t x);
/* Outermost bulk voxel of a column of the piece within the slab, and the innermost; -1: none. */
int64_t surface_top(const struct surface_work *work, int64_t y, int64_t x);
int64_t surface_bottom(const struct surface_work *work, int64_t y, int64_t x);

/* Collective. Plan, rounds, room. */
enum status surface_pieces_begin(struct surface_work *work);
void surface_pieces_free(struct surface_work *work);
/* Collective. Smaller pieces, where the components left less room than was forecast. */
enum status surface_pieces_fit(struct surface_work *work);
/* Collective. Planes of labels of this rank's rows, from first to last, as bytes without gaps. */
enum status surface_planes(struct surface_work *work,
                           enum status (*take)(struct surface_work *work, const uint8_t *labels,
                                               int64_t planes));
/* Collective. Piece after piece: `take` is local. */
enum status surface_pieces(struct surface_work *work, const char *words,
                           enum status (*take)(struct surface_work *work, void *owner),
                           void *owner);

/* Collective. Finds the components, view, ends of columns; INPUT when there is no bulk. */
enum status surface_kinds_make(struct surface_work *work);
/* Local. Kinds of row y of this rank (from -1 to its rows) at slice z. */
void surface_kinds_row(const struct surface_work *work, int64_t z, int64_t y, uint8_t *kind);
/* Collective. Numbers and marks by the runs: closed pores under the surface, by corners. */
enum status surface_pores_find(struct surface_work *work, struct voxel_parts **pores, int64_t *n);

/* Grey values of both sides; height maps at the middle grey and (error > 0) a share `error` of the contrast towards the
 * outside and the inside. */
enum { SURFACE_GREY_SUMS = 5, SURFACE_NOISE_SUMS = 4 };
/* Local, of the piece; sums[SURFACE_GREY_SUMS]. */
void surface_greys_add(const struct surface_work *work, struct exact_sum *sums);
/* Collective. Fills inside, outside, noise. */
enum status surface_greys_find(struct surface_work *work, struct exact_sum *sums);
/* Local, of the piece, into a map of this rank; `moved`: of the threshold, in shares of the contrast. sums: NULL or
 * SURFACE_NOISE_SUMS. */
void surface_heights_fill(const struct surface_work *work, double moved, struct grid_field *height,
                          struct exact_sum *sums);
/* Local. Of a height, um; from sums over all ranks. */
double surface_noise_um(const struct surface_work *work, const struct exact_sum *sums);
/* Local. Height of the surface of the bulk voxel `top`, seen from outside. */
double surface_height_um(const struct surface_work *work, int64_t y, int64_t x, int64_t top);
/* Collective. An empty map on slabs along y. */
enum status surface_field_make(struct surface_work *work, struct grid_field *map);
/* Collective. A map of this work on rank 0, NaN off the field; elsewhere map->z stays NULL. Owned by the caller. */
enum status surface_map_gather(struct surface_work *work, const struct grid_field *from,
                               struct surface_map *map);

/* Maps and figures of what lies under and over the surface: pores, volumes, overhangs, membrane. */
struct surface_layers;
/* Collective. maps[0..2]: the heights, the last two NULL without a threshold's error. */
enum status surface_layers_begin(struct surface_work *work, struct grid_field *const maps[3],
                                 struct surface_result *result, struct surface_layers **layers);
void surface_layers_free(struct surface_layers **layers);
/* Local, of the piece: what lies on the surface; then, with the contact known, the rest. */
void surface_layers_contact(struct surface_layers *layers);
void surface_layers_add(struct surface_layers *layers);
/* Collective. */
void surface_contact_find(struct surface_layers *layers);
enum status surface_layers_end(struct surface_layers *layers);

/* Collective. Closed pores one by one (depths from rank 0's height map), local thickness (of one round), the interface by
 * grey values. */
enum status surface_pores_list(struct surface_work *work, const struct surface_map *height,
                               struct surface_result *result);
enum status surface_thickness_measure(struct surface_work *work, struct surface_result *result);
/* Local: begins with both sides' grey values known, and adds a piece. */
enum status surface_interface_begin(const struct surface_work *work,
                                    struct voxel_isosurface_work **sums);
enum status surface_interface_add(struct surface_work *work, struct voxel_isosurface_work *sums);
/* Collective. */
enum status surface_interface_end(struct surface_work *work, struct voxel_isosurface_work *sums,
                                  struct surface_result *result);
