/* Coarse graphs on fewer ranks. When a graph has become small for its ranks, those of up to 2 x 2 x 2 neighbouring parts
 * of the volume (all, where eight ranks or fewer are left) give their rows to the first of them, which goes on with what
 * was once theirs: residuals are gathered to it, corrections scattered from it, and the others wait. The copy is the same
 * graph with the same weights; its aggregates no longer end at the borders that have gone. So the busiest rank's work on
 * small graphs shrinks with them, and sums go over few ranks. A rank without a part has empty graphs. */
#include "flux_inner.h"
#include <string.h>

/* Sent to the first of a group: an edge or a face. to: number in the group; from `nodes` on, a halo node; -1, -2: low, high
 * face. A place travels as from, -3 - axis, coordinate. */
struct piece {
  int32_t from, to;
  float weight;
};
/* What members tell one another. */
struct counts {
  int real, edges, faces, pieces, sends[SIDES], ghosts[SIDES];
};
struct merging {
  struct flux_merge *w;
  const struct flux_fine *fine;
  struct flux_graph *from, *to;
  struct counts mine, *counts; /* of each member */
  int rank;                    /* in the group */
  int64_t nodes, pieces_all;
  int ghosts, sends;   /* of the copy */
  int32_t *number;     /* of this rank's rows and halo nodes */
  struct piece *piece; /* this rank's; on the first, all: */
  struct piece *all;
  int32_t *send, *send_all;
  int32_t (*place)[3];
};

void flux_merge_free(struct flux_merge *w) {
  void *const owned[] = {w->count,       w->start,  w->edges,   w->edges_start, w->faces,
                         w->faces_start, w->row,    w->row_all, w->entry,       w->some,
                         w->all,         w->some_d, w->all_d};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) memory_free(owned[i]);
  if (w->made && w->group != MPI_COMM_NULL) MPI_Comm_free(&w->group);
  if (w->made && w->team != MPI_COMM_NULL && w->team != MPI_COMM_SELF) MPI_Comm_free(&w->team);
  *w = (struct flux_merge){0};
}

/* ---- who goes with whom ---- */

/* Of a rank's part among the parts; false: it has none. */
static bool part_of(const struct grid_plan *p, int rank, int part[3]) {
  part[0] = rank / (p->parts[1] * p->parts[2]);
  part[1] = rank / p->parts[2] % p->parts[1];
  part[2] = rank % p->parts[2];
  return part[0] < p->parts[0];
}
static int rank_of(const struct grid_plan *p, const int part[3]) {
  return (part[0] * p->parts[1] + part[1]) * p->parts[2] + part[2];
}
static int groups_of(const struct grid_plan *p, int axis, int step) {
  return (p->parts[axis] + step - 1) / step;
}
int flux_merge_team(const struct grid_plan *p, int step) {
  return groups_of(p, 0, step) * groups_of(p, 1, step) * groups_of(p, 2, step);
}
bool flux_merge_wanted(const struct grid_plan *p, int step, int64_t nodes) {
  const int team = flux_merge_team(p, step);
  return team > 1 && nodes < (team <= MERGE_RANKS ? ALONE_NODES : MERGE_NODES * (int64_t)team);
}
int flux_merge_step(const struct grid_plan *p, int step) {
  if (flux_merge_team(p, step) > MERGE_RANKS) return 2 * step;
  int all = 2 * step;
  while (flux_merge_team(p, all) > 1) all *= 2;
  return all;
}
static bool same_group(const struct grid_plan *p, int step, int rank, int other) {
  int a[3], b[3];
  part_of(p, rank, a);
  part_of(p, other, b);
  return a[0] / step == b[0] / step && a[1] / step == b[1] / step && a[2] / step == b[2] / step;
}
/* The first rank of the group beyond side s of this rank's. */
static int leader_beyond(const struct grid_plan *p, int step, int rank, int s) {
  int part[3];
  part_of(p, rank, part);
  for (int a = 0; a < 3; a++) {
    int group = part[a] / step;
    if (a == s / 2)
      group = (group + (s % 2 ? 1 : -1) + groups_of(p, a, step)) % groups_of(p, a, step);
    part[a] = group * step;
  }
  return rank_of(p, part);
}
/* Where a rank's boxes of graph level start among all. */
static void shift_of(const struct grid_plan *p, const int part[3], int level, int64_t shift[3]) {
  for (int a = 0; a < 3; a++) {
    shift[a] = 0;
    for (int i = 0; i < part[a]; i++) {
      int64_t n = p->cut[a][i + 1] - p->cut[a][i];
      for (int l = 0; l <= level; l++) n = (n + 1) / 2;
      shift[a] += n;
    }
  }
}
/* Collective over comm. The group of each rank that holds a part of `from`, and the ranks that go on. */
static void groups_make(MPI_Comm comm, const struct flux_fine *f, int step, bool holds,
                        struct flux_merge *w) {
  const struct grid_plan *p = &f->plan;
  int part[3], group[3];
  part_of(p, f->rank, part);
  w->leads = holds;
  for (int a = 0; a < 3; a++) {
    group[a] = part[a] / step;
    w->leads = w->leads && part[a] % step == 0;
  }
  const int colour =
      (group[0] * groups_of(p, 1, step) + group[1]) * groups_of(p, 2, step) + group[2];
  MPI_Comm_split(comm, holds ? colour : MPI_UNDEFINED, f->rank, &w->group);
  w->team = MPI_COMM_NULL;
  if (flux_merge_team(p, step) > 1)
    MPI_Comm_split(comm, w->leads ? 0 : MPI_UNDEFINED, f->rank, &w->team);
  else if (w->leads)
    w->team = MPI_COMM_SELF;
  w->made = true;
}

