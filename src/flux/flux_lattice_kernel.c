/* Kernels on lattices: a row of boxes of one colour after the other, with its neighbours' rows at fixed
 * distances. A weight is the number of faces, 0 where there is none. */
#include "flux_floats.h"

/* A row of boxes of one colour. */
struct line {
  int64_t row, step[SIDES]; /* of the graph; to those beyond each side */
};
INLINE struct line line_of(const struct flux_lattice *t, int colour, int64_t k, int64_t j) {
  struct line n = {.row = t->first[colour] + k * t->plane + j * t->pitch};
  flux_lattice_steps(t, colour, k, j, n.step);
  return n;
}
#define EACH_LINE(t, colour, n)                                                                    \
  for (int64_t k_ = 0; k_ < (t)->boxes[0]; k_++)                                                   \
    for (int64_t j_ = 0; j_ < (t)->boxes[1]; j_++)                                                 \
      for (struct line n = line_of(t, colour, k_, j_), *once_ = &n; once_; once_ = NULL)
#define EACH_SLICE(t, n, i) for (int64_t i = (n).row; i < (n).row + (t)->pitch; i += LANES)

INLINE lanes neighbours(const struct flux_lattice *t, const struct line *n, int64_t i,
                        const float *x, lanes s) {
  for (int d = 0; d < SIDES; d++)
    s = plus_product(s, bytes(t->faces[d] + i - t->first[0]), get(x + i + n->step[d]));
  return s;
}
void ISA_NAME(flux_lattice_diagonal)(const struct flux_graph *g) {
  const struct flux_lattice *t = &g->lattice;
  for (int64_t i = t->first[0]; i < g->n; i += LANES) {
    lanes sum = zero();
    for (int d = 0; d < SIDES; d++) sum = plus(sum, bytes(t->faces[d] + i - t->first[0]));
    put(g->diagonal + i, sum);
  }
}
void ISA_NAME(flux_lattice_sweep)(const struct flux_graph *g, int colour, bool start) {
  const struct flux_lattice *t = &g->lattice;
  EACH_LINE(t, colour, n)
  EACH_SLICE(t, n, i) {
    lanes s = get(g->b + i);
    if (!start) s = neighbours(t, &n, i, g->x, s);
    put(g->x + i, divided(s, get(g->diagonal + i)));
  }
}
/* r = b - A x of the first colours. */
void ISA_NAME(flux_lattice_residual)(const struct flux_graph *g, int colours, float *r) {
  const struct flux_lattice *t = &g->lattice;
  for (int c = 0; c < colours; c++) EACH_LINE(t, c, n)
  EACH_SLICE(t, n, i)
  put(r + i, minus_product(neighbours(t, &n, i, g->x, get(g->b + i)), get(g->diagonal + i),
                           get(g->x + i)));
}
/* As flux_apply; dots are added to. */
void ISA_NAME(flux_lattice_apply)(const struct flux_graph *g, const float *x, const float *v,
                                  float *out, double dots[4]) {
  const struct flux_lattice *t = &g->lattice;
  for (int colour = 0; colour < 2; colour++) EACH_LINE(t, colour, n) {
      struct dots sum;
      dots_begin(&sum);
      EACH_SLICE(t, n, i)
      dots_add(&sum, g, i, x, v,
               minus_product(neighbours(t, &n, i, x, zero()), get(g->diagonal + i), get(x + i)),
               out);
      dots_end(&sum, dots);
    }
}
/* As flux_carry_potential. */
void ISA_NAME(flux_lattice_carry)(const struct flux_graph *g, const float *z, double scale) {
  const struct flux_lattice *t = &g->lattice;
  const float times            = (float)scale;
  for (int colour = 0; colour < 2; colour++) EACH_LINE(t, colour, n)
  EACH_SLICE(t, n, i) {
    double out[LANES] = {0};
    for (int d = 0; d < SIDES; d++) {
      const float *beyond  = z + i + n.step[d];
      const uint8_t *faces = t->faces[d] + i - t->first[0];
      for (int l = 0; l < LANES; l++) {
        const float flux = times * (z[i + l] - beyond[l]);
        out[l] += (double)faces[l] * (double)flux;
      }
    }
    for (int l = 0; l < LANES; l++) g->load[i + l] -= out[l];
  }
}
/* Where the rows of a row of 2 x 2 x 2 boxes begin in the next lattice, by the box's last bit. */
INLINE void rows_begin(const struct flux_graph *next, int64_t k, int64_t j, int32_t row[2]) {
  for (int odd = 0; odd < 2; odd++) row[odd] = flux_lattice_row(&next->lattice, k, j, odd);
}
static bool all_inside(const uint8_t *up) {
  uint64_t half[2];
  memcpy(half, up, sizeof half);
  return (half[0] & half[1]) == UINT64_MAX;
}
/* What of the next graph's flux goes over side d of the rows of a slice. */
INLINE void split_get(const struct flux_graph *g, const struct flux_graph *next, int64_t i,
                      const uint8_t *up, int64_t step, const int64_t above[LANES],
                      float split[LANES]) {
  bool search = false;
  for (int l = 0; l < LANES; l++) {
    const bool on = up[l] < UP_SEARCH;
    split[l]      = on ? next->entry_flux[above[l] + (int64_t)up[l] * LANES] : 0;
    search |= up[l] == UP_SEARCH;
  }
  for (int l = 0; l < LANES && search; l++)
    if (up[l] == UP_SEARCH)
      split[l] = next->entry_flux[flux_graph_find(next, g->agg[i + l], g->agg[i + l + step])];
}
typedef uint8_t octets __attribute__((vector_size(LANES)));
INLINE octets octets_get(const uint8_t *p) {
  octets r;
  memcpy(&r, p, sizeof r);
  return r;
}
/* Of a slice of lattice rows, along z. */
INLINE lanes flux_along(const float *z, const float *beyond, float times) {
  const lanes fall = minus_product(get(z), all_lanes(1), get(beyond));
  return plus_product(zero(), all_lanes(times), fall);
}
/* Adds what comes from above, over a side of even and of odd rows, where an edge went up over side d; out gets that. */
INLINE void side_add(const uint8_t *faces, const uint8_t *up, int d, const float *even,
                     const float *odd, lanes along, float *flux, double out[LANES]) {
  const octets over = (octets)(octets_get(up) == (uint8_t)d) & 1;
  float above[LANES], before[LANES], after[LANES], weight[LANES];
  uint8_t keep[LANES];
  for (int l = 0; l < LANES / 2; l++) {
    above[2 * l]     = even[l];
    above[2 * l + 1] = odd[l];
  }
  memcpy(keep, &over, sizeof keep);
  put(before, along);
  put(after, plus_product(along, bytes(keep), get(above)));
  put(weight, bytes(faces));
  for (int l = 0; l < LANES; l++)
    out[l] += (double)weight[l] * ((double)after[l] - (double)before[l]);
  memcpy(flux, after, sizeof after);
}
/* To a lattice from a lattice, but for strays and links. A row of boxes is one of the four, of even or of odd boxes, that make
 * up a row of 2 x 2 x 2 boxes. */
