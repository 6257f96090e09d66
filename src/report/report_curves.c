/* Curves: the charge profile with the states, Nyquist plots, and results against the state with their errors. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Begins a panel of the usual size, with room for `below` px under the x axis' label. */
static enum status begin(struct report_panel *panel, struct picture_plot *plot, FILE *csv,
                         double below) {
  memset(panel, 0, sizeof *panel);
  enum status status = picture_drawing_begin(&panel->drawing, 460, 300 + below);
  *plot              = (struct picture_plot){
                   .drawing = &panel->drawing, .csv = csv, .left = 66, .top = 28, .wide = 378, .high = 222};
  return status;
}

/* ---- charge profile --------------------------------------------------------------------------------------- */

static void mark_states(struct report *r, struct picture_plot *plot, const struct report_table *t) {
  for (int i = 0; i < r->states; i++) {
    const struct report_row *charge  = report_row_find(r, r->state[i].name, "echem", "charge"),
                            *voltage = report_row_find(r, r->state[i].name, "echem", "voltage");
    if (!charge || !voltage) continue;
    /* where on the curve: the nearest time is not known here, the nearest point is */
    double best = INFINITY, time_h = 0;
    for (int64_t k = 0; k < t->rows; k++) {
      double d = hypot(t->column[2][k] - charge->value, t->column[1][k] - voltage->value);
      if (d < best) best = d, time_h = t->column[0][k] / 3600;
    }
    char words[80];
    report_state_words(r->state[i].name, words, sizeof words);
    picture_plot_marks(plot, 4, words, &time_h, &voltage->value, NULL, 1);
    const double x = plot->left + plot->wide * (time_h - plot->x[0]) / (plot->x[1] - plot->x[0]),
                 y = plot->top +
                     plot->high * (plot->y[1] - voltage->value) / (plot->y[1] - plot->y[0]);
    char number[16];
    snprintf(number, sizeof number, "%d", i + 1);
    picture_text(plot->drawing, x, y - 9, "t", 12, PICTURE_MIDDLE, false, number);
  }
}

static void list_states(const struct report *r, char *text, size_t bytes) {
  size_t used = 0;
  text[0]     = 0;
  for (int i = 0; i < r->states && used + 100 < bytes; i++) {
    char words[80];
    report_state_words(r->state[i].name, words, sizeof words);
    used += (size_t)snprintf(text + used, bytes - used, "%s%d %s", i ? ", " : "", i + 1, words);
  }
}

static void draw_charge(struct report *r, const struct report_table *t) {
  struct report_panel panel;
  struct picture_plot plot;
  char *csv = NULL, caption[1600], states[1200];
  size_t n  = 0;
  FILE *to  = report_csv(&csv, &n);
  report_keep(r, to ? begin(&panel, &plot, to, 0) : FAIL(STATUS_MEMORY, "no memory for a figure"));
  if (!to) return;
  for (int64_t i = 0; i < t->rows; i++) t->column[0][i] /= 3600;
  plot.x[0] = plot.y[0] = INFINITY, plot.x[1] = plot.y[1] = -INFINITY;
  picture_range_add(plot.x, t->column[0], t->rows);
  picture_range_add(plot.y, t->column[1], t->rows);
  picture_range_widen(plot.x);
  picture_range_widen(plot.y);
  plot.y[1] += 0.06 * (plot.y[1] - plot.y[0]);
  picture_plot_begin(&plot, "", "Time (h)", "Voltage (V)");
  picture_plot_curve(&plot, 2, false, "voltage", t->column[0], t->column[1], t->rows);
  for (int64_t i = 0; i < t->rows; i++) t->column[0][i] *= 3600;
  mark_states(r, &plot, t);
  fclose(to);
  report_keep(r, picture_drawing_end(&panel.drawing));
  list_states(r, states, sizeof states);
  snprintf(caption, sizeof caption, "Galvanostatic record with the states that were imaged: %s.",
           states);
  report_figure_add(r, &(struct report_figure){"charge_profile", "Charge and discharge profile",
                                               caption, &panel, 1, 1, csv, n});
}

