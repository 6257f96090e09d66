/* SVG elements: text, lines, marks, images as data URIs, bars of scale and colour. */
#include "picture_draw.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const series_colour[PICTURE_SERIES] = {
    "#1b1f24", "#e69f00", "#0072b2", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#7a5c00"};

const char *picture_series_colour(int series) { return series_colour[series % PICTURE_SERIES]; }

enum status picture_drawing_begin(struct picture_drawing *d, double wide, double high) {
  *d    = (struct picture_drawing){.wide = wide, .high = high};
  d->to = open_memstream(&d->bytes, &d->n);
  return d->to ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a drawing");
}

enum status picture_drawing_end(struct picture_drawing *d) {
  bool good = fclose(d->to) == 0;
  d->to     = NULL;
  return good ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a drawing");
}

void picture_drawing_free(struct picture_drawing *d) {
  if (d->to) fclose(d->to);
  free(d->bytes);
  memset(d, 0, sizeof *d);
}

void picture_drawing_document(const struct picture_drawing *d, const char *title, FILE *to) {
  fprintf(to,
          "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "
          "width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
          "font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\">\n<title>",
          d->wide, d->high, d->wide, d->high);
  picture_escape(to, title);
  fprintf(to, "</title>\n<rect class=\"p\" width=\"%.0f\" height=\"%.0f\" fill=\"#ffffff\"/>\n",
          d->wide, d->high);
  fwrite(d->bytes, 1, d->n, to);
  fprintf(to, "</svg>\n");
}

