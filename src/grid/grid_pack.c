#include "grid_private.h"
#include <string.h>

static void copy_box(const struct grid_field *field, const struct grid_box *box, char *packed,
                     bool pack) {
  size_t bytes = grid_type_bytes(field->type), run = (size_t)box->n[2] * bytes;
  int64_t at[3];
  for (int a = 0; a < 3; a++) at[a] = box->start[a] - field->mine.start[a] + field->halo[a];
  for (int64_t z = 0; z < box->n[0]; z++)
    for (int64_t y = 0; y < box->n[1]; y++) {
      int64_t voxel = (at[0] + z) * field->row[0] + (at[1] + y) * field->row[1] + at[2];
      char *stored  = (char *)field->data + (size_t)voxel * bytes;
      memcpy(pack ? packed : stored, pack ? stored : packed, run);
      packed += run;
    }
}

void grid_pack(const struct grid_field *field, const struct grid_box *box, void *packed) {
  copy_box(field, box, packed, true);
}

void grid_unpack(struct grid_field *field, const struct grid_box *box, const void *packed) {
  copy_box(field, box, (char *)(uintptr_t)packed, false);
}

/* The first part along an axis that ends beyond `at`. */
static int part_at(const int64_t *cut, int parts, int64_t at) {
  int low = 0, high = parts;
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (cut[middle + 1] > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

void grid_parts_of(const struct grid_plan *plan, const struct grid_box *box, int first[3],
                   int end[3]) {
  for (int a = 0; a < 3; a++) {
    first[a]     = part_at(plan->cut[a], plan->parts[a], box->start[a]);
    end[a]       = first[a];
    int64_t stop = box->start[a] + box->n[a];
    while (grid_box_voxels(box) && end[a] < plan->parts[a] && plan->cut[a][end[a]] < stop) end[a]++;
  }
}

enum status grid_message_add(struct grid_message_list *list, int rank, const struct grid_box *here,
                             int64_t size_bytes) {
  if (list->n == list->room) {
    struct grid_message *larger;
    int room = list->room ? 2 * list->room : 32;
    TRY(memory_make(room, sizeof *larger, "a list of messages", &larger));
    if (list->n) memcpy(larger, list->item, (size_t)list->n * sizeof *larger);
    memory_free(list->item);
    list->item = larger;
    list->room = room;
  }
  list->item[list->n++] = (struct grid_message){rank, *here, list->bytes};
  list->bytes += (size_bytes + 63) / 64 * 64;
  return STATUS_OK;
}

void grid_message_free(struct grid_message_list *list) {
  memory_free(list->item);
  memset(list, 0, sizeof *list);
}
