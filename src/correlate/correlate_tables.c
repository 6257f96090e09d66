/* Tables: what stands in each, as numbers for the .h5 and with names for the CSV. */
#include "correlate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void correlate_table_begin(struct correlate_table *table, const char *name,
                           const char *const *column, const char *const *unit, int columns) {
  memset(table, 0, sizeof *table);
  table->name    = name;
  table->columns = columns;
  for (int k = 0; k < columns; k++) {
    table->column[k] = column[k];
    table->unit[k]   = unit ? unit[k] : "";
  }
}

static enum status grow(struct correlate_table *table) {
  int64_t room = 2 * table->room + 64;
  for (int k = 0; k < table->columns; k++) {
    double *larger;
    TRY(memory_make(room, sizeof *larger, "a table", &larger));
    if (table->rows) memcpy(larger, table->value[k], (size_t)table->rows * sizeof *larger);
    memory_free(table->value[k]);
    table->value[k] = larger;
  }
  table->room = room;
  return STATUS_OK;
}

enum status correlate_table_add(struct correlate_table *table, const double *row) {
  if (table->rows == table->room) TRY(grow(table));
  for (int k = 0; k < table->columns; k++) table->value[k][table->rows] = row[k];
  table->rows++;
  return STATUS_OK;
}

void correlate_table_free(struct correlate_table *table) {
  for (int k = 0; k < table->columns; k++) memory_free(table->value[k]);
  memset(table, 0, sizeof *table);
}

/* ---- one row per bin --------------------------------------------------------------------------------------- */

enum { PLACES = 5 };

static enum status pixels_row(struct correlate_work *w, int state, int64_t at,
                              struct correlate_table *table) {
  double row[CORRELATE_COLUMNS_MOST],
      step_mm = (double)w->params->bin * w->camera.pitch_mm * w->camera.pinhole_mm /
                w->camera.detector_mm;
  bool any = false;
  row[0] = state, row[1] = (double)(at / w->nx), row[2] = (double)(at % w->nx);
  row[3] = (row[2] - 0.5 * (double)(w->nx - 1)) * step_mm;
  row[4] = (row[1] - 0.5 * (double)(w->ny - 1)) * step_mm;
  for (int m = 0; m < CORRELATE_MAPS; m++) {
    row[PLACES + 2 * m]     = correlate_map_at(w, false, state, (enum correlate_map)m)[at];
    row[PLACES + 2 * m + 1] = correlate_map_at(w, true, state, (enum correlate_map)m)[at];
    any |= isfinite(row[PLACES + 2 * m]);
  }
  return any ? correlate_table_add(table, row) : STATUS_OK;
}

static enum status pixels_make(struct correlate_work *w, struct correlate_table *table) {
  static const char *const place[PLACES] = {"state", "row", "column", "x_mm", "y_mm"},
                           *const unit[PLACES] = {"", "", "", "mm", "mm"};
  correlate_table_begin(table, "pixels", place, unit, PLACES);
  for (int m = 0; m < CORRELATE_MAPS; m++) {
    int k = PLACES + 2 * m;
    snprintf(table->names[m], sizeof table->names[m], "%s_error", correlate_map_name[m]);
    table->column[k] = correlate_map_name[m], table->column[k + 1] = table->names[m];
    table->unit[k] = table->unit[k + 1] = correlate_map_unit[m];
  }
  table->columns = PLACES + 2 * CORRELATE_MAPS;
  for (int i = 0; i < w->states; i++)
    for (int64_t at = 0; at < w->ny * w->nx; at++) TRY(pixels_row(w, i, at, table));
  return STATUS_OK;
}

/* ---- mixtures ------------------------------------------------------------------------------------------------ */

