/* Slices, topology and flux of all states, each kind on one scale. The x-y slice lies at the mean height of the surface,
 * the x-z slice in the middle. */
#include "report_private.h"
#include <math.h>
#include <string.h>

struct pictures {
  char unit[64]; /* of the greys */
  struct report_image *xy, *xz, *zoom, *height, *flux_xz, *flux_xy, *labels;
};

static enum status make(struct report *r, struct pictures *p) {
  struct report_image **const all[] = {&p->xy,      &p->xz,      &p->zoom,  &p->height,
                                       &p->flux_xz, &p->flux_xy, &p->labels};
  memset(p, 0, sizeof *p);
  for (size_t k = 0; k < sizeof all / sizeof *all; k++)
    TRY(memory_make(r->states + 1, sizeof **all[k], "pictures", all[k]));
  return STATUS_OK;
}

static void free_all(struct report *r, struct pictures *p) {
  struct report_image *const all[] = {p->xy,      p->xz,      p->zoom,  p->height,
                                      p->flux_xz, p->flux_xy, p->labels};
  for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
    for (int i = 0; all[k] && i < r->states; i++) report_image_free(&all[k][i]);
    memory_free(all[k]);
  }
}

static double mean_of(const struct report_image *image) {
  double sum = 0, n = 0;
  for (int64_t i = 0; image->value && i < image->ny * image->nx; i++)
    if (isfinite(image->value[i])) sum += (double)image->value[i], n++;
  return n > 0 ? sum / n : (double)NAN;
}

/* The height map; its pixels are the labels' voxels. */
static void read_height(struct report *r, int state, const struct store_info *volume,
                        struct report_image *height) {
  char path[STORE_NAME_BYTES];
  struct store_info info;
  if (!report_file(r, r->state[state].name, "surface", path) ||
      !report_shape(r, path, "height", &info))
    return;
  const int64_t start[3] = {0, 0, 0};
  report_image_read(r, path, "height", start, info.n, r->params->pixels, false, height);
  if (!height->value) return;
  int64_t longest = info.n[1] > info.n[2] ? info.n[1] : info.n[2],
          k       = (longest + r->params->pixels - 1) / r->params->pixels;
  height->um_y    = volume->voxel_um[1] * (double)k;
  height->um_x    = volume->voxel_um[2] * (double)k;
}

/* The aligned volume where there is one, else the reconstructed, else the one the state brings. */
static bool find_volume(struct report *r, int state, char *path, const char **product,
                        struct store_info *info) {
  *product = "aligned";
  if (report_file(r, r->state[state].name, "align", path) && report_shape(r, path, *product, info))
    return info->rank == 3;
  *product = "volume";
  if (report_file(r, r->state[state].name, "recon", path) && report_shape(r, path, *product, info))
    return info->rank == 3;
  *product = "";
  return report_given(r, r->state[state].name, "volume", path) &&
         report_shape(r, path, *product, info);
}

static void read_volume(struct report *r, int state, struct pictures *p) {
  char path[STORE_NAME_BYTES];
  const char *product;
  struct store_info v;
  if (!find_volume(r, state, path, &product, &v)) return;
  snprintf(p->unit, sizeof p->unit, "Attenuation (%.40s)", v.unit[0] ? v.unit : "no unit");
  read_height(r, state, &v, &p->height[state]);
  double mean_um = mean_of(&p->height[state]);
  MPI_Bcast(&mean_um, 1, MPI_DOUBLE, 0, r->comm);
  int64_t z = v.n[0] / 2, most = r->params->pixels;
  if (isfinite(mean_um) && v.voxel_um[0] > 0)
    z = (int64_t)fmin(fmax(mean_um / v.voxel_um[0], 0), (double)v.n[0] - 1);
  const int64_t at_z[3] = {z, 0, 0}, one_z[3] = {1, v.n[1], v.n[2]}, at_y[3] = {0, v.n[1] / 2, 0},
                one_y[3] = {v.n[0], 1, v.n[2]};
  report_image_read(r, path, product, at_z, one_z, most, false, &p->xy[state]);
  report_image_read(r, path, product, at_y, one_y, most, true, &p->xz[state]);
  /* about the interface: 60 um up and down, four times as wide */
  int64_t half = v.voxel_um[0] > 0 ? (int64_t)(60 / v.voxel_um[0]) : 20;
  int64_t z0 = z > half ? z - half : 0, nz = z + half < v.n[0] ? z + half - z0 : v.n[0] - z0,
          nx               = 8 * half < v.n[2] ? 8 * half : v.n[2];
  const int64_t at_zoom[3] = {z0, v.n[1] / 2, (v.n[2] - nx) / 2}, n_zoom[3] = {nz, 1, nx};
  report_image_read(r, path, product, at_zoom, n_zoom, most, true, &p->zoom[state]);
  struct store_info l;
  if (report_file(r, r->state[state].name, "segment", path) &&
      report_shape(r, path, "labels", &l) && l.rank == 3 && l.n[0] >= z0 + nz && l.n[1] == v.n[1] &&
      l.n[2] == v.n[2])
    report_image_read(r, path, "labels", at_zoom, n_zoom, most, true, &p->labels[state]);
}

/* What blocks has no flux: it is left blank. */
static void blank_zeros(struct report_image *image) {
  for (int64_t i = 0; image->value && i < image->ny * image->nx; i++)
    if (image->value[i] == 0) image->value[i] = NAN;
}