/* ---- what is told ---- */

static bool is_node(const struct flux_graph *g, int row) { return g->place[row][0] >= 0; }
static bool leaves(const struct merging *m, int q) {
  return !same_group(&m->fine->plan, m->w->step, m->fine->rank, m->from->neighbour[q]);
}
static enum status counts_mine(struct merging *m) {
  const struct flux_graph *g = m->from;
  struct flux_merge *w       = m->w;
  int n                      = 0;
  int64_t edges              = 0;
  TRY(fault_here("flux.merge"));
  TRY(memory_make(g->real, sizeof *w->row, "rows", &w->row));
  TRY(memory_make((int64_t)g->n + g->ghosts, sizeof *m->number, "numbers", &m->number));
  for (int i = 0; i < g->n; i++) {
    if (!is_node(g, i)) continue;
    w->row[n++] = i;
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      edges += g->weight[e] > 0;
  }
  m->mine = (struct counts){.real = g->real};
  for (int i = 0; i < g->faces; i++)
    for (int h = 0; h < 2; h++) m->mine.faces += g->face_weight[h][i] > 0;
  for (int q = 0; q < g->neighbours; q++) {
    if (!leaves(m, q)) continue;
    m->mine.sends[g->side[q]]  = g->send_start[q + 1] - g->send_start[q];
    m->mine.ghosts[g->side[q]] = g->ghost_start[q + 1] - g->ghost_start[q];
  }
  const int64_t pieces = edges + m->mine.faces + 3 * (int64_t)g->real;
  if (pieces > INT32_MAX / (int64_t)sizeof(struct piece))
    return FAIL(
        STATUS_MEMORY,
        "flux: %lld edges of a graph that no longer gets smaller are too many for one message",
        (long long)edges);
  m->mine.edges  = (int)edges;
  m->mine.pieces = (int)pieces;
  return STATUS_OK;
}
static enum status counts_room(struct merging *m) {
  struct flux_merge *w = m->w;
  if (w->group == MPI_COMM_NULL) return STATUS_OK;
  MPI_Comm_size(w->group, &w->size);
  MPI_Comm_rank(w->group, &m->rank);
  int **const lists[] = {&w->count,       &w->start, &w->edges,
                         &w->edges_start, &w->faces, &w->faces_start};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    TRY(memory_make(w->size + 1, sizeof(int), "counts", lists[i]));
  return memory_make(w->size, sizeof *m->counts, "counts", &m->counts);
}
/* Collective over the group. */
static enum status counts_swap(struct merging *m) {
  struct flux_merge *w = m->w;
  if (w->group == MPI_COMM_NULL) return STATUS_OK;
  MPI_Allgather(&m->mine, sizeof m->mine, MPI_BYTE, m->counts, sizeof m->mine, MPI_BYTE, w->group);
  int64_t edges = 0, faces = 0, ghosts = 0, sends = 0;
  for (int r = 0; r < w->size; r++) {
    const struct counts *c = &m->counts[r];
    w->count[r]            = c->real;
    w->edges[r]            = c->edges;
    w->faces[r]            = c->faces;
    w->start[r]            = (int)m->nodes;
    w->edges_start[r]      = (int)edges;
    w->faces_start[r]      = (int)faces;
    m->nodes += c->real;
    m->pieces_all += c->pieces;
    edges += c->edges;
    faces += c->faces;
    for (int s = 0; s < SIDES; s++) {
      ghosts += c->ghosts[s];
      sends += c->sends[s];
    }
    if (m->pieces_all > INT32_MAX / (int64_t)sizeof(struct piece) ||
        m->nodes + ghosts > INT32_MAX / 2)
      return FAIL(
          STATUS_MEMORY,
          "flux: a graph of %lld pieces that no longer gets smaller is too large for one rank",
          (long long)m->pieces_all);
  }
  w->start[w->size]       = (int)m->nodes;
  w->edges_start[w->size] = (int)edges;
  w->faces_start[w->size] = (int)faces;
  m->ghosts               = (int)ghosts;
  m->sends                = (int)sends;
  return STATUS_OK;
}
/* Where member `rank`'s ghosts (or sends) of side s begin in the copy: side by side, of each side member by member in the
 * order of their parts, in which the group beyond it has the same nodes. */
