/* Opening of scans: what is to be reconstructed, how wide, in which rounds. */
#include "recon_stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_PAIRS = 8 }; /* gridding is fastest with whole batches */
#define PROGRAM_BYTES                                                                              \
  ((int64_t)100 << 20) /* of a rank that has not begun: its libraries and buffers */

static bool is(const char *text, const char *value) { return strcmp(text, value) == 0; }

/* ---- parameters ---------------------------------------------------------------------------------------- */

enum status recon_parse_range(const char *name, const char *text, int64_t all, int64_t *first,
                              int64_t *n) {
  long long a = 0, b = all;
  char rest;
  if (text[0] && (sscanf(text, "%lld:%lld%c", &a, &b, &rest) != 2 || a < 0 || b > all || a >= b))
    return FAIL(STATUS_USAGE, "recon.%s = %s; it would be A:B with 0 <= A < B <= %lld", name, text,
                (long long)all);
  *first = a;
  *n     = b - a;
  return STATUS_OK;
}

static enum status parse_pad(const char *text, int64_t columns, int64_t *pad) {
  char *end;
  *pad = 0;
  if (is(text, "auto")) return STATUS_OK;
  *pad = strtoll(text, &end, 10);
  if (end == text || *end || *pad < 2 * columns || *pad % 2 || *pad > 1 << 24)
    return FAIL(STATUS_USAGE, "recon.pad = %s; it would be auto or an even number of at least %lld",
                text, (long long)(2 * columns));
  return STATUS_OK;
}

static enum status parse_centre(const struct recon_job *w, double *centre) {
  const char *text = w->p->centre;
  double last      = recon_column_there(w, (double)(w->wide - 1));
  char *end;
  *centre = NAN;
  if (is(text, "auto")) return STATUS_OK;
  double column = strtod(text, &end);
  *centre       = recon_column_here(w, column);
  if (end == text || *end || !(*centre >= 0 && *centre <= (double)(w->wide - 1)))
    return FAIL(STATUS_USAGE, "recon.centre = %s; it would be auto or a column in %.10g..%.10g",
                text, recon_column_there(w, 0), last);
  return STATUS_OK;
}

static enum status parse_tilt(const char *text, double *tilt) {
  char *end;
  *tilt = 0;
  if (is(text, "none") || is(text, "auto")) return STATUS_OK;
  *tilt = strtod(text, &end);
  if (end == text || *end || !(fabs(*tilt) < 1))
    return FAIL(STATUS_USAGE, "recon.tilt = %s; it would be none, auto or columns per row within 1",
                text);
  return STATUS_OK;
}

/* The part of a slice that is kept. */
static enum status parse_crop(const char *text, int64_t columns, struct grid_box *crop) {
  char y[64] = "", x[64] = "";
  const char *comma = strchr(text, ',');
  *crop             = (struct grid_box){
                  {0, 0,       0      },
                  {0, columns, columns}
  };
  if (!text[0]) return STATUS_OK;
  if (!comma) return FAIL(STATUS_USAGE, "recon.crop = %s; it would be A:B,C:D (y, then x)", text);
  snprintf(y, sizeof y, "%.*s", (int)(comma - text), text);
  snprintf(x, sizeof x, "%s", comma + 1);
  TRY(recon_parse_range("crop", y, columns, &crop->start[1], &crop->n[1]));
  return recon_parse_range("crop", x, columns, &crop->start[2], &crop->n[2]);
}

double recon_column_here(const struct recon_job *w, double column_px) {
  const struct raw_tomo *scan = &w->part[0];
  return w->place_px[0] + (column_px - (double)scan->column0 + 0.5) / (double)scan->bin - 0.5;
}

double recon_column_there(const struct recon_job *w, double column) {
  const struct raw_tomo *scan = &w->part[0];
  return (double)scan->column0 + (column - w->place_px[0] + 0.5) * (double)scan->bin - 0.5;
}

enum grid_type recon_type(const struct recon_job *w) {
  return is(w->p->type, "uint8") ? GRID_U8 : is(w->p->type, "uint16") ? GRID_U16 : GRID_F32;
}

/* ---- the scans -------------------------------------------------------------------------------------------- */

