/* Stripes out of a sinogram by sorting (Vo, Atwood and Drakopoulos 2018, algorithm 3): each column sorted by value, a
 * median over `width` columns at equal rank, sorted back. A ring holds the sorted columns that the window still
 * needs, so that the work stays in the second cache. */
#include "recon_private.h"
#include <string.h>

struct ring {
  int64_t angles, columns, width, pitch, slots, loaded; /* pitch: angles up to whole registers */
  int lanes;
  float *value, *median, *tile, *state;
  int32_t *order;
  uint64_t *buffer;
};

static void ring_free(struct ring *r) {
  memory_free(r->value);
  memory_free(r->median);
  memory_free(r->tile);
  memory_free(r->state);
  memory_free(r->order);
  memory_free(r->buffer);
}

static enum status ring_make(int64_t angles, int64_t columns, int64_t width, struct ring *r) {
  *r           = (struct ring){.angles = angles, .columns = columns, .width = width};
  r->lanes     = ISA_PICK(recon_sort_lanes)();
  r->pitch     = (angles + r->lanes - 1) / r->lanes * r->lanes;
  int64_t most = width + 2 * r->lanes < columns ? width + 2 * r->lanes : columns;
  r->slots     = (most + r->lanes - 1) / r->lanes * r->lanes;
  TRY(memory_make(r->slots * r->pitch, sizeof *r->value, "sorted columns", &r->value));
  TRY(memory_make(r->slots * r->pitch, sizeof *r->order, "sorted columns", &r->order));
  TRY(memory_make(r->lanes * r->pitch, sizeof *r->median, "sorted columns", &r->median));
  TRY(memory_make(r->lanes * r->pitch, sizeof *r->tile, "sorted columns", &r->tile));
  TRY(memory_make(r->width * r->pitch, sizeof *r->state, "sorted columns", &r->state));
  return memory_make(2 * angles, sizeof *r->buffer, "sorted columns", &r->buffer);
}

/* Sorted values of column c, the ends reflected. */
static const float *column_at(const struct ring *r, int64_t c) {
  while (c < 0 || c >= r->columns) c = c < 0 ? -1 - c : 2 * r->columns - 1 - c;
  return r->value + c % r->slots * r->pitch;
}

/* Sorts what the window needs up to column `last`, reflections included. */
static void load(struct ring *r, const float *sinogram, int64_t last) {
  for (; r->loaded <= last && r->loaded < r->columns; r->loaded += r->lanes) {
    int64_t slot = r->loaded % r->slots * r->pitch;
    ISA_PICK(recon_sort_columns)
    (sinogram, r->angles, r->columns, r->loaded, r->buffer, r->tile, r->value + slot,
     r->order + slot, r->pitch);
  }
}

/* Medians of columns first .. first + n - 1 back into the sinogram. */
static void smooth(struct ring *r, int64_t first, int64_t n, float *sinogram, const float **list) {
  int64_t half      = r->width / 2;
  const float **old = list, **new = list + r->lanes;
  float *out[16];
  for (int64_t i = 0; i < n; i++) {
    old[i] = column_at(r, first + i - 1 - half);
    new[i] = column_at(r, first + i - half + r->width - 1);
    out[i] = r->median + i * r->pitch;
  }
  ISA_PICK(recon_window_move)
  (old + !first, new + !first, n - !first, r->width, r->pitch, r->state, out + !first);
  ISA_PICK(recon_sort_back)
  (r->median, r->order + first % r->slots * r->pitch, r->pitch, n, r->angles, r->columns, r->tile,
   sinogram + first);
}

enum status recon_unstripe(float *sinogram, int64_t angles, int64_t columns, int64_t width) {
  struct ring r;
  const float **list = NULL;
  enum status status = ring_make(angles, columns, width, &r);
  if (status == STATUS_OK)
    status = memory_make(width + 2 * r.lanes, sizeof *list, "sorted columns", &list);
  for (int64_t first = 0; first < columns && status == STATUS_OK; first += r.lanes) {
    int64_t n = columns - first < r.lanes ? columns - first : r.lanes;
    load(&r, sinogram, first + n + width / 2);
    if (first == 0) {
      for (int64_t k = 0; k < width; k++) list[k] = column_at(&r, k - width / 2);
      ISA_PICK(recon_window_fill)(list, width, r.pitch, r.state, r.median);
    }
    smooth(&r, first, n, sinogram, list);
  }
  memory_free(list);
  ring_free(&r);
  return status;
}
