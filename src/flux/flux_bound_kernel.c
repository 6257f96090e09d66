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
/* Bytes 1 where a voxel conducts. */
INLINE uint64_t conducting(const uint8_t *c, int64_t a, int64_t b, int64_t d, int64_t e) {
  const pair2 p = {two_bytes(c + a), two_bytes(c + b), two_bytes(c + d), two_bytes(c + e)};
  uint64_t w;
  memcpy(&w, &p, sizeof w);
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
  e->open      = conducting(c, at[0], at[1], at[2], at[3]);
  e->across[0] = conducting(c, at[0] - p, at[1] - p, at[2] + p, at[3] + p) & e->open;
  e->across[1] = conducting(c, at[0] - r, at[1] + r, at[2] - r, at[3] + r) & e->open;
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

INLINE uint64_t word_of(const uint8_t *c, int64_t a, int64_t b, int64_t d, int64_t e) {
  const pair2 p = {two_bytes(c + a), two_bytes(c + b), two_bytes(c + d), two_bytes(c + e)};
  uint64_t w;
  memcpy(&w, &p, sizeof w);
  return w;
}
INLINE uint64_t full_bytes(uint64_t w) {
  return ((w + 0x7f7f7f7f7f7f7f7f) >> 7 & 0x0101010101010101) * 255;
}
/* Code of the first voxel that conducts; 0: none does. */
INLINE uint64_t code_of(uint64_t w) { return w ? w >> (__builtin_ctzll(w) & ~7) & CODE_MASK : 0; }
INLINE bool others(uint64_t w, uint64_t all) { return ((w ^ all) & full_bytes(w)) != 0; }
void ISA_NAME(flux_row_alike)(const struct flux_row *row, uint8_t *slow) {
  const uint8_t *c = row->view->code;
  const int64_t r = row->view->row, p = row->view->plane;
  for (int64_t i = 0; i < row->boxes; i++) {
    const int64_t a = row->at + 2 * i;
    if (slow[i] || row->node[i] < 0) continue;
    const uint64_t own = word_of(c, a, a + r, a + p, a + p + r), all = code_of(own) * 0x0101010101010101;
    slow[i] = others(own, all) || others(word_of(c, a - p, a - p + r, a + 2 * p, a + 2 * p + r), all) ||
              others(word_of(c, a - r, a + 2 * r, a + p - r, a + p + 2 * r), all) ||
              others(word_of(c, a - 1, a + r - 1, a + p - 1, a + p + r - 1), all) ||
              others(word_of(c, a + 1, a + r + 1, a + p + 1, a + p + r + 1), all);
  }
}
INLINE uint64_t code_at(const struct flux_view *v, int64_t a) {
  return code_of(word_of(v->code, a, a + v->row, a + v->plane, a + v->plane + v->row));
}
static void loads_of_several(const struct flux_row *row, double *load) {
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->slow[i] || row->node[i] < 0) continue;
    voxels_get(row->view, row->low, row->at + 2 * i, &e);
    const ivec open = lanes_of(e.open);
    const vec fall[3] = {masked(TURNED(e.x, 4) - e.x, TURNED(open, 4) & open),
                         masked(TURNED(e.x, 2) - e.x, TURNED(open, 2) & open),
                         masked(TURNED(e.x, 1) - e.x, TURNED(open, 1) & open)};
    vec flow = {0};
    for (int a = 0; a < 3; a++)
      flow += (fall[a] + masked(e.beyond[a] - e.x, lanes_of(e.across[a]))) * row->factor[a];
    double sum = 0;
    for (int l = 0; l < BOX; l++) sum += flow[l];
    load[row->node[i]] = sum * row->strength[code_at(row->view, row->at + 2 * i)] / row->unit;
  }
}
INLINE void routed_get(const struct flux_row *row, int32_t node, const struct eight_voxels *e, vec routed[3]);

/* All in units of the box's own conductance, which comes in at its end. */
static void bound_of_several(const struct flux_row *row, bool route, struct flux_box_sums *sums) {
  vec energy = {0}, cost = {0}, unbalanced = {0}, worst = {0};
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->slow[i] || row->node[i] < 0) continue;
    voxels_get(row->view, row->low, row->at + 2 * i, &e);
    const uint64_t code = code_at(row->view, row->at + 2 * i);
    const ivec open     = lanes_of(e.open);
    const ivec both[3]  = {TURNED(open, 4) & open, TURNED(open, 2) & open, TURNED(open, 1) & open};
    const vec fall[3]   = {masked(e.x - TURNED(e.x, 4), both[0]), masked(e.x - TURNED(e.x, 2), both[1]),
                           masked(e.x - TURNED(e.x, 1), both[2])};
    vec load = {0}, routed[3], cross[3], net = {0}, spent = {0}, here = {0};
    if (route) routed_get(row, row->node[i], &e, routed);
    for (int a = 0; a < 3; a++) {
      const ivec across = lanes_of(e.across[a]);
      cross[a]          = masked(e.x - e.beyond[a], across);
      here += (fall[a] * fall[a] + cross[a] * cross[a]) * row->factor[a];
      if (!route) continue;
      cross[a] += masked(routed[a] * row->routed[code][a], across);
      load -= (fall[a] + cross[a]) * row->factor[a];
    }
    energy += here * row->strength[code];
    if (!route) continue;
    const double(*inverse)[BOX] = row->inverse[e.open * 0x0102040810204080 >> 56];
    vec u                       = e.x;
    for (int c = 0; c < BOX; c++) {
      vec column;
      memcpy(&column, inverse[c], sizeof column);
      u += column * load[c];
    }
    const vec flux[3] = {masked(u - TURNED(u, 4), both[0]), masked(u - TURNED(u, 2), both[1]),
                         masked(u - TURNED(u, 1), both[2])};
    for (int a = 0; a < 3; a++) {
      spent += (flux[a] * flux[a] + cross[a] * cross[a]) * row->factor[a];
      net += (flux[a] + cross[a]) * row->factor[a];
    }
    cost += spent * row->strength[code];
    const vec size = masked(net, (ivec){0} + INT64_MAX) * row->strength[code];
    unbalanced += size;
    worst = (vec)(((ivec)size & (size > worst)) | ((ivec)worst & (size <= worst)));
  }
  for (int l = 0; l < BOX; l++) {
    sums->energy += 0.5 * energy[l];
    sums->cost += 0.5 * cost[l];
    sums->unbalanced += unbalanced[l];
    if (worst[l] > sums->worst) sums->worst = worst[l];
  }
}

