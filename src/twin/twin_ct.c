/* The scan of one state. Rows are independent (parallel beam), so each rank makes its own: slices of the cell, their
 * exact strip projections, the detector. A count is a Poisson number of (seed, state, frame, row, column), so the file
 * has the same bits on any number of ranks. With phase contrast the transmission T becomes T - k laplace(T) (transport
 * of intensity, one distance, one material: Paganin et al. 2002), for which a round makes one row more on each side. */
#include "twin_private.h"
#include "numeric.h"
#include <math.h>
#include <string.h>

enum stream { STREAM_OFFSET = 64, STREAM_GAIN, STREAM_RING, STREAM_COUNTS = 128 };
static const double offset_counts = 100, full_counts = 50000;

struct work {
  const struct twin_params *params;
  struct twin_scan scan;
  struct twin_cell cell;
  int state;
  int64_t frames, row0, rows_here, each, rounds, halo; /* each: rows of a round, halo not counted */
  float *mu, *share, *sinogram; /* sinogram[angle][column][lane], then transmission */
  float (*weight)[4];
  int64_t *first, *last;
  uint16_t *counts;  /* [frame][row of the round][column] */
  double *row_truth; /* [rows][TWIN_MATERIALS + 1], this rank's rows; the last is pores */
};

static void work_free(struct work *w) {
  twin_cell_free(&w->cell);
  memory_free(w->mu);
  memory_free(w->share);
  memory_free(w->sinogram);
  memory_free(w->weight);
  memory_free(w->first);
  memory_free(w->last);
  memory_free(w->counts);
  memory_free(w->row_truth);
}

static enum status work_buffers(struct work *w) {
  int64_t image = w->cell.n * w->cell.n * TWIN_LANES;
  TRY(memory_make(image, sizeof *w->mu, "slices of the twin", &w->mu));
  TRY(memory_make(2 * image, sizeof *w->share, "slices of the twin", &w->share));
  TRY(memory_make(w->scan.projections * w->scan.columns * TWIN_LANES, sizeof *w->sinogram,
                  "sinograms of the twin", &w->sinogram));
  TRY(memory_make(TWIN_STEPS, sizeof *w->weight, "weights", &w->weight));
  TRY(memory_make(w->cell.n, sizeof *w->first, "extents", &w->first));
  TRY(memory_make(w->cell.n, sizeof *w->last, "extents", &w->last));
  TRY(memory_make(w->frames * w->each * w->scan.columns, sizeof *w->counts, "frames of the twin",
                  &w->counts));
  return memory_make(w->scan.rows * (TWIN_MATERIALS + 1), sizeof *w->row_truth, "truth of rows",
                     &w->row_truth);
}

/* Voxels within the can, and a margin for its drift. */
static void set_extents(struct work *w) {
  double half = 0.5 * (double)(w->cell.n - 1);
  for (int64_t y = 0; y < w->cell.n; y++) {
    double dy = (double)y - half, wide = sqrt(fmax(0, (half + 0.5) * (half + 0.5) - dy * dy));
    w->first[y] = (int64_t)fmax(0, ceil(half - wide));
    w->last[y]  = (int64_t)fmin((double)w->cell.n, floor(half + wide) + 1);
  }
}

static enum status work_make(MPI_Comm comm, const struct twin_params *params,
                             const struct twin_state *state, struct work *w) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  w->params     = params;
  w->scan       = twin_scan_of(params);
  w->state      = (int)(state - twin_states);
  w->halo       = params->phase_um2 > 0;
  w->each       = TWIN_LANES - 2 * w->halo;
  w->frames     = w->scan.projections + 2 * (w->scan.flats + w->scan.darks);
  int64_t share = w->scan.rows / size, more = w->scan.rows % size;
  w->rows_here = share + (rank < more);
  w->row0      = rank * share + (rank < more ? rank : more);
  w->rounds    = (share + (more > 0) + w->each - 1) / w->each;
  TRY(fault_here("twin.scan"));
  TRY(twin_cell_make(params, state, &w->cell));
  TRY(work_buffers(w));
  set_extents(w);
  return STATUS_OK;
}

/* ---- projections ------------------------------------------------------------------------------------- */

static double ramp2(double x) { return x > 0 ? x * x : 0; }

/* Share of a unit square's shadow left of t: a trapezoid, box of width a convolved with one of width b. */
static double shadow(double t, double a, double b) {
  if (b < 1e-9) return fmin(fmax(t / a + 0.5, 0), 1);
  return (ramp2(t + (a + b) / 2) - ramp2(t + (a - b) / 2) - ramp2(t - (a - b) / 2) +
          ramp2(t - (a + b) / 2)) /
         (2 * a * b);
}

