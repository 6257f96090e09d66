/* Wider fields than the detector's.
 *
 * Axis near an edge, full turn: each ray at distance s from the axis is seen at th as s and at th + 180 degrees as
 * -s. With weights u(s) + u(-s) = 2, u = 1 + sin(pi s / 2 o) in the overlap |s| <= o, 2 on the wide side and 0
 * beyond the narrow edge, the weighted projections of a full turn have the same sum, before and after the filter
 * (which is linear and even), as those of a detector that sees all. Nothing is stitched, so there is no seam; an
 * axis that is off by a fraction of a pixel blurs, as it does in a full scan.
 *
 * Truncated objects: a filter takes a cut for an edge of the object. So a line goes on beyond the detector, before
 * it is filtered, as a disc of the object's radius would, scaled to the mean of the outermost columns (Hsieh et al.,
 * Medical Physics 31, 2385, 2004), or else fades in a cosine (Ohnesorge et al., Medical Physics 27, 39, 2000). A
 * radius that is not given is that of the mean projection: a disc's square is a line over s^2, its zero R^2.
 * Filtered lines are cut back to the detector: within a few pixels of the field's edge the cut rings. */
#include "recon_field.h"
#include "recon_private.h"
#include <fftw3.h>
#include <math.h>
#include <string.h>

enum { EDGE_COLUMNS = 4 }; /* averaged for the value at an edge */
#define FIT_FROM 0.6       /* of the way to an edge, where the fit of a radius begins */

enum status recon_field_make(int64_t detector, double centre_px, bool extended,
                             struct recon_field *field) {
  *field = (struct recon_field){.detector = detector, .columns = detector, .centre_px = centre_px};
  if (!extended) return STATUS_OK;
  double uneven     = (double)(detector - 1) - 2 * centre_px;
  field->overlap_px = 0.5 * ((double)(detector - 1) - fabs(uneven));
  if (field->overlap_px < 2)
    return FAIL(STATUS_USAGE,
                "the axis at column %.2f of %lld leaves %.2f columns beyond it; an extended field "
                "needs at least 2",
                centre_px, (long long)detector, field->overlap_px);
  field->columns = detector + (int64_t)ceil(fabs(uneven));
  field->shift   = uneven > 0 ? field->columns - detector : 0;
  field->centre_px += (double)field->shift;
  return STATUS_OK;
}

void recon_field_embed(const struct recon_field *field, const float *from, int64_t lines,
                       float *to) {
  double axis = field->centre_px - (double)field->shift,
         side = axis < 0.5 * (double)(field->detector - 1) ? 1 : -1;
  memset(to, 0, (size_t)(lines * field->columns) * sizeof *to);
  for (int64_t c = 0; c < field->detector; c++) {
    double s     = side * ((double)c - axis) / field->overlap_px;
    float weight = s >= 1 ? 2 : s <= -1 ? 0 : (float)(1 + sin(0.5 * PI * s));
    for (int64_t i = 0; i < lines; i++)
      to[i * field->columns + field->shift + c] = weight * from[i * field->detector + c];
  }
}

/* What a line becomes beyond its edges: shares of the values at the edges. */
struct beyond {
  int64_t columns, more, pad; /* of the line; on each side; of the transform */
  float *left, *right;        /* [more], outwards */
  float *filter, *line;
  fftwf_complex *transform;
  fftwf_plan forward, backward;
};

static int64_t columns_beyond(const struct recon_geometry *g, double radius_px) {
  double narrow = fmin(g->centre_px, (double)(g->columns - 1) - g->centre_px);
  if (!(radius_px > 0)) return g->columns / 2;
  return radius_px > narrow ? (int64_t)ceil(radius_px - narrow) : 0;
}

static void shares_beyond(const struct recon_geometry *g, const char *how, double radius,
                          struct beyond *b) {
  for (int64_t k = 0; k < b->more; k++) {
    double d = (double)(k + 1), fade = 0.5 * (1 + cos(PI * d / (double)(b->more + 1)));
    for (int right = 0; right < 2; right++) {
      double edge = right ? (double)(g->columns - 1) - g->centre_px : g->centre_px;
      double at   = edge - 0.5 * (EDGE_COLUMNS - 1); /* where the edge's value was taken */
      double disc =
          radius > edge + d && radius > at
              ? sqrt((radius * radius - (edge + d) * (edge + d)) / (radius * radius - at * at))
              : 0;
      (right ? b->right : b->left)[k] = (float)(strcmp(how, "circle") == 0 ? disc : fade);
    }
  }
}

static void beyond_free(struct beyond *b) {
  if (b->forward) fftwf_destroy_plan(b->forward);
  if (b->backward) fftwf_destroy_plan(b->backward);
  fftwf_free(b->line);
  fftwf_free(b->transform);
  memory_free(b->filter);
  memory_free(b->left);
  memory_free(b->right);
}

