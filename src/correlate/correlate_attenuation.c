/* Attenuation of the components in a state, from the grey values of its own tomogram: means over the voxels of lithium and
 * of membrane whose neighbours are alike and over all of the cathode's layer, clear of its faces, in eight strips of at
 * most 32 rows. The error is that of the mean of the strips, and a share for the edges' blur: made cells come out up to
 * 1.8 % too low. Sums are exact, so the rank count changes nothing. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

enum {
  STRIPS      = 8,
  ROWS        = CORRELATE_ROWS,
  ROWS_MOST   = 32,
  CLEAR       = 2, /* voxels */
  COUNT_LEAST = 32
};
static const double unsure = 0.02; /* share of the value */

/* Per mm at 115 keV, where no tomogram tells. */
static const double table_per_mm[CORRELATE_C] = {0.0067, 0.0267, 0.082};

void correlate_attenuation_tables(struct correlate_state *state) {
  for (int c = 0; c < CORRELATE_C; c++)
    state->mu_per_mm[c] = table_per_mm[c], state->mu_sigma[c] = (double)NAN;
}

enum { SUM, COUNT };
struct strips {
  struct exact_sum of[2 * CORRELATE_C * STRIPS];
};
static struct exact_sum *sum_of(struct strips *s, int what, int component, int strip) {
  return &s->of[(what * CORRELATE_C + component) * STRIPS + strip];
}

/* Which component a voxel is of, far from all faces; -1: none. at: its label. */
static int component_of(const struct correlate_work *w, const struct grid_field *labels,
                        const uint8_t *at, int64_t z, double top_um, double face_um) {
  const struct correlate_params *p = w->params;
  double z_um = ((double)z + 0.5) * w->voxel_um[0], off_um = CLEAR * w->voxel_um[0];
  int64_t up = CLEAR * labels->row[0];
  if (z_um > face_um + off_um && z_um < face_um + p->cathode_um - off_um) return CORRELATE_CATHODE;
  if (z < CLEAR || z + CLEAR >= labels->plan.n[0] || (*at != p->li && *at != p->spe)) return -1;
  if (at[-up] != *at || at[up] != *at || at[-CLEAR] != *at || at[CLEAR] != *at) return -1;
  if (*at == p->li && z_um < top_um - off_um) return CORRELATE_LI;
  if (*at == p->spe && z_um > top_um + off_um && z_um < face_um - off_um) return CORRELATE_SPE;
  return -1;
}

static void add_row(const struct correlate_work *w, const struct correlate_columns *c,
                    const struct grid_field *labels, int64_t y, const float *grey, int64_t step,
                    int strip, struct strips *s) {
  double radius_um = 500 * w->params->disc_mm,
         dy        = ((double)(c->y0 + y) - 0.5 * (double)(c->ny - 1)) * w->voxel_um[1];
  const uint8_t *label =
      (const uint8_t *)labels->data + grid_field_origin(labels) + y * labels->row[1];
  for (int64_t x = CLEAR; x < c->nx - CLEAR; x++) {
    double top = (double)c->top[y * c->nx + x], face = (double)c->face[y * c->nx + x],
           dx = ((double)x - 0.5 * (double)(c->nx - 1)) * w->voxel_um[2];
    if (!isfinite(top) || !isfinite(face) || (radius_um > 0 && hypot(dy, dx) > radius_um)) continue;
    for (int64_t z = 0; z < labels->plan.n[0]; z++) {
      int k   = component_of(w, labels, label + z * labels->row[0] + x, z, top, face);
      float v = grey[z * step + x];
      if (k < 0 || !isfinite(v)) continue;
      exact_add(sum_of(s, SUM, k, strip), (double)v);
      exact_add(sum_of(s, COUNT, k, strip), 1);
    }
  }
}

