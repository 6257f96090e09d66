/* np: 1 2 timeout: 300 */
#include "recon_phantom.h"
#include "recon_centre.h"
#include <string.h>

/* Noise of uniform size, a share of the largest integral, on the phantom of a given radius. */
static void project(int64_t columns, int64_t angles, double arc_rad, double centre, double radius,
                    double share, double *angle_rad, float *sinogram) {
  uint64_t state = 17;
  double most    = 2 * radius;
  for (int64_t i = 0; i < angles * columns; i++) {
    double sum = 0, at = (double)(i % columns) - centre;
    angle_rad[i / columns] = arc_rad * (double)(i / columns) / (double)angles;
    for (int k = -2; k <= 2; k++)
      sum += line_integral(at + 0.2 * k, angle_rad[i / columns], radius) / 5;
    state       = state * 6364136223846793005u + 1442695040888963407u;
    sinogram[i] = (float)(sum + share * most * ((double)(state >> 40) / 16777216.0 - 0.5));
  }
}

enum { COLUMNS = 256, ANGLES = 200 };

static void check_method(MPI_Comm comm, const char *method, double arc_rad, double centre,
                         double radius, double within) {
  static float sinogram[ANGLES * COLUMNS];
  static double angle_rad[ANGLES];
  double found = 0;
  bool edge    = false;
  project(COLUMNS, ANGLES, arc_rad, centre, radius, 0.02, angle_rad, sinogram);
  const struct recon_scanned scan = {sinogram, angle_rad, ANGLES, COLUMNS, arc_rad > 4};
  status_clear();
  CHECK_OK(recon_centre_by(comm, method, &scan, NAN, NAN, &found, &edge));
  printf("         %-8s %7.2f found as %7.2f\n", method, centre, found);
  CHECK(fabs(found - centre) < within && !edge, "%s: %.2f, not %.2f", method, found, centre);
}

/* Off the middle by up to 30 % of the width, the object within the field. */
TEST(axes_of_half_a_turn_are_found_to_a_tenth_of_a_pixel_wherever_they_are) {
  const double centres[] = {127.8, 160.2, 51.1, 204.4};
  for (size_t i = 0; i < sizeof centres / sizeof *centres; i++) {
    double room = fmin(centres[i], COLUMNS - 1 - centres[i]);
    check_method(comm, "vo", PI, centres[i], 0.98 * room, 0.1);
  }
}

TEST(axes_of_a_full_turn_are_found_to_a_tenth_of_a_pixel_also_near_an_edge) {
  const double centres[] = {100.3, 24.6, 230.15, 51.85};
  for (size_t i = 0; i < sizeof centres / sizeof *centres; i++) {
    double room = fmax(centres[i], COLUMNS - 1 - centres[i]);
    check_method(comm, "overlap", 2 * PI, centres[i], 0.95 * room, 0.1);
  }
}

TEST(other_methods_agree) {
  const double centres[] = {118.3, 140.85};
  for (size_t i = 0; i < sizeof centres / sizeof *centres; i++) {
    double room = fmin(centres[i], COLUMNS - 1 - centres[i]);
    check_method(comm, "entropy", PI, centres[i], 0.95 * room, 0.3);
    check_method(comm, "phase", 2 * PI, centres[i], 0.95 * room, 0.3);
  }
}

/* A range that does not hold the axis says so. */
TEST(an_axis_beyond_the_range_is_told) {
  static float sinogram[ANGLES * COLUMNS];
  static double angle_rad[ANGLES];
  double found;
  bool edge = false;
  project(COLUMNS, ANGLES, PI, 120, 110, 0.02, angle_rad, sinogram);
  const struct recon_scanned scan = {sinogram, angle_rad, ANGLES, COLUMNS, false};
  status_clear();
  CHECK_OK(recon_centre_by(comm, "vo", &scan, 124, 140, &found, &edge));
  CHECK(edge, "found at %.2f", found);
  edge = true;
  CHECK_OK(recon_centre_by(comm, "vo", &scan, 110, 140, &found, &edge));
  CHECK(!edge && fabs(found - 120) < 0.1, "found at %.2f", found);
}

/* Two pieces of one sinogram, noise of their own. */
TEST(scans_side_by_side_are_placed_to_a_tenth_of_a_column) {
  enum { PIECE = 150 };
  static float whole[ANGLES * COLUMNS], a[ANGLES * PIECE], b[ANGLES * PIECE];
  static double angle_rad[ANGLES];
  const int shifts[] = {90, 40, -77};
  project(COLUMNS, ANGLES, PI, 125.3, 120, 0.01, angle_rad, whole);
  for (int k = 0; k < 3; k++) {
    int first = shifts[k] < 0 ? -shifts[k] : 0;
    double found;
    for (int i = 0; i < ANGLES; i++) {
      memcpy(a + i * PIECE, whole + i * COLUMNS + first, PIECE * sizeof *a);
      memcpy(b + i * PIECE, whole + i * COLUMNS + first + shifts[k], PIECE * sizeof *b);
    }
    double alike = recon_overlap_find(a, b, ANGLES, PIECE, &found);
    CHECK(fabs(found - shifts[k]) < 0.1 && alike > 0.9, "%d found as %.2f, concordance %.2f",
          shifts[k], found, alike);
  }
}
