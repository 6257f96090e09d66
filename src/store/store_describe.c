/* What a dataset is: type, shape, storage, unit, voxel size; and which datasets a file has. */
#include "store_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- attributes -------------------------------------------------------------------------------- */

static bool text_read(hid_t attribute, hid_t type, char *text, size_t bytes) {
  bool good = false;
  if (H5Tis_variable_str(type) > 0) {
    char *value  = NULL;
    hid_t memory = H5Tcopy(H5T_C_S1);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    good = H5Aread(attribute, memory, &value) >= 0 && value;
    if (good) snprintf(text, bytes, "%s", value);
    if (value) H5free_memory(value);
    H5Tclose(memory);
    return good;
  }
  size_t size = H5Tget_size(type);
  char *value = size > 0 && size < 65536 ? calloc(1, size + 1) : NULL;
  good        = value && H5Aread(attribute, type, value) >= 0;
  if (good) snprintf(text, bytes, "%s", value);
  free(value);
  return good;
}

bool hdf5_attribute_text(hid_t object, const char *name, char *text, size_t bytes) {
  bool good = false;
  if (H5Aexists(object, name) <= 0) return false;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  if (H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1)
    good = text_read(attribute, type, text, bytes);
  H5Sclose(space);
  H5Tclose(type);
  H5Aclose(attribute);
  return good;
}

/* An array of n short texts, of fixed or variable length. */
static bool hdf5_attribute_texts(hid_t object, const char *name, char (*text)[64], int n) {
  if (H5Aexists(object, name) <= 0) return false;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  bool good = H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == n;
  if (good && H5Tis_variable_str(type) > 0) {
    char *value[8] = {NULL};
    good           = n <= 8 && H5Aread(attribute, type, value) >= 0;
    for (int i = 0; i < n && n <= 8; i++) {
      if (good) snprintf(text[i], 64, "%s", value[i] ? value[i] : "");
      if (value[i]) H5free_memory(value[i]);
    }
  } else if (good) {
    size_t width = H5Tget_size(type);
    char *value  = width < 4096 ? calloc((size_t)n, width) : NULL;
    good         = value && H5Aread(attribute, type, value) >= 0;
    for (int i = 0; good && i < n; i++)
      snprintf(text[i], 64, "%.*s", (int)width, value + (size_t)i * width);
    free(value);
  }
  H5Sclose(space);
  H5Tclose(type);
  H5Aclose(attribute);
  return good;
}

bool hdf5_attribute_doubles(hid_t object, const char *name, double *value, int n) {
  if (H5Aexists(object, name) <= 0) return false;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  bool good = native_of_hdf5(type) != NATIVE_NONE && H5Sget_simple_extent_npoints(space) == n &&
              H5Aread(attribute, H5T_NATIVE_DOUBLE, value) >= 0;
  H5Sclose(space);
  H5Tclose(type);
  H5Aclose(attribute);
  return good;
}

/* ---- one dataset --------------------------------------------------------------------------------- */

void hdf5_shape_text(int rank, const int64_t *n, char *text, size_t bytes) {
  size_t at = 0;
  if (bytes) text[0] = 0;
  for (int a = 0; a < rank && at < bytes; a++)
    at += (size_t)snprintf(text + at, bytes - at, "%s%lld", a ? " x " : "", (long long)n[a]);
  if (rank == 0) snprintf(text, bytes, "one value");
}

static bool shape_read(hid_t space, int *rank, int64_t *n) {
  hsize_t dims[H5S_MAX_RANK];
  H5S_class_t class = H5Sget_simple_extent_type(space);
  if (class == H5S_SCALAR) return *rank = 0, true;
  if (class != H5S_SIMPLE) return false;
  *rank = H5Sget_simple_extent_dims(space, dims, NULL);
  if (*rank < 1 || *rank > STORE_RANK_MAX) return false;
  double elements = 1;
  for (int a = 0; a < *rank; a++) {
    elements *= (double)dims[a];
    n[a] = (int64_t)dims[a];
  }
  return elements < 0x1p60;
}

static enum status filters_check(const struct store_info *info, hid_t creation) {
  int count = H5Pget_nfilters(creation);
  for (int i = 0; i < count; i++) {
    unsigned flags, detail;
    size_t details = 0;
    char name[64]  = "";
    H5Z_filter_t filter =
        H5Pget_filter2(creation, (unsigned)i, &flags, &details, NULL, sizeof name, name, &detail);
    if (filter < 0 || H5Zfilter_avail(filter) <= 0)
      return FAIL(STATUS_INPUT,
                  "%s:%s is packed by HDF5 filter %d (%s), which is not known here; unpack it with "
                  "h5repack -f NONE",
                  info->file, info->dataset, (int)filter, name);
  }
  return STATUS_OK;
}

