/* The stage: labels of all states, one after the other, in rounds of planes; growth as a product, change and lineage per state. The volume's
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
  struct grid_plan plan; /* of the box: slabs along z */
  int64_t limit_bytes, need_bytes, deep,
      rounds; /* of a rank; planes of a round; rounds of a state */
};

static void work_free(struct work *w) {
  grid_plan_free(&w->plan);
  memory_free(w->source);
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct track_params *p = params;
  (void)common;
  if (p->phase < 0) return FAIL(STATUS_USAGE, "track has to be told what to follow: --phase N");
  return STATUS_OK;
}

static int64_t presence_bytes(int states) {
  return states > TRACK_PRESENCE_MOST ? 0 : states > 16 ? 4 : states > 8 ? 2 : 1;
}

enum { PLANES_MOST = 64, RUN_BYTES = 16, VOXELS_A_RUN = 64 };

/* As many planes a round as memory lets, beside the runs of all states; what these really take is seen as they come. */
static void size_rounds(struct work *w) {
  const int64_t *n = w->plan.n, plane = n[1] * n[2], most = grid_plan_box(&w->plan, 0).n[0],
                each = (1 + presence_bytes(w->sources)) * plane;
  int64_t kept  = w->sources * (most * plane / VOXELS_A_RUN * RUN_BYTES + 8 * (most * n[1] + 1)),
          fixed = kept + 2 * each + plane / 4 + 64 * n[2] + (1 << 20);
  w->deep       = (w->limit_bytes - fixed) / each;
  if (w->deep > PLANES_MOST) w->deep = PLANES_MOST;
  if (w->deep > most) w->deep = most;
  if (w->deep < 1) w->deep = 1;
  w->need_bytes = fixed + w->deep * each;
  w->rounds     = (most + w->deep - 1) / w->deep;
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
  TRY_ALL(job->comm, stage_box_parse("track.box", w->params->box, w->n, &w->box));
  TRY_ALL(job->comm, grid_plan_slabs(job->comm, w->box.n, 0, &w->plan));
  TRY(stage_memory_limit(job, &w->limit_bytes));
  size_rounds(w);
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct work w;
  enum status status = work_begin(job, &w);
  if (status == STATUS_OK)
    *need = (struct stage_need){
        .memory_bytes = w.need_bytes,
        .disk_bytes   = (1 + presence_bytes(w.sources)) * grid_box_voxels(&w.box) + (1 << 20),
        .rounds       = w.sources * w.rounds};
  work_free(&w);
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

struct reading {
  const struct work *work;
  struct store_input *input;
};

static enum status read_planes(void *owner, const struct grid_box *box, uint8_t *labels) {
  const struct reading *r = owner;
  int64_t start[3];
  for (int a = 0; a < 3; a++) start[a] = r->work->box.start[a] + box->start[a];
  return store_read_box(r->work->job->comm, r->input, start, box->n, GRID_U8, true, labels);
}

/* Runs are as many as the labels have; those of a volume of noise may be too many. */
static enum status check_memory(const struct work *w, int at) {
  if (memory_now_bytes() <= w->limit_bytes) return STATUS_OK;
  return FAIL(STATUS_MEMORY,
              "the phase of the first %d states takes %.3g GB per rank, %.3g GB are allowed; "
              "remove its specks "
              "(segment.min_voxels) or use more nodes",
              at + 1, 1e-9 * (double)memory_now_bytes(), 1e-9 * (double)w->limit_bytes);
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
  MPI_Comm comm        = w->job->comm;
  struct reading owner = {w, NULL};
  struct track_change change;
  TRY(store_open(comm, w->source[at].name, "labels", 3, &owner.input));
  const struct track_labels labels = {read_planes, &owner, w->deep};
  enum status status               = AGREE(comm, check_shape(w, store_info(owner.input)));
  if (status == STATUS_OK) status = track_add(comm, w->params, &labels, track, &change);
  store_close(&owner.input);
  if (status == STATUS_OK) status = AGREE(comm, check_memory(w, at));
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

/* Planes of growth and presence, and room for a row. */
struct planes {
  uint8_t *growth;
  void *presence; /* NULL: more states than bits */
  uint32_t *bits; /* of a row */
  int32_t *line;
};

static void planes_free(struct planes *p) {
  memory_free(p->growth);
  memory_free(p->presence);
  memory_free(p->bits);
  memory_free(p->line);
}

static enum status planes_make(const struct work *w, struct planes *p) {
  int64_t voxels = w->deep * w->plan.n[1] * w->plan.n[2], bytes = presence_bytes(w->sources);
  *p = (struct planes){NULL, NULL, NULL, NULL};
  TRY(memory_make_raw(voxels, 1, "growth", &p->growth));
  TRY(memory_make_raw(w->plan.n[2], sizeof *p->bits, "a row", &p->bits));
  TRY(memory_make_raw(w->plan.n[2] + VOXEL_ROW_SPARE, sizeof *p->line, "a row", &p->line));
  return bytes ? memory_make_raw(voxels, (size_t)bytes, "presence", &p->presence) : STATUS_OK;
}

static void put_bits(const uint32_t *bits, int64_t n, int64_t bytes, void *to) {
  for (int64_t i = 0; i < n && bytes == 1; i++) ((uint8_t *)to)[i] = (uint8_t)bits[i];
  for (int64_t i = 0; i < n && bytes == 2; i++) ((uint16_t *)to)[i] = (uint16_t)bits[i];
  for (int64_t i = 0; i < n && bytes == 4; i++) ((uint32_t *)to)[i] = bits[i];
}

/* Planes first .. first + n - 1 of this rank's box. */
static void planes_fill(const struct work *w, const struct track *track, int64_t first, int64_t n,
                        struct planes *p) {
  int64_t ny = w->plan.n[1], nx = w->plan.n[2], bytes = presence_bytes(w->sources);
  for (int64_t q = 0; q < n * ny; q++) {
    track_row(track, first + q / ny, q % ny, p->line, p->growth + q * nx,
              p->presence ? p->bits : NULL);
    if (p->presence) put_bits(p->bits, nx, bytes, (char *)p->presence + q * nx * bytes);
  }
}

static enum status write_planes(const struct work *w, struct store_output *output,
                                const struct track *track, struct planes *p) {
  const struct grid_box mine = grid_plan_mine(&w->plan);
  for (int64_t k = 0; k < w->rounds; k++) {
    int64_t first = k * w->deep < mine.n[0] ? k * w->deep : mine.n[0], rest = mine.n[0] - first,
            core           = rest < w->deep ? rest : w->deep;
    const int64_t start[3] = {mine.start[0] + first, 0, 0},
                  n[3]     = {core, w->plan.n[1], w->plan.n[2]};
    planes_fill(w, track, first, core, p);
    TRY(store_write_box(w->job->comm, output, "growth", false, start, n, p->growth));
    if (p->presence)
      TRY(store_write_box(w->job->comm, output, "presence", false, start, n, p->presence));
  }
  return STATUS_OK;
}

static enum status write_growth(const struct work *w, struct store_output *output,
                                const struct track *track) {
  MPI_Comm comm = w->job->comm;
  int64_t bytes = presence_bytes(w->sources);
  struct planes planes;
  TRY(store_create(comm, output, "growth", w->plan.n, w->voxel_um, NULL, false));
  if (bytes)
    TRY(store_create_as(comm, output, "presence",
                        bytes == 1   ? GRID_U8
                        : bytes == 2 ? GRID_U16
                                     : GRID_U32,
                        w->plan.n, w->voxel_um, NULL, false));
  TRY(store_default(comm, output, "growth"));
  TRY(store_ready(comm, output));
  enum status status = AGREE(comm, planes_make(w, &planes));
  if (status == STATUS_OK) status = write_planes(w, output, track, &planes);
  planes_free(&planes);
  TRY(status);
  TRY(write_lineage(w->job, output, track));
  return store_note(comm, output, "growth_values",
                    "0 never of the phase; 1 from the first state on; k gained in state k; 128 + k "
                    "lost in state k; states count from 1, the last change stands");
}

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

/* The middle slice across an axis (0 or 1), on the ranks that have it. */
static enum status slice_make(const struct work *w, int axis, struct grid_field *slice) {
  int64_t n[3] = {w->plan.n[0], w->plan.n[1], w->plan.n[2]}, middle = n[axis] / 2, *share;
  struct grid_plan plan = {.cut = {NULL}};
  n[axis]               = 1;
  TRY_ALL(w->job->comm, memory_make(w->plan.size, sizeof *share, "shares", &share));
  for (int r = 0; r < w->plan.size; r++) {
    struct grid_box box = grid_plan_box(&w->plan, r);
    share[r] = axis ? box.n[0] : middle >= box.start[0] && middle < box.start[0] + box.n[0];
  }
  enum status status = AGREE(w->job->comm, grid_plan_cuts(w->job->comm, n, 0, share, &plan));
  memory_free(share);
  if (status == STATUS_OK) status = grid_field_make(w->job->comm, &plan, GRID_U8, NULL, slice);
  grid_plan_free(&plan);
  if (status == STATUS_OK) memcpy(slice->voxel_um, w->voxel_um, sizeof w->voxel_um);
  return status;
}

static enum status slice_fill(const struct work *w, const struct track *track, int axis,
                              struct grid_field *slice) {
  int64_t z0 = axis ? 0 : w->plan.n[0] / 2 - grid_plan_mine(&w->plan).start[0],
          y0 = axis ? w->plan.n[1] / 2 : 0, nx = w->plan.n[2];
  int32_t *line;
  TRY(memory_make_raw(nx + VOXEL_ROW_SPARE, sizeof *line, "a row", &line));
  for (int64_t z = 0; z < slice->mine.n[0]; z++)
    for (int64_t y = 0; y < slice->mine.n[1]; y++)
      track_row(track, z0 + z, y0 + y, line,
                (uint8_t *)slice->data + (z * slice->mine.n[1] + y) * nx, NULL);
  memory_free(line);
  return STATUS_OK;
}

/* OUTPUT_zx.png and OUTPUT_yx.png: slices through the middle in the colours of the states. */
static enum status draw(const struct work *w, const struct track *track) {
  static const char *const word[2] = {"yx", "zx"};
  const char *output               = w->job->output;
  char path[STORE_NAME_BYTES];
  size_t n = strlen(output);
  if (n > 3 && strcmp(output + n - 3, ".h5") == 0) n -= 3;
  for (int axis = 0; axis < 2; axis++) {
    struct grid_field slice = {.data = NULL};
    snprintf(path, sizeof path, "%.*s_%s.png", (int)(n < 2000 ? n : 2000), output, word[axis]);
    enum status status = slice_make(w, axis, &slice);
    if (status == STATUS_OK) status = AGREE(w->job->comm, slice_fill(w, track, axis, &slice));
    if (status == STATUS_OK) status = picture_stages(w->job->comm, &slice, axis, 0, path);
    grid_field_free(&slice);
    TRY(status);
  }
  return STATUS_OK;
}

static enum status write_output(const struct work *w, const struct track *track) {
  struct store_output *output;
  int64_t voxels = grid_box_voxels(&w->box);
  if (!w->job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(w->job, (1 + presence_bytes(w->sources)) * voxels + (1 << 20), &output));
  enum status status = write_growth(w, output, track);
  if (status == STATUS_OK) status = draw(w, track);
  if (status == STATUS_OK) return stage_output_commit(w->job, &output);
  store_abandon(w->job->comm, &output, false);
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
  if (status == STATUS_OK) status = AGREE(job->comm, track_begin(&w.plan, &track));
  if (w.sources > TRACK_PRESENCE_MOST)
    log_warning("track: presence has room for %d states; %d are given: it is left out",
                TRACK_PRESENCE_MOST, w.sources);
  for (int i = 0; i < w.sources && status == STATUS_OK; i++) {
    status = stop_agree(job->comm);
    if (status == STATUS_OK) status = do_state(&w, i, &track, &first);
    log_progress("track", i + 1, w.sources);
  }
  if (status == STATUS_OK) status = add_surfaces(&w);
  if (status == STATUS_OK) status = write_output(&w, &track);
  track_free(&track);
  work_free(&w);
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
