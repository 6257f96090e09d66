/* Inside compton: a state's work as the stage's files share it. */
#pragma once
#include "compton_drift.h"
#include "compton_sensor.h"

struct compton_work {
  const struct stage_job *job;
  const struct compton_params *params;
  struct compton_regions regions;
  struct compton_sensor sensor;
  struct compton_cube cube[REGIONS_MOST], disc;
  struct compton_knowledge known;
  struct compton_drift drift[REGIONS_MOST];
  struct compton_maps maps[REGIONS_MOST];
  char keep[REGIONS_MOST + 1][STORE_NAME_BYTES]; /* of the disc and the regions; "" = nowhere */
  char hits[STORE_NAME_BYTES];                   /* the file of hits in work */
};
/* Collective. Writes all products. */
enum status compton_write(struct compton_work *work);
/* Local. What they take on disk. */
int64_t compton_write_bytes(const struct compton_params *params, int64_t rows, int64_t columns,
                            int64_t bins, int regions);
/* Local. Adds the rows of all results, on all ranks alike. */
void compton_results_add(struct compton_work *work);
