/* Direct back-projection of filtered projections: slow, simple, an independent check. They come out of the inverse
 * transform FINE times finer, so that linear interpolation between their samples loses nothing that matters. */
#include "recon_private.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

enum { FINE = 16 };

struct direct {
  struct recon_geometry geometry;
  int64_t pad;
  float *filter, *line;
  fftwf_complex *transform;
  fftwf_plan forward, backward;
};

void recon_direct_free(void *work) {
  struct direct *d = work;
  if (!d) return;
  if (d->forward) fftwf_destroy_plan(d->forward);
  if (d->backward) fftwf_destroy_plan(d->backward);
  fftwf_free(d->transform);
  fftwf_free(d->line);
  memory_free(d->filter);
  memory_free(d);
}

static enum status buffers_make(const struct recon_geometry *g, struct direct *d) {
  d->pad = recon_pad(g);
  TRY(memory_make(d->pad, sizeof *d->filter, "a filter", &d->filter));
  TRY(recon_filter_make(g, d->pad, d->filter));
  d->line      = fftwf_alloc_real((size_t)(FINE * d->pad) + 2);
  d->transform = fftwf_alloc_complex((size_t)(FINE * d->pad) / 2 + 1);
  if (!d->line || !d->transform) return FAIL(STATUS_MEMORY, "no memory for a padded projection");
  d->forward  = fftwf_plan_dft_r2c_1d((int)d->pad, d->line, d->transform, FFTW_ESTIMATE);
  d->backward = fftwf_plan_dft_c2r_1d((int)(FINE * d->pad), d->transform, d->line, FFTW_ESTIMATE);
  return STATUS_OK;
}

enum status recon_direct_make(const struct recon_geometry *g, void **work) {
  struct direct *d;
  TRY(memory_make(1, sizeof *d, "a back-projection", &d));
  d->geometry        = *g;
  enum status status = buffers_make(g, d);
  if (status != STATUS_OK) recon_direct_free(d);
  *work = status == STATUS_OK ? d : NULL;
  return status;
}

static void filter_line(const struct recon_geometry *g, const struct direct *d,
                        const float *projection, double weight) {
  memcpy(d->line, projection, (size_t)g->columns * sizeof *d->line);
  memset(d->line + g->columns, 0, (size_t)(d->pad - g->columns) * sizeof *d->line);
  fftwf_execute(d->forward);
  memset(d->transform + d->pad / 2, 0,
         (size_t)((FINE - 1) * d->pad / 2 + 1) * sizeof *d->transform);
  for (int64_t k = 0; k < d->pad / 2; k++) {
    float share = d->filter[k] * (float)(weight / (double)d->pad);
    d->transform[k][0] *= share;
    d->transform[k][1] *= share;
  }
  fftwf_execute(d->backward);
}

enum status recon_direct_slices(void *work, const float *sinogram, int64_t n, float *slice) {
  struct direct *d               = work;
  const struct recon_geometry *g = &d->geometry;
  double middle                  = 0.5 * (double)(g->columns - 1);
  memset(slice, 0, (size_t)(n * g->columns * g->columns) * sizeof *slice);
  for (int64_t s = 0; s < n; s++)
    for (int64_t a = 0; a < g->angles; a++) {
      double c = cos(g->angle_rad[a]), w = sin(g->angle_rad[a]);
      filter_line(g, d, sinogram + (s * g->angles + a) * g->columns, g->weight_rad[a]);
      ISA_PICK(recon_smear)
      (slice + s * g->columns * g->columns, g->columns, d->line, FINE * (g->columns - 1),
       FINE * (g->centre_px - middle * (c + w)), FINE * c, FINE * w);
    }
  return STATUS_OK;
}

int64_t recon_direct_bytes(const struct recon_geometry *g) { return (4 + 8 * FINE) * recon_pad(g); }
