/* From boxes to the first graph: a row per node, an entry per face that it shares with another. */
#include "flux_edges.h"
#include <string.h>

/* ---- the first graph ---- */

double flux_boxes_face(const struct flux_fine *f, uint8_t in, uint8_t out, int axis) {
  if (!f->middles) return 2 * flux_boxes_count(f, in, in, axis);
  return out ? flux_boxes_count(f, in, out, axis) : 0;
}
/* side: the only one over which the two may meet; -1. Over a periodic axis of two boxes they meet on both sides. */
static void edge_add(struct edges *e, int32_t from, int32_t to, double weight, int side) {
  if (from == to) return;
  for (int i = 0; i < e->n; i++)
    if (e->edge[i].from == from && e->edge[i].to == to) {
      e->edge[i].weight += weight;
      return;
    }
  e->edge[e->n++] = (struct edge){from, to, weight, side};
}
/* Voxel by voxel over one face of a box. */
void flux_edges_slow(struct edges *e, const int64_t box[3], int s) {
  const struct flux_fine *f = e->scan->fine;
  const int a = s / 2, u = a == 0 ? 1 : 0, w = a == 2 ? 1 : 2;
  const struct flux_side *side = &f->side[s];
  for (int t = 0; t < 4; t++) {
    int64_t p[3] = {2 * box[0], 2 * box[1], 2 * box[2]};
    p[u] += t / 2;
    p[w] += t % 2;
    if (p[u] >= f->view.n[u] || p[w] >= f->view.n[w]) continue;
    if (s % 2) p[a] = p[a] + 1 < f->view.n[a] ? p[a] + 1 : p[a];
    int64_t q[3]       = {p[0], p[1], p[2]};
    q[a]               = p[a] + (s % 2 ? 1 : -1);
    const bool outside = q[a] < 0 || q[a] >= f->view.n[a];
    if (outside && side->rank == MPI_PROC_NULL) continue;
    const uint8_t mine  = f->code[voxel_at(f, p[0], p[1], p[2])];
    const uint8_t other = f->code[voxel_at(f, q[0], q[1], q[2])];
    if (!mine || !other) continue;
    int32_t to;
    if (outside && side->rank != f->rank)
      to = e->scan->fine->halo_node[s][q[u] * side->nv + q[w]];
    else {
      if (outside) q[a] = s % 2 ? 0 : f->view.n[a] - 1;
      to = flux_boxes_node(f, q[0], q[1], q[2]);
    }
    edge_add(e, flux_boxes_node(f, p[0], p[1], p[2]), to, flux_boxes_count(f, mine, other, a), -1);
  }
}
static void edges_inside(struct edges *e, const int64_t box[3]) {
  const struct flux_fine *f = e->scan->fine;
  const unsigned pattern    = e->scan->pattern[box_at(f, box[0], box[1], box[2])];
  for (int a = 0; a < BOX; a++)
    for (int b = 0; b < BOX; b++) {
      if (!(pattern >> a & 1) || !(pattern >> b & 1) || !face_apart(a, b)) continue;
      const int axis             = axis_of(a ^ b);
      const uint8_t p            = f->code[voxel_of_box(f, box[0], box[1], box[2], a)];
      const uint8_t q            = f->code[voxel_of_box(f, box[0], box[1], box[2], b)];
      const struct flux_multi *m = &f->multi[-2 - f->box_node[box_at(f, box[0], box[1], box[2])]];
      edge_add(e, m->node[p >> COMPONENT_SHIFT], m->node[q >> COMPONENT_SHIFT],
               flux_boxes_count(f, p, q, axis), -1);
    }
}
static int32_t node_in(const struct flux_fine *f, int64_t b, uint8_t code) {
  const int32_t node = f->box_node[b];
  return node >= -1 ? node : f->multi[-2 - node].node[code >> COMPONENT_SHIFT];
}
/* Faces that two neighbouring boxes share and both conduct at: bits of the lower one of each pair of lanes. */
static unsigned shared(const struct flux_scan *scan, int64_t b, int64_t c, int s) {
  const uint8_t *pattern = scan->pattern;
  return s % 2 ? common(pattern[b], pattern[c], s / 2) : common(pattern[c], pattern[b], s / 2);
}
/* Over a face of box b to box c of this rank: one edge between boxes of one component each. */
void flux_edges_across(struct edges *e, int64_t b, int64_t c, int64_t at, int s) {
  const struct flux_fine *f = e->scan->fine;
  const bool single         = f->box_node[b] >= 0 && f->box_node[c] >= -1;
  const int64_t step        = s / 2 == 0 ? f->view.plane : s / 2 == 1 ? f->view.row : 1;
  const int bit             = s % 2 ? 4 >> s / 2 : 0;
  double sum                = 0;
  for (unsigned open = shared(e->scan, b, c, s); open; open &= open - 1) {
    const int64_t p    = at + e->scan->corner[__builtin_ctz(open) | bit];
    const uint8_t mine = f->code[p], other = f->code[s % 2 ? p + step : p - step];
    const double count = flux_boxes_count(f, mine, other, s / 2);
    if (single)
      sum += count;
    else
      edge_add(e, node_in(f, b, mine), node_in(f, c, other), count, -1);
  }
  if (sum > 0) edge_add(e, f->box_node[b], f->box_node[c], sum, s);
}
/* A box of one node, none of whose neighbours comes apart or is another rank's: at most one edge per side. */
static bool is_sided(const struct flux_fine *f, const int64_t box[3], int64_t b) {
  const int64_t step[3] = {f->view.box_plane, f->view.box_row, 1};
  bool sided            = f->box_node[b] >= 0;
  for (int s = 0; s < SIDES && sided; s++) {
    const int a     = s / 2;
    const bool edge = box[a] == (s % 2 ? f->boxes[a] - 1 : 0);
    sided           = edge ? f->side[s].rank == MPI_PROC_NULL
                           : f->box_node[s % 2 ? b + step[a] : b - step[a]] >= -1;
  }
  return sided;
}
void flux_edges_of_box(struct edges *e, const int64_t box[3]) {
  const struct flux_fine *f = e->scan->fine;
  const int64_t step[3]     = {f->view.box_plane, f->view.box_row, 1};
  const int64_t b           = box_at(f, box[0], box[1], box[2]);
  const int64_t at          = voxel_at(f, 2 * box[0], 2 * box[1], 2 * box[2]);
  const int32_t node        = f->box_node[b];
  e->n                      = 0;
  e->sided                  = is_sided(f, box, b);
  for (int s = 0; s < SIDES; s++) {
    const int a     = s / 2;
    const bool edge = s % 2 ? box[a] == f->boxes[a] - 1 : box[a] == 0;
    const int64_t c = b + (s % 2 ? step[a] : -step[a]);
    if (edge && f->side[s].rank == MPI_PROC_NULL) continue;
    if (edge)
      flux_edges_slow(e, box, s);
    else
      flux_edges_across(e, b, c, at, s);
  }
  if (node < -1 && !e->scan->plain) edges_inside(e, box);
}
/* Does the box have one component, and one code? Or nothing. */
static bool is_pure(const struct flux_scan *scan, int64_t b) {
  return scan->fine->box_node[b] >= -1 && (scan->one_kind || scan->kind[b] != KIND_SEVERAL);
}
/* Such a box inside the volume, pure like all its neighbours. */
static bool is_simple(const struct flux_scan *scan, const int64_t box[3], int64_t b) {
  const struct flux_fine *f = scan->fine;
  const int64_t step[3]     = {f->view.box_plane, f->view.box_row, 1};
  bool simple               = is_pure(scan, b);
  for (int a = 0; a < 3; a++)
    simple = simple && box[a] > 0 && box[a] < f->boxes[a] - 1 && is_pure(scan, b - step[a]) &&
             is_pure(scan, b + step[a]);
  return simple;
}
static void simple_box(struct edges *e, int64_t b) {
  const struct flux_fine *f = e->scan->fine;
  struct flux_graph *g      = e->graph;
  const uint8_t *kind       = e->scan->kind;
  const int64_t step[3]     = {f->view.box_plane, f->view.box_row, 1};
  const int32_t row         = f->box_node[b];
  int64_t at                = g->slice[row / LANES] + row % LANES;
  float sum                 = 0;
  for (int s = 0; s < SIDES; s++, at += LANES) {
    const int64_t c     = s % 2 ? b + step[s / 2] : b - step[s / 2];
    const unsigned open = shared(e->scan, b, c, s);
    const double face   = kind ? f->count[s / 2][kind[b]][kind[c]] : e->face[s / 2];
    const float weight  = (float)(face * (bits_of[open & 15] + bits_of[open >> 4]));
    g->col[at]          = open ? f->box_node[c] : row;
    g->weight[at]       = weight;
    sum += weight;
  }
  g->diagonal[row] = sum;
}
void flux_edges_put(struct edges *e, uint16_t *length) {
  struct flux_graph *g = e->graph;
  for (int q = 0; q < e->n; q++) {
    const int32_t row = e->edge[q].from;
    if (g->lattice.pitch && row >= g->loose) {
      if (g->slice)
        g->lattice.link[e->links] =
            (struct flux_link){row, e->edge[q].to, (float)e->edge[q].weight};
      e->links++;
      continue;
    }
    if (g->slice) {
      const int place  = e->sided ? e->edge[q].side : length[row];
      const int64_t at = g->slice[row / LANES] + (int64_t)place * LANES + row % LANES;
      g->col[at]       = e->edge[q].to;
      g->weight[at]    = (float)e->edge[q].weight;
      g->diagonal[row] += (float)e->edge[q].weight;
    }
    length[row]++;
  }
}
static void any_box(struct edges *e, const int64_t box[3], uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  const int64_t b           = box_at(f, box[0], box[1], box[2]);
  if (!e->scan->several[b]) return;
  const bool sided = is_sided(f, box, b);
  if (sided) length[f->box_node[b]] = SIDES; /* slices are nearly always that long */
  if (sided && !e->graph->slice) return;
  if (sided && is_simple(e->scan, box, b)) {
    simple_box(e, b);
    return;
  }
  flux_edges_of_box(e, box);
  flux_edges_put(e, length);
}
/* Rows of boxes that have neighbours on all sides and none of which, nor of theirs, comes apart. */
static enum status rows_find(struct edges *e) {
  const struct flux_fine *f = e->scan->fine;
  if (!e->scan->one_kind) return STATUS_OK;
  TRY(memory_make(f->boxes[0] * f->boxes[1], 1, "rows of boxes", &e->split));
  TRY(memory_make(SIDES * f->boxes[2], 1, "rows of boxes", &e->shared));
  for (int64_t m = 0; m < f->multis; m++) e->split[f->multi[m].k * f->boxes[1] + f->multi[m].j] = 1;
  return STATUS_OK;
}
static bool row_is_simple(const struct edges *e, int64_t k, int64_t j) {
  const int64_t *n = e->scan->fine->boxes;
  if (!e->split || k == 0 || j == 0 || k == n[0] - 1 || j == n[1] - 1 || n[2] < 3) return false;
  const uint8_t *at = e->split + k * n[1] + j;
  return !(at[0] | at[-1] | at[1] | at[-n[1]] | at[n[1]]);
}
/* All but the first and the last box of such a row. */
static void simple_row(struct edges *e, int64_t k, int64_t j, uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  struct flux_graph *g      = e->graph;
  const int64_t b0 = box_at(f, k, j, 1), n = f->boxes[2] - 2;
  const int64_t step[SIDES] = {
      -f->view.box_plane, f->view.box_plane, -f->view.box_row, f->view.box_row, -1, 1};
  float weight[SIDES][BOX];
  if (!g->slice) {
    for (int64_t i = 0; i < n; i++)
      if (f->box_node[b0 + i] >= 0) length[f->box_node[b0 + i]] = SIDES;
    return;
  }
  for (int s = 0; s < SIDES; s++)
    for (int faces = 0; faces < BOX; faces++) weight[s][faces] = (float)(e->face[s / 2] * faces);
  ISA_PICK(flux_shared_faces)
  (e->scan->pattern + b0, f->view.box_plane, f->view.box_row, n, e->shared);
  for (int64_t i = 0; i < n; i++) {
    const int32_t *node = f->box_node + b0 + i, row = *node;
    if (row < 0) continue;
    const int64_t at = g->slice[row / LANES] + row % LANES;
    float sum        = 0;
    for (int s = 0; s < SIDES; s++) {
      const int faces           = e->shared[s * n + i];
      const float w             = weight[s][faces];
      g->col[at + s * LANES]    = faces ? node[step[s]] : row;
      g->weight[at + s * LANES] = w;
      sum += w;
    }
    g->diagonal[row] = sum;
  }
}
/* Every box's edges: counted into length[] or, with rows made, written. */
static void edges_visit(struct edges *e, uint16_t *length) {
  const int64_t *n = e->scan->fine->boxes;
  for (int64_t k = 0; k < n[0]; k++)
    for (int64_t j = 0; j < n[1]; j++) {
      const bool simple = row_is_simple(e, k, j);
      if (simple) simple_row(e, k, j, length);
      for (int64_t i = 0; i < n[2]; i += simple ? n[2] - 1 : 1)
        any_box(e, (int64_t[3]){k, j, i}, length);
    }
}
/* Codes of the four cells of a box at a side; 0 where there is none. */
static unsigned side_codes(const struct flux_fine *f, const struct flux_side *side, int64_t first,
                           int64_t u, int64_t w, uint8_t code[4]) {
  unsigned all = 0;
  for (int t = 0; t < 4; t++) {
    const int64_t uu = u + t / 2, ww = w + t % 2;
    const bool there = uu < side->nu && ww < side->nv;
    code[t]          = there ? f->code[first + uu * side->step_u + ww * side->step_v] : 0;
    all |= code[t];
  }
  return all;
}
/* Nodes on a side, box by box in raster order: both ranks at a border list the same ones in the same
 * order. `halo`: those of the neighbour, numbered from `first` into map; else own rows into list. */
