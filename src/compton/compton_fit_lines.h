/* Lines of a summed spectrum, named: fluorescence of sensor (Cd, Te), pinhole (W) and shield (Pb), the beam's elastic line
 * and what escapes from the sensor of it. */
#pragma once
#include "base.h"

enum { COMPTON_LINES_MOST = 28 };
struct compton_line {
  char name[48];
  double energy_kev, fwhm_kev;
  double counts,
      sigma; /* of the line, above what is smooth beneath it; NaN: it lies in the Compton line, where only the
                           fit of that can tell (compton_profile.h, COMPTON_ESCAPE) */
};
struct compton_lines_request {
  double beam_kev, line_kev, fwhm_kev; /* the Compton line's energy, resolution there */
  double first_kev, bin_kev;           /* lower edge of the first bin, width */
  int64_t bins;
  const double *count; /* [bins] */
};
/* Local. line[COMPTON_LINES_MOST] by energy, those that lie within the spectrum; their number. */
enum status compton_fit_lines(const struct compton_lines_request *request,
                              struct compton_line *line, int *n);
