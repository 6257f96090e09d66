/* Inside report: what was read, where it goes. Rank 0 writes; the other ranks join collective reads. */
#pragma once
#include "picture_draw.h"
#include "report.h"

enum { REPORT_STATES_MOST = 256, REPORT_WORD = 65, REPORT_THUMBS_MOST = 8 * REPORT_STATES_MOST };
enum report_part { REPORT_TOP, REPORT_OF_STATES, REPORT_FIGURES, REPORT_TAIL, REPORT_PARTS };

struct report_row {
  char state[REPORT_WORD], stage[32], name[64], unit[24], remark[128];
  double value, sigma, lower, upper; /* NAN = absent */
};
struct report_unit {
  char state[REPORT_WORD], stage[32], is[16], why[512];
};
struct report_state {
  char name[REPORT_WORD], step[32];
  double percent; /* NAN: not said */
  int stage;      /* I, II, ... among the states with a tomogram: 1, 2, ...; 0: none */
};
enum report_verdict { REPORT_PASS, REPORT_WARN, REPORT_UNKNOWN };

struct report {
  MPI_Comm comm;
  const struct report_params *params;
  const char *folder;
  bool speaks; /* rank 0 */
  char sample[256], cycle_path[STORE_NAME_BYTES], version[32];
  double finished_s; /* time of the run's end, since 1970; 0: not known */
  struct config_file *cycle, *truth;
  struct report_state *state;
  int states;
  struct report_row *row;
  int rows, rows_room;
  struct report_unit *unit;
  int units;
  /* rank 0's: the page grows in parts that are joined in their order at the end; html is the part in work */
  FILE *html, *part[REPORT_PARTS];
  char *bytes[REPORT_PARTS];
  size_t n[REPORT_PARTS];
  struct report_thumb {
    char id[96];
    double wide, high;
  } * thumb; /* pictures that a state's panel shows again */
  int thumbs;
  enum status status; /* of what rank 0 does alone: the first failure, and its words */
  char why[512];
  int figures, passed, warned;
};

/* ---- what was found (report_data.c) ------------------------------------------------------------------- */

/* Collective: cycle, units, results, truth; the same on all ranks. */
enum status report_read(struct report *r);
void report_forget(struct report *r);
/* Local. The result of a state ("all" for one of all), NULL: not there. stage NULL: any. */
const struct report_row *report_row_find(const struct report *r, const char *state,
                                         const char *stage, const char *name);
/* NAN: not known. */
double report_truth(const struct report *r, const char *state, const char *name);
/* The unit of a state and stage, NULL: not in the run. */
const struct report_unit *report_unit_find(const struct report *r, const char *state,
                                           const char *stage);
/* Why there is nothing of this stage to show: in words, "" when nothing is known. */
const char *report_why_not(const struct report *r, const char *state, const char *stage);
/* FOLDER/[state/]stage.h5; the same answer on all ranks: is it there, and not left over by a failed unit? Collective. */
bool report_file(const struct report *r, const char *state, const char *stage, char *path);
/* Local. FILE[:DATASET] that a state brings under this key of the cycle; false: none. */
bool report_given(const struct report *r, const char *state, const char *key, char *path);
/* Collective. A number list of a file, NULL when it is not there or unreadable; memory_free'd by the caller. */
double *report_numbers(const struct report *r, const char *file, const char *path, int64_t *n);
/* Collective. Columns of a table as numbers (NULL where the table is not there); free column[0..k-1] by
 * report_table_free. */
struct report_table {
  double *column[32];
  int columns;
  int64_t rows;
};
bool report_table_read(const struct report *r, const char *file, const char *table,
                       const char *const *column, int columns, struct report_table *t);
void report_table_free(struct report_table *t);
/* Local. Values whose errors are more than 3 times the median error become NAN: they say nothing, and would set the scale. */
void report_table_mask(struct report_table *t, int value, int error);

/* ---- text (report_page.c); all of them rank 0's ---------------------------------------------------------- */