static void read_flux(struct report *r, int state, struct pictures *p) {
  char path[STORE_NAME_BYTES];
  struct store_info v;
  if (!report_file(r, r->state[state].name, "flux", path) || !report_shape(r, path, "flux", &v) ||
      v.rank != 3)
    return;
  const int64_t at_y[3] = {0, v.n[1] / 2, 0}, one_y[3] = {v.n[0], 1, v.n[2]},
                at_z[3] = {v.n[0] / 2, 0, 0}, one_z[3] = {1, v.n[1], v.n[2]};
  report_image_read(r, path, "flux", at_y, one_y, r->params->pixels, true, &p->flux_xz[state]);
  report_image_read(r, path, "flux", at_z, one_z, r->params->pixels, false, &p->flux_xy[state]);
  blank_zeros(&p->flux_xz[state]);
  blank_zeros(&p->flux_xy[state]);
}

/* ---- drawing -------------------------------------------------------------------------------------------------- */

static void draw_labels(struct report *r, struct report_image *image) {
  static const uint8_t colour[6][3] = {
      {236, 238, 241},
      {86,  180, 233},
      {230, 159, 0  },
      {0,   114, 178},
      {213, 94,  0  },
      {0,   158, 115}
  };
  struct report_panel *panel;
  int shown = 0, last = 0;
  report_keep(r, memory_make(r->states + 1, sizeof *panel, "panels", &panel));
  for (int i = 0; i < r->states && r->status == STATUS_OK; i++) {
    char words[80], text[120];
    uint8_t *rgb;
    if (!image[i].value) continue;
    report_keep(r, memory_make_raw(3 * image[i].ny * image[i].nx, 1, "a picture", &rgb));
    for (int64_t k = 0; r->status == STATUS_OK && k < image[i].ny * image[i].nx; k++) {
      int label = (int)image[i].value[k] % 6;
      last      = label > last ? label : last;
      memcpy(rgb + 3 * k, colour[label], 3);
    }
    report_state_words(r->state[i].name, words, sizeof words);
    snprintf(text, sizeof text, "%s  %s", report_roman(r->state[i].stage), words);
    if (r->status == STATUS_OK)
      report_keep(r, report_rgb_panel(&panel[shown++], rgb, image[i].ny, image[i].nx, image[i].um_y,
                                      image[i].um_x, 3, text, ""));
    memory_free(rgb);
  }
  if (shown && r->status == STATUS_OK) {
    report_raw(r, "<p class=\"quiet\">Phases: ");
    for (int k = 0; k <= last; k++)
      report_raw(r, "<span class=\"swatch\" style=\"background:#%02x%02x%02x\"></span>%d ",
                 colour[k][0], colour[k][1], colour[k][2], k);
    report_raw(r, "</p>\n");
    report_figure_add(r, &(struct report_figure){"phases_xz",
                                                 "Phases about the interface, x\xe2\x80\x93z",
                                                 "The labels of the slices above, by ascending "
                                                 "grey value; the same place in every state.",
                                                 panel, shown, 3, NULL, 0});
  }
  memory_free(panel);
}

static void draw_topology(struct report *r, struct report_image *height) {
  double level = NAN;
  for (int i = 0; i < r->states && !isfinite(level); i++) level = mean_of(&height[i]);
  for (int i = 0; i < r->states; i++)
    for (int64_t k = 0; height[i].value && k < height[i].ny * height[i].nx; k++)
      height[i].value[k] -= (float)level;
  report_image_figure(r, "topology", "Topology of the lithium surface",
                      "Height of the surface under the membrane above its mean level in the first "
                      "of these states; grey: outside the "
                      "field of the measurement.",
                      "Height (\xc2\xb5m)", height, PICTURE_COLOUR, 4);
}

enum status report_pictures(struct report *r) {
  struct pictures p;
  enum status status = AGREE(r->comm, make(r, &p));
  for (int i = 0; i < r->states && status == STATUS_OK; i++) {
    read_volume(r, i, &p);
    read_flux(r, i, &p);
  }
  if (status == STATUS_OK && r->speaks) {
    report_image_figure(r, "ct_xy", "Tomograms, x\xe2\x80\x93y",
                        "Slices at the mean height of the lithium surface. Linear attenuation on "
                        "one scale; the brightest parts (a steel can) lie beyond it.",
                        p.unit, p.xy, PICTURE_GREY, 4);
    report_image_figure(r, "ct_xz", "Tomograms, x\xe2\x80\x93z",
                        "Slices through the middle, z upwards.", p.unit, p.xz, PICTURE_GREY, 3);
    report_image_figure(
        r, "ct_xz_interface", "The buried interface, x\xe2\x80\x93z",
        "The middle slices within 60 \xc2\xb5m above and below the mean surface of each state.",
        p.unit, p.zoom, PICTURE_GREY, 3);
    draw_labels(r, p.labels);
    draw_topology(r, p.height);
    report_image_figure(r, "flux_xz", "Li\xe2\x81\xba flux, x\xe2\x80\x93z",
                        "Magnitude of the flux through the middle of the box for a unit "
                        "concentration drop along the direction whose field "
                        "was kept (flux.fields); grey: no flux. z upwards.",
                        "Flux (that of an empty box = 1)", p.flux_xz, PICTURE_COLOUR, 3);
    report_image_figure(r, "flux_xy", "Li\xe2\x81\xba flux, x\xe2\x80\x93y",
                        "The same through the middle height of the box.",
                        "Flux (that of an empty box = 1)", p.flux_xy, PICTURE_COLOUR, 4);
  }
  free_all(r, &p);
  return status;
}
