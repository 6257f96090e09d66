/* What the parameters say about regions: which files are whose, and one word per region of the lists. */
#include "compton_regions.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MOST = 100000 };

/* ---- lists of files ------------------------------------------------------------------------------ */

static enum status names_make(const char *list, struct compton_names *names) {
  size_t bytes = list ? strlen(list) : 0;
  int n        = bytes > 0;
  for (size_t i = 0; i < bytes; i++) n += list[i] == '\n';
  if (n == 0) return STATUS_OK;
  TRY(memory_make((int64_t)bytes + 1, 1, "names of files", &names->text));
  TRY(memory_make(n, sizeof *names->name, "names of files", &names->name));
  memcpy(names->text, list, bytes);
  char *at = names->text;
  for (names->n = 0; names->n < n; names->n++) {
    size_t long_bytes     = strcspn(at, "\n");
    names->name[names->n] = at;
    at[long_bytes]        = 0;
    at += long_bytes + 1;
  }
  return STATUS_OK;
}

static void names_free(struct compton_names *names) {
  memory_free(names->text);
  memory_free(names->name);
}

void compton_regions_free(struct compton_regions *regions) {
  names_free(&regions->frames);
  names_free(&regions->spectra);
  names_free(&regions->dark);
  names_free(&regions->disc_files);
  names_free(&regions->source_files);
  memory_free(regions->dark_s);
  memset(regions, 0, sizeof *regions);
}

/* ---- lists of words ------------------------------------------------------------------------------ */

/* The i-th word of a list with commas; false: there is none, or it is "-". */
static bool word_of(const char *list, int i, char *word, size_t bytes) {
  for (; i > 0; i--) {
    list = strchr(list, ',');
    if (!list) return false;
    list++;
  }
  snprintf(word, bytes, "%.*s", (int)strcspn(list, ","), list);
  return word[0] && strcmp(word, "-") != 0;
}

static int words_in(const char *list) {
  int n = list[0] != 0;
  for (; *list; list++) n += *list == ',';
  return n;
}

static enum status number_of(const char *name, const char *list, int i, double least,
                             double *value) {
  char word[64], *end;
  *value = NAN;
  if (!word_of(list, i, word, sizeof word)) return STATUS_OK;
  *value = strtod(word, &end);
  if (*end || !isfinite(*value) || !(*value > least))
    return FAIL(STATUS_USAGE, "compton.%s: %s is none; it would be a number%s", name, word,
                least < 0 ? "" : " above 0");
  return STATUS_OK;
}

static enum status count_of(const char *name, const char *list, int i, int *count) {
  char word[64], *end;
  *count = 0;
  if (!word_of(list, i, word, sizeof word)) return STATUS_OK;
  long value = strtol(word, &end, 10);
  if (*end || value < 0 || value > FILES_MOST)
    return FAIL(STATUS_USAGE, "compton.%s: %s is no number of files", name, word);
  *count = (int)value;
  return STATUS_OK;
}

/* ---- regions ------------------------------------------------------------------------------------- */

static enum status describe(const struct compton_params *p, int i, struct compton_region *region) {
  char word[64];
  if (word_of(p->regions, i, word, sizeof word))
    snprintf(region->name, sizeof region->name, "%s", word);
  TRY(number_of("heights_um", p->heights_um, i, -HUGE_VAL, &region->z_um));
  TRY(number_of("exposures_s", p->exposures_s, i, 0, &region->exposure_s));
  TRY(number_of("monitors", p->monitors, i, 0, &region->monitor));
  TRY(number_of("lives_s", p->lives_s, i, 0, &region->live_s));
  TRY(number_of("starts_s", p->starts_s, i, -HUGE_VAL, &region->start_s));
  if (isnan(region->start_s)) region->start_s = 0;
  if (isnan(region->live_s)) region->live_s = region->exposure_s;
  if (region->live_s > region->exposure_s)
    return FAIL(STATUS_USAGE, "compton.lives_s: %g s is more than the exposure of %g s",
                region->live_s, region->exposure_s);
  return STATUS_OK;
}

