/* preview: a few slices of a volume; projections, mean flat and dark, and a sinogram of a scan; the mean of the first frames of
 * a detector. Only what is shown is read. */
#include "raw_frames.h"
#include "raw_tomo.h"
#include "report_private.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_OWNER struct preview_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "preview_params.def"
#include "config_undef.inc"
};
const struct config_set preview_param_set = CONFIG_SET("preview", struct preview_params, rows);

enum { PANELS_MOST = 16, FRAMES_MOST = 1000 };

struct look {
  struct report r;
  const struct preview_params *p;
  struct stage_results *results;
  struct report_panel panel[PANELS_MOST];
  int panels;
};

/* ---- pictures ---------------------------------------------------------------------------------------------------------- */

/* Rank 0: value[ny][nx], thinned out by means, as a panel and a PNG. */
static void show(struct look *l, const float *value, int64_t ny, int64_t nx, double um_y,
                 double um_x, bool flip, enum picture_map map, const char *title,
                 const char *file) {
  struct report_image image = {.um_y = um_y, .um_x = um_x};
  uint8_t *rgb              = NULL;
  double low, high;
  if (l->panels == PANELS_MOST || l->r.status != STATUS_OK) return;
  report_keep(&l->r, report_image_thin(value, ny, nx, l->p->pixels, flip, &image));
  if (l->r.status == STATUS_OK)
    report_keep(&l->r, picture_range(image.value, image.ny * image.nx, &low, &high));
  if (l->r.status == STATUS_OK) {
    char text[160];
    snprintf(text, sizeof text, "%.90s   %.4g to %.4g", title, low, high);
    report_keep(&l->r, report_image_panel(&l->panel[l->panels++], &image, low, high, map, 3, text,
                                          "", &rgb));
    report_png(&l->r, file, rgb, image.ny, image.nx);
  }
  memory_free(rgb);
  report_image_free(&image);
}

/* Collective: a box of a dataset with two long axes. */
static enum status show_box(struct look *l, struct store_input *input, const int64_t *start,
                            const int64_t *n, int64_t ny, int64_t nx, double um_y, double um_x,
                            bool flip, const char *title, const char *file) {
  int64_t mine[STORE_RANK_MAX] = {0};
  float *value;
  if (l->r.speaks) memcpy(mine, n, (size_t)store_info(input)->rank * sizeof *mine);
  TRY_ALL(l->r.comm, memory_make_raw(l->r.speaks ? ny * nx : 1, sizeof *value, "a slice", &value));
  enum status status = store_read_box(l->r.comm, input, start, mine, GRID_F32, false, value);
  if (status == STATUS_OK && l->r.speaks)
    show(l, value, ny, nx, um_y, um_x, flip, PICTURE_GREY, title, file);
  memory_free(value);
  return status;
}

/* ---- a volume ------------------------------------------------------------------------------------------------------- */

static enum status look_at_volume(struct look *l, const char *input) {
  struct store_input *data;
  TRY(store_open(l->r.comm, input, "volume", 3, &data));
  const struct store_info *v = store_info(data);
  const double *um           = v->voxel_um;
  enum status status         = STATUS_OK;
  for (int i = 0; i < l->p->look && status == STATUS_OK; i++) {
    int64_t z = v->n[0] * (i + 1) / (l->p->look + 1), start[3] = {z, 0, 0},
            n[3] = {1, v->n[1], v->n[2]};
    char title[96], file[32];
    snprintf(title, sizeof title, "x\xe2\x80\x93y, slice %lld of %lld", (long long)z,
             (long long)v->n[0]);
    snprintf(file, sizeof file, "z%05lld", (long long)z);
    status = show_box(l, data, start, n, v->n[1], v->n[2], um[1], um[2], false, title, file);
  }
  const int64_t at_y[3] = {0, v->n[1] / 2, 0}, one_y[3] = {v->n[0], 1, v->n[2]},
                at_x[3] = {0, 0, v->n[2] / 2}, one_x[3] = {v->n[0], v->n[1], 1};
  if (status == STATUS_OK && v->n[0] > 1)
    status = show_box(l, data, at_y, one_y, v->n[0], v->n[2], um[0], um[2], true,
                      "x\xe2\x80\x93z, the middle", "xz");
  if (status == STATUS_OK && v->n[0] > 1)
    status = show_box(l, data, at_x, one_x, v->n[0], v->n[1], um[0], um[1], true,
                      "y\xe2\x80\x93z, the middle", "yz");
  if (status == STATUS_OK)
    for (int a = 0; a < 3; a++) {
      static const char *const name[] = {"slices", "rows", "columns"};
      stage_result_add(l->results, name[a], (double)v->n[a], "vox");
    }
  store_close(&data);
  return status;
}

/* ---- a scan ------------------------------------------------------------------------------------------------------------ */

