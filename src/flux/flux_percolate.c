/* What percolates: nodes of boxes joined over open faces, which is an eighth of the work that joining voxels would take. */
#include "flux_boxes.h"
#include <stdlib.h>
#include <string.h>

/* ---- percolation ---- */

static void join(int32_t *parent, int32_t a, int32_t b) {
  if (parent[a] == parent[b]) return;
  a = flux_root(parent, a);
  b = flux_root(parent, b);
  if (a < b)
    parent[b] = a;
  else
    parent[a] = b;
}
static void join_voxels(struct flux_scan *scan, const int64_t a[3], const int64_t b[3]) {
  const int32_t m = flux_boxes_node(scan->fine, a[0], a[1], a[2]);
  const int32_t n = flux_boxes_node(scan->fine, b[0], b[1], b[2]);
  if (m >= 0 && n >= 0) join(scan->parent, m, n);
}
/* Joins over the faces from a box to the next along an axis (next may be the first: periodic). */
static void join_boxes(struct flux_scan *scan, const int64_t box[3], int axis) {
  const struct flux_fine *f = scan->fine;
  int64_t next[3]           = {box[0], box[1], box[2]};
  const bool last           = box[axis] == f->boxes[axis] - 1;
  if (last && f->side[2 * axis + 1].rank != f->rank) return;
  next[axis]      = last ? 0 : box[axis] + 1;
  const int64_t a = box_at(f, box[0], box[1], box[2]), b = box_at(f, next[0], next[1], next[2]);
  if (!last || f->view.n[axis] % 2 == 0) {
    if (!common(scan->pattern[a], scan->pattern[b], axis)) return;
    if (f->box_node[a] >= 0 && f->box_node[b] >= 0) {
      join(scan->parent, f->box_node[a], f->box_node[b]);
      return;
    }
  }
  const int u = axis == 0 ? 1 : 0, w = axis == 2 ? 1 : 2;
  for (int t = 0; t < 4; t++) {
    int64_t p[3] = {2 * box[0], 2 * box[1], 2 * box[2]};
    p[u] += t / 2;
    p[w] += t % 2;
    if (p[u] >= f->view.n[u] || p[w] >= f->view.n[w]) continue;
    int64_t q[3] = {p[0], p[1], p[2]};
    p[axis]      = last ? f->view.n[axis] - 1 : p[axis] + 1;
    q[axis]      = last ? 0 : p[axis] + 1;
    join_voxels(scan, p, q);
  }
}
/* Parts of one box that touch (of different orders of conductance). */
static void join_inside(struct flux_scan *scan, const struct flux_multi *multi) {
  const int64_t *n = scan->fine->view.n;
  for (int a = 0; a < BOX; a++)
    for (int b = a + 1; b < BOX; b++) {
      const int64_t p[3] = {2 * multi->k + (a >> 2), 2 * multi->j + (a >> 1 & 1),
                            2 * multi->i + (a & 1)};
      const int64_t q[3] = {2 * multi->k + (b >> 2), 2 * multi->j + (b >> 1 & 1),
                            2 * multi->i + (b & 1)};
      if (!face_apart(a, b) || q[0] >= n[0] || q[1] >= n[1] || q[2] >= n[2]) continue;
      if (p[0] >= n[0] || p[1] >= n[1] || p[2] >= n[2]) continue;
      join_voxels(scan, p, q);
    }
}
/* From place i on: eight boxes of which all voxels conduct, one node each. */
static bool eight_full(const uint8_t *pattern, int64_t i, int64_t n) {
  uint64_t eight = 0;
  if (i + 8 <= n) memcpy(&eight, pattern + i, sizeof eight);
  return eight == UINT64_MAX;
}
/* Joins boxes of one node in a row of them, */
static void join_along(struct flux_scan *scan, int64_t b, int64_t n) {
  const uint8_t *pattern = scan->pattern + b, *parts = scan->several + b;
  int32_t *parent = scan->parent + b;
  for (int64_t i = 0; i < n; i++) {
    const bool on =
        i > 0 && parts[i] == 1 && parts[i - 1] == 1 && common(pattern[i - 1], pattern[i], 2);
    parent[i] = on ? parent[i - 1] : (int32_t)(b + i);
    if (!scan->plain || !eight_full(pattern, i, n)) continue;
    for (int more = 1; more < 8; more++) parent[i + more] = parent[i];
    i += 7;
  }
}
/* and with the row `step` before. Neighbours mostly belong to the same two bodies as the boxes before them did. */
static void join_across(struct flux_scan *scan, int64_t b, int64_t n, int64_t step, int axis) {
  const uint8_t *pattern = scan->pattern + b, *parts = scan->several + b;
  const int32_t *parent = scan->parent + b;
  int32_t here = -1, there = -1;
  for (int64_t i = 0; i < n; i++) {
    if (parts[i] != 1 || parts[i - step] != 1 || !common(pattern[i - step], pattern[i], axis))
      continue;
    if (parent[i] != here || parent[i - step] != there) {
      here  = parent[i];
      there = parent[i - step];
      join(scan->parent, here, there);
    }
    if (scan->plain && eight_full(pattern, i, n) && eight_full(pattern - step, i, n)) i += 7;
  }
}
static void join_row(struct flux_scan *scan, int64_t k, int64_t j) {
  const struct flux_fine *f = scan->fine;
  const int64_t n = f->boxes[2], b = box_at(f, k, j, 0);
  join_along(scan, b, n);
  if (k > 0) join_across(scan, b, n, f->view.box_plane, 0);
  if (j > 0) join_across(scan, b, n, f->view.box_row, 1);
}
/* Over all faces of a box of several nodes that lie inside this rank. */
static void join_multi(struct flux_scan *scan, const struct flux_multi *multi) {
  for (int a = 0; a < 3; a++) {
    int64_t box[3] = {multi->k, multi->j, multi->i};
    join_boxes(scan, box, a);
    if (box[a]-- > 0) join_boxes(scan, box, a);
  }
  if (!scan->plain) join_inside(scan, multi);
}
/* Over a periodic border of this rank to its own other side. */
static void join_around(struct flux_scan *scan, int a) {
  const struct flux_fine *f = scan->fine;
  const int u = a == 0 ? 1 : 0, w = a == 2 ? 1 : 2;
  for (int64_t p = 0; p < f->boxes[u]; p++)
    for (int64_t q = 0; q < f->boxes[w]; q++) {
      int64_t box[3];
      box[a] = f->boxes[a] - 1;
      box[u] = p;
      box[w] = q;
      join_boxes(scan, box, a);
    }
}
static enum status join_here(struct flux_scan *scan) {
  struct flux_fine *f = scan->fine;
  TRY(memory_make_raw(scan->names, sizeof *scan->parent, "components", &scan->parent));
  TRY(memory_make(scan->names, 1, "components", &scan->touch));
  for (int64_t n = f->box_cells; n < scan->names; n++) scan->parent[n] = (int32_t)n;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) join_row(scan, k, j);
  for (int64_t m = 0; m < f->multis; m++) join_multi(scan, &f->multi[m]);
  for (int a = 0; a < 3; a++)
    if (f->side[2 * a + 1].rank == f->rank) join_around(scan, a);
  return STATUS_OK;
}
static void touch_faces(struct flux_scan *scan) {
  struct flux_fine *f = scan->fine;
  for (int s = 0; s < SIDES; s++) {
    if (!f->side[s].dirichlet) continue;
    for (int64_t u = 0; u < f->side[s].nu; u++)
      for (int64_t w = 0; w < f->side[s].nv; w++) {
        int64_t p[3];
        side_place(f, s, u, w, p);
        const int32_t node = flux_boxes_node(f, p[0], p[1], p[2]);
        const uint8_t outer =
            f->code[f->side[s].outside + u * f->side[s].step_u + w * f->side[s].step_v];
        if (node >= 0 && (!f->middles || outer))
          scan->touch[flux_root(scan->parent, node)] |= s % 2 ? 2 : 1;
      }
  }
}

