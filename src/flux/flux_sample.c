/* Memory of a solution, forecast from samples. How much the graphs take depends on how many boxes of 2 x 2 x 2 voxels
 * come apart, which no header tells: 10 bytes per voxel of the volume for coarse pores, 45 for sites drawn one by one.
 * So the levels are made for a few cubes of the labels, as for a periodic cell, which leaves out nothing that conducts,
 * and what they hold is counted. Masks and discs, which only block, are not looked at. */
#include "flux_inner.h"
#include "flux_study.h"
#include <math.h>
#include <string.h>

enum { EDGE = 64, SAMPLES = 8 };

/* The i-th of up to 2 x 2 x 2 cubes spread over a box; false: there are fewer. */
static bool place(const struct grid_box *box, int i, struct grid_box *sample) {
  for (int a = 0; a < 3; a++) {
    const int64_t n = box->n[a], many = n >= 2 * EDGE ? 2 : 1, at = i >> (2 - a) & 1;
    if (at >= many) return false;
    sample->n[a]     = n < EDGE ? n : EDGE;
    sample->start[a] = box->start[a] + ((2 * at + 1) * n / (2 * many) - sample->n[a] / 2) / 2 * 2;
  }
  return true;
}
/* What does not hang on the labels and is large about a cube: voxels, boxes and buffers with their halos. */
static int64_t of_size(const struct flux_fine *f) {
  int64_t sides = 0;
  for (int s = 0; s < SIDES; s++) sides += f->side[s].nu * f->side[s].nv;
  return (int64_t)(sizeof(float) + 1) * f->cells +
         (int64_t)(sizeof(float) + sizeof(int32_t)) * f->box_cells +
         2 * (int64_t)sizeof(int64_t) * sides;
}
static void held(const struct flux_levels *l, const struct flux_answer *answer, int64_t before,
                 struct flux_sample *sample) {
  double nodes         = 0;
  const int64_t n      = l->factor ? l->graph[l->graphs - 1].n : 0;
  const int64_t at_end = memory_now_bytes() - (int64_t)sizeof(double) * n * n;
  const int64_t most   = memory_peak_bytes() > memory_now_bytes() ? memory_peak_bytes() : at_end;
  const double bytes   = (double)(most - before - of_size(&l->fine));
  const double voxels  = (double)grid_box_voxels(&l->fine.mine);
  for (int g = 0; g < l->graphs; g++) nodes += l->graph[g].real;
  sample->bytes_per_voxel = bytes / voxels;
  sample->bytes_per_node  = nodes > 0 ? bytes / nodes : 0;
  sample->nodes           = l->graph[0].real / voxels;
  for (int c = 1; c < FLUX_CODES; c++) sample->open += (double)answer->voxels[c] / voxels;
}
static enum status levels_count(const struct flux_task *t, const struct grid_field *codes,
                                bool route, struct flux_sample *sample) {
  struct flux_levels *levels = NULL;
  struct flux_answer answer  = {0};
  struct flux_case problem;
  flux_case_of(t, 0, &problem);
  problem.kind        = FLUX_CELL;
  problem.middles     = false;
  problem.gradient[0] = 1;
  TRY(memory_make(1, sizeof *levels, "sample", &levels));
  const int64_t before = memory_now_bytes();
  memory_peak_reset();
  enum status s = flux_levels_make(MPI_COMM_SELF, &problem, codes, levels, &answer);
  if (s == STATUS_OK && route && answer.percolates) s = flux_route_make(MPI_COMM_SELF, levels);
  if (s == STATUS_OK) held(levels, &answer, before, sample);
  flux_levels_free(levels);
  memory_free(levels);
  return s;
}
/* One sample of this rank; all ranks read at once. */
static enum status one(const struct flux_task *t, struct store_input *input, bool has,
                       const struct grid_box *cube, bool route, struct flux_sample *sample) {
  MPI_Comm comm                 = t->job->comm;
  const struct store_info *info = store_info(input);
  const enum grid_type type     = info->type == GRID_U8 ? GRID_U8 : GRID_I32;
  const int64_t none[3]         = {0, 0, 0};
  struct grid_plan plan         = {0};
  struct grid_field from = {0}, codes = {0};
  struct flux_region region = {.box = *cube};
  int64_t domain_vox;
  enum status s = STATUS_OK;
  if (has) s = flux_plan_make(MPI_COMM_SELF, cube->n, &plan);
  if (has && s == STATUS_OK) s = grid_field_make(MPI_COMM_SELF, &plan, type, none, &from);
  s = AGREE(comm, s);
  if (s == STATUS_OK)
    s = store_read_box(comm, input, has ? cube->start : none, has ? cube->n : none, type, true,
                       from.data);
  if (has && s == STATUS_OK)
    s = flux_labels_code(MPI_COMM_SELF, &from, info->n, "", &region, &t->labels, &codes,
                         &domain_vox);
  if (has && s == STATUS_OK) s = levels_count(t, &codes, route, sample);
  grid_field_free(&from);
  grid_field_free(&codes);
  grid_plan_free(&plan);
  return AGREE(comm, s);
}
enum status flux_sample_find(const struct flux_task *t, struct store_input *input, bool route,
                             struct flux_sample *all) {
  MPI_Comm comm = t->job->comm;
  int rank, size;
  double sum[5] = {0};
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  *all = (struct flux_sample){0};
  for (int first = 0; first < SAMPLES; first += size) {
    struct grid_box cube = {
        {0, 0, 0},
        {1, 1, 1}
    };
    struct flux_sample sample = {0};
    const bool has = first + rank < SAMPLES && place(&t->region.box, first + rank, &cube);
    TRY(one(t, input, has, &cube, route, &sample));
    sum[0] += has;
    sum[1] += sample.bytes_per_voxel;
    sum[2] += sample.bytes_per_voxel * sample.bytes_per_voxel;
    sum[3] += sample.open;
    sum[4] += sample.nodes;
    all->bytes_per_node = fmax(all->bytes_per_node, sample.bytes_per_node);
  }
  MPI_Allreduce(MPI_IN_PLACE, sum, 5, MPI_DOUBLE, MPI_SUM, comm);
  MPI_Allreduce(MPI_IN_PLACE, &all->bytes_per_node, 1, MPI_DOUBLE, MPI_MAX, comm);
  /* the mean and twice its error by the samples' spread, since a rank's share may be worse than others */
  const double mean = sum[1] / sum[0], square = fmax(sum[2] / sum[0] - mean * mean, 0);
  all->bytes_per_voxel = mean + 2 * sqrt(square / sum[0]);
  all->open            = sum[3] / sum[0];
  all->nodes           = sum[4] / sum[0];
  return STATUS_OK;
}
double flux_sample_alone(const struct flux_sample *sample, const struct grid_box *box) {
  return 1.5 * fmin(ALONE_NODES * sample->bytes_per_node,
                    sample->bytes_per_voxel * (double)grid_box_voxels(box));
}
bool flux_sample_is_hard(const struct flux_sample *sample) {
  return sample->nodes > 0.2 * sample->open;
}
