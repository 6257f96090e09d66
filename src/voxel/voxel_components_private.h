/* Private: runs of voxels, their rows, and how ranks agree on numbers. */
#pragma once
#include "voxel_components.h"

/* A run of voxels along x in this rank's box. */
struct component_run {
  int32_t start, end;
};
/* A row as packed bits, an empty word before it, a vector of them behind it; start: where runs begin; before[word]: how many
 * runs begin before it, those of earlier rows included. */
struct component_bits {
  uint64_t *bit, *start;
  int32_t *before;
};

/* The root of a tree in which parents have lower indices. */
static inline int32_t component_root(int32_t *parent, int32_t i) {
  while (parent[i] != i) {
    parent[i] = parent[parent[i]];
    i         = parent[i];
  }
  return i;
}
/* The smaller index is the root, so a root is its component's first run in raster order. */
static inline void component_join(int32_t *parent, int32_t a, int32_t b) {
  if (parent[a] == parent[b]) return;
  a = component_root(parent, a);
  b = component_root(parent, b);
  if (a < b)
    parent[b] = a;
  else
    parent[a] = b;
}

/* Runs of a row, `before` runs stand already in earlier ones; gives how many there are. */
ISA_DECLARE(int64_t, component_find_runs, const struct component_bits *row, int64_t wide,
            int32_t before, struct component_run *run)
/* Joins the row HERE with its neighbours among earlier rows: along y in its plane, and three of the plane below. A
 * neighbour lies up to `steps` axes off (connectivity 6, 18, 26: 1, 2, 3). */
enum { ROW_HERE, ROW_BEFORE, ROW_BELOW, ROW_BELOW_BEFORE, ROW_BELOW_AFTER, ROWS };
ISA_DECLARE(void, component_join_row, const struct component_bits row[ROWS], int64_t words,
            int steps, int32_t *parent)
/* line[0..wide - 1]: the number of the run's component, 0 between runs. The line has room for VOXEL_ROW_SPARE more. */
ISA_DECLARE(void, component_write_row, const struct component_run *run, const int32_t *component,
            int64_t runs, const int32_t *number, int64_t wide, int32_t *line)

/* Runs of this rank's box and, in the end, which component each is of. */
struct component_runs {
  struct grid_box mine;
  struct component_run *run;
  int32_t *component; /* while they are joined: the parent in a tree */
  int32_t *faces;     /* voxel faces to what is not the phase; NULL: not asked for */
  int64_t n, room;
  int64_t *row; /* first run of each row (z n[1] + y), rows + 1 */
};
/* Of this rank's components, in the order of their first voxels: 1 + the global raster index of that voxel. */
struct component_keys {
  int64_t n, *key;
};
/* How many axes a neighbour may lie off. */
int component_steps(int connectivity);
/* Collective. Joins across the plan's ranks; *number: of each of this rank's components, made here. Keys change. */
enum status component_numbers(MPI_Comm comm, const struct grid_plan *plan, int connectivity,
                              const struct component_runs *runs, struct component_keys *keys,
                              int32_t **number, int64_t *count);
/* A table of `count` rows that nothing was added to, and collective: its sum over the ranks. */
enum status component_table_make(int64_t count, struct voxel_component **table);
void component_table_sum(MPI_Comm comm, int64_t count, struct voxel_component *table);
