/* The stage: labels of all states, one after the other; growth as a product, change and lineage per state. The volume's
 * standard deviation is that of counting whole voxels: a face's place is even within a voxel, so each face of the phase
 * adds 1/12 of a voxel squared, independently. What a wrong threshold adds is not in it. */
#include "track.h"
#include "picture.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_OWNER struct track_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "track_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("track", struct track_params, rows);

struct work {
  const struct stage_job *job;
  const struct track_params *params;
  struct stage_source *source;
  int sources;
  int64_t n[3];
  double voxel_um[3];
  struct grid_box box;
};

static enum status check(const void *params, const struct stage_common *common) {
  const struct track_params *p = params;
  (void)common;
  if (p->phase < 0) return FAIL(STATUS_USAGE, "track has to be told what to follow: --phase N");
  return STATUS_OK;
}

static enum status work_begin(const struct stage_job *job, struct work *w) {
  struct store_input *input;
  memset(w, 0, sizeof *w);
  w->job    = job;
  w->params = job->params;
  TRY(stage_sources_find(job, "labels", w->params->labels,
                         "--labels FILE[:DATASET]... is missing: the states", &w->source,
                         &w->sources));
  TRY(store_open(job->comm, w->source[0].name, "labels", 3, &input));
  memcpy(w->n, store_info(input)->n, sizeof w->n);
  memcpy(w->voxel_um, store_info(input)->voxel_um, sizeof w->voxel_um);
  store_close(&input);
  return AGREE(job->comm, stage_box_parse("track.box", w->params->box, w->n, &w->box));
}

static int64_t presence_bytes(int states) {
  return states > TRACK_PRESENCE_MOST ? 0 : states > 16 ? 4 : states > 8 ? 2 : 1;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct work w;
  struct grid_plan slabs;
  enum status status = work_begin(job, &w);
  if (status == STATUS_OK)
    status = AGREE(job->comm, grid_plan_slabs(job->comm, w.box.n, 0, &slabs));
  if (status == STATUS_OK) {
    struct grid_box first = grid_plan_box(&slabs, 0);
    int64_t own = grid_plan_most(&slabs), key = 4;
    for (int a = 0; a < 3; a++) key *= first.n[a] + 2;
    int64_t presence = presence_bytes(w.sources);
    *need            = (struct stage_need){.memory_bytes = 2 * own + 2 * key + (2 + presence) * own,
                                           .disk_bytes = (1 + presence) * grid_box_voxels(&w.box) + (1 << 20),
                                           .rounds     = w.sources};
    grid_plan_free(&slabs);
  }
  memory_free(w.source);
  return status;
}

/* ---- one state --------------------------------------------------------------------------------------------- */

static enum status check_shape(const struct work *w, const struct store_info *info) {
  for (int a = 0; a < 3; a++)
    if (info->n[a] != w->n[a])
      return FAIL(STATUS_INPUT, "%s has %lld voxels along %c, the first state has %lld", info->file,
                  (long long)info->n[a], "zyx"[a], (long long)w -> n[a]);
  return STATUS_OK;
}

static enum status read_labels(const struct work *w, int at, struct grid_field *labels) {
  MPI_Comm comm = w->job->comm;
  struct store_input *input;
  struct grid_plan slabs;
  TRY(store_open(comm, w->source[at].name, "labels", 3, &input));
  enum status status = AGREE(comm, check_shape(w, store_info(input)));
  if (status == STATUS_OK) status = AGREE(comm, grid_plan_slabs(comm, w->box.n, 0, &slabs));
  if (status == STATUS_OK) {
    status = grid_field_make(comm, &slabs, GRID_U8, NULL, labels);
    grid_plan_free(&slabs);
  }
  if (status == STATUS_OK) status = store_read_field_box(comm, input, &w->box, true, labels);
  memcpy(labels->voxel_um, w->voxel_um, sizeof w->voxel_um);
  store_close(&input);
  return status;
}

static struct stage_result *add(const struct work *w, int at, const char *name, double value,
                                const char *unit) {
  struct stage_result *row = stage_result_add(w->job->results, name, value, unit);
  if (row) snprintf(row->of, sizeof row->of, "%s", w->source[at].state);
  return row;
}

