/* What is written comes back: any plan, halos, odd sizes, ranks without rows, empty boxes.
 * np: 1 2 3 5 */
#include "check.h"
#include "store.h"
#include <string.h>
#include <sys/stat.h>

static const char *path_in(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", check_scratch(), name);
  return path;
}

/* A value that tells its place. */
static float value_at(int64_t z, int64_t y, int64_t x) {
  return (float)(z * 10007 + y * 101 + x) + 0.25f;
}

static void field_fill(struct grid_field *field) {
  float *data                 = field->data;
  int64_t origin              = grid_field_origin(field);
  const struct grid_box *mine = &field->mine;
  for (int64_t z = 0; z < mine->n[0]; z++)
    for (int64_t y = 0; y < mine->n[1]; y++)
      for (int64_t x = 0; x < mine->n[2]; x++)
        data[origin + z * field->row[0] + y * field->row[1] + x] =
            value_at(mine->start[0] + z, mine->start[1] + y, mine->start[2] + x);
}

static int64_t field_wrong(const struct grid_field *field, const int64_t *shift) {
  const float *data = field->data;
  int64_t origin = grid_field_origin(field), wrong = 0;
  const struct grid_box *mine = &field->mine;
  for (int64_t z = 0; z < mine->n[0]; z++)
    for (int64_t y = 0; y < mine->n[1]; y++)
      for (int64_t x = 0; x < mine->n[2]; x++)
        wrong += data[origin + z * field->row[0] + y * field->row[1] + x] !=
                 value_at(mine->start[0] + z + shift[0], mine->start[1] + y + shift[1],
                          mine->start[2] + x + shift[2]);
  return wrong;
}

static const int64_t no_shift[3];

static int deflate; /* level of write_volume */

static void write_volume(MPI_Comm comm, const char *path, const struct grid_plan *plan,
                         const int64_t *halo) {
  struct grid_field field            = {0};
  struct store_output *output        = NULL;
  const struct store_options options = {.force = true, .deflate = deflate, .record = "test"};
  const double axis_um[3]            = {3, 2, 1.5};
  CHECK_OK(grid_field_make(comm, plan, GRID_F32, halo, &field));
  field_fill(&field);
  if (CHECK_OK(store_begin(comm, path, &options, &output))) {
    CHECK_OK(store_create(comm, output, "volume", plan->n, axis_um, "1/um", false));
    CHECK_OK(store_ready(comm, output));
    CHECK_OK(store_write_field(comm, output, "volume", &field, 0));
    CHECK_OK(store_commit(comm, &output));
  }
  grid_field_free(&field);
}

static void read_volume(MPI_Comm comm, const char *path, const struct grid_plan *plan,
                        const int64_t *halo) {
  struct grid_field field   = {0};
  struct store_input *input = NULL;
  CHECK_OK(grid_field_make(comm, plan, GRID_F32, halo, &field));
  if (CHECK_OK(store_open(comm, path, "volume", 3, &input))) {
    const struct store_info *info = store_info(input);
    CHECK(info->rank == 3 && info->n[0] == plan->n[0] && info->n[2] == plan->n[2], "shape");
    CHECK(info->voxel_um[0] == 3 && info->voxel_um[1] == 2 && info->voxel_um[2] == 1.5, "voxel");
    CHECK(strcmp(info->unit, "1/um") == 0, "unit is %s", info->unit);
    CHECK_OK(store_read_field(comm, input, true, &field));
    CHECK(field_wrong(&field, no_shift) == 0, "%lld voxels are wrong",
          (long long)field_wrong(&field, no_shift));
    CHECK(field.voxel_um[0] == 3, "the field's voxel size");
  }
  store_close(&input);
  grid_field_free(&field);
}

