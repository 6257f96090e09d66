/* The certificate. For the potential as it stands, in double:
 *   upper bound  E = sum w (x_i - x_j)^2 over faces (Thomson's or Dirichlet's principle);
 *   lower bound  from a flux q that carries the residual out (flux_route.c on the graph, then inside
 *   each box the potential y of its small Neumann problem): for the true potential u, by Cauchy and
 *   Schwarz, (sum q du)^2 <= C E_true with C = sum q^2/w, and sum q du = P - sum u_i d_i where P = sum
 *   over outer faces of potential times inflow and d_i is what rounding leaves unbalanced; |u| <= 1/2,
 *   so E_true >= (P - sum |d_i| / 2)^2 / C whatever the rounding of q was.
 * A periodic cell: P = sum over the border of flux times jump. |u| is not bounded by the faces there, but u is what was
 * found, v, and an error e of energy E(v) - E_true; along any path to where e is zero (each body has such a place, as
 * its d_i sum to zero) |e|^2 <= E(e) times the path's resistance, at most voxels over the weakest conductance. A first
 * lower bound with E(e) <= E(v) makes E(e) small enough for a second and third.
 * An electrode with sources s: J = sum s u is bounded from below by (s.v)^2 / E(v), and from above by sqrt(J C) >=
 * sum q du = J - sum u_i d_i with |u| bounded in the same way; told are S^2 / J, S the sum of s.
 * Sums run over rows in double and over rows exactly; `margin` covers the rest. */
#include "flux_lattice.h"
#include <math.h>
#include <string.h>

static const double margin = 1e-12;

typedef double pattern_inverse[BOX][BOX];
struct work {
  struct flux_levels *levels;
  const struct flux_fine *fine;
  const struct flux_graph *graph;
  const int32_t *face_of[2]; /* node -> its entry among faces, low and high */
  struct flux_state *state;
  double flux_unit[3]; /* face flux -> density over the mean gradient, per axis */
  struct flux_box_sums row;
  struct exact_sum total[4];
  uint8_t *path;  /* per box of a row */
  uint8_t *split; /* per row of boxes: some have several components */
  pattern_inverse *inverse;
  double strength[FLUX_CODES], routed[FLUX_CODES][3]; /* by code, for the kernels, */
  double ratio[3][FLUX_CODES][FLUX_CODES];            /* and by codes */
  double most;                                        /* of |potential| */
  double voxels;                                      /* that conduct */
};
/* One box: its conducting voxels, their faces (2 axis + (1: upper)). */
struct cell {
  int64_t p, at[3];
  int t, part;
  uint8_t code;
  int32_t node;
  double x, y, load;
  double weight[SIDES], outside[SIDES], flux[SIDES];
  int inner[SIDES]; /* member of the same component, -1 */
};
struct box {
  int n;
  struct cell cell[BOX];
};

