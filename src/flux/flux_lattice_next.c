/* From a lattice to a lattice: 2 x 2 x 2 boxes that are one body become its rows, whose weights are sums of bytes. Those
 * that come apart, the nodes of the graph before that were outside of its lattice, and its links, are the exceptions. */
#include "flux_coarsen.h"
#include <string.h>

/* As for the first lattice: rows must be worth it, also those between short lines, and meet the other colour over a periodic
 * border. */
bool flux_lattice_goes_on(const struct coarsening *k, const struct grid_plan *plan,
                          const int64_t nodes[2]) {
  const struct flux_lattice *t = &k->from->lattice;
  if (!t->pitch || 4 * t->most > UINT8_MAX) return false;
  int64_t boxes[3], eights = 1;
  bool fits = nodes[0] >= LATTICE_NODES && nodes[0] <= nodes[1] / 2;
  for (int a = 0; a < 3; a++) {
    boxes[a] = (t->boxes[a] + 1) / 2;
    eights *= boxes[a];
    if (t->around[a]) fits = fits && t->boxes[a] % 2 == 0 && boxes[a] % 2 == 0 && boxes[a] >= 4;
  }
  const int64_t rows = flux_lattice_rows(boxes);
  return fits && !flux_merge_wanted(plan, 1, nodes[0]) && k->several < eights / 8 &&
         rows < 2 * eights && rows < 3 * (int64_t)(k->nodes[0] + k->nodes[1]);
}
enum status flux_lattice_next_make(struct coarsening *k, int next[2]) {
  const struct flux_lattice *t = &k->from->lattice;
  struct flux_graph *to        = k->to;
  int64_t boxes[3];
  for (int a = 0; a < 3; a++) boxes[a] = (t->boxes[a] + 1) / 2;
  for (int c = 0; c < 2; c++) k->loose[c] = k->nodes[c] - k->ones[c];
  TRY(flux_lattice_make(to, boxes, 0, k->loose));
  for (int c = 0; c < 2; c++) next[c] = to->colour_start[c];
  to->real         = k->nodes[0] + k->nodes[1];
  to->lattice.most = 4 * t->most;
  memcpy(to->lattice.around, t->around, sizeof t->around);
  TRY(memory_make(to->loose, sizeof *to->place, "places", &to->place));
  memset(to->place, -1, (size_t)to->loose * sizeof *to->place);
  return STATUS_OK;
}
int32_t flux_lattice_next_row(const struct coarsening *k, const int16_t place[3]) {
  const int64_t z = place[0] >> 1, y = place[1] >> 1, x = place[2] >> 1;
  if (!k->lattice || !(*flux_lattice_tie(&k->from->lattice, z, y, x) & TIE_ONE)) return -1;
  return flux_lattice_row(&k->to->lattice, z, y, x);
}

/* ---- exceptions ---- */

/* 2 x 2 x 2 boxes that are several bodies, with the rows of the first of theirs. */
#define EACH_SEVERAL(t, k, j, i, row)                                                              \
  EACH_EIGHT(t, k, j, row)                                                                         \
  for (int32_t i = 0; i < flux_lattice_eights(t); i++)                                             \
    if (*flux_lattice_tie(t, k, j, i) & TIE_SEVERAL)

/* Side of a lattice row at which another one lies; SIDES: none. */
static int side_of(const struct flux_lattice *u, int32_t row, int32_t other) {
  int64_t at[3], step[SIDES];
  const int colour = flux_lattice_place(u, row, at);
  flux_lattice_steps(u, colour, at[0], at[1], step);
  int s = 0;
  while (s < SIDES && row + step[s] != other) s++;
  return s;
}
/* An edge of a node that went into a lattice row, where weights of the lattice before do not tell of it. Links are counted, or
 * written when there is room for them; then faces are added, too. */
