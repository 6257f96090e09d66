/* Other people's files: types, filters, links, TIFF; and what is wrong with them is told in one
 * message on all ranks.
 * np: 1 2 3 */
#include "check.h"
#include "store.h"
#include <hdf5.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tiffio.h>
#include <unistd.h>

static char *path_in(const char *name) {
  static char path[8][512];
  static int turn;
  char *here = path[turn++ % 8];
  snprintf(here, 512, "%s/%s", check_scratch(), name);
  return here;
}

/* Beside this source file. */
static const char *fixture(const char *name) {
  static char path[1024];
  snprintf(path, sizeof path, "%s", __FILE__);
  char *slash = strrchr(path, '/');
  snprintf(slash + 1, sizeof path - (size_t)(slash + 1 - path), "%s", name);
  return path;
}

static bool is_root(MPI_Comm comm) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  return rank == 0;
}

static hid_t file_make(const char *path) {
  return H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
}

static void dataset_put(hid_t file, const char *name, hid_t type, int rank, const hsize_t *n,
                        const hsize_t *chunk, hid_t memory, const void *value) {
  hid_t links = H5Pcreate(H5P_LINK_CREATE), creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  if (chunk) {
    H5Pset_chunk(creation, rank, chunk);
    H5Pset_deflate(creation, 1);
  }
  hid_t space   = rank ? H5Screate_simple(rank, n, NULL) : H5Screate(H5S_SCALAR);
  hid_t dataset = H5Dcreate2(file, name, type, space, links, creation, H5P_DEFAULT);
  H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Pclose(links);
  H5Pclose(creation);
}

/* Opens a name, reads all of it on every rank as doubles; n values at most. */
static enum status all_read(MPI_Comm comm, const char *name, int rank, double *value,
                            int64_t most) {
  struct store_input *input           = NULL;
  const int64_t start[STORE_RANK_MAX] = {0};
  enum status status                  = store_open(comm, name, NULL, rank, &input);
  if (status != STATUS_OK) return status;
  int64_t n = 1;
  for (int a = 0; a < store_info(input)->rank; a++) n *= store_info(input)->n[a];
  if (n > most)
    status = FAIL(STATUS_INPUT, "%s has %lld values", name, (long long)n);
  else
    status = store_read_box(comm, input, start, store_info(input)->n, GRID_F64, false, value);
  store_close(&input);
  return status;
}

#define CHECK_REFUSED(expr, code, ...)                                                             \
  do {                                                                                             \
    enum status got_           = (expr);                                                           \
    const char *const words_[] = {__VA_ARGS__};                                                    \
    CHECK(got_ == (code), "status %s: %s", status_name(got_), status_text());                      \
    for (size_t i_ = 0; i_ < sizeof words_ / sizeof *words_; i_++)                                 \
      CHECK(strstr(status_text(), words_[i_]), "\"%s\" lacks \"%s\"", status_text(), words_[i_]);  \
    status_clear();                                                                                \
  } while (0)

/* ---- what can be read ---------------------------------------------------------------------------- */

TEST(filters_of_beamlines_are_undone_inside) {
  static const char *const name[] = {"bitshuffle_lz4_u16",
                                     "bitshuffle_plain_f32",
                                     "bitshuffle_lz4_f64",
                                     "lz4_u8",
                                     "lz4_i32",
                                     "blosc_blosclz",
                                     "blosc_lz4",
                                     "blosc_lz4hc",
                                     "blosc_snappy",
                                     "blosc_zlib",
                                     "blosc_zstd",
                                     "blosc_bits",
                                     "gzip_sums",
                                     "lzf_shuffle",
                                     "part"};
  double value[385];
  for (int k = 0; k < 15; k++) {
    char full[1200];
    snprintf(full, sizeof full, "%s:/%s", fixture("packed.h5"), name[k]);
    CHECK_OK(all_read(comm, full, 3, value, 385));
    int wrong = 0;
    for (int i = 0; i < 385; i++) {
      double want = k == 0    ? i * 37 % 4099
                    : k == 1  ? i * 0.5
                    : k == 2  ? i * 0.25
                    : k == 3  ? i % 251
                    : k == 4  ? i / 50 * 1000 - 3000
                    : k == 14 ? (i < 154 ? i : 7)
                              : i / 9;
      wrong += value[i] != want;
    }
    CHECK(wrong == 0, "%s: %d values are wrong", name[k], wrong);
  }
}

