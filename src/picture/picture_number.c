/* Numbers in pictures: a face of 5 x 7 dots, with a border of one. */
#include "picture.h"
#include <string.h>

enum { WIDE = 5, HIGH = 7 };

/* Rows from the top, the leftmost dot the highest bit. */
static const struct glyph {
  char letter;
  uint8_t row[HIGH];
} glyphs[] = {
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}},
    {'3', {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {'-', {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}},
};
enum { GLYPHS = sizeof glyphs / sizeof *glyphs };

static bool has_ink(char letter, int64_t row, int64_t column) {
  if (row < 0 || row >= HIGH || column < 0 || column >= WIDE) return false;
  for (int i = 0; i < GLYPHS; i++)
    if (glyphs[i].letter == letter) return glyphs[i].row[row] >> (WIDE - 1 - column) & 1;
  return false;
}

void picture_number(float *value, int64_t ny, int64_t nx, int64_t y, int64_t x, int64_t size,
                    const char *text, float ink, float paper) {
  int64_t letters = (int64_t)strlen(text), wide = letters * (WIDE + 1) + 1, high = HIGH + 2;
  for (int64_t i = 0; i < high * size; i++)
    for (int64_t j = 0; j < wide * size; j++) {
      int64_t column = j / size - 1, letter = column < 0 ? 0 : column / (WIDE + 1);
      bool dot = letter < letters && column >= 0 &&
                 has_ink(text[letter], i / size - 1, column % (WIDE + 1));
      if (y + i < 0 || y + i >= ny || x + j < 0 || x + j >= nx) continue;
      value[(y + i) * nx + x + j] = dot ? ink : paper;
    }
}
