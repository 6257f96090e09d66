/* A corpus of malformed files made here: cut short at many places, bytes changed, in old and new HDF5
 * layouts and in TIFF. Whatever is done with them ends with OK, or with INPUT on all ranks and a message
 * that names the file; never a signal, never a hang.
 * np: 2
 * timeout: 600
 * label: full */
#include "check.h"
#include "store.h"
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

enum { NZ = 6, NY = 7, NX = 8, MOST_BYTES = 1 << 20 };
static char base[MOST_BYTES];
static long base_bytes;

static void hdf5_make(const char *path, bool latest) {
  static float value[NZ * NY * NX];
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (latest) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  hid_t file  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  hid_t links = H5Pcreate(H5P_LINK_CREATE), creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  const hsize_t n[3] = {NZ, NY, NX}, chunk[3] = {2, 3, NX}, most[3] = {H5S_UNLIMITED, NY, NX};
  H5Pset_chunk(creation, 3, chunk);
  H5Pset_shuffle(creation);
  H5Pset_deflate(creation, 3);
  hid_t space = H5Screate_simple(3, n, latest ? most : NULL);
  hid_t dataset =
      H5Dcreate2(file, "/entry/volume/data", H5T_IEEE_F32LE, space, links, creation, H5P_DEFAULT);
  H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, value);
  hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, H5T_VARIABLE);
  hid_t scalar      = H5Screate(H5S_SCALAR);
  const char *words = "1/um";
  hid_t attribute   = H5Acreate2(dataset, "units", text, scalar, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, text, &words);
  hid_t title = H5Dcreate2(file, "/entry/title", text, scalar, links, H5P_DEFAULT, H5P_DEFAULT);
  H5Dwrite(title, text, H5S_ALL, H5S_ALL, H5P_DEFAULT, &words);
  H5Lcreate_soft("/entry/volume", file, "/alias", H5P_DEFAULT, H5P_DEFAULT);
  H5Dclose(title);
  H5Aclose(attribute);
  H5Sclose(scalar);
  H5Tclose(text);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Pclose(links);
  H5Pclose(creation);
  H5Pclose(access);
  H5Fclose(file);
}

static void tiff_make(const char *path) {
  TIFF *tiff = TIFFOpen(path, "w");
  for (int z = 0; z < NZ; z++) {
    uint16_t row[NX] = {0};
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, NX);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, NY);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 16);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 1);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
    TIFFSetField(tiff, TIFFTAG_COMPRESSION, z % 2 ? COMPRESSION_LZW : COMPRESSION_ADOBE_DEFLATE);
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 3);
    for (uint32_t y = 0; y < NY; y++) TIFFWriteScanline(tiff, row, y, 0);
    TIFFWriteDirectory(tiff);
  }
  TIFFClose(tiff);
}

static void base_load(const char *path) {
  FILE *stream = fopen(path, "rb");
  base_bytes   = (long)fread(base, 1, sizeof base, stream);
  fclose(stream);
}

/* One of the corpus: even turns are cut short, odd ones have one to four bytes changed. */
static void spoil(const char *path, int turn, int turns, uint64_t *state) {
  static char copy[MOST_BYTES];
  long bytes = turn % 2 ? base_bytes : base_bytes * (turn + 1) / (turns + 1);
  memcpy(copy, base, (size_t)bytes);
  for (int k = 0; turn % 2 && k <= turn / 2 % 4; k++) {
    *state      = *state * 6364136223846793005u + 1442695040888963407u;
    long place  = (long)((*state >> 33) % (uint64_t)bytes);
    copy[place] = (char)(turn % 8 == 1 ? copy[place] ^ (int)(1 << (*state >> 20 & 7))
                                       : (int)(*state >> 20 & 255));
  }
  FILE *stream = fopen(path, "wb");
  fwrite(copy, 1, (size_t)bytes, stream);
  fclose(stream);
}

