/* Projection through the pinhole by running sums (Crow 1984) and registration by correlation: a coarse grid of
 * shifts, then Nelder and Mead's simplex (1965) on scale, rotation and shifts. */
#include "correlate_pinhole.h"
#include "correlate_statistics.h"
#include <math.h>
#include <string.h>

void pinhole_sample_point(const struct pinhole_camera *camera,
                          const struct pinhole_registration *registration, double row,
                          double column, double *x_mm, double *y_mm) {
  double u         = (column - 0.5 * (double)(camera->columns - 1)) * camera->pitch_mm;
  double v         = (row - 0.5 * (double)(camera->rows - 1)) * camera->pitch_mm;
  double demagnify = -camera->pinhole_mm / camera->detector_mm;
  double along     = demagnify * (camera->beam_along_rows ? v : u),
         across    = demagnify * (camera->beam_along_rows ? u : v);
  double beam      = (camera->beam_deg + registration->rotation_deg) / DEG_PER_RAD;
  *x_mm = registration->scale * (along * cos(beam) + across * sin(beam)) + registration->shift_x_mm;
  *y_mm = registration->scale * (along * sin(beam) - across * cos(beam)) + registration->shift_y_mm;
}

enum status pinhole_map_make(const double *map, int64_t ny, int64_t nx, double voxel_mm,
                             struct pinhole_map *made) {
  *made        = (struct pinhole_map){ny, nx, voxel_mm, NULL, NULL};
  int64_t wide = nx + 1;
  TRY(memory_make((ny + 1) * wide, sizeof(double), "running sums of a map", &made->sum));
  enum status status =
      memory_make((ny + 1) * wide, sizeof(double), "running sums of a map", &made->count);
  if (status != STATUS_OK) {
    pinhole_map_free(made);
    return status;
  }
  for (int64_t y = 0; y < ny; y++) {
    double sum = 0, count = 0;
    for (int64_t x = 0; x < nx; x++) {
      bool known = !isnan(map[y * nx + x]);
      sum += known ? map[y * nx + x] : 0;
      count += known;
      made->sum[(y + 1) * wide + x + 1]   = made->sum[y * wide + x + 1] + sum;
      made->count[(y + 1) * wide + x + 1] = made->count[y * wide + x + 1] + count;
    }
  }
  return STATUS_OK;
}

void pinhole_map_free(struct pinhole_map *map) {
  memory_free(map->sum);
  memory_free(map->count);
  memset(map, 0, sizeof *map);
}

/* A fractional place among the running sums: bilinear, which is exact for voxels of constant value. */
struct corner {
  int64_t at;
  double y, x;
};
static struct corner corner_of(const struct pinhole_map *map, double y, double x) {
  double cy = fmin(fmax(y, 0), (double)map->ny), cx = fmin(fmax(x, 0), (double)map->nx);
  int64_t iy = (int64_t)cy, ix = (int64_t)cx;
  if (iy == map->ny) iy--;
  if (ix == map->nx) ix--;
  return (struct corner){iy * (map->nx + 1) + ix, cy - (double)iy, cx - (double)ix};
}

static double running(const double *sums, int64_t wide, const struct corner *c) {
  const double *low = sums + c->at, *high = low + wide;
  return (1 - c->y) * ((1 - c->x) * low[0] + c->x * low[1]) +
         c->y * ((1 - c->x) * high[0] + c->x * high[1]);
}

double pinhole_box_mean(const struct pinhole_map *map, double x_mm, double y_mm, double width_x_mm,
                        double width_y_mm) {
  double middle_x = x_mm / map->voxel_mm + 0.5 * (double)map->nx,
         half_x   = 0.5 * width_x_mm / map->voxel_mm;
  double middle_y = y_mm / map->voxel_mm + 0.5 * (double)map->ny,
         half_y   = 0.5 * width_y_mm / map->voxel_mm, sum[2];
  const struct corner low   = corner_of(map, middle_y - half_y, middle_x - half_x),
                      right = corner_of(map, middle_y - half_y, middle_x + half_x),
                      up    = corner_of(map, middle_y + half_y, middle_x - half_x),
                      high  = corner_of(map, middle_y + half_y, middle_x + half_x);
  const double *const sums[2] = {map->sum, map->count};
  for (int k = 0; k < 2; k++)
    sum[k] = running(sums[k], map->nx + 1, &high) - running(sums[k], map->nx + 1, &right) -
             running(sums[k], map->nx + 1, &up) + running(sums[k], map->nx + 1, &low);
  return sum[1] >= 2 * half_x * half_y ? sum[0] / sum[1] : (double)NAN;
}

