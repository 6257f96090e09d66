/* Inside correlate: a state as both methods see it, on the Compton grid, and what is calculated from it. Everything here
 * is held by all ranks alike, but for the columns of the tomography, of which each rank has rows. */
#pragma once
#include "correlate.h"
#include "correlate_pinhole.h"
#include "correlate_unmix.h"

enum { CORRELATE_REGIONS_MOST = UNMIX_REGIONS, CORRELATE_C = CORRELATE_COMPONENTS };

/* ---- what the Compton camera saw -------------------------------------------------------------------- */

/* [regions][pixels]; NaN where a pixel is dead. `sum` are the electrons within the windows, on the scale of `density`,
 * which all regions and states share; emf splits them. */
struct correlate_seen {
  int regions;
  int64_t rows, columns;
  double *sum, *sum_sigma, *emf, *emf_sigma, *density, *density_sigma;
};
/* Collective. From the products of compton of a state. */
enum status correlate_seen_read(MPI_Comm comm, const struct stage_bundle *state,
                                struct correlate_seen *seen);
enum status correlate_seen_make(int regions, int64_t rows, int64_t columns,
                                struct correlate_seen *seen);
void correlate_seen_free(struct correlate_seen *seen);
/* Sums of both windows over the pixels of a mask (NULL: all), with their covariance. */
struct correlate_windows {
  double low, high, low_variance, high_variance, covariance;
  int64_t pixels;
};
struct correlate_windows correlate_windows_of(const struct correlate_seen *seen, int region,
                                              const int8_t *mask);
double correlate_emf(const struct correlate_windows *w, double *sigma);

/* ---- the layers in the tomography --------------------------------------------------------------------- */

/* This rank's rows y0.. of columns [ny_here][nx]: heights in um above the z = 0 face; NaN: none. */
struct correlate_columns {
  int64_t ny, nx, y0, ny_here;
  double voxel_um[3];
  float *top;   /* of the lithium */
  float *face;  /* lower face of the cathode */
  float *pores; /* um of what is not lithium under the top, to the depth looked at */
  float *touch; /* 1: membrane lies on the lithium, 0: nothing does */
  float *flux;  /* mean of the slices in which flux was solved; NULL: nowhere */
};
/* Collective. From labels (uint8, slabs along y: whole columns); `height` (the surface's map, same rows) or NULL. */
enum status correlate_columns_make(MPI_Comm comm, const struct correlate_params *params,
                                   const struct grid_field *labels, const float *height,
                                   struct correlate_columns *columns);
void correlate_columns_free(struct correlate_columns *columns);
/* Collective. The whole map on every rank: full[ny * nx]. */
enum status correlate_columns_gather(MPI_Comm comm, const struct correlate_columns *columns,
                                     const float *mine, double *full);

/* How often a height occurs in the field: all that a slab's mean fractions need. */
struct correlate_heights {
  double step_um, pores_um; /* mean pores */
  int64_t bins, columns;    /* columns in the field */
  int64_t *top, *face;      /* [bins] */
};
/* Collective. Columns within radius_mm of the slice's middle (0: all) that have top and face. */
enum status correlate_heights_make(MPI_Comm comm, const struct correlate_columns *columns,
                                   double radius_mm, struct correlate_heights *heights);
void correlate_heights_free(struct correlate_heights *heights);

/* ---- slabs of beam ---------------------------------------------------------------------------------------- */

struct correlate_slab {
  double middle_um, thick_um, edge_um; /* edge: sigma of its blur */
};
/* Share of the beam that lies below z. */
double correlate_slab_below(const struct correlate_slab *slab, double z_um);
/* Changes of what is measured, for error budgets: of the surface's height, of the cathode's face, of the slab's. */
struct correlate_moves {
  double top_um, face_um, slab_um;
};
/* Mean volume fractions of Li, SPE, cathode in a slab. */
void correlate_slab_fractions(const struct correlate_params *params,
                              const struct correlate_slab *slab,
                              const struct correlate_heights *heights,
                              const struct correlate_moves *moves, double fraction[CORRELATE_C]);
/* Of one column. */
void correlate_slab_column(const struct correlate_params *params, const struct correlate_slab *slab,
                           double top_um, double face_um, double pores_um,
                           double fraction[CORRELATE_C]);

/* Transmissions t1 t2 of each component in every pixel: along the beam through what lies upstream in its own layer, then
 * up through half of the cathode (its own) or all of it. presence[c][pixels], 0..1. transmission[c][pixels]. */
void correlate_transmissions(const struct pinhole_camera *camera, const double *presence,
                             const struct correlate_params *params,
                             const double mu_per_mm[CORRELATE_C], double *transmission);
/* Presence from given radii, mm about the grid's middle. */
void correlate_presence_discs(const struct pinhole_camera *camera, const double radius_mm[CORRELATE_C],
                              double *presence);
/* Relative electron densities of the components, 1e23 per cm3. */
void correlate_densities(double density[CORRELATE_C]);

