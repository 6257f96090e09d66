/* np: 1 */
/* Truths: the relations themselves, and figures recomputed with NumPy and xraylib by an independent program. */
#include "check.h"
#include "numeric_xray.h"
#include <math.h>
#include <string.h>

static const double beam = 115;
static double degrees(double d) { return d * acos(-1.0) / 180; }

TEST(the_line_of_115_keV_at_90_degrees_is_at_93_874_keV) {
  CHECK_NEAR(xray_line_kev(beam, degrees(90)), 93.874, 0.0005);
  double step = xray_line_kev(beam, degrees(90.5)) - xray_line_kev(beam, degrees(89.5));
  CHECK_NEAR(step, -0.301, 0.0005);
  CHECK_NEAR(xray_momentum(beam, xray_line_kev(beam, degrees(86)), degrees(86)), 0, 1e-9);
}

TEST(momentum_windows_lie_where_the_exact_relation_puts_them) {
  double right = degrees(90);
  CHECK_NEAR(xray_energy(beam, -1, right), 92.993, 0.001);
  CHECK_NEAR(xray_energy(beam, 1, right), 94.761, 0.001);
  CHECK_NEAR(xray_energy(beam, -5, right), 89.55, 0.02);
  CHECK_NEAR(xray_energy(beam, 5, right), 98.39, 0.02);
  CHECK_NEAR(xray_momentum_slope(beam, 93.874, right), 1.131, 0.0005);
  for (int i = -20; i <= 20; i++) {
    double p = 0.7 * i, e = xray_energy(beam, p, degrees(100));
    CHECK_NEAR(xray_momentum(beam, e, degrees(100)), p, 1e-9);
    double slope = (xray_momentum(beam, e + 1e-4, degrees(100)) -
                    xray_momentum(beam, e - 1e-4, degrees(100))) /
                   2e-4;
    CHECK_NEAR(xray_momentum_slope(beam, e, degrees(100)), slope, 1e-6);
  }
  CHECK(isnan(xray_energy(beam, 1e4, right)), "no photon has more energy than the beam");
}

TEST(a_resting_electron_scatters_as_Klein_and_Nishina_say) {
  CHECK_NEAR(xray_klein_nishina(beam, degrees(90)), 0.02755, 0.000005);
  for (int deg = 30; deg <= 150; deg += 20) {
    double line = xray_line_kev(beam, degrees(deg));
    double all  = xray_cross_section(beam, line, degrees(deg)) /
                 xray_momentum_slope(beam, line, degrees(deg));
    CHECK_NEAR(all / xray_klein_nishina(beam, degrees(deg)), 1, 1e-6);
  }
}

/* EMF of the blurred line: rate back to J, summed in p_z. */
static double seen_emf(const struct xray_profile *profile, double fwhm_kev) {
  enum { N = 8801 };
  static double rate[N];
  double low = 0, high = 0, right = degrees(90);
  CHECK_OK(xray_line_shape(profile, beam, right, fwhm_kev, 70, 0.005, N, rate));
  for (int i = 0; i < N; i++) {
    double e = 70 + 0.005 * i, p = fabs(xray_momentum(beam, e, right));
    double j = rate[i] / xray_cross_section(beam, e, right) * xray_momentum_slope(beam, e, right);
    if (p < 1)
      low += j;
    else if (p < 5)
      high += j;
  }
  return low / high;
}

TEST(profiles_have_the_published_EMF_before_and_after_the_detector) {
  static const struct {
    enum xray_material material;
    double ideal, seen;
  } known[] = {
      {XRAY_LI_ION,    1.360, 1.239},
      {XRAY_LI_METAL,  2.551, 2.263},
      {XRAY_SPE,       2.033, 1.741},
      {XRAY_CARBON,    2.191, 1.850},
      {XRAY_ALUMINIUM, 1.113, 1.048},
      {XRAY_IRON,      0.802, 0.773}
  };
  for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
    struct xray_profile profile;
    CHECK_OK(xray_profile_of(known[k].material, 1, &profile));
    double ideal = xray_profile_emf(&profile, 1, 5), seen = seen_emf(&profile, 0.79);
    CHECK(fabs(ideal / known[k].ideal - 1) < 1.5e-3, "%s: %.4f, not %.3f",
          xray_material_name(known[k].material), ideal, known[k].ideal);
    CHECK(fabs(seen / known[k].seen - 1) < 3e-3, "%s: %.4f, not %.3f",
          xray_material_name(known[k].material), seen, known[k].seen);
  }
}

