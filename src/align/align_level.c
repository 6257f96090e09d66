/* The tilt of a volume's layers, found by itself. In blocks of columns the mean grey of every slice is a profile; where
 * layers lie across z the profiles of all blocks are one and the same, each shifted by the layers' height there. The plane
 * of heights under which the profiles' derivatives add up to most energy is searched, from binned slices to single ones;
 * then each block's own height comes from least squares (offset, contrast and shift against the mean profile), and the
 * plane through these heights, with its standard deviation from their scatter. Blocks that do not follow the mean of the
 * others (beside the cell, cut by its wall) or are off by more than three standard deviations do not count. Slices lie on
 * one rank each, so the profiles and all that follows are the same on any rank count. */
#include "align.h"
#include "numeric.h"
#include <math.h>
#include <string.h>

enum { BLOCKS_MOST = 24, BLOCK_LEAST = 6, BLOCKS_NEEDED = 6, ROUNDS = 8, SLICES_NEEDED = 8 };
enum { COARSE_STEPS = 6, BIN_LEAST = 12 };
static const double ENOUGH_SLICES = 1e-3; /* that a step still moves the box's far end by */
static const double ALIKE =
    0.5; /* correlation with the mean of the others from which a block counts, */
static const double FULL =
    0.85; /* and contrast over theirs: how much of a block the cell's wall leaves changes from
                                   * slice to slice in a tilted cell, and looks like a height */

struct blocks {
  int64_t edge, high, wide, n,
      nz;         /* voxels of a block's edge; blocks along y and x, of both; slices */
  float *grey;    /* [block][slice] */
  double *y, *x;  /* middles against the box's, voxels */
  double *height; /* of single blocks */
  bool *counts;
};

static enum status blocks_make(const int64_t n[3], struct blocks *b) {
  const int64_t longest = n[1] > n[2] ? n[1] : n[2];
  *b                    = (struct blocks){.edge = (longest + BLOCKS_MOST - 1) / BLOCKS_MOST};
  if (b->edge < BLOCK_LEAST) b->edge = BLOCK_LEAST;
  b->high = n[1] / b->edge > 0 ? n[1] / b->edge : 1; /* what is left over at the end is left out */
  b->wide = n[2] / b->edge > 0 ? n[2] / b->edge : 1;
  b->n    = b->high * b->wide;
  b->nz   = n[0];
  TRY(memory_make(b->n * b->nz, sizeof *b->grey, "profiles", &b->grey));
  TRY(memory_make(b->n, sizeof *b->y, "blocks of columns", &b->y));
  TRY(memory_make(b->n, sizeof *b->x, "blocks of columns", &b->x));
  TRY(memory_make(b->n, sizeof *b->height, "blocks of columns", &b->height));
  TRY(memory_make(b->n, sizeof *b->counts, "blocks of columns", &b->counts));
  for (int64_t k = 0; k < b->n; k++) {
    b->y[k]      = ((double)(k / b->wide) + 0.5) * (double)b->edge - 0.5 * (double)n[1];
    b->x[k]      = ((double)(k % b->wide) + 0.5) * (double)b->edge - 0.5 * (double)n[2];
    b->counts[k] = true;
  }
  return STATUS_OK;
}
static void blocks_free(struct blocks *b) {
  memory_free(b->grey);
  memory_free(b->y);
  memory_free(b->x);
  memory_free(b->height);
  memory_free(b->counts);
}
int64_t align_level_bytes(int64_t slices) {
  return 2 * BLOCKS_MOST * BLOCKS_MOST * slices * (int64_t)sizeof(float);
}

/* ---- profiles -------------------------------------------------------------------------------------------- */

