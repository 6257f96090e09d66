/* A line is fitted in a window of three widths to either side, together with others that reach into it, as Gaussians on a
 * parabola, by the greatest Poisson likelihood. Widths follow from the resolution at the Compton line: noise of the
 * electronics does not grow with energy, the spread of the charges does (CdZnTe, Fano factor 0.1, 4.64 eV per pair). */
#include "compton_fit_lines.h"
#include "compton_profile_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MERGED      0.7 /* lines of an element closer than this part of the resolution are one */
#define REACH       3.0 /* widths */
#define COMPTON_KEV 7.0 /* about the Compton line nothing is smooth */
enum { ESCAPES = 2, SMOOTH = 3, LINES_AT_ONCE = COMPTON_TERMS - SMOOTH };

static double width_at(const struct compton_lines_request *r, double kev) {
  double square = r->fwhm_kev * r->fwhm_kev + 8 * log(2) * 0.1 * 4.64e-3 * (kev - r->line_kev);
  return sqrt(fmax(square, 0.1 * r->fwhm_kev * r->fwhm_kev));
}

static void add(const struct compton_lines_request *r, const char *name, double kev,
                struct compton_line *line, int *n) {
  double width = width_at(r, kev), last = r->first_kev + (double)r->bins * r->bin_kev;
  if (*n == COMPTON_LINES_MOST || kev - REACH * width < r->first_kev || kev + REACH * width > last)
    return;
  line[*n] = (struct compton_line){.energy_kev = kev, .fwhm_kev = width};
  snprintf(line[*n].name, sizeof line[*n].name, "%s", name);
  ++*n;
}

/* Fluorescence: what lies closer than the resolution tells is one line at the mean, the weaker second counted half. */
static void add_fluorescence(const struct compton_lines_request *r, struct compton_line *line,
                             int *n) {
  for (int k = 0; k < XRAY_LINES; k += 2) {
    double one, two;
    const char *name = xray_line_name(k, &one), *other = xray_line_name(k + 1, &two);
    if (fabs(one - two) > MERGED * width_at(r, one)) {
      add(r, name, one, line, n);
      add(r, other, two, line, n);
    } else {
      char merged[48];
      snprintf(merged, sizeof merged, "%.*s", (int)(strlen(name) - 2),
               name); /* without its number */
      add(r, merged, (2 * one + two) / 3, line, n);
    }
  }
}

static void add_beam(const struct compton_lines_request *r, struct compton_line *line, int *n) {
  static const struct {
    const char *name;
    double kev;
  } lost[ESCAPES] = {
      {"Cd K alpha", 23.11},
      {"Te K alpha", 27.38}
  };
  add(r, "elastic", r->beam_kev, line, n);
  for (int k = 0; k < ESCAPES; k++) {
    char name[48];
    snprintf(name, sizeof name, "elastic, %s escaped", lost[k].name);
    add(r, name, r->beam_kev - lost[k].kev, line, n);
  }
}

static int by_energy(const void *a, const void *b) {
  double x = ((const struct compton_line *)a)->energy_kev,
         y = ((const struct compton_line *)b)->energy_kev;
  return (x > y) - (x < y);
}

/* A line of one count in bins from `begin`. */
static void gaussian(const struct compton_lines_request *r, const struct compton_line *line,
                     int64_t begin, int64_t bins, double *to) {
  double sigma = line->fwhm_kev / 2.354820045 * sqrt(2);
  for (int64_t b = 0; b < bins; b++) {
    double low = (r->first_kev + (double)(begin + b) * r->bin_kev - line->energy_kev) / sigma;
    to[b]      = 0.5 * (erf(low + r->bin_kev / sigma) - erf(low));
  }
}

struct lines_room {
  double *column[COMPTON_TERMS], *model, *weight, *right, *all;
};
static enum status lines_room_make(int64_t bins, struct lines_room *room) {
  TRY(memory_make((COMPTON_TERMS + 3) * bins, sizeof *room->all, "lines", &room->all));
  for (int c = 0; c < COMPTON_TERMS; c++) room->column[c] = room->all + c * bins;
  room->model  = room->all + COMPTON_TERMS * bins;
  room->weight = room->model + bins;
  room->right  = room->weight + bins;
  return STATUS_OK;
}

/* The line at `at` first, then its neighbours, then what is smooth. */
static void fit_line(const struct compton_lines_request *r, struct compton_line *line, int n,
                     int at, struct lines_room *room) {
  struct compton_line *it = &line[at];
  double reach            = REACH * it->fwhm_kev;
  int64_t begin           = (int64_t)floor((it->energy_kev - reach - r->first_kev) / r->bin_kev),
          bins            = (int64_t)ceil(2 * reach / r->bin_kev);
  begin                   = begin < 0 ? 0 : begin;
  if (begin + bins > r->bins) bins = r->bins - begin;
  struct problem p  = {.bins = bins, .count = r->count + begin};
  struct solution x = {.model = room->model, .weight = room->weight, .right = room->right};
  gaussian(r, it, begin, bins, room->column[p.columns++]);
  for (int k = 0; k < n && p.columns < LINES_AT_ONCE; k++)
    if (k != at && fabs(line[k].energy_kev - it->energy_kev) < reach + line[k].fwhm_kev)
      gaussian(r, &line[k], begin, bins, room->column[p.columns++]);
  for (int power = 0; power < SMOOTH; power++, p.columns++)
    for (int64_t b = 0; b < bins; b++)
      room->column[p.columns][b] = pow(2 * ((double)b + 0.5) / (double)bins - 1, power);
  for (int c = 0; c < p.columns; c++) p.column[c] = room->column[c];
  problem_solve(&p, &x);
  if (!x.solved) return;
  it->counts = x.value[0];
  it->sigma  = sqrt(x.inverse[0][0]);
}

enum status compton_fit_lines(const struct compton_lines_request *r, struct compton_line *line,
                              int *n) {
  struct lines_room room;
  *n = 0;
  TRY(lines_room_make(r->bins, &room));
  add_fluorescence(r, line, n);
  add_beam(r, line, n);
  qsort(line, (size_t)*n, sizeof *line, by_energy);
  for (int k = 0; k < *n; k++) {
    line[k].counts = line[k].sigma = (double)NAN;
    if (fabs(line[k].energy_kev - r->line_kev) > COMPTON_KEV) fit_line(r, line, *n, k, &room);
  }
  memory_free(room.all);
  return STATUS_OK;
}
