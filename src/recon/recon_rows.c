/* Rows of the detector on their way to line integrals: read, flat field, logarithm, repairs, zingers, rings; scans side
 * by side joined; the axis made upright; air made clear. */
#include "recon_stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *text, const char *value) { return strcmp(text, value) == 0; }

static struct recon_rings rings_of(const struct recon_params *p) {
  return (struct recon_rings){.method = p->rings,
                              .width  = p->ring_width,
                              .wide   = p->ring_wide,
                              .sd     = p->ring_sd,
                              .sigma  = p->ring_sigma,
                              .alpha  = p->ring_alpha};
}

/* ---- one scan --------------------------------------------------------------------------------------------------- */

/* When each projection was taken, against the flats. */
static void fill_times(const struct raw_tomo *scan, int *group, float *share) {
  for (int64_t i = 0; i < scan->projections; i++) group[i] = raw_tomo_flat_at(scan, i, &share[i]);
}

static enum status normalise(struct recon_job *w, struct raw_tomo *scan, int64_t row0,
                             struct grid_field *field) {
  int64_t rows = field->mine.n[0], columns = scan->columns, pixels = rows * columns;
  float *flat = NULL, *share = NULL;
  int *group         = NULL;
  int groups         = scan->flats.groups;
  enum status status = memory_make((groups + 1) * pixels, sizeof *flat, "flats and darks", &flat);
  if (status == STATUS_OK)
    status = memory_make(scan->projections, sizeof *share, "times of projections", &share);
  if (status == STATUS_OK)
    status = memory_make(scan->projections, sizeof *group, "times of projections", &group);
  status = AGREE(w->job->comm, status);
  if (status == STATUS_OK && scan->kind == RAW_COUNTS)
    status = raw_tomo_flat(w->job->comm, scan, row0 + field->mine.start[0], rows, flat,
                           flat + groups * pixels);
  if (status == STATUS_OK) {
    fill_times(scan, group, share);
    struct recon_light light = {.flat        = flat,
                                .dark        = flat + groups * pixels,
                                .group       = group,
                                .share       = share,
                                .beam        = scan->beam,
                                .kind        = scan->kind,
                                .find_pixels = is(w->p->bad_pixels, "auto")};
    status = recon_normalise(&light, field->data, rows, scan->projections, columns, &w->repairs);
  }
  memory_free(flat);
  memory_free(share);
  memory_free(group);
  return AGREE(w->job->comm, status);
}

/* zingers: if they are asked for. */
static enum status clean(struct recon_job *w, const struct raw_tomo *scan, bool zingers,
                         struct grid_field *field) {
  int64_t rows = field->mine.n[0], angles = scan->projections;
  if (zingers)
    TRY(recon_zingers(w->p->zingers, w->p->zinger_sd, field->data, rows, angles, scan->columns,
                      &w->repairs.zingers));
  struct recon_rings rings = rings_of(w->p);
  for (int64_t r = 0; r < rows; r++)
    TRY(recon_rings_remove(&rings, (float *)field->data + r * field->row[0], angles,
                           scan->columns));
  return STATUS_OK;
}

/* phase: as the parameters say; the axis is looked for without. */
static enum status read_part(struct recon_job *w, struct raw_tomo *scan, int64_t row0, bool phase,
                             struct grid_field *field) {
  bool whole = phase && is(w->p->phase, "paganin"); /* zingers, too, are found there */
  if (whole)
    TRY(recon_phase_read(w, scan, row0, field));
  else {
    TRY(raw_tomo_read(w->job->comm, scan, row0, field));
    TRY(normalise(w, scan, row0, field));
  }
  return AGREE(w->job->comm, clean(w, scan, !whole, field));
}

/* ---- scans side by side --------------------------------------------------------------------------------------------- */

/* Share of part k at a column of the wide detector: a hat over its own columns against all others' hats, so that
 * what two see goes over smoothly from the one to the other, by the square of a sine. */
