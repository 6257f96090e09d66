/* The answer: sentences and a table of the key numbers; a panel per state; flux side by side; the twin's truth. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the answer table ----------------------------------------------------------------------------------------- */

struct key {
  const char *name, *other, *words, *unit; /* other: taken where name is not there */
};
static const struct key keys[] = {
    {"SoC",                      "DoD", "State of charge / depth of discharge",                  "%"        },
    {"voltage",                  "",    "Voltage",                                               "V"        },
    {"emf_region1",              "",    "EMF, region 1 (cathode)",                               ""         },
    {"emf_region2",              "",    "EMF, region 2 (interphase)",                            ""         },
    {"emf_region3",              "",    "EMF, region 3 (anode)",                                 ""         },
    {"emf_Li",                   "",    "EMF, lithium alone",                                    ""         },
    {"emf_SPE",                  "",    "EMF, membrane alone",                                   ""         },
    {"emf_cathode",              "",    "EMF, cathode alone",                                    ""         },
    {"emf",                      "",    "EMF, all pixels",                                       ""         },
    {"emf_high_side",            "",    "EMF, high-energy side",                                 ""         },
    {"x_Li",                     "",    "Li content x of the cathode",                           ""         },
    {"Ra_um",                    "",    "Roughness Ra",                                          "\xc2\xb5m"},
    {"Rq_um",                    "",    "Roughness Rq",                                          "\xc2\xb5m"},
    {"volume_change_percent",    "",    "Lithium in track's box against first state",            "%"        },
    {"envelope_change_percent",  "",    "Anode's envelope, pores included, against first state", "%"        },
    {"subsurface_pore_fraction", "",    "Pores under the surface",                               ""         },
    {"effective_diffusivity",    "",    "Effective diffusivity D_eff/D",                         ""         },
    {"effective_diffusivity_z",  "",    "D_eff/D along z",                                       ""         },
    {"effective_diffusivity_y",  "",    "D_eff/D along y",                                       ""         },
    {"effective_diffusivity_x",  "",    "D_eff/D along x",                                       ""         },
    {"tortuosity_factor",        "",    "Tortuosity factor",                                     ""         },
    {"tortuosity_factor_z",      "",    "Tortuosity factor along z",                             ""         },
    {"R_s",                      "",    "Series resistance R_s",                                 "\xce\xa9" },
    {"R_ct",                     "",    "Charge-transfer resistance R_ct",                       "\xce\xa9" }
};
enum { KEYS = sizeof keys / sizeof *keys };

static const struct report_row *cell_of(const struct report *r, int state, const struct key *key) {
  const struct report_row *row = report_row_find(r, r->state[state].name, NULL, key->name);
  return row || !key->other[0] ? row : report_row_find(r, r->state[state].name, NULL, key->other);
}

static bool key_is_there(const struct report *r, const struct key *key) {
  for (int i = 0; i < r->states; i++)
    if (cell_of(r, i, key)) return true;
  return false;
}

/* How far a result lies from the truth, in its own errors; NAN: no error to measure by. */
static double pull_of(const struct report_row *row, double truth) {
  return isfinite(row->sigma) && row->sigma > 0 ? (row->value - truth) / row->sigma : (double)NAN;
}

static void put_cell(struct report *r, const struct report_row *row) {
  report_raw(r, "<td>");
  report_number(r, row);
  double truth = row ? report_truth(r, row->state, row->name) : (double)NAN;
  if (isfinite(truth) && isfinite(row->value)) {
    char text[200];
    double pull = pull_of(row, truth);
    report_number_plain(truth, isfinite(row->sigma) ? row->sigma : (double)NAN, (double)NAN,
                        (double)NAN, text, sizeof text);
    char *error = strstr(text, " \xc2\xb1");
    if (error && text[0] != '(') *error = 0;
    report_raw(r, "<small>true ");
    report_text(r, text);
    if (isfinite(pull))
      report_textf(r, ", %s%.1f \xcf\x83", pull < 0 ? "\xe2\x88\x92" : "+", fabs(pull));
    report_raw(r, "</small>");
  }
  report_raw(r, "</td>");
}