static enum status files_take(const struct compton_names *names, const char *what, int n, int *used,
                              struct compton_region *region) {
  if (n == 0) return STATUS_OK;
  if (region->files > 0)
    return FAIL(STATUS_USAGE, "a region has frames and spectra; it would have one of them");
  if (*used + n > names->n)
    return FAIL(STATUS_USAGE, "compton.%s: %d files are named, the regions want more", what,
                names->n);
  region->file      = names->name + *used;
  region->files     = n;
  region->is_frames = strcmp(what, "frames") == 0;
  *used += n;
  return STATUS_OK;
}

static enum status lists_check(const struct compton_params *p, int n) {
  const char *const list[][2] = {
      {"regions",     p->regions    },
      {"heights_um",  p->heights_um },
      {"exposures_s", p->exposures_s},
      {"monitors",    p->monitors   },
      {"lives_s",     p->lives_s    },
      {"starts_s",    p->starts_s   }
  };
  for (size_t i = 0; i < sizeof list / sizeof *list; i++)
    if (words_in(list[i][1]) > n)
      return FAIL(STATUS_USAGE, "compton.%s = %s has %d words for %d region%s", list[i][0],
                  list[i][1], words_in(list[i][1]), n, n > 1 ? "s" : "");
  return STATUS_OK;
}

static enum status regions_fill(const struct compton_params *p, struct compton_regions *all) {
  int frames = 0, spectra = 0, by_frames = words_in(p->files_per_region),
      by_spectra = words_in(p->spectra_per_region);
  all->n         = by_frames > by_spectra ? by_frames : by_spectra;
  bool said      = all->n > 0;
  if (!said) all->n = 1;
  if (all->n > REGIONS_MOST)
    return FAIL(STATUS_USAGE, "compton: %d regions; at most %d", all->n, REGIONS_MOST);
  TRY(lists_check(p, all->n));
  for (int i = 0; i < all->n; i++) {
    struct compton_region *region = &all->region[i];
    int of_frames = all->frames.n, of_spectra = all->spectra.n;
    if (said) TRY(count_of("files_per_region", p->files_per_region, i, &of_frames));
    if (said) TRY(count_of("spectra_per_region", p->spectra_per_region, i, &of_spectra));
    TRY(files_take(&all->frames, "frames", of_frames, &frames, region));
    TRY(files_take(&all->spectra, "spectra", of_spectra, &spectra, region));
    if (region->files == 0)
      return FAIL(STATUS_USAGE, "compton: region %d has neither frames nor spectra", i + 1);
    TRY(describe(p, i, region));
  }
  if (frames < all->frames.n || spectra < all->spectra.n)
    return FAIL(STATUS_USAGE, "compton: %d files belong to no region",
                all->frames.n - frames + all->spectra.n - spectra);
  return STATUS_OK;
}

static enum status dark_times(const struct compton_params *p, struct compton_regions *regions) {
  int n = words_in(p->dark_times_s);
  if (n == 0) return STATUS_OK;
  if (n != regions->dark.n)
    return FAIL(STATUS_USAGE, "compton.dark_times_s = %s has %d times for %d dark run%s",
                p->dark_times_s, n, regions->dark.n, regions->dark.n == 1 ? "" : "s");
  TRY(memory_make(n, sizeof *regions->dark_s, "times of dark runs", &regions->dark_s));
  for (int i = 0; i < n; i++) {
    TRY(number_of("dark_times_s", p->dark_times_s, i, -HUGE_VAL, &regions->dark_s[i]));
    if (isnan(regions->dark_s[i]))
      return FAIL(STATUS_USAGE, "compton.dark_times_s = %s: time %d is not said", p->dark_times_s,
                  i + 1);
  }
  return STATUS_OK;
}

