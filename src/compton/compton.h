/* compton: detector frames or spectra to events per pixel and energy, Compton profiles, momentum factors and electron
 * density. Knows no tomography: products stay in detector rows and columns. */
#pragma once
#include "stage.h"

struct compton_params {
#include "config_struct.inc"
#include "compton_params.def"
#include "config_undef.inc"
};
extern const struct stage compton_stage;
