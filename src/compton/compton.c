/* The stage: frames or spectra of each region of a state to the cube of counts. */
#include "compton_keep.h"
#include "compton_regions.h"
#include <math.h>
#include <string.h>

#define CONFIG_OWNER struct compton_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "compton_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("compton", struct compton_params, rows);

struct work {
  const struct stage_job *job;
  const struct compton_params *params;
  struct compton_regions regions;
  struct compton_cube cube[REGIONS_MOST];
  char keep[REGIONS_MOST][STORE_NAME_BYTES]; /* "" = nowhere */
};

static void work_free(struct work *w) {
  for (int r = 0; r < w->regions.n; r++) compton_cube_free(&w->cube[r]);
  compton_regions_free(&w->regions);
}

/* ---- counting ------------------------------------------------------------------------------------ */

/* All regions of a state are of one detector with one set of bins. */
static enum status alike_check(const struct work *w, int r) {
  const struct compton_cube *a = &w->cube[0], *b = &w->cube[r];
  const char *first = w->regions.region[0].file[0], *name = w->regions.region[r].file[0];
  if (a->rows != b->rows || a->columns != b->columns)
    return FAIL(STATUS_INPUT, "%s has %lld x %lld pixels, %s %lld x %lld: another detector", name,
                (long long)b->rows, (long long)b->columns, first, (long long)a->rows,
                (long long)a->columns);
  if (a->bins != b->bins || fabs(a->first_kev - b->first_kev) > 1e-6 ||
      fabs(a->bin_kev - b->bin_kev) > 1e-9)
    return FAIL(STATUS_INPUT, "%s has %lld bins of %g keV from %g keV, %s %lld of %g from %g", name,
                (long long)b->bins, b->bin_kev, b->first_kev, first, (long long)a->bins, a->bin_kev,
                a->first_kev);
  return STATUS_OK;
}

static enum status count_region(struct work *w, int r) {
  const struct compton_region *region = &w->regions.region[r];
  struct compton_frames_settings settings;
  if (!region->is_frames)
    return compton_cube_from_spectra(w->job->comm, region->file, region->files, &w->cube[r]);
  compton_regions_settings(w->params, &w->regions, r, &settings);
  if (w->job->output[0]) {
    snprintf(w->keep[r], sizeof w->keep[r], "%.2000s.region%d.kept", w->job->output, r + 1);
    settings.keep        = w->keep[r];
    settings.keep_record = store_hash(w->job->record, (int64_t)strlen(w->job->record), 0);
  }
  return compton_cube_from_frames(w->job->comm, &settings, &w->cube[r]);
}

/* The result is under its name: nothing needs to go on. */
static void keeps_drop(struct work *w) {
  for (int r = 0; r < w->regions.n; r++)
    if (w->keep[r][0]) compton_keep_drop(w->job->comm, w->keep[r]);
}

static enum status count_all(struct work *w) {
  for (int r = 0; r < w->regions.n; r++) {
    TRY(stop_agree(w->job->comm));
    TRY(count_region(w, r));
    TRY_ALL(w->job->comm, alike_check(w, r));
  }
  return STATUS_OK;
}

/* ---- results ------------------------------------------------------------------------------------- */

/* NAME, or NAME_region<r> where there are several. */
static struct stage_result *result(struct work *w, const char *name, int r, double value,
                                   const char *unit) {
  char full[64];
  snprintf(full, sizeof full, w->regions.n > 1 ? "%s_region%d" : "%s", name, r + 1);
  return stage_result_add(w->job->results, full, value, unit);
}

static void counted_add(struct work *w, const struct compton_cube *c, int r) {
  bool frames = w->regions.region[r].is_frames;
  result(w, "events", r, (double)c->events, "counts");
  result(w, "singles", r, frames ? (double)c->singles : NAN, "counts");
  result(w, "pairs", r, frames ? (double)c->pairs : NAN, "counts");
  result(w, "dropped", r, frames ? (double)c->dropped : NAN, "counts");
  result(w, "bad_pixels", r, (double)c->bad_pixels, "");
  if (!frames) return;
  if (w->params->veto) result(w, "vetoed", r, (double)c->vetoed, "counts");
  result(w, "outside", r, (double)c->outside, "counts");
  result(w, "frames", r, (double)c->frames, "");
  result(w, "occupancy", r, c->occupancy, "");
  result(w, "chance_coincidence", r, c->chance, "");
}

/* Of all regions together, where there are several. */
static void sums_add(struct work *w) {
  double events = 0, singles = 0, pairs = 0, dropped = 0;
  if (w->regions.n == 1) return;
  for (int r = 0; r < w->regions.n; r++) {
    bool frames = w->regions.region[r].is_frames;
    events += (double)w->cube[r].events;
    singles += frames ? (double)w->cube[r].singles : NAN;
    pairs += frames ? (double)w->cube[r].pairs : NAN;
    dropped += frames ? (double)w->cube[r].dropped : NAN;
  }
  stage_result_add(w->job->results, "events", events, "counts");
  stage_result_add(w->job->results, "singles", singles, "counts");
  stage_result_add(w->job->results, "pairs", pairs, "counts");
  stage_result_add(w->job->results, "dropped", dropped, "counts");
}

/* ---- output -------------------------------------------------------------------------------------- */

static int64_t disk_bytes(const struct compton_cube *c, int regions) {
  return 4 * regions * c->rows * c->columns * c->bins + (4 << 20);
}

