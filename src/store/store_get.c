/* Small datasets and attributes, whole, for all ranks; lists of datasets. Rank 0 reads and
 * broadcasts. */
#include "store_private.h"
#include <stdlib.h>
#include <string.h>

enum { SMALL_ELEMENTS = 64 << 20, TEXT_MOST = 1 << 20 };

/* A dataset or attribute seen alike. */
struct thing {
  hid_t object, attribute; /* attribute -1: the dataset itself */
  hid_t type, space;
  char name[2 * STORE_NAME_BYTES]; /* for messages */
};

static void thing_close(struct thing *thing) {
  if (thing->space >= 0) H5Sclose(thing->space);
  if (thing->type >= 0) H5Tclose(thing->type);
  if (thing->attribute >= 0) H5Aclose(thing->attribute);
  if (thing->object >= 0) H5Oclose(thing->object);
}

static herr_t thing_read(const struct thing *thing, hid_t type, void *to) {
  return thing->attribute >= 0 ? H5Aread(thing->attribute, type, to)
                               : H5Dread(thing->object, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to);
}

/* An NXnote stands for its data. */
static void note_follow(struct thing *thing) {
  char class[32];
  if (H5Iget_type(thing->object) != H5I_GROUP ||
      !hdf5_attribute_text(thing->object, "NX_class", class, sizeof class) ||
      strcmp(class, "NXnote") != 0)
    return;
  hid_t data = H5Dopen2(thing->object, "data", H5P_DEFAULT);
  if (data < 0) return;
  H5Oclose(thing->object);
  thing->object = data;
}

