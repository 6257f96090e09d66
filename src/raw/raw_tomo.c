/* Tomography scans: finding the layout, angles and kinds of frames; reading rows of all projections. */
#include "raw_tomo.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- where things lie ---------------------------------------------------------------------------- */

struct layout {
  const char *name, *data, *key, *angles, *flats, *darks, *pixel;
};
/* In order of preference; a layout fits when its data and angles are there. */
static const struct layout layouts[] = {
    {"NXtomo",        "entry1/tomo_entry/data/data",                "entry1/tomo_entry/data/image_key",
     "entry1/tomo_entry/data/rotation_angle",                                                                                                             "",                    "",
     "entry1/tomo_entry/instrument/detector/x_pixel_size"                                                                                                                                                                                },
    {"NXtomo",        "entry1/tomo_entry/instrument/detector/data",
     "entry1/tomo_entry/instrument/detector/image_key",                                                        "entry1/tomo_entry/sample/rotation_angle",
     "",                                                                                                                                                                         "", "entry1/tomo_entry/instrument/detector/x_pixel_size"},
    {"NXtomo",        "entry/tomo_entry/instrument/detector/data",
     "entry/tomo_entry/instrument/detector/image_key",                                                         "entry/tomo_entry/sample/rotation_angle",  "",
     "",                                                                                                                                                                             "entry/tomo_entry/instrument/detector/x_pixel_size" },
    {"NXtomo",        "entry/instrument/detector/data",             "entry/instrument/detector/image_key",
     "entry/sample/rotation_angle",                                                                                                                       "",                    "", "entry/instrument/detector/x_pixel_size"            },
    {"NXtomo",        "entry0000/instrument/detector/data",         "entry0000/instrument/detector/image_key",
     "entry0000/sample/rotation_angle",                                                                                                                   "",                    "", "entry0000/instrument/detector/x_pixel_size"        },
    {"NXtomo",        "entry/imaging/data",                         "entry/instrument/imaging/image_key",
     "entry/imaging/gts_theta_value",                                                                                                                     "",                    "", "entry/instrument/imaging/x_pixel_size"             },
    {"Data Exchange", "exchange/data",                              "",                                        "exchange/theta",                          "exchange/data_white",
     "exchange/data_dark",                                                                                                                                                           "measurement/instrument/detector/pixel_size_x"      },
    {"sinogram",      "entry/sinogram/data",                        "",                                        "entry/sinogram/rotation_angle",           "",                    "", ""                                                  },
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

struct places {
  char layout[32], file[STORE_NAME_BYTES], data[STORE_NAME_BYTES], key[STORE_NAME_BYTES],
      angles[STORE_NAME_BYTES], flats[STORE_NAME_BYTES], darks[STORE_NAME_BYTES],
      pixel[STORE_NAME_BYTES];
};

static void set_text(char *to, const char *from) { snprintf(to, STORE_NAME_BYTES, "%s", from); }

static void split_name(const char *name, char *file, char *dataset) {
  set_text(file, name);
  dataset[0]  = 0;
  FILE *whole = fopen(name, "rb");
  char *colon = strrchr(file, ':');
  if (whole)
    fclose(whole);
  else if (colon) {
    set_text(dataset, colon + 1);
    *colon = 0;
  }
}

static enum status fits(MPI_Comm comm, const char *file, const struct layout *layout, bool *found) {
  TRY(store_has(comm, file, layout->data, found));
  if (*found) TRY(store_has(comm, file, layout->angles, found));
  return STATUS_OK;
}

static enum status place_optional(MPI_Comm comm, const char *file, const char *path, char *to) {
  bool found = false;
  if (*path) TRY(store_has(comm, file, path, &found));
  if (found) set_text(to, path);
  return STATUS_OK;
}

static enum status take_layout(MPI_Comm comm, const struct layout *layout, struct places *at) {
  snprintf(at->layout, sizeof at->layout, "%s", layout->name);
  if (!at->data[0]) set_text(at->data, layout->data);
  set_text(at->angles, layout->angles);
  TRY(place_optional(comm, at->file, layout->key, at->key));
  TRY(place_optional(comm, at->file, layout->flats, at->flats));
  TRY(place_optional(comm, at->file, layout->darks, at->darks));
  return place_optional(comm, at->file, layout->pixel, at->pixel);
}

static bool ends_in(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcasecmp(text + n - m, end) == 0;
}

static enum status find_places(MPI_Comm comm, const struct raw_tomo_request *request,
                               struct places *at) {
  memset(at, 0, sizeof *at);
  split_name(request->input, at->file, at->data);
  bool tiff = ends_in(at->file, ".tif") || ends_in(at->file, ".tiff"), found = false;
  snprintf(at->layout, sizeof at->layout, "%s", tiff ? "TIFF" : "dataset");
  for (int i = 0; i < LAYOUTS && !tiff && !found; i++) {
    TRY(fits(comm, at->file, &layouts[i], &found));
    if (at->data[0] && strcmp(at->data + (at->data[0] == '/'), layouts[i].data) != 0) found = false;
    if (found) TRY(take_layout(comm, &layouts[i], at));
  }
  if (request->angles[0]) set_text(at->angles, request->angles);
  if (request->image_key[0]) set_text(at->key, request->image_key);
  return STATUS_OK;
}

/* ---- angles ----------------------------------------------------------------------------------------- */

static enum status unit_factor(const char *unit, const double *angle, int64_t n, double *factor) {
  double most = 0;
  for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(angle[i] - angle[0]));
  bool degrees = strncasecmp(unit, "deg", 3) == 0, radians = strncasecmp(unit, "rad", 3) == 0;
  if (*unit && !degrees && !radians)
    return FAIL(STATUS_INPUT,
                "the unit '%.20s' of the rotation angles is neither degrees nor radians", unit);
  if (!*unit) {
    degrees = most > 7; /* a turn is 6.28 rad; no scan spans less than 7 degrees */
    log_info("the rotation angles have no unit; they span %g, so they are taken as %s", most,
             degrees ? "degrees" : "radians");
  }
  *factor = degrees ? 1 / DEG_PER_RAD : 1;
  return STATUS_OK;
}

