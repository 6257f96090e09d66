/* Drawings in SVG. Every element carries its colours for white paper as attributes, which any program reads, and a
 * class by which the style sheet of a page around it can choose others (dark mode):
 *   f frame and marks   g grid   t text   q quiet text   s0..s7 a series (stroke)   m0..m7 its marks (fill)
 *   w0 w1 windows (fill)   p paper
 * Text from outside is escaped here. All local. */
#pragma once
#include "picture.h"

enum { PICTURE_SERIES = 8 };
struct picture_drawing {
  FILE *to;
  char *bytes; /* the elements, once ended; the caller free()s them */
  size_t n;
  double wide, high;
};
enum status picture_drawing_begin(struct picture_drawing *drawing, double wide, double high);
enum status picture_drawing_end(struct picture_drawing *drawing);
void picture_drawing_free(struct picture_drawing *drawing);
/* A whole SVG file around the elements of an ended drawing. */
void picture_drawing_document(const struct picture_drawing *drawing, const char *title, FILE *to);

/* A PNG of such a file of wide x high px in `scale` pixels each, where librsvg is installed (picture_can_rasterise);
 * the caller free()s *png. */
bool picture_can_rasterise(void);
enum status picture_svg_png(const char *svg, size_t n, double wide, double high, double scale,
                            char **png, size_t *bytes);

/* Text as XML and HTML take it: < > & " ' escaped, what is no UTF-8 or a control character becomes '?'. */
void picture_escape(FILE *to, const char *text);
/* "#rrggbb" of a series. Okabe and Ito's colours (2008), told apart by the colour-blind; black first. */
const char *picture_series_colour(int series);

enum picture_anchor { PICTURE_LEFT, PICTURE_MIDDLE, PICTURE_RIGHT };
/* `class` "t", "q"; size in px; turned by 90 degrees counter-clockwise when `up`. */
void picture_text(struct picture_drawing *drawing, double x, double y, const char *class,
                  double size_px, enum picture_anchor anchor, bool up, const char *text);
void picture_line(struct picture_drawing *drawing, double x0, double y0, double x1, double y1,
                  const char *class);
/* Mark of a series: one of eight shapes. */
void picture_mark(struct picture_drawing *drawing, double x, double y, int series);
/* rgb[ny][nx] in a frame; NaN-free. Pixels are kept sharp where they are larger than a screen's. */
enum status picture_image(struct picture_drawing *drawing, double x, double y, double wide,
                          double high, const uint8_t *rgb, int64_t ny, int64_t nx);
/* A bar of a round length, at most `most_px` long, with its length under it. */
void picture_scale_bar(struct picture_drawing *drawing, double x, double y, double most_px,
                       double px_per_um);
/* A horizontal bar of colours with round ticks under it and a label. */
enum status picture_colour_bar(struct picture_drawing *drawing, double x, double y, double wide,
                               enum picture_map map, double low, double high, const char *label);

/* ---- plots ------------------------------------------------------------------------------------------------ */

#define PICTURE_PLOT_CSV "panel,series,x,y,error\n"
struct picture_plot {
  struct picture_drawing *drawing;
  FILE *csv;        /* NULL, or where rows of PICTURE_PLOT_CSV of all that is drawn go */
  const char *name; /* in the CSV; picture_plot_begin takes the title (borrows) */
  double left, top, wide, high; /* of the frame, in px */
  double x[2], y[2];            /* the range shown */
  bool log_x, no_x, equal;      /* no_x: no numbers along x; equal: the same scale on both axes */
};
/* A range that takes in values; begin with {INFINITY, -INFINITY}. */
void picture_range_add(double range[2], const double *value, int64_t n);
/* Room of 5 % on both sides; never empty. */
void picture_range_widen(double range[2]);
/* Frame, round ticks, grid, labels. With `equal` the wider of both ranges is kept in scale. */
void picture_plot_begin(struct picture_plot *plot, const char *title, const char *x_label,
                        const char *y_label);
/* A filled window between two x (class w0 or w1), drawn before the curves. */
void picture_plot_window(struct picture_plot *plot, double from, double to, int which);
void picture_plot_curve(struct picture_plot *plot, int series, bool dashed, const char *name,
                        const double *x, const double *y, int64_t n);
/* Marks with error bars where error is not NULL and finite. */
void picture_plot_marks(struct picture_plot *plot, int series, const char *name, const double *x,
                        const double *y, const double *error, int64_t n);
/* A word at a place on the x axis, turned upwards (for states). */
void picture_plot_word(struct picture_plot *plot, double x, const char *word);
/* What the series are, in rows beginning at y. Gives the y below them. */
double picture_plot_key(struct picture_plot *plot, double y, const char *const *name,
                        const int *series, int n, bool curves);
