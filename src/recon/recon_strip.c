/* A row's slices about trial axes, for the eye: each rank makes some of them, rank 0 draws. */
#include "recon_strip.h"
#include "picture.h"
#include "recon_stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_OWNER struct recon_strip_params
static const struct config_row param_rows[] = {
#include "config_rows.inc"
#include "recon_params.def"
#include "centre_params.def"
#include "config_undef.inc"
};
const struct config_set recon_strip_set =
    CONFIG_SET("centre", struct recon_strip_params, param_rows);

/* recon's parameters begin the strip's. */
_Static_assert(offsetof(struct recon_strip_params, raw_dir) ==
                   offsetof(struct recon_params, raw_dir),
               "the strip's parameters begin with recon's");

enum { PER_LINE = 5, GAP = 4 };

struct strip {
  double first_px, step_px; /* columns of the wide detector */
  int64_t steps, row, tile, lines, ny, nx;
  float *mean, *canvas; /* the row's sinogram; what is drawn */
};

static bool is(const char *text, const char *value) { return strcmp(text, value) == 0; }

/* ---- what the methods say ------------------------------------------------------------------------------------------ */

static enum status ask_methods(struct recon_job *w, const struct strip *s, double *centre_px) {
  static const char *const methods[] = {"auto", "vo", "overlap", "entropy", "phase"};
  const struct raw_tomo *scan        = &w->part[0];
  const struct recon_scanned scanned = {s->mean, scan->angle_rad, scan->projections, w->wide,
                                        w->full_turn};
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    char name[32];
    double found;
    bool edge;
    if (is(methods[i], w->full_turn ? "vo" : "overlap")) continue;
    TRY(recon_centre_by(w->job->comm, methods[i], &scanned, NAN, NAN, &found, &edge));
    if (i == 0) *centre_px = found;
    snprintf(name, sizeof name, i ? "centre_%s_px" : "centre_px", methods[i]);
    stage_result_add(w->job->results, name, recon_column_there(w, found), "px");
    if (edge && i == 0)
      log_warning("the centre lies at the edge of the range searched: look at a wider --range");
  }
  return STATUS_OK;
}

/* ---- the slices ----------------------------------------------------------------------------------------------------- */

/* The slice about an axis, as wide as the field it makes: columns x columns, caller's to free. */
static enum status make_slice(const struct recon_job *w, const struct strip *s, double centre_px,
                              float **slice, int64_t *columns) {
  struct recon_geometry g = w->geometry;
  struct recon_field field;
  double middle = 0.5 * (double)(w->wide - 1);
  bool extended = w->full_turn && !is(w->p->field, "detector") &&
                  fabs(centre_px - middle) > 0.1 * (double)w->wide;
  float *wide = NULL;
  TRY(recon_field_make(w->wide, centre_px, extended, &field));
  g.columns = *columns = field.columns;
  g.centre_px          = field.centre_px;
  g.pad                = 0;
  TRY(memory_make(g.angles * g.columns, sizeof *wide, "a sinogram", &wide));
  if (extended)
    recon_field_embed(&field, s->mean, g.angles, wide);
  else
    memcpy(wide, s->mean, (size_t)(g.angles * g.columns) * sizeof *wide);
  enum status status = STATUS_OK;
  if (!is(w->p->truncated, "no")) {
    status   = recon_field_filter(&g, w->p->truncated, w->p->sample_radius_px, wide, 1);
    g.filter = "none";
  }
  if (status == STATUS_OK)
    status = memory_make(g.columns * g.columns, sizeof **slice, "a slice", slice);
  if (status == STATUS_OK) status = recon_slices(w->p->method, &g, wide, 1, *slice);
  memory_free(wide);
  return status;
}

/* The middle of a slice, at most half of it, k x k pixels to one where it would not fit. */
static void draw_tile(const struct strip *s, int64_t at, const float *slice, int64_t columns) {
  int64_t edge = columns / 2 > s->tile ? columns / 2
                 : columns < s->tile   ? columns
                                       : s->tile,
          k = (edge + s->tile - 1) / s->tile, n = edge / k, from = (columns - k * n) / 2;
  int64_t y0 = at / PER_LINE * (s->tile + GAP), x0 = at % PER_LINE * (s->tile + GAP);
  for (int64_t y = 0; y < n; y++)
    for (int64_t x = 0; x < n; x++) {
      float sum = 0;
      for (int64_t i = 0; i < k * k; i++)
        sum += slice[(from + y * k + i / k) * columns + from + x * k + i % k];
      s->canvas[(y0 + y) * s->nx + x0 + x] = sum / (float)(k * k);
    }
}

static enum status draw_mine(const struct recon_job *w, const struct strip *s, int rank, int size) {
  for (int64_t i = rank; i < s->steps; i += size) {
    float *slice = NULL;
    int64_t columns;
    enum status status = make_slice(w, s, s->first_px + s->step_px * (double)i, &slice, &columns);
    if (status == STATUS_OK) draw_tile(s, i, slice, columns);
    memory_free(slice);
    TRY(status);
  }
  return STATUS_OK;
}

