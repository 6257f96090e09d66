/* The list of the commands that are no stages. */
#include "campaign_inner.h"

const struct campaign_command *campaign_commands(int *n) {
  enum { MOST = 16 };
  static struct campaign_command list[MOST];
  static const struct campaign_command *const commands[] = {
      &campaign_run,    &campaign_sweep,   &campaign_status,   &campaign_check,
      &campaign_plan,   &campaign_init,    &campaign_validate, &campaign_report,
      &campaign_export, &campaign_preview, &campaign_centre};
  *n = (int)(sizeof commands / sizeof *commands);
  for (int i = 0; i < *n && i < MOST; i++) list[i] = *commands[i];
  return list;
}
