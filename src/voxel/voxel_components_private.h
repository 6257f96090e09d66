/* Private: rows of components. */
#pragma once
#include "base.h"

/* A run of voxels along x in this rank's box. */
struct component_run {
  int32_t start, end;
};
/* A row as packed bits, an empty word on both sides; before[word]: how many runs begin before it, those of earlier
 * rows included. */
struct component_bits {
  uint64_t *bit;
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
ISA_DECLARE(int64_t, component_runs, const struct component_bits *row, int64_t wide, int32_t before,
            struct component_run *run)
/* Joins the row HERE with its neighbours among earlier rows: along y in its plane, and three of the plane below. A
 * neighbour lies up to `steps` axes off (connectivity 6, 18, 26: 1, 2, 3). */
enum { ROW_HERE, ROW_BEFORE, ROW_BELOW, ROW_BELOW_BEFORE, ROW_BELOW_AFTER, ROWS };
ISA_DECLARE(void, component_join_row, const struct component_bits row[ROWS], int64_t words,
            int steps, int32_t *parent)
/* line[0..wide - 1]: the number of the run's component, 0 between runs. The line has room for COMPONENT_SPARE more. */
enum { COMPONENT_SPARE = 16 };
ISA_DECLARE(void, component_write_row, const struct component_run *run, const int32_t *component,
            int64_t runs, const int32_t *number, int64_t wide, int32_t *line)
