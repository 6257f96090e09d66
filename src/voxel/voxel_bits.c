/* Erosion and dilation of packed bits by the exact ball of radius R, as extremes over nested parts: along x over h = 1..R
 * neighbours (E_h; E_0 is the row itself), over y to the discs that the ball has at height |dz| = k (D_k), over z. D_k
 * is D_(k+1) and those rows that are wider in it; D_R is the row itself. E rows stand in a ring of 2 R + 1 rows, D_k
 * rows in one of R + k + 1 planes of a tile along y that fits the second-level cache. */
#include "voxel_filter_private.h"

enum { CACHE_BYTES = 384 << 10 };

/* Scratch of one tile of `plane` rows in each plane; a scratch row has `stride` words. */
struct tile {
  const struct voxel_bits_work *work;
  int64_t radius, stride, plane, ring; /* ring: rows of E, a power of two */
  uint64_t *wider, *disc[VOXEL_RADIUS_MOST + 1];
  struct voxel_ball_row *grown; /* rows that make D_k of D_(k+1), k = radius - 1..0 */
  int end[VOXEL_RADIUS_MOST];   /* of the rows up to D_(radius - 1 - i) */
  const uint64_t **part;
};

static const uint64_t *row_in(const struct tile *t, const uint64_t *in, int64_t y) {
  return in + y * t->work->in_row[1];
}
static uint64_t *wider_row(const struct tile *t, int64_t y, int64_t half) {
  return t->wider + ((y & (t->ring - 1)) * t->radius + half - 1) * t->stride;
}

static uint64_t *disc_plane(const struct tile *t, int64_t k, int64_t plane) {
  return t->disc[k] + plane % (t->radius + k + 1) * t->plane * t->stride;
}

static void combine(const struct tile *t, const int *end, int discs, uint64_t *const *out) {
  ISA_PICK(bits_combine)(t->part, end, discs, out, t->work->least, t->work->n[2]);
}

/* Discs of one plane for `rows` rows; `in` is the first of them. */
static void make_discs(const struct tile *t, const uint64_t *in, int64_t plane, int64_t rows) {
  int64_t radius = t->radius;
  uint64_t *out[VOXEL_RADIUS_MOST], *disc[VOXEL_RADIUS_MOST];
  for (int64_t i = 0; i < radius; i++) disc[i] = disc_plane(t, radius - 1 - i, plane);
  for (int64_t next = -radius; next < rows + radius; next++) {
    int64_t y = next - radius; /* finished with that row */
    ISA_PICK(bits_widen)
    (row_in(t, in, next), wider_row(t, next, 1), t->stride, (int)radius, t->work->least,
     t->work->n[2]);
    if (y < 0) continue;
    for (int i = 0; i < t->end[radius - 1]; i++) {
      const struct voxel_ball_row *r = &t->grown[i];
      t->part[i] = r->half ? wider_row(t, y + r->y, r->half) : row_in(t, in, y + r->y);
    }
    for (int64_t i = 0; i < radius; i++) out[i] = disc[i] + y * t->stride;
    combine(t, t->end, (int)radius, out);
  }
}

/* Of a finished plane: rows of the input at both ends of the ball, of discs between. */
static void combine_plane(const struct tile *t, const uint64_t *from, int64_t z, int64_t rows,
                          uint64_t *to) {
  int64_t radius = t->radius, plane = t->work->in_row[0];
  const int all = 2 * (int)radius + 1;
  const uint64_t *disc[2 * VOXEL_RADIUS_MOST + 1];
  for (int64_t k = 1 - radius; k < radius; k++)
    disc[k + radius] = disc_plane(t, k < 0 ? -k : k, z + radius + k);
  for (int64_t y = 0; y < rows; y++) {
    for (int k = 1; k < all - 1; k++) t->part[k] = disc[k] + y * t->stride;
    t->part[0]       = row_in(t, from + z * plane, y);
    t->part[all - 1] = row_in(t, from + (z + 2 * radius) * plane, y);
    combine(t, &all, 1, (uint64_t *[]){to + y * t->work->out_row[1]});
  }
}

/* Planes are counted from -radius. */
static void extreme_tile(const struct tile *t, int64_t y0, int64_t rows) {
  const struct voxel_bits_work *w = t->work;
  int64_t radius                  = t->radius;
  const uint64_t *from            = row_in(t, w->in - radius * w->in_row[0], y0);
  uint64_t *to                    = w->out + y0 * w->out_row[1];
  for (int64_t plane = 0; plane < w->n[0] + 2 * radius; plane++) {
    int64_t z = plane - 2 * radius; /* finished with this plane */
    if (radius) make_discs(t, from + plane * w->in_row[0], plane, rows);
    if (z >= 0) combine_plane(t, from, z, rows, to + z * w->out_row[0]);
  }
}

static enum status find_grown(int radius, struct tile *t) {
  int n = 0, most = (2 * radius + 1) * (radius + 1);
  TRY(memory_make(most, sizeof *t->grown, "a ball", &t->grown));
  TRY(memory_make(most, sizeof *t->part, "a ball", &t->part));
  for (int k = radius - 1; k >= 0; k--) {
    for (int y = -radius; y <= radius; y++) {
      int half = voxel_ball_half(radius, k, y);
      if (half > voxel_ball_half(radius, k + 1, y))
        t->grown[n++] = (struct voxel_ball_row){k, y, half};
    }
    t->end[radius - 1 - k] = n;
  }
  return STATUS_OK;
}

static enum status make_tile(struct tile *t) {
  const struct voxel_bits_work *w = t->work;
  int64_t radius = t->radius, planes = radius * (3 * radius + 1) / 2;
  for (t->ring = 1; t->ring < 2 * radius + 1;) t->ring *= 2;
  int64_t rows = t->ring * radius;
  TRY(find_grown(w->radius, t));
  t->stride = (w->n[2] + 7) / 8 * 8;
  t->plane  = CACHE_BYTES / ((planes + 1) * t->stride * (int64_t)sizeof *t->wider);
  if (t->plane < 2 * radius + 2) t->plane = 2 * radius + 2;
  if (t->plane > w->n[1]) t->plane = w->n[1];
  TRY(memory_make_raw((rows + planes * t->plane) * t->stride, sizeof *t->wider,
                      "rows of a ball filter", &t->wider));
  t->disc[0] = t->wider + rows * t->stride;
  for (int64_t k = 0; k < radius; k++)
    t->disc[k + 1] = t->disc[k] + (radius + k + 1) * t->plane * t->stride;
  return STATUS_OK;
}

enum status voxel_bits_extreme(const struct voxel_bits_work *w) {
  struct tile t = {.work = w, .radius = w->radius};
  if (w->n[0] * w->n[1] * w->n[2] == 0) return STATUS_OK;
  enum status status = make_tile(&t);
  for (int64_t y = 0; status == STATUS_OK && y < w->n[1]; y += t.plane)
    extreme_tile(&t, y, w->n[1] - y < t.plane ? w->n[1] - y : t.plane);
  memory_free(t.wider);
  memory_free(t.grown);
  memory_free(t.part);
  return status;
}
