#include "voxel_components.h"
#include "voxel_bits.h"
#include "voxel_exchange.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A run of voxels along x in this rank's box, and its row (z n[1] + y). */
struct run {
  int32_t start, end;
};
struct runs {
  struct run *run;
  int64_t n, room;
  int64_t *row; /* first run of each row, rows + 1 */
  int32_t *parent;
};

static void runs_free(struct runs *runs) {
  memory_free(runs->run);
  memory_free(runs->row);
  memory_free(runs->parent);
}

/* ---- runs and their union ------------------------------------------------------------------------- */

static enum status run_add(struct runs *runs, int64_t start, int64_t end) {
  if (runs->n == runs->room) {
    int64_t room = runs->room ? runs->room + runs->room / 2 : 4096;
    struct run *larger;
    if (room > INT32_MAX)
      return FAIL(STATUS_MEMORY, "more than 2^31 runs on a rank; use more ranks");
    TRY(memory_make_raw(room, sizeof *larger, "runs of components", &larger));
    if (runs->n) memcpy(larger, runs->run, (size_t)runs->n * sizeof *larger);
    memory_free(runs->run);
    runs->run  = larger;
    runs->room = room;
  }
  runs->run[runs->n++] = (struct run){(int32_t)start, (int32_t)end};
  return STATUS_OK;
}

/* Runs of a row of packed bits: where a bit differs from the one before, a run begins or ends. */
static enum status runs_of_bits(const uint64_t *bit, int64_t wide, struct runs *runs) {
  int64_t start = -1;
  for (int64_t i = 0; i < (wide + 63) / 64; i++)
    for (uint64_t turn = bit[i] ^ (bit[i] << 1 | (start >= 0)); turn; turn &= turn - 1) {
      int64_t x = 64 * i + __builtin_ctzll(turn);
      if (start >= 0) TRY(run_add(runs, start, x));
      start = start >= 0 ? -1 : x;
    }
  return start >= 0 ? run_add(runs, start, wide) : STATUS_OK;
}

static enum status find_runs(const struct grid_field *field, int phase, struct runs *runs) {
  int64_t rows = field->mine.n[0] * field->mine.n[1], wide = field->mine.n[2];
  const uint8_t *from = (const uint8_t *)field->data + grid_field_origin(field);
  uint64_t *bit       = NULL;
  TRY(memory_make(rows + 1, sizeof *runs->row, "rows of components", &runs->row));
  TRY(memory_make((wide + 63) / 64, sizeof *bit, "a row of bits", &bit));
  enum status status = STATUS_OK;
  for (int64_t q = 0; q < rows && status == STATUS_OK; q++) {
    const uint8_t *line =
        from + q / field->mine.n[1] * field->row[0] + q % field->mine.n[1] * field->row[1];
    runs->row[q] = runs->n;
    ISA_PICK(bits_pack)(line, wide, (uint8_t)(phase < 0 ? 0 : phase), phase < 0, bit);
    status = runs_of_bits(bit, wide, runs);
  }
  runs->row[rows] = runs->n;
  memory_free(bit);
  return status;
}

static int32_t root_of(int32_t *parent, int32_t i) {
  while (parent[i] != i) {
    parent[i] = parent[parent[i]];
    i         = parent[i];
  }
  return i;
}

/* The smaller index is the root, so a root is its component's first run in raster order. */
static void join(int32_t *parent, int32_t a, int32_t b) {
  a = root_of(parent, a);
  b = root_of(parent, b);
  if (a < b)
    parent[b] = a;
  else
    parent[a] = b;
}

/* Joins the runs of two rows that touch; reach 1 lets diagonal neighbours along x touch. */
static void join_rows(struct runs *runs, int64_t row, int64_t other, int reach) {
  int64_t i = runs->row[row], j = runs->row[other];
  while (i < runs->row[row + 1] && j < runs->row[other + 1]) {
    const struct run *a = &runs->run[i], *b = &runs->run[j];
    if (a->start < b->end + reach && b->start < a->end + reach)
      join(runs->parent, (int32_t)i, (int32_t)j);
    if (a->end < b->end)
      i++;
    else
      j++;
  }
}