static int side_start(const struct merging *m, bool sends, int s, int rank) {
  int at = 0;
  for (int t = 0; t <= s; t++)
    for (int r = 0; r < m->w->size && (t < s || r < rank); r++)
      at += sends ? m->counts[r].sends[t] : m->counts[r].ghosts[t];
  return at;
}
static enum status pieces_make(struct merging *m) {
  struct flux_graph *g = m->from;
  int64_t n            = 0;
  int64_t shift[3], first[3];
  int part[3], lead[3];
  if (m->w->group == MPI_COMM_NULL) return STATUS_OK;
  TRY(memory_make_raw(m->mine.pieces, sizeof *m->piece, "merged graph", &m->piece));
  TRY(memory_make_raw(m->sends, sizeof *m->send, "merged graph", &m->send));
  part_of(&m->fine->plan, m->fine->rank, part);
  for (int a = 0; a < 3; a++) lead[a] = part[a] / m->w->step * m->w->step;
  shift_of(&m->fine->plan, part, m->w->depth, shift);
  shift_of(&m->fine->plan, lead, m->w->depth, first);
  for (int q = 0; q < g->neighbours; q++) {
    if (!leaves(m, q)) continue;
    const int at = (int)m->nodes + side_start(m, false, g->side[q], m->rank);
    for (int i = g->ghost_start[q]; i < g->ghost_start[q + 1]; i++)
      m->number[g->n + i] = at + i - g->ghost_start[q];
  }
  for (int r = 0; r < g->real; r++) {
    const int i = m->w->row[r];
    for (int a = 0; a < 3; a++)
      m->piece[n++] =
          (struct piece){m->number[i], -3 - a, (float)(g->place[i][a] + shift[a] - first[a])};
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES)
      if (g->weight[e] > 0)
        m->piece[n++] = (struct piece){m->number[i], m->number[g->col[e]], g->weight[e]};
  }
  for (int i = 0; i < g->faces; i++)
    for (int h = 0; h < 2; h++)
      if (g->face_weight[h][i] > 0)
        m->piece[n++] = (struct piece){m->number[g->face_node[i]], -1 - h, g->face_weight[h][i]};
  n = 0;
  for (int s = 0; s < SIDES; s++)
    for (int q = 0; q < g->neighbours; q++)
      for (int i = g->send_start[q]; g->side[q] == s && leaves(m, q) && i < g->send_start[q + 1];
           i++)
        m->send[n++] = m->number[g->send[i]];
  return STATUS_OK;
}
static enum status room_for_all(struct merging *m) {
  struct flux_merge *w = m->w;
  const int64_t some   = m->mine.edges > m->mine.real ? m->mine.edges : m->mine.real;
  const int64_t some_d = m->mine.faces > m->mine.real ? m->mine.faces : m->mine.real;
  if (w->group == MPI_COMM_NULL) return STATUS_OK;
  TRY(memory_make(some, sizeof *w->some, "merged vector", &w->some));
  TRY(memory_make(some_d, sizeof *w->some_d, "merged vector", &w->some_d));
  if (!w->leads) return STATUS_OK;
  const int64_t edges = w->edges_start[w->size], faces = w->faces_start[w->size];
  TRY(memory_make(edges > m->nodes ? edges : m->nodes, sizeof *w->all, "merged vector", &w->all));
  TRY(memory_make(faces > m->nodes ? faces : m->nodes, sizeof *w->all_d, "merged vector",
                  &w->all_d));
  TRY(memory_make(edges, sizeof *w->entry, "merged graph", &w->entry));
  TRY(memory_make(m->nodes, sizeof *w->row_all, "merged rows", &w->row_all));
  TRY(memory_make(m->nodes, sizeof *m->place, "merged places", &m->place));
  TRY(memory_make_raw(m->pieces_all, sizeof *m->all, "merged graph", &m->all));
  return memory_make_raw(m->sends, sizeof *m->send_all, "merged graph", &m->send_all);
}
/* Collective over the group. */
static enum status pieces_gather(struct merging *m) {
  struct flux_merge *w = m->w;
  int *count = NULL, mine = 0;
  if (w->group == MPI_COMM_NULL) return STATUS_OK;
  const enum status made =
      AGREE(w->group, memory_make(4 * (int64_t)w->size, sizeof *count, "counts", &count));
  if (made != STATUS_OK) {
    memory_free(count);
    return made;
  }
  int *at = count + w->size, *sends = count + 2 * w->size, *sends_at = count + 3 * w->size;
  for (int r = 0, bytes = 0, n = 0; r < w->size; r++) {
    for (int s = 0; s < SIDES; s++) sends[r] += m->counts[r].sends[s];
    count[r]    = m->counts[r].pieces * (int)sizeof(struct piece);
    at[r]       = bytes;
    sends_at[r] = n;
    bytes += count[r];
    n += sends[r];
    if (r == m->rank) mine = sends[r];
  }
  MPI_Gatherv(m->piece, m->mine.pieces * (int)sizeof *m->piece, MPI_BYTE, m->all, count, at,
              MPI_BYTE, 0, w->group);
  MPI_Gatherv(m->send, mine, MPI_INT32_T, m->send_all, sends, sends_at, MPI_INT32_T, 0, w->group);
  memory_free(count);
  return STATUS_OK;
}

