/* Halo exchange by box overlaps: a rank receives every part of its grown box from the part's owner,
 * whatever the plan, so faces, edges, corners and neighbours thinner than the halo are one case. What
 * lies beyond the volume is filled afterwards, axis by axis, from inside (nearest, reflect), or is a
 * shifted copy of the volume (periodic). */
#include "grid_private.h"
#include <string.h>

struct grid_exchange {
  struct grid_field *field;
  struct grid_message_list get, put;
  char *get_buffer, *put_buffer;
  MPI_Request *request;
  int requests;
};

enum { HALO_TAG = 4711, MESSAGE_MOST = 1 << 24 };

static struct grid_box grown(const struct grid_field *field, int rank) {
  struct grid_box box = grid_plan_box(&field->plan, rank);
  if (grid_box_voxels(&box) == 0)
    return (struct grid_box){
        {0, 0, 0},
        {0, 0, 0}
    };
  for (int a = 0; a < 3; a++) {
    box.start[a] -= field->halo[a];
    box.n[a] += 2 * field->halo[a];
  }
  return box;
}

static struct grid_box shifted(struct grid_box box, const int64_t shift[3], int sign) {
  for (int a = 0; a < 3; a++) box.start[a] += sign * shift[a];
  return box;
}

/* Adds a box as messages of at most MESSAGE_MOST bytes. Both ends cut boxes of one shape, so in the same way. */
static enum status add_in_parts(struct grid_message_list *list, int rank, struct grid_box box,
                                int64_t voxel_bytes) {
  int axis = 0;
  while (axis < 2 && box.n[axis] == 1) axis++;
  int64_t bytes = grid_box_voxels(&box) * voxel_bytes;
  if (bytes <= MESSAGE_MOST) return grid_message_add(list, rank, &box, bytes);
  int64_t planes = box.n[axis], most = MESSAGE_MOST / (bytes / planes);
  if (most < 1) most = 1;
  for (int64_t at = 0; at < planes; at += most) {
    struct grid_box part = box;
    part.start[axis] += at;
    part.n[axis] = planes - at < most ? planes - at : most;
    TRY(add_in_parts(list, rank, part, voxel_bytes));
  }
  return STATUS_OK;
}

/* Adds what `mine_wants` (the grown box of rank `me`) takes from the image of the volume shifted by
 * `shift`: for get lists the boxes in my halo, owners' ranks. */
static enum status list_get(struct grid_exchange *x, const int64_t shift[3], bool is_image) {
  struct grid_field *field     = x->field;
  const struct grid_plan *plan = &field->plan;
  struct grid_box want         = shifted(grown(field, plan->rank), shift, -1);
  struct grid_box whole        = {
             {0,          0,          0         },
             {plan->n[0], plan->n[1], plan->n[2]}
  };
  want = grid_box_overlap(&want, &whole);
  int first[3], end[3];
  grid_parts_of(plan, &want, first, end);
  for (int i = first[0]; i < end[0]; i++)
    for (int j = first[1]; j < end[1]; j++)
      for (int k = first[2]; k < end[2]; k++) {
        int owner            = (i * plan->parts[1] + j) * plan->parts[2] + k;
        struct grid_box part = grid_plan_box(plan, owner), both = grid_box_overlap(&part, &want);
        if (grid_box_voxels(&both) == 0 || (owner == plan->rank && !is_image)) continue;
        both = shifted(both, shift, 1);
        TRY(add_in_parts(&x->get, owner, both, (int64_t)grid_type_bytes(field->type)));
      }
  return STATUS_OK;
}

/* Who wants what of mine: the ranks whose grown boxes, moved back by the shift, meet my box. As halos
 * are equal everywhere, those are the parts that my box grown by the halo meets. */
