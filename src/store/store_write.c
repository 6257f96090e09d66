/* Creating products and writing their values. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- creating ------------------------------------------------------------------------------------- */

int64_t output_bytes(const struct output_dataset *dataset) {
  int64_t bytes = (int64_t)grid_type_bytes(dataset->type);
  for (int a = 0; a < dataset->rank; a++) bytes *= dataset->n[a];
  return bytes;
}

/* Takes the disk space now. Where the file system cannot, every write still tells its own failure. */
static enum status reserve(const struct store_output *output, int handle,
                           const struct output_dataset *dataset) {
  int64_t bytes = output_bytes(dataset);
  if (dataset->offset < 0 || bytes == 0) return STATUS_OK;
  if (fallocate(handle, 0, dataset->offset, bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
    return STATUS_OK;
  if (errno == ENOSPC || errno == EDQUOT)
    return FAIL(STATUS_MEMORY, "%s: %s needs %.3f MB, which the disk has not: %s", output->partial,
                dataset->product, (double)bytes / 1e6, strerror(errno));
  return output_failed(output, errno);
}

static enum status data_open(struct store_output *output) {
  if (output->handle >= 0) return STATUS_OK;
  output->handle = open(output->partial, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  return output->handle >= 0 ? STATUS_OK : output_failed(output, errno);
}

static enum status create_root(struct store_output *output, const struct store_product *product,
                               const char *unit, const double *axis_um,
                               struct output_dataset pair[2]) {
  TRY(nexus_product_make(output->file, product, unit, axis_um, &pair[0], &pair[1]));
  TRY(data_open(output));
  TRY(reserve(output, output->handle, &pair[0]));
  return pair[1].rank ? reserve(output, output->handle, &pair[1]) : STATUS_OK;
}

static enum status create_check(const struct store_output *output, const char *product,
                                const int64_t *n) {
  const struct store_product *row = store_product_find(product);
  TRY(fault_here("store.create"));
  if (!row) return FAIL(STATUS_INTERNAL, "\"%s\" is no product of product.def", product);
  if (output->datasets + 2 > OUTPUT_DATASETS)
    return FAIL(STATUS_INTERNAL, "more than %d datasets in %s", OUTPUT_DATASETS, output->path);
  double bytes = (double)grid_type_bytes(row->type);
  for (int a = 0; a < row->rank; a++) {
    if (n[a] < 0) return FAIL(STATUS_INTERNAL, "%s has a negative length", product);
    bytes *= (double)n[a];
  }
  return bytes < 0x1p62 ? STATUS_OK : FAIL(STATUS_MEMORY, "%s needs %.3g bytes", product, bytes);
}

enum status store_create(MPI_Comm comm, struct store_output *output, const char *product,
                         const int64_t *n, const double *axis_um, const char *unit,
                         bool with_errors) {
  const struct store_product *row = store_product_find(product);
  return store_create_as(comm, output, product, row ? row->type : GRID_F32, n, axis_um, unit,
                         with_errors);
}

enum status store_create_as(MPI_Comm comm, struct store_output *output, const char *product,
                            enum grid_type type, const int64_t *n, const double *axis_um,
                            const char *unit, bool with_errors) {
  TRY_ALL(comm, create_check(output, product, n));
  const struct store_product *row = store_product_find(product);
  struct output_dataset pair[2]   = {
        {.type = type,      .rank = row->rank, .offset = -1},
        {.type = GRID_F32,  .errors = true,    .offset = -1}
  };
  if (with_errors) pair[1].rank = row->rank;
  for (int i = 0; i < 2; i++) {
    snprintf(pair[i].product, PRODUCT_BYTES, "%s", product);
    memcpy(pair[i].n, n, (size_t)row->rank * sizeof *n);
    pair[i].packed = output->deflate > 0;
  }
  if (!unit) unit = strcmp(row->unit, "*") == 0 ? "" : row->unit;
  TRY_ALL(comm, rank_of(comm) == 0 ? create_root(output, row, unit, axis_um, pair) : STATUS_OK);
  MPI_Bcast(pair, (int)sizeof pair, MPI_BYTE, 0, comm);
  output->dataset[output->datasets++] = pair[0];
  if (with_errors) output->dataset[output->datasets++] = pair[1];
  return AGREE(comm, data_open(output));
}

/* ---- writing ---------------------------------------------------------------------------------------- */

struct writing {
  struct store_output *output;
  const struct output_dataset *dataset;
  struct box box; /* of the caller's memory */
  const char *from;
  char *buffer; /* a brick put together; NULL when bricks already lie together */
};

static enum status bytes_write(struct store_output *output, const char *from, int64_t bytes,
                               int64_t offset) {
  samples_note(output->samples, from, bytes, offset);
  while (bytes > 0) {
    ssize_t n = pwrite(output->handle, from, (size_t)bytes, offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return output_failed(output, n < 0 ? errno : ENOSPC);
    from += n;
    offset += n;
    bytes -= n;
  }
  return STATUS_OK;
}

/* Puts a brick together row by row. */
static void brick_gather(const struct writing *writing, const int64_t *start, const int64_t *n) {
  const struct box *box = &writing->box;
  int last              = box->rank - 1;
  size_t element = grid_type_bytes(writing->dataset->type), row = (size_t)n[last] * element;
  int64_t at[STORE_RANK_MAX];
  char *to = writing->buffer;
  memcpy(at, start, sizeof at);
  for (;;) {
    memcpy(to, writing->from + (size_t)box_offset(box, at) * element, row);
    to += row;
    int a = last - 1;
    for (; a >= 0; a--) {
      if (++at[a] < start[a] + n[a]) break;
      at[a] = start[a];
    }
    if (a < 0) return;
  }
}

/* Writes a brick that lies together in memory as the fewest runs of the file. */
static enum status brick_runs(const struct writing *writing, const int64_t *start, const int64_t *n,
                              const char *from) {
  const struct output_dataset *dataset = writing->dataset;
  int run_axis                         = dataset->rank - 1; /* axes from here on are one run */
  int64_t run                          = n[run_axis], at[STORE_RANK_MAX];
  while (run_axis > 0 && n[run_axis] == dataset->n[run_axis]) run *= n[--run_axis];
  int64_t element = (int64_t)grid_type_bytes(dataset->type);
  memcpy(at, start, sizeof at);
  for (;;) {
    int64_t place = 0;
    for (int a = 0; a < dataset->rank; a++) place = place * dataset->n[a] + at[a];
    TRY(bytes_write(writing->output, from, run * element, dataset->offset + place * element));
    from += run * element;
    int a = run_axis - 1;
    for (; a >= 0; a--) {
      if (++at[a] < start[a] + n[a]) break;
      at[a] = start[a];
    }
    if (a < 0) return STATUS_OK;
  }
}

static enum status brick_write(void *context, const int64_t *start, const int64_t *n) {
  const struct writing *writing = context;
  if (!writing->buffer)
    return brick_runs(writing, start, n,
                      writing->from + (size_t)box_offset(&writing->box, start) *
                                          grid_type_bytes(writing->dataset->type));
  brick_gather(writing, start, n);
  return brick_runs(writing, start, n, writing->buffer);
}

static const struct output_dataset *dataset_find(const struct store_output *output,
                                                 const char *product, bool errors) {
  for (int i = 0; i < output->datasets; i++)
    if (output->dataset[i].errors == errors && strcmp(output->dataset[i].product, product) == 0)
      return &output->dataset[i];
  return NULL;
}

static enum status box_check(const struct writing *writing) {
  const struct output_dataset *dataset = writing->dataset;
  const struct box *box                = &writing->box;
  TRY(fault_here("store.write"));
  if (box_elements(box) == 0) return STATUS_OK;
  for (int a = 0; a < box->rank; a++)
    if (box->start[a] < 0 || box->n[a] > dataset->n[a] - box->start[a])
      return FAIL(STATUS_INTERNAL, "%s has length %lld along axis %d; %lld:%lld was to be written",
                  dataset->product, (long long)dataset->n[a], a, (long long)box->start[a],
                  (long long)(box->start[a] + box->n[a]));
  return STATUS_OK;
}

static enum status box_write(struct writing *writing) {
  static const int64_t no_chunk[STORE_RANK_MAX];
  const struct box *box = &writing->box;
  size_t bytes          = grid_type_bytes(writing->dataset->type);
  TRY(box_check(writing));
  if (!box_is_contiguous(box))
    TRY(memory_make_raw(box_brick_most(box, no_chunk, bytes), bytes, "a writing buffer",
                        &writing->buffer));
  enum status status = box_bricks(box, no_chunk, bytes, brick_write, writing);
  memory_free(writing->buffer);
  return status;
}

/* Collective. What `prepared` has made ready, plainly or compressed. */
static enum status writing_run(MPI_Comm comm, struct writing *writing, enum status prepared) {
  if (writing->output->deflate == 0)
    return AGREE(comm, prepared == STATUS_OK ? box_write(writing) : prepared);
  if (prepared == STATUS_OK) prepared = box_check(writing);
  TRY_ALL(comm, prepared);
  return pack_write(comm, writing->output, writing->dataset, &writing->box, writing->from);
}

static enum status box_prepare(struct writing *writing, const char *product, bool errors,
                               const int64_t *start, const int64_t *n) {
  writing->dataset = dataset_find(writing->output, product, errors);
  if (!writing->dataset)
    return FAIL(STATUS_INTERNAL, "%s%s was not created", product, errors ? " errors" : "");
  box_contiguous(writing->dataset->rank, start, n, &writing->box);
  return STATUS_OK;
}

enum status store_write_box(MPI_Comm comm, struct store_output *output, const char *product,
                            bool errors, const int64_t *start, const int64_t *n, const void *from) {
  struct writing writing = {.output = output, .from = from};
  if (!errors) shelf_drop(&output->shelf, product);
  return writing_run(comm, &writing, box_prepare(&writing, product, errors, start, n));
}

static enum status field_prepare(struct writing *writing, const char *product,
                                 const struct grid_field *field, int64_t z0) {
  const int64_t shift[3] = {z0, 0, 0};
  writing->dataset       = dataset_find(writing->output, product, false);
  if (!writing->dataset) return FAIL(STATUS_INTERNAL, "%s was not created", product);
  if (writing->dataset->type != field->type || writing->dataset->rank > 3)
    return FAIL(STATUS_INTERNAL, "%s is %s of %d axes; a field of %s was to be written", product,
                grid_type_name(writing->dataset->type), writing->dataset->rank,
                grid_type_name(field->type));
  writing->box = box_of_field(field, writing->dataset->rank, shift);
  writing->from =
      (const char *)field->data + (size_t)grid_field_origin(field) * grid_type_bytes(field->type);
  return STATUS_OK;
}

static enum status field_write(MPI_Comm comm, struct store_output *output, const char *product,
                               const struct grid_field *field, int64_t z0) {
  struct writing writing = {.output = output};
  return writing_run(comm, &writing, field_prepare(&writing, product, field, z0));
}

/* Rows this short are put together on one rank before they are written. */
enum { SHORT_RUN_BYTES = 64 << 10, MOVED_BYTES = 32 << 20 };

static bool runs_are_short(const struct grid_field *field) {
  const struct grid_plan *plan = &field->plan;
  int64_t run                  = (int64_t)grid_type_bytes(field->type) * plan->n[2];
  if (plan->parts[2] == 1) run *= plan->n[1] / plan->parts[1];
  return (plan->parts[2] > 1 || plan->parts[1] > 1) && run / plan->parts[2] < SHORT_RUN_BYTES;
}

static bool slices_are_whole(const struct grid_field *field) {
  return field->plan.parts[1] == 1 && field->plan.parts[2] == 1;
}

/* Slices z0 .. z0 + nz of the field as slabs, written at shift. */
static enum status slices_move(MPI_Comm comm, struct store_output *output, const char *product,
                               const struct grid_field *field, int64_t first, int64_t nz,
                               int64_t shift) {
  const struct grid_box box = {
      {first, 0,                0               },
      {nz,    field->plan.n[1], field->plan.n[2]}
  };
  struct grid_plan plan   = {0};
  struct grid_field slabs = {0};
  enum status status      = grid_plan_slabs(comm, box.n, 0, &plan);
  if (status == STATUS_OK) status = grid_field_make(comm, &plan, field->type, NULL, &slabs);
  if (status == STATUS_OK) status = grid_field_crop(comm, field, &box, &slabs);
  if (status == STATUS_OK) status = field_write(comm, output, product, &slabs, shift + first);
  grid_field_free(&slabs);
  grid_plan_free(&plan);
  return status;
}

/* In rounds of slices that are the same on all ranks. */
static enum status field_move_write(MPI_Comm comm, struct store_output *output, const char *product,
                                    const struct grid_field *field, int64_t z0) {
  const int64_t *n    = field->plan.n;
  int64_t slice_bytes = n[1] * n[2] * (int64_t)grid_type_bytes(field->type);
  int64_t most        = MOVED_BYTES / (slice_bytes > 0 ? slice_bytes : 1) * field->plan.size;
  if (most < field->plan.size) most = field->plan.size;
  for (int64_t z = 0; z < n[0]; z += most)
    TRY(slices_move(comm, output, product, field, z, n[0] - z < most ? n[0] - z : most, z0));
  return STATUS_OK;
}

enum status store_write_field(MPI_Comm comm, struct store_output *output, const char *product,
                              const struct grid_field *field, int64_t z0) {
  shelf_drop(&output->shelf, product);
  if (runs_are_short(field) || (output->deflate && !slices_are_whole(field)))
    TRY(field_move_write(comm, output, product, field, z0));
  else
    TRY(field_write(comm, output, product, field, z0));
  const struct output_dataset *dataset = dataset_find(output, product, false);
  if (z0 == 0 && (dataset->rank == 2 || dataset->n[0] == field->plan.n[0]))
    shelf_note(comm, &output->shelf, product, field);
  return STATUS_OK;
}

/* ---- small things, from rank 0 ------------------------------------------------------------------------ */

static void content_add(struct store_output *output, const double *value, int64_t n) {
  output->content = store_hash(value, n * (int64_t)sizeof *value, output->content);
}

static enum status axis_put(struct store_output *output, const char *product, const char *axis,
                            const double *value, int64_t n, const char *unit) {
  content_add(output, value, n);
  return nexus_axis(output->file, product, axis, value, n, unit);
}

static enum status table_put(struct store_output *output, const char *product,
                             const char *const *column, const char *const *unit, int columns,
                             const double *const *value, int64_t rows) {
  for (int i = 0; i < columns; i++) content_add(output, value[i], rows);
  return nexus_table(output->file, product, column, unit, columns, value, rows);
}

enum status store_axis(MPI_Comm comm, struct store_output *output, const char *product,
                       const char *axis, const double *value, int64_t n, const char *unit) {
  return ON_ROOT(comm, "store.axis", axis_put(output, product, axis, value, n, unit));
}

enum status store_spectra(MPI_Comm comm, struct store_output *output, const double *bins,
                          const int64_t *summed, int64_t n) {
  return ON_ROOT(comm, "store.spectra", nexus_spectra(output->file, bins, summed, n));
}

enum status store_tomo(MPI_Comm comm, struct store_output *output, const double *angle_deg,
                       const int32_t *image_key, int64_t n, double pixel_um) {
  const struct tomo_frames frames = {angle_deg, image_key, n, pixel_um};
  return ON_ROOT(comm, "store.tomo", nexus_tomo(output->file, &frames));
}

enum status store_table(MPI_Comm comm, struct store_output *output, const char *product,
                        const char *const *column, const char *const *unit, int columns,
                        const double *const *value, int64_t rows) {
  return ON_ROOT(comm, "store.table",
                 table_put(output, product, column, unit, columns, value, rows));
}

enum status store_note(MPI_Comm comm, struct store_output *output, const char *name,
                       const char *text) {
  return ON_ROOT(comm, "store.note", nexus_note(output->file, name, text));
}

enum status store_number(MPI_Comm comm, struct store_output *output, const char *name, double value,
                         const char *unit) {
  return ON_ROOT(comm, "store.number", nexus_number(output->file, name, value, unit));
}

enum status store_default(MPI_Comm comm, struct store_output *output, const char *product) {
  return ON_ROOT(comm, "store.default", nexus_default(output->file, product));
}
