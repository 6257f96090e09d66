/* A rendering of voxels: parallel rays from above at an angle, marched through a smoothed occupancy to its level 1/2, where
 * its gradient is the normal; light from the upper left, and farther parts darker. The colour is that of the nearest
 * voxel that is there. */
#include "report_private.h"
#include <math.h>
#include <string.h>

struct scene {
  const uint8_t *code;
  int64_t n[3];
  float *fill;                       /* smoothed occupancy 0..1 */
  double ahead[3], right[3], up[3];  /* z, y, x */
  double middle[3], scale, light[3]; /* scale: px per voxel */
};

static double fill_at(const struct scene *s, int64_t z, int64_t y, int64_t x) {
  /* sides and bottom are cuts, open to the eye */
  if (z < 0 || y < 0 || x < 0 || z >= s->n[0] || y >= s->n[1] || x >= s->n[2]) return 0;
  return (double)s->fill[(z * s->n[1] + y) * s->n[2] + x];
}

static double fill_between(const struct scene *s, const double p[3]) {
  int64_t i[3];
  double f[3], sum = 0;
  for (int a = 0; a < 3; a++) {
    double low = floor(p[a]);
    i[a]       = (int64_t)low;
    f[a]       = p[a] - low;
  }
  for (int k = 0; k < 8; k++) {
    double weight =
        (k & 1 ? f[2] : 1 - f[2]) * (k & 2 ? f[1] : 1 - f[1]) * (k & 4 ? f[0] : 1 - f[0]);
    if (weight > 0)
      sum += weight * fill_at(s, i[0] + (k >> 2 & 1), i[1] + (k >> 1 & 1), i[2] + (k & 1));
  }
  return sum;
}

/* Weights 1 2 1 along one axis; past the edges the nearest voxel counts on. */
static void smooth_along(float *fill, const int64_t n[3], int axis, float *line) {
  int64_t step  = axis == 0   ? n[1] * n[2]
                  : axis == 1 ? n[2]
                              : 1,
          lines = n[0] * n[1] * n[2] / n[axis];
  for (int64_t l = 0; l < lines; l++) {
    int64_t first = axis == 2 ? l * n[2] : axis == 1 ? l / n[2] * n[1] * n[2] + l % n[2] : l;
    for (int64_t i = 0; i < n[axis]; i++) line[i] = fill[first + i * step];
    for (int64_t i = 0; i < n[axis]; i++)
      fill[first + i * step] =
          0.25F * (line[i ? i - 1 : 0] + 2 * line[i] + line[i + 1 < n[axis] ? i + 1 : i]);
  }
}

static enum status make_fill(struct scene *s) {
  int64_t voxels = s->n[0] * s->n[1] * s->n[2], longest = 1;
  float *line;
  for (int a = 0; a < 3; a++) longest = s->n[a] > longest ? s->n[a] : longest;
  TRY(memory_make_raw(voxels, sizeof *s->fill, "a rendered volume", &s->fill));
  TRY(memory_make_raw(longest, sizeof *line, "a rendered volume", &line));
  for (int64_t i = 0; i < voxels; i++) s->fill[i] = s->code[i] ? 1 : 0;
  for (int axis = 0; axis < 3; axis++) smooth_along(s->fill, s->n, axis, line);
  memory_free(line);
  return STATUS_OK;
}

/* 35 degrees down, turned by 30 degrees about z; the whole box is in view. */
static void place_camera(struct scene *s, int64_t ny, int64_t nx) {
  double turn = 30 / DEG_PER_RAD, tilt = 35 / DEG_PER_RAD, half_right = 0, half_up = 0;
  const double ahead[3] = {-sin(tilt), cos(tilt) * cos(turn), cos(tilt) * sin(turn)},
               right[3] = {0, -sin(turn), cos(turn)},
               up[3]    = {cos(tilt), sin(tilt) * cos(turn), sin(tilt) * sin(turn)};
  memcpy(s->ahead, ahead, sizeof ahead);
  memcpy(s->right, right, sizeof right);
  memcpy(s->up, up, sizeof up);
  for (int a = 0; a < 3; a++) {
    s->middle[a] = (double)(s->n[a] - 1) / 2;
    half_right += fabs(right[a]) * (double)s->n[a] / 2;
    half_up += fabs(up[a]) * (double)s->n[a] / 2;
    s->light[a] = 0.72 * up[a] - 0.45 * right[a] - 0.52 * ahead[a];
  }
  s->scale = 0.96 * fmin((double)nx / (2 * half_right), (double)ny / (2 * half_up));
}