static bool fair(enum status status, const char *path) {
  bool good = status == STATUS_OK || (status == STATUS_INPUT && strstr(status_text(), path));
  return CHECK(good, "%s: %s", status_name(status), status_text());
}

/* Everything a command may do with an input. */
static int use(MPI_Comm comm, const char *path) {
  static float value[NZ * NY * NX];
  const int64_t start[3] = {0}, n[3] = {NZ, NY, NX};
  struct store_input *input = NULL;
  char text[256], *lines = NULL;
  bool found;
  int refused        = 0;
  enum status status = store_open(comm, path, "volume", 3, &input);
  if (status == STATUS_OK) status = store_read_box(comm, input, start, n, GRID_F32, false, value);
  refused += status != STATUS_OK;
  fair(status, path);
  status_clear();
  store_close(&input);
  status = store_list(comm, path, &lines);
  fair(status, path);
  status_clear();
  memory_free(lines);
  if (strstr(path, ".tif")) return refused;
  fair(store_get_text(comm, path, "/entry/title", &found, text, sizeof text), path);
  status_clear();
  fair(store_get_text(comm, path, "/alias/data@units", &found, text, sizeof text), path);
  status_clear();
  fair(store_fingerprint(comm, path, text, sizeof text), path);
  status_clear();
  return refused;
}

static void corpus(MPI_Comm comm, const char *name, void (*make)(const char *), int turns) {
  char path[512];
  int rank, refused = 0;
  uint64_t state = 1;
  MPI_Comm_rank(comm, &rank);
  snprintf(path, sizeof path, "%s/%s", check_scratch(), name);
  if (rank == 0) {
    make(path);
    base_load(path);
  }
  for (int turn = 0; turn < turns; turn++) {
    if (rank == 0) spoil(path, turn, turns, &state);
    MPI_Barrier(comm);
    refused += use(comm, path);
    MPI_Barrier(comm);
  }
  CHECK(refused >= turns / 3, "only %d of %d were refused", refused, turns);
}

static void hdf5_old(const char *path) { hdf5_make(path, false); }
static void hdf5_new(const char *path) { hdf5_make(path, true); }

TEST(malformed_hdf5_of_the_old_layout) { corpus(comm, "old.h5", hdf5_old, 300); }
TEST(malformed_hdf5_of_the_new_layout) { corpus(comm, "new.h5", hdf5_new, 300); }
TEST(malformed_tiff) { corpus(comm, "pages.tif", tiff_make, 200); }

/* Our own filters meet lengths that lie: the packed bytes alone are changed. */
TEST(malformed_packed_chunks) {
  static const char *const name[] = {
      "bitshuffle_lz4_u16", "bitshuffle_plain_f32", "lz4_u8", "lz4_i32", "blosc_lz4", "blosc_bits"};
  static double value[385];
  char path[512], fixture[1024], full[600];
  int rank, refused = 0;
  uint64_t state = 7;
  MPI_Comm_rank(comm, &rank);
  snprintf(fixture, sizeof fixture, "%s", __FILE__);
  snprintf(strrchr(fixture, '/'), 16, "/packed.h5");
  snprintf(path, sizeof path, "%s/packed.h5", check_scratch());
  base_load(fixture);
  for (int turn = 0; turn < 300; turn++) {
    if (rank == 0) spoil(path, 1 + 2 * turn, 600, &state);
    MPI_Barrier(comm);
    for (int k = 0; k < 6; k++) {
      struct store_input *input = NULL;
      snprintf(full, sizeof full, "%s:/%s", path, name[k]);
      enum status status = store_open(comm, full, NULL, 3, &input);
      if (status == STATUS_OK)
        status = store_read_box(comm, input, (int64_t[]){0, 0, 0}, (int64_t[]){5, 7, 11}, GRID_F64,
                                false, value);
      refused += status != STATUS_OK;
      fair(status, path);
      status_clear();
      store_close(&input);
    }
    MPI_Barrier(comm);
  }
  CHECK(refused > 0, "none was refused");
}
