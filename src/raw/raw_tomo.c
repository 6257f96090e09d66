/* Tomography scans: finding the layout, the angles and which frames are projections. */
#include "raw_tomo_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- where things lie ---------------------------------------------------------------------------- */

#define LAYOUT_NXTOMO(entry, angles)                                                               \
  {                                                                                                \
    "NXtomo", entry "/instrument/detector/data", entry "/instrument/detector/image_key",           \
        entry "/" angles, "", "", entry "/instrument/detector/x_pixel_size"                        \
  }
#define LAYOUT_FRAMES(name, data)                                                                  \
  { name, data, "", "", "", "", "" }

struct layout {
  const char *name, *data, *key, *angles, *flats, *darks, *pixel;
};
/* In order of preference; a layout fits when its data are there, and best when its angles are, too. */
static const struct layout layouts[] = {
    {"NXtomo",        "entry1/tomo_entry/data/data", "entry1/tomo_entry/data/image_key",
     "entry1/tomo_entry/data/rotation_angle",                                                                               "",                    "",
     "entry1/tomo_entry/instrument/detector/x_pixel_size"                                                                                                                                            },
    LAYOUT_NXTOMO("entry1/tomo_entry", "sample/rotation_angle"),
    LAYOUT_NXTOMO("entry/tomo_entry", "sample/rotation_angle"),
    LAYOUT_NXTOMO("entry", "sample/rotation_angle"),
    LAYOUT_NXTOMO("entry0000", "sample/rotation_angle"),
    {"NXtomo",        "entry/imaging/data",          "entry/instrument/imaging/image_key",
     "entry/imaging/gts_theta_value",                                                                                       "",                    "", "entry/instrument/imaging/x_pixel_size"       },
    {"Data Exchange", "exchange/data",               "",                                   "exchange/theta",                "exchange/data_white",
     "exchange/data_dark",                                                                                                                             "measurement/instrument/detector/pixel_size_x"},
    LAYOUT_FRAMES("MAX IV", "entry/measurement/orca"),
    LAYOUT_FRAMES("MAX IV", "entry/instrument/orca/data"),
    LAYOUT_FRAMES("MAX IV", "entry/instrument/zyla/data"),
    {"sinogram",      "entry/sinogram/data",         "",                                   "entry/sinogram/rotation_angle", "",                    "", ""                                            },
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

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

/* The data of a layout are there, at the place that the user named or none; with its angles or without. */
static enum status fits(MPI_Comm comm, const struct places *at, const struct layout *layout,
                        bool with_angles, bool *found) {
  const char *said = at->data + (at->data[0] == '/');
  *found           = !said[0] || strcmp(said, layout->data) == 0;
  if (with_angles && !layout->angles[0]) *found = false;
  if (*found) TRY(store_has(comm, at->file, layout->data, found));
  if (*found && with_angles) TRY(store_has(comm, at->file, layout->angles, found));
  return STATUS_OK;
}

static enum status place_optional(MPI_Comm comm, const char *file, const char *path, char *to) {
  bool found = false;
  if (*path) TRY(store_has(comm, file, path, &found));
  if (found) set_text(to, path);
  return STATUS_OK;
}

/* Where there is a second key for the reconstruction alone, it knows of frames taken to see whether the sample moved. */
static enum status take_layout(MPI_Comm comm, const struct layout *layout, struct places *at) {
  char control[STORE_NAME_BYTES];
  snprintf(at->layout, sizeof at->layout, "%s", layout->name);
  snprintf(control, sizeof control, "%s_control", layout->key);
  if (!at->data[0]) set_text(at->data, layout->data);
  TRY(place_optional(comm, at->file, layout->angles, at->angles));
  if (layout->key[0]) TRY(place_optional(comm, at->file, control, at->key));
  if (!at->key[0]) TRY(place_optional(comm, at->file, layout->key, at->key));
  TRY(place_optional(comm, at->file, layout->flats, at->flats));
  TRY(place_optional(comm, at->file, layout->darks, at->darks));
  return place_optional(comm, at->file, layout->pixel, at->pixel);
}

static bool ends_in(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcasecmp(text + n - m, end) == 0;
}

/* Angles without frames: a link that leads nowhere. Opening them says which. */
static enum status say_lost(MPI_Comm comm, const struct places *at) {
  for (int i = 0; i < LAYOUTS; i++) {
    char name[2 * STORE_NAME_BYTES];
    bool found               = false;
    struct store_input *none = NULL;
    if (layouts[i].angles[0]) TRY(store_has(comm, at->file, layouts[i].angles, &found));
    if (!found) continue;
    snprintf(name, sizeof name, "%s:%s", at->file, layouts[i].data);
    TRY(store_open(comm, name, NULL, 0, &none));
    store_close(&none);
  }
  return STATUS_OK;
}

enum status tomo_find_places(MPI_Comm comm, const char *input, struct places *at) {
  memset(at, 0, sizeof *at);
  split_name(input, at->file, at->data);
  bool tiff = ends_in(at->file, ".tif") || ends_in(at->file, ".tiff"), found = false;
  snprintf(at->layout, sizeof at->layout, "%s", tiff ? "TIFF" : "dataset");
  for (int i = 0; i < 2 * LAYOUTS && !tiff && !found; i++) {
    const struct layout *layout = &layouts[i % LAYOUTS];
    TRY(fits(comm, at, layout, i < LAYOUTS, &found));
    if (found) TRY(take_layout(comm, layout, at));
  }
  return found || tiff || at->data[0] ? STATUS_OK : say_lost(comm, at);
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

/* `number` counts a projection among all of the scan's. */
static double angle_at(const struct raw_tomo *scan, const double *value, int64_t n, int64_t frames,
                       int64_t number) {
  return value[n == frames ? scan->frame[number] : number];
}

static enum status make_angles(struct raw_tomo *scan, const struct places *at, const double *value,
                               int64_t n, int64_t frames, double factor) {
  if (n != frames && n != scan->projections)
    return FAIL(STATUS_INPUT, "%s: %lld rotation angles for %lld frames, %lld of them projections",
                at->file, (long long)n, (long long)frames, (long long)scan->projections);
  for (int64_t i = 0; i < scan->projections; i++) {
    double angle = angle_at(scan, value, n, frames, i);
    if (!isfinite(angle))
      return FAIL(STATUS_INPUT, "%s: the rotation angle of frame %lld is not finite", at->file,
                  (long long)scan->frame[i]);
    scan->angle_rad[i] = angle * factor;
  }
  return STATUS_OK;
}

static enum status no_angles(const struct places *at, double arc_deg, struct raw_tomo *scan) {
  if (!(arc_deg > 0))
    return FAIL(STATUS_INPUT,
                "%s (%s) has no rotation angles: name them with --angles DATASET, or say --arc 180 "
                "or 360 for equal steps",
                at->file, at->layout);
  for (int64_t i = 0; i < scan->projections; i++)
    scan->angle_rad[i] = arc_deg / DEG_PER_RAD * (double)i / (double)scan->projections;
  return STATUS_OK;
}

static enum status read_angles(MPI_Comm comm, const struct places *at, double arc_deg,
                               int64_t frames, struct raw_tomo *scan) {
  double *value = NULL, factor = 1;
  int64_t n  = 0;
  bool found = false, has_unit;
  char path[STORE_NAME_BYTES + 16], unit[64] = "";
  if (!at->angles[0]) return AGREE(comm, no_angles(at, arc_deg, scan));
  TRY(store_get_doubles(comm, at->file, at->angles, &found, &value, &n));
  if (!found)
    return AGREE(comm, FAIL(STATUS_INPUT, "%s has no dataset %s for the rotation angles", at->file,
                            at->angles));
  snprintf(path, sizeof path, "%s@units", at->angles);
  enum status status = store_get_text(comm, at->file, path, &has_unit, unit, sizeof unit);
  if (status == STATUS_OK)
    status = AGREE(comm, unit_factor(has_unit ? unit : "", value, n, &factor));
  if (status == STATUS_OK) status = AGREE(comm, make_angles(scan, at, value, n, frames, factor));
  memory_free(value);
  return status;
}

/* ---- the beam ------------------------------------------------------------------------------------------ */

static double mean_of_frames(const double *value, const struct raw_tomo_light *light) {
  double sum = 0;
  for (int64_t i = 0; i < light->count; i++) sum += value[light->frame[i]] / (double)light->count;
  return sum;
}

/* Against the flats' own intensity where the monitor saw them, else against the mean of the projections. */
static enum status make_beam(struct raw_tomo *scan, const char *name, const double *value,
                             int64_t n, int64_t frames) {
  double reference = 0;
  if (n != frames && n != scan->projections)
    return FAIL(STATUS_INPUT, "%lld intensities in %s for %lld frames, %lld of them projections",
                (long long)n, name, (long long)frames, (long long)scan->projections);
  TRY(memory_make(scan->projections, sizeof *scan->beam, "intensities of the beam", &scan->beam));
  for (int64_t i = 0; i < scan->projections; i++) {
    scan->beam[i] = angle_at(scan, value, n, frames, i);
    if (!(scan->beam[i] > 0 && isfinite(scan->beam[i])))
      return FAIL(STATUS_INPUT, "%s: the intensity %g of frame %lld is not above 0", name,
                  scan->beam[i], (long long)scan->frame[i]);
    reference += scan->beam[i] / (double)scan->projections;
  }
  if (n == frames && scan->flats.count && !scan->flats.apart)
    reference = mean_of_frames(value, &scan->flats);
  if (!(reference > 0))
    return FAIL(STATUS_INPUT, "%s: the intensity of the flats is %g; it would be above 0", name,
                reference);
  for (int64_t i = 0; i < scan->projections; i++) scan->beam[i] /= reference;
  return STATUS_OK;
}

static enum status read_beam(MPI_Comm comm, const struct places *at, const char *name,
                             int64_t frames, struct raw_tomo *scan) {
  double *value = NULL;
  int64_t n     = 0;
  bool found    = false;
  if (!name || !name[0]) return STATUS_OK;
  TRY(store_get_doubles(comm, at->file, name, &found, &value, &n));
  if (!found)
    return AGREE(comm, FAIL(STATUS_INPUT, "%s has no dataset %s for the monitor", at->file, name));
  enum status status = AGREE(comm, make_beam(scan, name, value, n, frames));
  memory_free(value);
  return status;
}

/* ---- kinds of frames ---------------------------------------------------------------------------------- */

enum status tomo_read_key(MPI_Comm comm, const struct places *at, double **key, int64_t *n) {
  bool found = false;
  *key       = NULL;
  *n         = 0;
  if (!at->key[0]) return STATUS_OK;
  TRY(store_get_doubles(comm, at->file, at->key, &found, key, n));
  if (found) return STATUS_OK;
  return AGREE(comm,
               FAIL(STATUS_INPUT, "%s has no dataset %s for the image key", at->file, at->key));
}

static enum status find_projections(const struct places *at, const double *key, int64_t keys,
                                    int64_t frames, struct raw_tomo *scan) {
  if (key && keys != frames)
    return FAIL(STATUS_INPUT, "%s: %lld image keys for %lld frames", at->file, (long long)keys,
                (long long)frames);
  TRY(memory_make(frames, sizeof *scan->frame, "frames of a scan", &scan->frame));
  TRY(memory_make(frames, sizeof *scan->angle_rad, "angles of a scan", &scan->angle_rad));
  for (int64_t i = 0; i < frames; i++) {
    double k = key ? key[i] : KEY_PROJECTION;
    if (k == KEY_PROJECTION)
      scan->frame[scan->projections++] = i;
    else if (k != KEY_FLAT && k != KEY_DARK && k != KEY_INVALID && k != KEY_ALIGNMENT)
      return FAIL(STATUS_INPUT,
                  "image key %g of frame %lld; it would be 0 projection, 1 flat, 2 dark, 3 invalid "
                  "or -1 alignment",
                  k, (long long)i);
  }
  if (scan->projections < 2)
    return FAIL(STATUS_INPUT, "%s: %lld projections among %lld frames; at least 2 are needed",
                at->file, (long long)scan->projections, (long long)frames);
  return STATUS_OK;
}

static enum status choose_kind(const struct raw_tomo_request *request, const struct places *at,
                               struct raw_tomo *scan) {
  bool flats = scan->flats.count > 0, none = strcmp(request->flats, "none") == 0;
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
  int64_t *rows = &scan->detector_rows, *columns = &scan->detector_columns;
  scan->is_sinogram = info->rank == 2 || (info->is_tiff && info->n[0] == 1);
  if (info->rank == 2)
    *frames = info->n[0], *rows = 1, *columns = info->n[1];
  else if (info->rank == 3 && scan->is_sinogram)
    *frames = info->n[1], *rows = 1, *columns = info->n[2];
  else if (info->rank == 3)
    *frames = info->n[0], *rows = info->n[1], *columns = info->n[2];
  else
    return FAIL(
        STATUS_INPUT,
        "%s:%s has %d axes; frames have 3 (frame, row, column), a sinogram 2 (angle, column)",
        at->file, at->data, info->rank);
  return STATUS_OK;
}

static enum status take_part(const struct raw_tomo_request *request, const struct places *at,
                             struct raw_tomo *scan) {
  int64_t all = scan->detector_columns, columns = request->columns;
  scan->bin     = request->bin > 0 ? request->bin : 1;
  scan->column0 = request->column0;
  if (columns == 0) columns = all - scan->column0;
  if (scan->column0 < 0 || columns < 0 || scan->column0 + columns > all)
    return FAIL(STATUS_USAGE, "recon.columns = %lld:%lld; %s has columns 0:%lld",
                (long long)scan->column0, (long long)(scan->column0 + columns), at->file,
                (long long)all);
  scan->columns = columns / scan->bin;
  scan->rows    = scan->is_sinogram ? 1 : scan->detector_rows / scan->bin;
  if (scan->rows < 1)
    return FAIL(STATUS_USAGE, "recon.bin = %lld; %s has %lld rows", (long long)scan->bin, at->file,
                (long long)scan->detector_rows);
  if (scan->columns < 4)
    return FAIL(STATUS_INPUT, "%s:%s has %lld columns%s; at least 4 are needed", at->file, at->data,
                (long long)scan->columns, scan->bin > 1 || columns < all ? " left" : "");
  return STATUS_OK;
}

/* Every n-th projection only: of frames, angles and intensities alike. */
static enum status thin_out(struct raw_tomo *scan, int64_t every) {
  if (every <= 1) return STATUS_OK;
  int64_t n = (scan->projections + every - 1) / every;
  if (n < 2)
    return FAIL(STATUS_USAGE,
                "recon.every = %lld leaves %lld of %lld projections; it would leave 2",
                (long long)every, (long long)n, (long long)scan->projections);
  for (int64_t i = 0; i < n; i++) {
    scan->frame[i]     = scan->frame[i * every];
    scan->angle_rad[i] = scan->angle_rad[i * every];
    if (scan->beam) scan->beam[i] = scan->beam[i * every];
  }
  scan->projections = n;
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
    if (strcmp(unit, units[i].unit) == 0 && value[0] > 0)
      scan->pixel_um = value[0] * units[i].um * (double)scan->bin;
  memory_free(value);
  return status;
}

static enum status open_frames(MPI_Comm comm, const struct raw_tomo_request *request,
                               const struct places *at, int64_t frames, const double *key,
                               int64_t keys, struct raw_tomo *scan) {
  TRY_ALL(comm, find_projections(at, key, keys, frames, scan));
  TRY(read_angles(comm, at, request->arc_deg, frames, scan));
  TRY(tomo_light_find(comm, at, request->flats, at->flats, KEY_FLAT, key, frames, scan,
                      &scan->flats));
  TRY(tomo_light_find(comm, at, request->darks, at->darks, KEY_DARK, key, frames, scan,
                      &scan->darks));
  TRY_ALL(comm, choose_kind(request, at, scan));
  TRY(tomo_light_judge(comm, scan, at->file, request->flats_in_time));
  TRY(read_beam(comm, at, request->monitor, frames, scan));
  return AGREE(comm, thin_out(scan, request->every));
}

static enum status open_scan(MPI_Comm comm, const struct raw_tomo_request *request,
                             struct raw_tomo *scan) {
  struct places at;
  int64_t frames = 0, keys = 0;
  double *key = NULL;
  char name[2 * STORE_NAME_BYTES];
  TRY(tomo_find_places(comm, request->input, &at));
  if (request->angles[0]) set_text(at.angles, request->angles);
  if (request->image_key[0]) set_text(at.key, request->image_key);
  snprintf(scan->layout, sizeof scan->layout, "%s", at.layout);
  snprintf(name, sizeof name, "%s%s%s", at.file, at.data[0] ? ":" : "", at.data);
  TRY(store_open(comm, name, NULL, 0, &scan->data));
  TRY_ALL(comm, take_shape(&at, scan, &frames));
  TRY_ALL(comm, take_part(request, &at, scan));
  TRY(tomo_read_key(comm, &at, &key, &keys));
  enum status status = open_frames(comm, request, &at, frames, key, keys, scan);
  memory_free(key);
  TRY(status);
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
  tomo_light_free(&scan->flats);
  tomo_light_free(&scan->darks);
  memory_free(scan->frame);
  memory_free(scan->angle_rad);
  memory_free(scan->beam);
  memset(scan, 0, sizeof *scan);
}
