/* The products of a state: cube, profile, emf and density, each with the region in front, and small tables. */
#include "compton_work.h"
#include "compton_fit_lines.h"
#include <math.h>
#include <string.h>

/* Cells in raster order, of which a rank has some, are no box of rows and columns: row by row, as often on every rank. */
struct cells {
  int64_t columns, first, n;
};

static enum status write_cells(struct compton_work *w, struct store_output *output,
                               const char *product, bool errors, int r, const struct cells *cells,
                               const void *from, int64_t each) {
  MPI_Comm comm = w->job->comm;
  int64_t row0 = cells->first / cells->columns, end = cells->first + cells->n;
  int64_t rows = cells->n ? (end - 1) / cells->columns - row0 + 1 : 0, most = rows;
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, comm);
  for (int64_t i = 0; i < most; i++) {
    int64_t row = (row0 + i) * cells->columns, low = cells->first > row ? cells->first - row : 0,
            high     = end - row < cells->columns ? end - row : cells->columns;
    bool none        = i >= rows;
    int64_t start[4] = {r, row0 + i, low, 0}, n[4] = {1, 1, high - low, each};
    if (none) memset(start, 0, sizeof start), memset(n, 0, sizeof n);
    int64_t at = none ? 0 : (row + low - cells->first) * each;
    TRY(store_write_box(comm, output, product, errors, start, n, (const float *)from + at));
  }
  return STATUS_OK;
}

/* ---- axes ---------------------------------------------------------------------------------------- */

static enum status axis_write(struct compton_work *w, struct store_output *output,
                              const char *product, const char *axis, double first, double step,
                              int64_t n, const char *unit) {
  double *middle;
  TRY_ALL(w->job->comm, memory_make(n, sizeof *middle, "an axis", &middle));
  for (int64_t i = 0; i < n; i++) middle[i] = first + ((double)i + 0.5) * step;
  enum status status = store_axis(w->job->comm, output, product, axis, middle, n, unit);
  memory_free(middle);
  return status;
}

static enum status create(struct compton_work *w, struct store_output *output) {
  MPI_Comm comm                            = w->job->comm;
  const struct compton_cube *c             = &w->cube[0];
  const struct compton_maps *m             = &w->maps[0];
  const struct compton_profile_settings *s = &w->known.settings;
  const int64_t cube[4]                    = {w->regions.n, c->rows, c->columns, c->bins},
                map[4]                     = {w->regions.n, m->rows, m->columns, s->bins_au};
  TRY(store_create(comm, output, "cube", cube, NULL, NULL, false));
  TRY(store_create(comm, output, "profile", map, NULL, NULL, true));
  TRY(store_create(comm, output, "emf", map, NULL, NULL, true));
  TRY(store_create(comm, output, "density", map, NULL,
                   compton_maps_unit(w->params, &w->known, &w->regions.region[0]), true));
  TRY(axis_write(w, output, "cube", "energy", c->first_kev, c->bin_kev, c->bins, "keV"));
  TRY(axis_write(w, output, "profile", "momentum", s->first_au, s->step_au, s->bins_au, "a.u."));
  return store_default(comm, output, "emf");
}

static enum status write_region(struct compton_work *w, struct store_output *output, int r) {
  const struct compton_cube *c = &w->cube[r];
  const struct compton_maps *m = &w->maps[r];
  const struct cells pixels    = {c->columns, c->pixel0, c->pixels},
                     cells     = {m->columns, m->first, m->n};
  const int64_t bins_au        = w->known.settings.bins_au;
  TRY(write_cells(w, output, "cube", false, r, &pixels, c->count, c->bins));
  TRY(write_cells(w, output, "profile", false, r, &cells, m->profile, bins_au));
  TRY(write_cells(w, output, "profile", true, r, &cells, m->profile_sigma, bins_au));
  TRY(write_cells(w, output, "emf", false, r, &cells, m->emf, 1));
  TRY(write_cells(w, output, "emf", true, r, &cells, m->emf_sigma, 1));
  TRY(write_cells(w, output, "density", false, r, &cells, m->density, 1));
  return write_cells(w, output, "density", true, r, &cells, m->density_sigma, 1);
}

