/* Resampling by an affine map, and halving. A row of the target is a straight line in the source, walked by one of two
 * kernels: turned, or shifted alone (where the weights are the same for all voxels). */
#include "voxel_transform.h"
#include "voxel_resample_private.h"
#include <math.h>
#include <string.h>

double voxel_map_reach(const struct voxel_map *map, const int64_t n[3]) {
  double most = 0;
  for (int corner = 0; corner < 8; corner++) {
    double p[3], z = map->at[0];
    for (int a = 0; a < 3; a++) p[a] = corner >> a & 1 ? (double)(n[a] - 1) : 0;
    for (int a = 0; a < 3; a++) z += map->turn[0][a] * p[a];
    most = fmax(most, fabs(z - p[0]));
  }
  return most;
}

static bool is_shift(const struct voxel_map *map) {
  bool same = true;
  for (int r = 0; r < 3; r++)
    for (int c = 0; c < 3; c++) same &= map->turn[r][c] == (r == c);
  return same;
}

/* What this rank holds of the source: its slices and halo, within the volume. */
static struct resample_source source_of(const struct grid_field *from) {
  struct resample_source s = {
      .row = {from->row[0], from->row[1]}
  };
  int64_t first = from->mine.start[0] - from->halo[0], last = first + from->size[0] - 1;
  for (int a = 1; a < 3; a++) s.high[a] = from->plan.n[a] - 1;
  s.low[0]  = first > 0 ? first : 0;
  s.high[0] = last < from->plan.n[0] - 1 ? last : from->plan.n[0] - 1;
  s.data    = (const float *)from->data + (s.low[0] - first) * from->row[0] +
           from->halo[1] * from->row[1] + from->halo[2];
  return s;
}

static enum status check_fields(const struct voxel_map *map, const struct grid_field *from,
                                const struct grid_field *to, int slices) {
  TRY(fault_here("voxel.resample"));
  if (from->type != GRID_F32 || to->type != GRID_F32 || !grid_plan_equal(&from->plan, &to->plan))
    return FAIL(STATUS_INTERNAL, "a resampling between fields of different plans or types");
  double reach = fmin(ceil(voxel_map_reach(map, from->plan.n)), (double)from->plan.n[0]);
  double need  = reach + slices;
  if (from->mine.n[0] < from->plan.n[0] && (double)from->halo[0] < need)
    return FAIL(STATUS_INTERNAL, "a halo of %lld slices where %g are needed",
                (long long)from->halo[0], need);
  return STATUS_OK;
}

enum kernel { SHIFTED, TURNED, LANCZOS };

static enum status walk(const struct voxel_map *map, const struct resample_source *s,
                        enum kernel kernel, struct grid_field *to) {
  const double step[3] = {map->turn[0][2], map->turn[1][2], map->turn[2][2]};
  const int64_t *n     = to->mine.n;
  float *line;
  if (n[0] * n[1] * n[2] == 0) return STATUS_OK;
  TRY(memory_make(n[2] + 4, sizeof *line, "a row", &line));
  for (int64_t z = 0; z < n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++) {
      double pz = (double)(z + to->mine.start[0]), py = (double)y, start[3];
      float *row = (float *)to->data + grid_field_origin(to) + z * to->row[0] + y * to->row[1];
      for (int a = 0; a < 3; a++)
        start[a] = map->turn[a][0] * pz + map->turn[a][1] * py + map->at[a];
      if (kernel == LANCZOS)
        ISA_PICK(resample_lanczos)(s, start, step, n[2], row);
      else if (kernel == SHIFTED)
        ISA_PICK(resample_shifted)(s, start, n[2], line, row);
      else
        ISA_PICK(resample_turned)(s, start, step, n[2], row);
    }
  memory_free(line);
  return STATUS_OK;
}

enum status voxel_resample(const struct voxel_map *map, const struct grid_field *from,
                           struct grid_field *to) {
  const struct resample_source s = source_of(from);
  TRY(check_fields(map, from, to, VOXEL_RESAMPLE_SLICES));
  return walk(map, &s, is_shift(map) ? SHIFTED : TURNED, to);
}

/* ---- in parts ------------------------------------------------------------------------------------------ */

void voxel_map_slices(const struct voxel_map *map, const int64_t n[3], int64_t first, int64_t count,
                      int taps, int64_t *low, int64_t *behind) {
  double least = INFINITY, most = -INFINITY;
  for (int corner = 0; corner < 8; corner++) {
    double z = map->at[0] + map->turn[0][0] * (double)(corner & 1 ? first + count - 1 : first);
    for (int a = 1; a < 3; a++) z += corner >> a & 1 ? map->turn[0][a] * (double)(n[a] - 1) : 0;
    least = fmin(least, z);
    most  = fmax(most, z);
  }
  double last = (double)(n[0] - 1);
  *low        = (int64_t)fmin(fmax(floor(least) - taps, 0), last);
  *behind     = (int64_t)fmin(fmax(ceil(most) + taps, 0), last) + 1;
}

