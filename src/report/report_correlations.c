/* What tomography and Compton scattering say about each other: plots of pixels, the table of correlations, lateral
 * differences, changes between states and the budget of errors. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS_MOST = 400, PAIRS = 6, ROWS_LEAST = 20 };
struct pair {
  const char *x, *y, *x_words;
};
static const struct pair pairs[PAIRS] = {
    {"height",  "emf_region2", "Height of the surface (\xc2\xb5m)" },
    {"Ra",      "emf_region2", "Local roughness Ra (\xc2\xb5m)"    },
    {"growth",  "emf_region2", "Rise of the surface (\xc2\xb5m)"   },
    {"pores",   "emf_region2", "Pores under the surface"           },
    {"contact", "emf_region2", "Contact of lithium and membrane"   },
    {"flux",    "emf_region2", "Li\xe2\x81\xba flux at the surface"}
};

/* ---- pixels ------------------------------------------------------------------------------------------------------ */

static int64_t points_of(const struct report_table *t, int state, double *x, double *y) {
  int64_t all = 0, n = 0;
  for (int64_t k = 0; k < t->rows; k++)
    all += (int)t->column[0][k] == state && isfinite(t->column[1][k]) && isfinite(t->column[2][k]);
  int64_t step = all / POINTS_MOST + 1, seen = 0;
  for (int64_t k = 0; k < t->rows; k++) {
    if ((int)t->column[0][k] != state || !isfinite(t->column[1][k]) || !isfinite(t->column[2][k]))
      continue;
    if (seen++ % step) continue;
    x[n] = t->column[1][k], y[n++] = t->column[2][k];
  }
  return n;
}

static bool draw_pair(struct report *r, const struct report_table *t, const struct pair *pair,
                      FILE *csv, struct report_panel *panel) {
  struct picture_plot plot = {
      .drawing = &panel->drawing,
      .csv     = csv,
      .left    = 66,
      .top     = 28,
      .wide    = 378,
      .high    = 222,
      .x       = {INFINITY, -INFINITY},
      .y       = {INFINITY, -INFINITY}
  };
  const char *names[PICTURE_SERIES];
  char words[PICTURE_SERIES][80];
  int series[PICTURE_SERIES], n_key = 0;
  double *x;
  memset(panel, 0, sizeof *panel);
  picture_range_add(plot.x, t->column[1], t->rows);
  picture_range_add(plot.y, t->column[2], t->rows);
  if (!(plot.x[1] > plot.x[0]) || !(plot.y[1] > plot.y[0])) return false;
  if (r->status != STATUS_OK) return false;
  report_keep(r, memory_make(2 * POINTS_MOST + 2, sizeof *x, "points", &x));
  report_keep(r, picture_drawing_begin(&panel->drawing, 460, 366));
  if (r->status != STATUS_OK) return false;
  picture_range_widen(plot.x);
  picture_range_widen(plot.y);
  picture_plot_begin(&plot, "", pair->x_words, "EMF, region 2");
  for (int i = 0; i < r->states && i < PICTURE_SERIES; i++) {
    int64_t n = points_of(t, i, x, x + POINTS_MOST);
    if (n == 0) continue;
    report_state_words(r->state[i].name, words[n_key], sizeof words[n_key]);
    picture_plot_marks(&plot, i, words[n_key], x, x + POINTS_MOST, NULL, n);
    names[n_key]    = words[n_key];
    series[n_key++] = i;
  }
  picture_plot_key(&plot, 308, names, series, n_key, false);
  memory_free(x);
  report_keep(r, picture_drawing_end(&panel->drawing));
  return true;
}

/* Rows with both values. */
static void keep_whole_rows(struct report_table *t) {
  int64_t n = 0;
  for (int64_t i = 0; i < t->rows; i++) {
    if (!isfinite(t->column[1][i]) || !isfinite(t->column[2][i])) continue;
    for (int k = 0; k < t->columns; k++) t->column[k][n] = t->column[k][i];
    n++;
  }
  t->rows = n;
}