/* Bytes of the UTF-8 character at `c`, 0 when it is none or one that XML does not take. */
static int character(const unsigned char *c) {
  if (*c < 0x80) return *c >= 0x20 && *c != 0x7f ? 1 : 0;
  int more = *c >= 0xf0 && *c < 0xf5 ? 3 : *c >= 0xe0 && *c < 0xf0 ? 2 : *c >= 0xc2 && *c < 0xe0;
  uint32_t code = (uint32_t)*c & (0x3fu >> more);
  if (more == 0) return 0;
  for (int i = 1; i <= more; i++) {
    if ((c[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (c[i] & 0x3fu);
  }
  bool odd = (code >= 0xd800 && code < 0xe000) || (code & 0xfffe) == 0xfffe || code > 0x10ffff ||
             (code >= 0x80 && code < 0xa0) ||
             code < (more == 3   ? 0x10000u
                     : more == 2 ? 0x800u
                                 : 0x80u);
  return odd ? 0 : more + 1;
}

void picture_escape(FILE *to, const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    int n = character(c);
    if (*c == '<')
      fputs("&lt;", to);
    else if (*c == '>')
      fputs("&gt;", to);
    else if (*c == '&')
      fputs("&amp;", to);
    else if (*c == '"')
      fputs("&quot;", to);
    else if (*c == '\'')
      fputs("&#39;", to);
    else if (*c == '\n' || *c == '\t')
      fputc(*c, to);
    else if (n == 0)
      fputc('?', to);
    else
      fwrite(c, 1, (size_t)n, to);
    c += n ? n : 1;
  }
}

/* Attributes of a class for white paper. */
static const char *paint_of(const char *class) {
  static const char *const paint[][2] = {
      {"f",  "stroke=\"#1b1f24\" stroke-width=\"1\" fill=\"none\""},
      {"b",  "stroke=\"#1b1f24\" stroke-width=\"3\" fill=\"none\""},
      {"g",  "stroke=\"#e2e6ea\" stroke-width=\"1\" fill=\"none\""},
      {"t",  "fill=\"#1b1f24\""                                   },
      {"q",  "fill=\"#57606a\""                                   },
      {"w0", "fill=\"#f6d55c\" fill-opacity=\"0.30\""             },
      {"w1", "fill=\"#3caea3\" fill-opacity=\"0.22\""             }
  };
  for (size_t i = 0; i < sizeof paint / sizeof *paint; i++)
    if (strcmp(class, paint[i][0]) == 0) return paint[i][1];
  return "";
}

void picture_text(struct picture_drawing *d, double x, double y, const char *class, double size_px,
                  enum picture_anchor anchor, bool up, const char *text) {
  static const char *const anchors[] = {"start", "middle", "end"};
  fprintf(d->to,
          "<text class=\"%s\" %s x=\"%.1f\" y=\"%.1f\" font-size=\"%.3g\" text-anchor=\"%s\"",
          class, paint_of(class), x, y, size_px, anchors[anchor]);
  if (up) fprintf(d->to, " transform=\"rotate(-90 %.1f %.1f)\"", x, y);
  fputc('>', d->to);
  picture_escape(d->to, text);
  fputs("</text>\n", d->to);
}

void picture_line(struct picture_drawing *d, double x0, double y0, double x1, double y1,
                  const char *class) {
  fprintf(d->to, "<path class=\"%s\" %s d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, paint_of(class), x0,
          y0, x1, y1);
}

void picture_mark(struct picture_drawing *d, double x, double y, int series) {
  static const char *const shape[PICTURE_SERIES] = {"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
                                                    "M-3.6 -3.6h7.2v7.2h-7.2z",
                                                    "M0 -4.8L4.6 3.4H-4.6z",
                                                    "M0 -5.2L5.2 0L0 5.2L-5.2 0z",
                                                    "M0 4.8L4.6 -3.4H-4.6z",
                                                    "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
                                                    "M-4.8 0L3.4 -4.6V4.6z",
                                                    "M4.8 0L-3.4 -4.6V4.6z"};
  int k                                          = series % PICTURE_SERIES;
  fprintf(d->to, "<path class=\"m%d\" fill=\"%s\" transform=\"translate(%.1f %.1f)\" d=\"%s\"/>\n",
          k, series_colour[k], x, y, shape[k]);
}

static void base64(FILE *to, const unsigned char *bytes, size_t n) {
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    unsigned word = (unsigned)bytes[i] << 16 | (i + 1 < n ? (unsigned)bytes[i + 1] << 8 : 0) |
                    (i + 2 < n ? bytes[i + 2] : 0u);
    fputc(digit[word >> 18], to);
    fputc(digit[word >> 12 & 63], to);
    fputc(i + 1 < n ? digit[word >> 6 & 63] : '=', to);
    fputc(i + 2 < n ? digit[word & 63] : '=', to);
  }
}

static enum status raster(struct picture_drawing *d, double x, double y, double wide, double high,
                          const uint8_t *rgb, int64_t ny, int64_t nx, bool sharp) {
  char *bytes;
  size_t n;
  TRY(picture_png_bytes(rgb, ny, nx, &bytes, &n));
  fprintf(
      d->to,
      "<image x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" preserveAspectRatio=\"none\"%s "
      "href=\"data:image/png;base64,",
      x, y, wide, high, sharp ? " style=\"image-rendering:pixelated\"" : "");
  base64(d->to, (const unsigned char *)bytes, n);
  fputs("\"/>\n", d->to);
  free(bytes);
  return STATUS_OK;
}

enum status picture_image(struct picture_drawing *d, double x, double y, double wide, double high,
                          const uint8_t *rgb, int64_t ny, int64_t nx) {
  return raster(d, x, y, wide, high, rgb, ny, nx, (double)nx < 1.5 * wide);
}

/* The largest of 1, 2, 5 times a power of ten that is at most `most`. */
static double round_below(double most) {
  double power = pow(10, floor(log10(most))), lead = most / power;
  return power * (lead >= 5 ? 5 : lead >= 2 ? 2 : 1);
}

void picture_scale_bar(struct picture_drawing *d, double x, double y, double most_px,
                       double px_per_um) {
  char text[32];
  if (!(px_per_um > 0) || !isfinite(px_per_um)) return;
  double um = round_below(most_px / px_per_um), px = um * px_per_um;
  if (um >= 1000)
    snprintf(text, sizeof text, "%g mm", um / 1000);
  else
    snprintf(text, sizeof text, "%g \xc2\xb5m", um);
  picture_line(d, x, y, x + px, y, "b");
  picture_text(d, x + px + 6, y + 4, "t", 12, PICTURE_LEFT, false, text);
}

enum status picture_colour_bar(struct picture_drawing *d, double x, double y, double wide,
                               enum picture_map map, double low, double high, const char *label) {
  enum { STEPS = 128 };
  uint8_t rgb[3 * STEPS];
  for (int i = 0; i < STEPS; i++) picture_colour((double)i / (STEPS - 1), map, rgb + 3 * i);
  TRY(raster(d, x, y, wide, 10, rgb, 1, STEPS, false));
  struct picture_plot axis = {
      .drawing = d, .left = x, .top = y, .wide = wide, .high = 10, .x = {low, high}
  };
  picture_plot_begin(&axis, "", label, NULL);
  return STATUS_OK;
}
