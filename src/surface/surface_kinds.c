/* What the voxels are to the surface. The bulk is the phase's largest component by faces; what is not bulk is
 * joined by corners, and open where such a component lies on top of the surface anywhere in view. Both kinds of
 * components are kept as runs, from which the kinds of any row follow. */
#include "surface_private.h"
#include <math.h>
#include <string.h>

/* ---- the view ---------------------------------------------------------------------------------------------- */

static enum status parse_slab(const struct surface_params *p, int64_t nz,
                              struct surface_view *view) {
  long long low, high;
  char rest;
  if (!p->slab[0]) return STATUS_OK;
  if (sscanf(p->slab, "%lld:%lld%c", &low, &high, &rest) != 2 || low < 0 || high <= low ||
      high > nz)
    return FAIL(STATUS_USAGE, "surface.slab = %s; it would be A:B within 0:%lld", p->slab,
                (long long)nz);
  view->low  = low;
  view->high = high;
  return STATUS_OK;
}

static enum status parse_view(const struct surface_params *p, int64_t nz,
                              struct surface_view *view) {
  char rest;
  *view = (struct surface_view){0, 0, 0, p->margin_vox, 0, nz};
  TRY(parse_slab(p, nz, view));
  if (!p->disc[0]) return STATUS_OK;
  if (sscanf(p->disc, "%lf,%lf,%lf%c", &view->x, &view->y, &view->radius, &rest) != 3 ||
      !(view->radius > 0))
    return FAIL(STATUS_USAGE, "surface.disc = %s; it would be X,Y,R in voxels with R above 0",
                p->disc);
  return STATUS_OK;
}

bool surface_in_view(const struct surface_work *w, int64_t y, int64_t x) {
  const int64_t *n             = w->n;
  const struct surface_view *v = &w->view;
  if (y < v->margin || y >= n[1] - v->margin || x < v->margin || x >= n[2] - v->margin)
    return false;
  return v->radius == 0 || hypot((double)x - v->x, (double)y - v->y) <= v->radius;
}

static bool in_slab(const struct surface_work *w, int64_t z) {
  return z >= w->view.low && z < w->view.high;
}

/* Row y of this rank at slice z: bulk in view. */
static bool is_surface(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return in_slab(w, z) && w->shown[y * w->n[2] + x];
}

static enum status find_shown(struct surface_work *w) {
  TRY(memory_make(w->mine.n[1] * w->n[2] + 1, 1, "columns in view", &w->shown));
  for (int64_t y = 0; y < w->mine.n[1]; y++)
    for (int64_t x = 0; x < w->n[2]; x++)
      w->shown[y * w->n[2] + x] = surface_in_view(w, y + w->mine.start[1], x);
  return STATUS_OK;
}

/* ---- the bulk ------------------------------------------------------------------------------------------------- */

/* Adds up, or joins by or, whole numbers of all ranks. */
static void reduce(MPI_Comm comm, void *data, int64_t n, MPI_Datatype type, size_t bytes,
                   MPI_Op how) {
  for (int64_t at = 0; at < n; at += 1 << 20)
    MPI_Allreduce(MPI_IN_PLACE, (char *)data + (size_t)at * bytes,
                  n - at < 1 << 20 ? (int)(n - at) : 1 << 20, type, how, comm);
}

/* Local. What each row of this rank's numbers is for. */
static void each_row(struct surface_work *w, const struct voxel_parts *parts,
                     void (*take)(struct surface_work *w, int64_t z, int64_t y, void *owner),
                     void *owner) {
  for (int64_t z = 0; z < w->n[0]; z++)
    for (int64_t y = 0; y < w->mine.n[1]; y++) {
      voxel_parts_row(parts, z, y, w->line);
      take(w, z, y, owner);
    }
}

struct bulk {
  int64_t *count; /* voxels by number */
  uint8_t *seen;  /* in view */
};

static void count_row(struct surface_work *w, int64_t z, int64_t y, void *owner) {
  struct bulk *b = owner;
  bool slab      = in_slab(w, z);
  for (int64_t x = 0; x < w->n[2]; x++) {
    int32_t number = w->line[x];
    if (!number) continue;
    b->count[number]++;
    if (slab && w->shown[y * w->n[2] + x]) b->seen[number] = 1;
  }
}

static enum status bulk_make(int64_t n, struct bulk *b) {
  *b = (struct bulk){NULL, NULL};
  TRY(memory_make(n + 1, sizeof *b->count, "sizes of components", &b->count));
  return memory_make(n + 1, sizeof *b->seen, "components in view", &b->seen);
}

