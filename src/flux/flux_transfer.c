/* Between the voxels and the first graph. A pass works with the halo as it was at its start (already with the neighbours'
 * corrections), which leaves an error along the borders that would cost cycles; so the outermost layer is swept once more with
 * the halo as it is then. Boxes at the border take their sums last. The exchanges before a pass and at its end go on while
 * boxes and graph's vectors are copied: corrections of the border's boxes are made first. */
#include "flux_inner.h"
#include <string.h>

/* Boxes at a side whose sums change with the outermost layer of voxels: two where the last box, at the end of an odd periodic
 * axis, is that layer alone. */
static int64_t border_boxes(const struct flux_fine *f, int s) {
  const int64_t n = f->view.n[s / 2];
  return s % 2 && n % 2 && n > 1 ? 2 : 1;
}
/* The box at cell u, w of a side, or the one `depth` further in. */
static int64_t box_of(const struct flux_fine *f, int s, int64_t depth, int64_t u, int64_t w) {
  const struct flux_view *v = &f->view;
  const int64_t step[3]     = {v->box_plane, v->box_row, 1};
  const int a = s / 2, p = a == 0 ? 1 : 0, q = a == 2 ? 1 : 2;
  return (s % 2 ? f->boxes[a] - 1 - depth : depth) * step[a] + u / 2 * step[p] + w / 2 * step[q];
}
/* From the box of a side's row of cells to the next one along it. */
static int64_t box_step(const struct flux_fine *f, int s) {
  return s / 2 == 2 ? f->view.box_row : 1;
}
/* Potentials of the inner layers, with the correction that the pass is about to add. */
static void layers_pack(struct flux_fine *f, bool prolong) {
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    const int64_t step = side->step_v, over = box_step(f, s);
    for (int64_t u = 0; flux_fine_border(f, s) && u < side->nu; u++) {
      const int64_t first = side->inside + u * side->step_u;
      const float *x = f->x + first, *box = f->box + box_of(f, s, 0, u, 0);
      const uint8_t *code = f->code + first;
      float *to           = f->face_buffer[s][0] + u * side->nv;
      for (int64_t w = 0; w < side->nv; w++) to[w] = x[w * step];
      for (int64_t w = 0; prolong && w < side->nv; w++)
        if (code[w * step]) to[w] += box[(w >> 1) * over];
    }
  }
}
/* Nothing without a border. */
static void layers_begin(struct flux_fine *f, bool prolong, bool sums) {
  void *send[SIDES], *receive[SIDES];
  bool border = false;
  for (int s = 0; s < SIDES; s++) {
    border     = border || flux_fine_border(f, s);
    send[s]    = f->face_buffer[s][0];
    receive[s] = f->face_buffer[s][1];
  }
  if (!border) return;
  layers_pack(f, prolong);
  flux_fine_swap_begin(f, send, receive, sizeof(float));
  f->under_way = true;
  f->sums_wait = sums;
}
/* Halo cells take what came, over a border with a jump that much more. */
static void layers_take(struct flux_fine *f) {
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    const float jump             = (float)(f->jumps * side->jump);
    for (int64_t u = 0; flux_fine_border(f, s) && u < side->nu; u++) {
      const float *from = f->face_buffer[s][1] + u * side->nv;
      int64_t out       = side->outside + u * side->step_u;
      for (int64_t w = 0; w < side->nv; w++, out += side->step_v)
        f->x[out] = f->code[out] ? from[w] + jump : 0;
    }
  }
}
/* A pass over so many of the outermost layers of voxels at a side. */
static void border_pass(struct flux_fine *f, int s, int64_t layers, int half_sweeps, int colour) {
  struct flux_view part = f->view;
  const int a           = s / 2;
  const int64_t step[3] = {part.plane, part.row, 1}, box[3] = {part.box_plane, part.box_row, 1};
  const int64_t first = s % 2 ? part.n[a] - layers : 0;
  part.n[a]           = layers;
  part.origin += first * step[a];
  part.parity += (int)(first & 1);
  part.box += first / 2 * box[a];
  ISA_PICK(flux_pass)(&part, false, half_sweeps, colour);
}
static void border_sums(struct flux_fine *f, int s) {
  const int64_t n = f->view.n[s / 2];
  border_pass(f, s, s % 2 ? n - 2 * (f->boxes[s / 2] - border_boxes(f, s)) : n < 2 ? n : 2, 0, 0);
}
void flux_transfer_finish(struct flux_fine *f) {
  if (!f->under_way) return;
  flux_fine_swap_end(f);
  f->under_way = false;
  layers_take(f);
  for (int s = 0; f->sums_wait && s < SIDES; s++)
    if (flux_fine_border(f, s)) border_sums(f, s);
  f->sums_wait = false;
}
/* Lets messages go on. */
static void poke(struct flux_fine *f) {
  int done;
  if (f->under_way && f->requests) MPI_Testall(f->requests, f->request, &done, MPI_STATUSES_IGNORE);
}
void flux_transfer_pass(struct flux_fine *f, bool prolong, int half_sweeps, int colour) {
  if (f->sums_wait) flux_transfer_finish(f);
  if (!f->under_way) layers_begin(f, prolong, false);
  flux_transfer_finish(f);
  ISA_PICK(flux_pass)(&f->view, prolong, half_sweeps, colour);
  layers_begin(f, false, false);
  flux_transfer_finish(f);
  for (int s = 0; s < SIDES; s++)
    if (flux_fine_border(f, s)) border_pass(f, s, 1, 2, (colour + half_sweeps) & 1);
  layers_begin(f, false, true);
}

static int64_t voxel_of(const struct flux_fine *f, const struct flux_multi *m, int t) {
  const int64_t k = 2 * m->k + (t >> 2), j = 2 * m->j + (t >> 1 & 1), i = 2 * m->i + (t & 1);
  if (k >= f->view.n[0] || j >= f->view.n[1] || i >= f->view.n[2]) return -1;
  return f->view.origin + k * f->view.plane + j * f->view.row + i;
}
static float weight_at(const struct flux_view *v, int64_t in, int64_t out, int axis) {
  return v->weight[axis] * v->pair[16 * (v->code[in] & CODE_MASK) + (v->code[out] & CODE_MASK)];
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
/* The boxes at sides that have a neighbour, one after the other. */
#define EACH_BORDER_BOX(f, b)                                                                      \
  for (int s_ = 0; s_ < SIDES; s_++)                                                               \
    for (int64_t d_ = 0; flux_fine_border(f, s_) && d_ < border_boxes(f, s_); d_++)                \
      for (int64_t u_ = 0; u_ < (f)->side[s_].nu; u_ += 2)                                         \
        for (int64_t w_ = 0, b; w_ < (f)->side[s_].nv && (b = box_of(f, s_, d_, u_, w_), true);    \
             w_ += 2)
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
