/* The numbers of a cycle: momentum factors of regions and components in every state, with the parts of their errors.
 * What is no counting error is found by doing it again: with the lithium's surface, the cathode's face or the slab moved
 * by its uncertainty. A change between two states is moved as a whole, so that what both share cancels. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

static const double face_um = 1;      /* error of the cathode's face */
static const double between_share = 0.1; /* of the difference of two states, for one between them */

/* Neighbours of a state in the cycle that have tomography: the nearest before and behind; -1: none. */
static void neighbours(const struct correlate_work *w, int state, int *before, int *behind) {
  double at = w->state[state].position;
  *before = *behind = -1;
  for (int i = 0; i < w->states; i++) {
    double p = w->state[i].position;
    if (!w->state[i].has_ct || i == state || isnan(p)) continue;
    if (p <= at && (*before < 0 || p > w->state[*before].position)) *before = i;
    if (p >= at && (*behind < 0 || p < w->state[*behind].position)) *behind = i;
  }
}

static void matrix_of(const struct correlate_work *w, int state, const struct correlate_moves *moves,
                      struct unmix_matrix *v) {
  for (int r = 0; r < w->regions; r++) {
    struct correlate_slab slab;
    correlate_slab_of(w, state, r, &slab);
    correlate_slab_fractions(w->params, &slab, &w->state[state].heights, moves, v->v[r]);
  }
}

static bool heights_known(const struct correlate_work *w, int state) {
  for (int r = 0; r < w->regions; r++)
    if (!isfinite(w->state[state].height_um[r])) return false;
  return true;
}

enum correlate_source correlate_fractions(const struct correlate_work *w, int state,
                                          const struct correlate_moves *moves, double between,
                                          struct unmix_matrix *v) {
  int before, behind;
  struct unmix_matrix other = {0};
  *v = (struct unmix_matrix){.regions = w->regions, .components = CORRELATE_C};
  if (w->has_given) {
    for (int r = 0; r < w->regions; r++) {
      memcpy(v->v[r], w->given[r], sizeof w->given[r]);
      v->v[r][CORRELATE_LI] += moves->top_um / w->params->slab_um;
      v->v[r][CORRELATE_SPE] -= moves->top_um / w->params->slab_um;
    }
    return CORRELATE_GIVEN;
  }
  if (w->state[state].has_ct && heights_known(w, state)) {
    matrix_of(w, state, moves, v);
    return CORRELATE_MEASURED;
  }
  neighbours(w, state, &before, &behind);
  if (before < 0 || behind < 0 || !heights_known(w, before) || !heights_known(w, behind))
    return CORRELATE_UNKNOWN;
  double a = w->state[before].position, b = w->state[behind].position,
         share = b > a ? (w->state[state].position - a) / (b - a) : 0.5;
  matrix_of(w, before, moves, v);
  matrix_of(w, behind, moves, &other);
  for (int r = 0; r < w->regions; r++)
    for (int c = 0; c < CORRELATE_C; c++)
      v->v[r][c] += (share + between) * (other.v[r][c] - v->v[r][c]);
  return CORRELATE_BETWEEN;
}

static bool pixel_measured(const struct correlate_work *w, int state, int64_t pixel,
                           struct unmix_matrix *v) {
  const struct correlate_pixels *p = &w->state[state].pixels;
  double pores = strcmp(w->params->pores, "ignore") == 0
                     ? 0
                     : p->pores[pixel] * w->params->pores_depth_um / w->params->slab_um;
  for (int r = 0; r < w->regions; r++) {
    const double *below          = p->below + r * 3 * w->pixels + pixel;
    v->v[r][CORRELATE_LI]      = below[0] - pores;
    v->v[r][CORRELATE_SPE]     = below[w->pixels] - below[0];
    v->v[r][CORRELATE_CATHODE] = below[2 * w->pixels] - below[w->pixels];
    for (int c = 0; c < CORRELATE_C; c++)
      if (!isfinite(v->v[r][c])) return false;
  }
  return true;
}

bool correlate_fractions_pixel(const struct correlate_work *w, int state, int64_t pixel,
                               struct unmix_matrix *v) {
  int before, behind;
  struct unmix_matrix other = {0};
  *v = (struct unmix_matrix){.regions = w->regions, .components = CORRELATE_C};
  if (w->has_given) {
    for (int r = 0; r < w->regions; r++) memcpy(v->v[r], w->given[r], sizeof w->given[r]);
    return true;
  }
  if (!heights_known(w, state)) return false;
  if (w->state[state].has_ct) return pixel_measured(w, state, pixel, v);
  neighbours(w, state, &before, &behind);
  if (before < 0 || behind < 0 || !pixel_measured(w, before, pixel, v) ||
      !pixel_measured(w, behind, pixel, &other))
    return false;
  double a = w->state[before].position, b = w->state[behind].position,
         share = b > a ? (w->state[state].position - a) / (b - a) : 0.5;
  for (int r = 0; r < w->regions; r++)
    for (int c = 0; c < CORRELATE_C; c++) v->v[r][c] += share * (other.v[r][c] - v->v[r][c]);
  return true;
}

/* ---- all quantities of a state ---------------------------------------------------------------------------- */

struct values {
  double value[CORRELATE_QUANTITIES_MOST], counting[CORRELATE_QUANTITIES_MOST];
  enum correlate_source source;
};

