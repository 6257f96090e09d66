/* Charge, capacity and state of charge. The charging step runs from the first row to the row of most charge
 * passed; the discharging step from there to the row of least charge after it. */
#include "echem.h"
#include <math.h>

void echem_charge(const struct echem_table *cycle, double *charge_mAh) {
  const double *t = cycle->column[0], *i = cycle->column[2];
  charge_mAh[0] = 0;
  for (int64_t k = 1; k < cycle->rows; k++)
    charge_mAh[k] = charge_mAh[k - 1] + (t[k] - t[k - 1]) * 0.5 * (i[k] + i[k - 1]) / 3.6;
}

struct steps {
  int64_t top, bottom; /* rows where charging and discharging end */
  double charge_mAh, discharge_mAh;
};

static struct steps find_steps(const double *charge_mAh, int64_t rows) {
  struct steps s = {0, 0, 0, 0};
  for (int64_t k = 0; k < rows; k++)
    if (charge_mAh[k] > charge_mAh[s.top]) s.top = k;
  s.bottom = s.top;
  for (int64_t k = s.top; k < rows; k++)
    if (charge_mAh[k] < charge_mAh[s.bottom]) s.bottom = k;
  s.charge_mAh    = charge_mAh[s.top];
  s.discharge_mAh = charge_mAh[s.top] - charge_mAh[s.bottom];
  return s;
}

static double at_time(const double *t, const double *y, int64_t rows, double time_s) {
  int64_t low = 0, high = rows - 1;
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    if (t[middle] <= time_s)
      low = middle;
    else
      high = middle;
  }
  double span = t[high] - t[low];
  return span > 0 ? y[low] + (y[high] - y[low]) * (time_s - t[low]) / span : y[high];
}

static void place(const struct echem_table *cycle, const double *charge_mAh, double time_s,
                  struct echem_point *point) {
  const double *t    = cycle->column[0];
  struct steps s     = find_steps(charge_mAh, cycle->rows);
  point->time_s      = time_s;
  point->voltage_V   = at_time(t, cycle->column[1], cycle->rows, time_s);
  point->charge_mAh  = at_time(t, charge_mAh, cycle->rows, time_s);
  point->discharging = time_s > t[s.top] && s.discharge_mAh > 0;
  double part        = point->discharging ? s.charge_mAh - point->charge_mAh : point->charge_mAh;
  double whole       = point->discharging ? s.discharge_mAh : s.charge_mAh;
  point->percent     = whole > 0 ? 100 * part / whole : (double)NAN;
}

enum status echem_point_at(const char *name, const struct echem_table *cycle, double time_s,
                           struct echem_point *point) {
  double first_s = cycle->column[0][0], last_s = cycle->column[0][cycle->rows - 1];
  if (!(time_s >= first_s && time_s <= last_s))
    return FAIL(STATUS_INPUT, "%s: a state at %g s lies outside the data's %g..%g s", name, time_s,
                first_s, last_s);
  double *charge_mAh;
  TRY(memory_make(cycle->rows, sizeof *charge_mAh, "the charge passed", &charge_mAh));
  echem_charge(cycle, charge_mAh);
  place(cycle, charge_mAh, time_s, point);
  memory_free(charge_mAh);
  return STATUS_OK;
}

void echem_capacity(const struct echem_table *cycle, double *charge_mAh, double *discharge_mAh) {
  double *passed;
  *charge_mAh = *discharge_mAh = (double)NAN;
  if (memory_make(cycle->rows, sizeof *passed, "the charge passed", &passed) != STATUS_OK) return;
  echem_charge(cycle, passed);
  struct steps s = find_steps(passed, cycle->rows);
  *charge_mAh    = s.charge_mAh;
  *discharge_mAh = s.discharge_mAh;
  memory_free(passed);
}