static enum status make_angles(struct raw_tomo *scan, const double *value, int64_t n,
                               int64_t frames, double factor) {
  if (n != frames && n != scan->projections)
    return FAIL(STATUS_INPUT, "%lld rotation angles for %lld frames", (long long)n,
                (long long)frames);
  for (int64_t i = 0; i < scan->projections; i++) {
    double angle = value[n == frames ? scan->frame[i] : i];
    if (!isfinite(angle))
      return FAIL(STATUS_INPUT, "the rotation angle of frame %lld is not finite",
                  (long long)scan->frame[i]);
    scan->angle_rad[i] = angle * factor;
  }
  return STATUS_OK;
}

static enum status read_angles(MPI_Comm comm, const struct places *at, double arc_deg,
                               int64_t frames, struct raw_tomo *scan) {
  double *value = NULL, factor = 1;
  int64_t n  = 0;
  bool found = false, has_unit;
  char path[STORE_NAME_BYTES + 16], unit[64] = "";
  if (!at->angles[0]) {
    if (!(arc_deg > 0))
      return AGREE(comm, FAIL(STATUS_INPUT,
                              "%s has no rotation angles: name them with --angles DATASET, or say "
                              "--arc 180 or 360 for equal steps",
                              at->file));
    for (int64_t i = 0; i < scan->projections; i++)
      scan->angle_rad[i] = arc_deg / DEG_PER_RAD * (double)i / (double)scan->projections;
    return STATUS_OK;
  }
  TRY(store_get_doubles(comm, at->file, at->angles, &found, &value, &n));
  if (!found)
    return AGREE(comm, FAIL(STATUS_INPUT, "%s has no dataset %s for the rotation angles", at->file,
                            at->angles));
  snprintf(path, sizeof path, "%s@units", at->angles);
  enum status status = store_get_text(comm, at->file, path, &has_unit, unit, sizeof unit);
  if (status == STATUS_OK)
    status = AGREE(comm, unit_factor(has_unit ? unit : "", value, n, &factor));
  if (status == STATUS_OK) status = AGREE(comm, make_angles(scan, value, n, frames, factor));
  memory_free(value);
  return status;
}

