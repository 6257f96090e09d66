/* Status, agreement across ranks, faults. One record per process: the first failure since
 * status_clear. An agreement is one MINLOC reduction of (ok, rank); only when somebody failed is the
 * first failing rank's record broadcast. */
#include "base_private.h"
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_BYTES = 16384, PLACE_BYTES = 160 };
static struct {
  enum status code;
  char place[PLACE_BYTES];
  char text[TEXT_BYTES];
} record;
static MPI_Comm program = MPI_COMM_NULL;

static bool mpi_is_up(void) {
  int begun = 0, ended = 0;
  MPI_Initialized(&begun);
  MPI_Finalized(&ended);
  return begun && !ended;
}

int base_program_rank(void) {
  int rank = 0;
  if (program != MPI_COMM_NULL && mpi_is_up()) MPI_Comm_rank(program, &rank);
  return rank;
}

void status_program_set(MPI_Comm comm) { program = comm; }

/* Length of the UTF-8 character at `at`, 0 when it is none. */
static int utf8_length(const unsigned char *at) {
  int n = *at < 0x80                  ? 1
          : *at >= 0xc2 && *at < 0xe0 ? 2
          : *at >= 0xe0 && *at < 0xf0 ? 3
          : *at >= 0xf0 && *at < 0xf5 ? 4
                                      : 0;
  for (int i = 1; i < n; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  return n;
}

/* Words taken from a file can hold anything; a terminal and status.json get UTF-8 without controls. */
static void make_printable(char *text) {
  for (unsigned char *at = (unsigned char *)text; *at;) {
    int n = utf8_length(at);
    if (n == 0 || (n == 1 && ((*at < 0x20 && *at != '\n') || *at == 0x7f))) *at = '?', n = 1;
    at += n;
  }
}

enum status status_set(enum status code, const char *file, int line, const char *format, ...) {
  if (record.code != STATUS_OK || code == STATUS_OK) return code;
  const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
  snprintf(record.place, sizeof record.place, "rank %d, %s:%d", base_program_rank(), name, line);
  va_list list;
  va_start(list, format);
  vsnprintf(record.text, sizeof record.text, format, list);
  va_end(list);
  make_printable(record.text);
  record.code = code;
  return code;
}

void status_about(const char *name) {
  char text[TEXT_BYTES];
  const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
  if (!*name || record.code == STATUS_OK || strstr(record.text, base)) return;
  memcpy(text, record.text, sizeof text);
  snprintf(record.text, sizeof record.text, "%.1000s: %.15000s", name, text);
  make_printable(record.text);
}

static uint64_t site_hash(const char *site) {
  uint64_t hash = 1469598103934665603u;
  for (; *site; site++) hash = (hash ^ (unsigned char)*site) * 1099511628211u;
  return hash >> 2;
}

static void check_same_site(MPI_Comm comm, const char *site) {
  static int asked = -1;
  if (asked < 0) asked = getenv("XCSCT_DEBUG_AGREE") != NULL;
  if (!asked) return;
  int64_t hash = (int64_t)site_hash(site), pair[2] = {hash, -hash};
  MPI_Allreduce(MPI_IN_PLACE, pair, 2, MPI_INT64_T, MPI_MAX, comm);
  if (pair[0] == -pair[1]) return;
  fprintf(stderr, "xcsct: rank %d agrees at %s\n", base_program_rank(), site);
  fflush(stderr);
  MPI_Barrier(comm);
  status_abort(STATUS_INTERNAL, "ranks agree at different places (here %s)", site);
}

static enum status agree(MPI_Comm comm, enum status mine, const char *site) {
  struct {
    int ok, rank;
  } here, first;
  MPI_Comm_rank(comm, &here.rank);
  here.ok = mine == STATUS_OK;
  MPI_Allreduce(&here, &first, 1, MPI_2INT, MPI_MINLOC, comm);
  if (first.ok) return STATUS_OK;
  if (mine != STATUS_OK && record.code == STATUS_OK)
    status_set(mine, site, 0, "%s (no words were given)", status_words(mine));
  if (mine != STATUS_OK) record.code = mine;
  MPI_Bcast(&record, (int)sizeof record, MPI_BYTE, first.rank, comm);
  return record.code;
}

enum status status_agree(MPI_Comm comm, enum status mine, const char *site) {
  watch_agree_begin(site);
  check_same_site(comm, site);
  enum status status = agree(comm, mine, site);
  watch_agree_end();
  return status;
}

static const struct {
  const char *name, *words;
  int exit;
} rows[] = {
#define X(name, exit, text) {#name, text, exit},
    STATUS_LIST(X)
#undef X
};

const char *status_name(enum status code) { return rows[code].name; }
const char *status_words(enum status code) { return rows[code].words; }
int status_exit_code(enum status code) { return rows[code].exit; }
const char *status_text(void) { return record.text; }
const char *status_place(void) { return record.place; }
void status_clear(void) { memset(&record, 0, sizeof record); }

_Noreturn void status_abort(enum status code, const char *format, ...) {
  va_list list;
  fprintf(stderr, "xcsct: error: rank %d: ", base_program_rank());
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fputc('\n', stderr);
  fflush(stderr);
  base_program_abort(code);
}

_Noreturn void base_program_abort(enum status code) {
  if (program != MPI_COMM_NULL && mpi_is_up()) MPI_Abort(program, status_exit_code(code));
  exit(status_exit_code(code));
}

enum status fault_here(const char *site) {
#ifdef XCSCT_FAULTS
  const char *list = getenv("XCSCT_FAULT_LIST"), *wanted = getenv("FAULT");
  if (list &&
      base_program_rank() == 0) { /* the names of all sites passed, for the tests that count */
    FILE *to = fopen(list, "a");
    if (to) fprintf(to, "%s\n", site), fclose(to);
  }
  if (!wanted) return STATUS_OK;
  size_t n = strlen(site);
  if (strncmp(wanted, site, n) != 0 || wanted[n] != ':') return STATUS_OK;
  char *more;
  if (strtol(wanted + n + 1, &more, 10) != base_program_rank()) return STATUS_OK;
  while (strcmp(more, ":hang") == 0) pause();
  return FAIL(STATUS_INTERNAL, "fault asked for at %s", site);
#else
  (void)site;
#endif
  return STATUS_OK;
}

enum status base_int_from(int64_t value, const char *what, int *out) {
  if (value < INT_MIN || value > INT_MAX)
    return FAIL(STATUS_INTERNAL, "%s = %lld does not fit in an int", what, (long long)value);
  *out = (int)value;
  return STATUS_OK;
}