/* A pair of bodies that touch across ranks, or (b < 0) what a body touches: -1 - faces. */
struct bond {
  int64_t a, b;
};
static int bond_order(const void *x, const void *y) {
  const struct bond *p = x, *q = y;
  if (p->a != q->a) return p->a < q->a ? -1 : 1;
  return p->b < q->b ? -1 : p->b > q->b;
}
static int64_t name_of(const struct flux_scan *scan, int32_t node) {
  return node < 0 ? -1 : (int64_t)scan->fine->rank << 32 | (uint32_t)flux_root(scan->parent, node);
}
static int64_t bonds_unique(struct bond *bond, int64_t n) {
  int64_t kept = 0;
  qsort(bond, (size_t)n, sizeof *bond, bond_order);
  for (int64_t i = 0; i < n; i++)
    if (i == 0 || bond_order(&bond[i], &bond[kept - 1])) bond[kept++] = bond[i];
  return kept;
}
/* Bodies of this rank that touch others, as bonds without repetition. */
static enum status bonds_find(struct flux_scan *scan, struct bond **out, int64_t *n) {
  struct flux_fine *f = scan->fine;
  void *send[SIDES], *receive[SIDES];
  int64_t room = 0;
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (side->rank == MPI_PROC_NULL) continue;
    int64_t *to = (int64_t *)f->face_buffer[s][0];
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        int64_t p[3];
        side_place(f, s, u, w, p);
        to[u * side->nv + w] = name_of(scan, flux_boxes_node(f, p[0], p[1], p[2]));
      }
    room += side->nu * side->nv;
  }
  for (int s = 0; s < SIDES; s++) {
    send[s]    = f->face_buffer[s][0];
    receive[s] = f->face_buffer[s][1];
  }
  flux_fine_swap(f, send, receive, sizeof(int64_t));
  TRY(memory_make(2 * room, sizeof **out, "bodies at rank borders", out));
  *n = 0;
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (side->rank == MPI_PROC_NULL) continue;
    const int64_t *mine = send[s], *other = receive[s];
    for (int64_t i = 0; i < side->nu * side->nv; i++) {
      if (mine[i] < 0 || other[i] < 0) continue;
      const struct bond fresh = {mine[i], other[i]};
      if (*n == 0 || bond_order(&(*out)[*n - 1], &fresh)) (*out)[(*n)++] = fresh;
    }
  }
  *n                  = bonds_unique(*out, *n);
  const int64_t pairs = *n;
  for (int64_t i = 0; i < pairs; i++)
    if (i == 0 || (*out)[i].a != (*out)[i - 1].a)
      (*out)[(*n)++] = (struct bond){(*out)[i].a, -1 - scan->touch[(*out)[i].a & 0xffffffff]};
  return STATUS_OK;
}
static int64_t name_index(const int64_t *name, int64_t n, int64_t wanted) {
  int64_t low = 0, high = n - 1;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (name[middle] < wanted)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}
