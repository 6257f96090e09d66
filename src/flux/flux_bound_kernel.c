/* Kernels of the certificate: four boxes of a row at a time, one per lane. For boxes of one component and one code, with
 * neighbours of one component and that code, and away from rank borders; the rest goes by flux_mixed_kernel.c or voxel by
 * voxel in flux_bound.c. The faces of such a box's node have their places z-, z+, y-, y+, x-, x+ in its row of the graph, so
 * that no search is needed. An outer (Dirichlet) face has conductance 2 and its halo cell holds twice the potential: with
 * fall 2 x - halo it needs no other care. Voxel t of a box is that at 4 dz + 2 dy + dx. Four doubles on any machine with
 * AVX2, also where vectors are wider: then there is one code to test. */
#include "flux_lanes.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { FOUR = 4, PAIRS = BOX / 2 };
typedef double four __attribute__((vector_size(8 * FOUR)));
typedef int64_t ifour __attribute__((vector_size(8 * FOUR)));
typedef float ffour __attribute__((vector_size(4 * FOUR)));
typedef int32_t index4 __attribute__((vector_size(4 * FOUR)));
#define EACH_VOXEL_OF_BOX _Pragma("GCC unroll 8") for (int t = 0; t < BOX; t++)
#define EACH_PAIR         _Pragma("GCC unroll 4") for (int q = 0; q < PAIRS; q++)
#define EACH_AXIS         _Pragma("GCC unroll 3") for (int a = 0; a < 3; a++)

/* ---- voxels ---- */

INLINE four doubles(ffour f) {
#ifdef __AVX2__
  return (four)_mm256_cvtps_pd((__m128)f); /* compilers would do it in halves */
#else
  return __builtin_convertvector(f, four);
#endif
}
/* Every second of eight floats, from the first and from the second on. */
INLINE void two_of(const float *x, four *even, four *odd) {
  ffour a, b;
  memcpy(&a, x, sizeof a);
  memcpy(&b, x + FOUR, sizeof b);
  *even = doubles(__builtin_shuffle(a, b, (index4){0, 2, 4, 6}));
  *odd  = doubles(__builtin_shuffle(a, b, (index4){1, 3, 5, 7}));
}
/* Masks of those of eight voxels that conduct. */
INLINE void open_of(const uint8_t *code, ifour *even, ifour *odd) {
#ifdef __AVX2__
  const __m128i blocked =
      _mm_cmpeq_epi8(_mm_loadl_epi64((const __m128i_u *)code), _mm_setzero_si128());
  const __m128i open = _mm_xor_si128(blocked, _mm_set1_epi8(-1));
  *even = (ifour)_mm256_cvtepi8_epi64(_mm_shuffle_epi8(open, _mm_set1_epi32(0x06040200)));
  *odd  = (ifour)_mm256_cvtepi8_epi64(_mm_shuffle_epi8(open, _mm_set1_epi32(0x07050301)));
#else
  for (int l = 0; l < FOUR; l++) {
    (*even)[l] = code[2 * l] ? -1 : 0;
    (*odd)[l]  = code[2 * l + 1] ? -1 : 0;
  }
#endif
}
/* Of lanes that are on; with `open` all are. */
INLINE four only(four v, bool open, ifour on) { return open ? v : (four)((ifour)v & on); }
INLINE four all_of(double v) { return (four){v, v, v, v}; }
INLINE bool any(ifour m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }

struct boxes {
  ifour open[BOX], lanes;
  four x[BOX];
  four cross[3][BOX]; /* falls of potential over the faces of the boxes; 0 where closed */
  ifour across[3][BOX];
};
INLINE void potentials(const struct flux_row *row, int64_t p, four *even, four *odd) {
  two_of(row->view->x + p, even, odd);
  if (row->low) {
    four e, o;
    two_of(row->low + p, &e, &o);
    *even += e;
    *odd += o;
  }
}
/* Lanes of boxes i, i + 1, ... for these kernels. */
INLINE ifour lanes_get(const struct flux_row *row, int64_t i) {
  ifour lanes = {-1, -1, -1, -1};
  uint32_t path;
  if (i + FOUR <= row->boxes) {
    const int32_t *node = row->node + i;
    memcpy(&path, row->path + i, sizeof path);
    if (path == 0 && (node[0] | node[1] | node[2] | node[3]) >= 0) return lanes;
  }
  for (int l = 0; l < FOUR; l++)
    if (i + l >= row->boxes || row->path[i + l] != PATH_ALIKE || row->node[i + l] < 0) lanes[l] = 0;
  return lanes;
}
/* What is known of a row of boxes, so that kernels leave out what it does not need: several conductances; an outer side; that
 * all voxels of these boxes and around them conduct. */
