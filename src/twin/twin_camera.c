/* The pinhole camera above the cell, looking down on a sheet of beam: which angle, transmission and part of the
 * layers each pixel sees. The beam runs along the sample's +y, the sheet lies in x-y; pixel (row, column) sees
 * y = -u / M, x = -v / M with u, v its place on the detector. Each component is a layer, through which the beam
 * comes from its own edge, so its path is its own. */
#include "twin_xcs.h"
#include "numeric.h"
#include <math.h>

static const double pinhole_mm = 160, detector_mm = 150, pitch_mm = 0.25, hole_mm = 0.2;
static const double radius_mm[XCS_COMPONENTS] = {8, 9, 7}, plate_radius_mm = 16;
/* Attenuation per mm at 115 keV, and how much larger it is at the line. */
static const double mu_per_mm[XCS_COMPONENTS] = {0.0067, 0.0267, 0.082},
                    mu_ratio[XCS_COMPONENTS]  = {1.050, 1.073, 1.389};
static const double steel_per_mm = 0.228 * 1.459, lid_mm = 0.25, cathode_mm = 0.065;

struct point {
  double along, across; /* mm; the beam runs along */
};

/* A point of the sheet, for pixel fractions and a place in the pinhole (mm from its middle). */
static struct point point_of(double row, double column, double hole_u, double hole_v) {
  double half = 0.5 * (XCS_SIDE - 1), magnify = detector_mm / pinhole_mm;
  double u = (column - half) * pitch_mm, v = (row - half) * pitch_mm;
  return (struct point){-u / magnify + hole_u * (1 + 1 / magnify),
                        -v / magnify + hole_v * (1 + 1 / magnify)};
}

static double path_mm(struct point at, double radius) {
  double half = sqrt(fmax(0, radius * radius - at.across * at.across));
  return at.along + half;
}

/* In and out: along the layer, then up through half of the cathode or all of it, and the lid. */
static double transmission(enum xcs_component c, struct point at) {
  double r2      = at.along * at.along + at.across * at.across;
  double up      = sqrt(1 + r2 / (pinhole_mm * pinhole_mm));
  double cathode = c == XCS_CATHODE ? 0.5 : r2 < radius_mm[XCS_CATHODE] * radius_mm[XCS_CATHODE];
  double out =
      steel_per_mm * lid_mm + cathode * cathode_mm * mu_per_mm[XCS_CATHODE] * mu_ratio[XCS_CATHODE];
  return exp(-mu_per_mm[c] * path_mm(at, radius_mm[c]) - out * up);
}

static void add_point(const struct twin_params *p, struct point at, double share,
                      struct xcs_pixel *pixel) {
  double r = hypot(at.along, at.across);
  double turned = twin_flat_deg / DEG_PER_RAD,
         towards = at.across * cos(turned) + at.along * sin(turned); /* x and y of the sample */
  bool cut = p->flat > 0 && towards > (1 - p->flat) * radius_mm[XCS_LI];
  for (int c = 0; c < XCS_COMPONENTS; c++) {
    if (r >= radius_mm[c] || (cut && c == XCS_LI)) continue;
    double seen = share * (p->xcs_attenuation ? transmission((enum xcs_component)c, at) : 1);
    if (r < radius_mm[XCS_CATHODE]) {
      pixel->inner[c] += seen;
      pixel->lever[c] += seen * at.across;
    } else
      pixel->ring[c] += seen;
  }
  pixel->plate +=
      share * (p->xcs_attenuation ? exp(-mu_per_mm[XCS_LI] * path_mm(at, plate_radius_mm)) : 1);
}

/* 3 x 3 points of the pixel's square, 19 of the pinhole's disc. */
static void look(const struct twin_params *p, int row, int column, struct xcs_pixel *pixel) {
  enum { SIDE = 3, RINGS = 3, POINTS = SIDE * SIDE * 19 };
  for (int s = 0; s < SIDE * SIDE; s++)
    for (int ring = 0; ring < RINGS; ring++)
      for (int k = 0, n = ring ? 6 * ring : 1; k < n; k++) {
        double r = 0.5 * hole_mm * ring / (RINGS - 0.5), angle = 2 * PI * k / n;
        struct point at =
            point_of(row + (s / SIDE + 0.5) / SIDE - 0.5, column + (s % SIDE + 0.5) / SIDE - 0.5,
                     r * cos(angle), r * sin(angle));
        add_point(p, at, 1.0 / POINTS, pixel);
      }
}

static double spread(const struct twin_params *p, uint64_t stream, int i, double sigma) {
  double z = random_normal((uint64_t)p->seed, stream, (uint64_t)i);
  return 1 + sigma * fmin(fmax(z, -3), 3);
}

/* Noise of the electronics does not grow with energy, the spread of the charges does: CdZnTe, Fano factor 0.1,
 * 4.64 eV per pair. */
double xcs_fwhm_kev(const struct twin_params *p) {
  double line = xray_line_kev(xcs_beam_kev, PI / 2);
  return sqrt(p->xcs_fwhm_kev * p->xcs_fwhm_kev + 8 * log(2) * 0.1 * 4.64e-3 * (line - 59.5409));
}

void xcs_camera_make(const struct twin_params *p, struct xcs_pixel *pixel) {
  double fwhm = xcs_fwhm_kev(p);
  for (int i = 0; i < XCS_PIXELS; i++) {
    struct point at = point_of(i / XCS_SIDE, i % XCS_SIDE, 0, 0);
    double far      = sqrt(at.along * at.along + at.across * at.across + pinhole_mm * pinhole_mm);
    pixel[i]        = (struct xcs_pixel){
               .dead = random_uniform((uint64_t)p->seed, XCS_STREAM_DEAD, (uint64_t)i) <
                       0.01 * p->xcs_dead_percent,
               .angle    = acos(-at.along / far),
               .flat     = pow(pinhole_mm / far, 4) * spread(p, XCS_STREAM_FLAT, i, p->xcs_flat_spread),
               .fwhm_kev = fwhm * spread(p, XCS_STREAM_WIDTH, i, p->xcs_fwhm_spread),
               .gain     = spread(p, XCS_STREAM_GAIN, i, p->xcs_gain_error)};
    look(p, i / XCS_SIDE, i % XCS_SIDE, &pixel[i]);
  }
}
