/* The measured curves and their fits beside the results, so that figures need no raw files. */
#include "echem_curves.h"
#include <string.h>

enum { CYCLE_MOST = 4096, COLUMNS = 6 };

void echem_curves_free(struct echem_curves *c) {
  memory_free(c->column[0]);
  memory_free(c->cycle[0]);
  memset(c, 0, sizeof *c);
}

enum status echem_curves_cycle(struct echem_curves *c, const struct echem_table *cycle) {
  double *charge_mAh;
  int64_t n = cycle->rows < CYCLE_MOST ? cycle->rows : CYCLE_MOST;
  if (n <= 0 || c->cycle[0]) return STATUS_OK;
  TRY(memory_make_raw(cycle->rows, sizeof *charge_mAh, "charge", &charge_mAh));
  echem_charge(cycle, charge_mAh);
  enum status status = memory_make_raw(3 * n, sizeof *c->cycle[0], "a curve", &c->cycle[0]);
  if (status == STATUS_OK) {
    for (int k = 1; k < 3; k++) c->cycle[k] = c->cycle[0] + k * n;
    for (int64_t i = 0; i < n; i++) {
      int64_t from   = n > 1 ? i * (cycle->rows - 1) / (n - 1) : 0;
      c->cycle[0][i] = cycle->column[0][from] - cycle->column[0][0];
      c->cycle[1][i] = cycle->column[1][from];
      c->cycle[2][i] = charge_mAh[from];
    }
    c->points = n;
  }
  memory_free(charge_mAh);
  return status;
}

static enum status make_room(struct echem_curves *c, int64_t more) {
  if (c->rows + more <= c->room) return STATUS_OK;
  double *larger;
  int64_t room = 2 * c->room + more;
  TRY(memory_make_raw(COLUMNS * room, sizeof *larger, "spectra", &larger));
  for (int k = 0; k < COLUMNS; k++) {
    if (c->rows) memcpy(larger + k * room, c->column[k], (size_t)c->rows * sizeof *larger);
  }
  memory_free(c->column[0]);
  for (int k = 0; k < COLUMNS; k++) c->column[k] = larger + k * room;
  c->room = room;
  return STATUS_OK;
}

enum status echem_curves_spectrum(struct echem_curves *c, int state, const struct echem_table *s,
                                  const struct echem_impedance *fit) {
  TRY(make_room(c, s->rows));
  for (int64_t i = 0; i < s->rows; i++) {
    int64_t at = c->rows++;
    double real, imaginary;
    echem_impedance_model(fit, s->column[0][i], &real, &imaginary);
    const double row[COLUMNS] = {state, s->column[0][i], s->column[1][i], s->column[2][i],
                                 real,  imaginary};
    for (int k = 0; k < COLUMNS; k++) c->column[k][at] = row[k];
  }
  return STATUS_OK;
}

enum status echem_curves_write(MPI_Comm comm, struct store_output *output,
                               const struct echem_curves *c) {
  static const char *const cycle[] = {"time_s", "voltage_V", "charge_mAh"}, *const cycle_unit[] = {
                                                                                "s", "V", "mAh"};
  static const char *const name[]        = {"state",  "frequency_Hz", "re_Ohm",
                                            "im_Ohm", "fit_re_Ohm",   "fit_im_Ohm"},
                           *const unit[] = {"", "Hz", "Ohm", "Ohm", "Ohm", "Ohm"};
  if (c->points > 0)
    TRY(store_table(comm, output, "cycle_curve", cycle, cycle_unit, 3,
                    (const double *const *)c->cycle, c->points));
  if (c->rows == 0) return STATUS_OK;
  return store_table(comm, output, "impedance_curves", name, unit, COLUMNS,
                     (const double *const *)c->column, c->rows);
}
