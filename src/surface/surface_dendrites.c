/* Protrusions of a map: a flood fill over the columns above a level. */
#include "surface_map.h"
#include <math.h>
#include <string.h>

struct flood {
  const struct surface_map *map;
  double level_um;
  uint8_t *seen;
  int64_t *stack;
};

static bool is_high(const struct flood *f, int64_t y, int64_t x) {
  if (y < 0 || x < 0 || y >= f->map->ny || x >= f->map->nx) return false;
  int64_t at = y * f->map->nx + x;
  return !f->seen[at] && (double)f->map->z[at] > f->level_um;
}

static int64_t fill(struct flood *f, int64_t start, struct surface_dendrite *d) {
  const struct surface_map *map = f->map;
  double cell = map->step_um[0] * map->step_um[1], y_sum = 0, x_sum = 0;
  int64_t open = 0, columns = 0;
  memset(d, 0, sizeof *d);
  d->height_um     = -INFINITY;
  f->seen[start]   = 1;
  f->stack[open++] = start;
  while (open) {
    int64_t at = f->stack[--open], y = at / map->nx, x = at % map->nx;
    double z = (double)map->z[at];
    columns++;
    y_sum += (double)y, x_sum += (double)x;
    d->volume_um3 += (z - f->level_um) * cell;
    d->height_um = fmax(d->height_um, z);
    for (int64_t dy = -1; dy <= 1; dy++)
      for (int64_t dx = -1; dx <= 1; dx++)
        if (is_high(f, y + dy, x + dx)) {
          int64_t next     = (y + dy) * map->nx + x + dx;
          f->seen[next]    = 1;
          f->stack[open++] = next;
        }
  }
  d->area_um2    = (double)columns * cell;
  d->diameter_um = 2 * sqrt(d->area_um2 / PI);
  d->y_um        = (y_sum / (double)columns + 0.5) * map->step_um[0];
  d->x_um        = (x_sum / (double)columns + 0.5) * map->step_um[1];
  return columns;
}

static enum status keep(const struct surface_dendrite *d, struct surface_dendrite **list,
                        int64_t *n, int64_t *room) {
  if (*n == *room) {
    struct surface_dendrite *larger;
    TRY(memory_make_raw(2 * *room + 64, sizeof *larger, "protrusions", &larger));
    if (*n) memcpy(larger, *list, (size_t)*n * sizeof *larger);
    memory_free(*list);
    *list = larger;
    *room = 2 * *room + 64;
  }
  (*list)[(*n)++] = *d;
  return STATUS_OK;
}

enum status surface_dendrites_of(const struct surface_map *map, double level_um, int64_t least,
                                 struct surface_dendrite **list, int64_t *n) {
  struct flood f = {map, level_um, NULL, NULL};
  struct surface_dendrite d;
  int64_t columns = map->ny * map->nx, room = 0;
  *list = NULL;
  *n    = 0;
  TRY(memory_make(columns, sizeof *f.seen, "protrusions", &f.seen));
  enum status status = memory_make_raw(columns, sizeof *f.stack, "protrusions", &f.stack);
  for (int64_t i = 0; i < columns && status == STATUS_OK; i++)
    if (is_high(&f, i / map->nx, i % map->nx) && fill(&f, i, &d) >= least)
      status = keep(&d, list, n, &room);
  memory_free(f.seen);
  memory_free(f.stack);
  return status;
}
