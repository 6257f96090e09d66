/* Phase retrieval at one distance (Paganin, Mayo, Gureyev, Miller and Wilkins, Journal of Microscopy 206, 33, 2002): for
 * a material of constant delta / beta the projected attenuation is -log of the transmission through the filter
 * 1 / (1 + pi lambda z (delta / beta) f^2). It acts on whole projections: ranks hold some of them at a time, whole, and
 * move the rows of the round to those who reconstruct them; no rank ever holds more. */
#include "recon_stage.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

#define KEV_UM 1.239841984e-3 /* energy times wavelength of a photon */
enum { MARGIN_LENGTHS = 8 };  /* the filter's kernel falls by exp(-1) over one length */

struct recon_phase {
  int64_t rows, columns, high, wide, above,
      left; /* of a projection; padded; where it stands there */
  double length_px;
  float *padded;
  fftwf_complex *transform;
  fftwf_plan there, back;
};

void recon_phase_free(struct recon_phase **phase) {
  struct recon_phase *f = *phase;
  if (f) {
    if (f->there) fftwf_destroy_plan(f->there);
    if (f->back) fftwf_destroy_plan(f->back);
    fftwf_free(f->padded);
    fftwf_free(f->transform);
  }
  memory_free(f);
  *phase = NULL;
}

/* sqrt(lambda z (delta / beta) / (4 pi)) in pixels, whose square times |2 pi f|^2 the filter holds. */
static double length_of(const struct recon_job *w) {
  double lambda_um = KEV_UM / w->p->energy_kev,
         square    = lambda_um * 1e3 * w->p->distance_mm * w->p->delta_beta / (4 * PI);
  return sqrt(square) / w->voxel_um;
}

static int64_t padded_length(int64_t n, double length_px) {
  int64_t margin = (int64_t)ceil(MARGIN_LENGTHS * length_px) + 4;
  if (margin > n) margin = n;
  return recon_good_length(n + margin);
}

enum status recon_phase_make(int64_t rows, int64_t columns, double length_px,
                             struct recon_phase **phase) {
  struct recon_phase *f;
  TRY(memory_make(1, sizeof *f, "phase retrieval", &f));
  *f           = (struct recon_phase){.rows      = rows,
                                      .columns   = columns,
                                      .high      = padded_length(rows, length_px),
                                      .wide      = padded_length(columns, length_px),
                                      .length_px = length_px};
  f->above     = (f->high - rows) / 2;
  f->left      = (f->wide - columns) / 2;
  f->padded    = fftwf_alloc_real((size_t)(f->high * f->wide));
  f->transform = fftwf_alloc_complex((size_t)(f->high * (f->wide / 2 + 1)));
  *phase       = f;
  if (f->padded && f->transform) {
    f->there =
        fftwf_plan_dft_r2c_2d((int)f->high, (int)f->wide, f->padded, f->transform, FFTW_ESTIMATE);
    f->back =
        fftwf_plan_dft_c2r_2d((int)f->high, (int)f->wide, f->transform, f->padded, FFTW_ESTIMATE);
    return STATUS_OK;
  }
  recon_phase_free(phase);
  return FAIL(STATUS_MEMORY, "no memory for projections of %lld x %lld padded", (long long)rows,
              (long long)columns);
}

static int64_t clamp(int64_t at, int64_t n) { return at < 0 ? 0 : at < n ? at : n - 1; }

void recon_phase_filter(struct recon_phase *f, float *transmission) {
  for (int64_t y = 0; y < f->high; y++) /* the edges go on */
    for (int64_t x = 0; x < f->wide; x++)
      f->padded[y * f->wide + x] =
          transmission[clamp(y - f->above, f->rows) * f->columns + clamp(x - f->left, f->columns)];
  fftwf_execute(f->there);
  int64_t half = f->wide / 2 + 1;
  double scale = 1 / ((double)f->high * (double)f->wide);
  for (int64_t y = 0; y < f->high; y++)
    for (int64_t x = 0; x < half; x++) {
      double v    = 2 * PI * (double)(y <= f->high / 2 ? y : y - f->high) / (double)f->high,
             u    = 2 * PI * (double)x / (double)f->wide;
      float share = (float)(scale / (1 + f->length_px * f->length_px * (u * u + v * v)));
      f->transform[y * half + x][0] *= share;
      f->transform[y * half + x][1] *= share;
    }
  fftwf_execute(f->back);
  for (int64_t y = 0; y < f->rows; y++)
    memcpy(transmission + y * f->columns, f->padded + (y + f->above) * f->wide + f->left,
           (size_t)f->columns * sizeof *transmission);
}

/* ---- projections in turns ------------------------------------------------------------------------------------------ */

enum {
  TURN_FRAMES = 4,
  ASIDE       = 2
}; /* of each rank; more to both sides, where zingers are looked for */

