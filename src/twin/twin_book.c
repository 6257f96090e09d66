/* cycle.yaml and truth.json: what was made, and what would be found in it. */
#include "twin_private.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>

enum status twin_text_add(struct twin_text *to, const char *format, ...) {
  va_list words;
  va_start(words, format);
  int n = vsnprintf(NULL, 0, format, words);
  va_end(words);
  if (to->n + n + 1 > to->room) {
    char *larger;
    int64_t room = 2 * (to->n + n + 1) + 1024;
    TRY(memory_make(room, 1, "a text", &larger));
    if (to->n) memcpy(larger, to->text, (size_t)to->n);
    memory_free(to->text);
    to->text = larger;
    to->room = room;
  }
  va_start(words, format);
  vsnprintf(to->text + to->n, (size_t)(to->room - to->n), format, words);
  va_end(words);
  to->n += n;
  return STATUS_OK;
}

enum status twin_truth_add(struct twin_book *book, const struct twin_state *state, const char *name,
                           double value, const char *unit) {
  struct stage_result *row = stage_result_add(&book->truth, name, value, unit);
  if (!row) return FAIL(STATUS_MEMORY, "no memory for the truths of the twin");
  snprintf(row->of, sizeof row->of, "%s", state ? state->name : "");
  return STATUS_OK;
}

void twin_path(const struct twin_book *book, const char *name, char *path, size_t bytes) {
  snprintf(path, bytes, "%s/%s", book->folder, name);
}

/* Thresholds half way between void, Li and SPE; above those, what is closer to NMC than to SPE. */
static enum status add_stages(const struct twin_params *params, struct twin_text *yaml) {
  struct twin_scan scan = twin_scan_of(params);
  const double *mu      = twin_mu_per_mm;
  double middle = (double)scan.columns / 2, reach = floor(0.6 * scan.radius_um / scan.voxel_um);
  double interface =
      13 + scan.anode_um +
      0.5 * ((double)scan.rows * scan.voxel_um - (13 + scan.anode_um + 30 + 65 + 13 + 26 + 13));
  TRY(twin_text_add(
      yaml,
      "# floor and wall of the can keep still; what lies above the membrane is lifted\n"
      "align: {mask_above: %.5f, box: \"0:%.0f,0:%lld,0:%lld\"}\n",
      (mu[TWIN_SPE] + mu[TWIN_STEEL]) / 2, floor((interface + 30) / scan.voxel_um),
      (long long)scan.columns, (long long)scan.columns));
  TRY(twin_text_add(
      yaml, "segment: {threshold: \"%.5f,%.5f,%.5f\", phase: 1, opening_vox: 0, median: 3}\n",
      (mu[TWIN_VOID] + mu[TWIN_LI]) / 2, (mu[TWIN_LI] + mu[TWIN_SPE]) / 2,
      (mu[TWIN_SPE] + mu[TWIN_NMC]) / 2));
  struct twin_cell cell;
  twin_cell_layers(params, &cell);
  TRY(twin_text_add(
      yaml,
      "surface: {phase: 1, disc: \"%.2f,%.2f,%.2f\", slab: \"%lld:%.0f\", void_grey: \"0\"}\n",
      middle - 0.5, middle - 0.5, 0.8 * scan.radius_um / scan.voxel_um,
      (long long)twin_cell_slab_low(&cell), floor((interface + 38) / scan.voxel_um)));
  TRY(twin_text_add(yaml, "track: {phase: 1, box: \"%.0f:%.0f,%.0f:%.0f,%.0f:%.0f\"}\n",
                    ceil((interface - 60) / scan.voxel_um), floor((interface + 38) / scan.voxel_um),
                    floor(middle - reach), ceil(middle + reach), floor(middle - reach),
                    ceil(middle + reach)));
  return twin_text_add(
      yaml,
      "# anode and membrane about the mean interface, inside the disc\n"
      "# beside it: both in a box that follows the interface, the membrane alone in its plane in a "
      "box that does and "
      "in one that does not\n"
      "flux: {conducting: \"1,2\", direction: all, box: \"%.0f:%.0f,%.0f:%.0f,%.0f:%.0f\", "
      "cases_um: \"-20:26\", "
      "cases: \"both_follow=1,2@follow;spe_follow=2/yx@follow;spe_fixed=2/yx@%.2f\"}\n",
      ceil((interface - 20) / scan.voxel_um), floor((interface + 26) / scan.voxel_um),
      floor(middle - reach), ceil(middle + reach), floor(middle - reach), ceil(middle + reach),
      interface);
}

static double truth_of(const struct twin_book *book, const char *state, const char *name) {
  for (int i = 0; i < book->truth.n; i++)
    if (strcmp(book->truth.row[i].of, state) == 0 && strcmp(book->truth.row[i].name, name) == 0)
      return book->truth.row[i].value;
  return (double)NAN;
}

/* The pin is a model of the cell of 8 mm radius, made smaller across but not along z; the camera sees the whole cell. Its
 * mixtures know no pores, and the blur of the beam's edges follows from what of them lies beyond a layer's face. The line
 * from momentum factor to lithium content goes through the first state and the full charge. */
