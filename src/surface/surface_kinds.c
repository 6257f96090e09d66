/* What the voxels are to the surface. The bulk is the phase's largest component by faces; what is not bulk is
 * joined by corners, and open where such a component lies on top of the surface anywhere in view. */
#include "surface_private.h"
#include "voxel.h"
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
  const int64_t *n             = w->labels->plan.n;
  const struct surface_view *v = &w->view;
  if (y < v->margin || y >= n[1] - v->margin || x < v->margin || x >= n[2] - v->margin)
    return false;
  return v->radius == 0 || hypot((double)x - v->x, (double)y - v->y) <= v->radius;
}

/* ---- voxels -------------------------------------------------------------------------------------------------- */

static int64_t place(const struct grid_field *f, int64_t z, int64_t y, int64_t x) {
  return grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
}

int surface_kind_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return ((const uint8_t *)w->kind.data)[place(&w->kind, z, y, x)];
}
int surface_label_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return ((const uint8_t *)w->labels->data)[place(w->labels, z, y, x)];
}
double surface_grey_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return (double)((const float *)w->volume->data)[place(w->volume, z, y, x)];
}

int64_t surface_top(const struct surface_work *w, int64_t y, int64_t x) {
  return w->end[w->up][y * w->labels->plan.n[2] + x];
}
int64_t surface_bottom(const struct surface_work *w, int64_t y, int64_t x) {
  return w->end[!w->up][y * w->labels->plan.n[2] + x];
}

/* Row by row, as the voxels lie in memory. */
static enum status find_ends(struct surface_work *w) {
  const struct grid_field *k = &w->kind;
  int64_t columns            = k->mine.n[1] * k->mine.n[2];
  TRY(memory_make(2 * columns + 1, sizeof *w->end[0], "ends of columns", &w->end[0]));
  w->end[1] = w->end[0] + columns;
  for (int64_t i = 0; i < 2 * columns; i++) w->end[0][i] = -1;
  for (int64_t z = 0; z < k->mine.n[0]; z++)
    for (int64_t y = 0; y < k->mine.n[1]; y++) {
      const uint8_t *kind = (const uint8_t *)k->data + place(k, z, y, 0);
      int32_t *low = w->end[0] + y * k->mine.n[2], *high = w->end[1] + y * k->mine.n[2];
      for (int64_t x = 0; x < k->mine.n[2]; x++) {
        if (kind[x] != KIND_BULK) continue;
        if (low[x] < 0) low[x] = (int32_t)z;
        high[x] = (int32_t)z;
      }
    }
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

static void count_numbers(const struct grid_field *f, int64_t *count) {
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++) {
      const int32_t *line = (const int32_t *)f->data + place(f, z, y, 0);
      for (int64_t x = 0; x < f->mine.n[2]; x++) count[line[x]]++;
    }
}

/* Kinds by the numbers of the phase's components; marks those seen in view. */
static void set_bulk(struct surface_work *w, const struct grid_field *parts, int64_t bulk,
                     uint8_t *seen) {
  for (int64_t z = 0; z < parts->mine.n[0]; z++)
    for (int64_t y = 0; y < parts->mine.n[1]; y++) {
      const int32_t *line = (const int32_t *)parts->data + place(parts, z, y, 0);
      uint8_t *kind       = (uint8_t *)w->kind.data + place(&w->kind, z, y, 0);
      bool in_slab        = z >= w->view.low && z < w->view.high;
      for (int64_t x = 0; x < parts->mine.n[2]; x++) {
        bool in = in_slab && surface_in_view(w, y + parts->mine.start[1], x);
        if (line[x] == bulk)
          kind[x] = in ? KIND_BULK : KIND_BESIDE;
        else
          kind[x] = line[x] ? KIND_DETACHED : KIND_OPEN;
        if (in) seen[line[x]] = 1;
      }
    }
}

