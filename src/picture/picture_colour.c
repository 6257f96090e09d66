/* Colour maps made from formulas in Oklab (Ottosson 2020), a space whose distances are what one sees. A path is given
 * as lightness, hue and chroma over a parameter; chroma is cut to what a screen can show, and 256 colours are taken
 * at even distances along the path. */
#include "picture.h"
#include <math.h>

enum { FINE = 2048, COLOURS = 256 };

struct lab {
  double L, a, b;
};

static void to_linear_rgb(const struct lab *c, double rgb[3]) {
  double l = c->L + 0.3963377774 * c->a + 0.2158037573 * c->b,
         m = c->L - 0.1055613458 * c->a - 0.0638541728 * c->b,
         s = c->L - 0.0894841775 * c->a - 1.2914855480 * c->b;
  l = l * l * l, m = m * m * m, s = s * s * s;
  rgb[0] = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
  rgb[1] = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
  rgb[2] = -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s;
}

static bool can_be_shown(const struct lab *c) {
  double rgb[3];
  to_linear_rgb(c, rgb);
  for (int k = 0; k < 3; k++)
    if (rgb[k] < 0 || rgb[k] > 1) return false;
  return true;
}

static struct lab polar(double L, double hue_deg, double chroma) {
  return (struct lab){L, chroma * cos(hue_deg / DEG_PER_RAD), chroma * sin(hue_deg / DEG_PER_RAD)};
}

/* The most chroma up to the wanted that a screen can show at this lightness and hue. */
static struct lab shown(double L, double hue_deg, double chroma) {
  struct lab c = polar(L, hue_deg, chroma);
  if (can_be_shown(&c)) return c;
  double low = 0, high = chroma;
  for (int i = 0; i < 40; i++) {
    double middle = (low + high) / 2;
    c             = polar(L, hue_deg, middle);
    if (can_be_shown(&c))
      low = middle;
    else
      high = middle;
  }
  return polar(L, hue_deg, low);
}

static struct lab path_at(double t, enum picture_map map) {
  if (map == PICTURE_GREY) return (struct lab){t, 0, 0};
  double u = 2 * t - 1;
  if (map == PICTURE_COLOUR)
    return shown(0.24 + 0.70 * t, 300 - 200 * t, 0.085 + (u < 0 ? 0.035 : 0.055) * u * u);
  return shown(0.96 - 0.52 * fabs(u), u < 0 ? 255 : 55, 0.125 * sin(PI / 2 * fabs(u)));
}

static double encoded(double linear) {
  double v = fmin(fmax(linear, 0), 1);
  return v <= 0.0031308 ? 12.92 * v : 1.055 * pow(v, 1 / 2.4) - 0.055;
}

static void to_bytes(const struct lab *c, uint8_t rgb[3]) {
  double linear[3];
  to_linear_rgb(c, linear);
  for (int k = 0; k < 3; k++) rgb[k] = (uint8_t)(255 * encoded(linear[k]) + 0.5);
}

static double distance(const struct lab *p, const struct lab *q) {
  return sqrt((p->L - q->L) * (p->L - q->L) + (p->a - q->a) * (p->a - q->a) +
              (p->b - q->b) * (p->b - q->b));
}

static void make_table(enum picture_map map, uint8_t table[COLOURS][3]) {
  static double way[FINE + 1];
  struct lab before = path_at(0, map);
  for (int i = 1; i <= FINE; i++) {
    struct lab here = path_at((double)i / FINE, map);
    way[i]          = way[i - 1] + distance(&before, &here);
    before          = here;
  }
  for (int k = 0, i = 1; k < COLOURS; k++) {
    double want = way[FINE] * k / (COLOURS - 1);
    while (i < FINE && way[i] < want) i++;
    double step  = way[i] - way[i - 1],
           t     = (i - 1 + (step > 0 ? fmin((want - way[i - 1]) / step, 1) : 0)) / FINE;
    struct lab c = path_at(t, map);
    to_bytes(&c, table[k]);
  }
}

void picture_colour(double t, enum picture_map map, uint8_t rgb[3]) {
  static uint8_t table[3][COLOURS][3];
  static bool made[3];
  if (isnan(t)) {
    rgb[0] = rgb[1] = rgb[2] = 208;
    return;
  }
  t = fmin(fmax(t, 0), 1);
  if (map == PICTURE_GREY) { /* the sRGB curve itself is close to even in lightness */
    rgb[0] = rgb[1] = rgb[2] = (uint8_t)(255 * t + 0.5);
    return;
  }
  if (!made[map]) make_table(map, table[map]);
  made[map]             = true;
  const uint8_t *colour = table[map][(int)(t * (COLOURS - 1) + 0.5)];
  for (int k = 0; k < 3; k++) rgb[k] = colour[k];
}

void picture_stage_colour(double number, uint8_t rgb[3]) {
  static const uint8_t colour[6][3] = {
      {0,   0,   0  },
      {150, 150, 150},
      {250, 215, 40 },
      {30,  50,  160},
      {40,  160, 70 },
      {215, 40,  40 }
  };
  int stage = number > 0 ? (int)number % 128 : 0;
  if (stage > 5) stage = 2 + (stage - 2) % 4;
  for (int k = 0; k < 3; k++)
    rgb[k] = number < 128 ? colour[stage][k] : (uint8_t)(colour[stage][k] / 3);
}

void picture_colours(const float *value, int64_t ny, int64_t nx, double low, double high,
                     enum picture_map map, uint8_t *rgb) {
  for (int64_t i = 0; i < ny * nx; i++) {
    double v = (double)value[i], t = high > low ? (v - low) / (high - low) : 0.5;
    if (map == PICTURE_STAGES)
      picture_stage_colour(v, rgb + 3 * i);
    else
      picture_colour(isnan(v) ? v : t, map, rgb + 3 * i);
  }
}
