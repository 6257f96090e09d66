/* From voxels to the first graph. A node is a connected component of the conducting voxels of a
 * 2 x 2 x 2 box (of conductances that are much alike, so that a weak bridge does not weld two
 * strong bodies); joining nodes over open faces also tells what percolates, with an eighth of the
 * work that joining voxels would take. */
#include "flux_inner.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Faces of an axis this much weaker than those of another do not join: a box then gives several nodes,
 * which the next graphs join when their edges have become equals (semi-coarsening). */
static const double weak_axis = 0.3;
static const double alike     = 6;

/* ---- components of a box ---- */

static const uint8_t bits_of[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
struct table {
  uint8_t components[256];
  uint8_t of[256][BOX]; /* component of each voxel; 0 where blocked */
};

static int boxed_components(const bool joins[BOX][BOX], unsigned pattern, uint8_t of[BOX]) {
  int n            = 0;
  int8_t done[BOX] = {0};
  memset(of, 0, BOX);
  for (int first = 0; first < BOX; first++) {
    if (!(pattern >> first & 1) || done[first]) continue;
    int queue[BOX] = {first}, length = 1;
    done[first] = 1;
    for (int q = 0; q < length; q++) {
      of[queue[q]] = (uint8_t)n;
      for (int t = 0; t < BOX; t++)
        if ((pattern >> t & 1) && !done[t] && joins[queue[q]][t]) {
          done[t]         = 1;
          queue[length++] = t;
        }
    }
    n++;
  }
  return n;
}
static bool face_apart(int a, int b) { return (a ^ b) == 1 || (a ^ b) == 2 || (a ^ b) == 4; }
static int axis_of(int apart) { return apart == 4 ? 0 : apart == 2 ? 1 : 2; }
static const struct table *table_get(void) {
  static struct table table;
  static bool made;
  if (made) return &table;
  bool joins[BOX][BOX];
  for (int a = 0; a < BOX; a++)
    for (int b = 0; b < BOX; b++) joins[a][b] = face_apart(a, b);
  for (unsigned p = 0; p < 256; p++)
    table.components[p] = (uint8_t)boxed_components(joins, p, table.of[p]);
  made = true;
  return &table;
}

/* ---- scan of all boxes ---- */

struct scan {
  struct flux_fine *fine;
  uint8_t *pattern, *several; /* per box: conducting voxels, number of components */
  int64_t nodes, multis;
  int32_t *parent;
  uint8_t *touch;        /* per node: 1 low face, 2 high face */
  bool one_kind;         /* of conductors */
  bool plain;            /* every open face inside a box joins */
  bool strong[3];        /* axes whose faces join */
  int64_t corner[BOX];   /* offsets of a box's voxels */
  int order[FLUX_CODES]; /* of each code's diffusivity */
};
static int64_t box_at(const struct flux_fine *f, int64_t k, int64_t j, int64_t i) {
  return k * f->view.box_plane + j * f->view.box_row + i;
}
static int64_t voxel_at(const struct flux_fine *f, int64_t k, int64_t j, int64_t i) {
  return f->view.origin + k * f->view.plane + j * f->view.row + i;
}
static int64_t voxel_of_box(const struct flux_fine *f, int64_t k, int64_t j, int64_t i, int t) {
  return voxel_at(f, 2 * k + (t >> 2), 2 * j + (t >> 1 & 1), 2 * i + (t & 1));
}
static void scan_free(struct scan *scan) {
  memory_free(scan->pattern);
  memory_free(scan->several);
  memory_free(scan->parent);
  memory_free(scan->touch);
}
static enum status scan_make(struct scan *scan, struct flux_fine *fine) {
  *scan = (struct scan){.fine = fine, .one_kind = true};
  for (int t = 0; t < BOX; t++)
    scan->corner[t] = (t >> 2) * fine->view.plane + (t >> 1 & 1) * fine->view.row + (t & 1);
  TRY(memory_make(fine->box_cells, 1, "box patterns", &scan->pattern));
  TRY(memory_make(fine->box_cells, 1, "box components", &scan->several));
  return STATUS_OK;
}
/* Codes of the same order are within a factor of `alike` of the strongest of them. */
static void orders_set(struct scan *scan, const double conductance[FLUX_CODES][FLUX_CODES]) {
  double strongest = HUGE_VAL;
  for (int c = 0; c < FLUX_CODES; c++) scan->order[c] = 99;
  for (int order = 0; order < FLUX_CODES && strongest > 0; order++) {
    double next = 0;
    for (int c = 1; c < FLUX_CODE_FACE; c++)
      if (scan->order[c] == 99) next = fmax(next, conductance[c][c]);
    strongest = next;
    for (int c = 1; c < FLUX_CODE_FACE; c++)
      if (scan->order[c] == 99 && conductance[c][c] > 0 && conductance[c][c] * alike >= strongest)
        scan->order[c] = order;
  }
}
/* Writes component numbers into the codes of one box that is mixed or comes apart. */
static void split_box(struct scan *scan, int64_t k, int64_t j, int64_t i, unsigned pattern) {
  const struct flux_fine *f = scan->fine;
  uint8_t code[BOX], of[BOX];
  bool joins[BOX][BOX], mixed = !(scan->strong[0] && scan->strong[1] && scan->strong[2]);
  int first           = -1;
  const uint8_t *here = f->code + voxel_at(f, 2 * k, 2 * j, 2 * i);
  unsigned bits       = 0;
  for (int t = 0; t < BOX; t++) {
    if (pattern >> t & 1) bits |= here[scan->corner[t]];
    code[t] = pattern >> t & 1 ? here[scan->corner[t]] & CODE_MASK : 0;
    if (!code[t]) continue;
    if (first >= 0 && scan->order[code[t]] != scan->order[code[first]]) mixed = true;
    first = t;
  }
  int n = table_get()->components[pattern];
  if (!mixed && n == 1 && bits <= CODE_MASK)
    return; /* one component, and no number of another to take off */
  memcpy(of, table_get()->of[pattern], sizeof of);
  if (mixed) {
    for (int a = 0; a < BOX; a++)
      for (int b = 0; b < BOX; b++)
        joins[a][b] = face_apart(a, b) && scan->strong[axis_of(a ^ b)] &&
                      scan->order[code[a]] == scan->order[code[b]];
    n = boxed_components(joins, pattern, of);
  }
  for (int t = 0; t < BOX; t++)
    if (code[t])
      f->code[voxel_of_box(f, k, j, i, t)] = (uint8_t)(code[t] | of[t] << COMPONENT_SHIFT);
  scan->several[box_at(f, k, j, i)] = (uint8_t)n;
}
/* Patterns, components and counts of voxels by code. */
static void scan_boxes(struct scan *scan, const uint8_t *zeros, int64_t count[FLUX_CODES]) {
  struct flux_fine *f       = scan->fine;
  const struct flux_view *v = &f->view;
  const struct table *table = table_get();
  int64_t ones              = 0;
  scan->nodes = scan->multis = 0;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const uint8_t *row[4];
      for (int m = 0; m < 4; m++) {
        const int64_t z = 2 * k + m / 2, y = 2 * j + m % 2;
        row[m] = z < v->n[0] && y < v->n[1] ? f->code + voxel_at(f, z, y, 0) : zeros;
      }
      const int64_t b  = box_at(f, k, j, 0);
      uint8_t *pattern = scan->pattern + b;
      ISA_PICK(flux_patterns)(row, v->n[2], pattern);
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const unsigned p = pattern[i];
        ones += bits_of[p & 15] + bits_of[p >> 4];
        scan->several[b + i] = table->components[p];
        if (p && (!scan->plain || table->components[p] > 1)) split_box(scan, k, j, i, p);
        scan->nodes += scan->several[b + i];
        scan->multis += scan->several[b + i] > 1;
      }
    }
  if (scan->one_kind) {
    for (int c = 1; c < FLUX_CODE_FACE; c++)
      if (count[c] < 0) count[c] = ones;
    return;
  }
  for (int64_t k = 0; k < v->n[0]; k++)
    for (int64_t j = 0; j < v->n[1]; j++)
      for (int64_t i = 0; i < v->n[2]; i++) count[f->code[voxel_at(f, k, j, i)] & CODE_MASK]++;
  count[0] = 0;
}
/* Numbers nodes: by raster, or colour by colour when first[] is given. */
static enum status number_nodes(struct scan *scan, int next[COLOURS]) {
  struct flux_fine *f = scan->fine;
  memory_free(f->multi);
  f->multi = NULL;
  TRY(memory_make(scan->multis, sizeof *f->multi, "split boxes", &f->multi));
  f->multis = 0;
  const int parity =
      (int)((f->mine.start[0] / 2 + f->mine.start[1] / 2 + f->mine.start[2] / 2) & 1);
  int32_t raster = 0;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t b  = box_at(f, k, j, i);
        const int parts  = scan->several[b];
        const int colour = (int)((k + j + i + parity) & 1);
        f->box_node[b]   = -1;
        if (!parts) continue;
        if (parts == 1) {
          f->box_node[b] = next ? next[colour]++ : raster++;
          continue;
        }
        struct flux_multi *multi = &f->multi[f->multis];
        f->box_node[b]           = (int32_t)(-2 - f->multis++);
        *multi            = (struct flux_multi){.box = b, .k = (int)k, .j = (int)j, .i = (int)i};
        multi->components = parts;
        for (int c = 0; c < parts; c++)
          multi->node[c] = next ? next[colour + (c && !scan->plain ? 2 : 0)]++ : raster++;
      }
  return STATUS_OK;
}

