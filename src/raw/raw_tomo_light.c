/* Flats and darks: where they are, which are bad, when they were taken, their means.
 *
 * A frame is bad when its mean over a band of rows is not finite, or lies more than 30 % and six deviations (of the
 * median kind) from the median of all of its kind, or, among at least three taken together, more than 10 % and six
 * deviations from their median: a closed shutter, a sample that had not left yet. What is left stands in groups of
 * frames that follow one another. */
#include "raw_tomo_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BAND_ROWS = 64 };

void tomo_light_free(struct raw_tomo_light *light) {
  if (light->apart) store_close(&light->apart);
  memory_free(light->frame);
  memory_free(light->group);
  memory_free(light->time);
  memset(light, 0, sizeof *light);
}

static struct store_input *source_of(const struct raw_tomo *scan,
                                     const struct raw_tomo_light *light) {
  return light->apart ? light->apart : scan->data;
}

/* ---- finding --------------------------------------------------------------------------------------------- */

/* The frames with that key, or all where there is none. */
static enum status pick_frames(const double *keys, int key, int64_t frames,
                               struct raw_tomo_light *light) {
  TRY(memory_make(frames, sizeof *light->frame, "flats and darks", &light->frame));
  for (int64_t i = 0; i < frames; i++)
    if (!keys || keys[i] == key) light->frame[light->count++] = i;
  return STATUS_OK;
}

/* A sinogram's flats are lines [n][columns]; frames [n][rows][columns] have the detector's shape. */
static enum status check_shape(const struct raw_tomo *scan, const char *name, const char *what,
                               const struct store_info *info, int64_t *frames) {
  bool lines = scan->is_sinogram && info->n[0] == 1;
  *frames    = lines ? info->n[1] : info->n[0];
  if (info->n[2] == scan->detector_columns && (lines || info->n[1] == scan->detector_rows))
    return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s: the %s have %lld x %lld pixels, the projections %lld x %lld", name,
              what, (long long)info->n[1], (long long)info->n[2], (long long)scan->detector_rows,
              (long long)scan->detector_columns);
}

/* Another file: its own flats (Data Exchange), those of its key, or else all of its frames. */
static enum status open_apart(MPI_Comm comm, const char *said, int key, const struct raw_tomo *scan,
                              struct raw_tomo_light *light) {
  const char *what = key == KEY_FLAT ? "flats" : "darks";
  char name[2 * STORE_NAME_BYTES];
  struct places at;
  double *keys = NULL;
  int64_t n = 0, frames = 0;
  TRY(tomo_find_places(comm, said, &at));
  const char *own = key == KEY_FLAT ? at.flats : at.darks, *data = own[0] ? own : at.data;
  snprintf(name, sizeof name, "%s%s%s", at.file, data[0] ? ":" : "", data);
  TRY(store_open(comm, name, NULL, 3, &light->apart));
  TRY_ALL(comm, check_shape(scan, name, what, store_info(light->apart), &frames));
  if (!own[0]) TRY(tomo_read_key(comm, &at, &keys, &n));
  enum status status = STATUS_OK;
  if (keys && n != frames)
    status = FAIL(STATUS_INPUT, "%s: %lld image keys for %lld frames", name, (long long)n,
                  (long long)frames);
  if (status == STATUS_OK) status = pick_frames(keys, key, frames, light);
  if (status == STATUS_OK && !light->count)
    status = FAIL(STATUS_INPUT, "%s holds no %s: none of its %lld frames has image key %d", name,
                  what, (long long)frames, key);
  memory_free(keys);
  return AGREE(comm, status);
}

enum status tomo_light_find(MPI_Comm comm, const struct places *at, const char *said,
                            const char *inside, int key, const double *keys, int64_t frames,
                            const struct raw_tomo *scan, struct raw_tomo_light *light) {
  char name[2 * STORE_NAME_BYTES];
  light->groups = 1;
  if (strcmp(said, "none") == 0) return STATUS_OK;
  if (said[0]) return open_apart(comm, said, key, scan, light);
  snprintf(name, sizeof name, "%s:%s", at->file, inside);
  if (inside[0]) return open_apart(comm, name, key, scan, light);
  return keys ? AGREE(comm, pick_frames(keys, key, frames, light)) : STATUS_OK;
}

