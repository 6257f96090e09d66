/* The probing child. Malformed HDF5 and TIFF files can crash their libraries, or keep them busy for
 * ever; so a file is first opened and walked in a process of its own, with limits on memory, time
 * and file size, and only its verdict is believed. Starting this program takes 45 ms (its libraries),
 * so that is done once: a server (posix_spawn of /proc/self/exe, which unlike fork is safe beside MPI,
 * recognised by its first argument before main begins) forks a child per file, and ends when the
 * socket to it closes. */
#include "store_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVER_WORD "--probe-server"
#define LIBRARIES "LD_LIBRARY_PATH="
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

/* What the server answers to a file's name: how the child ended, and its verdict: "ok", or "bad " and
 * the words. */
struct answer {
  int in_time, state;
  char verdict[VERDICT_BYTES];
};

static _Noreturn void child(const char *file, int to) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  limits_set();
  dup2(to, STDOUT_FILENO);
  close(STDIN_FILENO);
  enum status status = tiff_is(file) ? tiff_probe(file) : hdf5_probe(file);
  if (status == STATUS_OK)
    printf("ok");
  else
    printf("bad %s", status_text());
  fflush(stdout);
  _exit(0);
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

static bool look(const char *file, struct answer *answer) {
  int ends[2];
  memset(answer, 0, sizeof *answer);
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  pid_t pid = fork();
  if (pid == 0) child(file, ends[1]);
  close(ends[1]);
  answer->in_time = pid > 0 && verdict_read(ends[0], answer->verdict);
  close(ends[0]);
  if (pid > 0 && !answer->in_time) kill(pid, SIGKILL);
  while (pid > 0 && waitpid(pid, &answer->state, 0) < 0 && errno == EINTR) {
  }
  return pid > 0;
}

/* All bytes over the socket; false when the other end is gone or says nothing in time. */
static bool get(int from, void *bytes, size_t n) {
  for (char *to = bytes; n > 0;) {
    ssize_t got = recv(from, to, n, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got, n -= (size_t)got;
  }
  return true;
}

static bool put(int to, const void *bytes, size_t n) {
  for (const char *from = bytes; n > 0;) {
    ssize_t put = send(to, from, n, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    from += put, n -= (size_t)put;
  }
  return true;
}

/* A job that is asked to stop is asked with all its processes; what answers is the job itself, and the server and its
 * children end with it. */
static void requests_ignore(void) {
  const int requests[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) signal(requests[i], SIG_IGN);
}

/* What was open when the program was started, sockets of MPI for one. */
static void close_rest(void) {
  DIR *open = opendir("/proc/self/fd");
  for (struct dirent *entry; open && (entry = readdir(open));) {
    int handle = (int)strtol(entry->d_name, NULL, 10);
    if (handle > STDERR_FILENO && handle != dirfd(open)) close(handle);
  }
  if (open) closedir(open);
}

/* The server: names of files come in on standard input, a socket, and answers go out there. */
static _Noreturn void serve(void) {
  char file[STORE_NAME_BYTES];
  struct answer answer;
  requests_ignore();
  close_rest();
  hdf5_start();
  while (get(STDIN_FILENO, file, sizeof file) && look(file, &answer) &&
         put(STDIN_FILENO, &answer, sizeof answer)) {
  }
  _exit(0);
}

/* Any program linked with store, tests too, turns into the server before its main. */
__attribute__((constructor)) static void server_begin(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], SERVER_WORD) == 0) serve();
}

/* ---- the parent --------------------------------------------------------------------------------------- */

static struct {
  pid_t pid;
  int socket;
} server;

static enum status server_start(void) {
  int ends[2];
  char word[] = SERVER_WORD, name[] = "xcsct";
  char *const arguments[] = {name, word, NULL};
  /* of the environment it gets where libraries lie, and nothing else; numeric libraries would start threads, and
   * processes with threads must not fork */
  char **kept = environ;
  while (*kept && strncmp(*kept, LIBRARIES, strlen(LIBRARIES)) != 0) kept++;
  char *const environment[] = {"OMPI_MCA_btl=self", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1",
                               *kept, NULL};
  const struct timeval patience = {.tv_sec = PROBE_WALL_S + 10};
  posix_spawn_file_actions_t actions;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return FAIL(STATUS_INTERNAL, "no socket to the probing child: %s", strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  int failed = posix_spawn(&server.pid, "/proc/self/exe", &actions, NULL, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (failed) {
    close(ends[0]);
    server.pid = 0;
    return FAIL(STATUS_INTERNAL, "the probing child cannot be started: %s", strerror(failed));
  }
  setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  server.socket = ends[0];
  return STATUS_OK;
}

static void server_end(void) {
  kill(server.pid, SIGKILL);
  close(server.socket);
  while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR) {
  }
  server.pid = 0;
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
  char name[STORE_NAME_BYTES] = "";
  struct answer answer;
  if (snprintf(name, sizeof name, "%s", file) >= (int)sizeof name)
    return FAIL(STATUS_INPUT, "%.60s...: a name of %zu bytes, at most %d are possible", file,
                strlen(file), STORE_NAME_BYTES - 1);
  if (!server.pid) TRY(server_start());
  if (!put(server.socket, name, sizeof name) || !get(server.socket, &answer, sizeof answer)) {
    server_end();
    return FAIL(STATUS_INTERNAL, "the process that looks through %s ended or says nothing", file);
  }
  answer.verdict[VERDICT_BYTES - 1] = 0;
  return verdict_judge(file, answer.in_time, answer.state, answer.verdict);
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

static void remember(const struct stat *info) {
  seen[seen_n++ % REMEMBERED] =
      (struct seen){info->st_dev, info->st_ino, info->st_size, info->st_ctim};
}

void probe_trust(const char *file) {
  struct stat info;
  if (stat(file, &info) == 0) remember(&info);
}

enum status probe_local(const char *file) {
  struct stat info;
  if (stat(file, &info) != 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  for (int i = 0; i < REMEMBERED && i < seen_n; i++)
    if (same_seen(&seen[i], &info)) return STATUS_OK;
  upkeep_begin();
  TRY(upkeep_end(child_run(file)));
  remember(&info);
  return STATUS_OK;
}

static enum status probe_here(const char *file) {
  if (access(file, R_OK) != 0)
    return FAIL(STATUS_INPUT, "%s cannot be read: %s", file, strerror(errno));
  return probe_local(file);
}

enum status store_probe(MPI_Comm comm, const char *file) {
  return ON_ROOT(comm, "store.probe", probe_here(file));
}
