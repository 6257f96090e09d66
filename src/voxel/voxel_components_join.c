/* How ranks agree on components: pairs of keys that touch along borders are gathered, joined by every rank alike, and the
 * keys that are left are numbered by a distributed sort. */
#include "voxel_components_private.h"
#include "voxel_exchange.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- pairs of keys that touch across ranks ------------------------------------------------------------ */

struct pair {
  int64_t a, b;
};
struct pairs {
  struct pair *item;
  int64_t n, room;
};

static int pair_order(const void *x, const void *y) {
  const struct pair *p = x, *q = y;
  if (p->a != q->a) return p->a < q->a ? -1 : 1;
  return (p->b > q->b) - (p->b < q->b);
}

static void pairs_unique(struct pairs *pairs) {
  int64_t kept = 0;
  if (pairs->n) qsort(pairs->item, (size_t)pairs->n, sizeof *pairs->item, pair_order);
  for (int64_t i = 0; i < pairs->n; i++)
    if (!kept || pair_order(&pairs->item[kept - 1], &pairs->item[i]) != 0)
      pairs->item[kept++] = pairs->item[i];
  pairs->n = kept;
}

static enum status pair_add(struct pairs *pairs, int64_t a, int64_t b) {
  struct pair pair = {a < b ? a : b, a < b ? b : a};
  if (pairs->n && pair_order(&pairs->item[pairs->n - 1], &pair) == 0) return STATUS_OK;
  if (pairs->n == pairs->room) pairs_unique(pairs);
  if (2 * pairs->n >= pairs->room) {
    int64_t room = pairs->room ? 2 * pairs->room : 4096;
    struct pair *larger;
    TRY(memory_make_raw(room, sizeof *larger, "pairs of components", &larger));
    if (pairs->n) memcpy(larger, pairs->item, (size_t)pairs->n * sizeof *larger);
    memory_free(pairs->item);
    pairs->item = larger;
    pairs->room = room;
  }
  pairs->item[pairs->n++] = pair;
  return STATUS_OK;
}

/* Ranks send each other the keys of the voxels along their common borders, the lower one of two to the higher. */
struct border {
  const struct component_runs *runs;
  const struct component_keys *keys;
  int steps; /* along how many axes a neighbour may lie off */
  struct pairs *pairs;
};

static void pack_border(const void *owner, const struct grid_box *box, void *to) {
  const struct border *b      = owner;
  const struct grid_box *mine = &b->runs->mine;
  int64_t *line = to, first = box->start[2] - mine->start[2], behind = first + box->n[2];
  memset(to, 0, (size_t)grid_box_voxels(box) * sizeof *line);
  for (int64_t z = box->start[0]; z < box->start[0] + box->n[0]; z++)
    for (int64_t y = box->start[1]; y < box->start[1] + box->n[1]; y++, line += box->n[2]) {
      int64_t row = (z - mine->start[0]) * mine->n[1] + y - mine->start[1];
      for (int64_t i = b->runs->row[row]; i < b->runs->row[row + 1]; i++) {
        const struct component_run *run = &b->runs->run[i];
        for (int64_t x = run->start > first ? run->start : first; x < run->end && x < behind; x++)
          line[x - first] = b->keys->key[b->runs->component[i]];
      }
    }
}

/* A run of another rank, start..end in this one's places along x, at row (z, y) of it: joins with what touches it. */
static enum status pairs_of_run(const struct border *b, int64_t z, int64_t y, int64_t start,
                                int64_t end, int64_t key) {
  const int64_t *n = b->runs->mine.n;
  for (int dz = -1; dz <= 1; dz++)
    for (int dy = -1; dy <= 1; dy++) {
      int64_t steps = b->steps - abs(dz) - abs(dy), reach = steps > 0;
      if (steps < 0 || z + dz < 0 || z + dz >= n[0] || y + dy < 0 || y + dy >= n[1]) continue;
      int64_t row = (z + dz) * n[1] + y + dy, low = b->runs->row[row], last = b->runs->row[row + 1];
      for (int64_t high = last; low < high;) {
        int64_t middle = low + (high - low) / 2;
        if (b->runs->run[middle].end + reach <= start)
          low = middle + 1;
        else
          high = middle;
      }
      for (; low < last && b->runs->run[low].start < end + reach; low++)
        TRY(pair_add(b->pairs, key, b->keys->key[b->runs->component[low]]));
    }
  return STATUS_OK;
}