/* ---- kinds of frames ---------------------------------------------------------------------------------- */

enum { KEY_PROJECTION, KEY_FLAT, KEY_DARK, KEY_INVALID };

static enum status sort_frames(const double *key, int64_t keys, int64_t frames,
                               struct raw_tomo *scan) {
  if (key && keys != frames)
    return FAIL(STATUS_INPUT, "%lld image keys for %lld frames", (long long)keys,
                (long long)frames);
  TRY(memory_make(frames, sizeof *scan->frame, "frames of a scan", &scan->frame));
  TRY(memory_make(frames, sizeof *scan->flat_frame, "frames of a scan", &scan->flat_frame));
  TRY(memory_make(frames, sizeof *scan->dark_frame, "frames of a scan", &scan->dark_frame));
  TRY(memory_make(frames, sizeof *scan->angle_rad, "angles of a scan", &scan->angle_rad));
  for (int64_t i = 0; i < frames; i++) {
    double k = key ? key[i] : KEY_PROJECTION;
    if (k == KEY_PROJECTION)
      scan->frame[scan->projections++] = i;
    else if (k == KEY_FLAT)
      scan->flat_frame[scan->flat_count++] = i;
    else if (k == KEY_DARK)
      scan->dark_frame[scan->dark_count++] = i;
    else if (k != KEY_INVALID)
      return FAIL(
          STATUS_INPUT,
          "image key %g of frame %lld; it would be 0 projection, 1 flat, 2 dark or 3 invalid", k,
          (long long)i);
  }
  if (scan->projections < 2)
    return FAIL(STATUS_INPUT, "%lld projections among %lld frames; at least 2 are needed",
                (long long)scan->projections, (long long)frames);
  return STATUS_OK;
}

static enum status read_key(MPI_Comm comm, const struct places *at, int64_t frames,
                            struct raw_tomo *scan) {
  double *key  = NULL;
  int64_t keys = 0;
  bool found   = false;
  if (at->key[0]) {
    TRY(store_get_doubles(comm, at->file, at->key, &found, &key, &keys));
    if (!found)
      return AGREE(comm,
                   FAIL(STATUS_INPUT, "%s has no dataset %s for the image key", at->file, at->key));
  }
  enum status status = AGREE(comm, sort_frames(key, keys, frames, scan));
  memory_free(key);
  return status;
}

static enum status open_apart(MPI_Comm comm, const struct places *at, const char *said,
                              const char *inside, const char *what, const struct raw_tomo *scan,
                              struct store_input **input) {
  char name[2 * STORE_NAME_BYTES];
  if (strcmp(said, "none") == 0 || (!said[0] && !inside[0])) return STATUS_OK;
  if (said[0])
    snprintf(name, sizeof name, "%s", said);
  else
    snprintf(name, sizeof name, "%s:%s", at->file, inside);
  TRY(store_open(comm, name, NULL, 3, input));
  const struct store_info *info = store_info(*input);
  if (info->n[1] == scan->rows && info->n[2] == scan->columns) return STATUS_OK;
  return AGREE(comm,
               FAIL(STATUS_INPUT, "%s: the %s have %lld x %lld pixels, the projections %lld x %lld",
                    name, what, (long long)info->n[1], (long long)info->n[2], (long long)scan->rows,
                    (long long)scan->columns));
}