static double hat_at(const struct recon_job *w, int k, double column) {
  double from = w->place_px[k], to = from + (double)(w->part[k].columns - 1);
  if (column < from - 1e-6 || column > to + 1e-6) return 0;
  double before = INFINITY, after = INFINITY; /* columns shared with a neighbour on each side */
  for (int j = 0; j < w->parts; j++) {
    double low = w->place_px[j], high = low + (double)(w->part[j].columns - 1);
    if (j == k) continue;
    if (low < from && high > from) before = fmin(before, high - from);
    if (high > to && low < to) after = fmin(after, to - low);
  }
  double rise = isfinite(before) ? fmin((column - from + 0.5) / (before + 1), 1) : 1,
         fall = isfinite(after) ? fmin((to - column + 0.5) / (after + 1), 1) : 1;
  double s    = sin(0.5 * PI * fmax(fmin(rise, fall), 1e-6));
  return s * s;
}

static enum status add_part(const struct recon_job *w, int k, const struct grid_field *piece,
                            struct grid_field *sinogram) {
  int64_t lines = piece->mine.n[0] * piece->plan.n[1], wide = w->wide;
  float *share, *line;
  TRY(memory_make(2 * wide, sizeof *share, "shares of a scan", &share));
  line = share + wide;
  for (int64_t c = 0; c < wide; c++) {
    double all = 0, mine = hat_at(w, k, (double)c);
    for (int j = 0; j < w->parts; j++) all += hat_at(w, j, (double)c);
    share[c] = all > 0 ? (float)(mine / all) : 0;
  }
  enum status status = STATUS_OK;
  for (int64_t i = 0; i < lines && status == STATUS_OK; i++) {
    float *to = (float *)sinogram->data + i * wide;
    status = recon_shift((const float *)piece->data + i * w->part[k].columns, 1, w->part[k].columns,
                         w->place_px[k], wide, line);
    for (int64_t c = 0; c < wide; c++)
      if (share[c] > 0) to[c] += share[c] * line[c];
  }
  memory_free(share);
  return status;
}

/* The plan of a field as deep and with other columns. */
static enum status plan_like(const struct grid_plan *like, int64_t columns,
                             struct grid_plan *plan) {
  const int64_t n[3] = {like->n[0], like->n[1], columns};
  int64_t *share;
  TRY(memory_make(like->size, sizeof *share, "shares", &share));
  for (int r = 0; r < like->size; r++) share[r] = grid_plan_box(like, r).n[0];
  enum status status = grid_plan_cuts(like->comm, n, 0, share, plan);
  memory_free(share);
  return status;
}

