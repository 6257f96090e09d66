/* Between the voxels and the first graph. A pass works with the halo as it was at its start (already
 * with the neighbours' corrections); afterwards the sums of boxes at the border are put right by what
 * the halo has changed, the residual being linear in it. Both exchanges go on while boxes and graph's vectors are
 * copied: corrections of the border's boxes are made first, their sums taken last. */
#include "flux_inner.h"
#include <string.h>

static int64_t box_of(const struct flux_fine *f, int s, int64_t u, int64_t w) {
  const struct flux_view *v = &f->view;
  const int64_t step[3]     = {v->box_plane, v->box_row, 1};
  const int a = s / 2, p = a == 0 ? 1 : 0, q = a == 2 ? 1 : 2;
  return (s % 2 ? f->boxes[a] - 1 : 0) * step[a] + u / 2 * step[p] + w / 2 * step[q];
}
/* Potentials of the inner layers, with the correction that the pass is about to add. */
static void layers_pack(struct flux_fine *f, bool prolong) {
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (side->rank == MPI_PROC_NULL) continue;
    float *to = f->face_buffer[s][0];
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t p      = side->inside + u * side->step_u + w * side->step_v;
        to[u * side->nv + w] = f->x[p];
        if (prolong && f->code[p]) to[u * side->nv + w] += f->box[box_of(f, s, u, w)];
      }
  }
}
static void layers_begin(struct flux_fine *f, bool prolong, bool mends) {
  void *send[SIDES], *receive[SIDES];
  bool halo = false;
  for (int s = 0; s < SIDES; s++) {
    halo       = halo || f->side[s].rank != MPI_PROC_NULL;
    send[s]    = f->face_buffer[s][0];
    receive[s] = f->face_buffer[s][1];
  }
  if (!halo) return;
  layers_pack(f, prolong);
  flux_fine_swap_begin(f, send, receive, sizeof(float));
  f->under_way = true;
  f->mends     = mends;
}
static float weight_at(const struct flux_view *v, int64_t in, int64_t out, int axis) {
  if (v->uniform) return 1;
  return v->weight[axis] * v->pair[16 * (v->code[in] & CODE_MASK) + (v->code[out] & CODE_MASK)];
}
/* Halo cells take what came (over a border with a jump, that much more); the boxes inside learn of the change. */
static void layers_take(struct flux_fine *f, bool mend) {
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (side->rank == MPI_PROC_NULL) continue;
    const float *from = f->face_buffer[s][1];
    const float jump  = (float)(f->jumps * side->jump);
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t in   = side->inside + u * side->step_u + w * side->step_v;
        const int64_t out  = side->outside + u * side->step_u + w * side->step_v;
        const float beyond = f->code[out] ? from[u * side->nv + w] + jump : 0;
        const float change = beyond - f->x[out];
        f->x[out]          = beyond;
        if (mend && change != 0 && f->code[in])
          f->box[box_of(f, s, u, w)] += change * weight_at(&f->view, in, out, s / 2);
      }
  }
}
void flux_transfer_finish(struct flux_fine *f) {
  if (!f->under_way) return;
  flux_fine_swap_end(f);
  f->under_way = false;
  layers_take(f, f->mends);
}
/* Lets messages go on. */
static void poke(struct flux_fine *f) {
  int done;
  if (f->under_way && f->requests) MPI_Testall(f->requests, f->request, &done, MPI_STATUSES_IGNORE);
}
void flux_transfer_pass(struct flux_fine *f, bool prolong, int half_sweeps, int colour) {
  if (f->mends) flux_transfer_finish(f);
  if (!f->under_way) layers_begin(f, prolong, false);
  flux_transfer_finish(f);
  ISA_PICK(flux_pass)(&f->view, prolong, half_sweeps, colour);
  layers_begin(f, false, true);
}

