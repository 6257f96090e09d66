/* The stages, and the order in which they work: a stage comes after those that make what it reads. Where
 * that leaves a choice, stage_list.def decides. */
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

static const struct stage *const listed[] = {
#define STAGE(name) &name##_stage,
#include "stage_list.def"
#undef STAGE
    NULL};
enum { STAGES = sizeof listed / sizeof *listed - 1 };

static const struct stage *ordered[STAGES + 1];

static bool in_list(const char *list, const char *word) {
  size_t n = strlen(word);
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == n && strncmp(at, word, n) == 0) return true;
  return false;
}

bool campaign_stage_needs(const struct stage *stage, const struct stage *maker) {
  const char *at = maker->writes;
  if (stage == maker) return false;
  for (; *at; at += strcspn(at, ","), at += *at == ',') {
    char product[64];
    snprintf(product, sizeof product, "%.*s", (int)strcspn(at, ","), at);
    if (in_list(stage->reads, product)) return true;
    /* who reads volumes takes the aligned ones */
    if (strcmp(product, "aligned") == 0 && in_list(stage->reads, "volume")) return true;
  }
  return false;
}

static bool is_free(const struct stage *stage, const bool *taken) {
  for (int i = 0; i < STAGES; i++)
    if (!taken[i] && campaign_stage_needs(stage, listed[i])) return false;
  return true;
}

static void put_in_order(void) {
  bool taken[STAGES + 1] = {false};
  for (int n = 0; n < STAGES; n++) {
    int next = -1;
    for (int i = 0; i < STAGES && next < 0; i++)
      if (!taken[i] && is_free(listed[i], taken)) next = i;
    for (int i = 0; i < STAGES && next < 0; i++) /* a ring of stages: the list's order */
      if (!taken[i]) next = i;
    taken[next] = true;
    ordered[n]  = listed[next];
  }
}

const struct stage *const *campaign_stages(int *n) {
  if (STAGES > 0 && !ordered[0]) put_in_order();
  *n = STAGES;
  return ordered;
}

const struct stage *campaign_stage_find(const char *name) {
  for (const struct stage *const *s = listed; *s; s++)
    if (strcmp((*s)->name, name) == 0) return *s;
  return NULL;
}
