/* picture: PNG of maps and slices. */
#pragma once
#include "grid.h"

enum picture_map { PICTURE_GREY, PICTURE_VIRIDIS };

/* Local. A PNG of value[ny][nx] (row 0 on top) between low and high, NaN as light magenta; written whole or not
 * at all (temporary name, rename). OUTPUT when it cannot be written. */
enum status picture_png(const char *path, const float *value, int64_t ny, int64_t nx, double low,
                        double high, enum picture_map map);

/* Collective; rank 0 writes. Slice `at` across axis (0: a y-x picture, 1: z-x, 2: z-y) of a float32, uint8 or
 * uint16 field, averaged k x k so that no side passes 2048 pixels; grey range: the 0.5 % and 99.5 % quantiles. */
enum status picture_slice(MPI_Comm comm, const struct grid_field *field, int axis, int64_t at,
                          const char *path);
