/* The lithium as it came and went, in three dimensions: the labels of every followed state thinned out on all ranks (each
 * reads every k-th slice of its share), gathered on rank 0, which keeps since which state each voxel has been there, and
 * rendered state by state. Phase and box are those of track. */
#include "report_private.h"
#include <stdlib.h>
#include <string.h>

struct volume {
  int64_t start[3], size[3]; /* the box, in voxels */
  int64_t n[3], k;           /* thinned out by k */
  double voxel_um[3];        /* of the thinned out */
  uint8_t *slice, *mine;     /* of this rank */
  uint8_t *since; /* rank 0: 0 = not there, else the state (1, 2, ...) since which it is */
};

/* ---- what track followed ---------------------------------------------------------------------------------------- */

static void parse_box(const char *text, const int64_t whole[3], struct volume *v) {
  const char *at = text;
  memcpy(v->size, whole, sizeof v->size);
  memset(v->start, 0, sizeof v->start);
  for (int a = 0; a < 3 && *at; a++) {
    long long first, behind;
    int used = 0;
    if (sscanf(at, "%lld:%lld%n", &first, &behind, &used) != 2 || first < 0 || behind <= first ||
        behind > whole[a])
      return;
    v->start[a] = first;
    v->size[a]  = behind - first;
    at += used + (at[used] == ',');
  }
}

