/* Reading boxes: every rank takes its own box brick by brick, converts with a check, and agrees once
 * at the end. */
#include "store_private.h"
#include <string.h>

struct reading {
  struct store_input *input;
  struct box box; /* of the caller's memory, in the axes of the file */
  enum grid_type type;
  bool exact;
  char *to;
  void *buffer; /* a brick as stored; NULL when bricks go straight to their place */
};

enum status hdf5_piece_read(hid_t dataset, struct chunks *chunks, const struct store_info *info,
                            int rank, enum native native, const int64_t *start, const int64_t *n,
                            void *to) {
  hsize_t from[STORE_RANK_MAX], count[STORE_RANK_MAX];
  if (chunks) return chunks_read(chunks, info, dataset, start, n, to);
  for (int a = 0; a < rank; a++) from[a] = (hsize_t)start[a], count[a] = (hsize_t)n[a];
  hid_t file   = H5Dget_space(dataset);
  hid_t memory = rank ? H5Screate_simple(rank, count, NULL) : H5Screate(H5S_SCALAR);
  bool good =
      (rank == 0 || H5Sselect_hyperslab(file, H5S_SELECT_SET, from, NULL, count, NULL) >= 0) &&
      H5Dread(dataset, native_hdf5(native), memory, file, H5P_DEFAULT, to) >= 0;
  if (!good)
    FAIL(STATUS_INPUT, "%s:%s cannot be read at (%lld, ...): %s", info->file, info->dataset,
         rank ? (long long)start[0] : 0, hdf5_reason());
  H5Sclose(file);
  H5Sclose(memory);
  return good ? STATUS_OK : STATUS_INPUT;
}

static enum status brick_fetch(struct store_input *input, const int64_t *start, const int64_t *n,
                               void *to) {
  if (input->tiff) return tiff_read(input->tiff, start, n, to);
  return hdf5_piece_read(input->dataset, input->chunks, &input->info,
                         input->info.rank - input->lead, input->native, start, n, to);
}

static enum status value_refuse(const struct reading *reading, const int64_t *at, int64_t i) {
  char place[160], value[64];
  int rank = reading->box.rank;
  native_text(reading->input->native, reading->buffer, i, value, sizeof value);
  size_t used = 0;
  for (int a = 0; a < rank; a++)
    used += (size_t)snprintf(place + used, sizeof place - used, "%s%lld", a ? ", " : "",
                             (long long)at[a]);
  return FAIL(STATUS_INPUT, "%s:%s has the value %s at (%s); %s%s is wanted",
              reading->input->info.file, reading->input->info.dataset, value, place,
              reading->exact ? "what fits without change into " : "",
              grid_type_name(reading->type));
}

/* Converts a fetched brick, row by row, into the caller's memory. */
static enum status brick_place(const struct reading *reading, const int64_t *start,
                               const int64_t *n) {
  const struct box *box = &reading->box;
  int last              = box->rank - 1;
  int64_t at[STORE_RANK_MAX], row = 0;
  size_t to_bytes   = grid_type_bytes(reading->type),
         from_bytes = native_bytes(reading->input->native);
  memcpy(at, start, sizeof at);
  for (;;) {
    const char *from = (const char *)reading->buffer + (size_t)(row * n[last]) * from_bytes;
    char *to         = reading->to + (size_t)box_offset(box, at) * to_bytes;
    int64_t bad =
        native_convert(reading->input->native, from, reading->type, to, n[last], reading->exact);
    if (bad >= 0) {
      at[last] += bad;
      return value_refuse(reading, at, row * n[last] + bad);
    }
    row++;
    int a = last - 1;
    for (; a >= 0; a--) {
      if (++at[a] < start[a] + n[a]) break;
      at[a] = start[a];
    }
    if (a < 0) return STATUS_OK;
  }
}

static enum status brick_read(void *context, const int64_t *start, const int64_t *n) {
  const struct reading *reading = context;
  if (!reading->buffer)
    return brick_fetch(reading->input, start, n,
                       reading->to + (size_t)box_offset(&reading->box, start) *
                                         grid_type_bytes(reading->type));
  TRY(brick_fetch(reading->input, start, n, reading->buffer));
  return brick_place(reading, start, n);
}

/* Of the wanted type and not chunked: then every brick is one run of the box's memory. */
static bool goes_straight(const struct reading *reading) {
  return native_of_grid(reading->type) == reading->input->native &&
         reading->input->info.chunk[reading->input->lead] == 0 && box_is_contiguous(&reading->box);
}

