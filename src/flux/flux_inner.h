/* Private to flux: the levels of the multigrid and what works on them.
 *
 * Level 0 is the voxels: float potential, one byte per voxel, no matrix. The levels below are graphs
 * whose nodes are the connected components of 2 x 2 x 2 boxes of the level above; they are kept in
 * slices of LANES rows (SELL format), sorted by colour, so that a Gauss-Seidel sweep is a row of
 * vector operations. Weights of graphs are whole numbers (multiples of a unit of conductance), so
 * their sums are exact and the same from both ends of an edge on any rank count.
 * As graphs shrink they go to fewer ranks, the last ones to one. */
#pragma once
#include "flux.h"

enum { LANES = 16, COLOURS = 4, SIDES = 6, BOX = 8, LEVELS = 32, PAD = 16 };
/* Graphs that take K-steps. A graph of fewer nodes a rank goes to fewer ranks; from so few ranks on one of fewer nodes in all
 * to a single one. */
enum { K_LEVELS = 9, MERGE_NODES = 1000, MERGE_RANKS = 8, ALONE_NODES = 30000, MERGES = 24 };
enum { CODE_MASK = 15, COMPONENT_SHIFT = 4 };
enum { UP_INSIDE = 255, UP_SEARCH = 254 };

/* ---- voxels -------------------------------------------------------------------------------- */

/* One of the six outer layers of this rank's box, as a u x v array. */
struct flux_side {
  int64_t nu, nv, step_u, step_v; /* of cells */
  int64_t inside, outside;        /* offsets of the first owned and first halo cell */
  int rank;                       /* whose voxels the halo shows; MPI_PROC_NULL: nobody's */
  double potential;               /* of the Dirichlet face there */
  bool dirichlet;
  double jump; /* of the potential over the periodic border there, what the halo shows more */
};

/* What kernels need to know. Offsets of voxel (k,j,i): origin + k plane + j row + i. */
struct flux_view {
  float *x;
  const uint8_t *code;
  const float *rhs; /* NULL: zero */
  float *box;       /* per box: in the correction, out the sum of residuals */
  int64_t n[3], row, plane, origin;
  int64_t box_row, box_plane;
  int parity;        /* of this rank's first voxel */
  bool uniform;      /* one conductance: codes are sums of open faces */
  float inverse[16]; /* uniform: 1/sum; else resistance by code */
  float weight[3];   /* per axis, not uniform */
  float pair[256];   /* 2/(r_i + r_j) */
  float *scratch;    /* 4 rows */
};

struct flux_fine {
  MPI_Comm comm;
  int rank, size;
  struct grid_plan plan;
  struct grid_box mine;
  bool middles; /* the plan lacks the two outer layers, whose codes the halo holds */
  int axis, kinds,
      first_kind; /* kinds of conductors in the whole volume, and the first one's code */
  struct flux_view view;
  int64_t cells, boxes[3], box_cells;
  struct flux_side side[SIDES];
  uint8_t *code;
  float *x, *low, *rhs, *box;
  float *source;     /* of an electrode: what enters each voxel; else NULL */
  int32_t *box_node; /* >= 0 node; -1 none; <= -2: several, entry -2 - value of `multi` */
  struct flux_multi *multi;
  int64_t multis;
  int32_t *halo_node[SIDES]; /* per voxel of a neighbour's layer: column of its node, -1 */
  double conductance[FLUX_CODES][FLUX_CODES]; /* harmonic mean, by code, before axis factor */
  double count[3][FLUX_CODES]
              [FLUX_CODES];       /* weight of a face in graphs, by axis and codes, whole numbers */
  double factor[3];               /* area over distance per axis */
  double scale;                   /* conductance that the levels call 1 */
  double unit;                    /* of graph weights in that */
  double weakest;                 /* conductance of a face */
  double wall[3];                 /* area of a wall across each axis, over the largest */
  double jumps;                   /* 1, or 0 for an equation without jumps */
  double volume;                  /* of a voxel */
  float *face_buffer[SIDES][2];   /* send, receive */
  MPI_Request request[2 * SIDES]; /* of a swap that was begun */
  int requests;
  bool under_way,
      sums_wait; /* the border of the potential is; sums of the boxes there wait for it */
  int64_t messages, message_bytes;
};
/* Does the halo show voxels there, another rank's or over a periodic border this one's? */
static inline bool flux_fine_border(const struct flux_fine *fine, int side) {
  return fine->side[side].rank != MPI_PROC_NULL;
}
/* A box of several components. */
struct flux_multi {
  int64_t box;
  int k, j, i, components;
  int32_t node[BOX];
};