static enum status make_request(const struct recon_params *p, const char *input,
                                struct raw_tomo_request *request) {
  int64_t column0, columns;
  TRY(recon_parse_range("columns", p->columns, INT64_MAX, &column0, &columns));
  *request = (struct raw_tomo_request){
      .input         = input,
      .angles        = p->angles,
      .image_key     = p->image_key,
      .flats         = p->flats,
      .darks         = p->darks,
      .kind          = p->kind,
      .arc_deg       = is(p->arc, "auto") ? 0 : atof(p->arc),
      .monitor       = p->monitor,
      .column0       = column0,
      .columns       = p->columns[0] ? columns : 0,
      .bin           = p->bin,
      .every         = p->every,
      .flats_in_time = is(p->flat_drift, "linear"),
  };
  return STATUS_OK;
}

static enum status open_part(const struct stage_job *job, const char *input,
                             struct raw_tomo *scan) {
  struct raw_tomo_request request;
  TRY_ALL(job->comm, make_request(job->params, input, &request));
  return raw_tomo_open(job->comm, &request, scan);
}

/* A further scan has the rows and the angles of the first. */
static enum status check_part(const struct raw_tomo *first, const struct raw_tomo *part,
                              const char *name) {
  if (part->rows != first->rows || part->projections != first->projections)
    return FAIL(STATUS_INPUT,
                "%s has %lld projections of %lld rows, the scan it stands beside %lld of %lld",
                name, (long long)part->projections, (long long)part->rows,
                (long long)first->projections, (long long)first->rows);
  double step = 0, n = (double)first->projections;
  for (int64_t i = 1; i < first->projections; i++)
    step += fabs(first->angle_rad[i] - first->angle_rad[i - 1]) / (n - 1);
  for (int64_t i = 0; i < first->projections; i++) {
    double off =
        part->angle_rad[i] - part->angle_rad[0] - first->angle_rad[i] + first->angle_rad[0];
    if (fabs(off) > 0.5 * step)
      return FAIL(
          STATUS_INPUT,
          "%s: projection %lld stands at %.4f degrees, that of the scan it stands beside at "
          "%.4f",
          name, (long long)i, part->angle_rad[i] * DEG_PER_RAD, first->angle_rad[i] * DEG_PER_RAD);
  }
  return STATUS_OK;
}

static enum status open_parts(struct recon_job *w) {
  const struct stage_job *job = w->job;
  if (w->p->raw_dir[0]) TRY_ALL(job->comm, store_link_allow(w->p->raw_dir));
  TRY(open_part(job, job->input->input, &w->part[0]));
  w->parts        = 1;
  const char *all = w->p->beside ? w->p->beside : "";
  for (const char *at = all; *at;) { /* one name a line */
    char name[STORE_NAME_BYTES];
    int n = (int)strcspn(at, "\n");
    snprintf(name, sizeof name, "%.*s", n, at);
    at += n + (at[n] == '\n');
    if (!name[0]) continue;
    if (w->parts == PARTS_MOST)
      return AGREE(job->comm,
                   FAIL(STATUS_USAGE, "recon.beside names more than %d scans", PARTS_MOST - 1));
    TRY(open_part(job, name, &w->part[w->parts++]));
    TRY_ALL(job->comm, check_part(&w->part[0], &w->part[w->parts - 1], name));
  }
  return STATUS_OK;
}

/* ---- geometry ------------------------------------------------------------------------------------------------ */

static bool turns_fully(const struct recon_params *p, const struct raw_tomo *scan) {
  if (!is(p->arc, "auto")) return is(p->arc, "360");
  double low = scan->angle_rad[0], high = low;
  for (int64_t i = 1; i < scan->projections; i++) {
    low  = fmin(low, scan->angle_rad[i]);
    high = fmax(high, scan->angle_rad[i]);
  }
  return high - low > 1.5 * PI;
}

static enum status take_rows(struct recon_job *w) {
  const struct raw_tomo *scan = &w->part[0];
  int64_t bin                 = scan->is_sinogram ? 1 : scan->bin;
  TRY(recon_parse_range("rows", w->p->rows, scan->detector_rows, &w->row0, &w->rows));
  if (w->rows < bin)
    return FAIL(STATUS_USAGE, "recon.rows = %s holds no %lld rows to be binned", w->p->rows,
                (long long)bin);
  w->row0 /= bin;
  w->rows /= bin;
  if (w->row0 + w->rows > scan->rows) w->row0 = scan->rows - w->rows;
  return STATUS_OK;
}