static enum status take_border(void *owner, const struct grid_box *box, const void *from) {
  const struct border *b      = owner;
  const struct grid_box *mine = &b->runs->mine;
  const int64_t *line         = from;
  int64_t first               = box->start[2] - mine->start[2];
  for (int64_t z = box->start[0] - mine->start[0]; z < box->start[0] - mine->start[0] + box->n[0];
       z++)
    for (int64_t y = box->start[1] - mine->start[1]; y < box->start[1] - mine->start[1] + box->n[1];
         y++, line += box->n[2])
      for (int64_t x = 0, end; x < box->n[2]; x = end) {
        for (end = x + 1; end < box->n[2] && line[end] == line[x];) end++;
        if (line[x]) TRY(pairs_of_run(b, z, y, first + x, first + end, line[x]));
      }
  return STATUS_OK;
}

static enum status find_pairs(MPI_Comm comm, const struct grid_plan *plan, int connectivity,
                              const struct component_runs *runs, const struct component_keys *keys,
                              struct pairs *pairs) {
  struct border border                 = {runs, keys, component_steps(connectivity), pairs};
  const struct voxel_exchange exchange = {.plan        = plan,
                                          .reach       = 1,
                                          .bytes       = sizeof(int64_t),
                                          .only_upward = true,
                                          .owner       = &border,
                                          .pack        = pack_border,
                                          .take        = take_border};
  TRY(voxel_exchange_run(comm, &exchange));
  pairs_unique(pairs);
  return STATUS_OK;
}

/* ---- joining across ranks ------------------------------------------------------------------------------ */

/* Every rank gets all pairs (few: components that touch a border), so every rank finds the same joins. */
static enum status gather_pairs(MPI_Comm comm, const struct pairs *mine, struct pairs *all) {
  int size, n = 0, *counts = NULL, *starts = NULL;
  MPI_Comm_size(comm, &size);
  TRY_ALL(comm, base_int_from(2 * mine->n, "words of pairs of components", &n));
  enum status status = memory_make(size, sizeof *counts, "counts", &counts);
  if (status == STATUS_OK) status = memory_make(size + 1, sizeof *starts, "counts", &starts);
  TRY_ALL(comm, status);
  MPI_Allgather(&n, 1, MPI_INT, counts, 1, MPI_INT, comm);
  int64_t total = 0;
  for (int i = 0; i < size; i++) {
    starts[i] = (int)total;
    total += counts[i];
  }
  status = total > INT_MAX
               ? FAIL(STATUS_MEMORY, "%lld pairs of components across ranks", (long long)total / 2)
               : memory_make_raw(total / 2, sizeof *all->item, "pairs of components", &all->item);
  status = AGREE(comm, status);
  if (status == STATUS_OK)
    MPI_Allgatherv(mine->item, n, MPI_INT64_T, all->item, counts, starts, MPI_INT64_T, comm);
  all->n = all->room = total / 2;
  memory_free(counts);
  memory_free(starts);
  return status;
}

struct joined {
  int64_t n, *key,
      *final; /* sorted keys at borders, and the smallest key of what each is joined with */
};

static int key_order(const void *x, const void *y) {
  int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
  return (a > b) - (a < b);
}

static int64_t find_key(const int64_t *key, int64_t n, int64_t wanted) {
  int64_t low = 0, high = n;
  while (low < high) {
    int64_t middle = low + (high - low) / 2;
    if (key[middle] < wanted)
      low = middle + 1;
    else
      high = middle;
  }
  return low < n && key[low] == wanted ? low : -1;
}

