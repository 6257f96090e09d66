/* How it was done: the text of each stage that worked, its parameters as recorded in the files, references; then every
 * file with version and checksum. */
#include "report_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXT_BYTES = 1 << 20 };

struct method {
  const char *stage, *words;
};
static const struct method methods[] = {
    {"recon",     "Projections are divided by flat fields after subtraction of darks, and their "
              "negative logarithm is reconstructed slice by "
              "slice: filtered back-projection, evaluated by gridding in Fourier space with a "
              "Kaiser-Bessel kernel or by direct summation "
              "[1]. The rotation axis is found from the projections; stripes are taken out by "
              "sorting where asked for [2]."                                          },
    {"align",     "The states' volumes are moved rigidly onto the first state below a voxel: a start "
              "by phase correlation, then least squares "
              "with the errors of shifts and rotations from the fit [3]."             },
    {"segment",
     "Greys are filtered by a 3 x 3 x 3 median and separated by the thresholds given, or by those "
     "of greatest between-class variance "
     "[4]; components are connected through faces, edges and corners unless said otherwise."       },
    {"surface",   "The height of the lithium surface under the membrane is taken per column, below a "
                "voxel by the crossing of the grey value; a "
                "least-squares plane is subtracted. Ra is the mean magnitude and Rq the root mean "
                "square of what is left [5]; their errors come "
                "from a bootstrap of blocks wider than the lateral correlation [6]."},
    {"track",     "Voxels of the followed phase are compared from state to state: gained, lost, and "
              "the lineage of its components. The error of a "
              "volume is that of counting whole voxels."                              },
    {"flux",      "Steady diffusion through the labelled voxels between two opposite faces, no flux "
             "through the others, by multigrid-preconditioned "
             "conjugate gradients on PETSc [7]. The energy of any concentration field bounds the "
             "effective diffusivity from above, that of any "
             "divergence-free flux from below: both bounds are computed, and the solver stops when "
             "they agree to the tolerance."                                            },
    {"compton",   "HEXITEC events are clusters of neighbouring pixels above threshold; energies are "
                "turned into momenta of the electrons along the "
                "scattering vector, pixel by pixel at its own angle. The electron momentum factor "
                "(EMF) is the integral of the Compton profile over "
                "|p| < 1 a.u. over that of 1 < |p| < 5 a.u. [8]; cross sections and profiles of "
                "atoms are those of xraylib [9, 10]. Errors hold "
                "counting, background and calibration."                             },
    {"echem",     "Charge is integrated by trapezia. Impedance: R_s + (R_ct parallel to a "
              "constant-phase element) + Warburg, by complex non-linear "
              "least squares with modulus weighting [11]; spectra are tested by the linear "
              "Kramers-Kronig test [12]."                                             },
    {"correlate", "Masks of the tomograms are projected through the pinhole onto the Compton grid "
                  "and laid onto its density map; spectra of regions "
                  "are unmixed by weighted least squares with the volume fractions of each pixel "
                  "and state. Correlations carry block-bootstrap "
                  "intervals [6]; clustering is Moran's I [13]."                  }
};
enum { METHODS = sizeof methods / sizeof *methods };

static const char *const references[] = {
    "C. Huang et al., Cell Reports Physical Science 5, 101995 (2024), "
    "doi:10.1016/j.xcrp.2024.101995: the method as a whole.",
    "J. D. O'Sullivan, IEEE Trans. Med. Imaging 4, 200 (1985): gridding.",
    "N. T. Vo, R. C. Atwood, M. Drakopoulos, Optics Express 26, 28396 (2018): stripes.",
    "B. D. Lucas, T. Kanade, Proc. IJCAI, 674 (1981): registration by least squares.",
    "N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).",
    "ISO 25178-2:2012: parameters of surface texture.",
    "H. R. K\xc3\xbcnsch, Ann. Statist. 17, 1217 (1989): bootstrap of blocks.",
    "S. Balay et al., PETSc/TAO Users Manual, Argonne National Laboratory, ANL-21/39.",
    "K. Suzuki et al., J. Appl. Phys. 119, 025103 (2016): Compton profiles of a battery's "
    "electrodes.",
    "T. Schoonjans et al., Spectrochim. Acta B 66, 776 (2011): xraylib.",
    "F. Biggs, L. B. Mendelsohn, J. B. Mann, At. Data Nucl. Data Tables 16, 201 (1975): Compton "
    "profiles of atoms.",
    "J. R. Macdonald, J. A. Garber, J. Electrochem. Soc. 124, 1022 (1977).",
    "B. A. Boukamp, J. Electrochem. Soc. 142, 1885 (1995).",
    "P. A. P. Moran, Biometrika 37, 17 (1950).",
    "M. Frigo, S. G. Johnson, Proc. IEEE 93, 216 (2005): FFTW.",
    "M. K\xc3\xb6nnecke et al., J. Appl. Cryst. 48, 301 (2015): NeXus, the form of the files.",
    "M. Okabe, K. Ito, Color Universal Design (2008): colours of the curves. B. Ottosson (2020): "
    "Oklab, the space of the maps' colours."};

/* ---- parameters ---------------------------------------------------------------------------------------------------- */

/* The record without its inputs, whose checksums differ from state to state. */
static void only_parameters(char *text) {
  char *input = strncmp(text, "input:", 6) == 0 ? text : strstr(text, "\ninput:");
  if (input) *input = 0;
}

static bool read_parameters(const struct report *r, const char *state, const char *stage,
                            char *text) {
  char path[STORE_NAME_BYTES];
  bool found = false;
  text[0]    = 0;
  if (!report_file(r, state, stage, path)) return false;
  if (store_get_text(r->comm, path, "/entry/process/effective_yaml", &found, text, TEXT_BYTES) !=
      STATUS_OK)
    status_clear();
  only_parameters(text);
  return found && text[0];
}

