/* Moving a field between plans: each rank sends the overlap of its box with every other's target box.
 * Work goes in rounds: the volume is cut into layers along axis 0 such that no rank's buffers pass
 * ROUND_BYTES (or one layer), so memory is bounded and no count overflows; all ranks do the same
 * rounds. A transposition and a crop are the same with the coordinates mapped. */
#include "grid_private.h"
#include <limits.h>
#include <string.h>

enum { MOVE_TAG = 4712 };
static const int64_t round_bytes = (int64_t)8 << 20;

/* How a voxel of `to` is found in `from`: from[order[a]] = to[a] + offset[a]. */
struct mapping {
  int order[3];
  int64_t offset[3];
};

static struct grid_box box_to_from(const struct mapping *map, const struct grid_box *to) {
  struct grid_box from;
  for (int a = 0; a < 3; a++) {
    from.start[map->order[a]] = to->start[a] + map->offset[a];
    from.n[map->order[a]]     = to->n[a];
  }
  return from;
}

static struct grid_box box_from_to(const struct mapping *map, const struct grid_box *from) {
  struct grid_box to;
  for (int a = 0; a < 3; a++) {
    to.start[a] = from->start[map->order[a]] - map->offset[a];
    to.n[a]     = from->n[map->order[a]];
  }
  return to;
}

/* The part of `to`'s volume that a round moves. */
static struct grid_box round_box(const struct grid_plan *to, int64_t first, int64_t layers) {
  struct grid_box box = {
      {first,  0,        0       },
      {layers, to->n[1], to->n[2]}
  };
  if (first + layers > to->n[0]) box.n[0] = to->n[0] - first;
  return box;
}

static enum status list_overlaps(const struct grid_plan *theirs, const struct grid_box *want,
                                 size_t bytes, struct grid_message_list *list) {
  int first[3], end[3];
  grid_parts_of(theirs, want, first, end);
  for (int i = first[0]; i < end[0]; i++)
    for (int j = first[1]; j < end[1]; j++)
      for (int k = first[2]; k < end[2]; k++) {
        int rank             = (i * theirs->parts[1] + j) * theirs->parts[2] + k;
        struct grid_box part = grid_plan_box(theirs, rank), both = grid_box_overlap(&part, want);
        int64_t size_bytes = grid_box_voxels(&both) * (int64_t)bytes;
        if (size_bytes > INT_MAX)
          return FAIL(STATUS_INTERNAL, "a message of %lld bytes", (long long)size_bytes);
        if (size_bytes && rank != theirs->rank)
          TRY(grid_message_add(list, rank, &both, size_bytes));
      }
  return STATUS_OK;
}

/* Copies a box between two orders of axes: whole rows where x stays x, else blocked over the two fastest
 * axes so that both sides stay in cache. */
#define SCATTER(type)                                                                              \
  static void scatter_##type(struct grid_field *to, const struct grid_box *box,                    \
                             const int64_t stride[3], const type *from) {                          \
    enum { BLOCK = 32 };                                                                           \
    int64_t at[3];                                                                                 \
    for (int a = 0; a < 3; a++) at[a] = box->start[a] - to->mine.start[a] + to->halo[a];           \
    type *base     = (type *)to->data + at[0] * to->row[0] + at[1] * to->row[1] + at[2];           \
    int64_t yblock = stride[2] == 1 ? 1 : BLOCK, xblock = stride[2] == 1 ? box->n[2] : BLOCK;      \
    for (int64_t z = 0; z < box->n[0]; z++)                                                        \
      for (int64_t yb = 0; yb < box->n[1]; yb += yblock)                                           \
        for (int64_t xb = 0; xb < box->n[2]; xb += xblock)                                         \
          for (int64_t y = yb; y < yb + yblock && y < box->n[1]; y++) {                            \
            type *row          = base + z * to->row[0] + y * to->row[1];                           \
            const type *source = from + z * stride[0] + y * stride[1];                             \
            if (stride[2] == 1)                                                                    \
              memcpy(row, source, (size_t)box->n[2] * sizeof *row);                                \
            else                                                                                   \
              for (int64_t x = xb; x < xb + BLOCK && x < box->n[2]; x++)                           \
                row[x] = source[x * stride[2]];                                                    \
          }                                                                                        \
  }
