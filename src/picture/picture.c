/* PNG through libpng, of arrays and of slices of distributed fields. */
#include "picture.h"
#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAST = 1, LARGE = 1 << 20 };

/* libpng reports by longjmp: nothing here needs freeing but what the caller holds. */
static bool write_rows(png_structp png, png_infop info, FILE *to, const uint8_t *rgb, int64_t ny,
                       int64_t nx) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_init_io(png, to);
  png_set_IHDR(png, info, (png_uint_32)nx, (png_uint_32)ny, 8, PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (ny * nx > LARGE) { /* a fifth of the time; a slice of a tomogram comes out no larger */
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_SUB);
    png_set_compression_level(png, FAST);
  }
  png_write_info(png, info);
  for (int64_t y = 0; y < ny; y++) png_write_row(png, rgb + 3 * y * nx);
  png_write_end(png, NULL);
  return true;
}

static bool write_png(FILE *to, const uint8_t *rgb, int64_t ny, int64_t nx) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info  = png ? png_create_info_struct(png) : NULL;
  bool good       = info && write_rows(png, info, to, rgb, ny, nx);
  if (png) png_destroy_write_struct(&png, info ? &info : NULL);
  return good;
}

static enum status write_file(const char *path, const uint8_t *rgb, int64_t ny, int64_t nx) {
  char partial[2100];
  snprintf(partial, sizeof partial, "%s.partial", path);
  FILE *to = fopen(partial, "wb");
  if (!to) return FAIL(STATUS_OUTPUT, "%s cannot be written: %s", partial, strerror(errno));
  bool good = write_png(to, rgb, ny, nx);
  good      = fflush(to) == 0 && fsync(fileno(to)) == 0 && good;
  good      = fclose(to) == 0 && good;
  if (good && rename(partial, path) == 0) return STATUS_OK;
  unlink(partial);
  return FAIL(STATUS_MEMORY, "the picture %s could not be written whole: %s", path,
              strerror(errno));
}

enum status picture_png(const char *path, const float *value, int64_t ny, int64_t nx, double low,
                        double high, enum picture_map map) {
  uint8_t *rgb;
  TRY(memory_make_raw(3 * ny * nx, 1, "a picture", &rgb));
  picture_colours(value, ny, nx, low, high, map, rgb);
  enum status status = write_file(path, rgb, ny, nx);
  memory_free(rgb);
  return status;
}

enum status picture_png_bytes(const uint8_t *rgb, int64_t ny, int64_t nx, char **bytes, size_t *n) {
  *bytes    = NULL;
  *n        = 0;
  FILE *to  = open_memstream(bytes, n);
  bool good = to && write_png(to, rgb, ny, nx);
  if (to) good = fclose(to) == 0 && good;
  if (good) return STATUS_OK;
  free(*bytes);
  *bytes = NULL;
  return FAIL(STATUS_MEMORY, "no memory for a picture of %lld x %lld", (long long)ny,
              (long long)nx);
}

/* ---- a slice of a distributed field ------------------------------------------------------------------ */

static double value_of(const struct grid_field *f, int64_t at) {
  switch (f->type) {
  case GRID_F32:
    return (double)((const float *)f->data)[at];
  case GRID_U16:
    return ((const uint16_t *)f->data)[at];
  case GRID_U8:
    return ((const uint8_t *)f->data)[at];
  default:
    return (double)NAN;
  }
}

struct slice {
  int axis, rows, columns; /* the field's axes that become the picture's */
  int64_t at, k, ny, nx;   /* k x k voxels per pixel */
};

static struct slice slice_of(const struct grid_field *f, int axis, int64_t at) {
  struct slice s = {axis, axis == 0 ? 1 : 0, axis == 2 ? 1 : 2, at, 1, 0, 0};
  int64_t longest =
      f->plan.n[s.rows] > f->plan.n[s.columns] ? f->plan.n[s.rows] : f->plan.n[s.columns];
  s.k  = (longest + 2047) / 2048;
  s.ny = (f->plan.n[s.rows] + s.k - 1) / s.k;
  s.nx = (f->plan.n[s.columns] + s.k - 1) / s.k;
  return s;
}

/* Sums of this rank's voxels into pixels (one voxel of one rank, or few: the order within a pixel is fixed by
 * the raster; the picture is to look at, so bits may differ between rank counts by rounding). */
static void add_mine(const struct grid_field *f, const struct slice *s, float *pixel) {
  int64_t p[3];
  p[s->axis] = s->at - f->mine.start[s->axis];
  if (p[s->axis] < 0 || p[s->axis] >= f->mine.n[s->axis]) return;
  for (int64_t i = 0; i < f->mine.n[s->rows]; i++)
    for (int64_t j = 0; j < f->mine.n[s->columns]; j++) {
      p[s->rows] = i, p[s->columns] = j;
      int64_t at = grid_field_origin(f) + p[0] * f->row[0] + p[1] * f->row[1] + p[2];
      int64_t y = (i + f->mine.start[s->rows]) / s->k, x = (j + f->mine.start[s->columns]) / s->k;
      pixel[y * s->nx + x] += (float)value_of(f, at);
    }
}