/* Error of a fraction: its moves, one after the other, and a step of the heights' histogram. */
static double fraction_error(const struct correlate_work *w, int state, int r, int c,
                             const struct unmix_matrix *v) {
  const struct correlate_moves moves[3] = {
      {w->params->threshold_um, 0, 0               },
      {0,                       1, 0               },
      {0,                       0, w->slab_sigma_um}
  };
  struct correlate_moves none = {0, 0, 0};
  struct unmix_matrix moved;
  double least = w->state[state].heights.step_um / w->params->slab_um, square = least * least;
  if (w->has_given) return w->params->fraction_error;
  for (int k = 0; k < 4; k++) {
    enum correlate_source source =
        correlate_fractions(w, state, k < 3 ? &moves[k] : &none, k < 3 ? 0 : 0.1, &moved);
    if (k == 3 && source != CORRELATE_BETWEEN) break;
    square += (moved.v[r][c] - v->v[r][c]) * (moved.v[r][c] - v->v[r][c]);
  }
  return sqrt(square);
}

static void tell(struct correlate_work *w, int state, const char *name, double value, double sigma) {
  struct stage_result *row = stage_result_add(w->job->results, name, value, "");
  row->sigma               = sigma;
  if (state >= 0) snprintf(row->of, sizeof row->of, "%s", w->state[state].bundle->state);
}

/* Where the state's own tomogram told it. */
static void tell_attenuation(struct correlate_work *w, int state) {
  for (int c = 0; c < CORRELATE_C; c++) {
    char name[64];
    if (isnan(w->state[state].mu_sigma[c])) continue;
    snprintf(name, sizeof name, "attenuation_%s_per_mm", correlate_component_name[c]);
    tell(w, state, name, w->state[state].mu_per_mm[c], w->state[state].mu_sigma[c]);
  }
}

static enum status mixing_make(struct correlate_work *w, struct correlate_table *table) {
  static const char *const column[] = {
      "state",          "region",       "component", "fraction",
      "fraction_error", "transmission", "source",    "transmission_error"};
  struct correlate_moves none = {0, 0, 0};
  correlate_table_begin(table, "mixing", column, NULL, 8);
  for (int i = 0; i < w->states; i++) {
    struct unmix_matrix v;
    const struct correlate_state *s = &w->state[i];
    enum correlate_source source = correlate_fractions(w, i, &none, 0, &v);
    tell_attenuation(w, i);
    for (int r = 0; r < w->regions && source != CORRELATE_UNKNOWN; r++)
      for (int c = 0; c < CORRELATE_C; c++) {
        char name[64];
        double error       = fraction_error(w, i, r, c, &v);
        const double row[] = {i,      r + 1,
                              c + 1,  v.v[r][c],
                              error,  s->transmission[c],
                              source, s->transmission_sigma[c]};
        TRY(correlate_table_add(table, row));
        snprintf(name, sizeof name, "fraction_%s_region%d", correlate_component_name[c], r + 1);
        tell(w, i, name, v.v[r][c], error);
      }
  }
  return STATUS_OK;
}

/* ---- changes and rates ------------------------------------------------------------------------------------- */

static double two_sided(double z) { return erfc(fabs(z) / sqrt(2)); }

static void range_of(const struct correlate_work *w, int q, double *low, double *high) {
  *low = INFINITY, *high = -INFINITY;
  for (int i = 0; i < w->states; i++) {
    double v = w->number[i][q].value;
    if (!isfinite(v)) continue;
    *low  = fmin(*low, v);
    *high = fmax(*high, v);
  }
}

/* The last state of the step that `state` lies in. */
static int end_of_step(const struct correlate_work *w, int state, int q) {
  int end = state;
  for (int i = state; i < w->states && w->state[i].discharging == w->state[state].discharging; i++)
    if (isfinite(w->number[i][q].value)) end = i;
  return end;
}