static int side_nodes(const struct flux_fine *f, int s, int first, int32_t *map, int32_t *list) {
  const struct flux_side *side = &f->side[s];
  int n                        = 0;
  for (int64_t u = 0; u < side->nu; u += 2)
    for (int64_t w = 0; w < side->nv; w += 2) {
      uint8_t code[4];
      int found = 0, part[4];
      if (!side_codes(f, side, map ? side->outside : side->inside, u, w, code) && !map) continue;
      for (int t = 0; t < 4; t++) {
        const int64_t uu = u + t / 2, ww = w + t % 2;
        const int c = code[t] >> COMPONENT_SHIFT;
        int known   = 0;
        while (code[t] && known < found && part[known] != c) known++;
        if (map && uu < side->nu && ww < side->nv)
          map[uu * side->nv + ww] = code[t] ? first + n + known : -1;
        if (!code[t]) continue;
        if (known < found) continue;
        part[found++] = c;
        if (list) {
          int64_t at[3];
          side_place(f, s, uu, ww, at);
          list[n + known] = flux_boxes_node(f, at[0], at[1], at[2]);
        }
      }
      n += found;
    }
  return n;
}
static enum status halo_make(struct edges *e) {
  struct flux_fine *f  = e->scan->fine;
  struct flux_graph *g = e->graph;
  int sends            = 0;
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (side->rank == MPI_PROC_NULL || side->rank == f->rank) continue;
    TRY(memory_make_raw(side->nu * side->nv, sizeof(int32_t), "halo nodes", &f->halo_node[s]));
    const int q       = g->neighbours++;
    g->neighbour[q]   = side->rank;
    g->side[q]        = s;
    g->send_start[q]  = sends;
    g->ghost_start[q] = g->ghosts;
    g->ghosts += side_nodes(f, s, g->n + g->ghosts, f->halo_node[s], NULL);
    sends += side_nodes(f, s, 0, NULL, NULL);
  }
  g->send_start[g->neighbours]  = sends;
  g->ghost_start[g->neighbours] = g->ghosts;
  TRY(memory_make(sends, sizeof *g->send, "halo nodes", &g->send));
  TRY(memory_make(sends, sizeof *g->send_buffer, "halo", &g->send_buffer));
  for (int q = 0; q < g->neighbours; q++)
    side_nodes(f, g->side[q], 0, NULL, g->send + g->send_start[q]);
  return STATUS_OK;
}
static enum status faces_make(const struct flux_fine *f, struct flux_graph *g) {
  int room = 0;
  for (int s = 0; s < SIDES; s++)
    if (f->side[s].dirichlet) room += side_nodes(f, s, 0, NULL, NULL);
  TRY(memory_make(room, sizeof *g->face_node, "face nodes", &g->face_node));
  for (int h = 0; h < 2; h++)
    TRY(memory_make(room, sizeof(float), "face nodes", &g->face_weight[h]));
  float *of_node = NULL;
  TRY(memory_make(g->n, sizeof *of_node, "face nodes", &of_node));
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (!side->dirichlet) continue;
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        int64_t p[3];
        side_place(f, s, u, w, p);
        const int32_t node = flux_boxes_node(f, p[0], p[1], p[2]);
        const uint8_t code = f->code[voxel_at(f, p[0], p[1], p[2])];
        const uint8_t out  = f->code[side->outside + u * side->step_u + w * side->step_v];
        if (node >= 0) of_node[node] += (float)flux_boxes_face(f, code, out, s / 2);
      }
    const int n = side_nodes(f, s, 0, NULL, g->face_node + g->faces);
    for (int i = g->faces; i < g->faces + n; i++) {
      const int32_t node       = g->face_node[i];
      g->face_weight[s % 2][i] = of_node[node];
      g->diagonal[node] += of_node[node];
      of_node[node] = 0;
    }
    g->faces += n;
  }
  memory_free(of_node);
  return STATUS_OK;
}
static void place_set(struct flux_graph *g, int32_t row, int64_t k, int64_t j, int64_t i) {
  g->place[row][0] = (int16_t)k;
  g->place[row][1] = (int16_t)j;
  g->place[row][2] = (int16_t)i;
}
static enum status places_set(const struct flux_fine *f, struct flux_graph *g) {
  TRY(memory_make(g->loose, sizeof *g->place, "places", &g->place));
  memset(g->place, -1, (size_t)g->loose * sizeof *g->place);
  for (int64_t m = 0; m < f->multis; m++)
    for (int c = 0; c < f->multi[m].components; c++)
      place_set(g, f->multi[m].node[c], f->multi[m].k, f->multi[m].j, f->multi[m].i);
  for (int64_t k = 0; k < f->boxes[0] && !g->lattice.pitch; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int32_t row = f->box_node[box_at(f, k, j, i)];
        if (row >= 0) place_set(g, row, k, j, i);
      }
  return STATUS_OK;
}