/* ---- tables -------------------------------------------------------------------------------------- */

/* Shares of the error of each region's factor, and what the fit took. */
static enum status write_budget(struct compton_work *w, struct store_output *output) {
  enum { FIXED = 11, COLUMNS = FIXED + COMPTON_SOURCES };
  const char *name[COLUMNS] = {"region",
                               "z_um",
                               "emf",
                               "emf_error",
                               "emf_bias",
                               "emf_detector",
                               "emf_detector_error",
                               "emf_detector_bias",
                               "emf_high_side",
                               "emf_high_side_error",
                               "emf_high_side_correlation"},
             *unit[COLUMNS] = {"", "um", "", "", "", "", "", "", "", "", ""};
  double value[COLUMNS][REGIONS_MOST];
  const double *column[COLUMNS];
  char words[COMPTON_SOURCES][64];
  for (int k = 0; k < COMPTON_SOURCES; k++) {
    snprintf(words[k], sizeof words[k], "%s", compton_source_name((enum compton_source)k));
    for (char *c = words[k]; *c; c++) *c = *c == ' ' ? '_' : *c;
    name[FIXED + k] = words[k], unit[FIXED + k] = "";
  }
  for (int k = 0; k < COLUMNS; k++) column[k] = value[k];
  for (int r = 0; r < w->regions.n; r++) {
    const struct compton_emf *e = &w->maps[r].whole;
    const double row[FIXED]     = {r + 1,
                                   w->regions.region[r].z_um,
                                   e->emf_normal.value,
                                   e->emf_normal.sigma,
                                   e->emf_normal.bias,
                                   e->emf.value,
                                   e->emf.sigma,
                                   e->emf.bias,
                                   e->high_normal.value,
                                   e->high_normal.sigma,
                                   e->correlation};
    for (int k = 0; k < FIXED; k++) value[k][r] = row[k];
    for (int k = 0; k < COMPTON_SOURCES; k++) value[FIXED + k][r] = e->emf_normal.part[k];
  }
  return store_table(w->job->comm, output, "error_budget", name, unit, COLUMNS, column,
                     w->regions.n);
}

/* Profile and error of each region's whole field. */
static enum status write_profiles(struct compton_work *w, struct store_output *output) {
  enum { COLUMNS = 4 };
  static const char *const name[COLUMNS] = {"region", "p", "J", "J_error"}, *const unit[COLUMNS] = {
                                                                                "", "a.u.",
                                                                                "electrons/a.u.",
                                                                                "electrons/a.u."};
  const struct compton_profile_settings *s = &w->known.settings;
  int64_t rows                             = w->regions.n * s->bins_au;
  double *column[COLUMNS];
  TRY_ALL(w->job->comm, memory_make(COLUMNS * rows, sizeof(double), "a table", &column[0]));
  for (int k = 1; k < COLUMNS; k++) column[k] = column[k - 1] + rows;
  for (int64_t i = 0; i < rows; i++) {
    int64_t r = i / s->bins_au, b = i % s->bins_au;
    column[0][i] = (double)r + 1;
    column[1][i] = s->first_au + ((double)b + 0.5) * s->step_au;
    column[2][i] = (double)w->maps[r].whole_profile[b];
    column[3][i] = (double)w->maps[r].whole_profile_sigma[b];
  }
  enum status status = store_table(w->job->comm, output, "region_profiles", name, unit, COLUMNS,
                                   (const double *const *)column, rows);
  memory_free(column[0]);
  return status;
}

/* Names of the lines, one a row as the table numbers them; what stands out is told. */
static enum status name_lines(struct compton_work *w, struct store_output *output,
                              const struct compton_line *line, int n) {
  char text[COMPTON_LINES_MOST * sizeof line->name], *at = text;
  for (int k = 0; k < n; k++) at += sprintf(at, "%d %s\n", k + 1, line[k].name);
  return store_note(w->job->comm, output, "spectral_lines_names", text);
}