static void join_all(const struct grid_field *field, struct runs *runs, int connectivity) {
  int64_t ny = field->mine.n[1];
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    for (int64_t y = 0; y < ny; y++) {
      int64_t row = z * ny + y;
      if (y) join_rows(runs, row, row - 1, connectivity > 6);
      for (int d = -1; z && d <= 1; d++) {
        if (y + d < 0 || y + d >= ny || (d && connectivity == 6)) continue;
        join_rows(runs, row, row - ny + d, d ? connectivity == 26 : connectivity > 6);
      }
    }
}

/* ---- keys: 1 + the global raster index of a component's first voxel -------------------------------- */

static int64_t key_of(const struct grid_field *field, const struct runs *runs, int64_t row,
                      int64_t run) {
  int64_t z = field->mine.start[0] + row / field->mine.n[1],
          y = field->mine.start[1] + row % field->mine.n[1];
  return 1 + (z * field->plan.n[1] + y) * field->plan.n[2] + field->mine.start[2] +
         runs->run[run].start;
}

/* Writes a number per run into the field. */
static void write_runs(struct grid_field *to, const struct runs *runs, const int64_t *number) {
  int64_t rows  = to->mine.n[0] * to->mine.n[1];
  int32_t *data = (int32_t *)to->data + grid_field_origin(to);
  for (int64_t q = 0; q < rows; q++) {
    int32_t *line = data + q / to->mine.n[1] * to->row[0] + q % to->mine.n[1] * to->row[1];
    for (int64_t i = runs->row[q]; i < runs->row[q + 1]; i++)
      for (int32_t x = runs->run[i].start; x < runs->run[i].end; x++) line[x] = (int32_t)number[i];
  }
}

static enum status local_components(const struct grid_field *field, int phase, int connectivity,
                                    struct runs *runs, int64_t **key) {
  TRY(fault_here("voxel.components"));
  if (field->type != GRID_U8)
    return FAIL(STATUS_INTERNAL, "components of a %s field", grid_type_name(field->type));
  if (connectivity != 6 && connectivity != 18 && connectivity != 26)
    return FAIL(STATUS_USAGE, "connectivity = %d; it would be 6, 18 or 26", connectivity);
  TRY(find_runs(field, phase, runs));
  TRY(memory_make_raw(runs->n, sizeof *runs->parent, "components", &runs->parent));
  TRY(memory_make_raw(runs->n, sizeof **key, "components", key));
  for (int64_t i = 0; i < runs->n; i++) runs->parent[i] = (int32_t)i;
  join_all(field, runs, connectivity);
  int64_t rows = field->mine.n[0] * field->mine.n[1];
  for (int64_t q = 0; q < rows; q++)
    for (int64_t i = runs->row[q]; i < runs->row[q + 1]; i++) {
      int32_t root    = root_of(runs->parent, (int32_t)i);
      runs->parent[i] = root;
      if (root == i)
        (*key)[i] = key_of(field, runs, q, i);
      else if ((*key)[root] > key_of(field, runs, q, i))
        (*key)[root] = key_of(field, runs, q, i);
    }
  for (int64_t i = 0; i < runs->n; i++) (*key)[i] = (*key)[runs->parent[i]];
  return STATUS_OK;
}

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
  const struct grid_field *field;
  const struct runs *runs;
  const int64_t *key;
  int steps; /* along how many axes a neighbour may lie off */
  struct pairs *pairs;
};

static void pack_border(const void *owner, const struct grid_box *box, void *to) {
  const struct border *b      = owner;
  const struct grid_box *mine = &b->field->mine;
  int64_t *line = to, first = box->start[2] - mine->start[2], behind = first + box->n[2];
  memset(to, 0, (size_t)grid_box_voxels(box) * sizeof *line);
  for (int64_t z = box->start[0]; z < box->start[0] + box->n[0]; z++)
    for (int64_t y = box->start[1]; y < box->start[1] + box->n[1]; y++, line += box->n[2]) {
      int64_t row = (z - mine->start[0]) * mine->n[1] + y - mine->start[1];
      for (int64_t i = b->runs->row[row]; i < b->runs->row[row + 1]; i++) {
        const struct run *run = &b->runs->run[i];
        for (int64_t x = run->start > first ? run->start : first; x < run->end && x < behind; x++)
          line[x - first] = b->key[i];
      }
    }
}

