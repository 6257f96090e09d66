/* One state's tomography scan: projections of the slices a rank owns, counted with Poisson noise, digitised with a
 * fixed pattern of gain and a dark level. Frames: darks, flats, projections over half a turn, flats. */
#include "twin.h"
#include "numeric.h"
#include <math.h>
#include <string.h>

enum { DARKS = 5, FLATS = 5, KEY_PROJECTION = 0, KEY_FLAT = 1, KEY_DARK = 2 };
enum { STREAM_GAIN = 1, STREAM_FRAMES = 1000 };
static const double dark_ADU = 100, open_ADU = 40000;

static int64_t frames_of(const struct twin_cell *cell) { return DARKS + 2 * FLATS + cell->angles; }

static int key_of(const struct twin_cell *cell, int64_t frame) {
  if (frame < DARKS) return KEY_DARK;
  return frame < DARKS + FLATS || frame >= DARKS + FLATS + cell->angles ? KEY_FLAT : KEY_PROJECTION;
}

static double angle_of(const struct twin_cell *cell, int64_t frame) {
  int64_t i = frame - DARKS - FLATS;
  if (i < 0) return 0;
  return i < cell->angles ? 180.0 * (double)i / (double)cell->angles : 180;
}

struct recorder {
  const struct twin_params *params;
  const struct twin_cell *cell;
  uint64_t stream;
};

static uint16_t digitised(const struct recorder *r, int64_t frame, int64_t row, int64_t column,
                          double transmission) {
  const struct twin_params *p = r->params;
  uint64_t seed = (uint64_t)p->seed, pixel = (uint64_t)(row * r->cell->columns + column);
  uint64_t index = (uint64_t)frame * (uint64_t)(r->cell->rows * r->cell->columns) + pixel;
  double gain    = 1 + p->gain_spread * random_normal(seed, STREAM_GAIN, pixel);
  double photons = transmission > 0
                       ? (double)random_poisson(seed, r->stream, index, p->counts * transmission)
                       : 0;
  double noise   = 2 * random_normal(seed, r->stream + 1, index); /* of the readout */
  double value   = dark_ADU + noise + open_ADU * fmax(gain, 0.1) * photons / p->counts;
  return (uint16_t)fmin(fmax(value + 0.5, 0), 65535);
}

/* All frames of one row, [frame][columns] at stride `step`. */
static void record_row(const struct recorder *r, const float *slice, int64_t row, int64_t step,
                       double *line, uint16_t *out) {
  for (int64_t f = 0; f < frames_of(r->cell); f++) {
    int key = key_of(r->cell, f);
    if (key == KEY_PROJECTION)
      twin_project(r->cell, slice, angle_of(r->cell, f) / DEG_PER_RAD, line);
    for (int64_t c = 0; c < r->cell->columns; c++) {
      double transmission = key == KEY_DARK ? 0 : key == KEY_FLAT ? 1 : exp(-line[c]);
      out[f * step + c]   = digitised(r, f, row, c, transmission);
    }
  }
}

struct buffers {
  double *height, *line;
  float *slice;
  uint16_t *frames; /* [frame][rows here][columns] */
};

static void buffers_free(struct buffers *b) {
  memory_free(b->height);
  memory_free(b->line);
  memory_free(b->slice);
  memory_free(b->frames);
}

static enum status buffers_make(const struct twin_cell *cell, int64_t rows, struct buffers *b) {
  int64_t pixels = cell->columns * cell->columns;
  TRY(fault_here("twin.buffers"));
  TRY(memory_make(pixels, sizeof(double), "the surface of the twin", &b->height));
  TRY(memory_make(cell->columns, sizeof(double), "a projection of the twin", &b->line));
  TRY(memory_make(pixels, sizeof(float), "a slice of the twin", &b->slice));
  return memory_make(frames_of(cell) * rows * cell->columns, sizeof(uint16_t), "frames of the twin",
                     &b->frames);
}

