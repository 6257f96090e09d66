/* Gauss-Newton on the sum of squared differences between the fixed look and the resampled moved one (Lucas and Kanade
 * 1981; in the inverse form of Baker and Matthews 2004 the derivatives are the fixed volume's), six parameters, from
 * coarse to fine over halved volumes, begun by phase correlation. Noise in the fixed volume's derivatives would
 * shorten the steps and pretend to determine what it does not; so one factor of the normal matrix is the moved
 * volume's derivative, whose noise is independent (an instrumental variable), wherever that matrix is sound. A
 * parameter whose standard deviation, from it and the residual, passes a quarter of a voxel at the volume's corner is
 * not determined by the data: it is held at 0, and said to be; so is the turn of a round can about its axis.
 * Differences that neither noise nor half a voxel of displacement explains count little: something changed there, such as
 * the anode, and shall not move the result.
 * Sums are of whole rows in a fixed order, then exact: they do not depend on the number of ranks. */
#include "align.h"
#include "align_private.h"
#include <math.h>
#include <string.h>

enum { P = ALIGN_PARAMETERS, LEVELS_MOST = 6, SMALLEST = 24 };
static const double ENOUGH_PX = 0.25; /* standard deviation of what the data determine */

struct level {
  struct grid_field *fixed, *moved, own_fixed, own_moved; /* own: of halved levels */
  const struct align_source
      *volumes; /* both, looked at again by rounds of slices; NULL: the fields above */
  int64_t n[3];
  double scale; /* voxels of the box per voxel */
};
struct fit {
  MPI_Comm comm;
  const struct align_params *params;
  struct level level[LEVELS_MOST], single; /* single voxels, where the looks are binned */
  int levels;
  const struct level *last; /* that was fitted */
  double ratio[3];          /* edges over the edge along z */
  double length;            /* half the diagonal of the box, in edges along z */
  bool held[P];
  const struct align_view *view;
  struct align_motion motion;
  double sums[FIT_SUMS]; /* of the last iteration */
  double noise;          /* of a difference there */
  double step;           /* its step, voxels at the corner */
  bool lost;             /* left the bounds */
};

/* ---- normal equations --------------------------------------------------------------------------------------- */

/* Cholesky's factor of the rows and columns that are not held; false unless positive definite. */
static bool factor(const double m[P][P], const bool held[P], double l[P][P]) {
  memset(l, 0, P * sizeof *l);
  for (int i = 0; i < P; i++) {
    if (held[i]) {
      l[i][i] = 1;
      continue;
    }
    for (int k = 0; k <= i; k++) {
      if (held[k]) continue;
      double sum = m[i][k];
      for (int c = 0; c < k; c++) sum -= l[i][c] * l[k][c];
      if (k < i)
        l[i][k] = sum / l[k][k];
      else if (sum > 1e-12 * m[i][i] && sum > 0)
        l[i][i] = sqrt(sum);
      else
        return false;
    }
  }
  return true;
}

static void solve(const double l[P][P], const bool held[P], const double right[P], double x[P]) {
  for (int i = 0; i < P; i++) {
    x[i] = held[i] ? 0 : right[i];
    for (int k = 0; k < i; k++) x[i] -= held[i] ? 0 : l[i][k] * x[k];
    x[i] /= l[i][i];
  }
  for (int i = P - 1; i >= 0; i--) {
    for (int k = i + 1; k < P; k++) x[i] -= l[k][i] * x[k];
    x[i] = held[i] ? 0 : x[i] / l[i][i];
  }
}

static void matrices(const double sums[FIT_SUMS], double own[P][P], double cross[P][P]) {
  for (int i = 0, at = FIT_H; i < P; i++)
    for (int k = i; k < P; k++) own[i][k] = own[k][i] = sums[at++];
  for (int i = 0; i < P; i++)
    for (int k = 0; k < P; k++)
      cross[i][k] = 0.5 * (sums[FIT_C + P * i + k] + sums[FIT_C + P * k + i]);
}

/* Parameters of one step: shifts in voxels, rotations times the length. None when nothing determines them. */
static bool find_step(const struct fit *f, double step[P]) {
  double own[P][P], cross[P][P], l[P][P];
  bool sound = true;
  matrices(f->sums, own, cross);
  for (int i = 0; i < P; i++) sound &= f->held[i] || cross[i][i] > 0.2 * own[i][i];
  memset(step, 0, P * sizeof *step);
  if (!(sound && factor(cross, f->held, l)) && !factor(own, f->held, l)) return false;
  solve(l, f->held, f->sums + FIT_B, step);
  return true;
}