struct known {
  bool several, edge, open;
};
INLINE void cross_set(const struct flux_row *row, struct known is, struct boxes *b, int a, int t,
                      four beyond, ifour open) {
  const bool outer = is.edge && row->outer == 2 * a + (t >> (2 - a) & 1);
  const four fall  = outer ? 2 * b->x[t] - beyond : b->x[t] - beyond;
  if (!is.open) b->across[a][t] = outer ? b->open[t] : b->open[t] & open;
  b->cross[a][t] = only(fall, is.open, b->across[a][t]);
}
INLINE void boxes_get(const struct flux_row *row, int64_t i, struct known is, struct boxes *b) {
  const struct flux_view *v = row->view;
  const int64_t step[2]     = {v->plane, v->row};
  int64_t at[PAIRS];
  EACH_PAIR {
    at[q] = row->at + 2 * i + (q >> 1) * v->plane + (q & 1) * v->row;
    potentials(row, at[q], &b->x[2 * q], &b->x[2 * q + 1]);
    if (is.open) continue;
    open_of(v->code + at[q], &b->open[2 * q], &b->open[2 * q + 1]);
    b->open[2 * q] &= b->lanes;
    b->open[2 * q + 1] &= b->lanes;
  }
  EACH_PAIR {
    four even, odd;
    ifour open_even = b->lanes, open_odd = b->lanes;
    _Pragma("GCC unroll 2") for (int a = 0; a < 2; a++) {
      const int64_t p = at[q] + (q >> (1 - a) & 1 ? step[a] : -step[a]);
      potentials(row, p, &even, &odd);
      if (!is.open) open_of(v->code + p, &open_even, &open_odd);
      cross_set(row, is, b, a, 2 * q, even, open_even);
      cross_set(row, is, b, a, 2 * q + 1, odd, open_odd);
    }
    potentials(row, at[q] - 1, &even, &odd);
    if (!is.open) open_of(v->code + at[q] - 1, &open_even, &open_odd);
    cross_set(row, is, b, 2, 2 * q, even, open_even);
    potentials(row, at[q] + 2, &even, &odd);
    if (!is.open) open_of(v->code + at[q] + 2, &open_even, &open_odd);
    cross_set(row, is, b, 2, 2 * q + 1, even, open_even);
  }
}
/* Asks for what the next row of boxes will want: several planes do not stay in the near caches, and rows are too short for the
 * machine to foresee. */
INLINE void ask_ahead(const struct flux_row *row, int64_t i) {
  const struct flux_view *v = row->view;
  for (int z = -1; z < 3; z++)
    for (int y = z == -1 || z == 2 ? 2 : 3, n = 0; n < 2; n++, y++) {
      const int64_t p = row->at + 2 * i + z * v->plane + y * v->row;
      __builtin_prefetch(v->x + p);
      if (i % (2 * FOUR) == 0) __builtin_prefetch(v->code + p);
    }
}
/* With one conductance, codes are numbers of open faces. */
INLINE bool all_open(const struct flux_row *row, int64_t i, ifour lanes) {
  static const uint64_t six = 0x0606060606060606;
  const struct flux_view *v = row->view;
  uint64_t unlike           = 0;
  EACH_PAIR {
    uint64_t code;
    memcpy(&code, v->code + row->at + 2 * i + (q >> 1) * v->plane + (q & 1) * v->row, sizeof code);
    unlike |= code ^ six;
  }
  return !unlike && (lanes[0] & lanes[1] & lanes[2] & lanes[3]) != 0;
}

/* ---- boxes of one code among several ---- */