SCATTER(uint8_t)
SCATTER(uint16_t)
SCATTER(uint32_t)
SCATTER(uint64_t)

/* Copies a box of `to` from memory whose first voxel is `source` and whose strides along `from`'s axes
 * are from_stride elements. */
static void copy_mapped(struct grid_field *to, const struct grid_box *box,
                        const struct mapping *map, const int64_t from_stride[3],
                        const void *source) {
  int64_t stride[3];
  for (int a = 0; a < 3; a++) stride[a] = from_stride[map->order[a]];
  switch (grid_type_bytes(to->type)) {
  case 1:
    scatter_uint8_t(to, box, stride, source);
    break;
  case 2:
    scatter_uint16_t(to, box, stride, source);
    break;
  case 4:
    scatter_uint32_t(to, box, stride, source);
    break;
  default:
    scatter_uint64_t(to, box, stride, source);
    break;
  }
}

static void copy_packed(struct grid_field *to, const struct grid_box *box,
                        const struct mapping *map, const void *packed) {
  struct grid_box from    = box_to_from(map, box);
  const int64_t stride[3] = {from.n[1] * from.n[2], from.n[2], 1};
  copy_mapped(to, box, map, stride, packed);
}

/* What stays on this rank needs no message. */
static void copy_own(const struct grid_field *from, struct grid_field *to,
                     const struct mapping *map, const struct grid_box *part) {
  struct grid_box take = grid_box_overlap(&to->mine, part), mine = box_from_to(map, &from->mine);
  struct grid_box box = grid_box_overlap(&take, &mine), stored = box_to_from(map, &box);
  if (grid_box_voxels(&box) == 0) return;
  const int64_t stride[3] = {from->row[0], from->row[1], 1};
  int64_t first           = 0;
  for (int a = 0; a < 3; a++)
    first += (stored.start[a] - from->mine.start[a] + from->halo[a]) * stride[a];
  copy_mapped(to, &box, map, stride,
              (const char *)from->data + (size_t)first * grid_type_bytes(from->type));
}

struct round {
  struct grid_message_list get, put;
  char *get_buffer, *put_buffer;
  MPI_Request *request;
};

static void round_free(struct round *round) {
  grid_message_free(&round->get);
  grid_message_free(&round->put);
  memory_free(round->get_buffer);
  memory_free(round->put_buffer);
  memory_free(round->request);
  memset(round, 0, sizeof *round);
}

static enum status round_prepare(const struct grid_field *from, const struct grid_field *to,
                                 const struct mapping *map, const struct grid_box *part,
                                 struct round *round) {
  TRY(fault_here("grid.move"));
  size_t bytes         = grid_type_bytes(from->type);
  struct grid_box take = grid_box_overlap(&to->mine, part), want = box_to_from(map, &take);
  TRY(list_overlaps(&from->plan, &want, bytes, &round->get));
  struct grid_box mine = box_from_to(map, &from->mine), give = grid_box_overlap(&mine, part);
  TRY(list_overlaps(&to->plan, &give, bytes, &round->put));
  TRY(memory_make_raw(round->get.bytes, 1, "buffers of a move", &round->get_buffer));
  TRY(memory_make_raw(round->put.bytes, 1, "buffers of a move", &round->put_buffer));
  return memory_make(round->get.n + round->put.n, sizeof *round->request, "requests of a move",
                     &round->request);
}

static void round_do(MPI_Comm comm, const struct grid_field *from, struct grid_field *to,
                     const struct mapping *map, const struct grid_box *part, struct round *round) {
  int64_t bytes = (int64_t)grid_type_bytes(from->type);
  int requests  = 0;
  for (int i = 0; i < round->get.n; i++) {
    const struct grid_message *m = &round->get.item[i];
    MPI_Irecv(round->get_buffer + m->offset_bytes, (int)(grid_box_voxels(&m->here) * bytes),
              MPI_BYTE, m->rank, MOVE_TAG, comm, &round->request[requests++]);
  }
  for (int i = 0; i < round->put.n; i++) {
    const struct grid_message *m = &round->put.item[i];
    struct grid_box stored       = box_to_from(map, &m->here);
    grid_pack(from, &stored, round->put_buffer + m->offset_bytes);
    MPI_Isend(round->put_buffer + m->offset_bytes, (int)(grid_box_voxels(&m->here) * bytes),
              MPI_BYTE, m->rank, MOVE_TAG, comm, &round->request[requests++]);
  }
  copy_own(from, to, map, part);
  MPI_Waitall(requests, round->request, MPI_STATUSES_IGNORE);
  for (int i = 0; i < round->get.n; i++) {
    const struct grid_message *m = &round->get.item[i];
    struct grid_box target       = box_from_to(map, &m->here);
    copy_packed(to, &target, map, round->get_buffer + m->offset_bytes);
  }
}

