/* Private to compton's profiles and fits: line shapes on nodes of angle and resolution, what one pixel's bins mean in
 * momentum, and the sums that are linear in pixels. */
#pragma once
#include "compton_profile.h"

/* Cd K alpha, mean of its two lines: what escapes from the sensor. */
#define COMPTON_ESCAPE_KEV 23.11

/* ---- line shapes ------------------------------------------------------------------------------------- */

enum { NODES_ACROSS = 3, NODES_USED = NODES_ACROSS * NODES_ACROSS };
enum { NODE_ANGLES = 62, NODE_WIDTHS = 161, NODE_WIDTH_0 = 80 };

/* Shapes over energies relative to the line, y = first + i step: per shape the density and its integral from first. */
struct compton_table {
  struct compton_profile_settings set;
  double first_kev, bin_kev; /* of the spectra */
  int64_t bins;
  int64_t begin, end; /* bins of the fit */
  struct xray_profile *profile;
  double *efficiency; /* [end - begin] */
  double *twice;      /* [end - begin] photons scattered twice, sum 1 over all energies */
  double y_first, y_step;
  int64_t points, padded;
  double *node[NODE_ANGLES][NODE_WIDTHS]; /* [shape][integral, density][padded] or NULL */
  double reference[COMPTON_WINDOWS][COMPTON_SHAPES]; /* content of the windows at reference */
  double unit;         /* Klein and Nishina's cross-section at the reference angle */
  double *fall, *bell; /* [FALL_POINTS] Gauss's upper part, minus its density */
  double *room;        /* of fits, made when first needed */
};

enum { FALL_POINTS = 161 };
#define FALL_FIRST -10.0
#define FALL_STEP  0.125

struct table_at {
  const double *node[NODES_USED];
  double weight[NODES_USED];
  double by_width[NODES_USED]; /* derivative of the weights by the resolution, per keV */
  /* held: a resolution that moves a little keeps its nodes. Between two sets the shape jumps by some 1e-6, and a fit
   * whose minimum lies there would step to and fro for ever. */
  bool held;
  int64_t begin,
      end; /* the points that mixtures are made of, all unless compton_table_span was asked */
  long middle_width; /* 0 before the first use: nodes are about 1 + NODE_WIDTH_0 */
};
/* The nodes about an angle and a resolution, made where they are not there yet. INPUT: outside what nodes exist for. */
enum status compton_table_at(struct compton_table *table, double angle, double fwhm_kev,
                             struct table_at *at);
/* Mixtures are for compton_table_bins with this line, scale and no shift alone. */
void compton_table_span(const struct compton_table *table, double line_kev, double scale,
                        struct table_at *at);
/* Density and integral of a mixture there: integral[padded], density[padded], at its points. */
void compton_table_mix(const struct compton_table *table, const struct table_at *at,
                       const double part[COMPTON_SHAPES], double *integral, double *density);
/* Expected counts of the bins of the fit, per electron and photon/barn sr, for energies that are `scale` times the true
 * ones and moved up by shift_kev: out[end - begin]; slope (or NULL): its derivative by shift. edge[end - begin + 1] is
 * room. */
void compton_table_bins(const struct compton_table *table, const double *integral,
                        const double *density, double line_kev, double scale, double shift_kev,
                        double *edge, double *out, double *slope);
/* Klein and Nishina's cross-section of the beam as it is polarised over that of an unpolarised one. */
double compton_table_polarised(const struct compton_table *table, double angle);

/* padded: a multiple of PROFILE_PADDING. */
enum { PROFILE_PADDING = 16 };
ISA_DECLARE(void, profile_blend, const double *const *from, const double *weight, int sources,
            int64_t padded, double *out)
/* Cubic between points: cumulated[n], density[n] (in units of the density) at y[n]. */
ISA_DECLARE(void, profile_read, const double *integral, const double *density, double first,
            double step, int64_t points, const double *y, int64_t n, double *cumulated,
            double *dense)
/* matrix = sum of a_i a_k w, vector = sum of a_i v over columns a[columns][n] (rows padded apart). */
ISA_DECLARE(void, profile_normal, const double *const *column, int columns, const double *w,
            const double *v, int64_t n, double *matrix, double *vector)