static inline double flux_fine_conductance(const struct flux_fine *fine, uint8_t a, uint8_t b,
                                           int axis) {
  return fine->factor[axis] * fine->conductance[a & CODE_MASK][b & CODE_MASK];
}
/* Weight of a face in graphs, a whole number. */
static inline double flux_boxes_count(const struct flux_fine *f, uint8_t a, uint8_t b, int axis) {
  return f->view.uniform ? 1 : f->count[axis][a & CODE_MASK][b & CODE_MASK];
}
/* Of a voxel; -1: it blocks. */
static inline int32_t flux_boxes_node(const struct flux_fine *f, int64_t k, int64_t j, int64_t i) {
  const struct flux_view *v = &f->view;
  const uint8_t code        = f->code[v->origin + k * v->plane + j * v->row + i];
  const int32_t node        = f->box_node[k / 2 * v->box_plane + j / 2 * v->box_row + i / 2];
  if (!code) return -1;
  return node >= -1 ? node : f->multi[-2 - node].node[code >> COMPONENT_SHIFT];
}

/* All voxels of this rank in raster order, and those that conduct. */
#define EACH_CELL(v, p)                                                                            \
  for (int64_t k_ = 0; k_ < (v)->n[0]; k_++)                                                       \
    for (int64_t j_ = 0; j_ < (v)->n[1]; j_++)                                                     \
      for (int64_t p = (v)->origin + k_ * (v)->plane + j_ * (v)->row, end_ = p + (v)->n[2];        \
           p < end_; p++)
#define EACH_VOXEL(v, p) EACH_CELL(v, p) if ((v)->code[p])

/* ---- graphs -------------------------------------------------------------------------------- */

/* Most boxes of one conductance are one node each, with at most one edge per side, of 1 to 4 faces. The first graph of many
 * such boxes keeps them as a lattice: a row for every box (also where none conducts, without edges), colour by colour in the
 * order of the boxes, so that neighbours are found by place and a weight is a byte. Nodes of boxes that come apart keep rows
 * of their own, before the lattice; edges from the lattice to those, to ghosts and to itself over a periodic border are its
 * links, in order of rows. Entries: SIDES for each lattice row after those of the rows before, then one for each link.
 * The graphs after it are lattices, too, as long as weights are bytes and most of their boxes are one node. */
