/* The multigrid cycle. Voxels: fused pass (flux_fine_kernel.c). Graphs: one forward and one backward
 * Gauss-Seidel sweep around the correction of the next graph, which is over-weighted by 2 because
 * piecewise constant aggregates are too stiff by about that; the upper graphs take two such
 * steps, combined to the least energy error (Notay and Vassilevski's K-cycle, Numer. Linear Algebra
 * Appl. 15, 473, 2008), skipping the second when the first did well. A correction x of A x = b with
 * x.b = x.A x leaves the energy as it is or lowers it when added twice, so the cycle cannot diverge.
 * Last graph: dense Cholesky. */
#include "flux_lattice.h"
#include <math.h>
#include <string.h>

enum { DENSE = 160 };
_Static_assert((int)DENSE < (int)LATTICE_NODES, "the last graph is no lattice");
static const double second_step = 0.25; /* wanted when the first left more of the residual */

/* ---- making ---- */

/* The least row of each row's body in body[]; -1 where the body touches a face. */
static enum status bodies_find(const struct flux_graph *g, int32_t **bodies) {
  TRY(memory_make(g->n, sizeof **bodies, "coarsest level", bodies));
  int32_t *body = *bodies;
  for (int i = 0; i < g->n; i++) body[i] = i;
  for (bool again = true; again;) {
    again = false;
    for (int i = 0; i < g->n; i++)
      for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES) {
        if (!(g->weight[e] > 0) || body[g->col[e]] <= body[i]) continue;
        body[g->col[e]] = body[i];
        again           = true;
      }
  }
  for (int f = 0; f < g->faces; f++) {
    const int32_t touching = body[g->face_node[f]];
    for (int i = 0; touching >= 0 && i < g->n; i++)
      if (body[i] == touching) body[i] = -1;
  }
  return STATUS_OK;
}
/* The last row of each body that touches no face: its potential is free, and is set to zero there. */
static enum status ground_find(const int32_t *body, int n, uint8_t **ground) {
  TRY(memory_make(n, 1, "coarsest level", ground));
  for (int i = 0; i < n; i++) {
    (*ground)[i] = body[i] >= 0;
    for (int k = i + 1; k < n && (*ground)[i]; k++)
      if (body[k] == body[i]) (*ground)[i] = 0;
  }
  return STATUS_OK;
}
static void dense_factor(double *f, int n, const uint8_t *ground, bool *definite) {
  static const double endless = 1e100;
  for (int j = 0; j < n && *definite; j++) {
    double *row_j = f + (int64_t)j * n;
    for (int k = 0; k < j; k++) row_j[j] -= row_j[k] * row_j[k];
    *definite = row_j[j] > 0 || ground[j];
    row_j[j]  = ground[j] ? endless : sqrt(row_j[j]);
    for (int i = j + 1; i < n; i++) {
      double *row_i = f + (int64_t)i * n;
      for (int k = 0; k < j; k++) row_i[j] -= row_i[k] * row_j[k];
      row_i[j] /= row_j[j];
    }
  }
}
static enum status dense_make(struct flux_levels *levels) {
  const struct flux_graph *g = &levels->graph[levels->graphs - 1];
  const int n                = g->n;
  for (int v = 0; v < 3; v++)
    TRY(memory_make(n, sizeof(double), "coarsest level", &levels->coarsest[v]));
  if (g->slice[n / LANES] == 0) return STATUS_OK;
  TRY(memory_make((int64_t)n * n, sizeof(double), "dense factor", &levels->factor));
  double *f = levels->factor;
  for (int i = 0; i < n; i++) {
    f[(int64_t)i * n + i] = (double)g->diagonal[i] * (1 + 1e-9);
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      f[(int64_t)i * n + g->col[e]] -= (double)g->weight[e];
  }
  bool definite   = true;
  uint8_t *ground = NULL;
  TRY(bodies_find(g, &levels->body));
  enum status s = ground_find(levels->body, n, &ground);
  if (s == STATUS_OK) dense_factor(f, n, ground, &definite);
  memory_free(ground);
  if (!definite) return FAIL(STATUS_INTERNAL, "flux: the coarsest matrix is not definite");
  return s;
}
void flux_levels_coarsest(const struct flux_levels *levels, double *y) {
  const struct flux_graph *g = &levels->graph[levels->graphs - 1];
  const int n                = g->n;
  const double *f            = levels->factor;
  for (int i = 0; !f && i < n; i++) y[i] /= (double)g->diagonal[i];
  if (!f) return;
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < i; k++) y[i] -= f[(int64_t)i * n + k] * y[k];
    y[i] /= f[(int64_t)i * n + i];
  }
  for (int i = n - 1; i >= 0; i--) {
    y[i] /= f[(int64_t)i * n + i];
    for (int k = 0; k < i; k++) y[k] -= f[(int64_t)i * n + k] * y[i];
  }
}
static enum status merge_next(MPI_Comm comm, struct flux_levels *levels, int *step) {
  struct flux_merge *w = &levels->merge[levels->merges];
  const int at         = levels->graphs - 1;
  if (levels->merges == MERGES) return FAIL(STATUS_INTERNAL, "flux: too many merges");
  *step    = flux_merge_step(&levels->fine.plan, *step);
  w->level = at;
  w->depth = at - levels->merges++;
  w->step  = *step;
  return flux_merge_make(comm, &levels->fine, &levels->graph[at], w, &levels->graph[at + 1]);
}
/* Nodes and entries on all ranks. */
static void graph_size(MPI_Comm comm, const struct flux_graph *g, int64_t size[2]) {
  size[0] = g->real;
  size[1] = g->slice[g->n / LANES];
  MPI_Allreduce(MPI_IN_PLACE, size, 2, MPI_INT64_T, MPI_SUM, comm);
}
static enum status graphs_make(MPI_Comm comm, struct flux_levels *levels) {
  struct flux_graph *g = levels->graph;
  bool by_strength     = !levels->fine.view.uniform;
  int step             = 1;
  int64_t size[2], before = INT64_MAX / 100;
  graph_size(comm, &g[0], size);
  for (levels->graphs = 1; levels->graphs < LEVELS; levels->graphs++) {
    struct flux_graph *last = &g[levels->graphs - 1], *next = &g[levels->graphs];
    const int team = flux_merge_team(&levels->fine.plan, step);
    if (team > 1 &&
        (flux_merge_wanted(&levels->fine.plan, step, size[0]) || size[0] > before * 9 / 10)) {
      TRY(merge_next(comm, levels, &step));
      before = INT64_MAX / 100; /* aggregates may cross borders that have gone */
      continue;
    }
    if (team == 1 && (size[0] <= DENSE || size[1] == 0)) break;
    TRY(flux_graph_coarsen(comm, &levels->fine.plan, last, by_strength, next));
    memory_free(last->place);
    last->place = NULL;
    before      = size[0];
    graph_size(comm, next, size);
    if (size[0] > before * 7 / 10) by_strength = false;
  }
  const bool last = g[levels->graphs - 1].team != MPI_COMM_NULL;
  TRY_ALL(comm, last ? dense_make(levels) : STATUS_OK);
  int64_t all = 0;
  for (int i = 0; i < levels->graphs; i++) all += g[i].n;
  return AGREE(comm, memory_make_raw(all, sizeof *levels->keep, "graph vectors", &levels->keep));
}
static int64_t sum_of(const int64_t *count) {
  int64_t s = 0;
  for (int c = 0; c < FLUX_CODES; c++) s += count[c];
  return s;
}
enum status flux_levels_make(MPI_Comm comm, const struct flux_case *problem,
                             const struct grid_field *codes, struct flux_levels *levels,
                             struct flux_answer *answer) {
  memset(levels, 0, sizeof *levels);
  levels->over = 2;
  for (int a = 0; a < 3 && problem->kind == FLUX_CELL; a++)
    levels->jump[a] = problem->gradient[a] * problem->spacing[a] * (double)codes->plan.n[a] /
                      flux_fine_drop(problem, codes->plan.n);
  TRY(flux_fine_make(comm, problem, codes, &levels->fine));
  TRY(flux_boxes_graph(comm, problem, &levels->fine, answer, &levels->graph[0]));
  levels->graphs     = 1;
  answer->percolates = sum_of(answer->percolating) > 0;
  return answer->percolates ? graphs_make(comm, levels) : STATUS_OK;
}
void flux_levels_free(struct flux_levels *levels) {
  for (int g = 0; g < LEVELS; g++) flux_graph_free(&levels->graph[g]); /* one may be half made */
  for (int i = 0; i < levels->merges; i++) flux_merge_free(&levels->merge[i]);
  memory_free(levels->keep);
  flux_fine_free(&levels->fine);
  memory_free(levels->factor);
  for (int v = 0; v < 3; v++) memory_free(levels->coarsest[v]);
  memory_free(levels->body);
  memset(levels, 0, sizeof *levels);
}