static int64_t voxel_of(const struct flux_fine *f, const struct flux_multi *m, int t) {
  const int64_t k = 2 * m->k + (t >> 2), j = 2 * m->j + (t >> 1 & 1), i = 2 * m->i + (t & 1);
  if (k >= f->view.n[0] || j >= f->view.n[1] || i >= f->view.n[2]) return -1;
  return f->view.origin + k * f->view.plane + j * f->view.row + i;
}
static float residual_at(const struct flux_view *v, int64_t p) {
  const int64_t step[3] = {v->plane, v->row, 1};
  float sum             = v->rhs ? v->rhs[p] : 0;
  if (v->uniform) {
    for (int a = 0; a < 3; a++) sum += v->x[p - step[a]] + v->x[p + step[a]];
    return sum - (float)(v->code[p] & CODE_MASK) * v->x[p];
  }
  for (int a = 0; a < 3; a++)
    for (int d = -1; d <= 1; d += 2)
      sum += weight_at(v, p, p + d * step[a], a) * (v->x[p + d * step[a]] - v->x[p]);
  return sum;
}
/* The boxes of a side that has a neighbour, one after the other. */
#define EACH_BORDER_BOX(f, b)                                                                      \
  for (int s_ = 0; s_ < SIDES; s_++)                                                               \
    for (int64_t u_ = 0; (f)->side[s_].rank != MPI_PROC_NULL && u_ < (f)->side[s_].nu; u_ += 2)    \
      for (int64_t w_ = 0, b; w_ < (f)->side[s_].nv && (b = box_of(f, s_, u_, w_), true); w_ += 2)
static void box_down(const struct flux_fine *f, int64_t b, float scale, struct flux_graph *g) {
  if (f->box_node[b] >= 0) g->b[f->box_node[b]] = scale * f->box[b];
}
void flux_transfer_down(struct flux_fine *f, struct flux_graph *g) {
  const struct flux_view *v = &f->view;
  const float scale         = (float)(1 / f->unit);
  for (int64_t k = 0; k < f->boxes[0]; k++) {
    poke(f);
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const int64_t b = k * v->box_plane + j * v->box_row;
      for (int64_t i = b; i < b + f->boxes[2]; i++) box_down(f, i, scale, g);
    }
  }
  if (f->under_way) {
    flux_transfer_finish(f);
    EACH_BORDER_BOX(f, b) box_down(f, b, scale, g);
  }
  for (int64_t m = 0; m < f->multis; m++) {
    const struct flux_multi *multi = &f->multi[m];
    for (int c = 0; c < multi->components; c++) g->b[multi->node[c]] = 0;
    for (int t = 0; t < BOX; t++) {
      const int64_t p = voxel_of(f, multi, t);
      if (p >= 0 && f->code[p])
        g->b[multi->node[f->code[p] >> COMPONENT_SHIFT]] += scale * residual_at(v, p);
    }
  }
}
static void box_up(struct flux_fine *f, int64_t b, float scale, const struct flux_graph *g) {
  if (f->box_node[b] >= -1) f->box[b] = f->box_node[b] >= 0 ? scale * g->x[f->box_node[b]] : 0;
}
static void multis_up(struct flux_fine *f, const struct flux_graph *g, float scale) {
  for (int64_t m = 0; m < f->multis; m++) {
    const struct flux_multi *multi = &f->multi[m];
    const float first              = g->x[multi->node[0]];
    f->box[multi->box]             = scale * first;
    for (int t = 0; t < BOX; t++) {
      const int64_t p = voxel_of(f, multi, t);
      if (p >= 0 && f->code[p])
        f->x[p] += scale * (g->x[multi->node[f->code[p] >> COMPONENT_SHIFT]] - first);
    }
  }
}
void flux_transfer_up(struct flux_fine *f, const struct flux_graph *g, float scale) {
  const struct flux_view *v = &f->view;
  flux_transfer_finish(f);
  multis_up(f, g, scale);
  EACH_BORDER_BOX(f, b) box_up(f, b, scale, g);
  layers_begin(f, true, false);
  for (int64_t k = 0; k < f->boxes[0]; k++) {
    poke(f);
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const int64_t b = k * v->box_plane + j * v->box_row;
      for (int64_t i = b; i < b + f->boxes[2]; i++) box_up(f, i, scale, g);
    }
  }
}
