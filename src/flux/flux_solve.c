/* From codes to an interval: set-up, nested start, cycles until the certificate is narrow enough. */
#include "flux_petsc.h"
#include <math.h>
#include <string.h>

enum { HALF_SWEEPS = 4 };

struct run {
  MPI_Comm comm;
  const struct flux_case *problem;
  struct flux_answer *answer;
  struct flux_levels levels;
  double to_diffusivity; /* energy -> D_eff */
  double kept_s;         /* when the state was kept last */
};

/* D_eff = E L^2 / V, with L between the faces and V the domain's volume; the resistance of an electrode's straight
 * pores counts by a third. */
static double diffusivity_unit(const struct flux_case *p, const struct flux_fine *fine) {
  const double length = flux_fine_drop(p, fine->plan.n);
  const double volume = (double)p->volume_vox * p->spacing[0] * p->spacing[1] * p->spacing[2];
  const double whole  = p->middles ? length * (double)(fine->plan.n[p->axis] + 2) /
                                        (double)(fine->plan.n[p->axis] + 1)
                                   : length;
  return fine->scale * length * whole / volume / (p->kind == FLUX_ELECTRODE ? 3 : 1);
}
/* Start without the graphs: the ramp of a cell's mean gradient, or an electrode's zero. */
static void start_plain(struct flux_levels *levels) {
  struct flux_fine *f = &levels->fine;
  struct flux_view *v = &f->view;
  for (int64_t i = 0; f->source && i < f->cells; i++)
    if (!f->code[i]) f->source[i] = 0;
  v->rhs          = f->source;
  double slope[3] = {0, 0, 0}, high = 0;
  for (int a = 0; a < 3; a++) {
    /* alike on all ranks: the outer sides know the jump, and the inner ones are not asked */
    slope[a] = levels->jump[a] / (double)f->plan.n[a];
    high += levels->jump[a] / 2;
  }
  EACH_VOXEL(v, p) {
    const double at[3] = {(double)(k_ + f->mine.start[0]) + 0.5,
                          (double)(j_ + f->mine.start[1]) + 0.5,
                          (double)(v->n[2] - (end_ - p) + f->mine.start[2]) + 0.5};
    f->x[p]            = (float)(high - slope[0] * at[0] - slope[1] * at[1] - slope[2] * at[2]);
  }
  flux_transfer_pass(f, false, HALF_SWEEPS, 0);
}
/* What a voxel conducts; with one conductance its code is that it does. */
static int kind_of(const struct flux_fine *f, int64_t p) {
  return f->view.uniform ? f->code[p] != 0 : f->code[p] & CODE_MASK;
}
/* Straight pores: along the flow every voxel is followed by its like, so that the potential is a ramp. */
static bool straight_here(const struct flux_fine *f) {
  const struct flux_view *v = &f->view;
  const int64_t step        = f->axis == 0 ? v->plane : f->axis == 1 ? v->row : 1;
  EACH_CELL(v, p) {
    const int64_t at[3] = {k_, j_, v->n[2] - (end_ - p)};
    const bool first    = at[f->axis] + f->mine.start[f->axis] == 0;
    if (!first && kind_of(f, p) != kind_of(f, p - step)) return false;
  }
  return true;
}
static bool straight(MPI_Comm comm, const struct flux_fine *f) {
  int all = straight_here(f);
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_LAND, comm);
  return all;
}
static void start_ramp(struct flux_fine *f, bool middles) {
  const double outside = middles ? 1 : 0.5, drop = (double)f->plan.n[f->axis] + 2 * outside - 1;
  struct flux_view *v = &f->view;
  EACH_VOXEL(v, p) {
    const int64_t at[3] = {k_, j_, v->n[2] - (end_ - p)};
    const double passed = (double)(at[f->axis] + f->mine.start[f->axis]) + outside;
    f->x[p]             = (float)(0.5 - passed / drop);
  }
  flux_transfer_pass(f, false, HALF_SWEEPS, 0);
}
static void start_from_graph(struct flux_levels *levels) {
  struct flux_fine *f = &levels->fine;
  flux_transfer_up(f, &levels->graph[0], 1);
  flux_transfer_pass(f, true, HALF_SWEEPS, 0);
}
static enum status bound_now(struct run *run, bool lower, bool fresh, struct flux_state *state);

/* Energy as the flow through the outer faces tells it; near enough to judge a gain by. Not so in a cell, where every
 * cross section starts from a flow of its own. */