/* Standard deviation of a difference: of those that are trusted, which for a normal law have `share` of its variance. */
static double noise_of(const double s[FIT_SUMS]) {
  const double share = 0.581;
  return s[FIT_R] > 0 ? sqrt(s[FIT_RE] / s[FIT_R] / share) : 0;
}

/* Standard deviations, in the step's units: infinite where the cross matrix does not determine a parameter. The
 * smoothing of (1 2 1)/4 along three axes left (3/8)^3 of white noise's variance ((4 b - 3) / (4 b) per axis of what means of b
 * voxels would have); on derivatives smooth on the scale of a voxel its effect is that of the whole variance, on others
 * less. */
static void find_sigma(const struct fit *f, double sigma[P]) {
  double b = f->last->scale, smoothed = b > 1 ? 4 * b / (4 * b - 3) : 8.0 / 3;
  double own[P][P], cross[P][P], l[P][P], variance = f->noise * f->noise * pow(smoothed, 3);
  matrices(f->sums, own, cross);
  bool joint = factor(cross, f->held, l);
  for (int i = 0; i < P; i++) {
    double unit[P] = {0}, x[P], sum = 0;
    unit[i]  = 1;
    sigma[i] = f->held[i] || cross[i][i] > 0 ? 0 : INFINITY;
    if (f->held[i] || sigma[i] > 0) continue;
    if (!joint) {
      sigma[i] = sqrt(variance * own[i][i]) / cross[i][i];
      continue;
    }
    solve(l, f->held, unit, x);
    for (int k = 0; k < P; k++)
      for (int m = 0; m < P; m++) sum += x[k] * own[k][m] * x[m];
    sigma[i] = sqrt(fmax(variance * sum, 0));
  }
}

/* ---- sums over a volume ------------------------------------------------------------------------------------------ */

static float fade(int64_t at, int64_t n) {
  double end = fmin((double)at + 0.5, (double)n - 0.5 - (double)at) / (0.1 * (double)n);
  return end >= 1 || n < 8 ? 1 : (float)(0.5 - 0.5 * cos(PI * end));
}

/* Own row and its four neighbours; beyond the volume the row itself. */
static void rows_at(const struct grid_field *field, int64_t z, int64_t y, const float *row[5]) {
  const float *at =
      (const float *)field->data + grid_field_origin(field) + z * field->row[0] + y * field->row[1];
  int64_t whole = z + field->mine.start[0];
  row[0]        = at;
  row[1]        = whole > 0 ? at - field->row[0] : at;
  row[2]        = whole + 1 < field->plan.n[0] ? at + field->row[0] : at;
  row[3]        = y > 0 ? at - field->row[1] : at;
  row[4]        = y + 1 < field->plan.n[1] ? at + field->row[1] : at;
}

/* Voxels of a row whose place in the moved volume lies well inside it: there alone is something to compare. */
static void cut_row(const struct voxel_map *map, const int64_t n[3], int64_t z, int64_t y,
                    struct fit_row *row) {
  double low = 0, high = (double)n[2];
  for (int a = 0; a < 3; a++) {
    double margin = n[a] > 8 ? 2 : 0, step = map->turn[a][2],
           at   = map->turn[a][0] * (double)z + map->turn[a][1] * (double)y + map->at[a];
    double from = margin - at, to = (double)(n[a] - 1) - margin - at;
    if (n[a] == 1) continue;
    if (fabs(step) < 1e-12) {
      if (from > 0 || to < 0) high = low;
      continue;
    }
    low  = fmax(low, ceil(fmin(from / step, to / step)));
    high = fmin(high, floor(fmax(from / step, to / step)) + 1);
  }
  row->first  = (int64_t)low;
  row->behind = (int64_t)fmax(high, low);
}