static void slices_add(const float *from, const int64_t n[3], int64_t first, int64_t count,
                       struct blocks *b) {
  for (int64_t z = 0; z < count; z++)
    for (int64_t k = 0; k < b->n; k++) {
      const int64_t y0 = k / b->wide * b->edge, x0 = k % b->wide * b->edge;
      const int64_t y1 = y0 + b->edge < n[1] ? y0 + b->edge : n[1];
      const int64_t x1 = x0 + b->edge < n[2] ? x0 + b->edge : n[2];
      double sum       = 0;
      for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++) sum += (double)from[(z * n[1] + y) * n[2] + x];
      b->grey[k * b->nz + first + z] = (float)(sum / (double)((y1 - y0) * (x1 - x0)));
    }
}
static enum status profiles_read(MPI_Comm comm, const struct align_source *source,
                                 const struct grid_box *box, int64_t deep, struct blocks *b) {
  const struct align_view view = {.box = *box, .threshold = -INFINITY};
  struct grid_plan plan;
  float *slices = NULL;
  TRY_ALL(comm, grid_plan_slabs(comm, box->n, 0, &plan));
  const struct grid_box mine = grid_plan_mine(&plan);
  const int64_t most         = grid_plan_box(&plan, 0).n[0];
  grid_plan_free(&plan);
  if (deep == 0 || deep > most) deep = most;
  enum status status =
      AGREE(comm, memory_make_raw(deep * box->n[1] * box->n[2], sizeof *slices, "slices", &slices));
  for (int64_t z = 0; z < most && status == STATUS_OK; z += deep) {
    const int64_t at    = z < mine.n[0] ? z : mine.n[0];
    const int64_t count = mine.n[0] - at < deep ? mine.n[0] - at : deep;
    status              = stop_agree(comm);
    if (status == STATUS_OK)
      status = align_look_slices(comm, source, &view, mine.start[0] + at, count, slices);
    if (status == STATUS_OK) slices_add(slices, box->n, mine.start[0] + at, count, b);
  }
  memory_free(slices);
  for (int64_t k = 0; k < b->n && status == STATUS_OK; k++)
    MPI_Allreduce(MPI_IN_PLACE, b->grey + k * b->nz, (int)b->nz, MPI_FLOAT, MPI_SUM, comm);
  return status;
}

/* Catmull-Rom between slices; NAN where four are not there. */
static double grey_at(const struct blocks *b, int64_t block, double z) {
  const double below = floor(z), t = z - below;
  if (!(below >= 1) || !(below + 2 < (double)b->nz)) return NAN;
  const float *g = b->grey + block * b->nz + (int64_t)below;
  const double a = (double)g[-1], c = (double)g[0], d = (double)g[1], e = (double)g[2];
  return c + 0.5 * t * (d - a + t * (2 * a - 5 * c + 4 * d - e + t * (3 * (c - d) + e - a)));
}

/* ---- search on bins ----------------------------------------------------------------------------------------- */

/* Energy of the sum over the blocks of derivatives of profiles in bins, each shifted by the plane. */
static double stacked(const struct blocks *b, const float *rise, int64_t bins, int64_t bin,
                      const double slope[2], double *sum) {
  double energy = 0;
  memset(sum, 0, (size_t)bins * sizeof *sum);
  for (int64_t k = 0; k < b->n; k++) {
    const int64_t shift = llround((slope[0] * b->y[k] + slope[1] * b->x[k]) / (double)bin);
    const int64_t first = shift < 0 ? -shift : 0, end = shift > 0 ? bins - shift : bins;
    for (int64_t i = first; i < end; i++) sum[i] += (double)rise[k * bins + i + shift];
  }
  for (int64_t i = 0; i < bins; i++) energy += sum[i] * sum[i];
  return energy;
}
static void rises_set(const struct blocks *b, int64_t bins, int64_t bin, float *rise) {
  for (int64_t k = 0; k < b->n; k++) {
    double before = NAN;
    for (int64_t i = 0; i < bins; i++) {
      double mean = 0;
      for (int64_t z = i * bin; z < (i + 1) * bin; z++) mean += (double)b->grey[k * b->nz + z];
      mean /= (double)bin;
      rise[k * bins + i] = i && isfinite(mean - before) ? (float)(mean - before) : 0;
      before             = mean;
    }
  }
}
/* Best of the slopes `reach` steps about the present one. */
static void step_search(const struct blocks *b, const float *rise, int64_t bins, int64_t bin,
                        int reach, double step, double most, double *sum, double slope[2]) {
  const double middle[2] = {slope[0], slope[1]};
  double best            = -1;
  for (int i = -reach; i <= reach; i++)
    for (int j = -reach; j <= reach; j++) {
      const double at[2] = {middle[0] + i * step, middle[1] + j * step};
      if (hypot(at[0], at[1]) > most) continue;
      const double energy = stacked(b, rise, bins, bin, at, sum);
      if (energy <= best) continue;
      best     = energy;
      slope[0] = at[0];
      slope[1] = at[1];
    }
}
/* most: largest slope, slices per voxel. From bins of which the steepest plane takes a few to single slices. */
static enum status plane_search(const struct blocks *b, double most, double slope[2]) {
  double far = 0, *sum = NULL;
  float *rise = NULL;
  int64_t bin = 1;
  for (int64_t k = 0; k < b->n; k++) far = fmax(far, hypot(b->y[k], b->x[k]));
  while (most * far / (double)bin > COARSE_STEPS && b->nz / (2 * bin) >= BIN_LEAST) bin *= 2;
  int reach = (int)ceil(most * far / (double)bin);
  slope[0] = slope[1] = 0;
  TRY(memory_make_raw(b->nz, sizeof *sum, "mean profile", &sum));
  enum status status = memory_make_raw(b->n * b->nz, sizeof *rise, "profiles", &rise);
  for (; bin >= 1 && status == STATUS_OK && far > 0; bin /= 2, reach = 2) {
    const int64_t bins = b->nz / bin;
    rises_set(b, bins, bin, rise);
    step_search(b, rise, bins, bin, reach, (double)bin / far, most, sum, slope);
  }
  memory_free(rise);
  memory_free(sum);
  return status;
}

