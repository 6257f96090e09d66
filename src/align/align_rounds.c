/* What fits into memory, and volumes read and written in rounds of slices. */
#include "align_stage.h"
#include <math.h>
#include <string.h>

/* ---- forecast --------------------------------------------------------------------------------------------- */

/* Slices of a slab times a slice, and the same with the halo. */
static void slab_voxels(const struct grid_plan *plan, int64_t halo, double *own, double *more) {
  double slice = (double)plan->n[1] * (double)plan->n[2];
  *own         = (double)grid_plan_most(plan);
  *more        = *own + 2 * (double)halo * slice;
}

/* Of a piece of the box while it is looked at, with both slices beside it and their halo; where looks are binned, while it
 * is fitted: fixed, moved (looked at, and as it becomes a look) and moved onto the fixed one. */
static double piece_bytes(const struct align_work *w, int64_t deep) {
  const int64_t *n = w->view.box.n;
  double slice     = (double)n[1] * (double)n[2];
  if (w->view.halvings == 0) return 4 * slice * (double)(deep + 5);
  int64_t moved = align_slices_most(w->params, n, w->voxel_um, deep + 2);
  return 4 * slice * (double)(2 * (deep + 2) + 2 * moved + 5);
}

/* Of a piece of the aligned volume: with the slices that it is made from. */
static double slices_bytes(const struct align_work *w, int64_t deep) {
  double slice = (double)w->n[1] * (double)w->n[2];
  return 4 * slice * (double)(deep + align_slices_most(w->params, w->n, w->voxel_um, deep));
}

/* Both looks; what the shift and the levels of the fit take beside them. */
static enum status looks_bytes(const struct align_work *w, double *one, double *most) {
  int64_t n[3];
  double own, more, voxel_um[3];
  struct grid_plan part;
  for (int a = 0; a < 3; a++) {
    n[a]        = w->view.box.n[a] / align_binning(&w->view, a);
    voxel_um[a] = w->voxel_um[a] * (double)(1 << w->view.halvings);
  }
  TRY(grid_plan_slabs(w->job->comm, n, 0, &part));
  slab_voxels(&part, align_halo(w->params, &part, voxel_um, (double)(1 << w->view.halvings)), &own,
              &more);
  double looks = 8 * more, shift = looks + 8 * 1.1 * own + (part.size > 1 ? 4 * own : 0);
  *one  = 4 * more;
  *most = fmax(shift, looks + looks / 5 + 4 * own);
  grid_plan_free(&part);
  return STATUS_OK;
}

enum { SLICES_MOST = 64, BESIDE_BYTES = 4 << 20 };

/* The most slices a round that `bytes` lets, a multiple of `step`, at least that. */
static int64_t deepest(const struct align_work *w, double (*of)(const struct align_work *, int64_t),
                       double bytes, int64_t step, int64_t most) {
  most = (most + step - 1) / step * step;
  if (of(w, most) <= bytes) return most;
  int64_t deep = most < SLICES_MOST ? most : SLICES_MOST / step * step;
  while (deep > step && of(w, deep) > bytes) deep -= step;
  return deep > step ? deep : step;
}

/* As little binning as memory lets, and rounds for what is read and written. Where looks are binned the halved ones
 * of the fit stand beside them while it reads slices of single voxels. */
enum status align_rounds_size(struct align_work *w, int64_t limit) {
  int64_t share        = (w->n[0] + w->slabs.size - 1) / w->slabs.size;
  int64_t parts        = (w->view.box.n[0] + w->slabs.size - 1) / w->slabs.size;
  const int most       = align_halvings_most(&w->view.box);
  const int64_t levels = align_level_is_auto(w->params) ? align_level_bytes(w->view.box.n[0]) : 0;
  const int64_t beside = BESIDE_BYTES + levels;
  double one, looks;
  for (w->view.halvings = 0;; w->view.halvings++) {
    int64_t b = align_binning(&w->view, 0);
    TRY(looks_bytes(w, &one, &looks));
    double room = (double)(limit - beside), both = (w->view.halvings ? 2.4 : 2) * one;
    w->view.deep  = deepest(w, piece_bytes, room - both, b, parts);
    w->deep       = deepest(w, slices_bytes, room - one, 1, share);
    double need   = fmax(looks, both + piece_bytes(w, w->view.deep));
    need          = fmax(need, one + slices_bytes(w, w->deep));
    w->need_bytes = (int64_t)need + beside;
    if (w->need_bytes <= limit || w->view.halvings >= most) break;
  }
  w->rounds = (share + w->deep - 1) / w->deep;
  return STATUS_OK;
}

