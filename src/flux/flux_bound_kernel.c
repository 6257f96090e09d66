/* Kernels of the certificate: a box at a time, one voxel per lane. For boxes that
 * are whole, of one component, with neighbours of one component, and away from rank borders; the rest
 * goes voxel by voxel in flux_bound.c. The faces of such a box's node have their places z-, z+, y-, y+,
 * x-, x+ in its row of the graph, so that no search is needed. An outer (Dirichlet) face has conductance 2
 * and its halo cell holds twice the potential: with fall 2 x - halo it needs no other care. */
#include "flux_lanes.h"

/* ---- voxels ---- */

INLINE double two(const float *p) {
  double r;
  memcpy(&r, p, sizeof r);
  return r;
}
INLINE uint16_t two_bytes(const uint8_t *p) {
  uint16_t r;
  memcpy(&r, p, sizeof r);
  return r;
}
/* Eight voxels from the starts of four pairs. */
INLINE vec eight(const float *x, int64_t a, int64_t b, int64_t c, int64_t d) {
#ifdef __AVX512F__
  const pairs p[PARTS] = {
      {two(x + a), two(x + b), two(x + c), two(x + d)}
  };
#else
  const pairs p[PARTS] = {
      {two(x + a), two(x + b)},
      {two(x + c), two(x + d)}
  };
#endif
  vec r;
  EACH_PART r.p[h] = __builtin_convertvector((fpart)p[h], part);
  return r;
}
/* The voxels before and behind four pairs. */
INLINE vec eight_apart(const float *x, const int64_t at[4]) {
  vec r;
  EACH_PART {
    fpart f;
    for (int l = 0; l < WIDE; l++) f[l] = x[at[(h * WIDE + l) / 2] + (l % 2 ? 2 : -1)];
    r.p[h] = __builtin_convertvector(f, part);
  }
  return r;
}
/* Codes of eight voxels from the starts of four pairs. */
INLINE uint64_t word_of(const uint8_t *c, int64_t a, int64_t b, int64_t d, int64_t e) {
  const pair2 p = {two_bytes(c + a), two_bytes(c + b), two_bytes(c + d), two_bytes(c + e)};
  uint64_t w;
  memcpy(&w, &p, sizeof w);
  return w;
}
/* Bytes 1 where a voxel conducts. */
INLINE uint64_t conducting(uint64_t w) {
  return (w + 0x7f7f7f7f7f7f7f7f) >> 7 & 0x0101010101010101;
}
static const uint64_t half[SIDES] = {0x0000000001010101, 0x0101010100000000, 0x0000010100000101,
                                     0x0101000001010000, 0x0001000100010001, 0x0100010001000100};
struct eight_voxels {
  vec x, beyond[3]; /* potential here and across the box's faces, per axis */
  uint64_t open, across[3];
};
INLINE void beyond_get(const struct flux_view *v, const float *x, const int64_t at[4],
                       vec beyond[3]) {
  const int64_t r = v->row, p = v->plane;
  beyond[0] = eight(x, at[0] - p, at[1] - p, at[2] + p, at[3] + p);
  beyond[1] = eight(x, at[0] - r, at[1] + r, at[2] - r, at[3] + r);
  beyond[2] = eight_apart(x, at);
}
/* x - 1 and x + 2 of each row: the outer bytes of four. */
INLINE uint64_t sides_of(const uint8_t *c, const int64_t at[4]) {
  uint64_t sides = 0;
  for (int m = 0; m < 4; m++) {
    uint32_t four;
    memcpy(&four, c + at[m] - 1, sizeof four);
    sides |= (uint64_t)((four & 0xff) | (four >> 16 & 0xff00)) << 16 * m;
  }
  return sides;
}
INLINE void voxels_get(const struct flux_view *v, const float *low, int64_t at0,
                       struct eight_voxels *e) {
  const int64_t r = v->row, p = v->plane, at[4] = {at0, at0 + r, at0 + p, at0 + p + r};
  const uint8_t *c = v->code;
  e->x             = eight(v->x, at[0], at[1], at[2], at[3]);
  beyond_get(v, v->x, at, e->beyond);
  if (low) {
    vec more[3];
    e->x = plus(e->x, eight(low, at[0], at[1], at[2], at[3]));
    beyond_get(v, low, at, more);
    for (int a = 0; a < 3; a++) e->beyond[a] = plus(e->beyond[a], more[a]);
  }
  e->open      = conducting(word_of(c, at[0], at[1], at[2], at[3]));
  e->across[0] = conducting(word_of(c, at[0] - p, at[1] - p, at[2] + p, at[3] + p)) & e->open;
  e->across[1] = conducting(word_of(c, at[0] - r, at[1] + r, at[2] - r, at[3] + r)) & e->open;
  e->across[2] = conducting(sides_of(c, at)) & e->open;
}