static enum status colours_make(struct edges *e) {
  struct flux_scan *scan    = e->scan;
  struct flux_graph *g      = e->graph;
  const struct flux_fine *f = scan->fine;
  const bool lattice        = flux_lattice_fits(scan, e->nodes);
  int count[COLOURS]        = {0}, next[COLOURS];
  const int parity =
      (int)((f->mine.start[0] / 2 + f->mine.start[1] / 2 + f->mine.start[2] / 2) & 1);
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int parts = scan->several[box_at(f, k, j, i)], c = (int)((k + j + i + parity) & 1);
        if (!parts || (lattice && parts == 1)) continue;
        count[c] += scan->plain ? parts : 1;
        if (!scan->plain) count[c + 2] += parts - 1;
      }
  g->real = (int)scan->nodes;
  if (lattice) {
    TRY(flux_lattice_make(g, f->boxes, parity, count));
    g->lattice.most = 4;
    for (int a = 0; a < 3; a++) g->lattice.around[a] = f->side[2 * a].rank == f->rank;
    for (int c = 0; c < 2; c++) next[c] = g->colour_start[c];
    return flux_scan_number(scan, next, &g->lattice);
  }
  g->colours = scan->plain ? 2 : 4;
  for (int c = 0; c < g->colours; c++) {
    next[c]                = g->colour_start[c];
    g->colour_start[c + 1] = g->colour_start[c] + (count[c] + LANES - 1) / LANES * LANES;
  }
  g->n = g->loose = g->colour_start[g->colours];
  return flux_scan_number(scan, next, NULL);
}
static enum status all_edges(struct edges *e, uint16_t *length) {
  TRY(rows_find(e));
  edges_visit(e, length);
  TRY(flux_graph_rows(e->graph, length));
  memset(length, 0, (size_t)e->graph->n * sizeof *length);
  edges_visit(e, length);
  return STATUS_OK;
}
static enum status first_graph(struct edges *e, uint16_t **length) {
  struct flux_graph *g = e->graph;
  TRY(fault_here("flux.graph"));
  TRY(colours_make(e));
  TRY(halo_make(e));
  TRY(memory_make(g->loose, sizeof **length, "row lengths", length));
  TRY(places_set(e->scan->fine, g));
  TRY(g->lattice.pitch ? flux_lattice_edges(e, *length) : all_edges(e, *length));
  TRY(faces_make(e->scan->fine, g));
  flux_graph_pad(g);
  return STATUS_OK;
}
/* A face at what is fixed counts twice, also that of a voxel without another. */
static void fixed_add(const struct flux_fine *f, int64_t k, int64_t j, const uint8_t *code,
                      uint8_t *row) {
  const int64_t *n = f->view.n, at[2] = {k, j};
  for (int s = 0; s < SIDES; s++) {
    const int a          = s / 2;
    const int64_t border = s % 2 ? n[a] - 1 : 0;
    if (!f->side[s].dirichlet || f->middles || (a < 2 && at[a] != border)) continue;
    const int64_t first = a == 2 ? border : 0, end = a == 2 ? border + 1 : n[2];
    for (int64_t i = first; i < end; i++)
      if (code[i]) row[i] = (uint8_t)(row[i] + 2);
  }
}
/* Codes become sums of open faces, or get their Dirichlet halo. */
static enum status codes_finish(struct flux_fine *f) {
  const struct flux_view *v = &f->view;
  uint8_t *row              = NULL;
  TRY(memory_make(v->n[2] + PAD, 1, "row", &row));
  for (int64_t k = 0; v->uniform && k < v->n[0]; k++)
    for (int64_t j = 0; j < v->n[1]; j++) {
      uint8_t *code = f->code + voxel_at(f, k, j, 0);
      ISA_PICK(flux_open_faces)(code, v->row, v->plane, v->n[2], row);
      fixed_add(f, k, j, code, row);
      memcpy(code, row, (size_t)v->n[2]);
    }
  memory_free(row);
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (v->uniform || f->middles || !side->dirichlet) continue;
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++)
        f->code[side->outside + u * side->step_u + w * side->step_v] = FLUX_CODE_FACE;
  }
  flux_fine_faces(f, 1);
  return STATUS_OK;
}
enum status flux_boxes_graph(MPI_Comm comm, const struct flux_case *problem, struct flux_fine *fine,
                             struct flux_answer *answer, struct flux_graph *graph) {
  struct flux_scan scan;
  struct edges *e  = NULL;
  uint16_t *length = NULL;
  graph->comm      = comm;
  graph->team      = fine->size == 1 ? MPI_COMM_SELF : comm;
  enum status s    = AGREE(comm, flux_scan_make(&scan, fine));
  if (s == STATUS_OK) s = AGREE(comm, memory_make(1, sizeof *e, "edges", &e));
  if (s != STATUS_OK) goto done;
  s = flux_percolate(comm, problem, &scan, answer);
  if (s != STATUS_OK) goto done;
  e->scan  = &scan;
  e->graph = graph;
  for (int a = 0; a < 3; a++) {
    const uint8_t one = (uint8_t)fine->first_kind;
    e->face[a]        = flux_boxes_count(fine, one, one, a);
  }
  e->nodes = scan.nodes;
  MPI_Allreduce(MPI_IN_PLACE, &e->nodes, 1, MPI_INT64_T, MPI_SUM, comm);
  flux_layers_count(fine, true, answer->percolating);
  MPI_Allreduce(MPI_IN_PLACE, answer->percolating, FLUX_CODES, MPI_INT64_T, MPI_SUM, comm);
  flux_fine_swap_codes(fine);
  s = AGREE(comm, first_graph(e, &length));
  if (s == STATUS_OK) s = AGREE(comm, codes_finish(fine));
  if (s == STATUS_OK) flux_fine_swap_codes(fine);
done:
  if (e) {
    memory_free(e->split);
    memory_free(e->shared);
  }
  memory_free(e);
  memory_free(length);
  flux_scan_free(&scan);
  return s;
}
