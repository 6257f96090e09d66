/* The stage: the first state's volume keeps still and is handed on as it is (or level); each further one is looked at, fitted,
 * read again and resampled, in rounds of slices where it is larger than memory; looks that do not fit are binned, and the fit
 * ends on what is read again. One table for all, one file with `aligned` per state. A state's file whose record is
 * today's is kept, so that a run that was killed goes on with the state it was at. A state that cannot be aligned
 * keeps no `aligned`: the table says so, and the status. */
#include "align.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_OWNER struct align_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "align_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("align", struct align_params, rows);

struct source {
  struct stage_source of;        /* its volume */
  char output[STORE_NAME_BYTES]; /* file of its aligned one */
};
struct work {
  const struct stage_job *job;
  const struct align_params *params;
  struct source *source;
  int sources;
  int64_t n[3];
  double voxel_um[3];
  char unit[64];
  struct align_view view;
  struct grid_plan slabs; /* of the aligned volumes */
  int64_t deep, rounds;   /* slices of those in a round */
  int64_t need_bytes;
  struct grid_field fixed;
  double level[2]; /* slopes of the layers along y and x, 0 for none */
  int refused;
  char words[256]; /* of the first refusal */
};

static enum status check(const void *params, const struct stage_common *common) {
  const struct align_params *p = params;
  char *end;
  (void)common;
  if (!p->mask_above[0] && !p->box[0])
    return FAIL(STATUS_USAGE, "align has to be told what keeps still: --mask-above auto|V (what is "
                              "brighter, such as the casing) or --box all|A:B,A:B,A:B");
  if (!p->mask_above[0] || strcmp(p->mask_above, "auto") == 0) return STATUS_OK;
  double value = strtod(p->mask_above, &end);
  if (end == p->mask_above || *end || !isfinite(value))
    return FAIL(STATUS_USAGE, "align.mask_above = %s; it would be auto or a grey value",
                p->mask_above);
  return STATUS_OK;
}

/* ---- which volumes -------------------------------------------------------------------------------------- */

static void name_output(const struct stage_job *job, int at, struct source *source) {
  size_t n      = strlen(job->output);
  int of_states = source->of.at;
  if (n > 3 && strcmp(job->output + n - 3, ".h5") == 0) n -= 3;
  if (of_states >= 0)
    snprintf(source->output, sizeof source->output, "%.2000s/align.h5",
             job->input->states[of_states].folder);
  else if (n > 0)
    snprintf(source->output, sizeof source->output, "%.*s.%d.h5", (int)n, job->output, at + 1);
}

static enum status find_sources(struct work *w) {
  struct stage_source *found;
  TRY(stage_sources_find(w->job, "volume", w->params->volumes,
                         "--volumes FILE[:DATASET]... is missing: the volumes to align, the first "
                         "keeps still",
                         &found, &w->sources));
  enum status status = AGREE(
      w->job->comm, memory_make(w->sources, sizeof *w->source, "names of volumes", &w->source));
  for (int i = 0; i < w->sources && status == STATUS_OK; i++) {
    w->source[i].of = found[i];
    name_output(w->job, i, &w->source[i]);
  }
  memory_free(found);
  return status;
}

static enum status check_shape(const struct work *w, const struct store_info *info) {
  for (int a = 0; a < 3; a++)
    if (info->n[a] != w->n[a])
      return FAIL(STATUS_INPUT, "%s has %lld voxels along %c, the first volume has %lld",
                  info->file, (long long)info->n[a], "zyx"[a], (long long)w -> n[a]);
  return STATUS_OK;
}

/* What the first volume's header says. */
static enum status read_head(struct work *w) {
  struct store_input *input;
  TRY(store_open(w->job->comm, w->source[0].of.name, "volume", 3, &input));
  const struct store_info *info = store_info(input);
  memcpy(w->n, info->n, sizeof w->n);
  memcpy(w->voxel_um, info->voxel_um, sizeof w->voxel_um);
  snprintf(w->unit, sizeof w->unit, "%s", info->unit);
  store_close(&input);
  return AGREE(w->job->comm, stage_box_parse("align.box", w->params->box, w->n, &w->view.box));
}

/* ---- forecast --------------------------------------------------------------------------------------------- */

/* Slices of a slab times a slice, and the same with the halo. */
static void slab_voxels(const struct grid_plan *plan, int64_t halo, double *own, double *more) {
  double slice = (double)plan->n[1] * (double)plan->n[2];
  *own         = (double)grid_plan_most(plan);
  *more        = *own + 2 * (double)halo * slice;
}