/* ---- the picture ----------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static enum status draw(const struct recon_job *w, const struct strip *s, const char *path) {
  int64_t n = s->ny * s->nx, known = 0;
  float *sorted;
  TRY(memory_make(n, sizeof *sorted, "a picture's values", &sorted));
  for (int64_t i = 0; i < n; i++)
    if (s->canvas[i] < 0 || s->canvas[i] > 0) sorted[known++] = s->canvas[i];
  qsort(sorted, (size_t)known, sizeof *sorted, ascending);
  float low = known ? sorted[known / 100] : 0, high = known ? sorted[known - 1 - known / 100] : 1;
  memory_free(sorted);
  for (int64_t i = 0; i < s->steps; i++) {
    char text[32];
    snprintf(text, sizeof text, "%.2f",
             recon_column_there(w, s->first_px + s->step_px * (double)i));
    picture_number(s->canvas, s->ny, s->nx, i / PER_LINE * (s->tile + GAP),
                   i % PER_LINE * (s->tile + GAP), 2, text, high, low);
  }
  return picture_png(path, s->canvas, s->ny, s->nx, (double)low, (double)high, PICTURE_GREY);
}

static enum status choose_range(const struct recon_job *w, const char *range, double centre_px,
                                struct strip *s) {
  double a, b, last = (double)(w->wide - 1);
  char rest;
  if (!range[0])
    a = centre_px - 4, b = centre_px + 4;
  else if (sscanf(range, "%lf:%lf%c", &a, &b, &rest) == 2 && a < b)
    a = recon_column_here(w, a), b = recon_column_here(w, b);
  else
    return FAIL(STATUS_USAGE, "centre.range = %s; it would be A:B, A below B", range);
  if (range[0] && !(a >= 0 && b <= last))
    return FAIL(STATUS_USAGE, "centre.range = %s leaves the columns %.10g:%.10g", range,
                recon_column_there(w, 0), recon_column_there(w, last));
  s->first_px = fmax(a, 0);
  s->step_px  = (fmin(b, last) - s->first_px) / (double)(s->steps - 1);
  return STATUS_OK;
}

static enum status take_row(const struct recon_job *w, int64_t row, struct strip *s) {
  int64_t bin = w->part[0].is_sinogram ? 1 : w->part[0].bin;
  s->row      = row < 0 ? w->rows / 2 : row / bin - w->row0;
  if (s->row >= 0 && s->row < w->rows) return STATUS_OK;
  return FAIL(STATUS_USAGE, "centre.row = %lld; it would be -1 or a row of %lld..%lld",
              (long long)row, (long long)(w->row0 * bin),
              (long long)((w->row0 + w->rows) * bin - 1));
}

static enum status make_strip(struct recon_job *w, const struct recon_strip_params *p,
                              const char *path, struct strip *s) {
  MPI_Comm comm = w->job->comm;
  int rank, size;
  double centre_px = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  *s = (struct strip){.steps = p->steps, .tile = p->tile, .lines = (p->steps - 1) / PER_LINE + 1};
  int64_t wide = s->steps < PER_LINE ? s->steps : PER_LINE;
  s->ny        = s->lines * (s->tile + GAP) - GAP;
  s->nx        = wide * (s->tile + GAP) - GAP;
  TRY_ALL(comm, take_row(w, p->row, s));
  TRY_ALL(comm,
          memory_make(w->part[0].projections * w->wide, sizeof *s->mean, "a sinogram", &s->mean));
  TRY_ALL(comm, memory_make(s->ny * s->nx, sizeof *s->canvas, "a picture", &s->canvas));
  TRY(recon_band_read(w, s->row, s->mean));
  TRY(ask_methods(w, s, &centre_px));
  TRY_ALL(comm, choose_range(w, p->range, centre_px, s));
  TRY_ALL(comm, draw_mine(w, s, rank, size));
  MPI_Reduce(rank == 0 ? MPI_IN_PLACE : s->canvas, s->canvas, (int)(s->ny * s->nx), MPI_FLOAT,
             MPI_SUM, 0, comm);
  return AGREE(comm, rank == 0 ? draw(w, s, path) : STATUS_OK);
}

enum status recon_strip(const struct stage_job *job) {
  struct recon_job w;
  struct strip s   = {.mean = NULL};
  const char *path = job->output[0] ? job->output : "centre.png";
  TRY_ALL(job->comm, recon_stage.check(job->params, job->common));
  TRY(recon_job_open(job, false, &w));
  enum status status = make_strip(&w, job->params, path, &s);
  if (status == STATUS_OK)
    log_info("centre: %lld slices from column %.2f in steps of %.3f in %s", (long long)s.steps,
             recon_column_there(&w, s.first_px), s.step_px * (double)w.part[0].bin, path);
  memory_free(s.mean);
  memory_free(s.canvas);
  recon_job_free(&w);
  return status;
}
