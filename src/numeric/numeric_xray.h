#pragma once
#include "base.h"

/* Compton scattering of a monochromatic beam by bound electrons: kinematics, cross-sections, profiles of the
 * cell's materials. Energies in keV, angles in radians, momenta p_z in atomic units (mc / 137.035999). */
#define XRAY_MC2_KEV   510.99895
#define XRAY_AU_PER_MC 137.035999

/* Energy of a photon scattered by a free electron at rest. */
double xray_line_kev(double beam_kev, double angle);
/* Projection of the electron's momentum on the scattering vector, from the energy of the scattered photon; exact
 * (Holm, Phys. Rev. A 37, 3706, 1988), positive above the line. */
double xray_momentum(double beam_kev, double energy_kev, double angle);
/* d p_z / d E at that energy, a.u. per keV. */
double xray_momentum_slope(double beam_kev, double energy_kev, double angle);
/* The energy of a momentum; between 1 eV and the beam's. NAN when there is none. */
double xray_energy(double beam_kev, double momentum, double angle);
/* Free-electron cross-section, unpolarised beam, barn/sr per electron. */
double xray_klein_nishina(double beam_kev, double angle);
/* d2 sigma / d Omega d E of one electron divided by its J(p_z), barn/sr/keV * a.u. (Ribberfors, Phys. Rev. B 12,
 * 2067, 1975, with the electron's momentum along the scattering vector alone). */
double xray_cross_section(double beam_kev, double energy_kev, double angle);

enum xray_material {
  XRAY_LI_METAL, /* 1s2 and a free-electron 2s of 0.534 g/cc */
  XRAY_LI_ION,   /* 1s2 */
  XRAY_SPE,      /* (EO)15 LiTFSI, its 2s electron in an O 2p orbital */
  XRAY_NMC622,   /* Li_x Ni.6 Mn.2 Co.2 O2, the redox electron in O 2p */
  XRAY_CATHODE,  /* by volume 63 % NMC622, 30.5 % SPE, the rest pores */
  XRAY_CARBON,
  XRAY_ALUMINIUM,
  XRAY_IRON,
  XRAY_MATERIALS
};
const char *xray_material_name(enum xray_material material);
/* 1e23 electrons per cm3 of the solid; x: Li per formula unit of NMC622, else of no meaning. */
double xray_electron_density(enum xray_material material, double x);

/* J(|p|) on a grid of steps, linear between; 0 beyond. The profile of one electron has the integral 1/2 over
 * p > 0, but for what lies beyond the grid's end. */
enum { XRAY_PROFILE_POINTS = 4001 };
#define XRAY_PROFILE_STEP 0.015
struct xray_profile {
  double j[XRAY_PROFILE_POINTS];
};
/* Local. Profile per electron (xraylib's tables, Biggs, Mendelsohn and Mann 1975). */
enum status xray_profile_of(enum xray_material material, double x, struct xray_profile *profile);
/* to += weight * what; a mixture's weights are volume fractions times electron densities. */
void xray_profile_add(struct xray_profile *to, double weight, const struct xray_profile *what);
double xray_profile_at(const struct xray_profile *profile, double momentum);
/* EMF of the profile: integral over |p| < low / integral over low < |p| < high, each split at the window's edge. */
double xray_profile_emf(const struct xray_profile *profile, double low, double high);

/* The line that a detector sees: counts per keV on a uniform grid of energies, J(p_z(E)) times the cross-section,
 * blurred by a Gaussian of the given width. rate[n] at first_kev + i step_kev. `profile` in electrons gives
 * barn/sr/keV. */
enum status xray_line_shape(const struct xray_profile *profile, double beam_kev, double angle,
                            double fwhm_kev, double first_kev, double step_kev, int64_t n,
                            double *rate);

/* Energies of photons that a beam's photon has after two scatterings by resting electrons, the second into `angle` from
 * the beam, the first anywhere with equal chances of meeting the second electron: share[n] per bin from first_kev in
 * steps of bin_kev, blurred by 2.5 keV (the electrons' motion); the sum over all energies is 1. */
enum status xray_scattered_twice(double beam_kev, double angle, double first_kev, double bin_kev,
                                 int64_t n, double *share);
/* Part of the photons whose whole energy a sensor of Cd0.9Zn0.1Te takes up at once (photoelectric effect). */
enum status xray_sensor_efficiency(double energy_kev, double thickness_mm, double *efficiency);
/* Fluorescence of the elements of sensor, pinhole and shield, named: K alpha 1, 2 and K beta 1, 2 of Cd, Te, W and Pb.
 * 0 .. XRAY_LINES - 1; NULL beyond. */
enum { XRAY_LINES = 16 };
const char *xray_line_name(int line, double *energy_kev);
