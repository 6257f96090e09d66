/* Inside compton: what is made of a state's cubes - the calibration that a disc gives, then per region factors,
 * profiles and densities of the whole field and of its pixels, or of squares of k x k pixels. */
#pragma once
#include "compton_disc.h"
#include "compton_regions.h"

/* What is known of each of this rank's pixels; arrays of cube->pixels. */
struct compton_knowledge {
  struct compton_geometry geometry;
  struct compton_profile_settings settings;
  double *angle; /* rad; owned like what follows, NULL where it is not known */
  double *line_kev, *line_sigma_kev, *fwhm_kev, *flat;
  bool has_disc;
  struct compton_disc_result disc;
  double disc_amplitude; /* of the whole disc, per second of its exposure; NAN: not known */
};
/* Local. USAGE: materials or numbers that cannot be. */
enum status compton_maps_settings(const struct compton_params *params,
                                  struct compton_profile_settings *settings);
/* Collective. From the disc's cube, or NULL. The cube tells which pixels are whose. */
enum status compton_maps_know(MPI_Comm comm, const struct compton_params *params,
                              const struct compton_cube *cube, const struct compton_cube *disc,
                              struct compton_knowledge *known);
void compton_maps_forget(struct compton_knowledge *known);

/* A region's maps. This rank has cells first .. first + n - 1 in raster order of rows x columns cells. */
struct compton_maps {
  int64_t rows, columns, first, n;
  struct compton_emf whole; /* the sum over all good pixels; alike on all ranks */
  float *emf, *emf_sigma;   /* [n]; at the reference angle and resolution; NaN: undefined */
  float *density, *density_sigma;
  float *profile, *profile_sigma;             /* [n][bins_au], electrons per a.u. */
  float *whole_profile, *whole_profile_sigma; /* [bins_au], alike on all ranks */
};
/* Collective. */
enum status compton_maps_make(MPI_Comm comm, const struct compton_params *params,
                              const struct compton_knowledge *known,
                              const struct compton_region *region, const struct compton_cube *cube,
                              struct compton_maps *maps);
void compton_maps_free(struct compton_maps *maps);
/* Local. The unit of densities. */
const char *compton_maps_unit(const struct compton_params *params,
                              const struct compton_knowledge *known,
                              const struct compton_region *region);
/* Local. Memory of a region's maps on the busiest of `size` ranks. */
int64_t compton_maps_bytes(const struct compton_params *params, int64_t rows, int64_t columns,
                           double bin_kev, int size);