/* A contiguous dataset must lie within its file: else the file was cut short. */
static enum status extent_check(const struct store_info *info, hid_t dataset, size_t bytes) {
  hsize_t size   = 0;
  haddr_t offset = H5Dget_offset(dataset);
  hid_t file     = H5Iget_file_id(dataset);
  bool known     = file >= 0 && H5Fget_filesize(file, &size) >= 0;
  if (file >= 0) H5Fclose(file);
  if (!known || offset == HADDR_UNDEF) return STATUS_OK;
  double end = (double)offset + (double)bytes;
  for (int a = 0; a < info->rank; a++)
    if (a == 0)
      end = (double)offset + (double)bytes * (double)info->n[0];
    else
      end = (double)offset + (end - (double)offset) * (double)info->n[a];
  if (end <= (double)size) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s:%s ends at byte %.0f, but the file has only %.0f: it was cut short",
              info->file, info->dataset, end, (double)size);
}

static enum status storage_check(struct store_info *info, hid_t dataset, size_t bytes) {
  enum status status = STATUS_OK;
  hid_t creation     = H5Dget_create_plist(dataset);
  hsize_t chunk[STORE_RANK_MAX];
  if (H5Pget_external_count(creation) > 0)
    status = FAIL(STATUS_INPUT, "%s:%s keeps its values in another, raw file; this is not followed",
                  info->file, info->dataset);
  else if (H5Pget_layout(creation) == H5D_CHUNKED) {
    if (H5Pget_chunk(creation, info->rank, chunk) == info->rank)
      for (int a = 0; a < info->rank; a++) info->chunk[a] = (int64_t)chunk[a];
    status = filters_check(info, creation);
  } else if (H5Pget_layout(creation) == H5D_CONTIGUOUS)
    status = extent_check(info, dataset, bytes);
  H5Pclose(creation);
  return status;
}

/* Micrometres in a unit of length; 0: not one. */
static double unit_um(const char *unit) {
  static const struct {
    const char *name;
    double um;
  } row[] = {
      {"um",         1   },
      {"\xc2\xb5m",  1   },
      {"\xce\xbcm",  1   },
      {"micron",     1   },
      {"microns",    1   },
      {"micrometer", 1   },
      {"micrometre", 1   },
      {"nm",         1e-3},
      {"mm",         1e3 },
      {"cm",         1e4 },
      {"m",          1e6 },
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++)
    if (strcmp(unit, row[i].name) == 0) return row[i].um;
  return 0;
}