static void state_heads(struct report *r) {
  for (int i = 0; i < r->states; i++) {
    char words[80];
    report_state_words(r->state[i].name, words, sizeof words);
    report_raw(r, "<th scope=\"col\">");
    if (r->state[i].stage) report_textf(r, "%s \xc2\xb7 ", report_roman(r->state[i].stage));
    report_text(r, words);
    report_raw(r, "</th>");
  }
}

static void put_csv(struct report *r) {
  char *bytes = NULL;
  size_t n    = 0;
  FILE *to    = open_memstream(&bytes, &n);
  if (!to) return;
  fprintf(to, "state,stage,result,value,sigma,lower,upper,unit,remark,truth\n");
  for (int i = 0; i < r->rows; i++) {
    const struct report_row *row = &r->row[i];
    const double value[]         = {row->value, row->sigma, row->lower, row->upper},
                 truth           = report_truth(r, row->state, row->name);
    fprintf(to, "%s,%s,%s", row->state, row->stage, row->name);
    for (int k = 0; k < 4; k++) fprintf(to, isfinite(value[k]) ? ",%.10g" : ",", value[k]);
    fprintf(to, ",%s,\"%s\"", row->unit, strchr(row->remark, '"') ? "" : row->remark);
    fprintf(to, isfinite(truth) ? ",%.10g\n" : ",\n", truth);
  }
  fclose(to);
  report_side_file(r, "results.csv", bytes, n);
  free(bytes);
}

/* ---- sentences ---------------------------------------------------------------------------------------------------- */

static double sigma_of(const struct report_row *row) {
  return isfinite(row->sigma)                           ? row->sigma
         : isfinite(row->upper) && isfinite(row->lower) ? (row->upper - row->lower) / 2
                                                        : 0;
}

/* "Ra went from A to B (+x %, z sigma)". */
static void put_change(struct report *r, const char *name, const char *words, const char *unit,
                       int from, int to) {
  const struct report_row *a = report_row_find(r, r->state[from].name, NULL, name),
                          *b = report_row_find(r, r->state[to].name, NULL, name);
  char first[200], last[200], word_a[80], word_b[80];
  if (!a || !b || !isfinite(a->value) || !isfinite(b->value)) return;
  bool measured = isfinite(a->sigma) && isfinite(b->sigma);
  double error = hypot(sigma_of(a), sigma_of(b)), change = b->value - a->value,
         z = measured && error > 0 ? fabs(change) / error : (double)NAN;
  report_number_plain(a->value, a->sigma, (double)NAN, (double)NAN, first, sizeof first);
  report_number_plain(b->value, b->sigma, (double)NAN, (double)NAN, last, sizeof last);
  report_state_words(a->state, word_a, sizeof word_a);
  report_state_words(b->state, word_b, sizeof word_b);
  bool clear = !isfinite(z) || z >= 3;
  report_raw(r, "<li>");
  report_textf(r, "%s %s: %s%s%s in %s, %s%s%s in %s", words,
               !clear       ? "does not change beyond its error"
               : change > 0 ? "rises"
                            : "falls",
               first, unit[0] ? " " : "", unit, word_a, last, unit[0] ? " " : "", unit, word_b);
  if (a->value != 0) {
    char percent[64];
    double relative = 100 * change / fabs(a->value), relative_error = 100 * error / fabs(a->value);
    report_number_plain(relative, measured && relative_error > 0 ? relative_error : (double)NAN,
                        (double)NAN, (double)NAN, percent, sizeof percent);
    report_textf(r, " (%s%s %%%s", change > 0 && !strchr(percent, '(') ? "+" : "", percent,
                 isfinite(z) ? "" : ")");
    if (isfinite(z))
      report_textf(r, z > 100 ? ", over 100 standard deviations)" : ", %.1f standard deviations)",
                   z);
  }
  report_raw(r, ".</li>\n");
}

