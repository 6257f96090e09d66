/* Inside compton: a count that goes on after a kill. */
#pragma once
#include "compton_cube.h"
#include "compton_events.h"

/* How far a count has come: frames (of hits: words) and, summed over ranks, what they held. */
struct compton_kept {
  int64_t done;
  int64_t hit_words; /* of the file of hits that is written beside */
  struct events_tally tally;
};
/* Collective. The counts of cube (every rank its pixels) into the file `path`, which changes in one step. */
enum status compton_keep_save(MPI_Comm comm, const char *path, uint64_t record,
                              const struct compton_cube *cube, const struct compton_kept *kept);
/* Collective. Back into cube->count; kept->done is 0, and the counts are untouched, where there is no such file or
 * it is of another record, detector or set of bins. */
enum status compton_keep_load(MPI_Comm comm, const char *path, uint64_t record,
                              struct compton_cube *cube, struct compton_kept *kept);
/* Collective. Removes the file; none is well too. */
void compton_keep_drop(MPI_Comm comm, const char *path);
