#pragma once
#include "grid.h"

/* Collective. Connected components (connectivity 6, 18 or 26) of the voxels of a uint8 field that equal
 * `phase` (or, phase < 0, are not 0). `components` is made here: int32, on the same plan, with a halo of 1 that
 * holds the neighbours' numbers; 0 outside, 1..*count in raster order of each component's first voxel
 * (scikit-image's order), the same on any rank count and plan.
 * At most 2^31 - 1 components (MEMORY else). Beside the field takes 12 bytes per run of voxels along x and up to as much while they
 * are found.
 * Method: runs along x joined by union-find per rank, keyed by the smallest global raster index; joins across
 * ranks from one exchange of the keys along borders; numbers by a distributed sort of the keys. */
enum status voxel_components(MPI_Comm comm, const struct grid_field *field, int phase,
                             int connectivity, struct grid_field *components, int64_t *count);

/* What is known of one component. */
struct voxel_component {
  int64_t number, voxels;
  int64_t low[3], high[3]; /* box, half-open; z y x */
  int64_t sum[3];          /* of voxel coordinates: centroid = sum / voxels */
  int64_t faces;           /* voxel faces to other numbers or to the volume's outside */
  uint32_t touches;        /* bit 2a: low face of axis a, bit 2a+1: high face */
};
/* Collective. The table of all components on every rank, summed; `components` with its halo as voxel_components
 * leaves it. At most 1e7 rows (MEMORY else). The caller memory_free's *table. */
enum status voxel_component_table(MPI_Comm comm, const struct grid_field *components, int64_t count,
                                  struct voxel_component **table);

/* The same of a volume that comes in pieces, none of which is kept: 12 bytes per run of voxels (16 with faces). This rank
 * adds the planes of its box in their order. */
struct voxel_parts;
/* Local. with_faces: the table shall have them; the plan deals slabs along z then. USAGE on an unknown connectivity. */
enum status voxel_parts_make(const struct grid_plan *plan, int connectivity, bool with_faces,
                             struct voxel_parts **parts);
void voxel_parts_free(struct voxel_parts **parts);
/* Local. The next planes, contiguous; with faces, those before and after them stand there too (not beyond the volume). */
enum status voxel_parts_add(struct voxel_parts *parts, const uint8_t *labels, int64_t planes,
                            int phase);
/* Collective, after the last plane. Numbers as voxel_components gives them. */
enum status voxel_parts_join(MPI_Comm comm, struct voxel_parts *parts, int64_t *count);
/* Collective. As voxel_component_table; `faces` is 0 without them. */
enum status voxel_parts_table(MPI_Comm comm, const struct voxel_parts *parts, int64_t count,
                              struct voxel_component **table);
/* Local. Component i becomes number[i]; 0: none. */
void voxel_parts_renumber(struct voxel_parts *parts, const int64_t *number);
/* Local. The numbers of row y of plane z of this rank's box; `line` has room for VOXEL_ROW_SPARE more. */
enum { VOXEL_ROW_SPARE = 16 };
void voxel_parts_row(const struct voxel_parts *parts, int64_t z, int64_t y, int32_t *line);
