/* Who owns which voxels: bricks of parts along the three axes, each axis cut into equal shares (the
 * first parts one larger). */
#include "grid.h"
#include <string.h>

size_t grid_type_bytes(enum grid_type type) {
  static const size_t bytes[] = {
#define X(name, ctype) sizeof(ctype),
      GRID_TYPE_LIST(X)
#undef X
  };
  return bytes[type];
}

const char *grid_type_name(enum grid_type type) {
  static const char *const names[] = {"uint8", "uint16",  "uint32", "int32",
                                      "int64", "float32", "float64"};
  return names[type];
}

int64_t grid_box_voxels(const struct grid_box *box) { return box->n[0] * box->n[1] * box->n[2]; }

struct grid_box grid_box_overlap(const struct grid_box *a, const struct grid_box *b) {
  struct grid_box both;
  for (int i = 0; i < 3; i++) {
    int64_t low   = a->start[i] > b->start[i] ? a->start[i] : b->start[i];
    int64_t end_a = a->start[i] + a->n[i], end_b = b->start[i] + b->n[i];
    int64_t high  = end_a < end_b ? end_a : end_b;
    both.start[i] = low;
    both.n[i]     = high > low ? high - low : 0;
  }
  return both;
}

static enum status plan_begin(MPI_Comm comm, const int64_t n[3], const int parts[3],
                              struct grid_plan *plan) {
  memset(plan, 0, sizeof *plan);
  for (int a = 0; a < 3; a++)
    if (n[a] < 0) return FAIL(STATUS_INTERNAL, "a plan of %lld voxels", (long long)n[a]);
  plan->comm = comm;
  MPI_Comm_rank(comm, &plan->rank);
  MPI_Comm_size(comm, &plan->size);
  for (int a = 0; a < 3; a++) {
    plan->n[a]     = n[a];
    plan->parts[a] = parts[a];
    TRY(memory_make(parts[a] + 1, sizeof **plan->cut, "cuts of a plan", &plan->cut[a]));
  }
  return STATUS_OK;
}

static void cut_equally(struct grid_plan *plan) {
  for (int a = 0; a < 3; a++) {
    int64_t share = plan->n[a] / plan->parts[a], more = plan->n[a] % plan->parts[a];
    for (int i = 0; i < plan->parts[a]; i++)
      plan->cut[a][i + 1] = plan->cut[a][i] + share + (i < more);
  }
}

static enum status plan_equal_parts(MPI_Comm comm, const int64_t n[3], const int parts[3],
                                    struct grid_plan *plan) {
  enum status status = plan_begin(comm, n, parts, plan);
  if (status == STATUS_OK)
    cut_equally(plan);
  else
    grid_plan_free(plan);
  return status;
}

enum status grid_plan_slabs(MPI_Comm comm, const int64_t n[3], int axis, struct grid_plan *plan) {
  int parts[3] = {1, 1, 1};
  MPI_Comm_size(comm, &parts[axis]);
  return plan_equal_parts(comm, n, parts, plan);
}

/* Faces between parts, in voxels; a part thinner than asked for costs more than any surface. */
static double brick_cost(const int64_t n[3], const int parts[3], int64_t thinnest) {
  double cost = 0, volume = (double)n[0] * (double)n[1] * (double)n[2];
  for (int a = 0; a < 3; a++) {
    if (n[a] > 0) cost += (parts[a] - 1) * volume / (double)n[a];
    if (parts[a] > 1 && n[a] / parts[a] < thinnest) cost += 1e30 * parts[a];
  }
  return cost;
}

enum status grid_plan_blocks(MPI_Comm comm, const int64_t n[3], int64_t thinnest,
                             struct grid_plan *plan) {
  int size, best[3] = {1, 1, 1};
  MPI_Comm_size(comm, &size);
  double best_cost = -1;
  for (int pz = size; pz >= 1; pz--)
    for (int py = size / pz; py >= 1 && size % pz == 0; py--) {
      if (size / pz % py) continue;
      const int parts[3] = {pz, py, size / pz / py};
      double cost        = brick_cost(n, parts, thinnest);
      if (best_cost >= 0 && cost >= best_cost) continue;
      best_cost = cost;
      memcpy(best, parts, sizeof best);
    }
  return plan_equal_parts(comm, n, best, plan);
}

enum status grid_plan_cuts(MPI_Comm comm, const int64_t n[3], int axis, const int64_t *share,
                           struct grid_plan *plan) {
  int parts[3] = {1, 1, 1};
  MPI_Comm_size(comm, &parts[axis]);
  TRY(plan_equal_parts(comm, n, parts, plan));
  for (int i = 0; i < parts[axis]; i++)
    plan->cut[axis][i + 1] = plan->cut[axis][i] + (share[i] > 0 ? share[i] : 0);
  if (plan->cut[axis][parts[axis]] == n[axis]) return STATUS_OK;
  int64_t got = plan->cut[axis][parts[axis]];
  grid_plan_free(plan);
  return FAIL(STATUS_INTERNAL, "the shares of a plan sum to %lld, not %lld", (long long)got,
              (long long)n[axis]);
}

enum status grid_plan_copy(const struct grid_plan *from, struct grid_plan *plan) {
  enum status status = plan_begin(from->comm, from->n, from->parts, plan);
  for (int a = 0; a < 3 && status == STATUS_OK; a++)
    memcpy(plan->cut[a], from->cut[a], (size_t)(from->parts[a] + 1) * sizeof *from->cut[a]);
  if (status != STATUS_OK) grid_plan_free(plan);
  return status;
}

void grid_plan_free(struct grid_plan *plan) {
  for (int a = 0; a < 3; a++) memory_free(plan->cut[a]);
  memset(plan, 0, sizeof *plan);
}

bool grid_plan_equal(const struct grid_plan *a, const struct grid_plan *b) {
  if (a->comm != b->comm) return false;
  for (int i = 0; i < 3; i++) {
    if (a->n[i] != b->n[i] || a->parts[i] != b->parts[i]) return false;
    if (memcmp(a->cut[i], b->cut[i], (size_t)(a->parts[i] + 1) * sizeof *a->cut[i])) return false;
  }
  return true;
}

struct grid_box grid_plan_box(const struct grid_plan *plan, int rank) {
  struct grid_box box = {
      {0, 0, 0},
      {0, 0, 0}
  };
  const int64_t all = (int64_t)plan->parts[0] * plan->parts[1] * plan->parts[2];
  if (rank < 0 || rank >= all) return box;
  const int at[3] = {rank / plan->parts[2] / plan->parts[1], rank / plan->parts[2] % plan->parts[1],
                     rank % plan->parts[2]};
  for (int a = 0; a < 3; a++) {
    box.start[a] = plan->cut[a][at[a]];
    box.n[a]     = plan->cut[a][at[a] + 1] - box.start[a];
  }
  return box;
}

struct grid_box grid_plan_mine(const struct grid_plan *plan) {
  return grid_plan_box(plan, plan->rank);
}

int64_t grid_plan_most(const struct grid_plan *plan) {
  int64_t most = 1;
  for (int a = 0; a < 3; a++) {
    int64_t widest = 0;
    for (int i = 0; i < plan->parts[a]; i++) {
      int64_t width = plan->cut[a][i + 1] - plan->cut[a][i];
      if (width > widest) widest = width;
    }
    most *= widest;
  }
  return most;
}
