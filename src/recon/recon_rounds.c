/* Rounds of rows, in pairs that are the same on any number of ranks: read, reconstructed, cut and written. */
#include "picture.h"
#include "recon_stage.h"
#include <math.h>
#include <string.h>

/* Rows of a round: pairs dealt to the ranks, the last pair may be one row. */
static enum status round_plan(const struct recon_job *w, int64_t first, int64_t deep, int64_t wide,
                              struct grid_plan *plan) {
  int size;
  MPI_Comm_size(w->job->comm, &size);
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
  enum status status = grid_plan_cuts(w->job->comm, n, 0, share, plan);
  memory_free(share);
  return status;
}

/* A field of the round's rows, `deep` by `wide`; that of the last round where it has the same plan. */
static enum status field_ready(const struct recon_job *w, int64_t first, int64_t deep, int64_t wide,
                               enum grid_type type, struct grid_field *field) {
  MPI_Comm comm         = w->job->comm;
  struct grid_plan plan = {.cut = {NULL}};
  TRY_ALL(comm, round_plan(w, first, deep, wide, &plan));
  enum status status = STATUS_OK;
  if (!field->data || !grid_plan_equal(&field->plan, &plan)) {
    grid_field_free(field);
    status = grid_field_make(comm, &plan, type, NULL, field);
  }
  grid_plan_free(&plan);
  return status;
}

/* Rows as the detector saw them become rows of the field; what is truncated is filtered beforehand. */
static enum status slices_here(struct recon_job *w) {
  const struct recon_params *p   = w->p;
  struct recon_geometry geometry = w->geometry;
  int64_t rows                   = w->slices.mine.n[0];
  float *sinogram                = w->sinogram.data;
  if (w->field.overlap_px > 0) {
    recon_field_embed(&w->field, sinogram, rows * geometry.angles, w->wider.data);
    sinogram = w->wider.data;
  }
  if (strcmp(p->truncated, "no") != 0) {
    TRY(recon_field_filter(&geometry, p->truncated, p->sample_radius_px, sinogram, rows));
    geometry.filter = "none";
  }
  if (!w->maker) TRY(recon_work_make(p->method, &geometry, &w->maker));
  return recon_work_slices(w->maker, sinogram, rows, w->slices.data);
}

/* To the unit; beyond the disc 0. */
static void finish(const struct recon_job *w, struct grid_field *slices) {
  float *value = slices->data, factor = w->voxel_um > 0 ? (float)(1000 / w->voxel_um) : 1;
  int64_t n     = w->geometry.columns;
  double middle = 0.5 * (double)(n - 1), radius = w->p->disc * 0.5 * (double)n;
  for (int64_t i = 0; i < slices->voxels; i++) value[i] *= factor;
  for (int64_t i = 0; i < slices->voxels && w->p->disc > 0; i++) {
    double x = (double)(i % n) - middle, y = (double)(i / n % n) - middle;
    if (x * x + y * y > radius * radius) value[i] = 0;
  }
  for (int a = 0; a < 3; a++) slices->voxel_um[a] = w->voxel_um;
}

/* ---- what is kept ------------------------------------------------------------------------------------------------ */

static int64_t whole_number(const struct recon_job *w, float value, double most, int64_t *clipped) {
  double share = ((double)value - w->low) / (w->high - w->low);
  if (!(share >= 0 && share <= 1)) ++*clipped;
  return (int64_t)(most * (share > 0 ? share < 1 ? share : 1 : 0) + 0.5);
}

/* Cropped, and in the type that is written. */
static void keep(struct recon_job *w, const struct grid_field *from, struct grid_field *to) {
  int64_t columns = from->plan.n[2];
  for (int64_t z = 0; z < to->mine.n[0]; z++)
    for (int64_t y = 0; y < w->crop.n[1]; y++) {
      const float *line = (const float *)from->data +
                          (z * columns + y + w->crop.start[1]) * columns + w->crop.start[2];
      int64_t at = (z * w->crop.n[1] + y) * w->crop.n[2];
      for (int64_t x = 0; x < w->crop.n[2]; x++) {
        if (to->type == GRID_F32)
          ((float *)to->data)[at + x] = line[x];
        else if (to->type == GRID_U16)
          ((uint16_t *)to->data)[at + x] = (uint16_t)whole_number(w, line[x], 65535, &w->clipped);
        else
          ((uint8_t *)to->data)[at + x] = (uint8_t)whole_number(w, line[x], 255, &w->clipped);
      }
    }
  for (int a = 0; a < 3; a++) to->voxel_um[a] = w->voxel_um;
}

