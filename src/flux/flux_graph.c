/* Graph levels: rows in slices, coarsening by connected components of boxes, halo. */
#include "flux_coarsen.h"
#include <string.h>

/* Slices as long as their longest row; unused entries point at their own row with weight 0. */
enum status flux_graph_rows(struct flux_graph *g, const uint16_t *length) {
  TRY(memory_make(g->n / LANES + 1, sizeof *g->slice, "slices", &g->slice));
  if (!g->lattice.pitch) g->loose = g->n;
  for (int s = 0; s < g->n / LANES; s++) {
    int longest = s < g->loose / LANES ? 0 : SIDES;
    for (int l = 0; l < LANES && s < g->loose / LANES; l++)
      if (length[s * LANES + l] > longest) longest = length[s * LANES + l];
    g->slice[s + 1] = g->slice[s] + (int64_t)longest * LANES;
  }
  const int64_t entries = g->slice[g->loose / LANES];
  g->lattice.entry      = entries;
  TRY(memory_make_raw(entries, sizeof *g->col, "graph", &g->col));
  TRY(memory_make(entries, sizeof *g->weight, "graph", &g->weight));
  for (int s = 0; s < g->loose / LANES; s++)
    for (int64_t e = g->slice[s]; e < g->slice[s + 1]; e++)
      g->col[e] = s * LANES + (int32_t)(e % LANES);
  TRY(memory_make(g->n, sizeof *g->diagonal, "graph", &g->diagonal));
  const int64_t all = (int64_t)g->n + g->ghosts + LANES;
  TRY(memory_make(all, sizeof *g->x, "graph vector", &g->x));
  TRY(memory_make(all, sizeof *g->b, "graph vector", &g->b));
  TRY(memory_make(all, sizeof *g->c, "graph vector", &g->c));
  TRY(memory_make(all, sizeof *g->r, "graph vector", &g->r));
  return memory_make(all, sizeof *g->v, "graph vector", &g->v);
}
void flux_graph_free(struct flux_graph *g) {
  void *const owned[] = {g->slice,
                         g->col,
                         g->weight,
                         g->diagonal,
                         g->agg,
                         g->place,
                         g->face_node,
                         g->face_weight[0],
                         g->face_weight[1],
                         g->x,
                         g->b,
                         g->c,
                         g->v,
                         g->r,
                         g->send,
                         g->send_buffer,
                         g->entry_flux,
                         g->face_flux[0],
                         g->face_flux[1],
                         g->load,
                         g->tree,
                         g->degree,
                         g->linked,
                         g->up};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) memory_free(owned[i]);
  flux_lattice_free(&g->lattice);
  *g = (struct flux_graph){0};
}
static int64_t find_in_lattice(const struct flux_graph *g, int32_t row, int32_t col) {
  const struct flux_lattice *t = &g->lattice;
  int64_t at[3], step[SIDES];
  const int colour = flux_lattice_place(t, row, at);
  flux_lattice_steps(t, colour, at[0], at[1], step);
  for (int s = 0; s < SIDES; s++)
    if (row + step[s] == col && t->faces[s][row - t->first[0]])
      return flux_lattice_entry(t, row) + s * LANES;
  for (int l = flux_lattice_link(t, row); l < t->links[2] && t->link[l].row == row; l++)
    if (t->link[l].col == col) return flux_lattice_link_entry(g, l);
  return -1;
}
int64_t flux_graph_find(const struct flux_graph *g, int row, int32_t col) {
  if (row >= g->loose) return find_in_lattice(g, row, col);
  const int64_t end = g->slice[row / LANES + 1];
  for (int64_t e = g->slice[row / LANES] + row % LANES; e < end; e += LANES)
    if (g->col[e] == col && g->weight[e] > 0) return e;
  return -1;
}
/* Four-byte values of nodes on rank borders go to the neighbours' ghosts. */
static void swap_words(struct flux_graph *g, void *vector, bool count) {
  uint32_t *x = vector, *buffer = (uint32_t *)g->send_buffer;
  MPI_Request request[2 * SIDES];
  int n = 0;
  for (int q = 0; q < g->neighbours; q++) {
    const int from = g->send_start[q], to = g->send_start[q + 1];
    const int first = g->ghost_start[q], ghosts = g->ghost_start[q + 1] - first;
    for (int i = from; i < to; i++) buffer[i] = x[g->send[i]];
    MPI_Irecv(x + g->n + first, ghosts, MPI_UINT32_T, g->neighbour[q], g->side[q] ^ 1, g->comm,
              &request[n++]);
    MPI_Isend(buffer + from, to - from, MPI_UINT32_T, g->neighbour[q], g->side[q], g->comm,
              &request[n++]);
    if (count) {
      g->messages++;
      g->message_bytes += 4 * (int64_t)(to - from);
    }
  }
  MPI_Waitall(n, request, MPI_STATUSES_IGNORE);
}
void flux_graph_swap(struct flux_graph *g, float *x) { swap_words(g, x, true); }
void flux_graph_swap_numbers(struct flux_graph *g, int32_t *number) {
  swap_words(g, number, false);
}