/* How far along the ray it enters and leaves the box, grown by one voxel. */
static bool through_box(const struct scene *s, const double from[3], double *enter, double *leave) {
  *enter = -INFINITY, *leave = INFINITY;
  for (int a = 0; a < 3; a++) {
    if (fabs(s->ahead[a]) < 1e-9) continue;
    double t0 = (-1 - from[a]) / s->ahead[a], t1 = ((double)s->n[a] - from[a]) / s->ahead[a];
    *enter = fmax(*enter, fmin(t0, t1));
    *leave = fmin(*leave, fmax(t0, t1));
  }
  return *enter < *leave;
}

static void point(const struct scene *s, const double from[3], double t, double p[3]) {
  for (int a = 0; a < 3; a++) p[a] = from[a] + t * s->ahead[a];
}

/* The first crossing of 1/2, narrowed by halving. */
static bool find_surface(const struct scene *s, const double from[3], double *depth, double p[3]) {
  double enter, leave, step = 0.6;
  if (!through_box(s, from, &enter, &leave)) return false;
  for (double t = enter; t <= leave; t += step) {
    point(s, from, t, p);
    if (fill_between(s, p) < 0.5) continue;
    double low = t - step, high = t;
    for (int i = 0; i < 5; i++) {
      double middle = (low + high) / 2;
      point(s, from, middle, p);
      if (fill_between(s, p) < 0.5)
        low = middle;
      else
        high = middle;
    }
    point(s, from, high, p);
    *depth = high;
    return true;
  }
  return false;
}

static double brightness(const struct scene *s, const double p[3]) {
  double g[3], length = 0, lit = 0;
  for (int a = 0; a < 3; a++) {
    double q[3] = {p[0], p[1], p[2]};
    q[a]        = p[a] + 0.7;
    g[a]        = -fill_between(s, q);
    q[a]        = p[a] - 0.7;
    g[a] += fill_between(s, q);
    length += g[a] * g[a];
  }
  length = sqrt(length);
  for (int a = 0; a < 3 && length > 0; a++) lit += g[a] / length * s->light[a];
  return 0.32 + 0.68 * fmax(lit, 0);
}

/* The colour of the nearest voxel that is there. */
static int stage_at(const struct scene *s, const double p[3]) {
  int best     = 1;
  double least = INFINITY;
  for (int k = 0; k < 27; k++) {
    int64_t q[3] = {(int64_t)floor(p[0] + 0.5) + k / 9 - 1,
                    (int64_t)floor(p[1] + 0.5) + k / 3 % 3 - 1,
                    (int64_t)floor(p[2] + 0.5) + k % 3 - 1};
    double d     = 0;
    bool inside  = true;
    for (int a = 0; a < 3; a++) {
      inside &= q[a] >= 0 && q[a] < s->n[a];
      d += ((double)q[a] - p[a]) * ((double)q[a] - p[a]);
    }
    int came = inside && d < least ? s->code[(q[0] * s->n[1] + q[1]) * s->n[2] + q[2]] : 0;
    if (came) best = came, least = d;
  }
  return best;
}

static void shade(const struct scene *s, double px, double py, double reach, double sum[3]) {
  double from[3], p[3], depth;
  uint8_t rgb[3];
  for (int a = 0; a < 3; a++)
    from[a] = s->middle[a] + px / s->scale * s->right[a] + py / s->scale * s->up[a];
  if (!find_surface(s, from, &depth, p)) {
    for (int k = 0; k < 3; k++) sum[k] += 234 + k;
    return;
  }
  picture_stage_colour(stage_at(s, p), rgb);
  double far   = fmin(fmax(0.5 + depth / (2 * reach), 0), 1),
         light = brightness(s, p) * (1.12 - 0.38 * far);
  for (int k = 0; k < 3; k++) sum[k] += fmin(255, rgb[k] * light);
}

enum status report_render(const uint8_t *code, const int64_t n[3], int64_t ny, int64_t nx,
                          uint8_t *rgb, double *px_per_voxel) {
  struct scene s = {
      .code = code, .n = {n[0], n[1], n[2]}
  };
  enum status status = make_fill(&s);
  place_camera(&s, ny, nx);
  *px_per_voxel = s.scale;
  double reach  = 0.5 * sqrt((double)(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]));
  for (int64_t y = 0; y < ny && status == STATUS_OK; y++)
    for (int64_t x = 0; x < nx; x++) {
      double sum[3] = {0, 0, 0};
      for (int k = 0; k < 4; k++) /* four rays a pixel smooth the edges */
        shade(&s, (double)x + 0.25 + 0.5 * (k & 1) - (double)nx / 2,
              (double)ny / 2 - ((double)y + 0.25 + 0.5 * (k >> 1)), reach, sum);
      for (int k = 0; k < 3; k++) rgb[3 * (y * nx + x) + k] = (uint8_t)(sum[k] / 4 + 0.5);
    }
  memory_free(s.fill);
  return status;
}
