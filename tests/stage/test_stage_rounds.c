/* np: 1 2 3 */
#include "check.h"
#include "stage.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NZ = 8, NY = 3, NX = 5 };

static struct stage_common common;
static struct stage_results results;
static char path[300];

static struct stage_job job_of(MPI_Comm comm, const char *record) {
  static const struct stage_bundle bundle = {.input = ""};
  snprintf(path, sizeof path, "%s/out.h5", check_scratch());
  return (struct stage_job){comm, &common, NULL, &bundle, path, record, &results};
}

static bool there(MPI_Comm comm, const char *ending) {
  char name[320];
  MPI_Barrier(comm);
  snprintf(name, sizeof name, "%s%s", path, ending);
  bool found = access(name, F_OK) == 0;
  MPI_Barrier(comm);
  return found;
}

/* Slices first .. first + n - 1 of a volume whose voxels hold their number, dealt along y. */
static enum status slices_write(MPI_Comm comm, struct store_output *output, int64_t first,
                                int64_t n) {
  const int64_t shape[3] = {n, NY, NX};
  struct grid_plan plan;
  struct grid_field field;
  TRY_ALL(comm, grid_plan_slabs(comm, shape, 1, &plan));
  enum status status = grid_field_make(comm, &plan, GRID_F32, NULL, &field);
  grid_plan_free(&plan);
  float *value = field.data;
  for (int64_t z = 0, i = 0; z < field.mine.n[0]; z++)
    for (int64_t y = 0; y < field.mine.n[1]; y++)
      for (int64_t x = 0; x < NX; x++)
        value[i++] = (float)(((first + z) * NY + field.mine.start[1] + y) * NX + x);
  if (status == STATUS_OK) status = store_write_field(comm, output, "volume", &field, first);
  grid_field_free(&field);
  return status;
}