static void types_write(const char *path) {
  static const struct {
    const char *name;
    int64_t low, high;
  } row[] = {
      {"i8",  -128,   127  },
      {"u8",  0,      255  },
      {"i16", -32768, 32767},
      {"u16", 0,      65535}
  };
  const hid_t type[] = {H5T_STD_I8LE, H5T_STD_U8BE, H5T_STD_I16BE, H5T_STD_U16LE};
  const hsize_t n[1] = {2};
  hid_t file         = file_make(path);
  for (int i = 0; i < 4; i++) {
    const int64_t value[2] = {row[i].low, row[i].high};
    dataset_put(file, row[i].name, type[i], 1, n, NULL, H5T_NATIVE_INT64, value);
  }
  const double big[2]    = {-1.5, 1e300};
  const uint64_t huge[2] = {1, UINT64_MAX};
  dataset_put(file, "f64", H5T_IEEE_F64BE, 1, n, NULL, H5T_NATIVE_DOUBLE, big);
  dataset_put(file, "u64", H5T_STD_U64LE, 1, n, NULL, H5T_NATIVE_UINT64, huge);
  hid_t flag     = H5Tenum_create(H5T_NATIVE_INT8);
  int8_t code[2] = {0, 1};
  H5Tenum_insert(flag, "FALSE", &code[0]);
  H5Tenum_insert(flag, "TRUE", &code[1]);
  dataset_put(file, "bool", flag, 1, n, NULL, flag, code);
  H5Tclose(flag);
  H5Fclose(file);
}

static enum status pair_read(MPI_Comm comm, const char *name, enum grid_type type, bool exact,
                             void *to) {
  struct store_input *input = NULL;
  char full[600];
  snprintf(full, sizeof full, "%s:%s", path_in("types.h5"), name);
  if (!CHECK_OK(store_open(comm, full, NULL, 1, &input))) return STATUS_INPUT;
  enum status status = store_read_box(comm, input, (int64_t[]){0}, (int64_t[]){2}, type, exact, to);
  store_close(&input);
  return status;
}

TEST(every_stored_type_is_read_and_what_does_not_fit_is_refused) {
  int32_t i32[2];
  uint8_t u8[2];
  float f32[2];
  int64_t i64[2];
  if (is_root(comm)) types_write(path_in("types.h5"));
  MPI_Barrier(comm);
  CHECK_OK(pair_read(comm, "i8", GRID_I32, true, i32));
  CHECK(i32[0] == -128 && i32[1] == 127, "i8");
  CHECK_OK(pair_read(comm, "u8", GRID_U8, true, u8));
  CHECK(u8[1] == 255, "u8");
  CHECK_OK(pair_read(comm, "i16", GRID_F32, true, f32));
  CHECK(f32[0] == -32768, "i16");
  CHECK_OK(pair_read(comm, "bool", GRID_U8, true, u8));
  CHECK(u8[0] == 0 && u8[1] == 1, "bool");
  CHECK_REFUSED(pair_read(comm, "u16", GRID_U8, false, u8), STATUS_INPUT, "65535", "(1)", "uint8");
  CHECK_REFUSED(pair_read(comm, "i8", GRID_U8, false, u8), STATUS_INPUT, "-128", "(0)");
  CHECK_REFUSED(pair_read(comm, "u64", GRID_I64, true, i64), STATUS_INPUT, "18446744073709551615");
  CHECK_REFUSED(pair_read(comm, "f64", GRID_F32, false, f32), STATUS_INPUT, "1e+300");
  CHECK_REFUSED(pair_read(comm, "f64", GRID_I32, true, i32), STATUS_INPUT, "-1.5",
                "without change");
}

/* Chunks that no rank's box is aligned to; several bricks would be cut at chunks. */
TEST(chunked_and_packed_volumes_on_blocks) {
  enum { NZ = 13, NY = 10, NX = 9 };
  const hsize_t n[3] =
      {
          NZ, NY, NX
  },
                chunk[2][3] = {{4, 3, 5}, {1, NY, NX}};
  static float value[NZ * NY * NX];
  for (int i = 0; i < NZ * NY * NX; i++) value[i] = (float)i;
  if (is_root(comm)) {
    hid_t file = file_make(path_in("chunked.h5"));
    dataset_put(file, "/a/bricks", H5T_IEEE_F32LE, 3, n, chunk[0], H5T_NATIVE_FLOAT, value);
    dataset_put(file, "/a/slices", H5T_STD_U16BE, 3, n, chunk[1], H5T_NATIVE_FLOAT, value);
    H5Fclose(file);
  }
  MPI_Barrier(comm);
  const int64_t shape[3] = {NZ, NY, NX}, halo[3] = {1, 0, 2};
  for (int k = 0; k < 2; k++) {
    struct grid_plan plan     = {0};
    struct grid_field field   = {0};
    struct store_input *input = NULL;
    char name[600];
    snprintf(name, sizeof name, "%s:/a/%s", path_in("chunked.h5"), k ? "slices" : "bricks");
    CHECK_OK(grid_plan_blocks(comm, shape, 1, &plan));
    CHECK_OK(grid_field_make(comm, &plan, GRID_F32, halo, &field));
    CHECK_OK(store_open(comm, name, NULL, 3, &input));
    CHECK(store_info(input)->chunk[0] == (k ? 1 : 4), "chunk");
    CHECK_OK(store_read_field(comm, input, true, &field));
    int64_t wrong     = 0;
    const float *data = (const float *)field.data + grid_field_origin(&field);
    for (int64_t z = 0; z < field.mine.n[0]; z++)
      for (int64_t y = 0; y < field.mine.n[1]; y++)
        for (int64_t x = 0; x < field.mine.n[2]; x++)
          wrong += data[z * field.row[0] + y * field.row[1] + x] !=
                   (float)(((z + field.mine.start[0]) * NY + y + field.mine.start[1]) * NX + x +
                           field.mine.start[2]);
    CHECK(wrong == 0, "%lld voxels are wrong", (long long)wrong);
    store_close(&input);
    grid_field_free(&field);
    grid_plan_free(&plan);
  }
}

