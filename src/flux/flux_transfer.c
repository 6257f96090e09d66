/* Between the voxels and the first graph. A pass works with the halo as it was at its start (already
 * with the neighbours' corrections); afterwards the sums of boxes at the border are put right by what
 * the halo has changed, the residual being linear in it. */
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
static void layers_swap(struct flux_fine *f) {
  void *send[SIDES], *receive[SIDES];
  for (int s = 0; s < SIDES; s++) {
    send[s]    = f->face_buffer[s][0];
    receive[s] = f->face_buffer[s][1];
  }
  flux_fine_swap(f, send, receive, sizeof(float));
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
void flux_transfer_pass(struct flux_fine *f, bool prolong, int half_sweeps, int colour) {
  bool halo = false;
  for (int s = 0; s < SIDES; s++) halo = halo || f->side[s].rank != MPI_PROC_NULL;
  if (halo) {
    layers_pack(f, prolong);
    layers_swap(f);
    layers_take(f, false);
  }
  ISA_PICK(flux_pass)(&f->view, prolong, half_sweeps, colour);
  if (!halo) return;
  layers_pack(f, false);
  layers_swap(f);
  layers_take(f, true);
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
void flux_transfer_down(const struct flux_fine *f, struct flux_graph *g) {
  const struct flux_view *v = &f->view;
  const float scale         = (float)(1 / f->unit);
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const int64_t b = k * v->box_plane + j * v->box_row;
      for (int64_t i = b; i < b + f->boxes[2]; i++)
        if (f->box_node[i] >= 0) g->b[f->box_node[i]] = scale * f->box[i];
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
void flux_transfer_up(struct flux_fine *f, const struct flux_graph *g, float scale) {
  const struct flux_view *v = &f->view;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const int64_t b = k * v->box_plane + j * v->box_row;
      for (int64_t i = b; i < b + f->boxes[2]; i++)
        f->box[i] = f->box_node[i] >= 0 ? scale * g->x[f->box_node[i]] : 0;
    }
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
