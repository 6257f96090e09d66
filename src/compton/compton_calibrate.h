/* Gain and offset of every pixel from the lines of Am-241. */
#pragma once
#include "compton_cube.h"

/* Why a pixel's calibration is not to be trusted. */
enum compton_calibrate_flag {
  CALIBRATE_EMPTY    = 1, /* no counts, or bad in the cube */
  CALIBRATE_NO_LINE  = 2, /* the line at 59.54 keV was not found */
  CALIBRATE_ONE_LINE = 4, /* only that: the offset was taken as 0 */
  CALIBRATE_CURVED   = 8, /* the lines lie off a straight line: p < 1e-4 */
  CALIBRATE_ODD =
      16 /* gain more than 15 % off the sensor's median, or resolution over twice its median */
};
enum { CALIBRATE_LINES = 4 };

struct compton_gain {
  double gain_kev, offset_kev;                       /* energy = gain ADU + offset */
  double gain_variance, offset_variance, covariance; /* statistical and of the lines' energies */
  double line_adu[CALIBRATE_LINES],
      line_sigma_adu[CALIBRATE_LINES]; /* 59.54, 26.34, 17.75, 13.94; 0: not found */
  double fwhm_kev;                     /* at 59.54 keV */
  double chi2;                         /* of the straight line, lines - 2 degrees of freedom */
  int lines;
  int flags; /* 0: good; with EMPTY or NO_LINE all else is 0 */
};

/* Local. One spectrum: count[bins] over ADU above dark, from first_adu in steps of bin_adu. The line at 59.54 keV is
 * looked for within 25 % of 59.54 / guess_kev ADU. Flags but ODD are set. */
void compton_calibrate_spectrum(const uint32_t *count, int64_t bins, double first_adu,
                                double bin_adu, double guess_kev, struct compton_gain *gain);
/* Collective. The pixels of a cube that was counted with a gain of 1 and no offset, so that its energies are ADU:
 * gain[cube->pixels] of this rank's chunk. *good counts pixels without flags, on all ranks. INPUT: there is none. */
enum status compton_calibrate_cube(MPI_Comm comm, const struct compton_cube *cube, double guess_kev,
                                   struct compton_gain *gain, int64_t *good);
