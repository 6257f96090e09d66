/* Frames over several files, words and pixels, maps as text and HDF5.
 * np: 1 2 3 */
#include "check.h"
#include "raw_frames.h"
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, COLUMNS = 8, PIXELS = ROWS * COLUMNS, FILES = 3 };
static const int64_t frames_of[FILES] = {4, 1, 6};

static bool is_first(void) {
  int rank;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank == 0;
}

static const char *in_scratch(const char *name, char path[300]) {
  snprintf(path, 300, "%s/%s", check_scratch(), name);
  return path;
}

static void bytes_write(const char *path, const void *bytes, size_t n) {
  if (is_first()) {
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, n, file) == n, "%s", path);
    if (file) fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

static void hdf5_write(const char *path, const char *name, int rank, const hsize_t *n, hid_t type,
                       const void *value) {
  if (is_first()) {
    hid_t file  = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(rank, n, NULL);
    hid_t set   = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value) >= 0, "%s", path);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

static uint16_t value_at(int64_t frame, int64_t word) { return (uint16_t)(1000 * frame + word); }

/* Frame k of the acquisition holds 1000 k + word. */
static void files_write(bool hdf5, char path[FILES][300]) {
  for (int64_t i = 0, frame = 0; i < FILES; i++) {
    char name[32];
    uint16_t word[6 * PIXELS];
    snprintf(name, sizeof name, "f%d%s", (int)i, hdf5 ? ".h5" : ".bin");
    in_scratch(name, path[i]);
    for (int64_t k = 0; k < frames_of[i] * PIXELS; k++)
      word[k] = value_at(frame + k / PIXELS, k % PIXELS);
    hsize_t n[3] = {(hsize_t)frames_of[i], ROWS, COLUMNS};
    if (hdf5)
      hdf5_write(path[i], "raw_frames", 3, n, H5T_NATIVE_UINT16, word);
    else
      bytes_write(path[i], word, (size_t)n[0] * PIXELS * sizeof *word);
    frame += frames_of[i];
  }
}

TEST(any_run_of_frames_comes_whole_across_files_on_every_rank) {
  char path[FILES][300];
  const char *file[FILES] = {path[0], path[1], path[2]};
  int rank;
  MPI_Comm_rank(comm, &rank);
  for (int hdf5 = 0; hdf5 < 2; hdf5++) {
    struct raw_frames_request request = {file, FILES, false, ROWS, COLUMNS};
    struct raw_frames frames;
    uint16_t got[11 * PIXELS];
    files_write(hdf5, path);
    CHECK_OK(raw_frames_open(comm, &request, &frames));
    CHECK(frames.frames == 11 && frames.words == PIXELS && frames.headerless == !hdf5, "%lld",
          (long long)frames.frames);
    for (int64_t first = 0; first < 11; first++)
      for (int64_t most = 0; first + most <= 11; most++) {
        int64_t n = rank == 1 ? 0 : most, wrong = 0; /* one rank wants nothing */
        CHECK_OK(raw_frames_read(comm, &frames, first, n, got));
        for (int64_t i = 0; i < n * PIXELS; i++)
          wrong += got[i] != value_at(first + i / PIXELS, i % PIXELS);
        CHECK(wrong == 0, "%lld values of %lld frames from %lld", (long long)wrong, (long long)n,
              (long long)first);
      }
    raw_frames_close(&frames);
  }
}

TEST(interleaved_words_go_to_every_fourth_part_of_a_row) {
  struct raw_frames frames       = {.rows = 80, .columns = 80, .words = 6400, .interleaved = true};
  static const int64_t pair[][2] = {
      {0,    0   },
      {1,    20  },
      {2,    40  },
      {3,    60  },
      {4,    1   },
      {79,   79  },
      {82,   120 },
      {6399, 6399}
  };
  for (size_t i = 0; i < sizeof pair / sizeof *pair; i++)
    CHECK(raw_frames_pixel(&frames, pair[i][0]) == pair[i][1], "word %lld", (long long)pair[i][0]);
  char seen[6400] = "";
  for (int64_t w = 0; w < 6400; w++) seen[raw_frames_pixel(&frames, w)]++;
  for (int p = 0; p < 6400; p++) CHECK(seen[p] == 1, "pixel %d has %d words", p, seen[p]);
  frames.interleaved = false;
  CHECK(raw_frames_pixel(&frames, 82) == 82, "sorted words are pixels");
}

TEST(maps_come_from_text_and_hdf5) {
  static const char text[] = "# gain\n1, 2;3\t4 # four\n5 6 nan -8\n9 10 11 12\n";
  char path[300], path5[300];
  double value[12], map[12];
  hsize_t n[3] = {1, 3, 4}, turned[2] = {4, 3};
  bytes_write(in_scratch("map.txt", path), text, sizeof text - 1);
  CHECK_OK(raw_map_read(comm, path, 3, 4, value));
  for (int i = 0; i < 12; i++) {
    map[i] = i == 7 ? -8 : i + 1;
    CHECK(i == 6 ? value[i] != value[i] : value[i] == map[i], "value %d is %g", i, value[i]);
  }
  hdf5_write(in_scratch("map.h5", path5), "gain", 3, n, H5T_NATIVE_DOUBLE, map);
  memset(value, 0, sizeof value);
  CHECK_OK(raw_map_read(comm, path5, 3, 4, value));
  CHECK(memcmp(value, map, sizeof map) == 0, "the map as it is");
  hdf5_write(path5, "gain", 2, turned, H5T_NATIVE_DOUBLE, map);
  CHECK(raw_map_read(comm, path5, 3, 4, value) == STATUS_INPUT &&
            strstr(status_text(), "a map of 3 x 4 pixels is wanted"),
        "%s", status_text());
  status_clear();
  CHECK(raw_map_read(comm, path, 3, 5, value) == STATUS_INPUT &&
            strstr(status_text(), "has 12 values; 3 x 5 pixels want 15"),
        "%s", status_text());
  status_clear();
  CHECK(raw_map_read(comm, "/nowhere/map.txt", 3, 4, value) == STATUS_INPUT, "no such file");
  status_clear();
}

TEST(a_file_that_became_shorter_is_told_not_read_past_its_end) {
  char path[FILES][300];
  const char *file[] = {path[0]};
  struct raw_frames frames;
  uint16_t got[4 * PIXELS], word[PIXELS] = {0};
  files_write(false, path);
  CHECK_OK(
      raw_frames_open(comm, &(struct raw_frames_request){file, 1, false, ROWS, COLUMNS}, &frames));
  bytes_write(path[0], word, sizeof word);
  CHECK(raw_frames_read(comm, &frames, 0, 4, got) == STATUS_INPUT &&
            strstr(status_text(), "it became shorter"),
        "%s", status_text());
  status_clear();
  raw_frames_close(&frames);
}
