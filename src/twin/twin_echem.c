/* What a potentiostat would have recorded: constant current to the upper voltage, held there until the cell is full,
 * constant current down; impedance spectra R_s + (R_ct || CPE) with relative noise. */
#include "twin_private.h"
#include "numeric.h"
#include <complex.h>
#include <math.h>
#include <string.h>

enum { STREAM_SPECTRUM = 32, STATE_HELD = 2, STATE_FULL = 3 };
static const double area_cm2 = 1.5394 /* 14 mm */, capacity_mAh_cm2 = 3.0, current_mA_cm2 = 0.3,
                    efficiency = 0.88;
static const double R_s_Ohm = 120, cpe_Q = 2e-5, cpe_n = 0.85, noise = 0.002;

/* Times in h: end of constant current, of the voltage hold (its current falls to a twentieth), of the discharge. */
struct times {
  double held_h, full_h, end_h, decay_h;
};
static struct times times_of(void) {
  struct times t;
  double share = 0.01 * twin_states[STATE_HELD].percent;
  t.held_h     = share * capacity_mAh_cm2 / current_mA_cm2;
  t.decay_h    = (1 - share) * capacity_mAh_cm2 / current_mA_cm2 / (1 - 0.05);
  t.full_h     = round(3600 * (t.held_h + t.decay_h * log(20))) / 3600;
  t.end_h      = t.full_h + efficiency * capacity_mAh_cm2 / current_mA_cm2;
  return t;
}

static double time_of(const struct twin_state *state) {
  struct times t = times_of();
  int i          = (int)(state - twin_states);
  if (i <= STATE_HELD) return 36 * state->percent * capacity_mAh_cm2 / current_mA_cm2;
  if (i == STATE_FULL) return 3600 * t.full_h;
  return 3600 * (t.full_h + 0.01 * state->percent * (t.end_h - t.full_h));
}

/* Voltage between the states' own, straight in charge. */
static double voltage_at(double time_s) {
  for (int i = 1; i < TWIN_STATES; i++) {
    double a = time_of(&twin_states[i - 1]), b = time_of(&twin_states[i]);
    if (time_s <= b)
      return twin_states[i - 1].voltage_V +
             (twin_states[i].voltage_V - twin_states[i - 1].voltage_V) *
                 (b > a ? (time_s - a) / (b - a) : 1);
  }
  return twin_states[TWIN_STATES - 1].voltage_V;
}

static double current_at(double time_s) {
  struct times t = times_of();
  double h = time_s / 3600, full = 1e-3 * current_mA_cm2 * area_cm2;
  if (h <= t.held_h) return full;
  if (h <= t.full_h + 1e-9) return full * exp(-(h - t.held_h) / t.decay_h);
  return -full;
}

static enum status add_row(struct twin_text *csv, struct twin_text *dta, int64_t *row,
                           double time_s, double current_A) {
  double v = voltage_at(time_s);
  TRY(twin_text_add(csv, "%.3f,%.6f,%.9e\n", time_s, v, current_A));
  return twin_text_add(dta, "\t%lld\t%.3f\t%.6f\t%.9e\r\n", (long long)(*row)++, time_s, v,
                       current_A);
}

/* A row a minute, and two where the current turns. */
static enum status cycle_texts(struct twin_text *csv, struct twin_text *dta) {
  double full_s = 3600 * times_of().full_h, end_s = 3600 * times_of().end_h;
  int64_t row = 0, last = (int64_t)ceil(end_s / 60);
  TRY(twin_text_add(
      csv, "# made by the twin; charging current is positive\ntime_s,voltage_V,current_A\n"));
  TRY(twin_text_add(
      dta,
      "EXPLAIN\r\nTAG\tPWR800_CHARGE\r\nTITLE\tLABEL\tmade by the twin\tTest &Identifier\r\n"
      "CURVE\tTABLE\t%lld\r\n\tPt\tT\tVf\tIm\r\n\t#\ts\tV vs. Ref.\tA\r\n",
      (long long)last + 3));
  for (int64_t i = 0; i <= last; i++) {
    double t = fmin(60 * (double)i, end_s);
    if (t > full_s && t - 60 <= full_s) {
      TRY(add_row(csv, dta, &row, full_s, current_at(full_s)));
      TRY(add_row(csv, dta, &row, full_s, current_at(end_s)));
    }
    TRY(add_row(csv, dta, &row, t, current_at(t)));
  }
  return STATUS_OK;
}

