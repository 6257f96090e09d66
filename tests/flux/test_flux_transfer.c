/* A pass over the voxels leaves each box the sum of its residuals, at all borders. np: 1 2 3 5 8 */
#include "flux_inner.h"
#include "flux_random.h"

/* Of voxel p as the potential stands, with what the halo shows. */
static double residual_at(const struct flux_fine *f, int64_t p) {
  const struct flux_view *v = &f->view;
  const int64_t step[SIDES] = {-v->plane, v->plane, -v->row, v->row, -1, 1};
  double sum                = v->rhs ? (double)v->rhs[p] : 0;
  if (v->uniform) sum -= (f->code[p] & CODE_MASK) * (double)v->x[p];
  for (int s = 0; s < SIDES; s++) {
    const int64_t q = p + step[s];
    if (v->uniform)
      sum += (double)v->x[q];
    else if (f->code[q] & CODE_MASK)
      sum += flux_fine_conductance(f, f->code[p], f->code[q], s / 2) *
             ((double)v->x[q] - (double)v->x[p]);
  }
  return sum;
}
static void boxes_compare(const struct flux_fine *f) {
  const struct flux_view *v = &f->view;
  double *sum               = calloc((size_t)f->box_cells, sizeof *sum);
  EACH_VOXEL(v, p) {
    const int64_t i = v->n[2] - (end_ - p);
    sum[k_ / 2 * v->box_plane + j_ / 2 * v->box_row + i / 2] += residual_at(f, p);
  }
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t b = k * v->box_plane + j * v->box_row + i;
        if (f->box_node[b] >= 0) CHECK_NEAR((double)f->box[b], sum[b], 2e-5);
      }
  free(sum);
}
static void passes(MPI_Comm comm, struct random_case *c) {
  struct grid_plan plan     = {0};
  struct grid_field codes   = {0};
  struct flux_fine f        = {0};
  struct flux_graph graph   = {0};
  struct flux_answer answer = {0};
  uint64_t seed             = 5;
  CHECK_OK(flux_plan_make(comm, c->n, &plan));
  CHECK_OK(random_field(comm, c, &plan, &codes));
  CHECK_OK(flux_fine_make(comm, &c->problem, &codes, &f));
  CHECK_OK(flux_boxes_graph(comm, &c->problem, &f, &answer, &graph));
  CHECK(answer.percolating[1] + answer.percolating[2] > 0, "nothing conducts");
  f.view.rhs                    = f.source;
  EACH_VOXEL(&f.view, p) f.x[p] = (float)(random_unit(&seed) - 0.5);
  for (int half_sweeps = 1; half_sweeps <= 4; half_sweeps++) {
    flux_transfer_pass(&f, false, half_sweeps, half_sweeps & 1);
    flux_transfer_finish(&f);
    boxes_compare(&f);
  }
  flux_graph_free(&graph);
  flux_fine_free(&f);
  grid_field_free(&codes);
  grid_plan_free(&plan);
}
static void passes_over(MPI_Comm comm, enum flux_kind kind, const int64_t n[3], bool periodic,
                        bool middles) {
  for (int conductances = 1; conductances <= 2; conductances++) {
    uint64_t seed        = (uint64_t)n[0];
    struct random_case c = {
        .n       = {n[0],                              n[1], n[2]},
        .problem = { .kind        = kind,
                    .gradient    = {1, 0.3, 0},
                    .spacing     = {1, 1, 1},
                    .diffusivity = {0, 1, conductances == 2 ? 0.3 : 1},
                    .volume_vox  = n[0] * n[1] * n[2],
                    .periodic    = periodic,
                    .middles     = middles}
    };
    c.code = malloc((size_t)c.problem.volume_vox);
    random_codes(&c, &seed, 0.7, 2, 3);
    passes(comm, &c);
    random_free(&c);
  }
}
TEST(through_even_edges) {
  passes_over(comm, FLUX_THROUGH, (int64_t[3]){36, 22, 34}, false, false);
}
TEST(through_odd_edges) { passes_over(comm, FLUX_THROUGH, (int64_t[3]){37, 21, 35}, false, false); }
TEST(through_odd_periodic_edges) {
  passes_over(comm, FLUX_THROUGH, (int64_t[3]){37, 21, 35}, true, false);
}
TEST(between_middles) { passes_over(comm, FLUX_THROUGH, (int64_t[3]){37, 21, 34}, false, true); }
TEST(an_even_cell) { passes_over(comm, FLUX_CELL, (int64_t[3]){36, 22, 34}, true, false); }
TEST(an_odd_cell) { passes_over(comm, FLUX_CELL, (int64_t[3]){37, 21, 35}, true, false); }
TEST(a_thin_cell) { passes_over(comm, FLUX_CELL, (int64_t[3]){37, 1, 35}, true, false); }
TEST(an_electrode) { passes_over(comm, FLUX_ELECTRODE, (int64_t[3]){37, 21, 34}, false, false); }
