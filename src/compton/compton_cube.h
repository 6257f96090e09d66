/* The cube: counts [pixel][energy bin] of one acquisition, made from HEXITEC frames or from spectra somebody
 * already made; whole on no rank, each rank holds a chunk of pixels. */
#pragma once
#include "raw_frames.h"

struct compton_cube {
  int64_t rows, columns, bins; /* whole detector; energy bins */
  double first_kev, bin_kev;   /* lower edge of bin 0, width */
  int64_t pixel0,
      pixels;      /* this rank's chunk in raster order, grid_plan_slabs' share of all pixels */
  uint32_t *count; /* [pixels][bins], owned */
  uint8_t *bad;    /* [pixels] 1 = left out (dead, noisy, no gain), its counts are 0; owned */
  /* Of the whole acquisition, alike on all ranks; 0 for a cube from spectra except `events` (its counts). */
  int64_t frames, hits, events, singles, pairs; /* events = singles + pairs */
  int64_t dropped; /* clusters left out: larger than max_cluster, or vetoed */
  int64_t vetoed;  /* of the dropped: those with a pixel that was hit in the frame before */
  int64_t outside; /* of the events: those whose energy lies outside the bins */
  int64_t bad_pixels;
  double occupancy; /* hits per good pixel and frame */
  double chance;    /* share of events with a chance neighbour: 1 - (1 - occupancy)^8 */
};
void compton_cube_free(struct compton_cube *cube);

/* Spectra of pairs by how their charge is shared: R = (Ea - Eb) / (Ea + Eb) in PAIR_SHARES steps from 0 to 1. */
enum { PAIR_SHARES = 16 };
struct compton_pair_spectra {
  double first_kev, bin_kev;
  int64_t bins;
  uint32_t *count; /* [PAIR_SHARES][bins] */
};

struct compton_frames_settings {
  struct raw_frames_request frames; /* the files of the acquisition, in order */
  struct raw_frames_request dark;   /* dark runs; no files: nothing is subtracted, noise 0 */
  /* When each dark run was taken, rising; a frame's dark and noise are then straight between the runs about its time, which
   * is start_s + its share of exposure_s. NULL: all dark runs are taken together. */
  const double *dark_s;
  double start_s, exposure_s;
  /* Maps, one value per pixel: FILE of text or FILE[:DATASET] of HDF5. "" = none. */
  const char *gain;      /* keV per ADU; 0 or NaN: the pixel is dead; none: gain_kev for all */
  const char *offset;    /* keV; none: 0 */
  const char *threshold; /* ADU above dark; none: the two below. The highest one given counts. */
  const double *gain_value, *offset_value; /* of every pixel, instead of maps; NULL: the maps' */
  double gain_kev;
  double threshold_kev;   /* hits have at least this energy; 0 = not used */
  double threshold_sigma; /* hits are more than this many dark noises above dark; 0 = not used */
  double noisy; /* pixels whose dark noise is over `noisy` times the median are bad; 0 = none are */
  int max_cluster; /* 1: only single hits count; 2: pairs too, summed into the larger pixel */
  bool veto;       /* drop clusters with a pixel hit in the frame before */
  /* What pairs lost, at 59.54 keV: c0 + c2 R^2 + c4 R^4, in proportion to their energy, is added to them. */
  double pair_loss_kev[3];
  struct compton_pair_spectra
      *pairs; /* to be filled, on all ranks alike; NULL: not wanted. Goes without `keep` */
  /* Only part `part` of `parts` equal ones of the acquisition, 0 of 0: all of it. Energies are `growth` times too
   * large; 0: they are right. */
  int part, parts;
  double growth;
  double first_kev, last_kev,
      bin_kev;   /* lower edge of the first, upper edge of the last bin; width */
  int64_t block; /* frames of a block; 0 = chosen; the result does not depend on it */
  /* Where the count is kept between rounds, NULL: nowhere. A count of the same record that is there goes on; the file
   * stays until the caller removes it. */
  const char *keep;
  uint64_t keep_record;
  const char *hits; /* file of hits to be written (raw_hits.h), NULL: none */
  double round_s;   /* seconds between two times that the count is kept; 0 = after every block */
};
/* Collective. Counts events: energy = gain (ADU - dark) + offset of hits above threshold, which form 8-connected
 * clusters in a frame. Counts are identical on any number of ranks, any block and any instruction set. Memory:
 * one histogram of the whole detector per rank and one block of frames, whatever the number of frames.
 * INPUT: files that do not fit together, maps of another size, negative gains, no good pixel. */
enum status compton_cube_from_frames(MPI_Comm comm, const struct compton_frames_settings *settings,
                                     struct compton_cube *cube);
/* What a region would be, from its files' headers, and what counting it takes on the busiest rank. */
struct compton_shape {
  int64_t rows, columns, bins, frames; /* frames: 0 of spectra */
  double first_kev, bin_kev;
  int64_t cube_bytes; /* a rank's part of the cube */
  int64_t work_bytes; /* beside it, while it is counted */
};
/* Collective. */
enum status compton_cube_frames_shape(MPI_Comm comm, const struct compton_frames_settings *settings,
                                      struct compton_shape *shape);
enum status compton_cube_spectra_shape(MPI_Comm comm, const char *file,
                                       struct compton_shape *shape);
/* Collective. Sums files of spectra of one detector: HDF5 `pixel_spectra` [1, row, column, bin] with
 * `spectra_bins` (lower edges), or .hxt of version 1 or 3. The bins are the files' own. `bad` are pixels without any
 * count. INPUT: other bins or another detector than the first file, counts that are no whole numbers. */
enum status compton_cube_from_spectra(MPI_Comm comm, const char *const *file, int files,
                                      struct compton_cube *cube);
