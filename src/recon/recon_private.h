#pragma once
#include "recon.h"

/* The filter's transfer function at the `pad` frequencies of a transform: the ramp from its spatial kernel (so
 * that the zero frequency is right), times the window; filter[pad]. */
enum status recon_filter_make(const struct recon_geometry *geometry, int64_t pad, float *filter);
/* Period of the filtered projections: given, else the least 2^a 3^b 5^c that is even and at least twice the columns, or
 * twice the grid's side where recon_halves.h serves. */
int64_t recon_pad(const struct recon_geometry *geometry);
/* Local. Points of gridding's square grid along an edge. */
int64_t recon_gridding_side(const struct recon_geometry *geometry);
int64_t recon_good_length(int64_t least);
/* The modified Bessel function of the first kind and order 0. */
double recon_bessel(double x);

/* The methods: what a geometry needs is made once and used for any number of slices. */
enum status recon_gridding_make(const struct recon_geometry *geometry, void **work);
enum status recon_gridding_slices(void *work, const float *sinogram, int64_t n, float *slice);
void recon_gridding_free(void *work);
enum status recon_direct_make(const struct recon_geometry *geometry, void **work);
enum status recon_direct_slices(void *work, const float *sinogram, int64_t n, float *slice);
void recon_direct_free(void *work);
enum status recon_sirt_make(const struct recon_geometry *geometry, void **work);
enum status recon_cgls_make(const struct recon_geometry *geometry, void **work);
enum status recon_iterate_slices(void *work, const float *sinogram, int64_t n, float *slice);
void recon_iterate_free(void *work);
int64_t recon_iterate_bytes(const struct recon_geometry *geometry);
int64_t recon_gridding_bytes(const struct recon_geometry *geometry);
int64_t recon_direct_bytes(const struct recon_geometry *geometry);

/* slice[y][x] += of one filtered projection at place first + x step_x + y step_y (linear interpolation) where that is
 * in 0..last. */
ISA_DECLARE(void, recon_smear, float *slice, int64_t columns, const float *projection, int64_t last,
            double first, double step_x, double step_y)

/* The transpose: projection += what the pixels of a slice cast onto the two columns next to their place. */
ISA_DECLARE(void, recon_throw, const float *slice, int64_t columns, float *projection, int64_t last,
            double first, double step_x, double step_y)

/* In place: -log((value - dark) / (flat - dark)) of n values; flat NULL: -log(value). NaN where there is no
 * logarithm; gives how many these are. */
ISA_DECLARE(int64_t, recon_logarithm, float *value, int64_t n, const float *flat, const float *dark)

/* Sorting of columns: recon_sort_lanes() of them from column `first` on; value, order [lanes][pitch] ascending, ties by
 * angle; buffer holds 2 angles words, tile [lanes][pitch]. Columns past the last are left out. */
ISA_DECLARE(int, recon_sort_lanes, void)
ISA_DECLARE(void, recon_sort_columns, const float *sinogram, int64_t angles, int64_t columns,
            int64_t first, uint64_t *buffer, float *tile, float *value, int32_t *order,
            int64_t pitch)
/* The window's sorted state of `ranks` ranks (a multiple of LANES), state[ranks / LANES][width][LANES]: filled from
 * `width` columns, or moved on: the columns old[i] leave, the columns new[i] enter; out[i] is the median after each
 * of `steps` steps. */
ISA_DECLARE(void, recon_window_fill, const float *const *column, int64_t width, int64_t ranks,
            float *state, float *out)
ISA_DECLARE(void, recon_window_move, const float *const *old, const float *const *new,
            int64_t steps, int64_t width, int64_t ranks, float *state, float *const *out)
/* sinogram[order[i]][c] = value[c][i] for `n` columns, by way of tile [lanes][pitch]. */
ISA_DECLARE(void, recon_sort_back, const float *value, const int32_t *order, int64_t pitch,
            int64_t n, int64_t angles, int64_t columns, float *tile, float *sinogram)
