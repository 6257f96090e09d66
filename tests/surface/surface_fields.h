/* Fields that every rank has whole, as the source of a surface. */
#pragma once
#include "surface.h"
#include <string.h>

struct fields {
  const struct grid_field *labels, *volume;
};

static inline enum status fields_copy(const struct grid_field *from, const struct grid_box *box,
                                      struct grid_field *to) {
  size_t bytes = grid_type_bytes(from->type);
  for (int64_t z = 0; z < box->n[0]; z++)
    for (int64_t y = 0; y < box->n[1]; y++) {
      int64_t at = grid_field_origin(from) + (z + box->start[0]) * from->row[0] +
                   (y + box->start[1]) * from->row[1] + box->start[2];
      int64_t into = grid_field_origin(to) + z * to->row[0] + y * to->row[1];
      memcpy((char *)to->data + (size_t)into * bytes, (const char *)from->data + (size_t)at * bytes,
             (size_t)box->n[2] * bytes);
    }
  return STATUS_OK;
}
static inline enum status fields_labels(void *owner, const struct grid_box *box,
                                        struct grid_field *to) {
  return fields_copy(((const struct fields *)owner)->labels, box, to);
}
static inline enum status fields_volume(void *owner, const struct grid_box *box,
                                        struct grid_field *to) {
  return fields_copy(((const struct fields *)owner)->volume, box, to);
}

/* Collective. In rounds of `deep` rows (0: one); volume may be NULL. */
static inline enum status fields_measure(MPI_Comm comm, const struct surface_params *params,
                                         const struct grid_field *labels,
                                         const struct grid_field *volume, int64_t deep,
                                         struct surface_result *result) {
  struct fields f              = {labels, volume};
  struct surface_source source = {
      .labels = fields_labels, .volume = volume ? fields_volume : NULL, .owner = &f, .deep = deep};
  memcpy(source.n, labels->plan.n, sizeof source.n);
  memcpy(source.voxel_um, labels->voxel_um, sizeof source.voxel_um);
  return surface_measure(comm, params, &source, result);
}