/* In columns of the first detector; of the wide one they lie where that does. */
static enum status take_air(struct recon_job *w) {
  const struct raw_tomo *scan = &w->part[0];
  if (!w->p->air[0]) return STATUS_OK;
  int64_t first, n;
  TRY(recon_parse_range("air", w->p->air, scan->detector_columns, &first, &n));
  /* whole columns of what is read, from edge to edge */
  int64_t from = (int64_t)ceil(recon_column_here(w, (double)first - 0.5) + 0.5 - 1e-9),
          end  = (int64_t)floor(recon_column_here(w, (double)(first + n) - 0.5) + 0.5 + 1e-9);
  if (from < 0 || end > w->wide || end <= from)
    return FAIL(STATUS_USAGE, "recon.air = %s lies outside the columns that are read", w->p->air);
  w->air0 = from;
  w->air  = end - from;
  return STATUS_OK;
}

static enum status take_geometry(struct recon_job *w) {
  const struct recon_params *p = w->p;
  const struct raw_tomo *scan  = &w->part[0];
  double voxel[3];
  TRY(stage_voxel_parse(p->voxel_um, voxel));
  w->voxel_um  = voxel[0] > 0 ? voxel[0] : scan->pixel_um;
  w->full_turn = turns_fully(p, scan);
  w->geometry  = (struct recon_geometry){.columns     = w->wide,
                                         .angles      = scan->projections,
                                         .angle_rad   = scan->angle_rad,
                                         .filter      = p->filter,
                                         .rolloff     = p->rolloff,
                                         .iterations  = p->iterations,
                                         .tv          = p->tv,
                                         .nonnegative = p->nonnegative};
  TRY(parse_centre(w, &w->geometry.centre_px));
  TRY(parse_tilt(p->tilt, &w->tilt_px));
  if (p->window[0]) sscanf(p->window, "%lf:%lf", &w->low, &w->high);
  TRY(memory_make(scan->projections, sizeof *w->weight_rad, "weights of angles", &w->weight_rad));
  w->geometry.weight_rad = w->weight_rad;
  if (is(p->field, "extended") && !w->full_turn)
    return FAIL(STATUS_USAGE, "recon.field = extended needs a scan of 360 degrees");
  if (is(p->phase, "paganin") && scan->is_sinogram)
    return FAIL(STATUS_USAGE, "recon.phase = paganin needs whole projections; this is a sinogram");
  if (is(p->phase, "paganin") && !(w->voxel_um > 0))
    return FAIL(STATUS_USAGE, "recon.phase = paganin needs recon.voxel_um: the file says no size");
  return recon_weights(scan->angle_rad, scan->projections, w->weight_rad);
}

/* The width of the slices, once the centre is known. */
static enum status choose_field(struct recon_job *w) {
  const struct recon_params *p = w->p;
  double middle = 0.5 * (double)(w->wide - 1), centre = w->geometry.centre_px;
  bool extended = is(p->field, "extended") || (is(p->field, "auto") && w->full_turn &&
                                               fabs(centre - middle) > 0.1 * (double)w->wide);
  TRY(recon_field_make(w->wide, centre, extended, &w->field));
  if (w->field.overlap_px > 0)
    log_info("recon: axis near an edge: %lld columns from both sides, overlap %.1f",
             (long long)w->field.columns, 2 * w->field.overlap_px);
  w->geometry.columns   = w->field.columns;
  w->geometry.centre_px = w->field.centre_px;
  TRY(parse_crop(p->crop, w->geometry.columns, &w->crop));
  return parse_pad(p->pad, w->geometry.columns, &w->geometry.pad);
}

/* A detector's own width is known without the centre, an extended one's is not. */
static enum status know_width(struct recon_job *w, bool work_follows) {
  bool can_extend = w->full_turn && !is(w->p->field, "detector"),
       unknown    = isnan(w->geometry.centre_px) || is(w->p->tilt, "auto");
  if (unknown && (can_extend || work_follows)) TRY(recon_job_centre(w));
  if (isnan(w->geometry.centre_px)) w->geometry.centre_px = 0.5 * (double)(w->wide - 1);
  return AGREE(w->job->comm, choose_field(w));
}

/* ---- memory and rounds ------------------------------------------------------------------------------------------ */

static bool is_truncated(const struct recon_job *w) { return !is(w->p->truncated, "no"); }

