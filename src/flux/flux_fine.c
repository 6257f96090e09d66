/* The voxel level: layout, boundary conditions, halo of one voxel.
 *
 * Rows start at a multiple of 16 elements and have 16 spare elements in front, so that kernels read
 * whole vectors; the halo cells of x lie in the spare elements. */
#include "flux_inner.h"
#include <math.h>
#include <string.h>

/* ---- plan ---- */

static double surface_of(const int64_t n[3], const int parts[3]) {
  double s = 0;
  for (int a = 0; a < 3; a++)
    s +=
        parts[a] > 1 ? (double)(parts[a] - 1) * (double)n[(a + 1) % 3] * (double)n[(a + 2) % 3] : 0;
  return s;
}
/* Most ranks that get at least 4 voxels of each axis; among those the least cut surface; among those cuts across z rather
 * than y, and y than x, where each cell of the border lies in a line of memory of its own. */
static void parts_choose(const int64_t n[3], int size, int best[3]) {
  int most         = 0;
  double best_area = 0;
  for (int z = 1; z <= size; z++)
    for (int y = 1; z * y <= size; y++) {
      const int x = size / (z * y);
      for (int cut = x; cut >= 1; cut--) {
        const int q[3] = {z, y, cut};
        bool fits      = true;
        for (int a = 0; a < 3; a++) fits = fits && (q[a] == 1 || n[a] / q[a] >= 4);
        if (!fits) continue;
        const int used    = z * y * cut;
        const double area = surface_of(n, q);
        if (used > most || (used == most && area <= best_area)) {
          most      = used;
          best_area = area;
          memcpy(best, q, sizeof q);
        }
        break;
      }
    }
}
enum status flux_plan_make(MPI_Comm comm, const int64_t n[3], struct grid_plan *plan) {
  TRY(grid_plan_slabs(comm, n, 0, plan));
  return flux_plan_parts(plan);
}
enum status flux_plan_parts(struct grid_plan *plan) {
  const int64_t *n = plan->n;
  int parts[3]     = {1, 1, 1};
  parts_choose(n, plan->size, parts);
  for (int a = 0; a < 3; a++) {
    const int64_t share = n[a] / parts[a];
    const int64_t grain = parts[a] == 1 ? 1 : share >= 16 ? 8 : share >= 8 ? 4 : 2;
    memory_free(plan->cut[a]);
    plan->cut[a]   = NULL;
    plan->parts[a] = parts[a];
    TRY(memory_make(parts[a] + 1, sizeof *plan->cut[a], "flux plan", &plan->cut[a]));
    for (int i = 0; i <= parts[a]; i++)
      plan->cut[a][i] = i == parts[a] ? n[a] : (n[a] * i / parts[a] + grain / 2) / grain * grain;
  }
  return STATUS_OK;
}

/* ---- sides ---- */

double flux_fine_drop(const struct flux_case *p, const int64_t n[3]) {
  double drop = 0;
  if (p->kind != FLUX_CELL)
    return p->spacing[p->axis] * (double)(n[p->axis] + (p->middles ? 1 : 0));
  for (int a = 0; a < 3; a++)
    drop = fmax(drop, fabs(p->gradient[a]) * p->spacing[a] * (double)n[a]);
  return drop;
}
double flux_fine_face(const struct flux_fine *fine, uint8_t in, uint8_t out, int axis) {
  if (fine->middles && fine->view.uniform) return in && out ? 1 : 0;
  if (fine->middles) return flux_fine_conductance(fine, in, out, axis);
  return 2 * (fine->view.uniform ? 1 : flux_fine_conductance(fine, in, in, axis));
}
static void sides_set(struct flux_fine *fine, const struct flux_case *problem) {
  const struct flux_view *v  = &fine->view;
  const struct grid_plan *pl = &fine->plan;
  const int64_t step[3]      = {v->plane, v->row, 1};
  const bool empty           = grid_box_voxels(&fine->mine) == 0;
  const int coordinate[3]    = {fine->rank / (pl->parts[1] * pl->parts[2]),
                                fine->rank / pl->parts[2] % pl->parts[1], fine->rank % pl->parts[2]};
  const int rank_step[3]     = {pl->parts[1] * pl->parts[2], pl->parts[2], 1};
  const double drop          = flux_fine_drop(problem, pl->n);
  for (int s = 0; s < SIDES; s++) {
    const int a = s / 2, u = a == 0 ? 1 : 0, w = a == 2 ? 1 : 2;
    struct flux_side *side = &fine->side[s];
    *side         = (struct flux_side){.nu = v->n[u], .nv = v->n[w], .rank = MPI_PROC_NULL};
    side->step_u  = step[u];
    side->step_v  = step[w];
    side->inside  = v->origin + (s % 2 ? (v->n[a] - 1) * step[a] : 0);
    side->outside = side->inside + (s % 2 ? step[a] : -step[a]);
    if (empty) {
      side->nu = side->nv = 0;
      continue;
    }
    const bool outer = s % 2 ? coordinate[a] == pl->parts[a] - 1 : coordinate[a] == 0;
    const int next   = s % 2 ? 1 : -1;
    const int around = fine->rank - next * (pl->parts[a] - 1) * rank_step[a];
    if (!outer)
      side->rank = fine->rank + next * rank_step[a];
    else if (problem->kind == FLUX_CELL) {
      side->rank = around;
      side->jump = -next * problem->gradient[a] * problem->spacing[a] * (double)pl->n[a] / drop;
    } else if (a == problem->axis) {
      side->dirichlet = problem->kind == FLUX_THROUGH || s % 2 == problem->high;
      side->potential = problem->kind == FLUX_THROUGH ? -0.5 * next : 0;
    } else if (problem->periodic)
      side->rank = around;
  }
}