static void set_weights(float (*weight)[4], double cosine, double sine) {
  double a = fmax(fabs(cosine), fabs(sine)), b = fmin(fabs(cosine), fabs(sine));
  for (int i = 0; i < TWIN_STEPS; i++)
    for (int k = 0; k < 4; k++) {
      double t     = k - 1 - (i + 0.5) / TWIN_STEPS; /* pixel floor(s) - 1 + k from s */
      weight[i][k] = (float)(shadow(t + 0.5, a, b) - shadow(t - 0.5, a, b));
    }
}

static double angle_deg(const struct work *w, int64_t projection) {
  return w->params->turn_deg * (double)projection / (double)w->scan.projections;
}

static void project_all(struct work *w) {
  double centre = 0.5 * (double)(w->scan.columns - 1) + w->params->axis_px;
  int64_t line  = w->scan.columns * TWIN_LANES;
  memset(w->sinogram, 0, (size_t)(w->scan.projections * line) * sizeof *w->sinogram);
  for (int64_t p = 0; p < w->scan.projections; p++) {
    double angle = angle_deg(w, p) / DEG_PER_RAD, cosine = cos(angle), sine = sin(angle);
    set_weights(w->weight, cosine, sine);
    ISA_PICK(twin_project)
    (w->mu, w->cell.n, w->first, w->last, cosine, sine, centre, (const float(*)[4])w->weight,
     w->scan.columns, w->sinogram + p * line);
  }
  for (int64_t i = 0; i < w->scan.projections * line; i++) w->sinogram[i] = expf(-w->sinogram[i]);
}

/* ---- detector ------------------------------------------------------------------------------------------ */

static double transmission(const struct work *w, int64_t projection, int64_t lane, int64_t column) {
  const float *at = w->sinogram + (projection * w->scan.columns + column) * TWIN_LANES + lane;
  int64_t left    = column > 0 ? -TWIN_LANES : 0,
          right   = column + 1 < w->scan.columns ? TWIN_LANES : 0;
  if (!w->halo) return (double)*at;
  double laplace =
      (double)at[left] + (double)at[right] + (double)at[-1] + (double)at[1] - 4 * (double)*at;
  return fmax(0,
              (double)*at - w->params->phase_um2 / (w->scan.voxel_um * w->scan.voxel_um) * laplace);
}

struct pixel {
  double offset, gain, later; /* counts; photons seen; the same after the flats of the head */
};

static struct pixel pixel_of(const struct work *w, int64_t row, int64_t column) {
  uint64_t at = (uint64_t)(row * w->scan.columns + column), seed = w->cell.seed;
  double half = 0.5 * (double)(w->scan.columns - 1), u = ((double)column - half) / half;
  struct pixel p = {offset_counts + 3 * random_normal(seed, STREAM_OFFSET, at),
                    w->scan.photons * (1 - 0.15 * u * u) *
                        (1 + w->params->gain_spread * random_normal(seed, STREAM_GAIN, at)),
                    0};
  bool drifts    = w->params->ring_percent > 0 && random_uniform(seed, STREAM_RING, at) < 0.05;
  p.later =
      p.gain *
      (drifts ? 1 + 0.01 * w->params->ring_percent * random_normal(seed, STREAM_RING + 1, at) : 1);
  return p;
}

/* Frames: darks, flats, projections, flats, darks. */
enum { KEY_PROJECTION, KEY_FLAT, KEY_DARK };
static int key_of(const struct work *w, int64_t frame) {
  int64_t head = w->scan.darks + w->scan.flats, tail = head + w->scan.projections;
  if (frame < w->scan.darks || frame >= tail + w->scan.flats) return KEY_DARK;
  return frame < head || frame >= tail ? KEY_FLAT : KEY_PROJECTION;
}

static uint16_t count_of(const struct work *w, const struct pixel *pixel, int64_t frame,
                         int64_t row, int64_t lane, int64_t column) {
  int key            = key_of(w, frame);
  int64_t projection = frame - w->scan.darks - w->scan.flats;
  double mean        = key == KEY_DARK   ? 0
                       : key == KEY_FLAT ? pixel->gain
                                         : pixel->later * transmission(w, projection, lane, column);
  uint64_t index     = (uint64_t)((frame * w->scan.rows + row) * w->scan.columns + column);
  double photons =
      (double)random_poisson(w->cell.seed, STREAM_COUNTS + (uint64_t)w->state, index, mean);
  double value =
      pixel->offset + photons * (w->scan.photons > full_counts ? full_counts / w->scan.photons : 1);
  return value > 65535 ? 65535 : (uint16_t)lround(fmax(0, value));
}

