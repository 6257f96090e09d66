/* The first graph as a lattice: the same answers, and the same next graph, as from a graph like any other.
 * np: 1 2 3 5 8 */
#include "flux_lattice.h"
#include "flux_random.h"

/* Boxes that come apart: diagonal voxels alone. odd: of both colours, else of the first alone. */
static void come_apart(struct random_case *c, int boxes, bool odd) {
  for (int m = 0; m < boxes; m++) {
    const int64_t box[3] = {c->n[0] / 4, c->n[1] / 4, (c->n[2] / (2 * boxes + 2)) * (m + 1)};
    const int shift      = (int)((box[0] + box[1] + box[2]) & 1) ^ (odd && m % 2);
    for (int t = 0; t < BOX; t++) {
      const int64_t at[3] = {2 * box[0] + (t >> 2), 2 * box[1] + (t >> 1 & 1),
                             2 * (box[2] + shift) + (t & 1)};
      c->code[(at[0] * c->n[1] + at[1]) * c->n[2] + at[2]] = t == 0 || t == BOX - 1;
    }
  }
}
/* A column of boxes along z that rank borders cut: of every two one is full, and the other has two bodies at that one's side.
 */
static void fork_column(struct random_case *c) {
  for (int64_t k = 0; k < c->n[0] / 2; k++)
    for (int t = 0; t < BOX; t++) {
      const int64_t at[3] = {2 * k + (t >> 2), c->n[1] / 4 * 2 + (t >> 1 & 1),
                             c->n[2] / 4 * 2 + (t & 1)};
      const bool below = k % 4 == 3 && (t == 4 || t == 7), above = k % 4 == 1 && (t == 0 || t == 3);
      c->code[(at[0] * c->n[1] + at[1]) * c->n[2] + at[2]] = k % 2 == 0 || below || above;
    }
}
static void case_make(MPI_Comm comm, struct random_case *c, enum flux_kind kind, const int64_t n[3],
                      double porosity) {
  uint64_t seed = (uint64_t)(n[0] + n[2]);
  int rank;
  MPI_Comm_rank(comm, &rank);
  *c = (struct random_case){
      .n       = {n[0],                   n[1], n[2]},
      .problem = { .kind           = kind,
                  .gradient       = {1, 0.3, 0},
                  .spacing        = {1, 1, 1},
                  .diffusivity    = {0, 1, 1},
                  .volume_vox     = n[0] * n[1] * n[2],
                  .tolerance      = 1e-6,
                  .iterations_max = 30,
                  .certify        = true}
  };
  c->code = malloc((size_t)c->problem.volume_vox);
  if (rank == 0) random_codes(c, &seed, porosity, 1, 6);
  if (rank == 0) come_apart(c, 6, true);
  if (rank == 0) fork_column(c);
  MPI_Bcast(c->code, (int)c->problem.volume_vox, MPI_BYTE, 0, comm);
}
/* The first graph of a case, with what it is made from. */
static void graph_make(MPI_Comm comm, const struct random_case *c, struct flux_fine *fine,
                       struct flux_graph *graph) {
  struct grid_plan plan     = {0};
  struct grid_field codes   = {0};
  struct flux_answer answer = {0};
  CHECK_OK(flux_plan_make(comm, c->n, &plan));
  CHECK_OK(random_field(comm, c, &plan, &codes));
  CHECK_OK(flux_fine_make(comm, &c->problem, &codes, fine));
  CHECK_OK(flux_boxes_graph(comm, &c->problem, fine, &answer, graph));
  grid_field_free(&codes);
  grid_plan_free(&plan);
}
static int lattices(MPI_Comm comm, const struct random_case *c) {
  struct flux_fine fine   = {0};
  struct flux_graph graph = {0};
  graph_make(comm, c, &fine, &graph);
  int n = graph.lattice.pitch > 0 || grid_box_voxels(&fine.mine) == 0;
  flux_graph_free(&graph);
  flux_fine_free(&fine);
  MPI_Allreduce(MPI_IN_PLACE, &n, 1, MPI_INT, MPI_SUM, comm);
  return n;
}
static void meet(const char *what, const struct flux_answer *a, const struct flux_answer *b) {
  CHECK(b->converged, "%s: %.9g .. %.9g after %d", what, b->lower, b->upper, b->iterations);
  CHECK(a->lower <= b->upper * (1 + 1e-10) && b->lower <= a->upper * (1 + 1e-10),
        "%s: %.12g .. %.12g and %.12g .. %.12g", what, a->lower, a->upper, b->lower, b->upper);
}
/* Two conductors of one diffusivity are no lattice's: their interval is the truth. */
static void other_answers(MPI_Comm comm, struct random_case *c, const struct flux_answer *a) {
  struct flux_answer alone = {0}, truth = {0};
  int rank;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) random_solve(MPI_COMM_SELF, c, &alone, NULL);
  MPI_Bcast(&alone, sizeof alone, MPI_BYTE, 0, comm);
  meet("alone", a, &alone);
  for (int64_t p = 0; p < c->problem.volume_vox; p++)
    if (c->code[p]) c->code[p] = (uint8_t)(1 + p / 7 % 2);
  c->problem.tolerance = 2e-9;
  CHECK(lattices(MPI_COMM_SELF, c) == 0, "two conductors as a lattice");
  CHECK_OK(random_solve(comm, c, &truth, NULL));
  meet("as another graph", a, &truth);
}
/* every: on each rank the graph is a lattice. */
static void check_case(MPI_Comm comm, struct random_case *c, bool every) {
  struct flux_answer a, b;
  struct flux_state state = {0};
  int size;
  MPI_Comm_size(comm, &size);
  const int n = lattices(comm, c);
  CHECK(!every || n == size, "a lattice on %d of %d ranks", n, size);
  CHECK_OK(random_solve(comm, c, &a, NULL));
  CHECK(a.converged && a.iterations <= 12, "%.9g .. %.9g after %d", a.lower, a.upper, a.iterations);
  CHECK(a.divergence < 1e-5, "divergence %g", a.divergence);
  CHECK_OK(random_solve(comm, c, &b, &state));
  CHECK(b.divergence < 1e-5, "divergence %g", b.divergence);
  CHECK(fabs(a.upper - b.upper) <= 1e-11 * a.upper, "%.14g, not %.14g", b.upper, a.upper);
  flux_state_free(&state);
  other_answers(comm, c, &a);
  random_free(c);
}
static void through(MPI_Comm comm, const int64_t n[3], int axis, double porosity, bool middles) {
  struct random_case c;
  case_make(comm, &c, FLUX_THROUGH, n, porosity);
  c.problem.axis     = axis;
  c.problem.middles  = middles;
  c.problem.periodic = axis == 1 && !middles;
  check_case(comm, &c, !c.problem.periodic);
}
TEST(through_even_edges) { through(comm, (int64_t[3]){74, 66, 70}, 0, 0.75, false); }
TEST(through_odd_edges) { through(comm, (int64_t[3]){75, 67, 71}, 2, 0.95, false); }
TEST(through_with_periodic_sides) { through(comm, (int64_t[3]){72, 66, 68}, 1, 0.95, false); }
TEST(between_middles) { through(comm, (int64_t[3]){74, 67, 72}, 0, 0.95, true); }
TEST(along_a_thin_bar) { through(comm, (int64_t[3]){16, 40, 600}, 2, 0.75, false); }
TEST(along_a_thin_tower) { through(comm, (int64_t[3]){600, 16, 40}, 0, 0.95, false); }
static void other_kind(MPI_Comm comm, enum flux_kind kind, const int64_t n[3], bool every) {
  struct random_case c;
  case_make(comm, &c, kind, n, 0.95);
  c.problem.periodic = kind == FLUX_CELL;
  check_case(comm, &c, every);
}
TEST(a_cell_of_even_boxes) { other_kind(comm, FLUX_CELL, (int64_t[3]){68, 64, 64}, true); }
TEST(a_cell_of_odd_boxes) { other_kind(comm, FLUX_CELL, (int64_t[3]){66, 62, 70}, false); }
TEST(an_electrode) { other_kind(comm, FLUX_ELECTRODE, (int64_t[3]){70, 65, 66}, true); }

