/* Frames of a scan: rows of all projections, or whole projections, cropped and binned. */
#include "raw_tomo_private.h"
#include <string.h>

/* A box of the dataset, whole pixels of the detector, as float32 [frame][row][column]. */
static enum status read_pixels(MPI_Comm comm, const struct raw_tomo *scan, struct store_input *from,
                               int64_t first, int64_t n, int64_t row0, int64_t rows, float *to) {
  int64_t columns               = scan->columns * scan->bin;
  int64_t start[3]              = {first, row0, scan->column0},
          count[3]              = {rows ? n : 0, rows, rows ? columns : 0};
  const struct store_info *info = store_info(from);
  if (scan->is_sinogram && info->rank == 2) start[1] = start[2], count[1] = count[2];
  if (scan->is_sinogram && info->rank == 3 && info->n[1] > 1) {
    start[0] = 0, start[1] = first;
    count[0] = rows ? 1 : 0, count[1] = rows ? n : 0;
  }
  return store_read_box(comm, from, start, count, GRID_F32, false, to);
}

static void bin_pixels(const float *from, int64_t lines, int64_t columns, int64_t high, int64_t bin,
                       float *to) {
  float share = 1 / (float)(high * bin);
  for (int64_t i = 0; i < lines; i++, from += high * columns * bin)
    for (int64_t c = 0; c < columns; c++) {
      float sum = 0;
      for (int64_t y = 0; y < high; y++)
        for (int64_t x = 0; x < bin; x++) sum += from[y * columns * bin + c * bin + x];
      to[i * columns + c] = sum * share;
    }
}

enum status tomo_read_frames(MPI_Comm comm, const struct raw_tomo *scan, struct store_input *from,
                             int64_t first, int64_t n, int64_t row0, int64_t rows, float *to) {
  int64_t bin = scan->bin, high = scan->is_sinogram ? 1 : bin;
  if (bin == 1) return read_pixels(comm, scan, from, first, n, row0, rows, to);
  float *pixel;
  TRY_ALL(comm, memory_make_raw(n * rows * high * scan->columns * bin, sizeof *pixel,
                                "pixels to be binned", &pixel));
  enum status status = read_pixels(comm, scan, from, first, n, row0 * high, rows * high, pixel);
  if (status == STATUS_OK) bin_pixels(pixel, n * rows, scan->columns, high, bin, to);
  memory_free(pixel);
  return status;
}

/* The frames of one read: buffers of about 64 MB on the busiest rank. */
static int64_t frames_per_read(MPI_Comm comm, const struct raw_tomo *scan, int64_t rows,
                               int64_t frames) {
  int64_t most = rows, bin = scan->bin;
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, comm);
  int64_t each = 4 * scan->columns * (most ? most : 1) * (bin > 1 ? bin * bin + 1 : 1),
          n    = ((int64_t)64 << 20) / each;
  return n < 1 ? 1 : n < frames ? n : frames;
}

/* Rows of frames to rows of sinograms. */
static void place_frames(const struct raw_tomo *scan, int64_t first, int64_t n, int64_t rows,
                         const float *frames, int64_t *projection, struct grid_field *sinogram) {
  for (; *projection < scan->projections && scan->frame[*projection] < first + n; ++*projection) {
    const float *from = frames + (scan->frame[*projection] - first) * rows * scan->columns;
    float *to         = (float *)sinogram->data + *projection * sinogram->row[1];
    for (int64_t r = 0; r < rows; r++)
      memcpy(to + r * sinogram->row[0], from + r * scan->columns,
             (size_t)scan->columns * sizeof *to);
  }
}

/* The next frame that is wanted, at or after `first`: flats between projections, and what is thinned out, are not
 * read where whole reads can be spared. */
static int64_t next_wanted(const struct raw_tomo *scan, int64_t projection, int64_t first) {
  if (projection >= scan->projections) return first;
  return scan->frame[projection] > first ? scan->frame[projection] : first;
}

enum status raw_tomo_read(MPI_Comm comm, struct raw_tomo *scan, int64_t row0,
                          struct grid_field *sinogram) {
  int64_t rows = sinogram->mine.n[0], frames = scan->frame[scan->projections - 1] + 1,
          projection = 0;
  int64_t each       = frames_per_read(comm, scan, rows, frames);
  float *buffer      = NULL;
  enum status status = fault_here("raw.read");
  if (status == STATUS_OK)
    status = memory_make_raw(each * rows * scan->columns, sizeof *buffer, "frames", &buffer);
  status = AGREE(comm, status);
  for (int64_t first = next_wanted(scan, 0, 0); first < frames && status == STATUS_OK;) {
    int64_t n = first + each < frames ? each : frames - first;
    status    = tomo_read_frames(comm, scan, scan->data, first, n, row0 + sinogram->mine.start[0],
                                 rows, buffer);
    if (status == STATUS_OK) place_frames(scan, first, n, rows, buffer, &projection, sinogram);
    first = next_wanted(scan, projection, first + n);
  }
  memory_free(buffer);
  return status;
}

/* Reads one after the other: ranks own runs of projections, whose frames need not follow one another. */
enum status raw_tomo_read_projections(MPI_Comm comm, struct raw_tomo *scan, int64_t first,
                                      struct grid_field *frames) {
  int64_t mine = frames->mine.n[0], most = mine;
  TRY_ALL(comm, fault_here("raw.read"));
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, comm);
  for (int64_t i = 0; i < most; i++) {
    bool has      = i < mine;
    int64_t frame = has ? scan->frame[first + frames->mine.start[0] + i] : 0;
    TRY(tomo_read_frames(comm, scan, scan->data, frame, has, 0, has ? scan->rows : 0,
                         (float *)frames->data + (has ? i * frames->row[0] : 0)));
  }
  return STATUS_OK;
}
