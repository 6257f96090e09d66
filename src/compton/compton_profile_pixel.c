/* What the bins of one pixel mean. Its energies are `scale` times the true ones; a bin's counts, times dE/dp over the
 * cross-section, are J over the momenta between its edges. Windows and momentum bins are differences of the integral at
 * their edges, which a cubic through the integral at the four nearest edges of bins gives: bins are split where a
 * straight division would bias the factor by up to 0.5 %. All of it is linear in the counts, so a window is a set of
 * weights. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

enum { WINDOW_CUTS = COMPTON_WINDOWS + 1 };

/* ---- room ------------------------------------------------------------------------------------------- */

static double *take(double **at, int64_t n) {
  double *here = *at;
  *at += n;
  return here;
}

void sums_shape(const struct compton_table *t, struct sums *s) {
  *s = (struct sums){.bins = t->end - t->begin, .bins_au = t->set.bins_au};
  for (int k = 0; k < t->set.shapes; k++)
    s->term[s->columns++] = (enum compton_term)(COMPTON_SHAPE + k);
  s->term[s->columns++] = COMPTON_CONSTANT;
  if (t->set.step) s->term[s->columns++] = COMPTON_STEP;
  if (t->set.escape) s->term[s->columns++] = COMPTON_ESCAPE;
  if (t->set.lead) s->term[s->columns++] = COMPTON_LEAD;
  s->size = s->bins * (1 + s->columns + COMPTON_WINDOWS) +
            COMPTON_WINDOWS * (COMPTON_TERMS + COMPTON_WINDOWS + COMPTON_SHAPES) + AMOUNTS +
            s->bins_au * (3 + s->columns);
}

enum status sums_make(const struct compton_table *t, struct sums *s) {
  sums_shape(t, s);
  TRY(memory_make(s->size, sizeof *s->all, "sums over pixels", &s->all));
  double *at = s->all;
  s->count   = take(&at, s->bins);
  for (int c = 0; c < s->columns; c++) s->column[c] = take(&at, s->bins);
  for (int w = 0; w < COMPTON_WINDOWS; w++) s->seen[w] = take(&at, s->bins);
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    s->content[w]   = take(&at, COMPTON_TERMS);
    s->variance[w]  = take(&at, COMPTON_WINDOWS);
    s->reference[w] = take(&at, COMPTON_SHAPES);
  }
  s->amount            = take(&at, AMOUNTS);
  s->momentum          = take(&at, s->bins_au);
  s->momentum_variance = take(&at, s->bins_au);
  s->momentum_missing  = take(&at, s->bins_au);
  for (int c = 0; c < s->columns; c++) s->momentum_column[c] = take(&at, s->bins_au);
  return STATUS_OK;
}
void sums_free(struct sums *s) {
  memory_free(s->all);
  memset(s, 0, sizeof *s);
}

void biases_shape(const struct compton_table *t, struct biases *b) {
  *b      = (struct biases){.bins = t->end - t->begin};
  b->size = COMPTON_SOURCES * (b->bins + COMPTON_WINDOWS) + COMPTON_WINDOWS * COMPTON_WINDOWS;
}

enum status biases_make(const struct compton_table *t, struct biases *b) {
  biases_shape(t, b);
  TRY(memory_make(b->size, sizeof *b->all, "biases", &b->all));
  double *at = b->all;
  for (int s = 0; s < COMPTON_SOURCES; s++) {
    b->change[s]  = take(&at, b->bins);
    b->content[s] = take(&at, COMPTON_WINDOWS);
  }
  for (int w = 0; w < COMPTON_WINDOWS; w++) b->line[w] = take(&at, COMPTON_WINDOWS);
  return STATUS_OK;
}
void biases_free(struct biases *b) {
  memory_free(b->all);
  memset(b, 0, sizeof *b);
}

