/* TIFF and BigTIFF as volumes: pages are z. Grey pages of one shape, 1 to 64 bits, in strips or
 * tiles, with any compression of libtiff. Every rank opens the file and decodes only the strips or
 * tiles that it needs; pages are reached through their offsets, found once. ImageJ's stacks over
 * 4 GB have one page in TIFF's eyes, the others following it as plain bytes. Values are taken as
 * stored, also where 0 means white. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

enum { PAGES_MAX = 1 << 20 };
struct tiff_source {
  char file[STORE_NAME_BYTES];
  TIFF *tiff;
  uint64_t *page; /* offset of each page's directory */
  int64_t pages, room, now;
  int64_t n[3];
  uint32_t piece[2]; /* rows and columns of a strip or tile */
  bool tiled;
  uint16_t bits;
  size_t bytes;      /* of a value as given back */
  int64_t raw_start; /* of plain pages, -1: none */
  int raw;           /* their handle */
  void *buffer;      /* one strip or tile */
  int64_t buffer_bytes;
};

static char last_words[256];

static void words_keep(const char *module, const char *format, va_list list) {
  (void)module;
  vsnprintf(last_words, sizeof last_words, format, list);
}

bool tiff_is(const char *file) {
  unsigned char magic[4] = {0};
  FILE *stream           = fopen(file, "rbe");
  if (!stream) return false;
  size_t n = fread(magic, 1, 4, stream);
  fclose(stream);
  if (n != 4) return false;
  bool little =
      magic[0] == 'I' && magic[1] == 'I' && (magic[2] == 42 || magic[2] == 43) && !magic[3];
  bool big = magic[0] == 'M' && magic[1] == 'M' && (magic[3] == 42 || magic[3] == 43) && !magic[2];
  return little || big;
}

/* ---- pages ------------------------------------------------------------------------------------- */

struct page {
  uint32_t width, height, piece_rows, piece_columns;
  uint16_t bits, samples, format;
  bool tiled;
};

static struct page page_read(TIFF *tiff) {
  struct page page = {0};
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &page.width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &page.height);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &page.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &page.samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &page.format);
  page.tiled = TIFFIsTiled(tiff) != 0;
  if (page.tiled) {
    TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &page.piece_columns);
    TIFFGetField(tiff, TIFFTAG_TILELENGTH, &page.piece_rows);
  } else {
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &page.piece_rows);
    if (page.piece_rows > page.height) page.piece_rows = page.height;
    page.piece_columns = page.width;
  }
  return page;
}

static enum native page_native(const struct page *page) {
  bool is_float = page->format == SAMPLEFORMAT_IEEEFP, has_sign = page->format == SAMPLEFORMAT_INT;
  switch (page->bits) {
  case 1:
    return NATIVE_U8;
  case 8:
    return is_float ? NATIVE_NONE : has_sign ? NATIVE_I8 : NATIVE_U8;
  case 16:
    return is_float ? NATIVE_NONE : has_sign ? NATIVE_I16 : NATIVE_U16;
  case 32:
    return is_float ? NATIVE_F32 : has_sign ? NATIVE_I32 : NATIVE_U32;
  case 64:
    return is_float ? NATIVE_F64 : has_sign ? NATIVE_I64 : NATIVE_U64;
  default:
    return NATIVE_NONE;
  }
}

static enum status page_check(const struct tiff_source *tiff, const struct page *page) {
  if (page->width == 0 || page->height == 0 || page->piece_rows == 0 || page->piece_columns == 0)
    return FAIL(STATUS_INPUT, "%s: page %lld has no size", tiff->file, (long long)tiff->pages);
  if (page->samples != 1)
    return FAIL(STATUS_INPUT, "%s: page %lld has %d values per pixel; grey pages are read",
                tiff->file, (long long)tiff->pages, page->samples);
  if (page_native(page) == NATIVE_NONE)
    return FAIL(STATUS_INPUT, "%s: page %lld has values of %d bits; 1, 8, 16, 32 and 64 are read",
                tiff->file, (long long)tiff->pages, page->bits);
  return STATUS_OK;
}

