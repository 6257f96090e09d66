/* The axis of a scan: that of several rows, their median and spread, or the line through them. */
#include "recon_centre.h"
#include "recon_stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILT_ROWS = 7 }; /* at least, for a line */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_of(double *value, int64_t n) {
  qsort(value, (size_t)n, sizeof *value, ascending);
  return n % 2 ? value[n / 2] : 0.5 * (value[n / 2 - 1] + value[n / 2]);
}

static enum status parse_search(const struct recon_job *w, double *low, double *high) {
  double a, b;
  char rest;
  *low = *high = NAN;
  if (!w->p->centre_range[0]) return STATUS_OK;
  if (sscanf(w->p->centre_range, "%lf:%lf%c", &a, &b, &rest) != 2 || !(a < b))
    return FAIL(STATUS_USAGE, "recon.centre_range = %s; it would be A:B, A below B",
                w->p->centre_range);
  *low  = recon_column_here(w, a);
  *high = recon_column_here(w, b);
  if (*low < 0 || *high > (double)(w->wide - 1))
    return FAIL(STATUS_USAGE, "recon.centre_range = %s leaves the columns %.10g:%.10g",
                w->p->centre_range, recon_column_there(w, 0),
                recon_column_there(w, (double)(w->wide - 1)));
  return STATUS_OK;
}

static enum status check_method(const struct recon_job *w) {
  if (strcmp(w->p->centre_method, "overlap") == 0 && !w->full_turn)
    return FAIL(STATUS_USAGE, "recon.centre_method = overlap needs a scan of 360 degrees");
  return STATUS_OK;
}

enum status recon_rows_centres(struct recon_job *w, int n, double *row, double *centre,
                               bool *at_edge) {
  MPI_Comm comm = w->job->comm;
  double low, high;
  float *mean                 = NULL;
  const struct raw_tomo *scan = &w->part[0];
  TRY_ALL(comm, parse_search(w, &low, &high));
  TRY_ALL(comm, check_method(w));
  TRY_ALL(comm, memory_make(scan->projections * w->wide, sizeof *mean, "a sinogram", &mean));
  const struct recon_scanned scanned = {mean, scan->angle_rad, scan->projections, w->wide,
                                        w->full_turn};
  enum status status                 = STATUS_OK;
  *at_edge                           = false;
  for (int i = 0; i < n && status == STATUS_OK; i++) {
    int64_t here = w->rows * (2 * i + 1) / (2 * n);
    bool edge    = false;
    row[i]       = (double)(w->row0 + here);
    status       = recon_band_read(w, here, mean);
    if (status == STATUS_OK)
      status = recon_centre_by(comm, w->p->centre_method, &scanned, low, high, &centre[i], &edge);
    *at_edge = *at_edge || edge;
  }
  memory_free(mean);
  return status;
}

/* The median of the slopes between all pairs of rows (Theil and Sen): one bad row moves it little. */
static double slope_of(int n, const double *row, const double *centre) {
  double slope[RECON_ROWS_MOST * RECON_ROWS_MOST / 2];
  int64_t pairs = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < i; j++)
      if (fabs(row[i] - row[j]) > 0) slope[pairs++] = (centre[i] - centre[j]) / (row[i] - row[j]);
  return pairs ? median_of(slope, pairs) : 0;
}

enum status recon_job_centre(struct recon_job *w) {
  double row[RECON_ROWS_MOST], centre[RECON_ROWS_MOST], least = INFINITY, most = -INFINITY;
  bool edge, tilts = strcmp(w->p->tilt, "auto") == 0;
  double said    = w->geometry.centre_px;
  int64_t wanted = tilts && w->p->centre_rows < TILT_ROWS ? TILT_ROWS : w->p->centre_rows;
  int n          = (int)(w->rows < wanted ? w->rows : wanted);
  TRY(recon_rows_centres(w, n, row, centre, &edge));
  if (tilts) w->tilt_px = n > 2 ? slope_of(n, row, centre) : 0;
  for (int i = 0; i < n; i++) {
    centre[i] -= w->tilt_px * (row[i] - 0.5 * (double)(w->part[0].rows - 1));
    least = fmin(least, centre[i]);
    most  = fmax(most, centre[i]);
  }
  w->geometry.centre_px = isnan(said) ? round(100 * median_of(centre, n)) / 100 : said;
  w->spread_px          = most - least;
  if (edge)
    log_warning(
        "the centre lies at the edge of the range searched: give it with --centre, or another "
        "range with --centre-range");
  log_info("recon: centre %.2f px (%d rows, spread %.2f)%s",
           recon_column_there(w, w->geometry.centre_px), n,
           w->spread_px * (double)w->part[0].bin, tilts ? ", tilt" : "");
  if (tilts) log_info("recon: the axis moves by %.5f px from row to row", w->tilt_px);
  return STATUS_OK;
}