void report_raw(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void report_text(struct report *r, const char *text); /* escaped */
void report_textf(struct report *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void report_head(struct report *r);
void report_foot(struct report *r);
extern const char report_style[]; /* CSS */
void report_part_choose(struct report *r, enum report_part part);
void report_section(struct report *r, const char *id, const char *title);
/* A number to the digits its error allows. In HTML; `report_number_plain` in plain text. */
void report_number(struct report *r, const struct report_row *row);
void report_number_plain(double value, double sigma, double lower, double upper, char *text,
                         size_t bytes);
/* A state's name as people write it: underscores become spaces. */
void report_state_words(const char *name, char *text, size_t bytes);
const char *report_roman(int n);
const char *report_unit_words(const char *unit); /* "um" as people write it */

/* ---- figures (report_figure.c) ------------------------------------------------------------------------ */

struct report_panel {
  struct picture_drawing drawing; /* ended */
  char id[96];                    /* "" or what the state's panel calls it by */
};
struct report_figure {
  const char *name, *title, *caption;
  struct report_panel *panel;
  int panels;
  int across; /* panels side by side on a wide page */
  char *csv;  /* NULL: none */
  size_t csv_bytes;
};
/* A table in memory that plots write into, begun with its head; NULL: no memory. Closed by fclose. */
FILE *report_csv(char **bytes, size_t *n);
/* Rank 0. Into the page, FOLDER/figures/NAME.svg and .csv. The panels are freed. */
void report_figure_add(struct report *r, struct report_figure *figure);
/* Rank 0. FOLDER/figures/NAME.png. */
void report_png(struct report *r, const char *name, const uint8_t *rgb, int64_t ny, int64_t nx);
/* Rank 0. A figure that cannot be shown, and why. */
void report_figure_missing(struct report *r, const char *title, const char *why);
/* Rank 0. Keeps the first failure of r->status. */
void report_keep(struct report *r, enum status status);
/* Rank 0. A text file under FOLDER/figures. */
void report_side_file(struct report *r, const char *name, const char *bytes, size_t n);

/* ---- images (report_image.c) ---------------------------------------------------------------------------- */

/* Rank 0 holds values; NULL: nothing there. Row 0 is on top of the picture. */
struct report_image {
  float *value;
  int64_t ny, nx;
  double um_y, um_x; /* per pixel; 0: not known */
};
void report_image_free(struct report_image *image);
/* Rank 0. value[ny][nx] thinned out by means to at most `most` pixels a side; um_y and um_x as they are before. */
enum status report_image_thin(const float *value, int64_t ny, int64_t nx, int64_t most, bool flip,
                              struct report_image *image);
/* Collective. The box (of up to two axes longer than 1) of a dataset of rank 2..4 (product "": a volume, FILE[:DATASET]), thinned out to at most `most` pixels a
 * side: means of floats, middle voxels of labels. `flip`: the first of both axes upwards (z). A file that cannot be read
 * leaves the image empty. */
void report_image_read(const struct report *r, const char *file, const char *product,
                       const int64_t *start, const int64_t *n, int64_t most, bool flip,
                       struct report_image *image);
/* Rank 0. A picture with title and scale bar; the same of values, whose colours the caller memory_free's; a colour bar. */
enum status report_rgb_panel(struct report_panel *panel, const uint8_t *rgb, int64_t ny, int64_t nx,
                             double um_y, double um_x, int across, const char *title,
                             const char *id);
enum status report_image_panel(struct report_panel *panel, const struct report_image *image,
                               double low, double high, enum picture_map map, int across,
                               const char *title, const char *id, uint8_t **rgb);
enum status report_bar_panel(struct report_panel *panel, enum picture_map map, double low,
                             double high, int across, const char *label);
/* Rank 0. Pictures of all states, image[states], on one scale, with a colour bar; the states without are named. */
void report_image_figure(struct report *r, const char *name, const char *title, const char *caption,
                         const char *label, const struct report_image *image, enum picture_map map,
                         int across);
/* Collective. Shape and voxel size of a product; false: not there or unreadable. */
bool report_shape(const struct report *r, const char *file, const char *product,
                  struct store_info *info);

/* ---- sections, in their order ------------------------------------------------------------------------------- */

void report_answer(struct report *r);        /* rank 0 */
void report_states(struct report *r);        /* rank 0 */
enum status report_curves(struct report *r); /* collective, as those below */
void report_against_state(struct report *r); /* rank 0 */
enum status report_pictures(struct report *r);
enum status report_growth(struct report *r);
enum status report_compton(struct report *r);
enum status report_correlations(struct report *r);
/* Collective. Where the tomogram lies on the Compton maps, from a file of correlate. */
enum status report_overlay(struct report *r, const char *file);
void report_flux_table(struct report *r);               /* rank 0 */
void report_truth_table(struct report *r, FILE *plain); /* rank 0 */
enum status report_checks(struct report *r);
enum status report_methods(struct report *r);

/* Rank 0. rgb[ny][nx][3] of the voxels code[n0][n1][n2] (0: empty, else the state since which it is there, its colour),
 * rendered from above at an angle. */
enum status report_render(const uint8_t *code, const int64_t n[3], int64_t ny, int64_t nx,
                          uint8_t *rgb, double *px_per_voxel);