static double potential_at(const struct flux_fine *f, int64_t p) {
  return f->low ? (double)f->x[p] + (double)f->low[p] : (double)f->x[p];
}
static int box_read(const struct flux_fine *f, const int64_t place[3], struct box *box) {
  const struct flux_view *v = &f->view;
  int slot[BOX];
  box->n = 0;
  for (int t = 0; t < BOX; t++) {
    const int64_t at[3] = {2 * place[0] + (t >> 2), 2 * place[1] + (t >> 1 & 1),
                           2 * place[2] + (t & 1)};
    slot[t]             = -1;
    if (at[0] >= v->n[0] || at[1] >= v->n[1] || at[2] >= v->n[2]) continue;
    const int64_t p = v->origin + at[0] * v->plane + at[1] * v->row + at[2];
    if (!f->code[p]) continue;
    struct cell *c = &box->cell[box->n];
    c->p           = p;
    c->t           = t;
    c->code        = f->code[p];
    c->part        = c->code >> COMPONENT_SHIFT;
    c->node        = flux_boxes_node(f, at[0], at[1], at[2]);
    c->x           = potential_at(f, p);
    c->y = c->load = 0;
    memcpy(c->at, at, sizeof at);
    slot[t] = box->n++;
  }
  for (int i = 0; i < box->n; i++)
    for (int s = 0; s < SIDES; s++) {
      const int bit         = 4 >> s / 2;
      const int other       = box->cell[i].t ^ bit;
      const bool in         = ((box->cell[i].t & bit) == 0) == (s % 2 == 1);
      box->cell[i].inner[s] = in && slot[other] >= 0 ? slot[other] : -1;
    }
  return box->n;
}
/* Conductance, count and potential beyond face s of a voxel; false when closed. */
static bool face_read(const struct flux_fine *f, struct cell *c, int s, double *count,
                      int32_t *to) {
  const struct flux_view *v    = &f->view;
  const int a                  = s / 2;
  const int64_t step[3]        = {v->plane, v->row, 1};
  const int64_t next           = c->at[a] + (s % 2 ? 1 : -1);
  const bool beyond            = next < 0 || next >= v->n[a];
  const struct flux_side *side = &f->side[s];
  const int64_t q              = c->p + (s % 2 ? step[a] : -step[a]);
  c->weight[s]                 = 0;
  if (beyond && side->dirichlet) {
    c->weight[s]  = flux_fine_face(f, c->code, f->code[q], a);
    c->outside[s] = side->potential;
    *count        = flux_boxes_face(f, c->code, f->code[q], a);
    *to           = -1;
    return c->weight[s] > 0;
  }
  if (!f->code[q] || (beyond && side->rank == MPI_PROC_NULL)) return false;
  c->weight[s]  = v->uniform ? 1 : flux_fine_conductance(f, c->code, f->code[q], a);
  c->outside[s] = potential_at(f, q) + (beyond ? side->jump : 0);
  *count        = flux_boxes_count(f, c->code, f->code[q], a);
  int64_t at[3] = {c->at[0], c->at[1], c->at[2]};
  at[a]         = !beyond ? next : s % 2 ? 0 : v->n[a] - 1;
  *to           = beyond && side->rank != f->rank
                      ? f->halo_node[s][at[a == 0 ? 1 : 0] * side->nv + at[a == 2 ? 1 : 2]]
                      : flux_boxes_node(f, at[0], at[1], at[2]);
  return true;
}
/* What the route sends through a face; the graph's fluxes are per weight. */
static double routed(const struct work *w, const struct cell *c, int s, double count, int32_t to) {
  const struct flux_graph *g = w->graph;
  if (to == -1) {
    const int32_t i = w->face_of[s % 2][c->node];
    return w->fine->unit * g->face_flux[s % 2][i] * count;
  }
  if (to == c->node) return 0;
  const int64_t e = flux_graph_find(g, c->node, to);
  return w->fine->unit * (double)g->entry_flux[e] * count;
}
/* Potential y of the Neumann problem of one component. */
static void balance(struct box *box, int part) {
  double weight[3][BOX] = {{0}}, load[BOX] = {0}, y[BOX];
  unsigned lanes = 0;
  for (int i = 0; i < box->n; i++) {
    const struct cell *c = &box->cell[i];
    if (c->part != part) continue;
    lanes |= 1u << c->t;
    load[c->t] = c->load;
    for (int s = 0; s < SIDES; s++)
      if (c->inner[s] >= 0) weight[s / 2][c->t] = c->weight[s];
  }
  ISA_PICK(flux_balance)((const double(*)[BOX])weight, lanes, load, y);
  for (int i = 0; i < box->n; i++)
    if (box->cell[i].part == part) box->cell[i].y = y[box->cell[i].t];
}
/* Residual of each voxel; with `route`, what the box has left to balance. */
static void box_loads(const struct work *w, struct box *box, bool route) {
  for (int i = 0; i < box->n; i++) {
    struct cell *c = &box->cell[i];
    if (w->fine->source) c->load += flux_fine_source(w->fine, c->at);
    for (int s = 0; s < SIDES; s++) {
      double count;
      int32_t to;
      c->flux[s] = 0;
      if (!face_read(w->fine, c, s, &count, &to)) continue;
      c->load += c->weight[s] * (c->outside[s] - c->x);
      const bool inner = c->inner[s] >= 0 && box->cell[c->inner[s]].part == c->part;
      if (route && !inner) {
        c->flux[s] = routed(w, c, s, count, to);
        c->load -= c->flux[s];
      }
    }
  }
}
static bool at_border(const struct flux_fine *f, const struct cell *c, int s) {
  return f->side[s].jump != 0 && c->at[s / 2] == (s % 2 ? f->view.n[s / 2] - 1 : 0);
}
static void box_sums(struct work *w, struct box *box, bool route) {
  for (int i = 0; i < box->n; i++) {
    struct cell *c = &box->cell[i];
    double net     = w->fine->source ? -flux_fine_source(w->fine, c->at) : 0;
    for (int s = 0; s < SIDES; s++) {
      if (!(c->weight[s] > 0)) continue;
      const double fall = c->x - c->outside[s];
      const int o       = c->inner[s];
      const bool inner  = o >= 0 && box->cell[o].part == c->part;
      const bool outer =
          w->fine->side[s].dirichlet && c->at[s / 2] == (s % 2 ? w->fine->view.n[s / 2] - 1 : 0);
      const double half = outer ? 1 : 0.5;
      w->row.energy += half * c->weight[s] * fall * fall;
      if (!route) continue;
      c->flux[s] += c->weight[s] * (inner ? fall + (c->y - box->cell[o].y) : fall);
      net += c->flux[s];
      w->row.cost += half * c->flux[s] * c->flux[s] / c->weight[s];
      if (outer) w->row.inflow -= c->flux[s] * c->outside[s];
      if (at_border(w->fine, c, s)) w->row.inflow -= half * c->flux[s] * w->fine->side[s].jump;
    }
    w->row.unbalanced += fabs(net);
    w->row.worst = fmax(w->row.worst, fabs(net));
  }
}
static void state_put(struct work *w, const struct box *box);

