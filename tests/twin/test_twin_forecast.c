/* What the Compton half takes is what its plan said. np: 1 2 3 */
#include "check.h"
#include "twin_xcs.h"
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static void made(MPI_Comm comm, struct twin_params *p, const char *name) {
  struct stage_common common;
  struct twin_text none  = {0};
  struct stage_need need = {0};
  char folder[512], raw[600];
  snprintf(folder, sizeof folder, "%s/%s", check_scratch(), name);
  snprintf(raw, sizeof raw, "%s/raw", folder);
  mkdir(folder, 0755), mkdir(raw, 0755);
  struct twin_book book = {.folder = folder, .bottom = none};
  CHECK_OK(config_defaults(&stage_common_set, &common));
  twin_xcs_need(comm, p, &need);
  int64_t before = memory_now_bytes();
  CHECK_OK(twin_xcs_write(comm, &common, p, &book));
  double took = (double)(memory_peak_bytes() - before), said = (double)need.memory_bytes;
  CHECK(took <= said && took >= 0.8 * said, "%s took %g MB, said %g MB", name, 1e-6 * took,
        1e-6 * said);
  for (int i = 0; i < TWIN_STATES; i++) memory_free(book.state[i].text);
  memory_free(book.bottom.text);
  stage_results_free(&book.truth);
  CHECK(memory_now_bytes() == before, "%lld bytes are left",
        (long long)(memory_now_bytes() - before));
  config_free(&stage_common_set, &common);
}

TEST(memory_of_the_spectra_is_within_the_forecast) {
  struct twin_params p;
  CHECK_OK(config_defaults(twin_stage.params, &p));
  p.frames     = 70;
  p.xcs_counts = 0;
  made(comm, &p, "spectra");
  config_free(twin_stage.params, &p);
}

TEST(the_windows_parabolas_give_what_their_middles_give) {
  struct twin_params p;
  struct xcs xcs;
  struct xcs_windows w, off;
  CHECK_OK(config_defaults(twin_stage.params, &p));
  CHECK_OK(xcs_make(&p, 0, 80, &xcs));
  CHECK_OK(xcs_windows_make(&xcs, &w));
  p.xcs_fwhm_kev *= 1.04; /* other nodes about another width */
  CHECK_OK(xcs_windows_make(&xcs, &off));
  double low[2][XCS_SHAPES], high[2][XCS_SHAPES];
  for (int angle = 87; angle < 94; angle += 3) {
    xcs_windows_at(&w, angle / DEG_PER_RAD, off.fwhm_kev[1], low[0], high[0]);
    xcs_windows_at(&off, angle / DEG_PER_RAD, off.fwhm_kev[1], low[1], high[1]);
    for (int k = 0; k < XCS_SHAPES; k++)
      CHECK_NEAR(low[0][k] / high[0][k], low[1][k] / high[1][k], 1e-4);
  }
  CHECK_NEAR(w.reference_low[XCS_SHAPE_LI] / w.reference_high[XCS_SHAPE_LI], 2.263, 0.003);
  xcs_free(&xcs);
  config_free(twin_stage.params, &p);
}
