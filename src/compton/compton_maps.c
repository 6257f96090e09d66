/* From cubes to maps. A pixel's error in a map is what differs from pixel to pixel: counting, background, its own line;
 * what all pixels share (scale, angle, resolution) is told of the whole field alone.
 *
 * Densities: amplitude of the fitted line, over live time and monitor. With the number of photons it becomes electrons
 * per volume; with a disc of known exposure it is told in the disc's; else it is relative, the same in all
 * regions and states. */
#include "compton_maps.h"
#include <math.h>
#include <string.h>

/* ---- settings ------------------------------------------------------------------------------------ */

static const struct {
  const char *word;
  enum xray_material material;
} materials[] = {
    {"lithium",   XRAY_LI_METAL },
    {"ion",       XRAY_LI_ION   },
    {"spe",       XRAY_SPE      },
    {"nmc622",    XRAY_NMC622   },
    {"cathode",   XRAY_CATHODE  },
    {"carbon",    XRAY_CARBON   },
    {"aluminium", XRAY_ALUMINIUM},
    {"iron",      XRAY_IRON     },
};
enum { MATERIALS = sizeof materials / sizeof *materials };

static enum status material_of(const char *word, enum xray_material *material) {
  const char *known[MATERIALS];
  for (int i = 0; i < MATERIALS; i++) {
    known[i] = materials[i].word;
    if (strcmp(word, known[i]) != 0) continue;
    *material = materials[i].material;
    return STATUS_OK;
  }
  const char *nearest = config_nearest(word, known, MATERIALS);
  return FAIL(
      STATUS_USAGE,
      "compton.materials: '%s' is none of lithium, ion, spe, nmc622, cathode, carbon, aluminium, "
      "iron%s%s%s",
      word, nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static enum status materials_take(const char *list, struct compton_profile_settings *s) {
  s->shapes = 0;
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(at, ","), at);
    if (s->shapes == COMPTON_SHAPES)
      return FAIL(STATUS_USAGE, "compton.materials = %s; at most %d", list, COMPTON_SHAPES);
    TRY(material_of(word, &s->material[s->shapes]));
    s->shapes++;
  }
  return s->shapes > 0
             ? STATUS_OK
             : FAIL(STATUS_USAGE, "compton.materials is empty; lithium,spe,cathode would do");
}

enum status compton_maps_settings(const struct compton_params *p,
                                  struct compton_profile_settings *s) {
  *s                         = compton_profile_defaults();
  s->beam_kev                = p->energy_kev;
  s->fwhm_kev                = p->fwhm_kev;
  s->low_au                  = p->low_au;
  s->high_au                 = p->high_au;
  s->step_au                 = p->profile_step_au;
  s->bins_au                 = 2 * llround(p->profile_au / p->profile_step_au);
  s->first_au                = -0.5 * (double)s->bins_au * s->step_au;
  s->fit_first_kev           = p->fit_first_kev;
  s->fit_last_kev            = p->fit_last_kev;
  s->x                       = p->x_li;
  s->step                    = p->step;
  s->escape                  = p->escape;
  s->lead                    = p->lead;
  s->sensor_mm               = p->sensor_mm;
  s->polarised               = p->polarisation;
  s->unsure.scale_kev        = p->scale_error_kev;
  s->unsure.angle_deg        = p->angle_error_deg;
  s->unsure.fwhm_kev         = p->fwhm_error_kev;
  s->unsure.tail_percent     = p->tail_percent;
  s->unsure.tail_kev         = p->tail_kev;
  s->unsure.multiple_percent = p->multiple_percent;
  s->unsure.escape_percent   = p->escape_percent;
  return materials_take(p->materials, s);
}

/* ---- what is known of the pixels ----------------------------------------------------------------- */

static struct compton_geometry geometry_of(const struct compton_params *p,
                                           const struct compton_cube *cube) {
  return (struct compton_geometry){.rows            = cube->rows,
                                   .columns         = cube->columns,
                                   .pinhole_mm      = p->pinhole_mm,
                                   .detector_mm     = p->detector_mm,
                                   .pitch_mm        = p->pitch_mm,
                                   .angle_deg       = p->angle_deg,
                                   .offset_deg      = p->angle_offset_deg,
                                   .beam_along_rows = strcmp(p->beam_axis, "row") == 0};
}