enum status view_make(const struct compton_table *t, struct pixel_view *v) {
  int64_t n = t->end - t->begin;
  memset(v, 0, sizeof *v);
  TRY(memory_make((9 + COMPTON_WINDOWS) * (n + 1) + 2 * (1 + t->set.shapes) * t->padded,
                  sizeof(double), "a pixel", &v->room));
  double *at  = v->room;
  v->integral = take(&at, t->padded);
  v->density  = take(&at, t->padded);
  for (int k = 0; k < t->set.shapes; k++)
    for (int d = 0; d < 2; d++) v->shape[k][d] = take(&at, t->padded);
  v->momentum = take(&at, n + 1);
  v->per      = take(&at, n);
  v->edge     = take(&at, 3 * (n + 1));
  v->base     = take(&at, n);
  v->moved    = take(&at, n);
  for (int w = 0; w < COMPTON_WINDOWS; w++) v->weight[w] = take(&at, n);
  enum status status =
      memory_make(WINDOW_CUTS + t->set.bins_au + 1, sizeof *v->cut, "momentum bins", &v->cut);
  if (status != STATUS_OK) view_free(v);
  return status;
}
void view_free(struct pixel_view *v) {
  memory_free(v->room);
  memory_free(v->cut);
  memset(v, 0, sizeof *v);
}

/* ---- momenta ----------------------------------------------------------------------------------------- */

static void momenta(const struct compton_table *t, struct pixel_view *v) {
  int64_t n   = t->end - t->begin;
  double beam = t->set.beam_kev, most = beam * (1 - 1e-9);
  double angle = v->given.angle, first = t->first_kev + (double)t->begin * t->bin_kev;
  for (int64_t b = 0; b <= n; b++) {
    double energy  = fmin(most, (first + (double)b * t->bin_kev) / v->scale);
    v->momentum[b] = xray_momentum(beam, energy, angle);
    if (b == n) break;
    energy    = fmin(most, (first + ((double)b + 0.5) * t->bin_kev) / v->scale);
    v->per[b] = t->unit * xray_momentum_slope(beam, energy, angle) /
                (xray_cross_section(beam, energy, angle) * t->efficiency[b]);
  }
}

/* Below `momentum` lie all bins before bin - 1 and these parts of the next three. `from`: at or below its bin. */
static struct cut cut_at(const double *edge, int64_t n, double momentum, int64_t from) {
  struct cut cut = {.bin = -1};
  int64_t b      = from > 1 ? from : 1;
  while (b < n - 2 && edge[b + 1] <= momentum) b++;
  if (!(n >= 4 && momentum >= edge[b] && momentum <= edge[b + 1])) return cut;
  double l[4];
  for (int i = 0; i < 4; i++) {
    l[i] = 1;
    for (int k = 0; k < 4; k++)
      if (k != i) l[i] *= (momentum - edge[b - 1 + k]) / (edge[b - 1 + i] - edge[b - 1 + k]);
  }
  return (struct cut){
      b, {l[1] + l[2] + l[3], l[2] + l[3], l[3]}
  };
}

static double below(const struct cut *cut, int64_t bin) {
  int64_t at = bin - cut->bin + 1;
  return at < 0 ? 1 : at > 2 ? 0 : cut->below[at];
}

static void cuts(const struct compton_table *t, struct pixel_view *v) {
  const struct compton_profile_settings *s = &t->set;
  int64_t n = t->end - t->begin, from = 1;
  const double window[WINDOW_CUTS] = {-s->high_au, -s->low_au, 0, s->low_au, s->high_au};
  for (int k = 0; k < WINDOW_CUTS; k++) v->cut[k] = cut_at(v->momentum, n, window[k], 1);
  for (int64_t q = 0; s->bins_au > 0 && q <= s->bins_au; q++) {
    struct cut *cut = &v->cut[WINDOW_CUTS + q];
    *cut            = cut_at(v->momentum, n, s->first_au + (double)q * s->step_au, from);
    if (cut->bin > 0) from = cut->bin;
  }
}