/* Works from where it stands to slice `until`, two a round; then it is cut off, stopped or at the end. */
static void work(MPI_Comm comm, const char *record, int64_t until, bool kill, int64_t *began,
                 int64_t *sum) {
  const int64_t shape[3] = {NZ, NY, NX};
  struct stage_job job   = job_of(comm, record);
  struct stage_rounds rounds;
  struct store_output *output;
  int64_t mine = 0;
  status_clear();
  CHECK_OK(stage_output_begin(&job, 4096, &output));
  CHECK_OK(store_create(comm, output, "volume", shape, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(stage_rounds_begin(&job, output, &rounds));
  *began = rounds.done;
  for (int64_t at = rounds.done; at < until; at += 2) {
    CHECK_OK(slices_write(comm, output, at, 2));
    mine += 2;
    CHECK_OK(stage_rounds_note(&rounds, at + 2, &mine, 1, true));
  }
  MPI_Allreduce(&mine, sum, 1, MPI_INT64_T, MPI_SUM, comm);
  *sum += rounds.sum[0];
  bool end = until == NZ && !kill;
  if (end)
    CHECK_OK(stage_output_commit(&job, &output));
  else
    store_abandon(comm, &output, true);
  stage_rounds_end(&rounds, !end);
}

static int64_t voxels_wrong(MPI_Comm comm) {
  struct store_input *input;
  float *value;
  int64_t wrong          = 0;
  const int64_t start[3] = {0, 0, 0}, n[3] = {NZ, NY, NX};
  CHECK_OK(store_open(comm, path, "volume", 3, &input));
  CHECK_OK(memory_make(NZ * NY * NX, sizeof *value, "voxels", &value));
  CHECK_OK(store_read_box(comm, input, start, n, GRID_F32, true, value));
  for (int64_t i = 0; i < NZ * NY * NX; i++) wrong += value[i] != (float)i;
  memory_free(value);
  store_close(&input);
  return wrong;
}

TEST(work_goes_on_where_it_was_noted) {
  int64_t began, sum;
  int size;
  MPI_Comm_size(comm, &size);
  work(comm, "a", 2, true, &began, &sum);
  CHECK(began == 0 && sum == 2 * size, "%lld %lld", (long long)began, (long long)sum);
  work(comm, "a", 6, true, &began, &sum);
  CHECK(began == 2 && sum == 6 * size, "%lld %lld", (long long)began, (long long)sum);
  work(comm, "a", NZ, true, &began,
       &sum); /* killed when all was noted, before its name was given */
  CHECK(began == 6 && there(comm, ".rounds"), "%lld", (long long)began);
  work(comm, "a", NZ, false, &began, &sum);
  CHECK(began == NZ && sum == NZ * size, "%lld %lld", (long long)began, (long long)sum);
  CHECK(!there(comm, ".rounds") && !there(comm, ".partial"), "left behind");
  CHECK(voxels_wrong(comm) == 0, "voxels");
}

TEST(other_work_begins_anew) {
  int64_t began, sum;
  work(comm, "a", 4, true, &began, &sum);
  work(comm, "b", 2, true, &began, &sum);
  CHECK(began == 0, "began at %lld", (long long)began);
  work(comm, "a", NZ, false, &began, &sum);
  CHECK(began == 0 && voxels_wrong(comm) == 0, "began at %lld", (long long)began);
}

/* Puts `text` at the place `from` of the journal, cut off after it (`cut`). */
static void spoil(MPI_Comm comm, int64_t from, const char *text, bool cut) {
  char name[320];
  int rank;
  MPI_Comm_rank(comm, &rank);
  snprintf(name, sizeof name, "%s.rounds", path);
  if (rank == 0) {
    int handle = open(name, O_RDWR);
    off_t size = lseek(handle, 0, SEEK_END), at = from < 0 ? size + from : from;
    ssize_t n    = pwrite(handle, text, strlen(text), at);
    bool written = n == (ssize_t)strlen(text) && (!cut || ftruncate(handle, at + n) == 0);
    CHECK(written, "the journal cannot be spoilt");
    close(handle);
  }
  MPI_Barrier(comm);
}

TEST(a_line_cut_short_does_not_count) {
  int64_t began, sum;
  work(comm, "c", 6, true, &began, &sum);
  spoil(comm, -2, "", true); /* the last " ." and its end are missing */
  work(comm, "c", 6, true, &began, &sum);
  CHECK(began == 4, "began at %lld", (long long)began);
  spoil(comm, -12, "9999999999999999999999999999999999 9 9 9 9 .\n", true);
  work(comm, "c", NZ, false, &began, &sum);
  CHECK(began == 4 && voxels_wrong(comm) == 0, "began at %lld", (long long)began);
}

TEST(rounds_of_another_program_are_not_gone_on_with) {
  int64_t began, sum;
  work(comm, "d", 6, true, &began, &sum);
  spoil(comm, 16, "9.9.9", false);
  work(comm, "d", NZ, false, &began, &sum);
  CHECK(began == 0 && voxels_wrong(comm) == 0, "began at %lld", (long long)began);
}

TEST(a_fault_on_any_rank_ends_all_alike) {
  const int64_t shape[3] = {NZ, NY, NX};
  struct stage_job job   = job_of(comm, "e");
  struct stage_rounds rounds;
  struct store_output *output;
  setenv("FAULT", "stage.rounds:0", 1);
  status_clear();
  CHECK_OK(stage_output_begin(&job, 4096, &output));
  CHECK_OK(store_create(comm, output, "volume", shape, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  enum status status = stage_rounds_begin(&job, output, &rounds);
  unsetenv("FAULT");
#ifdef XCSCT_FAULTS
  CHECK(status == STATUS_INTERNAL && strstr(status_text(), "stage.rounds"), "%s", status_text());
#endif
  if (status == STATUS_OK) stage_rounds_end(&rounds, false);
  store_abandon(comm, &output, false);
  CHECK(!there(comm, ".rounds") && !there(comm, ".partial"), "left behind");
}
