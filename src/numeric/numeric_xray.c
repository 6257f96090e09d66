#include "numeric_xray.h"
#include <math.h>
#include <string.h>
#include <xraylib/xraylib.h>

static const double electron_radius2_barn = 0.079407877;

double xray_line_kev(double beam_kev, double angle) {
  return beam_kev / (1 + beam_kev / XRAY_MC2_KEV * (1 - cos(angle)));
}

double xray_momentum(double beam_kev, double energy_kev, double angle) {
  double a = beam_kev / XRAY_MC2_KEV, b = energy_kev / XRAY_MC2_KEV, c = 1 - cos(angle);
  double q = sqrt((a - b) * (a - b) + 2 * a * b * c);
  return XRAY_AU_PER_MC * (q / 2 - (a - b) * sqrt(0.25 + 1 / (2 * a * b * c)));
}

double xray_momentum_slope(double beam_kev, double energy_kev, double angle) {
  double a = beam_kev / XRAY_MC2_KEV, b = energy_kev / XRAY_MC2_KEV, c = 1 - cos(angle);
  double q     = sqrt((a - b) * (a - b) + 2 * a * b * c);
  double r     = sqrt(0.25 + 1 / (2 * a * b * c));
  double slope = (b - a + a * c) / (2 * q) + r + (a - b) / (4 * a * b * b * c * r);
  return XRAY_AU_PER_MC * slope / XRAY_MC2_KEV;
}

double xray_energy(double beam_kev, double momentum, double angle) {
  double low = 1e-3, high = beam_kev * (1 - 1e-12);
  if (!(xray_momentum(beam_kev, low, angle) <= momentum &&
        momentum <= xray_momentum(beam_kev, high, angle)))
    return (double)NAN;
  double energy = xray_line_kev(beam_kev, angle);
  for (int i = 0; i < 100; i++) {
    double error = xray_momentum(beam_kev, energy, angle) - momentum;
    if (error > 0)
      high = energy;
    else
      low = energy;
    double next = energy - error / xray_momentum_slope(beam_kev, energy, angle);
    if (!(next > low && next < high)) next = (low + high) / 2;
    if (fabs(next - energy) < 1e-12 * beam_kev) return next;
    energy = next;
  }
  return energy;
}

double xray_klein_nishina(double beam_kev, double angle) {
  double p = xray_line_kev(beam_kev, angle) / beam_kev, s = sin(angle);
  return electron_radius2_barn / 2 * p * p * (p + 1 / p - s * s);
}

double xray_cross_section(double beam_kev, double energy_kev, double angle) {
  double a = beam_kev / XRAY_MC2_KEV, b = energy_kev / XRAY_MC2_KEV, cosine = cos(angle);
  double p = xray_momentum(beam_kev, energy_kev, angle) / XRAY_AU_PER_MC, w = sqrt(1 + p * p);
  double q = sqrt(a * a + b * b - 2 * a * b * cosine);
  double r = a * (w + (a - b * cosine) * p / q), s = r - a * b * (1 - cosine);
  double d = 1 / r - 1 / s;
  double x = r / s + s / r + 2 * d + d * d;
  return electron_radius2_barn / 2 * b / a / (q * w) * x * XRAY_AU_PER_MC / XRAY_MC2_KEV;
}

/* ---- materials ------------------------------------------------------------------------------------- */

static const char *const names[XRAY_MATERIALS] = {"Li metal", "Li ion", "SPE", "NMC622",
                                                  "cathode",  "C",      "Al",  "Fe"};
const char *xray_material_name(enum xray_material material) {
  return material < XRAY_MATERIALS ? names[material] : "?";
}

/* Formula units: atoms, then shells added (K of Li+ and the O 2p electron that came from its 2s). */
struct formula {
  struct {
    int z;
    double n;
  } atom[8];
  double li_ions, o_2p;
  double density, mass; /* g/cc, g/mol */
};
static struct formula formula_of(enum xray_material material, double x) {
  switch (material) {
  case XRAY_LI_ION:
    return (struct formula){.li_ions = 1, .density = 0.534, .mass = 6.94};
  case XRAY_SPE:
    return (struct formula){
        .atom    = {{1, 60}, {6, 32}, {7, 1}, {8, 19}, {9, 6}, {16, 2}},
        .li_ions = 1,
        .o_2p    = 1,
        .density = 1.70,
        .mass    = 947.88
    };
  case XRAY_NMC622:
    return (struct formula){
        .atom    = {{28, 0.6}, {25, 0.2}, {27, 0.2}, {8, 2}},
        .li_ions = x,
        .o_2p    = x,
        .density = 4.7 * (89.988 + 6.94 * x) / (89.988 + 6.94),
        .mass    = 89.988 + 6.94 * x
    };
  case XRAY_CARBON:
    return (struct formula){.atom = {{6, 1}}, .density = 2.26, .mass = 12.011};
  case XRAY_ALUMINIUM:
    return (struct formula){.atom = {{13, 1}}, .density = 2.70, .mass = 26.982};
  case XRAY_IRON:
    return (struct formula){.atom = {{26, 1}}, .density = 7.87, .mass = 55.845};
  default:
    return (struct formula){.li_ions = 1, .density = 0.534, .mass = 6.94};
  }
}

