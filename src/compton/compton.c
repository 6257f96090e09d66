/* The stage: frames or spectra of each region of a state to the cube of counts, and from it profiles, momentum factors
 * and densities. */
#include "compton_keep.h"
#include "compton_work.h"
#include <math.h>
#include <string.h>

#define CONFIG_OWNER struct compton_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "compton_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("compton", struct compton_params, rows);

enum { SMALL_BYTES = 64 << 10 }; /* axes, tables, line shapes */

static void work_free(struct compton_work *w) {
  for (int r = 0; r < w->regions.n; r++) {
    compton_cube_free(&w->cube[r]);
    compton_maps_free(&w->maps[r]);
  }
  compton_cube_free(&w->disc);
  compton_sensor_free(&w->sensor);
  compton_maps_forget(&w->known);
  compton_regions_free(&w->regions);
}

static enum status work_make(const struct stage_job *job, struct compton_work *w) {
  *w = (struct compton_work){.job = job, .params = job->params};
  TRY_ALL(job->comm, compton_regions_make(w->params, &w->regions));
  if (w->params->hits && !job->output[0])
    return AGREE(
        job->comm,
        FAIL(STATUS_USAGE, "compton.hits needs --output FILE, beside which hits are written"));
  bool spectra = false;
  if (w->regions.disc.files > 0) TRY(raw_spectra_is(job->comm, w->regions.disc.file[0], &spectra));
  w->regions.disc.is_frames = w->regions.disc.files > 0 && !spectra;
  return STATUS_OK;
}

/* ---- counting ------------------------------------------------------------------------------------ */

/* Other code may count otherwise: what it kept is not gone on with. */
static uint64_t record_hash(const char *record) {
  const char *revision = stage_revision();
  return store_hash(revision, (int64_t)strlen(revision),
                    store_hash(record, (int64_t)strlen(record), 0));
}

/* OUTPUT without .h5, then "_region<n>.hits". */
static const char *hits_name(struct compton_work *w, int place) {
  size_t n = strlen(w->job->output);
  if (n > 3 && strcmp(w->job->output + n - 3, ".h5") == 0) n -= 3;
  snprintf(w->hits, sizeof w->hits, "%.*s_region%d.hits", (int)n, w->job->output, place);
  return w->hits;
}

/* `place` of its kept count: the region's number, or 0 of the disc. */
static enum status count_region(struct compton_work *w, const struct compton_region *region,
                                int place, struct compton_cube *cube) {
  struct compton_frames_settings settings;
  if (!region->is_frames)
    return compton_cube_from_spectra(w->job->comm, region->file, region->files, cube);
  compton_regions_settings(w->params, &w->regions, region, &settings);
  compton_sensor_use(&w->sensor, &settings);
  if (w->job->output[0]) {
    char *keep = w->keep[place];
    snprintf(keep, sizeof w->keep[place], "%.2000s.region%d.kept", w->job->output, place);
    settings.keep        = keep;
    settings.keep_record = record_hash(w->job->record);
    settings.hits        = w->params->hits && place > 0 ? hits_name(w, place) : NULL;
  }
  if (w->params->drift_parts > 1 && place > 0)
    return compton_drift_count(w->job->comm, w->params, &settings,
                               w->regions.disc.files > 0 ? &w->disc : NULL, &w->known,
                               &w->drift[place - 1], cube);
  return compton_cube_from_frames(w->job->comm, &settings, cube);
}

/* The headers were compared before; a file may have changed since. */
static enum status same_check(const struct compton_work *w, int r) {
  const struct compton_cube *a = &w->cube[0], *b = &w->cube[r];
  if (a->rows == b->rows && a->columns == b->columns && a->bins == b->bins) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s is of another detector or of other bins than %s",
              w->regions.region[r].file[0], w->regions.region[0].file[0]);
}

static enum status count_all(struct compton_work *w) {
  if (w->regions.disc.files > 0) TRY(count_region(w, &w->regions.disc, 0, &w->disc));
  for (int r = 0; r < w->regions.n; r++) {
    TRY(stop_agree(w->job->comm));
    TRY(count_region(w, &w->regions.region[r], r + 1, &w->cube[r]));
    TRY_ALL(w->job->comm, same_check(w, r));
  }
  return STATUS_OK;
}

/* The result is under its name: nothing needs to go on. */
static void keeps_drop(struct compton_work *w) {
  for (int i = 0; i <= REGIONS_MOST; i++)
    if (w->keep[i][0]) compton_keep_drop(w->job->comm, w->keep[i]);
}

/* ---- maps ---------------------------------------------------------------------------------------- */

static enum status maps_all(struct compton_work *w) {
  MPI_Comm comm = w->job->comm;
  if (!w->known.angle)
    TRY(compton_maps_know(comm, w->params, &w->cube[0], w->regions.disc.files > 0 ? &w->disc : NULL,
                          &w->known));
  for (int r = 0; r < w->regions.n; r++) {
    TRY(stop_agree(comm));
    TRY(compton_maps_make(comm, w->params, &w->known, &w->regions.region[r], &w->cube[r],
                          &w->maps[r]));
  }
  return STATUS_OK;
}

/* ---- the stage ----------------------------------------------------------------------------------- */

