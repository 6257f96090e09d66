/* A volume larger than memory, in rounds of planes: each rank has its slab along z and takes a few planes of it at a
 * time, with as many planes around them as can decide a label; every pass (range, histogram, labels) reads and filters
 * them anew. What stays in memory are the runs of the phase, 16 bytes each. A round is a volume of the rank's own
 * whose ends reflect, which is right where they are the volume's and beyond reach where they are not: so labels,
 * components and their table have the same bits as in one piece. */
#include "segment_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rounds {
  const struct stage_job *job;
  const struct segment_params *p;
  struct store_input *input, *mask; /* mask: NULL without one */
  const struct store_info *info;
  struct grid_plan plan;
  struct grid_box mine;
  int64_t margin, deep, rounds;
  struct segment_report report;
  struct voxel_choice choice; /* of each piece its own mask */
  int64_t kept;               /* voxels of this rank in the region */
};

/* Planes z0..z0 + core of the volume stand `below` planes after the first of these fields. */
struct piece {
  int64_t z0, core, below;
  struct grid_field volume, mask;
};

static void piece_free(struct piece *piece) {
  grid_field_free(&piece->volume);
  grid_field_free(&piece->mask);
}

/* Only the planes z0..z0 + core, as a field that borrows the values. */
static struct grid_field core_of(const struct piece *piece, const struct grid_field *f) {
  struct grid_field core = *f;
  core.data = (char *)f->data + (size_t)(piece->below * f->row[0]) * grid_type_bytes(f->type);
  core.mine.start[0] = piece->z0;
  core.mine.n[0]     = piece->core;
  return core;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static enum status piece_make(const struct rounds *w, const struct grid_box *box,
                              struct piece *piece) {
  const int64_t h = segment_halo(w->p), halo[3] = {h, h, h};
  struct grid_plan plan;
  TRY(grid_plan_slabs(MPI_COMM_SELF, box->n, 0, &plan));
  enum status status = grid_field_make(MPI_COMM_SELF, &plan, segment_type(w->p, w->info->type),
                                       halo, &piece->volume);
  if (status == STATUS_OK && segment_has_region(w->p))
    status = grid_field_make(MPI_COMM_SELF, &plan, GRID_U8, NULL, &piece->mask);
  grid_plan_free(&plan);
  return status;
}

static enum status read_mask(const struct rounds *w, const struct grid_box *box,
                             struct grid_field *mask) {
  struct grid_field given;
  enum status status = grid_field_make(MPI_COMM_SELF, &mask->plan, GRID_F32, NULL, &given);
  status             = AGREE(w->job->comm, status);
  if (status == STATUS_OK) status = store_read_field_box(w->job->comm, w->mask, box, false, &given);
  for (int64_t i = 0; status == STATUS_OK && i < given.voxels; i++)
    ((uint8_t *)mask->data)[i] = ((const float *)given.data)[i] != 0;
  grid_field_free(&given);
  return status;
}

static enum status filter_piece(struct rounds *w, int64_t low, struct piece *piece) {
  struct grid_field placed = piece->volume;
  placed.mine.start[0]     = low; /* for the place of a voxel that is refused */
  TRY(voxel_finite_check(MPI_COMM_SELF, &placed));
  return segment_filter(MPI_COMM_SELF, w->p, &piece->volume);
}

static void mark_piece(struct rounds *w, int64_t low, struct piece *piece) {
  struct grid_field core;
  if (!piece->mask.data) return;
  piece->mask.mine.start[0] = low;
  segment_region_mark(&w->report.region, &piece->mask, w->mask != NULL);
  core                = core_of(piece, &piece->mask);
  const uint8_t *mark = core.data;
  for (int64_t i = 0; i < piece->core * core.row[0]; i++) w->kept += mark[i];
}

/* Round k: read, filtered, marked. */
static enum status piece_read(struct rounds *w, int64_t k, struct piece *piece) {
  int64_t first = k * w->deep < w->mine.n[0] ? k * w->deep : w->mine.n[0],
          rest  = w->mine.n[0] - first;
  memset(piece, 0, sizeof *piece);
  piece->z0   = w->mine.start[0] + first;
  piece->core = rest < w->deep ? rest : w->deep;
  int64_t low = piece->z0 - w->margin, high = piece->z0 + piece->core + w->margin;
  if (low < 0) low = 0;
  if (high > w->plan.n[0]) high = w->plan.n[0];
  if (piece->core == 0) low = high = piece->z0;
  piece->below              = piece->z0 - low;
  const struct grid_box box = {
      {low,        0,            0           },
      {high - low, w->plan.n[1], w->plan.n[2]}
  };
  TRY_ALL(w->job->comm, piece_make(w, &box, piece));
  TRY(store_read_field_box(w->job->comm, w->input, &box, false, &piece->volume));
  if (w->mask) TRY(read_mask(w, &box, &piece->mask));
  TRY_ALL(w->job->comm, filter_piece(w, low, piece));
  mark_piece(w, low, piece);
  return STATUS_OK;
}

/* Collective. `work` is local and is given the piece, `write` (may be NULL) is collective and follows it. */
struct pass {
  const char *words;
  enum status (*work)(struct rounds *w, struct piece *piece, void *owner);
  enum status (*write)(struct rounds *w, struct piece *piece, void *owner);
  void *owner;
};

static enum status one_round(struct rounds *w, const struct pass *pass, int64_t k) {
  struct piece piece;
  enum status status = piece_read(w, k, &piece);
  if (status == STATUS_OK) status = AGREE(w->job->comm, pass->work(w, &piece, pass->owner));
  if (status == STATUS_OK && pass->write) status = pass->write(w, &piece, pass->owner);
  piece_free(&piece);
  return status;
}

static enum status run_pass(struct rounds *w, const struct pass *pass) {
  w->kept = 0;
  for (int64_t k = 0; k < w->rounds; k++) {
    log_progress(pass->words, k, w->rounds);
    TRY(stop_agree(w->job->comm));
    TRY(one_round(w, pass, k));
  }
  MPI_Allreduce(MPI_IN_PLACE, &w->kept, 1, MPI_INT64_T, MPI_SUM, w->job->comm);
  return AGREE(w->job->comm, segment_has_region(w->p) ? segment_region_check(w->kept) : STATUS_OK);
}

/* ---- the disc and the thresholds --------------------------------------------------------------------- */

/* The whole piece, or what the region and the range of grey values leave of it. */
static const struct voxel_choice *choice_of(struct rounds *w, const struct piece *piece,
                                            struct grid_field *mask) {
  w->choice.mask = NULL;
  if (piece->mask.data) {
    *mask          = core_of(piece, &piece->mask);
    w->choice.mask = mask;
  }
  return segment_threshold_has_choice(w->p, &w->choice) ? &w->choice : NULL;
}

static enum status widen_all(struct rounds *w, struct piece *piece, void *owner) {
  struct grid_field core = core_of(piece, &piece->volume);
  (void)w;
  return voxel_histogram_widen(&core, NULL, owner);
}

static enum status widen_chosen(struct rounds *w, struct piece *piece, void *owner) {
  struct grid_field core = core_of(piece, &piece->volume), mask;
  return voxel_histogram_widen(&core, choice_of(w, piece, &mask), owner);
}

static enum status count(struct rounds *w, struct piece *piece, void *owner) {
  struct grid_field core = core_of(piece, &piece->volume), mask;
  return voxel_histogram_add(&core, choice_of(w, piece, &mask), owner);
}

struct columns {
  double range[2];
  int64_t *sum;
};

static enum status add_columns(struct rounds *w, struct piece *piece, void *owner) {
  const struct columns *c = owner;
  struct grid_field core  = core_of(piece, &piece->volume);
  (void)w;
  segment_region_add(&core, c->range, c->sum);
  return STATUS_OK;
}

static enum status find_disc(struct rounds *w) {
  MPI_Comm comm    = w->job->comm;
  struct columns c = {
      {INFINITY, -INFINITY},
      NULL
  };
  const struct pass ranges   = {"segment (range)", widen_all, NULL, c.range},
                    columns_ = {"segment (disc)", add_columns, NULL, &c};
  TRY(run_pass(w, &ranges));
  voxel_range_sum(comm, c.range);
  enum status status =
      AGREE(comm, memory_make(w->plan.n[1] * w->plan.n[2], sizeof *c.sum, "means along z", &c.sum));
  if (status == STATUS_OK) status = run_pass(w, &columns_);
  if (status == STATUS_OK)
    status = segment_region_find(comm, c.sum, w->plan.n[1], w->plan.n[2], &w->report.region);
  memory_free(c.sum);
  return status;
}

static enum status find_thresholds(struct rounds *w) {
  MPI_Comm comm            = w->job->comm;
  double range[2]          = {INFINITY, -INFINITY};
  const struct pass ranges = {"segment (range)", widen_chosen, NULL, range};
  struct voxel_histogram h = {.count = NULL};
  const struct pass counts = {"segment (histogram)", count, NULL, &h};
  TRY(run_pass(w, &ranges));
  voxel_range_sum(comm, range);
  enum status status = AGREE(comm, voxel_histogram_begin(range, segment_threshold_bins(w->p), &h));
  if (status == STATUS_OK) status = run_pass(w, &counts);
  if (status == STATUS_OK) {
    voxel_histogram_sum(comm, &h);
    status = AGREE(comm, segment_threshold_found(w->p, &h, w->report.threshold));
  }
  voxel_histogram_free(&h);
  return status;
}

/* ---- labels, components, their table ------------------------------------------------------------------- */

struct labelling {
  struct store_output *output; /* NULL: nothing is written */
  struct voxel_parts *parts;
  struct grid_field labels; /* of the piece in work */
};

static void count_phases(struct rounds *w, const struct piece *piece,
                         const struct grid_field *labels) {
  int64_t at = piece->below * labels->row[0], end = at + piece->core * labels->row[0];
  const uint8_t *label = labels->data, *mask = piece->mask.data;
  for (int64_t i = at; i < end; i++)
    if (!mask || mask[i]) w->report.voxels[label[i]]++;
}

static enum status label(struct rounds *w, struct piece *piece, void *owner) {
  struct labelling *l       = owner;
  struct segment_report *r  = &w->report;
  struct grid_field *labels = &l->labels;
  grid_field_free(labels);
  TRY(voxel_label(MPI_COMM_SELF, &piece->volume, r->threshold, r->classes - 1, labels));
  segment_region_clear(&piece->mask, labels);
  TRY(segment_filter_phase(MPI_COMM_SELF, w->p, r->phase, labels));
  segment_region_clear(&piece->mask, labels);
  count_phases(w, piece, labels);
  return voxel_parts_add(l->parts, core_of(piece, labels).data, piece->core, r->phase);
}

static enum status write_labels(struct rounds *w, struct piece *piece, void *owner) {
  struct labelling *l    = owner;
  const int64_t start[3] = {piece->z0, 0, 0}, n[3] = {piece->core, w->plan.n[1], w->plan.n[2]};
  if (!l->output) return STATUS_OK;
  return store_write_box(w->job->comm, l->output, "labels", false, start, n,
                         core_of(piece, &l->labels).data);
}

/* Small and lesser ones are left out; what stays is numbered anew. */
static enum status drop(struct rounds *w, struct voxel_parts *parts) {
  struct voxel_component *table;
  int64_t *number = NULL, n = w->report.components;
  if (!segment_has_choice(w->p)) return STATUS_OK;
  TRY(voxel_parts_table(w->job->comm, parts, n, &table));
  enum status status =
      AGREE(w->job->comm, memory_make(n + 1, sizeof *number, "numbers of components", &number));
  if (status == STATUS_OK) {
    w->report.components = segment_choose(w->p, table, n, number);
    voxel_parts_renumber(parts, number);
  }
  memory_free(number);
  memory_free(table);
  return status;
}

static void fill_plane(const struct rounds *w, const struct voxel_parts *parts, int64_t z,
                       int32_t *line, int64_t *plane) {
  for (int64_t y = 0; y < w->plan.n[1]; y++) {
    voxel_parts_row(parts, z, y, line);
    for (int64_t x = 0; x < w->plan.n[2]; x++) plane[y * w->plan.n[2] + x] = line[x];
  }
}

/* int64 in the file; a plane at a time, as many times as the thickest rank has planes. */
static enum status write_components(const struct rounds *w, const struct labelling *l) {
  const int64_t ny = w->plan.n[1], nx = w->plan.n[2];
  int64_t *plane = NULL, most = w->rounds * w->deep;
  int32_t *line = NULL;
  if (!l->output) return STATUS_OK;
  enum status status = memory_make_raw(ny * nx, sizeof *plane, "a plane", &plane);
  if (status == STATUS_OK)
    status = memory_make_raw(nx + VOXEL_ROW_SPARE, sizeof *line, "a row", &line);
  status = AGREE(w->job->comm, status);
  for (int64_t z = 0; z < most && status == STATUS_OK; z++) {
    bool here              = z < w->mine.n[0];
    const int64_t start[3] = {w->mine.start[0] + (here ? z : 0), 0, 0}, n[3] = {here, ny, nx};
    if (here) fill_plane(w, l->parts, z, line, plane);
    status = store_write_box(w->job->comm, l->output, "components", false, start, n, plane);
  }
  memory_free(plane);
  memory_free(line);
  return status;
}

static enum status write_table(struct rounds *w, struct labelling *l) {
  struct segment_table table        = {.rows = 0};
  struct voxel_component *component = NULL;
  int64_t n                         = w->report.components;
  if (!l->output || segment_table_is_long(n)) return STATUS_OK;
  TRY(voxel_parts_table(w->job->comm, l->parts, n, &component));
  enum status status =
      AGREE(w->job->comm, segment_table_fill(w->info->voxel_um, n, component, NULL, &table));
  if (status == STATUS_OK) status = segment_table_write(w->job, l->output, &table);
  segment_table_free(&table);
  memory_free(component);
  return status;
}

static enum status find_labels(struct rounds *w, struct labelling *l) {
  MPI_Comm comm          = w->job->comm;
  const struct pass pass = {"segment (labels)", label, write_labels, l};
  TRY_ALL(comm, voxel_parts_make(&w->plan, atoi(w->p->connectivity), true, &l->parts));
  TRY(run_pass(w, &pass));
  grid_field_free(&l->labels);
  MPI_Allreduce(MPI_IN_PLACE, w->report.voxels, SEGMENT_CLASSES_MOST, MPI_INT64_T, MPI_SUM, comm);
  TRY(voxel_parts_join(comm, l->parts, &w->report.components));
  TRY(drop(w, l->parts));
  TRY(write_components(w, l));
  TRY(write_table(w, l));
  segment_results_add(w->job, &w->report);
  return STATUS_OK;
}

static enum status make_labels(struct rounds *w) {
  struct labelling l = {.output = NULL};
  if (w->job->output[0]) TRY(segment_output_begin(w->job, w->plan.n, w->info->voxel_um, &l.output));
  enum status status = find_labels(w, &l);
  voxel_parts_free(&l.parts);
  grid_field_free(&l.labels);
  if (!l.output) return status;
  if (status == STATUS_OK) return stage_output_commit(w->job, &l.output);
  store_abandon(w->job->comm, &l.output, false);
  return status;
}

/* ---- all together ------------------------------------------------------------------------------------------ */

const char *segment_rounds_refuse(const struct segment_params *p) {
  if (p->surfaces) return "surfaces = yes";
  if (p->fill_holes) return "fill_holes = yes";
  if (segment_slab_is_found(p)) return "slab = auto";
  return strcmp(p->per, "slice") == 0 ? "per = slice" : NULL;
}

int64_t segment_rounds_bytes(const struct segment_params *p, const struct store_info *info,
                             int ranks, int64_t deep) {
  int64_t h = segment_halo(p), plane = info->n[1] * info->n[2];
  int64_t share = (info->n[0] + ranks - 1) / ranks, planes = deep + 2 * (segment_reach(p) + 1);
  if (planes > info->n[0]) planes = info->n[0];
  enum grid_type type = segment_type(p, info->type);
  int64_t n[3]        = {planes, info->n[1], info->n[2]};
  int64_t grown       = (planes + 2 * h) * (info->n[1] + 2 * h) * (info->n[2] + 2 * h) *
                  (int64_t)grid_type_bytes(type),
          region = segment_has_region(p) ? 5 * planes * plane + 8 * plane : 0;
  /* runs: one in sixteen voxels; of a plane bits, rows, int64 numbers */
  return grown + segment_filter_bytes(p, n, type) + planes * plane + region + share * plane +
         9 * plane;
}

static enum status open_mask(struct rounds *w) {
  if (!w->p->mask[0]) return STATUS_OK;
  TRY(store_open(w->job->comm, w->p->mask, "labels", 3, &w->mask));
  const struct store_info *info = store_info(w->mask);
  enum status status            = STATUS_OK;
  for (int a = 0; a < 3 && status == STATUS_OK; a++)
    if (info->n[a] != w->plan.n[a])
      status = FAIL(STATUS_INPUT, "%s has %lld voxels along %c, the volume has %lld", info->file,
                    (long long)info->n[a], "zyx"[a], (long long)w -> plan.n[a]);
  return AGREE(w->job->comm, status);
}

static enum status work(struct rounds *w) {
  MPI_Comm comm = w->job->comm;
  TRY(open_mask(w));
  TRY_ALL(comm, segment_region_parse(w->p, w->plan.n[0], &w->report.region));
  TRY_ALL(comm, segment_threshold_begin(w->p, &w->report, &w->choice));
  if (strcmp(w->p->disc, "auto") == 0) TRY(find_disc(w));
  if (segment_threshold_is_found(w->p->threshold)) TRY(find_thresholds(w));
  return make_labels(w);
}

enum status segment_rounds_run(const struct stage_job *job, struct store_input *input,
                               int64_t deep) {
  struct rounds w = {.job    = job,
                     .p      = job->params,
                     .input  = input,
                     .info   = store_info(input),
                     .margin = segment_reach(job->params) + 1,
                     .deep   = deep};
  TRY_ALL(job->comm, grid_plan_slabs(job->comm, w.info->n, 0, &w.plan));
  w.mine       = grid_plan_mine(&w.plan);
  int64_t most = (w.info->n[0] + w.plan.size - 1) / w.plan.size;
  w.rounds     = (most + deep - 1) / deep;
  log_info("segment: %lld rounds of %lld planes a rank", (long long)w.rounds, (long long)deep);
  enum status status = work(&w);
  store_close(&w.mask);
  grid_plan_free(&w.plan);
  return status;
}
