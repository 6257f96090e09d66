#pragma once
#include "store.h"

/* Detector frames of one acquisition, from one or several files in order: headerless uint16 little-endian (any name
 * that is no HDF5 file), or HDF5 as odin-data writes it (`raw_frames` uint16, else `processed_frames` float32 keV;
 * another dataset of 3 axes as FILE:DATASET). */
struct raw_frames_request {
  const char *const *file; /* borrowed */
  int files;
  bool interleaved; /* word w of a row of a uint16 frame is column w / 4 + columns / 4 (w mod 4) */
  int64_t rows, columns; /* of headerless files, 0 = 80; HDF5 files say theirs */
};
