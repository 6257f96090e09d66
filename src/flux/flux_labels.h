/* Private to flux: what the parameters say about labels, and labels made into codes. */
#pragma once
#include "flux_region.h"

enum { FLUX_LABELS = 256 };
struct flux_labels {
  int n;
  int64_t label[FLUX_LABELS];
  double diffusivity[FLUX_LABELS];
  uint8_t code[FLUX_LABELS];
  double of_code[FLUX_CODES];
};
/* Local. Reads `conducting` or `diffusivity`. USAGE. */
enum status flux_labels_parse(const struct flux_params *params, struct flux_labels *labels);
/* Collective. The labels of a region of a dataset as codes, on a plan of flux_plan_make; `mask` (a name
 * for store_open, or "") and what is not in the disc block; *domain_vox counts the voxels that fractions
 * refer to. USAGE when a label that conducts is nowhere. */
enum status flux_labels_read(MPI_Comm comm, struct store_input *input, const char *mask,
                             const struct flux_region *region, const struct flux_labels *labels,
                             struct grid_field *codes, int64_t *domain_vox);
/* Collective. The same from labels in memory (of the region, on such a plan); n: of the whole volume. Labels that are
 * nowhere are no error. */
enum status flux_labels_code(MPI_Comm comm, const struct grid_field *from, const int64_t n[3],
                             const char *mask, const struct flux_region *region,
                             const struct flux_labels *labels, struct grid_field *codes,
                             int64_t *domain_vox);
