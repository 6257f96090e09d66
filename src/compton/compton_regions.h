/* Inside compton: the acquisitions of a state, one per region. */
#pragma once
#include "compton.h"
#include "compton_cube.h"

enum { REGIONS_MOST = 16 };

struct compton_region {
  char name[64]; /* "" = none said */
  double z_um, exposure_s, monitor,
      live_s;              /* NAN = not said; live_s: the exposure's where it is not */
  double start_s;          /* on the clock of the dark runs */
  const char *const *file; /* borrowed from the list */
  int files;
  bool is_frames;
};
struct compton_regions {
  struct compton_region region[REGIONS_MOST], disc,
      source; /* disc, source: no files, where there is none */
  int n;
  struct compton_names {
    char *text;
    const char **name;
    int n;
  } frames, spectra, dark, disc_files, source_files; /* owned */
  double *dark_s; /* [dark.n] when each dark run was taken, owned; NULL: not said */
};
/* Local. USAGE: no files, counts that do not add up, words that are no numbers. */
enum status compton_regions_make(const struct compton_params *params,
                                 struct compton_regions *regions);
void compton_regions_free(struct compton_regions *regions);
/* Local. The settings of a region of frames, or of the disc; everything is borrowed from the three. */
void compton_regions_settings(const struct compton_params *params,
                              const struct compton_regions *regions,
                              const struct compton_region *region,
                              struct compton_frames_settings *settings);
/* Local. "none", "source" or "C0,C2,C4" in keV: the numbers of the latter, else 0. USAGE. */
enum status compton_regions_loss(const char *text, double loss_kev[3]);
