/* correlate: what tomography and Compton scattering say together about every state of a cycle.
 *
 * Output: the product `maps` [state, quantity, y, x] with errors (quantities: correlate_maps.def; y runs along the
 * beam and x across it, the pinhole's inversion undone, so that at beam_deg = 90 they are the sample's), and tables,
 * each twice: as /entry/<table>/<column> of the .h5 (numbers) and as <output without .h5>_<table>.csv (with names).
 * `state` counts from 0 in the cycle's order, `region` and `component` from 1 (Li, SPE, cathode).
 *
 *   pixels              state, row, column, x_mm, y_mm, then each map and its error (<map>, <map>_error)
 *   region_profiles     state, region, p (a.u.), J, J_error: sums over the field, electrons per a.u.
 *   component_profiles  state, component, p (a.u.), J, J_error
 *   mixing              state, region, component, fraction, fraction_error, transmission, source (0 measured, 1 between
 *                       two measured states, 2 given), transmission_error (NaN: attenuation from tables)
 *   radial              state, region, r_low_mm, r_high_mm, emf, emf_error, pixels
 *   correlations        state, a, b (places in correlate_maps.def), kind (0 Pearson, 1 Spearman, 2 partial: place and
 *                       radius held), value, lower, upper (95 %), pairs
 *   heterogeneity       state, region, left_right, left_right_error, left_right_p (right less left), middle_edge,
 *                       middle_edge_error, middle_edge_p (middle less edge), moran, moran_p, variation;
 *                       left_right_change, .._error, .._p, moran_change, .._p: of the map less the first state's
 *   reference           region, scale, scale_error, chi2, freedom, p: the first state's profiles against those of
 *                       another cell, with a free scale
 *   changes             from, to (states), quantity (0..: emf_region1..R, then emf_Li, emf_SPE, emf_cathode), change,
 *                       error, p, percent, share_of_range, share_of_rest, per_charge (per 100 % of charge): the four
 *                       definitions of a rate of change
 *   budget              state, quantity (as in changes), value, error, counting, calibration, threshold, mask,
 *                       registration, interpolation: shares of the error, one sigma each
 *   table_1             state, emf, emf_error, emf_change, Ra_um, Ra_error_um, Ra_change_percent
 *   table_S1            state, Ra_um, Ra_error_um, Rq_um, Rq_error_um
 *
 * Results (`of` = state): field_emf_region<n> (of the field alone), emf_Li, emf_SPE, emf_cathode with sigma;
 * attenuation_<component>_per_mm (at the tomogram's energy, where it tells it);
 * emf_<component>_fixed (the paper's fractions, the same in all states); fraction_<component>_region<n>; x_Li (with a calibration line); left_right_region<n>, left_right_change_region<n>,
 * middle_edge_region<n>, moran_region<n>, moran_p_region<n>,
 * variation_region<n>; r_<a>_<b> (Spearman, with lower and upper);
 * registration_scale, _rotation_deg, _x_mm, _y_mm, _quality, slab_shift_um. */
#pragma once
#include "stage.h"

struct correlate_params {
#include "config_struct.inc"
#include "correlate_params.def"
#include "config_undef.inc"
};
extern const struct stage correlate_stage;

enum correlate_component { CORRELATE_LI, CORRELATE_SPE, CORRELATE_CATHODE, CORRELATE_COMPONENTS };
extern const char *const correlate_component_name[CORRELATE_COMPONENTS]; /* "Li" "SPE" "cathode" */

enum correlate_map {
#define MAP(name, unit, words) CORRELATE_MAP_##name,
#include "correlate_maps.def"
#undef MAP
  CORRELATE_MAPS
};
extern const char *const correlate_map_name[CORRELATE_MAPS];
extern const char *const correlate_map_unit[CORRELATE_MAPS];
extern const char *const correlate_map_words[CORRELATE_MAPS];
