#pragma once
#include "recon.h"

/* The filter's transfer function at the `pad` frequencies of a transform: the ramp from its spatial kernel (so
 * that the zero frequency is right), times the window; filter[pad]. */
enum status recon_filter_make(const struct recon_geometry *geometry, int64_t pad, float *filter);
/* Length of the transform: given, else the least 2^a 3^b 5^c that is even and at least twice the columns. */
int64_t recon_pad(const struct recon_geometry *geometry);
int64_t recon_good_length(int64_t least);

/* The methods: what a geometry needs is made once and used for any number of slices. */
enum status recon_gridding_make(const struct recon_geometry *geometry, void **work);
enum status recon_gridding_slices(void *work, const float *sinogram, int64_t n, float *slice);
void recon_gridding_free(void *work);
enum status recon_direct_make(const struct recon_geometry *geometry, void **work);
enum status recon_direct_slices(void *work, const float *sinogram, int64_t n, float *slice);
void recon_direct_free(void *work);
int64_t recon_gridding_bytes(const struct recon_geometry *geometry);
int64_t recon_direct_bytes(const struct recon_geometry *geometry);

/* slice[y][x] += of one filtered projection (linear interpolation), rows y0..y1. */
ISA_DECLARE(void, recon_smear, float *slice, int64_t columns, const float *projection, double first,
            double step_x, double step_y)
