/* picture: colour maps, PNG of maps and slices; drawings and plots in SVG are in picture_draw.h. */
#pragma once
#include "grid.h"

/* GREY; COLOUR: sequential, dark violet to light yellow; DIVERGING: blue, near white, brown. Both are paths through
 * Oklab of even step, whose lightness alone tells the order, so that they serve colour-blind readers. */
enum picture_map {
  PICTURE_GREY,
  PICTURE_COLOUR,
  PICTURE_DIVERGING,
  PICTURE_STAGES /* of maps alone: whole numbers, see picture_stage_colour */
};
/* Local. Of a state's number: 0 black, 1 grey, 2 yellow, 3 dark blue, 4 green, 5 red, further ones anew from 2; from 128
 * on the same, dimmed. */
void picture_stage_colour(double number, uint8_t rgb[3]);

/* Local. The colour at t in 0..1 (beyond: the ends; NaN: light grey). */
void picture_colour(double t, enum picture_map map, uint8_t rgb[3]);
/* Local. rgb[3 ny nx] of value[ny][nx] between low and high. */
void picture_colours(const float *value, int64_t ny, int64_t nx, double low, double high,
                     enum picture_map map, uint8_t *rgb);

/* Local. A PNG of rgb[ny][nx] in memory; the caller free()s *bytes. */
enum status picture_png_bytes(const uint8_t *rgb, int64_t ny, int64_t nx, char **bytes, size_t *n);
/* Local. A PNG of value[ny][nx] (row 0 on top) between low and high; written whole or not
 * at all (temporary name, rename). OUTPUT when it cannot be written. */
enum status picture_png(const char *path, const float *value, int64_t ny, int64_t nx, double low,
                        double high, enum picture_map map);

/* Collective; rank 0 writes. Slice `at` across axis (0: a y-x picture, 1: z-x, 2: z-y) of a float32, uint8 or
 * uint16 field, averaged k x k so that no side passes 2048 pixels; grey range: the 0.5 % and 99.5 % quantiles. */
enum status picture_slice(MPI_Comm comm, const struct grid_field *field, int axis, int64_t at,
                          const char *path);
/* Local. The 0.5 % and 99.5 % quantiles of the finite values: what grey pictures range over. *low < *high. */
enum status picture_range(const float *value, int64_t n, double *low, double *high);

/* Local. Digits, point and minus of `text` into value[ny][nx], their upper left corner at (y, x), each dot `size` x
 * `size` pixels of `ink` on a ground of `paper`; what lies outside is left out. */
void picture_number(float *value, int64_t ny, int64_t nx, int64_t y, int64_t x, int64_t size,
                    const char *text, float ink, float paper);
/* Collective; rank 0 writes. The same slice of a uint8 field in the colours of stages, every k-th voxel. */
enum status picture_stages(MPI_Comm comm, const struct grid_field *field, int axis, int64_t at,
                           const char *path);