/* Layers of axis 0 of `to` per round: no rank sends or receives more than round_bytes in it, as far
 * as one layer allows. */
static int64_t layers_per_round(const struct grid_field *from, const struct grid_field *to,
                                const struct mapping *map) {
  int64_t widest_to = 1, widest_from = 1;
  for (int a = 1; a < 3; a++) {
    int64_t most_to = 0, most_from = 0;
    for (int i = 0; i < to->plan.parts[a]; i++)
      if (to->plan.cut[a][i + 1] - to->plan.cut[a][i] > most_to)
        most_to = to->plan.cut[a][i + 1] - to->plan.cut[a][i];
    const struct grid_plan *plan = &from->plan;
    int f                        = map->order[a];
    for (int i = 0; i < plan->parts[f]; i++)
      if (plan->cut[f][i + 1] - plan->cut[f][i] > most_from)
        most_from = plan->cut[f][i + 1] - plan->cut[f][i];
    widest_to *= most_to;
    widest_from *= most_from;
  }
  int64_t layer  = widest_to > widest_from ? widest_to : widest_from;
  int64_t layers = round_bytes / (layer * (int64_t)grid_type_bytes(from->type) + 1);
  return layers > 0 ? layers : 1;
}

static enum status move_mapped(MPI_Comm comm, const struct grid_field *from, struct grid_field *to,
                               const struct mapping *map) {
  int64_t layers = layers_per_round(from, to, map);
  for (int64_t first = 0; first < to->plan.n[0]; first += layers) {
    struct grid_box part = round_box(&to->plan, first, layers);
    struct round round   = {.get_buffer = NULL};
    enum status status   = AGREE(comm, round_prepare(from, to, map, &part, &round));
    if (status == STATUS_OK) round_do(comm, from, to, map, &part, &round);
    round_free(&round);
    TRY(status);
  }
  for (int a = 0; a < 3; a++) to->voxel_um[a] = from->voxel_um[map->order[a]];
  return STATUS_OK;
}

static enum status check_shapes(const struct grid_field *from, const struct grid_field *to,
                                const struct mapping *map) {
  if (from->type != to->type)
    return FAIL(STATUS_INTERNAL, "a %s field cannot move to a %s field", grid_type_name(from->type),
                grid_type_name(to->type));
  for (int a = 0; a < 3; a++) {
    int64_t have = from->plan.n[map->order[a]], need = to->plan.n[a] + map->offset[a];
    if (map->offset[a] < 0 || need > have)
      return FAIL(STATUS_INTERNAL, "axis %d: %lld voxels from %lld are not within %lld", a,
                  (long long)to->plan.n[a], (long long)map->offset[a], (long long)have);
  }
  return STATUS_OK;
}

enum status grid_field_move(MPI_Comm comm, const struct grid_field *from, struct grid_field *to) {
  const struct mapping map = {
      {0, 1, 2},
      {0, 0, 0}
  };
  TRY_ALL(comm, check_shapes(from, to, &map));
  return move_mapped(comm, from, to, &map);
}

enum status grid_field_crop(MPI_Comm comm, const struct grid_field *from,
                            const struct grid_box *box, struct grid_field *to) {
  const struct mapping map = {
      {0,             1,             2            },
      {box->start[0], box->start[1], box->start[2]}
  };
  TRY_ALL(comm, check_shapes(from, to, &map));
  return move_mapped(comm, from, to, &map);
}

enum status grid_field_transpose(MPI_Comm comm, const struct grid_field *from, const int order[3],
                                 struct grid_field *to) {
  const struct mapping map = {
      {order[0], order[1], order[2]},
      {0,        0,        0       }
  };
  TRY_ALL(comm, check_shapes(from, to, &map));
  return move_mapped(comm, from, to, &map);
}
