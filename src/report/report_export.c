/* export: a dataset slice by slice into another form. A slice is the last two axes; its place in the file follows from its
 * number, so that every rank writes its own by itself. TIFF: little-endian pages without compression, each followed by its
 * directory; above 4 GB BigTIFF. VTK: ImageData with its values appended raw. */
#include "report_private.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_OWNER struct export_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "export_params.def"
#include "config_undef.inc"
};
const struct config_set export_param_set = CONFIG_SET("export", struct export_params, rows);

struct job {
  MPI_Comm comm;
  int rank, size;
  struct store_input *input;
  const struct store_info *info;
  int64_t start[STORE_RANK_MAX], n[STORE_RANK_MAX]; /* what is exported */
  int64_t slices, ny, nx;
  size_t bytes; /* of a value */
  const char *path;
  char partial[STORE_NAME_BYTES];
};

/* ---- what ---------------------------------------------------------------------------------------------------------- */

static enum status choose_slice(struct job *job, const char *text) {
  static const char letters[] = "zyx";
  if (!text[0]) return STATUS_OK;
  char *end;
  const char *letter = strchr(letters, text[0]);
  long long at       = text[1] == ':' ? strtoll(text + 2, &end, 10) : -1;
  if (!letter || text[1] != ':' || end == text + 2 || *end)
    return FAIL(STATUS_USAGE, "--slice %s; it would be z:N, y:N or x:N", text);
  int axis = job->info->rank - 3 + (int)(letter - letters);
  if (axis < 0)
    return FAIL(STATUS_USAGE, "--slice %s: %s has %d axes", text, job->info->dataset,
                job->info->rank);
  if (at < 0 || at >= job->info->n[axis])
    return FAIL(STATUS_USAGE, "--slice %s lies outside 0..%lld", text,
                (long long)job->info->n[axis] - 1);
  job->start[axis] = at;
  job->n[axis]     = 1;
  return STATUS_OK;
}

/* Rows and columns are the last two axes that are longer than one; all before them are slices. */
static enum status find_shape(struct job *job) {
  int rank = job->info->rank, columns = rank - 1;
  while (columns > 0 && job->n[columns] == 1) columns--;
  int behind = columns - 1;
  while (behind > 0 && job->n[behind] == 1) behind--;
  job->nx     = rank ? job->n[columns] : 1;
  job->ny     = behind >= 0 ? job->n[behind] : 1;
  job->slices = 1;
  for (int a = 0; a < behind; a++) job->slices *= job->n[a];
  job->bytes = grid_type_bytes(job->info->type);
  if (job->nx < 1 || job->ny < 1 || job->slices < 1)
    return FAIL(STATUS_INPUT, "%s is empty", job->info->dataset);
  return STATUS_OK;
}

/* The box of slice s. */
static void box_of(const struct job *job, int64_t s, int64_t *start, int64_t *n) {
  int64_t rest = s, inner = job->ny * job->nx;
  memcpy(start, job->start, sizeof job->start);
  memcpy(n, job->n, sizeof job->n);
  for (int a = job->info->rank - 1; a >= 0; a--) {
    if (inner > 1) { /* within the slice */
      inner /= job->n[a];
      continue;
    }
    start[a] += rest % job->n[a];
    rest /= job->n[a];
    n[a] = 1;
  }
}

/* Collective: slice `s` of this rank (s < 0: none) as the file's own type or as float. */
static enum status read_slice(struct job *job, int64_t s, enum grid_type type, void *to) {
  int64_t start[STORE_RANK_MAX] = {0}, n[STORE_RANK_MAX] = {0};
  if (s >= 0) box_of(job, s, start, n);
  return store_read_box(job->comm, job->input, start, n, type, false, to);
}

/* ---- bytes in their place ---------------------------------------------------------------------------------------- */

