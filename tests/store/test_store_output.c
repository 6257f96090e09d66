/* Outputs appear whole or not at all: lock, resume, abandon, foreign files, folders, disk space,
 * faults on any rank at any site.
 * np: 1 2 3 */
#include "check.h"
#include "store.h"
#include <fcntl.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *path_in(const char *name) {
  static char path[64][512];
  static int turn;
  char *here = path[turn++ % 64];
  snprintf(here, 512, "%s/%s", check_scratch(), name);
  return here;
}

static bool is_root(MPI_Comm comm) {
  int rank;
  MPI_Comm_rank(comm, &rank);
  return rank == 0;
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

static enum status begin(MPI_Comm comm, const char *path, struct store_options options,
                         struct store_output **output) {
  return store_begin(comm, path, &options, output);
}

/* Collective: is it there once all ranks are here, and before any goes on. */
static bool there(MPI_Comm comm, const char *path) {
  MPI_Barrier(comm);
  bool found = access(path, F_OK) == 0;
  MPI_Barrier(comm);
  return found;
}

/* Labels whose voxel is its index plus `add`; all steps of an output. */
enum { NZ = 5, NY = 4, NX = 3 };
static const int64_t shape[3] = {NZ, NY, NX};

static enum status labels_put(MPI_Comm comm, struct store_output *output, int add) {
  static const int64_t no_halo[3];
  struct grid_plan plan   = {0};
  struct grid_field field = {0};
  enum status status      = grid_plan_slabs(comm, shape, 0, &plan);
  if (status == STATUS_OK) status = grid_field_make(comm, &plan, GRID_U8, no_halo, &field);
  if (status == STATUS_OK) {
    uint8_t *data = field.data;
    for (int64_t i = 0; i < field.voxels; i++)
      data[i] = (uint8_t)(field.mine.start[0] * NY * NX + i + add);
    status = store_write_field(comm, output, "labels", &field, 0);
  }
  grid_field_free(&field);
  grid_plan_free(&plan);
  return status;
}

static enum status labels_write(MPI_Comm comm, const char *path, struct store_options options,
                                int add) {
  static const double one            = 1;
  static const char *const column    = "size";
  static const double *const columns = &one;
  struct store_output *output        = NULL;
  enum status status                 = begin(comm, path, options, &output);
  if (status == STATUS_OK) status = store_create(comm, output, "labels", shape, NULL, NULL, false);
  if (status == STATUS_OK)
    status = store_create(comm, output, "height", shape + 1, NULL, NULL, true);
  if (status == STATUS_OK)
    status = store_axis(comm, output, "height", "x", (double[]){0, 1, 2}, 3, "um");
  if (status == STATUS_OK) status = store_ready(comm, output);
  if (status == STATUS_OK) status = labels_put(comm, output, add);
  if (status == STATUS_OK)
    status = store_table(comm, output, "sizes", &column, NULL, 1, &columns, 1);
  if (status == STATUS_OK) status = store_note(comm, output, "program", "test");
  if (status == STATUS_OK) status = store_number(comm, output, "ranks", 1, NULL);
  if (status == STATUS_OK) status = store_default(comm, output, "labels");
  if (status == STATUS_OK) status = store_sync(comm, output);
  if (status == STATUS_OK) return store_commit(comm, &output);
  store_abandon(comm, &output, false);
  return status;
}

static int label_first(MPI_Comm comm, const char *path) {
  struct store_input *input = NULL;
  uint8_t value             = 255;
  const int64_t start[3] = {0}, one[3] = {1, 1, 1};
  if (CHECK_OK(store_open(comm, path, "labels", 3, &input)))
    CHECK_OK(store_read_box(comm, input, start, one, GRID_U8, true, &value));
  store_close(&input);
  return value;
}

TEST(an_older_result_stays_until_the_new_one_is_whole) {
  const struct store_options fresh = {.record = "a"};
  struct store_output *output      = NULL;
  const char *path                 = path_in("result.h5");
  CHECK_OK(labels_write(comm, path, fresh, 1));
  CHECK(label_first(comm, path) == 1, "the first result");
  CHECK_OK(begin(comm, path, fresh, &output));
  CHECK_OK(store_create(comm, output, "labels", shape, NULL, NULL, false));
  CHECK_OK(labels_put(comm, output, 9));
  CHECK(label_first(comm, path) == 1, "before the commit");
  store_abandon(comm, &output, false);
  CHECK(!output && label_first(comm, path) == 1, "after abandoning");
  MPI_Barrier(comm);
  CHECK(!there(comm, path_in("result.h5.partial")) && !there(comm, path_in("result.h5.lock")),
        "left over");
  CHECK_OK(labels_write(comm, path, fresh, 2));
  CHECK(label_first(comm, path) == 2, "replaced");
  MPI_Barrier(comm);
  CHECK(!there(comm, path_in("result.h5.partial")) && !there(comm, path_in("result.h5.lock")),
        "left over");
}

TEST(what_is_not_ours_is_not_replaced) {
  const char *path = path_in("foreign.h5");
  if (is_root(comm)) H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  MPI_Barrier(comm);
  CHECK_REFUSED(labels_write(comm, path, (struct store_options){0}, 1), STATUS_OUTPUT, "foreign.h5",
                "--force");
  CHECK_OK(labels_write(comm, path, (struct store_options){.force = true}, 1));
  CHECK(label_first(comm, path) == 1, "forced");
}

TEST(a_folder_that_cannot_be_written_is_told) {
  const struct store_options none = {0};
  struct store_output *output     = NULL;
  CHECK_REFUSED(store_output_check(comm, path_in("gone/a.h5"), &none), STATUS_OUTPUT, "gone");
  CHECK_OK(store_output_check(comm, path_in("fine.h5"), &none));
  CHECK(!there(comm, path_in("fine.h5")) && !there(comm, path_in("fine.h5.lock")), "left over");
  CHECK_REFUSED(begin(comm, path_in("gone/a.h5"), none, &output), STATUS_OUTPUT, "gone",
                "not there");
  if (is_root(comm)) {
    mkdir(path_in("dir.h5"), 0755);
    fclose(fopen(path_in("plain"), "wb"));
  }
  MPI_Barrier(comm);
  CHECK_REFUSED(begin(comm, path_in("plain/a.h5"), none, &output), STATUS_OUTPUT, "plain");
  CHECK_REFUSED(begin(comm, path_in("dir.h5"), none, &output), STATUS_OUTPUT, "is a folder");
  CHECK_REFUSED(begin(comm, "/proc/a.h5", none, &output), STATUS_OUTPUT, "/proc");
  CHECK_REFUSED(begin(comm, "", none, &output), STATUS_OUTPUT, "empty");
  CHECK(!output, "nothing was begun");
}

TEST(too_little_space_is_refused_before_the_start) {
  struct store_output *output = NULL;
  CHECK_REFUSED(begin(comm, path_in("huge.h5"),
                      (struct store_options){.size_bytes = (int64_t)1 << 60}, &output),
                STATUS_MEMORY, "huge.h5", "needs 1152921504606.847 MB", "free");
  MPI_Barrier(comm);
  CHECK(!there(comm, path_in("huge.h5.partial")) && !there(comm, path_in("huge.h5.lock")),
        "left over");
}

TEST(the_lock_names_its_holder_and_dies_with_it) {
  const struct store_options none = {0};
  struct store_output *first = NULL, *second = NULL;
  const char *path = path_in("locked.h5");
  char pid[32], host[256] = "";
  int root_pid = (int)getpid();
  MPI_Bcast(&root_pid, 1, MPI_INT, 0, comm);
  snprintf(pid, sizeof pid, "process %d", root_pid);
  gethostname(host, sizeof host - 1);
  CHECK_OK(begin(comm, path, none, &first));
  CHECK_REFUSED(store_output_check(comm, path, &none), STATUS_OUTPUT, "in use", pid);
  CHECK_REFUSED(begin(comm, path, none, &second), STATUS_OUTPUT, "in use", pid, host);
  MPI_Barrier(comm);
  CHECK(there(comm, path_in("locked.h5.partial")), "the second left the first's file alone");
  store_abandon(comm, &first, false);
  /* of a dead process here */
  if (is_root(comm)) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    CHECK_OK(store_text_write(path_in("locked.h5.lock"), "", 0));
    FILE *stream = fopen(path_in("locked.h5.lock"), "wb");
    fprintf(stream, "%s %d\n", host, (int)child);
    fclose(stream);
  }
  MPI_Barrier(comm);
  CHECK_OK(begin(comm, path, none, &first));
  store_abandon(comm, &first, false);
  /* of another machine */
  if (is_root(comm)) {
    FILE *stream = fopen(path_in("locked.h5.lock"), "wb");
    fprintf(stream, "elsewhere 77\n");
    fclose(stream);
  }
  MPI_Barrier(comm);
  CHECK_REFUSED(begin(comm, path, none, &first), STATUS_OUTPUT, "process 77 on elsewhere",
                "remove");
  MPI_Barrier(comm);
  CHECK(there(comm, path_in("locked.h5.lock")), "it is not ours to remove");
}

