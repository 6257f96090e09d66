/* Grey erosion and dilation by the exact ball of radius R, as extremes over nested parts: along x over h = 1..R - 1
 * neighbours (E_h; E_0 is the row itself), over y to the discs that the ball has at height |dz| = k (D_k): D_k is
 * D_(k+1) and those rows that are wider in it; D_R is the row itself, D_0 has two voxels more at the ends of x. The discs
 * of four planes at once go to the 2 R + 4 planes that they are parts of; 2 R planes wait for more.
 * In place, tile by tile in y and x, along all of z, so that what waits stays in the second-level cache; of an opening or a closing
 * the second filter takes the first one's planes as they come. What a tile overwrites and later ones need is kept: a
 * strip above, a strip at the left.
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

int voxel_ball_half(int radius, int z, int y) {
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
      int half = voxel_ball_half(radius, z, y);
      if (half >= 0) ball->row[ball->rows++] = (struct voxel_ball_row){z, y, half};
    }
  return STATUS_OK;
}

void voxel_ball_free(struct voxel_ball *ball) {
  memory_free(ball->row);
  memset(ball, 0, sizeof *ball);
}

/* ---- one filter on a tile ----------------------------------------------------------------------------------- */

enum { LINE_BYTES = 64, TILE_BYTES = 1024, CACHE_BYTES = 576 << 10 };

struct filter {
  bool least;
  int64_t rows; /* of the largest tile that it gives */
  char *in, *wider, *waiting;
};

struct work {
  struct grid_field *field;
  int filters;
  int64_t bytes, reach; /* of an element; voxels around the box that decide */
  int64_t rows, wide;   /* of a tile */
  struct filter filter[2];
  struct ball_discs ball;
  char *scratch, *line[BALL_PLANES + 1]; /* finished rows; one that nobody wants */
  char *above[2], *left;
};

struct tile {
  int64_t y, x, rows, wide;
  bool inner[2]; /* another one lies above, at the left */
  int parity;
};

static int64_t rounded(const struct work *w, int64_t n) {
  int64_t vector = LINE_BYTES / w->bytes;
  return (n + vector - 1) / vector * vector;
}

/* `planes` rows one after another. */
static void widen(const struct work *w, bool least, int planes, const char *in, char *out,
                  int64_t n) {
  int most = w->ball.radius - 1;
  for (int g = 0; g < planes && most; g++) {
    const void *from = in + g * w->ball.pitch;
    void *to         = out + g * most * w->ball.pitch;
    int64_t pitch    = w->ball.pitch / w->bytes;
    if (w->bytes == 1) ISA_PICK(ball_widen_u8)(from, to, pitch, most, least, n);
    if (w->bytes == 2) ISA_PICK(ball_widen_u16)(from, to, pitch, most, least, n);
    if (w->bytes == 4) ISA_PICK(ball_widen_f32)(from, to, pitch, most, least, n);
  }
}

static void spread(const struct work *w, bool least, int planes, const struct ball_rows *rows,
                   void *const *waiting, void *const *done, int64_t n) {
  if (w->bytes == 1) ISA_PICK(ball_spread_u8)
  (rows, &w->ball, planes, (uint8_t *const *)waiting, (uint8_t *const *)done, least, n);
  if (w->bytes == 2) ISA_PICK(ball_spread_u16)
  (rows, &w->ball, planes, (uint16_t *const *)waiting, (uint16_t *const *)done, least, n);
  if (w->bytes == 4) ISA_PICK(ball_spread_f32)
  (rows, &w->ball, planes, (float *const *)waiting, (float *const *)done, least, n);
}

/* Row y of plane g of a filter's input; extremes of BALL_PLANES rows, in a ring of 2 R - 1. */
static char *row_in(const struct work *w, const struct filter *f, int64_t g, int64_t y) {
  return f->in + (y * BALL_PLANES + g) * w->ball.pitch;
}
static char *row_wider(const struct work *w, const struct filter *f, int64_t slot) {
  return f->wider + slot * BALL_PLANES * (w->ball.radius - 1) * w->ball.pitch;
}
static char *row_waiting(const struct work *w, const struct filter *f, int64_t plane, int64_t y) {
  return f->waiting + (plane % (2 * w->ball.radius) * f->rows + y) * w->ball.pitch;
}

static char *row_of(const struct work *w, int64_t z, int64_t y, int64_t x) {
  const struct grid_field *f = w->field;
  return (char *)f->data + (grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x) * w->bytes;
}