/* ---- judging ---------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The finite ones' median and 1.4826 times the median distance from it; false when none is finite. */
static bool spread_of(const double *mean, const bool *left_out, int64_t n, double *work,
                      double *middle, double *spread) {
  int64_t known = 0;
  for (int64_t i = 0; i < n; i++)
    if (isfinite(mean[i]) && !left_out[i]) work[known++] = mean[i];
  if (!known) return false;
  qsort(work, (size_t)known, sizeof *work, ascending);
  *middle = work[known / 2];
  for (int64_t i = 0; i < known; i++) work[i] = fabs(work[i] - *middle);
  qsort(work, (size_t)known, sizeof *work, ascending);
  *spread = 1.4826 * work[known / 2];
  return true;
}

static void mark(const double *mean, int64_t n, double share, double *work, bool *bad) {
  double middle, spread;
  if (n < 3 || !spread_of(mean, bad, n, work, &middle, &spread)) return;
  for (int64_t i = 0; i < n; i++) {
    double off = fabs(mean[i] - middle);
    if (off > share * fabs(middle) && off > 6 * spread) bad[i] = true;
  }
}

/* Ends of the run of frames that follow one another from i on. */
static int64_t run_end(const struct raw_tomo_light *light, int64_t i) {
  int64_t end = i + 1;
  while (end < light->count && light->frame[end] == light->frame[end - 1] + 1) end++;
  return end;
}

static void find_bad(const struct raw_tomo_light *light, const double *mean, double *work,
                     bool *bad) {
  for (int64_t i = 0; i < light->count; i++) bad[i] = !isfinite(mean[i]);
  mark(mean, light->count, 0.3, work, bad);
  for (int64_t i = 0, end; i < light->count; i = end) {
    end = run_end(light, i);
    mark(mean + i, end - i, 0.1, work, bad + i);
  }
}

/* Frames apart have no time in the scan: one group. */
static enum status make_groups(struct raw_tomo_light *light, const bool *bad, bool in_time) {
  TRY(memory_make(light->count, sizeof *light->group, "flats and darks", &light->group));
  TRY(memory_make(light->count + 1, sizeof *light->time, "flats and darks", &light->time));
  int64_t good  = 0;
  light->groups = 0;
  for (int64_t i = 0, end; i < light->count; i = end) {
    int64_t here = 0;
    double time  = 0;
    end          = in_time && !light->apart ? run_end(light, i) : light->count;
    for (int64_t k = i; k < end; k++) {
      if (bad[k]) continue;
      light->group[good + here] = light->groups;
      light->frame[good + here] = light->frame[k];
      time += (double)light->frame[k];
      here++;
    }
    if (here) light->time[light->groups++] = time / (double)here;
    good += here;
  }
  light->rejected = light->count - good;
  light->count    = good;
  return STATUS_OK;
}

/* Means of a band of rows about the middle: rank 0 reads, all know. */
static enum status read_means(MPI_Comm comm, const struct raw_tomo *scan,
                              const struct raw_tomo_light *light, double *mean) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  int64_t band = scan->rows < BAND_ROWS ? scan->rows : BAND_ROWS, row0 = (scan->rows - band) / 2,
          mine = rank == 0 ? band : 0;
  float *frame = NULL;
  enum status status =
      AGREE(comm, memory_make(mine * scan->columns, sizeof *frame, "rows of a flat", &frame));
  for (int64_t i = 0; i < light->count && status == STATUS_OK; i++) {
    status =
        tomo_read_frames(comm, scan, source_of(scan, light), light->frame[i], 1, row0, mine, frame);
    for (int64_t k = 0; k < mine * scan->columns; k++)
      mean[i] += (double)frame[k] / (double)(mine * scan->columns);
  }
  memory_free(frame);
  if (status == STATUS_OK) MPI_Bcast(mean, (int)light->count, MPI_DOUBLE, 0, comm);
  return status;
}

static double good_mean(const struct raw_tomo_light *light, const double *mean, const bool *bad) {
  double sum = 0, n = 0;
  for (int64_t i = 0; i < light->count; i++)
    if (!bad[i]) sum += mean[i], n++;
  return n > 0 ? sum / n : 0;
}