static enum status show_flat_and_dark(struct look *l, struct raw_tomo *scan, float *flat,
                                      float *dark) {
  int64_t mine = l->r.speaks ? scan->rows : 0;
  TRY(raw_tomo_flat(l->r.comm, scan, 0, mine, flat, dark));
  if (!l->r.speaks || scan->kind != RAW_COUNTS) return STATUS_OK;
  show(l, flat, scan->rows, scan->columns, scan->pixel_um, scan->pixel_um, false, PICTURE_GREY,
       "mean flat", "flat");
  show(l, dark, scan->rows, scan->columns, scan->pixel_um, scan->pixel_um, false, PICTURE_GREY,
       "mean dark", "dark");
  return STATUS_OK;
}

/* Counts become attenuation where flats are known. */
static void to_attenuation(const struct raw_tomo *scan, const float *flat, const float *dark,
                           float *value) {
  for (int64_t i = 0; i < scan->rows * scan->columns && scan->kind == RAW_COUNTS; i++)
    value[i] = -logf(fmaxf((value[i] - dark[i]) / fmaxf(flat[i] - dark[i], 1e-6F), 1e-6F));
}

static enum status show_projections(struct look *l, struct raw_tomo *scan, const float *flat,
                                    const float *dark, float *value) {
  for (int i = 0; i < l->p->look; i++) {
    int64_t k        = l->p->look > 1 ? i * (scan->projections - 1) / (l->p->look - 1) : 0,
            start[3] = {scan->frame[k], 0, 0}, n[3] = {1, scan->rows, scan->columns},
            none[3] = {0, 0, 0};
    char title[96], file[32];
    TRY(store_read_box(l->r.comm, scan->data, l->r.speaks ? start : none, l->r.speaks ? n : none,
                       GRID_F32, false, value));
    snprintf(title, sizeof title, "projection %lld at %.2f\xc2\xb0", (long long)k,
             scan->angle_rad[k] * DEG_PER_RAD);
    snprintf(file, sizeof file, "projection%05lld", (long long)k);
    if (!l->r.speaks) continue;
    to_attenuation(scan, flat, dark, value);
    show(l, value, scan->rows, scan->columns, scan->pixel_um, scan->pixel_um, false, PICTURE_GREY,
         title, file);
  }
  return STATUS_OK;
}

static enum status show_sinogram(struct look *l, struct raw_tomo *scan) {
  struct grid_plan plan;
  struct grid_field sinogram;
  const int64_t n[3] = {1, scan->projections, scan->columns};
  TRY_ALL(l->r.comm, grid_plan_slabs(l->r.comm, n, 0, &plan));
  enum status status = grid_field_make(l->r.comm, &plan, GRID_F32, NULL, &sinogram);
  grid_plan_free(&plan);
  if (status == STATUS_OK) status = raw_tomo_read(l->r.comm, scan, scan->rows / 2, &sinogram);
  if (status == STATUS_OK && l->r.speaks)
    show(l, sinogram.data, n[1], n[2], 0, 0, false, PICTURE_GREY,
         "sinogram of the middle row as recorded, angle downwards", "sinogram");
  grid_field_free(&sinogram);
  return status;
}

static enum status look_at_scan(struct look *l, struct raw_tomo *scan) {
  int64_t pixels = l->r.speaks ? scan->rows * scan->columns : 1;
  float *flat    = NULL;
  TRY_ALL(l->r.comm, memory_make((scan->flats.groups + 2) * pixels, sizeof *flat, "frames", &flat));
  float *dark = flat + scan->flats.groups * pixels, *value = dark + pixels;
  enum status status = show_flat_and_dark(l, scan, flat, dark);
  if (status == STATUS_OK && !scan->is_sinogram)
    status = show_projections(l, scan, flat, dark, value);
  if (status == STATUS_OK) status = show_sinogram(l, scan);
  memory_free(flat);
  stage_result_add(l->results, "projections", (double)scan->projections, "");
  stage_result_add(l->results, "rows", (double)scan->rows, "px");
  stage_result_add(l->results, "columns", (double)scan->columns, "px");
  stage_result_add(l->results, "first_angle", scan->angle_rad[0] * DEG_PER_RAD, "deg");
  stage_result_add(l->results, "last_angle", scan->angle_rad[scan->projections - 1] * DEG_PER_RAD,
                   "deg");
  stage_result_add(l->results, "flats", (double)scan->flats.count, "");
  stage_result_add(l->results, "darks", (double)scan->darks.count, "");
  return status;
}

/* ---- detector frames ----------------------------------------------------------------------------------------------- */

static enum status mean_of_frames(struct look *l, struct raw_frames *frames, uint16_t *frame,
                                  float *mean) {
  int64_t n = frames->frames < FRAMES_MOST ? frames->frames : FRAMES_MOST;
  for (int64_t i = 0; i < n; i++) {
    TRY(raw_frames_read(l->r.comm, frames, i, l->r.speaks ? 1 : 0, frame));
    for (int64_t w = 0; l->r.speaks && w < frames->words; w++)
      mean[raw_frames_pixel(frames, w)] +=
          (frames->in_kev ? ((const float *)(void *)frame)[w] : (float)frame[w]) / (float)n;
  }
  return STATUS_OK;
}

