/* The spectra of every state and region, and of the calibration disc, in odin-data's layout. A count is a Poisson
 * number of (seed, file, pixel, bin) about the expected one, so files have the same bits on any number of ranks. All
 * regions share one scale: a pixel's counts go with the electrons that it sees. */
#include "twin_xcs.h"
#include "numeric.h"
#include <math.h>
#include <string.h>

/* One file: the disc when there is no state. */
struct spectra {
  const struct twin_state *state, *holds; /* holds: whose mixture */
  int region;
  char name[128];
  double per_shape; /* counts per unit of a shape */
  double top;       /* counts in the bin on top of the reference line */
};
static const char *const region_name[XCS_REGIONS] = {"cathode", "interphase", "anode"};

/* ---- expected counts ------------------------------------------------------------------------------------ */

/* Scale such that `counts` lie within 5 a.u. of the line of the first profile in the middle of the field. */
static enum status set_scale(const struct xcs *xcs, double counts, struct spectra *file) {
  enum { POINTS = 1000 };
  double rate[POINTS], within = 0, top = 0, first = 84, step = 0.02;
  double from = xray_energy(xcs_beam_kev, -5, PI / 2), to = xray_energy(xcs_beam_kev, 5, PI / 2);
  TRY(xray_line_shape(&xcs->profile[XCS_SHAPE_LI], xcs_beam_kev, PI / 2, xcs_fwhm_kev(xcs->params),
                      first, step, POINTS, rate));
  for (int i = 0; i < POINTS; i++) {
    double energy = first + i * step;
    if (energy > from && energy < to) within += rate[i] * step;
    top = fmax(top, rate[i]);
  }
  file->per_shape = counts / within;
  file->top       = file->per_shape * top * xcs->params->xcs_bin_kev;
  return STATUS_OK;
}

static void amounts(const struct spectra *file, const struct xcs_pixel *pixel,
                    double amount[XCS_SHAPES]) {
  if (file->state)
    xcs_mixture(pixel, file->holds, file->region, amount);
  else
    memcpy(amount, (const double[XCS_SHAPES]){pixel->plate}, XCS_SHAPES * sizeof *amount);
  for (int k = 0; k < XCS_SHAPES; k++) amount[k] *= file->per_shape * pixel->flat;
}

/* Lines that do not belong to the Compton profile, in shares of the elastic line's height. */
static const struct {
  double kev, share;
} lines[] = {
    {115,          1   }, /* elastic */
    {115 - 23.173, 0.1 }, /* its escape of Cd K alpha */
    {72.804,       0.3 }, /* Pb K alpha 2, alpha 1, beta 1, beta 2 */
    {74.969,       0.5 },
    {84.936,       0.17},
    {87.367,       0.05},
};

/* What is there beside the line: a flat background that does not come through the pinhole, a shelf below the line, of
 * the height `top`, from charges that were not collected whole, other lines. */
static void add_beside(const struct xcs *xcs, const struct spectra *file,
                       const struct xcs_pixel *pixel, double top, float *out) {
  const struct twin_params *p = xcs->params;
  double sigma = pixel->fwhm_kev / sqrt(8 * log(2)), flat = p->xcs_background_percent * file->top;
  double line    = xray_line_kev(xcs_beam_kev, pixel->angle) * pixel->gain;
  size_t n_lines = p->xcs_lines_percent > 0 ? sizeof lines / sizeof *lines : 0;
  for (int64_t b = 0; b < xcs->bins; b++) {
    double energy = p->xcs_first_kev + ((double)b + 0.5) * p->xcs_bin_kev;
    double z = (energy - line) / sigma, sum = flat;
    if (z < 8) sum += p->xcs_step_percent * top * (z > -8 ? 0.5 * erfc(z / sqrt(2)) : 1);
    for (size_t i = 0; i < n_lines; i++) {
      z = (energy - lines[i].kev * pixel->gain) / sigma;
      sum += p->xcs_lines_percent * file->top * lines[i].share * exp(-0.5 * z * z);
    }
    out[b] += (float)(0.01 * sum);
  }
}