/* ---- reading and writing ------------------------------------------------------------------------------------ */

static enum status check_shape(const struct align_work *w, const struct store_info *info) {
  for (int a = 0; a < 3; a++)
    if (info->n[a] != w->n[a])
      return FAIL(STATUS_INPUT, "%s has %lld voxels along %c, the first volume has %lld",
                  info->file, (long long)info->n[a], "zyx"[a], (long long)w -> n[a]);
  return STATUS_OK;
}

static enum status read_box(void *owner, const struct grid_box *box, struct grid_field *to) {
  const struct align_reading *r = owner;
  return store_read_field_box(r->comm, r->input, box, false, to);
}

enum status align_volume_open(const struct align_work *w, const struct align_state *source,
                              struct align_reading *reading, struct align_source *volume) {
  *reading = (struct align_reading){w->job->comm, NULL};
  *volume  = (struct align_source){.read = read_box, .owner = reading};
  memcpy(volume->n, w->n, sizeof w->n);
  memcpy(volume->voxel_um, w->voxel_um, sizeof w->voxel_um);
  TRY(store_open(w->job->comm, source->of.name, "volume", 3, &reading->input));
  enum status status = AGREE(w->job->comm, check_shape(w, store_info(reading->input)));
  if (status != STATUS_OK) store_close(&reading->input);
  return status;
}

/* Slices of round k of this rank. */
void align_round_place(const struct align_work *w, int64_t k, int64_t *first, int64_t *count) {
  const struct grid_box mine = grid_plan_mine(&w->slabs);
  int64_t at                 = k * w->deep < mine.n[0] ? k * w->deep : mine.n[0];
  *first                     = mine.start[0] + at;
  *count                     = mine.n[0] - at < w->deep ? mine.n[0] - at : w->deep;
}

/* In one round as a field, which a stage that follows need not read. */
static enum status write_whole(const struct align_work *w, struct store_output *output,
                               const struct align_source *volume, const struct voxel_map *map) {
  MPI_Comm comm = w->job->comm;
  struct grid_field aligned;
  TRY(grid_field_make(comm, &w->slabs, GRID_F32, NULL, &aligned));
  memcpy(aligned.voxel_um, w->voxel_um, sizeof w->voxel_um);
  enum status status = align_slices(comm, w->params, volume, map, aligned.mine.start[0],
                                    aligned.mine.n[0], aligned.data);
  if (status == STATUS_OK) status = store_write_field(comm, output, "aligned", &aligned, 0);
  grid_field_free(&aligned);
  return status;
}

static enum status write_rounds(const struct align_work *w, struct store_output *output,
                                const struct align_source *volume, const struct voxel_map *map) {
  MPI_Comm comm = w->job->comm;
  float *slices;
  enum status status =
      AGREE(comm, memory_make_raw(w->deep * w->n[1] * w->n[2], sizeof *slices, "slices", &slices));
  for (int64_t k = 0; k < w->rounds && status == STATUS_OK; k++) {
    int64_t first, count;
    align_round_place(w, k, &first, &count);
    const int64_t start[3] = {first, 0, 0}, n[3] = {count, w->n[1], w->n[2]};
    status = stop_agree(comm);
    if (status == STATUS_OK)
      status = align_slices(comm, w->params, volume, map, first, count, slices);
    if (status == STATUS_OK)
      status = store_write_box(comm, output, "aligned", false, start, n, slices);
  }
  memory_free(slices);
  return status;
}

static enum status write_slices(const struct align_work *w, const struct stage_job *job,
                                struct store_output *output, const struct align_state *source,
                                const struct voxel_map *map) {
  struct align_reading reading;
  struct align_source volume;
  TRY(store_create(job->comm, output, "aligned", w->n, w->voxel_um, w->unit[0] ? w->unit : NULL,
                   false));
  TRY(store_default(job->comm, output, "aligned"));
  TRY(store_ready(job->comm, output));
  TRY(align_volume_open(w, source, &reading, &volume));
  enum status status =
      w->rounds == 1 ? write_whole(w, output, &volume, map) : write_rounds(w, output, &volume, map);
  store_close(&reading.input);
  return status;
}

/* A volume under a map (NULL: as it is) becomes a state's `aligned`. */
enum status align_write(const struct align_work *w, const struct stage_job *job,
                        const struct align_state *source, const struct voxel_map *map) {
  struct store_output *output;
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, 4 * w->n[0] * w->n[1] * w->n[2] + (1 << 20), &output));
  enum status status = write_slices(w, job, output, source, map);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}