/* A chunk of pixels is no box of rows and columns: row by row, as many times on every rank. */
static enum status write_pixels(struct work *w, struct store_output *output, const char *product,
                                int r, bool errors, const void *from, int64_t each, size_t bytes) {
  const struct compton_cube *c = &w->cube[r];
  MPI_Comm comm                = w->job->comm;
  int64_t row0 = c->pixel0 / c->columns, end = c->pixel0 + c->pixels;
  int64_t n_rows = c->pixels ? (end - 1) / c->columns - row0 + 1 : 0, most = n_rows;
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, comm);
  for (int64_t i = 0; i < most; i++) {
    int64_t row = (row0 + i) * c->columns, low = c->pixel0 > row ? c->pixel0 - row : 0,
            high     = end - row < c->columns ? end - row : c->columns;
    bool none        = i >= n_rows;
    int64_t start[4] = {r, row0 + i, low, 0}, n[4] = {1, 1, high - low, each};
    if (none) memset(start, 0, sizeof start), memset(n, 0, sizeof n);
    const char *at =
        (const char *)from + (none ? 0 : (size_t)((row + low - c->pixel0) * each) * bytes);
    TRY(store_write_box(comm, output, product, errors, start, n, at));
  }
  return STATUS_OK;
}

static enum status energies_write(struct work *w, struct store_output *output) {
  const struct compton_cube *c = &w->cube[0];
  double *middle;
  TRY_ALL(w->job->comm, memory_make(c->bins, sizeof *middle, "energies", &middle));
  for (int64_t b = 0; b < c->bins; b++) middle[b] = c->first_kev + ((double)b + 0.5) * c->bin_kev;
  enum status status = store_axis(w->job->comm, output, "cube", "energy", middle, c->bins, "keV");
  memory_free(middle);
  return status;
}

static enum status write_all(struct work *w, struct store_output *output) {
  const struct compton_cube *c = &w->cube[0];
  const int64_t n[4]           = {w->regions.n, c->rows, c->columns, c->bins};
  TRY(store_create(w->job->comm, output, "cube", n, NULL, NULL, false));
  TRY(energies_write(w, output));
  TRY(store_ready(w->job->comm, output));
  for (int r = 0; r < w->regions.n; r++)
    TRY(write_pixels(w, output, "cube", r, false, w->cube[r].count, c->bins, sizeof(uint32_t)));
  return STATUS_OK;
}

static enum status write_output(struct work *w) {
  struct store_output *output;
  if (!w->job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(w->job, disk_bytes(&w->cube[0], w->regions.n), &output));
  enum status status = write_all(w, output);
  if (status == STATUS_OK) return stage_output_commit(w->job, &output);
  store_abandon(w->job->comm, &output, false);
  return status;
}

/* ---- the stage ----------------------------------------------------------------------------------- */

static enum status check(const void *params, const struct stage_common *common) {
  const struct compton_params *p = params;
  struct compton_regions regions;
  (void)common;
  if (p->last_kev <= p->first_kev)
    return FAIL(STATUS_USAGE, "compton.last_kev = %g keV would be above compton.first_kev = %g keV",
                p->last_kev, p->first_kev);
  TRY(compton_regions_make(params, &regions));
  compton_regions_free(&regions);
  return STATUS_OK;
}

/* What a region is, from its files' headers. */
static enum status shape_of(struct work *w, int r, struct compton_shape *shape) {
  const struct compton_region *region = &w->regions.region[r];
  struct compton_frames_settings settings;
  if (!region->is_frames) return compton_cube_spectra_shape(w->job->comm, region->file[0], shape);
  compton_regions_settings(w->params, &w->regions, r, &settings);
  return compton_cube_frames_shape(w->job->comm, &settings, shape);
}

static enum status need_of(struct work *w, struct stage_need *need) {
  struct compton_shape shape;
  int64_t cubes = 0, most = 0;
  *need = (struct stage_need){.disk_bytes = 4 << 20};
  for (int r = 0; r < w->regions.n; r++) {
    TRY(shape_of(w, r, &shape));
    cubes += shape.cube_bytes;
    if (cubes + shape.work_bytes > most) most = cubes + shape.work_bytes;
    need->disk_bytes += 4 * shape.rows * shape.columns * shape.bins;
    need->rounds += 1;
  }
  need->memory_bytes = most;
  if (!w->job->output[0]) need->disk_bytes = 0;
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct work w = {.job = job, .params = job->params};
  TRY_ALL(job->comm, compton_regions_make(w.params, &w.regions));
  enum status status = need_of(&w, need);
  work_free(&w);
  return status;
}

static enum status run_work(struct work *w) {
  TRY(count_all(w));
  for (int r = 0; r < w->regions.n; r++) counted_add(w, &w->cube[r], r);
  sums_add(w);
  TRY(write_output(w));
  keeps_drop(w);
  return STATUS_OK;
}

static enum status run(const struct stage_job *job) {
  struct work w = {.job = job, .params = job->params};
  TRY_ALL(job->comm, compton_regions_make(w.params, &w.regions));
  log_info("compton: %d region%s", w.regions.n, w.regions.n > 1 ? "s" : "");
  enum status status = run_work(&w);
  work_free(&w);
  return status;
}

const struct stage compton_stage = {
    .name   = "compton",
    .words  = "counts, Compton profiles and momentum factors from detector frames or spectra",
    .params = &param_set,
    .reads  = "",
    .writes = "cube",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