static void both_ways(MPI_Comm comm, const int64_t *n, int write_axis, int read_axis,
                      const int64_t *halo) {
  struct grid_plan write_plan = {0}, read_plan = {0};
  CHECK_OK(write_axis < 3 ? grid_plan_slabs(comm, n, write_axis, &write_plan)
                          : grid_plan_blocks(comm, n, 1, &write_plan));
  CHECK_OK(read_axis < 3 ? grid_plan_slabs(comm, n, read_axis, &read_plan)
                         : grid_plan_blocks(comm, n, 1, &read_plan));
  write_volume(comm, path_in("volume.h5"), &write_plan, halo);
  read_volume(comm, path_in("volume.h5"), &read_plan, halo);
  grid_plan_free(&write_plan);
  grid_plan_free(&read_plan);
}

TEST(every_plan_writes_what_every_plan_reads) {
  const int64_t n[3] = {7, 11, 13}, none[3] = {0, 0, 0}, halo[3] = {1, 2, 3};
  for (int write_axis = 0; write_axis < 4; write_axis++) {
    both_ways(comm, n, write_axis, (write_axis + 1) % 4, none);
    both_ways(comm, n, write_axis, (write_axis + 2) % 4, halo);
  }
}

TEST(one_slice_and_one_voxel_and_more_ranks_than_rows) {
  const int64_t slice[3] = {1, 5, 9}, voxel[3] = {1, 1, 1}, thin[3] = {2, 1, 3},
                halo[3] = {1, 1, 1};
  both_ways(comm, slice, 0, 1, halo);
  both_ways(comm, voxel, 0, 0, halo);
  both_ways(comm, thin, 0, 2, halo);
}

/* Bricks are 16 MB: this volume takes several on a rank, cut within slices. */
TEST(volumes_larger_than_a_brick) {
  const int64_t n[3] = {3, 1100, 2050}, halo[3] = {0, 1, 1}, none[3] = {0, 0, 0};
  both_ways(comm, n, 0, 1, none);
  both_ways(comm, n, 1, 0, halo);
}

TEST(a_box_of_the_volume_onto_a_field) {
  const int64_t n[3] = {9, 8, 10}, none[3] = {0, 0, 0};
  const struct grid_box box = {
      {2, 3, 4},
      {5, 4, 3}
  };
  struct grid_plan plan = {0}, small = {0};
  struct grid_field field   = {0};
  struct store_input *input = NULL;
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(grid_plan_slabs(comm, box.n, 1, &small));
  write_volume(comm, path_in("boxed.h5"), &plan, none);
  CHECK_OK(grid_field_make(comm, &small, GRID_F32, none, &field));
  if (CHECK_OK(store_open(comm, path_in("boxed.h5"), NULL, 3, &input))) {
    CHECK_OK(store_read_field_box(comm, input, &box, true, &field));
    CHECK(field_wrong(&field, box.start) == 0, "the box");
    const struct grid_box outside = {
        {5, 3, 4},
        {5, 4, 3}
    };
    CHECK(store_read_field_box(comm, input, &outside, true, &field) == STATUS_INPUT, "outside");
    status_clear();
  }
  store_close(&input);
  grid_field_free(&field);
  grid_plan_free(&plan);
  grid_plan_free(&small);
}

/* Rounds: three calls, each with its slices at z0; the middle one has ranks with nothing. */
TEST(rounds_of_slices_make_one_volume) {
  const int64_t n[3] = {8, 6, 5}, rounds[4] = {0, 4, 5, 8}, none[3] = {0, 0, 0};
  struct store_output *output        = NULL;
  struct grid_plan whole             = {0};
  const struct store_options options = {.force = true};
  CHECK_OK(grid_plan_slabs(comm, n, 0, &whole));
  CHECK_OK(store_begin(comm, path_in("rounds.h5"), &options, &output));
  CHECK_OK(store_create(comm, output, "volume", n, (double[]){3, 2, 1.5}, "1/um", false));
  CHECK_OK(store_ready(comm, output));
  for (int i = 0; i < 3; i++) {
    const int64_t part[3]   = {rounds[i + 1] - rounds[i], 6, 5};
    struct grid_plan plan   = {0};
    struct grid_field field = {0};
    CHECK_OK(grid_plan_slabs(comm, part, 0, &plan));
    CHECK_OK(grid_field_make(comm, &plan, GRID_F32, none, &field));
    float *data = field.data;
    for (int64_t z = 0; z < field.mine.n[0]; z++)
      for (int64_t k = 0; k < 30; k++)
        data[z * 30 + k] = value_at(rounds[i] + field.mine.start[0] + z, k / 5, k % 5);
    CHECK_OK(store_write_field(comm, output, "volume", &field, rounds[i]));
    CHECK_OK(store_sync(comm, output));
    grid_field_free(&field);
    grid_plan_free(&plan);
  }
  CHECK_OK(store_commit(comm, &output));
  read_volume(comm, path_in("rounds.h5"), &whole, none);
  grid_plan_free(&whole);
}