struct flux_link {
  int32_t row, col;
  float weight;
};
struct flux_lattice {
  int64_t boxes[3];
  int pitch, plane;      /* rows of a colour for each row, plane of boxes, whole slices; 0: none */
  int parity;            /* of the first box */
  bool around[3];        /* the axis is periodic, and all of it is this rank's */
  int most;              /* a weight */
  int first[2];          /* row of each colour's first box */
  int64_t entry;         /* of the first lattice row */
  uint8_t *faces[SIDES]; /* by row - first[0], shared with the box beyond that side */
  uint8_t *kind;         /* by row - first[0]: LATTICE_NODE, LATTICE_LINKED, LATTICE_FORKED */
  uint32_t *tie;         /* by box of 2 x 2 x 2 boxes, see flux_lattice_tree */
  int links[3];          /* where the links of each colour begin */
  struct flux_link *link;
  int strays; /* rows that went into rows outside of the next lattice */
  int32_t *stray;
};
enum { LATTICE_NODE = 1, LATTICE_LINKED = 2, LATTICE_FORKED = 4 };
struct flux_graph {
  MPI_Comm comm,
      team; /* of all ranks, in which neighbours are told; of those that hold a part (MPI_COMM_NULL: others) */
  int n, ghosts; /* rows (with padding rows between colours), halo nodes after them */
  int real;      /* rows that are nodes */
  int loose;     /* rows before the lattice, in slices with columns and weights */
  struct flux_lattice lattice;
  int colours, colour_start[COLOURS + 1];
  int64_t *slice; /* n/LANES + 1 offsets, in entries */
  int32_t *col;
  float *weight, *diagonal;
  int *agg;            /* row -> row of the next graph; ghosts too; -1 padding */
  int16_t (*place)[4]; /* box coordinates of rows; -1 padding */
  int32_t *tree;       /* pairs of rows: spanning trees of the aggregates */
  int tree_edges;
  int faces; /* nodes on the two Dirichlet faces */
  int32_t *face_node;
  float *face_weight[2];
  float *x, *b, *c, *v, *r; /* x, c with halo */
  /* halo */
  int neighbours, neighbour[SIDES], side[SIDES]; /* ranks, and through which side of ours */
  int send_start[SIDES + 1], ghost_start[SIDES + 1];
  int32_t *send;
  float *send_buffer;
  /* certificate: flux per weight of each entry, outwards, and of the Dirichlet faces; what is left to
   * carry out of each node */
  float *entry_flux;
  double *face_flux[2], *load;
  uint8_t
      *up; /* of each entry: which entry of the next graph's row it went into; inside, unknown */
  int32_t *degree, *linked;
  int64_t messages, message_bytes, sums;
};

/* The change from a graph to the same on fewer ranks, the next one. */
struct flux_merge {
  int level, depth,
      step;         /* of the graph; how often it was coarsened; parts per group along each axis */
  bool made, leads; /* this rank goes on */
  MPI_Comm group,
      team; /* who give to one rank (it is the first; MPI_COMM_NULL: no part); who go on */
  int size; /* of the group */
  int *count, *start, *edges, *edges_start, *faces,
      *faces_start;  /* of nodes, edges, faces of each member */
  int32_t *row;      /* this rank's rows, in order of nodes */
  int32_t *row_all;  /* node -> row of the copy */
  int64_t *entry;    /* edge -> entry of the copy */
  float *some, *all; /* this rank's, all members' */
  double *some_d, *all_d;
};

struct flux_levels {
  struct flux_fine fine;
  struct flux_graph graph[LEVELS];
  int graphs;
  struct flux_merge merge[MERGES];
  int merges;
  int64_t solved;      /* nodes of the graph that one rank alone holds, each time that it was */
  float *keep;         /* of nested iteration, of all graphs */
  double *factor;      /* dense Cholesky of the last graph; NULL: that has no edges */
  double *coarsest[3]; /* vectors of its size */
  int32_t *
      body; /* of its rows: the least row of a body that touches no face, else -1; NULL: as factor */
  double over; /* over-correction of piecewise constant aggregates */
  double gain;
  double jump[3]; /* of a cell, per axis */
};

/* flux_fine.c */
enum status flux_fine_make(MPI_Comm comm, const struct flux_case *problem,
                           const struct grid_field *codes, struct flux_fine *fine);
void flux_fine_free(struct flux_fine *fine);
/* Swaps the outer layers of bytes or floats with the neighbours; begun, and ended by the next. */
void flux_fine_swap_begin(struct flux_fine *fine, void *const send[SIDES],
                          void *const receive[SIDES], int64_t cell_bytes);
void flux_fine_swap_end(struct flux_fine *fine);
void flux_fine_swap(struct flux_fine *fine, void *const send[SIDES], void *const receive[SIDES],
                    int64_t cell_bytes);
void flux_fine_swap_codes(struct flux_fine *fine);
/* jumps: what lies beyond a periodic border is shown with its jump. */
void flux_fine_swap_floats(struct flux_fine *fine, float *x, bool jumps);
/* Halo cells beyond the outer faces hold their potentials times `scale`, and jumps count that much. */
void flux_fine_faces(struct flux_fine *fine, double scale);
/* What leaves an electrode's voxel through its walls; the volume's own sides are no walls. */
double flux_fine_source(const struct flux_fine *fine, const int64_t at[3]);
/* Difference of the potential over the whole that the levels call 1. */
double flux_fine_drop(const struct flux_case *problem, const int64_t n[3]);
/* Of a voxel at a Dirichlet face to what is fixed: half a voxel away, or in the middle of the layer beyond. */
double flux_fine_face(const struct flux_fine *fine, uint8_t in, uint8_t out, int axis);