static void angles_set(const struct compton_cube *cube, struct compton_knowledge *known) {
  for (int64_t i = 0; i < cube->pixels; i++) {
    int64_t pixel   = cube->pixel0 + i;
    known->angle[i] = compton_angle(&known->geometry, (double)(pixel / cube->columns),
                                    (double)(pixel % cube->columns));
  }
}

static struct compton_pixels pixels_of(const struct compton_knowledge *known,
                                       const struct compton_cube *cube) {
  return (struct compton_pixels){.cube           = cube,
                                 .angle          = known->angle,
                                 .line_kev       = known->line_kev,
                                 .line_sigma_kev = known->line_sigma_kev,
                                 .fwhm_kev       = known->fwhm_kev,
                                 .flat           = known->flat};
}

static double disc_rate(const struct compton_params *p, double amplitude) {
  return p->disc_exposure_s > 0 ? amplitude / p->disc_exposure_s : (double)NAN;
}

/* The sum over all of the disc's pixels. */
static enum status disc_whole(MPI_Comm comm, struct compton_table *table,
                              const struct compton_knowledge *known,
                              const struct compton_cube *disc, struct compton_emf *whole) {
  const struct compton_pixels pixels = pixels_of(known, disc);
  int32_t *label;
  TRY_ALL(comm, memory_make(disc->pixels, sizeof *label, "labels of pixels", &label));
  enum status status = compton_profile_groups(comm, table, &pixels, label, 1, whole, NULL, NULL);
  memory_free(label);
  return status;
}

static enum status disc_learn(MPI_Comm comm, const struct compton_params *p,
                              const struct compton_cube *disc, struct compton_table *table,
                              struct compton_knowledge *known) {
  const double part[COMPTON_SHAPES] = {1};
  struct compton_disc_pixel *pixel;
  struct compton_emf whole;
  TRY_ALL(comm, memory_make(disc->pixels, sizeof *pixel, "pixels of the disc", &pixel));
  enum status status =
      compton_disc_measure(comm, table, disc, &known->geometry, part, pixel, &known->disc);
  for (int64_t i = 0; i < disc->pixels && status == STATUS_OK; i++) {
    known->line_kev[i]       = pixel[i].line_kev;
    known->line_sigma_kev[i] = pixel[i].line_sigma_kev;
    known->fwhm_kev[i]       = pixel[i].fwhm_kev;
    known->flat[i]           = pixel[i].flat;
  }
  memory_free(pixel);
  if (status != STATUS_OK) return status;
  known->geometry.offset_deg += known->disc.offset_deg;
  angles_set(disc, known);
  TRY(disc_whole(comm, table, known, disc, &whole));
  known->disc_amplitude = disc_rate(p, whole.amplitude);
  known->has_disc       = true;
  return STATUS_OK;
}

static enum status disc_table(const struct compton_params *p, const struct compton_cube *disc,
                              struct compton_knowledge *known, struct compton_table **table) {
  struct compton_profile_settings s = known->settings;
  TRY(material_of(p->disc_material, &s.material[0]));
  s.shapes  = 1;
  s.bins_au = 0;
  return compton_table_make(&s, disc->first_kev, disc->bin_kev, disc->bins, table);
}

static enum status memory_take(const struct compton_cube *cube, bool disc,
                               struct compton_knowledge *known) {
  double **const of_disc[] = {&known->line_kev, &known->line_sigma_kev, &known->fwhm_kev,
                              &known->flat};
  TRY(memory_make(cube->pixels, sizeof(double), "angles of pixels", &known->angle));
  for (size_t i = 0; i < sizeof of_disc / sizeof *of_disc && disc; i++)
    TRY(memory_make(cube->pixels, sizeof(double), "what a disc tells of pixels", of_disc[i]));
  return STATUS_OK;
}

void compton_maps_forget(struct compton_knowledge *known) {
  memory_free(known->angle);
  memory_free(known->line_kev);
  memory_free(known->line_sigma_kev);
  memory_free(known->fwhm_kev);
  memory_free(known->flat);
  memset(known, 0, sizeof *known);
}