/* Parameters of the first state that has the stage; other states are named where theirs differ. */
static bool stage_parameters(const struct report *r, const char *stage, char *first, char *other,
                             char *differ, size_t differ_bytes) {
  size_t used = 0;
  differ[0] = first[0] = 0;
  if (read_parameters(r, "all", stage, first)) return true;
  for (int i = 0; i < r->states; i++) {
    if (!read_parameters(r, r->state[i].name, stage, other)) continue;
    if (!first[0])
      memcpy(first, other, strlen(other) + 1);
    else if (strcmp(first, other) != 0 && used + 80 < differ_bytes)
      used += (size_t)snprintf(differ + used, differ_bytes - used, "%s%s", used ? ", " : "",
                               r->state[i].name);
  }
  return first[0] != 0;
}

static void put_method(struct report *r, const struct method *method, const char *parameters,
                       const char *differ) {
  report_raw(r, "<h3>%s</h3>\n<p>%s</p>\n<details><summary>Parameters</summary><pre>",
             method->stage, method->words);
  report_text(r, parameters);
  report_raw(r, "</pre></details>\n");
  if (differ[0]) {
    report_raw(r, "<p class=\"quiet\">Other parameters in: ");
    report_text(r, differ);
    report_raw(r, "</p>\n");
  }
}

static void put_references(struct report *r) {
  report_raw(r, "<h3>References</h3>\n<ol start=\"0\">\n");
  for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
    report_raw(r, "<li>");
    report_text(r, references[i]);
    report_raw(r, "</li>\n");
  }
  report_raw(r, "</ol>\n");
}

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static void read_note(const struct report *r, const char *path, const char *note, char *text,
                      size_t bytes) {
  char at[128];
  bool found;
  snprintf(at, sizeof at, "/entry/process/%s", note);
  if (store_get_text(r->comm, path, at, &found, text, bytes) != STATUS_OK)
    status_clear(), text[0] = 0;
}

static void put_file(struct report *r, const char *state, const char *stage) {
  static const char *const notes[] = {"version", "revision", "ranks", "instruction_set"};
  char path[STORE_NAME_BYTES], note[4][64], print[160] = "unreadable";
  struct stat info;
  if (!report_file(r, state, stage, path)) return;
  for (int i = 0; i < 4; i++) read_note(r, path, notes[i], note[i], sizeof note[i]);
  if (store_fingerprint(r->comm, path, print, sizeof print) != STATUS_OK) status_clear();
  if (!r->speaks || stat(path, &info) != 0) return;
  report_raw(r, "<tr><td class=\"l\">");
  report_text(r, path + strlen(r->folder) + 1);
  report_raw(r, "</td><td>%.2f MB</td>", 1e-6 * (double)info.st_size);
  for (int i = 0; i < 4; i++) {
    report_raw(r, "<td class=\"l\">");
    report_text(r, note[i][0] ? note[i] : "\xe2\x80\x93");
    report_raw(r, "</td>");
  }
  report_raw(r, "<td class=\"l\">");
  report_text(r, print);
  report_raw(r, "</td></tr>\n");
}

static void put_files(struct report *r) {
  static const char *const of_all[]          = {"align", "track", "echem", "correlate"},
                           *const of_state[] = {"recon",   "align", "segment",
                                                "surface", "flux",  "compton"};
  if (r->speaks) {
    report_section(r, "files", "Versions and checksums");
    report_raw(r, "<p class=\"quiet\">This page: xcsct %s, revision %s.</p>\n", stage_version(),
               stage_revision());
    report_raw(r,
               "<div class=\"wide\"><table>\n<thead><tr><th class=\"l\" scope=\"col\">File</th><th "
               "scope=\"col\">Size</th><th class=\"l\" scope=\"col\">Version</th>"
               "<th class=\"l\" scope=\"col\">Revision</th><th class=\"l\" "
               "scope=\"col\">Ranks</th><th class=\"l\" scope=\"col\">Instructions</th>"
               "<th class=\"l\" scope=\"col\">Checksum</th></tr></thead>\n<tbody>\n");
  }
  for (size_t k = 0; k < sizeof of_all / sizeof *of_all; k++) put_file(r, "all", of_all[k]);
  for (int i = 0; i < r->states; i++)
    for (size_t k = 0; k < sizeof of_state / sizeof *of_state; k++)
      put_file(r, r->state[i].name, of_state[k]);
  if (r->speaks)
    report_raw(r, "</tbody></table></div>\n<p class=\"quiet\">Checksum: "
                  "\xe2\x80\x9cown\xe2\x80\x9d is the hash of record and content that the program "
                  "keeps in its files.</p>\n");
}

enum status report_methods(struct report *r) {
  char *first, *other, differ[1024];
  TRY_ALL(r->comm, memory_make(2 * TEXT_BYTES, 1, "parameters", &first));
  other = first + TEXT_BYTES;
  if (r->speaks) {
    report_section(r, "methods", "Methods");
    report_raw(r, "<p>The order of work and the definitions follow Huang et al. [0], where a "
                  "choice of theirs biases a number it is made "
                  "otherwise and said so. Only stages that worked are listed.</p>\n");
  }
  for (int k = 0; k < METHODS; k++)
    if (stage_parameters(r, methods[k].stage, first, other, differ, sizeof differ) && r->speaks)
      put_method(r, &methods[k], first, differ);
  if (r->speaks) put_references(r);
  memory_free(first);
  put_files(r);
  return STATUS_OK;
}