/* Codes of the voxels in pairs, voxel by voxel from the lowest byte on. */
INLINE uint64_t word_of(const uint8_t *c, int64_t a, int64_t b, int64_t d, int64_t e) {
  const int64_t at[4] = {a, b, d, e};
  uint16_t pair[4];
  uint64_t w;
  for (int m = 0; m < 4; m++) memcpy(&pair[m], c + at[m], sizeof pair[m]);
  memcpy(&w, pair, sizeof w);
  return w;
}
/* Bytes 255 where a voxel conducts. */
INLINE uint64_t full_bytes(uint64_t w) {
  return ((w + 0x7f7f7f7f7f7f7f7f) >> 7 & 0x0101010101010101) * 255;
}
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
/* By lane: conductance of a box's code, and what a weight of its faces in the graph is over that. */
struct law {
  four strength, routed[3];
};
INLINE void law_get(const struct flux_row *row, int64_t i, ifour lanes, bool several,
                    struct law *law) {
  const int64_t r = row->view->row, p = row->view->plane;
  *law = (struct law){
      all_of(1), {all_of(1), all_of(1), all_of(1)}
  };
  for (int l = 0; l < FOUR && several; l++) {
    if (!lanes[l]) continue;
    const int64_t a     = row->at + 2 * (i + l);
    const uint64_t code = code_of(word_of(row->view->code, a, a + r, a + p, a + p + r));
    law->strength[l]    = row->strength[code];
    for (int axis = 0; axis < 3; axis++) law->routed[axis][l] = row->routed[code][axis];
  }
}

/* ---- sums ---- */

INLINE void loads_four(const struct flux_row *row, int64_t i, ifour lanes, struct known is,
                       double *load) {
  struct boxes b;
  struct law law;
  four flow = all_of(0);
  b.lanes   = lanes;
  boxes_get(row, i, is, &b);
  law_get(row, i, b.lanes, is.several, &law);
  EACH_AXIS {
    four out = all_of(0);
    EACH_VOXEL_OF_BOX out += b.cross[a][t];
    flow -= is.several ? row->factor[a] * out : out;
  }
  if (is.several) flow *= law.strength / row->unit;
  for (int l = 0; l < FOUR; l++)
    if (b.lanes[l]) load[row->node[i + l]] = flow[l];
}
/* Residual summed over each box of a row that is of PATH_ALIKE (nor empty), into its node's load. */
void ISA_NAME(flux_row_loads)(const struct flux_row *row, double *load) {
  const bool uniform = row->view->uniform, edge = row->outer >= 0;
  for (int64_t i = 0; i < row->boxes; i += FOUR) {
    const ifour lanes = lanes_get(row, i);
    if (!any(lanes)) continue;
    ask_ahead(row, i);
    if (!uniform)
      loads_four(row, i, lanes, (struct known){.several = true, .edge = true}, load);
    else if (edge)
      loads_four(row, i, lanes, (struct known){.edge = true}, load);
    else if (all_open(row, i, lanes))
      loads_four(row, i, lanes, (struct known){.open = true}, load);
    else
      loads_four(row, i, lanes, (struct known){0}, load);
  }
}
/* Adds the flux per open face of each side, outwards, to what flows over the boxes' faces. */
INLINE void routed_add(const struct flux_row *row, int64_t i, const struct law *law,
                       struct known is, struct boxes *b) {
  const struct flux_graph *g = row->graph;
  const float *entry[FOUR]   = {NULL, NULL, NULL, NULL};
  const float *some          = NULL;
  ifour outer                = {0, 0, 0, 0};
  for (int l = 0; l < FOUR; l++) {
    const int32_t node = row->node[i + l < row->boxes ? i + l : i];
    if (b->lanes[l]) some = entry[l] = g->entry_flux + g->slice[node / LANES] + node % LANES;
  }
  for (int l = 0; l < FOUR; l++)
    if (!entry[l]) entry[l] = some;
  EACH_VOXEL_OF_BOX if (is.edge && (t >> (2 - row->outer / 2) & 1) == row->outer % 2) outer |=
      b->across[row->outer / 2][t];
  _Pragma("GCC unroll 6") for (int s = 0; s < SIDES; s++) {
    const int a   = s / 2;
    const ffour f = {entry[0][s * LANES], entry[1][s * LANES], entry[2][s * LANES],
                     entry[3][s * LANES]};
    four q        = doubles(f);
    for (int l = 0; is.edge && s == row->outer && l < FOUR; l++)
      q[l] = outer[l] ? 2 * g->face_flux[s % 2][row->face_of[row->node[i + l]]] : 0;
    if (is.several) q *= law->routed[a];
    EACH_VOXEL_OF_BOX if ((t >> (2 - a) & 1) == s % 2) b->cross[a][t] +=
        only(q, is.open, b->across[a][t]);
  }
}
/* Potential that balances the loads inside boxes all of whose voxels conduct: their cosine transform, which is made of sums
 * and differences along each axis, has the eigenvalues 2 (sum of the factors of the axes that change sign). */