TEST(the_cathode_moves_with_its_lithium_as_Faraday_and_O_2p_say) {
  struct xray_profile full, half, nmc;
  CHECK_OK(xray_profile_of(XRAY_CATHODE, 1, &full));
  CHECK_OK(xray_profile_of(XRAY_CATHODE, 0.438, &half));
  CHECK_NEAR(seen_emf(&full, 0.79), 1.0682, 0.002);
  CHECK_NEAR((seen_emf(&full, 0.79) - seen_emf(&half, 0.79)) / 0.562, 0.0141, 0.0006);
  CHECK_OK(xray_profile_of(XRAY_NMC622, 1, &full));
  CHECK_OK(xray_profile_of(XRAY_NMC622, 0.5, &nmc));
  CHECK_NEAR((seen_emf(&full, 0.79) - seen_emf(&nmc, 0.79)) / 0.5, 0.0233, 0.001);
  CHECK_NEAR(xray_electron_density(XRAY_LI_METAL, 1), 1.39, 0.005);
  CHECK_NEAR(xray_electron_density(XRAY_SPE, 1), 5.4, 0.03);
  CHECK_NEAR(xray_electron_density(XRAY_CATHODE, 1), 10.3, 0.2);
}

TEST(a_profile_holds_all_its_electrons) {
  for (int m = 0; m < XRAY_MATERIALS; m++) {
    struct xray_profile profile;
    CHECK_OK(xray_profile_of((enum xray_material)m, 1, &profile));
    double all = profile.j[0] / -2;
    for (int i = 0; i < XRAY_PROFILE_POINTS; i++) all += profile.j[i];
    CHECK_NEAR(2 * all * XRAY_PROFILE_STEP, 1, 0.006);
  }
}

/* Two scatterings by 45 degrees each leave most energy, by 135 least, when the sum of both is to be 90. */
TEST(photons_scattered_twice_lie_between_the_energies_that_two_angles_allow) {
  enum { BINS = 600 };
  static double share[BINS];
  double all = 0, mean = 0, below = 0, above = 0, square = 0;
  CHECK_OK(xray_scattered_twice(beam, degrees(90), 20, 0.2, BINS, share));
  double most  = xray_line_kev(xray_line_kev(beam, degrees(45)), degrees(45)),
         least = xray_line_kev(xray_line_kev(beam, degrees(135)), degrees(135));
  CHECK_NEAR(most, 101.6, 0.1);
  for (int b = 0; b < BINS; b++) {
    double e = 20 + 0.2 * (b + 0.5);
    all += share[b];
    mean += share[b] * e;
    square += share[b] * e * e;
    if (e < least - 3) below += share[b];
    if (e > most + 3) above += share[b];
  }
  CHECK_NEAR(all, 1, 1e-3);
  CHECK(below < 1e-3 && above < 2e-3, "%g below, %g above", below, above);
  CHECK(mean > 80 && mean < 93.9, "mean %g keV", mean);
  CHECK(sqrt(square - mean * mean) > 5, "spread %g keV", sqrt(square - mean * mean));
}

TEST(a_thin_sensor_takes_up_less_and_high_energies_less) {
  double thin, thick, low, high;
  CHECK_OK(xray_sensor_efficiency(94, 0.5, &thin));
  CHECK_OK(xray_sensor_efficiency(94, 2, &thick));
  CHECK_OK(xray_sensor_efficiency(89, 2, &low));
  CHECK_OK(xray_sensor_efficiency(99, 2, &high));
  CHECK(thin < thick && thick < 1, "%g %g", thin, thick);
  /* 2 mm take up 0.87 at 94 keV, of which most by the photoelectric effect */
  CHECK_NEAR(thick, 0.8, 0.08);
  CHECK(low > thick && thick > high && low / high < 1.15, "%g %g %g", low, thick, high);
  CHECK(xray_sensor_efficiency(-1, 2, &low) == STATUS_INTERNAL, "an energy below 0");
  status_clear();
}

TEST(lines_have_names_and_energies) {
  double kev = 0, last = 0;
  CHECK(strcmp(xray_line_name(0, &kev), "Cd K alpha 1") == 0, "%s", xray_line_name(0, &kev));
  CHECK_NEAR(kev, 23.17, 0.01);
  xray_line_name(12, &kev);
  CHECK_NEAR(kev, 74.97, 0.01);
  xray_line_name(14, &kev);
  CHECK_NEAR(kev, 84.94, 0.01);
  xray_line_name(8, &last);
  CHECK_NEAR(last, 59.32, 0.01);
  CHECK(!xray_line_name(XRAY_LINES, &kev) && !xray_line_name(-1, &kev), "a line beyond the last");
}
