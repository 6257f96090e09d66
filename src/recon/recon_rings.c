/* The table of ring removals, and what they share. */
#include "recon_rings.h"
#include "recon_private.h"
#include <math.h>
#include <string.h>

static const struct method {
  const char *name;
  enum status (*remove)(const struct recon_rings *, float *, int64_t, int64_t);
  int sinograms; /* of workspace, about */
} methods[] = {
    {"vo",             recon_rings_sort,        0},
    {"vo-all",         recon_rings_all,         3},
    {"vo-large",       recon_rings_large,       2},
    {"vo-dead",        recon_rings_dead,        0},
    {"vo-interpolate", recon_rings_interpolate, 2},
    {"vo-filter",      recon_rings_filter,      1},
    {"vo-fit",         recon_rings_fit,         0},
    {"fw",             recon_rings_wavelet,     5},
    {"ti",             recon_rings_titarenko,   0},
    {"raven",          recon_rings_raven,       0},
};
enum { METHODS = sizeof methods / sizeof *methods };

static const struct method *find(const char *name) {
  for (int i = 0; i < METHODS; i++)
    if (strcmp(methods[i].name, name) == 0) return &methods[i];
  return NULL;
}

enum status recon_rings_remove(const struct recon_rings *rings, float *sinogram, int64_t angles,
                               int64_t columns) {
  const struct method *method = find(rings->method);
  return method ? method->remove(rings, sinogram, angles, columns) : STATUS_OK;
}

/* Sorting keeps two words and the window's state of as many columns as the window has. */
int64_t recon_rings_bytes(const struct recon_rings *rings, int64_t angles, int64_t columns) {
  const struct method *method = find(rings->method);
  if (!method) return 0;
  int64_t width = strcmp(method->name, "vo") == 0 || strcmp(method->name, "vo-filter") == 0
                      ? rings->width
                      : rings->wide;
  return 4 * method->sinograms * angles * columns + 12 * (width + 64) * angles + 32 * 4 * columns;
}

enum status recon_rings_sort(const struct recon_rings *rings, float *sinogram, int64_t angles,
                             int64_t columns) {
  return recon_unstripe(sinogram, angles, columns, rings->width);
}

void recon_rings_cosines(int64_t angles, int64_t n, float *basis) {
  for (int64_t k = 0; k < n; k++)
    for (int64_t a = 0; a < angles; a++)
      basis[k * angles + a] = (float)(sqrt((k ? 2.0 : 1.0) / (double)angles) *
                                      cos(PI * (double)k * ((double)a + 0.5) / (double)angles));
}

enum { WEIGHTS_REACH = 4 }; /* deviations after which a Gaussian's weights are left out */

enum status recon_rings_slow(float *value, int64_t angles, int64_t columns, double sigma,
                             float *slow) {
  float *basis = NULL, *coefficient = NULL;
  int64_t n = (int64_t)ceil(2 * WEIGHTS_REACH * sigma) + 1;
  if (n > angles) n = angles;
  enum status status = memory_make(n * angles, sizeof *basis, "cosines", &basis);
  if (status == STATUS_OK)
    status = memory_make(n * columns, sizeof *coefficient, "cosines", &coefficient);
  if (status == STATUS_OK) {
    recon_rings_cosines(angles, n, basis);
    ISA_PICK(recon_rings_project)(value, angles, columns, basis, n, coefficient);
    for (int64_t k = 0; k < n; k++) {
      double cycles = 0.5 * (double)k;
      float weight  = (float)exp(-cycles * cycles / (2 * sigma * sigma));
      for (int64_t c = 0; c < columns; c++) coefficient[k * columns + c] *= weight;
    }
    if (slow) {
      memset(slow, 0, (size_t)(angles * columns) * sizeof *slow);
      ISA_PICK(recon_rings_add)(coefficient, angles, columns, basis, n, 1, slow);
    }
    ISA_PICK(recon_rings_add)(coefficient, angles, columns, basis, n, -1, value);
  }
  memory_free(basis);
  memory_free(coefficient);
  return status;
}