/* to += value 2^24, rounded: sums that do not depend on their order. */
ISA_DECLARE(void, profile_fix, const double *value, int64_t n, int64_t *to)

/* ---- sums over pixels --------------------------------------------------------------------------------- */

/* Linear in the pixels, so that groups are sums of them; all parts of one array. Columns are the terms that are fitted,
 * shapes first, scaled such that a pixel's own amplitude is about 1. */
struct sums {
  int64_t bins, bins_au, size;
  int columns;
  enum compton_term term[COMPTON_TERMS];
  double *all;                                                   /* owned */
  double *count, *column[COMPTON_TERMS], *seen[COMPTON_WINDOWS]; /* [bins]; seen: weight x counts */
  double *content[COMPTON_WINDOWS];   /* [COMPTON_TERMS] of the columns */
  double *variance[COMPTON_WINDOWS];  /* [COMPTON_WINDOWS] sums of weight x weight x counts */
  double *reference[COMPTON_WINDOWS]; /* [COMPTON_SHAPES] */
  double *amount;                     /* [AMOUNTS] */
  double *momentum, *momentum_variance,
      *momentum_missing; /* [bins_au]; pixels that do not reach it */
  double *momentum_column[COMPTON_TERMS];
};
enum {
  AMOUNT_PIXELS,
  AMOUNT_COUNTS,
  AMOUNT_ELECTRONS,
  AMOUNT_FLAT_ELECTRONS,
  AMOUNT_NO_WINDOW,
  AMOUNTS
};
/* Its sizes and columns alone. */
void sums_shape(const struct compton_table *table, struct sums *sums);
enum status sums_make(const struct compton_table *table, struct sums *sums);
void sums_free(struct sums *sums);

/* Counts in which `line` is kept: squares of counts would leave the range of fixed point. */
#define BIAS_LINE_UNIT 32.0
/* What one unsure thing would change, in counts of the bins and in the windows. */
struct biases {
  int64_t bins, size;
  double *all;                                                /* owned */
  double *change[COMPTON_SOURCES], *content[COMPTON_SOURCES]; /* [bins], [COMPTON_WINDOWS] */
  double *line[COMPTON_WINDOWS]; /* [COMPTON_WINDOWS] of pixels independently */
};
void biases_shape(const struct compton_table *table, struct biases *biases);
enum status biases_make(const struct compton_table *table, struct biases *biases);
void biases_free(struct biases *biases);

/* A momentum among the bins: what part of the three about it lies below. */
struct cut {
  int64_t bin; /* -1: outside */
  double below[3];
};
struct pixel_given {
  const uint32_t *count; /* of the table's bins */
  double angle, line_kev, line_sigma_kev, fwhm_kev, flat;
};
/* One pixel looked at. */
struct pixel_view {
  struct pixel_given given;
  struct table_at at;
  double true_kev, scale;           /* of the line; seen over true */
  bool alone;                       /* not part of a group */
  double intensity;                 /* by which the shapes' columns were multiplied */
  double *momentum;                 /* [bins + 1] at edges */
  double *per;                      /* [bins] counts to J */
  double *weight[COMPTON_WINDOWS];  /* [bins] */
  double *shape[COMPTON_SHAPES][2]; /* integral, density of each, since view_sums */
  double *integral, *density, *edge, *base, *moved; /* room */
  struct cut *cut;                                  /* windows' five, then momentum bins' edges */
  void *room;                                       /* owned */
};
enum status view_make(const struct compton_table *table, struct pixel_view *view);
void view_free(struct pixel_view *view);
/* Looks at a pixel: nodes, momenta, weights. *windows: they lie within the bins. */
enum status view_look(struct compton_table *table, const struct pixel_given *given,
                      struct pixel_view *view, bool *windows);
/* The pixel's sums (all of them set). */
void view_sums(const struct compton_table *table, struct pixel_view *view, struct sums *sums);
/* Its biases for a mixture of so many electrons each (all of them set), after view_sums. */
enum status view_biases(struct compton_table *table, struct pixel_view *view,
                        const double part[COMPTON_SHAPES], struct biases *biases);

/* ---- solution ------------------------------------------------------------------------------------------- */