/* A run of another rank, start..end in this one's places along x, at row (z, y) of it: joins with what touches it. */
static enum status pairs_of_run(const struct border *b, int64_t z, int64_t y, int64_t start,
                                int64_t end, int64_t key) {
  const int64_t *n = b->field->mine.n;
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
        TRY(pair_add(b->pairs, key, b->key[low]));
    }
  return STATUS_OK;
}

static enum status take_border(void *owner, const struct grid_box *box, const void *from) {
  const struct border *b      = owner;
  const struct grid_box *mine = &b->field->mine;
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

static enum status find_pairs(MPI_Comm comm, const struct grid_field *field, int connectivity,
                              const struct runs *runs, const int64_t *key, struct pairs *pairs) {
  struct border border                 = {field, runs, key,
                          connectivity == 6    ? 1
                                          : connectivity == 18 ? 2
                                                               : 3,
                                          pairs};
  const struct voxel_exchange exchange = {.plan        = &field->plan,
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
    join(parent, (int32_t)find_key(joined->key, joined->n, all->item[i].a),
         (int32_t)find_key(joined->key, joined->n, all->item[i].b));
  for (int64_t i = 0; i < joined->n; i++)
    joined->final[i] = joined->key[root_of(parent, (int32_t)i)];
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

/* Replaces each run's key by its final one and lists the distinct ones, sorted. */
static enum status final_keys(const struct joined *joined, const struct runs *runs, int64_t *key,
                              int64_t **list, int64_t *n) {
  TRY(memory_make_raw(2 * runs->n, sizeof **list, "keys of components", list));
  *n = 0;
  for (int64_t i = 0; i < runs->n; i++) {
    if (runs->parent[i] != i) continue;
    int64_t at = find_key(joined->key, joined->n, key[i]);
    if (at >= 0) key[i] = joined->final[at];
    (*list)[(*n)++] = key[i];
  }
  if (*n) qsort(*list, (size_t)*n, sizeof **list, key_order);
  int64_t kept = 0;
  for (int64_t i = 0; i < *n; i++)
    if (!kept || (*list)[kept - 1] != (*list)[i]) (*list)[kept++] = (*list)[i];
  *n = kept;
  return STATUS_OK;
}

/* key[run] becomes its component's number. */
static enum status join_and_number(MPI_Comm comm, const struct grid_field *field, int connectivity,
                                   const struct runs *runs, int64_t *key, int64_t *count) {
  struct pairs mine = {NULL, 0, 0}, all = {NULL, 0, 0};
  struct joined joined = {0, NULL, NULL};
  int64_t *list = NULL, n = 0;
  enum status status = STATUS_OK;
  if (field->plan.size > 1) /* alone, there is nothing to join with */
    status = find_pairs(comm, field, connectivity, runs, key, &mine);
  if (status == STATUS_OK) status = gather_pairs(comm, &mine, &all);
  if (status == STATUS_OK) status = AGREE(comm, join_pairs(&all, &joined));
  if (status == STATUS_OK) status = AGREE(comm, final_keys(&joined, runs, key, &list, &n));
  if (status == STATUS_OK) status = number_keys(comm, &field->plan, list, n, list + n, count);
  if (status == STATUS_OK) {
    for (int64_t i = 0; i < runs->n; i++)
      if (runs->parent[i] == i) key[i] = list[n + find_key(list, n, key[i])];
    for (int64_t i = 0; i < runs->n; i++) key[i] = key[runs->parent[i]];
    if (*count > INT32_MAX)
      status = AGREE(comm, FAIL(STATUS_MEMORY, "%lld components; at most 2^31 - 1 can be numbered",
                                (long long)*count));
  }
  memory_free(mine.item);
  memory_free(all.item);
  memory_free(joined.key);
  memory_free(joined.final);
  memory_free(list);
  return status;
}

enum status voxel_components(MPI_Comm comm, const struct grid_field *field, int phase,
                             int connectivity, struct grid_field *components, int64_t *count) {
  struct runs runs     = {NULL, 0, 0, NULL, NULL};
  int64_t *key         = NULL;
  const int64_t one[3] = {1, 1, 1};
  memset(components, 0, sizeof *components);
  *count             = 0;
  enum status status = AGREE(comm, local_components(field, phase, connectivity, &runs, &key));
  if (status == STATUS_OK) status = join_and_number(comm, field, connectivity, &runs, key, count);
  if (status == STATUS_OK) status = grid_field_make(comm, &field->plan, GRID_I32, one, components);
  if (status == STATUS_OK) {
    memcpy(components->voxel_um, field->voxel_um, sizeof field->voxel_um);
    write_runs(components, &runs, key);
    status = grid_halo_exchange(comm, components, GRID_EDGE_KEEP);
    if (status != STATUS_OK) grid_field_free(components);
  }
  runs_free(&runs);
  memory_free(key);
  return status;
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

static void measure(const struct grid_field *f, struct voxel_component *table) {
  const int32_t *data   = (const int32_t *)f->data + grid_field_origin(f);
  const int64_t *n      = f->mine.n;
  const int64_t step[3] = {f->row[0], f->row[1], 1};
  for (int64_t z = 0; z < n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++)
      for (int64_t x = 0; x < n[2]; x++) {
        const int32_t *at = data + z * f->row[0] + y * f->row[1] + x;
        if (!*at) continue;
        struct voxel_component *c = &table[*at - 1];
        const int64_t place[3] = {z + f->mine.start[0], y + f->mine.start[1], x + f->mine.start[2]};
        c->voxels++;
        for (int a = 0; a < 3; a++) {
          c->sum[a] += place[a];
          if (place[a] < c->low[a]) c->low[a] = place[a];
          if (place[a] + 1 > c->high[a]) c->high[a] = place[a] + 1;
          c->faces += (at[-step[a]] != *at) + (at[step[a]] != *at);
          if (place[a] == 0) c->touches |= 1u << (2 * a);
          if (place[a] == f->plan.n[a] - 1) c->touches |= 2u << (2 * a);
        }
      }
}

/* Sums, least, most and bits of rows of whole numbers: one MPI operation for the whole table. */
static void merge_rows(void *in, void *inout, int *n, MPI_Datatype *type) {
  (void)type;
  const struct voxel_component *a = in;
  struct voxel_component *b       = inout;
  for (int i = 0; i < *n; i++) {
    b[i].voxels += a[i].voxels;
    b[i].faces += a[i].faces;
    b[i].touches |= a[i].touches;
    for (int k = 0; k < 3; k++) {
      b[i].sum[k] += a[i].sum[k];
      if (a[i].low[k] < b[i].low[k]) b[i].low[k] = a[i].low[k];
      if (a[i].high[k] > b[i].high[k]) b[i].high[k] = a[i].high[k];
    }
  }
}

static enum status make_table(int64_t count, struct voxel_component **table) {
  if (count > 10000000)
    return FAIL(STATUS_MEMORY,
                "%lld components are too many for a table; raise min_voxels or filter first",
                (long long)count);
  TRY(memory_make(count, sizeof **table, "a table of components", table));
  for (int64_t i = 0; i < count; i++) {
    (*table)[i].number = i + 1;
    for (int a = 0; a < 3; a++) (*table)[i].low[a] = INT64_MAX;
  }
  return STATUS_OK;
}

enum status voxel_component_table(MPI_Comm comm, const struct grid_field *components, int64_t count,
                                  struct voxel_component **table) {
  TRY_ALL(comm, make_table(count, table));
  measure(components, *table);
  MPI_Datatype row;
  MPI_Op merge;
  MPI_Type_contiguous((int)sizeof **table, MPI_BYTE, &row);
  MPI_Type_commit(&row);
  MPI_Op_create(merge_rows, 1, &merge);
  MPI_Allreduce(MPI_IN_PLACE, *table, (int)count, row, merge, comm);
  MPI_Op_free(&merge);
  MPI_Type_free(&row);
  return STATUS_OK;
}
