/* Grey erosion and dilation by the exact ball of radius R, as extremes over nested parts: along x over h = 1..R
 * neighbours (E_h; E_0 is the row itself), over y to the discs that the ball has at height |dz| = k (D_k), over z. D_k
 * is D_(k+1) and those rows that are wider in it; D_R is the row itself. E rows stand in a ring of 2 R + 1 rows, D_k
 * rows in one of R + k + 1 planes of a tile along y that fits the second-level cache.
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

/* Half width of the row at (z, y), -1 where the ball has none. */
static int half_at(int radius, int z, int y) {
  int rest = radius * radius - z * z - y * y, half = -1;
  while (rest >= 0 && (half + 1) * (half + 1) <= rest) half++;
  return half;
}

enum status voxel_ball_make(int radius, struct voxel_ball *ball) {
  *ball = (struct voxel_ball){radius, 0, NULL};
  if (radius < 0 || radius > VOXEL_RADIUS_MOST)
    return FAIL(STATUS_USAGE, "a ball of radius %d; 0..%d is possible", radius, VOXEL_RADIUS_MOST);
  TRY(memory_make((2 * radius + 1) * (2 * radius + 1), sizeof *ball->row, "a ball", &ball->row));
  for (int z = -radius; z <= radius; z++)
    for (int y = -radius; y <= radius; y++) {
      int half = half_at(radius, z, y);
      if (half >= 0) ball->row[ball->rows++] = (struct voxel_ball_row){z, y, half};
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
  int64_t radius, bytes, stride, plane, ring; /* ring: rows of E, a power of two */
  char *wider, *disc[VOXEL_RADIUS_MOST + 1];
  struct voxel_ball_row *grown; /* rows that make D_k of D_(k+1), k = radius - 1..0 */
  int end[VOXEL_RADIUS_MOST];   /* of the rows up to D_(radius - 1 - i) */
  const void **part;
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

static void combine(const struct tile *t, const int *end, int discs, void *const *out) {
  bool least = t->work->least;
  int64_t n  = t->work->n[2];
  switch (t->work->kind) {
  case BALL_BITS:
    ISA_PICK(bits_combine)
    ((const uint64_t *const *)t->part, end, discs, (uint64_t *const *)out, least, n);
    break;
  case BALL_U8:
    ISA_PICK(ball_combine_u8)
    ((const uint8_t *const *)t->part, end, discs, (uint8_t *const *)out, least, n);
    break;
  case BALL_U16:
    ISA_PICK(ball_combine_u16)
    ((const uint16_t *const *)t->part, end, discs, (uint16_t *const *)out, least, n);
    break;
  case BALL_F32:
    ISA_PICK(ball_combine_f32)
    ((const float *const *)t->part, end, discs, (float *const *)out, least, n);
    break;
  }
}

/* Row y of the input, E_half of it. */
static const char *row_in(const struct tile *t, const char *in, int64_t y) {
  return in + y * t->work->in_row[1] * t->bytes;
}
static char *wider_row(const struct tile *t, int64_t y, int64_t half) {
  return t->wider + ((y & (t->ring - 1)) * t->radius + half - 1) * t->stride * t->bytes;
}

static char *disc_plane(const struct tile *t, int64_t k, int64_t plane) {
  return t->disc[k] + plane % (t->radius + k + 1) * t->plane * t->stride * t->bytes;
}

/* Discs of one plane for `rows` rows; `in` is the first of them. */
static void make_discs(const struct tile *t, const char *in, int64_t plane, int64_t rows) {
  int64_t radius = t->radius;
  void *out[VOXEL_RADIUS_MOST];
  char *disc[VOXEL_RADIUS_MOST];
  for (int64_t i = 0; i < radius; i++) disc[i] = disc_plane(t, radius - 1 - i, plane);
  for (int64_t next = -radius; next < rows + radius; next++) {
    int64_t y = next - radius; /* finished with that row */
    widen(t, row_in(t, in, next), wider_row(t, next, 1));
    if (y < 0) continue;
    for (int i = 0; i < t->end[radius - 1]; i++) {
      const struct voxel_ball_row *r = &t->grown[i];
      t->part[i] = r->half ? wider_row(t, y + r->y, r->half) : row_in(t, in, y + r->y);
    }
    for (int64_t i = 0; i < radius; i++) out[i] = disc[i] + y * t->stride * t->bytes;
    combine(t, t->end, (int)radius, out);
  }
}

/* Of a finished plane: rows of the input at both ends of the ball, of discs between. */
static void combine_plane(const struct tile *t, const char *from, int64_t z, int64_t rows,
                          char *to) {
  int64_t radius = t->radius, plane_bytes = t->work->in_row[0] * t->bytes;
  const int all = 2 * (int)radius + 1;
  const char *disc[2 * VOXEL_RADIUS_MOST + 1];
  for (int64_t k = 1 - radius; k < radius; k++)
    disc[k + radius] = disc_plane(t, k < 0 ? -k : k, z + radius + k);
  for (int64_t y = 0; y < rows; y++) {
    for (int k = 1; k < all - 1; k++) t->part[k] = disc[k] + y * t->stride * t->bytes;
    t->part[0]       = row_in(t, from + z * plane_bytes, y);
    t->part[all - 1] = row_in(t, from + (z + 2 * radius) * plane_bytes, y);
    combine(t, &all, 1, (void *[]){to + y * t->work->out_row[1] * t->bytes});
  }
}

/* Planes are counted from -radius. */
static void extreme_tile(const struct tile *t, int64_t y0, int64_t rows) {
  const struct voxel_ball_work *w = t->work;
  int64_t radius = t->radius, plane_bytes = w->in_row[0] * t->bytes;
  const char *from = row_in(t, (const char *)w->in - radius * plane_bytes, y0);
  char *to         = (char *)w->out + y0 * w->out_row[1] * t->bytes;
  for (int64_t plane = 0; plane < w->n[0] + 2 * radius; plane++) {
    int64_t z = plane - 2 * radius; /* finished with this plane */
    if (radius) make_discs(t, from + plane * plane_bytes, plane, rows);
    if (z >= 0) combine_plane(t, from, z, rows, to + z * w->out_row[0] * t->bytes);
  }
}

static enum status find_grown(int radius, struct tile *t) {
  int n = 0, most = (2 * radius + 1) * (radius + 1);
  TRY(memory_make(most, sizeof *t->grown, "a ball", &t->grown));
  TRY(memory_make(most, sizeof *t->part, "a ball", &t->part));
  for (int k = radius - 1; k >= 0; k--) {
    for (int y = -radius; y <= radius; y++) {
      int half = half_at(radius, k, y);
      if (half > half_at(radius, k + 1, y)) t->grown[n++] = (struct voxel_ball_row){k, y, half};
    }
    t->end[radius - 1 - k] = n;
  }
  return STATUS_OK;
}

static enum status make_tile(struct tile *t) {
  const struct voxel_ball_work *w = t->work;
  int64_t radius = t->radius, planes = radius * (3 * radius + 1) / 2;
  for (t->ring = 1; t->ring < 2 * radius + 1;) t->ring *= 2;
  int64_t rows = t->ring * radius;
  TRY(find_grown(w->ball->radius, t));
  t->stride = (w->n[2] + 63) / 64 * 64;
  t->plane  = CACHE_BYTES / ((planes + 1) * t->stride * t->bytes);
  if (t->plane < 2 * radius + 2) t->plane = 2 * radius + 2;
  if (t->plane > w->n[1]) t->plane = w->n[1];
  TRY(memory_make_raw((rows + planes * t->plane) * t->stride, (size_t)t->bytes,
                      "rows of a ball filter", &t->wider));
  t->disc[0] = t->wider + rows * t->stride * t->bytes;
  for (int64_t k = 0; k < radius; k++)
    t->disc[k + 1] = t->disc[k] + (radius + k + 1) * t->plane * t->stride * t->bytes;
  return STATUS_OK;
}

enum status voxel_ball_extreme(const struct voxel_ball_work *w) {
  static const int64_t sizes[] = {[BALL_BITS] = 8, [BALL_U8] = 1, [BALL_U16] = 2, [BALL_F32] = 4};
  struct tile t                = {.work = w, .radius = w->ball->radius, .bytes = sizes[w->kind]};
  if (w->n[0] * w->n[1] * w->n[2] == 0) return STATUS_OK;
  enum status status = make_tile(&t);
  for (int64_t y = 0; status == STATUS_OK && y < w->n[1]; y += t.plane)
    extreme_tile(&t, y, w->n[1] - y < t.plane ? w->n[1] - y : t.plane);
  memory_free(t.wider);
  memory_free(t.grown);
  memory_free(t.part);
  return status;
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

/* scratch: as large as the field; what was made in it becomes the field. */
static enum status extreme(MPI_Comm comm, struct grid_field *field, const struct voxel_ball *ball,
                           bool least, void **scratch) {
  struct grid_field out = *field;
  out.data              = *scratch;
  TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
  TRY_ALL(comm, extreme_here(field, ball, least, &out));
  *scratch    = field->data;
  field->data = out.data;
  return STATUS_OK;
}

enum status voxel_ball_filter(MPI_Comm comm, struct grid_field *field,
                              enum voxel_ball_filter filter, int radius) {
  struct voxel_ball ball = {0, 0, NULL};
  void *scratch          = NULL;
  TRY_ALL(comm, voxel_halo_check(field, radius));
  enum status status = voxel_ball_make(radius, &ball);
  if (status == STATUS_OK)
    status =
        memory_make_raw(field->voxels, grid_type_bytes(field->type), "a filtered volume", &scratch);
  status = AGREE(comm, status);
  if (status == STATUS_OK)
    status = extreme(comm, field, &ball, filter == VOXEL_ERODE || filter == VOXEL_OPEN, &scratch);
  if (status == STATUS_OK && (filter == VOXEL_OPEN || filter == VOXEL_CLOSE))
    status = extreme(comm, field, &ball, filter == VOXEL_CLOSE, &scratch);
  memory_free(scratch);
  voxel_ball_free(&ball);
  return status;
}
