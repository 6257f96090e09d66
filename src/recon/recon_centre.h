/* Private: the rotation axis of one sinogram. */
#pragma once
#include "recon.h"

/* A sinogram [angles][columns] of attenuation that all ranks hold; borrowed. */
struct recon_scanned {
  const float *sinogram;
  const double *angle_rad;
  int64_t angles, columns;
  bool full_turn;
};
/* Collective. method: "auto", "vo", "overlap", "entropy", "phase". low, high: columns among which it is looked for; NAN:
 * all that are plausible. at_edge: no minimum within. */
enum status recon_centre_by(MPI_Comm comm, const char *method, const struct recon_scanned *scan,
                            double low, double high, double *centre_px, bool *at_edge);
/* Local. The columns by which scan `b` lies right of `a` (below 0: left) where what both see agrees best; lines
 * [angles][columns]. Gives the concordance there: 1 = alike, 0 = nothing in common. */
double recon_overlap_find(const float *a, const float *b, int64_t angles, int64_t columns,
                          double *shift_px);
