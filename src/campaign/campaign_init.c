/* init: cycle.yaml from the files of a folder; the templates of config/ and the table of docs/, both made of
 * the parameter tables. */
#include "campaign_inner.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct init_params {
#include "config_struct.inc"
#include "init_params.def"
#include "config_undef.inc"
};
#define CONFIG_OWNER struct init_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "init_params.def"
#include "config_undef.inc"
};
static const struct config_set init_set = CONFIG_SET("init", struct init_params, rows);

/* ---- texts of the tables ------------------------------------------------------------------------------- */

static void print_table(FILE *to) {
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  fprintf(to, "# Parameters\n\nMade by `xcsct init --table docs/parameters.md`; do not edit. The "
              "option of a parameter has `-` for `_`.\n\n## Every command\n\n");
  config_print_markdown(&stage_common_set, to);
  for (int i = 0; i < n; i++) {
    fprintf(to, "\n## %s\n\n%s.\n\n", stage[i]->name, stage[i]->words);
    config_print_markdown(stage[i]->params, to);
  }
  int commands;
  const struct campaign_command *command = campaign_commands(&commands);
  for (int i = 0; i < commands; i++) {
    if (command[i].params->rows == 0) continue;
    fprintf(to, "\n## %s %s\n\n%s.\n\n", command[i].name, command[i].operand, command[i].words);
    config_print_markdown(command[i].params, to);
  }
}

static enum status write_text(const char *path, void (*print)(const void *, FILE *),
                              const void *what) {
  char *bytes = NULL;
  size_t n    = 0;
  FILE *to    = open_memstream(&bytes, &n);
  if (!to) return FAIL(STATUS_MEMORY, "no memory for %s", path);
  print(what, to);
  fclose(to);
  enum status status = store_text_write(path, bytes, (int64_t)n);
  free(bytes);
  return status;
}

static void print_table_of(const void *what, FILE *to) {
  (void)what;
  print_table(to);
}

static void print_template_of(const void *what, FILE *to) {
  const struct stage *stage = what;
  fprintf(to, "# %s. Made by `xcsct init --templates`; take away a # to set a value.\n",
          stage->words);
  config_print_template(stage->params, to);
}

/* ---- a cycle from a folder -------------------------------------------------------------------------------- */

enum { FILES_MOST = 4096 };
struct listing {
  char folder[STORE_NAME_BYTES];
  char **name;
  int n;
};

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum status list_folder(const char *folder, struct listing *list) {
  DIR *all = opendir(folder);
  if (!all) return FAIL(STATUS_INPUT, "the folder %s cannot be read: %s", folder, strerror(errno));
  snprintf(list->folder, sizeof list->folder, "%s", folder);
  enum status status = memory_make(FILES_MOST, sizeof *list->name, "names of files", &list->name);
  for (struct dirent *entry; status == STATUS_OK && (entry = readdir(all));) {
    size_t n = strlen(entry->d_name);
    if (entry->d_name[0] == '.' || list->n == FILES_MOST) continue;
    status = memory_make((int64_t)n + 1, 1, "a name", &list->name[list->n]);
    if (status == STATUS_OK) memcpy(list->name[list->n++], entry->d_name, n + 1);
  }
  closedir(all);
  if (list->n > 1) qsort(list->name, (size_t)list->n, sizeof *list->name, by_name);
  return status;
}

static void list_free(struct listing *list) {
  for (int i = 0; i < list->n; i++) memory_free(list->name[i]);
  memory_free(list->name);
}

static bool ends_in(const char *name, const char *const *endings) {
  for (; *endings; endings++) {
    size_t n = strlen(name), m = strlen(*endings);
    if (n > m && strcasecmp(name + n - m, *endings) == 0) return true;
  }
  return false;
}

/* "pristine_ct.nxs" belongs to the state "pristine": what stands before the last _ or the ending. */
static void state_of(const char *name, char *state, size_t bytes) {
  snprintf(state, bytes, "%s", name);
  state[strcspn(state, ".")] = 0;
  char *last                 = strrchr(state, '_');
  if (last && last != state) *last = 0;
  for (char *c = state; *c; c++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c)) *c = '_';
}

static const char *const tomo_endings[]  = {".nxs", ".h5", ".hdf5", ".hdf", ".tif", ".tiff", NULL};
static const char *const frame_endings[] = {".bin", NULL};
static const char *const spectra_endings[]   = {".hxt", NULL};
static const char *const impedance_endings[] = {".dta", NULL};

static void print_state(const struct listing *list, const char *state, FILE *to) {
  char other[CYCLE_NAME_BYTES];
  bool compton = false;
  fprintf(to,
          "  - name: %s\n    # percent: 0          # state of charge or depth of discharge\n"
          "    # step: charge        # or discharge\n",
          state);
  for (int i = 0; i < list->n; i++) {
    const char *name = list->name[i];
    state_of(name, other, sizeof other);
    if (strcmp(other, state) != 0) continue;
    if (ends_in(name, tomo_endings)) fprintf(to, "    tomogram: \"%s\"\n", name);
    if (ends_in(name, impedance_endings)) fprintf(to, "    impedance: \"%s\"\n", name);
  }
  for (int i = 0; i < list->n; i++) {
    const char *name = list->name[i];
    bool frames      = ends_in(name, frame_endings);
    state_of(name, other, sizeof other);
    if (strcmp(other, state) != 0 || !(frames || ends_in(name, spectra_endings))) continue;
    if (!compton) fprintf(to, "    compton:             # region, z_um and exposure_s are yours\n");
    compton = true;
    fprintf(to, "      - {region: \"%.*s\", %s: [\"%s\"]}\n", (int)strcspn(name, "."), name,
            frames ? "frames" : "spectra", name);
  }
}

