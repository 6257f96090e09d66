/* Kernels of the certificate: a box at a time, one voxel per lane. For boxes that
 * are whole, of one component, with neighbours of one component, and away from rank borders; the rest
 * goes voxel by voxel in flux_bound.c. The faces of such a box's node have their places z-, z+, y-, y+,
 * x-, x+ in its row of the graph, so that no search is needed. An outer (Dirichlet) face has conductance 2
 * and its halo cell holds twice the potential: with fall 2 x - halo it needs no other care. */
#include "flux_inner.h"
#include <string.h>
/* vectors wider than the machine's are split; none passes between functions that are not inlined */
#pragma GCC diagnostic ignored "-Wpsabi"
#define INLINE static inline __attribute__((always_inline))

typedef double vec __attribute__((vector_size(64)));
typedef int64_t ivec __attribute__((vector_size(64)));
typedef float fvec __attribute__((vector_size(32)));
typedef double pair4 __attribute__((vector_size(32)));
typedef uint8_t bvec __attribute__((vector_size(8)));
typedef uint16_t pair2 __attribute__((vector_size(8)));

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
INLINE vec eight(const float *a, const float *b, const float *c, const float *d) {
  const pair4 p = {two(a), two(b), two(c), two(d)};
  return __builtin_convertvector((fvec)p, vec);
}
INLINE vec eight_apart(const float *x, const int64_t at[4], int64_t left, int64_t right) {
  const fvec r = {x[at[0] + left], x[at[0] + right], x[at[1] + left], x[at[1] + right],
                  x[at[2] + left], x[at[2] + right], x[at[3] + left], x[at[3] + right]};
  return __builtin_convertvector(r, vec);
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
INLINE ivec lanes_of(uint64_t bytes) {
  bvec b;
  memcpy(&b, &bytes, sizeof b);
  return __builtin_convertvector(b, ivec) != 0;
}
#define masked(v, on) ((vec)((ivec)(v) & (on)))
static const uint64_t half[SIDES] = {0x0000000001010101, 0x0101010100000000, 0x0000010100000101,
                                     0x0101000001010000, 0x0001000100010001, 0x0100010001000100};
struct eight_voxels {
  vec x, beyond[3]; /* potential here and across the box's faces, per axis */
  uint64_t open, across[3];
};
INLINE vec potentials(const float *x, const int64_t at[4]) {
  return eight(x + at[0], x + at[1], x + at[2], x + at[3]);
}
INLINE void beyond_get(const struct flux_view *v, const float *x, const int64_t at[4],
                       vec beyond[3]) {
  const int64_t r = v->row, p = v->plane;
  beyond[0] = eight(x + at[0] - p, x + at[1] - p, x + at[2] + p, x + at[3] + p);
  beyond[1] = eight(x + at[0] - r, x + at[1] + r, x + at[2] - r, x + at[3] + r);
  beyond[2] = eight_apart(x, at, -1, 2);
}
INLINE void voxels_get(const struct flux_view *v, const float *low, int64_t at0,
                       struct eight_voxels *e) {
  const int64_t r = v->row, p = v->plane, at[4] = {at0, at0 + r, at0 + p, at0 + p + r};
  const uint8_t *c = v->code;
  e->x             = potentials(v->x, at);
  beyond_get(v, v->x, at, e->beyond);
  if (low) {
    vec more[3];
    e->x += potentials(low, at);
    beyond_get(v, low, at, more);
    for (int a = 0; a < 3; a++) e->beyond[a] += more[a];
  }
  e->open      = conducting(word_of(c, at[0], at[1], at[2], at[3]));
  e->across[0] = conducting(word_of(c, at[0] - p, at[1] - p, at[2] + p, at[3] + p)) & e->open;
  e->across[1] = conducting(word_of(c, at[0] - r, at[1] + r, at[2] - r, at[3] + r)) & e->open;
  /* x - 1 and x + 2 of each row: the outer bytes of four */
  uint64_t sides = 0;
  for (int m = 0; m < 4; m++) {
    const uint64_t low_one = c[at[m] - 1] != 0, high_one = c[at[m] + 2] != 0;
    sides |= (low_one | high_one << 8) << 16 * m;
  }
  e->across[2] = sides & e->open;
}
#define TURNED(v, bit)                                                                             \
  __builtin_shuffle(v, (ivec){0 ^ (bit), 1 ^ (bit), 2 ^ (bit), 3 ^ (bit), 4 ^ (bit), 5 ^ (bit),    \
                              6 ^ (bit), 7 ^ (bit)})

/* ---- boxes of one code among several, and voxels of any shape ---- */

INLINE uint64_t full_bytes(uint64_t w) { return conducting(w) * 255; }
/* Code of the first voxel that conducts; 0: none does. */
INLINE uint64_t code_of(uint64_t w) { return w ? w >> (__builtin_ctzll(w) & ~7) & CODE_MASK : 0; }
INLINE bool others(uint64_t w, uint64_t all) { return ((w ^ all) & full_bytes(w)) != 0; }
void ISA_NAME(flux_row_alike)(const struct flux_row *row, uint8_t *slow) {
  const uint8_t *c = row->view->code;
  const int64_t r = row->view->row, p = row->view->plane;
  for (int64_t i = 0; i < row->boxes; i++) {
    const int64_t a = row->at + 2 * i;
    if (slow[i] || row->node[i] < 0) continue;
    const uint64_t own = word_of(c, a, a + r, a + p, a + p + r),
                   all = code_of(own) * 0x0101010101010101;
    slow[i]            = others(own, all) ||
              others(word_of(c, a - p, a - p + r, a + 2 * p, a + 2 * p + r), all) ||
              others(word_of(c, a - r, a + 2 * r, a + p - r, a + p + 2 * r), all) ||
              others(word_of(c, a - 1, a + r - 1, a + p - 1, a + p + r - 1), all) ||
              others(word_of(c, a + 1, a + r + 1, a + p + 1, a + p + r + 1), all);
  }
}
INLINE uint64_t code_at(const struct flux_view *v, int64_t a) {
  return code_of(word_of(v->code, a, a + v->row, a + v->plane, a + v->plane + v->row));
}
/* Falls of potential over the faces inside a box, each from both of its ends. */
INLINE void falls_get(const vec *from, uint64_t conducts, vec fall[3]) {
  const vec x     = *from;
  const ivec open = lanes_of(conducts);
  fall[0]         = masked(x - TURNED(x, 4), TURNED(open, 4) & open);
  fall[1]         = masked(x - TURNED(x, 2), TURNED(open, 2) & open);
  fall[2]         = masked(x - TURNED(x, 1), TURNED(open, 1) & open);
}
/* Counts the faces at a Dirichlet side, which the voxels' codes do not show; gives their lanes. */
INLINE uint64_t outer_add(const struct flux_row *row, struct eight_voxels *e) {
  if (row->outer < 0) return 0;
  const uint64_t outer = e->open & half[row->outer];
  e->across[row->outer / 2] |= outer;
  return outer;
}

/* Residual summed over each box of a row that is not `slow` (nor empty), into its node's load. */
INLINE void loads(const struct flux_row *row, double *load, bool several) {
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->slow[i] || row->node[i] < 0) continue;
    const int64_t at = row->at + 2 * i;
    voxels_get(row->view, row->low, at, &e);
    const uint64_t outer = outer_add(row, &e);
    vec fall[3], flow = {0};
    falls_get(&e.x, e.open, fall);
    for (int a = 0; a < 3; a++) {
      vec cross = e.x - e.beyond[a];
      if (a == row->outer / 2) cross += masked(e.x, lanes_of(outer));
      flow -= (fall[a] + masked(cross, lanes_of(e.across[a]))) * (several ? row->factor[a] : 1);
    }
    double sum = 0;
    for (int l = 0; l < BOX; l++) sum += flow[l];
    load[row->node[i]] = several ? sum * row->strength[code_at(row->view, at)] / row->unit : sum;
  }
}
void ISA_NAME(flux_row_loads)(const struct flux_row *row, double *load) {
  if (row->view->uniform)
    loads(row, load, false);
  else
    loads(row, load, true);
}
/* Flux per open face of each side, outwards, as lanes; bits of `outer` are lanes at an outer face. */
INLINE void routed_get(const struct flux_row *row, int32_t node, const struct eight_voxels *e,
                       vec routed[3]) {
  const struct flux_graph *g = row->graph;
  const float *entry         = g->entry_flux + g->slice[node / LANES] + node % LANES;
  double q[SIDES];
  for (int s = 0; s < SIDES; s++) q[s] = (double)entry[s * LANES];
  if (row->outer >= 0 && (e->across[row->outer / 2] & half[row->outer]))
    q[row->outer] = 2 * g->face_flux[row->outer % 2][row->face_of[node]];
  routed[0] = (vec){q[0], q[0], q[0], q[0], q[1], q[1], q[1], q[1]};
  routed[1] = (vec){q[2], q[2], q[3], q[3], q[2], q[2], q[3], q[3]};
  routed[2] = (vec){q[4], q[5], q[4], q[5], q[4], q[5], q[4], q[5]};
}
/* All in units of the box's own conductance, which comes in at its end. */
INLINE void bound(const struct flux_row *row, bool route, bool several,
                  struct flux_box_sums *sums) {
  vec energy = {0}, cost = {0}, unbalanced = {0}, worst = {0}, inflow = {0};
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->slow[i] || row->node[i] < 0) continue;
    voxels_get(row->view, row->low, row->at + 2 * i, &e);
    const uint64_t outer  = outer_add(row, &e);
    const uint64_t code   = several ? code_at(row->view, row->at + 2 * i) : 0;
    const double strength = several ? row->strength[code] : 1;
    vec fall[3], load = {0}, routed[3], cross[3], net = {0}, spent = {0}, here = {0};
    falls_get(&e.x, e.open, fall);
    if (route) routed_get(row, row->node[i], &e, routed);
    for (int a = 0; a < 3; a++) {
      const ivec across   = lanes_of(e.across[a]);
      const double factor = several ? row->factor[a] : 1;
      cross[a]            = e.x - e.beyond[a];
      if (a == row->outer / 2) cross[a] += masked(e.x, lanes_of(outer));
      cross[a] = masked(cross[a], across);
      here += (fall[a] * fall[a] + cross[a] * cross[a]) * factor;
      if (!route) continue;
      cross[a] += masked(routed[a] * (several ? row->routed[code][a] : 1), across);
      load -= (fall[a] + cross[a]) * factor;
    }
    energy += here * strength;
    if (!route) continue;
    const double(*inverse)[BOX] = row->inverse[e.open * 0x0102040810204080 >> 56];
    vec u                       = e.x, flux[3];
    for (int c = 0; c < BOX; c++) {
      vec column;
      memcpy(&column, inverse[c], sizeof column);
      u += column * load[c];
    }
    falls_get(&u, e.open, flux);
    for (int a = 0; a < 3; a++) {
      const double factor = several ? row->factor[a] : 1;
      spent += (flux[a] * flux[a] + cross[a] * cross[a]) * factor;
      net += (flux[a] + cross[a]) * factor;
    }
    cost += spent * strength;
    if (outer) inflow += masked(cross[row->outer / 2], lanes_of(outer));
    const vec size = masked(net, (ivec){0} + INT64_MAX) * strength;
    unbalanced += size;
    worst = (vec)(((ivec)size & (size > worst)) | ((ivec)worst & (size <= worst)));
  }
  for (int l = 0; l < BOX; l++) {
    sums->energy += 0.5 * energy[l];
    sums->cost += 0.5 * cost[l];
    sums->unbalanced += unbalanced[l];
    if (row->outer >= 0) sums->inflow -= inflow[l] * row->potential;
    if (worst[l] > sums->worst) sums->worst = worst[l];
  }
}
/* Adds the boxes of a row that are not slow to energy, cost, inflow and imbalance; with `route` false
 * to the energy alone. entry_flux and face_flux are per weight. */
void ISA_NAME(flux_row_bound)(const struct flux_row *row, bool route, struct flux_box_sums *sums) {
  if (row->view->uniform)
    bound(row, route, false, sums);
  else
    bound(row, route, true, sums);
}
