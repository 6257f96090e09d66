/* Weighted least squares by normal equations on at most four components (well conditioned: the paper's matrix
 * has condition 17). Non-negativity is left out on purpose: it biases the electron-momentum factor. */
#include "correlate_unmix.h"
#include <math.h>
#include <string.h>

enum { C = UNMIX_COMPONENTS };

struct unmix_matrix unmix_paper(void) {
  struct unmix_matrix m = {.regions = 3, .components = 3};
  const double v[3][3]  = {
       {.64, .11, .25},
       {.89, .11, 0  },
       {1,   0,   0  }
  };
  for (int r = 0; r < 3; r++) memcpy(m.v[r], v[r], sizeof v[r]);
  return m;
}

/* Inverse of a symmetric positive matrix by Gauss-Jordan; false when a pivot vanishes against its size. */
static bool invert(int n, double a[C][C], double inverse[C][C]) {
  double left[C][C];
  memcpy(left, a, sizeof left);
  memset(inverse, 0, sizeof(double[C][C]));
  for (int i = 0; i < n; i++) inverse[i][i] = 1;
  for (int k = 0; k < n; k++) {
    double pivot = left[k][k];
    if (!(fabs(pivot) > 1e-12 * a[k][k])) return false;
    for (int j = 0; j < n; j++) left[k][j] /= pivot, inverse[k][j] /= pivot;
    for (int i = 0; i < n; i++) {
      if (i == k) continue;
      double f = left[i][k];
      for (int j = 0; j < n; j++) left[i][j] -= f * left[k][j], inverse[i][j] -= f * inverse[k][j];
    }
  }
  return true;
}

enum status unmix_solve(const struct unmix_matrix *matrix, const double *y, const double *sigma_y,
                        double *s, double covariance[C][C]) {
  int n = matrix->components, regions = matrix->regions;
  double normal[C][C] = {{0}}, inverse[C][C], right[C] = {0}, gain[C][UNMIX_REGIONS] = {{0}};
  for (int r = 0; r < regions; r++) {
    if (!(sigma_y[r] > 0))
      return FAIL(STATUS_INPUT, "region %d: sigma = %g; it would be positive", r + 1, sigma_y[r]);
    double w = 1 / (sigma_y[r] * sigma_y[r]);
    for (int i = 0; i < n; i++) {
      right[i] += w * matrix->v[r][i] * y[r];
      for (int j = 0; j < n; j++) normal[i][j] += w * matrix->v[r][i] * matrix->v[r][j];
    }
  }
  if (!invert(n, normal, inverse))
    return FAIL(
        STATUS_INPUT,
        "%d regions do not tell %d components apart: two have the same fractions everywhere",
        regions, n);
  for (int i = 0; i < n; i++) {
    s[i] = 0;
    for (int j = 0; j < n; j++) s[i] += inverse[i][j] * right[j];
    for (int r = 0; r < regions; r++)
      for (int j = 0; j < n; j++)
        gain[i][r] += inverse[i][j] * matrix->v[r][j] / (sigma_y[r] * sigma_y[r]);
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      covariance[i][j] = inverse[i][j];
      for (int r = 0; r < regions; r++)
        for (int c = 0; c < n; c++) {
          double dv = matrix->sigma[r][c] * s[c];
          covariance[i][j] += gain[i][r] * gain[j][r] * dv * dv;
        }
    }
  return STATUS_OK;
}
