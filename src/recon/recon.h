/* recon: from projections to slices of attenuation. Conventions: at angle th the point (x, y), counted from the
 * slice's middle (n-1)/2, falls on column centre + x cos th + y sin th. */
#pragma once
#include "stage.h"

struct recon_params {
#include "config_struct.inc"
#include "recon_params.def"
#include "config_undef.inc"
};
extern const struct stage recon_stage;

/* What a reconstruction of one width and set of angles needs; the same on all ranks. */
struct recon_geometry {
  int64_t columns, angles;
  const double *angle_rad; /* borrowed */
  const double
      *weight_rad; /* borrowed: the share of half a turn each projection stands for; sum pi */
  double centre_px;
  const char *filter; /* borrowed */
  double rolloff;
  int64_t pad;        /* length of the padded transform; 0 = at least 2 columns */
  int64_t iterations; /* sirt, cgls */
  double tv; /* sirt, cgls: weight of total variation, a share of the largest slope; 0 = none */
  bool nonnegative;
};

/* Local. Weights of the angles: half the distance to both neighbours on the circle of period pi, so that any
 * order, spacing and range of 180 or 360 degrees is right; sum pi. INPUT when all angles agree. */
enum status recon_weights(const double *angle_rad, int64_t angles, double *weight_rad);

/* Local. Slices [n][columns][columns] from sinograms [n][angles][columns] of line integrals in units of
 * attenuation times pixel; results in 1/px. Slices are taken in pairs from the first: their bits depend on the
 * pair they stand in, on nothing else. By Fourier gridding (recon_gridding.c: batches of up to 16 slices, so that a
 * multiple of 16 is the fastest) or direct back-projection (recon_direct.c). */
enum status recon_slices(const char *method, const struct recon_geometry *geometry,
                         const float *sinogram, int64_t n, float *slice);
/* The same with tables and workspace kept from call to call. The geometry is copied, its angles, weights and filter
 * are borrowed. */
struct recon_work;
enum status recon_work_make(const char *method, const struct recon_geometry *geometry,
                            struct recon_work **work);
enum status recon_work_slices(struct recon_work *work, const float *sinogram, int64_t n,
                              float *slice);
void recon_work_free(struct recon_work **work);
/* Bytes of workspace of recon_slices. */
int64_t recon_workspace_bytes(const char *method, const struct recon_geometry *geometry);

/* Local. In place: counts to attenuation: -log((I - dark) / (flat - dark)) of rows [rows][angles][columns] with
 * flat, dark [rows][columns]. What has no logarithm (NaN, zero or negative transmission) takes the mean of its
 * good neighbours along the angle and is counted. */
int64_t recon_attenuation(float *sinogram, int64_t rows, int64_t angles, int64_t columns,
                          const float *flat, const float *dark, bool counts);

/* Local. In place: stripes out by sorting (Vo, Atwood and Drakopoulos 2018, algorithm 3): each column sorted by
 * value, a median over `width` columns at equal rank, sorted back. */
enum status recon_unstripe(float *sinogram, int64_t angles, int64_t columns, int64_t width);

/* Collective. The rotation axis from a sinogram [angles][columns] of attenuation that all ranks hold: for about
 * half a turn by the energy outside the double wedge of the mirrored sinogram's transform (Vo et al. 2014), for a
 * full turn by the best match of opposite projections. quality: depth of the minimum, 0..1; at_edge: no minimum
 * within the range searched. */
enum status recon_centre(MPI_Comm comm, const float *sinogram, const double *angle_rad,
                         int64_t angles, int64_t columns, bool full_turn, double *centre_px,
                         bool *at_edge);
