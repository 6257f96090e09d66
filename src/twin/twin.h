/* twin: a cell of named materials with a rough anode, its tomography scans and electrochemical files in several
 * states of a cycle, with the truth beside them. */
#pragma once
#include "stage.h"

struct twin_params {
#include "config_struct.inc"
#include "twin_params.def"
#include "config_undef.inc"
};
extern const struct stage twin_stage;

/* One state of the cycle: imposed truth (values of the state, independent of any measurement). */
struct twin_state {
  const char *name, *step;
  double percent, voltage_V, rise_um, Ra_um, R_ct_Ohm, time_h;
};
enum { TWIN_STATES = 7 };
extern const struct twin_state twin_states[TWIN_STATES];

/* The cell: layers along z, a cylinder about the middle of the field. Lengths in um from the z = 0 face. */
struct twin_cell {
  int64_t columns, rows, angles;
  double voxel_um, centre_px, radius_um, x0_px, y0_px; /* rotation axis; cylinder and its middle */
  double bottom_um, interface_um, membrane_top_um,
      cathode_top_um; /* mean interface of the pristine state */
};
struct twin_cell twin_cell_of(const char *size);
/* Attenuation at 115 keV, 1/mm: nothing, lithium, polymer electrolyte, composite cathode. */
enum { TWIN_PHASES = 4 };
extern const double twin_mu_per_mm[TWIN_PHASES];

/* Collective. Height of the anode above z = 0 in um, [columns][columns] on every rank: a Gaussian field of
 * autocorrelation exp(-(r/L)^2) whose Ra over the disc of twin_field_um is the state's (to rounding). */
enum status twin_height(MPI_Comm comm, const struct twin_params *params,
                        const struct twin_cell *cell, const struct twin_state *state,
                        double *height_um);
/* Radius of the disc on which the surface is measured. */
double twin_field_um(const struct twin_cell *cell);

/* Local. Attenuation in 1/mm of slice z (partial volumes exact along z, 5 x 5 points across), [columns][columns];
 * adds each phase's volume in voxels to volume[TWIN_PHASES]. */
void twin_slice(const struct twin_cell *cell, const double *height_um, int64_t z, float *slice,
                double *volume);
/* Local. Line integrals (dimensionless) of a slice at one angle (Joseph 1982), [columns]. */
void twin_project(const struct twin_cell *cell, const float *slice, double angle_rad, double *line);

struct twin_truth {
  double Ra_um, Rq_um, phase_fraction[TWIN_PHASES], phase_volume_um3;
};
/* Collective. Writes one state's NXtomo at `path` and gives its truth. */
enum status twin_scan(const struct stage_job *job, const struct twin_cell *cell,
                      const struct twin_state *state, const char *path, struct twin_truth *truth);