static void evaluate(const struct correlate_work *w, int state, const struct correlate_moves *moves,
                     double between, struct values *to) {
  struct correlate_windows sums[CORRELATE_REGIONS_MOST];
  struct correlate_amount component[CORRELATE_C];
  struct unmix_matrix v;
  for (int q = 0; q < CORRELATE_QUANTITIES_MOST; q++) to->value[q] = to->counting[q] = (double)NAN;
  to->source = CORRELATE_UNKNOWN;
  if (!w->state[state].has_seen) return;
  for (int r = 0; r < w->regions; r++) {
    sums[r]      = correlate_windows_of(&w->state[state].seen, r, w->field);
    to->value[r] = correlate_emf(&sums[r], &to->counting[r]);
  }
  to->source = correlate_fractions(w, state, moves, between, &v);
  if (to->source == CORRELATE_UNKNOWN || !correlate_components_solve(&v, sums, component)) return;
  for (int c = 0; c < CORRELATE_C; c++) {
    to->value[w->regions + c]    = component[c].emf;
    to->counting[w->regions + c] = component[c].sigma;
  }
}

/* The moves that make each part of an error but counting and calibration. */
static void move_of(const struct correlate_work *w, int part, struct correlate_moves *moves,
                    double *between) {
  *moves   = (struct correlate_moves){0, 0, 0};
  *between = 0;
  bool given = w->has_given;
  if (part == CORRELATE_THRESHOLD && !given) moves->top_um = w->params->threshold_um;
  if (part == CORRELATE_MASK && !given) moves->face_um = face_um;
  if (part == CORRELATE_MASK && given)
    moves->top_um = w->params->fraction_error * w->params->slab_um;
  if (part == CORRELATE_REGISTRATION && !given) moves->slab_um = w->slab_sigma_um;
  if (part == CORRELATE_INTERPOLATION) *between = between_share;
}

static void finish(struct correlate_number *n) {
  double square = 0;
  for (int k = 0; k < CORRELATE_PARTS; k++)
    if (isfinite(n->part[k])) square += n->part[k] * n->part[k];
  n->sigma = isfinite(n->value) ? sqrt(square) : (double)NAN;
}

static void number_state(struct correlate_work *w, int state) {
  struct values plain, moved;
  struct correlate_moves moves = {0, 0, 0};
  double between               = 0;
  evaluate(w, state, &moves, 0, &plain);
  for (int q = 0; q < w->quantities; q++) {
    struct correlate_number *n     = &w->number[state][q];
    *n                             = (struct correlate_number){.value = plain.value[q]};
    n->part[CORRELATE_COUNTING]    = plain.counting[q];
    n->part[CORRELATE_CALIBRATION] = 0.01 * w->params->calibration_percent * plain.value[q];
  }
  for (int part = CORRELATE_THRESHOLD; part < CORRELATE_PARTS; part++) {
    move_of(w, part, &moves, &between);
    if (part == CORRELATE_INTERPOLATION && plain.source != CORRELATE_BETWEEN) continue;
    evaluate(w, state, &moves, between, &moved);
    for (int q = w->regions; q < w->quantities; q++)
      w->number[state][q].part[part] = moved.value[q] - plain.value[q];
  }
  for (int q = 0; q < w->quantities; q++) finish(&w->number[state][q]);
}

static void fix_state(struct correlate_work *w, int state) {
  struct correlate_windows sums[CORRELATE_REGIONS_MOST];
  struct correlate_amount component[CORRELATE_C];
  const struct unmix_matrix paper = unmix_paper();
  for (int c = 0; c < CORRELATE_C; c++) w->fixed[state][c] = (struct correlate_number){.value = (double)NAN, .sigma = (double)NAN};
  if (!w->state[state].has_seen || w->regions != paper.regions) return;
  for (int r = 0; r < w->regions; r++)
    sums[r] = correlate_windows_of(&w->state[state].seen, r, w->field);
  if (!correlate_components_solve(&paper, sums, component)) return;
  for (int c = 0; c < CORRELATE_C; c++) {
    w->fixed[state][c].value                       = component[c].emf;
    w->fixed[state][c].part[CORRELATE_COUNTING]    = component[c].sigma;
    w->fixed[state][c].part[CORRELATE_CALIBRATION] =
        0.01 * w->params->calibration_percent * component[c].emf;
    finish(&w->fixed[state][c]);
  }
}

enum status correlate_numbers_make(struct correlate_work *w) {
  for (int i = 0; i < w->states; i++) {
    number_state(w, i);
    fix_state(w, i);
  }
  return STATUS_OK;
}

/* The calibration is a scale: of a change, its share of the change is left. Moves of masks are the same in both states;
 * what is interpolated is each state's own. */
struct correlate_number correlate_change(const struct correlate_work *w, int from, int to,
                                         int quantity) {
  const struct correlate_number *a = &w->number[from][quantity], *b = &w->number[to][quantity];
  struct correlate_number d        = {.value = b->value - a->value};
  for (int k = 0; k < CORRELATE_PARTS; k++) d.part[k] = b->part[k] - a->part[k];
  d.part[CORRELATE_COUNTING]      = hypot(a->part[CORRELATE_COUNTING], b->part[CORRELATE_COUNTING]);
  d.part[CORRELATE_INTERPOLATION] =
      hypot(a->part[CORRELATE_INTERPOLATION], b->part[CORRELATE_INTERPOLATION]);
  finish(&d);
  return d;
}

const char *correlate_quantity_name(const struct correlate_work *w, int quantity, char *text,
                                    size_t bytes) {
  if (quantity < w->regions)
    snprintf(text, bytes, "emf_region%d", quantity + 1);
  else
    snprintf(text, bytes, "emf_%s", correlate_component_name[quantity - w->regions]);
  return text;
}
