/* Stripes by wavelets and transforms (Munch, Trtik, Marone and Stampanoni, Optics Express 17, 8567, 2009): in the
 * details that are smooth along the angle and sharp over columns, at every scale, what changes slowly along the angle is
 * damped by 1 - exp(-cycles^2 / 2 sigma^2). The transform is orthonormal, so only what is taken away is carried back. The
 * sinogram stands in a frame of its own mirror image. */
#include "recon_private.h"
#include "recon_rings.h"
#include <string.h>

/* Daubechies' wavelet of five vanishing moments: its low-pass filter (Ten Lectures on Wavelets, 1992, table 6.1). */
enum { TAPS = 10, FRAME = 24, LEAST = 16, LEVELS_MOST = 8 };
static const float filter[TAPS] = {
    0.160102397974f,  0.603829269797f, 0.724308528438f,  0.138428145901f,  -0.242294887066f,
    -0.032244869585f, 0.077571493840f, -0.006241490213f, -0.012580751999f, 0.003335725285f};

/* Of a level: the smooth part [angles][columns] to be split on. */
struct scale {
  int64_t angles, columns;
  float *smooth;
};

static int64_t reflect(int64_t at, int64_t n) {
  while (at < 0 || at >= n) at = at < 0 ? -1 - at : 2 * n - 1 - at;
  return at;
}

static int levels_of(int64_t angles, int64_t columns) {
  int levels = 1;
  while (levels < LEVELS_MOST && columns >> (levels + 1) >= LEAST &&
         angles >> (levels + 1) >= LEAST)
    levels++;
  return levels;
}

static int64_t framed(int64_t n, int levels) {
  int64_t step = (int64_t)1 << levels;
  return (n + 2 * FRAME + step - 1) / step * step;
}

/* The details of one level are damped; what is taken away of them comes back in `taken`, which on entry holds what
 * the coarser levels take from the smooth part below: [angles / 2][columns / 2], and on return [angles][columns]. */
static void carry_up(const struct scale *s, const float *taken_smooth, const float *taken_detail,
                     float *low, float *high, float *taken) {
  int64_t half = s->columns / 2;
  ISA_PICK(recon_wavelet_double)(taken_smooth, s->angles, half, filter, TAPS, low);
  ISA_PICK(recon_wavelet_double)(taken_detail, s->angles, half, filter, TAPS, high);
  ISA_PICK(recon_wavelet_join)(low, high, s->angles, s->columns, filter, TAPS, taken);
}

/* From level `at` down; `taken` [angles][columns] of what is to be subtracted. */
static enum status take_stripes(struct scale *s, int levels, double sigma, float *low, float *high,
                                float *taken) {
  int64_t half = s->columns / 2, quarter = s->angles / 2 * half;
  float *detail = NULL, *below = NULL;
  struct scale next  = {s->angles / 2, half, NULL};
  enum status status = memory_make_raw(quarter, sizeof *detail, "details", &detail);
  if (status == STATUS_OK) status = memory_make(quarter, sizeof *below, "details", &below);
  if (status == STATUS_OK)
    status = memory_make_raw(quarter, sizeof *next.smooth, "details", &next.smooth);
  if (status == STATUS_OK) {
    ISA_PICK(recon_wavelet_split)(s->smooth, s->angles, s->columns, filter, TAPS, low, high);
    ISA_PICK(recon_wavelet_halve)(low, s->angles, half, filter, TAPS, next.smooth);
    ISA_PICK(recon_wavelet_halve)(high, s->angles, half, filter, TAPS, detail);
    if (levels > 1) status = take_stripes(&next, levels - 1, sigma, low, high, below);
  }
  /* the detail's memory first gives, then takes what is slow in it */
  if (status == STATUS_OK) status = recon_rings_slow(detail, next.angles, half, sigma, next.smooth);
  if (status == STATUS_OK) carry_up(s, below, next.smooth, low, high, taken);
  memory_free(detail);
  memory_free(below);
  memory_free(next.smooth);
  return status;
}

enum status recon_rings_wavelet(const struct recon_rings *rings, float *sinogram, int64_t angles,
                                int64_t columns) {
  int levels     = levels_of(angles, columns);
  struct scale s = {framed(angles, levels), framed(columns, levels), NULL};
  int64_t all    = s.angles * s.columns;
  float *low = NULL, *high = NULL, *taken = NULL;
  enum status status = memory_make_raw(all, sizeof *s.smooth, "a framed sinogram", &s.smooth);
  if (status == STATUS_OK) status = memory_make_raw(all / 2, sizeof *low, "details", &low);
  if (status == STATUS_OK) status = memory_make_raw(all / 2, sizeof *high, "details", &high);
  if (status == STATUS_OK) status = memory_make_raw(all, sizeof *taken, "stripes", &taken);
  for (int64_t i = 0; i < all && status == STATUS_OK; i++)
    s.smooth[i] = sinogram[reflect(i / s.columns - FRAME, angles) * columns +
                           reflect(i % s.columns - FRAME, columns)];
  if (status == STATUS_OK) status = take_stripes(&s, levels, rings->sigma, low, high, taken);
  for (int64_t a = 0; a < angles && status == STATUS_OK; a++)
    for (int64_t c = 0; c < columns; c++)
      sinogram[a * columns + c] -= taken[(a + FRAME) * s.columns + c + FRAME];
  memory_free(s.smooth);
  memory_free(low);
  memory_free(high);
  memory_free(taken);
  return status;
}
