/* Voxel by voxel, but of every state only the runs of the phase are kept, which a pass over its labels finds: 26-connected
 * components of consecutive states that share a voxel are kin. Kin are found per rank, as pairs of numbers without
 * repetition, and joined on all ranks: integers throughout, so the result does not depend on the number of ranks. */
#include "track.h"
#include <stdlib.h>
#include <string.h>

/* Numbers of two components that share voxels, and how many. */
struct pairs {
  int64_t (*pair)[3];
  int64_t n, room;
};

static int pair_order(const void *a, const void *b) {
  const int64_t *p = a, *q = b;
  if (p[0] != q[0]) return p[0] < q[0] ? -1 : 1;
  return p[1] < q[1] ? -1 : p[1] > q[1];
}

static void pairs_unique(struct pairs *p) {
  int64_t kept = 0;
  qsort(p->pair, (size_t)p->n, sizeof *p->pair, pair_order);
  for (int64_t i = 0; i < p->n; i++)
    if (kept && pair_order(p->pair[i], p->pair[kept - 1]) == 0)
      p->pair[kept - 1][2] += p->pair[i][2];
    else
      memmove(p->pair[kept++], p->pair[i], sizeof *p->pair);
  p->n = kept;
}

static enum status pairs_add(struct pairs *p, int64_t a, int64_t b) {
  if (p->n && p->pair[p->n - 1][0] == a && p->pair[p->n - 1][1] == b) {
    p->pair[p->n - 1][2]++;
    return STATUS_OK;
  }
  if (p->n == p->room) {
    if (p->n) pairs_unique(p);
    if (2 * p->n >= p->room) {
      int64_t(*larger)[3];
      p->room = 2 * p->room + 1024;
      TRY(memory_make(p->room, sizeof *p->pair, "kin of components", &larger));
      if (p->n) memcpy(larger, p->pair, (size_t)p->n * sizeof *p->pair);
      memory_free(p->pair);
      p->pair = larger;
    }
  }
  p->pair[p->n][0]   = a;
  p->pair[p->n][1]   = b;
  p->pair[p->n++][2] = 1;
  return STATUS_OK;
}

/* The pairs of all ranks on all ranks. */
static enum status pairs_join(MPI_Comm comm, struct pairs *p) {
  int size, here = 0, total = 0, *count, *start;
  int64_t all         = 3 * p->n;
  struct pairs joined = {NULL, 0, 0};
  MPI_Comm_size(comm, &size);
  if (p->n) pairs_unique(p);
  all = 3 * p->n;
  TRY_ALL(comm, base_int_from(all, "kin of components", &here));
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT64_T, MPI_SUM, comm);
  TRY_ALL(comm, base_int_from(all, "kin of components", &total));
  TRY_ALL(comm, memory_make(2 * size, sizeof *count, "kin of components", &count));
  start              = count + size;
  enum status status = AGREE(
      comm, memory_make(total / 3 + 1, sizeof *joined.pair, "kin of components", &joined.pair));
  if (status == STATUS_OK) {
    MPI_Allgather(&here, 1, MPI_INT, count, 1, MPI_INT, comm);
    for (int r = 1; r < size; r++) start[r] = start[r - 1] + count[r - 1];
    MPI_Allgatherv(p->pair, here, MPI_INT64_T, joined.pair, count, start, MPI_INT64_T, comm);
    joined.n = joined.room = total / 3;
    pairs_unique(&joined);
    memory_free(p->pair);
    *p = joined;
  }
  memory_free(count);
  return status;
}

/* ---- components ------------------------------------------------------------------------------------------- */

static enum status list_large(const struct voxel_component *table, int64_t count, int64_t least,
                              int64_t n, struct track_list *large) {
  TRY(memory_make(2 * n + 1, sizeof *large->number, "components", &large->number));
  large->voxels = large->number + n;
  for (int64_t i = 0; i < count; i++)
    if (table[i].voxels >= least) {
      large->number[large->n]   = i + 1;
      large->voxels[large->n++] = table[i].voxels;
    }
  return STATUS_OK;
}

/* Counts the phase, lists its larger components; numbers of small components become negative. */
static enum status count_phase(MPI_Comm comm, int64_t least, struct voxel_parts *now, int64_t count,
                               struct track_list *large, struct track_change *change) {
  struct voxel_component *table;
  int64_t *number = NULL;
  TRY(voxel_parts_table(comm, now, count, &table));
  for (int64_t i = 0; i < count; i++) {
    change->voxels += table[i].voxels;
    change->faces += table[i].faces;
    change->components += table[i].voxels >= least;
  }
  enum status status = list_large(table, count, least, change->components, large);
  if (status == STATUS_OK) status = memory_make(count + 1, sizeof *number, "components", &number);
  for (int64_t i = 0; status == STATUS_OK && i < count; i++)
    number[i + 1] = table[i].voxels < least ? -(i + 1) : i + 1;
  if (status == STATUS_OK) voxel_parts_renumber(now, number);
  memory_free(number);
  memory_free(table);
  return AGREE(comm, status);
}