static enum status disc_check(const struct compton_cube *cube, const struct compton_cube *disc) {
  if (!disc || (disc->rows == cube->rows && disc->columns == cube->columns)) return STATUS_OK;
  return FAIL(STATUS_INPUT,
              "the disc has %lld x %lld pixels, the regions %lld x %lld: another detector",
              (long long)disc->rows, (long long)disc->columns, (long long)cube->rows,
              (long long)cube->columns);
}

static enum status know(MPI_Comm comm, const struct compton_params *p,
                        const struct compton_cube *cube, const struct compton_cube *disc,
                        struct compton_knowledge *known) {
  TRY_ALL(comm, compton_maps_settings(p, &known->settings));
  TRY_ALL(comm, disc_check(cube, disc));
  TRY_ALL(comm, memory_take(cube, disc != NULL, known));
  known->geometry       = geometry_of(p, cube);
  known->disc_amplitude = NAN;
  angles_set(cube, known);
  if (!disc) return STATUS_OK;
  struct compton_table *table = NULL;
  enum status status          = AGREE(comm, disc_table(p, disc, known, &table));
  if (status == STATUS_OK) status = disc_learn(comm, p, disc, table, known);
  compton_table_free(table);
  return status;
}

enum status compton_maps_know(MPI_Comm comm, const struct compton_params *params,
                              const struct compton_cube *cube, const struct compton_cube *disc,
                              struct compton_knowledge *known) {
  memset(known, 0, sizeof *known);
  enum status status = know(comm, params, cube, disc, known);
  if (status != STATUS_OK) compton_maps_forget(known);
  return status;
}

/* ---- densities ----------------------------------------------------------------------------------- */

const char *compton_maps_unit(const struct compton_params *p, const struct compton_knowledge *known,
                              const struct compton_region *region) {
  bool timed = region->live_s > 0;
  if (p->phi0 > 0 && timed) return "1e23/cm3";
  if (isfinite(known->disc_amplitude) && timed) return "disc";
  return timed ? "counts sr/barn/s" : "counts sr/barn";
}

/* What an amplitude is to be multiplied with. */
static double density_scale(const struct compton_params *p, const struct compton_knowledge *known,
                            const struct compton_region *region) {
  double per  = region->monitor > 0 ? 1 / region->monitor : 1;
  double hole = 0.5 * p->hole_mm, reach = p->pinhole_mm;
  if (!(region->live_s > 0)) return per;
  const struct compton_flux flux = {.photons_per_mm2 = p->phi0 * region->live_s,
                                    .sheet_mm        = p->sheet_mm,
                                    .footprint_mm    = p->pitch_mm * p->pinhole_mm / p->detector_mm,
                                    .solid_angle_sr  = PI * hole * hole / (reach * reach),
                                    .transmission    = p->transmission};
  if (p->phi0 > 0) return per * compton_density(1, &flux);
  if (isfinite(known->disc_amplitude)) per /= known->disc_amplitude;
  return per / region->live_s;
}

/* ---- maps ---------------------------------------------------------------------------------------- */

static void cells_take(const struct compton_emf *emf, double scale, struct compton_maps *maps) {
  for (int64_t i = 0; i < maps->n; i++) {
    const struct compton_emf *e = &emf[i];
    bool defined                = e->state == COMPTON_DEFINED;
    maps->emf[i]                = defined ? (float)e->emf_normal.value : NAN;
    maps->emf_sigma[i]          = defined ? (float)e->emf_normal.sigma : NAN;
    bool counted                = e->state != COMPTON_NO_PIXEL;
    maps->density[i]            = counted ? (float)(scale * e->amplitude) : NAN;
    maps->density_sigma[i]      = counted ? (float)(scale * e->amplitude_sigma) : NAN;
  }
}

/* Is a pixel's own fit of worth? */
static bool is_rich(const struct compton_params *p, const struct compton_emf *whole) {
  if (strcmp(p->background, "auto") != 0) return strcmp(p->background, "pixel") == 0;
  return whole->pixels > 0 && whole->counts >= p->rich_counts * (double)whole->pixels;
}

