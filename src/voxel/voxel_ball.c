/* Grey erosion and dilation by the exact ball of radius R, as extremes over nested parts: along x over 0..R
 * neighbours (E_h), over y to the discs that the ball has at height |dz| = k (D_k), over z. E rows stand in a ring
 * of 2 R + 1 rows, D_k rows in one of R + k + 1 planes of a tile along y that fits the second-level cache.
 * Beyond the volume the ball's part inside decides: for a ball that equals reflecting the volume. */
#include "voxel_filter_private.h"
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

/* Scratch of one tile of `plane` rows in each plane; a scratch row has `stride` elements. */
struct tile {
  const struct voxel_ball_work *work;
  int64_t radius, bytes, stride, plane;
  char *wider, *disc[VOXEL_RADIUS_MOST + 1];
  int first[VOXEL_RADIUS_MOST + 2]; /* row of the ball at height k, radius + 2 of them */
};

static void widen(const struct tile *t, const void *in, void *out) {
  bool least = t->work->least;
  int radius = (int)t->radius;
  int64_t n  = t->work->n[2];
  switch (t->work->kind) {
  case BALL_BITS:
    ISA_PICK(bits_widen)(in, out, t->stride, radius, least, n);
    break;
  case BALL_U8:
    ISA_PICK(ball_widen_u8)(in, out, t->stride, radius, least, n);
    break;
  case BALL_U16:
    ISA_PICK(ball_widen_u16)(in, out, t->stride, radius, least, n);
    break;
  case BALL_F32:
    ISA_PICK(ball_widen_f32)(in, out, t->stride, radius, least, n);
    break;
  }
}

static void combine(const struct tile *t, const void *const *row, int rows, void *out) {
  bool least = t->work->least;
  int64_t n  = t->work->n[2];
  switch (t->work->kind) {
  case BALL_BITS:
    ISA_PICK(bits_combine)((const uint64_t *const *)row, rows, out, least, n);
    break;
  case BALL_U8:
    ISA_PICK(ball_combine_u8)((const uint8_t *const *)row, rows, out, least, n);
    break;
  case BALL_U16:
    ISA_PICK(ball_combine_u16)((const uint16_t *const *)row, rows, out, least, n);
    break;
  case BALL_F32:
    ISA_PICK(ball_combine_f32)((const float *const *)row, rows, out, least, n);
    break;
  }
}

static char *wider_row(const struct tile *t, int64_t y, int64_t half) {
  return t->wider + (y % (2 * t->radius + 1) * (t->radius + 1) + half) * t->stride * t->bytes;
}

static char *disc_row(const struct tile *t, int64_t k, int64_t plane, int64_t y) {
  return t->disc[k] + (plane % (t->radius + k + 1) * t->plane + y) * t->stride * t->bytes;
}

/* Discs of one plane for `rows` rows; `in` is the first of them, rows are counted from -radius. */
static void make_discs(const struct tile *t, const char *in, int64_t plane, int64_t rows) {
  const struct voxel_ball_row *ball = t->work->ball->row;
  int64_t radius                    = t->radius;
  const void *part[2 * VOXEL_RADIUS_MOST + 1];
  for (int64_t y = 0; y < rows + 2 * radius; y++) {
    widen(t, in + (y - radius) * t->work->in_row[1] * t->bytes, wider_row(t, y, 0));
    if (y < 2 * radius) continue;
    for (int64_t k = 0; k <= radius; k++) {
      int parts = 0;
      for (int i = t->first[k]; i < t->first[k + 1]; i++)
        part[parts++] = wider_row(t, y - radius + ball[i].y, ball[i].half);
      combine(t, part, parts, disc_row(t, k, plane, y - 2 * radius));
    }
  }
}

static void extreme_tile(const struct tile *t, int64_t y0, int64_t rows) {
  const struct voxel_ball_work *w = t->work;
  int64_t radius                  = t->radius;
  const char *from                = (const char *)w->in + y0 * w->in_row[1] * t->bytes;
  char *to                        = (char *)w->out + y0 * w->out_row[1] * t->bytes;
  const void *part[2 * VOXEL_RADIUS_MOST + 1];
  for (int64_t plane = 0; plane < w->n[0] + 2 * radius; plane++) {
    int64_t z = plane - 2 * radius; /* finished with this plane */
    make_discs(t, from + (plane - radius) * w->in_row[0] * t->bytes, plane, rows);
    for (int64_t y = 0; z >= 0 && y < rows; y++) {
      for (int64_t k = -radius; k <= radius; k++)
        part[k + radius] = disc_row(t, k < 0 ? -k : k, plane - radius + k, y);
      combine(t, part, 2 * (int)radius + 1,
              to + (z * w->out_row[0] + y * w->out_row[1]) * t->bytes);
    }
  }
}