/* flux_boxes_graph.c */
/* Collective. Percolation and the first graph. */
enum status flux_boxes_graph(MPI_Comm comm, const struct flux_case *problem, struct flux_fine *fine,
                             struct flux_answer *answer, struct flux_graph *graph);
/* Weight in graphs of a face at what is fixed. */
double flux_boxes_face(const struct flux_fine *fine, uint8_t in, uint8_t out, int axis);

/* flux_graph.c */
/* Two colours of so many nodes (int: a rank's nodes are checked to be fewer than 2^30), each padded to whole slices; places;
 * where each colour's rows begin. */
enum status flux_graph_colour(struct flux_graph *graph, const int count[2], int next[2]);
enum status flux_graph_rows(struct flux_graph *graph, const uint16_t *length);
/* plan: of the voxels, none of whose ranks was merged if `from` is a lattice. by_strength: weak edges do not join. */
enum status flux_graph_coarsen(MPI_Comm comm, const struct grid_plan *plan, struct flux_graph *from,
                               bool by_strength, struct flux_graph *to);
void flux_graph_free(struct flux_graph *graph);
void flux_graph_swap(struct flux_graph *graph, float *x);
void flux_graph_swap_numbers(struct flux_graph *graph, int32_t *number);
int64_t flux_graph_find(const struct flux_graph *graph, int row, int32_t col);
/* Rows without edges get a diagonal that keeps them at zero, whatever rounding leaves on their right-hand side. */
void flux_graph_pad(struct flux_graph *graph);

static inline int32_t flux_root(int32_t *parent, int32_t a) {
  while (parent[a] != a) {
    parent[a] = parent[parent[a]];
    a         = parent[a];
  }
  return a;
}
/* Unites two rows; the edge between them is one of the trees'. */
static inline void flux_tree_join(struct flux_graph *g, int32_t *parent, int32_t i, int32_t j) {
  const int32_t a = flux_root(parent, i), b = flux_root(parent, j);
  if (a == b) return;
  parent[a > b ? a : b]          = a < b ? a : b;
  g->tree[2 * g->tree_edges]     = i;
  g->tree[2 * g->tree_edges + 1] = j;
  g->tree_edges++;
}

/* flux_lattice.c */
void flux_lattice_free(struct flux_lattice *lattice);
/* Weight of a row's entry. */
double flux_graph_weight(const struct flux_graph *graph, int32_t row, int64_t entry);
/* The kernels of a graph on all its rows. */
void flux_graph_sweep(const struct flux_graph *graph, int colour, bool start);
void flux_graph_residual(const struct flux_graph *graph, int rows, float *r);
void flux_graph_apply(const struct flux_graph *graph, const float *x, const float *v, float *out,
                      double dots[4]);
/* next->b = sums of r, of which only the first rows are not zero; x += over * next->x, also in rows that are no nodes, which
 * the next sweep puts right. */
void flux_graph_restrict(const struct flux_graph *graph, const float *r, int rows,
                         struct flux_graph *next);
void flux_graph_prolong(struct flux_graph *graph, const struct flux_graph *next, float over);
void flux_graph_carry_potential(const struct flux_graph *graph, const float *z, double scale);
void flux_graph_split(const struct flux_graph *graph, const struct flux_graph *next, const float *z,
                      double scale);

/* flux_merge.c */
/* Local. Ranks that hold a part where `step` parts along each axis have come together; is a graph too small for
 * them; the next larger step. */
bool flux_merge_wanted(const struct grid_plan *plan, int step, int64_t nodes);
int flux_merge_team(const struct grid_plan *plan, int step);
int flux_merge_step(const struct grid_plan *plan, int step);
/* Collective over comm; merge's level, depth and step are given. */
enum status flux_merge_make(MPI_Comm comm, const struct flux_fine *fine, struct flux_graph *from,
                            struct flux_merge *merge, struct flux_graph *to);
