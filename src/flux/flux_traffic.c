/* What a cycle sends, foretold for a volume that conducts everywhere and a K-cycle that takes every second step, which
 * is an upper bound for the busiest rank, or none of them. A pass over the voxels swaps the border twice (before, and after to mend the sums of
 * boxes); a K-step of a graph swaps three times, a first one sums twice and a second once, a plain cycle swaps twice; each
 * level is visited up to twice as often as the one above while that takes K-steps. */
#include "flux_inner.h"

struct level {
  int64_t nodes, border; /* of all ranks; of the busiest rank's sides */
};
static struct level level_of(const struct grid_plan *plan, int level) {
  struct level l = {1, 0};
  int64_t share[3];
  for (int a = 0; a < 3; a++) {
    int64_t n = (plan->n[a] + plan->parts[a] - 1) / plan->parts[a] + 8;
    if (plan->parts[a] == 1) n = plan->n[a];
    for (int i = 0; i < level; i++) n = (n + 1) / 2;
    share[a] = n;
    l.nodes *= n * plan->parts[a];
  }
  for (int a = 0; a < 3; a++) {
    const int sides = plan->parts[a] > 2 ? 2 : plan->parts[a] - 1;
    l.border += sides * share[(a + 1) % 3] * share[(a + 2) % 3];
  }
  return l;
}
struct flux_traffic flux_traffic_model(const struct grid_plan *plan, bool second_steps) {
  struct flux_traffic t = {0, 0, 0, 0};
  int64_t visits = 1, neighbours = 0, before = INT64_MAX / 100;
  for (int a = 0; a < 3; a++) neighbours += plan->parts[a] > 2 ? 2 : plan->parts[a] - 1;
  if (neighbours == 0) return t;
  t.messages = 2 * neighbours;
  t.bytes    = 2 * 4 * level_of(plan, 0).border;
  for (int l = 0; l < LEVELS; l++) {
    const struct level here = level_of(plan, l + 1);
    if (here.nodes <= GATHER_NODES || here.nodes > before * 9 / 10) {
      t.sums += visits;
      t.gathered = visits;
      t.bytes += 4 * visits * here.nodes;
      return t;
    }
    const bool steps    = l < K_LEVELS;
    const int64_t times = second_steps ? 2 : 1, swaps = steps ? 3 * times * visits : 2 * visits;
    t.messages += swaps * neighbours;
    t.bytes += 4 * swaps * here.border;
    if (steps) t.sums += (1 + times) * visits;
    if (steps) visits *= times;
    before = here.nodes;
  }
  return t;
}