static enum status list_put(struct grid_exchange *x, const int64_t shift[3], bool is_image) {
  struct grid_field *field     = x->field;
  const struct grid_plan *plan = &field->plan;
  struct grid_box image = shifted(field->mine, shift, 1), near = image;
  if (grid_box_voxels(&image) == 0) return STATUS_OK;
  for (int a = 0; a < 3; a++) {
    near.start[a] -= field->halo[a];
    near.n[a] += 2 * field->halo[a];
  }
  struct grid_box whole = {
      {0,          0,          0         },
      {plan->n[0], plan->n[1], plan->n[2]}
  };
  near = grid_box_overlap(&near, &whole);
  int first[3], end[3];
  grid_parts_of(plan, &near, first, end);
  for (int i = first[0]; i < end[0]; i++)
    for (int j = first[1]; j < end[1]; j++)
      for (int k = first[2]; k < end[2]; k++) {
        int taker             = (i * plan->parts[1] + j) * plan->parts[2] + k;
        struct grid_box wants = grown(field, taker), both = grid_box_overlap(&wants, &image);
        if (grid_box_voxels(&both) == 0 || (taker == plan->rank && !is_image)) continue;
        both = shifted(both, shift, -1);
        TRY(add_in_parts(&x->put, taker, both, (int64_t)grid_type_bytes(field->type)));
      }
  return STATUS_OK;
}

/* Every image of the volume that a halo can reach, in one order on all ranks. */
static enum status list_images(struct grid_exchange *x, enum grid_edge edge) {
  const struct grid_plan *plan = &x->field->plan;
  int64_t reach[3];
  for (int a = 0; a < 3; a++) {
    bool wraps = edge == GRID_EDGE_PERIODIC && plan->n[a] > 0;
    reach[a]   = wraps ? (x->field->halo[a] + plan->n[a] - 1) / plan->n[a] : 0;
  }
  for (int64_t i = -reach[0]; i <= reach[0]; i++)
    for (int64_t j = -reach[1]; j <= reach[1]; j++)
      for (int64_t k = -reach[2]; k <= reach[2]; k++) {
        const int64_t shift[3] = {i * plan->n[0], j * plan->n[1], k * plan->n[2]};
        TRY(list_get(x, shift, i || j || k));
        TRY(list_put(x, shift, i || j || k));
      }
  return STATUS_OK;
}

static enum status prepare(struct grid_exchange *x, enum grid_edge edge) {
  TRY(fault_here("grid.halo"));
  TRY(list_images(x, edge));
  TRY(memory_make_raw(x->get.bytes, 1, "halo buffers", &x->get_buffer));
  TRY(memory_make_raw(x->put.bytes, 1, "halo buffers", &x->put_buffer));
  return memory_make(x->get.n + x->put.n, sizeof *x->request, "halo requests", &x->request);
}

static void post(MPI_Comm comm, struct grid_exchange *x) {
  int64_t bytes = (int64_t)grid_type_bytes(x->field->type);
  for (int i = 0; i < x->get.n; i++) {
    const struct grid_message *m = &x->get.item[i];
    MPI_Irecv(x->get_buffer + m->offset_bytes, (int)(grid_box_voxels(&m->here) * bytes), MPI_BYTE,
              m->rank, HALO_TAG, comm, &x->request[x->requests++]);
  }
  for (int i = 0; i < x->put.n; i++) {
    const struct grid_message *m = &x->put.item[i];
    grid_pack(x->field, &m->here, x->put_buffer + m->offset_bytes);
    MPI_Isend(x->put_buffer + m->offset_bytes, (int)(grid_box_voxels(&m->here) * bytes), MPI_BYTE,
              m->rank, HALO_TAG, comm, &x->request[x->requests++]);
  }
}

static void exchange_free(struct grid_exchange **exchange) {
  struct grid_exchange *x = *exchange;
  if (!x) return;
  grid_message_free(&x->get);
  grid_message_free(&x->put);
  memory_free(x->get_buffer);
  memory_free(x->put_buffer);
  memory_free(x->request);
  memory_free(x);
  *exchange = NULL;
}

enum status grid_halo_begin(MPI_Comm comm, struct grid_field *field, enum grid_edge edge,
                            struct grid_exchange **exchange) {
  *exchange          = NULL;
  enum status status = memory_make(1, sizeof **exchange, "a halo exchange", exchange);
  if (status == STATUS_OK) (*exchange)->field = field;
  if (status == STATUS_OK) status = prepare(*exchange, edge);
  status = AGREE(comm, status);
  if (status != STATUS_OK)
    exchange_free(exchange);
  else
    post(comm, *exchange);
  return status;
}

