#include "voxel_components.h"
#include "voxel_components_private.h"
#include "voxel_bits.h"
#include "voxel_exchange.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Runs of this rank's box and, in the end, which component each is of. */
struct runs {
  struct component_run *run;
  int32_t *component; /* while they are joined: the parent in a tree */
  int64_t n, room;
  int64_t *row; /* first run of each row (z n[1] + y), rows + 1 */
};

static void runs_free(struct runs *runs) {
  memory_free(runs->run);
  memory_free(runs->row);
  memory_free(runs->component);
}

/* ---- runs and their union ------------------------------------------------------------------------- */

static enum status grow(void *at, int64_t n, int64_t room, size_t bytes) {
  void **array = at, *larger;
  TRY(memory_make_raw(room, bytes, "runs of components", &larger));
  if (n) memcpy(larger, *array, (size_t)n * bytes);
  memory_free(*array);
  *array = larger;
  return STATUS_OK;
}

/* Room for the runs of one more row. */
static enum status make_room(struct runs *runs, int64_t wide) {
  int64_t least = runs->n + wide / 2 + 1, room = least + least / 2 + 4096;
  if (runs->room >= least) return STATUS_OK;
  if (least > INT32_MAX)
    return FAIL(STATUS_MEMORY, "more than 2^31 runs on a rank; use more ranks");
  TRY(grow(&runs->run, runs->n, room, sizeof *runs->run));
  TRY(grow(&runs->component, runs->n, room, sizeof *runs->component));
  runs->room = room;
  return STATUS_OK;
}

/* Rows -1..ny of the bits of two planes; those at the ends stay empty. */
struct planes {
  struct component_bits *row[2]; /* owned: row[0]; row[i][0] is row 0 */
  uint64_t *bit;
  int32_t *before;
};

static void planes_free(struct planes *p) {
  if (p->row[0]) memory_free(p->row[0] - 1);
  memory_free(p->bit);
  memory_free(p->before);
}

static enum status planes_make(int64_t ny, int64_t wide, struct planes *p) {
  int64_t stride = (wide + 63) / 64 + 2;
  struct component_bits *row;
  TRY(memory_make(2 * (ny + 2), sizeof *row, "rows of bits", &row));
  p->row[0] = row + 1;
  p->row[1] = p->row[0] + ny + 2;
  TRY(memory_make(2 * (ny + 2) * stride, sizeof *p->bit, "rows of bits", &p->bit));
  TRY(memory_make(2 * (ny + 2) * stride, sizeof *p->before, "rows of bits", &p->before));
  for (int64_t i = 0; i < 2 * (ny + 2); i++)
    row[i] = (struct component_bits){p->bit + i * stride + 1, p->before + i * stride + 1};
  return STATUS_OK;
}

/* Finds the runs of a row and joins them with earlier rows' that touch. */
static enum status add_row(const uint8_t *line, int phase, int64_t wide, int steps,
                           const struct component_bits row[ROWS], struct runs *runs) {
  TRY(make_room(runs, wide));
  ISA_PICK(bits_pack)
  (line, wide, (uint8_t)(phase < 0 ? 0 : phase), phase < 0, row[ROW_HERE].bit);
  int64_t n = ISA_PICK(component_runs)(&row[ROW_HERE], wide, (int32_t)runs->n, runs->run + runs->n);
  for (int64_t i = runs->n; i < runs->n + n; i++) runs->component[i] = (int32_t)i;
  runs->n += n;
  ISA_PICK(component_join_row)(row, (wide + 63) / 64, steps, runs->component);
  return STATUS_OK;
}

static enum status find_runs(const struct grid_field *field, int phase, int steps,
                             struct planes *planes, struct runs *runs) {
  int64_t ny = field->mine.n[1], wide = field->mine.n[2], q = 0;
  const uint8_t *from = (const uint8_t *)field->data + grid_field_origin(field);
  TRY(memory_make(field->mine.n[0] * ny + 1, sizeof *runs->row, "rows of components", &runs->row));
  TRY(planes_make(ny, wide, planes));
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    for (int64_t y = 0; y < ny; y++, q++) {
      const struct component_bits *here = planes->row[z & 1] + y, *below = planes->row[~z & 1] + y;
      const struct component_bits row[ROWS] = {[ROW_HERE]         = here[0],
                                               [ROW_BEFORE]       = here[-1],
                                               [ROW_BELOW]        = below[0],
                                               [ROW_BELOW_BEFORE] = below[-1],
                                               [ROW_BELOW_AFTER]  = below[1]};
      runs->row[q]                          = runs->n;
      TRY(add_row(from + z * field->row[0] + y * field->row[1], phase, wide, steps, row, runs));
    }
  runs->row[q] = runs->n;
  return STATUS_OK;
}

/* ---- keys: 1 + the global raster index of a component's first voxel -------------------------------- */

/* Of this rank's components, in the order of their first voxels. */
struct keys {
  int64_t n, *key;
};

static int64_t key_of(const struct grid_field *field, const struct runs *runs, int64_t row,
                      int64_t run) {
  int64_t z = field->mine.start[0] + row / field->mine.n[1],
          y = field->mine.start[1] + row % field->mine.n[1];
  return 1 + (z * field->plan.n[1] + y) * field->plan.n[2] + field->mine.start[2] +
         runs->run[run].start;
}

