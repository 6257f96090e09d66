/* The peak of one pixel: a mixture's line shape at the pixel's own angle and resolution on a constant and a shelf, with
 * the escape line of the elastic line, fitted by the greatest Poisson likelihood. */
#pragma once
#include "compton_profile.h"

enum compton_fit_term {
  COMPTON_FIT_AMPLITUDE, /* electrons x photons, counts per barn/sr */
  COMPTON_FIT_LINE,      /* keV: where the line of resting electrons is seen */
  COMPTON_FIT_CONSTANT,  /* counts per bin */
  COMPTON_FIT_STEP,      /* counts per bin far below the line */
  COMPTON_FIT_ESCAPE,    /* counts of the line */
  COMPTON_FIT_WIDTH,     /* keV of true energy: resolution at the line, FWHM */
  COMPTON_FIT_TERMS
};
#define COMPTON_FIT_THREE                                                                          \
  (1U << COMPTON_FIT_AMPLITUDE | 1U << COMPTON_FIT_LINE | 1U << COMPTON_FIT_CONSTANT)
#define COMPTON_FIT_FIVE (COMPTON_FIT_THREE | 1U << COMPTON_FIT_STEP | 1U << COMPTON_FIT_ESCAPE)

struct compton_fit_settings {
  double part[COMPTON_SHAPES]; /* electrons of each of the table's materials; their sum is made 1 */
  unsigned free;               /* bits of what is fitted; the rest stays as in `peak` */
};
struct compton_peak {
  double value[COMPTON_FIT_TERMS];
  double covariance[COMPTON_FIT_TERMS][COMPTON_FIT_TERMS]; /* 0 for what was not fitted */
  double deviance;                                         /* 0 unless converged */
  int64_t bins; /* of the fit, less the number of fitted terms */
  int steps;
  bool converged;
};
/* Local. count[] in the table's bins, fitted between the table's fit limits. On entry peak->value holds what is not fitted
 * (and the resolution to begin with); what is fitted is begun from the counts. No counts: not converged. */
enum status compton_fit_pixel(struct compton_table *table,
                              const struct compton_fit_settings *settings, const uint32_t *count,
                              double angle, struct compton_peak *peak);