static void box_bound(struct work *w, const int64_t place[3], bool route) {
  struct box box;
  if (!box_read(w->fine, place, &box)) return;
  box_loads(w, &box, route);
  if (route) {
    unsigned done = 0;
    for (int i = 0; i < box.n; i++)
      if (!(done >> box.cell[i].part & 1)) {
        done |= 1u << box.cell[i].part;
        balance(&box, box.cell[i].part);
      }
  }
  box_sums(w, &box, route);
  if (w->state) state_put(w, &box);
}
/* Residual sums of nodes, in double. */
static void box_gather(struct work *w, const int64_t place[3]) {
  struct box box;
  if (!box_read(w->fine, place, &box)) return;
  box_loads(w, &box, false);
  for (int i = 0; i < box.n; i++)
    w->levels->graph[0].load[box.cell[i].node] += box.cell[i].load / w->fine->unit;
}
static void rows_end(struct work *w) {
  exact_add(&w->total[0], w->row.energy);
  exact_add(&w->total[1], w->row.cost);
  exact_add(&w->total[2], w->row.inflow);
  exact_add(&w->total[3], w->row.unbalanced);
  w->row = (struct flux_box_sums){.worst = w->row.worst};
}

/* ---- rows of boxes: most of them by the kernels ---- */

/* Inverse of each pattern's Neumann problem (symmetric, constant vector to zero); factor: of faces across z, y, x. */
static void inverse_set(const double factor[3], pattern_inverse *inverse) {
  for (unsigned p = 0; p < 256; p++) {
    double m[BOX][2 * BOX] = {{0}};
    int n                  = __builtin_popcount(p);
    for (int a = 0; a < BOX; a++) {
      m[a][BOX + a] = 1;
      if (!(p >> a & 1)) m[a][a] = 1;
      for (int b = 0; b < BOX; b++) {
        if (!(p >> a & 1) || !(p >> b & 1)) continue;
        const int d = a ^ b;
        m[a][b] += 1. / n; /* makes it regular */
        if (d == 1 || d == 2 || d == 4) {
          const double weight = factor[d == 4 ? 0 : d == 2 ? 1 : 2];
          m[a][a] += weight;
          m[a][b] -= weight;
        }
      }
    }
    for (int r = 0; r < BOX; r++) {
      const double pivot = m[r][r];
      if (fabs(pivot) < 1e-9) { /* comes apart: never used */
        n = 0;
        break;
      }
      for (int k = 0; k < 2 * BOX; k++) m[r][k] /= pivot;
      for (int q = 0; q < BOX; q++) {
        const double share = m[q][r];
        for (int k = 0; q != r && k < 2 * BOX; k++) m[q][k] -= share * m[r][k];
      }
    }
    for (int a = 0; a < BOX; a++)
      for (int b = 0; b < BOX; b++) {
        const bool inside = (p >> a & 1) && (p >> b & 1) && n > 0;
        inverse[p][a][b]  = inside ? m[a][BOX + b] - 1. / n : 0;
      }
  }
}
/* A side that the kernels cannot treat: an outer face along x; the border of another rank unless flux_lattice_borders has
 * put what flows there in place; what lies beyond more or less by a jump, or is this rank's own. */
