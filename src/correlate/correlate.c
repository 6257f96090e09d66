/* The stage: reads what compton, segment and surface made of all states, places both methods on one another, and lets the
 * numbers, maps and relations be calculated. */
#include "correlate_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_OWNER struct correlate_params
static const struct config_row param_rows[] = {
#include "config_rows.inc"
#include "correlate_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("correlate", struct correlate_params, param_rows);

const char *const correlate_component_name[CORRELATE_COMPONENTS] = {"Li", "SPE", "cathode"};

/* ---- words of the parameters --------------------------------------------------------------------------------- */

/* Numbers between commas, "-" for none, until `stop` or the end; how many, or -1 when a word is no number. */
static int numbers(const char **text, char stop, double *to, int most) {
  int n = 0;
  for (const char *at = *text; n < most; n++) {
    char *end;
    to[n] = strtod(at, &end);
    if (end == at && *at == '-') to[n] = (double)NAN, end = (char *)(uintptr_t)(at + 1);
    if (end == at) return -1;
    at = end;
    if (*at == ',') {
      at++;
      continue;
    }
    if (*at && *at != stop) return -1;
    *text = *at ? at + 1 : at;
    return n + 1;
  }
  return -1;
}

static enum status parse_heights(struct correlate_work *w) {
  const char *at = w->params->heights_um;
  double height[CORRELATE_REGIONS_MOST];
  for (int i = 0; i < w->states; i++)
    for (int r = 0; r < CORRELATE_REGIONS_MOST; r++) w->state[i].height_um[r] = (double)NAN;
  for (int i = 0; *at; i++) {
    int n = *at == ';' ? (at++, 0) : numbers(&at, ';', height, CORRELATE_REGIONS_MOST);
    if (n < 0 || i >= w->states)
      return FAIL(STATUS_USAGE,
                  "correlate.heights_um = %.200s; it would be Z1,Z2,... for all states, or such "
                  "lists for each of %d states between semicolons",
                  w->params->heights_um, w->states);
    bool single = i == 0 && !*at;
    for (int s = i; s < (single ? w->states : i + 1); s++)
      memcpy(w->state[s].height_um, height, (size_t)n * sizeof *height);
  }
  return STATUS_OK;
}

/* The word of item i between commas. */
static bool word_of(const char *list, int i, char *word, size_t bytes) {
  for (; i > 0 && list; i--) {
    list = strchr(list, ',');
    if (list) list++;
  }
  if (!list || !*list) return false;
  snprintf(word, bytes, "%.*s", (int)strcspn(list, ","), list);
  return true;
}

static void parse_positions(struct correlate_work *w) {
  char word[64];
  for (int i = 0; i < w->states; i++) {
    struct correlate_state *s = &w->state[i];
    s->percent = word_of(w->params->percents, i, word, sizeof word) && strcmp(word, "-") != 0
                     ? strtod(word, NULL)
                     : (double)NAN;
    s->discharging = word_of(w->params->steps, i, word, sizeof word) && strcmp(word, "discharge") == 0;
    s->position    = 0.01 * s->percent + (s->discharging ? 1 : 0);
  }
}

static enum status parse_fractions(const char *text, double given[CORRELATE_REGIONS_MOST][CORRELATE_C],
                                   int *regions) {
  const char *at = text;
  for (*regions = 0; *at; ++*regions)
    if (*regions == CORRELATE_REGIONS_MOST ||
        numbers(&at, ';', given[*regions], CORRELATE_C) != CORRELATE_C)
      return FAIL(STATUS_USAGE,
                  "correlate.fractions = %.200s; it would be Li,SPE,cathode of each region, between "
                  "semicolons",
                  text);
  return STATUS_OK;
}

static enum status parse_few(const char *name, const char *text, int least, int most, double *to,
                             bool *said) {
  const char *at = text;
  *said          = text[0] != 0;
  int n          = *said ? numbers(&at, 0, to, most) : least;
  if (n < least || (*said && *at))
    return FAIL(STATUS_USAGE, "correlate.%s = %.100s; it would be %d%s numbers between commas", name,
                text, least, most > least ? " or more" : "");
  return STATUS_OK;
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct correlate_params *p = params;
  double given[CORRELATE_REGIONS_MOST][CORRELATE_C], few[4];
  int regions;
  bool said;
  (void)common;
  TRY(parse_fractions(p->fractions, given, &regions));
  TRY(parse_few("radii_mm", p->radii_mm, CORRELATE_C, CORRELATE_C, few, &said));
  return parse_few("calibration_line", p->calibration_line, 2, 4, few, &said);
}

static enum status parse(struct correlate_work *w) {
  const struct correlate_params *p = w->params;
  int given                        = 0;
  TRY(parse_heights(w));
  parse_positions(w);
  TRY(parse_fractions(p->fractions, w->given, &given));
  TRY(parse_few("radii_mm", p->radii_mm, CORRELATE_C, CORRELATE_C, w->radius_mm, &w->has_radii));
  TRY(parse_few("calibration_line", p->calibration_line, 2, 4, w->line, &w->has_line));
  w->has_given = given > 0;
  if (given && given != w->regions)
    return FAIL(STATUS_USAGE, "correlate.fractions are of %d regions, the states have %d", given,
                w->regions);
  return STATUS_OK;
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static enum status check_seen(struct correlate_work *w, int i) {
  const struct correlate_seen *seen = &w->state[i].seen;
  if (!w->regions) {
    w->regions = seen->regions;
    w->camera  = (struct pinhole_camera){seen->rows,
                                         seen->columns,
                                         w->params->pitch_mm,
                                         w->params->pinhole_mm,
                                         w->params->detector_mm,
                                         w->params->hole_mm,
                                         w->params->beam_deg,
                                         strcmp(w->params->beam_axis, "row") == 0};
    w->pixels  = seen->rows * seen->columns;
    w->quantities = w->regions + CORRELATE_C;
  }
  if (seen->regions != w->regions || seen->rows != w->camera.rows ||
      seen->columns != w->camera.columns)
    return FAIL(STATUS_INPUT,
                "%s has %d regions of %lld x %lld pixels, the first state %d of %lld x %lld",
                w->state[i].bundle->state, seen->regions, (long long)seen->rows,
                (long long)seen->columns, w->regions, (long long)w->camera.rows,
                (long long)w->camera.columns);
  return STATUS_OK;
}

/* A file of compton may hold counts alone. */
static enum status has_emf(MPI_Comm comm, const struct stage_bundle *state, bool *found) {
  char name[STORE_NAME_BYTES];
  int there = stage_bundle_find(state, "emf", false, name, sizeof name) != NULL;
  MPI_Bcast(&there, 1, MPI_INT, 0, comm);
  char *colon = there ? strstr(name, ":/entry/") : NULL;
  *found      = there;
  if (!colon) return STATUS_OK;
  *colon = 0;
  return store_has(comm, name, colon + 1, found);
}

static enum status read_seen(struct correlate_work *w) {
  for (int i = 0; i < w->states; i++) {
    bool there;
    TRY(has_emf(w->job->comm, w->state[i].bundle, &there));
    if (!there) continue;
    TRY(correlate_seen_read(w->job->comm, w->state[i].bundle, &w->state[i].seen));
    TRY_ALL(w->job->comm, check_seen(w, i));
    w->state[i].has_seen = true;
  }
  return STATUS_OK;
}

static enum status make_states(struct correlate_work *w) {
  const struct stage_bundle *all = w->job->input;
  TRY(fault_here("correlate.states"));
  if (!all || !all->states_n)
    return FAIL(STATUS_USAGE, "correlate works on the states of a cycle: xcsct run CONFIG");
  if (all->states_n > CORRELATE_STATES_MOST)
    return FAIL(STATUS_USAGE, "%d states; at most %d", all->states_n, CORRELATE_STATES_MOST);
  w->states = all->states_n;
  TRY(memory_make(w->states, sizeof *w->state, "states", &w->state));
  TRY(memory_make(w->states, sizeof *w->number, "numbers of states", &w->number));
  TRY(memory_make(w->states, sizeof *w->fixed, "numbers of states", &w->fixed));
  for (int i = 0; i < w->states; i++) {
    struct correlate_state *s = &w->state[i];
    s->bundle                 = &all->states[i];
    correlate_attenuation_tables(s);
    s->Ra_um = s->Ra_sigma = s->Rq_um = s->Rq_sigma = (double)NAN;
  }
  return STATUS_OK;
}

static enum status make_room(struct correlate_work *w) {
  TRY(memory_make(CORRELATE_C * w->pixels, sizeof *w->transmission, "transmissions",
                  &w->transmission));
  TRY(memory_make(3 * w->pixels, sizeof *w->radius, "places of pixels", &w->radius));
  w->x_mm = w->radius + w->pixels;
  w->y_mm = w->radius + 2 * w->pixels;
  return memory_make(w->pixels, sizeof *w->field, "the field", &w->field);
}

static void work_free(struct correlate_work *w) {
  for (int i = 0; i < w->states && w->state; i++) {
    correlate_seen_free(&w->state[i].seen);
    correlate_columns_free(&w->state[i].columns);
    correlate_heights_free(&w->state[i].heights);
    memory_free(w->state[i].pixels.below);
  }
  memory_free(w->state);
  memory_free(w->number);
  memory_free(w->fixed);
  memory_free(w->transmission);
  memory_free(w->presence);
  memory_free(w->radius);
  memory_free(w->field);
  memory_free(w->map);
}

/* ---- the stage ------------------------------------------------------------------------------------------------ */

static int64_t count_field(const struct correlate_work *w) {
  int64_t n = 0;
  for (int64_t i = 0; i < w->pixels; i++) n += w->field[i];
  return n;
}

static enum status calculate(struct correlate_work *w, struct correlate_table *table) {
  MPI_Comm comm = w->job->comm;
  TRY(read_seen(w));
  if (!w->regions) {
    log_warning("correlate: no state has momentum factors, so there is nothing to correlate");
    return STATUS_OK;
  }
  TRY_ALL(comm, parse(w));
  TRY_ALL(comm, make_room(w));
  TRY(correlate_ct_read(w));
  TRY(correlate_place(w));
  log_info("correlate: %d states, %d regions, %lld pixels in the field", w->states, w->regions,
           (long long)count_field(w));
  TRY(correlate_ct_project(w));
  TRY_ALL(comm, correlate_numbers_make(w));
  TRY_ALL(comm, correlate_maps_make(w));
  TRY_ALL(comm, correlate_tables_make(w, table));
  TRY(correlate_profiles_make(w, table));
  TRY(correlate_reference_make(w, &table[TABLE_REFERENCE]));
  return correlate_relations_make(w, table);
}

static enum status run(const struct stage_job *job) {
  struct correlate_work w = {.job = job, .params = job->params};
  struct correlate_table table[TABLES];
  memset(table, 0, sizeof table);
  enum status status = AGREE(job->comm, make_states(&w));
  if (status == STATUS_OK) status = calculate(&w, table);
  if (status == STATUS_OK && w.regions) status = correlate_write(&w, table);
  for (int t = 0; t < TABLES; t++) correlate_table_free(&table[t]);
  work_free(&w);
  return status;
}

/* Bytes of the busiest rank: one state's labels at a time and the columns of all, whole maps, detectors of doubles. */
static enum status plan(const struct stage_job *job, struct stage_need *need) {
  const struct stage_bundle *all = job->input;
  char name[STORE_NAME_BYTES];
  int size;
  int64_t pixels = 80 * 80, regions = 3, states = all ? all->states_n : 0, columns = 0, voxels = 0,
          rows = 0;
  MPI_Comm_size(job->comm, &size);
  for (int i = 0; i < states; i++) {
    const char *product[2] = {"emf", "labels"};
    for (int k = 0; k < 2; k++) {
      struct store_input *input;
      bool seen_there = true;
      if (k == 0) TRY(has_emf(job->comm, &all->states[i], &seen_there));
      int there = stage_bundle_find(&all->states[i], product[k], false, name, sizeof name) != NULL;
      MPI_Bcast(&there, 1, MPI_INT, 0, job->comm);
      if (!there || !seen_there) continue;
      TRY(store_open(job->comm, name, product[k], 3, &input));
      const int64_t *n = store_info(input)->n;
      if (k == 0) regions = n[0], pixels = n[1] * n[2];
      if (k == 1) columns = n[1] * n[2], voxels = n[0] * columns;
      if (k == 1) rows = 4 * CORRELATE_ROWS * n[0] * n[2];
      store_close(&input);
    }
  }
  int64_t mine = columns / size + 1, seen = 6 * 8 * regions * pixels * states,
          maps = 16 * CORRELATE_MAPS * pixels * states, profiles = 2 * 8 * 100 * pixels,
          table = 16 * (5 + 2 * CORRELATE_MAPS) * pixels * states;
  *need = (struct stage_need){
      .memory_bytes = voxels / size + rows + mine * (4 + 20 * states) + 40 * columns + seen + maps +
                      (regions * 3 + 6) * 8 * pixels * states + profiles + table,
      .disk_bytes = maps / 2 + table + (8 << 20),
      .rounds     = states};
  return STATUS_OK;
}

const struct stage correlate_stage = {
    .name       = "correlate",
    .words      = "registration, components, correlations and tables of tomography and Compton scattering",
    .params     = &param_set,
    .reads      = "emf,density,profile,labels,height,volume,flux",
    .writes     = "maps",
    .all_states = true,
    .check      = check,
    .plan       = plan,
    .run        = run,
};
