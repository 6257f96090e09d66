/* Rows of components. Two rows' neighbours are found 64 voxels at a time; of those, only what no other joins imply are
 * taken, which in compact phases leaves few beside one face: a face below when the square of four voxels is not
 * full, an edge when none of the voxels that share a face with both ends is there, a corner when no voxel that is
 * a neighbour of both ends is. */
#include "voxel_components_private.h"
#include "voxel_lanes.h"

int64_t ISA_NAME(component_find_runs)(const struct component_bits *row, int64_t wide,
                                      int32_t before, struct component_run *run) {
  int64_t n = 0;
  bool open = false;
  for (int64_t i = 0; i < (wide + 63) / 64; i++) {
    uint64_t bit = row->bit[i], turns = bit ^ (bit << 1 | open);
    row->before[i] = before + (int32_t)n;
    row->start[i]  = bit & turns;
    for (uint64_t turn = turns; turn; turn &= turn - 1) {
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
  uint64_t upto = ~UINT64_C(0) >> (63 - (k & 63));
  return row->before[i] + __builtin_popcountll(row->start[i] & upto) - 1;
}

/* Joins at the bits of `at` in word i with the other row's voxel `side` further along x. */
static inline void join_at(const struct component_bits *here, const struct component_bits *other,
                           int64_t i, uint64_t at, int side, int32_t *parent) {
  for (at &= ~(at << 1); at; at &= at - 1) { /* neighbouring bits are of the same two runs */
    int k = __builtin_ctzll(at);
    component_join(parent, run_at(here, i, k), run_at(other, i, k + side));
  }
}

/* Which joins a place may ask for: with a row, `side` further along x. */
enum { FREQUENT = 2, JOINS = 12 };
static const struct join {
  int row, side;
} join[JOINS] = {
    {ROW_BEFORE,       0 },
    {ROW_BELOW,        0 },
    {ROW_BELOW_BEFORE, 0 },
    {ROW_BELOW_AFTER,  0 },
    {ROW_BEFORE,       -1},
    {ROW_BELOW,        -1},
    {ROW_BELOW_BEFORE, -1},
    {ROW_BELOW_AFTER,  -1},
    {ROW_BEFORE,       1 },
    {ROW_BELOW,        1 },
    {ROW_BELOW_BEFORE, 1 },
    {ROW_BELOW_AFTER,  1 }
};

/* Places of the joins with other voxels along x than the own. */
static inline __attribute__((always_inline)) void aside(const struct component_bits row[ROWS],
                                                        int64_t i, int steps, int side,
                                                        const lanes_words v[ROWS],
                                                        lanes_words at[4]) {
  lanes_words s[ROWS], none = {0};
  for (int r = 0; r < ROWS; r++) { /* bit k is the row's voxel k + side */
    s[r] = load_words(row[r].bit + i + side);
    s[r] = side < 0 ? v[r] << 1 | s[r] >> 63 : v[r] >> 1 | s[r] << 63;
  }
  lanes_words free = v[ROW_HERE] & ~s[ROW_HERE], d = v[ROW_BEFORE],
              empty = ~(v[ROW_BELOW] | s[ROW_BELOW]);
  at[0]             = free & s[ROW_BEFORE] & ~d;
  at[1]             = free & s[ROW_BELOW] & ~v[ROW_BELOW];
  at[2] = free & s[ROW_BELOW_BEFORE] & empty & ~(d | s[ROW_BEFORE] | v[ROW_BELOW_BEFORE]);
  at[3] = free & s[ROW_BELOW_AFTER] & empty & ~v[ROW_BELOW_AFTER];
  if (steps < 3) at[2] = at[3] = none;
}

/* Most joins are rare: with a branch each they are foretold. */
#define EACH_ITS_BRANCH _Pragma("GCC unroll 12")

/* Places of all joins in LANES_WORDS words; rare: of those that are not FREQUENT. */
static inline __attribute__((always_inline)) void find_joins(const struct component_bits row[ROWS],
                                                             int64_t i, int steps,
                                                             uint64_t place[JOINS][LANES_WORDS],
                                                             uint64_t rare[LANES_WORDS]) {
  lanes_words v[ROWS], at[JOINS] = {{0}}, sum = {0};
  for (int r = 0; r < ROWS; r++) v[r] = load_words(row[r].bit + i);
  lanes_words a = v[ROW_HERE], d = v[ROW_BEFORE], c = v[ROW_BELOW], b = v[ROW_BELOW_BEFORE];
  at[0] = a & d;
  at[1] = a & c & ~(b & d);
  if (steps > 1) {
    at[2] = a & b & ~(c | d);
    at[3] = a & v[ROW_BELOW_AFTER] & ~c;
    aside(row, i, steps, -1, v, at + 4);
    aside(row, i, steps, 1, v, at + 8);
  }
  for (int m = FREQUENT; m < JOINS; m++) sum |= at[m];
  for (int m = 0; m < JOINS; m++) store_words(place[m], at[m]);
  store_words(rare, sum);
}

void ISA_NAME(component_join_row)(const struct component_bits row[ROWS], int64_t n, int steps,
                                  int32_t *parent) {
  uint64_t place[JOINS][LANES_WORDS], rare[LANES_WORDS];
  for (int64_t i = 0; i < n; i += LANES_WORDS) {
    find_joins(row, i, steps, place, rare);
    for (int64_t w = 0; w < LANES_WORDS; w++) {
      EACH_ITS_BRANCH
      for (int m = 0; m < FREQUENT; m++)
        join_at(&row[ROW_HERE], &row[join[m].row], i + w, place[m][w], 0, parent);
      if (!rare[w]) continue;
      EACH_ITS_BRANCH
      for (int m = FREQUENT; m < JOINS; m++)
        join_at(&row[ROW_HERE], &row[join[m].row], i + w, place[m][w], join[m].side, parent);
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
