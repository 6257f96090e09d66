/* The stage: the first state's volume keeps still and is handed on as it is (or level); each further one is looked at, fitted,
 * read again and resampled, in rounds of slices where it is larger than memory; looks that do not fit are binned, and the fit
 * ends on what is read again. One table for all, one file with `aligned` per state. A state's file whose record is
 * today's is kept, so that a run that was killed goes on with the state it was at. A state that cannot be aligned
 * keeps no `aligned`: the table says so, and the status. */
#include "align_stage.h"
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

static void name_output(const struct stage_job *job, int at, struct align_state *source) {
  size_t n      = strlen(job->output);
  int of_states = source->of.at;
  if (n > 3 && strcmp(job->output + n - 3, ".h5") == 0) n -= 3;
  if (of_states >= 0)
    snprintf(source->output, sizeof source->output, "%.2000s/align.h5",
             job->input->states[of_states].folder);
  else if (n > 0)
    snprintf(source->output, sizeof source->output, "%.*s.%d.h5", (int)n, job->output, at + 1);
}

static enum status find_sources(struct align_work *w) {
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

/* What the first volume's header says. */
static enum status read_head(struct align_work *w) {
  struct store_input *input;
  TRY(store_open(w->job->comm, w->source[0].of.name, "volume", 3, &input));
  const struct store_info *info = store_info(input);
  memcpy(w->n, info->n, sizeof w->n);
  memcpy(w->voxel_um, info->voxel_um, sizeof w->voxel_um);
  snprintf(w->unit, sizeof w->unit, "%s", info->unit);
  store_close(&input);
  return AGREE(w->job->comm, stage_box_parse("align.box", w->params->box, w->n, &w->view.box));
}

static enum status work_begin(const struct stage_job *job, struct align_work *w) {
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
  if (status == STATUS_OK) status = AGREE(job->comm, align_rounds_size(w, limit));
  return status;
}

static void work_end(struct align_work *w) {
  grid_field_free(&w->fixed);
  grid_plan_free(&w->slabs);
  memory_free(w->source);
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct align_work w;
  enum status status = work_begin(job, &w);
  if (status == STATUS_OK)
    *need = (struct stage_need){
        .memory_bytes = w.need_bytes,
        .disk_bytes   = w.sources * (4 * w.n[0] * w.n[1] * w.n[2] + (1 << 20)) + (1 << 20),
        .rounds       = w.sources * w.rounds};
  work_end(&w);
  return status;
}

/* The job of one state's file: the table's record and the state, and the state's own results. */
static enum status state_job(const struct align_work *w, const struct align_state *source,
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

static enum status look_at(struct align_work *w, const struct align_state *source,
                           struct grid_field *look) {
  struct align_reading reading;
  struct align_source volume;
  TRY(align_volume_open(w, source, &reading, &volume));
  enum status status = align_look(w->job->comm, w->params, &volume, &w->view, look);
  store_close(&reading.input);
  return status;
}

/* An `aligned` of an earlier run must not stand beside a refusal. */
static enum status remove_stale(const struct align_state *source) {
  if (!log_is_speaker() || !source->output[0] || unlink(source->output) == 0 || errno == ENOENT)
    return STATUS_OK;
  return FAIL(STATUS_OUTPUT, "%s cannot be removed: %s", source->output, strerror(errno));
}

static enum status refuse(struct align_work *w, const struct align_state *source,
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
static struct voxel_map levelled(const struct align_work *w, const struct voxel_map *map) {
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

/* The tilt that is to be found, before the first volume is handed on. */
static enum status find_level(struct align_work *w) {
  struct align_reading reading;
  struct align_source volume;
  struct align_level level;
  static const char *const names[2] = {"level_y_deg", "level_x_deg"};
  if (!align_level_is_auto(w->params)) return STATUS_OK;
  TRY(align_volume_open(w, &w->source[0], &reading, &volume));
  enum status status = align_level_find(w->job->comm, &volume, &w->view.box, w->view.deep, &level);
  store_close(&reading.input);
  TRY(status);
  memcpy(w->level, level.slope, sizeof w->level);
  for (int a = 0; a < 2; a++) {
    struct stage_result *row =
        stage_result_add(w->job->results, names[a], atan(level.slope[a]) * DEG_PER_RAD, "deg");
    if (row) row->sigma = level.sigma[a] / (1 + level.slope[a] * level.slope[a]) * DEG_PER_RAD;
  }
  log_info("align: layers rise by %.3f deg along y and %.3f deg along x (%lld blocks of columns)",
           atan(level.slope[0]) * DEG_PER_RAD, atan(level.slope[1]) * DEG_PER_RAD,
           (long long)level.blocks);
  return STATUS_OK;
}

static bool is_tilted(const struct align_work *w) { return w->level[0] != 0 || w->level[1] != 0; }

/* Where looks are binned both volumes are open, for the fit on single voxels. */
static enum status find_binned(struct align_work *w, const struct align_state *source,
                               struct grid_field *look, struct align_report *report) {
  struct align_reading reading[2];
  struct align_source volumes[2];
  TRY(align_volume_open(w, &w->source[0], &reading[0], &volumes[0]));
  enum status status = align_volume_open(w, source, &reading[1], &volumes[1]);
  if (status == STATUS_OK) {
    status = align_find(w->job->comm, w->params, &w->fixed, look, volumes, &w->view, report);
    store_close(&reading[1].input);
  }
  store_close(&reading[0].input);
  return status;
}

/* Looks at a state and finds its motion against the first one. */
static enum status find_motion(struct align_work *w, const struct align_state *source,
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

static enum status align_one(struct align_work *w, const struct align_state *source,
                             const struct stage_job *job) {
  struct align_report report;
  TRY(find_motion(w, source, &report));
  bool poor = !report.converged || !(report.quality >= w->params->least_quality);
  add_rows(&report, source->of.state, poor, job->results);
  if (poor) return refuse(w, source, &report);
  struct voxel_map map = report.map;
  if (is_tilted(w)) map = levelled(w, &report.map);
  return align_write(w, job, source, &map);
}

static enum status check_structure(const struct align_work *w) {
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
static enum status hold_first(struct align_work *w, const struct stage_job *job, bool is_done) {
  const struct voxel_map level = align_level_map(w->level, w->voxel_um, w->n);
  if (!is_done) TRY(align_write(w, job, &w->source[0], is_tilted(w) ? &level : NULL));
  TRY(align_threshold_find(w));
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

static enum status do_state(struct align_work *w, int at) {
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
  struct align_work w;
  enum status status = work_begin(job, &w);
  if (status == STATUS_OK)
    log_info("align: %d volumes of %lld x %lld x %lld voxels, %lld rounds of %lld slices a rank",
             w.sources, (long long)w.n[0], (long long)w.n[1], (long long)w.n[2],
             (long long)w.rounds, (long long)w.deep);
  if (status == STATUS_OK && w.view.halvings > 0)
    log_info("align: begins on means of %d voxels along each axis, ends on what is read by %lld "
             "slices a rank",
             1 << w.view.halvings, (long long)w.view.deep);
  if (status == STATUS_OK) status = find_level(&w);
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
    .name           = "align",
    .words          = "every state's volume onto the first, by what does not change",
    .params         = &param_set,
    .reads          = "volume",
    .writes         = "aligned",
    .all_states     = true,
    .file_per_state = true,
    .check          = check,
    .plan           = plan,
    .run            = run,
};