enum status voxel_resample_part(const struct voxel_map *map, const int64_t n[3], bool lanczos,
                                const struct grid_field *from, struct grid_field *to) {
  int64_t low, behind, have = from->mine.start[0], end = have + from->mine.n[0];
  TRY(fault_here("voxel.resample"));
  if (to->mine.n[0] == 0) return STATUS_OK;
  voxel_map_slices(map, n, to->mine.start[0], to->mine.n[0],
                   lanczos ? VOXEL_LANCZOS_SLICES : VOXEL_RESAMPLE_SLICES, &low, &behind);
  if (from->type != GRID_F32 || to->type != GRID_F32 || have > low || end < behind)
    return FAIL(STATUS_INTERNAL,
                "a resampling from slices %lld to %lld where %lld to %lld are needed",
                (long long)have, (long long)end, (long long)low, (long long)behind);
  const struct resample_source s = {
      .data = from->data,
      .row  = {from->row[0], from->row[1]},
      .low  = { have,           0,            0},
      .high = { end - 1,    n[1] - 1,     n[2] - 1}
  };
  return walk(map, &s, lanczos ? LANCZOS : is_shift(map) ? SHIFTED : TURNED, to);
}

/* ---- halving ----------------------------------------------------------------------------------------- */

/* Coarse slice k holds fine slices 2k and 2k+1; it belongs to the owner of the first. */
static enum status half_plan(MPI_Comm comm, const struct grid_plan *fine, struct grid_plan *half) {
  int64_t n[3], *share;
  for (int a = 0; a < 3; a++) n[a] = fine->n[a] > 1 ? fine->n[a] / 2 : fine->n[a];
  TRY(memory_make(fine->size, sizeof *share, "shares of a plan", &share));
  for (int r = 0; r < fine->size; r++) {
    struct grid_box box = grid_plan_box(fine, r);
    int64_t first = (box.start[0] + 1) / 2, behind = (box.start[0] + box.n[0] + 1) / 2;
    if (fine->n[0] == 1) first = box.start[0], behind = first + box.n[0];
    if (behind > n[0]) behind = n[0];
    share[r] = box.n[0] > 0 && behind > first ? behind - first : 0;
  }
  enum status status = grid_plan_cuts(comm, n, 0, share, half);
  memory_free(share);
  return status;
}

static void halve_here(const struct grid_field *from, struct grid_field *half) {
  int64_t step[3], strides[3] = {from->row[0], from->row[1], 1};
  const float *origin = (const float *)from->data + grid_field_origin(from);
  float *to           = (float *)half->data + grid_field_origin(half);
  for (int a = 0; a < 3; a++) step[a] = from->plan.n[a] > 1 ? 2 : 1;
  int64_t dz = step[0] > 1 ? strides[0] : 0, dy = step[1] > 1 ? strides[1] : 0, dx = step[2] > 1;
  for (int64_t z = 0; z < half->mine.n[0]; z++)
    for (int64_t y = 0; y < half->mine.n[1]; y++)
      for (int64_t x = 0; x < half->mine.n[2]; x++) {
        int64_t fine   = (z + half->mine.start[0]) * step[0] - from->mine.start[0];
        const float *p = origin + fine * strides[0] + y * step[1] * strides[1] + x * step[2];
        float low      = p[0] + p[dx] + p[dy] + p[dy + dx];
        float high     = p[dz] + p[dz + dx] + p[dz + dy] + p[dz + dy + dx];
        to[z * half->row[0] + y * half->row[1] + x] = 0.125F * (low + high);
      }
}

enum status voxel_halve(MPI_Comm comm, struct grid_field *from, const int64_t halo[3],
                        struct grid_field *half) {
  struct grid_plan plan;
  memset(half, 0, sizeof *half);
  TRY_ALL(comm, fault_here("voxel.halve"));
  TRY(grid_halo_exchange(comm, from, GRID_EDGE_NEAREST));
  TRY_ALL(comm, half_plan(comm, &from->plan, &plan));
  enum status status = grid_field_make(comm, &plan, GRID_F32, halo, half);
  grid_plan_free(&plan);
  TRY(status);
  for (int a = 0; a < 3; a++) half->voxel_um[a] = 2 * from->voxel_um[a];
  halve_here(from, half);
  return STATUS_OK;
}
