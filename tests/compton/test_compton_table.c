/* Mixtures of line shapes from the points that bins need. np: 1 */
#include "check.h"
#include "compton_profile_private.h"
#include "compton_spectrum.h"
#include <math.h>
#include <stdlib.h>

/* What was not made is not read: it is NAN here. */
TEST(bins_read_nothing_outside_of_their_span) {
  struct compton_profile_settings s = compton_profile_defaults();
  struct compton_table *t;
  CHECK_OK(compton_table_make(&s, SPECTRUM_FIRST_KEV, SPECTRUM_BIN_KEV, SPECTRUM_BINS, &t));
  const double part[COMPTON_SHAPES] = {1, 0.5, 0.2};
  const int64_t n                   = t->end - t->begin;
  double *from[2] = {calloc((size_t)(2 * t->padded), 8), calloc((size_t)(2 * t->padded), 8)};
  double *bins[2] = {calloc((size_t)n, 8), calloc((size_t)n, 8)};
  double *room    = calloc((size_t)(3 * (n + 1)), 8);
  for (int k = -2; k <= 2; k++) {
    const double angle = (s.reference_deg + 8 * k) * acos(-1) / 180, scale = 1 + 0.02 * k,
                 line  = xray_line_kev(s.beam_kev, angle);
    struct table_at at = {.held = false};
    CHECK_OK(compton_table_at(t, angle, s.fwhm_kev, &at));
    for (int span = 0; span < 2; span++) {
      for (int64_t i = 0; i < 2 * t->padded; i++) from[span][i] = NAN;
      if (span) compton_table_span(t, line, scale, &at);
      compton_table_mix(t, &at, part, from[span], from[span] + t->padded);
      compton_table_bins(t, from[span], from[span] + t->padded, line, scale, 0, room, bins[span],
                         NULL);
    }
    CHECK(at.end - at.begin < t->padded, "all %lld points", (long long)t->padded);
    for (int64_t b = 0; b < n; b++)
      CHECK(isfinite(bins[1][b]) && bins[0][b] == bins[1][b], "bin %lld: %g, not %g", (long long)b,
            bins[1][b], bins[0][b]);
  }
  for (int i = 0; i < 2; i++) {
    free(from[i]);
    free(bins[i]);
  }
  free(room);
  compton_table_free(t);
}
