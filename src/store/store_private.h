/* store's own header: how datasets are stored, paths in HDF5 files, bricks, and the two sides. */
#pragma once
#include "store.h"
#include <hdf5.h>

/* What rank 0 alone does, agreed: `expr` is evaluated there. A collective expression. */
#define ON_ROOT(comm, site, expr)                                                                  \
  status_agree((comm),                                                                             \
               fault_here(site) != STATUS_OK ? STATUS_INTERNAL                                     \
               : rank_of(comm) == 0          ? (expr)                                              \
                                             : STATUS_OK,                                                   \
               __FILE__ ":" site)
static inline int rank_of(MPI_Comm comm) {
  int me;
  MPI_Comm_rank(comm, &me);
  return me;
}

/* ---- element types as stored: name, C type, HDF5's native type, the nearest of ours -------------- */
#define NATIVE_LIST(X)                                                                             \
  X(I8, int8_t, H5T_NATIVE_INT8, GRID_I32)                                                         \
  X(U8, uint8_t, H5T_NATIVE_UINT8, GRID_U8)                                                        \
  X(I16, int16_t, H5T_NATIVE_INT16, GRID_I32)                                                      \
  X(U16, uint16_t, H5T_NATIVE_UINT16, GRID_U16)                                                    \
  X(I32, int32_t, H5T_NATIVE_INT32, GRID_I32)                                                      \
  X(U32, uint32_t, H5T_NATIVE_UINT32, GRID_U32)                                                    \
  X(I64, int64_t, H5T_NATIVE_INT64, GRID_I64)                                                      \
  X(U64, uint64_t, H5T_NATIVE_UINT64, GRID_I64)                                                    \
  X(F32, float, H5T_NATIVE_FLOAT, GRID_F32)                                                        \
  X(F64, double, H5T_NATIVE_DOUBLE, GRID_F64)
enum native {
#define X(name, ctype, hdf5, nearest) NATIVE_##name,
  NATIVE_LIST(X)
#undef X
      NATIVE_NONE
};
size_t native_bytes(enum native native);
const char *native_name(enum native native);
enum grid_type native_nearest(enum native native);
hid_t native_hdf5(enum native native);
enum native native_of_grid(enum grid_type type);
/* Of an HDF5 type: integers, floats, enums of integers (h5py's bool); else NATIVE_NONE. */
enum native native_of_hdf5(hid_t type);
/* Converts n elements. Gives the index of the first value that does not fit (`exact`: that would
 * change), or -1. Floats become integers by rounding to the nearest. */
int64_t native_convert(enum native from_type, const void *from, enum grid_type to_type, void *to,
                       int64_t n, bool exact);
/* Element i as text, for messages. */
void native_text(enum native native, const void *data, int64_t i, char *text, size_t bytes);

/* ---- bricks: a box taken in pieces of bounded size ------------------------------------------------ */

/* A box of up to STORE_RANK_MAX axes in memory: strides in elements. */
struct box {
  int rank;
  int64_t start[STORE_RANK_MAX], n[STORE_RANK_MAX]; /* in the dataset */
  int64_t stride[STORE_RANK_MAX];                   /* in memory */
};
void box_contiguous(int rank, const int64_t *start, const int64_t *n, struct box *box);
/* The owned voxels of a field as a box of a dataset of `rank` 2 or 3 that begins at `shift`. */
struct box box_of_field(const struct grid_field *field, int rank, const int64_t *shift);
int64_t box_elements(const struct box *box);
/* Offset in memory of the element at `at` (of the dataset). */
int64_t box_offset(const struct box *box, const int64_t *at);
bool box_is_contiguous(const struct box *box);
/* Calls `each` for every piece of the box; pieces are cut at multiples of a brick that is whole
 * chunks (chunk 0: single elements) and at most about BRICK_BYTES. */
enum { BRICK_BYTES = 16 << 20 };
enum status box_bricks(const struct box *box, const int64_t *chunk, size_t element_bytes,
                       enum status (*each)(void *context, const int64_t *start, const int64_t *n),
                       void *context);
/* Elements of the largest piece that box_bricks makes. */
int64_t box_brick_most(const struct box *box, const int64_t *chunk, size_t element_bytes);

/* ---- HDF5 ------------------------------------------------------------------------------------------- */

/* Local; before any other HDF5 call: no error printing, no plugins from outside, our filters. */
void hdf5_start(void);
/* The innermost reason of the last HDF5 failure. */
const char *hdf5_reason(void);
/* Opens read-only, without HDF5's own file lock. INPUT with the reason. `probe`: first looked at by
 * the probing child (rank 0 does, before the others open). */