/* ---- cycles on graphs ---- */

static void dots_sum(struct flux_graph *g, double *dots, int n) {
  if (g->team == MPI_COMM_SELF) return;
  MPI_Allreduce(MPI_IN_PLACE, dots, n, MPI_DOUBLE, MPI_SUM, g->team);
  g->sums++;
}
static void solve(struct flux_levels *levels, int at);

/* Bodies that touch no face lose their mean: of a residual, what rounding puts out of reach; of a correction, what says
 * nothing, which every graph above would double. */
static void means_remove(const struct flux_levels *levels, int n, double *y) {
  double *sum = levels->coarsest[1], *count = levels->coarsest[2];
  const int32_t *body = levels->body;
  if (!body) return;
  for (int i = 0; i < n; i++) sum[i] = count[i] = 0;
  for (int i = 0; i < n; i++)
    if (body[i] >= 0) {
      sum[body[i]] += y[i];
      count[body[i]]++;
    }
  for (int i = 0; i < n; i++)
    if (body[i] >= 0) y[i] -= sum[body[i]] / count[body[i]];
}
static void solve_coarsest(struct flux_levels *levels, struct flux_graph *g) {
  double *y = levels->coarsest[0];
  for (int i = 0; i < g->n; i++) y[i] = (double)g->b[i];
  means_remove(levels, g->n, y);
  flux_levels_coarsest(levels, y);
  means_remove(levels, g->n, y);
  for (int i = 0; i < g->n; i++) g->x[i] = (float)y[i];
}
struct flux_merge *flux_levels_merge(struct flux_levels *levels, int at) {
  for (int i = 0; i < levels->merges; i++)
    if (levels->merge[i].level == at) return &levels->merge[i];
  return NULL;
}
static void solve_merged(struct flux_levels *levels, struct flux_merge *w, int at) {
  struct flux_graph *g = &levels->graph[at], *next = g + 1;
  if (w->group == MPI_COMM_NULL) return;
  flux_merge_down(w, g, next);
  if (flux_merge_team(&levels->fine.plan, w->step) == 1) levels->solved += w->start[w->size];
  if (w->leads) solve(levels, at + 1);
  flux_merge_up(w, g, next);
}
static void cycle(struct flux_levels *levels, int at) {
  struct flux_graph *g = &levels->graph[at], *next = g + 1;
  if (at == levels->graphs - 1) {
    solve_coarsest(levels, g);
    return;
  }
  memset(g->x, 0, (size_t)(g->n + g->ghosts) * sizeof *g->x);
  for (int c = 0; c < g->colours; c++) flux_graph_sweep(g, c, true);
  flux_graph_swap(g, g->x);
  /* the last colour's residual is zero, except that the halo has changed */
  const int rows = g->ghosts ? g->n : g->colour_start[g->colours - 1];
  flux_graph_residual(g, rows, g->r);
  flux_graph_restrict(g, g->r, rows, next);
  solve(levels, at + 1);
  flux_graph_prolong(g, next, (float)levels->over);
  flux_graph_swap(g, g->x);
  for (int c = g->colours - 1; c >= 0; c--) flux_graph_sweep(g, c, false);
}
static void k_cycle(struct flux_levels *levels, int at) {
  struct flux_graph *g = &levels->graph[at];
  double first[5], second[4];
  cycle(levels, at);
  flux_graph_swap(g, g->x);
  flux_graph_apply(g, g->x, NULL, g->v, first);
  dots_sum(g, first, 4);
  if (!(first[0] > 0)) return;
  const float a = (float)(first[1] / first[0]);
  first[4]      = ISA_PICK(flux_less)(g->b, g->v, a, g->n);
  dots_sum(g, &first[4], 1);
  float *t     = g->c;
  g->c         = g->x;
  g->x         = t;
  double along = first[1] / first[0], across = 0, gain = first[1] * along;
  if (first[4] > second_step * second_step * first[3]) {
    cycle(levels, at);
    flux_graph_swap(g, g->x);
    flux_graph_apply(g, g->x, g->v, NULL, second);
    dots_sum(g, second, 3);
    const double rest = second[0] - second[2] * second[2] / first[0];
    if (rest > 1e-12 * second[0]) {
      along -= second[2] * second[1] / (first[0] * rest);
      across = second[1] / rest;
      gain += second[1] * across;
    }
  }
  if (at == 0) levels->gain = gain;
  const float p = (float)along, q = (float)across;
  ISA_PICK(flux_combine)(g->x, g->c, p, q, g->n);
}
static void solve(struct flux_levels *levels, int at) {
  struct flux_merge *w = flux_levels_merge(levels, at);
  int merged           = 0;
  for (int i = 0; i < levels->merges; i++) merged += levels->merge[i].level < at;
  if (w)
    solve_merged(levels, w, at);
  else if (at - merged < K_LEVELS && at < levels->graphs - 1)
    k_cycle(levels, at);
  else
    cycle(levels, at);
}
double flux_levels_correct(struct flux_levels *levels) {
  struct flux_graph *g = &levels->graph[0];
  levels->gain         = -1;
  solve(levels, 0);
  if (levels->gain >= 0) return levels->gain;
  double gain = 0;
  for (int i = 0; i < g->n; i++) gain += (double)g->x[i] * (double)g->b[i];
  dots_sum(g, &gain, 1);
  return gain;
}