static enum status sum_here(const struct fit *f, const struct level *level,
                            const struct voxel_map *map, const struct grid_field *fixed,
                            const struct grid_field *warped, struct exact_sum *sums) {
  const int64_t *n = level->n, padded = (n[2] + FIT_LANES - 1) / FIT_LANES * FIT_LANES;
  double length = f->length / level->scale, part[FIT_SUMS];
  float *scratch;
  TRY(memory_make((FIT_SCRATCH_ROWS + 2) * padded, sizeof *scratch, "rows of a fit", &scratch));
  float *position = scratch + FIT_SCRATCH_ROWS * padded, *weight = position + padded;
  struct fit_row row = {.x = position, .weight = weight, .noise = (float)f->noise, .n = n[2]};
  for (int a = 0; a < 3; a++) row.ratio[a] = (float)f->ratio[a];
  for (int64_t x = 0; x < n[2]; x++) {
    position[x] = (float)(((double)x - 0.5 * (double)(n[2] - 1)) * f->ratio[2] / length);
    weight[x]   = fade(x, n[2]);
  }
  for (int64_t z = 0; z < fixed->mine.n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++) {
      int64_t whole = z + fixed->mine.start[0];
      cut_row(map, n, whole, y, &row);
      if (row.first >= row.behind) continue;
      row.part = fade(whole, n[0]) * fade(y, n[1]);
      row.z    = (float)(((double)whole - 0.5 * (double)(n[0] - 1)) * f->ratio[0] / length);
      row.y    = (float)(((double)y - 0.5 * (double)(n[1] - 1)) * f->ratio[1] / length);
      rows_at(fixed, z, y, row.fixed);
      rows_at(warped, z, y, row.moved);
      ISA_PICK(fit_row_sums)(&row, scratch, part);
      for (int k = 0; k < FIT_SUMS; k++) exact_add(&sums[k], part[k]);
    }
  memory_free(scratch);
  return STATUS_OK;
}

/* ---- by rounds ------------------------------------------------------------------------------------------------ */

/* Slices low .. behind - 1 of a volume n as a field of which first .. first + count - 1 are the rank's own. */
static struct grid_field slices_of(float *data, const int64_t n[3], int64_t low, int64_t first,
                                   int64_t count, int64_t behind) {
  return (struct grid_field){
      .plan = {.n = {n[0], n[1], n[2]}},
      .type = GRID_F32,
      .mine = {     {first, 0, 0},    {count, n[1], n[2]}},
      .halo = {     first - low,                      0, 0},
      .size = {    behind - low,            n[1], n[2]},
      .row  = {n[1] * n[2],                       n[2]},
      .data = data,
  };
}

struct round {
  int64_t first, count, low, behind; /* own slices; with those beside them */
  int64_t from, end;                 /* slices of the moved volume that these take */
  float *fixed, *moved, *warped;
};

static enum status round_make(const struct level *level, const struct voxel_map *map,
                              struct round *r) {
  const int64_t *n = level->n, slice = n[1] * n[2];
  r->low = r->behind = r->from = r->end = r->first;
  r->fixed = r->moved = r->warped = NULL;
  if (r->count > 0) {
    r->low    = r->first > 0 ? r->first - 1 : 0;
    r->behind = r->first + r->count < n[0] ? r->first + r->count + 1 : n[0];
    voxel_map_slices(map, n, r->low, r->behind - r->low, VOXEL_RESAMPLE_SLICES, &r->from, &r->end);
  }
  TRY(memory_make_raw((r->behind - r->low) * slice, sizeof(float), "slices", &r->fixed));
  TRY(memory_make_raw((r->end - r->from) * slice, sizeof(float), "slices", &r->moved));
  return memory_make_raw((r->behind - r->low) * slice, sizeof(float), "slices", &r->warped);
}

static enum status round_sum(const struct fit *f, const struct level *level,
                             const struct voxel_map *map, const struct round *r,
                             struct exact_sum *sums) {
  const int64_t *n        = level->n;
  struct grid_field fixed = slices_of(r->fixed, n, r->low, r->first, r->count, r->behind),
                    moved = slices_of(r->moved, n, r->from, r->from, r->end - r->from, r->end),
                    wide  = slices_of(r->warped, n, r->low, r->low, r->behind - r->low, r->behind),
                    own   = slices_of(r->warped, n, r->low, r->first, r->count, r->behind);
  TRY(voxel_resample_part(map, n, false, &moved, &wide));
  return r->count ? sum_here(f, level, map, &fixed, &own, sums) : STATUS_OK;
}

