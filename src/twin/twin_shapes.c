/* Line shapes: profiles of the components on the energies of a pixel, blurred by its resolution; mixtures of them;
 * their integrals over the windows of the electron momentum factor.
 * A bin's share of what has the apparent energy e is Phi((high - e) / sigma) - Phi((low - e) / sigma); the sharp line
 * is taken at the middles of parts of a bin, whose weights are the same for every bin. */
#include "twin_xcs.h"
#include <math.h>
#include <string.h>

static const double reference_kev = 0.79; /* width at the line to which factors are compared */
static const double part_kev = 0.05, widths_reached = 2.6; /* in FWHM: 6 sigma */
static const double tail_kev = 1.5, tails_reached = 9;

int64_t xcs_bins(const struct twin_params *p) {
  return (int64_t)llround((p->xcs_last_kev - p->xcs_first_kev) / p->xcs_bin_kev);
}
static int64_t parts_of(const struct twin_params *p) {
  return (int64_t)ceil(p->xcs_bin_kev / part_kev - 1e-9);
}
static int64_t reach_of(const struct twin_params *p) {
  double far = widths_reached * xcs_fwhm_kev(p) * (1 + 3 * p->xcs_fwhm_spread);
  if (p->xcs_tail_percent > 0) far += tails_reached * tail_kev;
  return (int64_t)ceil(far / p->xcs_bin_kev * (double)parts_of(p));
}
int64_t xcs_parts(const struct xcs *xcs) { return xcs->bins * xcs->parts + 2 * xcs->reach; }
double xcs_part_kev(const struct xcs *xcs, int64_t i) {
  return xcs->params->xcs_first_kev +
         ((double)(i - xcs->reach) + 0.5) * xcs->params->xcs_bin_kev / (double)xcs->parts;
}

int64_t xcs_bytes(const struct twin_params *p, int64_t rows_here) {
  int64_t parts = xcs_bins(p) * parts_of(p) + 2 * reach_of(p);
  return XCS_PIXELS * (int64_t)sizeof(struct xcs_pixel) +
         XCS_SHAPES * (int64_t)sizeof(struct xray_profile) + 8 * (XCS_SHAPES + 1) * parts +
         rows_here * XCS_SIDE * xcs_bins(p) * 4 * (XCS_SHAPES + 1);
}

/* Electrons of 1e23 per cm3 with their profile. */
static enum status profile_make(enum xray_material material, double x,
                                struct xray_profile *profile) {
  TRY(xray_profile_of(material, x, profile));
  double density = xray_electron_density(material, x);
  for (int i = 0; i < XRAY_PROFILE_POINTS; i++) profile->j[i] *= density;
  return STATUS_OK;
}

enum status xcs_profiles_make(struct xcs *xcs, enum xray_material first) {
  TRY(profile_make(first, 0, &xcs->profile[XCS_SHAPE_LI]));
  TRY(profile_make(XRAY_SPE, 0, &xcs->profile[XCS_SHAPE_SPE]));
  TRY(profile_make(XRAY_CATHODE, 0, &xcs->profile[XCS_SHAPE_EMPTY]));
  return profile_make(XRAY_CATHODE, 1, &xcs->profile[XCS_SHAPE_FULL]);
}

static enum status buffers_make(struct xcs *xcs) {
  int64_t here = xcs->rows_here * XCS_SIDE * xcs->bins, parts = xcs_parts(xcs);
  TRY(memory_make(XCS_PIXELS, sizeof *xcs->pixel, "the camera's pixels", &xcs->pixel));
  TRY(memory_make(XCS_SHAPES, sizeof *xcs->profile, "Compton profiles", &xcs->profile));
  TRY(memory_make(parts * XCS_SHAPES, sizeof *xcs->sharp, "a line shape", &xcs->sharp));
  TRY(memory_make(parts, sizeof *xcs->weight, "a resolution", &xcs->weight));
  TRY(memory_make(here * XCS_SHAPES, sizeof *xcs->shape, "line shapes", &xcs->shape));
  return memory_make(here, sizeof *xcs->counts, "spectra", &xcs->counts);
}

enum status xcs_make(const struct twin_params *params, int rank, int size, struct xcs *xcs) {
  int64_t share = XCS_SIDE / size, more = XCS_SIDE % size;
  *xcs = (struct xcs){.params    = params,
                      .bins      = xcs_bins(params),
                      .parts     = parts_of(params),
                      .reach     = reach_of(params),
                      .rows_here = share + (rank < more),
                      .row0      = rank * share + (rank < more ? rank : more)};
  TRY(fault_here("twin.xcs"));
  TRY(buffers_make(xcs));
  xcs_camera_make(params, xcs->pixel);
  return xcs_profiles_make(xcs, XRAY_LI_METAL);
}

