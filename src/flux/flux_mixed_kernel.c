/* Kernels of the certificate for boxes inside the rank's own: of any codes and components, beside boxes of any. Conductances,
 * nodes and what the route adds are looked up face by face; the rest is done with a voxel per lane. A face inside a box
 * stands in both of its voxels' lanes. */
#include "flux_lanes.h"

struct mixed {
  unsigned open; /* voxels */
  bool apart;    /* several components */
  uint8_t code[BOX];
  int32_t node[BOX];
  double x[BOX], beyond[3][BOX]; /* potential; of the voxels across the box's faces */
  double inner[3][BOX],
      outer[3][BOX];     /* conductance towards the voxel across the box; across its face */
  double within[3][BOX]; /* the inner ones between voxels of one component */
  double inner_more[3][BOX], outer_more[3][BOX]; /* what the route adds to the fall of potential */
};
/* The route's flux of the edge looked for last: faces of a side have mostly the same one. */
struct found {
  int32_t from, to;
  double flux;
};

INLINE int32_t node_of(const struct flux_fine *f, int32_t box_node, uint8_t code) {
  return box_node >= -1 ? box_node : f->multi[-2 - box_node].node[code >> COMPONENT_SHIFT];
}
INLINE double flux_of(const struct flux_graph *g, int32_t from, int32_t to, struct found *last) {
  if (last->from != from || last->to != to)
    *last = (struct found){from, to, (double)g->entry_flux[flux_graph_find(g, from, to)]};
  return last->flux;
}
INLINE double potential(const struct flux_row *row, int64_t p) {
  const double x = (double)row->view->x[p];
  return row->low ? x + (double)row->low[p] : x;
}
INLINE void voxels_read(const struct flux_row *row, int64_t i, struct mixed *m) {
  const struct flux_view *v = row->view;
  const int64_t at          = row->at + 2 * i;
  m->open                   = 0;
  m->apart                  = false;
  for (int t = 0; t < BOX; t++) {
    const int64_t p = at + (t >> 2) * v->plane + (t >> 1 & 1) * v->row + (t & 1);
    m->code[t]      = v->code[p];
    m->node[t]      = m->code[t] ? node_of(row->fine, row->node[i], m->code[t]) : -1;
    m->x[t]         = potential(row, p);
    if (m->code[t]) m->open |= 1u << t;
  }
}
INLINE void inner_read(const struct flux_row *row, bool route, int a, int t, struct mixed *m) {
  const struct flux_fine *f = row->fine;
  const int o               = t ^ 4 >> a;
  const uint8_t c = m->code[t] & CODE_MASK, d = m->code[o] & CODE_MASK;
  struct found last   = {-1, -1, 0};
  const double weight = !c || !d ? 0 : f->view.uniform ? 1 : f->factor[a] * f->conductance[c][d];
  const bool same     = m->node[t] == m->node[o];
  m->inner[a][t]      = weight;
  m->within[a][t]     = same ? weight : 0;
  m->inner_more[a][t] = 0;
  if (same || !(weight > 0)) return;
  m->apart = true;
  if (route)
    m->inner_more[a][t] = row->ratio[a][c][d] * flux_of(row->graph, m->node[t], m->node[o], &last);
}
INLINE void outer_read(const struct flux_row *row, bool route, int64_t i, int a, int t,
                       struct found last[2], struct mixed *m) {
  const struct flux_fine *f = row->fine;
  const struct flux_view *v = row->view;
  const int64_t step[3] = {v->plane, v->row, 1}, box_step[3] = {v->box_plane, v->box_row, 1};
  const bool up     = t & 4 >> a;
  const int64_t p   = row->at + 2 * i + (t >> 2) * v->plane + (t >> 1 & 1) * v->row + (t & 1);
  const int64_t q   = up ? p + step[a] : p - step[a];
  const uint8_t all = v->code[q], c = m->code[t] & CODE_MASK, d = all & CODE_MASK;
  m->outer[a][t] = m->outer_more[a][t] = 0;
  m->beyond[a][t]                      = m->x[t];
  if (!c || !d) return;
  m->outer[a][t]  = v->uniform ? 1 : f->factor[a] * f->conductance[c][d];
  m->beyond[a][t] = potential(row, q);
  if (!route) return;
  const int32_t to    = node_of(f, row->node[up ? i + box_step[a] : i - box_step[a]], all);
  m->outer_more[a][t] = row->ratio[a][c][d] * flux_of(row->graph, m->node[t], to, &last[up]);
}
INLINE void mixed_get(const struct flux_row *row, int64_t i, bool route, struct mixed *m) {
  voxels_read(row, i, m);
  for (int a = 0; a < 3; a++) {
    struct found last[2] = {
        {-1, -1, 0},
        {-1, -1, 0}
    };
    for (int t = 0; t < BOX; t++) {
      inner_read(row, route, a, t, m);
      outer_read(row, route, i, a, t, last, m);
    }
  }
}
static bool is_path(const struct flux_row *row, int64_t i) {
  return row->path[i] == PATH_MIXED && row->node[i] != -1;
}