/* ---- halo ---- */

void flux_fine_swap_begin(struct flux_fine *fine, void *const send[SIDES],
                          void *const receive[SIDES], int64_t cell_bytes) {
  MPI_Request *request = fine->request;
  int n                = 0;
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    if (side->rank == MPI_PROC_NULL) continue;
    const int64_t bytes = side->nu * side->nv * cell_bytes;
    if (side->rank == fine->rank) {
      memcpy(receive[s], send[s ^ 1], (size_t)bytes);
      continue;
    }
    /* int is enough: a side of 2^31 bytes would be a share of 10^13 voxels */
    MPI_Irecv(receive[s], (int)bytes, MPI_BYTE, side->rank, s ^ 1, fine->comm, &request[n++]);
    MPI_Isend(send[s], (int)bytes, MPI_BYTE, side->rank, s, fine->comm, &request[n++]);
    fine->messages++;
    fine->message_bytes += bytes;
  }
  fine->requests = n;
}
void flux_fine_swap_end(struct flux_fine *fine) {
  MPI_Waitall(fine->requests, fine->request, MPI_STATUSES_IGNORE);
  fine->requests = 0;
}
void flux_fine_swap(struct flux_fine *fine, void *const send[SIDES], void *const receive[SIDES],
                    int64_t cell_bytes) {
  flux_fine_swap_begin(fine, send, receive, cell_bytes);
  flux_fine_swap_end(fine);
}
/* A side's layer of cells of some bytes, row by row, out of the field or into it. */
static void layer_move(const struct flux_side *side, int64_t cell, int64_t bytes, char *field,
                       char *layer, bool into) {
  for (int64_t u = 0; u < side->nu; u++) {
    char *at = field + (cell + u * side->step_u) * bytes, *row = layer + u * side->nv * bytes;
    if (side->step_v == 1)
      memcpy(into ? at : row, into ? row : at, (size_t)(side->nv * bytes));
    else
      for (int64_t w = 0; w < side->nv; w++, row += bytes, at += side->step_v * bytes)
        memcpy(into ? at : row, into ? row : at, (size_t)bytes);
  }
}
void flux_fine_swap_codes(struct flux_fine *fine) {
  void *send[SIDES], *receive[SIDES];
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    send[s]                      = fine->face_buffer[s][0];
    receive[s]                   = fine->face_buffer[s][1];
    if (side->rank != MPI_PROC_NULL)
      layer_move(side, side->inside, 1, (char *)fine->code, send[s], false);
  }
  flux_fine_swap(fine, send, receive, 1);
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    if (side->rank != MPI_PROC_NULL)
      layer_move(side, side->outside, 1, (char *)fine->code, receive[s], true);
  }
}
void flux_fine_swap_floats(struct flux_fine *fine, float *x, bool jumps) {
  void *send[SIDES], *receive[SIDES];
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    send[s]                      = fine->face_buffer[s][0];
    receive[s]                   = fine->face_buffer[s][1];
    if (side->rank != MPI_PROC_NULL)
      layer_move(side, side->inside, sizeof *x, (char *)x, send[s], false);
  }
  flux_fine_swap(fine, send, receive, sizeof(float));
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    if (side->rank == MPI_PROC_NULL) continue;
    const float *from = receive[s];
    const float jump  = jumps ? (float)(fine->jumps * side->jump) : 0;
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t out = side->outside + u * side->step_u + w * side->step_v;
        x[out]            = fine->code[out] ? from[u * side->nv + w] + jump : 0;
      }
  }
}