void xcs_free(struct xcs *xcs) {
  memory_free(xcs->pixel);
  memory_free(xcs->profile);
  memory_free(xcs->sharp);
  memory_free(xcs->weight);
  memory_free(xcs->shape);
  memory_free(xcs->counts);
  memset(xcs, 0, sizeof *xcs);
}

/* ---- shapes ------------------------------------------------------------------------------------------- */

void xcs_sharp_make(const struct xcs *xcs, const struct xcs_pixel *pixel, double *sharp) {
  double wide_kev = xcs->params->xcs_bin_kev / (double)xcs->parts / pixel->gain;
  for (int64_t i = 0; i < xcs_parts(xcs); i++) {
    double energy = xcs_part_kev(xcs, i) / pixel->gain, *to = sharp + i * XCS_SHAPES;
    bool scattered = energy > 0.1 * xcs_beam_kev && energy < xcs_beam_kev;
    double p       = scattered ? xray_momentum(xcs_beam_kev, energy, pixel->angle) : 0;
    double each = scattered ? wide_kev * xray_cross_section(xcs_beam_kev, energy, pixel->angle) : 0;
    for (int k = 0; k < XCS_SHAPES; k++) to[k] = each * xray_profile_at(&xcs->profile[k], p);
  }
}

/* Part of the counts that are measured more than `above_kev` below their energy: the normal resolution, and for the
 * share `tail` an exponential loss before it (an exponentially modified Gaussian). */
static double below(double above_kev, double sigma_kev, double tail) {
  double plain = 0.5 * erfc(above_kev / (sqrt(2) * sigma_kev));
  if (tail <= 0) return plain;
  double s = sigma_kev / tail_kev;
  double lost =
      exp(s * s / 2 - above_kev / tail_kev) * 0.5 * erfc((s - above_kev / sigma_kev) / sqrt(2));
  return plain + tail * lost;
}

static void set_weights(const struct xcs *xcs, double sigma_kev) {
  double bin = xcs->params->xcs_bin_kev, part = bin / (double)xcs->parts,
         tail = 0.01 * xcs->params->xcs_tail_percent;
  for (int64_t d = 0; d < xcs->parts + 2 * xcs->reach; d++) {
    double above   = ((double)(d - xcs->reach) + 0.5) * part; /* the bin's lower edge */
    xcs->weight[d] = below(above - bin, sigma_kev, tail) - below(above, sigma_kev, tail);
  }
}

void xcs_shapes_make(struct xcs *xcs) {
  for (int64_t i = 0; i < xcs->rows_here * XCS_SIDE; i++) {
    const struct xcs_pixel *pixel = &xcs->pixel[xcs->row0 * XCS_SIDE + i];
    xcs_sharp_make(xcs, pixel, xcs->sharp);
    set_weights(xcs, pixel->fwhm_kev / sqrt(8 * log(2)));
    ISA_PICK(twin_blur)
    (xcs->sharp, xcs->weight, xcs->parts + 2 * xcs->reach, xcs->parts, xcs->bins,
     xcs->shape + i * xcs->bins * XCS_SHAPES);
  }
}

/* ---- mixtures ------------------------------------------------------------------------------------------ */

/* Where the interface stands higher than in the mean, lithium takes the place of what lies above it; of region 3,
 * which only the edge of the beam's profile joins with the membrane, a share that falls by e in 6 um. */
static void add_rise(const double region[XCS_COMPONENTS], int at, double per_um[XCS_COMPONENTS]) {
  static const double slab_um = 250, edge_um = 6;
  int loser      = at == 0 ? XCS_CATHODE : XCS_SPE;
  double moved   = at == 2 ? region[XCS_SPE] / edge_um : 1 / slab_um;
  per_um[XCS_LI] = moved;
  per_um[loser]  = -moved;
}

void xcs_mixture(const struct xcs_pixel *pixel, const struct twin_state *state, int region,
                 double amount[XCS_SHAPES]) {
  const double *mean = state->region[region], *first = twin_states[0].region[region];
  double per_um[XCS_COMPONENTS] = {0}, seen[XCS_COMPONENTS];
  /* over half a disc of 7 mm the mean of x is 4 R / (3 pi) */
  double tilt_um_per_mm = (state->rise_right - state->rise_left) / 2 / (4 * 7 / (3 * PI));
  add_rise(mean, region, per_um);
  for (int c = 0; c < XCS_COMPONENTS; c++)
    seen[c] = mean[c] * pixel->inner[c] + per_um[c] * tilt_um_per_mm * pixel->lever[c] +
              first[c] * pixel->ring[c];
  amount[XCS_SHAPE_LI]    = seen[XCS_LI];
  amount[XCS_SHAPE_SPE]   = seen[XCS_SPE];
  amount[XCS_SHAPE_EMPTY] = (1 - state->x_Li) * seen[XCS_CATHODE];
  amount[XCS_SHAPE_FULL]  = state->x_Li * seen[XCS_CATHODE];
}