static enum status draw_middle(const struct recon_job *w, int64_t first,
                               const struct grid_field *slices) {
  char path[STORE_NAME_BYTES];
  int64_t middle = w->rows / 2 - first;
  if (middle < 0 || middle >= slices->plan.n[0]) return STATUS_OK;
  snprintf(path, sizeof path, "%.2000s", w->job->output);
  size_t n = strlen(path);
  if (n > 3 && strcmp(path + n - 3, ".h5") == 0) path[n - 3] = 0;
  snprintf(path + strlen(path), sizeof path - strlen(path), ".png");
  return picture_slice(w->job->comm, slices, 0, middle, path);
}

static enum status write_kept(struct recon_job *w, int64_t first, struct store_output *output,
                              struct grid_field *kept) {
  TRY(store_write_field(w->job->comm, output, "volume", kept, first));
  return draw_middle(w, first, kept);
}

static enum status write_slices(struct recon_job *w, int64_t first, struct store_output *output) {
  int64_t n = w->geometry.columns;
  bool all  = w->crop.n[1] == n && w->crop.n[2] == n;
  if (all && recon_type(w) == GRID_F32) return write_kept(w, first, output, &w->slices);
  struct grid_field kept = {.data = NULL};
  TRY(field_ready(w, first, w->crop.n[1], w->crop.n[2], recon_type(w), &kept));
  keep(w, &w->slices, &kept);
  enum status status = write_kept(w, first, output, &kept);
  grid_field_free(&kept);
  return status;
}

/* ---- rounds -------------------------------------------------------------------------------------------------------- */

static enum status one_round(struct recon_job *w, int64_t first, struct store_output *output,
                             int64_t *done) {
  int64_t angles = w->part[0].projections, columns = w->geometry.columns;
  TRY(field_ready(w, first, angles, w->wide, GRID_F32, &w->sinogram));
  TRY(recon_rows_read(w, first, &w->sinogram));
  if (w->field.overlap_px > 0) TRY(field_ready(w, first, angles, columns, GRID_F32, &w->wider));
  TRY(field_ready(w, first, columns, columns, GRID_F32, &w->slices));
  TRY_ALL(w->job->comm, slices_here(w));
  finish(w, &w->slices);
  *done = w->slices.plan.n[0];
  return output ? write_slices(w, first, output) : STATUS_OK;
}

enum { COUNTS = 4 };

static void counts_of(const struct recon_job *w, int64_t count[COUNTS]) {
  count[0] = w->repairs.values;
  count[1] = w->repairs.pixels;
  count[2] = w->repairs.zingers;
  count[3] = w->clipped;
}

static void tell_end(const struct recon_job *w, const int64_t count[COUNTS]) {
  struct stage_results *results = w->job->results;
  if (count[0])
    log_warning("%lld values without a logarithm were replaced by their neighbours",
                (long long)count[0]);
  if (count[1])
    log_warning("%lld pixels that do not respond were replaced by their neighbours",
                (long long)count[1]);
  stage_result_add(results, "slices", (double)w->rows, "");
  stage_result_add(results, "repaired_values", (double)count[0], "");
  stage_result_add(results, "repaired_pixels", (double)count[1], "");
  if (strcmp(w->p->zingers, "none") != 0)
    stage_result_add(results, "zingers", (double)count[2], "");
  if (recon_type(w) != GRID_F32) stage_result_add(results, "clipped", (double)count[3], "");
}

enum status recon_rounds(struct recon_job *w, struct store_output *output,
                         struct stage_rounds *rounds) {
  int64_t count[COUNTS] = {0}, first = rounds ? rounds->done : 0;
  if (first > 0)
    log_info("recon: goes on at slice %lld of %lld", (long long)first, (long long)w->rows);
  log_progress("recon", first, w->rows);
  for (int64_t done = 0; first < w->rows; first += done) {
    enum status stopped = stop_agree(w->job->comm);
    if (stopped != STATUS_OK) {
      if (rounds) TRY(stage_rounds_note(rounds, first, count, COUNTS, true));
      return stopped;
    }
    TRY(one_round(w, first, output, &done));
    counts_of(w, count);
    if (rounds) TRY(stage_rounds_note(rounds, first + done, count, COUNTS, false));
    log_progress("recon", first + done, w->rows);
  }
  MPI_Allreduce(MPI_IN_PLACE, count, COUNTS, MPI_INT64_T, MPI_SUM, w->job->comm);
  for (int i = 0; i < COUNTS && rounds; i++) count[i] += rounds->sum[i];
  tell_end(w, count);
  return STATUS_OK;
}
