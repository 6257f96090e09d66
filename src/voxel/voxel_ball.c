/* Grey erosion and dilation by the exact ball of radius R, as extremes over nested parts: along x over 0..R
 * neighbours (E_h), over y to the discs that the ball has at height |dz| = k (D_k), over z. E rows stand in a ring
 * of 2 R + 1 rows, D_k rows in one of R + k + 1 planes of a tile along y that fits the second-level cache.
 * Beyond the volume the ball's part inside decides: for a ball that equals reflecting the volume. */
#include "voxel_filter_private.h"
#include <stdlib.h>
#include <string.h>

enum status voxel_halo_check(const struct grid_field *field, int64_t least) {
  for (int a = 0; a < 3; a++)
    if (field->halo[a] < least)
      return FAIL(STATUS_INTERNAL, "a halo of %lld where %lld is needed", (long long)field->halo[a],
                  (long long)least);
  return STATUS_OK;
}

/* ---- ball ------------------------------------------------------------------------------------------ */

enum status voxel_ball_make(int radius, struct voxel_ball *ball) {
  *ball = (struct voxel_ball){radius, 0, NULL};
  if (radius < 0 || radius > VOXEL_RADIUS_MOST)
    return FAIL(STATUS_USAGE, "a ball of radius %d; 0..%d is possible", radius, VOXEL_RADIUS_MOST);
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

/* ---- extremes ------------------------------------------------------------------------------------------ */

enum { CACHE_BYTES = 640 << 10 };

/* Scratch of one tile; sizes in bytes. */
struct tile {
  const struct voxel_ball *ball;
  bool least;
  enum grid_type type;
  size_t bytes;                /* of an element */
  int64_t wide, stride, plane; /* a row's values, a scratch row's values, rows of a tile */
  char *wider, *disc[VOXEL_RADIUS_MOST + 1];
  int first[VOXEL_RADIUS_MOST + 2]; /* row of the ball at height k, radius + 2 of them */
};

static void widen(const struct tile *t, const void *in, void *out) {
  int radius = t->ball->radius;
  if (t->type == GRID_U8)
    ISA_PICK(ball_widen_u8)(in, out, t->stride, radius, t->least, t->wide);
  else if (t->type == GRID_U16)
    ISA_PICK(ball_widen_u16)(in, out, t->stride, radius, t->least, t->wide);
  else
    ISA_PICK(ball_widen_f32)(in, out, t->stride, radius, t->least, t->wide);
}

static void combine(const struct tile *t, const void *const *row, int rows, void *out) {
  if (t->type == GRID_U8)
    ISA_PICK(ball_combine_u8)((const uint8_t *const *)row, rows, out, t->least, t->wide);
  else if (t->type == GRID_U16)
    ISA_PICK(ball_combine_u16)((const uint16_t *const *)row, rows, out, t->least, t->wide);
  else
    ISA_PICK(ball_combine_f32)((const float *const *)row, rows, out, t->least, t->wide);
}

static const char *wider_row(const struct tile *t, int64_t y, int half) {
  int64_t rows = 2 * t->ball->radius + 1;
  return t->wider + (size_t)((y % rows * (t->ball->radius + 1) + half) * t->stride) * t->bytes;
}

static char *disc_row(const struct tile *t, int k, int64_t plane, int64_t y) {
  int64_t depth = t->ball->radius + k + 1;
  return t->disc[k] + (size_t)((plane % depth * t->plane + y) * t->stride) * t->bytes;
}

/* Discs of one plane, rows 0..rows of the tile; `in` is the tile's first row. Rows are counted from -radius. */
static void make_discs(const struct tile *t, const char *in, int64_t row_bytes, int64_t plane,
                       int64_t rows) {
  int64_t radius = t->ball->radius;
  const void *part[2 * VOXEL_RADIUS_MOST + 1];
  for (int64_t y = 0; y < rows + 2 * radius; y++) {
    widen(t, in + (y - radius) * row_bytes, (char *)wider_row(t, y, 0));
    if (y < 2 * radius) continue;
    for (int k = 0; k <= radius; k++) {
      int parts = 0;
      for (int i = t->first[k]; i < t->first[k + 1]; i++)
        part[parts++] = wider_row(t, y - radius + t->ball->row[i].y, t->ball->row[i].half);
      combine(t, part, parts, disc_row(t, k, plane, y - 2 * radius));
    }
  }
}

static void extreme_tile(const struct tile *t, const struct grid_field *in, struct grid_field *out,
                         int64_t y0, int64_t rows) {
  int64_t radius = t->ball->radius, row_bytes = in->row[1] * (int64_t)t->bytes;
  int64_t at       = grid_field_origin(in) + y0 * in->row[1];
  const char *from = (const char *)in->data + at * (int64_t)t->bytes;
  char *to         = (char *)out->data + at * (int64_t)t->bytes;
  const void *part[2 * VOXEL_RADIUS_MOST + 1];
  for (int64_t plane = 0; plane < in->mine.n[0] + 2 * radius; plane++) {
    int64_t z = plane - 2 * radius; /* finished with this plane */
    make_discs(t, from + (plane - radius) * in->row[0] * (int64_t)t->bytes, row_bytes, plane, rows);
    for (int64_t y = 0; z >= 0 && y < rows; y++) {
      for (int64_t k = -radius; k <= radius; k++)
        part[k + radius] = disc_row(t, abs((int)k), plane - radius + k, y);
      combine(t, part, 2 * (int)radius + 1, to + (z * in->row[0] + y * in->row[1]) * (int64_t)t->bytes);
    }
  }
}

static enum status extreme_here(const struct grid_field *in, const struct voxel_ball *ball,
                                bool least, struct grid_field *out) {
  TRY(fault_here("voxel.ball"));
  if (in->type != GRID_U8 && in->type != GRID_U16 && in->type != GRID_F32)
    return FAIL(STATUS_INTERNAL, "no ball filter of %s", grid_type_name(in->type));
  if (in->voxels == 0) return STATUS_OK;
  int64_t radius = ball->radius, planes = (radius + 1) * (3 * radius + 2) / 2;
  size_t bytes   = grid_type_bytes(in->type);
  struct tile t  = {.ball   = ball,
                    .least  = least,
                    .type   = in->type,
                    .bytes  = bytes,
                    .wide   = in->mine.n[2],
                    .stride = (in->mine.n[2] + 63) / 64 * 64};
  t.plane        = CACHE_BYTES / (planes * t.stride * (int64_t)bytes);
  if (t.plane < 2 * radius + 2) t.plane = 2 * radius + 2;
  if (t.plane > in->mine.n[1]) t.plane = in->mine.n[1];
  int64_t rows = (2 * radius + 1) * (radius + 1);
  TRY(memory_make_raw((rows + planes * t.plane) * t.stride, bytes, "rows of a ball filter", &t.wider));
  t.disc[0] = t.wider + (size_t)(rows * t.stride) * bytes;
  for (int i = ball->rows - 1; i >= 0; i--)
    if (ball->row[i].z >= 0) t.first[ball->row[i].z] = i;
  t.first[radius + 1] = ball->rows;
  for (int64_t k = 0; k < radius; k++)
    t.disc[k + 1] = t.disc[k] + (size_t)((radius + k + 1) * t.plane * t.stride) * bytes;
  for (int64_t y = 0; y < in->mine.n[1]; y += t.plane)
    extreme_tile(&t, in, out, y, in->mine.n[1] - y < t.plane ? in->mine.n[1] - y : t.plane);
  memory_free(t.wider);
  return STATUS_OK;
}

static enum status extreme(MPI_Comm comm, struct grid_field *field, const struct voxel_ball *ball,
                           bool least, struct grid_field *scratch) {
  TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
  TRY_ALL(comm, extreme_here(field, ball, least, scratch));
  void *data    = field->data; /* alike in shape: what was made becomes the field */
  field->data   = scratch->data;
  scratch->data = data;
  return STATUS_OK;
}

enum status voxel_ball_filter(MPI_Comm comm, struct grid_field *field, enum voxel_ball_filter filter,
                              int radius) {
  struct voxel_ball ball;
  struct grid_field scratch;
  TRY_ALL(comm, voxel_halo_check(field, radius));
  TRY_ALL(comm, voxel_ball_make(radius, &ball));
  enum status status = grid_field_make(comm, &field->plan, field->type, field->halo, &scratch);
  if (status == STATUS_OK)
    status = extreme(comm, field, &ball, filter == VOXEL_ERODE || filter == VOXEL_OPEN, &scratch);
  if (status == STATUS_OK && (filter == VOXEL_OPEN || filter == VOXEL_CLOSE))
    status = extreme(comm, field, &ball, filter == VOXEL_CLOSE, &scratch);
  grid_field_free(&scratch);
  voxel_ball_free(&ball);
  return status;
}