/* ---- coarsening ---- */

/* An edge is strong when it is not weaker than this times the largest of either end. */
static const float strong = 0.1F;

/* Of a node's box, as four 16-bit numbers. */
static uint64_t place_of(const struct flux_graph *g, int row) {
  int16_t place[4] = {0, 0, 0, -1};
  int64_t at[3];
  uint64_t all;
  if (row >= g->loose) {
    flux_lattice_place(&g->lattice, row, at);
    for (int a = 0; a < 3; a++) place[a] = (int16_t)at[a];
  }
  memcpy(&all, row < g->loose ? g->place[row] : place, sizeof all);
  return all;
}
/* Places differ in their last bits at most. */
static bool same_box(const struct flux_graph *g, int a, int b) {
  const uint64_t p = place_of(g, a), q = place_of(g, b);
  return ((p ^ q) & 0xfffefffefffefffe) == 0;
}
static bool is_node(const struct flux_graph *g, int row) { return g->place[row][0] >= 0; }
/* Largest weight of each row, when it matters. */
static enum status strength_find(struct coarsening *k) {
  const struct flux_graph *g = k->from;
  if (!k->by_strength) return STATUS_OK;
  TRY(memory_make(g->n, sizeof *k->largest, "strength", &k->largest));
  for (int i = 0; i < g->n; i++)
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      if (g->weight[e] > k->largest[i]) k->largest[i] = g->weight[e];
  return STATUS_OK;
}
static bool is_strong(const struct coarsening *k, int i, int j, float weight) {
  if (!k->by_strength) return true;
  const float most = k->largest[i] > k->largest[j] ? k->largest[i] : k->largest[j];
  return weight >= strong * most;
}
/* A node without any strong edge goes to the neighbour in its box that it is tied to most: to one only,
 * so it cannot weld two bodies. */
