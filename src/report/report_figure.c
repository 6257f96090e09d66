/* A figure goes into the page and, as files of its own, beside it. */
#include "report_private.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void report_keep(struct report *r, enum status status) {
  if (r->status != STATUS_OK || status == STATUS_OK) return;
  r->status = status;
  snprintf(r->why, sizeof r->why, "%.500s", status_text());
}

FILE *report_csv(char **bytes, size_t *n) {
  FILE *to = open_memstream(bytes, n);
  if (to) fputs(PICTURE_PLOT_CSV, to);
  return to;
}

static void side_path(const struct report *r, const char *name, char *path, size_t bytes) {
  snprintf(path, bytes, "%.1800s/figures/%.120s", r->folder, name);
}

void report_side_file(struct report *r, const char *name, const char *bytes, size_t n) {
  char path[STORE_NAME_BYTES];
  side_path(r, name, path, sizeof path);
  if (r->status == STATUS_OK) report_keep(r, store_text_write(path, bytes, (int64_t)n));
}

void report_png(struct report *r, const char *name, const uint8_t *rgb, int64_t ny, int64_t nx) {
  char *bytes, file[160];
  size_t n;
  if (r->status != STATUS_OK) return;
  enum status status = picture_png_bytes(rgb, ny, nx, &bytes, &n);
  report_keep(r, status);
  if (status != STATUS_OK) return;
  snprintf(file, sizeof file, "%.140s.png", name);
  report_side_file(r, file, bytes, n);
  free(bytes);
}

/* The panels in rows of `across`, each in its own place of one drawing. */
static enum status compose(const struct report_figure *f, struct picture_drawing *whole) {
  double wide = 0, high = 0;
  int across = f->across > 0 ? f->across : 1, rows = (f->panels + across - 1) / across;
  if (across > f->panels) across = f->panels;
  for (int i = 0; i < f->panels; i++) {
    wide = fmax(wide, f->panel[i].drawing.wide);
    high = fmax(high, f->panel[i].drawing.high);
  }
  TRY(picture_drawing_begin(whole, wide * across, high * rows));
  for (int i = 0; i < f->panels; i++) {
    const struct picture_drawing *d = &f->panel[i].drawing;
    fprintf(
        whole->to,
        "<svg x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n",
        wide * (i % across), high * (i / across), d->wide, d->high, d->wide, d->high);
    fwrite(d->bytes, 1, d->n, whole->to);
    fputs("</svg>\n", whole->to);
  }
  return picture_drawing_end(whole);
}

enum { PNG_PIXELS = 2 }; /* per px of a drawing: twice what a screen shows, as prints need */

/* Is there a PNG? Where none can be made the SVG stands, and the log says why. */
static bool write_png(struct report *r, const struct report_figure *f,
                      const struct picture_drawing *whole, const char *svg, size_t n) {
  char *bytes = NULL, name[160];
  size_t count;
  if (!picture_can_rasterise()) return false;
  if (picture_svg_png(svg, n, whole->wide, whole->high, PNG_PIXELS, &bytes, &count) != STATUS_OK) {
    log_warning("no PNG of figure %s: %s", f->name, status_text());
    status_clear();
    return false;
  }
  snprintf(name, sizeof name, "%.140s.png", f->name);
  report_side_file(r, name, bytes, count);
  free(bytes);
  return true;
}

static enum status write_svg(struct report *r, const struct report_figure *f, bool *has_png) {
  struct picture_drawing whole;
  char *bytes = NULL, name[160];
  size_t n    = 0;
  memset(&whole, 0, sizeof whole);
  enum status status = compose(f, &whole);
  FILE *to           = status == STATUS_OK ? open_memstream(&bytes, &n) : NULL;
  if (status == STATUS_OK && !to) status = FAIL(STATUS_MEMORY, "no memory for a figure");
  if (to) {
    picture_drawing_document(&whole, f->title, to);
    fclose(to);
    snprintf(name, sizeof name, "%.140s.svg", f->name);
    report_side_file(r, name, bytes, n);
    *has_png = write_png(r, f, &whole, bytes, n);
  }
  free(bytes);
  picture_drawing_free(&whole);
  return status;
}

static void put_panel(struct report *r, const struct report_figure *f,
                      const struct report_panel *panel) {
  const struct picture_drawing *d = &panel->drawing;
  report_raw(r, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", d->wide, d->high);
  report_text(r, f->title);
  report_raw(r, "\">");
  if (panel->id[0]) {
    report_raw(r, "<g id=\"");
    report_text(r, panel->id);
    report_raw(r, "\">");
    if (r->thumbs < REPORT_THUMBS_MOST) {
      struct report_thumb *thumb = &r->thumb[r->thumbs++];
      snprintf(thumb->id, sizeof thumb->id, "%s", panel->id);
      thumb->wide = d->wide;
      thumb->high = d->high;
    }
  }
  fwrite(d->bytes, 1, d->n, r->html);
  report_raw(r, "%s</svg>\n", panel->id[0] ? "</g>" : "");
}

static void free_figure(struct report_figure *f) {
  for (int i = 0; i < f->panels; i++) picture_drawing_free(&f->panel[i].drawing);
  free(f->csv);
}

void report_figure_add(struct report *r, struct report_figure *f) {
  char name[160];
  bool has_png = false;
  r->figures++;
  report_keep(r, write_svg(r, f, &has_png));
  if (f->csv) {
    snprintf(name, sizeof name, "%.140s.csv", f->name);
    report_side_file(r, name, f->csv, f->csv_bytes);
  }
  report_raw(r, "<figure id=\"fig-%s\">\n<div class=\"panels p%d\">\n", f->name,
             f->across >= 4  ? 5
             : f->across > 0 ? f->across
                             : 1);
  for (int i = 0; i < f->panels; i++) put_panel(r, f, &f->panel[i]);
  report_raw(r, "</div>\n<figcaption><b>Figure %d. ", r->figures);
  report_text(r, f->title);
  report_raw(r, ".</b> ");
  report_text(r, f->caption);
  report_raw(r, " <a href=\"figures/%s.svg\">SVG</a>", f->name);
  if (has_png) report_raw(r, " <a href=\"figures/%s.png\">PNG</a>", f->name);
  if (f->csv) report_raw(r, " <a href=\"figures/%s.csv\">CSV</a>", f->name);
  report_raw(r, "</figcaption>\n</figure>\n");
  free_figure(f);
}

void report_figure_missing(struct report *r, const char *title, const char *why) {
  report_raw(r, "<p class=\"missing\"><b>");
  report_text(r, title);
  report_raw(r, "</b>: ");
  report_text(r, why);
  report_raw(r, "</p>\n");
}
