/* The lithium as it came and went, in three dimensions: the product `growth` thinned out on all ranks (each reads every
 * k-th slice of its share), gathered on rank 0 and rendered state by state. */
#include "report_private.h"
#include <math.h>
#include <string.h>

struct volume {
  uint8_t *code; /* rank 0: [nz][ny][nx] */
  int64_t n[3], k;
  double voxel_um[3];
};

/* The middle voxel of every k x k of one slice. */
static void thin_slice(const uint8_t *slice, const struct store_info *info, const struct volume *v,
                       uint8_t *to) {
  for (int64_t y = 0; y < v->n[1]; y++)
    for (int64_t x = 0; x < v->n[2]; x++) {
      int64_t at_y = y * v->k + v->k / 2, at_x = x * v->k + v->k / 2;
      if (at_y >= info->n[1]) at_y = info->n[1] - 1;
      if (at_x >= info->n[2]) at_x = info->n[2] - 1;
      to[y * v->n[2] + x] = slice[at_y * info->n[2] + at_x];
    }
}

static enum status read_slices(const struct report *r, struct store_input *input, struct volume *v,
                               uint8_t *slice, uint8_t *mine) {
  const struct store_info *info = store_info(input);
  int rank, size;
  MPI_Comm_rank(r->comm, &rank);
  MPI_Comm_size(r->comm, &size);
  for (int64_t round = 0; round < (v->n[0] + size - 1) / size; round++) {
    int64_t z = round * size + rank, at = z * v->k + v->k / 2, start[3] = {0}, n[3] = {0};
    if (at >= info->n[0]) at = info->n[0] - 1;
    if (z < v->n[0]) start[0] = at, n[0] = 1, n[1] = info->n[1], n[2] = info->n[2];
    TRY(store_read_box(r->comm, input, start, n, GRID_U8, true, slice));
    if (z < v->n[0]) thin_slice(slice, info, v, mine + z * v->n[1] * v->n[2]);
  }
  return STATUS_OK;
}

/* Slices that are not this rank's are 0, so the greatest of all ranks is the volume. */
static enum status gather(const struct report *r, struct store_input *input, struct volume *v) {
  const struct store_info *info = store_info(input);
  int64_t voxels                = v->n[0] * v->n[1] * v->n[2];
  uint8_t *slice = NULL, *mine = NULL;
  enum status status = memory_make(voxels, 1, "a rendered volume", &mine);
  if (status == STATUS_OK) status = memory_make(info->n[1] * info->n[2], 1, "a slice", &slice);
  status = AGREE(r->comm, status);
  if (status == STATUS_OK) status = read_slices(r, input, v, slice, mine);
  if (status == STATUS_OK)
    MPI_Reduce(r->speaks ? MPI_IN_PLACE : mine, mine, (int)voxels, MPI_UINT8_T, MPI_MAX, 0,
               r->comm);
  memory_free(slice);
  if (status == STATUS_OK && r->speaks)
    v->code = mine;
  else
    memory_free(mine);
  return status;
}

static enum status read_growth(const struct report *r, const char *path, struct volume *v) {
  char name[STORE_NAME_BYTES];
  struct store_input *input;
  int64_t longest = 1;
  memset(v, 0, sizeof *v);
  snprintf(name, sizeof name, "%.1900s:/entry/growth/data", path);
  TRY(store_open(r->comm, name, NULL, 3, &input));
  const struct store_info *info = store_info(input);
  for (int a = 0; a < 3; a++) longest = info->n[a] > longest ? info->n[a] : longest;
  v->k = (longest + r->params->render - 1) / r->params->render;
  for (int a = 0; a < 3; a++) {
    v->n[a]        = (info->n[a] + v->k - 1) / v->k;
    v->voxel_um[a] = info->voxel_um[a] * (double)v->k;
  }
  enum status status = gather(r, input, v);
  store_close(&input);
  return status;
}

/* ---- drawing ---------------------------------------------------------------------------------------------------- */

/* The states whose labels were followed, in their order. */
static int tracked_states(const struct report *r, int *state) {
  int n = 0;
  for (int i = 0; i < r->states; i++)
    if (report_row_find(r, r->state[i].name, "track", "phase_voxels")) state[n++] = i;
  return n;
}

static void key_of_stages(struct report *r, const int *state, int n) {
  report_raw(r, "<p class=\"quiet\">Came in state: ");
  for (int i = 0; i < n; i++) {
    uint8_t rgb[3];
    char words[80];
    report_stage_colour(i + 1, rgb);
    report_state_words(r->state[state[i]].name, words, sizeof words);
    report_raw(r, "<span class=\"swatch\" style=\"background:#%02x%02x%02x\"></span>", rgb[0],
               rgb[1], rgb[2]);
    report_textf(r, "%s %s ", report_roman(i + 1), words);
  }
  report_raw(r, "</p>\n");
}

static void draw_growth(struct report *r, const struct volume *v) {
  enum { NY = 400, NX = 600 };
  int state[REPORT_STATES_MOST], n = tracked_states(r, state), shown = 0;
  struct report_panel *panel = NULL;
  uint8_t *rgb               = NULL;
  report_keep(r, memory_make(n + 1, sizeof *panel, "panels", &panel));
  report_keep(r, memory_make_raw(3 * NY * NX, 1, "a picture", &rgb));
  for (int i = 0; i < n && r->status == STATUS_OK; i++) {
    char words[80], text[120], id[96], file[160];
    double px_per_voxel;
    report_state_words(r->state[state[i]].name, words, sizeof words);
    snprintf(text, sizeof text, "%s  %s", report_roman(i + 1), words);
    snprintf(id, sizeof id, "growth-%s", r->state[state[i]].name);
    snprintf(file, sizeof file, "growth_%s", r->state[state[i]].name);
    report_keep(r, report_render(v->code, v->n, i + 1, NY, NX, rgb, &px_per_voxel));
    double um = v->voxel_um[2] > 0 ? v->voxel_um[2] / px_per_voxel : 0;
    report_keep(r, report_rgb_panel(&panel[shown++], rgb, NY, NX, um, um, 3, text, id));
    report_png(r, file, rgb, NY, NX);
  }
  if (shown && r->status == STATUS_OK) {
    key_of_stages(r, state, n);
    report_figure_add(
        r, &(struct report_figure){"growth_3d", "Growth of the lithium in three dimensions",
                                   "The followed phase in each state, seen from above at an angle "
                                   "without perspective, so the scale bar holds everywhere "
                                   "across the view; light from the upper left, farther parts "
                                   "darker. Colour: the state in which a voxel came (of several "
                                   "changes the last).",
                                   panel, shown, 3, NULL, 0});
  } else if (!shown)
    report_figure_missing(r, "Growth of the lithium in three dimensions", "no state was followed");
  memory_free(panel);
  memory_free(rgb);
}

enum status report_growth(struct report *r) {
  char path[STORE_NAME_BYTES];
  struct volume v;
  memset(&v, 0, sizeof v);
  bool there         = report_file(r, "all", "track", path);
  enum status status = there ? read_growth(r, path, &v) : STATUS_OK;
  if (r->speaks && v.code)
    draw_growth(r, &v);
  else if (r->speaks)
    report_figure_missing(r, "Growth of the lithium in three dimensions",
                          status != STATUS_OK                    ? status_text()
                          : report_why_not(r, "all", "track")[0] ? report_why_not(r, "all", "track")
                                                                 : "track was not run");
  memory_free(v.code);
  status_clear();
  return STATUS_OK;
}
