/* The result's file and the CSVs beside it. */
#include "correlate_private.h"
#include "correlate_statistics.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- CSV ---------------------------------------------------------------------------------------------------- */

static bool is_column(const struct correlate_table *t, int k, const char *name) {
  return strcmp(t->column[k], name) == 0;
}

/* Codes as words. */
static void put_value(const struct correlate_work *w, const struct correlate_table *t, int k,
                      double value, FILE *to) {
  static const char *const kind[]   = {"Pearson", "Spearman", "partial"},
                           *const source[] = {"measured", "interpolated", "given", "unknown"};
  char text[64];
  if (!isfinite(value)) return;
  if (is_column(t, k, "state") || is_column(t, k, "from") || is_column(t, k, "to"))
    fputs(w->state[(int)value].bundle->state, to);
  else if (is_column(t, k, "component"))
    fputs(correlate_component_name[(int)value - 1], to);
  else if (is_column(t, k, "a") || is_column(t, k, "b"))
    fputs(correlate_map_name[(int)value], to);
  else if (is_column(t, k, "kind"))
    fputs(kind[(int)value], to);
  else if (is_column(t, k, "source"))
    fputs(source[(int)value], to);
  else if (is_column(t, k, "quantity"))
    fputs(correlate_quantity_name(w, (int)value, text, sizeof text), to);
  else
    fprintf(to, "%.8g", value);
}

static void put_table(const struct correlate_work *w, const struct correlate_table *t, FILE *to) {
  for (int k = 0; k < t->columns; k++)
    fprintf(to, "%s%s%s%s%s", k ? "," : "", t->column[k], t->unit[k][0] ? " (" : "", t->unit[k],
            t->unit[k][0] ? ")" : "");
  fputc('\n', to);
  for (int64_t i = 0; i < t->rows; i++) {
    for (int k = 0; k < t->columns; k++) {
      if (k) fputc(',', to);
      put_value(w, t, k, t->value[k][i], to);
    }
    fputc('\n', to);
  }
}

static enum status write_csv(const struct correlate_work *w, const struct correlate_table *t) {
  char path[STORE_NAME_BYTES], *bytes = NULL;
  size_t n = 0, stem = strlen(w->job->output);
  if (!log_is_speaker()) return STATUS_OK;
  if (stem > 3 && strcmp(w->job->output + stem - 3, ".h5") == 0) stem -= 3;
  if (stem + 64 > sizeof path)
    return FAIL(STATUS_USAGE, "the name of the output is longer than %d letters",
                (int)sizeof path - 64);
  snprintf(path, sizeof path, "%.*s_%s.csv", (int)stem, w->job->output, t->name);
  FILE *to = open_memstream(&bytes, &n);
  if (!to) return FAIL(STATUS_MEMORY, "no memory for %s", path);
  put_table(w, t, to);
  fclose(to);
  enum status status = store_text_write(path, bytes, (int64_t)n);
  free(bytes);
  return status;
}

/* ---- HDF5 ---------------------------------------------------------------------------------------------------- */

/* Rank 0 alone has the map to write. */
static enum status write_maps(struct correlate_work *w, struct store_output *output, bool errors) {
  MPI_Comm comm      = w->job->comm;
  const int64_t n[4] = {w->states, CORRELATE_MAPS, w->ny, w->nx};
  int64_t start[4] = {0}, none[4] = {0}, all = n[0] * n[1] * n[2] * n[3];
  const double *from = errors ? w->map_error : w->map;
  float *map         = NULL;
  TRY_ALL(comm, memory_make(log_is_speaker() ? all : 0, sizeof *map, "maps", &map));
  for (int64_t i = 0; i < all && log_is_speaker(); i++) map[i] = (float)from[i];
  enum status status =
      store_write_box(comm, output, "maps", errors, start, log_is_speaker() ? n : none, map);
  memory_free(map);
  return status;
}

static enum status write_tables(struct correlate_work *w, struct store_output *output,
                                const struct correlate_table *table) {
  for (int t = 0; t < TABLES; t++)
    if (table[t].rows)
      TRY(store_table(w->job->comm, output, table[t].name, table[t].column, table[t].unit,
                      table[t].columns, (const double *const *)table[t].value, table[t].rows));
  return STATUS_OK;
}

static enum status note_names(struct correlate_work *w, struct store_output *output) {
  char text[4096] = "";
  for (int i = 0; i < w->states; i++) {
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", w->state[i].bundle->state);
  }
  TRY(store_note(w->job->comm, output, "states", text));
  text[0] = 0;
  for (int m = 0; m < CORRELATE_MAPS; m++) {
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s%s", m ? "," : "", correlate_map_name[m]);
  }
  TRY(store_note(w->job->comm, output, "quantities", text));
  return store_number(w->job->comm, output, "pixel_mm",
                      (double)w->params->bin * w->camera.pitch_mm * w->camera.pinhole_mm /
                          w->camera.detector_mm,
                      "mm");
}

static enum status write_all(struct correlate_work *w, struct store_output *output,
                             struct correlate_table *table) {
  MPI_Comm comm      = w->job->comm;
  const int64_t n[4] = {w->states, CORRELATE_MAPS, w->ny, w->nx};
  TRY(store_create(comm, output, "maps", n, NULL, NULL, true));
  TRY(store_default(comm, output, "maps"));
  TRY(store_ready(comm, output));
  TRY(write_maps(w, output, false));
  TRY(write_maps(w, output, true));
  TRY(write_tables(w, output, table));
  return note_names(w, output);
}

enum status correlate_write(struct correlate_work *w, struct correlate_table *table) {
  MPI_Comm comm = w->job->comm;
  struct store_output *output;
  int64_t bytes = 8 * (int64_t)w->states * CORRELATE_MAPS * w->ny * w->nx + (1 << 20);
  if (!w->job->output[0]) return STATUS_OK;
  for (int t = 0; t < TABLES; t++) bytes += 8 * table[t].rows * table[t].columns;
  TRY(stage_output_begin(w->job, bytes, &output));
  enum status status = write_all(w, output, table);
  for (int t = 0; t < TABLES && status == STATUS_OK; t++)
    if (table[t].rows) status = AGREE(comm, write_csv(w, &table[t]));
  if (status == STATUS_OK) return stage_output_commit(w->job, &output);
  store_abandon(comm, &output, false);
  return status;
}