/* The state of the highest charge; the last one. */
static int fullest(const struct report *r) {
  int best = -1;
  for (int i = 0; i < r->states; i++)
    if (strcmp(r->state[i].step, "discharge") != 0 && isfinite(r->state[i].percent) &&
        (best < 0 || r->state[i].percent > r->state[best].percent))
      best = i;
  return best;
}

/* A change that is told against the first state: on charge, and from there on discharge. */
static void put_volume(struct report *r, const char *name, const char *words, int full, int last) {
  const struct report_row *a = report_row_find(r, r->state[full].name, NULL, name),
                          *b = report_row_find(r, r->state[last].name, NULL, name);
  char text[2][200];
  if (!a || !b || !isfinite(a->value) || !isfinite(b->value)) return;
  double after = 100 * ((100 + b->value) / (100 + a->value) - 1);
  report_number_plain(a->value, a->sigma, (double)NAN, (double)NAN, text[0], sizeof text[0]);
  report_number_plain(after, hypot(a->sigma, b->sigma), (double)NAN, (double)NAN, text[1],
                      sizeof text[1]);
  report_raw(r, "<li>");
  report_textf(r, "%s: %s%s %% on charge, then %s%s %% on discharge.", words,
               a->value > 0 ? "+" : "", text[0], after > 0 ? "+" : "", text[1]);
  report_raw(r, "</li>\n");
}

static void put_sentences(struct report *r) {
  int full = fullest(r), last = r->states - 1;
  if (r->states < 2) return;
  report_raw(r, "<ul>\n");
  put_change(r, "Ra_um", "Roughness Ra of the lithium", "\xc2\xb5m", 0, last);
  if (full > 0 && full < last) {
    put_change(r, "emf_region2", "EMF of the interphase on charge", "", 0, full);
    put_change(r, "emf_region2", "EMF of the interphase on discharge", "", full, last);
    put_change(r, "emf_cathode", "EMF of the cathode on charge", "", 0, full);
    put_change(r, "emf_Li", "EMF of the lithium alone on charge", "", 0, full);
    put_change(r, "effective_diffusivity_z",
               "Effective diffusivity along z from full charge to full discharge", "", full, last);
    put_change(r, "effective_diffusivity_x",
               "Effective diffusivity along x from full charge to full discharge", "", full, last);
    put_volume(r, "envelope_change_percent",
               "Volume of the anode's envelope (pores included, down to the slab of surface)", full,
               last);
    put_volume(r, "volume_change_percent",
               "Volume of the lithium itself (pores left out, in the box of track)", full, last);
    put_change(r, "R_ct", "Charge-transfer resistance on charge", "\xce\xa9", 0, full);
  }
  report_raw(r, "</ul>\n");
}

void report_answer(struct report *r) {
  report_section(r, "answer", "Answer");
  put_sentences(r);
  report_raw(r, "<div class=\"wide\"><table class=\"answer\">\n<thead><tr><th class=\"l\" "
                "scope=\"col\">Quantity</th>");
  state_heads(r);
  report_raw(r, "</tr></thead>\n<tbody>\n");
  for (int k = 0; k < KEYS; k++) {
    if (!key_is_there(r, &keys[k])) continue;
    report_raw(r, "<tr><th scope=\"row\">%s%s%s</th>", keys[k].words, keys[k].unit[0] ? ", " : "",
               keys[k].unit);
    for (int i = 0; i < r->states; i++) put_cell(r, cell_of(r, i, &keys[k]));
    report_raw(r, "</tr>\n");
  }
  report_raw(r, "</tbody></table></div>\n<p class=\"quiet\">Value \xc2\xb1 one standard deviation "
                "to the digits it allows; [low, high]: an "
                "interval the solver guarantees; numbers without either carry no error of their "
                "own; \xe2\x80\x93: not measured in this "
                "state, see its panel. EMF: electron momentum factor. All results: <a "
                "href=\"figures/results.csv\">results.csv</a>.</p>\n");
  put_csv(r);
}