static enum status find_bulk(struct surface_work *w, const struct grid_field *parts, int64_t n) {
  int64_t *count = NULL, bulk = 1;
  uint8_t *seen = NULL;
  if (n == 0)
    return AGREE(w->comm, FAIL(STATUS_INPUT, "no voxel has phase %d, so there is no surface",
                               (int)w->params->phase));
  enum status status = memory_make(n + 1, sizeof *count, "sizes of components", &count);
  if (status == STATUS_OK) status = memory_make(n + 1, sizeof *seen, "components in view", &seen);
  status = AGREE(w->comm, status);
  if (status == STATUS_OK) {
    count_numbers(parts, count);
    reduce(w->comm, count, n + 1, MPI_INT64_T, sizeof *count, MPI_SUM);
    for (int64_t i = 2; i <= n; i++)
      if (count[i] > count[bulk]) bulk = i;
    set_bulk(w, parts, bulk, seen);
    reduce(w->comm, seen, n + 1, MPI_UINT8_T, 1, MPI_MAX);
    for (int64_t i = 1; i <= n; i++) w->detached += i != bulk && seen[i];
  }
  memory_free(count);
  memory_free(seen);
  return status;
}

/* ---- what is open -------------------------------------------------------------------------------------------------- */

/* Numbers of the components that lie on top of the surface in view. */
static void mark_open(const struct surface_work *w, const struct grid_field *parts, uint8_t *open) {
  const int32_t *data = parts->data;
  int64_t out         = w->up ? 1 : -1;
  for (int64_t y = 0; y < parts->mine.n[1]; y++)
    for (int64_t x = 0; x < parts->mine.n[2]; x++) {
      int64_t top = surface_top(w, y, x), z = top + out;
      if (top < 0 || z < 0 || z >= parts->plan.n[0]) continue;
      open[data[place(parts, z, y, x)]] = 1;
    }
}

static void close_pores(struct surface_work *w, const struct grid_field *parts,
                        const uint8_t *open) {
  for (int64_t z = 0; z < parts->mine.n[0]; z++)
    for (int64_t y = 0; y < parts->mine.n[1]; y++) {
      const int32_t *line = (const int32_t *)parts->data + place(parts, z, y, 0);
      uint8_t *kind       = (uint8_t *)w->kind.data + place(&w->kind, z, y, 0);
      for (int64_t x = 0; x < parts->mine.n[2]; x++)
        if (kind[x] == KIND_OPEN && !open[line[x]]) kind[x] = KIND_PORE;
    }
}

static enum status split_open(struct surface_work *w, const struct grid_field *parts, int64_t n) {
  uint8_t *open;
  TRY_ALL(w->comm, memory_make(n + 1, sizeof *open, "open components", &open));
  mark_open(w, parts, open);
  reduce(w->comm, open, n + 1, MPI_UINT8_T, 1, MPI_MAX);
  close_pores(w, parts, open);
  memory_free(open);
  return STATUS_OK;
}

/* 1 where there is no bulk. */
static enum status others_make(const struct surface_work *w, struct grid_field *others) {
  TRY(grid_field_make(w->comm, &w->labels->plan, GRID_U8, NULL, others));
  uint8_t *to = others->data;
  for (int64_t z = 0; z < others->mine.n[0]; z++)
    for (int64_t y = 0; y < others->mine.n[1]; y++)
      for (int64_t x = 0; x < others->mine.n[2]; x++) {
        int kind = surface_kind_at(w, z, y, x);
        *to++    = kind != KIND_BULK && kind != KIND_BESIDE;
      }
  return STATUS_OK;
}

static enum status find_open(struct surface_work *w) {
  struct grid_field others, parts;
  int64_t n = 0;
  memset(&parts, 0, sizeof parts);
  TRY(others_make(w, &others));
  enum status status = voxel_components(w->comm, &others, 1, 26, &parts, &n);
  grid_field_free(&others);
  if (status == STATUS_OK) status = split_open(w, &parts, n);
  grid_field_free(&parts);
  return status;
}

enum status surface_kinds_make(struct surface_work *w) {
  const int64_t one[3] = {1, 1, 1};
  struct grid_field parts;
  int64_t n;
  TRY_ALL(w->comm, parse_view(w->params, w->labels->plan.n[0], &w->view));
  TRY(voxel_components(w->comm, w->labels, (int)w->params->phase, 6, &parts, &n));
  enum status status = grid_field_make(w->comm, &w->labels->plan, GRID_U8, one, &w->kind);
  memcpy(w->kind.voxel_um, w->labels->voxel_um, sizeof w->kind.voxel_um);
  if (status == STATUS_OK) status = find_bulk(w, &parts, n);
  grid_field_free(&parts);
  if (status == STATUS_OK) status = AGREE(w->comm, find_ends(w));
  return status == STATUS_OK ? find_open(w) : status;
}
