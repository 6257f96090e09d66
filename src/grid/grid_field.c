/* Fields: this rank's box with its halo. */
#include "grid.h"
#include <string.h>

static enum status field_make_here(const struct grid_plan *plan, enum grid_type type,
                                   const int64_t halo[3], bool zeroed, struct grid_field *field) {
  TRY(fault_here("grid.field"));
  field->type   = type;
  field->mine   = grid_plan_mine(plan);
  field->voxels = 1;
  bool empty    = grid_box_voxels(&field->mine) == 0;
  for (int a = 0; a < 3; a++) {
    field->halo[a] = halo ? halo[a] : 0;
    field->size[a] = empty ? 0 : field->mine.n[a] + 2 * field->halo[a];
    field->voxels *= field->size[a];
  }
  field->row[1] = field->size[2];
  field->row[0] = field->size[1] * field->size[2];
  TRY(grid_plan_copy(plan, &field->plan));
  return (zeroed ? memory_make : memory_make_raw)(field->voxels, grid_type_bytes(type),
                                                  "a field of voxels", &field->data);
}

static enum status field_make(MPI_Comm comm, const struct grid_plan *plan, enum grid_type type,
                              const int64_t halo[3], bool zeroed, struct grid_field *field) {
  memset(field, 0, sizeof *field);
  enum status status = AGREE(comm, field_make_here(plan, type, halo, zeroed, field));
  if (status != STATUS_OK) grid_field_free(field);
  return status;
}

enum status grid_field_make(MPI_Comm comm, const struct grid_plan *plan, enum grid_type type,
                            const int64_t halo[3], struct grid_field *field) {
  return field_make(comm, plan, type, halo, true, field);
}

enum status grid_field_make_raw(MPI_Comm comm, const struct grid_plan *plan, enum grid_type type,
                                const int64_t halo[3], struct grid_field *field) {
  return field_make(comm, plan, type, halo, false, field);
}

void grid_field_free(struct grid_field *field) {
  grid_plan_free(&field->plan);
  memory_free(field->data);
  memset(field, 0, sizeof *field);
}

int64_t grid_field_origin(const struct grid_field *field) {
  return field->halo[0] * field->row[0] + field->halo[1] * field->row[1] + field->halo[2];
}