static enum status look_at_frames(struct look *l, const char *input) {
  struct raw_frames_request request = {.file = &input, .files = 1, .interleaved = true};
  struct raw_frames frames;
  char *room = NULL;
  TRY(raw_frames_open(l->r.comm, &request, &frames));
  enum status status = AGREE(l->r.comm, memory_make(8 * frames.words, 1, "frames", &room));
  if (status == STATUS_OK) {
    float *mean = (float *)(void *)(room + 4 * frames.words);
    status      = mean_of_frames(l, &frames, (uint16_t *)(void *)room, mean);
    if (status == STATUS_OK && l->r.speaks)
      show(l, mean, frames.rows, frames.columns, 0, 0, false, PICTURE_COLOUR,
           frames.in_kev ? "mean of frames (keV)" : "mean of frames (ADU)", "mean");
    stage_result_add(l->results, "frames", (double)frames.frames, "");
    stage_result_add(l->results, "rows", (double)frames.rows, "px");
    stage_result_add(l->results, "columns", (double)frames.columns, "px");
  }
  memory_free(room);
  raw_frames_close(&frames);
  return status;
}

/* ---- which of them ------------------------------------------------------------------------------------------------- */

static enum status look_at(struct look *l, const char *input) {
  const char *dot = strrchr(input, '.');
  if (dot && strcmp(dot, ".bin") == 0) return look_at_frames(l, input);
  const struct raw_tomo_request request = {
      .input = input, .angles = "", .image_key = "", .flats = "", .darks = "", .kind = "auto"};
  struct raw_tomo scan;
  if (raw_tomo_open(l->r.comm, &request, &scan) == STATUS_OK) {
    enum status status = look_at_scan(l, &scan);
    raw_tomo_close(&scan);
    return status;
  }
  char why[512];
  snprintf(why, sizeof why, "%.500s", status_text());
  status_clear();
  enum status status = look_at_volume(l, input);
  if (status == STATUS_INPUT) log_warning("nor is it a scan: %s", why);
  return status;
}

static enum status make_folders(const char *folder) {
  char path[STORE_NAME_BYTES];
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%.1900s%s", folder, i ? "/figures" : "");
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
      return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", path, strerror(errno));
  }
  return STATUS_OK;
}

static void write_page(struct look *l, const char *input) {
  struct report *r = &l->r;
  char path[STORE_NAME_BYTES];
  snprintf(r->sample, sizeof r->sample, "%.250s", input);
  report_raw(r,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
             "name=\"viewport\" content=\"width=device-width, "
             "initial-scale=1\">\n<title>Preview</title>\n<style>\n%s</style>\n</"
             "head>\n<body>\n<main>\n<h1>",
             report_style);
  report_text(r, input);
  report_raw(r, "</h1>\n<table><tbody>\n");
  for (int i = 0; i < l->results->n; i++) {
    report_raw(r, "<tr><th scope=\"row\">");
    report_text(r, l->results->row[i].name);
    report_raw(r, "</th><td>%.8g %s</td></tr>\n", l->results->row[i].value,
               l->results->row[i].unit);
  }
  report_raw(r, "</tbody></table>\n");
  report_figure_add(r, &(struct report_figure){
                           "preview", "Quick look",
                           "Each picture on its own scale, whose ends stand beside its title.",
                           l->panel, l->panels, 3, NULL, 0});
  report_foot(r);
  fclose(r->part[REPORT_TOP]);
  r->part[REPORT_TOP] = NULL;
  snprintf(path, sizeof path, "%.1900s/preview.html", r->folder);
  report_keep(r, store_text_write(path, r->bytes[REPORT_TOP], (int64_t)r->n[REPORT_TOP]));
}

static enum status begin(struct look *l) {
  struct report *r = &l->r;
  if (!r->speaks) return STATUS_OK;
  TRY(make_folders(r->folder));
  r->part[REPORT_TOP] = r->html = open_memstream(&r->bytes[REPORT_TOP], &r->n[REPORT_TOP]);
  return r->html ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a page");
}

enum status report_preview(MPI_Comm comm, const char *input, const struct stage_common *common,
                           const struct preview_params *params, struct stage_results *results) {
  struct look *l;
  int rank;
  if (!input[0] || !common->output[0])
    return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct preview FILE[:DATASET] --output DIR"));
  MPI_Comm_rank(comm, &rank);
  TRY_ALL(comm, memory_make(1, sizeof *l, "a preview", &l));
  l->r               = (struct report){.comm = comm, .folder = common->output, .speaks = rank == 0};
  l->p               = params;
  l->results         = results;
  enum status status = AGREE(comm, begin(l));
  if (status == STATUS_OK) status = look_at(l, input);
  if (status == STATUS_OK && rank == 0) write_page(l, input);
  if (status == STATUS_OK && l->r.status != STATUS_OK) {
    status_clear();
    status = FAIL(l->r.status, "%s", l->r.why);
  }
  status = AGREE(comm, status);
  report_forget(&l->r);
  memory_free(l);
  return status;
}
