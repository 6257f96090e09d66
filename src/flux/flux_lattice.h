/* Private to flux: places, entries and trees of the lattices of the first graphs (struct flux_lattice in flux_inner.h). */
#pragma once
#include "flux_inner.h"

/* Fewer nodes are no lattice's, nor is the last graph. */
enum { LATTICE_NODES = 4000 };

/* flux_lattice.c */
/* Rows of a lattice of so many boxes, those between lines and planes included. */
int64_t flux_lattice_rows(const int64_t boxes[3]);
/* Local. Rows of a graph whose other nodes, of two colours, are so many. */
enum status flux_lattice_make(struct flux_graph *graph, const int64_t boxes[3], int parity,
                              const int others[2]);
/* Sorts the links, those of the same ends become one, and finishes the diagonal. */
void flux_lattice_finish(struct flux_graph *graph, int links);
static inline int flux_lattice_colour(const struct flux_lattice *t, int64_t k, int64_t j,
                                      int64_t i) {
  return (int)((k + j + i + t->parity) & 1);
}
static inline int32_t flux_lattice_row(const struct flux_lattice *t, int64_t k, int64_t j,
                                       int64_t i) {
  return (int32_t)(t->first[flux_lattice_colour(t, k, j, i)] + k * t->plane + j * t->pitch + i / 2);
}
/* From a row of that colour in row (k, j) of boxes to those beyond each side; to itself at the lattice's ends along z and y,
 * and anywhere near at those along x, where no faces are shared. */
static inline void flux_lattice_steps(const struct flux_lattice *t, int colour, int64_t k,
                                      int64_t j, int64_t step[SIDES]) {
  const int64_t other = t->first[1 - colour] - t->first[colour];
  const int64_t row = t->pitch, plane = t->plane;
  const int late =
      flux_lattice_colour(t, k, j, colour); /* does the row begin with the other colour */
  step[0] = k > 0 ? other - plane : 0;
  step[1] = k < t->boxes[0] - 1 ? other + plane : 0;
  step[2] = j > 0 ? other - row : 0;
  step[3] = j < t->boxes[1] - 1 ? other + row : 0;
  step[4] = other - 1 + late;
  step[5] = other + late;
}
/* Place of a lattice row; gives its colour. */
static inline int flux_lattice_place(const struct flux_lattice *t, int32_t row, int64_t at[3]) {
  const int colour = row >= t->first[1];
  const int rest   = (row - t->first[colour]) % t->plane;
  at[0]            = (row - t->first[colour]) / t->plane;
  at[1]            = rest / t->pitch;
  at[2]            = 2 * (rest % t->pitch) + flux_lattice_colour(t, at[0], at[1], colour);
  return colour;
}
/* Entry of a lattice row's edge over side 0; those over the others follow LANES apart. */
static inline int64_t flux_lattice_entry(const struct flux_lattice *t, int32_t row) {
  const int r = row - t->first[0];
  return t->entry + (int64_t)(r / LANES) * LANES * SIDES + r % LANES;
}
static inline int64_t flux_lattice_link_entry(const struct flux_graph *g, int link) {
  return g->slice[g->n / LANES] + link;
}
/* Which of 2 x 2 x 2 boxes have a node (bit 12 + 4 dz + 2 dy + dx), which of their 12 pairs share faces (x, y, z), and
 * whether loose nodes lie among them: then their trees are in the graph's list, else they are the usual ones, of the pairs.
 * Are they one body, or several, loose nodes included? */
enum {
  TIE_PAIRS   = 0xfff,
  TIE_NODES   = 12,
  TIE_LOOSE   = 1 << 20,
  TIE_ONE     = 1 << 21,
  TIE_SEVERAL = 1 << 22
};
struct flux_tree {
  uint8_t bodies, body[BOX]; /* components, of each box */
  uint8_t roots;             /* the first box of each, as bits */
  uint8_t moves;             /* from leaves to roots: over that side of `from` */
  uint8_t from[BOX], to[BOX], side[BOX];
};
const struct flux_tree *flux_lattice_tree(uint32_t tie);
/* Of the pair of box b (on the low side along the axis) and the next one. */
static inline int flux_pair_bit(int b, int axis) {
  return axis == 2 ? b >> 1 : axis == 1 ? 4 + (b >> 2 << 1 | (b & 1)) : 8 + b;
}
static inline uint32_t *flux_lattice_tie(const struct flux_lattice *t, int64_t k, int64_t j,
                                         int64_t i) {
  return t->tie + (k * ((t->boxes[1] + 1) / 2) + j) * ((t->boxes[2] + 1) / 2) + i;
}
/* Rows of the first 2 x 2 x 2 boxes of row (k, j) of such; the i-th's follow i rows later. -1: no such rows. */
static inline void flux_lattice_eight(const struct flux_lattice *t, int64_t k, int64_t j,
                                      int32_t row[BOX]) {
  for (int b = 0; b < BOX; b++) {
    const int64_t z = 2 * k + (b >> 2), y = 2 * j + (b >> 1 & 1);
    row[b] = z < t->boxes[0] && y < t->boxes[1] ? flux_lattice_row(t, z, y, b & 1) : -1;
  }
}
/* Takes a box out of the lattice. */
void flux_lattice_leave(struct flux_lattice *lattice, const int64_t at[3]);
/* The next box along a side; false: there is none. */
static inline bool flux_lattice_beyond(const struct flux_lattice *t, const int64_t at[3], int side,
                                       int64_t next[3]) {
  for (int a = 0; a < 3; a++) next[a] = at[a] + (a == side / 2 ? side % 2 * 2 - 1 : 0);
  return next[side / 2] >= 0 && next[side / 2] < t->boxes[side / 2];
}
#define EACH_EIGHT(t, k, j, row)                                                                   \
  for (int64_t k = 0; k < ((t)->boxes[0] + 1) / 2; k++)                                            \
    for (int64_t j = 0; j < ((t)->boxes[1] + 1) / 2; j++)                                          \
      for (int32_t row[BOX], *once_ = (flux_lattice_eight(t, k, j, row), row); once_; once_ = NULL)
static inline int32_t flux_lattice_eights(const struct flux_lattice *t) {
  return (int32_t)((t->boxes[2] + 1) / 2);
}
static inline bool flux_tie_node(uint32_t tie, int b) { return tie >> (TIE_NODES + b) & 1; }
/* Of box b: sides that look out of the eight, as bits. */
static inline unsigned flux_lattice_outward(int b) {
  return 1u << (b >> 2) | 4u << (b >> 1 & 1) | 16u << (b & 1);
}
/* Links of a lattice row: from the returned one on as long as their row is this. */
int flux_lattice_link(const struct flux_lattice *lattice, int32_t row);
/* The flux of links over rank borders also gets the place of that side in its row, where the certificate's kernels look;
 * rows that meet several nodes beyond a side are LATTICE_FORKED. */
void flux_lattice_borders(struct flux_graph *graph);
/* Loads go along the usual trees. */
void flux_lattice_trees(struct flux_graph *graph);