static enum status put_at(const struct job *job, int file, const void *bytes, int64_t n,
                          int64_t at) {
  for (const char *from = bytes; n > 0;) {
    ssize_t done = pwrite(file, from, (size_t)n, at);
    if (done <= 0)
      return FAIL(errno == ENOSPC || errno == EDQUOT ? STATUS_MEMORY : STATUS_OUTPUT,
                  "%s cannot be written: %s", job->partial, strerror(errno));
    from += done, at += done, n -= done;
  }
  return STATUS_OK;
}

struct head {
  char bytes[1024];
  int64_t n;
};
static void put(struct head *h, int width, uint64_t value) {
  for (int i = 0; i < width; i++) h->bytes[h->n++] = (char)(value >> 8 * i & 255);
}
static void put_tag(struct head *h, bool big, int tag, int type, uint64_t value) {
  put(h, 2, (uint64_t)tag);
  put(h, 2, (uint64_t)type);
  put(h, big ? 8 : 4, 1);
  int width = type == 3 ? 2 : type == 4 ? 4 : 8;
  put(h, width, value);
  put(h, (big ? 8 : 4) - width, 0);
}

enum { TAGS = 10 };
static int64_t directory_bytes(bool big) { return big ? 8 + TAGS * 20 + 8 : 2 + TAGS * 12 + 4; }

/* The directory of page p, whose values begin at `data`. */
static void directory(const struct job *job, bool big, int64_t p, int64_t data, int64_t next,
                      struct head *h) {
  static const int format[] = {1, 1, 1, 2, 2, 3, 3}; /* of grid_type: unsigned, signed, float */
  int place                 = big ? 16 : 4;
  h->n                      = 0;
  put(h, big ? 8 : 2, TAGS);
  put_tag(h, big, 256, 4, (uint64_t)job->nx);
  put_tag(h, big, 257, 4, (uint64_t)job->ny);
  put_tag(h, big, 258, 3, 8 * job->bytes);
  put_tag(h, big, 259, 3, 1);
  put_tag(h, big, 262, 3, 1);
  put_tag(h, big, 273, place, (uint64_t)data);
  put_tag(h, big, 277, 3, 1);
  put_tag(h, big, 278, 4, (uint64_t)job->ny);
  put_tag(h, big, 279, place, (uint64_t)(job->ny * job->nx) * job->bytes);
  put_tag(h, big, 339, 3, (uint64_t)format[job->info->type]);
  put(h, big ? 8 : 4, p + 1 < job->slices ? (uint64_t)next : 0);
}

struct layout {
  bool tiff, big;
  int64_t first, page, end; /* first value, from slice to slice, size of the file */
};

static enum status write_tiff_head(struct job *job, const struct layout *l, int file) {
  struct head h = {.n = 0};
  put(&h, 2, 0x4949);
  put(&h, 2, l->big ? 43 : 42);
  if (l->big) put(&h, 2, 8), put(&h, 2, 0);
  put(&h, l->big ? 8 : 4, (uint64_t)(l->first + job->ny * job->nx * (int64_t)job->bytes));
  return put_at(job, file, h.bytes, h.n, 0);
}

static const char *vtk_type(enum grid_type type) {
  static const char *const name[] = {"UInt8", "UInt16",  "UInt32", "Int32",
                                     "Int64", "Float32", "Float64"};
  return name[type];
}

static int64_t vtk_head(const struct job *job, char *text, size_t bytes) {
  const double *um = job->info->voxel_um;
  bool known       = um[0] > 0 && um[1] > 0 && um[2] > 0;
  int n            = snprintf(text, bytes,
                              "<?xml version=\"1.0\"?>\n<VTKFile type=\"ImageData\" version=\"1.0\" "
                                         "byte_order=\"LittleEndian\" header_type=\"UInt64\">\n"
                                         "<ImageData WholeExtent=\"0 %lld 0 %lld 0 %lld\" Origin=\"0 0 0\" "
                                         "Spacing=\"%.9g %.9g %.9g\">\n<Piece Extent=\"0 %lld 0 %lld 0 %lld\">\n"
                                         "<PointData Scalars=\"values\">\n<DataArray type=\"%s\" Name=\"values\" "
                                         "format=\"appended\" offset=\"0\"/>\n</PointData>\n</Piece>\n</ImageData>\n"
                                         "<AppendedData encoding=\"raw\">\n_",
                              (long long)job->nx - 1, (long long)job->ny - 1, (long long)job->slices - 1,
                   known ? um[2] : 1, known ? um[1] : 1, known ? um[0] : 1, (long long)job->nx - 1,
                              (long long)job->ny - 1, (long long)job->slices - 1, vtk_type(job->info->type));
  return n;
}