static void expect(const struct xcs *xcs, const struct spectra *file, int64_t here, float *out) {
  const struct xcs_pixel *pixel = &xcs->pixel[xcs->row0 * XCS_SIDE + here];
  const float *shape            = xcs->shape + here * xcs->bins * XCS_SHAPES;
  double amount[XCS_SHAPES], top = 0;
  amounts(file, pixel, amount);
  for (int64_t b = 0; b < xcs->bins; b++) {
    double sum = 0;
    for (int k = 0; k < XCS_SHAPES; k++) sum += amount[k] * (double)shape[b * XCS_SHAPES + k];
    out[b] = (float)sum;
    top    = sum > top ? sum : top;
  }
  add_beside(xcs, file, pixel, top, out);
}

static int file_index(const struct spectra *file) {
  return file->state ? (int)(file->state - twin_states) * XCS_REGIONS + file->region
                     : TWIN_STATES * XCS_REGIONS;
}

static void count(struct xcs *xcs, const struct spectra *file, int64_t *summed) {
  uint64_t stream = XCS_STREAM_SPECTRA + (uint64_t)file_index(file);
  memset(summed, 0, (size_t)xcs->bins * sizeof *summed);
  for (int64_t i = 0; i < xcs->rows_here * XCS_SIDE; i++) {
    float *out     = xcs->counts + i * xcs->bins;
    int64_t number = xcs->row0 * XCS_SIDE + i;
    if (xcs->pixel[number].dead)
      memset(out, 0, (size_t)xcs->bins * sizeof *out);
    else
      expect(xcs, file, i, out);
    for (int64_t b = 0; b < xcs->bins; b++) {
      if (xcs->params->xcs_poisson)
        out[b] = (float)random_poisson((uint64_t)xcs->params->seed, stream,
                                       (uint64_t)(number * xcs->bins + b), (double)out[b]);
      summed[b] += (int64_t)((double)out[b] + 0.5);
    }
  }
}

/* ---- a file ------------------------------------------------------------------------------------------------ */

static enum status describe(MPI_Comm comm, const struct xcs *xcs, struct store_output *output,
                            int64_t *summed) {
  double *middle;
  MPI_Allreduce(MPI_IN_PLACE, summed, (int)xcs->bins, MPI_INT64_T, MPI_SUM, comm);
  TRY_ALL(comm, memory_make(xcs->bins, sizeof *middle, "energies", &middle));
  for (int64_t b = 0; b < xcs->bins; b++)
    middle[b] = xcs->params->xcs_first_kev + ((double)b + 0.5) * xcs->params->xcs_bin_kev;
  enum status status = store_spectra(comm, output, middle, summed, xcs->bins);
  memory_free(middle);
  return status;
}

static enum status fill(MPI_Comm comm, struct xcs *xcs, const struct spectra *file,
                        struct store_output *output, int64_t *summed) {
  const int64_t n[4] = {1, XCS_SIDE, XCS_SIDE, xcs->bins};
  TRY(store_create(comm, output, "pixel_spectra", n, NULL, NULL, false));
  count(xcs, file, summed);
  int64_t start[4] = {0, xcs->row0, 0, 0},
          here[4]  = {xcs->rows_here > 0, xcs->rows_here, XCS_SIDE, xcs->bins};
  if (!xcs->rows_here) start[1] = here[2] = here[3] = 0;
  TRY(describe(comm, xcs, output, summed));
  TRY(store_ready(comm, output));
  return store_write_box(comm, output, "pixel_spectra", false, start, here, xcs->counts);
}