/* The field's parts, each with a background and a mixture of its own. */
struct parts {
  int64_t n;
  int32_t *label;
  struct compton_emf *part; /* [n + 1] */
};
static int64_t parts_of(const struct compton_params *p, int64_t rows, int64_t columns) {
  int64_t k = p->part_pixels;
  return k > 0 ? (rows + k - 1) / k * ((columns + k - 1) / k) : 1;
}
static enum status parts_make(const struct compton_params *p, const struct compton_cube *cube,
                              struct parts *parts) {
  *parts = (struct parts){.n = parts_of(p, cube->rows, cube->columns)};
  TRY(memory_make(cube->pixels, sizeof *parts->label, "labels of pixels", &parts->label));
  TRY(memory_make(parts->n + 1, sizeof *parts->part, "parts of the field", &parts->part));
  if (p->part_pixels > 0) compton_profile_bin_labels(cube, p->part_pixels, parts->label);
  return STATUS_OK;
}
static void parts_free(struct parts *parts) {
  memory_free(parts->label);
  memory_free(parts->part);
}

static enum status single_pixels(MPI_Comm comm, const struct compton_params *p,
                                 struct compton_table *table, const struct compton_pixels *pixels,
                                 const struct parts *parts, double scale,
                                 struct compton_maps *maps) {
  struct compton_emf *emf;
  TRY_ALL(comm, memory_make(maps->n, sizeof *emf, "factors of pixels", &emf));
  enum status status = AGREE(
      comm, compton_profile_pixels(table, pixels, is_rich(p, &maps->whole) ? NULL : parts->part,
                                   parts->label, emf, maps->profile, maps->profile_sigma));
  if (status == STATUS_OK) cells_take(emf, scale, maps);
  memory_free(emf);
  return status;
}

/* Squares of pixels are known to all ranks; each keeps its share. */
static enum status squares_here(MPI_Comm comm, struct compton_table *table,
                                const struct compton_pixels *pixels, const int32_t *label,
                                int64_t bins_au, double scale, struct compton_maps *maps) {
  int64_t squares         = maps->rows * maps->columns;
  struct compton_emf *emf = NULL;
  float *profile          = NULL;
  enum status status      = memory_make(squares, sizeof *emf, "factors of squares", &emf);
  if (status == STATUS_OK)
    status = memory_make(2 * squares * bins_au, sizeof *profile, "profiles", &profile);
  status = AGREE(comm, status);
  if (status == STATUS_OK)
    status = compton_profile_groups(comm, table, pixels, label, squares, emf, profile,
                                    profile + squares * bins_au);
  if (status == STATUS_OK) {
    size_t bytes = (size_t)(maps->n * bins_au) * sizeof *profile;
    cells_take(emf + maps->first, scale, maps);
    memcpy(maps->profile, profile + maps->first * bins_au, bytes);
    memcpy(maps->profile_sigma, profile + (squares + maps->first) * bins_au, bytes);
  }
  memory_free(emf);
  memory_free(profile);
  return status;
}

static enum status squares(MPI_Comm comm, const struct compton_params *p,
                           struct compton_table *table, const struct compton_pixels *pixels,
                           int64_t bins_au, double scale, struct compton_maps *maps) {
  int32_t *label;
  TRY_ALL(comm, memory_make(pixels->cube->pixels, sizeof *label, "labels of pixels", &label));
  compton_profile_bin_labels(pixels->cube, p->bin_pixels, label);
  enum status status = squares_here(comm, table, pixels, label, bins_au, scale, maps);
  memory_free(label);
  return status;
}

/* Where this rank's cells are. */
static enum status cells_place(MPI_Comm comm, const struct compton_params *p,
                               const struct compton_cube *cube, struct compton_maps *maps) {
  struct grid_plan plan;
  int64_t k     = p->bin_pixels;
  maps->rows    = (cube->rows + k - 1) / k;
  maps->columns = (cube->columns + k - 1) / k;
  maps->first = cube->pixel0, maps->n = cube->pixels;
  if (k == 1) return STATUS_OK;
  const int64_t n[3] = {maps->rows * maps->columns, 1, 1};
  TRY(grid_plan_slabs(comm, n, 0, &plan));
  struct grid_box mine = grid_plan_mine(&plan);
  grid_plan_free(&plan);
  maps->first = mine.start[0], maps->n = mine.n[0];
  return STATUS_OK;
}