static void edge_up(struct coarsening *k, int64_t e, int32_t row, int32_t col, float weight) {
  struct flux_lattice *u = &k->to->lattice;
  const int32_t other    = k->from->agg[col];
  const int side = other >= u->first[0] && other < k->to->n ? side_of(u, row, other) : SIDES;
  k->from->up[e] = other == row ? UP_INSIDE : side < SIDES ? (uint8_t)side : UP_SEARCH;
  if (other == row) return;
  if (side < SIDES) {
    uint8_t *faces = &u->faces[side][row - u->first[0]];
    if (u->link) *faces = (uint8_t)(*faces + (uint8_t)weight);
    return;
  }
  if (u->link) u->link[u->links[2]] = (struct flux_link){row, other, weight};
  u->links[2]++;
}
/* From the neighbours of 2 x 2 x 2 boxes of several bodies to these. */
static void edges_to_several(struct coarsening *k, int64_t z, int64_t y, int32_t i,
                             const int32_t row[BOX]) {
  const struct flux_graph *g   = k->from;
  const struct flux_lattice *t = &g->lattice, *u = &k->to->lattice;
  const int64_t eight[3] = {z, y, i};
  for (int s = 0; s < SIDES; s++) {
    int64_t next[3];
    if (!flux_lattice_beyond(u, eight, s, next)) continue;
    if (!(*flux_lattice_tie(t, next[0], next[1], next[2]) & TIE_ONE)) continue;
    const int32_t above = flux_lattice_row(u, next[0], next[1], next[2]);
    for (int b = 0; b < BOX; b++) {
      if (row[b] < 0 || !(flux_lattice_outward(b) >> s & 1)) continue;
      const int64_t at[3] = {2 * z + (b >> 2), 2 * y + (b >> 1 & 1), 2 * i + (b & 1)};
      int64_t over[3];
      const int32_t col   = row[b] + i;
      const uint8_t faces = t->faces[s][col - t->first[0]];
      if (!faces || !flux_lattice_beyond(t, at, s, over)) continue;
      const int32_t from = flux_lattice_row(t, over[0], over[1], over[2]);
      edge_up(k, flux_lattice_entry(t, from) + (s ^ 1) * LANES, above, col, faces);
    }
  }
}
static void exceptions_visit(struct coarsening *k) {
  const struct flux_graph *g   = k->from;
  const struct flux_lattice *t = &g->lattice;
  const int first              = k->to->lattice.first[0];
  k->to->lattice.links[2]      = 0;
  for (int l = 0; l < t->links[2]; l++) {
    const struct flux_link *link = &t->link[l];
    if (g->agg[link->row] >= first)
      edge_up(k, flux_lattice_link_entry(g, l), g->agg[link->row], link->col, link->weight);
  }
  for (int i = 0; i < g->loose; i++) {
    if (g->agg[i] < first) continue;
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      if (g->weight[e] > 0) edge_up(k, e, g->agg[i], g->col[e], g->weight[e]);
  }
  EACH_SEVERAL(t, z, y, i, row) edges_to_several(k, z, y, i, row);
}
/* Rows of the lattice before that went into others. */
static enum status strays_find(struct coarsening *k) {
  struct flux_lattice *t = &k->from->lattice;
  int n                  = 0;
  EACH_SEVERAL(t, z, y, i, row)
  n += __builtin_popcount(*flux_lattice_tie(t, z, y, i) >> TIE_NODES & 0xff);
  TRY(memory_make_raw(n, sizeof *t->stray, "lattice", &t->stray));
  EACH_SEVERAL(t, z, y, i, row)
  for (int b = 0; b < BOX; b++)
    if (flux_tie_node(*flux_lattice_tie(t, z, y, i), b)) t->stray[t->strays++] = row[b] + i;
  return STATUS_OK;
}
enum status flux_lattice_next_edges(struct coarsening *k) {
  struct flux_lattice *t = &k->from->lattice, *u = &k->to->lattice;
  EACH_SEVERAL(t, z, y, i, row) flux_lattice_leave(u, (int64_t[3]){z, y, i});
  TRY(strays_find(k));
  exceptions_visit(k);
  TRY(memory_make(u->links[2], sizeof *u->link, "links", &u->link));
  exceptions_visit(k);
  flux_lattice_finish(k->to, u->links[2]);
  return STATUS_OK;
}
