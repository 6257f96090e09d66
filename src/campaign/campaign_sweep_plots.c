/* Plots of a sweep: each result against each parameter, DIR/plots/<parameter>__<stage>.<result>.svg, a series of marks
 * per state with its errors. Where other parameters vary too, their rows stand above one another. */
#include "campaign_sweep.h"
#include "picture_draw.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MOST = 2048, FIELDS = 9 };
struct quantity {
  char stage[32], result[64], unit[24];
};
struct point {
  int32_t row;
  int16_t quantity, state; /* state: the cycle's, or how many there are for "all" */
  double value, sigma;
};
struct points {
  const struct cycle *cycle;
  const struct sweep *sweep;
  const char *folder;
  struct quantity quantity[NAMES_MOST];
  int quantities;
  struct point *point;
  int64_t n, room;
};

/* ---- reading ----------------------------------------------------------------------------------------- */

static int quantity_of(struct points *p, const char *stage, const char *result, const char *unit) {
  for (int i = 0; i < p->quantities; i++)
    if (strcmp(p->quantity[i].stage, stage) == 0 && strcmp(p->quantity[i].result, result) == 0)
      return i;
  if (p->quantities == NAMES_MOST || !store_name_ok(stage) || !store_name_ok(result)) return -1;
  struct quantity *made = &p->quantity[p->quantities];
  snprintf(made->stage, sizeof made->stage, "%s", stage);
  snprintf(made->result, sizeof made->result, "%s", result);
  snprintf(made->unit, sizeof made->unit, "%s", unit);
  return p->quantities++;
}

static int state_of(const struct points *p, const char *name) {
  for (int i = 0; i < p->cycle->states; i++)
    if (strcmp(p->cycle->state[i].name, name) == 0) return i;
  return p->cycle->states;
}

static enum status point_add(struct points *p, struct point point) {
  if (p->n == p->room) {
    struct point *larger;
    p->room = 2 * p->room + 1024;
    TRY(memory_make(p->room, sizeof *larger, "results of a sweep", &larger));
    if (p->n) memcpy(larger, p->point, (size_t)p->n * sizeof *larger);
    memory_free(p->point);
    p->point = larger;
  }
  p->point[p->n++] = point;
  return STATUS_OK;
}

/* A line of a row's summary.csv: state,stage,result,value,sigma,lower,upper,unit,remark. */
static enum status line_take(struct points *p, int64_t row, char *line) {
  char *field[FIELDS] = {NULL}, *end;
  for (int i = 0; i < FIELDS; i++) {
    field[i] = line;
    line += strcspn(line, ",\n");
    if (!*line && i < FIELDS - 1) return STATUS_OK; /* no whole line */
    if (*line) *line++ = 0;
  }
  double value = strtod(field[3], &end), sigma = (double)NAN;
  if (end == field[3] || !isfinite(value)) return STATUS_OK;
  if (*field[4]) sigma = strtod(field[4], NULL);
  int quantity = quantity_of(p, field[1], field[2], field[7]);
  if (quantity < 0) return STATUS_OK;
  return point_add(p, (struct point){.row      = (int32_t)row,
                                     .quantity = (int16_t)quantity,
                                     .state    = (int16_t)state_of(p, field[0]),
                                     .value    = value,
                                     .sigma    = sigma});
}