void flux_merge_free(struct flux_merge *merge);
/* Collective over the group: b goes down to the copy, x comes up from it (no halo). */
void flux_merge_down(struct flux_merge *merge, struct flux_graph *graph, struct flux_graph *copy);
void flux_merge_up(struct flux_merge *merge, struct flux_graph *graph,
                   const struct flux_graph *copy);
/* Load down; up the copy's flux of entries (here with that of a potential times graph->x) and faces (added). */
void flux_merge_load_down(struct flux_merge *merge, struct flux_graph *graph,
                          struct flux_graph *copy);
void flux_merge_flux_up(struct flux_merge *merge, struct flux_graph *graph,
                        const struct flux_graph *copy, double potential);

/* flux_cycle.c */
/* The change after graph `at`, NULL: there is none. */
struct flux_merge *flux_levels_merge(struct flux_levels *levels, int at);
enum status flux_levels_make(MPI_Comm comm, const struct flux_case *problem,
                             const struct grid_field *codes, struct flux_levels *levels,
                             struct flux_answer *answer);
void flux_levels_free(struct flux_levels *levels);
/* graph[0].x from graph[0].b (lost) by one K-cycle; gives x.A x, what it gains in energy. */
double flux_levels_correct(struct flux_levels *levels);
/* graph[0].x, the start by nested iteration. */
void flux_levels_nested(struct flux_levels *levels);

void flux_levels_coarsest(const struct flux_levels *levels, double *y);
/* flux_transfer.c: between voxels and the first graph. */
/* x += correction of the boxes (with `prolong`), half sweeps of red-black Gauss-Seidel from `colour`,
 * and the boxes take the residual's sums. */
void flux_transfer_pass(struct flux_fine *fine, bool prolong, int half_sweeps, int colour);
/* A pass ends with the border on its way, and so does flux_transfer_up; what needs the halo or the boxes waits for it here. */
void flux_transfer_finish(struct flux_fine *fine);
/* Boxes -> graph->b, and scale graph->x -> boxes (and the voxels of split boxes). */
void flux_transfer_down(struct flux_fine *fine, struct flux_graph *graph);
void flux_transfer_up(struct flux_fine *fine, const struct flux_graph *graph, float scale);

/* flux_bound.c */
struct flux_bound {
  double upper, lower; /* of the energy, in the fine unit of conductance; of an electrode: of what a
                        * unit of energy is worth, (sum of sources)^2 / energy */
  double divergence;
};
/* Collective. From fine.x (+ fine.low) and, for the lower bound, the correction in graph[0].x, which
 * `fresh` finds anew. */
enum status flux_bound_find(MPI_Comm comm, struct flux_levels *levels, bool lower, bool fresh,
                            struct flux_bound *bound, struct flux_state *state,
                            const double flux_unit[3]);
/* flux_route.c: flux of graph[0]'s entries and faces that carries the load (double) out. */
enum status flux_route_make(MPI_Comm comm, struct flux_levels *levels);
/* The correction is graph[0].x times `scale`. */
void flux_route_run(struct flux_levels *levels, double scale);

struct flux_box_sums {
  double energy, cost, inflow, unbalanced, worst;
};
/* How the certificate takes a box: by the kernel for one code and one component with neighbours like it; by the one for boxes
 * inside the rank's own; voxel by voxel. */
enum flux_path { PATH_ALIKE = 0, PATH_MIXED, PATH_VOXELS };
/* A row of boxes for the certificate. */
struct flux_row {
  const struct flux_view *view;
  const float *low;
  const struct flux_graph *graph;
  const double (*inverse)[BOX][BOX]; /* of the Neumann problem of each pattern of voxels */
  const int32_t *node, *face_of;     /* of the row's boxes; node -> entry among faces */
  const uint8_t *path;               /* of each box */
  const double *factor;              /* several conductances: of the axes, */
  const double *strength;            /* of each code with itself, */
  const double (*routed)[3];         /* a weight in graphs over that, by code and axis, */
  double unit;                       /* of weights */
  const struct flux_fine *fine;
  const double (
      *ratio)[FLUX_CODES]
             [FLUX_CODES]; /* fall of potential per flux of the route, by axis and codes */
  int64_t at, boxes;       /* offset of the first voxel */
  int outer;               /* which side is a Dirichlet face here, -1 */
  double potential;
};

