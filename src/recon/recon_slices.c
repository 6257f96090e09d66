/* The table of methods. */
#include "recon_private.h"
#include <string.h>

static const struct method {
  const char *name;
  enum status (*make)(const struct recon_geometry *, void **);
  enum status (*slices)(void *, const float *, int64_t, float *);
  void (*free)(void *);
  int64_t (*bytes)(const struct recon_geometry *);
} methods[] = {
    {"gridding", recon_gridding_make, recon_gridding_slices, recon_gridding_free,
     recon_gridding_bytes                                                                            },
    {"direct",   recon_direct_make,   recon_direct_slices,   recon_direct_free,   recon_direct_bytes },
    {"sirt",     recon_sirt_make,     recon_iterate_slices,  recon_iterate_free,  recon_iterate_bytes},
    {"cgls",     recon_cgls_make,     recon_iterate_slices,  recon_iterate_free,  recon_iterate_bytes},
};
enum { METHODS = sizeof methods / sizeof *methods };

struct recon_work {
  const struct method *method;
  void *inside;
};

static const struct method *find(const char *name) {
  for (int i = 0; i < METHODS; i++)
    if (strcmp(methods[i].name, name) == 0) return &methods[i];
  return NULL;
}

enum status recon_work_make(const char *method, const struct recon_geometry *geometry,
                            struct recon_work **work) {
  const struct method *found = find(method);
  *work                      = NULL;
  if (!found) return FAIL(STATUS_USAGE, "there is no method '%s'", method);
  TRY(memory_make(1, sizeof **work, "a reconstruction", work));
  (*work)->method    = found;
  enum status status = found->make(geometry, &(*work)->inside);
  if (status != STATUS_OK) recon_work_free(work);
  return status;
}

void recon_work_free(struct recon_work **work) {
  if (*work) (*work)->method->free((*work)->inside);
  memory_free(*work);
  *work = NULL;
}

enum status recon_work_slices(struct recon_work *work, const float *sinogram, int64_t n,
                              float *slice) {
  return work->method->slices(work->inside, sinogram, n, slice);
}

enum status recon_slices(const char *method, const struct recon_geometry *geometry,
                         const float *sinogram, int64_t n, float *slice) {
  struct recon_work *work;
  TRY(recon_work_make(method, geometry, &work));
  enum status status = recon_work_slices(work, sinogram, n, slice);
  recon_work_free(&work);
  return status;
}

int64_t recon_workspace_bytes(const char *method, const struct recon_geometry *geometry) {
  const struct method *found = find(method);
  return found ? found->bytes(geometry) : 0;
}
