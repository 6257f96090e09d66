/* Area: each cube between eight voxels' middles is cut into the six tetrahedra about its diagonal (Kuhn's), in which
 * the grey value is linear: no case is ambiguous, and neighbouring cubes agree on their common face. Within a
 * tetrahedron the surface is a triangle or two. Edges as sharp as a voxel would be seen as stairs (5 % too much), so grey
 * values are smoothed first by (-1 4 10 4 -1)/16 along each axis, which has no second moment and so does not shrink what is
 * curved. Half of the outermost voxels lies beyond the last middles; there values go on unchanged along the axis, and the
 * cube counts half.
 * Volume: of each voxel the share 1/2 + f / (|fz| + |fy| + |fx|) within 0..1, f the grey value over the nearer bound and fz
 * its difference across the voxel: a plane's share, without the chords that cut curved surfaces short. */
#include "voxel_isosurface.h"
#include <math.h>
#include <string.h>

struct point {
  double z, y, x;
};

static struct point between(struct point a, struct point b, double t) {
  return (struct point){a.z + t * (b.z - a.z), a.y + t * (b.y - a.y), a.x + t * (b.x - a.x)};
}
static struct point minus(struct point a, struct point b) {
  return (struct point){a.z - b.z, a.y - b.y, a.x - b.x};
}
static struct point cross(struct point a, struct point b) {
  return (struct point){a.y * b.x - a.x * b.y, a.x * b.z - a.z * b.x, a.z * b.y - a.y * b.z};
}
static double area_of(struct point a, struct point b, struct point c) {
  struct point n = cross(minus(b, a), minus(c, a));
  return 0.5 * sqrt(n.z * n.z + n.y * n.y + n.x * n.x);
}
struct corner {
  double value; /* above 0: inside */
  struct point at;
};

static struct point crossing(const struct corner *in, const struct corner *out) {
  return between(in->at, out->at, in->value / (in->value - out->value));
}

/* Area of the cut through a tetrahedron whose first `inside` corners lie inside. */
static double cut_area(const struct corner t[4], int inside) {
  if (inside == 1)
    return area_of(crossing(&t[0], &t[1]), crossing(&t[0], &t[2]), crossing(&t[0], &t[3]));
  if (inside == 3)
    return area_of(crossing(&t[0], &t[3]), crossing(&t[1], &t[3]), crossing(&t[2], &t[3]));
  if (inside != 2) return 0;
  struct point ac = crossing(&t[0], &t[2]), bd = crossing(&t[1], &t[3]);
  return area_of(ac, crossing(&t[0], &t[3]), bd) + area_of(ac, bd, crossing(&t[1], &t[2]));
}

static double cube_area(const struct corner corner[8]) {
  static const int tetrahedron[6][4] = {
      {0, 1, 3, 7},
      {0, 1, 5, 7},
      {0, 2, 3, 7},
      {0, 2, 6, 7},
      {0, 4, 5, 7},
      {0, 4, 6, 7}
  };
  double area = 0;
  for (int k = 0; k < 6; k++) {
    struct corner t[4];
    int inside = 0, outside = 0;
    for (int i = 0; i < 4; i++) {
      const struct corner *c = &corner[tetrahedron[k][i]];
      if (c->value > 0)
        t[inside++] = *c;
      else
        t[3 - outside++] = *c;
    }
    area += cut_area(t, inside);
  }
  return area;
}

/* ---- sums ------------------------------------------------------------------------------------------------------ */

struct sums {
  int64_t area, volume;
};
struct voxel_isosurface_work {
  double low, high, edge[3], cube, face;
  int64_t count;
  struct sums *sum;
};
/* Fields of a part of the whole volume that begins at `start`, and what of it counts here, in its own places. */
struct work {
  const struct voxel_isosurface_work *sums;
  const struct grid_field *numbers;
  struct grid_box core;
  int64_t whole[3], start[3];
};
static const double steps = 16777216; /* of a face or a voxel */

static double value_of(const struct work *w, const struct grid_field *f, int64_t at) {
  double grey =
      f->type == GRID_F32 ? (double)((const float *)f->data)[at] : ((const uint16_t *)f->data)[at];
  return fmin(grey - w->sums->low, w->sums->high - grey);
}