static enum status spectrum_texts(const struct twin_params *params, const struct twin_state *state,
                                  struct twin_text *csv, struct twin_text *dta) {
  enum { POINTS = 71 }; /* 1 MHz to 0.1 Hz, ten a decade */
  uint64_t seed = (uint64_t)params->seed;
  double R_ct   = twin_content(params, state)->R_ct_Ohm;
  TRY(twin_text_add(csv, "frequency_Hz,z_real_Ohm,z_imag_Ohm\n"));
  TRY(twin_text_add(dta,
                    "EXPLAIN\r\nTAG\tEISPOT\r\nTITLE\tLABEL\tmade by the twin\tTest &Identifier\r\n"
                    "ZCURVE\tTABLE\r\n\tPt\tTime\tFreq\tZreal\tZimag\r\n\t#\ts\tHz\tohm\tohm\r\n"));
  for (int i = 0; i < POINTS; i++) {
    double hz = pow(10, 6 - 0.1 * i), w = 2 * PI * hz;
    double complex z = R_s_Ohm + 1 / (1 / R_ct + cpe_Q * cpow(I * w, cpe_n));
    uint64_t stream  = STREAM_SPECTRUM + (uint64_t)(state - twin_states);
    double re        = creal(z) + noise * cabs(z) * random_normal(seed, stream, (uint64_t)(2 * i)),
           im = cimag(z) + noise * cabs(z) * random_normal(seed, stream, (uint64_t)(2 * i + 1));
    TRY(twin_text_add(csv, "%.6e,%.6e,%.6e\n", hz, re, im));
    TRY(twin_text_add(dta, "\t%d\t%d\t%.6e\t%.6e\t%.6e\r\n", i, i, hz, re, im));
  }
  return STATUS_OK;
}

/* Writes both texts under `name` with .csv and .DTA, and frees them. */
static enum status write_both(const struct twin_book *book, const char *name, struct twin_text *csv,
                              struct twin_text *dta, enum status status) {
  char path[STORE_NAME_BYTES], file[128];
  const struct twin_text *text[2] = {csv, dta};
  for (int i = 0; i < 2 && status == STATUS_OK && log_is_speaker(); i++) {
    snprintf(file, sizeof file, "raw/%s.%s", name, i ? "DTA" : "csv");
    twin_path(book, file, path, sizeof path);
    status = store_text_write(path, text[i]->text, text[i]->n);
  }
  memory_free(csv->text);
  memory_free(dta->text);
  return status;
}

static enum status write_state(const struct twin_params *params, const struct twin_state *state,
                               struct twin_book *book) {
  struct twin_text csv = {0}, dta = {0};
  char name[80];
  snprintf(name, sizeof name, "%s_eis", state->name);
  TRY(write_both(book, name, &csv, &dta,
                 spectrum_texts(params, state, &csv, &dta)));
  TRY(twin_truth_add(book, state, "R_s", R_s_Ohm, "Ohm"));
  TRY(twin_truth_add(book, state, "R_ct", twin_content(params, state)->R_ct_Ohm, "Ohm"));
  TRY(twin_truth_add(book, state, state - twin_states > STATE_FULL ? "DoD" : "SoC", state->percent,
                     "%"));
  TRY(twin_truth_add(book, state, "voltage", state->voltage_V, "V"));
  return twin_text_add(&book->state[state - twin_states],
                       "    time_s: %.1f\n    impedance: raw/%s.%s\n", time_of(state), name,
                       (state - twin_states) % 2 ? "csv" : "DTA");
}

static enum status write_all(const struct twin_params *params, struct twin_book *book) {
  struct twin_text csv = {0}, dta = {0};
  TRY(fault_here("twin.echem"));
  TRY(write_both(book, "cycle", &csv, &dta, cycle_texts(&csv, &dta)));
  for (int i = 0; i < TWIN_STATES; i++) TRY(write_state(params, &twin_states[i], book));
  TRY(twin_truth_add(book, NULL, "charge_capacity", area_cm2 * capacity_mAh_cm2, "mAh"));
  TRY(twin_truth_add(book, NULL, "discharge_capacity", area_cm2 * capacity_mAh_cm2 * efficiency,
                     "mAh"));
  return twin_text_add(&book->bottom, "galvanostatic: raw/cycle.csv\n");
}

enum status twin_echem_write(MPI_Comm comm, const struct twin_params *params,
                             struct twin_book *book) {
  return AGREE(comm, write_all(params, book));
}
