/* Carries a load out of a graph without any rest, at small cost: first along the last coarse
 * correction z (flux w (z_a - z_b)); what that leaves is summed to the aggregates and carried by the
 * next graph, its edges' flux is split over the edges that make them up by conductance, and what is
 * then unbalanced inside an aggregate goes along a spanning tree of it. The last graph is solved
 * exactly. An edge's flux is computed alike, with opposite sign, from both of its ends, on any rank. */
#include "flux_lattice.h"
#include <string.h>

static enum status graph_prepare(struct flux_graph *g) {
  if (g->entry_flux) return STATUS_OK;
  TRY(memory_make_raw(flux_lattice_link_entry(g, g->lattice.links[2]), sizeof(float),
                      "flux of edges", &g->entry_flux));
  TRY(memory_make((int64_t)g->n + g->ghosts, sizeof(double), "load", &g->load));
  for (int h = 0; h < 2; h++)
    TRY(memory_make(g->faces, sizeof(double), "flux of faces", &g->face_flux[h]));
  TRY(memory_make(g->n, sizeof *g->degree, "trees", &g->degree));
  return memory_make(g->n, sizeof *g->linked, "trees", &g->linked);
}
static enum status prepare_all(struct flux_levels *levels) {
  TRY(fault_here("flux.route"));
  for (int i = 0; i < levels->graphs; i++) TRY(graph_prepare(&levels->graph[i]));
  return STATUS_OK;
}
enum status flux_route_make(MPI_Comm comm, struct flux_levels *levels) {
  return AGREE(comm, prepare_all(levels));
}
#define ENTRIES(g, i, e)                                                                           \
  for (int64_t e = (g)->slice[(i) / LANES] + (i) % LANES; e < (g)->slice[(i) / LANES + 1];         \
       e += LANES)

/* The faces' part of the flux along a potential. */
static void carry_to_faces(struct flux_graph *g, const float *z, double scale) {
  for (int f = 0; f < g->faces; f++)
    for (int h = 0; h < 2; h++) {
      if (!(g->face_weight[h][f] > 0)) continue;
      g->face_flux[h][f] = scale * (double)z[g->face_node[f]];
      g->load[g->face_node[f]] -= g->face_flux[h][f] * (double)g->face_weight[h][f];
    }
}
static void carry_coarsest(struct flux_levels *levels, struct flux_graph *g) {
  double *y = levels->coarsest[0], *sum = levels->coarsest[1];
  for (int i = 0; i < g->n; i++) y[i] = g->load[i];
  flux_levels_coarsest(levels, y);
  memset(sum, 0, (size_t)g->n * sizeof *sum);
  for (int step = 0; step < 3; step++) {
    for (int i = 0; i < g->n; i++) sum[i] += y[i];
    for (int i = 0; i < g->n; i++) {
      y[i] = g->load[i];
      ENTRIES(g, i, e) y[i] -= (double)g->weight[e] * (sum[i] - sum[g->col[e]]);
    }
    for (int f = 0; f < g->faces; f++)
      for (int h = 0; h < 2; h++)
        y[g->face_node[f]] -= (double)g->face_weight[h][f] * sum[g->face_node[f]];
    flux_levels_coarsest(levels, y);
  }
  for (int i = 0; i < g->n; i++)
    ENTRIES(g, i, e) g->entry_flux[e] = (float)(sum[i] - sum[g->col[e]]);
  for (int f = 0; f < g->faces; f++)
    for (int h = 0; h < 2; h++) g->face_flux[h][f] = sum[g->face_node[f]];
}
static void carry(struct flux_levels *levels, int at, double potential);

static void carry_merged(struct flux_levels *levels, struct flux_merge *w, int at,
                         double potential) {
  struct flux_graph *g = &levels->graph[at], *next = g + 1;
  if (w->group == MPI_COMM_NULL) return;
  flux_merge_load_down(w, g, next);
  if (w->leads) carry(levels, at + 1, 0);
  flux_merge_flux_up(w, g, next, potential);
}
/* The next graph's flux comes down to edges between aggregates and to faces. */
static void split_flux(struct flux_graph *g, const struct flux_graph *next, const float *z,
                       double scale, int32_t *face_of) {
  flux_graph_split(g, next, z, scale);
  for (int f = 0; f < next->faces; f++) face_of[next->face_node[f]] = f;
  for (int f = 0; f < g->faces; f++)
    for (int h = 0; h < 2; h++) {
      if (!(g->face_weight[h][f] > 0)) continue;
      const double flux = next->face_flux[h][face_of[g->agg[g->face_node[f]]]];
      g->face_flux[h][f] += flux;
      g->load[g->face_node[f]] -= flux * (double)g->face_weight[h][f];
    }
}
/* Leaves of the trees give their load to the only node they are tied to; linked[] is the exclusive
 * or of a node's tree neighbours, which for a leaf is that node. */
static void carry_leaf(struct flux_graph *g, int leaf) {
  while (g->degree[leaf] == 1) {
    const int to    = g->linked[leaf];
    const double q  = g->load[leaf];
    const int64_t e = flux_graph_find(g, leaf, to);
    g->entry_flux[e] += (float)(q / flux_graph_weight(g, leaf, e));
    g->entry_flux[flux_graph_find(g, to, leaf)] = -g->entry_flux[e];
    g->load[leaf]                               = 0;
    g->load[to] += q;
    g->degree[leaf] = 0;
    g->degree[to]--;
    g->linked[to] ^= leaf;
    leaf = to;
  }
}
static void carry_trees(struct flux_graph *g) {
  if (g->lattice.pitch) flux_lattice_trees(g);
  for (int t = 0; t < 2 * g->tree_edges; t++) g->degree[g->tree[t]] = g->linked[g->tree[t]] = 0;
  for (int t = 0; t < g->tree_edges; t++) {
    const int a = g->tree[2 * t], b = g->tree[2 * t + 1];
    g->degree[a]++;
    g->degree[b]++;
    g->linked[a] ^= b;
    g->linked[b] ^= a;
  }
  for (int t = 0; t < 2 * g->tree_edges; t++) carry_leaf(g, g->tree[t]);
}
/* potential times graph->x (with its halo) is a correction for graph->load; 0: there is none. */
static void carry(struct flux_levels *levels, int at, double potential) {
  struct flux_graph *g = &levels->graph[at], *next = g + 1;
  if (at == levels->graphs - 1) {
    carry_coarsest(levels, g);
    return;
  }
  for (int h = 0; h < 2; h++) memset(g->face_flux[h], 0, (size_t)g->faces * sizeof(double));
  if (potential > 0) {
    flux_graph_carry_potential(g, g->x, potential);
    carry_to_faces(g, g->x, potential);
  }
  struct flux_merge *w = flux_levels_merge(levels, at);
  if (w) {
    carry_merged(levels, w, at, potential);
    return;
  }
  memset(next->load, 0, (size_t)next->n * sizeof(double));
  for (int i = 0; i < g->n; i++)
    if (g->agg[i] >= 0) next->load[g->agg[i]] += g->load[i];
  carry(levels, at + 1, 0);
  split_flux(g, next, potential > 0 ? g->x : NULL, potential, next->linked);
  carry_trees(g);
}
void flux_route_run(struct flux_levels *levels, double scale) {
  struct flux_graph *g = &levels->graph[0];
  flux_graph_swap(g, g->x);
  carry(levels, 0, scale);
}
