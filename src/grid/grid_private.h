/* Packing of boxes, and who owns parts of a box; shared by halo and move. */
#pragma once
#include "grid.h"

/* Copies the box (volume coordinates, within the field's stored region) to or from a packed C-order
 * buffer. */
void grid_pack(const struct grid_field *field, const struct grid_box *box, void *packed);
void grid_unpack(struct grid_field *field, const struct grid_box *box, const void *packed);

/* The parts of `plan` that meet `box`, as index ranges along the axes: first[a] <= i < end[a]; empty
 * when the box is. */
void grid_parts_of(const struct grid_plan *plan, const struct grid_box *box, int first[3],
                   int end[3]);

/* One message: a box to send to or receive from `rank`, packed at `offset` bytes. */
struct grid_message {
  int rank;
  struct grid_box here; /* where it lies in my field's coordinates */
  int64_t offset_bytes;
};
struct grid_message_list {
  struct grid_message *item;
  int n, room;
  int64_t bytes;
};
enum status grid_message_add(struct grid_message_list *list, int rank, const struct grid_box *here,
                             int64_t size_bytes);
void grid_message_free(struct grid_message_list *list);