static struct compton_region calibration(const char *name, const struct compton_names *files,
                                         double start_s, double exposure_s) {
  struct compton_region region = {.z_um       = NAN,
                                  .exposure_s = exposure_s,
                                  .start_s    = start_s,
                                  .monitor    = NAN,
                                  .live_s     = NAN,
                                  .file       = files->name,
                                  .files      = files->n,
                                  .is_frames  = true};
  snprintf(region.name, sizeof region.name, "%s", name);
  return region;
}

enum status compton_regions_make(const struct compton_params *params,
                                 struct compton_regions *regions) {
  memset(regions, 0, sizeof *regions);
  enum status status = names_make(params->frames, &regions->frames);
  if (status == STATUS_OK) status = names_make(params->spectra, &regions->spectra);
  if (status == STATUS_OK) status = names_make(params->dark, &regions->dark);
  if (status == STATUS_OK) status = names_make(params->disc, &regions->disc_files);
  if (status == STATUS_OK) status = names_make(params->source, &regions->source_files);
  if (status == STATUS_OK && regions->frames.n + regions->spectra.n == 0)
    status = FAIL(STATUS_USAGE,
                  "compton has to be told what to read: --frames FILE ... or --spectra FILE");
  if (status == STATUS_OK) status = regions_fill(params, regions);
  if (status == STATUS_OK) status = dark_times(params, regions);
  regions->disc =
      calibration("disc", &regions->disc_files, params->disc_start_s, params->disc_exposure_s);
  regions->source = calibration("source", &regions->source_files, params->source_start_s, 0);
  if (status != STATUS_OK) compton_regions_free(regions);
  return status;
}

enum status compton_regions_loss(const char *text, double loss_kev[3]) {
  const double most_kev = 59.54;
  char end;
  memset(loss_kev, 0, 3 * sizeof *loss_kev);
  if (strcmp(text, "none") == 0 || strcmp(text, "source") == 0) return STATUS_OK;
  if (sscanf(text, "%lf,%lf,%lf%c", &loss_kev[0], &loss_kev[1], &loss_kev[2], &end) == 3 &&
      fabs(loss_kev[0]) < most_kev && fabs(loss_kev[1]) < most_kev && fabs(loss_kev[2]) < most_kev)
    return STATUS_OK;
  return FAIL(STATUS_USAGE, "compton.pair_loss = %s; it would be none, source or C0,C2,C4 in keV",
              text);
}

void compton_regions_settings(const struct compton_params *p, const struct compton_regions *regions,
                              const struct compton_region *region,
                              struct compton_frames_settings *settings) {
  const struct raw_frames_request frames = {.file        = region->file,
                                            .files       = region->files,
                                            .interleaved = strcmp(p->order, "interleaved") == 0,
                                            .rows        = p->rows,
                                            .columns     = p->columns};
  struct raw_frames_request dark         = frames;
  dark.file = regions->dark.name, dark.files = regions->dark.n;
  *settings = (struct compton_frames_settings){.frames          = frames,
                                               .dark            = dark,
                                               .dark_s          = regions->dark_s,
                                               .start_s         = region->start_s,
                                               .exposure_s      = region->exposure_s,
                                               .gain            = p->gain,
                                               .offset          = p->offset,
                                               .threshold       = p->threshold,
                                               .gain_kev        = p->gain_kev,
                                               .threshold_kev   = p->threshold_kev,
                                               .threshold_sigma = p->threshold_sigma,
                                               .noisy           = p->noisy,
                                               .max_cluster     = (int)p->max_cluster,
                                               .veto            = p->veto,
                                               .first_kev       = p->first_kev,
                                               .last_kev        = p->last_kev,
                                               .bin_kev         = p->bin_kev,
                                               .round_s         = p->round_s};
  if (strcmp(p->pair_loss, "source") != 0 &&
      compton_regions_loss(p->pair_loss, settings->pair_loss_kev) != STATUS_OK)
    status_clear(); /* the stage's check has said so */
}
