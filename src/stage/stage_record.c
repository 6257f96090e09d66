/* The record of a work: its effective parameters and what each file was that it reads. Equal records mean
 * equal work: neither version, nor ranks, nor time stands in it, and names below the folders in `home`
 * stand relative to them, so that a tree that was moved is still done. */
#include "stage.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void add(FILE *to, const char *name, const char *print) {
  fprintf(to, "input: {name: \"%s\", is: \"%s\"}\n", name, print);
}

/* FILE of FILE[:DATASET]: the whole name when that is a file, else what stands before the last ':'. */
static void file_of(const char *name, char *file, size_t bytes) {
  struct stat info;
  snprintf(file, bytes, "%s", name);
  char *colon = strrchr(file, ':');
  if (colon && stat(name, &info) != 0) *colon = 0;
}

static enum status add_file(MPI_Comm comm, const char *name, FILE *to) {
  char file[STORE_NAME_BYTES] = "", print[160] = "absent";
  int rank, there                              = 0;
  struct stat info;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) {
    file_of(name, file, sizeof file);
    there = stat(file, &info) == 0 && S_ISREG(info.st_mode);
  }
  MPI_Bcast(file, sizeof file, MPI_CHAR, 0, comm);
  MPI_Bcast(&there, 1, MPI_INT, 0, comm);
  if (there) TRY(store_fingerprint(comm, file, print, sizeof print));
  add(to, name, print);
  return STATUS_OK;
}

static bool names_files(const struct config_row *row) {
  return row->type == CONFIG_FILES ||
         (row->type == CONFIG_TEXT && strncmp(row->syntax, "FILE", 4) == 0);
}

/* Every file a parameter names; "-" stands for none. */
static enum status add_named(MPI_Comm comm, const struct config_row *row, const void *params,
                             FILE *to) {
  const char *field = (const char *)params + row->offset,
             *at    = row->type == CONFIG_FILES ? *(char *const *)(const void *)field : field;
  while (at && *at) {
    char name[STORE_NAME_BYTES];
    size_t n = strcspn(at, "\n");
    snprintf(name, sizeof name, "%.*s", (int)n, at);
    if (strcmp(name, "-") != 0) TRY(add_file(comm, name, to));
    at += n + (at[n] == '\n');
  }
  return STATUS_OK;
}

static enum status add_all(MPI_Comm comm, const struct config_set *set, const void *params,
                           const char *const *inputs, int n, FILE *to) {
  char *yaml = NULL;
  TRY_ALL(comm, config_effective_yaml(set, params, &yaml));
  fputs(yaml, to);
  memory_free(yaml);
  for (int i = 0; i < n; i++)
    if (inputs[i][0]) TRY(add_file(comm, inputs[i], to));
  for (int i = 0; i < set->rows; i++)
    if (names_files(&set->row[i])) TRY(add_named(comm, &set->row[i], params, to));
  return STATUS_OK;
}

/* Takes every "folder/" out of a text. */
static void relative(char *text, const char *folder) {
  char word[STORE_NAME_BYTES];
  snprintf(word, sizeof word, "%.2000s/", folder);
  size_t n = strlen(word);
  for (char *at = text; (at = strstr(at, word));) {
    bool begins = at == text || at[-1] == '"' || at[-1] == 'n' || at[-1] == ',';
    if (begins)
      memmove(at, at + n, strlen(at + n) + 1);
    else
      at += n;
  }
}

enum status stage_record_make(MPI_Comm comm, const struct config_set *set, const void *params,
                              const char *const *inputs, int n, const char *const home[2],
                              char **record) {
  char *bytes = NULL;
  size_t size = 0;
  *record     = NULL;
  FILE *to    = open_memstream(&bytes, &size);
  TRY_ALL(comm, to ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a record"));
  upkeep_begin();
  enum status status = add_all(comm, set, params, inputs, n, to);
  fclose(to);
  if (status == STATUS_OK)
    status = AGREE(comm, memory_make((int64_t)size + 1, 1, "a record", record));
  if (status == STATUS_OK) {
    memcpy(*record, bytes, size);
    for (int i = 0; i < 2; i++)
      if (home && home[i] && home[i][0]) relative(*record, home[i]);
  }
  free(bytes);
  return upkeep_end(status);
}