enum status grid_halo_end(MPI_Comm comm, struct grid_exchange **exchange) {
  (void)comm; /* collective by nature: all ranks complete what they began */
  struct grid_exchange *x = *exchange;
  MPI_Waitall(x->requests, x->request, MPI_STATUSES_IGNORE);
  for (int i = 0; i < x->get.n; i++)
    grid_unpack(x->field, &x->get.item[i].here, x->get_buffer + x->get.item[i].offset_bytes);
  exchange_free(exchange);
  return STATUS_OK;
}

/* The voxel inside 0..n-1 whose value a voxel beyond the volume takes. */
static int64_t mirrored(int64_t at, int64_t n, enum grid_edge edge) {
  if (edge == GRID_EDGE_NEAREST) return at < 0 ? 0 : at >= n ? n - 1 : at;
  int64_t period = 2 * n, inside = ((at % period) + period) % period;
  return inside < n ? inside : period - 1 - inside;
}

/* Where the plane `at` of those stored along an axis comes from; itself inside the volume. */
static int64_t source(const struct grid_field *field, int axis, enum grid_edge edge, int64_t at) {
  int64_t low = field->mine.start[axis] - field->halo[axis], n = field->plan.n[axis];
  return at + low >= 0 && at + low < n ? at : mirrored(at + low, n, edge) - low;
}

/* Voxels one by one where they are, larger pieces as bytes. */
static void copy_run(char *to, const char *from, size_t bytes) {
  if (bytes == 2)
    memcpy(to, from, 2);
  else if (bytes == 4)
    memcpy(to, from, 4);
  else
    memcpy(to, from, bytes);
}

/* Fills planes beyond the volume along one axis from planes the rank stores; memory is gone through once. */
static enum status fill_axis(struct grid_field *field, int axis, enum grid_edge edge) {
  int64_t size = field->size[axis], *from, outer = 1, inner = 1;
  for (int a = 0; a < axis; a++) outer *= field->size[a];
  for (int a = axis + 1; a < 3; a++) inner *= field->size[a];
  size_t run = (size_t)inner * grid_type_bytes(field->type);
  for (int64_t i = 0; i < size; i++) {
    int64_t at = source(field, axis, edge, i);
    if (at < 0 || at >= size)
      return FAIL(STATUS_INTERNAL, "a halo of %lld reflects beyond the %lld voxels stored",
                  (long long)field->halo[axis], (long long)size);
  }
  TRY(memory_make_raw(size, sizeof *from, "planes of a halo", &from));
  for (int64_t i = 0; i < size; i++) from[i] = source(field, axis, edge, i);
  for (int64_t o = 0; o < outer; o++) {
    char *base = (char *)field->data + (size_t)(o * size) * run;
    for (int64_t i = 0; i < size; i++) {
      if (i == field->halo[axis]) i = size - field->halo[axis]; /* the rest is inside */
      if (i < size && from[i] != i)
        copy_run(base + (size_t)i * run, base + (size_t)from[i] * run, run);
    }
  }
  memory_free(from);
  return STATUS_OK;
}

static enum status fill_edges(struct grid_field *field, enum grid_edge edge) {
  if (field->voxels == 0) return STATUS_OK;
  for (int axis = 0; axis < 3; axis++) TRY(fill_axis(field, axis, edge));
  return STATUS_OK;
}

enum status grid_halo_exchange(MPI_Comm comm, struct grid_field *field, enum grid_edge edge) {
  struct grid_exchange *exchange;
  TRY(grid_halo_begin(comm, field, edge, &exchange));
  TRY(grid_halo_end(comm, &exchange));
  if (edge != GRID_EDGE_NEAREST && edge != GRID_EDGE_REFLECT) return STATUS_OK;
  return AGREE(comm, fill_edges(field, edge));
}
