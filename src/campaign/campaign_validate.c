/* validate: is a file whole, and what it says it is? Every product's shape, type and values. */
#include "campaign_inner.h"
#include <math.h>
#include <string.h>

struct validate_params {
  char unused;
};
static const struct config_row no_rows[1];
static const struct config_set validate_set = {"validate", no_rows, 0,
                                               sizeof(struct validate_params)};

static enum status check_shape(const struct store_product *product, const struct store_info *info) {
  if (info->rank != product->rank)
    return FAIL(STATUS_INPUT, "%s:%s has %d axes; %s has %d (%s)", info->file, info->dataset,
                info->rank, product->name, product->rank, product->axes);
  /* a volume may have been written as whole numbers over a window */
  bool whole = strcmp(product->name, "volume") == 0 &&
               (info->type == GRID_U8 || info->type == GRID_U16);
  if (info->type != product->type && !whole)
    return FAIL(STATUS_INPUT, "%s:%s holds %s; %s holds %s", info->file, info->dataset,
                grid_type_name(info->type), product->name, grid_type_name(product->type));
  return STATUS_OK;
}

static int64_t count_not_numbers(const float *value, int64_t n) {
  int64_t bad = 0;
  for (int64_t i = 0; i < n; i++) bad += !isfinite(value[i]);
  return bad;
}

/* Reads all of a product in slices along its first axis, dealt to the ranks, a few megabytes a round. */
static enum status read_through(MPI_Comm comm, struct store_input *input, int64_t *not_numbers) {
  const struct store_info *info = store_info(input);
  int64_t slice = 1, start[STORE_RANK_MAX] = {0}, n[STORE_RANK_MAX];
  void *values = NULL;
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  memcpy(n, info->n, sizeof n);
  for (int a = 1; a < info->rank; a++) slice *= info->n[a];
  size_t bytes  = grid_type_bytes(info->type);
  int64_t thick = (16 << 20) / (slice * (int64_t)bytes + 1) + 1, bad = 0;
  TRY_ALL(comm, memory_make_raw(thick * slice, bytes, "slices of a product", &values));
  enum status status = STATUS_OK;
  for (int64_t at = 0; at < info->n[0] && status == STATUS_OK; at += thick * size) {
    start[0] = at + rank * thick;
    n[0]     = info->n[0] - start[0] < thick ? info->n[0] - start[0] : thick;
    if (n[0] <= 0) n[0] = 0, start[0] = 0;
    status = store_read_box(comm, input, start, n, info->type, true, values);
    if (status == STATUS_OK && info->type == GRID_F32)
      bad += count_not_numbers(values, n[0] * slice);
  }
  memory_free(values);
  MPI_Allreduce(&bad, not_numbers, 1, MPI_INT64_T, MPI_SUM, comm);
  return status;
}

static enum status check_product(MPI_Comm comm, const char *file,
                                 const struct store_product *product,
                                 struct stage_results *results) {
  char path[128], name[STORE_NAME_BYTES];
  bool found;
  struct store_input *input;
  int64_t not_numbers = 0;
  snprintf(path, sizeof path, "/entry/%s/data", product->name);
  TRY(store_has(comm, file, path, &found));
  if (!found) return STATUS_OK;
  snprintf(name, sizeof name, "%.1900s:%s", file, path);
  TRY(store_open(comm, name, NULL, 0, &input));
  enum status status = AGREE(comm, check_shape(product, store_info(input)));
  if (status == STATUS_OK) status = read_through(comm, input, &not_numbers);
  store_close(&input);
  TRY(status);
  snprintf(path, sizeof path, "%s_not_finite", product->name);
  stage_result_add(results, path, (double)not_numbers, "values");
  return STATUS_OK;
}

static enum status validate(MPI_Comm comm, const struct stage_common *common, const void *params,
                            const char *operand, struct stage_results *results) {
  int n;
  char program[64];
  bool ours;
  (void)params;
  const char *file = operand[0] ? operand : common->input;
  if (!file[0]) return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct validate FILE"));
  TRY(store_probe(comm, file));
  TRY(store_get_text(comm, file, "/entry/process/program", &ours, program, sizeof program));
  const struct store_product *product = store_product_list(&n);
  for (int i = 0; i < n; i++) TRY(check_product(comm, file, &product[i], results));
  if (ours && log_is_speaker()) log_info("%s was made by %s and is whole", file, program);
  if (!results->n)
    return AGREE(comm, FAIL(STATUS_INPUT, "%s opens, but holds no product of this program", file));
  return STATUS_OK;
}

const struct campaign_command campaign_validate = {
    "validate", "is a file whole, and what it says it is", "FILE", &validate_set, validate};
