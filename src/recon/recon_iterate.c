/* Iterations, for few angles. A pixel's value falls onto the two detector columns next to its shadow's middle; the
 * back-projection is the transpose of that.
 *   sirt: x += C A'R (b - A x), R and C one over the sums of rows and columns of A (Gilbert 1972).
 *   cgls: conjugate gradients on A'A x = A'b (Hestenes and Stiefel 1952).
 * Total variation: after each iteration of sirt (each CG_RUN of cgls, which then begins anew from there) x becomes the
 * minimiser of |x - before|^2 / 2 + weight TV(x), by Chambolle's projections of the dual (Journal of Mathematical Imaging
 * and Vision 20, 89, 2004). */
#include "recon_private.h"
#include <math.h>
#include <string.h>

enum { DUAL_STEPS = 10, CG_RUN = 5 };

struct iterate {
  struct recon_geometry geometry;
  bool conjugate;
  int64_t samples, pixels;
  float *row, *column;              /* sirt: one over the sums */
  float *residual, *shadow;         /* [angles][columns] */
  float *update, *direction, *dual; /* slices; dual: two */
};

/* ---- the projector ------------------------------------------------------------------------------------------------ */

static void place_of(const struct recon_geometry *g, int64_t a, double *first, double *x,
                     double *y) {
  double middle = 0.5 * (double)(g->columns - 1);
  *x            = cos(g->angle_rad[a]);
  *y            = sin(g->angle_rad[a]);
  *first        = g->centre_px - middle * (*x + *y);
}

static void project(const struct recon_geometry *g, const float *slice, float *sinogram) {
  memset(sinogram, 0, (size_t)(g->angles * g->columns) * sizeof *sinogram);
  for (int64_t a = 0; a < g->angles; a++) {
    double first, x, y;
    place_of(g, a, &first, &x, &y);
    ISA_PICK(recon_throw)
    (slice, g->columns, sinogram + a * g->columns, g->columns - 1, first, x, y);
  }
}

static void back_project(const struct recon_geometry *g, const float *sinogram, float *slice) {
  memset(slice, 0, (size_t)(g->columns * g->columns) * sizeof *slice);
  for (int64_t a = 0; a < g->angles; a++) {
    double first, x, y;
    place_of(g, a, &first, &x, &y);
    ISA_PICK(recon_smear)
    (slice, g->columns, sinogram + a * g->columns, g->columns - 1, first, x, y);
  }
}

/* ---- total variation ------------------------------------------------------------------------------------------------- */

/* Divergence of the dual at a pixel, its outward slopes 0 at the edges. */
static float divergence_at(const float *dual, int64_t n, int64_t y, int64_t x) {
  const float *p = dual + y * n + x, *q = p + n * n;
  float along  = (x + 1 < n ? p[0] : 0) - (x > 0 ? p[-1] : 0);
  float across = (y + 1 < n ? q[0] : 0) - (y > 0 ? q[-n] : 0);
  return along + across;
}

static void flatten(float *slice, int64_t n, float weight, float *dual, float *work) {
  memset(dual, 0, (size_t)(2 * n * n) * sizeof *dual);
  for (int step = 0; step <= DUAL_STEPS; step++) {
    for (int64_t y = 0; y < n; y++)
      for (int64_t x = 0; x < n; x++)
        work[y * n + x] = slice[y * n + x] / weight + divergence_at(dual, n, y, x);
    if (step == DUAL_STEPS) break;
    for (int64_t y = 0; y < n; y++)
      for (int64_t x = 0; x < n; x++) {
        float *p = dual + y * n + x, *q = p + n * n, here = work[y * n + x];
        float dx   = x + 1 < n ? work[y * n + x + 1] - here : 0,
              dy   = y + 1 < n ? work[(y + 1) * n + x] - here : 0;
        float size = 1 + 0.24f * sqrtf(dx * dx + dy * dy);
        *p         = (*p + 0.24f * dx) / size;
        *q         = (*q + 0.24f * dy) / size;
      }
  }
  for (int64_t i = 0; i < n * n; i++) slice[i] = weight * work[i];
}

static void regularise(const struct iterate *w, float *slice) {
  const struct recon_geometry *g = &w->geometry;
  float most                     = 0;
  for (int64_t i = 0; i < w->pixels; i++) most = fmaxf(most, fabsf(slice[i]));
  if (g->tv > 0 && most > 0) flatten(slice, g->columns, (float)g->tv * most, w->dual, w->update);
  for (int64_t i = 0; i < w->pixels && g->nonnegative; i++) slice[i] = fmaxf(slice[i], 0);
}

/* ---- the iterations ----------------------------------------------------------------------------------------------------- */

static void invert(float *value, int64_t n) {
  for (int64_t i = 0; i < n; i++) value[i] = value[i] > 1e-3f ? 1 / value[i] : 0;
}

static void make_sums(struct iterate *w) {
  for (int64_t i = 0; i < w->pixels; i++) w->update[i] = 1;
  project(&w->geometry, w->update, w->row);
  for (int64_t i = 0; i < w->samples; i++) w->residual[i] = 1;
  back_project(&w->geometry, w->residual, w->column);
  invert(w->row, w->samples);
  invert(w->column, w->pixels);
}

