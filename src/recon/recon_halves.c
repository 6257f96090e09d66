/* How densely a projection's transform must be sampled: by 1 / (columns + the length of the filter's kernel). The
 * ramp's kernel is endless because the ramp has corners, at 0 and, as it repeats, at Nyquist; what is left of it
 * between these is smooth and its kernel short. So the sum over samples 1 / (2 side) apart is taken as
 *   sum over all (k) of H X w  +  2 sum over even k of H X (1 - w),
 * w going from 1 at the corners to 0 within 2 HALVES_RUN samples as the error function does: a third fewer samples for
 * the same slice, to 1e-5 at most 0.6 widths from the middle. The odd samples near the corners, halves, are interpolated
 * between the even ones, wholes: their sinc, cut off by a window, serves since a projection fills but 4/5 of `side`. */
#include "recon_halves.h"
#include <math.h>
#include <string.h>

enum { REACH = 16, RUN = HALVES_RUN, ZONE = 2 * (RUN + REACH), ZONES = 2, COLUMNS_LEAST = 512 };
static const double window_shape = 9.6, off_middle_most = 0.1; /* of the columns */

struct recon_halves {
  int64_t side, columns;
  int lanes;
  float tap[REACH];
  float whole_weight[ZONES][ZONE], half_weight[ZONES][2 * RUN];
  float *zone; /* ZONE lines */
};

/* An axis far from the middle makes pixels beyond the detector, which would show the object's other side. */
bool recon_halves_serve(const struct recon_geometry *g) {
  double middle = 0.5 * (double)(g->columns - 1);
  return g->pad == 0 && g->columns >= COLUMNS_LEAST &&
         fabs(g->centre_px - middle) <= off_middle_most * (double)g->columns;
}

/* w of sample k of 2 side, |k| <= side. */
static double near_corner(int64_t k, int64_t side) {
  double from = (double)(k < 0 ? -k : k), to = (double)side - from, least = fmin(from, to);
  return least < 2 * RUN ? 0.5 * erfc((least - RUN) * 3 / RUN) : 0;
}

/* Wholes and halves of a zone begin at these samples; the zone at Nyquist goes on behind -Nyquist. */
static int64_t first_whole(const struct recon_halves *h, int zone) {
  return (zone ? h->side / 2 : 0) - RUN - REACH + 1;
}
static int64_t first_half(const struct recon_halves *h, int zone) {
  return (zone ? h->side / 2 : 0) - RUN;
}

static void weigh_zone(struct recon_halves *h, const float *filter, int zone) {
  int64_t period = 2 * h->side;
  for (int i = 0; i < ZONE; i++) {
    int64_t k = 2 * (first_whole(h, zone) + i);
    if (k >= h->side) k -= period;
    h->whole_weight[zone][i] =
        k == -h->side ? 0 : filter[(k + period) % period] * (float)(2 - near_corner(k, h->side));
  }
  for (int i = 0; i < 2 * RUN; i++) {
    int64_t k = 2 * (first_half(h, zone) + i) + 1;
    if (k > h->side) k -= period;
    h->half_weight[zone][i] = filter[(k + period) % period] * (float)near_corner(k, h->side);
  }
}

enum status recon_halves_make(const float *filter, int64_t side, int64_t columns, int lanes,
                              struct recon_halves **halves) {
  struct recon_halves *h;
  TRY(memory_make(1, sizeof *h, "samples between samples", &h));
  *halves    = h;
  h->side    = side;
  h->columns = columns;
  h->lanes   = lanes;
  for (int d = 0; d < REACH; d++) {
    double x = d + 0.5, t = x / REACH;
    h->tap[d] = (float)(sin(PI * x) / (PI * x) * exp(window_shape * (sqrt(1 - t * t) - 1)));
  }
  for (int zone = 0; zone < ZONES; zone++) weigh_zone(h, filter, zone);
  return memory_make_raw(ZONE * lanes, sizeof *h->zone, "samples between samples", &h->zone);
}

void recon_halves_free(struct recon_halves **halves) {
  if (*halves) memory_free((*halves)->zone);
  memory_free(*halves);
  *halves = NULL;
}

int64_t recon_halves_bytes(int lanes) {
  return (int64_t)sizeof(struct recon_halves) + ZONE * lanes * (int64_t)sizeof(float);
}

float recon_halves_weight(const struct recon_halves *h, const float *filter, int64_t m) {
  for (int zone = 0; zone < ZONES; zone++) {
    int64_t i = m - first_whole(h, zone);
    if (i < 0) i += h->side;
    if (i < ZONE) return 1;
  }
  return 2 * filter[(2 * m + 2 * h->side) % (2 * h->side)];
}

double recon_halves_place(const struct recon_halves *h, int run) {
  const int64_t nyquist = h->side / 2, first[HALVES_RUNS] = {-RUN, 0, nyquist - RUN, -nyquist};
  return (double)first[run] + 0.5;
}

/* Line of whole sample m, which may lie at or behind Nyquist. */
static float *line_of(const struct recon_halves *h, float *whole, int64_t m) {
  int64_t nyquist = h->side / 2;
  return whole + (m + nyquist - (m >= nyquist ? h->side : 0)) * h->lanes;
}

/* Wholes to the buffer, where behind Nyquist they go on turning; then each is filtered where it stands. */
static void gather(struct recon_halves *h, int zone, double turn, float *whole) {
  int64_t first = first_whole(h, zone);
  int before    = zone ? RUN + REACH - 1 : ZONE;
  float *a = line_of(h, whole, first), *b = whole;
  ISA_PICK(recon_batch_turn)(a, before, NULL, 1, 0, h->zone);
  ISA_PICK(recon_batch_turn)
  (b, ZONE - before, NULL, (float)cos(turn), (float)sin(turn), h->zone + before * h->lanes);
  ISA_PICK(recon_batch_turn)(a, before, h->whole_weight[zone], 1, 0, a);
  ISA_PICK(recon_batch_turn)(b, ZONE - before, h->whole_weight[zone] + before, 1, 0, b);
}

void recon_halves_fill(struct recon_halves *h, double shift_px, float *whole, float *half) {
  double off = shift_px - 0.5 * (double)(h->columns - 1), turn = 2 * PI * shift_px;
  float tap[REACH][2];
  for (int d = 0; d < REACH; d++) {
    double phase = PI * (2 * d + 1) * off / (double)h->side;
    tap[d][0]    = h->tap[d] * (float)cos(phase);
    tap[d][1]    = h->tap[d] * (float)sin(phase);
  }
  for (int zone = 0; zone < ZONES; zone++) {
    float *run = half + zone * 2 * RUN * h->lanes, *next = run + RUN * h->lanes;
    double back = zone ? -turn : 0;
    gather(h, zone, turn, whole);
    ISA_PICK(recon_batch_between)(h->zone, 2 * RUN, &tap[0][0], REACH, run);
    ISA_PICK(recon_batch_turn)(run, RUN, h->half_weight[zone], 1, 0, run);
    ISA_PICK(recon_batch_turn)
    (next, RUN, h->half_weight[zone] + RUN, (float)cos(back), (float)sin(back), next);
  }
}