static void add_results(const struct work *w, int at, const struct track_change *first,
                        const struct track_change *c) {
  double base = (double)first->voxels, share = base > 0 ? (double)c->voxels / base : (double)NAN;
  double own = sqrt((double)c->faces / 12), start = share * sqrt((double)first->faces / 12);
  add(w, at, "phase_voxels", (double)c->voxels, "vox");
  add(w, at, "phase_components", (double)c->components, "");
  if (at == 0) return;
  struct stage_result *row = add(w, at, "volume_change_percent", 100 * (share - 1), "%");
  if (row && base > 0) row->sigma = 100 * hypot(own, start) / base;
  if (row && !(base > 0)) snprintf(row->state, sizeof row->state, "undefined");
  add(w, at, "gained_voxels", (double)c->gained, "vox");
  add(w, at, "lost_voxels", (double)c->lost, "vox");
  add(w, at, "births", (double)c->births, "");
  add(w, at, "deaths", (double)c->deaths, "");
  add(w, at, "splits", (double)c->splits, "");
  add(w, at, "merges", (double)c->merges, "");
}

static enum status do_state(const struct work *w, int at, struct track *track,
                            struct track_change *first) {
  struct grid_field labels;
  struct track_change change;
  memset(&labels, 0, sizeof labels);
  enum status status = read_labels(w, at, &labels);
  if (status == STATUS_OK) status = track_add(w->job->comm, w->params, &labels, track, &change);
  grid_field_free(&labels);
  TRY(status);
  if (at == 0) *first = change;
  add_results(w, at, first, &change);
  return STATUS_OK;
}

static enum status write_lineage(const struct stage_job *job, struct store_output *output,
                                 const struct track *track) {
  static const char *const names[TRACK_KIN] = {"state", "from", "to", "shared_voxels", "kind"},
                           *const units[TRACK_KIN] = {"", "", "", "vox", ""};
  const double *column[TRACK_KIN];
  double *value;
  int64_t n = track->kin_n;
  if (n == 0) return STATUS_OK;
  TRY_ALL(job->comm, memory_make(TRACK_KIN * n, sizeof *value, "a lineage", &value));
  for (int k = 0; k < TRACK_KIN; k++) {
    column[k] = value + k * n;
    for (int64_t i = 0; i < n; i++) value[k * n + i] = (double)track->kin[i][k];
  }
  enum status status =
      store_table(job->comm, output, "lineage", names, units, TRACK_KIN, column, n);
  memory_free(value);
  TRY(status);
  return store_note(
      job->comm, output, "lineage_kinds",
      "state counts from 1; from and to: components (26-connected, in raster order) of the "
      "state before and of this one, 0: none; kind 0 lives on, 1 birth, 2 death, 3 one of "
      "several parts, 4 one of several that merge, 5 both");
}

static enum status write_growth(const struct stage_job *job, struct store_output *output,
                                const struct track *track) {
  const struct grid_field *growth   = &track->growth;
  const struct grid_field *presence = &track->presence;
  TRY(store_create(job->comm, output, "growth", growth->plan.n, growth->voxel_um, NULL, false));
  if (presence->data)
    TRY(store_create_as(job->comm, output, "presence", presence->type, growth->plan.n,
                        growth->voxel_um, NULL, false));
  TRY(store_default(job->comm, output, "growth"));
  TRY(store_ready(job->comm, output));
  TRY(store_write_field(job->comm, output, "growth", growth, 0));
  if (presence->data) TRY(store_write_field(job->comm, output, "presence", presence, 0));
  TRY(write_lineage(job, output, track));
  return store_note(job->comm, output, "growth_values",
                    "0 never of the phase; 1 from the first state on; k gained in state k; 128 + k "
                    "lost in state k; states count from 1, the last change stands");
}

/* OUTPUT_zx.png and OUTPUT_yx.png: slices through the middle in the colours of the states. */
static enum status draw(const struct stage_job *job, const struct grid_field *growth) {
  static const char *const word[2] = {"yx", "zx"};
  char path[STORE_NAME_BYTES];
  size_t n = strlen(job->output);
  if (n > 3 && strcmp(job->output + n - 3, ".h5") == 0) n -= 3;
  for (int axis = 0; axis < 2; axis++) {
    snprintf(path, sizeof path, "%.*s_%s.png", (int)(n < 2000 ? n : 2000), job->output, word[axis]);
    TRY(picture_stages(job->comm, growth, axis, growth->plan.n[axis] / 2, path));
  }
  return STATUS_OK;
}

static enum status write_output(const struct stage_job *job, const struct track *track) {
  struct store_output *output;
  const int64_t *n = track->growth.plan.n;
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, (1 + presence_bytes(track->states)) * n[0] * n[1] * n[2] + (1 << 20),
                         &output));
  enum status status = write_growth(job, output, track);
  if (status == STATUS_OK) status = draw(job, &track->growth);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

/* ---- the surface's results of every state ------------------------------------------------------------------------ */