TEST(the_dataset_meant_is_found_or_the_candidates_are_told) {
  const hsize_t n3[3] = {2, 2, 2}, n2[2] = {3, 3};
  const double value[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  double back[9];
  if (is_root(comm)) {
    hid_t file = file_make(path_in("one.h5"));
    dataset_put(file, "/deep/er/volume", H5T_NATIVE_FLOAT, 3, n3, NULL, H5T_NATIVE_DOUBLE, value);
    dataset_put(file, "/deep/picture", H5T_NATIVE_FLOAT, 2, n2, NULL, H5T_NATIVE_DOUBLE, value);
    H5Lcreate_hard(file, "/deep/er/volume", file, "/again", H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    file = file_make(path_in("two:b.h5"));
    dataset_put(file, "/a", H5T_NATIVE_FLOAT, 3, n3, NULL, H5T_NATIVE_DOUBLE, value);
    dataset_put(file, "/entry/labels/data", H5T_NATIVE_FLOAT, 3, n3, NULL, H5T_NATIVE_DOUBLE,
                value);
    H5Fclose(file);
  }
  MPI_Barrier(comm);
  struct store_input *input = NULL;
  char name[600];
  CHECK_OK(all_read(comm, path_in("one.h5"), 3, back, 9));
  CHECK(back[7] == 8, "the volume");
  CHECK_OK(all_read(comm, path_in("one.h5"), 2, back, 9));
  CHECK(back[8] == 9, "the picture");
  CHECK_REFUSED(all_read(comm, path_in("one.h5"), 4, back, 9), STATUS_INPUT, "no numeric dataset",
                "/deep/picture (3 x 3, float32)");
  CHECK_OK(store_open(comm, path_in("two:b.h5"), "labels", 3, &input));
  CHECK(strcmp(store_info(input)->dataset, "/entry/labels/data") == 0, "the product");
  store_close(&input);
  CHECK_REFUSED(all_read(comm, path_in("two:b.h5"), 3, back, 9), STATUS_INPUT, "2 datasets", "/a (",
                "/entry/labels/data (2 x 2 x 2, float32)");
  snprintf(name, sizeof name, "%s:/b", path_in("two:b.h5"));
  CHECK_REFUSED(all_read(comm, name, 3, back, 9), STATUS_INPUT, "no dataset /b", "/a (");
  snprintf(name, sizeof name, "%s:/entry", path_in("two:b.h5"));
  CHECK_REFUSED(all_read(comm, name, 3, back, 9), STATUS_INPUT, "is a group");
  snprintf(name, sizeof name, "%s:/deep/picure", path_in("one.h5"));
  CHECK_REFUSED(all_read(comm, name, 2, back, 9), STATUS_INPUT, "did you mean /deep/picture?");
  snprintf(name, sizeof name, "%s:/deep/picture", path_in("one.h5"));
  CHECK_REFUSED(all_read(comm, name, 4, back, 9), STATUS_INPUT, "2 axes (3 x 3), not 4");
  char *lines;
  CHECK_OK(store_list(comm, path_in("one.h5"), &lines));
  CHECK(lines &&
            strcmp(lines, "/again (2 x 2 x 2, float32)\n/deep/picture (3 x 3, float32)\n") == 0,
        "%s", lines);
  memory_free(lines);
}

static void axes_write(const char *path) {
  static const char *axes[3] = {"z", "y", "x"};
  const hsize_t n[3] = {2, 3, 4}, three = 3;
  const double z[2] = {0, 0.003}, y[3] = {5, 7, 9}, x[4] = {0, 1, 2, 4}, zero[24] = {0};
  hid_t file = file_make(path);
  dataset_put(file, "/entry/ct/data", H5T_NATIVE_FLOAT, 3, n, NULL, H5T_NATIVE_DOUBLE, zero);
  dataset_put(file, "/entry/ct/z", H5T_NATIVE_FLOAT, 1, &n[0], NULL, H5T_NATIVE_DOUBLE, z);
  dataset_put(file, "/entry/ct/y", H5T_NATIVE_FLOAT, 1, &n[1], NULL, H5T_NATIVE_DOUBLE, y);
  dataset_put(file, "/entry/ct/x", H5T_NATIVE_FLOAT, 1, &n[2], NULL, H5T_NATIVE_DOUBLE, x);
  hid_t text = H5Tcopy(H5T_C_S1), many = H5Screate_simple(1, &three, NULL);
  hid_t one = H5Screate(H5S_SCALAR), group = H5Gopen2(file, "/entry/ct", H5P_DEFAULT);
  H5Tset_size(text, H5T_VARIABLE);
  hid_t attribute = H5Acreate2(group, "axes", text, many, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, text, axes);
  H5Aclose(attribute);
  for (int a = 0; a < 3; a++) {
    static const char *unit[3] = {"mm", "um", "um"};
    hid_t axis                 = H5Dopen2(group, axes[a], H5P_DEFAULT);
    attribute                  = H5Acreate2(axis, "units", text, one, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(attribute, text, &unit[a]);
    H5Aclose(attribute);
    H5Dclose(axis);
  }
  H5Gclose(group);
  H5Sclose(one);
  H5Sclose(many);
  H5Tclose(text);
  H5Fclose(file);
}

TEST(voxel_sizes_come_from_nexus_axes) {
  struct store_input *input = NULL;
  if (is_root(comm)) axes_write(path_in("axes.h5"));
  MPI_Barrier(comm);
  if (CHECK_OK(store_open(comm, path_in("axes.h5"), NULL, 3, &input))) {
    const double *voxel_um = store_info(input)->voxel_um;
    CHECK_NEAR(voxel_um[0], 3, 1e-6);
    CHECK_NEAR(voxel_um[1], 2, 1e-12);
    CHECK(voxel_um[2] == 0, "uneven values are no spacing: %g", voxel_um[2]);
  }
  store_close(&input);
}

/* ---- links ------------------------------------------------------------------------------------------ */

static void links_write(void) {
  const hsize_t n[1]    = {3};
  const double value[3] = {7, 8, 9};
  mkdir(path_in("scan"), 0755);
  mkdir(path_in("scan/raw"), 0755);
  hid_t file = file_make(path_in("scan/raw/data.h5"));
  dataset_put(file, "/entry/data", H5T_NATIVE_FLOAT, 1, n, NULL, H5T_NATIVE_DOUBLE, value);
  H5Fclose(file);
  file = file_make(path_in("secret.h5"));
  dataset_put(file, "/x", H5T_NATIVE_FLOAT, 1, n, NULL, H5T_NATIVE_DOUBLE, value);
  H5Fclose(file);
  file = file_make(path_in("scan/master.h5"));
  H5Gclose(H5Gcreate2(file, "/g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  H5Lcreate_external("raw/data.h5", "/entry/data", file, "/g/outside", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("outside", file, "/g/soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/g", file, "/h", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/loop2", file, "/loop1", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_soft("/loop1", file, "/loop2", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("../secret.h5", "/x", file, "/up", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external(path_in("secret.h5"), "/x", file, "/absolute", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("missing.h5", "/x", file, "/missing", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("/old/place/data.h5", "/entry/data", file, "/moved", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(file);
}

static enum status link_read(MPI_Comm comm, const char *path, double *value) {
  char name[600];
  snprintf(name, sizeof name, "%s:%s", path_in("scan/master.h5"), path);
  return all_read(comm, name, 1, value, 3);
}

TEST(links_lead_only_where_they_may) {
  double value[3] = {0};
  if (is_root(comm)) links_write();
  MPI_Barrier(comm);
  CHECK_OK(link_read(comm, "/g/outside", value));
  CHECK(value[2] == 9, "external");
  CHECK_OK(link_read(comm, "/h/soft", value));
  CHECK(value[0] == 7, "soft, soft, external");
  CHECK_REFUSED(link_read(comm, "/loop1", value), STATUS_INPUT, "loop");
  CHECK_REFUSED(link_read(comm, "/up", value), STATUS_INPUT, "secret.h5", "outside");
  CHECK_REFUSED(link_read(comm, "/absolute", value), STATUS_INPUT, "secret.h5", "outside");
  CHECK_REFUSED(link_read(comm, "/missing", value), STATUS_INPUT, "missing.h5", "not there");
  CHECK_REFUSED(link_read(comm, "/moved", value), STATUS_INPUT, "/old/place/data.h5");
  CHECK_OK(store_link_allow(path_in("scan/raw")));
  CHECK_OK(link_read(comm, "/moved", value));
  CHECK(value[1] == 8, "found in the folder allowed");
  CHECK(store_link_allow(path_in("nowhere")) == STATUS_INPUT, "a folder that is not there");
  status_clear();
}

/* A virtual dataset of two sources, one of them in `second`. */
static void virtual_put(hid_t file, const char *name, const char *second, const char *path) {
  const hsize_t n[2] = {2, 3}, row[1] = {3};
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, n, NULL);
  hid_t source = H5Screate_simple(1, row, NULL);
  for (hsize_t i = 0; i < 2; i++) {
    const hsize_t start[2] = {i, 0}, count[2] = {1, 3};
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    H5Pset_virtual(creation, space, i ? second : "raw/data.h5", i ? path : "/entry/data", source);
  }
  H5Dclose(H5Dcreate2(file, name, H5T_NATIVE_FLOAT, space, H5P_DEFAULT, creation, H5P_DEFAULT));
  H5Sclose(space);
  H5Sclose(source);
  H5Pclose(creation);
}

TEST(virtual_datasets_read_only_where_links_may_lead) {
  double value[6] = {0};
  char name[600];
  if (is_root(comm)) {
    links_write();
    hid_t file = file_make(path_in("scan/virtual.h5"));
    virtual_put(file, "/good", "raw/data.h5", "/entry/data");
    virtual_put(file, "/bad", "../secret.h5", "/x");
    H5Fclose(file);
  }
  MPI_Barrier(comm);
  snprintf(name, sizeof name, "%s:/good", path_in("scan/virtual.h5"));
  CHECK_OK(all_read(comm, name, 2, value, 6));
  CHECK(value[0] == 7 && value[5] == 9, "%g %g", value[0], value[5]);
  snprintf(name, sizeof name, "%s:/bad", path_in("scan/virtual.h5"));
  CHECK_REFUSED(all_read(comm, name, 2, value, 6), STATUS_INPUT, "secret.h5", "outside");
}

/* ---- what is wrong --------------------------------------------------------------------------------- */

static void copy_cut(const char *from, const char *to, long bytes) {
  FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
  for (long i = 0; i < bytes; i++) {
    int c = fgetc(in);
    if (c == EOF) break;
    fputc(c, out);
  }
  fclose(in);
  fclose(out);
}

TEST(broken_files_are_told_and_not_believed) {
  const hsize_t n[3] = {4, 5, 6};
  double value[120]  = {0};
  if (is_root(comm)) {
    hid_t file = file_make(path_in("whole.h5"));
    dataset_put(file, "/v", H5T_NATIVE_DOUBLE, 3, n, NULL, H5T_NATIVE_DOUBLE, value);
    hid_t text = H5Tcopy(H5T_C_S1);
    dataset_put(file, "/text", text, 0, NULL, NULL, text, "x");
    H5Tclose(text);
    H5Fclose(file);
    struct stat info;
    stat(path_in("whole.h5"), &info);
    copy_cut(path_in("whole.h5"), path_in("cut.h5"), (long)info.st_size - 500);
    copy_cut(path_in("whole.h5"), path_in("head.h5"), 300);
    fclose(fopen(path_in("empty.h5"), "wb"));
    FILE *stream = fopen(path_in("words.h5"), "wb");
    fputs("these are no numbers\n", stream);
    fclose(stream);
  }
  MPI_Barrier(comm);
  CHECK_REFUSED(all_read(comm, path_in("cut.h5"), 3, value, 120), STATUS_INPUT, "cut.h5",
                "truncated");
  CHECK_REFUSED(all_read(comm, path_in("head.h5"), 3, value, 120), STATUS_INPUT, "head.h5");
  CHECK_REFUSED(all_read(comm, path_in("empty.h5"), 3, value, 120), STATUS_INPUT, "is empty");
  CHECK_REFUSED(all_read(comm, path_in("words.h5"), 3, value, 120), STATUS_INPUT, "words.h5",
                "HDF5");
  CHECK_REFUSED(all_read(comm, path_in("nothing.h5"), 3, value, 120), STATUS_INPUT, "nothing.h5",
                "No such file");
  CHECK_REFUSED(all_read(comm, check_scratch(), 3, value, 120), STATUS_INPUT, "is a folder");
  char name[600];
  snprintf(name, sizeof name, "%s:/text", path_in("whole.h5"));
  CHECK_REFUSED(all_read(comm, name, 0, value, 120), STATUS_INPUT, "/text", "no numbers");
  CHECK_REFUSED(store_probe(comm, path_in("cut.h5")), STATUS_INPUT, "cut.h5");
  CHECK_OK(store_probe(comm, path_in("whole.h5")));
}

/* Schedulers send their requests to all processes of a job: the job answers, and files are looked through as before. */
TEST(requests_to_stop_leave_probing_alive) {
  if (is_root(comm)) {
    copy_cut(path_in("whole.h5"), path_in("again.h5"), 1 << 20);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *children = fopen(path, "r");
    int child, told = 0;
    while (children && fscanf(children, "%d", &child) == 1)
      told += kill(child, SIGTERM) == 0 && kill(child, SIGUSR1) == 0;
    CHECK(told > 0, "no child");
    if (children) fclose(children);
    usleep(20000);
  }
  MPI_Barrier(comm);
  CHECK_OK(store_probe(comm, path_in("again.h5")));
  char name[4096 + 1];
  memset(name, 'n', 4096);
  name[4096] = 0;
  CHECK_REFUSED(store_probe(comm, name), STATUS_INPUT, "nnn", "name");
}

/* Truncations and changed bytes all over a small file with groups, chunks, filters, attributes: never
 * a signal, never a hang; the verdict is OK or INPUT on all ranks. */
TEST(changed_bytes_never_kill) {
  const hsize_t n[3] = {4, 5, 6}, chunk[3] = {2, 2, 3};
  static double value[120];
  if (is_root(comm)) {
    hid_t file = file_make(path_in("small.h5"));
    dataset_put(file, "/g/v", H5T_NATIVE_FLOAT, 3, n, chunk, H5T_NATIVE_DOUBLE, value);
    H5Fclose(file);
  }
  MPI_Barrier(comm);
  struct stat info;
  stat(path_in("small.h5"), &info);
  uint64_t state = 1;
  int refused    = 0;
  for (int k = 0; k < 60; k++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    if (is_root(comm)) {
      copy_cut(path_in("small.h5"), path_in("changed.h5"),
               k % 2 ? (long)info.st_size : (long)info.st_size * (k + 1) / 61);
      FILE *stream = fopen(path_in("changed.h5"), "r+b");
      fseek(stream, (long)(state >> 33) % info.st_size, SEEK_SET);
      if (k % 2) fputc((int)(state >> 20 & 255), stream);
      fclose(stream);
    }
    MPI_Barrier(comm);
    enum status status = all_read(comm, path_in("changed.h5"), 3, value, 120);
    refused += status != STATUS_OK;
    CHECK(status == STATUS_OK || (status == STATUS_INPUT && strstr(status_text(), "changed.h5")),
          "change %d: %s", k, status_text());
    status_clear();
  }
  CHECK(refused >= 30, "only %d were refused", refused);
}

/* ---- TIFF ----------------------------------------------------------------------------------------- */

static void tiff_write(const char *path, const char *mode, int bits, int format, int compression,
                       int tile) {
  enum { NZ = 4, NY = 37, NX = 41 };
  TIFF *tiff = TIFFOpen(path, mode);
  for (int z = 0; z < NZ; z++) {
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, NX);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, NY);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, bits);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, format);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, compression);
    if (z == 0)
      TIFFSetField(tiff, TIFFTAG_IMAGEDESCRIPTION, "ImageJ=1.5\nunit=micron\nspacing=3.5\n");
    TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 0.5);
    TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 0.25);
    if (tile) {
      TIFFSetField(tiff, TIFFTAG_TILEWIDTH, tile);
      TIFFSetField(tiff, TIFFTAG_TILELENGTH, tile);
    } else
      TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 5);
    int rows = tile ? tile : 1, columns = tile ? tile : NX;
    for (int y = 0; y < NY; y += rows)
      for (int x = 0; x < NX; x += columns) {
        unsigned char buffer[64 * 64 * 4] = {0};
        for (int j = 0; j < rows; j++)
          for (int i = 0; i < columns; i++) {
            int v = z * 50 + (y + j) * 3 + x + i, at = j * columns + i;
            if (bits == 1)
              buffer[at / 8] |= (unsigned char)((v & 1) << (7 - at % 8));
            else if (bits == 8)
              buffer[at] = (unsigned char)v;
            else if (bits == 16)
              ((uint16_t *)buffer)[at] = (uint16_t)(v * 100);
            else
              ((float *)buffer)[at] = (float)v / 4;
          }
        if (tile)
          TIFFWriteTile(tiff, buffer, (uint32_t)x, (uint32_t)y, 0, 0);
        else
          TIFFWriteScanline(tiff, buffer, (uint32_t)y, 0);
      }
    TIFFWriteDirectory(tiff);
  }
  TIFFClose(tiff);
}

static void tiff_check(MPI_Comm comm, const char *path, int bits) {
  const int64_t n[3] = {4, 37, 41}, halo[3] = {0, 1, 0};
  struct grid_plan plan     = {0};
  struct grid_field field   = {0};
  struct store_input *input = NULL;
  CHECK_OK(grid_plan_blocks(comm, n, 1, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, halo, &field));
  if (CHECK_OK(store_open(comm, path, "volume", 3, &input))) {
    const struct store_info *info = store_info(input);
    CHECK(info->is_tiff && info->n[0] == 4 && info->n[1] == 37 && info->n[2] == 41, "shape");
    CHECK(info->voxel_um[0] == 3.5 && info->voxel_um[1] == 4 && info->voxel_um[2] == 2, "voxel %g",
          info->voxel_um[0]);
    CHECK_OK(store_read_field(comm, input, true, &field));
    int64_t wrong     = 0;
    const float *data = (const float *)field.data + grid_field_origin(&field);
    for (int64_t z = 0; z < field.mine.n[0]; z++)
      for (int64_t y = 0; y < field.mine.n[1]; y++)
        for (int64_t x = 0; x < field.mine.n[2]; x++) {
          int64_t v = (z + field.mine.start[0]) * 50 + (y + field.mine.start[1]) * 3 + x +
                      field.mine.start[2];
          float want = bits == 1    ? (float)(v & 1)
                       : bits == 8  ? (float)(v & 255)
                       : bits == 16 ? (float)(v * 100)
                                    : (float)v / 4;
          wrong += data[z * field.row[0] + y * field.row[1] + x] != want;
        }
    CHECK(wrong == 0, "%s: %lld voxels are wrong", path, (long long)wrong);
  }
  store_close(&input);
  grid_field_free(&field);
  grid_plan_free(&plan);
}

TEST(tiff_pages_are_slices) {
  static const struct {
    const char *name, *mode;
    int bits, format, compression, tile;
  } kind[] = {
      {"plain8.tif",     "w",   8,  1, COMPRESSION_NONE,          0 },
      {"big16.tif",      "w8b", 16, 1, COMPRESSION_LZW,           0 },
      {"tiled32.tif",    "wl",  32, 3, COMPRESSION_ADOBE_DEFLATE, 16},
      {"bits.tif",       "w",   1,  1, COMPRESSION_PACKBITS,      0 },
      {"bits_tiled.tif", "w",   1,  1, COMPRESSION_NONE,          32}
  };
  for (size_t i = 0; i < sizeof kind / sizeof *kind; i++) {
    if (is_root(comm))
      tiff_write(path_in(kind[i].name), kind[i].mode, kind[i].bits, kind[i].format,
                 kind[i].compression, kind[i].tile);
    MPI_Barrier(comm);
    tiff_check(comm, path_in(kind[i].name), kind[i].bits);
  }
  double value[10];
  char name[600];
  snprintf(name, sizeof name, "%s:/x", path_in("plain8.tif"));
  CHECK_REFUSED(all_read(comm, name, 3, value, 10), STATUS_INPUT, "TIFF", "/x");
  struct stat info;
  if (is_root(comm) && stat(path_in("tiled32.tif"), &info) == 0)
    copy_cut(path_in("tiled32.tif"), path_in("cut.tif"), (long)info.st_size / 2);
  MPI_Barrier(comm);
  static double many[4 * 37 * 41];
  CHECK_REFUSED(all_read(comm, path_in("cut.tif"), 3, many, 4 * 37 * 41), STATUS_INPUT, "cut.tif");
}

static void number_put(FILE *stream, unsigned value, int bytes) {
  while (bytes-- > 0) fputc((int)(value >> (8 * bytes) & 255), stream);
}

/* ImageJ's way over 4 GB: one directory, the other pages behind it as plain big-endian bytes. */
TEST(imagej_stacks_of_plain_pages) {
  enum { NZ = 3, NY = 4, NX = 5, ENTRIES = 9, WORDS_AT = 400, DATA_AT = 500 };
  static const char words[]        = "ImageJ=1.5\nimages=3\nslices=3\n";
  const unsigned entry[ENTRIES][4] = {
  /* tag, type, count, value */
      {256, 4, 1,            NX         },
      {257, 4, 1,            NY         },
      {258, 3, 1,            16u << 16  },
      {259, 3, 1,            1u << 16   },
      {262, 3, 1,            1u << 16   },
      {270, 2, sizeof words, WORDS_AT   },
      {273, 4, 1,            DATA_AT    },
      {278, 4, 1,            NY         },
      {279, 4, 1,            NY * NX * 2}
  };
  if (is_root(comm)) {
    FILE *stream = fopen(path_in("stack.tif"), "wb");
    fwrite("MM\0*\0\0\0\10", 1, 8, stream);
    number_put(stream, ENTRIES, 2);
    for (int i = 0; i < ENTRIES; i++) {
      number_put(stream, entry[i][0], 2);
      number_put(stream, entry[i][1], 2);
      number_put(stream, entry[i][2], 4);
      number_put(stream, entry[i][3], 4);
    }
    number_put(stream, 0, 4);
    fseek(stream, WORDS_AT, SEEK_SET);
    fwrite(words, 1, sizeof words, stream);
    fseek(stream, DATA_AT, SEEK_SET);
    for (unsigned i = 0; i < NZ * NY * NX; i++) number_put(stream, i + 256, 2);
    fclose(stream);
  }
  MPI_Barrier(comm);
  double value[NZ * NY * NX] = {0};
  CHECK_OK(all_read(comm, path_in("stack.tif"), 3, value, NZ * NY * NX));
  for (int i = 0; i < NZ * NY * NX; i++) CHECK(value[i] == i + 256, "%d: %g", i, value[i]);
}

TEST(fingerprints_tell_a_change) {
  char first[128], second[128];
  if (is_root(comm)) {
    FILE *stream = fopen(path_in("raw.bin"), "wb");
    for (int i = 0; i < 100000; i++) fputc(i & 255, stream);
    fclose(stream);
  }
  MPI_Barrier(comm);
  CHECK_OK(store_fingerprint(comm, path_in("raw.bin"), first, sizeof first));
  CHECK_OK(store_fingerprint(comm, path_in("raw.bin"), second, sizeof second));
  CHECK(strcmp(first, second) == 0 && strlen(first) > 20, "%s, %s", first, second);
  MPI_Barrier(comm);
  const struct timespec later[2] = {
      {2000000000, 0},
      {2000000000, 0}
  };
  if (is_root(comm)) utimensat(0, path_in("raw.bin"), later, 0);
  MPI_Barrier(comm);
  CHECK_OK(store_fingerprint(comm, path_in("raw.bin"), second, sizeof second));
  CHECK(strcmp(first, second) == 0, "touched, not changed: %s, %s", first, second);
  MPI_Barrier(comm);
  if (is_root(comm)) {
    struct stat info;
    stat(path_in("raw.bin"), &info);
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    FILE *stream                   = fopen(path_in("raw.bin"), "r+b");
    fseek(stream, 54321, SEEK_SET);
    fputc(1, stream);
    fclose(stream);
    utimensat(0, path_in("raw.bin"), times, 0);
  }
  MPI_Barrier(comm);
  CHECK_OK(store_fingerprint(comm, path_in("raw.bin"), second, sizeof second));
  CHECK(strcmp(first, second) != 0, "a byte changed, size and time did not: %s", second);
  CHECK_REFUSED(store_fingerprint(comm, path_in("gone"), second, sizeof second), STATUS_INPUT,
                "gone");
}

TEST(the_hash_is_sensitive_to_every_byte) {
  unsigned char bytes[100] = {0};
  uint64_t base            = store_hash(bytes, 100, 0);
  for (int n = 0; n <= 99; n++) {
    CHECK(store_hash(bytes, n, 0) != store_hash(bytes, n + 1, 0), "length %d", n);
    bytes[n] = 1;
    CHECK(store_hash(bytes, 100, 0) != base, "byte %d", n);
    bytes[n] = 0;
  }
  CHECK(store_hash(bytes, 100, 1) != base, "the seed");
}

TEST(real_scans_open) {
  char path[600];
  struct store_input *input = NULL;
  const char *file          = check_data("ct/k11_diad/k11-18014.nxs", path, sizeof path);
  if (!file) {
    check_skip("real data are not here");
    return;
  }
  char name[700];
  snprintf(name, sizeof name, "%s:/entry/imaging/data", file);
  if (CHECK_OK(store_open(comm, name, NULL, 3, &input))) {
    const struct store_info *info = store_info(input);
    CHECK(info->n[0] == 3201 && info->n[1] == 22 && info->n[2] == 26 && info->type == GRID_U16,
          "K11");
    store_close(&input);
  }
  double *angle;
  int64_t n;
  bool found;
  CHECK_OK(store_get_doubles(comm, file, "/entry/imaging/gts_theta_value", &found, &angle, &n));
  CHECK(found && n == 3201, "angles");
  memory_free(angle);
  file = check_data("ct/neutron_sinogram_360.tif", path, sizeof path);
  if (file && CHECK_OK(store_open(comm, file, NULL, 3, &input))) {
    const struct store_info *info = store_info(input);
    CHECK(info->n[0] == 1 && info->n[1] == 459 && info->n[2] == 503, "sinogram");
    store_close(&input);
  }
}