static enum status write_file(MPI_Comm comm, const struct stage_common *common, struct xcs *xcs,
                              const struct spectra *file, const struct twin_book *book) {
  char path[STORE_NAME_BYTES], *yaml = NULL;
  int64_t *summed             = NULL;
  struct store_output *output = NULL;
  twin_path(book, file->name, path, sizeof path);
  TRY(stop_agree(comm));
  enum status status = fault_here("twin.spectra");
  if (status == STATUS_OK) status = memory_make(xcs->bins, sizeof *summed, "a spectrum", &summed);
  if (status == STATUS_OK) status = config_effective_yaml(twin_stage.params, xcs->params, &yaml);
  status                             = AGREE(comm, status);
  const struct store_options options = {.force      = common->force,
                                        .deflate    = 1,
                                        .size_bytes = 4 * XCS_PIXELS * xcs->bins,
                                        .record     = yaml};
  if (status == STATUS_OK) status = store_begin(comm, path, &options, &output);
  if (status == STATUS_OK) status = fill(comm, xcs, file, output, summed);
  if (status == STATUS_OK) status = store_note(comm, output, "twin_yaml", yaml);
  if (status == STATUS_OK) status = store_commit(comm, &output);
  if (output) store_abandon(comm, &output, false);
  memory_free(summed);
  memory_free(yaml);
  return status;
}

/* ---- truths --------------------------------------------------------------------------------------------------- */

/* The factor of the sum over all live pixels, each in p_z: `own` at its own angle and resolution (the truths
 * emf_detector_..), or all as if at 90 degrees and the resolution to which factors are normalised (emf_..). */
static double factor_of(const struct xcs *xcs, const struct xcs_windows *windows,
                        const struct spectra *file, bool own) {
  double low = 0, high = 0;
  for (int i = 0; i < XCS_PIXELS; i++) {
    const struct xcs_pixel *pixel = &xcs->pixel[i];
    double amount[XCS_SHAPES], own_low[XCS_SHAPES], own_high[XCS_SHAPES];
    if (pixel->dead) continue;
    amounts(file, pixel, amount);
    xcs_windows_at(windows, pixel->angle, pixel->fwhm_kev, own_low, own_high);
    const double *l = own ? own_low : windows->reference_low,
                 *h = own ? own_high : windows->reference_high;
    for (int k = 0; k < XCS_SHAPES; k++) low += amount[k] * l[k], high += amount[k] * h[k];
  }
  return low / high;
}

static enum status add_components(const struct twin_params *params, const double *l,
                                  const double *h, const char *prefix,
                                  const struct twin_state *state, struct twin_book *book) {
  static const char *const name[XCS_COMPONENTS] = {"Li", "SPE", "cathode"};
  double x = twin_content(params, state)->x_Li;
  double value[XCS_COMPONENTS]                  = {l[XCS_SHAPE_LI] / h[XCS_SHAPE_LI],
                                                   l[XCS_SHAPE_SPE] / h[XCS_SHAPE_SPE],
                                                   ((1 - x) * l[XCS_SHAPE_EMPTY] + x * l[XCS_SHAPE_FULL]) /
                                                       ((1 - x) * h[XCS_SHAPE_EMPTY] + x * h[XCS_SHAPE_FULL])};
  for (int c = 0; c < XCS_COMPONENTS; c++) {
    char full[48];
    snprintf(full, sizeof full, "%s_%s", prefix, name[c]);
    TRY(twin_truth_add(book, state, full, value[c], ""));
  }
  return STATUS_OK;
}

/* Factors of the components, in the middle of the field. */
static enum status add_state(const struct xcs *xcs, const struct xcs_windows *windows,
                             const struct twin_state *state, struct twin_book *book) {
  double l[XCS_SHAPES], h[XCS_SHAPES];
  xcs_windows_at(windows, PI / 2, xcs_fwhm_kev(xcs->params), l, h);
  TRY(twin_truth_add(book, state, "x_Li", twin_content(xcs->params, state)->x_Li, ""));
  TRY(add_components(xcs->params, l, h, "emf_detector", state, book));
  return add_components(xcs->params, windows->reference_low, windows->reference_high, "emf", state,
                        book);
}