static enum status rows_read(struct points *p) {
  enum status status = STATUS_OK;
  for (int64_t row = 0; row < p->sweep->rows && status == STATUS_OK; row++) {
    char path[STORE_NAME_BYTES], line[4096];
    snprintf(path, sizeof path, "%.1900s/rows/%05lld/summary.csv", p->folder, (long long)row);
    FILE *from = fopen(path, "re");
    if (!from) continue;
    bool head = true;
    for (; status == STATUS_OK && fgets(line, sizeof line, from); head = false)
      if (!head) status = line_take(p, row, line);
    fclose(from);
  }
  return status;
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

/* The parameter's value, or its place among words. */
static double place_of(const struct sweep_axis *axis, const char *text, bool numbers) {
  if (numbers) return strtod(text, NULL);
  for (int i = 0; i < axis->n; i++)
    if (strcmp(axis->text[i], text) == 0) return i;
  return (double)NAN;
}

static bool has_numbers(const struct sweep_axis *axis) {
  for (int i = 0; i < axis->n; i++) {
    char *end;
    double value = strtod(axis->text[i], &end);
    if (end == axis->text[i] || *end || !isfinite(value)) return false;
  }
  return axis->n > 1;
}

struct figure {
  const struct points *points;
  const struct sweep_axis *axis;
  int axis_number, quantity;
  bool numbers;
  double *x, *y, *error; /* of one state, room for all points */
};

/* Points of a state; -1: of all. */
static int64_t series_of(const struct figure *f, int state) {
  int64_t n = 0;
  for (int64_t i = 0; i < f->points->n; i++) {
    const struct point *point = &f->points->point[i];
    if (point->quantity != f->quantity || (state >= 0 && point->state != state)) continue;
    f->x[n] =
        place_of(f->axis, sweep_text(f->points->sweep, point->row, f->axis_number), f->numbers);
    f->y[n]     = point->value;
    f->error[n] = point->sigma;
    n++;
  }
  return n;
}

static void ranges_find(const struct figure *f, int64_t n, struct picture_plot *plot) {
  plot->x[0] = plot->y[0] = INFINITY, plot->x[1] = plot->y[1] = -INFINITY;
  picture_range_add(plot->x, f->x, n);
  for (int64_t i = 0; i < n; i++) {
    double e = isfinite(f->error[i]) ? f->error[i] : 0, ends[2] = {f->y[i] - e, f->y[i] + e};
    picture_range_add(plot->y, ends, 2);
  }
  picture_range_widen(plot->y);
  plot->no_x  = !f->numbers;
  plot->log_x = f->axis->logarithmic;
  if (!f->numbers)
    plot->x[0] = -0.5, plot->x[1] = f->axis->n - 0.5;
  else if (!plot->log_x)
    picture_range_widen(plot->x);
}

static void draw(const struct figure *f, int64_t n, struct picture_drawing *drawing) {
  const struct points *p   = f->points;
  const struct quantity *q = &p->quantity[f->quantity];
  const char *names[CYCLE_STATES_MOST + 1];
  int series[CYCLE_STATES_MOST + 1], keys = 0;
  char label[128];
  struct picture_plot plot = {
      .drawing = drawing, .left = 76, .top = 34, .wide = 420, .high = 260, .name = q->result};
  ranges_find(f, n, &plot);
  snprintf(label, sizeof label, "%s%s%s%s", q->result, *q->unit ? " (" : "", q->unit,
           *q->unit ? ")" : "");
  picture_plot_begin(&plot, q->stage, f->axis->key, label);
  for (int i = 0; !f->numbers && i < f->axis->n && f->axis->n <= 24; i++)
    picture_plot_word(&plot, i, f->axis->text[i]);
  for (int s = 0; s <= p->cycle->states; s++) {
    int64_t here = series_of(f, s);
    if (here == 0) continue;
    names[keys]    = s < p->cycle->states ? p->cycle->state[s].name : "all";
    series[keys++] = s;
    picture_plot_marks(&plot, s, names[keys - 1], f->x, f->y, f->error, here);
  }
  picture_plot_key(&plot, plot.top + plot.high + (f->numbers ? 56 : 116), names, series, keys,
                   false);
}

static enum status figure_write(const struct figure *f) {
  const struct quantity *q = &f->points->quantity[f->quantity];
  struct picture_drawing drawing;
  char path[STORE_NAME_BYTES], key[sizeof f->axis->key], *bytes = NULL;
  size_t size = 0;
  int64_t n   = series_of(f, -1);
  if (n < 2) return STATUS_OK;
  snprintf(key, sizeof key, "%s", f->axis->key);
  for (char *c = key; *c; c++)
    if (*c == '/') *c = '.';
  snprintf(path, sizeof path, "%.1700s/plots/%s__%s.%s.svg", f->points->folder, key, q->stage,
           q->result);
  TRY(picture_drawing_begin(&drawing, 520,
                            (f->numbers ? 380 : 440) + 18 * (f->points->cycle->states / 4)));
  draw(f, n, &drawing);
  enum status status = picture_drawing_end(&drawing);
  FILE *to           = status == STATUS_OK ? open_memstream(&bytes, &size) : NULL;
  if (status == STATUS_OK && !to) status = FAIL(STATUS_MEMORY, "no memory for %s", path);
  if (to) {
    picture_drawing_document(&drawing, q->result, to);
    fclose(to);
    status = store_text_write(path, bytes, (int64_t)size);
    free(bytes);
  }
  picture_drawing_free(&drawing);
  return status;
}

static enum status figures_write(const struct points *p, double *room) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%.1900s/plots", p->folder);
  TRY(folder_make(path));
  for (int a = 0; a < p->sweep->axes; a++)
    for (int q = 0; q < p->quantities; q++) {
      struct figure f = {.points      = p,
                         .axis        = &p->sweep->axis[a],
                         .axis_number = a,
                         .quantity    = q,
                         .numbers     = has_numbers(&p->sweep->axis[a]),
                         .x           = room,
                         .y           = room + p->n,
                         .error       = room + 2 * p->n};
      TRY(figure_write(&f));
    }
  return STATUS_OK;
}

enum status sweep_plots(const struct cycle *cycle, const struct sweep *sweep, const char *folder) {
  struct points *p;
  double *room = NULL;
  if (!log_is_speaker()) return STATUS_OK;
  TRY(memory_make(1, sizeof *p, "results of a sweep", &p));
  p->cycle = cycle, p->sweep = sweep, p->folder = folder;
  enum status status = rows_read(p);
  if (status == STATUS_OK)
    status = memory_make(3 * p->n + 1, sizeof *room, "points of a plot", &room);
  if (status == STATUS_OK) status = figures_write(p, room);
  memory_free(room);
  memory_free(p->point);
  memory_free(p);
  return status;
}
