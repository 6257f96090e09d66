/* What the twin writes is read back by the instrument formats' readers. np: 1 3 */
#include "check.h"
#include "raw.h"
#include "twin_xcs.h"
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static char folder[512], name[640];
static const char *at(const char *file) {
  snprintf(name, sizeof name, "%s/%s", folder, file);
  return name;
}

static void make(MPI_Comm comm, struct twin_params *p) {
  struct stage_common common;
  CHECK_OK(config_defaults(&stage_common_set, &common));
  snprintf(folder, sizeof folder, "%s/twin", check_scratch());
  mkdir(folder, 0755), mkdir(at("raw"), 0755);
  struct twin_book book = {.folder = folder};
  CHECK_OK(twin_xcs_write(comm, &common, p, &book));
  for (int i = 0; i < TWIN_STATES; i++) memory_free(book.state[i].text);
  memory_free(book.bottom.text);
  stage_results_free(&book.truth);
  config_free(&stage_common_set, &common);
}

TEST(spectra_frames_and_maps_are_what_their_readers_expect) {
  struct twin_params p;
  struct raw_spectra spectra;
  CHECK_OK(config_defaults(twin_stage.params, &p));
  p.frames = 40, p.frame_darks = 2, p.frame_noise_adu = 0, p.xcs_counts = 0, p.xcs_bin_kev = 0.5;
  make(comm, &p);

  CHECK_OK(raw_spectra_open(comm, at("raw/disc.h5"), &spectra));
  CHECK(spectra.rows == 80 && spectra.columns == 80 && spectra.bins == 100, "shape");
  CHECK_NEAR(spectra.first_kev, 70, 1e-9);
  CHECK_NEAR(spectra.bin_kev, 0.5, 1e-9);
  raw_spectra_close(&spectra);

  const char *frames_name[]               = {at("raw/pristine_r2.bin")};
  const struct raw_frames_request request = {.file = frames_name, .files = 1, .interleaved = true};
  struct raw_frames frames;
  CHECK_OK(raw_frames_open(comm, &request, &frames));
  CHECK(frames.frames == 40 && frames.words == XCS_PIXELS, "%lld frames", (long long)frames.frames);
  uint16_t *word;
  double *gain, *sum, middle = 0, edge = 0;
  CHECK_OK(memory_make(40 * XCS_PIXELS, sizeof *word, "frames", &word));
  CHECK_OK(memory_make(XCS_PIXELS, sizeof *gain, "a map", &gain));
  CHECK_OK(memory_make(XCS_PIXELS, sizeof *sum, "sums", &sum));
  CHECK_OK(raw_frames_read(comm, &frames, 0, 40, word));
  for (int64_t i = 0; i < 40 * XCS_PIXELS;
       i++) { /* without noise all but photons is the pedestal */
    double above = (double)word[i] - (double)word[i % XCS_PIXELS];
    sum[raw_frames_pixel(&frames, i % XCS_PIXELS)] += fabs(above) > 1000;
  }
  raw_frames_close(&frames);
  for (int i = 0; i < XCS_PIXELS;
       i++) /* none comes from beyond the membrane: 36 pixels from the middle */
    *(hypot(i / 80 - 39.5, i % 80 - 39.5) < 36 ? &middle : &edge) += sum[i] > 0;
  CHECK(middle > 100 && edge == 0, "%g pixels hit inside, %g outside", middle, edge);
  CHECK_OK(raw_map_read(comm, at("raw/gain.txt"), 80, 80, gain));
  double mean = 0;
  for (int i = 0; i < XCS_PIXELS; i++) mean += gain[i] / XCS_PIXELS;
  CHECK_NEAR(mean, 0.0272, 3e-5);
  CHECK_OK(raw_map_read(comm, at("raw/offset.txt"), 80, 80, gain));
  memory_free(word);
  memory_free(gain);
  memory_free(sum);
  config_free(twin_stage.params, &p);
}