static double energy_rough(struct run *run) {
  const struct flux_fine *f = &run->levels.fine;
  double sum                = 0;
  if (run->problem->kind == FLUX_CELL && bound_now(run, false, false, NULL) == STATUS_OK)
    return fmax(run->answer->upper, run->problem->negligible) / run->to_diffusivity;
  if (f->source) EACH_VOXEL(&f->view, p) sum += (double)f->source[p] * (double)f->x[p];
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (!side->dirichlet) continue;
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t p    = side->inside + u * side->step_u + w * side->step_v;
        const uint8_t code = f->code[p];
        if (!code) continue;
        const uint8_t out = f->code[side->outside + u * side->step_u + w * side->step_v];
        const double g    = flux_fine_face(f, code, out, s / 2);
        sum += side->potential * g * (side->potential - (double)f->x[p]);
      }
  }
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, run->comm);
  return sum;
}
static bool narrow(const struct run *run, const struct flux_bound *b) {
  const struct flux_case *p = run->problem;
  if (p->kind == FLUX_CELL && b->upper * run->to_diffusivity <= p->negligible) return true;
  return b->lower > 0 && b->upper - b->lower <= p->tolerance * (b->upper + b->lower);
}
/* fresh: graph[0].x is no correction for the potential as it stands; find one. */
static enum status bound_now(struct run *run, bool lower, bool fresh, struct flux_state *state) {
  struct flux_answer *answer = run->answer;
  struct flux_fine *f        = &run->levels.fine;
  struct flux_bound bound;
  double unit[3];
  const double began = time_now_s();
  /* flux per area over the mean gradient 1/L */
  for (int a = 0; a < 3; a++)
    unit[a] =
        f->scale / (f->volume / run->problem->spacing[a]) * flux_fine_drop(run->problem, f->plan.n);
  TRY(flux_bound_find(run->comm, &run->levels, lower, fresh, &bound, state, unit));
  answer->upper     = bound.upper * run->to_diffusivity;
  answer->lower     = lower ? bound.lower * run->to_diffusivity : (double)NAN;
  answer->converged = lower && narrow(run, &bound);
  /* over the mean flux of a face of the cross section */
  answer->divergence = bound.divergence * (double)f->plan.n[0] * (double)f->plan.n[1] *
                       (double)f->plan.n[2] / (double)f->plan.n[f->axis] / bound.upper;
  answer->bound_s += time_now_s() - began;
  return STATUS_OK;
}
/* ---- a state from before, and for later ---- */

