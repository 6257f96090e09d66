/* centre: a row's slices about trial axes in one picture. */
#include "campaign_inner.h"
#include "recon_strip.h"

static enum status run(MPI_Comm comm, const struct stage_common *common, const void *params,
                       const char *operand, struct stage_results *results) {
  const struct stage_bundle bundle = {.input = operand[0] ? operand : common->input};
  const struct stage_job job       = {comm, common, params, &bundle, common->output, "", results};
  return recon_strip(&job);
}

const struct campaign_command campaign_centre = {
    .name = "centre",
    .words =
        "slices about trial rotation axes, side by side in one picture, and what each method finds",
    .operand = "[SCAN]",
    .params  = &recon_strip_set,
    .run     = run,
};
