/* Private to flux: the parts that speak PETSc. */
#pragma once
#include "flux_inner.h"

struct flux_krylov;
/* Collective. Vectors over this rank's conducting voxels, in raster order; assembled = true also makes
 * the matrix (GAMG, BoomerAMG), else PETSc calls our operator and our cycle. The potential starts from
 * fine.x. */
enum status flux_krylov_make(MPI_Comm comm, const struct flux_case *problem,
                             struct flux_levels *levels, struct flux_krylov **krylov);
/* Collective. Goes on until the estimated energy error is below `error` of the energy or the count is
 * used up; *iterations grows. Afterwards fine.x + fine.low hold the potential in double. */
enum status flux_krylov_run(MPI_Comm comm, struct flux_krylov *krylov, double error, double energy,
                            int iterations_max, int *iterations);
/* Local. May PETSc's indices count that many? (Else it has to be one with 64-bit indices.) */
bool flux_krylov_fits(int64_t unknowns);
void flux_krylov_free(struct flux_krylov **krylov);