/* Of a piece of the box while it is looked at, with both slices beside it and their halo; where looks are binned, while it
 * is fitted: fixed, moved (looked at, and as it becomes a look) and moved onto the fixed one. */
static double piece_bytes(const struct work *w, int64_t deep) {
  const int64_t *n = w->view.box.n;
  double slice     = (double)n[1] * (double)n[2];
  if (w->view.halvings == 0) return 4 * slice * (double)(deep + 5);
  int64_t moved = align_slices_most(w->params, n, w->voxel_um, deep + 2);
  return 4 * slice * (double)(2 * (deep + 2) + 2 * moved + 5);
}

/* Of a piece of the aligned volume: with the slices that it is made from. */
static double slices_bytes(const struct work *w, int64_t deep) {
  double slice = (double)w->n[1] * (double)w->n[2];
  return 4 * slice * (double)(deep + align_slices_most(w->params, w->n, w->voxel_um, deep));
}

/* Both looks; what the shift and the levels of the fit take beside them. */
static enum status looks_bytes(const struct work *w, double *one, double *most) {
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
static int64_t deepest(const struct work *w, double (*of)(const struct work *, int64_t),
                       double bytes, int64_t step, int64_t most) {
  most = (most + step - 1) / step * step;
  if (of(w, most) <= bytes) return most;
  int64_t deep = most < SLICES_MOST ? most : SLICES_MOST / step * step;
  while (deep > step && of(w, deep) > bytes) deep -= step;
  return deep > step ? deep : step;
}

/* As little binning as memory lets, and rounds for what is read and written. Where looks are binned the halved ones
 * of the fit stand beside them while it reads slices of single voxels. */
static enum status size_rounds(struct work *w, int64_t limit) {
  int64_t share  = (w->n[0] + w->slabs.size - 1) / w->slabs.size;
  int64_t parts  = (w->view.box.n[0] + w->slabs.size - 1) / w->slabs.size;
  const int most = align_halvings_most(&w->view.box);
  double one, looks;
  for (w->view.halvings = 0;; w->view.halvings++) {
    int64_t b = align_binning(&w->view, 0);
    TRY(looks_bytes(w, &one, &looks));
    double room = (double)limit - BESIDE_BYTES, both = (w->view.halvings ? 2.4 : 2) * one;
    w->view.deep  = deepest(w, piece_bytes, room - both, b, parts);
    w->deep       = deepest(w, slices_bytes, room - one, 1, share);
    double need   = fmax(looks, both + piece_bytes(w, w->view.deep));
    need          = fmax(need, one + slices_bytes(w, w->deep));
    w->need_bytes = (int64_t)need + BESIDE_BYTES;
    if (w->need_bytes <= limit || w->view.halvings >= most) break;
  }
  w->rounds = (share + w->deep - 1) / w->deep;
  return STATUS_OK;
}

static enum status work_begin(const struct stage_job *job, struct work *w) {
  int64_t limit;
  memset(w, 0, sizeof *w);
  w->job    = job;
  w->params = job->params;
  TRY_ALL(job->comm, align_level_parse(w->params, w->level));
  enum status status = find_sources(w);
  if (status == STATUS_OK) status = read_head(w);
  if (status == STATUS_OK)
    status = AGREE(job->comm, grid_plan_slabs(job->comm, w->n, 0, &w->slabs));
  if (status == STATUS_OK) status = stage_memory_limit(job, &limit);
  if (status == STATUS_OK) status = AGREE(job->comm, size_rounds(w, limit));
  return status;
}

static void work_end(struct work *w) {
  grid_field_free(&w->fixed);
  grid_plan_free(&w->slabs);
  memory_free(w->source);
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct work w;
  enum status status = work_begin(job, &w);
  if (status == STATUS_OK)
    *need = (struct stage_need){
        .memory_bytes = w.need_bytes,
        .disk_bytes   = w.sources * (4 * w.n[0] * w.n[1] * w.n[2] + (1 << 20)) + (1 << 20),
        .rounds       = w.sources * w.rounds};
  work_end(&w);
  return status;
}

/* ---- reading and writing ------------------------------------------------------------------------------------ */

struct reading {
  MPI_Comm comm;
  struct store_input *input;
};

static enum status read_box(void *owner, const struct grid_box *box, struct grid_field *to) {
  const struct reading *r = owner;
  return store_read_field_box(r->comm, r->input, box, false, to);
}

static enum status volume_open(const struct work *w, const struct source *source,
                               struct reading *reading, struct align_source *volume) {
  *reading = (struct reading){w->job->comm, NULL};
  *volume  = (struct align_source){.read = read_box, .owner = reading};
  memcpy(volume->n, w->n, sizeof w->n);
  memcpy(volume->voxel_um, w->voxel_um, sizeof w->voxel_um);
  TRY(store_open(w->job->comm, source->of.name, "volume", 3, &reading->input));
  enum status status = AGREE(w->job->comm, check_shape(w, store_info(reading->input)));
  if (status != STATUS_OK) store_close(&reading->input);
  return status;
}

/* Slices of round k of this rank. */
static void round_place(const struct work *w, int64_t k, int64_t *first, int64_t *count) {
  const struct grid_box mine = grid_plan_mine(&w->slabs);
  int64_t at                 = k * w->deep < mine.n[0] ? k * w->deep : mine.n[0];
  *first                     = mine.start[0] + at;
  *count                     = mine.n[0] - at < w->deep ? mine.n[0] - at : w->deep;
}

/* In one round as a field, which a stage that follows need not read. */
static enum status write_whole(const struct work *w, struct store_output *output,
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

static enum status write_rounds(const struct work *w, struct store_output *output,
                                const struct align_source *volume, const struct voxel_map *map) {
  MPI_Comm comm = w->job->comm;
  float *slices;
  enum status status =
      AGREE(comm, memory_make_raw(w->deep * w->n[1] * w->n[2], sizeof *slices, "slices", &slices));
  for (int64_t k = 0; k < w->rounds && status == STATUS_OK; k++) {
    int64_t first, count;
    round_place(w, k, &first, &count);
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

static enum status write_slices(const struct work *w, const struct stage_job *job,
                                struct store_output *output, const struct source *source,
                                const struct voxel_map *map) {
  struct reading reading;
  struct align_source volume;
  TRY(store_create(job->comm, output, "aligned", w->n, w->voxel_um, w->unit[0] ? w->unit : NULL,
                   false));
  TRY(store_default(job->comm, output, "aligned"));
  TRY(store_ready(job->comm, output));
  TRY(volume_open(w, source, &reading, &volume));
  enum status status =
      w->rounds == 1 ? write_whole(w, output, &volume, map) : write_rounds(w, output, &volume, map);
  store_close(&reading.input);
  return status;
}

/* The job of one state's file: the table's record and the state, and the state's own results. */
static enum status state_job(const struct work *w, const struct source *source,
                             struct stage_results *results, struct stage_job *job, char **record) {
  const char *all = w->job->record ? w->job->record : "";
  int64_t bytes   = (int64_t)(strlen(all) + strlen(source->of.state)) + 32;
  TRY(memory_make(bytes, 1, "a record", record));
  snprintf(*record, (size_t)bytes, "%sstate: %s\n", all, source->of.state);
  *job         = *w->job;
  job->output  = source->output;
  job->record  = *record;
  job->results = results;
  return STATUS_OK;
}

/* A volume under a map (NULL: as it is) becomes a state's `aligned`. */
static enum status write_aligned(const struct work *w, const struct stage_job *job,
                                 const struct source *source, const struct voxel_map *map) {
  struct store_output *output;
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, 4 * w->n[0] * w->n[1] * w->n[2] + (1 << 20), &output));
  enum status status = write_slices(w, job, output, source, map);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

/* ---- one state -------------------------------------------------------------------------------------------------- */

static void add_rows(const struct align_report *r, const char *state, bool refused,
                     struct stage_results *results) {
  static const char *const names[2 * 3] = {"shift_z_px",     "shift_y_px",     "shift_x_px",
                                           "rotation_z_deg", "rotation_y_deg", "rotation_x_deg"};
  for (int i = 0; i < 6; i++) {
    struct stage_result *row = stage_result_add(
        results, names[i], i < 3 ? r->shift_px[i] : r->rotation_deg[i - 3], i < 3 ? "px" : "deg");
    if (!row) continue;
    row->sigma = r->sigma[i];
    snprintf(row->of, sizeof row->of, "%s", state);
    if (r->held[i]) snprintf(row->state, sizeof row->state, "held");
  }
  struct stage_result *row = stage_result_add(results, "quality", r->quality, "");
  if (!row) return;
  snprintf(row->of, sizeof row->of, "%s", state);
  if (refused) snprintf(row->state, sizeof row->state, "refused");
}

static enum status look_at(struct work *w, const struct source *source, struct grid_field *look) {
  struct reading reading;
  struct align_source volume;
  TRY(volume_open(w, source, &reading, &volume));
  enum status status = align_look(w->job->comm, w->params, &volume, &w->view, look);
  store_close(&reading.input);
  return status;
}

/* An `aligned` of an earlier run must not stand beside a refusal. */
static enum status remove_stale(const struct source *source) {
  if (!log_is_speaker() || !source->output[0] || unlink(source->output) == 0 || errno == ENOENT)
    return STATUS_OK;
  return FAIL(STATUS_OUTPUT, "%s cannot be removed: %s", source->output, strerror(errno));
}

static enum status refuse(struct work *w, const struct source *source,
                          const struct align_report *report) {
  if (!w->refused++)
    snprintf(w->words, sizeof w->words,
             "%.64s: correlation %.3f with the first state (%g asked "
             "for)%s",
             source->of.state, report->quality, w->params->least_quality,
             report->converged ? "" : ", and no end of the search within its bounds");
  return AGREE(w->job->comm, remove_stale(source));
}

/* What stands at p of the levelled volume stands at map(level(p)). */
static struct voxel_map levelled(const struct work *w, const struct voxel_map *map) {
  struct voxel_map level = align_level_map(w->level, w->voxel_um, w->n), both;
  for (int a = 0; a < 3; a++) {
    both.at[a] = map->at[a];
    for (int b = 0; b < 3; b++) {
      both.at[a] += map->turn[a][b] * level.at[b];
      both.turn[a][b] = 0;
      for (int c = 0; c < 3; c++) both.turn[a][b] += map->turn[a][c] * level.turn[c][b];
    }
  }
  return both;
}

static bool is_tilted(const struct work *w) { return w->level[0] != 0 || w->level[1] != 0; }

/* Where looks are binned both volumes are open, for the fit on single voxels. */
static enum status find_binned(struct work *w, const struct source *source, struct grid_field *look,
                               struct align_report *report) {
  struct reading reading[2];
  struct align_source volumes[2];
  TRY(volume_open(w, &w->source[0], &reading[0], &volumes[0]));
  enum status status = volume_open(w, source, &reading[1], &volumes[1]);
  if (status == STATUS_OK) {
    status = align_find(w->job->comm, w->params, &w->fixed, look, volumes, &w->view, report);
    store_close(&reading[1].input);
  }
  store_close(&reading[0].input);
  return status;
}

/* Looks at a state and finds its motion against the first one. */
static enum status find_motion(struct work *w, const struct source *source,
                               struct align_report *report) {
  const struct align_source shape = {
      .n = {w->n[0], w->n[1], w->n[2]}
  };
  struct grid_field look;
  TRY(look_at(w, source, &look));
  enum status status = w->view.halvings > 0 ? find_binned(w, source, &look, report)
                                            : align_find(w->job->comm, w->params, &w->fixed, &look,
                                                         &shape, &w->view, report);
  grid_field_free(&look);
  return status;
}

static enum status align_one(struct work *w, const struct source *source,
                             const struct stage_job *job) {
  struct align_report report;
  TRY(find_motion(w, source, &report));
  bool poor = !report.converged || !(report.quality >= w->params->least_quality);
  add_rows(&report, source->of.state, poor, job->results);
  if (poor) return refuse(w, source, &report);
  struct voxel_map map = report.map;
  if (is_tilted(w)) map = levelled(w, &report.map);
  return write_aligned(w, job, source, &map);
}

/* ---- the first state ---------------------------------------------------------------------------------------------- */

/* Grey values of the first volume: their range, then their histogram. Where one round is all it is read once. */
struct greys {
  double range[2];
  struct voxel_histogram histogram;
  float *slices;
  bool are_read;
};

static enum status
each_round(const struct work *w, const struct align_source *volume, struct greys *g,
           enum status (*take)(const struct grid_field *slices, struct greys *g)) {
  for (int64_t k = 0; k < w->rounds; k++) {
    struct grid_field slices = {
        .type = GRID_F32, .row = {w->n[1] * w->n[2], w->n[2]},
             .data = g->slices
    };
    round_place(w, k, &slices.mine.start[0], &slices.mine.n[0]);
    slices.mine.n[1] = w->n[1];
    slices.mine.n[2] = w->n[2];
    TRY(stop_agree(w->job->comm));
    if (w->rounds > 1 || !g->are_read)
      TRY(align_slices(w->job->comm, w->params, volume, NULL, slices.mine.start[0],
                       slices.mine.n[0], g->slices));
    TRY_ALL(w->job->comm, take(&slices, g));
  }
  g->are_read = true;
  return STATUS_OK;
}

static enum status widen(const struct grid_field *slices, struct greys *g) {
  return voxel_histogram_widen(slices, NULL, g->range);
}
static enum status count(const struct grid_field *slices, struct greys *g) {
  return voxel_histogram_add(slices, NULL, &g->histogram);
}

static enum status find_brightest(struct work *w, const struct align_source *volume,
                                  struct greys *g) {
  MPI_Comm comm = w->job->comm;
  double threshold[VOXEL_CLASSES_MOST];
  TRY_ALL(comm,
          memory_make_raw(w->deep * w->n[1] * w->n[2], sizeof *g->slices, "slices", &g->slices));
  TRY(each_round(w, volume, g, widen));
  voxel_range_sum(comm, g->range);
  TRY_ALL(comm, voxel_histogram_begin(g->range, 1024, &g->histogram));
  TRY(each_round(w, volume, g, count));
  voxel_histogram_sum(comm, &g->histogram);
  TRY_ALL(comm, voxel_otsu(&g->histogram, 4, threshold));
  w->view.threshold = threshold[2];
  return STATUS_OK;
}

static enum status find_threshold(struct work *w) {
  struct reading reading;
  struct align_source volume;
  struct greys greys = {
      .range = {INFINITY, -INFINITY}
  };
  w->view.threshold = -INFINITY;
  if (!w->params->mask_above[0]) return STATUS_OK;
  if (strcmp(w->params->mask_above, "auto") != 0) {
    w->view.threshold = strtod(w->params->mask_above, NULL);
    return STATUS_OK;
  }
  TRY(volume_open(w, &w->source[0], &reading, &volume));
  enum status status = find_brightest(w, &volume, &greys);
  memory_free(greys.slices);
  voxel_histogram_free(&greys.histogram);
  store_close(&reading.input);
  return status;
}

static enum status check_structure(const struct work *w) {
  const struct grid_field *f = &w->fixed;
  const float *data          = f->data;
  float ends[2]              = {INFINITY, INFINITY}; /* least, and the greatest's negative */
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t i = 0; i < f->row[0]; i++) {
      float value = data[(z + f->halo[0]) * f->row[0] + i];
      ends[0]     = fminf(ends[0], value);
      ends[1]     = fminf(ends[1], -value);
    }
  MPI_Allreduce(MPI_IN_PLACE, ends, 2, MPI_FLOAT, MPI_MIN, w->job->comm);
  if (ends[0] < -ends[1]) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s: nothing to align by in the box and above the grey value %g",
              w->source[0].of.name, w->view.threshold);
}

/* Writes the first state's own volume, level where that is asked for, as its aligned one, and looks at it as it is. */
static enum status hold_first(struct work *w, const struct stage_job *job, bool is_done) {
  const struct voxel_map level = align_level_map(w->level, w->voxel_um, w->n);
  if (!is_done) TRY(write_aligned(w, job, &w->source[0], is_tilted(w) ? &level : NULL));
  TRY(find_threshold(w));
  TRY(look_at(w, &w->source[0], &w->fixed));
  return AGREE(job->comm, check_structure(w));
}

/* ---- all of them ------------------------------------------------------------------------------------------------------ */

enum { TEXT_BYTES = 1 << 20 };

static double number_of(const struct config_node *node) {
  const char *text = config_scalar(node);
  return text && strcmp(text, "null") != 0 ? strtod(text, NULL) : (double)NAN;
}

/* The rows that a finished file holds. */
static enum status read_rows(MPI_Comm comm, const char *path, char *text,
                             struct stage_results *results) {
  struct config_file *file;
  bool found;
  TRY(store_get_text(comm, path, "/entry/process/results_json", &found, text, TEXT_BYTES));
  if (!found) return STATUS_OK;
  TRY_ALL(comm, config_file_parse(path, text, (int64_t)strlen(text), &file));
  const struct config_node *list = config_get(config_root(file), "results");
  for (int i = 0; i < config_count(list); i++) {
    const struct config_node *node = config_item(list, i);
    const char *unit               = config_scalar(config_get(node, "unit")),
               *of                 = strchr(config_key(list, i), '@');
    const char *state              = config_scalar(config_get(node, "state"));
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(config_key(list, i), "@"),
             config_key(list, i));
    struct stage_result *row =
        stage_result_add(results, name, number_of(config_get(node, "value")), unit ? unit : "");
    if (!row) continue;
    row->sigma = number_of(config_get(node, "sigma"));
    snprintf(row->of, sizeof row->of, "%s", of ? of + 1 : "");
    snprintf(row->state, sizeof row->state, "%s", state ? state : "");
  }
  config_file_close(&file);
  return STATUS_OK;
}