/* ---- percolation ---- */

static int32_t root_of(int32_t *parent, int32_t a) {
  while (parent[a] != a) {
    parent[a] = parent[parent[a]];
    a         = parent[a];
  }
  return a;
}
static void join(int32_t *parent, int32_t a, int32_t b) {
  a = root_of(parent, a);
  b = root_of(parent, b);
  if (a < b)
    parent[b] = a;
  else
    parent[a] = b;
}
/* Bits of the faces that two boxes, the second after the first along an axis, have in common. */
static unsigned common(unsigned p, unsigned q, int axis) {
  static const unsigned low[3] = {0x0f, 0x33, 0x55};
  return (p >> (4 >> axis)) & q & low[axis];
}
static void join_voxels(struct scan *scan, const int64_t a[3], const int64_t b[3]) {
  const int32_t m = flux_boxes_node(scan->fine, a[0], a[1], a[2]);
  const int32_t n = flux_boxes_node(scan->fine, b[0], b[1], b[2]);
  if (m >= 0 && n >= 0) join(scan->parent, m, n);
}
/* Joins over the faces from a box to the next along an axis (next may be the first: periodic). */
static void join_boxes(struct scan *scan, const int64_t box[3], int axis) {
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
static void join_inside(struct scan *scan, const struct flux_multi *multi) {
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
static enum status join_here(struct scan *scan) {
  struct flux_fine *f = scan->fine;
  TRY(memory_make_raw(scan->nodes, sizeof *scan->parent, "components", &scan->parent));
  TRY(memory_make(scan->nodes, 1, "components", &scan->touch));
  for (int64_t n = 0; n < scan->nodes; n++) scan->parent[n] = (int32_t)n;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t box[3] = {k, j, i};
        if (scan->pattern[box_at(f, k, j, i)])
          for (int a = 0; a < 3; a++) join_boxes(scan, box, a);
      }
  if (!scan->plain)
    for (int64_t m = 0; m < f->multis; m++) join_inside(scan, &f->multi[m]);
  return STATUS_OK;
}
/* Calls the node of each voxel of a side's inner layer, in order. */
static void side_place(const struct flux_fine *f, int s, int64_t u, int64_t w, int64_t at[3]) {
  const int a        = s / 2;
  at[a]              = s % 2 ? f->view.n[a] - 1 : 0;
  at[a == 0 ? 1 : 0] = u;
  at[a == 2 ? 1 : 2] = w;
}
static void touch_faces(struct scan *scan) {
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
          scan->touch[root_of(scan->parent, node)] |= s % 2 ? 2 : 1;
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
static int64_t name_of(const struct scan *scan, int32_t node) {
  return node < 0 ? -1 : (int64_t)scan->fine->rank << 32 | (uint32_t)root_of(scan->parent, node);
}
static int64_t bonds_unique(struct bond *bond, int64_t n) {
  int64_t kept = 0;
  qsort(bond, (size_t)n, sizeof *bond, bond_order);
  for (int64_t i = 0; i < n; i++)
    if (i == 0 || bond_order(&bond[i], &bond[kept - 1])) bond[kept++] = bond[i];
  return kept;
}
/* Bodies of this rank that touch others, as bonds without repetition. */
static enum status bonds_find(struct scan *scan, struct bond **out, int64_t *n) {
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
static enum status bonds_settle(struct scan *scan, struct bond *bond, int64_t n) {
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
        touch[root_of(parent, (int32_t)name_index(name, names, bond[i].a))] |=
            (uint8_t)(-1 - bond[i].b);
    for (int64_t i = 0; i < names; i++)
      if (name[i] >> 32 == scan->fine->rank)
        scan->touch[name[i] & 0xffffffff] |= touch[root_of(parent, (int32_t)i)];
  }
  memory_free(name);
  memory_free(parent);
  memory_free(touch);
  return s;
}
static enum status join_ranks(MPI_Comm comm, struct scan *scan) {
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
/* Blocks every voxel whose body does not touch the faces wanted, bits as in touch[]. */
static void block_rest(struct scan *scan, uint8_t wanted) {
  struct flux_fine *f = scan->fine;
  for (int64_t n = 0; n < scan->nodes; n++)
    scan->touch[n] |= scan->touch[root_of(scan->parent, (int32_t)n)];
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t b    = box_at(f, k, j, i);
        const int32_t node = f->box_node[b];
        if (node == -1 || (node >= 0 && (scan->touch[node] & wanted) == wanted)) continue;
        for (int t = 0; t < BOX; t++) {
          if (!(scan->pattern[b] >> t & 1)) continue;
          uint8_t *code     = &f->code[voxel_of_box(f, k, j, i, t)];
          const int32_t own = node >= 0 ? node : f->multi[-2 - node].node[*code >> COMPONENT_SHIFT];
          if ((scan->touch[own] & wanted) != wanted) *code = 0;
        }
      }
}
static enum status scan_all(struct scan *scan, int64_t count[FLUX_CODES]) {
  uint8_t *zeros = NULL;
  TRY(memory_make(scan->fine->view.n[2] + PAD, 1, "row", &zeros));
  scan_boxes(scan, zeros, count);
  memory_free(zeros);
  if (scan->nodes >= INT32_MAX / 2) /* of trees, two ends of each edge are numbered, and halo nodes come after all */
    return FAIL(STATUS_MEMORY, "flux: %lld nodes on one rank; use more ranks",
                (long long)scan->nodes);
  return number_nodes(scan, NULL);
}
static void kinds_of(struct scan *scan, int64_t count[FLUX_CODES]) {
  const struct flux_fine *f = scan->fine;
  scan->one_kind            = f->view.uniform || f->kinds <= 1;
  scan->plain               = scan->one_kind;
  for (int a = 0; a < 3; a++) {
    scan->strong[a] = f->factor[a] >= weak_axis;
    scan->plain     = scan->plain && scan->strong[a];
  }
  orders_set(scan, f->conductance);
  for (int c = 0; c < FLUX_CODES; c++)
    count[c] = c && scan->one_kind && f->first_kind == c ? -1 : 0;
}
/* Adds the outer layers that are fixed: all their voxels, or those before a voxel that conducts. */
static void layers_count(const struct flux_fine *f, bool open, int64_t count[FLUX_CODES]) {
  for (int s = 0; s < SIDES && f->middles; s++) {
    const struct flux_side *side = &f->side[s];
    for (int64_t u = 0; side->dirichlet && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t at   = u * side->step_u + w * side->step_v;
        const uint8_t code = f->code[side->outside + at];
        if (code && (!open || f->code[side->inside + at])) count[code]++;
      }
  }
}
enum status flux_boxes_percolate(MPI_Comm comm, const struct flux_case *problem,
                                 struct flux_fine *fine, struct flux_answer *answer) {
  const enum flux_kind kind = problem->kind;
  struct scan scan;
  enum status s = AGREE(comm, scan_make(&scan, fine));
  if (s != STATUS_OK) goto done;
  kinds_of(&scan, answer->voxels);
  s = AGREE(comm, scan_all(&scan, answer->voxels));
  if (s == STATUS_OK) s = AGREE(comm, join_here(&scan));
  if (s != STATUS_OK) goto done;
  touch_faces(&scan);
  s = join_ranks(comm, &scan);
  if (s != STATUS_OK) goto done;
  if (kind != FLUX_CELL) block_rest(&scan, kind == FLUX_THROUGH ? 3 : problem->high ? 2 : 1);
  layers_count(fine, false, answer->voxels);
  MPI_Allreduce(MPI_IN_PLACE, answer->voxels, FLUX_CODES, MPI_INT64_T, MPI_SUM, comm);
done:
  scan_free(&scan);
  return s;
}

/* ---- the first graph ---- */

/* Edges out of the nodes of one box, before they go into rows. */
struct edge {
  int32_t from, to;
  double weight;
  int side;
};
struct edges {
  struct scan *scan;
  struct flux_graph *graph;
  int n;
  bool sided; /* at most one edge per side, which has its place in the row */
  struct edge edge[96];
};
double flux_boxes_face(const struct flux_fine *f, uint8_t in, uint8_t out, int axis) {
  if (!f->middles) return 2 * flux_boxes_count(f, in, in, axis);
  return out ? flux_boxes_count(f, in, out, axis) : 0;
}
/* Of the faces between two boxes of one component each, the second after the first along an axis. */
static double faces_between(const struct scan *scan, const int64_t box[3], unsigned open,
                            int axis) {
  const struct flux_fine *f = scan->fine;
  const uint8_t *here       = f->code + voxel_at(f, 2 * box[0], 2 * box[1], 2 * box[2]);
  const int64_t step        = axis == 0 ? f->view.plane : axis == 1 ? f->view.row : 1;
  const int bit             = 4 >> axis;
  double sum                = 0;
  for (int t = 0; t < BOX; t++) /* `open` has the bits of the lower voxels of a pair of boxes */
    if (!(t & bit) && (open >> t & 1)) {
      const uint8_t *p = here + scan->corner[t | bit];
      sum += flux_boxes_count(f, p[0], p[step], axis);
    }
  return sum;
}
static void edge_add(struct edges *e, int32_t from, int32_t to, double weight) {
  if (from == to) return;
  for (int i = 0; i < e->n; i++)
    if (e->edge[i].from == from && e->edge[i].to == to) {
      e->edge[i].weight += weight;
      return;
    }
  e->edge[e->n++] = (struct edge){from, to, weight, 0};
}
/* Voxel by voxel over one face of a box. */
static void edges_slow(struct edges *e, const int64_t box[3], int s) {
  const struct flux_fine *f = e->scan->fine;
  const int a = s / 2, u = a == 0 ? 1 : 0, w = a == 2 ? 1 : 2;
  const struct flux_side *side = &f->side[s];
  for (int t = 0; t < 4; t++) {
    int64_t p[3] = {2 * box[0], 2 * box[1], 2 * box[2]};
    p[u] += t / 2;
    p[w] += t % 2;
    if (p[u] >= f->view.n[u] || p[w] >= f->view.n[w]) continue;
    if (s % 2) p[a] = p[a] + 1 < f->view.n[a] ? p[a] + 1 : p[a];
    int64_t q[3]       = {p[0], p[1], p[2]};
    q[a]               = p[a] + (s % 2 ? 1 : -1);
    const bool outside = q[a] < 0 || q[a] >= f->view.n[a];
    if (outside && side->rank == MPI_PROC_NULL) continue;
    const uint8_t mine  = f->code[voxel_at(f, p[0], p[1], p[2])];
    const uint8_t other = f->code[voxel_at(f, q[0], q[1], q[2])];
    if (!mine || !other) continue;
    int32_t to;
    if (outside && side->rank != f->rank)
      to = e->scan->fine->halo_node[s][q[u] * side->nv + q[w]];
    else {
      if (outside) q[a] = s % 2 ? 0 : f->view.n[a] - 1;
      to = flux_boxes_node(f, q[0], q[1], q[2]);
    }
    edge_add(e, flux_boxes_node(f, p[0], p[1], p[2]), to, flux_boxes_count(f, mine, other, a));
  }
}
static void edges_inside(struct edges *e, const int64_t box[3]) {
  const struct flux_fine *f = e->scan->fine;
  const unsigned pattern    = e->scan->pattern[box_at(f, box[0], box[1], box[2])];
  for (int a = 0; a < BOX; a++)
    for (int b = 0; b < BOX; b++) {
      if (!(pattern >> a & 1) || !(pattern >> b & 1) || !face_apart(a, b)) continue;
      const int axis             = axis_of(a ^ b);
      const uint8_t p            = f->code[voxel_of_box(f, box[0], box[1], box[2], a)];
      const uint8_t q            = f->code[voxel_of_box(f, box[0], box[1], box[2], b)];
      const struct flux_multi *m = &f->multi[-2 - f->box_node[box_at(f, box[0], box[1], box[2])]];
      edge_add(e, m->node[p >> COMPONENT_SHIFT], m->node[q >> COMPONENT_SHIFT],
               flux_boxes_count(f, p, q, axis));
    }
}
static void edges_of_box(struct edges *e, const int64_t box[3]) {
  static const int stride_of[3] = {0, 1, 2};
  const struct flux_fine *f     = e->scan->fine;
  const int64_t step[3]         = {f->view.box_plane, f->view.box_row, 1};
  const int64_t b               = box_at(f, box[0], box[1], box[2]);
  const int32_t node            = f->box_node[b];
  e->n                          = 0;
  e->sided                      = node >= 0;
  for (int s = 0; s < SIDES; s++) {
    const int a     = stride_of[s / 2];
    const bool edge = s % 2 ? box[a] == f->boxes[a] - 1 : box[a] == 0;
    const int64_t c = b + (s % 2 ? step[a] : -step[a]);
    if (!edge && f->view.uniform && node >= 0 && f->box_node[c] >= -1) {
      const unsigned open = s % 2 ? common(e->scan->pattern[b], e->scan->pattern[c], a)
                                  : common(e->scan->pattern[c], e->scan->pattern[b], a);
      if (open)
        e->edge[e->n++] =
            (struct edge){node, f->box_node[c], bits_of[open & 15] + bits_of[open >> 4], s};
    } else if (!edge && node >= 0 && f->box_node[c] >= -1) {
      int64_t first[3] = {box[0], box[1], box[2]};
      if (s % 2 == 0) first[a]--;
      const unsigned open = s % 2 ? common(e->scan->pattern[b], e->scan->pattern[c], a)
                                  : common(e->scan->pattern[c], e->scan->pattern[b], a);
      if (open)
        e->edge[e->n++] =
            (struct edge){node, f->box_node[c], faces_between(e->scan, first, open, a), s};
    } else if (!edge || f->side[s].rank != MPI_PROC_NULL)
      edges_slow(e, box, s);
    else
      continue;
    e->sided = e->sided && !edge && node >= 0 && f->box_node[c] >= -1;
  }
  if (node < -1 && !e->scan->plain) edges_inside(e, box);
}
/* A box inside the volume, of one component like all its neighbours: at most one edge per side. */
static bool is_simple(const struct flux_fine *f, const int64_t box[3], int64_t b) {
  const int64_t step[3] = {f->view.box_plane, f->view.box_row, 1};
  bool simple           = f->view.uniform && f->box_node[b] >= 0;
  for (int a = 0; a < 3; a++)
    simple = simple && box[a] > 0 && box[a] < f->boxes[a] - 1 && f->box_node[b - step[a]] >= -1 &&
             f->box_node[b + step[a]] >= -1;
  return simple;
}
static void simple_box(struct edges *e, int64_t b, uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  struct flux_graph *g      = e->graph;
  const uint8_t *pattern    = e->scan->pattern;
  const int64_t step[3]     = {f->view.box_plane, f->view.box_row, 1};
  const int32_t row         = f->box_node[b];
  if (!g->slice) {
    length[row] = SIDES; /* slices are nearly always that long */
    return;
  }
  int64_t at = g->slice[row / LANES] + row % LANES;
  float sum  = 0;
  for (int a = 0; a < 3; a++)
    for (int s = -1; s <= 1; s += 2) {
      const int64_t c = b + s * step[a];
      const unsigned open =
          s > 0 ? common(pattern[b], pattern[c], a) : common(pattern[c], pattern[b], a);
      const float weight = (float)(bits_of[open & 15] + bits_of[open >> 4]);
      g->col[at]         = open ? f->box_node[c] : row;
      g->weight[at]      = weight;
      sum += weight;
      at += LANES;
    }
  g->diagonal[row] = sum;
}
static void edges_put(struct edges *e, uint16_t *length) {
  struct flux_graph *g = e->graph;
  for (int q = 0; q < e->n; q++) {
    const int32_t row = e->edge[q].from;
    if (g->slice) {
      const int place  = e->sided ? e->edge[q].side : length[row];
      const int64_t at = g->slice[row / LANES] + (int64_t)place * LANES + row % LANES;
      g->col[at]       = e->edge[q].to;
      g->weight[at]    = (float)e->edge[q].weight;
      g->diagonal[row] += (float)e->edge[q].weight;
    }
    length[row]++;
  }
}
/* Every box's edges: counted into length[] or, with rows made, written. */
static void edges_visit(struct edges *e, uint16_t *length) {
  const struct flux_fine *f = e->scan->fine;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t box[3] = {k, j, i}, b = box_at(f, k, j, i);
        if (!e->scan->several[b]) continue;
        if (is_simple(f, box, b)) {
          simple_box(e, b, length);
          continue;
        }
        edges_of_box(e, box);
        edges_put(e, length);
        if (e->sided) length[f->box_node[b]] = SIDES;
      }
}
/* Nodes on a side, box by box in raster order: both ranks at a border list the same ones in the same
 * order. `halo`: those of the neighbour, numbered from `first` into map; else own rows into list. */
static int side_nodes(const struct flux_fine *f, int s, int first, int32_t *map, int32_t *list) {
  const struct flux_side *side = &f->side[s];
  int n                        = 0;
  for (int64_t u = 0; u < side->nu; u += 2)
    for (int64_t w = 0; w < side->nv; w += 2) {
      int found = 0, part[4];
      for (int t = 0; t < 4; t++) {
        const int64_t uu = u + t / 2, ww = w + t % 2;
        if (uu >= side->nu || ww >= side->nv) continue;
        const int64_t p =
            (map ? side->outside : side->inside) + uu * side->step_u + ww * side->step_v;
        if (map) map[uu * side->nv + ww] = -1;
        if (!f->code[p]) continue;
        const int c = f->code[p] >> COMPONENT_SHIFT;
        int known   = 0;
        while (known < found && part[known] != c) known++;
        if (map) map[uu * side->nv + ww] = first + n + known;
        if (known < found) continue;
        part[found++] = c;
        if (list) {
          int64_t at[3];
          side_place(f, s, uu, ww, at);
          list[n + known] = flux_boxes_node(f, at[0], at[1], at[2]);
        }
      }
      n += found;
    }
  return n;
}
static enum status halo_make(struct edges *e) {
  struct flux_fine *f  = e->scan->fine;
  struct flux_graph *g = e->graph;
  for (int pass = 0; pass < 2; pass++) {
    g->neighbours = 0;
    g->ghosts     = 0;
    int sends     = 0;
    for (int s = 0; s < SIDES; s++) {
      const struct flux_side *side = &f->side[s];
      if (side->rank == MPI_PROC_NULL || side->rank == f->rank) continue;
      if (pass == 0)
        TRY(memory_make_raw(side->nu * side->nv, sizeof(int32_t), "halo nodes",
                            &e->scan->fine->halo_node[s]));
      const int q       = g->neighbours++;
      g->neighbour[q]   = side->rank;
      g->side[q]        = s;
      g->send_start[q]  = sends;
      g->ghost_start[q] = g->ghosts;
      g->ghosts += side_nodes(f, s, g->n + g->ghosts, e->scan->fine->halo_node[s], NULL);
      sends += side_nodes(f, s, 0, NULL, pass ? g->send + sends : NULL);
    }
    g->send_start[g->neighbours]  = sends;
    g->ghost_start[g->neighbours] = g->ghosts;
    if (pass == 0) {
      TRY(memory_make(sends, sizeof *g->send, "halo nodes", &g->send));
      TRY(memory_make(sends, sizeof *g->send_buffer, "halo", &g->send_buffer));
    }
  }
  return STATUS_OK;
}
static enum status faces_make(const struct flux_fine *f, struct flux_graph *g) {
  int room = 0;
  for (int s = 0; s < SIDES; s++)
    if (f->side[s].dirichlet) room += side_nodes(f, s, 0, NULL, NULL);
  TRY(memory_make(room, sizeof *g->face_node, "face nodes", &g->face_node));
  for (int h = 0; h < 2; h++)
    TRY(memory_make(room, sizeof(float), "face nodes", &g->face_weight[h]));
  float *of_node = NULL;
  TRY(memory_make(g->n, sizeof *of_node, "face nodes", &of_node));
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    if (!side->dirichlet) continue;
    for (int64_t u = 0; u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        int64_t p[3];
        side_place(f, s, u, w, p);
        const int32_t node = flux_boxes_node(f, p[0], p[1], p[2]);
        const uint8_t code = f->code[voxel_at(f, p[0], p[1], p[2])];
        const uint8_t out  = f->code[side->outside + u * side->step_u + w * side->step_v];
        if (node >= 0) of_node[node] += (float)flux_boxes_face(f, code, out, s / 2);
      }
    const int n = side_nodes(f, s, 0, NULL, g->face_node + g->faces);
    for (int i = g->faces; i < g->faces + n; i++) {
      const int32_t node       = g->face_node[i];
      g->face_weight[s % 2][i] = of_node[node];
      g->diagonal[node] += of_node[node];
      of_node[node] = 0;
    }
    g->faces += n;
  }
  memory_free(of_node);
  return STATUS_OK;
}
static void places_set(const struct flux_fine *f, const struct scan *scan, struct flux_graph *g) {
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int64_t b = box_at(f, k, j, i);
        for (int c = 0; c < scan->several[b]; c++) {
          const int32_t row =
              f->box_node[b] >= 0 ? f->box_node[b] : f->multi[-2 - f->box_node[b]].node[c];
          g->place[row][0] = (int16_t)k;
          g->place[row][1] = (int16_t)j;
          g->place[row][2] = (int16_t)i;
        }
      }
}
static enum status colours_make(struct scan *scan, struct flux_graph *g) {
  const struct flux_fine *f = scan->fine;
  int count[COLOURS]        = {0}, next[COLOURS];
  const int parity =
      (int)((f->mine.start[0] / 2 + f->mine.start[1] / 2 + f->mine.start[2] / 2) & 1);
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++)
      for (int64_t i = 0; i < f->boxes[2]; i++) {
        const int parts = scan->several[box_at(f, k, j, i)], c = (int)((k + j + i + parity) & 1);
        if (!parts) continue;
        count[c] += scan->plain ? parts : 1;
        if (!scan->plain) count[c + 2] += parts - 1;
      }
  g->colours = scan->plain ? 2 : 4;
  for (int c = 0; c < g->colours; c++) {
    next[c]                = g->colour_start[c];
    g->colour_start[c + 1] = g->colour_start[c] + (count[c] + LANES - 1) / LANES * LANES;
    g->real += count[c];
  }
  g->n = g->colour_start[g->colours];
  return number_nodes(scan, next);
}
static enum status first_graph(struct edges *e, uint16_t **length) {
  struct flux_graph *g = e->graph;
  TRY(fault_here("flux.graph"));
  TRY(colours_make(e->scan, g));
  TRY(halo_make(e));
  TRY(memory_make(g->n, sizeof **length, "row lengths", length));
  TRY(memory_make(g->n, sizeof *g->place, "places", &g->place));
  memset(g->place, -1, (size_t)g->n * sizeof *g->place);
  places_set(e->scan->fine, e->scan, g);
  edges_visit(e, *length);
  TRY(flux_graph_rows(g, *length));
  memset(*length, 0, (size_t)g->n * sizeof **length);
  edges_visit(e, *length);
  TRY(faces_make(e->scan->fine, g));
  for (int i = 0; i < g->n; i++)
    if (!(g->diagonal[i] > 0)) g->diagonal[i] = 1;
  return STATUS_OK;
}
/* Codes become sums of open faces, or get their Dirichlet halo. */
static enum status codes_finish(struct flux_fine *f) {
  const struct flux_view *v = &f->view;
  uint8_t *row              = NULL;
  TRY(memory_make(v->n[2] + PAD, 1, "row", &row));
  for (int64_t k = 0; v->uniform && k < v->n[0]; k++)
    for (int64_t j = 0; j < v->n[1]; j++) {
      uint8_t *code = f->code + voxel_at(f, k, j, 0);
      ISA_PICK(flux_open_faces)(code, v->row, v->plane, v->n[2], row);
      memcpy(code, row, (size_t)v->n[2]);
    }
  memory_free(row);
  for (int s = 0; s < SIDES; s++) {
    const struct flux_side *side = &f->side[s];
    for (int64_t u = 0; side->dirichlet && u < side->nu; u++)
      for (int64_t w = 0; w < side->nv; w++) {
        const int64_t in  = side->inside + u * side->step_u + w * side->step_v;
        const int64_t out = side->outside + u * side->step_u + w * side->step_v;
        if (f->middles) continue;
        if (v->uniform && f->code[in]) f->code[in] = (uint8_t)(f->code[in] + 2);
        if (!v->uniform) f->code[out] = FLUX_CODE_FACE;
      }
  }
  flux_fine_faces(f, 1);
  return STATUS_OK;
}
enum status flux_boxes_graph(MPI_Comm comm, struct flux_fine *fine, struct flux_answer *answer,
                             struct flux_graph *graph) {
  struct scan scan;
  struct edges *e  = NULL;
  uint16_t *length = NULL;
  graph->comm      = fine->size == 1 ? MPI_COMM_SELF : comm;
  enum status s    = AGREE(comm, scan_make(&scan, fine));
  if (s == STATUS_OK) s = AGREE(comm, memory_make(1, sizeof *e, "edges", &e));
  if (s != STATUS_OK) goto done;
  kinds_of(&scan, answer->percolating);
  e->scan  = &scan;
  e->graph = graph;
  s        = AGREE(comm, scan_all(&scan, answer->percolating));
  if (s != STATUS_OK) goto done;
  layers_count(fine, true, answer->percolating);
  MPI_Allreduce(MPI_IN_PLACE, answer->percolating, FLUX_CODES, MPI_INT64_T, MPI_SUM, comm);
  flux_fine_swap_codes(fine);
  s = AGREE(comm, first_graph(e, &length));
  if (s == STATUS_OK) s = AGREE(comm, codes_finish(fine));
  if (s == STATUS_OK) flux_fine_swap_codes(fine);
done:
  memory_free(e);
  memory_free(length);
  scan_free(&scan);
  return s;
}
