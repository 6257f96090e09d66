/* np: 1 2 */
#include "check.h"
#include "picture_draw.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* sRGB to Oklab, by the published matrices. */
static void oklab_of(const uint8_t rgb[3], double lab[3]) {
  double c[3];
  for (int k = 0; k < 3; k++) {
    double v = rgb[k] / 255.0;
    c[k]     = v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
  }
  double l = cbrt(0.4122214708 * c[0] + 0.5363325363 * c[1] + 0.0514459929 * c[2]),
         m = cbrt(0.2119034982 * c[0] + 0.6806995451 * c[1] + 0.1073969566 * c[2]),
         s = cbrt(0.0883024619 * c[0] + 0.2817188376 * c[1] + 0.6299787005 * c[2]);
  lab[0]   = 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
  lab[1]   = 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s;
  lab[2]   = 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s;
}

/* Luminance as a protanope or deuteranope sees it barely differs from lightness: order must not hang on hue. */
TEST(colours_take_even_steps_and_their_lightness_tells_the_order) {
  double before[3], here[3], way = 0, least = INFINITY, most = 0;
  uint8_t rgb[3];
  enum { STEPS = 32 }; /* steps of eight colours, beyond the rounding to bytes */
  picture_colour(0, PICTURE_COLOUR, rgb);
  oklab_of(rgb, before);
  for (int i = 1; i <= STEPS; i++) {
    picture_colour((double)i / STEPS, PICTURE_COLOUR, rgb);
    oklab_of(rgb, here);
    double d = sqrt(pow(here[0] - before[0], 2) + pow(here[1] - before[1], 2) +
                    pow(here[2] - before[2], 2));
    CHECK(here[0] > before[0] + 0.5 * 0.70 / STEPS, "lightness %g after %g at %d", here[0],
          before[0], i);
    way += d, least = fmin(least, d), most = fmax(most, d);
    memcpy(before, here, sizeof before);
  }
  CHECK(most < 1.35 * way / STEPS && least > 0.65 * way / STEPS, "steps of %g to %g, mean %g", least,
        most, way / STEPS);
}

TEST(a_diverging_map_is_lightest_in_its_middle_and_even_on_both_sides) {
  double low[3], middle[3], high[3];
  uint8_t rgb[3];
  picture_colour(0, PICTURE_DIVERGING, rgb);
  oklab_of(rgb, low);
  picture_colour(0.5, PICTURE_DIVERGING, rgb);
  oklab_of(rgb, middle);
  picture_colour(1, PICTURE_DIVERGING, rgb);
  oklab_of(rgb, high);
  CHECK_NEAR(low[0], high[0], 0.02);
  CHECK(middle[0] > 0.93, "lightness %g", middle[0]);
  CHECK(low[2] < -0.05 && high[2] > 0.05, "blue below (%g), yellow above (%g)", low[2], high[2]);
}

TEST(values_beyond_the_range_take_its_ends_and_nan_is_grey) {
  const float value[4] = {-5, 0, 1, NAN};
  uint8_t rgb[12];
  picture_colours(value, 1, 4, 0, 1, PICTURE_GREY, rgb);
  CHECK(rgb[0] == 0 && rgb[3] == 0 && rgb[6] == 255, "%d %d %d", rgb[0], rgb[3], rgb[6]);
  CHECK(rgb[9] == rgb[10] && rgb[10] == rgb[11] && rgb[9] > 150 && rgb[9] < 255, "grey %d", rgb[9]);
}

static char *escaped(const char *text) {
  char *bytes;
  size_t n;
  FILE *to = open_memstream(&bytes, &n);
  picture_escape(to, text);
  fclose(to);
  return bytes;
}

TEST(hostile_text_is_made_harmless) {
  static const char *const cases[][2] = {
      {"<script>a && \"b\" 'c'</script>",
       "&lt;script&gt;a &amp;&amp; &quot;b&quot; &#39;c&#39;&lt;/script&gt;"},
      {"\xc2\xb5m \xe2\x88\x92 \xf0\x9d\x9b\xbc",
       "\xc2\xb5m \xe2\x88\x92 \xf0\x9d\x9b\xbc"                            }, /* good UTF-8 stays */
      {"a\x01z\x7f\x1b[31m",                      "a?z??[31m"               }, /* no control characters */
      {"\xff\xc3(\xe2\x82\xed\xa0\x80",           "\?\?(\?\?\?\?\?"         }, /* broken, surrogate */
      {"\xc0\xaf\xe0\x80\xaf",                    "?????"                   }, /* longer than needed */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *got = escaped(cases[i][0]);
    CHECK(strcmp(got, cases[i][1]) == 0, "case %zu gives '%s'", i, got);
    free(got);
  }
}