INLINE void balance_full(const double share[BOX], const four load[BOX], four y[BOX]) {
  EACH_VOXEL_OF_BOX y[t] = load[t];
  _Pragma("GCC unroll 2") for (int again = 0; again < 2; again++) {
    _Pragma("GCC unroll 3") for (int bit = 1; bit < BOX; bit *= 2) EACH_VOXEL_OF_BOX {
      if (t & bit) continue;
      const four u = y[t], v = y[t | bit];
      y[t]       = u + v;
      y[t | bit] = u - v;
    }
    EACH_VOXEL_OF_BOX if (!again) y[t] *= share[t];
  }
}
static void shares_set(const struct flux_row *row, bool several, double share[BOX]) {
  share[0] = 0;
  for (int t = 1; t < BOX; t++) {
    double sum = 0;
    EACH_AXIS
    if (t >> (2 - a) & 1) sum += several ? row->factor[a] : 1;
    share[t] = 1 / (8 * 2 * sum);
  }
}
/* In boxes of any pattern, one after the other. */
INLINE void balance_rest(const struct flux_row *row, const struct boxes *b, const four load[BOX],
                         four y[BOX]) {
  unsigned pattern[FOUR] = {0};
  double all[BOX][FOUR], solved[BOX][FOUR];
  memcpy(all, load, sizeof all);
  memcpy(solved, y, sizeof solved);
  EACH_VOXEL_OF_BOX
  for (int l = 0; l < FOUR; l++) pattern[l] |= (unsigned)(b->open[t][l] & 1) << t;
  for (int l = 0; l < FOUR; l++) {
    double own[BOX];
    if (pattern[l] == 0xff || pattern[l] == 0) continue;
    EACH_VOXEL_OF_BOX own[t] = all[t][l];
    const vec sum = plus_matrix((vec){{EIGHT(0, 0, 0, 0, 0, 0, 0, 0)}}, row->inverse[pattern[l]],
                                of_lanes(own));
    EACH_VOXEL_OF_BOX solved[t][l] = lane(&sum, t);
  }
  memcpy(y, solved, sizeof solved);
}
INLINE void balance(const struct flux_row *row, const struct boxes *b, bool open,
                    const double share[BOX], const four load[BOX], four y[BOX]) {
  if (open) {
    balance_full(share, load, y);
    return;
  }
  ifour full = b->lanes;
  EACH_VOXEL_OF_BOX full &= b->open[t];
  if (any(full))
    balance_full(share, load, y);
  else
    EACH_VOXEL_OF_BOX y[t] = all_of(0);
  if (any(full ^ b->lanes)) balance_rest(row, b, load, y);
}
struct sums {
  four energy, cost, unbalanced, worst, inflow;
};
INLINE four size4(four v) { return (four)((ifour)v & INT64_MAX); }
INLINE four larger4(four a, four b) {
#ifdef __AVX2__
  return (four)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
  const ifour first = a > b;
  return (four)(((ifour)a & first) | ((ifour)b & ~first));
#endif
}
/* Sum of squares of falls; an inner face counts once, one between boxes half. */
INLINE four squares_of(const struct flux_row *row, struct known is, const four fall[3][BOX],
                       const four cross[3][BOX]) {
  four all = all_of(0);
  EACH_AXIS {
    four inner = all_of(0), outer = all_of(0);
    EACH_VOXEL_OF_BOX {
      outer += cross[a][t] * cross[a][t];
      if (!(t & 4 >> a)) inner += fall[a][t] * fall[a][t];
    }
    const four sum = inner + 0.5 * outer;
    all += is.several ? row->factor[a] * sum : sum;
  }
  return all;
}
/* What flows out of voxel t. */
INLINE four outflow(const struct flux_row *row, struct known is, const four fall[3][BOX],
                    const four cross[3][BOX], int t) {
  four all = all_of(0);
  EACH_AXIS {
    const int low  = t & ~(4 >> a);
    const four out = t == low ? cross[a][t] + fall[a][low] : cross[a][t] - fall[a][low];
    all += is.several ? row->factor[a] * out : out;
  }
  return all;
}
/* All in units of the boxes' own conductance, which comes in at its end. */
INLINE void bound_four(const struct flux_row *row, int64_t i, ifour lanes, bool route,
                       struct known is, const double share[BOX], struct sums *sum) {
  struct boxes b;
  struct law law;
  four fall[3][BOX], load[BOX], y[BOX];
  b.lanes = lanes;
  boxes_get(row, i, is, &b);
  law_get(row, i, b.lanes, is.several, &law);
  EACH_AXIS EACH_VOXEL_OF_BOX if (!(t & 4 >> a)) fall[a][t] =
      only(b.x[t] - b.x[t | 4 >> a], is.open, b.open[t] & b.open[t | 4 >> a]);
  sum->energy +=
      law.strength * squares_of(row, is, (const four(*)[BOX])fall, (const four(*)[BOX])b.cross);
  if (!route) return;
  routed_add(row, i, &law, is, &b);
  EACH_VOXEL_OF_BOX load[t] =
      -outflow(row, is, (const four(*)[BOX])fall, (const four(*)[BOX])b.cross, t);
  balance(row, &b, is.open, share, load, y);
  EACH_AXIS EACH_VOXEL_OF_BOX if (!(t & 4 >> a)) fall[a][t] +=
      only(y[t] - y[t | 4 >> a], is.open, b.open[t] & b.open[t | 4 >> a]);
  sum->cost +=
      law.strength * squares_of(row, is, (const four(*)[BOX])fall, (const four(*)[BOX])b.cross);
  EACH_VOXEL_OF_BOX {
    const four net  = outflow(row, is, (const four(*)[BOX])fall, (const four(*)[BOX])b.cross, t);
    const four size = law.strength * size4(net);
    sum->unbalanced += size;
    sum->worst = larger4(size, sum->worst);
  }
  EACH_VOXEL_OF_BOX if (is.edge && (t >> (2 - row->outer / 2) & 1) == row->outer % 2) sum->inflow +=
      b.cross[row->outer / 2][t];
}
/* Adds the boxes of a row that are of PATH_ALIKE to energy, cost, inflow and imbalance; with `route` false
 * to the energy alone. entry_flux and face_flux are per weight. */
