/* Opening an input. Rank 0 splits the name, probes the file, follows links and decides which
 * dataset is meant; all ranks then open that very dataset, each by itself with plain POSIX reads
 * (no MPI-IO): a failure stays local until it is agreed, virtual datasets and filters work, and no
 * rank can be left waiting inside the library. */
#include "store_private.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- names ------------------------------------------------------------------------------------- */

/* FILE or FILE:DATASET; an existing file of the whole name wins. */
static enum status name_split(const char *name, char file[STORE_NAME_BYTES],
                              char dataset[STORE_NAME_BYTES]) {
  if (strlen(name) >= STORE_NAME_BYTES)
    return FAIL(STATUS_INPUT, "the input's name is longer than %d bytes", STORE_NAME_BYTES - 1);
  if (!*name) return FAIL(STATUS_INPUT, "no input file is named");
  snprintf(file, STORE_NAME_BYTES, "%s", name);
  dataset[0]  = 0;
  char *colon = strrchr(file, ':');
  if (access(name, F_OK) == 0 || !colon) return STATUS_OK;
  *colon = 0;
  snprintf(dataset, STORE_NAME_BYTES, "%s", colon + 1);
  return STATUS_OK;
}

/* The candidates as lines; those of `rank` only, when it is not 0. */
static void rows_text(const struct hdf5_rows *rows, int rank, char *text, size_t bytes) {
  size_t at = 0;
  text[0]   = 0;
  for (int i = 0, told = 0; i < rows->n && at < bytes; i++) {
    const struct hdf5_row *row = &rows->row[i];
    char shape[128];
    if (rank && row->rank != rank) continue;
    if (++told > 20) {
      snprintf(text + at, bytes - at, "\n  ...");
      return;
    }
    hdf5_shape_text(row->rank, row->n, shape, sizeof shape);
    at += (size_t)snprintf(text + at, bytes - at, "\n  %.300s (%s, %s)", row->path, shape,
                           native_name(row->native));
  }
  if (at == 0) snprintf(text, bytes, "\n  (none)");
}

static enum status dataset_missing(const struct store_info *info, const struct hdf5_rows *rows,
                                   const char *reason) {
  char text[8192], hint[400] = "";
  const char *path[HDF5_ROWS_MAX];
  for (int i = 0; i < rows->n; i++) path[i] = rows->row[i].path;
  const char *near = config_nearest(info->dataset, path, rows->n);
  if (near) snprintf(hint, sizeof hint, "; did you mean %.300s?", near);
  rows_text(rows, 0, text, sizeof text);
  return FAIL(STATUS_INPUT, "%s has no dataset %s (%s)%s\nits numeric datasets are:%s", info->file,
              info->dataset, reason, hint, text);
}

/* Without DATASET: the product, else the only dataset of the rank. */
static enum status dataset_choose(struct store_info *info, const struct hdf5_rows *rows,
                                  const char *product, int rank) {
  char text[8192], wanted[STORE_NAME_BYTES];
  const struct hdf5_row *only = NULL, *flat = NULL;
  int found = 0, flats = 0;
  snprintf(wanted, sizeof wanted, "/entry/%s/data", product ? product : "");
  for (int i = 0; i < rows->n; i++) {
    const struct hdf5_row *row = &rows->row[i];
    if (product && strcmp(row->path, wanted) == 0) {
      snprintf(info->dataset, STORE_NAME_BYTES, "%s", wanted);
      return STATUS_OK;
    }
    if (row->rank > 0 && (rank == 0 || row->rank == rank)) found++, only = row;
    if (rank == 3 && row->rank == 2) flats++, flat = row;
  }
  if (found == 0 && flats == 1) found = 1, only = flat;
  if (found == 1) {
    snprintf(info->dataset, STORE_NAME_BYTES, "%s", only->path);
    return STATUS_OK;
  }
  rows_text(rows, found ? rank : 0, text, sizeof text);
  if (found == 0)
    return FAIL(STATUS_INPUT, "%s has no numeric dataset of %d axes; it has:%s", info->file, rank,
                text);
  return FAIL(STATUS_INPUT, "%s has %d datasets that may be meant; say which, as %s:DATASET:%s",
              info->file, found, info->file, text);
}

/* A group of class NXdata stands for its signal. The path is resolved: no links on it. */
static enum status signal_follow(char file[STORE_NAME_BYTES], char path[STORE_NAME_BYTES],
                                 bool *found, char reason[STORE_NAME_BYTES]) {
  char signal[256], name[STORE_NAME_BYTES];
  hid_t id;
  TRY(hdf5_open(file, true, &id));
  hid_t object = H5Oopen(id, path, H5P_DEFAULT);
  H5Fclose(id);
  bool follow = object >= 0 && H5Iget_type(object) == H5I_GROUP &&
                hdf5_attribute_text(object, "signal", signal, sizeof signal) &&
                (size_t)snprintf(name, sizeof name, "%s/%s", path, signal) < sizeof name;
  if (object >= 0) H5Oclose(object);
  if (!follow) return STATUS_OK;
  memcpy(path, name, sizeof name);
  return hdf5_resolve(file, path, found, reason);
}