static enum status box_check(const struct reading *reading) {
  const struct store_info *info = &reading->input->info;
  for (int a = 0; a < reading->box.rank; a++) {
    int64_t start = reading->box.start[a], n = reading->box.n[a];
    int64_t whole = info->n[a + reading->input->lead];
    if (start < 0 || n < 0 || start > whole || n > whole - start)
      return FAIL(STATUS_INPUT, "%s:%s has length %lld along axis %d; %lld:%lld was asked for",
                  info->file, info->dataset, (long long)whole, a, (long long)start,
                  (long long)(start + n));
  }
  return STATUS_OK;
}

static enum status box_read(struct reading *reading) {
  const int64_t *chunk = reading->input->info.chunk + reading->input->lead;
  size_t bytes         = native_bytes(reading->input->native);
  TRY(fault_here("store.read"));
  if (box_elements(&reading->box) == 0) return STATUS_OK;
  TRY(box_check(reading));
  if (!goes_straight(reading))
    TRY(memory_make_raw(box_brick_most(&reading->box, chunk, bytes), bytes, "a reading buffer",
                        &reading->buffer));
  enum status status = box_bricks(&reading->box, chunk, bytes, brick_read, reading);
  memory_free(reading->buffer);
  return status;
}

/* The file may have fewer axes than info tells. */
static void lead_drop(int lead, struct box *box) {
  int64_t outer = 1;
  for (int a = 0; a < lead; a++) outer *= box->n[a];
  box->rank -= lead;
  for (int a = 0; lead && a < box->rank; a++) {
    box->start[a]  = box->start[a + lead];
    box->n[a]      = outer ? box->n[a + lead] : 0;
    box->stride[a] = box->stride[a + lead];
  }
}

enum status store_read_box(MPI_Comm comm, struct store_input *input, const int64_t *start,
                           const int64_t *n, enum grid_type type, bool exact, void *to) {
  struct reading reading = {.input = input, .type = type, .exact = exact, .to = to};
  box_contiguous(input->info.rank, start, n, &reading.box);
  lead_drop(input->lead, &reading.box);
  return AGREE(comm, box_read(&reading));
}

static enum status field_shape_check(const struct store_input *input,
                                     const struct grid_field *field, const struct grid_box *box) {
  const struct store_info *info = &input->info;
  char have[128], want[128];
  hdf5_shape_text(info->rank, info->n, have, sizeof have);
  hdf5_shape_text(3, field->plan.n, want, sizeof want);
  bool fits = info->rank == 3 || info->rank == 2;
  for (int a = 0; a < 3; a++) {
    int b         = a + info->rank - 3;
    int64_t whole = b < 0 ? 1 : info->n[b];
    fits          = fits && field->plan.n[a] == box->n[a] && box->start[a] >= 0 &&
           box->n[a] <= whole - box->start[a];
  }
  if (fits) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s:%s has shape %s, not %s", info->file, info->dataset, have, want);
}

static enum status field_read(struct store_input *input, const struct grid_box *box, bool exact,
                              struct grid_field *field) {
  TRY(field_shape_check(input, field, box));
  size_t origin          = (size_t)grid_field_origin(field) * grid_type_bytes(field->type);
  struct reading reading = {.input = input,
                            .box   = box_of_field(field, input->info.rank, box->start),
                            .type  = field->type,
                            .exact = exact,
                            .to    = (char *)field->data + origin};
  lead_drop(input->lead, &reading.box);
  TRY(box_read(&reading));
  for (int a = 0; a < 3; a++) field->voxel_um[a] = input->info.voxel_um[a];
  return STATUS_OK;
}

enum status store_read_field_box(MPI_Comm comm, struct store_input *input,
                                 const struct grid_box *box, bool exact, struct grid_field *field) {
  return AGREE(comm, field_read(input, box, exact, field));
}

enum status store_read_field(MPI_Comm comm, struct store_input *input, bool exact,
                             struct grid_field *field) {
  if (shelf_take(comm, &input->info, field)) return STATUS_OK;
  struct grid_box all = {
      {0, 0, 0},
      {1, 1, 1}
  };
  for (int a = 0; a < input->info.rank && a < 3; a++)
    all.n[2 - a] = input->info.n[input->info.rank - 1 - a];
  return store_read_field_box(comm, input, &all, exact, field);
}