enum status voxel_ball_extreme(const struct voxel_ball_work *w) {
  static const int64_t sizes[] = {[BALL_BITS] = 8, [BALL_U8] = 1, [BALL_U16] = 2, [BALL_F32] = 4};
  int64_t radius = w->ball->radius, planes = (radius + 1) * (3 * radius + 2) / 2;
  int64_t rows  = (2 * radius + 1) * (radius + 1);
  struct tile t = {.work = w, .radius = radius, .bytes = sizes[w->kind]};
  if (w->n[0] * w->n[1] * w->n[2] == 0) return STATUS_OK;
  t.stride = (w->n[2] + 63) / 64 * 64;
  t.plane  = CACHE_BYTES / (planes * t.stride * t.bytes);
  if (t.plane < 2 * radius + 2) t.plane = 2 * radius + 2;
  if (t.plane > w->n[1]) t.plane = w->n[1];
  TRY(memory_make_raw((rows + planes * t.plane) * t.stride, (size_t)t.bytes,
                      "rows of a ball filter", &t.wider));
  t.disc[0] = t.wider + rows * t.stride * t.bytes;
  for (int64_t k = 0; k < radius; k++)
    t.disc[k + 1] = t.disc[k] + (radius + k + 1) * t.plane * t.stride * t.bytes;
  for (int i = w->ball->rows - 1; i >= 0; i--)
    if (w->ball->row[i].z >= 0) t.first[w->ball->row[i].z] = i;
  t.first[radius + 1] = w->ball->rows;
  for (int64_t y = 0; y < w->n[1]; y += t.plane)
    extreme_tile(&t, y, w->n[1] - y < t.plane ? w->n[1] - y : t.plane);
  memory_free(t.wider);
  return STATUS_OK;
}

/* ---- grey fields ------------------------------------------------------------------------------------------ */

static enum status extreme_here(const struct grid_field *in, const struct voxel_ball *ball,
                                bool least, struct grid_field *out) {
  TRY(fault_here("voxel.ball"));
  if (in->type != GRID_U8 && in->type != GRID_U16 && in->type != GRID_F32)
    return FAIL(STATUS_INTERNAL, "no ball filter of %s", grid_type_name(in->type));
  int64_t at                  = grid_field_origin(in) * (int64_t)grid_type_bytes(in->type);
  struct voxel_ball_work work = {
      .ball    = ball,
      .least   = least,
      .kind    = in->type == GRID_U8    ? BALL_U8
                 : in->type == GRID_U16 ? BALL_U16
                                        : BALL_F32,
      .in      = (const char *)in->data + at,
      .out     = (char *)out->data + at,
      .in_row  = {in->row[0], in->row[1]},
      .out_row = {in->row[0], in->row[1]}
  };
  memcpy(work.n, in->mine.n, sizeof work.n);
  return voxel_ball_extreme(&work);
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

enum status voxel_ball_filter(MPI_Comm comm, struct grid_field *field,
                              enum voxel_ball_filter filter, int radius) {
  struct voxel_ball ball;
  struct grid_field scratch;
  TRY_ALL(comm, voxel_halo_check(field, radius));
  TRY_ALL(comm, voxel_ball_make(radius, &ball));
  memset(&scratch, 0, sizeof scratch);
  enum status status = grid_field_make(comm, &field->plan, field->type, field->halo, &scratch);
  if (status == STATUS_OK)
    status = extreme(comm, field, &ball, filter == VOXEL_ERODE || filter == VOXEL_OPEN, &scratch);
  if (status == STATUS_OK && (filter == VOXEL_OPEN || filter == VOXEL_CLOSE))
    status = extreme(comm, field, &ball, filter == VOXEL_CLOSE, &scratch);
  grid_field_free(&scratch);
  voxel_ball_free(&ball);
  return status;
}