/* ---- reading -------------------------------------------------------------------------------------------- */

/* The planes of one round, with those before and behind them, where faces are looked for. */
static enum status add_round(MPI_Comm comm, const struct track *t, const struct track_labels *from,
                             int phase, int64_t first, uint8_t *labels, struct voxel_parts *parts) {
  const struct grid_box mine = grid_plan_mine(&t->plan);
  int64_t left               = first < mine.n[0] ? mine.n[0] - first : 0,
          core               = left < from->deep ? left : from->deep;
  int64_t z = mine.start[0] + first, low = z > 0 ? z - 1 : 0, end = z + core + 1;
  if (end > t->plan.n[0]) end = t->plan.n[0];
  const struct grid_box box = {
      {core ? low : 0,       0,            0           },
      {core ? end - low : 0, t->plan.n[1], t->plan.n[2]}
  };
  TRY(from->read(from->owner, &box, labels));
  if (core == 0) return AGREE(comm, STATUS_OK);
  return AGREE(
      comm, voxel_parts_add(parts, labels + (z - low) * t->plan.n[1] * t->plan.n[2], core, phase));
}

static enum status add_planes(MPI_Comm comm, const struct track *t, const struct track_labels *from,
                              int phase, struct voxel_parts *parts) {
  uint8_t *labels;
  int64_t most       = grid_plan_box(&t->plan, 0).n[0];
  enum status status = AGREE(comm, memory_make_raw((from->deep + 2) * t->plan.n[1] * t->plan.n[2],
                                                   1, "planes of labels", &labels));
  for (int64_t first = 0; first < most && status == STATUS_OK; first += from->deep) {
    status = stop_agree(comm);
    if (status == STATUS_OK) status = add_round(comm, t, from, phase, first, labels, parts);
  }
  memory_free(labels);
  return status;
}

/* ---- against the state before ----------------------------------------------------------------------------- */

void track_row(const struct track *t, int64_t z, int64_t y, int32_t *line, uint8_t *growth,
               uint32_t *presence) {
  int64_t wide = t->plan.n[2];
  memset(growth, 0, (size_t)wide);
  if (presence) memset(presence, 0, (size_t)wide * sizeof *presence);
  for (int k = 0; k < t->states; k++) {
    voxel_parts_row(t->state[k], z, y, line);
    for (int64_t x = 0; x < wide; x++) {
      bool was = growth[x] > 0 && growth[x] < TRACK_LOST, is = line[x] != 0;
      if (is && !was) growth[x] = (uint8_t)(k + 1);
      if (was && !is) growth[x] = (uint8_t)(TRACK_LOST + k + 1);
      if (is && presence && k < TRACK_PRESENCE_MOST) presence[x] |= UINT32_C(1) << k;
    }
  }
}

/* One row: a of the state before, b of this one. */
static enum status compare_row(const int32_t *a, const int32_t *b, int64_t wide,
                               struct track_change *change, struct pairs *kin) {
  for (int64_t x = 0; x < wide; x++) {
    change->gained += !a[x] && b[x];
    change->lost += a[x] && !b[x];
    if (a[x] > 0 && b[x] > 0) TRY(pairs_add(kin, a[x], b[x]));
  }
  return STATUS_OK;
}

/* What this rank's voxels gained and lost, and kin among its components. */
static enum status compare(const struct track *t, const struct voxel_parts *now,
                           struct track_change *change, struct pairs *kin) {
  const struct grid_box mine = grid_plan_mine(&t->plan);
  const int64_t *n = mine.n, wide = n[2] + VOXEL_ROW_SPARE;
  enum status status = STATUS_OK;
  int32_t *line;
  TRY(fault_here("track.compare"));
  if (t->states == 0) return STATUS_OK;
  TRY(memory_make(2 * wide, sizeof *line, "rows of two states", &line));
  for (int64_t q = 0; q < n[0] * n[1] && status == STATUS_OK; q++) {
    voxel_parts_row(t->state[t->states - 1], q / n[1], q % n[1], line);
    voxel_parts_row(now, q / n[1], q % n[1], line + wide);
    status = compare_row(line, line + wide, n[2], change, kin);
  }
  memory_free(line);
  return status;
}

