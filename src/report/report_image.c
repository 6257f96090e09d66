/* Pictures of products: only the slice that is shown is read, in its own box, by rank 0 (a slice of the largest volume is
 * 26 MB), and thinned out at once. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

void report_image_free(struct report_image *image) {
  memory_free(image->value);
  memset(image, 0, sizeof *image);
}

static enum status open_product(const struct report *r, const char *file, const char *product,
                                struct store_input **input) {
  char name[STORE_NAME_BYTES], path[128];
  bool found;
  if (!product[0]) return store_open(r->comm, file, "volume", 3, input);
  snprintf(path, sizeof path, "/entry/%s/data", product);
  TRY(store_has(r->comm, file, path, &found));
  if (!found) return AGREE(r->comm, FAIL(STATUS_INPUT, "%s has no %s", file, product));
  snprintf(name, sizeof name, "%.1900s:%s", file, path);
  const struct store_product *known = store_product_find(product);
  return store_open(r->comm, name, NULL, known && known->rank == 2 ? 3 : 0, input);
}

bool report_shape(const struct report *r, const char *file, const char *product,
                  struct store_info *info) {
  struct store_input *input;
  if (open_product(r, file, product, &input) != STATUS_OK) {
    status_clear();
    return false;
  }
  *info = *store_info(input);
  store_close(&input);
  return true;
}

/* The axes of a box that are longer than one: rows and columns of the picture. */
static void axes_of(const int64_t *n, int rank, int *rows, int *columns) {
  *columns = rank - 1;
  for (*rows = 0; *rows < rank - 2 && n[*rows] == 1;) ++*rows;
  if (n[*columns] == 1 && *rows < *columns)
    for (int a = rank - 1; a > *rows; a--)
      if (n[a] > 1) {
        *columns = a;
        break;
      }
}

/* Means over k x k pixels of what is finite; labels: the middle one. */
static float thin(const float *value, int64_t ny, int64_t nx, int64_t y, int64_t x, int64_t k,
                  bool mean) {
  int64_t y1 = (y + 1) * k < ny ? (y + 1) * k : ny, x1 = (x + 1) * k < nx ? (x + 1) * k : nx;
  if (!mean) return value[(y * k + y1) / 2 * nx + (x * k + x1) / 2];
  double sum = 0;
  int64_t n  = 0;
  for (int64_t i = y * k; i < y1; i++)
    for (int64_t j = x * k; j < x1; j++)
      if (isfinite(value[i * nx + j])) sum += (double)value[i * nx + j], n++;
  return n ? (float)(sum / (double)n) : NAN;
}

static enum status thin_out(const float *whole, int64_t ny, int64_t nx, int64_t most, bool flip,
                            bool mean, struct report_image *image) {
  int64_t longest = ny > nx ? ny : nx, k = (longest + most - 1) / most;
  image->ny = (ny + k - 1) / k;
  image->nx = (nx + k - 1) / k;
  image->um_y *= (double)k;
  image->um_x *= (double)k;
  TRY(memory_make_raw(image->ny * image->nx, sizeof *image->value, "a picture", &image->value));
  for (int64_t y = 0; y < image->ny; y++)
    for (int64_t x = 0; x < image->nx; x++)
      image->value[(flip ? image->ny - 1 - y : y) * image->nx + x] =
          thin(whole, ny, nx, y, x, k, mean);
  return STATUS_OK;
}

enum status report_image_thin(const float *value, int64_t ny, int64_t nx, int64_t most, bool flip,
                              struct report_image *image) {
  return thin_out(value, ny, nx, most, flip, true, image);
}

static enum status check_box(const struct store_info *info, const int64_t *start,
                             const int64_t *n) {
  for (int a = 0; a < info->rank; a++)
    if (start[a] < 0 || n[a] < 1 || start[a] + n[a] > info->n[a])
      return FAIL(STATUS_INPUT, "%s:%s has %lld along axis %d, too few for %lld..%lld", info->file,
                  info->dataset, (long long)info->n[a], a, (long long)start[a],
                  (long long)(start[a] + n[a]));
  return STATUS_OK;
}

static enum status read_image(const struct report *r, struct store_input *input,
                              const int64_t *start, const int64_t *n, int64_t most, bool flip,
                              struct report_image *image) {
  const struct store_info *info = store_info(input);
  int64_t mine[STORE_RANK_MAX] = {0}, voxels = 1;
  float *whole = NULL;
  int rows, columns;
  TRY_ALL(r->comm, check_box(info, start, n));
  for (int a = 0; a < info->rank; a++) voxels *= n[a];
  if (r->speaks) memcpy(mine, n, (size_t)info->rank * sizeof *mine);
  TRY_ALL(r->comm, memory_make_raw(r->speaks ? voxels : 1, sizeof *whole, "a slice", &whole));
  enum status status = store_read_box(r->comm, input, start, mine, GRID_F32, false, whole);
  if (status == STATUS_OK && r->speaks) {
    axes_of(n, info->rank, &rows, &columns);
    int shift   = info->rank - 3; /* voxel sizes are those of the last three axes */
    image->um_y = rows - shift >= 0 && rows - shift < 3 ? info->voxel_um[rows - shift] : 0;
    image->um_x = columns - shift < 3 ? info->voxel_um[columns - shift] : 0;
    status      = thin_out(whole, n[rows], n[columns], most, flip,
                           info->type == GRID_F32 || info->type == GRID_F64, image);
  }
  memory_free(whole);
  return AGREE(r->comm, status);
}