static void line_split(const struct flux_graph *g, const struct flux_graph *next,
                       const struct line *n, const int64_t place[2], int odd, const float *z,
                       float times) {
  const struct flux_lattice *t = &g->lattice;
  const unsigned outward =
      flux_lattice_outward((int)(4 * (place[0] & 1) + 2 * (place[1] & 1)) + odd);
  int32_t above[2];
  rows_begin(next, place[0] / 2, place[1] / 2, above);
  EACH_SLICE(t, *n, i) {
    const int64_t e   = flux_lattice_entry(t, (int32_t)i);
    double out[LANES] = {0};
    const float *from[2];
    for (int o = 0; o < 2; o++)
      from[o] = next->entry_flux +
                flux_lattice_entry(&next->lattice, above[o] + (int32_t)(i - n->row) / 2);
    for (int d = 0; d < SIDES; d++) {
      const lanes along = z ? flux_along(z + i, z + i + n->step[d], times) : zero();
      float *flux       = g->entry_flux + e + d * LANES;
      if (outward >> d & 1)
        side_add(t->faces[d] + i - t->first[0], g->up + e + d * LANES, d, from[0] + d * LANES,
                 from[1] + d * LANES, along, flux, out);
      else
        put(flux, along);
    }
    for (int l = 0; l < LANES; l++) g->load[i + l] -= out[l];
  }
}
/* As flux_split; to a lattice, but for strays and links. */
void ISA_NAME(flux_lattice_split)(const struct flux_graph *g, const struct flux_graph *next,
                                  const float *z, double scale) {
  const struct flux_lattice *t = &g->lattice;
  const float times            = (float)scale;
  if (next->lattice.pitch) {
    for (int colour = 0; colour < 2; colour++) EACH_LINE(t, colour, n)
    line_split(g, next, &n, (int64_t[2]){k_, j_}, flux_lattice_colour(t, k_, j_, colour), z, times);
    return;
  }
  for (int colour = 0; colour < 2; colour++) EACH_LINE(t, colour, n)
  EACH_SLICE(t, n, i) {
    const int64_t e = flux_lattice_entry(t, (int32_t)i);
    int64_t above[LANES]; /* first entry of the row above */
    double out[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
      const int32_t up = g->agg[i + l] < 0 ? 0 : g->agg[i + l];
      above[l]         = next->slice[up / LANES] + up % LANES;
    }
    for (int d = 0; d < SIDES; d++) {
      const float *beyond  = z ? z + i + n.step[d] : NULL;
      const uint8_t *faces = t->faces[d] + i - t->first[0], *up = g->up + e + d * LANES;
      float *flux = g->entry_flux + e + d * LANES, along[LANES] = {0}, split[LANES];
      for (int l = 0; l < LANES && z; l++) along[l] = times * (z[i + l] - beyond[l]);
      memcpy(flux, along, sizeof along);
      if (all_inside(up)) continue;
      split_get(g, next, i, up, n.step[d], above, split);
      for (int l = 0; l < LANES; l++) {
        flux[l] += split[l];
        out[l] += (double)faces[l] * ((double)flux[l] - (double)along[l]);
      }
    }
    for (int l = 0; l < LANES; l++) g->load[i + l] -= out[l];
  }
}

