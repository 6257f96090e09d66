/* The page: one file of HTML with its style inside, nothing loaded from elsewhere. Text from files is escaped on its way. */
#include "report_private.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void report_raw(struct report *r, const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(r->html, format, list);
  va_end(list);
}

void report_text(struct report *r, const char *text) { picture_escape(r->html, text); }

void report_textf(struct report *r, const char *format, ...) {
  char text[2048];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  picture_escape(r->html, text);
}

const char *report_roman(int n) {
  static const char *const roman[] = {"",    "I",    "II", "III", "IV", "V",  "VI",
                                      "VII", "VIII", "IX", "X",   "XI", "XII"};
  return n >= 0 && n <= 12 ? roman[n] : "";
}

void report_state_words(const char *name, char *text, size_t bytes) {
  snprintf(text, bytes, "%s", strcmp(name, "all") == 0 ? "whole cycle" : name);
  for (char *c = text; *c; c++)
    if (*c == '_') *c = ' ';
}

void report_part_choose(struct report *r, enum report_part part) { r->html = r->part[part]; }

const char *report_unit_words(const char *unit) {
  return strcmp(unit, "um") == 0    ? "\xc2\xb5m"
         : strcmp(unit, "um3") == 0 ? "\xc2\xb5m\xc2\xb3"
         : strcmp(unit, "Ohm") == 0 ? "\xce\xa9"
         : strcmp(unit, "deg") == 0 ? "\xc2\xb0"
                                    : unit;
}

void report_section(struct report *r, const char *id, const char *title) {
  report_raw(r, "<h2 id=\"%s\">", id);
  report_text(r, title);
  report_raw(r, "</h2>\n");
}

void report_head(struct report *r) {
  char when[64] = "";
  struct tm utc;
  time_t at = (time_t)r->finished_s;
  if (r->finished_s > 0 && gmtime_r(&at, &utc))
    strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &utc);
  report_raw(r, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
                "name=\"viewport\" "
                "content=\"width=device-width, initial-scale=1\">\n<title>");
  report_textf(r, "%s: lithium and its transport over a cycle",
               r->sample[0] ? r->sample : "Report");
  report_raw(r, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n<h1>", report_style);
  report_text(r, r->sample[0] ? r->sample : "A cycle without a name");
  report_raw(r, "</h1>\n<p class=\"quiet\">");
  report_textf(
      r, "X-ray tomography and Compton scattering of %d states, by xcsct %s%s%s. Run finished %s.",
      r->states, r->version[0] ? r->version : stage_version(), "", "",
      when[0] ? when : "at a time not recorded");
  report_raw(
      r,
      "</p>\n</header>\n<nav aria-label=\"Sections\"><a href=\"#answer\">Answer</a><a "
      "href=\"#states\">States</a>"
      "<a href=\"#figures\">Figures</a><a href=\"#flux\">Flux</a>%s<a href=\"#checks\">Checks</a>"
      "<a href=\"#methods\">Methods</a><a href=\"#files\">Files</a></nav>\n<main>\n",
      r->truth ? "<a href=\"#truth\">Truth</a>" : "");
}

void report_foot(struct report *r) { report_raw(r, "</main>\n</body>\n</html>\n"); }

/* ---- numbers ------------------------------------------------------------------------------------------------ */

/* Powers of ten in superscript digits. */
static void power_text(int power, char *text, size_t bytes) {
  static const char *const digit[] = {
      "\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",     "\xe2\x81\xb4",
      "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7", "\xe2\x81\xb8", "\xe2\x81\xb9"};
  char number[16];
  snprintf(number, sizeof number, "%d", power);
  size_t used = (size_t)snprintf(text, bytes,
                                 "\xc3\x97"
                                 "10");
  for (const char *c = number; *c && used < bytes; c++)
    used += (size_t)snprintf(text + used, bytes - used, "%s",
                             *c == '-' ? "\xe2\x81\xbb" : digit[*c - '0']);
}

/* The places after the point that show two digits of `error`. */
static int places_of(double error) {
  int places = 1 - (int)floor(log10(error));
  return places < 0 ? 0 : places > 12 ? 12 : places;
}

static void put_minus(char *text, size_t bytes) {
  char plain[160];
  snprintf(plain, sizeof plain, "%.150s", text);
  size_t used = 0;
  for (const char *c = plain; *c && used + 4 < bytes; c++) {
    if (*c == '-')
      used += (size_t)snprintf(text + used, bytes - used, "\xe2\x88\x92");
    else
      text[used++] = *c;
  }
  text[used] = 0;
}

void report_number_plain(double value, double sigma, double lower, double upper, char *text,
                         size_t bytes) {
  bool has_error = isfinite(sigma) && sigma > 0, has_bounds = isfinite(lower) && isfinite(upper);
  double size   = fmax(fabs(value), has_error ? sigma : 0);
  int power     = (size >= 1e5 || (size < 1e-3 && size > 0)) ? (int)floor(log10(size)) : 0;
  double unit   = pow(10, power);
  char tail[48] = "";
  if (power) power_text(power, tail, sizeof tail);
  if (!isfinite(value))
    snprintf(text, bytes, "\xe2\x80\x93");
  else if (has_error) {
    int places = places_of(sigma / unit);
    snprintf(text, bytes, "%s%.*f \xc2\xb1 %.*f%s%s", power ? "(" : "", places, value / unit,
             places, sigma / unit, power ? ")" : "", tail);
  } else if (has_bounds) {
    int places = upper > lower ? places_of((upper - lower) / unit) : 5;
    if (places > 5) places = 5; /* narrower: one number says it */
    char low[40], high[40];
    snprintf(low, sizeof low, "%.*f", places, lower / unit);
    snprintf(high, sizeof high, "%.*f", places, upper / unit);
    if (strcmp(low, high) == 0)
      snprintf(text, bytes, "%.*f%s", places, value / unit, tail);
    else
      snprintf(text, bytes, "%.*f%s [%s, %s]%s", places, value / unit, tail, low, high, tail);
  } else if (value == floor(value) && fabs(value) < 1e5)
    snprintf(text, bytes, "%.0f", value);
  else
    snprintf(text, bytes, "%.4g%s", value / unit, tail);
  put_minus(text, bytes);
}

void report_number(struct report *r, const struct report_row *row) {
  char text[200];
  if (!row || (!isfinite(row->value) && !row->remark[0])) {
    report_raw(r, "\xe2\x80\x93");
    return;
  }
  if (!isfinite(row->value)) {
    report_text(r, row->remark);
    return;
  }
  report_number_plain(row->value, row->sigma, row->lower, row->upper, text, sizeof text);
  char *bounds = strstr(text, " [");
  if (bounds) *bounds = 0;
  report_text(r, text);
  if (!bounds) return;
  report_raw(r, " <small>");
  report_text(r, bounds + 1);
  report_raw(r, "</small>");
}