/* Rows kept of plane z (counted from the first that is read): of the strip above, of the tile at the left. */
static char *row_above(const struct work *w, int parity, int64_t z, int64_t y) {
  return w->above[parity] + (z * w->reach + y) * (w->field->mine.n[2] + 2 * w->reach) * w->bytes;
}
static char *row_left(const struct work *w, int64_t z, int64_t y) {
  return w->left + (z * (w->rows + 2 * w->reach) + y) * w->reach * w->bytes;
}

/* Row y (from the first that is read) of plane z of a tile and of what is around it; but for what is kept at the left. */
static char *row_from(const struct work *w, const struct tile *t, int64_t z, int64_t y) {
  if (t->inner[0] && y < w->reach) return row_above(w, !t->parity, z, y) + t->x * w->bytes;
  return row_of(w, z - w->reach, t->y + y - w->reach, t->x - w->reach);
}

/* Asks the memory for what the first filter takes next, while it is at work. */
static void fetch_ahead(const struct work *w, const struct tile *t, int64_t z, int64_t y) {
  int64_t bytes = (t->wide + 2 * w->reach) * w->bytes, end = w->field->mine.n[0] + 2 * w->reach;
  for (int g = 0; g < BALL_PLANES && z + g < end; g++) {
    const char *row = row_from(w, t, z + g, y);
    for (int64_t i = 0; i < bytes; i += LINE_BYTES) __builtin_prefetch(row + i, 0, 2);
  }
}

/* The next row of extremes about row y of the output, where ring[] begins with the oldest. */
static void turn_ring(const struct work *w, const void **ring, const void *next) {
  int n = 2 * w->ball.radius - 1;
  memmove(ring, ring + 1, (size_t)(n - 1) * sizeof *ring);
  ring[n - 1] = next;
}

/* Planes `plane` and following of filter k's input, counted from its first: 2 R planes earlier ones are finished. */
static void filter_planes(const struct work *w, int k, const struct tile *t, int64_t plane,
                          int planes) {
  const struct filter *f = &w->filter[k];
  const int radius = w->ball.radius, last = k == w->filters - 1, ring = 2 * radius - 1;
  int64_t finished = plane - 2 * radius, more = last ? 0 : 2 * radius, n = t->wide + more;
  struct ball_rows rows = {.in = NULL};
  void *waiting[2 * VOXEL_RADIUS_MOST + BALL_PLANES], *done[BALL_PLANES];
  for (int j = 0; j < 2 * radius + planes; j++) waiting[j] = row_waiting(w, f, plane + j, 0);
  for (int64_t y = 1 - ring, slot = 0; y < t->rows + more; y++) {
    char *wider = row_wider(w, f, slot);
    slot        = slot + 1 < ring ? slot + 1 : 0;
    turn_ring(w, rows.wider, wider);
    widen(w, f->least, planes, row_in(w, f, 0, y + ring) + radius * w->bytes, wider, n);
    if (k == 0) fetch_ahead(w, t, plane + planes, y + ring);
    if (y < 0) continue;
    rows.in = row_in(w, f, 0, y);
    for (int g = 0; g < planes; g++)
      done[g] = finished + g < 0 ? w->line[BALL_PLANES]
                : last           ? w->line[g]
                                 : row_in(w, f + 1, g, y);
    spread(w, f->least, planes, &rows, waiting, done, n);
    for (int j = 0; j < 2 * radius + planes; j++) waiting[j] = (char *)waiting[j] + w->ball.pitch;
    for (int g = 0; g < planes && last; g++)
      if (finished + g >= 0)
        memcpy(row_of(w, finished + g, t->y + y, t->x), done[g], (size_t)(n * w->bytes));
  }
}

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

static void take(const struct work *w, const char *from, char *to, int64_t n) {
  const void *source = from;
  void *target       = to;
  if (w->bytes == 4)
    ISA_PICK(ball_take_f32)(source, target, n);
  else
    memcpy(to, from, (size_t)(n * w->bytes));
}

