/* The volume in pieces. Each rank has a slab along y and takes some rows of whole columns at a time, with as many grey
 * values about them as the interface looks at. Labels are read once in planes, for the components, and once a pass in
 * columns; where one piece is all, it is read once and stays. */
#include "surface_private.h"
#include <string.h>

int64_t surface_row(const struct surface_work *w, int64_t y) {
  return y + w->first + w->mine.start[1];
}
static int64_t place(const struct grid_field *f, int64_t z, int64_t y, int64_t x) {
  return grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
}
int surface_kind_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return ((const uint8_t *)w->kind_view.data)[place(&w->kind_view, z, y, x)];
}
int surface_label_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return ((const uint8_t *)w->labels.data)[place(&w->labels, z, y, x)];
}
double surface_grey_at(const struct surface_work *w, int64_t z, int64_t y, int64_t x) {
  return (double)((const float *)w->grey_view.data)[place(&w->grey_view, z, y, x)];
}
int64_t surface_place(const struct surface_work *w, int64_t y, int64_t x) {
  return (w->first + y) * w->n[2] + x;
}
int64_t surface_top(const struct surface_work *w, int64_t y, int64_t x) {
  return w->end[w->up][surface_place(w, y, x)];
}
int64_t surface_bottom(const struct surface_work *w, int64_t y, int64_t x) {
  return w->end[!w->up][surface_place(w, y, x)];
}

/* ---- a piece ------------------------------------------------------------------------------------------------- */

static void piece_free(struct surface_work *w) {
  grid_field_free(&w->labels);
  grid_field_free(&w->volume);
  grid_field_free(&w->kind);
}

static enum status field_make(const struct grid_box *box, enum grid_type type, int64_t halo,
                              struct grid_field *field) {
  const int64_t around[3] = {halo, halo, halo};
  struct grid_plan plan;
  TRY(grid_plan_slabs(MPI_COMM_SELF, box->n, 0, &plan));
  enum status status = grid_field_make(MPI_COMM_SELF, &plan, type, around, field);
  grid_plan_free(&plan);
  return status;
}

/* The rows from the piece's first one on. */
static struct grid_field view_of(const struct surface_work *w, const struct grid_field *f) {
  struct grid_field view = *f;
  if (f->data)
    view.data = (char *)f->data + (size_t)(w->below * f->row[1]) * grid_type_bytes(f->type);
  return view;
}

static void kinds_fill(struct surface_work *w) {
  if (w->rows == 0) return;
  for (int64_t y = -1; y <= w->rows; y++) {
    int64_t whole = surface_row(w, y);
    if (whole < 0 || whole >= w->n[1]) continue;
    for (int64_t z = 0; z < w->n[0]; z++)
      surface_kinds_row(w, z, w->first + y,
                        (uint8_t *)w->kind.data + place(&w->kind, z, y + w->below, 0));
  }
}

/* Local. Round k: its rows, and those of the volume about them. */
static void piece_place(struct surface_work *w, int64_t k, struct grid_box *core,
                        struct grid_box *wide) {
  int64_t left = w->mine.n[1] - k * w->deep;
  w->first     = left > 0 ? k * w->deep : w->mine.n[1];
  w->rows      = left > w->deep ? w->deep : left > 0 ? left : 0;
  int64_t low = surface_row(w, 0), high = low + w->rows;
  *core = *wide = (struct grid_box){
      {0,       low,        0      },
      {w->n[0], high - low, w->n[2]}
  };
  w->below = 0;
  if (w->rows == 0) return;
  w->below       = low < VOXEL_ISOSURFACE_MARGIN ? low : VOXEL_ISOSURFACE_MARGIN;
  int64_t above  = w->n[1] - high;
  wide->start[1] = low - w->below;
  wide->n[1] += w->below + (above < VOXEL_ISOSURFACE_MARGIN ? above : VOXEL_ISOSURFACE_MARGIN);
}