void ISA_NAME(flux_row_bound)(const struct flux_row *row, bool route, struct flux_box_sums *sums) {
  const bool uniform = row->view->uniform, edge = row->outer >= 0;
  struct sums sum = {all_of(0), all_of(0), all_of(0), all_of(0), all_of(0)};
  double share[BOX];
  shares_set(row, !uniform, share);
  for (int64_t i = 0; i < row->boxes; i += FOUR) {
    const ifour lanes = lanes_get(row, i);
    if (!any(lanes)) continue;
    ask_ahead(row, i);
    if (!uniform)
      bound_four(row, i, lanes, route, (struct known){.several = true, .edge = edge}, share, &sum);
    else if (edge)
      bound_four(row, i, lanes, route, (struct known){.edge = true}, share, &sum);
    else if (route && all_open(row, i, lanes))
      bound_four(row, i, lanes, true, (struct known){.open = true}, share, &sum);
    else
      bound_four(row, i, lanes, route, (struct known){0}, share, &sum);
  }
  for (int l = 0; l < FOUR; l++) {
    sums->energy += sum.energy[l];
    sums->cost += sum.cost[l];
    sums->unbalanced += sum.unbalanced[l];
    if (row->outer >= 0) sums->inflow -= sum.inflow[l] * row->potential;
    if (sum.worst[l] > sums->worst) sums->worst = sum.worst[l];
  }
}