enum { TEXT_BYTES = 1 << 20 };

static double number_of(const struct config_node *results, const char *name, const char *key) {
  const char *text = config_scalar(config_get(config_get(results, name), key));
  return text && strcmp(text, "null") != 0 ? strtod(text, NULL) : (double)NAN;
}

struct surface {
  double Ra, Ra_sigma, envelope, envelope_sigma, points;
};

static enum status surface_parse(const char *path, const char *text, struct surface *to) {
  struct config_file *file;
  TRY(config_file_parse(path, text, (int64_t)strlen(text), &file));
  const struct config_node *results = config_get(config_root(file), "results");
  *to = (struct surface){number_of(results, "Ra_um", "value"), number_of(results, "Ra_um", "sigma"),
                         number_of(results, "envelope_volume_um3", "value"),
                         number_of(results, "envelope_volume_um3", "sigma"),
                         number_of(results, "points", "value")};
  config_file_close(&file);
  return STATUS_OK;
}

static void add_surface(const struct work *w, int at, const struct surface *first,
                        const struct surface *now) {
  struct stage_result *row = add(w, at, "Ra_um", now->Ra, "um");
  if (row) row->sigma = now->Ra_sigma;
  if (at == 0) return;
  add(w, at, "Ra_change_percent", 100 * (now->Ra / first->Ra - 1), "%");
  row = add(w, at, "envelope_change_percent", 100 * (now->envelope / first->envelope - 1), "%");
  /* the threshold's error is the same in all states, so it moves their ratio by the difference of its parts alone; but an
   * aligned volume is interpolated, which moves its surface by up to a twentieth of a voxel against the first state's */
  double thick_um  = now->envelope / (now->points * w->voxel_um[1] * w->voxel_um[2]),
         threshold = now->envelope_sigma / now->envelope - first->envelope_sigma / first->envelope;
  if (row) row->sigma = 100 * hypot(threshold, 0.05 * w->voxel_um[0] / thick_um);
}

/* The file of stage surface of a state; looked up on rank 0. */
static bool find_surface(const struct work *w, int at, char path[STORE_NAME_BYTES]) {
  int state = w->source[at].at;
  bool here =
      state >= 0 && log_is_speaker() &&
      stage_bundle_find(&w->job->input->states[state], "height", false, path, STORE_NAME_BYTES) &&
      strrchr(path, ':');
  if (here)
    *strrchr(path, ':') = 0;
  else
    path[0] = 0;
  MPI_Bcast(path, STORE_NAME_BYTES, MPI_CHAR, 0, w->job->comm);
  return path[0] != 0;
}

/* In a cycle, what stage surface found, so that one table holds roughness and volume against the states. */
static enum status add_surfaces(const struct work *w) {
  struct surface first = {0}, now;
  char *text, path[STORE_NAME_BYTES];
  bool found;
  TRY_ALL(w->job->comm, memory_make(TEXT_BYTES, 1, "results", &text));
  enum status status = STATUS_OK;
  for (int i = 0; i < w->sources && status == STATUS_OK; i++) {
    if (!find_surface(w, i, path)) continue;
    status =
        store_get_text(w->job->comm, path, "/entry/process/results_json", &found, text, TEXT_BYTES);
    if (status != STATUS_OK || !found) continue;
    status = AGREE(w->job->comm, surface_parse(path, text, &now));
    if (i == 0) first = now;
    if (status == STATUS_OK) add_surface(w, i, &first, &now);
  }
  memory_free(text);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct work w;
  struct track track;
  struct track_change first = {0};
  memset(&track, 0, sizeof track);
  enum status status = work_begin(job, &w);
  track.states_most  = w.sources;
  if (w.sources > TRACK_PRESENCE_MOST)
    log_warning("track: presence has room for %d states; %d are given: it is left out",
                TRACK_PRESENCE_MOST, w.sources);
  for (int i = 0; i < w.sources && status == STATUS_OK; i++) {
    status = stop_agree(job->comm);
    if (status == STATUS_OK) status = do_state(&w, i, &track, &first);
    log_progress("track", i + 1, w.sources);
  }
  if (status == STATUS_OK) status = add_surfaces(&w);
  if (status == STATUS_OK) status = write_output(job, &track);
  track_free(&track);
  memory_free(w.source);
  return status;
}

const struct stage track_stage = {
    .name       = "track",
    .words      = "growth, loss and lineage of a phase over the states",
    .params     = &param_set,
    .reads      = "labels,height",
    .writes     = "growth,presence",
    .all_states = true,
    .check      = check,
    .plan       = plan,
    .run        = run,
};
