/* store: collective HDF5 (and TIFF) input and output. Inputs are probed in a limited child before
 * they are opened; outputs appear under their name only when whole. */
#pragma once
#include "config.h"
#include "grid.h"

enum { STORE_RANK_MAX = 5, STORE_NAME_BYTES = 2048 };

/* Local; main() calls it before MPI_Init. Takes what the environment could do to HDF5 and MPI-IO out
 * of it (plugins, prefixes of external files), and chooses Open MPI's sound file settings where the
 * user chose none. */
void store_environment_set(void);

/* ---- products: every dataset that passes between stages (product.def) -------------------------
 * PRODUCT(name, type, rank, axes, unit, meaning); path in the file: /entry/<name>/data. */
struct store_product {
  const char *name;
  enum grid_type type;
  int rank;
  const char *axes; /* "z,y,x" */
  const char *unit; /* "" = dimensionless, "*" = said by the stage */
  const char *meaning;
};
const struct store_product *store_product_find(const char *name); /* NULL: unknown */
const struct store_product *store_product_list(int *n);

/* ---- input ----------------------------------------------------------------------------------- */

/* An opened numeric dataset of any file: our products, foreign HDF5, multi-page TIFF (z = page). */
struct store_input;
struct store_info {
  char file[STORE_NAME_BYTES], dataset[STORE_NAME_BYTES]; /* resolved */
  bool is_tiff;
  int rank;
  int64_t n[STORE_RANK_MAX];
  enum grid_type type; /* nearest of ours; int8/16 read as int32, uint64 as int64 (checked) */
  double voxel_um[3];  /* z, y, x; 0 = the file says nothing */
  char unit[64];       /* of the data, "" = none said */
  int64_t chunk[STORE_RANK_MAX]; /* 0: contiguous */
};
/* Collective. `name` is FILE or FILE:DATASET: an existing file of the whole name wins, else it is
 * split at the last ':'. Without DATASET: the product `product` (may be NULL), else the only
 * numeric dataset of rank `rank` (0 = any), else INPUT with the candidates listed. Where rank 3 is
 * wanted, a dataset of two axes counts as one slice: its info has rank 3 and n[0] = 1. A group of
 * class NXdata stands for its signal. External links are followed into the folder of the file and
 * into folders given to store_link_allow, nowhere else. */
enum status store_open(MPI_Comm comm, const char *name, const char *product, int rank,
                       struct store_input **input);
void store_close(struct store_input **input);
const struct store_info *store_info(const struct store_input *input);
/* Local, alike on all ranks: external links may lead into this folder too, and what they name is
 * looked for there when it is not where they say. */
enum status store_link_allow(const char *folder);
/* Collective, in equal rounds; box of this rank (n[i] = 0: nothing); converted to `type`
 * (INPUT when a value does not fit, e.g. float labels with fractions: `exact` = true refuses
 * any change of value). */
enum status store_read_box(MPI_Comm comm, struct store_input *input, const int64_t *start,
                           const int64_t *n, enum grid_type type, bool exact, void *to);
/* Collective. Reads the owned voxels of `field` (its plan has the dataset's shape; rank 2 counts as
 * one slice), type as the field's. Takes the shelf's copy when the same dataset was just written
 * with an equal plan (store_shelf_limit). */
enum status store_read_field(MPI_Comm comm, struct store_input *input, bool exact,
                             struct grid_field *field);
/* Collective. The box `box` of the dataset onto `field`, whose shape is box->n. */
enum status store_read_field_box(MPI_Comm comm, struct store_input *input,
                                 const struct grid_box *box, bool exact, struct grid_field *field);
/* Collective. A small dataset or attribute ("path@attribute") of any HDF5 file, whole, on all
 * ranks. *found false: not there (no error). Arrays come as doubles, *values memory_free'd by the
 * caller. */
enum status store_get_doubles(MPI_Comm comm, const char *file, const char *path, bool *found,
                              double **values, int64_t *n);
enum status store_get_text(MPI_Comm comm, const char *file, const char *path, bool *found,
                           char *text, size_t bytes);
/* Collective. Numeric datasets of a file: "path (n0 x n1, type)" lines; and existence. */
enum status store_list(MPI_Comm comm, const char *file, char **lines);
enum status store_has(MPI_Comm comm, const char *file, const char *path, bool *found);
/* Collective. Runs the probing child on the file: OK, or INPUT with what is wrong (store_open does
 * so itself). Who forks the children is this program with its own first argument: any program linked with
 * store becomes that server before its main begins. */
enum status store_probe(MPI_Comm comm, const char *file);
/* Collective. What a file is: up to 64 MiB "size whole <checksum of all>", larger ones "size mtime <checksum of a
 * sample>"; of our own outputs "own <hash of record and content>". No copying or later date changes the first
 * and the last. */
enum status store_fingerprint(MPI_Comm comm, const char *file, char *text, size_t bytes);
/* Local. 64-bit hash of bytes (xxHash-like mixing), chained by seed. */
uint64_t store_hash(const void *bytes, int64_t n, uint64_t seed);

/* ---- output ---------------------------------------------------------------------------------- */

struct store_output;
/* Local. May this name from a file stand in a path: [A-Za-z0-9._-]{1,64}, not "." or "..". */
bool store_name_ok(const char *name);
/* Collective. Takes the lock, checks the folder and the free space against size_bytes (forecast),
 * creates PATH.partial. OUTPUT: locked (with the other's host and pid), not writable; MEMORY: too
 * little space. An existing PATH is replaced at commit; a PATH that is not one of our files is
 * refused without `force`. resume = true: an own PATH.partial of equal `record` goes on. */
