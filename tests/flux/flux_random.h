/* Random structures with an independent answer: plain conjugate gradients in double, voxel by voxel,
 * sharing nothing with the solver under test. */
#pragma once
#include "check.h"
#include "flux.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct random_case {
  int64_t n[3];
  uint8_t *code;
  struct flux_case problem;
  double truth;
};
static inline uint64_t random_next(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
  z          = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
  z          = (z ^ z >> 27) * 0x94d049bb133111ebULL;
  return z ^ z >> 31;
}
static inline double random_unit(uint64_t *state) {
  return (double)(random_next(state) >> 11) / 9007199254740992.;
}
/* A box average of noise, `width` voxels wide (1: none), along each axis in turn. */
static inline void random_smooth(double *f, double *t, const int64_t n[3], int width) {
  const int64_t step[3] = {n[1] * n[2], n[2], 1}, all = n[0] * n[1] * n[2];
  for (int a = 0; a < 3; a++) {
    for (int64_t p = 0; p < all; p++) {
      const int64_t at = p / step[a] % n[a];
      t[p]             = 0;
      for (int d = 0; d < width; d++) t[p] += f[p + ((at + d) % n[a] - at) * step[a]];
    }
    memcpy(f, t, (size_t)all * sizeof *f);
  }
}
static inline int random_compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
/* Codes by thresholds at quantiles: 0 blocked, then 1..phases. */
static inline void random_codes(struct random_case *c, uint64_t *seed, double porosity, int phases,
                                int width) {
  const int64_t all = c->n[0] * c->n[1] * c->n[2];
  double *f = malloc((size_t)all * sizeof *f), *t = malloc((size_t)all * sizeof *t);
  for (int64_t p = 0; p < all; p++) f[p] = random_unit(seed);
  random_smooth(f, t, c->n, width);
  memcpy(t, f, (size_t)all * sizeof *t);
  qsort(t, (size_t)all, sizeof *t, random_compare);
  for (int64_t p = 0; p < all; p++) {
    c->code[p] = 0;
    for (int k = 1; k <= phases; k++) {
      const double share = (1 - porosity) + porosity * (k - 1) / phases;
      if (f[p] >= t[(int64_t)(share * (double)(all - 1))]) c->code[p] = (uint8_t)k;
    }
  }
  free(f);
  free(t);
}
static inline double random_conductance(const struct random_case *c, int64_t p, int64_t q) {
  const double a = c->problem.diffusivity[c->code[p]], b = c->problem.diffusivity[c->code[q]];
  return a > 0 && b > 0 ? 2 * a * b / (a + b) : 0;
}
/* out = A x (with b != NULL: also the right-hand side into b); returns x.A x. A cell's unknown is the periodic part of
 * the potential, with the mean gradient on the right-hand side; its faces' energy with no periodic part goes into
 * *plain. An electrode is at zero on its low face, and every wall is a source of its area. */