static enum status change_row(struct correlate_work *w, int from, int to, int q,
                              struct correlate_table *table) {
  struct correlate_number d = correlate_change(w, from, to, q);
  double low, high, start = w->number[from][q].value,
                    rest   = w->number[end_of_step(w, to, q)][q].value - start,
                    charge = w->state[to].position - w->state[from].position;
  if (!isfinite(d.value)) return STATUS_OK;
  range_of(w, q, &low, &high);
  const double row[] = {from,
                        to,
                        q,
                        d.value,
                        d.sigma,
                        two_sided(d.value / d.sigma),
                        100 * d.value / start,
                        high > low ? 100 * fabs(d.value) / (high - low) : (double)NAN,
                        rest != 0 ? 100 * d.value / rest : (double)NAN,
                        charge > 0 ? d.value / charge : (double)NAN};
  return correlate_table_add(table, row);
}

/* The state before one in the cycle in which a quantity is known; -1: none. */
static int before(const struct correlate_work *w, int state, int q) {
  for (int i = state - 1; i >= 0; i--)
    if (isfinite(w->number[i][q].value)) return i;
  return -1;
}

static enum status changes_make(struct correlate_work *w, struct correlate_table *table) {
  static const char *const column[] = {"from",    "to",      "quantity",       "change",        "error",
                                       "p",       "percent", "share_of_range", "share_of_rest", "per_charge"},
                           *const unit[] = {"", "", "", "", "", "", "%", "%", "%", ""};
  correlate_table_begin(table, "changes", column, unit, 10);
  for (int q = 0; q < w->quantities; q++)
    for (int i = 0; i < w->states; i++) {
      int last = before(w, i, q), first = 0;
      while (first < i && !isfinite(w->number[first][q].value)) first++;
      if (last >= 0) TRY(change_row(w, last, i, q, table));
      if (first < i && first != last) TRY(change_row(w, first, i, q, table));
    }
  return STATUS_OK;
}

static enum status budget_make(struct correlate_work *w, struct correlate_table *table) {
  static const char *const column[] = {"state",     "quantity",    "value",
                                       "error",     "counting",    "calibration",
                                       "threshold", "mask",        "registration",
                                       "interpolation"};
  correlate_table_begin(table, "budget", column, NULL, 10);
  for (int i = 0; i < w->states; i++)
    for (int q = 0; q < w->quantities; q++) {
      const struct correlate_number *n = &w->number[i][q];
      double row[4 + CORRELATE_PARTS]  = {i, q, n->value, n->sigma};
      for (int k = 0; k < CORRELATE_PARTS; k++) row[4 + k] = fabs(n->part[k]);
      if (isfinite(n->value)) TRY(correlate_table_add(table, row));
    }
  return STATUS_OK;
}

/* ---- the paper's tables --------------------------------------------------------------------------------------- */

static enum status paper_tables(struct correlate_work *w, struct correlate_table *one,
                                struct correlate_table *s1) {
  static const char *const column[]   = {"state", "emf",         "emf_error",         "emf_change",
                                         "Ra_um", "Ra_error_um", "Ra_change_percent"},
                           *const s[] = {"state", "Ra_um", "Ra_error_um", "Rq_um", "Rq_error_um"};
  int q = w->regions >= 2 ? 1 : 0, last = -1;
  double first_Ra = (double)NAN;
  correlate_table_begin(one, "table_1", column, NULL, 7);
  correlate_table_begin(s1, "table_S1", s, NULL, 5);
  for (int i = 0; i < w->states; i++) {
    const struct correlate_state *state = &w->state[i];
    double emf = w->number[i][q].value;
    double change = last >= 0 && isfinite(emf) ? correlate_change(w, last, i, q).value : (double)NAN;
    if (isnan(first_Ra)) first_Ra = state->Ra_um;
    const double row[] = {i,
                          emf,
                          w->number[i][q].sigma,
                          change,
                          state->Ra_um,
                          state->Ra_sigma,
                          100 * (state->Ra_um / first_Ra - 1)};
    TRY(correlate_table_add(one, row));
    if (isfinite(emf)) last = i;
    const double rough[] = {i, state->Ra_um, state->Ra_sigma, state->Rq_um, state->Rq_sigma};
    if (isfinite(state->Ra_um)) TRY(correlate_table_add(s1, rough));
  }
  return STATUS_OK;
}