static bool window_weights(const struct compton_table *t, struct pixel_view *v) {
  int64_t n = t->end - t->begin;
  for (int k = 0; k < WINDOW_CUTS; k++)
    if (v->cut[k].bin < 0) return false;
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    const struct cut *low = &v->cut[w], *high = low + 1;
    memset(v->weight[w], 0, (size_t)n * sizeof(double));
    for (int64_t b = low->bin - 1; b <= high->bin + 1; b++)
      v->weight[w][b] = (below(high, b) - below(low, b)) * v->per[b];
  }
  return true;
}

enum status view_look(struct compton_table *t, const struct pixel_given *given,
                      struct pixel_view *v, bool *windows) {
  v->given    = *given;
  v->true_kev = xray_line_kev(t->set.beam_kev, given->angle);
  v->scale    = given->line_kev / v->true_kev;
  TRY(compton_table_at(t, given->angle, given->fwhm_kev, &v->at));
  momenta(t, v);
  cuts(t, v);
  *windows = window_weights(t, v);
  return STATUS_OK;
}

/* ---- columns ------------------------------------------------------------------------------------------- */

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static double bin_kev_of(const struct compton_table *t, const struct pixel_view *v, int64_t b) {
  return (t->first_kev + ((double)(t->begin + b) + 0.5) * t->bin_kev) / v->scale;
}

/* A line of one count. */
static void add_line(const struct compton_table *t, const struct pixel_view *v, double kev,
                     double share, double *to) {
  double sigma = v->given.fwhm_kev / 2.354820045, part = t->bin_kev / v->scale;
  for (int64_t b = 0; b < t->end - t->begin; b++) {
    double z = (bin_kev_of(t, v, b) - kev) / sigma;
    if (fabs(z) < 8) to[b] += share * part / (sigma * sqrt(2 * PI)) * exp(-z * z / 2);
  }
}

static void step_column(const struct compton_table *t, const struct pixel_view *v, double top,
                        double *to) {
  double sigma = v->given.fwhm_kev / 2.354820045;
  for (int64_t b = 0; b < t->end - t->begin; b++) {
    double z = (bin_kev_of(t, v, b) - v->true_kev) / sigma;
    to[b]    = z > 8 ? 0 : top * (z < -8 ? 1 : 0.5 * erfc(z / sqrt(2)));
  }
}

/* How much of equal parts of all shapes the pixel sees: by its counts alone when it stands for itself (any scale does, but 0
 * would not). In a group it is the pixel's weight, and what is background must not count: pixels that look beside the
 * sample have some. Then from the counts within the windows and above them, as shapes on a constant: noisy, but right in
 * the mean. */
static double intensity_of(const struct compton_table *t, const struct pixel_view *v,
                           const struct sums *s) {
  enum { LEAST_BINS = 8 };
  int64_t from = v->cut[0].bin, to = v->cut[COMPTON_WINDOWS].bin + 1;
  double in = 0, in_shape = 0, above = 0, above_shape = 0;
  double in_bins = (double)(to - from), above_bins = (double)(s->bins - to);
  for (int64_t b = from; b < s->bins; b++) {
    double shape = 0;
    for (int k = 0; k < t->set.shapes; k++) shape += s->column[k][b] / t->set.shapes;
    if (b < to)
      in += s->count[b], in_shape += shape;
    else
      above += s->count[b], above_shape += shape;
  }
  if (v->alone || above_bins < LEAST_BINS) return in / in_shape;
  return (in * above_bins - above * in_bins) / (in_shape * above_bins - above_shape * in_bins);
}

static double top_of(const struct compton_table *t, const struct pixel_view *v,
                     const struct sums *s) {
  double top = 0;
  for (int64_t b = v->cut[0].bin; b <= v->cut[COMPTON_WINDOWS].bin; b++) {
    double here = 0;
    for (int k = 0; k < t->set.shapes; k++) here += s->column[k][b] / t->set.shapes;
    top = fmax(top, here);
  }
  return top;
}