static enum status maps_memory(int64_t bins_au, struct compton_maps *maps) {
  float **const of_cell[] = {&maps->emf, &maps->emf_sigma, &maps->density, &maps->density_sigma};
  for (size_t i = 0; i < sizeof of_cell / sizeof *of_cell; i++)
    TRY(memory_make(maps->n, sizeof(float), "maps", of_cell[i]));
  TRY(memory_make(maps->n * bins_au, sizeof(float), "profiles", &maps->profile));
  TRY(memory_make(maps->n * bins_au, sizeof(float), "errors of profiles", &maps->profile_sigma));
  TRY(memory_make(bins_au, sizeof(float), "a profile", &maps->whole_profile));
  return memory_make(bins_au, sizeof(float), "a profile", &maps->whole_profile_sigma);
}

int64_t compton_maps_bytes(const struct compton_params *p, int64_t rows, int64_t columns,
                           double bin_kev, int size) {
  struct compton_profile_settings settings;
  int64_t k = p->bin_pixels, bins_au = 2 * llround(p->profile_au / p->profile_step_au);
  int64_t cells = (rows + k - 1) / k * ((columns + k - 1) / k), here = (cells + size - 1) / size;
  if (compton_maps_settings(p, &settings) != STATUS_OK) status_clear(); /* the check has said so */
  int64_t parts = parts_of(p, rows, columns) + 1, groups = k > 1 && cells > parts ? cells : parts;
  int64_t summing = compton_profile_bytes(&settings, bin_kev, groups) +
                    parts * (int64_t)sizeof(struct compton_emf);
  int64_t all = k > 1 ? cells * (int64_t)(sizeof(struct compton_emf)) + 8 * cells * bins_au
                      : here * (int64_t)sizeof(struct compton_emf);
  return here * (16 + 8 * bins_au) + all + summing;
}

static enum status make(MPI_Comm comm, const struct compton_params *p,
                        const struct compton_knowledge *known, const struct compton_region *region,
                        const struct compton_cube *cube, struct compton_table *table,
                        struct compton_maps *maps) {
  const struct compton_pixels pixels = pixels_of(known, cube);
  int64_t bins_au                    = known->settings.bins_au;
  double scale                       = density_scale(p, known, region);
  struct parts parts                 = {0};
  TRY_ALL(comm, cells_place(comm, p, cube, maps));
  TRY_ALL(comm, maps_memory(bins_au, maps));
  enum status status = AGREE(comm, parts_make(p, cube, &parts));
  if (status == STATUS_OK)
    status = compton_profile_field(comm, table, &pixels, parts.label, parts.n, parts.part,
                                   &maps->whole, maps->whole_profile, maps->whole_profile_sigma);
  if (status == STATUS_OK)
    status = p->bin_pixels > 1 ? squares(comm, p, table, &pixels, bins_au, scale, maps)
                               : single_pixels(comm, p, table, &pixels, &parts, scale, maps);
  parts_free(&parts);
  return status;
}

enum status compton_maps_make(MPI_Comm comm, const struct compton_params *params,
                              const struct compton_knowledge *known,
                              const struct compton_region *region, const struct compton_cube *cube,
                              struct compton_maps *maps) {
  struct compton_table *table = NULL;
  memset(maps, 0, sizeof *maps);
  enum status status = AGREE(comm, compton_table_make(&known->settings, cube->first_kev,
                                                      cube->bin_kev, cube->bins, &table));
  if (status == STATUS_OK) status = make(comm, params, known, region, cube, table, maps);
  compton_table_free(table);
  if (status != STATUS_OK) compton_maps_free(maps);
  return status;
}

void compton_maps_free(struct compton_maps *maps) {
  float *const owned[] = {
      maps->emf,     maps->emf_sigma,     maps->density,       maps->density_sigma,
      maps->profile, maps->profile_sigma, maps->whole_profile, maps->whole_profile_sigma};
  for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) memory_free(owned[i]);
  memset(maps, 0, sizeof *maps);
}