static enum status join_pairs(const struct pairs *all, struct joined *joined) {
  int32_t *parent = NULL;
  TRY(memory_make_raw(2 * all->n, sizeof *joined->key, "joined components", &joined->key));
  for (int64_t i = 0; i < all->n; i++)
    joined->key[2 * i] = all->item[i].a, joined->key[2 * i + 1] = all->item[i].b;
  if (all->n) qsort(joined->key, (size_t)(2 * all->n), sizeof *joined->key, key_order);
  for (int64_t i = 0; i < 2 * all->n; i++)
    if (!joined->n || joined->key[joined->n - 1] != joined->key[i])
      joined->key[joined->n++] = joined->key[i];
  TRY(memory_make_raw(joined->n, sizeof *joined->final, "joined components", &joined->final));
  TRY(memory_make_raw(joined->n, sizeof *parent, "joined components", &parent));
  for (int64_t i = 0; i < joined->n; i++) parent[i] = (int32_t)i;
  for (int64_t i = 0; i < all->n; i++)
    component_join(parent, (int32_t)find_key(joined->key, joined->n, all->item[i].a),
                   (int32_t)find_key(joined->key, joined->n, all->item[i].b));
  for (int64_t i = 0; i < joined->n; i++)
    joined->final[i] = joined->key[component_root(parent, (int32_t)i)];
  memory_free(parent);
  return STATUS_OK;
}

/* ---- numbering: each rank keeps a range of keys, sorts them and answers with their numbers ----------------- */

static int keeper_of(const struct grid_plan *plan, int64_t key) {
  int64_t voxels = plan->n[0] * plan->n[1] * plan->n[2], share = voxels / plan->size + 1;
  return (int)((key - 1) / share);
}

struct letters {
  int *out_n, *out_at, *in_n, *in_at;
  int64_t *asked, *answer; /* of other ranks */
  int64_t n;
};

static void letters_free(struct letters *l) {
  memory_free(l->out_n);
  memory_free(l->asked);
  memory_free(l->answer);
}

static enum status letters_count(const struct grid_plan *plan, const int64_t *key, int64_t n,
                                 struct letters *l) {
  int size = plan->size;
  if (n > INT_MAX)
    return FAIL(STATUS_MEMORY, "%lld components on a rank; use more ranks", (long long)n);
  TRY(memory_make(4 * (int64_t)size + 4, sizeof *l->out_n, "counts", &l->out_n));
  l->out_at = l->out_n + size;
  l->in_n   = l->out_at + size;
  l->in_at  = l->in_n + size;
  for (int64_t i = 0; i < n; i++) l->out_n[keeper_of(plan, key[i])]++;
  for (int r = 1; r < size; r++) l->out_at[r] = l->out_at[r - 1] + l->out_n[r - 1];
  return STATUS_OK;
}

static enum status letters_room(int size, struct letters *l) {
  for (int r = 0; r < size; r++) {
    l->in_at[r] = (int)l->n;
    l->n += l->in_n[r];
  }
  if (l->n > INT_MAX)
    return FAIL(STATUS_MEMORY, "%lld components to number on a rank", (long long)l->n);
  TRY(memory_make_raw(l->n, sizeof *l->asked, "keys of components", &l->asked));
  return memory_make_raw(l->n, sizeof *l->answer, "keys of components", &l->answer);
}

