/* echem: what the potentiostat says - capacity and state of charge of the cycle's states from galvanostatic
 * data, series and charge-transfer resistance from impedance spectra. */
#pragma once
#include "stage.h"

struct echem_params {
#include "config_struct.inc"
#include "echem_params.def"
#include "config_undef.inc"
};
extern const struct stage echem_stage;

/* A table read from a text file: columns of doubles. */
enum { ECHEM_COLUMNS_MOST = 8 };
struct echem_table {
  int columns;
  int64_t rows;
  double *column[ECHEM_COLUMNS_MOST]; /* owned */
};
void echem_table_free(struct echem_table *table);

/* Local, from the file's bytes; `name` stands in messages. CSV (separated by comma, semicolon or tab; a head
 * line names the columns; '#' starts a comment) or Gamry .DTA (its CURVE or ZCURVE table).
 * Cycle: columns time in s, voltage in V, current in A (charging positive).
 * Impedance: columns frequency in Hz, real and imaginary part in Ohm.
 * INPUT: name:line, the value and what would be right. */
enum status echem_cycle_parse(const char *name, const char *bytes, int64_t n,
                              struct echem_table *table);
enum status echem_impedance_parse(const char *name, const char *bytes, int64_t n,
                                  struct echem_table *table);

/* Charge passed since the first row, in mAh, by the trapezoidal rule: charge[rows]. */
void echem_charge(const struct echem_table *cycle, double *charge_mAh);
/* State of the cell at a time: charging 0..100 % of the charge passed at the end of the (first) charging
 * step, discharging 0..100 % of that passed from there to the end of the discharging step. */
struct echem_point {
  double time_s, voltage_V, charge_mAh, percent;
  bool discharging;
};
enum status echem_point_at(const char *name, const struct echem_table *cycle, double time_s,
                           struct echem_point *point);
/* Capacity of the first charging and the following discharging step, mAh (0 when there is none). */
void echem_capacity(const struct echem_table *cycle, double *charge_mAh, double *discharge_mAh);

/* R_s + (R_ct || CPE) + Warburg: Z = R_s + 1 / (1/R_ct + Q (i w)^n) + W (1 - i) / sqrt(w).
 * Errors are one sigma, from the spectrum's own scatter about the fit (modulus weighting). */
struct echem_impedance {
  double R_s_Ohm, R_s_sigma, R_ct_Ohm, R_ct_sigma, Q, n, W;
  double relative_noise; /* rms of |Z - fit| / |Z| per part */
  double kramers_kronig; /* rms relative residual of the Kramers-Kronig test */
  bool has_warburg;      /* the data ask for it (Akaike's criterion) */
  bool
      kramers_kronig_good; /* the residual is no larger than 1 % or 1.5 times the noise of the fit */
};
enum status echem_impedance_fit(const char *name, const struct echem_table *spectrum,
                                struct echem_impedance *fit);
/* Local. The fitted impedance at a frequency, Ohm. */
void echem_impedance_model(const struct echem_impedance *fit, double frequency_Hz, double *real,
                           double *imaginary);