static enum status measure_truth(MPI_Comm comm, const struct twin_cell *cell, const double *height,
                                 double *volume, struct twin_truth *truth) {
  double n = 0, mean = 0, size = 0, square = 0;
  double field = twin_field_um(cell) / cell->voxel_um;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t i = 0; i < cell->columns * cell->columns; i++) {
      double dy = (double)(i / cell->columns) - cell->y0_px,
             dx = (double)(i % cell->columns) - cell->x0_px;
      if (hypot(dx, dy) > field) continue;
      if (pass == 0)
        n++, mean += height[i];
      else
        size += fabs(height[i] - mean / n), square += pow(height[i] - mean / n, 2);
    }
  truth->Ra_um                       = size / n;
  truth->Rq_um                       = sqrt(square / n);
  struct exact_sum sums[TWIN_PHASES] = {{.terms = 0}};
  for (int k = 0; k < TWIN_PHASES; k++) exact_add(&sums[k], volume[k]);
  TRY(exact_allreduce(comm, sums, TWIN_PHASES));
  double voxels = (double)cell->rows * (double)cell->columns * (double)cell->columns;
  for (int k = 0; k < TWIN_PHASES; k++) truth->phase_fraction[k] = exact_value(&sums[k]) / voxels;
  truth->phase_volume_um3 = exact_value(&sums[1]) * pow(cell->voxel_um, 3);
  return STATUS_OK;
}

static enum status write_frames(const struct stage_job *job, const struct twin_cell *cell,
                                struct store_output *output, const struct grid_box *mine,
                                const uint16_t *frames) {
  const int64_t n[3]      = {frames_of(cell), cell->rows, cell->columns};
  const double axis_um[3] = {0, cell->voxel_um, cell->voxel_um};
  double *angle           = NULL;
  int32_t *key            = NULL;
  enum status status      = memory_make(n[0], sizeof *angle, "angles of the twin", &angle);
  if (status == STATUS_OK) status = memory_make(n[0], sizeof *key, "keys of the twin", &key);
  for (int64_t f = 0; f < n[0] && status == STATUS_OK; f++)
    angle[f] = angle_of(cell, f), key[f] = key_of(cell, f);
  status = AGREE(job->comm, status);
  if (status == STATUS_OK)
    status = store_create(job->comm, output, "projections", n, axis_um, NULL, false);
  if (status == STATUS_OK) status = store_tomo(job->comm, output, angle, key, n[0], cell->voxel_um);
  if (status == STATUS_OK) status = store_ready(job->comm, output);
  const int64_t start[3] = {0, mine->start[0], 0},
                count[3] = {mine->n[0] ? n[0] : 0, mine->n[0], mine->n[0] ? n[2] : 0};
  if (status == STATUS_OK)
    status = store_write_box(job->comm, output, "projections", false, start, count, frames);
  memory_free(angle);
  memory_free(key);
  return status;
}

static enum status record_scan(const struct stage_job *job, const struct twin_cell *cell,
                               const struct twin_state *state, const struct grid_box *mine,
                               struct buffers *b, struct twin_truth *truth) {
  const struct recorder recorder = {job->params, cell,
                                    STREAM_FRAMES + 2 * (uint64_t)(state - twin_states)};
  double volume[TWIN_PHASES]     = {0};
  TRY(twin_height(job->comm, job->params, cell, state, b->height));
  for (int64_t i = 0; i < mine->n[0]; i++) {
    int64_t z = mine->start[0] + i;
    twin_slice(cell, b->height, z, b->slice, volume);
    record_row(&recorder, b->slice, z, mine->n[0] * cell->columns, b->line,
               b->frames + i * cell->columns);
  }
  return measure_truth(job->comm, cell, b->height, volume, truth);
}

enum status twin_scan(const struct stage_job *job, const struct twin_cell *cell,
                      const struct twin_state *state, const char *path, struct twin_truth *truth) {
  const int64_t n[3] = {cell->rows, cell->columns, cell->columns};
  struct grid_plan plan;
  struct buffers b            = {NULL, NULL, NULL, NULL};
  struct store_output *output = NULL;
  TRY_ALL(job->comm, grid_plan_slabs(job->comm, n, 0, &plan));
  struct grid_box mine = grid_plan_mine(&plan);
  grid_plan_free(&plan);
  enum status status = AGREE(job->comm, buffers_make(cell, mine.n[0], &b));
  if (status == STATUS_OK) status = record_scan(job, cell, state, &mine, &b, truth);
  struct stage_job scan = *job;
  scan.output           = path;
  if (status == STATUS_OK)
    status = stage_output_begin(&scan, 2 * frames_of(cell) * cell->rows * cell->columns + (1 << 20),
                                &output);
  if (status == STATUS_OK) {
    status = write_frames(&scan, cell, output, &mine, b.frames);
    if (status == STATUS_OK)
      status = stage_output_commit(&scan, &output);
    else
      store_abandon(job->comm, &output, false);
  }
  buffers_free(&b);
  return status;
}
