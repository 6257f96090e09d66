/* What of a volume is looked at: a box of it, smoothed by (1 2 1)/4 along each axis (noise of single voxels tells nothing
 * about a motion and would drown the derivatives), and of that what is brighter than a grey value, less that value.
 * Smoothing comes first: cut off within one voxel, an edge would be moved by up to a third of it. A look that would not
 * fit holds means of 2, 4, ... voxels along each axis: what the levels of the fit would have made of it. The box is read in
 * rounds of slices, each with one more on both sides. */
#include "align.h"
#include <math.h>
#include <string.h>

static void flatten(double threshold, struct grid_field *look) {
  float *data = look->data, low = (float)threshold;
  for (int64_t i = 0; i < look->voxels && isfinite(threshold); i++)
    data[i] = data[i] > low ? data[i] - low : 0;
}

static void smooth_line(float *line, int64_t n, int64_t stride) {
  float before = line[0];
  for (int64_t i = 0; i < n; i++) {
    float own        = line[i * stride];
    float after      = i + 1 < n ? line[(i + 1) * stride] : own;
    line[i * stride] = 0.25F * (before + 2 * own + after);
    before           = own;
  }
}

/* Along z, in place: `before` is the slice above as it was. Beyond the volume stands its outermost slice. */
static enum status smooth_slices(struct grid_field *look) {
  int64_t slice = look->row[0], first = look->halo[0];
  float *data = look->data, *before;
  TRY(memory_make_raw(slice, sizeof *before, "a slice", &before));
  memcpy(before, data + (first - 1) * slice, (size_t)slice * sizeof *before);
  for (int64_t z = first; z < first + look->mine.n[0]; z++)
    for (int64_t i = 0; i < slice; i++) {
      float own           = data[z * slice + i];
      data[z * slice + i] = 0.25F * (before[i] + 2 * own + data[(z + 1) * slice + i]);
      before[i]           = own;
    }
  memory_free(before);
  return STATUS_OK;
}

static enum status smooth(struct grid_field *look) {
  const int64_t *n = look->mine.n;
  float *origin    = (float *)look->data + grid_field_origin(look);
  if (look->voxels == 0) return STATUS_OK;
  for (int64_t z = 0; z < n[0]; z++) {
    for (int64_t y = 0; y < n[1]; y++)
      smooth_line(origin + z * look->row[0] + y * look->row[1], n[2], 1);
    for (int64_t x = 0; x < n[2]; x++)
      smooth_line(origin + z * look->row[0] + x, n[1], look->row[1]);
  }
  TRY(grid_halo_exchange(MPI_COMM_SELF, look, GRID_EDGE_NEAREST));
  return smooth_slices(look);
}

/* ---- a view ---------------------------------------------------------------------------------------------- */

enum { LOOK_LEAST = 24 };

int64_t align_binning(const struct align_view *view, int axis) {
  return view->box.n[axis] > 1 ? (int64_t)1 << view->halvings : 1;
}

int align_halvings_most(const struct grid_box *box) {
  int most = 0;
  for (bool enough = true; enough; most++)
    for (int a = 0; a < 3; a++)
      enough = enough && most < 5 && (box->n[a] == 1 || box->n[a] >> (most + 1) >= LOOK_LEAST);
  return most - 1;
}

static void look_shape(const struct align_view *view, int64_t n[3]) {
  for (int a = 0; a < 3; a++) n[a] = view->box.n[a] / align_binning(view, a);
}

/* ---- a piece: some slices of the box, smoothed, flattened, binned ------------------------------------------- */

static const int64_t slice_halo[3] = {1, 0, 0};

static enum status piece_make(const int64_t n[3], const int64_t halo[3], struct grid_field *piece) {
  struct grid_plan plan;
  TRY(grid_plan_slabs(MPI_COMM_SELF, n, 0, &plan));
  enum status status = grid_field_make(MPI_COMM_SELF, &plan, GRID_F32, halo, piece);
  grid_plan_free(&plan);
  return status;
}

/* Slices `skip` .. skip + count - 1 of a piece, binned, as rows without gaps. */
static enum status bin(const struct grid_field *piece, int64_t skip, int64_t count, int halvings,
                       float *to) {
  const float *from  = (const float *)piece->data + grid_field_origin(piece) + skip * piece->row[0];
  const int64_t n[3] = {count, piece->mine.n[1], piece->mine.n[2]};
  struct grid_field own, half;
  if (halvings == 0) {
    memcpy(to, from, (size_t)(count * piece->row[0]) * sizeof *to);
    return STATUS_OK;
  }
  TRY(piece_make(n, slice_halo, &own));
  memcpy((float *)own.data + grid_field_origin(&own), from,
         (size_t)(count * piece->row[0]) * sizeof *to);
  for (int i = 0; i < halvings; i++) {
    enum status status = voxel_halve(MPI_COMM_SELF, &own, slice_halo, &half);
    grid_field_free(&own);
    TRY(status);
    own = half;
  }
  memcpy(to, (float *)own.data + grid_field_origin(&own),
         (size_t)(own.mine.n[0] * own.row[0]) * sizeof *to);
  grid_field_free(&own);
  return STATUS_OK;
}

static enum status look_at(const struct align_view *view, struct grid_field *piece, int64_t skip,
                           int64_t count, float *to) {
  if (count == 0) return STATUS_OK;
  TRY(smooth(piece));
  flatten(view->threshold, piece);
  return bin(piece, skip, count, view->halvings, to);
}