/* ---- boxes of one code among several, and voxels of any shape ---- */

INLINE uint64_t full_bytes(uint64_t w) { return conducting(w) * 255; }
/* Code of the first voxel that conducts; 0: none does. */
INLINE uint64_t code_of(uint64_t w) { return w ? w >> (__builtin_ctzll(w) & ~7) & CODE_MASK : 0; }
INLINE bool others(uint64_t w, uint64_t all) { return ((w ^ all) & full_bytes(w)) != 0; }
void ISA_NAME(flux_row_alike)(const struct flux_row *row, uint8_t *path) {
  const uint8_t *c = row->view->code;
  const int64_t r = row->view->row, p = row->view->plane;
  for (int64_t i = 0; i < row->boxes; i++) {
    const int64_t a = row->at + 2 * i;
    if (path[i] != PATH_ALIKE || row->node[i] < 0) continue;
    const uint64_t own = word_of(c, a, a + r, a + p, a + p + r),
                   all = code_of(own) * 0x0101010101010101;
    if (others(word_of(c, a - p, a - p + r, a + 2 * p, a + 2 * p + r), all) || others(own, all) ||
        others(word_of(c, a - r, a + 2 * r, a + p - r, a + p + 2 * r), all) ||
        others(word_of(c, a - 1, a + r - 1, a + p - 1, a + p + r - 1), all) ||
        others(word_of(c, a + 1, a + r + 1, a + p + 1, a + p + r + 1), all))
      path[i] = PATH_MIXED;
  }
}
INLINE uint64_t code_at(const struct flux_view *v, int64_t a) {
  return code_of(word_of(v->code, a, a + v->row, a + v->plane, a + v->plane + v->row));
}
/* Falls of potential over the faces inside a box, each from both of its ends. */
INLINE void falls_get(vec x, uint64_t conducts, vec fall[3]) {
  const vec open = lanes_of(conducts);
  for (int a = 0; a < 3; a++)
    fall[a] = masked(masked(minus(x, turned(x, a)), turned(open, a)), open);
}
/* Counts the faces at a Dirichlet side, which the voxels' codes do not show; gives their lanes. */
INLINE uint64_t outer_add(const struct flux_row *row, struct eight_voxels *e) {
  if (row->outer < 0) return 0;
  const uint64_t outer = e->open & half[row->outer];
  e->across[row->outer / 2] |= outer;
  return outer;
}
/* Falls of potential over the box's faces along an axis; twice that at a Dirichlet side. */
INLINE vec cross_get(const struct flux_row *row, const struct eight_voxels *e, int a,
                     uint64_t outer) {
  vec cross = minus(e->x, e->beyond[a]);
  if (a == row->outer / 2) cross = plus(cross, masked(e->x, lanes_of(outer)));
  return masked(cross, lanes_of(e->across[a]));
}