/* How finely a pixel's response is summed: rings of the disc, boxes along the pixel's side. */
struct fineness {
  int rings, boxes;
};
static const struct fineness full = {4, 4}, quick = {2, 1}, search_end = {2, 2};

/* Points that share the disc's area equally: rings of 1, 6, 12, 18 at the middles of annuli. */
static int disc_points(double diameter_mm, int rings, double (*point)[2]) {
  int n = 0;
  for (int ring = 0; ring < rings; ring++) {
    int points    = ring ? 6 * ring : 1;
    double radius = diameter_mm * ring / (2 * rings - 1);
    for (int i = 0; i < points; i++, n++) {
      double angle = 2 * PI * (i + 0.5 * (ring % 2)) / points;
      point[n][0]  = radius * cos(angle);
      point[n][1]  = radius * sin(angle);
    }
  }
  return n;
}

static double pixel_mean(const struct pinhole_camera *camera,
                         const struct pinhole_registration *registration,
                         const struct pinhole_map *map, double row, double column, int boxes,
                         int points, double (*point)[2]) {
  double box_mm =
      registration->scale * camera->pitch_mm * camera->pinhole_mm / camera->detector_mm / boxes;
  double sum = 0, known = 0;
  for (int j = 0; j < boxes; j++)
    for (int i = 0; i < boxes; i++) {
      double x_mm, y_mm;
      pinhole_sample_point(camera, registration, row + (j + 0.5) / boxes - 0.5,
                           column + (i + 0.5) / boxes - 0.5, &x_mm, &y_mm);
      for (int k = 0; k < points; k++) {
        double mean = pinhole_box_mean(map, x_mm + point[k][0], y_mm + point[k][1], box_mm, box_mm);
        if (isnan(mean)) continue;
        sum += mean;
        known++;
      }
    }
  return known >= 0.5 * boxes * boxes * points ? sum / known : (double)NAN;
}

static void project(const struct pinhole_camera *camera,
                    const struct pinhole_registration *registration, const struct pinhole_map *map,
                    struct fineness fine, int64_t row0, int64_t row1, double *out) {
  double point[64][2], blur_mm = registration->scale * camera->hole_mm *
                                 (1 + camera->pinhole_mm / camera->detector_mm);
  int points = disc_points(blur_mm, fine.rings, point);
  for (int64_t row = row0; row < row1; row++)
    for (int64_t column = 0; column < camera->columns; column++)
      out[row * camera->columns + column] = pixel_mean(camera, registration, map, (double)row,
                                                       (double)column, fine.boxes, points, point);
}

void pinhole_project(const struct pinhole_camera *camera,
                     const struct pinhole_registration *registration, const struct pinhole_map *map,
                     double *out) {
  project(camera, registration, map, full, 0, camera->rows, out);
}

void pinhole_project_rows(const struct pinhole_camera *camera,
                          const struct pinhole_registration *registration,
                          const struct pinhole_map *map, int64_t row0, int64_t row1, double *out) {
  static const struct fineness quite = {3, 3};
  project(camera, registration, map, quite, row0, row1, out);
}

/* ---- registration ---- */

enum { FREE = 4 };
struct search {
  const struct pinhole_camera *camera;
  const struct pinhole_map *map;
  const double *seen;
  double *work;
  struct pinhole_registration start;
  struct fineness fine;
};

static struct pinhole_registration moved(const struct search *s, const double *p) {
  struct pinhole_registration r = s->start;
  r.shift_x_mm += p[0];
  r.shift_y_mm += p[1];
  r.rotation_deg += p[2];
  r.scale *= 1 + p[3];
  return r;
}

/* A few pixels are always alike. */
enum { PIXELS_LEAST = 16 };
static const double unlike = 2;

static double unlikeness_of(const struct search *s, const double *p, int64_t *both) {
  struct pinhole_registration r = moved(s, p);
  int64_t n                     = s->camera->rows * s->camera->columns;
  project(s->camera, &r, s->map, s->fine, 0, s->camera->rows, s->work);
  *both = 0;
  for (int64_t i = 0; i < n; i++) *both += !isnan(s->work[i]) && !isnan(s->seen[i]);
  double likeness = *both < PIXELS_LEAST ? (double)NAN : correlate_pearson(s->work, s->seen, n);
  return isnan(likeness) ? unlike : 1 - likeness;
}

static double unlikeness(const struct search *s, const double *p) {
  int64_t both;
  return unlikeness_of(s, p, &both);
}

