/* PETSc around the multigrid: flexible conjugate gradients (KSPFCG; Notay, SIAM J. Sci. Comput. 22,
 * 1444, 2000) in double on the conducting voxels, our operator without a matrix (MATSHELL), our cycle
 * in float on the residual, scaled, as preconditioner (PCSHELL). For an independent check the same
 * unknowns as an assembled matrix under CG with GAMG or BoomerAMG. PETSc is started at first use; an
 * error inside it ends the job, since one rank cannot leave its collectives alone. */
#include "flux_petsc.h"
#include <math.h>
#include <petscksp.h>
#include <string.h>

enum { CG_DIRECTIONS = 3, HALF_SWEEPS = 4 };

struct flux_krylov {
  struct flux_levels *levels;
  const struct flux_case *problem;
  PetscInt unknowns, first;
  double *grid; /* potential in double with halo, the fine level's layout */
  bool assembled;
  KSP ksp;
  Mat matrix;
  Vec x, b;
  double wanted; /* square of the natural norm to stop at */
  int max;       /* iterations of this run */
};

/* ---- start and end ---- */

static PetscErrorCode on_error(MPI_Comm comm, int line, const char *function, const char *file,
                               PetscErrorCode n, PetscErrorType p, const char *message,
                               void *context) {
  (void)comm;
  (void)p;
  (void)context;
  status_abort(n == PETSC_ERR_MEM ? STATUS_MEMORY : STATUS_INTERNAL, "PETSc: %s (%s, %s:%d)",
               message ? message : "error", function ? function : "", file ? file : "", line);
  return n;
}
static int finalize(MPI_Comm comm, int key, void *value, void *extra) {
  (void)comm;
  (void)key;
  (void)value;
  (void)extra;
  PetscFinalize();
  return MPI_SUCCESS;
}
/* PetscFinalize runs first of all in MPI_Finalize, by an attribute of MPI_COMM_SELF. */
static enum status petsc_begin(MPI_Comm comm) {
  static char name[] = "xcsct", a[] = "-no_signal_handler", b[] = "-skip_petscrc";
  static char *list[] = {name, a, b, NULL};
  char **argv         = list;
  int argc            = 3, key;
  PetscBool ready     = PETSC_FALSE;
  PetscInitialized(&ready);
  if (ready) return STATUS_OK;
  PETSC_COMM_WORLD = comm;
  if (PetscInitialize(&argc, &argv, NULL, NULL))
    return FAIL(STATUS_INTERNAL, "PETSc could not be started");
  PetscPushErrorHandler(on_error, NULL);
  if (MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, finalize, &key, NULL) == MPI_SUCCESS)
    MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
  return STATUS_OK;
}

/* ---- voxels <-> unknowns ---- */

static void halo_swap(struct flux_krylov *q) {
  struct flux_fine *f = &q->levels->fine;
  void *send[SIDES], *receive[SIDES];
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    double *to                   = (double *)f->face_buffer[s][0];
    send[s]                      = to;
    receive[s]                   = f->face_buffer[s][1];
    for (int64_t u = 0; side->rank != MPI_PROC_NULL && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++)
        to[u * side->nv + w] = q->grid[side->inside + u * side->step_u + w * side->step_v];
  }
  flux_fine_swap(f, send, receive, sizeof(double));
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    const double *from           = receive[s];
    for (int64_t u = 0; side->rank != MPI_PROC_NULL && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++)
        q->grid[side->outside + u * side->step_u + w * side->step_v] = from[u * side->nv + w];
  }
}
/* Conductance from p over one step; the halo of Dirichlet sides counts half a voxel. */
static double conductance(const struct flux_fine *f, int64_t p, int64_t q, int axis) {
  if (f->view.uniform) return f->code[q] ? 1 : 0;
  return flux_fine_conductance(f, f->code[p], f->code[q], axis);
}
static PetscErrorCode multiply(Mat matrix, Vec in, Vec out) {
  struct flux_krylov *q;
  const PetscScalar *from;
  PetscScalar *to;
  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(matrix, &q));
  const struct flux_fine *f = &q->levels->fine;
  const struct flux_view *v = &f->view;
  const int64_t step[3]     = {v->plane, v->row, 1};
  PetscCall(VecGetArrayRead(in, &from));
  PetscCall(VecGetArrayWrite(out, &to));
  int64_t i                   = 0;
  EACH_VOXEL(v, p) q->grid[p] = from[i++];
  halo_swap(q);
  i = 0;
  EACH_VOXEL(v, p) {
    double sum = 0;
    if (v->uniform) {
      sum = (double)(f->code[p] & CODE_MASK) * q->grid[p];
      for (int a = 0; a < 3; a++) sum -= q->grid[p - step[a]] + q->grid[p + step[a]];
    } else
      for (int a = 0; a < 3; a++)
        for (int d = -1; d <= 1; d += 2)
          sum += conductance(f, p, p + d * step[a], a) * (q->grid[p] - q->grid[p + d * step[a]]);
    to[i++] = sum;
  }
  PetscCall(VecRestoreArrayRead(in, &from));
  PetscCall(VecRestoreArrayWrite(out, &to));
  PetscFunctionReturn(0);
}

