/* Private to campaign: the rows that the `sweep:` block of a cycle asks for. */
#pragma once
#include "campaign_inner.h"

enum { SWEEP_AXES_MOST = 16, SWEEP_VALUES_MOST = 256, SWEEP_ROWS_MOST = 100000 };
struct sweep_axis {
  const struct stage *stage;
  int state;                                /* -1: of all states */
  char name[64];                            /* the parameter's */
  char key[CYCLE_NAME_BYTES + 64 + 64 + 2]; /* as the file has it */
  char (*text)[CONFIG_CHOICE_BYTES * 2];
  int n;
  bool logarithmic; /* a range on a logarithmic scale */
};
struct sweep {
  struct sweep_axis axis[SWEEP_AXES_MOST];
  int axes;
  bool zipped;
  int64_t rows;
  bool *shared; /* by place in campaign_stages: no swept parameter in the stage or before it */
};
/* Local. The block
 *   sweep:
 *     how: crossed              # or zipped: the first values together, the second, ...
 *     segment.chain: [measure, paper]
 *     flux.tolerance: {from: 1e-5, to: 1e-3, n: 3, scale: log}
 *     pristine/recon.centre: [640, 640.5]   # of this state alone
 * USAGE with all its mistakes and their places. */
enum status sweep_read(const struct cycle *cycle, struct sweep *sweep);
void sweep_free(struct sweep *sweep);
/* The value of an axis in a row; the last axis runs fastest when crossed. */
const char *sweep_text(const struct sweep *sweep, int64_t row, int axis);
/* Local; rank 0 writes. Each result of the rows that have any, against each parameter, into DIR/plots. */
enum status sweep_plots(const struct cycle *cycle, const struct sweep *sweep, const char *folder);