static bool hard_side(const struct work *w, int s) {
  const struct flux_side *side = &w->fine->side[s];
  if (!flux_fine_border(w->fine, s)) return s >= 4 && side->dirichlet;
  return !w->graph->lattice.pitch || side->rank == w->fine->rank || side->jump != 0;
}
/* No box beside a split one is like its neighbours: of `along` 0 those before and behind it in the row, too. */
static void beside_split(const struct work *w, const int32_t *node, int64_t row, int along,
                         uint8_t path) {
  const int64_t last = w->fine->boxes[2] - 1;
  if (!w->split[row]) return;
  for (int64_t i = 0; i <= last; i++) {
    if (node[i] >= -1) continue;
    w->path[i] = path;
    if (along == 0 && i > 0) w->path[i - 1] = path;
    if (along == 0 && i < last) w->path[i + 1] = path;
  }
}
/* A box at a side; no kernel treats it if it or its neighbours come apart. */
static void side_box(const struct work *w, const int32_t *node, int64_t i, bool hard) {
  const struct flux_lattice *t = &w->graph->lattice;
  const bool forked =
      !hard && t->pitch && node[i] >= 0 && t->kind[node[i] - t->first[0]] & LATTICE_FORKED;
  if (hard || forked || w->path[i] == PATH_MIXED) w->path[i] = PATH_VOXELS;
}
static struct flux_row row_make(const struct work *w, int64_t k, int64_t j, bool by_voxels) {
  const struct flux_fine *f = w->fine;
  const struct flux_view *v = &f->view;
  const int64_t place[2] = {k, j}, step[2] = {v->box_plane, v->box_row};
  const int64_t b     = k * v->box_plane + j * v->box_row;
  const int64_t last  = f->boxes[2] - 1;
  struct flux_row row = {.view     = v,
                         .low      = f->low,
                         .graph    = w->graph,
                         .inverse  = (const double(*)[BOX][BOX])w->inverse,
                         .node     = f->box_node + b,
                         .path     = w->path,
                         .at       = v->origin + 2 * k * v->plane + 2 * j * v->row,
                         .boxes    = f->boxes[2],
                         .factor   = f->factor,
                         .strength = w->strength,
                         .routed   = (const double(*)[3])w->routed,
                         .unit     = f->unit,
                         .fine     = f,
                         .ratio    = (const double(*)[FLUX_CODES][FLUX_CODES])w->ratio,
                         .outer    = -1};
  bool inner[4], border = false;
  for (int s = 0; s < 4; s++) {
    const int a = s / 2;
    inner[s]    = s % 2 ? place[a] < f->boxes[a] - 1 : place[a] > 0;
    if (!inner[s] && s % 2 && v->n[a] % 2) by_voxels = true;
    if (inner[s]) continue;
    border = border || flux_fine_border(f, s);
    if (hard_side(w, s)) by_voxels = true;
    if (!f->side[s].dirichlet) continue;
    if (row.outer >= 0 || f->middles) by_voxels = true;
    row.outer     = s;
    row.potential = f->side[s].potential;
    row.face_of   = w->face_of[s % 2];
  }
  if (!v->uniform && row.outer >= 0) by_voxels = true;
  by_voxels = by_voxels || f->source;
  memset(w->path, by_voxels ? PATH_VOXELS : PATH_ALIKE, (size_t)f->boxes[2]);
  if (by_voxels) return row;
  const uint8_t beside = row.outer >= 0 || border ? PATH_VOXELS : PATH_MIXED;
  beside_split(w, row.node, k * f->boxes[1] + j, 0, beside);
  for (int s = 0; s < 4; s++) {
    const int sign = s % 2 ? 1 : -1, a = s / 2;
    if (inner[s])
      beside_split(w, row.node + sign * step[a],
                   k * f->boxes[1] + j + sign * (a == 0 ? f->boxes[1] : 1), -1, beside);
  }
  for (int64_t i = 0; border && i <= last; i++) side_box(w, row.node, i, false);
  if (flux_fine_border(f, 4) || f->side[4].dirichlet) side_box(w, row.node, 0, hard_side(w, 4));
  if (flux_fine_border(f, 5) || f->side[5].dirichlet || v->n[2] % 2)
    side_box(w, row.node, last, hard_side(w, 5) || v->n[2] % 2);
  if (!v->uniform) ISA_PICK(flux_row_alike)(&row, w->path);
  return row;
}
static void loads_find(struct work *w) {
  struct flux_graph *g = &w->levels->graph[0];
  memset(g->load, 0, (size_t)g->n * sizeof *g->load);
  for (int64_t k = 0; k < w->fine->boxes[0]; k++)
    for (int64_t j = 0; j < w->fine->boxes[1]; j++) {
      const struct flux_row row = row_make(w, k, j, false);
      ISA_PICK(flux_row_loads)(&row, g->load);
      ISA_PICK(flux_mixed_loads)(&row, g->load);
      for (int64_t i = 0; i < row.boxes; i++)
        if (row.path[i] == PATH_VOXELS && row.node[i] != -1) box_gather(w, (int64_t[3]){k, j, i});
    }
}
static void sums_find(struct work *w, bool route) {
  for (int64_t k = 0; k < w->fine->boxes[0]; k++)
    for (int64_t j = 0; j < w->fine->boxes[1]; j++) {
      const struct flux_row row = row_make(w, k, j, w->state != NULL);
      ISA_PICK(flux_row_bound)(&row, route, &w->row);
      ISA_PICK(flux_mixed_bound)(&row, route, &w->row);
      for (int64_t i = 0; i < row.boxes; i++)
        if (row.path[i] == PATH_VOXELS && row.node[i] != -1)
          box_bound(w, (int64_t[3]){k, j, i}, route);
      rows_end(w);
    }
}
static void faces_index(struct work *w) {
  struct flux_graph *g = &w->levels->graph[0];
  for (int f = 0; f < g->faces; f++) {
    if (g->face_weight[0][f] > 0) g->degree[g->face_node[f]] = f;
    if (g->face_weight[1][f] > 0) g->linked[g->face_node[f]] = f;
  }
  w->face_of[0] = g->degree;
  w->face_of[1] = g->linked;
}