static enum status page_add(struct tiff_source *tiff) {
  if (tiff->pages == PAGES_MAX)
    return FAIL(STATUS_INPUT, "%s has more than %d pages", tiff->file, PAGES_MAX);
  if (tiff->pages == tiff->room) {
    int64_t room   = tiff->room ? 2 * tiff->room : 64;
    uint64_t *more = realloc(tiff->page, (size_t)room * sizeof *more);
    if (!more) return FAIL(STATUS_MEMORY, "no memory for the pages of %s", tiff->file);
    tiff->page = more;
    tiff->room = room;
  }
  tiff->page[tiff->pages++] = TIFFCurrentDirOffset(tiff->tiff);
  return STATUS_OK;
}

static enum status pages_walk(struct tiff_source *tiff, struct page *first) {
  *first = page_read(tiff->tiff);
  TRY(page_check(tiff, first));
  for (;;) {
    struct page page = page_read(tiff->tiff);
    if (memcmp(&page, first, sizeof page) != 0)
      return FAIL(STATUS_INPUT,
                  "%s: page %lld (%u x %u, %d bits) differs from page 0 (%u x %u, %d bits)",
                  tiff->file, (long long)tiff->pages, page.height, page.width, page.bits,
                  first->height, first->width, first->bits);
    TRY(page_add(tiff));
    if (TIFFLastDirectory(tiff->tiff)) return STATUS_OK;
    if (!TIFFReadDirectory(tiff->tiff))
      return FAIL(STATUS_INPUT, "%s: page %lld cannot be read: %s", tiff->file,
                  (long long)tiff->pages, last_words);
  }
}

/* ---- ImageJ's words ------------------------------------------------------------------------------- */

static double words_number(const char *words, const char *key) {
  const char *at = strstr(words, key);
  return at ? strtod(at + strlen(key), NULL) : 0;
}

static void voxel_find(TIFF *tiff, const char *words, struct store_info *info) {
  float x = 0, y = 0;
  uint16_t unit                     = RESUNIT_NONE;
  double um                         = 0;
  static const char *const micron[] = {"unit=um\n",    "unit=micron\n",    "unit=\\u00B5m\n",
                                       "unit=\xb5m\n", "unit=\xc2\xb5m\n", "unit=microns\n"};
  TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &x);
  TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &y);
  TIFFGetField(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
  for (size_t i = 0; i < sizeof micron / sizeof *micron; i++)
    if (strstr(words, micron[i])) um = 1;
  if (strstr(words, "unit=mm\n")) um = 1e3;
  if (um == 0 && unit == RESUNIT_CENTIMETER) um = 1e4;
  if (um == 0 || !(x > 0) || !(y > 0) || !isfinite(x) || !isfinite(y)) return;
  info->voxel_um[2] = um / (double)x;
  info->voxel_um[1] = um / (double)y;
  double spacing    = words_number(words, "spacing=");
  if (spacing > 0 && isfinite(spacing)) info->voxel_um[0] = spacing * um;
}

/* One page in TIFF's eyes, but "images=N": plain pages after the first strip's beginning. */
static enum status raw_find(struct tiff_source *tiff, const char *words) {
  double images        = words_number(words, "images=");
  uint16_t compression = COMPRESSION_NONE;
  TIFFGetFieldDefaulted(tiff->tiff, TIFFTAG_COMPRESSION, &compression);
  if (tiff->pages != 1 || strncmp(words, "ImageJ=", 7) != 0 || !(images >= 2 && images < 1e9) ||
      compression != COMPRESSION_NONE || tiff->tiled || tiff->bits < 8)
    return STATUS_OK;
  int64_t start = (int64_t)TIFFGetStrileOffset(tiff->tiff, 0);
  double end =
      (double)start + images * (double)tiff->n[1] * (double)tiff->n[2] * (double)tiff->bytes;
  tiff->raw = open(tiff->file, O_RDONLY | O_CLOEXEC);
  if (tiff->raw < 0) return FAIL(STATUS_INPUT, "%s: %s", tiff->file, strerror(errno));
  if (end > (double)lseek(tiff->raw, 0, SEEK_END))
    return FAIL(STATUS_INPUT, "%s says images=%.0f, but is too short for them", tiff->file, images);
  tiff->raw_start = start;
  tiff->n[0]      = (int64_t)images;
  return STATUS_OK;
}

