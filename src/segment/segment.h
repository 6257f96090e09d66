/* segment: from a volume to phases and connected components. */
#pragma once
#include "stage.h"

struct segment_params {
#include "config_struct.inc"
#include "segment_params.def"
#include "config_undef.inc"
};
extern const struct stage segment_stage;

enum { SEGMENT_CLASSES_MOST = 16 };
/* Region of interest: a disc about z within slices, and a mask (uint8; data NULL: none). */
struct segment_region {
  double x, y, radius; /* radius 0: no disc */
  int64_t low, high;   /* slices, half-open */
  bool follows;        /* besides, within about[0] <= z - interface < about[1] */
  double about[2];
  double plane
      [3]; /* the interface: plane[0] + plane[1] (y - y_middle) + plane[2] (x - x_middle), in slices */
  double y_middle, x_middle;
  struct grid_field mask; /* 1 inside; on the volume's plan */
};
struct segment_report {
  int classes;
  double threshold[SEGMENT_CLASSES_MOST]; /* per slice: their means */
  int64_t voxels[SEGMENT_CLASSES_MOST];   /* per phase, in the region */
  int64_t components;                     /* of the chosen phase, those kept */
  int phase;                              /* the chosen one */
  double voxel_um[3];                     /* of the volume; 0: not known */
  struct segment_region region;
};
/* Collective, no files. volume: float32 or uint16 with a halo of at least segment_halo(params) on every axis
 * (exchanged here; filters change it). report->region.mask may hold a mask before; it is freed by
 * segment_report_free. labels (uint8) and components (int64) are made here. Phases ascend with grey value; a voxel is
 * above a threshold when its value is greater. */
enum status segment_field(MPI_Comm comm, const struct segment_params *params,
                          struct grid_field *volume, struct grid_field *labels,
                          struct grid_field *components, struct segment_report *report);
void segment_report_free(struct segment_report *report);
/* Collective. Makes the region of the parameters: finds the disc, marks the mask. INPUT, USAGE. */
enum status segment_region_make(MPI_Comm comm, const struct segment_params *params,
                                const struct grid_field *volume, struct segment_region *region);
/* Local. Is a region asked for? */
bool segment_has_region(const struct segment_params *params);
/* Local. Is the threshold one that the grey values decide? */
bool segment_threshold_is_found(const char *threshold);
/* Local. Scratch of the filters of grey values on n voxels along z, y, x, at most. */
int64_t segment_filter_bytes(const struct segment_params *params, const int64_t n[3],
                             enum grid_type type);
/* Local. What segment_field asks for; opening and closing go in one pass with it. */
int64_t segment_halo(const struct segment_params *params);
/* Collective. Thresholds as the parameters say, of the whole or of every slice, and the labels by them. */
enum status segment_threshold(MPI_Comm comm, const struct segment_params *params,
                              const struct grid_field *volume, struct grid_field *labels,
                              struct segment_report *report);

/* What is known of every component; rows 0 when there are too many. */
enum {
  SEGMENT_COLUMNS = 17,
  SEGMENT_AREA    = 14 /* column of the area by grey values */
};
struct segment_table {
  int64_t rows;
  bool with_surfaces, in_um;
  double edge[3];                  /* of a voxel, in um or 1 */
  double *column[SEGMENT_COLUMNS]; /* column[0] owns all */
};
/* Collective. Of the chosen phase's components; volume: with a halo, as segment_field leaves it. */
enum status segment_table_make(const struct stage_job *job, struct grid_field *volume,
                               struct grid_field *components, const struct segment_report *report,
                               struct segment_table *table);
enum status segment_table_write(const struct stage_job *job, struct store_output *output,
                                const struct segment_table *table);
void segment_table_free(struct segment_table *table);
