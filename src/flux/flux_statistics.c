/* Statistics of a flux map. Magnitudes go into bins of 1/256 of an octave (the upper bits of the float), with
 * their sum beside the count, so percentiles are good to 0.3 % and the same on any number of ranks; slices are
 * taken some at a time, so the bins of a rank stay below 10 MB whatever the volume. */
#include "flux_statistics.h"
#include <math.h>
#include <string.h>

const double flux_percentile[FLUX_PERCENTILES] = {5, 25, 50, 75, 95};

/* Octaves from 2^LOWEST on; what is smaller lies in the first bin, what is larger in the last. */
enum { FINE_BITS = 8, OCTAVES = 56, LOWEST = -40, BINS = OCTAVES << FINE_BITS, BATCH = 32 };

struct bins {
  int64_t count[BINS];
  double sum[BINS];
  double moment[3]; /* number, sum, sum of squares */
};

static int bin_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const int bin = (int)(bits >> (23 - FINE_BITS)) - ((127 + LOWEST) << FINE_BITS);
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
}
static double edge_of(int bin) {
  const double whole = ldexp(1, LOWEST + (bin >> FINE_BITS));
  return bin ? whole * (1 + (double)(bin & ((1 << FINE_BITS) - 1)) / (1 << FINE_BITS)) : 0;
}
static void bins_add(struct bins *to, float value) {
  const int bin  = bin_of(value);
  const double v = (double)value;
  to->count[bin]++;
  to->sum[bin] += v;
  to->moment[0]++;
  to->moment[1] += v;
  to->moment[2] += v * v;
}
static void bins_merge(struct bins *to, const struct bins *from) {
  for (int b = 0; b < BINS; b++) {
    to->count[b] += from->count[b];
    to->sum[b] += from->sum[b];
  }
  for (int m = 0; m < 3; m++) to->moment[m] += from->moment[m];
}
static double percentile_of(const struct bins *b, double percent) {
  const double rank = percent / 100 * b->moment[0];
  double below      = 0;
  for (int i = 0; i < BINS; i++) {
    const double n = (double)b->count[i];
    if (n > 0 && below + n >= rank) {
      const double low = edge_of(i), high = i + 1 < BINS ? edge_of(i + 1) : low;
      return low + (high - low) * (rank - below) / n;
    }
    below += n;
  }
  return NAN;
}
static double hottest_of(const struct bins *b) {
  double left = 0.01 * b->moment[0], sum = 0;
  for (int i = BINS - 1; i >= 0 && left > 0; i--) {
    const double n = (double)b->count[i];
    if (!(n > 0)) continue;
    sum += n <= left ? b->sum[i] : b->sum[i] * left / n;
    left -= n;
  }
  return sum / b->moment[1];
}
static struct flux_spread spread_of(const struct bins *b) {
  struct flux_spread s = {
      .voxels = b->moment[0], .mean = NAN, .variation = NAN, .constrictivity = NAN, .hottest = NAN};
  for (int p = 0; p < FLUX_PERCENTILES; p++) s.percentile[p] = NAN;
  if (!(b->moment[0] > 0)) return s;
  s.mean = b->moment[1] / b->moment[0];
  if (!(b->moment[1] > 0)) return s;
  const double squares = b->moment[2] / b->moment[0], variance = squares - s.mean * s.mean;
  s.variation      = sqrt(variance > 0 ? variance : 0) / s.mean;
  s.constrictivity = s.mean * s.mean / squares;
  s.hottest        = hottest_of(b);
  for (int p = 0; p < FLUX_PERCENTILES; p++) s.percentile[p] = percentile_of(b, flux_percentile[p]);
  return s;
}

/* ---- slices of this rank ---- */

