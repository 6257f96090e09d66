/* Labels to codes of diffusivity. */
#include "flux_labels.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum status add(struct flux_labels *labels, const char *key, int64_t label, double value) {
  if (labels->n == FLUX_LABELS)
    return FAIL(STATUS_USAGE, "flux.%s names more than %d labels", key, FLUX_LABELS);
  for (int i = 0; i < labels->n; i++)
    if (labels->label[i] == label)
      return FAIL(STATUS_USAGE, "flux.%s names label %lld twice", key, (long long)label);
  labels->label[labels->n]         = label;
  labels->diffusivity[labels->n++] = value;
  return STATUS_OK;
}
/* Equal diffusivities share a code. */
static enum status codes_give(struct flux_labels *labels, const char *key) {
  int codes = 0;
  for (int i = 0; i < labels->n; i++) {
    int c = 1;
    if (!(labels->diffusivity[i] > 0)) continue;
    while (c <= codes && labels->of_code[c] != labels->diffusivity[i]) c++;
    if (c > codes && c >= FLUX_CODE_FACE)
      return FAIL(STATUS_USAGE, "flux.%s has more than %d different diffusivities", key,
                  FLUX_CODE_FACE - 1);
    if (c > codes) labels->of_code[++codes] = labels->diffusivity[i];
    labels->code[i] = (uint8_t)c;
  }
  if (!codes) return FAIL(STATUS_USAGE, "flux.%s: no label conducts", key);
  for (int c = 1; c <= codes; c++)
    for (int d = 1; d <= codes; d++)
      if (labels->of_code[c] > 1e7 * labels->of_code[d])
        return FAIL(STATUS_USAGE, "flux.%s: diffusivities %g and %g differ by more than 1e7", key,
                    labels->of_code[c], labels->of_code[d]);
  return STATUS_OK;
}
enum status flux_labels_parse(const struct flux_params *p, struct flux_labels *labels) {
  const bool values = p->diffusivity[0] != 0;
  const char *key   = values ? "diffusivity" : "conducting";
  const char *at    = values ? p->diffusivity : p->conducting;
  *labels           = (struct flux_labels){0};
  if (values && p->conducting[0])
    return FAIL(STATUS_USAGE, "flux.conducting and flux.diffusivity exclude each other");
  if (!*at)
    return FAIL(STATUS_USAGE, "flux.conducting (labels that conduct) or flux.diffusivity (N=V,...) "
                              "is missing");
  while (*at) {
    char *end;
    double value          = 1;
    errno                 = 0;
    const long long label = strtoll(at, &end, 10);
    bool good             = end != at && errno == 0;
    if (good && values) {
      good = *end == '=';
      if (good) {
        at    = end + 1;
        value = strtod(at, &end);
        good  = end != at;
      }
    }
    while (*end == ' ') end++;
    if (!good || (*end && *end != ','))
      return FAIL(STATUS_USAGE, "flux.%s = \"%s\" is not %s", key,
                  values ? p->diffusivity : p->conducting,
                  values ? "N=V,N=V,... like 0=1,2=0.3" : "N or N,N,... like 0,2");
    if (!isfinite(value) || value < 0)
      return FAIL(STATUS_USAGE, "flux.diffusivity of label %lld = %g would be 0 or more", label,
                  value);
    TRY(add(labels, key, label, value));
    at = *end ? end + 1 : end;
  }
  return codes_give(labels, key);
}

/* ---- reading ---- */

