/* What a stage works on when it works on all states, and boxes of volumes. */
#include "stage.h"
#include <string.h>

static int by_hand(const char *names, struct stage_source *source) {
  int n = 0;
  for (const char *at = names; at && *at; n++) {
    size_t length = strcspn(at, "\n");
    if (source) {
      snprintf(source[n].name, sizeof source[n].name, "%.*s", (int)length, at);
      snprintf(source[n].state, sizeof source[n].state, "%d", n + 1);
      source[n].at = -1;
    }
    at += length + (at[length] == '\n');
  }
  return n;
}

static int of_cycle(const struct stage_bundle *all, const char *product,
                    struct stage_source *source) {
  char name[STORE_NAME_BYTES];
  int n = 0;
  for (int i = 0; i < all->states_n; i++) {
    if (!stage_bundle_find(&all->states[i], product, false, name, sizeof name)) continue;
    if (source) {
      memcpy(source[n].name, name, sizeof name);
      snprintf(source[n].state, sizeof source[n].state, "%s", all->states[i].state);
      source[n].at = i;
    }
    n++;
  }
  return n;
}

static int list(const struct stage_job *job, const char *product, const char *names,
                struct stage_source *source) {
  bool cycle = job->input && job->input->states_n > 0;
  return cycle ? of_cycle(job->input, product, source) : by_hand(names, source);
}

enum status stage_sources_find(const struct stage_job *job, const char *product, const char *names,
                               const char *missing, struct stage_source **source, int *n) {
  *source = NULL;
  *n      = log_is_speaker() ? list(job, product, names, NULL) : 0;
  MPI_Bcast(n, 1, MPI_INT, 0, job->comm);
  if (*n == 0) return AGREE(job->comm, FAIL(STATUS_USAGE, "%s", missing));
  enum status status = AGREE(job->comm, memory_make(*n, sizeof **source, "names of states", source));
  if (status != STATUS_OK) {
    memory_free(*source);
    *source = NULL;
    return status;
  }
  if (log_is_speaker()) list(job, product, names, *source);
  for (int i = 0; i < *n; i++) MPI_Bcast(&(*source)[i], sizeof **source, MPI_CHAR, 0, job->comm);
  return STATUS_OK;
}

enum status stage_box_parse(const char *name, const char *text, const int64_t n[3],
                            struct grid_box *box) {
  const char *at = text;
  *box           = (struct grid_box){
                {0,    0,    0   },
                {n[0], n[1], n[2]}
  };
  if (!*at || strcmp(at, "all") == 0) return STATUS_OK;
  for (int a = 0; a < 3; a++) {
    long long first, behind;
    int used = 0;
    if (sscanf(at, "%lld:%lld%n", &first, &behind, &used) != 2 || used == 0 ||
        at[used] != (a < 2 ? ',' : 0))
      return FAIL(STATUS_USAGE, "%s = %s; it would be all or A:B,A:B,A:B (z, y, x)", name, text);
    if (first < 0 || behind <= first || behind > n[a])
      return FAIL(STATUS_USAGE, "%s: %lld:%lld along %c lies outside 0:%lld", name, first, behind,
                  "zyx"[a], (long long)n[a]);
    box->start[a] = first;
    box->n[a]     = behind - first;
    at += used + (a < 2);
  }
  return STATUS_OK;
}