/* All ranks alike: joins the bodies of all bonds and spreads what they touch; then takes what this
 * rank's bodies touch. */
static enum status bonds_settle(struct flux_scan *scan, struct bond *bond, int64_t n) {
  int64_t *name = NULL, names = 0;
  int32_t *parent = NULL;
  uint8_t *touch  = NULL;
  enum status s   = memory_make(n, sizeof *name, "bodies", &name);
  if (s == STATUS_OK) s = memory_make(n, sizeof *parent, "bodies", &parent);
  if (s == STATUS_OK) s = memory_make(n, 1, "bodies", &touch);
  if (s == STATUS_OK) {
    qsort(bond, (size_t)n, sizeof *bond, bond_order);
    for (int64_t i = 0; i < n; i++)
      if (names == 0 || name[names - 1] != bond[i].a) name[names++] = bond[i].a;
    for (int64_t i = 0; i < names; i++) parent[i] = (int32_t)i;
    for (int64_t i = 0; i < n; i++)
      if (bond[i].b >= 0)
        join(parent, (int32_t)name_index(name, names, bond[i].a),
             (int32_t)name_index(name, names, bond[i].b));
    for (int64_t i = 0; i < n; i++)
      if (bond[i].b < 0)
        touch[flux_root(parent, (int32_t)name_index(name, names, bond[i].a))] |=
            (uint8_t)(-1 - bond[i].b);
    for (int64_t i = 0; i < names; i++)
      if (name[i] >> 32 == scan->fine->rank)
        scan->touch[name[i] & 0xffffffff] |= touch[flux_root(parent, (int32_t)i)];
  }
  memory_free(name);
  memory_free(parent);
  memory_free(touch);
  return s;
}
static enum status join_ranks(MPI_Comm comm, struct flux_scan *scan) {
  struct flux_fine *f = scan->fine;
  if (f->size == 1) return STATUS_OK;
  struct bond *mine = NULL, *all = NULL;
  int64_t n = 0, total = 0;
  int *count = NULL, *start = NULL;
  enum status s = AGREE(comm, bonds_find(scan, &mine, &n));
  if (s == STATUS_OK) s = AGREE(comm, memory_make(f->size, sizeof *count, "counts", &count));
  if (s == STATUS_OK) s = AGREE(comm, memory_make(f->size, sizeof *start, "counts", &start));
  if (s != STATUS_OK) goto done;
  const int bytes = (int)(n * (int64_t)sizeof *mine);
  MPI_Allgather(&bytes, 1, MPI_INT, count, 1, MPI_INT, comm);
  for (int r = 0; r < f->size; r++) {
    start[r] = (int)total;
    total += count[r];
  }
  if (total > INT32_MAX)
    s = FAIL(STATUS_MEMORY, "flux: %lld bytes of bodies at rank borders; use fewer ranks",
             (long long)total);
  if (s == STATUS_OK) s = memory_make(total, 1, "bodies of all ranks", &all);
  s = AGREE(comm, s);
  if (s != STATUS_OK) goto done;
  MPI_Allgatherv(mine, bytes, MPI_BYTE, all, count, start, MPI_BYTE, comm);
  s = AGREE(comm, bonds_settle(scan, all, total / (int64_t)sizeof *all));
done:
  memory_free(mine);
  memory_free(all);
  memory_free(count);
  memory_free(start);
  return s;
}
/* Every name gets its root as its parent: roots are the least of their names. */
static void names_settle(struct flux_scan *scan) {
  const struct flux_fine *f = scan->fine;
  int32_t *parent           = scan->parent;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t b = box_at(f, k, j, 0), end = b + f->boxes[2]; b < end; b++)
        parent[b] = parent[parent[b]];
  for (int64_t n = f->box_cells; n < scan->names; n++) parent[n] = parent[parent[n]];
}
/* Blocks the voxels of a box whose body does not touch the faces wanted, bits as in touch[]; count[] loses them. */
static void block_box(struct flux_scan *scan, int64_t k, int64_t j, int64_t i, uint8_t wanted,
                      int64_t count[FLUX_CODES]) {
  struct flux_fine *f = scan->fine;
  const int64_t b     = box_at(f, k, j, i);
  const int32_t node  = f->box_node[b];
  uint8_t rest        = scan->pattern[b];
  for (int t = 0; t < BOX; t++) {
    if (!(scan->pattern[b] >> t & 1)) continue;
    uint8_t *code     = &f->code[voxel_of_box(f, k, j, i, t)];
    const int32_t own = node >= 0 ? node : f->multi[-2 - node].node[*code >> COMPONENT_SHIFT];
    if ((scan->touch[scan->parent[own]] & wanted) == wanted) continue;
    count[*code & CODE_MASK]--;
    *code = 0;
    rest  = (uint8_t)(rest & ~(1 << t));
  }
  if (rest != scan->pattern[b]) flux_scan_change(scan, k, j, i, rest);
}
static void block_rest(struct flux_scan *scan, uint8_t wanted, int64_t count[FLUX_CODES]) {
  struct flux_fine *f = scan->fine;
  names_settle(scan);
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t b    = box_at(f, k, j, i);
        const int32_t node = f->box_node[b];
        if (node == -1) continue;
        if (node >= 0 && (scan->touch[scan->parent[b]] & wanted) == wanted) continue;
        block_box(scan, k, j, i, wanted, count);
      }
}
enum status flux_percolate(MPI_Comm comm, const struct flux_case *problem, struct flux_scan *scan,
                           struct flux_answer *answer) {
  const enum flux_kind kind = problem->kind;
  enum status s             = AGREE(comm, flux_scan_all(scan, answer->voxels));
  if (s == STATUS_OK) s = AGREE(comm, join_here(scan));
  if (s != STATUS_OK) return s;
  touch_faces(scan);
  TRY(join_ranks(comm, scan));
  memcpy(answer->percolating, answer->voxels, sizeof answer->voxels);
  if (kind != FLUX_CELL)
    block_rest(scan, kind == FLUX_THROUGH ? 3 : problem->high ? 2 : 1, answer->percolating);
  memory_free(scan->parent);
  memory_free(scan->touch);
  scan->parent = NULL;
  scan->touch  = NULL;
  flux_layers_count(scan->fine, false, answer->voxels);
  MPI_Allreduce(MPI_IN_PLACE, answer->voxels, FLUX_CODES, MPI_INT64_T, MPI_SUM, comm);
  return STATUS_OK;
}