/* From the record of track's file. */
static enum status read_settings(const struct report *r, const char *path, int *phase, char *box,
                                 size_t bytes) {
  char *text;
  bool found;
  struct config_file *file = NULL;
  TRY_ALL(r->comm, memory_make(1 << 20, 1, "parameters", &text));
  enum status status =
      store_get_text(r->comm, path, "/entry/process/effective_yaml", &found, text, 1 << 20);
  char *input = strstr(text, "\ninput:");
  if (input) *input = 0;
  if (status == STATUS_OK)
    status = AGREE(r->comm, config_file_parse(path, text, (int64_t)strlen(text), &file));
  if (status == STATUS_OK) {
    const struct config_node *track = config_get(config_root(file), "track");
    const char *p                   = config_scalar(config_get(track, "phase")),
               *b                   = config_scalar(config_get(track, "box"));
    *phase                          = p ? (int)strtol(p, NULL, 10) : -1;
    snprintf(box, bytes, "%s", b ? b : "");
    config_file_close(&file);
  }
  memory_free(text);
  return status;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void thin_slice(const struct volume *v, int phase, uint8_t *to) {
  for (int64_t y = 0; y < v->n[1]; y++)
    for (int64_t x = 0; x < v->n[2]; x++) {
      int64_t at_y = y * v->k + v->k / 2, at_x = x * v->k + v->k / 2;
      if (at_y >= v->size[1]) at_y = v->size[1] - 1;
      if (at_x >= v->size[2]) at_x = v->size[2] - 1;
      to[y * v->n[2] + x] = v->slice[at_y * v->size[2] + at_x] == phase;
    }
}

/* Slices that are not this rank's are 0, so the greatest of all ranks is the volume. */
static enum status read_state(const struct report *r, struct store_input *input, struct volume *v,
                              int phase) {
  int rank, size;
  MPI_Comm_rank(r->comm, &rank);
  MPI_Comm_size(r->comm, &size);
  int64_t plane = v->n[1] * v->n[2];
  memset(v->mine, 0, (size_t)(v->n[0] * plane));
  for (int64_t round = 0; round < (v->n[0] + size - 1) / size; round++) {
    int64_t z = round * size + rank, at = z * v->k + v->k / 2, start[3] = {0}, n[3] = {0};
    if (at >= v->size[0]) at = v->size[0] - 1;
    if (z < v->n[0]) {
      start[0] = v->start[0] + at, start[1] = v->start[1], start[2] = v->start[2];
      n[0] = 1, n[1] = v->size[1], n[2] = v->size[2];
    }
    TRY(store_read_box(r->comm, input, start, n, GRID_U8, true, v->slice));
    if (z < v->n[0]) thin_slice(v, phase, v->mine + z * plane);
  }
  MPI_Reduce(r->speaks ? MPI_IN_PLACE : v->mine, v->mine, (int)(v->n[0] * plane), MPI_UINT8_T,
             MPI_MAX, 0, r->comm);
  return STATUS_OK;
}

static enum status make_volume(const struct report *r, const struct store_info *info,
                               const char *box, struct volume *v) {
  int64_t longest = 1, voxels = 1;
  parse_box(box, info->n, v);
  for (int a = 0; a < 3; a++) longest = v->size[a] > longest ? v->size[a] : longest;
  v->k = (longest + r->params->render - 1) / r->params->render;
  for (int a = 0; a < 3; a++) {
    v->n[a]        = (v->size[a] + v->k - 1) / v->k;
    v->voxel_um[a] = info->voxel_um[a] * (double)v->k;
    voxels *= v->n[a];
  }
  TRY(memory_make(voxels, 1, "a rendered volume", &v->mine));
  TRY(memory_make(voxels, 1, "a rendered volume", &v->since));
  return memory_make(v->size[1] * v->size[2], 1, "a slice", &v->slice);
}

static enum status check_shape(const struct store_info *info, const struct volume *v) {
  for (int a = 0; a < 3; a++)
    if (v->start[a] + v->size[a] > info->n[a])
      return FAIL(STATUS_INPUT, "%s is smaller than the first state's labels", info->file);
  return STATUS_OK;
}

/* One more state into `since`. */
static enum status add_state(const struct report *r, const char *path, const char *box, int phase,
                             int stage, struct volume *v) {
  char name[STORE_NAME_BYTES];
  struct store_input *input;
  snprintf(name, sizeof name, "%.1900s:/entry/labels/data", path);
  TRY(store_open(r->comm, name, NULL, 3, &input));
  enum status status = v->mine ? STATUS_OK : make_volume(r, store_info(input), box, v);
  if (status == STATUS_OK) status = check_shape(store_info(input), v);
  status = AGREE(r->comm, status);
  if (status == STATUS_OK) status = read_state(r, input, v, phase);
  store_close(&input);
  for (int64_t i = 0; status == STATUS_OK && r->speaks && i < v->n[0] * v->n[1] * v->n[2]; i++)
    v->since[i] = (uint8_t)(!v->mine[i] ? 0 : v->since[i] ? v->since[i] : stage);
  return status;
}

/* ---- drawing ---------------------------------------------------------------------------------------------------- */

static void key_of_stages(struct report *r, const int *state, int n) {
  report_raw(r, "<p class=\"quiet\">There since state: ");
  for (int i = 0; i < n; i++) {
    uint8_t rgb[3];
    char words[80];
    picture_stage_colour(i + 1, rgb);
    report_state_words(r->state[state[i]].name, words, sizeof words);
    report_raw(r, "<span class=\"swatch\" style=\"background:#%02x%02x%02x\"></span>", rgb[0],
               rgb[1], rgb[2]);
    report_textf(r, "%s %s ", report_roman(i + 1), words);
  }
  report_raw(r, "</p>\n");
}

static void draw_state(struct report *r, const struct volume *v, int state, int stage,
                       struct report_panel *panel) {
  enum { NY = 400, NX = 600 };
  uint8_t *rgb;
  char words[80], text[120], id[96], file[160];
  double px_per_voxel = 1;
  if (r->status != STATUS_OK) return;
  report_keep(r, memory_make_raw(3 * NY * NX, 1, "a picture", &rgb));
  if (r->status != STATUS_OK) return;
  report_state_words(r->state[state].name, words, sizeof words);
  snprintf(text, sizeof text, "%s  %s", report_roman(stage), words);
  snprintf(id, sizeof id, "growth-%s", r->state[state].name);
  snprintf(file, sizeof file, "growth_%s", r->state[state].name);
  report_keep(r, report_render(v->since, v->n, NY, NX, rgb, &px_per_voxel));
  double um = v->voxel_um[2] / px_per_voxel;
  report_keep(r, report_rgb_panel(panel, rgb, NY, NX, um, um, 3, text, id));
  report_png(r, file, rgb, NY, NX);
  memory_free(rgb);
}

static void put_figure(struct report *r, struct report_panel *panel, const int *state, int n) {
  key_of_stages(r, state, n);
  report_figure_add(
      r, &(struct report_figure){"growth_3d", "Growth of the lithium in three dimensions",
                                 "The followed phase in each state, seen from above at an angle "
                                 "without perspective, so the scale bar holds everywhere across "
                                 "the view; light from the upper left, farther parts darker. "
                                 "Colour: the state since which a voxel has been there.",
                                 panel, n, 3, NULL, 0});
}

static enum status draw_all(struct report *r, const char *box, int phase, struct volume *v) {
  struct report_panel *panel;
  int state[REPORT_STATES_MOST], n = 0;
  enum status status = STATUS_OK;
  TRY_ALL(r->comm, memory_make(r->states + 1, sizeof *panel, "panels", &panel));
  for (int i = 0; i < r->states && status == STATUS_OK; i++) {
    char path[STORE_NAME_BYTES];
    if (!report_row_find(r, r->state[i].name, "track", "phase_voxels") ||
        !report_file(r, r->state[i].name, "segment", path))
      continue;
    state[n] = i;
    status   = add_state(r, path, box, phase, n + 1, v);
    if (status == STATUS_OK && r->speaks) draw_state(r, v, i, n + 1, &panel[n]);
    n += status == STATUS_OK;
  }
  if (r->speaks && n && r->status == STATUS_OK) put_figure(r, panel, state, n);
  memory_free(panel);
  return n ? STATUS_OK : status;
}

enum status report_growth(struct report *r) {
  char path[STORE_NAME_BYTES], box[256];
  int phase;
  struct volume v;
  const char *why = report_why_not(r, "all", "track");
  memset(&v, 0, sizeof v);
  enum status status = STATUS_OK;
  bool there         = report_file(r, "all", "track", path);
  if (there) status = read_settings(r, path, &phase, box, sizeof box);
  if (there && status == STATUS_OK) status = draw_all(r, box, phase, &v);
  if (r->speaks && (!there || status != STATUS_OK || !v.mine))
    report_figure_missing(r, "Growth of the lithium in three dimensions",
                          status != STATUS_OK ? status_text()
                          : why[0]            ? why
                                              : "track has not worked");
  memory_free(v.slice);
  memory_free(v.mine);
  memory_free(v.since);
  status_clear();
  return STATUS_OK;
}