/* ---- the solved state ---- */

static void face_put(const struct work *w, const struct cell *c, int s) {
  struct grid_field *field = &w->state->flux[s / 2];
  int64_t at[3]            = {c->at[0], c->at[1], c->at[2]};
  if (!field->data) return;
  at[s / 2] += s % 2;
  if (at[s / 2] >= field->mine.n[s / 2]) return;
  const int64_t p =
      grid_field_origin(field) + at[0] * field->row[0] + at[1] * field->row[1] + at[2];
  ((float *)field->data)[p] = (float)((s % 2 ? 1 : -1) * c->flux[s] * w->flux_unit[s / 2]);
}
static float *voxel_in(const struct grid_field *field, const int64_t at[3]) {
  return (float *)field->data + grid_field_origin(field) + at[0] * field->row[0] +
         at[1] * field->row[1] + at[2];
}
static void state_put(struct work *w, const struct box *box) {
  for (int i = 0; i < box->n; i++) {
    const struct cell *c = &box->cell[i];
    double square        = 0;
    for (int s = 0; s < SIDES; s++) face_put(w, c, s);
    for (int a = 0; a < 3; a++) {
      const double mean = (c->flux[2 * a + 1] - c->flux[2 * a]) / 2 * w->flux_unit[a];
      square += mean * mean;
    }
    if (w->state->magnitude.data) *voxel_in(&w->state->magnitude, c->at) = (float)sqrt(square);
    if (w->state->concentration.data)
      *voxel_in(&w->state->concentration, c->at) = (float)(c->x + 0.5);
  }
}

