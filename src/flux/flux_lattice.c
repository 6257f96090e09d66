/* The lattices of the first graphs: rows, links and trees, and a graph's kernels on rows inside and outside of them. */
#include "flux_lattice.h"
#include <stdlib.h>
#include <string.h>

static int in_slices(int n) { return (n + LANES - 1) / LANES * LANES; }

/* ---- making ---- */

/* Rows between planes and colours, and bytes between arrays of faces, without which all that belongs to a box would often fall
 * into the same sets of a cache. */
enum { PLANE_GAP = 4 * LANES, COLOUR_GAP = 5 * LANES, FACES_GAP = 192 };

static int64_t plane_of(const int64_t boxes[3]) {
  return boxes[1] * in_slices((int)((boxes[2] + 1) / 2)) + PLANE_GAP;
}
int64_t flux_lattice_rows(const int64_t boxes[3]) {
  return 2 * (boxes[0] * plane_of(boxes) + COLOUR_GAP);
}
enum status flux_lattice_make(struct flux_graph *g, const int64_t boxes[3], int parity,
                              const int others[2]) {
  struct flux_lattice *t = &g->lattice;
  t->parity              = parity;
  t->pitch               = in_slices((int)((boxes[2] + 1) / 2));
  for (int a = 0; a < 3; a++) t->boxes[a] = boxes[a];
  t->plane           = (int)plane_of(boxes);
  const int rows     = (int)flux_lattice_rows(boxes) / 2;
  const int64_t side = 2 * (int64_t)rows + FACES_GAP;
  g->colours         = 4;
  g->colour_start[1] = in_slices(others[0]);
  g->colour_start[2] = g->colour_start[1] + in_slices(others[1]);
  if (g->colour_start[2] == 0)
    g->colour_start[2] = LANES; /* the first box looks at the row before */
  g->colour_start[3] = g->colour_start[2] + rows;
  g->colour_start[4] = g->colour_start[3] + rows;
  g->loose           = g->colour_start[2];
  g->n               = g->colour_start[4];
  t->first[0]        = g->colour_start[2];
  t->first[1]        = g->colour_start[3];
  TRY(memory_make(SIDES * side, 1, "lattice", &t->faces[0]));
  for (int s = 1; s < SIDES; s++) t->faces[s] = t->faces[0] + s * side;
  TRY(memory_make(2 * (int64_t)rows, 1, "lattice", &t->kind));
  return memory_make(((boxes[0] + 1) / 2) * ((boxes[1] + 1) / 2) * ((boxes[2] + 1) / 2),
                     sizeof *t->tie, "lattice", &t->tie);
}
static int by_row(const void *a, const void *b) {
  const struct flux_link *x = a, *y = b;
  if (x->row != y->row) return x->row < y->row ? -1 : 1;
  return (x->col > y->col) - (x->col < y->col);
}
void flux_lattice_finish(struct flux_graph *g, int links) {
  struct flux_lattice *t = &g->lattice;
  ISA_PICK(flux_lattice_diagonal)(g);
  if (links) qsort(t->link, (size_t)links, sizeof *t->link, by_row);
  int n = 0;
  for (int l = 0; l < links; l++) {
    if (n && by_row(&t->link[l], &t->link[n - 1]) == 0)
      t->link[n - 1].weight += t->link[l].weight;
    else
      t->link[n++] = t->link[l];
  }
  t->links[2] = n;
  for (int l = 0; l < n; l++) {
    const struct flux_link *k = &t->link[l];
    t->links[1] += k->row < t->first[1];
    t->kind[k->row - t->first[0]] |= LATTICE_LINKED;
    g->diagonal[k->row] += k->weight;
  }
}
void flux_lattice_leave(struct flux_lattice *t, const int64_t at[3]) {
  const int32_t row = flux_lattice_row(t, at[0], at[1], at[2]) - t->first[0];
  for (int s = 0; s < SIDES; s++) {
    int64_t next[3];
    t->faces[s][row] = 0;
    if (flux_lattice_beyond(t, at, s, next))
      t->faces[s ^ 1][flux_lattice_row(t, next[0], next[1], next[2]) - t->first[0]] = 0;
  }
  *flux_lattice_tie(t, at[0] / 2, at[1] / 2, at[2] / 2) |= TIE_LOOSE;
}
void flux_lattice_free(struct flux_lattice *t) {
  memory_free(t->faces[0]);
  memory_free(t->kind);
  memory_free(t->tie);
  memory_free(t->link);
  memory_free(t->stray);
}
int flux_lattice_link(const struct flux_lattice *t, int32_t row) {
  int low = 0, high = t->links[2];
  while (low < high) {
    const int middle = (low + high) / 2;
    if (t->link[middle].row < row)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* ---- trees inside 2 x 2 x 2 boxes ---- */

/* Breadth first from the lowest box of each body; moves go backwards. */
static void tree_make(uint32_t pairs, struct flux_tree *tree) {
  int queue[BOX], n = 0, done = 0;
  uint8_t up[BOX] = {0}, over[BOX] = {0};
  bool is_root[BOX] = {0};
  for (int root = 0; root < BOX; root++) {
    if (done >> root & 1) continue;
    done |= 1 << root;
    is_root[root]    = true;
    tree->body[root] = tree->bodies;
    tree->roots |= (uint8_t)(1 << root);
    queue[n++] = root;
    for (int q = n - 1; q < n; q++)
      for (int side = 0; side < SIDES; side++) {
        const int b = queue[q], other = b ^ 4 >> side / 2;
        if ((side & 1) == (other < b) || !(pairs >> flux_pair_bit(b & other, side / 2) & 1))
          continue;
        if (done >> other & 1) continue;
        done |= 1 << other;
        tree->body[other] = tree->bodies;
        up[other]         = (uint8_t)b;
        over[other]       = (uint8_t)(side ^ 1);
        queue[n++]        = other;
      }
    tree->bodies++;
  }
  for (int q = n - 1; q >= 0; q--) {
    const int b = queue[q], m = tree->moves;
    if (is_root[b]) continue;
    tree->from[m] = (uint8_t)b;
    tree->to[m]   = up[b];
    tree->side[m] = over[b];
    tree->moves++;
  }
}
const struct flux_tree *flux_lattice_tree(uint32_t tie) {
  static struct flux_tree table[TIE_PAIRS + 1];
  static bool made;
  for (uint32_t pairs = 0; pairs <= TIE_PAIRS && !made; pairs++) tree_make(pairs, &table[pairs]);
  made = true;
  return &table[tie & TIE_PAIRS];
}
static uint8_t faces_at(const struct flux_lattice *t, int side, int32_t row) {
  return t->faces[side][row - t->first[0]];
}
/* at: of the row among those that begin with `first`; entry: of theirs; by: 1 over faces. */
static void carry_over(struct flux_graph *g, const int32_t first[BOX], const int64_t entry[BOX],
                       const double *by, int32_t i, int64_t at, int from, int to, int side) {
  const int32_t a = first[from] + i, b = first[to] + i;
  float *out = &g->entry_flux[entry[from] + at + side * LANES];
  *out += (float)(g->load[a] * by[faces_at(&g->lattice, side, a)]);
  g->entry_flux[entry[to] + at + (side ^ 1) * LANES] = -*out;
  g->load[b] += g->load[a];
  g->load[a] = 0;
}
void flux_lattice_trees(struct flux_graph *g) {
  const struct flux_lattice *t = &g->lattice;
  double by[UINT8_MAX + 1]     = {0};
  for (int faces = 1; faces <= t->most; faces++) by[faces] = 1. / faces;
  EACH_EIGHT(t, k, j, first) {
    const uint32_t *tie = flux_lattice_tie(t, k, j, 0);
    int64_t entry[BOX];
    for (int b = 0; b < BOX; b++) entry[b] = first[b] < 0 ? 0 : flux_lattice_entry(t, first[b]);
    for (int32_t i = 0; i < flux_lattice_eights(t); i++) {
      const struct flux_tree *tree = flux_lattice_tree(tie[i]);
      const int64_t at             = i / LANES * LANES * SIDES + i % LANES;
      for (int m = 0; m < tree->moves && !(tie[i] & TIE_LOOSE); m++)
        carry_over(g, first, entry, by, i, at, tree->from[m], tree->to[m], tree->side[m]);
    }
  }
}

void flux_lattice_borders(struct flux_graph *g) {
  const struct flux_lattice *t = &g->lattice;
  unsigned met                 = 0;
  for (int l = 0; l < t->links[2]; l++) {
    const struct flux_link *k = &t->link[l];
    int q                     = 0;
    if (l == 0 || k->row != t->link[l - 1].row) met = 0;
    if (k->col < g->n) continue;
    while (k->col - g->n >= g->ghost_start[q + 1]) q++;
    const int s = g->side[q];
    if (met >> s & 1) t->kind[k->row - t->first[0]] |= LATTICE_FORKED;
    met |= 1u << s;
    g->entry_flux[flux_lattice_entry(t, k->row) + s * LANES] =
        g->entry_flux[flux_lattice_link_entry(g, l)];
  }
}

/* ---- all rows of a graph ---- */

double flux_graph_weight(const struct flux_graph *g, int32_t row, int64_t e) {
  const struct flux_lattice *t = &g->lattice;
  const int64_t link           = e - flux_lattice_link_entry(g, 0);
  if (e < t->entry) return (double)g->weight[e];
  if (link >= 0) return (double)t->link[link].weight;
  return faces_at(t, (int)((e - t->entry) / LANES % SIDES), row);
}
void flux_graph_sweep(const struct flux_graph *g, int colour, bool start) {
  const struct flux_lattice *t = &g->lattice;
  const int c                  = colour - 2;
  if (!t->pitch || colour < 2) {
    ISA_PICK(flux_sweep)(g, colour, start && colour == 0);
    return;
  }
  ISA_PICK(flux_lattice_sweep)(g, c, start && c == 0);
  for (int l = t->links[c]; l < t->links[c + 1]; l++)
    g->x[t->link[l].row] += t->link[l].weight * g->x[t->link[l].col] / g->diagonal[t->link[l].row];
}
void flux_graph_residual(const struct flux_graph *g, int rows, float *r) {
  const struct flux_lattice *t = &g->lattice;
  ISA_PICK(flux_residual)(g, rows < g->loose ? rows : g->loose, r);
  if (!t->pitch) return;
  const int colours = rows > t->first[1] ? 2 : 1;
  ISA_PICK(flux_lattice_residual)(g, colours, r);
  for (int l = 0; l < t->links[colours]; l++)
    r[t->link[l].row] += t->link[l].weight * g->x[t->link[l].col];
}
void flux_graph_apply(const struct flux_graph *g, const float *x, const float *v, float *out,
                      double dots[4]) {
  const struct flux_lattice *t = &g->lattice;
  ISA_PICK(flux_apply)(g, x, v, out, dots);
  if (!t->pitch) return;
  ISA_PICK(flux_lattice_apply)(g, x, v, out, dots);
  for (int l = 0; l < t->links[2]; l++) {
    const float over = t->link[l].weight * x[t->link[l].col];
    if (out) out[t->link[l].row] -= over;
    dots[0] -= (double)over * (double)x[t->link[l].row];
  }
}
void flux_graph_restrict(const struct flux_graph *g, const float *r, int rows,
                         struct flux_graph *next) {
  const struct flux_lattice *t = &g->lattice;
  const bool lattice           = next->lattice.pitch > 0;
  const int singly             = lattice && rows > g->loose ? g->loose : rows;
  memset(next->b, 0, (size_t)next->loose * sizeof *next->b);
  if (lattice) ISA_PICK(flux_lattice_restrict)(g, r, rows, next);
  for (int i = 0; i < singly; i++)
    if (g->agg[i] >= 0) next->b[g->agg[i]] += r[i];
  for (int s = 0; s < t->strays; s++)
    if (t->stray[s] < rows) next->b[g->agg[t->stray[s]]] += r[t->stray[s]];
}
void flux_graph_prolong(struct flux_graph *g, const struct flux_graph *next, float over) {
  const struct flux_lattice *t = &g->lattice;
  const bool lattice           = next->lattice.pitch > 0;
  const int singly             = lattice ? g->loose : g->n;
  if (lattice) ISA_PICK(flux_lattice_prolong)(g, next, over);
  for (int i = 0; i < singly; i++)
    if (g->agg[i] >= 0) g->x[i] += over * next->x[g->agg[i]];
  for (int s = 0; s < t->strays; s++) g->x[t->stray[s]] += over * next->x[g->agg[t->stray[s]]];
}
void flux_graph_carry_potential(const struct flux_graph *g, const float *z, double scale) {
  const struct flux_lattice *t = &g->lattice;
  const float times            = (float)scale;
  ISA_PICK(flux_carry_potential)(g, z, scale);
  if (!t->pitch) return;
  ISA_PICK(flux_lattice_carry)(g, z, scale);
  for (int l = 0; l < t->links[2]; l++) {
    const int32_t i  = t->link[l].row;
    const float flux = times * (z[i] - z[t->link[l].col]);
    g->load[i] -= (double)t->link[l].weight * (double)flux;
  }
}
static float above_of(const struct flux_graph *g, const struct flux_graph *next, int32_t i,
                      int32_t col, uint8_t up) {
  const int32_t row = g->agg[i];
  if (up == UP_INSIDE) return 0;
  if (up == UP_SEARCH) return next->entry_flux[flux_graph_find(next, row, g->agg[col])];
  return next->entry_flux[next->slice[row / LANES] + row % LANES + (int64_t)up * LANES];
}
/* Adds what comes from above to the flux of a lattice row's entry. */
static void stray_add(const struct flux_graph *g, int32_t row, int64_t e, uint8_t faces,
                      float above) {
  const double before = (double)g->entry_flux[e];
  g->entry_flux[e] += above;
  g->load[row] -= faces * ((double)g->entry_flux[e] - before);
}
/* Edges of strays, and of their neighbours to them. */
static void strays_split(const struct flux_graph *g, const struct flux_graph *next) {
  const struct flux_lattice *t = &g->lattice;
  for (int s = 0; s < t->strays; s++) {
    const int32_t row = t->stray[s];
    const int64_t e   = flux_lattice_entry(t, row);
    int64_t at[3], step[SIDES];
    const int colour = flux_lattice_place(t, row, at);
    flux_lattice_steps(t, colour, at[0], at[1], step);
    for (int d = 0; d < SIDES; d++) {
      const int32_t beyond = (int32_t)(row + step[d]);
      const uint8_t faces = faces_at(t, d, row), up = g->up[e + d * LANES];
      if (!faces || up == UP_INSIDE) continue;
      const float above = above_of(g, next, row, beyond, up);
      stray_add(g, row, e + d * LANES, faces, above);
      if (g->agg[beyond] >= next->loose)
        stray_add(g, beyond, flux_lattice_entry(t, beyond) + (d ^ 1) * LANES, faces, -above);
    }
  }
}
void flux_graph_split(const struct flux_graph *g, const struct flux_graph *next, const float *z,
                      double scale) {
  const struct flux_lattice *t = &g->lattice;
  const float times            = (float)scale;
  ISA_PICK(flux_split)(g, next, z, scale);
  if (!t->pitch) return;
  ISA_PICK(flux_lattice_split)(g, next, z, scale);
  strays_split(g, next);
  for (int l = 0; l < t->links[2]; l++) {
    const int64_t e = flux_lattice_link_entry(g, l);
    const int32_t i = t->link[l].row, col = t->link[l].col;
    const float along = z ? times * (z[i] - z[col]) : 0;
    g->entry_flux[e]  = along + above_of(g, next, i, col, g->up[e]);
    g->load[i] -= (double)t->link[l].weight * ((double)g->entry_flux[e] - (double)along);
  }
}
