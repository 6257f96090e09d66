/* What a cycle sends, foretold for a volume that conducts everywhere and a K-cycle that takes every second step, which is an
 * upper bound for the busiest rank, or none of them. A pass over the voxels swaps the border three times (before it, before
 * the sweep of the outermost layer, and after that for the sums of boxes); a K-step of a graph swaps three times, a first one
 * sums twice and a second once, a plain cycle swaps twice; each level is visited up to twice as often as the one above while
 * that takes K-steps. */
#include "flux_inner.h"

struct level {
  int64_t nodes, most, border; /* of all ranks; of the busiest rank, and of its sides */
  int neighbours;
};
/* Of voxels halved `level` times, `step` parts along each axis on one rank. */
static struct level level_of(const struct grid_plan *plan, int level, int step) {
  struct level l = {1, 1, 0, 0};
  int64_t share[3];
  int parts[3];
  for (int a = 0; a < 3; a++) {
    int64_t n = (plan->n[a] + plan->parts[a] - 1) / plan->parts[a] + 8;
    if (plan->parts[a] == 1) n = plan->n[a];
    for (int i = 0; i < level; i++) n = (n + 1) / 2;
    parts[a] = (plan->parts[a] + step - 1) / step;
    share[a] = n * (step < plan->parts[a] ? step : plan->parts[a]);
    l.nodes *= n * plan->parts[a];
    l.most *= share[a];
  }
  for (int a = 0; a < 3; a++) {
    const int sides = parts[a] > 2 ? 2 : parts[a] - 1;
    l.border += sides * share[(a + 1) % 3] * share[(a + 2) % 3];
    l.neighbours += sides;
  }
  return l;
}
struct flux_traffic flux_traffic_model(const struct grid_plan *plan, bool second_steps) {
  struct flux_traffic t = {0, 0, 0, 0};
  int64_t visits = 1, before = INT64_MAX / 100;
  const int times          = second_steps ? 2 : 1;
  const struct level first = level_of(plan, 0, 1);
  if (first.neighbours == 0) return t;
  t.messages = 3 * first.neighbours;
  t.bytes    = 3 * 4 * first.border;
  for (int l = 0, step = 1; l < LEVELS; l++) {
    struct level here = level_of(plan, l + 1, step);
    while (flux_merge_wanted(plan, step, here.nodes) || here.nodes > before * 9 / 10) {
      t.bytes += 4 * visits * here.most;
      t.sums += 2 * visits;
      step = flux_merge_step(plan, step);
      here = level_of(plan, l + 1, step);
      t.bytes += 4 * visits * here.most;
      before = INT64_MAX / 100;
      if (flux_merge_team(plan, step) > 1) continue;
      t.alone = visits * here.most;
      return t;
    }
    const bool steps    = l < K_LEVELS;
    const int64_t swaps = steps ? 3 * times * visits : 2 * visits;
    t.messages += swaps * here.neighbours;
    t.bytes += 4 * swaps * here.border;
    if (steps) t.sums += (1 + times) * visits;
    if (steps) visits *= times;
    before = here.nodes;
  }
  return t;
}