/* Collective. Slices first .. first + count - 1 of the look (count 0: none of this rank). */
static enum status look_slices(MPI_Comm comm, const struct align_source *source,
                               const struct align_view *view, int64_t first, int64_t count,
                               float *to) {
  int64_t b = align_binning(view, 0), low = first * b, behind = low + count * b, skip = 0;
  struct grid_box box     = view->box;
  struct grid_field piece = {.data = NULL};
  if (count > 0) {
    skip = low > 0;
    behind += behind < view->box.n[0];
  }
  box.start[0] += low - skip;
  box.n[0]           = behind - (low - skip);
  enum status status = AGREE(comm, piece_make(box.n, slice_halo, &piece));
  if (status == STATUS_OK) status = source->read(source->owner, &box, &piece);
  if (status == STATUS_OK) status = AGREE(comm, look_at(view, &piece, skip, count * b, to));
  grid_field_free(&piece);
  return status;
}

enum status align_look_slices(MPI_Comm comm, const struct align_source *source,
                              const struct align_view *view, int64_t first, int64_t count,
                              float *to) {
  struct align_view single = *view;
  single.halvings          = 0;
  return look_slices(comm, source, &single, first, count, to);
}

static enum status look_all(MPI_Comm comm, const struct align_source *source,
                            const struct align_view *view, struct grid_field *look) {
  int64_t most = grid_plan_box(&look->plan, 0).n[0], own = look->mine.n[0], deep = most;
  if (view->deep > 0) deep = view->deep / align_binning(view, 0);
  for (int64_t z = 0; z < most; z += deep) {
    int64_t at = z < own ? z : own, count = own - at < deep ? own - at : deep;
    TRY(stop_agree(comm));
    TRY(look_slices(comm, source, view, look->mine.start[0] + at, count,
                    (float *)look->data + grid_field_origin(look) + at * look->row[0]));
  }
  return STATUS_OK;
}

enum status align_look(MPI_Comm comm, const struct align_params *p,
                       const struct align_source *source, const struct align_view *view,
                       struct grid_field *look) {
  struct grid_plan plan;
  double voxel_um[3];
  int64_t n[3], halo[3] = {0, 0, 0};
  look_shape(view, n);
  for (int a = 0; a < 3; a++) voxel_um[a] = source->voxel_um[a] * (double)(1 << view->halvings);
  TRY_ALL(comm, fault_here("align.look"));
  TRY_ALL(comm, grid_plan_slabs(comm, n, 0, &plan));
  halo[0]            = align_halo(p, &plan, voxel_um, (double)align_binning(view, 0));
  enum status status = grid_field_make(comm, &plan, GRID_F32, halo, look);
  grid_plan_free(&plan);
  TRY(status);
  memcpy(look->voxel_um, voxel_um, sizeof voxel_um);
  status = look_all(comm, source, view, look);
  if (status != STATUS_OK) grid_field_free(look);
  return status;
}

/* ---- what stands under a map -------------------------------------------------------------------------------- */

int64_t align_slices_most(const struct align_params *p, const int64_t n[3],
                          const double voxel_um[3], int64_t count) {
  double across = 0;
  for (int a = 1; a < 3; a++) {
    double ratio = voxel_um[0] > 0 && voxel_um[a] > 0 ? voxel_um[a] / voxel_um[0] : 1;
    across       = hypot(across, (double)(n[a] - 1) * ratio);
  }
  int64_t most =
      count + (int64_t)ceil(sin(align_turn_most(p)) * across) + 2 * VOXEL_LANCZOS_SLICES + 2;
  return most < n[0] ? most : n[0];
}

/* The box of the source that slices take. */
static struct grid_box box_under(const struct align_source *s, const struct voxel_map *map,
                                 int taps, int64_t first, int64_t count) {
  int64_t low = first, behind = first + count;
  if (map && count > 0) voxel_map_slices(map, s->n, first, count, taps, &low, &behind);
  return (struct grid_box){
      {low,          0,       0      },
      {behind - low, s->n[1], s->n[2]}
  };
}

static enum status slices_fill(const struct align_source *s, const struct voxel_map *map,
                               bool lanczos, int64_t first, int64_t count,
                               const struct grid_field *from, float *to) {
  struct grid_field slices = {
      .type = GRID_F32,
      .mine = {{first, 0, 0},     {count, s->n[1], s->n[2]}},
      .row  = {s->n[1] * s->n[2], s->n[2]                  },
      .data = to,
  };
  if (map) return voxel_resample_part(map, s->n, lanczos, from, &slices);
  if (count > 0) memcpy(to, from->data, (size_t)from->voxels * sizeof *to);
  return STATUS_OK;
}

enum status align_slices(MPI_Comm comm, const struct align_params *p,
                         const struct align_source *source, const struct voxel_map *map,
                         int64_t first, int64_t count, float *to) {
  const bool lanczos     = strcmp(p->resampling, "lanczos") == 0;
  const int taps         = lanczos ? VOXEL_LANCZOS_SLICES : VOXEL_RESAMPLE_SLICES;
  struct grid_box box    = box_under(source, map, taps, first, count);
  struct grid_field from = {.data = NULL};
  enum status status     = AGREE(comm, piece_make(box.n, NULL, &from));
  if (status == STATUS_OK) status = source->read(source->owner, &box, &from);
  from.mine.start[0] = box.start[0];
  if (status == STATUS_OK)
    status = AGREE(comm, slices_fill(source, map, lanczos, first, count, &from, to));
  grid_field_free(&from);
  return status;
}
