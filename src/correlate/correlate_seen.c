/* What compton wrote of a state. A pixel's electrons within the windows are its density times the part of its profile,
 * per electron, that lies within the outer window; where there is no profile, its density alone. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

enum status correlate_seen_make(int regions, int64_t rows, int64_t columns,
                                struct correlate_seen *seen) {
  int64_t n = regions * rows * columns;
  *seen     = (struct correlate_seen){.regions = regions, .rows = rows, .columns = columns};
  TRY(memory_make(6 * n, sizeof *seen->sum, "maps of the Compton camera", &seen->sum));
  seen->sum_sigma     = seen->sum + n;
  seen->emf           = seen->sum + 2 * n;
  seen->emf_sigma     = seen->sum + 3 * n;
  seen->density       = seen->sum + 4 * n;
  seen->density_sigma = seen->sum + 5 * n;
  return STATUS_OK;
}

void correlate_seen_free(struct correlate_seen *seen) {
  memory_free(seen->sum);
  memset(seen, 0, sizeof *seen);
}

/* FILE of FILE:DATASET. */
static void file_of(const char *name, char *file, size_t bytes) {
  snprintf(file, bytes, "%s", name);
  char *colon = strrchr(file, ':');
  if (colon) *colon = 0;
}

static enum status read_whole(MPI_Comm comm, const char *name, const char *product, int rank,
                              struct store_info *info, double **values) {
  struct store_input *input;
  const int64_t start[STORE_RANK_MAX] = {0};
  TRY(store_open(comm, name, product, rank, &input));
  *info     = *store_info(input);
  int64_t n = 1;
  for (int a = 0; a < info->rank; a++) n *= info->n[a];
  enum status status = AGREE(comm, memory_make(n, sizeof **values, "a map", values));
  if (status == STATUS_OK)
    status = store_read_box(comm, input, start, info->n, GRID_F64, false, *values);
  store_close(&input);
  return status;
}

/* A product of rank 3 with its errors into two maps. */
static enum status read_map(MPI_Comm comm, const struct stage_bundle *state, const char *product,
                            struct store_info *info, double **value, double **sigma) {
  char name[STORE_NAME_BYTES], errors[STORE_NAME_BYTES + 16];
  struct store_info other;
  if (!stage_bundle_find(state, product, false, name, sizeof name))
    return AGREE(comm, FAIL(STATUS_INPUT, "the state %s has no %s", state->state, product));
  TRY(read_whole(comm, name, product, 3, info, value));
  snprintf(errors, sizeof errors, "%s_errors", name);
  return read_whole(comm, errors, NULL, 3, &other, sigma);
}

/* Part of each pixel's profile within the outer window; 1 without profiles. */
static enum status window_parts(MPI_Comm comm, const struct stage_bundle *state, int64_t pixels,
                                double outer_au, double *part) {
  char name[STORE_NAME_BYTES], file[STORE_NAME_BYTES];
  struct store_info info;
  double *profile = NULL, *p = NULL;
  int64_t n_p = 0;
  bool found  = false;
  for (int64_t i = 0; i < pixels; i++) part[i] = 1;
  if (!stage_bundle_find(state, "profile", false, name, sizeof name)) return STATUS_OK;
  enum status status = read_whole(comm, name, "profile", 4, &info, &profile);
  file_of(name, file, sizeof file);
  if (status == STATUS_OK)
    status = store_get_doubles(comm, file, "/entry/profile/momentum", &found, &p, &n_p);
  if (status == STATUS_OK && found && n_p == info.n[3] && n_p > 1) {
    double step = (p[n_p - 1] - p[0]) / (double)(n_p - 1);
    for (int64_t i = 0; i < pixels; i++) {
      double sum = 0;
      for (int64_t b = 0; b < n_p; b++) {
        double inside = fmin(outer_au, p[b] + 0.5 * step) - fmax(-outer_au, p[b] - 0.5 * step);
        if (inside > 0) sum += profile[i * n_p + b] * inside;
      }
      part[i] = sum;
    }
  }
  memory_free(profile);
  memory_free(p);
  return status;
}

static enum status read_maps(MPI_Comm comm, const struct stage_bundle *state,
                             struct correlate_seen *seen) {
  struct store_info info, other;
  double *emf[2] = {NULL, NULL}, *density[2] = {NULL, NULL}, *part = NULL;
  enum status status = read_map(comm, state, "emf", &info, &emf[0], &emf[1]);
  if (status == STATUS_OK) status = read_map(comm, state, "density", &other, &density[0], &density[1]);
  if (status == STATUS_OK && (info.n[0] > CORRELATE_REGIONS_MOST || other.n[0] != info.n[0] ||
                              other.n[1] != info.n[1] || other.n[2] != info.n[2]))
    status = FAIL(STATUS_INPUT, "%s: emf and density would be of the same 1 to %d regions", info.file,
                  CORRELATE_REGIONS_MOST);
  int64_t n = info.n[0] * info.n[1] * info.n[2];
  if (status == STATUS_OK)
    status = correlate_seen_make((int)info.n[0], info.n[1], info.n[2], seen);
  if (status == STATUS_OK) status = memory_make(n, sizeof *part, "parts of profiles", &part);
  status = AGREE(comm, status);
  if (status == STATUS_OK) status = window_parts(comm, state, n, 5, part);
  for (int64_t i = 0; status == STATUS_OK && i < n; i++) {
    seen->emf[i] = emf[0][i], seen->emf_sigma[i] = emf[1][i];
    seen->density[i] = density[0][i], seen->density_sigma[i] = density[1][i];
    seen->sum[i] = density[0][i] * part[i], seen->sum_sigma[i] = density[1][i] * part[i];
  }
  for (int k = 0; k < 2; k++) memory_free(emf[k]), memory_free(density[k]);
  memory_free(part);
  return status;
}

enum status correlate_seen_read(MPI_Comm comm, const struct stage_bundle *state,
                                struct correlate_seen *seen) {
  memset(seen, 0, sizeof *seen);
  enum status status = read_maps(comm, state, seen);
  if (status != STATUS_OK) correlate_seen_free(seen);
  return status;
}