/* Sums to means: pixels at the far edges hold fewer voxels. */
static void to_means(const struct grid_field *f, const struct slice *s, float *pixel) {
  for (int64_t y = 0; y < s->ny; y++)
    for (int64_t x = 0; x < s->nx; x++) {
      int64_t high = f->plan.n[s->rows] - y * s->k, wide = f->plan.n[s->columns] - x * s->k;
      pixel[y * s->nx + x] /= (float)((high < s->k ? high : s->k) * (wide < s->k ? wide : s->k));
    }
}

/* The value that would stand at `place` if all were sorted (Hoare 1961). */
static float value_at_place(float *value, int64_t n, int64_t place) {
  int64_t low = 0, high = n - 1;
  while (low < high) {
    float middle = value[low + (high - low) / 2];
    int64_t i = low - 1, j = high + 1;
    for (;;) {
      do i++;
      while (value[i] < middle);
      do j--;
      while (value[j] > middle);
      if (i >= j) break;
      float swap = value[i];
      value[i] = value[j], value[j] = swap;
    }
    if (place <= j)
      high = j;
    else
      low = j + 1;
  }
  return value[place];
}

enum status picture_range(const float *value, int64_t n, double *low, double *high) {
  float *finite;
  int64_t known = 0;
  TRY(memory_make_raw(n, sizeof *finite, "a picture's values", &finite));
  for (int64_t i = 0; i < n; i++)
    if (isfinite(value[i])) finite[known++] = value[i];
  *low  = known ? (double)value_at_place(finite, known, known / 200) : 0;
  *high = known ? (double)value_at_place(finite, known, known - 1 - known / 200) : 1;
  if (!(*high > *low)) *high = *low + 1e-6 * (*low != 0 ? fabs(*low) : 1);
  memory_free(finite);
  return STATUS_OK;
}

static enum status write_slice(const char *path, const struct slice *s, const float *pixel) {
  double low, high;
  TRY(picture_range(pixel, s->ny * s->nx, &low, &high));
  return picture_png(path, pixel, s->ny, s->nx, low, high, PICTURE_GREY);
}

enum status picture_slice(MPI_Comm comm, const struct grid_field *field, int axis, int64_t at,
                          const char *path) {
  struct slice s = slice_of(field, axis, at);
  float *pixel;
  TRY_ALL(comm, memory_make(s.ny * s.nx, sizeof *pixel, "a picture", &pixel));
  add_mine(field, &s, pixel);
  MPI_Reduce(field->plan.rank == 0 ? MPI_IN_PLACE : pixel, pixel, (int)(s.ny * s.nx), MPI_FLOAT,
             MPI_SUM, 0, comm);
  enum status status = STATUS_OK;
  if (field->plan.rank == 0) {
    to_means(field, &s, pixel);
    status = write_slice(path, &s, pixel);
  }
  memory_free(pixel);
  return AGREE(comm, status);
}

/* One voxel stands for a pixel: stages have no mean. */
static void take_mine(const struct grid_field *f, const struct slice *s, float *pixel) {
  int64_t p[3];
  p[s->axis] = s->at - f->mine.start[s->axis];
  if (p[s->axis] < 0 || p[s->axis] >= f->mine.n[s->axis]) return;
  for (int64_t y = 0; y < s->ny; y++)
    for (int64_t x = 0; x < s->nx; x++) {
      p[s->rows]    = y * s->k - f->mine.start[s->rows];
      p[s->columns] = x * s->k - f->mine.start[s->columns];
      bool here     = true;
      for (int a = 0; a < 3; a++) here &= p[a] >= 0 && p[a] < f->mine.n[a];
      if (here)
        pixel[y * s->nx + x] =
            (float)value_of(f, grid_field_origin(f) + p[0] * f->row[0] + p[1] * f->row[1] + p[2]);
    }
}

enum status picture_stages(MPI_Comm comm, const struct grid_field *field, int axis, int64_t at,
                           const char *path) {
  struct slice s = slice_of(field, axis, at);
  float *pixel;
  TRY_ALL(comm, memory_make(s.ny * s.nx, sizeof *pixel, "a picture", &pixel));
  take_mine(field, &s, pixel);
  MPI_Reduce(field->plan.rank == 0 ? MPI_IN_PLACE : pixel, pixel, (int)(s.ny * s.nx), MPI_FLOAT,
             MPI_SUM, 0, comm);
  enum status status = field->plan.rank == 0
                           ? picture_png(path, pixel, s.ny, s.nx, 0, 255, PICTURE_STAGES)
                           : STATUS_OK;
  memory_free(pixel);
  return AGREE(comm, status);
}