static enum status thing_open_at(struct thing *thing, char file[STORE_NAME_BYTES],
                                 char path[STORE_NAME_BYTES], const char *attribute, bool *found) {
  char reason[STORE_NAME_BYTES];
  hid_t id;
  TRY(hdf5_resolve(file, path, found, reason));
  if (!*found) return STATUS_OK;
  TRY(hdf5_open(file, true, &id));
  thing->object = H5Oopen(id, path, H5P_DEFAULT);
  H5Fclose(id);
  *found = thing->object >= 0;
  if (*found && attribute) {
    *found = H5Aexists(thing->object, attribute) > 0;
    if (*found) thing->attribute = H5Aopen(thing->object, attribute, H5P_DEFAULT);
    *found = thing->attribute >= 0;
  } else if (*found) {
    note_follow(thing);
    *found = H5Iget_type(thing->object) == H5I_DATASET;
  }
  if (!*found) return STATUS_OK;
  thing->type  = attribute ? H5Aget_type(thing->attribute) : H5Dget_type(thing->object);
  thing->space = attribute ? H5Aget_space(thing->attribute) : H5Dget_space(thing->object);
  if (thing->type < 0 || thing->space < 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", thing->name, hdf5_reason());
  return STATUS_OK;
}

/* "path" or "path@attribute". */
static enum status thing_open(const char *file, const char *path, struct thing *thing,
                              bool *found) {
  char place[STORE_NAME_BYTES], at[STORE_NAME_BYTES];
  *thing = (struct thing){.object = -1, .attribute = -1, .type = -1, .space = -1};
  if (strlen(file) >= sizeof place || strlen(path) >= sizeof at)
    return FAIL(STATUS_INPUT, "a name is longer than %d bytes", STORE_NAME_BYTES - 1);
  *found = false;
  if (tiff_is(file)) return STATUS_OK;
  snprintf(thing->name, sizeof thing->name, "%.2000s:%.2000s", file, path);
  snprintf(place, sizeof place, "%s", file);
  snprintf(at, sizeof at, "%s", path);
  char attribute[256] = "", *mark = strrchr(at, '@'); /* apart: resolving rewrites the path */
  if (mark) {
    snprintf(attribute, sizeof attribute, "%s", mark + 1);
    *mark = 0;
  }
  enum status status = thing_open_at(thing, place, at, mark ? attribute : NULL, found);
  if (status != STATUS_OK || !*found) thing_close(thing);
  return status;
}

/* ---- numbers ------------------------------------------------------------------------------------- */

/* A whole dataset through the same careful path as volumes. */
static enum status dataset_doubles(const struct thing *thing, const char *file, const char *path,
                                   double *values, int64_t n) {
  struct store_info info = {0};
  struct chunks *chunks  = NULL;
  enum native native;
  void *stored;
  const int64_t start[STORE_RANK_MAX] = {0};
  snprintf(info.file, sizeof info.file, "%s", file);
  snprintf(info.dataset, sizeof info.dataset, "%s", path);
  TRY(hdf5_dataset_describe(thing->object, &info, &native));
  TRY(memory_make_raw(n, native_bytes(native), thing->name, &stored));
  enum status status = chunks_make(thing->object, &info, native, &chunks);
  if (status == STATUS_OK)
    status =
        hdf5_piece_read(thing->object, chunks, &info, info.rank, native, start, info.n, stored);
  chunks_free(&chunks);
  if (status == STATUS_OK && native_convert(native, stored, GRID_F64, values, n, false) >= 0)
    status = FAIL(STATUS_INPUT, "%s has integers beyond 2^63", thing->name);
  memory_free(stored);
  return status;
}

static enum status doubles_read(const struct thing *thing, const char *file, const char *path,
                                double **values, int64_t *n) {
  *n = (int64_t)H5Sget_simple_extent_npoints(thing->space);
  if (native_of_hdf5(thing->type) == NATIVE_NONE)
    return FAIL(STATUS_INPUT, "%s is not numeric", thing->name);
  if (*n < 0 || *n > SMALL_ELEMENTS)
    return FAIL(STATUS_INPUT, "%s has %lld values; at most %d are read whole", thing->name,
                (long long)*n, SMALL_ELEMENTS);
  TRY(memory_make_raw(*n, sizeof **values, thing->name, values));
  enum status status = STATUS_OK;
  if (*n > 0 && thing->attribute < 0)
    status = dataset_doubles(thing, file, path, *values, *n);
  else if (*n > 0 && H5Aread(thing->attribute, H5T_NATIVE_DOUBLE, *values) < 0)
    status = FAIL(STATUS_INPUT, "%s cannot be read: %s", thing->name, hdf5_reason());
  if (status == STATUS_OK) return STATUS_OK;
  memory_free(*values);
  *values = NULL;
  return status;
}

static enum status doubles_get(const char *file, const char *path, bool *found, double **values,
                               int64_t *n) {
  struct thing thing;
  TRY(thing_open(file, path, &thing, found));
  if (!*found) return STATUS_OK;
  enum status status = doubles_read(&thing, file, path, values, n);
  thing_close(&thing);
  return status;
}

enum status store_get_doubles(MPI_Comm comm, const char *file, const char *path, bool *found,
                              double **values, int64_t *n) {
  int me             = rank_of(comm);
  *found             = false;
  *values            = NULL;
  *n                 = 0;
  enum status status = ON_ROOT(comm, "store.get", doubles_get(file, path, found, values, n));
  if (status != STATUS_OK) {
    memory_free(*values);
    *values = NULL;
    return status;
  }
  int64_t told[2] = {*found, *n};
  MPI_Bcast(told, 2, MPI_INT64_T, 0, comm);
  *found = told[0] != 0;
  *n     = told[1];
  if (!*found) return STATUS_OK;
  enum status mine =
      me == 0 ? STATUS_OK : memory_make_raw(*n, sizeof **values, "values from a file", values);
  status = AGREE(comm, mine);
  if (status == STATUS_OK)
    MPI_Bcast(*values, (int)*n, MPI_DOUBLE, 0, comm);
  else {
    memory_free(*values);
    *values = NULL;
  }
  return status;
}

/* ---- text -------------------------------------------------------------------------------------------- */

static bool variable_read(const struct thing *thing, char *text, size_t bytes) {
  char *value  = NULL;
  hid_t memory = H5Tcopy(H5T_C_S1);
  H5Tset_size(memory, H5T_VARIABLE);
  H5Tset_cset(memory, H5Tget_cset(thing->type));
  bool good = thing_read(thing, memory, &value) >= 0;
  if (good) snprintf(text, bytes, "%s", value ? value : "");
  if (value) H5free_memory(value);
  H5Tclose(memory);
  return good;
}

static bool fixed_read(const struct thing *thing, char *text, size_t bytes) {
  size_t size = H5Tget_size(thing->type);
  char *value = size > 0 && size <= TEXT_MOST ? calloc(1, size + 1) : NULL;
  bool good   = value && thing_read(thing, thing->type, value) >= 0;
  if (good) {
    if (H5Tget_strpad(thing->type) == H5T_STR_SPACEPAD)
      for (char *end = value + size - 1; end >= value && *end == ' '; end--) *end = 0;
    snprintf(text, bytes, "%s", value);
  }
  free(value);
  return good;
}

static enum status text_read(const struct thing *thing, char *text, size_t bytes) {
  double value;
  if (H5Sget_simple_extent_npoints(thing->space) != 1)
    return FAIL(STATUS_INPUT, "%s is an array; one text was expected", thing->name);
  bool good;
  if (H5Tget_class(thing->type) != H5T_STRING) {
    good = native_of_hdf5(thing->type) != NATIVE_NONE &&
           thing_read(thing, H5T_NATIVE_DOUBLE, &value) >= 0;
    if (good) snprintf(text, bytes, "%.15g", value);
  } else if (H5Tis_variable_str(thing->type) > 0)
    good = variable_read(thing, text, bytes);
  else
    good = fixed_read(thing, text, bytes);
  return good ? STATUS_OK : FAIL(STATUS_INPUT, "%s cannot be read as text", thing->name);
}

static enum status text_get(const char *file, const char *path, bool *found, char *text,
                            size_t bytes) {
  struct thing thing;
  TRY(thing_open(file, path, &thing, found));
  if (!*found) return STATUS_OK;
  enum status status = text_read(&thing, text, bytes);
  thing_close(&thing);
  return status;
}

enum status store_get_text(MPI_Comm comm, const char *file, const char *path, bool *found,
                           char *text, size_t bytes) {
  *found  = false;
  text[0] = 0;
  TRY(ON_ROOT(comm, "store.get", text_get(file, path, found, text, bytes)));
  int told = *found;
  MPI_Bcast(&told, 1, MPI_INT, 0, comm);
  MPI_Bcast(text, (int)bytes, MPI_CHAR, 0, comm);
  *found = told != 0;
  return STATUS_OK;
}

/* ---- lists --------------------------------------------------------------------------------------------- */

static enum status lines_make(const struct hdf5_row *row, int n, char **lines) {
  enum { LINE_BYTES = 256 };
  int64_t bytes = 1, at = 0;
  for (int i = 0; i < n; i++) bytes += (int64_t)strlen(row[i].path) + LINE_BYTES;
  TRY(memory_make(bytes, 1, "a list of datasets", lines));
  for (int i = 0; i < n; i++) {
    char shape[128];
    hdf5_shape_text(row[i].rank, row[i].n, shape, sizeof shape);
    at += snprintf(*lines + at, (size_t)(bytes - at), "%s (%s, %s)\n", row[i].path, shape,
                   native_name(row[i].native));
  }
  return STATUS_OK;
}

static enum status tiff_lines(const char *file, char **lines) {
  struct store_info info   = {0};
  struct tiff_source *tiff = NULL;
  struct hdf5_row row      = {.path = "(pages)", .rank = 3};
  TRY(probe_local(file));
  TRY(tiff_open(file, &tiff, &info, &row.native));
  tiff_close(&tiff);
  memcpy(row.n, info.n, sizeof row.n);
  return lines_make(&row, 1, lines);
}

static enum status list_read(const char *file, char **lines) {
  struct hdf5_rows rows = {0};
  hid_t id;
  if (tiff_is(file)) return tiff_lines(file, lines);
  TRY(hdf5_open(file, true, &id));
  enum status status = hdf5_rows_find(id, &rows);
  H5Fclose(id);
  if (status == STATUS_OK) status = lines_make(rows.row, rows.n, lines);
  free(rows.row);
  return status;
}

enum status store_list(MPI_Comm comm, const char *file, char **lines) {
  int me = rank_of(comm);
  *lines = NULL;
  hdf5_start();
  enum status status = ON_ROOT(comm, "store.list", list_read(file, lines));
  if (status != STATUS_OK) {
    memory_free(*lines);
    *lines = NULL;
    return status;
  }
  int n = me == 0 ? (int)strlen(*lines) + 1 : 0;
  MPI_Bcast(&n, 1, MPI_INT, 0, comm);
  enum status mine = me == 0 ? STATUS_OK : memory_make(n, 1, "a list of datasets", lines);
  status           = AGREE(comm, mine);
  if (status == STATUS_OK)
    MPI_Bcast(*lines, n, MPI_CHAR, 0, comm);
  else {
    memory_free(*lines);
    *lines = NULL;
  }
  return status;
}

/* Any object, or an attribute. */
static enum status has(const char *file, const char *path, bool *found) {
  char place[STORE_NAME_BYTES], at[STORE_NAME_BYTES], reason[STORE_NAME_BYTES];
  struct thing thing;
  *found = false;
  if (tiff_is(file)) return STATUS_OK;
  if (!strchr(path, '@')) {
    snprintf(place, sizeof place, "%s", file);
    snprintf(at, sizeof at, "%s", path);
    return hdf5_resolve(place, at, found, reason);
  }
  TRY(thing_open(file, path, &thing, found));
  if (*found) thing_close(&thing);
  return STATUS_OK;
}

enum status store_has(MPI_Comm comm, const char *file, const char *path, bool *found) {
  *found = false;
  TRY(ON_ROOT(comm, "store.has", has(file, path, found)));
  int told = *found;
  MPI_Bcast(&told, 1, MPI_INT, 0, comm);
  *found = told != 0;
  return STATUS_OK;
}