/* kernels */
ISA_DECLARE(void, flux_patterns, const uint8_t *const row[4], int64_t nx, uint8_t *restrict pattern)
ISA_DECLARE(void, flux_shared_faces, const uint8_t *pattern, int64_t plane, int64_t row, int64_t n,
            uint8_t *restrict shared)
ISA_DECLARE(void, flux_open_faces, const uint8_t *code, int64_t row, int64_t plane, int64_t nx,
            uint8_t *restrict out)
ISA_DECLARE(void, flux_pass, struct flux_view *view, bool prolong, int half_sweeps, int colour)
ISA_DECLARE(void, flux_sweep, const struct flux_graph *graph, int colour, bool zero)
ISA_DECLARE(void, flux_residual, const struct flux_graph *graph, int rows, float *r)
ISA_DECLARE(void, flux_apply, const struct flux_graph *graph, const float *x, const float *v,
            float *out, double dots[4])
ISA_DECLARE(double, flux_less, float *b, const float *v, float a, int n)
ISA_DECLARE(void, flux_combine, float *x, const float *c, float p, float q, int n)
ISA_DECLARE(void, flux_carry_potential, const struct flux_graph *graph, const float *z,
            double scale)
ISA_DECLARE(void, flux_split, const struct flux_graph *graph, const struct flux_graph *next,
            const float *z, double scale)
/* Faces that pairs of boxes share along an axis, of even and of odd ones. */
ISA_DECLARE(void, flux_common_faces, const uint8_t *before, const uint8_t *after, int axis,
            int64_t n, uint8_t *restrict even, uint8_t *restrict odd)
/* Nodes and pairs of 2 x 2 x 2 boxes into their ties; rows of a next lattice, where such boxes are one body; that lattice's
 * weights, and through which of its entries edges go up. */
ISA_DECLARE(void, flux_lattice_ties, const struct flux_lattice *lattice)
ISA_DECLARE(void, flux_lattice_agg, const struct flux_graph *graph, const struct flux_graph *next)
ISA_DECLARE(void, flux_lattice_fold, const struct flux_graph *graph, const struct flux_graph *next)
/* Of lattice rows below `rows`; to those of the next lattice. */
ISA_DECLARE(void, flux_lattice_restrict, const struct flux_graph *graph, const float *r, int rows,
            struct flux_graph *next)
ISA_DECLARE(void, flux_lattice_prolong, struct flux_graph *graph, const struct flux_graph *next,
            float over)
ISA_DECLARE(void, flux_lattice_diagonal, const struct flux_graph *graph)
ISA_DECLARE(void, flux_lattice_sweep, const struct flux_graph *graph, int colour, bool start)
ISA_DECLARE(void, flux_lattice_residual, const struct flux_graph *graph, int colours, float *r)
ISA_DECLARE(void, flux_lattice_apply, const struct flux_graph *graph, const float *x,
            const float *v, float *out, double dots[4])
ISA_DECLARE(void, flux_lattice_carry, const struct flux_graph *graph, const float *z, double scale)
ISA_DECLARE(void, flux_lattice_split, const struct flux_graph *graph, const struct flux_graph *next,
            const float *z, double scale)
ISA_DECLARE(void, flux_row_loads, const struct flux_row *row, double *load)
/* Boxes with voxels of another code, in or beyond them, become PATH_MIXED. */
ISA_DECLARE(void, flux_row_alike, const struct flux_row *row, uint8_t *path)
ISA_DECLARE(void, flux_row_bound, const struct flux_row *row, bool route,
            struct flux_box_sums *sums)
ISA_DECLARE(void, flux_mixed_loads, const struct flux_row *row, double *load)
ISA_DECLARE(void, flux_mixed_bound, const struct flux_row *row, bool route,
            struct flux_box_sums *sums)
ISA_DECLARE(void, flux_balance, const double weight[3][BOX], unsigned lanes, const double load[BOX],
            double y[BOX])
