/* The strip of slices about trial axes. */
#pragma once
#include "recon.h"

struct recon_strip_params {
#include "config_struct.inc"
#include "recon_params.def"
#include "centre_params.def"
#include "config_undef.inc"
};
extern const struct config_set recon_strip_set;

/* Collective. Slices of one row about axes in equal steps, side by side in the picture job->output, each with its axis'
 * column in its corner; results: the axis as each method finds it in that row. job->params: of recon_strip_set. */
enum status recon_strip(const struct stage_job *job);