/* A plot of a line from corner to corner: its path runs from one corner of the frame to the other. */
TEST(a_curve_lies_where_the_axes_say) {
  struct picture_drawing d;
  char *csv;
  size_t n;
  FILE *to         = open_memstream(&csv, &n);
  const double x[] = {0, 10}, y[] = {-1, 1}, e[] = {0.5, NAN};
  CHECK_OK(picture_drawing_begin(&d, 400, 300));
  struct picture_plot plot = {
      .drawing = &d,
      .csv     = to,
      .left    = 50,
      .top     = 20,
      .wide    = 300,
      .high    = 200,
      .x       = {0,  10},
      .y       = {-1, 1 }
  };
  picture_plot_begin(&plot, "T", "x", "y");
  picture_plot_curve(&plot, 1, false, "a \"line\"", x, y, 2);
  picture_plot_marks(&plot, 2, "marks", x, y, e, 2);
  CHECK_OK(picture_drawing_end(&d));
  fclose(to);
  CHECK(strstr(d.bytes, "M50.0 220.0L350.0 20.0") != NULL, "%s", d.bytes);
  CHECK(strcmp(csv, "\"T\",\"a \"\"line\"\"\",0,-1,\n\"T\",\"a \"\"line\"\"\",10,1,\n"
                    "\"T\",\"marks\",0,-1,0.5\n\"T\",\"marks\",10,1,\n") == 0,
        "%s", csv);
  free(csv);
  picture_drawing_free(&d);
}

TEST(a_scale_bar_has_a_round_length_that_is_true) {
  static const struct {
    double most_px, px_per_um, px;
    const char *words;
  } cases[] = {
      {100, 1,    100, "100 \xc2\xb5m"},
      {100, 0.3,  60,  "200 \xc2\xb5m"},
      {99,  0.01, 50,  "5 mm"         },
      {80,  7,    70,  "10 \xc2\xb5m" }
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct picture_drawing d;
    char line[64];
    CHECK_OK(picture_drawing_begin(&d, 400, 300));
    picture_scale_bar(&d, 10, 20, cases[i].most_px, cases[i].px_per_um);
    CHECK_OK(picture_drawing_end(&d));
    snprintf(line, sizeof line, "M10.0 20.0L%.1f 20.0", 10 + cases[i].px);
    CHECK(strstr(d.bytes, line) && strstr(d.bytes, cases[i].words), "case %zu: %s", i, d.bytes);
    picture_drawing_free(&d);
  }
}

TEST(a_png_in_memory_is_one) {
  const uint8_t rgb[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9};
  char *bytes;
  size_t n;
  CHECK_OK(picture_png_bytes(rgb, 2, 2, &bytes, &n));
  CHECK(n > 60 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0 &&
            memcmp(bytes + n - 8, "IEND", 4) == 0,
        "%zu bytes", n);
  free(bytes);
}

/* Finite values 0 .. 999 in a scrambled order, each as often as `times` says: half a percent is cut off on each side. */
TEST(a_range_leaves_out_half_a_percent_on_each_side) {
  enum { VALUES = 1000, MOST = 3 * VALUES };
  static float value[MOST + 2];
  for (int times = 1; times <= 3; times++)
    for (int order = 0; order < 3; order++) {
      int n = times * VALUES;
      double low, high;
      for (int i = 0; i < n; i++) {
        int at   = order == 0 ? i : order == 1 ? n - 1 - i : (int)(i * 1237LL % n);
        value[i] = (float)(at % VALUES);
      }
      value[n] = NAN, value[n + 1] = INFINITY;
      CHECK_OK(picture_range(value, n + 2, &low, &high));
      CHECK(low == 5 && high == VALUES - 6, "%d times, order %d: %g to %g", times, order, low, high);
    }
  double low, high;
  CHECK_OK(picture_range(value + MOST, 2, &low, &high));
  CHECK(low == 0 && high == 1, "nothing finite: %g to %g", low, high);
}