/* ---- the cycle as preconditioner ---- */

static PetscErrorCode precondition(PC pc, Vec in, Vec out) {
  struct flux_krylov *q;
  const PetscScalar *from;
  PetscScalar *to;
  PetscReal size;
  PetscFunctionBeginUser;
  PetscCall(PCShellGetContext(pc, &q));
  struct flux_fine *f = &q->levels->fine;
  struct flux_view *v = &f->view;
  const float *before = v->rhs;
  PetscCall(VecNorm(in, NORM_INFINITY, &size));
  const double scale = size > 0 ? 1 / size : 1;
  PetscCall(VecGetArrayRead(in, &from));
  PetscCall(VecGetArrayWrite(out, &to));
  memset(f->x, 0, (size_t)f->cells * sizeof *f->x);
  v->rhs                     = f->rhs;
  int64_t i                  = 0;
  EACH_VOXEL(v, p) f->rhs[p] = (float)(from[i++] * scale);
  flux_transfer_pass(f, false, HALF_SWEEPS, 0);
  flux_transfer_down(f, &q->levels->graph[0]);
  flux_levels_correct(q->levels);
  flux_transfer_up(f, &q->levels->graph[0], (float)q->levels->over);
  flux_transfer_pass(f, true, HALF_SWEEPS, 1);
  flux_transfer_finish(f);
  i                        = 0;
  EACH_VOXEL(v, p) to[i++] = (double)f->x[p] / scale;
  v->rhs                   = before;
  PetscCall(VecRestoreArrayRead(in, &from));
  PetscCall(VecRestoreArrayWrite(out, &to));
  PetscFunctionReturn(0);
}
/* r.z estimates the energy of the error (e.A e). */
static PetscErrorCode converged(KSP ksp, PetscInt n, PetscReal norm, KSPConvergedReason *reason,
                                void *context) {
  const struct flux_krylov *q = context;
  (void)ksp;
  *reason = KSP_CONVERGED_ITERATING;
  if (norm * norm <= q->wanted)
    *reason = KSP_CONVERGED_ATOL;
  else if (n >= q->max)
    *reason = KSP_DIVERGED_ITS;
  else if (isnan(norm))
    *reason = KSP_DIVERGED_NANORINF;
  return 0;
}

/* ---- the assembled matrix ---- */