TEST(a_partial_file_of_equal_record_goes_on) {
  struct store_output *output      = NULL;
  const char *path                 = path_in("resume.h5");
  const struct store_options same  = {.resume = true, .record = "same"},
                             other = {.resume = true, .record = "other"};
  CHECK_OK(begin(comm, path, same, &output));
  CHECK(!store_resumed(output), "nothing to go on with");
  CHECK_OK(store_create(comm, output, "labels", shape, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(labels_put(comm, output, 40));
  store_abandon(comm, &output, true);
  CHECK_OK(begin(comm, path, same, &output));
  CHECK(store_resumed(output), "the partial file of the same work");
  CHECK_OK(store_create(comm, output, "labels", shape, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(store_commit(comm, &output));
  CHECK(label_first(comm, path) == 40, "its values are kept");
  CHECK_OK(begin(comm, path, same, &output));
  store_abandon(comm, &output, true);
  CHECK_OK(begin(comm, path, other, &output));
  CHECK(!store_resumed(output), "another record is other work");
  store_abandon(comm, &output, false);
}

TEST(equal_work_has_an_equal_fingerprint) {
  char text[3][128];
  const int add[3] = {1, 1, 2};
  for (int i = 0; i < 3; i++) {
    char name[32];
    snprintf(name, sizeof name, "own%d.h5", i);
    CHECK_OK(labels_write(comm, path_in(name), (struct store_options){.record = "r"}, add[i]));
    CHECK_OK(store_fingerprint(comm, path_in(name), text[i], sizeof text[i]));
  }
  CHECK(strncmp(text[0], "own ", 4) == 0 && strcmp(text[0], text[1]) == 0, "%s %s", text[0],
        text[1]);
  CHECK(strcmp(text[0], text[2]) != 0, "other values: %s", text[2]);
}

TEST(the_shelf_gives_what_was_written_and_nothing_stale) {
  static const int64_t no_halo[3];
  const char *path          = path_in("shelf.h5");
  struct grid_plan plan     = {0};
  struct grid_field field   = {0};
  struct store_input *input = NULL;
  store_shelf_limit(1 << 20);
  CHECK_OK(labels_write(comm, path, (struct store_options){.record = "s"}, 5));
  CHECK_OK(grid_plan_slabs(comm, shape, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, no_halo, &field));
  /* the file's bytes are spoilt behind the shelf's back, its size and time kept: the shelf answers */
  if (is_root(comm)) {
    struct stat info;
    stat(path, &info);
    hid_t file    = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "/entry/labels/data", H5P_DEFAULT);
    FILE *stream  = fopen(path, "r+b");
    fseek(stream, (long)H5Dget_offset(dataset), SEEK_SET);
    for (int i = 0; i < NZ * NY * NX; i++) fputc(0, stream);
    fclose(stream);
    H5Dclose(dataset);
    H5Fclose(file);
    const struct timespec times[2] = {info.st_atim, info.st_mtim};
    utimensat(0, path, times, 0);
  }
  MPI_Barrier(comm);
  CHECK_OK(store_open(comm, path, "labels", 3, &input));
  CHECK_OK(store_read_field(comm, input, true, &field));
  if (field.voxels > 0)
    CHECK(((uint8_t *)field.data)[0] == field.mine.start[0] * NY * NX + 5, "from the shelf");
  const struct timespec later[2] = {
      {1000000000, 0},
      {1000000000, 0}
  };
  if (is_root(comm)) utimensat(0, path, later, 0);
  MPI_Barrier(comm);
  CHECK_OK(store_read_field(comm, input, true, &field));
  if (field.voxels > 0) CHECK(((uint8_t *)field.data)[0] == 0, "a changed file is read");
  store_close(&input);
  grid_field_free(&field);
  grid_plan_free(&plan);
  store_shelf_limit(0);
}

/* Written by somebody else between write and commit: the sample read back does not agree. */
TEST(values_that_did_not_reach_the_disk_are_noticed) {
  struct store_output *output = NULL;
  const char *path            = path_in("spoilt.h5");
  CHECK_OK(begin(comm, path, (struct store_options){0}, &output));
  CHECK_OK(store_create(comm, output, "labels", shape, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(labels_put(comm, output, 40));
  if (is_root(comm)) {
    FILE *stream = fopen(path_in("spoilt.h5.partial"), "r+b");
    fseek(stream, 0, SEEK_END);
    long n = ftell(stream);
    for (long i = 0; i < n; i++) {
      fseek(stream, i, SEEK_SET);
      int c = fgetc(stream);
      fseek(stream, i, SEEK_SET);
      if (c == 40) fputc(0, stream);
    }
    fclose(stream);
  }
  MPI_Barrier(comm);
  CHECK_REFUSED(store_commit(comm, &output), STATUS_OUTPUT, "read back", "not what was written");
  CHECK(!there(comm, path), "nothing under the name");
}

TEST(a_folder_that_vanishes_meanwhile_is_told) {
  struct store_output *output = NULL;
  if (is_root(comm)) mkdir(path_in("vanish"), 0755);
  MPI_Barrier(comm);
  CHECK_OK(begin(comm, path_in("vanish/a.h5"), (struct store_options){0}, &output));
  CHECK_OK(store_create(comm, output, "labels", shape, NULL, NULL, false));
  CHECK_OK(store_ready(comm, output));
  CHECK_OK(labels_put(comm, output, 1));
  if (is_root(comm)) {
    unlink(path_in("vanish/a.h5.partial"));
    unlink(path_in("vanish/a.h5.lock"));
    rmdir(path_in("vanish"));
  }
  MPI_Barrier(comm);
  CHECK_REFUSED(store_commit(comm, &output), STATUS_OUTPUT, "vanish/a.h5");
}

TEST(no_file_is_made_writable_for_all_nor_through_a_link) {
  struct stat info;
  mode_t before    = umask(0);
  const char *path = path_in("modes.h5");
  if (is_root(comm)) {
    fclose(fopen(path_in("target"), "wb"));
    symlink(path_in("target"), path_in("modes.h5.partial"));
  }
  MPI_Barrier(comm);
  CHECK_OK(labels_write(comm, path, (struct store_options){0}, 1));
  umask(before);
  MPI_Barrier(comm);
  CHECK(stat(path, &info) == 0 && !(info.st_mode & S_IWOTH), "mode %o", info.st_mode);
  CHECK(stat(path_in("target"), &info) == 0 && info.st_size == 0, "the link's target was written");
  CHECK(store_name_ok("state_1.a-B") && !store_name_ok("..") && !store_name_ok("a/b") &&
            !store_name_ok("") && !store_name_ok("a b"),
        "names");
}

/* Files may grow to `bytes` only: what a full disk does, on every rank at once. */
static enum status write_within(MPI_Comm comm, rlim_t bytes, const char *path) {
  struct rlimit before, limit;
  getrlimit(RLIMIT_FSIZE, &before);
  limit          = before;
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
  enum status status = labels_write(comm, path, (struct store_options){.force = true}, 1);
  setrlimit(RLIMIT_FSIZE, &before);
  return status;
}

TEST(a_file_that_cannot_grow_ends_in_one_message) {
  const char *path = path_in("limited.h5");
  signal(SIGXFSZ, SIG_IGN);
  for (rlim_t bytes = 100; bytes < 9000; bytes += 800) {
    enum status status = write_within(comm, bytes, path);
    MPI_Barrier(comm);
    CHECK(status == STATUS_OK || ((status == STATUS_MEMORY || status == STATUS_OUTPUT) &&
                                  strstr(status_text(), "limited.h5") && !there(comm, path)),
          "limit %d: %s", (int)bytes, status_text());
    status_clear();
    MPI_Barrier(comm);
    if (is_root(comm)) unlink(path);
    MPI_Barrier(comm);
  }
}

/* A real full disk, where the test may mount one. */
TEST(a_full_disk_ends_in_one_message_and_the_older_result_stays) {
  int mounted = 0;
  char small[512];
  snprintf(small, sizeof small, "%s", path_in("small"));
  if (is_root(comm)) {
    mkdir(small, 0755);
    mounted = mount("tmpfs", small, "tmpfs", 0, "size=256k") == 0;
  }
  MPI_Bcast(&mounted, 1, MPI_INT, 0, comm);
  if (!mounted) {
    check_skip("a small tmpfs cannot be mounted here");
    return;
  }
  const char *path = path_in("small/out.h5");
  CHECK_OK(labels_write(comm, path, (struct store_options){0}, 3));
  struct store_output *output = NULL;
  const int64_t large[3]      = {64, 64, 64};
  CHECK_REFUSED(begin(comm, path, (struct store_options){.size_bytes = 64 * 64 * 64}, &output),
                STATUS_MEMORY, "out.h5", "0.262 MB", "free");
  CHECK_OK(begin(comm, path, (struct store_options){0}, &output));
  CHECK_REFUSED(store_create(comm, output, "labels", large, NULL, NULL, false), STATUS_MEMORY,
                "out.h5", "0.262 MB", "No space left");
  store_abandon(comm, &output, false);
  /* filled up by somebody else to the last byte: no room for the lock or the metadata */
  if (is_root(comm)) {
    FILE *stream = fopen(path_in("small/fill"), "wb");
    static char block[4096];
    while (fwrite(block, 1, sizeof block, stream) == sizeof block && fflush(stream) == 0) {
    }
    fclose(stream);
  }
  MPI_Barrier(comm);
  CHECK_REFUSED(labels_write(comm, path, (struct store_options){0}, 4), STATUS_MEMORY, "out.h5");
  CHECK(label_first(comm, path) == 3, "the older result");
  MPI_Barrier(comm);
  CHECK(!there(comm, path_in("small/out.h5.partial")) && !there(comm, path_in("small/out.h5.lock")),
        "left over");
  MPI_Barrier(comm);
  if (is_root(comm)) umount(small);
}

#ifdef XCSCT_FAULTS
/* At every site, on every rank: all ranks get the same status and message, nothing is left. */
static enum status whole_chain(MPI_Comm comm, const char *path) {
  struct store_input *input = NULL;
  char text[128], *lines = NULL;
  double *values = NULL;
  int64_t n;
  bool found;
  const struct store_options force = {.force = true};
  enum status status               = store_output_check(comm, path, &force);
  if (status == STATUS_OK) status = labels_write(comm, path, force, 1);
  if (status == STATUS_OK)
    status = labels_write(comm, path, (struct store_options){.force = true, .deflate = 1}, 1);
  if (status == STATUS_OK) status = store_probe(comm, path);
  if (status == STATUS_OK) status = store_open(comm, path, "labels", 3, &input);
  uint8_t label;
  if (status == STATUS_OK)
    status = store_read_box(comm, input, (int64_t[]){0, 0, 0}, (int64_t[]){1, 1, 1}, GRID_U8, true,
                            &label);
  store_close(&input);
  if (status == STATUS_OK)
    status = store_get_doubles(comm, path, "/entry/height/x", &found, &values, &n);
  memory_free(values);
  if (status == STATUS_OK) status = store_list(comm, path, &lines);
  memory_free(lines);
  if (status == STATUS_OK) status = store_has(comm, path, "/entry", &found);
  if (status == STATUS_OK) status = store_fingerprint(comm, path, text, sizeof text);
  return status;
}

TEST(a_fault_on_one_rank_ends_all_alike) {
  static const char *const site[] = {
      "store.begin",  "store.create", "store.ready",  "store.write",  "store.axis",
      "store.table",  "store.note",   "store.number", "store.sync",   "store.default",
      "store.commit", "store.finish", "store.probe",  "store.choose", "store.open",
      "store.read",   "store.get",    "store.list",   "store.has",    "store.fingerprint",
      "store.check",  "store.pack"};
  int size;
  MPI_Comm_size(comm, &size);
  char path[512], partial[520], lock[520];
  snprintf(path, sizeof path, "%s", path_in("fault.h5"));
  snprintf(partial, sizeof partial, "%s.partial", path);
  snprintf(lock, sizeof lock, "%s.lock", path);
  for (size_t i = 0; i < sizeof site / sizeof *site; i++)
    for (int rank = 0; rank < size; rank++) {
      char fault[64];
      snprintf(fault, sizeof fault, "%s:%d", site[i], rank);
      setenv("FAULT", fault, 1);
      enum status status = whole_chain(comm, path);
      unsetenv("FAULT");
      CHECK(status == STATUS_INTERNAL && strstr(status_text(), site[i]), "%s: %s \"%s\"", fault,
            status_name(status), status_text());
      status_clear();
      MPI_Barrier(comm);
      CHECK(!there(comm, partial) && !there(comm, lock), "%s left files", fault);
      MPI_Barrier(comm);
    }
  CHECK_OK(whole_chain(comm, path));
}
#endif
