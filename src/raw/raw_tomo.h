#pragma once
#include "store.h"

/* Where a tomography scan is and what its user said of it; "" = find out. */
struct raw_tomo_request {
  const char *input;     /* FILE or FILE:DATASET of the frames [frame, row, column] or a sinogram */
  const char *angles;    /* dataset of the rotation angles, in the same file */
  const char *image_key; /* dataset of 0 projection, 1 flat, 2 dark, 3 invalid */
  const char *flats;     /* FILE[:DATASET] of flats apart, "none" = there are none */
  const char *darks;     /* likewise */
  const char *kind;      /* "auto", "counts", "transmission", "attenuation" */
  double arc_deg; /* angle between first and one past the last projection, where no angles are; 0 */
};

enum raw_tomo_kind { RAW_COUNTS, RAW_TRANSMISSION, RAW_ATTENUATION };
struct raw_tomo {
  char layout[32]; /* "NXtomo", "Data Exchange", "sinogram", "TIFF" */
  struct store_input *data, *flats,
      *darks;       /* owned; flats and darks NULL when inside data or absent */
  bool is_sinogram; /* the dataset has no row axis: [angle, column] */
  int64_t rows, columns, projections;
  int64_t *frame;    /* of each projection, owned */
  double *angle_rad; /* of each projection, owned, as in the file (not reduced to a turn) */
  int64_t *flat_frame, *dark_frame, flat_count, dark_count; /* inside data; owned */
  enum raw_tomo_kind kind;
  double pixel_um; /* detector pixel at the sample, 0 = not said */
};
/* Collective. Layouts: NXtomo (entry1/tomo_entry of Diamond, entry/... of others, ESRF's entry0000, the K11/DIAD
 * files whose frames lie in linked files), Data Exchange, a sinogram or projection dataset with angles, TIFF
 * sinogram. Angles by their unit attribute, else by their range (said in the log). Counts without flats are refused
 * unless flats = "none". */
enum status raw_tomo_open(MPI_Comm comm, const struct raw_tomo_request *request,
                          struct raw_tomo *scan);
void raw_tomo_close(struct raw_tomo *scan);

/* Collective, in equal rounds. The rows of `sinogram`'s plan (a field [row, angle, column], float32, slabs along
 * axis 0, no halo; its row 0 is the scan's row `row0`) of every projection. */
enum status raw_tomo_read(MPI_Comm comm, struct raw_tomo *scan, int64_t row0,
                          struct grid_field *sinogram);
/* Collective. Mean flat and dark of rows row0 .. row0 + rows - 1 (this rank's; rows may be 0): out[rows][columns].
 * Means are sums in frame order, so the same on any rank count. Without darks: 0; without flats: 1. Frames far
 * from the median of their kind (by more than 30 %) are left out and counted in *rejected (may be NULL). */
enum status raw_tomo_flat(MPI_Comm comm, struct raw_tomo *scan, int64_t row0, int64_t rows,
                          float *flat, float *dark, int *rejected);