static enum status choose_kind(const struct raw_tomo_request *request, const struct places *at,
                               struct raw_tomo *scan) {
  bool flats = scan->flats || scan->flat_count > 0, none = strcmp(request->flats, "none") == 0;
  if (strcmp(request->kind, "transmission") == 0)
    scan->kind = RAW_TRANSMISSION;
  else if (strcmp(request->kind, "attenuation") == 0)
    scan->kind = RAW_ATTENUATION;
  else if (strcmp(request->kind, "counts") == 0 || flats || none)
    scan->kind = RAW_COUNTS;
  else if (strcmp(at->layout, "sinogram") == 0)
    scan->kind = RAW_ATTENUATION;
  else
    return FAIL(
        STATUS_INPUT,
        "%s has no flats: give --flats FILE:DATASET or --flats none, or say what the values are "
        "with --kind transmission|attenuation",
        at->file);
  if (scan->kind == RAW_COUNTS && !flats && !none)
    return FAIL(STATUS_INPUT, "%s has no flats: give --flats FILE:DATASET or say --flats none",
                at->file);
  return STATUS_OK;
}

/* ---- opening --------------------------------------------------------------------------------------------- */

static enum status take_shape(const struct places *at, struct raw_tomo *scan, int64_t *frames) {
  const struct store_info *info = store_info(scan->data);
  scan->is_sinogram             = info->rank == 2 || (info->is_tiff && info->n[0] == 1);
  if (info->rank == 2)
    *frames = info->n[0], scan->rows = 1, scan->columns = info->n[1];
  else if (info->rank == 3 && scan->is_sinogram)
    *frames = info->n[1], scan->rows = 1, scan->columns = info->n[2];
  else if (info->rank == 3)
    *frames = info->n[0], scan->rows = info->n[1], scan->columns = info->n[2];
  else
    return FAIL(
        STATUS_INPUT,
        "%s:%s has %d axes; frames have 3 (frame, row, column), a sinogram 2 (angle, column)",
        at->file, at->data, info->rank);
  if (scan->columns < 4)
    return FAIL(STATUS_INPUT, "%s:%s has %lld columns; at least 4 are needed", at->file, at->data,
                (long long)scan->columns);
  return STATUS_OK;
}

static enum status read_pixel(MPI_Comm comm, const struct places *at, struct raw_tomo *scan) {
  static const struct {
    const char *unit;
    double um;
  } units[] = {
      {"um",      1   },
      {"micron",  1   },
      {"microns", 1   },
      {"mm",      1e3 },
      {"cm",      1e4 },
      {"m",       1e6 },
      {"nm",      1e-3}
  };
  double *value = NULL;
  int64_t n     = 0;
  bool found    = false;
  char path[STORE_NAME_BYTES + 16], unit[64] = "m"; /* NeXus' own default */
  if (!at->pixel[0]) return STATUS_OK;
  TRY(store_get_doubles(comm, at->file, at->pixel, &found, &value, &n));
  snprintf(path, sizeof path, "%s@units", at->pixel);
  enum status status = store_get_text(comm, at->file, path, &found, unit, sizeof unit);
  if (!found) snprintf(unit, sizeof unit, "m");
  for (size_t i = 0; i < sizeof units / sizeof *units && n > 0; i++)
    if (strcmp(unit, units[i].unit) == 0 && value[0] > 0) scan->pixel_um = value[0] * units[i].um;
  memory_free(value);
  return status;
}

static enum status open_scan(MPI_Comm comm, const struct raw_tomo_request *request,
                             struct raw_tomo *scan) {
  struct places at;
  int64_t frames = 0;
  char name[2 * STORE_NAME_BYTES];
  TRY(find_places(comm, request, &at));
  snprintf(scan->layout, sizeof scan->layout, "%s", at.layout);
  snprintf(name, sizeof name, "%s%s%s", at.file, at.data[0] ? ":" : "", at.data);
  TRY(store_open(comm, name, NULL, 0, &scan->data));
  TRY_ALL(comm, take_shape(&at, scan, &frames));
  TRY(read_key(comm, &at, frames, scan));
  TRY(read_angles(comm, &at, request->arc_deg, frames, scan));
  TRY(open_apart(comm, &at, request->flats, at.flats, "flats", scan, &scan->flats));
  TRY(open_apart(comm, &at, request->darks, at.darks, "darks", scan, &scan->darks));
  TRY_ALL(comm, choose_kind(request, &at, scan));
  return read_pixel(comm, &at, scan);
}

