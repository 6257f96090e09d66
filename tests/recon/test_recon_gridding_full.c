/* np: 1 timeout: 600 label: full */
#include "recon_phantom.h"

TEST(flat_regions_edges_and_scale_at_2048_by_1800) {
  struct scan s;
  scan_make(2048, 1800, 180, 1023.5, &s);
  check_sharpness(&s, 0.8, 0.006, 1.13);
  check_sharpness(&s, 0.6, 0.004, 1.25);
  scan_free(&s);
}