static void detect(struct work *w, int64_t row, int64_t rows) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < w->scan.columns; c++) {
      struct pixel pixel = pixel_of(w, row + r, c);
      for (int64_t f = 0; f < w->frames; f++)
        w->counts[(f * rows + r) * w->scan.columns + c] =
            count_of(w, &pixel, f, row + r, r + w->halo, c);
    }
}

/* ---- rounds ---------------------------------------------------------------------------------------------- */

static void make_rows(struct work *w, int64_t row, int64_t rows) {
  double volume[TWIN_LANES][TWIN_MATERIALS], pore[TWIN_LANES];
  twin_cell_rows(&w->cell, row - w->halo, (int)(rows + 2 * w->halo), w->mu, w->share, volume, pore);
  for (int64_t r = 0; r < rows; r++) {
    double *to = w->row_truth + (row + r) * (TWIN_MATERIALS + 1);
    memcpy(to, volume[r + w->halo], sizeof *volume);
    to[TWIN_MATERIALS] = pore[r + w->halo];
  }
  project_all(w);
  detect(w, row, rows);
}

static enum status rounds(MPI_Comm comm, struct work *w, struct store_output *output) {
  for (int64_t round = 0; round < w->rounds; round++) {
    int64_t done = round * w->each,
            rows = w->rows_here - done < w->each ? w->rows_here - done : w->each;
    if (rows < 0) rows = 0;
    TRY(stop_agree(comm));
    if (rows) make_rows(w, w->row0 + done, rows);
    int64_t start[3] = {0, w->row0 + done, 0}, n[3] = {w->frames, rows, w->scan.columns};
    if (!rows) start[1] = n[0] = n[1] = n[2] = 0;
    TRY(store_write_box(comm, output, "projections", false, start, n, w->counts));
    log_progress(twin_states[w->state].name, round + 1, w->rounds);
  }
  return STATUS_OK;
}

static enum status describe_frames(MPI_Comm comm, const struct work *w,
                                   struct store_output *output) {
  double *angle      = NULL;
  int32_t *key       = NULL;
  enum status status = memory_make(w->frames, sizeof *angle, "angles", &angle);
  if (status == STATUS_OK) status = memory_make(w->frames, sizeof *key, "image keys", &key);
  for (int64_t f = 0; f < w->frames && status == STATUS_OK; f++) {
    int64_t p = f - w->scan.darks - w->scan.flats;
    key[f]    = key_of(w, f);
    angle[f]  = p < 0 ? 0 : angle_deg(w, p < w->scan.projections ? p : w->scan.projections);
  }
  status = AGREE(comm, status);
  if (status == STATUS_OK)
    status = store_tomo(comm, output, angle, key, w->frames, w->scan.voxel_um);
  memory_free(angle);
  memory_free(key);
  return status;
}

static enum status write_scan(MPI_Comm comm, const struct stage_common *common, const char *path,
                              struct work *w) {
  const int64_t n[3] = {w->frames, w->scan.rows, w->scan.columns};
  char *yaml;
  TRY_ALL(comm, config_effective_yaml(twin_stage.params, w->params, &yaml));
  const struct store_options options = {
      .force = common->force, .size_bytes = 2 * n[0] * n[1] * n[2], .record = yaml};
  struct store_output *output = NULL;
  enum status status          = store_begin(comm, path, &options, &output);
  if (status == STATUS_OK) status = store_create(comm, output, "projections", n, NULL, NULL, false);
  if (status == STATUS_OK) status = describe_frames(comm, w, output);
  if (status == STATUS_OK) status = store_note(comm, output, "twin_yaml", yaml);
  if (status == STATUS_OK) status = store_ready(comm, output);
  if (status == STATUS_OK) status = rounds(comm, w, output);
  if (status == STATUS_OK) status = store_commit(comm, &output);
  if (output) store_abandon(comm, &output, false);
  memory_free(yaml);
  return status;
}

/* ---- truth ----------------------------------------------------------------------------------------------- */

