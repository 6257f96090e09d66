/* Layers from labels, column by column.
 * Top of the lithium: the longest run of lithium in the column, grown upwards over pores (gaps of anything but membrane,
 * shorter than gap_um); where there is a height map of the surface, its value. Edges of the can have the lithium's grey
 * too, here and there on their way up: columns whose top lies further from the median top than the cathode is thick, or
 * whose longest run is shorter than half of the median one, are none of the cell.
 * Cathode: the composite is particles with membrane between them, so single columns do not tell where it begins. In
 * blocks of columns the share of particles in each slice is counted from the lithium up; the face is where it first
 * reaches a third of its median over the cathode's thickness, straight between slices: whole particles pack thinner at a
 * face, and spheres whose middles lie behind it fill 0.39 there when they fill 0.63 within, so half of that is where the
 * face is. Counts are integers, summed over ranks, so the faces do not depend on how many there are. */
#include "correlate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double gap_um = 20;
enum { BLOCK = 32 };

void correlate_columns_free(struct correlate_columns *columns) {
  memory_free(columns->top);
  memory_free(columns->face);
  memory_free(columns->pores);
  memory_free(columns->touch);
  memory_free(columns->flux);
  memset(columns, 0, sizeof *columns);
}

/* A column of labels: value at z is at[z * stride]. */
struct column {
  const uint8_t *at;
  int64_t nz, stride;
};
static int label(const struct column *c, int64_t z) { return c->at[z * c->stride]; }

/* Behind the topmost slice of the bulk of lithium, and its longest run; -1: none. */
static int64_t top_of(const struct column *c, int li, int spe, int64_t gap, int64_t *longest) {
  int64_t top = -1;
  *longest    = 0;
  for (int64_t z = 0, end; z < c->nz; z = end + 1) {
    for (end = z; end < c->nz && label(c, end) == li;) end++;
    if (end - z > *longest) *longest = end - z, top = end;
  }
  for (int64_t z = top; top >= 0 && z < c->nz && z - top <= gap; z++) {
    if (label(c, z) == spe) break;
    if (label(c, z) == li) top = z + 1;
  }
  return top;
}

struct make {
  const struct correlate_params *params;
  const struct grid_field *labels;
  const float *height;
  struct correlate_columns *to;
  int64_t blocks_y, blocks_x, nz, gap;
  int64_t median_top, median_run; /* over all columns with lithium, slices; -1: none has any */
  int64_t *particles; /* [blocks][nz] */
  int64_t *cells;     /* [blocks]: columns with lithium */
  int64_t *tops;      /* [blocks]: sum of their tops, slices */
};

static struct column column_of(const struct make *m, int64_t y, int64_t x) {
  const struct grid_field *f = m->labels;
  return (struct column){(const uint8_t *)f->data + grid_field_origin(f) + y * f->row[1] + x,
                         m->nz, f->row[0]};
}

static int64_t block_of(const struct make *m, int64_t y, int64_t x) {
  return (m->to->y0 + y) / BLOCK * m->blocks_x + x / BLOCK;
}

static int64_t look_for_top(const struct make *m, int64_t y, int64_t x, int64_t *run) {
  struct column c = column_of(m, y, x);
  return top_of(&c, (int)m->params->li, (int)m->params->spe, m->gap, run);
}

/* Of a histogram; -1: empty. */
static int64_t median_of(const int64_t *count, int64_t n) {
  int64_t all = 0, below = 0;
  for (int64_t i = 0; i < n; i++) all += count[i];
  for (int64_t i = 0; i < n && all > 0; i++) {
    below += count[i];
    if (2 * below >= all) return i;
  }
  return -1;
}