static float *cell_at(const struct grid_field *field, const struct flux_view *v, int64_t k,
                      int64_t j, int64_t from_end) {
  return (float *)field->data + grid_field_origin(field) + k * field->row[0] + j * field->row[1] +
         v->n[2] - from_end;
}
static enum status energy_now(struct run *run, double *energy) {
  TRY(bound_now(run, false, false, NULL));
  *energy = run->answer->upper;
  return STATUS_OK;
}
/* Takes problem->start where it says something, smoothed; the better start by energy stays. */
static enum status start_warm(struct run *run) {
  struct flux_fine *f            = &run->levels.fine;
  struct flux_view *v            = &f->view;
  const struct grid_field *start = run->problem->start;
  float *before                  = NULL;
  double cold = 0, warm = 0;
  TRY_ALL(run->comm, memory_make_raw(f->cells, sizeof *before, "start", &before));
  enum status s = energy_now(run, &cold);
  memcpy(before, f->x, (size_t)f->cells * sizeof *before);
  EACH_VOXEL(v, p) {
    const float c = *cell_at(start, v, k_, j_, end_ - p);
    if (isfinite(c)) f->x[p] = c - 0.5F;
  }
  flux_transfer_pass(f, false, HALF_SWEEPS, 0);
  if (s == STATUS_OK) s = energy_now(run, &warm);
  run->answer->started_warm = s == STATUS_OK && warm < cold;
  if (s == STATUS_OK && !run->answer->started_warm) {
    memcpy(f->x, before, (size_t)f->cells * sizeof *before);
    flux_transfer_pass(f, false, HALF_SWEEPS, 0);
  }
  if (run->answer->started_warm) log_info("flux: starts from the state before");
  memory_free(before);
  return s;
}
static enum status state_keep(struct run *run) {
  flux_transfer_finish(&run->levels.fine);
  const struct flux_fine *f = &run->levels.fine;
  const struct flux_view *v = &f->view;
  struct grid_field c       = {0};
  enum status s = grid_field_make(run->comm, &f->plan, GRID_F32, (int64_t[3]){0, 0, 0}, &c);
  if (s == STATUS_OK) {
    EACH_CELL(v, p) * cell_at(&c, v, k_, j_, end_ - p) = f->code[p] ? f->x[p] + 0.5F : (float)NAN;
    s = run->problem->keep(run->problem->context, run->answer->iterations, &c);
  }
  grid_field_free(&c);
  return s;
}
/* Between cycles: keeps the state when it is time, and stops when asked to. */
static enum status pause_here(struct run *run) {
  if (!run->problem->keep) return STATUS_OK;
  const enum status stop = stop_agree(run->comm);
  int due                = time_now_s() - run->kept_s > run->problem->keep_s;
  MPI_Bcast(&due, 1, MPI_INT, 0, run->comm);
  if (due || stop != STATUS_OK) {
    TRY(state_keep(run));
    run->kept_s = time_now_s();
  }
  return stop;
}
static struct flux_traffic traffic_of(const struct flux_levels *l) {
  struct flux_traffic t = {l->fine.messages, l->fine.message_bytes, 0, l->solved};
  for (int g = 0; g < l->graphs; g++) {
    t.messages += l->graph[g].messages;
    t.bytes += l->graph[g].message_bytes;
    t.sums += l->graph[g].sums;
  }
  return t;
}
static struct flux_traffic traffic_add(struct flux_traffic a, struct flux_traffic b, int sign) {
  return (struct flux_traffic){a.messages + sign * b.messages, a.bytes + sign * b.bytes,
                               a.sums + sign * b.sums, a.alone + sign * b.alone};
}
static double relative_width(const struct flux_answer *a) {
  return (a->upper - a->lower) / (a->upper + a->lower);
}
/* Cycles until done. The correction found last serves the certificate and, if that fails, the next
 * cycle. */
static enum status iterate(struct run *run) {
  const struct flux_case *p = run->problem;
  struct flux_levels *l     = &run->levels;
  double before = HUGE_VAL, width = 2.6; /* of the interval, over the estimate: mostly 1.8 to 2.8 */
  int slow = 0;
  for (run->answer->iterations = 0;; run->answer->iterations++) {
    struct flux_traffic traffic = traffic_add((struct flux_traffic){0, 0, 0, 0}, traffic_of(l), -1);
    flux_transfer_down(&l->fine, &l->graph[0]);
    const double gain     = flux_levels_correct(l) * l->fine.unit;
    run->answer->estimate = gain / energy_rough(run);
    log_progress("flux", run->answer->iterations, p->iterations_max);
    TRY(stop_agree(run->comm));
    slow            = gain > 0.3 * before ? slow + 1 : 0;
    const bool last = run->answer->iterations >= p->iterations_max || slow >= 2;
    const bool near = run->answer->estimate * width <= p->tolerance;
    before          = gain;
    traffic         = traffic_add(traffic, traffic_of(l), 1);
    if (p->certify && (near || last)) {
      TRY(bound_now(run, true, false, NULL));
      width = fmax(width, relative_width(run->answer) / run->answer->estimate);
    }
    traffic = traffic_add(traffic, traffic_of(l), -1); /* the certificate is no part of a cycle */
    if (!p->certify && near) run->answer->converged = true;
    if (run->answer->converged || last) return STATUS_OK;
    flux_transfer_up(&l->fine, &l->graph[0], (float)l->over);
    flux_transfer_pass(&l->fine, true, HALF_SWEEPS, 1);
    traffic              = traffic_add(traffic, traffic_of(l), 1);
    run->answer->traffic = traffic;
    TRY(pause_here(run));
  }
}
/* Conjugate gradients in double, for what the cycles in float cannot reach: until the certificate is
 * narrow, asking for a quarter of the error each time it is not. */