static inline double random_apply(const struct random_case *c, const double *x, double *out,
                                  double *b, double *diagonal, double *plain) {
  const enum flux_kind kind = c->problem.kind;
  const int64_t *n = c->n, step[3] = {n[1] * n[2], n[2], 1};
  double sum = 0;
  for (int64_t p = 0; p < n[0] * n[1] * n[2]; p++) {
    double value = 0, total = 0, source = 0;
    const double d = c->problem.diffusivity[c->code[p]];
    for (int a = 0; a < 3; a++) {
      const int64_t at = p / step[a] % n[a];
      const double f   = 1 / (c->problem.spacing[a] * c->problem.spacing[a]);
      for (int s = -1; s <= 1; s += 2) {
        const bool out_of = at + s < 0 || at + s >= n[a];
        const bool flow   = a == c->problem.axis && kind != FLUX_CELL;
        if (out_of && flow && (kind == FLUX_THROUGH || s < 0)) {
          value += 2 * f * d * x[p];
          total += 2 * f * d;
          source += s < 0 && kind == FLUX_THROUGH ? 2 * f * d : 0;
        }
        if (out_of && kind != FLUX_CELL && (flow || !c->problem.periodic)) continue;
        const int64_t q   = p + ((at + s + n[a]) % n[a] - at) * step[a];
        const double g    = f * random_conductance(c, p, q);
        const double fall = c->problem.gradient[a] * c->problem.spacing[a];
        if (kind == FLUX_CELL) source -= g * s * fall;
        if (kind == FLUX_CELL && plain) *plain += g * fall * fall / 2;
        if (kind == FLUX_ELECTRODE && d > 0 && !(c->problem.diffusivity[c->code[q]] > 0))
          source += 1 / c->problem.spacing[a];
        value += g * (x[p] - x[q]);
        total += g;
      }
    }
    out[p] = value;
    sum += x[p] * value;
    if (b) b[p] = source;
    if (diagonal) diagonal[p] = total > 0 ? total : 1;
  }
  return sum;
}
/* Blocks what is not connected to the low face. */
static inline void random_fill(const struct random_case *c) {
  const int64_t *n = c->n, step[3] = {n[1] * n[2], n[2], 1}, all = n[0] * n[1] * n[2];
  int64_t *queue = malloc((size_t)all * sizeof *queue), length = 0;
  uint8_t *seen = calloc((size_t)all, 1);
  for (int64_t p = 0; p < all; p++)
    if (c->code[p] && p / step[c->problem.axis] % n[c->problem.axis] == 0) {
      queue[length++] = p;
      seen[p]         = 1;
    }
  for (int64_t i = 0; i < length; i++)
    for (int a = 0; a < 3; a++)
      for (int s = -1; s <= 1; s += 2) {
        const int64_t at  = queue[i] / step[a] % n[a];
        const bool out_of = at + s < 0 || at + s >= n[a];
        if (out_of && (a == c->problem.axis || !c->problem.periodic)) continue;
        const int64_t q = queue[i] + ((at + s + n[a]) % n[a] - at) * step[a];
        if (seen[q] || !c->code[q]) continue;
        seen[q]         = 1;
        queue[length++] = q;
      }
  for (int64_t p = 0; p < all; p++)
    if (!seen[p]) c->code[p] = 0;
  free(queue);
  free(seen);
}
/* D_eff by Jacobi-preconditioned conjugate gradients with c = 1 at the low and 0 at the high face. */
static inline double random_truth(const struct random_case *c) {
  const int64_t all = c->n[0] * c->n[1] * c->n[2];
  double *v         = calloc((size_t)(6 * all), sizeof *v);
  double *x = v, *r = v + all, *p = v + 2 * all, *q = v + 3 * all, *b = v + 4 * all,
         *d  = v + 5 * all;
  double rho = 0, first = 0, inlet = 0, plain = 0;
  if (c->problem.kind == FLUX_ELECTRODE) random_fill(c);
  random_apply(c, x, q, b, d, &plain);
  for (int64_t i = 0; i < all; i++) {
    r[i] = b[i];
    p[i] = r[i] / d[i];
    rho += r[i] * p[i];
    inlet += b[i];
  }
  first = rho;
  for (int it = 0; it < 40000 && rho > 1e-29 * first; it++) {
    const double a = rho / random_apply(c, p, q, NULL, NULL, NULL);
    double next    = 0;
    for (int64_t i = 0; i < all; i++) {
      x[i] += a * p[i];
      r[i] -= a * q[i];
      next += r[i] * r[i] / d[i];
    }
    for (int64_t i = 0; i < all; i++) p[i] = r[i] / d[i] + next / rho * p[i];
    rho = next;
  }
  /* energy = flow in = sum b (1 - x) */
  double flow = 0, work = 0;
  for (int64_t i = 0; i < all; i++) flow += b[i] * (1 - x[i]);
  for (int64_t i = 0; i < all; i++) work += b[i] * x[i];
  free(v);
  const double h = c->problem.spacing[c->problem.axis], length = (double)c->n[c->problem.axis] * h;
  if (c->problem.kind == FLUX_CELL) return (plain - work) / (double)all;
  if (c->problem.kind == FLUX_ELECTRODE)
    return work > 0 ? length * length * inlet * inlet / (3 * (double)all * work) : 0;
  return flow * length * length / (double)all;
}
static inline void random_make(struct random_case *c, enum flux_kind kind, uint64_t seed,
                               int64_t smallest, int64_t largest) {
  uint64_t state  = seed * 7919 + 13;
  *c              = (struct random_case){0};
  c->problem.kind = kind;
  for (int a = 0; a < 3; a++)
    c->n[a] = smallest + (int64_t)(random_unit(&state) * (double)(largest - smallest + 1));
  c->code               = malloc((size_t)(c->n[0] * c->n[1] * c->n[2]));
  const int phases      = 1 + (int)(random_next(&state) % 3);
  const double porosity = 0.15 + 0.75 * random_unit(&state);
  const int width       = 1 + (int)(random_next(&state) % 4);
  struct flux_case *p   = &c->problem;
  p->axis               = (int)(random_next(&state) % 3);
  p->periodic           = random_next(&state) % 2;
  p->tolerance          = random_next(&state) % 2 ? 1e-4 : 1e-6;
  p->iterations_max     = 100;
  p->certify            = true;
  p->volume_vox         = c->n[0] * c->n[1] * c->n[2];
  const bool same       = random_next(&state) % 4;
  for (int a = 0; a < 3; a++) p->spacing[a] = same ? 1.3 : 0.5 + 2 * random_unit(&state);
  for (int k = 1; k <= phases; k++) p->diffusivity[k] = pow(10, -4 * random_unit(&state));
  random_codes(c, &state, porosity, phases, width);
  for (int a = 0; a < 3 && kind == FLUX_CELL; a++)
    p->gradient[a] = random_next(&state) % 2 ? 2 * random_unit(&state) - 1 : 0;
  if (kind == FLUX_CELL) p->gradient[p->axis] = 1;
  p->negligible = 1e-9;
}
static inline void random_free(struct random_case *c) { free(c->code); }
/* This rank's share of the codes. */
static inline enum status random_field(MPI_Comm comm, const struct random_case *c,
                                       const struct grid_plan *plan, struct grid_field *codes) {
  TRY(grid_field_make(comm, plan, GRID_U8, (int64_t[3]){0, 0, 0}, codes));
  const struct grid_box *m = &codes->mine;
  for (int64_t z = 0; z < m->n[0]; z++)
    for (int64_t y = 0; y < m->n[1]; y++)
      memcpy((uint8_t *)codes->data + z * codes->row[0] + y * codes->row[1],
             c->code + ((z + m->start[0]) * c->n[1] + y + m->start[1]) * c->n[2] + m->start[2],
             (size_t)m->n[2]);
  return STATUS_OK;
}
static inline enum status random_solve(MPI_Comm comm, const struct random_case *c,
                                       struct flux_answer *answer, struct flux_state *state) {
  struct grid_plan plan   = {0};
  struct grid_field codes = {0};
  TRY(flux_plan_make(comm, c->n, &plan));
  TRY(random_field(comm, c, &plan, &codes));
  enum status s = flux_solve(comm, &c->problem, &codes, answer, state);
  grid_field_free(&codes);
  grid_plan_free(&plan);
  return s;
}
/* Interval holds the truth and is as narrow as asked for. Gives the iterations. */
static inline int random_check(MPI_Comm comm, enum flux_kind kind, uint64_t seed, int64_t smallest,
                               int64_t largest) {
  struct random_case c;
  struct flux_answer a;
  random_make(&c, kind, seed, smallest, largest);
  c.truth = random_truth(&c);
  CHECK_OK(random_solve(comm, &c, &a, NULL));
  const double t = c.truth, slack = 1e-10;
  CHECK(a.converged, "seed %d: %.9g .. %.9g (%.9g) after %d", (int)seed, a.lower, a.upper, t,
        a.iterations);
  if (a.percolates && (kind != FLUX_CELL || a.upper > c.problem.negligible))
    CHECK(a.lower <= t * (1 + slack) && t <= a.upper * (1 + slack),
          "seed %d: %.12g outside %.12g .. %.12g", (int)seed, t, a.lower, a.upper);
  else
    CHECK(fabs(t) < (kind == FLUX_CELL ? 1e-9 : 1e-12), "seed %d: %.12g, but nothing percolates",
          (int)seed, t);
  random_free(&c);
  return a.iterations;
}
/* The interval by the kernels is the one by the sums over each voxel's faces, which a solution that is written takes. The
 * lower end is compared after conjugate gradients, where both find their correction anew; after cycles in float the
 * kernels take the last cycle's. */
static inline void random_paths_check(MPI_Comm comm, enum flux_kind kind, uint64_t seed,
                                      int64_t smallest, int64_t largest) {
  struct random_case c;
  random_make(&c, kind, seed, smallest, largest);
  for (int k = 0; k < 2; k++) {
    struct flux_answer kernels, voxels;
    struct flux_state state = {0};
    c.problem.solver        = k ? FLUX_KRYLOV : FLUX_MULTIGRID;
    CHECK_OK(random_solve(comm, &c, &kernels, NULL));
    CHECK_OK(random_solve(comm, &c, &voxels, &state));
    flux_state_free(&state);
    CHECK(kernels.percolates == voxels.percolates, "seed %d", (int)seed);
    if (!kernels.percolates) continue;
    CHECK(fabs(kernels.upper - voxels.upper) <= 1e-11 * voxels.upper, "seed %d: %.14g, not %.14g",
          (int)seed, kernels.upper, voxels.upper);
    if (k)
      CHECK(fabs(kernels.lower - voxels.lower) <= 2e-8 * voxels.upper, "seed %d: %.14g, not %.14g",
            (int)seed, kernels.lower, voxels.lower);
  }
  random_free(&c);
}
