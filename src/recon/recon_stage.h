/* Private: the stage's parts. A scan (or several, side by side) is opened once; rows of it are read and cleaned,
 * its axis is found, rounds of rows become slices. */
#pragma once
#include "raw.h"
#include "recon_centre.h"
#include "recon_field.h"
#include "recon_private.h"
#include "recon_prepare.h"
#include "recon_rings.h"
#include "stage.h"

enum { PARTS_MOST = 16, RECON_ROWS_MOST = 64 };

/* All that is known before the first round. */
/* Error of an axis that all rows share: the tests hold every search to it on noisy phantoms. */
#define RECON_CENTRE_ERROR_PX 0.05

struct recon_job {
  const struct stage_job *job;
  const struct recon_params *p;
  struct raw_tomo part[PARTS_MOST]; /* scans side by side; the first one's angles count */
  int parts;
  double place_px[PARTS_MOST]; /* column of the wide detector on which column 0 of a part falls */
  int64_t wide;                /* columns of all parts together */
  int64_t row0, rows;          /* of the (binned) detector */
  int64_t air0, air;           /* columns of air; 0: none said */
  int64_t pairs_per_rank, rounds;
  int64_t limit_bytes;
  double voxel_um, *weight_rad;
  double spread_px; /* of the centres found, 0 for one row; NAN: none was looked for */
  double tilt_px;   /* the axis moves by this from row to row; 0 */
  bool full_turn;
  struct grid_box crop; /* of a slice: start and n of axes 1 and 2 */
  double low, high;     /* window of whole numbers */
  struct recon_field field;
  struct recon_geometry geometry;
  struct recon_work *maker;                  /* these are kept from round to round: */
  struct grid_field sinogram, wider, slices; /* new memory costs as much as half a reconstruction */
  struct recon_repairs repairs;              /* of this rank */
  int64_t clipped;
};

/* Collective. work_follows: not only a forecast: the axis is found. */
enum status recon_job_open(const struct stage_job *job, bool work_follows, struct recon_job *w);
void recon_job_free(struct recon_job *w);
/* Local. "A:B" within 0..all; "" = all. */
enum status recon_parse_range(const char *name, const char *text, int64_t all, int64_t *first,
                              int64_t *n);
/* Local. A column of the whole detector in columns of what is read, and back. */
double recon_column_here(const struct recon_job *w, double column_px);
double recon_column_there(const struct recon_job *w, double column);

/* Collective. Cleaned rows: those of sinogram's plan (a field [row, angle, wide column]), its row 0 being row `first`
 * of the job. Whole rounds of all ranks. */
enum status recon_rows_read(struct recon_job *w, int64_t first, struct grid_field *sinogram);
/* Bytes of what reading one row takes besides the row itself, and of what reading takes at all. */
int64_t recon_rows_bytes(const struct recon_job *w);
int64_t recon_rows_fixed_bytes(const struct recon_job *w, int64_t rows);

/* Collective. Rows of one scan with phases retrieved: projections whole on the ranks, in turns, then moved to rows. */
enum status recon_phase_read(struct recon_job *w, struct raw_tomo *scan, int64_t row0,
                             struct grid_field *sinogram);
int64_t recon_phase_bytes(const struct recon_job *w);
/* Local. In place: transmissions [rows][columns] through Paganin's filter 1 / (1 + length_px^2 |2 pi f|^2). */
struct recon_phase;
enum status recon_phase_make(int64_t rows, int64_t columns, double length_px,
                             struct recon_phase **phase);
void recon_phase_filter(struct recon_phase *phase, float *transmission);
void recon_phase_free(struct recon_phase **phase);

/* Collective. The axis of `n` rows of the job; centre[i] in columns of the wide detector, at row[i]. */
enum status recon_rows_centres(struct recon_job *w, int n, double *row, double *centre,
                               bool *at_edge);
/* Collective. The axis of the job: median of the rows (or the line through them); sets geometry, spread, tilt. */
enum status recon_job_centre(struct recon_job *w);
/* Collective. The mean of a band of cleaned rows about `row`, on all ranks: mean[angles][wide]. */
enum status recon_band_read(struct recon_job *w, int64_t row, float *mean);

/* Collective. Where further scans lie beside the first. */
enum status recon_place_parts(struct recon_job *w);
/* Collective. All rounds, from the first that the journal does not hold; both NULL: nothing is written. */
enum status recon_rounds(struct recon_job *w, struct store_output *output,
                         struct stage_rounds *rounds);
int64_t recon_memory_bytes(const struct recon_job *w);
int64_t recon_disk_bytes(const struct recon_job *w);
enum grid_type recon_type(const struct recon_job *w);