/* counts = offset (or NULL) + sum of value x column; contents of the windows less background. seen[] NULL: no windows. */
struct problem {
  int64_t bins;
  int columns;
  const double *count, *offset, *column[COMPTON_TERMS], *seen[COMPTON_WINDOWS];
  double content[COMPTON_WINDOWS], taken[COMPTON_WINDOWS]; /* of counts, of the offset */
  double background[COMPTON_WINDOWS][COMPTON_TERMS]; /* to be taken off per unit of a column */
  double toward[COMPTON_WINDOWS][COMPTON_TERMS];     /* to be added to come to the reference */
  double variance[COMPTON_WINDOWS][COMPTON_WINDOWS];
};
struct solution {
  bool solved;
  double value[COMPTON_TERMS], inverse[COMPTON_TERMS][COMPTON_TERMS], deviance;
  double shared[COMPTON_WINDOWS][COMPTON_TERMS]; /* seen . column / model */
  double *model, *weight, *right;                /* [bins] room, borrowed; weight = 1 / model */
};
void problem_solve(const struct problem *problem, struct solution *solution);
/* Inverse of a symmetric matrix [n][n]; false: it is not positive. */
bool problem_invert(int n, const double *matrix, double inverse[COMPTON_TERMS][COMPTON_TERMS]);
/* Contents and their covariance; `normal`: moved to the reference. */
void problem_windows(const struct problem *problem, const struct solution *solution, bool normal,
                     double content[COMPTON_WINDOWS],
                     double covariance[COMPTON_WINDOWS][COMPTON_WINDOWS]);
/* How far a change of the counts [bins] moves the values; what it does to the contents, with its own part in them. */
void problem_move(const struct problem *problem, const struct solution *solution,
                  const double *change, double moved[COMPTON_TERMS]);
void problem_respond(const struct problem *problem, bool normal, const double moved[COMPTON_TERMS],
                     const double own[COMPTON_WINDOWS], double response[COMPTON_WINDOWS]);

/* ---- answers ------------------------------------------------------------------------------------------- */

/* Sums over a group of pixels (or one) that were solved. shared: a group's result whose background per pixel and mixture
 * are used, or NULL. */
struct answer {
  const struct compton_table *table;
  const struct sums *sums;
  const struct compton_emf *shared;
  struct problem problem;
  struct solution solution;
};
/* What factors are made of; adds up over groups. [as it is seen, at the reference] */
struct total {
  double content[2][COMPTON_WINDOWS];
  double covariance[2][COMPTON_WINDOWS][COMPTON_WINDOWS]; /* of counting and background */
  double counting[COMPTON_WINDOWS][COMPTON_WINDOWS], line[COMPTON_WINDOWS][COMPTON_WINDOWS];
  double response[2][COMPTON_SOURCES][COMPTON_WINDOWS]; /* to what is unsure */
};
/* What a profile is made of, [bins_au] each. */
struct profile_total {
  double *net, *variance, *expected, *missing;
};
struct solve_room {
  double *all;                                      /* owned */
  double *column, *offset, *model, *weight, *right; /* borrowed by answers */
  struct profile_total profile;
};
enum status solve_room_make(const struct compton_table *table, struct solve_room *room);
void answer_solve(const struct compton_table *table, const struct sums *sums,
                  const struct compton_emf *shared, const struct solve_room *room,
                  struct answer *answer);
/* Of all shapes. */
double answer_amplitude(const struct answer *answer);
/* All but the factors. */
void answer_tell(const struct answer *answer, struct compton_emf *emf);
void emf_undefined(enum compton_state state, struct compton_emf *emf);
/* Are there counts above background in both of a factor's windows? */
bool windows_hold(const double window[COMPTON_WINDOWS]);
void total_add(const struct answer *answer, const struct biases *biases, struct total *total);
void total_factors(const struct total *total, struct compton_emf *emf);
void profile_add(const struct answer *answer, const struct profile_total *to);
/* J per electron: what is above background, its area that of the mixture of so many electrons over the same momenta. */
void profile_tell(const struct compton_table *table, const struct profile_total *of,
                  double electrons, bool defined, float *profile, float *sigma);
