/* Compton figures: spectra of the regions from the cube, profiles with their windows, EMF maps on one scale, radial
 * profiles. Cubes are summed over pixels by all ranks, row by row; nothing else is large. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REGIONS_MOST = 6 };

/* ---- sums over pixels ---------------------------------------------------------------------------------------------- */

/* sum[region][bin] over all pixels of a product [region,row,column,bin]; rank 0's. */
struct sums {
  double *sum, *axis; /* axis: what the bins are, n of them; NULL: not said */
  int64_t regions, bins;
};

static void free_sums(struct sums *s) {
  memory_free(s->sum);
  memory_free(s->axis);
  memset(s, 0, sizeof *s);
}

static void add_row(const double *row, int64_t columns, int64_t bins, double *sum) {
  for (int64_t c = 0; c < columns; c++)
    for (int64_t b = 0; b < bins; b++)
      if (isfinite(row[c * bins + b])) sum[b] += row[c * bins + b];
}

static enum status add_rows(const struct report *r, struct store_input *input, struct sums *s,
                            double *row) {
  const struct store_info *info = store_info(input);
  int rank, size;
  MPI_Comm_rank(r->comm, &rank);
  MPI_Comm_size(r->comm, &size);
  int64_t rows = info->n[0] * info->n[1];
  for (int64_t round = 0; round < (rows + size - 1) / size; round++) {
    int64_t at = round * size + rank, start[4] = {0}, n[4] = {0};
    if (at < rows) {
      start[0] = at / info->n[1], start[1] = at % info->n[1];
      n[0] = n[1] = 1, n[2] = info->n[2], n[3] = info->n[3];
    }
    TRY(store_read_box(r->comm, input, start, n, GRID_F64, false, row));
    if (at < rows) add_row(row, info->n[2], info->n[3], s->sum + start[0] * s->bins);
  }
  MPI_Reduce(r->speaks ? MPI_IN_PLACE : s->sum, s->sum, (int)(s->regions * s->bins), MPI_DOUBLE,
             MPI_SUM, 0, r->comm);
  return STATUS_OK;
}

static enum status sum_product(const struct report *r, const char *file, const char *product,
                               struct sums *s) {
  char name[STORE_NAME_BYTES];
  struct store_input *input;
  double *row = NULL;
  snprintf(name, sizeof name, "%.1900s:/entry/%s/data", file, product);
  TRY(store_open(r->comm, name, NULL, 4, &input));
  const struct store_info *info = store_info(input);
  s->regions = info->n[0], s->bins = info->n[3];
  enum status status = s->regions > REGIONS_MOST
                           ? FAIL(STATUS_INPUT, "%s has %lld regions", file, (long long)s->regions)
                           : STATUS_OK;
  if (status == STATUS_OK)
    status = memory_make(s->regions * s->bins, sizeof *s->sum, "spectra", &s->sum);
  if (status == STATUS_OK)
    status = memory_make(info->n[2] * info->n[3], sizeof *row, "a row of spectra", &row);
  status = AGREE(r->comm, status);
  if (status == STATUS_OK) status = add_rows(r, input, s, row);
  memory_free(row);
  store_close(&input);
  return status;
}

static void read_spectra(const struct report *r, int state, struct sums *s) {
  char path[STORE_NAME_BYTES];
  bool found = false;
  int64_t n;
  memset(s, 0, sizeof *s);
  if (!report_file(r, r->state[state].name, "compton", path)) return;
  if (store_has(r->comm, path, "/entry/cube/data", &found) != STATUS_OK || !found ||
      sum_product(r, path, "cube", s) != STATUS_OK) {
    status_clear();
    free_sums(s);
    return;
  }
  s->axis = report_numbers(r, path, "/entry/cube/energy", &n);
  if (n != s->bins) free_sums(s);
}

/* Seconds of a state's region from the cycle, 1 where it says nothing. */
static double exposure_of(const struct report *r, int state, int64_t region, bool *said) {
  const struct config_node *states = r->cycle ? config_get(config_root(r->cycle), "states") : NULL;
  for (int i = 0; i < config_count(states); i++) {
    const char *name = config_scalar(config_get(config_item(states, i), "name"));
    if (!name || strcmp(name, r->state[state].name) != 0) continue;
    const struct config_node *list = config_get(config_item(states, i), "compton");
    const char *text               = region < config_count(list)
                                         ? config_scalar(config_get(config_item(list, (int)region), "exposure_s"))
                                         : NULL;
    *said &= text != NULL;
    return text && atof(text) > 0 ? atof(text) : 1;
  }
  *said = false;
  return 1;
}