/* ---- registration --------------------------------------------------------------------------------------------- */

struct correlate_fit {
  struct pinhole_registration at;
  double sigma[4]; /* scale (relative), rotation (deg), x, y (mm); NaN: held, the maps do not tell it */
  double quality;  /* NaN: too few pixels are known to both for a likeness */
};
/* Local. As pinhole_register, then errors from the curvature of the likeness; what the maps do not tell (a turn of what is
 * round) keeps its start value. */
enum status correlate_register(const struct pinhole_camera *camera, const struct pinhole_map *map,
                               const double *seen, double reach_mm, struct correlate_fit *fit);

/* Mean densities of the regions of one state, and heights of the same field. */
struct correlate_level {
  int regions;
  const struct correlate_heights *heights;
  double density[CORRELATE_REGIONS_MOST], sigma[CORRELATE_REGIONS_MOST]; /* relative to each other */
  double transmission[CORRELATE_C];
};
struct correlate_slab_fit {
  double shift_um, sigma_um, chi2;
  int64_t freedom; /* values less what was fitted */
};
/* Local. slab[levels][CORRELATE_REGIONS_MOST]. By how much all slabs lie higher than `slab` says, such that densities are those of the mixtures, with one free
 * scale. sigma NaN: not within reach, or the densities do not tell it; shift is then 0. */
enum status correlate_slab_find(const struct correlate_params *params,
                                const struct correlate_slab *slab,
                                const struct correlate_level *level, int levels, double reach_um,
                                struct correlate_slab_fit *fit);

/* ---- components ---------------------------------------------------------------------------------------------- */

struct correlate_amount {
  double emf, sigma;
  double low, high; /* amplitude in both windows */
};
/* From regions to components by V (fraction x transmission). False: V does not tell the components apart, or a component
 * has no electrons. */
bool correlate_components_solve(const struct unmix_matrix *v, const struct correlate_windows *w,
                                struct correlate_amount component[CORRELATE_C]);
/* The weights by which regions make components: gain[c][r]. */
enum status correlate_components_gain(const struct unmix_matrix *v, const double *sigma,
                                      double gain[CORRELATE_C][CORRELATE_REGIONS_MOST]);

/* ---- a cycle -------------------------------------------------------------------------------------------------- */

enum correlate_source { CORRELATE_MEASURED, CORRELATE_BETWEEN, CORRELATE_GIVEN, CORRELATE_UNKNOWN };
/* What the tomography says of each pixel; [pixels] each, NaN: not covered. below: share of the beam of each region under
 * the top, the face, the roof of the cathode, [regions][3][pixels]. */
struct correlate_pixels {
  double *below, *height, *Ra, *pores, *touch, *flux, *cover;
};
struct correlate_state {
  const struct stage_bundle *bundle;
  double percent, position; /* position in the cycle: charging 0..1, discharging 1..2; NaN: not said */
  bool discharging, has_seen, has_ct;
  double height_um[CORRELATE_REGIONS_MOST]; /* middles of the slabs; NaN: not said */
  struct correlate_seen seen;
  struct correlate_columns columns;
  struct correlate_heights heights;
  struct correlate_pixels pixels;
  double mu_per_mm[CORRELATE_C], mu_sigma[CORRELATE_C]; /* attenuation; sigma NaN: from tables */
  double transmission[CORRELATE_C], transmission_sigma[CORRELATE_C]; /* means over the field */
  double Ra_um, Ra_sigma, Rq_um, Rq_sigma; /* of the surface's result; NaN: none */
};
enum { CORRELATE_STATES_MOST = 256 };

/* A quantity of one state with its error's parts: region EMFs, then component EMFs. */
enum correlate_part {
  CORRELATE_COUNTING,
  CORRELATE_CALIBRATION,
  CORRELATE_THRESHOLD,
  CORRELATE_MASK,
  CORRELATE_REGISTRATION,
  CORRELATE_INTERPOLATION,
  CORRELATE_PARTS
};
enum { CORRELATE_QUANTITIES_MOST = CORRELATE_REGIONS_MOST + CORRELATE_C };
struct correlate_number {
  double value, sigma, part[CORRELATE_PARTS]; /* signed, but for counting */
};