static enum status find_bulk(struct surface_work *w, int64_t n) {
  struct bulk b;
  if (n == 0)
    return AGREE(w->comm, FAIL(STATUS_INPUT, "no voxel has phase %d, so there is no surface",
                               (int)w->params->phase));
  enum status status = AGREE(w->comm, bulk_make(n, &b));
  if (status == STATUS_OK) {
    each_row(w, w->phase, count_row, &b);
    reduce(w->comm, b.count, n + 1, MPI_INT64_T, sizeof *b.count, MPI_SUM);
    reduce(w->comm, b.seen, n + 1, MPI_UINT8_T, 1, MPI_MAX);
    w->bulk = 1;
    for (int64_t i = 2; i <= n; i++)
      if (b.count[i] > b.count[w->bulk]) w->bulk = i;
    for (int64_t i = 1; i <= n; i++) w->detached += i != w->bulk && b.seen[i];
  }
  memory_free(b.count);
  memory_free(b.seen);
  return status;
}

static enum status take_phase(struct surface_work *w, const uint8_t *labels, int64_t planes) {
  return voxel_parts_add(w->phase, labels, planes, (int)w->params->phase);
}

/* Runs are as many as the labels have; those of a volume of noise may be too many. */
static enum status check_memory(const struct surface_work *w) {
  int64_t limit = w->source->limit_bytes;
  if (limit == 0 || memory_now_bytes() <= limit) return STATUS_OK;
  return FAIL(STATUS_MEMORY,
              "the components of phase %d and of the rest take %.3g GB per rank, %.3g GB are "
              "allowed; remove its specks (segment.min_voxels) or use more nodes",
              (int)w->params->phase, 1e-9 * (double)memory_now_bytes(), 1e-9 * (double)limit);
}

static enum status find_phase(struct surface_work *w) {
  int64_t n;
  TRY_ALL(w->comm, voxel_parts_make(&w->plan, 6, false, &w->phase));
  TRY(surface_planes(w, take_phase));
  TRY(voxel_parts_join(w->comm, w->phase, &n));
  TRY_ALL(w->comm, check_memory(w));
  return find_bulk(w, n);
}

static void end_row(struct surface_work *w, int64_t z, int64_t y, void *owner) {
  int32_t *low = w->end[0] + y * w->n[2], *high = w->end[1] + y * w->n[2];
  (void)owner;
  for (int64_t x = 0; x < w->n[2]; x++) {
    if (w->line[x] != w->bulk || !is_surface(w, z, y, x)) continue;
    if (low[x] < 0) low[x] = (int32_t)z;
    high[x] = (int32_t)z;
  }
}

static enum status find_ends(struct surface_work *w) {
  int64_t columns = w->mine.n[1] * w->n[2];
  TRY(memory_make(2 * columns + 1, sizeof *w->end[0], "ends of columns", &w->end[0]));
  w->end[1] = w->end[0] + columns;
  for (int64_t i = 0; i < 2 * columns; i++) w->end[0][i] = -1;
  each_row(w, w->phase, end_row, NULL);
  return STATUS_OK;
}

/* ---- what is open -------------------------------------------------------------------------------------------------- */

/* Components of what `mark` marks, plane after plane of this rank's rows. */
static enum status marked_parts(struct surface_work *w,
                                void (*mark)(struct surface_work *w, int64_t z, int64_t y,
                                             uint8_t *row),
                                struct voxel_parts *parts) {
  uint8_t *plane;
  enum status status = memory_make_raw(w->mine.n[1] * w->n[2], 1, "a plane", &plane);
  for (int64_t z = 0; z < w->n[0] && status == STATUS_OK; z++) {
    for (int64_t y = 0; y < w->mine.n[1]; y++) mark(w, z, y, plane + y * w->n[2]);
    status = voxel_parts_add(parts, plane, 1, 1);
  }
  memory_free(plane);
  return status;
}

static enum status parts_of(struct surface_work *w,
                            void (*mark)(struct surface_work *w, int64_t z, int64_t y,
                                         uint8_t *row),
                            struct voxel_parts **parts, int64_t *n) {
  TRY_ALL(w->comm, voxel_parts_make(&w->plan, 26, false, parts));
  TRY_ALL(w->comm, marked_parts(w, mark, *parts));
  return voxel_parts_join(w->comm, *parts, n);
}

static void mark_others(struct surface_work *w, int64_t z, int64_t y, uint8_t *row) {
  voxel_parts_row(w->phase, z, y, w->line);
  for (int64_t x = 0; x < w->n[2]; x++) row[x] = w->line[x] != w->bulk;
}

/* Components that lie on top of the surface in view. */
static void open_row(struct surface_work *w, int64_t z, int64_t y, void *owner) {
  const int32_t *top = w->end[w->up] + y * w->n[2];
  int64_t under      = w->up ? z - 1 : z + 1;
  (void)owner;
  for (int64_t x = 0; x < w->n[2]; x++)
    if (top[x] >= 0 && top[x] == under) w->open[w->line[x]] = 1;
}