/* Residual of each voxel of such boxes, added to its node's load. */
void ISA_NAME(flux_mixed_loads)(const struct flux_row *row, double *load) {
  for (int64_t i = 0; i < row->boxes; i++) {
    struct mixed m;
    if (!is_path(row, i)) continue;
    mixed_get(row, i, false, &m);
    const vec x = of_lanes(m.x);
    vec flow    = {{EIGHT(0, 0, 0, 0, 0, 0, 0, 0)}};
    for (int a = 0; a < 3; a++) {
      flow = minus(flow, product(of_lanes(m.inner[a]), minus(x, turned(x, a))));
      flow = minus(flow, product(of_lanes(m.outer[a]), minus(x, of_lanes(m.beyond[a]))));
    }
    for (int t = 0; t < BOX; t++)
      if (m.node[t] >= 0) load[m.node[t]] += lane(&flow, t) / row->unit;
  }
}

/* Lanes of a component; false where it has several codes, of which there is no inverse. */
static bool component(const struct flux_row *row, const struct mixed *m, int t, unsigned *lanes) {
  bool alike = true;
  *lanes     = 0;
  for (int o = 0; o < BOX; o++)
    if (m->node[o] == m->node[t]) {
      *lanes |= 1u << o;
      alike = alike && (row->view->uniform || (m->code[o] ^ m->code[t]) % (CODE_MASK + 1) == 0);
    }
  return alike;
}
/* Potential that balances the loads inside each component. */
INLINE vec balanced(const struct flux_row *row, const struct mixed *m, vec load) {
  vec y         = {{EIGHT(0, 0, 0, 0, 0, 0, 0, 0)}};
  unsigned left = m->open;
  while (left) {
    const int t = __builtin_ctz(left);
    unsigned lanes;
    const bool alike = component(row, m, t, &lanes);
    left &= ~lanes;
    if (!(lanes & (lanes - 1))) continue;
    double own[BOX], solved[BOX];
    for (int o = 0; o < BOX; o++) own[o] = lanes >> o & 1 ? lane(&load, o) : 0;
    if (alike) {
      const double strength = row->view->uniform ? 1 : row->strength[m->code[t] & CODE_MASK];
      y = plus_matrix(y, row->inverse[lanes], times(of_lanes(own), 1 / strength));
    } else {
      ISA_NAME(flux_balance)(m->within, lanes, own, solved);
      y = plus(y, of_lanes(solved));
    }
  }
  return y;
}
/* Adds such boxes to energy, cost and imbalance; with `route` false to the energy alone. */
void ISA_NAME(flux_mixed_bound)(const struct flux_row *row, bool route,
                                struct flux_box_sums *sums) {
  const vec none = {{EIGHT(0, 0, 0, 0, 0, 0, 0, 0)}};
  vec energy = none, cost = none, unbalanced = none, worst = none;
  for (int64_t i = 0; i < row->boxes; i++) {
    struct mixed m;
    vec fall[3], cross[3], load = none, net = none;
    if (!is_path(row, i)) continue;
    mixed_get(row, i, route, &m);
    const vec x = of_lanes(m.x);
    for (int a = 0; a < 3; a++) {
      const vec inner = of_lanes(m.inner[a]), outer = of_lanes(m.outer[a]);
      fall[a]  = minus(x, turned(x, a));
      cross[a] = minus(x, of_lanes(m.beyond[a]));
      energy   = plus(energy, plus(product(inner, product(fall[a], fall[a])),
                                   product(outer, product(cross[a], cross[a]))));
      if (!route) continue;
      fall[a]  = plus(fall[a], of_lanes(m.inner_more[a]));
      cross[a] = plus(cross[a], of_lanes(m.outer_more[a]));
      load     = minus(load, plus(product(inner, fall[a]), product(outer, cross[a])));
    }
    if (!route) continue;
    const vec y = balanced(row, &m, load);
    for (int a = 0; a < 3; a++) {
      /* faces between components keep their fall */
      const vec inner = of_lanes(m.inner[a]), outer = of_lanes(m.outer[a]);
      const vec within = of_lanes(m.within[a]), fell = minus(y, turned(y, a));
      const vec whole = plus(fall[a], fell);
      const vec apart = minus(inner, within);
      cost            = plus(cost, product(within, product(whole, whole)));
      cost            = plus(cost, plus(product(apart, product(fall[a], fall[a])),
                                        product(outer, product(cross[a], cross[a]))));
      net             = plus(net, plus(product(within, whole), product(apart, fall[a])));
      net             = plus(net, product(outer, cross[a]));
    }
    unbalanced = plus(unbalanced, size_of(net));
    worst      = larger(size_of(net), worst);
  }
  for (int l = 0; l < BOX; l++) {
    sums->energy += 0.5 * lane(&energy, l);
    sums->cost += 0.5 * lane(&cost, l);
    sums->unbalanced += lane(&unbalanced, l);
    if (lane(&worst, l) > sums->worst) sums->worst = lane(&worst, l);
  }
}

