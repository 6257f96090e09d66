/* Private: stripes out of sinograms, rings out of slices. */
#pragma once
#include "recon.h"

struct recon_rings {
  const char *method; /* borrowed; "none", "vo", "vo-all", ... (recon_rings.c) */
  int64_t width;      /* columns of the sorting median, and of what smooths coefficients */
  int64_t wide; /* columns of the median that large, dead and interpolated stripes are told by */
  double sd;    /* a column is a stripe this many deviations off */
  double sigma; /* half width, in cycles per scan, of what counts as constant along the angle */
  double alpha; /* ti: weight of small stripes against smooth columns */
};
/* Local. In place, a sinogram [angles][columns] of attenuation. */
enum status recon_rings_remove(const struct recon_rings *rings, float *sinogram, int64_t angles,
                               int64_t columns);
/* Bytes of workspace. */
int64_t recon_rings_bytes(const struct recon_rings *rings, int64_t angles, int64_t columns);

/* The methods. In attenuation a pixel's gain is an offset, so stripes are subtracted where the papers, which work on
 * transmission, divide. */
enum status recon_rings_sort(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_all(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_large(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_dead(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_interpolate(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_filter(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_fit(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_raven(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_titarenko(const struct recon_rings *, float *, int64_t, int64_t);
enum status recon_rings_wavelet(const struct recon_rings *, float *, int64_t, int64_t);

/* Local. The lowest components along the angle: cosines with 0 .. n - 1 half cycles, basis[n][angles], orthonormal. */
void recon_rings_cosines(int64_t angles, int64_t n, float *basis);
/* A sinogram [angles][columns] without its slow part along the angle: value -= the part below sigma cycles. */
enum status recon_rings_slow(float *value, int64_t angles, int64_t columns, double sigma,
                             float *slow);

/* coefficient[n][columns] = basis[n][angles] value[angles][columns]; and value += sign basis' coefficient. */
ISA_DECLARE(void, recon_rings_project, const float *value, int64_t angles, int64_t columns,
            const float *basis, int64_t n, float *coefficient)
ISA_DECLARE(void, recon_rings_add, const float *coefficient, int64_t angles, int64_t columns,
            const float *basis, int64_t n, float sign, float *value)
/* roughness[c] += |value - mean over the window of `half` angles to both sides|, window sums kept in sum[columns]. */
ISA_DECLARE(void, recon_rings_roughness, const float *value, int64_t angles, int64_t columns,
            int64_t half, float *sum, float *roughness)

/* One level of an orthonormal wavelet transform, periodic; low-pass filter of `taps`.
 * Along columns: lines [n][columns] to low and high [n][columns / 2]; back: added to `value`, which is cleared. */
ISA_DECLARE(void, recon_wavelet_split, const float *value, int64_t n, int64_t columns,
            const float *filter, int64_t taps, float *low, float *high)
ISA_DECLARE(void, recon_wavelet_join, const float *low, const float *high, int64_t n,
            int64_t columns, const float *filter, int64_t taps, float *value)
/* Along the angle, the low half alone: [n][columns] to [n / 2][columns], and back. */
ISA_DECLARE(void, recon_wavelet_halve, const float *value, int64_t n, int64_t columns,
            const float *filter, int64_t taps, float *low)
ISA_DECLARE(void, recon_wavelet_double, const float *low, int64_t n, int64_t columns,
            const float *filter, int64_t taps, float *value)