static enum status find_open(struct surface_work *w) {
  TRY(parts_of(w, mark_others, &w->others, &w->others_n));
  TRY_ALL(w->comm, memory_make(w->others_n + 1, sizeof *w->open, "open components", &w->open));
  each_row(w, w->others, open_row, NULL);
  reduce(w->comm, w->open, w->others_n + 1, MPI_UINT8_T, 1, MPI_MAX);
  return STATUS_OK;
}

/* ---- kinds ------------------------------------------------------------------------------------------------------ */

static void kinds_here(const struct surface_work *w, int64_t z, int64_t y, uint8_t *kind) {
  voxel_parts_row(w->phase, z, y, w->line);
  for (int64_t x = 0; x < w->n[2]; x++) {
    if (w->line[x] == w->bulk)
      kind[x] = is_surface(w, z, y, x) ? KIND_BULK : KIND_BESIDE;
    else
      kind[x] = w->line[x] ? KIND_DETACHED : KIND_OPEN;
  }
  voxel_parts_row(w->others, z, y, w->line);
  for (int64_t x = 0; x < w->n[2]; x++)
    if (kind[x] == KIND_OPEN && !w->open[w->line[x]]) kind[x] = KIND_PORE;
}

void surface_kinds_row(const struct surface_work *w, int64_t z, int64_t y, uint8_t *kind) {
  if (y >= 0 && y < w->mine.n[1])
    kinds_here(w, z, y, kind);
  else
    memcpy(kind, w->beside[y >= 0] + z * w->n[2], (size_t)w->n[2]);
}

/* Kinds of a row of this rank at all slices. */
static void wall_fill(const struct surface_work *w, int64_t y, uint8_t *wall) {
  for (int64_t z = 0; z < w->n[0]; z++) kinds_here(w, z, y, wall + z * w->n[2]);
}

static enum status walls_make(struct surface_work *w, uint8_t *wall[2]) {
  int64_t bytes = w->n[0] * w->n[2];
  for (int s = 0; s < 2; s++) {
    TRY(memory_make(bytes, 1, "kinds at a border", &wall[s]));
    TRY(memory_make(bytes, 1, "kinds at a border", &w->beside[s]));
  }
  for (int s = 0; s < 2 && w->mine.n[1]; s++) wall_fill(w, s == 0 ? 0 : w->mine.n[1] - 1, wall[s]);
  return base_int_from(w->n[0], "slices", &(int){0});
}

/* The first and the last row go to the ranks before and behind. */
static enum status swap_walls(struct surface_work *w) {
  uint8_t *wall[2]   = {NULL, NULL};
  enum status status = AGREE(w->comm, walls_make(w, wall));
  if (status == STATUS_OK && w->mine.n[1]) {
    MPI_Datatype row;
    int slices = (int)w->n[0];
    int before = w->mine.start[1] > 0 ? w->plan.rank - 1 : MPI_PROC_NULL,
        behind = w->mine.start[1] + w->mine.n[1] < w->n[1] ? w->plan.rank + 1 : MPI_PROC_NULL;
    MPI_Type_contiguous((int)w->n[2], MPI_BYTE, &row);
    MPI_Type_commit(&row);
    MPI_Sendrecv(wall[0], slices, row, before, 1, w->beside[1], slices, row, behind, 1, w->comm,
                 MPI_STATUS_IGNORE);
    MPI_Sendrecv(wall[1], slices, row, behind, 2, w->beside[0], slices, row, before, 2, w->comm,
                 MPI_STATUS_IGNORE);
    MPI_Type_free(&row);
  }
  memory_free(wall[0]);
  memory_free(wall[1]);
  return status;
}

enum status surface_kinds_make(struct surface_work *w) {
  TRY_ALL(w->comm, parse_view(w->params, w->n[0], &w->view));
  TRY_ALL(w->comm, find_shown(w));
  TRY(find_phase(w));
  TRY_ALL(w->comm, find_ends(w));
  TRY(find_open(w));
  TRY(surface_pieces_fit(w));
  return swap_walls(w);
}

/* ---- pores ------------------------------------------------------------------------------------------------------ */

/* 1 in closed pores of columns that have a surface. */
static void mark_pores(struct surface_work *w, int64_t z, int64_t y, uint8_t *row) {
  const int32_t *low = w->end[0] + y * w->n[2], *high = w->end[1] + y * w->n[2];
  kinds_here(w, z, y, row);
  for (int64_t x = 0; x < w->n[2]; x++)
    row[x] = row[x] == KIND_PORE && low[x] >= 0 && z >= low[x] && z <= high[x];
}

enum status surface_pores_find(struct surface_work *w, struct voxel_parts **pores, int64_t *n) {
  return parts_of(w, mark_pores, pores, n);
}