/* Four axes with errors and axis values; boxes of ranks, some empty. */
TEST(boxes_with_errors_and_axes) {
  const int64_t n[4] = {2, 3, 4, 5};
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  struct store_output *output        = NULL;
  struct store_input *input          = NULL;
  const struct store_options options = {.force = true};
  const double energy[5]             = {90, 95, 100, 105, 110};
  int64_t begin = 3 * rank / size, rows = 3 * (rank + 1) / size - begin;
  float value[2][3][4][5], error[2][3][4][5];
  const int64_t start[4] = {0, begin, 0, 0}, mine[4] = {2, rows, 4, 5};
  float *at = &value[0][0][0][0], *error_at = &error[0][0][0][0];
  for (int64_t r = 0; r < 2; r++)
    for (int64_t y = begin; y < begin + rows; y++)
      for (int64_t k = 0; k < 20; k++) {
        *at++       = (float)(r * 100 + y * 20 + k);
        *error_at++ = (float)(r * 100 + y * 20 + k) / 2;
      }
  CHECK_OK(store_begin(comm, path_in("profile.h5"), &options, &output));
  CHECK_OK(store_create(comm, output, "profile", n, NULL, NULL, true));
  CHECK_OK(store_axis(comm, output, "profile", "momentum", energy, 5, "a.u."));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(store_write_box(comm, output, "profile", false, start, mine, value));
  CHECK_OK(store_write_box(comm, output, "profile", true, start, mine, error));
  CHECK_OK(store_commit(comm, &output));
  memset(value, 0, sizeof value);
  CHECK_OK(store_open(comm, path_in("profile.h5"), "profile", 4, &input));
  CHECK(strcmp(store_info(input)->unit, "electrons/a.u.") == 0, "%s", store_info(input)->unit);
  CHECK_OK(store_read_box(comm, input, start, mine, GRID_F32, true, value));
  at = &value[0][0][0][0];
  for (int64_t i = 0; i < 40 * rows; i++) {
    int64_t r = rows ? i / (20 * rows) : 0, k = i - r * 20 * rows;
    CHECK(at[i] == (float)(r * 100 + begin * 20 + k), "value %g", (double)at[i]);
  }
  store_close(&input);
  char name[600];
  snprintf(name, sizeof name, "%s:/entry/profile", path_in("profile.h5"));
  CHECK_OK(store_open(comm, name, NULL, 4, &input));
  CHECK(store_info(input)->n[3] == 5, "an NXdata group stands for its signal");
  store_close(&input);
  snprintf(name, sizeof name, "%s:/entry/profile/data_errors", path_in("profile.h5"));
  double whole[120];
  const int64_t all[4] = {0, 0, 0, 0};
  CHECK_OK(store_open(comm, name, NULL, 4, &input));
  CHECK_OK(store_read_box(comm, input, all, n, GRID_F64, true, whole));
  CHECK(whole[119] == 79.5, "%g", whole[119]);
  store_close(&input);
  bool found;
  double *values;
  int64_t count;
  CHECK_OK(store_get_doubles(comm, path_in("profile.h5"), "/entry/profile/momentum", &found,
                             &values, &count));
  CHECK(found && count == 5 && values[4] == 110, "axis");
  memory_free(values);
}

