/* From regions to components: y_r = sum_c V_rc s_c, per pixel and energy (or momentum) bin. */
#pragma once
#include "base.h"

enum { UNMIX_REGIONS = 6, UNMIX_COMPONENTS = 4 };
struct unmix_matrix {
  int regions, components;
  double v[UNMIX_REGIONS][UNMIX_COMPONENTS];     /* volume fractions times transmissions t1 t2 */
  double sigma[UNMIX_REGIONS][UNMIX_COMPONENTS]; /* of v; 0 = exact */
};
/* The paper's fixed fractions (columns Li, SPE, cathode; rows regions 1, 2, 3). */
struct unmix_matrix unmix_paper(void);

/* Local. Unconstrained weighted least squares s = (V'WV)^-1 V'W y with covariance (V'WV)^-1, W = 1/sigma_y^2,
 * plus (dV s)(dV s)' carried through the solve for the masks' uncertainty. covariance[c][c]. INPUT when V has
 * not the rank of its components (the condition number is said). */
enum status unmix_solve(const struct unmix_matrix *matrix, const double *y, const double *sigma_y,
                        double *s, double covariance[UNMIX_COMPONENTS][UNMIX_COMPONENTS]);