/* ---- a panel per state ----------------------------------------------------------------------------------------- */

static void put_missing(struct report *r, const char *state) {
  static const char *const stages[] = {"recon", "align", "segment", "surface", "flux", "compton"};
  bool any                          = false;
  for (size_t k = 0; k < sizeof stages / sizeof *stages; k++) {
    const struct report_unit *unit = report_unit_find(r, state, stages[k]);
    if (!unit || strcmp(unit->is, "done") == 0 || strcmp(unit->is, "kept") == 0) continue;
    bool bad = strcmp(unit->is, "failed") == 0 || strcmp(unit->is, "below") == 0;
    report_raw(r, "%s<li><b class=\"%s\">%s</b> ", any ? "" : "<ul class=\"quiet\">\n",
               bad ? "fail" : "", stages[k]);
    report_textf(r, "%s%s%s",
                 strcmp(unit->is, "below") == 0   ? "below its quality"
                 : strcmp(unit->is, "waits") == 0 ? "not done"
                                                  : unit->is,
                 unit->why[0] ? ": " : "", unit->why);
    report_raw(r, "</li>\n");
    any = true;
  }
  if (any) report_raw(r, "</ul>\n");
}

/* A picture of the figures once more, small. */
static void put_thumb(struct report *r, const char *kind, const char *state) {
  char id[96];
  snprintf(id, sizeof id, "%s-%s", kind, state);
  for (int i = 0; i < r->thumbs; i++)
    if (strcmp(r->thumb[i].id, id) == 0) {
      report_raw(r,
                 "<a href=\"#%s\"><svg viewBox=\"0 20 %.0f %.0f\" role=\"img\" "
                 "aria-label=\"%s\"><use href=\"#%s\"/></svg></a>\n",
                 id, r->thumb[i].wide, r->thumb[i].high - 20, id, id);
      return;
    }
}

static void put_state(struct report *r, int i) {
  static const char *const shown[] = {"ct_xy", "growth", "topology", "emf_map_2"};
  const struct report_state *state = &r->state[i];
  char words[80];
  report_state_words(state->name, words, sizeof words);
  report_raw(r, "<section class=\"card\"><h3>");
  report_textf(r, "%s%s%s", report_roman(state->stage), state->stage ? " \xc2\xb7 " : "", words);
  report_raw(r, "</h3>\n<p class=\"quiet\">");
  if (isfinite(state->percent))
    report_textf(r, "%s, %g %%",
                 strcmp(state->step, "discharge") == 0 ? "discharge, depth"
                 : state->step[0]                      ? state->step
                                                       : "charge",
                 state->percent);
  report_raw(r, "</p>\n<div class=\"thumbs\">\n");
  for (size_t k = 0; k < sizeof shown / sizeof *shown; k++) put_thumb(r, shown[k], state->name);
  report_raw(r, "</div>\n<table><tbody>\n");
  for (int k = 0; k < KEYS; k++) {
    const struct report_row *row = cell_of(r, i, &keys[k]);
    if (!row) continue;
    report_raw(r, "<tr><th scope=\"row\">%s</th><td>", keys[k].words);
    report_number(r, row);
    report_raw(r, "%s%s</td></tr>\n", keys[k].unit[0] && isfinite(row->value) ? " " : "",
               keys[k].unit);
  }
  report_raw(r, "</tbody></table>\n");
  put_missing(r, state->name);
  report_raw(r, "</section>\n");
}