/* Was this state's file made by the same work? Then its rows are taken from it. */
static enum status look_if_done(const struct stage_job *job, bool *done) {
  char *text;
  int there = log_is_speaker() && job->output[0] && access(job->output, R_OK) == 0;
  MPI_Bcast(&there, 1, MPI_INT, 0, job->comm);
  *done = false;
  if (!there || !job->record[0] || job->common->force) return STATUS_OK;
  TRY_ALL(job->comm, memory_make(TEXT_BYTES, 1, "a record", &text));
  enum status status = store_get_text(job->comm, job->output, "/entry/process/effective_yaml", done,
                                      text, TEXT_BYTES);
  *done              = status == STATUS_OK && *done && strcmp(text, job->record) == 0;
  if (*done) status = read_rows(job->comm, job->output, text, job->results);
  memory_free(text);
  if (status == STATUS_INPUT || status == STATUS_USAGE) { /* damaged: made anew */
    *done = false;
    stage_results_free(job->results);
    status_clear();
    status = STATUS_OK;
  }
  return status;
}

static void add_all(const struct stage_results *from, struct stage_results *to) {
  for (int i = 0; i < from->n; i++) {
    struct stage_result *row =
        stage_result_add(to, from->row[i].name, from->row[i].value, from->row[i].unit);
    if (row) *row = from->row[i];
  }
}

