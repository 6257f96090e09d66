/* A phantom of ellipses, its scans and how well a slice shows it. */
#pragma once
#include "check.h"
#include "recon.h"
#include <math.h>

/* Ellipses: middle, half axes, tilt and value, in units of the disc's radius R = (columns - 1) / 2 px. */
struct ellipse {
  double x, y, a, b, tilt_deg, value;
};
static const struct ellipse phantom[] = {
    {0,    0,      .69,   .92,  0,   1  },
    {0,    -.0184, .6624, .874, 0,   -.4},
    {.22,  0,      .11,   .31,  -18, -.2},
    {-.22, 0,      .16,   .41,  18,  -.2},
    {0,    .35,    .21,   .25,  0,   .1 },
    {0,    .1,     .046,  .046, 0,   .1 },
    {0,    -.1,    .046,  .046, 0,   .1 },
    {-.08, -.605,  .046,  .023, 0,   .1 },
    {.06,  -.605,  .023,  .046, 0,   .1 }
};
enum { ELLIPSES = sizeof phantom / sizeof *phantom };

/* Line integral at distance s from the axis for a beam whose normal has direction th. */
static double line_integral(double s, double th, double radius) {
  double sum = 0;
  for (int e = 0; e < ELLIPSES; e++) {
    const struct ellipse *p = &phantom[e];
    double tilt = p->tilt_deg / DEG_PER_RAD, a = p->a * radius, b = p->b * radius;
    double d = s - radius * (p->x * cos(th) + p->y * sin(th)), c = cos(th - tilt),
           w      = sin(th - tilt);
    double extent = a * a * c * c + b * b * w * w;
    if (d * d < extent) sum += p->value * 2 * a * b * sqrt(extent - d * d) / extent;
  }
  return sum;
}

static double value_at(double x, double y, double radius) {
  double sum = 0;
  for (int e = 0; e < ELLIPSES; e++) {
    const struct ellipse *p = &phantom[e];
    double t = p->tilt_deg / DEG_PER_RAD, dx = x / radius - p->x, dy = y / radius - p->y;
    double u = dx * cos(t) + dy * sin(t), v = -dx * sin(t) + dy * cos(t);
    sum += u * u / (p->a * p->a) + v * v / (p->b * p->b) < 1 ? p->value : 0;
  }
  return sum;
}

struct scan {
  int64_t columns, angles;
  double *angle_rad, *weight_rad, centre, radius;
  float *sinogram, *slice, *truth;
};

static inline void scan_free(struct scan *s) {
  memory_free(s->angle_rad);
  memory_free(s->weight_rad);
  memory_free(s->sinogram);
  memory_free(s->slice);
  memory_free(s->truth);
}

/* Integrals averaged over the detector pixel by 5 sub-rays, truth over the pixel by 5 x 5 points. */
static inline void scan_make(int64_t columns, int64_t angles, double arc_deg, double centre,
                             struct scan *s) {
  *s = (struct scan){.columns = columns,
                     .angles  = angles,
                     .centre  = centre,
                     .radius  = 0.5 * (double)(columns - 1)};
  CHECK_OK(memory_make(angles, sizeof(double), "angles", &s->angle_rad));
  CHECK_OK(memory_make(angles, sizeof(double), "angles", &s->weight_rad));
  CHECK_OK(memory_make(2 * angles * columns, sizeof(float), "sinogram", &s->sinogram));
  CHECK_OK(memory_make(2 * columns * columns, sizeof(float), "slice", &s->slice));
  CHECK_OK(memory_make(columns * columns, sizeof(float), "truth", &s->truth));
  for (int64_t a = 0; a < angles; a++) {
    s->angle_rad[a] = arc_deg / DEG_PER_RAD * (double)a / (double)angles;
    for (int64_t c = 0; c < columns; c++) {
      double sum = 0;
      for (int k = -2; k <= 2; k++)
        sum += line_integral((double)c + 0.2 * k - centre, s->angle_rad[a], s->radius) / 5;
      s->sinogram[a * columns + c]            = (float)sum;
      s->sinogram[(angles + a) * columns + c] = (float)(2 * sum);
    }
  }
  for (int64_t y = 0; y < columns; y++)
    for (int64_t x = 0; x < columns; x++) {
      double sum = 0;
      for (int k = 0; k < 25; k++)
        sum += value_at((double)x - s->radius + 0.2 * (k % 5 - 2),
                        (double)y - s->radius + 0.2 * (k / 5 - 2), s->radius) /
               25;
      s->truth[y * columns + x] = (float)sum;
    }
  CHECK_OK(recon_weights(s->angle_rad, angles, s->weight_rad));
}

