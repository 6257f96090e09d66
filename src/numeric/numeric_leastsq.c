/* Least squares over GSL: the trust-region form of Levenberg and Marquardt (Moré 1978) and a linear solve by
 * singular values. */
#include "numeric_leastsq.h"
#include <gsl/gsl_blas.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_linalg.h>
#include <gsl/gsl_multifit_nlinear.h>

/* The problem with room for its residuals: GSL asks for them into columns of its Jacobian. */
struct adapter {
  const struct numeric_leastsq_problem *problem;
  double *p, *r;
};

static int call_residuals(const gsl_vector *x, void *context, gsl_vector *f) {
  const struct adapter *a = context;
  for (int i = 0; i < a->problem->n_p; i++) a->p[i] = gsl_vector_get(x, (size_t)i);
  if (!a->problem->residuals(a->p, a->r, a->problem->context)) return GSL_EDOM;
  for (int i = 0; i < a->problem->n_r; i++) gsl_vector_set(f, (size_t)i, a->r[i]);
  return GSL_SUCCESS;
}

static enum status iterate(gsl_multifit_nlinear_workspace *work,
                           struct numeric_fit_report *report) {
  int info           = 0;
  int code           = gsl_multifit_nlinear_driver(200, 1e-10, 1e-12, 0, NULL, NULL, &info, work);
  report->iterations = (int)gsl_multifit_nlinear_niter(work);
  /* ENOPROG after some steps means that rounding is reached: a minimum all the same */
  report->converged = code == GSL_SUCCESS || code == GSL_ENOPROG;
  if (report->converged) return STATUS_OK;
  return FAIL(STATUS_NOT_CONVERGED, "a least-squares fit did not converge in %d iterations (%s)",
              report->iterations, gsl_strerror(code));
}

static enum status minimise(struct adapter *adapter, double *p, double *covariance,
                            struct numeric_fit_report *report) {
  size_t n_r = (size_t)adapter->problem->n_r, n_p = (size_t)adapter->problem->n_p;
  gsl_multifit_nlinear_parameters how = gsl_multifit_nlinear_default_parameters();
  gsl_multifit_nlinear_fdf system = {.f = call_residuals, .n = n_r, .p = n_p, .params = adapter};
  gsl_multifit_nlinear_workspace *work =
      gsl_multifit_nlinear_alloc(gsl_multifit_nlinear_trust, &how, n_r, n_p);
  if (!work) return FAIL(STATUS_MEMORY, "no memory for a fit of %zu values", n_r);
  gsl_vector_view start = gsl_vector_view_array(p, n_p);
  enum status status    = STATUS_OK;
  if (gsl_multifit_nlinear_init(&start.vector, &system, work) != GSL_SUCCESS)
    status = FAIL(STATUS_INPUT, "a fit cannot start: the model has no value at its start");
  if (status == STATUS_OK) {
    status = iterate(work, report);
    gsl_blas_ddot(work->f, work->f, &report->chi2);
    for (size_t i = 0; i < n_p; i++) p[i] = gsl_vector_get(work->x, i);
    gsl_matrix_view cover = gsl_matrix_view_array(covariance, n_p, n_p);
    gsl_multifit_nlinear_covar(gsl_multifit_nlinear_jac(work), 0, &cover.matrix);
  }
  gsl_multifit_nlinear_free(work);
  return status;
}

enum status numeric_leastsq(const struct numeric_leastsq_problem *problem, double *p,
                            double *covariance, struct numeric_fit_report *report) {
  gsl_set_error_handler_off();
  *report = (struct numeric_fit_report){0, 0, false};
  if (problem->n_r < problem->n_p)
    return FAIL(STATUS_INPUT, "a fit of %d parameters needs at least as many values, not %d",
                problem->n_p, problem->n_r);
  struct adapter adapter = {problem, NULL, NULL};
  enum status status     = memory_make(problem->n_p, sizeof *p, "a fit", &adapter.p);
  if (status == STATUS_OK) status = memory_make(problem->n_r, sizeof *p, "a fit", &adapter.r);
  if (status == STATUS_OK) status = minimise(&adapter, p, covariance, report);
  memory_free(adapter.p);
  memory_free(adapter.r);
  return status;
}

enum status numeric_linear(const double *a, const double *b, int rows, int cols, double *x,
                           double *chi2) {
  gsl_set_error_handler_off();
  size_t m = (size_t)rows, n = (size_t)cols;
  if (rows < cols) return FAIL(STATUS_INPUT, "%d equations for %d unknowns", rows, cols);
  gsl_matrix *u = gsl_matrix_alloc(m, n), *v = gsl_matrix_alloc(n, n);
  gsl_vector *s = gsl_vector_alloc(n), *work = gsl_vector_alloc(n);
  enum status status =
      u && v && s && work ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a linear fit");
  if (status == STATUS_OK) {
    for (size_t i = 0; i < m * n; i++) u->data[i] = a[i];
    gsl_linalg_SV_decomp(u, v, s, work);
    for (size_t i = 0; i < n; i++)
      if (gsl_vector_get(s, i) < 1e-13 * gsl_vector_get(s, 0)) gsl_vector_set(s, i, 0);
    gsl_vector_const_view right = gsl_vector_const_view_array(b, m);
    gsl_vector_view left        = gsl_vector_view_array(x, n);
    gsl_linalg_SV_solve(u, v, s, &right.vector, &left.vector);
    *chi2 = 0;
    for (size_t i = 0; i < m; i++) {
      double r = -b[i];
      for (size_t j = 0; j < n; j++) r += a[i * n + j] * x[j];
      *chi2 += r * r;
    }
  }
  gsl_matrix_free(u);
  gsl_matrix_free(v);
  gsl_vector_free(s);
  gsl_vector_free(work);
  return status;
}