static void numbers_set(struct flux_krylov *q) {
  const struct flux_view *v   = &q->levels->fine.view;
  int64_t i                   = 0;
  EACH_VOXEL(v, p) q->grid[p] = (double)(q->first + i++);
  halo_swap(q);
  for (int s = 0; s < SIDES; s++) { /* no unknowns beyond the faces */
    const struct flux_side *side = &q->levels->fine.side[s];
    for (int64_t u = 0; side->dirichlet && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++)
        q->grid[side->outside + u * side->step_u + w * side->step_v] = -1;
  }
}
static PetscErrorCode assemble(struct flux_krylov *q, MPI_Comm comm) {
  const struct flux_fine *f = &q->levels->fine;
  const struct flux_view *v = &f->view;
  const int64_t step[3]     = {v->plane, v->row, 1};
  PetscFunctionBeginUser;
  numbers_set(q);
  PetscCall(MatCreate(comm, &q->matrix));
  PetscCall(MatSetSizes(q->matrix, q->unknowns, q->unknowns, PETSC_DETERMINE, PETSC_DETERMINE));
  PetscCall(MatSetType(q->matrix, MATAIJ));
  PetscCall(MatSeqAIJSetPreallocation(q->matrix, 7, NULL));
  PetscCall(MatMPIAIJSetPreallocation(q->matrix, 7, NULL, 6, NULL));
  PetscInt row = q->first;
  EACH_VOXEL(v, p) {
    PetscInt col[7];
    PetscScalar value[7];
    int n        = 0;
    double total = 0;
    for (int a = 0; a < 3; a++)
      for (int d = -1; d <= 1; d += 2) {
        const int64_t next = p + d * step[a];
        if (!f->code[next] || q->grid[next] < 0) continue;
        value[n] = -conductance(f, p, next, a);
        col[n]   = (PetscInt)q->grid[next];
        total -= value[n++];
      }
    if (v->uniform) total = f->code[p] & CODE_MASK;
    for (int a = 0; a < 3 && !v->uniform; a++)
      for (int d = -1; d <= 1; d += 2)
        if (f->code[p + d * step[a]] && q->grid[p + d * step[a]] < 0)
          total += conductance(f, p, p + d * step[a], a);
    col[n]     = row;
    value[n++] = total;
    PetscCall(MatSetValues(q->matrix, 1, &row, n, col, value, ADD_VALUES));
    row++;
  }
  PetscCall(MatAssemblyBegin(q->matrix, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(q->matrix, MAT_FINAL_ASSEMBLY));
  PetscCall(MatSetOption(q->matrix, MAT_SPD, PETSC_TRUE));
  PetscFunctionReturn(0);
}

/* ---- making and running ---- */

/* Right-hand side: conductance to each outer face times its potential, over a border with a jump times that, and the
 * source; then the halo is zero for
 * good, as the unknowns' own equation wants it. */
static PetscErrorCode source_set(struct flux_krylov *q) {
  struct flux_fine *f = &q->levels->fine;
  struct flux_view *v = &f->view;
  PetscScalar *b, *x;
  PetscFunctionBeginUser;
  memset(q->grid, 0, (size_t)f->cells * sizeof *q->grid);
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    for (int64_t u = 0; side->dirichlet && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t p = side->inside + u * side->step_u + w * side->step_v;
        if (!f->code[p]) continue;
        const uint8_t out = f->code[side->outside + u * side->step_u + w * side->step_v];
        q->grid[p] += flux_fine_face(f, f->code[p], out, s / 2) * side->potential;
      }
    for (int64_t u = 0; side->jump != 0 && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t p   = side->inside + u * side->step_u + w * side->step_v;
        const int64_t out = side->outside + u * side->step_u + w * side->step_v;
        if (f->code[p] && f->code[out]) q->grid[p] += conductance(f, p, out, s / 2) * side->jump;
      }
  }
  EACH_VOXEL(v, p) q->grid[p] += f->source ? (double)f->source[p] : 0;
  PetscCall(VecGetArrayWrite(q->b, &b));
  PetscCall(VecGetArrayWrite(q->x, &x));
  int64_t i = 0;
  EACH_VOXEL(v, p) {
    b[i]   = q->grid[p];
    x[i++] = (double)f->x[p] + (double)f->low[p];
  }
  PetscCall(VecRestoreArrayWrite(q->b, &b));
  PetscCall(VecRestoreArrayWrite(q->x, &x));
  memset(q->grid, 0, (size_t)f->cells * sizeof *q->grid);
  PetscFunctionReturn(0);
}
/* "NAME=VALUE,NAME=VALUE" as "-NAME VALUE -NAME VALUE"; what begins with a dash is that already. */
static void options_write(const char *text, char *line, size_t bytes) {
  const bool plain = *text == '-';
  size_t n         = 0;
  if (!plain && *text) line[n++] = '-';
  for (; *text && n + 3 < bytes; text++) {
    if (!plain && *text == ',') {
      line[n++] = ' ';
      line[n++] = '-';
    } else
      line[n++] = !plain && *text == '=' ? ' ' : *text;
  }
  line[n] = 0;
}
static PetscErrorCode options_take(const char *text, KSP ksp) {
  PetscInt left = 0;
  char **name = NULL, **value = NULL, line[2 * CONFIG_TEXT_BYTES];
  PetscFunctionBeginUser;
  options_write(text ? text : "", line, sizeof line);
  if (*line) PetscCall(PetscOptionsInsertString(NULL, line));
  PetscCall(KSPSetFromOptions(ksp));
  PetscCall(KSPSetUp(ksp));
  PetscCall(PetscOptionsLeftGet(NULL, &left, &name, &value));
  if (text && *text && left > 0) {
    FAIL(STATUS_USAGE, "flux.petsc_options: PETSc knows no use for -%s here", name[0]);
    PetscCall(PetscOptionsLeftRestore(NULL, &left, &name, &value));
    PetscFunctionReturn(PETSC_ERR_USER);
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &left, &name, &value));
  PetscFunctionReturn(0);
}
static PetscErrorCode solver_make(struct flux_krylov *q, MPI_Comm comm) {
  PC pc;
  PetscFunctionBeginUser;
  PetscCall(VecCreateMPI(comm, q->unknowns, PETSC_DETERMINE, &q->b));
  PetscCall(VecDuplicate(q->b, &q->x));
  if (q->assembled)
    PetscCall(assemble(q, comm));
  else {
    PetscCall(MatCreateShell(comm, q->unknowns, q->unknowns, PETSC_DETERMINE, PETSC_DETERMINE, q,
                             &q->matrix));
    PetscCall(MatShellSetOperation(q->matrix, MATOP_MULT, (void (*)(void))multiply));
  }
  PetscCall(source_set(q));
  PetscCall(KSPCreate(comm, &q->ksp));
  PetscCall(KSPSetOperators(q->ksp, q->matrix, q->matrix));
  PetscCall(KSPGetPC(q->ksp, &pc));
  if (q->assembled) {
    PetscCall(KSPSetType(q->ksp, KSPCG));
    PetscCall(PCSetType(pc, q->problem->solver == FLUX_GAMG ? PCGAMG : PCHYPRE));
  } else {
    PetscCall(KSPSetType(q->ksp, KSPFCG));
    PetscCall(KSPFCGSetMmax(q->ksp, CG_DIRECTIONS));
    PetscCall(KSPFCGSetNprealloc(q->ksp, CG_DIRECTIONS));
    PetscCall(PCSetType(pc, PCSHELL));
    PetscCall(PCShellSetContext(pc, q));
    PetscCall(PCShellSetApply(pc, precondition));
  }
  PetscCall(KSPSetNormType(q->ksp, KSP_NORM_NATURAL));
  PetscCall(KSPSetInitialGuessNonzero(q->ksp, PETSC_TRUE));
  PetscCall(KSPSetConvergenceTest(q->ksp, converged, q, NULL));
  PetscFunctionReturn(0);
}
static enum status arrays_make(struct flux_krylov *q) {
  struct flux_fine *f       = &q->levels->fine;
  const struct flux_view *v = &f->view;
  int64_t n                 = 0;
  TRY(fault_here("flux.krylov"));
  EACH_VOXEL(v, p) n++;
  if (n > PETSC_MAX_INT) return FAIL(STATUS_MEMORY, "flux: too many unknowns on one rank");
  q->unknowns = (PetscInt)n;
  TRY(memory_make(f->cells, sizeof *q->grid, "potential in double", &q->grid));
  if (!f->low) TRY(memory_make(f->cells, sizeof *f->low, "low part of the potential", &f->low));
  if (!q->assembled && !f->rhs)
    TRY(memory_make(f->cells, sizeof *f->rhs, "right-hand side", &f->rhs));
  return STATUS_OK;
}
bool flux_krylov_fits(int64_t unknowns) { return unknowns <= PETSC_MAX_INT; }
enum status flux_krylov_make(MPI_Comm comm, const struct flux_case *problem,
                             struct flux_levels *levels, struct flux_krylov **out) {
  struct flux_krylov *q = NULL;
  flux_transfer_finish(&levels->fine); /* buffers and requests are of one exchange at a time */
  TRY_ALL(comm, petsc_begin(comm));
  TRY_ALL(comm, memory_make(1, sizeof *q, "Krylov solver", out));
  q             = *out;
  q->levels     = levels;
  q->problem    = problem;
  q->assembled  = problem->solver == FLUX_GAMG || problem->solver == FLUX_BOOMERAMG;
  enum status s = AGREE(comm, arrays_make(q));
  int64_t mine = q->unknowns, before = 0, all = 0;
  MPI_Exscan(&mine, &before, 1, MPI_INT64_T, MPI_SUM, comm);
  MPI_Allreduce(&mine, &all, 1, MPI_INT64_T, MPI_SUM, comm);
  if (levels->fine.rank == 0) before = 0;
  q->first = (PetscInt)before;
  if (s == STATUS_OK && !flux_krylov_fits(all))
    s = AGREE(comm, FAIL(STATUS_MEMORY,
                         "flux: %lld unknowns need a PETSc with 64-bit indices (XCSCT_PETSC64)",
                         (long long)all));
  if (s == STATUS_OK && solver_make(q, comm)) s = STATUS_INTERNAL;
  if (s == STATUS_OK && options_take(problem->petsc_options, q->ksp)) s = STATUS_USAGE;
  return AGREE(comm, s);
}
static void potential_put(struct flux_krylov *q, const PetscScalar *x) {
  struct flux_fine *f       = &q->levels->fine;
  const struct flux_view *v = &f->view;
  int64_t i                 = 0;
  memset(f->x, 0, (size_t)f->cells * sizeof *f->x);
  EACH_VOXEL(v, p) {
    f->x[p]   = (float)x[i];
    f->low[p] = (float)(x[i] - (double)f->x[p]);
    i++;
  }
}
static PetscErrorCode run(struct flux_krylov *q, int *iterations) {
  const PetscScalar *x;
  PetscInt n;
  PetscFunctionBeginUser;
  PetscCall(KSPSolve(q->ksp, q->b, q->x));
  PetscCall(KSPGetIterationNumber(q->ksp, &n));
  *iterations += (int)n;
  PetscCall(VecGetArrayRead(q->x, &x));
  potential_put(q, x);
  PetscCall(VecRestoreArrayRead(q->x, &x));
  PetscFunctionReturn(0);
}
enum status flux_krylov_run(MPI_Comm comm, struct flux_krylov *q, double error, double energy,
                            int iterations_max, int *iterations) {
  q->wanted = error * energy;
  q->max    = iterations_max;
  /* the cycle works on an equation whose outer faces are at zero */
  flux_fine_faces(&q->levels->fine, 0);
  enum status s = run(q, iterations) ? FAIL(STATUS_INTERNAL, "PETSc failed") : STATUS_OK;
  flux_fine_faces(&q->levels->fine, 1);
  return AGREE(comm, s);
}
void flux_krylov_free(struct flux_krylov **krylov) {
  struct flux_krylov *q = *krylov;
  if (!q) return;
  KSPDestroy(&q->ksp);
  MatDestroy(&q->matrix);
  VecDestroy(&q->x);
  VecDestroy(&q->b);
  memory_free(q->grid);
  memory_free(q);
  *krylov = NULL;
}