/* ---- rank 0: which dataset ------------------------------------------------------------------------ */

struct choice {
  char file[STORE_NAME_BYTES], path[STORE_NAME_BYTES]; /* where the values truly lie */
  struct store_info info;
};

static enum status hdf5_choose(struct choice *choice, const char *product, int rank) {
  struct store_info *info       = &choice->info;
  struct hdf5_rows rows         = {0};
  char reason[STORE_NAME_BYTES] = "";
  bool found                    = false;
  hid_t file                    = -1;
  enum status status            = hdf5_open(info->file, true, &file);
  if (status == STATUS_OK) status = hdf5_rows_find(file, &rows);
  if (status == STATUS_OK && !info->dataset[0]) status = dataset_choose(info, &rows, product, rank);
  memcpy(choice->file, info->file, sizeof choice->file);
  memcpy(choice->path, info->dataset, sizeof choice->path);
  if (status == STATUS_OK) status = hdf5_resolve(choice->file, choice->path, &found, reason);
  if (status == STATUS_OK && found)
    status = signal_follow(choice->file, choice->path, &found, reason);
  if (status == STATUS_OK && !found) status = dataset_missing(info, &rows, reason);
  if (file >= 0) H5Fclose(file);
  free(rows.row);
  return status;
}

static enum status choose(const char *name, const char *product, int rank, struct choice *choice) {
  struct store_info *info = &choice->info;
  TRY(name_split(name, info->file, info->dataset));
  info->is_tiff = tiff_is(info->file);
  if (!info->is_tiff) return hdf5_choose(choice, product, rank);
  if (info->dataset[0])
    return FAIL(STATUS_INPUT, "%s is TIFF and has no dataset %s; name the file alone", info->file,
                info->dataset);
  memcpy(choice->file, info->file, sizeof choice->file);
  return probe_local(info->file);
}

/* ---- every rank: open it ------------------------------------------------------------------------- */

static enum status hdf5_input_open(const struct choice *choice, struct store_input *input) {
  hid_t file;
  TRY(hdf5_open(choice->file, false, &file));
  input->dataset = H5Oopen(file, choice->path, H5P_DEFAULT);
  H5Fclose(file);
  if (input->dataset < 0)
    return FAIL(STATUS_INPUT, "%s:%s cannot be opened: %s", choice->file, choice->path,
                hdf5_reason());
  if (H5Iget_type(input->dataset) != H5I_DATASET)
    return FAIL(STATUS_INPUT, "%s:%s is a group; a dataset was expected", choice->info.file,
                choice->info.dataset);
  TRY(hdf5_dataset_describe(input->dataset, &input->info, &input->native));
  return chunks_make(input->dataset, &input->info, input->native, &input->chunks);
}

/* Puts an axis of length 1 before two axes where three are wanted. */
static enum status rank_fit(struct store_input *input, int rank) {
  struct store_info *info = &input->info;
  char shape[128];
  if (rank == 3 && info->rank == 2) {
    for (int a = 2; a > 0; a--) info->n[a] = info->n[a - 1], info->chunk[a] = info->chunk[a - 1];
    info->n[0]     = 1;
    info->chunk[0] = info->chunk[1] > 0;
    info->rank     = 3;
    input->lead    = 1;
  }
  hdf5_shape_text(info->rank, info->n, shape, sizeof shape);
  if (info->rank == 0 || (rank != 0 && info->rank != rank))
    return FAIL(STATUS_INPUT, "%s:%s has %d axes (%s), not %d", info->file, info->dataset,
                info->rank, shape, rank);
  return STATUS_OK;
}

static enum status input_open(const struct choice *choice, int rank, struct store_input *input) {
  TRY(fault_here("store.open"));
  input->info = choice->info;
  if (choice->info.is_tiff)
    TRY(tiff_open(choice->file, &input->tiff, &input->info, &input->native));
  else
    TRY(hdf5_input_open(choice, input));
  return rank_fit(input, rank);
}

enum status store_open(MPI_Comm comm, const char *name, const char *product, int rank,
                       struct store_input **input) {
  struct choice choice = {0};
  *input               = NULL;
  hdf5_start();
  TRY(ON_ROOT(comm, "store.choose", choose(name, product, rank, &choice)));
  MPI_Bcast(&choice, (int)sizeof choice, MPI_BYTE, 0, comm);
  enum status mine = memory_make(1, sizeof **input, "an input", input);
  if (mine == STATUS_OK) {
    (*input)->dataset = -1;
    mine              = input_open(&choice, rank, *input);
  }
  enum status status = AGREE(comm, mine);
  if (status != STATUS_OK) store_close(input);
  return status;
}

void store_close(struct store_input **input) {
  if (!*input) return;
  if ((*input)->dataset >= 0) H5Oclose((*input)->dataset);
  chunks_free(&(*input)->chunks);
  tiff_close(&(*input)->tiff);
  memory_free(*input);
  *input = NULL;
}

const struct store_info *store_info(const struct store_input *input) { return &input->info; }
