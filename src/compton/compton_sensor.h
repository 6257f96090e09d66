/* Inside compton: what frames of an Am-241 source tell of the sensor - gain and offset of every pixel, and what pairs
 * lose between two pixels. */
#pragma once
#include "compton_calibrate.h"
#include "compton_regions.h"

struct compton_sensor {
  int64_t pixels;
  struct compton_gain
      *pixel; /* [pixels], whole detector, on all ranks; owned; NULL: there is no source */
  double *gain, *offset; /* the same for the events: gain 0 where it is not to be trusted; owned */
  int64_t good;
  double loss_kev[3]; /* of pairs at 59.54 keV: c0 + c2 R^2 + c4 R^4 */
  bool has_loss;
};
/* Collective. Nothing where no source is named. */
enum status compton_sensor_learn(MPI_Comm comm, const struct compton_params *params,
                                 const struct compton_regions *regions,
                                 struct compton_sensor *sensor);
/* Collective. What counting the source's frames takes. */
enum status compton_sensor_shape(MPI_Comm comm, const struct compton_params *params,
                                 const struct compton_regions *regions,
                                 struct compton_shape *shape);
void compton_sensor_free(struct compton_sensor *sensor);
/* Local. What the settings of a region's frames take from it. */
void compton_sensor_use(const struct compton_sensor *sensor,
                        struct compton_frames_settings *settings);
