/* Plots: a frame with round ticks, curves, marks with error bars, windows and a key. */
#include "picture_draw.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TICKS_MOST = 24 };

void picture_range_add(double range[2], const double *value, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(value[i])) continue;
    range[0] = fmin(range[0], value[i]);
    range[1] = fmax(range[1], value[i]);
  }
}

void picture_range_widen(double range[2]) {
  if (!(range[1] >= range[0])) range[0] = 0, range[1] = 1;
  double room = 0.05 * (range[1] - range[0]);
  if (!(room > 0)) room = range[0] != 0 ? 0.05 * fabs(range[0]) : 0.5;
  range[0] -= room;
  range[1] += room;
}

static double place_x(const struct picture_plot *p, double x) {
  if (p->log_x) return p->left + p->wide * log(x / p->x[0]) / log(p->x[1] / p->x[0]);
  return p->left + p->wide * (x - p->x[0]) / (p->x[1] - p->x[0]);
}
static double place_y(const struct picture_plot *p, double y) {
  return p->top + p->high * (p->y[1] - y) / (p->y[1] - p->y[0]);
}

/* Round ticks within a range, about `wanted` of them; *places after the point. */
static int ticks(const double range[2], int wanted, double *tick, int *places) {
  double rough = (range[1] - range[0]) / wanted, power = pow(10, floor(log10(rough))),
         lead = rough / power,
         step = power * (lead <= 1   ? 1
                         : lead <= 2 ? 2
                         : lead <= 5 ? 5
                                     : 10);
  int n       = 0;
  *places     = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
  for (double k = ceil(range[0] / step - 1e-9);
       k * step <= range[1] + 1e-9 * step && n < TICKS_MOST; k++)
    tick[n++] = k * step;
  return n;
}

/* With a true minus sign; numbers over 99999 and below 1e-4 as powers. */
static void tick_text(double value, int places, double largest, char *text, size_t bytes) {
  char number[40];
  if (fabs(value) < 1e-12 * largest) value = 0;
  if (largest >= 1e5 || largest < 1e-3)
    snprintf(number, sizeof number, "%.3g", value);
  else
    snprintf(number, sizeof number, "%.*f", places, value);
  size_t used = 0;
  for (const char *c = number; *c && used + 4 < bytes; c++) {
    if (*c == '-')
      used += (size_t)snprintf(text + used, bytes - used, "\xe2\x88\x92");
    else
      text[used++] = *c;
  }
  text[used] = 0;
}

static void ticks_x(struct picture_plot *p, double below) {
  double tick[TICKS_MOST], largest = fmax(fabs(p->x[0]), fabs(p->x[1]));
  int places, n                    = ticks(p->x, p->wide < 200 ? 4 : 5, tick, &places);
  for (int i = 0; i < n && !p->no_x; i++) {
    char text[48];
    double x = place_x(p, tick[i]);
    tick_text(tick[i], places, largest, text, sizeof text);
    if (p->high > 20) picture_line(p->drawing, x, p->top, x, below, "g");
    picture_line(p->drawing, x, below, x, below + 4, "f");
    picture_text(p->drawing, x, below + 17, "t", 12, PICTURE_MIDDLE, false, text);
  }
}

static void ticks_y(struct picture_plot *p) {
  double tick[TICKS_MOST], largest = fmax(fabs(p->y[0]), fabs(p->y[1]));
  int places, n                    = ticks(p->y, 5, tick, &places);
  for (int i = 0; i < n; i++) {
    char text[48];
    double y = place_y(p, tick[i]);
    tick_text(tick[i], places, largest, text, sizeof text);
    picture_line(p->drawing, p->left, y, p->left + p->wide, y, "g");
    picture_line(p->drawing, p->left - 4, y, p->left, y, "f");
    picture_text(p->drawing, p->left - 7, y + 4, "t", 12, PICTURE_RIGHT, false, text);
  }
}

static void decades_x(struct picture_plot *p, double below) {
  for (int k = (int)ceil(log10(p->x[0]) - 1e-9); k <= (int)floor(log10(p->x[1]) + 1e-9); k++) {
    char text[32];
    double x = place_x(p, pow(10, k));
    snprintf(text, sizeof text, k >= 0 && k < 4 ? "%.0f" : "1e%+.0f",
             k >= 0 && k < 4 ? pow(10, k) : k);
    picture_line(p->drawing, x, p->top, x, below + 4, "g");
    picture_text(p->drawing, x, below + 17, "t", 12, PICTURE_MIDDLE, false, text);
  }
}

/* Stretches the range that has the larger pixels per unit. */
static void make_equal(struct picture_plot *p) {
  double per_x = p->wide / (p->x[1] - p->x[0]), per_y = p->high / (p->y[1] - p->y[0]);
  double *range = per_x > per_y ? p->x : p->y, px = per_x > per_y ? p->wide : p->high,
         middle = (range[0] + range[1]) / 2, half = px / fmin(per_x, per_y) / 2;
  range[0] = middle - half;
  range[1] = middle + half;
}

void picture_plot_begin(struct picture_plot *p, const char *title, const char *x_label,
                        const char *y_label) {
  struct picture_drawing *d = p->drawing;
  double below              = p->top + p->high;
  if (p->equal) make_equal(p);
  p->name = title;
  if (p->log_x)
    decades_x(p, below);
  else
    ticks_x(p, below);
  if (y_label) ticks_y(p);
  fprintf(d->to,
          "<rect class=\"f\" stroke=\"#1b1f24\" fill=\"none\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
          "height=\"%.1f\"/>\n",
          p->left, p->top, p->wide, p->high);
  if (title && *title) picture_text(d, p->left, p->top - 8, "t", 13, PICTURE_LEFT, false, title);
  if (x_label && *x_label)
    picture_text(d, p->left + p->wide / 2, below + 34, "t", 12, PICTURE_MIDDLE, false, x_label);
  if (y_label && *y_label)
    picture_text(d, 13, p->top + p->high / 2, "t", 12, PICTURE_MIDDLE, true, y_label);
}