/* ---- one panel of curves ------------------------------------------------------------------------------------------- */

struct curves {
  const char *title, *x_label, *y_label;
  double x[2];
  bool difference; /* from the first state that has the profile */
  FILE *csv;
};

static enum status begin(struct report_panel *panel, struct picture_plot *plot,
                         const struct curves *c) {
  memset(panel, 0, sizeof *panel);
  *plot = (struct picture_plot){
      .drawing = &panel->drawing,
      .csv     = c->csv,
      .left    = 66,
      .top     = 28,
      .wide    = 378,
      .high    = 222,
      .x       = {c->x[0],  c->x[1]  },
      .y       = {INFINITY, -INFINITY}
  };
  return picture_drawing_begin(&panel->drawing, 460, 366);
}

static void end(struct report *r, struct picture_plot *plot, const bool *has) {
  const char *names[PICTURE_SERIES];
  char words[PICTURE_SERIES][80];
  int series[PICTURE_SERIES], n = 0;
  for (int i = 0; i < r->states && i < PICTURE_SERIES; i++) {
    if (!has[i]) continue;
    report_state_words(r->state[i].name, words[n], sizeof words[n]);
    names[n]    = words[n];
    series[n++] = i;
  }
  picture_plot_key(plot, 308, names, series, n, true);
  report_keep(r, picture_drawing_end(plot->drawing));
}

static void windows(struct picture_plot *plot) {
  picture_plot_window(plot, -5, -1, 1);
  picture_plot_window(plot, -1, 1, 0);
  picture_plot_window(plot, 1, 5, 1);
}

/* ---- spectra ------------------------------------------------------------------------------------------------------- */

static void draw_region(struct report *r, const struct sums *s, int64_t region,
                        const struct curves *c, struct report_panel *panel) {
  struct picture_plot plot;
  bool has[REPORT_STATES_MOST] = {false}, said = true;
  double *y;
  int64_t most = 0;
  for (int i = 0; i < r->states; i++) most = s[i].bins > most ? s[i].bins : most;
  report_keep(r, begin(panel, &plot, c));
  if (r->status != STATUS_OK) return;
  report_keep(r, memory_make(most + 1, sizeof *y, "a spectrum", &y));
  if (r->status != STATUS_OK) return;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < r->states; i++) {
      if (!s[i].sum || region >= s[i].regions) continue;
      double seconds = exposure_of(r, i, region, &said),
             width   = s[i].bins > 1 ? s[i].axis[1] - s[i].axis[0] : 1;
      for (int64_t b = 0; b < s[i].bins; b++) {
        y[b] = s[i].sum[region * s[i].bins + b] / seconds / width;
        if (pass == 0 && s[i].axis[b] > c->x[0] && s[i].axis[b] < c->x[1])
          picture_range_add(plot.y, &y[b], 1);
      }
      has[i] = true;
      char words[80];
      report_state_words(r->state[i].name, words, sizeof words);
      if (pass == 1) picture_plot_curve(&plot, i, false, words, s[i].axis, y, s[i].bins);
    }
    if (pass == 1) break;
    picture_range_widen(plot.y);
    picture_plot_begin(&plot, c->title, c->x_label,
                       said ? "Counts (1/s/keV)" : "Counts (1/keV, exposure not said)");
  }
  memory_free(y);
  end(r, &plot, has);
}

static void draw_spectra(struct report *r, const struct sums *s) {
  struct report_panel panel[REGIONS_MOST];
  char *csv       = NULL;
  size_t n        = 0;
  int64_t regions = 0;
  for (int i = 0; i < r->states; i++)
    regions = s[i].sum && s[i].regions > regions ? s[i].regions : regions;
  FILE *to = regions ? report_csv(&csv, &n) : NULL;
  if (!to) {
    report_figure_missing(r, "Compton spectra of the regions",
                          "no state has counts of Compton scattering");
    return;
  }
  for (int64_t k = 0; k < regions && r->status == STATUS_OK; k++) {
    char title[64];
    snprintf(title, sizeof title, "Region %lld", (long long)k + 1);
    const struct curves c = {
        title, "Energy (keV)", "", {82, 106},
           false, to
    };
    draw_region(r, s, k, &c, &panel[k]);
  }
  fclose(to);
  if (r->status == STATUS_OK)
    report_figure_add(
        r, &(struct report_figure){"region_spectra", "Compton spectra of the regions",
                                   "Sums over all pixels, as counted. The free-electron line of "
                                   "115 keV lies at 93.9 keV for 90\xc2\xb0; it moves by \xc2\xb1"
                                   "1.1 keV "
                                   "over the detector with the angle, which is undone in the "
                                   "profiles below. The CSV holds all energies.",
                                   panel, (int)regions, regions > 1 ? 2 : 1, csv, n});
}