/* Flats of whole projections, and what filters them. */
struct retrieval {
  struct recon_phase *phase;
  float *flat, *share;
  int *group;
  int64_t rows[2]; /* of the round: what is found in them counts */
  /* where zingers are looked for, else NULL: projections with their neighbours, room for one */
  float *window, *room;
};

static bool finds_zingers(const struct recon_job *w) { return strcmp(w->p->zingers, "none") != 0; }

static enum status begin(struct recon_job *w, struct raw_tomo *scan, struct retrieval *r) {
  MPI_Comm comm  = w->job->comm;
  int64_t pixels = scan->rows * scan->columns, groups = scan->flats.groups;
  enum status status = recon_phase_make(scan->rows, scan->columns, length_of(w), &r->phase);
  if (status == STATUS_OK)
    status = memory_make((groups + 1) * pixels, sizeof *r->flat, "flats", &r->flat);
  if (status == STATUS_OK)
    status = memory_make(scan->projections, sizeof *r->share, "times", &r->share);
  if (status == STATUS_OK)
    status = memory_make(scan->projections, sizeof *r->group, "times", &r->group);
  if (status == STATUS_OK && finds_zingers(w))
    status = memory_make_raw((TURN_FRAMES + 2 * ASIDE + 2) * pixels, sizeof *r->window,
                             "projections", &r->window);
  TRY_ALL(comm, status);
  if (r->window) r->room = r->window + (TURN_FRAMES + 2 * ASIDE) * pixels;
  for (int64_t i = 0; i < scan->projections; i++)
    r->group[i] = raw_tomo_flat_at(scan, i, &r->share[i]);
  if (scan->kind != RAW_COUNTS) return STATUS_OK;
  return raw_tomo_flat(comm, scan, 0, scan->rows, r->flat, r->flat + groups * pixels);
}

static void end(struct retrieval *r) {
  recon_phase_free(&r->phase);
  memory_free(r->flat);
  memory_free(r->share);
  memory_free(r->group);
  memory_free(r->window);
}

/* One projection of counts to attenuation. counts: what is repaired counts. */
static enum status normalise(struct recon_job *w, const struct raw_tomo *scan,
                             const struct retrieval *r, int64_t projection, bool counts,
                             float *value) {
  int64_t pixels               = scan->rows * scan->columns;
  double beam                  = scan->beam ? scan->beam[projection] : 1;
  struct recon_light light     = {.flat        = r->flat,
                                  .dark        = r->flat + scan->flats.groups * pixels,
                                  .group       = r->group + projection,
                                  .share       = r->share + projection,
                                  .beam        = scan->beam ? &beam : NULL,
                                  .kind        = scan->kind,
                                  .find_pixels = strcmp(w->p->bad_pixels, "auto") == 0};
  struct recon_repairs repairs = {0, 0, 0};
  TRY(recon_normalise(&light, value, scan->rows, 1, scan->columns, &repairs));
  counts = counts && r->rows[0] == w->row0; /* every round has all projections */
  if (counts) w->repairs.values += repairs.values;
  if (counts && projection == 0) w->repairs.pixels += repairs.pixels;
  return STATUS_OK;
}

static void retrieve(const struct raw_tomo *scan, const struct retrieval *r, float *value) {
  int64_t pixels = scan->rows * scan->columns;
  for (int64_t i = 0; i < pixels; i++) value[i] = expf(-value[i]);
  recon_phase_filter(r->phase, value);
  for (int64_t i = 0; i < pixels; i++) value[i] = -logf(fmaxf(value[i], 1e-30f));
}

/* Projections as counts to attenuation. */
static enum status read_plain(struct recon_job *w, struct raw_tomo *scan, const struct retrieval *r,
                              int64_t first, struct grid_field *frames) {
  enum status status = STATUS_OK;
  TRY(raw_tomo_read_projections(w->job->comm, scan, first, frames));
  for (int64_t i = 0; i < frames->mine.n[0] && status == STATUS_OK; i++)
    status = normalise(w, scan, r, first + frames->mine.start[0] + i, true,
                       (float *)frames->data + i * frames->row[0]);
  return AGREE(w->job->comm, status);
}