/* The potential y of the Neumann problem of some voxels of a box that are connected: its last one is grounded, the others'
 * rows are solved. weight: conductance towards the voxel across the box, by axis. */
void ISA_NAME(flux_balance)(const double weight[3][BOX], unsigned lanes, const double load[BOX],
                            double y[BOX]) {
  double m[BOX][BOX + 1] = {{0}};
  int member[BOX], place[BOX] = {0}, n = 0;
  for (int t = 0; t < BOX; t++) {
    y[t] = 0;
    if (!(lanes >> t & 1)) continue;
    place[t]    = n;
    member[n++] = t;
  }
  const int rows = n - 1;
  for (int r = 0; r < rows; r++) {
    const int t = member[r];
    m[r][rows]  = load[t];
    for (int a = 0; a < 3; a++) {
      const int o = t ^ 4 >> a;
      if (!(lanes >> o & 1)) continue;
      m[r][r] += weight[a][t];
      if (place[o] < rows) m[r][place[o]] -= weight[a][t];
    }
  }
  for (int r = 0; r < rows; r++)
    for (int q = r + 1; q < rows; q++) {
      const double factor = m[q][r] / m[r][r];
      if (factor == 0) continue;
      for (int k = r; k <= rows; k++) m[q][k] -= factor * m[r][k];
    }
  for (int r = rows - 1; r >= 0; r--) {
    double sum = m[r][rows];
    for (int k = r + 1; k < rows; k++) sum -= m[r][k] * y[member[k]];
    y[member[r]] = sum / m[r][r];
  }
}