/* ---- the copy ---- */

static enum status rows_number(struct merging *m) {
  struct flux_graph *to = m->to;
  int count[2]          = {0}, next[2];
  for (int64_t i = 0; i < m->nodes; i++)
    count[(m->place[i][0] + m->place[i][1] + m->place[i][2]) & 1]++;
  TRY(flux_graph_colour(to, count, next));
  for (int64_t i = 0; i < m->nodes; i++) {
    const int row    = next[(m->place[i][0] + m->place[i][1] + m->place[i][2]) & 1]++;
    m->w->row_all[i] = row;
    for (int a = 0; a < 3; a++) to->place[row][a] = (int16_t)m->place[i][a];
  }
  return STATUS_OK;
}
/* Side by side what goes out and comes in. Members have sent theirs side by side. */
static enum status halo_set(struct merging *m) {
  struct flux_graph *to = m->to;
  TRY(memory_make(m->sends, sizeof *to->send, "halo nodes", &to->send));
  TRY(memory_make(m->sends, sizeof *to->send_buffer, "halo", &to->send_buffer));
  for (int s = 0; s < SIDES; s++) {
    const int q = to->neighbours, ghosts = side_start(m, false, s, m->w->size),
              sends = side_start(m, true, s, m->w->size);
    int from        = 0; /* of a member's in what came */
    for (int r = 0; r < m->w->size; r++) {
      for (int t = 0; t < s; t++) from += m->counts[r].sends[t];
      for (int i = 0, at = side_start(m, true, s, r); i < m->counts[r].sends[s]; i++)
        to->send[at + i] = m->w->row_all[m->send_all[from + i]];
      for (int t = s; t < SIDES; t++) from += m->counts[r].sends[t];
    }
    if (ghosts == to->ghost_start[q] && sends == to->send_start[q]) continue;
    to->side[q]            = s;
    to->neighbour[q]       = leader_beyond(&m->fine->plan, m->w->step, m->fine->rank, s);
    to->ghost_start[q + 1] = ghosts;
    to->send_start[q + 1]  = sends;
    to->neighbours++;
  }
  return STATUS_OK;
}
static enum status entries_set(struct merging *m) {
  struct flux_graph *to      = m->to;
  const struct flux_merge *w = m->w;
  uint16_t *length           = NULL;
  int64_t edge               = 0;
  TRY(memory_make(to->n, sizeof *length, "row lengths", &length));
  for (int64_t i = 0; i < m->pieces_all; i++)
    if (m->all[i].to >= 0) length[w->row_all[m->all[i].from]]++;
  const enum status s = flux_graph_rows(to, length);
  if (s == STATUS_OK) memset(length, 0, (size_t)to->n * sizeof *length);
  for (int64_t i = 0; i < m->pieces_all && s == STATUS_OK; i++) {
    const struct piece *p = &m->all[i];
    if (p->to <= -3) continue;
    const int row = w->row_all[p->from];
    to->diagonal[row] += p->weight;
    if (p->to < 0) {
      to->face_node[to->faces]                 = row;
      to->face_weight[-1 - p->to][to->faces++] = p->weight;
      continue;
    }
    const int64_t e  = to->slice[row / LANES] + (int64_t)length[row]++ * LANES + row % LANES;
    to->col[e]       = p->to < m->nodes ? w->row_all[p->to] : to->n + p->to - (int32_t)m->nodes;
    to->weight[e]    = p->weight;
    w->entry[edge++] = e;
  }
  memory_free(length);
  return s;
}
static enum status copy_fill(struct merging *m) {
  struct flux_graph *to = m->to;
  to->colours           = 2;
  to->ghosts            = m->w->leads ? m->ghosts : 0;
  if (!m->w->leads) {
    TRY(memory_make(0, sizeof *to->place, "places", &to->place));
    return flux_graph_rows(to, NULL);
  }
  for (int64_t i = 0; i < m->pieces_all; i++)
    if (m->all[i].to <= -3) m->place[m->all[i].from][-3 - m->all[i].to] = (int32_t)m->all[i].weight;
  TRY(rows_number(m));
  TRY(halo_set(m));
  const int faces = m->w->faces_start[m->w->size];
  TRY(memory_make(faces, sizeof *to->face_node, "faces", &to->face_node));
  for (int h = 0; h < 2; h++) TRY(memory_make(faces, sizeof(float), "faces", &to->face_weight[h]));
  TRY(entries_set(m));
  flux_graph_pad(to);
  return STATUS_OK;
}
static enum status merge(MPI_Comm comm, struct merging *m) {
  TRY_ALL(comm, counts_mine(m));
  TRY_ALL(comm, counts_room(m));
  TRY_ALL(comm, counts_swap(m));
  for (int i = 0; i < m->from->real; i++) m->number[m->w->row[i]] = m->w->start[m->rank] + i;
  flux_graph_swap_numbers(m->from, m->number);
  TRY_ALL(comm, pieces_make(m));
  TRY_ALL(comm, room_for_all(m));
  TRY_ALL(comm, pieces_gather(m));
  return AGREE(comm, copy_fill(m));
}
enum status flux_merge_make(MPI_Comm comm, const struct flux_fine *fine, struct flux_graph *from,
                            struct flux_merge *w, struct flux_graph *to) {
  struct merging m = {.w = w, .fine = fine, .from = from, .to = to};
  groups_make(comm, fine, w->step,
              from->team != MPI_COMM_NULL && fine->rank < flux_merge_team(&fine->plan, 1), w);
  to->comm      = comm;
  to->team      = w->team;
  enum status s = merge(comm, &m);
  memory_free(m.counts);
  memory_free(m.number);
  memory_free(m.piece);
  memory_free(m.all);
  memory_free(m.send);
  memory_free(m.send_all);
  memory_free(m.place);
  return s;
}