/* Spacing of an axis dataset of n values, if they are evenly spaced in a unit of length. */
static double spacing_um(hid_t group, const char *name, int64_t n) {
  enum { VALUES_MAX = 1 << 16 };
  char unit[32];
  H5L_info_t link;
  if (n < 2 || n > VALUES_MAX || strchr(name, '/') ||
      H5Lget_info(group, name, &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD)
    return 0;
  hid_t axis = H5Dopen2(group, name, H5P_DEFAULT);
  if (axis < 0) return 0;
  hid_t space = H5Dget_space(axis), type = H5Dget_type(axis), creation = H5Dget_create_plist(axis);
  double *value = malloc((size_t)n * sizeof *value), step = 0;
  bool good = value && H5Sget_simple_extent_npoints(space) == n &&
              native_of_hdf5(type) != NATIVE_NONE && H5Pget_layout(creation) != H5D_CHUNKED &&
              H5Pget_layout(creation) != H5D_VIRTUAL && H5Pget_external_count(creation) == 0 &&
              hdf5_attribute_text(axis, "units", unit, sizeof unit) &&
              H5Dread(axis, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0;
  if (good) step = fabs(value[n - 1] - value[0]) / (double)(n - 1);
  for (int64_t i = 1; good && i < n; i++)
    good = fabs(fabs(value[i] - value[i - 1]) - step) <= 1e-3 * step;
  free(value);
  H5Pclose(creation);
  H5Tclose(type);
  H5Sclose(space);
  H5Dclose(axis);
  return good && isfinite(step) ? step * unit_um(unit) : 0;
}

/* NeXus: the group's `axes` names a dataset for each axis. */
static void axes_spacing_read(hid_t dataset, struct store_info *info) {
  char path[STORE_NAME_BYTES], axes[3][64];
  ssize_t length = H5Iget_name(dataset, path, sizeof path);
  hid_t file     = H5Iget_file_id(dataset);
  char *slash    = length > 0 && length < (ssize_t)sizeof path ? strrchr(path, '/') : NULL;
  if (slash && slash > path) {
    *slash      = 0;
    hid_t group = H5Gopen2(file, path, H5P_DEFAULT);
    if (group >= 0 && hdf5_attribute_texts(group, "axes", axes, 3))
      for (int a = 0; a < 3; a++) info->voxel_um[a] = spacing_um(group, axes[a], info->n[a]);
    if (group >= 0) H5Gclose(group);
  }
  if (file >= 0) H5Fclose(file);
}

/* Our own attribute, then what ImageJ and ilastik write, then NeXus axes. */
static void voxel_read(hid_t dataset, struct store_info *info) {
  double value[3];
  if (!hdf5_attribute_doubles(dataset, "voxel_um", value, 3) &&
      !hdf5_attribute_doubles(dataset, "element_size_um", value, 3)) {
    if (info->rank == 3) axes_spacing_read(dataset, info);
    return;
  }
  for (int a = 0; a < 3; a++)
    if (isfinite(value[a]) && value[a] > 0) info->voxel_um[a] = value[a];
}

enum status hdf5_dataset_describe(hid_t dataset, struct store_info *info, enum native *native) {
  hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
  *native   = type < 0 ? NATIVE_NONE : native_of_hdf5(type);
  bool good = space >= 0 && shape_read(space, &info->rank, info->n);
  if (space >= 0) H5Sclose(space);
  size_t bytes = type < 0 ? 0 : H5Tget_size(type);
  if (type >= 0) H5Tclose(type);
  if (*native == NATIVE_NONE)
    return FAIL(STATUS_INPUT, "%s:%s holds no numbers of 8 to 64 bits", info->file, info->dataset);
  if (!good)
    return FAIL(STATUS_INPUT, "%s:%s has no shape of 0 to %d axes and sane lengths", info->file,
                info->dataset, STORE_RANK_MAX);
  info->type = native_nearest(*native);
  TRY(storage_check(info, dataset, bytes));
  hdf5_attribute_text(dataset, "units", info->unit, sizeof info->unit);
  voxel_read(dataset, info);
  return STATUS_OK;
}

/* ---- all datasets ----------------------------------------------------------------------------------- */

struct search {
  struct hdf5_rows *rows;
  haddr_t *seen;
  bool out_of_memory;
};

static bool rows_grow(struct hdf5_rows *rows, haddr_t **seen) {
  if (rows->n < rows->room) return true;
  int room             = rows->room ? 2 * rows->room : 16;
  struct hdf5_row *row = realloc(rows->row, (size_t)room * sizeof *row);
  if (row) rows->row = row;
  haddr_t *more = realloc(*seen, (size_t)room * sizeof *more);
  if (more) *seen = more;
  if (!row || !more) return false;
  rows->room = room;
  return true;
}

static herr_t row_visit(hid_t group, const char *name, const H5L_info_t *link, void *context) {
  struct search *search  = context;
  struct hdf5_rows *rows = search->rows;
  H5O_info_t info;
  if (link->type != H5L_TYPE_HARD || strncmp(name, "VTKHDF/", 7) == 0) return 0;
  if (H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return 0;
  if (info.type != H5O_TYPE_DATASET || strlen(name) + 2 > STORE_NAME_BYTES) return 0;
  for (int i = 0; info.rc > 1 && i < rows->n; i++)
    if (search->seen[i] == info.addr) return 0;
  if (!rows_grow(rows, &search->seen)) return search->out_of_memory = true, 1;
  hid_t dataset = H5Dopen2(group, name, H5P_DEFAULT);
  if (dataset < 0) return 0;
  struct hdf5_row *row = &rows->row[rows->n];
  hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
  row->native = type < 0 ? NATIVE_NONE : native_of_hdf5(type);
  bool good   = row->native != NATIVE_NONE && space >= 0 && shape_read(space, &row->rank, row->n);
  if (type >= 0) H5Tclose(type);
  if (space >= 0) H5Sclose(space);
  H5Dclose(dataset);
  snprintf(row->path, sizeof row->path, "/%s", name);
  search->seen[rows->n] = info.addr;
  rows->n += good;
  return rows->n == HDF5_ROWS_MAX;
}

enum status hdf5_rows_find(hid_t file, struct hdf5_rows *rows) {
  struct search search = {.rows = rows};
  H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, row_visit, &search);
  free(search.seen);
  if (search.out_of_memory) return FAIL(STATUS_MEMORY, "no memory for the list of datasets");
  return STATUS_OK;
}