enum status hdf5_open(const char *file, bool probe, hid_t *id);
/* Local: the probing child on a file; remembered while size and time of the file stay. */
enum status probe_local(const char *file);
/* Local: this process wrote the file and read it back, so as it is now it needs no child. */
void probe_trust(const char *file);
/* Rank 0. Follows soft and external links (those only into the folder of the file, or folders
 * allowed): file and path become those where the object truly lies. *found = false: nothing there,
 * and `reason` says why. Every file on the way is probed. */
enum status hdf5_resolve(char file[STORE_NAME_BYTES], char path[STORE_NAME_BYTES], bool *found,
                         char reason[STORE_NAME_BYTES]);
/* Fills rank, shape, type, chunks, unit and voxel size of info. INPUT when it cannot be read here:
 * not numeric, stored outside the file, truncated, or packed by an unknown filter. */
enum status hdf5_dataset_describe(hid_t dataset, struct store_info *info, enum native *native);
/* The numeric datasets of a file in order of their paths, hard links counted once. */
struct hdf5_row {
  char path[STORE_NAME_BYTES];
  int rank;
  int64_t n[STORE_RANK_MAX];
  enum native native;
};
enum { HDF5_ROWS_MAX = 4096 };
struct hdf5_rows {
  struct hdf5_row *row; /* memory_free'd by the caller */
  int n, room;
};
enum status hdf5_rows_find(hid_t file, struct hdf5_rows *rows);
void hdf5_shape_text(int rank, const int64_t *n, char *text, size_t bytes);
bool hdf5_attribute_text(hid_t object, const char *name, char *text, size_t bytes);
bool hdf5_attribute_doubles(hid_t object, const char *name, double *value, int n);

/* ---- filters and packed chunks ---------------------------------------------------------------------- */
enum { FILTER_DETAILS_MAX = 32 };
struct filter {
  int id;
  unsigned detail[FILTER_DETAILS_MAX];
  size_t details;
};
bool filter_known(int id);
/* Unpacks into at most `room` bytes; false when the stream makes no sense. */
bool filter_undo(const struct filter *filter, const void *from, size_t bytes, void *to, size_t room,
                 size_t *got);
/* For the few reads that are left to HDF5 (virtual datasets). */
void filters_register(void);
/* A reader of packed chunks; *chunks NULL: not packed, or by filters that H5Dread has to undo. */
struct chunks;
enum status chunks_make(hid_t dataset, const struct store_info *info, enum native native,
                        struct chunks **chunks);
void chunks_free(struct chunks **chunks);
enum status chunks_read(struct chunks *chunks, const struct store_info *info, hid_t dataset,
                        const int64_t *start, const int64_t *n, void *to);
/* A piece of a dataset (in its own axes) as native values; chunks may be NULL. */
enum status hdf5_piece_read(hid_t dataset, struct chunks *chunks, const struct store_info *info,
                            int rank, enum native native, const int64_t *start, const int64_t *n,
                            void *to);

/* ---- TIFF -------------------------------------------------------------------------------------------- */
struct tiff_source;
bool tiff_is(const char *file);
/* Local: opens, walks the pages, describes. */
enum status tiff_open(const char *file, struct tiff_source **tiff, struct store_info *info,
                      enum native *native);
void tiff_close(struct tiff_source **tiff);
enum status tiff_read(struct tiff_source *tiff, const int64_t *start, const int64_t *n, void *to);

/* ---- files, samples, lock ------------------------------------------------------------------------------- */
/* INPUT with the reason when a name is no file that can be read, or empty. */
enum status file_is_readable(const char *file);
enum status range_hash(int handle, const char *file, int64_t offset, int64_t bytes, uint64_t *hash);
struct samples;
enum status samples_make(struct samples **samples);
void samples_free(struct samples **samples);
void samples_note(struct samples *samples, const void *from, int64_t bytes, int64_t offset);
enum status samples_check(const struct samples *samples, const char *file);
/* Rank 0. OUTPUT when held by a living process, or by one of another host. */
enum status lock_take(const char *lock, int *handle);
void lock_release(const char *lock, int *handle);

/* ---- the shelf -------------------------------------------------------------------------------------- */
struct shelf_entry;
/* Collective. Keeps a copy of a field being written, if it fits, among the pending ones. */
void shelf_note(MPI_Comm comm, struct shelf_entry **pending, const char *product,
                const struct grid_field *field);
