/* Inside compton: the drift of the gain during an acquisition, followed by the line itself. */
#pragma once
#include "compton_maps.h"

enum { DRIFT_PARTS_MOST = 256 };
struct compton_drift {
  int parts; /* 0: it was not followed */
  double growth[DRIFT_PARTS_MOST],
      sigma[DRIFT_PARTS_MOST]; /* by which energies were too large; NaN: not known */
};
/* Collective. Counts an acquisition twice: by its parts, whose lines tell how much energies have grown, and again with
 * each part's energies divided by that. With a disc growth is against the disc's lines, else against the parts' mean.
 * What is known of the pixels is made here where it is not yet. */
enum status compton_drift_count(MPI_Comm comm, const struct compton_params *params,
                                const struct compton_frames_settings *settings,
                                const struct compton_cube *disc, struct compton_knowledge *known,
                                struct compton_drift *drift, struct compton_cube *cube);
