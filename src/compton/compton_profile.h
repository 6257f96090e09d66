/* From the spectra of pixels to momentum profiles, electron momentum factors (EMF) and electron densities.
 *
 * Counts n in an energy bin of a pixel become n / (d2 sigma/dOmega dE) x dE/dp over the momenta that the bin covers at
 * that pixel's angle. Whatever joins pixels joins them in momentum. Background and a mixture's line shape are fitted to
 * the spectrum by the greatest Poisson likelihood; the background is then taken off, so every window's content is a
 * linear function of the counts and its covariance is known. */
#pragma once
#include "compton_cube.h"
#include "numeric_xray.h"

/* ---- angles ------------------------------------------------------------------------------------------- */

struct compton_geometry {
  int64_t rows, columns;
  double pinhole_mm, detector_mm; /* sheet to pinhole, pinhole to detector */
  double pitch_mm;
  double angle_deg;     /* between the beam and the camera's axis */
  double offset_deg;    /* added to the angle of every pixel; what a homogeneous disc shows */
  bool beam_along_rows; /* `row` counts along the beam instead of `column` */
};
/* Scattering angle, radians; fractions of pixels allowed. Column 0 looks downstream: the pinhole turns the image. */
double compton_angle(const struct compton_geometry *geometry, double row, double column);

/* ---- settings ------------------------------------------------------------------------------------------- */

enum { COMPTON_SHAPES = 3 };
enum compton_term {                                    /* of the fit beneath the windows */
                    COMPTON_SHAPE,                     /* and the next two: line shapes */
                    COMPTON_CONSTANT = COMPTON_SHAPES, /* counts per bin and pixel */
                    COMPTON_STEP,                      /* a shelf below the line */
                    COMPTON_ESCAPE, /* of Cd K alpha from the beam's elastic line */
                    COMPTON_LEAD,   /* Pb K beta */
                    COMPTON_TERMS
};
/* What adds to the error of a factor. */
enum compton_source {
  COMPTON_COUNTING,   /* of the windows themselves */
  COMPTON_BACKGROUND, /* of the fit of background and mixture, with its covariance to the windows */
  COMPTON_LINE,       /* of each pixel's line position, independent from pixel to pixel */
  COMPTON_SCALE, /* of the energy scale, common to all pixels; this and what follows are biases */
  COMPTON_ANGLE, /* of the angles, the line being where it was found */
  COMPTON_WIDTH, /* of the resolution */
  COMPTON_TAIL,  /* counts that lost energy exponentially and are not modelled */
  COMPTON_MULTIPLE, /* photons scattered twice */
  COMPTON_UNSEEN,   /* an escape line that is not fitted */
  COMPTON_SOURCES
};
const char *compton_source_name(enum compton_source source);
const char *compton_term_name(enum compton_term term);

struct compton_profile_settings {
  double beam_kev;
  double fwhm_kev;          /* resolution at the line where no pixel's own is given */
  double low_au, high_au;   /* windows: |p| < low, low < |p| < high */
  double first_au, step_au; /* momentum bins: lower edge of the first, width */
  int64_t bins_au;          /* how many; 0: none */
  double fit_first_kev, fit_last_kev;
  enum xray_material material[COMPTON_SHAPES]; /* of which the mixture may consist */
  int shapes;                                  /* how many of them, 1..3 */
  double x;                                    /* lithium content, for the cathode's materials */
  bool step, escape, lead;                  /* which backgrounds are fitted beside the constant */
  double reference_fwhm_kev, reference_deg; /* to which normalised factors belong: 0.79 keV, 90 */
  double sensor_mm; /* of CdZnTe, whose efficiency is divided out; 0: none is */
  double polarised; /* part of the beam that is polarised across beam and camera axis, 0..1 */
  struct {          /* one sigma of what is not fitted; 0: none */
    double scale_kev, angle_deg, fwhm_kev;
    double tail_percent, tail_kev;
    double multiple_percent, escape_percent; /* escape: of the line's height */
  } unsure;
};
/* What a cell under 115 keV asks for. */
struct compton_profile_settings compton_profile_defaults(void);

/* Line shapes on angles and resolutions, made when first asked for; their bits do not depend on who asks. */
struct compton_table;
/* Local. For spectra of `bins` bins. USAGE: windows, fit or momentum bins that make no sense or lie outside. */
enum status compton_table_make(const struct compton_profile_settings *settings, double first_kev,
                               double bin_kev, int64_t bins, struct compton_table **table);
void compton_table_free(struct compton_table *table);
double compton_table_beam_kev(const struct compton_table *table);

/* ---- results ----------------------------------------------------------------------------------------- */

/* This rank's pixels; all borrowed. line_kev: where the line of resting electrons is seen; NULL: where it should be. fwhm:
 * resolution at the line, of true energies; NULL: the settings'. flat: relative sensitivity; NULL: 1. line_sigma_kev NULL: 0. A pixel whose
 * line, resolution or flat is NaN or not positive is left out. */
