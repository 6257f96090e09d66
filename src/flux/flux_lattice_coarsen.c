/* Coarsening of the lattice of the first graph: boxes of 2 x 2 x 2 boxes are told by a word each, so most of it needs neither
 * lists nor a search for roots. Where loose nodes are among them, they are treated as rows of any graph are. */
#include "flux_coarsen.h"

#define EACH_EIGHT(t, k, j, row)                                                                   \
  for (int64_t k = 0; k < ((t)->boxes[0] + 1) / 2; k++)                                            \
    for (int64_t j = 0; j < ((t)->boxes[1] + 1) / 2; j++)                                          \
      for (int32_t row[BOX], *once_ = (flux_lattice_eight(t, k, j, row), row); once_; once_ = NULL)

static int32_t eights(const struct flux_lattice *t) { return (int32_t)((t->boxes[2] + 1) / 2); }
static bool has_node(uint32_t tie, int b) { return tie >> (TIE_NODES + b) & 1; }

void flux_lattice_join(struct coarsening *k) {
  struct flux_graph *g         = k->from;
  const struct flux_lattice *t = &g->lattice;
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < eights(t); i++) {
    uint32_t *tie = flux_lattice_tie(t, z, y, i);
    for (int b = 0; b < BOX; b++) {
      if (row[b] < 0) continue;
      const int32_t r = row[b] + i;
      *tie |= (uint32_t)(t->kind[r - t->first[0]] & LATTICE_NODE) << (TIE_NODES + b);
      for (int a = 0; a < 3; a++)
        if (!(b & 4 >> a) && t->faces[2 * a + 1][r - t->first[0]])
          *tie |= 1u << flux_pair_bit(b, a);
    }
    if (!(*tie & TIE_LOOSE)) continue;
    for (int b = 0; b < BOX; b++)
      if (has_node(*tie, b)) k->parent[row[b] + i] = row[b] + i;
    for (int b = 0; b < BOX; b++)
      for (int a = 0; a < 3; a++)
        if (!(b & 4 >> a) && *tie >> flux_pair_bit(b, a) & 1)
          flux_tree_join(g, k->parent, row[b] + i, row[b | 4 >> a] + i);
  }
}
/* Is the box the first of a body, or the root of one without loose nodes? */
static bool begins(const struct coarsening *k, uint32_t tie, const int32_t row[BOX], int b,
                   int32_t i, unsigned *seen) {
  if (!has_node(tie, b)) return false;
  if (tie & TIE_LOOSE) return k->parent[row[b] + i] == row[b] + i;
  const unsigned body = 1u << flux_lattice_tree(tie)->body[b];
  const bool first    = !(*seen & body);
  *seen |= body;
  return first;
}
void flux_lattice_count(const struct coarsening *k, int count[2]) {
  const struct flux_lattice *t = &k->from->lattice;
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < eights(t); i++) {
    const uint32_t tie = *flux_lattice_tie(t, z, y, i);
    unsigned seen      = 0;
    for (int b = 0; b < BOX; b++) count[(z + y + i) & 1] += begins(k, tie, row, b, i, &seen);
  }
}
static int32_t row_new(struct coarsening *k, int64_t z, int64_t y, int32_t i, int next[2]) {
  const int32_t row   = next[(z + y + i) & 1]++;
  int16_t *place      = k->to->place[row];
  const int64_t at[3] = {z, y, i};
  for (int a = 0; a < 3; a++) place[a] = (int16_t)at[a];
  return row;
}
void flux_lattice_number(struct coarsening *k, int next[2]) {
  struct flux_graph *g         = k->from;
  const struct flux_lattice *t = &g->lattice;
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < eights(t); i++) {
    const uint32_t tie           = *flux_lattice_tie(t, z, y, i);
    const struct flux_tree *tree = flux_lattice_tree(tie);
    int32_t of_body[BOX]         = {0};
    unsigned seen                = 0;
    for (int b = 0; b < BOX; b++) {
      const int32_t own = row[b] + i;
      if (!has_node(tie, b)) continue;
      if (tie & TIE_LOOSE) {
        const int32_t root = flux_root(k->parent, own);
        if (g->agg[root] < 0) g->agg[root] = row_new(k, z, y, i, next);
        g->agg[own] = g->agg[root];
        continue;
      }
      if (begins(k, tie, row, b, i, &seen)) of_body[tree->body[b]] = row_new(k, z, y, i, next);
      g->agg[own] = of_body[tree->body[b]];
    }
  }
}
static bool is_loose(const struct coarsening *k, int32_t row) {
  const int colour = row >= k->to->colour_start[1];
  return row - k->to->colour_start[colour] < k->loose[colour];
}
void flux_lattice_children(struct coarsening *k) {
  const struct flux_lattice *t = &k->from->lattice;
  EACH_EIGHT(t, z, y, row)
  for (int32_t i = 0; i < eights(t); i++) {
    const uint32_t tie = *flux_lattice_tie(t, z, y, i);
    for (int b = 0; b < BOX && tie & TIE_LOOSE; b++) {
      const int32_t own = row[b] + i;
      if (!has_node(tie, b) || !is_loose(k, k->from->agg[own])) continue;
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
/* Of box b: those that look out of the eight. */
static unsigned outward(int b) { return 1u << (b >> 2) | 4u << (b >> 1 & 1) | 16u << (b & 1); }

/* The rows of one box of boxes. */
static enum status eight_sum(struct coarsening *k, uint32_t tie, const int32_t first[BOX],
                             int64_t step[BOX][SIDES], int32_t i, int32_t *n) {
  const int32_t *agg = k->from->agg;
  for (int b = 0, done = 0; b < BOX; b++) {
    if (!has_node(tie, b) || done >> b & 1) continue;
    const int32_t start = *n, row = agg[first[b] + i];
    if (tie & TIE_LOOSE && is_loose(k, row)) continue;
    TRY(flux_row_begin(k, row, n));
    for (int c = b; c < BOX; c++) {
      if (!has_node(tie, c) || agg[first[c] + i] != row) continue;
      done |= 1 << c;
      TRY(row_sum(k, start, n, first[c] + i, step[c], outward(c)));
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
    for (int32_t i = (z + y + colour) & 1; i < eights(t); i += 2)
      TRY(eight_sum(k, *flux_lattice_tie(t, z, y, i), row, step, i, n));
  }
  return STATUS_OK;
}
