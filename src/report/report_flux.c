/* Transport side by side: every direction of the run, and the rows of a sweep over conducting phases, boxes and the like. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const shown[] = {"volume_fraction", "percolating_fraction",
                                    "effective_diffusivity", "tortuosity_factor",
                                    "tortuosity_factor_percolating"};
static const char *const words[] = {"Volume fraction", "Percolating", "D_eff/D",
                                    "Tortuosity factor", "of the percolating part"};
enum { SHOWN = sizeof shown / sizeof *shown };

/* Names of the cases beside the stage's own solution, in their order: what follows the direction in a result's name. */
enum { CASES_MOST = 32, DIRECTIONS = 4 };
struct cases {
  char name[CASES_MOST][32]; /* the first: "", as set */
  int n;
};
static const char *const direction[DIRECTIONS] = {"", "z", "y", "x"};

static struct cases cases_of(const struct report *r) {
  static const char of[] = "effective_diffusivity_";
  struct cases c         = {.n = 1};
  for (int i = 0; i < r->rows; i++) {
    const char *rest = r->row[i].name + sizeof of - 1;
    bool seen        = false;
    if (strcmp(r->row[i].stage, "flux") != 0 || strncmp(r->row[i].name, of, sizeof of - 1) != 0 ||
        !rest[0] || rest[1] != '_' || c.n == CASES_MOST)
      continue;
    for (int k = 1; k < c.n; k++) seen |= strcmp(c.name[k], rest + 2) == 0;
    if (!seen) snprintf(c.name[c.n++], sizeof *c.name, "%.31s", rest + 2);
  }
  return c;
}

static const struct report_row *row_of(const struct report *r, int state, const char *what,
                                       const char *along, const char *of_case) {
  char name[128];
  snprintf(name, sizeof name, "%s%s%s%s%s", what, along[0] ? "_" : "", along, of_case[0] ? "_" : "",
           of_case);
  return report_row_find(r, r->state[state].name, "flux", name);
}

static void put_case(struct report *r, const char *of_case) {
  report_raw(r, "<td class=\"l\">");
  report_text(r, of_case[0] ? of_case : "as set");
  report_raw(r, "</td>");
}

/* D_eff alone: a row for each case and direction, the states side by side. */
static void put_beside(struct report *r, const struct cases *cases) {
  report_raw(r, "<h3>D_eff/D</h3>\n<div class=\"wide\"><table>\n<thead><tr><th class=\"l\" "
                "scope=\"col\">Direction</th><th class=\"l\" scope=\"col\">Case</th>");
  for (int i = 0; i < r->states; i++) {
    char text[80];
    report_state_words(r->state[i].name, text, sizeof text);
    report_raw(r, "<th scope=\"col\">");
    report_text(r, text);
    report_raw(r, "</th>");
  }
  report_raw(r, "</tr></thead>\n<tbody>\n");
  for (int c = 0; c < cases->n; c++)
    for (int d = 0; d < DIRECTIONS; d++) {
      bool any = false;
      for (int i = 0; i < r->states; i++)
        any |= row_of(r, i, "effective_diffusivity", direction[d], cases->name[c]) != NULL;
      if (!any) continue;
      report_raw(r, "<tr><th scope=\"row\">%s</th>", direction[d][0] ? direction[d] : "as set");
      put_case(r, cases->name[c]);
      for (int i = 0; i < r->states; i++) {
        report_raw(r, "<td>");
        report_number(r, row_of(r, i, "effective_diffusivity", direction[d], cases->name[c]));
        report_raw(r, "</td>");
      }
      report_raw(r, "</tr>\n");
    }
  report_raw(r, "</tbody></table></div>\n");
}

static void put_row(struct report *r, int state, const char *along, const char *of_case) {
  const struct report_row *row[SHOWN];
  bool any = false;
  for (int k = 0; k < SHOWN; k++) {
    row[k] = row_of(r, state, shown[k], along, of_case);
    any |= row[k] != NULL;
  }
  if (!any) return;
  char text[80];
  report_state_words(r->state[state].name, text, sizeof text);
  report_raw(r, "<tr><th scope=\"row\">");
  report_text(r, text);
  report_raw(r, "</th><td class=\"l\">%s</td>", along[0] ? along : "as set");
  put_case(r, of_case);
  for (int k = 0; k < SHOWN; k++) {
    report_raw(r, "<td>");
    report_number(r, row[k]);
    report_raw(r, "</td>");
  }
  report_raw(r, "</tr>\n");
}

static void put_heads(struct report *r, const char *first) {
  report_raw(r, "<div class=\"wide\"><table>\n<thead><tr>%s", first);
  for (int k = 0; k < SHOWN; k++) report_raw(r, "<th scope=\"col\">%s</th>", words[k]);
  report_raw(r, "</tr></thead>\n<tbody>\n");
}

