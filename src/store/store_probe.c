/* The probing child. Malformed HDF5 and TIFF files can crash their libraries, or keep them busy for
 * ever; so a file is first opened and walked in a process of its own, with limits on memory, time
 * and file size, and only its verdict is believed. The child is this same program (posix_spawn of
 * /proc/self/exe, which unlike fork is safe beside MPI), recognised by its first argument before
 * main begins. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROBE_CPU_S = 20, PROBE_WALL_S = 60, PROBE_OBJECTS = 20000, VERDICT_BYTES = 1024 };
static const rlim_t probe_memory_bytes = (rlim_t)4 << 30;

#if defined(__SANITIZE_ADDRESS__)
enum { LIMIT_MEMORY = 0 }; /* the sanitizer's shadow is larger than any limit */
#else
enum { LIMIT_MEMORY = 1 };
#endif

/* ---- the child ------------------------------------------------------------------------------------ */

static void limits_set(void) {
  const struct rlimit none = {0, 0}, cpu = {PROBE_CPU_S, PROBE_CPU_S},
                      memory = {probe_memory_bytes, probe_memory_bytes};
  setrlimit(RLIMIT_CORE, &none);
  setrlimit(RLIMIT_FSIZE, &none);
  setrlimit(RLIMIT_CPU, &cpu);
  if (LIMIT_MEMORY) setrlimit(RLIMIT_AS, &memory);
}

static herr_t attribute_probe(hid_t object, const char *name, const H5A_info_t *info,
                              void *context) {
  char text[256];
  (void)info, (void)context;
  hdf5_attribute_text(object, name, text, sizeof text);
  return 0;
}

static herr_t object_probe(hid_t root, const char *name, const H5O_info_t *info, void *context) {
  int *left = context;
  (void)info;
  hid_t object = H5Oopen(root, name, H5P_DEFAULT);
  if (object < 0) return 0;
  H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, attribute_probe, NULL);
  if (H5Iget_type(object) == H5I_DATASET) {
    struct store_info described = {0};
    enum native native;
    if (hdf5_dataset_describe(object, &described, &native) == STATUS_OK)
      H5Dget_storage_size(object); /* walks the index of the chunks */
    status_clear();
  }
  H5Oclose(object);
  return --*left <= 0;
}

static enum status hdf5_probe(const char *file) {
  int left = PROBE_OBJECTS;
  hid_t id;
  TRY(hdf5_open(file, false, &id));
  herr_t walked = H5Ovisit2(id, H5_INDEX_NAME, H5_ITER_NATIVE, object_probe, &left, H5O_INFO_BASIC);
  if (walked < 0) FAIL(STATUS_INPUT, "%s is damaged: %s", file, hdf5_reason());
  H5Fclose(id);
  return walked < 0 ? STATUS_INPUT : STATUS_OK;
}

static enum status tiff_probe(const char *file) {
  struct tiff_source *tiff = NULL;
  struct store_info info   = {0};
  enum native native;
  enum status status = tiff_open(file, &tiff, &info, &native);
  tiff_close(&tiff);
  return status;
}

/* The verdict on standard output: "ok", or "bad " and the words. */
int store_probe_child(int argc, char **argv) {
  if (argc < 3) return 2;
  limits_set();
  hdf5_start();
  enum status status = tiff_is(argv[2]) ? tiff_probe(argv[2]) : hdf5_probe(argv[2]);
  if (status == STATUS_OK)
    printf("ok");
  else
    printf("bad %s", status_text());
  fflush(stdout);
  return 0;
}

/* Any program linked with store, tests too, turns into the child before its main. */
__attribute__((constructor)) static void child_begin(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], STORE_PROBE_WORD) == 0) _exit(store_probe_child(argc, argv));
}

/* ---- the parent --------------------------------------------------------------------------------------- */

