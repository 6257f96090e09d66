/* The pinhole camera: which part of the sample an XCS pixel sees, and the averages of CT maps over it. */
#pragma once
#include "base.h"

struct pinhole_camera {
  int64_t rows, columns; /* of the detector */
  double pitch_mm;       /* of its pixels */
  double pinhole_mm;     /* pinhole above the sheet */
  double detector_mm;    /* detector above the pinhole */
  double hole_mm;        /* diameter of the pinhole */
  double beam_deg;       /* direction of the beam in the sample's x-y plane, 90 = +y */
  bool beam_along_rows;  /* detector rows run along the beam instead of columns */
};
/* Where the XCS grid lies on the CT's: scale about the middle, rotation, then shift. */
struct pinhole_registration {
  double scale, rotation_deg, shift_x_mm, shift_y_mm;
};
/* Sample position seen at detector position (row, column; fractions allowed), mm from the CT slice's
 * middle. The image is inverted by the pinhole: u = (column - (columns-1)/2) pitch is seen at
 * -u pinhole_mm/detector_mm along the beam. */
void pinhole_sample_point(const struct pinhole_camera *camera,
                          const struct pinhole_registration *registration, double row,
                          double column, double *x_mm, double *y_mm);

/* A CT map with its running sums, so that any box's mean costs four look-ups. */
struct pinhole_map {
  int64_t ny, nx;
  double voxel_mm;
  double *sum, *count; /* (ny+1)(nx+1); NaN pixels do not count */
};
enum status pinhole_map_make(const double *map, int64_t ny, int64_t nx, double voxel_mm,
                             struct pinhole_map *made);
void pinhole_map_free(struct pinhole_map *map);
/* Mean of the map over the box about (x, y) of the given widths, with fractional voxels at its edges; NaN where
 * less than half of the box lies in what the map knows. */
double pinhole_box_mean(const struct pinhole_map *map, double x_mm, double y_mm, double width_x_mm,
                        double width_y_mm);

/* The map as the detector sees it: each pixel's square convolved with the pinhole's disc at the sample
 * ((1 + pinhole/detector) hole), by 37 points of the disc times 4 x 4 boxes of the pixel. out[rows][columns]. */
void pinhole_project(const struct pinhole_camera *camera,
                     const struct pinhole_registration *registration, const struct pinhole_map *map,
                     double *out);

/* Detector rows row0 .. row1 - 1 of it alone, by 19 points times 3 x 3 boxes; out[rows][columns], the others untouched. */
void pinhole_project_rows(const struct pinhole_camera *camera,
                          const struct pinhole_registration *registration,
                          const struct pinhole_map *map, int64_t row0, int64_t row1, double *out);

/* Finds the registration that makes the projection of `map` most like `seen` (correlation coefficient over pixels
 * known to both), starting from `registration`; quality is that coefficient (NaN, and the start kept, where
 * fewer than 16 pixels are). Search: shifts on a grid of two
 * pixels within reach_mm, then simplex on all four. */
enum status pinhole_register(const struct pinhole_camera *camera, const struct pinhole_map *map,
                             const double *seen, double reach_mm,
                             struct pinhole_registration *registration, double *quality);
/* The coefficient at one registration, and how many pixels are known to both (fewer than 16: -1). */
enum status pinhole_likeness(const struct pinhole_camera *camera, const struct pinhole_map *map,
                             const double *seen, const struct pinhole_registration *registration,
                             double *likeness, int64_t *pixels);
