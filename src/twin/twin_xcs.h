/* Private to twin: the pinhole camera of the Compton half, what each of its pixels sees, and what it counts. */
#pragma once
#include "numeric_xray.h"
#include "twin_private.h"

enum { XCS_SIDE = 80, XCS_PIXELS = XCS_SIDE * XCS_SIDE, XCS_REGIONS = 3 };
enum xcs_component { XCS_LI, XCS_SPE, XCS_CATHODE, XCS_COMPONENTS };
/* Line shapes of which all mixtures consist: the cathode's is linear in its lithium content x. */
enum xcs_shape { XCS_SHAPE_LI, XCS_SHAPE_SPE, XCS_SHAPE_EMPTY, XCS_SHAPE_FULL, XCS_SHAPES };
enum xcs_stream {
  XCS_STREAM_FLAT = 256,
  XCS_STREAM_WIDTH,
  XCS_STREAM_GAIN,
  XCS_STREAM_DEAD,
  XCS_STREAM_SPECTRA = 272 /* and one per file */
};
static const double xcs_beam_kev = 115, xcs_exposure_s = 500;

/* One pixel of the detector. The view's numbers are means over the part of the sheet that it sees (its square
 * convolved with the pinhole), each times the transmissions of beam and scattered photons in that component. */
struct xcs_pixel {
  bool dead;
  double angle, flat;           /* rad; solid angle and efficiency, 1 in the middle */
  double fwhm_kev, gain;        /* at the line; apparent energy over true energy */
  double inner[XCS_COMPONENTS]; /* within the cathode's radius */
  double lever[XCS_COMPONENTS]; /* the same times x, mm */
  double ring[XCS_COMPONENTS];  /* beyond it */
  double plate;                 /* of the calibration disc, wider than the field */
};
/* Local, alike on all ranks: pixel[XCS_PIXELS]. */
void xcs_camera_make(const struct twin_params *params, struct xcs_pixel *pixel);

/* Everything the files of all states need. Ranks have rows of the detector. */
struct xcs {
  const struct twin_params *params;
  int64_t bins, parts, reach; /* parts of a bin, and how many of them the resolution reaches */
  int64_t row0, rows_here;
  struct xcs_pixel *pixel;      /* all of them; owned like what follows */
  struct xray_profile *profile; /* [XCS_SHAPES], in 1e23 electrons per cm3 */
  double *sharp, *weight;       /* of one pixel */
  float *shape;                 /* [rows_here * XCS_SIDE][bins][XCS_SHAPES] */
  float *counts;                /* [rows_here * XCS_SIDE][bins] */
};
/* Local. */
enum status xcs_make(const struct twin_params *params, int rank, int size, struct xcs *xcs);
void xcs_free(struct xcs *xcs);
int64_t xcs_bytes(const struct twin_params *params, int64_t rows_here);
int64_t xcs_bins(const struct twin_params *params);
/* How much of each shape a pixel sees of a state's region 0..2; without flat. */
void xcs_mixture(const struct xcs_pixel *pixel, const struct twin_state *state, int region,
                 double amount[XCS_SHAPES]);
/* Local. The profiles, with another material in the place of lithium where the calibration disc is one. */
enum status xcs_profiles_make(struct xcs *xcs, enum xray_material first);
/* Local. shape of this rank's pixels from `profile`. */
void xcs_shapes_make(struct xcs *xcs);
/* Local. Sharp shapes of a pixel: sharp[parts][XCS_SHAPES], apparent energies from first - reach on. */
int64_t xcs_parts(const struct xcs *xcs);
double xcs_part_kev(const struct xcs *xcs, int64_t i);
void xcs_sharp_make(const struct xcs *xcs, const struct xcs_pixel *pixel, double *sharp);

/* Integrals of the blurred profiles over |p| < 1 and 1 < |p| < 5, as functions of angle and resolution. */
enum { XCS_NODES = 3 };
struct xcs_windows {
  double angle[XCS_NODES], fwhm_kev[XCS_NODES];
  double low[XCS_NODES][XCS_NODES][XCS_SHAPES], high[XCS_NODES][XCS_NODES][XCS_SHAPES];
  double reference_low[XCS_SHAPES], reference_high[XCS_SHAPES]; /* at 90 degrees and 0.79 keV */
};
enum status xcs_windows_make(const struct xcs *xcs, struct xcs_windows *windows);
void xcs_windows_at(const struct xcs_windows *windows, double angle, double fwhm_kev,
                    double low[XCS_SHAPES], double high[XCS_SHAPES]);
double xcs_fwhm_kev(const struct twin_params *params); /* at the line */

/* Kernel: shape[bins][XCS_SHAPES] = sum over d of weight[d] sharp[b parts + d]. */
ISA_DECLARE(void, twin_blur, const double *sharp, const double *weight, int64_t taps, int64_t parts,
            int64_t bins, float *shape)

/* Collective. Frames of the first state's region 2, darks, and the maps of the sensor: raw/<state>_r2.bin, dark.bin,
 * gain.txt, offset.txt. `profile` must be the cell's. */
enum status xcs_frames_write(MPI_Comm comm, const struct xcs *xcs, struct twin_book *book);
int64_t xcs_frames_bytes(const struct twin_params *params, int64_t *disk_bytes);
