/* The table of methods. */
#include "recon_private.h"
#include <string.h>

static const struct {
  const char *name;
  enum status (*slices)(const struct recon_geometry *, const float *, int64_t, float *);
  int64_t (*bytes)(const struct recon_geometry *);
} methods[] = {
    {"gridding", recon_gridding, recon_gridding_bytes},
    {"direct",   recon_direct,   recon_direct_bytes  }
};
enum { METHODS = sizeof methods / sizeof *methods };

enum status recon_slices(const char *method, const struct recon_geometry *geometry,
                         const float *sinogram, int64_t n, float *slice) {
  for (int i = 0; i < METHODS; i++)
    if (strcmp(methods[i].name, method) == 0)
      return methods[i].slices(geometry, sinogram, n, slice);
  return FAIL(STATUS_USAGE, "there is no method '%s'", method);
}

int64_t recon_workspace_bytes(const char *method, const struct recon_geometry *geometry) {
  for (int i = 0; i < METHODS; i++)
    if (strcmp(methods[i].name, method) == 0) return methods[i].bytes(geometry);
  return 0;
}
