/* Common options, bundles, the memory limit, small parsers. */
#include "stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_OWNER struct stage_common
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "common_params.def"
#include "config_undef.inc"
};
const struct config_set stage_common_set = CONFIG_SET("common", struct stage_common, rows);

/* Which stage's file of OUT/<state>/ holds a product. */
static const char *maker_of(const char *product) {
  static const char *const table[][2] = {
      {"volume",        "recon"  },
      {"aligned",       "align"  },
      {"labels",        "segment"},
      {"components",    "segment"},
      {"height",        "surface"},
      {"concentration", "flux"   },
      {"flux_z",        "flux"   },
      {"flux_y",        "flux"   },
      {"flux_x",        "flux"   },
      {"flux",          "flux"   },
      {"cube",          "compton"},
      {"profile",       "compton"},
      {"emf",           "compton"},
      {"density",       "compton"}
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (strcmp(table[i][0], product) == 0) return table[i][1];
  return NULL;
}

const char *stage_bundle_find(const struct stage_bundle *bundle, const char *product, bool main,
                              char *text, size_t bytes) {
  for (int i = 0; i < bundle->extras; i++)
    if (strcmp(bundle->extra_name[i], product) == 0) {
      snprintf(text, bytes, "%s", bundle->extra_file[i]);
      return text;
    }
  if (main && bundle->input && bundle->input[0]) {
    snprintf(text, bytes, "%s", bundle->input);
    return text;
  }
  const char *maker = bundle->folder ? maker_of(product) : NULL;
  if (!maker) return NULL;
  snprintf(text, bytes, "%s/%s.h5", bundle->folder, maker);
  if (access(text, R_OK) != 0) return NULL;
  snprintf(text, bytes, "%s/%s.h5:/entry/%s/data", bundle->folder, maker, product);
  return text;
}

enum status stage_voxel_parse(const char *text, double voxel_um[3]) {
  double value[3];
  int n       = 0;
  voxel_um[0] = voxel_um[1] = voxel_um[2] = 0;
  if (!text[0]) return STATUS_OK;
  for (const char *at = text; n < 3;) {
    char *end;
    value[n] = strtod(at, &end);
    if (end == at || !isfinite(value[n]) || value[n] <= 0 || (*end && *end != ',')) break;
    n++;
    if (!*end) {
      if (n == 2) break;
      for (int a = 0; a < 3; a++) voxel_um[a] = n == 1 ? value[0] : value[2 - a]; /* x first */
      return STATUS_OK;
    }
    at = end + 1;
  }
  return FAIL(STATUS_USAGE, "voxel_um = %s; it would be one edge or UX,UY,UZ in um, above 0", text);
}

/* ---- memory ------------------------------------------------------------------------------------- */

static double number_in(const char *path) {
  double value = 0;
  FILE *file   = fopen(path, "r");
  if (!file) return 0;
  if (fscanf(file, "%lf", &value) != 1) value = 0; /* "max" = no limit */
  fclose(file);
  return value;
}

/* What this node lets the job's ranks on it use together, bytes: SLURM's word, the cgroup's, else 80 %
 * of the node. */
static double node_limit_bytes(void) {
  const char *slurm = getenv("SLURM_MEM_PER_NODE");
  double pages      = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE),
         limit      = 0.8 * pages;
  double group      = number_in("/sys/fs/cgroup/memory.max");
  if (group > 0 && group < pages) limit = group;
  if (slurm && atof(slurm) > 0) limit = atof(slurm) * 1048576.0;
  return limit;
}

/* Ranks of the program, and of it on this node; a job may have fewer. 0: not told. */
static struct { int all, here; } program;

static int ranks_here(MPI_Comm comm) {
  int here;
  MPI_Comm node;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &here);
  MPI_Comm_free(&node);
  return here;
}

void stage_program_set(MPI_Comm comm) {
  MPI_Comm_size(comm, &program.all);
  program.here = ranks_here(comm);
}

enum status stage_memory_limit(const struct stage_job *job, int64_t *bytes) {
  int size = program.all;
  if (!size) MPI_Comm_size(job->comm, &size);
  if (job->common->memory_gb > 0) {
    *bytes = (int64_t)(job->common->memory_gb * 1e9 / size);
    return STATUS_OK;
  }
  int here = program.here ? program.here : ranks_here(job->comm);
  *bytes   = (int64_t)(node_limit_bytes() / here);
  MPI_Allreduce(MPI_IN_PLACE, bytes, 1, MPI_INT64_T, MPI_MIN, job->comm);
  return STATUS_OK;
}

enum status stage_need_check(const struct stage_job *job, const struct stage_need *need) {
  int64_t limit;
  int size;
  TRY(stage_memory_limit(job, &limit));
  MPI_Comm_size(job->comm, &size);
  if (need->memory_bytes <= limit) return STATUS_OK;
  return AGREE(job->comm,
               FAIL(STATUS_MEMORY, "%.3g GB per rank are needed, %.3g GB are allowed; %s",
                    1e-9 * (double)need->memory_bytes, 1e-9 * (double)limit,
                    job->common->memory_gb > 0 ? "raise --memory-gb or use more nodes"
                                               : "use more nodes or fewer ranks per node"));
}