/* Rows low .. high - 1 of a strip, read by the ranks that hold their labels; the others join with nothing. */
static enum status add_some(const struct correlate_work *w, const struct correlate_columns *c,
                            const struct grid_field *labels, struct store_input *input, int64_t low,
                            int64_t high, int strip, float *grey, struct strips *s) {
  if (low < c->y0) low = c->y0;
  if (high > c->y0 + c->ny_here) high = c->y0 + c->ny_here;
  int64_t n              = high > low ? high - low : 0;
  const int64_t start[3] = {0, n ? low : 0, 0}, here[3] = {n ? w->n_ct[0] : 0, n, n ? c->nx : 0};
  TRY(store_read_box(w->job->comm, input, start, here, GRID_F32, false, grey));
  for (int64_t i = 0; i < n; i++)
    add_row(w, c, labels, low + i - c->y0, grey + i * c->nx, n * c->nx, strip, s);
  return STATUS_OK;
}

/* The middle rows of every strip, a few at a time. */
static enum status add_rows(const struct correlate_work *w, const struct correlate_columns *c,
                            const struct grid_field *labels, struct store_input *input,
                            struct strips *s) {
  float *grey;
  TRY_ALL(w->job->comm,
          memory_make(w->n_ct[0] * ROWS * c->nx, sizeof *grey, "rows of a volume", &grey));
  enum status status = STATUS_OK;
  for (int strip = 0; strip < STRIPS; strip++) {
    int64_t low = strip * c->ny / STRIPS, high = (strip + 1) * c->ny / STRIPS;
    if (high - low > ROWS_MOST) low += (high - low - ROWS_MOST) / 2, high = low + ROWS_MOST;
    for (int64_t y = low; y < high && status == STATUS_OK; y += ROWS)
      status = add_some(w, c, labels, input, y, y + ROWS < high ? y + ROWS : high, strip, grey, s);
  }
  memory_free(grey);
  return status;
}

/* What a component's strips say; the table's where fewer than half of them have voxels. */
static void evaluate(struct strips *s, int k, struct correlate_state *state) {
  double mean[STRIPS], all = 0, square = 0;
  int n = 0;
  for (int i = 0; i < STRIPS; i++) {
    double count = exact_value(sum_of(s, COUNT, k, i));
    if (count < COUNT_LEAST) continue;
    mean[n] = exact_value(sum_of(s, SUM, k, i)) / count;
    all += mean[n++];
  }
  if (2 * n < STRIPS || !(all > 0)) return;
  all /= n;
  for (int i = 0; i < n; i++) square += (mean[i] - all) * (mean[i] - all);
  state->mu_per_mm[k] = all;
  state->mu_sigma[k]  = hypot(sqrt(square / (n - 1) / n), unsure * all);
}

static enum status sums_make(struct strips **s) {
  TRY(fault_here("correlate.attenuation"));
  return memory_make(1, sizeof **s, "greys of components", s);
}

enum status correlate_attenuation_read(struct correlate_work *w, struct correlate_state *state,
                                       const struct grid_field *labels) {
  MPI_Comm comm = w->job->comm;
  char name[STORE_NAME_BYTES];
  struct store_input *input;
  struct strips *s = NULL;
  int there        = strcmp(w->params->attenuation, "measured") == 0 &&
              stage_bundle_find(state->bundle, "volume", false, name, sizeof name) != NULL;
  MPI_Bcast(&there, 1, MPI_INT, 0, comm);
  if (!there) return STATUS_OK;
  TRY(store_open(comm, name, "volume", 3, &input));
  const struct store_info *info = store_info(input);
  bool fits = strcmp(info->unit, "1/mm") == 0 && memcmp(info->n, w->n_ct, sizeof w->n_ct) == 0;
  enum status status = AGREE(comm, sums_make(&s));
  if (status == STATUS_OK && fits) status = add_rows(w, &state->columns, labels, input, s);
  if (status == STATUS_OK && fits) status = exact_allreduce(comm, s->of, 2 * CORRELATE_C * STRIPS);
  for (int k = 0; k < CORRELATE_C && fits && status == STATUS_OK; k++) evaluate(s, k, state);
  memory_free(s);
  store_close(&input);
  return status;
}
