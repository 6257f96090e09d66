/* The table of components from their numbers. */
#include "voxel_components_private.h"

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

enum status component_table_make(int64_t count, struct voxel_component **table) {
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

void component_table_sum(MPI_Comm comm, int64_t count, struct voxel_component *table) {
  MPI_Datatype row;
  MPI_Op merge;
  MPI_Type_contiguous((int)sizeof *table, MPI_BYTE, &row);
  MPI_Type_commit(&row);
  MPI_Op_create(merge_rows, 1, &merge);
  MPI_Allreduce(MPI_IN_PLACE, table, (int)count, row, merge, comm);
  MPI_Op_free(&merge);
  MPI_Type_free(&row);
}

enum status voxel_component_table(MPI_Comm comm, const struct grid_field *components, int64_t count,
                                  struct voxel_component **table) {
  TRY_ALL(comm, component_table_make(count, table));
  measure(components, *table);
  component_table_sum(comm, count, *table);
  return STATUS_OK;
}