/* Plane z of the tile and of what is around it to plane g of the first filter's input. */
static void take_plane(const struct work *w, const struct tile *t, int64_t z, int g) {
  int64_t reach = w->reach, wide = t->wide + 2 * reach, side = reach * w->bytes;
  for (int64_t y = 0; y < t->rows + 2 * reach; y++) {
    char *to         = row_in(w, &w->filter[0], g, y);
    int64_t kept     = t->inner[1] && !(t->inner[0] && y < reach) ? reach : 0;
    const char *from = row_from(w, t, z, y);
    if (kept) memcpy(to, row_left(w, z, y), (size_t)side);
    take(w, from + kept * w->bytes, to + kept * w->bytes, wide - kept);
    if (t->x + t->wide < w->field->mine.n[2])
      memcpy(row_left(w, z, y), to + t->wide * w->bytes, (size_t)side);
    if (t->y + t->rows < w->field->mine.n[1] && y >= t->rows && y < t->rows + reach)
      memcpy(row_above(w, t->parity, z, y - t->rows) + t->x * w->bytes, to,
             (size_t)(wide * w->bytes));
  }
}

/* The first turn is as short as lets the second filter's turns be whole ones. */
static void filter_tile(const struct work *w, const struct tile *t) {
  int64_t all = w->field->mine.n[0] + 2 * w->reach, delay = 2 * w->ball.radius;
  int planes = delay % BALL_PLANES ? (int)delay % BALL_PLANES : BALL_PLANES;
  for (int64_t z = 0; z < all; z += planes, planes = BALL_PLANES) {
    if (planes > all - z) planes = (int)(all - z);
    for (int g = 0; g < planes; g++) take_plane(w, t, z + g, g);
    filter_planes(w, 0, t, z, planes);
    if (w->filters == 2 && z >= delay) filter_planes(w, 1, t, z - delay, planes);
  }
}

static void filter_box(const struct work *w) {
  const int64_t *n = w->field->mine.n;
  struct tile t    = {.parity = 0};
  for (t.y = 0; t.y < n[1]; t.y += w->rows, t.parity = !t.parity)
    for (t.x = 0; t.x < n[2]; t.x += w->wide) {
      t.rows     = n[1] - t.y < w->rows ? n[1] - t.y : w->rows;
      t.wide     = n[2] - t.x < w->wide ? n[2] - t.x : w->wide;
      t.inner[0] = t.y > 0;
      t.inner[1] = t.x > 0;
      filter_tile(w, &t);
    }
}

/* ---- sizes -------------------------------------------------------------------------------------------------------- */

/* Parts of D_R, then what D_k has more, k = R - 1..0. */
static enum status list_ball(struct ball_discs *ball) {
  int n = 0, radius = ball->radius;
  TRY(memory_make(BALL_PARTS_MOST, sizeof *ball->part, "a ball", &ball->part));
  ball->part[n++] = (struct ball_part){0, 0, 0};
  for (int k = radius - 1; k >= 0; ball->end[k--] = n)
    for (int y = -radius; y <= radius; y++) {
      int half = voxel_ball_half(radius, k, y);
      if (half <= voxel_ball_half(radius, k + 1, y)) continue;
      if (half == radius) {
        ball->part[n++] = (struct ball_part){0, 0, -radius};
        ball->part[n++] = (struct ball_part){0, 0, radius};
      } else
        ball->part[n++] = (struct ball_part){y, half, 0};
    }
  return STATUS_OK;
}

/* Tiles of about TILE_BYTES along x, alike, and of as many rows as the cache holds. */
static void size_tiles(const int64_t n[3], struct work *w) {
  int64_t radius = w->ball.radius, count = (n[2] * w->bytes + TILE_BYTES - 1) / TILE_BYTES;
  w->reach      = w->filters * radius;
  w->wide       = rounded(w, (n[2] + count - 1) / count);
  int64_t wide  = rounded(w, w->wide + 2 * radius * (w->filters - 1));
  w->ball.pitch = radius == 3 ? BALL3_PITCH : rounded(w, wide + 2 * radius) * w->bytes;
  w->rows       = CACHE_BYTES / (w->filters * (2 * radius + BALL_PLANES) * w->ball.pitch);
  if (w->rows < 2 * radius + 2) w->rows = 2 * radius + 2;
  if (w->rows > n[1]) w->rows = n[1];
  for (int k = 0; k < w->filters; k++)
    w->filter[k].rows = w->rows + (k == w->filters - 1 ? 0 : 2 * radius);
}

/* Rows of scratch of filter k: its input, extremes along x, planes that wait. */
static int64_t filter_rows(const struct work *w, int k, int64_t at[3]) {
  int64_t rows = w->filter[k].rows, radius = w->ball.radius;
  at[0] = BALL_PLANES * (rows + 2 * radius);
  at[1] = BALL_PLANES * (2 * radius - 1) * (radius - 1);
  at[2] = 2 * radius * rows;
  return at[0] + at[1] + at[2];
}