struct correlate_work {
  const struct stage_job *job;
  const struct correlate_params *params;
  struct correlate_state *state;
  int states, regions, quantities;
  struct pinhole_camera camera;
  int64_t pixels;
  int64_t n_ct[3]; /* shape of the labels; 0: none */
  double voxel_um[3];
  bool has_radii, has_given, has_line;
  double radius_mm[CORRELATE_C], given[CORRELATE_REGIONS_MOST][CORRELATE_C], line[4];
  struct correlate_fit fit;
  struct correlate_slab_fit slab_fit;
  bool fitted;          /* registration in the plane was found */
  double slab_shift_um, slab_sigma_um;
  double *presence;     /* [CORRELATE_C][pixels] of layers; NULL: not known */
  double *transmission; /* [CORRELATE_C][pixels], of the state that is registered */
  double *radius;       /* [pixels] mm from the axis at the Compton scale */
  double *x_mm, *y_mm;  /* [pixels] in the sample, Compton scale */
  int8_t *field;        /* [pixels] 1: counts */
  struct correlate_number (*number)[CORRELATE_QUANTITIES_MOST]; /* [states] */
  struct correlate_number (*fixed)[CORRELATE_C];                /* [states] by the paper's fractions */
  int64_t ny, nx;       /* of the maps, bins */
  double *map, *map_error; /* [states][CORRELATE_MAPS][ny][nx] */
};

/* Collective. Labels and heights of the states that have them; heights' histograms. */
enum status correlate_ct_read(struct correlate_work *w);
/* Collective. Electron densities of a region as the tomography has them, on its own columns, projected nowhere: map[ny nx],
 * 0 outside of the cell. */
enum status correlate_ct_density(struct correlate_work *w, int state, int region, double *map);
/* Collective. state->pixels of all states with tomography, by the registration in w->fit. */
enum status correlate_ct_project(struct correlate_work *w);
void correlate_slab_of(const struct correlate_work *w, int state, int region,
                       struct correlate_slab *slab);

enum { CORRELATE_ROWS = 4 }; /* rows of a volume that are read together */
/* Local. Attenuation from tables; collective: from the volume that the labels were made of, where it is in 1/mm. */
void correlate_attenuation_tables(struct correlate_state *state);
enum status correlate_attenuation_read(struct correlate_work *w, struct correlate_state *state,
                                       const struct grid_field *labels);

/* Collective. w->fit, w->slab_shift_um and the field. */
enum status correlate_place(struct correlate_work *w);

/* Local. Mean fractions of a state in its slabs, with where they come from; moves as for error budgets. between: how far
 * an interpolated state is moved along the cycle, in shares of its neighbours' difference. */
enum correlate_source correlate_fractions(const struct correlate_work *w, int state,
                                          const struct correlate_moves *moves, double between,
                                          struct unmix_matrix *v);
/* Of one pixel; false: the tomography does not cover it. */
bool correlate_fractions_pixel(const struct correlate_work *w, int state, int64_t pixel,
                               struct unmix_matrix *v);
/* Local. w->number and w->fixed. */
enum status correlate_numbers_make(struct correlate_work *w);
/* Change of a quantity from one state to another: what both share cancels. */
struct correlate_number correlate_change(const struct correlate_work *w, int from, int to, int quantity);
const char *correlate_quantity_name(const struct correlate_work *w, int quantity, char *text, size_t bytes);

/* Local. w->map: on the sample's grid, bins of k x k pixels. */
enum status correlate_maps_make(struct correlate_work *w);
double *correlate_map_at(const struct correlate_work *w, bool errors, int state, enum correlate_map map);

/* A table: columns of doubles; in the CSV words stand for the codes of states, components, maps .. */
enum { CORRELATE_COLUMNS_MOST = 64 };
struct correlate_table {
  const char *name;
  int columns;
  const char *column[CORRELATE_COLUMNS_MOST], *unit[CORRELATE_COLUMNS_MOST];
  int64_t rows, room;
  double *value[CORRELATE_COLUMNS_MOST];
  char names[CORRELATE_COLUMNS_MOST][48]; /* room for made names */
};
void correlate_table_begin(struct correlate_table *table, const char *name, const char *const *column,
                           const char *const *unit, int columns);
enum status correlate_table_add(struct correlate_table *table, const double *row);
void correlate_table_free(struct correlate_table *table);

enum correlate_table_id {
  TABLE_PIXELS,
  TABLE_REGION_PROFILES,
  TABLE_COMPONENT_PROFILES,
  TABLE_MIXING,
  TABLE_RADIAL,
  TABLE_CORRELATIONS,
  TABLE_HETEROGENEITY,
  TABLE_CHANGES,
  TABLE_BUDGET,
  TABLE_1,
  TABLE_S1,
  TABLE_REFERENCE,
  TABLES
};
/* Collective where draws are shared among ranks. */
enum status correlate_relations_make(struct correlate_work *w, struct correlate_table *table);
enum status correlate_profiles_make(struct correlate_work *w, struct correlate_table *table);
/* Collective. Two acquisitions: is one the other times a scale? value and error [n] of both. Local part: */
struct correlate_match {
  double scale, scale_error, chi2, p_value;
  int64_t freedom;
};
struct correlate_match correlate_match_of(const double *a, const double *a_error, const double *b,
                                          const double *b_error, int64_t n);
enum status correlate_reference_make(struct correlate_work *w, struct correlate_table *table);
enum status correlate_tables_make(struct correlate_work *w, struct correlate_table *table);
enum status correlate_write(struct correlate_work *w, struct correlate_table *table);