static void simplex_centre(double p[FREE + 1][FREE], int worst, double *centre) {
  for (int j = 0; j < FREE; j++) {
    centre[j] = 0;
    for (int i = 0; i <= FREE; i++)
      if (i != worst) centre[j] += p[i][j] / FREE;
  }
}

static double try_point(const struct search *s, const double *centre, const double *worst,
                        double factor, double *at) {
  for (int j = 0; j < FREE; j++) at[j] = centre[j] + factor * (worst[j] - centre[j]);
  return unlikeness(s, at);
}

static void shrink(const struct search *s, double p[FREE + 1][FREE], double *f, int best) {
  for (int i = 0; i <= FREE; i++) {
    if (i == best) continue;
    for (int j = 0; j < FREE; j++) p[i][j] = 0.5 * (p[i][j] + p[best][j]);
    f[i] = unlikeness(s, p[i]);
  }
}

static double simplex(const struct search *s, const double *step, double *best_p) {
  double p[FREE + 1][FREE], f[FREE + 1], centre[FREE], at[FREE], further[FREE];
  for (int i = 0; i <= FREE; i++) {
    for (int j = 0; j < FREE; j++) p[i][j] = best_p[j] + (i == j + 1 ? step[j] : 0);
    f[i] = unlikeness(s, p[i]);
  }
  int best = 0, worst = 0;
  for (int round = 0; round < 200; round++) {
    int second = 0;
    best = worst = 0;
    for (int i = 1; i <= FREE; i++) {
      if (f[i] < f[best]) best = i;
      if (f[i] > f[worst]) worst = i;
    }
    second = best;
    for (int i = 0; i <= FREE; i++)
      if (i != worst && f[i] > f[second]) second = i;
    if (f[worst] - f[best] < 1e-9) break; /* a hundredth of a pixel is 1e-6 */
    simplex_centre(p, worst, centre);
    double value = try_point(s, centre, p[worst], -1, at);
    if (value < f[best]) {
      double better = try_point(s, centre, p[worst], -2, further);
      if (better < value) value = better, memcpy(at, further, sizeof at);
    } else if (value >= f[second]) {
      value = try_point(s, centre, p[worst], 0.5, at);
      if (value >= f[worst]) {
        shrink(s, p, f, best);
        continue;
      }
    }
    memcpy(p[worst], at, sizeof at);
    f[worst] = value;
  }
  memcpy(best_p, p[best], sizeof p[best]);
  return f[best];
}

enum status pinhole_register(const struct pinhole_camera *camera, const struct pinhole_map *map,
                             const double *seen, double reach_mm,
                             struct pinhole_registration *registration, double *quality) {
  struct search s = {camera, map, seen, NULL, *registration, quick};
  TRY(memory_make(camera->rows * camera->columns, sizeof *s.work, "a projected map", &s.work));
  double pixel_mm =
      registration->scale * camera->pitch_mm * camera->pinhole_mm / camera->detector_mm;
  double best[FREE] = {0}, least = unlikeness(&s, best);
  int reach = (int)ceil(reach_mm / (2 * pixel_mm));
  for (int j = -reach; j <= reach; j++)
    for (int i = -reach; i <= reach; i++) {
      const double at[FREE] = {2 * i * pixel_mm, 2 * j * pixel_mm, 0, 0};
      double value          = unlikeness(&s, at);
      if (value >= least) continue;
      least = value;
      memcpy(best, at, sizeof best);
    }
  *quality = (double)NAN;
  if (!(least < unlike)) {
    memory_free(s.work);
    return STATUS_OK;
  }
  const double coarse[FREE] = {pixel_mm, pixel_mm, 2, 0.02},
               fine[FREE]   = {0.1 * pixel_mm, 0.1 * pixel_mm, 0.2, 0.002};
  simplex(&s, coarse, best);
  s.fine        = search_end;
  least         = simplex(&s, fine, best);
  *registration = moved(&s, best);
  *quality      = 1 - least;
  memory_free(s.work);
  return STATUS_OK;
}

enum status pinhole_likeness(const struct pinhole_camera *camera, const struct pinhole_map *map,
                             const double *seen, const struct pinhole_registration *registration,
                             double *likeness, int64_t *pixels) {
  struct search s         = {camera, map, seen, NULL, *registration, search_end};
  const double none[FREE] = {0};
  TRY(memory_make(camera->rows * camera->columns, sizeof *s.work, "a projected map", &s.work));
  *likeness = 1 - unlikeness_of(&s, none, pixels);
  memory_free(s.work);
  return STATUS_OK;
}