/* The same without zingers, which are found beside the projections before and behind. */
static enum status read_clean(struct recon_job *w, struct raw_tomo *scan, const struct retrieval *r,
                              int64_t first, struct grid_field *frames) {
  const int64_t start = first + frames->mine.start[0], n = frames->mine.n[0],
                low = start < ASIDE || n == 0 ? 0 : start - ASIDE,
                end = start + n + ASIDE < scan->projections ? start + n + ASIDE : scan->projections;
  struct grid_field all = *frames;
  all.data              = r->window;
  all.mine.start[0]     = low;
  all.mine.n[0]         = n ? end - low : 0;
  enum status status    = raw_tomo_read_projections(w->job->comm, scan, 0, &all);
  for (int64_t i = 0; i < all.mine.n[0] && status == STATUS_OK; i++)
    status = normalise(w, scan, r, low + i, low + i >= start && low + i < start + n,
                       r->window + i * all.row[0]);
  for (int64_t i = 0; i < n && status == STATUS_OK; i++)
    w->repairs.zingers += recon_zingers_in_projection(
        w->p->zingers, w->p->zinger_sd, r->window, end - low, start + i - low, scan->rows,
        scan->columns, r->rows, r->room, (float *)frames->data + i * frames->row[0]);
  return AGREE(w->job->comm, status);
}

/* Rows of `frames` [projection, row, column] to the sinograms of those who own them. */
static enum status hand_over(const struct recon_job *w, int64_t row0, int64_t first,
                             const struct grid_field *frames, struct grid_field *sinogram) {
  MPI_Comm comm       = w->job->comm;
  const int64_t n[3]  = {frames->plan.n[0], sinogram->plan.n[0], frames->plan.n[2]};
  struct grid_box box = {
      {0,    row0, 0   },
      {n[0], n[1], n[2]}
  };
  int64_t *share;
  struct grid_plan plan = {.cut = {NULL}};
  struct grid_field rows;
  TRY_ALL(comm, memory_make(sinogram->plan.size, sizeof *share, "shares", &share));
  for (int r = 0; r < sinogram->plan.size; r++) share[r] = grid_plan_box(&sinogram->plan, r).n[0];
  enum status status = AGREE(comm, grid_plan_cuts(comm, n, 1, share, &plan));
  memory_free(share);
  if (status == STATUS_OK) status = grid_field_make(comm, &plan, GRID_F32, NULL, &rows);
  grid_plan_free(&plan);
  TRY(status);
  status = grid_field_crop(comm, frames, &box, &rows);
  for (int64_t p = 0; p < n[0] && status == STATUS_OK; p++)
    for (int64_t r = 0; r < rows.mine.n[1]; r++)
      memcpy((float *)sinogram->data + r * sinogram->row[0] + (first + p) * sinogram->row[1],
             (const float *)rows.data + p * rows.row[0] + r * rows.row[1],
             (size_t)n[2] * sizeof(float));
  grid_field_free(&rows);
  return status;
}

static enum status one_turn(struct recon_job *w, struct raw_tomo *scan, const struct retrieval *r,
                            int64_t row0, int64_t first, int64_t n, struct grid_field *sinogram) {
  MPI_Comm comm         = w->job->comm;
  const int64_t all[3]  = {n, scan->rows, scan->columns};
  struct grid_plan plan = {.cut = {NULL}};
  struct grid_field frames;
  TRY_ALL(comm, grid_plan_slabs(comm, all, 0, &plan));
  enum status status = grid_field_make(comm, &plan, GRID_F32, NULL, &frames);
  grid_plan_free(&plan);
  TRY(status);
  status =
      r->window ? read_clean(w, scan, r, first, &frames) : read_plain(w, scan, r, first, &frames);
  for (int64_t i = 0; i < frames.mine.n[0] && status == STATUS_OK; i++)
    retrieve(scan, r, (float *)frames.data + i * frames.row[0]);
  if (status == STATUS_OK) status = hand_over(w, row0, first, &frames, sinogram);
  grid_field_free(&frames);
  return status;
}

enum status recon_phase_read(struct recon_job *w, struct raw_tomo *scan, int64_t row0,
                             struct grid_field *sinogram) {
  struct retrieval r = {
      .rows = {row0, row0 + sinogram->plan.n[0]}
  };
  int size;
  MPI_Comm_size(w->job->comm, &size);
  enum status status = begin(w, scan, &r);
  for (int64_t first = 0; first < scan->projections && status == STATUS_OK;) {
    int64_t left = scan->projections - first,
            n    = left < TURN_FRAMES * size ? left : TURN_FRAMES * size;
    status       = one_turn(w, scan, &r, row0, first, n, sinogram);
    first += n;
  }
  end(&r);
  return status;
}

/* Projections of a turn, whole and as they are moved, and with their neighbours; flats; one of them padded and
 * transformed. */
int64_t recon_phase_bytes(const struct recon_job *w) {
  const struct raw_tomo *scan = &w->part[0];
  if (strcmp(w->p->phase, "paganin") != 0) return 0;
  double length  = length_of(w);
  int64_t pixels = scan->rows * scan->columns,
          padded = padded_length(scan->rows, length) * padded_length(scan->columns, length);
  int64_t frames = 2 * TURN_FRAMES + (finds_zingers(w) ? TURN_FRAMES + 2 * ASIDE + 2 : 0);
  return 4 * pixels * (frames + scan->flats.groups + 4) + 8 * padded;
}