/* A correction for the loads in double, for which they are scaled into the range of floats. */
static double correct_afresh(MPI_Comm comm, struct flux_levels *levels) {
  struct flux_graph *g = &levels->graph[0];
  double most          = 0;
  for (int i = 0; i < g->n; i++) most = fmax(most, fabs(g->load[i]));
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_DOUBLE, MPI_MAX, comm);
  if (!(most > 0)) return 0;
  for (int i = 0; i < g->n; i++) g->b[i] = (float)(g->load[i] / most);
  flux_levels_correct(levels);
  return most;
}
static enum status work_make(struct work *w, struct flux_levels *levels) {
  w->levels = levels;
  w->fine   = &levels->fine;
  w->graph  = &levels->graph[0];
  TRY(memory_make(w->fine->boxes[2] + 1, 1, "certificate", &w->path));
  TRY(memory_make(w->fine->boxes[0] * w->fine->boxes[1], 1, "certificate", &w->split));
  for (int64_t m = 0; m < w->fine->multis; m++)
    w->split[w->fine->multi[m].k * w->fine->boxes[1] + w->fine->multi[m].j] = 1;
  TRY(memory_make(256, sizeof *w->inverse, "certificate", &w->inverse));
  inverse_set(w->fine->factor, w->inverse);
  for (int a = 0; a < 3; a++)
    for (uint8_t c = 1; c < FLUX_CODES; c++)
      for (uint8_t d = 1; d < FLUX_CODES; d++) {
        const double g    = w->fine->view.uniform ? 1 : flux_fine_conductance(w->fine, c, d, a);
        w->ratio[a][c][d] = g > 0 ? w->fine->unit * flux_boxes_count(w->fine, c, d, a) / g : 0;
      }
  for (int c = 1; c < FLUX_CODE_FACE; c++) {
    const uint8_t code = (uint8_t)c;
    w->strength[c]     = w->fine->conductance[c][c];
    for (int a = 0; a < 3; a++)
      w->routed[c][a] = w->fine->unit * flux_boxes_count(w->fine, code, code, a) /
                        (w->strength[c] * w->fine->factor[a]);
  }
  return STATUS_OK;
}
static void work_free(struct work *w) {
  memory_free(w->path);
  memory_free(w->split);
  memory_free(w->inverse);
  memory_free(w);
}
/* ---- from sums to bounds ---- */