struct store_options {
  bool force, resume;
  int deflate; /* 0: plain (fast, and the only kind that resumes); 1..9: compressed in whole slices */
  int64_t size_bytes;
  const char *record; /* effective parameters and inputs; equal record = same work */
};
enum status store_begin(MPI_Comm comm, const char *path, const struct store_options *options,
                        struct store_output **output);
/* Collective. What store_begin would refuse, before long work; leaves nothing behind. */
enum status store_output_check(MPI_Comm comm, const char *path,
                               const struct store_options *options);
/* Did a partial file of equal record go on? Its datasets then keep their values through store_create. */
bool store_resumed(const struct store_output *output);
/* Collective. Creates and preallocates the dataset of a product with its NeXus group, attributes
 * and (3-D) /VTKHDF link. rank and type as in product.def. axis_um: spacing of each axis in um (0 =
 * none); unit NULL = product.def's. with_errors adds "<product>/data_errors" (float32), as NeXus
 * names them. */
enum status store_create(MPI_Comm comm, struct store_output *output, const char *product,
                         const int64_t *n, const double *axis_um, const char *unit,
                         bool with_errors);
/* Collective. The same with another type than the table's. */
enum status store_create_as(MPI_Comm comm, struct store_output *output, const char *product,
                            enum grid_type type, const int64_t *n, const double *axis_um,
                            const char *unit, bool with_errors);
/* Collective. Values of one axis (e.g. energies), from rank 0's array. */
enum status store_axis(MPI_Comm comm, struct store_output *output, const char *product,
                       const char *axis, const double *value, int64_t n, const char *unit);
/* Collective; once all datasets are created: one flush, so that a killed run leaves a file that
 * opens. */
enum status store_ready(MPI_Comm comm, struct store_output *output);
/* Collective. All written so far is on disk, metadata too: before a round is noted as done. */
enum status store_sync(MPI_Comm comm, struct store_output *output);
/* Collective, in equal rounds; box of this rank. errors = true writes the errors dataset. */
enum status store_write_box(MPI_Comm comm, struct store_output *output, const char *product,
                            bool errors, const int64_t *start, const int64_t *n, const void *from);
/* Collective. The owned voxels of a field; z0 shifts it along axis 0 (rounds). */
enum status store_write_field(MPI_Comm comm, struct store_output *output, const char *product,
                              const struct grid_field *field, int64_t z0);
/* Collective. Makes the file an NXtomo: the product `projections` under the names of that definition, with each
 * frame's angle and image key (0 projection, 1 flat, 2 dark), from rank 0's arrays. After store_create of it. */
enum status store_tomo(MPI_Comm comm, struct store_output *output, const double *angle_deg,
                       const int32_t *image_key, int64_t n, double pixel_um);
/* Collective. Makes the file one of odin-data's HEXITEC spectra: the product `pixel_spectra` by that name in the
 * root, beside `spectra_bins` (middles, keV; its attribute `position` says "centre") and `summed_spectra` (uint64), both of n, from rank 0's arrays. After
 * store_create of it. */
enum status store_spectra(MPI_Comm comm, struct store_output *output, const double *bins,
                          const int64_t *summed, int64_t n);
/* Collective. Columns of a table as /entry/<product>/<column> datasets (float64 or int64 kept as
 * double exactly up to 2^53), values from rank 0: value[column][row]. */
enum status store_table(MPI_Comm comm, struct store_output *output, const char *product,
                        const char *const *column, const char *const *unit, int columns,
                        const double *const *value, int64_t rows);
/* Collective. Text and numbers into /entry/process (e.g. "inputs"), or with "group/name" into
 * /entry/group. A text whose name holds "yaml" becomes an NXnote (its text is in <name>/data). */
enum status store_note(MPI_Comm comm, struct store_output *output, const char *name,
                       const char *text);
enum status store_number(MPI_Comm comm, struct store_output *output, const char *name, double value,
                         const char *unit);
/* Which product a viewer opens first (NeXus default chain). */
enum status store_default(MPI_Comm comm, struct store_output *output, const char *product);
/* Collective. flush, fsync, read-back of a sample, rename, unlock. Frees and nulls *output. */
enum status store_commit(MPI_Comm comm, struct store_output **output);
/* Collective, safe after errors: closes, removes PATH.partial (kept when keep), unlocks. */
void store_abandon(MPI_Comm comm, struct store_output **output, bool keep);
/* Local, alike on all ranks: bytes per rank that the shelf may hold (at first 0: no shelf). The shelf
 * keeps fields written whole (z0 = 0) for a following stage of this process that reads them with an
 * equal plan; the oldest go first. */
void store_shelf_limit(int64_t bytes);
/* Local. Empties the shelf. */
void store_shelf_clear(void);
/* Collective; rank 0 holds it. The lock PATH with host and pid of its owner, for as long as the owner
 * lives or until release: OUTPUT, naming the owner, while another holds it; that of a dead process is
 * taken over. *handle is -1 on the other ranks and after release. */
enum status store_lock_take(MPI_Comm comm, const char *path, int *handle);
void store_lock_release(const char *path, int *handle);
/* Local, rank 0: small text file written whole (temporary name, fsync, rename). */
enum status store_text_write(const char *path, const char *text, int64_t n);