static double electrons_of(enum xray_material material, double x) {
  struct formula f = formula_of(material, x);
  double n         = 2 * f.li_ions + f.o_2p + (material == XRAY_LI_METAL);
  for (int i = 0; i < 8; i++) n += f.atom[i].z * f.atom[i].n;
  return n;
}

static const double cathode_nmc = 0.63, cathode_spe = 0.305; /* the rest is pores */
double xray_electron_density(enum xray_material material, double x) {
  if (material == XRAY_CATHODE)
    return cathode_nmc * xray_electron_density(XRAY_NMC622, x) +
           cathode_spe * xray_electron_density(XRAY_SPE, x);
  struct formula f = formula_of(material, x);
  return f.density / f.mass * 6.02214076 * electrons_of(material, x);
}

/* J of one conduction electron of lithium: a parabola to the Fermi momentum. */
static double free_electron(double p) {
  double per_bohr3 = 0.534 / 6.94 * 6.02214076e23 * pow(0.529177211e-8, 3);
  double fermi     = cbrt(3 * acos(-1.0) * acos(-1.0) * per_bohr3);
  return p < fermi ? 3 / (4 * fermi) * (1 - p * p / (fermi * fermi)) : 0;
}

static bool formula_profile(enum xray_material material, double x, double p, double *j) {
  struct formula f = formula_of(material, x);
  xrl_error *error = NULL;
  *j               = material == XRAY_LI_METAL ? free_electron(p) : 0;
  *j += 2 * f.li_ions * ComptonProfile_Partial(3, K_SHELL, p, &error);
  if (f.o_2p > 0 && !error) *j += f.o_2p * ComptonProfile_Partial(8, L2_SHELL, p, &error);
  for (int i = 0; i < 8 && !error; i++)
    if (f.atom[i].n > 0) *j += f.atom[i].n * ComptonProfile(f.atom[i].z, p, &error);
  if (!error) return true;
  FAIL(STATUS_INTERNAL, "no Compton profile of %s at %.3g a.u.: %s", xray_material_name(material),
       p, error->message);
  xrl_error_free(error);
  return false;
}

enum status xray_profile_of(enum xray_material material, double x, struct xray_profile *profile) {
  memset(profile, 0, sizeof *profile);
  if (material == XRAY_CATHODE) {
    struct xray_profile *part;
    TRY(memory_make(1, sizeof *part, "a Compton profile", &part));
    double total       = xray_electron_density(XRAY_CATHODE, x);
    enum status status = xray_profile_of(XRAY_NMC622, x, part);
    if (status == STATUS_OK)
      xray_profile_add(profile, cathode_nmc * xray_electron_density(XRAY_NMC622, x) / total, part);
    if (status == STATUS_OK) status = xray_profile_of(XRAY_SPE, x, part);
    if (status == STATUS_OK)
      xray_profile_add(profile, cathode_spe * xray_electron_density(XRAY_SPE, x) / total, part);
    memory_free(part);
    return status;
  }
  double electrons = electrons_of(material, x);
  for (int i = 0; i < XRAY_PROFILE_POINTS; i++) {
    if (!formula_profile(material, x, i * XRAY_PROFILE_STEP, &profile->j[i]))
      return STATUS_INTERNAL;
    profile->j[i] /= electrons;
  }
  return STATUS_OK;
}

void xray_profile_add(struct xray_profile *to, double weight, const struct xray_profile *what) {
  for (int i = 0; i < XRAY_PROFILE_POINTS; i++) to->j[i] += weight * what->j[i];
}

double xray_profile_at(const struct xray_profile *profile, double momentum) {
  double at = fabs(momentum) / XRAY_PROFILE_STEP;
  if (!(at < XRAY_PROFILE_POINTS - 1)) return 0;
  int i = (int)at;
  return profile->j[i] + (at - i) * (profile->j[i + 1] - profile->j[i]);
}

/* Integral over 0..p of the broken line. */
static double integral(const struct xray_profile *profile, double p) {
  double at = fmin(p / XRAY_PROFILE_STEP, XRAY_PROFILE_POINTS - 1), sum = 0;
  int64_t whole = (int64_t)at;
  for (int64_t i = 0; i < whole; i++) sum += (profile->j[i] + profile->j[i + 1]) / 2;
  double rest = at - (double)whole;
  if (rest > 0)
    sum += rest * (profile->j[whole] + rest / 2 * (profile->j[whole + 1] - profile->j[whole]));
  return sum * XRAY_PROFILE_STEP;
}

double xray_profile_emf(const struct xray_profile *profile, double low, double high) {
  double inner = integral(profile, low);
  return inner / (integral(profile, high) - inner);
}

