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
struct segment_report {
  int classes;
  double threshold[SEGMENT_CLASSES_MOST];
  int64_t voxels[SEGMENT_CLASSES_MOST]; /* per phase */
  int64_t components;                   /* of the chosen phase, those kept */
};
/* Collective, no files. volume: float32 or uint16 with a halo of at least segment_halo(params) on every axis
 * (exchanged here; filters change it). labels (uint8) and components (int64) are made here. Phases ascend
 * with grey value; a voxel is above a threshold when its value is greater. */
enum status segment_field(MPI_Comm comm, const struct segment_params *params,
                          struct grid_field *volume, struct grid_field *labels,
                          struct grid_field *components, struct segment_report *report);
/* Local. Is the threshold one that the grey values decide? */
bool segment_threshold_is_found(const char *threshold);
/* Local. Is there a grey opening or closing? */
bool segment_has_ball(const struct segment_params *params);
int64_t segment_halo(const struct segment_params *params);
