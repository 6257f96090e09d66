#include "campaign.h"
#include "align.h"
#include "compton.h"
#include "correlate.h"
#include "echem.h"
#include "flux.h"
#include "recon.h"
#include "report.h"
#include "segment.h"
#include "surface.h"
#include "track.h"
#include "twin.h"
#include <string.h>

static const struct stage *const stages[] = {
#define STAGE(name) &name##_stage,
#include "stage_list.def"
#undef STAGE
    NULL};

const struct stage *const *campaign_stages(int *n) {
  *n = (int)(sizeof stages / sizeof *stages) - 1;
  return stages;
}

const struct stage *campaign_stage_find(const char *name) {
  for (const struct stage *const *s = stages; *s; s++)
    if (strcmp((*s)->name, name) == 0) return *s;
  return NULL;
}