static int64_t place(const struct grid_field *f, int64_t z, int64_t y, int64_t x) {
  return grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
}

/* 0 for what does not count. */
static int64_t number_of(const struct work *w, int64_t z, int64_t y, int64_t x) {
  const struct grid_field *f = w->numbers;
  if (!f) return 1;
  int64_t at = place(f, z, y, x);
  int64_t own =
      f->type == GRID_U8 ? ((const uint8_t *)f->data)[at] : ((const int32_t *)f->data)[at];
  return own <= w->sums->count ? own : 0;
}

/* The voxel's own number, or the greatest of its neighbours by faces. */
static int64_t number_near(const struct work *w, int64_t z, int64_t y, int64_t x) {
  int64_t own = number_of(w, z, y, x), most = 0;
  if (own > 0) return own;
  for (int k = 0; k < 6; k++) {
    int d         = k % 2 ? 1 : -1;
    int64_t other = number_of(w, z + d * (k / 2 == 0), y + d * (k / 2 == 1), x + d * (k / 2 == 2));
    if (other > most) most = other;
  }
  return most;
}

static double share_of_voxel(const struct work *w, const struct grid_field *f, int64_t at) {
  const int64_t step[3] = {f->row[0], f->row[1], 1};
  double own = value_of(w, f, at), fall = 0;
  for (int a = 0; a < 3; a++)
    fall += 0.5 * fabs(value_of(w, f, at + step[a]) - value_of(w, f, at - step[a]));
  if (!(fabs(own) < 0.5 * fall)) return own > 0;
  return 0.5 + own / fall;
}

static void add_volumes(const struct work *w, const struct grid_field *grey) {
  const int64_t *low = w->core.start, *n = w->core.n;
  for (int64_t z = low[0]; z < low[0] + n[0]; z++)
    for (int64_t y = low[1]; y < low[1] + n[1]; y++)
      for (int64_t x = low[2]; x < low[2] + n[2]; x++) {
        double share = share_of_voxel(w, grey, place(grey, z, y, x));
        if (share == 0) continue;
        int64_t number = number_near(w, z, y, x);
        if (number) w->sums->sum[number - 1].volume += llround(share * steps);
      }
}

/* The cube from voxel (z, y, x) of the part to the next ones; part: the share of it within the volume. */
static void add_cube(const struct work *w, const struct grid_field *f, int64_t z, int64_t y,
                     int64_t x, double part) {
  struct corner corner[8];
  int64_t at = place(f, z, y, x), number = 0;
  int inside = 0;
  for (int k = 0; k < 8; k++) {
    corner[k].value =
        value_of(w, f, at + (k >> 2) * f->row[0] + (k >> 1 & 1) * f->row[1] + (k & 1));
    inside += corner[k].value > 0;
  }
  if (inside == 0 || inside == 8) return;
  for (int k = 0; k < 8; k++) {
    int64_t own  = number_of(w, z + (k >> 2), y + (k >> 1 & 1), x + (k & 1));
    number       = own > number ? own : number;
    corner[k].at = (struct point){(k >> 2) * w->sums->edge[0], (k >> 1 & 1) * w->sums->edge[1],
                                  (k & 1) * w->sums->edge[2]};
  }
  if (number)
    w->sums->sum[number - 1].area += llround(part * cube_area(corner) / w->sums->face * steps);
}

/* Share along one axis of the cube that begins at voxel i of the whole. */
static double share_of(int64_t i, int64_t n) { return i < 0 || i + 1 >= n ? 0.5 : 1; }

/* To a part belong the cubes that begin at its voxels, and at the whole's beginning those that begin before it. */
static void add_areas(const struct work *w, const struct grid_field *f) {
  const int64_t *n = w->whole, *first = w->core.start, *start = w->start;
  int64_t end[3];
  for (int a = 0; a < 3; a++) end[a] = first[a] + w->core.n[a];
  if (grid_box_voxels(&w->core) == 0) return;
  for (int64_t z = first[0] - !(first[0] + start[0]); z < end[0]; z++)
    for (int64_t y = first[1] - !(first[1] + start[1]); y < end[1]; y++) {
      double part = share_of(z + start[0], n[0]) * share_of(y + start[1], n[1]);
      for (int64_t x = first[2] - !(first[2] + start[2]); x < end[2]; x++)
        add_cube(w, f, z, y, x, part * share_of(x + start[2], n[2]));
    }
}