/* ---- impedance ------------------------------------------------------------------------------------------------ */

static void draw_spectrum(struct report *r, struct picture_plot *plot, const struct report_table *t,
                          int state, double *scratch) {
  char words[80], name[100];
  int64_t n = 0;
  double *x = scratch, *y = scratch + t->rows, *fx = y + t->rows, *fy = fx + t->rows;
  for (int64_t i = 0; i < t->rows; i++) {
    if ((int)t->column[0][i] != state) continue;
    x[n] = t->column[2][i], y[n] = -t->column[3][i], fx[n] = t->column[4][i],
    fy[n] = -t->column[5][i];
    n++;
  }
  report_state_words(r->state[state].name, words, sizeof words);
  snprintf(name, sizeof name, "%s (fit)", words);
  picture_plot_curve(plot, state, false, name, fx, fy, n);
  picture_plot_marks(plot, state, words, x, y, NULL, n);
}

static void draw_nyquist(struct report *r, const struct report_table *t) {
  struct report_panel panel;
  struct picture_plot plot;
  const char *names[PICTURE_SERIES];
  char words[PICTURE_SERIES][80], *csv = NULL;
  int series[PICTURE_SERIES], n_key    = 0;
  size_t n = 0;
  double *scratch;
  FILE *to = report_csv(&csv, &n);
  report_keep(r, to ? begin(&panel, &plot, to, 64) : FAIL(STATUS_MEMORY, "no memory for a figure"));
  if (!to) return;
  report_keep(r, memory_make(4 * t->rows, sizeof *scratch, "spectra", &scratch));
  plot.equal = true;
  plot.x[0] = plot.y[0] = INFINITY, plot.x[1] = plot.y[1] = -INFINITY;
  picture_range_add(plot.x, t->column[2], t->rows);
  for (int64_t i = 0; i < t->rows; i++) {
    double minus = -t->column[3][i];
    picture_range_add(plot.y, &minus, 1);
  }
  picture_range_widen(plot.x);
  picture_range_widen(plot.y);
  picture_plot_begin(&plot, "", "Re Z (\xce\xa9)", "\xe2\x88\x92Im Z (\xce\xa9)");
  for (int i = 0; i < r->states && i < PICTURE_SERIES; i++) {
    bool any = false;
    for (int64_t k = 0; k < t->rows; k++) any |= (int)t->column[0][k] == i;
    if (!any) continue;
    draw_spectrum(r, &plot, t, i, scratch);
    report_state_words(r->state[i].name, words[n_key], sizeof words[n_key]);
    names[n_key]    = words[n_key];
    series[n_key++] = i;
  }
  picture_plot_key(&plot, 308, names, series, n_key, false);
  memory_free(scratch);
  fclose(to);
  report_keep(r, picture_drawing_end(&panel.drawing));
  report_figure_add(
      r, &(struct report_figure){
             "nyquist", "Impedance in the complex plane",
             "Marks: measured; lines: the fit of R_s + (R_ct parallel to a constant-phase "
             "element), with a Warburg "
             "element where the data ask for one (Akaike's criterion). Same scale on both axes.",
             &panel, 1, 1, csv, n});
}

static void read_echem(struct report *r, struct report_table *cycle, struct report_table *spectra) {
  static const char *const of_cycle[]          = {"time_s", "voltage_V", "charge_mAh"},
                           *const of_spectra[] = {"state",  "frequency_Hz", "re_Ohm",
                                                  "im_Ohm", "fit_re_Ohm",   "fit_im_Ohm"};
  char path[STORE_NAME_BYTES];
  memset(cycle, 0, sizeof *cycle);
  memset(spectra, 0, sizeof *spectra);
  if (!report_file(r, "all", "echem", path)) return;
  report_table_read(r, path, "cycle_curve", of_cycle, 3, cycle);
  report_table_read(r, path, "impedance_curves", of_spectra, 6, spectra);
}

/* ---- results against the state -------------------------------------------------------------------------------- */