/* Shapes times the pixel's intensity. */
static void shape_columns(const struct compton_table *t, struct pixel_view *v, struct sums *s,
                          double *top) {
  for (int k = 0; k < t->set.shapes; k++) {
    double part[COMPTON_SHAPES] = {0};
    part[k]                     = 1;
    compton_table_mix(t, &v->at, part, v->shape[k][0], v->shape[k][1]);
    compton_table_bins(t, v->shape[k][0], v->shape[k][1], v->true_kev, v->scale, 0, v->edge,
                       s->column[k], NULL);
  }
  v->intensity = intensity_of(t, v, s);
  *top         = v->intensity * top_of(t, v, s);
  for (int k = 0; k < t->set.shapes; k++)
    for (int64_t b = 0; b < s->bins; b++) s->column[k][b] *= v->intensity;
}

/* Shapes, then what lies beneath. */
static void columns(const struct compton_table *t, struct pixel_view *v, struct sums *s) {
  double top;
  shape_columns(t, v, s, &top);
  for (int c = t->set.shapes; c < s->columns; c++) {
    double *column = s->column[c];
    memset(column, 0, (size_t)s->bins * sizeof *column);
    if (s->term[c] == COMPTON_CONSTANT)
      for (int64_t b = 0; b < s->bins; b++) column[b] = 1;
    else if (s->term[c] == COMPTON_STEP)
      step_column(t, v, top, column);
    else if (s->term[c] == COMPTON_ESCAPE)
      add_line(t, v, t->set.beam_kev - COMPTON_ESCAPE_KEV, 1, column);
    else {
      add_line(t, v, 84.936, 0.77, column);
      add_line(t, v, 87.367, 0.23, column);
    }
  }
}

/* ---- sums ------------------------------------------------------------------------------------------------ */

static void momentum_sums(const struct pixel_view *v, struct sums *s) {
  for (int64_t q = 0; q < s->bins_au; q++) {
    const struct cut *low = &v->cut[WINDOW_CUTS + q], *high = low + 1;
    double sum = 0, variance = 0, column[COMPTON_TERMS] = {0};
    bool missing = low->bin < 0 || high->bin < 0;
    for (int64_t b = low->bin - 1; !missing && b <= high->bin + 1; b++) {
      double w = (below(high, b) - below(low, b)) * v->per[b];
      sum += w * s->count[b];
      variance += w * w * s->count[b];
      for (int c = 0; c < s->columns; c++) column[c] += w * s->column[c][b];
    }
    s->momentum_missing[q]  = missing;
    s->momentum[q]          = sum;
    s->momentum_variance[q] = variance;
    for (int c = 0; c < s->columns; c++) s->momentum_column[c][q] = column[c];
  }
}

static void window_sums(const struct compton_table *t, const struct pixel_view *v, struct sums *s) {
  int64_t n = s->bins;
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    for (int64_t b = 0; b < n; b++) s->seen[w][b] = v->weight[w][b] * s->count[b];
    for (int c = 0; c < s->columns; c++) s->content[w][c] = dot(v->weight[w], s->column[c], n);
    for (int k = 0; k <= w; k++)
      s->variance[w][k] = s->variance[k][w] = dot(v->weight[k], s->seen[w], n);
    for (int k = 0; k < t->set.shapes; k++) s->reference[w][k] = v->intensity * t->reference[w][k];
  }
}

void view_sums(const struct compton_table *t, struct pixel_view *v, struct sums *s) {
  const uint32_t *count = v->given.count + t->begin;
  double pol = compton_table_polarised(t, v->given.angle), in = 0;
  for (int64_t b = 0; b < s->bins; b++) s->count[b] = count[b];
  columns(t, v, s);
  window_sums(t, v, s);
  momentum_sums(v, s);
  for (int64_t b = v->cut[0].bin; b <= v->cut[COMPTON_WINDOWS].bin; b++) in += s->count[b];
  s->amount[AMOUNT_PIXELS]         = 1;
  s->amount[AMOUNT_COUNTS]         = in;
  s->amount[AMOUNT_ELECTRONS]      = t->unit * v->intensity;
  s->amount[AMOUNT_FLAT_ELECTRONS] = t->unit * v->intensity / (v->given.flat * pol);
  s->amount[AMOUNT_NO_WINDOW]      = 0;
}
