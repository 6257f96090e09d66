/* What the stage takes in memory is what its plan said, of spectra with a disc.
 * np: 1 2 */
#include "compton.h"
#include "compton_spectrum.h"

enum { SIDE = 80, PIXELS = SIDE * SIDE };

/* .hxt of version 1: all pixels have the expected counts of one. */
static const char *spectra_write(void) {
  static char path[600];
  static double edge[SPECTRUM_BINS], count[SPECTRUM_BINS];
  static struct xray_profile lithium;
  const uint64_t version  = 1;
  const uint32_t shape[3] = {SIDE, SIDE, SPECTRUM_BINS};
  struct spectrum_truth t = {.profile  = &lithium,
                             .angle    = PI / 2,
                             .fwhm_kev = 0.84,
                             .gain     = 1,
                             .counts   = 5000,
                             .constant = 3,
                             .tail_kev = 1};
  snprintf(path, sizeof path, "%s/all.hxt", check_scratch());
  if (!log_is_speaker()) return path;
  CHECK_OK(xray_profile_of(XRAY_LI_METAL, 1, &lithium));
  spectrum_expect(&t, count);
  for (int b = 0; b < SPECTRUM_BINS; b++) {
    edge[b]  = SPECTRUM_FIRST_KEV + b * SPECTRUM_BIN_KEV;
    count[b] = round(count[b]);
  }
  FILE *file = fopen(path, "wb");
  CHECK(fwrite("HEXITECH", 1, 8, file) == 8 && fwrite(&version, 8, 1, file) == 1 &&
            fwrite(shape, 4, 3, file) == 3 && fwrite(edge, sizeof edge, 1, file) == 1,
        "%s", path);
  for (int p = 0; p < PIXELS; p++) CHECK(fwrite(count, sizeof count, 1, file) == 1, "%s", path);
  fclose(file);
  return path;
}

static void made(MPI_Comm comm, const char *path, int64_t part_pixels, int64_t bin_pixels) {
  struct compton_params p;
  struct stage_common common;
  struct stage_results results   = {0};
  const struct stage_bundle none = {.input = ""};
  const struct stage_job job     = {comm, &common, &p, &none, "", "", &results};
  struct stage_need need         = {0};
  int64_t before                 = memory_now_bytes();
  CHECK_OK(config_defaults(&stage_common_set, &common));
  CHECK_OK(config_defaults(compton_stage.params, &p));
  p.part_pixels = part_pixels, p.bin_pixels = bin_pixels;
  CHECK_OK(config_assign(compton_stage.params, &p, "spectra", path, ""));
  CHECK_OK(compton_stage.plan(&job, &need));
  memory_peak_reset();
  int64_t begun = memory_now_bytes();
  CHECK_OK(compton_stage.run(&job));
  double took = (double)(memory_peak_bytes() - begun), said = (double)need.memory_bytes;
  CHECK(took <= said && took >= 0.8 * said,
        "parts of %lld, squares of %lld pixels: took %g MB, said %g MB", (long long)part_pixels,
        (long long)bin_pixels, 1e-6 * took, 1e-6 * said);
  stage_results_free(&results);
  config_free(compton_stage.params, &p);
  config_free(&stage_common_set, &common);
  CHECK(memory_now_bytes() == before, "%lld bytes are left",
        (long long)(memory_now_bytes() - before));
}

TEST(memory_of_maps_is_within_the_forecast) {
  const char *path = spectra_write();
  MPI_Barrier(comm);
  made(comm, path, 8, 1);
  made(comm, path, 8, 2);
  made(comm, path, 0, 8);
}
