/* The inside of an output file, written by rank 0 alone: NeXus groups and attributes, product
 * datasets, texts and numbers, and /VTKHDF (an ImageData whose point data are hard links to the
 * volumes). https://manual.nexusformat.org/datarules.html, "Associating plottable data";
 * VTKHDF: https://docs.vtk.org/en/latest/design_documents/VTKFileFormats.html */
#include "store_private.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static enum status refused(const char *what) {
  return FAIL(STATUS_MEMORY, "%s cannot be written: %s", what, hdf5_reason());
}

static bool name_is_safe(const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i])) return false;
  return n > 0 && n < PRODUCT_BYTES && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* ---- attributes ---------------------------------------------------------------------------------- */

/* Fixed length and ASCII where that suffices: VTK's reader takes nothing else. */
static hid_t text_type(const char *const *text, int n) {
  size_t longest = 1;
  bool ascii     = true;
  for (int i = 0; i < n; i++) {
    if (strlen(text[i]) > longest) longest = strlen(text[i]);
    for (const char *c = text[i]; *c; c++) ascii = ascii && (unsigned char)*c < 128;
  }
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, longest);
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, ascii ? H5T_CSET_ASCII : H5T_CSET_UTF8);
  return type;
}

static enum status attribute_put(hid_t object, const char *name, hid_t type, hid_t space,
                                 hid_t memory, const void *value) {
  if (H5Aexists(object, name) > 0) H5Adelete(object, name);
  hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  bool good       = attribute >= 0 && H5Awrite(attribute, memory, value) >= 0;
  if (attribute >= 0) H5Aclose(attribute);
  return good ? STATUS_OK : refused(name);
}

static enum status attribute_texts(hid_t object, const char *name, const char *const *text, int n) {
  hid_t type   = text_type(text, n);
  size_t width = H5Tget_size(type);
  char *flat   = calloc((size_t)n, width + 1);
  if (!flat) return H5Tclose(type), FAIL(STATUS_MEMORY, "no memory for attribute %s", name);
  for (int i = 0; i < n; i++) memcpy(flat + (size_t)i * width, text[i], strlen(text[i]));
  hsize_t count      = (hsize_t)n;
  hid_t space        = n == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
  enum status status = attribute_put(object, name, type, space, type, flat);
  H5Sclose(space);
  H5Tclose(type);
  free(flat);
  return status;
}

static enum status attribute_text(hid_t object, const char *name, const char *text) {
  return attribute_texts(object, name, &text, 1);
}

static enum status attribute_numbers(hid_t object, const char *name, hid_t type, const void *value,
                                     int n) {
  hsize_t count      = (hsize_t)n;
  hid_t space        = n == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
  enum status status = attribute_put(object, name, type, space, type, value);
  H5Sclose(space);
  return status;
}

/* ---- groups, texts, numbers -------------------------------------------------------------------------- */

static enum status group_ensure(hid_t file, const char *path, const char *class, hid_t *group) {
  bool there = H5Lexists(file, path, H5P_DEFAULT) > 0;
  *group     = there ? H5Gopen2(file, path, H5P_DEFAULT)
                     : H5Gcreate2(file, path, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (*group < 0) return refused(path);
  enum status status = there || !class ? STATUS_OK : attribute_text(*group, "NX_class", class);
  if (status != STATUS_OK) H5Gclose(*group);
  return status;
}

static enum status text_put(hid_t group, const char *name, const char *text) {
  hid_t type = text_type(&text, 1), space = H5Screate(H5S_SCALAR);
  if (H5Lexists(group, name, H5P_DEFAULT) > 0) H5Ldelete(group, name, H5P_DEFAULT);
  hid_t dataset = H5Dcreate2(group, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  bool good     = dataset >= 0 &&
              H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text ? text : "\0") >= 0;
  if (dataset >= 0) H5Dclose(dataset);
  H5Sclose(space);
  H5Tclose(type);
  return good ? STATUS_OK : refused(name);
}

enum status nexus_text_read(hid_t file, const char *path, char **text) {
  *text         = NULL;
  hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
  if (dataset < 0) return FAIL(STATUS_INPUT, "%s: %s", path, hdf5_reason());
  hid_t type   = H5Dget_type(dataset);
  size_t bytes = H5Tget_size(type);
  bool fixed   = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0;
  *text        = fixed ? calloc(1, bytes + 1) : NULL;
  if (*text && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text) < 0) {
    free(*text);
    *text = NULL;
  }
  H5Tclose(type);
  H5Dclose(dataset);
  return *text ? STATUS_OK : FAIL(STATUS_INPUT, "%s is no text that can be read", path);
}

