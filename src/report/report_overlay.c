/* How the tomogram lies on the Compton grid: maps of electron density in which a line shows the edge of the cell as the
 * labels have it, through the registration and the pinhole. The line is where the share of cell in a pixel's view,
 * bilinear between the middles of pixels, crosses one half. */
#include "report_private.h"
#include <math.h>
#include <string.h>

enum { SIDE_LEAST = 480, PARTS_MOST = 12 };
static const double side_most = 2048; /* of a map in a file that is not ours */

struct overlay {
  int state; /* the first with both; -1: none */
  int64_t ny, nx;
  double step_um;
  float *density, *cover; /* [ny][nx] */
};

static void overlay_free(struct overlay *o) {
  memory_free(o->density);
  memory_free(o->cover);
  memset(o, 0, sizeof *o);
}

static bool is_place(double value, int64_t n) { return value >= 0 && value < (double)n; }

static int first_state(const struct report_table *t) {
  for (int64_t k = 0; k < t->rows; k++)
    if (t->column[4][k] > 0.5 && isfinite(t->column[5][k]) &&
        is_place(t->column[0][k], REPORT_STATES_MOST))
      return (int)t->column[0][k];
  return -1;
}

static double at_most(double place) { return isnan(place) ? -1 : fmin(place, side_most); }

/* Columns: state, row, column, x_mm, cover, density. */
static enum status overlay_make(const struct report_table *t, struct overlay *o) {
  memset(o, 0, sizeof *o);
  o->state = first_state(t);
  for (int64_t k = 0; k < t->rows; k++) {
    o->ny = (int64_t)fmax((double)o->ny, at_most(t->column[1][k]) + 1);
    o->nx = (int64_t)fmax((double)o->nx, at_most(t->column[2][k]) + 1);
    if (k && o->step_um == 0 && t->column[2][k] == t->column[2][k - 1] + 1)
      o->step_um = 1000 * fabs(t->column[3][k] - t->column[3][k - 1]);
  }
  if (o->state < 0 || o->ny < 2 || o->nx < 2) return STATUS_OK;
  TRY(memory_make(o->ny * o->nx, sizeof *o->density, "a map", &o->density));
  TRY(memory_make(o->ny * o->nx, sizeof *o->cover, "a map", &o->cover));
  for (int64_t i = 0; i < o->ny * o->nx; i++) o->density[i] = NAN;
  for (int64_t k = 0; k < t->rows; k++) {
    double y = t->column[1][k], x = t->column[2][k];
    if (t->column[0][k] != o->state || !is_place(y, o->ny) || !is_place(x, o->nx)) continue;
    int64_t at     = (int64_t)y * o->nx + (int64_t)x;
    o->density[at] = (float)t->column[5][k];
    o->cover[at]   = isfinite(t->column[4][k]) ? (float)t->column[4][k] : 0;
  }
  return STATUS_OK;
}

static double between(const struct overlay *o, double y, double x) {
  double cy = fmin(fmax(y, 0), (double)o->ny - 1.001), cx = fmin(fmax(x, 0), (double)o->nx - 1.001);
  int64_t iy = (int64_t)cy, ix = (int64_t)cx;
  const float *at = o->cover + iy * o->nx + ix;
  double fy = cy - (double)iy, fx = cx - (double)ix;
  return (1 - fy) * ((1 - fx) * (double)at[0] + fx * (double)at[1]) +
         fy * ((1 - fx) * (double)at[o->nx] + fx * (double)at[o->nx + 1]);
}

/* White, with black on both sides: seen on light and on dark colours. */
static void draw_line(const struct overlay *o, int64_t parts, uint8_t *rgb) {
  int64_t ny = o->ny * parts, nx = o->nx * parts;
  for (int white = 0; white < 2; white++)
    for (int64_t y = 0; y < ny; y++)
      for (int64_t x = 0; x < nx; x++) {
        double reach = white ? 0.5 : 1.5, step = 1 / (double)parts, low = 1, high = 0;
        for (int k = 0; k < 4; k++) {
          double v = between(o, ((double)y + 0.5 + (k / 2 ? reach : -reach)) * step - 0.5,
                             ((double)x + 0.5 + (k % 2 ? reach : -reach)) * step - 0.5);
          low = fmin(low, v), high = fmax(high, v);
        }
        if (low < 0.5 && high >= 0.5) memset(rgb + 3 * (y * nx + x), white ? 255 : 0, 3);
      }
}

static enum status draw(struct report *r, const struct overlay *o, int region,
                        struct report_panel *panel) {
  char words[80], title[120], name[64];
  double low, high;
  uint8_t *small = NULL, *rgb = NULL;
  int64_t parts = (SIDE_LEAST + o->nx - 1) / o->nx, ny, nx;
  if (parts > PARTS_MOST) parts = PARTS_MOST;
  ny = o->ny * parts, nx = o->nx * parts;
  TRY(picture_range(o->density, o->ny * o->nx, &low, &high));
  enum status status = memory_make_raw(3 * o->ny * o->nx, 1, "a picture", &small);
  if (status == STATUS_OK) status = memory_make_raw(3 * ny * nx, 1, "a picture", &rgb);
  if (status == STATUS_OK) {
    picture_colours(o->density, o->ny, o->nx, low, high, PICTURE_COLOUR, small);
    for (int64_t y = 0; y < ny; y++)
      for (int64_t x = 0; x < nx; x++)
        memcpy(rgb + 3 * (y * nx + x), small + 3 * (y / parts * o->nx + x / parts), 3);
    draw_line(o, parts, rgb);
    report_state_words(r->state[o->state].name, words, sizeof words);
    snprintf(title, sizeof title, "Region %d, %s", region, words);
    snprintf(name, sizeof name, "registration_region%d", region);
    report_png(r, name, rgb, ny, nx);
    status = report_rgb_panel(panel, rgb, ny, nx, o->step_um / (double)parts,
                              o->step_um / (double)parts, 3, title, "");
  }
  memory_free(small);
  memory_free(rgb);
  return status;
}

enum status report_overlay(struct report *r, const char *file) {
  struct report_panel panel[3];
  int shown = 0;
  for (int region = 1; region <= 3; region++) {
    char density[32];
    snprintf(density, sizeof density, "density_region%d", region);
    const char *const column[] = {"state", "row", "column", "x_mm", "cover", density};
    struct report_table t;
    struct overlay o;
    if (!report_table_read(r, file, "pixels", column, 6, &t)) continue;
    if (r->speaks) {
      report_keep(r, overlay_make(&t, &o));
      if (o.cover && r->status == STATUS_OK && o.state < r->states)
        report_keep(r, draw(r, &o, region, &panel[shown++]));
      overlay_free(&o);
    }
    report_table_free(&t);
  }
  if (r->speaks && shown && r->status == STATUS_OK)
    report_figure_add(
        r, &(struct report_figure){"registration", "The tomogram on the Compton grid",
                                   "Electron density of the regions as the Compton camera saw it; "
                                   "the line is the edge of the cell in the labels, through the "
                                   "registration and the pinhole.",
                                   panel, shown, 3, NULL, 0});
  return STATUS_OK;
}