/* Collective. Labels of the piece, unless they are there already. */
static enum status labels_read(struct surface_work *w, const struct grid_box *core) {
  if (w->labels.data) return STATUS_OK;
  TRY_ALL(w->comm, field_make(core, GRID_U8, 0, &w->labels));
  return w->source->labels(w->source->owner, core, &w->labels);
}

static enum status piece_make(struct surface_work *w, const struct grid_box *wide) {
  if (w->source->volume) TRY(field_make(wide, GRID_F32, 1, &w->volume));
  return field_make(wide, GRID_U8, 1, &w->kind);
}

/* Collective. Round k, unless it is there already. */
static enum status piece_read(struct surface_work *w, int64_t k) {
  const struct surface_source *s = w->source;
  struct grid_box core, wide;
  if (w->rounds == 1 && w->kind.data) return STATUS_OK;
  if (w->rounds > 1) piece_free(w);
  piece_place(w, k, &core, &wide);
  TRY(labels_read(w, &core));
  TRY_ALL(w->comm, piece_make(w, &wide));
  if (s->volume) TRY(s->volume(s->owner, &wide, &w->volume));
  w->grey_view = view_of(w, &w->volume);
  w->kind_view = view_of(w, &w->kind);
  kinds_fill(w);
  return STATUS_OK;
}

enum status surface_pieces(struct surface_work *w, const char *words,
                           enum status (*take)(struct surface_work *w, void *owner), void *owner) {
  for (int64_t k = 0; k < w->rounds; k++) {
    if (w->rounds > 1) log_progress(words, k, w->rounds);
    TRY(stop_agree(w->comm));
    TRY(piece_read(w, k));
    TRY_ALL(w->comm, take(w, owner));
  }
  return STATUS_OK;
}

/* ---- planes --------------------------------------------------------------------------------------------------- */

/* Planes a time of as many voxels as a piece has. */
static int64_t planes_of(const struct surface_work *w, int64_t rows) {
  int64_t planes = rows ? w->deep * w->n[0] / rows : w->n[0];
  return planes < 1 ? 1 : planes > w->n[0] ? w->n[0] : planes;
}

enum status surface_planes(struct surface_work *w,
                           enum status (*take)(struct surface_work *w, const uint8_t *labels,
                                               int64_t planes)) {
  int64_t deep = planes_of(w, grid_plan_box(&w->plan, 0).n[1]); /* alike on all ranks */
  if (w->rounds == 1) {
    struct grid_box core, wide;
    piece_place(w, 0, &core, &wide);
    TRY(labels_read(w, &core));
    return AGREE(w->comm, take(w, w->labels.data, w->n[0]));
  }
  for (int64_t z = 0; z < w->n[0]; z += deep) {
    struct grid_box box      = w->mine;
    struct grid_field planes = {.data = NULL};
    box.start[0]             = z;
    box.n[0]                 = w->n[0] - z < deep ? w->n[0] - z : deep;
    log_progress("surface (components)", z, w->n[0]);
    TRY(stop_agree(w->comm));
    enum status status = AGREE(w->comm, field_make(&box, GRID_U8, 0, &planes));
    if (status == STATUS_OK) status = w->source->labels(w->source->owner, &box, &planes);
    if (status == STATUS_OK) status = AGREE(w->comm, take(w, planes.data, box.n[0]));
    grid_field_free(&planes);
    TRY(status);
  }
  return STATUS_OK;
}

/* ---- begin, end ------------------------------------------------------------------------------------------------- */

static void set_rounds(struct surface_work *w, int64_t deep) {
  w->deep   = deep;
  w->rounds = (grid_plan_box(&w->plan, 0).n[1] + deep - 1) / deep;
  if (w->rounds > 1)
    log_info("surface: %lld rounds of %lld rows of columns a rank", (long long)w->rounds,
             (long long)deep);
}

