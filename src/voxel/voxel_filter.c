#include "voxel_filter_private.h"
#include <string.h>

/* ---- median ------------------------------------------------------------------------------------- */

/* One type's median over this rank's box: sorted triples of four rows stand in a ring. */
#define MEDIAN_BOX(T, NAME)                                                                        \
  static enum status median_box_##NAME(const struct grid_field *in, struct grid_field *out) {      \
    int64_t wide = in->mine.n[2], stride = (wide + 2 + 63) / 64 * 64 + 64;                         \
    T *ring, *window, *sorted;                                                                     \
    TRY(memory_make(30 * stride, sizeof(T), "rows of a median", &ring));                           \
    window        = ring + 12 * stride;                                                            \
    sorted        = window + 9 * stride;                                                           \
    const T *from = (const T *)in->data + grid_field_origin(in) - 1;                               \
    for (int64_t z = 0; z < in->mine.n[0]; z++)                                                    \
      for (int64_t y = -1; y <= in->mine.n[1]; y++) {                                              \
        const T *row = from + z * in->row[0] + y * in->row[1];                                     \
        T *to        = ring + ((y + 1) & 3) * 3 * stride;                                          \
        ISA_PICK(median_sort3_##NAME)                                                              \
        (row - in->row[0], row, row + in->row[0], to, to + stride, to + 2 * stride, wide + 2);     \
        if (y < 1) continue;                                                                       \
        for (int k = 0; k < 3; k++)                                                                \
          memcpy(window + 3 * k * stride, ring + ((y - 1 + k) & 3) * 3 * stride,                   \
                 (size_t)(3 * stride) * sizeof(T));                                                \
        ISA_PICK(median_sort9_##NAME)(window, sorted, stride, wide + 2);                           \
        ISA_PICK(median_of27_##NAME)                                                               \
        (sorted + 1, (T *)out->data + z * out->row[0] + (y - 1) * out->row[1], stride, wide);      \
      }                                                                                            \
    memory_free(ring);                                                                             \
    return STATUS_OK;                                                                              \
  }
MEDIAN_BOX(uint16_t, u16)
MEDIAN_BOX(float, f32)

static enum status median_here(const struct grid_field *in, struct grid_field *out) {
  TRY(fault_here("voxel.median"));
  if (in->voxels == 0) return STATUS_OK;
  if (in->type == GRID_U16) return median_box_u16(in, out);
  if (in->type == GRID_F32) return median_box_f32(in, out);
  return FAIL(STATUS_INTERNAL, "no median of %s", grid_type_name(in->type));
}

static enum status check_halo(const struct grid_field *field, int64_t least) {
  for (int a = 0; a < 3; a++)
    if (field->halo[a] < least)
      return FAIL(STATUS_INTERNAL, "a halo of %lld where %lld is needed", (long long)field->halo[a],
                  (long long)least);
  return STATUS_OK;
}

enum status voxel_median(MPI_Comm comm, struct grid_field *field, struct grid_field *filtered) {
  TRY_ALL(comm, check_halo(field, 1));
  TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
  TRY(grid_field_make(comm, &field->plan, field->type, NULL, filtered));
  memcpy(filtered->voxel_um, field->voxel_um, sizeof field->voxel_um);
  enum status status = AGREE(comm, median_here(field, filtered));
  if (status != STATUS_OK) grid_field_free(filtered);
  return status;
}

/* ---- ball ------------------------------------------------------------------------------------------ */

enum status voxel_ball_make(int radius, struct voxel_ball *ball) {
  *ball = (struct voxel_ball){radius, 0, NULL};
  if (radius < 0 || radius > 50)
    return FAIL(STATUS_USAGE, "a ball of radius %d; 0..50 is possible", radius);
  TRY(memory_make((2 * radius + 1) * (2 * radius + 1), sizeof *ball->row, "a ball", &ball->row));
  for (int z = -radius; z <= radius; z++)
    for (int y = -radius; y <= radius; y++) {
      int rest = radius * radius - z * z - y * y, half = 0;
      if (rest < 0) continue;
      while ((half + 1) * (half + 1) <= rest) half++;
      ball->row[ball->rows++] = (struct voxel_ball_row){z, y, half};
    }
  return STATUS_OK;
}

void voxel_ball_free(struct voxel_ball *ball) {
  memory_free(ball->row);
  memset(ball, 0, sizeof *ball);
}

static void extreme_row(enum grid_type type, bool erode, const void *in, void *out, int half,
                        int64_t n) {
  if (type == GRID_U8 && erode)
    ISA_PICK(least_u8)(in, out, half, n);
  else if (type == GRID_U8)
    ISA_PICK(most_u8)(in, out, half, n);
  else if (type == GRID_U16 && erode)
    ISA_PICK(least_u16)(in, out, half, n);
  else if (type == GRID_U16)
    ISA_PICK(most_u16)(in, out, half, n);
  else if (erode)
    ISA_PICK(least_f32)(in, out, half, n);
  else
    ISA_PICK(most_f32)(in, out, half, n);
}

/* Extremes over the ball, row by row of the output. */
static void extreme_box(const struct grid_field *in, const struct voxel_ball *ball, bool erode,
                        char *out) {
  size_t bytes = grid_type_bytes(in->type), line = (size_t)in->mine.n[2] * bytes;
  const char *from = (const char *)in->data + (size_t)grid_field_origin(in) * bytes;
  for (int64_t z = 0; z < in->mine.n[0]; z++)
    for (int64_t y = 0; y < in->mine.n[1]; y++, out += line) {
      memcpy(out, from + (size_t)(z * in->row[0] + y * in->row[1]) * bytes, line);
      for (int k = 0; k < ball->rows; k++) {
        int64_t at = (z + ball->row[k].z) * in->row[0] + (y + ball->row[k].y) * in->row[1];
        extreme_row(in->type, erode, from + at * (int64_t)bytes, out, ball->row[k].half,
                    in->mine.n[2]);
      }
    }
}

static enum status extreme_here(struct grid_field *field, const struct voxel_ball *ball,
                                bool erode) {
  TRY(fault_here("voxel.opening"));
  char *out;
  size_t bytes = grid_type_bytes(field->type), line = (size_t)field->mine.n[2] * bytes;
  TRY(memory_make_raw(grid_box_voxels(&field->mine), bytes, "an eroded volume", &out));
  extreme_box(field, ball, erode, out);
  char *to = (char *)field->data + (size_t)grid_field_origin(field) * bytes;
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    for (int64_t y = 0; y < field->mine.n[1]; y++)
      memcpy(to + (size_t)(z * field->row[0] + y * field->row[1]) * bytes,
             out + (size_t)(z * field->mine.n[1] + y) * line, line);
  memory_free(out);
  return STATUS_OK;
}

enum status voxel_opening(MPI_Comm comm, struct grid_field *field, int radius) {
  struct voxel_ball ball;
  TRY_ALL(comm, check_halo(field, radius));
  TRY_ALL(comm, voxel_ball_make(radius, &ball));
  enum status status = STATUS_OK;
  for (int step = 0; step < 2 && status == STATUS_OK; step++) {
    status = grid_halo_exchange(comm, field, GRID_EDGE_REFLECT);
    if (status == STATUS_OK) status = AGREE(comm, extreme_here(field, &ball, step == 0));
  }
  voxel_ball_free(&ball);
  return status;
}