/* Elements kept above and at the left. */
static void kept_elements(const int64_t n[3], const struct work *w, int64_t kept[2]) {
  int64_t planes = n[0] + 2 * w->reach;
  kept[0]        = w->rows < n[1] ? planes * w->reach * (n[2] + 2 * w->reach) : 0;
  kept[1]        = w->wide < n[2] ? planes * w->reach * (w->rows + 2 * w->reach) : 0;
}

static int64_t scratch_bytes(const int64_t n[3], const struct work *w) {
  int64_t at[3], kept[2], rows = BALL_PLANES + 1;
  for (int k = 0; k < w->filters; k++) rows += filter_rows(w, k, at);
  kept_elements(n, w, kept);
  return rows * w->ball.pitch + (2 * kept[0] + kept[1]) * w->bytes;
}

int64_t voxel_ball_bytes(const int64_t n[3], enum grid_type type, int radius) {
  struct work w = {
      .ball = {.radius = radius}, .filters = 2, .bytes = (int64_t)grid_type_bytes(type)};
  if (radius == 0 || n[0] * n[1] * n[2] == 0) return 0;
  size_tiles(n, &w);
  return scratch_bytes(n, &w);
}

static enum status make_work(struct work *w) {
  const int64_t *n = w->field->mine.n;
  int64_t at[3], kept[2];
  TRY(list_ball(&w->ball));
  size_tiles(n, w);
  TRY(memory_make(scratch_bytes(n, w), 1, "rows of a ball filter", &w->scratch));
  char *free = w->scratch;
  for (int k = 0; k < w->filters; k++) {
    struct filter *f = &w->filter[k];
    filter_rows(w, k, at);
    f->in      = free;
    f->wider   = f->in + at[0] * w->ball.pitch;
    f->waiting = f->wider + at[1] * w->ball.pitch;
    free       = f->waiting + at[2] * w->ball.pitch;
  }
  for (int i = 0; i <= BALL_PLANES; i++, free += w->ball.pitch) w->line[i] = free;
  kept_elements(n, w, kept);
  w->above[0] = free;
  w->above[1] = w->above[0] + kept[0] * w->bytes;
  w->left     = w->above[1] + kept[0] * w->bytes;
  return STATUS_OK;
}

/* ---- fields ------------------------------------------------------------------------------------------------------- */

/* The filters one after the other; the halo is what both need. */
static enum status filter_here(struct grid_field *field, int radius, int filters, bool least) {
  struct work w = {
      .field   = field,
      .ball    = {.radius = radius  },
      .filters = filters,
      .bytes   = (int64_t)grid_type_bytes(field->type),
      .filter  = { {.least = least}, {.least = !least}}
  };
  TRY(fault_here("voxel.ball"));
  if (field->type != GRID_U8 && field->type != GRID_U16 && field->type != GRID_F32)
    return FAIL(STATUS_INTERNAL, "no ball filter of %s", grid_type_name(field->type));
  if (field->voxels == 0) return STATUS_OK;
  enum status status = make_work(&w);
  if (status == STATUS_OK) filter_box(&w);
  memory_free(w.scratch);
  memory_free(w.ball.part);
  return status;
}

static enum status radius_check(const struct grid_field *field, int radius) {
  TRY(voxel_halo_check(field, radius));
  if (radius >= 0 && radius <= VOXEL_RADIUS_MOST) return STATUS_OK;
  return FAIL(STATUS_USAGE, "a ball of radius %d; 0..%d is possible", radius, VOXEL_RADIUS_MOST);
}

enum status voxel_ball_filter(MPI_Comm comm, struct grid_field *field,
                              enum voxel_ball_filter filter, int radius) {
  bool least = filter == VOXEL_ERODE || filter == VOXEL_OPEN;
  int steps = filter == VOXEL_OPEN || filter == VOXEL_CLOSE ? 2 : 1, filters = steps;
  TRY_ALL(comm, radius_check(field, radius));
  if (radius == 0) return STATUS_OK;
  for (int a = 0; a < 3; a++)
    if (field->halo[a] < steps * radius) filters = 1;
  for (int k = 0; k < steps; k += filters) {
    TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
    TRY_ALL(comm, filter_here(field, radius, filters, k ? !least : least));
  }
  return STATUS_OK;
}