struct walk {
  const struct flux_state *state;
  int axis;
  int64_t first; /* slice of the whole at which the batch starts */
};
static const float *value_at(const struct grid_field *f, const int64_t at[3]) {
  return (const float *)f->data + grid_field_origin(f) + at[0] * f->row[0] + at[1] * f->row[1] +
         at[2];
}
/* Percolating voxels of one own slice: magnitude into bins, concentration into a sum. */
static void slice_add(const struct walk *w, int64_t here, struct bins *bins,
                      double *concentration) {
  const struct grid_field *c = &w->state->concentration;
  const int u = w->axis == 0 ? 1 : 0, v = w->axis == 2 ? 1 : 2;
  int64_t at[3];
  at[w->axis] = here;
  for (at[u] = 0; at[u] < c->mine.n[u]; at[u]++)
    for (at[v] = 0; at[v] < c->mine.n[v]; at[v]++) {
      const float value = *value_at(c, at);
      if (!isfinite(value)) continue;
      bins_add(bins, *value_at(&w->state->magnitude, at));
      *concentration += (double)value;
    }
}
/* Sum of the flux through one own layer of faces. */
static double face_sum(const struct walk *w, int64_t here) {
  const struct grid_field *q = &w->state->flux[w->axis];
  const int u = w->axis == 0 ? 1 : 0, v = w->axis == 2 ? 1 : 2;
  double sum = 0;
  int64_t at[3];
  at[w->axis] = here;
  for (at[u] = 0; at[u] < q->mine.n[u]; at[u]++)
    for (at[v] = 0; at[v] < q->mine.n[v]; at[v]++) sum += (double)*value_at(q, at);
  return sum;
}
static void reduce(MPI_Comm comm, struct bins *b, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    MPI_Allreduce(MPI_IN_PLACE, b[i].count, BINS, MPI_INT64_T, MPI_SUM, comm);
    MPI_Allreduce(MPI_IN_PLACE, b[i].sum, BINS, MPI_DOUBLE, MPI_SUM, comm);
    MPI_Allreduce(MPI_IN_PLACE, b[i].moment, 3, MPI_DOUBLE, MPI_SUM, comm);
  }
}
static void slices_find(MPI_Comm comm, struct walk *w, struct bins *batch, struct bins *whole,
                        struct flux_statistics *s) {
  const struct grid_box *mine = &w->state->concentration.mine;
  const bool empty            = grid_box_voxels(mine) == 0;
  for (w->first = 0; w->first < s->slices; w->first += BATCH) {
    const int64_t n = s->slices - w->first < BATCH ? s->slices - w->first : BATCH;
    memset(batch, 0, (size_t)BATCH * sizeof *batch);
    for (int64_t i = 0; i < n; i++) {
      const int64_t here = w->first + i - mine->start[w->axis];
      if (!empty && here >= 0 && here < mine->n[w->axis])
        slice_add(w, here, &batch[i], &s->concentration[w->first + i]);
    }
    reduce(comm, batch, n);
    for (int64_t i = 0; i < n; i++) {
      s->slice[w->first + i] = spread_of(&batch[i]);
      bins_merge(whole, &batch[i]);
    }
  }
}
static void faces_find(const struct walk *w, struct flux_statistics *s) {
  const struct grid_box *mine = &w->state->flux[w->axis].mine;
  if (grid_box_voxels(mine) == 0) return;
  for (int64_t here = 0; here < mine->n[w->axis]; here++)
    s->across[mine->start[w->axis] + here] += face_sum(w, here);
}
/* The axial flux of a voxel is the mean of its two faces', and blocked voxels' faces carry none, so its sum over
 * voxels comes from the layers of faces. */