/* *level: the mean of the good ones; 0 without any. */
static enum status judge(MPI_Comm comm, const struct raw_tomo *scan, struct raw_tomo_light *light,
                         bool in_time, double *level) {
  double *mean = NULL;
  bool *bad    = NULL;
  *level       = 0;
  if (!light->count) return STATUS_OK;
  enum status status = memory_make(2 * light->count, sizeof *mean, "means of flats", &mean);
  if (status == STATUS_OK) status = memory_make(light->count, sizeof *bad, "means of flats", &bad);
  status = AGREE(comm, status);
  if (status == STATUS_OK) status = read_means(comm, scan, light, mean);
  if (status == STATUS_OK) {
    find_bad(light, mean, mean + light->count, bad);
    *level = good_mean(light, mean, bad);
    status = AGREE(comm, make_groups(light, bad, in_time));
  }
  memory_free(mean);
  memory_free(bad);
  return status;
}

static enum status check_levels(const struct raw_tomo *scan, const char *file, int64_t flats,
                                int64_t darks, double bright, double dark) {
  if (flats && !scan->flats.count)
    return FAIL(STATUS_INPUT, "%s: none of the %lld flats is finite", file, (long long)flats);
  if (darks && !scan->darks.count)
    return FAIL(STATUS_INPUT, "%s: none of the %lld darks is finite", file, (long long)darks);
  if (flats && scan->kind == RAW_COUNTS && !(bright > dark))
    return FAIL(STATUS_INPUT,
                "%s: the flats (mean %.4g) are no brighter than the darks (%.4g): no beam, or the "
                "two exchanged",
                file, bright, dark);
  return STATUS_OK;
}

enum status tomo_light_judge(MPI_Comm comm, struct raw_tomo *scan, const char *file, bool in_time) {
  int64_t flats = scan->flats.count, darks = scan->darks.count;
  double bright, dark;
  TRY(judge(comm, scan, &scan->flats, in_time, &bright));
  TRY(judge(comm, scan, &scan->darks, false, &dark));
  TRY_ALL(comm, check_levels(scan, file, flats, darks, bright, dark));
  if (scan->flats.rejected || scan->darks.rejected)
    log_warning("%s: %lld of %lld flats and %lld of %lld darks differ from the others and are left "
                "out",
                file, (long long)scan->flats.rejected, (long long)flats,
                (long long)scan->darks.rejected, (long long)darks);
  return STATUS_OK;
}

/* ---- means ------------------------------------------------------------------------------------------------- */

/* Sums in double, in frame order. */
static enum status means_of(MPI_Comm comm, struct raw_tomo *scan,
                            const struct raw_tomo_light *light, int64_t row0, int64_t rows,
                            float *out) {
  int64_t pixels     = rows * scan->columns;
  float *frame       = NULL;
  double *sum        = NULL;
  enum status status = memory_make(pixels, sizeof *frame, "flats and darks", &frame);
  if (status == STATUS_OK) status = memory_make(pixels, sizeof *sum, "flats and darks", &sum);
  status = AGREE(comm, status);
  for (int64_t i = 0, n = 0; i < light->count && status == STATUS_OK; i++) {
    status =
        tomo_read_frames(comm, scan, source_of(scan, light), light->frame[i], 1, row0, rows, frame);
    for (int64_t k = 0; k < pixels && status == STATUS_OK; k++) sum[k] += (double)frame[k];
    n++;
    if (i + 1 < light->count && light->group[i + 1] == light->group[i]) continue;
    for (int64_t k = 0; k < pixels; k++) {
      out[light->group[i] * pixels + k] = (float)(sum[k] / (double)n);
      sum[k]                            = 0;
    }
    n = 0;
  }
  memory_free(frame);
  memory_free(sum);
  return status;
}

enum status raw_tomo_flat(MPI_Comm comm, struct raw_tomo *scan, int64_t row0, int64_t rows,
                          float *flat, float *dark) {
  for (int64_t k = 0; k < rows * scan->columns; k++) flat[k] = 1, dark[k] = 0;
  if (scan->flats.count) TRY(means_of(comm, scan, &scan->flats, row0, rows, flat));
  if (scan->darks.count) TRY(means_of(comm, scan, &scan->darks, row0, rows, dark));
  return STATUS_OK;
}

int raw_tomo_flat_at(const struct raw_tomo *scan, int64_t projection, float *share) {
  const struct raw_tomo_light *light = &scan->flats;
  double at                          = (double)scan->frame[projection];
  int g                              = 0;
  *share                             = 0;
  while (g + 1 < light->groups && light->time[g + 1] <= at) g++;
  if (g + 1 < light->groups && at > light->time[g])
    *share = (float)((at - light->time[g]) / (light->time[g + 1] - light->time[g]));
  return g;
}