TEST(notes_numbers_and_tables_come_back) {
  struct store_output *output        = NULL;
  const struct store_options options = {.force = true, .record = "the record"};
  const char *const column[2] = {"label", "volume"}, *const unit[2] = {"", "um3"};
  const double label[3] = {1, 2, 9007199254740992.0}, volume[3] = {0.5, 1.5, 2.5};
  const double *const value[2] = {label, volume};
  char text[256];
  bool found;
  double *values;
  int64_t n;
  CHECK_OK(store_begin(comm, path_in("notes.h5"), &options, &output));
  CHECK_OK(store_note(comm, output, "program", "xcsct"));
  CHECK_OK(store_note(comm, output, "effective_yaml", "flux: {tolerance: 1e-4} # \xc2\xb5"));
  CHECK_OK(store_note(comm, output, "empty", ""));
  CHECK_OK(store_number(comm, output, "ranks", 3, ""));
  CHECK_OK(store_number(comm, output, "results/Ra_um", 1.25, "um"));
  CHECK_OK(store_table(comm, output, "components_table", column, unit, 2, value, 3));
  CHECK_OK(store_table(comm, output, "empty_table", column, NULL, 2, value, 0));
  CHECK(store_table(comm, output, "../x", column, NULL, 2, value, 0) == STATUS_INTERNAL, "a name");
  status_clear();
  CHECK_OK(store_commit(comm, &output));
  const char *path = path_in("notes.h5");
  CHECK_OK(store_get_text(comm, path, "/entry/process/program", &found, text, sizeof text));
  CHECK(found && strcmp(text, "xcsct") == 0, "program %s", text);
  CHECK_OK(store_get_text(comm, path, "/entry/process/effective_yaml", &found, text, sizeof text));
  CHECK(found && strcmp(text, "flux: {tolerance: 1e-4} # \xc2\xb5") == 0, "yaml %s", text);
  CHECK_OK(store_get_text(comm, path, "/entry/process/empty", &found, text, sizeof text));
  CHECK(found && text[0] == 0, "empty \"%s\"", text);
  CHECK_OK(store_get_text(comm, path, "/entry/process/record", &found, text, sizeof text));
  CHECK(found && strcmp(text, "the record") == 0, "record %s", text);
  CHECK_OK(store_get_text(comm, path, "/entry/results/Ra_um@units", &found, text, sizeof text));
  CHECK(found && strcmp(text, "um") == 0, "units %s", text);
  CHECK_OK(store_get_doubles(comm, path, "/entry/results/Ra_um", &found, &values, &n));
  CHECK(found && n == 1 && values[0] == 1.25, "a number");
  memory_free(values);
  CHECK_OK(store_get_doubles(comm, path, "/entry/components_table/label", &found, &values, &n));
  CHECK(found && n == 3 && values[2] == 9007199254740992.0, "a column");
  memory_free(values);
  CHECK_OK(store_get_doubles(comm, path, "/entry/nothing", &found, &values, &n));
  CHECK(!found && !values, "nothing");
  CHECK_OK(store_has(comm, path, "/entry/process", &found));
  CHECK(found, "a group");
  CHECK_OK(store_has(comm, path, "/entry@nothing", &found));
  CHECK(!found, "an attribute that is not there");
}