static enum status child_start(const char *file, pid_t *child, int *pipe_end) {
  int ends[2];
  char word[] = STORE_PROBE_WORD, name[] = "xcsct", *quiet = "OMPI_MCA_btl=self";
  char *const arguments[]   = {name, word, (char *)(uintptr_t)file, NULL};
  char *const environment[] = {quiet, NULL};
  posix_spawn_file_actions_t actions;
  if (pipe2(ends, O_CLOEXEC) != 0)
    return FAIL(STATUS_INTERNAL, "no pipe to the probing child: %s", strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  int failed = posix_spawn(child, "/proc/self/exe", &actions, NULL, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  *pipe_end = ends[0];
  if (failed) {
    close(ends[0]);
    return FAIL(STATUS_INTERNAL, "the probing child cannot be started: %s", strerror(failed));
  }
  return STATUS_OK;
}

/* Reads until the child closes its end or the time is over (false). */
static bool verdict_read(int from, char verdict[VERDICT_BYTES]) {
  size_t n     = 0;
  double until = time_now_s() + PROBE_WALL_S;
  for (;;) {
    struct pollfd ready = {.fd = from, .events = POLLIN};
    int left_ms         = (int)((until - time_now_s()) * 1000);
    int polled          = left_ms > 0 ? poll(&ready, 1, left_ms) : 0;
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return false;
    ssize_t got = read(from, verdict + n, VERDICT_BYTES - 1 - n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || (n += (size_t)got) == VERDICT_BYTES - 1) break;
  }
  verdict[n] = 0;
  return true;
}

static enum status verdict_judge(const char *file, bool in_time, int state, const char *verdict) {
  if (!in_time ||
      (WIFSIGNALED(state) && (WTERMSIG(state) == SIGXCPU || WTERMSIG(state) == SIGKILL)))
    return FAIL(STATUS_INPUT, "%s is malformed: looking through it does not end", file);
  if (WIFSIGNALED(state))
    return FAIL(STATUS_INPUT, "%s is malformed: its library fails on it (signal %d, in a child)",
                file, WTERMSIG(state));
  if (strncmp(verdict, "bad ", 4) == 0) return FAIL(STATUS_INPUT, "%s", verdict + 4);
  if (strcmp(verdict, "ok") != 0)
    return FAIL(STATUS_INPUT, "%s is malformed: looking through it failed (code %d)", file,
                WEXITSTATUS(state));
  return STATUS_OK;
}

static enum status child_run(const char *file) {
  char verdict[VERDICT_BYTES] = "";
  int from = -1, state = 0;
  pid_t child;
  TRY(child_start(file, &child, &from));
  bool in_time = verdict_read(from, verdict);
  close(from);
  if (!in_time) kill(child, SIGKILL);
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  return verdict_judge(file, in_time, state, verdict);
}

/* Files found good stay so while they are not changed. */
enum { REMEMBERED = 64 };
static struct seen {
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec changed;
} seen[REMEMBERED];
static int seen_n;

static bool same_seen(const struct seen *row, const struct stat *info) {
  return row->device == info->st_dev && row->inode == info->st_ino && row->size == info->st_size &&
         row->changed.tv_sec == info->st_ctim.tv_sec &&
         row->changed.tv_nsec == info->st_ctim.tv_nsec;
}

enum status probe_local(const char *file) {
  struct stat info;
  if (stat(file, &info) != 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  for (int i = 0; i < REMEMBERED && i < seen_n; i++)
    if (same_seen(&seen[i], &info)) return STATUS_OK;
  TRY(child_run(file));
  seen[seen_n++ % REMEMBERED] = (struct seen){info.st_dev, info.st_ino, info.st_size, info.st_ctim};
  return STATUS_OK;
}

static enum status probe_here(const char *file) {
  if (access(file, R_OK) != 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  return probe_local(file);
}

enum status store_probe(MPI_Comm comm, const char *file) {
  upkeep_begin();
  return upkeep_end(ON_ROOT(comm, "store.probe", probe_here(file)));
}