/* ---- smoothing ---------------------------------------------------------------------------------------------------- */

enum { TAPS_REACH = 2, SMOOTH_HALO = 3 };

static float smoothed(float a, float b, float c, float d, float e) {
  return 0.0625F * (10 * c + 4 * (b + d) - (a + e));
}

/* Lines of n values `stride` apart, `wide` of them side by side, in place; the two values at each end stay. `kept`: the
 * two values before, as they were. */
static void smooth_lines(float *line, int64_t n, int64_t stride, int64_t wide, float *kept) {
  if (n < 2 * TAPS_REACH + 1) return;
  memcpy(kept, line, (size_t)wide * sizeof *kept);
  memcpy(kept + wide, line + stride, (size_t)wide * sizeof *kept);
  for (int64_t i = TAPS_REACH; i < n - TAPS_REACH; i++) {
    float *row = line + i * stride;
    for (int64_t k = 0; k < wide; k++) {
      float own      = row[k];
      row[k]         = smoothed(kept[k], kept[wide + k], own, row[stride + k], row[2 * stride + k]);
      kept[k]        = kept[wide + k];
      kept[wide + k] = own;
    }
  }
}

static enum status smooth_here(struct grid_field *f) {
  float *data = f->data, *kept;
  TRY(memory_make_raw(2 * f->size[2], sizeof *kept, "rows", &kept));
  for (int64_t z = 0; z < f->size[0]; z++) {
    for (int64_t y = 0; y < f->size[1]; y++)
      smooth_lines(data + z * f->row[0] + y * f->row[1], f->size[2], 1, 1, kept);
    smooth_lines(data + z * f->row[0], f->size[1], f->row[1], f->size[2], kept);
  }
  for (int64_t y = 0; y < f->size[1]; y++)
    smooth_lines(data + y * f->row[1], f->size[0], f->row[0], f->size[2], kept);
  memory_free(kept);
  return STATUS_OK;
}

/* The grey values smoothed, right in the voxels and one beyond them. */
static enum status smooth_make(MPI_Comm comm, const struct grid_field *grey,
                               struct grid_field *smooth) {
  const int64_t halo[3] = {SMOOTH_HALO, SMOOTH_HALO, SMOOTH_HALO};
  TRY(grid_field_make(comm, &grey->plan, GRID_F32, halo, smooth));
  for (int64_t z = 0; z < grey->mine.n[0]; z++)
    for (int64_t y = 0; y < grey->mine.n[1]; y++) {
      float *to    = (float *)smooth->data + place(smooth, z, y, 0);
      int64_t from = place(grey, z, y, 0);
      for (int64_t x = 0; x < grey->mine.n[2]; x++)
        to[x] = grey->type == GRID_F32 ? ((const float *)grey->data)[from + x]
                                       : ((const uint16_t *)grey->data)[from + x];
    }
  enum status status = grid_halo_exchange(comm, smooth, GRID_EDGE_NEAREST);
  if (status == STATUS_OK) status = AGREE(comm, smooth_here(smooth));
  if (status != STATUS_OK) grid_field_free(smooth);
  return status;
}

/* ---- together ----------------------------------------------------------------------------------------------------- */

static enum status check(const struct grid_field *grey, const struct grid_field *numbers) {
  TRY(fault_here("voxel.isosurface"));
  bool halo = true;
  for (int a = 0; a < 3; a++) halo &= grey->halo[a] > 0 && (!numbers || numbers->halo[a] > 0);
  bool types = (grey->type == GRID_F32 || grey->type == GRID_U16) &&
               (!numbers || numbers->type == GRID_U8 || numbers->type == GRID_I32);
  if (halo && types && (!numbers || grid_plan_equal(&grey->plan, &numbers->plan))) return STATUS_OK;
  return FAIL(STATUS_INTERNAL, "an isosurface of a %s field needs a halo, and numbers on its plan",
              grid_type_name(grey->type));
}