/* ---- profiles ------------------------------------------------------------------------------------------------------ */

static bool pick(const struct report_table *t, int state, int which, double *p, double *J,
                 int64_t *n) {
  *n = 0;
  for (int64_t i = 0; i < t->rows; i++) {
    if ((int)t->column[0][i] != state || (int)t->column[1][i] != which) continue;
    p[*n]     = t->column[2][i];
    J[(*n)++] = t->column[3][i];
  }
  return *n > 0;
}

/* A state's profile, or what it has beyond `base` (n_base values of the first state; 0: this is the first). */
static bool pick_shown(const struct report_table *t, int state, int which, bool difference,
                       double *p, double *J, int64_t *n, double *base, int64_t *n_base) {
  if (!pick(t, state, which, p, J, n)) return false;
  if (!difference) return true;
  bool first = *n_base == 0;
  if (first) memcpy(base, J, (size_t)*n * sizeof *base), *n_base = *n;
  for (int64_t k = 0; k < *n && *n == *n_base; k++) J[k] -= base[k];
  return !first && *n == *n_base;
}

static void draw_profile(struct report *r, const struct report_table *t, int which,
                         const struct curves *c, struct report_panel *panel) {
  struct picture_plot plot;
  bool has[REPORT_STATES_MOST] = {false};
  double *p;
  int64_t n;
  report_keep(r, begin(panel, &plot, c));
  if (r->status != STATUS_OK) return;
  report_keep(r, memory_make(3 * t->rows + 1, sizeof *p, "a profile", &p));
  if (r->status != STATUS_OK) return;
  double *J = p + t->rows, *base = J + t->rows;
  for (int pass = 0; pass < 2; pass++) {
    int64_t n_base = 0;
    for (int i = 0; i < r->states; i++) {
      char words[80];
      report_state_words(r->state[i].name, words, sizeof words);
      has[i] = pick_shown(t, i, which, c->difference, p, J, &n, base, &n_base);
      if (has[i] && pass == 1) picture_plot_curve(&plot, i, false, words, p, J, n);
      for (int64_t k = 0; has[i] && pass == 0 && k < n; k++)
        if (fabs(p[k]) <= 8) picture_range_add(plot.y, &J[k], 1);
    }
    if (pass == 1) break;
    picture_range_widen(plot.y);
    windows(&plot);
    picture_plot_begin(&plot, c->title, c->x_label, c->y_label);
  }
  memory_free(p);
  end(r, &plot, has);
}

static int highest(const struct report_table *t, int column) {
  double most = 0;
  for (int64_t i = 0; i < t->rows; i++) most = fmax(most, t->column[column][i]);
  return (int)most;
}

