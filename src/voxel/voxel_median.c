/* The median over this rank's box, in place: sorted triples of four rows stand in a ring, and a plane of scratch
 * keeps what was below before it was overwritten. */
#include "voxel_filter_private.h"
#include <string.h>

/* Elements of a scratch row for `n` values: whole vectors, and one to spare. */
static int64_t padded(int64_t n) { return (n + 63) / 64 * 64 + 64; }

#define MEDIAN_BOX(T, NAME)                                                                         \
  static enum status median_box_##NAME(struct grid_field *f) {                                      \
    int64_t wide = f->mine.n[2], deep = f->mine.n[1], stride = padded(wide + 2);                    \
    T *below, *ring, *at                                     = (T *)f->data + grid_field_origin(f); \
    TRY(memory_make((deep + 2 + 21) * stride, sizeof(T), "rows of a median", &below));              \
    ring = below + (deep + 2) * stride;                                                             \
    for (int64_t y = -1; y <= deep; y++)                                                            \
      memcpy(below + (y + 1) * stride, at - f->row[0] + y * f->row[1] - 1,                          \
             (size_t)(wide + 2) * sizeof(T));                                                       \
    for (int64_t z = 0; z < f->mine.n[0]; z++, at += f->row[0])                                     \
      for (int64_t y = -1; y <= deep; y++) {                                                        \
        const T *row = at + y * f->row[1] - 1;                                                      \
        T *triple[4];                                                                               \
        for (int k = 0; k < 4; k++) triple[k] = ring + ((y + 2 + k) & 3) * 3 * stride;              \
        ISA_PICK(median_sort3_##NAME)                                                               \
        (below + (y + 1) * stride, row, row + f->row[0], triple[3], stride, wide + 2);              \
        if (y < 1) continue;                                                                        \
        ISA_PICK(median_sort9_##NAME)                                                               \
        (triple[1], triple[2], triple[3], ring + 12 * stride, stride, wide + 2);                    \
        ISA_PICK(median_of27_##NAME)                                                                \
        (ring + 12 * stride + 1, at + (y - 1) * f->row[1], stride, wide);                           \
      }                                                                                             \
    memory_free(below);                                                                             \
    return STATUS_OK;                                                                               \
  }
MEDIAN_BOX(uint16_t, u16)
MEDIAN_BOX(float, f32)

static enum status median_here(struct grid_field *field) {
  TRY(fault_here("voxel.median"));
  if (field->voxels == 0) return STATUS_OK;
  if (field->type == GRID_U16) return median_box_u16(field);
  if (field->type == GRID_F32) return median_box_f32(field);
  return FAIL(STATUS_INTERNAL, "no median of %s", grid_type_name(field->type));
}

enum status voxel_median(MPI_Comm comm, struct grid_field *field) {
  TRY_ALL(comm, voxel_halo_check(field, 1));
  TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
  return AGREE(comm, median_here(field));
}