static enum status one_round(const struct fit *f, const struct level *level,
                             const struct voxel_map *map, struct round *r, struct exact_sum *sums) {
  enum status status = AGREE(f->comm, round_make(level, map, r));
  if (status == STATUS_OK)
    status = align_look_slices(f->comm, &level->volumes[0], f->view, r->low, r->behind - r->low,
                               r->fixed);
  if (status == STATUS_OK)
    status = align_look_slices(f->comm, &level->volumes[1], f->view, r->from, r->end - r->from,
                               r->moved);
  if (status == STATUS_OK) status = AGREE(f->comm, round_sum(f, level, map, r, sums));
  memory_free(r->fixed);
  memory_free(r->moved);
  memory_free(r->warped);
  return status;
}

static enum status sum_rounds(const struct fit *f, const struct level *level,
                              const struct voxel_map *map, struct exact_sum *sums) {
  struct grid_plan plan;
  TRY_ALL(f->comm, grid_plan_slabs(f->comm, level->n, 0, &plan));
  const struct grid_box mine = grid_plan_mine(&plan);
  int64_t most = grid_plan_box(&plan, 0).n[0], deep = f->view->deep ? f->view->deep : most;
  enum status status = STATUS_OK;
  for (int64_t z = 0; z < most && status == STATUS_OK; z += deep) {
    int64_t at     = z < mine.n[0] ? z : mine.n[0];
    struct round r = {.first = mine.start[0] + at,
                      .count = mine.n[0] - at < deep ? mine.n[0] - at : deep};
    status         = stop_agree(f->comm);
    if (status == STATUS_OK) status = one_round(f, level, map, &r, sums);
  }
  grid_plan_free(&plan);
  return status;
}

/* ---- over all ranks ------------------------------------------------------------------------------------------- */

static enum status sum_fields(const struct fit *f, const struct level *level,
                              const struct voxel_map *map, struct grid_field *warped,
                              struct exact_sum *sums) {
  TRY_ALL(f->comm, voxel_resample(map, level->moved, warped));
  TRY(grid_halo_exchange(f->comm, warped, GRID_EDGE_KEEP));
  return AGREE(f->comm, sum_here(f, level, map, level->fixed, warped, sums));
}

/* Where the motion stands: the sums and what noise they show. */
static enum status sums_at(struct fit *f, const struct level *level, struct grid_field *warped) {
  const struct voxel_map map = align_map_of(&f->motion, f->ratio, level->n, level->scale);
  struct exact_sum *sums;
  enum status status = AGREE(f->comm, memory_make(FIT_SUMS, sizeof *sums, "sums of a fit", &sums));
  if (status == STATUS_OK)
    status = level->volumes ? sum_rounds(f, level, &map, sums)
                            : sum_fields(f, level, &map, warped, sums);
  if (status == STATUS_OK) status = exact_allreduce(f->comm, sums, FIT_SUMS);
  for (int k = 0; k < FIT_SUMS && status == STATUS_OK; k++) f->sums[k] = exact_value(&sums[k]);
  memory_free(sums);
  if (status == STATUS_OK) f->noise = noise_of(f->sums);
  return status;
}

/* ---- iterations ----------------------------------------------------------------------------------------------------- */

static bool out_of_bounds(const struct fit *f) {
  double w[3];
  align_vector_of(&f->motion, w);
  bool out = sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2]) * DEG_PER_RAD > f->params->most_deg;
  for (int a = 0; a < 3; a++)
    out |= !(fabs(f->motion.shift_px[a]) <= (double)f->params->most_px + 1);
  return out;
}

static void take_step(struct fit *f, const struct level *level) {
  double step[P], tau[3], omega[3], size = 0;
  struct align_motion before = f->motion;
  f->step                    = 0;
  if (!find_step(f, step)) return;
  for (int i = 0; i < P; i++) size += step[i] * step[i];
  double shorter = fmin(1, 2 / sqrt(fmax(size, 1e-300))); /* two voxels at most */
  for (int a = 0; a < 3; a++) {
    tau[a]   = shorter * step[a] * level->scale;
    omega[a] = shorter * step[3 + a] / (f->length / level->scale);
  }
  align_compose(&f->motion, tau, omega, f->ratio);
  f->step = sqrt(size);
  f->lost = !isfinite(size) || out_of_bounds(f);
  if (f->lost) f->motion = before;
}