static enum status beyond_make(const struct recon_geometry *g, const char *how, double radius_px,
                               struct beyond *b) {
  *b                         = (struct beyond){.columns = g->columns,
                                               .more    = columns_beyond(g, strcmp(how, "circle") == 0 ? radius_px : 0)};
  struct recon_geometry wide = *g;
  int n;
  wide.columns = b->columns + 2 * b->more;
  b->pad       = recon_good_length(2 * wide.columns);
  TRY(base_int_from(b->pad, "length of a transform", &n));
  TRY(memory_make(b->more, sizeof *b->left, "shares beyond an edge", &b->left));
  TRY(memory_make(b->more, sizeof *b->right, "shares beyond an edge", &b->right));
  TRY(memory_make(b->pad, sizeof *b->filter, "a filter", &b->filter));
  TRY(recon_filter_make(&wide, b->pad, b->filter));
  shares_beyond(g, how, radius_px, b);
  b->line      = fftwf_alloc_real((size_t)b->pad);
  b->transform = fftwf_alloc_complex((size_t)b->pad / 2 + 1);
  if (!b->line || !b->transform) return FAIL(STATUS_MEMORY, "no memory for a filter of %d", n);
  b->forward  = fftwf_plan_dft_r2c_1d(n, b->line, b->transform, FFTW_ESTIMATE);
  b->backward = fftwf_plan_dft_c2r_1d(n, b->transform, b->line, FFTW_ESTIMATE);
  return STATUS_OK;
}

double recon_field_radius(const struct recon_geometry *g, const float *sinogram) {
  double n = 0, x = 0, y = 0, xx = 0, xy = 0,
         edge = fmax(g->centre_px, (double)(g->columns - 1) - g->centre_px);
  for (int64_t c = 0; c < g->columns; c++) {
    double s    = (double)c - g->centre_px,
           near = s < 0 ? g->centre_px : (double)(g->columns - 1) - g->centre_px, mean = 0;
    if (fabs(s) < FIT_FROM * near) continue;
    for (int64_t a = 0; a < g->angles; a++)
      mean += (double)sinogram[a * g->columns + c] / (double)g->angles;
    n++, x += s * s, y += mean * mean, xx += s * s * s * s, xy += s * s * mean * mean;
  }
  double slope  = (xy - x * y / n) / (xx - x * x / n),
         square = slope < 0 ? (x - y / slope) / n : INFINITY;
  return sqrt(fmin(fmax(square, edge * edge), 16 * edge * edge));
}

static float edge_value(const float *value, int64_t step) {
  float sum = 0;
  for (int64_t k = 0; k < EDGE_COLUMNS; k++) sum += value[k * step];
  return sum / EDGE_COLUMNS;
}

static void filter_line(const struct beyond *b, float *value) {
  float left = edge_value(value, 1), right = edge_value(value + b->columns - 1, -1);
  memset(b->line, 0, (size_t)b->pad * sizeof *b->line);
  for (int64_t k = 0; k < b->more; k++) {
    b->line[b->more - 1 - k]          = left * b->left[k];
    b->line[b->more + b->columns + k] = right * b->right[k];
  }
  memcpy(b->line + b->more, value, (size_t)b->columns * sizeof *value);
  fftwf_execute(b->forward);
  for (int64_t k = 0; k <= b->pad / 2; k++) {
    b->transform[k][0] *= b->filter[k] / (float)b->pad;
    b->transform[k][1] *= b->filter[k] / (float)b->pad;
  }
  fftwf_execute(b->backward);
  memcpy(value, b->line + b->more, (size_t)b->columns * sizeof *value);
}

enum status recon_field_filter(const struct recon_geometry *geometry, const char *how,
                               double radius_px, float *sinogram, int64_t rows) {
  enum status status = STATUS_OK;
  struct beyond b    = {.columns = 0};
  bool circle = strcmp(how, "circle") == 0, every = circle && !(radius_px > 0);
  for (int64_t r = 0; r < rows && status == STATUS_OK; r++) {
    float *line = sinogram + r * geometry->angles * geometry->columns;
    if (r == 0 || every) {
      beyond_free(&b);
      status =
          beyond_make(geometry, how, every ? recon_field_radius(geometry, line) : radius_px, &b);
    }
    for (int64_t a = 0; a < geometry->angles && status == STATUS_OK; a++)
      filter_line(&b, line + a * geometry->columns);
  }
  beyond_free(&b);
  return status;
}

int64_t recon_field_filter_bytes(const struct recon_geometry *geometry, const char *how,
                                 double radius_px) {
  double most = strcmp(how, "taper") == 0 ? 0
                : radius_px > 0           ? radius_px
                                          : 4 * (double)geometry->columns;
  return 16 * recon_good_length(2 * geometry->columns + 4 * columns_beyond(geometry, most)) +
         8 * columns_beyond(geometry, most);
}
