/* The stage: rounds of rows, in pairs that are the same on any number of ranks. */
#include "recon_field.h"
#include "recon_private.h"
#include "picture.h"
#include "raw.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_OWNER struct recon_params
static const struct config_row param_rows[] = {
#include "config_rows.inc"
#include "recon_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("recon", struct recon_params, param_rows);

/* All that is known before the first round. */
struct work {
  struct raw_tomo scan;
  int64_t row0, rows, pairs_per_rank, rounds;
  double voxel_um, *weight_rad, spread_px; /* of the centres found; NAN */
  bool full_turn;
  struct recon_field field;
  struct recon_geometry geometry;
  struct recon_work *maker;                 /* these four are kept from round to round: */
  struct grid_field sinogram, wide, slices; /* new memory costs as much as half a reconstruction */
};

/* ---- parameters ---------------------------------------------------------------------------------------- */

static enum status parse_rows(const char *text, int64_t all, int64_t *first, int64_t *n) {
  long long a = 0, b = all;
  char rest;
  if (text[0] && (sscanf(text, "%lld:%lld%c", &a, &b, &rest) != 2 || a < 0 || b > all || a >= b))
    return FAIL(STATUS_USAGE, "recon.rows = %s; it would be A:B with 0 <= A < B <= %lld", text,
                (long long)all);
  *first = a;
  *n     = b - a;
  return STATUS_OK;
}

static enum status parse_pad(const char *text, int64_t columns, int64_t *pad) {
  char *end;
  *pad = 0;
  if (strcmp(text, "auto") == 0) return STATUS_OK;
  *pad = strtoll(text, &end, 10);
  if (end == text || *end || *pad < 2 * columns || *pad % 2 || *pad > 1 << 24)
    return FAIL(STATUS_USAGE, "recon.pad = %s; it would be auto or an even number of at least %lld",
                text, (long long)(2 * columns));
  return STATUS_OK;
}

static enum status parse_centre(const char *text, int64_t columns, double *centre) {
  char *end;
  *centre = NAN;
  if (strcmp(text, "auto") == 0) return STATUS_OK;
  *centre = strtod(text, &end);
  if (end == text || *end || !(*centre >= 0 && *centre <= (double)(columns - 1)))
    return FAIL(STATUS_USAGE, "recon.centre = %s; it would be auto or a column in 0..%lld", text,
                (long long)(columns - 1));
  return STATUS_OK;
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct recon_params *p = params;
  double voxel[3];
  (void)common;
  TRY(stage_voxel_parse(p->voxel_um, voxel));
  if (voxel[0] != voxel[2])
    return FAIL(STATUS_USAGE, "recon.voxel_um = %s; a reconstruction has cubic voxels",
                p->voxel_um);
  bool circle = strcmp(p->truncated, "circle") == 0;
  if (!circle && p->sample_radius_px > 0)
    return FAIL(STATUS_USAGE, "recon.sample_radius_px = %g serves recon.truncated = circle alone",
                p->sample_radius_px);
  return STATUS_OK;
}

/* ---- what is to be done ----------------------------------------------------------------------------------- */

static bool turns_fully(const struct recon_params *p, const struct raw_tomo *scan) {
  if (strcmp(p->arc, "auto") != 0) return strcmp(p->arc, "360") == 0;
  double low = scan->angle_rad[0], high = low;
  for (int64_t i = 1; i < scan->projections; i++) {
    low  = fmin(low, scan->angle_rad[i]);
    high = fmax(high, scan->angle_rad[i]);
  }
  return high - low > 1.5 * PI;
}

static bool is_truncated(const struct recon_params *p) { return strcmp(p->truncated, "no") != 0; }

static int64_t bytes_per_row(const struct work *w) {
  int64_t columns = w->geometry.columns, detector = w->scan.columns,
          wide = w->field.overlap_px > 0 ? columns * w->scan.projections : 0;
  return 4 * (detector * w->scan.projections + wide + columns * columns +
              2 * detector * (1 + w->scan.flat_count));
}

static int64_t bytes_fixed(const struct recon_params *p, const struct work *w) {
  int64_t filter = is_truncated(p)
                       ? recon_field_filter_bytes(&w->geometry, p->truncated, p->sample_radius_px)
                       : 0;
  return recon_workspace_bytes(p->method, &w->geometry) + filter + ((int64_t)64 << 20) +
         32 * w->scan.projections;
}

enum { BATCH_PAIRS = 8 }; /* gridding is fastest with whole batches */

static enum status size_rounds(const struct stage_job *job, struct work *w) {
  int64_t limit, fixed = bytes_fixed(job->params, w), pair = 2 * bytes_per_row(w),
                 pairs = (w->rows + 1) / 2;
  int size;
  TRY(stage_memory_limit(job, &limit));
  MPI_Comm_size(job->comm, &size);
  int64_t most = (limit - fixed) / pair, wanted = ((int64_t)1 << 30) / pair + 1,
          share     = (pairs + size - 1) / size;
  w->pairs_per_rank = most < wanted ? most : wanted;
  if (w->pairs_per_rank > BATCH_PAIRS) w->pairs_per_rank -= w->pairs_per_rank % BATCH_PAIRS;
  if (w->pairs_per_rank > share) w->pairs_per_rank = share;
  if (w->pairs_per_rank < 1) w->pairs_per_rank = 1;
  w->rounds = (pairs + w->pairs_per_rank * size - 1) / (w->pairs_per_rank * size);
  return STATUS_OK;
}

static enum status prepare_here(const struct stage_job *job, struct work *w) {
  const struct recon_params *p = job->params;
  double voxel[3];
  TRY(parse_rows(p->rows, w->scan.rows, &w->row0, &w->rows));
  TRY(stage_voxel_parse(p->voxel_um, voxel));
  w->voxel_um  = voxel[0] > 0 ? voxel[0] : w->scan.pixel_um;
  w->full_turn = turns_fully(p, &w->scan);
  w->geometry  = (struct recon_geometry){.columns   = w->scan.columns,
                                         .angles    = w->scan.projections,
                                         .angle_rad = w->scan.angle_rad,
                                         .filter    = p->filter,
                                         .rolloff   = p->rolloff};
  TRY(parse_centre(p->centre, w->scan.columns, &w->geometry.centre_px));
  TRY(memory_make(w->scan.projections, sizeof *w->weight_rad, "weights of angles", &w->weight_rad));
  w->geometry.weight_rad = w->weight_rad;
  if (strcmp(p->field, "extended") == 0 && !w->full_turn)
    return FAIL(STATUS_USAGE, "recon.field = extended needs a scan of 360 degrees");
  return recon_weights(w->scan.angle_rad, w->scan.projections, w->weight_rad);
}

static enum status find_centre(const struct stage_job *job, struct work *w);

/* The width of the slices, once the centre is known. */
static enum status choose_field(const struct recon_params *p, struct work *w) {
  double middle = 0.5 * (double)(w->scan.columns - 1), centre = w->geometry.centre_px;
  bool extended =
      strcmp(p->field, "extended") == 0 || (strcmp(p->field, "auto") == 0 && w->full_turn &&
                                            fabs(centre - middle) > 0.1 * (double)w->scan.columns);
  TRY(recon_field_make(w->scan.columns, centre, extended, &w->field));
  if (w->field.overlap_px > 0)
    log_info("recon: axis near an edge: %lld columns from both sides, overlap %.1f",
             (long long)w->field.columns, 2 * w->field.overlap_px);
  w->geometry.columns   = w->field.columns;
  w->geometry.centre_px = w->field.centre_px;
  return parse_pad(p->pad, w->geometry.columns, &w->geometry.pad);
}

/* A detector's own width is known without the centre, an extended one's is not. */
static enum status know_width(const struct stage_job *job, struct work *w, bool work_follows) {
  const struct recon_params *p = job->params;
  bool can_extend              = w->full_turn && strcmp(p->field, "detector") != 0;
  if (isnan(w->geometry.centre_px) && (can_extend || work_follows)) TRY(find_centre(job, w));
  if (isnan(w->geometry.centre_px)) w->geometry.centre_px = 0.5 * (double)(w->scan.columns - 1);
  return AGREE(job->comm, choose_field(p, w));
}

static void work_free(struct work *w) {
  raw_tomo_close(&w->scan);
  memory_free(w->weight_rad);
  recon_work_free(&w->maker);
  grid_field_free(&w->sinogram);
  grid_field_free(&w->wide);
  grid_field_free(&w->slices);
  memset(w, 0, sizeof *w);
}

/* work_follows: not only a forecast. */
static enum status prepare(const struct stage_job *job, bool work_follows, struct work *w) {
  const struct recon_params *p = job->params;
  memset(w, 0, sizeof *w);
  w->spread_px = NAN;
  if (!job->input->input || !job->input->input[0])
    return AGREE(job->comm,
                 FAIL(STATUS_USAGE, "--input FILE[:DATASET] is missing: the scan to reconstruct"));
  if (p->raw_dir[0]) TRY_ALL(job->comm, store_link_allow(p->raw_dir));
  struct raw_tomo_request request = {job->input->input,
                                     p->angles,
                                     p->image_key,
                                     p->flats,
                                     p->darks,
                                     p->kind,
                                     strcmp(p->arc, "auto") == 0 ? 0 : atof(p->arc)};
  enum status status              = raw_tomo_open(job->comm, &request, &w->scan);
  if (status == STATUS_OK) status = AGREE(job->comm, prepare_here(job, w));
  if (status == STATUS_OK) status = know_width(job, w, work_follows);
  if (status == STATUS_OK) status = size_rounds(job, w);
  if (status != STATUS_OK) work_free(w);
  return status;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct work w;
  TRY(prepare(job, false, &w));
  *need = (struct stage_need){
      .memory_bytes = bytes_fixed(job->params, &w) + 2 * w.pairs_per_rank * bytes_per_row(&w),
      .disk_bytes   = 4 * w.rows * w.geometry.columns * w.geometry.columns + (1 << 20),
      .rounds       = w.rounds};
  work_free(&w);
  return STATUS_OK;
}

/* ---- one round ------------------------------------------------------------------------------------------------ */

/* Rows of a round: pairs dealt to the ranks, the last pair may be one row. */
static enum status round_plan(MPI_Comm comm, const struct work *w, int64_t first, int64_t deep,
                              int64_t wide, struct grid_plan *plan) {
  int size;
  MPI_Comm_size(comm, &size);
  int64_t *share, left = w->rows - first;
  TRY(memory_make(size, sizeof *share, "shares of a round", &share));
  int64_t all   = left < 2 * w->pairs_per_rank * size ? left : 2 * w->pairs_per_rank * size;
  int64_t pairs = (all + 1) / 2, total = all;
  for (int r = 0; r < size; r++) {
    int64_t mine = 2 * (pairs / size + (r < pairs % size));
    share[r]     = mine < left ? mine : left;
    if (share[r] > all) share[r] = all;
    all -= share[r];
    left -= share[r];
  }
  const int64_t n[3] = {total, deep, wide};
  enum status status = grid_plan_cuts(comm, n, 0, share, plan);
  memory_free(share);
  return status;
}

static enum status read_round(const struct stage_job *job, struct work *w, int64_t first,
                              struct grid_field *sinogram, int64_t *bad) {
  const struct recon_params *p = job->params;
  int64_t rows = sinogram->mine.n[0], columns = w->scan.columns,
          at  = w->row0 + first + sinogram->mine.start[0];
  float *flat = NULL;
  TRY(raw_tomo_read(job->comm, &w->scan, w->row0 + first, sinogram));
  TRY_ALL(job->comm, memory_make(2 * rows * columns, sizeof *flat, "flats and darks", &flat));
  int rejected = 0;
  enum status status =
      raw_tomo_flat(job->comm, &w->scan, at, rows, flat, flat + rows * columns, &rejected);
  if (status == STATUS_OK && rejected && first == 0)
    log_warning("%d flats or darks differ by more than 30 %% from the others and are left out",
                rejected);
  if (status == STATUS_OK && w->scan.kind != RAW_ATTENUATION)
    *bad += recon_attenuation(sinogram->data, rows, w->scan.projections, columns, flat,
                              flat + rows * columns, w->scan.kind == RAW_COUNTS);
  memory_free(flat);
  if (strcmp(p->rings, "vo") != 0) return status;
  for (int64_t r = 0; r < rows && status == STATUS_OK; r++)
    status = recon_unstripe((float *)sinogram->data + r * sinogram->row[0], w->scan.projections,
                            columns, p->ring_width);
  return AGREE(job->comm, status);
}

static void to_unit(const struct work *w, struct grid_field *slices) {
  float *value = slices->data, factor = w->voxel_um > 0 ? (float)(1000 / w->voxel_um) : 1;
  for (int64_t i = 0; i < slices->voxels; i++) value[i] *= factor;
  for (int a = 0; a < 3; a++) slices->voxel_um[a] = w->voxel_um;
}

static enum status draw_middle(const struct stage_job *job, const struct work *w, int64_t first,
                               const struct grid_field *slices) {
  char path[STORE_NAME_BYTES];
  int64_t middle = w->rows / 2 - first;
  if (middle < 0 || middle >= slices->plan.n[0]) return STATUS_OK;
  snprintf(path, sizeof path, "%.2000s", job->output);
  size_t n = strlen(path);
  if (n > 3 && strcmp(path + n - 3, ".h5") == 0) path[n - 3] = 0;
  snprintf(path + strlen(path), sizeof path - strlen(path), ".png");
  return picture_slice(job->comm, slices, 0, middle, path);
}

/* A field of the round's rows, `deep` by `wide`; that of the last round where it has the same plan. */
static enum status field_ready(MPI_Comm comm, const struct work *w, int64_t first, int64_t deep,
                               int64_t wide, struct grid_field *field) {
  struct grid_plan plan = {.cut = {NULL}};
  TRY_ALL(comm, round_plan(comm, w, first, deep, wide, &plan));
  enum status status = STATUS_OK;
  if (!field->data || !grid_plan_equal(&field->plan, &plan)) {
    grid_field_free(field);
    status = grid_field_make(comm, &plan, GRID_F32, NULL, field);
  }
  grid_plan_free(&plan);
  return status;
}

/* Rows as the detector saw them become rows of the field; what is truncated is filtered beforehand. */
static enum status slices_here(const struct recon_params *p, struct work *w) {
  struct recon_geometry geometry = w->geometry;
  int64_t rows                   = w->slices.mine.n[0];
  float *sinogram                = w->sinogram.data;
  if (w->field.overlap_px > 0) {
    recon_field_embed(&w->field, sinogram, rows * geometry.angles, w->wide.data);
    sinogram = w->wide.data;
  }
  if (is_truncated(p)) {
    TRY(recon_field_filter(&geometry, p->truncated, p->sample_radius_px, sinogram, rows));
    geometry.filter = "none";
  }
  if (!w->maker) TRY(recon_work_make(p->method, &geometry, &w->maker));
  return recon_work_slices(w->maker, sinogram, rows, w->slices.data);
}

static enum status one_round(const struct stage_job *job, struct work *w, int64_t first,
                             struct store_output *output, int64_t *bad, int64_t *done) {
  int64_t angles = w->scan.projections, columns = w->geometry.columns;
  TRY(field_ready(job->comm, w, first, angles, w->scan.columns, &w->sinogram));
  TRY(read_round(job, w, first, &w->sinogram, bad));
  if (w->field.overlap_px > 0) TRY(field_ready(job->comm, w, first, angles, columns, &w->wide));
  TRY(field_ready(job->comm, w, first, columns, columns, &w->slices));
  TRY_ALL(job->comm, slices_here(job->params, w));
  to_unit(w, &w->slices);
  *done = w->slices.plan.n[0];
  if (output) TRY(store_write_field(job->comm, output, "volume", &w->slices, first));
  return output ? draw_middle(job, w, first, &w->slices) : STATUS_OK;
}

/* ---- the centre -------------------------------------------------------------------------------------------------- */

enum { BAND_ROWS = 9 };

/* A plan that gives rank 0 all rows, so that their sum has one order. */
static enum status plan_on_root(MPI_Comm comm, const int64_t n[3], struct grid_plan *plan) {
  int size;
  int64_t *share;
  MPI_Comm_size(comm, &size);
  TRY(memory_make(size, sizeof *share, "shares", &share));
  share[0]           = n[0];
  enum status status = grid_plan_cuts(comm, n, 0, share, plan);
  memory_free(share);
  return status;
}

/* The centre from the mean of a band of rows about `row`. */
static enum status centre_of_row(const struct stage_job *job, struct work *w, int64_t row,
                                 double *centre, bool *at_edge) {
  int64_t band = w->rows / 3 < 1 ? 1 : w->rows / 3 < BAND_ROWS ? w->rows / 3 : BAND_ROWS, bad = 0;
  int64_t first      = row - band / 2 < 0 ? 0 : row - band / 2;
  const int64_t n[3] = {band, w->scan.projections, w->scan.columns};
  struct work one    = *w;
  struct grid_plan plan;
  struct grid_field sinogram;
  float *mean = NULL;
  one.row0    = w->row0 + first;
  one.rows    = band;
  TRY_ALL(job->comm, plan_on_root(job->comm, n, &plan));
  enum status status = grid_field_make(job->comm, &plan, GRID_F32, NULL, &sinogram);
  grid_plan_free(&plan);
  if (status == STATUS_OK) status = read_round(job, &one, 0, &sinogram, &bad);
  if (status == STATUS_OK)
    status = AGREE(job->comm, memory_make(n[1] * n[2], sizeof *mean, "a sinogram", &mean));
  if (status == STATUS_OK) {
    const float *value = sinogram.data;
    for (int64_t i = 0; i < sinogram.voxels; i++) mean[i % (n[1] * n[2])] += value[i] / (float)band;
    for (int64_t a = 0; a < n[1]; a++)
      MPI_Bcast(mean + a * n[2], (int)n[2], MPI_FLOAT, 0, job->comm);
    status =
        recon_centre(job->comm, mean, w->scan.angle_rad, n[1], n[2], w->full_turn, centre, at_edge);
  }
  memory_free(mean);
  grid_field_free(&sinogram);
  return status;
}

/* Three rows, or as many as there are; their median; the spread is told. */
static enum status find_centre(const struct stage_job *job, struct work *w) {
  double found[3];
  int n     = w->rows < 3 ? (int)w->rows : 3;
  bool edge = false;
  for (int i = 0; i < n; i++) {
    bool at_edge = false;
    TRY(centre_of_row(job, w, w->rows * (2 * i + 1) / (2 * n), &found[i], &at_edge));
    edge = edge || at_edge;
  }
  for (int i = 1; i < n; i++)
    for (int j = i; j > 0 && found[j] < found[j - 1]; j--) {
      double swap = found[j];
      found[j] = found[j - 1], found[j - 1] = swap;
    }
  w->geometry.centre_px = n == 2 ? 0.5 * (found[0] + found[1]) : found[n / 2];
  w->spread_px          = n > 1 ? found[n - 1] - found[0] : NAN;
  if (edge) log_warning("the centre lies at the edge of the range searched: give it with --centre");
  log_info("recon: centre %.2f px (%d rows, spread %.2f)", w->geometry.centre_px, n,
           n > 1 ? w->spread_px : 0);
  return STATUS_OK;
}

/* ---- all ------------------------------------------------------------------------------------------------------------ */

/* rounds NULL: nothing is written. */
static enum status all_rounds(const struct stage_job *job, struct work *w,
                              struct store_output *output, struct stage_rounds *rounds) {
  int64_t bad = 0, first = rounds ? rounds->done : 0;
  if (first > 0)
    log_info("recon: goes on at slice %lld of %lld", (long long)first, (long long)w->rows);
  log_progress("recon", first, w->rows);
  for (int64_t done = 0; first < w->rows; first += done) {
    enum status stopped = stop_agree(job->comm);
    if (stopped != STATUS_OK) {
      if (rounds) TRY(stage_rounds_note(rounds, first, &bad, 1, true));
      return stopped;
    }
    TRY(one_round(job, w, first, output, &bad, &done));
    if (rounds) TRY(stage_rounds_note(rounds, first + done, &bad, 1, false));
    log_progress("recon", first + done, w->rows);
  }
  MPI_Allreduce(MPI_IN_PLACE, &bad, 1, MPI_INT64_T, MPI_SUM, job->comm);
  if (rounds) bad += rounds->sum[0];
  if (bad)
    log_warning("%lld values without a logarithm were replaced by their neighbours",
                (long long)bad);
  stage_result_add(job->results, "slices", (double)w->rows, "");
  stage_result_add(job->results, "repaired_values", (double)bad, "");
  return STATUS_OK;
}

static enum status write_rounds(const struct stage_job *job, struct work *w,
                                struct store_output *output, struct stage_rounds *rounds) {
  const int64_t n[3]    = {w->rows, w->geometry.columns, w->geometry.columns};
  const double voxel[3] = {w->voxel_um, w->voxel_um, w->voxel_um};
  TRY(store_create(job->comm, output, "volume", n, voxel, w->voxel_um > 0 ? "1/mm" : "1/px",
                   false));
  TRY(store_default(job->comm, output, "volume"));
  TRY(store_ready(job->comm, output));
  TRY(stage_rounds_begin(job, output, rounds));
  return all_rounds(job, w, output, rounds);
}

static enum status run_with(const struct stage_job *job, struct work *w) {
  log_info("recon: %s, %lld projections of %lld x %lld, rows %lld:%lld, %lld rounds",
           w->scan.layout, (long long)w->scan.projections, (long long)w->scan.rows,
           (long long)w->scan.columns, (long long)w->row0, (long long)(w->row0 + w->rows),
           (long long)w->rounds);
  struct stage_result *centre = stage_result_add(job->results, "centre_px",
                                                 w->field.centre_px - (double)w->field.shift, "px");
  if (isfinite(w->spread_px)) centre->sigma = 0.5 * w->spread_px;
  if (w->field.overlap_px > 0)
    stage_result_add(job->results, "overlap_px", 2 * w->field.overlap_px, "px");
  if (!job->output[0]) return all_rounds(job, w, NULL, NULL);
  struct store_output *output;
  TRY(stage_output_begin(job, 4 * w->rows * w->geometry.columns * w->geometry.columns + (1 << 20),
                         &output));
  struct stage_rounds rounds = {.handle = -1};
  enum status status         = write_rounds(job, w, output, &rounds);
  if (status == STATUS_OK)
    status = stage_output_commit(job, &output);
  else
    store_abandon(job->comm, &output, status == STATUS_STOPPED);
  stage_rounds_end(&rounds, status == STATUS_STOPPED); /* a kill before here finds it again */
  return status;
}

static enum status run(const struct stage_job *job) {
  struct work w;
  TRY(prepare(job, true, &w));
  enum status status = run_with(job, &w);
  work_free(&w);
  return status;
}

const struct stage recon_stage = {
    .name   = "recon",
    .words  = "slices of attenuation from a tomography scan",
    .params = &param_set,
    .reads  = "",
    .writes = "volume",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