static void join_weak(struct coarsening *k) {
  struct flux_graph *g = k->from;
  for (int i = 0; i < g->n; i++) {
    int best        = -1;
    float most      = 0;
    bool strong_one = false;
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES) {
      const int32_t j = g->col[e];
      if (!(g->weight[e] > 0) || j >= g->n) continue;
      strong_one = strong_one || is_strong(k, i, j, g->weight[e]);
      if (!same_box(g, i, j) || g->weight[e] <= most) continue;
      best = j;
      most = g->weight[e];
    }
    if (strong_one || best < 0) continue;
    flux_tree_join(g, k->parent, i, best);
  }
}
/* Joins nodes of one box; the joining edges form trees, kept for the certificate. */
static void join_in_boxes(struct coarsening *k) {
  struct flux_graph *g = k->from;
  for (int i = 0; i < g->loose; i++) k->parent[i] = i;
  if (g->lattice.pitch) flux_lattice_join(k);
  for (int i = 0; i < g->loose; i++)
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES) {
      const int32_t j = g->col[e];
      if (j >= g->n || j <= i || g->weight[e] <= 0 || !same_box(g, i, j)) continue;
      if (!is_strong(k, i, j, g->weight[e])) continue;
      flux_tree_join(g, k->parent, i, j);
    }
  if (k->by_strength) join_weak(k);
}
static int colour_of(const struct flux_graph *from, int row) {
  return ((from->place[row][0] >> 1) + (from->place[row][1] >> 1) + (from->place[row][2] >> 1)) & 1;
}
enum status flux_graph_colour(struct flux_graph *g, const int count[2], int next[2]) {
  g->colours         = 2;
  g->real            = count[0] + count[1];
  g->colour_start[1] = (count[0] + LANES - 1) / LANES * LANES;
  g->colour_start[2] = g->colour_start[1] + (count[1] + LANES - 1) / LANES * LANES;
  g->n               = g->colour_start[2];
  for (int c = 0; c < 2; c++) next[c] = g->colour_start[c];
  TRY(memory_make(g->n, sizeof *g->place, "places", &g->place));
  memset(g->place, -1, (size_t)g->n * sizeof *g->place);
  return STATUS_OK;
}
static void rows_count(struct coarsening *k) {
  struct flux_graph *g = k->from;
  for (int i = 0; i < g->loose; i++) {
    if (!is_node(g, i) || k->parent[i] != i) continue;
    k->nodes[colour_of(g, i)]++;
    if (g->lattice.pitch) flux_lattice_count_loose(k, g->place[i]);
  }
  for (int c = 0; c < 2; c++) k->loose[c] = k->nodes[c];
  if (g->lattice.pitch) flux_lattice_count(k);
}
/* New rows, colour by colour in the order of their first children; agg of own nodes. */
static enum status rows_number(struct coarsening *k) {
  struct flux_graph *g = k->from, *to = k->to;
  int next[2];
  if (k->lattice)
    TRY(flux_lattice_next_make(k, next));
  else
    TRY(flux_graph_colour(to, k->nodes, next));
  for (int i = 0; i < g->n; i++) g->agg[i] = -1;
  for (int i = 0; i < g->loose; i++) {
    if (!is_node(g, i) || k->parent[i] != i) continue;
    g->agg[i] = flux_lattice_next_row(k, g->place[i]);
    if (g->agg[i] >= 0) continue;
    const int row = next[colour_of(g, i)]++;
    g->agg[i]     = row;
    for (int a = 0; a < 3; a++) to->place[row][a] = (int16_t)(g->place[i][a] >> 1);
  }
  for (int i = 0; i < g->loose; i++)
    if (is_node(g, i)) g->agg[i] = g->agg[flux_root(k->parent, i)];
  if (g->lattice.pitch) flux_lattice_number(k, next);
  return STATUS_OK;
}
/* What the new graph sends: distinct parents of the nodes sent, in order of appearance, in which the neighbour finds its
 * ghosts, too. slot[] (by row) is 0 before and after. */
static enum status halo_number(struct coarsening *k) {
  struct flux_graph *g = k->from, *to = k->to;
  flux_graph_swap_numbers(g, g->agg);
  TRY(memory_make(g->send_start[g->neighbours], sizeof *to->send, "halo nodes", &to->send));
  TRY(memory_make(g->send_start[g->neighbours], sizeof *to->send_buffer, "halo", &to->send_buffer));
  to->neighbours = g->neighbours;
  int sends      = 0;
  for (int q = 0; q < g->neighbours; q++) {
    to->neighbour[q]  = g->neighbour[q];
    to->side[q]       = g->side[q];
    to->send_start[q] = sends;
    for (int i = g->send_start[q]; i < g->send_start[q + 1]; i++) {
      const int32_t row = g->agg[g->send[i]];
      if (k->slot[row]) continue;
      k->slot[row]      = 1;
      to->send[sends++] = row;
    }
    for (int i = to->send_start[q]; i < sends; i++) k->slot[to->send[i]] = 0;
  }
  to->send_start[g->neighbours] = sends;
  return STATUS_OK;
}
/* Parents of ghosts, which are rows of other ranks, become halo rows of the new graph: seen[] by such a row, where a
 * value from before this neighbour's is another rank's. */