static bool is_cell(const struct work *w) {
  return w->levels->jump[0] != 0 || w->levels->jump[1] != 0 || w->levels->jump[2] != 0;
}
static void sizes_find(MPI_Comm comm, struct work *w) {
  const struct flux_fine *f = w->fine;
  if (!is_cell(w) && !f->source) return;
  EACH_VOXEL(&f->view, p) {
    w->most = fmax(w->most, fabs(potential_at(f, p)));
    w->voxels++;
  }
  MPI_Allreduce(MPI_IN_PLACE, &w->most, 1, MPI_DOUBLE, MPI_MAX, comm);
  MPI_Allreduce(MPI_IN_PLACE, &w->voxels, 1, MPI_DOUBLE, MPI_SUM, comm);
}
/* Largest potential of an error of that energy. */
static double reach(const struct work *w, double energy) {
  return sqrt(energy > 0 ? energy * (w->voxels + 1) / w->fine->weakest : 0);
}
/* total: energy, cost, inflow, what is unbalanced. */
static double lower_of(const struct work *w, const double total[4]) {
  double lower = 0;
  if (!(total[1] > 0)) return 0;
  for (int again = 0; again < (is_cell(w) ? 4 : 1); again++) {
    const double most   = is_cell(w) ? w->most + reach(w, total[0] - lower) : 0.5;
    const double inflow = total[2] - most * total[3];
    if (inflow > 0) lower = fmax(lower, inflow * inflow / total[1]);
  }
  return lower;
}
static void electrode_bound(MPI_Comm comm, const struct work *w, const double total[4], bool lower,
                            struct flux_bound *bound) {
  const struct flux_fine *f = w->fine;
  double sum[2]             = {0, 0};
  EACH_VOXEL(&f->view, p) {
    const double source = flux_fine_source(f, (int64_t[3]){k_, j_, f->view.n[2] - (end_ - p)});
    sum[0] += source;
    sum[1] += source * potential_at(f, p);
  }
  MPI_Allreduce(MPI_IN_PLACE, sum, 2, MPI_DOUBLE, MPI_SUM, comm);
  const double least = sum[1] * sum[1] / total[0];
  double root        = sqrt(total[1]) + reach(w, 1) * total[3];
  for (int again = 0; again < 3; again++) {
    const double gap  = root * root - 2 * sum[1] + total[0];
    const double rest = (w->most + reach(w, gap)) * total[3];
    root              = fmin(root, (sqrt(total[1]) + sqrt(total[1] + 4 * rest)) / 2);
  }
  bound->upper = least > 0 ? sum[0] * sum[0] / least * (1 + margin) : HUGE_VAL;
  bound->lower = lower ? sum[0] * sum[0] / (root * root) * (1 - margin) : 0;
}
enum status flux_bound_find(MPI_Comm comm, struct flux_levels *levels, bool lower, bool fresh,
                            struct flux_bound *bound, struct flux_state *state,
                            const double flux_unit[3]) {
  struct work *w = NULL;
  enum status s  = AGREE(comm, memory_make(1, sizeof *w, "certificate", &w));
  if (s != STATUS_OK) {
    memory_free(w);
    return s;
  }
  s        = AGREE(comm, work_make(w, levels));
  w->state = lower ? state : NULL;
  for (int a = 0; a < 3; a++) w->flux_unit[a] = flux_unit[a];
  flux_transfer_finish(&levels->fine);
  /* jumps are added in double, so that a face at the border is seen alike from both ends */
  flux_fine_swap_floats(&levels->fine, levels->fine.x, false);
  if (levels->fine.low) flux_fine_swap_floats(&levels->fine, levels->fine.low, false);
  if (lower && s == STATUS_OK) s = flux_route_make(comm, levels);
  if (lower && s == STATUS_OK) {
    loads_find(w);
    flux_route_run(levels, fresh ? correct_afresh(comm, levels) : 1);
    flux_lattice_borders(&levels->graph[0]);
    faces_index(w);
  }
  if (s == STATUS_OK) {
    sums_find(w, lower);
    s = exact_allreduce(comm, w->total, 4);
  }
  if (s == STATUS_OK) {
    double total[4];
    for (int i = 0; i < 4; i++) total[i] = exact_value(&w->total[i]);
    sizes_find(comm, w);
    if (levels->fine.source)
      electrode_bound(comm, w, total, lower, bound);
    else {
      bound->upper = total[0] * (1 + margin);
      bound->lower = lower ? lower_of(w, total) * (1 - margin) : 0;
    }
    bound->divergence = w->row.worst;
    MPI_Allreduce(MPI_IN_PLACE, &bound->divergence, 1, MPI_DOUBLE, MPI_MAX, comm);
  }
  if (is_cell(w)) flux_fine_swap_floats(&levels->fine, levels->fine.x, true);
  work_free(w);
  return s;
}