/* ---- heights of single blocks ------------------------------------------------------------------------------- */

static double plane_at(const struct blocks *b, const double p[3], int64_t k) {
  return p[0] + p[1] * b->y[k] + p[2] * b->x[k];
}
/* Sum over the blocks that count of the profiles under the plane, and how many there are. */
static void mean_set(const struct blocks *b, const double p[3], double *sum, double *count) {
  memset(sum, 0, (size_t)b->nz * sizeof *sum);
  memset(count, 0, (size_t)b->nz * sizeof *count);
  for (int64_t k = 0; k < b->n; k++)
    for (int64_t z = 0; z < b->nz && b->counts[k]; z++) {
      const double grey = grey_at(b, k, (double)z + plane_at(b, p, k));
      if (!isfinite(grey)) continue;
      sum[z] += grey;
      count[z]++;
    }
}
/* Mean of the others at a slice. */
static double others_at(const struct blocks *b, const double p[3], const double *sum,
                        const double *count, int64_t k, int64_t z) {
  if (z < 0 || z >= b->nz) return NAN;
  const double own = b->counts[k] ? grey_at(b, k, (double)z + plane_at(b, p, k)) : (double)NAN;
  const double n   = isfinite(own) ? count[z] - 1 : count[z];
  return n >= 2 ? (sum[z] - (isfinite(own) ? own : 0)) / n : (double)NAN;
}
/* Least squares of a block's profile by offset, contrast and shift of the others' mean: the shift in slices. false: it does
 * not follow them. */
static bool shift_of(const struct blocks *b, const double p[3], const double *sum,
                     const double *count, int64_t k, double *shift) {
  double s[6] = {0}, t[2] = {0}, m[3] = {0}, square = 0, n = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t z = 1; z + 1 < b->nz; z++) {
      const double own  = grey_at(b, k, (double)z + plane_at(b, p, k));
      const double mean = others_at(b, p, sum, count, k, z);
      const double rise =
          0.5 * (others_at(b, p, sum, count, k, z + 1) - others_at(b, p, sum, count, k, z - 1));
      if (!isfinite(own + mean + rise)) continue;
      if (pass == 0) {
        m[0] += own;
        m[1] += mean;
        m[2] += rise;
        n++;
        continue;
      }
      const double v = own - m[0] / n, a = mean - m[1] / n, d = rise - m[2] / n;
      s[0] += a * a;
      s[1] += a * d;
      s[2] += d * d;
      t[0] += a * v;
      t[1] += d * v;
      square += v * v;
    }
  const double det = s[0] * s[2] - s[1] * s[1];
  if (n < SLICES_NEEDED || !(det > 1e-12 * s[0] * s[2])) return false;
  const double contrast = (s[2] * t[0] - s[1] * t[1]) / det;
  const double slide    = (s[0] * t[1] - s[1] * t[0]) / det;
  const double likeness = contrast * t[0] + slide * t[1]; /* of the square, what is explained */
  if (!(contrast > FULL) || !(likeness > ALIKE * ALIKE * square)) return false;
  *shift = -slide / contrast;
  return fabs(*shift) < 3;
}
struct plane {
  double p[3], sigma[3]; /* height under the box's middle, slopes */
  int64_t blocks;
};
/* Mean square of the residuals of two by two blocks' means, times four, over that of single blocks; at least 1: how much
 * further a plane strays whose residuals are alike in neighbours. */