/* Of one row of a round: sinogram, wide sinogram, slice, what is written of it, what reading takes. */
static int64_t bytes_per_row(const struct recon_job *w) {
  int64_t columns = w->geometry.columns, angles = w->part[0].projections,
          extended = w->field.overlap_px > 0 ? columns * angles : 0,
          part     = w->crop.n[1] < columns || w->crop.n[2] < columns || recon_type(w) != GRID_F32,
          kept = part ? w->crop.n[1] * w->crop.n[2] * (int64_t)grid_type_bytes(recon_type(w)) : 0;
  return 4 * (w->wide * angles + extended + columns * columns) + kept + recon_rows_bytes(w);
}

static int64_t bytes_fixed(const struct recon_job *w) {
  const struct recon_params *p = w->p;
  int64_t filter               = is_truncated(w)
                                     ? recon_field_filter_bytes(&w->geometry, p->truncated, p->sample_radius_px)
                                     : 0;
  return recon_workspace_bytes(p->method, &w->geometry) + filter + 32 * w->part[0].projections +
         PROGRAM_BYTES;
}

int64_t recon_memory_bytes(const struct recon_job *w) {
  int64_t rows = 2 * w->pairs_per_rank;
  return bytes_fixed(w) + recon_rows_fixed_bytes(w, rows) + rows * bytes_per_row(w);
}

int64_t recon_disk_bytes(const struct recon_job *w) {
  return (int64_t)grid_type_bytes(recon_type(w)) * w->rows * w->crop.n[1] * w->crop.n[2] +
         (1 << 20);
}

/* With phases a round reads all projections whole: as few rounds as memory lets; else about a gigabyte a rank. */
static enum status size_rounds(struct recon_job *w) {
  int64_t pair = 2 * bytes_per_row(w), pairs = (w->rows + 1) / 2;
  int size;
  TRY(stage_memory_limit(w->job, &w->limit_bytes));
  MPI_Comm_size(w->job->comm, &size);
  int64_t share = (pairs + size - 1) / size, fixed = bytes_fixed(w) + recon_rows_fixed_bytes(w, 2),
          most = (w->limit_bytes - fixed) / pair, wanted = ((int64_t)1 << 30) / pair + 1;
  bool whole        = is(w->p->phase, "paganin");
  w->pairs_per_rank = most < wanted || whole ? most : wanted;
  if (w->pairs_per_rank > BATCH_PAIRS) w->pairs_per_rank -= w->pairs_per_rank % BATCH_PAIRS;
  if (w->pairs_per_rank > share) w->pairs_per_rank = share;
  if (w->pairs_per_rank < 1) w->pairs_per_rank = 1;
  while (w->pairs_per_rank > 1 && recon_memory_bytes(w) > w->limit_bytes) w->pairs_per_rank--;
  w->rounds = (pairs + w->pairs_per_rank * size - 1) / (w->pairs_per_rank * size);
  return STATUS_OK;
}

void recon_job_free(struct recon_job *w) {
  for (int i = 0; i < PARTS_MOST; i++) raw_tomo_close(&w->part[i]);
  memory_free(w->weight_rad);
  recon_work_free(&w->maker);
  grid_field_free(&w->sinogram);
  grid_field_free(&w->wider);
  grid_field_free(&w->slices);
  memset(w, 0, sizeof *w);
}

static enum status open_job(struct recon_job *w, bool work_follows) {
  MPI_Comm comm = w->job->comm;
  TRY(open_parts(w));
  w->wide = w->part[0].columns;
  TRY_ALL(comm, take_rows(w));
  TRY(recon_place_parts(w));
  TRY_ALL(comm, take_geometry(w));
  TRY_ALL(comm, take_air(w));
  TRY(know_width(w, work_follows));
  return size_rounds(w);
}

enum status recon_job_open(const struct stage_job *job, bool work_follows, struct recon_job *w) {
  memset(w, 0, sizeof *w);
  w->job       = job;
  w->p         = job->params;
  w->spread_px = NAN;
  if (!job->input->input || !job->input->input[0])
    return AGREE(job->comm,
                 FAIL(STATUS_USAGE, "--input FILE[:DATASET] is missing: the scan to reconstruct"));
  enum status status = open_job(w, work_follows);
  if (status != STATUS_OK) recon_job_free(w);
  return status;
}