/* Entries of a product (NULL: all) are void. */
void shelf_drop(struct shelf_entry **pending, const char *product);
void shelf_commit(const char *path, struct shelf_entry **pending);
/* Collective. true: the field was filled from the shelf. */
bool shelf_take(MPI_Comm comm, const struct store_info *info, struct grid_field *field);

/* ---- the two sides ------------------------------------------------------------------------------------ */
struct store_input {
  struct store_info info;
  enum native native;
  int lead; /* axes of length 1 that info puts before those of the file */
  hid_t dataset;
  struct chunks *chunks;
  struct tiff_source *tiff;
};

enum { OUTPUT_DATASETS = 64, PRODUCT_BYTES = 192 };
struct output_dataset {
  char product[PRODUCT_BYTES];
  bool errors, packed;
  enum grid_type type;
  int rank;
  int64_t n[STORE_RANK_MAX];
  int64_t offset; /* of the first byte in the file; -1: no bytes */
};
struct store_output {
  char path[STORE_NAME_BYTES], partial[STORE_NAME_BYTES];
  bool resumed;
  int handle; /* this rank's, for data; -1 when not open */
  hid_t file; /* rank 0: metadata */
  int why;    /* rank 0: errno of the first failing write of metadata, 0: none */
  int lock;   /* rank 0: the lock's handle, -1 when not held */
  struct output_dataset dataset[OUTPUT_DATASETS];
  int datasets;
  uint64_t content; /* rank 0: hash of record, tables and axes so far */
  struct samples *samples;
  int deflate;                   /* level, 0: plain */
  struct packed_samples *packed; /* rank 0 */
  struct shelf_entry *shelf;     /* pending */
};
/* MEMORY for a full disk, else OUTPUT, in the words of errno. */
enum status output_failed(const struct store_output *output, int why);
int64_t output_bytes(const struct output_dataset *dataset);

/* ---- compressed datasets ------------------------------------------------------------------------------ */
/* Whole slices, or rows of large ones. */
void pack_chunk(const struct output_dataset *dataset, int64_t *chunk);
/* Collective. Each rank's box, of whole chunks. */
enum status pack_write(MPI_Comm comm, struct store_output *output,
                       const struct output_dataset *dataset, const struct box *box,
                       const void *from);
enum status packed_samples_make(struct packed_samples **samples);
/* Does an opened dataset still hold the sampled chunks? */
bool packed_samples_agree(const struct packed_samples *samples,
                          const struct output_dataset *dataset, hid_t id);
/* Chains the hash of all its packed chunks; false when one cannot be read. */
bool packed_hash(const struct output_dataset *dataset, hid_t id, uint64_t *hash);

/* Access properties of an output's file: HDF5 never meets a failing write, the first errno goes to
 * *why instead, which must outlive the open file. H5Pclose it. */
hid_t driver_access(int *why);

/* ---- the inside of an output (rank 0) ---------------------------------------------------------------------- */
enum status nexus_root_make(hid_t file, const char *record);
enum status nexus_text_read(hid_t file, const char *path, char **text); /* free() it */
/* Makes the datasets of a product, or finds equal ones, and sets their offsets. errors->rank 0: none. */
enum status nexus_product_make(hid_t file, const struct store_product *product, const char *unit,
                               const double *axis_um, struct output_dataset *data,
                               struct output_dataset *errors);
/* What turns the product `projections` into an NXtomo. */
struct tomo_frames {
  const double *angle_deg;
  const int32_t *image_key;
  int64_t n;
  double pixel_um;
};
enum status nexus_tomo(hid_t file, const struct tomo_frames *frames);
enum status nexus_spectra(hid_t file, const double *bins, const int64_t *summed, int64_t n);
enum status nexus_axis(hid_t file, const char *product, const char *axis, const double *value,
                       int64_t n, const char *unit);
enum status nexus_table(hid_t file, const char *product, const char *const *column,
                        const char *const *unit, int columns, const double *const *value,
                        int64_t rows);
enum status nexus_note(hid_t file, const char *name, const char *text);
enum status nexus_number(hid_t file, const char *name, double value, const char *unit);
enum status nexus_default(hid_t file, const char *product);
/* Chains the hash of a compressed dataset's chunks. */
enum status nexus_packed_hash(hid_t file, const struct output_dataset *dataset, uint64_t *hash);
enum status nexus_seal(hid_t file, uint64_t content);
enum status nexus_reread(const struct store_output *output);