static enum status doubles_put(hid_t group, const char *name, const double *value, int64_t n,
                               const char *unit) {
  hsize_t count = (hsize_t)n;
  hid_t space   = n < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
  if (H5Lexists(group, name, H5P_DEFAULT) > 0) H5Ldelete(group, name, H5P_DEFAULT);
  hid_t dataset =
      H5Dcreate2(group, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  bool good = dataset >= 0;
  if (good && n != 0)
    good = H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0;
  enum status status = good ? STATUS_OK : refused(name);
  if (good && unit && *unit) status = attribute_text(dataset, "units", unit);
  if (dataset >= 0) H5Dclose(dataset);
  H5Sclose(space);
  return status;
}

enum status nexus_root_make(hid_t file, const char *record) {
  hid_t root, entry, process;
  TRY(group_ensure(file, "/", NULL, &root));
  enum status status = attribute_text(root, "NX_class", "NXroot");
  if (status == STATUS_OK) status = attribute_text(root, "creator", "xcsct");
  if (status == STATUS_OK) status = attribute_text(root, "default", "entry");
  H5Gclose(root);
  TRY(status);
  TRY(group_ensure(file, "/entry", "NXentry", &entry));
  H5Gclose(entry);
  TRY(group_ensure(file, "/entry/process", "NXprocess", &process));
  status = text_put(process, "record", record);
  H5Gclose(process);
  return status;
}

/* "name" lies in /entry/process, "group/name" in /entry/group. */
static enum status note_group(hid_t file, const char *name, const char **leaf, hid_t *group) {
  char path[PRODUCT_BYTES + 16], first[PRODUCT_BYTES] = "process";
  const char *slash = strchr(name, '/');
  *leaf             = slash ? slash + 1 : name;
  if (slash) snprintf(first, sizeof first, "%.*s", (int)(slash - name), name);
  if (!name_is_safe(first) || !name_is_safe(*leaf))
    return FAIL(STATUS_INTERNAL, "\"%s\" is no name for a note", name);
  snprintf(path, sizeof path, "/entry/%s", first);
  return group_ensure(file, path, slash ? "NXcollection" : "NXprocess", group);
}

enum status nexus_note(hid_t file, const char *name, const char *text) {
  hid_t group, note;
  const char *leaf;
  TRY(note_group(file, name, &leaf, &group));
  enum status status;
  if (strstr(leaf, "yaml")) {
    status = group_ensure(group, leaf, "NXnote", &note);
    if (status == STATUS_OK) {
      status = text_put(note, "type", "application/yaml");
      if (status == STATUS_OK) status = text_put(note, "data", text);
      H5Gclose(note);
    }
  } else
    status = text_put(group, leaf, text);
  H5Gclose(group);
  return status;
}

enum status nexus_number(hid_t file, const char *name, double value, const char *unit) {
  hid_t group;
  const char *leaf;
  TRY(note_group(file, name, &leaf, &group));
  enum status status = doubles_put(group, leaf, &value, -1, unit);
  H5Gclose(group);
  return status;
}

enum status nexus_table(hid_t file, const char *product, const char *const *column,
                        const char *const *unit, int columns, const double *const *value,
                        int64_t rows) {
  char path[PRODUCT_BYTES + 16];
  hid_t group;
  if (!name_is_safe(product)) return FAIL(STATUS_INTERNAL, "\"%s\" is no name", product);
  snprintf(path, sizeof path, "/entry/%s", product);
  TRY(group_ensure(file, path, "NXcollection", &group));
  enum status status = STATUS_OK;
  for (int i = 0; i < columns && status == STATUS_OK; i++)
    status = name_is_safe(column[i])
                 ? doubles_put(group, column[i], value[i], rows, unit ? unit[i] : NULL)
                 : FAIL(STATUS_INTERNAL, "\"%s\" is no name of a column", column[i]);
  if (status == STATUS_OK) status = attribute_texts(group, "columns", column, columns);
  H5Gclose(group);
  return status;
}

/* ---- products ------------------------------------------------------------------------------------------ */

static int axes_split(const char *axes, char name[STORE_RANK_MAX][32]) {
  int n = 0;
  while (*axes && n < STORE_RANK_MAX) {
    size_t length = strcspn(axes, ",");
    snprintf(name[n++], 32, "%.*s", (int)length, axes);
    axes += length + (axes[length] == ',');
  }
  return n;
}

/* Axes that have values are named, the others are ".". */
static enum status axes_write(hid_t group, const char *axes) {
  char name[STORE_RANK_MAX][32];
  const char *text[STORE_RANK_MAX];
  int n = axes_split(axes, name);
  for (int a = 0; a < n; a++) text[a] = H5Lexists(group, name[a], H5P_DEFAULT) > 0 ? name[a] : ".";
  return attribute_texts(group, "axes", text, n);
}

/* Axis values: position of voxel middles from the first one on. */
static enum status spacings_write(hid_t group, const char *axes, const int64_t *n,
                                  const double *axis_um) {
  char name[STORE_RANK_MAX][32];
  int rank = axes_split(axes, name);
  for (int a = 0; a < rank; a++) {
    double *value;
    if (!axis_um || !(axis_um[a] > 0)) continue;
    TRY(memory_make(n[a], sizeof *value, "an axis", &value));
    for (int64_t i = 0; i < n[a]; i++) value[i] = (double)i * axis_um[a];
    enum status status = doubles_put(group, name[a], value, n[a], "um");
    memory_free(value);
    TRY(status);
  }
  return STATUS_OK;
}

static void layout_set(hid_t creation, const struct output_dataset *want) {
  int64_t chunk[STORE_RANK_MAX];
  hsize_t sizes[STORE_RANK_MAX];
  if (want->packed && output_bytes(want) > 0) {
    pack_chunk(want, chunk);
    for (int a = 0; a < want->rank; a++) sizes[a] = (hsize_t)chunk[a];
    H5Pset_chunk(creation, want->rank, sizes);
    if (grid_type_bytes(want->type) > 1) H5Pset_shuffle(creation);
    H5Pset_deflate(creation, 1);
    return;
  }
  H5Pset_layout(creation, H5D_CONTIGUOUS);
  H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
}

/* Plain datasets are contiguous, allocated at once and never filled: their place is known from now on. */
static hid_t dataset_make(hid_t group, const char *name, const struct output_dataset *want) {
  hsize_t count[STORE_RANK_MAX];
  for (int a = 0; a < want->rank; a++) count[a] = (hsize_t)want->n[a];
  hid_t space = H5Screate_simple(want->rank, count, NULL), creation = H5Pcreate(H5P_DATASET_CREATE);
  layout_set(creation, want);
  hid_t dataset = H5Dcreate2(group, name, native_hdf5(native_of_grid(want->type)), space,
                             H5P_DEFAULT, creation, H5P_DEFAULT);
  H5Pclose(creation);
  H5Sclose(space);
  return dataset;
}

static hid_t dataset_ensure(hid_t group, const char *name, const struct output_dataset *want) {
  struct store_info info = {0};
  enum native native;
  if (H5Lexists(group, name, H5P_DEFAULT) <= 0) return dataset_make(group, name, want);
  hid_t dataset = H5Dopen2(group, name, H5P_DEFAULT);
  bool same     = dataset >= 0 && hdf5_dataset_describe(dataset, &info, &native) == STATUS_OK &&
              native == native_of_grid(want->type) && info.rank == want->rank &&
              memcmp(info.n, want->n, (size_t)want->rank * sizeof *info.n) == 0;
  if (same) return dataset;
  status_clear();
  if (dataset >= 0) H5Dclose(dataset);
  H5Ldelete(group, name, H5P_DEFAULT);
  return dataset_make(group, name, want);
}

/* Point data of one ImageData must share its shape: the first volume of a file sets it. */
static enum status vtk_link(hid_t file, const char *product, const int64_t *n,
                            const double *axis_um) {
  char from[PRODUCT_BYTES + 32];
  hid_t root, points;
  bool scaled            = axis_um && axis_um[0] > 0 && axis_um[1] > 0 && axis_um[2] > 0;
  const int version[2]   = {1, 0};
  const int extent[6]    = {0, (int)n[2] - 1, 0, (int)n[1] - 1, 0, (int)n[0] - 1};
  const double origin[3] = {0, 0, 0}, direction[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  const double spacing[3] = {scaled ? axis_um[2] : 1, scaled ? axis_um[1] : 1,
                             scaled ? axis_um[0] : 1};
  if (n[0] == 0 || n[1] == 0 || n[2] == 0) return STATUS_OK;
  bool first = H5Lexists(file, "/VTKHDF", H5P_DEFAULT) <= 0;
  TRY(group_ensure(file, "/VTKHDF", NULL, &root));
  enum status status = STATUS_OK;
  int have[6]        = {0};
  if (first) {
    status = attribute_text(root, "Type", "ImageData");
    if (status == STATUS_OK)
      status = attribute_numbers(root, "Version", H5T_NATIVE_INT, version, 2);
    if (status == STATUS_OK)
      status = attribute_numbers(root, "WholeExtent", H5T_NATIVE_INT, extent, 6);
    if (status == STATUS_OK)
      status = attribute_numbers(root, "Origin", H5T_NATIVE_DOUBLE, origin, 3);
    if (status == STATUS_OK)
      status = attribute_numbers(root, "Spacing", H5T_NATIVE_DOUBLE, spacing, 3);
    if (status == STATUS_OK)
      status = attribute_numbers(root, "Direction", H5T_NATIVE_DOUBLE, direction, 9);
  }
  hid_t attribute = H5Aopen(root, "WholeExtent", H5P_DEFAULT);
  if (attribute >= 0) {
    H5Aread(attribute, H5T_NATIVE_INT, have);
    H5Aclose(attribute);
  }
  H5Gclose(root);
  TRY(status);
  if (memcmp(have, extent, sizeof have) != 0) return STATUS_OK;
  TRY(group_ensure(file, "/VTKHDF/PointData", NULL, &points));
  snprintf(from, sizeof from, "/entry/%s/data", product);
  if (H5Lexists(points, product, H5P_DEFAULT) > 0) H5Ldelete(points, product, H5P_DEFAULT);
  bool good = H5Lcreate_hard(file, from, points, product, H5P_DEFAULT, H5P_DEFAULT) >= 0;
  H5Gclose(points);
  return good ? STATUS_OK : refused("/VTKHDF");
}

static enum status data_attributes(hid_t dataset, const struct store_product *product,
                                   const char *unit, const double *axis_um) {
  TRY(attribute_text(dataset, "long_name", product->meaning));
  if (*unit) TRY(attribute_text(dataset, "units", unit));
  if (axis_um && product->rank == 3 && strcmp(product->axes, "z,y,x") == 0)
    TRY(attribute_numbers(dataset, "voxel_um", H5T_NATIVE_DOUBLE, axis_um, 3));
  return STATUS_OK;
}

static enum status group_fill(hid_t group, const struct store_product *product, const char *unit,
                              const double *axis_um, struct output_dataset *data,
                              struct output_dataset *errors) {
  TRY(attribute_text(group, "signal", "data"));
  TRY(spacings_write(group, product->axes, data->n, axis_um));
  TRY(axes_write(group, product->axes));
  hid_t dataset = dataset_ensure(group, "data", data);
  if (dataset < 0) return refused(product->name);
  haddr_t offset     = H5Dget_offset(dataset);
  data->offset       = offset == HADDR_UNDEF ? -1 : (int64_t)offset;
  enum status status = data_attributes(dataset, product, unit, axis_um);
  H5Dclose(dataset);
  TRY(status);
  if (!errors->rank) return STATUS_OK;
  dataset = dataset_ensure(group, "data_errors", errors);
  if (dataset < 0) return refused("data_errors");
  offset         = H5Dget_offset(dataset);
  errors->offset = offset == HADDR_UNDEF ? -1 : (int64_t)offset;
  if (*unit) status = attribute_text(dataset, "units", unit);
  H5Dclose(dataset);
  return status;
}

enum status nexus_product_make(hid_t file, const struct store_product *product, const char *unit,
                               const double *axis_um, struct output_dataset *data,
                               struct output_dataset *errors) {
  char path[PRODUCT_BYTES + 16];
  hid_t group;
  snprintf(path, sizeof path, "/entry/%s", product->name);
  TRY(group_ensure(file, path, "NXdata", &group));
  enum status status = group_fill(group, product, unit, axis_um, data, errors);
  H5Gclose(group);
  TRY(status);
  if (product->rank == 3 && strcmp(product->axes, "z,y,x") == 0)
    TRY(vtk_link(file, product->name, data->n, axis_um));
  hid_t entry;
  TRY(group_ensure(file, "/entry", NULL, &entry));
  if (H5Aexists(entry, "default") <= 0) status = attribute_text(entry, "default", product->name);
  H5Gclose(entry);
  return status;
}

enum status nexus_axis(hid_t file, const char *product, const char *axis, const double *value,
                       int64_t n, const char *unit) {
  const struct store_product *row = store_product_find(product);
  char path[PRODUCT_BYTES + 16];
  hid_t group;
  if (!row || !name_is_safe(axis))
    return FAIL(STATUS_INTERNAL, "\"%s\" of \"%s\" is no axis", axis, product);
  snprintf(path, sizeof path, "/entry/%s", product);
  TRY(group_ensure(file, path, "NXdata", &group));
  enum status status = doubles_put(group, axis, value, n, unit);
  if (status == STATUS_OK) status = axes_write(group, row->axes);
  H5Gclose(group);
  return status;
}

enum status nexus_default(hid_t file, const char *product) {
  hid_t entry;
  TRY(group_ensure(file, "/entry", NULL, &entry));
  enum status status = attribute_text(entry, "default", product);
  H5Gclose(entry);
  return status;
}

enum status nexus_packed_hash(hid_t file, const struct output_dataset *dataset, uint64_t *hash) {
  char path[PRODUCT_BYTES + 32];
  snprintf(path, sizeof path, "/entry/%s/%s", dataset->product,
           dataset->errors ? "data_errors" : "data");
  hid_t id  = H5Dopen2(file, path, H5P_DEFAULT);
  bool good = id >= 0 && packed_hash(dataset, id, hash);
  if (id >= 0) H5Dclose(id);
  return good ? STATUS_OK : FAIL(STATUS_OUTPUT, "%s cannot be read back: %s", path, hdf5_reason());
}

enum status nexus_seal(hid_t file, uint64_t content) {
  char text[32];
  hid_t root;
  snprintf(text, sizeof text, "%016llx", (unsigned long long)content);
  TRY(group_ensure(file, "/", NULL, &root));
  enum status status = attribute_text(root, "content", text);
  H5Gclose(root);
  return status;
}

/* The closed file opens again, and every product lies where its values were written. */
enum status nexus_reread(const struct store_output *output) {
  hid_t file;
  TRY(hdf5_open(output->partial, false, &file));
  bool good = true;
  for (int i = 0; i < output->datasets && good; i++) {
    const struct output_dataset *want = &output->dataset[i];
    char path[PRODUCT_BYTES + 32];
    snprintf(path, sizeof path, "/entry/%s/%s", want->product,
             want->errors ? "data_errors" : "data");
    hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    good = dataset >= 0 && (want->offset < 0 || H5Dget_offset(dataset) == (haddr_t)want->offset);
    if (good && want->packed) good = packed_samples_agree(output->packed, want, dataset);
    if (dataset >= 0) H5Dclose(dataset);
  }
  H5Fclose(file);
  return good ? STATUS_OK
              : FAIL(STATUS_OUTPUT, "%s, read back, is not what was written", output->partial);
}

/* ---- NXtomo ------------------------------------------------------------------------------------------- */

static enum status link_into(hid_t file, const char *from, hid_t group, const char *name) {
  return H5Lcreate_hard(file, from, group, name, H5P_DEFAULT, H5P_DEFAULT) >= 0 ? STATUS_OK
                                                                                : refused(name);
}

static enum status key_put(hid_t group, const int32_t *key, hsize_t n) {
  hid_t space   = H5Screate_simple(1, &n, NULL);
  hid_t dataset = H5Dcreate2(group, "image_key", H5T_NATIVE_INT32, space, H5P_DEFAULT, H5P_DEFAULT,
                             H5P_DEFAULT);
  bool good =
      dataset >= 0 && H5Dwrite(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, key) >= 0;
  if (dataset >= 0) H5Dclose(dataset);
  H5Sclose(space);
  return good ? STATUS_OK : refused("image_key");
}

/* Group, its class, then `fill`; closed again. */
static enum status in_group(hid_t file, const char *path, const char *class,
                            enum status (*fill)(hid_t file, hid_t group,
                                                const struct tomo_frames *),
                            const struct tomo_frames *frames) {
  hid_t group;
  TRY(group_ensure(file, path, class, &group));
  enum status status = fill ? fill(file, group, frames) : STATUS_OK;
  H5Gclose(group);
  return status;
}

static enum status fill_entry(hid_t file, hid_t group, const struct tomo_frames *frames) {
  (void)file, (void)frames;
  return text_put(group, "definition", "NXtomo");
}
static enum status fill_detector(hid_t file, hid_t group, const struct tomo_frames *frames) {
  TRY(link_into(file, "/entry/projections/data", group, "data"));
  TRY(doubles_put(group, "x_pixel_size", &frames->pixel_um, -1, "um"));
  TRY(doubles_put(group, "y_pixel_size", &frames->pixel_um, -1, "um"));
  return key_put(group, frames->image_key, (hsize_t)frames->n);
}
static enum status fill_sample(hid_t file, hid_t group, const struct tomo_frames *frames) {
  (void)file;
  return doubles_put(group, "rotation_angle", frames->angle_deg, frames->n, "degree");
}
static enum status fill_data(hid_t file, hid_t group, const struct tomo_frames *frames) {
  (void)frames;
  TRY(attribute_text(group, "signal", "data"));
  TRY(link_into(file, "/entry/projections/data", group, "data"));
  TRY(link_into(file, "/entry/sample/rotation_angle", group, "rotation_angle"));
  return link_into(file, "/entry/instrument/detector/image_key", group, "image_key");
}

enum status nexus_tomo(hid_t file, const struct tomo_frames *frames) {
  TRY(in_group(file, "/entry", "NXentry", fill_entry, frames));
  TRY(in_group(file, "/entry/instrument", "NXinstrument", NULL, frames));
  TRY(in_group(file, "/entry/instrument/detector", "NXdetector", fill_detector, frames));
  TRY(in_group(file, "/entry/sample", "NXsample", fill_sample, frames));
  return in_group(file, "/entry/data", "NXdata", fill_data, frames);
}

/* ---- odin-data's spectra --------------------------------------------------------------------------------- */

static enum status spectra_put(hid_t file, hid_t root, const double *bins, const int64_t *summed,
                               int64_t n) {
  hsize_t count = (hsize_t)n;
  TRY(doubles_put(root, "spectra_bins", bins, n, "keV"));
  hid_t axis = H5Dopen2(root, "spectra_bins", H5P_DEFAULT);
  enum status status =
      axis < 0 ? refused("spectra_bins") : attribute_text(axis, "position", "centre");
  if (axis >= 0) H5Dclose(axis);
  TRY(status);
  TRY(link_into(file, "/entry/pixel_spectra/data", root, "pixel_spectra"));
  hid_t space   = H5Screate_simple(1, &count, NULL);
  hid_t dataset = H5Dcreate2(root, "summed_spectra", H5T_NATIVE_UINT64, space, H5P_DEFAULT,
                             H5P_DEFAULT, H5P_DEFAULT);
  bool good     = dataset >= 0 &&
              H5Dwrite(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, summed) >= 0;
  if (dataset >= 0) H5Dclose(dataset);
  H5Sclose(space);
  return good ? STATUS_OK : refused("summed_spectra");
}

enum status nexus_spectra(hid_t file, const double *bins, const int64_t *summed, int64_t n) {
  hid_t root;
  TRY(nexus_axis(file, "pixel_spectra", "energy", bins, n, "keV"));
  TRY(group_ensure(file, "/", NULL, &root));
  enum status status = spectra_put(file, root, bins, summed, n);
  H5Gclose(root);
  return status;
}