enum status xray_line_shape(const struct xray_profile *profile, double beam_kev, double angle,
                            double fwhm_kev, double first_kev, double step_kev, int64_t n,
                            double *rate) {
  double sigma  = fwhm_kev / 2.354820045 / step_kev;
  int64_t reach = (int64_t)ceil(6 * sigma);
  double *sharp, *weight;
  TRY(memory_make(n + 2 * reach, sizeof *sharp, "a line shape", &sharp));
  enum status status = memory_make(reach + 1, sizeof *weight, "a resolution", &weight);
  if (status != STATUS_OK) {
    memory_free(sharp);
    return status;
  }
  for (int64_t i = -reach; i < n + reach; i++) {
    double energy = first_kev + (double)i * step_kev;
    if (energy > 0.01 * beam_kev && energy < beam_kev)
      sharp[i + reach] = xray_profile_at(profile, xray_momentum(beam_kev, energy, angle)) *
                         xray_cross_section(beam_kev, energy, angle);
  }
  double sum = 0;
  for (int64_t k = 0; k <= reach; k++) {
    weight[k] = sigma > 0 ? exp(-0.5 * (double)(k * k) / (sigma * sigma)) : 1;
    sum += k ? 2 * weight[k] : weight[k];
  }
  for (int64_t i = 0; i < n; i++) {
    double value = weight[0] * sharp[i + reach];
    for (int64_t k = 1; k <= reach; k++)
      value += weight[k] * (sharp[i + reach - k] + sharp[i + reach + k]);
    rate[i] = value / sum;
  }
  memory_free(sharp);
  memory_free(weight);
  return STATUS_OK;
}

/* ---- what surrounds the line ------------------------------------------------------------------------- */

enum status xray_scattered_twice(double beam_kev, double angle, double first_kev, double bin_kev,
                                 int64_t n, double *share) {
  enum { POLAR = 180, ROUND = 120 };
  const double sigma = 2.5 / 2.354820045;
  double *sharp, total = 0;
  int64_t reach = (int64_t)ceil(6 * sigma / bin_kev);
  TRY(memory_make(n + 2 * reach, sizeof *sharp, "photons scattered twice", &sharp));
  for (int i = 0; i < POLAR; i++)
    for (int k = 0; k < ROUND; k++) {
      double one = (i + 0.5) / POLAR * PI, around = (k + 0.5) / ROUND * 2 * PI;
      double two =
          acos(fmax(-1, fmin(1, cos(one) * cos(angle) + sin(one) * sin(angle) * cos(around))));
      double then = xray_line_kev(beam_kev, one), at = xray_line_kev(then, two);
      double weight = sin(one) * xray_klein_nishina(beam_kev, one) * xray_klein_nishina(then, two);
      double bin    = floor((at - first_kev) / bin_kev) + (double)reach;
      total += weight;
      if (bin >= 0 && bin < (double)(n + 2 * reach)) sharp[(int64_t)bin] += weight;
    }
  for (int64_t b = 0; b < n; b++) {
    share[b] = 0;
    for (int64_t d = -reach; d <= reach; d++) {
      double z = (double)d * bin_kev / sigma;
      share[b] += sharp[b + reach + d] * exp(-z * z / 2);
    }
    share[b] *= bin_kev / (sigma * sqrt(2 * PI)) / total;
  }
  memory_free(sharp);
  return STATUS_OK;
}

enum status xray_sensor_efficiency(double energy_kev, double thickness_mm, double *efficiency) {
  static const char sensor[] = "Cd0.9Zn0.1Te";
  const double g_per_cm3     = 5.78;
  xrl_error *error           = NULL;
  double all = CS_Total_CP(sensor, energy_kev, &error), whole = 0;
  if (!error) whole = CS_Photo_CP(sensor, energy_kev, &error);
  if (error) {
    FAIL(STATUS_INTERNAL, "no cross-section of %s at %g keV: %s", sensor, energy_kev,
         error->message);
    xrl_error_free(error);
    return STATUS_INTERNAL;
  }
  *efficiency = (1 - exp(-all * g_per_cm3 * thickness_mm / 10)) * whole / all;
  return STATUS_OK;
}

const char *xray_line_name(int line, double *energy_kev) {
  static const int element[]                = {48, 52, 74, 82};
  static const int xrl_line[]               = {KA1_LINE, KA2_LINE, KM3_LINE, KN3_LINE};
  static const char *const name[XRAY_LINES] = {
      "Cd K alpha 1", "Cd K alpha 2", "Cd K beta 1", "Cd K beta 2", "Te K alpha 1", "Te K alpha 2",
      "Te K beta 1",  "Te K beta 2",  "W K alpha 1", "W K alpha 2", "W K beta 1",   "W K beta 2",
      "Pb K alpha 1", "Pb K alpha 2", "Pb K beta 1", "Pb K beta 2"};
  if (line < 0 || line >= XRAY_LINES) return NULL;
  *energy_kev = LineEnergy(element[line / 4], xrl_line[line % 4], NULL);
  return name[line];
}
