/* stage: what all stages share - the interface, bundles (which file holds a product of a state),
 * results and their JSON, the need forecast, rounds, the common options, provenance. */
#pragma once
#include "config.h"
#include "store.h"

/* ---- common options (all commands) ------------------------------------------------------------ */
struct stage_common {
#include "config_struct.inc"
#include "common_params.def"
#include "config_undef.inc"
};
extern const struct config_set stage_common_set;

/* ---- results ------------------------------------------------------------------------------------ */
struct stage_result {
  char name[64], unit[24],
      state[48];                     /* state "" or why the value is not a number: "infinite" ... */
  double value, sigma, lower, upper; /* NAN = absent (value: null in JSON) */
  char of[64]; /* all-state stages: the cycle's state it is about, "" = none; JSON key NAME@STATE */
};
struct stage_results {
  struct stage_result *row;
  int n, room;
};
void stage_results_free(struct stage_results *results);
/* Local; rank-independent by the caller's care. Gives the new row for sigma, lower, upper, state. */
struct stage_result *stage_result_add(struct stage_results *results, const char *name, double value,
                                      const char *unit);
struct stage_result *stage_result_find(struct stage_results *results, const char *name);

/* ---- need: the forecast -------------------------------------------------------------------------- */
struct stage_need {
  int64_t memory_bytes; /* of the busiest rank, beyond the program's base */
  int64_t disk_bytes;   /* of all output files */
  int64_t rounds;
  double seconds; /* rough; 0 = not known */
};

/* ---- a stage ---------------------------------------------------------------------------------------- */
/* Where a stage finds its inputs. By hand: `input` is --input. In a cycle: state folders. */
struct stage_bundle {
  const char *input;             /* FILE[:DATASET] or "" */
  const char *folder;            /* OUT/<state> of a cycle or NULL */
  const char *state;             /* name or NULL */
  const char *const *extra_name; /* further product -> FILE[:DS] pairs, e.g. "volume" */
  const char *const *extra_file;
  int extras;
  /* all-state stages: one bundle per state */
  const struct stage_bundle *states;
  int states_n;
};
/* Local. Name for store_open of `product`: the pair of that name, else --input when product is the
 * stage's main one, else OUT/<state>/<stage>.h5 which makes it. NULL: not to be had. */
const char *stage_bundle_find(const struct stage_bundle *bundle, const char *product, bool main,
                              char *text, size_t bytes);

struct stage_job {
  MPI_Comm comm;
  const struct stage_common *common;
  const void *params;
  const struct stage_bundle *input;
  const char *output;            /* path, "" = nothing to write */
  const char *record;            /* effective YAML + inputs (for provenance and "done") */
  struct stage_results *results; /* filled on all ranks alike */
};
struct stage {
  const char *name, *words; /* "flux", one line for help */
  const struct config_set *params;
  const char *reads, *writes; /* products, comma-separated; first of reads is --input's */
  bool all_states;            /* works once on all states */
  bool file_per_state;        /* and writes a file into the folder of each, beside its own */
  /* Local: cross-parameter checks beyond bounds; USAGE. */
  enum status (*check)(const void *params, const struct stage_common *common);
  /* Collective, reads headers and at most small samples. */
  enum status (*plan)(const struct stage_job *job, struct stage_need *need);
  /* Collective: reads, calculates, writes, fills results. */
  enum status (*run)(const struct stage_job *job);
};

/* Collective. The record of a work: effective parameters, then what each of the `n` inputs
 * (FILE[:DATASET]) and each file named by a FILES parameter, or by a text whose syntax begins with
 * FILE, is. Names below the folders `home` (may be NULL) stand relative to them. Caller
 * memory_free's. */
enum status stage_record_make(MPI_Comm comm, const struct config_set *set, const void *params,
                              const char *const *inputs, int n, const char *const home[2],
                              char **record);
/* Collective. store_begin with the lock, space and record, the common notes (program, version,
 * revision, effective YAML, inputs, ranks, instruction set) already written by stage_output_commit. */
enum status stage_output_begin(const struct stage_job *job, int64_t size_bytes,
                               struct store_output **output);
/* Collective. Writes provenance and results (/entry/process, /entry/results), then commits. */
enum status stage_output_commit(const struct stage_job *job, struct store_output **output);

/* ---- rounds: what a stage that was killed or stopped need not do again ---------------------------- */
enum { STAGE_SUMS_MOST = 4, STAGE_ROUND_LEAST_S = 1 };
struct stage_rounds {
  int64_t done;                 /* of the stage's own counting (slices, rows): finished earlier */
  int64_t sum[STAGE_SUMS_MOST]; /* over all ranks, of what was finished earlier */
  MPI_Comm comm;                /* the rest is private */
  struct store_output *output;
  char path[STORE_NAME_BYTES + 16];
  int handle;
  double noted_s;
};
/* Collective, after store_ready. `done` is 0 unless the output goes on (store_resumed), by the same program
 * and instruction set. Borrows output; stage_rounds_end also after a failure. */
enum status stage_rounds_begin(const struct stage_job *job, struct store_output *output,
                               struct stage_rounds *rounds);
/* Collective, after each round: all that was written is synced, then `done` is noted with the `n` sums, of which
 * `mine` holds this rank's part since stage_rounds_begin. Rounds that follow within a second are noted together,
 * unless at_once. */
enum status stage_rounds_note(struct stage_rounds *rounds, int64_t done, const int64_t *mine, int n,
                              bool at_once);
/* Local. The journal is removed unless its output is kept for a later call. */
void stage_rounds_end(struct stage_rounds *rounds, bool keep);

/* Collective, once: the ranks that share the memory, of which a job may have only some. */
void stage_program_set(MPI_Comm comm);
/* Memory a rank may use, bytes: --memory-gb over ranks, else the job's limit (SLURM, cgroup), else
 * 80 % of the node over the node's ranks. Collective. */
enum status stage_memory_limit(const struct stage_job *job, int64_t *bytes);
/* Collective. MEMORY status with both numbers when the need is more than the limit. */
enum status stage_need_check(const struct stage_job *job, const struct stage_need *need);
/* Parses "U" or "UX,UY,UZ" into z, y, x; "" leaves {0,0,0}. USAGE otherwise. */
enum status stage_voxel_parse(const char *text, double voxel_um[3]);

/* Parses "A:B,A:B,A:B" (z, y, x; half-open); "" and "all" are the whole. USAGE otherwise, naming the parameter. */
enum status stage_box_parse(const char *name, const char *text, const int64_t n[3],
                            struct grid_box *box);

/* One state of a stage that works on all: in a cycle `at` is its place among the bundle's states, else -1. */
struct stage_source {
  char name[STORE_NAME_BYTES], state[64];
  int at;
};
/* Collective. In a cycle the states that have the product, else the lines of `names`, states "1", "2" ...; looked up on
 * rank 0, so that no rank sees another answer. USAGE with the words `missing` when there is none; the caller
 * memory_free's. */
enum status stage_sources_find(const struct stage_job *job, const char *product, const char *names,
                               const char *missing, struct stage_source **source, int *n);

const char *stage_version(void);  /* "0.1.0" */
const char *stage_revision(void); /* git revision at build time or "unknown" */
/* Local. JSON of results as a string (strict; NaN never appears); caller memory_free's. */
enum status stage_results_json(const char *command, const struct stage_results *results,
                               char **json);
void stage_results_print(const char *command, const struct stage_results *results, FILE *to);
