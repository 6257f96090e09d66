/* Coarsening of lattices: boxes of 2 x 2 x 2 boxes are told by a word each, so most of it needs neither lists nor a search
 * for roots. Where loose nodes are among them, they are treated as rows of any graph are. */
#include "flux_coarsen.h"

void flux_lattice_join(struct coarsening *k) {
  struct flux_graph *g         = k->from;
  const struct flux_lattice *t = &g->lattice;
  ISA_PICK(flux_lattice_ties)(t);
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < flux_lattice_eights(t); i++) {
    const uint32_t tie = *flux_lattice_tie(t, z, y, i);
    if (!(tie & TIE_LOOSE)) continue;
    for (int b = 0; b < BOX; b++)
      if (flux_tie_node(tie, b)) k->parent[row[b] + i] = row[b] + i;
    for (int b = 0; b < BOX; b++)
      for (int a = 0; a < 3; a++)
        if (!(b & 4 >> a) && tie >> flux_pair_bit(b, a) & 1)
          flux_tree_join(g, k->parent, row[b] + i, row[b | 4 >> a] + i);
  }
}
/* Which of the boxes are the first of a body, or the root of one without loose nodes, as bits? */
static unsigned begins(const struct coarsening *k, uint32_t tie, const int32_t row[BOX],
                       int32_t i) {
  unsigned first = 0;
  if (!(tie & TIE_LOOSE)) return flux_lattice_tree(tie)->roots & tie >> TIE_NODES;
  for (int b = 0; b < BOX; b++)
    if (flux_tie_node(tie, b) && k->parent[row[b] + i] == row[b] + i) first |= 1u << b;
  return first;
}
static void bodies_add(uint32_t *tie, int n) {
  if (n == 0) return;
  const bool more = n > 1 || *tie & (TIE_ONE | TIE_SEVERAL);
  *tie            = (*tie & ~(uint32_t)TIE_ONE) | (more ? TIE_SEVERAL : TIE_ONE);
}
void flux_lattice_count_loose(const struct coarsening *k, const int16_t place[3]) {
  bodies_add(flux_lattice_tie(&k->from->lattice, place[0] >> 1, place[1] >> 1, place[2] >> 1), 1);
}
void flux_lattice_count(struct coarsening *k) {
  const struct flux_lattice *t = &k->from->lattice;
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < flux_lattice_eights(t); i++) {
    uint32_t *tie = flux_lattice_tie(t, z, y, i);
    const int n = __builtin_popcount(begins(k, *tie, row, i)), colour = (z + y + i) & 1;
    bodies_add(tie, n);
    k->nodes[colour] += n;
    k->ones[colour] += (*tie & TIE_ONE) != 0;
    k->several += (*tie & TIE_SEVERAL) != 0;
  }
}
static int32_t row_new(struct coarsening *k, int64_t z, int64_t y, int32_t i, int next[2]) {
  const int32_t row   = next[(z + y + i) & 1]++;
  int16_t *place      = k->to->place[row];
  const int64_t at[3] = {z, y, i};
  for (int a = 0; a < 3; a++) place[a] = (int16_t)at[a];
  return row;
}
/* Rows of the bodies of 2 x 2 x 2 boxes, one after the other; loose nodes have theirs. */
static void eight_number(struct coarsening *k, int64_t z, int64_t y, const int32_t row[BOX],
                         int32_t i, int next[2]) {
  struct flux_graph *g         = k->from;
  const uint32_t tie           = *flux_lattice_tie(&g->lattice, z, y, i);
  const struct flux_tree *tree = flux_lattice_tree(tie);
  int32_t of_body[BOX]         = {0};
  const unsigned first         = begins(k, tie, row, i);
  for (int b = 0; b < BOX; b++) {
    const int32_t own = row[b] + i;
    if (!flux_tie_node(tie, b)) continue;
    if (tie & TIE_LOOSE) {
      const int32_t root = flux_root(k->parent, own);
      if (g->agg[root] < 0) g->agg[root] = row_new(k, z, y, i, next);
      g->agg[own] = g->agg[root];
      continue;
    }
    if (first >> b & 1) of_body[tree->body[b]] = row_new(k, z, y, i, next);
    g->agg[own] = of_body[tree->body[b]];
  }
}
void flux_lattice_number(struct coarsening *k, int next[2]) {
  const struct flux_lattice *t = &k->from->lattice;
  const uint32_t skipped       = k->lattice ? TIE_ONE : 0;
  if (k->lattice) ISA_PICK(flux_lattice_agg)(k->from, k->to);
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < flux_lattice_eights(t); i++)
    if (!(*flux_lattice_tie(t, z, y, i) & skipped)) eight_number(k, z, y, row, i, next);
}
/* Is a new row summed child by child? */
static bool is_loose(const struct coarsening *k, int32_t row) {
  const int colour = row >= k->to->colour_start[1];
  return row - k->to->colour_start[colour] < k->loose[colour];
}
void flux_lattice_children(struct coarsening *k) {
  const struct flux_lattice *t = &k->from->lattice;
  const uint32_t listed        = k->lattice ? TIE_SEVERAL : TIE_LOOSE;
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < flux_lattice_eights(t); i++) {
    const uint32_t tie = *flux_lattice_tie(t, z, y, i);
    for (int b = 0; b < BOX && tie & listed; b++) {
      const int32_t own = row[b] + i;
      if (!flux_tie_node(tie, b) || !is_loose(k, k->from->agg[own])) continue;
      k->next[own]                = k->first[k->from->agg[own]];
      k->first[k->from->agg[own]] = own;
    }
  }
}
/* Edges of a row over the sides given as bits, and its links. */
static inline enum status row_sum(struct coarsening *k, int32_t start, int32_t *n, int32_t i,
                                  const int64_t step[SIDES], unsigned sides) {
  const struct flux_graph *g   = k->from;
  const struct flux_lattice *t = &g->lattice;
  const int64_t e              = flux_lattice_entry(t, i);
  for (; sides; sides &= sides - 1) {
    const int s         = __builtin_ctz(sides);
    const uint8_t faces = t->faces[s][i - t->first[0]];
    if (faces) TRY(flux_entry_sum(k, start, n, e + s * LANES, (int32_t)(i + step[s]), faces));
  }
  if (!(t->kind[i - t->first[0]] & LATTICE_LINKED)) return STATUS_OK;
  for (int l = flux_lattice_link(t, i); l < t->links[2] && t->link[l].row == i; l++)
    TRY(flux_entry_sum(k, start, n, flux_lattice_link_entry(g, l), t->link[l].col,
                       (double)t->link[l].weight));
  return STATUS_OK;
}
enum { ALL_SIDES = 63 };
enum status flux_lattice_sum_child(struct coarsening *k, int32_t start, int32_t *n, int32_t i) {
  const struct flux_lattice *t = &k->from->lattice;
  int64_t at[3], step[SIDES];
  const int colour = flux_lattice_place(t, i, at);
  flux_lattice_steps(t, colour, at[0], at[1], step);
  return row_sum(k, start, n, i, step, ALL_SIDES);
}
/* The rows of one box of boxes. */
static enum status eight_sum(struct coarsening *k, uint32_t tie, const int32_t first[BOX],
                             int64_t step[BOX][SIDES], int32_t i, int32_t *n) {
  const int32_t *agg = k->from->agg;
  for (int b = 0, done = 0; b < BOX; b++) {
    if (!flux_tie_node(tie, b) || done >> b & 1) continue;
    const int32_t start = *n, row = agg[first[b] + i];
    if (tie & TIE_LOOSE && is_loose(k, row)) continue;
    TRY(flux_row_begin(k, row, n));
    for (int c = b; c < BOX; c++) {
      if (!flux_tie_node(tie, c) || agg[first[c] + i] != row) continue;
      done |= 1 << c;
      TRY(row_sum(k, start, n, first[c] + i, step[c], flux_lattice_outward(c)));
    }
    TRY(flux_row_end(k, row, start, *n));
  }
  return STATUS_OK;
}
enum status flux_lattice_sum(struct coarsening *k, int colour, int32_t *n) {
  const struct flux_lattice *t = &k->from->lattice;
  EACH_EIGHT(t, z, y, row) {
    int64_t step[BOX][SIDES];
    for (int b = 0; b < BOX; b++)
      if (row[b] >= 0)
        flux_lattice_steps(t, row[b] >= t->first[1], 2 * z + (b >> 2), 2 * y + (b >> 1 & 1),
                           step[b]);
    for (int32_t i = (z + y + colour) & 1; i < flux_lattice_eights(t); i += 2)
      TRY(eight_sum(k, *flux_lattice_tie(t, z, y, i), row, step, i, n));
  }
  return STATUS_OK;
}