static enum status add_truth(MPI_Comm comm, const struct work *w, const struct twin_state *state,
                             struct twin_book *book) {
  double sum[TWIN_MATERIALS + 1] = {0}, all = (double)(w->scan.rows * w->cell.n * w->cell.n);
  double beyond = (double)(w->scan.rows * w->scan.columns * w->scan.columns) - all,
         v3     = pow(w->scan.voxel_um, 3);
  int64_t n     = w->scan.rows * (TWIN_MATERIALS + 1);
  for (int64_t at = 0; at < n; at += 1 << 20) /* each row is one rank's: the sum adds zeros */
    MPI_Allreduce(MPI_IN_PLACE, w->row_truth + at, (int)(n - at < 1 << 20 ? n - at : 1 << 20),
                  MPI_DOUBLE, MPI_SUM, comm);
  for (int64_t i = 0; i < n; i++) sum[i % (TWIN_MATERIALS + 1)] += w->row_truth[i];
  struct twin_surface surface;
  TRY_ALL(comm, twin_cell_surface(&w->cell, &surface));
  double whole = all + beyond, solid = sum[TWIN_NMC] + sum[TWIN_STEEL],
         disc = PI * w->cell.radius_um * w->cell.radius_um;
  const struct {
    const char *name, *unit;
    double value;
  } row[] = {
      {"Ra_um",                    "um",  surface.Ra_um                                             },
      {"Rq_um",                    "um",  surface.Rq_um                                             },
      {"interface_z_um",           "um",  w->cell.interface_um + surface.mean_um                    },
      {"phase_fraction_0",         "",    (sum[TWIN_VOID] + beyond) / whole                         },
      {"phase_fraction_1",         "",    sum[TWIN_LI] / whole                                      },
      {"phase_fraction_2",         "",    sum[TWIN_SPE] / whole                                     },
      {"phase_fraction_3",         "",    solid / whole                                             },
      {"lithium_volume_um3",       "um3", sum[TWIN_LI] * v3                                         },
      {"envelope_volume_um3",      "um3", surface.envelope_um3                                      },
      {"pore_volume_um3",          "um3", sum[TWIN_MATERIALS] * v3                                  },
      {"subsurface_pore_fraction", "",    sum[TWIN_MATERIALS] / (sum[TWIN_MATERIALS] + sum[TWIN_LI])},
      {"interphase_pore_percent",  "%",   100 * sum[TWIN_MATERIALS] * v3 / (disc * 65)              },
      {"dendrites",                "",    (double)w->cell.dendrites                                 },
      {"shift_z_um",               "um",  w->cell.drift_um[0]                                       },
      {"shift_y_um",               "um",  w->cell.drift_um[1]                                       },
      {"shift_x_um",               "um",  w->cell.drift_um[2]                                       },
      {"turn_deg",                 "deg", w->cell.turn_rad * DEG_PER_RAD                            },
      {"centre_px",                "px",  0.5 * (double)(w->scan.columns - 1) + w->params->axis_px  },
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++)
    TRY_ALL(comm, twin_truth_add(book, state, row[i].name, row[i].value, row[i].unit));
  return STATUS_OK;
}

int64_t twin_ct_bytes(MPI_Comm comm, const struct twin_params *params, int64_t *rounds) {
  struct twin_scan scan = twin_scan_of(params);
  struct twin_cell cell;
  int size;
  MPI_Comm_size(comm, &size);
  twin_cell_layers(params, &cell);
  int64_t each = TWIN_LANES - (params->phase_um2 > 0 ? 2 : 0), rows = (scan.rows + size - 1) / size;
  int64_t frames = scan.projections + 2 * (scan.flats + scan.darks);
  *rounds        = (rows + each - 1) / each;
  return 4 * cell.n * cell.n * (3 * TWIN_LANES + 1) +
         4 * scan.projections * scan.columns * TWIN_LANES + 2 * frames * each * scan.columns;
}

enum status twin_ct_write(MPI_Comm comm, const struct stage_common *common,
                          const struct twin_params *params, const struct twin_state *state,
                          struct twin_book *book) {
  struct work w = {0};
  char name[128], path[STORE_NAME_BYTES];
  snprintf(name, sizeof name, "raw/%s_ct.nxs", state->name);
  twin_path(book, name, path, sizeof path);
  enum status status = AGREE(comm, work_make(comm, params, state, &w));
  if (status == STATUS_OK) status = write_scan(comm, common, path, &w);
  if (status == STATUS_OK) status = add_truth(comm, &w, state, book);
  if (status == STATUS_OK)
    status = AGREE(comm, twin_text_add(&book->state[w.state], "    tomogram: %s\n", name));
  work_free(&w);
  return status;
}
