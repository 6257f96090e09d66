/* twin: a made cell with a known truth - raw files of every state, cycle.yaml that names them, truth.json. */
#pragma once
#include "stage.h"

struct twin_params {
#include "config_struct.inc"
#include "twin_params.def"
#include "config_undef.inc"
};
extern const struct stage twin_stage;

/* One state of the cell's first cycle: imposed truth, consistent with Faraday's law and with mixing. */
struct twin_state {
  const char *name, *step;
  bool has_ct;
  double percent, voltage_V, x_Li;
  double rise_um;               /* of the mean interface of anode and membrane */
  double rise_left, rise_right; /* um over the left (x < 0) and right half; their mean is rise_um */
  /* volume fractions of Li, SPE and cathode in the three slabs of the Compton half; what is missing is void */
  double region[3][3];
  double Ra_um, pore_percent; /* pores: per cent of the 65 um interphase */
  double dendrites_per_mm2, R_ct_Ohm;
};
enum { TWIN_STATES = 7 };
extern const struct twin_state twin_states[TWIN_STATES];
/* Local. What a state holds: its own, or the first one's in a cell that does not change. */
const struct twin_state *twin_content(const struct twin_params *params,
                                      const struct twin_state *state);

/* What the parts of the twin hand to those that follow: the text of cycle.yaml and the truths of truth.json.
 * Alike on all ranks; rank 0 writes them at the end. */
struct twin_text {
  char *text;
  int64_t n, room;
};
enum status twin_text_add(struct twin_text *to, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct twin_book {
  const char *folder; /* of the output; raw files go into <folder>/raw */
  struct twin_text
      state[TWIN_STATES];     /* further lines of a state in cycle.yaml, each "    key: value\n" */
  struct twin_text bottom;    /* further blocks at its end, such as calibration */
  struct stage_results truth; /* rows' `of` names their state */
};
/* Local. Adds a truth of one state (NULL: of the sample). */
enum status twin_truth_add(struct twin_book *book, const struct twin_state *state, const char *name,
                           double value, const char *unit);
/* Local. "<folder>/<name>" */
void twin_path(const struct twin_book *book, const char *name, char *path, size_t bytes);