static enum status do_state(struct work *w, int at) {
  struct stage_results results = {NULL, 0, 0};
  struct stage_job job;
  char *record = NULL;
  bool done    = false;
  TRY_ALL(w->job->comm, state_job(w, &w->source[at], &results, &job, &record));
  enum status status = look_if_done(&job, &done);
  if (status == STATUS_OK && at == 0) status = hold_first(w, &job, done);
  if (status == STATUS_OK && at > 0 && !done) status = align_one(w, &w->source[at], &job);
  if (status == STATUS_OK) add_all(&results, w->job->results);
  stage_results_free(&results);
  memory_free(record);
  log_progress("align", at + 1, w->sources);
  return status;
}

static enum status write_table(const struct stage_job *job) {
  struct store_output *output;
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, 1 << 20, &output));
  enum status status = store_ready(job->comm, output);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct work w;
  enum status status = work_begin(job, &w);
  if (status == STATUS_OK)
    log_info("align: %d volumes of %lld x %lld x %lld voxels, %lld rounds of %lld slices a rank",
             w.sources, (long long)w.n[0], (long long)w.n[1], (long long)w.n[2],
             (long long)w.rounds, (long long)w.deep);
  if (status == STATUS_OK && w.view.halvings > 0)
    log_info("align: begins on means of %d voxels along each axis, ends on what is read by %lld "
             "slices a rank",
             1 << w.view.halvings, (long long)w.view.deep);
  for (int i = 0; i < w.sources && status == STATUS_OK; i++) {
    status = stop_agree(job->comm);
    if (status == STATUS_OK) status = do_state(&w, i);
  }
  if (status == STATUS_OK) status = write_table(job);
  if (status == STATUS_OK && w.refused)
    status = AGREE(job->comm, FAIL(STATUS_NOT_CONVERGED, "%d of %d volumes cannot be aligned; %s",
                                   w.refused, w.sources - 1, w.words));
  work_end(&w);
  return status;
}

const struct stage align_stage = {
    .name       = "align",
    .words      = "every state's volume onto the first, by what does not change",
    .params     = &param_set,
    .reads      = "volume",
    .writes     = "aligned",
    .all_states = true,
    .check      = check,
    .plan       = plan,
    .run        = run,
};