/* Profiles, and for regions below them the differences from the first state. */
static void draw_profiles(struct report *r, const struct report_table *t, const char *name,
                          const char *title, const char *caption, const char *const *words) {
  struct report_panel panel[2 * REGIONS_MOST];
  char *csv = NULL;
  size_t n  = 0;
  int last = highest(t, 1) < REGIONS_MOST ? highest(t, 1) : REGIONS_MOST, panels = 0;
  FILE *to = report_csv(&csv, &n);
  report_keep(r, to ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for a figure"));
  if (!to) return;
  for (int k = 0; k < (words ? last : 2 * last) && r->status == STATUS_OK; k++) {
    char text[96];
    bool difference = k >= last;
    if (words)
      snprintf(text, sizeof text, "%s", words[k < 3 ? k : 3]);
    else
      snprintf(text, sizeof text, "Region %d%s", k % last + 1,
               difference ? ", less the first state" : "");
    const struct curves c = {
        text,    "p (a.u.)", difference ? "\xce\x94J (electrons/a.u.)" : "J(p) (electrons/a.u.)",
        {-8, 8},
                 difference, to
    };
    draw_profile(r, t, k % last + 1, &c, &panel[panels++]);
  }
  fclose(to);
  if (r->status == STATUS_OK)
    report_figure_add(r, &(struct report_figure){name, title, caption, panel, panels, 3, csv, n});
}

static void read_profiles(struct report *r, struct report_table *regions,
                          struct report_table *components, struct report_table *radial) {
  static const char *const of_regions[]           = {"state", "region", "p", "J", "J_error"},
                           *const of_components[] = {"state", "component", "p", "J", "J_error"},
                           *const of_radial[]     = {"state",     "region", "r_low_mm",
                                                     "r_high_mm", "emf",    "emf_error"};
  char path[STORE_NAME_BYTES];
  memset(regions, 0, sizeof *regions);
  memset(components, 0, sizeof *components);
  memset(radial, 0, sizeof *radial);
  if (!report_file(r, "all", "correlate", path)) return;
  report_table_read(r, path, "region_profiles", of_regions, 5, regions);
  report_table_read(r, path, "component_profiles", of_components, 5, components);
  report_table_read(r, path, "radial", of_radial, 6, radial);
}

/* ---- radial ------------------------------------------------------------------------------------------------------ */

static void draw_radial(struct report *r, const struct report_table *t, int region,
                        struct report_panel *panel, FILE *csv) {
  struct picture_plot plot;
  bool has[REPORT_STATES_MOST] = {false};
  char title[64];
  double *x;
  snprintf(title, sizeof title, "Region %d", region);
  const struct curves c = {
      title, "Distance from the cell's axis (mm)", "EMF", {0, 1},
         false, csv
  };
  report_keep(r, begin(panel, &plot, &c));
  if (r->status != STATUS_OK) return;
  report_keep(r, memory_make(3 * t->rows + 1, sizeof *x, "a profile", &x));
  if (r->status != STATUS_OK) return;
  double *y = x + t->rows, *e = y + t->rows;
  for (int64_t k = 0; k < t->rows; k++) {
    if ((int)t->column[1][k] != region) continue;
    plot.x[1] = isfinite(t->column[4][k]) ? fmax(plot.x[1] == 1 ? 0 : plot.x[1], t->column[3][k])
                                          : plot.x[1];
    picture_range_add(plot.y, &t->column[4][k], 1);
  }
  picture_range_widen(plot.y);
  picture_plot_begin(&plot, title, c.x_label, c.y_label);
  for (int i = 0; i < r->states; i++) {
    char words[80];
    int64_t n = 0;
    for (int64_t k = 0; k < t->rows; k++)
      if ((int)t->column[0][k] == i && (int)t->column[1][k] == region) {
        x[n] = (t->column[2][k] + t->column[3][k]) / 2, y[n] = t->column[4][k],
        e[n] = t->column[5][k];
        n++;
      }
    report_state_words(r->state[i].name, words, sizeof words);
    has[i] = n > 0;
    if (n) picture_plot_marks(&plot, i, words, x, y, e, n);
    if (n) picture_plot_curve(&plot, i, false, words, x, y, n);
  }
  memory_free(x);
  end(r, &plot, has);
}

static void draw_radials(struct report *r, const struct report_table *t) {
  struct report_panel panel[REGIONS_MOST];
  char *csv = NULL;
  size_t n  = 0;
  int last  = highest(t, 1) < REGIONS_MOST ? highest(t, 1) : REGIONS_MOST;
  FILE *to  = report_csv(&csv, &n);
  if (!to) return;
  for (int k = 1; k <= last && r->status == STATUS_OK; k++) draw_radial(r, t, k, &panel[k - 1], to);
  fclose(to);
  if (r->status == STATUS_OK)
    report_figure_add(
        r, &(struct report_figure){"emf_radial", "EMF from the middle to the edge",
                                   "Means over rings about the cell's axis; bars: one standard "
                                   "deviation; rings without counts to speak of are left out.",
                                   panel, last, 2, csv, n});
}

/* ---- maps -------------------------------------------------------------------------------------------------------- */

/* A map of one quantity from correlate's table of pixels, x along the beam upwards as in the sample. */
static void maps_of_pixels(struct report *r, const char *file, const char *quantity,
                           struct report_image *image) {
  char error[64];
  snprintf(error, sizeof error, "%.50s_error", quantity);
  const char *const columns[] = {"state", "row", "column", "x_mm", quantity, error};
  struct report_table t;
  if (!report_table_read(r, file, "pixels", columns, 6, &t)) return;
  report_table_mask(&t, 4, 5);
  int64_t ny = highest(&t, 1) + 1, nx = highest(&t, 2) + 1;
  double step_um = 0;
  for (int64_t k = 1; k < t.rows && step_um == 0; k++)
    if (t.column[2][k] == t.column[2][k - 1] + 1 && t.column[1][k] == t.column[1][k - 1])
      step_um = 1000 * fabs(t.column[3][k] - t.column[3][k - 1]);
  for (int i = 0; r->speaks && i < r->states && ny * nx < 1 << 24; i++) {
    bool any = false;
    for (int64_t k = 0; k < t.rows; k++) {
      if ((int)t.column[0][k] != i || !isfinite(t.column[4][k])) continue;
      if (!any) {
        report_keep(r, memory_make_raw(ny * nx, sizeof *image[i].value, "a map", &image[i].value));
        if (r->status != STATUS_OK) break;
        for (int64_t q = 0; q < ny * nx; q++) image[i].value[q] = NAN;
      }
      any         = true;
      image[i].ny = ny, image[i].nx = nx, image[i].um_y = image[i].um_x = step_um;
      image[i].value[(int64_t)t.column[1][k] * nx + (int64_t)t.column[2][k]] =
          (float)t.column[4][k];
    }
  }
  report_table_free(&t);
}

/* Without correlate: the detector's own maps. */
static void maps_of_detector(struct report *r, int64_t region, struct report_image *image) {
  for (int i = 0; i < r->states; i++) {
    char path[STORE_NAME_BYTES];
    struct store_info info;
    if (!report_file(r, r->state[i].name, "compton", path) ||
        !report_shape(r, path, "emf", &info) || info.rank != 3 || region >= info.n[0])
      continue;
    const int64_t start[3] = {region, 0, 0}, n[3] = {1, info.n[1], info.n[2]};
    report_image_read(r, path, "emf", start, n, r->params->pixels, false, &image[i]);
  }
}

static bool is_any(struct report *r, const struct report_image *image) {
  int any = 0;
  for (int i = 0; i < r->states; i++) any |= image[i].value != NULL;
  MPI_Bcast(&any, 1, MPI_INT, 0, r->comm);
  return any != 0;
}

static enum status draw_maps(struct report *r, int64_t region) {
  struct report_image *image;
  char path[STORE_NAME_BYTES], quantity[32], name[32], title[96];
  bool sample = false;
  TRY_ALL(r->comm, memory_make(r->states + 1, sizeof *image, "maps", &image));
  snprintf(quantity, sizeof quantity, "emf_region%lld", (long long)region + 1);
  if (report_file(r, "all", "correlate", path)) maps_of_pixels(r, path, quantity, image);
  sample = is_any(r, image);
  if (!sample) maps_of_detector(r, region, image);
  if (is_any(r, image) && r->speaks) {
    snprintf(name, sizeof name, "emf_map_%lld", (long long)region + 1);
    snprintf(title, sizeof title, "EMF map of region %lld", (long long)region + 1);
    report_image_figure(
        r, name, title,
        sample ? "In the sample's frame, the pinhole's inversion undone; one scale for all states; "
                 "grey: no counts to speak of (error over 3 times the median's)."
               : "In detector rows and columns; one scale for all states.",
        "EMF", image, PICTURE_COLOUR, 4);
  } else if (r->speaks && region == 1)
    report_figure_missing(r, "EMF maps", "neither compton nor correlate made any");
  for (int i = 0; i < r->states; i++) report_image_free(&image[i]);
  memory_free(image);
  return STATUS_OK;
}

enum status report_compton(struct report *r) {
  static const char *const components[] = {"Lithium", "Membrane", "Cathode", "?"};
  struct sums *spectra;
  struct report_table of_regions, of_components, radial;
  TRY_ALL(r->comm, memory_make(r->states + 1, sizeof *spectra, "spectra", &spectra));
  for (int i = 0; i < r->states; i++) read_spectra(r, i, &spectra[i]);
  read_profiles(r, &of_regions, &of_components, &radial);
  if (r->speaks) {
    static const char windows_words[] =
        "Yellow: low momenta, |p| < 1 a.u. (valence electrons); green: 1 < |p| < 5 a.u. (core "
        "electrons); EMF is the integral over the first "
        "over that over the second.";
    draw_spectra(r, spectra);
    if (of_regions.rows)
      draw_profiles(r, &of_regions, "region_profiles", "Compton profiles of the regions",
                    windows_words, NULL);
    if (of_components.rows)
      draw_profiles(r, &of_components, "component_profiles", "Compton profiles of the components",
                    windows_words, components);
    if (!of_regions.rows)
      report_figure_missing(r, "Compton profiles",
                            report_why_not(r, "all", "correlate")[0]
                                ? report_why_not(r, "all", "correlate")
                                : "correlate has not worked");
  }
  for (int64_t k = 0; k < 3; k++) TRY(draw_maps(r, k));
  report_table_mask(&radial, 4, 5);
  if (r->speaks && radial.rows) draw_radials(r, &radial);
  for (int i = 0; i < r->states; i++) free_sums(&spectra[i]);
  memory_free(spectra);
  report_table_free(&of_regions);
  report_table_free(&of_components);
  report_table_free(&radial);
  return STATUS_OK;
}