/* Residual summed over each box of a row that is of PATH_ALIKE (nor empty), into its node's load. */
INLINE void loads(const struct flux_row *row, double *load, bool several) {
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->path[i] != PATH_ALIKE || row->node[i] < 0) continue;
    const int64_t at = row->at + 2 * i;
    voxels_get(row->view, row->low, at, &e);
    const uint64_t outer = outer_add(row, &e);
    vec fall[3], flow = {{EIGHT(0, 0, 0, 0, 0, 0, 0, 0)}};
    falls_get(e.x, e.open, fall);
    for (int a = 0; a < 3; a++) {
      const vec out = plus(fall[a], cross_get(row, &e, a, outer));
      flow          = minus(flow, several ? times(out, row->factor[a]) : out);
    }
    double sum = 0;
    for (int l = 0; l < BOX; l++) sum += lane(&flow, l);
    load[row->node[i]] = several ? sum * row->strength[code_at(row->view, at)] / row->unit : sum;
  }
}
void ISA_NAME(flux_row_loads)(const struct flux_row *row, double *load) {
  if (row->view->uniform)
    loads(row, load, false);
  else
    loads(row, load, true);
}
/* Flux per open face of each side, outwards, as lanes. */
INLINE void routed_get(const struct flux_row *row, int32_t node, const struct eight_voxels *e,
                       vec routed[3]) {
  const struct flux_graph *g = row->graph;
  const float *entry         = g->entry_flux + g->slice[node / LANES] + node % LANES;
  double q[SIDES];
  for (int s = 0; s < SIDES; s++) q[s] = (double)entry[s * LANES];
  if (row->outer >= 0 && (e->across[row->outer / 2] & half[row->outer]))
    q[row->outer] = 2 * g->face_flux[row->outer % 2][row->face_of[node]];
  routed[0] = (vec){{EIGHT(q[0], q[0], q[0], q[0], q[1], q[1], q[1], q[1])}};
  routed[1] = (vec){{EIGHT(q[2], q[2], q[3], q[3], q[2], q[2], q[3], q[3])}};
  routed[2] = (vec){{EIGHT(q[4], q[5], q[4], q[5], q[4], q[5], q[4], q[5])}};
}
/* All in units of the box's own conductance, which comes in at its end. */
INLINE void bound(const struct flux_row *row, bool route, bool several,
                  struct flux_box_sums *sums) {
  const vec zero = {{EIGHT(0, 0, 0, 0, 0, 0, 0, 0)}};
  vec energy = zero, cost = zero, unbalanced = zero, worst = zero, inflow = zero;
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->path[i] != PATH_ALIKE || row->node[i] < 0) continue;
    voxels_get(row->view, row->low, row->at + 2 * i, &e);
    const uint64_t outer  = outer_add(row, &e);
    const uint64_t code   = several ? code_at(row->view, row->at + 2 * i) : 0;
    const double strength = several ? row->strength[code] : 1;
    vec fall[3], load = zero, routed[3], cross[3], net = zero, spent = zero, here = zero;
    falls_get(e.x, e.open, fall);
    if (route) routed_get(row, row->node[i], &e, routed);
    for (int a = 0; a < 3; a++) {
      const double factor = several ? row->factor[a] : 1;
      cross[a]            = cross_get(row, &e, a, outer);
      here                = plus(here, times(squares(fall[a], cross[a]), factor));
      if (!route) continue;
      const double by = several ? row->routed[code][a] : 1;
      cross[a]        = plus(cross[a], masked(times(routed[a], by), lanes_of(e.across[a])));
      load            = minus(load, times(plus(fall[a], cross[a]), factor));
    }
    energy = plus(energy, times(here, strength));
    if (!route) continue;
    const unsigned pattern = (unsigned)(e.open * 0x0102040810204080 >> 56);
    falls_get(plus_matrix(e.x, row->inverse[pattern], load), e.open, fall);
    for (int a = 0; a < 3; a++) {
      const double factor = several ? row->factor[a] : 1;
      spent               = plus(spent, times(squares(fall[a], cross[a]), factor));
      net                 = plus(net, times(plus(fall[a], cross[a]), factor));
    }
    cost = plus(cost, times(spent, strength));
    if (outer) inflow = plus(inflow, masked(cross[row->outer / 2], lanes_of(outer)));
    const vec size = times(size_of(net), strength);
    unbalanced     = plus(unbalanced, size);
    worst          = larger(size, worst);
  }
  for (int l = 0; l < BOX; l++) {
    sums->energy += 0.5 * lane(&energy, l);
    sums->cost += 0.5 * lane(&cost, l);
    sums->unbalanced += lane(&unbalanced, l);
    if (row->outer >= 0) sums->inflow -= lane(&inflow, l) * row->potential;
    if (lane(&worst, l) > sums->worst) sums->worst = lane(&worst, l);
  }
}
/* Adds the boxes of a row that are of PATH_ALIKE to energy, cost, inflow and imbalance; with `route` false
 * to the energy alone. entry_flux and face_flux are per weight. */
void ISA_NAME(flux_row_bound)(const struct flux_row *row, bool route, struct flux_box_sums *sums) {
  if (row->view->uniform)
    bound(row, route, false, sums);
  else
    bound(row, route, true, sums);
}
