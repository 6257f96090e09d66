/* A part's growth is what the line of its sum over all pixels is off. Parts whose line is too faint are taken as not
 * grown, and it is said. */
#include "compton_drift.h"
#include <math.h>
#include <string.h>

static enum status growth_of(MPI_Comm comm, const struct compton_knowledge *known,
                             const struct compton_cube *part, double *growth, double *sigma) {
  struct compton_table *table        = NULL;
  const double equal[COMPTON_SHAPES] = {1, 1, 1};
  const struct compton_pixels pixels = {.cube           = part,
                                        .angle          = known->angle,
                                        .line_kev       = known->line_kev,
                                        .line_sigma_kev = known->line_sigma_kev,
                                        .fwhm_kev       = known->fwhm_kev,
                                        .flat           = known->flat};
  enum status status = AGREE(comm, compton_table_make(&known->settings, part->first_kev,
                                                      part->bin_kev, part->bins, &table));
  if (status == STATUS_OK) status = compton_disc_drift(comm, table, &pixels, equal, growth, sigma);
  compton_table_free(table);
  return status;
}

static enum status part_look(MPI_Comm comm, const struct compton_params *p,
                             const struct compton_frames_settings *settings,
                             const struct compton_cube *disc, struct compton_knowledge *known,
                             double *growth, double *sigma) {
  struct compton_cube part;
  TRY(compton_cube_from_frames(comm, settings, &part));
  enum status status = known->angle ? STATUS_OK : compton_maps_know(comm, p, &part, disc, known);
  if (status == STATUS_OK) status = growth_of(comm, known, &part, growth, sigma);
  compton_cube_free(&part);
  return status;
}

/* Without a disc only changes are known. */
static void growth_relative(struct compton_drift *drift) {
  double sum = 0;
  int n      = 0;
  for (int k = 0; k < drift->parts; k++)
    if (isfinite(drift->growth[k])) sum += drift->growth[k], n++;
  for (int k = 0; k < drift->parts && n > 0; k++) drift->growth[k] /= sum / n;
}

static void cube_add(struct compton_cube *part, struct compton_cube *cube) {
  if (!cube->count) {
    *cube = *part;
    memset(part, 0, sizeof *part);
    return;
  }
  for (int64_t i = 0; i < cube->pixels * cube->bins; i++) cube->count[i] += part->count[i];
  cube->frames += part->frames, cube->hits += part->hits, cube->events += part->events;
  cube->singles += part->singles, cube->pairs += part->pairs, cube->dropped += part->dropped;
  cube->vetoed += part->vetoed, cube->outside += part->outside;
  double good     = (double)(cube->rows * cube->columns - cube->bad_pixels);
  cube->occupancy = (double)cube->hits / good / (double)cube->frames;
  cube->chance    = 1 - pow(1 - cube->occupancy, 8);
  compton_cube_free(part);
}

static enum status parts_count(MPI_Comm comm, struct compton_frames_settings settings,
                               const struct compton_drift *drift, struct compton_cube *cube) {
  int faint = 0;
  for (int k = 0; k < drift->parts; k++) {
    struct compton_cube part;
    bool known      = isfinite(drift->growth[k]) && drift->growth[k] > 0;
    settings.part   = k;
    settings.growth = known ? drift->growth[k] : 0;
    faint += !known;
    TRY(compton_cube_from_frames(comm, &settings, &part));
    cube_add(&part, cube);
  }
  if (faint)
    log_warning("compton: in %d of %d parts of %s the line is too faint to follow the gain", faint,
                drift->parts, settings.frames.file[0]);
  return STATUS_OK;
}

enum status compton_drift_count(MPI_Comm comm, const struct compton_params *p,
                                const struct compton_frames_settings *settings,
                                const struct compton_cube *disc, struct compton_knowledge *known,
                                struct compton_drift *drift, struct compton_cube *cube) {
  struct compton_frames_settings part = *settings;
  part.keep                           = NULL; /* parts are short */
  memset(cube, 0, sizeof *cube);
  drift->parts = part.parts = (int)p->drift_parts;
  for (part.part = 0; part.part < part.parts; part.part++) {
    TRY(stop_agree(comm));
    TRY(part_look(comm, p, &part, disc, known, &drift->growth[part.part],
                  &drift->sigma[part.part]));
  }
  if (!disc) growth_relative(drift);
  enum status status = parts_count(comm, part, drift, cube);
  if (status != STATUS_OK) compton_cube_free(cube);
  return status;
}
