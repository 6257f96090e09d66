/* Voxel by voxel: the last change of each voxel; 26-connected components of consecutive states that share a voxel are
 * kin. Kin are found per rank, as pairs of numbers without repetition, and joined on all ranks: integers throughout,
 * so the result does not depend on the number of ranks. */
#include "track.h"
#include "voxel.h"
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

/* ---- one state ------------------------------------------------------------------------------------------ */

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
static enum status count_phase(MPI_Comm comm, int64_t least, struct grid_field *now, int64_t count,
                               struct track_list *large, struct track_change *change) {
  struct voxel_component *table;
  TRY(voxel_component_table(comm, now, count, &table));
  for (int64_t i = 0; i < count; i++) {
    change->voxels += table[i].voxels;
    change->faces += table[i].faces;
    change->components += table[i].voxels >= least;
  }
  enum status status = AGREE(comm, list_large(table, count, least, change->components, large));
  int32_t *data      = now->data;
  for (int64_t i = 0; i < now->voxels; i++)
    if (data[i] > 0 && table[data[i] - 1].voxels < least) data[i] = -data[i];
  memory_free(table);
  return status;
}

static void mark_presence(int state, int64_t at, struct grid_field *presence) {
  uint32_t bit = UINT32_C(1) << state;
  if (presence->type == GRID_U8)
    ((uint8_t *)presence->data)[at] = (uint8_t)(((uint8_t *)presence->data)[at] | bit);
  else if (presence->type == GRID_U16)
    ((uint16_t *)presence->data)[at] = (uint16_t)(((uint16_t *)presence->data)[at] | bit);
  else
    ((uint32_t *)presence->data)[at] |= bit;
}

/* Growth of this rank's voxels, and kin among its components. */
static enum status compare(struct track *t, const struct grid_field *now,
                           struct track_change *change, struct pairs *kin) {
  const int64_t *n = now->mine.n;
  const int32_t *a, *b;
  uint8_t *growth     = (uint8_t *)t->growth.data;
  const uint8_t state = (uint8_t)(t->states + 1);
  TRY(fault_here("track.compare"));
  for (int64_t z = 0; z < n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++) {
      int64_t at = grid_field_origin(now) + z * now->row[0] + y * now->row[1];
      b          = (const int32_t *)now->data + at;
      a          = t->states ? (const int32_t *)t->before.data + at : NULL;
      for (int64_t x = 0; x < n[2]; x++, growth++) {
        bool was = a && a[x] != 0, is = b[x] != 0;
        if (is && !was) *growth = state;
        if (is && t->presence.data)
          mark_presence(t->states, growth - (uint8_t *)t->growth.data, &t->presence);
        if (was && !is) *growth = (uint8_t)(TRACK_LOST + state);
        change->gained += a && is && !was;
        change->lost += was && !is;
        if (a && a[x] > 0 && b[x] > 0) TRY(pairs_add(kin, a[x], b[x]));
      }
    }
  return STATUS_OK;
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

static enum status begin(MPI_Comm comm, const struct grid_field *labels, struct track *t) {
  if (t->states >= TRACK_STATES_MOST)
    return AGREE(comm, FAIL(STATUS_USAGE, "more than %d states", TRACK_STATES_MOST));
  if (t->presence.data && t->states >= t->states_most)
    return AGREE(comm, FAIL(STATUS_INTERNAL, "more than the %d states that were announced",
                            t->states_most));
  if (t->states > 0) return STATUS_OK;
  TRY(grid_field_make(comm, &labels->plan, GRID_U8, NULL, &t->growth));
  memcpy(t->growth.voxel_um, labels->voxel_um, sizeof labels->voxel_um);
  int most = t->states_most;
  if (most == 0 || most > TRACK_PRESENCE_MOST) return STATUS_OK;
  TRY(grid_field_make(comm, &labels->plan,
                      most <= 8    ? GRID_U8
                      : most <= 16 ? GRID_U16
                                   : GRID_U32,
                      NULL, &t->presence));
  memcpy(t->presence.voxel_um, labels->voxel_um, sizeof labels->voxel_um);
  return STATUS_OK;
}

static enum status add(MPI_Comm comm, const struct track_params *params, struct grid_field *now,
                       int64_t count, struct track *t, struct track_list *large,
                       struct track_change *change, struct pairs *kin) {
  TRY(count_phase(comm, params->min_voxels, now, count, large, change));
  TRY_ALL(comm, compare(t, now, change, kin));
  int64_t sums[2] = {change->gained, change->lost};
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT64_T, MPI_SUM, comm);
  change->gained = sums[0];
  change->lost   = sums[1];
  return t->states ? find_lineage(comm, kin, large, t, change) : STATUS_OK;
}

enum status track_add(MPI_Comm comm, const struct track_params *params,
                      const struct grid_field *labels, struct track *t,
                      struct track_change *change) {
  struct grid_field now;
  struct pairs kin        = {NULL, 0, 0};
  struct track_list large = {NULL, NULL, 0};
  int64_t count;
  memset(change, 0, sizeof *change);
  TRY(begin(comm, labels, t));
  TRY(voxel_components(comm, labels, (int)params->phase, 26, &now, &count));
  enum status status = add(comm, params, &now, count, t, &large, change, &kin);
  memory_free(kin.pair);
  if (status != STATUS_OK) {
    memory_free(large.number);
    grid_field_free(&now);
    return status;
  }
  grid_field_free(&t->before);
  memory_free(t->large.number);
  t->before = now;
  t->large  = large;
  t->states++;
  return STATUS_OK;
}

void track_free(struct track *t) {
  grid_field_free(&t->growth);
  grid_field_free(&t->presence);
  grid_field_free(&t->before);
  memory_free(t->large.number);
  memory_free(t->kin);
  memset(t, 0, sizeof *t);
}