/* ---- windows of the electron momentum factor --------------------------------------------------------------- */

/* Integral of value[n] (at first + i step, straight between) from a to b. */
static double integral(const double *value, int64_t n, double first, double step, double a,
                       double b) {
  double sum = 0;
  for (int64_t i = 0; i + 1 < n; i++) {
    double x = first + (double)i * step, low = fmax(a, x), high = fmin(b, x + step);
    if (low >= high) continue;
    double middle = ((low + high) / 2 - x) / step;
    sum += (high - low) * (value[i] + middle * (value[i + 1] - value[i]));
  }
  return sum;
}

/* As measured: the blurred line back on momenta by the pixel's own angle, divided by the cross-section. */
static enum status window_integrals(const struct xray_profile *profile, double angle,
                                    double fwhm_kev, double *low, double *high) {
  enum { POINTS = 1000 };
  const double first = 84, step = 0.02;
  double rate[POINTS], edge[4];
  static const double momentum[4] = {-5, -1, 1, 5};
  TRY(xray_line_shape(profile, xcs_beam_kev, angle, fwhm_kev, first, step, POINTS, rate));
  for (int64_t i = 0; i < POINTS; i++) {
    double energy = first + (double)i * step;
    rate[i] *= xray_momentum_slope(xcs_beam_kev, energy, angle) /
               xray_cross_section(xcs_beam_kev, energy, angle);
  }
  for (int k = 0; k < 4; k++) edge[k] = xray_energy(xcs_beam_kev, momentum[k], angle);
  *low  = integral(rate, POINTS, first, step, edge[1], edge[2]);
  *high = integral(rate, POINTS, first, step, edge[0], edge[1]) +
          integral(rate, POINTS, first, step, edge[2], edge[3]);
  return STATUS_OK;
}

enum status xcs_windows_make(const struct xcs *xcs, struct xcs_windows *w) {
  double fwhm = xcs_fwhm_kev(xcs->params), far = fmax(0.1, 3 * xcs->params->xcs_fwhm_spread);
  for (int a = 0; a < XCS_NODES; a++) {
    w->angle[a]    = (90 + 4 * (a - 1)) / DEG_PER_RAD;
    w->fwhm_kev[a] = fwhm * (1 + far * (a - 1));
  }
  for (int a = 0; a < XCS_NODES; a++)
    for (int f = 0; f < XCS_NODES; f++)
      for (int k = 0; k < XCS_SHAPES; k++)
        TRY(window_integrals(&xcs->profile[k], w->angle[a], w->fwhm_kev[f], &w->low[a][f][k],
                             &w->high[a][f][k]));
  for (int k = 0; k < XCS_SHAPES; k++)
    TRY(window_integrals(&xcs->profile[k], PI / 2, reference_kev, &w->reference_low[k],
                         &w->reference_high[k]));
  return STATUS_OK;
}

/* Lagrange's parabola through the nodes. */
static void node_shares(const double node[XCS_NODES], double at, double share[XCS_NODES]) {
  for (int i = 0; i < XCS_NODES; i++) {
    share[i] = 1;
    for (int j = 0; j < XCS_NODES; j++)
      if (j != i) share[i] *= (at - node[j]) / (node[i] - node[j]);
  }
}

void xcs_windows_at(const struct xcs_windows *w, double angle, double fwhm_kev,
                    double low[XCS_SHAPES], double high[XCS_SHAPES]) {
  double by_angle[XCS_NODES], by_width[XCS_NODES];
  node_shares(w->angle, angle, by_angle);
  node_shares(w->fwhm_kev, fwhm_kev, by_width);
  for (int k = 0; k < XCS_SHAPES; k++) {
    low[k] = high[k] = 0;
    for (int a = 0; a < XCS_NODES; a++)
      for (int f = 0; f < XCS_NODES; f++) {
        low[k] += by_angle[a] * by_width[f] * w->low[a][f][k];
        high[k] += by_angle[a] * by_width[f] * w->high[a][f][k];
      }
  }
}