static enum status join_parts(struct recon_job *w, int64_t row0, bool phase,
                              struct grid_field *sinogram) {
  MPI_Comm comm = w->job->comm;
  memset(sinogram->data, 0, (size_t)sinogram->voxels * sizeof(float));
  for (int k = 0; k < w->parts; k++) {
    struct grid_plan plan = {.cut = {NULL}};
    struct grid_field piece;
    TRY_ALL(comm, plan_like(&sinogram->plan, w->part[k].columns, &plan));
    enum status status = grid_field_make(comm, &plan, GRID_F32, NULL, &piece);
    grid_plan_free(&plan);
    TRY(status);
    status = read_part(w, &w->part[k], row0, phase, &piece);
    if (status == STATUS_OK) status = AGREE(comm, add_part(w, k, &piece, sinogram));
    grid_field_free(&piece);
    TRY(status);
  }
  return STATUS_OK;
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------- */

/* Each row moves so that its axis stands where that of the detector's middle row stands. */
static enum status make_upright(const struct recon_job *w, int64_t row0,
                                struct grid_field *sinogram) {
  int64_t lines = sinogram->plan.n[1], columns = w->wide;
  float *moved;
  TRY(memory_make_raw(lines * columns, sizeof *moved, "an upright sinogram", &moved));
  enum status status = STATUS_OK;
  for (int64_t r = 0; r < sinogram->mine.n[0] && status == STATUS_OK; r++) {
    float *row = (float *)sinogram->data + r * sinogram->row[0];
    double from =
        (double)(row0 + sinogram->mine.start[0] + r) - 0.5 * (double)(w->part[0].rows - 1);
    status = recon_shift(row, lines, columns, -w->tilt_px * from, columns, moved);
    if (status == STATUS_OK) memcpy(row, moved, (size_t)(lines * columns) * sizeof *row);
  }
  memory_free(moved);
  return status;
}

static enum status read_rows(struct recon_job *w, int64_t row0, bool phase,
                             struct grid_field *sinogram) {
  if (w->parts > 1)
    TRY(join_parts(w, row0, phase, sinogram));
  else
    TRY(read_part(w, &w->part[0], row0, phase, sinogram));
  if (w->air > 0)
    recon_air(sinogram->data, sinogram->mine.n[0], sinogram->plan.n[1], w->wide, w->air0, w->air);
  return STATUS_OK;
}

enum status recon_rows_read(struct recon_job *w, int64_t first, struct grid_field *sinogram) {
  TRY(read_rows(w, w->row0 + first, true, sinogram));
  if (!(fabs(w->tilt_px) > 0)) return STATUS_OK;
  return AGREE(w->job->comm, make_upright(w, w->row0 + first, sinogram));
}

/* ---- what it takes ------------------------------------------------------------------------------------------------------- */

static int64_t widest(const struct recon_job *w) {
  int64_t most = 0;
  for (int k = 0; k < w->parts; k++)
    if (w->part[k].columns > most) most = w->part[k].columns;
  return most;
}

/* Flats by groups, darks, the frame and the sum of a mean; a piece of the wide detector. */
int64_t recon_rows_bytes(const struct recon_job *w) {
  int64_t columns = widest(w), piece = w->parts > 1 ? 4 * columns * w->part[0].projections : 0;
  return piece + 4 * columns * (w->part[0].flats.groups + 1);
}

/* The buffers of reading, or those of cleaning one row: what is held at one time. */
int64_t recon_rows_fixed_bytes(const struct recon_job *w, int64_t rows) {
  const struct raw_tomo *scan = &w->part[0];
  int64_t columns = widest(w), angles = scan->projections, bin = scan->bin,
          frames  = scan->frame[angles - 1] + 1,
          line    = 4 * columns * rows * (bin > 1 ? bin * bin + 1 : 1);
  int64_t reading = (int64_t)64 << 20;
  if (line * frames < reading) reading = line * frames;
  if (line > reading) reading = line;
  reading += reading / 2; /* as the file has them, before they are floats */
  if (reading < 12 * columns * rows) reading = 12 * columns * rows; /* a mean of flats */
  struct recon_rings rings = rings_of(w->p);
  int64_t cleaning         = is(w->p->zingers, "none") ? 0 : 4 * (angles + 2) * columns,
          ringing          = recon_rings_bytes(&rings, angles, columns);
  if (ringing > cleaning) cleaning = ringing;
  if (fabs(w->tilt_px) > 0 && cleaning < 4 * angles * w->wide) cleaning = 4 * angles * w->wide;
  return (reading > cleaning ? reading : cleaning) + recon_phase_bytes(w);
}

/* ---- a band of rows ------------------------------------------------------------------------------------------------------- */

enum { BAND_ROWS = 9 };

static int64_t band_of(const struct recon_job *w) {
  int64_t third = w->rows / 3;
  return third < 1 ? 1 : third < BAND_ROWS ? third : BAND_ROWS;
}

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

static void add_band(const struct grid_field *field, float *mean) {
  int64_t lines      = field->plan.n[1] * field->plan.n[2];
  const float *value = field->data;
  memset(mean, 0, (size_t)lines * sizeof *mean);
  for (int64_t i = 0; i < field->voxels; i++) mean[i % lines] += value[i] / (float)field->plan.n[0];
}

/* k < 0: of the wide detector, else of one scan. */
static enum status read_band(struct recon_job *w, int k, int64_t row, float *mean) {
  MPI_Comm comm = w->job->comm;
  int64_t band = band_of(w), first = row - band / 2, columns = k < 0 ? w->wide : w->part[k].columns;
  if (first < 0) first = 0;
  if (first + band > w->rows) first = w->rows - band;
  const int64_t n[3]          = {band, w->part[0].projections, columns};
  struct recon_repairs before = w->repairs;
  struct grid_plan plan       = {.cut = {NULL}};
  struct grid_field field;
  TRY_ALL(comm, plan_on_root(comm, n, &plan));
  enum status status = grid_field_make(comm, &plan, GRID_F32, NULL, &field);
  grid_plan_free(&plan);
  TRY(status);
  status = k < 0 ? read_rows(w, w->row0 + first, false, &field)
                 : read_part(w, &w->part[k], w->row0 + first, false, &field);
  if (status == STATUS_OK) {
    add_band(&field, mean);
    for (int64_t a = 0; a < n[1]; a++)
      MPI_Bcast(mean + a * columns, (int)columns, MPI_FLOAT, 0, comm);
  }
  grid_field_free(&field);
  w->repairs = before;
  return status;
}

enum status recon_band_read(struct recon_job *w, int64_t row, float *mean) {
  return read_band(w, -1, row, mean);
}

/* ---- where scans lie ---------------------------------------------------------------------------------------------------------- */

static enum status parse_places(struct recon_job *w) {
  const char *at = w->p->beside_px;
  for (int k = 1; k < w->parts; k++) {
    char *end;
    w->place_px[k] = strtod(at, &end) / (double)w->part[0].bin;
    bool last      = k == w->parts - 1;
    if (end == at || *end != (last ? 0 : ',') || !(fabs(w->place_px[k]) < 1e7))
      return FAIL(STATUS_USAGE,
                  "recon.beside_px = %s; it would be auto or %d numbers with commas between",
                  w->p->beside_px, w->parts - 1);
    at = end + 1;
  }
  return STATUS_OK;
}

/* A scan beside the one of those before it that it agrees with best. */
static enum status place_beside(struct recon_job *w, int k, const float *mean, int64_t angles,
                                int64_t columns) {
  double best = 0.5;
  int64_t n   = angles * columns;
  for (int j = 0; j < k; j++) {
    double shift, alike = recon_overlap_find(mean + j * n, mean + k * n, angles, columns, &shift);
    if (alike <= best) continue;
    best           = alike;
    w->place_px[k] = w->place_px[j] + shift;
  }
  if (best > 0.5) return STATUS_OK;
  return FAIL(STATUS_INPUT,
              "scan %d has nothing in common with those before it: give recon.beside_px", k);
}

static enum status find_places(struct recon_job *w) {
  MPI_Comm comm  = w->job->comm;
  int64_t angles = w->part[0].projections, columns = w->part[0].columns;
  float *mean = NULL;
  for (int k = 1; k < w->parts; k++)
    if (w->part[k].columns != columns)
      return AGREE(comm, FAIL(STATUS_USAGE, "recon.beside_px = auto needs scans of equal width"));
  TRY_ALL(comm, memory_make(w->parts * angles * columns, sizeof *mean, "sinograms", &mean));
  enum status status = STATUS_OK;
  for (int k = 0; k < w->parts && status == STATUS_OK; k++) {
    status = read_band(w, k, w->rows / 2, mean + k * angles * columns);
    if (status == STATUS_OK && k > 0)
      status = AGREE(comm, place_beside(w, k, mean, angles, columns));
  }
  memory_free(mean);
  return status;
}

/* All without a gap, the leftmost at column 0. */
static enum status check_places(struct recon_job *w) {
  double low = 0, high = 0;
  for (int k = 0; k < w->parts; k++) {
    low  = fmin(low, w->place_px[k]);
    high = fmax(high, w->place_px[k] + (double)w->part[k].columns);
  }
  for (int k = 0; k < w->parts; k++) w->place_px[k] -= low;
  w->wide = (int64_t)floor(high - low + 1e-6);
  for (int64_t c = 0; c < w->wide; c++) {
    double all = 0;
    for (int k = 0; k < w->parts; k++) all += hat_at(w, k, (double)c);
    if (all <= 0)
      return FAIL(STATUS_USAGE, "recon.beside_px = %s leaves column %lld of %lld unseen",
                  w->p->beside_px, (long long)c, (long long)w->wide);
  }
  return STATUS_OK;
}

enum status recon_place_parts(struct recon_job *w) {
  if (w->parts == 1) return STATUS_OK;
  if (is(w->p->beside_px, "auto"))
    TRY(find_places(w));
  else
    TRY_ALL(w->job->comm, parse_places(w));
  for (int k = 1; k < w->parts; k++)
    log_info("recon: scan %d lies %.2f columns beside the first", k,
             (w->place_px[k] - w->place_px[0]) * (double)w->part[0].bin);
  return AGREE(w->job->comm, check_places(w));
}