static enum status iterate_krylov(struct run *run) {
  const struct flux_case *p  = run->problem;
  struct flux_krylov *krylov = NULL;
  double error               = 0.5 * p->tolerance;
  enum status s              = flux_krylov_make(run->comm, p, &run->levels, &krylov);
  for (int tries = 0; s == STATUS_OK && tries < 6; tries++, error /= 4) {
    const int before = run->answer->iterations;
    if ((s = stop_agree(run->comm)) != STATUS_OK) break;
    s = flux_krylov_run(run->comm, krylov, error, energy_rough(run), p->iterations_max - before,
                        &run->answer->iterations);
    if (s == STATUS_OK && p->certify) s = bound_now(run, true, true, NULL);
    if (!p->certify) run->answer->converged = run->answer->iterations < p->iterations_max;
    run->answer->estimate = error;
    if (run->answer->converged || run->answer->iterations >= p->iterations_max) break;
  }
  flux_krylov_free(&krylov);
  return s;
}
/* Asked for by name, PETSc says itself what it cannot do. */
static bool krylov_may(const struct run *run) {
  int64_t open = 0;
  for (int c = 1; c < FLUX_CODES; c++) open += run->answer->percolating[c];
  return run->problem->solver != FLUX_MULTIGRID || flux_krylov_fits(open);
}
/* An electrode none of whose pores has a wall takes no current. */
static bool without_walls(struct run *run) {
  const struct flux_fine *f = &run->levels.fine;
  double sum                = 0;
  if (!f->source) return false;
  EACH_VOXEL(&f->view, p) sum += (double)f->source[p];
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, run->comm);
  if (sum > 0) return false;
  run->answer->upper = run->answer->lower = HUGE_VAL;
  run->answer->converged                  = true;
  return true;
}
static enum status solve_percolating(struct run *run, struct flux_state *state) {
  struct flux_levels *l = &run->levels;
  const double began    = time_now_s();
  if (without_walls(run)) return STATUS_OK;
  if (run->problem->kind == FLUX_THROUGH) {
    if (straight(run->comm, &l->fine))
      start_ramp(&l->fine, run->problem->middles);
    else {
      flux_levels_nested(l);
      start_from_graph(l);
    }
    if (run->problem->start) TRY(start_warm(run));
  } else
    start_plain(l);
  if (run->problem->solver == FLUX_MULTIGRID) TRY(iterate(run));
  if (!run->answer->converged && run->answer->iterations < run->problem->iterations_max) {
    if (krylov_may(run))
      TRY(iterate_krylov(run));
    else
      log_warning(
          "flux: what the cycles reach in float is all; more needs a PETSc with 64-bit indices "
          "(XCSCT_PETSC64)");
  }
  run->answer->solve_s = time_now_s() - began - run->answer->bound_s;
  const bool converged = run->answer->converged;
  if (!run->problem->certify)
    TRY(bound_now(run, state != NULL, true, state));
  else if (state)
    TRY(bound_now(run, true, true, state));
  run->answer->converged = converged;
  return STATUS_OK;
}
enum status flux_solve(MPI_Comm comm, const struct flux_case *problem,
                       const struct grid_field *codes, struct flux_answer *answer,
                       struct flux_state *state) {
  struct run *run    = NULL;
  const double began = time_now_s();
  memset(answer, 0, sizeof *answer);
  enum status s = AGREE(comm, memory_make(1, sizeof *run, "flux", &run));
  if (s != STATUS_OK) {
    memory_free(run);
    return s;
  }
  run->comm    = comm;
  run->problem = problem;
  run->answer  = answer;
  run->kept_s  = began;
  s            = flux_levels_make(comm, problem, codes, &run->levels, answer);
  if (s == STATUS_OK) {
    run->to_diffusivity = diffusivity_unit(problem, &run->levels.fine);
    answer->setup_s     = time_now_s() - began;
    answer->converged   = !answer->percolates;
    if (answer->percolates) s = solve_percolating(run, state);
  }
  flux_levels_free(&run->levels);
  memory_free(run);
  return s;
}
void flux_state_free(struct flux_state *state) {
  grid_field_free(&state->concentration);
  grid_field_free(&state->magnitude);
  for (int a = 0; a < 3; a++) grid_field_free(&state->flux[a]);
}
double flux_bytes_per_voxel(enum flux_solver solver, double open, bool state) {
  double bytes = 1 + 7;      /* codes; potential, codes and boxes with their halos */
  if (state) bytes += 5 * 4; /* concentration, flux on faces, magnitude */
  if (solver == FLUX_KRYLOV) bytes += 18 + 12 * 8 * open; /* potential in double; PETSc's vectors */
  if (solver == FLUX_GAMG || solver == FLUX_BOOMERAMG) bytes += 480 * open;
  return bytes;
}