enum status surface_pieces_begin(struct surface_work *w) {
  const struct surface_source *s = w->source;
  w->n                           = s->n;
  w->voxel_um                    = s->voxel_um;
  TRY_ALL(w->comm, grid_plan_slabs(w->comm, s->n, 1, &w->plan));
  w->mine      = grid_plan_mine(&w->plan);
  int64_t most = grid_plan_box(&w->plan, 0).n[1];
  bool is_one  = w->params->thickness_vox > 0; /* balls are laid into the whole phase */
  set_rounds(w, s->deep > 0 && s->deep < most && !is_one ? s->deep : most);
  return AGREE(w->comm,
               memory_make_raw(s->n[2] + VOXEL_ROW_SPARE, sizeof *w->line, "a row", &w->line));
}

void surface_pieces_free(struct surface_work *w) {
  piece_free(w);
  grid_plan_free(&w->plan);
  voxel_parts_free(&w->phase);
  voxel_parts_free(&w->others);
  memory_free(w->shown);
  memory_free(w->open);
  memory_free(w->beside[0]);
  memory_free(w->beside[1]);
  memory_free(w->line);
  memory_free(w->end[0]);
}

enum { VOXELS_A_RUN = 64, RUN_BYTES = 12, RUN_SETS = 3 };

/* A piece of so many rows with its views' margins and, with a volume, its smoothed grey values. */
static int64_t piece_bytes(const int64_t n[3], bool volume, int64_t deep) {
  const int64_t around = 2 * VOXEL_ISOSURFACE_MARGIN;
  int64_t wide         = (deep + around + 2) * (n[0] + 2) * (n[2] + 2),
          smooth       = (deep + 2 * around) * (n[0] + around) * (n[2] + around);
  return deep * n[0] * n[2] + wide + (volume ? 4 * wide + 4 * smooth : 0);
}

/* The components' runs, which no forecast knows, are there: are pieces to be smaller? */
enum status surface_pieces_fit(struct surface_work *w) {
  const struct surface_source *s = w->source;
  const bool is_fixed            = w->params->thickness_vox > 0;
  int64_t deep                   = w->deep;
  if (s->limit_bytes == 0) return STATUS_OK;
  int64_t room =
      s->limit_bytes - memory_now_bytes() + w->labels.voxels; /* these are part of a piece */
  while (!is_fixed && deep > 1 && piece_bytes(w->n, s->volume, deep) > room)
    deep -= deep < 64 ? 1 : deep / 64;
  const int64_t bytes = piece_bytes(w->n, s->volume, deep);
  enum status status  = STATUS_OK;
  if (bytes > room)
    status =
        FAIL(STATUS_MEMORY,
             "the components of phase %d and of the rest take, with a piece, %.3g GB per rank, "
             "%.3g GB are allowed; remove its specks (segment.min_voxels) or use more nodes",
             (int)w->params->phase, 1e-9 * (double)(s->limit_bytes - room + bytes),
             1e-9 * (double)s->limit_bytes);
  TRY_ALL(w->comm, status);
  MPI_Allreduce(MPI_IN_PLACE, &deep, 1, MPI_INT64_T, MPI_MIN, w->comm);
  if (deep == w->deep) return STATUS_OK;
  piece_free(w);
  set_rounds(w, deep);
  return STATUS_OK;
}

/* The sums over the volume, the maps and (rank 0) their transforms; runs and rows of components; the piece. */
int64_t surface_bytes(const struct surface_params *p, const int64_t n[3], bool volume, int ranks,
                      int64_t deep) {
  const int64_t columns = n[1] * n[2], rows = (n[1] + ranks - 1) / ranks, plane = n[0] * n[2];
  int64_t piece  = piece_bytes(n, volume, deep);
  int64_t planes = deep * plane > rows * n[2] ? deep * plane : rows * n[2];
  int64_t runs   = rows * plane / VOXELS_A_RUN * RUN_BYTES + 8 * (n[0] * rows + 1);
  int64_t thick  = p->thickness_vox > 0 ? 2 * rows * plane : 0;
  return RUN_SETS * runs + 2 * plane + 40 * rows * n[2] + 80 * columns +
         (piece > planes ? piece : planes) + thick;
}
