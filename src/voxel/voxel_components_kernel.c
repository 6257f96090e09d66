/* Rows of components. Two rows' neighbours are found 64 voxels at a time; of those, only what no other joins imply are
 * taken, which in compact phases leaves few beside one face: a face below when the square of four voxels is not
 * full, an edge when none of the voxels that share a face with both ends is there, a corner when no voxel that is
 * a neighbour of both ends is. */
#include "voxel_components_private.h"

int64_t ISA_NAME(component_find_runs)(const struct component_bits *row, int64_t wide,
                                      int32_t before, struct component_run *run) {
  int64_t n = 0;
  bool open = false;
  for (int64_t i = 0; i < (wide + 63) / 64; i++) {
    row->before[i] = before + (int32_t)n;
    for (uint64_t turn = row->bit[i] ^ (row->bit[i] << 1 | open); turn; turn &= turn - 1) {
      int32_t x = (int32_t)(64 * i + __builtin_ctzll(turn));
      if (open)
        run[n - 1].end = x;
      else
        run[n++].start = x;
      open = !open;
    }
  }
  if (open) run[n - 1].end = (int32_t)wide;
  return n;
}

/* The run that holds bit k (-1..64) of word i. */
static inline int32_t run_at(const struct component_bits *row, int64_t i, int k) {
  i += k < 0 ? -1 : k / 64;
  uint64_t start = row->bit[i] & ~(row->bit[i] << 1 | row->bit[i - 1] >> 63),
           upto  = ~UINT64_C(0) >> (63 - (k & 63));
  return row->before[i] + __builtin_popcountll(start & upto) - 1;
}

/* Joins at the bits of `at` in word i with the other row's voxel `side` further along x. */
static inline void join_at(const struct component_bits *here, const struct component_bits *other,
                           int64_t i, uint64_t at, int side, int32_t *parent) {
  for (at &= ~(at << 1); at; at &= at - 1) { /* neighbouring bits are of the same two runs */
    int k = __builtin_ctzll(at);
    component_join(parent, run_at(here, i, k), run_at(other, i, k + side));
  }
}

/* Bit k is the row's voxel k + side of word i. */
static inline uint64_t shifted(const uint64_t *bit, int64_t i, int side) {
  return side < 0 ? bit[i] << 1 | bit[i - 1] >> 63 : bit[i] >> 1 | bit[i + 1] << 63;
}

void ISA_NAME(component_join_row)(const struct component_bits row[ROWS], int64_t words, int steps,
                                  int32_t *parent) {
  const struct component_bits *here = &row[ROW_HERE];
  for (int64_t i = 0; i < words; i++) {
    uint64_t v[ROWS], s[ROWS];
    for (int r = 0; r < ROWS; r++) v[r] = row[r].bit[i];
    if (!v[ROW_HERE]) continue;
    uint64_t a = v[ROW_HERE], d = v[ROW_BEFORE], c = v[ROW_BELOW], b = v[ROW_BELOW_BEFORE],
             e = v[ROW_BELOW_AFTER];
    join_at(here, &row[ROW_BEFORE], i, a & d, 0, parent);
    join_at(here, &row[ROW_BELOW], i, a & c & ~(b & d), 0, parent);
    if (steps < 2) continue;
    join_at(here, &row[ROW_BELOW_BEFORE], i, a & b & ~(c | d), 0, parent);
    join_at(here, &row[ROW_BELOW_AFTER], i, a & e & ~c, 0, parent);
    for (int side = -1; side <= 1; side += 2) {
      for (int r = 0; r < ROWS; r++) s[r] = shifted(row[r].bit, i, side);
      uint64_t free = a & ~s[ROW_HERE], empty = c | s[ROW_BELOW];
      join_at(here, &row[ROW_BEFORE], i, free & s[ROW_BEFORE] & ~d, side, parent);
      join_at(here, &row[ROW_BELOW], i, free & s[ROW_BELOW] & ~c, side, parent);
      if (steps < 3) continue;
      join_at(here, &row[ROW_BELOW_BEFORE], i,
              free & s[ROW_BELOW_BEFORE] & ~(empty | d | s[ROW_BEFORE] | b), side, parent);
      join_at(here, &row[ROW_BELOW_AFTER], i, free & s[ROW_BELOW_AFTER] & ~(empty | e), side,
              parent);
    }
  }
}

/* Whole vectors from x on, at least up to `end`: what is too much is overwritten by what follows. */
static inline int64_t fill(int32_t *line, int64_t x, int64_t end, int32_t value) {
  for (; x < end; x += VOXEL_ROW_SPARE)
    for (int i = 0; i < VOXEL_ROW_SPARE; i++) line[x + i] = value;
  return end;
}

void ISA_NAME(component_write_row)(const struct component_run *run, const int32_t *component,
                                   int64_t runs, const int32_t *number, int64_t wide,
                                   int32_t *line) {
  int64_t x = 0;
  for (int64_t i = 0; i < runs; i++) {
    fill(line, x, run[i].start, 0);
    x = fill(line, run[i].start, run[i].end, number[component[i]]);
  }
  fill(line, x, wide, 0);
}