void report_image_read(const struct report *r, const char *file, const char *product,
                       const int64_t *start, const int64_t *n, int64_t most, bool flip,
                       struct report_image *image) {
  struct store_input *input;
  memset(image, 0, sizeof *image);
  enum status status = open_product(r, file, product, &input);
  if (status == STATUS_OK) {
    status = read_image(r, input, start, n, most, flip, image);
    store_close(&input);
  }
  if (status == STATUS_OK) return;
  report_image_free(image);
  if (status != STATUS_INPUT)
    log_warning("no picture of %s in %s: %s", product, file, status_text());
  status_clear();
}

/* ---- panels ------------------------------------------------------------------------------------------------------- */

/* A picture with its title above and its scale bar below; a tall one is made narrower. */
enum status report_rgb_panel(struct report_panel *panel, const uint8_t *rgb, int64_t ny, int64_t nx,
                             double um_y, double um_x, int across, const char *title,
                             const char *id) {
  double most   = across >= 4 ? 212 : 340;
  bool known    = um_x > 0 && um_y > 0;
  double aspect = (known ? um_y / um_x : 1) * (double)ny / (double)nx, wide = most,
         high = most * aspect;
  if (high > 1.1 * most) wide *= 1.1 * most / high, high = 1.1 * most;
  memset(panel, 0, sizeof *panel);
  snprintf(panel->id, sizeof panel->id, "%s", id);
  TRY(picture_drawing_begin(&panel->drawing, most, high + 22 + (known ? 22 : 4)));
  picture_text(&panel->drawing, 0, 14, "t", 13, PICTURE_LEFT, false, title);
  TRY(picture_image(&panel->drawing, 0, 20, wide, high, rgb, ny, nx));
  if (known)
    picture_scale_bar(&panel->drawing, 2, high + 31, 0.4 * wide, wide / (um_x * (double)nx));
  return picture_drawing_end(&panel->drawing);
}

enum status report_image_panel(struct report_panel *panel, const struct report_image *image,
                               double low, double high, enum picture_map map, int across,
                               const char *title, const char *id, uint8_t **rgb) {
  TRY(memory_make_raw(3 * image->ny * image->nx, 1, "a picture", rgb));
  picture_colours(image->value, image->ny, image->nx, low, high, map, *rgb);
  return report_rgb_panel(panel, *rgb, image->ny, image->nx, image->um_y, image->um_x, across,
                          title, id);
}

enum status report_bar_panel(struct report_panel *panel, enum picture_map map, double low,
                             double high, int across, const char *label) {
  memset(panel, 0, sizeof *panel);
  TRY(picture_drawing_begin(&panel->drawing, across >= 4 ? 212 : 340, 70));
  TRY(picture_colour_bar(&panel->drawing, 20, 20, across >= 4 ? 172 : 300, map, low, high, label));
  return picture_drawing_end(&panel->drawing);
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Greys range to 2.5 times the 80 % quantile at most: a steel can would leave the cell inside it black. */
static enum status range_of(const struct report_image *image, enum picture_map map, double *low,
                            double *high) {
  float *sorted;
  int64_t n = 0;
  TRY(picture_range(image->value, image->ny * image->nx, low, high));
  if (map != PICTURE_GREY) return STATUS_OK;
  TRY(memory_make_raw(image->ny * image->nx, sizeof *sorted, "a picture's values", &sorted));
  for (int64_t i = 0; i < image->ny * image->nx; i++)
    if (isfinite(image->value[i])) sorted[n++] = image->value[i];
  qsort(sorted, (size_t)n, sizeof *sorted, ascending);
  if (n) *high = fmin(*high, *low + 2.5 * ((double)sorted[4 * (n - 1) / 5] - *low));
  if (!(*high > *low)) *high = *low + 1;
  memory_free(sorted);
  return STATUS_OK;
}

void report_image_figure(struct report *r, const char *name, const char *title, const char *caption,
                         const char *label, const struct report_image *image, enum picture_map map,
                         int across) {
  struct report_panel *panel;
  double low = INFINITY, high = -INFINITY;
  char said[2400];
  size_t used = (size_t)snprintf(said, sizeof said, "%s", caption);
  int shown   = 0;
  if (r->status != STATUS_OK) return;
  report_keep(r, memory_make(r->states + 1, sizeof *panel, "panels", &panel));
  if (r->status != STATUS_OK) return;
  for (int i = 0; i < r->states; i++) {
    double a, b;
    if (!image[i].value) continue;
    report_keep(r, range_of(&image[i], map, &a, &b));
    low = fmin(low, a), high = fmax(high, b);
  }
  for (int i = 0; i < r->states; i++) {
    char words[80], text[120], id[96], file[160];
    uint8_t *rgb = NULL;
    report_state_words(r->state[i].name, words, sizeof words);
    if (!image[i].value) {
      if (used + 120 < sizeof said)
        used += (size_t)snprintf(said + used, sizeof said - used, "%s%s",
                                 strstr(said, " Not there: ") ? ", " : " Not there: ", words);
      continue;
    }
    snprintf(text, sizeof text, "%s%s%s", report_roman(r->state[i].stage),
             r->state[i].stage ? "  " : "", words);
    snprintf(id, sizeof id, "%s-%s", name, r->state[i].name);
    report_keep(
        r, report_image_panel(&panel[shown++], &image[i], low, high, map, across, text, id, &rgb));
    snprintf(file, sizeof file, "%s_%s", name, r->state[i].name);
    if (r->status == STATUS_OK) report_png(r, file, rgb, image[i].ny, image[i].nx);
    memory_free(rgb);
  }
  if (used && strstr(said, " Not there: ")) snprintf(said + used, sizeof said - used, ".");
  if (shown) {
    report_keep(r, report_bar_panel(&panel[shown], map, low, high, across, label));
    report_figure_add(
        r, &(struct report_figure){name, title, said, panel, shown + 1, across, NULL, 0});
  } else
    report_figure_missing(r, title, "no state has it");
  memory_free(panel);
}