struct wanted {
  const char *name, *words;
};
struct state_plot {
  const char *title, *y_label;
  struct wanted series[6];
};

static bool is_any(const struct report *r, const struct state_plot *p) {
  for (int k = 0; k < 6 && p->series[k].name; k++)
    for (int i = 0; i < r->states; i++) {
      const struct report_row *row = report_row_find(r, r->state[i].name, NULL, p->series[k].name);
      if (row && isfinite(row->value)) return true;
    }
  return false;
}

/* Half the interval, or one sigma. */
static double error_of(const struct report_row *row) {
  if (isfinite(row->sigma)) return row->sigma;
  return isfinite(row->upper) && isfinite(row->lower) ? (row->upper - row->lower) / 2 : (double)NAN;
}

static int series_of(const struct report *r, const char *name, double *x, double *y,
                     double *error) {
  int n = 0;
  for (int i = 0; i < r->states; i++) {
    const struct report_row *row = report_row_find(r, r->state[i].name, NULL, name);
    if (!row || !isfinite(row->value)) continue;
    x[n] = i, y[n] = row->value, error[n] = error_of(row);
    n++;
  }
  return n;
}

static int truth_of(const struct report *r, const char *name, double *x, double *y) {
  int n = 0;
  for (int i = 0; i < r->states; i++) {
    double value = report_truth(r, r->state[i].name, name);
    if (!isfinite(value)) continue;
    x[n] = i, y[n++] = value;
  }
  return n;
}

static enum status draw_state_plot(struct report *r, const struct state_plot *p, FILE *csv,
                                   struct report_panel *panel) {
  static double x[REPORT_STATES_MOST], y[REPORT_STATES_MOST], error[REPORT_STATES_MOST];
  struct picture_plot plot;
  const char *names[6];
  int series[6], n_key = 0;
  TRY(begin(panel, &plot, csv, 112)); /* the key may need two rows */
  plot.x[0] = -0.5, plot.x[1] = r->states - 0.5, plot.y[0] = INFINITY, plot.y[1] = -INFINITY,
  plot.no_x = true;
  for (int k = 0; k < 6 && p->series[k].name; k++)
    for (int i = 0, n = series_of(r, p->series[k].name, x, y, error); i < n; i++) {
      double e = isfinite(error[i]) ? error[i] : 0, ends[2] = {y[i] - e, y[i] + e};
      picture_range_add(plot.y, ends, 2);
    }
  for (int k = 0; k < 6 && p->series[k].name; k++)
    picture_range_add(plot.y, y, truth_of(r, p->series[k].name, x, y));
  picture_range_widen(plot.y);
  picture_plot_begin(&plot, p->title, "", p->y_label);
  for (int i = 0; i < r->states; i++) {
    char words[80];
    report_state_words(r->state[i].name, words, sizeof words);
    if (r->states <= 24) picture_plot_word(&plot, i, words);
  }
  for (int k = 0; k < 6 && p->series[k].name; k++) {
    char name[120];
    int n = truth_of(r, p->series[k].name, x, y);
    snprintf(name, sizeof name, "%s (truth)", p->series[k].words);
    if (n) picture_plot_curve(&plot, k, true, name, x, y, n);
    n = series_of(r, p->series[k].name, x, y, error);
    picture_plot_marks(&plot, k, p->series[k].words, x, y, error, n);
    if (n) names[n_key] = p->series[k].words, series[n_key++] = k;
  }
  picture_plot_key(&plot, 376, names, series, n_key, false);
  return picture_drawing_end(&panel->drawing);
}

