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
  int64_t components;                   /* of the chosen phase, after min_voxels */
};
/* Collective, no files. volume: float32 or uint16 with a halo of at least segment_halo(params) on every axis
 * (exchanged here; an opening changes it). labels (uint8) and components (int64) are made here. Phases ascend
 * with grey value; a voxel is above a threshold when its value is greater. */
enum status segment_field(MPI_Comm comm, const struct segment_params *params,
                          struct grid_field *volume, struct grid_field *labels,
                          struct grid_field *components, struct segment_report *report);
int64_t segment_halo(const struct segment_params *params);