/* Roots are numbered as they come; every other run's parent has its number before it. */
static enum status number_here(const struct grid_field *field, struct runs *runs,
                               struct keys *keys) {
  int64_t n = 0;
  for (int64_t i = 0; i < runs->n; i++) n += runs->component[i] == i;
  TRY(memory_make_raw(n, sizeof *keys->key, "components", &keys->key));
  for (int64_t q = 0; q < field->mine.n[0] * field->mine.n[1]; q++)
    for (int64_t i = runs->row[q]; i < runs->row[q + 1]; i++) {
      int32_t up = runs->component[i];
      if (up == i) keys->key[keys->n] = key_of(field, runs, q, i);
      runs->component[i] = up == i ? (int32_t)keys->n++ : runs->component[up];
    }
  return STATUS_OK;
}

static int steps_of(int connectivity) { return connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3; }

static enum status local_components(const struct grid_field *field, int phase, int connectivity,
                                    struct runs *runs, struct keys *keys) {
  struct planes planes = {
      {NULL, NULL},
      NULL, NULL
  };
  TRY(fault_here("voxel.components"));
  if (field->type != GRID_U8)
    return FAIL(STATUS_INTERNAL, "components of a %s field", grid_type_name(field->type));
  if (connectivity != 6 && connectivity != 18 && connectivity != 26)
    return FAIL(STATUS_USAGE, "connectivity = %d; it would be 6, 18 or 26", connectivity);
  enum status status = find_runs(field, phase, steps_of(connectivity), &planes, runs);
  if (status == STATUS_OK) status = number_here(field, runs, keys);
  planes_free(&planes);
  return status;
}

/* Writes a number per component into the field. */
static enum status write_runs(const struct runs *runs, const int32_t *number,
                              struct grid_field *to) {
  int64_t rows = to->mine.n[0] * to->mine.n[1], wide = to->mine.n[2];
  int32_t *line, *data                               = (int32_t *)to->data + grid_field_origin(to);
  TRY(memory_make(wide + COMPONENT_SPARE, sizeof *line, "a row", &line));
  for (int64_t q = 0; q < rows; q++) {
    int64_t first = runs->row[q];
    ISA_PICK(component_write_row)
    (runs->run + first, runs->component + first, runs->row[q + 1] - first, number, wide, line);
    memcpy(data + q / to->mine.n[1] * to->row[0] + q % to->mine.n[1] * to->row[1], line,
           (size_t)wide * sizeof *line);
  }
  memory_free(line);
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
  const struct keys *keys;
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
        const struct component_run *run = &b->runs->run[i];
        for (int64_t x = run->start > first ? run->start : first; x < run->end && x < behind; x++)
          line[x - first] = b->keys->key[b->runs->component[i]];
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
        TRY(pair_add(b->pairs, key, b->keys->key[b->runs->component[low]]));
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
                              const struct runs *runs, const struct keys *keys,
                              struct pairs *pairs) {
  struct border border                 = {field, runs, keys, steps_of(connectivity), pairs};
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
static enum status final_keys(const struct joined *joined, const struct keys *keys, int64_t **list,
                              int64_t *n) {
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
static enum status take_numbers(const struct keys *keys, const int64_t *list, int64_t n,
                                int64_t count, int32_t **number) {
  if (count > INT32_MAX)
    return FAIL(STATUS_MEMORY, "%lld components; at most 2^31 - 1 can be numbered",
                (long long)count);
  TRY(memory_make_raw(keys->n, sizeof **number, "numbers of components", number));
  for (int64_t i = 0; i < keys->n; i++)
    (*number)[i] = (int32_t)list[n + find_key(list, n, keys->key[i])];
  return STATUS_OK;
}

static enum status join_and_number(MPI_Comm comm, const struct grid_field *field, int connectivity,
                                   const struct runs *runs, struct keys *keys, int32_t **number,
                                   int64_t *count) {
  struct pairs mine = {NULL, 0, 0}, all = {NULL, 0, 0};
  struct joined joined = {0, NULL, NULL};
  int64_t *list = NULL, n = 0;
  enum status status = STATUS_OK;
  if (field->plan.size > 1) /* alone, there is nothing to join with */
    status = find_pairs(comm, field, connectivity, runs, keys, &mine);
  if (status == STATUS_OK) status = gather_pairs(comm, &mine, &all);
  if (status == STATUS_OK) status = AGREE(comm, join_pairs(&all, &joined));
  if (status == STATUS_OK) status = AGREE(comm, final_keys(&joined, keys, &list, &n));
  if (status == STATUS_OK) status = number_keys(comm, &field->plan, list, n, list + n, count);
  if (status == STATUS_OK) status = AGREE(comm, take_numbers(keys, list, n, *count, number));
  memory_free(mine.item);
  memory_free(all.item);
  memory_free(joined.key);
  memory_free(joined.final);
  memory_free(list);
  return status;
}

enum status voxel_components(MPI_Comm comm, const struct grid_field *field, int phase,
                             int connectivity, struct grid_field *components, int64_t *count) {
  struct runs runs     = {NULL, NULL, 0, 0, NULL};
  struct keys keys     = {0, NULL};
  int32_t *number      = NULL;
  const int64_t one[3] = {1, 1, 1};
  memset(components, 0, sizeof *components);
  *count             = 0;
  enum status status = AGREE(comm, local_components(field, phase, connectivity, &runs, &keys));
  if (status == STATUS_OK)
    status = join_and_number(comm, field, connectivity, &runs, &keys, &number, count);
  if (status == STATUS_OK) status = grid_field_make(comm, &field->plan, GRID_I32, one, components);
  if (status == STATUS_OK) {
    memcpy(components->voxel_um, field->voxel_um, sizeof field->voxel_um);
    status = AGREE(comm, write_runs(&runs, number, components));
    if (status == STATUS_OK) status = grid_halo_exchange(comm, components, GRID_EDGE_KEEP);
    if (status != STATUS_OK) grid_field_free(components);
  }
  runs_free(&runs);
  memory_free(keys.key);
  memory_free(number);
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
