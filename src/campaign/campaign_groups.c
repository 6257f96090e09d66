/* States side by side: the ranks are split into groups of neighbours, and each group works on states of its own
 * until a stage needs all states. Small volumes do not occupy many ranks; several of them do. What came of
 * a unit goes to rank 0 as soon as it is known, for status.json, and at the end to all. A unit that its group had
 * no memory for is done again by all ranks together. */
#include "campaign_inner.h"
#include <string.h>
#include <unistd.h>

enum { TAG_UNIT = 71, TAG_ROWS = 72, RANKS_EACH = 8 };

/* The group's communicator lives as long as the program: libraries keep what they were begun with. */
enum status groups_make(struct campaign *c, int64_t wanted, int states) {
  int rank, size;
  MPI_Comm_rank(c->comm, &rank);
  MPI_Comm_size(c->comm, &size);
  int64_t most = wanted > 0 ? wanted : size / RANKS_EACH;
  if (most > states) most = states;
  if (wanted > size)
    return AGREE(c->comm,
                 FAIL(STATUS_USAGE, "--side-by-side %lld is more than there are ranks (%d)",
                      (long long)wanted, size));
  c->groups = most > 1 ? (int)most : 1;
  c->group  = 0;
  c->inner  = c->comm;
  if (c->groups == 1) return STATUS_OK;
  c->group = (int)((int64_t)rank * c->groups / size);
  MPI_Comm_split(c->comm, c->group, rank, &c->inner);
  log_info("%d states side by side, each by about %d ranks", c->groups, size / c->groups);
  return STATUS_OK;
}

/* Chosen states in turn; units of one stage come in the order of their states. */
static int group_of(const struct campaign *c, int unit, int first) {
  int place = 0;
  for (int u = first; u < unit; u++) place += c->unit[u].stage == c->unit[unit].stage;
  return place % c->groups;
}

/* ---- what came of a unit ------------------------------------------------------------------------------ */

static size_t rows_bytes(const struct unit *unit) {
  return (size_t)unit->results.n * sizeof *unit->results.row;
}

/* Addresses differ from process to process: stage and rows stay those of this one. */
static enum status unit_take(struct unit *to, const struct unit *from) {
  const struct stage *stage = to->stage;
  stage_results_free(&to->results);
  *to         = *from;
  to->stage   = stage;
  to->results = (struct stage_results){NULL, 0, 0};
  if (from->results.n == 0) return STATUS_OK;
  TRY(memory_make(from->results.n, sizeof *to->results.row, "results", &to->results.row));
  to->results.n = to->results.room = from->results.n;
  return STATUS_OK;
}

struct parcel {
  int index;
  struct unit unit;
};
struct post {
  struct parcel *parcel; /* of this group's units, kept until they have arrived */
  MPI_Request *request;
  int sent, requests, expected; /* rank 0: parcels that have not come yet */
};

static void unit_send(const struct campaign *c, int index, struct post *post) {
  int rank;
  MPI_Comm_rank(c->inner, &rank);
  if (rank != 0 || c->group == 0) return;
  struct parcel *parcel   = &post->parcel[post->sent++];
  const struct unit *unit = &c->unit[index];
  *parcel                 = (struct parcel){.index = index, .unit = *unit};
  MPI_Isend(parcel, (int)sizeof *parcel, MPI_BYTE, 0, TAG_UNIT, c->comm,
            &post->request[post->requests++]);
  if (unit->results.n)
    MPI_Isend(unit->results.row, (int)rows_bytes(unit), MPI_BYTE, 0, TAG_ROWS, c->comm,
              &post->request[post->requests++]);
}

/* Rank 0: takes what has come. */
static enum status units_receive(struct campaign *c, struct post *post) {
  enum status status = STATUS_OK;
  for (int there = 1; post->expected > 0;) {
    struct parcel parcel;
    MPI_Status from;
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_UNIT, c->comm, &there, &from);
    if (!there) break;
    MPI_Recv(&parcel, (int)sizeof parcel, MPI_BYTE, from.MPI_SOURCE, TAG_UNIT, c->comm, &from);
    struct unit *unit = &c->unit[parcel.index];
    if (unit_take(unit, &parcel.unit) != STATUS_OK)
      status_abort(STATUS_MEMORY, "%s", status_text());
    if (unit->results.n)
      MPI_Recv(unit->results.row, (int)rows_bytes(unit), MPI_BYTE, from.MPI_SOURCE, TAG_ROWS,
               c->comm, MPI_STATUS_IGNORE);
    post->expected--;
    status = status_refresh(c);
  }
  return status;
}

