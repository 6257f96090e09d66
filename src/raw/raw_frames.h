#pragma once
#include "store.h"

/* ---- frames ------------------------------------------------------------------------------------ */

/* Detector frames of one acquisition, from one or several files in order: headerless uint16 little-endian, or HDF5
 * as odin-data writes it (`raw_frames` uint16 in ADU, else `processed_frames` float32 in keV; another dataset of 3
 * axes as FILE:DATASET). Frames of HDF5 files are images in raster order. Or files of hits (raw_hits.h). */
struct raw_frames_request {
  const char *const *file; /* borrowed */
  int files;
  bool interleaved;      /* headerless: word w of a row is column w / 4 + columns / 4 (w mod 4) */
  int64_t rows, columns; /* of headerless files, 0 = 80; HDF5 files say theirs */
};

struct raw_frames_file {
  const char *name; /* borrowed */
  int64_t first, frames;
  int64_t first_word, words; /* of hits; see raw_hits.h */
  struct store_input *input; /* NULL: headerless, or hits */
};
struct raw_frames {
  int64_t rows, columns, words; /* words of a frame = rows x columns */
  int64_t frames;               /* of all files */
  bool headerless;              /* then raw_frames_read_here serves too */
  bool is_hits;                 /* files of hits, which are read by raw_hits_read_here alone */
  int64_t hit_words;            /* of all files */
  bool interleaved;
  bool in_kev; /* float32 keV instead of uint16 ADU */
  struct raw_frames_file *file;
  int files;
  int open, handle; /* the headerless file that is open; -1 none */
};
/* Collective. INPUT: no frames, a short last frame, another detector or kind than the first file. */
enum status raw_frames_open(MPI_Comm comm, const struct raw_frames_request *request,
                            struct raw_frames *frames);
void raw_frames_close(struct raw_frames *frames);
/* Collective. This rank's frames first .. first + n - 1 (n = 0: none) of the acquisition into `to`
 * [n][words], uint16 or, in keV, float. */
enum status raw_frames_read(MPI_Comm comm, struct raw_frames *frames, int64_t first, int64_t n,
                            void *to);
/* Local; headerless files only. */
enum status raw_frames_read_here(struct raw_frames *frames, int64_t first, int64_t n, uint16_t *to);
/* Local. Pixel (raster order) of word w of a frame. */
int64_t raw_frames_pixel(const struct raw_frames *frames, int64_t word);

/* Collective. A map of one value per pixel, rows x columns in raster order, on all ranks: text (values apart by blanks,
 * commas, semicolons, new lines; # begins a comment) or HDF5. INPUT: another number of values, words. */
enum status raw_map_read(MPI_Comm comm, const char *name, int64_t rows, int64_t columns,
                         double *value);

/* ---- spectra ----------------------------------------------------------------------------------- */

/* A file of spectra per pixel: HDF5 with `pixel_spectra` [(1,) row, column, bin] and `spectra_bins` (lower edges, or
 * middles where its attribute `position` says "centre"), or .hxt of version 1 or 3. */
struct raw_spectra {
  const char *name; /* borrowed */
  int64_t rows, columns, bins;
  double first_kev, bin_kev; /* lower edge of the first bin, width */
  struct store_input *input; /* NULL: .hxt */
  int64_t data_bytes;        /* .hxt: where the spectra begin */
};
/* Collective. Is it a file of spectra, rather than frames or something else? */
enum status raw_spectra_is(MPI_Comm comm, const char *name, bool *is);
/* Collective. INPUT: bins of unequal width, a file too short. */
enum status raw_spectra_open(MPI_Comm comm, const char *name, struct raw_spectra *spectra);
void raw_spectra_close(struct raw_spectra *spectra);
/* Collective. Spectra of this rank's pixels pixel0 .. pixel0 + n - 1 in raster order, into `to` [n][bins]. */
enum status raw_spectra_read(MPI_Comm comm, struct raw_spectra *spectra, int64_t pixel0, int64_t n,
                             double *to);
