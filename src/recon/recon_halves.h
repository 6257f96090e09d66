/* Private: a projection's transform between the points that are taken everywhere, where that is needed. */
#pragma once
#include "recon_batch.h"

/* The transform of a projection padded to `side` points gives its "whole" samples; `halves` lie in the middle between
 * two of them, near the frequencies at which the filter has a corner: 0 and Nyquist. */
struct recon_halves;
enum { HALVES_RUN = 64, HALVES_RUNS = 4 }; /* contiguous runs of halves */

/* Whether a geometry is sampled so: else all samples of its padded transform are taken. */
bool recon_halves_serve(const struct recon_geometry *geometry);
/* filter: 2 side points (recon_filter_make). */
enum status recon_halves_make(const float *filter, int64_t side, int64_t columns, int lanes,
                              struct recon_halves **halves);
void recon_halves_free(struct recon_halves **halves);
int64_t recon_halves_bytes(int lanes);
/* What the whole sample m, -side/2 <= m < side/2, is to be multiplied by before recon_halves_fill. */
float recon_halves_weight(const struct recon_halves *halves, const float *filter, int64_t m);
/* whole: lines of samples -side/2 .. side/2 - 1, so multiplied, and turned by exp(2 pi i m shift_px / side); those that
 * wait for it are filtered here. half: lines of HALVES_RUNS runs. */
void recon_halves_fill(struct recon_halves *halves, double shift_px, float *whole, float *half);
/* Place of the first sample of a run on the axis of the whole samples. */
double recon_halves_place(const struct recon_halves *halves, int run);