static double clustering(const struct blocks *b, const double p[3]) {
  double single = 0, groups = 0;
  int64_t n = 0, n_groups = 0;
  for (int64_t y = 0; y + 1 < b->high; y += 2)
    for (int64_t x = 0; x + 1 < b->wide; x += 2) {
      const int64_t k    = y * b->wide + x;
      const int64_t of[] = {k, k + 1, k + b->wide, k + b->wide + 1};
      double sum         = 0;
      if (!b->counts[of[0]] || !b->counts[of[1]] || !b->counts[of[2]] || !b->counts[of[3]])
        continue;
      for (int i = 0; i < 4; i++) {
        const double off = b->height[of[i]] - plane_at(b, p, of[i]);
        sum += off;
        single += off * off;
      }
      groups += sum * sum / 4;
      n += 4;
      n_groups++;
    }
  if (n_groups < 2 || !(single > 0)) return 1;
  return fmax(1, groups / (double)n_groups / (single / (double)n));
}
/* Weights are alike: what strays is the layers, not the noise. */
static bool plane_fit(const struct blocks *b, struct plane *plane) {
  struct numeric_plane sums = {.points = 0};
  double variance[3], square = 0;
  for (int64_t k = 0; k < b->n; k++)
    if (b->counts[k]) numeric_plane_add(&sums, b->y[k], b->x[k], b->height[k], 1);
  plane->blocks = sums.points;
  if (plane->blocks < BLOCKS_NEEDED || !numeric_plane_find(&sums, plane->p, variance)) return false;
  for (int64_t k = 0; k < b->n; k++)
    if (b->counts[k]) square += pow(b->height[k] - plane_at(b, plane->p, k), 2);
  square /= (double)(plane->blocks - 3);
  square *= clustering(b, plane->p);
  for (int a = 0; a < 3; a++) plane->sigma[a] = sqrt(square * variance[a]);
  return true;
}
/* Blocks within three standard deviations of the scatter (and at least a tenth of a slice) of the plane count. */
static void outliers_drop(struct blocks *b, const struct plane *plane) {
  const double scatter = plane->sigma[0] * sqrt((double)plane->blocks);
  for (int64_t k = 0; k < b->n; k++)
    if (fabs(b->height[k] - plane_at(b, plane->p, k)) > fmax(3 * scatter, 0.1))
      b->counts[k] = false;
}
static bool heights_fit(struct blocks *b, double *sum, double *count, struct plane *plane) {
  for (int round = 0; round < ROUNDS; round++) {
    const double before[3] = {0, plane->p[1], plane->p[2]};
    mean_set(b, before, sum, count);
    int64_t follow = 0;
    bool follows;
    for (int64_t k = 0; k < b->n; k++) {
      double shift = 0;
      follows      = shift_of(b, before, sum, count, k, &shift);
      b->height[k] = follows ? plane_at(b, before, k) + shift : (double)NAN;
      follow += follows;
    }
    if (follow < BLOCKS_NEEDED) return false;
    for (int64_t k = 0; k < b->n; k++) b->counts[k] = isfinite(b->height[k]);
    if (!plane_fit(b, plane)) return false;
    outliers_drop(b, plane);
    if (!plane_fit(b, plane)) return false;
    const double step = hypot(plane->p[1] - before[1], plane->p[2] - before[2]);
    if (step * (double)b->edge * (double)(b->high + b->wide) < ENOUGH_SLICES) break;
  }
  return true;
}
static enum status level_fit(struct blocks *b, double most, struct plane *plane, bool *found) {
  double *sum = NULL;
  *plane      = (struct plane){.blocks = 0};
  *found      = false;
  if (b->n < BLOCKS_NEEDED || b->nz < SLICES_NEEDED) return STATUS_OK;
  TRY(plane_search(b, most, plane->p + 1));
  TRY(memory_make_raw(2 * b->nz, sizeof *sum, "mean profile", &sum));
  *found = heights_fit(b, sum, sum + b->nz, plane);
  memory_free(sum);
  return STATUS_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------------- */

static enum status level_find(MPI_Comm comm, const struct align_source *source,
                              const struct grid_box *box, int64_t deep, struct blocks *b,
                              struct align_level *level) {
  const double *edge = source->voxel_um;
  const bool known   = edge[0] > 0 && edge[1] > 0 && edge[2] > 0;
  const double most  = tan(ALIGN_LEVEL_AUTO_DEG / DEG_PER_RAD);
  struct plane plane;
  bool found;
  TRY(profiles_read(comm, source, box, deep, b));
  double per[2] = {1, 1}; /* a slope in lengths, per slope in slices per voxel */
  for (int a = 0; a < 2 && known; a++) per[a] = edge[0] / edge[1 + a];
  TRY_ALL(comm, level_fit(b, most / fmin(per[0], per[1]), &plane, &found));
  for (int a = 0; a < 2; a++) {
    level->slope[a] = plane.p[1 + a] * per[a];
    level->sigma[a] = plane.sigma[1 + a] * per[a];
  }
  level->blocks = plane.blocks;
  if (!found || !(hypot(level->slope[0], level->slope[1]) < most))
    return FAIL(STATUS_INPUT,
                "align.level_deg = auto: no layers within %d degrees of z are seen in the first "
                "volume; give their tilt as TY,TX, or 0,0",
                (int)ALIGN_LEVEL_AUTO_DEG);
  return STATUS_OK;
}
enum status align_level_find(MPI_Comm comm, const struct align_source *source,
                             const struct grid_box *box, int64_t deep, struct align_level *level) {
  struct blocks b;
  TRY_ALL(comm, fault_here("align.level"));
  enum status status = AGREE(comm, blocks_make(box->n, &b));
  if (status == STATUS_OK) status = AGREE(comm, level_find(comm, source, box, deep, &b, level));
  blocks_free(&b);
  return status;
}