/* Lines that stand out, and which of them are in the factor although they could be taken out of it. */
static void tell_lines(const struct compton_params *p, const struct compton_line *line, int n,
                       int r) {
  const double clear = 8; /* sigmas: hardly one of that is chance or a crooked background */
  bool lead = false, elastic = false;
  for (int k = 0; k < n; k++) {
    if (!(line[k].counts > clear * line[k].sigma)) continue;
    log_info("compton: region %d shows %s, %.2f keV: %.4g +- %.2g counts", r + 1, line[k].name,
             line[k].energy_kev, line[k].counts, line[k].sigma);
    lead    = lead || strncmp(line[k].name, "Pb", 2) == 0;
    elastic = elastic || strcmp(line[k].name, "elastic") == 0;
  }
  if (lead && !p->lead)
    log_warning("compton: region %d has lead's K lines; K beta lies in the fit: --lead yes takes "
                "it out of the factor",
                r + 1);
  if (elastic && !p->escape)
    log_warning("compton: region %d has the beam's elastic line; its escape lies in the windows: "
                "--escape yes takes it out of the factor",
                r + 1);
}

/* Fluorescence, elastic and escape lines of each region's summed spectrum. */
static enum status write_lines(struct compton_work *w, struct store_output *output,
                               const double *summed) {
  enum { COLUMNS = 6 };
  static const char *const name[COLUMNS]        = {"region", "line",   "energy",
                                                   "fwhm",   "counts", "counts_error"},
                           *const unit[COLUMNS] = {"", "", "keV", "keV", "counts", "counts"};
  const struct compton_cube *c                  = &w->cube[0];
  double value[COLUMNS][REGIONS_MOST * COMPTON_LINES_MOST];
  const double *column[COLUMNS];
  struct compton_line line[COMPTON_LINES_MOST];
  int n = 0, rows = 0;
  for (int r = 0; r < w->regions.n; r++) {
    const struct compton_lines_request request = {
        w->params->energy_kev,
        xray_line_kev(w->params->energy_kev, w->params->angle_deg / DEG_PER_RAD),
        w->known.has_disc ? w->known.disc.fwhm_kev : w->params->fwhm_kev,
        c->first_kev,
        c->bin_kev,
        c->bins,
        summed + r * c->bins};
    TRY_ALL(w->job->comm, compton_fit_lines(&request, line, &n));
    tell_lines(w->params, line, n, r);
    for (int k = 0; k < n; k++, rows++) {
      const double row[COLUMNS] = {
          r + 1, k + 1, line[k].energy_kev, line[k].fwhm_kev, line[k].counts, line[k].sigma};
      for (int i = 0; i < COLUMNS; i++) value[i][rows] = row[i];
    }
  }
  for (int i = 0; i < COLUMNS; i++) column[i] = value[i];
  if (rows == 0) return STATUS_OK;
  TRY(name_lines(w, output, line, n));
  return store_table(w->job->comm, output, "spectral_lines", name, unit, COLUMNS, column, rows);
}

/* Each region's spectrum, all good pixels summed, and its lines. */
static enum status write_spectra(struct compton_work *w, struct store_output *output) {
  enum { COLUMNS = 3 };
  static const char *const name[COLUMNS] = {"region", "energy", "counts"}, *const unit[COLUMNS] = {
                                                                               "", "keV", "counts"};
  const struct compton_cube *c = &w->cube[0];
  int64_t rows                 = w->regions.n * c->bins;
  double *column[COLUMNS];
  TRY_ALL(w->job->comm, memory_make(COLUMNS * rows, sizeof(double), "a table", &column[0]));
  for (int k = 1; k < COLUMNS; k++) column[k] = column[k - 1] + rows;
  for (int64_t i = 0; i < rows; i++) {
    const struct compton_cube *of = &w->cube[i / c->bins];
    column[0][i]                  = (double)(i / c->bins + 1);
    column[1][i]                  = c->first_kev + ((double)(i % c->bins) + 0.5) * c->bin_kev;
    for (int64_t p = 0; p < of->pixels; p++)
      column[2][i] += (double)of->count[p * c->bins + i % c->bins];
  }
  MPI_Allreduce(MPI_IN_PLACE, column[2], (int)rows, MPI_DOUBLE, MPI_SUM,
                w->job->comm); /* whole numbers */
  enum status status = store_table(w->job->comm, output, "summed_spectra", name, unit, COLUMNS,
                                   (const double *const *)column, rows);
  if (status == STATUS_OK) status = write_lines(w, output, column[2]);
  memory_free(column[0]);
  return status;
}