/* All that a state can hold, for a cycle without files. */
static const char example_state[] =
    "  - name: pristine\n"
    "    # percent: 0\n"
    "    # step: charge              # or discharge\n"
    "    # tomogram: pristine_ct.nxs # names are relative to this file\n"
    "    # impedance: pristine_eis.dta\n"
    "    # time_s: 0                 # where in the galvanostatic record\n"
    "    # compton:\n"
    "    #   - {region: cathode, z_um: 1210, frames: [pristine_r1.bin], exposure_s: 500}\n"
    "    # labels: segmented.h5      # a product from elsewhere takes the place of its stage\n"
    "    # recon: {centre: 1279.5}   # parameters of this state alone\n";
static const char example_rest[] =
    "# galvanostatic: cycling.dta\n"
    "# calibration: {dark: dark.bin, gain: gain.txt, offset: offset.txt, disc: disc.bin}\n"
    "# sweep:                        # xcsct sweep cycle.yaml --output DIR --list\n"
    "#   how: crossed                # or zipped: first values together, second, ...\n"
    "#   segment.chain: [measure, paper]\n"
    "#   flux.tolerance: {from: 1e-5, to: 1e-3, n: 3, scale: log}\n"
    "#   pristine/recon.centre: [1279, 1280]   # of one state alone\n";

static void print_cycle(const void *what, FILE *to) {
  const struct listing *list  = what;
  char last[CYCLE_NAME_BYTES] = "", state[CYCLE_NAME_BYTES];
  int n, states = 0;
  const struct stage *const *stage = campaign_stages(&n);
  fprintf(to, "# Made by `xcsct init`; look it through, then: xcsct check cycle.yaml\n"
              "sample: unnamed\n# beam: {energy_keV: 115, beam_deg: 90}\n"
              "# roi: {disc_mm: 14, interphase_um: [-20, 45]}\nstates:\n");
  for (int i = 0; i < list->n; i++) {
    const char *name = list->name[i];
    if (!ends_in(name, tomo_endings) && !ends_in(name, frame_endings) &&
        !ends_in(name, spectra_endings) && !ends_in(name, impedance_endings))
      continue;
    state_of(name, state, sizeof state);
    if (strcmp(state, last) == 0) continue;
    print_state(list, state, to);
    snprintf(last, sizeof last, "%s", state);
    states++;
  }
  if (!states) fputs(example_state, to);
  fputs(example_rest, to);
  for (int i = 0; i < n; i++) {
    if (strcmp(stage[i]->name, "twin") == 0) continue;
    fputc('\n', to);
    config_print_template(stage[i]->params, to);
  }
}

static enum status write_templates(const char *folder) {
  int n;
  const struct stage *const *stage = campaign_stages(&n);
  if (mkdir(folder, 0755) != 0 && errno != EEXIST)
    return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", folder, strerror(errno));
  const struct listing nothing = {.n = 0};
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%.1900s/cycle.yaml", folder);
  TRY(write_text(path, print_cycle, &nothing));
  for (int i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%.1900s/%s.yaml", folder, stage[i]->name);
    TRY(write_text(path, print_template_of, stage[i]));
  }
  return STATUS_OK;
}

static enum status write_cycle(const char *folder, const char *output) {
  struct listing list;
  memset(&list, 0, sizeof list);
  enum status status = list_folder(folder, &list);
  if (status == STATUS_OK && !output[0])
    print_cycle(&list, stdout);
  else if (status == STATUS_OK)
    status = write_text(output, print_cycle, &list);
  list_free(&list);
  return status;
}

static enum status init_here(const struct stage_common *common, const struct init_params *p,
                             const char *operand) {
  struct stat info;
  if (!log_is_speaker()) return STATUS_OK;
  if (p->templates[0]) return write_templates(p->templates);
  if (p->table[0]) return write_text(p->table, print_table_of, NULL);
  if (!operand[0])
    return FAIL(STATUS_USAGE, "usage: xcsct init FOLDER [--output FOLDER/cycle.yaml]");
  if (common->output[0] && stat(common->output, &info) == 0 && !common->force)
    return FAIL(STATUS_OUTPUT, "%s is there already; add --force to replace it", common->output);
  return write_cycle(operand, common->output);
}

static enum status init(MPI_Comm comm, const struct stage_common *common, const void *params,
                        const char *operand, struct stage_results *results) {
  (void)results;
  return AGREE(comm, init_here(common, params, operand));
}

const struct campaign_command campaign_init = {
    "init", "a first cycle.yaml from a folder of raw data", "FOLDER", &init_set, init};