/* ---- open, close -------------------------------------------------------------------------------------- */

static enum status open_here(struct tiff_source *tiff, struct store_info *info,
                             enum native *native) {
  struct page page;
  const char *words = "";
  TIFFSetErrorHandler(words_keep);
  TIFFSetWarningHandler(NULL);
  snprintf(last_words, sizeof last_words, "libtiff gives no reason");
  tiff->tiff = TIFFOpen(tiff->file, "rm");
  if (!tiff->tiff)
    return FAIL(STATUS_INPUT, "%s cannot be opened as TIFF: %s", tiff->file, last_words);
  TIFFGetField(tiff->tiff, TIFFTAG_IMAGEDESCRIPTION, &words);
  voxel_find(tiff->tiff, words, info);
  char keep[1024];
  snprintf(keep, sizeof keep, "%s", words);
  TRY(pages_walk(tiff, &page));
  *native        = page_native(&page);
  tiff->bits     = page.bits;
  tiff->bytes    = native_bytes(*native);
  tiff->tiled    = page.tiled;
  tiff->piece[0] = page.piece_rows;
  tiff->piece[1] = page.piece_columns;
  tiff->n[0]     = tiff->pages;
  tiff->n[1]     = page.height;
  tiff->n[2]     = page.width;
  tiff->now      = tiff->pages - 1;
  if (tiff->pages == 1) TRY(raw_find(tiff, keep));
  info->rank     = 3;
  info->type     = native_nearest(*native);
  info->chunk[0] = tiff->raw < 0;
  for (int a = 0; a < 3; a++) info->n[a] = tiff->n[a];
  for (int a = 1; a < 3; a++) info->chunk[a] = tiff->raw < 0 ? (int64_t)tiff->piece[a - 1] : 0;
  return STATUS_OK;
}

enum status tiff_open(const char *file, struct tiff_source **tiff, struct store_info *info,
                      enum native *native) {
  TRY(memory_make(1, sizeof **tiff, "a TIFF file", tiff));
  (*tiff)->raw       = -1;
  (*tiff)->raw_start = -1;
  snprintf((*tiff)->file, STORE_NAME_BYTES, "%s", file);
  enum status status = open_here(*tiff, info, native);
  if (status != STATUS_OK) tiff_close(tiff);
  return status;
}

void tiff_close(struct tiff_source **tiff) {
  if (!*tiff) return;
  if ((*tiff)->tiff) TIFFClose((*tiff)->tiff);
  if ((*tiff)->raw >= 0) close((*tiff)->raw);
  memory_free((*tiff)->buffer);
  free((*tiff)->page);
  memory_free(*tiff);
  *tiff = NULL;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

static enum status page_seek(struct tiff_source *tiff, int64_t page) {
  if (page == tiff->now) return STATUS_OK;
  tiff->now = -1;
  if (!TIFFSetSubDirectory(tiff->tiff, tiff->page[page]))
    return FAIL(STATUS_INPUT, "%s: page %lld cannot be read: %s", tiff->file, (long long)page,
                last_words);
  struct page found = page_read(tiff->tiff);
  if (found.width != tiff->n[2] || found.height != tiff->n[1] || found.bits != tiff->bits)
    return FAIL(STATUS_INPUT, "%s: page %lld has changed", tiff->file, (long long)page);
  tiff->now = page;
  return STATUS_OK;
}

static enum status piece_decode(struct tiff_source *tiff, int64_t row, int64_t column) {
  TIFF *file    = tiff->tiff;
  int64_t bytes = tiff->tiled ? TIFFTileSize64(file) : TIFFStripSize64(file);
  if (bytes > tiff->buffer_bytes) {
    memory_free(tiff->buffer);
    tiff->buffer       = NULL;
    tiff->buffer_bytes = 0;
    TRY(memory_make(bytes, 1, "a TIFF strip", &tiff->buffer));
    tiff->buffer_bytes = bytes;
  }
  tmsize_t want = (tmsize_t)bytes, got;
  if (tiff->tiled)
    got = TIFFReadEncodedTile(file, TIFFComputeTile(file, (uint32_t)column, (uint32_t)row, 0, 0),
                              tiff->buffer, want);
  else {
    int64_t rows = tiff->n[1] - row;
    if (rows > tiff->piece[0]) rows = tiff->piece[0];
    want = (tmsize_t)(TIFFScanlineSize64(file) * (uint64_t)rows);
    got  = TIFFReadEncodedStrip(file, TIFFComputeStrip(file, (uint32_t)row, 0), tiff->buffer, want);
  }
  if (got == want) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%s: page %lld cannot be decoded at row %lld: %s", tiff->file,
              (long long)tiff->now, (long long)row, last_words);
}