void report_states(struct report *r) {
  report_section(r, "states", "States");
  report_raw(r, "<div class=\"cards\">\n");
  for (int i = 0; i < r->states; i++) put_state(r, i);
  report_raw(r, "</div>\n");
  for (int i = 0; i < r->units; i++) {
    const struct report_unit *unit = &r->unit[i];
    if (strcmp(unit->state, "all") != 0 ||
        (strcmp(unit->is, "failed") != 0 && strcmp(unit->is, "below") != 0))
      continue;
    report_raw(r, "<p class=\"missing\"><b class=\"fail\">%s</b> of the whole cycle ", unit->stage);
    report_textf(r, "%s: %s", strcmp(unit->is, "below") == 0 ? "is below its quality" : "failed",
                 unit->why);
    report_raw(r, "</p>\n");
  }
}

/* ---- truth -------------------------------------------------------------------------------------------------------- */

static void put_truth_row(struct report *r, const struct report_row *row, double truth,
                          FILE *plain) {
  char value[200], name[160], true_value[64];
  double pull = pull_of(row, truth);
  report_number_plain(row->value, row->sigma, row->lower, row->upper, value, sizeof value);
  report_number_plain(truth, (double)NAN, (double)NAN, (double)NAN, true_value, sizeof true_value);
  snprintf(true_value, sizeof true_value, "%.6g", truth);
  report_raw(r, "<tr><td class=\"l\">");
  report_text(r, row->state);
  report_raw(r, "</td><td class=\"l\">");
  report_text(r, row->name);
  report_raw(r, "</td><td>%s</td><td>", true_value);
  report_text(r, value);
  report_raw(r, "</td><td class=\"l\">");
  report_text(r, report_unit_words(row->unit));
  report_raw(r, isfinite(pull) ? "</td><td>%+.2f</td></tr>\n" : "</td><td>\xe2\x80\x93</td></tr>\n",
             pull);
  snprintf(name, sizeof name, "%s/%s", row->state, row->name);
  if (plain && isfinite(pull)) {
    fprintf(plain, "%-44s %12s | %-28s %-6s", name, true_value, value, row->unit);
    fprintf(plain, " | %+.2f\n", pull);
  }
}

void report_truth_table(struct report *r, FILE *plain) {
  double chi2 = 0;
  int n = 0, beyond = 0;
  if (!r->truth) return;
  report_section(r, "truth", "Against the truth");
  report_raw(
      r, "<p>A made cell: what was put into it is known. Pull: (result \xe2\x88\x92 truth) / "
         "error. Numbers without an error of "
         "their own have none, and differ from the truth by what voxels and thresholds "
         "do.</p>\n<details><summary>All numbers that are "
         "known</summary><div class=\"wide\"><table>\n<thead><tr><th class=\"l\" "
         "scope=\"col\">State</th><th class=\"l\" scope=\"col\">Result</th>"
         "<th scope=\"col\">Truth</th><th scope=\"col\">Result \xc2\xb1 error</th><th class=\"l\" "
         "scope=\"col\">Unit</th><th scope=\"col\">Pull</th></tr></thead>\n<tbody>\n");
  if (plain) fprintf(plain, "%-44s %12s | %-28s %-6s | pull\n", "", "truth", "result +- error", "");
  for (int i = 0; i < r->rows; i++) {
    const struct report_row *row = &r->row[i];
    double truth                 = report_truth(r, row->state, row->name);
    if (!isfinite(truth) || !isfinite(row->value)) continue;
    put_truth_row(r, row, truth, plain);
    double pull = pull_of(row, truth);
    if (!isfinite(pull)) continue;
    chi2 += pull * pull;
    beyond += fabs(pull) > 3;
    n++;
  }
  report_raw(r, "</tbody></table></div></details>\n");
  if (!n) return;
  report_raw(r, "<p>");
  report_textf(
      r, "%d numbers with errors: sum of squared pulls %.1f, %d beyond 3 standard deviations.", n,
      chi2, beyond);
  report_raw(r, "</p>\n");
  if (plain)
    fprintf(plain, "%d numbers with errors: sum of squared pulls %.1f, %d beyond 3 sigma\n", n,
            chi2, beyond);
}
