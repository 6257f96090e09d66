/* Output files with provenance: /entry/process says what made the file, /entry/results what came out. */
#include "stage.h"
#include <stdlib.h>
#include <string.h>

enum status stage_output_begin(const struct stage_job *job, int64_t size_bytes,
                               struct store_output **output) {
  struct store_options options = {.force      = job->common->force,
                                  .resume     = true,
                                  .size_bytes = size_bytes,
                                  .record     = job->record ? job->record : ""};
  return store_begin(job->comm, job->output, &options, output);
}

static enum status write_provenance(const struct stage_job *job, struct store_output *output) {
  int size;
  char ranks[16];
  MPI_Comm_size(job->comm, &size);
  snprintf(ranks, sizeof ranks, "%d", size);
  const char *const notes[][2] = {
      {"program",         "xcsct"                       },
      {"version",         stage_version()               },
      {"revision",        stage_revision()              },
      {"ranks",           ranks                         },
      {"instruction_set", isa_name(isa_now())           },
      {"effective_yaml",  job->record ? job->record : ""}
  };
  for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
    TRY(store_note(job->comm, output, notes[i][0], notes[i][1]));
  return STATUS_OK;
}

enum status stage_output_commit(const struct stage_job *job, struct store_output **output) {
  char *json         = NULL;
  enum status status = write_provenance(job, *output);
  if (status == STATUS_OK) status = AGREE(job->comm, stage_results_json("", job->results, &json));
  if (status == STATUS_OK) status = store_note(job->comm, *output, "results_json", json);
  for (int i = 0; status == STATUS_OK && i < job->results->n; i++) {
    const struct stage_result *row = &job->results->row[i];
    char name[sizeof row->name + sizeof row->of + 16];
    snprintf(name, sizeof name, "results/%s%s%s", row->name, row->of[0] ? "." : "", row->of);
    status = store_number(job->comm, *output, name, row->value, row->unit);
  }
  memory_free(json);
  if (status == STATUS_OK) return store_commit(job->comm, output);
  store_abandon(job->comm, output, false);
  return status;
}