static enum status begin(int64_t count, double low, double high, const double edge[3],
                         struct voxel_isosurface_work *w) {
  *w = (struct voxel_isosurface_work){.low = low, .high = high, .count = count};
  memcpy(w->edge, edge, sizeof w->edge);
  w->cube = edge[0] * edge[1] * edge[2];
  w->face = pow(w->cube, 2.0 / 3);
  return memory_make(count, sizeof *w->sum, "surfaces of components", &w->sum);
}

enum status voxel_isosurface_begin(int64_t count, double low, double high, const double edge[3],
                                   struct voxel_isosurface_work **work) {
  TRY(memory_make(1, sizeof **work, "surfaces of components", work));
  enum status status = begin(count, low, high, edge, *work);
  if (status != STATUS_OK) voxel_isosurface_free(work);
  return status;
}

void voxel_isosurface_free(struct voxel_isosurface_work **work) {
  if (*work) memory_free((*work)->sum);
  memory_free(*work);
  *work = NULL;
}

/* Halos are exchanged already. */
static enum status add(MPI_Comm comm, const struct work *w, const struct grid_field *grey) {
  struct grid_field smooth;
  add_volumes(w, grey);
  TRY(smooth_make(comm, grey, &smooth));
  add_areas(w, &smooth);
  grid_field_free(&smooth);
  return STATUS_OK;
}

enum status voxel_isosurface_add(struct voxel_isosurface_work *sums,
                                 const struct voxel_isosurface_part *part, struct grid_field *grey,
                                 const struct grid_field *numbers) {
  struct work w = {.sums = sums, .numbers = numbers, .core = part->core};
  memcpy(w.whole, part->whole, sizeof w.whole);
  memcpy(w.start, part->start, sizeof w.start);
  if (grid_box_voxels(&part->core) == 0) return STATUS_OK;
  TRY(check(grey, numbers));
  TRY(grid_halo_exchange(MPI_COMM_SELF, grey, GRID_EDGE_NEAREST));
  return add(MPI_COMM_SELF, &w, grey);
}

enum status voxel_isosurface_end(MPI_Comm comm, struct voxel_isosurface_work *w,
                                 struct voxel_isosurface **table) {
  int64_t count = w->count;
  enum status status =
      AGREE(comm, memory_make(count, sizeof **table, "surfaces of components", table));
  if (status != STATUS_OK) {
    memory_free(*table);
    *table = NULL;
    return status;
  }
  for (int64_t at = 0; at < count; at += 1 << 20) {
    int rows = count - at < 1 << 20 ? (int)(count - at) : 1 << 20;
    MPI_Allreduce(MPI_IN_PLACE, w->sum + at, 2 * rows, MPI_INT64_T, MPI_SUM, comm);
  }
  for (int64_t i = 0; i < count; i++)
    (*table)[i] = (struct voxel_isosurface){(double)w->sum[i].area / steps * w->face,
                                            (double)w->sum[i].volume / steps * w->cube};
  return STATUS_OK;
}

enum status voxel_isosurface_table(MPI_Comm comm, struct grid_field *grey,
                                   struct grid_field *numbers, int64_t count, double low,
                                   double high, const double edge[3],
                                   struct voxel_isosurface **table) {
  struct voxel_isosurface_work *sums = NULL;
  struct work w                      = {.numbers = numbers};
  *table                             = NULL;
  memcpy(w.whole, grey->plan.n, sizeof w.whole);
  memcpy(w.start, grey->mine.start, sizeof w.start);
  memcpy(w.core.n, grey->mine.n, sizeof w.core.n);
  TRY_ALL(comm, check(grey, numbers));
  TRY(grid_halo_exchange(comm, grey, GRID_EDGE_NEAREST));
  if (numbers) TRY(grid_halo_exchange(comm, numbers, GRID_EDGE_KEEP));
  enum status status = AGREE(comm, voxel_isosurface_begin(count, low, high, edge, &sums));
  w.sums             = sums;
  if (status == STATUS_OK) status = add(comm, &w, grey);
  if (status == STATUS_OK) status = voxel_isosurface_end(comm, sums, table);
  voxel_isosurface_free(&sums);
  return status;
}