static int64_t place_of(const struct track_list *list, int64_t number) {
  int64_t low = 0, high = list->n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (list->number[middle] < number)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* How often a number stands in one column of the pairs, by its place in a sorted list. */
static void count_kin(const struct pairs *kin, int by, const struct track_list *list,
                      int64_t *times) {
  for (int64_t i = 0; i < kin->n; i++) times[place_of(list, kin->pair[i][by])]++;
}

static enum status lineage_add(struct track *t, int64_t from, int64_t to, int64_t voxels,
                               enum track_kind kind) {
  if (t->kin_n == t->kin_room) {
    int64_t(*larger)[TRACK_KIN], room = 2 * t->kin_room + 256;
    TRY(memory_make(room, sizeof *larger, "a lineage", &larger));
    if (t->kin_n) memcpy(larger, t->kin, (size_t)t->kin_n * sizeof *larger);
    memory_free(t->kin);
    t->kin      = larger;
    t->kin_room = room;
  }
  const int64_t row[TRACK_KIN] = {t->states + 1, from, to, voxels, kind};
  memcpy(t->kin[t->kin_n++], row, sizeof row);
  return STATUS_OK;
}

/* One row per kin, then those without; `had`, `has`: how many kin each component has. */
static enum status write_lineage(struct track *t, const struct pairs *kin,
                                 const struct track_list *now, const int64_t *had,
                                 const int64_t *has) {
  for (int64_t i = 0; i < kin->n; i++) {
    bool split = had[place_of(&t->large, kin->pair[i][0])] > 1,
         merge = has[place_of(now, kin->pair[i][1])] > 1;
    TRY(lineage_add(t, kin->pair[i][0], kin->pair[i][1], kin->pair[i][2],
                    split && merge ? TRACK_BOTH
                    : split        ? TRACK_SPLIT
                    : merge        ? TRACK_MERGE
                                   : TRACK_LIVES));
  }
  for (int64_t i = 0; i < t->large.n; i++)
    if (had[i] == 0) TRY(lineage_add(t, t->large.number[i], 0, t->large.voxels[i], TRACK_DEATH));
  for (int64_t i = 0; i < now->n; i++)
    if (has[i] == 0) TRY(lineage_add(t, 0, now->number[i], now->voxels[i], TRACK_BIRTH));
  return STATUS_OK;
}

static enum status find_lineage(MPI_Comm comm, struct pairs *kin, const struct track_list *now,
                                struct track *t, struct track_change *change) {
  int64_t *had, *has;
  TRY(pairs_join(comm, kin));
  TRY_ALL(comm, memory_make(t->large.n + now->n + 2, sizeof *had, "kin of components", &had));
  has = had + t->large.n + 1;
  count_kin(kin, 0, &t->large, had);
  count_kin(kin, 1, now, has);
  for (int64_t i = 0; i < t->large.n; i++)
    change->deaths += had[i] == 0, change->splits += had[i] > 1;
  for (int64_t i = 0; i < now->n; i++) change->births += has[i] == 0, change->merges += has[i] > 1;
  enum status status = AGREE(comm, write_lineage(t, kin, now, had, has));
  memory_free(had);
  return status;
}

enum status track_begin(const struct grid_plan *plan, struct track *t) {
  return grid_plan_copy(plan, &t->plan);
}

static enum status add(MPI_Comm comm, const struct track_params *params,
                       const struct track_labels *labels, struct voxel_parts *now, struct track *t,
                       struct track_list *large, struct track_change *change, struct pairs *kin) {
  int64_t count;
  TRY(add_planes(comm, t, labels, (int)params->phase, now));
  TRY(voxel_parts_join(comm, now, &count));
  TRY(count_phase(comm, params->min_voxels, now, count, large, change));
  TRY_ALL(comm, compare(t, now, change, kin));
  int64_t sums[2] = {change->gained, change->lost};
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT64_T, MPI_SUM, comm);
  change->gained = sums[0];
  change->lost   = sums[1];
  return t->states ? find_lineage(comm, kin, large, t, change) : STATUS_OK;
}

enum status track_add(MPI_Comm comm, const struct track_params *params,
                      const struct track_labels *labels, struct track *t,
                      struct track_change *change) {
  struct voxel_parts *now = NULL;
  struct pairs kin        = {NULL, 0, 0};
  struct track_list large = {NULL, NULL, 0};
  memset(change, 0, sizeof *change);
  if (t->states >= TRACK_STATES_MOST)
    return AGREE(comm, FAIL(STATUS_USAGE, "more than %d states", TRACK_STATES_MOST));
  enum status status = AGREE(comm, voxel_parts_make(&t->plan, 26, true, &now));
  if (status == STATUS_OK) status = add(comm, params, labels, now, t, &large, change, &kin);
  memory_free(kin.pair);
  if (status != STATUS_OK) {
    memory_free(large.number);
    voxel_parts_free(&now);
    return status;
  }
  memory_free(t->large.number);
  t->state[t->states++] = now;
  t->large              = large;
  return STATUS_OK;
}

void track_free(struct track *t) {
  grid_plan_free(&t->plan);
  for (int k = 0; k < t->states; k++) voxel_parts_free(&t->state[k]);
  memory_free(t->large.number);
  memory_free(t->kin);
  memset(t, 0, sizeof *t);
}