static void finish(struct flux_statistics *s, const struct bins *whole, double area_vox) {
  double mean = 0, along = 0;
  s->whole = spread_of(whole);
  for (int64_t k = 0; k <= s->slices; k++) mean += s->across[k] / (double)(s->slices + 1);
  for (int64_t k = 0; k <= s->slices; k++)
    s->uneven = fmax(s->uneven, fabs(s->across[k] / mean - 1));
  for (int64_t k = 0; k < s->slices; k++) along += (s->across[k] + s->across[k + 1]) / 2;
  for (int64_t k = 0; k <= s->slices; k++) s->across[k] /= area_vox;
  for (int64_t k = 0; k < s->slices; k++) s->concentration[k] /= s->slice[k].voxels;
  s->path = s->whole.mean * s->whole.voxels / along;
}
static enum status arrays_make(struct flux_statistics *s, struct bins **batch) {
  TRY(fault_here("flux.statistics"));
  TRY(memory_make(s->slices, sizeof *s->slice, "slices of flux", &s->slice));
  TRY(memory_make(s->slices + 1, sizeof *s->across, "slices of flux", &s->across));
  TRY(memory_make(s->slices, sizeof *s->concentration, "slices of flux", &s->concentration));
  return memory_make(BATCH + 1, sizeof **batch, "bins of flux", batch);
}
enum status flux_statistics_find(MPI_Comm comm, const struct flux_state *state, int axis,
                                 double area_vox, struct flux_statistics *s) {
  struct walk w      = {.state = state, .axis = axis};
  struct bins *batch = NULL;
  *s                 = (struct flux_statistics){.slices = state->concentration.plan.n[axis]};
  enum status status = AGREE(comm, arrays_make(s, &batch));
  if (status == STATUS_OK) {
    slices_find(comm, &w, batch, &batch[BATCH], s);
    faces_find(&w, s);
    MPI_Allreduce(MPI_IN_PLACE, s->across, (int)s->slices + 1, MPI_DOUBLE, MPI_SUM, comm);
    MPI_Allreduce(MPI_IN_PLACE, s->concentration, (int)s->slices, MPI_DOUBLE, MPI_SUM, comm);
    finish(s, &batch[BATCH], area_vox);
  }
  memory_free(batch);
  if (status != STATUS_OK) flux_statistics_free(s);
  return status;
}
void flux_statistics_free(struct flux_statistics *s) {
  memory_free(s->slice);
  memory_free(s->across);
  memory_free(s->concentration);
  *s = (struct flux_statistics){0};
}

/* ---- the table ---- */

enum { COLUMNS = 8 + FLUX_PERCENTILES };
static void row_fill(const struct flux_statistics *s, int64_t k, double slice_um,
                     double row[COLUMNS]) {
  const struct flux_spread *p = &s->slice[k];
  const double fixed[8]       = {((double)k + 0.5) * slice_um,
                                 p->voxels,
                                 s->across[k],
                                 s->concentration[k],
                                 p->mean,
                                 p->variation,
                                 p->constrictivity,
                                 p->hottest};
  memcpy(row, fixed, sizeof fixed);
  memcpy(row + 8, p->percentile, sizeof p->percentile);
}
enum status flux_statistics_write(MPI_Comm comm, const struct flux_statistics *s, double slice_um,
                                  struct store_output *output) {
  static const char *const name[COLUMNS] = {
      "position",       "voxels",         "flux_across",  "concentration", "flux_mean",
      "flux_variation", "constrictivity", "flux_hottest", "flux_p5",       "flux_p25",
      "flux_p50",       "flux_p75",       "flux_p95"};
  static const char *const unit[COLUMNS] = {"um", "", "", "", "", "", "", "", "", "", "", "", ""};
  const double *column[COLUMNS];
  double *table = NULL, row[COLUMNS];
  TRY_ALL(comm, memory_make(COLUMNS * s->slices, sizeof *table, "table of slices", &table));
  for (int64_t k = 0; k < s->slices; k++) {
    row_fill(s, k, slice_um, row);
    for (int c = 0; c < COLUMNS; c++) table[c * s->slices + k] = row[c];
  }
  for (int c = 0; c < COLUMNS; c++) column[c] = table + c * s->slices;
  const enum status status =
      store_table(comm, output, "flux_slices", name, unit, COLUMNS, column, s->slices);
  memory_free(table);
  return status;
}
