/* Private: the steps of the chain, which fields and pieces of a volume share. */
#pragma once
#include "picture.h"
#include "segment.h"
#include "voxel.h"

/* Whole numbers stay so unless a filter makes fractions of them. */
enum grid_type segment_type(const struct segment_params *params, enum grid_type type);
/* Collective. Median, Gaussian, non-local means, opening, closing, in place. */
enum status segment_filter(MPI_Comm comm, const struct segment_params *params,
                           struct grid_field *volume);
/* Collective. Opening, closing, erosion, dilation of the phase, in place. */
enum status segment_filter_phase(MPI_Comm comm, const struct segment_params *params, int phase,
                                 struct grid_field *labels);
/* How far away a voxel may lie that decides a label. */
int64_t segment_reach(const struct segment_params *params);
/* number[1..count]: what a component becomes, 0 when it is too small or not among the largest; gives how many stay. The
 * table's order changes. */
int64_t segment_choose(const struct segment_params *params, struct voxel_component *table,
                       int64_t count, int64_t *number);
bool segment_has_choice(const struct segment_params *params);

/* The region: what the parameters say; columns' sums in 2^20 steps of the range `ends` and the disc by them; marks. */
enum status segment_region_parse(const struct segment_params *params, int64_t nz,
                                 struct segment_region *region);
void segment_region_add(const struct grid_field *volume, const double ends[2], int64_t *sum);
enum status segment_region_find(MPI_Comm comm, int64_t *sum, int64_t ny, int64_t nx,
                                struct segment_region *region);
/* Collective. The interface of the phase in the region so far; the slab that follows it. INPUT: none is seen. */
enum status segment_slab_find(MPI_Comm comm, const struct segment_params *params,
                              const struct grid_field *labels, int phase,
                              const struct grid_field *volume, struct segment_region *region);
/* Memory of the search, in bytes, of a volume of n voxels along z, y, x; at most. */
int64_t segment_slab_bytes(const int64_t n[3]);
bool segment_slab_is_found(const struct segment_params *params);
/* Collective. OUTPUT_region.png: the middle z-x slice, dimmed outside the mask. */
enum status segment_region_draw(const struct stage_job *job, const struct grid_field *volume,
                                const struct grid_field *mask);
/* How many voxels of the mask stay; `given`: it held a mask before. */
int64_t segment_region_mark(const struct segment_region *region, struct grid_field *mask,
                            bool given);
enum status segment_region_check(int64_t kept);
/* Outside the region nothing is of a phase. */
void segment_region_clear(const struct grid_field *mask, struct grid_field *labels);

/* Thresholds: classes and values that are given; what a histogram counts; what it gives. */
enum status segment_threshold_begin(const struct segment_params *params,
                                    struct segment_report *report, struct voxel_choice *choice);
bool segment_threshold_has_choice(const struct segment_params *params,
                                  const struct voxel_choice *choice);
int segment_threshold_bins(const struct segment_params *params);
enum status segment_threshold_found(const struct segment_params *params,
                                    const struct voxel_histogram *histogram, double *threshold);

/* Local. A table of these components; surface may be NULL. */
enum status segment_table_fill(const double voxel_um[3], int64_t count,
                               const struct voxel_component *component,
                               const struct voxel_isosurface *surface, struct segment_table *table);
/* Local. More components than a table lists: said. */
bool segment_table_is_long(int64_t count);

void segment_results_add(const struct stage_job *job, const struct segment_report *report);
/* Collective. The products of a volume of this shape, created in a new output. */
enum status segment_output_begin(const struct stage_job *job, const int64_t n[3],
                                 const double voxel_um[3], struct store_output **output);

/* Rounds of planes, for a volume that does not fit: bytes of a rank for rounds of `deep` planes; what of the parameters
 * needs the whole (NULL: nothing); the stage's work. */
int64_t segment_rounds_bytes(const struct segment_params *params, const struct store_info *info,
                             int ranks, int64_t deep);
const char *segment_rounds_refuse(const struct segment_params *params);
enum status segment_rounds_run(const struct stage_job *job, struct store_input *input,
                               int64_t deep);