static enum status add_region(const struct xcs *xcs, const struct xcs_windows *windows,
                              const struct spectra *file, struct twin_book *book) {
  static const char *const component[XCS_COMPONENTS] = {"Li", "SPE", "cathode"};
  char name[48];
  for (int c = 0; c < XCS_COMPONENTS; c++) {
    snprintf(name, sizeof name, "fraction_%s_region%d", component[c], file->region + 1);
    TRY(twin_truth_add(book, file->state, name, file->holds->region[file->region][c], ""));
  }
  snprintf(name, sizeof name, "emf_region%d", file->region + 1);
  TRY(twin_truth_add(book, file->state, name, factor_of(xcs, windows, file, false), ""));
  snprintf(name, sizeof name, "emf_detector_region%d", file->region + 1);
  return twin_truth_add(book, file->state, name, factor_of(xcs, windows, file, true), "");
}

/* Mean transmissions over the cathode's disc: what stands between volume fractions and amplitudes. */
static enum status add_transmissions(const struct xcs *xcs, struct twin_book *book) {
  static const char *const name[XCS_COMPONENTS] = {"transmission_Li", "transmission_SPE",
                                                   "transmission_cathode"};
  struct twin_params bare                       = *xcs->params;
  struct xcs_pixel *open;
  TRY(memory_make(XCS_PIXELS, sizeof *open, "the camera's pixels", &open));
  bare.xcs_attenuation = false;
  xcs_camera_make(&bare, open);
  enum status status = STATUS_OK;
  for (int c = 0; c < XCS_COMPONENTS && status == STATUS_OK; c++) {
    double seen = 0, all = 0;
    for (int i = 0; i < XCS_PIXELS; i++) seen += xcs->pixel[i].inner[c], all += open[i].inner[c];
    status = twin_truth_add(book, NULL, name[c], seen / all, "");
  }
  memory_free(open);
  return status;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

/* Middles of the slabs of 250 um in the volume, of region 1..3. */
static double slab_z_um(const struct twin_params *params, int region) {
  static const double above_interface_um[XCS_REGIONS] = {90 - 125, 27.5 - 125, -125};
  struct twin_cell cell;
  twin_cell_layers(params, &cell);
  return cell.interface_um + above_interface_um[region];
}

static enum status tell_region(const struct xcs *xcs, const struct xcs_windows *windows,
                               const struct spectra *file, struct twin_book *book) {
  TRY(add_region(xcs, windows, file, book));
  return twin_text_add(&book->state[file->state - twin_states],
                       "%s      - {region: %s, z_um: %.2f, spectra: [%s], exposure_s: %g}\n",
                       file->region ? "" : "    compton:\n", region_name[file->region],
                       slab_z_um(xcs->params, file->region), file->name, xcs_exposure_s);
}

static enum status write_state(MPI_Comm comm, const struct stage_common *common, struct xcs *xcs,
                               const struct xcs_windows *windows, const struct twin_state *state,
                               struct twin_book *book) {
  for (int r = 0; r < XCS_REGIONS; r++) {
    struct spectra file = {
        .state = state, .holds = twin_content(xcs->params, state), .region = r};
    snprintf(file.name, sizeof file.name, "raw/%s_r%d.h5", state->name, r + 1);
    TRY_ALL(comm, set_scale(xcs, xcs->params->xcs_counts, &file));
    TRY(write_file(comm, common, xcs, &file, book));
    TRY_ALL(comm, tell_region(xcs, windows, &file, book));
  }
  TRY_ALL(comm, add_state(xcs, windows, state, book));
  log_progress("spectra", state - twin_states + 1, TWIN_STATES);
  return STATUS_OK;
}

static enum xray_material disc_material(const struct twin_params *p) {
  if (strcmp(p->xcs_disc, "carbon") == 0) return XRAY_CARBON;
  if (strcmp(p->xcs_disc, "aluminium") == 0) return XRAY_ALUMINIUM;
  return strcmp(p->xcs_disc, "iron") == 0 ? XRAY_IRON : XRAY_LI_METAL;
}

static enum status write_disc(MPI_Comm comm, const struct stage_common *common, struct xcs *xcs,
                              struct twin_book *book) {
  struct spectra file         = {.name = "raw/disc.h5"};
  const struct twin_params *p = xcs->params;
  double longer               = p->xcs_counts > 0 ? p->xcs_disc_counts / p->xcs_counts : 1;
  struct xcs_windows windows;
  TRY_ALL(comm, xcs_profiles_make(xcs, disc_material(p)));
  TRY_ALL(comm, set_scale(xcs, p->xcs_disc_counts, &file));
  TRY_ALL(comm, xcs_windows_make(xcs, &windows));
  if (disc_material(p) != XRAY_LI_METAL) xcs_shapes_make(xcs);
  TRY(write_file(comm, common, xcs, &file, book));
  TRY_ALL(comm, twin_truth_add(book, NULL, "emf_disc", factor_of(xcs, &windows, &file, true), ""));
  return AGREE(comm, twin_text_add(&book->bottom,
                                   "calibration: {disc: raw/disc.h5, disc_exposure_s: %g}\n",
                                   xcs_exposure_s * longer));
}

static enum status write_cells(MPI_Comm comm, const struct stage_common *common, struct xcs *xcs,
                               struct twin_book *book) {
  struct xcs_windows windows;
  TRY_ALL(comm, xcs_windows_make(xcs, &windows));
  for (int i = 0; i < TWIN_STATES; i++)
    TRY(write_state(comm, common, xcs, &windows, &twin_states[i], book));
  return AGREE(comm, add_transmissions(xcs, book));
}

static enum status write_all(MPI_Comm comm, const struct stage_common *common, struct xcs *xcs,
                             struct twin_book *book) {
  const struct twin_params *p = xcs->params;
  xcs_shapes_make(xcs);
  if (p->xcs_counts > 0) TRY(write_cells(comm, common, xcs, book));
  if (p->frames) TRY(xcs_frames_write(comm, xcs, book));
  return p->xcs_disc_counts > 0 ? write_disc(comm, common, xcs, book) : STATUS_OK;
}

static int files_of(const struct twin_params *p) {
  return (p->xcs_counts > 0 ? TWIN_STATES * XCS_REGIONS : 0) + (p->xcs_disc_counts > 0);
}

void twin_xcs_need(MPI_Comm comm, const struct twin_params *params, struct stage_need *need) {
  int size;
  int64_t frames_disk_bytes;
  MPI_Comm_size(comm, &size);
  /* the store's, while it compresses: a batch, and a detector row twice */
  int64_t packing      = (16 << 20) + 8 * XCS_SIDE * xcs_bins(params) + (64 << 10);
  int64_t frames_bytes = xcs_frames_bytes(params, &frames_disk_bytes);
  need->memory_bytes   = xcs_bytes(params, (XCS_SIDE + size - 1) / size) +
                       (frames_bytes > packing ? frames_bytes : packing);
  need->rounds     = files_of(params);
  need->disk_bytes = need->rounds * XCS_PIXELS * xcs_bins(params) * 4 + frames_disk_bytes;
}

enum status twin_xcs_write(MPI_Comm comm, const struct stage_common *common,
                           const struct twin_params *params, struct twin_book *book) {
  struct xcs xcs = {0};
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  enum status status = AGREE(comm, xcs_make(params, rank, size, &xcs));
  if (status == STATUS_OK) status = write_all(comm, common, &xcs, book);
  xcs_free(&xcs);
  return status;
}