static enum status find_medians(MPI_Comm comm, struct make *m) {
  int64_t *count = NULL;
  int n;
  TRY_ALL(comm, base_int_from(2 * (m->nz + 1), "slices", &n));
  TRY_ALL(comm, memory_make(n, sizeof *count, "tops of columns", &count));
  int64_t *runs = count + m->nz + 1;
  for (int64_t y = 0; y < m->to->ny_here; y++)
    for (int64_t x = 0; x < m->to->nx; x++) {
      int64_t run, top = look_for_top(m, y, x, &run);
      if (top >= 0) count[top]++, runs[run]++;
    }
  MPI_Allreduce(MPI_IN_PLACE, count, n, MPI_INT64_T, MPI_SUM, comm);
  m->median_top = median_of(count, m->nz + 1);
  m->median_run = median_of(runs, m->nz + 1);
  memory_free(count);
  return STATUS_OK;
}

static void look_at_column(struct make *m, int64_t y, int64_t x) {
  struct correlate_columns *to     = m->to;
  const struct correlate_params *p = m->params;
  struct column c                  = column_of(m, y, x);
  int64_t at = y * to->nx + x, run, top = look_for_top(m, y, x, &run);
  double dz_um = to->voxel_um[0];
  to->top[at] = to->face[at] = to->pores[at] = to->touch[at] = NAN;
  if (top < 0 || 2 * run < m->median_run) return;
  if (fabs((double)(top - m->median_top)) * dz_um > p->cathode_um) return;
  double top_um =
      m->height && isfinite(m->height[at]) ? (double)m->height[at] : (double)top * dz_um;
  int64_t deep = (int64_t)ceil(p->pores_depth_um / dz_um), others = 0;
  for (int64_t z = top - 1; z >= 0 && z >= top - deep; z--)
    others += label(&c, z) == 0 && p->li != 0;
  to->top[at]   = (float)top_um;
  to->pores[at] = (float)((double)others * dz_um);
  to->touch[at] = top < m->nz && (label(&c, top) == p->spe ||
                                  (top + 1 < m->nz && label(&c, top + 1) == p->spe));
  int64_t block = block_of(m, y, x);
  m->cells[block]++;
  m->tops[block] += top;
  for (int64_t z = top; z < m->nz; z++)
    m->particles[block * m->nz + z] += label(&c, z) == p->nmc;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Height of the cathode's face in a block, um; NaN: no cathode. */
static double face_of(const struct make *m, int64_t block, double *share) {
  double cells = (double)m->cells[block], dz_um = m->to->voxel_um[0];
  if (!(cells > 0)) return (double)NAN;
  const int64_t *count = m->particles + block * m->nz;
  int64_t from = m->tops[block] / m->cells[block], first = -1, n = 0,
          thick = (int64_t)(0.8 * m->params->cathode_um / dz_um);
  for (int64_t z = from; z + 1 < m->nz && first < 0; z++)
    if ((double)count[z] > 0.2 * cells && (double)count[z + 1] > 0.2 * cells) first = z;
  if (first < 0) return (double)NAN;
  for (int64_t z = first + 1; z < m->nz && n < thick; z++) share[n++] = (double)count[z] / cells;
  if (n == 0) return (double)NAN;
  qsort(share, (size_t)n, sizeof *share, by_value);
  double third = share[n / 2] / 3;
  for (int64_t z = first > from ? first - 1 : first; z + 1 < m->nz; z++) {
    double low = (double)count[z] / cells, high = (double)count[z + 1] / cells;
    if (low >= third) return ((double)z + 0.5) * dz_um;
    if (high >= third) return ((double)z + 0.5 + (third - low) / (high - low)) * dz_um;
  }
  return (double)NAN;
}

static enum status set_faces(struct make *m) {
  struct correlate_columns *to = m->to;
  double *share, *face;
  TRY(memory_make(m->nz, sizeof *share, "a profile of particles", &share));
  enum status status =
      memory_make(m->blocks_y * m->blocks_x, sizeof *face, "faces of the cathode", &face);
  if (status == STATUS_OK) {
    for (int64_t b = 0; b < m->blocks_y * m->blocks_x; b++) face[b] = face_of(m, b, share);
    for (int64_t y = 0; y < to->ny_here; y++)
      for (int64_t x = 0; x < to->nx; x++)
        if (isfinite(to->top[y * to->nx + x]))
          to->face[y * to->nx + x] = (float)face[block_of(m, y, x)];
  }
  memory_free(face);
  memory_free(share);
  return status;
}

static enum status room_make(struct make *m) {
  struct correlate_columns *to = m->to;
  int64_t columns = to->ny_here * to->nx, blocks = m->blocks_y * m->blocks_x;
  TRY(fault_here("correlate.columns"));
  TRY(memory_make(columns, sizeof *to->top, "heights of layers", &to->top));
  TRY(memory_make(columns, sizeof *to->face, "heights of layers", &to->face));
  TRY(memory_make(columns, sizeof *to->pores, "pores of columns", &to->pores));
  TRY(memory_make(columns, sizeof *to->touch, "contact of columns", &to->touch));
  return memory_make(blocks * (m->nz + 2), sizeof *m->particles, "particles of the cathode",
                     &m->particles);
}

static enum status sum_blocks(MPI_Comm comm, struct make *m) {
  int n;
  TRY_ALL(comm, base_int_from(m->blocks_y * m->blocks_x * (m->nz + 2), "blocks of columns", &n));
  MPI_Allreduce(MPI_IN_PLACE, m->particles, n, MPI_INT64_T, MPI_SUM, comm);
  return STATUS_OK;
}

enum status correlate_columns_make(MPI_Comm comm, const struct correlate_params *params,
                                   const struct grid_field *labels, const float *height,
                                   struct correlate_columns *columns) {
  const int64_t *n = labels->plan.n;
  struct make m    = {.params   = params,
                      .labels   = labels,
                      .height   = height,
                      .to       = columns,
                      .blocks_y = (n[1] + BLOCK - 1) / BLOCK,
                      .blocks_x = (n[2] + BLOCK - 1) / BLOCK,
                      .nz       = n[0],
                      .gap      = (int64_t)ceil(gap_um / labels->voxel_um[0])};
  *columns = (struct correlate_columns){.ny      = n[1],
                                        .nx      = n[2],
                                        .y0      = labels->mine.start[1],
                                        .ny_here = labels->mine.n[0] ? labels->mine.n[1] : 0};
  memcpy(columns->voxel_um, labels->voxel_um, sizeof columns->voxel_um);
  enum status status = AGREE(comm, room_make(&m));
  if (status == STATUS_OK) status = find_medians(comm, &m);
  if (status == STATUS_OK) {
    m.cells = m.particles + m.blocks_y * m.blocks_x * m.nz;
    m.tops  = m.cells + m.blocks_y * m.blocks_x;
    for (int64_t y = 0; y < columns->ny_here; y++)
      for (int64_t x = 0; x < columns->nx; x++) look_at_column(&m, y, x);
    status = sum_blocks(comm, &m);
  }
  if (status == STATUS_OK) status = AGREE(comm, set_faces(&m));
  memory_free(m.particles);
  if (status != STATUS_OK) correlate_columns_free(columns);
  return status;
}

/* ---- whole maps --------------------------------------------------------------------------------------------- */

static enum status counts_of(MPI_Comm comm, const struct correlate_columns *c, int *count,
                             int *start, int size) {
  int mine, first;
  TRY_ALL(comm, base_int_from(c->ny_here * c->nx, "a map's part", &mine));
  TRY_ALL(comm, base_int_from(c->ny * c->nx, "a map", &first));
  first = (int)(c->y0 * c->nx);
  MPI_Allgather(&mine, 1, MPI_INT, count, 1, MPI_INT, comm);
  MPI_Allgather(&first, 1, MPI_INT, start, 1, MPI_INT, comm);
  for (int r = 0; r < size; r++)
    if (!count[r]) start[r] = 0;
  return STATUS_OK;
}

enum status correlate_columns_gather(MPI_Comm comm, const struct correlate_columns *columns,
                                     const float *mine, double *full) {
  int size, *count;
  float *whole = NULL;
  MPI_Comm_size(comm, &size);
  TRY_ALL(comm, memory_make(2 * size, sizeof *count, "shares of a map", &count));
  enum status status =
      AGREE(comm, memory_make(columns->ny * columns->nx, sizeof *whole, "a map", &whole));
  if (status == STATUS_OK) status = counts_of(comm, columns, count, count + size, size);
  if (status == STATUS_OK) {
    MPI_Allgatherv(mine, count[0] >= 0 ? (int)(columns->ny_here * columns->nx) : 0, MPI_FLOAT,
                   whole, count, count + size, MPI_FLOAT, comm);
    for (int64_t i = 0; i < columns->ny * columns->nx; i++) full[i] = (double)whole[i];
  }
  memory_free(whole);
  memory_free(count);
  return status;
}

/* ---- histograms of heights ------------------------------------------------------------------------------------ */

static const double height_step_um = 0.05;

void correlate_heights_free(struct correlate_heights *heights) {
  memory_free(heights->top);
  memset(heights, 0, sizeof *heights);
}

static void count_heights(const struct correlate_columns *c, double radius_mm,
                          struct correlate_heights *h, int64_t *pores) {
  for (int64_t y = 0; y < c->ny_here; y++)
    for (int64_t x = 0; x < c->nx; x++) {
      int64_t at   = y * c->nx + x;
      double dy    = ((double)(c->y0 + y) - 0.5 * (double)(c->ny - 1)) * c->voxel_um[1],
             dx    = ((double)x - 0.5 * (double)(c->nx - 1)) * c->voxel_um[2];
      int64_t top  = isfinite(c->top[at]) ? (int64_t)((double)c->top[at] / h->step_um) : -1,
              face = isfinite(c->face[at]) ? (int64_t)((double)c->face[at] / h->step_um) : -1;
      if (top < 0 || face < 0 || top >= h->bins || face >= h->bins) continue;
      if (radius_mm > 0 && dy * dy + dx * dx > 1e6 * radius_mm * radius_mm) continue;
      h->columns++;
      h->top[top]++;
      h->face[face]++;
      *pores += llround(1000 * (double)c->pores[at]); /* nm, so that sums are whole */
    }
}

enum status correlate_heights_make(MPI_Comm comm, const struct correlate_columns *columns,
                                   double radius_mm, struct correlate_heights *heights) {
  int64_t most_um = 0, pores = 0;
  int bins;
  for (int64_t i = 0; i < columns->ny_here * columns->nx; i++) {
    if (isfinite(columns->face[i]) && (int64_t)columns->face[i] > most_um)
      most_um = (int64_t)columns->face[i];
    if (isfinite(columns->top[i]) && (int64_t)columns->top[i] > most_um)
      most_um = (int64_t)columns->top[i];
  }
  MPI_Allreduce(MPI_IN_PLACE, &most_um, 1, MPI_INT64_T, MPI_MAX, comm);
  *heights = (struct correlate_heights){.step_um = height_step_um,
                                        .bins = (int64_t)((double)(most_um + 2) / height_step_um)};
  TRY_ALL(comm, base_int_from(2 * heights->bins, "a histogram of heights", &bins));
  TRY_ALL(comm,
          memory_make(bins, sizeof *heights->top, "a histogram of heights", &heights->top));
  heights->face = heights->top + heights->bins;
  count_heights(columns, radius_mm, heights, &pores);
  MPI_Allreduce(MPI_IN_PLACE, heights->top, bins, MPI_INT64_T, MPI_SUM, comm);
  MPI_Allreduce(MPI_IN_PLACE, &heights->columns, 1, MPI_INT64_T, MPI_SUM, comm);
  MPI_Allreduce(MPI_IN_PLACE, &pores, 1, MPI_INT64_T, MPI_SUM, comm);
  heights->pores_um = heights->columns ? 1e-3 * (double)pores / (double)heights->columns : 0;
  return STATUS_OK;
}