static inline struct recon_geometry geometry_of(const struct scan *s, const char *filter,
                                                double rolloff) {
  return (struct recon_geometry){.columns    = s->columns,
                                 .angles     = s->angles,
                                 .angle_rad  = s->angle_rad,
                                 .weight_rad = s->weight_rad,
                                 .centre_px  = s->centre,
                                 .filter     = filter,
                                 .rolloff    = rolloff};
}

/* RMSE in flat regions (nothing changes within 3 px) inside 0.95 R, and the scale by regression on the truth. */
static inline double flat_rmse(const struct scan *s, const float *slice, double *scale) {
  double sum = 0, n = 0, st = 0, tt = 0;
  for (int64_t y = 3; y < s->columns - 3; y++)
    for (int64_t x = 3; x < s->columns - 3; x++) {
      double t = (double)s->truth[y * s->columns + x], v = (double)slice[y * s->columns + x];
      if (hypot((double)x - s->radius, (double)y - s->radius) > 0.95 * s->radius) continue;
      bool flat = true;
      for (int64_t j = -3; j <= 3 && flat; j++)
        for (int64_t i = -3; i <= 3 && flat; i++)
          flat = fabs((double)s->truth[(y + j) * s->columns + x + i] - t) < 1e-6;
      if (!flat) continue;
      sum += (v - t) * (v - t);
      n++;
      st += v * t;
      tt += t * t;
    }
  *scale = st / tt;
  return sqrt(sum / n);
}

/* Width in px from 10 to 90 % of the edge of a disc, from the mean profile across it in steps of 0.05 px. The disc
 * stands off the axis: else all projections cut its edge at the same place of a pixel, and errors of sampling add. */
static inline double edge_width(const struct scan *s, const struct recon_geometry *geometry) {
  enum { STEPS = 160 };
  double sum[STEPS] = {0}, n[STEPS] = {0}, radius = 0.6 * s->radius, low = NAN, high = NAN;
  const double x0 = 0.21 * s->radius, y0 = -0.13 * s->radius;
  float *sinogram = NULL, *slice = NULL;
  CHECK_OK(memory_make(s->angles * s->columns, sizeof *sinogram, "sinogram", &sinogram));
  CHECK_OK(memory_make(s->columns * s->columns, sizeof *slice, "slice", &slice));
  for (int64_t i = 0; i < s->angles * s->columns; i++)
    for (int k = -2; k <= 2; k++) {
      double th   = s->angle_rad[i / s->columns];
      double d    = (double)(i % s->columns) + 0.2 * k - s->centre - x0 * cos(th) - y0 * sin(th);
      double rest = radius * radius - d * d;
      sinogram[i] += rest > 0 ? (float)(2 * sqrt(rest) / 5) : 0;
    }
  CHECK_OK(recon_slices("gridding", geometry, sinogram, 1, slice));
  for (int64_t i = 0; i < s->columns * s->columns; i++) {
    double r =
        hypot((double)(i % s->columns) - s->radius - x0, (double)(i / s->columns) - s->radius - y0);
    int at = (int)floor((radius - r + 4) / 0.05);
    if (at >= 0 && at < STEPS) sum[at] += (double)slice[i], n[at]++;
  }
  for (int k = 1; k < STEPS; k++) {
    double before = sum[k - 1] / n[k - 1], here = sum[k] / n[k];
    if (isnan(low) && here >= 0.1) low = 0.05 * (k - (here - 0.1) / (here - before));
    if (isnan(high) && here >= 0.9) high = 0.05 * (k - (here - 0.9) / (here - before));
  }
  memory_free(sinogram);
  memory_free(slice);
  return high - low;
}

/* RMSE of flat regions, edge width and absolute scale of gridding with a roll-off of the ramp. */
static inline void check_sharpness(struct scan *s, double rolloff, double rmse_most,
                                   double width_most) {
  struct recon_geometry g = geometry_of(s, "ramp", rolloff);
  double scale;
  status_clear();
  CHECK_OK(recon_slices("gridding", &g, s->sinogram, 1, s->slice));
  double rmse = flat_rmse(s, s->slice, &scale), width = edge_width(s, &g);
  printf("         %lld x %lld, roll-off %.1f: flat RMSE %.5f, edge %.3f px, scale %.5f\n",
         (long long)s->columns, (long long)s->angles, rolloff, rmse, width, scale);
  CHECK(rmse <= rmse_most, "flat RMSE %.5f", rmse);
  CHECK(width <= width_most && width > 0.5, "edge width %.3f px", width);
  CHECK(fabs(scale - 1) < 0.001, "scale %.5f", scale);
}
