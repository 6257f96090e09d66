/* Inside echem: the curves behind the numbers, kept for figures. */
#pragma once
#include "echem.h"

struct echem_curves {
  double
      *column[6]; /* state, frequency_Hz, re_Ohm, im_Ohm, fit_re_Ohm, fit_im_Ohm of all spectra */
  int64_t rows, room;
  double *cycle[3]; /* time_s, voltage_V, charge_mAh */
  int64_t points;
};
void echem_curves_free(struct echem_curves *curves);
/* Local. At most 4096 points of the galvanostatic record, evenly taken; the last is kept. */
enum status echem_curves_cycle(struct echem_curves *curves, const struct echem_table *cycle);
/* Local. A spectrum and its fit; `state` counts from 0. */
enum status echem_curves_spectrum(struct echem_curves *curves, int state,
                                  const struct echem_table *spectrum,
                                  const struct echem_impedance *fit);
/* Collective. The tables `cycle_curve` and `impedance_curves`. */
enum status echem_curves_write(MPI_Comm comm, struct store_output *output,
                               const struct echem_curves *curves);
