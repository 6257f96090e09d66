/* From boxes to a first graph that is a lattice: faces of neighbours row by row, then the exceptions. */
#include "flux_edges.h"
#include <string.h>

/* Is a lattice worth its rows where nothing conducts? Over a periodic border of this rank its rows must meet the other colour,
 * and other boxes than their neighbours; small graphs may be merged or solved at once. */
bool flux_lattice_fits(const struct flux_scan *scan, int64_t nodes) {
  const struct flux_fine *f = scan->fine;
  const int64_t boxes       = f->boxes[0] * f->boxes[1] * f->boxes[2];
  const int64_t rows        = flux_lattice_rows(f->boxes);
  bool fits = f->view.uniform && nodes >= LATTICE_NODES && !flux_merge_wanted(&f->plan, 1, nodes);
  for (int a = 0; a < 3; a++)
    if (f->side[2 * a].rank == f->rank)
      fits = fits && f->view.n[a] % 2 == 0 && f->boxes[a] % 2 == 0 && f->boxes[a] >= 4;
  return fits && rows < INT32_MAX / 4 && rows < 3 * scan->nodes && scan->multis < boxes / 16;
}
/* Faces between neighbours, as if all boxes were one node each. */
static void lattice_faces(struct edges *e, int64_t k, int64_t j) {
  const struct flux_scan *scan = e->scan;
  const struct flux_fine *f    = scan->fine;
  struct flux_lattice *t       = &e->graph->lattice;
  const int64_t place[2] = {k, j}, step[2] = {f->view.box_plane, f->view.box_row};
  const int64_t n = f->boxes[2], b = box_at(f, k, j, 0);
  const uint8_t *own = scan->pattern + b;
  const int32_t even = flux_lattice_row(t, k, j, 0) - t->first[0],
                odd  = flux_lattice_row(t, k, j, 1) - t->first[0];
  for (int s = 0; s < 4; s++) {
    const int a = s / 2;
    if (s % 2 ? place[a] == f->boxes[a] - 1 : place[a] == 0) continue;
    const uint8_t *other = s % 2 ? own + step[a] : own - step[a];
    ISA_PICK(flux_common_faces)
    (s % 2 ? own : other, s % 2 ? other : own, a, n, t->faces[s] + even, t->faces[s] + odd);
  }
  ISA_PICK(flux_common_faces)
  (own, own + 1, 2, n - 1, t->faces[4] + odd, t->faces[4] + even + 1);
  ISA_PICK(flux_common_faces)(own, own + 1, 2, n - 1, t->faces[5] + even, t->faces[5] + odd);
  for (int64_t i = 0; i < n; i++)
    t->kind[(i % 2 ? odd : even) + i / 2] = scan->several[b + i] == 1 ? LATTICE_NODE : 0;
}
/* Edges of boxes that come apart, and their neighbours' towards them. */
static void multi_visit(struct edges *e, const struct flux_multi *m, uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  const int64_t step[3]     = {f->view.box_plane, f->view.box_row, 1};
  const int64_t box[3]      = {m->k, m->j, m->i};
  flux_edges_of_box(e, box);
  flux_edges_put(e, length);
  for (int s = 0; s < SIDES; s++) {
    int64_t beyond[3] = {m->k, m->j, m->i};
    const int64_t c   = s % 2 ? m->box + step[s / 2] : m->box - step[s / 2];
    beyond[s / 2] += s % 2 ? 1 : -1;
    if (beyond[s / 2] < 0 || beyond[s / 2] >= f->boxes[s / 2] || f->box_node[c] < 0) continue;
    e->n = 0;
    flux_edges_across(e, c, m->box, voxel_at(f, 2 * beyond[0], 2 * beyond[1], 2 * beyond[2]),
                      s ^ 1);
    flux_edges_put(e, length);
  }
}
/* Edges over a border of this rank to another, or to its own other side. */
static void border_visit(struct edges *e, int s, uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  const int a = s / 2, u = a == 0 ? 1 : 0, w = a == 2 ? 1 : 2;
  if (f->side[s].rank == MPI_PROC_NULL) return;
  for (int64_t p = 0; p < f->boxes[u]; p++)
    for (int64_t q = 0; q < f->boxes[w]; q++) {
      int64_t box[3];
      box[a] = s % 2 ? f->boxes[a] - 1 : 0;
      box[u] = p;
      box[w] = q;
      if (f->box_node[box_at(f, box[0], box[1], box[2])] < 0) continue;
      e->n = 0;
      flux_edges_slow(e, box, s);
      flux_edges_put(e, length);
    }
}
static void lattice_visit(struct edges *e, uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  e->links                  = 0;
  for (int64_t m = 0; m < f->multis; m++) multi_visit(e, &f->multi[m], length);
  for (int s = 0; s < SIDES; s++) border_visit(e, s, length);
}
enum status flux_lattice_edges(struct edges *e, uint16_t *length) {
  struct flux_graph *g      = e->graph;
  const struct flux_fine *f = e->scan->fine;
  lattice_visit(e, length);
  TRY(flux_graph_rows(g, length));
  TRY(memory_make(e->links, sizeof *g->lattice.link, "links", &g->lattice.link));
  memset(length, 0, (size_t)g->loose * sizeof *length);
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) lattice_faces(e, k, j);
  for (int64_t m = 0; m < f->multis; m++)
    flux_lattice_leave(&g->lattice, (int64_t[3]){f->multi[m].k, f->multi[m].j, f->multi[m].i});
  lattice_visit(e, length);
  flux_lattice_finish(g, e->links);
  return STATUS_OK;
}
