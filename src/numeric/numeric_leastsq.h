#pragma once
#include "base.h"

/* A problem: residuals r_i(p), each already divided by its sigma; `residuals` returns false where p has
 * none (the step is then shortened). */
struct numeric_leastsq_problem {
  bool (*residuals)(const double *p, double *r, void *context);
  void *context;
  int n_p, n_r;
};
struct numeric_fit_report {
  double chi2; /* sum of squared residuals at the minimum */
  int iterations;
  bool converged;
};
/* Local. Levenberg-Marquardt (GSL's trust-region solver, numeric derivatives, Moré scaling) from the start
 * values in p[n_p]; gives the minimum and covariance[n_p * n_p] = (J'J)^-1, without any chi2 factor (rows of
 * parameters the data do not determine come out large or zero). NOT_CONVERGED leaves the best p found. */
enum status numeric_leastsq(const struct numeric_leastsq_problem *problem, double *p,
                            double *covariance, struct numeric_fit_report *report);

/* Local. Linear least squares min |A x - b| by QR with column pivoting and an SVD fallback: A is rows x cols,
 * C order; x[cols]; returns the residual norm squared in *chi2. */
enum status numeric_linear(const double *a, const double *b, int rows, int cols, double *x,
                           double *chi2);