/* By which energies of each part had grown. */
static enum status write_drift(struct compton_work *w, struct store_output *output) {
  enum { COLUMNS = 4, ROWS_MOST = REGIONS_MOST * DRIFT_PARTS_MOST };
  static const char *const name[COLUMNS]        = {"region", "part", "growth", "growth_error"},
                           *const unit[COLUMNS] = {"", "", "", ""};
  double *column[COLUMNS];
  int64_t rows = 0;
  TRY_ALL(w->job->comm, memory_make(COLUMNS * ROWS_MOST, sizeof(double), "a table", &column[0]));
  for (int k = 1; k < COLUMNS; k++) column[k] = column[k - 1] + ROWS_MOST;
  for (int r = 0; r < w->regions.n; r++)
    for (int k = 0; k < w->drift[r].parts; k++, rows++) {
      const double row[COLUMNS] = {r + 1, k + 1, w->drift[r].growth[k], w->drift[r].sigma[k]};
      for (int c = 0; c < COLUMNS; c++) column[c][rows] = row[c];
    }
  enum status status = STATUS_OK;
  if (rows > 0)
    status = store_table(w->job->comm, output, "drift", name, unit, COLUMNS,
                         (const double *const *)column, rows);
  memory_free(column[0]);
  return status;
}

/* What a source's lines tell of every pixel, in raster order. */
static enum status write_sensor(struct compton_work *w, struct store_output *output) {
  enum { COLUMNS = 6 };
  static const char *const name[COLUMNS]        = {"gain",         "offset", "gain_error",
                                                   "offset_error", "fwhm",   "flags"},
                           *const unit[COLUMNS] = {"keV/ADU", "keV", "keV/ADU", "keV", "keV", ""};
  const struct compton_sensor *s                = &w->sensor;
  double *column[COLUMNS];
  if (!s->pixel) return STATUS_OK;
  TRY_ALL(w->job->comm, memory_make(COLUMNS * s->pixels, sizeof(double), "a table", &column[0]));
  for (int k = 1; k < COLUMNS; k++) column[k] = column[k - 1] + s->pixels;
  for (int64_t p = 0; p < s->pixels; p++) {
    const struct compton_gain *g = &s->pixel[p];
    const double row[COLUMNS]    = {
           g->gain_kev, g->offset_kev,   sqrt(g->gain_variance), sqrt(g->offset_variance),
           g->fwhm_kev, (double)g->flags};
    for (int k = 0; k < COLUMNS; k++) column[k][p] = row[k];
  }
  enum status status = store_table(w->job->comm, output, "sensor", name, unit, COLUMNS,
                                   (const double *const *)column, s->pixels);
  memory_free(column[0]);
  return status;
}

/* ---- all ----------------------------------------------------------------------------------------- */

static enum status write_all(struct compton_work *w, struct store_output *output) {
  TRY(create(w, output));
  TRY(store_ready(w->job->comm, output));
  for (int r = 0; r < w->regions.n; r++) TRY(write_region(w, output, r));
  TRY(write_budget(w, output));
  TRY(write_profiles(w, output));
  TRY(write_spectra(w, output));
  TRY(write_drift(w, output));
  return write_sensor(w, output);
}

int64_t compton_write_bytes(const struct compton_params *p, int64_t rows, int64_t columns,
                            int64_t bins, int regions) {
  int64_t k = p->bin_pixels, cells = (rows + k - 1) / k * ((columns + k - 1) / k);
  int64_t bins_au = 2 * llround(p->profile_au / p->profile_step_au);
  return regions * (4 * rows * columns * bins + 8 * cells * (bins_au + 2)) + (8 << 20);
}

enum status compton_write(struct compton_work *w) {
  struct store_output *output;
  const struct compton_cube *c = &w->cube[0];
  if (!w->job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(
      w->job, compton_write_bytes(w->params, c->rows, c->columns, c->bins, w->regions.n), &output));
  enum status status = write_all(w, output);
  if (status == STATUS_OK) return stage_output_commit(w->job, &output);
  store_abandon(w->job->comm, &output, false);
  return status;
}
