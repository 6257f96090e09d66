/* Voxel by voxel: the last change of each voxel; 26-connected components of consecutive states that share a voxel are
 * kin. Kin are found per rank, as pairs of numbers without repetition, and joined on all ranks: integers throughout,
 * so the result does not depend on the number of ranks. */
#include "track.h"
#include "voxel.h"
#include <stdlib.h>
#include <string.h>

struct pairs {
  int64_t (*pair)[2];
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
    if (i == 0 || pair_order(p->pair[i], p->pair[kept - 1]) != 0)
      memmove(p->pair[kept++], p->pair[i], sizeof *p->pair);
  p->n = kept;
}

static enum status pairs_add(struct pairs *p, int64_t a, int64_t b) {
  if (p->n && p->pair[p->n - 1][0] == a && p->pair[p->n - 1][1] == b) return STATUS_OK;
  if (p->n == p->room) {
    if (p->n) pairs_unique(p);
    if (2 * p->n >= p->room) {
      int64_t(*larger)[2];
      p->room = 2 * p->room + 1024;
      TRY(memory_make(p->room, sizeof *p->pair, "kin of components", &larger));
      if (p->n) memcpy(larger, p->pair, (size_t)p->n * sizeof *p->pair);
      memory_free(p->pair);
      p->pair = larger;
    }
  }
  p->pair[p->n][0]   = a;
  p->pair[p->n++][1] = b;
  return STATUS_OK;
}

/* The pairs of all ranks on all ranks. */
static enum status pairs_join(MPI_Comm comm, struct pairs *p) {
  int size, here = 0, total = 0, *count, *start;
  int64_t all         = 2 * p->n;
  struct pairs joined = {NULL, 0, 0};
  MPI_Comm_size(comm, &size);
  if (p->n) pairs_unique(p);
  all = 2 * p->n;
  TRY_ALL(comm, base_int_from(all, "kin of components", &here));
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT64_T, MPI_SUM, comm);
  TRY_ALL(comm, base_int_from(all, "kin of components", &total));
  TRY_ALL(comm, memory_make(2 * size, sizeof *count, "kin of components", &count));
  start              = count + size;
  enum status status = AGREE(
      comm, memory_make(total / 2 + 1, sizeof *joined.pair, "kin of components", &joined.pair));
  if (status == STATUS_OK) {
    MPI_Allgather(&here, 1, MPI_INT, count, 1, MPI_INT, comm);
    for (int r = 1; r < size; r++) start[r] = start[r - 1] + count[r - 1];
    MPI_Allgatherv(p->pair, here, MPI_INT64_T, joined.pair, count, start, MPI_INT64_T, comm);
    joined.n = joined.room = total / 2;
    pairs_unique(&joined);
    memory_free(p->pair);
    *p = joined;
  }
  memory_free(count);
  return status;
}

/* ---- one state ------------------------------------------------------------------------------------------ */

/* Counts the phase; numbers of small components become negative. */
static enum status count_phase(MPI_Comm comm, int64_t least, struct grid_field *now, int64_t count,
                               struct track_change *change) {
  struct voxel_component *table;
  TRY(voxel_component_table(comm, now, count, &table));
  for (int64_t i = 0; i < count; i++) {
    change->voxels += table[i].voxels;
    change->faces += table[i].faces;
    change->components += table[i].voxels >= least;
  }
  int64_t *data = now->data;
  for (int64_t i = 0; i < now->voxels; i++)
    if (data[i] > 0 && table[data[i] - 1].voxels < least) data[i] = -data[i];
  memory_free(table);
  return STATUS_OK;
}