static bool is_root(const struct campaign *c) {
  int rank;
  MPI_Comm_rank(c->comm, &rank);
  return rank == 0;
}

/* Groups do not end together; who waits leaves the processor to the others. */
static enum status wait_for_all(struct campaign *c, struct post *post) {
  enum status status = STATUS_OK;
  MPI_Request all;
  int done = 0;
  while (is_root(c) && post->expected > 0) {
    enum status got = units_receive(c, post);
    if (status == STATUS_OK) status = got;
    watch_alive();
    usleep(2000);
  }
  MPI_Ibarrier(c->comm, &all);
  for (MPI_Test(&all, &done, MPI_STATUS_IGNORE); !done; MPI_Test(&all, &done, MPI_STATUS_IGNORE)) {
    watch_alive();
    usleep(2000);
  }
  MPI_Waitall(post->requests, post->request, MPI_STATUSES_IGNORE);
  return status;
}

/* Rank 0's knowledge of the units becomes everyone's. */
static enum status units_share(struct campaign *c, int first, int n) {
  enum status status = STATUS_OK;
  for (int u = first; u < first + n; u++) {
    struct unit from = c->unit[u];
    MPI_Bcast(&from, (int)sizeof from, MPI_BYTE, 0, c->comm);
    enum status mine = is_root(c) ? STATUS_OK : unit_take(&c->unit[u], &from);
    status           = AGREE(c->comm, mine);
    if (status != STATUS_OK) break;
    if (from.results.n)
      MPI_Bcast(c->unit[u].results.row, (int)rows_bytes(&c->unit[u]), MPI_BYTE, 0, c->comm);
  }
  return status;
}

/* ---- working ---------------------------------------------------------------------------------------- */

static enum status post_make(const struct campaign *c, int first, int n, struct post *post) {
  memset(post, 0, sizeof *post);
  TRY(memory_make(n, sizeof *post->parcel, "units", &post->parcel));
  TRY(memory_make(2 * (int64_t)n, sizeof(MPI_Request), "units", &post->request));
  for (int u = first; u < first + n; u++) post->expected += group_of(c, u, first) != 0;
  return STATUS_OK;
}

/* This group's units one after the other. Each is told of, also those that a stop leaves waiting. */
static enum status do_group(struct campaign *c, int first, int n, struct post *post) {
  enum status status    = STATUS_OK;
  struct campaign inner = *c;
  inner.comm            = c->inner;
  inner.aside           = c->group != 0;
  log_open(c->inner, c->common->quiet);
  for (int u = first; u < first + n; u++) {
    if (group_of(c, u, first) != c->group) continue;
    if (status == STATUS_OK) status = unit_in_turn(&inner, u);
    unit_send(c, u, post);
    if (is_root(c) && status == STATUS_OK) status = units_receive(c, post);
    status = AGREE(c->inner, status);
  }
  log_open(c->comm, c->common->quiet);
  store_shelf_clear(); /* other ranks have other fields there */
  return status;
}

/* Units that failed for want of memory in a group. */
static enum status do_large(struct campaign *c, int first, int n) {
  for (int u = first; u < first + n; u++) {
    if (c->unit[u].now != UNIT_FAILED || c->unit[u].status != STATUS_MEMORY) continue;
    log_info("%s/%s: again, by all ranks", unit_state_name(c, &c->unit[u]), c->unit[u].stage->name);
    stage_results_free(&c->unit[u].results);
    c->unit[u].now    = UNIT_WAITS;
    c->unit[u].why[0] = 0;
    TRY(unit_in_turn(c, u));
  }
  return STATUS_OK;
}

enum status groups_do(struct campaign *c, int first, int n) {
  struct post post;
  TRY_ALL(c->comm, post_make(c, first, n, &post));
  enum status mine = do_group(c, first, n, &post), late = wait_for_all(c, &post);
  enum status status = AGREE(c->comm, mine != STATUS_OK ? mine : late);
  enum status shared = units_share(c, first, n);
  memory_free(post.parcel);
  memory_free(post.request);
  TRY(status);
  TRY(shared);
  return do_large(c, first, n);
}