enum status raw_tomo_open(MPI_Comm comm, const struct raw_tomo_request *request,
                          struct raw_tomo *scan) {
  memset(scan, 0, sizeof *scan);
  enum status status = open_scan(comm, request, scan);
  if (status != STATUS_OK) raw_tomo_close(scan);
  return status;
}

void raw_tomo_close(struct raw_tomo *scan) {
  if (scan->data) store_close(&scan->data);
  if (scan->flats) store_close(&scan->flats);
  if (scan->darks) store_close(&scan->darks);
  memory_free(scan->frame);
  memory_free(scan->flat_frame);
  memory_free(scan->dark_frame);
  memory_free(scan->angle_rad);
  memset(scan, 0, sizeof *scan);
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

/* Frames first .. first + n - 1, rows row0 .. of the file, as float32 [frame][row][column]. */
static enum status read_frames(MPI_Comm comm, const struct raw_tomo *scan, struct store_input *from,
                               int64_t first, int64_t n, int64_t row0, int64_t rows, float *to) {
  int64_t start[3] = {first, row0, 0}, count[3] = {rows ? n : 0, rows, rows ? scan->columns : 0};
  const struct store_info *info = store_info(from);
  if (scan->is_sinogram && info->rank == 2) start[1] = 0, count[1] = count[2];
  if (scan->is_sinogram && info->rank == 3) {
    start[0] = 0, start[1] = first, start[2] = 0;
    count[0] = rows ? 1 : 0, count[1] = rows ? n : 0;
  }
  return store_read_box(comm, from, start, count, GRID_F32, false, to);
}

/* The frames of one read: a buffer of about 64 MB on the busiest rank. */
static int64_t frames_per_read(MPI_Comm comm, const struct raw_tomo *scan, int64_t rows,
                               int64_t frames) {
  int64_t most = rows;
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, comm);
  int64_t n = ((int64_t)64 << 20) / (4 * scan->columns * (most ? most : 1));
  return n < 1 ? 1 : n < frames ? n : frames;
}

/* Rows of frames to rows of sinograms. */
static void place_frames(const struct raw_tomo *scan, int64_t first, int64_t n, int64_t rows,
                         const float *frames, int64_t *projection, struct grid_field *sinogram) {
  for (; *projection < scan->projections && scan->frame[*projection] < first + n; ++*projection) {
    const float *from = frames + (scan->frame[*projection] - first) * rows * scan->columns;
    float *to         = (float *)sinogram->data + *projection * sinogram->row[1];
    for (int64_t r = 0; r < rows; r++)
      memcpy(to + r * sinogram->row[0], from + r * scan->columns,
             (size_t)scan->columns * sizeof *to);
  }
}

enum status raw_tomo_read(MPI_Comm comm, struct raw_tomo *scan, int64_t row0,
                          struct grid_field *sinogram) {
  int64_t rows = sinogram->mine.n[0], frames = scan->frame[scan->projections - 1] + 1,
          projection = 0;
  int64_t each       = frames_per_read(comm, scan, rows, frames);
  float *buffer      = NULL;
  enum status status = fault_here("raw.read");
  if (status == STATUS_OK)
    status = memory_make_raw(each * rows * scan->columns, sizeof *buffer, "frames", &buffer);
  status = AGREE(comm, status);
  for (int64_t first = 0; first < frames && status == STATUS_OK; first += each) {
    int64_t n = first + each < frames ? each : frames - first;
    status =
        read_frames(comm, scan, scan->data, first, n, row0 + sinogram->mine.start[0], rows, buffer);
    if (status == STATUS_OK) place_frames(scan, first, n, rows, buffer, &projection, sinogram);
  }
  memory_free(buffer);
  return status;
}