/* The first sums trust all differences and give their size alone. */
static enum status fit_level(struct fit *f, const struct level *level, int rounds, double enough) {
  const int64_t halo[3]    = {1, 0, 0};
  struct grid_field warped = {.data = NULL};
  if (!level->volumes) TRY(grid_field_make(f->comm, &level->fixed->plan, GRID_F32, halo, &warped));
  f->last            = level;
  f->noise           = INFINITY;
  f->step            = INFINITY;
  enum status status = sums_at(f, level, &warped);
  for (int i = 0; i < rounds && f->step > enough && !f->lost && status == STATUS_OK; i++) {
    status = sums_at(f, level, &warped);
    if (status == STATUS_OK) take_step(f, level);
  }
  grid_field_free(&warped);
  return status;
}

static enum status fit_all(struct fit *f, const double start_px[3]) {
  f->motion = (struct align_motion){
      .turn = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
  };
  for (int a = 0; a < 3; a++) f->motion.shift_px[a] = f->held[a] ? 0 : start_px[a];
  f->lost = false;
  for (int i = f->levels - 1; i > 0; i--) {
    TRY(fit_level(f, &f->level[i], 15, 0.02));
    f->lost = false;
  }
  return fit_level(f, &f->level[0], 30, 1e-3);
}

/* Is the body round about an axis? Then the pattern of its voxels is all that a turn changes. 1 % of the slopes, squared,
 * lie along the turn of a round can, a third for a body without symmetry. */
static bool is_round(const struct fit *f, int i) {
  double own[P][P], cross[P][P];
  if (i < 3) return false;
  matrices(f->sums, own, cross);
  return own[i][i] < 0.03 * f->sums[FIT_T + i - 3];
}

/* Holds the parameter that the data determine least, if any not to `enough` voxels. */
static bool hold_one(struct fit *f, double enough) {
  double sigma[P];
  int worst = -1;
  find_sigma(f, sigma);
  for (int i = 0; i < P; i++) {
    sigma[i] *= f->last->scale;
    if (!f->held[i] && is_round(f, i)) sigma[i] = INFINITY;
    if (!f->held[i] && !(sigma[i] < enough) && (worst < 0 || !(sigma[i] <= sigma[worst])))
      worst = i;
  }
  if (worst >= 0) f->held[worst] = true;
  return worst >= 0;
}

/* ---- levels ---------------------------------------------------------------------------------------------------------- */

static enum status add_level(struct fit *f) {
  struct level *from = &f->level[f->levels - 1], *to = &f->level[f->levels];
  int64_t h = align_halo(f->params, &from->fixed->plan, from->fixed->voxel_um, from->scale);
  const int64_t one[3] = {1, 0, 0}, more[3] = {h, 0, 0};
  to->scale = 2 * from->scale;
  TRY(voxel_halve(f->comm, from->fixed, one, &to->own_fixed));
  to->fixed = &to->own_fixed;
  memcpy(to->n, to->own_fixed.plan.n, sizeof to->n);
  f->levels++;
  TRY(voxel_halve(f->comm, from->moved, more, &to->own_moved));
  to->moved = &to->own_moved;
  TRY(grid_halo_exchange(f->comm, to->fixed, GRID_EDGE_NEAREST));
  return grid_halo_exchange(f->comm, to->moved, GRID_EDGE_NEAREST);
}

/* Halves while every axis of more than one voxel stays long enough. */
static enum status make_levels(struct fit *f, struct grid_field *fixed, struct grid_field *moved) {
  f->level[0] = (struct level){
      .fixed = fixed, .moved = moved, .scale = (double)((int64_t)1 << f->view->halvings)};
  f->levels = 1;
  memcpy(f->level[0].n, fixed->plan.n, sizeof f->level[0].n);
  TRY(grid_halo_exchange(f->comm, fixed, GRID_EDGE_NEAREST));
  TRY(grid_halo_exchange(f->comm, moved, GRID_EDGE_NEAREST));
  while (f->levels < LEVELS_MOST) {
    const int64_t *n = f->level[f->levels - 1].n;
    bool small       = false;
    for (int a = 0; a < 3; a++) small |= n[a] > 1 && n[a] / 2 < SMALLEST;
    if (small || (n[0] == 1 && n[1] == 1 && n[2] == 1)) break;
    TRY(add_level(f));
  }
  return STATUS_OK;
}

static void free_levels(struct fit *f) {
  for (int i = 1; i < LEVELS_MOST; i++) {
    grid_field_free(&f->level[i].own_fixed);
    grid_field_free(&f->level[i].own_moved);
  }
}