static const char vtk_foot[] = "\n</AppendedData>\n</VTKFile>\n";

static enum status write_vtk_head(struct job *job, const struct layout *l, int file) {
  char text[1200];
  struct head h = {.n = 0};
  int64_t n     = vtk_head(job, text, sizeof text);
  put(&h, 8, (uint64_t)(job->slices * job->ny * job->nx) * job->bytes);
  TRY(put_at(job, file, text, n, 0));
  TRY(put_at(job, file, h.bytes, h.n, n));
  return put_at(job, file, vtk_foot, (int64_t)sizeof vtk_foot - 1,
                l->end - ((int64_t)sizeof vtk_foot - 1));
}

static struct layout layout_of(const struct job *job, bool tiff) {
  struct layout l = {.tiff = tiff};
  char text[1200];
  int64_t values = job->ny * job->nx * (int64_t)job->bytes;
  if (tiff) {
    l.big   = (double)job->slices * (double)(values + 256) > 4e9;
    l.first = l.big ? 16 : 8;
    l.page  = values + directory_bytes(l.big);
    l.page += l.page & 1; /* directories begin at even places */
    l.end = l.first + job->slices * l.page;
  } else {
    l.first = vtk_head(job, text, sizeof text) + 8;
    l.page  = values;
    l.end   = l.first + job->slices * l.page + (int64_t)sizeof vtk_foot - 1;
  }
  return l;
}

static enum status write_slice(struct job *job, const struct layout *l, int file, int64_t s,
                               const void *values) {
  int64_t at = l->first + s * l->page, n = job->ny * job->nx * (int64_t)job->bytes;
  struct head h;
  TRY(put_at(job, file, values, n, at));
  if (!l->tiff) return STATUS_OK;
  directory(job, l->big, s, at, at + l->page + n, &h);
  return put_at(job, file, h.bytes, h.n, at + n);
}

/* ---- rounds: one slice of each rank at a time -------------------------------------------------------------------- */

static enum status write_rounds(struct job *job, const struct layout *l, int file, void *values) {
  int64_t rounds = (job->slices + job->size - 1) / job->size;
  for (int64_t i = 0; i < rounds; i++) {
    int64_t s = i * job->size + job->rank;
    TRY(stop_agree(job->comm));
    TRY(read_slice(job, s < job->slices ? s : -1, job->info->type, values));
    TRY_ALL(job->comm, s < job->slices ? write_slice(job, l, file, s, values) : STATUS_OK);
    log_progress("export", i + 1, rounds);
  }
  return STATUS_OK;
}

