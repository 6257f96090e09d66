/* The fit beneath the windows and what it does to them.
 *
 * Model m = offset + sum of x_t D_t, linear in x; greatest Poisson likelihood by Fisher scoring, that is least squares with
 * weights 1/m, m from the step before. With V = inverse of F = sum D D' / m, a change dn of the counts moves x by
 * V sum(D dn / m). A window's content above background is L = sum w n - x . g, g the background columns' own contents (and,
 * where it is moved to the reference, minus what one unit of a shape is to gain), so
 *   cov(L, L') = sum w w' n - g V h' - h V g' + g V g',  h = sum w n D / m :
 * windows and background come from the same counts, and what they share is in it. */
#include "compton_profile_private.h"
#include <math.h>
#include <string.h>

enum { STEPS_MOST = 30 };
#define STEP_SMALL  1e-6 /* square of a step over its errors */
#define FLOOR_SHARE 1e-3 /* the model is at least this part of the mean count */

/* Cholesky's decomposition of a matrix scaled to a unit diagonal, then its inverse; false: not positive. */
bool problem_invert(int n, const double *matrix, double inverse[COMPTON_TERMS][COMPTON_TERMS]) {
  double l[COMPTON_TERMS][COMPTON_TERMS], scale[COMPTON_TERMS];
  for (int i = 0; i < n; i++) {
    if (!(matrix[i * n + i] > 0)) return false;
    scale[i] = 1 / sqrt(matrix[i * n + i]);
  }
  for (int i = 0; i < n; i++)
    for (int k = 0; k <= i; k++) {
      double sum = matrix[i * n + k] * scale[i] * scale[k];
      for (int j = 0; j < k; j++) sum -= l[i][j] * l[k][j];
      if (i == k && !(sum > 1e-12)) return false;
      l[i][k] = i == k ? sqrt(sum) : sum / l[k][k];
    }
  for (int c = 0; c < n; c++) {
    double x[COMPTON_TERMS];
    for (int i = 0; i < n; i++) {
      double sum = i == c;
      for (int j = 0; j < i; j++) sum -= l[i][j] * x[j];
      x[i] = sum / l[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
      for (int j = i + 1; j < n; j++) x[i] -= l[j][i] * x[j];
      x[i] /= l[i][i];
    }
    for (int i = 0; i < n; i++) inverse[i][c] = x[i] * scale[i] * scale[c];
  }
  return true;
}

static void model_of(const struct problem *p, const double *value, double *model) {
  for (int64_t b = 0; b < p->bins; b++) model[b] = p->offset ? p->offset[b] : 0;
  for (int c = 0; c < p->columns; c++)
    for (int64_t b = 0; b < p->bins; b++) model[b] += value[c] * p->column[c][b];
}

static double deviance_of(const struct problem *p, const double *model) {
  double sum = 0;
  for (int64_t b = 0; b < p->bins; b++)
    sum += 2 * (model[b] - p->count[b] +
                (p->count[b] > 0 ? p->count[b] * log(p->count[b] / model[b]) : 0));
  return sum;
}

/* Weights to begin with: what the counts are in the mean of a bin and its neighbours. */
static void first_model(const struct problem *p, double *model) {
  const int64_t reach = 3;
  for (int64_t b = 0; b < p->bins; b++) {
    double sum = 0;
    for (int64_t k = b - reach; k <= b + reach; k++)
      sum += p->count[k < 0 ? 0 : k >= p->bins ? p->bins - 1 : k];
    model[b] = sum / (2 * (double)reach + 1);
  }
}

/* One step of scoring; its square over its errors, or -1. */
static double score(const struct problem *p, double least, struct solution *s) {
  int n = p->columns;
  double matrix[COMPTON_TERMS * COMPTON_TERMS], vector[COMPTON_TERMS], moved[COMPTON_TERMS],
      size = 0;
  for (int64_t b = 0; b < p->bins; b++) {
    s->model[b]  = fmax(s->model[b], least);
    s->weight[b] = 1 / s->model[b];
    s->right[b]  = (p->count[b] - (p->offset ? p->offset[b] : 0)) * s->weight[b];
  }
  ISA_PICK(profile_normal)
  (p->column, n, s->weight, s->right, p->bins, matrix, vector);
  if (!problem_invert(n, matrix, s->inverse)) return -1;
  for (int i = 0; i < n; i++) {
    double next = 0;
    for (int k = 0; k < n; k++) next += s->inverse[i][k] * vector[k];
    moved[i]    = next - s->value[i];
    s->value[i] = next;
  }
  for (int i = 0; i < n; i++)
    for (int k = 0; k < n; k++) size += moved[i] * matrix[i * n + k] * moved[k];
  model_of(p, s->value, s->model);
  return size;
}

void problem_solve(const struct problem *p, struct solution *s) {
  double all = 0, size = 1;
  s->solved = false;
  memset(s->value, 0, sizeof s->value);
  for (int64_t b = 0; b < p->bins; b++) all += p->count[b];
  if (!(all > 0)) return;
  double least = FLOOR_SHARE * all / (double)p->bins;
  first_model(p, s->model);
  for (int64_t b = 0; b < p->bins; b++) s->model[b] = fmax(s->model[b], 50 * least);
  for (int i = 0; i < STEPS_MOST && size > STEP_SMALL; i++) {
    size = score(p, least, s);
    if (size < 0) return;
  }
  for (int64_t b = 0; b < p->bins; b++) {
    s->model[b]  = fmax(s->model[b], least);
    s->weight[b] = 1 / s->model[b];
  }
  s->deviance = deviance_of(p, s->model);
  s->solved   = true;
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    for (int c = 0; c < p->columns; c++) {
      s->shared[w][c] = 0;
      for (int64_t b = 0; p->seen[w] && b < p->bins; b++)
        s->shared[w][c] += p->seen[w][b] * p->column[c][b] * s->weight[b];
    }
}

/* ---- windows ------------------------------------------------------------------------------------------- */

static double gradient(const struct problem *p, bool normal, int w, int c) {
  return p->background[w][c] - (normal ? p->toward[w][c] : 0);
}

void problem_windows(const struct problem *p, const struct solution *s, bool normal,
                     double content[COMPTON_WINDOWS],
                     double covariance[COMPTON_WINDOWS][COMPTON_WINDOWS]) {
  double gv[COMPTON_WINDOWS][COMPTON_TERMS];
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    content[w] = p->content[w] - p->taken[w];
    for (int c = 0; c < p->columns; c++) {
      content[w] -= s->value[c] * gradient(p, normal, w, c);
      gv[w][c] = 0;
      for (int k = 0; k < p->columns; k++) gv[w][c] += s->inverse[c][k] * gradient(p, normal, w, k);
    }
  }
  for (int w = 0; w < COMPTON_WINDOWS; w++)
    for (int u = 0; u < COMPTON_WINDOWS; u++) {
      double sum = p->variance[w][u];
      for (int c = 0; c < p->columns; c++)
        sum +=
            gv[w][c] * (gradient(p, normal, u, c) - s->shared[u][c]) - gv[u][c] * s->shared[w][c];
      covariance[w][u] = sum;
    }
}

void problem_move(const struct problem *p, const struct solution *s, const double *change,
                  double moved[COMPTON_TERMS]) {
  double pull[COMPTON_TERMS];
  for (int c = 0; c < p->columns; c++) {
    pull[c] = 0;
    for (int64_t b = 0; b < p->bins; b++) pull[c] += p->column[c][b] * change[b] * s->weight[b];
  }
  for (int c = 0; c < p->columns; c++) {
    moved[c] = 0;
    for (int k = 0; k < p->columns; k++) moved[c] += s->inverse[c][k] * pull[k];
  }
}

void problem_respond(const struct problem *p, bool normal, const double moved[COMPTON_TERMS],
                     const double own[COMPTON_WINDOWS], double response[COMPTON_WINDOWS]) {
  for (int w = 0; w < COMPTON_WINDOWS; w++) {
    response[w] = own[w];
    for (int c = 0; c < p->columns; c++) response[w] -= moved[c] * gradient(p, normal, w, c);
  }
}