static int64_t value_of(const struct grid_field *f, int64_t p) {
  return f->type == GRID_U8 ? ((const uint8_t *)f->data)[p] : ((const int32_t *)f->data)[p];
}
static int code_of(const struct flux_labels *labels, int64_t value) {
  for (int i = 0; i < labels->n; i++)
    if (labels->label[i] == value) return i;
  return -1;
}
/* Codes from labels, mask and disc; seen[i] counts voxels of the i-th label. */
struct encoding {
  const struct grid_field *from, *mask; /* mask may be NULL */
  const struct flux_labels *labels;
  const struct flux_region *region;
  int64_t *seen, domain_vox;
  int16_t table[256];
};
static uint8_t encode_one(struct encoding *e, int64_t p) {
  if (e->mask && value_of(e->mask, p) == 0) return 0;
  e->domain_vox++;
  const int64_t v = value_of(e->from, p);
  const int i     = v >= 0 && v < 256 ? e->table[v] : code_of(e->labels, v);
  if (i < 0) return 0;
  e->seen[i]++;
  return e->labels->code[i];
}
static void encode(struct encoding *e, struct grid_field *codes) {
  const int64_t *n = codes->mine.n;
  const int64_t y0 = codes->mine.start[1] + e->region->box.start[1],
                x0 = codes->mine.start[2] + e->region->box.start[2];
  uint8_t *to      = codes->data;
  int64_t p        = 0;
  for (int v = 0; v < 256; v++) e->table[v] = (int16_t)code_of(e->labels, v);
  for (int64_t z = 0; z < n[0]; z++)
    for (int64_t y = 0; y < n[1]; y++)
      for (int64_t x = 0; x < n[2]; x++, p++)
        to[p] = flux_disc_has(&e->region->disc, y + y0, x + x0) ? encode_one(e, p) : 0;
}
static enum status read_part(MPI_Comm comm, struct store_input *input, const struct grid_plan *plan,
                             const struct grid_box *box, struct grid_field *field) {
  const enum grid_type type = store_info(input)->type == GRID_U8 ? GRID_U8 : GRID_I32;
  TRY(grid_field_make(comm, plan, type, (int64_t[3]){0, 0, 0}, field));
  return store_read_field_box(comm, input, box, true, field);
}
static enum status read_mask(MPI_Comm comm, const char *name, const int64_t n[3],
                             const struct grid_plan *plan, const struct grid_box *box,
                             struct grid_field *mask) {
  struct store_input *input = NULL;
  TRY(store_open(comm, name, NULL, 3, &input));
  const struct store_info *info = store_info(input);
  enum status s                 = STATUS_OK;
  for (int a = 0; a < 3 && s == STATUS_OK; a++)
    if (info->n[a] != n[a])
      s = FAIL(STATUS_INPUT, "%s:%s is %lld x %lld x %lld, the labels are %lld x %lld x %lld",
               info->file, info->dataset, (long long)info->n[0], (long long)info->n[1],
               (long long)info->n[2], (long long)n[0], (long long)n[1], (long long)n[2]);
  s = AGREE(comm, s);
  if (s == STATUS_OK) s = read_part(comm, input, plan, box, mask);
  store_close(&input);
  return s;
}
static enum status all_seen(const struct flux_labels *labels, const int64_t *seen,
                            const struct store_info *info, int64_t domain_vox) {
  if (domain_vox == 0) return FAIL(STATUS_INPUT, "flux.mask and flux.disc leave no voxel");
  for (int i = 0; i < labels->n; i++)
    if (seen[i] == 0)
      return FAIL(STATUS_USAGE, "flux: no voxel of %s:%s is labelled %lld", info->file,
                  info->dataset, (long long)labels->label[i]);
  return STATUS_OK;
}
static enum status code_all(MPI_Comm comm, const struct grid_field *from, const int64_t n[3],
                            const char *mask_name, const struct flux_region *region,
                            const struct flux_labels *labels, int64_t *seen,
                            struct grid_field *codes, int64_t *domain_vox) {
  struct grid_field mask = {0};
  enum status s          = STATUS_OK;
  *codes                 = (struct grid_field){0};
  if (*mask_name) s = read_mask(comm, mask_name, n, &from->plan, &region->box, &mask);
  if (s == STATUS_OK) s = grid_field_make(comm, &from->plan, GRID_U8, (int64_t[3]){0, 0, 0}, codes);
  if (s == STATUS_OK) {
    struct encoding e = {from, mask.data ? &mask : NULL, labels, region, seen, 0, {0}};
    encode(&e, codes);
    *domain_vox = e.domain_vox;
    MPI_Allreduce(MPI_IN_PLACE, seen, FLUX_LABELS, MPI_INT64_T, MPI_SUM, comm);
    MPI_Allreduce(MPI_IN_PLACE, domain_vox, 1, MPI_INT64_T, MPI_SUM, comm);
  }
  grid_field_free(&mask);
  return s;
}
enum status flux_labels_code(MPI_Comm comm, const struct grid_field *from, const int64_t n[3],
                             const char *mask, const struct flux_region *region,
                             const struct flux_labels *labels, struct grid_field *codes,
                             int64_t *domain_vox) {
  int64_t seen[FLUX_LABELS] = {0};
  return code_all(comm, from, n, mask, region, labels, seen, codes, domain_vox);
}
enum status flux_labels_read(MPI_Comm comm, struct store_input *input, const char *mask,
                             const struct flux_region *region, const struct flux_labels *labels,
                             struct grid_field *codes, int64_t *domain_vox) {
  const struct store_info *info = store_info(input);
  struct grid_plan plan         = {0};
  struct grid_field from        = {0};
  int64_t seen[FLUX_LABELS]     = {0};
  enum status s                 = AGREE(comm, flux_plan_make(comm, region->box.n, &plan));
  if (s == STATUS_OK) s = read_part(comm, input, &plan, &region->box, &from);
  if (s == STATUS_OK)
    s = code_all(comm, &from, info->n, mask, region, labels, seen, codes, domain_vox);
  if (s == STATUS_OK) s = AGREE(comm, all_seen(labels, seen, info, *domain_vox));
  grid_field_free(&from);
  grid_plan_free(&plan);
  if (s != STATUS_OK) grid_field_free(codes);
  return s;
}
