/* What a homogeneous disc tells of every pixel: where it sees the line, how sharp, how well; and the camera's angle. */
#pragma once
#include "compton_fit.h"

enum compton_disc_flag {
  COMPTON_DISC_BAD  = 1, /* bad in the cube, or without counts */
  COMPTON_DISC_LOST = 2, /* the fit did not converge */
  COMPTON_DISC_ODD =
      4 /* line, width or flat more than 8 robust deviations from the other pixels' */
};
struct compton_disc_pixel {
  double line_kev,
      line_sigma_kev; /* where the line of resting electrons is seen; NaN with any flag */
  double fwhm_kev, fwhm_sigma_kev;
  double flat, flat_sigma; /* sensitivity; mean 1 over the good pixels */
  int flags;
};
struct compton_disc_result {
  double offset_deg, offset_sigma_deg; /* to be added to the geometry's */
  double
      orientation; /* slope of the lines seen against those expected: 1; -1: the image is turned */
  double line_spread, width_spread, flat_spread; /* relative standard deviations over good pixels */
  double fwhm_kev;                               /* median */
  int64_t good;
};
/* Collective. pixel[cube->pixels]. The energy scale is trusted in the mean over pixels (it comes from a source), and what
 * the lines are off in the mean is the angle's; what single pixels are off is their scale's. `part`: the disc's material,
 * electrons of each of the table's. INPUT: no good pixel; the image is turned about. */
enum status
compton_disc_measure(MPI_Comm comm, struct compton_table *table, const struct compton_cube *cube,
                     const struct compton_geometry *geometry, const double part[COMPTON_SHAPES],
                     struct compton_disc_pixel *pixel, struct compton_disc_result *result);
/* Collective. By which factor all energies of a cube, a part of an acquisition, have grown against its pixels' line_kev:
 * the drift of the gain
 * followed by the line. NaN: too few counts to say. */
enum status compton_disc_drift(MPI_Comm comm, struct compton_table *table,
                               const struct compton_pixels *pixels,
                               const double part[COMPTON_SHAPES], double *growth, double *sigma);