/* ---- vectors ---- */

void flux_merge_down(struct flux_merge *w, struct flux_graph *g, struct flux_graph *next) {
  for (int i = 0; i < g->real; i++) w->some[i] = g->b[w->row[i]];
  MPI_Gatherv(w->some, g->real, MPI_FLOAT, w->all, w->count, w->start, MPI_FLOAT, 0, w->group);
  g->sums++;
  g->message_bytes += 4 * g->real;
  for (int i = 0; w->leads && i < next->real; i++) next->b[w->row_all[i]] = w->all[i];
}
void flux_merge_up(struct flux_merge *w, struct flux_graph *g, const struct flux_graph *next) {
  for (int i = 0; w->leads && i < next->real; i++) w->all[i] = next->x[w->row_all[i]];
  MPI_Scatterv(w->all, w->count, w->start, MPI_FLOAT, w->some, g->real, MPI_FLOAT, 0, w->group);
  g->sums++;
  if (w->leads) g->message_bytes += 4 * (next->real - g->real);
  memset(g->x, 0, (size_t)(g->n + g->ghosts) * sizeof *g->x);
  for (int i = 0; i < g->real; i++) g->x[w->row[i]] = w->some[i];
}
void flux_merge_load_down(struct flux_merge *w, struct flux_graph *g, struct flux_graph *next) {
  for (int i = 0; i < g->real; i++) w->some_d[i] = g->load[w->row[i]];
  MPI_Gatherv(w->some_d, g->real, MPI_DOUBLE, w->all_d, w->count, w->start, MPI_DOUBLE, 0,
              w->group);
  for (int i = 0; w->leads && i < next->real; i++) next->load[w->row_all[i]] = w->all_d[i];
}
void flux_merge_flux_up(struct flux_merge *w, struct flux_graph *g, const struct flux_graph *next,
                        double potential) {
  int n = 0;
  for (int i = 0; w->leads && i < w->edges_start[w->size]; i++)
    w->all[i] = next->entry_flux[w->entry[i]];
  for (int f = 0; w->leads && f < next->faces; f++)
    w->all_d[f] = next->face_flux[next->face_weight[0][f] > 0 ? 0 : 1][f];
  int rank;
  MPI_Comm_rank(w->group, &rank);
  MPI_Scatterv(w->all, w->edges, w->edges_start, MPI_FLOAT, w->some, w->edges[rank], MPI_FLOAT, 0,
               w->group);
  MPI_Scatterv(w->all_d, w->faces, w->faces_start, MPI_DOUBLE, w->some_d, w->faces[rank],
               MPI_DOUBLE, 0, w->group);
  for (int r = 0; r < g->real; r++) {
    const int i = w->row[r];
    for (int64_t e = g->slice[i / LANES] + i % LANES; e < g->slice[i / LANES + 1]; e += LANES) {
      const bool on    = g->weight[e] > 0;
      g->entry_flux[e] = on ? w->some[n++] + (float)potential * (g->x[i] - g->x[g->col[e]]) : 0;
    }
  }
  n = 0;
  for (int f = 0; f < g->faces; f++)
    for (int h = 0; h < 2; h++)
      if (g->face_weight[h][f] > 0) g->face_flux[h][f] += w->some_d[n++];
}
