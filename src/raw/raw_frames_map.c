/* Maps of one value per pixel: gain, offset, threshold. */
#include "raw_frames.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MOST_BYTES = 256 << 20 };

static bool is_gap(char c) { return c && strchr(" \t\r\n,;", c); }

static int line_of(const char *text, const char *at) {
  int line = 1;
  for (; text < at; text++) line += *text == '\n';
  return line;
}

static enum status text_parse(const char *name, const char *text, int64_t rows, int64_t columns,
                              double *value) {
  int64_t n = 0, wanted = rows * columns;
  for (const char *at = text; *at;) {
    if (is_gap(*at)) {
      at++;
      continue;
    }
    if (*at == '#') {
      at += strcspn(at, "\n");
      continue;
    }
    char *end;
    double read = strtod(at, &end);
    if (end == at || (*end && !is_gap(*end) && *end != '#'))
      return FAIL(STATUS_INPUT, "%s:%d: \"%.*s\" is no number; one value per pixel is wanted", name,
                  line_of(text, at), (int)strcspn(at, " \t\r\n,;#") % 40, at);
    if (n < wanted) value[n] = read;
    n++;
    at = end;
  }
  if (n != wanted)
    return FAIL(STATUS_INPUT, "%s has %lld values; %lld x %lld pixels want %lld", name,
                (long long)n, (long long)rows, (long long)columns, (long long)wanted);
  return STATUS_OK;
}

static enum status text_read(MPI_Comm comm, const char *name, int64_t rows, int64_t columns,
                             double *value) {
  char *text;
  int64_t n;
  TRY(file_bytes(comm, name, TEXT_MOST_BYTES, &text, &n));
  enum status status = AGREE(comm, text_parse(name, text, rows, columns, value));
  memory_free(text);
  return status;
}

static enum status shape_check(const struct store_info *info, int64_t rows, int64_t columns) {
  int last    = info->rank - 1;
  int64_t all = 1;
  for (int a = 0; a < info->rank; a++) all *= info->n[a];
  if (info->rank >= 2 && info->n[last] == columns && info->n[last - 1] == rows &&
      all == rows * columns)
    return STATUS_OK;
  return FAIL(STATUS_INPUT,
              "%s:%s has %lld values on %d axes; a map of %lld x %lld pixels is "
              "wanted",
              info->file, info->dataset, (long long)all, info->rank, (long long)rows,
              (long long)columns);
}

static enum status hdf5_read(MPI_Comm comm, const char *name, int64_t rows, int64_t columns,
                             double *value) {
  struct store_input *input     = NULL;
  int64_t start[STORE_RANK_MAX] = {0};
  TRY(store_open(comm, name, NULL, 0, &input));
  enum status status = AGREE(comm, shape_check(store_info(input), rows, columns));
  if (status == STATUS_OK)
    status = store_read_box(comm, input, start, store_info(input)->n, GRID_F64, false, value);
  store_close(&input);
  return status;
}

/* A file that exists by the whole name and does not begin as HDF5 does is text. */
static bool looks_like_text(const char *name) {
  char head[8] = "";
  FILE *file   = fopen(name, "rb");
  if (!file) return false;
  size_t got = fread(head, 1, sizeof head, file);
  fclose(file);
  return got < sizeof head || memcmp(head, "\211HDF\r\n\032\n", 8) != 0;
}

enum status raw_map_read(MPI_Comm comm, const char *name, int64_t rows, int64_t columns,
                         double *value) {
  int rank, text = 0;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) text = looks_like_text(name);
  MPI_Bcast(&text, 1, MPI_INT, 0, comm);
  return text ? text_read(comm, name, rows, columns, value)
              : hdf5_read(comm, name, rows, columns, value);
}