static void draw_against_state(struct report *r, const char *name, const char *title,
                               const char *caption, const struct state_plot *plot, int plots) {
  struct report_panel panel[6];
  char *csv = NULL;
  size_t n  = 0;
  int drawn = 0;
  FILE *to  = report_csv(&csv, &n);
  report_keep(r, to ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a figure"));
  if (!to) return;
  for (int k = 0; k < plots; k++)
    if (is_any(r, &plot[k])) report_keep(r, draw_state_plot(r, &plot[k], to, &panel[drawn++]));
  fclose(to);
  if (drawn)
    report_figure_add(
        r, &(struct report_figure){name, title, caption, panel, drawn, drawn < 2 ? 1 : 2, csv, n});
  else
    free(csv);
}

static const char *with_truth(const struct report *r, const char *text, const char *more, char *to,
                              size_t bytes) {
  snprintf(to, bytes, "%s%s", text, r->truth ? more : "");
  return to;
}

void report_against_state(struct report *r) {
  static const struct state_plot emf[] = {
      {"EMF of the regions",
       "EMF",                          {{"emf_region1", "region 1 (cathode)"},
        {"emf_region2", "region 2 (interphase)"},
        {"emf_region3", "region 3 (anode)"}}                                                         },
      {"EMF of the components",
       "EMF",                          {{"emf_Li", "Li"}, {"emf_SPE", "membrane"}, {"emf_cathode", "cathode"}}    },
      {"Cathode alone",
       "EMF",                          {{"emf_cathode", "cathode"}, {"emf_cathode_fixed", "fractions held fixed"}}},
      {"EMF of all pixels",     "EMF", {{"emf", "all regions"}}                                                   }
  };
  static const struct state_plot shape[] = {
      {"Roughness of the lithium", "Roughness (\xc2\xb5m)", {{"Ra_um", "Ra"}, {"Rq_um", "Rq"}}                    },
      {"Volume of the lithium",
       "Change (%)",                                        {{"volume_change_percent", "lithium in the box"}, {"envelope_change_percent", "envelope"}}},
      {"Pores under the surface",  "Share",                 {{"subsurface_pore_fraction", "share of the layer"}}  },
      {"Impedance",                "Resistance (\xce\xa9)", {{"R_s", "R_s"}, {"R_ct", "R_ct"}}                    }
  };
  static const struct state_plot flux[] = {
      {"Effective diffusivity",
       "D_eff / D", {{"effective_diffusivity", "D_eff"},
        {"effective_diffusivity_z", "along z"},
        {"effective_diffusivity_y", "along y"},
        {"effective_diffusivity_x", "along x"}}},
      {"Tortuosity factor",
       "\xcf\x84",  {{"tortuosity_factor", "\xcf\x84"},
        {"tortuosity_factor_z", "along z"},
        {"tortuosity_factor_y", "along y"},
        {"tortuosity_factor_x", "along x"}}     }
  };
  char text[600];
  draw_against_state(r, "emf_states", "Electron momentum factor against the state",
                     with_truth(r, "Bars: one standard deviation.", " Dashed: what the twin holds.",
                                text, sizeof text),
                     emf, 4);
  draw_against_state(
      r, "microstructure_states", "Microstructure and impedance against the state",
      with_truth(r,
                 "Bars: one standard deviation (block bootstrap for the roughness, counting of "
                 "voxels for the volume, scatter about the fit for the impedance).",
                 " Dashed: what the twin holds.", text, sizeof text),
      shape, 4);
  draw_against_state(r, "flux_states", "Li\xe2\x81\xba transport against the state",
                     "Bars: half the guaranteed interval of the solver, which is often smaller "
                     "than the mark. What the choice of "
                     "threshold and box adds is not in it.",
                     flux, 2);
}

enum status report_curves(struct report *r) {
  struct report_table cycle, spectra;
  read_echem(r, &cycle, &spectra);
  if (r->speaks) {
    const char *why = report_why_not(r, "all", "echem");
    if (cycle.rows)
      draw_charge(r, &cycle);
    else
      report_figure_missing(r, "Charge and discharge profile",
                            why[0] ? why : "no galvanostatic data were given");
    if (spectra.rows)
      draw_nyquist(r, &spectra);
    else
      report_figure_missing(r, "Impedance in the complex plane",
                            why[0] ? why : "no impedance spectra were given");
  }
  report_table_free(&cycle);
  report_table_free(&spectra);
  return STATUS_OK;
}
