/* Boxes of 2 x 2 x 2 voxels. A node is a connected component of the conducting voxels of a box (of conductances that are
 * much alike, so that a weak bridge does not weld two strong bodies). */
#include "flux_boxes.h"
#include <math.h>
#include <string.h>

/* Faces of an axis this much weaker than those of another do not join: a box then gives several nodes,
 * which the next graphs join when their edges have become equals (semi-coarsening). */
static const double weak_axis = 0.3;
static const double alike     = 6;

/* ---- components of a box ---- */

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

void flux_scan_free(struct flux_scan *scan) {
  memory_free(scan->pattern);
  memory_free(scan->several);
  memory_free(scan->kind);
  memory_free(scan->parent);
  memory_free(scan->touch);
}
/* Codes of the same order are within a factor of `alike` of the strongest of them. */
static void orders_set(struct flux_scan *scan, const double conductance[FLUX_CODES][FLUX_CODES]) {
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
static void split_box(struct flux_scan *scan, int64_t k, int64_t j, int64_t i, unsigned pattern) {
  const struct flux_fine *f = scan->fine;
  uint8_t code[BOX], of[BOX];
  bool joins[BOX][BOX], mixed = !(scan->strong[0] && scan->strong[1] && scan->strong[2]);
  int first           = -1;
  const uint8_t *here = f->code + voxel_at(f, 2 * k, 2 * j, 2 * i);
  unsigned bits       = 0;
  uint8_t kind        = 0;
  for (int t = 0; t < BOX; t++) {
    if (pattern >> t & 1) bits |= here[scan->corner[t]];
    code[t] = pattern >> t & 1 ? here[scan->corner[t]] & CODE_MASK : 0;
    if (!code[t]) continue;
    if (first >= 0 && scan->order[code[t]] != scan->order[code[first]]) mixed = true;
    if (first >= 0 && code[t] != code[first]) kind = KIND_SEVERAL;
    if (first < 0) kind = code[t];
    first = t;
  }
  if (scan->kind) scan->kind[box_at(f, k, j, i)] = kind;
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
static void components_find(struct flux_scan *scan, int64_t k, int64_t j, int64_t i,
                            unsigned pattern) {
  const int64_t b  = box_at(scan->fine, k, j, i);
  scan->several[b] = table_get()->components[pattern];
  if (scan->kind) scan->kind[b] = 0;
  if (pattern && (!scan->plain || scan->several[b] > 1)) split_box(scan, k, j, i, pattern);
  scan->nodes += scan->several[b];
  scan->multis += scan->several[b] > 1;
}
void flux_scan_change(struct flux_scan *scan, int64_t k, int64_t j, int64_t i, uint8_t pattern) {
  const int64_t b = box_at(scan->fine, k, j, i);
  scan->nodes -= scan->several[b];
  scan->multis -= scan->several[b] > 1;
  scan->pattern[b] = pattern;
  components_find(scan, k, j, i, pattern);
}
/* Are this box and the next seven, all of the row, alike and plain: without any conductor, or all conductors? */
static bool eight_alike(const struct flux_scan *scan, int64_t b, int64_t rest, bool *full) {
  uint64_t eight;
  if (rest < 8 || !scan->plain) return false;
  memcpy(&eight, scan->pattern + b, sizeof eight);
  *full = eight != 0;
  return eight == 0 || eight == UINT64_MAX;
}
/* Components of a row of boxes; gives the number of voxels that conduct. */
static int64_t row_scan(struct flux_scan *scan, int64_t k, int64_t j) {
  const int64_t n = scan->fine->boxes[2], b = box_at(scan->fine, k, j, 0);
  int64_t ones = 0;
  for (int64_t i = 0; i < n;) {
    bool full;
    if (eight_alike(scan, b + i, n - i, &full)) {
      memset(scan->several + b + i, full, 8);
      scan->nodes += full ? 8 : 0;
      ones += full ? 64 : 0;
      i += 8;
      continue;
    }
    const unsigned p = scan->pattern[b + i];
    ones += bits_of[p & 15] + bits_of[p >> 4];
    components_find(scan, k, j, i++, p);
  }
  return ones;
}
/* Patterns, components and counts of voxels by code. */
static void scan_boxes(struct flux_scan *scan, const uint8_t *zeros, int64_t count[FLUX_CODES]) {
  struct flux_fine *f       = scan->fine;
  const struct flux_view *v = &f->view;
  int64_t ones              = 0;
  scan->nodes = scan->multis = 0;
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const uint8_t *row[4];
      for (int m = 0; m < 4; m++) {
        const int64_t z = 2 * k + m / 2, y = 2 * j + m % 2;
        row[m] = z < v->n[0] && y < v->n[1] ? f->code + voxel_at(f, z, y, 0) : zeros;
      }
      ISA_PICK(flux_patterns)(row, v->n[2], scan->pattern + box_at(f, k, j, 0));
      ones += row_scan(scan, k, j);
    }
  for (int c = 0; c < FLUX_CODES; c++)
    count[c] = scan->one_kind && c && c == f->first_kind ? ones : 0;
  if (scan->one_kind) return;
  for (int64_t k = 0; k < v->n[0]; k++)
    for (int64_t j = 0; j < v->n[1]; j++)
      for (int64_t i = 0; i < v->n[2]; i++) count[f->code[voxel_at(f, k, j, i)] & CODE_MASK]++;
  count[0] = 0;
}

/* ---- numbers of nodes ---- */

/* Boxes of one node have the names of their places, */
static void row_name(int32_t *restrict node, const uint8_t *restrict parts, int32_t n,
                     int32_t first) {
  for (int32_t i = 0; i < n; i++) node[i] = parts[i] == 1 ? first + i : -1;
}
/* or even and odd ones are rows of a lattice, */
static void row_number_by_lattice(int32_t *restrict node, const uint8_t *restrict parts, int32_t n,
                                  int32_t even, int32_t odd) {
  for (int32_t i = 0; i < n; i++) node[i] = parts[i] == 1 ? (i & 1 ? odd : even) + (i >> 1) : -1;
}
/* or are numbered one after the other, by colour. */
static void row_number_by_colour(int32_t *node, const uint8_t *parts, int64_t n, int colour,
                                 int next[COLOURS]) {
  for (int64_t i = 0; i < n; i++) node[i] = parts[i] == 1 ? next[(colour + i) & 1]++ : -1;
}
static void multi_number(struct flux_scan *scan, int64_t k, int64_t j, int64_t i, int *next) {
  struct flux_fine *f      = scan->fine;
  const int64_t b          = box_at(f, k, j, i);
  struct flux_multi *multi = &f->multi[f->multis];
  f->box_node[b]           = (int32_t)(-2 - f->multis++);
  *multi                   = (struct flux_multi){.box = b, .k = (int)k, .j = (int)j, .i = (int)i};
  multi->components        = scan->several[b];
  for (int c = 0; c < multi->components; c++)
    multi->node[c] = next ? next[c && !scan->plain ? 2 : 0]++ : (int32_t)scan->names++;
}
enum status flux_scan_number(struct flux_scan *scan, int next[COLOURS],
                             const struct flux_lattice *lattice) {
  struct flux_fine *f = scan->fine;
  memory_free(f->multi);
  f->multi = NULL;
  TRY(memory_make(scan->multis, sizeof *f->multi, "split boxes", &f->multi));
  f->multis   = 0;
  scan->names = f->box_cells;
  const int parity =
      (int)((f->mine.start[0] / 2 + f->mine.start[1] / 2 + f->mine.start[2] / 2) & 1);
  for (int64_t k = 0; k < f->boxes[0]; k++)
    for (int64_t j = 0; j < f->boxes[1]; j++) {
      const int64_t b = box_at(f, k, j, 0), n = f->boxes[2];
      const uint8_t *parts = scan->several + b;
      const int colour     = (int)((k + j + parity) & 1);
      uint8_t most         = 0;
      if (!next)
        row_name(f->box_node + b, parts, (int32_t)n, (int32_t)b);
      else if (!lattice)
        row_number_by_colour(f->box_node + b, parts, n, colour, next);
      else
        row_number_by_lattice(f->box_node + b, parts, (int32_t)n,
                              flux_lattice_row(lattice, k, j, 0),
                              flux_lattice_row(lattice, k, j, 1));
      for (int64_t i = 0; i < n; i++) most = parts[i] > most ? parts[i] : most;
      for (int64_t i = 0; i < n && most > 1; i++)
        if (parts[i] > 1) multi_number(scan, k, j, i, next ? next + ((colour + i) & 1) : NULL);
    }
  return STATUS_OK;
}

static void scan_kinds(struct flux_scan *scan) {
  const struct flux_fine *f = scan->fine;
  scan->one_kind            = f->view.uniform || f->kinds <= 1;
  scan->plain               = scan->one_kind;
  for (int a = 0; a < 3; a++) {
    scan->strong[a] = f->factor[a] >= weak_axis;
    scan->plain     = scan->plain && scan->strong[a];
  }
  orders_set(scan, f->conductance);
}
enum status flux_scan_make(struct flux_scan *scan, struct flux_fine *fine) {
  *scan = (struct flux_scan){.fine = fine};
  for (int t = 0; t < BOX; t++)
    scan->corner[t] = (t >> 2) * fine->view.plane + (t >> 1 & 1) * fine->view.row + (t & 1);
  scan_kinds(scan);
  TRY(memory_make(fine->box_cells, 1, "box patterns", &scan->pattern));
  TRY(memory_make(fine->box_cells, 1, "box components", &scan->several));
  return scan->one_kind ? STATUS_OK : memory_make(fine->box_cells, 1, "box codes", &scan->kind);
}
enum status flux_scan_all(struct flux_scan *scan, int64_t count[FLUX_CODES]) {
  uint8_t *zeros = NULL;
  TRY(memory_make(scan->fine->view.n[2] + PAD, 1, "row", &zeros));
  scan_boxes(scan, zeros, count);
  memory_free(zeros);
  /* of trees, two ends of each edge are numbered, and halo nodes come after all */
  if (scan->nodes >= INT32_MAX / 2)
    return FAIL(STATUS_MEMORY, "flux: %lld nodes on one rank; use more ranks",
                (long long)scan->nodes);
  if (scan->fine->box_cells + BOX * scan->multis > INT32_MAX)
    return FAIL(STATUS_MEMORY, "flux: %lld boxes of 2 x 2 x 2 voxels on one rank; use more ranks",
                (long long)scan->fine->box_cells);
  return flux_scan_number(scan, NULL, NULL);
}
/* Adds the outer layers that are fixed: all their voxels, or those before a voxel that conducts. */
void flux_layers_count(const struct flux_fine *f, bool open, int64_t count[FLUX_CODES]) {
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
