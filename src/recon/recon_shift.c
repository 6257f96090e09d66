/* Lines moved along the detector, by fractions of a column too: a tilted axis, scans beside one another. */
#include "recon_prepare.h"
#include "recon_private.h"
#include <math.h>
#include <string.h>

enum { REACH = 8, TAPS = 2 * REACH };
#define SHAPE 7.0 /* of the window: waves down to three columns pass to a few 1e-4 */

static double sinc(double x) { return fabs(x) < 1e-9 ? 1 : sin(PI * x) / (PI * x); }

/* Kaiser's window over -1 .. 1. */
static double window_at(double x) {
  return fabs(x) < 1 ? recon_bessel(SHAPE * sqrt(1 - x * x)) : 1;
}

/* Weights of line[i - REACH + 1 ..] for the value at i + part, 0 <= part < 1; sum 1. */
static void make_taps(double part, float *tap) {
  double value[TAPS], sum = 0;
  for (int k = 0; k < TAPS; k++) {
    double x = part - (k - REACH + 1);
    value[k] = sinc(x) * window_at(x / REACH);
    sum += value[k];
  }
  for (int k = 0; k < TAPS; k++) tap[k] = (float)(value[k] / sum);
}

enum status recon_shift(const float *from, int64_t lines, int64_t columns, double shift,
                        int64_t wide, float *to) {
  float tap[TAPS], *line;
  /* to[c] = from(c - shift), c - shift = c + whole + part */
  int64_t whole = (int64_t)floor(-shift);
  double part   = -shift - (double)whole;
  bool copies   = part < 1e-6 || part > 1 - 1e-6;
  if (part > 1 - 1e-6) whole++;
  make_taps(part, tap);
  TRY(memory_make_raw(wide + TAPS, sizeof *line, "a line", &line));
  for (int64_t i = 0; i < lines; i++, from += columns, to += wide) {
    for (int64_t k = 0; k < wide + TAPS; k++) {
      int64_t at = k + whole - REACH + 1;
      line[k]    = from[at < 0 ? 0 : at < columns ? at : columns - 1];
    }
    if (copies)
      memcpy(to, line + REACH - 1, (size_t)wide * sizeof *to);
    else
      ISA_PICK(recon_convolve)(line, tap, TAPS, wide, to);
  }
  memory_free(line);
  return STATUS_OK;
}
