/* The stage: its parameters, its forecast, its run. */
#include "recon_stage.h"
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

/* ---- parameters that must fit one another ------------------------------------------------------------------- */

static bool is(const char *text, const char *value) { return strcmp(text, value) == 0; }

static enum status check_phase(const struct recon_params *p) {
  if (is(p->phase, "none")) return STATUS_OK;
  if (p->energy_kev > 0 && p->distance_mm > 0 && p->delta_beta > 0) return STATUS_OK;
  return FAIL(
      STATUS_USAGE,
      "recon.phase = %s needs recon.energy_kev, distance_mm and delta_beta above 0; they are "
      "%g, %g and %g",
      p->phase, p->energy_kev, p->distance_mm, p->delta_beta);
}

static enum status check_type(const struct recon_params *p) {
  double low, high;
  char rest;
  bool whole = !is(p->type, "float32");
  if (!whole && !p->window[0]) return STATUS_OK;
  if (!whole)
    return FAIL(STATUS_USAGE, "recon.window = %s serves recon.type = uint16 or uint8", p->window);
  if (sscanf(p->window, "%lf:%lf%c", &low, &high, &rest) == 2 && isfinite(low) && isfinite(high) &&
      low < high)
    return STATUS_OK;
  return FAIL(STATUS_USAGE,
              "recon.type = %s needs recon.window = LOW:HIGH, in the volume's unit; it is \"%s\"",
              p->type, p->window);
}

static enum status check_method(const struct recon_params *p) {
  bool iterates = is(p->method, "sirt") || is(p->method, "cgls");
  if (!iterates && (p->tv > 0 || p->nonnegative))
    return FAIL(STATUS_USAGE, "recon.%s serves recon.method = sirt or cgls; it is %s",
                p->tv > 0 ? "tv" : "nonnegative", p->method);
  if (iterates && !is(p->truncated, "no"))
    return FAIL(STATUS_USAGE, "recon.truncated = %s serves gridding and direct; the method is %s",
                p->truncated, p->method);
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
  if (!is(p->truncated, "circle") && p->sample_radius_px > 0)
    return FAIL(STATUS_USAGE, "recon.sample_radius_px = %g serves recon.truncated = circle alone",
                p->sample_radius_px);
  TRY(check_phase(p));
  TRY(check_type(p));
  return check_method(p);
}

/* ---- forecast and run ------------------------------------------------------------------------------------------ */

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct recon_job w;
  TRY(recon_job_open(job, false, &w));
  *need = (struct stage_need){.memory_bytes = recon_memory_bytes(&w),
                              .disk_bytes   = recon_disk_bytes(&w),
                              .rounds       = w.rounds};
  recon_job_free(&w);
  return STATUS_OK;
}

static enum status write_rounds(struct recon_job *w, struct store_output *output,
                                struct stage_rounds *rounds) {
  MPI_Comm comm         = w->job->comm;
  const int64_t n[3]    = {w->rows, w->crop.n[1], w->crop.n[2]};
  const double voxel[3] = {w->voxel_um, w->voxel_um, w->voxel_um};
  enum grid_type type   = recon_type(w);
  double most           = type == GRID_U8 ? 255 : 65535;
  TRY(store_create_as(comm, output, "volume", type, n, voxel, w->voxel_um > 0 ? "1/mm" : "1/px",
                      false));
  if (type != GRID_F32) { /* NXdata's own names: value = number scaling_factor + offset */
    TRY(store_number(comm, output, "volume/scaling_factor", (w->high - w->low) / most, ""));
    TRY(store_number(comm, output, "volume/offset", w->low, ""));
  }
  TRY(store_default(comm, output, "volume"));
  TRY(store_ready(comm, output));
  TRY(stage_rounds_begin(w->job, output, rounds));
  return recon_rounds(w, output, rounds);
}

static void tell_begin(struct recon_job *w) {
  struct stage_results *results = w->job->results;
  log_info("recon: %s, %lld projections of %lld x %lld, rows %lld:%lld, %lld rounds",
           w->part[0].layout, (long long)w->part[0].projections, (long long)w->part[0].rows,
           (long long)w->wide, (long long)w->row0, (long long)(w->row0 + w->rows),
           (long long)w->rounds);
  if (is(w->p->rings, "vo-all"))
    log_info("recon: rings = vo-all moves the mean of a region by up to 0.2 %% of its value");
  struct stage_result *centre =
      stage_result_add(results, "centre_px",
                       recon_column_there(w, w->field.centre_px - (double)w->field.shift), "px");
  if (isfinite(w->spread_px))
    centre->sigma = hypot(0.5 * w->spread_px, RECON_CENTRE_ERROR_PX) * (double)w->part[0].bin;
  if (fabs(w->tilt_px) > 0) stage_result_add(results, "tilt_px", w->tilt_px, "px/row");
  if (w->field.overlap_px > 0)
    stage_result_add(results, "overlap_px", 2 * w->field.overlap_px * (double)w->part[0].bin, "px");
  for (int i = 1; i < w->parts; i++) {
    char name[32];
    snprintf(name, sizeof name, "beside_%d_px", i);
    stage_result_add(results, name, (w->place_px[i] - w->place_px[0]) * (double)w->part[0].bin,
                     "px");
  }
  if (w->part[0].flats.rejected)
    stage_result_add(results, "rejected_flats", (double)w->part[0].flats.rejected, "");
  if (w->part[0].darks.rejected)
    stage_result_add(results, "rejected_darks", (double)w->part[0].darks.rejected, "");
}

static enum status run_with(struct recon_job *w) {
  const struct stage_job *job = w->job;
  struct store_output *output;
  tell_begin(w);
  if (!job->output[0]) return recon_rounds(w, NULL, NULL);
  TRY(stage_output_begin(job, recon_disk_bytes(w), &output));
  struct stage_rounds rounds = {.handle = -1};
  enum status status         = write_rounds(w, output, &rounds);
  if (status == STATUS_OK)
    status = stage_output_commit(job, &output);
  else
    store_abandon(job->comm, &output, status == STATUS_STOPPED);
  stage_rounds_end(&rounds, status == STATUS_STOPPED); /* a kill before here finds it again */
  return status;
}

static enum status run(const struct stage_job *job) {
  struct recon_job w;
  TRY(recon_job_open(job, true, &w));
  enum status status = run_with(&w);
  recon_job_free(&w);
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