void flux_fine_faces(struct flux_fine *fine, double scale) {
  fine->jumps = scale;
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    const bool twice             = fine->view.uniform && !fine->middles;
    const double value           = scale * side->potential * (twice ? 2 : 1);
    for (int64_t u = 0; side->dirichlet && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t out = side->outside + u * side->step_u + w * side->step_v;
        fine->x[out]      = fine->middles && !fine->code[out] ? 0 : (float)value;
      }
  }
}

/* ---- making ---- */

/* Conductances by pair of codes, in units of the largest one. */
static void law_set(struct flux_fine *fine, const struct flux_case *problem, unsigned used) {
  struct flux_view *v = &fine->view;
  double most = 0, volume = 1, largest = 0;
  int kinds = 0;
  for (int c = 1; c < FLUX_CODE_FACE; c++)
    if (used >> c & 1) {
      if (!kinds++) fine->first_kind = c;
      most = fmax(most, problem->diffusivity[c]);
    }
  for (int a = 0; a < 3; a++) volume *= problem->spacing[a];
  for (int a = 0; a < 3; a++) {
    fine->factor[a] = volume / (problem->spacing[a] * problem->spacing[a]);
    largest         = fmax(largest, fine->factor[a]);
  }
  fine->volume     = volume;
  const bool cubic = fine->factor[0] == fine->factor[1] && fine->factor[1] == fine->factor[2];
  fine->kinds      = kinds;
  v->uniform       = kinds <= 1 && cubic;
  fine->scale      = kinds ? most * largest : 1;
  fine->unit       = v->uniform ? 1 : ldexp(1, -24);
  for (int a = 0; a < 3; a++) {
    fine->factor[a] /= largest;
    v->weight[a] = (float)fine->factor[a];
  }
  double resistance[FLUX_CODES];
  for (int c = 0; c < FLUX_CODES; c++) {
    const double d = c == FLUX_CODE_FACE ? 0 : problem->diffusivity[c];
    resistance[c]  = c == FLUX_CODE_FACE ? 0 : c && d > 0 ? most / d : 1e30;
    v->inverse[c]  = v->uniform ? (c ? 1 / (float)c : 0) : (float)resistance[c];
  }
  double worst = 0;
  for (int c = 1; c < FLUX_CODE_FACE; c++)
    if (used >> c & 1) worst = fmax(worst, resistance[c]);
  fine->weakest = fmin(fmin(fine->factor[0], fine->factor[1]), fine->factor[2]) / fmax(worst, 1);
  for (int a = 0; a < FLUX_CODES; a++)
    for (int b = 0; b < FLUX_CODES; b++) {
      const double sum        = resistance[a] + resistance[b];
      fine->conductance[a][b] = sum >= 1e30 || sum == 0 ? 0 : 2 / sum;
      v->pair[16 * a + b]     = (float)fine->conductance[a][b];
    }
}
static void counts_set(struct flux_fine *fine) {
  for (int axis = 0; axis < 3; axis++)
    for (uint8_t a = 0; a < FLUX_CODES; a++)
      for (uint8_t b = 0; b < FLUX_CODES; b++)
        fine->count[axis][a][b] =
            fmax(1, nearbyint(flux_fine_conductance(fine, a, b, axis) / fine->unit));
}
static void layout_set(struct flux_fine *fine) {
  struct flux_view *v = &fine->view;
  for (int a = 0; a < 3; a++) {
    v->n[a]        = fine->mine.n[a];
    fine->boxes[a] = (v->n[a] + 1) / 2;
  }
  v->row          = (v->n[2] + PAD - 1) / PAD * PAD + PAD;
  v->plane        = v->row * (v->n[1] + 2);
  v->origin       = v->plane + v->row + PAD;
  fine->cells     = v->plane * (v->n[0] + 2) + 3 * PAD;
  v->box_row      = (fine->boxes[2] + PAD - 1) / PAD * PAD;
  v->box_plane    = v->box_row * fine->boxes[1];
  fine->box_cells = v->box_plane * fine->boxes[0] + PAD;
  v->parity       = (int)((fine->mine.start[0] + fine->mine.start[1] + fine->mine.start[2]) & 1);
}
static enum status arrays_make(struct flux_fine *fine) {
  struct flux_view *v = &fine->view;
  TRY(memory_make(fine->cells, 1, "voxel codes", &fine->code));
  TRY(memory_make(fine->cells, sizeof(float), "potential", &fine->x));
  TRY(memory_make(fine->box_cells, sizeof(float), "boxes", &fine->box));
  TRY(memory_make_raw(fine->box_cells, sizeof(int32_t), "boxes' nodes", &fine->box_node));
  TRY(memory_make(v->n[2] + 4 * LANES, sizeof(float), "row", &v->scratch));
  for (int s = 0; s < SIDES; s++)
    for (int d = 0; d < 2; d++)
      TRY(memory_make(fine->side[s].rank == MPI_PROC_NULL ? 0 : fine->side[s].nu * fine->side[s].nv,
                      sizeof(double), "halo", &fine->face_buffer[s][d]));
  v->code = fine->code;
  v->x    = fine->x;
  v->box  = fine->box;
  return STATUS_OK;
}
/* The outer layers go into the halo. */
static void layers_copy(struct flux_fine *fine, const struct grid_field *codes,
                        unsigned char seen[256]) {
  const int64_t step[3] = {codes->row[0], codes->row[1], 1};
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &fine->side[s];
    const int a = s / 2, p = a == 0 ? 1 : 0, q = a == 2 ? 1 : 2;
    if (!side->dirichlet) continue;
    const uint8_t *from = (const uint8_t *)codes->data + grid_field_origin(codes) +
                          (s % 2 ? codes->mine.n[a] - 1 : 0) * step[a];
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const uint8_t code = from[u * step[p] + w * step[q]];
        fine->code[side->outside + u * side->step_u + w * side->step_v] = code;
        seen[code]                                                      = 1;
      }
  }
}
static unsigned codes_copy(struct flux_fine *fine, const struct grid_field *codes) {
  const struct flux_view *v = &fine->view;
  const uint8_t *from       = (const uint8_t *)codes->data + grid_field_origin(codes);
  unsigned char seen[256]   = {0};
  if (fine->middles) {
    const int64_t step[3] = {codes->row[0], codes->row[1], 1};
    from += (fine->mine.start[fine->axis] + 1 - codes->mine.start[fine->axis]) * step[fine->axis];
    layers_copy(fine, codes, seen);
  }
  for (int64_t k = 0; k < v->n[0]; k++)
    for (int64_t j = 0; j < v->n[1]; j++) {
      const uint8_t *row = from + k * codes->row[0] + j * codes->row[1];
      memcpy(fine->code + v->origin + k * v->plane + j * v->row, row, (size_t)v->n[2]);
      for (int64_t i = 0; i < v->n[2]; i++) seen[row[i]] = 1;
    }
  unsigned used = 0;
  for (int c = 1; c < 256; c++) used |= seen[c] ? 1u << (c < 31 ? c : 31) : 0;
  return used;
}
/* A voxel without an open face carries nothing, and would be an equation without a solution. */
static void lonely_block(struct flux_fine *fine) {
  const struct flux_view *v = &fine->view;
  const int64_t step[3]     = {v->plane, v->row, 1};
  EACH_CELL(v, p) {
    int open = 0;
    for (int a = 0; a < 3; a++)
      open += (fine->code[p - step[a]] != 0) + (fine->code[p + step[a]] != 0);
    if (!open) fine->code[p] = 0;
  }
}
double flux_fine_source(const struct flux_fine *fine, const int64_t at[3]) {
  const struct flux_view *v = &fine->view;
  const int64_t step[3]     = {v->plane, v->row, 1};
  const int64_t p           = v->origin + at[0] * v->plane + at[1] * v->row + at[2];
  double sum                = 0;
  for (int s = 0; s < SIDES && fine->code[p]; s++) {
    const int a        = s / 2;
    const bool at_edge = at[a] == (s % 2 ? v->n[a] - 1 : 0);
    if (at_edge && fine->side[s].rank == MPI_PROC_NULL) continue;
    if (!fine->code[p + (s % 2 ? step[a] : -step[a])]) sum += fine->wall[a];
  }
  return sum;
}
/* In float, for the cycles. */
static enum status source_make(struct flux_fine *fine, const struct flux_case *problem) {
  const struct flux_view *v = &fine->view;
  double most               = 0;
  TRY(fault_here("flux.source"));
  TRY(memory_make(fine->cells, sizeof *fine->source, "source", &fine->source));
  for (int a = 0; a < 3; a++) most = fmax(most, fine->volume / problem->spacing[a]);
  for (int a = 0; a < 3; a++) fine->wall[a] = fine->volume / problem->spacing[a] / most;
  EACH_CELL(v, p) {
    const int64_t at[3] = {k_, j_, v->n[2] - (end_ - p)};
    fine->source[p]     = (float)flux_fine_source(fine, at);
  }
  return STATUS_OK;
}
static enum status fine_fill(struct flux_fine *fine, const struct flux_case *problem,
                             const struct grid_field *codes, unsigned *used) {
  TRY(fault_here("flux.fine"));
  TRY(arrays_make(fine));
  *used = codes_copy(fine, codes);
  if (*used >> FLUX_CODE_FACE)
    return FAIL(STATUS_INTERNAL, "flux: a voxel's code is past %d", FLUX_CODE_FACE - 1);
  for (int c = 1; c < FLUX_CODE_FACE; c++)
    if ((*used >> c & 1) && !(problem->diffusivity[c] > 0))
      return FAIL(STATUS_INTERNAL, "flux: code %d has no diffusivity", c);
  return STATUS_OK;
}
/* Parts hold two layers and more along every axis, so the outer ones keep one at least. */
static void layers_cut(struct grid_plan *plan, int axis) {
  plan->n[axis] -= 2;
  for (int i = 1; i <= plan->parts[axis]; i++) plan->cut[axis][i] -= i == plan->parts[axis] ? 2 : 1;
}
enum status flux_fine_make(MPI_Comm comm, const struct flux_case *problem,
                           const struct grid_field *codes, struct flux_fine *fine) {
  *fine = (struct flux_fine){.comm = comm, .axis = problem->axis};
  MPI_Comm_rank(comm, &fine->rank);
  MPI_Comm_size(comm, &fine->size);
  TRY_ALL(comm, grid_plan_copy(&codes->plan, &fine->plan));
  fine->middles = problem->middles;
  if (fine->middles) layers_cut(&fine->plan, problem->axis);
  fine->mine = grid_plan_mine(&fine->plan);
  layout_set(fine);
  sides_set(fine, problem);
  unsigned used = 0;
  TRY_ALL(comm, fine_fill(fine, problem, codes, &used));
  MPI_Allreduce(MPI_IN_PLACE, &used, 1, MPI_UNSIGNED, MPI_BOR, comm);
  law_set(fine, problem, used);
  counts_set(fine);
  flux_fine_swap_codes(fine);
  fine->jumps = 1;
  if (problem->kind == FLUX_CELL) lonely_block(fine);
  if (problem->kind == FLUX_CELL) flux_fine_swap_codes(fine);
  return problem->kind == FLUX_ELECTRODE ? AGREE(comm, source_make(fine, problem)) : STATUS_OK;
}
void flux_fine_free(struct flux_fine *fine) {
  flux_fine_swap_end(fine); /* a run that was stopped */
  grid_plan_free(&fine->plan);
  memory_free(fine->code);
  memory_free(fine->x);
  memory_free(fine->low);
  memory_free(fine->rhs);
  memory_free(fine->source);
  memory_free(fine->box);
  memory_free(fine->box_node);
  memory_free(fine->multi);
  memory_free(fine->view.scratch);
  for (int s = 0; s < SIDES; s++) memory_free(fine->halo_node[s]);
  for (int s = 0; s < SIDES; s++)
    for (int d = 0; d < 2; d++) memory_free(fine->face_buffer[s][d]);
  *fine = (struct flux_fine){0};
}