static enum status check(const void *params, const struct stage_common *common) {
  const struct compton_params *p = params;
  struct compton_profile_settings settings;
  struct compton_regions regions;
  double loss_kev[3];
  (void)common;
  if (p->last_kev <= p->first_kev)
    return FAIL(STATUS_USAGE, "compton.last_kev = %g keV would be above compton.first_kev = %g keV",
                p->last_kev, p->first_kev);
  if (p->source && (p->gain[0] || p->offset[0]))
    return FAIL(STATUS_USAGE,
                "compton.source gives gains and offsets; maps of them would be left out");
  if (strcmp(p->pair_loss, "source") == 0 && !p->source)
    return FAIL(STATUS_USAGE, "compton.pair_loss = source, but there is no compton.source");
  if (p->drift_parts > 1 && p->hits)
    return FAIL(STATUS_USAGE,
                "compton.hits goes without compton.drift_parts; drift can be followed in the hits");
  TRY(compton_regions_loss(p->pair_loss, loss_kev));
  TRY(compton_maps_settings(p, &settings));
  TRY(compton_regions_make(params, &regions));
  compton_regions_free(&regions);
  return STATUS_OK;
}

/* What a region is, from its files' headers. */
static enum status shape_of(struct compton_work *w, const struct compton_region *region,
                            struct compton_shape *shape) {
  struct compton_frames_settings settings;
  if (!region->is_frames) return compton_cube_spectra_shape(w->job->comm, region->file[0], shape);
  compton_regions_settings(w->params, &w->regions, region, &settings);
  if (w->regions.source.files > 0 && !(settings.gain_kev > 0))
    settings.gain_kev = 1; /* they will come from the source */
  return compton_cube_frames_shape(w->job->comm, &settings, shape);
}

/* All regions of a state are of one detector with one set of bins. */
static enum status alike_check(const struct compton_work *w, int r, const struct compton_shape *a,
                               const struct compton_shape *b) {
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

/* Windows and fits that the spectra do not hold are told before anything is counted. */
static enum status windows_check(const struct compton_params *p,
                                 const struct compton_shape *shape) {
  struct compton_profile_settings settings;
  struct compton_table *table = NULL;
  TRY(compton_maps_settings(p, &settings));
  enum status status =
      compton_table_make(&settings, shape->first_kev, shape->bin_kev, shape->bins, &table);
  compton_table_free(table);
  return status;
}

/* The source is counted before all, and its cube is gone then. */
static enum status source_need(struct compton_work *w, int64_t *bytes) {
  struct compton_shape shape = {0};
  if (w->regions.source.files > 0)
    TRY(compton_sensor_shape(w->job->comm, w->params, &w->regions, &shape));
  *bytes = shape.cube_bytes + shape.work_bytes;
  return STATUS_OK;
}

/* The most that is there at once: cubes so far beside the counting of the next, then all cubes and maps. */
static enum status need_of(struct compton_work *w, struct stage_need *need) {
  struct compton_shape shape, first = {0};
  int64_t cubes = 0, most = 0;
  int size, regions       = w->regions.n;
  MPI_Comm_size(w->job->comm, &size);
  *need = (struct stage_need){.rounds = regions};
  TRY(source_need(w, &most));
  for (int r = 0; r <= regions; r++) {
    if (r == regions && w->regions.disc.files == 0) continue;
    TRY(shape_of(w, r < regions ? &w->regions.region[r] : &w->regions.disc, &shape));
    if (r == 0) first = shape;
    if (r < regions) TRY_ALL(w->job->comm, alike_check(w, r, &first, &shape));
    cubes += shape.cube_bytes;
    if (cubes + shape.work_bytes > most) most = cubes + shape.work_bytes;
  }
  if (w->job->output[0])
    need->disk_bytes =
        compton_write_bytes(w->params, first.rows, first.columns, first.bins, regions);
  TRY_ALL(w->job->comm, windows_check(w->params, &first));
  int64_t maps       = cubes + regions * compton_maps_bytes(w->params, first.rows, first.columns,
                                                            first.bin_kev, size);
  most               = maps > most ? maps : most;
  need->memory_bytes = most + most / 50 + SMALL_BYTES;
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  struct compton_work w;
  enum status status = work_make(job, &w);
  if (status == STATUS_OK) status = need_of(&w, need);
  work_free(&w);
  return status;
}

static enum status run_work(struct compton_work *w) {
  TRY(compton_sensor_learn(w->job->comm, w->params, &w->regions, &w->sensor));
  TRY(count_all(w));
  TRY(maps_all(w));
  compton_results_add(w);
  TRY(compton_write(w));
  keeps_drop(w);
  return STATUS_OK;
}

static enum status run(const struct stage_job *job) {
  struct compton_work w;
  enum status status = work_make(job, &w);
  if (status == STATUS_OK) {
    log_info("compton: %d region%s", w.regions.n, w.regions.n > 1 ? "s" : "");
    status = run_work(&w);
    /* other files or settings will be other work, which could not go on with these */
    if (status == STATUS_INPUT || status == STATUS_USAGE) keeps_drop(&w);
  }
  work_free(&w);
  return status;
}

const struct stage compton_stage = {
    .name   = "compton",
    .words  = "counts, Compton profiles and momentum factors from detector frames or spectra",
    .params = &param_set,
    .reads  = "",
    .writes = "cube,profile,emf,density",
    .check  = check,
    .plan   = plan,
    .run    = run,
};
