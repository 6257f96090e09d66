/* Private: from detector values to clean line integrals. All functions are local and work in place on sinograms
 * [rows][angles][columns]. */
#pragma once
#include "raw.h"
#include "recon.h"

/* What the beam was without the sample. */
struct recon_light {
  const float *flat, *dark; /* [groups][rows][columns]; [rows][columns]; borrowed */
  const int *group;   /* of each projection: its flat is flat[group] + share (next - flat[group]) */
  const float *share; /* borrowed */
  const double *beam; /* intensity of each projection over the flats'; borrowed; NULL: 1 */
  enum raw_tomo_kind kind;
  bool find_pixels; /* columns that do not respond are mended from their neighbours */
};
struct recon_repairs {
  int64_t values; /* without a logarithm */
  int64_t pixels; /* of the detector, dead or hot */
  int64_t zingers;
};
/* -log((I - dark) / (flat - dark) / beam). What has no logarithm takes the mean of its good neighbours along the
 * angle; a pixel that does not respond, or mostly has no logarithm, that of its neighbours in the row. */
enum status recon_normalise(const struct recon_light *light, float *sinogram, int64_t rows,
                            int64_t angles, int64_t columns, struct recon_repairs *repairs);
/* A pixel of a row is bad when what the beam gives there is not finite, under a tenth or over ten times the median of
 * nine neighbours, or its dark lies above their darks by half of what the beam gives. bad[columns] */
void recon_find_pixels(const float *flat, const float *dark, int64_t columns, bool *bad);

/* Values that stick out of their neighbours' range by more than `sd` deviations of the noise (and a hundredth) take
 * the neighbours' mean. "angle": two projections before and after; "row": two columns to both sides; "both": those
 * that stick out of both. */
enum status recon_zingers(const char *how, double sd, float *sinogram, int64_t rows, int64_t angles,
                          int64_t columns, int64_t *found);
/* The same of one whole projection before its phase is retrieved, so that no zinger is spread: `at` of `n` that follow
 * one another, window[n][rows][columns] with two to both sides of it where the scan has them. The noise is the
 * projection's. Its values go to `value`, `room` has 2 rows columns; how many were replaced of the rows counted[0] to
 * counted[1] - 1. */
int64_t recon_zingers_in_projection(const char *how, double sd, const float *window, int64_t n,
                                    int64_t at, int64_t rows, int64_t columns,
                                    const int64_t counted[2], float *room, float *value);
/* found[c] of a line: by how much value sticks out of four neighbours; 0 inside. */
ISA_DECLARE(void, recon_stick_out, const float *const *neighbour, const float *value, int64_t n,
            float *out)

/* Each projection loses the mean of its columns first .. first + n - 1, where there is only air. */
void recon_air(float *sinogram, int64_t rows, int64_t angles, int64_t columns, int64_t first,
               int64_t n);

/* Lines [lines][columns] to lines [lines][wide]: to[c] = from(c - shift), by a sinc under Kaiser's window of eight
 * columns; beyond its ends a line keeps its end values. A whole shift copies. */
enum status recon_shift(const float *from, int64_t lines, int64_t columns, double shift,
                        int64_t wide, float *to);
/* to[i] = sum of tap[k] line[i + k]. */
ISA_DECLARE(void, recon_convolve, const float *line, const float *tap, int64_t taps, int64_t n,
            float *to)