/* ---- 2 x 2 x 2 boxes at once, which the next graph's rows are ---- */

void ISA_NAME(flux_lattice_ties)(const struct flux_lattice *t) {
  const int32_t n = flux_lattice_eights(t);
  EACH_EIGHT(t, k, j, row) {
    uint32_t *restrict tie = flux_lattice_tie(t, k, j, 0);
    for (int b = 0; b < BOX; b++) {
      if (row[b] < 0) continue;
      const uint8_t *restrict kind = t->kind + row[b] - t->first[0];
      for (int32_t i = 0; i < n; i++)
        tie[i] |= (uint32_t)(kind[i] & LATTICE_NODE) << (TIE_NODES + b);
      for (int a = 0; a < 3; a++) {
        const uint8_t *restrict faces = t->faces[2 * a + 1] + row[b] - t->first[0];
        const int bit                 = flux_pair_bit(b, a);
        for (int32_t i = 0; i < n && !(b & 4 >> a); i++) tie[i] |= (uint32_t)(faces[i] != 0) << bit;
      }
    }
  }
}
void ISA_NAME(flux_lattice_agg)(const struct flux_graph *g, const struct flux_graph *next) {
  const struct flux_lattice *t = &g->lattice;
  const int32_t n              = flux_lattice_eights(t);
  EACH_EIGHT(t, k, j, row) {
    const uint32_t *restrict tie = flux_lattice_tie(t, k, j, 0);
    int32_t above[2];
    rows_begin(next, k, j, above);
    for (int b = 0; b < BOX; b++) {
      if (row[b] < 0) continue;
      int32_t *restrict agg = g->agg + row[b];
      const uint32_t wanted = TIE_ONE | 1u << (TIE_NODES + b);
      for (int32_t i = 0; i < n; i++) {
        const int32_t one = above[i & 1] + i / 2;
        agg[i]            = (tie[i] & wanted) == wanted ? one : -1;
      }
    }
  }
}
void ISA_NAME(flux_lattice_fold)(const struct flux_graph *g, const struct flux_graph *next) {
  const struct flux_lattice *t = &g->lattice, *u = &next->lattice;
  const int32_t n = flux_lattice_eights(t);
  EACH_EIGHT(t, k, j, row) {
    const uint32_t *tie = flux_lattice_tie(t, k, j, 0);
    int32_t above[2];
    rows_begin(next, k, j, above);
    for (int odd = 0; odd < 2; odd++) above[odd] -= u->first[0];
    for (int32_t i = 0; i < n; i++)
      u->kind[above[i & 1] + i / 2] = tie[i] & TIE_ONE ? LATTICE_NODE : 0;
    for (int32_t i = 0; i < n; i += LANES)
      for (int s = 0; s < SIDES; s++) {
        octets sum = {0};
        for (int b = 0; b < BOX; b++) {
          if (row[b] < 0 || !(flux_lattice_outward(b) >> s & 1)) continue;
          const octets faces = octets_get(t->faces[s] + row[b] - t->first[0] + i);
          const octets none = (octets)(faces == 0), up = none | ((uint8_t)s & ~none);
          memcpy(g->up + flux_lattice_entry(t, row[b]) + i * SIDES + s * LANES, &up, sizeof up);
          sum += faces;
        }
        for (int l = 0; l < LANES; l++) u->faces[s][above[l & 1] + i / 2 + l / 2] = sum[l];
      }
  }
}
void ISA_NAME(flux_lattice_restrict)(const struct flux_graph *g, const float *r, int rows,
                                     struct flux_graph *next) {
  const struct flux_lattice *t = &g->lattice, *u = &next->lattice;
  EACH_EIGHT(t, k, j, row) {
    int32_t above[2];
    rows_begin(next, k, j, above);
    for (int32_t i = 0; i < flux_lattice_eights(t); i += LANES) {
      lanes sum = zero();
      float all[LANES];
      for (int b = 0; b < BOX; b++)
        if (row[b] >= 0 && row[b] < rows) sum = plus(sum, get(r + row[b] + i));
      put(all, sum);
      for (int odd = 0; odd < 2; odd++) {
        float *restrict b            = next->b + above[odd] + i / 2;
        const uint8_t *restrict kind = u->kind + above[odd] - u->first[0] + i / 2;
        for (int l = 0; l < LANES / 2; l++) b[l] = kind[l] & LATTICE_NODE ? all[2 * l + odd] : 0;
      }
    }
  }
}
void ISA_NAME(flux_lattice_prolong)(struct flux_graph *g, const struct flux_graph *next,
                                    float over) {
  const struct flux_lattice *t = &g->lattice;
  EACH_EIGHT(t, k, j, row) {
    int32_t above[2];
    rows_begin(next, k, j, above);
    for (int32_t i = 0; i < flux_lattice_eights(t); i += LANES) {
      float all[LANES];
      for (int l = 0; l < LANES; l++) all[l] = next->x[above[l & 1] + i / 2 + l / 2];
      for (int b = 0; b < BOX; b++) {
        float *x = g->x + row[b] + i;
        if (row[b] >= 0) put(x, plus_product(get(x), all_lanes(over), get(all)));
      }
    }
  }
}
