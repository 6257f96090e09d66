/* Private to twin: the cell of one state, its rows, its scan. */
#pragma once
#include "twin.h"

/* Rows are made and projected TWIN_LANES at a time, [y][x][lane]: one weight serves a cache line. */
enum { TWIN_LANES = 16 };

enum twin_material { TWIN_VOID, TWIN_LI, TWIN_SPE, TWIN_NMC, TWIN_STEEL, TWIN_MATERIALS };
extern const double twin_mu_per_mm[TWIN_MATERIALS]; /* at 115 keV */
extern const double twin_flat_deg;                  /* where the flat is cut off */

/* What a size stands for, after the user's own numbers. */
struct twin_scan {
  int64_t columns, rows, projections, flats,
      darks; /* flats and darks: at the head, again at the tail */
  double voxel_um, photons, radius_um, anode_um;
};
struct twin_scan twin_scan_of(const struct twin_params *params);

/* Layers along z, in um from the lower face of row 0; radii in um. The can, its floor and its lid keep still;
 * what lies above the anode is lifted by the rise (a spring gives way). */
struct twin_cell {
  int64_t n, rows; /* slices of n x n voxels */
  double voxel_um, radius_um, can_um, wall_um;
  double chord_um; /* of the flat, from the axis */
  double floor_um, anode_um, interface_um, spe_um, cathode_um, plate_um,
      lid_um;                            /* z of lower faces but spe.. */
  double rise_um, drift_um[3], turn_rad; /* drift along z, y, x */
  double pores_per_um3, pores_share;
  uint64_t seed;
  float *height_um; /* [n][n] of the anode above interface_um, in the cell's own frame; owned */
  double field_um;  /* radius of the field where roughness is known */
  int64_t dendrites;
};
/* Local, alike on all ranks. */
enum status twin_cell_make(const struct twin_params *params, const struct twin_state *state,
                           struct twin_cell *cell);
/* Its layers alone: no surface, nothing to free. */
void twin_cell_layers(const struct twin_params *params, struct twin_cell *cell);
void twin_cell_free(struct twin_cell *cell);
/* Local. First slice of the slab in which the cycle looks for the surface: within the anode, clear of the blurred floor
 * of the can, and so one and the same lower bound in every state. */
int64_t twin_cell_slab_low(const struct twin_cell *cell);
/* Truths of the height map: mean and rms deviation from its plane in the field, um; volume under it in the field down to
 * that slice, um3. */
struct twin_surface {
  double Ra_um, Rq_um, envelope_um3, mean_um;
};
enum status twin_cell_surface(const struct twin_cell *cell, struct twin_surface *surface);
/* Local. Attenuation per voxel edge of `rows` <= TWIN_LANES rows from row0, mu[n][n][TWIN_LANES] (other lanes 0);
 * share: scratch of 2 n n TWIN_LANES; volume_vox[lane][material]: voxels of each material, pores counted apart in
 * pore_vox[lane]. */
void twin_cell_rows(const struct twin_cell *cell, int64_t row0, int rows, float *mu, float *share,
                    double volume_vox[TWIN_LANES][TWIN_MATERIALS], double *pore_vox);

/* Kernel: adds the projection of an image [n][n][TWIN_LANES] at one angle to line[columns][TWIN_LANES]; only the
 * voxels first[y] <= x < last[y]. weight[TWIN_STEPS][4]: shares of the four detector pixels about a position. */
enum { TWIN_STEPS = 1024 };
ISA_DECLARE(void, twin_project, const float *image, int64_t n, const int64_t *first,
            const int64_t *last, double cosine, double sine, double centre,
            const float (*weight)[4], int64_t columns, float *line)

/* Collective. Bytes that the scan of one state takes on a rank, and its rounds. */
int64_t twin_ct_bytes(MPI_Comm comm, const struct twin_params *params, int64_t *rounds);
/* Collective. The scan of one state as NXtomo; adds its truths to the book. */
enum status twin_ct_write(MPI_Comm comm, const struct stage_common *common,
                          const struct twin_params *params, const struct twin_state *state,
                          struct twin_book *book);
/* Rank 0 writes; collective. Galvanostatic and impedance files of the cycle, CSV and .DTA. */
enum status twin_echem_write(MPI_Comm comm, const struct twin_params *params,
                             struct twin_book *book);
/* Collective. Compton spectra and frames of the cycle, with the calibration disc; and what they take, all at once. */
enum status twin_xcs_write(MPI_Comm comm, const struct stage_common *common,
                           const struct twin_params *params, struct twin_book *book);
void twin_xcs_need(MPI_Comm comm, const struct twin_params *params, struct stage_need *need);
/* Collective. cycle.yaml and truth.json. */
enum status twin_book_write(MPI_Comm comm, const struct twin_params *params,
                            struct twin_book *book);