/* ---- the report ---------------------------------------------------------------------------------------------------------- */

static double correlation(const double s[FIT_SUMS]) {
  double f = s[FIT_FF] - s[FIT_F] * s[FIT_F] / s[FIT_W],
         m = s[FIT_MM] - s[FIT_M] * s[FIT_M] / s[FIT_W];
  return f > 0 && m > 0 ? (s[FIT_FM] - s[FIT_F] * s[FIT_M] / s[FIT_W]) / sqrt(f * m) : 0;
}

static void make_report(const struct fit *f, const int64_t n[3], struct align_report *report) {
  double w[3], sigma[P];
  const struct grid_box *box = &f->view->box;
  const struct level *last   = f->last;
  int64_t part[3]; /* what of the box was looked at */
  for (int a = 0; a < 3; a++) part[a] = last->n[a] * (box->n[a] > 1 ? (int64_t)last->scale : 1);
  report->quality   = correlation(f->sums);
  report->converged = !f->lost && f->step < 0.05;
  report->map       = align_map_of(&f->motion, f->ratio, part, 1);
  align_vector_of(&f->motion, w);
  find_sigma(f, sigma);
  for (int a = 0; a < 3; a++) {
    double middle = 0.5 * (double)(n[a] - 1);
    report->map.at[a] += (double)box->start[a];
    for (int b = 0; b < 3; b++) report->map.at[a] -= report->map.turn[a][b] * (double)box->start[b];
    report->shift_px[a] = report->map.at[a] - middle;
    for (int b = 0; b < 3; b++)
      report->shift_px[a] += report->map.turn[a][b] * 0.5 * (double)(n[b] - 1);
    report->rotation_deg[a] = w[a] * DEG_PER_RAD;
    report->sigma[a]        = sigma[a] * last->scale;
    report->sigma[3 + a]    = sigma[3 + a] * last->scale / f->length * DEG_PER_RAD;
  }
  for (int i = 0; i < P; i++) {
    report->held[i] = f->held[i];
    if (!f->held[i]) continue;
    report->sigma[i] = NAN;
    if (i >= 3) report->rotation_deg[i - 3] = 0;
  }
}

static enum status find(struct fit *f, struct grid_field *fixed, struct grid_field *moved) {
  struct voxel_shift start;
  bool none = strcmp(f->params->rotation, "none") == 0, z = strcmp(f->params->rotation, "z") == 0;
  int64_t b  = (int64_t)1 << f->view->halvings;
  f->held[3] = none;
  f->held[4] = f->held[5] = none || z;
  TRY(voxel_shift_find(f->comm, fixed, moved, (f->params->most_px + b - 1) / b, &start));
  for (int a = 0; a < 3; a++) { /* the search ends on whole voxels of the look */
    double most = (double)f->params->most_px;
    start.shift_px[a] =
        fmax(-most, fmin(most, start.shift_px[a] * (double)align_binning(f->view, a)));
  }
  TRY(make_levels(f, fixed, moved));
  for (;;) { /* single voxels may determine what binned ones do not well enough */
    TRY(fit_all(f, start.shift_px));
    if (hold_one(f, f->single.volumes ? INFINITY : ENOUGH_PX)) continue;
    if (!f->single.volumes) return STATUS_OK;
    f->lost = false;
    TRY(fit_level(f, &f->single, 30, 1e-3));
    if (!hold_one(f, ENOUGH_PX)) return STATUS_OK;
  }
}

enum status align_find(MPI_Comm comm, const struct align_params *params, struct grid_field *fixed,
                       struct grid_field *moved, const struct align_source *volumes,
                       const struct align_view *view, struct align_report *report) {
  struct fit f = {.comm = comm, .params = params, .view = view};
  memset(report, 0, sizeof *report);
  align_ratio(fixed->voxel_um, f.ratio);
  f.length = align_half_diagonal(view->box.n, f.ratio);
  f.single = (struct level){.volumes = view->halvings ? volumes : NULL, .scale = 1};
  memcpy(f.single.n, view->box.n, sizeof f.single.n);
  TRY_ALL(comm, fault_here("align.find"));
  enum status status = find(&f, fixed, moved);
  if (status == STATUS_OK) make_report(&f, volumes[0].n, report);
  free_levels(&f);
  return status;
}
