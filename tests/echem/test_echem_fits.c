/* np: 1 */
#include "check.h"
#include "echem_curves.h"
#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FREQUENCIES = 61 };
static const double R_s = 120, R_ct = 240, Q = 2e-5, N = 0.85;

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}
static double normal(uint64_t *state) {
  double u = uniform(state), v = uniform(state);
  return sqrt(-2 * log(u)) * cos(2 * PI * v);
}

static void make_spectrum(struct echem_table *t, double warburg, double noise, uint64_t seed) {
  memset(t, 0, sizeof *t);
  t->columns     = 3;
  t->rows        = FREQUENCIES;
  uint64_t state = seed * 7919 + 1;
  for (int c = 0; c < 3; c++)
    CHECK_OK(memory_make(FREQUENCIES, sizeof(double), "a spectrum", &t->column[c]));
  for (int i = 0; i < FREQUENCIES; i++) {
    double f = pow(10, 6 - 8.0 * i / (FREQUENCIES - 1)), w = 2 * PI * f;
    double complex z = R_s + 1 / (1 / R_ct + Q * cpow(I * w, N)) + warburg * (1 - I) / sqrt(w);
    t->column[0][i]  = f;
    t->column[1][i]  = creal(z) + noise * cabs(z) * normal(&state);
    t->column[2][i]  = cimag(z) + noise * cabs(z) * normal(&state);
  }
}

TEST(a_clean_spectrum_gives_its_resistances_back) {
  struct echem_table t;
  struct echem_impedance fit;
  for (int warburg = 0; warburg < 2; warburg++) {
    make_spectrum(&t, 30 * warburg, 0, 1);
    CHECK_OK(echem_impedance_fit("clean", &t, &fit));
    CHECK_NEAR(fit.R_s_Ohm, R_s, 1e-4 * R_s);
    CHECK_NEAR(fit.R_ct_Ohm, R_ct, 1e-4 * R_ct);
    CHECK_NEAR(fit.n, N, 1e-4);
    CHECK(fit.kramers_kronig_good, "residual %g", fit.kramers_kronig);
    echem_table_free(&t);
  }
}

TEST(noisy_spectra_stay_within_their_errors) {
  enum { SEEDS = 200 };
  double sum_s = 0, sum_ct = 0, square_s = 0, square_ct = 0, worst_s = 0, worst_ct = 0;
  for (int seed = 1; seed <= SEEDS; seed++) {
    struct echem_table t;
    struct echem_impedance fit;
    make_spectrum(&t, 30, 0.005, (uint64_t)seed);
    CHECK_OK(echem_impedance_fit("noisy", &t, &fit));
    double pull_s  = (fit.R_s_Ohm - R_s) / fit.R_s_sigma,
           pull_ct = (fit.R_ct_Ohm - R_ct) / fit.R_ct_sigma;
    sum_s += pull_s, sum_ct += pull_ct;
    square_s += pull_s * pull_s, square_ct += pull_ct * pull_ct;
    worst_s  = fmax(worst_s, fabs(fit.R_s_Ohm / R_s - 1));
    worst_ct = fmax(worst_ct, fabs(fit.R_ct_Ohm / R_ct - 1));
    echem_table_free(&t);
  }
  double width_s = sqrt(square_s / SEEDS), width_ct = sqrt(square_ct / SEEDS);
  CHECK(width_s > 0.9 && width_s < 1.1, "pull of R_s: %.3f", width_s);
  CHECK(width_ct > 0.9 && width_ct < 1.1, "pull of R_ct: %.3f", width_ct);
  CHECK(fabs(sum_s / SEEDS) < 0.21 && fabs(sum_ct / SEEDS) < 0.21, "bias %.3f and %.3f sigma",
        sum_s / SEEDS, sum_ct / SEEDS);
  CHECK(worst_s < 0.01 && worst_ct < 0.05, "R_s off by %.4f, R_ct by %.4f at most", worst_s,
        worst_ct);
}

TEST(a_spectrum_that_drifts_breaks_kramers_kronig) {
  struct echem_table t;
  struct echem_impedance fit;
  make_spectrum(&t, 0, 0, 1);
  for (int i = 0; i < FREQUENCIES; i++)
    t.column[1][i] *= 1 + 0.3 * i / FREQUENCIES; /* real part alone */
  CHECK_OK(echem_impedance_fit("drifting", &t, &fit));
  CHECK(fit.kramers_kronig > 0.01, "residual %g", fit.kramers_kronig);
  echem_table_free(&t);
}