/* ---- nested iteration ---- */

static void source_set(struct flux_graph *g) {
  memset(g->b, 0, (size_t)g->n * sizeof *g->b);
  for (int i = 0; i < g->faces; i++)
    g->b[g->face_node[i]] += 0.5F * (g->face_weight[0][i] - g->face_weight[1][i]);
}
/* One cycle on top of the next graph's potential; keep[] holds that start. */
static void nested_step(struct flux_levels *levels, int at, float *keep) {
  struct flux_graph *g = &levels->graph[at], *next = g + 1;
  for (int i = 0; i < g->n; i++) g->x[i] = g->agg[i] >= 0 ? next->x[g->agg[i]] : 0;
  flux_graph_swap(g, g->x);
  source_set(g);
  flux_graph_residual(g, g->n, g->r);
  memcpy(g->b, g->r, (size_t)g->n * sizeof *g->b);
  memcpy(keep, g->x, (size_t)g->n * sizeof *g->x);
  solve(levels, at);
  for (int i = 0; i < g->n; i++) g->x[i] += keep[i];
}
static void nested(struct flux_levels *levels, int at, float *keep) {
  struct flux_graph *g = &levels->graph[at];
  struct flux_merge *w = flux_levels_merge(levels, at);
  if (w) {
    if (w->leads) nested(levels, at + 1, keep);
    if (w->group != MPI_COMM_NULL) flux_merge_up(w, g, g + 1);
  } else if (at == levels->graphs - 1) {
    source_set(g);
    solve_coarsest(levels, g);
  } else {
    nested(levels, at + 1, keep + g->n);
    nested_step(levels, at, keep);
  }
}
void flux_levels_nested(struct flux_levels *levels) {
  nested(levels, 0, levels->keep);
  memory_free(levels->keep);
  levels->keep = NULL;
}