/* ---- one conductance ---- */

/* Residual summed over each box of a row that is not `slow` (nor empty), into its node's load. */
void ISA_NAME(flux_row_loads)(const struct flux_row *row, double *load) {
  const struct flux_view *v = row->view;
  const int64_t r = v->row, p = v->plane;
  if (!v->uniform) {
    loads_of_several(row, load);
    return;
  }
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->slow[i] || row->node[i] < 0) continue;
    const int64_t at = row->at + 2 * i;
    voxels_get(v, row->low, at, &e);
    const uint8_t *c = v->code + at;
    const pair2 sums = {two_bytes(c), two_bytes(c + r), two_bytes(c + p), two_bytes(c + p + r)};
    const ivec faces = __builtin_convertvector((bvec)sums & (uint8_t)CODE_MASK, ivec);
    const vec inside = TURNED(e.x, 4) + TURNED(e.x, 2) + TURNED(e.x, 1);
    const vec around = inside + e.beyond[0] + e.beyond[1] + e.beyond[2];
    const vec flow   = masked(around - __builtin_convertvector(faces, vec) * e.x, lanes_of(e.open));
    double sum       = 0;
    for (int l = 0; l < BOX; l++) sum += flow[l];
    load[row->node[i]] = sum;
  }
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
/* Adds the boxes of a row that are not slow to energy, cost, inflow and imbalance; with `route` false
 * to the energy alone. entry_flux and face_flux are per weight. */
void ISA_NAME(flux_row_bound)(const struct flux_row *row, bool route, struct flux_box_sums *sums) {
  const struct flux_view *v = row->view;
  if (!v->uniform) {
    bound_of_several(row, route, sums);
    return;
  }
  vec energy = {0}, cost = {0}, unbalanced = {0}, worst = {0}, inflow = {0};
  for (int64_t i = 0; i < row->boxes; i++) {
    struct eight_voxels e;
    if (row->slow[i] || row->node[i] < 0) continue;
    voxels_get(v, row->low, row->at + 2 * i, &e);
    uint64_t outer = 0;
    if (row->outer >= 0) {
      outer = e.open & half[row->outer];
      e.across[row->outer / 2] |= outer;
    }
    const ivec open    = lanes_of(e.open);
    const ivec both[3] = {TURNED(open, 4) & open, TURNED(open, 2) & open, TURNED(open, 1) & open};
    const vec fall[3]  = {masked(e.x - TURNED(e.x, 4), both[0]),
                          masked(e.x - TURNED(e.x, 2), both[1]),
                          masked(e.x - TURNED(e.x, 1), both[2])};
    vec load = -(fall[0] + fall[1] + fall[2]), routed[3], cross[3], net = {0};
    if (route) routed_get(row, row->node[i], &e, routed);
    for (int a = 0; a < 3; a++) {
      vec drop = e.x - e.beyond[a];
      if (a == row->outer / 2) drop += masked(e.x, lanes_of(outer));
      drop     = masked(drop, lanes_of(e.across[a]));
      cross[a] = drop;
      energy += fall[a] * fall[a] + drop * drop;
      if (!route) continue;
      cross[a] += masked(routed[a], lanes_of(e.across[a]));
      load -= cross[a];
    }
    if (!route) continue;
    const double(*inverse)[BOX] = row->inverse[e.open * 0x0102040810204080 >> 56];
    vec u                       = e.x;
    for (int c = 0; c < BOX; c++) {
      vec column;
      memcpy(&column, inverse[c], sizeof column);
      u += column * load[c];
    }
    const vec flux[3] = {masked(u - TURNED(u, 4), both[0]), masked(u - TURNED(u, 2), both[1]),
                         masked(u - TURNED(u, 1), both[2])};
    for (int a = 0; a < 3; a++) {
      cost += flux[a] * flux[a] + cross[a] * cross[a];
      net += flux[a] + cross[a];
    }
    if (outer) inflow += masked(cross[row->outer / 2], lanes_of(outer));
    const vec size = masked(net, (ivec){0} + INT64_MAX);
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