/* key[] is sorted, so letters to one keeper stand together. number[i] is that of key[i]. */
static enum status number_keys(MPI_Comm comm, const struct grid_plan *plan, const int64_t *key,
                               int64_t n, int64_t *number, int64_t *count) {
  struct letters l = {.n = 0};
  TRY_ALL(comm, letters_count(plan, key, n, &l));
  MPI_Alltoall(l.out_n, 1, MPI_INT, l.in_n, 1, MPI_INT, comm);
  enum status status = AGREE(comm, letters_room(plan->size, &l));
  if (status == STATUS_OK) {
    MPI_Alltoallv(key, l.out_n, l.out_at, MPI_INT64_T, l.asked, l.in_n, l.in_at, MPI_INT64_T, comm);
    int64_t unique = 0, before = 0;
    memcpy(l.answer, l.asked, (size_t)l.n * sizeof *l.answer);
    if (l.n) qsort(l.answer, (size_t)l.n, sizeof *l.answer, key_order);
    for (int64_t i = 0; i < l.n; i++)
      if (!unique || l.answer[unique - 1] != l.answer[i]) l.answer[unique++] = l.answer[i];
    MPI_Exscan(&unique, &before, 1, MPI_INT64_T, MPI_SUM, comm);
    if (plan->rank == 0) before = 0;
    for (int64_t i = 0; i < l.n; i++)
      l.asked[i] = before + 1 + find_key(l.answer, unique, l.asked[i]);
    MPI_Alltoallv(l.asked, l.in_n, l.in_at, MPI_INT64_T, number, l.out_n, l.out_at, MPI_INT64_T,
                  comm);
    MPI_Allreduce(&unique, count, 1, MPI_INT64_T, MPI_SUM, comm);
  }
  letters_free(&l);
  return status;
}

/* ---- all together ----------------------------------------------------------------------------------------- */

/* Replaces each component's key by its final one and lists the distinct ones, sorted. */
static enum status final_keys(const struct joined *joined, const struct component_keys *keys,
                              int64_t **list, int64_t *n) {
  TRY(memory_make_raw(2 * keys->n, sizeof **list, "keys of components", list));
  *n = 0;
  for (int64_t i = 0; i < keys->n; i++) {
    int64_t at = find_key(joined->key, joined->n, keys->key[i]);
    if (at >= 0) keys->key[i] = joined->final[at];
    (*list)[(*n)++] = keys->key[i];
  }
  if (*n) qsort(*list, (size_t)*n, sizeof **list, key_order);
  int64_t kept = 0;
  for (int64_t i = 0; i < *n; i++)
    if (!kept || (*list)[kept - 1] != (*list)[i]) (*list)[kept++] = (*list)[i];
  *n = kept;
  return STATUS_OK;
}

/* *number: of every component of this rank, made here. */
static enum status take_numbers(const struct component_keys *keys, const int64_t *list, int64_t n,
                                int64_t count, int32_t **number) {
  if (count > INT32_MAX)
    return FAIL(STATUS_MEMORY, "%lld components; at most 2^31 - 1 can be numbered",
                (long long)count);
  TRY(memory_make_raw(keys->n, sizeof **number, "numbers of components", number));
  for (int64_t i = 0; i < keys->n; i++)
    (*number)[i] = (int32_t)list[n + find_key(list, n, keys->key[i])];
  return STATUS_OK;
}

enum status component_numbers(MPI_Comm comm, const struct grid_plan *plan, int connectivity,
                              const struct component_runs *runs, struct component_keys *keys,
                              int32_t **number, int64_t *count) {
  struct pairs mine = {NULL, 0, 0}, all = {NULL, 0, 0};
  struct joined joined = {0, NULL, NULL};
  int64_t *list = NULL, n = 0;
  enum status status = STATUS_OK;
  if (plan->size > 1) /* alone, there is nothing to join with */
    status = find_pairs(comm, plan, connectivity, runs, keys, &mine);
  if (status == STATUS_OK) status = gather_pairs(comm, &mine, &all);
  if (status == STATUS_OK) status = AGREE(comm, join_pairs(&all, &joined));
  if (status == STATUS_OK) status = AGREE(comm, final_keys(&joined, keys, &list, &n));
  if (status == STATUS_OK) status = number_keys(comm, plan, list, n, list + n, count);
  if (status == STATUS_OK) status = AGREE(comm, take_numbers(keys, list, n, *count, number));
  memory_free(mine.item);
  memory_free(all.item);
  memory_free(joined.key);
  memory_free(joined.final);
  memory_free(list);
  return status;
}
