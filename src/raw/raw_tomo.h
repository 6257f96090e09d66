#pragma once
#include "store.h"

/* Where a tomography scan is and what its user said of it; "" or 0 = find out, or all. */
struct raw_tomo_request {
  const char *input;     /* FILE or FILE:DATASET of the frames [frame, row, column] or a sinogram */
  const char *angles;    /* dataset of the rotation angles, in the same file */
  const char *image_key; /* dataset of 0 projection, 1 flat, 2 dark, 3 invalid */
  const char *flats;     /* FILE[:DATASET] of flats apart, "none" = there are none */
  const char *darks;     /* likewise */
  const char *kind;      /* "auto", "counts", "transmission", "attenuation" */
  double arc_deg; /* angle between first and one past the last projection, where no angles are; 0 */
  const char *monitor; /* dataset of the beam's intensity at each frame, in the same file; NULL */
  int64_t column0, columns; /* of the detector; columns 0 = to its last */
  int64_t bin;              /* bin x bin pixels become their mean; 0 = 1 */
  int64_t every;            /* every n-th projection; 0 = 1 */
  bool flats_in_time;       /* flats of different times: interpolated, else averaged */
};

/* Flats or darks: good ones in groups, each taken at one time. */
struct raw_tomo_light {
  struct store_input *apart; /* owned; NULL: frames of the scan's own data */
  int64_t *frame, count;     /* of the good ones, ascending; owned */
  int64_t rejected;
  int *group;   /* of each good one; owned */
  int groups;   /* at least 1 */
  double *time; /* of each group, in frames of the scan; owned */
};

enum raw_tomo_kind { RAW_COUNTS, RAW_TRANSMISSION, RAW_ATTENUATION };
struct raw_tomo {
  char layout[32]; /* "NXtomo", "Data Exchange", "MAX IV", "sinogram", "TIFF", "dataset" */
  struct store_input *data;
  bool is_sinogram; /* the dataset has no row axis: [angle, column] */
  int64_t detector_rows, detector_columns, column0, bin;
  int64_t rows, columns, projections; /* cropped, binned, thinned: what is read */
  int64_t *frame;                     /* of each projection, owned */
  double *angle_rad; /* of each projection, owned, as in the file (not reduced to a turn) */
  double *beam; /* of each projection: intensity over that of the flats; owned; NULL: not known */
  struct raw_tomo_light flats, darks;
  enum raw_tomo_kind kind;
  double pixel_um; /* of the binned pixel at the sample, 0 = not said */
};
/* Collective. Layouts: NXtomo (entry1/tomo_entry of Diamond, entry/... of others, ESRF's entry0000, the K11/DIAD
 * files whose frames lie in linked files), Data Exchange, MAX IV, a sinogram or projection dataset with angles, TIFF
 * sinogram. Angles by their unit attribute, else by their range (said in the log). Counts without flats are refused
 * unless flats = "none". Flats and darks far from the median of their kind are left out and counted. */
enum status raw_tomo_open(MPI_Comm comm, const struct raw_tomo_request *request,
                          struct raw_tomo *scan);
void raw_tomo_close(struct raw_tomo *scan);

/* Collective, in equal rounds. The rows of `sinogram`'s plan (a field [row, angle, column], float32, slabs along
 * axis 0, no halo; its row 0 is the scan's row `row0`) of every projection. */
enum status raw_tomo_read(MPI_Comm comm, struct raw_tomo *scan, int64_t row0,
                          struct grid_field *sinogram);
/* Collective, in equal rounds. Whole projections: those of `frames`' plan (a field [projection, row, column], float32,
 * slabs along axis 0, no halo; its first is the scan's projection `first`). */
enum status raw_tomo_read_projections(MPI_Comm comm, struct raw_tomo *scan, int64_t first,
                                      struct grid_field *frames);
/* Collective. Mean flat of each group [groups][rows][columns] and mean dark [rows][columns] of rows row0 .. row0 +
 * rows - 1 (this rank's; rows may be 0). Sums in frame order, so the same on any rank count. Without darks: 0;
 * without flats: 1. */
enum status raw_tomo_flat(MPI_Comm comm, struct raw_tomo *scan, int64_t row0, int64_t rows,
                          float *flat, float *dark);
/* Local. The flat at a projection's time is flat[group] + share (flat[group + 1] - flat[group]); share 0: of the
 * group alone. */
int raw_tomo_flat_at(const struct raw_tomo *scan, int64_t projection, float *share);
