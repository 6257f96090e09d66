/* Boxes of a dataset and the bricks they are read and written in. Bricks are cut at multiples of
 * whole chunks of the dataset, so that a rank touches (and inflates) a chunk once. */
#include "store_private.h"

void box_contiguous(int rank, const int64_t *start, const int64_t *n, struct box *box) {
  box->rank      = rank;
  int64_t stride = 1;
  for (int a = rank - 1; a >= 0; a--) {
    box->start[a]  = start[a];
    box->n[a]      = n[a];
    box->stride[a] = stride;
    stride *= n[a];
  }
}

struct box box_of_field(const struct grid_field *field, int rank, const int64_t *shift) {
  const int64_t stride[3] = {field->row[0], field->row[1], 1};
  struct box box          = {.rank = rank};
  for (int a = 0; a < rank; a++) {
    int b         = a + 3 - rank;
    box.start[a]  = field->mine.start[b] + shift[b];
    box.n[a]      = field->mine.n[b];
    box.stride[a] = stride[b];
  }
  if (rank == 2 && field->mine.n[0] == 0) box.n[0] = 0;
  return box;
}

int64_t box_elements(const struct box *box) {
  int64_t elements = 1;
  for (int a = 0; a < box->rank; a++) elements *= box->n[a];
  return elements;
}

int64_t box_offset(const struct box *box, const int64_t *at) {
  int64_t offset = 0;
  for (int a = 0; a < box->rank; a++) offset += (at[a] - box->start[a]) * box->stride[a];
  return offset;
}

bool box_is_contiguous(const struct box *box) {
  int64_t stride = 1;
  for (int a = box->rank - 1; a >= 0; a--) {
    if (box->n[a] != 1 && box->stride[a] != stride) return false;
    stride *= box->n[a];
  }
  return true;
}

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* Grows the brick from the fastest axis on, whole chunks at a time, while it stays small enough. */
static void brick_choose(const struct box *box, const int64_t *chunk, size_t element_bytes,
                         int64_t *brick) {
  for (int a = 0; a < box->rank; a++) brick[a] = chunk[a] > 0 ? chunk[a] : 1;
  for (int a = box->rank - 1; a >= 0; a--) {
    int64_t layer_bytes = (int64_t)element_bytes, whole = brick[a];
    for (int b = 0; b < box->rank; b++)
      if (b != a) layer_bytes *= least_of(brick[b], box->n[b]);
    int64_t most = BRICK_BYTES / layer_bytes / whole * whole, end = box->start[a] + box->n[a];
    if (most < whole) return;
    brick[a] = most < end ? most : (end + whole - 1) / whole * whole;
    if (brick[a] < end) return;
  }
}

int64_t box_brick_most(const struct box *box, const int64_t *chunk, size_t element_bytes) {
  int64_t brick[STORE_RANK_MAX] = {0}, elements = 1;
  if (box_elements(box) == 0) return 0;
  brick_choose(box, chunk, element_bytes, brick);
  for (int a = 0; a < box->rank; a++) elements *= least_of(brick[a], box->n[a]);
  return elements;
}

enum status box_bricks(const struct box *box, const int64_t *chunk, size_t element_bytes,
                       enum status (*each)(void *context, const int64_t *start, const int64_t *n),
                       void *context) {
  int64_t brick[STORE_RANK_MAX] = {0}, start[STORE_RANK_MAX], n[STORE_RANK_MAX];
  if (box_elements(box) == 0) return STATUS_OK;
  brick_choose(box, chunk, element_bytes, brick);
  for (int a = 0; a < box->rank; a++) start[a] = box->start[a];
  for (;;) {
    for (int a = 0; a < box->rank; a++) {
      int64_t next = (start[a] / brick[a] + 1) * brick[a], end = box->start[a] + box->n[a];
      n[a] = least_of(next, end) - start[a];
    }
    TRY(each(context, start, n));
    int a = box->rank - 1;
    for (; a >= 0; a--) {
      start[a] += n[a];
      if (start[a] < box->start[a] + box->n[a]) break;
      start[a] = box->start[a];
    }
    if (a < 0) return STATUS_OK;
  }
}