static void iterate_simultaneously(struct iterate *w, const float *sinogram, float *slice) {
  for (int64_t k = 0; k < w->geometry.iterations; k++) {
    project(&w->geometry, slice, w->shadow);
    for (int64_t i = 0; i < w->samples; i++)
      w->residual[i] = w->row[i] * (sinogram[i] - w->shadow[i]);
    back_project(&w->geometry, w->residual, w->update);
    for (int64_t i = 0; i < w->pixels; i++) slice[i] += w->column[i] * w->update[i];
    regularise(w, slice);
  }
}

static double square_of(const float *value, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)value[i] * (double)value[i];
  return sum;
}

/* `steps` of conjugate gradients from the slice as it is. */
static void descend(struct iterate *w, const float *sinogram, int64_t steps, float *slice) {
  project(&w->geometry, slice, w->residual);
  for (int64_t i = 0; i < w->samples; i++) w->residual[i] = sinogram[i] - w->residual[i];
  back_project(&w->geometry, w->residual, w->direction);
  double norm = square_of(w->direction, w->pixels);
  for (int64_t k = 0; k < steps && norm > 0; k++) {
    project(&w->geometry, w->direction, w->shadow);
    double bend = square_of(w->shadow, w->samples);
    if (!(bend > 0)) return;
    float step = (float)(norm / bend);
    for (int64_t i = 0; i < w->pixels; i++) slice[i] += step * w->direction[i];
    for (int64_t i = 0; i < w->samples; i++) w->residual[i] -= step * w->shadow[i];
    back_project(&w->geometry, w->residual, w->update);
    double next = square_of(w->update, w->pixels);
    float share = (float)(next / norm);
    for (int64_t i = 0; i < w->pixels; i++)
      w->direction[i] = w->update[i] + share * w->direction[i];
    norm = next;
  }
}

static void iterate_conjugately(struct iterate *w, const float *sinogram, float *slice) {
  int64_t all = w->geometry.iterations,
          run = w->geometry.tv > 0 || w->geometry.nonnegative ? CG_RUN : all;
  for (int64_t k = 0; k < all; k += run) {
    descend(w, sinogram, all - k < run ? all - k : run, slice);
    regularise(w, slice);
  }
}

/* ---- the method ------------------------------------------------------------------------------------------------------------ */

void recon_iterate_free(void *work) {
  struct iterate *w = work;
  if (!w) return;
  memory_free(w->row);
  memory_free(w->column);
  memory_free(w->residual);
  memory_free(w->shadow);
  memory_free(w->update);
  memory_free(w->direction);
  memory_free(w->dual);
  memory_free(w);
}

static enum status buffers_make(struct iterate *w) {
  TRY(memory_make(w->samples, sizeof(float), "a sinogram", &w->residual));
  TRY(memory_make(w->samples, sizeof(float), "a sinogram", &w->shadow));
  TRY(memory_make(w->pixels, sizeof(float), "a slice", &w->update));
  if (w->geometry.tv > 0) TRY(memory_make(2 * w->pixels, sizeof(float), "slopes", &w->dual));
  if (w->conjugate) return memory_make(w->pixels, sizeof(float), "a slice", &w->direction);
  TRY(memory_make(w->samples, sizeof(float), "a sinogram", &w->row));
  TRY(memory_make(w->pixels, sizeof(float), "a slice", &w->column));
  make_sums(w);
  return STATUS_OK;
}

static enum status make(const struct recon_geometry *g, bool conjugate, void **work) {
  struct iterate *w;
  TRY(memory_make(1, sizeof *w, "iterations", &w));
  *w                 = (struct iterate){.geometry  = *g,
                                        .conjugate = conjugate,
                                        .samples   = g->angles * g->columns,
                                        .pixels    = g->columns * g->columns};
  enum status status = buffers_make(w);
  if (status != STATUS_OK) recon_iterate_free(w);
  *work = status == STATUS_OK ? w : NULL;
  return status;
}

enum status recon_sirt_make(const struct recon_geometry *geometry, void **work) {
  return make(geometry, false, work);
}

enum status recon_cgls_make(const struct recon_geometry *geometry, void **work) {
  return make(geometry, true, work);
}

enum status recon_iterate_slices(void *work, const float *sinogram, int64_t n, float *slice) {
  struct iterate *w = work;
  memset(slice, 0, (size_t)(n * w->pixels) * sizeof *slice);
  for (int64_t s = 0; s < n; s++)
    (w->conjugate ? iterate_conjugately : iterate_simultaneously)(w, sinogram + s * w->samples,
                                                                  slice + s * w->pixels);
  return STATUS_OK;
}

int64_t recon_iterate_bytes(const struct recon_geometry *g) {
  int64_t samples = g->angles * g->columns, pixels = g->columns * g->columns;
  return 4 * (3 * samples + (g->tv > 0 ? 4 : 2) * pixels);
}
