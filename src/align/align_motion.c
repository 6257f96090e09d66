/* Rigid motions: what the parameters allow, vectors and matrices of rotations, maps of voxels. */
#include "align.h"
#include "align_private.h"
#include <math.h>
#include <string.h>

void align_ratio(const double voxel_um[3], double ratio[3]) {
  for (int a = 0; a < 3; a++)
    ratio[a] = voxel_um[0] > 0 && voxel_um[a] > 0 ? voxel_um[a] / voxel_um[0] : 1;
}

double align_half_diagonal(const int64_t n[3], const double ratio[3]) {
  double sum = 0;
  for (int a = 0; a < 3; a++) sum += pow(0.5 * (double)n[a] * ratio[a], 2);
  return sqrt(sum);
}

/* Of a rotation that moves slices into one another. */
static double rotation_most(const struct align_params *p) {
  return strcmp(p->rotation, "all") == 0 ? p->most_deg / DEG_PER_RAD : 0;
}

double align_turn_most(const struct align_params *p) {
  double slope[2] = {0, 0};
  (void)align_level_parse(p, slope); /* checked before */
  double level =
      align_level_is_auto(p) ? ALIGN_LEVEL_AUTO_DEG / DEG_PER_RAD : atan(hypot(slope[0], slope[1]));
  return rotation_most(p) + level;
}

int64_t align_halo(const struct align_params *p, const struct grid_plan *plan,
                   const double voxel_um[3], double binning) {
  double ratio[3];
  if (plan->size == 1) return 1;
  align_ratio(voxel_um, ratio);
  int64_t reach = (int64_t)ceil((double)p->most_px / binning) +
                  (int64_t)ceil(rotation_most(p) * align_half_diagonal(plan->n, ratio));
  if (reach > plan->n[0]) reach = plan->n[0];
  return reach + VOXEL_RESAMPLE_SLICES + 1;
}

/* ---- motions ---------------------------------------------------------------------------------------------- */

/* Rotation matrix (z, y, x order) of a rotation vector: Rodrigues' formula. */
static void turn_of(const double w[3], double turn[3][3]) {
  double angle = sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2]);
  double s     = angle > 1e-12 ? sin(angle) / angle : 1,
         c     = angle > 1e-12 ? (1 - cos(angle)) / (angle * angle) : 0.5;
  /* cross product with the vector: of (z, y, x) in a right-handed x, y, z */
  const double k[3][3] = {
      {0,     w[2],  -w[1]},
      {-w[2], 0,     w[0] },
      {w[1],  -w[0], 0    }
  };
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      double square = 0;
      for (int m = 0; m < 3; m++) square += k[i][m] * k[m][j];
      turn[i][j] = (i == j) + s * k[i][j] + c * square;
    }
}

void align_vector_of(const struct align_motion *m, double w[3]) {
  const double(*turn)[3] = (const double(*)[3])m->turn;
  const double twice[3]  = {turn[1][2] - turn[2][1], turn[2][0] - turn[0][2],
                            turn[0][1] - turn[1][0]};
  double sine  = 0.5 * sqrt(twice[0] * twice[0] + twice[1] * twice[1] + twice[2] * twice[2]);
  double scale = sine > 1e-12 ? asin(fmin(sine, 1)) / sine : 1;
  for (int a = 0; a < 3; a++) w[a] = 0.5 * scale * twice[a];
}

struct voxel_map align_map_of(const struct align_motion *m, const double ratio[3],
                              const int64_t n[3], double scale) {
  struct voxel_map map;
  for (int a = 0; a < 3; a++) {
    double middle = 0.5 * (double)(n[a] - 1);
    map.at[a]     = middle + m->shift_px[a] / scale;
    for (int b = 0; b < 3; b++) {
      map.turn[a][b] = m->turn[a][b] * ratio[b] / ratio[a];
      map.at[a] -= map.turn[a][b] * 0.5 * (double)(n[b] - 1);
    }
  }
  return map;
}

bool align_level_is_auto(const struct align_params *p) { return strcmp(p->level_deg, "auto") == 0; }

enum status align_level_parse(const struct align_params *p, double slope[2]) {
  double deg[2];
  char rest;
  slope[0] = slope[1] = 0;
  if (align_level_is_auto(p)) return STATUS_OK;
  if (sscanf(p->level_deg, "%lf,%lf%c", &deg[0], &deg[1], &rest) != 2 ||
      !(hypot(deg[0], deg[1]) <= 10))
    return FAIL(STATUS_USAGE,
                "align.level_deg = %s; it would be auto, or TY,TX, together within 10 degrees",
                p->level_deg);
  for (int a = 0; a < 2; a++) slope[a] = tan(deg[a] / DEG_PER_RAD);
  return STATUS_OK;
}

/* Turns z onto the layers' normal (1, -slope y, -slope x), about the axis that is normal to both. */
struct voxel_map align_level_map(const double slope[2], const double voxel_um[3],
                                 const int64_t n[3]) {
  double steep = hypot(slope[0], slope[1]), per = steep > 0 ? atan(steep) / steep : 1, ratio[3];
  const double w[3]          = {0, -per * slope[1], per * slope[0]};
  struct align_motion motion = {
      .shift_px = {0, 0, 0}
  };
  turn_of(w, motion.turn);
  align_ratio(voxel_um, ratio);
  return align_map_of(&motion, ratio, n, 1);
}

void align_compose(struct align_motion *m, const double tau[3], const double omega[3],
                   const double ratio[3]) {
  double step[3][3], turn[3][3];
  turn_of(omega, step);
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 3; j++) {
      turn[i][j] = 0;
      for (int k = 0; k < 3; k++) turn[i][j] += m->turn[i][k] * step[j][k];
    }
  for (int i = 0; i < 3; i++)
    for (int k = 0; k < 3; k++) m->shift_px[i] -= turn[i][k] * ratio[k] / ratio[i] * tau[k];
  memcpy(m->turn, turn, sizeof turn);
}