/* Growth of this rank's voxels, and kin among its components. */
static enum status compare(struct track *t, const struct grid_field *now,
                           struct track_change *change, struct pairs *kin) {
  const int64_t *n    = now->mine.n, *a, *b;
  uint8_t *growth     = (uint8_t *)t->growth.data;
  const uint8_t state = (uint8_t)(t->states + 1);
  TRY(fault_here("track.compare"));
  for (int64_t z = 0; z < n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++) {
      int64_t at = grid_field_origin(now) + z * now->row[0] + y * now->row[1];
      b          = (const int64_t *)now->data + at;
      a          = t->states ? (const int64_t *)t->before.data + at : NULL;
      for (int64_t x = 0; x < n[2]; x++, growth++) {
        bool was = a && a[x] != 0, is = b[x] != 0;
        if (is && !was) *growth = state;
        if (was && !is) *growth = (uint8_t)(TRACK_LOST + state);
        change->gained += a && is && !was;
        change->lost += was && !is;
        if (a && a[x] > 0 && b[x] > 0) TRY(pairs_add(kin, a[x], b[x]));
      }
    }
  return STATUS_OK;
}

static int number_order(const void *a, const void *b) {
  int64_t p = *(const int64_t *)a, q = *(const int64_t *)b;
  return p < q ? -1 : p > q;
}

/* How many numbers stand in one column of the pairs, and how many of them more than once. */
static void count_kin(const struct pairs *kin, int by, int64_t *any, int64_t *several,
                      int64_t *number) {
  *any = *several = 0;
  for (int64_t i = 0; i < kin->n; i++) number[i] = kin->pair[i][by];
  qsort(number, (size_t)kin->n, sizeof *number, number_order);
  for (int64_t i = 0, run; i < kin->n; i += run) {
    for (run = 1; i + run < kin->n && number[i + run] == number[i];) run++;
    *any += 1;
    *several += run > 1;
  }
}

static enum status find_lineage(MPI_Comm comm, int64_t components_before, struct pairs *kin,
                                struct track_change *change) {
  int64_t *number, had = 0, has = 0;
  TRY(pairs_join(comm, kin));
  TRY_ALL(comm, memory_make(kin->n + 1, sizeof *number, "kin of components", &number));
  count_kin(kin, 0, &had, &change->splits, number);
  count_kin(kin, 1, &has, &change->merges, number);
  change->births = change->components - has;
  change->deaths = components_before - had;
  memory_free(number);
  return STATUS_OK;
}

static enum status begin(MPI_Comm comm, const struct grid_field *labels, struct track *t) {
  if (t->states >= TRACK_STATES_MOST)
    return AGREE(comm, FAIL(STATUS_USAGE, "more than %d states", TRACK_STATES_MOST));
  if (t->states > 0) return STATUS_OK;
  TRY(grid_field_make(comm, &labels->plan, GRID_U8, NULL, &t->growth));
  memcpy(t->growth.voxel_um, labels->voxel_um, sizeof labels->voxel_um);
  return STATUS_OK;
}

static enum status add(MPI_Comm comm, const struct track_params *params, struct grid_field *now,
                       int64_t count, struct track *t, struct track_change *change,
                       struct pairs *kin) {
  TRY(count_phase(comm, params->min_voxels, now, count, change));
  TRY_ALL(comm, compare(t, now, change, kin));
  int64_t sums[2] = {change->gained, change->lost};
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_INT64_T, MPI_SUM, comm);
  change->gained = sums[0];
  change->lost   = sums[1];
  return t->states ? find_lineage(comm, t->components, kin, change) : STATUS_OK;
}

enum status track_add(MPI_Comm comm, const struct track_params *params,
                      const struct grid_field *labels, struct track *t,
                      struct track_change *change) {
  struct grid_field now;
  struct pairs kin = {NULL, 0, 0};
  int64_t count;
  memset(change, 0, sizeof *change);
  TRY(begin(comm, labels, t));
  TRY(voxel_components(comm, labels, (int)params->phase, 26, &now, &count));
  enum status status = add(comm, params, &now, count, t, change, &kin);
  memory_free(kin.pair);
  if (status != STATUS_OK) {
    grid_field_free(&now);
    return status;
  }
  grid_field_free(&t->before);
  t->before     = now;
  t->components = change->components;
  t->states++;
  return STATUS_OK;
}

void track_free(struct track *t) {
  grid_field_free(&t->growth);
  grid_field_free(&t->before);
  memset(t, 0, sizeof *t);
}