TEST(boxes_of_one_colour_alone_may_come_apart) {
  struct random_case c;
  case_make(comm, &c, FLUX_THROUGH, (int64_t[3]){72, 64, 64}, 0.9);
  memset(c.code, 1, (size_t)c.problem.volume_vox);
  come_apart(&c, 3, false);
  check_case(comm, &c, true);
}

/* ---- the next graph ---- */

struct edge {
  int32_t row, col;
  float weight;
};
static int by_ends(const void *x, const void *y) {
  const struct edge *a = x, *b = y;
  return a->row != b->row ? (a->row > b->row) - (a->row < b->row)
                          : (a->col > b->col) - (a->col < b->col);
}
/* A graph's edges in slices like those of any graph, of the same rows. */
static void generic_make(const struct flux_graph *g, struct flux_graph *to) {
  uint16_t *length = calloc((size_t)g->n, sizeof *length);
  *to              = (struct flux_graph){0};
  to->comm         = g->comm;
  to->team         = g->team;
  to->n            = g->n;
  to->ghosts       = g->ghosts;
  to->real         = g->real;
  for (int i = 0; i < g->n; i++) length[i] = i < g->loose ? 64 : 32;
  CHECK_OK(flux_graph_rows(to, length));
  memset(length, 0, (size_t)g->n * sizeof *length);
  CHECK_OK(memory_make(g->n, sizeof *to->place, "places", &to->place));
  memset(to->place, -1, (size_t)g->n * sizeof *to->place);
#define PUT(i, j, w)                                                                               \
  do {                                                                                             \
    const int64_t e_ = to->slice[(i) / LANES] + (int64_t)length[i]++ * LANES + (i) % LANES;        \
    to->col[e_]      = (int32_t)(j);                                                               \
    to->weight[e_]   = (float)(w);                                                                 \
    to->diagonal[i] += (float)(w);                                                                 \
  } while (0)
  for (int i = 0; i < g->loose; i++) {
    memcpy(to->place[i], g->place[i], sizeof *g->place);
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      if (g->weight[e] > 0) PUT(i, g->col[e], g->weight[e]);
  }
  const struct flux_lattice *t = &g->lattice;
  for (int i = g->loose; i < g->n && t->pitch; i++) {
    int64_t at[3], beyond[3];
    flux_lattice_place(t, i, at);
    if (!(t->kind[i - t->first[0]] & LATTICE_NODE)) continue;
    for (int a = 0; a < 3; a++) to->place[i][a] = (int16_t)at[a];
    for (int s = 0; s < SIDES; s++) {
      memcpy(beyond, at, sizeof at);
      beyond[s / 2] += s % 2 ? 1 : -1;
      const uint8_t faces = t->faces[s][i - t->first[0]];
      if (faces) PUT(i, flux_lattice_row(t, beyond[0], beyond[1], beyond[2]), faces);
    }
  }
  for (int l = 0; l < t->links[2]; l++) PUT(t->link[l].row, t->link[l].col, t->link[l].weight);
#undef PUT
  const int sends = g->send_start[g->neighbours];
  CHECK_OK(memory_make(sends, sizeof *to->send, "halo nodes", &to->send));
  CHECK_OK(memory_make(sends, sizeof *to->send_buffer, "halo", &to->send_buffer));
  if (sends) memcpy(to->send, g->send, (size_t)sends * sizeof *g->send);
  to->neighbours = g->neighbours;
  memcpy(to->neighbour, g->neighbour, sizeof g->neighbour);
  memcpy(to->side, g->side, sizeof g->side);
  memcpy(to->send_start, g->send_start, sizeof g->send_start);
  memcpy(to->ghost_start, g->ghost_start, sizeof g->ghost_start);
  free(length);
}
/* Edges of a coarse graph with rows renamed by name[] (NULL: as they are), sorted. */
static int64_t edges_of(const struct flux_graph *g, const int32_t *name, struct edge *edge) {
  int64_t n = 0;
  for (int i = 0; i < g->n; i++)
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      if (g->weight[e] > 0)
        edge[n++] =
            (struct edge){name ? name[i] : i, name ? name[g->col[e]] : g->col[e], g->weight[e]};
  qsort(edge, (size_t)n, sizeof *edge, by_ends);
  return n;
}
static void compare(const struct flux_graph *g, const struct flux_graph *other,
                    const struct flux_graph *next, const struct flux_graph *its) {
  const int all = its->n + its->ghosts;
  int64_t bad = 0, differ = 0;
  int32_t *name = malloc((size_t)(all + 1) * sizeof *name);
  memset(name, -1, (size_t)all * sizeof *name);
  for (int i = 0; i < g->n + g->ghosts; i++) {
    bad += (g->agg[i] < 0) != (other->agg[i] < 0);
    if (g->agg[i] < 0 || other->agg[i] < 0) continue;
    if (name[other->agg[i]] < 0) name[other->agg[i]] = g->agg[i];
    bad += name[other->agg[i]] != g->agg[i];
  }
  for (int i = 0; i < its->n; i++)
    if (name[i] >= 0) bad += memcmp(its->place[i], next->place[name[i]], 6) != 0;
  CHECK(next->real == its->real && next->ghosts == its->ghosts && !bad,
        "%d nodes, %d ghosts; not %d, %d; %lld wrong", next->real, next->ghosts, its->real,
        its->ghosts, (long long)bad);
  const int64_t room = next->slice[next->n / LANES] + its->slice[its->n / LANES] + 1;
  struct edge *a = malloc((size_t)room * sizeof *a), *b = malloc((size_t)room * sizeof *b);
  const int64_t m = edges_of(next, NULL, a), n = bad ? m : edges_of(its, name, b);
  for (int64_t e = 0; e < m && e < n && !bad; e++)
    differ += a[e].row != b[e].row || a[e].col != b[e].col || a[e].weight != b[e].weight;
  CHECK(m == n && differ == 0, "%lld edges, not %lld; %lld differ", (long long)m, (long long)n,
        (long long)differ);
  free(a);
  free(b);
  free(name);
}
/* The kernels on a lattice do what they do on the same graph in slices, which has the lattice's colours. */
static double furthest(const float *a, const float *b, int n) {
  double most = 0;
  for (int i = 0; i < n; i++) most = fmax(most, fabs((double)(a[i] - b[i])));
  return most;
}
static void kernels_compare(struct flux_graph g[2]) {
  double dots[2][4];
  uint64_t seed = 17;
  g[1].colours  = g[0].colours;
  memcpy(g[1].colour_start, g[0].colour_start, sizeof g[0].colour_start);
  memcpy(g[1].diagonal, g[0].diagonal, (size_t)g[0].n * sizeof *g[0].diagonal);
  for (int i = 0; i < g[0].n; i++) {
    const bool node = g[1].place[i][0] >= 0;
    for (int k = 0; k < 2; k++) g[k].b[i] = 0;
    if (node) g[0].b[i] = g[1].b[i] = (float)random_unit(&seed) - 0.5F;
    g[0].x[i] = g[1].x[i] = node ? (float)random_unit(&seed) - 0.5F : 0;
  }
  for (int k = 0; k < 2; k++) {
    flux_graph_swap(&g[k], g[k].x);
    flux_graph_apply(&g[k], g[k].x, g[k].b, g[k].v, dots[k]);
    flux_graph_residual(&g[k], g[k].n, g[k].r);
  }
  const double close = 3e-6 * g[0].lattice.most;
  CHECK(furthest(g[0].v, g[1].v, g[0].n) <= close, "A x differs by %g",
        furthest(g[0].v, g[1].v, g[0].n));
  CHECK(furthest(g[0].r, g[1].r, g[0].n) <= close, "residuals differ by %g",
        furthest(g[0].r, g[1].r, g[0].n));
  for (int d = 0; d < 4; d++)
    CHECK(fabs(dots[0][d] - dots[1][d]) < 1e-5 * (fabs(dots[1][0]) + g[0].n), "dot %d: %g, not %g",
          d, dots[0][d], dots[1][d]);
  for (int start = 1; start >= 0; start--) {
    for (int k = 0; k < 2; k++) {
      if (start) memset(g[k].x, 0, (size_t)(g[k].n + g[k].ghosts) * sizeof(float));
      for (int c = 0; c < g[k].colours; c++) flux_graph_sweep(&g[k], c, start);
      flux_graph_swap(&g[k], g[k].x);
    }
    CHECK(furthest(g[0].x, g[1].x, g[0].n) < 1e-5, "sweeps differ by %g",
          furthest(g[0].x, g[1].x, g[0].n));
  }
}
/* What goes down to the next graph and comes up from it. */
static void transfers_compare(struct flux_graph g[2], struct flux_graph to[2]) {
  uint64_t seed = 19;
  int32_t bad = 0, *other = malloc((size_t)(to[0].n + 1) * sizeof *other);
  for (int i = 0; i < to[0].n; i++) {
    to[0].x[i] = 0;
    other[i]   = -1;
  }
  for (int i = 0; i < g[0].n; i++) {
    const bool node = g[0].agg[i] >= 0;
    g[0].r[i] = g[1].r[i] = node ? (float)(int)(8 * random_unit(&seed)) : 0;
    g[0].x[i] = g[1].x[i] = (float)(int)(8 * random_unit(&seed));
    if (!node) continue;
    other[g[0].agg[i]]   = g[1].agg[i];
    to[0].x[g[0].agg[i]] = (float)(i % 9);
    to[1].x[g[1].agg[i]] = (float)(i % 9);
  }
  for (int part = 0; part < 2; part++) {
    const int rows = part ? g[0].colour_start[g[0].colours - 1] : g[0].n;
    for (int k = 0; k < 2; k++) flux_graph_restrict(&g[k], g[k].r, rows, &to[k]);
    for (int i = 0; i < to[0].n; i++) bad += to[0].b[i] != (other[i] >= 0 ? to[1].b[other[i]] : 0);
  }
  for (int k = 0; k < 2; k++) flux_graph_prolong(&g[k], &to[k], 2);
  for (int i = 0; i < g[0].n; i++) bad += g[0].agg[i] >= 0 && g[0].x[i] != g[1].x[i];
  CHECK(bad == 0, "%d values differ", bad);
  free(other);
}
/* Down to the graph that is no lattice any more; gives how many there were. */
static int coarsen(MPI_Comm comm, enum flux_kind kind, const int64_t n[3], double porosity) {
  struct random_case c;
  struct flux_fine fine = {0};
  struct flux_graph g   = {0};
  int lattices          = 0;
  case_make(comm, &c, kind, n, porosity);
  c.problem.periodic = kind == FLUX_CELL;
  graph_make(comm, &c, &fine, &g);
  for (bool more = true; more; lattices++) {
    struct flux_graph alike[2] = {{0}}, to[2] = {{0}}, in_slices = {0};
    generic_make(&g, &alike[1]);
    CHECK_OK(flux_graph_coarsen(comm, &fine.plan, &g, false, &to[0]));
    CHECK_OK(flux_graph_coarsen(comm, &fine.plan, &alike[1], false, &to[1]));
    generic_make(&to[0], &in_slices);
    compare(&g, &alike[1], &in_slices, &to[1]);
    alike[0] = g;
    kernels_compare(alike);
    transfers_compare(alike, to);
    flux_graph_free(&alike[0]);
    flux_graph_free(&alike[1]);
    flux_graph_free(&to[1]);
    flux_graph_free(&in_slices);
    g      = to[0];
    int is = g.lattice.pitch > 0;
    MPI_Allreduce(MPI_IN_PLACE, &is, 1, MPI_INT, MPI_MAX, comm);
    more = is;
  }
  flux_graph_free(&g);
  flux_fine_free(&fine);
  random_free(&c);
  return lattices;
}
TEST(kernels_and_next_graph_are_those_of_any_graph) {
  coarsen(comm, FLUX_THROUGH, (int64_t[3]){74, 66, 70}, 0.75);
  coarsen(comm, FLUX_THROUGH, (int64_t[3]){71, 69, 75}, 0.95);
  coarsen(comm, FLUX_CELL, (int64_t[3]){68, 64, 64}, 0.95);
}
/* So large that eight ranks' next graph is not merged, and so long that little of their lines is padding. */
TEST(graphs_after_a_lattice_are_lattices) {
  int size;
  MPI_Comm_size(comm, &size);
  CHECK(coarsen(comm, FLUX_THROUGH, (int64_t[3]){66, 67, 800}, 0.8) > 1, "one lattice");
  CHECK(coarsen(comm, FLUX_CELL, (int64_t[3]){64, 64, 800}, 0.95) > (size == 1 ? 2 : 1),
        "few lattices");
  /* eleven boxes around would meet their own colour */
  if (size == 1) CHECK(coarsen(comm, FLUX_CELL, (int64_t[3]){64, 88, 800}, 0.95) == 2, "a third");
}
