/* The median over this rank's box, in place, two rows at a time: sorted nines of four rows stand in a ring, and a plane
 * of scratch keeps what was below before it was overwritten. */
#include "voxel_filter_private.h"
#include <string.h>

/* Elements of a scratch row for `n` values: whole vectors, and one to spare. */
static int64_t padded(int64_t n) { return (n + 63) / 64 * 64 + 64; }

#define MEDIAN_BOX(T, NAME)                                                                               \
  /* Row y (-1..) of the plane at `at` to its nines; the row of the plane below is taken from `below`. */ \
  static void nines_##NAME(const struct grid_field *f, const T *at, int64_t y, T *below,                  \
                           T *triple, T *nine) {                                                          \
    int64_t wide = f->mine.n[2], stride = padded(wide + 2);                                               \
    const T *row = at + y * f->row[1] - 1;                                                                \
    ISA_PICK(median_sort3_##NAME)                                                                         \
    (below + (y + 1) * stride, row, row + f->row[0], triple, stride, wide + 2);                           \
    ISA_PICK(median_sort9_##NAME)(triple, nine, stride, wide);                                            \
  }                                                                                                       \
  static enum status median_box_##NAME(struct grid_field *f) {                                            \
    int64_t wide = f->mine.n[2], deep = f->mine.n[1], stride = padded(wide + 2);                          \
    T *below, *nine[4], *triple, *spare, *at = (T *)f->data + grid_field_origin(f);                       \
    TRY(memory_make((deep + 2 + 4 + 36) * stride, sizeof(T), "rows of a median", &below));                \
    triple = below + (deep + 2) * stride;                                                                 \
    spare  = triple + 3 * stride;                                                                         \
    for (int k = 0; k < 4; k++) nine[k] = spare + (1 + 9 * k) * stride;                                   \
    for (int64_t y = -1; y <= deep; y++)                                                                  \
      memcpy(below + (y + 1) * stride, at - f->row[0] + y * f->row[1] - 1,                                \
             (size_t)(wide + 2) * sizeof(T));                                                             \
    for (int64_t z = 0; z < f->mine.n[0]; z++, at += f->row[0])                                           \
      for (int64_t y = -1; y <= deep; y++) {                                                              \
        nines_##NAME(f, at, y, below, triple, nine[(y + 1) & 3]);                                         \
        bool pair = y >= 2 && y % 2 == 0, last = y == deep && y % 2 == 1;                                 \
        if (!pair && !last) continue;                                                                     \
        /* rows y - 2 and y - 1, or the last one alone */                                                 \
        int64_t first = pair ? y - 2 : y - 1;                                                             \
        T *out        = at + first * f->row[1];                                                           \
        ISA_PICK(median_of27_##NAME)                                                                      \
        (nine[first & 3], nine[(first + 1) & 3], nine[(first + 2) & 3],                                   \
         nine[pair ? (first + 3) & 3 : 0], out, pair ? out + f->row[1] : spare, wide);                    \
      }                                                                                                   \
    memory_free(below);                                                                                   \
    return STATUS_OK;                                                                                     \
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