/* Values column .. column + n of a row of the buffer, which begins at `first_column`. */
static void row_copy(const struct tiff_source *tiff, int64_t row, int64_t column, int64_t n,
                     char *to) {
  int64_t columns = tiff->piece[1];
  if (tiff->bits > 1) {
    const char *from = (const char *)tiff->buffer + (size_t)(row * columns + column) * tiff->bytes;
    memcpy(to, from, (size_t)n * tiff->bytes);
    return;
  }
  const unsigned char *from = (const unsigned char *)tiff->buffer + row * ((columns + 7) / 8);
  for (int64_t i = 0; i < n; i++) {
    int64_t bit = column + i;
    to[i]       = (char)(from[bit / 8] >> (7 - bit % 8) & 1);
  }
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The part of one page: y0..y0+ny, x0..x0+nx, packed. */
static enum status page_part(struct tiff_source *tiff, const int64_t *start, const int64_t *n,
                             char *to) {
  int64_t rows = tiff->piece[0], columns = tiff->piece[1];
  for (int64_t y = start[1] / rows * rows; y < start[1] + n[1]; y += rows)
    for (int64_t x = start[2] / columns * columns; x < start[2] + n[2]; x += columns) {
      TRY(piece_decode(tiff, y, x));
      int64_t y0 = y > start[1] ? y : start[1], y1 = least(y + rows, start[1] + n[1]);
      int64_t x0 = x > start[2] ? x : start[2], x1 = least(x + columns, start[2] + n[2]);
      for (int64_t row = y0; row < y1; row++)
        row_copy(tiff, row - y, x0 - x, x1 - x0,
                 to + (size_t)((row - start[1]) * n[2] + x0 - start[2]) * tiff->bytes);
    }
  return STATUS_OK;
}

static void bytes_swap(char *data, int64_t n, size_t bytes) {
  for (int64_t i = 0; i < n; i++, data += bytes)
    for (size_t k = 0; k < bytes / 2; k++) {
      char other          = data[k];
      data[k]             = data[bytes - 1 - k];
      data[bytes - 1 - k] = other;
    }
}

static enum status raw_part(struct tiff_source *tiff, int64_t z, const int64_t *start,
                            const int64_t *n, char *to) {
  for (int64_t row = 0; row < n[1]; row++) {
    int64_t first = (z * tiff->n[1] + start[1] + row) * tiff->n[2] + start[2];
    size_t bytes  = (size_t)n[2] * tiff->bytes;
    ssize_t got   = pread(tiff->raw, to, bytes, tiff->raw_start + first * (int64_t)tiff->bytes);
    if (got != (ssize_t)bytes)
      return FAIL(STATUS_INPUT, "%s: page %lld cannot be read: %s", tiff->file, (long long)z,
                  got < 0 ? strerror(errno) : "the file ends there");
    if (TIFFIsByteSwapped(tiff->tiff)) bytes_swap(to, n[2], tiff->bytes);
    to += bytes;
  }
  return STATUS_OK;
}

enum status tiff_read(struct tiff_source *tiff, const int64_t *start, const int64_t *n, void *to) {
  char *at = to;
  for (int64_t z = start[0]; z < start[0] + n[0]; z++) {
    if (tiff->raw_start >= 0)
      TRY(raw_part(tiff, z, start, n, at));
    else {
      TRY(page_seek(tiff, z));
      TRY(page_part(tiff, start, n, at));
    }
    at += (size_t)(n[1] * n[2]) * tiff->bytes;
  }
  return STATUS_OK;
}
