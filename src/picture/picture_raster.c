/* PNG of a drawing by librsvg and cairo, which are loaded when a report is made and not before: no other command waits
 * for them or needs them. Their functions are told by name; the few that are used have kept their form since librsvg
 * 2.46. Without them the drawing stays an SVG alone; without any font it has no letters. */
#include "picture_draw.h"
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct rectangle {
  double x, y, width, height;
};
enum { FORMAT_RGB24 = 1, FLAG_UNLIMITED = 1 };

struct raster {
  void *svg, *cairo, *object, *io;
  /* librsvg */
  void *(*handle_new)(void *stream, void *base, int flags, void *cancellable, void **error);
  int (*handle_render)(void *handle, void *context, const struct rectangle *place, void **error);
  /* cairo */
  void *(*surface_new)(int format, int wide, int high);
  void *(*context_new)(void *surface);
  void (*context_free)(void *context);
  void (*surface_flush)(void *surface);
  void (*surface_free)(void *surface);
  unsigned char *(*surface_data)(void *surface);
  int (*surface_stride)(void *surface);
  /* glib */
  void *(*stream_new)(const void *bytes, ssize_t n, void (*destroy)(void *));
  void (*unref)(void *object);
};

static bool find(void *library, const char *name, void *to) {
  void *found = library ? dlsym(library, name) : NULL;
  memcpy(to, &found, sizeof found);
  return found != NULL;
}

static bool load(struct raster *r) {
  r->svg    = dlopen("librsvg-2.so.2", RTLD_NOW | RTLD_LOCAL);
  r->cairo  = dlopen("libcairo.so.2", RTLD_NOW | RTLD_LOCAL);
  r->object = dlopen("libgobject-2.0.so.0", RTLD_NOW | RTLD_LOCAL);
  r->io     = dlopen("libgio-2.0.so.0", RTLD_NOW | RTLD_LOCAL);
  return find(r->svg, "rsvg_handle_new_from_stream_sync", &r->handle_new) &&
         find(r->svg, "rsvg_handle_render_document", &r->handle_render) &&
         find(r->cairo, "cairo_image_surface_create", &r->surface_new) &&
         find(r->cairo, "cairo_create", &r->context_new) &&
         find(r->cairo, "cairo_destroy", &r->context_free) &&
         find(r->cairo, "cairo_surface_flush", &r->surface_flush) &&
         find(r->cairo, "cairo_surface_destroy", &r->surface_free) &&
         find(r->cairo, "cairo_image_surface_get_data", &r->surface_data) &&
         find(r->cairo, "cairo_image_surface_get_stride", &r->surface_stride) &&
         find(r->io, "g_memory_input_stream_new_from_data", &r->stream_new) &&
         find(r->object, "g_object_unref", &r->unref);
}

/* Loaded once and kept: such libraries hold on to fonts and types that must not go under them. AddressSanitizer would
 * tell of the fonts that they never give back, and follow each of their many small allocations: there it is left out. */
static const struct raster *raster_get(void) {
#ifdef __SANITIZE_ADDRESS__
  return NULL;
#endif
  static struct raster raster;
  static int state; /* 0 not tried, 1 there, -1 not there */
  if (state == 0) state = load(&raster) ? 1 : -1;
  return state > 0 ? &raster : NULL;
}

bool picture_can_rasterise(void) { return raster_get() != NULL; }

/* Rows of 32-bit pixels 0x00rrggbb to bytes r, g, b. */
static enum status to_png(const unsigned char *from, int stride, int64_t ny, int64_t nx, char **png,
                          size_t *bytes) {
  uint8_t *rgb;
  TRY(memory_make_raw(3 * ny * nx, 1, "a picture", &rgb));
  for (int64_t y = 0; y < ny; y++)
    for (int64_t x = 0; x < nx; x++) {
      uint32_t pixel;
      memcpy(&pixel, from + y * stride + 4 * x, sizeof pixel);
      for (int c = 0; c < 3; c++) rgb[3 * (y * nx + x) + c] = (uint8_t)(pixel >> (16 - 8 * c));
    }
  enum status status = picture_png_bytes(rgb, ny, nx, png, bytes);
  memory_free(rgb);
  return status;
}

static enum status render(const struct raster *r, void *handle, int64_t ny, int64_t nx, char **png,
                          size_t *bytes) {
  const struct rectangle place = {0, 0, (double)nx, (double)ny};
  void *surface                = r->surface_new(FORMAT_RGB24, (int)nx, (int)ny);
  void *context                = r->context_new(surface);
  bool good                    = r->handle_render(handle, context, &place, NULL);
  enum status status           = STATUS_OK;
  r->surface_flush(surface);
  const unsigned char *data = good ? r->surface_data(surface) : NULL;
  if (data)
    status = to_png(data, r->surface_stride(surface), ny, nx, png, bytes);
  else
    status = FAIL(STATUS_INTERNAL, "a drawing of %lld x %lld pixels cannot be rasterised",
                  (long long)nx, (long long)ny);
  r->context_free(context);
  r->surface_free(surface);
  return status;
}

enum status picture_svg_png(const char *svg, size_t n, double wide, double high, double scale,
                            char **png, size_t *bytes) {
  const struct raster *r = raster_get();
  if (!r) return FAIL(STATUS_INTERNAL, "there is no librsvg to rasterise a drawing");
  void *stream       = r->stream_new(svg, (ssize_t)n, NULL);
  void *handle       = r->handle_new(stream, NULL, FLAG_UNLIMITED, NULL, NULL);
  enum status status = handle ? render(r, handle, llround(rint(high) * scale),
                                       llround(rint(wide) * scale), png, bytes)
                              : FAIL(STATUS_INTERNAL, "librsvg does not read a drawing");
  if (handle) r->unref(handle);
  r->unref(stream);
  return status;
}