/* ---- flats and darks ------------------------------------------------------------------------------------------- */

struct kind {
  struct store_input *from;
  const int64_t *frame;
  int64_t count;
  const char *words;
};

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Means of whole frames decide which are bad: the same on all ranks. */
static enum status find_bad(MPI_Comm comm, const double *sum, int64_t n, bool *bad, int *rejected) {
  struct exact_sum *sums;
  double *mean;
  TRY_ALL(comm, memory_make(n, sizeof *sums, "means of frames", &sums));
  enum status status = AGREE(comm, memory_make(2 * n, sizeof *mean, "means of frames", &mean));
  if (status == STATUS_OK) {
    for (int64_t i = 0; i < n; i++) exact_add(&sums[i], sum[i]);
    status = exact_allreduce(comm, sums, (int)n);
    for (int64_t i = 0; i < n; i++) mean[i] = mean[n + i] = exact_value(&sums[i]);
    qsort(mean + n, (size_t)n, sizeof *mean, ascending);
    double middle = mean[n + n / 2];
    for (int64_t i = 0; i < n; i++) {
      bad[i] = n > 2 && fabs(mean[i] - middle) > 0.3 * fabs(middle);
      if (rejected) *rejected += bad[i];
    }
    memory_free(mean);
  }
  memory_free(sums);
  return status;
}

static enum status mean_of(MPI_Comm comm, struct raw_tomo *scan, const struct kind *kind,
                           int64_t row0, int64_t rows, float *out, int *rejected) {
  int64_t pixels     = rows * scan->columns;
  float *frame       = NULL;
  double *sum        = NULL;
  bool *bad          = NULL;
  enum status status = memory_make(kind->count * pixels, sizeof *frame, "flats and darks", &frame);
  if (status == STATUS_OK) status = memory_make(kind->count, sizeof *sum, "flats and darks", &sum);
  if (status == STATUS_OK) status = memory_make(kind->count, sizeof *bad, "flats and darks", &bad);
  status = AGREE(comm, status);
  for (int64_t i = 0; i < kind->count && status == STATUS_OK; i++) {
    status = read_frames(comm, scan, kind->from, kind->frame ? kind->frame[i] : i, 1, row0, rows,
                         frame + i * pixels);
    for (int64_t k = 0; k < pixels && status == STATUS_OK; k++)
      sum[i] += (double)frame[i * pixels + k];
  }
  if (status == STATUS_OK) status = find_bad(comm, sum, kind->count, bad, rejected);
  for (int64_t k = 0; k < pixels && status == STATUS_OK; k++) {
    double total = 0, good = 0;
    for (int64_t i = 0; i < kind->count; i++)
      if (!bad[i]) total += (double)frame[i * pixels + k], good++;
    out[k] = (float)(total / good);
  }
  memory_free(frame);
  memory_free(sum);
  memory_free(bad);
  return status;
}

enum status raw_tomo_flat(MPI_Comm comm, struct raw_tomo *scan, int64_t row0, int64_t rows,
                          float *flat, float *dark, int *rejected) {
  struct kind flats = {scan->flats ? scan->flats : scan->data,
                       scan->flats ? NULL : scan->flat_frame,
                       scan->flats ? store_info(scan->flats)->n[0] : scan->flat_count, "flats"};
  struct kind darks = {scan->darks ? scan->darks : scan->data,
                       scan->darks ? NULL : scan->dark_frame,
                       scan->darks ? store_info(scan->darks)->n[0] : scan->dark_count, "darks"};
  for (int64_t k = 0; k < rows * scan->columns; k++) flat[k] = 1, dark[k] = 0;
  if (rejected) *rejected = 0;
  if (flats.count) TRY(mean_of(comm, scan, &flats, row0, rows, flat, rejected));
  if (darks.count) TRY(mean_of(comm, scan, &darks, row0, rows, dark, rejected));
  return STATUS_OK;
}