/* ---- results ------------------------------------------------------------------------------------------------- */

/* x = A + B EMF of the cathode. */
static void tell_lithium(struct correlate_work *w, int state) {
  const struct correlate_number *n = &w->number[state][w->regions + CORRELATE_CATHODE];
  double sigma = sqrt(w->line[2] * w->line[2] + w->line[3] * w->line[3] * n->value * n->value +
                      w->line[1] * w->line[1] * n->sigma * n->sigma);
  if (w->has_line && isfinite(n->value))
    tell(w, state, "x_Li", w->line[0] + w->line[1] * n->value, sigma);
}

static void tell_all(struct correlate_work *w) {
  for (int i = 0; i < w->states; i++) {
    for (int q = 0; q < w->quantities; q++) {
      char name[64], full[80];
      const struct correlate_number *n = &w->number[i][q];
      if (!isfinite(n->value)) continue;
      correlate_quantity_name(w, q, name, sizeof name);
      snprintf(full, sizeof full, "%s%s", q < w->regions ? "field_" : "", name);
      tell(w, i, full, n->value, n->sigma);
    }
    for (int c = 0; c < CORRELATE_C; c++) {
      char name[64];
      snprintf(name, sizeof name, "emf_%s_fixed", correlate_component_name[c]);
      if (isfinite(w->fixed[i][c].value))
        tell(w, i, name, w->fixed[i][c].value, w->fixed[i][c].sigma);
    }
    tell_lithium(w, i);
  }
}

static void tell_place(struct correlate_work *w) {
  static const char *const name[4] = {"registration_scale", "registration_rotation_deg",
                                      "registration_x_mm", "registration_y_mm"},
                           *const unit[4] = {"", "deg", "mm", "mm"};
  const struct pinhole_registration *at = &w->fit.at;
  const double value[4] = {at->scale, at->rotation_deg, at->shift_x_mm, at->shift_y_mm};
  for (int k = 0; k < 4; k++) {
    struct stage_result *row = stage_result_add(w->job->results, name[k], value[k], unit[k]);
    row->sigma               = k ? w->fit.sigma[k] : w->fit.sigma[k] * at->scale;
    if (isnan(w->fit.sigma[k])) snprintf(row->state, sizeof row->state, "held");
  }
  if (w->fitted) {
    struct stage_result *row =
        stage_result_add(w->job->results, "registration_quality", w->fit.quality, "");
    if (isnan(w->fit.quality)) snprintf(row->state, sizeof row->state, "too few pixels");
  }
  struct stage_result *row =
      stage_result_add(w->job->results, "slab_shift_um", w->slab_shift_um, "um");
  row->sigma = isnan(w->slab_fit.sigma_um) ? (double)NAN : w->slab_sigma_um;
  if (isnan(w->slab_fit.sigma_um)) snprintf(row->state, sizeof row->state, "held");
  if (isnan(w->slab_fit.sigma_um)) return;
  stage_result_add(w->job->results, "slab_chi2", w->slab_fit.chi2, "");
  stage_result_add(w->job->results, "slab_freedom", (double)w->slab_fit.freedom, "");
}

enum status correlate_tables_make(struct correlate_work *w, struct correlate_table *table) {
  tell_place(w);
  tell_all(w);
  TRY(pixels_make(w, &table[TABLE_PIXELS]));
  TRY(mixing_make(w, &table[TABLE_MIXING]));
  TRY(changes_make(w, &table[TABLE_CHANGES]));
  TRY(budget_make(w, &table[TABLE_BUDGET]));
  return paper_tables(w, &table[TABLE_1], &table[TABLE_S1]);
}