static enum status ghosts_number(struct coarsening *k) {
  struct flux_graph *g = k->from, *to = k->to;
  int32_t most = 0;
  for (int i = 0; i < g->ghosts; i++)
    if (g->agg[g->n + i] > most) most = g->agg[g->n + i];
  int32_t *seen = NULL;
  TRY(memory_make((int64_t)most + 1, sizeof *seen, "halo nodes", &seen));
  to->ghosts = 0;
  for (int q = 0; q < g->neighbours; q++) {
    to->ghost_start[q] = to->ghosts;
    for (int i = g->ghost_start[q]; i < g->ghost_start[q + 1]; i++) {
      int32_t *agg = &g->agg[g->n + i];
      if (seen[*agg] <= to->ghost_start[q]) seen[*agg] = ++to->ghosts;
      *agg = to->n + seen[*agg] - 1;
    }
  }
  to->ghost_start[g->neighbours] = to->ghosts;
  memory_free(seen);
  return STATUS_OK;
}
static enum status children_list(struct coarsening *k) {
  const struct flux_graph *g = k->from;
  const int rows             = k->lattice ? k->to->colour_start[2] : k->to->n;
  TRY(memory_make_raw(rows, sizeof *k->first, "children", &k->first));
  TRY(memory_make_raw(g->n, sizeof *k->next, "children", &k->next));
  for (int r = 0; r < rows; r++) k->first[r] = -1;
  if (g->lattice.pitch) flux_lattice_children(k);
  for (int i = g->loose - 1; i >= 0; i--) {
    if (g->agg[i] < 0 || g->agg[i] >= rows) continue;
    k->next[i]          = k->first[g->agg[i]];
    k->first[g->agg[i]] = i;
  }
  return STATUS_OK;
}
enum status flux_entries_grow(struct coarsening *k) {
  const int64_t rows   = k->lattice ? k->to->loose : k->to->real;
  const int64_t wanted = k->room ? 2 * k->room : 11 * rows + 1024;
  const int64_t room   = wanted < INT32_MAX ? wanted : INT32_MAX; /* places in it are int32_t */
  int32_t *col         = NULL;
  double *weight       = NULL;
  if (k->room == room)
    return FAIL(STATUS_MEMORY, "flux: %lld edges in one rank's graph; use more ranks",
                (long long)wanted);
  TRY(memory_make_raw(room, sizeof *col, "graph", &col));
  enum status s = memory_make_raw(room, sizeof *weight, "graph", &weight);
  if (s == STATUS_OK && k->room) {
    memcpy(col, k->col, (size_t)k->room * sizeof *col);
    memcpy(weight, k->weight, (size_t)k->room * sizeof *weight);
  }
  if (s != STATUS_OK) {
    memory_free(col);
    return s;
  }
  memory_free(k->col);
  memory_free(k->weight);
  k->col    = col;
  k->weight = weight;
  k->room   = room;
  return STATUS_OK;
}
static enum status children_sum(struct coarsening *k, int32_t start, int32_t *n, int i) {
  const struct flux_graph *g = k->from;
  for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
    if (g->weight[e] > 0) TRY(flux_entry_sum(k, start, n, e, g->col[e], (double)g->weight[e]));
  return STATUS_OK;
}
static enum status rows_sum(struct coarsening *k) {
  const struct flux_graph *g = k->from, *to = k->to;
  int32_t n = 0;
  for (int c = 0; c < 2; c++) {
    const bool lattice = g->lattice.pitch > 0;
    const int end      = lattice ? to->colour_start[c] + k->loose[c] : to->colour_start[c + 1];
    for (int row = to->colour_start[c]; row < end; row++) {
      const int32_t start = n;
      if (k->first[row] < 0) continue;
      TRY(flux_row_begin(k, row, &n));
      for (int i = k->first[row]; i >= 0; i = k->next[i])
        TRY(i < g->loose ? children_sum(k, start, &n, i) : flux_lattice_sum_child(k, start, &n, i));
      TRY(flux_row_end(k, row, start, n));
    }
    if (lattice && !k->lattice) TRY(flux_lattice_sum(k, c, &n));
  }
  return STATUS_OK;
}
static void rows_write(const struct coarsening *k) {
  struct flux_graph *to = k->to;
  int64_t from          = 0;
  for (int row = 0; row < to->loose; row++) {
    double sum = 0;
    int64_t e  = to->slice[row / LANES] + row % LANES;
    if (is_node(to, row)) from++;
    for (int m = 0; m < k->length[row]; m++, e += LANES, from++) {
      to->col[e]    = k->col[from];
      to->weight[e] = (float)k->weight[from];
      sum += k->weight[from];
    }
    to->diagonal[row] = (float)sum;
  }
}
static enum status faces_sum(struct coarsening *k) {
  const struct flux_graph *g = k->from;
  struct flux_graph *to      = k->to;
  float *sum[2]              = {NULL, NULL};
  enum status s = memory_make(g->faces, sizeof *to->face_node, "face nodes", &to->face_node);
  for (int h = 0; h < 2 && s == STATUS_OK; h++) {
    s = memory_make(g->faces, sizeof(float), "face nodes", &to->face_weight[h]);
    if (s == STATUS_OK) s = memory_make(to->n, sizeof(float), "face nodes", &sum[h]);
  }
  if (s != STATUS_OK) goto done;
  for (int i = 0; i < g->faces; i++)
    for (int h = 0; h < 2; h++) sum[h][g->agg[g->face_node[i]]] += g->face_weight[h][i];
  for (int i = 0; i < g->faces; i++) {
    const int32_t row = g->agg[g->face_node[i]];
    if (sum[0][row] + sum[1][row] <= 0) continue;
    to->face_node[to->faces] = row;
    for (int h = 0; h < 2; h++) {
      to->face_weight[h][to->faces] = sum[h][row];
      to->diagonal[row] += sum[h][row];
      sum[h][row] = 0;
    }
    to->faces++;
  }
done:
  memory_free(sum[0]);
  memory_free(sum[1]);
  return s;
}
static enum status up_make(struct flux_graph *g) {
  const int64_t own = g->lattice.entry, all = flux_lattice_link_entry(g, g->lattice.links[2]);
  TRY(memory_make_raw(all, 1, "flux of edges", &g->up));
  memset(g->up + own, UP_INSIDE, (size_t)(all - own));
  return STATUS_OK;
}
static enum status coarsen_begin(struct coarsening *k) {
  struct flux_graph *g = k->from;
  TRY(fault_here("flux.coarsen"));
  TRY(memory_make_raw(g->n, sizeof *k->parent, "components", &k->parent));
  TRY(memory_make_raw((int64_t)g->n + g->ghosts, sizeof *g->agg, "parents", &g->agg));
  TRY(memory_make_raw(2 * (int64_t)g->n, sizeof *g->tree, "trees", &g->tree));
  g->tree_edges = 0;
  TRY(strength_find(k));
  TRY(up_make(g));
  join_in_boxes(k);
  rows_count(k);
  return STATUS_OK;
}
static enum status coarsen_go_on(struct coarsening *k) {
  const struct flux_graph *g = k->from;
  TRY(rows_number(k));
  return memory_make((int64_t)k->to->n + g->ghosts + 1, sizeof *k->slot, "marks", &k->slot);
}
static enum status coarsen_end(struct coarsening *k) {
  struct flux_graph *to = k->to;
  TRY(ghosts_number(k));
  TRY(children_list(k));
  TRY(memory_make(to->n, sizeof *k->length, "row lengths", &k->length));
  if (k->lattice) ISA_PICK(flux_lattice_fold)(k->from, to);
  TRY(rows_sum(k));
  TRY(flux_graph_rows(to, k->length));
  rows_write(k);
  if (k->lattice) TRY(flux_lattice_next_edges(k));
  return faces_sum(k);
}
void flux_graph_pad(struct flux_graph *g) {
  for (int i = 0; i < g->n; i++)
    if (!(g->diagonal[i] > 0)) g->diagonal[i] = 1e30F;
}
enum status flux_graph_coarsen(MPI_Comm comm, const struct grid_plan *plan, struct flux_graph *from,
                               bool by_strength, struct flux_graph *to) {
  struct coarsening k = {.from = from, .to = to, .by_strength = by_strength};
  to->comm            = comm;
  to->team            = from->team;
  enum status s       = AGREE(comm, coarsen_begin(&k));
  int64_t nodes[2]    = {k.nodes[0] + k.nodes[1], from->real};
  if (s == STATUS_OK) {
    MPI_Allreduce(MPI_IN_PLACE, nodes, 2, MPI_INT64_T, MPI_SUM, comm);
    k.lattice = flux_lattice_goes_on(&k, plan, nodes);
    s         = AGREE(comm, coarsen_go_on(&k));
  }
  if (s == STATUS_OK) s = AGREE(comm, halo_number(&k));
  if (s == STATUS_OK) s = AGREE(comm, coarsen_end(&k));
  if (s == STATUS_OK) flux_graph_pad(to);
  memory_free(k.parent);
  memory_free(k.first);
  memory_free(k.next);
  memory_free(k.slot);
  memory_free(k.length);
  memory_free(k.largest);
  memory_free(k.col);
  memory_free(k.weight);
  return s;
}