struct compton_pixels {
  const struct compton_cube *cube;
  const double *angle; /* [cube->pixels], rad */
  const double *line_kev, *line_sigma_kev;
  const double *fwhm_kev;
  const double *flat;
};

enum compton_state {
  COMPTON_DEFINED,
  COMPTON_NO_PIXEL,  /* all bad or left out */
  COMPTON_NO_COUNTS, /* a window holds none above background */
  COMPTON_NO_WINDOW, /* a window lies outside the spectrum */
  COMPTON_NO_FIT     /* the background could not be fitted */
};
const char *compton_state_words(enum compton_state state);

/* A factor. NaN: undefined. sigma: of counting, background and lines, which differ from measurement to measurement;
 * bias: of all else, which is much the same in all of them, root of the sum of squares. part: each source's share, of a
 * sigma (negative: what windows and background share takes more away than the background adds), of a bias signed: by how
 * much the value would be too high. */
struct compton_factor {
  double value, sigma, bias;
  double part[COMPTON_SOURCES];
};
/* Windows from low to high momenta: -high..-low, -low..0, 0..low, low..high. */
enum { COMPTON_WINDOWS = 4 };
struct compton_emf {
  enum compton_state state;
  int64_t pixels;
  double counts;     /* within |p| < high, with background */
  double background; /* of them */
  double
      window[COMPTON_WINDOWS]; /* counts above background / relative cross-section per momentum */
  double covariance[COMPTON_WINDOWS][COMPTON_WINDOWS]; /* counting and background */
  struct compton_factor emf,
      high; /* as the pixels' own angles and resolutions show it; of p > 0 alone */
  struct compton_factor emf_normal,
      high_normal;    /* at the reference angle and resolution: pixels compare */
  double correlation; /* of the errors (sigma) of these two, which share p > 0 */
  double term[COMPTON_TERMS], term_sigma[COMPTON_TERMS];
  double amplitude,
      amplitude_sigma; /* of all shapes: electrons x photons, counts per barn/sr, flat divided out, mean over pixels */
  double chi2;  /* deviance of the fit */
  int64_t bins; /* its bins less its terms */
};

/* Local. Every pixel by itself: emf[pixels], and where profile is not NULL J(p) per electron and its counting error,
 * [pixels][bins_au], NaN where undefined. shared[label[pixel]] (label NULL: shared[0]; shared NULL: none) is a group's
 * result whose background per pixel and mixture are used instead of the pixel's own: for pixels of some hundred counts,
 * whose own fit would be of no worth. */
enum status compton_profile_pixels(struct compton_table *table, const struct compton_pixels *pixels,
                                   const struct compton_emf *shared, const int32_t *label,
                                   struct compton_emf *emf, float *profile, float *profile_sigma);
/* Collective. Sums over groups of pixels, made in momentum at each pixel's own angle: label[pixels] = group 0 .. groups-1,
 * or negative for none. emf[groups]; profile[groups][bins_au] or NULL. Same bits on every rank and any number of ranks. */
enum status compton_profile_groups(MPI_Comm comm, struct compton_table *table,
                                   const struct compton_pixels *pixels, const int32_t *label,
                                   int64_t groups, struct compton_emf *emf, float *profile,
                                   float *profile_sigma);
/* Collective. The same sum over all pixels with a label, but background and mixture are each part's own: where they vary in
 * the field, one for all of it would bias the sum. label[pixels] = part 0 .. parts-1 (or negative); parts that are too faint
 * for a mixture of their own become one, which then is part `parts`. part[parts + 1]: what was fitted, without factors;
 * bins and chi2 of the whole are sums over parts. */
enum status compton_profile_field(MPI_Comm comm, struct compton_table *table,
                                  const struct compton_pixels *pixels, int32_t *label,
                                  int64_t parts, struct compton_emf *part,
                                  struct compton_emf *whole, float *profile, float *profile_sigma);
/* Local. Memory of so many groups, or parts and one, while they are summed. */
int64_t compton_profile_bytes(const struct compton_profile_settings *settings, double bin_kev,
                              int64_t groups);
/* Labels of k x k pixels (the last ones smaller), row of groups by row; their number. */
int64_t compton_profile_bin_labels(const struct compton_cube *cube, int64_t k, int32_t *label);

/* What it takes to make electrons per volume of an amplitude. */
struct compton_flux {
  double photons_per_mm2; /* that met the sheet during the exposure */
  double sheet_mm,
      footprint_mm;      /* thickness; side of what a pixel sees: pitch x pinhole / detector */
  double solid_angle_sr; /* of the pinhole */
  double transmission;   /* of beam and scattered photons, t1 t2 */
};
/* 1e23 electrons per cm3 of an amplitude. */
double compton_density(double amplitude, const struct compton_flux *flux);