static enum status add_correlate(const struct twin_params *params, const struct twin_book *book,
                                 struct twin_text *yaml) {
  struct twin_scan scan = twin_scan_of(params);
  double x0             = truth_of(book, twin_states[0].name, "x_Li"),
         x1             = truth_of(book, twin_states[3].name, "x_Li"),
         e0             = truth_of(book, twin_states[0].name, "emf_cathode"),
         e1             = truth_of(book, twin_states[3].name, "emf_cathode");
  TRY(twin_text_add(
      yaml,
      "# the pin stands for the cell of 8 mm radius, made smaller across alone; its "
      "spectra know no pores\n"
      "correlate: {scale: %.7g, radii_mm: \"8,9,7\", register_region: 3, pores: ignore, "
      "slab_edge_um: 4.2",
      scan.radius_um / 8000));
  if (isfinite(e0) && e0 != e1)
    TRY(twin_text_add(yaml, ", calibration_line: \"%.6g,%.6g\"", x0 - e0 * (x1 - x0) / (e1 - e0),
                      (x1 - x0) / (e1 - e0)));
  return twin_text_add(yaml, "}\n");
}

static enum status make_yaml(const struct twin_params *params, const struct twin_book *book,
                             struct twin_text *yaml) {
  struct twin_scan scan = twin_scan_of(params);
  TRY(twin_text_add(
      yaml,
      "# a made cell (size %s, seed %lld); what was put into it stands in truth.json\n"
      "sample: twin-%s-%lld\nbeam: {energy_keV: 115, beam_deg: 90}\n"
      "roi: {disc_mm: %.4f, interphase_um: [-20, 45]}\nstates:\n",
      params->size, (long long)params->seed, params->size, (long long)params->seed,
      1.6e-3 * scan.radius_um));
  for (int i = 0; i < TWIN_STATES; i++) {
    const struct twin_state *s = &twin_states[i];
    TRY(twin_text_add(yaml, "  - name: %s\n    percent: %g\n    step: %s\n%s", s->name, s->percent,
                      s->step, book->state[i].n ? book->state[i].text : ""));
  }
  TRY(twin_text_add(yaml, "%struth: truth.json\n", book->bottom.n ? book->bottom.text : ""));
  if (params->xcs && params->xcs_counts > 0) TRY(add_correlate(params, book, yaml));
  return add_stages(params, yaml);
}

/* What two states' truths make. */
static enum status add_changes(struct twin_book *book) {
  double first = truth_of(book, twin_states[0].name, "envelope_volume_um3");
  for (int i = 1; i < TWIN_STATES; i++) {
    double now = truth_of(book, twin_states[i].name, "envelope_volume_um3");
    if (isfinite(now / first))
      TRY(twin_truth_add(book, &twin_states[i], "envelope_change_percent", 100 * (now / first - 1),
                         "%"));
  }
  return STATUS_OK;
}

/* {"sample": {NAME: {value, unit}}, "states": {STATE: {NAME: ...}}} */
static enum status make_json(const struct twin_book *book, struct twin_text *json) {
  TRY(twin_text_add(json, "{\"sample\": {"));
  for (int s = -1; s < TWIN_STATES; s++) {
    const char *of = s < 0 ? "" : twin_states[s].name, *comma = "";
    if (s == 0) TRY(twin_text_add(json, "},\n \"states\": {"));
    if (s >= 0) TRY(twin_text_add(json, "%s\n  \"%s\": {", s ? "," : "", of));
    for (int i = 0; i < book->truth.n; i++) {
      const struct stage_result *row = &book->truth.row[i];
      if (strcmp(row->of, of) != 0) continue;
      TRY(twin_text_add(json, "%s\n   \"%s\": {\"value\": %.17g, \"unit\": \"%s\"}", comma,
                        row->name, row->value, row->unit));
      comma = ",";
    }
    if (s >= 0) TRY(twin_text_add(json, "}"));
  }
  return twin_text_add(json, "}}\n");
}

static enum status write_local(const struct twin_params *params, struct twin_book *book) {
  struct twin_text yaml = {0}, json = {0};
  char path[STORE_NAME_BYTES];
  enum status status = add_changes(book);
  if (status == STATUS_OK) status = make_yaml(params, book, &yaml);
  if (status == STATUS_OK) status = make_json(book, &json);
  if (status == STATUS_OK) status = fault_here("twin.book");
  if (status == STATUS_OK && log_is_speaker()) {
    twin_path(book, "truth.json", path, sizeof path);
    status = store_text_write(path, json.text, json.n);
    twin_path(book, "cycle.yaml", path, sizeof path);
    if (status == STATUS_OK) status = store_text_write(path, yaml.text, yaml.n);
  }
  memory_free(yaml.text);
  memory_free(json.text);
  return status;
}

enum status twin_book_write(MPI_Comm comm, const struct twin_params *params,
                            struct twin_book *book) {
  return AGREE(comm, write_local(params, book));
}