/* What conducts, where: from the record of the first state that has one. */
static void put_settings(struct report *r) {
  for (int i = 0; i < r->states; i++) {
    const struct config_node *flux = r->cycle ? config_get(config_root(r->cycle), "flux") : NULL;
    if (!flux) break;
    report_raw(r, "<p>In this run: ");
    for (int k = 0; k < config_count(flux); k++)
      report_textf(r, "%s%s = %s", k ? ", " : "", config_key(flux, k),
                   config_scalar(config_item(flux, k)) ? config_scalar(config_item(flux, k))
                                                       : "(a list)");
    report_raw(
        r, ". Conduction of the labels named, none elsewhere; box in voxels along z, y, x.</p>\n");
    break;
  }
}

/* ---- rows of a sweep ------------------------------------------------------------------------------------------ */

/* Field k of a CSV line, with quotes taken off; "" past the last. */
static void field_of(const char *line, int k, char *text, size_t bytes) {
  size_t used = 0;
  bool quoted = false;
  for (; *line && *line != '\n' && *line != '\r'; line++) {
    if (*line == '"')
      quoted = !quoted;
    else if (*line == ',' && !quoted) {
      if (k-- == 0) break;
    } else if (k == 0 && used + 1 < bytes)
      text[used++] = *line;
  }
  text[used] = 0;
}

static int columns_of(const char *line) {
  int n       = 1;
  bool quoted = false;
  for (; *line && *line != '\n'; line++) {
    quoted ^= *line == '"';
    n += *line == ',' && !quoted;
  }
  return n;
}

static bool is_wanted(const char *name) {
  return strncmp(name, "effective_diffusivity", 21) == 0 ||
         strncmp(name, "tortuosity_factor", 17) == 0 || strcmp(name, "Ra_um") == 0;
}

static double number_of(const char *text) {
  char *end;
  double value = strtod(text, &end);
  return end != text ? value : (double)NAN;
}

static void put_sweep_line(struct report *r, const char *line, int axes) {
  char text[256], value[200];
  double number[4];
  field_of(line, axes + 3, text, sizeof text);
  if (!is_wanted(text)) return;
  report_raw(r, "<tr>");
  for (int k = 1; k <= axes + 3; k++) {
    if (k == axes + 2) continue; /* the stage */
    field_of(line, k, text, sizeof text);
    report_raw(r, "<td class=\"l\">");
    report_text(r, text);
    report_raw(r, "</td>");
  }
  for (int k = 0; k < 4; k++) {
    field_of(line, axes + 4 + k, text, sizeof text);
    number[k] = number_of(text);
  }
  report_number_plain(number[0], number[1], number[2], number[3], value, sizeof value);
  report_raw(r, "<td>");
  report_text(r, value);
  report_raw(r, "</td></tr>\n");
}

static void put_sweep(struct report *r) {
  char path[STORE_NAME_BYTES], line[8192], text[256];
  snprintf(path, sizeof path, "%.1900s/sweep.csv", r->folder);
  if (r->params->sweep[0]) snprintf(path, sizeof path, "%s", r->params->sweep);
  FILE *from = fopen(path, "r");
  if (!from) {
    if (r->params->sweep[0])
      report_keep(r, FAIL(STATUS_INPUT, "the sweep's rows %s cannot be read", path));
    return;
  }
  if (fgets(line, sizeof line, from) && columns_of(line) > 10) {
    int axes = columns_of(line) - 10;
    report_raw(
        r, "<h3>The rows of a sweep, side by side</h3>\n<div class=\"wide\"><table>\n<thead><tr>");
    for (int k = 1; k <= axes + 3; k++) {
      field_of(line, k, text, sizeof text);
      if (k == axes + 2) continue;
      report_raw(r, "<th class=\"l\" scope=\"col\">");
      report_text(r, text);
      report_raw(r, "</th>");
    }
    report_raw(r, "<th scope=\"col\">value</th></tr></thead>\n<tbody>\n");
    while (fgets(line, sizeof line, from)) put_sweep_line(r, line, axes);
    report_raw(r, "</tbody></table></div>\n");
  }
  fclose(from);
}

void report_flux_table(struct report *r) {
  const struct cases cases = cases_of(r);
  bool any                 = false;
  report_section(r, "flux", "Li\xe2\x81\xba transport, side by side");
  for (int i = 0; i < r->rows; i++) any |= strcmp(r->row[i].stage, "flux") == 0;
  if (!any)
    report_figure_missing(r, "Transport", "flux has no results in any state");
  else {
    put_settings(r);
    put_beside(r, &cases);
    report_raw(r, "<details><summary>Fractions and tortuosity factors</summary>\n");
    put_heads(r,
              "<th class=\"l\" scope=\"col\">State</th><th class=\"l\" scope=\"col\">Direction</th>"
              "<th class=\"l\" scope=\"col\">Case</th>");
    for (int c = 0; c < cases.n; c++)
      for (int d = 0; d < DIRECTIONS; d++)
        for (int i = 0; i < r->states; i++) put_row(r, i, direction[d], cases.name[c]);
    report_raw(r,
               "</tbody></table></div></details>\n<p class=\"quiet\">D_eff is the energy value, "
               "an upper bound; [low, high] is guaranteed for the voxels as labelled. Tortuosity "
               "factor: volume fraction over D_eff/D. Cases: flux.cases, where follow means a box "
               "about the state's own interface.</p>\n");
  }
  put_sweep(r);
}