static enum status draw_pairs(struct report *r, const char *file) {
  struct report_panel panel[PAIRS];
  char *csv    = NULL;
  size_t n     = 0;
  int shown    = 0;
  int64_t most = 0;
  FILE *to     = report_csv(&csv, &n);
  TRY_ALL(r->comm, to ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a figure"));
  for (int k = 0; k < PAIRS; k++) {
    char error[64];
    snprintf(error, sizeof error, "%.50s_error", pairs[k].y);
    const char *const columns[] = {"state", pairs[k].x, pairs[k].y, error};
    struct report_table t;
    if (!report_table_read(r, file, "pixels", columns, 4, &t)) continue;
    report_table_mask(&t, 2, 3);
    keep_whole_rows(&t);
    most = t.rows > most ? t.rows : most;
    if (r->speaks && t.rows >= ROWS_LEAST && draw_pair(r, &t, &pairs[k], to, &panel[shown]))
      shown++;
    report_table_free(&t);
  }
  fclose(to);
  if (r->speaks && shown)
    report_figure_add(r, &(struct report_figure){
                             "correlation_pixels",
                             "EMF of the interphase against what the tomograms say",
                             "One mark per pixel of the Compton grid (at most 400 a state are "
                             "drawn). Coefficients with their intervals stand in the table below.",
                             panel, shown, 2, csv, n});
  else {
    free(csv);
    if (r->speaks && most < ROWS_LEAST)
      report_figure_missing(r, "EMF of the interphase against what the tomograms say",
                            "the tomograms cover too few pixels of the Compton grid for a plot");
  }
  return STATUS_OK;
}

/* ---- tables of results by state ----------------------------------------------------------------------------------- */

/* All results whose names begin so, as rows, with the states as columns. */
static void table_of(struct report *r, const char *title, const char *note,
                     const char *const *begin, int begins) {
  bool any = false;
  for (int i = 0; i < r->rows; i++) {
    const struct report_row *row = &r->row[i];
    bool wanted = false, seen = false;
    for (int k = 0; k < begins; k++) wanted |= strncmp(row->name, begin[k], strlen(begin[k])) == 0;
    for (int k = 0; k < i && wanted; k++)
      seen |= strcmp(r->row[k].name, row->name) == 0 && strcmp(r->row[k].stage, "correlate") == 0;
    if (!wanted || seen || strcmp(row->stage, "correlate") != 0) continue;
    if (!any) {
      report_raw(r,
                 "<h3>%s</h3>\n<div class=\"wide\"><table>\n<thead><tr><th class=\"l\" "
                 "scope=\"col\">Result</th>",
                 title);
      for (int s = 0; s < r->states; s++) {
        char words[80];
        report_state_words(r->state[s].name, words, sizeof words);
        report_raw(r, "<th scope=\"col\">");
        report_text(r, words);
        report_raw(r, "</th>");
      }
      report_raw(r, "</tr></thead>\n<tbody>\n");
    }
    any = true;
    report_raw(r, "<tr><th scope=\"row\">");
    report_text(r, row->name);
    report_raw(r, "</th>");
    for (int s = 0; s < r->states; s++) {
      const struct report_row *cell = report_row_find(r, r->state[s].name, "correlate", row->name);
      bool clear                    = cell && isfinite(cell->lower) && isfinite(cell->upper) &&
                   (cell->lower > 0 || cell->upper < 0);
      report_raw(r, clear ? "<td><b>" : "<td>");
      report_number(r, cell);
      report_raw(r, clear ? "</b></td>" : "</td>");
    }
    report_raw(r, "</tr>\n");
  }
  if (any) report_raw(r, "</tbody></table></div>\n<p class=\"quiet\">%s</p>\n", note);
}

/* Results of the whole cycle whose names begin so. */
static void table_of_all(struct report *r, const char *title, const char *note,
                         const char *const *begin, int begins) {
  bool any = false;
  for (int i = 0; i < r->rows; i++) {
    const struct report_row *row = &r->row[i];
    bool wanted                  = false;
    for (int k = 0; k < begins; k++) wanted |= strncmp(row->name, begin[k], strlen(begin[k])) == 0;
    if (!wanted || strcmp(row->state, "all") != 0 || strcmp(row->stage, "correlate") != 0) continue;
    if (!any) report_raw(r, "<h3>%s</h3>\n<div class=\"wide\"><table><tbody>\n", title);
    any = true;
    report_raw(r, "<tr><th scope=\"row\">");
    report_text(r, row->name);
    report_raw(r, "</th><td class=\"l\">");
    report_number(r, row);
    report_textf(r, " %s", report_unit_words(row->unit));
    if (isfinite(row->value) && row->remark[0]) report_textf(r, " (%s)", row->remark);
    report_raw(r, "</td></tr>\n");
  }
  if (any) report_raw(r, "</tbody></table></div>\n<p class=\"quiet\">%s</p>\n", note);
}

/* ---- changes and budget ------------------------------------------------------------------------------------------- */

static void quantity_name(int quantity, int regions, char *text, size_t bytes) {
  static const char *const component[] = {"lithium", "membrane", "cathode"};
  if (quantity < regions)
    snprintf(text, bytes, "EMF, region %d", quantity + 1);
  else
    snprintf(text, bytes, "EMF, %s", quantity - regions < 3 ? component[quantity - regions] : "?");
}

static int most_of(const struct report_table *t, int column) {
  double most = -1;
  for (int64_t i = 0; i < t->rows; i++) most = fmax(most, t->column[column][i]);
  return (int)most;
}

static void short_cell(struct report *r, double value) {
  char text[64];
  snprintf(text, sizeof text, fabs(value) >= 99.5 ? "%.0f" : "%.2g", fabs(value));
  if (!isfinite(value)) snprintf(text, sizeof text, "\xe2\x80\x93");
  report_raw(r, "<td>%s%s</td>", value < 0 ? "\xe2\x88\x92" : "", text);
}

static void state_cell(struct report *r, double state) {
  char words[80];
  int i = (int)state;
  report_state_words(i >= 0 && i < r->states ? r->state[i].name : "?", words, sizeof words);
  report_raw(r, "<td class=\"l\">");
  report_text(r, words);
  report_raw(r, "</td>");
}

static void number_cell(struct report *r, double value, double sigma) {
  char text[200];
  report_number_plain(value, sigma, (double)NAN, (double)NAN, text, sizeof text);
  report_raw(r, "<td>");
  report_text(r, text);
  report_raw(r, "</td>");
}

static void put_changes(struct report *r, const struct report_table *t) {
  int regions = most_of(t, 2) - 2;
  report_raw(r, "<h3>Changes from state to state</h3>\n<details><summary>All pairs of "
                "states</summary><div class=\"wide\"><table>\n<thead><tr><th "
                "class=\"l\" scope=\"col\">From</th><th class=\"l\" scope=\"col\">To</th>"
                "<th class=\"l\" scope=\"col\">Quantity</th><th scope=\"col\">Change</th><th "
                "scope=\"col\">p</th><th scope=\"col\">Percent</th>"
                "<th scope=\"col\">Share of range</th><th scope=\"col\">Share of the rest</th><th "
                "scope=\"col\">Per 100 %% of charge</th></tr></thead>\n<tbody>\n");
  for (int64_t i = 0; i < t->rows; i++) {
    char name[64];
    quantity_name((int)t->column[2][i], regions, name, sizeof name);
    report_raw(r, "<tr>");
    state_cell(r, t->column[0][i]);
    state_cell(r, t->column[1][i]);
    report_raw(r, "<td class=\"l\">%s</td>", name);
    number_cell(r, t->column[3][i], t->column[4][i]);
    for (int k = 5; k < 10; k++) short_cell(r, t->column[k][i]);
    report_raw(r, "</tr>\n");
  }
  report_raw(
      r,
      "</tbody></table></div></details>\n<p class=\"quiet\">Four ways to state a rate of change, "
      "none preferred: the change itself in percent, its share of the "
      "whole range, its share of what was left, and its size per full charge. p: chance "
      "of such a change by the errors alone.</p>\n");
}

static void put_budget(struct report *r, const struct report_table *t) {
  static const char *const source[] = {"counting", "calibration",  "threshold",
                                       "mask",     "registration", "interpolation"};
  int regions                       = most_of(t, 1) - 2;
  report_raw(r, "<h3>Where the errors come from</h3>\n<details><summary>Shares of every "
                "error</summary><div class=\"wide\"><table>\n<thead><tr><th "
                "class=\"l\" scope=\"col\">State</th><th class=\"l\" scope=\"col\">Quantity</th>"
                "<th scope=\"col\">Value</th>");
  for (int k = 0; k < 6; k++) report_raw(r, "<th scope=\"col\">%s</th>", source[k]);
  report_raw(r, "</tr></thead>\n<tbody>\n");
  for (int64_t i = 0; i < t->rows; i++) {
    char name[64];
    quantity_name((int)t->column[1][i], regions, name, sizeof name);
    report_raw(r, "<tr>");
    state_cell(r, t->column[0][i]);
    report_raw(r, "<td class=\"l\">%s</td>", name);
    number_cell(r, t->column[2][i], t->column[3][i]);
    for (int k = 4; k < 10; k++) short_cell(r, t->column[k][i]);
    report_raw(r, "</tr>\n");
  }
  report_raw(
      r, "</tbody></table></div></details>\n<p class=\"quiet\">Parts of each error, one standard "
         "deviation each; they add in squares.</p>\n");
}

static void put_tables(struct report *r, const struct report_table *changes,
                       const struct report_table *budget) {
  static const char *const of_correlations[] = {"r_"},
                           *const of_sides[] = {"left_right", "middle_edge", "moran", "variation"},
                           *const of_fractions[]    = {"fraction_"},
                           *const of_registration[] = {"registration_", "slab_shift"};
  table_of(r, "Rank correlations",
           "Spearman's coefficient of pixels within a state; [low, high]: 95 % by block bootstrap; "
           "bold: the interval excludes 0.",
           of_correlations, 1);
  table_of(r, "Lateral heterogeneity",
           "Differences of means, Moran's I and the coefficient of variation of the EMF maps.",
           of_sides, 4);
  table_of(r, "Volume fractions of the regions",
           "What each sheet of beam saw of each component, from the masks of the tomograms.",
           of_fractions, 1);
  table_of_all(r, "Registration",
               "How the tomogram lies on the Compton grid; held: the maps do not tell it.",
               of_registration, 2);
  if (changes->rows) put_changes(r, changes);
  if (budget->rows) put_budget(r, budget);
}

enum status report_correlations(struct report *r) {
  static const char *const of_changes[]       = {"from",          "to",
                                                 "quantity",      "change",
                                                 "error",         "p",
                                                 "percent",       "share_of_range",
                                                 "share_of_rest", "per_charge"},
                           *const of_budget[] = {"state",        "quantity", "value",
                                                 "error",        "counting", "calibration",
                                                 "threshold",    "mask",     "registration",
                                                 "interpolation"};
  char path[STORE_NAME_BYTES];
  struct report_table changes, budget;
  memset(&changes, 0, sizeof changes);
  memset(&budget, 0, sizeof budget);
  if (!report_file(r, "all", "correlate", path)) {
    const char *why = report_why_not(r, "all", "correlate");
    if (r->speaks)
      report_figure_missing(r, "Correlation of tomography and Compton scattering",
                            why[0] ? why : "correlate has not worked");
    return STATUS_OK;
  }
  TRY(report_overlay(r, path));
  TRY(draw_pairs(r, path));
  report_table_read(r, path, "changes", of_changes, 10, &changes);
  report_table_read(r, path, "budget", of_budget, 10, &budget);
  if (r->speaks) put_tables(r, &changes, &budget);
  report_table_free(&changes);
  report_table_free(&budget);
  return STATUS_OK;
}
