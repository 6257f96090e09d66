/* Private to coarsening: aggregates are the connected components of the nodes in 2 x 2 x 2 boxes. */
#pragma once
#include "flux_lattice.h"

struct coarsening {
  struct flux_graph *from, *to;
  int32_t *parent;       /* union-find */
  int32_t *first, *next; /* children of a new row, as a list */
  int32_t *slot;         /* per new column: where its entry is in the row being made */
  uint16_t *length;      /* of new rows; their entries one row after the other: */
  int32_t *col;
  double *weight;
  int64_t room;
  bool by_strength;
  float *largest;
  bool lattice;          /* the new graph is one */
  int nodes[2], ones[2]; /* of each colour: new nodes; 2 x 2 x 2 boxes of a lattice that are one */
  int64_t several;       /* such boxes that are more */
  int loose[2];          /* of each colour's first new rows: those that are summed child by child */
};
enum status flux_entries_grow(struct coarsening *k);
/* Sums the edges of each new row, one row after the other; sums of whole numbers are exact. slot[] of
 * a column holds 1 + its place when it has one in the present row, else something smaller. The first
 * entry takes what lies inside the row's own aggregate and is not written. */
static inline enum status flux_row_begin(struct coarsening *k, int32_t row, int32_t *n) {
  if (*n >= k->room) TRY(flux_entries_grow(k));
  k->slot[row] = ++*n;
  return STATUS_OK;
}
static inline enum status flux_entry_sum(struct coarsening *k, int32_t start, int32_t *n, int64_t e,
                                         int32_t col, double weight) {
  const int32_t p = k->from->agg[col];
  if (k->slot[p] <= start) {
    if (*n >= k->room) TRY(flux_entries_grow(k));
    k->col[*n]    = p;
    k->weight[*n] = 0;
    k->slot[p]    = ++*n;
  }
  const int32_t m = k->slot[p] - 1;
  k->weight[m] += weight;
  const int32_t above = m - start - 1; /* -1 becomes UP_INSIDE */
  k->from->up[e]      = (uint8_t)(above < UP_SEARCH ? above : UP_SEARCH);
  return STATUS_OK;
}
static inline enum status flux_row_end(struct coarsening *k, int32_t row, int32_t start,
                                       int32_t n) {
  if (n - start > UINT16_MAX) return FAIL(STATUS_INTERNAL, "flux: a row of %d", n - start);
  k->length[row] = (uint16_t)(n - start - 1);
  return STATUS_OK;
}

/* flux_lattice_coarsen.c: the same for the rows of a lattice. */
/* Pairs that share faces; where loose nodes are near, joins them in parent[]. */
void flux_lattice_join(struct coarsening *k);
/* A body of loose nodes of that place. */
void flux_lattice_count_loose(const struct coarsening *k, const int16_t place[3]);
/* The other bodies; all have been counted then. */
void flux_lattice_count(struct coarsening *k);
/* New rows of each colour, box by box, from next[] on; agg of all lattice rows. */
void flux_lattice_number(struct coarsening *k, int next[2]);
/* Adds to the lists of children of new rows with loose nodes. */
void flux_lattice_children(struct coarsening *k);
/* Edges of one such child, and all of the other new rows of a colour. */
enum status flux_lattice_sum_child(struct coarsening *k, int32_t start, int32_t *n, int32_t i);
enum status flux_lattice_sum(struct coarsening *k, int colour, int32_t *n);

/* flux_lattice_next.c: from a lattice to a lattice. */
/* Is the new graph one? Local, but for the nodes of all ranks, of the new graph and of the old. */
bool flux_lattice_goes_on(const struct coarsening *k, const struct grid_plan *plan,
                          const int64_t nodes[2]);
enum status flux_lattice_next_make(struct coarsening *k, int next[2]);
/* Row of a loose node's body, -1: it is none of the lattice's. */
int32_t flux_lattice_next_row(const struct coarsening *k, const int16_t place[3]);
/* Weights, links and the certificate's way up, when rows outside of the lattice have been made. */
enum status flux_lattice_next_edges(struct coarsening *k);