/* Rank 0 makes the file, the others open it. */
static enum status open_partial(struct job *job, int *file) {
  enum status status = STATUS_OK;
  *file              = -1;
  if (job->rank == 0) *file = open(job->partial, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (job->rank == 0 && *file < 0)
    status = FAIL(STATUS_OUTPUT, "%s cannot be written: %s", job->partial, strerror(errno));
  TRY_ALL(job->comm, status);
  if (job->rank > 0) *file = open(job->partial, O_RDWR | O_CLOEXEC);
  if (*file < 0)
    status =
        FAIL(STATUS_OUTPUT, "%s cannot be opened on every rank: %s", job->partial, strerror(errno));
  return AGREE(job->comm, status);
}

static enum status write_binary(struct job *job, bool tiff) {
  const struct layout l = layout_of(job, tiff);
  int file;
  void *values       = NULL;
  enum status status = open_partial(job, &file);
  if (status == STATUS_OK)
    status = AGREE(job->comm, memory_make_raw(job->ny * job->nx, job->bytes, "a slice", &values));
  if (status == STATUS_OK && job->rank == 0)
    status = tiff ? write_tiff_head(job, &l, file) : write_vtk_head(job, &l, file);
  status = AGREE(job->comm, status);
  if (status == STATUS_OK) status = write_rounds(job, &l, file, values);
  memory_free(values);
  if (file >= 0 && (fsync(file) | close(file)) != 0 && status == STATUS_OK)
    status = FAIL(STATUS_MEMORY, "%s cannot be written whole: %s", job->partial, strerror(errno));
  return AGREE(job->comm, status);
}

/* ---- text ---------------------------------------------------------------------------------------------------------- */

enum { CSV_MOST = 50000000 };

/* Numbers of the slice's place and of row and column, then the value. */
static void write_csv_slice(const struct job *job, FILE *to, const int64_t *start, const int64_t *n,
                            const double *value) {
  int64_t index[STORE_RANK_MAX];
  int rank = job->info->rank;
  memcpy(index, start, sizeof index);
  for (int64_t i = 0; i < job->ny * job->nx; i++) {
    for (int a = 0; a < rank; a++) fprintf(to, "%lld,", (long long)index[a]);
    fprintf(to, isfinite(value[i]) ? "%.9g\n" : "\n", value[i]);
    for (int a = rank - 1; a >= 0 && ++index[a] == start[a] + n[a]; a--) index[a] = start[a];
  }
}

static enum status write_csv(struct job *job) {
  double *value;
  FILE *to = job->rank == 0 ? fopen(job->partial, "w") : NULL;
  TRY_ALL(job->comm,
          (double)job->slices * (double)(job->ny * job->nx) > CSV_MOST
              ? FAIL(STATUS_USAGE,
                     "%lld values are too many for CSV (at most %d); take a --slice, TIFF or VTK",
                     (long long)(job->slices * job->ny * job->nx), CSV_MOST)
          : job->rank == 0 && !to
              ? FAIL(STATUS_OUTPUT, "%s cannot be written: %s", job->partial, strerror(errno))
              : STATUS_OK);
  enum status status =
      AGREE(job->comm, memory_make_raw(job->ny * job->nx, sizeof *value, "a slice", &value));
  static const char *const letters[] = {"z", "y", "x"};
  for (int a = 0; to && a < job->info->rank; a++) {
    int k = a - (job->info->rank - 3);
    if (k >= 0)
      fprintf(to, "%s,", letters[k]);
    else
      fprintf(to, "axis%d,", a);
  }
  if (to) fprintf(to, "value\n");
  for (int64_t s = 0; s < job->slices && status == STATUS_OK; s++) {
    int64_t start[STORE_RANK_MAX], n[STORE_RANK_MAX];
    box_of(job, s, start, n);
    status = read_slice(job, job->rank == 0 ? s : -1, GRID_F64, value);
    if (to && status == STATUS_OK) write_csv_slice(job, to, start, n, value);
  }
  memory_free(value);
  if (to && (fflush(to) | fsync(fileno(to)) | ferror(to) | fclose(to)) != 0 && status == STATUS_OK)
    status = FAIL(STATUS_MEMORY, "%s cannot be written whole: %s", job->partial, strerror(errno));
  return AGREE(job->comm, status);
}

/* ---- PNG ------------------------------------------------------------------------------------------------------------- */

static enum status range_of(const struct export_params *p, const float *value, int64_t n,
                            double *low, double *high) {
  int used = 0;
  if (strcmp(p->range, "auto") == 0) return picture_range(value, n, low, high);
  if (sscanf(p->range, "%lf,%lf%n", low, high, &used) == 2 && p->range[used] == 0 && *high > *low)
    return STATUS_OK;
  return FAIL(STATUS_USAGE, "--range %s; it would be auto or LOW,HIGH", p->range);
}

static enum status draw_png(const struct job *job, const struct export_params *p,
                            const float *value) {
  double low, high;
  enum picture_map map = p->map[0] == 'c'   ? PICTURE_COLOUR
                         : p->map[0] == 'd' ? PICTURE_DIVERGING
                                            : PICTURE_GREY;
  TRY(range_of(p, value, job->ny * job->nx, &low, &high));
  return picture_png(job->partial, value, job->ny, job->nx, low, high, map);
}

static enum status write_png(struct job *job, const struct export_params *p) {
  float *value;
  TRY_ALL(job->comm, memory_make_raw(job->ny * job->nx, sizeof *value, "a slice", &value));
  enum status status = read_slice(job, job->rank == 0 ? job->slices / 2 : -1, GRID_F32, value);
  if (status == STATUS_OK && job->rank == 0) status = draw_png(job, p, value);
  memory_free(value);
  return AGREE(job->comm, status);
}

/* ---- the command ------------------------------------------------------------------------------------------------------- */

static enum status format_of(const struct export_params *p, const char *path, char *format,
                             size_t bytes) {
  const char *dot                      = strrchr(path, '.');
  static const char *const ending[][2] = {
      {".tif",  "tiff"},
      {".tiff", "tiff"},
      {".csv",  "csv" },
      {".vti",  "vtk" },
      {".vtk",  "vtk" },
      {".png",  "png" }
  };
  snprintf(format, bytes, "%s", p->format);
  if (strcmp(format, "auto") != 0) return STATUS_OK;
  for (size_t i = 0; dot && i < sizeof ending / sizeof *ending; i++)
    if (strcmp(dot, ending[i][0]) == 0) {
      snprintf(format, bytes, "%s", ending[i][1]);
      return STATUS_OK;
    }
  return FAIL(STATUS_USAGE,
              "--output %s: the ending would be .tif, .vti, .csv or .png, or name the --format",
              path);
}

static enum status prepare(struct job *job, const struct export_params *p, bool force) {
  memcpy(job->n, job->info->n, sizeof job->n);
  TRY(choose_slice(job, p->slice));
  TRY(find_shape(job));
  snprintf(job->partial, sizeof job->partial, "%.2000s.partial", job->path);
  if (job->rank == 0 && !force && access(job->path, F_OK) == 0)
    return FAIL(STATUS_OUTPUT, "%s is there already; --force replaces it", job->path);
  return fault_here("report.export");
}

static enum status finish(struct job *job, enum status status) {
  if (job->rank == 0 && status == STATUS_OK && rename(job->partial, job->path) != 0)
    status = FAIL(STATUS_OUTPUT, "%s cannot be written: %s", job->path, strerror(errno));
  if (job->rank == 0 && status != STATUS_OK && job->partial[0]) unlink(job->partial);
  return AGREE(job->comm, status);
}

enum status report_export(MPI_Comm comm, const char *input, const struct stage_common *common,
                          const struct export_params *p, struct stage_results *results) {
  struct job job = {.comm = comm, .path = common->output};
  char format[CONFIG_CHOICE_BYTES];
  if (!input[0] || !job.path[0])
    return AGREE(comm, FAIL(STATUS_USAGE,
                            "usage: xcsct export FILE[:DATASET] --output FILE.tif|.vti|.csv|.png"));
  TRY_ALL(comm, format_of(p, job.path, format, sizeof format));
  MPI_Comm_rank(comm, &job.rank);
  MPI_Comm_size(comm, &job.size);
  TRY(store_open(comm, input, NULL, 0, &job.input));
  job.info           = store_info(job.input);
  enum status status = AGREE(comm, prepare(&job, p, common->force));
  bool prepared      = status == STATUS_OK;
  if (prepared)
    status = strcmp(format, "csv") == 0   ? write_csv(&job)
             : strcmp(format, "png") == 0 ? write_png(&job, p)
                                          : write_binary(&job, strcmp(format, "tiff") == 0);
  if (prepared) status = finish(&job, status);
  if (status == STATUS_OK)
    stage_result_add(
        results, "values",
        (double)(strcmp(format, "png") == 0 ? 1 : job.slices) * (double)(job.ny * job.nx), "");
  store_close(&job.input);
  return status;
}