TEST(charge_and_state_of_charge_follow_the_current) {
  const char text[] = "time_s,voltage_V,current_A\n0,3,0.001\n3600,4.3,0.001\n3600,4.3,-0.001\n"
                      "5400,3.6,-0.001\n7200,3,-0.0005\n";
  struct echem_table t;
  struct echem_point point;
  CHECK_OK(echem_cycle_parse("text", text, (int64_t)sizeof text - 1, &t));
  double up, down;
  echem_capacity(&t, &up, &down);
  CHECK_NEAR(up, 1, 1e-12);
  CHECK_NEAR(down, 0.5 + 0.375, 1e-12);
  CHECK_OK(echem_point_at("text", &t, 720, &point));
  CHECK_NEAR(point.percent, 20, 1e-9);
  CHECK(!point.discharging, "charging");
  CHECK_NEAR(point.voltage_V, 3.26, 1e-9);
  CHECK_OK(echem_point_at("text", &t, 5400, &point));
  CHECK_NEAR(point.percent, 100 * 0.5 / 0.875, 1e-9);
  CHECK(point.discharging, "discharging");
  status_clear();
  CHECK(echem_point_at("text", &t, 9999, &point) == STATUS_INPUT, "outside the data");
  echem_table_free(&t);
}

TEST(gamry_and_csv_files_say_the_same) {
  const char gamry[] =
      "EXPLAIN\r\nTAG\tEISPOT\r\nZCURVE\tTABLE\r\n\tPt\tTime\tFreq\tZreal\tZimag\tZsig\r\n"
      "\t#\ts\tHz\tohm\tohm\tV\r\n\t0\t1\t1000\t120.5\t-3.25\t1\r\n\t1\t2\t100\t130\t-40\t1\r\n";
  const char csv[] =
      "# made by hand\nfrequency_Hz;Z_real_Ohm;Z_imag_Ohm\n1000;120.5;-3.25\n\n100;130;-40\n";
  struct echem_table a, b;
  CHECK_OK(echem_impedance_parse("gamry", gamry, (int64_t)sizeof gamry - 1, &a));
  CHECK_OK(echem_impedance_parse("csv", csv, (int64_t)sizeof csv - 1, &b));
  CHECK(a.rows == 2 && b.rows == 2, "%lld and %lld rows", (long long)a.rows, (long long)b.rows);
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 2; i++) CHECK_NEAR(a.column[c][i], b.column[c][i], 0);
  echem_table_free(&a);
  echem_table_free(&b);
}

TEST(bad_files_are_told_with_their_line) {
  const struct {
    const char *text, *words;
  } cases[] = {
      {"",                                             "empty"                                     },
      {"time_s,voltage_V\n1,2\n",                      "no column for the current"                 },
      {"time_s,voltage_V,current_A\n0,3,1\n1,x,1\n",   "bad:3: the voltage 'x' is no finite number"},
      {"time_s,voltage_V,current_A\n0,3,1\n1,nan,1\n", "no finite number"                          },
      {"time_s,voltage_V,current_A\n0,3,1\n1\n",       "bad:3: 1 fields"                           },
      {"time_s,voltage_V,current_A\n0,3,1\n",          "1 rows of numbers"                         },
      {"time_s,voltage_V,current_A\n5,3,1\n1,3,1\n",   "goes back from 5 to 1"                     },
      {"EXPLAIN\nTAG\n",                               "no CURVE table"                            },
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct echem_table t;
    status_clear();
    CHECK(echem_cycle_parse("bad", cases[i].text, (int64_t)strlen(cases[i].text), &t) ==
              STATUS_INPUT,
          "case %zu", i);
    CHECK(strstr(status_text(), cases[i].words) != NULL, "case %zu says '%s'", i, status_text());
  }
  status_clear();
}

/* Spectra of growing room, and the curve of the fit through a clean spectrum is the spectrum. */
TEST(the_kept_curves_are_the_data_and_the_fit) {
  struct echem_curves curves;
  memset(&curves, 0, sizeof curves);
  for (int state = 0; state < 5; state++) {
    struct echem_table t;
    struct echem_impedance fit;
    make_spectrum(&t, 30, 0, 1);
    CHECK_OK(echem_impedance_fit("clean", &t, &fit));
    CHECK_OK(echem_curves_spectrum(&curves, state, &t, &fit));
    echem_table_free(&t);
  }
  CHECK(curves.rows == 5 * FREQUENCIES, "%lld rows", (long long)curves.rows);
  for (int64_t i = 0; i < curves.rows; i++) {
    CHECK_NEAR(curves.column[0][i], (double)(i / FREQUENCIES), 0);
    CHECK_NEAR(curves.column[4][i], curves.column[2][i], 1e-3 * R_s);
    CHECK_NEAR(curves.column[5][i], curves.column[3][i], 1e-3 * R_s);
  }
  echem_curves_free(&curves);
}
