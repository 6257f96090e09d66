/* Derivatives of the grey value by the six parameters, and their products summed along a row in lanes. */
#include "align_private.h"
#include <math.h>
#include <string.h>

typedef float lanes __attribute__((vector_size(4 * FIT_LANES), aligned(4)));

static double dot(const float *a, const float *b, int64_t padded) {
  lanes sum = {0};
  for (int64_t i = 0; i < padded; i += FIT_LANES)
    sum += *(const lanes *)(const void *)(a + i) * *(const lanes *)(const void *)(b + i);
  double total = 0;
  for (int k = 0; k < FIT_LANES; k++) total += (double)sum[k];
  return total;
}

/* j[6][padded] from central differences; the ends of a row have none along x. */
static void derivatives(const struct fit_row *r, const float *const row[5], float *j,
                        int64_t padded) {
  const float by[3] = {1 / r->ratio[0], 1 / r->ratio[1], 1 / r->ratio[2]};
  float *jz = j, *jy = j + padded, *jx = j + 2 * padded, *tz = j + 3 * padded, *ty = j + 4 * padded,
        *tx = j + 5 * padded;
  for (int64_t x = 0; x < r->n; x++) {
    jz[x] = 0.5F * (row[2][x] - row[1][x]);
    jy[x] = 0.5F * (row[4][x] - row[3][x]);
  }
  for (int64_t x = 1; x + 1 < r->n; x++) jx[x] = 0.5F * (row[0][x + 1] - row[0][x - 1]);
  jx[0] = jx[r->n - 1] = 0;
  for (int64_t x = 0; x < r->n; x++) {
    tz[x] = jy[x] * r->x[x] * by[1] - jx[x] * r->y * by[2];
    ty[x] = jx[x] * r->z * by[2] - jz[x] * r->x[x] * by[0];
    tx[x] = jz[x] * r->y * by[0] - jy[x] * r->z * by[1];
  }
}

enum { ONE, F, M, E, W, SOME, WF, WM, R, RE, Z2, Y2, X2 };

static void grey_sums(const float *line, int64_t padded, double *sums) {
  const struct {
    int sum, a, b;
  } product[] = {
      {FIT_W,     W,    ONE},
      {FIT_N,     SOME, ONE},
      {FIT_F,     WF,   ONE},
      {FIT_M,     WM,   ONE},
      {FIT_FF,    WF,   F  },
      {FIT_MM,    WM,   M  },
      {FIT_FM,    WF,   M  },
      {FIT_R,     R,    ONE},
      {FIT_RE,    RE,   E  },
      {FIT_T,     Z2,   ONE},
      {FIT_T + 1, Y2,   ONE},
      {FIT_T + 2, X2,   ONE}
  };
  for (size_t i = 0; i < sizeof product / sizeof *product; i++)
    sums[product[i].sum] = dot(line + product[i].a * padded, line + product[i].b * padded, padded);
}

/* How far a difference is trusted (Geman and McClure's function): one beyond what noise and half a voxel of
 * displacement explain stands for something that changed. */
static void trust(const struct fit_row *r, const float *j, int64_t padded, const float *line,
                  float *share) {
  const float *jz = j, *jy = j + padded, *jx = j + 2 * padded;
  for (int64_t x = 0; x < r->n; x++) {
    float slope = sqrtf(jz[x] * jz[x] + jy[x] * jy[x] + jx[x] * jx[x]);
    float over  = line[E * padded + x] / (2 * r->noise + 0.5F * slope + 1e-30F),
          fall  = 1 + over * over;
    share[x]    = isfinite(r->noise) ? 1 / (fall * fall) : 1;
  }
}

void ISA_NAME(fit_row_sums)(const struct fit_row *r, float *scratch, double *sums) {
  int64_t padded = (r->n + FIT_LANES - 1) / FIT_LANES * FIT_LANES;
  float *j = scratch, *jm = j + 6 * padded, *wj = jm + 6 * padded, *line = wj + 6 * padded;
  memset(scratch, 0, (size_t)(FIT_SCRATCH_ROWS * padded) * sizeof *scratch);
  derivatives(r, r->fixed, j, padded);
  derivatives(r, r->moved, jm, padded);
  for (int64_t x = 0; x < r->n; x++) line[E * padded + x] = r->moved[0][x] - r->fixed[0][x];
  trust(r, j, padded, line, line + R * padded);
  for (int64_t x = 0; x < r->n; x++) {
    float f = r->fixed[0][x], m = r->moved[0][x], e = line[E * padded + x];
    float w    = x >= r->first && x < r->behind ? r->part * r->weight[x] : 0;
    float some = f != 0 || m != 0 ? w : 0, trusted = some * line[R * padded + x];
    line[ONE * padded + x] = 1, line[W * padded + x] = w, line[SOME * padded + x] = some;
    line[F * padded + x] = f, line[WF * padded + x] = w * f;
    line[M * padded + x] = m, line[WM * padded + x] = w * m;
    line[R * padded + x] = trusted, line[RE * padded + x] = trusted * e;
    float slope2          = trusted * (j[x] * j[x] + j[padded + x] * j[padded + x] +
                              j[2 * padded + x] * j[2 * padded + x]);
    line[Z2 * padded + x] = slope2 * (r->x[x] * r->x[x] + r->y * r->y);
    line[Y2 * padded + x] = slope2 * (r->x[x] * r->x[x] + r->z * r->z);
    line[X2 * padded + x] = slope2 * (r->y * r->y + r->z * r->z);
    for (int i = 0; i < 6; i++) wj[i * padded + x] = trusted * j[i * padded + x];
  }
  grey_sums(line, padded, sums);
  for (int i = 0, at = FIT_H; i < 6; i++) {
    const float *own = wj + i * padded;
    sums[FIT_B + i]  = dot(own, line + E * padded, padded);
    for (int k = i; k < 6; k++) sums[at++] = dot(own, j + k * padded, padded);
    for (int k = 0; k < 6; k++) sums[FIT_C + 6 * i + k] = dot(own, jm + k * padded, padded);
  }
}
