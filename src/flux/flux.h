/* flux: steady Li+ transport through a labelled volume, div(D grad c) = 0 on the voxels with harmonic
 * face conductances, c fixed on two opposite outer faces. Gives the effective diffusivity with a
 * guaranteed interval, both tortuosity factors, concentration and flux. */
#pragma once
#include "stage.h"

struct flux_params {
#include "config_struct.inc"
#include "flux_params.def"
#include "config_undef.inc"
};
extern const struct config_set flux_param_set;
extern const struct stage flux_stage;

/* Codes of voxels: 0 blocked, 1..FLUX_CODES-2 index diffusivity[]. */
enum { FLUX_CODES = 16, FLUX_CODE_FACE = 15 };
enum flux_solver { FLUX_MULTIGRID, FLUX_KRYLOV, FLUX_GAMG, FLUX_BOOMERAMG };

/* THROUGH: c fixed on the two outer faces across the axis. CELL: a periodic cell under a mean gradient,
 * D_eff = gradient . tensor . gradient. ELECTRODE: c fixed on the low face alone, what enters there leaves through
 * every face between a conducting and a blocked voxel alike (a blocking electrode at low frequency); D_eff is that of
 * the straight pores with the same 1/3 of their resistance. */
enum flux_kind { FLUX_THROUGH, FLUX_CELL, FLUX_ELECTRODE };

/* One problem: direction, boundaries and the accuracy asked for. */
struct flux_case {
  enum flux_kind kind;
  double gradient[3];             /* CELL: along z, y, x */
  int axis;                       /* of the flow: 0 z, 1 y, 2 x */
  bool periodic;                  /* the four sides; else no flux through them */
  double spacing[3];              /* of voxels along z, y, x, any unit */
  double diffusivity[FLUX_CODES]; /* by code; [0] = 0 */
  int64_t volume_vox;             /* of the domain (box or mask) that fractions refer to */
  double tolerance;               /* of (upper - lower) / (upper + lower) */
  bool middles;      /* THROUGH: c is fixed at the middles of the outer layers, L = N - 1 */
  bool high;         /* ELECTRODE: c is fixed on the high face instead */
  double negligible; /* CELL: an upper bound of D_eff below this is narrow enough */
  int iterations_max;
  enum flux_solver solver;
  bool certify;              /* false: no lower bound, stop on the estimated error */
  const char *petsc_options; /* text as of a PETSc command line, NULL or "" for none */
  /* THROUGH, borrowed, may be NULL: a concentration on the codes' plan to start from where it is finite, when that is
   * nearer than the start found here. */
  const struct grid_field *start;
  /* Collective, may be NULL: told the concentration as it stands, when keep_s have passed and before a stop. */
  enum status (*keep)(void *context, int iteration, const struct grid_field *concentration);
  void *context;
  double keep_s;
};

/* Messages and bytes sent, collectives of the ranks that hold a part of a graph, and nodes that one rank solves alone, as
 * often as it does. */
struct flux_traffic {
  int64_t messages, bytes, sums, alone;
};
struct flux_answer {
  bool percolates;
  int64_t voxels[FLUX_CODES], percolating[FLUX_CODES]; /* by code, of the whole volume */
  double upper,
      lower;       /* of D_eff, in the unit of the diffusivities; lower NAN when not asked for */
  double estimate; /* relative error of `upper` as the last coarse correction tells it */
  bool converged;
  int iterations;
  bool started_warm; /* from problem->start */
  double
      divergence; /* largest imbalance of a voxel in the certified flux, over the mean face flux */
  double setup_s, solve_s, bound_s;
  struct flux_traffic traffic; /* of this rank in the last cycle */
};

/* Where the solved state goes; any may have data == NULL. Shapes: as the codes, and one face more
 * along its axis for flux[a] (the last part of the codes' plan one longer). */
struct flux_state {
  struct grid_field concentration, flux[3], magnitude;
};
void flux_state_free(struct flux_state *state);

/* Collective. Slabs or blocks whose cuts keep the 2 x 2 x 2 boxes of the first levels whole. */
enum status flux_plan_make(MPI_Comm comm, const int64_t n[3], struct grid_plan *plan);
/* Local. The same parts and cuts for plan->size ranks and the shape plan->n, without a communicator. */
enum status flux_plan_parts(struct grid_plan *plan);
/* Local. What the busiest rank sends in one cycle, and sums over all ranks in it, by a model: at most (every K-cycle
 * takes its second step), or at least. */
struct flux_traffic flux_traffic_model(const struct grid_plan *plan, bool second_steps);
/* Collective. Solves on `codes` (uint8, no halo needed). `state` may be NULL. NOT_CONVERGED is told
 * by answer->converged, not by the status. */
enum status flux_solve(MPI_Comm comm, const struct flux_case *problem,
                       const struct grid_field *codes, struct flux_answer *answer,
                       struct flux_state *state);
/* Bytes that a rank needs per voxel of its share beside the graphs; open: share of voxels that conduct. */
double flux_bytes_per_voxel(enum flux_solver solver, double open, bool state);
