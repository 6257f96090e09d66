/* Kernels of voxel_resample. */
#pragma once
#include "base.h"

/* A source: data[(z - low[0]) * row[0] + y * row[1] + x] for low[a] <= index <= high[a]; indices beyond are moved to
 * the nearest. */
struct resample_source {
  const float *data;
  int64_t row[2], low[3], high[3];
};
/* to[x] for x < n: the source at start + x step. */
ISA_DECLARE(void, resample_turned, const struct resample_source *source, const double start[3],
            const double step[3], int64_t n, float *to)
/* The same for a step along x of one voxel; line: scratch of n + 4. */
ISA_DECLARE(void, resample_shifted, const struct resample_source *source, const double start[3],
            int64_t n, float *line, float *to)
/* As resample_turned, by Lanczos' kernel. */
ISA_DECLARE(void, resample_lanczos, const struct resample_source *source, const double start[3],
            const double step[3], int64_t n, float *to)