void picture_plot_window(struct picture_plot *p, double from, double to, int which) {
  double x0 = place_x(p, fmax(from, p->x[0])), x1 = place_x(p, fmin(to, p->x[1]));
  static const char *const paint[2] = {"fill=\"#f6d55c\" fill-opacity=\"0.30\"",
                                       "fill=\"#3caea3\" fill-opacity=\"0.22\""};
  if (!(x1 > x0)) return;
  fprintf(p->drawing->to,
          "<rect class=\"w%d\" %s x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", which,
          paint[which], x0, p->top, x1 - x0, p->high);
}

static bool is_shown(const struct picture_plot *p, double x, double y) {
  double slack_x = 1e-9 * fabs(p->x[1] - p->x[0]), slack_y = 1e-9 * fabs(p->y[1] - p->y[0]);
  return isfinite(x) && isfinite(y) && x >= p->x[0] - slack_x && x <= p->x[1] + slack_x &&
         y >= p->y[0] - slack_y && y <= p->y[1] + slack_y && (!p->log_x || x > 0);
}

static void csv_field(FILE *to, const char *text) {
  fputc('"', to);
  for (const char *c = text; *c; c++) {
    if (*c == '"') fputc('"', to);
    fputc((unsigned char)*c < 0x20 ? ' ' : *c, to);
  }
  fputs("\",", to);
}

static void csv_row(struct picture_plot *p, const char *name, double x, double y, double error) {
  if (!p->csv) return;
  csv_field(p->csv, p->name ? p->name : "");
  csv_field(p->csv, name);
  fprintf(p->csv, "%.9g,%.9g,", x, y);
  if (isfinite(error)) fprintf(p->csv, "%.4g", error);
  fputc('\n', p->csv);
}

void picture_plot_curve(struct picture_plot *p, int series, bool dashed, const char *name,
                        const double *x, const double *y, int64_t n) {
  int k     = series % PICTURE_SERIES;
  bool down = false; /* the pen */
  fprintf(p->drawing->to,
          "<path class=\"s%d\" stroke=\"%s\" stroke-width=\"1.6\" fill=\"none\" "
          "stroke-linejoin=\"round\"%s d=\"M",
          k, picture_series_colour(k), dashed ? " stroke-dasharray=\"5 4\"" : "");
  bool any = false;
  for (int64_t i = 0; i < n; i++) {
    bool shown = is_shown(p, x[i], y[i]);
    if (shown) {
      fprintf(p->drawing->to, "%s%.1f %.1f",
              down  ? "L"
              : any ? "M"
                    : "",
              place_x(p, x[i]), place_y(p, y[i]));
      any = true;
    }
    down = shown;
    csv_row(p, name, x[i], y[i], (double)NAN);
  }
  fprintf(p->drawing->to, "%s\"/>\n", any ? "" : "0 0");
}

void picture_plot_marks(struct picture_plot *p, int series, const char *name, const double *x,
                        const double *y, const double *error, int64_t n) {
  int k = series % PICTURE_SERIES;
  for (int64_t i = 0; i < n; i++) {
    double e = error ? error[i] : (double)NAN;
    csv_row(p, name, x[i], y[i], e);
    if (!is_shown(p, x[i], y[i])) continue;
    double px = place_x(p, x[i]), py = place_y(p, y[i]);
    if (isfinite(e) && e > 0) {
      double high = place_y(p, fmin(y[i] + e, p->y[1])), low = place_y(p, fmax(y[i] - e, p->y[0]));
      fprintf(p->drawing->to,
              "<path class=\"s%d\" stroke=\"%s\" stroke-width=\"1.3\" fill=\"none\" "
              "d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\"/>\n",
              k, picture_series_colour(k), px, low, high, px - 4, low, px - 4, high);
    }
    picture_mark(p->drawing, px, py, series);
  }
}

void picture_plot_word(struct picture_plot *p, double x, const char *word) {
  picture_text(p->drawing, place_x(p, x) + 4, p->top + p->high + 8, "t", 11, PICTURE_RIGHT, true,
               word);
}

/* A rough width of text in px: most letters of sans-serif faces are 0.55 of the size wide. */
static double width_of(const char *text, double size_px) {
  double letters = 0;
  for (const char *c = text; *c; c++) letters += (*c & 0xc0) != 0x80;
  return 0.56 * size_px * letters;
}

double picture_plot_key(struct picture_plot *p, double y, const char *const *name,
                        const int *series, int n, bool curves) {
  double x = p->left;
  for (int i = 0; i < n; i++) {
    double wide = 26 + width_of(name[i], 12) + 12;
    int k       = series[i] % PICTURE_SERIES;
    if (i && x + wide > p->drawing->wide) x = p->left, y += 18;
    if (curves)
      fprintf(p->drawing->to,
              "<path class=\"s%d\" stroke=\"%s\" stroke-width=\"2.5\" fill=\"none\" d=\"M%.1f "
              "%.1fh18\"/>\n",
              k, picture_series_colour(k), x, y - 4);
    else
      picture_mark(p->drawing, x + 9, y - 4, k);
    picture_text(p->drawing, x + 23, y, "t", 12, PICTURE_LEFT, false, name[i]);
    x += wide;
  }
  return n ? y + 18 : y;
}