TEST(a_height_map_is_two_axes_and_serves_as_one_slice) {
  const int64_t n[3] = {1, 6, 7}, none[3] = {0, 0, 0};
  struct grid_plan plan   = {0};
  struct grid_field field = {0}, back = {0};
  struct store_output *output        = NULL;
  struct store_input *input          = NULL;
  const struct store_options options = {.force = true};
  CHECK_OK(grid_plan_slabs(comm, n, 1, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, none, &field));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, none, &back));
  field_fill(&field);
  CHECK_OK(store_begin(comm, path_in("height.h5"), &options, &output));
  CHECK_OK(store_create(comm, output, "height", n + 1, (double[]){2, 2}, NULL, false));
  CHECK_OK(store_write_field(comm, output, "height", &field, 0));
  CHECK_OK(store_commit(comm, &output));
  CHECK_OK(store_open(comm, path_in("height.h5"), "height", 2, &input));
  CHECK(store_info(input)->rank == 2 && store_info(input)->n[1] == 7, "two axes");
  CHECK_OK(store_read_field(comm, input, true, &back));
  CHECK(field_wrong(&back, no_shift) == 0, "read as two axes");
  store_close(&input);
  CHECK_OK(store_open(comm, path_in("height.h5"), "height", 3, &input));
  CHECK(store_info(input)->rank == 3 && store_info(input)->n[0] == 1, "one slice");
  memset(back.data, 0, (size_t)back.voxels * sizeof(float));
  CHECK_OK(store_read_field(comm, input, true, &back));
  CHECK(field_wrong(&back, no_shift) == 0, "read as a slice");
  store_close(&input);
  grid_field_free(&field);
  grid_field_free(&back);
  grid_plan_free(&plan);
}

/* The same through compression; slices larger than a chunk are cut by rows. */
TEST(compressed_volumes_come_back_and_are_smaller) {
  const int64_t n[3] = {7, 11, 13}, none[3] = {0, 0, 0}, halo[3] = {1, 2, 3};
  const int64_t wide[3] = {2, 1100, 2050}, one[3] = {1, 1, 1};
  deflate = 1;
  for (int axis = 0; axis < 4; axis++)
    both_ways(comm, n, axis, (axis + 1) % 4, axis % 2 ? halo : none);
  both_ways(comm, one, 0, 0, halo);
  both_ways(comm, wide, 2, 0, none);
  struct stat info;
  CHECK(stat(path_in("volume.h5"), &info) == 0 && info.st_size < 2 * 1100 * 2050 * 3,
        "%lld bytes are left of %d", (long long)info.st_size, 2 * 1100 * 2050 * 4);
  deflate = 0;
}

TEST(compressed_outputs_have_errors_boxes_and_equal_fingerprints) {
  const int64_t n[4] = {2, 3, 4, 5};
  char text[2][128];
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  int64_t begin = 2 * rank / size, rows = 2 * (rank + 1) / size - begin;
  const int64_t start[4] = {begin, 0, 0, 0}, mine[4] = {rows, 3, 4, 5}, part[4] = {0, 0, 1, 0};
  const int64_t bad[4] = {1, 1, 2, 5};
  static float value[120];
  for (int i = 0; i < 120; i++) value[i] = (float)(begin * 60 + i);
  for (int turn = 0; turn < 2; turn++) {
    struct store_output *output = NULL;
    struct store_input *input   = NULL;
    CHECK_OK(store_begin(comm, path_in("packed4.h5"),
                         &(struct store_options){.force = true, .deflate = 6}, &output));
    CHECK_OK(store_create(comm, output, "profile", n, NULL, NULL, true));
    CHECK_OK(store_ready(comm, output));
    for (int again = 0; again <= turn; again++)
      CHECK_OK(store_write_box(comm, output, "profile", false, start, mine, value));
    CHECK_OK(store_write_box(comm, output, "profile", true, start, mine, value));
    CHECK(store_write_box(comm, output, "profile", true, part, bad, value) == STATUS_INTERNAL,
          "a part");
    status_clear();
    CHECK_OK(store_commit(comm, &output));
    CHECK_OK(store_fingerprint(comm, path_in("packed4.h5"), text[turn], sizeof text[turn]));
    double back[120];
    CHECK_OK(store_open(comm, path_in("packed4.h5"), "profile", 4, &input));
    CHECK_OK(store_read_box(comm, input, (int64_t[]){0, 0, 0, 0}, n, GRID_F64, true, back));
    for (int i = 0; i < 120; i++) CHECK(back[i] == i, "%d: %g", i, back[i]);
    store_close(&input);
  }
  CHECK(strcmp(text[0], text[1]) == 0, "%s, %s", text[0], text[1]);
}
